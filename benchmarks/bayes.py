"""Compare BayesianGaussianMixture with scikit-learn's class, and with GaussianMixture.

    python benchmarks/bayes.py [--quick] [--only SUBSTRING] [--repeats N]

Each row is first fitted from the same labels by both classes. It is timed only if their lower
bounds after the same number of iterations differ by at most 1e-8, relative to the bound. All
libraries have one thread, the repeats are interleaved, and medians are printed. Times are CPU times
of the process, which depend less on what else the machine does. Those of a pool of threads are by
the clock.

1. ms per iteration = (fit of 1 + m iterations - fit of 1 iteration) / m, from the same labels.
2. Seconds of 100 iterations for a column, from the same labels, and with each class's own k-means.
3. Seconds for many columns, one after another and by a pool of two threads; scikit-learn's class
   gets a part of the columns.
4. Seconds of a default fit to the colours of a photograph, from the same labels and with each
   class's own k-means, where numbers of iterations and bounds differ.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
from bench import interleave, processor
from versus import refuse_editable
from workloads import Array, Unavailable, Workload, make_problem

TOLERANCE = 1e-8  # largest difference of lower bounds, relative to them
CAP = 40.0  # seconds for the repeats of one class
TYPES = ("full", "diag", "tied", "spherical")
N_COLUMNS, COLUMNS_OF_SKLEARN = 100, 4
COLUMN = {"weight_concentration_prior": 1e-3}

Fit = Callable[..., Any]  # takes X, labels or None, and parameters


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="part of names of rows")
    parser.add_argument("--repeats", type=int, default=5, help="number of rounds (default 5)")
    parser.add_argument("--quick", action="store_true", help="run a smoke test at tiny sizes")
    return parser.parse_args()


def fits() -> dict[str, Fit]:
    """Return the function that fits, for each class."""
    from sklearn.mixture import BayesianGaussianMixture as SklearnMixture

    from gmm_core import BayesianGaussianMixture, GaussianMixture

    class FromLabels(SklearnMixture):
        """scikit-learn's class, which starts from given responsibilities."""

        def _initialize_parameters(self, X: Any, random_state: Any, xp: Any = None) -> None:
            self._initialize(X, self.responsibilities)

    def ours(X: Array, labels: Array | None, K: int, **params: Any) -> Any:
        start = "kmeans" if labels is None else lambda *_: labels
        params = {"n_components": K, "random_state": 0, "n_threads": 1} | params
        return BayesianGaussianMixture(**params, init_params=start).fit(X)

    def plain(X: Array, labels: Array | None, K: int, **params: Any) -> Any:
        params = {name: params[name] for name in params.keys() - COLUMN.keys()}
        start = "kmeans" if labels is None else lambda *_: labels
        return GaussianMixture(K, random_state=0, n_threads=1, **params, init_params=start).fit(X)

    def theirs(X: Array, labels: Array | None, K: int, **params: Any) -> Any:
        params = {"n_components": K, "random_state": 0} | params
        if labels is None:
            return SklearnMixture(**params).fit(X)
        model = FromLabels(**params)
        model.responsibilities = np.eye(K)[labels]
        return model.fit(X)

    return {"gmm_core": ours, "GaussianMixture": plain, "scikit-learn": theirs}


def labels_of(X: Array, K: int) -> Array:
    """Return the clusters of k-means."""
    from gmm_core import GaussianMixture

    start = GaussianMixture(K, covariance_type="spherical", max_iter=0, random_state=0)
    return np.asarray(start.fit(X).predict(X))


