"""The conversion of a model to scikit-learn's own class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gmm_core.io.npz import ATTRIBUTES
from gmm_core.model.covariance import COVARIANCE_TYPES

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture


def to_sklearn(model: Any) -> GaussianMixture:
    """Return a fitted model as an object of scikit-learn's class.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise ImportError(
            "to_sklearn needs scikit-learn, which cannot be imported: pip install scikit-learn"
        ) from error
    params = {name: getattr(model, name) for name in GaussianMixture().get_params()}
    params["covariance_type"] = COVARIANCE_TYPES[model.covariance_type].sklearn_name
    if callable(params["init_params"]) or params["init_params"] == "hierarchical":
        del params["init_params"]
    if isinstance(params["weights_init"], str):
        del params["weights_init"]
    other = GaussianMixture(**params)
    for name in ATTRIBUTES:
        value = getattr(model, name, None)
        if value is not None:
            setattr(other, name, np.copy(value) if isinstance(value, np.ndarray) else value)
    return other
