"""Highest-density regions: the smallest sets that hold a given probability (Hyndman 1996)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import Float64Array
from gmm_core.infer.univariate import cdf, tail_quantile

_STEPS = np.linspace(-10, 10, 161)  # in standard deviations, where the slope is evaluated
_BLOCK = 1 << 18  # pairs of a point and a component that are computed at once
_TOLERANCE = 1e-3  # the largest relative error of the probability
_EPS = float(np.finfo(np.float64).eps)
_LOG_2_PI = float(np.log(2 * np.pi))


class HighestDensityRegion(NamedTuple):
    """The smallest set that holds a given probability.

    Attributes
    ----------
    log_density : float
        The logarithm of the least density in it. A sample x belongs to the region if
        ``score_samples([x])[0] >= log_density``.
    intervals : ndarray of shape (n_intervals, 2), or None
        The ends of the intervals that the region consists of, in ascending order. None if there is
        more than one feature.
    """

    log_density: float
    intervals: Float64Array | None


def univariate_region(
    probability: float, weights: Float64Array, means: Float64Array, deviations: Float64Array
) -> HighestDensityRegion:
    """Return the highest-density region of a mixture of one feature, exact to rounding.

    The modes and the minima between them divide the line into pieces on which the density is
    monotone, so that each piece has at most one end of an interval.

    Parameters
    ----------
    probability : float
        0 < probability < 1.
    weights, means, deviations : ndarray of shape (K,)

    Returns
    -------
    HighestDensityRegion

    Raises
    ------
    ValueError
        If the region is so narrow that floating-point numbers do not resolve it.
    """
    some = weights > 0
    mixture = weights[some], means[some], deviations[some]
    extrema = _extrema(*mixture)
    if not len(extrema):
        raise _unresolved()
    tail = np.full(2, (1 - probability) / 4)
    left, right = tail_quantile(tail, np.array([False, True]), *mixture)
    # The region above this level holds all between the two quantiles, which is enough.
    inner = np.concatenate([[min(left, extrema[0])], extrema, [max(right, extrema[-1])]])
    least = _log_density(inner, *mixture).min()
    # Farther than z standard deviations from all means, the density is below that level.
    w, m, s = mixture
    z = np.sqrt(2 * max(np.log((w / s).sum()) - _LOG_2_PI / 2 - least, 0.0))
    points = np.concatenate([[(m - z * s).min()], extrema, [(m + z * s).max()]])
    heights = _log_density(points, *mixture)

    def ends(level: float) -> Float64Array:
        """Return the ends of the intervals where the logarithm of the density exceeds a level."""
        above = heights > level
        above[[0, -1]] = False
        pieces = np.flatnonzero(above[1:] != above[:-1])
        rising = above[1:][pieces]
        return _bisect(
            lambda x: (_log_density(x, *mixture) > level) == rising, points[pieces],
            points[pieces + 1], _EPS * float(mixture[2].min()),
        )  # fmt: skip

    def holds(levels: Float64Array) -> npt.NDArray[np.bool_]:
        """Return whether the region above a level holds less than the probability."""
        below = cdf(ends(float(levels[0])), *mixture)
        return np.array([(below[1::2] - below[::2]).sum() < probability])

    level = float(_bisect(holds, np.array([least]), heights.max(keepdims=True), _EPS)[0])
    intervals = ends(level).reshape(-1, 2)
    below = cdf(intervals.ravel(), *mixture)
    if abs((below[1::2] - below[::2]).sum() - probability) > _TOLERANCE * probability:
        raise _unresolved()
    return HighestDensityRegion(level, intervals)


def _unresolved() -> ValueError:
    return ValueError(
        "the region cannot be resolved, as its probability is too small, or a standard deviation "
        "is not much larger than the rounding errors of its mean (then subtract an offset)"
    )


def _log_density(
    x: Float64Array, weights: Float64Array, means: Float64Array, deviations: Float64Array
) -> Float64Array:
    """Return the logarithm of the density at each x."""
    terms = _log_terms(x, weights, means, deviations)
    largest = terms.max(axis=1)
    total: Float64Array = largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1))
    return total


def _log_terms(
    x: Float64Array, weights: Float64Array, means: Float64Array, deviations: Float64Array
) -> Float64Array:
    with np.errstate(over="ignore"):
        z = (x[:, None] - means) / deviations
        terms: Float64Array = np.log(weights) - np.log(deviations) - (z * z + _LOG_2_PI) / 2
    return terms


def _extrema(weights: Float64Array, means: Float64Array, deviations: Float64Array) -> Float64Array:
    """Return the modes, and the minima between them, in ascending order.

    Where the density bends, it does so on the scale of a component that is near. So it suffices to
    look for changes of the sign of its slope between points at a distance of 1/8 of a standard
    deviation of the components around.
    """
    grid = np.unique(means + deviations * _STEPS[:, None])

    def rises(x: Float64Array) -> npt.NDArray[np.bool_]:
        rising = np.empty(len(x), np.bool_)
        step = max(1, _BLOCK // len(means))
        for start in range(0, len(x), step):
            part = x[start : start + step]
            terms = _log_terms(part, weights, means, deviations)
            shares = np.exp(terms - terms.max(axis=1, keepdims=True))
            with np.errstate(over="ignore", invalid="ignore"):
                slopes = shares * ((means - part[:, None]) / deviations) / deviations
            slopes[shares == 0] = 0
            rising[start : start + step] = slopes.sum(axis=1) > 0
        return rising

    rising = rises(grid)
    rising[0], rising[-1] = True, False
    changes = np.flatnonzero(rising[1:] != rising[:-1])
    falls, resolution = rising[changes], _EPS * float(deviations.min())
    return _bisect(lambda x: rises(x) != falls, grid[changes], grid[changes + 1], resolution)


def _bisect(
    beyond: Callable[[Float64Array], npt.NDArray[np.bool_]],
    low: Float64Array,
    high: Float64Array,
    resolution: float,
) -> Float64Array:
    """Return where a condition becomes true between `low`, where it is false, and `high`.

    The error is at most `resolution`, or the distance of two floating-point numbers.
    """
    while True:
        middle = low + (high - low) / 2
        if not ((middle > low) & (middle < high) & (high - low > resolution)).any():
            return high
        after = beyond(middle)
        low, high = np.where(after, low, middle), np.where(after, middle, high)
