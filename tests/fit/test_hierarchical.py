"""Tests of the hierarchical clusters, and of the start of EM that they give.

`labels` has the arguments that a comparison with other programs needs.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as SklearnMixture

from gmm_core import GaussianMixture
from gmm_core.core.errors import NumericalError
from gmm_core.fit.hierarchical import Tree, hierarchical_tree

VALUES = Path(__file__).parent.parent / "values"
PARAMETERS = ["weights_", "means_", "covariances_", "precisions_"]
both_models = pytest.mark.parametrize("model", ["EII", "VVV"])
both_uses = pytest.mark.parametrize("use", ["SVD", "VARS"])

with zipfile.ZipFile(VALUES / "hc.zip") as archive:
    FILES = {name: archive.read(name).decode() for name in archive.namelist()}
TABLES = [name for name in FILES if "_hc_" in name]


def table(text):
    return np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)


def data(name):
    stored = FILES.get(f"{name}.csv")
    return table(stored or (VALUES / "mclust" / f"{name}.csv").read_text())


def labels(X, model, use, K):
    return hierarchical_tree(X, None, model, use).labels(K)


def groups(n=300, K=4, D=3, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(K, D, D))
    which = rng.integers(K, size=n)
    return 5 * rng.normal(size=(K, D))[which] + np.einsum(
        "nij,nj->ni", factors[which], rng.normal(size=(n, D))
    )


def assert_same_partition(a, b):
    pairs = np.unique(np.c_[a, b], axis=0)
    assert len(pairs) == len(np.unique(a)) == len(np.unique(b))


# --- the tree ---------------------------------------------------------------------------------


def test_there_are_twenty_tables():
    assert len(TABLES) == 20


@pytest.mark.parametrize("name", TABLES)
def test_clusters_of_mclust(name, isa):
    """Ties decide in the other tables of VVV, or something that the published criterion does not say."""
    source, model, use = re.fullmatch(r"(.*)_hc_(EII|VVV)_(SVD|VARS)\.csv", name).groups()
    tree = hierarchical_tree(data(source), None, model, use)
    for K, expected in zip(range(2, 10), table(FILES[name]).T, strict=True):
        assert_same_partition(tree.labels(K), expected)


def textbook(X, counts, model):
    """Return the labels for each number of clusters, from the last to the first merger."""
    n, (total, D) = len(X), (counts.sum(), X.shape[1])

    def term(rows):
        w = counts[rows]
        centred = X[rows] - np.average(X[rows], axis=0, weights=w)
        W, n_k = (w[:, None] * centred).T @ centred, w.sum()
        if model == "EII":
            return np.trace(W)
        det = np.linalg.det(W / n_k) if n_k > D else 0.0
        return n_k * np.log(max(det, 0) + (np.trace(W) + floor) / n_k)

    floor = (counts[:, None] * (X - np.average(X, axis=0, weights=counts)) ** 2).sum() / total / D
    clusters, partitions = [[i] for i in range(n)], []
    while True:
        partitions.append(np.empty(n, int))
        for k, rows in enumerate(clusters):
            partitions[-1][rows] = k
        if len(clusters) == 1:
            return partitions[::-1]
        terms = [term(rows) for rows in clusters]
        pairs = [(i, j) for i in range(len(clusters)) for j in range(i)]
        i, j = min(pairs, key=lambda p: term(clusters[p[0]] + clusters[p[1]]) - terms[p[0]] - terms[p[1]])
        clusters[j] += clusters.pop(i)


@both_models
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("D", [1, 2, 3, 5])
def test_textbook(D, weighted, model, isa):
    """At every number of clusters, with small variances, so that determinants matter, and with large ones."""
    for scale in (0.1, 1.0, 10.0):
        rng = np.random.default_rng(D)
        X = scale * rng.normal(size=(22, D)) * np.arange(1, D + 1)
        counts = rng.integers(1, 4, len(X)) * 1.0 if weighted else np.ones(len(X))
        counts[0] = 1  # the unit
        tree = hierarchical_tree(X, counts if weighted else None, model, "VARS")
        for K, expected in enumerate(textbook(X, counts, model), 1):
            np.testing.assert_array_equal(tree.labels(K), np.unique(expected, return_inverse=True)[1])


def test_svd_scaling():
    """The scaled features are Z V S^(−1/2), which a rotation or a reflection does not change for the tree."""
    X = groups(150)
    Z = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    _, S, Vt = np.linalg.svd(Z, full_matrices=False)
    for model in ("EII", "VVV"):
        tree = hierarchical_tree(X, None, model, "SVD")
        expected = hierarchical_tree(Z @ Vt.T / np.sqrt(S), None, model, "VARS")
        np.testing.assert_array_equal(tree.mergers, expected.mergers)
    for moved in (X * [1e-200, 1, 1e150], X + 1e6, np.c_[X, np.full(len(X), 0.1)], np.c_[X, X[:, 0]][:, [3, 1, 2]]):
        for K in (2, 4, 9):
            np.testing.assert_array_equal(
                hierarchical_tree(moved).labels(K), hierarchical_tree(X).labels(K)
            )


def test_collinear_features_are_left_out():
    X = groups(150)
    tree = hierarchical_tree(np.c_[X, X.sum(axis=1)])
    assert len(np.unique(tree.labels(4))) == 4
    line = hierarchical_tree(np.c_[X[:, 0], 3 * X[:, 0]])
    np.testing.assert_array_equal(line.mergers, hierarchical_tree(X[:, :1]).mergers)


@both_models
@both_uses
def test_numbers_of_clusters(model, use):
    X = groups(60)
    tree = hierarchical_tree(X, None, model, use)
    assert tree.labels(1).tolist() == [0] * 60
    assert tree.labels(60).tolist() == tree.labels(99).tolist() == list(range(60))
    previous = tree.labels(60)
    for K in range(59, 0, -1):
        now = tree.labels(K)
        assert now.dtype == np.int64
        first = np.unique(now, return_index=True)[1]
        assert len(first) == K and (np.diff(first) > 0).all()  # numbered by their first samples
        assert len(np.unique(np.c_[previous, now], axis=0)) == K + 1  # two clusters became one
        previous = now


@both_models
@both_uses
def test_equal_rows(model, use):
    """Equal rows lie at one point, and are as many rows as one row with their weight."""
    X, times = groups(40), np.random.default_rng(0).integers(1, 4, 40)
    times[0] = 1
    repeated = np.repeat(X, times, axis=0)
    tree = hierarchical_tree(repeated, None, model, use)
    weighted = hierarchical_tree(X, times.astype(float), model, use)
    assert len(tree.mergers) == 39 and tree.points.tolist() == np.repeat(np.arange(40), times).tolist()
    np.testing.assert_array_equal(tree.mergers, weighted.mergers)
    same = hierarchical_tree(np.ones((5, 2)), None, model, use)
    assert same.mergers.shape == (0, 2) and same.labels(3).tolist() == [0] * 5
    signs = hierarchical_tree(np.array([[0.0], [-0.0], [1.0]]), None, model, use)
    assert signs.points.tolist() == [0, 0, 1] and signs.labels(2).tolist() == [0, 0, 1]
    assert hierarchical_tree(X[:1], None, model, use).labels(1).tolist() == [0]


@both_models
def test_of_equal_costs_the_first_is_taken(model):
    X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1], [9, 0], [9, 1]])
    assert hierarchical_tree(X, None, model, "VARS").mergers[0].tolist() == [0, 1]
    grid = np.indices((6, 6)).reshape(2, -1).T.astype(float)
    for use in ("SVD", "VARS"):
        trees = [hierarchical_tree(grid, None, model, use) for _ in range(2)]
        np.testing.assert_array_equal(trees[0].mergers, trees[1].mergers)
        assert len(np.unique(trees[0].labels(4))) == 4


def test_weights():
    X = groups(80)
    weight = np.random.default_rng(0).uniform(0.1, 2, 80)
    tree = hierarchical_tree(X, weight)
    for factor in (2.0**-900, 4.0):
        np.testing.assert_array_equal(tree.mergers, hierarchical_tree(X, factor * weight).mergers)
    np.testing.assert_array_equal(
        hierarchical_tree(X).mergers, hierarchical_tree(X, np.full(80, 0.3)).mergers
    )
    for tiny in (1e-30, 5e-324):
        weight[7] = tiny
        assert len(np.unique(hierarchical_tree(X, weight).labels(4))) == 4
    weight[[3, 50]] = 0
    without = hierarchical_tree(X[weight > 0], weight[weight > 0])
    tree = hierarchical_tree(X, weight)
    np.testing.assert_array_equal(tree.mergers, without.mergers)
    np.testing.assert_array_equal(tree.points[weight > 0], without.points)


def test_scales():
    """SVD has no scale. Squared distances that overflow are an error for VARS."""
    X = groups(50)
    tree = hierarchical_tree(X)
    for scale in (1e-300, 1e300):
        np.testing.assert_array_equal(hierarchical_tree(scale * X).mergers, tree.mergers)
    with np.errstate(over="ignore"), pytest.raises(NumericalError, match="overflow: scale the data"):
        hierarchical_tree(1e200 * X, None, "EII", "VARS")


def test_determinants_that_cannot_matter_are_not_computed(monkeypatch):
    """The tree is the same as with all of the determinants."""
    from gmm_core.fit import hierarchical

    for D in (2, 6, 9, 12, 30):
        X = groups(200, D=D)
        tree = hierarchical_tree(X)
        with monkeypatch.context() as patch:
            patch.setattr(hierarchical, "_negligible_variance", lambda D: 0.0)
            np.testing.assert_array_equal(hierarchical_tree(X).mergers, tree.mergers)


def test_a_tree_can_be_made_by_hand():
    tree = Tree(np.array([0, 1, 1, 2]), np.array([[1, 2], [0, 1]]))
    assert [tree.labels(K).tolist() for K in (1, 2, 3)] == [[0] * 4, [0, 1, 1, 1], [0, 1, 1, 2]]


# --- the start --------------------------------------------------------------------------------


def start(X, K, **params):
    params = {"max_iter": 0, "init_params": "hierarchical", "random_state": 0} | params
    weight = params.pop("sample_weight", None)
    return GaussianMixture(K, **params).fit(X, sample_weight=weight)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "VEE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_start_is_the_m_step_of_the_clusters(covariance_type, dtype):
    X = groups().astype(dtype)
    clusters = hierarchical_tree(X).labels(4)
    model = start(X, 4, covariance_type=covariance_type)
    expected = start(X, 4, covariance_type=covariance_type, init_params=lambda *_: clusters)
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
        assert getattr(model, name).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [900, 5000])
def test_bits_do_not_depend_on_threads(n, dtype):
    X = groups(n, D=6).astype(dtype)
    weight = np.random.default_rng(1).uniform(0.5, 2, n)
    models = [start(X, 4, n_threads=t, max_iter=3, tol=1e3, sample_weight=weight) for t in (1, 2)]
    for name in [*PARAMETERS, "lower_bounds_"]:
        np.testing.assert_array_equal(*[getattr(model, name) for model in models])


def test_larger_data_are_reduced_to_2000_rows():
    """The start then is the M-step of a subset, and the first E-step assigns the other rows."""
    X = groups(2_500)
    seen = []

    def clusters(X, n_components, random_state):
        seen.append(len(X))
        return hierarchical_tree(X).labels(n_components)

    model = start(X, 4)
    expected = start(X, 4, init_params=clusters, init_size=2_000)
    assert seen == [2_000]
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
    start(X, 4, init_params=clusters, init_size=300)
    smaller = start(X, 4, init_size=300)
    assert seen == [2_000, 300] and (smaller.means_ != model.means_).any()
    assert (start(X, 4, random_state=1).means_ != model.means_).any()


def test_as_many_rows_as_components():
    X = groups(30)
    assert sorted(start(X, 30).means_.tolist()) == sorted(X.tolist())
    many = groups(2_300, D=1)
    assert len(start(many, 2_001).means_) == 2_001  # more components than rows of a subset


def test_fewer_points_than_components():
    X = np.repeat([[0.0, 0], [1, 0], [0, 1]], 20, axis=0)
    with pytest.warns(UserWarning, match="Component 3 has no samples"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "components 0, 1, 2 collapsed")
        model = start(X, 4, max_iter=10)
    assert np.isfinite(model.score(X)) and model.weights_.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["iris", "faithful", "diabetes", "thyroid"])
def test_fits_end_as_well_as_from_kmeans(name):
    """The log-likelihood is at most 0.2 nats a sample below the best of ten k-means starts."""
    X, K = data(name), {"faithful": 2}.get(name, 3)
    params = {"tol": 1e-8, "max_iter": 5_000, "reg_covar": 1e-6 * X.var(axis=0)}
    model = start(X, K, **params)
    best = GaussianMixture(K, n_init=10, random_state=0, **params).fit(X)
    assert model.lower_bound_ > best.lower_bound_ - 0.2


def test_sklearn_gets_its_own_default():
    model = start(groups(50), 2)
    assert model.to_sklearn().init_params == SklearnMixture().init_params
