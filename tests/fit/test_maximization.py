"""Tests of the M-step and its factors against the NumPy baseline, and against their definitions.

Moments are sums over samples (see test_kernels.py). Their error is at most `sum_error` times the sums of
absolute values. With a shift c, the covariance S / N - d dᵀ (d = μ - c) has the error of S / N, which
contains d dᵀ. So the error relative to the variance is 1 + d² / σ² times as large (Chan, Golub & LeVeque
1983).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gmm_core import reference
from gmm_core.core.errors import IllDefinedCovarianceError
from gmm_core.fit.maximization import maximization_step
from gmm_core.model.parameters import Mixture, Prepared
from gmm_core.model.statistics import Statistics

Make = Callable[..., Any]  # the type of the fixtures that return functions
EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
SHAPES = [(1, 1), (3, 2), (5, 4), (2, 7), (17, 9), (3, 33), (2, 65)]  # (K, D)

all_types = pytest.mark.parametrize("covariance_type", TYPES)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def near(got: Any, expected: Any, atol: Any) -> None:
    """Assert that arrays are equal within an array of absolute tolerances."""
    assert np.shape(got) == np.shape(expected)
    assert (abs(np.asarray(got) - expected) <= atol).all(), abs(np.asarray(got) - expected).max()


def sum_error(dtype: Any, n: int, K: int, D: int) -> float:
    return float((28 + np.sqrt(K + D)) * (np.finfo(dtype).eps + EPS) + 2 * np.sqrt(n) * EPS)


def covariance_size(covariances: np.ndarray, move: np.ndarray, covariance_type: str) -> np.ndarray:
    """Return the size of S / N, σ_i σ_j + d_i d_j, or an upper bound, in the shape of the type."""
    if covariance_type in ("full", "tied"):
        root = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1) + move**2)
        root = root.max(axis=0) if covariance_type == "tied" else root
        size: np.ndarray = root[..., :, None] * root[..., None, :]
        return size
    return covariances + (move**2 if covariance_type == "diag" else (move**2).mean(axis=1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_dtypes
@all_types
def test_maximization_step(
    covariance_type: str,
    dtype: Any,
    shape: tuple[int, int],
    isa: str,
    make_problem: Make,
    make_pass: Make,
) -> None:
    """The M-step equals the baseline's, with a shift one or two standard deviations from the means."""
    K, D = shape
    problem = make_problem(covariance_type, 900, K, D, dtype)
    rng = np.random.default_rng(0)
    r = rng.dirichlet(np.full(K, 0.3), size=900).astype(dtype)
    shift = problem.parameters.means + rng.normal(size=(K, D))
    data = make_pass(problem.X, problem.weight, problem.parameters)
    got, drift = maximization_step(data.statistics(shift, lambda rows: r[rows]), 1e-3)
    weights, means, covariances = reference.maximization_step(
        problem.X64, r.astype(np.float64), covariance_type, 1e-3, problem.weight
    )
    move, error = means - shift, sum_error(dtype, 900, K, D)
    variances = variance_of_features(covariances, covariance_type, K, D)
    scale = np.sqrt(variances + move**2)
    near(got.weights, weights, error)
    near(got.means, means, error * scale)
    near(
        got.covariances,
        covariances,
        2 * error * covariance_size(covariances, move, covariance_type),
    )
    assert drift == pytest.approx(
        (move**2 / variances).max(), rel=20 * error * (1 + (move**2 / variances).max())
    )
    check_factors(got)


def variance_of_features(
    covariances: np.ndarray, covariance_type: str, K: int, D: int
) -> np.ndarray:
    if covariance_type in ("full", "tied"):
        return np.broadcast_to(np.diagonal(covariances, axis1=-2, axis2=-1), (K, D))
    return np.broadcast_to(covariances.reshape(K, -1), (K, D))


def check_factors(p: Mixture) -> None:
    """Assert that the factors are those of the covariances, and that the constants follow from them."""
    D = p.means.shape[1]
    factors = p.kind.factor_covariances(p.covariances, D)
    assert np.array_equal(p.prepared.precisions_cholesky, factors)
    expected = np.diagonal(
        reference.weighted_log_prob(p.means, p.weights, p.means, factors, p.covariance_type)
    )
    near(log_constant(p), expected, 4 * D * EPS * (abs(expected) + D))


