"""Tests of the steps of EM as functions, against the functions of the same names in the NumPy baseline."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gmm_core
from gmm_core import GaussianMixture, Statistics, reference

TYPES = ["full", "tied", "diag", "spherical"]
Make = Callable[..., Any]  # the type of the fixtures that return functions
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
all_types = pytest.mark.parametrize("covariance_type", TYPES)


@pytest.fixture
def model(
    covariance_type: str, dtype: str, make_problem: Make
) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...]]:
    """Return X, sample_weight, (weights, means, precisions_cholesky, covariance_type)."""
    problem = make_problem(covariance_type, 700, 3, 5, dtype)
    p = problem.parameters
    return problem.X, problem.weight, (p.weights, p.means, p.prepared.precisions_cholesky, covariance_type)


def near(got: np.ndarray, truth: np.ndarray, dtype: str) -> None:
    """Assert that results differ by rounding: of sums of D + K terms, or of 700 squares for moments."""
    error = 300 * float(np.finfo(dtype).eps) * max(1, abs(truth).max())
    np.testing.assert_allclose(got, truth, rtol=0, atol=error)


@both_dtypes
@all_types
def test_scores(model: Any, covariance_type: str, dtype: str) -> None:
    X, _, parameters = model
    X64 = X.astype(np.float64)
    log_density = gmm_core.log_density(X, *parameters[1:])
    near(log_density, reference.log_density(X64, *parameters[1:]), dtype)
    log_likelihood, r = gmm_core.expectation_step(X, *parameters)
    truth = reference.expectation_step(X64, *parameters)
    near(log_likelihood, truth[0], dtype)
    near(r, truth[1], dtype)
    assert np.array_equal(gmm_core.responsibilities(X, *parameters), r)
    assert log_density.dtype == log_likelihood.dtype == r.dtype == dtype

    out = np.empty_like(log_density), np.empty_like(log_likelihood), np.empty_like(r)
    assert gmm_core.log_density(X, *parameters[1:], out=out[0]) is out[0]
    results = gmm_core.expectation_step(X, *parameters, out=out[1:], n_threads=2)
    assert results[0] is out[1] and results[1] is out[2]
    for got, expected in zip(out, (log_density, log_likelihood, r), strict=True):
        assert np.array_equal(got, expected)
    assert gmm_core.responsibilities(X, *parameters, out=out[2]) is out[2]


@both_dtypes
@all_types
def test_steps(model: Any, covariance_type: str, dtype: str) -> None:
    """The parameters are the baseline's, from responsibilities or in one pass, of all data or of parts."""
    X, weight, parameters = model
    X64 = X.astype(np.float64)
    r = gmm_core.responsibilities(X, *parameters)
    shift = parameters[1]
    truth = reference.maximization_step(X64, r.astype(np.float64), covariance_type, 1e-3, weight)
    factors = reference.precision_cholesky(truth[2], covariance_type)
    parts = [slice(0, 300), slice(300, 700)]
    for statistics in (
        gmm_core.sufficient_statistics(X, r, covariance_type, shift, weight),
        sum(
            gmm_core.sufficient_statistics(X[i], r[i], covariance_type, shift, weight[i])
            for i in parts
        ),
        gmm_core.accumulate(X, *parameters, weight),
        sum(gmm_core.accumulate(X[i], *parameters, weight[i], n_threads=2) for i in parts),
    ):
        got = gmm_core.maximization_step(statistics, 1e-3)
        for array, expected in zip(got, (*truth, factors), strict=True):
            near(array, expected, dtype)
        assert statistics.weight == pytest.approx(weight.sum(), rel=1e-6)
        near(statistics.counts, (r.astype(np.float64) * weight[:, None]).sum(axis=0), dtype)
    log_likelihood = reference.log_likelihood(X64, *parameters)
    assert statistics.log_likelihood == pytest.approx(weight @ log_likelihood, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("dtype", ["float64"])
@all_types
def test_a_loop_over_the_steps_is_fit(model: Any, covariance_type: str) -> None:
    """A loop over the functions gives bit-identical parameters to those of GaussianMixture."""
    X, _, (weights, means, factors, _) = model
    fitted = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=weights,
        means_init=means,
        precisions_init=np.ones_like(factors)
        if factors.ndim < 2 or covariance_type == "diag"
        else np.broadcast_to(np.eye(5), factors.shape).copy(),
        max_iter=4,
        tol=0,
    )
    fitted.fit(X)
    factors = fitted.precisions_init
    for _ in range(4):
        statistics = gmm_core.accumulate(X, weights, means, factors, covariance_type)
        weights, means, covariances, factors = gmm_core.maximization_step(statistics)
    assert np.array_equal(weights, fitted.weights_)
    assert np.array_equal(means, fitted.means_)
    assert np.array_equal(covariances, fitted.covariances_)


