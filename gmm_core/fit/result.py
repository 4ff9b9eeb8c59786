"""The attributes that a fit sets on the estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gmm_core.core.types import Names
from gmm_core.fit.loop import Fit
from gmm_core.model.attributes import arrays_of
from gmm_core.model.parameters import Mixture


def attributes_of(
    fit: Fit[Mixture],
    dtype: np.dtype[Any],
    names: Names | None,
    n_threads: int,
    **others: Any,
) -> dict[str, Any]:
    """Return the fitted attributes by name; the value None means that an attribute is removed.

    Parameters
    ----------
    fit : Fit
    dtype : dtype
        The dtype of the arrays, float32 or float64.
    names : ndarray of object, or None
        Names of the features.
    n_threads : int
    **others
        Further attributes by name.

    Returns
    -------
    dict

    Raises
    ------
    NumericalError
        If a value is beyond the range of the dtype.
    """
    return {
        **arrays_of(fit.parameters, dtype, n_threads),
        "converged_": fit.converged,
        "n_iter_": len(fit.lower_bounds),
        "lower_bound_": fit.lower_bound,
        "lower_bounds_": fit.lower_bounds,
        "n_features_in_": fit.parameters.means.shape[1],
        "feature_names_in_": names,
        **others,
    }


def set_attributes(attributes: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Set and remove attributes of an estimator as `attributes_of` describes."""
    attributes.update({name: value for name, value in changes.items() if value is not None})
    for name, value in changes.items():
        if value is None:
            attributes.pop(name, None)
