"""Compute digests of 568 small fits, which tell whether a change has altered a bit of the results.

    python benchmarks/digests.py before.json                # with the package before the change
    python benchmarks/digests.py after.json before.json     # after it; prints what differs

The digests depend on the instruction set, so both files have to be made on the same machine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gmm_core import GaussianMixture, build_info

TYPES = ("full", "tied", "diag", "spherical")
STARTS = ("kmeans", "k-means++", "random", "random_from_data")
K = 4
ATTRIBUTES = (
    "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_",
    "lower_bound_", "n_iter_", "converged_",
)  # fmt: skip


def samples(n: int, n_features: int) -> np.ndarray:
    """Draw four groups of different shapes, two of which overlap."""
    rng = np.random.RandomState(n_features)
    means = 3 * rng.randn(K, n_features)
    factors = rng.randn(K, n_features, n_features) / 2 + np.eye(n_features)
    labels = rng.randint(0, K, n)
    return means[labels] + np.einsum("nij,nj->ni", factors[labels], rng.randn(n, n_features))


def by_place(X: Any, n_components: int, random_state: Any) -> Any:
    """Return labels that depend on the first feature: a callable `init_params`."""
    return np.floor(X[:, 0]).astype(int) % n_components


def weights_of(kind: str, n: int) -> np.ndarray | None:
    """Return sample weights: none, random ones, or random ones with zeros."""
    rng = np.random.RandomState(1)
    if kind == "none":
        return None
    return rng.choice([0.0, 1.0, 2.5], n) if kind == "zeros" else rng.uniform(0.1, 3, n)


def fit(model: GaussianMixture, X: Any, weight: Any) -> GaussianMixture:
    """Fit an array."""
    return model.fit(X, sample_weight=weight)


def fit_batches(model: GaussianMixture, X: Any, weight: Any) -> GaussianMixture:
    """Fit a list of batches."""
    cuts = range(0, len(X), 333)
    if weight is None:
        return model.fit_batches([X[i : i + 333] for i in cuts])
    return model.fit_batches([(X[i : i + 333], weight[i : i + 333]) for i in cuts])


def learn(model: GaussianMixture, X: Any, weight: Any) -> GaussianMixture:
    """Learn from a stream by `partial_fit`."""
    for i in range(0, len(X), 100):
        part = None if weight is None else weight[i : i + 100]
        model.partial_fit(X[i : i + 100], sample_weight=part)
    return model


def fit_with_missing(model: GaussianMixture, X: Any, weight: Any) -> GaussianMixture:
    """Fit an array in which a tenth of the values is missing."""
    is_missing = np.random.RandomState(2).random_sample(X.shape) < 0.1
    X = np.where(is_missing, np.nan, X).astype(X.dtype)
    return model.set_params(missing="marginalize").fit(X, sample_weight=weight)


Way = Callable[[GaussianMixture, Any, Any], GaussianMixture]
WAYS: dict[str, Way] = {
    "array": fit, "batches": fit_batches, "stream": learn, "missing": fit_with_missing
}


def cases() -> Iterator[tuple[str, Way, dict[str, Any], np.ndarray, np.ndarray | None]]:
    """Yield name, way of fitting, parameters, samples and weights of each fit."""
    X = samples(1500, 3)
    for way, kind, dtype, start, weights in itertools.product(
        WAYS, TYPES, ("float32", "float64"), (*STARTS, "labels"), ("none", "random", "zeros")
    ):
        params = {
            "n_components": K, "covariance_type": kind, "random_state": 0, "max_iter": 20,
            "init_params": by_place if start == "labels" else start,
        }  # fmt: skip
        name = "/".join((way, kind, dtype, start, weights))
        yield name, WAYS[way], params, X.astype(dtype), weights_of(weights, len(X))
    options: dict[str, dict[str, Any]] = {
        "several starts": {"n_init": 3, "init_params": "random"},
        "subsample": {"init_size": 300},
        "short runs": {"n_init": 2, "n_short": 5, "n_swaps": 3},
        "given": {"weights_init": np.full(K, 1 / K), "means_init": X[:K],
                  "reg_covar": [1e-6, 1e-3, 0.0]},
        "no iterations": {"max_iter": 0},
        "to convergence": {"tol": 1e-10, "max_iter": 300},
        "two threads": {"n_threads": 2},
        "forgetting": {"forget_factor": 0.99},
    }  # fmt: skip
    for (name, option), kind, n_features in itertools.product(options.items(), TYPES, (1, 3, 17)):
        if name == "given" and n_features != 3:
            continue
        params = {"n_components": K, "covariance_type": kind, "random_state": 0, **option}
        way = learn if name == "forgetting" else fit
        yield f"{name}/{kind}/{n_features}", way, params, samples(3000, n_features), None


def digest(model: GaussianMixture, X: np.ndarray) -> str:
    """Return a hash of the fitted attributes and of the results of the methods."""
    state = hashlib.sha256()
    results = [getattr(model, name) for name in ATTRIBUTES]
    results += [method(X) for method in (model.score_samples, model.predict_proba, model.predict)]
    results.append(model.sample(3)[0])
    for array in map(np.asarray, results):
        state.update(f"{array.dtype}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def main() -> None:
    """Write the digests, and compare them with those of another file."""
    digests = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # fits that have not converged
        for name, way, params, X, weight in cases():
            digests[name] = digest(way(GaussianMixture(**params), X, weight), X)
    info = build_info()
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"isa": info["isa"], "digests": digests}, file, indent=0)
    print(f"{len(digests)} fits, {info['isa']}")
    if len(sys.argv) > 2:
        with open(sys.argv[2], encoding="utf-8") as file:
            before = json.load(file)
        differing = [name for name in digests if digests[name] != before["digests"].get(name)]
        print(f"{len(differing)} differ; the instruction set was {before['isa']}")
        print(*differing, sep="\n")


if __name__ == "__main__":
    main()
