"""Deconvolve a colour-colour diagram: the density of the true colours of stars with known errors.

Run ``python deconvolve_colours.py colours.png`` with matplotlib installed. The stars are drawn at
random: colours along a bent and narrow line, and the fainter a star, the larger its errors. Colours
that share a band have errors that are correlated.
"""

import sys

import matplotlib as mpl
import numpy as np

mpl.use("Agg")  # draws without a screen
from drawing import draw_mixture
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture


def stars(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true colours, measured ones, and the covariances of the errors of the latter."""
    t = rng.beta(1.5, 1.5, n)
    true = np.stack([0.2 + 1.2 * t, 0.1 + 0.5 * t + 1.2 * np.maximum(t - 0.6, 0)], axis=1)
    true += 0.03 * rng.normal(size=(n, 2))
    size = 0.02 + 0.25 * rng.random(n) ** 3  # of the errors in one band
    bands = rng.normal(size=(n, 3)) * size[:, None]
    measured = true + np.stack([bands[:, 0] - bands[:, 1], bands[:, 1] - bands[:, 2]], axis=1)
    return true, measured, size[:, None, None] ** 2 * np.array([[2.0, -1], [-1, 2]])


def main(path: str) -> None:
    true, measured, S = stars(20_000, np.random.default_rng(0))
    params = {"n_components": 5, "random_state": 0, "tol": 1e-5, "max_iter": 1000}
    ordinary = GaussianMixture(**params).fit(measured)
    deconvolved = GaussianMixture(**params).fit(measured, noise_covariance=S)
    denoised = deconvolved.denoise(measured, S)
    panels = (
        ("measured, and an ordinary fit", measured, ordinary),
        ("true, and the deconvolved fit", true, deconvolved),
        ("denoised", denoised, deconvolved),
    )
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.5), layout="constrained")
    for ax, (title, X, model) in zip(axes, panels, strict=True):
        draw_mixture(ax, X[:4000], model)
        ax.set(title=title, xlim=(-0.3, 2), ylim=(-0.4, 1.7), xlabel="g − r", ylabel="r − i")
    figure.savefig(path)
    for name, model in (("ordinary", ordinary), ("deconvolved", deconvolved)):
        print(f"{name}: log-likelihood of the true colours {model.score(true):.3f}")
    for name, X in (("measured", measured), ("denoised", denoised)):
        print(f"{name}: distance from the true colours {np.sqrt(((X - true) ** 2).mean()):.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