@pytest.mark.parametrize("covariance_type", ["full"])
@pytest.mark.parametrize("dtype", ["float64"])
def test_statistics(model: Any) -> None:
    X, weight, parameters = model
    one = gmm_core.accumulate(X[:300], *parameters, weight[:300])
    two = gmm_core.accumulate(X[300:], *parameters, weight[300:])
    copy = pickle.loads(pickle.dumps(one))
    assert np.array_equal(copy.values, one.values) and np.array_equal(copy.shift, one.shift)
    assert np.array_equal((copy + two).values, one.values + two.values)
    assert one.nbytes == 8 * (2 + 3 + 15 + 3 * 15 + 15)
    assert gmm_core.accumulate(X[300:], *parameters, weight[300:], out=one) is one
    assert np.array_equal(one.values, two.values)
    for other in (1, None, one.values):
        with pytest.raises(TypeError):
            one + other
    with pytest.raises(ValueError, match="one shift"):
        one + gmm_core.accumulate(X, parameters[0], parameters[1] + 1, *parameters[2:])


@pytest.mark.parametrize("covariance_type", ["full"])
@pytest.mark.parametrize("dtype", ["float64"])
def test_bad_arguments(model: Any) -> None:
    X, _, (weights, means, factors, _) = model
    names = ("X", "weights", "means", "precisions_cholesky", "covariance_type")
    good = dict(zip(names, (X, weights, means, factors, "full"), strict=True))
    lower = factors.transpose(0, 2, 1).copy()
    for change, message in (
        ({"X": X[:, :3]}, "means"),
        ({"X": X[0]}, "2D"),
        ({"X": np.where(X > 1, np.nan, X)}, "NaN"),
        ({"weights": weights[:2]}, "weights"),
        ({"weights": 2 * weights}, "weights"),
        ({"means": means[0]}, "means"),
        ({"means": means[:0]}, "means"),
        ({"means": means + np.inf}, "means"),
        ({"precisions_cholesky": factors[:2]}, "precisions_cholesky"),
        ({"precisions_cholesky": -factors}, "precisions_cholesky.*positive"),
        ({"precisions_cholesky": lower}, "precisions_cholesky.*triangular"),
        ({"covariance_type": "round"}, "covariance_type"),
        ({"covariance_type": ["full"]}, "covariance_type"),
        ({"out": np.empty((700, 3), np.float32)}, "out.*float32"),
        ({"out": np.empty((700, 2))}, "out.*shape"),
        ({"out": np.empty((3, 700)).T}, "out.*contiguous"),
        ({"X": X[:, :5], "out": X.reshape(-1)[:2100].reshape(700, 3)}, "out overlaps X"),
    ):
        with pytest.raises(ValueError, match=message):
            gmm_core.responsibilities(**(good | change))
    with pytest.raises(TypeError, match="out"):
        gmm_core.responsibilities(**good, out=[1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="out should be a tuple"):
        gmm_core.expectation_step(**good, out=np.empty(700))  # type: ignore[arg-type]

    r = gmm_core.responsibilities(**good)
    for arguments, message in (
        ((X, r[:2], "full", means), "responsibilities"),
        ((X, r[:, 0], "full", means), "responsibilities"),
        ((X, -r, "full", means), "responsibilities"),
        ((X, r * np.inf, "full", means), "responsibilities"),
        ((X, r, "full", means[:2]), "shift"),
        ((X, r, "round", means), "covariance_type"),
        ((X, r, "full", means, np.ones(3)), "sample_weight"),
    ):
        with pytest.raises(ValueError, match=message), np.errstate(invalid="ignore"):
            gmm_core.sufficient_statistics(*arguments)
    statistics = gmm_core.accumulate(**good)
    for bad, error in (({"out": 3}, TypeError), ({"out": wrong_size(X)}, ValueError)):
        with pytest.raises(error, match="out"):
            gmm_core.accumulate(**good, **bad)
    with pytest.raises(TypeError, match="statistics should be Statistics"):
        gmm_core.maximization_step(statistics.values)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reg_covar"):
        gmm_core.maximization_step(statistics, -1.0)
    with pytest.raises(ValueError, match="no samples"):
        zeros = Statistics(np.zeros_like(statistics.values), means, "full")
        gmm_core.maximization_step(zeros)
    collapsed = gmm_core.accumulate(np.zeros((9, 5)), *list(good.values())[1:])
    with pytest.raises(ValueError, match="covariance of component"):
        gmm_core.maximization_step(collapsed, 0.0)


def wrong_size(X: np.ndarray) -> Statistics:
    return gmm_core.sufficient_statistics(X, np.ones((len(X), 1)), "full", X[:1])


@pytest.mark.parametrize("covariance_type", ["diag"])
@pytest.mark.parametrize("dtype", ["float64"])
def test_a_sample_without_density(model: Any) -> None:
    X, _, parameters = model
    X = np.concatenate([X[:5], np.full((1, 5), 1e200)])
    log_likelihood, r = gmm_core.expectation_step(X, *parameters)
    assert np.isneginf(log_likelihood[5]) and (r[5] == 0).all()
    with pytest.raises(ValueError, match=r"X\[5\]"):
        gmm_core.accumulate(X, *parameters)


# --- statistics that are refused ------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "shift", "covariance_type", "error", "message"),
    [
        (np.ones(3), np.zeros((200, 200)), "full", ValueError, "values has 3 sums, expected 4060202"),
        (np.ones(3), np.zeros((2, 1)), "full", ValueError, "values has 3 sums, expected 8"),
        (np.ones(8), np.zeros((2, 1)), "tied", ValueError, "values has 8 sums, expected 10"),
        (np.ones(8), np.zeros((2, 1)), "round", ValueError, "covariance_type should be one of full"),
        (np.ones(8), np.zeros((2, 1)), None, ValueError, "got None"),
        (np.ones(8, np.float32), np.zeros((2, 1)), "full", ValueError, "values has dtype float32"),
        (np.ones(8), np.zeros(2), "full", ValueError, r"shift has dtype float64 and shape \(2,\)"),
        (np.ones(8), np.zeros((0, 1)), "full", ValueError, "shift has .* expected"),
        ([1.0] * 8, np.zeros((2, 1)), "full", TypeError, "values should be an ndarray, but got list"),
    ],
)
def test_statistics_of_another_shape_or_type(
    values: Any, shift: Any, covariance_type: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Statistics(values, shift, covariance_type)
    made = Statistics(np.ones(8), np.zeros((2, 1)), "full")
    made.values, made.shift, made.covariance_type = values, shift, covariance_type
    with pytest.raises(error, match=message):  # the fields were changed after the construction
        gmm_core.maximization_step(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({2: np.nan}, "must be finite"),
        ({2: -1}, "the counts of statistics must not be negative"),
        ({6: np.inf}, "must be finite"),
        ({1: 0}, "holds no samples"),
        ({2: 0, 3: 0}, "holds no samples"),
    ],
)
def test_statistics_that_make_no_mixture(change: dict[int, float], message: str) -> None:
    values = np.ones(8)
    for i, value in change.items():
        values[i] = value
    with pytest.raises(ValueError, match=message):
        gmm_core.maximization_step(Statistics(values, np.zeros((2, 1)), "full"))