def check(X: Array, labels: Array, by_class: dict[str, Fit], *args: Any, **params: Any) -> str:
    """Return the difference of the bounds as text; end the process if it is too large."""
    both = (by_class[name] for name in ("gmm_core", "scikit-learn"))
    ours, theirs = (fit(X, labels, *args, **params) for fit in both)
    bounds = [float(np.squeeze(model.lower_bound_)) for model in (ours, theirs)]
    difference = abs(bounds[0] - bounds[1]) / abs(bounds[1])
    if ours.n_iter_ != theirs.n_iter_ or not difference <= TOLERANCE:
        sys.exit(f"iterations {ours.n_iter_} and {theirs.n_iter_}, bounds {bounds}: not comparable")
    return f"{difference:.0e}"


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return the time of a call."""
    begin = clock()
    call()
    return clock() - begin


def row(name: str, times: dict[str, float], bounds: str, digits: int = 2) -> None:
    """Print a row of the table: our time, and the others with their ratios to ours."""
    ours = times["gmm_core"]
    cells = [f"{times[c]:.{digits}f} ({times[c] / ours:.2f})" if c in times else ""
             for c in ("GaussianMixture", "scikit-learn")]  # fmt: skip
    print(f"| {name} | {ours:.{digits}f} | {' | '.join(cells)} | {bounds} |", flush=True)


def compare_iterations(by_class: dict[str, Fit], w: Workload, repeats: int) -> None:
    """Time an iteration."""
    X, K = make_problem(w).X, w.n_components
    labels = labels_of(X, K)
    params: dict[str, Any] = {"covariance_type": w.covariance_type, "tol": 0}
    bounds = check(X, labels, by_class, K, max_iter=3, **params)
    more = {"gmm_core": 10, "GaussianMixture": 10, "scikit-learn": 2}

    def task(name: str) -> Callable[[], float]:
        def run() -> float:
            fit, m = by_class[name], more[name]
            one, many = (
                seconds(lambda n=n: fit(X, labels, K, max_iter=n, **params)) for n in (1, 1 + m)
            )
            return (many - one) / m * 1e3

        return run

    runs = interleave({name: task(name) for name in by_class}, repeats, CAP)
    row(f"ms per iteration, {w.name}", {name: median(r) for name, r in runs.items()}, bounds)


def compare_fits(
    name: str, by_class: dict[str, Fit], X: Array, K: int, repeats: int, **params: Any
) -> None:
    """Time whole fits, from the same labels and from k-means."""
    labels = labels_of(X, K)
    bounds = check(X, labels, by_class, K, **params)
    for start, begin in (("same labels", labels), ("own k-means", None)):
        ends: dict[str, str] = {}

        def task(name: str, begin: Any = begin, ends: dict[str, str] = ends) -> Callable[[], float]:
            def run() -> float:
                start = time.process_time()
                model = by_class[name](X, begin, K, **params)
                spent = time.process_time() - start
                ends[name] = f"{model.n_iter_}: {float(np.squeeze(model.lower_bound_)):.2f}"
                return spent

            return run

        runs = interleave({name: task(name) for name in by_class}, repeats, CAP)
        other = "; ".join(ends[c] for c in ("gmm_core", "scikit-learn"))
        row(f"s, {name}, {start}", {c: median(r) for c, r in runs.items()},
            other if begin is None else bounds, 3)  # fmt: skip


def column(n: int, seed: int) -> Array:
    """Draw a column of numbers with two modes and a long tail."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(size=n // 2), rng.normal(*rng.uniform(2, 12, 2), size=n // 4),
        rng.exponential(rng.uniform(1, 5), size=n - n // 2 - n // 4),
    ]  # fmt: skip
    return rng.permutation(np.concatenate(parts))[:, None]


def compare_columns(by_class: dict[str, Fit], n: int, repeats: int) -> None:
    """Time the fits of many columns, one by one and by a pool of two threads."""
    columns = [column(n, seed) for seed in range(N_COLUMNS)]
    few, part = columns[:COLUMNS_OF_SKLEARN], N_COLUMNS / COLUMNS_OF_SKLEARN
    bounds = [check(X, labels_of(X, 10), by_class, 10, **COLUMN) for X in few]

    def fit_all(name: str, some: list[Array], pool: ThreadPoolExecutor | None) -> None:
        each = lambda X: by_class[name](X, None, 10, **COLUMN)  # noqa: E731
        list(map(each, some) if pool is None else pool.map(each, some))

    with ThreadPoolExecutor(2) as two:
        for text, pool, clock in (
            ("one by one", None, time.process_time),
            ("one by one, by the clock", None, time.perf_counter),
            ("by two threads, by the clock", two, time.perf_counter),
        ):

            def task(name: str, pool: Any = pool, clock: Any = clock) -> Callable[[], float]:
                some, times = (few, part) if name == "scikit-learn" else (columns, 1)
                return lambda: times * seconds(lambda: fit_all(name, some, pool), clock)

            runs = interleave({name: task(name) for name in by_class}, repeats, CAP)
            row(f"s, {N_COLUMNS} columns of {n:,} {text}",
                {c: median(r) for c, r in runs.items()}, max(bounds, key=float))  # fmt: skip


def main() -> None:
    """Print a table in markdown."""
    options = parse()
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    refuse_editable()
    warnings.simplefilter("ignore")
    by_class = fits()
    from threadpoolctl import threadpool_limits

    from gmm_core import build_info

    threadpool_limits(1)
    print(processor(), build_info(), "\n")
    print("| what | gmm_core | GaussianMixture (ratio) | scikit-learn (ratio) | bounds |")
    print("|---|---|---|---|---|")
    small, repeats = options.quick, 1 if options.quick else options.repeats
    for kind in TYPES:
        w = Workload(f"100,000 x 16, K = 32, {kind}", 100_000, 16, 32, kind)
        if options.only in w.name:
            w = replace(w, n_samples=2_000, n_components=4) if small else w
            compare_iterations(by_class, w, repeats)
    if options.only in "column of 200,000":
        X = column(2_000 if small else 200_000, 0)
        compare_fits("column of 200,000, K = 10, 100 iterations", by_class, X, 10, repeats,
                     tol=0, max_iter=100, **COLUMN)  # fmt: skip
    if options.only in "100 columns of 20,000":
        compare_columns(by_class, 500 if small else 20_000, repeats)
    if options.only in "colours":
        w = Workload("colours", 2_000 if small else 300_000, 3, 8, source="colour")
        try:
            X = make_problem(w).X
        except Unavailable as error:
            print(f"\ncolours: {error}")
            return
        compare_fits(f"colours {len(X):,} x 3, K = 8, default", by_class, X, 8, repeats)


if __name__ == "__main__":
    main()
