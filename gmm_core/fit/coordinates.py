"""The parameters of mixtures and of posteriors as the acceleration sees them."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, RegCovar
from gmm_core.fit.acceleration import Coordinates, Mask
from gmm_core.fit.maximization import maximization_step
from gmm_core.fit.memory import Point
from gmm_core.fit.variational import Inferred
from gmm_core.model.covariance import CovarianceType
from gmm_core.model.parameters import Mixture, Prepared, mixture_of, prepare
from gmm_core.model.posterior import Prior, with_counts
from gmm_core.model.statistics import statistics_of


def coordinates_of_mixtures(
    kind: CovarianceType, reg_covar: RegCovar, n_threads: int
) -> Coordinates[Mixture]:
    """Return the coordinates of a mixture, whose noise counts as a component without covariance.

    A constrained model keeps its constraints if they are linear in the coordinates. For equal
    orientations and for equal shapes they are not. So the M-step of the model, which needs no data
    if it is given the moments of a mixture, returns the member of the model that is closest.
    """

    def point(mixture: Mixture) -> Point:
        weights, noise = mixture.weights, mixture.prepared.noise
        if noise is not None:
            weights = np.append(weights, noise.weight)
        return Point(weights, mixture.means, mixture.prepared.precisions_cholesky)

    def parameters(point: Point, moved: Mask, before: Mixture) -> Mixture:
        (K, D), noise = before.means.shape, before.prepared.noise
        weights, means, factor = point
        if noise is not None:
            noise = noise._replace(weight=float(weights[K]))
            weights = weights[:K].copy()
        covariances = _covariances(kind, factor, moved, before.covariances, n_threads)
        if kind.m_step_code != kind.code and moved.any():
            moments = statistics_of(weights, means, covariances, kind.name, np.zeros(D))
            nearest, _ = maximization_step(
                moments, 0.0, n_threads, before=before.covariances
            )
            covariances, factor = nearest.covariances, nearest.prepared.precisions_cholesky
        return mixture_of(prepare(weights, means, factor, kind.name, noise), covariances)

    def penalty(mixture: Mixture, improved: Mixture) -> Float64Array:
        return _penalty(mixture.prepared, reg_covar)  # the bound is that of the mixture

    return Coordinates(kind, point, parameters, penalty)


def coordinates_of_posteriors(
    kind: CovarianceType,
    prior: Prior,
    reg_covar: Float64Array,
    conjugate: bool,
    n_threads: int,
) -> Coordinates[Inferred]:
    """Return the coordinates of a posterior: the counts, and the means and precisions expected.

    All other parameters of the posterior follow from the counts.
    """

    def point(inferred: Inferred) -> Point:
        mixture = inferred.posterior.mixture
        factor = mixture.prepared.precisions_cholesky
        return Point(inferred.moments.counts, mixture.means, factor)

    def parameters(point: Point, moved: Mask, before: Inferred) -> Inferred:
        counts, means, factor = point
        covariances = _covariances(
            kind, factor, moved, before.posterior.covariances, n_threads
        )
        posterior = with_counts(
            counts, means, covariances, factor, prior, kind.name, conjugate
        )
        return before._replace(
            posterior=posterior, moments=before.moments._replace(counts=counts)
        )

    def penalty(inferred: Inferred, improved: Inferred) -> Float64Array:
        return _penalty(improved.posterior.mixture.prepared, reg_covar)  # the bound is its own

    return Coordinates(kind, point, parameters, penalty)


def _penalty(prepared: Prepared, reg_covar: RegCovar) -> Float64Array:
    """Return tr(diag(reg_covar) Σ_k⁻¹) / 2 for each component."""
    K, D = prepared.means.shape
    with np.errstate(all="ignore"):  # a trial whose penalty is not finite is rejected
        variances = prepared.kind.conditional_variances(prepared.precisions_cholesky, K, D)
        penalties: Float64Array = (reg_covar / variances).sum(axis=1) / 2
    return np.broadcast_to(penalties, (K,))


def _covariances(
    kind: CovarianceType, factor: Float64Array, moved: Mask, before: Float64Array, n_threads: int
) -> Float64Array:
    """Return the covariances that belong to a factor, those before where it has not moved."""
    _, covariances = kind.precisions_and_covariances(factor, n_threads)
    return kind.merged(before, covariances, moved)
