"""
BIC and ICL over fourteen models
================================

:func:`gmm_core.select` fits mixtures of several covariance types and numbers of components, and
keeps the one with the lowest criterion. Here it compares the fourteen models of mclust on the
eruptions of Old Faithful. ICL adds to BIC a penalty for components that overlap: it prefers two
separate clusters, where BIC describes the density a little better by three components.
"""

from operator import attrgetter
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import select
from gmm_core.plot import plot_selection

here = Path(globals().get("__file__", "here")).resolve()
path = next(p for d in here.parents if (p := d / "examples/old_faithful.csv").exists())
X = np.loadtxt(path, delimiter=",", skiprows=1)

# %%
# Each fit gives both criteria. Starts by hierarchical clustering are those of mclust.

params = {"init_params": "hierarchical", "tol": 1e-6, "max_iter": 5000}
selection = select(X, range(1, 8), "all", **params)
for criterion in ("bic", "icl"):
    best = sorted(selection.table, key=attrgetter(criterion))[:3]
    values = ", ".join(
        f"{row.covariance_type} with {row.n_components} ({getattr(row, criterion):.1f})"
        for row in best
    )
    print(f"lowest {criterion.upper()}: {values}")

# %%
# A circle is around the lowest value. The spherical models, EII and VII, lie above the panels:
# the two features have different units.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), sharey=True, layout="constrained")
for ax, criterion in zip(axes, ("bic", "icl"), strict=True):
    plot_selection(selection.table, criterion, ax)
    ax.get_legend().remove()
    best = min(selection.table, key=attrgetter(criterion))
    ax.plot(best.n_components, getattr(best, criterion), "ko", markersize=14, mfc="none")
    ax.set(xlabel="number of components", ylim=(2300, 2620))
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right", title="model")
plt.show()
