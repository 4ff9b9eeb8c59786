"""Conversion of users' data to arrays of float32 or float64 in the machine's byte order."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import same_kind
from gmm_core.core.types import AnyArray, FloatArray
from gmm_core.data.finite import position
from gmm_core.data.frames import column_of, dtypes_of, is_frame, is_time

_Array = TypeVar("_Array", bound=AnyArray)
_NATIVE = (np.dtype(np.float32), np.dtype(np.float64))


def is_sparse(value: object) -> bool:
    """Return whether a value is a sparse array or matrix of SciPy."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def as_float_array(
    value: object, name: str, *, allow_strings: bool = True, masked_as_nan: bool = False
) -> FloatArray:
    """Convert a value to an array of float32 or float64, of any shape and memory layout.

    Parameters
    ----------
    value : object
        float32 and float64 (in the machine's byte order) keep their dtype. All other numbers become
        float64.
    name : str
        The name of the argument in messages.
    allow_strings : bool, default=True
        Whether strings are read as numbers.
    masked_as_nan : bool, default=False
        Whether masked values become NaN. Otherwise they are refused.

    Returns
    -------
    ndarray, float32 or float64
        It is `value` itself or a view of it where that is possible.

    Raises
    ------
    ValueError
        If values are masked, complex, or text that is not a number.
    TypeError
        If `value` is sparse, a `numpy.matrix` or a Dask collection, or if it contains objects that
        are not numbers.
    """
    if type(value) is np.ndarray and value.dtype in _NATIVE:
        return value
    if is_sparse(value):
        raise _sparse_error(name)
    if isinstance(value, np.matrix):
        raise TypeError(f"np.matrix is not supported: pass np.asarray({name})")
    refuse_dask_collection(value, name)
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ma.MaskedArray) for v in value):
        value = np.ma.array(value)  # np.asarray would lose the masks
    if isinstance(value, np.ma.MaskedArray):
        value = _without_mask(value, name, masked_as_nan)
    if is_frame(value):
        return _frame_to_array(value, name)
    if not isinstance(getattr(value, "dtype", None), np.dtype) and (
        hasattr(value, "__array__") or not allow_strings
    ):
        # The dtype decides the conversion: a tensor may be float32, and a list may contain text.
        value = np.asarray(value)
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        _check_kind(value, dtype, name, allow_strings)
    return _cast(value, _float_type(dtype), name)


def _float_type(dtype: object) -> npt.DTypeLike:
    """Return the dtype that values of a dtype are converted to."""
    # These dtypes have the machine's byte order, and are not equal to those of the other order.
    keep = isinstance(dtype, np.dtype) and dtype in (np.float32, np.float64)
    return dtype if keep else np.float64  # type: ignore[return-value]


def _cast(value: object, dtype: npt.DTypeLike, name: str) -> FloatArray:
    """Convert a value to an array of the dtype; errors name the argument."""
    try:
        with np.errstate(over="ignore"):  # a long double may become infinite, and is then refused
            array: FloatArray = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise _not_numbers(error, name) from error
    return array


def _not_numbers(error: Exception, name: str, where: str = "") -> Exception:
    """Return the error for a failed conversion: NumPy's message, with the name of the argument."""
    return same_kind(error, f"{error} ({name} should be an array of numbers{where})")


def _check_kind(value: object, dtype: np.dtype[Any], name: str, allow_strings: bool) -> None:
    """Raise an error if values of the dtype are not real numbers, or text where that is allowed."""
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{value}\n({name} has dtype {dtype})")
    if dtype.kind in "mM":
        raise TypeError(f"{name} has dtype {dtype}, expected numbers")
    if dtype.kind in "USV" and not allow_strings:
        raise ValueError(f"{name} has dtype {dtype}, expected numbers: convert {name} first")


def _sparse_error(name: str) -> TypeError:
    return TypeError(
        f"Sparse data was passed for {name}, but dense data is required. "
        f"Convert it with {name}.toarray()."
    )


