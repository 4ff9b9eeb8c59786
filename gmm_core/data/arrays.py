"""Passes over one array, and over rows that each pass converts."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from gmm_core.core.dispatch import check_status
from gmm_core.core.types import Float64Array, FloatArray, Labels
from gmm_core.data.blocks import Block
from gmm_core.data.foreign import ForeignRows
from gmm_core.data.passes import KernelPass
from gmm_core.data.skipping import HISTORY_BYTES
from gmm_core.data.subset import StartRows, Totals
from gmm_core.model.parameters import Prepared


class ArrayPass(KernelPass):
    """Passes over one array.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        It is C-contiguous and may be read-only.
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
        self.sample_weight = self._none.weight if sample_weight is None else sample_weight

    def resized(self, n_components: int, covariance_type: str) -> ArrayPass:
        """Return a pass for other mixtures; see `KernelPass.resized`."""
        weight = self.sample_weight if len(self.sample_weight) else None
        return ArrayPass(self.X, weight, n_components, covariance_type, self.n_threads)

    @property
    def history_bytes(self) -> int:
        """Half of the memory of the rows, or less if they are a map of a file."""
        half = self.X.nbytes // 2
        return min(half, HISTORY_BYTES) if _is_mapped(self.X) else half

    def slices(self) -> Iterator[slice]:
        """Yield consecutive slices of the rows. A kernel takes a bounded time for each of them."""
        for start in range(0, len(self.X), self.slice_rows):
            yield slice(start, start + self.slice_rows)

    def blocks(self) -> Iterator[Block]:
        """Yield the slices with their rows; see `KernelPass.blocks`."""
        if len(self.X) <= self.slice_rows:
            yield Block(slice(0, len(self.X)), self.X, self.sample_weight)
            return
        for rows in self.slices():
            yield Block(rows, self.X[rows], self.sample_weight[rows])

    def rows_for_start(self, totals: Totals, size: int, seed: int | None) -> StartRows:
        """Return the rows that starts are found from, without a copy if these are all rows."""
        if totals.n_samples <= size:
            return StartRows(self.X, self.sample_weight if len(self.sample_weight) else None)
        return super().rows_for_start(totals, size, seed)

    def evaluate(
        self,
        prepared: Prepared,
        *,
        log_prob: FloatArray | None = None,
        log_likelihood: FloatArray | None = None,
        responsibilities: FloatArray | None = None,
        labels: Labels | None = None,
    ) -> int:
        """Fill the arrays that are given.

        Parameters
        ----------
        prepared : Prepared
        log_prob : ndarray of shape (n_samples, K), optional
            For the weighted log-densities log π_k + log N(x | μ_k, Σ_k).
        log_likelihood : ndarray of shape (n_samples,), optional
            For the log-likelihood of each row, which is −inf if the density of the row is 0 under
            every component.
        responsibilities : ndarray of shape (n_samples, K), optional
            For the responsibilities, which are all 0 for such a row.
        labels : ndarray of shape (n_samples,), int64, optional
            For the component with the largest responsibility.

        Returns
        -------
        int
            The number of rows whose density is 0 under every component. Call the method with
            `labels`, or with `log_likelihood` or `responsibilities`, but not with both, or such a
            row counts twice. With `log_prob` alone the result is 0.
        """
        self.prepare(prepared)
        none = self._none
        count = 0
        for rows in self.slices():
            status = self._kernels.evaluate(
                self.X[rows],
                self.mixture_buffer,
                none.matrix if log_prob is None else log_prob[rows],
                none.vector if log_likelihood is None else log_likelihood[rows],
                none.matrix if responsibilities is None else responsibilities[rows],
                none.labels if labels is None else labels[rows],
                self._scratch, self.tickets, self.code, self.n_components, self.chunk_rows,
                self.n_threads,
            )
            check_status(status)
            count += status
        return count


def _is_mapped(X: Any) -> bool:
    """Return whether an array is in a map of a file."""
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return True
        X = X.base
    return isinstance(X, mmap.mmap)


class ConvertingPass(KernelPass):
    """Passes over rows that each pass converts, a block at a time.

    The results are bit-identical to those for one array of the converted rows.

    Parameters
    ----------
    X : ForeignRows of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,), float64, or None
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
    """

    def __init__(
        self,
        X: ForeignRows,
        sample_weight: Float64Array | None,
        n_components: int,
        covariance_type: str,
        n_threads: int,
    ) -> None:
        super().__init__(*X.shape, X.dtype, n_components, covariance_type, n_threads)
        self._X = X
        self._sample_weight = self._none.weight if sample_weight is None else sample_weight

    def resized(self, n_components: int, covariance_type: str) -> ConvertingPass:
        """Return a pass for other mixtures; see `KernelPass.resized`."""
        weight = self._sample_weight if len(self._sample_weight) else None
        return ConvertingPass(self._X, weight, n_components, covariance_type, self.n_threads)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in blocks of whole chunks; a block may reuse the memory of another."""
        for rows, part in self._X.parts(self.buffer_rows):
            yield Block(rows, part, self._sample_weight[rows])
