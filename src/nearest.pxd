"""The nearest and the second nearest of several centers, for rows that need not stand next to each other."""
from libc.math cimport INFINITY

from layout cimport LANES, real, vec, vec_if_less, vec_set, vec_transpose

cdef extern from "vec.h" nogil:
    enum:
        VEC_BYTES
    vec vec_min(vec a, vec b)
    vec vec_max(vec a, vec b)
    vec vec_sqrt(vec a)
    void vec_prefetch(const void* a)


# The lanes of a vector hold different centers, so that rows are read where they stand. A transposition of the rows
# would take a fifth to a third of the time.
cdef enum:
    ROWS = 16       # rows that are compared with the centers at once, a multiple of LANES


# Results for ROWS rows, one row in each lane. A label is a real, so that it has as many lanes as a distance.
cdef struct Nearest:
    real best[ROWS]         # squared distance to the nearest center
    real second[ROWS]       # squared distance to the second nearest center, INFINITY if there is one center
    real label[ROWS]        # the nearest center, the first one if several are equal


cdef inline Py_ssize_t packed_vectors(Py_ssize_t K) noexcept nogil:
    """Return the number of vectors that K centers fill for each feature"""
    return (K + LANES - 1) // LANES


cdef inline void pack_centers(
    const double* centers,  # IN  (K, D)
    real* hi,               # OUT (packed_vectors, D, LANES) rounded centers; lanes without a center are infinite
    real* lo,               # OUT (packed_vectors, D, LANES) what rounding left
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Write centers in the order that `nearest_two` reads"""
    cdef Py_ssize_t k, d, at
    for k in range(packed_vectors(K) * LANES):
        for d in range(D):
            at = (k // LANES * D + d) * LANES + k % LANES
            hi[at] = <real> centers[k * D + d] if k < K else <real> INFINITY
            lo[at] = <real> (centers[k * D + d] - <double> hi[at]) if k < K else <real> 0


cdef inline void prefetch_row(const real* row, Py_ssize_t D) noexcept nogil:
    """Ask for the cache lines of a row"""
    cdef Py_ssize_t d = 0
    while d < D:
        vec_prefetch(row + d)
        d += 64 // <Py_ssize_t> sizeof(real)


cdef inline void nearest_two(
    const real** rows,      # IN  (ROWS,) pointers to rows of D features
    const real* hi,         # IN  packed by pack_centers, as lo is
    const real* lo,
    Nearest* out,
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Compare rows with all centers"""
    # Eight rows and two vectors of centers make sixteen independent sums, which hide the latency of a multiply-add.
    # Without AVX-512 there are 16 registers, which four rows leave room in.
    cdef vec best[ROWS]
    cdef vec second[ROWS]
    cdef vec label[ROWS]
    cdef Py_ssize_t i, k = 0, n = packed_vectors(K)
    for i in range(ROWS):
        best[i] = second[i] = vec_set(INFINITY)
        label[i] = vec_set(0)
    while k < n:
        i = 0
        while i < ROWS:
            if VEC_BYTES == 64 and k + 2 <= n:
                compare(rows + i, hi, lo, best + i, second + i, label + i, k, 8, 2, D)
            elif VEC_BYTES == 64:
                compare(rows + i, hi, lo, best + i, second + i, label + i, k, 8, 1, D)
            elif k + 2 <= n:
                compare(rows + i, hi, lo, best + i, second + i, label + i, k, 4, 2, D)
            else:
                compare(rows + i, hi, lo, best + i, second + i, label + i, k, 4, 1, D)
            i += 8 if VEC_BYTES == 64 else 4
        k += 2
    i = 0
    while i < ROWS:
        reduce_lanes(best + i, second + i, label + i, out.best + i, out.second + i, out.label + i)
        i += LANES


cdef inline void compare(
    const real** rows, const real* hi, const real* lo, vec* best, vec* second, vec* label,
    Py_ssize_t k, Py_ssize_t m, Py_ssize_t n, Py_ssize_t D,
) noexcept nogil:
    """Compare m rows with the n vectors of centers from the k-th on; m and n are known at compile time"""
    cdef vec q[16]
    cdef vec z, center, rest, larger
    cdef real number[LANES]
    cdef Py_ssize_t d, i, v
    hi += k * D * LANES
    lo += k * D * LANES
    for i in range(m * n):
        q[i] = vec_set(0)
    for d in range(D):
        for v in range(n):
            center = (<const vec*> (hi + (v * D + d) * LANES))[0]
            rest = (<const vec*> (lo + (v * D + d) * LANES))[0]
            for i in range(m):
                z = center - rows[i][d]
                if sizeof(real) == 4:
                    z = z + rest
                q[i * n + v] = q[i * n + v] + z * z
    for i in range(LANES):
        number[i] = <real> (k * LANES + i)
    for v in range(n):
        z = (<const vec*> number)[0] + <real> (v * LANES)
        for i in range(m):
            larger = vec_max(q[i * n + v], best[i])
            second[i] = vec_min(larger, second[i])
            label[i] = vec_if_less(q[i * n + v], best[i], z, label[i])
            best[i] = vec_min(q[i * n + v], best[i])


cdef inline void reduce_lanes(
    const vec* best, const vec* second, const vec* label, real* out_best, real* out_second, real* out_label,
) noexcept nogil:
    """Find the nearest two among the lanes of LANES rows; a lane has the nearest two of its centers"""
    # After a transposition, the lanes of a vector are rows.
    cdef vec b[LANES]
    cdef vec s[LANES]
    cdef vec j[LANES]
    cdef vec found, runner_up, center
    cdef Py_ssize_t i
    vec_transpose(<const real*> best, LANES, <real*> b, LANES)
    vec_transpose(<const real*> second, LANES, <real*> s, LANES)
    vec_transpose(<const real*> label, LANES, <real*> j, LANES)
    found, runner_up, center = b[0], s[0], j[0]
    for i in range(1, LANES):
        runner_up = vec_min(vec_min(s[i], runner_up), vec_max(b[i], found))
        # Of equal distances, the one with the smaller label comes first.
        center = vec_if_less(b[i], found, j[i], vec_if_less(found, b[i], center, vec_min(j[i], center)))
        found = vec_min(b[i], found)
    (<vec*> out_best)[0] = found
    (<vec*> out_second)[0] = runner_up
    (<vec*> out_label)[0] = center
