"""Predictions of a regression from the conditional mixtures of its targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from gmm_core.core.types import Float64Array
from gmm_core.core.warn import warn
from gmm_core.infer.conditional import ConditionalBlock
from gmm_core.infer.univariate import quantile

Blocks = Iterator[ConditionalBlock]


def moments(
    blocks: Blocks, n: int, q: int, spread: Literal["variance", "covariance"] | None = None
) -> tuple[Float64Array, Float64Array]:
    """Return the means of n conditional mixtures of q targets, and their variances if asked for.

    By the law of total variance, the covariance is Σ_k r_k (C_k + (m_k − mean)(m_k − mean)ᵀ).

    Returns
    -------
    mean : ndarray of shape (n, q)
    spread : ndarray of shape (n, q) or (n, q, q)
        Variances or covariances; empty if `spread` is None.
    """
    mean = np.empty((n, q))
    out = np.empty({"variance": (n, q), "covariance": (n, q, q)}.get(spread or "", (0,)))
    for rows, r, means, covariances, _ in blocks:
        mean[rows] = np.einsum("nk,nkt->nt", r, means)
        if spread is None:
            continue
        difference = means - mean[rows][:, None]
        if spread == "variance":
            out[rows] = np.einsum("nk,ktt->nt", r, covariances)
            out[rows] += np.einsum("nk,nkt,nkt->nt", r, difference, difference)
        else:
            out[rows] = np.einsum("nk,kst->nst", r, covariances)
            out[rows] += np.einsum("nk,nks,nkt->nst", r, difference, difference)
    return mean, out


def quantiles(blocks: Blocks, n: int, q: int, probabilities: Float64Array) -> Float64Array:
    """Return quantiles of each target of n conditional mixtures, of shape (n, q, n_quantiles)."""
    out = np.empty((n, q, len(probabilities)))
    for rows, r, means, covariances, _ in blocks:
        deviations = np.sqrt(np.einsum("ktt->kt", covariances))
        for t, i in np.ndindex(out.shape[1:]):
            p = np.full(len(rows), probabilities[i])
            out[rows, t, i] = quantile(p, r, means[:, :, t], deviations[:, t])
    return out


def draws(
    blocks: Blocks, n: int, q: int, n_samples: int, random_state: np.random.RandomState
) -> Float64Array:
    """Draw from n conditional mixtures of q targets.

    A component k is drawn by its responsibility, and then the targets from N(m_k, C_k). The random
    numbers are drawn in the order of the rows, whatever features they lack.

    Returns
    -------
    ndarray of shape (n, q, n_samples)
    """
    uniforms = random_state.uniform(size=(n, n_samples))
    out = random_state.standard_normal(size=(n, n_samples, q))
    for rows, r, means, _, roots in blocks:
        K = r.shape[1]
        drawn, at = out[rows], uniforms[rows]
        labels = np.zeros(at.shape, np.intp)
        for share in r[:, :-1].cumsum(axis=1).T:
            labels += share[:, None] <= at
        for k in range(K):
            i, s = np.nonzero(labels == k)
            drawn[i, s] = means[i, k] + np.einsum("tu,nu->nt", roots[k], drawn[i, s])
        out[rows] = drawn
    return np.ascontiguousarray(out.transpose(0, 2, 1))


def r_squared(y: Float64Array, predicted: Float64Array, weight: Float64Array | None) -> float:
    """Return the coefficient of determination R², the mean over the targets.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_samples, n_targets)
        Where a target is NaN, the row does not count for it.
    weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    float
        NaN, with a warning, if there is only one sample.
    """
    if len(y) < 2:
        warn("R² is not defined for fewer than two samples")
        return math.nan
    known = ~np.isnan(y)
    w = known.astype(np.float64) if weight is None else known * weight[:, None]
    total = w.sum(axis=0)
    if not total.all():
        raise ValueError("y has a target without a value in the rows of positive weight")
    # A target is measured from one of its values, as it may have a large offset.
    y0 = np.where(known, y, 0)
    shift = y0[(w > 0).argmax(axis=0), np.arange(y.shape[1])]
    moved = np.where(known, y0 - shift, 0)
    about_mean = np.where(known, moved - (w * moved).sum(axis=0) / total, 0)
    residual = (w * np.where(known, y0 - predicted, 0) ** 2).sum(axis=0)
    spread = (w * about_mean**2).sum(axis=0)
    # As in scikit-learn, the score of a constant target is 1 if it is predicted exactly, else 0.
    constant = np.where(residual == 0, 1.0, 0.0)
    scores = np.where(spread > 0, 1 - residual / np.where(spread > 0, spread, 1), constant)
    return float(scores.mean())
