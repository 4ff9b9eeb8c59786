"""Models of BayesianGaussianMixture as .npz files; see `files.py`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gmm_core.core.types import AnyArray
from gmm_core.io import files
from gmm_core.io.files import Content, Model
from gmm_core.model.archive import FLOATS, Members
from gmm_core.model.archive_entries import check_above, is_log_likelihood, is_weight
from gmm_core.model.attributes import ARRAYS
from gmm_core.model.covariance import COVARIANCE_TYPES

CLASS = "BayesianGaussianMixture"
FORMAT_VERSION = 1
SCALARS: files.Scalars = {
    **files.SCALARS,
    "elbo_": (lambda v: is_log_likelihood(v) or v != v, "a number"),
    "weight_concentration_prior_": (is_weight, "a positive number"),
    "mean_precision_prior_": (is_weight, "a positive number"),
    "degrees_of_freedom_prior_": (is_weight, "a positive number"),
}
_POSTERIOR_ARRAYS = (
    "weight_concentration_", "mean_precision_", "degrees_of_freedom_", "mean_prior_",
    "covariance_prior_",
)  # fmt: skip
ATTRIBUTES = (*ARRAYS, *_POSTERIOR_ARRAYS, *SCALARS, "feature_names_in_")
_PRIORS = ("mean_prior", "covariance_prior")


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file; see `BayesianGaussianMixture.save` and `files.write_model`."""
    header, arrays = files.content_for_file(model, CLASS, FORMAT_VERSION, SCALARS, _PRIORS)
    arrays |= {name: files.floats(getattr(model, name)) for name in _POSTERIOR_ARRAYS}
    files.write_model(model, path, header, arrays, _read)


def load(cls: type[Model], path: str | os.PathLike[str]) -> Model:
    """Read a model; see `BayesianGaussianMixture.load` and `files.read_model`."""
    return files.read_model(cls, path, _read)


def _read(members: Members) -> Content:
    """Check the content of a file, and return parameters and attributes; see `load`."""
    params, attributes, kind = files.read_content(
        members, CLASS, FORMAT_VERSION, SCALARS, _PRIORS
    )
    for name in SCALARS:
        if name not in attributes:
            raise ValueError(f"it has no {name}")
    K, D = attributes["means_"].shape
    precision = COVARIANCE_TYPES[kind].conjugate

    def array(name: str, shape: tuple[int, ...], low: float = -np.inf) -> AnyArray:
        values = members.array(name, shape, FLOATS)
        check_above(values, name, low)
        return values

    process = len(members.array("weight_concentration_", None, FLOATS).shape) == 2
    concentration: Any = array("weight_concentration_", (2, K) if process else (K,), 0)
    attributes["weight_concentration_"] = tuple(concentration) if process else concentration
    attributes["mean_precision_"] = array("mean_precision_", (K,), 0)
    attributes["mean_prior_"] = array("mean_prior_", (D,))
    # An empty index turns an array without dimensions into a number, which it is after `fit`.
    degrees = array("degrees_of_freedom_", () if precision.shared else (K,), D - 1)
    attributes["degrees_of_freedom_"] = degrees[()]
    attributes["covariance_prior_"] = array("covariance_prior_", precision.prior_shape(D))[()]
    return params, attributes
