"""Passes over the data, which compute statistics of a mixture.

This module calls the compiled kernels of the E-step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from gmm_core.core.dispatch import check_status
from gmm_core.core.dispatch import expectation as expectation_kernels
from gmm_core.core.errors import NoDensityError
from gmm_core.core.threads import available
from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Labels
from gmm_core.data.blocks import Block, aligned_empty
from gmm_core.data.digest import digest_of
from gmm_core.data.missing import completed
from gmm_core.data.rowwise import Rowwise
from gmm_core.data.skipping import HISTORY_BYTES, Collect, Order, Skipping, may_skip, region_rows
from gmm_core.data.subset import StartRows, Totals, rows_for_start
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.noise import ROWS, coordinates
from gmm_core.model.parameters import Mixture, Prepared
from gmm_core.model.statistics import Statistics


class Pass(Protocol):
    """An object whose methods go over all data once: an array, batches, or chunks on a cluster.

    Attributes
    ----------
    n_samples, n_features : int
    dtype : dtype
        float32 or float64.
    n_threads : int
        Number of threads for the work between passes, such as M-steps.
    order : Order
        The state of the fit that decides in which order the samples are summed.
    is_rowwise : bool
        Whether values are missing, or samples were measured with noise, so that rows have
        covariances of their own.
    """

    n_samples: int
    n_features: int
    dtype: np.dtype[Any]
    n_threads: int
    order: Order

    @property
    def is_rowwise(self) -> bool: ...  # noqa: D102

    def skip(self, mean_weight: float) -> None:
        """Allow the E-steps to skip pairs of samples and components which do not count.

        Parameters
        ----------
        mean_weight : float
            The mean of the sample weights, rounded to a power of 2.
        """

    def expectation(self, mixture: Mixture, shift: Float64Array | None = None) -> Statistics:
        """Run the E-step: return statistics of the responsibilities, with the log-likelihood.

        Parameters
        ----------
        mixture : Mixture
        shift : ndarray of shape (K, D), optional
            The origins of the moments, which are the means by default.

        Returns
        -------
        Statistics

        Raises
        ------
        NoDensityError
            If the density of a sample is 0 under every component. The message names its row.
        """

    def mean_log_likelihood(self, mixture: Mixture) -> float:
        """Return the weighted mean of the samples' log-likelihoods."""

    def rows_for_start(self, totals: Totals, size: int, seed: int | None) -> StartRows:
        """Return the rows that starts are found from, which are a subset or all rows.

        Parameters
        ----------
        totals : Totals
            The totals of all rows, with the weights as they were given.
        size : int
            The size of the subset.
        seed : int or None
            The seed with which a subset is drawn. None if all rows of positive weight are returned;
            see `subset.rows_for_start`.
        """

    def checksum(self) -> str:
        """Return the digest of all samples and weights, which does not depend on the blocks."""

    def scatter(self, origin: Float64Array) -> Statistics:
        """Return the statistics of all samples as one component with a full covariance.

        Parameters
        ----------
        origin : ndarray of shape (1, D)
            The origin of the moments.
        """

    def ranges(self, origin: Float64Array, axes: Float64Array) -> Float64Array:
        """Return the smallest and the largest coordinates of the samples, of shape (2, D).

        Samples of weight 0 do not count. `model.noise.coordinates` has the arguments.
        """


# The nanoseconds that a chunk and a slice should take, by the estimate in `_cost`. A chunk is what
# one thread sums alone. A slice is what a call of a kernel is given; after it, Python sees Ctrl-C.
_CHUNK_TIME = 1e6
_SLICE_TIME = 1e8
MIN_CHUNK_ROWS = 512
_BUFFER_BYTES = 1 << 20  # for each thread: its rows stay in the cache until the kernel reads them


def _cost(n_components: int, n_features: int) -> float:
    """Return an estimate of the nanoseconds that a kernel takes for a row.

    It has a term for the products with triangular matrices and one for the exponentials.
    """
    return n_components * (n_features * (n_features + 8) / 20 + 5)


class _Absent(NamedTuple):
    """Empty arrays, which kernels are given in place of optional arguments."""

    matrix: FloatArray
    vector: FloatArray
    labels: Labels
    shift: Float64Array
    weight: Float64Array


@functools.cache
def _absent(dtype: np.dtype[Any]) -> _Absent:
    matrix: AnyArray = np.empty((0, 0), dtype)
    vector: AnyArray = np.empty(0, dtype)
    return _Absent(matrix, vector, np.empty(0, np.int64), np.empty((0, 0)), np.empty(0))


