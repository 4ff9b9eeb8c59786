"""The files of models and checkpoints: .npz archives of arrays and one header in JSON.

Nothing is pickled, and no member is compressed, so that reading a file never takes more memory than
a few times its size. The shape and dtype of an array are compared with what they have to be before
it is read, its values before they are used.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int | None, ...] | None  # None: any length, or any shape
FLOATS = ("float32", "float64")


# --- writing ----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Convert a value of NumPy, or a path, to a type that JSON has."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"cannot save a parameter of type {type(value).__name__}: {value!r}")


def write(
    path: str | os.PathLike[str],
    what: str,
    header: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    temporary: str,
) -> None:
    """Write an archive in one step: at any moment the file is the old one or the new one, whole.

    A pipe, a device, and a file in a folder that nothing can be added to have to be written in
    place.

    Parameters
    ----------
    path : str or path
    what : str
        What the message of an error calls the file.
    header : mapping
    arrays : mapping of str to ndarray
    temporary : str
        Name of the file, in the same folder, that is written first.

    Raises
    ------
    OSError
        If the file cannot be written; the message names it. An older file that was not to be
        written in place is as it was.
    """
    members = {**arrays, "header": np.array(json.dumps(header, default=plain))}
    target = Path(os.path.realpath(path))
    new = target.with_name(temporary)
    exists = target.exists()
    try:
        if exists and not (target.is_file() and os.access(target.parent, os.W_OK)):
            with open(target, "wb") as file:
                np.savez(file, allow_pickle=False, **members)
            return
        if exists and not os.access(target, os.W_OK):
            raise PermissionError(13, "Permission denied")
        try:
            with open(new, "wb") as file:
                np.savez(file, allow_pickle=False, **members)
                file.flush()
                os.fsync(file.fileno())
            if exists:
                shutil.copymode(target, new)
            os.replace(new, target)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise
    except OSError as error:
        reason = error.strerror or error
        message = f"the {what} could not be written: {reason}"
        raise OSError(error.errno, message, os.fspath(path)) from error


# --- reading ----------------------------------------------------------------------------------


class Members:
    """The header and the arrays of a file, in memory.

    Parameters
    ----------
    header : dict
    arrays : mapping of str to ndarray
    """

    def __init__(self, header: dict[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.header = header
        self._arrays = arrays

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def array(
        self, name: str, shape: Shape, dtypes: Sequence[str] = ("float64",)
    ) -> npt.NDArray[Any]:
        """Return an array, if its shape and dtype are what they have to be.

        Parameters
        ----------
        name : str
        shape : tuple of int or None, or None
            None stands for any length of an axis, or for any shape.
        dtypes : sequence of str
            Names of the dtypes that it may have, in any byte order; it is returned in the native.

        Raises
        ------
        ValueError
            If there is no such array, or it has another shape or dtype.
        """
        if name not in self:
            raise ValueError(f"it has no array {name!r}")
        return self._read(name, shape, dtypes)

    def _read(self, name: str, shape: Shape, dtypes: Sequence[str]) -> npt.NDArray[Any]:
        array = self._arrays[name]
        _check_form(name, array.shape, array.dtype, shape, dtypes)
        return array


class Archive(Members):
    """The header and the arrays of an open file. An array is read when it is asked for.

    Parameters
    ----------
    file : file
        Open for reading in binary mode.

    Raises
    ------
    ValueError
        If the file is not an archive with a header.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._n_bytes = file.seek(0, os.SEEK_END)
        try:
            self._zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise ValueError("it is not an .npz archive, or it is damaged") from None
        if "header" not in self:
            raise ValueError("it is an archive without a header, such as an .npz file of data")
        header = json.loads(str(self._read("header", (), ("str",))))
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        super().__init__(header, {})

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._zip.NameToInfo

    def _read(self, name: str, shape: Shape, dtypes: Sequence[str]) -> npt.NDArray[Any]:
        info = self._zip.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"its array {name!r} is compressed, which gmm_core never does")
        with self._zip.open(info) as member:
            if np.lib.format.read_magic(member) != (1, 0):
                raise ValueError(f"its array {name!r} is of an unknown version of the .npy format")
            found, fortran, dtype = np.lib.format.read_array_header_1_0(member)
            # the header of a file is a text, whose dtype has a name for each length
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
