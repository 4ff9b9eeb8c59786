"""Checks of the data that a mixture is given, made once, where it comes in.

What passes is a C-contiguous, aligned array of native float32 or float64 that holds finite
numbers only; the kernels rely on it. An array that is so already is never copied.
"""

from __future__ import annotations

import numbers
import sys
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gmm_core.frames import (
    Names,
    check_feature_names,
    column_of,
    dtypes_of,
    feature_names_of,
    is_frame,
    is_time,
)

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])

_BLOCK = 1 << 16  # values looked at together when a non-finite one is searched for
_NAN_ADVICE = (
    'With missing="marginalize", GaussianMixture takes missing values in arrays and data frames; '
    "fit_batches, partial_fit and fits of Dask collections do not take them yet."
)


class InvalidParameterError(ValueError, TypeError):
    """A constructor parameter has a type or a value that it cannot have."""


class NotFittedError(ValueError, AttributeError):
    """A method that needs a fitted model was called before `fit`."""


class ConvergenceWarning(UserWarning):
    """EM stopped before it converged."""


def _class_of_sklearn(name: str) -> Any:
    """The exception class of scikit-learn if it is loaded: only then can anybody catch it."""
    return getattr(sys.modules.get("sklearn.exceptions"), name, None)


def not_fitted_error(estimator_name: str = "GaussianMixture", detail: str = "") -> Exception:
    """Make the error for a method that was called before `fit`.

    Parameters
    ----------
    estimator_name : str
    detail : str
        A further sentence.

    Returns
    -------
    Exception
        scikit-learn's NotFittedError if `sklearn.exceptions` is loaded, else ours.
    """
    error = _class_of_sklearn("NotFittedError") or NotFittedError
    made: Exception = error(
        f"This {estimator_name} instance is not fitted yet. Call 'fit' with appropriate "
        f"arguments before using this estimator.{detail and ' '}{detail}"
    )
    return made


def convergence_warning_class() -> type[UserWarning]:
    """Return scikit-learn's ConvergenceWarning if `sklearn.exceptions` is loaded, else ours."""
    category: type[UserWarning] = _class_of_sklearn("ConvergenceWarning") or ConvergenceWarning
    return category


def check_X(
    X: object,
    *,
    n_features: int | None = None,
    feature_names: Names | None = None,
    min_samples: int = 1,
    allow_nan: bool = False,
    estimator_name: str = "GaussianMixture",
) -> tuple[FloatArray, Names | None]:
    """Check the samples given to a method and make them an array for the kernels.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Numbers of any type, in any memory layout. float32 and float64 stay what they are
        (if they have the byte order of the machine); all else becomes float64. Masked values
        of a masked array count as NaN.
    n_features : int or None
        The number of features of the fitted model; None while fitting.
    feature_names : ndarray of object or None
        The feature names of the fitted model; None if it has none, and while fitting.
    min_samples : int
        The fewest rows allowed.
    allow_nan : bool
        Whether NaN passes, as a value that is missing.
    estimator_name : str
        The class that the messages speak of.

    Returns
    -------
    array : ndarray of shape (n_samples, n_features), float32 or float64
        C-contiguous and aligned. It is `X` or a view of it where that is possible; it may be
        read-only.
    names : ndarray of shape (n_features,), object, or None
        The column names of a data frame if all are strings.

    Raises
    ------
    ValueError
        If `X` is not two-dimensional, has too few samples, no features or another number of
        features than the model, other feature names or names in another order, values that
        are NaN or masked (unless allowed), infinite, complex, or text that is not a number.
    TypeError
        If `X` is sparse, a `numpy.matrix`, a Dask collection, a data set or an iterator, holds
        dates or objects that are not numbers, or mixes names that are strings with others.

    Warns
    -----
    UserWarning
        If only one of `X` and the fitted model has feature names.
    """
    _refuse_batches(X)
    fitting = n_features is None
    names = feature_names_of(X)
    if not fitting:
        check_feature_names(names, feature_names, estimator_name)
    # Text is read as numbers while fitting and refused afterwards, as in scikit-learn.
    array = as_float_array(X, "X", allow_strings=fitting, masked_as_nan=allow_nan)
    by = f" by {estimator_name}"
    if array.ndim < 2:
        raise ValueError(_not_2d_message(X, array))
    if array.ndim > 2:
        raise ValueError(
            f"Found array with dim {array.ndim}, while dim <= 2 is required{by}. Give X of shape "
            f"(n_samples, n_features), not {array.shape}."
        )
    array = _for_kernels(array)
    check_values(array, allow_nan)
    check_n_rows(array.shape, min_samples, estimator_name)
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(
            f"X has {array.shape[1]} features, but {estimator_name} is expecting "
            f"{n_features} features as input."
        )
    return array, names


