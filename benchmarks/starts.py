"""Compare ways to start EM: how close they come to the best optimum, and in how many passes.

    python benchmarks/starts.py [--seeds 10] [--only SUBSTRING]

The problems are real and simulated data of 70 to 1,800 rows on which EM has several local optima.
Each method fits each problem with each seed, in one thread, with tol=1e-6 and max_iter=1000, and
`reg_covar` by default. The best log-likelihood known for a problem is the largest that any method
reached with any seed. A fit with a collapsed component (see the warning of `fit`) has an inflated
likelihood: it counts neither as the best nor in the gaps, and the table shows how many there are.

A pass is an E-step over all rows, also of the rows that a swap draws (500 rows of 1,000 are half a
pass). Passes of k-means are counted apart: one for a step of Lloyd's iteration, and one for each
center that k-means++ adds.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench import processor

from gmm_core import GaussianMixture, build_info
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit import kmeans

METHODS: dict[str, dict[str, Any]] = {
    "1 k-means start": {},
    "n_init=10": {"n_init": 10},
    "n_short=20": {"n_short": 20},
    "n_short=50": {"n_short": 50},
    "n_short=50, n_init=3": {"n_short": 50, "n_init": 3},
    "n_short=50, k-means++": {"n_short": 50, "init_params": "k-means++"},
    "n_swaps=10": {"n_swaps": 10},
    "n_swaps=20": {"n_swaps": 20},
    "n_swaps=50": {"n_swaps": 50},
    "n_short=20, n_swaps=10": {"n_short": 20, "n_swaps": 10},
    "n_short=20, n_swaps=20": {"n_short": 20, "n_swaps": 20},
    "n_short=20, n_swaps=50": {"n_short": 20, "n_swaps": 50},
    "hierarchical": {"init_params": "hierarchical"},
    "hierarchical, n_swaps=20": {"init_params": "hierarchical", "n_swaps": 20},
}
REFERENCE = "n_init=10"
REACHED = 0.1  # nats

Problem = tuple[np.ndarray, int, str]  # X, n_components, covariance_type


class Outcome(NamedTuple):
    """The log-likelihood of a fit in nats, NaN if a component collapsed, and the passes it took."""

    log_likelihood: float
    passes: float
    kmeans_passes: float


# --- problems -----------------------------------------------------------------------------------


def groups(
    seed: int, sizes: list[int], n_features: int, spread: float, elongation: float = 1.0
) -> np.ndarray:
    """Draw Gaussian groups, whose means have the standard deviation `spread`.

    `elongation` is the ratio of the largest to the smallest standard deviation of a group.
    """
    rng = np.random.default_rng(seed)
    scales = elongation ** np.linspace(-0.5, 0.5, n_features)
    parts = []
    for size in sizes:
        axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0] * scales
        mean = spread * rng.normal(size=n_features)
        parts.append(mean + rng.normal(size=(size, n_features)) @ axes.T)
    return np.concatenate(parts)


def curve(kind: str, n: int, noise: float) -> np.ndarray:
    """Draw points near a ring, a spiral or two moons."""
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 1, n)
    if kind == "ring":
        points = np.c_[np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)]
    elif kind == "spiral":
        points = 3 * np.pi * t[:, None] * np.c_[np.cos(3 * np.pi * t), np.sin(3 * np.pi * t)]
    else:
        points = np.c_[np.cos(np.pi * t), np.sin(np.pi * t)]
        points[::2] = [1, 0.5] - points[::2]
    return points + noise * rng.normal(size=(n, 2))


def problems() -> dict[str, Problem]:
    """Return the problems by name."""
    folder = Path(__file__).parents[1] / "tests/values/mclust"

    def shipped(name: str) -> np.ndarray:
        return standard(np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1, ndmin=2))

    def standard(X: np.ndarray) -> np.ndarray:
        return (X - X.mean(axis=0)) / X.std(axis=0)

    def principal(X: np.ndarray, n: int) -> np.ndarray:
        X = X - X.mean(axis=0)
        return X @ np.linalg.svd(X, full_matrices=False)[2][:n].T

    datasets: Any = importlib.import_module("sklearn.datasets")
    wine = standard(datasets.load_wine().data)
    cancer = principal(standard(datasets.load_breast_cancer().data), 5)
    digits = principal(datasets.load_digits().data, 10)
    rng = np.random.default_rng(0)
    grid = 3 * rng.integers(5, size=(1_000, 2)) + 0.6 * rng.normal(size=(1_000, 2))
    noise = rng.uniform(-9, 9, (200, 2))
    return {
        "iris, full 4": (shipped("iris"), 4, "full"),
        "iris, EEV 5": (shipped("iris"), 5, "EEV"),
        "wine, 5 components, full 3": (principal(wine, 5), 3, "full"),
        "wine, tied 5": (wine, 5, "tied"),
        "breast cancer, full 5": (cancer, 5, "full"),
        "breast cancer, diag 8": (cancer, 8, "diag"),
        "digits, full 10": (digits, 10, "full"),
        "digits, diag 15": (digits, 15, "diag"),
        "diabetes, full 4": (shipped("diabetes"), 4, "full"),
        "thyroid, diag 4": (shipped("thyroid"), 4, "diag"),
        "faithful, full 4": (shipped("faithful"), 4, "full"),
        "precip, full 4": (shipped("precip"), 4, "full"),
        "overlapping, full 6": (groups(1, [150] * 6, 4, 1.5), 6, "full"),
        "overlapping, tied 8": (groups(2, [100] * 8, 3, 2.0), 8, "tied"),
        "overlapping, VEV 6": (groups(11, [150] * 6, 3, 1.5, 10.0), 6, "VEV"),
        "elongated, full 10": (groups(4, [100] * 10, 2, 3.0, 30.0), 10, "full"),
        "elongated, full 8": (groups(5, [150] * 8, 4, 1.0, 20.0), 8, "full"),
        "unequal sizes, full 6": (groups(6, [1000, 400, 200, 100, 60, 40], 3, 3.0), 6, "full"),
        "unequal sizes, diag 5": (groups(7, [800, 300, 100, 50, 50], 4, 2.0), 5, "diag"),
        "grid, spherical 25": (grid, 25, "spherical"),
        "many groups, full 20": (groups(8, [80] * 20, 2, 6.0), 20, "full"),
        "uniform noise, full 8": (
            np.concatenate([groups(3, [100] * 7, 2, 4.0), noise]), 8, "full"
        ),
        "30 features, diag 8": (groups(9, [100] * 8, 30, 0.7), 8, "diag"),
        "20 features, tied 10": (groups(10, [60] * 10, 20, 0.8), 10, "tied"),
        "ring, full 8": (curve("ring", 600, 0.1), 8, "full"),
        "moons, full 8": (curve("moons", 600, 0.1), 8, "full"),
        "spiral, full 12": (curve("spiral", 800, 0.4), 12, "full"),
    }  # fmt: skip


# --- passes -------------------------------------------------------------------------------------


class Counter:
    """Counts the rows that E-steps and k-means go over, by wrapping the methods that do it."""

    def __init__(self) -> None:
        self.rows = self.kmeans_rows = 0
        for name in ("expectation", "mean_log_likelihood", "evaluate"):
            self._wrap(ArrayPass, name, "rows", lambda self: len(self.X))
        for cls, name in ((kmeans._Lloyd, "step"), (kmeans._Seeding, "step")):
            self._wrap(cls, name, "kmeans_rows", lambda self: len(self.data.X))

    def _wrap(self, cls: Any, name: str, total: str, rows_of: Callable[[Any], int]) -> None:
        method = getattr(cls, name)

        @functools.wraps(method)
        def counted(it: Any, *args: Any, **params: Any) -> Any:
            setattr(self, total, getattr(self, total) + rows_of(it))
            return method(it, *args, **params)

        setattr(cls, name, counted)


def outcome(problem: Problem, params: dict[str, Any], seed: int, counter: Counter) -> Outcome:
    """Fit a problem with a method."""
    X, K, covariance_type = problem
    model = GaussianMixture(
        K, covariance_type=covariance_type, tol=1e-6, max_iter=1_000, random_state=seed,
        n_threads=1, **params,
    )  # fmt: skip
    counter.rows = counter.kmeans_rows = 0
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        model.fit(X)
    collapsed = any("collapsed onto few samples" in str(w.message) for w in given)
    n = len(X)
    log_likelihood = np.nan if collapsed else model.lower_bound_ * n
    return Outcome(log_likelihood, counter.rows / n, counter.kmeans_rows / n)


# --- report -------------------------------------------------------------------------------------


def report(found: np.ndarray) -> None:
    """Print the table, given the outcomes by method, problem and seed."""
    log_likelihood, passes, kmeans_passes = np.moveaxis(found, -1, 0)
    gaps = np.nanmax(log_likelihood, axis=(0, 2))[:, None] - log_likelihood
    reference = gaps[list(METHODS).index(REFERENCE)]
    print("| method | mean gap | median gap | best reached | passes | k-means passes "
          f"| better, worse than {REFERENCE} | collapsed |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for i, name in enumerate(METHODS):
        gap = gaps[i]
        known = ~np.isnan(gap)
        print(
            f"| {name} | {gap[known].mean():.1f} | {np.median(gap[known]):.2f} "
            f"| {np.mean(gap[known] < REACHED):.0%} | {passes[i].mean():,.0f} "
            f"| {kmeans_passes[i].mean():,.0f} "
            f"| {np.sum(gap < reference - REACHED)}, {np.sum(gap > reference + REACHED)} "
            f"| {np.sum(~known)} |"
        )


def main() -> None:
    """Fit all problems with all methods and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="part of the names of the problems to fit")
    args = parser.parse_args()
    chosen = {name: made for name, made in problems().items() if args.only in name}
    print(f"{processor()}, one thread, {len(chosen)} problems, {args.seeds} seeds; {build_info()}")
    counter = Counter()
    warnings.simplefilter("ignore")  # a mean of no fits, if all have collapsed components
    found = np.array([
        [[outcome(problem, params, seed, counter) for seed in range(args.seeds)]
         for problem in chosen.values()]
        for params in METHODS.values()
    ])  # fmt: skip
    report(found)
    print("\nMean gap by problem:")
    best = np.nanmax(found[..., 0], axis=(0, 2))
    for i, name in enumerate(chosen):
        means = [f"{best[i] - np.nanmean(row[i, :, 0]):8.1f}" for row in found]
        print(f"{name:<28}{len(chosen[name][0]):>6}{''.join(means)}")


if __name__ == "__main__":
    main()
