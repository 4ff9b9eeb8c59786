"""Small dense factorisations in double. Their bits depend on the matrix alone, unlike a threaded LAPACK's."""
from libc.math cimport sqrt

from panel cimport dot


cdef inline bint cholesky(double* A, Py_ssize_t D) noexcept nogil:
    """A = L LT in place, L in the lower triangle; False if A is not positive definite to working precision"""
    cdef Py_ssize_t i, j
    cdef double pivot
    for i in range(D):
        for j in range(i):
            A[i * D + j] = (A[i * D + j] - dot(A + i * D, A + j * D, j)) / A[j * D + j]
        pivot = A[i * D + i] - dot(A + i * D, A + i * D, i)
        # a pivot of the size of the rounding errors of the difference is no evidence of a positive one
        if not pivot > 2.3e-16 * A[i * D + i]:
            return False
        A[i * D + i] = sqrt(pivot)
    return True


cdef inline void invert_lower(const double* L, double* inverse, Py_ssize_t D) noexcept nogil:
    """inverse = L**-1, lower triangular, zeros above: row i is -(sum over j < i of L_ij row j) / L_ii"""
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
    cdef Py_ssize_t i, j
    cdef double a
    for i in range(D):
        for j in range(i):
            a = A[i * D + j]
            A[i * D + j] = A[j * D + i]
            A[j * D + i] = a
