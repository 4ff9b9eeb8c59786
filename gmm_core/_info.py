"""What this copy of gmm_core is."""

from __future__ import annotations

from pathlib import Path

from gmm_core import _build_config, _dispatch
from gmm_core._threads import effective_n_threads


def build_info() -> dict[str, object]:
    """Describe the compiled core, for bug reports and benchmarks.

    Returns
    -------
    dict
        version, compiler; isa: the instruction-set level that runs (the environment variable
        GMM_CORE_ISA forces one); isa_built: those there are; openmp: whether there are parallel
        sections at all; n_threads: how many threads n_threads=None means here and now; checks:
        whether it is a debug build with bounds checks.
    """
    return {
        "version": _build_config.VERSION,
        "compiler": _build_config.COMPILER,
        "isa": _dispatch.LEVEL,
        "isa_built": _build_config.LEVELS,
        "openmp": _build_config.OPENMP,
        "n_threads": effective_n_threads(),
        "checks": _build_config.CHECKS,
    }


def get_include() -> str:
    """Folder of gmm_core.h, by which C and C++ call the kernels."""
    return str(Path(__file__).parent / "include")
