"""Fixtures of the tests of exported models."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from gmm_core import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES


class Exported(NamedTuple):
    """A model to export, samples that float32 holds exactly, and what SciPy computes for them."""

    model: GaussianMixture
    X: np.ndarray
    log_likelihood: np.ndarray
    responsibilities: np.ndarray


@pytest.fixture(scope="session")
def make_exported() -> Callable[..., Exported]:
    """Return a function that fits a model of some type to data that lie at some distance from zero."""

    def make(covariance_type: str, offset: float = 1e4, **parameters: Any) -> Exported:
        kind = COVARIANCE_TYPES[covariance_type]
        D, rng = kind.n_features or 3, np.random.default_rng(0)
        X = rng.normal(size=(200, D)) @ rng.normal(size=(D, D)) + 3 * rng.integers(3, size=(200, 1))
        X = (X + offset).astype(np.float32).astype(np.float64)
        options = {"max_iter": 500, "random_state": 0} | parameters
        model = GaussianMixture(3, covariance_type=covariance_type, **options).fit(X)
        log_prob = np.stack([
            np.log(model.weights_[k])
            + multivariate_normal(model.means_[k], kind.matrix(model.covariances_, k, D)).logpdf(X)
            for k in range(3)
        ], axis=1)  # fmt: skip
        log_likelihood = logsumexp(log_prob, axis=1)
        return Exported(model, X, log_likelihood, np.exp(log_prob - log_likelihood[:, None]))

    return make
