"""Tests of the starts of EM. A fit with max_iter=0 has the parameters that EM would start from.

Sums over N samples in another order differ by at most N · eps · Σ|terms|. The error of a covariance is
amplified in its inverse by cond(Σ), which is below 1e3 here. For N = 1,000 the tolerance of 1e-10 exceeds
that, and a wrong row makes a difference of more than 1e-4.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture as SklearnMixture
from threadpoolctl import threadpool_limits

from gmm_core import GaussianMixture
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit import starts

TYPES = ["full", "tied", "diag", "spherical"]
PARAMETERS = ["weights_", "means_", "covariances_", "precisions_"]
POINTS = ["k-means++", "random_from_data"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
FAITHFUL = np.loadtxt(
    Path(__file__).parents[2] / "examples" / "old_faithful.csv", delimiter=",", skiprows=1
)
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


def empirical(X, r, covariance_type, reg_covar=1e-6):
    """Return weights, means and covariances from responsibilities, by the textbook's formulas."""
    counts = r.sum(axis=0)
    means = r.T @ X / counts[:, np.newaxis]
    D = X.shape[1]
    full = np.stack([np.cov(X.T, aweights=r_k, bias=True) for r_k in r.T]) + reg_covar * np.eye(D)
    variances = np.stack([np.diag(c) for c in full])
    covariances = {
        "full": full,
        "tied": np.average(full, axis=0, weights=counts),
        "diag": variances,
        "spherical": variances.mean(axis=1),
    }
    return counts / len(X), means, covariances[covariance_type]


# --- k-means --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "K", "covariance_type", "depends_on_seed"),
    [
        (FAITHFUL, 2, "full", False),
        (load_iris().data, 3, "full", False),
        (groups(), 5, "diag", True),
        (groups(400, 12, seed=1, spread=10.0), 12, "spherical", True),
        (groups(400, 12, seed=1, spread=10.0), 12, "tied", True),
    ],
    ids=["faithful", "iris", "five groups", "twelve groups", "twelve groups tied"],
)
@pytest.mark.filterwarnings("ignore:component.* collapsed")  # with twelve groups and some seeds
def test_kmeans_starts_end_as_well_as_those_of_sklearn(X, K, covariance_type, depends_on_seed):
    """The score is as good as scikit-learn's on average over 40 seeds, both with tol=1e-8.

    EM converges linearly, at a rate of up to 0.99 here, so a fit may end tol / (1 − rate) = 1e-6 below its
    optimum. The average difference may not be worse than that.
    """
    params = {"covariance_type": covariance_type, "tol": 1e-8, "max_iter": 2000}
    differences, scores = np.empty(40), np.empty(40)
    with threadpool_limits(1):  # threads of BLAS would take more time here
        for seed in range(40):
            ours, theirs = (
                cls(K, random_state=seed, **params).fit(X).score(X)
                for cls in (GaussianMixture, SklearnMixture)
            )
            scores[seed], differences[seed] = ours, ours - theirs
    assert differences.mean() >= -1e-6, differences
    assert (np.ptp(scores) > 1e-2) == depends_on_seed


@all_types
def test_kmeans_start_is_the_m_step_of_its_clusters(covariance_type):
    X = groups(spread=30.0)  # the groups are far apart: k-means is sure to find them
    model = start(X, 5, "kmeans", covariance_type)
    labels = ((X[:, np.newaxis] - model.means_) ** 2).sum(axis=2).argmin(axis=1)
    weights, means, covariances = empirical(X, np.eye(5)[labels], covariance_type)
    np.testing.assert_allclose(model.weights_, weights, rtol=1e-12)
    np.testing.assert_allclose(model.means_, means, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.covariances_, covariances, rtol=1e-10, atol=1e-12)


def test_kmeans_with_fewer_points_than_components():
    X = np.repeat([[0.0, 0], [1, 0], [0, 1]], 20, axis=0)
    with pytest.warns(UserWarning, match="Component 3 has no samples"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "components 0, 1, 2 collapsed")
        model = GaussianMixture(4, random_state=0).fit(X)
    assert np.isfinite(model.score(X)) and model.weights_.sum() == pytest.approx(1)


