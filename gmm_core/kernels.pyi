"""The compiled kernels for Cython and C, which kernels.pxd and include/gmm_core.h declare.

No function of this module can be called from Python. Cython's ``cimport`` and ``gmm_core_import``
of the C header find the functions in the attribute below.
"""

from typing import Final

# For the name of each function, a capsule with its pointer. The name of the capsule is the C
# signature of the function.
__pyx_capi__: Final[dict[str, object]]
