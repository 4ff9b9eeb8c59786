"""
Classify with a mixture for each class
======================================

Each class has a density of its own: a single Gaussian in linear and quadratic discriminant
analysis, and a mixture where one Gaussian does not fit. The number of components of each class is
the one with the lowest BIC.
"""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

from gmm_core import GaussianMixtureClassifier

rng = np.random.default_rng(0)
t = np.sort(rng.uniform(0, np.pi, (2, 300)))
arcs = np.concatenate([
    np.column_stack([np.cos(t[0]), np.sin(t[0])]),
    np.column_stack([1 - np.cos(t[1]), 0.45 - np.sin(t[1])]),
    rng.normal(size=(200, 2)) * 0.5 + [2.6, 1.2],
])  # fmt: skip
X = arcs + 0.15 * rng.normal(size=arcs.shape)
y = np.repeat([0, 1, 2], [300, 300, 200])
held_out = rng.random(len(X)) < 0.3

# %%
# EDDA is mclust's analysis with one component for each class. ``"tied"`` makes it linear. The
# mixtures have between one and six components.

classifiers = {
    "one Gaussian each, tied": GaussianMixtureClassifier(method="EDDA", covariance_type="tied"),
    "one Gaussian each": GaussianMixtureClassifier(),
    "mixtures": GaussianMixtureClassifier(range(1, 7), random_state=0),
}
for name, model in classifiers.items():
    model.fit(X[~held_out], y[~held_out])
    counts = [mixture.n_components for mixture in model.mixtures_]
    score = model.score(X[held_out], y[held_out])
    print(f"{name}: {counts} components, accuracy {score:.3f}, BIC {model.bic_:.0f}")

# %%
# The shade is the probability of the most probable class.

colors = ["C0", "C1", "C2"]
x1, x2 = np.linspace(-1.7, 4.2, 240), np.linspace(-1.2, 2.8, 160)
grid = np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)
figure, axes = plt.subplots(1, 3, figsize=(11, 3), sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, classifiers.items(), strict=True):
    probabilities = model.predict_proba(grid).reshape(160, 240, 3)
    winner = probabilities.argmax(axis=2)
    shade = 0.5 * (probabilities.max(axis=2) - 1 / 3) / (1 - 1 / 3)
    extent = (x1[0], x1[-1], x2[0], x2[-1])
    ax.imshow(winner, cmap=ListedColormap(colors), vmin=0, vmax=2, alpha=shade, extent=extent,
              origin="lower", aspect="auto", interpolation="nearest")  # fmt: skip
    for c, color in enumerate(colors):
        ax.plot(*X[y == c].T, ".", color=color, markersize=2.5)
    ax.set(title=name, xlim=extent[:2], ylim=extent[2:])
plt.show()
