"""Conditional mixtures: the distribution of some features given the values of the others."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import FloatArray, Indices
from gmm_core.infer.score import FittedMixture, responsibilities
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.marginal import marginal_of
from gmm_core.model.parameters import Mixture, mixture_of, prepare


def condition(
    mixture: Mixture, given: Indices, values: FloatArray, n_threads: int | None
) -> tuple[Mixture, Indices]:
    """Return the distribution of the features that are not given.

    Parameters
    ----------
    mixture : Mixture
        A mixture without a noise component.
    given : ndarray of shape (q,)
        The features that are given.
    values : ndarray of shape (q,)
        Their values.
    n_threads : int or None

    Returns
    -------
    mixture : Mixture
        The conditional mixture. Its weights are the responsibilities of the components for the
        values.
    features : ndarray of shape (D − q,)
        Its features, in ascending order.

    Raises
    ------
    ValueError
        If all features are given, or a value is not finite.
    """
    K, D = mixture.means.shape
    q = len(given)
    if q == D:
        raise ValueError(f"given has all {D} features, so that no feature is left")
    if values.shape != (q,) or not np.isfinite(values).all():
        raise ValueError(f"the values of given should be finite numbers, got {values.tolist()}")
    x = values.astype(np.float64)
    others = np.setdiff1d(np.arange(D), given)
    order = np.concatenate([given, others])[None]
    ordered = mixture.kind.ordered_factors(mixture.covariances, order)
    whole = mixture.prepared.precisions_cholesky
    slopes = mixture.kind.regression(whole, ordered, order, q, K)[0][0]
    means = mixture.means[:, others]
    means = means + np.einsum("kmo,ko->km", slopes, x - mixture.means[:, given])
    # The last block of a factor is that of the precision of the last features given the others.
    kind = COVARIANCE_TYPES[mixture.kind.sklearn_name]
    factor = np.ascontiguousarray(kind.marginal_factor(whole, ordered[0][..., q:, q:], others))
    of_given = FittedMixture(marginal_of(mixture, given).prepared, False, n_threads)
    weights = responsibilities(x[None], of_given)[0].astype(np.float64)
    return mixture_of(prepare(weights, means, factor, kind.name)), others
