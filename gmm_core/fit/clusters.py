"""The clusters that starts are made from, which several starts and several fits share."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray, Labels
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.digest import Digest
from gmm_core.fit.hierarchical import Tree, hierarchical_tree
from gmm_core.fit.kmeans import kmeans


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
