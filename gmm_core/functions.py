"""The steps of EM as functions, arrays in and arrays out, for people who write their own loops.

Names, arguments and results are those of `gmm_core.reference`; X may be float32 or float64 and is
not copied if it is an array in C order. Formulas: Bishop, Pattern Recognition and Machine Learning
(2006), section 9.2.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.conversion import as_float_array
from gmm_core.data.parameters import (
    check_means,
    check_precisions_cholesky,
    check_reg_covar,
    check_weights,
)
from gmm_core.data.validation import check_sample_weight, check_X
from gmm_core.fit import maximization
from gmm_core.fit.options import check_options
from gmm_core.model.covariance import covariance_type_of
from gmm_core.model.parameters import Prepared, prepare
from gmm_core.model.statistics import Statistics


class MixtureParameters(NamedTuple):
    """What an M-step makes.

    Attributes
    ----------
    weights : ndarray of shape (K,), float64
    means : ndarray of shape (K, D), float64
    covariances, precisions_cholesky : ndarray, float64
        full (K, D, D), tied (D, D), diag (K, D), spherical (K,).
    """

    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    precisions_cholesky: Float64Array


def log_density(
    X: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: str = "full",
    *,
    out: FloatArray | None = None,
    n_threads: int | None = None,
) -> FloatArray:
    """log N(x_n | μ_k, Σ_k) for each sample and component.

    Parameters
    ----------
    X : array-like of shape (N, D)
    means : array-like of shape (K, D)
    precisions_cholesky : array-like
        Upper triangular U_k with Σ_k⁻¹ = U_k U_kᵀ, in the shape of the covariance type (1 / σ for
        diag and spherical).
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    out : ndarray of shape (N, K), the dtype of X, optional
        Where to write the result; C-contiguous.
    n_threads : int, optional
        As that of GaussianMixture.

    Returns
    -------
    ndarray of shape (N, K), the dtype of X

    Raises
    ------
    ValueError, TypeError
        If an argument has another shape, a value that is not finite, or X is not numbers.
    """
    samples, _ = check_X(X)
    data, prepared = _pass(samples, None, means, precisions_cholesky, covariance_type, n_threads)
    result = _output(out, "out", (len(samples), data.n_components), samples)
    data.evaluate(prepared, log_prob=result)
    return result


def responsibilities(
    X: npt.ArrayLike,
    weights: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: str = "full",
    *,
    out: FloatArray | None = None,
    n_threads: int | None = None,
) -> FloatArray:
    """r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j).

    Parameters and errors are those of `log_density`, and

    Parameters
    ----------
    weights : array-like of shape (K,)
        Not negative, of sum 1.

    Returns
    -------
    ndarray of shape (N, K), the dtype of X
        Zeros for a sample whose density is 0 under every component.
    """
    samples, _ = check_X(X)
    data, prepared = _pass(
        samples, weights, means, precisions_cholesky, covariance_type, n_threads
    )
    result = _output(out, "out", (len(samples), data.n_components), samples)
    data.evaluate(prepared, responsibilities=result)
    return result


def expectation_step(
    X: npt.ArrayLike,
    weights: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: str = "full",
    *,
    out: tuple[FloatArray, FloatArray] | None = None,
    n_threads: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k), and the responsibilities.

    Parameters and errors are those of `responsibilities`, but

    Parameters
    ----------
    out : tuple of ndarray, optional
        Of shapes (N,) and (N, K).

    Returns
    -------
    log_likelihood : ndarray of shape (N,), the dtype of X
        -inf for a sample whose density is 0 under every component.
    responsibilities : ndarray of shape (N, K), the dtype of X
    """
    samples, _ = check_X(X)
    data, prepared = _pass(
        samples, weights, means, precisions_cholesky, covariance_type, n_threads
    )
    if out is None:
        first = second = None
    elif isinstance(out, tuple) and len(out) == 2:
        first, second = out
    else:
        raise TypeError(f"out should be a tuple of two arrays, but got {type(out).__name__}")
    log_likelihood = _output(first, "out[0]", (len(samples),), samples)
    r = _output(second, "out[1]", (len(samples), data.n_components), samples)
    data.evaluate(prepared, log_likelihood=log_likelihood, responsibilities=r)
    return log_likelihood, r


def sufficient_statistics(
    X: npt.ArrayLike,
    responsibilities: npt.ArrayLike,
    covariance_type: str,
    shift: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    out: Statistics | None = None,
    n_threads: int | None = None,
) -> Statistics:
    """Sums over the samples, from which `maximization_step` makes parameters.

    `accumulate` makes them in one pass with the E-step, without an array of responsibilities.

    Parameters
    ----------
    X : array-like of shape (N, D)
    responsibilities : array-like of shape (N, K)
        Not negative.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    shift : array-like of shape (K, D)
        The origins of the moments. The nearer to the new means, the more digits are kept.
    sample_weight : array-like of shape (N,), optional
        Not negative, with at least one that is not 0.
    out : Statistics, optional
        Of the same size; overwritten.
    n_threads : int or None

    Returns
    -------
    Statistics
        With a log-likelihood of 0.
    """
    samples, _ = check_X(X)
    r: npt.NDArray[Any] = as_float_array(responsibilities, "responsibilities")
    if r.ndim != 2 or len(r) != len(samples):
        raise ValueError(
            f"responsibilities has shape {r.shape}, expected ({len(samples)}, n_components)"
        )
    if not (r >= 0).all() or not np.isfinite(r).all():
        raise ValueError("responsibilities must be finite and not negative")
    r = np.ascontiguousarray(r, samples.dtype)
    K, D = r.shape[1], samples.shape[1]
    origin = check_means(shift, K, D, name="shift")
    covariance_type_of(covariance_type)
    weight = check_sample_weight(sample_weight, len(samples))
    data = ArrayPass(samples, weight, K, covariance_type, _checked_n_threads(n_threads))
    return _kept(data.statistics(origin, lambda rows: r[rows]), out)


