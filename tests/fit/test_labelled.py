"""Tests of `labels_init`: starts from labels, and semi-supervised fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture, reference

EPS = np.finfo(float).eps
pytestmark = pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")


def data(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return samples of three overlapping groups, and their groups."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n)
    return rng.normal(size=(n, 2)) * [1, 2] + np.array([[0, 0], [3, 1], [1, 5]])[y], y


def some(y: np.ndarray, every: int = 5) -> np.ndarray:
    return np.where(np.arange(len(y)) % every == 0, y, -1)


def fit(X: Any, labels: Any, sample_weight: Any = None, **params: Any) -> GaussianMixture:
    params = {"n_components": 3, "random_state": 0, "labels_init": labels, **params}
    return GaussianMixture(**params).fit(X, sample_weight=sample_weight)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "EEV"])
def test_all_labels_are_a_start(covariance_type: str) -> None:
    X, y = data()
    by_callable = GaussianMixture(
        3, covariance_type=covariance_type, init_params=lambda *_: y, random_state=0
    ).fit(X)
    model = fit(X, y, covariance_type=covariance_type)
    np.testing.assert_allclose(model.means_, by_callable.means_, rtol=1e-10)
    assert model.n_iter_ == by_callable.n_iter_


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("weighted", [False, True])
def test_semi_supervised_step_against_numpy(isa, covariance_type: str, weighted: bool) -> None:
    X, y = data()
    labels = some(y)
    w = np.random.default_rng(1).uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    sample_weight = w if weighted else None
    start = fit(X, labels, sample_weight, covariance_type=covariance_type, max_iter=0)
    one = fit(X, labels, sample_weight, covariance_type=covariance_type, max_iter=1)
    log_prob = reference.weighted_log_prob(
        X, start.weights_, start.means_, start.precisions_cholesky_, covariance_type
    )
    known = labels >= 0
    log_prob[known] = np.where(np.eye(3, dtype=bool)[labels[known]], log_prob[known], -np.inf)
    log_p = np.logaddexp.reduce(log_prob, axis=1)
    r = w[:, None] * np.exp(log_prob - log_p[:, None])
    assert one.lower_bounds_[0] == pytest.approx(w @ log_p / w.sum(), rel=1e-13)
    np.testing.assert_allclose(one.weights_, r.sum(axis=0) / w.sum(), rtol=1e-12)
    means = r.T @ X / r.sum(axis=0)[:, None]
    np.testing.assert_allclose(one.means_, means, rtol=0, atol=1e-12)
    if covariance_type == "tied":
        difference = X[:, None] - means
        pooled = np.einsum("nk,nki,nkj->ij", r, difference, difference) / w.sum()
        np.testing.assert_allclose(one.covariances_, pooled + 1e-6 * np.eye(2), rtol=1e-11)


def test_known_samples_lead_to_other_clusters_and_the_bound_never_falls() -> None:
    """The groups are flat and lie above each other, so that k-means divides them the other way."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    X = rng.uniform(-20, 20, size=(300, 2)) * [1, 0.01] + np.array([[0, 0], [0, 1], [0, 2]])[y]
    model = fit(X, some(y, 10), tol=0, max_iter=100, reg_covar=0)
    bounds = np.array([*model.lower_bounds_, model.lower_bound_])
    assert (np.diff(bounds) > -20 * EPS * abs(bounds[1:])).all()
    assert (model.predict(X) == y).all()
    alone = GaussianMixture(3, random_state=0).fit(X)
    confusion = np.histogram2d(alone.predict(X), y, bins=3)[0]
    assert confusion.max(axis=1).sum() < 200


def test_components_without_labelled_samples_find_a_place() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=400)
    X = rng.normal(size=(400, 2)) + np.array([[0, 0], [20, 0], [0, 20], [20, 20]])[y]
    labels = np.where((y == 2) & (np.arange(400) % 4 == 0), 2, -1)
    model = fit(X, labels, n_components=4, n_init=5)
    assert (model.predict(X)[y == 2] == 2).all()
    assert sorted(np.bincount(model.predict(X))) == sorted(np.bincount(y))


def test_threads_batches_and_rows_of_weight_zero() -> None:
    X, y = data(20_000)
    labels = some(y)
    expected = fit(X, labels, n_threads=1)
    batched = GaussianMixture(3, random_state=0, labels_init=labels)
    batched.fit_batches(np.split(X, [11, 5000, 12_345]))
    weight = np.r_[np.ones(len(X)), 0]
    weighted = fit(np.vstack([X, [[9, 9]]]), np.r_[labels, 1], weight)
    for other, tolerance in ((fit(X, labels, n_threads=2), 0), (batched, 0), (weighted, 1e-12)):
        np.testing.assert_allclose(other.means_, expected.means_, rtol=tolerance)
        np.testing.assert_allclose(other.lower_bound_, expected.lower_bound_, rtol=tolerance)


def test_checkpoint_of_other_labels_is_refused(tmp_path: Path) -> None:
    X, y = data()
    params = {"checkpoint": tmp_path / "state", "checkpoint_interval": 1}

    class Stop(Exception):
        pass

    from gmm_core.fit.checkpoints import Checkpoint

    save = Checkpoint.save

    def stop(self: Any, state: Any) -> None:
        save(self, state)
        raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Checkpoint, "save", stop)
        fit(X, some(y), **params)
    with pytest.raises(ValueError, match="of another fit: its labels_init is"):
        fit(X, some(y, 7), **params)
    np.testing.assert_array_equal(fit(X, some(y), **params).means_, fit(X, some(y)).means_)


def test_labels_are_not_saved(tmp_path: Path) -> None:
    X, y = data()
    model = fit(X, some(y))
    model.save(tmp_path / "model.npz")
    assert GaussianMixture.load(tmp_path / "model.npz").labels_init is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"labels_init has shape \(2,\), expected \(300,\)"),
        (np.full(300, 3), "labels_init should be from 0 to 2"),
        (np.full(300, -2), "labels_init should be from 0 to 2"),
        (np.zeros(300), "labels_init should be integers, but got dtype float64"),
        (np.zeros(300, int), "labels_init has no sample of component 1"),
        (np.full(300, -1), "labels_init has no sample whose component is known"),
        ("iris", "The 'labels_init' parameter of GaussianMixture must be an array-like or None"),
        (np.ma.masked_equal(np.arange(300) % 3, 1), "labels_init has masked values"),
    ],
)
def test_bad_input(labels: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fit(data()[0], labels)


def test_labels_of_components_without_weight() -> None:
    X, y = data()
    with pytest.raises(ValueError, match="samples of component 0, the weight of which is 0"):
        fit(X, some(y), weights_init=[0, 0.5, 0.5])
    with pytest.raises(ValueError, match="no sample of positive weight whose component is known"):
        fit(X, np.where(np.arange(300) == 0, 0, -1), (np.arange(300) > 0).astype(float))


def test_what_does_not_go_together_with_labels() -> None:
    X, y = data()
    with pytest.raises(ValueError, match=r"unknown labels \(-1\)"):
        fit(X, some(y), noise=True)
    with pytest.raises(ValueError, match="missing values"):
        fit(np.where(X > 6, np.nan, X), y, missing="marginalize")
    with pytest.raises(ValueError, match="partial_fit does not take labels_init"):
        GaussianMixture(3, labels_init=y).partial_fit(X)
    assert fit(X, y, noise=True).noise_weight_ < 0.2
