"""Bounds of the differential entropy of a mixture, which has no closed form."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gmm_core.core.types import Float64Array
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import Mixture


class EntropyBounds(NamedTuple):
    """Bounds of the differential entropy, in nats.

    Attributes
    ----------
    lower, upper : float
        The entropy lies between them.
    """

    lower: float
    upper: float


def entropy_bounds(mixture: Mixture) -> EntropyBounds:
    """Return bounds of the entropy of a mixture without a noise component.

    Let H be the mean entropy Σ w_i H_i of the components. The pairwise distances of Kolchinsky &
    Tracey bound the entropy by H − Σ_i w_i log Σ_j w_j exp(−d_ij): from above with the
    Kullback-Leibler divergences as d_ij, and from below with the Bhattacharyya distances. Huber et
    al. have the lower bound −Σ_i w_i log Σ_j w_j N(μ_i | μ_j, Σ_i + Σ_j). A Gaussian with the
    covariance of the mixture has at least its entropy. The best of these bounds are taken.
    """
    held = np.flatnonzero(mixture.weights > 0)
    weights, means = mixture.weights[held] / mixture.weights[held].sum(), mixture.means[held]
    (K, D), full = means.shape, COVARIANCE_TYPES["full"]
    kind, covariances = mixture.kind, mixture.covariances
    matrices = np.stack([kind.matrix(covariances, int(k), D) for k in held]).astype(np.float64)
    factors = full.factor_covariances(matrices, D)
    log_dets = -full.log_det_of_factor(factors, D)
    of_each = float(weights @ (D * (1 + math.log(2 * math.pi)) + log_dets) / 2)
    if K == 1:
        return EntropyBounds(of_each, of_each)
    roots = np.swapaxes(full.inverse_of_factor(factors), 1, 2)
    log_weights = np.log(weights)
    divergences, bhattacharyya, overlaps = (np.empty((K, K)) for _ in range(3))
    for i in range(K):
        apart = means[i] - means
        # tr(Σ_j⁻¹ Σ_i) = ‖U_jᵀ L_i‖² with Σ_i = L_i L_iᵀ
        traces = ((np.swapaxes(factors, 1, 2) @ roots[i]) ** 2).sum(axis=(1, 2))
        squares = (full.whiten_each(apart, factors) ** 2).sum(axis=1)
        divergences[i] = (traces + squares - D + log_dets - log_dets[i]) / 2
        sums = full.factor_covariances(matrices + matrices[i], D)
        log_dets_of_sums = -full.log_det_of_factor(sums, D)
        squares = (full.whiten_each(apart, sums) ** 2).sum(axis=1)
        log_ratios = log_dets_of_sums - D * math.log(2) - (log_dets + log_dets[i]) / 2
        bhattacharyya[i] = squares / 4 + log_ratios / 2
        overlaps[i] = -(squares + log_dets_of_sums + D * math.log(2 * math.pi)) / 2

    def mean_log_sum(exponents: Float64Array) -> float:
        """Return Σ_i w_i log Σ_j w_j exp(e_ij)."""
        terms = exponents + log_weights
        largest = terms.max(axis=1)
        return float(weights @ (largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1))))

    apart = means - weights @ means
    total = np.einsum("k,kij->ij", weights, matrices)
    total += np.einsum("k,ki,kj->ij", weights, apart, apart)
    log_det = -float(full.log_det_of_factor(full.factor_covariances(total[None], D), D)[0])
    of_gaussian = (D * (1 + math.log(2 * math.pi)) + log_det) / 2
    lower = max(of_each - mean_log_sum(-bhattacharyya), -mean_log_sum(overlaps))
    upper = min(of_each - mean_log_sum(-divergences), of_gaussian)
    return EntropyBounds(min(lower, upper), upper)  # they may cross by a rounding error
