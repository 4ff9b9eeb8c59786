"""k-means for the start of EM: greedy k-means++ seeding and Lloyd's iteration, with sample weights.

All draws go by inverse CDF on the cumulative weight in row order: a row of weight 2 is drawn
exactly as two copies of the row would be.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core import _dispatch
from gmm_core._dispatch import check_status
from gmm_core.passes import ArrayPass, aligned_empty
from gmm_core.statistics import NumericalError

Float64Array = npt.NDArray[np.float64]
_MAX_ITER = 300


def draw_rows(
    sample_weight: Float64Array | None, n_samples: int, uniforms: Float64Array
) -> npt.NDArray[np.intp]:
    """Rows drawn with probabilities in proportion to weight, one for each uniform in [0, 1)."""
    if sample_weight is None:
        return np.minimum((uniforms * n_samples).astype(np.intp), n_samples - 1)
    return _inverse_cdf(np.cumsum(sample_weight), uniforms)


def _inverse_cdf(cumulative: Float64Array, uniforms: Float64Array) -> npt.NDArray[np.intp]:
    rows = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    # rounding may lead beyond the last row that has weight
    last = np.searchsorted(cumulative, cumulative[-1], side="left")
    bounded: npt.NDArray[np.intp] = np.minimum(rows, last)
    return bounded


class _Seeding:
    """Squared distances to the nearest center chosen so far, and draws in proportion to them."""

    def __init__(self, data: ArrayPass, n_trials: int) -> None:
        self.data = data
        X = data.X
        self.kernels = _dispatch.kmeans(X.dtype)
        self.nearest = np.full(len(X), np.inf, X.dtype)
        self.chunk_sums = np.empty(-(-len(X) // data.chunk_rows))
        # a tile of fewer candidates may hold more rows, and so be larger
        sizes = _dispatch.expectation(X.dtype).sizes
        n_scratch = max(sizes(3, n, X.shape[1])[2] for n in (1, n_trials))
        self.scratch = aligned_empty((data.n_threads, n_scratch), X.dtype)
        self.tickets = np.empty(data.n_threads + 2, np.intp)

    def potentials(self, rows: npt.NDArray[np.intp], chunk_sums: Float64Array) -> Float64Array:
        """What the weighted sum of squared distances would be with each of the rows as a center.

        With `chunk_sums` (then for one row), the row becomes a center.
        """
        data, X = self.data, self.data.X
        L, D = len(rows), X.shape[1]
        candidates = np.zeros((2 * L, D), X.dtype)
        candidates[:L] = X[rows]
        out, partial = np.zeros(L), np.empty((data.n_threads, L))
        for part in data.slices():
            first = part.start // data.chunk_rows
            check_status(
                self.kernels.seeding_potentials(
                    X[part], data.sample_weight[part], candidates, self.nearest[part],
                    chunk_sums[first:], out, partial, self.scratch, self.tickets,
                    data.chunk_rows, data.n_threads,
                )
            )
        return out

    def add_center(self, row: np.intp) -> float:
        return float(self.potentials(np.array([row]), self.chunk_sums)[0])

    def draw(self, uniforms: Float64Array) -> npt.NDArray[np.intp]:
        """Rows by weight times `nearest`: first a chunk, then a row in it."""
        cumulative = np.cumsum(self.chunk_sums)
        chunks = _inverse_cdf(cumulative, uniforms)
        rows = np.empty(len(uniforms), np.intp)
        for i, chunk in enumerate(chunks):
            part = slice(chunk * self.data.chunk_rows, (chunk + 1) * self.data.chunk_rows)
            mass = self.nearest[part].astype(np.float64)
            if len(self.data.sample_weight):
                mass *= self.data.sample_weight[part]
            within = np.cumsum(mass)
            before = cumulative[chunk - 1] if chunk else 0.0
            share = (uniforms[i] * cumulative[-1] - before) / self.chunk_sums[chunk]
            rows[i] = part.start + _inverse_cdf(within, np.clip(np.array([share]), 0, 1))[0]
        return rows


def seed_rows(
    data: ArrayPass, n_centers: int, random_state: np.random.RandomState
) -> npt.NDArray[np.intp]:
    """Greedy k-means++: rows of X as centers (Arthur & Vassilvitskii 2007).

    Each center is the best of 2 + ⌊log K⌋ candidates drawn in proportion to weight times squared
    distance to the centers so far. Where all samples coincide with centers, the last is repeated.
    """
    weight = data.sample_weight if len(data.sample_weight) else None
    n_trials = 2 + int(math.log(n_centers))
    seeding = _Seeding(data, n_trials)
    rows = np.empty(n_centers, np.intp)
    rows[0] = draw_rows(weight, len(data.X), random_state.uniform(size=1))[0]
    potential = seeding.add_center(rows[0])
    if not potential < np.inf:
        raise NumericalError("the squared distances of the samples overflow: scale the data")
    none = np.empty(0)
    for k in range(1, n_centers):
        uniforms = random_state.uniform(size=n_trials)
        if not potential > 0:
            rows[k:] = rows[k - 1]
            break
        candidates = seeding.draw(uniforms)
        best = int(np.argmin(seeding.potentials(candidates, none)))
        rows[k] = candidates[best]
        potential = seeding.add_center(rows[k])
    return rows


class _Lloyd:
    """Lloyd's iteration on one array."""

    def __init__(self, data: ArrayPass, n_centers: int) -> None:
        self.data = data
        X = data.X
        K, D = n_centers, X.shape[1]
        self.kernels = _dispatch.kmeans(X.dtype)
        self.labels = np.full(len(X), -1, np.int64)
        n_scratch = _dispatch.expectation(X.dtype).sizes(3, K, D)[2]
        self.scratch = aligned_empty((data.n_threads, n_scratch + 2 * K * D), X.dtype)
        self.partial = np.empty((data.n_threads, 1 + K + K * D))
        self.tickets = np.empty(data.n_threads + 2, np.intp)

    def step(
        self, centers: Float64Array, distances: npt.NDArray[Any]
    ) -> tuple[float, Float64Array, Float64Array]:
        """Assign labels; the number that changed, the clusters' weights, the sums of x − center."""
        data = self.data
        K, D = centers.shape
        sums = np.zeros(1 + K + K * D)
        for part in data.slices():
            check_status(
                self.kernels.lloyd_step(
                    data.X[part], data.sample_weight[part], centers, self.labels[part],
                    distances[part], sums, self.partial, self.scratch, self.tickets,
                    data.chunk_rows, data.n_threads,
                )
            )
        return sums[0], sums[1 : 1 + K], sums[1 + K :].reshape(K, D)


