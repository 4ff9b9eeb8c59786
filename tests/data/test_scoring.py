"""Tests of log-likelihoods and labels for which pairs that do not count are not evaluated."""

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, GaussianMixture
from gmm_core.data import scoring
from gmm_core.data.arrays import ArrayPass
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import prepare

FULL = COVARIANCE_TYPES["full"]
both_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def problem(n=3000, K=40, D=6, distance=4.0, dtype=np.float64, weights=None, stretch=1.0, seed=0):
    """Return samples of a mixture with correlated features, in random order, and the mixture."""
    rng = np.random.RandomState(seed)
    means = distance * rng.randn(K, D)
    factors = np.linalg.qr(rng.randn(K, D, D))[0] * np.exp(stretch * rng.randn(K, 1, D))
    labels = rng.randint(0, K, n)
    X = means[labels] + np.einsum("nij,nj->ni", factors[labels], rng.randn(n, D))
    covariances = np.einsum("kij,klj->kil", factors, factors)
    weights = rng.dirichlet(np.full(K, 2.0)) if weights is None else weights
    return X.astype(dtype), prepare(weights, means, FULL.factor_covariances(covariances, D), "full")


def always(monkeypatch):
    """Let pairs be skipped even if that takes longer, and rows be looked at even if there are few."""
    monkeypatch.setattr(scoring, "_LEAST_GAIN", -np.inf)


def scores(X, prepared, n_threads=1):
    """Return log-likelihoods, labels, their numbers of rows without density, and the shares of pairs."""
    values, labels = np.full(len(X), np.nan, X.dtype), np.full(len(X), -7)
    data = ArrayPass(X, None, len(prepared.weights), "full", n_threads)
    some = scoring.Scoring(data, prepared)
    bad = [some.evaluate(log_likelihood=values), some.evaluate(labels=labels)]
    shares = [some._run(X, values.copy(), None)[1], some._run(X, None, labels.copy())[1]]
    return values, labels, bad, shares


def dense_scores(X, prepared):
    values, labels = np.empty(len(X), X.dtype), np.empty(len(X), np.int64)
    data = ArrayPass(X, None, len(prepared.weights), "full", 1)
    bad = [data.evaluate(prepared, log_likelihood=values), data.evaluate(prepared, labels=labels)]
    return values, labels, bad


def assert_dense(X, prepared):
    """Compare with all pairs, to the last bit, and return the shares of pairs that were evaluated."""
    values, labels, bad, shares = scores(X, prepared)
    for found, expected in zip((values, labels, bad), dense_scores(X, prepared), strict=True):
        np.testing.assert_array_equal(found, expected)
    return shares


@both_dtypes
@pytest.mark.parametrize(("K", "D"), [(32, 3), (33, 8), (40, 9), (100, 16), (257, 4)])
def test_scores_are_those_of_all_pairs(K, D, dtype, monkeypatch, isa):
    always(monkeypatch)
    X, prepared = problem(K=K, D=D, distance=12.0, stretch=0.5, dtype=dtype)
    for n in (1, 15, 17, 513, len(X)):
        shares = assert_dense(X[:n], prepared)
    assert shares[1] <= shares[0] < 0.7


@both_dtypes
@pytest.mark.parametrize("case", ["overlapping", "apart", "elongated", "offset", "scales", "one"])
def test_scores_of_other_data(case, dtype, monkeypatch, isa):
    """Bounds are of little use for some of these data, but the scores remain the same."""
    always(monkeypatch)
    distance, stretch = {"overlapping": 0.3, "apart": 100.0}.get(case, 4.0), 1.0
    X, prepared = problem(distance=distance, stretch=3.0 if case == "elongated" else stretch, dtype=dtype)
    means, factors = prepared.means, prepared.precisions_cholesky
    if case == "offset":
        X, means = X + dtype(1e6), means + 1e6
    elif case == "scales":
        units = np.logspace(-20, 12, 6) if dtype == np.float64 else np.logspace(-8, 8, 6)
        X, means = (X * units).astype(dtype), means * units
        factors = factors / units[:, None]
    elif case == "one":
        means = means[:1] + 1e-9 * means
    assert_dense(X, prepare(prepared.weights, np.ascontiguousarray(means), factors, "full"))


@both_dtypes
def test_equal_components_have_the_first_label(dtype, monkeypatch):
    """Pairs with the largest log-probability count, if there are several."""
    always(monkeypatch)
    X, prepared = problem(K=20, D=8, dtype=dtype)
    order = np.random.RandomState(1).permutation(40) % 20
    twice = prepare(
        np.full(40, 1 / 40), prepared.means[order], prepared.precisions_cholesky[order], "full"
    )
    assert_dense(X, twice)


