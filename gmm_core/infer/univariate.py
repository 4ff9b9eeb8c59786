"""Probabilities and quantiles of mixtures of one feature.

The functions take weights, means and standard deviations of shape (K,) for one mixture, or of shape
(n, K) for a mixture for each of n numbers. Weights sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gmm_core.core.normal import ROOT_2_PI, gaussian, normal_cdf, normal_quantile
from gmm_core.core.types import Float64Array

_EPS = float(np.finfo(np.float64).eps)
_BLOCK = 1 << 14  # pairs of a number and a component that are computed at once


def cdf(
    x: Float64Array, weights: Float64Array, means: Float64Array, deviations: Float64Array
) -> Float64Array:
    """Return the probability of values up to x.

    Parameters
    ----------
    x : ndarray of shape (n,)
    weights, means, deviations : ndarray of shape (K,) or (n, K)

    Returns
    -------
    ndarray of shape (n,)
    """
    out = np.empty(len(x))
    for rows in _blocks(len(x), means.shape[-1]):
        w, m, s = (_of_rows(array, rows) for array in (weights, means, deviations))
        with np.errstate(over="ignore"):
            z = (x[rows, None] - m) / s
        out[rows] = (w * normal_cdf(z)).sum(axis=1)
    return np.minimum(out, 1.0, out=out)  # weights may sum to 1 + eps


def quantile(
    q: Float64Array, weights: Float64Array, means: Float64Array, deviations: Float64Array
) -> Float64Array:
    """Return the values that are exceeded with probability 1 − q.

    Parameters
    ----------
    q : ndarray of shape (n,)
        Probabilities from 0 to 1.
    weights, means, deviations : ndarray of shape (K,) or (n, K)

    Returns
    -------
    ndarray of shape (n,)
        −inf for q = 0, and inf for q = 1.
    """
    upper = q > 0.5
    return tail_quantile(np.where(upper, 1 - q, q), upper, weights, means, deviations)


def tail_quantile(
    p: Float64Array,
    upper: npt.NDArray[np.bool_],
    weights: Float64Array,
    means: Float64Array,
    deviations: Float64Array,
) -> Float64Array:
    """Return the ends of tails of a given probability.

    Parameters
    ----------
    p : ndarray of shape (n,)
        Probabilities from 0 to ½.
    upper : ndarray of shape (n,)
        Whether it is the probability of the values above the result, or of those below.
    weights, means, deviations : ndarray of shape (K,) or (n, K)

    Returns
    -------
    ndarray of shape (n,)
    """
    # The upper tail is the lower one of the mirrored mixture.
    sign = np.where(upper, -1.0, 1.0)
    out: Float64Array = np.full(len(p), -np.inf)
    for rows in _blocks(len(p), means.shape[-1]):
        w, m, s = (_of_rows(array, rows) for array in (weights, means, deviations))
        some = np.flatnonzero(p[rows] > 0)
        shape = len(p[rows]), means.shape[-1]
        of_rows = [np.broadcast_to(a, shape)[some] for a in (w, m * sign[rows, None], s)]
        out[rows.start + some] = _solve(p[rows][some], *of_rows)
    out *= sign
    return out


def _blocks(n: int, K: int) -> Iterator[slice]:
    """Divide n rows into blocks of bounded size."""
    step = max(1, _BLOCK // K)
    return (slice(start, start + step) for start in range(0, n, step))


def _of_rows(array: Float64Array, rows: slice) -> Float64Array:
    """Return the part of an array that belongs to some rows; one row may stand for all."""
    return np.atleast_2d(array) if array.ndim == 1 else array[rows]


def _solve(
    p: Float64Array, weights: Float64Array, means: Float64Array, deviations: Float64Array
) -> Float64Array:
    """Return the roots of log F(x) = log p for 0 < p ≤ ½; arrays have a row for each root.

    The root lies between the least and the largest p-quantile of the components. Newton's method
    starts there. The bracket is halved instead where a step would leave it, and after a step that
    has not halved the residual.
    """
    ends = means + deviations * normal_quantile(p)[:, None]
    low = np.where(weights > 0, ends, np.inf).min(axis=1)
    high = np.where(weights > 0, ends, -np.inf).max(axis=1)
    x: Float64Array = np.clip((weights * ends).sum(axis=1), low, high)
    before = np.full(len(p), np.inf)  # the size of the residual before the last step
    active = np.flatnonzero(low < high)
    while len(active):
        at, w, s = x[active], weights[active], deviations[active]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            z = (at[:, None] - means[active]) / s
            F = (w * normal_cdf(z)).sum(axis=1)
            residual = np.log(F) - np.log(p[active])
            step = residual * F * ROOT_2_PI / (w / s * gaussian(z)).sum(axis=1)
        low[active] = np.where(residual < 0, at, low[active])
        high[active] = np.where(residual < 0, high[active], at)
        lo, hi, size = low[active], high[active], abs(residual)
        newton = at - step
        middle = lo + (hi - lo) / 2
        with np.errstate(invalid="ignore"):
            good = (newton > lo) & (newton < hi) & (size <= before[active] / 2)
        move = np.where(good, newton, middle)
        done = (size <= 2 * _EPS) | (abs(move - at) <= _EPS * abs(at))
        done |= (middle <= lo) | (middle >= hi)
        x[active] = np.where(size <= 2 * _EPS, at, move)
        before[active] = size
        active = active[~done]
    return x
