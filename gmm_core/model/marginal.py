"""Marginal mixtures: the distribution of some of the features.

The marginal mixture of the features o has the weights of the mixture, the means μ_o and the
covariances Σ_oo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gmm_core.core.types import Float64Array, Indices
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import Mixture, Prepared, mixture_of, prepare, prepare_log_weights


class Marginals(NamedTuple):
    """The marginal mixtures of P patterns.

    A pattern is a set of observed features; samples with the same missing features share it. All P
    patterns here have q observed features of D.

    Attributes
    ----------
    mixtures : list of Prepared
        The marginal mixture of each pattern; the mixture itself if q is 0 or D.
    order : ndarray of shape (P, D)
        The features of each pattern, the q observed ones first.
    ordered : ndarray of shape (P, K or 1, D, D)
        Factors of the precisions, with the features in this order. The array is empty if q is D,
        and if the covariance type has no covariances between features.
    """

    mixtures: list[Prepared]
    order: Indices
    ordered: Float64Array


def marginal_of(mixture: Mixture, features: Indices) -> Mixture:
    """Return the marginal mixture of some features, in the order of `features`.

    Models of mclust become the type of the same shape, as the marginal covariances may not have
    the constraints of the model.

    Parameters
    ----------
    mixture : Mixture
        A mixture without a noise component.
    features : ndarray of shape (q,)

    Returns
    -------
    Mixture
    """
    kind = COVARIANCE_TYPES[mixture.kind.sklearn_name]
    covariances = kind.of_features(mixture.covariances, features)
    factor = kind.factor_covariances(covariances, len(features))
    means = np.ascontiguousarray(mixture.means[:, features])
    return mixture_of(prepare(mixture.weights, means, factor, kind.name), covariances)


def marginals(mixture: Mixture, order: Indices, q: int) -> Marginals:
    """Return the marginal mixture of the first q features of each order.

    Parameters
    ----------
    mixture : Mixture
    order : ndarray of shape (P, D)
        The features in the order of each pattern.
    q : int
        Number of observed features.

    Returns
    -------
    Marginals

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance is not positive definite with its features in another order.
    """
    P, D = order.shape
    whole, kind = mixture.prepared, mixture.kind
    if q == D:
        return Marginals([whole] * P, order, np.empty((P, 0, 0, 0)))
    ordered = kind.ordered_factors(mixture.covariances, order)
    if q == 0:
        return Marginals([whole] * P, order, ordered)
    mixtures = []
    for features, factors in zip(order, ordered, strict=True):
        observed = features[:q]
        factor = kind.marginal_factor(whole.precisions_cholesky, factors, observed)
        means = np.ascontiguousarray(whole.means[:, observed])
        factor = np.ascontiguousarray(factor)
        if whole.log_weights is None:
            mixtures.append(prepare(whole.weights, means, factor, whole.covariance_type))
        else:
            mixtures.append(
                prepare_log_weights(whole.log_weights, means, factor, whole.covariance_type)
            )
    return Marginals(mixtures, order, ordered)
