"""The conversion of a model to scikit-learn's own class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gmm_core.io import bayesian_npz, npz
from gmm_core.model.covariance import COVARIANCE_TYPES

if TYPE_CHECKING:
    from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

# scikit-learn's classes by their names, while `patch_sklearn` has put ours in their place.
REPLACED: dict[str, Any] = {}


def to_sklearn(model: Any) -> GaussianMixture:
    """Return a fitted mixture as an object of scikit-learn's class.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    """
    return _converted(model, npz.CLASS, npz.ATTRIBUTES)


def bayesian_to_sklearn(model: Any) -> BayesianGaussianMixture:
    """Return a fitted Bayesian mixture as an object of scikit-learn's class; see `to_sklearn`."""
    return _converted(model, bayesian_npz.CLASS, bayesian_npz.ATTRIBUTES)


def _converted(model: Any, class_name: str, attributes: Iterable[str]) -> Any:
    """Return an object of a class of scikit-learn with the parameters and attributes of a model."""
    try:
        import sklearn.mixture
    except ImportError as error:
        raise ImportError(
            "to_sklearn needs scikit-learn, which cannot be imported: pip install scikit-learn"
        ) from error
    sklearn_class = REPLACED.get(class_name) or getattr(sklearn.mixture, class_name)
    params = {name: getattr(model, name) for name in sklearn_class().get_params()}
    params["covariance_type"] = COVARIANCE_TYPES[model.covariance_type].sklearn_name
    if callable(params["init_params"]) or params["init_params"] == "hierarchical":
        del params["init_params"]
    if isinstance(params.get("weights_init"), str):
        del params["weights_init"]
    other = sklearn_class(**params)
    for name in attributes:
        value = getattr(model, name, None)
        if value is not None:
            setattr(other, name, _copied(value))
    return other


def _copied(value: Any) -> Any:
    """Return a copy of an array or of a tuple of arrays, and any other value itself."""
    if isinstance(value, tuple):
        return tuple(map(_copied, value))
    return np.copy(value) if isinstance(value, np.ndarray) else value
