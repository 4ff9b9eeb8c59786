"""Information about this build of gmm_core."""

from __future__ import annotations

import os
from typing import TypedDict

from gmm_core._build_config import CHECKS, COMPILER, LEVELS, OPENMP, VERSION
from gmm_core.core import dispatch
from gmm_core.core.threads import effective_n_threads


class BuildInfo(TypedDict):
    """The dict returned by `build_info`. The docstring of that function explains the keys."""

    version: str
    compiler: str
    isa: str
    isa_built: tuple[str, ...]
    openmp: bool
    n_threads: int
    checks: bool


def build_info() -> BuildInfo:
    """Describe the compiled kernels, for bug reports and benchmarks.

    Returns
    -------
    dict
        - `version` (str): the version of gmm_core;
        - `compiler` (str): the C compiler that built the kernels, and its version;
        - `isa` (str): the instruction-set level of the kernels that run, 'base', 'v3' or 'v4'. It
          is the highest level of `isa_built` that the processor supports, unless the environment
          variable GMM_CORE_ISA forces another;
        - `isa_built` (tuple of str): the levels that this build contains;
        - `openmp` (bool): whether the kernels can use several threads;
        - `n_threads` (int): the number of threads that ``n_threads=None`` means at present;
        - `checks` (bool): whether this is a debug build, which checks the bounds of arrays.

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
    """Return the folder of the header gmm_core.h, with which C and C++ call the kernels.

    Returns
    -------
    folder : str
        The absolute path of the folder, in the installed package.

    Examples
    --------
    >>> import pathlib
    >>> from gmm_core import get_include
    >>> pathlib.Path(get_include(), "gmm_core.h").exists()
    True
    """
    return os.path.join(os.path.dirname(os.path.dirname(__file__)), "include")
