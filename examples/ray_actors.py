"""Fit a mixture to arrays that the actors of a Ray cluster hold. This is a recipe to be adapted.

It was run with Ray 2.60.0, NumPy 2.4.6 and Python 3.11. The nodes of the cluster
need gmm_core, too.
"""

import numpy as np
import ray

import gmm_core
from gmm_core import GaussianMixture, Statistics

K, N_ACTORS, MAX_ITER, TOL = 3, 2, 200, 1e-6


@ray.remote(num_cpus=1)
class Part:
    """Rows that stay with an actor. They are drawn here; a real actor would read its own files."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        centers = np.array([[0, 0], [4, 0], [0, 6]])
        self.X = rng.normal(size=(50_000, 2)) + centers[rng.integers(3, size=50_000)]

    def subset(self, n: int) -> np.ndarray:
        return self.X[np.random.default_rng(0).choice(len(self.X), n, replace=False)]

    def statistics(self, parameters: tuple[np.ndarray, ...]) -> Statistics:
        return gmm_core.accumulate(self.X, *parameters, "full", n_threads=1)


def fit(parts: list) -> GaussianMixture:
    subset = np.concatenate(ray.get([part.subset.remote(2000) for part in parts]))
    start = GaussianMixture(K, max_iter=0, random_state=0).fit(subset)
    current, previous = (start.weights_, start.means_, start.precisions_cholesky_), -np.inf
    for _ in range(MAX_ITER):
        sent = ray.put(current)  # this sends the parameters once, and not with each call
        total = sum(ray.get([part.statistics.remote(sent) for part in parts]))
        new = gmm_core.maximization_step(total)
        current = new.weights, new.means, new.precisions_cholesky
        mean = total.log_likelihood / total.weight
        if abs(mean - previous) < TOL:
            break
        previous = mean
    return GaussianMixture.from_parameters(new.weights, new.means, covariances=new.covariances)


def main() -> None:
    ray.init(num_cpus=N_ACTORS, include_dashboard=False)
    mixture = fit([Part.remote(seed) for seed in range(N_ACTORS)])
    print(mixture.weights_, mixture.means_, sep="\n")
    ray.shutdown()


if __name__ == "__main__":
    main()
