"""Tests that an iteration lowers the objective by no more than rounding, on hard data.

The objective is the log-likelihood, or the evidence lower bound of a Bayesian mixture.
"""

from __future__ import annotations

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, GaussianMixture, reference

EPS = np.finfo(np.float64).eps


def groups(n, K, D, spread=4.0):
    rng = np.random.RandomState(K)
    return rng.randn(n, D) + spread * rng.randn(K, D)[rng.randint(K, size=n)]


def ill_conditioned():
    """Return data with standard deviations from 1e-6 to 1 along rotated axes, so that cond(Σ) is 1e12."""
    rotation = np.linalg.qr(np.random.RandomState(0).randn(4, 4))[0]
    return groups(600, 3, 4) * np.logspace(-6, 0, 4) @ rotation


def with_a_speck():
    """Return data with a group of ten samples that is a thousand times smaller than the others."""
    X = groups(400, 2, 2)
    X[:10] = X[0] + 1e-3 * np.random.RandomState(1).randn(10, 2)
    return X


HARD = {
    "one Gaussian, six components": (groups(800, 1, 3), 6),
    "ill-conditioned": (ill_conditioned(), 3),
    "offset 1e8": (groups(500, 3, 3) + 1e8, 3),
    "scale 1e-150": (groups(500, 3, 2) * 1e-150, 3),
    "scale 1e150": (groups(500, 3, 2) * 1e150, 3),
    "heavy tails": (np.random.RandomState(0).standard_t(2, size=(800, 2)), 4),
    "a speck": (with_a_speck(), 3),
    "integers": (np.round(groups(900, 3, 2) * 2), 3),
    "far apart": (groups(300, 3, 2, spread=1e6), 3),
}


def rounding_error(model, X):
    """Bound the rounding error of the mean log-likelihood, and the effect of that of an M-step.

    y = Uᵀ(x − μ) has an error of (D + 1) eps |U|ᵀ|x − μ|, so log N = log |U| − ‖y‖²/2 has one of

        e = eps ((D + 1) Σ_j |y_j| (|U|ᵀ|x − μ|)_j + (D + 1) ‖y‖²/2 + 4 |log constant| + 2).

    log Σ exp has the errors e of the components, in proportion to the responsibilities. Sums in double
    add at most N eps |log p|. An error of the M-step has an effect of the second order only, because the
    M-step ends at a maximum: if a covariance has an error of D eps ‖Σ‖, the effect is (D eps cond(Σ))².
    """
    D = X.shape[1]
    factors = model.precisions_cholesky_
    kind = reference.COVARIANCE_TYPES[model.covariance_type]
    log_prob, r = reference.expectation_step(
        X, model.weights_, model.means_, factors, model.covariance_type
    )
    e = np.empty_like(r)
    condition = 1.0
    for k, factor in enumerate(kind.per_component(factors, len(r.T))):
        y, larger = (kind.whiten(*pair) for pair in (
            (X - model.means_[k], factor), (abs(X - model.means_[k]), abs(factor))
        ))
        square = (y * y).sum(axis=1)
        constant = kind.log_det(factor, D) - D / 2 * np.log(2 * np.pi)
        e[:, k] = EPS * (
            (D + 1) * ((abs(y) * larger).sum(axis=1) + square / 2) + 4 * abs(constant) + 2
        )
        if np.ndim(factor) == 2:
            condition = max(condition, np.linalg.cond(factor) ** 2)
    return (
        np.mean((r * e).sum(axis=1)) + len(X) * EPS * np.mean(abs(log_prob))
        + (D * EPS * condition) ** 2
    )


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", HARD)
def test_log_likelihood_never_falls(name, covariance_type, weighted):
    X, K = HARD[name]
    weight = np.random.RandomState(0).exponential(size=len(X)) if weighted else None
    start = X[np.random.RandomState(0).permutation(len(X))[:K]]
    params = {"covariance_type": covariance_type, "reg_covar": 0, "tol": 0, "means_init": start}
    model = GaussianMixture(
        K, max_iter=150, init_params="random", random_state=0, **params
    ).fit(X, sample_weight=weight)
    bounds = np.array([*model.lower_bounds_, model.lower_bound_])
    error = rounding_error(model, X)
    assert error < 1e-3  # a larger bound would mean nothing
    falls = np.maximum(bounds[:-1] - bounds[1:], 0)
    assert falls.max() <= 2 * error, (falls.argmax(), falls.max(), error)
    assert bounds[-1] >= bounds[0]


def cancellation(model):
    """Return Σ_k N_k Σ_ij |Λ_k|_ij |Σ_k|_ij / Σ_k N_k."""
    counts = model.mean_precision_ - model.mean_precision_prior_
    products = abs(model.precisions_ * model.covariances_)
    if model.covariance_type in ("diag", "spherical"):
        return float(model.means_.shape[1])
    sums = products.sum(axis=(-2, -1))
    return np.average(np.broadcast_to(sums, counts.shape), weights=counts)


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", HARD)
def test_bound_of_conjugate_posterior_never_falls(name, weighted, prior_type, covariance_type):
    """The bound is a sum over samples, and its error that of the log-likelihood but for one term.

    It has tr(Λ S) / 2, where Λ = U Uᵀ are the precisions of the E-step and S = Σ r (x − m)(x − m)ᵀ is
    about N Σ. The entries of Λ have errors of D eps, and those of S of 2 eps. If Σ is ill-conditioned,
    the trace loses digits by cancellation, which the sums of squares in the log-likelihood do not.
    """
    X, K = HARD[name]
    random_state = np.random.RandomState(0)
    weight = random_state.exponential(size=len(X)) if weighted else np.ones(len(X))
    labels = random_state.randint(K, size=len(X))
    model = BayesianGaussianMixture(
        n_components=K, covariance_type=covariance_type, reg_covar=0, tol=0, max_iter=150,
        weight_concentration_prior_type=prior_type, posterior="conjugate",
        init_params=lambda *_: labels,
    ).fit(X, sample_weight=weight)
    bounds = np.array(model.lower_bounds_)
    assert np.isfinite(bounds).all() and model.elbo_ == bounds[-1]
    error = rounding_error(model, X) + (X.shape[1] + 2) / 2 * EPS * cancellation(model)
    assert error < 1e-2  # a larger bound would mean nothing
    falls = np.maximum(bounds[:-1] - bounds[1:], 0)
    assert falls.max() <= 2 * weight.sum() * error, (falls.argmax(), falls.max(), error)
    assert bounds[-1] > bounds[0]
