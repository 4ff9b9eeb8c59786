"""Samples that were measured with noise of known covariances S_n, for components with a covariance matrix.

With T = Sigma + S = L LT, Sigma = R RT, W = L**-1 R, y = L**-1 (x - mu) and u = WT y: the sample without noise has the
mean mu + R u and the covariance R (I - WT W) RT given the sample with noise. The sums of r u and r (u uT - WT W) are
multiplied by R once, after the pass, so that they keep their digits in every direction of Sigma. W is triangular: a row
costs D**3 / 2 multiply-adds. A missing value has its row and column of T from the unit matrix, and its row of R is 0.
"""
from libc.math cimport M_PI, log

from lanes cimport factor_lanes, multiply_transposed_lanes, padded, solve_lanes, solve_triangle_lanes
from layout cimport real, vec, vec_set, LANES, WIDTH
from linalg cimport invert_lower
from rowpanel cimport RowMixture, RowPanel, length
from vmath cimport log_vector
from whiten cimport triangle

cdef extern from "vec.h" nogil:
    vec vec_max(vec a, vec b)
    vec vec_exponent(vec a)
    vec vec_mantissa(vec a)

# The units are the standard deviations of the component, so that Sigma is its matrix of correlations. `factor` of a
# component holds R, padded; `matrix` holds the lower triangles of Sigma and of the products of the units.


# Up to this many features, the compiler knows the lengths of the rows of triangles.
cdef enum:
    FEW = 8


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
    cdef double size, total
    cdef Py_ssize_t i, j, d
    for i in range(D):
        for d in range(D):
            lower[i * D + d] = U[d * D + i] if d <= i else 0
    invert_lower(lower, inverse, D)
    log_det[0] = 0
    for i in range(D):
        size = length(inverse + i * D, i + 1)
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
            matrix[triangle(D) + triangle(i) + j] = min(unit[i] * unit[j], <real> 1e300)   # it is multiplied by 0, too


cdef inline bint is_few(const RowPanel* panel, Py_ssize_t D) noexcept nogil:
    """Tell whether the functions for few features apply"""
    return D <= FEW and panel.n_missing == 0


cdef inline void noisy_log_prob(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, NoisyPart part, real* log_prob, bint posterior,
    Py_ssize_t D,
) noexcept nogil:
    """Write the weighted log-probabilities (WIDTH,) of component k.

    `accumulate_noisy` can read the part if not `posterior`, and `noisy_weights` if `posterior`.
    """
    if is_few(panel, D) and not posterior:
        few_log_prob(m, panel, k, part, log_prob, D)
    else:
        many_log_prob(m, panel, k, part, log_prob, D)


cdef inline void many_log_prob(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, NoisyPart part, real* log_prob, Py_ssize_t D,
) noexcept nogil:
    """noisy_log_prob for any number of features and values that may be missing"""
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
    for d in range(D):
        for e in range(d + 1):
            at = triangle(d) + e
            T[2 * at] = noise[2 * (d * D + e)] * units[at] + correlation[at]
            T[2 * at + 1] = noise[2 * (d * D + e) + 1] * units[at] + correlation[at]
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


cdef inline void accumulate_noisy(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, NoisyPart part, const real* r, real* count, real* first,
    real* second, real* W, real* u, Py_ssize_t D,
) noexcept nogil:
    """Add r, r u and r (u uT - WT W) to the sums of component k; W and u are scratch.

    The sums have LANES reals for each entry, those of matrices as a padded triangle.
    """
    cdef const real* R = m.factor + k * m.factor_size
    if not is_few(panel, D):
        noisy_weights(m, panel, k, part, W, u, D)
        add_noisy(W, u, r, count, first, second, D)
    elif D == 1:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 1)
    elif D == 2:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 2)
    elif D == 3:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 3)
    elif D == 4:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 4)
    elif D == 5:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 5)
    elif D == 6:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 6)
    elif D == 7:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 7)
    elif D == 8:
        add_few(R, part, <const vec*> r, <vec*> count, <vec*> first, <vec*> second, 8)


cdef inline void add_noisy(
    const real* W, const real* u, const real* r, real* count, real* first, real* second, Py_ssize_t D,
) noexcept nogil:
    """accumulate_noisy for any number of features"""
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


# With few features, no square roots are taken: T = M G**-1 MT with a diagonal matrix G and a triangle M whose diagonal
# is 1. With V = M**-1 R and y = M**-1 (x - mu), WT W = VT G V and u = VT G y. The part of a component holds M in the
# place of L, G in that of the reciprocals, and G y in that of y. Each row of a triangle is a step of its own: the
# compiler unrolls the loops of a step, because it knows the row, but not those over all rows.


cdef inline void few_log_prob(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, NoisyPart part, real* log_prob, Py_ssize_t D,
) noexcept nogil:
    """noisy_log_prob for few features"""
    cdef real product[WIDTH]
    cdef vec exponent[2]
    cdef vec distance[2]
    cdef Py_ssize_t i
    for i in range(2):
        (<vec*> product)[i] = vec_set(1)
        exponent[i] = distance[i] = vec_set(0)
    factor_row(m, panel, k, part, <vec*> product, exponent, distance, 0, D)
    if D > 1:
        factor_row(m, panel, k, part, <vec*> product, exponent, distance, 1, D)
    if D > 2:
        factor_row(m, panel, k, part, <vec*> product, exponent, distance, 2, D)
    if D > 3:
        factor_row(m, panel, k, part, <vec*> product, exponent, distance, 3, D)
    if D > 4:
        factor_row(m, panel, k, part, <vec*> product, exponent, distance, 4, D)
    if D > 5:
        factor_row(m, panel, k, part, <vec*> product, exponent, distance, 5, D)
    if D > 6:
        factor_row(m, panel, k, part, <vec*> product, exponent, distance, 6, D)
    if D > 7:
        factor_row(m, panel, k, part, <vec*> product, exponent, distance, 7, D)
    for i in range(2):
        distance[i] = distance[i] + log_vector((<vec*> product)[i]) + exponent[i] * <real> 0.6931471805599453
        (<vec*> log_prob)[i] = m.log_constant[k] - <real> 0.5 * distance[i]


