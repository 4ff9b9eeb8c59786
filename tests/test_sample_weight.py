"""Tests that a row of weight 0 counts as absent and one of weight 2 as two rows, in starts and iterations.

Sums over N samples in another order, or with equal rows grouped differently, differ by at most N · eps ·
Σ|terms|. The error of a covariance is amplified in its inverse by cond(Σ), which is below 1e3 here. For N =
1,000 the tolerance of 1e-10 exceeds that, and a wrong row or weight makes a difference of more than 1e-4.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from gmm_core import GaussianMixture

TYPES = ["full", "tied", "diag", "spherical"]
PARAMETERS = ["weights_", "means_", "covariances_", "precisions_"]
POINTS = ["k-means++", "random_from_data"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TOLERANCE = 1e-10


def groups(n=400, K=5, seed=0, spread=6.0):
    """Return K round groups in the plane, with means in a square of half-width `spread`."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-spread, spread, size=(K, 2))
    return means[rng.integers(K, size=n)] + rng.normal(size=(n, 2))


def start(X, K, method, covariance_type="full", random_state=0, sample_weight=None, **params):
    model = GaussianMixture(
        K,
        init_params=method,
        covariance_type=covariance_type,
        random_state=random_state,
        max_iter=0,
        **params,
    )
    return model.fit(X, sample_weight=sample_weight)


def assert_same(model, expected, tolerance=TOLERANCE):
    for name in PARAMETERS:
        wanted = getattr(expected, name)
        atol = tolerance * abs(wanted).max()
        np.testing.assert_allclose(getattr(model, name), wanted, rtol=0, atol=atol, err_msg=name)


def by_place(X, n_components, random_state):
    """Return labels by the integer part of the first feature."""
    return (np.floor(X[:, 0]).astype(int)) % n_components


def by_distance(X, n_components, random_state):
    """Return responsibilities that decrease with the distance from points on a line."""
    r = np.exp(-0.1 * (X[:, :1] - np.linspace(-5, 5, n_components)) ** 2)
    return r / r.sum(axis=1, keepdims=True)


@unconverged
@all_types
@pytest.mark.parametrize("method", ["kmeans", "hierarchical", *POINTS, by_place, by_distance])
def test_a_weight_of_two_counts_a_row_twice(method, covariance_type):
    X = groups(800)
    weight = np.random.default_rng(1).integers(0, 4, len(X))
    repeated = np.repeat(X, weight, axis=0)
    for seed in range(4):
        for max_iter in (0, 10):
            model, expected = (
                GaussianMixture(
                    5,
                    init_params=method,
                    covariance_type=covariance_type,
                    random_state=seed,
                    max_iter=max_iter,
                ).fit(samples, sample_weight=w)
                for samples, w in ((X, weight), (repeated, None))
            )
            assert_same(model, expected)
            assert model.n_iter_ == expected.n_iter_
            assert model.lower_bound_ == pytest.approx(expected.lower_bound_, rel=TOLERANCE)
    np.testing.assert_array_equal(np.repeat(model.predict(X), weight), expected.predict(repeated))


@unconverged
@all_types
@pytest.mark.parametrize("method", ["kmeans", "random", "hierarchical", *POINTS, by_place, by_distance])
def test_a_row_of_weight_zero_is_absent(method, covariance_type):
    X = groups(800)
    weight = np.random.default_rng(2).choice([0.0, 0.5, 1.7], len(X))
    present = weight > 0
    dirty = np.where(present[:, np.newaxis], X, 50.0)  # rows of weight 0 are far away
    for seed in range(3):
        params = {"init_params": method, "covariance_type": covariance_type, "random_state": seed}
        model = GaussianMixture(5, max_iter=5, **params)
        labels = model.fit_predict(dirty, sample_weight=weight)
        expected = GaussianMixture(5, max_iter=5, **params)
        np.testing.assert_array_equal(
            labels[present], expected.fit_predict(X[present], sample_weight=weight[present])
        )
        assert_same(model, expected)