def check_values(array: FloatArray, allow_nan: bool, first_row: int = 0) -> None:
    """Check that samples are finite.

    Parameters
    ----------
    array : ndarray of shape (n_samples, n_features), float32 or float64
        C-contiguous.
    allow_nan : bool
        Whether NaN passes, as a value that is missing.
    first_row : int
        The number in X of the first row of the array.

    Raises
    ------
    ValueError
        If a value is infinite, or NaN where that is not allowed.
    """
    if allow_nan:
        _check_not_infinite(array, "X", first_row)
    else:
        _check_finite(array, "X", _NAN_ADVICE, first_row)


def check_n_rows(
    shape: tuple[int, ...], min_samples: int, estimator_name: str = "GaussianMixture"
) -> None:
    """Raise ValueError if samples have too few rows, or no features."""
    for axis, (what, minimum) in enumerate((("sample", min_samples), ("feature", 1))):
        if shape[axis] < minimum:
            raise ValueError(
                f"Found array with {shape[axis]} {what}(s) (shape={shape}) while a minimum of "
                f"{minimum} is required by {estimator_name}. Give X of shape (n_samples, "
                "n_features)."
            )


def check_sample_weight(
    sample_weight: object, n_samples: int, *, may_be_zero: bool = False
) -> npt.NDArray[np.float64] | None:
    """Check the weights of the samples.

    Parameters
    ----------
    sample_weight : None, number or array-like of shape (n_samples,)
        A number is the weight of every sample.
    n_samples : int
    may_be_zero : bool
        Whether all may be zero.

    Returns
    -------
    ndarray of shape (n_samples,), float64, C-contiguous, or None
        None if `sample_weight` is None. It is `sample_weight` itself where that is possible.

    Raises
    ------
    ValueError
        If the shape is another; if a weight is negative, NaN or infinite; if all are zero;
        or if their sum is not a finite number.
    TypeError
        If the weights are not numbers.
    """
    if sample_weight is None:
        return None
    array = np.asarray(as_float_array(sample_weight, "sample_weight"), dtype=np.float64)
    if isinstance(sample_weight, numbers.Number):
        array = np.full(n_samples, array)
    if array.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {array.ndim}D array of shape "
            f"{array.shape}; expected one number or shape ({n_samples},)."
        )
    if array.shape != (n_samples,):
        raise ValueError(f"sample_weight.shape == {array.shape}, expected ({n_samples},)")
    array = _for_kernels(array)
    _check_finite(array, "sample_weight")
    if (array < 0).any():
        raise ValueError(
            f"Negative values in data passed to `sample_weight`: the least is {array.min()}"
        )
    if not may_be_zero and not array.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    with np.errstate(over="ignore"):
        if np.isinf(array.sum()):
            raise ValueError("The sum of sample_weight is too large for a float64")
    return array


# --- conversion -----------------------------------------------------------------------------


