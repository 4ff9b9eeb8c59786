"""The modules and classes that pickles of version 0.1 refer to, and that have moved since.

Reading a pickle imports `gmm_core` first, which registers these modules. Nothing else uses them.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from gmm_core.core.types import CovarianceName, Float64Array
from gmm_core.fit.restarts import Restart
from gmm_core.fit.stream import Collected, Position
from gmm_core.model.parameters import Mixture, Prepared
from gmm_core.model.statistics import Statistics


class Parameters:
    """The class of mixtures in version 0.1, whose constructor returns a `Mixture`."""

    def __new__(  # type: ignore[misc]  # noqa: D102
        cls,
        weights: Float64Array,
        means: Float64Array,
        covariances: Float64Array,
        precisions_cholesky: Float64Array,
        log_constant: Float64Array,
        covariance_type: CovarianceName,
    ) -> Mixture:
        prepared = Prepared(weights, means, precisions_cholesky, log_constant, covariance_type)
        return Mixture(weights, means, covariances, prepared)


class Stream:
    """The class of the state of a stream in version 0.1, whose constructor returns a `Position`."""

    def __new__(cls, *fields: Any) -> Position:  # type: ignore[misc]  # noqa: D102
        return Position(*fields)


_CLASSES: dict[str, tuple[type, ...]] = {
    "_streaming": (Stream,),
    "parameters": (Parameters,),
    "restarts": (Restart,),
    "statistics": (Statistics,),
    "stepwise": (Collected, Stream),
}


def register() -> None:
    """Make the old modules importable under their old names."""
    for module_name, classes in _CLASSES.items():
        module = ModuleType(f"gmm_core.{module_name}", __doc__)
        module.__spec__ = ModuleSpec(module.__name__, loader=None)
        vars(module).update({cls.__name__: cls for cls in classes})
        sys.modules[module.__name__] = module
