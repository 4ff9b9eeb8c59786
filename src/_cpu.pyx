"""Which of the builds of the kernels this processor can run."""

cdef extern from "cpu.h" nogil:
    bint cpu_has_v3()
    bint cpu_has_v4()


def supported_levels():
    """The instruction-set levels that the processor has, lowest first; 'base' is what the compiler assumes"""
    levels = ["base"]
    if cpu_has_v3():
        levels.append("v3")
        if cpu_has_v4():
            levels.append("v4")
    return tuple(levels)
