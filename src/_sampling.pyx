"""Samples of a component, made from standard normal numbers, in double.

This file is compiled once for each instruction set. Its functions do not check their arguments.
"""
from layout cimport CHECKS, EXTENT, OK, vec, WIDTH
from linalg cimport invert_lower, transpose
from panel cimport load_panel, store_panel
from whiten cimport pack_triangle, triangle, whiten


def unwhiten_scratch(Py_ssize_t D):
    """Return the number of doubles of scratch that unwhiten_matrix needs"""
    return 2 * D * D + triangle(D) + (2 * D + 1) * WIDTH


def unwhiten_matrix(
    const double[:, ::1] y,             # IN  (n, D)
    const double[:, ::1] factor,        # IN  (D, D) upper triangular U with U UT = covariance**-1
    const double[::1] mean,             # IN  (D,)
    double[:, ::1] x,                   # OUT (n, D)
    double[::1] scratch,                # TMP (unwhiten_scratch,)
):
    """x = mean + U**-T y for each row; return OK, or EXTENT if an array is too small"""
    # The factor L = U**-T of the covariance is lower triangular, as the factor with which `whiten` multiplies a panel.
    cdef Py_ssize_t n = y.shape[0], D = y.shape[1], row = 0, i, j, d, rows
    if CHECKS and (
        x.shape[0] < n or x.shape[1] < D or factor.shape[0] < D or factor.shape[1] < D or mean.shape[0] < D
        or scratch.shape[0] < unwhiten_scratch(D)
    ):
        return EXTENT
    cdef double* lower = &scratch[0]
    cdef double* inverse = lower + D * D
    cdef double* packed = inverse + D * D
    cdef double* z = packed + triangle(D)
    cdef double* product = z + D * WIDTH
    cdef double* distance = product + D * WIDTH
    with nogil:
        for i in range(D):
            for j in range(D):
                lower[i * D + j] = factor[j, i]
        invert_lower(lower, inverse, D)
        transpose(inverse, D)
        pack_triangle(inverse, packed, D)
        while row < n:
            rows = min(n - row, <Py_ssize_t> WIDTH)
            load_panel(&y[row, 0], NULL, &y[row, 0], z, rows, D)
            whiten(z, packed, product, distance, D)
            for d in range(D):
                (<vec*> product)[2 * d] = (<vec*> product)[2 * d] + mean[d]
                (<vec*> product)[2 * d + 1] = (<vec*> product)[2 * d + 1] + mean[d]
            store_panel(product, &x[row, 0], rows, D)
            row += rows
    return OK


def unwhiten_features(
    const double[:, ::1] y,             # IN  (n, D)
    const double[::1] factor,           # IN  (D,) reciprocal standard deviations
    const double[::1] mean,             # IN  (D,)
    double[:, ::1] x,                   # OUT (n, D)
):
    """x = mean + y / factor for each row; return OK, or EXTENT if an array is too small"""
    cdef Py_ssize_t n = y.shape[0], D = y.shape[1], i, d
    if CHECKS and (x.shape[0] < n or x.shape[1] < D or factor.shape[0] < D or mean.shape[0] < D):
        return EXTENT
    with nogil:
        for i in range(n):
            for d in range(D):
                x[i, d] = mean[d] + y[i, d] / factor[d]
    return OK
