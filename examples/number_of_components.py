"""Compare two choices of the number of components: the least BIC, and a Bayesian mixture.

Run ``python number_of_components.py number_of_components.png`` with matplotlib installed.
"""

import sys

import numpy as np
from drawing import draw_mixture
from matplotlib.figure import Figure

from gmm_core import BayesianGaussianMixture, GaussianMixture

NUMBERS = range(1, 11)


def samples() -> np.ndarray:
    """Draw 600 samples from five groups."""
    rng = np.random.default_rng(1)
    means = np.array([[0, 0], [5, 1], [1, 6], [7, 6], [4, 10]])
    factors = 0.9 * np.eye(2) + 0.4 * rng.normal(size=(5, 2, 2))
    labels = rng.integers(5, size=600)
    return means[labels] + np.einsum("nij,nj->ni", factors[labels], rng.normal(size=(600, 2)))


def main(path: str) -> None:
    """Fit mixtures of 1 to 10 components and a Bayesian one of 10, and write the picture."""
    X = samples()
    fits = [GaussianMixture(k, n_init=5, random_state=0).fit(X) for k in NUMBERS]
    bics = [model.bic(X) for model in fits]
    best = fits[int(np.argmin(bics))]
    bayesian = BayesianGaussianMixture(
        n_components=max(NUMBERS), weight_concentration_prior=1e-3, max_iter=2000, tol=1e-6,
        posterior="conjugate", random_state=0,
    ).fit(X)  # fmt: skip
    print(f"BIC: {best.n_components} components of 1 to {max(NUMBERS)}")
    print(f"Bayesian mixture: {bayesian.n_components_} of {max(NUMBERS)} components hold samples")
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(NUMBERS, bics, "o-", label="BIC")
    left.axvline(bayesian.n_components_, linestyle=":", label="components of the Bayesian mixture")
    left.set(xlabel="number of components", ylabel="BIC", xticks=NUMBERS)
    left.legend()
    draw_mixture(middle, X, best)
    middle.set_title(f"least BIC: {best.n_components} components")
    draw_mixture(right, X, bayesian.to_gaussian_mixture())
    right.set_title(f"one Bayesian fit: {bayesian.n_components_} components")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1])