class KernelPass:
    """A pass that calls the compiled kernels.

    It owns their scratch memory, which is allocated for one mixture size. A subclass provides the
    blocks of rows. All blocks but the last consist of whole chunks. So the boundaries of the chunks
    depend only on the size of the mixture and the dtype, and sums are bit-identical for any blocks.

    Parameters
    ----------
    n_samples, n_features : int
    dtype : dtype
        float32 or float64.
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
    incomplete : bool, default=False
        Whether values are missing, which are NaN.
    noise_width : int, default=0
        The numbers that a row has for its measurement noise: 0, D for variances or D² for a
        covariance.
    """

    def __init__(
        self,
        n_samples: int,
        n_features: int,
        dtype: np.dtype[Any],
        n_components: int,
        covariance_type: str,
        n_threads: int,
        incomplete: bool = False,
        noise_width: int = 0,
    ) -> None:
        self.n_samples = n_samples
        self.n_features = n_features
        self.dtype = dtype
        self.n_components = n_components
        self.covariance_type = covariance_type
        self._kernels = expectation_kernels(dtype)
        self._none = _absent(dtype)
        self.code = COVARIANCE_TYPES[covariance_type].code
        self.incomplete, self.noise_width = incomplete, noise_width
        self.skipping: Skipping | None = None
        self.rowwise: Rowwise | None = None
        self.first_row = 0
        # The component that each row belongs to in an E-step, or -1 where it is unknown.
        self.known_labels: Labels | None = None
        K, D = n_components, n_features
        if incomplete or noise_width:
            self.rowwise = Rowwise(K, D, covariance_type, n_threads, n_samples, noise_width)
            self.chunk_rows = self.unit_rows = self.rowwise.chunk_rows
            self.n_threads = self.rowwise.n_threads
            return
        sizes = self._kernels.sizes(self.code, K, D)
        self.n_statistics, n_mixture, n_scratch, self.tile_rows = sizes
        rows = max(MIN_CHUNK_ROWS, int(_CHUNK_TIME / _cost(K, D)))
        self.chunk_rows = -(-rows // self.tile_rows) * self.tile_rows
        self.n_threads = max(1, min(n_threads, -(-n_samples // self.chunk_rows)))
        self.unit_rows = self.chunk_rows  # blocks consist of whole units
        self.mixture_buffer = aligned_empty((1, n_mixture), dtype)[0]
        self._scratch = aligned_empty((self.n_threads, n_scratch + 2 * K * D), dtype)
        self._partial = np.empty((self.n_threads, self.n_statistics))
        self.tickets = np.empty(self.n_threads + 2, np.intp)

    @property
    def history_bytes(self) -> int:
        """The memory that the pass may take for what it remembers of the passes before."""
        return HISTORY_BYTES

    def skip(self, mean_weight: float) -> None:
        """Skip pairs of samples and components which do not count; see `Pass.skip`."""
        if self.rowwise is not None:    # all pairs are evaluated
            return
        n, K, D = self.n_samples, self.n_components, self.n_features
        kind = COVARIANCE_TYPES[self.covariance_type]
        if 2 * n <= self.history_bytes and may_skip(n, K, D, kind, self.chunk_rows):
            self.unit_rows = region_rows(n, K, self.chunk_rows)
            self.skipping = Skipping(self, mean_weight, self.history_bytes)

    @property
    def is_rowwise(self) -> bool:
        """Whether rows have covariances of their own; see `Pass`."""
        return self.rowwise is not None

    @property
    def order(self) -> Order:
        """The state of the fit that decides in which order the samples are summed."""
        return Order() if self.skipping is None else self.skipping.order

    @order.setter
    def order(self, order: Order) -> None:
        if self.skipping is not None:
            self.skipping.reset(order)

    @property
    def _wave(self) -> int:
        """The number of rows that all threads work on at the same time."""
        return self.unit_rows * self.n_threads

    @property
    def slice_rows(self) -> int:
        """The number of rows that a kernel is given at once, which takes it a bounded time."""
        at_once = min(self.n_threads, available()) if self.n_threads > 1 else 1
        row_time = _cost(self.n_components, self.n_features)
        if self.rowwise is not None:
            row_time = self.rowwise.row_time
        return max(1, int(_SLICE_TIME * at_once / row_time / self._wave)) * self._wave

    @property
    def buffer_rows(self) -> int:
        """The number of rows in a buffer: as many as fit in 1 MB for each thread, within limits.

        The number is rounded down to whole units for all threads, but it is at least one unit per
        thread and at most `slice_rows`.
        """
        wave = self._wave
        fitting = self.n_threads * _BUFFER_BYTES // (self.n_features * self.dtype.itemsize)
        return min(max(wave, fitting // wave * wave), self.slice_rows)

    def blocks(self) -> Iterator[Block]:
        """Yield all rows in order, in blocks for each of which a kernel takes a bounded time.

        The memory of a block may be used again for the next one, so the caller must not keep it.
        """
        raise NotImplementedError

    def prepare(self, prepared: Prepared) -> None:
        """Write the mixture into the buffer that the kernels read."""
        status = self._kernels.prepare(
            prepared.log_constant, prepared.means, prepared.precisions_cholesky.reshape(-1),
            prepared.log_noise, self.mixture_buffer, self.code,
        )  # fmt: skip
        check_status(status)

    def _accumulate(
        self,
        values: Float64Array,
        shift: Float64Array,
        mixture: AnyArray,
        responsibilities: Callable[[slice], FloatArray] | None = None,
        labels: Labels | None = None,
        see: Collect = lambda block: None,
    ) -> None:
        if responsibilities is None and labels is None:
            labels = self.known_labels
        partial = self._partial if len(values) > 2 else np.empty((self.n_threads, 2))
        for block in self.blocks():
            rows, X, sample_weight, _ = block
            see(block)
            status = self._kernels.accumulate(
                X,
                sample_weight,
                self._none.matrix if responsibilities is None else responsibilities(rows),
                self._none.labels if labels is None else labels[rows],
                mixture, shift, values, partial, self._scratch, self.tickets,
                self.code, self.n_components, self.chunk_rows, self.n_threads,
            )
            if status > 0:
                raise NoDensityError(rows.start + status - 1)
            check_status(status)

    def dense(
        self,
        prepared: Prepared,
        shift: Float64Array | None,
        size: int | None = None,
        see: Collect = lambda block: None,
    ) -> Float64Array:
        """Return the values of the statistics, computed from all pairs of samples and components.

        Parameters
        ----------
        prepared : Prepared
        shift : ndarray of shape (K, D) or None
        size : int, default=None
            2 for the log-likelihood and the total weight alone.
        see : callable, default=no operation
            Called with each block.
        """
        self.prepare(prepared)
        values = np.zeros(self.n_statistics if size is None else size)
        origin = self._none.shift if shift is None else shift
        self._accumulate(values, origin, self.mixture_buffer, see=see)
        return values

    def scratch(self, n_reals: int) -> FloatArray:
        """Return scratch memory for all threads, with n_reals for each."""
        return aligned_empty((self.n_threads, n_reals), self.dtype)

    def accumulate(self, prepared: Prepared, shift: Float64Array | None = None) -> Statistics:
        """Run the E-step; see `Pass.expectation`."""
        if self.rowwise is not None:
            values = self.rowwise.accumulate(self.blocks, prepared, shift)
        elif self.skipping is None:
            values = self.dense(prepared, shift)
        else:
            values, _ = self.skipping.accumulate(prepared, shift)
        origin = prepared.means if shift is None else shift
        return Statistics.unchecked(values, origin, self.covariance_type)

    def expectation(self, mixture: Mixture, shift: Float64Array | None = None) -> Statistics:
        """Run the E-step; see `Pass.expectation`."""
        return self.accumulate(mixture.prepared, shift)

    def log_likelihood(self, prepared: Prepared) -> Float64Array:
        """Return the weighted log-likelihood, summed over the samples, and their total weight."""
        if self.rowwise is not None:
            return self.rowwise.accumulate(self.blocks, prepared, None, size=2)
        if self.skipping is None:
            return self.dense(prepared, None, size=2)
        return self.skipping.log_likelihood(prepared)

    def mean_log_likelihood(self, mixture: Mixture) -> float:
        """Return the weighted mean of the samples' log-likelihoods."""
        total, weight = self.log_likelihood(mixture.prepared)
        return float(total / weight)

    def statistics(
        self,
        shift: Float64Array,
        responsibilities: Callable[[slice], FloatArray] | None = None,
        labels: Labels | None = None,
    ) -> Statistics:
        """Return statistics of given responsibilities or labels.

        Parameters
        ----------
        shift : ndarray of shape (K, D)
            The origins of the moments.
        responsibilities : callable, optional
            A function of a slice of the rows that returns their responsibilities.
        labels : ndarray of shape (n_samples,), int64, optional
            The component of each sample. Without labels and responsibilities, all samples belong to
            the first component.
        """
        values = np.zeros(self.n_statistics)
        self._accumulate(values, shift, self._none.vector, responsibilities, labels)
        return Statistics(values, shift, self.covariance_type)

    def rows_for_start(self, totals: Totals, size: int, seed: int | None) -> StartRows:
        """Return the rows that starts are found from; see `Pass.rows_for_start`.

        Missing values are replaced by the means of the features.
        """
        rows = rows_for_start(self.blocks(), totals, size, seed)
        return rows if self.rowwise is None else completed(rows)

    def checksum(self) -> str:
        """Return the digest of all samples and weights; see `Pass.checksum`."""
        return digest_of(self.blocks())

    def resized(self, n_components: int, covariance_type: str) -> KernelPass:
        """Return a pass over the same rows for mixtures of another size and type."""
        raise NotImplementedError

    def scatter(self, origin: Float64Array) -> Statistics:
        """Return the statistics of all samples as one component; see `Pass.scatter`."""
        return self.resized(1, "full").statistics(origin)

    def ranges(self, origin: Float64Array, axes: Float64Array) -> Float64Array:
        """Return the smallest and the largest coordinates; see `Pass.ranges`."""
        found = np.array([np.full(self.n_features, np.inf), np.full(self.n_features, -np.inf)])
        for _, X, weight, _ in self.blocks():
            for start in range(0, len(X), ROWS):
                rows = slice(start, start + ROWS)
                part = X[rows][weight[rows] > 0] if len(weight) else X[rows]
                y = coordinates(part, origin, axes)
                np.minimum(found[0], y.min(axis=0, initial=np.inf), out=found[0])
                np.maximum(found[1], y.max(axis=0, initial=-np.inf), out=found[1])
        return found
