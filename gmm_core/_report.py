"""What the command line prints and writes: tables of components, arrays as .csv or .npy."""

import csv
import sys
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gmm_core import GaussianMixture

MAX_COMPONENTS_SHOWN = 20
MAX_FEATURES_SHOWN = 6


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
    """Print weight, means and standard deviations, the heaviest components first."""
    sd = _standard_deviations(model)
    n_components, n_features = model.means_.shape
    names = names[:MAX_FEATURES_SHOWN]
    order = np.argsort(-model.weights_, kind="stable")[:MAX_COMPONENTS_SHOWN]
    rows = [
        [str(k), f"{model.weights_[k]:.4f}"]
        + [f"{model.means_[k, d]:.6g} ({sd[k, d]:.4g})" for d in range(len(names))]
        for k in order
    ]
    print_table(["component", "weight", *names], rows)
    left_out = []
    if n_components > MAX_COMPONENTS_SHOWN:
        left_out.append(f"{n_components - MAX_COMPONENTS_SHOWN} more components")
    if n_features > MAX_FEATURES_SHOWN:
        left_out.append(f"{n_features - MAX_FEATURES_SHOWN} more features")
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


def print_table(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))
