"""Time EM on rows that have covariances of their own: missing values, and measurement noise.

    python benchmarks/rows.py [--before PYTHON] [--bovy LIBRARY] [--only SUBSTRING] [--quick]

The first table has missing values, the second one a known covariance of the noise of each row. The
peers are EM in NumPy; an older gmm_core, which is installed for the interpreter `--before`; Bovy's
C library; and pygmmis and astroML, if they can be imported. Bovy's library is built by

    apt-get install libgsl-dev && git clone https://github.com/jobovy/extreme-deconvolution
    cd extreme-deconvolution
    make CFLAGS="-O3 -march=native" build/libextremedeconvolution.so

A library is timed only if the log-likelihood per row that it finds after one iteration from the
same start differs from that of NumPy by at most 1e-9, relative to it. The time of an iteration is
(fit of 1 + m iterations - fit of 1 iteration) / m. It is CPU time on one thread, and the median of
rounds in which all libraries take turns. In brackets are ratios to the time of gmm_core.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from statistics import median

import numpy as np
import row_peers
from bench import interleave, processor
from threadpoolctl import threadpool_limits
from versus import refuse_editable
from workloads import Array, Problem, Workload, make_problem

TOLERANCE = 1e-9
CAP = 30.0  # seconds for the rounds of one library; slower ones are timed in the check alone
# The share of values that are missing.
MISSING = {
    Workload("20000x20-full", 20_000, 20, 5): 0.3,
    Workload("5000x50-full", 5_000, 50, 5): 0.3,
    Workload("20000x10-full", 20_000, 10, 5): 0.1,
    Workload("20000x20-diag", 20_000, 20, 5, "diag"): 0.3,
    Workload("20000x20-spherical", 20_000, 20, 5, "spherical"): 0.3,
}
NOISE = [
    Workload(f"{n}x{d}-k{k}", n, d, k)
    for n, d, k in [(100_000, 5, 10), (100_000, 2, 5), (20_000, 10, 5), (10_000, 20, 5)]
]

Run = Callable[[int], tuple[float, float]]  # iterations -> CPU seconds, log-likelihood per row


def with_missing(w: Workload, share: float) -> Problem:
    """Return a problem in which values are missing at random, but no row lacks all of them."""
    problem = make_problem(w)
    lacks = np.random.default_rng(1).random(problem.X.shape) < share
    lacks[lacks.all(axis=1), 0] = False
    return replace(problem, X=np.where(lacks, np.nan, problem.X))


def with_noise(w: Workload) -> tuple[Problem, Array]:
    """Return a problem whose rows have noise, and the covariance of the noise of each row."""
    problem, rng, d = make_problem(w), np.random.default_rng(1), w.n_features
    factors = rng.normal(size=(w.n_samples, d, d)) * rng.uniform(0.1, 1, (w.n_samples, 1, 1))
    factors /= np.sqrt(d)
    noise = np.einsum("nij,nj->ni", factors, rng.normal(size=problem.X.shape))
    return replace(problem, X=problem.X + noise), factors @ factors.transpose(0, 2, 1)


def timed(fit: Callable[..., float], *args: object) -> Run:
    """Return a run of one of the functions of `row_peers`."""

    def run(n_iter: int) -> tuple[float, float]:
        begin = time.process_time()
        bound = fit(*args, n_iter)
        return time.process_time() - begin, bound

    return run


def elsewhere(python: str, w: Workload, share: float) -> Run:
    """Return a run of gmm_core in a process of another interpreter."""

    def run(n_iter: int) -> tuple[float, float]:
        task = json.dumps([asdict(w), share, n_iter])
        output = subprocess.check_output([python, __file__, "--child", task])
        seconds, bound = map(float, output.split())
        return seconds, bound

    return run


def child(task: str) -> None:
    """Run gmm_core, for the process that has called `elsewhere`."""
    fields, share, n_iter = json.loads(task)
    run = timed(row_peers.ours, with_missing(Workload(**fields), share), None)
    run(1)  # loads what is loaded lazily
    print(*run(n_iter))


def missing_runs(w: Workload, share: float, before: str | None) -> dict[str, Run]:
    """Return the runs that are compared on missing values."""
    problem = with_missing(w, share)
    in_numpy = row_peers.numpy_full if w.covariance_type == "full" else row_peers.numpy_variances
    runs = {
        "gmm_core": timed(row_peers.ours, problem, None),
        "NumPy": timed(in_numpy, problem, None),
    }
    if before:
        runs["before"] = elsewhere(before, w, share)
    return runs


def noise_runs(w: Workload, bovy: ctypes.CDLL | None) -> dict[str, Run]:
    """Return the runs that are compared on noisy rows."""
    problem = with_noise(w)
    runs = {
        "gmm_core": timed(row_peers.ours, *problem),
        "NumPy": timed(row_peers.numpy_full, *problem),
    }
    if bovy is not None:
        runs["Bovy's C"] = timed(row_peers.bovy, bovy, *problem)
    others = {
        "pygmmis": (row_peers.pygmmis, "pygmmis"),
        "astroML": (row_peers.astroml, "astroML.density_estimation"),
    }
    for name, (fit, module) in others.items():
        try:
            runs[name] = timed(fit, importlib.import_module(module), *problem)
        except ImportError:
            pass  # the library is left out of the table
    return runs


def compare(name: str, runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Check that all libraries agree, and return the ms of an iteration of each of them."""
    tasks, taken = {}, {}
    truth = runs["NumPy"](2)[1]
    for library, run in runs.items():
        (short, _), (long, bound) = run(1), run(2)
        if not abs(bound - truth) <= TOLERANCE * abs(truth):
            sys.exit(f"{name}: log-likelihoods {bound} of {library}, {truth} of NumPy")
        if short + long > CAP:
            taken[library] = [long - short]
            continue
        m = int(np.clip(0.5 / max(long - short, long / 20), 1, 50))
        tasks[library] = lambda run=run, m=m: (run(1 + m)[0] - run(1)[0]) / m
    taken |= interleave(tasks, rounds, CAP)
    return {library: 1e3 * median(taken[library]) for library in runs}


