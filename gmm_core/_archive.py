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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gmm_core.covariance import COVARIANCE_TYPES
from gmm_core.parameters import Parameters, parameters_from
from gmm_core.restarts import Restart

Shape = tuple[int | None, ...] | None       # None: any length, or any shape

FLOATS = ("float32", "float64")
_WEIGHT_TOLERANCE = 1e-6    # weights that sum to 1 in float64 do so to 6e-8 when cast to float32


# --- writing ----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Convert a value of NumPy, a path or a Restart to a type that JSON has."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Restart):
        return list(value)
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


# --- what the header says -----------------------------------------------------------------------


def field(
    header: Mapping[str, Any], name: str, accepts: Callable[[Any], bool], expected: str
) -> Any:
    """Return an entry of the header, if it is what it has to be.

    Raises
    ------
    ValueError
        If there is none of this name, or it is something else.
    """
    if name not in header:
        raise ValueError(f"its header has no {name!r}")
    value = header[name]
    if not accepts(value):
        text = repr(value)
        text = text if len(text) <= 80 else text[:77] + "..."
        raise ValueError(f"its {name} is {text}, expected {expected}")
    return value


def is_count(value: Any) -> bool:
    """Whether a value is an int from 0 up."""
    return type(value) is int and value >= 0


def is_flag(value: Any) -> bool:
    """Whether a value is True or False."""
    return type(value) is bool


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float64 can hold, or NaN, or infinite."""
    return type(value) is float or (type(value) is int and abs(value) < 2**1023)


def is_log_likelihood(value: Any) -> bool:
    """Whether a value is a number that EM can have as a mean log-likelihood."""
    return is_number(value) and value < math.inf


def are_log_likelihoods(value: Any) -> bool:
    """Whether a value is a list of mean log-likelihoods."""
    return isinstance(value, list) and all(map(is_log_likelihood, value))


def is_size(value: Any) -> bool:
    """Whether a value is a finite number from 0 up."""
    return is_number(value) and 0 <= value < math.inf


def is_weight(value: Any) -> bool:
    """Whether a value is a finite number above 0."""
    return is_size(value) and value > 0


def restarts_from(header: Mapping[str, Any], name: str) -> list[Restart]:
    """Return the restarts that an entry of the header stands for; see `field`."""
    return [Restart(*row) for row in field(header, name, _are_restarts, "a list of restarts")]


def _are_restarts(rows: Any) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, list)
        and len(row) == 5
        and (is_number(row[0]) if row[3] else is_log_likelihood(row[0]))
        and is_count(row[1])
        and is_flag(row[2])
        and (row[3] is None or isinstance(row[3], str))
        and is_number(row[4])
        for row in rows
    )


# --- mixtures -----------------------------------------------------------------------------------


def check_values(array: npt.NDArray[Any], name: str, covariance_type: str) -> None:
    """Check the values of an array of a mixture.

    Parameters
    ----------
    array : ndarray
    name : str
        Ends in the name of an array of `Parameters`, or of an attribute of the model.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Raises
    ------
    ValueError
        If a value is not finite; if weights are negative or do not sum to 1; if variances,
        precisions or the diagonal of their factors are not positive; if a factor is not an upper
        triangle.
    """
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    if name.rstrip("_").endswith("weights"):
        total = float(array.sum(dtype=np.float64))
        if (array < 0).any() or not abs(total - 1) <= _WEIGHT_TOLERANCE:
            raise ValueError(
                f"{name} should be non-negative and sum to 1, but the least is {array.min()} and "
                f"the sum {total}"
            )
    elif not name.rstrip("_").endswith("means"):
        is_matrix = COVARIANCE_TYPES[covariance_type].is_matrix
        diagonal = np.einsum("...ii->...i", array) if is_matrix else array
        if not (diagonal > 0).all():
            where = " on the diagonal" if is_matrix else ""
            raise ValueError(f"{name} should be positive{where}, but the least is {diagonal.min()}")
        if is_matrix and "cholesky" in name and np.tril(array, -1).any():
            raise ValueError(f"{name} should be upper triangular")


def parameter_arrays(prefix: str, parameters: Parameters) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of parameters, by the names that they have in a file."""
    arrays = parameters._asdict()
    del arrays["covariance_type"]
    return {f"{prefix}_{name}": array for name, array in arrays.items()}


def parameters_from_file(
    members: Members, prefix: str, K: int, D: int, covariance_type: str
) -> Parameters:
    """Read parameters that `parameter_arrays` gave to a file.

    Raises
    ------
    ValueError
        If an array is missing, or has another shape, another dtype or other values than
        parameters can have.
    """
    shape = COVARIANCE_TYPES[covariance_type].shape(K, D)
    arrays = []
    for name, expected in (
        ("weights", (K,)), ("means", (K, D)), ("covariances", shape), ("precisions_cholesky", shape)
    ):  # fmt: skip
        array = members.array(f"{prefix}_{name}", expected)
        check_values(array, f"{prefix}_{name}", covariance_type)
        arrays.append(np.ascontiguousarray(array))
    weights, means, covariances, factor = arrays
    made = parameters_from(weights, means, factor, covariance_type, covariances)
    name = f"{prefix}_log_constant"
    log_constant = np.ascontiguousarray(members.array(name, (K + 1,)))
    # equal but for rounding; of a weight of 0 it is -inf
    if not np.allclose(log_constant, made.log_constant, rtol=1e-9, atol=1e-9):
        raise ValueError(f"{name} does not belong to the weights and factors beside it")
    return made._replace(log_constant=log_constant)
