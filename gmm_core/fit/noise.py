"""The noise component: a uniform density over the region of the data (Banfield & Raftery 1993)."""

from __future__ import annotations

import math

import numpy as np

from gmm_core.core.dispatch import check_status, maximization
from gmm_core.core.types import Float64Array
from gmm_core.data.parameter_validation import remaining_weight
from gmm_core.data.passes import Pass
from gmm_core.model.noise import Box, Noise
from gmm_core.model.parameters import Mixture, mixture_of, prepare

# The weight of the noise at the start of EM, unless the start itself has noise.
_FIRST_WEIGHT = 0.1


def noise_of(noise: bool | float, data: Pass) -> tuple[float | None, Box | None]:
    """Return the logarithm of the density of the noise, and its box.

    Parameters
    ----------
    noise : bool or float
        The parameter `noise` of `GaussianMixture`.
    data : Pass

    Returns
    -------
    log_density : float or None
        None if there is no noise.
    box : Box or None
        None if the density was given.

    Raises
    ------
    ValueError
        If the region of the data has no volume.
    """
    if isinstance(noise, (bool, np.bool_)):
        if not noise:
            return None, None
        box = region(data)
        return -box.log_volume, box
    return math.log(noise), None


def region(data: Pass) -> Box:
    """Return the smaller of the boxes along the features and along the principal axes of the data.

    These are the edges of mclust's `hypvol`. Rows of weight 0 do not count.

    Raises
    ------
    ValueError
        If the region has no volume.
    """
    zero, unit = np.zeros(data.n_features), np.eye(data.n_features)
    along_features = Box(zero, unit, *data.ranges(zero, unit))
    extents = along_features.high - along_features.low
    if not (extents > 0).all():
        raise ValueError(
            f"noise=True: X has no extent along feature {int(np.argmin(extents))}, so that its "
            "region has no volume. Leave this feature out, or give a density as noise."
        )
    if data.n_features == 1:
        return along_features
    middle = (along_features.low + along_features.high) / 2
    statistics = data.scatter(middle[np.newaxis])
    mean = statistics.means[0]
    with np.errstate(over="ignore", invalid="ignore"):  # `_principal_axes` finds out
        moments = statistics.about_means(mean[np.newaxis]).moments
    axes = _principal_axes(moments)
    along_axes = Box(mean, axes, *data.ranges(mean, axes))
    return min(along_features, along_axes, key=lambda box: box.log_volume)


def _principal_axes(triangle: Float64Array) -> Float64Array:
    """Return the eigenvectors of a scatter matrix, given its lower triangle by rows.

    Raises
    ------
    ValueError
        If the matrix overflows, or is singular up to its rounding: one of the features follows from
        the others. That is judged by the correlations, which do not depend on the units.
    """
    D = math.isqrt(2 * len(triangle))
    matrix = np.empty((D, D))
    rows, columns = np.tril_indices(D)
    matrix[rows, columns] = matrix[columns, rows] = triangle
    sd = np.sqrt(np.diagonal(matrix))
    if not (np.isfinite(matrix).all() and sd.all()):
        raise ValueError("noise=True: the squared distances of X overflow: scale the data")
    least = np.diagonal(_decomposed(matrix / sd / sd[:, np.newaxis])[0])[-1]
    if least <= 16 * D * np.finfo(np.float64).eps:
        raise ValueError(
            "noise=True: X lies in a space of fewer dimensions than it has features, so that its "
            "region has no volume. Leave features out, or give a density as noise."
        )
    return _decomposed(matrix / abs(triangle).max())[1]


def _decomposed(matrix: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return a matrix with the eigenvalues on its diagonal, the largest first, and the axes."""
    values, axes = matrix[np.newaxis].copy(), np.empty((1, *matrix.shape))
    check_status(maximization.principal_axes(values, axes))
    return values[0], axes[0]


def with_noise(start: Mixture, log_density: float) -> Mixture:
    """Return the start of EM with a noise component of this density.

    If the start has none, and the weights sum to 1, the Gaussian components make room for it.
    """
    weights, noise = start.weights, start.prepared.noise
    weight = remaining_weight(weights) if noise is None else noise.weight
    if noise is None and not weight:
        weights, weight = weights * (1 - _FIRST_WEIGHT), _FIRST_WEIGHT
    return _prepared_again(start, weights, Noise(log_density, weight))


def without_noise(start: Mixture) -> Mixture:
    """Return the start of EM without its noise component, if it has one."""
    if start.prepared.noise is None:
        return start
    return _prepared_again(start, start.weights / start.weights.sum(), None)


def _prepared_again(start: Mixture, weights: Float64Array, noise: Noise | None) -> Mixture:
    factor = start.prepared.precisions_cholesky
    prepared = prepare(weights, start.means, factor, start.covariance_type, noise)
    return mixture_of(prepared, start.covariances)
