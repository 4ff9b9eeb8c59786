"""Tests that bad input raises scikit-learn's exception, names the argument, and leaves the estimator unchanged.

Further tests show that a fit to any container that scikit-learn accepts is the fit to the plain array.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.mixture import GaussianMixture as SklearnMixture

from gmm_core import GaussianMixture

# with 12 samples, a component may get only two
pytestmark = pytest.mark.filterwarnings("ignore:components? .* collapsed")

X = np.random.RandomState(0).randn(12, 2)
FRAME = pd.DataFrame(X, columns=["a", "b"])


def put(value: Any, dtype: Any = np.float64) -> np.ndarray:
    Y = X.astype(dtype)
    Y[3, 1] = value
    return Y


class Bad:
    """A call that fails, with parameters of the constructor and arguments of fit or predict."""

    def __init__(
        self, message: str, *args: Any, after: Any = None, ours: type | None = None, **params: Any
    ) -> None:
        self.message = message
        self.args = args or (X,)
        self.after = after  # the X of predict, which is called after a fit
        self.ours = ours  # the type of the exception, if it is not scikit-learn's
        self.params = params

    def __call__(self, model: Any) -> None:
        model.set_params(**self.params)
        if self.after is None:
            model.fit(*self.args)
        else:
            model.predict(self.after)


DATA = {
    "NaN": Bad(r'X contains NaN.*missing="marginalize".*The first is X\[3, 1\]', put(np.nan)),
    "inf": Bad(r"X contains infinity .* dtype\('float64'\).*X\[3, 1\]", put(np.inf)),
    "-inf in float32": Bad(r"X contains infinity .* dtype\('float32'\)", put(-np.inf, np.float32)),
    "empty": Bad(r"shape=\(0, 2\).*minimum of 2 .*Give X of", X[:0]),
    "empty list": Bad("Expected 2D array, got 1D array.*X.reshape", []),
    "one sample": Bad(r"shape=\(1, 2\).*minimum of 2 .*Give X of", X[:1]),
    "no features": Bad(r"shape=\(12, 0\).*minimum of 1 .*Give X of", X[:, :0]),
    "scalar": Bad("Expected 2D array, got scalar.*X.reshape", 3.0),
    "None": Bad("Expected 2D array, got None.*X of shape", None),
    "1-D": Bad("Expected 2D array, got 1D.*X.reshape", X[0]),
    "3-D": Bad(r"dim 3, .*Give X of shape .* not \(2, 6, 2\)", X.reshape(2, 6, 2)),
    "ragged": Bad(r"inhomogeneous.*\(X should be", [[1, 2], [3]]),
    "objects": Bad(r"not 'dict' \(X should be an array of numbers", put({}, object)),
    "None in objects": Bad("X contains NaN", put(None, object)),
    "strings": Bad(r"to float: 'a' \(X should be an array of numbers", [["a", "b"]] * 3),
    "complex": Bad("Complex data not supported.*X has dtype complex128", X + 0j),
    "sparse matrix": Bad("Sparse data was passed for X", scipy.sparse.csr_matrix(X)),
    "sparse array": Bad("Sparse data was passed for X", scipy.sparse.coo_array(X)),
    "masked NaN": Bad(r"X has masked values.*X\[3, 1\]", np.ma.masked_invalid(put(np.nan))),
    "a column of dates": Bad("'when' of X has dtype datetime64", FRAME.assign(when=pd.Timestamp(0)), ours=TypeError),
    "a function": Bad("X is of type function, expected an array or a data frame. fit_batches", lambda: X),
    # OverflowError there; bad input is a ValueError or a TypeError
    "huge int": Bad(r"too large.*\(X should be", [[10**400, 1], [1, 1]], ours=ValueError),
    "text column": Bad(r"to float: 'x' \(X should be.*'b'", pd.DataFrame({"a": [1.0, 2], "b": ["x", "y"]})),
    "names of mixed types": Bad("string names, but X has names", pd.DataFrame(X, columns=["a", 1])),
    "fewer samples than components": Bad("n_components = 13, n_samples = 12", n_components=13),
    "other width": Bad("X has 1 features, but .* expecting 2", after=X[:, :1]),
    "predict NaN": Bad("X contains NaN", after=put(np.nan)),
    "predict nothing": Bad(r"shape=\(0, 2\)", after=X[:0]),
    "predict strings": Bad("X has dtype <U.*, expected numbers", after=X.astype(str)),
}
PARAMETERS = {
    **{
        f"{name}={value!r}"[:40]: Bad(f"'{name}' parameter of .* must be .*{expected}.* Got", **{name: value})
        for name, expected, values in (
            ("n_components", r"an int in the range \[1, inf\)", (0, -1, 1.5, "2", None)),
            ("tol", r"a float in the range \[0.0, inf\)", (-1, np.nan, np.inf, "a", None)),
            ("max_iter", r"an int in the range \[0, inf\)", (-1, 1.5, None)),
            ("n_init", r"an int in the range \[1, inf\)", (0, 1.5)),
            ("reg_covar", r"a float in the range \[0.0, inf\)", (-1, np.nan, None)),
            ("covariance_type", "'full', 'tied', 'diag', 'spherical'", ("foo", None, "FULL")),
            ("init_params", "'kmeans', 'k-means\\+\\+', 'random', 'random_from_data'", ("foo", None)),
            ("random_state", r"an int in the range \[0, 4294967295\]", (-1, "a", 1.5)),
            ("warm_start", "'bool'", (2, "yes")),
            ("verbose", r"an int in the range \[0, inf\)", (-1, "a")),
            ("verbose_interval", r"an int in the range \[1, inf\)", (0,)),
            ("weights_init", "an array-like or None", (3, "a")),
        )
        for value in values
    },
    # scikit-learn raises TypeError "an integer is required" from within its fit
    "n_components=True": Bad(r"'n_components' .* an int in .* Got True", n_components=True, ours=ValueError),
    "weights that sum to 1.1": Bad(r"'weights' .*normalized.* 1\.10000", weights_init=[0.5, 0.6]),
    "weight < 0": Bad(r"'weights' .*range \[0, 1\].*-0\.5", weights_init=[-0.5, 1.5]),
    "weights too short": Bad(r"'weights' .*shape of \(2,\), but got \(1,\)", weights_init=[1.0]),
    "NaN weight": Bad("'weights' must be finite.* NaN", weights_init=[0.5, np.nan]),
    "means of another shape": Bad(r"'means' .*of \(2, 2\), but got \(1, 2\)", means_init=[[1.0, 2]]),
    "infinite mean": Bad("'means' must be finite.* infinity", means_init=[[1.0, np.inf], [0, 0]]),
    "precisions of another shape": Bad(r"'full precision' .*\(2, 2, 2\), but", precisions_init=np.eye(2)),
    "precision < 0": Bad("'full precision' .*component 1 is not positive-definite", precisions_init=[np.eye(2), -np.eye(2)]),
    "precision not symmetric": Bad("'full precision' .*component 0 is not symmetric", precisions_init=[[[1, 0.1], [0, 1]], np.eye(2)]),
    "tied precision": Bad("'tied precision' .*shared precision is not positive-definite", covariance_type="tied", precisions_init=[[1, 2], [2, 1]]),
    "diag precision": Bad("'diag precision' should be positive, .*min value 0", covariance_type="diag", precisions_init=np.zeros((2, 2))),
    "spherical precision": Bad("'spherical precision' should be positive", covariance_type="spherical", precisions_init=[1, -1]),
}
CASES = {**DATA, **PARAMETERS}


def outcome(call: Callable[[], object]) -> Exception:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:  # noqa: B017
            call()
    return caught.value


@pytest.mark.parametrize("name", CASES)
def test_exception_and_message(name: str) -> None:
    case = CASES[name]
    error = outcome(lambda: case(GaussianMixture(2, random_state=0).fit(X)))
    assert re.search(case.message, str(error), re.DOTALL), str(error)
    theirs = type(outcome(lambda: case(SklearnMixture(2, random_state=0).fit(X))))
    if case.ours is not None:
        assert isinstance(error, case.ours) and not issubclass(theirs, ValueError)
    elif theirs.__name__ == "InvalidParameterError":
        assert type(error).__name__ == "InvalidParameterError"
    else:
        assert isinstance(error, theirs)
    assert isinstance(error, (ValueError, TypeError))


@pytest.mark.parametrize("name", CASES)
def test_a_failed_call_leaves_no_trace(name: str) -> None:
    case = CASES[name]
    model = GaussianMixture(2, random_state=0).fit(X).set_params(**case.params)
    state, values = dict(vars(model)), copy.deepcopy(vars(model))
    arguments = copy.deepcopy((case.args, case.after))
    outcome(lambda: case(model))
    assert vars(model).keys() == state.keys()
    assert all(vars(model)[key] is value for key, value in state.items())
    for key, value in values.items():
        np.testing.assert_array_equal(vars(model)[key], value)
    for before, now in zip((*arguments[0], arguments[1]), (*case.args, case.after), strict=True):
        same = (before != now).nnz == 0 if scipy.sparse.issparse(now) else (
            now.equals(before) if isinstance(now, pd.DataFrame)
            else np.array_equal(before, now, equal_nan=getattr(now, "dtype", None) in (float, "f4"))
            if isinstance(now, np.ndarray) else before == now
        )
        assert same


@pytest.mark.parametrize(
    ("columns", "message"),
    [(["b", "a"], "must be in the same order"), (["a", "c"], "unseen at fit time:\n- c.*now missing:\n- b")],
)
def test_names_of_features(columns: list[str], message: str) -> None:
    other = pd.DataFrame(X, columns=columns)
    for cls in (GaussianMixture, SklearnMixture):
        with pytest.raises(ValueError, match=f"(?s)feature names should match.*{message}"):
            cls(2, random_state=0).fit(FRAME).predict(other)


WEIGHTS = {
    "negative": (put(0)[:, 0] - 10, "Negative values in data passed to `sample_weight`: the least is"),
    "NaN": (np.full(12, np.nan), r"sample_weight contains NaN.*sample_weight\[0\]"),
    "infinite": (np.full(12, np.inf), "sample_weight contains infinity"),
    "all zero": (np.zeros(12), "Sample weights must contain at least one non-zero"),
    "too few": (np.ones(11), r"sample_weight.shape == \(11,\), expected \(12,\)"),
    "a column": (np.ones((12, 1)), r"Sample weights must be 1D .* \(12, 1\); expected .*\(12,\)"),
    "text": (["a"] * 12, r"to float: 'a' \(sample_weight should"),
    "complex": (np.ones(12) + 1j, "Complex data not supported.*sample_weight has dtype complex128"),
    "one sample for two components": (np.eye(12)[0], "n_components = 2, n_samples = 1"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_sample_weight(name: str) -> None:
    weight, message = WEIGHTS[name]
    model = GaussianMixture(2, random_state=0)
    before = copy.deepcopy(weight)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(X, sample_weight=weight)
    assert not hasattr(model, "means_")
    np.testing.assert_array_equal(weight, before)
    if name != "one sample for two components":
        model.fit(X)
        for method in (model.score, model.bic, model.aic):
            with pytest.raises(ValueError, match=f"(?s){message}"):
                method(X, sample_weight=weight)


def test_methods_before_fit() -> None:
    theirs = outcome(lambda: SklearnMixture().predict(X))
    for name in ("predict", "predict_proba", "score_samples", "score", "bic", "aic"):
        error = outcome(lambda name=name: getattr(GaussianMixture(), name)(X))  # type: ignore[misc]
        assert type(error) is type(theirs) and "is not fitted yet" in str(error)
    for call in (lambda: GaussianMixture().sample(), lambda: GaussianMixture().save("nowhere")):
        assert type(outcome(call)) is type(theirs)


@pytest.mark.parametrize("n_samples", [0, -1, 0.5, "a", None, [3]])
def test_n_samples(n_samples: Any) -> None:
    theirs = outcome(lambda: SklearnMixture().fit(X).sample(n_samples))
    error = outcome(lambda: GaussianMixture().fit(X).sample(n_samples))
    assert isinstance(error, type(theirs)) and "n_samples" in str(error)


# --- accepted input -------------------------------------------------------------------------

INTEGERS = np.random.RandomState(1).randint(-50, 50, size=(40, 2)).astype(float)
HALVES = INTEGERS / 4


def unaligned(Y: np.ndarray) -> np.ndarray:
    buffer = np.empty(Y.nbytes + 1, np.uint8)[1:].view(Y.dtype).reshape(Y.shape)
    buffer[...] = Y
    assert not buffer.flags.aligned
    return buffer


def read_only(Y: np.ndarray) -> np.ndarray:
    Y = Y.copy()
    Y.flags.writeable = False
    return Y


def doubled_strides(Y: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(Y, 2, axis=0), 3, axis=1)[::2, ::3]


CONTAINERS: dict[str, Callable[[np.ndarray], Any]] = {
    "lists": np.ndarray.tolist,
    "tuples": lambda Y: tuple(map(tuple, Y.tolist())),
    "list of arrays": list,
    "Fortran order": np.asfortranarray,
    "negative strides": lambda Y: np.ascontiguousarray(Y[::-1, ::-1])[::-1, ::-1],
    "strides": doubled_strides,
    "big-endian": lambda Y: Y.astype(">f8"),
    "big-endian float32": lambda Y: Y.astype(">f4"),
    "float16": lambda Y: Y.astype(np.float16),
    "long double": lambda Y: Y.astype(np.longdouble),
    "objects": lambda Y: Y.astype(object),
    "read-only": read_only,
    "unaligned": unaligned,
    "masked array": np.ma.array,
    "pandas": lambda Y: pd.DataFrame(Y, columns=["a", "b"]),
    "pandas, numbered columns": pd.DataFrame,
    "pandas, nullable": lambda Y: pd.DataFrame(Y, columns=["a", "b"], dtype="Float64"),
    "pandas, mixed": lambda Y: pd.DataFrame({"a": Y[:, 0], "b": Y[:, 1].astype(np.float32)}),
    "polars": lambda Y: pl.DataFrame(Y, schema=["a", "b"]),
    "pyarrow": lambda Y: pa.table({"a": Y[:, 0], "b": Y[:, 1]}),
}


def assert_same_fit(given: Any, plain: np.ndarray) -> None:
    model, expected = (GaussianMixture(2, random_state=0).fit(Y) for Y in (given, plain))
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
        assert getattr(model, name).dtype == plain.dtype
    np.testing.assert_array_equal(model.score_samples(given), expected.score_samples(plain))
    np.testing.assert_array_equal(model.predict_proba(given), expected.predict_proba(plain))
    assert model.fit_predict(given).tolist() == expected.predict(plain).tolist()


@pytest.mark.parametrize("name", CONTAINERS)
def test_any_container_gives_the_fit_of_the_plain_array(name: str) -> None:
    given = CONTAINERS[name](HALVES)
    before = copy.deepcopy(given)
    SklearnMixture(2, random_state=0).fit(given)  # scikit-learn accepts the container
    assert_same_fit(given, HALVES)
    np.testing.assert_array_equal(np.asarray(given), np.asarray(before))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, ">i4", np.uint8, np.uint64])
def test_integers(dtype: Any) -> None:
    Y = abs(INTEGERS)
    assert_same_fit(Y.astype(dtype), Y)


def test_bools() -> None:
    Y = INTEGERS > 0
    assert_same_fit(Y, Y.astype(float))


@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_read_only_memory_maps_aligned_or_not(tmp_path: Any, dtype: Any, offset: int) -> None:
    Y = HALVES.astype(dtype)
    (tmp_path / "Y").write_bytes(b"\0" * offset + Y.tobytes())
    mapped = np.memmap(tmp_path / "Y", dtype, "r", offset, Y.shape)
    assert mapped.flags.aligned == (offset == 0)
    assert_same_fit(mapped, Y)


def test_masked_parameters_are_refused() -> None:
    masked = np.ma.array([[1.0, 2], [3, 4]], mask=[[0, 0], [0, 1]])
    for name in ("means_init", "reg_covar"):
        model = GaussianMixture(2, **{name: masked if name == "means_init" else masked[1]})
        with pytest.raises(ValueError, match=r"has masked values, the first is \w+\[.*1\]"):
            model.fit(X)
    model = GaussianMixture(2, weights_init=np.ma.array([0.5, 0.5], mask=[1, 0]))
    with pytest.raises(ValueError, match="has masked values"):
        model.fit(X)
    without = GaussianMixture(2, means_init=np.ma.array(X[:2], mask=False), random_state=0).fit(X)
    assert without.means_.tolist() == GaussianMixture(
        2, means_init=X[:2], random_state=0
    ).fit(X).means_.tolist()


def test_missing_values_are_refused_unless_they_are_marginalized() -> None:
    for call in (
        lambda model: model.fit(put(np.nan)),
        lambda model: model.fit_batches([put(np.nan)]),
        lambda model: model.partial_fit(put(np.nan)),
        lambda model: model.fit(X).partial_fit(put(np.nan)),
    ):
        with pytest.raises(ValueError, match='(?s)NaN.*With missing="marginalize", the estimators'):
            call(GaussianMixture(2, random_state=0))
        call(GaussianMixture(2, random_state=0, missing="marginalize"))


def test_masked_values_are_missing_values() -> None:
    masked = np.ma.array(np.where(X > 1, 500.0, X), mask=X > 1)
    incomplete = np.where(X > 1, np.nan, X)
    model, expected = (
        GaussianMixture(2, random_state=0, missing="marginalize").fit(Y) for Y in (masked, incomplete)
    )
    np.testing.assert_array_equal(model.means_, expected.means_)
    np.testing.assert_array_equal(model.score_samples(masked), expected.score_samples(incomplete))
    np.testing.assert_array_equal(model.impute(masked), expected.impute(incomplete))
    for learn in (lambda Y: model.partial_fit(Y), lambda Y: model.fit_batches([Y])):
        state = vars(model).copy()
        of_masked = learn(masked).means_
        vars(model).update(state)
        np.testing.assert_array_equal(learn(incomplete).means_, of_masked)
