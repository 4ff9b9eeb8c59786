"""Print tables of components, and write arrays as .csv or .npy files."""

import csv
import io
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gmm_core import GaussianMixture
from gmm_core.data.npy_files import NpyFile, replacing
from gmm_core.model.covariance import COVARIANCE_TYPES

Table = NDArray[np.integer | np.floating]

MAX_COMPONENTS_SHOWN = 20
MAX_FEATURES_SHOWN = 6
_SHORTEST_NAME = 8  # a longer name is shortened to no fewer characters


def feature_names(model: GaussianMixture) -> list[str]:
    """Return the names of the features of a model.

    Parameters
    ----------
    model : GaussianMixture
        A fitted model.

    Returns
    -------
    list of str
        The names that the model was fitted with, otherwise x1, x2, ...
    """
    names = getattr(model, "feature_names_in_", None)
    n_features = model.means_.shape[1]
    return [f"x{d + 1}" for d in range(n_features)] if names is None else [str(s) for s in names]


def write_arrays(parts: Iterable[Table], header: list[str] | None, path: str | None) -> None:
    """Write the rows of arrays to a .npy file, a .csv file or standard output.

    Parameters
    ----------
    parts : iterable over ndarray of shape (n_rows,) or (n_rows, n_columns)
        Numbers; arrays of one dimension are written as one column.
    header : list of str or None
        Names of the columns, which a .npy file does not hold.
    path : str or None
        Name that ends in .npy or .csv; None stands for standard output, which is written as CSV.

    Raises
    ------
    ValueError
        If the name has another ending.
    OSError
        If the file cannot be written. An older file is then unchanged.
    """
    if path is None:
        _write_csv(parts, header, sys.stdout)
    elif path.lower().endswith(".npy"):
        with replacing(path) as file:
            array = NpyFile(file)
            for part in parts:
                array.append(part)
            array.finish()
    elif path.lower().endswith(".csv"):
        with replacing(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            _write_csv(parts, header, text)
            text.detach()
    else:
        raise ValueError(f"{path}: expected a name that ends in .csv or .npy")


def _write_csv(parts: Iterable[Table], header: list[str] | None, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    if header is not None:
        writer.writerow(header)
    for part in parts:
        rows = part if part.ndim == 2 else part[:, None]
        writer.writerows(row.tolist() for row in rows)


def print_components(model: GaussianMixture, names: list[str]) -> None:
    """Print the weight, means and standard deviations of components in the order of their weights.

    On a terminal, long names are shortened, and the last features are left out, until the table
    fits the width of the terminal. A line below the table tells how many components and features
    are left out.

    Parameters
    ----------
    model : GaussianMixture
        A fitted model. The heaviest 20 components and the first 6 features are printed.
    names : list of str
        Names of the features.
    """
    n_components, n_features = model.means_.shape
    covariance_type = COVARIANCE_TYPES[model.covariance_type]
    variances = covariance_type.variances(model.covariances_, n_components, n_features)
    sd = np.sqrt(variances)
    order = np.argsort(-model.weights_, kind="stable")[:MAX_COMPONENTS_SHOWN]
    columns = [
        ["component", *(str(k) for k in order)],
        ["weight", *(f"{model.weights_[k]:.4f}" for k in order)],
    ]
    n_others = len(columns)
    for d, name in enumerate(names[:MAX_FEATURES_SHOWN]):
        columns.append([name, *(f"{model.means_[k, d]:.6g} ({sd[k, d]:.4g})" for k in order)])
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        if _width(columns) > width:
            for column in columns[n_others:]:
                column[0] = _shortened(column[0], max(_SHORTEST_NAME, *map(len, column[1:])))
        while _width(columns) > width and len(columns) > n_others + 1:
            columns.pop()
    header, *rows = map(list, zip(*columns, strict=True))
    print_table(header, rows)
    left_out = []
    if n_components > len(order):
        left_out.append(f"{n_components - len(order)} more components")
    if n_features > len(columns) - n_others:
        left_out.append(f"{n_features - (len(columns) - n_others)} more features")
    print("mean (standard deviation)" + "".join(f"; {text}" for text in left_out))
    if hasattr(model, "noise_log_density_"):
        print(f"noise: weight {model.noise_weight_:.4f}")


def _width(columns: list[list[str]]) -> int:
    """Return the width of a table whose columns are separated by two spaces."""
    return sum(max(map(len, column)) for column in columns) + 2 * (len(columns) - 1)


def _shortened(name: str, length: int) -> str:
    """Replace the middle of a long name by dots: names often differ in their last characters."""
    if len(name) <= length:
        return name
    n_last = (length - 3) // 2
    return name[: length - 3 - n_last] + "..." + name[-n_last:]


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print a table whose columns are aligned to the right.

    Parameters
    ----------
    header : list of str
        Names of the columns.
    rows : list of list of str
        Rows, each as long as the header.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def print_text(text: str) -> None:
    """Print a paragraph, broken into lines if standard output is a terminal.

    Parameters
    ----------
    text : str
        The paragraph, without line breaks.
    """
    if sys.stdout.isatty():
        text = textwrap.fill(text, shutil.get_terminal_size().columns)
    print(text)
