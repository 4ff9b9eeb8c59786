"""Models of GaussianMixture as .npz files; see `files.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from gmm_core.core.types import Names
from gmm_core.fit.stream import Collected, Position
from gmm_core.io import files
from gmm_core.io.files import Content, Model
from gmm_core.model.archive import FLOATS, Members
from gmm_core.model.archive_entries import (
    arrays_for_file,
    field,
    is_count,
    is_covariance_type,
    is_number,
    is_size,
    is_weight,
    mixture_from_file,
)
from gmm_core.model.attributes import ARRAYS
from gmm_core.model.noise import Box
from gmm_core.model.statistics import Statistics, n_sums

CLASS = "GaussianMixture"
FORMAT_VERSION = 2      # version 1 had no position of a stream
SCALARS: files.Scalars = {
    **files.SCALARS,
    "n_samples_seen_": (is_size, "a finite number from 0 up"),
    "noise_log_density_": (is_number, "a number"),
    "noise_weight_": (lambda v: is_number(v) and 0 <= v < 1, "a number in [0, 1)"),
}
ATTRIBUTES = (*ARRAYS, *SCALARS, "feature_names_in_")
_INITS = ("weights_init", "means_init", "precisions_init")


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to a file; see `GaussianMixture.save` and `files.write_model`."""
    header, arrays = files.content_for_file(model, CLASS, FORMAT_VERSION, SCALARS, _INITS)
    params = header["params"]
    params["labels_init"] = None
    if params["fixed"] is not None and not isinstance(params["fixed"], Mapping):
        params["fixed"] = sorted(params["fixed"])
    box: Box | None = vars(model).get("noise_box_")
    if box is not None:
        arrays |= {f"noise_box_{name}": array for name, array in box._asdict().items()}
    if "_mean_weight" in vars(model):
        header["mean_weight"] = vars(model)["_mean_weight"]
    collected: Collected | None = vars(model).get("_collected")
    if collected is not None:
        header["collected"] = collected.n_fitted
        arrays["collected_X"] = np.concatenate(collected.X)
        arrays["collected_weight"] = np.concatenate(collected.sample_weight)
    position: Position | None = vars(model).get("_position")
    if position is not None:
        kind = position.mixture.covariance_type
        header["position"] = {"covariance_type": kind, "memory": position.memory}
        arrays |= arrays_for_file("position", position.mixture)
        arrays["position_statistics"] = position.statistics.values
    files.write_model(model, path, header, arrays, _read)


def load(cls: type[Model], path: str | os.PathLike[str]) -> Model:
    """Read a model; see `GaussianMixture.load` and `files.read_model`."""
    return files.read_model(cls, path, _read)


def _read(members: Members) -> Content:
    """Check the content of a file, and return parameters and attributes; see `load`."""
    params, attributes, _ = files.read_content(members, CLASS, FORMAT_VERSION, SCALARS, _INITS)
    header, D = members.header, attributes["means_"].shape[1]
    if "noise_box_origin" in members:
        attributes["noise_box_"] = _box(members, D)
    if "mean_weight" in header:
        attributes["_mean_weight"] = field(header, "mean_weight", is_weight, "a positive number")
    if "collected" in header:
        attributes["_collected"] = _collected(members, D, attributes.get("feature_names_in_"))
    if "position" in header:
        attributes["_position"] = _position(members)
    return params, attributes


def _box(members: Members, n_features: int) -> Box:
    """Read the box of the noise component."""
    D = n_features
    shapes = {"origin": (D,), "axes": (D, D), "low": (D,), "high": (D,)}
    box = Box(*(members.array(f"noise_box_{name}", shape) for name, shape in shapes.items()))
    if not all(np.isfinite(array).all() for array in box) or not (box.low < box.high).all():
        raise ValueError("noise_box_ is not finite, or has an edge without length")
    return box


def _collected(members: Members, n_features: int, names: Names | None) -> Collected:
    """Read the samples that `partial_fit` had collected before the stream began."""
    X = members.array("collected_X", (None, n_features), FLOATS)
    if not len(X) or np.isinf(X).any():  # NaN is a missing value
        raise ValueError("collected_X is empty, or has values that are infinite")
    weight = members.array("collected_weight", (len(X),))
    if not ((weight > 0) & (weight < np.inf)).all():
        raise ValueError("collected_weight should be positive and finite")
    n_fitted = field(
        members.header, "collected", lambda v: is_count(v) and v <= len(X),
        f"an int from 0 to {len(X)}",
    )  # fmt: skip
    return Collected([X], [weight], n_fitted, names)


def _position(members: Members) -> Position:
    """Read the state of a stream."""
    position = field(members.header, "position", lambda v: isinstance(v, dict), "an object")
    kind = field(position, "covariance_type", is_covariance_type, "the name of a type")
    memory = field(position, "memory", is_size, "a finite number from 0 up")
    K, D = members.array("position_means", (None, None)).shape
    if not (K and D):
        raise ValueError(f"position_means has shape {(K, D)}")
    mixture = mixture_from_file(members, "position", K, D, kind)
    size = n_sums(mixture.kind, K, D)
    values = members.array("position_statistics", (size,))
    statistics = Statistics(values, mixture.means, kind)
    if not (
        np.isfinite(values).all() and statistics.weight > 0 and (statistics.counts >= 0).all()
    ):
        raise ValueError("position_statistics has values that statistics of samples cannot have")
    return Position(mixture, statistics, float(memory))
