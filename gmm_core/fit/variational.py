"""Variational inference: the steps for the posterior of a Bayesian mixture (Bishop 2006, 10.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gmm_core.core.types import Float64Array
from gmm_core.data.passes import Pass
from gmm_core.fit.loop import Algorithm
from gmm_core.fit.maximization import MAX_DRIFT, moments_of_components
from gmm_core.model.covariance import CovarianceType
from gmm_core.model.posterior import (
    Moments,
    Posterior,
    Prior,
    divergence,
    expected_log_joint,
    read_as_conjugate,
    sklearn_bound,
    update,
)
from gmm_core.model.statistics import Statistics


class Inferred(NamedTuple):
    """A posterior, with the samples' part of the bounds.

    Attributes
    ----------
    posterior : Posterior
    moments : Moments
        The moments under the responsibilities that led to the posterior.
    entropy : float
        The entropy of these responsibilities, in nats; −inf before the first iteration.
    bound : float
        The bound that was reached; −inf before the first iteration.
    """

    posterior: Posterior
    moments: Moments
    entropy: float
    bound: float

    @property
    def covariances(self) -> Float64Array:
        """The inverses of the expected precisions."""
        return self.posterior.covariances

    @property
    def kind(self) -> CovarianceType:
        """The covariance type."""
        return self.posterior.kind


def variational_inference(
    data: Pass, prior: Prior, reg_covar: Float64Array, conjugate: bool, unit: float
) -> Algorithm[Inferred]:
    """Return the steps of variational inference.

    Parameters
    ----------
    data : Pass
    prior : Prior
    reg_covar : ndarray of shape (D,)
    conjugate : bool
        Whether the posterior is the conjugate one, and not that of scikit-learn.
    unit : float
        The number that the weights of the pass have to be multiplied by.

    Returns
    -------
    Algorithm
        Its bound is the evidence lower bound, or scikit-learn's, in nats for all samples.
    """

    def expectation(before: Inferred) -> Statistics:
        return scaled(data.expectation(before.posterior.mixture), unit)

    def maximization(statistics: Statistics, before: Inferred) -> Inferred:
        mixture = before.posterior.mixture
        kind = statistics.covariance_type
        moments = moments_of(statistics, data.n_threads)
        posterior = update(moments, prior, reg_covar, kind, conjugate)
        if has_drifted(moments, statistics.shift, posterior):
            again = scaled(data.expectation(mixture, moments.means), unit)
            moments = moments_of(again, data.n_threads)
            posterior = update(moments, prior, reg_covar, kind, conjugate)
        entropy = statistics.log_likelihood - expected_log_joint(moments, before.posterior)
        bound = bound_of(moments, entropy, posterior, prior)
        return Inferred(posterior, moments, entropy, bound)

    return Algorithm(
        expectation, maximization, lambda statistics, before, after: after.bound,
        lambda last: last.bound,
    )  # fmt: skip


def scaled(statistics: Statistics, unit: float) -> Statistics:
    """Return statistics for weights that are multiplied by a number."""
    if unit == 1:
        return statistics
    return Statistics.unchecked(
        unit * statistics.values, statistics.shift, statistics.covariance_type
    )


def has_drifted(moments: Moments, origins: Float64Array, posterior: Posterior) -> bool:
    """Return whether the posterior has lost digits because means are far from the origins.

    It is the test of `maximization_step`, with the variances of the posterior times ν / N.
    """
    K, D = origins.shape
    squares = moments.counts[:, np.newaxis] * (moments.means - origins) ** 2
    variances = posterior.kind.variances(posterior.covariances, K, D)
    scale = np.broadcast_to(posterior.degrees_of_freedom, (K,))[:, np.newaxis]
    return bool((squares > MAX_DRIFT * scale * variances).any())


def moments_of(statistics: Statistics, n_threads: int) -> Moments:
    """Return counts, means and covariances of the samples; see `moments_of_components`."""
    means, covariances = moments_of_components(statistics, n_threads)
    return Moments(statistics.counts.copy(), means, covariances)


def bound_of(moments: Moments, entropy: float, posterior: Posterior, prior: Prior) -> float:
    """Return the bound of the updates: the evidence lower bound, or scikit-learn's."""
    if posterior.conjugate:
        return evidence_lower_bound(moments, entropy, posterior, prior)
    return sklearn_bound(entropy, posterior)


def evidence_lower_bound(
    moments: Moments, entropy: float, posterior: Posterior, prior: Prior
) -> float:
    """Return the evidence lower bound with all its constants, in nats.

    A posterior of scikit-learn is read as the conjugate one with the same parameters, and the bound
    is then that of this posterior with the given responsibilities.
    """
    if entropy == -np.inf:
        return entropy
    conjugate = read_as_conjugate(posterior)
    return entropy + expected_log_joint(moments, conjugate) - divergence(conjugate, prior)
