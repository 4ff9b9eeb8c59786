"""Columns and feature names of the data frames of pandas, polars and pyarrow."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array, Names
from gmm_core.core.warn import warn

_MAX_NAMES_SHOWN = 5
_FRAMES = (
    ("pandas", "DataFrame"),
    ("polars", "DataFrame"),
    ("pyarrow", "Table"),
    ("pyarrow", "RecordBatch"),
)


def is_frame(value: object) -> bool:
    """Return whether a value is a frame of pandas or polars, or a table or batch of pyarrow."""
    classes = (getattr(sys.modules.get(package), name, None) for package, name in _FRAMES)
    return any(cls is not None and isinstance(value, cls) for cls in classes)


def is_frame_of_numbers(value: object) -> bool:
    """Return whether a value is a data frame of integers, booleans and binary floats alone."""
    return is_frame(value) and all(_is_number(dtype) for _, dtype in dtypes_of(value))


def dtypes_of(frame: Any) -> Iterator[tuple[str, Any]]:
    """Return an iterator over the name and the dtype of each column."""
    if hasattr(frame, "num_rows"):  # pyarrow
        return zip(frame.schema.names, frame.schema.types, strict=True)
    return zip(frame.columns, frame.dtypes, strict=True)


def column_of(frame: Any, i: int) -> Float64Array:
    """Return the values of column i."""
    if hasattr(frame, "iloc"):  # pandas
        return frame.iloc[:, i].to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]
    values = frame.columns[i] if hasattr(frame, "num_rows") else frame.to_series(i)
    return np.asarray(values, dtype=np.float64)


def _is_number(dtype: Any) -> bool:
    """Return whether the dtype of a column is one of integers, booleans or binary floats."""
    if hasattr(dtype, "is_float"):  # polars
        return bool(dtype.is_float() or dtype.is_integer() or str(dtype) == "Boolean")
    pyarrow: Any = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(dtype, pyarrow.DataType):
        t = pyarrow.types
        return bool(t.is_floating(dtype) or t.is_integer(dtype) or t.is_boolean(dtype))
    return getattr(dtype, "kind", "O") in "biuf"


def is_time(dtype: Any) -> bool:
    """Return whether the dtype of a column is one of dates, times or durations."""
    if hasattr(dtype, "is_temporal"):  # polars
        return bool(dtype.is_temporal())
    pyarrow: Any = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(dtype, pyarrow.DataType):
        return bool(pyarrow.types.is_temporal(dtype))
    return getattr(dtype, "kind", "O") in "mM"


def feature_names_of(X: object) -> Names | None:
    """Return the column names of X, or None if X is no data frame or no name is of type str.

    Raises
    ------
    TypeError
        If some names are of type str and others are not.
    """
    pyarrow: Any = sys.modules.get("pyarrow")
    columns: Iterable[object]
    if pyarrow is not None and isinstance(X, (pyarrow.Table, pyarrow.RecordBatch)):
        columns = X.schema.names  # the attribute `columns` has the data
    elif hasattr(X, "iloc") or hasattr(X, "__arrow_c_stream__"):
        columns = getattr(X, "columns", ())
    else:
        return None
    names = list(columns)
    are_strings = [isinstance(name, str) for name in names]
    if not any(are_strings):
        return None
    if not all(are_strings):
        types = sorted({type(name).__name__ for name in names})
        raise TypeError(
            "Feature names are only supported if all input features have string names, but X has "
            f"names of types {types}. Convert the names, for example by X.columns = "
            "X.columns.astype(str)."
        )
    return np.array(names, dtype=object)


def check_feature_names(names: Names | None, fitted: Names | None, estimator_name: str) -> None:
    """Compare the names of the features with those of the fitted model.

    Raises
    ------
    ValueError
        If the names differ, or have another order.

    Warns
    -----
    UserWarning
        If only one of the two has names.
    """
    if names is None and fitted is None:
        return
    if fitted is None:
        warn(f"X has feature names, but {estimator_name} was fitted without feature names")
    elif names is None:
        warn(
            f"X does not have valid feature names, but {estimator_name} was fitted with feature "
            "names"
        )
    elif list(names) != list(fitted):
        raise ValueError(_names_differ_message(set(names), set(fitted)))


def _names_differ_message(names: set[str], fitted: set[str]) -> str:
    """Return the message of scikit-learn for feature names that differ from those of the fit."""
    message = "The feature names should match those that were passed during fit.\n"
    if names == fitted:
        return message + "Feature names must be in the same order as they were in fit.\n"
    for heading, differing in (
        ("Feature names unseen at fit time:\n", names - fitted),
        ("Feature names seen at fit time, yet now missing:\n", fitted - names),
    ):
        if differing:
            shown = [f"- {name}\n" for name in sorted(differing)[:_MAX_NAMES_SHOWN]]
            more = "- ...\n" if len(differing) > _MAX_NAMES_SHOWN else ""
            message += heading + "".join(shown) + more
    return message
