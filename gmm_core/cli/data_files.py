"""Read the DATA argument of the command line: a .csv, .npy or .npz file of samples."""

import contextlib
import zipfile
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from gmm_core.cli.csv_files import Header, read_csv

RealArray = NDArray[np.bool_ | np.integer | np.floating]
Loaded = TypeVar("Loaded")

# Number of rows in which NaN is searched for at once. A mapped file is never in memory as a whole.
_CHECK_ROWS = 65536


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


def read_data(path: str, delimiter: str = ",", header: Header = "auto") -> Data:
    """Read samples from a file.

    Parameters
    ----------
    path : str
        A ``.csv`` file with or without a header, a ``.npy`` file (which is mapped, not copied),
        or a ``.npz`` file with an array ``X`` or with one array only.
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
    suffix = Path(path).suffix.lower()
    X: RealArray
    names: list[str] | None = None
    if suffix == ".csv":
        X, names = read_csv(path, delimiter, header)
    elif (delimiter, header) != (",", "auto"):
        raise ValueError(f"{path}: --delimiter and --header are for .csv files")
    elif suffix == ".npy":
        X = _load(path, np.ndarray)
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


def _check_finite(X: RealArray, names: list[str] | None, path: str) -> None:
    """Raise a ValueError that names the first entry that is NaN or infinite."""
    if X.dtype.kind != "f":
        return
    for start in range(0, X.shape[0], _CHECK_ROWS):
        bad = ~np.isfinite(X[start : start + _CHECK_ROWS])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = X[start + row, column]
            name = "" if names is None else f" ({names[column]})"
            raise ValueError(
                f"{path}: sample {start + row + 1}, column {column + 1}{name} is {value}, "
                "not finite"
            )


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
