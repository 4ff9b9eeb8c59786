"""Samples with missing values, for components with a covariance matrix.

With the precision P = U UT, split into known and missing features, and d = x - mu with 0 where a value is missing:
the missing values have the mean mu_m + t, where P_mm t = -(P d)_m, and the covariance P_mm**-1 given the others;
|Sigma_oo| = |Sigma| |P_mm|; and the squared distance in the known features is |UT z|**2 for z = d with t filled in, its
minimum over the missing values, so that an error of t changes it by a square only.
"""
from libc.math cimport M_PI, log

from lanes cimport factor_lanes, padded, solve_lanes, solve_transposed_lanes, solve_triangle_lanes
from layout cimport real, vec, vec_set, LANES, WIDTH
from linalg cimport invert_lower
from rowpanel cimport RowMixture, RowPanel, length
from whiten cimport pack_triangle, triangle, whiten

cdef extern from "vec.h" nogil:
    vec vec_gather(const real* a, const Py_ssize_t* at)

# The units are such that the diagonal of P is 1: z and the columns of UT are scaled by its square roots.
# Lanes that lack fewer values than others have features that do not exist, with rows and columns of the unit matrix.


# What the E-step keeps of a component for the moments.
cdef struct MissingPart:
    real* z                 # (D + 4, WIDTH), of which D rows are read
    real* L                 # (triangle(D), WIDTH) Cholesky factors of P_mm
    real* reciprocal        # (D, WIDTH)


cdef inline Py_ssize_t missing_part_rows(Py_ssize_t D) noexcept nogil:
    """Return the number of rows of WIDTH reals that a MissingPart takes"""
    return 2 * D + 4 + triangle(D)


cdef inline MissingPart missing_part(real* at, Py_ssize_t D) noexcept nogil:
    cdef MissingPart part
    part.z = at
    part.reciprocal = at + (D + 4) * WIDTH
    part.L = part.reciprocal + D * WIDTH
    return part


