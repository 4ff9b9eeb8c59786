"""Tests of the NumPy baseline against scalar arithmetic, SciPy, scikit-learn and exact invariances.

A sum of n terms has an error of at most n·eps·Σ|terms| in any order, and a triangular solve one of a
small multiple of D·eps·cond. The data are well conditioned (cond(Σ) < 100) and within 10 standard
deviations of the means unless a test says otherwise. EPS is float64's 2.2e-16.
"""

import math
import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from gmm_core import reference

EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)


def assert_near(got: Any, expected: Any, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Assert equality within the stated tolerances; assert_allclose has a default rtol of 1e-7."""
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


class Problem(NamedTuple):
    """Samples and a mixture near them; `dense` has the covariances as matrices (K, D, D)."""

    X: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    dense: np.ndarray

    def mixture(self, covariance_type: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        factors = reference.precision_cholesky(self.covariances, covariance_type)
        return self.weights, self.means, factors, covariance_type


def dense_covariances(covariances: np.ndarray, covariance_type: str, K: int, D: int) -> np.ndarray:
    if covariance_type == "full":
        return covariances
    if covariance_type == "tied":
        return np.broadcast_to(covariances, (K, D, D))
    if covariance_type == "diag":
        return np.stack([np.diag(c) for c in covariances])
    return np.stack([c * np.eye(D) for c in covariances])


def make_problem(
    covariance_type: str, N: int = 300, K: int = 3, D: int = 4, seed: int = 0
) -> Problem:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(K, D, D)) / math.sqrt(D)
    full = root @ root.transpose(0, 2, 1) + 0.25 * np.eye(D)  # the eigenvalues are about 0.25 to 5
    variances = rng.uniform(0.25, 4.0, size=(K, D))
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": variances,
        "spherical": variances[:, 0],
    }[covariance_type]
    means = rng.normal(scale=2.0, size=(K, D))
    X = means[rng.integers(K, size=N)] + rng.normal(size=(N, D))
    weights = rng.dirichlet(np.full(K, 5.0))
    dense = dense_covariances(covariances, covariance_type, K, D)
    return Problem(X, weights, means, covariances, dense)


# ---- The worked example: x = 3.5, μ = (2, 5), σ² = (1, 2), π = (0.6, 0.4) ------------------------


def normal_pdf(x: float, mean: float, variance: float) -> float:
    return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


EXAMPLE_COVARIANCES = {
    "full": np.array([[[1.0]], [[2.0]]]),
    "diag": np.array([[1.0], [2.0]]),
    "spherical": np.array([1.0, 2.0]),
}


@pytest.mark.parametrize("covariance_type", EXAMPLE_COVARIANCES)
def test_worked_example(covariance_type: str) -> None:
    X, means, weights = np.array([[3.5]]), np.array([[2.0], [5.0]]), np.array([0.6, 0.4])
    factors = reference.precision_cholesky(EXAMPLE_COVARIANCES[covariance_type], covariance_type)
    densities = np.exp(reference.log_density(X, means, factors, covariance_type))[0]
    log_prob, r = reference.expectation_step(X, weights, means, factors, covariance_type)
    p = np.exp(log_prob[0])

    np.testing.assert_array_equal(np.round(densities, 4), [0.1295, 0.1607])
    assert np.round(p, 4) == 0.1420
    np.testing.assert_array_equal(np.round(r[0], 4), [0.5472, 0.4528])

    p1, p2 = normal_pdf(3.5, 2, 1), normal_pdf(3.5, 5, 2)
    total = 0.6 * p1 + 0.4 * p2
    # logarithms of size 2 are rounded a few times before exp, so the relative error is below 16 eps
    assert_near(densities, [p1, p2], rtol=16 * EPS)
    assert_near(p, total, rtol=16 * EPS)
    assert_near(r[0], [0.6 * p1 / total, 0.4 * p2 / total], rtol=16 * EPS)


def test_worked_example_maximization() -> None:
    """The M-step equals π_k = N_k / N and weighted mean and variance, computed with scalars."""
    x = [0.5, 2.0, 3.5, 5.5, 7.0]
    r1 = [0.99, 0.9, 0.5472, 0.1, 0.01]
    responsibilities = np.array([[r, 1 - r] for r in r1])
    expected = []
    for column in (r1, [1 - r for r in r1]):
        count = math.fsum(column)
        mean = math.fsum(r * xn for r, xn in zip(column, x, strict=True)) / count
        moment = math.fsum(r * (xn - mean) ** 2 for r, xn in zip(column, x, strict=True))
        expected.append((count / len(x), mean, moment / count))
    weights, means, covariances = reference.maximization_step(
        np.array(x)[:, np.newaxis], responsibilities, "full", reg_covar=0
    )
    got = np.column_stack([weights, means[:, 0], covariances[:, 0, 0]])
    assert_near(got, expected, rtol=16 * EPS)  # these are sums of 5 positive terms


# ---- Factors and densities -----------------------------------------------------------------------


@all_types
def test_precision_cholesky_inverts_the_covariance(covariance_type: str) -> None:
    problem = make_problem(covariance_type)
    K, D = problem.means.shape
    factors = reference.precision_cholesky(problem.covariances, covariance_type)
    assert factors.shape == problem.covariances.shape
    for k, U in enumerate(dense_covariances(factors, covariance_type, K, D)):
        np.testing.assert_array_equal(np.tril(U, -1), 0)
        assert np.all(np.diagonal(U) > 0)
        # Uᵀ Σ U = I has an error of D·eps·cond, and cond < 100
        assert_near(U.T @ problem.dense[k] @ U, np.eye(D), atol=100 * D * EPS)


@all_types
@pytest.mark.parametrize(
    ("N", "K", "D"), [(300, 3, 4), (1, 3, 4), (50, 1, 4), (50, 3, 1), (1, 1, 1)]
)
def test_densities_against_scipy(covariance_type: str, N: int, K: int, D: int) -> None:
    problem = make_problem(covariance_type, N, K, D)
    X, weights, means = problem.X, problem.weights, problem.means
    expected = np.column_stack(
        [multivariate_normal(means[k], problem.dense[k]).logpdf(X) for k in range(K)]
    ).reshape(N, K)
    mixture = problem.mixture(covariance_type)
    # both factor Σ, so ‖y‖² has an error of about D·eps·cond·‖y‖², to which a few eps are added
    near = partial(assert_near, rtol=100 * D * EPS, atol=100 * D * EPS)
    got = reference.log_density(X, *mixture[1:])
    assert got.shape == (N, K)
    near(got, expected)

    expected = expected + np.log(weights)
    near(reference.weighted_log_prob(X, *mixture), expected)
    total = logsumexp(expected, axis=1)
    near(reference.log_likelihood(X, *mixture), total)
    r = np.exp(expected - total[:, np.newaxis])
    # an error in log r is the relative error of r, and |log p| reaches a few hundred here
    atol = 100 * D * EPS * np.abs(expected).max()
    assert_near(reference.responsibilities(X, *mixture), r, atol=atol)


@all_types
def test_expectation_step_is_consistent_and_sums_to_one(covariance_type: str) -> None:
    problem = make_problem(covariance_type, K=7)
    mixture = problem.mixture(covariance_type)
    log_prob, r = reference.expectation_step(problem.X, *mixture)
    np.testing.assert_array_equal(log_prob, reference.log_likelihood(problem.X, *mixture))
    np.testing.assert_array_equal(r, reference.responsibilities(problem.X, *mixture))
    assert np.all(r >= 0)
    assert_near(r.sum(axis=1), 1, atol=2 * 7 * EPS)  # the error of K divisions and K additions


# ---- Statistics and the M-step -------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("kind", ["variances", "covariances", None])
def test_noisy_expectation_step_against_the_joint_density(covariance_type: str, kind: str | None) -> None:
    """Samples with and without noise are jointly normal, with the covariance [[Σ, Σ], [Σ, Σ + S]]."""
    N, K, D = 30, 3, 4
    problem = make_problem(covariance_type, N, K, D)
    rng = np.random.default_rng(1)
    X = np.where(rng.random((N, D)) < 0.3, np.nan, problem.X)
    roots = rng.normal(size=(N, D, D))
    S = roots @ roots.transpose(0, 2, 1)
    if kind != "covariances":
        S = S * np.eye(D) if kind else 0 * S
    given = {"variances": np.einsum("nii->ni", S), "covariances": S, None: None}[kind]
    log_likelihood, r, b, B = reference.noisy_expectation_step(
        X, given, problem.weights, problem.means, problem.covariances, covariance_type
    )
    for n, x in enumerate(X):
        o = np.flatnonzero(~np.isnan(x))
        log_prob = np.log(problem.weights)
        for k, sigma in enumerate(problem.dense):
            joint = np.block([[sigma, sigma], [sigma, sigma + S[n]]])
            seen = D + o
            inverse = np.linalg.inv(joint[np.ix_(seen, seen)])
            gain = joint[np.ix_(range(D), seen)] @ inverse
            expected = problem.means[k] + gain @ (x[o] - problem.means[k, o])
            # the condition of Σ + S is below 1000
            assert_near(b[n, k], expected, rtol=1e4 * EPS, atol=1e4 * EPS)
            assert_near(B[n, k], sigma - gain @ joint[seen, :D], atol=1e4 * EPS)
            if len(o):
                density = multivariate_normal(problem.means[k, o], joint[np.ix_(seen, seen)])
                log_prob[k] += density.logpdf(x[o])
        assert_near(log_likelihood[n], logsumexp(log_prob), rtol=1e4 * EPS, atol=1e4 * EPS)
        assert_near(r[n], np.exp(log_prob - logsumexp(log_prob)), atol=1e4 * EPS)


@all_types
def test_noisy_expectation_step_of_complete_samples(covariance_type: str) -> None:
    problem = make_problem(covariance_type)
    log_likelihood, r, b, B = reference.noisy_expectation_step(
        problem.X, None, problem.weights, problem.means, problem.covariances, covariance_type
    )
    expected = reference.expectation_step(problem.X, *problem.mixture(covariance_type))
    assert_near(log_likelihood, expected[0], rtol=1e3 * EPS)
    assert_near(r, expected[1], atol=1e3 * EPS)
    assert_near(b, np.broadcast_to(problem.X[:, np.newaxis], b.shape), atol=1e3 * EPS)
    assert_near(B, 0 * B, atol=1e3 * EPS)


@all_types
def test_sufficient_statistics_against_loops(covariance_type: str) -> None:
    rng = np.random.default_rng(1)
    N, K, D = 17, 3, 2
    X, shift = rng.normal(size=(N, D)), rng.normal(size=(K, D))
    r, w = rng.dirichlet(np.ones(K), size=N), rng.uniform(0, 3, size=N)
    counts, first, full = np.zeros(K), np.zeros((K, D)), np.zeros((K, D, D))
    for n in range(N):
        for k in range(K):
            difference = X[n] - shift[k]
            counts[k] += w[n] * r[n, k]
            first[k] += w[n] * r[n, k] * difference
            full[k] += w[n] * r[n, k] * np.outer(difference, difference)
    second = {
        "full": full,
        "tied": full.sum(axis=0),
        "diag": np.diagonal(full, axis1=1, axis2=2),
        "spherical": np.trace(full, axis1=1, axis2=2),
    }[covariance_type]
    got = reference.sufficient_statistics(X, r, covariance_type, shift, w)
    # these are sums of at most N·K·D = 102 terms, whose absolute values sum to less than 400
    for value, expected in zip(got, (counts, first, second), strict=True):
        assert value.shape == expected.shape
        assert_near(value, expected, atol=102 * 400 * EPS)


@all_types
def test_weights_are_repetition(covariance_type: str) -> None:
    problem = make_problem(covariance_type, N=60)
    w = np.random.default_rng(2).integers(0, 4, size=60)
    assert {0, 1, 2, 3} == set(w)
    repeated = np.repeat(problem.X, w, axis=0)
    start = problem.weights, problem.means, problem.covariances, covariance_type
    weighted = reference.fit(problem.X, *start, tol=0, max_iter=5, sample_weight=w.astype(float))
    expected = reference.fit(repeated, *start, tol=0, max_iter=5)
    # only the order of sums over 90 rows differs; 5 steps of EM may multiply the difference
    for got, value in zip(weighted[:4], expected[:4], strict=True):
        assert_near(got, value, atol=1e5 * EPS)


@all_types
def test_row_of_weight_zero_is_absent(covariance_type: str) -> None:
    problem = make_problem(covariance_type, N=40)
    X = np.vstack([problem.X, np.full((1, 4), np.nan)])
    start = problem.weights, problem.means, problem.covariances, covariance_type
    with_row = reference.fit(X, *start, sample_weight=np.append(np.ones(40), 0))
    without = reference.fit(problem.X, *start)
    for got, expected in zip(with_row, without, strict=True):
        np.testing.assert_array_equal(got, expected)


@all_types
def test_reg_covar_is_added_to_the_diagonal(covariance_type: str) -> None:
    problem = make_problem(covariance_type)
    K, D = problem.means.shape
    r = reference.responsibilities(problem.X, *problem.mixture(covariance_type))
    plain, regular = (
        dense_covariances(
            reference.maximization_step(problem.X, r, covariance_type, reg_covar)[2],
            covariance_type,
            K,
            D,
        )
        for reg_covar in (0, 0.5)
    )
    expected = np.broadcast_to(0.5 * np.eye(D), (K, D, D))
    # the sum is rounded once, and entries are below 16
    assert_near(regular - plain, expected, atol=16 * EPS)


# ---- Against scikit-learn ------------------------------------------------------------------------


def sklearn_fit(problem: Problem, covariance_type: str, **options: float) -> GaussianMixture:
    if covariance_type in ("full", "tied"):
        precisions = np.linalg.inv(problem.covariances)
    else:
        precisions = 1 / problem.covariances
    model = GaussianMixture(
        n_components=len(problem.weights),
        covariance_type=covariance_type,
        weights_init=problem.weights,
        means_init=problem.means,
        precisions_init=precisions,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(problem.X)


@all_types
@pytest.mark.parametrize("seed", range(3))
def test_one_step_against_sklearn(covariance_type: str, seed: int) -> None:
    problem = make_problem(covariance_type, seed=seed)
    model = sklearn_fit(problem, covariance_type, max_iter=1, tol=0, reg_covar=0)
    result = reference.fit(
        problem.X,
        problem.weights,
        problem.means,
        problem.covariances,
        covariance_type,
        tol=0,
        max_iter=1,
        reg_covar=0,
    )
    # these are sums of N = 300 terms; scikit-learn's Σ r x² - μ² amplifies errors by (μ/σ)² < 150
    atol = 300 * 150 * EPS
    assert_near(result.weights, model.weights_, atol=atol)
    assert_near(result.means, model.means_, atol=atol)
    assert_near(result.covariances, model.covariances_, atol=atol)


@all_types
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_fit_follows_sklearn_and_stops_with_it(covariance_type: str, tol: float) -> None:
    problem = make_problem(covariance_type)
    start = problem.weights, problem.means, problem.covariances, covariance_type
    model = sklearn_fit(problem, covariance_type, tol=tol, max_iter=500)
    result = reference.fit(problem.X, *start, tol=tol, max_iter=500)
    assert result.converged and model.converged_
    assert len(result.lower_bounds) == model.n_iter_
    # EM contracts near a maximum, so the 1e-11 of a single step stays below 1e-8
    assert_near(result.lower_bounds, model.lower_bounds_, rtol=1e-8)
    assert_near(result.weights, model.weights_, rtol=1e-8)
    assert_near(result.means, model.means_, rtol=1e-8, atol=1e-8)
    assert_near(result.covariances, model.covariances_, rtol=1e-8, atol=1e-8)


@all_types
def test_likelihood_never_falls(covariance_type: str) -> None:
    problem = make_problem(covariance_type)
    start = problem.weights, problem.means, problem.covariances, covariance_type
    result = reference.fit(problem.X, *start, tol=0, max_iter=50, reg_covar=0)
    assert len(result.lower_bounds) == 50 and not result.converged
    # the error of a mean of 300 values of size 10
    assert np.all(np.diff(result.lower_bounds) >= -300 * 10 * EPS)


# ---- float32 -------------------------------------------------------------------------------------


@all_types
def test_float32(covariance_type: str) -> None:
    problem = Problem(*(a.astype(np.float32) for a in make_problem(covariance_type)))
    exact = Problem(*(a.astype(np.float64) for a in problem))
    K, D = problem.means.shape
    eps32 = float(np.finfo(np.float32).eps)
    single, double = problem.mixture(covariance_type), exact.mixture(covariance_type)
    assert single[2].dtype == np.float32
    log_density = reference.log_density(problem.X, *single[1:])
    assert log_density.dtype == np.float32
    # the error is D·eps·cond relative to ‖y‖², as in float64
    expected = reference.log_density(exact.X, *double[1:])
    assert_near(log_density, expected, rtol=100 * D * eps32, atol=100 * D * eps32)

    log_prob, r = reference.expectation_step(problem.X, *single)
    assert log_prob.dtype == r.dtype == np.float32
    assert_near(r.sum(axis=1), 1, atol=2 * K * eps32)

    # From the same responsibilities, sums over samples and parameters are exact to float64 before they are
    # rounded once. Statistics have the rounding of x - c in float32, too.
    parameters = reference.maximization_step(problem.X, r, covariance_type)
    expected_parameters = reference.maximization_step(
        exact.X, r.astype(np.float64), covariance_type
    )
    for got, value in zip(parameters, expected_parameters, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, value.astype(np.float32))
    statistics = reference.sufficient_statistics(problem.X, r, covariance_type, problem.means)
    assert all(s.dtype == np.float32 for s in statistics)

    result = reference.fit(
        problem.X, problem.weights, problem.means, problem.covariances, covariance_type
    )
    assert {a.dtype for a in result[:3]} == {np.dtype(np.float32)}
    distances = reference.squared_distances(problem.X, problem.means)
    labels, centers, _, _ = reference.lloyd(problem.X, problem.means)
    assert distances.dtype == centers.dtype == np.float32
    assert labels.shape == (len(problem.X),)


# ---- Worst cases ---------------------------------------------------------------------------------


@all_types
def test_data_far_from_the_origin(covariance_type: str) -> None:
    """Rows on a grid of 2⁻²⁰ are moved by 1e8 without rounding, so differences are bit-identical."""
    problem = make_problem(covariance_type)
    X, means = (np.round(a * 2.0**20) / 2.0**20 for a in (problem.X, problem.means))
    weights, _, factors, _ = problem.mixture(covariance_type)
    near = reference.expectation_step(X, weights, means, factors, covariance_type)
    far = reference.expectation_step(X + 1e8, weights, means + 1e8, factors, covariance_type)
    np.testing.assert_array_equal(near[0], far[0])
    np.testing.assert_array_equal(near[1], far[1])

    _, near_means, near_cov = reference.maximization_step(X, near[1], covariance_type)
    _, far_means, far_cov = reference.maximization_step(X + 1e8, near[1], covariance_type)
    # A mean at 1e8 is rounded to 1.5e-8. The square of that, 2e-16, enters the covariance. The sums of 300
    # terms differ by rounding.
    assert_near(far_means - 1e8, near_means, atol=2 * np.spacing(1e8))
    assert_near(far_cov, near_cov, atol=300 * 10 * EPS)


@all_types
@pytest.mark.parametrize("exponent", [-500, 500])
def test_extreme_scales(covariance_type: str, exponent: int) -> None:
    """Scaling by a power of two is exact, so the whitened samples are bit-identical."""
    problem = make_problem(covariance_type)
    scale, D = 2.0**exponent, problem.X.shape[1]
    scaled = problem._replace(
        X=problem.X * scale,
        means=problem.means * scale,
        covariances=problem.covariances * scale * scale,
    )
    mixture, scaled_mixture = (p.mixture(covariance_type) for p in (problem, scaled))
    log_prob = reference.weighted_log_prob(problem.X, *mixture)
    scaled_log_prob = reference.weighted_log_prob(scaled.X, *scaled_mixture)
    log_det = D * exponent * math.log(2)
    # log |U_k| is a sum of D logarithms below 350, with an error of a few eps · 350 for each
    atol = 4 * D * 350 * EPS
    assert_near(scaled_log_prob + log_det, log_prob, atol=atol)
    r = reference.responsibilities(problem.X, *mixture)
    scaled_r = reference.responsibilities(scaled.X, *scaled_mixture)
    assert_near(scaled_r, r, atol=2 * atol)
    _, means, covariances = reference.maximization_step(problem.X, r, covariance_type, 0)
    _, scaled_means, scaled_covariances = reference.maximization_step(
        scaled.X, r, covariance_type, 0
    )
    np.testing.assert_array_equal(scaled_means / scale, means)
    np.testing.assert_array_equal(scaled_covariances / scale / scale, covariances)


@all_types
def test_sample_so_far_that_every_density_underflows(covariance_type: str) -> None:
    problem = make_problem(covariance_type)
    mixture = problem.mixture(covariance_type)
    far = np.full((1, 4), 1e5)
    assert np.all(np.exp(reference.log_density(far, *mixture[1:])) == 0)
    log_prob, r = reference.expectation_step(far, *mixture)
    assert np.isfinite(log_prob[0])
    assert r.sum() == pytest.approx(1, abs=2 * 3 * EPS)


@all_types
def test_component_of_weight_zero(covariance_type: str) -> None:
    problem = make_problem(covariance_type)
    weights = np.array([0.3, 0.0, 0.7])
    components = problem.mixture(covariance_type)[1:]
    assert np.all(np.isneginf(reference.weighted_log_prob(problem.X, weights, *components)[:, 1]))
    log_prob, r = reference.expectation_step(problem.X, weights, *components)
    np.testing.assert_array_equal(r[:, 1], 0)
    assert np.all(np.isfinite(log_prob))
    assert_near(r.sum(axis=1), 1, atol=2 * 3 * EPS)


@all_types
def test_every_component_at_minus_infinity(covariance_type: str) -> None:
    """A row at 1e200, where ‖y‖² overflows, has -inf and NaN without a warning; other rows do not change."""
    problem = make_problem(covariance_type)
    mixture = problem.mixture(covariance_type)
    X = np.vstack([problem.X[:1], np.full((1, 4), 1e200)])
    log_prob, r = reference.expectation_step(X, *mixture)
    assert np.isneginf(log_prob[1]) and np.all(np.isnan(r[1]))
    alone, r_alone = reference.expectation_step(problem.X[:1], *mixture)
    assert_near(log_prob[0], alone[0], rtol=16 * EPS)  # BLAS may round differently for another shape
    assert_near(r[0], r_alone[0], atol=100 * EPS)
    start = problem.weights, problem.means, problem.covariances, covariance_type
    with pytest.raises(ValueError, match="row 1 "):
        reference.fit(X, *start)
    with pytest.raises(ValueError, match="row 2 "):
        reference.fit(np.insert(X, 0, np.nan, axis=0), *start, sample_weight=np.array([0, 1, 1]))


@all_types
def test_duplicate_rows_leave_only_reg_covar(covariance_type: str) -> None:
    X = np.tile([[1.5, -2.0]], (8, 1))
    weights, means, covariances = reference.maximization_step(
        X, np.full((8, 2), 0.5), covariance_type, reg_covar=0.25
    )
    np.testing.assert_array_equal(weights, [0.5, 0.5])  # all numbers here are exact in binary
    np.testing.assert_array_equal(means, X[:2])
    expected = np.broadcast_to(0.25 * np.eye(2), (2, 2, 2))
    np.testing.assert_array_equal(dense_covariances(covariances, covariance_type, 2, 2), expected)


@all_types
@pytest.mark.parametrize("layout", ["fortran", "strided", "readonly"])
def test_memory_layout_and_inputs_untouched(covariance_type: str, layout: str) -> None:
    problem = make_problem(covariance_type)
    X = {
        "fortran": np.asfortranarray(problem.X),
        "strided": np.repeat(np.repeat(problem.X, 2, axis=0), 3, axis=1)[::2, ::3],
        "readonly": problem.X.copy(),
    }[layout]
    for array in (X, problem.weights, problem.means, problem.covariances):
        array.setflags(write=False)
    start = problem.weights, problem.means, problem.covariances, covariance_type
    result = reference.fit(X, *start, tol=0, max_iter=3)
    expected = reference.fit(problem.X, *start, tol=0, max_iter=3)
    # the order of sums of 300 terms may depend on the layout; 3 steps of EM may multiply the difference
    for got, value in zip(result[:4], expected[:4], strict=True):
        assert_near(got, value, atol=1e5 * EPS)
    labels, _, _, _ = reference.lloyd(X, problem.means)
    np.testing.assert_array_equal(labels, reference.lloyd(problem.X, problem.means)[0])


# ---- Errors --------------------------------------------------------------------------------------


def test_unknown_covariance_type() -> None:
    with pytest.raises(ValueError, match="covariance_type is 'round', expected one of .*'full'"):
        reference.precision_cholesky(np.eye(2), "round")


@pytest.mark.parametrize(
    ("covariance_type", "covariances", "name"),
    [
        ("full", [np.eye(2), [[1.0, 2.0], [2.0, 1.0]]], "component 1"),
        ("full", [np.eye(2), [[1.0, np.nan], [np.nan, 1.0]]], "component 1"),
        ("full", [np.eye(2), [[np.inf, 0.0], [0.0, 1.0]]], "component 1"),
        ("tied", [[1.0, 1.0], [1.0, 1.0]], "shared"),
        ("diag", [[1.0, 1.0], [1.0, 0.0]], "component 1"),
        ("diag", [[1.0, np.nan], [1.0, 1.0]], "component 0"),
        ("spherical", [1.0, 1.0, -1.0], "component 2"),
        ("spherical", [1.0, np.inf], "component 1"),
    ],
)
def test_not_positive_definite(covariance_type: str, covariances: object, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.* not positive definite"):
        reference.precision_cholesky(np.array(covariances), covariance_type)


def test_component_without_samples() -> None:
    r = np.array([[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="component 1"):
        reference.maximization_step(np.eye(2), r, "full")


# ---- k-means -------------------------------------------------------------------------------------


def test_squared_distances_against_loops() -> None:
    rng = np.random.default_rng(3)
    X, centers = rng.normal(size=(20, 3)), rng.normal(size=(4, 3))
    expected = [[math.fsum((x - c) ** 2) for c in centers] for x in X]
    # each of the three positive terms is rounded at most 3 times, after x - c is squared
    assert_near(reference.squared_distances(X, centers), expected, rtol=6 * EPS)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tol", [0.0, 1e-2])
def test_lloyd_against_sklearn(weighted: bool, tol: float) -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(400, 3))  # a single group takes many iterations until nothing moves
    w = rng.uniform(0.5, 2, size=400) if weighted else np.ones(400)
    labels, centers, inertia, n_iter = reference.lloyd(X, X[:6], w, tol=tol)
    # scikit-learn's tolerance is relative to the unweighted variance, so it is rescaled
    variance = np.average((X - np.average(X, axis=0, weights=w)) ** 2, axis=0, weights=w).mean()
    same_tol = tol * variance / X.var(axis=0).mean()
    model = KMeans(n_clusters=6, init=X[:6], n_init=1, tol=same_tol).fit(X, sample_weight=w)
    assert n_iter == model.n_iter_
    np.testing.assert_array_equal(labels, model.labels_)
    # these are means and sums of squares of 400 rows below 5
    assert_near(centers, model.cluster_centers_, atol=400 * 5 * EPS)
    assert inertia == pytest.approx(model.inertia_, rel=400 * 3 * EPS)


def test_lloyd_larger_tol_stops_earlier() -> None:
    X = np.random.default_rng(4).normal(size=(400, 3))
    early, late = (reference.lloyd(X, X[:6], tol=tol) for tol in (1e-2, 0.0))
    assert early[3] < late[3]
    assert early[2] >= late[2]  # no step of Lloyd's algorithm increases the inertia


def test_lloyd_weights_are_repetition() -> None:
    problem = make_problem("spherical", N=80)
    w = np.random.default_rng(5).integers(0, 4, size=80)
    labels, centers, inertia, n_iter = reference.lloyd(problem.X, problem.means, w.astype(float))
    repeated = np.repeat(problem.X, w, axis=0)
    expected = reference.lloyd(repeated, problem.means)
    np.testing.assert_array_equal(np.repeat(labels, w), expected[0])
    # these are means of about 120 rows within 10 of the origin
    assert_near(centers, expected[1], atol=120 * 10 * EPS)
    assert inertia == pytest.approx(expected[2], rel=120 * 4 * EPS)
    assert n_iter == expected[3]


def test_lloyd_center_without_samples_stays() -> None:
    X = np.array([[0.0], [1.0], [10.0], [11.0]])
    start = np.array([[0.0], [12.0], [1000.0]])
    labels, centers, inertia, _ = reference.lloyd(X, start)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(centers, [[0.5], [10.5], [1000.0]])
    assert inertia == 1.0
    np.testing.assert_array_equal(start, [[0.0], [12.0], [1000.0]])


def test_lloyd_ties_and_iteration_limit() -> None:
    labels, _, _, _ = reference.lloyd(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [2.0]]))
    assert labels[1] == 0
    problem = make_problem("spherical")
    assert reference.lloyd(problem.X, problem.means, max_iter=2, tol=0)[3] == 2
    labels, centers, _, n_iter = reference.lloyd(problem.X, problem.means, max_iter=0)
    assert n_iter == 0
    np.testing.assert_array_equal(centers, problem.means)
    nearest = reference.squared_distances(problem.X, problem.means).argmin(axis=1)
    np.testing.assert_array_equal(labels, nearest)
