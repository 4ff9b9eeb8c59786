"""Constants that tell how this copy of gmm_core was built; meson writes the module."""

from typing import Final

VERSION: Final[str]
LEVELS: Final[tuple[str, ...]]  # the instruction-set levels that the build contains
OPENMP: Final[bool]  # whether the kernels can use several threads
CHECKS: Final[bool]  # whether the kernels check the bounds of arrays
COMPILER: Final[str]