def table(title: str, rows: Iterable[tuple[str, dict[str, Run]]], rounds: int) -> None:
    """Print a table."""
    print(f"\n{title}, ms of an iteration\n")
    for number, (name, runs) in enumerate(rows):
        if number == 0:
            print(f"| data | {' | '.join(runs)} |\n|{'---|' * (1 + len(runs))}")
        ms = compare(name, runs, rounds)
        cells = [f"{time:.2f} ({time / ms['gmm_core']:.1f})" for time in ms.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_tables(args: argparse.Namespace, bovy: ctypes.CDLL | None) -> None:
    """Print the tables."""
    rounds = 1 if args.quick else args.rounds

    def sized(w: Workload) -> Workload:
        return replace(w, n_samples=500, n_features=min(5, w.n_features)) if args.quick else w

    print(processor())
    missing = (
        (w.name, missing_runs(sized(w), share, args.before))
        for w, share in MISSING.items()
        if args.only in w.name
    )
    noisy = ((w.name, noise_runs(sized(w), bovy)) for w in NOISE if args.only in w.name)
    table("Missing values", missing, rounds)
    table("Covariances of noise", noisy, rounds)


def main() -> None:
    """Parse the arguments, and print the tables or run the task of a child."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", metavar="PYTHON", help="Python that has an older gmm_core")
    parser.add_argument("--bovy", metavar="LIBRARY", help="path of libextremedeconvolution.so")
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="part of names of rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="run a smoke test at tiny sizes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    bovy = ctypes.CDLL(args.bovy) if args.bovy else None
    with threadpool_limits(1):  # applies to libraries that are loaded before it
        if args.child:
            child(args.child)
        else:
            refuse_editable()
            print_tables(args, bovy)


if __name__ == "__main__":
    main()
