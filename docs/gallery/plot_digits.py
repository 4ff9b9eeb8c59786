"""
Draw new digits
===============

A mixture is a model of the density, from which new samples can be drawn. Here it is fitted to the
handwritten digits of scikit-learn, images of 8 × 8 pixels. No label is used.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from gmm_core import GaussianMixture

X = load_digits().data  # (1797, 64), values from 0 to 16

# %%
# Each of the 20 components has some 90 samples for 64 features. Without a large regularisation,
# its covariance would be almost singular. Some pixels are empty in all images.

model = GaussianMixture(20, reg_covar=0.3, random_state=0).fit(X)
drawn, labels = model.sample(500)
print(f"{model.n_iter_} iterations; {len(np.unique(labels))} components in 500 draws")

# %%
# ``sample`` returns the draws sorted by component. Each column shows the mean of a component, and
# five draws from it.

columns = []
for k in range(20):
    images = [model.means_[k], *drawn[labels == k][:5]]
    columns.append(np.vstack([np.pad(image.reshape(8, 8), 1) for image in images]))
figure, ax = plt.subplots(figsize=(10, 3.2), layout="constrained")
ax.imshow(np.hstack(columns), cmap="gray_r", vmin=0, vmax=16)
ax.axhline(9.5, color="C0")
ax.set(xticks=[], yticks=[4.5, 34.5], yticklabels=["mean", "draws"])
ax.tick_params(length=0)
plt.show()