def accumulate(
    X: npt.ArrayLike,
    weights: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: str = "full",
    sample_weight: npt.ArrayLike | None = None,
    *,
    out: Statistics | None = None,
    n_threads: int | None = None,
) -> Statistics:
    """E-step and sufficient statistics in one pass, without an array of responsibilities.

    Parameters and errors are those of `responsibilities` and `sufficient_statistics`.

    Returns
    -------
    Statistics
        About the means. The log-likelihood is that of the arguments.

    Raises
    ------
    NoDensityError
        A ValueError: the density of a sample is 0 under every component.
    """
    samples, _ = check_X(X)
    weight = check_sample_weight(sample_weight, len(samples))
    data, prepared = _pass(
        samples, weights, means, precisions_cholesky, covariance_type, n_threads, weight
    )
    return _kept(data.accumulate(prepared), out)


def maximization_step(
    statistics: Statistics,
    reg_covar: float | npt.ArrayLike = 1e-6,
    *,
    n_threads: int | None = None,
) -> MixtureParameters:
    """π_k = N_k / N, μ_k = Σ_n r_nk x_n / N_k, Σ_k = Σ_n r_nk (x_n − μ_k)(x_n − μ_k)ᵀ / N_k.

    Parameters
    ----------
    statistics : Statistics
    reg_covar : float or array-like of shape (D,)
        Added to the diagonals of the covariances.
    n_threads : int or None

    Returns
    -------
    MixtureParameters
        A component without samples keeps the origin of its moments as mean, has weight 0, and the
        mean of the others' covariances.

    Raises
    ------
    IllDefinedCovarianceError
        A ValueError: the covariance of a component is not positive definite.
    """
    if not isinstance(statistics, Statistics):
        raise TypeError(f"statistics should be Statistics, but got {type(statistics).__name__}")
    statistics.check()
    reg = check_reg_covar(reg_covar, statistics.shift.shape[1])
    if not (np.isfinite(statistics.values).all() and np.isfinite(statistics.shift).all()):
        raise ValueError("the values and the shift of statistics must be finite")
    if not (statistics.counts >= 0).all():
        raise ValueError("the counts of statistics must not be negative")
    if not (statistics.weight > 0 and statistics.counts.any()):
        raise ValueError("statistics holds no samples")
    p, _ = maximization.maximization_step(statistics, reg, _checked_n_threads(n_threads))
    return MixtureParameters(*p[:3], p.prepared.precisions_cholesky)


def _checked_n_threads(n_threads: int | None) -> int:
    check_options({"n_threads": n_threads}, "this function")
    return effective_n_threads(n_threads)


def _pass(
    X: FloatArray,
    weights: npt.ArrayLike | None,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: str,
    n_threads: int | None,
    sample_weight: Float64Array | None = None,
) -> tuple[ArrayPass, Prepared]:
    """Check the arguments; without weights, all weights are 1."""
    kind = covariance_type_of(covariance_type)
    shape = np.shape(means)
    if len(shape) != 2 or not shape[0]:
        raise ValueError(f"means has shape {shape}, expected (n_components, n_features)")
    K, D = shape[0], X.shape[1]
    prepared = prepare(
        np.ones(K) if weights is None else check_weights(weights, K),
        check_means(means, K, D),
        check_precisions_cholesky(precisions_cholesky, kind, K, D),
        covariance_type,
    )
    data = ArrayPass(X, sample_weight, K, covariance_type, _checked_n_threads(n_threads))
    return data, prepared


def _output(out: Any, name: str, shape: tuple[int, ...], X: FloatArray) -> npt.NDArray[Any]:
    dtype = X.dtype
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} should be an ndarray, but got {type(out).__name__}")
    flags = out.flags
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"{name} has shape {out.shape} and dtype {out.dtype}, expected {shape} and {dtype}"
        )
    if not (flags.c_contiguous and flags.writeable and flags.aligned):
        raise ValueError(f"{name} should be C-contiguous, aligned and writeable")
    if np.may_share_memory(out, X):
        raise ValueError(f"{name} overlaps X")
    return out


def _kept(statistics: Statistics, out: Statistics | None) -> Statistics:
    if out is None:
        return statistics
    if not isinstance(out, Statistics):
        raise TypeError(f"out should be Statistics, but got {type(out).__name__}")
    out.check()
    if out.values.shape != statistics.values.shape:
        raise ValueError(
            f"out holds {out.values.size} sums, expected {statistics.values.size}: "
            "those of another size of mixture"
        )
    out.values[:] = statistics.values
    out.shift, out.covariance_type = statistics.shift, statistics.covariance_type
    return out
