"""Passes over one array, and over rows that each pass converts."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from gmm_core.core.dispatch import check_status
from gmm_core.core.types import Float64Array, FloatArray, Labels
from gmm_core.data.blocks import NO_NOISE, Block
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
    incomplete : bool, default=False
        Whether NaN is a missing value.
    noise : ndarray of shape (n_samples, n_features or n_features²), float64, optional
        The measurement noise of the rows; see `Block`.
    """

    def __init__(
        self,
        X: FloatArray,
        sample_weight: Float64Array | None,
        n_components: int,
        covariance_type: str,
        n_threads: int,
        incomplete: bool = False,
        noise: Float64Array = NO_NOISE,
    ) -> None:
        n_samples, n_features = X.shape
        super().__init__(
            n_samples, n_features, X.dtype, n_components, covariance_type, n_threads, incomplete,
            noise.shape[1],
        )  # fmt: skip
        self.X, self.noise = X, noise
        self.sample_weight = self._none.weight if sample_weight is None else sample_weight

    def resized(self, n_components: int, covariance_type: str) -> ArrayPass:
        """Return a pass for other mixtures; see `KernelPass.resized`."""
        weight = self.sample_weight if len(self.sample_weight) else None
        return ArrayPass(
            self.X, weight, n_components, covariance_type, self.n_threads, self.incomplete,
            self.noise,
        )  # fmt: skip

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
            yield Block(slice(0, len(self.X)), self.X, self.sample_weight, self.noise)
            return
        for rows in self.slices():
            yield Block(rows, self.X[rows], self.sample_weight[rows], self.noise[rows])

    def rows_for_start(self, totals: Totals, size: int, seed: int | None) -> StartRows:
        """Return the rows that starts are found from, without a copy if these are all rows."""
        if totals.n_samples <= size and self.rowwise is None:
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
        count = 0
        if self.rowwise is not None:
            self.rowwise.prepare(prepared)
            for block in self.blocks():
                rows = block.rows
                count += self.rowwise.evaluate(
                    block,
                    log_likelihood=None if log_likelihood is None else log_likelihood[rows],
                    responsibilities=None if responsibilities is None else responsibilities[rows],
                    labels=None if labels is None else labels[rows],
                )
            return count
        self.prepare(prepared)
        none = self._none
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


    def posterior(
        self, prepared: Prepared, mean: FloatArray, covariance: FloatArray | None = None
    ) -> int:
        """Fill `mean` with the rows as they are expected with all values and without noise.

        Parameters
        ----------
        prepared : Prepared
        mean : ndarray of shape (n_samples, n_features)
        covariance : ndarray of shape (n_samples, n_features, n_features), optional
            For the covariances of these rows, given what is known of them.

        Returns
        -------
        int
            The number of rows whose density is 0 under every component.
        """
        assert self.rowwise is not None
        self.rowwise.prepare(prepared)
        return sum(
            self.rowwise.evaluate(
                block,
                mean=mean[block.rows],
                covariance=None if covariance is None else covariance[block.rows],
            )
            for block in self.blocks()
        )


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
    incomplete : bool, default=False
        Whether NaN is a missing value.
    """

    def __init__(
        self,
        X: ForeignRows,
        sample_weight: Float64Array | None,
        n_components: int,
        covariance_type: str,
        n_threads: int,
        incomplete: bool = False,
    ) -> None:
        super().__init__(
            *X.shape, X.dtype, n_components, covariance_type, n_threads, incomplete
        )
        self._X = X
        self._sample_weight = self._none.weight if sample_weight is None else sample_weight

    def resized(self, n_components: int, covariance_type: str) -> ConvertingPass:
        """Return a pass for other mixtures; see `KernelPass.resized`."""
        weight = self._sample_weight if len(self._sample_weight) else None
        return ConvertingPass(
            self._X, weight, n_components, covariance_type, self.n_threads, self.incomplete
        )

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in blocks of whole chunks; a block may reuse the memory of another."""
        for rows, part in self._X.parts(self.buffer_rows):
            yield Block(rows, part, self._sample_weight[rows])