# --- starts at samples ----------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("method", POINTS)
@pytest.mark.parametrize("weighted", [False, True])
def test_starts_at_samples(method, covariance_type, weighted):
    X, K = groups(), 5
    weight = np.random.default_rng(1).integers(0, 3, len(X)) if weighted else np.ones(len(X))
    model = start(X, K, method, covariance_type, sample_weight=weight if weighted else None)
    rows = [np.flatnonzero((X == mean).all(axis=1)) for mean in model.means_]
    assert all(len(row) == 1 and weight[row[0]] > 0 for row in rows)
    assert len({row[0] for row in rows}) == K
    np.testing.assert_array_equal(model.weights_, np.full(K, 1 / K))
    pooled = empirical(X, weight[:, np.newaxis], covariance_type)[2]
    shape = np.shape(model.covariances_)
    expected = np.broadcast_to(pooled, shape)
    np.testing.assert_allclose(model.covariances_, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", POINTS)
def test_kmeans_plus_plus_prefers_samples_far_away(method):
    """k-means++ always starts at one of 10 samples far away from 1,000 others; random draws rarely do."""
    X = np.vstack([np.random.default_rng(0).normal(size=(1000, 2)), np.full((10, 2), 1000.0)])
    X[1000:] += np.arange(10)[:, np.newaxis]
    found = sum((start(X, 2, method, random_state=s).means_ > 500).any() for s in range(30))
    # the far samples have 0.9998 of all squared distances; a random draw takes one with probability 0.01
    assert found == 30 if method == "k-means++" else found <= 5


@pytest.mark.parametrize("method", POINTS)
def test_starts_at_samples_are_different_points_among_duplicates(method):
    X = np.repeat([[0.0, 0], [1, 0], [0, 1]], [200, 5, 5], axis=0)
    for seed in range(10):
        means = start(X, 3, method, random_state=seed).means_
        assert len(np.unique(means, axis=0)) == 3


def test_distinct_points_are_found_in_few_draws(monkeypatch):
    """With 199 points for 200 components, one is repeated, without a long search for another."""
    X = np.random.default_rng(0).permutation(np.repeat(np.arange(199.0), 20))[:, np.newaxis]
    draws = []
    draw_rows = starts.draw_rows
    monkeypatch.setattr(
        starts, "draw_rows", lambda *args: (draws.append(1), draw_rows(*args))[1]
    )
    means = start(X, 200, "random_from_data", random_state=0).means_
    assert len(np.unique(means)) == 199
    # about 199 (log 199 + 0.6) = 1,170 draws are expected until all 199 have been drawn
    assert len(draws) < 3000


# --- responsibilities from a callable, and random ones --------------------------------------


@all_types
@pytest.mark.parametrize("function", [by_place, by_distance])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_callable_start_is_the_m_step_of_what_it_returns(covariance_type, function, dtype):
    X, K = groups().astype(dtype), 4
    made = function(X.astype(np.float64), K, None)
    model = start(X, K, function, covariance_type)
    r = made if made.ndim == 2 else np.eye(K)[made]
    weights, means, covariances = empirical(X.astype(np.float64), r, covariance_type)
    tolerance = 1e4 * np.finfo(dtype).eps  # there are N = 400 terms, with (x / σ)² < 100
    np.testing.assert_allclose(model.weights_, weights, rtol=tolerance)
    np.testing.assert_allclose(model.means_, means, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(model.covariances_, covariances, rtol=tolerance, atol=tolerance)
    assert model.means_.dtype == dtype


def test_callable_is_given_the_data_and_the_random_state():
    X, seen = groups(), []

    def function(*args):
        seen.append(args)
        return args[2].randint(3, size=len(X))

    model = start(X, 3, function, random_state=7, n_init=2)
    assert len(seen) == 2
    np.testing.assert_array_equal(seen[0][0], X)
    assert seen[0][1] == 3 and seen[0][2] is seen[1][2]
    draws = np.random.RandomState(7)
    scores = []
    for _ in range(2):
        labels = draws.randint(3, size=len(X))
        scores.append(start(X, 3, lambda X, K, random_state, labels=labels: labels).score(X))
    assert model.score(X) == pytest.approx(max(scores), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda n: np.full((n, 2), 0.5),
            ValueError,
            r"shape \(400, 3\) or labels .*got shape \(400, 2\)",
        ),
        (lambda n: np.zeros((n - 1, 3)), ValueError, r"got shape \(399, 3\)"),
        (lambda n: np.zeros(n - 1, int), ValueError, r"got shape \(399,\)"),
        (lambda n: None, ValueError, r"got shape \(\)"),
        (lambda n: np.zeros(n), TypeError, "labels .* integers, got dtype float64"),
        (lambda n: np.zeros((n, 3), "U1"), TypeError, "responsibilities .* numbers, got dtype <U1"),
        (lambda n: np.full((n, 3), 1j), TypeError, "numbers, got dtype complex128"),
        (lambda n: np.arange(n) % 4, ValueError, r"in \[0, 3\), got 0 to 3"),
        (lambda n: np.arange(n) % 3 - 1, ValueError, r"in \[0, 3\), got -1 to 1"),
        (lambda n: np.full((n, 3), 0.3), ValueError, "sum to 1"),
        (lambda n: np.tile([1.5, -0.5, 0], (n, 1)), ValueError, "non-negative"),
        (lambda n: np.full((n, 3), np.nan), ValueError, "non-negative"),
    ],
)
def test_wrong_results_of_a_callable(make, error, message):
    with pytest.raises(error, match=message):
        start(groups(), 3, lambda X, n_components, random_state: make(len(X)))