@both_dtypes
def test_components_without_weight_and_noise(dtype, monkeypatch):
    always(monkeypatch)
    X, prepared = problem(distance=12.0, stretch=0.5, dtype=dtype)
    weights = prepared.weights.copy()
    weights[::3] = 0
    weights /= weights.sum()
    without = prepare(weights, prepared.means, prepared.precisions_cholesky, "full")
    assert assert_dense(X, without)[0] < 0.9
    noisy = prepare(
        weights * 0.9, prepared.means, prepared.precisions_cholesky, "full", Noise(-12.0, 0.1)
    )
    X[::5] *= 3
    assert_dense(X, noisy)
    assert (dense_scores(X, noisy)[1] == -1).any()


def test_rows_without_density_are_counted(monkeypatch):
    always(monkeypatch)
    X, prepared = problem()
    X[::7] *= 1e160
    assert_dense(X, prepared)
    assert scores(X, prepared)[2] == [len(X[::7])] * 2


def test_far_rows(monkeypatch):
    """The bytes of rows that are far from all components do not reach as far."""
    always(monkeypatch)
    X, prepared = problem()
    X[::7] *= 50
    assert_dense(X, prepared)


@both_dtypes
def test_what_is_left_out_changes_log_likelihoods_by_rounding(dtype):
    """Terms below eps / K of the largest are left out, so the logarithm of the sum changes by at most eps."""
    X, prepared = problem(distance=1.0, dtype=dtype)
    data = ArrayPass(X, None, 40, "full", 1)
    values, expected = np.empty(len(X), dtype), np.empty(len(X), dtype)
    data.evaluate(prepared, log_likelihood=values)
    data.evaluate(prepared, log_likelihood=expected, responsibilities=np.empty((len(X), 40), dtype))
    eps = np.finfo(dtype).eps
    assert (np.abs(values - expected) <= eps * (2 + np.abs(expected))).all()


def test_bits_do_not_depend_on_threads_and_slices(monkeypatch):
    always(monkeypatch)
    X, prepared = problem(n=20_000, K=64)
    one, two = scores(X, prepared), scores(X, prepared, n_threads=2)
    part = scores(X[123:9876], prepared)
    for found, again, some in zip(one[:2], two[:2], part[:2], strict=True):
        np.testing.assert_array_equal(found, again)
        np.testing.assert_array_equal(found[123:9876], some)


def test_a_needed_pair_that_is_skipped_would_be_seen(monkeypatch):
    """Bounds that are too low give other results, so the tests above would fail."""
    always(monkeypatch)
    X, prepared = problem()
    data = ArrayPass(X, None, 40, "full", 1)
    some = scoring.Scoring(data, prepared)
    some._bounds[0] *= 2.0
    some._bounds[1] += 20.0
    values = np.empty(len(X))
    try:
        some.evaluate(log_likelihood=values)
    except AssertionError:  # in a build with checks
        return
    assert (values != dense_scores(X, prepared)[0]).any()


def test_it_is_not_tried_where_it_cannot_pay():
    assert scoring.may_skip(100_000, 256, 8, FULL)
    assert scoring.may_skip(100_000, 32, 16, FULL)
    assert not scoring.may_skip(100_000, 31, 16, FULL)
    assert not scoring.may_skip(1000, 32, 16, FULL)  # for so few rows, the bounds take too long
    assert not scoring.may_skip(100_000, 64, 2, FULL)
    assert not scoring.may_skip(100_000, 64, 200, FULL)
    assert not scoring.may_skip(100_000, 256, 8, COVARIANCE_TYPES["diag"])


def test_overlapping_components_are_evaluated_at_once():
    X, prepared = problem(distance=0.3)
    some = scoring.Scoring(ArrayPass(X, None, 40, "full", 1), prepared)
    assert some.evaluate(labels=np.empty(len(X), np.int64)) is None


@pytest.mark.filterwarnings("ignore:Best performing")
@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_estimators_skip(cls, monkeypatch):
    X, prepared = problem(n=60_000, K=32, D=12, distance=12.0, stretch=0.5)
    gm = cls(n_components=32, max_iter=1, random_state=0, tol=1e9, n_threads=2).fit(X[:3000])
    calls = []
    evaluate = scoring.Scoring.evaluate

    def count(self, **outputs):
        calls.append(evaluate(self, **outputs))
        return calls[-1]

    monkeypatch.setattr(scoring.Scoring, "evaluate", count)
    found = gm.score_samples(X), gm.predict(X), gm.score(X)
    assert calls == [0, 0, 0]
    gm.set_params(skip=False)
    for one, other in zip(found, (gm.score_samples(X), gm.predict(X), gm.score(X)), strict=True):
        np.testing.assert_array_equal(one, other)
    gm.predict_proba(X)
    assert calls == [0, 0, 0]
