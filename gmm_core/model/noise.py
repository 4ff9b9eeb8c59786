"""The noise component, whose density is uniform in a box (Banfield & Raftery 1993)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import Float64Array

ROWS = 1 << 14  # rows whose coordinates are computed at once, to bound the memory
_EPS = float(np.finfo(np.float64).eps)


class Noise(NamedTuple):
    """The noise component of a mixture.

    Attributes
    ----------
    log_density : float
        The logarithm of its uniform density.
    weight : float
        Its weight, which the weights of the other components lack to 1.
    """

    log_density: float
    weight: float

    @property
    def log_prob(self) -> float:
        """The logarithm of the weighted density, which is −inf for a weight of 0."""
        return self.log_density + math.log(self.weight) if self.weight else -math.inf


class Box(NamedTuple):
    """A box in the space of the features.

    A point x has the coordinates y = axesᵀ (x − origin). It lies in the box if low ≤ y ≤ high.

    Attributes
    ----------
    origin : ndarray of shape (D,)
    axes : ndarray of shape (D, D)
        A unit vector along an edge of the box in each column.
    low, high : ndarray of shape (D,)
        The smallest and the largest coordinates.
    """

    origin: Float64Array
    axes: Float64Array
    low: Float64Array
    high: Float64Array

    @property
    def log_volume(self) -> float:
        """The logarithm of the volume, as the volume itself may overflow."""
        return float(np.log(self.high - self.low).sum())

    def contains(self, X: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Return whether each row of X lies in the box, whose faces belong to it."""
        margin = 4 * len(self.low) * _EPS * (self.high - self.low)  # the rounding of y
        low, high = self.low - margin, self.high + margin
        inside = np.empty(len(X), np.bool_)
        for start in range(0, len(X), ROWS):
            y = coordinates(X[start : start + ROWS], self.origin, self.axes)
            inside[start : start + ROWS] = ((y >= low) & (y <= high)).all(axis=1)
        return inside

    def draw(self, n: int, generator: np.random.Generator) -> Float64Array:
        """Return n points that are uniformly distributed in the box, of shape (n, D)."""
        y = self.low + (self.high - self.low) * generator.uniform(size=(n, len(self.low)))
        x: Float64Array = self.origin + np.einsum("ne,de->nd", y, self.axes)
        return x


def coordinates(
    X: npt.NDArray[np.floating], origin: Float64Array, axes: Float64Array
) -> Float64Array:
    """Return axesᵀ (x − origin) for each row x, of shape (n, D)."""
    y: Float64Array = np.einsum("nd,de->ne", X.astype(np.float64) - origin, axes)
    return y
