"""Tests of the kernels of the E-step against the NumPy baseline, and against themselves.

The baseline runs in float64, even for samples in float32. All tolerances are forward error bounds of
first order, where eps is the sum of the eps of the kernel's dtype and of the baseline's:

- y = Uᵀ (x - μ) is a sum of D products, so |δy| ≤ (D + 3) eps a with a = |U|ᵀ |x - μ|. The kernel of
  tied whitens x and μ separately, both relative to the mean c of the means, so a = |U|ᵀ (|x - c| + |μ - c|).
- A log-probability is l = log_constant - ½ |y|², so |δl| ≤ eps (2 |log_constant| + 3 D) + |y| |δy| + |δy|².
- A responsibility is r = exp(l) / Σ exp(l), so |δr| / r ≤ δl + Σ r δl + eps (K + 8 + |l - max l|).
- In a sum over samples, a vector lane adds up to 128 terms in the kernel's dtype before it continues in
  float64. Roundings are nearly independent, so n of them come to less than 4 √n eps / 2 (Higham & Mary
  2019), relative to Σ |terms|. For 128 terms that is less than 24 eps; each of the few roundings of a term
  itself adds eps. The float64 sums over all n samples have such an error, too.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from gmm_core import reference
from gmm_core.model.parameters import Prepared, mixture_of
from gmm_core.model.statistics import Statistics

Make = Callable[..., Any]  # the type of the fixtures that return functions
EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
OUTPUTS = ["log_prob", "log_likelihood", "responsibilities", "labels"]
# (K, D): the kernels have special code for small D, and treat multiples of 4 differently
SHAPES = [
    (1, 1),
    (2, 1),
    (3, 2),
    (5, 3),
    (17, 4),
    (2, 5),
    (3, 6),
    (1, 7),
    (5, 8),
    (17, 9),
    (3, 17),
    (2, 33),
    (5, 64),
    (17, 65),
]

all_types = pytest.mark.parametrize("covariance_type", TYPES)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
all_shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


class Expected(NamedTuple):
    """The results of the baseline, and bounds of how much a kernel may differ."""

    log_prob: np.ndarray
    log_likelihood: np.ndarray
    responsibilities: np.ndarray
    log_prob_bound: np.ndarray
    log_likelihood_bound: np.ndarray
    responsibilities_bound: np.ndarray


def epsilon(dtype: Any) -> float:
    return float(np.finfo(dtype).eps) + EPS


def expect(problem: Any) -> Expected:
    """Return the results of the baseline and the error bounds, which are explained at the top of the file."""
    X, p, eps = problem.X64, problem.parameters, epsilon(problem.X.dtype)
    K, D = p.means.shape
    log_prob = reference.weighted_log_prob(X, *problem.mixture)
    log_likelihood, r = reference.expectation_step(X, *problem.mixture)
    kind = reference.COVARIANCE_TYPES[p.covariance_type]
    bound = np.empty((len(X), K))
    centre = p.means.mean(axis=0)
    for k, U in enumerate(kind.per_component(p.prepared.precisions_cholesky, K)):
        difference, size = X - p.means[k], abs(X - p.means[k])
        if p.covariance_type == "tied":
            size = abs(X - centre) + abs(p.means[k] - centre)
        # a mean has an error of eps, or of eps² for float32, where it is a pair of numbers
        dy = (
            (D + 3)
            * eps
            * kind.whiten(size + eps * min(1, eps / EPS / 4) * abs(p.means[k]), abs(U))
        )
        y = abs(kind.whiten(difference, U))
        bound[:, k] = ((y + dy) * dy).sum(axis=1)
    bound += eps * (2 * abs(p.prepared.log_constant[:-1] + p.prepared.log_constant[-1]) + 3 * D)
    mean_bound = (r * bound).sum(axis=1, keepdims=True)
    below_peak = log_prob.max(axis=1, keepdims=True) - log_prob
    r_bound = r * (bound + mean_bound + eps * (K + 8 + below_peak)) + np.finfo(problem.X.dtype).tiny
    ll_bound = mean_bound[:, 0] + eps * (K + 4 + abs(log_likelihood))
    return Expected(log_prob, log_likelihood, r, bound, ll_bound, r_bound)


def within(got: np.ndarray, expected: np.ndarray, bound: np.ndarray | float) -> None:
    with np.errstate(invalid="ignore"):
        off = ~((got == expected) | (abs(got.astype(np.float64) - expected) <= bound))
    assert not off.any(), (
        np.argwhere(off)[:3],
        got[off][:3],
        expected[off][:3],
        (bound + 0 * expected)[off][:3],
    )


def ragged(data: Any) -> Iterator[int]:
    """Return numbers of samples around the sizes of a vector, a tile and a chunk."""
    yield from (1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 31, 32, 33, 63, 65)
    yield from (data.chunk_rows // 2 + i for i in (-1, 0, 1))
    yield from (data.chunk_rows + i for i in (-1, 0, 1))


@all_shapes
@both_dtypes
@all_types
def test_evaluate(
    covariance_type: str,
    dtype: Any,
    shape: tuple[int, int],
    isa: str,
    make_problem: Make,
    make_pass: Make,
    evaluate: Make,
) -> None:
    problem = make_problem(covariance_type, 1100, *shape, dtype)
    expected = expect(problem)
    whole = make_pass(problem.X, None, problem.parameters, tiles_in_chunk=2)
    for n in ragged(whole):
        data = make_pass(problem.X[:n], None, problem.parameters, tiles_in_chunk=2)
        got = evaluate(data, problem.parameters, OUTPUTS)
        for name in OUTPUTS[:3]:
            within(got[name], getattr(expected, name)[:n], getattr(expected, name + "_bound")[:n])
        assert np.array_equal(got["labels"], got["log_prob"].argmax(axis=1))
    for name in OUTPUTS:
        assert np.array_equal(evaluate(data, problem.parameters, [name])[name], got[name])


def check_statistics(
    statistics: Statistics, X: np.ndarray, r: np.ndarray, r_bound: Any, w: np.ndarray, dtype: Any
) -> None:
    """Compare with the baseline's sums of w r, w r z and w r z zᵀ, where z = x - shift.

    Off-diagonal sums are bounded by those on the diagonal (Cauchy-Schwarz). Each of the two parts of the
    tied statistic, (Σ r z)(Σ r z)ᵀ and ½ Σ r_k r_l (c_k - c_l)(c_k - c_l)ᵀ, contains r twice.
    """
    n, D, K, eps = len(X), X.shape[1], r.shape[1], epsilon(dtype)
    shift, values, tied = statistics.shift, statistics.values, statistics.covariance_type == "tied"
    counts, first, second = reference.sufficient_statistics(
        X, r, statistics.covariance_type, shift, w
    )
    relative = (24 + 4) * eps + 2 * np.sqrt(n) * EPS
    error = w[:, None] * (r_bound + r * relative)
    z = abs(X[:, None] - shift) + eps * abs(shift)
    first_bound = np.einsum("nk,nkd->kd", error, z)
    error = w[:, None] * ((1 + tied) * r_bound + r * (relative + np.sqrt(K + D) * eps))
    second_bound = np.einsum("nk,nkd->kd", error, z**2)
    within(values[1:2], np.array([w.sum()]), relative * w.sum())
    within(values[2 : 2 + K], counts, error.sum(axis=0))
    within(values[2 + K :][: K * D].reshape(K, D), first, first_bound)
    packed = values[2 + K + K * D :]
    if statistics.covariance_type == "full":
        got = np.array([unpack(a, D) for a in packed.reshape(K, -1)])
        second_bound = np.sqrt(second_bound[:, :, None] * second_bound[:, None])
    elif tied:
        T, Q = unpack(packed[: D * (D + 1) // 2], D), unpack(packed[D * (D + 1) // 2 :], K)
        gap = shift[:, None] - shift
        got = T + 0.5 * np.einsum("kl,kli,klj->ij", Q, gap, gap)
        second_bound = np.sqrt(np.outer(second_bound.sum(axis=0), second_bound.sum(axis=0)))
    elif statistics.covariance_type == "diag":
        got = packed.reshape(K, D)
    else:
        got, second_bound = packed, second_bound.sum(axis=1)
    within(got, second, second_bound)


def unpack(triangle: np.ndarray, D: int) -> np.ndarray:
    """Return a symmetric matrix, given its lower triangle by rows."""
    matrix = np.zeros((D, D))
    matrix[np.tril_indices(D)] = triangle
    return np.tril(matrix) + np.tril(matrix, -1).T


@all_shapes
@both_dtypes
@all_types
def test_statistics(
    covariance_type: str,
    dtype: Any,
    shape: tuple[int, int],
    isa: str,
    make_problem: Make,
    make_pass: Make,
) -> None:
    """Statistics are right about the means and about other points, and from responsibilities and labels."""
    K, D = shape
    problem = make_problem(covariance_type, 1100, K, D, dtype)
    mixture, ones = problem.parameters, np.ones(1100)
    expected = expect(problem)
    rng = np.random.default_rng(0)
    labels = rng.integers(K, size=1100)
    other_r = rng.dirichlet(np.ones(K), size=1100).astype(dtype)
    shift = mixture.means + 0.5 * rng.normal(size=(K, D))
    chunk_rows = make_pass(problem.X, None, mixture).chunk_rows
    for n in (1, chunk_rows - 1, chunk_rows, chunk_rows + 1, 2 * chunk_rows + 7):
        w, X64 = problem.weight[:n], problem.X64[:n]
        r, r_bound = expected.responsibilities[:n], expected.responsibilities_bound[:n]
        unweighted = make_pass(problem.X[:n], None, mixture)
        weighted = make_pass(problem.X[:n], w, mixture)
        check_statistics(unweighted.expectation(mixture), X64, r, r_bound, ones[:n], dtype)
        check_statistics(weighted.expectation(mixture, shift=shift), X64, r, r_bound, w, dtype)
        made = weighted.statistics(shift, lambda rows, n=n: other_r[:n][rows])
        check_statistics(made, X64, other_r[:n].astype(np.float64), 0, w, dtype)
        made = unweighted.statistics(shift, labels=labels[:n])
        check_statistics(made, X64, np.eye(K)[labels[:n]], 0, ones[:n], dtype)


# numbers of features about those from which on the kernels work in blocks, and of whole and ragged blocks
@pytest.mark.parametrize("D", [63, 64, 65, 127, 128, 129, 130, 256, 300])
@both_dtypes
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_many_features(
    covariance_type: str, dtype: Any, D: int, isa: str, make_problem: Make, make_pass: Make, evaluate: Make
) -> None:
    problem = make_problem(covariance_type, 600, 2, D, dtype)
    p, expected = problem.parameters, expect(problem)
    rng = np.random.default_rng(0)
    shift = p.means + 0.5 * rng.normal(size=p.means.shape)
    for n in (5, 511, 600):
        data = make_pass(problem.X[:n], None, p)
        got = evaluate(data, p, OUTPUTS[:3])
        for name in OUTPUTS[:3]:
            within(got[name], getattr(expected, name)[:n], getattr(expected, name + "_bound")[:n])
        r, r_bound = expected.responsibilities[:n], expected.responsibilities_bound[:n]
        check_statistics(data.expectation(p), problem.X64[:n], r, r_bound, np.ones(n), dtype)
        data = make_pass(problem.X[:n], problem.weight[:n], p)
        made = data.expectation(p, shift=shift)
        check_statistics(made, problem.X64[:n], r, r_bound, problem.weight[:n], dtype)


@both_dtypes
@pytest.mark.parametrize("shape", [(16, 4), (15, 4), (1, 1), (40, 3), (8, 3)], ids=str)
def test_tied_scatter_by_component(
    shape: tuple[int, int], dtype: Any, isa: str, make_problem: Make, make_pass: Make
) -> None:
    """If K ≥ D², T is the whole scatter and Q is 0, also where the responsibilities do not sum to 1."""
    K, D = shape
    problem = make_problem("tied", 700, K, D, dtype)
    data = make_pass(problem.X, problem.weight, problem.parameters)
    shift = problem.parameters.means + 1
    r = np.random.default_rng(0).dirichlet(np.ones(K + 1), size=700)[:, :K].astype(dtype)
    made = data.statistics(shift, lambda rows: r[rows])
    Q = made.values[2 + K + K * D + D * (D + 1) // 2 :]
    assert Q.any() == (K < D * D)
    if K >= D * D:
        check_statistics(made, problem.X64, r.astype(np.float64), 0, problem.weight, dtype)


@both_dtypes
@all_types
def test_log_likelihood(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 700, 3, 5, dtype)
    expected = expect(problem)
    for weight in (None, problem.weight):
        data = make_pass(problem.X, weight, problem.parameters)
        w = np.ones(700) if weight is None else weight
        got = data.expectation(problem.parameters)
        # the float32 kernel rounds the weights to float32
        size = w * (epsilon(dtype) + 2 * np.sqrt(700) * EPS) * abs(expected.log_likelihood)
        bound = (w * expected.log_likelihood_bound + size).sum()
        within(np.array([got.log_likelihood]), np.array([w @ expected.log_likelihood]), bound)
        assert data.mean_log_likelihood(problem.parameters) == got.log_likelihood / got.weight


@both_dtypes
@all_types
def test_bits_do_not_depend_on_threads_and_slices(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make, evaluate: Make
) -> None:
    # there are 11 chunks, the last of which is short, with few and with many statistics, and with large matrices
    for K, D in ((3, 2), (17, 33), (2, 130)):
        problem = make_problem(covariance_type, 6000, K, D, dtype)
        n = 10 * make_pass(problem.X, None, problem.parameters).chunk_rows + 7
        labels = np.arange(n) % K
        results = []
        for n_threads, one_slice in ((1, True), (1, False), (2, True), (7, True), (7, False)):
            data = make_pass(
                problem.X[:n],
                problem.weight[:n],
                problem.parameters,
                n_threads,
                one_slice=one_slice,
            )
            assert data.n_threads == n_threads
            fused = data.expectation(problem.parameters)
            shifted = data.expectation(problem.parameters, shift=problem.parameters.means + 1)
            made = data.statistics(problem.parameters.means, labels=labels)
            log_likelihood = np.array(data.mean_log_likelihood(problem.parameters))
            scores = evaluate(data, problem.parameters, OUTPUTS).values()
            results.append([fused.values, shifted.values, made.values, log_likelihood, *scores])
        for other in results[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@both_dtypes
@all_types
def test_offset(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make, evaluate: Make
) -> None:
    """The bounds, which depend on differences from the means alone, hold far from the origin, too."""
    problem = make_problem(covariance_type, 600, 3, 5, dtype, 1e8 if dtype == np.float64 else 1e4)
    expected = expect(problem)
    data = make_pass(problem.X, problem.weight, problem.parameters)
    within(
        evaluate(data, problem.parameters, ["log_prob"])["log_prob"],
        expected.log_prob,
        expected.log_prob_bound,
    )
    r, r_bound = expected.responsibilities, expected.responsibilities_bound
    fused = data.expectation(problem.parameters)
    check_statistics(fused, problem.X64, r, r_bound, problem.weight, dtype)


@both_dtypes
@all_types
def test_weights_are_repetitions(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 600, 3, 5, dtype)
    expected = expect(problem)
    times = np.arange(600) % 4
    rows = np.repeat(np.arange(600), times)
    r, r_bound = expected.responsibilities[rows], expected.responsibilities_bound[rows]
    for X, weight in ((problem.X, times * 1.0), (problem.X[rows], None)):
        data = make_pass(X, weight, problem.parameters)
        fused = data.expectation(problem.parameters)
        check_statistics(fused, problem.X64[rows], r, r_bound, np.ones(len(rows)), dtype)
        assert fused.weight == len(rows)


@both_dtypes
@all_types
def test_read_only_and_negative_zero(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make, evaluate: Make
) -> None:
    problem = make_problem(covariance_type, 50, 3, 4, dtype)
    p, X = problem.parameters, problem.X.copy()
    X[::3, 1] = 0
    frozen = [a.copy() for a in (np.where(X == 0, -X, X), problem.weight, *p.prepared[:4])]
    for array in frozen:
        array.flags.writeable = False
    assert np.signbit(frozen[0][0, 1]) and not np.signbit(X[0, 1])
    plain = make_pass(X, problem.weight, p)
    same = mixture_of(Prepared(*frozen[2:], p.covariance_type))
    data = make_pass(frozen[0], frozen[1], same)
    assert np.array_equal(data.expectation(same).values, plain.expectation(p).values)
    got, expected = evaluate(data, same, OUTPUTS), evaluate(plain, p, OUTPUTS)
    assert all(np.array_equal(got[name], expected[name]) for name in OUTPUTS)
