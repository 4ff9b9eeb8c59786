"""
A program for scikit-learn, with and without the patch
======================================================

The function below stands for a library that uses ``sklearn.mixture`` and cannot be changed. It
chooses a number of components by BIC. ``patch_sklearn`` puts the mixtures of gmm_core in the place
of scikit-learn's, and ``unpatch_sklearn`` puts these back.
"""

from time import process_time

import numpy as np
from matplotlib import pyplot as plt
from threadpoolctl import threadpool_limits

from gmm_core import patch_sklearn, unpatch_sklearn

rng = np.random.default_rng(0)
centres = np.array([[0, 0], [4, 0], [2, 4], [6, 5]])
X = centres[rng.integers(4, size=2000)] + rng.normal(size=(2000, 2)) @ [[1.0, 0.5], [0.0, 0.7]]


def curve_of_library(X, numbers):
    """Return the BIC of each number of components."""
    from sklearn.mixture import GaussianMixture

    return [GaussianMixture(k, random_state=0).fit(X).bic(X) for k in numbers]


# %%
# Both run on one thread, one after the other. The times are those of the processor.

numbers = range(1, 9)
curves, seconds = {}, {}
with threadpool_limits(1):
    for name, switch in {"scikit-learn": unpatch_sklearn, "gmm_core": patch_sklearn}.items():
        switch()
        curve_of_library(X[:100], [2])  # imports do not count
        start = process_time()
        curves[name] = curve_of_library(X, numbers)
        seconds[name] = process_time() - start
unpatch_sklearn()
for name, bic in curves.items():
    print(f"{name}: the smallest BIC has {numbers[int(np.argmin(bic))]} components")

# %%
# The curves may part where the starts, which are drawn at random, lead to other local optima.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for (name, bic), marker in zip(curves.items(), "o.", strict=True):
    left.plot(numbers, bic, f"{marker}-", label=name, ms=9 if marker == "o" else 6)
    right.bar_label(right.barh(name, seconds[name]), fmt="%.2f s", padding=3)
left.set(xlabel="components", ylabel="BIC")
left.legend()
right.set(xlabel="CPU seconds for all fits")
right.invert_yaxis()
right.margins(x=0.2)
plt.show()
