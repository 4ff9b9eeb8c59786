"""Fuzz tests: any call gives a valid result, or a ValueError or TypeError that leaves everything unchanged.

`pytest tests/test_fuzz.py --hypothesis-profile=long` tries many more examples, and other ones each time.
"""

from __future__ import annotations

import copy
import functools
import io
import json
import pickle
import tempfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, target
from hypothesis import strategies as st

from gmm_core import ConvergenceWarning, GaussianMixture
from gmm_core.core.errors import convergence_warning_class

EPS = float(np.finfo(np.float64).eps)
TYPES = ("full", "tied", "diag", "spherical")
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
# Every message of an error contains one of these.
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
)


@st.composite
def numbers(draw: Any, n: int, D: int) -> np.ndarray:
    """Draw groups of normal numbers at some scale and place, which may be spoiled in some way."""
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
        "init_params": draw(st.sampled_from(("kmeans", "k-means++", "random", "random_from_data", "hierarchical"))),
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
    """Return the result of a call, or None if it failed as it may.

    Assert that the call does not change its arguments, and that a failed one does not change the model.
    """
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
        exact = a.astype(str) if a.dtype == object else a  # a NaN that is an object equals no other
        np.testing.assert_array_equal(exact, b.astype(exact.dtype))
    elif type(a) is not object and not isinstance(a, np.random.RandomState):
        assert a == b or (a != a and b != b)


def assert_valid(model: GaussianMixture) -> None:
    for name in PARAMETERS:
        assert np.isfinite(getattr(model, name)).all(), name
    w = model.weights_.astype(np.float64)
    eps = float(np.finfo(model.weights_.dtype).eps)
    if model.warm_start is True and model.max_iter == 0:
        eps = float(np.finfo(np.float32).eps)  # the weights may come from an earlier fit in float32
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
    for bound in (*model.lower_bounds_, model.lower_bound_):  # -inf if absurd means make the sum overflow
        assert bound < np.inf and bound == bound


def assert_consistent(model: GaussianMixture, X: Any) -> None:
    """Assert that the results of all methods for some samples agree, if the methods accept them."""
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
    """Assert that the fit does not depend on the layout of the data and on the number of threads."""
    if step > 0 or isinstance(model.random_state, np.random.RandomState) or model.random_state is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = GaussianMixture(**{**model.get_params(), "n_threads": 2}).fit(X)
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))


# --- files --------------------------------------------------------------------------------------

ODD = (None, True, -1, 1.5, 2**70, 10**400, "a", "full", [], [[]], ["a"], [None], {}, {"a": 1}, np.nan, np.inf, -np.inf)
# Predictions do not read these arrays, so other finite values in them have no effect.
UNUSED = ("covariances_", "precisions_")


def samples() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(130, 3)) + 3 * rng.integers(0, 2, size=(130, 1))


@functools.cache
def saved_models() -> tuple[bytes, ...]:
    """Return files of models of all types: in float32, with names and initial arrays, and in a stream."""
    contents = []
    with tempfile.TemporaryDirectory() as folder:
        for covariance_type in TYPES:
            params = {"n_components": 2, "random_state": 0, "covariance_type": covariance_type}
            plain = GaussianMixture(**params, n_init=2, max_iter=3, tol=1e3).fit(samples().astype(np.float32))
            named = GaussianMixture(**params, means_init=samples()[:2], reg_covar=[1e-6] * 3).fit(samples())
            vars(named)["feature_names_in_"] = np.array(["a", "b", "c"], object)
            collecting = GaussianMixture(**params).partial_fit(samples()[:40])
            stream = GaussianMixture(**params, forget_factor=0.99).partial_fit(samples())
            for model in (plain, named, collecting, stream):
                model.save(f"{folder}/m")
                contents.append(Path(folder, "m").read_bytes())
    return tuple(contents)


@functools.cache
def saved_checkpoints() -> tuple[bytes, ...]:
    """Return checkpoints of all types: in the first start, between two starts, and in the second start."""
    contents = []
    with tempfile.TemporaryDirectory() as folder:
        for covariance_type in TYPES:
            for n_calls in (2, 5, 7):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    fit_from(Path(folder, "state"), covariance_type, contents, n_calls)
    return tuple(contents)


def fit_from(path: Path, covariance_type: str, contents: list[bytes] | None = None, n_calls: int = 0) -> GaussianMixture:
    """Run the fit of the checkpoints. If `contents` is given, append the `n_calls`-th checkpoint to it."""
    from gmm_core.fit.checkpoints import Checkpoint

    model = GaussianMixture(
        2, covariance_type=covariance_type, n_init=2, max_iter=5, tol=0, random_state=0,
        init_params="random_from_data", checkpoint=path, checkpoint_interval=100 if contents is None else 1,
    )
    if contents is None:
        return model.fit(samples())
    calls, save = iter(range(1, 100)), Checkpoint.save

    def counting(self: Checkpoint, state: Any) -> None:
        save(self, state)
        if next(calls) == n_calls:
            contents.append(path.read_bytes())

    Checkpoint.save = counting  # type: ignore[method-assign]
    try:
        return model.fit(samples())
    finally:
        Checkpoint.save = save  # type: ignore[method-assign]


