"""Measure how much log-likelihood partial_fit loses against EM, and how fast it learns.

    python benchmarks/streaming.py

For each data set, a fifth of the samples is held out. `partial_fit` sees each of the other samples
once, in batches; `fit` runs EM on all of them, from three starts. What is printed is the difference
of their mean log-likelihoods of the held-out samples, in nats per sample, for several sizes of
batches and orders of the samples.
"""

import time
import warnings
from statistics import median

import numpy as np
from workloads import Array, Unavailable, Workload, make_problem

from gmm_core import GaussianMixture, build_info

WORKLOADS = [
    Workload("blobs", 100_000, 2, 8),
    Workload("blobs", 100_000, 8, 16),
    Workload("blobs", 100_000, 16, 16, "diag"),
    Workload("colours of a photograph", 300_000, 3, 8, source="colour"),
    Workload("patches of photographs", 50_000, 64, 8, source="patches"),
]
BATCHES = (10, 100, 1_000, 10_000)
ORDERS = 3


def main() -> None:
    """Print a table for each data set."""
    warnings.simplefilter("ignore")
    print(build_info())
    print("nats per sample lost on held-out data (median and worst of three random orders)")
    for workload in WORKLOADS:
        try:
            X = make_problem(workload).X
        except Unavailable as error:
            print(f"{workload.name}: {error}")
            continue
        X = X[np.random.default_rng(0).permutation(len(X))]
        n_held_out = len(X) // 5
        compare(workload, X[n_held_out:], X[:n_held_out])


def compare(workload: Workload, X: Array, held_out: Array) -> None:
    """Print losses and rates of `partial_fit` on one data set."""
    K, params = workload.n_components, {"covariance_type": workload.covariance_type}
    base = GaussianMixture(K, n_init=3, random_state=0, **params).fit(X).score(held_out)
    print(f"\n{workload.name}, {X.shape[0]:,} x {X.shape[1]}, {K} components, "
          f"{workload.covariance_type}: EM {base:.4f}")  # fmt: skip

    def loss(order: Array, size: int, seed: int) -> tuple[float, float]:
        """Return the loss in nats per sample, and the number of samples learnt per second."""
        model = GaussianMixture(K, random_state=seed, **params)
        begin = time.perf_counter()
        for start in range(0, len(X), size):
            model.partial_fit(X[order[start : start + size]])
        seconds = time.perf_counter() - begin
        return base - model.score(held_out), len(X) / seconds

    for size in BATCHES:
        shuffled = [
            loss(np.random.default_rng(seed).permutation(len(X)), size, seed)
            for seed in range(ORDERS)
        ]
        losses, rates = zip(*shuffled, strict=True)
        print(f"  batches of {size:6,}: {median(losses):7.4f} {max(losses):7.4f}, "
              f"{median(rates):12,.0f} samples a second")  # fmt: skip
    by_value, _ = loss(np.argsort(X[:, 0], kind="stable"), 1_000, 0)
    print(f"  sorted by the first feature, batches of 1,000: {by_value:7.4f}")


if __name__ == "__main__":
    main()