cdef inline void factor_row(
    const RowMixture* m, const RowPanel* panel, Py_ssize_t k, NoisyPart part, vec* product, vec* exponent,
    vec* distance, Py_ssize_t i, Py_ssize_t D,
) noexcept nogil:
    """Compute row i of M, G and y; i is known at compile time"""
    cdef const real* correlation = m.matrix + k * m.matrix_size
    cdef const real* units = correlation + triangle(D)
    cdef const vec* noise = <const vec*> panel.noise
    cdef vec* L = <vec*> part.L
    cdef vec* reciprocal = <vec*> part.reciprocal
    cdef vec* y = <vec*> part.y
    cdef vec row[FEW]
    cdef vec s, t
    cdef Py_ssize_t j, p, v, at
    for v in range(2):
        t = ((<vec*> panel.x)[2 * i + v] - m.mean[k * D + i]) * m.unit[k * D + i]
        for j in range(i):
            at = triangle(i) + j
            s = noise[2 * (i * D + j) + v] * units[at] + correlation[at]
            for p in range(j):
                s = s - row[p] * L[2 * (triangle(j) + p) + v]
            row[j] = s
            t = t - s * y[2 * j + v]
        at = triangle(i) + i
        s = noise[2 * (i * D + i) + v] * units[at] + 1
        for p in range(i):
            L[2 * (triangle(i) + p) + v] = row[p] * reciprocal[2 * p + v]
            s = s - row[p] * L[2 * (triangle(i) + p) + v]
        s = vec_max(s, vec_set(m.least[k * (D + 1) + i]))
        product[v] = product[v] * vec_mantissa(s)
        exponent[v] = exponent[v] + vec_exponent(s)
        s = 1 / s
        reciprocal[2 * i + v] = s
        y[2 * i + v] = t * s
        distance[v] = distance[v] + t * (t * s)


cdef inline void add_few(
    const real* R, NoisyPart part, const vec* r, vec* count, vec* first, vec* second, Py_ssize_t D,
) noexcept nogil:
    """accumulate_noisy after few_log_prob; D is known at compile time"""
    cdef vec V[FEW * (FEW + 1)]
    cdef vec u[2 * FEW]
    weigh_row(R, part, r, second, V, u, 0)
    if D > 1:
        weigh_row(R, part, r, second, V, u, 1)
    if D > 2:
        weigh_row(R, part, r, second, V, u, 2)
    if D > 3:
        weigh_row(R, part, r, second, V, u, 3)
    if D > 4:
        weigh_row(R, part, r, second, V, u, 4)
    if D > 5:
        weigh_row(R, part, r, second, V, u, 5)
    if D > 6:
        weigh_row(R, part, r, second, V, u, 6)
    if D > 7:
        weigh_row(R, part, r, second, V, u, 7)
    count[0] = count[0] + (r[0] + r[1])
    add_row(r, first, second, u, 0)
    if D > 1:
        add_row(r, first, second, u, 1)
    if D > 2:
        add_row(r, first, second, u, 2)
    if D > 3:
        add_row(r, first, second, u, 3)
    if D > 4:
        add_row(r, first, second, u, 4)
    if D > 5:
        add_row(r, first, second, u, 5)
    if D > 6:
        add_row(r, first, second, u, 6)
    if D > 7:
        add_row(r, first, second, u, 7)


cdef inline void add_row(const vec* r, vec* first, vec* second, const vec* u, Py_ssize_t i) noexcept nogil:
    """Add feature i of r u, and row i of r u uT"""
    cdef vec u0 = r[0] * u[2 * i], u1 = r[1] * u[2 * i + 1]
    cdef vec* sums = second + padded(i)
    cdef Py_ssize_t j
    first[i] = first[i] + (u0 + u1)
    for j in range(i + 1):
        sums[j] = sums[j] + u0 * u[2 * j] + u1 * u[2 * j + 1]


cdef inline void weigh_row(
    const real* R, NoisyPart part, const vec* r, vec* second, vec* V, vec* u, Py_ssize_t i,
) noexcept nogil:
    """Compute row i of V, add row i of VT G y to u, and subtract its part of r VT G V from the sums"""
    cdef const vec* L = <const vec*> part.L + 2 * triangle(i)
    cdef vec* row = V + 2 * triangle(i)
    cdef vec s, q0, q1, r0 = r[0] * (<vec*> part.reciprocal)[2 * i], r1 = r[1] * (<vec*> part.reciprocal)[2 * i + 1]
    cdef vec* sums
    cdef Py_ssize_t j, p, v
    for v in range(2):
        for j in range(i + 1):
            s = vec_set(R[padded(i) + j])
            for p in range(j, i):
                s = s - L[2 * p + v] * V[2 * (triangle(p) + j) + v]
            row[2 * j + v] = s
            s = s * (<const vec*> part.y)[2 * i + v]
            u[2 * j + v] = s if j == i else u[2 * j + v] + s
    for j in range(i + 1):
        q0 = row[2 * j] * r0
        q1 = row[2 * j + 1] * r1
        sums = second + padded(j)
        for p in range(j + 1):
            sums[p] = sums[p] - q0 * row[2 * p] - q1 * row[2 * p + 1]


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
