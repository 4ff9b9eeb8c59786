"""The nearest component to a sample whose density is 0 under every component."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.data.measurement import NoisyRows
from gmm_core.data.patterns import groups, has_missing, patterns_of
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import Mixture, Prepared, mixture_of, prepare


def nearest_components(X: FloatArray | NoisyRows, prepared: Prepared) -> Indices:
    """Return the nearest component to each sample in the features that are not missing.

    Parameters
    ----------
    X : ndarray or NoisyRows of shape (n_samples, n_features)
        NaN is a missing value.
    prepared : Prepared

    Returns
    -------
    ndarray of shape (n_samples,), intp
    """
    if isinstance(X, NoisyRows):
        found = [_nearest_to(X.X[i], X.noise[i], prepared) for i in range(len(X))]
        return np.array(found, np.intp)
    if not has_missing(X):
        return _nearest(X, prepared)
    nearest = np.empty(len(X), np.intp)
    for patterns, (mixtures, _, _) in groups(patterns_of(X), mixture_of(prepared)):
        for pattern, marginal in zip(patterns, mixtures, strict=True):
            nearest[pattern.rows] = _nearest(pattern.X, marginal)
    return nearest


def _nearest_to(x: FloatArray, noise: Float64Array, prepared: Prepared) -> int:
    """Return the nearest component to one sample that was measured with noise."""
    known = np.flatnonzero(~np.isnan(x))
    if not len(known):
        return int(np.argmax(prepared.weights))
    total = covariances_with_noise(mixture_of(prepared), noise, known)
    factor = COVARIANCE_TYPES["full"].factor_covariances(total, len(known))
    means = np.ascontiguousarray(prepared.means[:, known])
    return int(_nearest(x[None, known], prepare(prepared.weights, means, factor, "full"))[0])


def covariances_with_noise(
    mixture: Mixture, noise: Float64Array, known: Indices
) -> Float64Array:
    """Return Σ_k + S of the known features for a sample with the noise S, of shape (K, q, q).

    If S has no variance in some direction and much more than Σ_k in others, rounding may leave an
    indefinite matrix. The eigenvalues of its correlations are lifted until it is definite.
    """
    K, D = mixture.means.shape
    S: Float64Array = np.diag(noise) if len(noise) == D else noise.reshape(D, D)
    total = np.stack([mixture.kind.matrix(mixture.covariances, k, D) + S for k in range(K)])
    of_known: Float64Array = total[:, known[:, None], known]
    size = np.sqrt(np.einsum("kii->ki", of_known))
    values, vectors = np.linalg.eigh(of_known / size[:, :, None] / size[:, None])
    least = 16 * len(known) * np.finfo(float).eps
    for k in np.flatnonzero(values[:, 0] < least):
        lifted = np.einsum("id,d,jd->ij", vectors[k], np.maximum(values[k], least), vectors[k])
        of_known[k] = lifted * size[k][:, None] * size[k]
    return of_known


def _nearest(X: npt.NDArray[np.floating], prepared: Prepared) -> Indices:
    """Return the component that gets all responsibility as a sample moves away.

    It is the component with the smallest whitened distance, and among equal distances the one with
    the largest π_k |U_k|. Data and factors are scaled to magnitude 1 first, so that nothing
    overflows.
    """
    x, means, kind = X.astype(np.float64), prepared.means, prepared.kind
    K = len(means)
    unit = np.maximum(abs(x).max(axis=1), max(abs(means).max(), np.finfo(float).tiny))[:, None]
    log_distance = np.empty((len(x), K))
    for k in range(K):
        if prepared.weights[k] == 0:
            log_distance[:, k] = np.inf
            continue
        factor = kind.of_component(prepared.precisions_cholesky, k)
        scale = abs(factor).max()
        y = kind.whiten(x / unit - means[k] / unit, factor / scale)
        with np.errstate(divide="ignore"):
            log_distance[:, k] = np.log(np.sqrt((y * y).sum(axis=1))) + np.log(scale)
    near = log_distance <= log_distance.min(axis=1, keepdims=True) + 4 * np.finfo(float).eps
    heaviest = np.where(near, prepared.log_constant[:K], -np.inf).argmax(axis=1)
    return np.asarray(heaviest, np.intp)
