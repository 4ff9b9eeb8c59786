"""The rows that a start is found from: all rows, or a subset of them if they are many.

There is one rule for arrays, memory maps, batches and clusters: which rows are drawn follows from
the number of rows (or their weights), the size of the subset and the random numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.data.blocks import Block

_CUMULATED_ROWS = 1 << 16  # rows whose weights are summed at once


class Totals(NamedTuple):
    """The number of samples, and their weights, in all or in the first part of the data.

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

    def and_rows(self, n: int, sample_weight: Float64Array) -> Totals:
        """Return the totals with n further rows.

        Parameters
        ----------
        n : int
        sample_weight : ndarray of shape (n,)
            An empty array stands for weights of 1.
        """
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
        for start in range(0, n, _CUMULATED_ROWS):
            total = float(_cumulative(sample_weight[start : start + _CUMULATED_ROWS], total)[-1])
        present = int(np.count_nonzero(sample_weight))
        largest = max(self.largest, float(sample_weight.max(initial=0)))
        return Totals(self.n_samples + n, self.n_present + present, total, largest, True)

    @property
    def exponent(self) -> int:
        """Exponent e for which weights · 2⁻ᵉ are at most 1.

        The kernels are given these weights, whose digits are the same: they read weights in
        float32 if the data are, which has a narrow range of exponents.
        """
        return int(np.frexp(self.largest)[1])


NO_ROWS = Totals(0, 0, 0.0, 0.0, False)


def _cumulative(sample_weight: Float64Array, before: float) -> Float64Array:
    """Return the cumulative weight; blocks do not affect it, as additions go one by one."""
    out = sample_weight.copy()
    out[0] += before
    return np.cumsum(out, out=out)


def subset_size(init_size: int | None, n_components: int, n_features: int) -> int:
    """Return the largest number of rows that a start is found from.

    By default, the rows take some 24 MB, together with what k-means keeps for each of them; but
    there are at least ten rows for each component and feature.
    """
    if init_size is not None:
        return init_size
    return max(3_000_000 // (n_features + 4), 10 * n_components * n_features)


def draw_positions(size: int, random_state: np.random.RandomState) -> Float64Array:
    """Draw increasing shares of the cumulative weight: one in each of `size` equal parts."""
    return np.minimum((np.arange(size) + random_state.uniform(size=size)) / size, 1 - 2.0**-53)


class Cursor:
    """Go over the rows in order, and tell which of them are at given positions.

    Parameters
    ----------
    positions : ndarray of shape (size,)
        From `draw_positions`.
    totals : Totals
        Of all rows, with the weights as they were given.
    before : Totals
        Of the rows before those that it goes over.
    """

    def __init__(self, positions: Float64Array, totals: Totals, before: Totals = NO_ROWS) -> None:
        exponent = totals.exponent if totals.weighted else 0
        total, passed = np.ldexp([totals.total, before.total], -exponent)
        self._targets = np.minimum(positions * total, np.nextafter(total, 0))
        self._before = float(passed)  # weight of the rows passed
        self._next = int(np.searchsorted(self._targets, passed))  # first position not yet reached

    def advance(self, n_rows: int, sample_weight: Float64Array) -> Indices:
        """Return which of the next rows are drawn, in order.

        A row is drawn where its cumulative weight is the first above a position.

        Parameters
        ----------
        n_rows : int
        sample_weight : ndarray of shape (n_rows,)
            An empty array stands for weights of 1.
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
) -> FloatArray:
    """Draw rows by weight: one from each of `size` equal parts of the cumulative weight.

    Parameters
    ----------
    blocks : iterable of Block
        All rows, in order.
    totals : Totals
        Of the blocks, with the weights as they were given.
    size : int
    random_state : RandomState

    Returns
    -------
    ndarray of shape (size, n_features)
        In the order of the rows; a row of large weight may be there several times.
    """
    cursor = Cursor(draw_positions(size, random_state), totals)
    return np.concatenate([X[cursor.advance(len(X), weight)] for _, X, weight in blocks])


class StartRows(NamedTuple):
    """The rows that starts are found from.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features)
    sample_weight : ndarray of shape (n_rows,), or None
    lacking : float or ndarray of shape (n_features,)
        What has to be added to the variances of X. It is 0, but for missing values, which are
        filled in X and vary too little then.
    """

    X: FloatArray
    sample_weight: Float64Array | None
    lacking: float | Float64Array = 0.0


def rows_for_start(
    blocks: Iterable[Block], totals: Totals, size: int, seed: int | None
) -> StartRows:
    """Collect the rows that starts are found from, and their weights if they have any.

    Parameters
    ----------
    blocks : iterable of Block
        All rows, in order.
    totals : Totals
        Number and weight of all rows, before the weights are scaled.
    size : int
        The size of the subset.
    seed : int or None
        Seed of the subset. None if no more than `size` rows have weight: then these are collected,
        and the rows of weight 0 as well if there are no more than `size` rows in all.
    """
    if seed is not None:
        return StartRows(draw_subset(blocks, totals, size, np.random.RandomState(seed)), None)
    parts: Iterator[Any] = zip(
        *(present_rows(X, weight, totals, size) for _, X, weight in blocks), strict=True
    )
    X, weight = (np.concatenate(part) for part in parts)
    return StartRows(X, weight if len(weight) else None)


def present_rows(
    X: FloatArray, sample_weight: Float64Array, totals: Totals, size: int
) -> tuple[FloatArray, Float64Array]:
    """Copy rows and weights, without the rows of weight 0 if there are more than `size` rows."""
    if totals.n_samples <= size:
        return X.copy(), sample_weight.copy()
    rows = np.flatnonzero(sample_weight)
    return X[rows], sample_weight[rows]
