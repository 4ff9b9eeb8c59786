"""What this processor can run, and the OpenMP runtime's bound on threads."""

cdef extern from "cpu.h" nogil:
    bint cpu_has_v3()
    bint cpu_has_v4()
    int openmp_max_threads()
    int openmp_bound_processors()


def supported_levels():
    """The instruction-set levels that the processor has, lowest first; 'base' is what the compiler assumes"""
    levels = ["base"]
    if cpu_has_v3():
        levels.append("v3")
    if cpu_has_v4():
        levels.append("v4")
    return tuple(levels)


def max_threads():
    """omp_get_max_threads() in the calling thread; 1 without OpenMP"""
    return openmp_max_threads()


def bound_processors():
    """Processors that OpenMP spreads its threads over if it binds them to processors; 0 if it does not"""
    return openmp_bound_processors()
