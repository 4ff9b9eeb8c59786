"""The covariance types on the Python side: how they are stored, and how many parameters are free.

The distances and moments of each type are in src/full.pxd, tied.pxd, diag.pxd and spherical.pxd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core._dispatch import check_status, maximization

if TYPE_CHECKING:
    from gmm_core.parameters import Parameters

Float64Array = npt.NDArray[np.float64]


class CovarianceType(NamedTuple):
    """One covariance type.

    Attributes
    ----------
    code : int
        Its number in the kernels (src/layout.pxd).
    shape : callable
        (n_components, n_features) to the shape of covariances, precisions and their factors.
    n_parameters : callable
        (n_components, n_features) to the number of free parameters of the covariances.
    is_matrix : bool
        Whether a covariance is a matrix, and its factor a triangle.
    """

    code: int
    shape: Callable[[int, int], tuple[int, ...]]
    n_parameters: Callable[[int, int], int]
    is_matrix: bool


COVARIANCE_TYPES = {
    "full": CovarianceType(0, lambda K, D: (K, D, D), lambda K, D: K * D * (D + 1) // 2, True),
    "tied": CovarianceType(1, lambda K, D: (D, D), lambda K, D: D * (D + 1) // 2, True),
    "diag": CovarianceType(2, lambda K, D: (K, D), lambda K, D: K * D, False),
    "spherical": CovarianceType(3, lambda K, D: (K,), lambda K, D: K, False),
}


def precisions_cholesky_of(
    array: Float64Array, covariance_type: str, n_features: int, *, given: str
) -> Float64Array:
    """Factor covariances or precisions: the upper triangular U with U Uᵀ = precision.

    Parameters
    ----------
    array : ndarray of float64, in the shape of the type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_features : int
    given : {'covariances', 'precisions'}

    Returns
    -------
    ndarray of float64, in the shape of the type

    Raises
    ------
    ValueError
        If a matrix is not positive definite, naming the component.
    """
    out = np.empty(array.shape)
    D = n_features
    kind = COVARIANCE_TYPES[covariance_type]
    if given == "covariances":
        scratch = np.empty(array.size if kind.is_matrix else 0)
        failed = maximization.factor(
            array.ravel(), out.reshape(-1), scratch, len(array), D, kind.code, 1
        )
    elif kind.is_matrix:
        stack = (-1, D, D)
        failed = maximization.factor_precisions(
            array.reshape(stack), out.reshape(stack), np.empty((D, D), np.longdouble)
        )
    else:
        bad = (array <= 0).reshape(len(array), -1).any(axis=1)
        failed = 1 + int(bad.argmax()) if bad.any() else 0
        np.sqrt(array, out=out, where=array > 0)
    check_status(failed)
    if failed:
        raise ValueError(
            f"{given} must be positive definite, but those of component {failed - 1} are not"
        )
    return out


def precisions_and_covariances(
    precisions_cholesky: Float64Array, covariance_type: str
) -> tuple[Float64Array, Float64Array]:
    """Precisions U Uᵀ and their inverses, in the shape of the type."""
    if not COVARIANCE_TYPES[covariance_type].is_matrix:
        with np.errstate(over="ignore", under="ignore", divide="ignore"):  # for the caller to judge
            precisions = precisions_cholesky**2
            return precisions, 1 / precisions
    D = precisions_cholesky.shape[-1]
    factors = np.ascontiguousarray(precisions_cholesky).reshape(-1, D, D)
    precisions, covariances = np.empty(factors.shape), np.empty(factors.shape)
    scratch = np.empty((2, D, D))
    check_status(maximization.precisions_and_covariances(factors, precisions, covariances, scratch))
    shape = precisions_cholesky.shape
    return precisions.reshape(shape), covariances.reshape(shape)


def nearest_component(X: npt.NDArray[np.floating], parameters: Parameters) -> npt.NDArray[np.intp]:
    """The component nearest to samples so far away that every density underflows to 0.

    The limit of the responsibilities as a sample moves away: the component with the smallest
    whitened distance, the largest π_k |U_k| among equals. Data and factors are scaled to magnitude
    1 first, so that nothing overflows.
    """
    x, means = X.astype(np.float64), parameters.means
    factors = parameters.precisions_cholesky
    K, D = means.shape
    unit = np.maximum(abs(x).max(axis=1), max(abs(means).max(), np.finfo(float).tiny))[:, None]
    log_distance = np.empty((len(x), K))
    for k in range(K):
        if parameters.weights[k] == 0:
            log_distance[:, k] = np.inf
            continue
        factor = factors if parameters.covariance_type == "tied" else factors[k]
        scale = abs(factor).max()
        z = x / unit - means[k] / unit
        y = z @ (factor / scale) if factor.ndim == 2 else z * (factor / scale)
        with np.errstate(divide="ignore"):
            log_distance[:, k] = np.log(np.sqrt((y * y).sum(axis=1))) + np.log(scale)
    near = log_distance <= log_distance.min(axis=1, keepdims=True) + 4 * np.finfo(float).eps
    heaviest = np.where(near, parameters.log_constant[:K], -np.inf).argmax(axis=1)
    return np.asarray(heaviest, np.intp)


def smallest_eigenvalue(covariances: Float64Array, covariance_type: str) -> float:
    """The smallest variance in any direction, of all components."""
    if COVARIANCE_TYPES[covariance_type].is_matrix:
        return float(np.linalg.eigvalsh(covariances).min())
    return float(covariances.min())
