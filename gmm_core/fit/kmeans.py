"""k-means for the start of EM: greedy k-means++ seeding and Lloyd's iteration, with sample weights.

All draws invert the cumulative weight in the order of the rows, so that a row of weight 2 is drawn
exactly as two copies of the row would be.
"""

from __future__ import annotations

import math

import numpy as np

from gmm_core.core import dispatch
from gmm_core.core.dispatch import check_status
from gmm_core.core.errors import NumericalError
from gmm_core.core.types import AnyArray, Float64Array, Indices, Labels
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import aligned_empty
from gmm_core.data.subset import draw_positions
from gmm_core.model.covariance import SQUARED_DISTANCES

_MAX_ITER = 300
# For large data: the rows of the subset, and the iterations over it. benchmarks/NOTES.md compares
# the fits with those from k-means that has all rows from the beginning.
_LEAST_ROWS = 8192
_ROWS_PER_CLUSTER = 512
_FIRST_ITER = 5
_NO_CENTERS = np.empty((0, 0))


def draw_rows(
    cumulative: Float64Array | None, n_samples: int, uniforms: Float64Array
) -> Indices:
    """Draw rows with probabilities in proportion to their weights.

    Parameters
    ----------
    cumulative : ndarray of shape (n_samples,), or None
        The cumulative weight of the rows; None if all rows have the same weight.
    n_samples : int
    uniforms : ndarray of shape (n,)
        Uniform random numbers in [0, 1), one for each row that is drawn.

    Returns
    -------
    ndarray of shape (n,), intp
    """
    if cumulative is None:
        return np.minimum((uniforms * n_samples).astype(np.intp), n_samples - 1)
    return _inverse_cdf(cumulative, uniforms)


def _inverse_cdf(cumulative: Float64Array, uniforms: Float64Array) -> Indices:
    """Return the row at which the cumulative weight exceeds each share of the total weight."""
    rows = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    # Rounding may lead to a row after the last one that has weight.
    last = np.searchsorted(cumulative, cumulative[-1], side="left")
    bounded: Indices = np.minimum(rows, last)
    return bounded


