"""The posterior predictive density of a Bayesian mixture."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.data.foreign import ForeignRows
from gmm_core.model.posterior import Posterior, log_determinant

_ROWS = 1 << 14  # rows whose densities are computed at once, to bound the memory


def log_predictive(X: FloatArray | ForeignRows, posterior: Posterior) -> Float64Array:
    """Return log p(x | data) = log Σ_k E[π_k] ∫ N(x | μ_k, Λ_k⁻¹) dq(μ_k, Λ_k) of each row.

    The expected weights are scaled to sum to 1.
    """
    out = np.empty(len(X))
    if isinstance(X, ForeignRows):
        for rows, part in X.parts(_ROWS):
            out[rows] = log_predictive(part, posterior)
        return out
    for start in range(0, len(X), _ROWS):
        out[start : start + _ROWS] = _log_predictive(X[start : start + _ROWS], posterior)
    return out


def _log_predictive(X: FloatArray, posterior: Posterior) -> Float64Array:
    mixture, kind, K = posterior.mixture, posterior.kind, len(posterior.mixture.weights)
    degrees = np.broadcast_to(posterior.degrees_of_freedom, (K,))
    log_det = np.broadcast_to(log_determinant(posterior), (K,))
    terms = np.empty((K, len(X)))
    for k in range(K):
        factor = kind.of_component(mixture.prepared.precisions_cholesky, k)
        with np.errstate(over="ignore"):
            squares = kind.whiten(X.astype(np.float64) - mixture.means[k], factor) ** 2
        terms[k] = kind.conjugate.log_student(
            squares, float(log_det[k]), float(degrees[k]), float(posterior.mean_precision[k])
        )
        with np.errstate(divide="ignore"):
            terms[k] += np.log(mixture.weights[k])
    peak = terms.max(axis=0)
    with np.errstate(invalid="ignore"):
        density: Float64Array = peak + np.log(np.exp(terms - peak).sum(axis=0))
    return np.where(peak > -np.inf, density, -np.inf)
