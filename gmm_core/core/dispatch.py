"""Choose, at import, for which instruction set the compiled kernels are loaded."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core._build_config import LEVELS
from gmm_core._cpu import supported_levels
from gmm_core.core.signatures import (
    ExpectationKernels,
    HierarchyKernels,
    KMeansKernels,
    MaximizationKernels,
    SamplingKernels,
)

VARIABLE = "GMM_CORE_ISA"  # the environment variable that forces a level


def _choose() -> str:
    """Return the highest level that the processor and this build have, or the one forced."""
    available = [level for level in supported_levels() if level in LEVELS]
    forced = os.environ.get(VARIABLE)
    if forced is None:
        return available[-1]
    if forced not in available:
        raise ImportError(
            f"{VARIABLE}={forced}, but this processor and this build of gmm_core support only "
            f"{', '.join(available)}"
        )
    return forced


LEVEL = _choose()


def _load(name: str) -> Any:
    """Import a compiled module. Its type is one of the protocols in `core/signatures.py`."""
    return importlib.import_module(f"gmm_core.{name}")


_BY_TYPE: dict[np.dtype[Any], tuple[ExpectationKernels, KMeansKernels]] = {
    np.dtype(np.float32): (_load(f"_expectation_{LEVEL}_f32"), _load(f"_kmeans_{LEVEL}_f32")),
    np.dtype(np.float64): (_load(f"_expectation_{LEVEL}_f64"), _load(f"_kmeans_{LEVEL}_f64")),
}
maximization: MaximizationKernels = _load(f"_maximization_{LEVEL}")
hierarchy: HierarchyKernels = _load(f"_hierarchy_{LEVEL}")
sampling: SamplingKernels = _load(f"_sampling_{LEVEL}")


def expectation(dtype: npt.DTypeLike) -> ExpectationKernels:
    """Return the kernels of the E-step for float32 or float64 samples: src/_expectation.pyx."""
    return _BY_TYPE[np.dtype(dtype)][0]


def kmeans(dtype: npt.DTypeLike) -> KMeansKernels:
    """Return the kernels of k-means for float32 or float64 samples: src/_kmeans.pyx."""
    return _BY_TYPE[np.dtype(dtype)][1]


def check_status(status: int) -> None:
    """Raise AssertionError if a kernel of a debug build has found that a buffer is too small."""
    if status < 0:
        raise AssertionError("a kernel was about to access memory beyond a buffer")
