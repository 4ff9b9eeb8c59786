"""Checks of classes and groups: a label of any type for each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.errors import data_conversion_warning_class
from gmm_core.core.types import AnyArray, Float64Array, Indices
from gmm_core.core.warn import warn
from gmm_core.data.conversion import as_float_array, is_sparse, refuse_dask_collection


class Classes(NamedTuple):
    """The distinct labels of rows, and which of them each row has.

    Attributes
    ----------
    values : ndarray of shape (n_classes,)
        The labels in ascending order, of the dtype in which they were given.
    codes : ndarray of shape (n_samples,), intp
        The index of each row's label in `values`.
    """

    values: AnyArray
    codes: Indices

    def rows(self) -> Iterator[Indices]:
        """Yield the rows of each class, in ascending order."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.values)))
        return iter(np.split(order, ends[:-1]))


def check_row_labels(labels: Any, name: str, n_samples: int, estimator_name: str) -> AnyArray:
    """Check labels of rows, and return them as an array.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        Strings, bools, ints, or floats that are whole numbers. A column of shape (n_samples, 1) is
        taken with a warning.
    name : str
        The name of the argument in messages.
    n_samples : int
        The number of rows of X.
    estimator_name : str

    Returns
    -------
    ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If `labels` is None or has another shape, or if a float is not a whole number.
    TypeError
        If `labels` is sparse or a Dask collection, or its values are of several types.

    Warns
    -----
    DataConversionWarning
        If `labels` is a column. It is a UserWarning if scikit-learn has not been imported.
    """
    if labels is None:
        raise ValueError(
            f"{estimator_name} requires {name} to be passed, but the target {name} is None"
        )
    refuse_dask_collection(labels, name)
    if is_sparse(labels):
        raise TypeError(f"Sparse data was passed for {name}, expected a dense array of labels")
    if np.ma.is_masked(labels):
        raise ValueError(f"{name} has masked values, but each row needs a label")
    array: AnyArray = _plain(labels, name)
    if array.ndim == 2 and array.shape[1] == 1:
        warn(
            f"A column-vector {name} was passed when a 1d array was expected. Please change the "
            f"shape of {name} to (n_samples,), for example using ravel().",
            data_conversion_warning_class(),
        )
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} should be a 1d array, got an array of shape {array.shape}")
    if len(array) != n_samples:
        raise ValueError(f"{name} has {len(array)} rows, but X has {n_samples} rows")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            what = "NaN" if np.isnan(array).any() else "infinity"
            raise ValueError(f"Input {name} contains {what}, but each row needs a label")
        if (array != np.trunc(array)).any():
            raise ValueError(
                f"Unknown label type: continuous. {name} has numbers that are not whole, expected "
                "labels"
            )
    return array


def _plain(labels: Any, name: str) -> AnyArray:
    """Return labels as an array of strings or numbers. Strings may stay objects."""
    try:
        array: AnyArray = np.asarray(labels)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{error} ({name} should be a 1d array of labels)") from error
    if array.dtype.kind == "U" and isinstance(labels, (list, tuple)):
        array = np.asarray(labels, object)  # NumPy turns the numbers among strings into strings
    if array.dtype.kind == "O":
        kinds = set(map(type, array.ravel().tolist()))
        if all(issubclass(kind, str) for kind in kinds):
            return array if isinstance(labels, np.ndarray) else np.asarray(labels)
        if not all(issubclass(kind, (bool, int, float, np.number, np.bool_)) for kind in kinds):
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise TypeError(
                f"Unknown label type: {name} has labels of type {names}, expected either strings "
                "or numbers"
            )
        array = np.array(array.tolist())
    if array.dtype.kind not in "biufUSMm":
        raise ValueError(f"Unknown label type: {name} has dtype {array.dtype}")
    return array


def classes_of(labels: AnyArray) -> Classes:
    """Return the distinct labels among checked labels, and the index of each row's label."""
    values, codes = np.unique(labels, return_inverse=True)
    return Classes(values, codes)


def codes_among(labels: AnyArray, known: AnyArray, name: str) -> Indices:
    """Return the index of each checked label among known labels.

    Raises
    ------
    ValueError
        If a label is unknown; the message names the first such label and its row.
    """
    values, codes = classes_of(labels)
    places = {value: i for i, value in enumerate(known.tolist())}
    found = np.array([places.get(value, -1) for value in values.tolist()], np.intp)[codes]
    unknown = np.flatnonzero(found < 0)
    if len(unknown):
        row = int(unknown[0])
        raise ValueError(
            f"{name}[{row}] is {labels[row : row + 1].tolist()[0]!r}, which is not among the "
            f"{len(known)} {name} of the fit"
        )
    return found


def check_priors(priors: Any, n_classes: int) -> Float64Array:
    """Check probabilities of classes, and return them normalised.

    Raises
    ------
    ValueError, TypeError
        If they do not have the shape (n_classes,), or are not numbers that sum to 1 without a
        negative one.
    """
    array: AnyArray = as_float_array(priors, "priors", allow_strings=False)
    if array.shape != (n_classes,):
        raise ValueError(
            f"priors has shape {array.shape}, expected ({n_classes},): one for each class"
        )
    values: Float64Array = array.astype(np.float64)
    if not (values >= 0).all() or not np.isclose(values.sum(), 1):
        raise ValueError(
            f"priors should be non-negative and sum to 1, but got {values.tolist()} with the sum "
            f"{values.sum():.6g}"
        )
    values /= values.sum()
    return values
