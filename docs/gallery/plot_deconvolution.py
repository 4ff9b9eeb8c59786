"""
Extreme deconvolution
=====================

If the covariance of the errors of each sample is known, the mixture can describe the true values
rather than the measured ones. The samples are colours of made-up stars, on a bent and narrow
line. Colours that share a band have correlated errors, and the faintest stars have the largest.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

rng = np.random.default_rng(0)
N = 4000
t = rng.beta(1.5, 1.5, N)
true = np.stack([0.2 + 1.2 * t, 0.1 + 0.5 * t + 1.2 * np.maximum(t - 0.6, 0)], axis=1)
true += 0.03 * rng.normal(size=(N, 2))
size = 0.02 + 0.25 * rng.random(N) ** 3  # of the errors in one band
bands = size[:, None] * rng.normal(size=(N, 3))
measured = true + bands[:, :2] - bands[:, 1:]
errors = size[:, None, None] ** 2 * np.array([[2.0, -1], [-1, 2]])  # covariances

# %%
# ``noise_covariance`` gives the covariances of the errors. ``denoise`` returns what the mixture
# expects of the true value of each sample.

params = {"n_components": 4, "random_state": 0, "tol": 1e-4, "max_iter": 500}
ordinary = GaussianMixture(**params).fit(measured)
deconvolved = GaussianMixture(**params).fit(measured, noise_covariance=errors)
denoised = deconvolved.denoise(measured, errors)
for name, X in (("measured", measured), ("denoised", denoised)):
    print(f"{name}: distance from the true colours {np.sqrt(np.mean((X - true) ** 2)):.3f}")

# %%
# The ellipses are at two standard deviations.

angle = np.linspace(0, 2 * np.pi, 100)
circle = np.stack([np.cos(angle), np.sin(angle)])
panels = (
    ("measured, ordinary fit", measured, ordinary),
    ("true, deconvolved fit", true, deconvolved),
    ("denoised", denoised, deconvolved),
)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.8), sharey=True, layout="constrained")
for ax, (title, X, model) in zip(axes, panels, strict=True):
    ax.plot(*X.T, ".", color="0.6", markersize=1.5)
    for mean, covariance in zip(model.means_, model.covariances_, strict=True):
        ax.plot(*(mean[:, None] + 2 * np.linalg.cholesky(covariance) @ circle), color="C0")
    ax.set(title=title, xlabel="g − r", xlim=(-0.4, 2), ylim=(-0.5, 1.8))
axes[0].set_ylabel("r − i")
plt.show()
