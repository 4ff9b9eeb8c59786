"""
Marginals, conditionals and regions
===================================

A fitted mixture is a probability distribution. Its marginal and conditional distributions are
mixtures, too. Those of one feature have quantiles, intervals and regions.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

here = Path(globals().get("__file__", "here")).resolve()
path = next(p for d in here.parents if (p := d / "examples/old_faithful.csv").exists())
X = np.loadtxt(path, delimiter=",", skiprows=1)  # the eruption, and the waiting time after it
model = GaussianMixture(2, random_state=0).fit(X)

region = model.condition({1: 67}).highest_density_region(0.8)
parts = " or ".join(f"{low:.1f} to {high:.1f}" for low, high in region.intervals)
print(f"before 67 min of waiting, an eruption took {parts} min (80 %)")

# %%
# The left panel shows the smallest regions that hold 50 %, 80 % and 95 %, with the marginals at its
# sides. The right panel shows how long the eruption was, given the waiting time after it. The
# filled regions hold 80 %. After 67 minutes the region consists of two intervals, and leaves out
# the times between, which the interval with equal tails (the bar) contains.

places = [["x", ".", "given"], ["joint", "y", "given"]]
sizes = {"width_ratios": [3, 1, 3], "height_ratios": [1, 3]}
figure, ax = plt.subplot_mosaic(places, figsize=(10, 5), layout="constrained", gridspec_kw=sizes)
x, y = np.linspace(1, 6, 400), np.linspace(38, 102, 400)
levels = [model.highest_density_region(p).log_density for p in (0.95, 0.8, 0.5)]
joint = model.score_samples(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(400, 400)
ax["joint"].contourf(x, y, joint, [*levels, np.inf], colors=["#d6e6f4", "#abd0e6", "#6aaed6"])
ax["joint"].plot(*X.T, ".", color="black", markersize=3)
ax["joint"].set(xlabel="eruption [min]", ylabel="waiting time [min]")
ax["x"].plot(x, np.exp(model.marginal(0).score_samples(x[:, None])))
ax["y"].plot(np.exp(model.marginal(1).score_samples(y[:, None])), y)
ax["x"].set(xlim=ax["joint"].get_xlim(), xticks=[], yticks=[])
ax["y"].set(ylim=ax["joint"].get_ylim(), xticks=[], yticks=[])

for row, waiting in enumerate((50, 62, 67, 72, 85)):
    eruption, color = model.condition({1: waiting}), f"C{row}"
    log_density = eruption.score_samples(x[:, None])
    inside = log_density >= eruption.highest_density_region(0.8).log_density
    top = row + 0.45 * np.exp(log_density)
    ax["given"].plot(x, top, color=color)
    ax["given"].fill_between(x, row, top, where=inside, color=color, alpha=0.4)
    ax["given"].plot(eruption.interval(0.8), [row - 0.06] * 2, color=color, linewidth=3)
    ax["given"].text(5.9, row + 0.1, f"{waiting} min", horizontalalignment="right")
ax["given"].set(xlabel="eruption [min], given the waiting time after it", yticks=[])
plt.show()
