"""Checks that the values of an array are finite. Errors name the first value that is not."""

from __future__ import annotations

import numpy as np

from gmm_core.core.dispatch import expectation
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import AnyArray, FloatArray

_SEARCHED = 1 << 16  # number of values that are searched at once for one that is not finite
_PARALLEL = 1 << 16  # a smaller number of values is checked in less time than threads take to start


def check_finite(
    array: FloatArray,
    name: str,
    advice: str = "",
    first_row: int = 0,
    n_threads: int | None = 1,
) -> None:
    """Raise ValueError if an array for the kernels has a value that is NaN or infinite.

    Parameters
    ----------
    array : ndarray, float32 or float64
        It is C-contiguous and aligned.
    name : str
        The name of the argument in the message.
    advice : str, default=""
        A sentence for the message if the value is NaN.
    first_row : int, default=0
        The number of the first row of the array in the argument.
    n_threads : int or None, default=1
        See `effective_n_threads`.
    """
    flat = array.reshape(-1)
    if _all_finite(flat, n_threads):
        return
    for start in range(0, flat.size, _SEARCHED):
        finite = np.isfinite(flat[start : start + _SEARCHED])
        if not finite.all():
            index = start + int(np.argmin(finite))
            if np.isnan(flat[index]):
                advice = f"\n{advice}" if advice else ""
                at = position(index, array, first_row)
                raise ValueError(f"Input {name} contains NaN.{advice} The first is {name}[{at}].")
            raise _infinite_error(index, array, name, first_row)


def check_not_infinite(
    array: FloatArray, name: str, first_row: int = 0, n_threads: int | None = 1
) -> None:
    """Raise ValueError if an array has an infinite value; see `check_finite`."""
    flat = array.reshape(-1)
    if _all_finite(flat, n_threads):
        return
    for start in range(0, flat.size, _SEARCHED):
        infinite = np.isinf(flat[start : start + _SEARCHED])
        if infinite.any():
            raise _infinite_error(start + int(np.argmax(infinite)), array, name, first_row)


def _all_finite(flat: FloatArray, n_threads: int | None) -> bool:
    """Return whether no value of a flat array is NaN or infinite."""
    threads = effective_n_threads(n_threads) if flat.size >= _PARALLEL else 1
    return expectation(flat.dtype).all_finite(flat, threads)


def position(index: int, array: AnyArray, first_row: int = 0) -> str:
    """Return the indices of an entry, as text, from its index in the flattened array."""
    row, *rest = np.unravel_index(index, array.shape)
    return ", ".join(map(str, (row + first_row, *rest)))


def _infinite_error(index: int, array: FloatArray, name: str, first_row: int) -> ValueError:
    """Return the error for an infinite value at an index of the flattened array."""
    return ValueError(
        f"Input {name} contains infinity or a value too large for {array.dtype!r}. "
        f"The first is {name}[{position(index, array, first_row)}]."
    )
