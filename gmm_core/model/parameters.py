"""The parameters of a mixture, as a user gives them and as an E-step reads them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gmm_core.core.dispatch import check_status, maximization
from gmm_core.core.types import CovarianceName, Float64Array
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.model.noise import Noise


def n_parameters_of(kind: CovarianceType, n_components: int, n_features: int) -> int:
    """Return the number of free parameters: of weights, means and covariances."""
    K, D = n_components, n_features
    return int(kind.n_parameters(K, D) + K * D + K - 1)


class Prepared(NamedTuple):
    """A mixture as an E-step reads it: weights, means and the factors of the precisions.

    Attributes
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    precisions_cholesky : ndarray in the shape of the covariance type
        Upper triangular U_k with U_k U_kᵀ = Σ_k⁻¹, or reciprocal standard deviations.
    log_constant : ndarray of shape (K + 1,)
        Entry k is the weighted log-density at the mean, log π_k + log |U_k| − D/2 log 2π, minus the
        last entry, which is that of the component with the largest weight.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    noise : Noise or None, default=None
        The noise component, if there is one.
    log_weights : ndarray of shape (K,), or None, default=None
        The logarithms of weights that do not sum to 1, for the E-step of a variational mixture. The
        constants come from these, and `weights` has them normalised.
    """

    weights: Float64Array
    means: Float64Array
    precisions_cholesky: Float64Array
    log_constant: Float64Array
    covariance_type: CovarianceName
    noise: Noise | None = None
    log_weights: Float64Array | None = None

    @property
    def n_parameters(self) -> int:
        """The number of free parameters: of weights, means, covariances and noise."""
        of_noise = 0 if self.noise is None else 2
        return n_parameters_of(self.kind, *self.means.shape) + of_noise

    @property
    def log_total_weight(self) -> float:
        """The logarithm of the sum of the weights; 0 if they are those of a mixture."""
        if self.log_weights is None:
            return 0.0
        largest = float(self.log_weights.max())
        return largest + math.log(math.fsum(np.exp(self.log_weights - largest).tolist()))

    @property
    def log_noise(self) -> float:
        """The logarithm of the weighted density of the noise; −inf if there is none."""
        return -math.inf if self.noise is None else self.noise.log_prob

    @property
    def kind(self) -> CovarianceType:
        """The covariance type."""
        return COVARIANCE_TYPES[self.covariance_type]


class Mixture(NamedTuple):
    """A mixture with its covariances, together with the form that an E-step reads.

    Attributes
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : ndarray in the shape of the covariance type
    prepared : Prepared
        The same mixture for an E-step.
    """

    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    prepared: Prepared

    @property
    def covariance_type(self) -> CovarianceName:
        """The name of the covariance type."""
        return self.prepared.covariance_type

    @property
    def kind(self) -> CovarianceType:
        """The covariance type."""
        return self.prepared.kind


def prepare(
    weights: Float64Array,
    means: Float64Array,
    precisions_cholesky: Float64Array,
    covariance_type: str,
    noise: Noise | None = None,
) -> Prepared:
    """Compute the constants that an E-step needs beside the factors; see `Prepared`."""
    log_constant = np.empty(len(weights) + 1)
    kind = COVARIANCE_TYPES[covariance_type]
    check_status(
        maximization.log_normalization(
            weights, precisions_cholesky.reshape(-1), log_constant, means.shape[1], kind.code
        )
    )
    return Prepared(weights, means, precisions_cholesky, log_constant, kind.name, noise)


def prepare_log_weights(
    log_weights: Float64Array,
    means: Float64Array,
    precisions_cholesky: Float64Array,
    covariance_type: str,
) -> Prepared:
    """Prepare an E-step with weights that are given by their logarithms, and need not sum to 1."""
    prepared = prepare(np.ones(len(means)), means, precisions_cholesky, covariance_type)
    base = int(np.argmax(log_weights))
    constants = prepared.log_constant[:-1] + log_weights
    common = prepared.log_constant[-1] + constants[base]
    log_constant = np.append(constants - constants[base], common)
    weights = np.exp(log_weights - log_weights[base])
    return prepared._replace(
        weights=weights / weights.sum(), log_constant=log_constant, log_weights=log_weights
    )


def mixture_of(
    prepared: Prepared, covariances: Float64Array | None = None, n_threads: int = 1
) -> Mixture:
    """Complete a prepared mixture with its covariances.

    Parameters
    ----------
    prepared : Prepared
    covariances : ndarray, default=None
        The covariances, if the caller has them. None means the inverses of the precisions, which
        have rounding errors of their own.
    n_threads : int, default=1

    Returns
    -------
    Mixture
    """
    if covariances is None:
        factor = prepared.precisions_cholesky
        covariances = prepared.kind.precisions_and_covariances(factor, n_threads)[1]
    return Mixture(prepared.weights, prepared.means, covariances, prepared)
