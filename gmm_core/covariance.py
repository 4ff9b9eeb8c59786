"""The covariance types on the Python side: how they are stored, and how many parameters are free.

The distances and moments of each type are in src/full.pxd, tied.pxd, diag.pxd and spherical.pxd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core._dispatch import check_status, maximization

if TYPE_CHECKING:
    from gmm_core.parameters import Parameters

Float64Array = npt.NDArray[np.float64]

# One call of a kernel factors matrices of this much work, D**3 each, for each thread: about 0.1 s,
# after which Ctrl-C is answered. A larger matrix is a call of its own.
_CALL_WORK = 3e8
_PARALLEL_FEATURES = 32  # below, a matrix takes less time than a thread to start


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


def _groups(n_matrices: int, n_features: int, n_threads: int) -> tuple[int, Iterator[slice]]:
    """Return the number of threads for each call, and the matrices that each call works on."""
    n_threads = min(n_threads, n_matrices) if n_features >= _PARALLEL_FEATURES else 1
    step = n_threads * max(1, int(_CALL_WORK / n_features**3))
    return n_threads, (slice(start, start + step) for start in range(0, n_matrices, step))


def precisions_cholesky_of(
    array: Float64Array, covariance_type: str, n_features: int, *, given: str, n_threads: int = 1
) -> Float64Array:
    """Factor covariances or precisions: the upper triangular U with U Uᵀ = precision.

    Parameters
    ----------
    array : ndarray of float64, in the shape of the type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_features : int
    given : {'covariances', 'precisions'}
    n_threads : int
        They share out the components; the result does not depend on their number.

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
    failed = 0
    if kind.is_matrix:
        matrices = np.ascontiguousarray(array).reshape(-1, D, D)
        factors = out.reshape(-1, D, D)
        n_threads, groups = _groups(len(matrices), D, n_threads)
        for group in groups:
            part, factor = matrices[group], factors[group]
            if given == "covariances":
                failed = maximization.factor(
                    part.ravel(), factor.reshape(-1), np.empty(part.size), len(part), D,
                    COVARIANCE_TYPES["full"].code, n_threads,
                )
            else:
                scratch = np.empty((n_threads, D, D), np.longdouble)
                failed = maximization.factor_precisions(part, factor, scratch, n_threads)
            if failed:
                failed += group.start if failed > 0 else 0
                break
    elif given == "covariances":
        failed = maximization.factor(
            array.ravel(), out.reshape(-1), np.empty(0), len(array), D, kind.code, 1
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
    precisions_cholesky: Float64Array, covariance_type: str, n_threads: int = 1
) -> tuple[Float64Array, Float64Array]:
    """Precisions U Uᵀ and their inverses, in the shape of the type."""
    if not COVARIANCE_TYPES[covariance_type].is_matrix:
        with np.errstate(over="ignore", under="ignore", divide="ignore"):  # for the caller to judge
            precisions = precisions_cholesky**2
            return precisions, 1 / precisions
    D = precisions_cholesky.shape[-1]
    factors = np.ascontiguousarray(precisions_cholesky).reshape(-1, D, D)
    precisions, covariances = np.empty(factors.shape), np.empty(factors.shape)
    n_threads, groups = _groups(len(factors), D, n_threads)
    scratch = np.empty((n_threads, 2, D, D))
    for group in groups:
        status = maximization.precisions_and_covariances(
            factors[group], precisions[group], covariances[group], scratch, n_threads
        )
        check_status(status)
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
