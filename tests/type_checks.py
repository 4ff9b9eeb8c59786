"""What a type checker knows of the package; mypy reads this file, nobody runs it.

mypy also reports an ignored error that does not occur: each of the ignored lines has to be one.
"""

from __future__ import annotations

from typing import assert_type

import numpy as np

from gmm_core import BayesianGaussianMixture, GaussianMixture, kernels
from gmm_core.core.types import Float64Array, FloatArray, Labels
from gmm_core.fit.restarts import Restart

gm = GaussianMixture(2, covariance_type="diag")
assert_type(gm.fit(np.zeros((9, 2))), GaussianMixture)
assert_type(gm.means_, FloatArray)
assert_type(gm.covariances_, FloatArray)
assert_type(gm.predict([[0.0, 0.0]]), Labels)
assert_type(gm.predict_proba([[0.0, 0.0]]), FloatArray)
assert_type(gm.restarts_, list[Restart])
assert_type(gm.lower_bounds_, list[float])
print(gm.precision_)  # type: ignore[attr-defined]
GaussianMixture(covariance_type="diagonal")  # type: ignore[arg-type]
GaussianMixture(init_params="k-means")  # type: ignore[arg-type]
gm.covariance_type = "diagonal"  # type: ignore[assignment]
print(kernels.responsibilities)  # type: ignore[attr-defined]

bgm = BayesianGaussianMixture(n_components=2, posterior="conjugate")
assert_type(bgm.fit(np.zeros((9, 2))), BayesianGaussianMixture)
assert_type(bgm.means_, FloatArray)
assert_type(bgm.elbo_, float)
assert_type(bgm.n_components_, int)
assert_type(bgm.log_predictive([[0.0, 0.0]]), Float64Array)
assert_type(bgm.to_gaussian_mixture(), GaussianMixture)
print(bgm.bic)  # type: ignore[attr-defined]
BayesianGaussianMixture(posterior="exact")  # type: ignore[arg-type]
BayesianGaussianMixture(weight_concentration_prior_type="dirichlet")  # type: ignore[arg-type]
