"""Components that have collapsed onto few samples: maxima of the likelihood that mean nothing.

The likelihood of a mixture has no bound: it grows as a component shrinks onto a few samples, or
onto a line through them, and only `reg_covar` stops it (McLachlan & Peel 2000, section 3.8).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gmm_core.covariance import COVARIANCE_TYPES, precisions_cholesky_of
from gmm_core.parameters import Parameters
from gmm_core.statistics import RegCovar

Float64Array = npt.NDArray[np.float64]

# A variance below this share of the data's is suspicious in a component of few samples.
_SMALL = 1e-3
# As many samples as this, times the number that a covariance needs, are not few: they are a
# cluster, however small, or a value that the data really take.
_FEW = 10
# A variance of no more than this times `reg_covar` has come from nowhere else.
_ALL = 1.1


def collapsed_components(
    parameters: Parameters, n_samples: int, reg_covar: RegCovar
) -> npt.NDArray[np.intp]:
    """Find the components that have collapsed, each judged by itself.

    Let v_kd be the variance of feature d in component k given the other features, 1 / (Σ_k⁻¹)_dd,
    and c_d the same for all data. A covariance needs m samples, D + 1 for 'full' and 'tied', 2 for
    'diag' and 'spherical'. Component k has collapsed if v_kd < 10⁻³ c_d for a feature d, and either
    N_k < m + 1, or N_k < 10 m and in some direction `reg_covar` is nearly all of its variance.

    Parameters
    ----------
    parameters : Parameters
        With the covariances that belong to the factors.
    n_samples : int
        Number of samples that have weight.
    reg_covar : float or ndarray of shape (n_features,)

    Returns
    -------
    ndarray of intp
        Indices of the components.
    """
    K, D = parameters.means.shape
    is_matrix = COVARIANCE_TYPES[parameters.covariance_type].is_matrix
    counts = parameters.weights * n_samples
    if parameters.covariance_type == "tied":  # the samples less those that the means have used up
        counts = np.where(parameters.weights > 0, n_samples - (K - 1), 0)
    needed = D + 1 if is_matrix else 2
    few = (counts < _FEW * needed) & (parameters.weights > 0)
    if not few.any():
        return np.empty(0, np.intp)
    factors = parameters.precisions_cholesky
    with np.errstate(all="ignore"):  # data of scale 1e160: a precision may underflow
        if is_matrix:
            variances = _conditional_variances(factors.reshape(-1, D, D))
        else:
            variances = np.broadcast_to(1 / factors.reshape(K, -1) ** 2, (K, D))
        try:
            of_data = _variances_of_data(parameters)
            small = variances < _SMALL * of_data
        except ValueError:  # the covariance of all data is singular: there is nothing to compare
            return np.empty(0, np.intp)
        suspicious = few & small.any(axis=1)
        unsupported = counts < needed + 1
        for k in np.flatnonzero(suspicious & ~unsupported):
            unsupported[k] = _is_regularised(parameters, int(k), reg_covar, of_data)
    return np.flatnonzero(suspicious & unsupported)


def _is_regularised(
    parameters: Parameters, k: int, reg_covar: RegCovar, of_data: Float64Array
) -> bool:
    """Whether reg_covar is nearly all of the variance of component k in some direction.

    Without reg_covar: whether a variance is of the size of the rounding errors of the data's.
    """
    D = parameters.means.shape[1]
    regular = np.full(D, reg_covar, np.float64)
    regular = np.where(regular > 0, regular, 64 * np.finfo(np.float64).eps * of_data)
    if COVARIANCE_TYPES[parameters.covariance_type].is_matrix:
        matrices = parameters.covariances.reshape(-1, D, D)
        matrix = matrices[k % len(matrices)]    # of tied there is one
        scale = np.sqrt(regular)
        return bool(np.linalg.eigvalsh(matrix / scale / scale[:, None])[0] <= _ALL)
    variances = parameters.covariances.reshape(len(parameters.weights), -1)[k]
    if parameters.covariances.ndim == 1:
        regular = regular.mean()
    return bool((variances <= _ALL * regular).any())


def _conditional_variances(factors: Float64Array) -> Float64Array:
    """Compute 1 / (U Uᵀ)_dd for a stack of precision factors."""
    variances: Float64Array = 1 / np.einsum("kij,kij->ki", factors, factors)
    return variances


def _variances_of_data(parameters: Parameters) -> Float64Array:
    """Compute the variance of each feature, given the other features if covariances are matrices.

    The covariance of the mixture is that of the data after an M-step, plus `reg_covar`.
    """
    weights, means, covariances = parameters.weights, parameters.means, parameters.covariances
    K, D = means.shape
    difference = means - weights @ means
    if not COVARIANCE_TYPES[parameters.covariance_type].is_matrix:
        variances: Float64Array = weights @ (difference**2 + covariances.reshape(K, -1))
        return variances
    within = np.broadcast_to(covariances, (K, D, D))
    total: Float64Array = np.einsum("k,kij->ij", weights, within)
    total += np.einsum("k,ki,kj->ij", weights, difference, difference)
    factors = precisions_cholesky_of(total[None], "full", D, given="covariances")
    return _conditional_variances(factors).ravel()
