"""The rows that starts are found from: all rows, or a subset if there are many.

The rows of the subset depend only on the number of all rows (or their weights), the size of the
subset and the random numbers. So arrays, memory maps, batches and clusters give the same subset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.data.blocks import NO_NOISE, Block

_CUMULATED_ROWS = 1 << 16  # rows whose weights are summed at once


class Totals(NamedTuple):
    """The number of samples and the sum of their weights, in all data or in the first rows.

    Attributes
    ----------
    n_samples : int
    n_present : int
        The number of samples whose weight is not 0.
    total : float
        The sum of the weights, added in the order of the rows.
    largest : float
        The largest weight.
    weighted : bool
        Whether the samples have weights. Otherwise each counts with a weight of 1.
    """

    n_samples: int
    n_present: int
    total: float
    largest: float
    weighted: bool

    def and_rows(self, n: int, sample_weight: Float64Array) -> Totals:
        """Return the totals of these rows and of n further rows.

        Parameters
        ----------
        n : int
        sample_weight : ndarray of shape (n,)
            An empty array stands for weights of 1.
        """
        if not n:
            return self
        if not len(sample_weight):
            return Totals(
                self.n_samples + n, self.n_present + n, self.total + n, max(self.largest, 1.0),
                self.weighted,
            )  # fmt: skip
        total = self.total
        for start in range(0, n, _CUMULATED_ROWS):
            total = float(_cumulative(sample_weight[start : start + _CUMULATED_ROWS], total)[-1])
        present = int(np.count_nonzero(sample_weight))
        largest = max(self.largest, float(sample_weight.max(initial=0)))
        return Totals(self.n_samples + n, self.n_present + present, total, largest, True)

    @property
    def exponent(self) -> int:
        """The exponent e with which all weights, multiplied by 2⁻ᵉ, are at most 1.

        The kernels are given these scaled weights. If the data are float32, kernels convert weights
        to float32, whose exponents have a narrow range. Scaling by a power of 2 changes no digits.
        """
        return int(np.frexp(self.largest)[1])


NO_ROWS = Totals(0, 0, 0.0, 0.0, False)


def _cumulative(sample_weight: Float64Array, before: float) -> Float64Array:
    """Return the cumulative weights of rows that follow rows of weight `before`.

    Weights are added one by one, so that blocks do not affect the result.
    """
    out = sample_weight.copy()
    out[0] += before
    return np.cumsum(out, out=out)


def subset_size(init_size: int | None, n_components: int, n_features: int) -> int:
    """Return the largest number of rows that starts are found from.

    By default, the rows and the arrays that k-means needs for them take about 24 MB, and a copy
    of at most half of the rows for a while. There are at least ten rows for each component and
    feature.
    """
    if init_size is not None:
        return init_size
    return max(3_000_000 // (n_features + 4), 10 * n_components * n_features)


def draw_positions(size: int, random_state: np.random.RandomState) -> Float64Array:
    """Draw positions of the subset: increasing numbers, one in each of `size` parts of [0, 1).

    A position is a share of the total weight. The parts have equal lengths.
    """
    return np.minimum((np.arange(size) + random_state.uniform(size=size)) / size, 1 - 2.0**-53)


class Cursor:
    """A cursor that goes over the rows in order, and finds the rows at given positions.

    A row is at a position if its cumulative weight is the first above this share of the total
    weight.

    Parameters
    ----------
    positions : ndarray of shape (size,)
        The result of `draw_positions`.
    totals : Totals
        The totals of all rows, with the weights as they were given.
    before : Totals, default=NO_ROWS
        The totals of the rows before the first that the cursor goes over.
    """

    def __init__(self, positions: Float64Array, totals: Totals, before: Totals = NO_ROWS) -> None:
        exponent = totals.exponent if totals.weighted else 0
        total, passed = np.ldexp([totals.total, before.total], -exponent)
        self._targets = np.minimum(positions * total, np.nextafter(total, 0))
        self._before = float(passed)  # the weight of the rows that have been passed
        # the first position that has not been reached
        self._next = int(np.searchsorted(self._targets, passed))

    def advance(self, n_rows: int, sample_weight: Float64Array) -> Indices:
        """Go over the next rows, and return which of them are drawn.

        Parameters
        ----------
        n_rows : int
        sample_weight : ndarray of shape (n_rows,)
            The scaled weights. An empty array stands for weights of 1.

        Returns
        -------
        ndarray of intp
            The indices of the drawn rows among these rows, in ascending order. An index may occur
            several times.
        """
        parts = [np.empty(0, np.intp)]
        for start in range(0, n_rows, _CUMULATED_ROWS):
            stop = min(start + _CUMULATED_ROWS, n_rows)
            if len(sample_weight):
                cumulative = _cumulative(sample_weight[start:stop], self._before)
            else:
                cumulative = self._before + np.arange(1, stop - start + 1, dtype=np.float64)
            until = int(np.searchsorted(self._targets, cumulative[-1], side="left"))
            targets = self._targets[self._next : until]
            parts.append(start + np.searchsorted(cumulative, targets, side="right"))
            self._before, self._next = float(cumulative[-1]), max(until, self._next)
        return np.concatenate(parts)


def draw_subset(
    blocks: Iterable[Block], totals: Totals, size: int, random_state: np.random.RandomState
) -> tuple[FloatArray, Float64Array]:
    """Draw a subset of the rows, one from each of `size` equal parts of the cumulative weight.

    Parameters
    ----------
    blocks : iterable of Block
        All rows, in order.
    totals : Totals
        The totals of the blocks, with the weights as they were given.
    size : int
        The number of rows to draw.
    random_state : RandomState

    Returns
    -------
    X : ndarray of shape (size, n_features)
        The drawn rows, in order. A row of large weight may be drawn several times.
    noise : ndarray of shape (size, n_features or n_features²)
        Their measurement noise; an empty array if there is none.
    """
    cursor = Cursor(draw_positions(size, random_state), totals)
    drawn = []
    for _, X, weight, noise in blocks:
        rows = cursor.advance(len(X), weight)
        drawn.append((X[rows], noise[rows] if len(noise) else noise))
    X, noise = (np.concatenate(part) for part in zip(*drawn, strict=True))
    return X, noise


class StartRows(NamedTuple):
    """The rows that starts are found from.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features)
    sample_weight : ndarray of shape (n_rows,), or None
    lacking : float or ndarray of shape (n_features,), default=0.0
        What is to be added to the variances of the start: the variance that each feature loses when
        its missing values are replaced by their mean, less the mean variance of its noise.
    noise : ndarray of shape (n_rows, n_features or n_features²)
        The measurement noise of the rows; an empty array if there is none.
    """

    X: FloatArray
    sample_weight: Float64Array | None
    lacking: float | Float64Array = 0.0
    noise: Float64Array = NO_NOISE


def rows_for_start(
    blocks: Iterable[Block], totals: Totals, size: int, seed: int | None
) -> StartRows:
    """Collect the rows that starts are found from, and their weights if they have any.

    Parameters
    ----------
    blocks : iterable of Block
        All rows, in order.
    totals : Totals
        The totals of all rows, with the weights as they were given.
    size : int
        The size of the subset.
    seed : int or None
        The seed with which the subset is drawn. None if no more than `size` rows have a positive
        weight. Then all these rows are collected, and also the rows of weight 0 if there are no
        more than `size` rows in all.

    Returns
    -------
    StartRows
        Copies of the rows. The rows of a drawn subset have no weights.
    """
    if seed is not None:
        X, noise = draw_subset(blocks, totals, size, np.random.RandomState(seed))
        return StartRows(X, None, noise=noise)
    parts: Iterator[Any] = zip(
        *(present_rows(block, totals, size) for block in blocks), strict=True
    )
    X, weight, noise = (np.concatenate(part) for part in parts)
    return StartRows(X, weight if len(weight) else None, noise=noise)


def present_rows(
    block: Block, totals: Totals, size: int
) -> tuple[FloatArray, Float64Array, Float64Array]:
    """Return copies of the rows, the weights and the noise of a block.

    If the whole data have more than `size` rows, rows of weight 0 are left out.
    """
    _, X, weight, noise = block
    if totals.n_samples <= size:
        return X.copy(), weight.copy(), noise.copy()
    rows = np.flatnonzero(weight)
    return X[rows], weight[rows], noise[rows] if len(noise) else noise