def test_a_shift_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="shift of statistics must be finite"):
        gmm_core.maximization_step(Statistics(np.ones(8), np.full((2, 1), np.nan), "full"))


def test_statistics_in_any_memory() -> None:
    values = np.arange(1.0, 9)
    unaligned = np.frombuffer(b"." + values.tobytes(), np.uint8)[1:].view(np.float64)
    expected = Statistics(values, np.zeros((2, 1)), "full")
    for given in (np.repeat(values, 2)[::2], unaligned):
        made = Statistics(given, np.asfortranarray(np.zeros((2, 1))), "full")
        assert made == expected and made.values.flags.c_contiguous and made.values.flags.aligned


def test_statistics_are_equal_by_value() -> None:
    one, other = (Statistics(np.ones(8), np.zeros((2, 1)), "full") for _ in range(2))
    assert one == one and one == other and one != 1
    other.values[3] = 2
    assert one != other
    assert one != Statistics(np.ones(10), np.zeros((2, 1)), "tied")


@pytest.mark.parametrize("n_threads", [0, 2.5, True, "2"])
def test_n_threads_is_checked(n_threads: Any) -> None:
    X, eye = np.random.default_rng(0).normal(size=(50, 2)), np.eye(2)[None]
    mixture = [1.0], [[0.0, 0]], eye
    made = gmm_core.accumulate(X, *mixture)
    for call in (
        lambda **n: gmm_core.log_density(X, *mixture[1:], **n),
        lambda **n: gmm_core.responsibilities(X, *mixture, **n),
        lambda **n: gmm_core.expectation_step(X, *mixture, **n),
        lambda **n: gmm_core.accumulate(X, *mixture, **n),
        lambda **n: gmm_core.sufficient_statistics(X, np.ones((50, 1)), "full", [[0.0, 0]], **n),
        lambda **n: gmm_core.maximization_step(made, **n),
    ):
        with pytest.raises(ValueError, match="'n_threads' .* must be a non-zero int or None. Got"):
            call(n_threads=n_threads)
        call(n_threads=2**40)


@pytest.mark.parametrize("name", ["E", "V"])
def test_types_of_one_feature(name: str) -> None:
    X, means = np.zeros((5, 2)), [[0.0, 0.0], [3.0, 3.0]]
    with pytest.raises(ValueError, match=f"covariance_type='{name}' is for data of one feature"):
        gmm_core.log_density(X, means, [1.0, 1.0], name)
    with pytest.raises(ValueError, match=f"covariance_type='{name}' is for data of one feature"):
        gmm_core.sufficient_statistics(X, np.full((5, 2), 0.5), name, means)
