"""Starts for data with missing values or with measurement noise."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.data.subset import StartRows


def completed(rows: StartRows) -> StartRows:
    """Replace missing values by the means of their features, and find what the variances lack."""
    filled, lacking = fill_with_means(rows.X, rows.sample_weight)
    if len(rows.noise):
        known = ~np.isnan(rows.X)
        if rows.sample_weight is not None:
            known = known * rows.sample_weight[:, None]
        D = rows.X.shape[1]
        variances = rows.noise if rows.noise.shape[1] == D else rows.noise[:, :: D + 1]
        # The noise of a missing value may be anything.
        noise = np.einsum("nd,nd->d", known, np.where(known > 0, variances, 0.0))
        with np.errstate(invalid="ignore"):     # both may have overflowed
            lacking = lacking - noise / known.sum(axis=0)
    return StartRows(filled, rows.sample_weight, lacking)


def fill_with_means(
    X: FloatArray, sample_weight: Float64Array | None
) -> tuple[FloatArray, Float64Array]:
    """Replace missing values by the means of their features.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    filled : ndarray of shape (n_samples, n_features)
    lacking : ndarray of shape (n_features,)
        The variance that each feature loses when its missing values are replaced by their mean. It
        is added to the variances of the start. Otherwise a cluster in which a feature is always
        missing would start with a variance of 0.

    Raises
    ------
    ValueError
        If a feature has no value at all.
    """
    known = ~np.isnan(X)
    weight = known if sample_weight is None else known * sample_weight[:, None]
    total = weight.sum(axis=0, dtype=np.float64)
    if not total.all():
        column = int(np.argmin(total))
        raise ValueError(
            f"X[:, {column}] has no value that is not NaN in the rows of positive weight. (If X is "
            "large, these are the rows of the subset for the start, see init_size.) Leave this "
            "feature out."
        )
    # Means and variances are taken about a value of each feature, as data may have a large offset.
    shift = X[(weight > 0).argmax(axis=0), np.arange(X.shape[1])].astype(np.float64)
    share = 1 - total / (len(X) if sample_weight is None else sample_weight.sum())
    with np.errstate(over="ignore", invalid="ignore"):  # the start refuses what overflows
        difference = np.where(known, X - shift, 0.0)
        moved = np.einsum("nd,nd->d", weight, difference, dtype=np.float64) / total
        difference = np.where(known, difference - moved, 0.0)
        filled = np.where(known, X, (shift + moved).astype(X.dtype))
        squares = np.einsum("nd,nd,nd->d", weight, difference, difference)
        return filled, np.where(share > 0, share * squares / total, 0.0)
