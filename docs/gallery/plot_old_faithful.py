"""
Old Faithful
============

Eruptions of the geyser Old Faithful last about two or about four minutes. The longer an eruption,
the longer is the waiting time until the next one. A mixture of two components describes both kinds.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

here = Path(globals().get("__file__", "here")).resolve()
path = next(p for d in here.parents if (p := d / "examples/old_faithful.csv").exists())
X = np.loadtxt(path, delimiter=",", skiprows=1)

model = GaussianMixture(2, random_state=0).fit(X)
for weight, mean in zip(model.weights_, model.means_, strict=True):
    print(f"{weight:.0%}: eruptions of {mean[0]:.1f} min, then {mean[1]:.0f} min of waiting")

# %%
# The ellipses are at one and two standard deviations. A Cholesky factor of the covariance maps
# the unit circle to an ellipse. The right panel shows the density of the whole mixture.

angle = np.linspace(0, 2 * np.pi, 100)
circle = np.stack([np.cos(angle), np.sin(angle)])
labels = model.predict(X)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
left, right = axes
for k, (mean, covariance) in enumerate(zip(model.means_, model.covariances_, strict=True)):
    left.plot(*X[labels == k].T, ".", color=f"C{k}", alpha=0.5)
    ellipse = np.linalg.cholesky(covariance) @ circle
    for size in (1, 2):
        left.plot(*(mean[:, None] + size * ellipse), color=f"C{k}")
left.set(title="components", xlabel="eruption [min]", ylabel="waiting time [min]")

x, y = np.linspace(1.2, 5.6, 150), np.linspace(40, 100, 150)
grid = np.stack(np.meshgrid(x, y), axis=-1)
density = np.exp(model.score_samples(grid.reshape(-1, 2))).reshape(150, 150)
levels = np.linspace(0, density.max(), 13)[1:]
filled = right.contourf(x, y, density, levels, cmap="Blues", vmin=0, vmax=2 * levels[-1])
right.plot(*X.T, ".", color="black", markersize=2)
right.set(title="density", xlabel="eruption [min]")
figure.colorbar(filled, label="density [1 / min²]", format="%.3f")
plt.show()
