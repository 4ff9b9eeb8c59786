"""
Replace a million samples by weighted bins
==========================================

A sample of weight 2 counts as two samples. A large sample can therefore be replaced by the counts
of a histogram: the centres of the bins are the samples, and the counts their weights.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

rng = np.random.default_rng(0)
means = np.array([[0.0, 0], [4, 1], [1, 4]])
factors = np.array([[[1, 0], [0.5, 0.7]], [[0.6, 0], [-0.4, 0.9]], [[1.2, 0], [0.4, 0.4]]])
labels = rng.choice(3, p=[0.5, 0.3, 0.2], size=1_000_000)
X = rng.normal(size=(len(labels), 2))
X = means[labels] + np.einsum("nij,nj->ni", factors[labels], X)

# %%
# Bins of a width of 0.2 are narrow enough here. Those without samples are left out.

counts, x, y = np.histogram2d(*X.T, bins=[np.arange(-6, 9, 0.2)] * 2)
grid = np.meshgrid((x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2, indexing="ij")
centres = np.stack([c[counts > 0] for c in grid], axis=1)
weights = counts[counts > 0]

# %%
# Both fits begin at the same means.

params = {"n_components": 3, "means_init": means + 0.5, "tol": 1e-6, "random_state": 0}
of_samples = GaussianMixture(**params).fit(X)
of_counts = GaussianMixture(**params).fit(centres, sample_weight=weights)
difference = abs(of_samples.means_ - of_counts.means_).max()
print(f"{len(X)} samples became {len(centres)}; the means differ by at most {difference:.4f}")

# %%
# The ellipses of two standard deviations lie upon each other.

angle = np.linspace(0, 2 * np.pi, 100)
circle = np.stack([np.cos(angle), np.sin(angle)])
figure, ax = plt.subplots(figsize=(7, 5), layout="constrained")
mesh = ax.pcolormesh(x, y, np.where(counts > 0, counts, np.nan).T, cmap="Greys", norm="log")
figure.colorbar(mesh, label="weight: samples in the bin")
for k in range(3):
    for model, style, width in ((of_samples, "C0-", 5), (of_counts, "C1--", 2)):
        ellipse = 2 * np.linalg.cholesky(model.covariances_[k]) @ circle
        ax.plot(*(model.means_[k][:, None] + ellipse), style, linewidth=width)
ax.plot([], [], "C0-", linewidth=5, label="fit to all samples")
ax.plot([], [], "C1--", linewidth=2, label="fit to the weighted bins")
ax.legend(loc="upper right")
plt.show()
