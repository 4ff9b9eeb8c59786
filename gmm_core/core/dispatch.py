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
    RegionKernels,
    RowwiseKernels,
    SamplingKernels,
    StepwiseKernels,
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


def step_functions(level: str, suffix: str) -> tuple[object, object, object]:
    """Return capsules of the functions of a build that `StepwiseKernels.make_steps` is given."""
    e_step = _load(f"_expectation_{level}_{suffix}")._capsules()
    m_step = _load(f"_maximization_{level}")._capsules()
    return e_step["embed_mixture"], e_step["accumulate_block"], m_step["maximize"]


_BY_TYPE: dict[np.dtype[Any], tuple[ExpectationKernels, KMeansKernels, RegionKernels]] = {
    np.dtype(dtype): (
        _load(f"_expectation_{LEVEL}_{suffix}"),
        _load(f"_kmeans_{LEVEL}_{suffix}"),
        _load(f"_regions_{LEVEL}_{suffix}"),
    )
    for dtype, suffix in ((np.float32, "f32"), (np.float64, "f64"))
}
maximization: MaximizationKernels = _load(f"_maximization_{LEVEL}")
hierarchy: HierarchyKernels = _load(f"_hierarchy_{LEVEL}")
rowwise: RowwiseKernels = _load(f"_rowwise_{LEVEL}")
sampling: SamplingKernels = _load(f"_sampling_{LEVEL}")

# The kernel of stepwise EM, and the functions of other modules that it is given.
_STEPWISE: dict[np.dtype[Any], tuple[StepwiseKernels, tuple[object, object, object]]] = {
    np.dtype(dtype): (_load(f"_stepwise_{suffix}"), step_functions(LEVEL, suffix))
    for dtype, suffix in ((np.float32, "f32"), (np.float64, "f64"))
}


def expectation(dtype: npt.DTypeLike) -> ExpectationKernels:
    """Return the kernels of the E-step for float32 or float64 samples: src/_expectation.pyx."""
    return _BY_TYPE[np.dtype(dtype)][0]


def kmeans(dtype: npt.DTypeLike) -> KMeansKernels:
    """Return the kernels of k-means for float32 or float64 samples: src/_kmeans.pyx."""
    return _BY_TYPE[np.dtype(dtype)][1]


def regions(dtype: npt.DTypeLike) -> RegionKernels:
    """Return the kernels of the E-step that skips pairs: src/_regions.pyx."""
    return _BY_TYPE[np.dtype(dtype)][2]


def stepwise(
    dtype: npt.DTypeLike,
) -> tuple[StepwiseKernels, tuple[object, object, object]]:
    """Return the kernel of stepwise EM, and its last three arguments: src/_stepwise.pyx."""
    return _STEPWISE[np.dtype(dtype)]


def check_status(status: int) -> None:
    """Raise AssertionError if a kernel of a debug build has found an error of ours."""
    if status == -2:
        raise AssertionError("a kernel was about to skip a pair that counts")
    if status < 0:
        raise AssertionError("a kernel was about to access memory beyond a buffer")
