"""Tests with more than 2³¹ numbers, which need indices of 64 bits, in a sparse file of 9 GB.

`pytest -m slow` runs them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gmm_core import GaussianMixture

D = 64
N = 2**31 // D + 100_000
N_FAR = 1000  # number of the last rows; all other rows are 0, and take no space on the disk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def X(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path: Path = tmp_path_factory.mktemp("large") / "X"
    X = np.memmap(path, np.float32, "w+", shape=(N, D))
    X[-N_FAR:] = np.random.RandomState(0).randn(N_FAR, D) + 5
    X.flush()
    assert X.size > 2**31 and path.stat().st_blocks * 512 < X.nbytes / 100
    return np.memmap(path, np.float32, "r", shape=(N, D))


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_fit_and_scores(X: np.ndarray, covariance_type: str) -> None:
    """k-means and EM separate the rows of zeros from the others, whose moments and labels are known."""
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0, reg_covar=0.01).fit(X)
    far = int(model.means_[:, 0].argmax())
    tail = np.array(X[-N_FAR:], np.float64)
    eps = float(np.finfo(np.float32).eps)
    assert model.weights_[far] == pytest.approx(N_FAR / N, rel=eps)
    assert not model.means_[1 - far].any()
    np.testing.assert_allclose(model.means_[far], tail.mean(axis=0), rtol=2 * eps)
    scatter = np.cov(tail.T, bias=True)
    expected = {
        "full": scatter + 0.01 * np.eye(D),
        "tied": scatter * (N_FAR / N) + 0.01 * np.eye(D),
        "diag": scatter.diagonal() + 0.01,
        "spherical": scatter.diagonal().mean() + 0.01,
    }[covariance_type]
    got = model.covariances_ if covariance_type == "tied" else model.covariances_[far]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    labels = model.predict(X)
    assert (labels[-N_FAR:] == far).all() and (labels[:-N_FAR] == 1 - far).all()
    scores = model.score_samples(X)
    np.testing.assert_array_equal(scores[-N_FAR:], model.score_samples(X[-N_FAR:]))
    assert (scores[:-N_FAR] == model.score_samples(X[:1])).all()