ARRANGEMENTS = {
    "first": lambda n: np.arange(n) < n // 4,
    "in the middle": lambda n: abs(np.arange(n) - n // 2) < n // 5,
    "last": lambda n: np.arange(n) > n // 2,
    "in turns": lambda n: np.arange(n) % 3 == 0,
    "runs of 700": lambda n: np.arange(n) // 700 % 2 == 1,
}


@pytest.mark.parametrize("init_size", [None, 2000, 6000])
@pytest.mark.parametrize("absent", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
@pytest.mark.parametrize("method", ["kmeans", "random", *POINTS])
def test_rows_of_weight_zero_do_not_change_the_start(method, absent, init_size):
    """The start is bit-identical without the rows of weight 0: in an array, in batches, and with NaN.

    The rows of weight 0 cover whole tiles and chunks, and lie far away. With init_size=6000 the data have
    more rows than that, but in some cases fewer rows with weight.
    """
    rng = np.random.default_rng(3)
    X = groups(8000, K=3)
    absent = absent(len(X))
    X[absent] += 1000
    weight = np.where(absent, 0.0, rng.choice([0.5, 1.0, 3.0], len(X)))
    present = X[~absent], weight[~absent]
    batches = [(X[i : i + 999], weight[i : i + 999]) for i in range(0, len(X), 999)]
    incomplete = np.where(rng.random(X.shape) < 0.1, np.nan, X)
    for seed in range(3):
        params = {"init_params": method, "random_state": seed, "max_iter": 0, "init_size": init_size}
        expected = GaussianMixture(4, **params).fit(present[0], sample_weight=present[1])
        assert abs(expected.means_).max() < 100
        for model in (
            GaussianMixture(4, **params).fit(X, sample_weight=weight),
            GaussianMixture(4, **params).fit_batches(batches),
        ):
            for name in PARAMETERS:
                np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
        params["missing"] = "marginalize"
        model = GaussianMixture(4, **params).fit(incomplete, sample_weight=weight)
        expected = GaussianMixture(4, **params).fit(incomplete[~absent], sample_weight=present[1])
        for name in PARAMETERS:
            np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))


@pytest.mark.parametrize("absent", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_a_callable_gets_the_rows_that_have_weight(absent):
    """Rows of weight 0 do not change the draws of a callable, which may also return labels of all rows."""
    X = groups(3000, K=3)
    absent = absent(len(X))
    weight = np.where(absent, 0.0, 1.0)

    def labels(X, n_components, random_state):
        return random_state.randint(n_components, size=len(X))

    expected = start(X[~absent], 3, labels)
    model = start(X, 3, labels, sample_weight=weight)
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
    of_all = np.random.RandomState(1).randint(3, size=len(X))
    model = start(X, 3, lambda X, K, random_state: of_all, sample_weight=weight)
    expected = start(X[~absent], 3, lambda X, K, random_state: of_all[~absent])
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))


def test_kmeans_plus_plus_never_draws_a_row_of_weight_zero():
    rng = np.random.RandomState(0)
    X = np.vstack([rng.randn(1000, 2) + 1000, rng.randn(5000, 2), rng.randn(5000, 2) + 5])
    weight = np.r_[np.zeros(1000), np.ones(10000)]
    model = GaussianMixture(2, init_params="k-means++", random_state=0)
    model.fit(X, sample_weight=weight)
    expected = GaussianMixture(2, init_params="k-means++", random_state=0).fit(X[1000:])
    assert_same(model, expected, 1e-12)
    assert model.score(X, sample_weight=weight) > -3.53


@pytest.mark.parametrize("method", ["kmeans", "random", "hierarchical", *POINTS])
@unconverged
@pytest.mark.filterwarnings("ignore:component")
def test_weights_that_vanish_beside_the_largest(method):
    """The fit succeeds if all weights but one are 0 relative to it: 1e-300 / 1e300 is 0 in float64."""
    X = np.random.default_rng(0).normal(size=(12, 2))
    weight = np.r_[1e300, np.full(11, 1e-300)]
    model = GaussianMixture(3, init_params=method, random_state=0).fit(X, sample_weight=weight)
    assert np.isfinite(model.means_).all() and model.weights_.sum() == pytest.approx(1)


def test_fewer_rows_with_weight_than_components():
    X = groups(20)
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        GaussianMixture(3).fit(X, sample_weight=np.arange(20) < 2)


def test_large_and_small_weights_are_only_relative():
    X = groups()
    expected = start(X, 5, "kmeans", sample_weight=np.ones(len(X)))
    for scale in (2.0**-60, 2.0**60):
        model = start(X, 5, "kmeans", sample_weight=np.full(len(X), scale))
        assert_same(model, expected)
    with pytest.warns(ConvergenceWarning):
        GaussianMixture(5, max_iter=1, random_state=0).fit(X, sample_weight=np.full(len(X), 1e-300))
