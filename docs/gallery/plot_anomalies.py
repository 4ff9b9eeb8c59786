"""
Find anomalies
==============

Samples in a region of low density are anomalies. ``GaussianMixtureOutlierDetector`` sets the
threshold so that a given share of the samples is below. With ``noise=True``, the mixture has a
component of uniform density for such samples, and no threshold is needed.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture, GaussianMixtureOutlierDetector

rng = np.random.default_rng(0)
t = rng.uniform(0, np.pi, 950)
inside = np.stack([4 * np.cos(t), 3 * np.sin(t)], axis=1) + 0.25 * rng.normal(size=(950, 2))
X = np.concatenate([inside, rng.uniform([-6, -2], [6, 5], size=(50, 2))])

# %%
# The lowest five per cent of the log-densities are taken for anomalies.

detector = GaussianMixtureOutlierDetector(5, contamination=0.05, random_state=0).fit(X)
below = detector.predict(X) == -1

with_noise = GaussianMixture(5, noise=True, random_state=0).fit(X)
noise = with_noise.predict(X) == -1
for name, found in (("low density", below), ("noise component", noise)):
    print(f"{name}: {found[950:].sum()} of 50 anomalies, {found[:950].sum()} of 950 others")

# %%
# The line in the left panel is the threshold; in the right panel it is where noise and components
# are equally probable.

x, y = np.linspace(-6.2, 6.2, 200), np.linspace(-2.2, 5.2, 150)
grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
panels = (
    ("lowest 5 % of the densities", below, detector.decision_function(grid), 0),
    ("noise component", noise, -with_noise.noise_proba(grid), -0.5),
)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, (title, found, values, level) in zip(axes, panels, strict=True):
    ax.contour(x, y, values.reshape(150, 200), [level], colors="C0", linestyles="solid")
    ax.plot(*X[~found].T, ".", color="0.6", markersize=3)
    ax.plot(*X[found].T, "x", color="C1", label="anomaly")
    ax.set_title(title)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right")
plt.show()
