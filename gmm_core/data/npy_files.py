"""Files of NumPy's format .npy that are written row by row, and appear when they are complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from gmm_core.core.types import AnyArray

_HEADER_BYTES = 128  # format 1.0 wants a multiple of 64


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a new file, which takes the place of `path` when the block ends.

    If the block raises an error, there is no new file, and an older one is unchanged.

    Raises
    ------
    OSError
        If the file cannot be made; the message names `path`.
    """
    from pathlib import Path  # here, as these two modules take long to import
    from shutil import copymode

    target = Path(os.path.realpath(path))
    new = target.with_name(f".gmm_core-{os.urandom(4).hex()}.new")
    try:
        if target.exists() and not target.is_file():
            raise OSError(None, "it exists, and is no ordinary file")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(13, "Permission denied")
        file = open(new, "w+b")  # noqa: SIM115
    except OSError as error:
        message = f"the results could not be written: {error.strerror}"
        raise OSError(error.errno, message, os.fspath(path)) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            copymode(target, new)
        os.replace(new, target)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


class NpyFile:
    """An array in a file, to which rows are added.

    Parameters
    ----------
    file : file
        It is empty, and open for reading and writing.

    Attributes
    ----------
    n_rows : int
        The number of rows so far.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._form: tuple[np.dtype[Any], tuple[int, ...]] | None = None
        self.n_rows = 0
        file.write(bytes(_HEADER_BYTES))

    def append(self, rows: AnyArray) -> None:
        """Write further rows.

        Raises
        ------
        ValueError
            If they have another dtype or another shape than those before them.
        """
        form = rows.dtype, rows.shape[1:]
        if self._form is None:
            self._form = form
        if form != self._form:
            raise ValueError(
                f"the results have dtype {form[0]} and shape {form[1]} in a row, but those before "
                f"them have {self._form[0]} and {self._form[1]}: one file cannot hold both"
            )
        self._file.write(np.ascontiguousarray(rows).data)
        self.n_rows += len(rows)

    def extend(
        self, n_rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> np.memmap[Any, Any]:
        """Make room for all rows at once, and return a map of them, to be filled."""
        self._form, self.n_rows = (dtype, shape), n_rows
        file, n_bytes = self._file, n_rows * int(np.prod(shape)) * dtype.itemsize
        file.flush()
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and not in the map
            os.posix_fallocate(file.fileno(), _HEADER_BYTES, n_bytes)
        return np.memmap(file, dtype, "r+", _HEADER_BYTES, (n_rows, *shape))

    def finish(self) -> None:
        """Write the header, which says how many rows there are."""
        assert self._form is not None
        dtype, shape = self._form
        fields = {
            "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False,
            "shape": (self.n_rows, *shape),
        }  # fmt: skip
        text = str(fields).encode("ascii").ljust(_HEADER_BYTES - 11) + b"\n"
        self._file.seek(0)
        self._file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
