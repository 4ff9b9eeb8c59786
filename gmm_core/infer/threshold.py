"""Thresholds of log-densities, below which samples are outliers."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array
from gmm_core.infer.draw import draw
from gmm_core.infer.score import FittedMixture, log_likelihood

# The threshold 'auto' leaves out this share of what the mixture itself would draw. For one
# component it is that of squared Mahalanobis distances beyond the quantile 0.975 of χ².
AUTO_SHARE = 0.025
_DRAWS = 10_000  # with which the share has a standard error of 0.0016


def threshold_of_rows(
    scores: AnyArray, sample_weight: Float64Array | None, share: float
) -> float:
    """Return the lowest score of a row that is not an outlier.

    Outliers are the rows with the lowest scores, as many as have together at most the given share
    of the total weight. Of rows with equal scores, either all or none are outliers.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    sample_weight : ndarray of shape (n_samples,) or None
    share : float
        Between 0 and 0.5.
    """
    order = np.argsort(scores, kind="stable")
    if sample_weight is None:
        cumulative = np.arange(1.0, len(scores) + 1)
    else:
        order = order[sample_weight[order] > 0]
        cumulative = np.cumsum(sample_weight[order])
    limit = share * cumulative[-1] * (1 + 1e-9)  # 0.1 of 30 rows are 3, also with rounding errors
    ascending = scores[order]
    inliers = ascending[int(np.searchsorted(cumulative, limit, side="right")) :]
    finite = inliers[inliers > -np.inf]
    return float(finite[0]) if len(finite) else float(np.finfo(scores.dtype).min)


def threshold_of_mixture(model: FittedMixture, random_state: np.random.RandomState) -> float:
    """Return the log-density that samples of the mixture fall below with the share of 'auto'."""
    X, _ = draw(model.prepared, _DRAWS, random_state)
    return threshold_of_rows(log_likelihood(X, model), None, AUTO_SHARE)
