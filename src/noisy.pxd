"""Samples that were measured with noise of known covariances S_n, for components with a covariance matrix.

With T = Sigma + S = L LT, Sigma = R RT, W = L**-1 R, y = L**-1 (x - mu) and u = WT y: the sample without noise has the
mean mu + R u and the covariance R (I - WT W) RT given the sample with noise. The sums of r u and r (u uT - WT W) are
multiplied by R once, after the pass, so that they keep their digits in every direction of Sigma. W is triangular: a row
costs D**3 / 2 multiply-adds. A missing value has its row and column of T from the unit matrix, and its row of R is 0.
"""
from libc.math cimport M_PI, log, sqrt

from lanes cimport factor_lanes, multiply_transposed_lanes, padded, solve_lanes, solve_triangle_lanes
from layout cimport real, vec, vec_set, LANES, WIDTH
from linalg cimport invert_lower
from rowpanel cimport RowMixture, RowPanel
from whiten cimport triangle

# The units are the standard deviations of the component, so that Sigma is its matrix of correlations. `factor` of a
# component holds R, padded; `matrix` holds the lower triangles of Sigma and of the products of the units.


# What the E-step keeps of a component for the moments.
cdef struct NoisyPart:
    real* y                 # (D, WIDTH)
    real* L                 # (triangle(D), WIDTH)
    real* reciprocal        # (D, WIDTH)


cdef inline Py_ssize_t noisy_part_rows(Py_ssize_t D) noexcept nogil:
    """Return the number of rows of WIDTH reals that a NoisyPart takes"""
    return 2 * D + triangle(D)


cdef inline NoisyPart noisy_part(real* at, Py_ssize_t D) noexcept nogil:
    cdef NoisyPart part
    part.y = at
    part.reciprocal = at + D * WIDTH
    part.L = part.reciprocal + D * WIDTH
    return part


