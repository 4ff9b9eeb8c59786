"""Joint log-densities of samples and classes, and the probabilities of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray
from gmm_core.infer.nearest import nearest_components
from gmm_core.infer.score import FittedMixture, log_likelihood
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import mixture_of, prepare


def joint_log_likelihood(
    X: FloatArray, models: Sequence[FittedMixture], priors: Float64Array
) -> Float64Array:
    """Return log (prior_c p(x | c)) of each sample and class, of shape (n_samples, n_classes)."""
    out = np.empty((len(X), len(models)))
    with np.errstate(divide="ignore"):
        log_priors = np.log(priors)
    for c, model in enumerate(models):
        out[:, c] = log_likelihood(X, model)
        out[:, c] += log_priors[c]
    return out


def log_sum(joint: Float64Array) -> Float64Array:
    """Return log Σ_c exp of each row, or −inf where all entries are."""
    largest = joint.max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = largest + np.log(np.exp(joint - largest[:, None]).sum(axis=1))
    return np.where(largest == -np.inf, -np.inf, total)


def log_probabilities(
    X: FloatArray, models: Sequence[FittedMixture], priors: Float64Array
) -> Float64Array:
    """Return log P(c | x), of shape (n_samples, n_classes).

    A sample whose density is 0 in every class belongs to the class of the nearest component.
    """
    joint = joint_log_likelihood(X, models, priors)
    total = log_sum(joint)
    far = np.flatnonzero(total == -np.inf)
    total[far] = 0.0
    joint -= total[:, None]
    if len(far):
        nearest = _nearest_classes(X[far], models, priors)
        joint[far] = np.where(nearest[:, None] == np.arange(len(models)), 0.0, -np.inf)
    return joint


def _nearest_classes(
    X: FloatArray, models: Sequence[FittedMixture], priors: Float64Array
) -> AnyArray:
    """Return the class of the nearest component to each sample; see `nearest_components`."""
    D, full = X.shape[1], COVARIANCE_TYPES["full"]
    weights, means, matrices, classes = [], [], [], []
    for c, model in enumerate(models):
        mixture = mixture_of(model.prepared)
        for k, weight in enumerate(mixture.weights):
            weights.append(priors[c] * weight)
            means.append(mixture.means[k])
            matrices.append(mixture.kind.matrix(mixture.covariances, k, D))
            classes.append(c)
    factor = full.factor_covariances(np.stack(matrices).astype(np.float64), D)
    prepared = prepare(np.array(weights), np.stack(means), factor, "full")
    return np.array(classes)[nearest_components(X, prepared)]
