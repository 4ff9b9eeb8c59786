"""
float32 far from zero
=====================

A runtime for small devices often computes in float32. The graph that ``to_onnx`` makes subtracts
the means before it squares, in two steps, so that it loses no digits where the data lie far from
zero. The usual way is to expand the square and to subtract products.
"""

import numpy as np
from matplotlib import pyplot as plt
from onnx.reference import ReferenceEvaluator

from gmm_core import GaussianMixture

rng = np.random.default_rng(0)
clusters = rng.normal(size=(500, 3)) + 4 * rng.integers(3, size=(500, 1))


def scores_by_products(X, model):
    """Return log p(x) in float32, with the products Uᵀx and Uᵀμ computed apart."""
    U, means = model.precisions_cholesky_.astype(np.float32), model.means_.astype(np.float32)
    y = np.einsum("nd,kde->nke", X, U) - np.einsum("kd,kde->ke", means, U)
    log_det = np.log(np.einsum("kdd->kd", U)).sum(axis=1)
    constant = np.log(model.weights_) + log_det - 1.5 * np.log(2 * np.pi)
    return np.logaddexp.reduce(constant - 0.5 * (y * y).sum(axis=2), axis=1)


# %%
# The data are moved away from zero, in float32. The exact scores are those of the same numbers in
# float64. ONNX's own reference implementation evaluates the graph.

distances = 10.0 ** np.arange(7)
errors = {"to_onnx": [], "subtracted products": []}
for distance in distances:
    X = (clusters + distance).astype(np.float32)
    model = GaussianMixture(3, random_state=0).fit(X.astype(np.float64))
    exact = model.score_samples(X.astype(np.float64))
    graph = ReferenceEvaluator(model.to_onnx(dtype="float32"))
    errors["to_onnx"].append(abs(graph.run(["score_samples"], {"X": X})[0] - exact).max())
    errors["subtracted products"].append(abs(scores_by_products(X, model) - exact).max())
print("the error of to_onnx is below 1e-5 at all distances:", max(errors["to_onnx"]) < 1e-5)

# %%

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for (name, values), marker in zip(errors.items(), "os", strict=True):
    ax.loglog(distances, values, f"{marker}-", label=name)
ax.set(xlabel="distance of the data from zero, in standard deviations",
       ylabel="largest error of log p(x) [nats]")  # fmt: skip
ax.legend()
plt.show()
