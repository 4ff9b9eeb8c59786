"""Starts from labels that the user gives for all samples, or for some of them."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, Indices, Labels, RegCovar
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.passes import KernelPass
from gmm_core.fit.kmeans import draw_rows
from gmm_core.fit.starts import about_own_means
from gmm_core.model.covariance import BY_FEATURE
from gmm_core.model.parameters import Mixture


def start_from_labels(
    data: KernelPass,
    labels: Labels,
    rows: ArrayPass,
    random_state: np.random.RandomState,
    reg_covar: RegCovar,
) -> Mixture:
    """Return the mixture of labelled samples.

    If all samples have a label, the responsibilities of the first M-step are the labels. Otherwise
    the rows for the start belong to the component with the nearest mean of labelled samples, where
    features are scaled by the standard deviations of labelled samples about these means. The means
    of components without labelled samples are rows, which are drawn as k-means++ draws them.

    Parameters
    ----------
    data : KernelPass
        A pass over all samples.
    labels : ndarray of shape (n_samples,), int64
        The component of each sample, or -1 where it is unknown.
    rows : ArrayPass
        A pass over the rows that starts are found from.
    random_state : RandomState
    reg_covar : float or ndarray of shape (n_features,)

    Returns
    -------
    Mixture

    Raises
    ------
    ValueError
        If all samples have a label, and a component has none of them.
    """
    K = data.n_components
    shift = np.repeat(rows.X[:1].astype(np.float64), K, axis=0)
    if (labels >= 0).all():
        empty = np.flatnonzero(np.bincount(labels, minlength=K) == 0)
        if len(empty):
            raise ValueError(f"labels_init has no sample of component {empty[0]}")
        return about_own_means(
            lambda c: data.statistics(c, labels=labels), shift, reg_covar, data.n_threads
        )
    of_labelled = data.resized(K, BY_FEATURE).statistics(shift, labels=labels)
    counts, means = of_labelled.counts, of_labelled.means
    if not counts.any():
        raise ValueError("labels_init has no sample of positive weight whose component is known")
    squares = of_labelled.about_means(means).moments.reshape(K, -1).sum(axis=0)
    scale = np.sqrt(np.where(squares > 0, squares, counts.sum()) / counts.sum())
    X = rows.X / scale
    centers = _completed(means[counts > 0] / scale, X, rows.sample_weight, K, random_state)
    # The components without labelled samples come last among the centers.
    order = np.argsort(counts <= 0, kind="stable")
    nearest = np.asarray(order[_squared_distances(X, centers).argmin(axis=1)], np.int64)
    return about_own_means(
        lambda c: rows.statistics(c, labels=nearest), shift, reg_covar, data.n_threads
    )


def _completed(
    centers: Float64Array,
    X: Float64Array,
    sample_weight: Float64Array,
    n_centers: int,
    random_state: np.random.RandomState,
) -> Float64Array:
    """Add rows to the centers until there are enough, with probabilities as in k-means++."""
    weight = sample_weight if len(sample_weight) else np.ones(len(X))
    while len(centers) < n_centers:
        row: Indices = np.zeros(1, np.intp)
        shares = weight * _squared_distances(X, centers).min(axis=1) if len(centers) else weight
        if shares.any():  # otherwise all rows lie at centers
            row = draw_rows(np.cumsum(shares), len(X), random_state.uniform(size=1))
        centers = np.concatenate([centers, X[row]])
    return centers


def _squared_distances(X: Float64Array, centers: Float64Array) -> Float64Array:
    """Return the squared distance of each row from each center, of shape (n_rows, n_centers)."""
    out = np.empty((len(X), len(centers)))
    for k, center in enumerate(centers):
        difference = X - center
        out[:, k] = np.einsum("nd,nd->n", difference, difference)
    return out
