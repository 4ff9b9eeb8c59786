"""
Follow a stream that drifts
===========================

``partial_fit`` learns from batches of a stream, and keeps none of them. With ``learning_decay=1``
all samples count the same, so that the model describes the mean over the past. With a
``forget_factor`` old samples lose their weight, and the model follows clusters that move.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

N_BATCHES, N_ROWS = 150, 100
rng = np.random.default_rng(0)


def true_means(time):
    """Return the means of both clusters, for times from 0 to 1."""
    angle = np.pi * time
    return np.array([[4 * np.cos(angle), 4 * np.sin(angle)], [8 + 2 * time, 6 * time]])


# %%
# A factor of 0.999 remembers about 1 / (1 − 0.999) = 1000 samples, that is ten batches.

models = {
    "learning_decay=1": GaussianMixture(2, learning_decay=1.0, random_state=0),
    "forget_factor=0.999": GaussianMixture(2, forget_factor=0.999, random_state=0),
}
paths = {name: [] for name in models}
seen = []
for time in np.linspace(0, 1, N_BATCHES):
    labels = rng.integers(2, size=N_ROWS)
    batch = true_means(time)[labels] + 0.6 * rng.normal(size=(N_ROWS, 2))
    seen.append(batch)
    for name, model in models.items():
        model.partial_fit(batch)
        paths[name].append(model.means_[np.argsort(model.means_[:, 0])])

for name, path in paths.items():
    print(f"{name}: means end at {path[-1].round(1).tolist()}")

# %%
# Dots are the samples, and the early ones are faint. Dashed lines are the true paths of the
# clusters, coloured lines those of the means of the model.

X = np.concatenate(seen)
true = np.array([true_means(time) for time in np.linspace(0, 1, N_BATCHES)])
figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, (name, path) in zip(axes, paths.items(), strict=True):
    ax.scatter(*X[::3].T, s=4, c=np.arange(len(X))[::3], cmap="Greys", vmin=-8000, vmax=40000)
    for k in range(2):
        ax.plot(*true[:, k].T, color="black", linestyle="--", label="truth" if k == 0 else None)
        ax.plot(*np.array(path)[:, k].T, color=f"C{k}", label=f"component {k + 1}")
    ax.set_title(name)
axes[0].legend(loc="upper left")
plt.show()
