"""Tests that starts and fits share the clusters that they are made from."""

import numpy as np
import pytest

from gmm_core import GaussianMixture, select
from gmm_core.fit import clusters
from gmm_core.fit.clusters import Clusters
from gmm_core.fit.hierarchical import hierarchical_tree


@pytest.fixture
def trees(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the number of rows of each tree that is made is added."""
    made: list[int] = []
    monkeypatch.setattr(
        clusters, "hierarchical_tree", lambda *args: (made.append(len(args[0])), hierarchical_tree(*args))[1]
    )
    return made


def rows(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 3)) + np.arange(n)[:, None] % 3


@pytest.mark.parametrize("n_threads", [1, 2])
def test_select_makes_one_tree(trees: list[int], n_threads: int) -> None:
    X, weight = rows(), np.random.default_rng(1).integers(0, 3, 200)
    options = {"init_params": "hierarchical", "random_state": 0}
    table = select(X, range(1, 5), ["full", "EEV"], sample_weight=weight, n_threads=n_threads, **options).table
    assert trees == [np.count_nonzero(weight)]
    for row in table:
        alone = GaussianMixture(row.n_components, covariance_type=row.covariance_type, **options)
        assert row.log_likelihood == alone.fit(X, sample_weight=weight).lower_bound_ * weight.sum()


def test_a_subset_has_one_tree(trees: list[int]) -> None:
    select(rows(300), [2, 3], "all", init_params="hierarchical", init_size=50)
    assert trees == [50]


def test_the_starts_of_a_fit_share_a_tree(trees: list[int]) -> None:
    model = GaussianMixture(3, n_init=3, init_params="hierarchical", random_state=0).fit(rows())
    assert trees == [200]
    assert len({restart.log_likelihood for restart in model.restarts_}) == 1


def test_other_rows_or_weights_have_another_tree() -> None:
    X, weight, shared = rows(40), np.arange(40.0), Clusters()
    for _ in range(2):
        for given in ((X, None), (X[::-1].copy(), None), (X, weight), (X, weight[::-1].copy())):
            expected = hierarchical_tree(*given)
            np.testing.assert_array_equal(shared.tree(*given).mergers, expected.mergers)
            np.testing.assert_array_equal(shared.tree(*given).points, expected.points)
