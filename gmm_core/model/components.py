"""Mixtures that are made by merging, splitting, sorting and joining components.

A noise component stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from gmm_core.core.types import Float64Array, Indices
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import Mixture, mixture_of, prepare


def take(mixture: Mixture, components: Indices) -> Mixture:
    """Return the mixture with its components in another order."""
    kind = mixture.kind
    covariances = kind.take(mixture.covariances, components)
    factor = kind.take(mixture.prepared.precisions_cholesky, components)
    weights, means = mixture.weights[components], mixture.means[components]
    prepared = prepare(weights, means, factor, kind.name, mixture.prepared.noise)
    return mixture_of(prepared, covariances)


def merge(mixture: Mixture, components: Indices) -> Mixture:
    """Replace components by one with their weight, mean and covariance.

    The type of the result is 'full', as the components may lie apart in any direction.
    """
    full = COVARIANCE_TYPES["full"]
    covariances = _covariances_as(full, mixture)
    weights, means = mixture.weights.copy(), mixture.means.copy()
    w = weights[components]
    shares = w / w.sum() if w.any() else np.full(len(w), 1 / len(w))
    first = components.min()
    mean = np.einsum("k,kd->d", shares, means[components])
    apart = means[components] - mean
    within = np.einsum("k,kij->ij", shares, covariances[components])
    covariances[first] = within + np.einsum("k,ki,kj->ij", shares, apart, apart)
    weights[first], means[first] = w.sum(), mean
    kept = np.setdiff1d(np.arange(len(weights)), components[components != first])
    return _made(weights[kept], means[kept], covariances[kept], full, mixture.prepared.noise)


def split(mixture: Mixture, k: int) -> Mixture:
    """Replace component k by two, which have the moments of its halves.

    A cut through the mean, across the axis u of the largest variance λ, leaves two halves of a
    Gaussian. Their means are μ ∓ √(2 λ / π) u, and their covariances are Σ − (2 λ / π) u uᵀ.
    """
    kind, (K, D) = mixture.kind, mixture.means.shape
    own = np.array([k])
    of_component = kind.take(mixture.covariances, own)
    factor = kind.take(mixture.prepared.precisions_cholesky, own)
    volumes, shapes, axes = kind.decompose(of_component, factor, 1, D)
    largest = float(volumes[0] * shapes[0, 0])
    axis = axes[0, :, 0] * math.copysign(1, axes[0, np.argmax(abs(axes[0, :, 0])), 0])
    target = COVARIANCE_TYPES["full" if kind.has_orientation else "diag"]
    twice = np.insert(np.arange(K), k, k)
    covariances = _covariances_as(target, mixture)[twice]
    weights, means = mixture.weights[twice], mixture.means[twice]
    weights[k : k + 2] /= 2
    move = math.sqrt(2 * largest / math.pi) * axis
    means[k] -= move
    means[k + 1] += move
    lost = move * move[:, None] if kind.has_orientation else move**2
    covariances[k : k + 2] -= lost
    return _made(weights, means, covariances, target, mixture.prepared.noise)


def join(mixtures: Sequence[Mixture], weights: Float64Array) -> Mixture:
    """Return the mixture of mixtures without noise, with all their components.

    The covariances are of the type with the fewest parameters that holds those of all mixtures.
    """
    target = _common_type(mixture.kind for mixture in mixtures)
    covariances = [_covariances_as(target, mixture) for mixture in mixtures]
    parts = [w * m.weights / m.weights.sum() for w, m in zip(weights, mixtures, strict=True)]
    means = np.concatenate([mixture.means for mixture in mixtures])
    return _made(np.concatenate(parts), means, np.concatenate(covariances), target)


def _made(
    weights: Float64Array,
    means: Float64Array,
    covariances: Float64Array,
    kind: CovarianceType,
    noise: Noise | None = None,
) -> Mixture:
    factor = kind.factor_covariances(covariances, means.shape[1])
    return mixture_of(prepare(weights, means, factor, kind.name, noise), covariances)


def _common_type(kinds: Iterable[CovarianceType]) -> CovarianceType:
    """Return the type with the fewest parameters that holds covariances of all these types."""
    kinds = list(kinds)
    if any(kind.has_orientation for kind in kinds):
        return COVARIANCE_TYPES["full"]
    return COVARIANCE_TYPES["diag" if any(kind.has_shape for kind in kinds) else "spherical"]


def _covariances_as(target: CovarianceType, mixture: Mixture) -> Float64Array:
    """Return a copy of the covariances in the shape of a type that holds them."""
    (K, D), kind, covariances = mixture.means.shape, mixture.kind, mixture.covariances
    if target.has_orientation:
        return np.stack([kind.matrix(covariances, k, D) for k in range(K)]).astype(np.float64)
    variances = np.array(kind.variances(covariances, K, D), np.float64)
    return variances if target.has_shape else variances[:, 0]
