"""Measure the speed of EM in gmm_core, NumPy and scikit-learn, as ``gmm-core bench`` does.

This file is installed as the module ``gmm_core.cli.bench``.
"""

import importlib.metadata
import os
import platform
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gmm_core import GaussianMixture, build_info, reference
from gmm_core.core.types import CovarianceName

TOLERANCE = 1e-8  # largest difference of log-likelihoods, in nats per sample
REPEATS = 5
CAP = 15.0  # seconds for one library
REG_COVAR = 1e-6

Array = NDArray[np.float64]
Fit = Callable[[], Array]  # fits, and returns the log-likelihood per sample of each iteration
Result = TypeVar("Result")


def run_bench(
    n: int,
    d: int,
    k: int,
    covariance_type: CovarianceName,
    iterations: int,
    threads: int | None = None,
) -> None:
    """Compare the log-likelihoods of all libraries, and print how long their EM takes.

    Parameters
    ----------
    n, d, k : int
        Numbers of samples, features and components of the data, which are drawn in float64 from a
        mixture.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        Shape of the covariances.
    iterations : int
        Number of EM iterations of each fit. No fit stops earlier.
    threads : int or None, default=None
        Number of threads of each library. None leaves each library its own default.

    Raises
    ------
    ValueError
        If a size is not positive, or if the log-likelihoods differ.
    """
    for name, value in (("--n", n), ("--d", d), ("--k", k), ("--iterations", iterations)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if k > n:
        raise ValueError(f"--k must be at most --n, got {k} components for {n} samples")
    if threads is not None and threads < 1:
        raise ValueError(f"--threads must be at least 1, got {threads}")
    fits = _fits(_draw(n, d, k), k, covariance_type, iterations, threads)
    # A limit applies to the libraries that are loaded when it is set, so it is set after `_fits`.
    limits, note = _thread_limits(threads)
    _print_machine(note)
    print(f"\n{n} samples x {d} features, {k} components, {covariance_type}, float64")
    with limits, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no fit is meant to converge
        _print_agreement({name: fit() for name, fit in fits.items()})
        seconds = interleave({name: _timed(fit) for name, fit in fits.items()}, REPEATS, CAP)
    _print_times(seconds, iterations)


def processor() -> str:
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # this is not Linux
    return platform.processor() or platform.machine()


def interleave(
    tasks: dict[str, Callable[[], Result]], repeats: int, cap: float
) -> dict[str, list[Result]]:
    """Run every task once, then every task again, so that changes of the machine affect them all.

    Parameters
    ----------
    tasks : dict of str to callable
        Tasks, by their names.
    repeats : int
        Number of runs of each task.
    cap : float
        Seconds. A task that would take longer than this in all is not repeated.

    Returns
    -------
    dict of str to list
        What the runs of each task returned.
    """
    results: dict[str, list[Result]] = {name: [] for name in tasks}
    spent = dict.fromkeys(tasks, 0.0)
    names = list(tasks)
    for turn in range(repeats):
        for name in names[::-1] if turn % 2 else names:  # no task is always the first
            if turn and spent[name] * (turn + 1) / turn > cap:
                continue
            start = time.perf_counter()
            results[name].append(tasks[name]())
            spent[name] += time.perf_counter() - start
    return results


def covariances_of(covariance_type: CovarianceName, matrices: Array) -> Array:
    """Return the covariances of a type that EM computes from given covariance matrices.

    The samples of a component in this M-step are the columns of the Cholesky factor L of its
    matrix, as L Lᵀ is the sum of their outer products.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        Shape of the covariances.
    matrices : ndarray of shape (n_components, n_features, n_features)
        Positive definite matrices.

    Returns
    -------
    ndarray, in the shape of the type
        The matrices, their mean, their diagonals, or the means of their diagonals.
    """
    kind, n_features = reference.COVARIANCE_TYPES[covariance_type], matrices.shape[1]
    r = np.ones(n_features)
    moments = [kind.second_moment(r, np.linalg.cholesky(matrix).T) for matrix in matrices]
    counts = np.ones(len(matrices))
    return np.asarray(kind.covariances(kind.gather(moments), counts, n_features, 0.0), np.float64)


def _draw(n: int, d: int, k: int) -> Array:
    """Draw samples from a mixture whose components overlap."""
    rng = np.random.default_rng(0)
    centers = 3.0 * rng.standard_normal((k, d))
    scales = rng.uniform(0.5, 2.0, (k, d))
    labels = rng.integers(k, size=n)
    return centers[labels] + scales[labels] * rng.standard_normal((n, d))


def _fits(
    X: Array, k: int, covariance_type: CovarianceName, iterations: int, threads: int | None
) -> dict[str, Fit]:
    """Return a fit for each library. All start with samples as means and the data's variances."""
    variances = np.diag(X.var(axis=0) + REG_COVAR)
    start = GaussianMixture.from_parameters(
        np.full(k, 1 / k),
        X[np.random.default_rng(1).choice(len(X), k, replace=False)],
        covariances=covariances_of(covariance_type, np.tile(variances, (k, 1, 1))),
        covariance_type=covariance_type,
    )
    options: dict[str, Any] = {
        "covariance_type": covariance_type,
        "tol": 0.0,
        "max_iter": iterations,
        "reg_covar": REG_COVAR,
        "weights_init": start.weights_,
        "means_init": start.means_,
        "precisions_init": start.precisions_,
    }

    def ours() -> Array:
        return np.asarray(GaussianMixture(k, n_threads=threads, **options).fit(X).lower_bounds_)

    def numpy_baseline() -> Array:
        result = reference.fit(
            X,
            start.weights_,
            start.means_,
            start.covariances_,
            covariance_type,
            tol=0.0,
            max_iter=iterations,
            reg_covar=REG_COVAR,
        )
        return np.asarray(result.lower_bounds)

    fits: dict[str, Fit] = {"gmm_core": ours, "NumPy baseline": numpy_baseline}
    try:
        from sklearn.mixture import GaussianMixture as SklearnMixture
    except ImportError:
        pass  # _print_machine tells which packages are installed
    else:
        fits["scikit-learn"] = lambda: np.asarray(
            SklearnMixture(k, **options).fit(X).lower_bounds_
        )
    return fits


def _timed(fit: Fit) -> Callable[[], float]:
    """Return a task that runs a fit and returns its seconds."""

    def task() -> float:
        start = time.perf_counter()
        fit()
        return time.perf_counter() - start

    return task


def _print_agreement(bounds: dict[str, Array]) -> None:
    """Compare the log-likelihoods of all iterations, and raise a ValueError if they differ."""
    expected = bounds["gmm_core"]
    worst = 0.0
    for name, values in bounds.items():
        if values.shape != expected.shape:
            raise ValueError(
                f"gmm_core made {len(expected)} iterations and {name} {len(values)}: not comparable"
            )
        difference = float(np.max(np.abs(values - expected)))
        if not difference <= TOLERANCE:
            raise ValueError(
                f"log-likelihoods of gmm_core and {name} differ by {difference:.1e} nats per "
                "sample: not comparable"
            )
        worst = max(worst, difference)
    print(f"log-likelihood {expected[-1]:.6f} nats per sample, equal to {worst:.0e} in all "
          "iterations of all libraries")  # fmt: skip


def _print_times(seconds: dict[str, list[float]], iterations: int) -> None:
    ours = median(seconds["gmm_core"])
    print(
        f"\nmedians of up to {REPEATS} fits of {iterations} iterations, in turns; "
        "ratio: time over gmm_core's"
    )
    print(f"{'':<16}{'ms/iteration':>12}{'fastest':>10}{'slowest':>10}{'ratio':>9}")
    for name, values in seconds.items():
        cells = [1e3 * t / iterations for t in (median(values), min(values), max(values))]
        print(f"{name:<16}{cells[0]:>12.2f}{cells[1]:>10.2f}{cells[2]:>10.2f}"
              f"{median(values) / ours:>9.2f}")  # fmt: skip


def _thread_limits(threads: int | None) -> tuple[AbstractContextManager[object], str]:
    """Return a context that limits the threads of all libraries, and what to print about it."""
    if threads is None:
        return nullcontext(), "each library's default"
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext(), f"{threads} (gmm_core only: threadpoolctl is not installed)"
    return threadpool_limits(limits=threads), str(threads)


def _print_machine(threads: str) -> None:
    """Print the machine, the number of threads and the versions of the packages."""
    print(f"processor       {processor()}, {os.cpu_count()} logical cores")
    print(f"system          {platform.system()} {platform.machine()}")
    print(f"threads         {threads}")
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if variable in os.environ:
            print(f"{variable} = {os.environ[variable]}")
    print(f"Python          {platform.python_version()}")
    for package in ("gmm-core", "numpy", "scikit-learn"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        print(f"{package:<15} {version}")
    print(f"gmm_core build  {', '.join(f'{key} {value}' for key, value in build_info().items())}")
