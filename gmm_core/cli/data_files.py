"""Read the DATA argument of the command line: a file of samples, or a folder of Parquet files."""

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from gmm_core.cli.csv_files import Header, read_csv
from gmm_core.data.conversion import as_float_array

RealArray = NDArray[np.bool_ | np.integer | np.floating]
Loaded = TypeVar("Loaded")

_ROWS = 65536  # rows of a map that are in memory at once


class Data(NamedTuple):
    """The samples of a file.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Finite numbers.
    names : list of str or None
        Names of the features, if the file has a header.
    """

    X: RealArray
    names: list[str] | None


class Batches(NamedTuple):
    """The samples of a file, a part at a time.

    Attributes
    ----------
    parts : iterator over ndarray of shape (n_samples, n_features)
        Numbers, which are checked when they are read.
    names : list of str or None
        Names of the features, if the file has them.
    """

    parts: Iterator[RealArray]
    names: list[str] | None


def read_batches(
    path: str, delimiter: str = ",", header: Header = "auto", allow_nan: bool = False
) -> Batches:
    """Read samples from a file in parts; see `read_data`.

    Maps and Parquet files are never in memory as a whole. The iterator raises the errors about
    values. With `allow_nan`, NaN, and an empty field or NA in a .csv file, are missing values.
    """
    if _is_parquet(path):
        dataset = _dataset(path, delimiter, header)
        names = list(dataset.schema.names)
        given = (as_float_array(part, path) for part in dataset.to_batches())
        return Batches(_finite(given, names, path, allow_nan), names)
    X, header_names = _table(path, delimiter, header, allow_nan)
    return Batches(_finite(_parts(X), header_names, path, allow_nan), header_names)


def read_data(path: str, delimiter: str = ",", header: Header = "auto") -> Data:
    """Read samples from a file.

    Parameters
    ----------
    path : str
        A ``.csv`` file with or without a header, a ``.npy`` file (which is mapped, not copied), a
        ``.npz`` file with an array ``X`` or with one array only, or a ``.parquet`` file or a folder
        of such files (which are read into memory).
    delimiter : str, default=','
        Character between the columns of a .csv file. A space stands for any run of spaces and
        tabs.
    header : {'auto', 'yes', 'no'}, default='auto'
        Whether the first line of a .csv file names the columns. With 'auto', the first line (after
        blank lines and # comments) is a header if none of its fields is a finite number, or if all
        are quoted and the next line has no quotes. A line that consists only of nan or inf is
        refused.

    Returns
    -------
    Data
        The samples, and the names of the features if the file has a header.

    Raises
    ------
    ValueError
        If the file does not hold a table of finite numbers.
    OSError
        If the file cannot be opened.

    Warns
    -----
    UserWarning
        If the first line of a .csv file was read as a sample but may be a header.
    """
    if _is_parquet(path):
        dataset = _dataset(path, delimiter, header)
        data = Data(as_float_array(dataset.to_table(), path), list(dataset.schema.names))
    else:
        data = _table(path, delimiter, header)
    if not len(data.X):
        raise ValueError(f"{path}: holds no samples")
    for _ in _finite(_parts(data.X), data.names, path):
        pass
    return data


def _parts(X: RealArray) -> Iterator[RealArray]:
    return (X[start : start + _ROWS] for start in range(0, len(X), _ROWS))


def _is_parquet(path: str) -> bool:
    return path.lower().endswith(".parquet") or Path(path).is_dir()


def _dataset(path: str, delimiter: str, header: Header) -> Any:
    """Open a Parquet file, or a folder of such files."""
    _refuse_csv_options(path, delimiter, header)
    try:
        import pyarrow
        from pyarrow import dataset
    except ImportError:
        raise ValueError(f"{path}: Parquet files need pyarrow: run pip install pyarrow") from None
    try:
        return dataset.dataset(path, format="parquet")
    except pyarrow.ArrowInvalid:
        raise ValueError(f"{path}: not a Parquet file, or a folder of such files") from None


def _refuse_csv_options(path: str, delimiter: str, header: Header) -> None:
    if (delimiter, header) != (",", "auto"):
        raise ValueError(f"{path}: --delimiter and --header are for .csv files")


def _table(path: str, delimiter: str, header: Header, allow_nan: bool = False) -> Data:
    """Read a .csv or a .npz file, or map a .npy file, without a check of the values."""
    suffix = Path(path).suffix.lower()
    X: RealArray
    names: list[str] | None = None
    if suffix == ".csv":
        X, names = read_csv(path, delimiter, header, allow_nan)
        return Data(X, names)
    _refuse_csv_options(path, delimiter, header)
    if suffix == ".npy":
        X = _load(path, np.ndarray)
    elif suffix == ".npz":
        X = _load_npz(path)
    else:
        raise ValueError(f"{path}: expected a .csv, .npy, .npz or .parquet file")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{path}: holds values of type {X.dtype}, expected real numbers")
    if X.ndim == 1:
        X = X[:, np.newaxis]
    if X.ndim != 2:
        raise ValueError(f"{path}: has shape {X.shape}, expected (n_samples, n_features)")
    if X.size == 0:
        raise ValueError(f"{path}: holds no samples")
    return Data(X, names)


def _finite(
    parts: Iterator[RealArray], names: list[str] | None, path: str, allow_nan: bool = False
) -> Iterator[RealArray]:
    """Yield the parts, or raise a ValueError that names the first entry that is not finite."""
    start = 0
    for part in parts:
        bad = np.isinf(part) if allow_nan else ~np.isfinite(part)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            name = "" if names is None else f" ({names[column]})"
            raise ValueError(
                f"{path}: sample {start + row + 1}, column {column + 1}{name} is "
                f"{part[row, column]}, not finite"
            )
        start += len(part)
        yield part


def _load(path: str, kind: type[Loaded]) -> Loaded:
    """Map the array of a .npy file into memory, or open a .npz archive."""
    loaded: object = None
    with contextlib.suppress(ValueError, EOFError, zipfile.BadZipFile):
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    # NumPy looks at the content of a file, not at its name.
    if not isinstance(loaded, kind):
        raise ValueError(f"{path}: not a {Path(path).suffix.lower()} file of plain numbers")
    return loaded


def _load_npz(path: str) -> RealArray:
    """Load the array X of an archive, or its only array."""
    with _load(path, NpzFile) as archive:
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
