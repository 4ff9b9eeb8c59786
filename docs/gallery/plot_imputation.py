"""
Fill holes in an image
======================

A mixture of small patches can be fitted to patches with missing values, and fills them by what it
expects, given the other values of the patch. Here a part of a photograph loses 40 % of its pixels
and some lines.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

here = Path(globals().get("__file__", "here")).resolve()
path = next(p for d in here.parents if (p := d / "examples/china_pixels.npz").exists())
with np.load(path) as archive:
    image = archive["X"].reshape(*archive["image_shape"], 3)[90:190, 215:345] / 255

missing = np.random.default_rng(0).random(image.shape[:2]) < 0.4
missing[::25, 20:110] = missing[10:90, 40::30] = True
holed = np.where(missing[:, :, None], np.nan, image)

# %%
# A sample is a patch of 4 × 4 pixels in three colours, and has 48 features. The patches overlap:
# they begin at even rows and columns.

windows = np.lib.stride_tricks.sliding_window_view(holed, (4, 4, 3))[::2, ::2, 0]
X = windows.reshape(-1, 48)
model = GaussianMixture(8, missing="marginalize", reg_covar=1e-4, tol=1e-2, random_state=0)
filled = model.fit(X).impute(X).reshape(windows.shape)

# %%
# Each pixel becomes the mean over the patches that contain it.

total, count = np.zeros(image.shape), np.zeros(image.shape)
for i, j in np.ndindex(filled.shape[:2]):
    place = slice(2 * i, 2 * i + 4), slice(2 * j, 2 * j + 4)
    total[place] += filled[i, j]
    count[place] += 1
restored = total / count
for name, guess in (("their mean", np.nanmean(holed, axis=(0, 1))), ("the mixture", restored)):
    error = np.sqrt(np.mean((guess - image)[missing] ** 2))
    print(f"missing pixels filled by {name}: error of {255 * error:.1f} grey levels")

figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
titles = ("with holes", "filled", "original")
pictures = (np.where(missing[:, :, None], 0, image), restored, image)
for ax, title, picture in zip(axes, titles, pictures, strict=True):
    ax.imshow(picture.clip(0, 1))
    ax.set_title(title)
    ax.set_axis_off()
plt.show()
