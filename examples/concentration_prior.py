"""Show how many components survive for several concentrations and both priors of the weights.

Run ``python concentration_prior.py concentration_prior.png`` with matplotlib installed.
"""

import sys

import numpy as np
from drawing import draw_mixture
from matplotlib.figure import Figure

from gmm_core import BayesianGaussianMixture

CONCENTRATIONS = [1e-3, 1.0, 10.0, 1e3]
PRIORS = ["dirichlet_distribution", "dirichlet_process"]
N_COMPONENTS = 10


def samples() -> np.ndarray:
    """Draw 500 samples from three groups."""
    rng = np.random.default_rng(0)
    parts = [
        rng.normal([0, -4], [1.5, 0.6], size=(100, 2)),
        rng.normal([0, 0], [1.5, 0.6], size=(300, 2)),
        rng.normal([0, 4], [1.5, 0.6], size=(100, 2)),
    ]
    return np.concatenate(parts)


def main(path: str) -> None:
    """Fit ten components for each prior, and write the picture."""
    X = samples()
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    rows = figure.subplots(4, len(CONCENTRATIONS), height_ratios=[3, 1, 3, 1])
    for i, prior in enumerate(PRIORS):
        for j, concentration in enumerate(CONCENTRATIONS):
            model = BayesianGaussianMixture(
                n_components=N_COMPONENTS, weight_concentration_prior_type=prior,
                weight_concentration_prior=concentration, max_iter=2000, random_state=0,
                posterior="conjugate",
            ).fit(X)  # fmt: skip
            print(f"{prior}, {concentration:g}: {model.n_components_} components")
            above, below = rows[2 * i, j], rows[2 * i + 1, j]
            draw_mixture(above, X, model.to_gaussian_mixture())
            above.set_title(f"γ = {concentration:g}: {model.n_components_} components")
            below.bar(np.arange(N_COMPONENTS), np.sort(model.weights_)[::-1])
            below.set(xticks=[], ylim=(0, 1))
        rows[2 * i, 0].set_ylabel(prior.replace("_", " "))
        rows[2 * i + 1, 0].set_ylabel("weights")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1])
