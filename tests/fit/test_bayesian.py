"""Tests of the fit of a Bayesian mixture: priors that are refused, extreme priors, and hard data."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import BayesianGaussianMixture as SklearnBayesian

from gmm_core import BayesianGaussianMixture, IllDefinedCovarianceError

TYPES = ["full", "tied", "diag", "spherical"]
PRIOR_TYPES = ["dirichlet_process", "dirichlet_distribution"]
FITTED = [
    "weight_concentration_", "mean_precision_", "means_", "degrees_of_freedom_", "covariances_",
    "weights_",
]
ignore_no_convergence = pytest.mark.filterwarnings("ignore:Best performing initialization did not")
all_types = pytest.mark.parametrize("covariance_type", TYPES)
both_priors = pytest.mark.parametrize("prior_type", PRIOR_TYPES)
both_posteriors = pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])


def three_groups(n=300, D=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, D)) + 12 * np.eye(3, D)[np.arange(n) % 3]


# --- the prior --------------------------------------------------------------------------------

X2 = np.random.default_rng(0).normal(size=(40, 2)) + 3 * np.repeat([[0, 1], [1, 0]], 20, axis=0)
NOT_DEFINITE = [[1.0, 2.0], [2.0, 1.0]]
NOT_SYMMETRIC = [[1.0, 0.5], [0.0, 1.0]]
# Parameters, and whether scikit-learn refuses them with the same words, apart from what ours adds.
REFUSED = [
    ({"weight_concentration_prior": 0.0}, "in the range (0.0, inf)", True),
    ({"weight_concentration_prior": -1.0}, "in the range (0.0, inf)", True),
    ({"weight_concentration_prior": np.inf}, "in the range (0.0, inf)", False),
    ({"weight_concentration_prior": np.nan}, "in the range (0.0, inf)", True),
    ({"weight_concentration_prior": "1"}, "in the range (0.0, inf)", True),
    ({"weight_concentration_prior": [1.0, 2.0]}, "in the range (0.0, inf)", True),
    ({"mean_precision_prior": 0.0}, "in the range (0.0, inf)", True),
    ({"mean_precision_prior": -0.5}, "in the range (0.0, inf)", True),
    ({"degrees_of_freedom_prior": 1.0}, "should be greater than 1, but got 1.000.", True),
    ({"degrees_of_freedom_prior": 0.5}, "should be greater than 1, but got 0.500.", True),
    ({"degrees_of_freedom_prior": -3.0}, "in the range (0.0, inf)", True),
    ({"mean_prior": [0.0]}, "'means' should have the shape of (2,), but got (1,)", True),
    ({"mean_prior": [[0.0, 0.0]]}, "'means' should have the shape of (2,), but got (1, 2)", True),
    ({"mean_prior": [0.0, np.nan]}, "mean_prior", False),
    ({"mean_prior": ["a", "b"]}, "mean_prior", False),
    ({"mean_prior": 0.0}, "The 'mean_prior' parameter", True),
    ({"covariance_prior": [1.0, 1.0]}, "'full covariance_prior' should have the shape of (2, 2), but got (2,)", True),
    ({"covariance_prior": 1.0}, "'full covariance_prior' should have the shape of (2, 2), but got ()", False),
    ({"covariance_prior": NOT_DEFINITE}, "should be symmetric, positive-definite", True),
    ({"covariance_prior": NOT_SYMMETRIC}, "should be symmetric, positive-definite", True),
    ({"covariance_prior": [[1.0, np.inf], [np.inf, 1.0]]}, "covariance_prior", False),
    ({"covariance_prior": NOT_DEFINITE, "covariance_type": "tied"}, "should be symmetric, positive-definite", True),
    ({"covariance_prior": [1.0], "covariance_type": "diag"}, "'diag covariance_prior' should have the shape of (2,), but got (1,)", True),
    ({"covariance_prior": [1.0, 0.0], "covariance_type": "diag"}, "should be positive", True),
    ({"covariance_prior": [1.0, -1.0], "covariance_type": "diag"}, "should be positive", True),
    ({"covariance_prior": np.eye(2), "covariance_type": "diag"}, "'diag covariance_prior' should have the shape of (2,), but got (2, 2)", True),
    ({"covariance_prior": 0.0, "covariance_type": "spherical"}, "'covariance_prior' parameter", True),
    ({"covariance_prior": -1.0, "covariance_type": "spherical"}, "'covariance_prior' parameter", True),
    ({"covariance_prior": [1.0, 1.0], "covariance_type": "spherical"}, "'spherical covariance_prior' should have the shape of (), but got (2,)", False),
    ({"weight_concentration_prior_type": "dirichlet"}, "weight_concentration_prior_type", True),
    ({"posterior": "exact"}, "'posterior' parameter", False),
]  # fmt: skip


@pytest.mark.parametrize(("params", "message", "as_sklearn"), REFUSED)
def test_bad_priors_are_refused_and_nothing_is_lost(params, message, as_sklearn):
    model = BayesianGaussianMixture(n_components=2, random_state=0).fit(X2)
    before = dict(vars(model))
    with pytest.raises(ValueError) as caught:
        model.set_params(**params).fit(X2)
    assert message in str(caught.value)
    after = vars(model)
    assert all(after[name] is value for name, value in before.items() if name.endswith("_"))
    assert after.keys() == before.keys()
    if as_sklearn:
        with pytest.raises(ValueError) as theirs_caught:
            SklearnBayesian(n_components=2, random_state=0, **params).fit(X2)
        assert message in str(theirs_caught.value)


def test_failed_fit_leaves_an_unfitted_model_unfitted():
    model = BayesianGaussianMixture(n_components=2, degrees_of_freedom_prior=1.0)
    with pytest.raises(ValueError, match="degrees_of_freedom_prior"):
        model.fit(X2)
    assert not [name for name in vars(model) if name.endswith("_")]


# --- hard data --------------------------------------------------------------------------------


def finite(model):
    return all(np.isfinite(np.asarray(getattr(model, name))).all() for name in FITTED)


@ignore_no_convergence
@both_posteriors
@pytest.mark.parametrize("concentration", [1e-3, 1e-300, 1e300])
@all_types
@both_priors
def test_extreme_concentrations(covariance_type, prior_type, concentration, posterior):
    """E log π_k of an empty component is about −1/γ."""
    X = three_groups()
    model = BayesianGaussianMixture(
        n_components=10, covariance_type=covariance_type, weight_concentration_prior=concentration,
        weight_concentration_prior_type=prior_type, posterior=posterior, random_state=0,
        max_iter=300,
    ).fit(X)  # fmt: skip
    assert finite(model)
    assert np.isfinite(model.lower_bounds_).all() and np.isfinite(model.elbo_)
    r = model.predict_proba(X)
    np.testing.assert_allclose(r.sum(axis=1), 1, rtol=1e-12)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.log_predictive(X)).all()
    assert 1 <= model.n_components_ <= 10
    assert model.weights_.sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@all_types
def test_extreme_scales_change_the_scale_alone(covariance_type, scale):
    """Scales are powers of 2, so that no rounding differs."""
    X, scale = three_groups(), 2.0 ** round(np.log2(scale))
    params = {"n_components": 4, "covariance_type": covariance_type, "random_state": 0, "reg_covar": 0}
    plain, scaled = (BayesianGaussianMixture(**params).fit(data) for data in (X, scale * X))
    assert scaled.n_iter_ == plain.n_iter_
    np.testing.assert_allclose(scaled.means_, scale * plain.means_, rtol=1e-9, atol=scale * 1e-9)
    np.testing.assert_allclose(scaled.covariances_ / scale / scale, plain.covariances_, rtol=1e-9, atol=1e-9)
    shift = len(X) * X.shape[1] * np.log(scale)
    assert scaled.elbo_ + shift == pytest.approx(plain.elbo_, abs=1e-9 * abs(shift))
    log_density = scaled.log_predictive(scale * X) + 2 * np.log(scale)
    np.testing.assert_allclose(log_density, plain.log_predictive(X), atol=1e-9)


@all_types
def test_offset(covariance_type):
    X, offset = three_groups(), 2.0**30
    X = np.round(X * 2**10) / 2**10  # the offset adds no rounding
    labels = np.arange(len(X)) % 4
    params = {"n_components": 4, "covariance_type": covariance_type, "reg_covar": 0, "max_iter": 500}
    plain, moved = (
        BayesianGaussianMixture(**params, init_params=lambda *_: labels).fit(data)
        for data in (X, X + offset)
    )
    # the prior's mean and the means have errors of eps · offset = 2e-7
    np.testing.assert_allclose(moved.means_ - offset, plain.means_, atol=1e-5)
    np.testing.assert_allclose(moved.covariances_, plain.covariances_, atol=1e-5)
    assert moved.elbo_ == pytest.approx(plain.elbo_, abs=1e-3)


@all_types
def test_constant_feature(covariance_type):
    """The covariance of the data is singular then, and so is the prior, except for spherical ones."""
    X = np.c_[three_groups(), np.full(300, 7.0)]
    params = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    model = BayesianGaussianMixture(**params, max_iter=500).fit(X)
    assert finite(model)
    np.testing.assert_allclose(model.means_[:, 2], 7.0)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.log_predictive(X)).all()
    assert np.isfinite(model.elbo_) if covariance_type == "spherical" else model.elbo_ == -np.inf
    exact = BayesianGaussianMixture(**params, posterior="conjugate", max_iter=500)
    if covariance_type != "spherical":
        with pytest.raises(ValueError, match="singular.*covariance_prior has to be given"):
            exact.fit(X)
        covariance = [1.0, 1.0, 1.0] if covariance_type == "diag" else np.eye(3)
        exact.set_params(covariance_prior=covariance)
    assert np.isfinite(exact.fit(X).elbo_)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_constant_feature_without_regularisation_is_refused(covariance_type):
    X = np.c_[three_groups(), np.full(300, 7.0)]
    params = {"n_components": 2, "covariance_type": covariance_type, "random_state": 0}
    model = BayesianGaussianMixture(**params, reg_covar=0)
    with pytest.raises(IllDefinedCovarianceError, match="reg_covar"):
        model.fit(X)
    assert not hasattr(model, "means_")


@ignore_no_convergence
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data", "random"])
@both_posteriors
@all_types
@both_priors
def test_one_sample_per_component(covariance_type, prior_type, posterior, init_params):
    X = np.random.default_rng(0).normal(size=(5, 2))
    model = BayesianGaussianMixture(
        n_components=5, covariance_type=covariance_type, posterior=posterior, random_state=0,
        weight_concentration_prior_type=prior_type, init_params=init_params,
    ).fit(X)  # fmt: skip
    assert finite(model) and np.isfinite(model.elbo_)
    with pytest.raises(ValueError, match="n_components"):
        model.set_params(n_components=6).fit(X)


def test_one_sample_is_refused():
    with pytest.raises(ValueError, match="minimum of 2"):
        BayesianGaussianMixture().fit([[1.0, 2.0]])


@all_types
@pytest.mark.parametrize("total", [1.0, 0.5, 1e-300])
def test_small_weights_need_a_covariance_prior(covariance_type, total):
    """The default prior is the covariance of the data, which is divided by N - 1."""
    X, weight = three_groups(), np.full(300, total / 300)
    model = BayesianGaussianMixture(covariance_type=covariance_type)
    with pytest.raises(ValueError, match="covariance_prior has to be given.*sample_weight"):
        model.fit(X, sample_weight=weight)
    prior = {"full": np.eye(2), "tied": np.eye(2), "diag": [1.0, 1.0], "spherical": 1.0}
    model.set_params(covariance_prior=prior[covariance_type]).fit(X, sample_weight=weight)
    assert finite(model) and np.isfinite(model.elbo_)
