"""How distances from a component change when its parameters do, for triangular factors of the precision.

A bound on a distance outlives an M-step by these numbers; see regions.pxd.
"""
from libc.math cimport fabs, sqrt

from layout cimport EPS, Change, real
from linalg cimport invert_lower
from panel cimport dot


cdef inline double unit() noexcept nogil:
    """Return the distance from 1 to the next number of the element type"""
    return EPS * (1 if sizeof(real) == 8 else 1 << 29)


cdef inline double mean_error() noexcept nogil:
    """Return the relative error of a mean in the kernels: a float32 build has it as a sum of two floats"""
    return 0 if sizeof(real) == 8 else EPS * 64


cdef inline Change triangular_change(
    const double* U_before,     # IN  (D, D) upper triangular
    const double* U,            # IN  (D, D)
    double* scratch,            # TMP (5, D, D)
    Py_ssize_t D,
) noexcept nogil:
    """Return the change of distances, without the move of the mean"""
    # With L = U^T and L' = U'^T, L z = (L L'^-1) L' z, so that |L' z| >= |L z| / |B| for B = L L'^-1. Let G = B B^T,
    # c the mean of its eigenvalues, and E = G - c I. Then |B|^2 <= c + |E|, and |E| is at most the 8th root of
    # trace(E^8) = |E^4|_F^2, which exceeds |E| by a factor of D^(1/8) at most. Near convergence E is small.
    # A computed L' z has an error of at most D eps |L'| |z| <= D eps |L'| |L'^-1| |L' z|, which does not depend on the
    # scales of the features, and B one of D eps |L| |L'^-1|. A norm of |L| |M| is at most the sum over j of the norms
    # of column j of L and row j of M.
    cdef double* before = scratch
    cdef double* after = scratch + D * D
    cdef double* inverse = scratch + 2 * D * D
    cdef double* B = scratch + 3 * D * D
    cdef double* E = scratch + 4 * D * D
    cdef double a, mean = 0, size = 0, error = 0, condition = 0
    cdef Py_ssize_t i, j, d
    cdef Change change
    for i in range(D):
        for j in range(D):
            before[i * D + j] = U_before[j * D + i] if j <= i else 0
            after[i * D + j] = U[j * D + i] if j <= i else 0
    invert_lower(after, inverse, D)
    for i in range(D):
        for d in range(D):
            B[i * D + d] = 0
        for j in range(i + 1):
            a = before[i * D + j]
            for d in range(j + 1):
                B[i * D + d] += a * inverse[j * D + d]
    for j in range(D):
        a = sqrt(dot(inverse + j * D, inverse + j * D, D))
        error += a * sqrt(dot(U_before + j * D, U_before + j * D, D))
        condition += a * sqrt(dot(U + j * D, U + j * D, D))
    for i in range(D):
        for j in range(i + 1):
            E[i * D + j] = E[j * D + i] = dot(B + i * D, B + j * D, j + 1)
        mean += E[i * D + i] / D
    for i in range(D):
        E[i * D + i] -= mean
    size = sqrt(dot(E, E, D * D))
    if size > 0.02 * mean:      # else |E|_F is near enough
        squared(E, before, D)
        squared(before, after, D)
        size = sqrt(sqrt(sqrt(dot(after, after, D * D))))
    size = sqrt(mean + size) * (1 + 1e-10) + 4 * D * EPS * error
    change.stretch = 1 / size if size < 1e100 else 0    # and 0 for a NaN
    change.move = change.absolute = 0
    change.relative = (D + 8) * unit() * condition
    return change


cdef inline void squared(const double* A, double* out, Py_ssize_t D) noexcept nogil:
    """out = A A for a symmetric A"""
    cdef Py_ssize_t i, j
    for i in range(D):
        for j in range(i + 1):
            out[i * D + j] = out[j * D + i] = dot(A + i * D, A + j * D, D)


cdef inline double moved_by(
    const double* U, const double* mean_before, const double* mean, Py_ssize_t D,
) noexcept nogil:
    """Return |U^T (mean - mean_before)|, rounded up"""
    cdef double y, largest, total = 0
    cdef Py_ssize_t i, d
    for i in range(D):
        y = largest = 0
        for d in range(i + 1):
            y += U[d * D + i] * (mean[d] - mean_before[d])
            largest += fabs(U[d * D + i]) * (
                fabs(mean[d] - mean_before[d]) * (D + 2) * EPS
                + (fabs(mean[d]) + fabs(mean_before[d])) * mean_error()
            )
        total += (fabs(y) + largest) * (fabs(y) + largest)
    return sqrt(total) * (1 + 1e-10)


cdef inline Change diagonal_change(
    const double* before,       # IN  reciprocal standard deviations
    const double* mean_before,  # IN  (D,)
    const double* factor,       # IN  reciprocal standard deviations
    const double* mean,         # IN  (D,)
    Py_ssize_t stride,          # of the reciprocals; 0 if all features share one
    Py_ssize_t D,
) noexcept nogil:
    """Return the change of distances for reciprocal standard deviations in place of a triangular factor"""
    cdef double a, total = 0
    cdef Py_ssize_t d
    cdef Change change
    change.stretch = factor[0] / before[0]
    for d in range(D):
        change.stretch = min(change.stretch, factor[d * stride] / before[d * stride])
        a = factor[d * stride] * (
            fabs(mean[d] - mean_before[d]) + (fabs(mean[d]) + fabs(mean_before[d])) * mean_error()
        )
        total += a * a
    change.stretch *= 1 - 1e-10
    change.move = sqrt(total) * (1 + 1e-10)
    change.relative = (D + 8) * unit()
    change.absolute = 0
    return change
