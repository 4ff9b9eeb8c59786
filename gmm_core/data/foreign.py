"""Large data that the kernels cannot read as they are, and that every pass converts again.

The kernels read C-contiguous, aligned arrays of float32 or float64 in the machine's byte order.
Data in another form are copied once if the copy takes no more than 32 MB. Larger data are never
copied as a whole: every pass converts them again, part by part, into a buffer of about 1 MB for
each thread, which stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gmm_core.core.types import AnyArray, FloatArray, Indices, Names
from gmm_core.data.conversion import as_float_array, for_kernels
from gmm_core.data.frames import is_frame_of_numbers
from gmm_core.data.validation import check_n_rows, check_values, check_X

_MAX_COPY_BYTES = 1 << 25  # the size of the largest copy that is made
_PART_BYTES = 1 << 23  # the size of the parts that are converted at once


class ForeignRows:
    """Rows of an array or a data frame, which are converted when they are read.

    Parameters
    ----------
    source : ndarray of two dimensions, or data frame
        Masked values count as NaN.
    dtype : dtype
        The dtype that the rows are converted to, float32 or float64.
    has_nan : bool
        Whether a value is NaN. If the values have not been checked, whether NaN is allowed.
    checked : bool
        Whether the values have been checked. Otherwise `map` and `whole` check them.
    first_row : int, default=0
        The number of the first row in the data that the user gave.
    """

    def __init__(
        self, source: Any, dtype: np.dtype[Any], has_nan: bool, checked: bool, first_row: int = 0
    ) -> None:
        self._source = source
        self.dtype = dtype
        self.has_nan = has_nan
        self._checked = checked
        self._first_row = first_row
        self.shape: tuple[int, int] = source.shape

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def _n_numbers(self) -> int:
        """How many numbers a row has."""
        return self.shape[1]

    def __getitem__(self, rows: slice) -> ForeignRows:
        """Select consecutive rows, without converting them."""
        return ForeignRows(
            _select(self._source, rows), self.dtype, self.has_nan, self._checked,
            self._first_row + rows.start,
        )  # fmt: skip

    def parts(self, n_rows: int) -> Iterator[tuple[slice, FloatArray]]:
        """Yield the converted rows, `n_rows` at a time; a part may reuse the memory of another."""
        buffer = np.empty((min(n_rows, len(self)), self.shape[1]), self.dtype)
        for start in range(0, len(self), n_rows):
            rows = slice(start, start + n_rows)
            part = _values(_select(self._source, rows))
            if part.dtype != self.dtype or not (part.flags.c_contiguous and part.flags.aligned):
                converted = buffer[: len(part)]
                with np.errstate(over="ignore"):  # infinite values are refused by the checks
                    _copy(part, converted)
                part = converted
            yield rows, part

    def checked_parts(self) -> Iterator[tuple[slice, Any]]:
        """Yield the converted rows in parts of about 8 MB, and check them; see `parts`."""
        for rows, part in self.parts(_n_rows(_PART_BYTES, self._n_numbers)):
            if not self._checked:
                check_values(part, self.has_nan, self._first_row + rows.start)
            yield rows, part

    def map(self, function: Callable[[Any], AnyArray], out: AnyArray) -> AnyArray:
        """Fill `out` with the results of a function that is called for each part of the rows."""
        for rows, part in self.checked_parts():
            out[rows] = function(part)
        return out

    def whole(self) -> FloatArray:
        """Return all rows, converted."""
        return self.map(lambda part: part, np.empty(self.shape, self.dtype))


def _copy(part: AnyArray, out: FloatArray) -> None:
    """Copy an array into a C-contiguous one.

    If the array has few columns, and each of them is contiguous, copying by columns is faster.
    """
    if part.shape[1] < 6 and abs(part.strides[0]) < abs(part.strides[1]):
        for d in range(part.shape[1]):
            out[:, d] = part[:, d]
    else:
        np.copyto(out, part)


def whole(X: FloatArray | ForeignRows) -> FloatArray:
    """Return all rows as an array: an array as it is, and foreign rows converted."""
    return X.whole() if isinstance(X, ForeignRows) else X


def check_rows(
    X: object,
    *,
    dtype: np.dtype[Any] | None = None,
    n_features: int | None = None,
    feature_names: Names | None = None,
    min_samples: int = 1,
    allow_nan: bool = False,
    once: bool = False,
    estimator_name: str = "GaussianMixture",
    n_threads: int | None = 1,
) -> tuple[FloatArray | ForeignRows, Names | None]:
    """Check the samples given to a method, as `check_X` does, without a large copy of them.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
    dtype : dtype or None, default=None
        The dtype that the rows are converted to. None means float32 for float32 data, and float64
        for all other data.
    n_features, feature_names, min_samples, allow_nan
        See `check_X`.
    once : bool, default=False
        Whether the rows are read only once. Then their values may be checked when they are
        converted, as a check here would need a conversion of its own.
    estimator_name : str, default="GaussianMixture"
        See `check_X`.
    n_threads : int or None, default=1
        See `check_X`.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features), or ForeignRows
        ForeignRows if a copy for the kernels would take more than 32 MB.
    names : ndarray of shape (n_features,), object, or None

    Raises
    ------
    ValueError, TypeError
        See `check_X`.
    """
    if not needs_large_copy(X, dtype, allow_nan):
        array, names = check_X(
            X, n_features=n_features, feature_names=feature_names, min_samples=min_samples,
            allow_nan=allow_nan, estimator_name=estimator_name, n_threads=n_threads,
        )  # fmt: skip
        return array if dtype is None else array.astype(dtype, copy=False), names
    source: Any = X
    _, names = check_X(
        _select(source, slice(0, 1)), n_features=n_features, feature_names=feature_names,
        allow_nan=allow_nan, estimator_name=estimator_name,
    )  # fmt: skip
    if once and (dtype is not None or isinstance(source, np.ndarray)):
        return ForeignRows(source, dtype or _natural(source), allow_nan, checked=False), names
    n_samples, D = source.shape
    check_n_rows(source.shape, min_samples, estimator_name)
    size = _n_rows(_PART_BYTES, D)
    natural: np.dtype[Any] = np.dtype(np.float32)
    has_nan = False
    for start in range(0, n_samples, size):
        rows = _select(source, slice(start, start + size))
        part: AnyArray = as_float_array(rows, "X", masked_as_nan=True)
        part = for_kernels(part)
        check_values(part, allow_nan, start)
        if part.dtype != np.float32:
            natural = np.dtype(np.float64)
        has_nan = has_nan or (allow_nan and bool(np.isnan(part.min())))
    return ForeignRows(source, natural if dtype is None else dtype, has_nan, checked=True), names


def needs_large_copy(X: Any, dtype: np.dtype[Any] | None, allow_nan: bool) -> bool:
    """Return whether the kernels could read X only as a copy of more than 32 MB."""
    if isinstance(X, np.ndarray) and 8 * X.size <= _MAX_COPY_BYTES:
        return False
    if is_frame_of_numbers(X):
        return bool(8 * X.shape[0] * X.shape[1] > _MAX_COPY_BYTES)
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype.kind not in "biuf":
        return False
    masked = np.ma.is_masked(X)
    if isinstance(X, np.matrix) or (masked and not allow_nan):
        return False  # check_X refuses it
    needed = dtype or _natural(X)
    ready = X.dtype == needed and X.flags.c_contiguous and X.flags.aligned and not masked
    return not ready and X.size * needed.itemsize > _MAX_COPY_BYTES


def _natural(X: AnyArray) -> np.dtype[Any]:
    """Return the dtype that an array is converted to if no other is asked for."""
    return np.dtype(np.float32 if X.dtype == np.float32 else np.float64)


def _n_rows(n_bytes: int, n_features: int) -> int:
    """Return how many rows of float64 take the given number of bytes."""
    return max(1, n_bytes // (8 * n_features))


def _select(source: Any, rows: slice | Indices) -> Any:
    """Return the rows of an array or a data frame that a slice or their numbers select."""
    if hasattr(source, "iloc"):  # pandas
        return source.iloc[rows]
    if hasattr(source, "num_rows"):  # pyarrow
        if isinstance(rows, slice):
            return source.slice(rows.start, rows.stop - rows.start)
        return source.take(rows)
    return source[rows]


def _values(source: Any) -> AnyArray:
    """Return the numbers of an array or a data frame: a view if it is an array without a mask."""
    if isinstance(source, np.ndarray) and not isinstance(source, np.ma.MaskedArray):
        return np.asarray(source)
    return as_float_array(source, "X", masked_as_nan=True)
