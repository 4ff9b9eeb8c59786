"""Tests of random swaps: they never lower the log-likelihood, and get EM out of bad optima."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets

from gmm_core import GaussianMixture
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit import run, swaps
from gmm_core.model.attributes import mixture_from
from gmm_core.model.covariance import COVARIANCE_TYPES

TYPES = ["full", "tied", "diag", "spherical", "EII", "EEV", "VVE"]


def groups(n_groups, n=600, n_features=3, seed=0, spread=2.0):
    """Return samples of round groups."""
    rng = np.random.default_rng(seed)
    means = spread * rng.normal(size=(n_groups, n_features))
    return means[rng.integers(n_groups, size=n)] + rng.normal(size=(n, n_features))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_swaps_never_lower_the_log_likelihood(covariance_type, weighted, dtype):
    X, rounding = groups(6).astype(dtype), 20 * float(np.finfo(dtype).eps)
    weight = np.random.default_rng(1).uniform(0.2, 3, len(X)) if weighted else None
    for seed in range(4):
        params = {"covariance_type": covariance_type, "random_state": seed, "init_params": "k-means++"}
        without = GaussianMixture(6, **params).fit(X, sample_weight=weight)
        model = GaussianMixture(6, n_swaps=8, **params).fit(X, sample_weight=weight)
        assert model.lower_bound_ >= without.lower_bound_
        assert model.n_iter_ == len(model.lower_bounds_) == model.restarts_[0].n_iter
        assert model.restarts_[0].log_likelihood == model.lower_bound_
        # what is kept is a sequence of EM, whose bounds rise up to rounding in the type of X
        assert (np.diff(model.lower_bounds_) > -rounding).all()
        score = float(model.score(X, sample_weight=weight))
        assert score == pytest.approx(model.lower_bound_, rel=rounding)
        assert (model.means_ == without.means_).all() == (model.lower_bound_ == without.lower_bound_)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_swaps_get_out_of_a_bad_optimum(covariance_type):
    """Two components start in the same one of three far groups, a third covers the other two."""
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0], [60, 0], [60, 12]])
    X = centers[np.arange(600) % 3] + rng.normal(size=(600, 2))
    start = {"means_init": [[-1.0, 0], [1, 0], [60, 6]], "weights_init": [0.3, 0.3, 0.4]}
    params = {"covariance_type": covariance_type, "tol": 1e-6, "random_state": 0, **start}
    bad = GaussianMixture(3, **params).fit(X)
    assert np.abs(bad.means_[2] - [60, 6]).max() < 1
    model = GaussianMixture(3, n_swaps=5, **params).fit(X)
    np.testing.assert_allclose(model.means_[np.lexsort(np.rint(model.means_).T[::-1])], centers, atol=0.3)
    assert len(X) * (model.lower_bound_ - bad.lower_bound_) > 100


def test_swaps_repair_a_k_means_start_that_is_known_to_be_bad():
    """One of 25 groups of a grid shares a component with its neighbour, which costs 28 nats."""
    rng = np.random.default_rng(0)
    X = 3 * rng.integers(5, size=(1_000, 2)) + 0.6 * rng.normal(size=(1_000, 2))
    params = {"covariance_type": "spherical", "tol": 1e-6, "max_iter": 1000, "random_state": 0}
    one = GaussianMixture(25, **params).fit(X)
    model = GaussianMixture(25, n_swaps=20, **params).fit(X)
    assert len(X) * (model.lower_bound_ - one.lower_bound_) > 20
    grid = np.stack(np.meshgrid(3 * np.arange(5), 3 * np.arange(5)), axis=-1).reshape(-1, 2)
    distances = np.abs(grid[:, None] - model.means_).max(axis=2)
    assert (distances.min(axis=1) < 0.5).all()


def test_components_without_samples_are_used():
    X = groups(4, spread=8.0)
    params = {"init_params": lambda X, K, random_state: np.zeros(len(X), int), "random_state": 0}
    with pytest.warns(UserWarning, match="Components 1, 2, 3 have no samples"):
        GaussianMixture(4, **params).fit(X)
    model = GaussianMixture(4, n_swaps=10, **params).fit(X)
    assert model.weights_.min() > 0.1


def test_each_start_is_followed_by_swaps():
    X = groups(6)
    params = {"init_params": "k-means++", "n_init": 4}
    without = GaussianMixture(6, random_state=0, **params).fit(X)
    # the draws of the swaps come between those of the starts, so that only the first is the same
    model = GaussianMixture(6, random_state=0, n_swaps=6, **params).fit(X)
    assert len(model.restarts_) == 4
    assert model.restarts_[0].log_likelihood >= without.restarts_[0].log_likelihood
    assert model.lower_bound_ == max(r.log_likelihood for r in model.restarts_)


def test_a_warm_start_is_followed_by_swaps():
    X = groups(6)
    model = GaussianMixture(6, init_params="random_from_data", random_state=0).fit(X)
    before = model.lower_bound_
    model.set_params(warm_start=True, n_swaps=20).fit(X)
    assert len(X) * (model.lower_bound_ - before) > 1


@pytest.mark.parametrize("params", [{"n_components": 1}, {"max_iter": 0}])
def test_where_nothing_can_be_swapped(params):
    X = groups(3)
    params = {"n_components": 3, "random_state": 0, **params}
    expected = GaussianMixture(**params).fit(X)
    model = GaussianMixture(n_swaps=3, **params).fit(X)
    assert model.lower_bounds_ == expected.lower_bounds_
    np.testing.assert_array_equal(model.means_, expected.means_)


def test_swaps_that_fail_are_not_kept(monkeypatch):
    X = groups(2)
    tried = []

    def far(mixture, data, random_state):
        tried.append(mixture)
        means = np.full(mixture.means.shape, 1e200)
        return mixture._replace(prepared=mixture.prepared._replace(means=means), means=means)

    expected = GaussianMixture(2, random_state=0).fit(X)
    monkeypatch.setattr(swaps, "_swap", far)
    model = GaussianMixture(2, random_state=0, n_swaps=3).fit(X)
    assert len(tried) == 3
    np.testing.assert_array_equal(model.means_, expected.means_)


def test_a_swap_that_makes_a_component_collapse_is_not_kept(monkeypatch):
    """Without this rule, swaps on the iris data end in a component of a few samples."""
    X = sklearn.datasets.load_iris().data
    params = {"tol": 1e-6, "max_iter": 1000, "random_state": 0, "n_swaps": 20}
    model = GaussianMixture(4, **params).fit(X)  # without a warning
    original = run.swap_components

    def without_rule(fit, **params):
        return original(fit, **{**params, "collapsed": lambda mixture: 0})

    monkeypatch.setattr(run, "swap_components", without_rule)
    with pytest.warns(UserWarning, match="collapsed onto few samples"):
        collapsed = GaussianMixture(4, **params).fit(X)
    assert collapsed.lower_bound_ > model.lower_bound_


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_swap_moves_one_component(covariance_type):
    X = groups(6)
    model = GaussianMixture(6, covariance_type=covariance_type, random_state=0).fit(X)
    mixture = mixture_from(vars(model), covariance_type, 1)
    data = ArrayPass(X, None, 6, covariance_type, 1)
    moved = swaps._swap(mixture, data, np.random.RandomState(0))
    changed = np.flatnonzero((moved.means != mixture.means).any(axis=1))
    assert len(changed) == 1
    k = int(changed[0])
    assert (X == moved.means[k]).all(axis=1).any()
    assert moved.weights.sum() == pytest.approx(1, rel=1e-15)
    kind = COVARIANCE_TYPES[covariance_type]
    (owner,) = set(np.flatnonzero(moved.weights == moved.weights[k])) - {k}
    for before, after in (
        (mixture.covariances, moved.covariances),
        (mixture.prepared.precisions_cholesky, moved.prepared.precisions_cholesky),
    ):
        part = kind.of_component(after, k)
        np.testing.assert_array_equal(part, kind.of_component(before, owner))
