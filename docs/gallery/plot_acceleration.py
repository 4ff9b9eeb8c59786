"""
Passes to convergence
=====================

EM is slow where components overlap. With ``acceleration``, a fit extrapolates from the steps of
EM and keeps what it finds only if the log-likelihood has not fallen. An iteration remains one
pass over the data, and the fit takes fewer of them.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

rng = np.random.default_rng(0)
centres = np.array([[0, 0], [1.8, 0], [0, 1.8]])
X = centres[rng.integers(3, size=2000)] + rng.normal(size=(2000, 2))

# %%
# All fits begin at the same mixture, and stop when a step of EM changes the mean log-likelihood
# by less than 1e-9.

models = {}
for acceleration in (None, "squarem", "lbfgs"):
    model = GaussianMixture(
        3, acceleration=acceleration, tol=1e-9, max_iter=10_000, random_state=0
    ).fit(X)
    models[str(acceleration)] = model
    print(f"acceleration={acceleration}: {model.n_iter_} passes, {model.lower_bound_:.6f}")

# %%
# The curves show the distance of the mean log-likelihood from the highest one that was found.

highest = max(model.lower_bound_ for model in models.values())
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for k, ((name, model), line) in enumerate(zip(models.items(), ("-", "--", "-."), strict=True)):
    gap = np.maximum(highest - np.array(model.lower_bounds_), 1e-12)
    left.loglog(np.arange(1, len(gap) + 1), gap, f"C{k}{line}", label=name)
    bar = right.barh(name, model.n_iter_, color=f"C{k}")
    right.bar_label(bar, padding=3)
left.set(xlabel="passes over the data", ylabel="distance [nats per sample]")
left.legend(title="acceleration")
right.set(xlabel="passes to convergence", ylabel="acceleration")
right.invert_yaxis()
right.margins(x=0.12)
plt.show()
