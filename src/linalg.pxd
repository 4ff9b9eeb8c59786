"""Factorisations of small dense matrices, in double.

For one instruction set, the results are bit-identical for any number of threads. Those of a threaded LAPACK are not.
"""
from cython.parallel cimport prange
from libc.math cimport INFINITY, sqrt

from blocked cimport factor_large
from layout cimport LARGE
from panel cimport dot


cdef inline bint cholesky(double* A, Py_ssize_t D) noexcept nogil:
    """Replace the lower triangle of A by L with A = L LT; return False if A is not positive definite numerically"""
    cdef Py_ssize_t i, j
    cdef double pivot
    for i in range(D):
        for j in range(i):
            A[i * D + j] = (A[i * D + j] - dot(A + i * D, A + j * D, j)) / A[j * D + j]
        pivot = A[i * D + i] - dot(A + i * D, A + i * D, i)
        # A pivot as small as the rounding error of this difference may be that of a singular matrix.
        if not pivot > 2.3e-16 * A[i * D + i]:
            return False
        A[i * D + i] = sqrt(pivot)
    return True


cdef inline void invert_lower(const double* L, double* inverse, Py_ssize_t D) noexcept nogil:
    """inverse = L**-1, with zeros above the diagonal"""
    # Row i of the inverse is (e_i - sum over j < i of L_ij row j) / L_ii.
    cdef Py_ssize_t i, j, d
    cdef double a
    cdef double* row
    cdef const double* other
    for i in range(D):
        row = inverse + i * D
        for d in range(D):
            row[d] = 0
        for j in range(i):
            a = L[i * D + j]
            other = inverse + j * D
            for d in range(j + 1):
                row[d] -= a * other[d]
        a = 1 / L[i * D + i]
        for d in range(i):
            row[d] *= a
        row[i] = a


cdef inline void transpose(double* A, Py_ssize_t D) noexcept nogil:
    """A = AT, in place"""
    cdef Py_ssize_t i, j
    cdef double a
    for i in range(D):
        for j in range(i):
            a = A[i * D + j]
            A[i * D + j] = A[j * D + i]
            A[j * D + i] = a


cdef inline bint factor_matrix(const double* C, double* U, double* scratch, Py_ssize_t D) noexcept nogil:
    """U = L**-T with C = L LT, so that U UT = C**-1; return False if C is not positive definite, else scratch[0] > 0"""
    cdef Py_ssize_t i
    if D > LARGE:
        if not factor_large(C, U, scratch, D):
            return False
        scratch[0] = 1
        return True
    for i in range(D * D):
        scratch[i] = C[i]
    if not cholesky(scratch, D):
        return False
    invert_lower(scratch, U, D)
    transpose(U, D)
    return True


cdef inline Py_ssize_t factor_matrices(
    const double* covariances,      # IN  (n, D, D)
    double* precisions_cholesky,    # OUT (n, D, D)
    double* scratch,                # TMP (n, D, D)
    Py_ssize_t n,
    Py_ssize_t D,
    int n_threads,
) noexcept nogil:
    """Factor the inverse of each covariance; return 0, or 1 + the first one that is not positive definite"""
    cdef Py_ssize_t i
    cdef int k, n_workers = n_threads if n > 1 and D >= 32 else 1
    if n_workers == 1:
        for i in range(n):
            if not factor_matrix(covariances + i * D * D, precisions_cholesky + i * D * D, scratch + i * D * D, D):
                return 1 + i
        return 0
    for k in prange(<int> n, num_threads=n_workers, schedule="static"):
        if not factor_matrix(covariances + k * D * D, precisions_cholesky + k * D * D, scratch + k * D * D, D):
            scratch[k * D * D] = -1
    for i in range(n):
        if scratch[i * D * D] < 0:
            return 1 + i
    return 0


cdef inline Py_ssize_t factor_variances(
    const double* variances,        # IN  (n, size)
    double* precisions_cholesky,    # OUT (n, size) reciprocal standard deviations
    Py_ssize_t n,
    Py_ssize_t size,
) noexcept nogil:
    """1 / sqrt(variance); return 0, or 1 + the first row with a variance that is not positive and finite"""
    cdef Py_ssize_t i
    for i in range(n * size):
        if not 0 < variances[i] < INFINITY:
            return 1 + i // size
        precisions_cholesky[i] = 1 / sqrt(variances[i])
    return 0
