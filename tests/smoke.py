"""Test an installed wheel on any machine. cibuildwheel runs this with NumPy alone, without test tools."""

import platform
import sys
import warnings
from pathlib import Path

import numpy as np

import gmm_core

EXAMPLES = Path(__file__).parents[1] / "examples"
# the maxima for two components, which R's mclust finds, too
LOG_LIKELIHOOD = {"full": -1130.264, "tied": -1140.187, "diag": -1147.806, "spherical": -1709.529}

info = gmm_core.build_info()
print(info)
geyser = np.loadtxt(EXAMPLES / "old_faithful.csv", delimiter=",", skiprows=1)
# these are enough samples for two threads
pixels = np.load(EXAMPLES / "china_pixels.npz")["X"].astype(np.float32)
warnings.filterwarnings("ignore", "Best performing initialization did not converge")


def fit(X, K, **params):
    return gmm_core.GaussianMixture(K, random_state=0, **params).fit(X)


for covariance_type, expected in LOG_LIKELIHOOD.items():
    model = fit(geyser, 2, covariance_type=covariance_type, tol=1e-6, max_iter=1000)
    assert abs(model.score(geyser) * len(geyser) - expected) < 0.01, covariance_type
    one, two = (
        vars(fit(pixels, 4, covariance_type=covariance_type, max_iter=5, n_threads=n))
        for n in (1, 2)
    )
    for name in one.keys() - {"n_threads"}:
        assert np.array_equal(one[name], two[name]), (covariance_type, name)

compiler = str(info["compiler"]).split()[0]
if platform.machine() in ("x86_64", "AMD64") and compiler in ("gcc", "clang"):
    assert len(info["isa_built"]) > 1, "kernels for the compiler's baseline alone"

installed = {
    name.partition(".")[0]
    for name, module in sys.modules.items()
    if "site-packages" in (getattr(module, "__file__", None) or "")
}
# names with an underscore belong to modules that an environment loads into every process
assert {name for name in installed if name[0] != "_"} == {"numpy", "gmm_core"}, installed
