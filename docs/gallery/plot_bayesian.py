"""
A Bayesian mixture that empties components
==========================================

The number of components of a Bayesian mixture is only an upper bound. With a small concentration
of the weights, components that the data do not need lose their samples. Ten components are fitted
to three groups, by maximum likelihood and with a prior.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import BayesianGaussianMixture, GaussianMixture

rng = np.random.default_rng(0)
X = np.concatenate(
    [
        rng.normal([0, -4], [1.5, 0.6], size=(100, 2)),
        rng.normal([0, 0], [1.5, 0.6], size=(300, 2)),
        rng.normal([0, 4], [1.5, 0.6], size=(100, 2)),
    ]
)
ordinary = GaussianMixture(10, max_iter=500, random_state=0).fit(X)
bayesian = BayesianGaussianMixture(
    n_components=10,
    weight_concentration_prior=1e-3,
    posterior="conjugate",
    max_iter=2000,
    random_state=0,
).fit(X)
print(f"the Bayesian mixture keeps {bayesian.n_components_} of 10 components")

# %%
# The ellipses are at two standard deviations, for components with a weight of more than 0.01.

angle = np.linspace(0, 2 * np.pi, 100)
circle = np.stack([np.cos(angle), np.sin(angle)])
figure, axes = plt.subplots(2, 2, figsize=(9, 6), height_ratios=[3, 1], layout="constrained")
panels = (("maximum likelihood", ordinary), ("Bayesian mixture", bayesian))
for (above, below), (title, model) in zip(axes.T, panels, strict=True):
    above.plot(*X.T, ".", color="0.7", markersize=3)
    for k in np.flatnonzero(model.weights_ > 0.01):
        factor = np.linalg.cholesky(model.covariances_[k])
        above.plot(*(model.means_[k][:, None] + 2 * factor @ circle), color="C0")
    above.set(title=title, xticks=[], yticks=[])
    below.bar(np.arange(1, 11), np.sort(model.weights_)[::-1], color="C0")
    below.set(xlabel="component", xticks=range(1, 11), ylabel="weight", ylim=(0, 0.7))
plt.show()