cdef inline void prepare_noisy(
    const double* U,        # IN  (D, D) upper triangular
    real* unit,             # OUT (D,)
    real* log_missing,      # OUT (D,)
    real* least,            # OUT (D,)
    real* R,                # OUT (padded(D),)
    real* matrix,           # OUT (2, triangle(D))
    double* log_det,        # OUT log |U| plus the logarithms of the standard deviations
    double* scratch,        # TMP (2, D, D)
    Py_ssize_t D,
) noexcept nogil:
    """Write what the other functions read of a component"""
    # R is the inverse of UT with its rows divided by the standard deviations, which are their lengths.
    cdef double* lower = scratch
    cdef double* inverse = scratch + D * D
    cdef double largest, size, total
    cdef Py_ssize_t i, j, d
    for i in range(D):
        for d in range(D):
            lower[i * D + d] = U[d * D + i] if d <= i else 0
    invert_lower(lower, inverse, D)
    log_det[0] = 0
    for i in range(D):
        largest = size = 0
        for d in range(i + 1):
            largest = max(largest, abs(inverse[i * D + d]))
        for d in range(i + 1):
            size += (inverse[i * D + d] / largest) * (inverse[i * D + d] / largest)
        size = largest * sqrt(size)
        unit[i] = <real> (1 / size)
        log_missing[i] = <real> (0.5 * log(2 * M_PI) + log(size))
        log_det[0] += log(U[i * D + i] * size)
        for d in range(i // 4 * 4 + 4):
            R[padded(i) + d] = <real> (inverse[i * D + d] / size) if d <= i else 0
        least[i] = <real> 0.5 * R[padded(i) + i] * R[padded(i) + i]
        for j in range(i + 1):
            total = 0
            for d in range(j + 1):
                total += R[padded(i) + d] * R[padded(j) + d]
            matrix[triangle(i) + j] = <real> (1 if i == j else total)
            matrix[triangle(D) + triangle(i) + j] = unit[i] * unit[j]


cdef inline void noisy_log_prob(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, NoisyPart part, real* log_prob, Py_ssize_t D,
) noexcept nogil:
    """Write the weighted log-probabilities (WIDTH,) of component k"""
    cdef const real* correlation = m.matrix + k * m.matrix_size
    cdef const real* units = correlation + triangle(D)
    cdef const real* mean = m.mean + k * D
    cdef const real* unit = m.unit + k * D
    cdef const real* log_missing = m.log_missing + k * D
    cdef const vec* x = <const vec*> panel.x
    cdef const vec* known = <const vec*> panel.known
    cdef const vec* noise = <const vec*> panel.noise
    cdef vec* T = <vec*> part.L
    cdef vec* y = <vec*> part.y
    cdef vec q0 = vec_set(m.log_constant[k]), q1 = vec_set(m.log_constant[k]), k0, k1
    cdef real log_det[WIDTH]
    cdef Py_ssize_t d, e, at
    for d in range(D):
        y[2 * d] = (x[2 * d] - mean[d]) * unit[d]
        y[2 * d + 1] = (x[2 * d + 1] - mean[d]) * unit[d]
    for at in range(triangle(D)):
        T[2 * at] = noise[2 * at] * units[at] + correlation[at]
        T[2 * at + 1] = noise[2 * at + 1] * units[at] + correlation[at]
    if panel.n_missing > 0:
        for d in range(D):
            k0 = known[2 * d]
            k1 = known[2 * d + 1]
            y[2 * d] = y[2 * d] * k0
            y[2 * d + 1] = y[2 * d + 1] * k1
            q0 = q0 + (1 - k0) * log_missing[d]
            q1 = q1 + (1 - k1) * log_missing[d]
            for e in range(d):
                at = triangle(d) + e
                T[2 * at] = T[2 * at] * k0 * known[2 * e]
                T[2 * at + 1] = T[2 * at + 1] * k1 * known[2 * e + 1]
    factor_lanes(part.L, part.reciprocal, m.least + k * (D + 1), False, log_det, D)
    solve_lanes(part.L, part.reciprocal, part.y, D)
    k0 = (<vec*> log_det)[0]
    k1 = (<vec*> log_det)[1]
    for d in range(D):
        k0 = k0 + y[2 * d] * y[2 * d]
        k1 = k1 + y[2 * d + 1] * y[2 * d + 1]
    (<vec*> log_prob)[0] = q0 - <real> 0.5 * k0
    (<vec*> log_prob)[1] = q1 - <real> 0.5 * k1


cdef inline void noisy_weights(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, NoisyPart part, real* W, real* u, Py_ssize_t D,
) noexcept nogil:
    """Compute W (padded(D), WIDTH) and u (D + 3, WIDTH)"""
    solve_triangle_lanes(
        part.L, part.reciprocal, m.factor + k * m.factor_size, panel.known if panel.n_missing > 0 else NULL, W, D,
    )
    multiply_transposed_lanes(W, part.y, u, D)


cdef inline void add_noisy(
    const real* W, const real* u, const real* r, real* count, real* first, real* second, Py_ssize_t D,
) noexcept nogil:
    """Add r, r u and r (u uT - WT W) to the sums of one component.

    The sums have LANES reals for each entry, those of matrices as a padded triangle.
    """
    cdef const vec* w = <const vec*> W
    cdef const vec* v = <const vec*> u
    cdef const vec* row
    cdef vec* sums
    cdef vec r0 = (<const vec*> r)[0], r1 = (<const vec*> r)[1], u0, u1, w0, w1
    cdef vec a00, a01, a10, a11, a20, a21, a30, a31
    cdef Py_ssize_t i, j, p
    (<vec*> count)[0] = (<vec*> count)[0] + (r0 + r1)
    for i in range(D):
        u0 = v[2 * i]
        u1 = v[2 * i + 1]
        (<vec*> first)[i] = (<vec*> first)[i] + (r0 * u0 + r1 * u1)
        sums = <vec*> second + padded(i)
        j = 0
        while j <= i:
            a00 = u0 * v[2 * j]
            a01 = u1 * v[2 * j + 1]
            a10 = u0 * v[2 * j + 2]
            a11 = u1 * v[2 * j + 3]
            a20 = u0 * v[2 * j + 4]
            a21 = u1 * v[2 * j + 5]
            a30 = u0 * v[2 * j + 6]
            a31 = u1 * v[2 * j + 7]
            for p in range(i, D):
                row = w + 2 * padded(p)
                w0 = row[2 * i]
                w1 = row[2 * i + 1]
                row += 2 * j
                a00 = a00 - w0 * row[0]
                a01 = a01 - w1 * row[1]
                a10 = a10 - w0 * row[2]
                a11 = a11 - w1 * row[3]
                a20 = a20 - w0 * row[4]
                a21 = a21 - w1 * row[5]
                a30 = a30 - w0 * row[6]
                a31 = a31 - w1 * row[7]
            sums[j] = sums[j] + (r0 * a00 + r1 * a01)
            sums[j + 1] = sums[j + 1] + (r0 * a10 + r1 * a11)
            sums[j + 2] = sums[j + 2] + (r0 * a20 + r1 * a21)
            sums[j + 3] = sums[j + 3] + (r0 * a30 + r1 * a31)
            j += 4


cdef inline void finish_noisy(
    const real* R,          # IN (padded(D),)
    const real* unit,       # IN (D,)
    double count, double* first, double* second, double* scratch, Py_ssize_t D,
) noexcept nogil:
    """Replace the sums of r u and r (u uT - WT W) by those of r b and r (b bT + B); scratch has D D entries"""
    # b = diag(1 / unit) R u and B = diag(1 / unit) R (I - WT W) RT diag(1 / unit). Row i of R has i + 1 entries.
    cdef Py_ssize_t i, j, d
    cdef double total
    for i in range(D):
        second[triangle(i) + i] += count
    for i in range(D):
        for j in range(D):
            total = 0
            for d in range(i + 1):
                total += R[padded(i) + d] * (second[triangle(d) + j] if d >= j else second[triangle(j) + d])
            scratch[i * D + j] = total
    for i in range(D - 1, -1, -1):
        total = 0
        for d in range(i + 1):
            total += R[padded(i) + d] * first[d]
        first[i] = total / unit[i]
    for i in range(D):
        for j in range(i + 1):
            total = 0
            for d in range(j + 1):
                total += scratch[i * D + d] * R[padded(j) + d]
            second[triangle(i) + j] = total / unit[i] / unit[j]
