"""The E-step over rows that have covariances of their own.

Rows with missing values, and rows that were measured with noise of known covariances, see another
covariance matrix than other rows do: a block of Σ_k, or Σ_k + S_n. The kernels are in
src/rowwise.pxd; they compute in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum

import numpy as np

from gmm_core.core.dispatch import check_status, rowwise
from gmm_core.core.errors import NoDensityError
from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Labels
from gmm_core.data.blocks import Block, aligned_empty
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import Prepared
from gmm_core.model.statistics import n_sums, views

_CHUNK_TIME = 1e6   # nanoseconds that a chunk should take
_ROWS = 64          # a chunk is a multiple of this number of rows
_MIN_ROWS, _MAX_ROWS = 512, 1 << 15
_NO_MATRIX = np.empty((0, 0))
_NO_LABELS = np.empty(0, np.int64)


class Observation(IntEnum):
    """What is known of the rows; see `Observation` in src/rowpanel.pxd."""

    MISSING = 0
    NOISE = 1
    SEPARATE = 2


class Rowwise:
    """The E-step over rows that have covariances of their own, for one mixture size.

    Parameters
    ----------
    n_components, n_features : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
    n_samples : int
        The number of all rows, which limits the number of threads.
    noise_width : int
        The numbers that a row has for its noise: 0, D for variances or D² for a covariance.

    Attributes
    ----------
    row_time : float
        An estimate of the nanoseconds that a row takes.
    chunk_rows : int
        The number of rows that one thread sums alone.
    n_threads : int
    """

    def __init__(
        self,
        n_components: int,
        n_features: int,
        covariance_type: str,
        n_threads: int,
        n_samples: int,
        noise_width: int,
    ) -> None:
        K, D = n_components, n_features
        self._size = K, D
        self._kind = COVARIANCE_TYPES[covariance_type]
        if not self._kind.has_orientation and noise_width in (0, D):
            self._observation, pair_time = Observation.SEPARATE, 5 + D / 2
        elif noise_width:
            self._observation, pair_time = Observation.NOISE, 5 + 2 * D + D**3 / 25
        else:
            self._observation, pair_time = Observation.MISSING, 5 + D**2 / 4
        self.row_time = K * pair_time
        rows = min(max(_MIN_ROWS, int(_CHUNK_TIME / self.row_time)), _MAX_ROWS)
        self.chunk_rows = -(-rows // _ROWS) * _ROWS
        self.n_threads = n_threads = max(1, min(n_threads, -(-n_samples // self.chunk_rows)))
        sizes = rowwise.rowwise_sizes(self._observation, self.chunk_rows, K, D)
        self.n_statistics, n_mixture, n_scratch = sizes
        self._mixture = aligned_empty((1, n_mixture), np.float64)[0]
        self._scratch = aligned_empty((n_threads, n_scratch), np.float64)
        self._matrices = np.empty(2 * D * D)
        self._tickets = np.empty(n_threads + 2, np.intp)

    def prepare(self, prepared: Prepared) -> None:
        """Write the mixture into the buffer that the kernels read."""
        K, D = self._size
        factors = self._kind.factor_of_each(prepared.precisions_cholesky, K, D)
        if self._observation != Observation.SEPARATE and factors.ndim == 2:
            factors = factors[:, :, None] * np.eye(D)
        status = rowwise.rowwise_prepare(
            prepared.log_constant, prepared.means, np.ascontiguousarray(factors).reshape(-1),
            self._mixture, self._matrices, prepared.log_total_weight, self._observation,
        )  # fmt: skip
        check_status(status)

    def accumulate(
        self,
        blocks: Callable[[], Iterable[Block]],
        prepared: Prepared,
        shift: Float64Array | None,
        size: int | None = None,
    ) -> Float64Array:
        """Return the values of the statistics; see `KernelPass.dense`.

        Raises
        ------
        NoDensityError
            If the density of a row is 0 under every component. The message names the row.
        """
        K, D = self._size
        self.prepare(prepared)
        values = np.zeros(self.n_statistics if size is None else size)
        partial = np.empty((self.n_threads, len(values)))
        for block in blocks():
            status = rowwise.rowwise_accumulate(
                as_double(block.X), block.sample_weight, block.noise,
                self._mixture, values, partial, self._scratch, self._tickets, self._observation,
                K, self.chunk_rows, self.n_threads,
            )  # fmt: skip
            if status > 0:
                row = block.rows.start + status - 1
                raise NoDensityError(row, incomplete=bool(np.isnan(block.X[status - 1]).any()))
            check_status(status)
        if size is not None:
            return values
        matrix = self._matrices[: D * D]
        check_status(
            rowwise.rowwise_finish(values, self._mixture, matrix, self._observation, K, D)
        )
        return self._packed(values, prepared, shift)

    def _packed(
        self, values: Float64Array, prepared: Prepared, shift: Float64Array | None
    ) -> Float64Array:
        """Return the statistics in the form of the covariance type, about the shift."""
        K, D = self._size
        sums = views(values, K, D)
        second = sums.moments.reshape(K, -1)
        if shift is not None:
            # x − c = (x − μ) + (μ − c) for the origin c
            move = prepared.means - shift
            rows, columns = np.tril_indices(D)
            if self._observation == Observation.SEPARATE:
                rows = columns = np.arange(D)
            with np.errstate(over="ignore", invalid="ignore"):  # as in the kernels
                second += sums.first[:, rows] * move[:, columns]
                second += move[:, rows] * sums.first[:, columns]
                second += sums.counts[:, None] * (move[:, rows] * move[:, columns])
                sums.first[:] += sums.counts[:, None] * move
        packed = np.empty(n_sums(self._kind, K, D))
        packed[: 2 + K + K * D] = values[: 2 + K + K * D]
        packed[2 + K + K * D :] = self._kind.moments_of_each(second, D)
        return packed

    def evaluate(
        self,
        block: Block,
        *,
        log_likelihood: FloatArray | None = None,
        responsibilities: FloatArray | None = None,
        labels: Labels | None = None,
        mean: FloatArray | None = None,
        covariance: FloatArray | None = None,
    ) -> int:
        """Fill the arrays that are given for the rows of a block, after `prepare`.

        Parameters
        ----------
        block : Block
        log_likelihood, responsibilities, labels : ndarray, optional
            See `ArrayPass.evaluate`.
        mean : ndarray of shape (n_rows, D), optional
            For the posterior means of the rows with all their values and without noise.
        covariance : ndarray of shape (n_rows, D, D), optional
            For their posterior covariances. It is given with `mean`, for rows with noise.

        Returns
        -------
        int
            The number of rows whose density is 0 under every component.
        """
        K, D = self._size
        n = len(block.X)
        outputs = log_likelihood, responsibilities, mean, covariance
        made = [_output(array) for array in outputs]
        flat = made[3].reshape(n, D * D) if covariance is not None else made[3]
        status = rowwise.rowwise_evaluate(
            as_double(block.X), np.ascontiguousarray(block.noise), self._mixture,
            made[0] if log_likelihood is not None else np.empty(0), made[1],
            _NO_LABELS if labels is None else labels, made[2], flat, self._scratch, self._tickets,
            self._observation, K, self.chunk_rows, self.n_threads,
        )  # fmt: skip
        check_status(status)
        with np.errstate(over="ignore"):    # of float32
            for array, values in zip(outputs, made, strict=True):
                if array is not None and array is not values:
                    array[...] = values
        return status


def as_double(X: FloatArray) -> Float64Array:
    """Return rows in float64."""
    rows: Float64Array = X.astype(np.float64, copy=False)
    return rows


def _output(array: FloatArray | None) -> AnyArray:
    """Return an array that the kernels can write to, in place of an output."""
    if array is None:
        return _NO_MATRIX
    if array.dtype == np.float64 and array.flags.c_contiguous:
        return array
    return np.empty(array.shape)
