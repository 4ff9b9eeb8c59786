"""The samples that a start is found from: all of them, or a subsample if they are many.

The rule is one for arrays, maps, batches and clusters: which rows are drawn follows from the number
of rows (or their weights), the size of the subsample and the random numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gmm_core.passes import Block, FloatArray

Float64Array = npt.NDArray[np.float64]

_BLOCK = 1 << 16


class Extent(NamedTuple):
    """How much data there is.

    Attributes
    ----------
    n_samples : int
    n_present : int
        Samples whose weight is not 0.
    total : float
        Sum of the weights, in the order of the rows.
    largest : float
        The largest weight.
    weighted : bool
        Whether there are weights at all.
    """

    n_samples: int
    n_present: int
    total: float
    largest: float
    weighted: bool

    def and_rows(self, n: int, sample_weight: Float64Array) -> Extent:
        """With n more rows; no weights are weights of 1."""
        if not n:
            return self
        if not len(sample_weight):
            return self._replace(
                n_samples=self.n_samples + n,
                n_present=self.n_present + n,
                total=self.total + n,
                largest=max(self.largest, 1.0),
            )
        total = self.total
        for start in range(0, n, _BLOCK):
            total = float(_cumulative(sample_weight[start : start + _BLOCK], total)[-1])
        present = int(np.count_nonzero(sample_weight))
        largest = max(self.largest, float(sample_weight.max(initial=0)))
        return Extent(self.n_samples + n, self.n_present + present, total, largest, True)

    @property
    def exponent(self) -> int:
        """The kernels get weights · 2**-exponent: at most 1, and no digit is changed.

        float32, in which they read them, has a narrow range of exponents.
        """
        return int(np.frexp(self.largest)[1])


NOTHING = Extent(0, 0, 0.0, 0.0, False)


def _cumulative(sample_weight: Float64Array, before: float) -> Float64Array:
    """Cumulative weight, one addition after the other whatever the blocks are."""
    out = sample_weight.copy()
    out[0] += before
    return np.cumsum(out, out=out)


def sample_size(init_size: int | None, n_components: int, n_features: int) -> int:
    """Most rows that a start is found from.

    By default what takes some 24 MB with what k-means keeps for each row, but at least ten samples
    for each component and feature.
    """
    if init_size is not None:
        return init_size
    return max(3_000_000 // (n_features + 4), 10 * n_components * n_features)


def draw_positions(size: int, random_state: np.random.RandomState) -> Float64Array:
    """Shares of the cumulative weight, increasing: one in each of `size` equal parts."""
    return np.minimum((np.arange(size) + random_state.uniform(size=size)) / size, 1 - 2.0**-53)


class Cursor:
    """Goes over the rows in order, and tells which of them are at given positions.

    Parameters
    ----------
    positions : ndarray of shape (size,)
        From `draw_positions`.
    extent : Extent
        Of all rows, with the weights as they were given.
    before : Extent
        Of the rows before those that it goes over.
    """

    def __init__(self, positions: Float64Array, extent: Extent, before: Extent = NOTHING) -> None:
        exponent = extent.exponent if extent.weighted else 0
        total, passed = np.ldexp([extent.total, before.total], -exponent)
        self._targets = np.minimum(positions * total, np.nextafter(total, 0))
        self._before = float(passed)  # weight of the rows passed
        self._next = int(np.searchsorted(self._targets, passed))  # first position not yet reached

    def advance(self, n_rows: int, sample_weight: Float64Array) -> npt.NDArray[np.intp]:
        """Pass the next rows (`sample_weight` may be empty); which of them are drawn, in order.

        A row is drawn where its cumulative weight is the first above a position.
        """
        parts = [np.empty(0, np.intp)]
        for start in range(0, n_rows, _BLOCK):
            stop = min(start + _BLOCK, n_rows)
            if len(sample_weight):
                cumulative = _cumulative(sample_weight[start:stop], self._before)
            else:
                cumulative = self._before + np.arange(1, stop - start + 1, dtype=np.float64)
            until = int(np.searchsorted(self._targets, cumulative[-1], side="left"))
            targets = self._targets[self._next : until]
            parts.append(start + np.searchsorted(cumulative, targets, side="right"))
            self._before, self._next = float(cumulative[-1]), max(until, self._next)
        return np.concatenate(parts)


def subsample(
    blocks: Iterable[Block], extent: Extent, size: int, random_state: np.random.RandomState
) -> FloatArray:
    """Draw rows by weight: one from each of `size` equal parts of the cumulative weight.

    Parameters
    ----------
    blocks : iterable of Block
        All rows, in order.
    extent : Extent
        Of the blocks, with the weights as they were given.
    size : int
    random_state : RandomState

    Returns
    -------
    ndarray of shape (size, n_features)
        In the order of the rows; a row of large weight may be there several times.
    """
    cursor = Cursor(draw_positions(size, random_state), extent)
    return np.concatenate([X[cursor.advance(len(X), weight)] for _, X, weight in blocks])


def rows_for_start(
    blocks: Iterable[Block], extent: Extent, size: int, seed: int | None
) -> tuple[FloatArray, Float64Array | None]:
    """Collect the rows that starts are found from, and their weights if they have any.

    Parameters
    ----------
    blocks : iterable of Block
        All rows, in order.
    extent : Extent
        Number and weight of all rows, before the weights are scaled.
    size : int
        The size of the subsample.
    seed : int or None
        Seed of the subsample. None if no more than `size` rows have weight: then these are
        collected, and the rows of weight 0 as well if there are no more than `size` rows in all.
    """
    if seed is not None:
        return subsample(blocks, extent, size, np.random.RandomState(seed)), None
    parts: Iterator[Any] = zip(
        *(present_rows(X, weight, extent, size) for _, X, weight in blocks), strict=True
    )
    X, weight = (np.concatenate(part) for part in parts)
    return X, weight if len(weight) else None


def present_rows(
    X: FloatArray, sample_weight: Float64Array, extent: Extent, size: int
) -> tuple[FloatArray, Float64Array]:
    """Copy rows and weights; of more than `size` rows only those that have weight."""
    if extent.n_samples <= size:
        return X.copy(), sample_weight.copy()
    rows = np.flatnonzero(sample_weight)
    return X[rows], sample_weight[rows]
