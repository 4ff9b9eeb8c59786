"""Tests of float32 and of data far from 0, where moments Σ r x² − μ² would lose digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture

TYPES = ("full", "tied", "diag", "spherical")


def clusters(dtype: Any = np.float64) -> np.ndarray:
    """Return two groups of about unit scale on a grid of 2**-10, which float64 shifts exactly by up to 1e8."""
    rng = np.random.RandomState(0)
    X = np.vstack([rng.randn(300, 3) * [1, 0.5, 2], rng.randn(200, 3) + 4])
    return (np.round(X * 1024) / 1024).astype(dtype)


def fitted_covariances(X: np.ndarray, covariance_type: str, **params: Any) -> np.ndarray:
    options = {"random_state": 0, "tol": 0, "max_iter": 50, **params}
    model = GaussianMixture(2, covariance_type=covariance_type, **options).fit(X)
    if covariance_type == "tied":
        return model.covariances_
    return model.covariances_[np.argsort(model.weights_)]


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(
    ("dtype", "offset", "bound"),
    [(np.float64, 1e6, 1e-9), (np.float64, 1e8, 1e-7), (np.float32, 1e2, 1e-4), (np.float32, 1e3, 1e-3)],
)
def test_covariances_do_not_depend_on_the_offset(
    covariance_type: str, dtype: Any, offset: float, bound: float
) -> None:
    X = clusters(dtype)
    expected = fitted_covariances(X, covariance_type)
    got = fitted_covariances((X + dtype(offset)).astype(dtype), covariance_type)
    assert got.dtype == dtype
    assert abs(got - expected).max() <= bound * abs(expected).max()


@pytest.mark.filterwarnings("ignore:components? .* (has|have) no samples")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(("dtype", "offset"), [(np.float64, 1e4), (np.float64, 1e8), (np.float32, 1e4)])
def test_means_that_start_at_zero_far_from_the_data(
    covariance_type: str, dtype: Any, offset: float
) -> None:
    """Both components start at the same place, so the result is the one Gaussian, which is known exactly."""
    X = (clusters() + offset).astype(dtype)
    model = GaussianMixture(
        2, covariance_type=covariance_type, means_init=np.zeros((2, 3)), random_state=0, reg_covar=0,
        max_iter=500,
    ).fit(X)
    Z = X.astype(np.float64) - offset
    S = np.cov(Z.T, bias=True)
    expected = {"full": S, "tied": S, "diag": S.diagonal(), "spherical": S.trace() / 3}[covariance_type]
    # The first pass takes moments about 0, the second about the means found. Its error is eps (1 + 1), and
    # twice what the data themselves lose by the offset, eps offset / sd.
    eps = float(np.finfo(dtype).eps)
    bound = 100 * eps * (1 + (offset * np.finfo(np.float64).eps / eps))
    covariances = model.covariances_ if covariance_type == "tied" else model.covariances_[model.weights_ > 0]
    for covariance in covariances if covariance_type != "tied" else [covariances]:
        assert abs(covariance - expected).max() <= bound * abs(expected).max()


@pytest.mark.parametrize("offset", [np.float32(1e8)])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_at_an_offset_beyond_its_digits_is_fitted_or_refused(
    covariance_type: str, offset: np.float32
) -> None:
    # float32 has a grid of 8 here, so the features are constant or nearly so
    X = (clusters() + offset).astype(np.float32)
    try:
        model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    except ValueError as error:
        assert "increase reg_covar" in str(error)
    else:
        assert np.isfinite(model.covariances_).all() and np.isfinite(model.lower_bound_)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_points_far_apart(covariance_type: str) -> None:
    X = np.repeat(np.array([[9999], [0]], np.float32), 50, axis=0)
    model = GaussianMixture(2, covariance_type=covariance_type, reg_covar=0.1, random_state=0).fit(X)
    assert model.covariances_.ravel() == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_log_likelihoods_agree_with_float64(covariance_type: str) -> None:
    rng = np.random.RandomState(0)
    scale = np.array([1, 10, 0.1, 1])  # so the condition is 1e4
    X = ((rng.randn(1_000_000, 4) + 3 * rng.randint(0, 3, (1_000_000, 1))) * scale).astype(np.float32)
    start = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X[:2000].astype(float))
    params = {
        "n_components": 3, "covariance_type": covariance_type, "tol": 1e-4, "max_iter": 30,
        "weights_init": start.weights_, "means_init": start.means_, "precisions_init": start.precisions_,
    }
    single, double = GaussianMixture(**params).fit(X), GaussianMixture(**params).fit(X.astype(np.float64))
    assert single.n_iter_ == double.n_iter_
    a, b = single.score_samples(X), double.score_samples(X)
    assert a.dtype == np.float32 and b.dtype == np.float64
    assert (abs(a - b) <= 1e-5 * np.maximum(1, abs(b))).all()
