"""Information about this build of gmm_core."""

from __future__ import annotations

from pathlib import Path

from gmm_core._build_config import CHECKS, COMPILER, LEVELS, OPENMP, VERSION
from gmm_core.core import dispatch
from gmm_core.core.threads import effective_n_threads


def build_info() -> dict[str, object]:
    """Describe the compiled core, for bug reports and benchmarks.

    Returns
    -------
    dict
        `version` and `compiler`; `isa`, the instruction-set level that runs (the environment
        variable GMM_CORE_ISA forces one); `isa_built`, the levels that this build contains;
        `openmp`, whether the kernels have parallel sections; `n_threads`, the number of threads
        that ``n_threads=None`` means at present; `checks`, whether this is a debug build with
        bounds checks.

    Examples
    --------
    >>> from gmm_core import build_info
    >>> sorted(build_info())
    ['checks', 'compiler', 'isa', 'isa_built', 'n_threads', 'openmp', 'version']
    """
    return {
        "version": VERSION,
        "compiler": COMPILER,
        "isa": dispatch.LEVEL,
        "isa_built": LEVELS,
        "openmp": OPENMP,
        "n_threads": effective_n_threads(),
        "checks": CHECKS,
    }


def get_include() -> str:
    """Return the folder of gmm_core.h, by which C and C++ call the kernels."""
    return str(Path(__file__).parents[1] / "include")
