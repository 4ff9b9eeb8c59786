"""The results of methods for samples or batches: arrays, files, or one array for each batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gmm_core.core.types import AnyArray, FloatArray
from gmm_core.data.batches import checked_batches, refuse_weights_of_batches
from gmm_core.data.foreign import ForeignRows, whole
from gmm_core.data.measurement import with_noise
from gmm_core.data.npy_files import NpyFile, replacing
from gmm_core.data.validation import is_batches
from gmm_core.infer import score
from gmm_core.infer.denoise import denoise, denoise_with_covariance
from gmm_core.infer.impute import impute as filled
from gmm_core.infer.score import FittedMixture, Rows

# Returns the results for checked samples: in the array that is given, or else in a new one.
Function: TypeAlias = Callable[[Any, FittedMixture, AnyArray | None], Any]
# Checks samples, of which there are at least so many as the second argument says.
CheckRows: TypeAlias = Callable[[Any, int], FloatArray | ForeignRows]


class Method(NamedTuple):
    """What a method computes.

    Attributes
    ----------
    name : str
    function : Function
    columns : {'components', 'features'} or None, default=None
        What the columns of the result stand for; None if it has one dimension.
    dtype : dtype or None, default=None
        The dtype of the result; None means that of the rows.
    noise : {'optional', 'needed', 'refused'}, default='optional'
        Whether the rows have measurement noise.
    """

    name: str
    function: Function
    columns: Literal["components", "features"] | None = None
    dtype: np.dtype[Any] | None = None
    noise: Literal["optional", "needed", "refused"] = "optional"

    def row_shape(self, model: FittedMixture) -> tuple[int, ...]:
        """Return the shape of the result for one row."""
        K, D = model.prepared.means.shape
        return () if self.columns is None else (K if self.columns == "components" else D,)

    def check_noise(self, has_noise: bool) -> None:
        """Raise ValueError if rows should have noise but have none, or the other way round."""
        if self.noise == "needed" and not has_noise:
            raise ValueError(f"{self.name} needs the noise_covariance of the samples")
        if self.noise == "refused" and has_noise:
            raise ValueError(f"{self.name} does not take a noise_covariance")


PREDICT = Method("predict", score.labels, dtype=np.dtype(np.int64))
PREDICT_PROBA = Method("predict_proba", score.responsibilities, "components")
NOISE_PROBA = Method("noise_proba", score.noise_probability, noise="refused")
SCORE_SAMPLES = Method("score_samples", score.log_likelihood)
DENOISE = Method("denoise", denoise, "features", noise="needed")
DENOISE_WITH_COVARIANCE = Method("denoise", denoise_with_covariance, noise="needed")


def impute(random_state: np.random.RandomState | None) -> Method:
    """Return the method that imputes, which draws from a generator if there is one."""

    def function(X: Any, model: FittedMixture, out: AnyArray | None) -> FloatArray:
        return filled(X, model, random_state, out)

    return Method("impute", function, "features", noise="refused")


def results(
    method: Method,
    X: Any,
    model: FittedMixture,
    check_rows: CheckRows,
    noise_covariance: Any = None,
    out: Any = None,
) -> Any:
    """Return the results of a method.

    Parameters
    ----------
    method : Method
    X : array-like, data frame or batches
        See `is_batches`.
    model : FittedMixture
    check_rows : CheckRows
    noise_covariance : array-like, default=None
    out : ndarray, str, path or None, default=None
        An array for the results, or the name of a .npy file.

    Returns
    -------
    ndarray, or iterator over ndarray
        For batches, an iterator over their results if there is no `out`. Otherwise `out`, or a map
        of the file.
    """
    if isinstance(X, np.ndarray) or not is_batches(X):
        return _of_array(method, X, model, check_rows, noise_covariance, out)
    refuse_weights_of_batches(None, noise_covariance)
    is_file = out is not None and _is_file(out)
    target = None if out is None or is_file else _Filled(out, method, model)
    batches = checked_batches(
        X, lambda batch: whole(check_rows(batch, 0)), method.check_noise, keep_empty=True
    )
    computed = (method.function(rows, model, None) for rows, _ in batches)
    if out is None:
        return computed
    if target is not None:
        _write(computed, target)
        return out
    with replacing(out) as file:
        _write(computed, NpyFile(file))
    return np.load(out, mmap_mode="r")


def _of_array(
    method: Method,
    X: Any,
    model: FittedMixture,
    check_rows: CheckRows,
    noise_covariance: Any,
    out: Any,
) -> Any:
    """Return the results for an array or a data frame."""
    method.check_noise(noise_covariance is not None)
    given = check_rows(X, 1)
    rows: Rows = given if noise_covariance is None else with_noise(given, noise_covariance)
    if out is None:
        return method.function(rows, model, None)
    dtype = method.dtype or rows.dtype
    if not _is_file(out):
        _check_array(out, (len(rows), *method.row_shape(model)), (dtype,))
        for name, array in (("X", X), ("noise_covariance", noise_covariance)):
            if isinstance(array, np.ndarray) and np.may_share_memory(array, out):
                raise ValueError(f"out overlaps {name}")
        method.function(rows, model, np.asarray(out))
        return out
    with replacing(out) as file:
        written = NpyFile(file)
        to = written.extend(len(rows), method.row_shape(model), dtype)
        method.function(rows, model, np.asarray(to))
        to.flush()
        written.finish()
    return np.load(out, mmap_mode="r")


class _Filled:
    """An array that is filled with the results of batches."""

    def __init__(self, out: AnyArray, method: Method, model: FittedMixture) -> None:
        floats = np.dtype(np.float32), np.dtype(np.float64)
        dtypes = floats if method.dtype is None else (method.dtype,)
        n = out.shape[0] if isinstance(out, np.ndarray) and out.ndim else 0
        _check_array(out, (n, *method.row_shape(model)), dtypes)
        self._out, self._n = out, 0

    def append(self, rows: AnyArray) -> None:
        """Fill the next rows."""
        stop = self._n + len(rows)
        if stop > len(self._out):
            raise ValueError(f"out has {len(self._out)} rows, but the batches have more")
        _check_array(self._out, self._out.shape, (rows.dtype,))
        self._out[self._n : stop] = rows
        self._n = stop

    def finish(self) -> None:
        """Raise ValueError if rows are left over."""
        if self._n < len(self._out):
            raise ValueError(f"out has {len(self._out)} rows, but the batches have {self._n}")


def _write(batches: Iterator[AnyArray], to: _Filled | NpyFile) -> None:
    """Write the results of all batches to an array or a file."""
    for i, rows in enumerate(batches):
        if len(rows):
            try:
                to.append(rows)
            except ValueError as error:
                raise ValueError(f"batch {i}: {error}") from error
    to.finish()


def _is_file(out: Any) -> bool:
    """Return whether `out` is the name of a .npy file, and not an array."""
    if not isinstance(out, (str, os.PathLike)):
        return False
    name = os.fspath(out)
    if not name.endswith(".npy"):
        raise ValueError(f"out is {name!r}, expected an array or a name that ends in .npy")
    return True


def _check_array(
    out: Any, shape: tuple[int, ...], dtypes: tuple[np.dtype[Any], ...]
) -> None:
    """Check the array that a user gives for results."""
    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"out is of type {type(out).__name__}, expected an ndarray or the name of a .npy file"
        )
    if out.shape != shape or out.dtype not in dtypes:
        expected = " or ".join(map(str, dtypes))
        raise ValueError(
            f"out has shape {out.shape} and dtype {out.dtype}, expected {shape} and {expected}"
        )
    flags = out.flags
    if not (flags.c_contiguous and flags.writeable and flags.aligned):
        raise ValueError("out should be C-contiguous, aligned and writeable")
