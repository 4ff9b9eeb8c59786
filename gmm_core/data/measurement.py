"""Measurement noise: the known covariances of the errors of the values in each row.

Users give it as `noise_covariance`. The kernels take a row of D variances or of D² covariances for
each row of X. If all rows share one covariance, these are views of it, with a stride of 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.dispatch import rowwise
from gmm_core.core.types import AnyArray, Float64Array, FloatArray
from gmm_core.data.conversion import as_float_array, for_kernels, refuse_dask_collection
from gmm_core.data.foreign import ForeignRows, needs_large_copy, whole

_CHECKED = 1 << 18  # numbers that are checked at once


@dataclass(frozen=True, slots=True)
class NoisyRows:
    """Rows that were measured with noise.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    noise : ndarray of shape (n_samples, n_features or n_features²), float64
        Variances or covariances.
    """

    X: FloatArray
    noise: Float64Array

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the rows."""
        return self.X.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the rows."""
        return self.X.shape

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, rows: Any) -> NoisyRows:
        """Select some of the rows."""
        return NoisyRows(self.X[rows], self.noise[rows])


class NoisyForeignRows(ForeignRows):
    """Large rows that were measured with noise, which are read, converted and checked in parts.

    Parameters
    ----------
    X : ForeignRows of shape (n_samples, n_features)
    noise : NoiseRows
    """

    def __init__(self, X: ForeignRows, noise: NoiseRows) -> None:
        super().__init__(X._source, X.dtype, X.has_nan, X._checked, X._first_row)
        self._noise = noise

    def __getitem__(self, rows: slice) -> NoisyForeignRows:
        """Select consecutive rows, without converting them."""
        return NoisyForeignRows(super().__getitem__(rows), self._noise.select(rows))

    @property
    def _n_numbers(self) -> int:
        """How many numbers a row and its noise have."""
        return self.shape[1] + int(self._noise.values.shape[1])

    def checked_parts(self) -> Iterator[tuple[slice, NoisyRows]]:
        """Yield the rows in parts with their noise; see `ForeignRows.checked_parts`."""
        for rows, part in super().checked_parts():
            noise = self._noise.select(rows)
            yield rows, noisy_rows(part, noise, self._first_row + rows.start)


class NoiseRows(NamedTuple):
    """Noise as rows of numbers, whose values have not been checked.

    Attributes
    ----------
    values : array of shape (n_samples or 1, n_features or n_features²)
        Variances or covariances.
    is_shared : bool
        Whether there is one covariance for all samples.
    """

    values: Any
    is_shared: bool

    def select(self, rows: slice) -> NoiseRows:
        """Return the noise of consecutive rows."""
        return self if self.is_shared else NoiseRows(self.values[rows], False)


def with_noise(
    X: FloatArray | ForeignRows, noise_covariance: object
) -> NoisyRows | NoisyForeignRows:
    """Return samples with their noise, for methods that read the rows once; see `noisy_rows`.

    If the samples or their noise would have to be converted as a copy of more than 32 MB, the noise
    is checked later, when the rows are read.
    """
    noise = noise_covariance
    if not isinstance(noise, NoiseRows):
        noise = as_noise_rows(noise, *X.shape)
    if not noise.is_shared and needs_large_copy(noise.values, np.dtype(np.float64), True):
        X = X if isinstance(X, ForeignRows) else ForeignRows(X, X.dtype, True, checked=True)
    return NoisyForeignRows(X, noise) if isinstance(X, ForeignRows) else noisy_rows(X, noise)


def noisy_rows(
    X: FloatArray | ForeignRows, noise_covariance: object, first_row: int = 0
) -> NoisyRows:
    """Check the noise of checked samples, and return both.

    Parameters
    ----------
    X : ndarray or ForeignRows of shape (n_samples, n_features)
        NaN is a missing value, whose noise is not read.
    noise_covariance : array-like or NoiseRows
        Variances of shape (n_samples, n_features), covariances of shape (n_samples, n_features,
        n_features), or one covariance of shape (n_features, n_features) for all rows.
    first_row : int, default=0
        The number in messages of the first row.

    Returns
    -------
    NoisyRows

    Raises
    ------
    ValueError
        If the shape is none of these, or is one for variances as well as for a single covariance;
        if the noise of a value that is not missing is NaN, infinite or negative, or a covariance is
        not symmetric or not positive semi-definite. The message has the number of the row.
    TypeError
        If the noise is not an array of real numbers.
    """
    rows = whole(X)
    n, D = rows.shape
    if not isinstance(noise_covariance, NoiseRows):
        noise_covariance = as_noise_rows(noise_covariance, n, D)
    given: AnyArray = as_float_array(noise_covariance.values, "noise_covariance")
    shared = noise_covariance.is_shared
    if len(given) != (1 if shared else n):
        raise ValueError(f"noise_covariance has {len(given)} rows, but X has {n} rows")
    noise = for_kernels(np.asarray(given, np.float64))
    exact = float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else 2.0**-52
    step = max(1, _CHECKED // noise.shape[1])
    for start in range(0, len(noise), step):
        part = slice(start, start + step)
        missing = np.zeros((1, D), bool) if shared else np.isnan(rows[part])
        _check(noise[part], missing, first_row + start, D, exact**0.5, shared)
    return NoisyRows(rows, np.broadcast_to(noise, (n, noise.shape[1])))


def as_noise_rows(noise_covariance: object, n: int | None, D: int) -> NoiseRows:
    """Return the noise of n samples with D features as rows of numbers; see `noisy_rows`.

    Parameters
    ----------
    noise_covariance : array-like
    n : int or None
        None if the number of samples is unknown. Then the noise is one covariance for all of them.
    D : int
    """
    refuse_dask_collection(noise_covariance, "noise_covariance")
    given: AnyArray = as_float_array(noise_covariance, "noise_covariance")
    shape = given.shape
    if shape == (D, D) and n == D > 1:
        raise ValueError(
            f"noise_covariance has shape {shape}, which may be the variances of {n} samples or one "
            f"covariance for all of them. Give covariances of shape {(n, D, D)}: "
            "S[:, :, None] * np.eye(D) for variances S, or np.broadcast_to(S, (len(X), D, D)) for "
            "one covariance S"
        )
    if shape == (n, D):
        return NoiseRows(given, False)
    if shape == (D, D):
        return NoiseRows(given.reshape(1, D * D), True)
    if shape == (n, D, D):
        if n is not None and n > 1 and given.strides[0] == 0:  # repeated by np.broadcast_to
            return NoiseRows(given[0].reshape(1, D * D), True)
        return NoiseRows(given.reshape(len(given), D * D), False)
    raise noise_shape_error(shape, n, D)


def noise_shape_error(shape: tuple[int, ...], n: object, D: int) -> ValueError:
    """Return the error for noise whose shape does not fit n samples with D features."""
    return ValueError(
        f"noise_covariance has shape {shape}, expected variances of shape ({n}, {D}) or "
        f"covariances of shape ({n}, {D}, {D}) or ({D}, {D}) for X of shape ({n}, {D})"
    )


def _check(
    noise: Float64Array, missing: np.ndarray, first_row: int, D: int, tolerance: float, shared: bool
) -> None:
    """Raise ValueError if the noise of a row is not that of real numbers; see `noisy_rows`."""

    def refuse(i: int, what: str) -> None:
        row = "" if shared else f"[{first_row + i}]"
        raise ValueError(f"noise_covariance{row} {what}")

    pairs = missing
    if noise.shape[1] != D or D == 1:
        pairs = (missing[:, :, None] | missing[:, None]).reshape(-1, D * D)
    known = np.where(pairs, 0.0, noise)
    bad = ~np.isfinite(known).all(axis=1)
    if bad.any():
        i = int(bad.argmax())
        at = int((~np.isfinite(known[i])).argmax())
        refuse(i, f"contains {known[i, at]}, expected finite numbers where X is not missing")
    variances = known if noise.shape[1] == D else known[:, :: D + 1]
    bad = (variances < 0).any(axis=1)
    if bad.any():
        i = int(bad.argmax())
        refuse(i, f"has a negative variance, {variances[i].min():.5g}")
    if noise.shape[1] == D:
        return
    matrices = known.reshape(-1, D, D)
    size = np.sqrt(variances)
    most = size[:, :, None] * size[:, None]     # a covariance is at most this
    with np.errstate(over="ignore"):
        bad = (abs(matrices - matrices.transpose(0, 2, 1)) > tolerance * most).any(axis=(1, 2))
    if bad.any():
        refuse(int(bad.argmax()), "is not symmetric")
    bad = (abs(matrices) > (1 + tolerance) * most).any(axis=(1, 2))
    found = int(bad.argmax()) + 1 if bad.any() else rowwise.first_indefinite(known, D, tolerance)
    if found:
        refuse(found - 1, "is not positive semi-definite")
