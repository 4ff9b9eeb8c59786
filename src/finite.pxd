"""Whether all values of an array are finite."""
from layout cimport real, vec, vec_set, vec_sum, LANES


cdef inline bint all_finite_in(const real* values, Py_ssize_t n) noexcept nogil:
    """Tell whether no value is NaN or infinite"""
    # x - x is 0 for a finite x, and NaN for the others. A sum is NaN if one of its terms is.
    cdef vec s0 = vec_set(0), s1 = vec_set(0), s2 = vec_set(0), s3 = vec_set(0)
    cdef const vec* x = <const vec*> values
    cdef Py_ssize_t i, n_blocks = n // (4 * LANES)
    cdef real tail = 0
    for _ in range(n_blocks):
        s0 = s0 + (x[0] - x[0])
        s1 = s1 + (x[1] - x[1])
        s2 = s2 + (x[2] - x[2])
        s3 = s3 + (x[3] - x[3])
        x += 4
    for i in range(n_blocks * 4 * LANES, n):
        tail += values[i] - values[i]
    return vec_sum((s0 + s1) + (s2 + s3)) + tail == 0
