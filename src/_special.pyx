"""The functions of special.pxd, and the sums of them for multivariate gamma functions, over arrays.

This file is compiled once. Its functions do not check their arguments.
"""
cimport special
from layout cimport CHECKS, EXTENT, OK


def digamma(
    const double[::1] x,            # (n,)
    Py_ssize_t D,                   # number of terms
    double[::1] result,             # OUT   (n,)
):
    """Compute the sum of psi(x - i / 2) over 0 <= i < D; return OK, or EXTENT if an array is too small"""
    cdef Py_ssize_t n, i
    cdef double total
    if CHECKS and result.shape[0] < x.shape[0]:
        return EXTENT
    with nogil:
        for n in range(x.shape[0]):
            total = 0
            for i in range(D):
                total += special.digamma(x[n] - 0.5 * i)
            result[n] = total
    return OK


def log_gamma(
    const double[::1] x,            # (n,)
    Py_ssize_t D,                   # number of terms
    double[::1] result,             # OUT   (n,)
):
    """Compute the sum of log Gamma(x - i / 2) over 0 <= i < D; return OK, or EXTENT if an array is too small"""
    cdef Py_ssize_t n, i
    cdef double total
    if CHECKS and result.shape[0] < x.shape[0]:
        return EXTENT
    with nogil:
        for n in range(x.shape[0]):
            total = 0
            for i in range(D):
                total += special.log_gamma(x[n] - 0.5 * i)
            result[n] = total
    return OK