def is_dask_collection(value: Any) -> bool:
    """Return whether a value is a Dask collection, without importing Dask."""
    # xarray objects have this method too; it returns None unless they hold Dask arrays.
    return hasattr(type(value), "__dask_graph__") and value.__dask_graph__() is not None


def refuse_dask_collection(value: Any, name: str) -> None:
    """Raise TypeError if a value is a Dask collection, which NumPy would compute.

    Parameters
    ----------
    value : object
    name : str
        The name of the argument in the message.
    """
    if is_dask_collection(value):
        raise TypeError(
            f"{name} is a Dask collection ({type(value).__name__}), which would be computed into "
            "the memory of this process. The methods of gmm_core.dask.GaussianMixture, except "
            "fit_batches and partial_fit, take Dask collections as X and as sample_weight. "
            f"Elsewhere, pass {name}.compute()."
        )


def _without_mask(
    array: np.ma.MaskedArray[Any, Any], name: str, masked_as_nan: bool
) -> AnyArray:
    """Return the values of a masked array, with NaN where they are masked.

    Raises
    ------
    ValueError
        If a value is masked and `masked_as_nan` is False.
    """
    if array.dtype.kind not in "biuf" or not np.ma.is_masked(array):
        return np.ma.getdata(array)
    if masked_as_nan:
        return np.ma.filled(array.astype(_float_type(array.dtype)), np.nan)
    index = position(int(np.argmax(np.ma.getmaskarray(array))), array)
    advice = "Fill these values, or drop their rows."
    if name == "X":
        advice = (
            'With missing="marginalize", GaussianMixture treats the masked values of an array as '
            "missing. Otherwise, fill these values, or drop their rows."
        )
    raise ValueError(f"{name} has masked values, the first is {name}[{index}]. {advice}")


def for_kernels(array: _Array) -> _Array:
    """Return the array as a C-contiguous and aligned one, which is a copy only if necessary."""
    if type(array) is np.ndarray and array.flags.c_contiguous and array.flags.aligned:
        return array
    required: _Array = np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])
    return required


# --- data frames ----------------------------------------------------------------------------


def _frame_to_array(frame: Any, name: str) -> FloatArray:
    """Convert a data frame, whose columns may have types that NumPy does not know."""
    dtypes: list[Any] = []
    for column, dtype in dtypes_of(frame):
        if is_time(dtype):
            raise TypeError(f"column {column!r} of {name} has dtype {dtype}, expected numbers")
        if getattr(dtype, "kind", "O") == "c":
            raise ValueError(
                f"Complex data not supported: column {column!r} of {name} has dtype {dtype}"
            )
        dtypes.append(dtype)
    if dtypes and all(type(dtype).__name__ == "SparseDtype" for dtype in dtypes):
        raise _sparse_error(name)
    try:
        with np.errstate(over="ignore"):  # a long double may become infinite, and is then refused
            if not hasattr(frame, "iloc"):
                array = np.asarray(frame)
                # NumPy makes small integers with nulls float32, but such columns are not of float32
                single = any(str(dtype).lower() in ("float32", "float") for dtype in dtypes)
                kept = array.dtype == np.float32 and single
                return _cast(array, np.float32 if kept else np.float64, name)
            if all(isinstance(dtype, np.dtype) for dtype in dtypes):
                common = np.result_type(*dtypes) if dtypes else None
                return np.asarray(frame, dtype=_float_type(common))
            # Nullable columns contain pandas.NA. It becomes NaN and is treated as any NaN is.
            return frame.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]
    except (TypeError, ValueError, OverflowError) as error:
        raise _first_bad_column(frame, error, name) from error


def _first_bad_column(frame: Any, error: Exception, name: str) -> Exception:
    """Return the error for a frame that cannot be converted, with the name of the bad column."""
    for i, (column, dtype) in enumerate(dtypes_of(frame)):
        try:
            column_of(frame, i)
        except (TypeError, ValueError, OverflowError) as cause:
            return _not_numbers(cause, name, f"; its column {column!r} has dtype {dtype}")
    return _not_numbers(error, name)