def kmeans(
    data: ArrayPass, n_clusters: int, random_state: np.random.RandomState, tol: float
) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Cluster the samples by k-means from one greedy k-means++ start.

    Parameters
    ----------
    data : ArrayPass
    n_clusters : int
    random_state : RandomState
    tol : float
        Stop when the squared moves of the centers sum to no more than this.

    Returns
    -------
    labels : ndarray of shape (n_samples,), int64
    centers : ndarray of shape (n_clusters, n_features), float64
        Those that the labels were assigned by.
    """
    centers = data.X[seed_rows(data, n_clusters, random_state)].astype(np.float64)
    lloyd = _Lloyd(data, n_clusters)
    none = np.empty(0, data.X.dtype)
    for _ in range(_MAX_ITER):
        n_changed, weights, moves = lloyd.step(centers, none)
        if n_changed == 0:
            break
        moved = centers + moves / np.where(weights > 0, weights, 1)[:, None]
        if not weights.all():
            _relocate_empty(lloyd, centers, moved, weights)
        shift = float(((moved - centers) ** 2).sum())
        if shift <= tol:
            break
        centers = moved
    return lloyd.labels, centers


def _relocate_empty(
    lloyd: _Lloyd, centers: Float64Array, moved: Float64Array, weights: Float64Array
) -> None:
    """Move the centers of empty clusters to the samples farthest from their own centers."""
    data = lloyd.data
    distances = np.empty(len(data.X), data.X.dtype)
    lloyd.step(centers, distances)
    if len(data.sample_weight):
        distances[data.sample_weight == 0] = 0
    empty = np.flatnonzero(weights == 0)
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    for k, row in zip(empty, farthest, strict=True):
        if distances[row] > 0:
            moved[k] = data.X[row]
