"""The steps of stepwise EM: for each part of the rows an E-step, a running mean and an M-step."""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.dispatch import check_status, expectation, maximization, stepwise
from gmm_core.core.errors import NoDensityError
from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import aligned_empty
from gmm_core.data.patterns import has_missing
from gmm_core.fit.maximization import ill_defined, maximization_step
from gmm_core.fit.stepwise import mixed
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import Mixture, Prepared
from gmm_core.model.statistics import Statistics

_HEADER_BYTES = 64  # before a prepared mixture; see src/embedded.pxd


class Parts(NamedTuple):
    """Rows that are divided into parts, one for each step.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,), or None
        Positive weights of at most 1. None means that all are 1.
    ends : list of int
        The row after the last one of each part.
    sizes : list of float
        The step γ of each part: the share that it gets in the running mean.
    incomplete : bool, default=False
        Whether a value is missing, which is NaN.
    """

    X: FloatArray
    sample_weight: Float64Array | None
    ends: list[int]
    sizes: list[float]
    incomplete: bool = False


class _Sizes(NamedTuple):
    """What the kernel needs to know of a size of mixtures.

    Attributes
    ----------
    chunk_rows, slice_rows : int
        See `KernelPass`.
    mixture, scratch : int
        Number of reals in a prepared mixture with its header, and in the scratch of an E-step.
    matrices : int
        Number of doubles in the scratch of an M-step.
    """

    chunk_rows: int
    slice_rows: int
    mixture: int
    scratch: int
    matrices: int


@functools.lru_cache(maxsize=64)
def _sizes(covariance_type: str, K: int, D: int, dtype: np.dtype[Any]) -> _Sizes:
    """Return the sizes for mixtures of K components and D features."""
    kind = COVARIANCE_TYPES[covariance_type]
    data = ArrayPass(np.empty((1, D), dtype), None, K, covariance_type, 1)
    _, mixture, scratch, _ = expectation(dtype).sizes(kind.code, K, D)
    return _Sizes(
        data.chunk_rows, data.slice_rows, _HEADER_BYTES // dtype.itemsize + mixture, scratch,
        maximization.scratch_size(kind.m_step_code, K, D),
    )  # fmt: skip


def make_steps(
    parts: Parts,
    mixture: Mixture,
    statistics: Statistics,
    reg_covar: Float64Array,
    n_threads: int,
) -> tuple[Mixture, Statistics, float]:
    """Make a step for each part.

    Parameters
    ----------
    parts : Parts
        One part or more, each of one row or more.
    mixture : Mixture
    statistics : Statistics
        The running mean of the statistics of a sample, about the means of the mixture.
    reg_covar : ndarray of shape (D,)
    n_threads : int

    Returns
    -------
    mixture : Mixture
    statistics : Statistics
        The running mean after the last step, about the means of the new mixture.
    log_likelihood : float
        The mean log-likelihood of the last part under the mixture before its step.

    Raises
    ------
    NoDensityError, IllDefinedCovarianceError
        See `step` in `loop.py`.
    """
    K, D = mixture.means.shape
    largest = max(map(operator.sub, parts.ends, [0, *parts.ends]))
    sizes = _sizes(mixture.covariance_type, K, D, parts.X.dtype)
    # The kernel sums up a part as one chunk, on one thread.
    if mixture.kind.steps_in_kernel and largest <= sizes.chunk_rows and not parts.incomplete:
        return _in_kernel(parts, mixture, statistics, reg_covar, sizes)
    log_likelihood, start = 0.0, 0
    for stop, size in zip(parts.ends, parts.sizes, strict=True):
        X = parts.X[start:stop]
        # Weights of 1/2 stand for none. Without weights, the sums of 'tied' would be rounded
        # otherwise, and a model that was saved could not continue with the same bits.
        weight = np.full(len(X), 0.5)
        if parts.sample_weight is not None:
            weight = parts.sample_weight[start:stop]
        incomplete = parts.incomplete and has_missing(X)
        data = ArrayPass(X, weight, K, mixture.covariance_type, n_threads, incomplete)
        try:
            batch = data.expectation(mixture)
        except NoDensityError as error:
            raise NoDensityError(start + error.row, error.incomplete) from error
        statistics = mixed(statistics, batch, size)
        mixture, _ = maximization_step(
            statistics, reg_covar, data.n_threads, before=mixture.covariances
        )
        statistics = statistics.about_means(mixture.means)
        log_likelihood, start = batch.mean_log_likelihood, stop
    return mixture, statistics, log_likelihood


def _in_kernel(
    parts: Parts,
    mixture: Mixture,
    statistics: Statistics,
    reg_covar: Float64Array,
    sizes: _Sizes,
) -> tuple[Mixture, Statistics, float]:
    """Make the steps in a kernel. The results are bit-identical to those of the loop in Python."""
    kind, (K, D) = mixture.kind, mixture.means.shape
    values = statistics.values.copy()
    batch, weights = np.empty_like(values), np.empty(K)
    means, covariances = mixture.means.copy(), mixture.covariances.copy()
    factor, log_constant = (
        mixture.prepared.precisions_cholesky.copy(), mixture.prepared.log_constant.copy()
    )  # fmt: skip
    dtype = parts.X.dtype
    kernels, functions = stepwise(dtype)
    prepared = aligned_empty((1, sizes.mixture), dtype)[0]
    scratch = aligned_empty((1, sizes.scratch), dtype)[0]
    shift, before = np.empty((K, D)), np.empty(covariances.size)
    empty, matrices = np.empty(K, np.int8), np.empty(sizes.matrices)
    at_once = max(1, sizes.slice_rows * len(parts.ends) // len(parts.X))
    given = np.empty(0) if parts.sample_weight is None else parts.sample_weight
    for first in range(0, len(parts.ends), at_once):
        start = parts.ends[first - 1] if first else 0
        stops = parts.ends[first : first + at_once]
        status = kernels.make_steps(
            parts.X[start : stops[-1]], given[start : stops[-1]],
            np.array(stops, np.intp) - start, np.array(parts.sizes[first : first + at_once]),
            reg_covar, values, batch, weights, means, covariances.reshape(-1), factor.reshape(-1),
            log_constant, shift, before, empty, matrices, prepared, scratch,
            kind.code, kind.m_step_code, *functions,
        )  # fmt: skip
        if status > 0:
            raise NoDensityError(start + status - 1)
        if status < -1:
            raise ill_defined(kind, -2 - status)
        check_status(status)
    made = Mixture(
        weights, means, covariances, Prepared(weights, means, factor, log_constant, kind.name)
    )
    mean_log_likelihood = float(batch[0] / batch[1])
    return made, Statistics.unchecked(values, means, kind.name), mean_log_likelihood
