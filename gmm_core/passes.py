"""Passes over the data: parameters in, statistics or scores out. Here Python calls the E-step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core import _dispatch
from gmm_core._digest import digest_of
from gmm_core._dispatch import check_status
from gmm_core._threads import available
from gmm_core.covariance import COVARIANCE_TYPES
from gmm_core.parameters import Parameters
from gmm_core.statistics import NoDensityError, Statistics
from gmm_core.subsample import Extent, rows_for_start

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Float64Array = npt.NDArray[np.float64]

# Nanoseconds that a chunk of rows (what one thread sums up alone) and a slice (one call of a
# kernel, after which Python sees Ctrl-C) are to take, by the estimate in `_cost`.
_CHUNK_TIME = 1e6
_SLICE_TIME = 1e8
MIN_CHUNK_ROWS = 512
_BUFFER_BYTES = 1 << 23


def _cost(n_components: int, n_features: int) -> float:
    """Nanoseconds that a row takes, roughly: the triangular products, and the exponential."""
    return n_components * (n_features * (n_features + 8) / 20 + 5)


def aligned_empty(shape: tuple[int, int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Rows that begin on a cache line, which vectors then never straddle."""
    itemsize = np.dtype(dtype).itemsize
    pitch = -(-shape[1] * itemsize // 64) * 64 // itemsize
    buffer = np.empty(shape[0] * pitch + 64 // itemsize, dtype)
    offset = -buffer.ctypes.data % 64 // itemsize
    rows: npt.NDArray[Any] = buffer[offset : offset + shape[0] * pitch].reshape(shape[0], pitch)
    return rows


@functools.cache
def _absent(dtype: np.dtype[Any]) -> dict[str, npt.NDArray[Any]]:
    """What the kernels get for an array that is not there."""
    return {
        "matrix": np.empty((0, 0), dtype),
        "vector": np.empty(0, dtype),
        "labels": np.empty(0, np.int64),
        "shift": np.empty((0, 0)),
        "weight": np.empty(0),
    }


class Block(NamedTuple):
    """Consecutive rows; `sample_weight` may be empty."""

    rows: slice
    X: FloatArray
    sample_weight: Float64Array


class KernelPass:
    """Passes over rows that come in blocks, for one size of mixture, with the memory they need.

    A subclass says where the blocks come from. Chunk boundaries, and so the bits of all sums,
    follow from the size of the mixture and the dtype alone: blocks hold whole chunks, but for the
    last.

    Parameters
    ----------
    n_samples, n_features : int
    dtype : dtype
        float32 or float64.
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
    """

    def __init__(
        self,
        n_samples: int,
        n_features: int,
        dtype: np.dtype[Any],
        n_components: int,
        covariance_type: str,
        n_threads: int,
    ) -> None:
        self.n_samples = n_samples
        self.n_features = n_features
        self.dtype = dtype
        self.n_components = n_components
        self.covariance_type = covariance_type
        self._kernels = _dispatch.expectation(dtype)
        self._code = COVARIANCE_TYPES[covariance_type].code
        K, D = n_components, n_features
        self._n_statistics, n_mixture, n_scratch, tile_rows = self._kernels.sizes(self._code, K, D)
        rows = max(MIN_CHUNK_ROWS, int(_CHUNK_TIME / _cost(K, D)))
        self.chunk_rows = -(-rows // tile_rows) * tile_rows
        self.n_threads = max(1, min(n_threads, -(-n_samples // self.chunk_rows)))
        wave = self.chunk_rows * self.n_threads
        at_once = min(self.n_threads, available()) if self.n_threads > 1 else 1
        self.slice_rows = max(1, int(_SLICE_TIME * at_once / _cost(K, D) / wave)) * wave
        self._mixture = aligned_empty((1, n_mixture), dtype)[0]
        self._scratch = aligned_empty((self.n_threads, n_scratch + 2 * K * D), dtype)
        self._partial = np.empty((self.n_threads, self._n_statistics))
        self._tickets = np.empty(self.n_threads + 2, np.intp)
        self._none = _absent(dtype)

    @property
    def buffer_rows(self) -> int:
        """Rows, in whole chunks, of a buffer of 8 MB, or of one chunk for each thread if larger."""
        wave = self.chunk_rows * self.n_threads
        fitting = _BUFFER_BYTES // (self.n_features * self.dtype.itemsize)
        return min(max(wave, fitting // wave * wave), self.slice_rows)

    def blocks(self) -> Iterator[Block]:
        """All rows in order, in blocks of bounded time."""
        raise NotImplementedError

    def _prepare(self, parameters: Parameters) -> None:
        status = self._kernels.prepare(
            parameters.log_constant, parameters.means, parameters.precisions_cholesky.reshape(-1),
            self._mixture, self._code,
        )
        check_status(status)

    def _accumulate(
        self,
        values: Float64Array,
        shift: Float64Array,
        mixture: npt.NDArray[Any],
        responsibilities: Callable[[slice], FloatArray] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
    ) -> None:
        partial = self._partial if len(values) > 2 else np.empty((self.n_threads, 2))
        for rows, X, sample_weight in self.blocks():
            status = self._kernels.accumulate(
                X,
                sample_weight,
                self._none["matrix"] if responsibilities is None else responsibilities(rows),
                self._none["labels"] if labels is None else labels[rows],
                mixture, shift, values, partial, self._scratch, self._tickets,
                self._code, self.n_components, self.chunk_rows, self.n_threads,
            )
            if status > 0:
                raise NoDensityError(rows.start + status - 1)
            check_status(status)

    def expectation(self, parameters: Parameters, shift: Float64Array | None = None) -> Statistics:
        """E-step: statistics of the responsibilities under the parameters, and log-likelihood.

        Parameters
        ----------
        parameters : Parameters
        shift : ndarray of shape (K, D) or None
            Origin of the moments; None: the means.

        Raises
        ------
        ValueError
            If a row has no density under any component; the message names it.
        """
        self._prepare(parameters)
        values = np.zeros(self._n_statistics)
        self._accumulate(values, self._none["shift"] if shift is None else shift, self._mixture)
        origin = parameters.means if shift is None else shift
        return Statistics(values, origin, self.covariance_type)

    def log_likelihood(self, parameters: Parameters) -> Float64Array:
        """Weighted log-likelihood, summed over the samples, and their total weight."""
        self._prepare(parameters)
        values = np.zeros(2)
        self._accumulate(values, self._none["shift"], self._mixture)
        return values

    def mean_log_likelihood(self, parameters: Parameters) -> float:
        """Weighted mean of the samples' log-likelihoods."""
        total, weight = self.log_likelihood(parameters)
        return float(total / weight)

    def statistics(
        self,
        shift: Float64Array,
        responsibilities: Callable[[slice], FloatArray] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
    ) -> Statistics:
        """Statistics of given responsibilities (asked for by slices of rows) or labels.

        With neither, all samples belong to the first component.
        """
        values = np.zeros(self._n_statistics)
        self._accumulate(values, shift, self._none["vector"], responsibilities, labels)
        return Statistics(values, shift, self.covariance_type)

    def sample(
        self, extent: Extent, size: int, seed: int | None
    ) -> tuple[ArrayPass, float | Float64Array]:
        """The samples that starts are found from: `size` of them; without a seed, all.

        And what is to be added to their variances: nothing.
        """
        X, weight = rows_for_start(self.blocks(), extent, size, seed)
        kind = self.covariance_type
        return ArrayPass(X, weight, self.n_components, kind, self.n_threads), 0.0

    def checksum(self) -> str:
        """Return the digest of all samples and weights, however they are divided into blocks."""
        return digest_of(self.blocks())


class ArrayPass(KernelPass):
    """Passes over one array.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        C-contiguous; may be read-only.
    sample_weight : ndarray of shape (n_samples,), float64, or None
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
    """

    def __init__(
        self,
        X: FloatArray,
        sample_weight: Float64Array | None,
        n_components: int,
        covariance_type: str,
        n_threads: int,
    ) -> None:
        n_samples, n_features = X.shape
        super().__init__(
            n_samples, n_features, X.dtype, n_components, covariance_type, n_threads
        )
        self.X = X
        self.sample_weight = self._none["weight"] if sample_weight is None else sample_weight

    def slices(self) -> Iterator[slice]:
        """Consecutive slices of the rows, of bounded time."""
        for start in range(0, len(self.X), self.slice_rows):
            yield slice(start, start + self.slice_rows)

    def blocks(self) -> Iterator[Block]:
        """The slices with their rows."""
        for rows in self.slices():
            yield Block(rows, self.X[rows], self.sample_weight[rows])

    def sample(
        self, extent: Extent, size: int, seed: int | None
    ) -> tuple[ArrayPass, float | Float64Array]:
        """As that of `KernelPass`; all samples are this pass itself."""
        return (self, 0.0) if extent.n_samples <= size else super().sample(extent, size, seed)

    def evaluate(
        self,
        parameters: Parameters,
        *,
        log_prob: npt.NDArray[Any] | None = None,
        log_likelihood: npt.NDArray[Any] | None = None,
        responsibilities: npt.NDArray[Any] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
    ) -> int:
        """Fill the arrays that are given; the number of rows without density in any component."""
        self._prepare(parameters)
        none = self._none
        count = 0
        for rows in self.slices():
            status = self._kernels.evaluate(
                self.X[rows],
                self._mixture,
                none["matrix"] if log_prob is None else log_prob[rows],
                none["vector"] if log_likelihood is None else log_likelihood[rows],
                none["matrix"] if responsibilities is None else responsibilities[rows],
                none["labels"] if labels is None else labels[rows],
                self._scratch, self._tickets, self._code, self.n_components, self.chunk_rows,
                self.n_threads,
            )
            check_status(status)
            count += status
        return count
