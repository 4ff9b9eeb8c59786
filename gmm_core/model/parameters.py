"""The parameters of a mixture, as a user gives them and as an E-step reads them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gmm_core.core.dispatch import check_status, maximization
from gmm_core.core.types import CovarianceName, Float64Array, FloatArray
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType


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
    log_noise_density : float or None, default=None
        The logarithm of the uniform density of the noise component; None if there is no noise. The
        weight of the noise is what the weights lack to 1; see `noise_weight`.
    """

    weights: Float64Array
    means: Float64Array
    precisions_cholesky: Float64Array
    log_constant: Float64Array
    covariance_type: CovarianceName
    log_noise_density: float | None = None

    @property
    def n_parameters(self) -> int:
        """The number of free parameters: of weights, means, covariances and noise."""
        of_noise = 0 if self.log_noise_density is None else 2
        return n_parameters_of(self.kind, *self.means.shape) + of_noise

    @property
    def log_noise(self) -> float:
        """The logarithm of the weighted density of the noise; −inf if there is none."""
        if self.log_noise_density is None:
            return -math.inf
        weight = noise_weight(self.weights)
        return self.log_noise_density + math.log(weight) if weight else -math.inf

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


def noise_weight(weights: FloatArray) -> float:
    """Return the weight of the noise component, 1 − Σ π_k.

    It is 0 if it is below the rounding error of the sum.
    """
    weight = 1.0 - math.fsum(weights.tolist())
    return weight if weight > 10 * np.finfo(weights.dtype).eps else 0.0


def prepare(
    weights: Float64Array,
    means: Float64Array,
    precisions_cholesky: Float64Array,
    covariance_type: str,
    log_noise_density: float | None = None,
) -> Prepared:
    """Compute the constants that an E-step needs beside the factors; see `Prepared`."""
    log_constant = np.empty(len(weights) + 1)
    kind = COVARIANCE_TYPES[covariance_type]
    check_status(
        maximization.log_normalization(
            weights, precisions_cholesky.reshape(-1), log_constant, means.shape[1], kind.code
        )
    )
    return Prepared(
        weights, means, precisions_cholesky, log_constant, kind.name, log_noise_density
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
