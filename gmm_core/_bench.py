"""``gmm-core bench``: EM on this machine, gmm_core against NumPy and scikit-learn."""

import importlib.metadata
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmm_core import GaussianMixture, build_info, reference

TOLERANCE = 1e-8  # relative, between the log-likelihoods of all libraries
MAX_REPEATS = 5
BUDGET = 40.0  # seconds after which no further round of repeats is begun
REG_COVAR = 1e-6

Array = NDArray[np.float64]
Fit = Callable[[], Any]  # fits and returns the log-likelihood per sample of every iteration


def run_bench(
    n: int, d: int, k: int, covariance_type: str, iterations: int, threads: int | None
) -> None:
    """Print the time of EM from one start in each library, after comparing log-likelihoods.

    Parameters
    ----------
    n, d, k : int
        Samples, features and components of the data, which are drawn from a mixture (float64).
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    iterations : int
        EM iterations of each fit; none stops earlier.
    threads : int or None
        Threads of every library; None leaves each its own default.

    Raises
    ------
    ValueError
        If a size is not positive, or the log-likelihoods differ.
    """
    for name, value in (("--n", n), ("--d", d), ("--k", k), ("--iterations", iterations)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if k > n:
        raise ValueError(f"--k must be at most --n, got {k} components for {n} samples")
    if threads is not None and threads < 1:
        raise ValueError(f"--threads must be at least 1, got {threads}")
    X = _draw(n, d, k)
    fits = _fits(X, k, covariance_type, iterations, threads)
    # Only now: a limit reaches the libraries that are loaded when it is set.
    limits, note = _thread_limits(threads)
    _print_machine(note)
    print(f"\n{n} samples x {d} features, {k} components, {covariance_type}, float64")
    with limits, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no fit is meant to converge
        _print_agreement({name: np.asarray(fit()) for name, fit in fits.items()})
        seconds = _time(fits)
    _print_times(seconds, iterations)


def _draw(n: int, d: int, k: int) -> Array:
    """Draw samples from a mixture whose components overlap."""
    rng = np.random.default_rng(0)
    centers = 3.0 * rng.standard_normal((k, d))
    scales = rng.uniform(0.5, 2.0, (k, d))
    labels = rng.integers(k, size=n)
    return centers[labels] + scales[labels] * rng.standard_normal((n, d))


def _fits(
    X: Array, k: int, covariance_type: str, iterations: int, threads: int | None
) -> dict[str, Fit]:
    """Return for each library a fit from the same start: equal weights, samples as means."""
    n = X.shape[0]
    weights = np.full(k, 1.0 / k)
    means = X[np.random.default_rng(1).choice(n, k, replace=False)]
    variances = X.var(axis=0) + REG_COVAR
    covariances = {
        "full": np.tile(np.diag(variances), (k, 1, 1)),
        "tied": np.diag(variances),
        "diag": np.tile(variances, (k, 1)),
        "spherical": np.full(k, variances.mean()),
    }[covariance_type]
    matrices = covariance_type in ("full", "tied")
    options: dict[str, Any] = {
        "covariance_type": covariance_type,
        "tol": 0.0,
        "max_iter": iterations,
        "reg_covar": REG_COVAR,
        "weights_init": weights,
        "means_init": means,
        "precisions_init": np.linalg.inv(covariances) if matrices else 1.0 / covariances,
    }

    def ours() -> Any:
        return GaussianMixture(k, n_threads=threads, **options).fit(X).lower_bounds_

    def numpy_baseline() -> Any:
        return reference.fit(
            X,
            weights,
            means,
            covariances,
            covariance_type,
            tol=0.0,
            max_iter=iterations,
            reg_covar=REG_COVAR,
        ).lower_bounds

    fits: dict[str, Fit] = {"gmm_core": ours, "NumPy baseline": numpy_baseline}
    try:
        from sklearn.mixture import GaussianMixture as SklearnMixture
    except ImportError:
        pass  # _print_machine tells which packages are there
    else:
        fits["scikit-learn"] = lambda: SklearnMixture(k, **options).fit(X).lower_bounds_
    return fits


def _print_agreement(bounds: dict[str, Array]) -> None:
    """Compare the log-likelihoods of every iteration; a difference ends the benchmark."""
    expected = bounds["gmm_core"]
    worst = 0.0
    for name, values in bounds.items():
        if values.shape != expected.shape:
            raise ValueError(
                f"gmm_core made {len(expected)} iterations and {name} {len(values)}: not comparable"
            )
        difference = float(np.max(np.abs(values - expected) / np.abs(expected)))
        if not difference <= TOLERANCE:
            raise ValueError(
                f"log-likelihoods of gmm_core and {name} differ by {difference:.1e} (relative):"
                " not comparable"
            )
        worst = max(worst, difference)
    print(f"log-likelihood per sample {expected[-1]:.6f}, equal to {worst:.0e} in all iterations")


def _time(fits: dict[str, Fit]) -> dict[str, list[float]]:
    """Time the fits in turns, so that a change of the machine's speed meets them all."""
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    begin = time.perf_counter()
    for _ in range(MAX_REPEATS):
        round_begin = time.perf_counter()
        for name, fit in fits.items():
            start = time.perf_counter()
            fit()
            seconds[name].append(time.perf_counter() - start)
        now = time.perf_counter()
        if now - begin + (now - round_begin) > BUDGET:
            break
    return seconds


def _print_times(seconds: dict[str, list[float]], iterations: int) -> None:
    ours = statistics.median(seconds["gmm_core"])
    repeats = len(seconds["gmm_core"])
    print(
        f"\nfits of {iterations} iterations, {repeats} in turns, medians; "
        "ratio: time over gmm_core's"
    )
    print(f"{'':<16}{'ms/iteration':>12}{'fastest':>10}{'slowest':>10}{'ratio':>9}")
    for name, values in seconds.items():
        median = statistics.median(values)
        cells = [1e3 * t / iterations for t in (median, min(values), max(values))]
        print(f"{name:<16}{cells[0]:>12.2f}{cells[1]:>10.2f}{cells[2]:>10.2f}"
              f"{median / ours:>9.2f}")  # fmt: skip


def _thread_limits(threads: int | None) -> tuple[AbstractContextManager[Any], str]:
    """Return a context that limits the threads of BLAS too, and a note for the print-out."""
    if threads is None:
        return nullcontext(), "each library's default"
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext(), f"{threads} (gmm_core only: threadpoolctl is not installed)"
    return threadpool_limits(limits=threads), str(threads)


def _print_machine(threads: str) -> None:
    print(f"processor       {_processor()}, {os.cpu_count()} logical cores")
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


def _processor() -> str:
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
