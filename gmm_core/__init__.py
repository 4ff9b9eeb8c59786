"""Gaussian mixtures by expectation-maximisation, with compiled kernels.

`GaussianMixture` is the estimator, with scikit-learn's interface. The functions are the steps of EM
for one's own loops, and `Statistics` holds the sums that they exchange. `reference` has the same
steps in plain NumPy. `gmm_core.dask` has the estimator for Dask collections, and `gmm_core.plot`
draws models.
"""

try:
    from gmm_core._build_config import VERSION as __version__
except ImportError as error:
    raise ImportError(
        "Python has found the source folder of gmm_core, which is not compiled. Install gmm_core "
        "with `pip install .`, and import it in another directory."
    ) from error

import importlib
from typing import TYPE_CHECKING, Any

from gmm_core import reference
from gmm_core.bayesian import BayesianGaussianMixture
from gmm_core.core.errors import (
    ConvergenceWarning,
    IllDefinedCovarianceError,
    InvalidParameterError,
    NoDensityError,
    NotFittedError,
    NumericalError,
)
from gmm_core.core.info import build_info, get_include
from gmm_core.distribution import mix
from gmm_core.fit.watching import FitState
from gmm_core.functions import (
    accumulate,
    expectation_step,
    log_density,
    maximization_step,
    responsibilities,
    sufficient_statistics,
)
from gmm_core.io import old_pickles
from gmm_core.mixture import GaussianMixture
from gmm_core.model.statistics import Statistics
from gmm_core.selection import Selection, select

if TYPE_CHECKING:
    from gmm_core.classification import GaussianMixtureClassifier
    from gmm_core.outliers import GaussianMixtureOutlierDetector
    from gmm_core.progress import ProgressBar
    from gmm_core.regression import GaussianMixtureRegressor
    from gmm_core.sklearn_patch import patch_sklearn, unpatch_sklearn
    from gmm_core.uncertainty import Bootstrap, LikelihoodRatioTests, bootstrap, bootstrap_lrt

old_pickles.register()

# These names are imported from their modules when they are first used: not all programs need them.
_MODULES = {
    "Bootstrap": "uncertainty",
    "GaussianMixtureClassifier": "classification",
    "GaussianMixtureOutlierDetector": "outliers",
    "GaussianMixtureRegressor": "regression",
    "LikelihoodRatioTests": "uncertainty",
    "ProgressBar": "progress",
    "bootstrap": "uncertainty",
    "bootstrap_lrt": "uncertainty",
    "patch_sklearn": "sklearn_patch",
    "unpatch_sklearn": "sklearn_patch",
}


def __getattr__(name: str) -> Any:
    """Import what `_MODULES` names."""
    if name not in _MODULES:
        raise AttributeError(f"module 'gmm_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gmm_core.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the module, with those that are not imported yet."""
    return sorted({*globals(), *_MODULES})

__all__ = [
    "BayesianGaussianMixture",
    "Bootstrap",
    "ConvergenceWarning",
    "FitState",
    "GaussianMixture",
    "GaussianMixtureClassifier",
    "GaussianMixtureOutlierDetector",
    "GaussianMixtureRegressor",
    "IllDefinedCovarianceError",
    "InvalidParameterError",
    "LikelihoodRatioTests",
    "NoDensityError",
    "NotFittedError",
    "NumericalError",
    "ProgressBar",
    "Selection",
    "Statistics",
    "__version__",
    "accumulate",
    "bootstrap",
    "bootstrap_lrt",
    "build_info",
    "expectation_step",
    "get_include",
    "log_density",
    "maximization_step",
    "mix",
    "patch_sklearn",
    "reference",
    "responsibilities",
    "select",
    "sufficient_statistics",
    "unpatch_sklearn",
]
