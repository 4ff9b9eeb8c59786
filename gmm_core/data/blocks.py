"""The block of rows that a pass reads at once."""

from __future__ import annotations

from typing import NamedTuple

from gmm_core.core.types import Float64Array, FloatArray


class Block(NamedTuple):
    """Consecutive rows of the data, which a pass reads at once.

    Attributes
    ----------
    rows : slice
        The numbers of the rows in the data.
    X : ndarray of shape (n_rows, n_features), float32 or float64
    sample_weight : ndarray of shape (n_rows,), float64
        An empty array if the samples have no weights.
    """

    rows: slice
    X: FloatArray
    sample_weight: Float64Array
