"""The clusters that starts are made from, which several starts and several fits share."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Indices, Labels
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.digest import Digest
from gmm_core.fit.hierarchical import Tree, hierarchical_tree
from gmm_core.fit.kmeans import kmeans, seed_rows


class Clusters:
    """k-means clusters and hierarchical trees for the starts of one fit, which share a tree."""

    def __init__(self) -> None:
        self._trees: dict[tuple[Any, ...], Tree] = {}
        self._lock = threading.Lock()

    def kmeans(
        self, data: ArrayPass, n_clusters: int, random_state: np.random.RandomState, tol: float
    ) -> tuple[Labels, Float64Array]:
        """Return labels and centers; see `kmeans`."""
        return kmeans(data, n_clusters, random_state, tol)

    def seeds(
        self, data: ArrayPass, n_clusters: int, random_state: np.random.RandomState
    ) -> Indices:
        """Return rows as centers, chosen by k-means++; see `seed_rows`."""
        return seed_rows(data, n_clusters, random_state)

    def tree(self, X: FloatArray, sample_weight: Float64Array | None) -> Tree:
        """Return the tree of these rows, which is made once; see `hierarchical_tree`."""
        weights = None if sample_weight is None else Digest().and_array(sample_weight)
        key = (X.shape, X.dtype, Digest().and_array(X), weights)
        with self._lock:  # a fit that runs beside another one waits for its tree
            if key not in self._trees:
                self._trees[key] = hierarchical_tree(X, sample_weight)
            return self._trees[key]


class SharedClusters(Clusters):
    """Clusters for several fits to the same data, which share the results of k-means as well.

    These follow from the data, their number and the state of the generator. That state after
    k-means is kept with them, so that a fit draws the numbers that it would draw alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[tuple[Any, ...], tuple[Labels, Float64Array, Any]] = {}

    def kmeans(
        self, data: ArrayPass, n_clusters: int, random_state: np.random.RandomState, tol: float
    ) -> tuple[Labels, Float64Array]:
        """Return labels and centers, which are found once; see `kmeans`."""
        state: Any = random_state.get_state(legacy=True)
        key = (n_clusters, data.X.shape, state[1].tobytes(), *state[2:])
        kept = self._kept.get(key)
        if kept is None:
            labels, centers = kmeans(data, n_clusters, random_state, tol)
            self._kept[key] = labels, centers, random_state.get_state(legacy=True)
            return labels, centers
        labels, centers, after = kept
        random_state.set_state(after)
        return labels, centers


class StandardisedClusters(Clusters):
    """Clusters of standardised features, which do not depend on the units of the features.

    Hierarchical clusters do not depend on them either: their scaling is that of mclust.

    Parameters
    ----------
    center : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features,)
        The standard deviations of the features.
    tol : float
        The parameter `tol` of `kmeans` for features of variance 1.
    """

    def __init__(self, center: Float64Array, scale: Float64Array, tol: float) -> None:
        super().__init__()
        self._center, self._scale, self._tol = center, scale, tol

    def kmeans(
        self, data: ArrayPass, n_clusters: int, random_state: np.random.RandomState, tol: float
    ) -> tuple[Labels, Float64Array]:
        """Return labels, and centers in the units of the data; `tol` is that of the constructor."""
        labels, centers = super().kmeans(
            self._standardised(data), n_clusters, random_state, self._tol
        )
        return labels, self._center + centers * self._scale

    def seeds(
        self, data: ArrayPass, n_clusters: int, random_state: np.random.RandomState
    ) -> Indices:
        """Return rows as centers, chosen by k-means++ among standardised rows."""
        return super().seeds(self._standardised(data), n_clusters, random_state)

    def _standardised(self, data: ArrayPass) -> ArrayPass:
        weight = data.sample_weight if len(data.sample_weight) else None
        X: AnyArray = ((data.X - self._center) / self._scale).astype(data.X.dtype, copy=False)
        return ArrayPass(X, weight, data.n_components, data.covariance_type, data.n_threads)
