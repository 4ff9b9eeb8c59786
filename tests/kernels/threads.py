"""Call all kernels from several threads at once, for ThreadSanitizer to watch (.ci/threads).

Python's threads make the same calls on the same arrays and the same model, each with OpenMP threads of its own, and
have to get the same bits. Then OpenMP's threads share each call of the cases of test_guard_pages.py.

With the argument `python` or `openmp`, such threads read and write the same rows instead, which has to be noticed.
"""

import runpy
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gmm_core import BayesianGaussianMixture, GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES

N_THREADS = 3
guarded = runpy.run_path(str(Path(__file__).with_name("test_guard_pages.py")))


def call_at_once(call: Callable[[], list[Any]]) -> None:
    """Make a call in several Python threads at once, and compare the results."""
    barrier = threading.Barrier(N_THREADS)

    def work() -> list[Any]:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(N_THREADS) as pool:
        calls = [pool.submit(work) for _ in range(N_THREADS)]
    first, *others = (each.result() for each in calls)
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


def share_arrays(covariance_type: str, dtype: str) -> None:
    """Fit the same array, and use the same model, in several Python threads."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 3)).astype(dtype)
    X[::2] += 2
    incomplete = np.where(rng.random(X.shape) < 0.2, np.nan, X).astype(dtype)
    options: dict[str, Any] = {
        "n_components": 3, "covariance_type": covariance_type, "max_iter": 3, "random_state": 0, "n_threads": 2,
    }
    model = GaussianMixture(**options).fit(X)
    marginal = GaussianMixture(**options, missing="marginalize").fit(X)

    def fit(estimator: Any, rows: Any) -> list[Any]:
        fitted = estimator.fit(rows)
        return [fitted.weights_, fitted.means_, fitted.covariances_, fitted.precisions_cholesky_]

    call_at_once(lambda: fit(GaussianMixture(**options), X))
    call_at_once(lambda: [model.score_samples(X), model.predict_proba(X), model.predict(X)])
    if not covariance_type.isupper():
        call_at_once(lambda: fit(BayesianGaussianMixture(**options), X))
        call_at_once(lambda: fit(GaussianMixture(**options, missing="marginalize"), incomplete))
        call_at_once(lambda: [marginal.score_samples(incomplete), marginal.impute(incomplete)])


def share_calls(dtype: str) -> None:
    """Call every kernel on chunks of one tile, which two OpenMP threads share."""
    for case in guarded["cases"](dtype):
        if case.n_threads > 1 and case.D in (2, 17):
            guarded["run_case"](case)
    X = np.random.default_rng(0).normal(size=(300, 64)).astype(dtype)
    for name in ("full", "tied", "diag", "spherical"):  # threads share the components in the M-step
        GaussianMixture(3, covariance_type=name, max_iter=2, random_state=0, n_threads=2).fit(X)


def race(threads: str) -> None:
    """Write to rows that another thread reads."""
    n = 100_000
    values = np.zeros(2 * n)
    model = guarded["prepare"](np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)), "full")

    def overwrite() -> list[Any]:
        data = guarded["ArrayPass"](values[:n, np.newaxis], None, 1, "full", 2 if threads == "openmp" else 1)
        data.evaluate(model, log_likelihood=values[n // 2 : n // 2 + n])
        return []

    if threads == "openmp":
        overwrite()
    else:
        call_at_once(overwrite)


if __name__ == "__main__":
    guarded["exact_sizes"]()    # each chunk is one tile, so that there is work for several threads
    warnings.simplefilter("ignore")     # three iterations are too few to converge
    if len(sys.argv) > 1:
        race(sys.argv[1])
        sys.exit()
    for element in ("float32", "float64"):
        for name in COVARIANCE_TYPES:
            if name.islower() or name == "VVE":     # which has the longest M-step
                share_arrays(name, element)
    for element in ("float32", "float64"):
        share_calls(element)
