"""Models as .npz files: arrays as they are, everything else as one JSON text, nothing pickled."""

from __future__ import annotations

import json
import os
from typing import IO, Any

import numpy as np

from gmm_core.restarts import Restart
from gmm_core.stepwise import Collected

FORMAT_VERSION = 1
ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
SCALARS = (
    "converged_", "n_iter_", "lower_bound_", "lower_bounds_", "n_features_in_", "n_samples_seen_",
)  # fmt: skip
ATTRIBUTES = (*ARRAYS, *SCALARS, "feature_names_in_")
_INITS = ("weights_init", "means_init", "precisions_init")


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted model."""
    params = model.get_params()
    arrays = {name: np.asarray(getattr(model, name)) for name in ARRAYS}
    for name in _INITS:
        value = params.pop(name)
        if value is not None:
            arrays[name] = np.asarray(value, dtype=np.float64)
    if not isinstance(params["random_state"], (int, np.integer)):
        params["random_state"] = None
    if callable(params["init_params"]):
        del params["init_params"]
    names = getattr(model, "feature_names_in_", None)
    header = {
        "format": "gmm_core.GaussianMixture",
        "version": FORMAT_VERSION,
        "params": params,
        "attributes": {name: getattr(model, name) for name in SCALARS if hasattr(model, name)},
        "restarts_": getattr(model, "restarts_", []),
        "feature_names_in_": None if names is None else list(names),
    }
    collected = vars(model).get("_collected")   # of partial_fit
    if collected is not None:
        header["collected"] = collected.n_fitted
        arrays["collected_X"] = np.concatenate(collected.X)
        arrays["collected_weight"] = np.concatenate(collected.sample_weight)
    text = json.dumps(header, default=plain)
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, header=np.array(text), **arrays)


def plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Restart):
        return list(value)
    raise TypeError(f"cannot save a parameter of type {type(value).__name__}: {value!r}")


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read parameters and fitted attributes; after opening, any error is a ValueError."""
    with open(path, "rb") as file:
        try:
            return _read(file)
        except Exception as error:  # a damaged archive raises whatever its bytes lead to
            raise not_a_model(path, error) from error


def not_a_model(path: str | os.PathLike[str], error: Exception) -> ValueError:
    """The error for a file that is no model, with the reason."""
    return ValueError(f"{os.fspath(path)} is not a model saved by gmm_core: {error}")


def _read(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(file, allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        arrays = {name: archive[name] for name in archive.files if name != "header"}
    if header["format"] != "gmm_core.GaussianMixture":
        raise ValueError(f"its format is {header['format']!r}")
    if header["version"] > FORMAT_VERSION:
        raise ValueError(
            f"its format version is {header['version']}, this gmm_core reads up to {FORMAT_VERSION}"
        )
    params = {**header["params"], **{n: arrays[n] for n in _INITS if n in arrays}}
    attributes = {n: header["attributes"][n] for n in SCALARS if n in header["attributes"]}
    if set(header["attributes"]) - set(attributes):
        raise ValueError("it has unknown attributes")
    attributes |= {n: arrays[n] for n in ARRAYS}
    attributes["restarts_"] = [Restart(*restart) for restart in header["restarts_"]]
    if header["feature_names_in_"] is not None:
        attributes["feature_names_in_"] = np.array(header["feature_names_in_"], dtype=object)
    if "collected" in header:
        samples, weight = [arrays["collected_X"]], [arrays["collected_weight"]]
        attributes["_collected"] = Collected(
            samples, weight, header["collected"], attributes.get("feature_names_in_")
        )
    return params, attributes
