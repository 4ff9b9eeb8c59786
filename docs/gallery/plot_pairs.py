"""
Pictures of a mixture
=====================

:mod:`gmm_core.plot` draws the components of a fitted model in the plane of two features, the
density of one, all pairs of several, and the responsibilities. Here are the flowers of three
species of iris, of which the mixture does not know the species.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_iris

from gmm_core import GaussianMixture
from gmm_core.plot import plot_density, plot_mixture, plot_pairs, plot_responsibilities

iris = load_iris(as_frame=True)
model = GaussianMixture(3, n_init=5, random_state=0).fit(iris.data)
print(model.summary(iris.data))

# %%
# Each panel below the diagonal has the ellipses at two standard deviations, and those on it have
# the densities of the components and their sum.

plot_pairs(model, iris.data)
plt.show()

# %%
# Two of the species overlap. The responsibilities show the flowers that could belong to either: they
# stand at the ends of the blocks.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
plot_density(model, iris.data, "petal length (cm)", bins=25, ax=axes[0])
plot_responsibilities(model, iris.data, ax=axes[1])
plt.show()

# %%
# With more than ten components, the lines are thin and each component has a colour of its own.

rng = np.random.default_rng(0)
angle = rng.uniform(0, 14, 20_000)
spiral = np.column_stack([angle * np.cos(angle), angle * np.sin(angle)])
spiral += rng.normal(0, 0.5, spiral.shape)
many = GaussianMixture(60, random_state=0).fit(spiral)
ax = plot_mixture(many, spiral, n_std=[2])
ax.set_aspect("equal")
plt.show()
