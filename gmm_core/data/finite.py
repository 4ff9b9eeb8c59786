"""Checks that the values of an array are finite, which name the first that is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import FloatArray

_BLOCK = 1 << 16  # values looked at together when a non-finite one is searched for


def check_finite(array: FloatArray, name: str, advice: str = "", first_row: int = 0) -> None:
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
                at = position(index, array, first_row)
                raise ValueError(f"Input {name} contains NaN.{advice} The first is {name}[{at}].")
            raise _infinite_error(index, array, name, first_row)


def check_not_infinite(array: FloatArray, name: str, first_row: int) -> None:
    """Raise ValueError if an array (C-contiguous) has an infinite value."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        infinite = np.isinf(flat[start : start + _BLOCK])
        if infinite.any():
            raise _infinite_error(start + int(np.argmax(infinite)), array, name, first_row)


def position(index: int, array: npt.NDArray[Any], first_row: int = 0) -> str:
    """Return the indices of an entry of a flattened array, as text."""
    row, *rest = np.unravel_index(index, array.shape)
    return ", ".join(map(str, (row + first_row, *rest)))


def _infinite_error(index: int, array: FloatArray, name: str, first_row: int) -> ValueError:
    return ValueError(
        f"Input {name} contains infinity or a value too large for {array.dtype!r}. "
        f"The first is {name}[{position(index, array, first_row)}]."
    )
