"""Models of BayesianGaussianMixture as .npz files; see `files.py`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from gmm_core.core.types import AnyArray, PosteriorName
from gmm_core.fit.bayesian_stream import Position
from gmm_core.io import files
from gmm_core.io.files import Content, Model
from gmm_core.model.archive import FLOATS, Members
from gmm_core.model.archive_entries import check_above, field, is_log_likelihood, is_weight
from gmm_core.model.attributes import ARRAYS
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.statistics import Statistics

CLASS = "BayesianGaussianMixture"
FORMAT_VERSION = 1
SCALARS: files.Scalars = {
    **files.SCALARS,
    "elbo_": (lambda v: is_log_likelihood(v) or v != v, "a number"),
    "weight_concentration_prior_": (is_weight, "a positive number"),
    "mean_precision_prior_": (is_weight, "a positive number"),
    "degrees_of_freedom_prior_": (is_weight, "a positive number"),
    "posterior_": (lambda v: v in get_args(PosteriorName), "the name of a posterior"),
}
_POSTERIOR_ARRAYS = (
    "weight_concentration_", "mean_precision_", "degrees_of_freedom_", "mean_prior_",
    "covariance_prior_",
)  # fmt: skip
ATTRIBUTES = (*ARRAYS, *_POSTERIOR_ARRAYS, *SCALARS, "feature_names_in_")
_NOT_NEGATIVE = ("sample_weight", "n_fitted", "seen")
_PRIORS = ("mean_prior", "covariance_prior")


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file; see `BayesianGaussianMixture.save` and `files.write_model`."""
    header, arrays = files.content_for_file(model, CLASS, FORMAT_VERSION, SCALARS, _PRIORS)
    arrays |= {name: files.floats(getattr(model, name)) for name in _POSTERIOR_ARRAYS}
    position: Position | None = vars(model).get("_position")
    if position is not None:
        fields = position._asdict()
        header["position_names"] = fields.pop("names").tolist()
        arrays |= {f"position_{name}": np.asarray(array) for name, array in fields.items()}
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
    if "position_X" in members:
        attributes["_position"] = _position(members, K, D, kind)
    return params, attributes


def _position(members: Members, K: int, D: int, kind: str) -> Position:
    """Read the state of a stream of `partial_fit`."""

    def array(name: str, shape: tuple[int | None, ...], dtypes: Sequence[str]) -> AnyArray:
        values = members.array(f"position_{name}", shape, dtypes)
        bad = np.isinf(values) if name == "X" else ~np.isfinite(values)  # in X, NaN is missing
        if bad.any() or (name in _NOT_NEGATIVE and (values < 0).any()):
            raise ValueError(f"position_{name} has values that it cannot have")
        return values

    names = field(
        members.header, "position_names",
        lambda v: isinstance(v, list) and all(isinstance(name, str) for name in v),
        "a list of names",
    )  # fmt: skip
    X = array("X", (None, D), FLOATS)
    position = Position(
        X, array("sample_weight", (len(X),), ("float64",)), array("n_fitted", (), ("int64",)),
        np.array(names, dtype=object), array("values", (None,), ("float64",)),
        array("shift", (None, D), ("float64",)), array("entropy", (), ("float64",)),
        array("seen", (), ("float64",)),
    )  # fmt: skip
    if not position.is_collecting:
        Statistics(position.values, position.shift, kind)  # checks the shapes
        if position.shift.shape != (K, D):
            raise ValueError(f"position_shift has shape {position.shift.shape}")
    return position
