"""Reading the DATA argument of the command line: .csv, .npy and .npz files."""

import contextlib
import csv
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

_CHECK_ROWS = 65536  # rows looked at together when searching for NaN: keeps a mapped file mapped


class Data(NamedTuple):
    """Samples, and the names of their features where the file has a header."""

    X: NDArray[Any]
    names: list[str] | None


def read_data(path: str) -> Data:
    """Read samples from a file.

    Parameters
    ----------
    path : str
        A ``.csv`` file with or without a header, a ``.npy`` file (mapped, not copied), or a
        ``.npz`` file with an array called ``X`` or with one array only.

    Returns
    -------
    Data
        ``X`` of shape (n_samples, n_features), all finite, and the feature names or None.

    Raises
    ------
    ValueError
        If the file does not hold a table of finite numbers.
    OSError
        If the file cannot be opened.
    """
    suffix = Path(path).suffix.lower()
    names: list[str] | None = None
    if suffix == ".csv":
        X, names = _read_csv(path)
    elif suffix == ".npy":
        X = _load_numpy(path)
    elif suffix == ".npz":
        X = _load_npz(path)
    else:
        raise ValueError(f"{path}: expected a .csv, .npy or .npz file")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{path}: holds values of type {X.dtype}, expected real numbers")
    if X.ndim == 1:
        X = X[:, np.newaxis]
    if X.ndim != 2:
        raise ValueError(f"{path}: has shape {X.shape}, expected (n_samples, n_features)")
    if X.size == 0:
        raise ValueError(f"{path}: holds no samples")
    _check_finite(X, names, path)
    return Data(X, names)


def _check_finite(X: NDArray[Any], names: list[str] | None, path: str) -> None:
    if X.dtype.kind != "f":
        return
    for start in range(0, X.shape[0], _CHECK_ROWS):
        bad = ~np.isfinite(X[start : start + _CHECK_ROWS])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = X[start + row, column]
            name = _column_name(column, names)
            raise ValueError(f"{path}: sample {start + row + 1}, {name} is {value}, not finite")


def _column_name(column: int, names: list[str] | None) -> str:
    number = f"column {column + 1}"
    return number if names is None or column >= len(names) else f"{number} ({names[column]})"


def _load_numpy(path: str) -> Any:
    """Map a .npy file into memory, or open an .npz archive."""
    kind = Path(path).suffix.lower()
    loaded: Any = None
    with contextlib.suppress(ValueError, EOFError, zipfile.BadZipFile):
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    # NumPy goes by the content, not by the name.
    found = {np.ndarray: ".npy", np.memmap: ".npy", NpzFile: ".npz"}.get(type(loaded))
    if found != kind:
        raise ValueError(f"{path}: not a {kind} file of plain numbers")
    return loaded


def _load_npz(path: str) -> NDArray[Any]:
    archive = _load_numpy(path)
    with archive:
        keys = list(archive.files)
        key = "X" if "X" in keys else keys[0] if len(keys) == 1 else None
        if key is None:
            found = ", ".join(keys) or "nothing"
            raise ValueError(f"{path}: expected an array X or a single array, found {found}")
        try:
            return np.asarray(archive[key])
        except (ValueError, zipfile.BadZipFile):
            raise ValueError(f"{path}: array {key} cannot be read as plain numbers") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_csv(path: str) -> tuple[NDArray[Any], list[str] | None]:
    try:
        n_skip, first = _first_row(path)
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None
    if not first:
        raise ValueError(f"{path}: the file is empty")
    n_numbers = sum(map(_is_number, first))
    names: list[str] | None = None
    if n_numbers == 0:
        names = first
        n_skip += 1
        if "" in names:
            # Typically the index written by pandas or R: fitting it as a feature would be silent.
            number = names.index("") + 1
            raise ValueError(f"{path}: column {number} has no name; is it an index? leave it out")
    elif n_numbers < len(first):
        column = next(i for i, text in enumerate(first) if not _is_number(text))
        raise ValueError(
            f"{path}: line {n_skip + 1}, column {column + 1}: {first[column]!r} is not a number"
            " (a header must not contain numbers, a table must not contain text)"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "no data" is our own error, below
            X = np.loadtxt(
                path,
                delimiter=",",
                skiprows=n_skip,
                ndmin=2,
                quotechar='"',
                comments=None,
                encoding="utf-8-sig",
            )
    except ValueError as error:
        raise ValueError(f"{path}: {_first_fault(path, n_skip, len(first)) or error}") from None
    if X.size == 0:
        raise ValueError(f"{path}: a header but no samples")
    if X.shape[1] != len(first):
        raise ValueError(
            f"{path}: the header names {len(first)} columns, the samples have {X.shape[1]}"
        )
    return X, names


def _first_row(path: str) -> tuple[int, list[str]]:
    """Return how many lines of comment or nothing come first, and the fields of the next one."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        for number, line in enumerate(file):
            if line.strip() and not line.startswith("#"):
                return number, [field.strip() for field in next(csv.reader([line]))]
    return 0, []


def _first_fault(path: str, n_skip: int, width: int) -> str | None:
    """Say where a table stops being one; slow, for a file that NumPy has refused."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for _ in range(n_skip):
                next(file)
            for number, line in enumerate(file, start=n_skip + 1):
                row = next(csv.reader([line]), [])
                if not row:
                    continue
                for column, text in enumerate(row[:width]):
                    if not _is_number(text):
                        return f"line {number}, column {column + 1}: {text!r} is not a number"
                if len(row) != width:
                    return f"line {number} has {len(row)} columns, expected {width}"
    except UnicodeDecodeError:
        return "not a text file in UTF-8"
    return None
