"""What the command line prints and writes: tables of components, arrays as .csv or .npy."""

import csv
import shutil
import sys
import textwrap
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gmm_core import GaussianMixture

MAX_COMPONENTS_SHOWN = 20
MAX_FEATURES_SHOWN = 6
_SHORTEST_NAME = 8  # characters that are left of a name to make a table fit the terminal


def feature_names(model: GaussianMixture) -> list[str]:
    """Return the names of the features, x1, x2, ... if the model was fitted without names."""
    names = getattr(model, "feature_names_in_", None)
    n_features = model.means_.shape[1]
    return [f"x{d + 1}" for d in range(n_features)] if names is None else [str(s) for s in names]


def write_array(values: NDArray[Any], header: list[str] | None, path: str | None) -> None:
    """Write an array to a .npy file, a .csv file or standard output."""
    if path is None:
        _write_csv(values, header, sys.stdout)
    elif path.lower().endswith(".npy"):
        np.save(path, values)
    elif path.lower().endswith(".csv"):
        with open(path, "w", encoding="utf-8", newline="") as file:
            _write_csv(values, header, file)
    else:
        raise ValueError(f"{path}: expected a name that ends in .csv or .npy")


def _write_csv(values: NDArray[Any], header: list[str] | None, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    if header is not None:
        writer.writerow(header)
    rows = values if values.ndim == 2 else values[:, None]
    writer.writerows(row.tolist() for row in rows)


def print_components(model: GaussianMixture, names: list[str]) -> None:
    """Print weight, means and standard deviations, the heaviest components first.

    On a terminal, long names are shortened and the last features left out until the table fits its
    width. The line below the table says how many components and features are left out.
    """
    sd = _standard_deviations(model)
    n_components, n_features = model.means_.shape
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


def _standard_deviations(model: GaussianMixture) -> NDArray[Any]:
    """Return the standard deviation of each feature in each component, shape of ``means_``."""
    covariances = np.asarray(model.covariances_)
    if model.covariance_type in ("full", "tied"):
        variances = np.diagonal(covariances, axis1=-2, axis2=-1)
    elif model.covariance_type == "diag":
        variances = covariances
    else:
        variances = covariances[:, np.newaxis]
    return np.broadcast_to(np.sqrt(variances), model.means_.shape)


def _width(columns: list[list[str]]) -> int:
    """Return the width of a table with a gap of two between its columns."""
    return sum(max(map(len, column)) for column in columns) + 2 * (len(columns) - 1)


def _shortened(name: str, length: int) -> str:
    """Leave out the middle of a long name: names often differ in their last characters."""
    if len(name) <= length:
        return name
    n_last = (length - 3) // 2
    return name[: length - 3 - n_last] + "..." + name[-n_last:]


def print_table(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def print_text(text: str) -> None:
    """Print a paragraph, in lines that fit the terminal if there is one."""
    if sys.stdout.isatty():
        text = textwrap.fill(text, shutil.get_terminal_size().columns)
    print(text)
