"""The steps of EM as functions of arrays, for people who write their own loops.

`gmm_core.reference` has functions of the same names (except `accumulate`) that compute the same
quantities in plain NumPy. X is used without a copy if it is a C-contiguous array of float32 or
float64. The equations are those of C. M. Bishop, Pattern Recognition and Machine Learning (2006),
section 9.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import AnyArray, CovarianceName, Float64Array, FloatArray
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.conversion import as_float_array
from gmm_core.data.parameter_validation import (
    check_means,
    check_precisions_cholesky,
    check_reg_covar,
    check_weights,
)
from gmm_core.data.validation import check_sample_weight, check_X
from gmm_core.fit import maximization
from gmm_core.fit.options import check_options
from gmm_core.model.covariance import check_features, covariance_type_of
from gmm_core.model.parameters import Prepared, prepare
from gmm_core.model.statistics import Statistics


class MixtureParameters(NamedTuple):
    """The parameters of a mixture, as `maximization_step` returns them.

    Attributes
    ----------
    weights : ndarray of shape (n_components,), float64
        Weights π_k. Their sum is 1.
    means : ndarray of shape (n_components, n_features), float64
        Means μ_k.
    covariances : ndarray, float64
        Covariances Σ_k, of shape (n_components, n_features, n_features) for 'full',
        (n_features, n_features) for 'tied', (n_components, n_features) for 'diag', and
        (n_components,) for 'spherical'.
    precisions_cholesky : ndarray, float64
        Factors U_k of the precisions, with Σ_k⁻¹ = U_k U_kᵀ, in the shape of `covariances`: upper
        triangular matrices for 'full' and 'tied', reciprocal standard deviations for the others.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import maximization_step, sufficient_statistics
    >>> X = np.array([[1.0], [3.0]])
    >>> statistics = sufficient_statistics(X, np.ones((2, 1)), "diag", shift=[[2.0]])
    >>> parameters = maximization_step(statistics, reg_covar=0.0)
    >>> parameters._fields
    ('weights', 'means', 'covariances', 'precisions_cholesky')
    >>> parameters.means.tolist(), parameters.covariances.tolist()
    ([[2.0]], [[1.0]])
    """

    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    precisions_cholesky: Float64Array


def log_density(
    X: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: CovarianceName = "full",
    *,
    out: FloatArray | None = None,
    n_threads: int | None = None,
) -> FloatArray:
    """Return the log-density of each component for each sample.

    log N(x_n | μ_k, Σ_k) = log |U_k| − ½ (D log 2π + ‖U_kᵀ (x_n − μ_k)‖²), where U_k is the factor
    of the precision and D the number of features.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The samples.
    means : array-like of shape (n_components, n_features)
        Means μ_k.
    precisions_cholesky : array-like
        Factors U_k of the precisions, with Σ_k⁻¹ = U_k U_kᵀ. They are upper triangular matrices for
        'full' (n_components, n_features, n_features) and 'tied' (n_features, n_features). They are
        reciprocal standard deviations for 'diag' (n_components, n_features) and 'spherical'
        (n_components,).
    covariance_type : str, default='full'
        The type of the covariances, one of those of `GaussianMixture`.
    out : ndarray of shape (n_samples, n_components), default=None
        The array for the result. It has the dtype of the result and is C-contiguous, and it does
        not overlap X. By default, a new array is made.
    n_threads : int or None, default=None
        Number of threads, with the meaning that it has for `GaussianMixture`. The result does not
        depend on it.

    Returns
    -------
    log_density : ndarray of shape (n_samples, n_components), float32 or float64
        It has the dtype of X if that is float32, and is float64 otherwise.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or a value that is not allowed: X, the means and the
        factors must be finite, the diagonals of the factors must be positive, and `out` must be as
        described above.
    TypeError
        If an argument does not consist of numbers, or `out` is not an ndarray.
    InvalidParameterError
        If `n_threads` is 0 or not an int.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import log_density
    >>> X = np.array([[0.0], [1.0]])
    >>> log_density(X, [[0.0]], [[1.0]], "diag").round(3).tolist()
    [[-0.919], [-1.419]]
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
    covariance_type: CovarianceName = "full",
    *,
    out: FloatArray | None = None,
    n_threads: int | None = None,
) -> FloatArray:
    """Return the responsibility of each component for each sample.

    r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j), the probability that sample n was
    drawn from component k (Bishop 2006, equation 9.23).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The samples.
    weights : array-like of shape (n_components,)
        Weights π_k. They are not negative, and their sum is 1.
    means : array-like of shape (n_components, n_features)
        Means μ_k.
    precisions_cholesky : array-like
        Factors U_k of the precisions, with Σ_k⁻¹ = U_k U_kᵀ. They are upper triangular matrices for
        'full' (n_components, n_features, n_features) and 'tied' (n_features, n_features). They are
        reciprocal standard deviations for 'diag' (n_components, n_features) and 'spherical'
        (n_components,).
    covariance_type : str, default='full'
        The type of the covariances, one of those of `GaussianMixture`.
    out : ndarray of shape (n_samples, n_components), default=None
        The array for the result. It has the dtype of the result and is C-contiguous, and it does
        not overlap X. By default, a new array is made.
    n_threads : int or None, default=None
        Number of threads, with the meaning that it has for `GaussianMixture`. The result does not
        depend on it.

    Returns
    -------
    responsibilities : ndarray of shape (n_samples, n_components), float32 or float64
        Each row has the sum 1, but the row of a sample whose density is 0 under every component
        consists of zeros. The dtype is that of X if that is float32, and float64 otherwise.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or a value that is not allowed: X, the means and the
        factors must be finite, the diagonals of the factors must be positive, the weights must be
        in [0, 1] with sum 1, and `out` must be as described above.
    TypeError
        If an argument does not consist of numbers, or `out` is not an ndarray.
    InvalidParameterError
        If `n_threads` is 0 or not an int.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import responsibilities
    >>> X = np.array([[0.0], [1.0], [9.0]])
    >>> weights, means, factors = [0.5, 0.5], [[0.0], [8.0]], [[1.0], [1.0]]
    >>> responsibilities(X, weights, means, factors, "diag").round(3).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
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
    covariance_type: CovarianceName = "full",
    *,
    out: tuple[FloatArray, FloatArray] | None = None,
    n_threads: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the log-likelihood of each sample, and the responsibilities.

    log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k), and
    r_nk = π_k N(x_n | μ_k, Σ_k) / p(x_n) (Bishop 2006, equations 9.7 and 9.23).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The samples.
    weights : array-like of shape (n_components,)
        Weights π_k. They are not negative, and their sum is 1.
    means : array-like of shape (n_components, n_features)
        Means μ_k.
    precisions_cholesky : array-like
        Factors U_k of the precisions, with Σ_k⁻¹ = U_k U_kᵀ. They are upper triangular matrices for
        'full' (n_components, n_features, n_features) and 'tied' (n_features, n_features). They are
        reciprocal standard deviations for 'diag' (n_components, n_features) and 'spherical'
        (n_components,).
    covariance_type : str, default='full'
        The type of the covariances, one of those of `GaussianMixture`.
    out : tuple of two ndarray, default=None
        The arrays for the results, of shapes (n_samples,) and (n_samples, n_components). They have
        the dtype of the results and are C-contiguous, and they do not overlap X. By default, new
        arrays are made.
    n_threads : int or None, default=None
        Number of threads, with the meaning that it has for `GaussianMixture`. The result does not
        depend on it.

    Returns
    -------
    log_likelihood : ndarray of shape (n_samples,), float32 or float64
        It is −inf for a sample whose density is 0 under every component. The dtype of both results
        is that of X if that is float32, and float64 otherwise.
    responsibilities : ndarray of shape (n_samples, n_components), float32 or float64
        The row of a sample whose density is 0 under every component consists of zeros.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or a value that is not allowed: X, the means and the
        factors must be finite, the diagonals of the factors must be positive, the weights must be
        in [0, 1] with sum 1, and `out` must be as described above.
    TypeError
        If an argument does not consist of numbers, or `out` is not a tuple of two ndarrays.
    InvalidParameterError
        If `n_threads` is 0 or not an int.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import expectation_step
    >>> X = np.array([[0.0], [1.0], [9.0]])
    >>> weights, means, factors = [0.5, 0.5], [[0.0], [8.0]], [[1.0], [1.0]]
    >>> log_likelihood, r = expectation_step(X, weights, means, factors, "diag")
    >>> log_likelihood.round(3).tolist()
    [-1.612, -2.112, -2.112]
    >>> r.shape
    (3, 2)
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
    covariance_type: CovarianceName,
    shift: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    out: Statistics | None = None,
    n_threads: int | None = None,
) -> Statistics:
    """Return sums over the samples, from which `maximization_step` computes parameters.

    With c_k = shift[k], they are the counts N_k = Σ_n w_n r_nk, the first moments
    Σ_n w_n r_nk (x_n − c_k), and the second moments Σ_n w_n r_nk (x_n − c_k)(x_n − c_k)ᵀ, or the
    part of these that the covariance type needs; see `Statistics`. Statistics about the same shift
    can be added, so parts of the data can be summed one after the other.

    The function `accumulate` computes the responsibilities and these sums in one pass.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The samples.
    responsibilities : array-like of shape (n_samples, n_components)
        Responsibilities r_nk. They are not negative, and their rows may have any sum.
    covariance_type : str
        The type of the covariances for which the sums are taken, one of those of `GaussianMixture`.
    shift : array-like of shape (n_components, n_features)
        The origins c_k of the moments. The result of the M-step is more accurate if they are near
        the new means.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights w_n of the samples. They are not negative, and at least one of them is positive.
        None means a weight of 1 for every sample.
    out : Statistics, default=None
        Statistics for the same covariance type and numbers of components and features, which are
        overwritten and returned. By default, new statistics are made.
    n_threads : int or None, default=None
        Number of threads, with the meaning that it has for `GaussianMixture`. The result does not
        depend on it.

    Returns
    -------
    statistics : Statistics
        The sums, in float64. Their log-likelihood is 0.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or a value that is not allowed: X and the shift must be
        finite, responsibilities and weights must be finite and not negative, and `out` must be as
        described above.
    TypeError
        If an argument does not consist of numbers, or `out` is not Statistics.
    InvalidParameterError
        If `n_threads` is 0 or not an int.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import sufficient_statistics
    >>> X = np.array([[1.0], [3.0], [8.0]])
    >>> r = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    >>> statistics = sufficient_statistics(X, r, "diag", shift=[[0.0], [0.0]])
    >>> statistics.counts.tolist(), statistics.first.tolist()
    ([1.5, 1.5], [[2.5], [9.5]])
    """
    samples, _ = check_X(X)
    r: AnyArray = as_float_array(responsibilities, "responsibilities")
    if r.ndim != 2 or len(r) != len(samples):
        raise ValueError(
            f"responsibilities has shape {r.shape}, expected ({len(samples)}, n_components)"
        )
    if not (r >= 0).all() or not np.isfinite(r).all():
        raise ValueError("responsibilities must be finite and not negative")
    r = np.ascontiguousarray(r, samples.dtype)
    K, D = r.shape[1], samples.shape[1]
    origin = check_means(shift, K, D, name="shift")
    check_features(covariance_type_of(covariance_type), D)
    weight = check_sample_weight(sample_weight, len(samples))
    data = ArrayPass(samples, weight, K, covariance_type, _checked_n_threads(n_threads))
    return _kept(data.statistics(origin, lambda rows: r[rows]), out)


def accumulate(
    X: npt.ArrayLike,
    weights: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: CovarianceName = "full",
    sample_weight: npt.ArrayLike | None = None,
    *,
    out: Statistics | None = None,
    n_threads: int | None = None,
) -> Statistics:
    """Compute the responsibilities and return their sufficient statistics.

    The function runs the E-step and sums up its results in one pass over the samples, without
    storing the responsibilities. The result is that of `responsibilities` followed by
    `sufficient_statistics` about the given means, up to rounding. It also contains the
    log-likelihood Σ_n w_n log Σ_k π_k N(x_n | μ_k, Σ_k).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The samples.
    weights : array-like of shape (n_components,)
        Weights π_k. They are not negative, and their sum is 1.
    means : array-like of shape (n_components, n_features)
        Means μ_k.
    precisions_cholesky : array-like
        Factors U_k of the precisions, with Σ_k⁻¹ = U_k U_kᵀ. They are upper triangular matrices for
        'full' (n_components, n_features, n_features) and 'tied' (n_features, n_features). They are
        reciprocal standard deviations for 'diag' (n_components, n_features) and 'spherical'
        (n_components,).
    covariance_type : str, default='full'
        The type of the covariances, one of those of `GaussianMixture`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights w_n of the samples. They are not negative, and at least one of them is positive.
        None means a weight of 1 for every sample.
    out : Statistics, default=None
        Statistics for the same covariance type and numbers of components and features, which are
        overwritten and returned. By default, new statistics are made.
    n_threads : int or None, default=None
        Number of threads, with the meaning that it has for `GaussianMixture`. The result does not
        depend on it.

    Returns
    -------
    statistics : Statistics
        The sums, in float64. The moments are about the means that were given. The log-likelihood is
        that of the parameters that were given.

    Raises
    ------
    NoDensityError
        If the density of a sample is 0 under every component. The message names its row. The error
        is a ValueError.
    ValueError
        If an argument has a wrong shape or a value that is not allowed: X, the means and the
        factors must be finite, the diagonals of the factors must be positive, the weights must be
        in [0, 1] with sum 1, the sample weights must be finite and not negative, and `out` must be
        as described above.
    TypeError
        If an argument does not consist of numbers, or `out` is not Statistics.
    InvalidParameterError
        If `n_threads` is 0 or not an int.

    Examples
    --------
    One's own loop of EM takes these steps:

    >>> import numpy as np
    >>> from gmm_core import accumulate, maximization_step
    >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
    >>> weights, means, factors = [0.5, 0.5], [[0.0], [8.0]], [[1.0], [1.0]]
    >>> for _ in range(5):
    ...     statistics = accumulate(X, weights, means, factors, "diag")
    ...     weights, means, covariances, factors = maximization_step(statistics)
    >>> weights.round(3).tolist(), means.round(3).tolist()
    ([0.5, 0.5], [[1.0], [10.0]])
    >>> round(statistics.mean_log_likelihood, 3)
    -2.112
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
    """Return the parameters that maximise the expected log-likelihood of the statistics.

    With the counts N_k = Σ_n w_n r_nk, their sum N, and S_k = Σ_n w_n r_nk (x_n − μ_k)(x_n − μ_k)ᵀ,
    the parameters are π_k = N_k / N, μ_k = Σ_n w_n r_nk x_n / N_k (Bishop 2006, equations 9.24 to
    9.27), and, for R = diag(reg_covar) and D features,

    - 'full': Σ_k = S_k / N_k + R;
    - 'tied': Σ = (S_1 + … + S_K) / N + R;
    - 'diag': the diagonal of S_k / N_k + R;
    - 'spherical': trace(S_k / N_k + R) / D.

    Parameters
    ----------
    statistics : Statistics
        Sums over the samples, from `accumulate` or `sufficient_statistics`.
    reg_covar : float or array-like of shape (n_features,), default=1e-6
        Added to the diagonal of every covariance. If it is an array, its mean is added to a
        'spherical' variance.
    n_threads : int or None, default=None
        Number of threads, with the meaning that it has for `GaussianMixture`. The result does not
        depend on it.

    Returns
    -------
    parameters : MixtureParameters
        A named tuple (weights, means, covariances, precisions_cholesky) of float64 arrays. A
        component whose count is 0 (up to rounding) gets the weight 0, the origin of its moments as
        mean, and the mean of the other covariances, weighted by their counts.

    Raises
    ------
    IllDefinedCovarianceError
        If the covariance of a component is not positive definite. The message names the component.
        The error is a ValueError.
    ValueError
        If the statistics are not finite, have negative counts or contain no samples, or if
        `reg_covar` is negative, not finite or of a wrong shape.
    TypeError
        If `statistics` is not Statistics, or `reg_covar` is not numbers.
    InvalidParameterError
        If `n_threads` is 0 or not an int.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import maximization_step, sufficient_statistics
    >>> X = np.array([[1.0], [3.0], [8.0]])
    >>> r = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> statistics = sufficient_statistics(X, r, "diag", shift=[[2.0], [8.0]])
    >>> weights, means, covariances, factors = maximization_step(statistics, reg_covar=1.0)
    >>> weights.round(3).tolist(), means.tolist(), covariances.tolist()
    ([0.667, 0.333], [[2.0], [8.0]], [[2.0], [1.0]])
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
        raise ValueError("statistics holds no samples of positive weight")
    p, _ = maximization.maximization_step(statistics, reg, _checked_n_threads(n_threads))
    return MixtureParameters(*p[:3], p.prepared.precisions_cholesky)


def _checked_n_threads(n_threads: int | None) -> int:
    """Check the argument `n_threads`, and return the number of threads that it means."""
    check_options({"n_threads": n_threads}, "this function")
    return effective_n_threads(n_threads)


def _pass(
    X: FloatArray,
    weights: npt.ArrayLike | None,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: CovarianceName,
    n_threads: int | None,
    sample_weight: Float64Array | None = None,
) -> tuple[ArrayPass, Prepared]:
    """Check the arguments, and return a pass over X with the mixture for it.

    Without weights, all weights are 1, so that weighted log-densities are log-densities.
    """
    kind = covariance_type_of(covariance_type)
    shape = np.shape(means)
    if len(shape) != 2 or not shape[0]:
        raise ValueError(f"means has shape {shape}, expected (n_components, n_features)")
    K, D = shape[0], X.shape[1]
    check_features(kind, D)
    prepared = prepare(
        np.ones(K) if weights is None else check_weights(weights, K),
        check_means(means, K, D),
        check_precisions_cholesky(precisions_cholesky, kind, K, D),
        covariance_type,
    )
    data = ArrayPass(X, sample_weight, K, covariance_type, _checked_n_threads(n_threads))
    return data, prepared


def _output(
    out: FloatArray | None, name: str, shape: tuple[int, ...], X: FloatArray
) -> FloatArray:
    """Return the array for a result: `out` if it is given and right, or else a new one."""
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
    """Return the statistics, copied into `out` if that is given."""
    if out is None:
        return statistics
    if not isinstance(out, Statistics):
        raise TypeError(f"out should be Statistics, but got {type(out).__name__}")
    out.check()
    if out.values.shape != statistics.values.shape:
        raise ValueError(
            f"out holds {out.values.size} sums, expected {statistics.values.size}: it belongs to "
            "a mixture of another size"
        )
    out.values[:] = statistics.values
    out.shift, out.covariance_type = statistics.shift, statistics.covariance_type
    return out
