"""Hierarchical clusters for the start of EM: model-based agglomeration (Fraley 1998).

At first every point is a cluster, and the two clusters are merged whose union fits a Gaussian model
best, again and again. The mergers are a tree, from which the clusters for any number of components
follow. The criteria, and the kernel, are in src/_hierarchy.pyx.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from gmm_core.core import dispatch
from gmm_core.core.dispatch import check_status
from gmm_core.core.errors import NumericalError
from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Indices, Labels

# The number of rows that a tree is made of by default. The time and the memory (4 n² bytes) grow
# with the square of the number.
N_ROWS = 2_000

_EPS = float(np.finfo(np.float64).eps)


class Tree(NamedTuple):
    """The mergers of an agglomeration.

    Attributes
    ----------
    points : ndarray of shape (n_samples,), intp
        The index of the point at which each sample lies. Equal samples lie at one point. The points
        are numbered by their first samples.
    mergers : ndarray of shape (n_points - 1, 2), intp
        Clusters j < i of each merger. A cluster has the number of its first point, so that the
        union takes the number j.
    """

    points: Indices
    mergers: Indices

    def labels(self, n_clusters: int) -> Labels:
        """Return the clusters of the samples when `n_clusters` clusters are left.

        Parameters
        ----------
        n_clusters : int
            If there are fewer points than that, each point is a cluster.

        Returns
        -------
        ndarray of shape (n_samples,), int64
            The clusters are numbered by their first samples.
        """
        n_points = len(self.mergers) + 1
        cluster = np.arange(n_points)
        for j, i in self.mergers[: max(n_points - n_clusters, 0)][::-1]:
            cluster[i] = cluster[j]
        _, labels = np.unique(cluster, return_inverse=True)
        return labels[self.points].astype(np.int64)


def hierarchical_tree(
    X: FloatArray,
    sample_weight: Float64Array | None = None,
    model: Literal["EII", "VVV"] = "VVV",
    use: Literal["SVD", "VARS"] = "SVD",
) -> Tree:
    """Merge clusters by a criterion of Gaussian models until one is left.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,), default=None
        Each weight counts as a number of rows. The unit is the smallest weight if all weights are
        whole multiples of it, and otherwise the mean weight. Samples of weight 0 are left out, and
        lie at the first point of the tree.
    model : {'EII', 'VVV'}, default='VVV'
        'EII' is Ward's criterion, for round clusters of one size. 'VVV' is for any clusters.
    use : {'SVD', 'VARS'}, default='SVD'
        With 'SVD', the features are standardised to Z = U S Vᵀ and replaced by Z V S^(−1/2). With
        'VARS', X is used as it is.

    Returns
    -------
    Tree

    Raises
    ------
    NumericalError
        If the squared distances overflow.
    """
    X, points, counts = _distinct_points(X, sample_weight)
    mergers = np.empty((len(X) - 1, 2), np.intp)
    if not len(mergers):
        return Tree(points, mergers)
    X = _standardised(X, counts) if use == "SVD" else X
    n, D = X.shape
    squares = counts[:, np.newaxis] * (X - np.average(X, axis=0, weights=counts)) ** 2
    trace = float(squares.sum())
    if not trace < np.inf:
        raise NumericalError("the squared distances of the samples overflow: scale the data")
    total = float(counts.sum())
    negligible = _negligible_variance(D)
    # A cluster whose determinant counts has more than D samples, so its variance is less than this.
    determinants = model == "VVV" and trace / D >= negligible
    status = dispatch.hierarchy.agglomerate(
        X, counts, mergers, np.zeros((n, D * (D + 1) // 2) if determinants else (0, 0)),
        np.empty(n * (n - 1) // 2), np.empty((3, n)), np.empty((2, n), np.intp), np.empty((D, D)),
        trace / (total * D) if model == "VVV" else 0.0, negligible,
    )  # fmt: skip
    check_status(status)
    return Tree(points, mergers)


def _distinct_points(
    X: FloatArray, sample_weight: Float64Array | None
) -> tuple[Float64Array, Indices, Float64Array]:
    """Return the different rows of X, the index of each row among them, and their numbers of rows.

    The rows are in the order in which they first occur in X.
    """
    present = np.arange(len(X))
    weight = np.ones(len(X))
    if sample_weight is not None:
        present = np.flatnonzero(sample_weight)
        weight = sample_weight[present]
        unit = float(weight.min())
        # Larger ratios than 2⁵³ are whole numbers only because they are rounded.
        if weight.max() > 2.0**53 * unit or (weight / unit % 1).any():
            unit = float(weight.mean())
        weight = weight / unit
    rows = X[present].astype(np.float64)
    order = np.lexsort(rows.T)  # a stable sort, which keeps equal rows in the order of X
    ordered = rows[order]
    is_new = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    first = order[is_new]
    number = np.empty(len(first), np.intp)
    number[np.argsort(first)] = np.arange(len(first))
    points = np.zeros(len(X), np.intp)
    points[present[order]] = number[np.cumsum(is_new) - 1]
    counts: AnyArray = np.bincount(points[present], weight)
    return rows[np.sort(first)], points, counts


def _standardised(X: Float64Array, counts: Float64Array) -> Float64Array:
    """Return Z V S^(−1/2) for the standardised features Z = U S Vᵀ, without axes of variance 0.

    Nothing goes through BLAS or LAPACK, whose results depend on the number of threads.
    """
    # A power of 2 keeps squares from overflowing. About the first row, a constant feature is 0.
    X = np.ldexp(X, -np.frexp(abs(X).max(axis=0))[1])
    X = X - X[0]
    X = X[:, X.any(axis=0)]
    Z = X - np.average(X, axis=0, weights=counts)
    root = np.sqrt(counts)[:, np.newaxis]
    Z /= np.sqrt(((root * Z) ** 2).sum(axis=0) / (counts.sum() - 1))
    scatter = np.einsum("ni,nj->ij", root * Z, root * Z)[np.newaxis]
    axes = np.empty(scatter.shape)
    check_status(dispatch.maximization.principal_axes(scatter, axes))
    eigenvalues = np.diagonal(scatter[0])  # S², the largest first
    rank = np.count_nonzero(eigenvalues > len(scatter[0]) * _EPS * eigenvalues[0])
    scaled: Float64Array = np.einsum("ni,ij->nj", Z, axes[0, :, :rank])
    scaled /= eigenvalues[:rank] ** 0.25
    return np.ascontiguousarray(scaled)


def _negligible_variance(n_features: int) -> float:
    """Return t with (t / D)^D = t eps / 4.

    The determinant of a cluster with the variance t = tr W_k / n_k is at most (t / D)^D. If t is
    smaller than this, the determinant is lost in rounding when it is added to t.
    """
    D = n_features
    return 0.0 if D == 1 else math.exp((math.log(_EPS / 4) + D * math.log(D)) / (D - 1))