def with_means(p: Mixture, means: np.ndarray) -> Mixture:
    return p._replace(means=means, prepared=p.prepared._replace(means=means))


def log_constant(p: Mixture) -> np.ndarray:
    """Return the weighted log-densities at the means, each of which is stored in two parts."""
    return p.prepared.log_constant[:-1] + p.prepared.log_constant[-1]


@both_dtypes
@all_types
def test_shift_does_not_matter(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 900, 3, 5, dtype)
    p = problem.parameters
    data = make_pass(problem.X, problem.weight, p)
    expected, _ = maximization_step(data.expectation(p), 0)
    for distance in (0.1, 1, 10, 30):
        shift = p.means + distance * np.array([1, -1, 1, 1, -1])
        got, _ = maximization_step(data.expectation(p, shift=shift), 0)
        error = sum_error(dtype, 900, 3, 5)
        move = expected.means - shift
        scale = np.sqrt(variance_of_features(expected.covariances, covariance_type, 3, 5) + move**2)
        near(got.means, expected.means, 2 * error * scale)
        size = covariance_size(expected.covariances, move, covariance_type)
        near(got.covariances, expected.covariances, 2 * error * size)


@all_types
def test_offset_does_not_matter(
    covariance_type: str, isa: str, make_problem: Make, make_pass: Make
) -> None:
    """The data are multiples of 2**-20, so that differences from a mean are exact at offset 1e8, too."""
    problem = make_problem(covariance_type, 900, 3, 5)
    X, means = np.rint(problem.X * 2**20) / 2**20, np.rint(problem.parameters.means * 2**20) / 2**20
    p = with_means(problem.parameters, means)
    far = with_means(p, means + 1e8)
    here, _ = maximization_step(make_pass(X, None, p).expectation(p), 1e-6)
    there, _ = maximization_step(make_pass(X + 1e8, None, far).expectation(far), 1e-6)
    near(there.means, here.means + 1e8, 1e8 * EPS)
    if covariance_type == "tied":  # distances are taken from the center of the means, which is rounded
        near(there.covariances, here.covariances, sum_error(np.float64, 900, 3, 5) * 10)
    else:
        assert np.array_equal(there.covariances, here.covariances)
        assert np.array_equal(there.weights, here.weights)


@all_types
def test_empty_component(
    covariance_type: str, isa: str, make_problem: Make, make_pass: Make
) -> None:
    """A component with N_k ≤ 10 eps N has weight 0, its old mean and the mean covariance of the others."""
    problem = make_problem(covariance_type, 1000, 4, 3)
    data, shift = make_pass(problem.X, None, problem.parameters), problem.parameters.means
    r = np.random.default_rng(0).dirichlet([1, 1, 1, 1], size=1000)
    r[:, 1] = 0
    r[:, 3] = 0
    r[:, [0, 2]] /= r.sum(axis=1, keepdims=True)
    r[5, 3] = 10 * EPS * 1000 * 0.99
    got, drift = maximization_step(data.statistics(shift, lambda rows: r[rows]), 1e-6)
    two = with_means(problem.parameters, shift[::2].copy())
    others, drift_of_others = maximization_step(
        make_pass(problem.X, None, two).statistics(two.means, lambda rows: r[rows, ::2].copy()),
        1e-6,
    )
    assert np.array_equal(got.weights[1::2], [0, 0]) and (log_constant(got)[1::2] == -np.inf).all()
    assert np.array_equal(got.means[1::2], shift[1::2])
    near(got.weights[::2], others.weights, 20 * EPS)
    near(got.means[::2], others.means, 100 * EPS)
    assert drift == pytest.approx(drift_of_others, rel=1000 * EPS)
    if covariance_type == "tied":
        near(got.covariances, others.covariances, 100 * EPS * others.covariances.max())
    else:
        near(got.covariances[::2], others.covariances, 100 * EPS * others.covariances.max())
        pooled = np.einsum("k,k...->...", others.weights, others.covariances)
        near(got.covariances[1::2], np.stack([pooled, pooled]), 100 * EPS * pooled.max())