class _Seeding:
    """The state of k-means++: squared distances to the nearest center that is chosen so far.

    A pass adds one center. The same pass computes, for each candidate for the next center, the
    weighted sum of squared distances that would be left if it were chosen. The sums of the chosen
    candidate are kept, because the next candidates are drawn in proportion to them.

    Parameters
    ----------
    data : ArrayPass
    """

    def __init__(self, data: ArrayPass) -> None:
        self.data = data
        X = data.X
        self.kernels = dispatch.kmeans(X.dtype)
        self.nearest = np.full(len(X), np.inf, X.dtype)
        # The kernel needs as much scratch memory as the E-step of spherical covariances.
        n_scratch = dispatch.expectation(X.dtype).sizes(SQUARED_DISTANCES, 1, X.shape[1])[2]
        self.scratch = aligned_empty((data.n_threads, n_scratch), X.dtype)
        self.tickets = np.empty(data.n_threads + 2, np.intp)
        self.unused = np.empty((1, 1))

    def step(self, center: np.intp, candidates: Indices) -> Float64Array:
        """Add a center, and compute how good each candidate for the next center is.

        Parameters
        ----------
        center : int
            The row that becomes a center.
        candidates : ndarray of shape (n_candidates,)
            The rows that may become the next center.

        Returns
        -------
        ndarray of shape (n_chunks, n_candidates), float64
            For each chunk and candidate, the sum of weight · squared distance that would remain if
            the candidate were added too.
        """
        chunk_rows = self.data.chunk_rows
        chunk_sums = np.empty((-(-len(self.data.X) // chunk_rows), len(candidates)))
        for part in self.data.slices():
            self._step(part, center, candidates, chunk_sums[part.start // chunk_rows :])
        return chunk_sums

    def _step(
        self, part: slice, center: np.intp, candidates: Indices, out: Float64Array
    ) -> None:
        data, X = self.data, self.data.X
        n_points = 1 + len(candidates)
        points = np.zeros((2 * n_points, X.shape[1]), X.dtype)
        points[0] = X[center]
        points[1:n_points] = X[candidates]
        check_status(
            self.kernels.seeding_step(
                X[part], data.sample_weight[part], points, self.nearest[part], out, self.scratch,
                self.tickets, data.chunk_rows, data.n_threads,
            )
        )

    def draw(
        self, center: np.intp, chunk_sums: Float64Array, uniforms: Float64Array
    ) -> Indices:
        """Draw rows in proportion to weight · squared distance: first a chunk, then a row in it.

        Parameters
        ----------
        center : int
            The row that was chosen as the last center.
        chunk_sums : ndarray of shape (n_chunks,)
            The sum of weight · squared distance of each chunk, with this center added.
        uniforms : ndarray of shape (n,)
            Uniform random numbers in [0, 1), one for each row that is drawn.

        Returns
        -------
        ndarray of shape (n,), intp
        """
        cumulative = np.cumsum(chunk_sums)
        chunks = _inverse_cdf(cumulative, uniforms)
        rows = np.empty(len(uniforms), np.intp)
        for chunk in set(chunks.tolist()):
            drawn = chunks == chunk
            before = cumulative[chunk - 1] if chunk else 0.0
            shares = (uniforms[drawn] * cumulative[-1] - before) / chunk_sums[chunk]
            first, within = self._cumulative(chunk, center)
            rows[drawn] = first + _inverse_cdf(within, np.minimum(np.maximum(shares, 0), 1))
        return rows

    def _cumulative(self, chunk: int, center: np.intp) -> tuple[int, Float64Array]:
        """Return the first row of a chunk, and the cumulative weight · squared distance in it."""
        data = self.data
        first = chunk * data.chunk_rows
        part = slice(first, min(first + data.chunk_rows, len(data.X)))
        self._step(part, center, np.array([center]), self.unused)
        mass = self.nearest[part].astype(np.float64)
        if len(data.sample_weight):
            weight = data.sample_weight[part]
            # The kernel skips a tile without weight, whose `nearest` stays infinite.
            mass = np.where(weight > 0, mass, 0) * weight
        return first, np.cumsum(mass, out=mass)


def seed_rows(
    data: ArrayPass, n_centers: int, random_state: np.random.RandomState
) -> Indices:
    """Choose rows of X as centers by greedy k-means++ (Arthur & Vassilvitskii 2007).

    The first center is drawn by weight. Each further one is the best of 2 + ⌊log K⌋ candidates,
    which are drawn in proportion to weight times squared distance to the nearest center. Once all
    samples coincide with centers, the last center is repeated.

    Parameters
    ----------
    data : ArrayPass
    n_centers : int
        Number of centers K.
    random_state : RandomState

    Returns
    -------
    ndarray of shape (n_centers,), intp

    Raises
    ------
    NumericalError
        If the squared distances overflow.
    """
    cumulative = np.cumsum(data.sample_weight) if len(data.sample_weight) else None
    n_trials = 2 + int(math.log(n_centers))
    seeding = _Seeding(data)
    rows = np.empty(n_centers, np.intp)
    candidates = draw_rows(cumulative, len(data.X), random_state.uniform(size=1))
    rows[0] = candidates[0]
    chunk_sums = seeding.step(rows[0], candidates)[:, 0]
    if not chunk_sums.sum() < np.inf:
        raise NumericalError("the squared distances of the samples overflow: scale the data")
    for k in range(1, n_centers):
        uniforms = random_state.uniform(size=n_trials)
        if not chunk_sums.sum() > 0:
            rows[k:] = rows[k - 1]
            break
        candidates = seeding.draw(rows[k - 1], chunk_sums, uniforms)
        sums = seeding.step(rows[k - 1], candidates)
        best = int(np.argmin(sums.sum(axis=0)))
        rows[k], chunk_sums = candidates[best], sums[:, best]
    return rows


class _Lloyd:
    """Lloyd's iteration on one array, with sums that are updated when labels change.

    `sums` holds the number of changed labels, the clusters' weights, and their sums of
    weight · (x − origin). Samples that leave a cluster are subtracted from its sums, so the
    rounding error of its weight is eps times the largest weight that the cluster has had. If a
    cluster has lost nearly all of that weight, all sums are computed anew.

    Parameters
    ----------
    data : ArrayPass
    centers : ndarray of shape (n_clusters, n_features), float64
        The first centers, which are also the origins of the sums.
    """

    def __init__(self, data: ArrayPass, centers: Float64Array) -> None:
        self.data = data
        X = data.X
        K, D = centers.shape
        self.kernels = dispatch.kmeans(X.dtype)
        self.labels = np.empty(len(X), np.int64)
        self.gaps: AnyArray = np.empty(len(X), X.dtype)
        self.none: AnyArray = np.empty(0, X.dtype)
        self.sums = np.empty(1 + K + K * D)
        self.packed = aligned_empty((1, self.kernels.packed_size(K, D)), X.dtype)[0]
        self.drops: AnyArray = np.empty(1 + K, X.dtype)
        self.partial = np.empty((data.n_threads, 1 + K + K * D))
        self.tickets = np.empty(data.n_threads + 2, np.intp)
        self._start_sums(centers)

    @property
    def weights(self) -> Float64Array:
        """The clusters' weights."""
        return self.sums[1 : 1 + len(self.most)]

    def _start_sums(self, centers: Float64Array) -> None:
        self.origins, self.most = centers.copy(), np.zeros(len(centers))
        self.before = _NO_CENTERS  # the centers of the last step
        self.labels.fill(-1)
        self.gaps.fill(-np.inf)
        if len(self.data.sample_weight):
            self.gaps[self.data.sample_weight == 0] = np.inf
        self.sums.fill(0)

    def step(
        self, centers: Float64Array, distances: AnyArray | None = None
    ) -> tuple[float, int, Float64Array, float]:
        """Assign each row of positive weight to its nearest center.

        The labels of other rows are -1.

        Parameters
        ----------
        centers : ndarray of shape (n_clusters, n_features)
        distances : ndarray of shape (n_samples,), optional
            Receives the squared distances of the samples from their centers.

        Returns
        -------
        n_changed : float
            Number of labels that changed.
        n_empty : int
            Number of clusters without weight.
        means : ndarray of shape (n_clusters, n_features)
            The clusters' means; the mean of an empty cluster is its center.
        squared_moves : float
            The sum of the squared distances between the means and the centers.
        """
        n_changed = self._assign(centers, distances)
        means = np.empty(centers.shape)
        where = self.sums[1:], self.origins, centers, self.most, means
        status, n_empty, squared_moves = self.kernels.move_centers(*where)
        if status > 0:
            self._start_sums(centers)
            self._assign(centers, distances)
            where = self.sums[1:], self.origins, centers, self.most, means
            status, n_empty, squared_moves = self.kernels.move_centers(*where)
        check_status(status)
        return n_changed, n_empty, means, squared_moves

    def _assign(self, centers: Float64Array, distances: AnyArray | None) -> float:
        data, before = self.data, self.before
        if distances is None:
            distances = self.none
        else:
            before = _NO_CENTERS
        self.sums[0] = 0
        for part in data.slices():
            check_status(
                self.kernels.lloyd_step(
                    data.X[part], data.sample_weight[part], centers, before, self.origins,
                    self.labels[part], self.gaps[part], distances[part], self.sums, self.partial,
                    self.packed, self.drops, self.tickets, data.chunk_rows, data.n_threads,
                )
            )
        self.before = centers
        return float(self.sums[0])


def kmeans(
    data: ArrayPass, n_clusters: int, random_state: np.random.RandomState, tol: float
) -> tuple[Labels, Float64Array]:
    """Cluster the samples by k-means from one greedy k-means++ start.

    Large data are clustered in two phases. A subset of max(_LEAST_ROWS, _ROWS_PER_CLUSTER · K) rows
    is drawn, one from each of as many equal parts of the cumulative weight. Seeding and _FIRST_ITER
    iterations go over the subset alone, and the iterations over all rows begin where they end. Data
    are large if they have at least twice as many rows as the subset.

    Parameters
    ----------
    data : ArrayPass
    n_clusters : int
    random_state : RandomState
    tol : float
        The iteration stops when no label changes, when the squared moves of the centers sum to at
        most this, or after _MAX_ITER iterations.

    Returns
    -------
    labels : ndarray of shape (n_samples,), int64
        The clusters of the samples. A sample of weight 0 may have the label -1.
    centers : ndarray of shape (n_clusters, n_features), float64
        The centers that the labels were assigned with. After the largest number of iterations they
        are the means of the labelled clusters.
    """
    size = max(_LEAST_ROWS, _ROWS_PER_CLUSTER * n_clusters)
    if len(data.X) < 2 * size:
        centers = _seeds(data, n_clusters, random_state)
    else:
        centers = _centers_of_subset(data, size, n_clusters, random_state, tol)
    return lloyd(data, centers, tol, _MAX_ITER)


def _seeds(
    data: ArrayPass, n_clusters: int, random_state: np.random.RandomState
) -> Float64Array:
    return data.X[seed_rows(data, n_clusters, random_state)].astype(np.float64)


def _centers_of_subset(
    data: ArrayPass,
    size: int,
    n_clusters: int,
    random_state: np.random.RandomState,
    tol: float,
) -> Float64Array:
    """Draw a subset of the rows, and return the centers after the iterations over it."""
    cumulative = np.cumsum(data.sample_weight) if len(data.sample_weight) else None
    rows = draw_rows(cumulative, len(data.X), draw_positions(size, random_state))
    subset = ArrayPass(data.X[rows], None, n_clusters, data.covariance_type, data.n_threads)
    return lloyd(subset, _seeds(subset, n_clusters, random_state), tol, _FIRST_ITER)[1]


def lloyd(
    data: ArrayPass, centers: Float64Array, tol: float, max_iter: int
) -> tuple[Labels, Float64Array]:
    """Run Lloyd's iteration from given centers; see `kmeans`."""
    run = _Lloyd(data, centers)
    for _ in range(max_iter):
        n_changed, n_empty, moved, squared_moves = run.step(centers)
        if n_changed == 0:
            break
        if n_empty:
            _relocate_empty(run, centers, moved)
            squared_moves = float(((moved - centers) ** 2).sum())
        if squared_moves <= tol:
            break
        centers = moved
    return run.labels, centers


def _relocate_empty(run: _Lloyd, centers: Float64Array, moved: Float64Array) -> None:
    """Move the centers of empty clusters to the samples that are farthest from their centers.

    `moved` has the clusters' means, and is changed where clusters have no weight.
    """
    data = run.data
    distances = np.empty(len(data.X), data.X.dtype)
    run.step(centers, distances)
    if len(data.sample_weight):
        distances[data.sample_weight == 0] = 0
    empty = np.flatnonzero(run.weights == 0)
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    for k, row in zip(empty, farthest, strict=True):
        if distances[row] > 0:
            moved[k] = data.X[row]
