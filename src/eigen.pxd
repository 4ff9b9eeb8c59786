"""Eigen-decompositions of small symmetric matrices, in double.

The results are bit-identical for any number of threads, which those of a threaded LAPACK are not.
"""
from libc.math cimport fabs, sqrt

from layout cimport EPS


cdef inline void rotation(double p, double q, double r, double* c, double* s) noexcept nogil:
    """Write the cosine and the sine of the smaller angle that makes [[p, r], [r, q]] diagonal"""
    cdef double tau, t
    if r == 0:
        c[0] = 1
        s[0] = 0
        return
    tau = (q - p) / (2 * r)
    t = (1 if tau >= 0 else -1) / (fabs(tau) + sqrt(1 + tau * tau))
    c[0] = 1 / sqrt(1 + t * t)
    s[0] = t * c[0]


cdef inline void rotate(double* A, Py_ssize_t D, Py_ssize_t i, Py_ssize_t j, double c, double s) noexcept nogil:
    """A = JT A J for the rotation J of the axes i and j"""
    cdef Py_ssize_t d
    cdef double x, y
    for d in range(D):
        x = A[d * D + i]
        y = A[d * D + j]
        A[d * D + i] = c * x - s * y
        A[d * D + j] = s * x + c * y
    for d in range(D):
        x = A[i * D + d]
        y = A[j * D + d]
        A[i * D + d] = c * x - s * y
        A[j * D + d] = s * x + c * y


cdef inline void rotate_columns(double* V, Py_ssize_t D, Py_ssize_t i, Py_ssize_t j, double c, double s) noexcept nogil:
    """V = V J for the rotation J of the axes i and j"""
    cdef Py_ssize_t d
    cdef double x, y
    for d in range(D):
        x = V[d * D + i]
        y = V[d * D + j]
        V[d * D + i] = c * x - s * y
        V[d * D + j] = s * x + c * y


cdef inline void eigenvectors(
    double* A,              # INOUT (D, D) symmetric; afterwards its diagonal has the eigenvalues, largest first
    double* V,              # OUT   (D, D) an eigenvector in each column
    Py_ssize_t D,
) noexcept nogil:
    """Jacobi's method: rotate each pair of axes in turn until the matrix is diagonal"""
    cdef Py_ssize_t i, j, d, best, _sweep
    cdef double c, s, x
    cdef bint rotated = True
    for i in range(D * D):
        V[i] = 0
    for i in range(D):
        V[i * D + i] = 1
    for _sweep in range(60):
        if not rotated:
            break
        rotated = False
        for i in range(D):
            for j in range(i + 1, D):
                if fabs(A[i * D + j]) <= 0.1 * EPS * sqrt(fabs(A[i * D + i])) * sqrt(fabs(A[j * D + j])):
                    continue
                rotated = True
                rotation(A[i * D + i], A[j * D + j], A[i * D + j], &c, &s)
                rotate(A, D, i, j, c, s)
                A[i * D + j] = A[j * D + i] = 0
                rotate_columns(V, D, i, j, c, s)
    for i in range(D):
        best = i
        for j in range(i + 1, D):
            if A[j * D + j] > A[best * D + best]:
                best = j
        if best != i:
            x = A[i * D + i]
            A[i * D + i] = A[best * D + best]
            A[best * D + best] = x
            for d in range(D):
                x = V[d * D + i]
                V[d * D + i] = V[d * D + best]
                V[d * D + best] = x
