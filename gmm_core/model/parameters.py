"""The parameters of a mixture: as a user means them, and as an E-step reads them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gmm_core.core.dispatch import check_status, maximization
from gmm_core.core.types import Float64Array
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType


class Prepared(NamedTuple):
    """A mixture as an E-step reads it, with the factors of its precisions.

    Attributes
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    precisions_cholesky : ndarray in the shape of the covariance type
        Upper triangular U_k with U_k U_kᵀ = Σ_k⁻¹, or reciprocal standard deviations.
    log_constant : ndarray of shape (K + 1,)
        log π_k + log |U_k| − D/2 log 2π, the weighted log-densities at the means, less the last
        entry, which is common to all.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    """

    weights: Float64Array
    means: Float64Array
    precisions_cholesky: Float64Array
    log_constant: Float64Array
    covariance_type: str

    @property
    def kind(self) -> CovarianceType:
        """The covariance type."""
        return COVARIANCE_TYPES[self.covariance_type]


class Mixture(NamedTuple):
    """A mixture as a user means it, together with what an E-step reads of it.

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
    def covariance_type(self) -> str:
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
) -> Prepared:
    """Compute the constants that an E-step needs beside the factors; see `Prepared`."""
    log_constant = np.empty(len(weights) + 1)
    code = COVARIANCE_TYPES[covariance_type].code
    check_status(
        maximization.log_normalization(
            weights, precisions_cholesky.reshape(-1), log_constant, means.shape[1], code
        )
    )
    return Prepared(weights, means, precisions_cholesky, log_constant, covariance_type)


def mixture_of(
    prepared: Prepared, covariances: Float64Array | None = None, n_threads: int = 1
) -> Mixture:
    """Complete a prepared mixture with its covariances.

    Parameters
    ----------
    prepared : Prepared
    covariances : ndarray, optional
        The covariances, if they are known better than by inverting the precisions.
    n_threads : int, default=1
    """
    if covariances is None:
        factor = prepared.precisions_cholesky
        covariances = prepared.kind.precisions_and_covariances(factor, n_threads)[1]
    return Mixture(prepared.weights, prepared.means, covariances, prepared)
