"""The distance of means from the origins of moments."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array


def moves(first: Float64Array, counts: Float64Array) -> Float64Array:
    """Return s / N for each component, and 0 for a component without samples.

    Parameters
    ----------
    first : ndarray of shape (K, D)
        The first moments s about the origins.
    counts : ndarray of shape (K,)
        The counts N.

    Returns
    -------
    ndarray of shape (K, D)
    """
    n = counts[:, None]
    return np.divide(first, n, out=np.zeros(first.shape), where=n > 0)
