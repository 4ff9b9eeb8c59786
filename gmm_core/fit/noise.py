"""The noise component: a uniform density over the region of the data (Banfield & Raftery 1993)."""

from __future__ import annotations

import math

import numpy as np

from gmm_core.core.dispatch import check_status, maximization
from gmm_core.core.types import Float64Array
from gmm_core.data.passes import Pass
from gmm_core.model.noise import Box
from gmm_core.model.parameters import Mixture, mixture_of, noise_weight, prepare

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
        If the box has no volume.
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
    axes = _principal_axes(statistics.about_means(mean[np.newaxis]).moments)
    along_axes = Box(mean, axes, *data.ranges(mean, axes))
    if not (along_axes.high - along_axes.low > 0).all():
        raise ValueError(
            "noise=True: X lies in a space of fewer dimensions than it has features, so that its "
            "region has no volume. Leave features out, or give a density as noise."
        )
    return min(along_features, along_axes, key=lambda box: box.log_volume)


def _principal_axes(triangle: Float64Array) -> Float64Array:
    """Return the eigenvectors of a symmetric matrix, given its lower triangle by rows."""
    D = math.isqrt(2 * len(triangle))
    matrix = np.zeros((1, D, D))
    rows, columns = np.tril_indices(D)
    # The principal axes of data do not depend on their scale, but products of it may overflow.
    matrix[0, rows, columns] = matrix[0, columns, rows] = triangle / abs(triangle).max()
    axes = np.empty((D, D))
    check_status(maximization.principal_axes(matrix, axes[np.newaxis]))
    return axes


def with_noise(start: Mixture, log_density: float) -> Mixture:
    """Return the start of EM with a noise component, for which the Gaussian ones make room."""
    weights = start.weights
    if not noise_weight(weights):
        weights = weights * (1 - _FIRST_WEIGHT)
    factor = start.prepared.precisions_cholesky
    prepared = prepare(weights, start.means, factor, start.covariance_type, log_density)
    return mixture_of(prepared, start.covariances)
