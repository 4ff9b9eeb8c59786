"""
What a mixture learns from patches of a photograph
==================================================

A mixture is fitted to patches of 8 × 8 pixels, without their mean grey. The eigenvectors of a
covariance are images: the directions in which the patches of this component vary most. Components
specialise in edges of one orientation, in textures, and in smooth regions.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

here = Path(globals().get("__file__", "here")).resolve()
path = next(p for d in here.parents if (p := d / "examples/china_pixels.npz").exists())
with np.load(path) as archive:
    image = archive["X"].reshape(*archive["image_shape"], 3).mean(axis=2)

# %%
# Patches begin at every fifth row and column. Their mean is subtracted, and the regularisation of
# one squared grey level replaces the variance that this removes.

X = np.lib.stride_tricks.sliding_window_view(image, (8, 8))[::5, ::5].reshape(-1, 64)
X = X - X.mean(axis=1, keepdims=True)
model = GaussianMixture(8, reg_covar=1.0, tol=1e-2, random_state=0).fit(X)
print(f"{len(X)} patches, {model.n_iter_} iterations")

# %%
# Each row is a component, ordered by the variance of its patches. It shows three patches, and the
# seven eigenvectors with the largest eigenvalues.

labels = model.predict(X)
variance = np.trace(model.covariances_, axis1=1, axis2=2)
figure, axes = plt.subplots(8, 1, figsize=(8, 6.6), layout="constrained")
for ax, k in zip(axes, np.argsort(variance), strict=True):
    eigenvectors = np.linalg.eigh(model.covariances_[k])[1].T[::-1]
    examples = X[labels == k]
    images = [*examples[:: len(examples) // 3][:3], *eigenvectors[:7]]
    tiles = [np.pad((v / abs(v).max()).reshape(8, 8), 1, constant_values=np.nan) for v in images]
    ax.imshow(np.hstack(tiles), cmap="gray", vmin=-1, vmax=1)
    ax.axvline(29.5, color="C0")
    ax.set(xticks=[], yticks=[], ylabel=f"{model.weights_[k]:.0%}")
axes[0].set_title("three patches and seven eigenvectors")
plt.show()
