"""The instruction sets of this processor, and the limits that the OpenMP runtime sets on threads."""

cdef extern from "cpu.h" nogil:
    bint cpu_has_v3()
    bint cpu_has_v4()
    int openmp_max_threads()
    int openmp_bound_processors()


def supported_levels():
    """Return the instruction-set levels of the processor, lowest first; 'base' is what the compiler assumes"""
    levels = ["base"]
    if cpu_has_v3():
        levels.append("v3")
    if cpu_has_v4():
        levels.append("v4")
    return tuple(levels)


def max_threads():
    """Return omp_get_max_threads() of the calling thread, or 1 without OpenMP"""
    return openmp_max_threads()


def bound_processors():
    """Return the number of processors that OpenMP binds its threads to, or 0 if it does not bind them"""
    return openmp_bound_processors()
