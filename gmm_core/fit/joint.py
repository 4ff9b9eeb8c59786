"""The joint data of a regression: features and targets side by side, and their scales."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray
from gmm_core.data.parameter_validation import check_reg_covar
from gmm_core.data.validation import check_sample_weight
from gmm_core.fit.clusters import StandardisedClusters
from gmm_core.fit.starts import KMEANS_TOL


class Joint(NamedTuple):
    """What the fit of a joint mixture takes.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features + n_targets)
        float32 if features and targets are, else float64.
    sample_weight : ndarray of shape (n_samples,) or None
    reg_covar : ndarray of shape (n_features + n_targets,)
        In squared units of the data.
    clusters : StandardisedClusters
    """

    X: FloatArray
    sample_weight: Float64Array | None
    reg_covar: Float64Array
    clusters: StandardisedClusters


def joint_data(X: FloatArray, y: FloatArray, sample_weight: Any, reg_covar: Any) -> Joint:
    """Join checked features and targets, and find their scales.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN is a missing value.
    y : ndarray of shape (n_samples, n_targets)
        NaN is a missing value.
    sample_weight : array-like of shape (n_samples,) or None
    reg_covar : float or array-like of shape (n_features + n_targets,)
        In units of the variances. A feature without variance has the unit 1.

    Returns
    -------
    Joint

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid, if a feature or a target has no value, or if its variance is
        beyond the range of float64.
    """
    Z: AnyArray = np.column_stack([X, y])
    weight = check_sample_weight(sample_weight, len(Z))
    relative = np.broadcast_to(check_reg_covar(reg_covar, Z.shape[1]), Z.shape[1])
    names = [f"X[:, {d}]" for d in range(X.shape[1])]
    names += [f"y[:, {d}]" for d in range(y.shape[1])] if y.shape[1] > 1 else ["y"]
    pairs = [_mean_and_variance(Z[:, d], weight, name) for d, name in enumerate(names)]
    center, variance = np.array(pairs).T
    clusters = StandardisedClusters(center, np.sqrt(variance), KMEANS_TOL)
    return Joint(Z, weight, relative * variance, clusters)


def _mean_and_variance(
    column: FloatArray, weight: Float64Array | None, name: str
) -> tuple[float, float]:
    """Return the mean and the variance of the values that are not NaN, or 1 for a variance of 0."""
    known = ~np.isnan(column)
    if weight is not None:
        known &= weight > 0
    values = column[known].astype(np.float64)
    if not len(values):
        raise ValueError(f"{name} has no value that is not NaN in the rows of positive weight")
    shift = values[0]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values -= shift  # so that the variance keeps its digits if the data have an offset
        mean = np.average(values, weights=None if weight is None else weight[known])
        values -= mean
        variance = np.average(values**2, weights=None if weight is None else weight[known])
    if not np.isfinite(variance) or (variance == 0 and values.any()):
        raise ValueError(f"the variance of {name} is beyond the range of float64: scale the data")
    return float(shift + mean), float(variance) or 1.0
