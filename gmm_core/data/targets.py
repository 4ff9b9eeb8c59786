"""Checks of the targets of a regression."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.types import FloatArray, Names
from gmm_core.data.conversion import as_float_array, for_kernels
from gmm_core.data.finite import check_finite, check_not_infinite
from gmm_core.data.frames import feature_names_of


class Targets(NamedTuple):
    """The checked targets of a regression.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_targets), float32 or float64
    is_vector : bool
        Whether they were given with the shape (n_samples,).
    names : ndarray of shape (n_targets,), object, or None
        The names of a data frame or of a series.
    """

    values: FloatArray
    is_vector: bool
    names: Names | None


def check_targets(
    y: Any, n_samples: int, allow_nan: bool, estimator_name: str
) -> Targets:
    """Check the targets of samples.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    n_samples : int
    allow_nan : bool
        Whether NaN is allowed, as a missing value.
    estimator_name : str
        The name of the class in messages.

    Returns
    -------
    Targets

    Raises
    ------
    ValueError
        If `y` is None or has another shape, or if values are infinite, complex, text, or, unless
        that is allowed, NaN.
    TypeError
        If `y` does not consist of numbers, or is sparse or a Dask collection.
    """
    if y is None:
        raise ValueError(f"{estimator_name} requires y to be passed, but the target y is None")
    array = as_float_array(y, "y", allow_strings=False, masked_as_nan=allow_nan)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not array.shape[1]):
        raise ValueError(
            f"y has shape {array.shape}, expected (n_samples,) or (n_samples, n_targets)"
        )
    if len(array) != n_samples:
        raise ValueError(f"y has {len(array)} rows, but X has {n_samples} rows")
    array = for_kernels(array)
    if allow_nan:
        check_not_infinite(array, "y")
    else:
        check_finite(array, "y", 'With missing="marginalize", targets may be missing.')
    return Targets(array.reshape(n_samples, -1), array.ndim == 1, _names_of(y))


def _names_of(y: Any) -> Names | None:
    """Return the names of the targets, if they have any."""
    name = getattr(y, "name", None)  # of a series
    return np.array([name], object) if isinstance(name, str) and name else feature_names_of(y)
