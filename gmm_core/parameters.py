"""The parameters of a mixture, in float64, with the factors that the E-step needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core._dispatch import check_status, maximization
from gmm_core.covariance import COVARIANCE_TYPES, precisions_and_covariances

Float64Array = npt.NDArray[np.float64]


class Parameters(NamedTuple):
    """Weights, means and covariances of a mixture.

    Attributes
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances, precisions_cholesky : ndarray in the shape of the covariance type
    log_constant : ndarray of shape (K + 1,)
        log π_k + log |U_k| − D/2 log 2π, the weighted log-densities at the means, less the last
        entry, which is common to all.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    """

    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    precisions_cholesky: Float64Array
    log_constant: Float64Array
    covariance_type: str


def parameters_from(
    weights: Float64Array,
    means: Float64Array,
    precisions_cholesky: Float64Array,
    covariance_type: str,
    covariances: Float64Array | None = None,
) -> Parameters:
    """Complete the parameters of a mixture from its precision factors; see `Parameters`."""
    if covariances is None:
        covariances = precisions_and_covariances(precisions_cholesky, covariance_type)[1]
    log_constant = np.empty(len(weights) + 1)
    code = COVARIANCE_TYPES[covariance_type].code
    check_status(
        maximization.log_normalization(
            weights, precisions_cholesky.reshape(-1), log_constant, means.shape[1], code
        )
    )
    return Parameters(
        weights, means, covariances, precisions_cholesky, log_constant, covariance_type
    )
