"""Gaussian mixtures by expectation-maximisation: compiled kernels, scikit-learn's interface."""

try:
    from gmm_core._build_config import VERSION as __version__
except ImportError as error:
    raise ImportError(
        "This is the source folder of gmm_core, which is not compiled: install it with "
        "`pip install .` and import it from another directory."
    ) from error

from gmm_core import reference
from gmm_core.core.errors import ConvergenceWarning, InvalidParameterError, NotFittedError
from gmm_core.core.info import build_info, get_include
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

old_pickles.register()

__all__ = [
    "ConvergenceWarning",
    "GaussianMixture",
    "InvalidParameterError",
    "NotFittedError",
    "Statistics",
    "__version__",
    "accumulate",
    "build_info",
    "expectation_step",
    "get_include",
    "log_density",
    "maximization_step",
    "reference",
    "responsibilities",
    "sufficient_statistics",
]
