"""Time the choice of a mixture by BIC, side by side with scikit-learn and with R's mclust.

    python benchmarks/selection.py [--rounds 5]

Against scikit-learn: `select` with its four covariance types, and a loop over GaussianMixture and
bic. Against mclust: `select` with the fourteen models, and `Mclust()`, in R's own process, whose
start is not counted. All try 1 to 9 components with their default options, in one thread, and take
turns in each round. The libraries start differently, so that the chosen models are printed with
their BIC, and not compared. A library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench import processor

from gmm_core import build_info, select

COUNTS = range(1, 10)
FOUR = ("full", "tied", "diag", "spherical")
MCLUST = """
suppressMessages(library(mclust))
X <- as.matrix(read.csv("{path}", header = FALSE))
seconds <- system.time(found <- Mclust(X, G = 1:9, verbose = FALSE))[["elapsed"]]
cat(seconds, found$modelName, found$G, -found$bic)
"""

Chosen = tuple[float, str]  # seconds, and the chosen model


def data_sets() -> dict[str, np.ndarray]:
    """Return the data by name; wine comes with scikit-learn."""
    folder = Path(__file__).parents[1] / "tests/values/mclust"
    found = {
        name: np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1, ndmin=2)
        for name in ("iris", "faithful", "diabetes")
    }
    try:
        found["wine"] = importlib.import_module("sklearn.datasets").load_wine().data
    except ImportError:
        pass
    rng = np.random.default_rng(0)
    centers = 4 * rng.normal(size=(5, 8))
    found["100,000 x 8"] = centers[rng.integers(5, size=100_000)] + rng.normal(size=(100_000, 8))
    return found


def by_select(X: np.ndarray, covariance_types: Any) -> Chosen:
    """Choose by `select`."""
    began = time.perf_counter()
    best, table, _ = select(X, COUNTS, covariance_types, n_threads=1)
    seconds = time.perf_counter() - began
    bic = next(row.bic for row in table
               if (row.covariance_type, row.n_components)
               == (best.covariance_type, best.n_components))  # fmt: skip
    return seconds, f"{best.covariance_type} {best.n_components}, BIC {bic:.2f}"


def by_loop(X: np.ndarray, make: Any) -> Chosen:
    """Choose by a loop over an estimator of scikit-learn."""
    began = time.perf_counter()
    found = []
    for covariance_type in FOUR:
        for K in COUNTS:
            model = make(K, covariance_type=covariance_type, random_state=0).fit(X)
            found.append((model.bic(X), covariance_type, K))
    bic, name, K = min(found)
    return time.perf_counter() - began, f"{name} {K}, BIC {bic:.2f}"


def by_mclust(path: Path) -> Chosen:
    """Choose by mclust."""
    made = subprocess.run(
        ["Rscript", "-e", MCLUST.format(path=path)], capture_output=True, text=True, check=True
    )
    seconds, name, K, bic = made.stdout.split()
    return float(seconds), f"{name} {K}, BIC {float(bic):.2f}"


def has_mclust() -> bool:
    """Return whether R and mclust are installed."""
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(mclust)"], capture_output=True).returncode == 0


def compare(title: str, calls: dict[str, Callable[[], Chosen]], rounds: int) -> None:
    """Time the calls in turns, and print the medians."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    chosen = {}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds, chosen[name] = call()
            times[name].append(seconds)
    print(title)
    ours = median(next(iter(times.values())))
    for name, values in times.items():
        seconds = median(values)
        print(f"    {name:<14}{seconds:>10.3f} s{seconds / ours:>8.1f}   {chosen[name]}")


def main() -> None:
    """Print two tables for each data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    try:
        limits = importlib.import_module("threadpoolctl").threadpool_limits(1)
        sklearn = importlib.import_module("sklearn.mixture").GaussianMixture
    except ImportError:
        limits = sklearn = None
    mclust = has_mclust()
    print(f"{processor()}, one thread, medians of {rounds} rounds; {build_info()}")
    warnings.simplefilter("ignore")  # fits of scikit-learn that do not converge
    with tempfile.TemporaryDirectory() as folder:
        for name, X in data_sets().items():
            if sklearn is not None:
                compare(f"{name}, four types", {
                    "gmm_core": lambda X=X: by_select(X, FOUR),
                    "scikit-learn": lambda X=X: by_loop(X, sklearn),
                }, rounds if len(X) < 10_000 else 1)  # fmt: skip
            if mclust and len(X) < 10_000:
                path = Path(folder, "data.csv")
                np.savetxt(path, X, delimiter=",", fmt="%.17g")
                compare(f"{name}, fourteen models", {
                    "gmm_core": lambda X=X: by_select(X, "all"),
                    "mclust": lambda path=path: by_mclust(path),
                }, rounds)  # fmt: skip
    del limits


if __name__ == "__main__":
    main()
