"""Any data, any parameters: a call ends with a valid result, or with a ValueError or TypeError and no trace.

`pytest tests/test_fuzz.py --hypothesis-profile=long` looks at many more, and at others each time.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, target
from hypothesis import strategies as st

from gmm_core import ConvergenceWarning, GaussianMixture
from gmm_core.validation import convergence_warning_class

EPS = float(np.finfo(np.float64).eps)
TYPES = ("full", "tied", "diag", "spherical")
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
# What a message speaks of: an argument, or the data as EM sees them.
NAMES = ("X", "sample", "array", "weights", "means", "precision", "covar", "parameter", "feature", "data", "not fitted")
SPECIAL = (
    *(0.0, -0.0, 5e-324, 1e-310, 1e-300, 1e-160, 1.0, 1e8, 1e154, 1e160, 1e300, 1.7e308),
    *(-1e160, -1.7e308, np.nan, np.inf, -np.inf),
)
DTYPES = (
    *("f8", "f8", "f8", "f4", "f4", "f2", ">f8", ">f4", "g", "i1", "u1", "i4", ">i8", "u8", "?"),
    *("O", "c16", "U8", "M8[s]"),
)
mostly = st.sampled_from((True,) * 9 + (False,))


def unaligned(X: np.ndarray) -> np.ndarray:
    if X.dtype == object:
        return X
    moved = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    moved[...] = X
    return moved


def read_only(X: np.ndarray) -> np.ndarray:
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS: tuple[Callable[[np.ndarray], Any], ...] = (
    np.ascontiguousarray, np.asfortranarray, unaligned, read_only, np.ndarray.tolist,
    lambda X: X[::-1].copy()[::-1], lambda X: np.repeat(X, 2, axis=0)[::2],
)  # fmt: skip


@st.composite
def numbers(draw: Any, n: int, D: int) -> np.ndarray:
    """Groups of normal numbers at some scale and place, spoiled in one way or another."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.normal(size=(n, D)) + 4 * rng.integers(0, 3, size=(n, 1))
    scale = draw(st.sampled_from((1.0, 1.0, 1.0, 1e-150, 1e-20, 1e-3, 1e5, 1e30, 1e100, 1e152)))
    offset = draw(st.sampled_from((0.0, 0.0, 1e3, 1e8, -1e12)))
    X = (X + offset) * scale
    how = draw(st.sampled_from(("", "", "", "repeat", "constant", "collinear", "identical", "grid")))
    if how == "repeat" and n:
        X = X[rng.integers(0, max(1, n // 3), size=n)]
    elif how == "constant" and D:
        X[:, 0] = X[:1, 0] if n else 0
    elif how == "collinear":
        X = X[:, :1] * rng.normal(size=D)
    elif how == "identical" and n:
        X[:] = X[0]
    elif how == "grid":
        X = np.round(X / scale) * scale
    if X.size and not draw(mostly):
        for _ in range(draw(st.integers(1, 3))):
            X.flat[draw(st.integers(0, X.size - 1))] = draw(st.sampled_from(SPECIAL))
    return X


@st.composite
def data(draw: Any, D: int | None = None) -> Any:
    n = draw(st.integers(2, 40)) if draw(mostly) else draw(st.integers(0, 3))
    width = draw(st.integers(1, 7)) if D is None else D
    if not draw(mostly):
        width = draw(st.integers(0, 20))
    X = draw(numbers(n, width))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X = np.clip(np.nan_to_num(X), -1e18, 1e18).astype(dtype) if dtype.kind in "iuM" else X.astype(dtype)
    X = draw(st.sampled_from(LAYOUTS))(X)
    if not draw(mostly):
        X = draw(st.sampled_from((np.asarray(X).ravel(), np.asarray(X)[None], None, "X", 3.0)))
    return X


@st.composite
def parameters(draw: Any, D: int) -> dict[str, Any]:
    K = draw(st.integers(1, 6))
    covariance_type = draw(st.sampled_from(TYPES))
    chosen = {
        "n_components": K,
        "covariance_type": covariance_type,
        "tol": draw(st.sampled_from((1e-3, 0, 1e-8, 1e3))),
        "reg_covar": draw(st.sampled_from((1e-6, 0, 0, 1e-3, 1e10, [1e-6] * D, np.zeros(D)))),
        "max_iter": draw(st.sampled_from((100, 0, 1, 2, 7))),
        "n_init": draw(st.sampled_from((1, 1, 3))),
        "init_params": draw(st.sampled_from(("kmeans", "k-means++", "random", "random_from_data"))),
        "random_state": draw(st.integers(0, 9)),
        "warm_start": draw(st.booleans()),
        "n_threads": draw(st.sampled_from((1, 1, None, 2))),
    }
    if not draw(mostly):
        chosen["weights_init"] = draw(st.sampled_from((np.full(K, 1 / K), np.eye(K)[0], np.ones(K), [0.5])))
    if not draw(mostly):
        chosen["means_init"] = draw(numbers(K, D))
    if not draw(mostly):
        scale = draw(st.sampled_from((1.0, 1e-300, 1e300, 1e-8, 0.0, -1.0)))
        shape = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[covariance_type]
        identity = np.eye(D) if covariance_type in ("full", "tied") else 1.0
        chosen["precisions_init"] = np.broadcast_to(identity, shape) * scale
    if not draw(mostly):
        name = draw(st.sampled_from(sorted(chosen)))
        chosen[name] = draw(st.sampled_from((None, -1, 0, 1.5, True, "a", [], np.nan, object())))
    return chosen


@st.composite
def weights(draw: Any, n: int) -> Any:
    kind = draw(st.sampled_from(("none", "none", "positive", "some zero", "tiny", "wide", "bad")))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    w = rng.uniform(0.5, 2, size=n)
    if kind == "some zero":
        w[rng.uniform(size=n) < 0.5] = 0
    elif kind == "tiny":
        w *= 1e-310
    elif kind == "wide":
        w = 10.0 ** rng.uniform(-300, 300, size=n)
    elif kind == "bad":
        return draw(st.sampled_from((-w, w[1:], np.zeros(n), w * np.nan, "a", 2.0, w[:, None])))
    return None if kind == "none" else w


def attempt(model: GaussianMixture, call: Callable[[], Any], *given: Any) -> Any:
    """The result of a call, or None if it failed as it may; nothing that was given is changed."""
    state = {name: id(value) for name, value in vars(model).items()}
    contents = copy.deepcopy(vars(model))
    before = copy.deepcopy(given)
    result = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except (ValueError, TypeError) as error:
            assert any(name in str(error) for name in NAMES), repr(error)
            assert {name: id(value) for name, value in vars(model).items()} == state
            assert_same(vars(model), contents)
    allowed = (UserWarning, ConvergenceWarning, convergence_warning_class())
    assert all(w.category in allowed for w in caught), [str(w.message) for w in caught]
    assert_same(before, given)
    return result


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        exact = a.astype(str) if a.dtype == object else a   # an object NaN equals no other
        np.testing.assert_array_equal(exact, b.astype(exact.dtype))
    elif type(a) is not object and not isinstance(a, np.random.RandomState):
        assert a == b or (a != a and b != b)


def assert_valid(model: GaussianMixture) -> None:
    for name in PARAMETERS:
        assert np.isfinite(getattr(model, name)).all(), name
    w = model.weights_.astype(np.float64)
    eps = float(np.finfo(model.weights_.dtype).eps)
    if model.warm_start is True and model.max_iter == 0:
        eps = float(np.finfo(np.float32).eps)   # the weights may be those of an earlier fit, to float32
    assert (w >= 0).all() and abs(w.sum() - 1) <= (len(w) + 2) * eps
    factors = model.precisions_cholesky_
    pivots = factors if factors.ndim < 2 or model.covariance_type == "diag" else np.einsum("...ii->...i", factors)
    assert (pivots > 0).all()
    variances = model.covariances_
    if model.covariance_type in ("full", "tied"):
        np.testing.assert_array_equal(variances, np.swapaxes(variances, -1, -2))
        variances = np.einsum("...ii->...i", variances)
    assert (variances > 0).all()
    assert len(model.lower_bounds_) == model.n_iter_
    for bound in (*model.lower_bounds_, model.lower_bound_):    # from absurd means, the sum overflows
        assert bound < np.inf and bound == bound


def assert_consistent(model: GaussianMixture, X: Any) -> None:
    """What the methods say of samples that they accept."""
    proba = attempt(model, lambda: model.predict_proba(X), X)
    if proba is None:
        return
    K = len(model.weights_)
    eps = float(np.finfo(proba.dtype).eps)
    assert (proba >= 0).all() and (proba <= 1).all()
    assert (abs(proba.sum(axis=1, dtype=np.float64) - 1) <= (K + 2) * eps).all()
    labels = model.predict(X)
    assert (proba[np.arange(len(labels)), labels] >= proba.max(axis=1) - 4 * eps).all()
    scores = model.score_samples(X)
    assert not np.isnan(scores).any() and not (scores == np.inf).any()
    mean = (scores.astype(np.float64) / len(scores)).sum()
    error = len(scores) * eps * abs(scores).max()
    assert model.score(X) == mean or abs(model.score(X) - mean) <= error
    other = pickle.loads(pickle.dumps(model)).set_params(n_threads=2)
    np.testing.assert_array_equal(other.predict_proba(X), proba)
    np.testing.assert_array_equal(other.score_samples(X), scores)


@given(st.data())
def test_a_call_gives_a_valid_result_or_a_clear_error(choices: st.DataObject) -> None:
    X = choices.draw(data(), label="X")
    shape = np.shape(X)
    D = shape[1] if len(shape) == 2 else 2
    model = GaussianMixture(**choices.draw(parameters(D), label="parameters"))
    for step in range(2):
        w = choices.draw(weights(shape[0] if shape else 1), label="sample_weight")
        fitted = attempt(model, lambda X=X, w=w: model.fit(X, sample_weight=w), X, w)
        if fitted is not None:
            assert_valid(model)
            assert_consistent(model, X)
            Y, labels = model.sample(3)
            assert Y.shape == (3, model.n_features_in_) and labels.shape == (3,)
            if w is None and hasattr(X, "astype") and X.dtype == np.float64:
                assert_same_fit(model, np.ascontiguousarray(X), step)
        attempt(model, lambda X=X: model.bic(X), X)
        other = choices.draw(data(D), label="other X")
        attempt(model, lambda other=other: model.predict(other), other)
        if fitted is not None:
            assert_consistent(model, other)
        X = choices.draw(st.sampled_from((X, other)))
        shape = np.shape(X)
    target(float(hasattr(model, "weights_")))


def assert_same_fit(model: GaussianMixture, X: np.ndarray, step: int) -> None:
    """The layout of the data and the number of threads change no bit."""
    if step > 0 or isinstance(model.random_state, np.random.RandomState) or model.random_state is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = GaussianMixture(**{**model.get_params(), "n_threads": 2}).fit(X)
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
