"""
Covariance types side by side
=============================

The covariance type says what the covariances of the components have in common. The fewer free
parameters a type has, the less it can follow the data, and the fewer samples it needs.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

rng = np.random.default_rng(2)
factors = np.array([[[2.0, 0], [1.2, 0.5]], [[0.6, 0], [0, 1.6]], [[0.7, 0], [-0.5, 0.4]]])
X = np.concatenate([rng.normal(size=(200, 2)) @ f.T for f in factors])
X += np.repeat([[0, 0], [6, 0], [3, 4]], 200, axis=0)
angle = np.linspace(0, 2 * np.pi, 100)
circle = np.stack([np.cos(angle), np.sin(angle)])


def draw(ax, name):
    """Fit three components, and draw an ellipse of two standard deviations for each."""
    model = GaussianMixture(3, covariance_type=name, max_iter=500, random_state=0).fit(X)
    covariances = model.covariances_
    if covariances.shape == (2, 2):  # one matrix for all components
        covariances = np.stack([covariances] * 3)
    elif covariances.ndim < 3:  # variances: one a component, or one a feature and component
        covariances = covariances.reshape(3, -1, 1) * np.eye(2)
    ax.plot(*X.T, ".", color="0.7", markersize=2)
    for mean, covariance in zip(model.means_, covariances, strict=True):
        ax.plot(*(mean[:, None] + 2 * np.linalg.cholesky(covariance) @ circle), color="C0")
    ax.set(title=name, xticks=[], yticks=[], xlim=(-7, 9), ylim=(-5, 7), aspect=1)
    return model


# %%
# The four types of scikit-learn.

figure, axes = plt.subplots(2, 2, figsize=(9, 7.2), layout="constrained")
for ax, name in zip(axes.flat, ("full", "tied", "diag", "spherical"), strict=True):
    model = draw(ax, name)
    ax.set_title(f"{name}: {model.n_parameters} parameters, BIC {model.bic(X):.0f}")

# %%
# The fourteen models of mclust. The three letters are for volume, shape and orientation: E is
# equal for all components, V is variable, and I is the identity. VVV is 'full', EEE 'tied', VVI
# 'diag' and VII 'spherical'.

names = "EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV EVV VVV".split()
figure, axes = plt.subplots(3, 5, figsize=(10, 5.4), layout="constrained")
for ax, name in zip(axes.flat, names, strict=False):
    draw(ax, name)
axes[-1, -1].set_axis_off()
plt.show()