cdef inline void prepare_missing(
    const double* U,        # IN  (D, D) upper triangular
    real* unit,             # OUT (D,)
    real* log_missing,      # OUT (D,)
    real* least,            # OUT (D + 1,)
    real* factor,           # OUT (triangle(D),)
    real* upper,            # OUT (D, D) U with rows of length 1
    real* P,                # OUT (padded(D),) without its diagonal of ones
    double* scratch,        # TMP (2, D, D)
    Py_ssize_t D,
) noexcept nogil:
    """Write what the other functions read of a component"""
    cdef double* lower = scratch
    cdef double* inverse = scratch + D * D
    cdef double size, total
    cdef Py_ssize_t i, j, d
    for d in range(D):
        size = length(U + d * D + d, D - d)
        unit[d] = <real> size
        log_missing[d] = <real> (0.5 * log(2 * M_PI) - log(size))
        for i in range(D):
            upper[d * D + i] = <real> (U[d * D + i] / size) if i >= d else 0
            lower[i * D + d] = upper[d * D + i]
    pack_triangle(upper, factor, D)
    for i in range(D):
        for j in range(i // 4 * 4 + 4):
            total = 0
            for d in range(i, D):
                total += upper[i * D + d] * upper[j * D + d] if j < i else 0
            P[padded(i) + j] = <real> total
    # A pivot of P_mm is at least the reciprocal of the variance of its feature.
    invert_lower(lower, inverse, D)
    least[D] = <real> 0.5
    for d in range(D):
        total = 0
        for i in range(d + 1):
            total += inverse[d * D + i] * inverse[d * D + i]
        least[d] = <real> (0.5 / total)


cdef inline void missing_log_prob(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, MissingPart part, real* y, real* g, real* log_prob,
) noexcept nogil:
    """Write the weighted log-probabilities (WIDTH,) of component k; y and g are scratch of D + 1 rows"""
    cdef Py_ssize_t D = m.D, n = panel.n_missing, d, i, at
    cdef const real* P = m.matrix + k * m.matrix_size
    cdef vec* z = <vec*> part.z
    cdef vec penalty0 = vec_set(0), penalty1 = vec_set(0)
    cdef const real* mean = m.mean + k * D
    cdef const real* unit = m.unit + k * D
    cdef const real* log_missing = m.log_missing + k * D
    cdef real log_det[WIDTH]
    cdef real least[WIDTH]
    for d in range(D):
        z[2 * d] = ((<vec*> panel.x)[2 * d] - mean[d]) * unit[d] * (<vec*> panel.known)[2 * d]
        z[2 * d + 1] = ((<vec*> panel.x)[2 * d + 1] - mean[d]) * unit[d] * (<vec*> panel.known)[2 * d + 1]
    if n > 0:
        for d in range(D):
            penalty0 = penalty0 + (1 - (<vec*> panel.known)[2 * d]) * log_missing[d]
            penalty1 = penalty1 + (1 - (<vec*> panel.known)[2 * d + 1]) * log_missing[d]
        whiten(part.z, m.factor + k * m.factor_size, y, log_det, D)
        multiply_upper(m.upper + k * D * D, y, g, D)
        (<vec*> g)[2 * D] = (<vec*> g)[2 * D + 1] = vec_set(0)
        for d in range(n):
            for at in range(2 * triangle(d), 2 * (triangle(d) + d)):
                (<vec*> part.L)[at] = vec_gather(P, panel.pairs + at * LANES)
            at = 2 * (triangle(d) + d)
            (<vec*> part.L)[at] = (<vec*> part.L)[at + 1] = vec_set(1)
        for d in range(n):
            for i in range(WIDTH):
                at = panel.places[d * WIDTH + i]
                y[d * WIDTH + i] = g[at * WIDTH + i]
                # The bounds are kept where the reciprocals go, which are written one after the other.
                part.reciprocal[d * WIDTH + i] = m.least[k * (D + 1) + at]
        factor_lanes(part.L, part.reciprocal, part.reciprocal, True, log_det, n)
        solve_lanes(part.L, part.reciprocal, y, n)
        solve_transposed_lanes(part.L, part.reciprocal, y, n)
        for d in range(n):
            for i in range(WIDTH):
                part.z[panel.places[d * WIDTH + i] * WIDTH + i] = -y[d * WIDTH + i]
        penalty0 = penalty0 - <real> 0.5 * (<vec*> log_det)[0]
        penalty1 = penalty1 - <real> 0.5 * (<vec*> log_det)[1]
    whiten(part.z, m.factor + k * m.factor_size, NULL, least, D)
    (<vec*> log_prob)[0] = m.log_constant[k] + penalty0 - <real> 0.5 * (<vec*> least)[0]
    (<vec*> log_prob)[1] = m.log_constant[k] + penalty1 - <real> 0.5 * (<vec*> least)[1]


cdef inline void multiply_upper(const real* U, const real* y, real* g, Py_ssize_t D) noexcept nogil:
    """g = U y for an upper triangular U, which has zeros below its diagonal"""
    cdef vec a00, a01, a10, a11, a20, a21, a30, a31, y0, y1
    cdef Py_ssize_t d = 0, i
    cdef const real* row
    while d + 4 <= D:
        a00 = a01 = a10 = a11 = a20 = a21 = a30 = a31 = vec_set(0)
        row = U + d * D
        for i in range(d, D):
            y0 = (<const vec*> y)[2 * i]
            y1 = (<const vec*> y)[2 * i + 1]
            a00 = a00 + row[i] * y0
            a01 = a01 + row[i] * y1
            a10 = a10 + row[D + i] * y0
            a11 = a11 + row[D + i] * y1
            a20 = a20 + row[2 * D + i] * y0
            a21 = a21 + row[2 * D + i] * y1
            a30 = a30 + row[3 * D + i] * y0
            a31 = a31 + row[3 * D + i] * y1
        (<vec*> g)[2 * d] = a00
        (<vec*> g)[2 * d + 1] = a01
        (<vec*> g)[2 * d + 2] = a10
        (<vec*> g)[2 * d + 3] = a11
        (<vec*> g)[2 * d + 4] = a20
        (<vec*> g)[2 * d + 5] = a21
        (<vec*> g)[2 * d + 6] = a30
        (<vec*> g)[2 * d + 7] = a31
        d += 4
    while d < D:
        a00 = a01 = vec_set(0)
        for i in range(d, D):
            a00 = a00 + U[d * D + i] * (<const vec*> y)[2 * i]
            a01 = a01 + U[d * D + i] * (<const vec*> y)[2 * i + 1]
        (<vec*> g)[2 * d] = a00
        (<vec*> g)[2 * d + 1] = a01
        d += 1


cdef inline void add_missing(
    const RowMixture* m, const RowPanel* panel, MissingPart part, const real* r, real* count, real* first, real* second,
    real* W,
) noexcept nogil:
    """Add r, r z and r (z zT + the covariance of the missing values) to sums of one component.

    The sums have LANES reals for each entry, those of z zT as a padded triangle. W is scratch of padded(D) rows.
    """
    cdef Py_ssize_t D = m.D, n = panel.n_missing, d, e, p
    cdef const Py_ssize_t* pairs
    cdef vec* z = <vec*> part.z
    cdef vec* sums
    cdef vec r0 = (<const vec*> r)[0], r1 = (<const vec*> r)[1], z0, z1
    cdef vec a00, a01, a10, a11, a20, a21, a30, a31
    cdef vec* row
    (<vec*> count)[0] = (<vec*> count)[0] + (r0 + r1)
    for d in range(D):
        z0 = r0 * z[2 * d]
        z1 = r1 * z[2 * d + 1]
        (<vec*> first)[d] = (<vec*> first)[d] + (z0 + z1)
        sums = <vec*> second + padded(d)
        e = 0
        while e <= d:       # beyond the diagonal, sums are made that no one reads
            sums[e] = sums[e] + (z0 * z[2 * e] + z1 * z[2 * e + 1])
            sums[e + 1] = sums[e + 1] + (z0 * z[2 * e + 2] + z1 * z[2 * e + 3])
            sums[e + 2] = sums[e + 2] + (z0 * z[2 * e + 4] + z1 * z[2 * e + 5])
            sums[e + 3] = sums[e + 3] + (z0 * z[2 * e + 6] + z1 * z[2 * e + 7])
            e += 4
    if n == 0:
        return
    solve_triangle_lanes(part.L, part.reciprocal, NULL, NULL, W, n)
    for d in range(n):
        e = 0
        while e <= d:
            a00 = a01 = a10 = a11 = a20 = a21 = a30 = a31 = vec_set(0)
            for p in range(d, n):
                row = <vec*> W + 2 * padded(p)
                z0 = row[2 * d]
                z1 = row[2 * d + 1]
                row += 2 * e
                a00 = a00 + z0 * row[0]
                a01 = a01 + z1 * row[1]
                a10 = a10 + z0 * row[2]
                a11 = a11 + z1 * row[3]
                a20 = a20 + z0 * row[4]
                a21 = a21 + z1 * row[5]
                a30 = a30 + z0 * row[6]
                a31 = a31 + z1 * row[7]
            pairs = panel.pairs + (triangle(d) + e) * WIDTH
            scatter(r0 * a00, r1 * a01, pairs, second)
            if e < d:
                scatter(r0 * a10, r1 * a11, pairs + WIDTH, second)
            if e + 1 < d:
                scatter(r0 * a20, r1 * a21, pairs + 2 * WIDTH, second)
            if e + 2 < d:
                scatter(r0 * a30, r1 * a31, pairs + 3 * WIDTH, second)
            e += 4


cdef inline void scatter(vec a, vec b, const Py_ssize_t* pairs, real* sums) noexcept nogil:
    """Add the lanes to those of the sums of their pairs. What belongs to no feature goes to a sum that no one reads."""
    cdef Py_ssize_t i
    for i in range(LANES):
        sums[pairs[i] * LANES + i] += (<real*> &a)[i]
        sums[pairs[LANES + i] * LANES + i] += (<real*> &b)[i]