def is_sparse(value: object) -> bool:
    """Whether a value is a SciPy sparse array or matrix."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def as_float_array(
    value: object, name: str, *, allow_strings: bool = True, masked_as_nan: bool = False
) -> FloatArray:
    """Convert a value to an array of native float32 or float64, of any shape and layout.

    Parameters
    ----------
    value : object
        float32 and float64 stay what they are; all other numbers become float64.
    name : str
        The argument that the messages speak of.
    allow_strings : bool
        Whether strings are read as numbers.
    masked_as_nan : bool
        Whether masked values become NaN; otherwise they are refused.

    Returns
    -------
    ndarray, float32 or float64
        `value` itself or a view of it where that is possible.

    Raises
    ------
    ValueError
        If the values are masked, complex, or text that is not a number.
    TypeError
        If `value` is sparse, a `numpy.matrix`, a Dask collection, or holds what is not a number.
    """
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
        value = np.asarray(value)  # a tensor may be of float32; a list may hold strings
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        _check_kind(value, dtype, name, allow_strings)
    return _cast(value, _float_type(dtype), name)


def _float_type(dtype: object) -> npt.DTypeLike:
    keep = isinstance(dtype, np.dtype) and dtype in (np.float32, np.float64)  # native order only
    return dtype if keep else np.float64  # type: ignore[return-value]


def _cast(value: object, dtype: npt.DTypeLike, name: str) -> FloatArray:
    try:
        with np.errstate(over="ignore"):  # a long double may become infinite, and is then refused
            array: FloatArray = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise _not_numbers(error, name) from error
    return array


def _not_numbers(error: Exception, name: str, where: str = "") -> Exception:
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"{error} ({name} should be an array of numbers{where})")


def _check_kind(value: object, dtype: np.dtype[Any], name: str, allow_strings: bool) -> None:
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{value}\n({name} has dtype {dtype})")
    if dtype.kind in "mM":
        raise TypeError(f"{name} has dtype {dtype}, expected numbers")
    if dtype.kind in "USV" and not allow_strings:
        raise ValueError(f"{name} has dtype {dtype}, expected numbers: convert it first")


def _sparse_error(name: str) -> TypeError:
    return TypeError(
        f"Sparse data was passed for {name}, but dense data is required. "
        f"Convert it with {name}.toarray()."
    )


def refuse_dask_collection(value: Any, name: str) -> None:
    """Raise TypeError if a value is a lazy collection of Dask, which NumPy would compute.

    Parameters
    ----------
    value : object
    name : str
        The argument that the message speaks of.

    Raises
    ------
    TypeError
    """
    # The lazy arrays of xarray have a graph only if they are made of Dask's.
    if hasattr(type(value), "__dask_graph__") and value.__dask_graph__() is not None:
        raise TypeError(
            f"{name} is a Dask collection ({type(value).__name__}), which would be computed into "
            "the memory of this process. gmm_core.dask.GaussianMixture takes one as X, in all "
            "methods but fit_batches and partial_fit, and as sample_weight of such an X. "
            f"Elsewhere, pass {name}.compute()."
        )


def _refuse_batches(X: object) -> None:
    """Raise if X is data in parts, such as a data set, an iterator or a list of arrays."""
    if isinstance(X, (list, tuple)):
        if len(X) and len(getattr(X[0], "shape", ())) == 2:
            raise ValueError(
                f"X is a {type(X).__name__} of {len(X)} arrays, expected one array or data frame. "
                "fit_batches takes data in batches; other methods take one batch at a time."
            )
    elif not hasattr(X, "__array__") and (
        callable(X) or any(hasattr(X, a) for a in ("to_batches", "iter_batches", "__next__"))
    ):
        raise TypeError(
            f"X is of type {type(X).__name__}, expected an array or a data frame. fit_batches "
            "takes data in batches; other methods take one batch at a time."
        )


def _without_mask(
    array: np.ma.MaskedArray[Any, Any], name: str, masked_as_nan: bool
) -> npt.NDArray[Any]:
    """The values of a masked array, with NaN where they are masked."""
    if array.dtype.kind not in "biuf" or not np.ma.is_masked(array):
        return np.ma.getdata(array)
    if masked_as_nan:
        return np.ma.filled(array.astype(_float_type(array.dtype)), np.nan)
    index = _at(int(np.argmax(np.ma.getmaskarray(array))), array)
    advice = "Fill or drop them."
    if name == "X":
        advice = (
            'With missing="marginalize", GaussianMixture treats the masked values of an array as '
            "missing. Otherwise, fill or drop them."
        )
    raise ValueError(f"{name} has masked values, the first is {name}[{index}]. {advice}")


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
                # small integers with nulls become float32 in NumPy
                single = any(str(dtype).lower() in ("float32", "float") for dtype in dtypes)
                kept = array.dtype == np.float32 and single
                return _cast(array, np.float32 if kept else np.float64, name)
            if all(isinstance(dtype, np.dtype) for dtype in dtypes):
                common = np.result_type(*dtypes) if dtypes else None
                return np.asarray(frame, dtype=_float_type(common))
            # Nullable columns hold pandas.NA, which becomes NaN, to be refused as any NaN is.
            return frame.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]
    except (TypeError, ValueError, OverflowError) as error:
        raise _first_bad_column(frame, error, name) from error


def _first_bad_column(frame: Any, error: Exception, name: str) -> Exception:
    """The error for a frame that cannot be converted, naming the column that is the cause."""
    for i, (column, dtype) in enumerate(dtypes_of(frame)):
        try:
            column_of(frame, i)
        except (TypeError, ValueError, OverflowError) as cause:
            return _not_numbers(cause, name, f"; its column {column!r} has dtype {dtype}")
    return _not_numbers(error, name)


def _for_kernels(array: _Array) -> _Array:
    """Copy an array only if it is not C-contiguous and aligned."""
    if type(array) is np.ndarray and array.flags.c_contiguous and array.flags.aligned:
        return array
    required: _Array = np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])
    return required


def _not_2d_message(X: object, array: FloatArray) -> str:
    if hasattr(X, "iloc"):  # a Series, for which reshape would be bad advice
        return (
            f"Expected a 2-dimensional container but got {type(X)} instead. Pass a DataFrame "
            "with one row (a single sample) or one column (a single feature)."
        )
    if X is None:
        return "Expected 2D array, got None instead. Give X of shape (n_samples, n_features)."
    got = "1D" if array.ndim == 1 else "scalar"
    return (
        f"Expected 2D array, got {got} array instead:\narray={array}.\n"
        "Reshape your data: X.reshape(-1, 1) if it has a single feature, X.reshape(1, -1) if it "
        "is a single sample."
    )


# --- finite values --------------------------------------------------------------------------


def _check_finite(array: FloatArray, name: str, advice: str = "", first_row: int = 0) -> None:
    """Raise ValueError if an array (C-contiguous) has a value that is NaN or infinite.

    The sum needs no temporary and is not finite if any value is not; as it may also overflow,
    only then are the values looked at, block by block.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        finite = np.isfinite(flat[start : start + _BLOCK])
        if not finite.all():
            index = start + int(np.argmin(finite))
            if np.isnan(flat[index]):
                advice = f"\n{advice}" if advice else ""
                at = _at(index, array, first_row)
                raise ValueError(f"Input {name} contains NaN.{advice} The first is {name}[{at}].")
            raise _infinite_error(index, array, name, first_row)


def _check_not_infinite(array: FloatArray, name: str, first_row: int) -> None:
    """Raise ValueError if an array (C-contiguous) has an infinite value."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        infinite = np.isinf(flat[start : start + _BLOCK])
        if infinite.any():
            raise _infinite_error(start + int(np.argmax(infinite)), array, name, first_row)


def _at(index: int, array: npt.NDArray[Any], first_row: int = 0) -> str:
    row, *rest = np.unravel_index(index, array.shape)
    return ", ".join(map(str, (row + first_row, *rest)))


def _infinite_error(index: int, array: FloatArray, name: str, first_row: int) -> ValueError:
    return ValueError(
        f"Input {name} contains infinity or a value too large for {array.dtype!r}. "
        f"The first is {name}[{_at(index, array, first_row)}]."
    )
