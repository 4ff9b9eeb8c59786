"""
Intervals and the number of components
======================================

:func:`gmm_core.bootstrap` fits a mixture to resamples of the data, and so finds how certain its
parameters are. :func:`gmm_core.bootstrap_lrt` tests whether more components are needed.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture, bootstrap, bootstrap_lrt

here = Path(globals().get("__file__", "here")).resolve()
path = next(p for d in here.parents if (p := d / "examples/old_faithful.csv").exists())
X = np.loadtxt(path, delimiter=",", skiprows=1)

model = GaussianMixture(2, tol=1e-6, random_state=0).fit(X)
result = bootstrap(model, X, n_resamples=400, random_state=0)
for k in range(2):
    low, high = result.means.low[k, 1], result.means.high[k, 1]
    print(f"waiting time {model.means_[k, 1]:.1f} min, 95 % interval {low:.1f} to {high:.1f} min")

# %%
# Each thin ellipse is a component of the fit to one resample, at two standard deviations. The
# points in the middle are the means of all resamples.

angle = np.linspace(0, 2 * np.pi, 100)
circle = 2 * np.stack([np.cos(angle), np.sin(angle)])
figure, ax = plt.subplots(figsize=(7, 4.6), layout="constrained")
ax.plot(*X.T, ".", color="gray", alpha=0.6, markersize=4)
for k in range(2):
    means, covariances = result.means.replicates[:, k], result.covariances.replicates[:, k]
    for mean, covariance in zip(means[:60], covariances[:60], strict=True):
        ellipse = mean[:, None] + np.linalg.cholesky(covariance) @ circle
        ax.plot(*ellipse, color=f"C{k}", alpha=0.1, linewidth=0.8)
    ax.plot(*means.T, ".", color=f"C{k}", markersize=2)
ax.set(xlabel="eruption [min]", ylabel="waiting time [min]")

# %%
# Two components against one: the statistic of the data lies far outside of the distribution that
# it has in samples of one component. Three components against two: less than five in a hundred
# samples have a larger one. Four against three: the data are like samples of three components.

lrt = bootstrap_lrt(X, 5, n_resamples=99, init_params="hierarchical", random_state=0)
print(lrt)
figure, axes = plt.subplots(1, len(lrt.tests), figsize=(10, 3), layout="constrained")
for ax, test in zip(axes, lrt.tests, strict=True):
    ax.hist(test.replicates, bins=20, color="C0", alpha=0.6, label="samples of the smaller one")
    ax.axvline(test.statistic, color="C3", linewidth=2, label="data")
    K = test.n_components
    ax.set(title=f"{K} against {K + 1}: p = {test.p_value:.3f}", xlabel="−2 log λ", yticks=[])
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
plt.show()