@all_types
def test_nearly_empty_component(covariance_type: str, make_problem: Make, make_pass: Make) -> None:
    """A component with N_k > 10 eps N has a weight, and the mean of its one sample."""
    problem = make_problem(covariance_type, 1000, 2, 3)
    r = np.tile([1.0, 0.0], (1000, 1))
    r[5] = 1 - 20 * EPS * 1000, 20 * EPS * 1000
    data = make_pass(problem.X, None, problem.parameters)
    got, _ = maximization_step(
        data.statistics(problem.parameters.means, lambda rows: r[rows]), 1e-6
    )
    assert got.weights[1] == pytest.approx(20 * EPS, rel=1e-12)
    near(got.means[1], problem.X[5], 10 * EPS)


@all_types
def test_not_positive_definite(covariance_type: str, isa: str, make_pass: Make) -> None:
    """Components 1 and 2 are at the origin with variance 0, and the error names the first of them."""
    X = np.concatenate([np.random.default_rng(0).normal(size=(20, 2)), np.zeros((20, 2))])
    labels = np.repeat([0, 0, 1, 2], 10)
    if covariance_type == "tied":
        X[:, 1] = 2 * X[:, 0]  # all samples are on a line
    none = np.empty(0)
    mixture = Prepared(none, np.zeros((3, 2)), none, none, covariance_type)
    statistics = make_pass(X, None, mixture).statistics(mixture.means, labels=labels)
    named = "shared covariance" if covariance_type == "tied" else "covariance of component 1"
    with pytest.raises(
        IllDefinedCovarianceError, match=f"The {named} is not positive definite"
    ):
        maximization_step(statistics, 0)
    maximization_step(statistics, 1e-6)


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_component_on_one_point(covariance_type: str, isa: str, make_pass: Make) -> None:
    """A variance of 0 away from the origin is replaced, because it cannot be told from rounding.

    Rounding may have added 10 eps samples from all data; the variance becomes their contribution.
    """
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(40, 2)), np.full((10, 2), 1e-3)])
    none = np.empty(0)
    mixture = Prepared(none, np.zeros((2, 2)), none, none, covariance_type)
    labels = np.repeat([0, 1], [40, 10])
    statistics = make_pass(X, None, mixture).statistics(
        np.array([[0, 0], [1e-3, 1e-3]]), labels=labels
    )
    got, _ = maximization_step(statistics, 0)
    scatter = ((X - X[-1]) ** 2).mean(axis=0)
    scatter = scatter if covariance_type == "diag" else scatter.mean()
    np.testing.assert_allclose(got.covariances[1], 10 * EPS / 10 * scatter, rtol=1e-12)


@all_types
def test_maximization_step_on_threads(
    covariance_type: str, isa: str, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 3000, 7, 33)
    statistics = make_pass(problem.X, None, problem.parameters).expectation(problem.parameters)
    statistics.values.flags.writeable = statistics.shift.flags.writeable = False
    one, drift = maximization_step(statistics, 1e-6, 1)
    for n_threads in (2, 7):
        other, other_drift = maximization_step(statistics, 1e-6, n_threads)
        assert drift == other_drift
        assert all(np.array_equal(a, b) for a, b in zip(one[:-1], other[:-1], strict=True))


@both_dtypes
@all_types
def test_statistics_add_up(
    covariance_type: str, dtype: Any, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 700, 3, 4, dtype)
    p = problem.parameters
    parts = [
        make_pass(problem.X[rows], problem.weight[rows], p).expectation(p)
        for rows in (slice(300), slice(300, None))
    ]
    whole = make_pass(problem.X, problem.weight, p).expectation(p)
    both = parts[0] + parts[1]
    got, _ = maximization_step(both, 0)
    expected, _ = maximization_step(whole, 0)
    error = 2 * sum_error(dtype, 700, 3, 4)
    near(both.log_likelihood, whole.log_likelihood, error * abs(whole.log_likelihood))
    near(got.weights, expected.weights, error)
    move = expected.means - p.means
    near(
        got.covariances,
        expected.covariances,
        error * covariance_size(expected.covariances, move, covariance_type),
    )
    other = Statistics(whole.values, whole.shift + 1, covariance_type)
    with pytest.raises(ValueError, match="one shift"):
        whole + other