@functools.cache
def uninterrupted(covariance_type: str) -> GaussianMixture:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        return fit_from(Path(folder, "state"), covariance_type)


def places(header: Any) -> list[tuple[Any, ...]]:
    """Return all places in a header, each as the keys that lead there."""
    found: list[tuple[Any, ...]] = []
    items = header.items() if isinstance(header, dict) else enumerate(header) if isinstance(header, list) else ()
    for key, value in items:
        found += [(key,), *((key, *rest) for rest in places(value))]
    return found


@st.composite
def other_arrays(draw: Any, arrays: dict[str, np.ndarray]) -> None:
    """Spoil an array in a way that must be noticed, or that has no effect."""
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    how = draw(st.sampled_from(("drop", "shape", "dtype", "value")))
    if how == "drop":
        del arrays[name]
    elif how == "shape":
        arrays[name] = draw(st.sampled_from((
            array[:0], array[:-1], array[None], array.ravel()[:, None], array[..., :1], array[..., :0],
            np.concatenate([array, array]), np.zeros((4_000, 2)), np.zeros(()),
        )))
    elif how == "dtype":
        dtype = np.dtype(draw(st.sampled_from([d for d in DTYPES if d not in ("f4", ">f4", "O")])))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            arrays[name] = array.astype("i8").astype(dtype) if dtype.kind == "M" else array.astype(dtype)
    elif array.dtype.kind == "f" and array.size:
        array = array.copy()
        usual = (np.nan, np.inf, -np.inf, 1e30)[: 4 if name in UNUSED else 3]
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(usual))
        arrays[name] = array


class Spoiled(bytes):
    """Bytes that hypothesis prints as their number, because there are too many to read."""

    def __repr__(self) -> str:
        return f"{len(self)} bytes"


@st.composite
def spoiled(draw: Any, content: bytes) -> bytes:
    """Draw the bytes of a file after an accident, or after an attack."""
    how = draw(st.sampled_from(("header", "header", "array", "array", "cut", "flip", "around", "huge", "compressed")))
    if how == "cut":
        return Spoiled(content[: draw(st.integers(0, len(content) - 1))])
    if how == "flip":
        changed = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            changed[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
        return Spoiled(changed)
    if how == "around":
        return Spoiled(draw(st.binary(max_size=50)) + content + draw(st.binary(max_size=50)))
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    huge: dict[str, np.ndarray] = {}
    if how == "array":
        draw(other_arrays(arrays))
    elif how == "header":
        *path, last = draw(st.sampled_from(places(header)))
        where = functools.reduce(lambda part, key: part[key], path, header)
        is_float = type(where[last]) is float  # another float would not be noticed
        if draw(st.booleans()) and not (is_float and isinstance(where, list)):
            del where[last]
        else:
            where[last] = draw(st.sampled_from(("a", None, np.nan, []) if is_float else ODD))
    elif how == "huge":
        huge[draw(st.sampled_from((*sorted(arrays), "other")))] = np.zeros((100_000, 2))
    file = io.BytesIO()
    members = {"header": np.array(json.dumps(header)), **arrays, **huge}
    compressed = {*huge} if how == "huge" else {draw(st.sampled_from(sorted(members)))} if how == "compressed" else {}
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED if name in compressed else zipfile.ZIP_STORED
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, array)
    return Spoiled(file.getvalue())


@given(st.data())
def test_a_spoiled_model_is_refused_or_predicts_the_same(choices: st.DataObject) -> None:
    content = saved_models()[choices.draw(st.integers(0, len(saved_models()) - 1))]
    changed = choices.draw(spoiled(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a model")
        path.write_bytes(content)
        expected = GaussianMixture.load(path)
        path.write_bytes(changed)
        tracemalloc.start()
        try:
            model = GaussianMixture.load(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} is not a model saved by gmm_core: ")
            assert "pickle" not in str(error)
            return
        finally:
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
            tracemalloc.stop()
        probe = samples()[:5]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about names that only the model or the data have
            np.testing.assert_array_equal(model.predict_proba(probe), expected.predict_proba(probe))
            np.testing.assert_array_equal(model.score_samples(probe), expected.score_samples(probe))
            model.save(path)
        assert_same(vars(GaussianMixture.load(path))["weights_"], model.weights_)


@given(st.data())
def test_a_spoiled_checkpoint_is_refused_or_gives_the_same_fit(choices: st.DataObject) -> None:
    number = choices.draw(st.integers(0, len(saved_checkpoints()) - 1))
    content, covariance_type = saved_checkpoints()[number], TYPES[number // 3]
    changed = choices.draw(spoiled(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state")
        path.write_bytes(changed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = fit_from(path, covariance_type)
        except ValueError as error:
            assert str(path) in str(error) and path.read_bytes() == changed
            return
    expected = uninterrupted(covariance_type)
    for name in (*PARAMETERS, "lower_bounds_", "lower_bound_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
    assert [restart[1:4] for restart in model.restarts_] == [restart[1:4] for restart in expected.restarts_]
