"""Measure what memory maps and batches cost, and what is lost by a start from a subset of the rows.

    python benchmarks/large.py [--rows N] [--features D] [--directory PATH]

1. The time of a fit of 10 iterations from given parameters: to an array, to a map of its file, to
   arrays, maps and data frames that have to be converted, and in batches. The fits are interleaved;
   medians are printed, each also as a ratio to the fit to the array. The last column is the largest
   private memory (RssAnon) of a fit that finds its own start.
2. The log-likelihood at the end of fits whose start comes from a subset of the rows (of the default
   size, and of a tenth of it) or from all rows, over several seeds.
"""

import argparse
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from workloads import Unavailable, Workload, make_problem

from gmm_core import GaussianMixture, build_info
from gmm_core.data.subset import subset_size

ROUNDS = 5
COMPONENTS = 8


def main() -> None:
    """Parse the arguments and run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--directory", help="folder for the files (default: a temporary one)")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(build_info())
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        compare_sources(args.rows, args.features, Path(directory))
    compare_starts()


def compare_sources(n: int, d: int, directory: Path) -> None:
    """Print time and memory of fits to the same numbers, which come from different sources."""
    problem = make_problem(Workload("maps", n, d, COMPONENTS))
    X = problem.X
    np.save(directory / "C.npy", X)
    np.save(directory / "F.npy", np.asfortranarray(X))
    np.save(directory / "big.npy", X.astype(">f8"))
    maps = {
        name: np.load(directory / f"{name}.npy", mmap_mode="r") for name in ("C", "F", "big")
    }
    # No chunk has this length, so every batch goes through the buffer.
    batches = [X[start : start + 9_999] for start in range(0, n, 9_999)]
    model = GaussianMixture(
        COMPONENTS, max_iter=10, tol=0, random_state=0, weights_init=problem.weights,
        means_init=problem.means, precisions_init=problem.precisions,
    )  # fmt: skip
    columns_first = np.asfortranarray(X)
    frame = pd.DataFrame(columns_first, columns=[f"x{i}" for i in range(d)], copy=False)
    fits: dict[str, Callable[[GaussianMixture], GaussianMixture]] = {
        "array": lambda model: model.fit(X),
        "array, columns first": lambda model: model.fit(columns_first),
        "frame of pandas": lambda model: model.fit(frame),
        "map": lambda model: model.fit(maps["C"]),
        "map, columns first": lambda model: model.fit(maps["F"]),
        "map, other byte order": lambda model: model.fit(maps["big"]),
        "batches of 9,999 rows": lambda model: model.fit_batches(batches),
    }
    ends = {name: fit(model).lower_bound_ for name, fit in fits.items()}
    assert len(set(ends.values())) == 1, ends
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    for _ in range(ROUNDS):
        for name, fit in fits.items():
            begin = time.perf_counter()
            fit(model)
            seconds[name].append(time.perf_counter() - begin)
    print(f"\n{n:,} x {d}, {X.nbytes / 1e6:.0f} MB, {COMPONENTS} components, 10 iterations")
    print(f"{'':24} {'seconds':>8} {'ratio':>7} {'private MB, with a start':>26}")
    for name, fit in fits.items():
        typical = median(seconds[name])
        ratio = median(
            one / other for one, other in zip(seconds[name], seconds["array"], strict=True)
        )
        plain = GaussianMixture(COMPONENTS, max_iter=2, tol=0, random_state=0)
        print(f"{name:24} {typical:8.3f} {ratio:7.2f} {private_mb(fit, plain):26.1f}")


def private_mb(
    fit: Callable[[GaussianMixture], GaussianMixture], model: GaussianMixture
) -> float:
    """Return by how many 10⁶ bytes the private memory grows in a fit, at its peak (Linux)."""

    def now() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

    def watch() -> None:
        while not done.wait(0.001):
            peak[0] = max(peak[0], now())

    before, done = now(), threading.Event()
    peak = [before]
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        fit(model)
    finally:
        done.set()
        thread.join()
    return (peak[0] - before) / 1e6


def compare_starts() -> None:
    """Print the log-likelihoods of fits whose starts come from subsets of the rows."""
    workloads = [
        Workload("blobs", 1_000_000, 2, 8),
        Workload("blobs", 500_000, 16, 32),
        Workload("blobs", 300_000, 32, 64, "diag"),
        Workload("colours of a photograph", 300_000, 3, 8, source="colour"),
        Workload("patches of photographs", 100_000, 64, 16, source="patches"),
    ]
    print("\nmean log-likelihood of fits whose start comes from all rows, and what others lose")
    print("(nats per sample; median and worst of 5 seeds, against the median for all rows)")
    for workload in workloads:
        try:
            X = make_problem(workload).X
        except Unavailable as error:
            print(f"{workload.name}: {error}")
            continue
        K, default = workload.n_components, subset_size(None, workload.n_components, X.shape[1])
        sizes = {"all": len(X), "default": min(default, len(X)), "1/10": default // 10}
        ends = {
            name: [
                GaussianMixture(
                    K, covariance_type=workload.covariance_type, random_state=seed, init_size=size
                ).fit(X).lower_bound_
                for seed in range(5)
            ]
            for name, size in sizes.items()
        }  # fmt: skip
        best = median(ends["all"])
        print(f"{workload.name}, {X.shape[0]:,} x {X.shape[1]}, {K} components: {best:.4f}")
        for name, found in ends.items():
            losses = f"{best - median(found):8.4f} {best - min(found):8.4f}"
            print(f"  {name:8} {sizes[name]:9,} rows: {losses}")


if __name__ == "__main__":
    main()
