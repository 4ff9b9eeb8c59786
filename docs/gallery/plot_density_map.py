"""
Map the density of a raster into a file
=======================================

A raster of 900 × 1200 pixels need not be in memory as a table of samples. The mixture is fitted
to one pixel in a hundred, and ``score_samples`` then takes the raster as batches of 50 rows, each
made when it is needed. With ``out`` the log-densities go into a file, of which a map is returned.
"""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

HEIGHT, WIDTH = 900, 1200
SPOTS = (0.3, 0.25, 0.012), (0.72, 0.55, 0.02), (0.45, 1.1, 0.03)
rng = np.random.default_rng(0)
waves = rng.normal(size=(24, 2)) * 9, rng.uniform(0, 7, 24), rng.normal(size=(2, 24)) / 3


def bands(start, stop=None, step=1):
    """Return three bands of some rows of the raster. The third one follows from the others."""
    y, x = np.mgrid[start : stop or start + 50 : step, 0:WIDTH:step] / HEIGHT
    frequencies, phases, weights = waves
    angles = np.multiply.outer(frequencies[:, 0], x) + np.multiply.outer(frequencies[:, 1], y)
    fields = np.tensordot(weights, np.sin(angles + phases[:, None, None]), 1)
    third = 0.5 * np.sin(2 * fields[0]) - 0.4 * fields[1]
    for b, a, radius in SPOTS:
        third += 1.2 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * radius**2))
    return np.stack([*fields, third], axis=-1)


# %%
# Three spots differ from the rest in the third band, and do not catch the eye. In their place the
# density is low.

model = GaussianMixture(12, reg_covar=2e-3, random_state=0)
model.fit(bands(0, HEIGHT, 10).reshape(-1, 3))
with tempfile.TemporaryDirectory() as folder:
    batches = (bands(start).reshape(-1, 3) for start in range(0, HEIGHT, 50))
    density = model.score_samples(batches, out=Path(folder, "density.npy"))
    print(f"{type(density).__name__} of {len(density):,} log-densities")
    shown = density.reshape(HEIGHT, WIDTH)[::2, ::2].copy()
    del density

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
axes[0].imshow(np.clip(bands(0, HEIGHT, 2) / 4 + 0.5, 0, 1))
axes[0].set_title("raster, three bands as colours")
image = axes[1].imshow(shown, cmap="magma", vmin=-10)
axes[1].set_title("log-density of each pixel")
figure.colorbar(image, ax=axes[1], label="nats")
for ax in axes:
    ax.set_axis_off()
plt.show()
