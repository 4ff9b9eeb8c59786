"""
Segment a photograph by colour
==============================

Each pixel of a photograph is a sample of three features: red, green and blue. A mixture of twelve
components is fitted to all 273,280 pixels, and each pixel is painted with the mean of its
component.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

here = Path(globals().get("__file__", "here")).resolve()
path = next(p for d in here.parents if (p := d / "examples/china_pixels.npz").exists())
with np.load(path) as archive:
    X, (height, width) = archive["X"].astype(np.float32), archive["image_shape"]

# %%
# Colours are whole numbers from 0 to 255. A regularisation of one squared grey level keeps a
# component from shrinking onto a single colour.

model = GaussianMixture(12, reg_covar=1.0, random_state=0)
labels = model.fit_predict(X)
order = np.argsort(model.means_.sum(axis=1))  # from dark to bright
colours = model.means_.round().clip(0, 255).astype(np.uint8)
for k in order[::-1]:
    print(f"{model.weights_[k]:4.0%} of the pixels have the mean colour {colours[k]}")

# %%
# The bar below the pictures shows the twelve colours. Their widths are the weights of the
# components.

figure, axes = plt.subplot_mosaic(
    "ab;cc", figsize=(10, 4.2), height_ratios=[8, 1], layout="constrained"
)
axes["a"].imshow(X.reshape(height, width, 3).astype(np.uint8))
axes["a"].set_title("photograph")
axes["b"].imshow(colours[labels].reshape(height, width, 3))
axes["b"].set_title("means of the components")
ends = np.cumsum(model.weights_[order])
axes["c"].barh(0, -model.weights_[order], left=ends, color=colours[order] / 255)
axes["c"].set(xlim=(0, 1))
for ax in axes.values():
    ax.set_axis_off()
plt.show()
