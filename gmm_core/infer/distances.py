"""Mahalanobis distances of samples from the components."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import AnyArray, FloatArray
from gmm_core.data.foreign import ForeignRows
from gmm_core.data.patterns import groups, has_missing, patterns_of
from gmm_core.infer.score import FittedMixture
from gmm_core.model.parameters import Prepared, mixture_of

_BLOCK = 1 << 15  # differences that are held at once


def mahalanobis(X: FloatArray | ForeignRows, model: FittedMixture) -> FloatArray:
    """Return the distance of each sample from each component, of shape (n_samples, K).

    It is that in the observed features, and 0 for a sample without any.
    """
    out: AnyArray = np.empty((len(X), len(model.prepared.weights)), X.dtype)
    if isinstance(X, ForeignRows):
        return X.map(lambda part: mahalanobis(part, model), out)
    if not (model.marginalize and has_missing(X)):
        return _fill(X, model.prepared, out)
    for patterns, (mixtures, _, _) in groups(patterns_of(X), mixture_of(model.prepared)):
        for pattern, marginal in zip(patterns, mixtures, strict=True):
            known = pattern.X.shape[1]
            distances = np.zeros((len(pattern.rows), out.shape[1]))
            out[pattern.rows] = _fill(pattern.X, marginal, distances) if known else distances
    return out


def _fill(X: FloatArray, prepared: Prepared, out: FloatArray) -> FloatArray:
    """Write the distances ‖U_kᵀ (x − μ_k)‖ to `out`, and return it.

    As differences are taken first, no digits cancel far from zero. Those whose square overflows are
    infinite.
    """
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        part = X[start : start + step].astype(np.float64)
        for k, mean in enumerate(prepared.means):
            factor = prepared.kind.of_component(prepared.precisions_cholesky, k)
            with np.errstate(over="ignore"):
                y = prepared.kind.whiten(part - mean, factor)
                out[start : start + step, k] = np.sqrt(np.einsum("nd,nd->n", y, y))
    return out
