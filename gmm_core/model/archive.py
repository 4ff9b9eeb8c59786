"""The files of models and checkpoints: .npz archives of arrays and one header in JSON.

Nothing is pickled, and no member is compressed, so that reading a file never takes more memory than
a few times its size. The shape and dtype of an array are checked before it is read, and its values
are checked before they are used.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from gmm_core.core.types import AnyArray

# The shape that an array has to have. An axis of None may have any length; None in place of the
# tuple stands for any shape.
Shape = tuple[int | None, ...] | None
FLOATS = ("float32", "float64")


# --- writing ----------------------------------------------------------------------------------


def plain(value: object) -> object:
    """Convert a value of NumPy, or a path, to a type that JSON has.

    Raises
    ------
    TypeError
        If the value is of another type.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"cannot save a parameter of type {type(value).__name__}: {value!r}")


def write(
    path: str | os.PathLike[str],
    what: str,
    header: Mapping[str, object],
    arrays: Mapping[str, AnyArray],
    temporary: str,
) -> None:
    """Write an archive, and replace an older file by it in one step.

    At any moment the file is either the complete old one or the complete new one. Only a pipe, a
    device, and a file in a folder without write permission are written in place.

    Parameters
    ----------
    path : str or path
    what : str
        The noun for the file in the message of an error, such as 'model'.
    header : mapping
        What is written as JSON; see `plain`.
    arrays : mapping of str to ndarray
    temporary : str
        Name of a file in the same folder, which is written first and then renamed.

    Raises
    ------
    OSError
        If the file cannot be written; the message names it. An older file is unchanged, unless it
        had to be written in place.
    """
    from pathlib import Path  # here, as these two modules take long to import
    from shutil import copymode

    members = {**arrays, "header": np.array(json.dumps(header, default=plain))}
    target = Path(os.path.realpath(path))
    new = target.with_name(temporary)
    exists = target.exists()
    try:
        if exists and not (target.is_file() and os.access(target.parent, os.W_OK)):
            with open(target, "wb") as file:
                _save(file, members)
            return
        if exists and not os.access(target, os.W_OK):
            raise PermissionError(13, "Permission denied")
        try:
            with open(new, "wb") as file:
                _save(file, members)
                file.flush()
                os.fsync(file.fileno())
            if exists:
                copymode(target, new)
            os.replace(new, target)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise
    except OSError as error:
        reason = error.strerror or error
        message = f"the {what} could not be written: {reason}"
        raise OSError(error.errno, message, os.fspath(path)) from error


def _save(file: IO[bytes], members: Mapping[str, AnyArray]) -> None:
    """Write arrays to an open file as `np.savez` does, which before NumPy 2.1 could pickle them."""
    from zipfile import ZipFile  # here, as it takes long to import

    with ZipFile(file, "w") as archive:
        for name, array in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


# --- reading ----------------------------------------------------------------------------------


class Members:
    """The header and the arrays of a file, held in memory.

    Parameters
    ----------
    header : dict
        The object that the header holds as JSON.
    arrays : mapping of str to ndarray
    """

    def __init__(self, header: dict[str, Any], arrays: Mapping[str, AnyArray]) -> None:
        self.header = header
        self._arrays = arrays

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def array(
        self, name: str, shape: Shape, dtypes: Sequence[str] = ("float64",)
    ) -> AnyArray:
        """Check the shape and the dtype of an array, and return it.

        Parameters
        ----------
        name : str
        shape : tuple of int or None, or None
            An axis of None may have any length; None stands for any shape.
        dtypes : sequence of str, default=('float64',)
            Names of the dtypes that the array may have, in any byte order.

        Returns
        -------
        ndarray
            The array, in the native byte order.

        Raises
        ------
        ValueError
            If there is no array of this name, or it has another shape or dtype.
        """
        if name not in self:
            raise ValueError(f"it has no array {name!r}")
        return self._read(name, shape, dtypes)

    def _read(self, name: str, shape: Shape, dtypes: Sequence[str]) -> AnyArray:
        array = self._arrays[name]
        _check_form(name, array.shape, array.dtype, shape, dtypes)
        return array


class Archive(Members):
    """The header and the arrays of an open file, each of which is read when it is asked for.

    Parameters
    ----------
    file : file
        A file that is open for reading in binary mode.

    Raises
    ------
    ValueError
        If the file is not an archive with a header.
    """

    def __init__(self, file: IO[bytes]) -> None:
        from zipfile import BadZipFile, ZipFile  # here, as it takes long to import

        self._n_bytes = file.seek(0, os.SEEK_END)
        try:
            self._zip = ZipFile(file)
        except BadZipFile:
            raise ValueError("it is not an .npz archive, or it is damaged") from None
        if "header" not in self:
            raise ValueError("it is an archive without a header, such as an .npz file of data")
        header = json.loads(str(self._read("header", (), ("str",))))
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        super().__init__(header, {})

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._zip.NameToInfo

    def _read(self, name: str, shape: Shape, dtypes: Sequence[str]) -> AnyArray:
        from zipfile import ZIP_STORED

        info = self._zip.getinfo(f"{name}.npy")
        if info.compress_type != ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"its array {name!r} is compressed, which gmm_core never does")
        with self._zip.open(info) as member:
            if np.lib.format.read_magic(member) != (1, 0):
                raise ValueError(f"its array {name!r} is of an unknown version of the .npy format")
            found, fortran, dtype = np.lib.format.read_array_header_1_0(member)
            # The header is text, and the name of a text dtype depends on the length of the text.
            kind = np.dtype("U") if dtype.kind == "U" else dtype
            _check_form(name, found, kind, shape, dtypes)
            n_bytes = math.prod(found) * dtype.itemsize
            if n_bytes != info.file_size - member.tell() or n_bytes > self._n_bytes:
                raise ValueError(f"the size of its array {name!r} does not match its shape")
            content = member.read()
        array = np.frombuffer(content, dtype).reshape(found, order="F" if fortran else "C")
        return array.astype(dtype.newbyteorder("="))


def _check_form(
    name: str,
    found: tuple[int, ...],
    dtype: np.dtype[Any],
    shape: Shape,
    dtypes: Sequence[str],
) -> None:
    """Raise ValueError if the shape `found` or the dtype of an array is not an expected one."""
    fits = shape is None or (
        len(found) == len(shape)
        and all(n == length or length is None for n, length in zip(found, shape, strict=True))
    )
    if not fits or min(found, default=0) < 0 or dtype.name not in dtypes:
        expected = "any shape" if shape is None else str(shape).replace("None", "any")
        raise ValueError(
            f"its array {name!r} has shape {found} and dtype {dtype.name}, expected "
            f"{expected} of {' or '.join(dtypes)}"
        )
