"""Models as .npz files: arrays are members of the archive, everything else is in the header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import AnyArray, Names
from gmm_core.fit.options import check_options
from gmm_core.fit.restarts import Restart, restarts_from
from gmm_core.fit.stream import Collected, Position
from gmm_core.model.archive import FLOATS, Archive, Members, plain, write
from gmm_core.model.archive_entries import (
    are_log_likelihoods,
    arrays_for_file,
    check_values,
    field,
    is_count,
    is_covariance_type,
    is_flag,
    is_log_likelihood,
    is_number,
    is_size,
    is_weight,
    mixture_from_file,
)
from gmm_core.model.attributes import ARRAYS
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.noise import Box
from gmm_core.model.statistics import Statistics, n_sums

FORMAT = "gmm_core.GaussianMixture"
FORMAT_VERSION = 2      # version 1 had no position of a stream
SCALARS = {
    "converged_": (is_flag, "true or false"),
    "n_iter_": (is_count, "an int from 0 up"),
    "lower_bound_": (lambda v: is_log_likelihood(v) or v != v, "a number"),
    "lower_bounds_": (are_log_likelihoods, "a list of numbers"),
    "n_features_in_": (is_count, "an int from 0 up"),
    "n_samples_seen_": (is_size, "a finite number from 0 up"),
    "noise_log_density_": (is_number, "a number"),
    "noise_weight_": (lambda v: is_number(v) and 0 <= v < 1, "a number in [0, 1)"),
}
ATTRIBUTES = (*ARRAYS, *SCALARS, "feature_names_in_")
_INITS = ("weights_init", "means_init", "precisions_init")


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to a file; see `GaussianMixture.save`.

    Raises
    ------
    TypeError, ValueError
        If the model has a parameter or an attribute that `load` would not accept. In this case no
        file is written.
    OSError
        If the file cannot be written. An older file is unchanged, unless it had to be written in
        place.
    """
    params = model.get_params()
    arrays = {name: _floats(getattr(model, name)) for name in ARRAYS}
    for name in _INITS:
        if params[name] is not None and not isinstance(params[name], str):
            arrays[name] = np.asarray(params.pop(name), dtype=np.float64)
    params["labels_init"] = None
    if params["fixed"] is not None and not isinstance(params["fixed"], Mapping):
        params["fixed"] = sorted(params["fixed"])
    if not isinstance(params["random_state"], (int, np.integer)):
        params["random_state"] = None
    if callable(params["init_params"]):
        del params["init_params"]
    names = getattr(model, "feature_names_in_", None)
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "params": params,
        "attributes": {name: getattr(model, name) for name in SCALARS if hasattr(model, name)},
        "restarts_": getattr(model, "restarts_", []),
        "feature_names_in_": None if names is None else list(names),
    }
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
    header = json.loads(json.dumps(header, default=_plain))
    try:
        check_options(_read(Members(header, arrays))[0], type(model).__name__)
    except ValueError as error:
        raise ValueError(f"the model cannot be saved: {error}") from error
    write(path, "model", header, arrays, f".gmm_core-{os.urandom(4).hex()}.new")


def _plain(value: object) -> object:
    """Convert a restart, a value of NumPy or a path to a type that JSON has."""
    return list(value) if isinstance(value, Restart) else plain(value)


def _floats(value: npt.ArrayLike) -> AnyArray:
    """Return an attribute as an array, of float32 if it has that dtype, else of float64."""
    array = np.asarray(value)
    return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the parameters and the fitted attributes of a model.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is not that of a model, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            return _read(Archive(file))
        except Exception as error:  # a damaged archive raises whatever its bytes lead to
            raise not_a_model(path, error) from error


def not_a_model(path: str | os.PathLike[str], error: Exception) -> ValueError:
    """Return the error for a file that is not that of a model, with the reason."""
    return ValueError(f"{os.fspath(path)} is not a model saved by gmm_core: {error}")


def _read(members: Members) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the content of a file, and return parameters and attributes; see `load`."""
    header = members.header
    field(header, "format", lambda v: v == FORMAT, f"{FORMAT!r}")
    version = field(header, "version", is_count, "an int")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"its format version is {version}, this gmm_core reads up to {FORMAT_VERSION}"
        )
    params = dict(field(header, "params", lambda v: isinstance(v, dict), "an object"))
    for name in _INITS:
        if name in members:
            params[name] = members.array(name, None)    # `fit` checks its shape and its values
    kind = field(params, "covariance_type", is_covariance_type, "the name of a type")
    field(params, "reg_covar", _is_reg_covar, "a number or a list of numbers")

    K, D = members.array("means_", (None, None), FLOATS).shape
    if not (K and D):
        raise ValueError(f"means_ has shape {(K, D)}")
    shape = COVARIANCE_TYPES[kind].shape(K, D)
    attributes: dict[str, Any] = {}
    given = field(header, "attributes", lambda v: isinstance(v, dict), "an object")
    of_noise = 0.0
    if "noise_weight_" in given:
        of_noise = field(given, "noise_weight_", *SCALARS["noise_weight_"])
    for name in ARRAYS:
        expected = {"weights_": (K,), "means_": (K, D)}.get(name, shape)
        attributes[name] = members.array(name, expected, FLOATS)
        check_values(attributes[name], name, COVARIANCE_TYPES[kind], of_noise)
    if set(given) - set(SCALARS):
        raise ValueError("it has unknown attributes")
    for name in given:
        attributes[name] = field(given, name, *SCALARS[name])
    if attributes.get("n_features_in_", D) != D:
        raise ValueError(f"n_features_in_ is {attributes['n_features_in_']}, but means_ has {D}")
    attributes["restarts_"] = restarts_from(header, "restarts_")
    names = field(
        header, "feature_names_in_", lambda v: _are_names(v, D), f"null or a list of {D} names"
    )
    if names is not None:
        attributes["feature_names_in_"] = np.array(names, dtype=object)
    if "noise_box_origin" in members:
        attributes["noise_box_"] = _box(members, D)
    if "mean_weight" in header:
        attributes["_mean_weight"] = field(header, "mean_weight", is_weight, "a positive number")
    if "collected" in header:
        attributes["_collected"] = _collected(members, D, attributes.get("feature_names_in_"))
    if "position" in header:
        attributes["_position"] = _position(members)
    return params, attributes


def _is_reg_covar(value: Any) -> bool:
    return is_number(value) or (isinstance(value, list) and all(map(is_number, value)))


def _are_names(value: Any, n_features: int) -> bool:
    return value is None or (
        isinstance(value, list)
        and len(value) == n_features
        and all(isinstance(name, str) for name in value)
    )


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
    if not len(X) or not np.isfinite(X).all():
        raise ValueError("collected_X is empty, or has values that are not finite")
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
