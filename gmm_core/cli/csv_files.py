"""Read tables of numbers in text files, and explain what is wrong with a table."""

import csv
import math
import re
import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gmm_core.core.warn import warn

Header = Literal["auto", "yes", "no"]
Float64Array = NDArray[np.float64]

# Delimiters that an error message may suggest, and how --delimiter names them.
_DELIMITERS = {";": "';'", "\t": "tab", " ": "space", ",": "','"}


def read_csv(
    path: str, delimiter: str, header: Header, allow_nan: bool = False
) -> tuple[Float64Array, list[str] | None]:
    """Read a table of numbers from a text file.

    Parameters
    ----------
    path : str
        The file, in UTF-8.
    delimiter : str
        Character between the columns. A space stands for any run of spaces and tabs.
    header : {'auto', 'yes', 'no'}
        Whether the first line names the columns. With 'auto', the first line (after blank lines and
        # comments) is a header if none of its fields is a finite number, or if all are quoted and
        the next line has no quotes. A line that consists only of nan or inf is refused.
    allow_nan : bool, default=False
        Whether an empty field or NA is a missing value.

    Returns
    -------
    X : ndarray of shape (n_rows, n_columns)
        The numbers.
    names : list of str or None
        Names of the columns, if the file has a header.

    Raises
    ------
    ValueError
        If the file does not hold such a table. The message says where and why.
    OSError
        If the file cannot be opened.

    Warns
    -----
    UserWarning
        If the first line was read as a row of numbers but may be a header.
    """
    try:
        return _parse(_Lines(path, delimiter, allow_nan), path, delimiter, header)
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None


class _Lines:
    """The lines of a file, in which missing values are written as nan if there may be any."""

    def __init__(self, path: str, delimiter: str, allow_nan: bool) -> None:
        self._path = path
        between = re.escape(delimiter)
        self._missing = re.compile(rf"(^|{between})[ ]*(NA)?[ ]*(?={between}|\r?$)")
        self.may_lack_values = allow_nan and delimiter != " "

    def __iter__(self) -> Iterator[str]:
        with open(self._path, encoding="utf-8-sig", newline="") as file:
            for line in file:
                replace = self.may_lack_values and line.strip()
                yield self._missing.sub(r"\1nan", line) if replace else line


def _parse(
    file: _Lines, path: str, delimiter: str, header: Header
) -> tuple[Float64Array, list[str] | None]:
    """Read a table. Errors do not name the file."""
    n_skip, lines = _first_lines(file)
    if not lines:
        raise ValueError("the file is empty")
    first = _fields(lines[0], delimiter)
    names: list[str] | None = None
    if header == "yes" or (header == "auto" and _is_header(lines, delimiter, n_skip + 1)):
        names = first
        n_skip += 1
        if "" in names:
            # This is usually an index that pandas or R wrote, which nobody means as a feature.
            number = names.index("") + 1
            raise ValueError(
                f"column {number} has no name; if it is a row index, remove this column from the "
                "file"
            )
    elif fault := _fault(lines[0], n_skip + 1, len(first), delimiter):
        raise ValueError(fault)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a table without rows is refused below
            X = np.loadtxt(
                iter(file) if file.may_lack_values else path,
                delimiter=None if delimiter == " " else delimiter,
                skiprows=n_skip,
                ndmin=2,
                quotechar='"',
                comments=None,
                encoding="utf-8-sig",
            )
    except ValueError as error:
        raise ValueError(_first_fault(file, n_skip, len(first), delimiter) or error) from None
    if X.size == 0:
        raise ValueError("the file has a header but no samples")
    if X.shape[1] != len(first):
        raise ValueError(f"the header names {len(first)} columns, the samples have {X.shape[1]}")
    if header == "auto" and names is None and _may_be_header(first, X):
        warn(
            f"{path}: line {n_skip + 1} was read as a sample, although it contains only whole "
            "numbers and the next lines do not; if it names the columns, use --header yes "
            "(--header no silences this warning)"
        )
    return X, names


def _first_lines(file: _Lines) -> tuple[int, list[str]]:
    """Return the number of lines before the table, and its first two lines.

    Before the table there may be blank lines and comments, which begin with #.
    """
    n_skip = 0
    lines: list[str] = []
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
    """Divide a line into its fields, without the spaces around them."""
    if delimiter == " ":
        line = " ".join(line.split())
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if unquote else csv.QUOTE_NONE
    reader = csv.reader([line], delimiter=delimiter, quoting=quoting, skipinitialspace=True)
    row = next(reader, [])
    return [field.strip() for field in row]


def _is_header(lines: list[str], delimiter: str, number: int) -> bool:
    """Return whether the first of two lines names the columns.

    A ValueError says what to do where this is unclear. `number` is the number of the line.
    """
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
        # A column may be called nan or inf, but the first sample may also consist of NaN.
        if len(numbers) < len(fields):
            return True
        raise ValueError(f"line {number}: {fields[0]!r} is not a finite number{advice}")
    if len(numbers) < len(fields) and (fault := _fault(lines[0], number, len(fields), delimiter)):
        raise ValueError(fault if "--delimiter" in fault else fault + advice)
    return False


def _may_be_header(first: list[str], X: Float64Array) -> bool:
    """Return whether only the first line consists of whole numbers, such as years or indices."""
    others = X[1:1000]
    return (
        len(others) > 1
        and all(text.isdigit() for text in first)
        and not (others == np.floor(others)).all(axis=1).any()
    )


def _first_fault(file: _Lines, n_skip: int, width: int, delimiter: str) -> str | None:
    """Return why NumPy refused a file: the first line that is not a row of `width` numbers."""
    for number, line in enumerate(file, start=1):
        if number > n_skip and (fault := _fault(line, number, width, delimiter)):
            return fault
    return None


def _fault(line: str, number: int, width: int, delimiter: str) -> str | None:
    """Return why a line is not a row of `width` numbers, or None if it is one."""
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
    """Suggest the delimiter that divides a line into numbers, if there is one."""
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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # only Python takes 1_000 for a number
