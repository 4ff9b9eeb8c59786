"""Tests of `impute`: conditional means and draws, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from gmm_core import GaussianMixture, NotFittedError

EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
MEANS = np.array([[0.0, 1, 2], [4, 3, -1]])
MATRICES = np.array(
    [[[2.0, 0.6, -0.4], [0.6, 1, 0.3], [-0.4, 0.3, 1.5]], [[1, -0.2, 0], [-0.2, 2, 0.8], [0, 0.8, 1]]]
)
COVARIANCES = {
    "full": MATRICES,
    "tied": MATRICES[0],
    "diag": np.array([[1.0, 2, 3], [3, 1, 0.5]]),
    "spherical": np.array([1.0, 2.5]),
}


def make_model(covariance_type="full", n_components=2, dtype=np.float64, **params):
    K = n_components
    covariances = COVARIANCES[covariance_type]
    return GaussianMixture.from_parameters(
        [0.3, 0.7] if K == 2 else [1.0],
        MEANS[:K].astype(dtype),
        covariances=covariances if covariance_type == "tied" else covariances[:K],
        covariance_type=covariance_type, **params,
    )


def matrices(model):
    C = model.covariances_
    return {
        "full": lambda: C,
        "tied": lambda: np.array([C, C]),
        "diag": lambda: np.array([np.diag(c) for c in C]),
        "spherical": lambda: np.array([c * np.eye(3) for c in C]),
    }[model.covariance_type]()


def conditional(model, k, x):
    """Return mean and covariance of the missing features of x, given the others and the component."""
    m = np.isnan(x)
    o = ~m
    S = matrices(model)[k]
    B = S[np.ix_(m, o)] @ np.linalg.inv(S[np.ix_(o, o)])
    mean = model.means_[k, m] + B @ (x[o] - model.means_[k, o])
    return mean, S[np.ix_(m, m)] - B @ S[np.ix_(o, m)]


@all_types
@pytest.mark.parametrize("missing", ["error", "marginalize"])
@pytest.mark.parametrize("n_components", [1, 2])
def test_the_conditional_mean(covariance_type, missing, n_components):
    model = make_model(covariance_type, n_components, missing=missing)
    X = np.array([[1.0, np.nan, 0.5], [np.nan, 2, np.nan], [3, 2, 1], [np.nan] * 3, [np.nan, 0, 1]])
    before = X.copy()
    filled = model.impute(X)
    np.testing.assert_array_equal(X, before)
    known = ~np.isnan(X)
    np.testing.assert_array_equal(filled[known], X[known])
    r = model.set_params(missing="marginalize").predict_proba(X)
    for i, x in enumerate(X):
        expected = sum(r[i, k] * conditional(model, k, x)[0] for k in range(n_components))
        np.testing.assert_allclose(filled[i, np.isnan(x)], expected, rtol=100 * EPS, atol=100 * EPS)


@all_types
def test_draws_have_the_moments_of_the_conditional(covariance_type):
    n = 20_000
    model = make_model(covariance_type, random_state=0)
    x = np.array([np.nan, 2.0, np.nan])
    X = np.tile(x, (n, 1))
    drawn = model.impute(X, sample=True)
    assert (drawn[:, 1] == 2).all()
    r = model.set_params(missing="marginalize").predict_proba(x[None])[0]
    parts = [conditional(model, k, x) for k in range(2)]
    mean = sum(r[k] * parts[k][0] for k in range(2))
    second = sum(
        r[k] * (parts[k][1] + np.outer(parts[k][0] - mean, parts[k][0] - mean)) for k in range(2)
    )
    values = drawn[:, [0, 2]]
    z = values - mean
    # five standard errors, estimated from the draws
    assert (abs(z.mean(axis=0)) < 5 * z.std(axis=0) / np.sqrt(n)).all()
    products = np.einsum("ni,nj->nij", z, z)
    assert (abs(products.mean(axis=0) - second) < 5 * products.std(axis=0) / np.sqrt(n)).all()


def test_draws_follow_the_seed_and_the_row():
    X = make_model(random_state=3).sample(200)[0]
    X[np.random.default_rng(0).random(X.shape) < 0.4] = np.nan
    model = make_model(random_state=3)
    first = model.impute(X, sample=True)
    np.testing.assert_array_equal(first, model.impute(X, sample=True))
    # the draw for a row depends on its place among the incomplete rows, and not on their patterns
    other = X.copy()
    last = np.flatnonzero(np.isnan(X).any(axis=1))[-1]
    other[last] = np.nan
    np.testing.assert_allclose(model.impute(other, sample=True)[:last], first[:last], rtol=1e-12)
    state = np.random.RandomState(3)
    twice = [model.set_params(random_state=state).impute(X, sample=True) for _ in range(2)]
    np.testing.assert_array_equal(twice[0], first)
    assert (twice[0] != twice[1]).any()


@all_types
def test_complete_data_are_copied(covariance_type):
    model, X = make_model(covariance_type), np.arange(6.0).reshape(2, 3)
    for sample in (False, True):
        filled = model.impute(X, sample=sample)
        np.testing.assert_array_equal(filled, X)
        assert not np.shares_memory(filled, X)


def test_float32_and_far_rows():
    model = make_model(dtype=np.float32)
    X = np.array([[1, np.nan, 0]], np.float32)
    filled = model.impute(X)
    assert filled.dtype == np.float32
    np.testing.assert_allclose(filled, make_model().impute(X.astype(float)), rtol=1e-5)
    far = np.array([[1e200, np.nan, 0]])
    assert np.isfinite(make_model().impute(far)).all()


def test_regression_recovers_the_removed_values():
    """If features are nearly linear functions of each other, imputed values are near the true ones."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1)) @ [[1.0, 2, -1]] + 0.01 * rng.normal(size=(500, 3))
    missing = rng.random(X.shape) < 0.2
    missing[missing.all(axis=1)] = False
    data = np.where(missing, np.nan, X)
    model = GaussianMixture(missing="marginalize", tol=1e-6, max_iter=1000, reg_covar=0).fit(data)
    # five times σ = 0.01, times slopes of up to 2
    assert abs(model.impute(data) - X)[missing].max() < 0.1


def test_what_is_refused():
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().impute([[1.0]])
    assert issubclass(NotFittedError, ValueError)
    model = make_model()
    with pytest.raises(TypeError, match="sample must be True or False, got 3"):
        model.impute([[1.0, 2, 3]], sample=3)
    with pytest.raises(ValueError, match="infinity"):
        model.impute([[np.inf, np.nan, 3]])
    with pytest.raises(ValueError, match="2 features"):
        model.impute([[1.0, 2]])
