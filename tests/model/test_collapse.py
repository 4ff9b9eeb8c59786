"""Tests that components which have collapsed onto few samples are reported, and no others."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine, make_blobs

from gmm_core import GaussianMixture

DATA = Path(__file__).parents[1] / "values" / "mclust"
FAITHFUL = np.loadtxt(DATA / "faithful.csv", delimiter=",", skiprows=1, usecols=(0, 1))
rng = np.random.default_rng(5)
TYPES = ["full", "tied", "diag", "spherical"]


def collapsed(model: GaussianMixture, X: Any, **fit_params: Any) -> list[int]:
    """Fit a model, and return the components that the fit reports as collapsed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, **fit_params)
    found = [str(w.message) for w in caught if "collapsed" in str(w.message)]
    assert len(found) <= 1
    return [int(k) for k in re.findall(r"\d+", found[0].split(" collapsed")[0])] if found else []


@pytest.mark.parametrize("seed", range(5))
def test_twenty_components_of_the_geyser(seed: int) -> None:
    """Components whose samples share a value of a feature, or lie nearly on a line, are reported."""
    model = GaussianMixture(20, random_state=seed)
    found = collapsed(model, FAITHFUL)
    smallest = np.linalg.eigvalsh(model.covariances_)[:, 0]
    assert set(np.flatnonzero(smallest < 1.01e-6)) <= set(found)
    assert found and (smallest[found] < 2e-3).all()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_point_for_each_component(covariance_type: str) -> None:
    X = np.array([[0.0, 1], [2, 5], [7, 3]])
    assert collapsed(GaussianMixture(3, covariance_type=covariance_type), X) == [0, 1, 2]


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
@pytest.mark.parametrize("scale", [1e-3, 1, 1e6])
@pytest.mark.parametrize("weight", [1, 1e-4, 1e6])
def test_neither_units_nor_the_scale_of_the_weights_matter(
    weight: float, scale: float, covariance_type: str
) -> None:
    """A component on four samples, whose variance is nearly all reg_covar, is reported in any units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    X[:4] = [4.0, 4] + 1e-5 * rng.normal(size=(4, 2))
    model = GaussianMixture(
        2, covariance_type=covariance_type, reg_covar=1e-6 * scale**2,
        init_params=lambda X, K, random_state: (np.arange(len(X)) < 4).astype(int),
    )
    assert collapsed(model, X * scale, sample_weight=np.full(100, weight)) == [1]


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(
    ("X", "n_components"),
    [
        pytest.param(FAITHFUL, 5, id="faithful"),
        pytest.param(load_iris().data, 5, id="iris"),
        pytest.param(load_wine().data, 3, id="wine"),
        pytest.param(load_digits().data + np.random.default_rng(0).normal(size=(1797, 64)), 10, id="digits"),
        pytest.param(make_blobs(300, 3, centers=4, cluster_std=1e-3, random_state=0)[0], 4, id="far apart"),
        pytest.param(np.outer(np.random.default_rng(0).normal(size=100), [1, 2, 3]), 2, id="collinear"),
        pytest.param(np.repeat([[0.0], [9999]], 50, axis=0), 2, id="two values, 50 samples each"),
        pytest.param(np.random.default_rng(0).normal(size=(200, 2)) * 1e-6, 2, id="below reg_covar"),
        pytest.param(
            np.vstack([rng.normal(size=(20, 2)) * 1e-3 + c for c in rng.uniform(-1, 1, (6, 2))]),
            6, id="clusters of 20 samples, with variances of reg_covar",
        ),
    ],
)
def test_clusters_are_not_reported_as_collapsed(X: Any, n_components: int, covariance_type: str) -> None:
    model = GaussianMixture(n_components, covariance_type=covariance_type, random_state=0)
    assert collapsed(model, X) == []


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
@pytest.mark.parametrize("reg_covar", [0, 1e-12, 1e-6])
def test_a_value_that_six_samples_share(covariance_type: str, reg_covar: float) -> None:
    X = np.r_[np.random.RandomState(0).randn(200), np.full(6, 10.0)][:, None]
    model = GaussianMixture(2, covariance_type=covariance_type, reg_covar=reg_covar, random_state=0)
    assert len(collapsed(model, X)) == 1


def test_a_fit_without_iterations_reports_nothing() -> None:
    assert collapsed(GaussianMixture(3, max_iter=0), [[0.0], [1], [2]]) == []


def test_eigenvalues_are_computed_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    eigvalsh = np.linalg.eigvalsh
    monkeypatch.setattr(np.linalg, "eigvalsh", lambda a: (calls.append(1), eigvalsh(a))[1])
    model = GaussianMixture(2, n_init=3, random_state=0).fit(FAITHFUL)
    assert not calls
    smallest = [restart.smallest_eigenvalue for restart in model.restarts_]
    assert len(calls) == 3 and min(smallest) > 0
    assert [restart.smallest_eigenvalue for restart in model.restarts_] == smallest
    assert len(calls) == 3


@pytest.mark.parametrize("covariance_type", ["EVI", "EVV", "EVE"])
@pytest.mark.parametrize("n", [8, 12])
def test_a_volume_that_all_share_does_not_hide_a_collapse(covariance_type: str, n: int) -> None:
    """A few samples that share a value of a feature are reported, as without constraints."""
    X = np.random.default_rng(0).normal(size=(200, 2)) * [1, 0.5]
    X[:n] += [6, 0]
    X[:n, 1] = 2
    labels = (np.arange(200) < n).astype(int)
    model = GaussianMixture(2, covariance_type=covariance_type, init_params=lambda *_: labels)
    assert collapsed(model, X) == [1]
    assert collapsed(model.set_params(covariance_type="full"), X) == [1]


@pytest.mark.parametrize("covariance_type", ["EVI", "EVV", "EVE"])
@pytest.mark.parametrize("X", [FAITHFUL, load_iris().data])
def test_clusters_of_equal_volume_are_not_reported(covariance_type: str, X: Any) -> None:
    assert collapsed(GaussianMixture(3, covariance_type=covariance_type, random_state=0), X) == []
