"""Reading the DATA argument of the command line: .csv, .npy and .npz files."""

import contextlib
import csv
import math
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from gmm_core.core.warn import warn

# The delimiters that an error may suggest, in the words of --delimiter.
_DELIMITERS = {";": "';'", "\t": "tab", " ": "space", ",": "','"}
_CHECK_ROWS = 65536  # rows looked at together when searching for NaN: keeps a mapped file mapped


class Data(NamedTuple):
    """Samples, and the names of their features where the file has a header."""

    X: NDArray[Any]
    names: list[str] | None


def read_data(path: str, delimiter: str = ",", header: str = "auto") -> Data:
    """Read samples from a file.

    Parameters
    ----------
    path : str
        A ``.csv`` file with or without a header, a ``.npy`` file (mapped, not copied), or a
        ``.npz`` file with an array called ``X`` or with one array only.
    delimiter : str, default=','
        The character between the columns of a .csv file; a space stands for any run of spaces and
        tabs.
    header : {'auto', 'yes', 'no'}, default='auto'
        Whether the first line of a .csv file names the columns. 'auto': it does if none of its
        fields is a number, or if all are quoted and the next line has no quotes.

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

    Warns
    -----
    UserWarning
        If the first line was read as a sample but may be a header.
    """
    suffix = Path(path).suffix.lower()
    names: list[str] | None = None
    if suffix == ".csv":
        X, names = _read_csv(path, delimiter, header)
    elif (delimiter, header) != (",", "auto"):
        raise ValueError(f"{path}: --delimiter and --header are for .csv files")
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
        if {"header", "means_"} <= set(keys):
            raise ValueError(f"{path}: is a model saved by gmm_core, expected a file of samples")
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
    return "_" not in text  # 1_000 is a number in Python only


def _read_csv(path: str, delimiter: str, header: str) -> tuple[NDArray[Any], list[str] | None]:
    try:
        return _parse_csv(path, delimiter, header)
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None


def _parse_csv(path: str, delimiter: str, header: str) -> tuple[NDArray[Any], list[str] | None]:
    n_skip, lines = _first_lines(path)
    if not lines:
        raise ValueError("the file is empty")
    first = _fields(lines[0], delimiter)
    names: list[str] | None = None
    if header == "yes" or (header == "auto" and _is_header(lines, delimiter, n_skip + 1)):
        names = first
        n_skip += 1
        if "" in names:
            # Typically the index written by pandas or R: fitting it as a feature would be silent.
            number = names.index("") + 1
            raise ValueError(f"column {number} has no name; is it an index? leave it out")
    elif fault := _fault(lines[0], n_skip + 1, len(first), delimiter):
        raise ValueError(fault)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "no data" is our own error, below
            X = np.loadtxt(
                path,
                delimiter=None if delimiter == " " else delimiter,
                skiprows=n_skip,
                ndmin=2,
                quotechar='"',
                comments=None,
                encoding="utf-8-sig",
            )
    except ValueError as error:
        raise ValueError(_first_fault(path, n_skip, len(first), delimiter) or error) from None
    if X.size == 0:
        raise ValueError("a header but no samples")
    if X.shape[1] != len(first):
        raise ValueError(f"the header names {len(first)} columns, the samples have {X.shape[1]}")
    if header == "auto" and names is None and _may_be_header(first, X):
        warn(
            f"{path}: line {n_skip + 1} was read as a sample, but it alone consists of whole "
            "numbers; if it names the columns, use --header yes (--header no silences this warning)"
        )
    return X, names


def _first_lines(path: str) -> tuple[int, list[str]]:
    """Return the number of comments and blank lines at the top, and the next two lines of text."""
    n_skip = 0
    lines: list[str] = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        for number, line in enumerate(file):
            if not line.strip() or (not lines and line.startswith("#")):
                continue
            if not lines:
                n_skip = number
            lines.append(line)
            if len(lines) == 2:
                break
    return n_skip, lines


def _fields(line: str, delimiter: str, unquote: bool = True) -> list[str]:
    if delimiter == " ":
        line = " ".join(line.split())
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if unquote else csv.QUOTE_NONE
    reader = csv.reader([line], delimiter=delimiter, quoting=quoting, skipinitialspace=True)
    row = next(reader, [])
    return [field.strip() for field in row]


def _is_header(lines: list[str], delimiter: str, number: int) -> bool:
    """Return whether the first of two lines names columns; raise an error if it is unclear."""
    fields = _fields(lines[0], delimiter)
    numbers = [text for text in fields if _is_number(text)]
    raw = _fields(lines[0], delimiter, unquote=False)
    if all(text.startswith('"') for text in raw) and len(lines) == 2 and '"' not in lines[1]:
        return True
    if not numbers:
        if len(fields) == 1 and (hint := _delimiter_hint(lines[0], delimiter)):
            raise ValueError(f"line {number}: {fields[0]!r} is not a number{hint}")
        return True
    advice = "; if this line names the columns, use --header yes"
    if not any(math.isfinite(float(text)) for text in numbers):
        # A column may be called nan or inf, but the values of the first sample may be nan as well.
        if len(numbers) < len(fields):
            return True
        raise ValueError(f"line {number}: {fields[0]!r} is not a finite number{advice}")
    if len(numbers) < len(fields) and (fault := _fault(lines[0], number, len(fields), delimiter)):
        raise ValueError(fault if "--delimiter" in fault else fault + advice)
    return False


def _may_be_header(first: list[str], X: NDArray[Any]) -> bool:
    """Return whether the first line alone consists of whole numbers, such as years or indices."""
    others = X[1:1000]
    return (
        len(others) > 1
        and all(text.isdigit() for text in first)
        and not (others == np.floor(others)).all(axis=1).any()
    )


def _first_fault(path: str, n_skip: int, width: int, delimiter: str) -> str | None:
    """Say where a table stops being one; slow, for a file that NumPy has refused."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        for _ in range(n_skip):
            next(file)
        for number, line in enumerate(file, start=n_skip + 1):
            if fault := _fault(line, number, width, delimiter):
                return fault
    return None


def _fault(line: str, number: int, width: int, delimiter: str) -> str | None:
    """Say why a line is not a row of `width` numbers; return None if it is one."""
    row = _fields(line, delimiter)
    for column, text in enumerate(row[:width]):
        if not _is_number(text):
            hint = _delimiter_hint(line, delimiter)
            if not hint and _is_number(_with_points(text)):
                hint = " (expected a decimal point)"
            return f"line {number}, column {column + 1}: {text!r} is not a number{hint}"
    if row and len(row) != width:
        hint = _delimiter_hint(line, delimiter)
        return f"line {number} has {len(row)} columns, expected {width}{hint}"
    return None


def _delimiter_hint(line: str, delimiter: str) -> str:
    """Suggest the delimiter that would divide a line into numbers, if there is one."""
    for other, name in _DELIMITERS.items():
        fields = _fields(line, other)
        n_numbers = sum(_is_number(_with_points(text)) for text in fields)
        all_numbers = n_numbers == len(fields) or delimiter not in line
        if other != delimiter and n_numbers > 1 and all_numbers:
            return f"; are the columns separated by {name}? then use --delimiter {name}"
    return ""


def _with_points(text: str) -> str:
    """Replace decimal commas."""
    return re.sub(r"(?<=\d),(?=\d)", ".", text)
