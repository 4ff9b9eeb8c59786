"""What the files of all classes of models have in common.

A file is an .npz archive. Arrays are members of it, everything else is in its header.
"""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import AnyArray
from gmm_core.fit.options import check_options
from gmm_core.fit.restarts import Restart, restarts_from
from gmm_core.model.archive import FLOATS, Archive, Members, plain, write
from gmm_core.model.archive_entries import (
    are_log_likelihoods,
    check_values,
    field,
    is_count,
    is_covariance_type,
    is_flag,
    is_log_likelihood,
    is_number,
)
from gmm_core.model.attributes import ARRAYS
from gmm_core.model.covariance import COVARIANCE_TYPES

Model = TypeVar("Model")
# The parameters and the fitted attributes of a model.
Content = tuple[dict[str, Any], dict[str, Any]]
# The attributes that are no arrays: by name, a function that accepts valid values, and a text that
# describes these.
Scalars = Mapping[str, tuple[Callable[[Any], bool], str]]
SCALARS: Scalars = {
    "converged_": (is_flag, "true or false"),
    "n_iter_": (is_count, "an int from 0 up"),
    "lower_bound_": (lambda v: is_log_likelihood(v) or v != v, "a number"),
    "lower_bounds_": (are_log_likelihoods, "a list of numbers"),
    "n_features_in_": (is_count, "an int from 0 up"),
}
_PREFIX = "gmm_core."
_CLASSES = ("GaussianMixture", "BayesianGaussianMixture")


class _OtherClassError(ValueError):
    """A file holds a model of another class."""


# --- writing ------------------------------------------------------------------------------------


def content_for_file(
    model: Any, class_name: str, version: int, scalars: Iterable[str], priors: Iterable[str]
) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Return the header and the arrays of a fitted model.

    Parameters
    ----------
    model : object
    class_name : str
        The name of the class that reads the file.
    version : int
        The version of the format.
    scalars : iterable of str
        The attributes that are no arrays.
    priors : iterable of str
        The parameters of the constructor that may be arrays.
    """
    params = model.get_params()
    arrays = {name: floats(getattr(model, name)) for name in ARRAYS}
    for name in priors:
        if params[name] is not None and not isinstance(params[name], (str, numbers.Real)):
            arrays[name] = np.asarray(params.pop(name), dtype=np.float64)
    if not isinstance(params["random_state"], (int, np.integer)):
        params["random_state"] = None
    if callable(params["init_params"]):
        del params["init_params"]
    del params["callback"]
    names = getattr(model, "feature_names_in_", None)
    header = {
        "format": _PREFIX + class_name,
        "version": version,
        "params": params,
        "attributes": {name: getattr(model, name) for name in scalars if hasattr(model, name)},
        "restarts_": getattr(model, "restarts_", []),
        "feature_names_in_": None if names is None else list(names),
    }
    return header, arrays


def floats(value: npt.ArrayLike) -> AnyArray:
    """Return an attribute as an array, of float32 if it has that dtype, else of float64."""
    array = np.asarray(value)
    return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def write_model(
    model: object,
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    arrays: Mapping[str, AnyArray],
    read: Callable[[Members], Content],
) -> None:
    """Write the file of a model, if `read` accepts its content.

    Raises
    ------
    TypeError, ValueError
        If the model has a parameter or an attribute that cannot be written or would not be read.
        In this case no file is written.
    OSError
        If the file cannot be written; see `archive.write`.
    """
    content = json.loads(json.dumps(header, default=_plain))
    try:
        check_options(read(Members(content, arrays))[0], type(model).__name__)
    except ValueError as error:
        raise ValueError(f"the model cannot be saved: {error}") from error
    write(path, "model", content, arrays, f".gmm_core-{os.urandom(4).hex()}.new")


def _plain(value: object) -> object:
    """Convert a restart, a value of NumPy or a path to a type that JSON has."""
    return value.row() if isinstance(value, Restart) else plain(value)


# --- reading ------------------------------------------------------------------------------------


def read_model(
    cls: type[Model], path: str | os.PathLike[str], read: Callable[[Members], Content]
) -> Model:
    """Read a model of a class.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is not that of a model of this class, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            params, attributes = read(Archive(file))
        except _OtherClassError as error:
            raise ValueError(f"{os.fspath(path)} {error}") from error
        except Exception as error:  # a damaged archive raises whatever its bytes lead to
            raise _not_a_model(path, error) from error
    made: Any = cls
    try:
        model = made(**params)
        model._options()
        vars(model).update(attributes)
        model._model()
    except (TypeError, ValueError, OverflowError) as error:
        raise _not_a_model(path, error) from error
    read_from_file: Model = model
    return read_from_file


def _not_a_model(path: str | os.PathLike[str], error: Exception) -> ValueError:
    """Return the error for a file that is not that of a model, with the reason."""
    return ValueError(f"{os.fspath(path)} is not a model saved by gmm_core: {error}")


def read_content(
    members: Members, class_name: str, version: int, scalars: Scalars, priors: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Check what `content_for_file` returns; the arguments are the same.

    Returns
    -------
    params, attributes : dict of str to object
    covariance_type : str

    Raises
    ------
    ValueError
        If the file holds a model of another class or a later version, or if an entry or an array
        is missing or has values that it cannot have.
    """
    header = members.header
    expected_format = _PREFIX + class_name
    for other in _CLASSES:
        if header.get("format") == _PREFIX + other != expected_format:
            raise _OtherClassError(
                f"was written by {other}.save, so that {class_name}.load cannot read it: use "
                f"{other}.load"
            )
    field(header, "format", lambda v: v == expected_format, f"{expected_format!r}")
    there = field(header, "version", is_count, "an int")
    if there > version:
        raise ValueError(f"its format version is {there}, this gmm_core reads up to {version}")
    params = dict(field(header, "params", lambda v: isinstance(v, dict), "an object"))
    for name in priors:
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
    if "noise_weight_" in given and "noise_weight_" in scalars:
        of_noise = field(given, "noise_weight_", *scalars["noise_weight_"])
    for name in ARRAYS:
        expected = {"weights_": (K,), "means_": (K, D)}.get(name, shape)
        attributes[name] = members.array(name, expected, FLOATS)
        check_values(attributes[name], name, COVARIANCE_TYPES[kind], of_noise)
    if set(given) - set(scalars):
        raise ValueError("it has unknown attributes")
    for name in given:
        attributes[name] = field(given, name, *scalars[name])
    if attributes.get("n_features_in_", D) != D:
        raise ValueError(f"n_features_in_ is {attributes['n_features_in_']}, but means_ has {D}")
    attributes["restarts_"] = restarts_from(header, "restarts_")
    names = field(
        header, "feature_names_in_", lambda v: _are_names(v, D), f"null or a list of {D} names"
    )
    if names is not None:
        attributes["feature_names_in_"] = np.array(names, dtype=object)
    return params, attributes, kind


def _is_reg_covar(value: Any) -> bool:
    return is_number(value) or (isinstance(value, list) and all(map(is_number, value)))


def _are_names(value: Any, n_features: int) -> bool:
    return value is None or (
        isinstance(value, list)
        and len(value) == n_features
        and all(isinstance(name, str) for name in value)
    )
