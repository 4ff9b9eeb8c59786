"""The block of rows that a pass reads at once, and memory for the kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import AnyArray, Float64Array, FloatArray

NO_NOISE = np.empty((0, 0))  # the noise of rows that have none


class Block(NamedTuple):
    """Consecutive rows of the data, which a pass reads at once.

    Attributes
    ----------
    rows : slice
        The numbers of the rows in the data.
    X : ndarray of shape (n_rows, n_features), float32 or float64
    sample_weight : ndarray of shape (n_rows,), float64
        An empty array if the samples have no weights.
    noise : ndarray of shape (n_rows, D or D²), float64
        The variances or the covariances of the measurement noise of the rows. An empty array if
        there is none. If all rows share one covariance, the stride of the rows is 0.
    """

    rows: slice
    X: FloatArray
    sample_weight: Float64Array
    noise: Float64Array = NO_NOISE


def aligned_empty(shape: tuple[int, int], dtype: npt.DTypeLike) -> AnyArray:
    """Return an array whose rows begin on a cache line, so that no vector crosses two lines."""
    itemsize = np.dtype(dtype).itemsize
    pitch = -(-shape[1] * itemsize // 64) * 64 // itemsize
    buffer = np.empty(shape[0] * pitch + 64 // itemsize, dtype)
    offset = -buffer.ctypes.data % 64 // itemsize
    rows: AnyArray = buffer[offset : offset + shape[0] * pitch].reshape(shape[0], pitch)
    return rows
