"""Time calls so small that most of their time is Python, side by side with other libraries.

    python benchmarks/small_calls.py

Each case is timed in rounds, in which the libraries take turns; the medians are printed in
microseconds, with the ratio to gmm_core. Fits begin at the same start where one is given, and must
then end with the same log-likelihood; otherwise each library finds its own start. Each library has
one thread.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from bench import processor
from measure import mean_log_likelihood
from peers import Parameters

from gmm_core import GaussianMixture, build_info

ROUNDS = 15
TOLERANCE = 1e-8  # nats per sample, between libraries that begin at the same start


class Case(NamedTuple):
    """A call, by each library that has it."""

    name: str
    calls: dict[str, Callable[[], Any]]
    repeats: int
    X: np.ndarray | None = None  # given if the calls return parameters that must agree on it


def data(n: int, n_features: int, n_groups: int) -> np.ndarray:
    """Draw samples from groups that overlap."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.normal(size=(n_groups, n_features))
    return centers[rng.integers(n_groups, size=n)] + rng.normal(size=(n, n_features))


def start(X: np.ndarray, n_components: int) -> dict[str, Any]:
    """Return equal weights, samples as means, and unit covariances."""
    D = X.shape[1]
    return {
        "weights_init": np.full(n_components, 1 / n_components),
        "means_init": X[:n_components].copy(),
        "precisions_init": np.stack([np.eye(D)] * n_components),
    }


def warm_fits(model: Any, X: np.ndarray) -> None:
    """Fit 100 times, one iteration each, from where the last fit ended."""
    for _ in range(100):
        model.fit(X)


def fitted_by(model: Any, X: np.ndarray) -> Parameters:
    """Fit a model, and return its parameters."""
    model.fit(X)
    return Parameters(model.weights_, model.means_, model.covariances_)


def cases(sklearn: Any, daal4py: Any) -> list[Case]:
    """Return all cases; a library that is not installed is left out of them."""
    classes: dict[str, Any] = {"gmm_core": GaussianMixture}
    if sklearn is not None:
        classes["scikit-learn"] = sklearn.mixture.GaussianMixture

    def fits(X: np.ndarray, K: int, **params: Any) -> dict[str, Callable[[], Any]]:
        return {
            name: lambda make=make: fitted_by(make(K, **params), X)
            for name, make in classes.items()
        }

    small, iris, fifty = data(200, 2, 2), data(150, 4, 3), data(50, 2, 2)
    five_hundred, thousand = data(500, 2, 3), data(1000, 3, 3)
    warm = {
        name: make(3, max_iter=1, warm_start=True, tol=0, **start(thousand, 3)).fit(thousand)
        for name, make in classes.items()
    }
    fitted = {name: make(3, random_state=0).fit(iris) for name, make in classes.items()}
    iterations = fits(five_hundred, 3, tol=0, max_iter=200, **start(five_hundred, 3))
    if daal4py is not None:
        given = start(five_hundred, 3)
        tables = [np.linalg.inv(p) for p in given["precisions_init"]]

        def daal() -> Parameters:
            algorithm = daal4py.em_gmm(
                nComponents=3, maxIterations=200, accuracyThreshold=0.0, covarianceStorage="full"
            )
            weights = given["weights_init"][np.newaxis]
            result = algorithm.compute(five_hundred, weights, given["means_init"], tables)
            return Parameters(result.weights[0], result.means, np.stack(list(result.covariances)))

        iterations["daal4py"] = daal
    clones = {}
    if sklearn is not None:
        clones = {
            name: lambda model=model: sklearn.base.clone(model) for name, model in fitted.items()
        }
    return [
        Case("default fit, 200 x 2, K = 2", fits(small, 2, random_state=0), 20),
        Case("default fit, 150 x 4, K = 3", fits(iris, 3, random_state=0), 20),
        Case("one iteration from a start, 50 x 2, K = 2",
             fits(fifty, 2, max_iter=1, **start(fifty, 2)), 50, fifty),
        Case("100 warm fits of one iteration, 1000 x 3, K = 3",
             {name: lambda model=model: warm_fits(model, thousand)
              for name, model in warm.items()}, 1),
        Case("200 iterations from a start, 500 x 2, K = 3", iterations, 2, five_hundred),
        Case("clone", clones, 100),
        Case("predict one row, D = 4, K = 3",
             {name: lambda model=model: model.predict(iris[:1])
              for name, model in fitted.items()}, 200),
    ]  # fmt: skip


def main() -> None:
    """Print a line for each case and library."""
    sklearn = optional("sklearn.mixture") and importlib.import_module("sklearn")
    daal4py = optional("daal4py")
    if daal4py is not None:
        daal4py.daalinit(1)
    GaussianMixture.__init__.__kwdefaults__["n_threads"] = 1
    print(f"{processor()}, one thread; {build_info()}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases(sklearn, daal4py):
            check_agreement(case)
            report(case)


def check_agreement(case: Case) -> None:
    """Raise ValueError if libraries end with different log-likelihoods from the same start."""
    ends = {name: call() for name, call in case.calls.items()}
    if case.X is None:
        return
    bounds = {name: mean_log_likelihood(case.X, end, "full") for name, end in ends.items()}
    if not max(bounds.values()) - min(bounds.values()) <= TOLERANCE:
        raise ValueError(f"{case.name}: log-likelihoods differ: {bounds}")


def report(case: Case) -> None:
    """Time a case, and print the medians."""
    times: dict[str, list[float]] = {name: [] for name in case.calls}
    for _ in range(ROUNDS):
        for name, call in case.calls.items():
            began = time.perf_counter()
            for _ in range(case.repeats):
                call()
            times[name].append((time.perf_counter() - began) / case.repeats)
    print(case.name)
    for name, values in times.items():
        ratio = median(values) / median(times["gmm_core"])
        print(f"    {name:<14}{median(values) * 1e6:>12.1f} µs{ratio:>9.2f}")


def optional(module: str) -> Any:
    """Import a module, or return None if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


if __name__ == "__main__":
    main()
