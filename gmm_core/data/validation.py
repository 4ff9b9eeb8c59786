"""Checks of the data that users give, made once, before anything else is done with them.

The result of a check is a C-contiguous, aligned array of float32 or float64 in the machine's byte
order that contains no infinite values, and NaN only where missing values are allowed. The kernels
rely on this. An array that has these properties already is never copied.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray, Names
from gmm_core.data.conversion import as_float_array, for_kernels
from gmm_core.data.finite import check_finite, check_not_infinite
from gmm_core.data.frames import check_feature_names, feature_names_of, is_frame

_NAN_ADVICE = 'With missing="marginalize", the estimators take missing values.'

_KERNEL_TYPES = np.dtype(np.float32), np.dtype(np.float64)


def check_X(
    X: object,
    *,
    n_features: int | None = None,
    feature_names: Names | None = None,
    min_samples: int = 1,
    allow_nan: bool = False,
    estimator_name: str = "GaussianMixture",
    n_threads: int | None = 1,
) -> tuple[FloatArray, Names | None]:
    """Check the samples given to a method, and return them as an array for the kernels.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Numbers of any type, in any memory layout. float32 and float64 (in the machine's byte order)
        keep their dtype. All other numbers become float64. Masked values of a masked array count as
        NaN.
    n_features : int or None, default=None
        The number of features of the fitted model. None in a fit.
    feature_names : ndarray of shape (n_features,), object, or None, default=None
        The feature names of the fitted model. None in a fit, or if the model has no names.
    min_samples : int, default=1
        The smallest number of rows that is allowed.
    allow_nan : bool, default=False
        Whether NaN is allowed, as a missing value.
    estimator_name : str, default="GaussianMixture"
        The name of the class in messages.
    n_threads : int or None, default=1
        The parameter `n_threads` of the estimator, for the check that values are finite.

    Returns
    -------
    array : ndarray of shape (n_samples, n_features), float32 or float64
        It is C-contiguous and aligned. It is `X` or a view of it where that is possible, and may be
        read-only.
    names : ndarray of shape (n_features,), object, or None
        The column names of a data frame if all of them are of type str.

    Raises
    ------
    ValueError
        If `X` is not two-dimensional, has too few samples, no features or another number of
        features than the model, or other feature names or the same names in another order. If
        values are NaN or masked (unless that is allowed), infinite, complex, or text that is not a
        number.
    TypeError
        If `X` is sparse, a `numpy.matrix`, a Dask collection, a data set or an iterator. If it
        contains dates or objects that are not numbers, or only some of its names are of type str.

    Warns
    -----
    UserWarning
        If only one of `X` and the fitted model has feature names.
    """
    if (
        type(X) is np.ndarray
        and X.dtype in _KERNEL_TYPES
        and X.ndim == 2
        and len(X) >= max(min_samples, 1)
        and feature_names is None
        and X.shape[1] == (n_features or X.shape[1] or None)
        and X.flags.c_contiguous
        and X.flags.aligned
    ):  # the usual case, which takes less time than the checks below
        check_values(X, allow_nan, n_threads=n_threads)
        return X, None
    _refuse_batches(X)
    fitting = n_features is None
    names = feature_names_of(X)
    if not fitting:
        check_feature_names(names, feature_names, estimator_name)
    # As in scikit-learn, text is read as numbers in a fit, and refused by other methods.
    array = as_float_array(X, "X", allow_strings=fitting, masked_as_nan=allow_nan)
    by = f" by {estimator_name}"
    if array.ndim < 2:
        raise ValueError(_not_2d_message(X, array))
    if array.ndim > 2:
        raise ValueError(
            f"Found array with dim {array.ndim}, while dim <= 2 is required{by}. Give X of shape "
            f"(n_samples, n_features), not {array.shape}."
        )
    array = for_kernels(array)
    check_values(array, allow_nan, n_threads=n_threads)
    check_n_rows(array.shape, min_samples, estimator_name)
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(
            f"X has {array.shape[1]} features, but {estimator_name} is expecting "
            f"{n_features} features as input."
        )
    return array, names


def check_values(
    array: FloatArray, allow_nan: bool, first_row: int = 0, n_threads: int | None = 1
) -> None:
    """Check that samples are finite.

    Parameters
    ----------
    array : ndarray of shape (n_samples, n_features), float32 or float64
        It is C-contiguous and aligned.
    allow_nan : bool
        Whether NaN is allowed, as a missing value.
    first_row : int, default=0
        The number in X of the first row of the array.
    n_threads : int or None, default=1
        See `check_X`.

    Raises
    ------
    ValueError
        If a value is infinite, or if a value is NaN and that is not allowed.
    """
    if allow_nan:
        check_not_infinite(array, "X", first_row, n_threads)
    else:
        check_finite(array, "X", _NAN_ADVICE, first_row, n_threads)


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
) -> Float64Array | None:
    """Check the weights of the samples.

    Parameters
    ----------
    sample_weight : None, number or array-like of shape (n_samples,)
        A number is the weight of every sample.
    n_samples : int
        The number of samples.
    may_be_zero : bool, default=False
        Whether all weights may be 0.

    Returns
    -------
    ndarray of shape (n_samples,), float64, or None
        None if `sample_weight` is None. Otherwise a C-contiguous array, which is `sample_weight`
        itself where that is possible.

    Raises
    ------
    ValueError
        If the shape is wrong, a weight is negative, NaN or infinite, all weights are 0, or their
        sum is infinite.
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
    array = for_kernels(array)
    check_finite(array, "sample_weight")
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


def is_batches(X: Any) -> bool:
    """Return whether X, which may be an array or batches, is batches.

    Arrays are what has `__array__` or a shape, data frames, and lists and other sequences of rows.
    Batches are

    - a list or a tuple whose first element has two dimensions, or is a tuple (array, sample_weight)
      or (array, sample_weight, noise_covariance) of an array with two dimensions,
    - an object with a method `to_batches` or `iter_batches`, or a callable,
    - an iterable that is no sequence, such as a generator.
    """
    if isinstance(X, (list, tuple)):
        first = X[0] if len(X) else None
        if isinstance(first, tuple) and len(first) in (2, 3):
            first = first[0]
        return _n_dimensions(first) == 2
    if is_frame(X) or hasattr(X, "shape") or hasattr(X, "__array__"):
        return False
    if hasattr(type(X), "__dask_graph__"):  # a Delayed object claims to have every attribute
        return False
    if callable(X) or hasattr(X, "to_batches") or hasattr(X, "iter_batches"):
        return True
    return hasattr(X, "__iter__") and not hasattr(X, "__getitem__")


def _n_dimensions(value: Any) -> int:
    """Return the number of dimensions of an array, a data frame or nested lists."""
    if hasattr(value, "shape"):
        return len(value.shape)
    if isinstance(value, list):
        return 1 + (_n_dimensions(value[0]) if value else 0)
    return 0


def _refuse_batches(X: object) -> None:
    """Raise an error if X is batches."""
    if not is_batches(X):
        return
    takers = (
        "fit_batches, select and most methods that use a fitted mixture take data in batches; "
        "other methods take one batch at a time."
    )
    if isinstance(X, (list, tuple)):
        raise ValueError(
            f"X is a {type(X).__name__} of {len(X)} arrays, expected one array or data frame. "
            f"{takers}"
        )
    raise TypeError(
        f"X is of type {type(X).__name__}, expected an array or a data frame. {takers}"
    )


def _not_2d_message(X: object, array: FloatArray) -> str:
    """Return the message for X with fewer than two dimensions."""
    if hasattr(X, "iloc"):  # a Series, which has no method reshape
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


def check_enough_samples(n_samples: int, n_components: int) -> None:
    """Check that there are at least as many samples as components.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    if n_samples < n_components:
        raise ValueError(
            "Expected n_samples >= n_components but got "
            f"n_components = {n_components}, n_samples = {n_samples}"
        )
