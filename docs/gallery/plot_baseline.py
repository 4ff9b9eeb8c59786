"""
The NumPy baseline beside the kernels
=====================================

``gmm_core.reference`` has EM in plain NumPy, written like a textbook. A bar shows how many
times as long its iteration takes as one of the compiled kernels. Both have one thread. The ratios
were measured when this page was built, and differ between machines.
"""

from time import thread_time

import numpy as np
from matplotlib import pyplot as plt
from threadpoolctl import threadpool_limits

from gmm_core import accumulate, maximization_step, reference

TYPES = ("full", "tied", "diag", "spherical")
SHAPES = ((20_000, 2), (10_000, 8), (4_000, 32))
K = 8

# %%
# An iteration is an E-step and an M-step of eight components. Both sides begin at the same
# mixture, take turns, and find the same means. The ratio is that of the medians of five
# iterations.


def ratio_of(X, name):
    """Return the CPU time of NumPy divided by that of the kernels."""
    D = X.shape[1]
    factors = {"full": np.stack([np.eye(D)] * K), "tied": np.eye(D), "diag": np.ones((K, D))}
    mixture = np.full(K, 1 / K), X[:K], factors.get(name, np.ones(K)), name
    times = []
    for _ in range(5):
        start = thread_time()
        responsibilities = reference.expectation_step(X, *mixture)[1]
        by_numpy = reference.maximization_step(X, responsibilities, name)
        middle = thread_time()
        by_kernels = maximization_step(accumulate(X, *mixture, n_threads=1), n_threads=1)
        times.append((middle - start, thread_time() - middle))
    assert np.allclose(by_numpy[1], by_kernels.means)
    numpy, kernels = np.median(times, axis=0)
    return numpy / kernels


rng = np.random.default_rng(0)
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for i, (n, d) in enumerate(SHAPES):
    X = rng.normal(size=(n, d)) + rng.normal(size=(K, d))[rng.integers(K, size=n)]
    with threadpool_limits(1):  # for the matrix products of NumPy
        ratios = [ratio_of(X, name) for name in TYPES]
    places = np.arange(4) + 0.28 * (i - 1)
    bars = ax.bar(places, ratios, 0.26, label=f"{n:,} × {d}")
    ax.bar_label(bars, fmt="%.0f")
ax.margins(y=0.1)
ax.axhline(1, color="black", linewidth=1)
ax.set(xticks=range(4), xticklabels=TYPES, ylabel="time of NumPy / time of the kernels")
figure.legend(loc="outside upper center", ncols=3, title="samples × features")
plt.show()
