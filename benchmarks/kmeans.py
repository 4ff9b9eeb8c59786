"""Time k-means, and default fits that start from it, side by side with scikit-learn, on one thread.

    python benchmarks/kmeans.py [--rounds 5] [--only SUBSTRING]

The data are the overlapping blobs of `workloads.py`. Three tables are printed:

- a step of Lloyd's iteration that evaluates every row, with its rate of operations (2 N K D of
  them) and its share of the peak that `peak.c` measures in the same run;
- k-means as a default fit runs it, and k-means that converges on all rows from seeds among all
  rows, each with `KMeans(n_init=1)`, and default fits with `GaussianMixture` of scikit-learn, in
  turns and with another seed in each round, as medians of CPU time;
- scikit-learn's `GridSearchCV` over 1 to 6 components and four covariance types on iris, by BIC.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from bench import processor
from roofline import load, measure_peak
from threadpoolctl import threadpool_limits
from workloads import Workload, make_problem

from gmm_core import GaussianMixture
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.subset import subset_size
from gmm_core.fit.kmeans import _Lloyd, kmeans, lloyd, seed_rows

SIZES = [(50_000, 64, 16), (100_000, 32, 64), (100_000, 16, 32), (200_000, 8, 16), (2_000, 4, 4)]
FITTED = {(50_000, 64), (200_000, 8), (2_000, 4)}  # the sizes whose default fits are timed too
TOL = 1e-4  # the default of KMeans, a share of the mean variance


def seconds(call: Callable[[], Any]) -> float:
    """Return the CPU time of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def table_of_steps(chosen: list[tuple[int, int, int]], level: str, rounds: int) -> None:
    """Print the rate of a step that evaluates every row."""
    for dtype in ("float64", "float32"):
        peak = measure_peak(level, dtype)
        print(f"\nA step that evaluates every row, {dtype}; the peak is {peak:.0f} GFLOP/s")
        for n, d, k in chosen:
            X = make_problem(Workload("", n, d, k, dtype=dtype)).X
            run = _Lloyd(ArrayPass(X, None, k, "full", 1), X[:k].astype(np.float64))
            distances = np.empty(n, dtype)

            step = partial(run.step, X[:k].astype(np.float64), distances)
            step()
            taken = min(seconds(step) for _ in range(4 * rounds))
            rate = 2e-9 * n * d * k / taken
            size = f"    {n:>7} x {d:<3} K = {k:<3}"
            print(f"{size}{1e3 * taken:8.2f} ms{rate:7.1f} GFLOP/s{rate / peak:6.0%}")


def fit(model: Any, X: Any, seed: int, **params: Any) -> None:
    """Fit an estimator."""
    model(random_state=seed, **params).fit(X)


def short(data: Any, k: int, tol: float, seed: int) -> None:
    """Run k-means as a default fit does."""
    kmeans(data, k, np.random.RandomState(seed), tol)


def converged(data: Any, k: int, tol: float, seed: int) -> None:
    """Run k-means to convergence on all rows."""
    seeds = data.X[seed_rows(data, k, np.random.RandomState(seed))]
    lloyd(data, seeds.astype(np.float64), tol, 300)


def table_of_fits(chosen: list[tuple[int, int, int]], rounds: int) -> None:
    """Print the times of k-means and of default fits, and their ratios to scikit-learn's."""
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture as SklearnMixture

    print("\nms of k-means, converged k-means, KMeans; a default fit, scikit-learn's")
    for n, d, k in chosen:
        X = make_problem(Workload("", n, d, k)).X
        data = ArrayPass(X[: subset_size(None, k, d)], None, k, "full", 1)
        tol = TOL * float(X.var(axis=0).mean())

        calls: list[Callable[[int], Any]] = [
            partial(short, data, k, tol),
            partial(converged, data, k, tol),
            partial(fit, KMeans, X, n_clusters=k, n_init=1),
        ]
        if (n, d) in FITTED:
            calls.append(partial(fit, GaussianMixture, X, n_components=k, n_threads=1))
            calls.append(partial(fit, SklearnMixture, X, n_components=k))
        repeats = 20 if n < 10_000 else 1
        taken = np.array([
            [min(seconds(partial(call, seed)) for _ in range(repeats)) for call in calls]
            for seed in range(rounds)
        ])  # fmt: skip
        ms = 1e3 * np.median(taken, axis=0)
        line = f"    {n:>7} x {d:<3} K = {k:<3}{ms[0]:9.2f}{ms[1]:9.2f}{ms[2]:9.2f}"
        line += f"  {ms[2] / ms[0]:5.1f} x{ms[2] / ms[1]:5.1f} x"
        if len(ms) > 3:
            line += f"  |{ms[3]:9.2f}{ms[4]:9.2f}  {ms[4] / ms[3]:5.1f} x"
        print(line + (" *" if len(data.X) < n else ""), flush=True)
    print("    * both kinds of k-means have about 24 MB of rows, as the start of a default fit")


def table_of_search(rounds: int) -> None:
    """Print the time of the grid search, and what of it is not the estimator's."""
    from sklearn.base import BaseEstimator
    from sklearn.datasets import load_iris
    from sklearn.mixture import GaussianMixture as SklearnMixture
    from sklearn.model_selection import GridSearchCV


    class Idle(BaseEstimator):  # type: ignore[misc]
        """Does nothing."""

        def __init__(self, n_components: int = 1, covariance_type: str = "full") -> None:
            self.n_components, self.covariance_type = n_components, covariance_type

        def fit(self, X: Any) -> Idle:
            return self

        def bic(self, X: Any) -> float:
            return 0.0

    X = load_iris().data
    types = ["spherical", "tied", "diag", "full"]
    grid = {"n_components": range(1, 7), "covariance_type": types}

    def score(model: Any, X: Any, y: Any = None) -> float:
        return -float(model.bic(X))

    models = [GaussianMixture(n_threads=1, random_state=0), SklearnMixture(random_state=0), Idle()]
    searches = [GridSearchCV(model, grid, scoring=score) for model in models]
    taken = [[seconds(partial(search.fit, X)) for search in searches] for _ in range(rounds)]
    ours, theirs, idle = (1e3 * median(column) for column in zip(*taken, strict=True))
    print(f"\nGridSearchCV on iris: {ours:.0f} ms, scikit-learn {theirs:.0f} ms")
    print(f"    {theirs / ours:.1f} x; {idle:.0f} ms of both are GridSearchCV's own")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="part of a size such as 200000x8")
    args = parser.parse_args()
    chosen = [size for size in SIZES if args.only in f"{size[0]}x{size[1]}"]
    level, title = load(None)
    print(f"{title}, {processor()}")
    warnings.simplefilter("ignore")  # fits that do not converge
    with threadpool_limits(1):
        table_of_steps(chosen, level, args.rounds)
        table_of_fits(chosen, args.rounds)
        table_of_search(args.rounds)


if __name__ == "__main__":
    main()