def test_allowed_results_of_a_callable():
    X = groups()
    labels = by_place(X, 3, None)
    r = by_distance(X, 3, None)
    expected = start(X, 3, lambda *args: labels)
    for form in (
        labels.tolist(),
        labels.astype(np.uint8),
        labels[::-1][::-1],
        np.eye(3)[labels],
        np.eye(3, dtype=np.float32)[labels],
        np.eye(3, dtype=bool)[labels],
    ):
        assert_same(start(X, 3, lambda *args, form=form: form), expected)
    expected = start(X, 3, lambda *args: r)
    assert_same(start(X, 3, lambda *args: np.asfortranarray(r)), expected)
    assert_same(start(X, 3, lambda *args: r.astype(np.float32)), expected, tolerance=1e-5)
    empty = start(X, 3, lambda *args: np.minimum(labels, 1))  # a component without samples
    assert empty.weights_[2] == 0 and np.isfinite(empty.score(X))


@all_types
def test_random_start_draws_what_sklearn_draws(covariance_type):
    X, K = groups(3000), 4  # more rows than a chunk has
    state, state_of_sklearn = np.random.RandomState(3), np.random.RandomState(3)
    model = start(X, K, "random", covariance_type, random_state=state)
    r = state_of_sklearn.uniform(size=(len(X), K))
    r /= r.sum(axis=1, keepdims=True)
    weights, means, covariances = empirical(X, r, covariance_type)
    np.testing.assert_allclose(model.weights_, weights, rtol=1e-12)
    np.testing.assert_allclose(model.means_, means, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(model.covariances_, covariances, rtol=1e-11, atol=1e-12)
    assert state.uniform() == state_of_sklearn.uniform()  # as many numbers were drawn


# --- given parameters, seeds ----------------------------------------------------------------


@all_types
@pytest.mark.parametrize("method", ["kmeans", "random", "hierarchical", *POINTS])
def test_a_given_parameter_replaces_that_of_the_start(method, covariance_type):
    X, K = groups(), 2
    plain = start(X, K, method, covariance_type)
    given = {
        "weights_init": [0.25, 0.75],
        "means_init": [[0.0, 1], [2, 3]],
        "precisions_init": plain.precisions_ * 2,
    }
    for name, value in given.items():
        model = start(X, K, method, covariance_type, **{name: value})
        for attribute in ("weights_", "means_", "precisions_"):
            expected = value if attribute[:-1] == name[:-5] else getattr(plain, attribute)
            np.testing.assert_allclose(getattr(model, attribute), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("method", ["kmeans", "random", *POINTS])
def test_seeds(method):
    X = groups(spread=2.0)
    one, same, other = (start(X, 5, method, random_state=s) for s in (0, 0, 1))
    assert all((getattr(one, name) == getattr(same, name)).all() for name in PARAMETERS)
    assert (one.means_ != other.means_).any()
    state = np.random.RandomState(0)
    first, second = (start(X, 5, method, random_state=state) for _ in range(2))
    np.testing.assert_array_equal(first.means_, one.means_)
    assert (second.means_ != first.means_).any()
    np.random.seed(0)  # noqa: NPY002  random_state=None uses NumPy's global state
    np.testing.assert_array_equal(start(X, 5, method, random_state=None).means_, one.means_)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights_init", [0.2, 0.3, 0.5]),
        ("means_init", np.zeros((3, 1))),
        ("means_init", np.full((2, 2), np.nan)),
        ("means_init", "text"),
        ("precisions_init", np.ones((2, 2))),
        ("precisions_init", -np.stack([np.eye(2)] * 2)),
    ],
)
def test_errors_name_the_argument_of_the_constructor(name, value):
    X = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        GaussianMixture(2, **{name: value}).fit(X)


def test_a_start_from_all_rows_takes_no_second_scratch_memory(monkeypatch):
    made = []
    init = ArrayPass.__init__
    monkeypatch.setattr(
        ArrayPass, "__init__", lambda self, *args: (made.append(args[2]), init(self, *args))[1]
    )
    X = np.random.default_rng(0).normal(size=(100, 2))
    GaussianMixture(3, init_params="random_from_data", random_state=0).fit(X)
    assert made == [3, 1]  # the pass of the fit, and one for the moments of all samples
