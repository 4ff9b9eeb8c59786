"""Tied covariance: all components share a matrix. A sample is whitened once, and adds to a single D x D matrix."""
from libc.math cimport sqrt
from libc.string cimport memset

from layout cimport (
    EPS, EXTENT, CHECKS, LARGE, OK, Active, Change, Diagonal, Mixture, Statistics, Tile, real, vec, vec_set, vec_sum,
    LANES, WIDTH,
)
from linalg cimport factor_matrices
from moments cimport outer_products, scatter_components, scatter_large, weighted_moments
from panel cimport difference, subtract_panel
from stretch cimport moved_by, triangular_change
from tile cimport add_counts, add_some_counts, beyond_buffers
from whiten cimport pack_triangle, triangle, whiten, whiten_large


# ---- E-step ----

cdef inline Py_ssize_t tied_factor_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    # The factor is L, then the whitened means L (mu_k - c), then the centre c as hi and lo.
    return triangle(D) + K * D + 2 * D


cdef inline Py_ssize_t tied_moments_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return triangle(D) + triangle(K)


cdef inline void tied_pack(
    const double* precisions_cholesky,  # IN  (D, D)
    const double* means,                # IN  (K, D)
    real* factor,                       # OUT (tied_factor_size,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Write L = UT, L (mu_k - c), and c"""
    # The centre c keeps an offset of the data out of the whitened coordinates. In a feature where the mean of the
    # component means is large beside their spread, c is that mean, and x - c is exact for most x. In the other
    # features c is 0, and x - c is exact as well. The whitened means are few, so they are summed in extended
    # precision.
    cdef Py_ssize_t k, d, j
    cdef double centre, spread
    cdef long double s
    cdef real* whitened = factor + triangle(D)
    cdef real* centre_hi = whitened + K * D
    cdef real* centre_lo = centre_hi + D
    pack_triangle(precisions_cholesky, factor, D)
    for d in range(D):
        centre = 0
        for k in range(K):
            centre += (means[k * D + d] - means[d]) / K
        centre += means[d]
        spread = 0
        for k in range(K):
            spread = max(spread, abs(means[k * D + d] - centre))
        if abs(centre) < 8 * spread:
            centre = 0
        centre_hi[d] = <real> centre
        centre_lo[d] = <real> (centre - <double> centre_hi[d])
    for k in range(K):
        for j in range(D):
            s = 0
            for d in range(j + 1):
                s += (<long double> means[k * D + d] - centre_hi[d] - centre_lo[d]) * precisions_cholesky[d * D + j]
            whitened[k * D + j] = <real> s


cdef inline int tied_log_prob(Tile* t, const Mixture* m) noexcept nogil:
    """r[k] = log_constant[k] - |L (x - c) - L (mu_k - c)|**2 / 2"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features, k, p
    cdef const real* whitened = m.factor + triangle(D)
    cdef const real* centre_hi = whitened + K * D
    cdef real distance[WIDTH]
    cdef real* y
    if beyond_buffers(t, K, D) or (CHECKS and triangle(D) + (K + 2) * D > m.factor_size):
        return EXTENT
    if D > LARGE:
        for p in range(t.n_panels):
            subtract_panel(t.x + p * D * WIDTH, centre_hi, centre_hi + D, t.z + p * D * WIDTH, D)
        whiten_large(t.z, m.factor, t.y, t.distance, K * WIDTH, D, t.n_panels, True)
    for p in range(t.n_panels):
        y = t.y
        if D > LARGE:
            y += p * D * WIDTH
        else:
            subtract_panel(t.x + p * D * WIDTH, centre_hi, centre_hi + D, t.z, D)
            whiten(t.z, m.factor, y, distance, D)
        k = 0
        while k + 4 <= K:
            _tied_four(y, whitened + k * D, m.log_constant + k, t.r + (p * K + k) * WIDTH, D)
            k += 4
        while k < K:
            _tied_one(y, whitened + k * D, m.log_constant[k], t.r + (p * K + k) * WIDTH, D)
            k += 1
    return OK


cdef inline int tied_log_prob_some(Tile* t, const Mixture* m, const Active* a) noexcept nogil:
    """tied_log_prob for the pairs in a"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features, p, i, k
    cdef const real* whitened = m.factor + triangle(D)
    cdef const real* centre_hi = whitened + K * D
    cdef real distance[WIDTH]
    if beyond_buffers(t, K, D) or (CHECKS and triangle(D) + (K + 2) * D > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        if a.n_of_panel[p]:
            subtract_panel(t.x + p * D * WIDTH, centre_hi, centre_hi + D, t.z, D)
            whiten(t.z, m.factor, t.y, distance, D)
        for i in range(a.n_of_panel[p]):
            k = a.components[p * K + i]
            _tied_one(t.y, whitened + k * D, m.log_constant[k], t.r + (a.first[p] + i) * WIDTH, D)
    return OK


cdef inline void _tied_four(
    const real* y, const real* whitened, const real* log_constant, real* out, Py_ssize_t D,
) noexcept nogil:
    """Four components at once: their eight sums are independent, and share each load of y"""
    cdef vec q00 = vec_set(0), q01 = vec_set(0), q10 = vec_set(0), q11 = vec_set(0)
    cdef vec q20 = vec_set(0), q21 = vec_set(0), q30 = vec_set(0), q31 = vec_set(0), y0, y1, z
    cdef vec* target = <vec*> out
    cdef Py_ssize_t d
    for d in range(D):
        y0 = (<const vec*> y)[0]
        y1 = (<const vec*> y)[1]
        y += WIDTH
        z = y0 - whitened[d]
        q00 = q00 + z * z
        z = y1 - whitened[d]
        q01 = q01 + z * z
        z = y0 - whitened[D + d]
        q10 = q10 + z * z
        z = y1 - whitened[D + d]
        q11 = q11 + z * z
        z = y0 - whitened[2 * D + d]
        q20 = q20 + z * z
        z = y1 - whitened[2 * D + d]
        q21 = q21 + z * z
        z = y0 - whitened[3 * D + d]
        q30 = q30 + z * z
        z = y1 - whitened[3 * D + d]
        q31 = q31 + z * z
    target[0] = log_constant[0] - q00 * <real> 0.5
    target[1] = log_constant[0] - q01 * <real> 0.5
    target[2] = log_constant[1] - q10 * <real> 0.5
    target[3] = log_constant[1] - q11 * <real> 0.5
    target[4] = log_constant[2] - q20 * <real> 0.5
    target[5] = log_constant[2] - q21 * <real> 0.5
    target[6] = log_constant[3] - q30 * <real> 0.5
    target[7] = log_constant[3] - q31 * <real> 0.5


cdef inline void _tied_one(
    const real* y, const real* whitened, real log_constant, real* out, Py_ssize_t D,
) noexcept nogil:
    """One component"""
    cdef vec q0 = vec_set(0), q1 = vec_set(0), z
    cdef Py_ssize_t d
    for d in range(D):
        z = (<const vec*> y)[0] - whitened[d]
        q0 = q0 + z * z
        z = (<const vec*> y)[1] - whitened[d]
        q1 = q1 + z * z
        y += WIDTH
    (<vec*> out)[0] = log_constant - q0 * <real> 0.5
    (<vec*> out)[1] = log_constant - q1 * <real> 0.5


cdef inline int tied_accumulate(
    Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    bint at_means,
    double* counts,         # INOUT (K,)  added to, as first and second are
    double* first,          # INOUT (K, D)
    double* second,         # INOUT (D (D + 1) / 2 + K (K + 1) / 2,) T and Q
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """T += sum of w zbar zbarT, Q_kl += sum of w r_k r_l; second holds their lower triangles by rows.

    If there are many components, T gets the whole scatter and Q nothing; see add_components.
    """
    # Let z_k = x - c_k and zbar = sum_k r_k z_k. As the r_k of a sample sum to 1,
    #     sum_k r_k z_k z_kT = zbar zbarT + sum_k r_k (z_k - zbar)(z_k - zbar)T
    #                        = zbar zbarT + 1/2 sum_kl r_k r_l (c_k - c_l)(c_k - c_l)T,
    # because z_k - z_l = c_l - c_k. So a sample adds one D x D matrix to T = sum_n w zbar zbarT, and the rest of
    # the scatter follows from Q_kl = sum_n w r_k r_l. Every term is non-negative, so nothing cancels. If noise takes a
    # part of the sample, the r_k sum to rho < 1. Then w rho takes the place of w, and r_k / rho that of r_k.
    cdef Py_ssize_t p
    cdef const real* r = t.r
    cdef const real* wy = t.y
    if beyond_buffers(t, K, D):
        return EXTENT
    if by_component(K, D):
        scatter_components(t, shift_hi, shift_lo, counts, first, second, 0, K, D, NULL)
        return OK
    add_counts(t, counts, K)
    weighted_moments(t.x, t.r, shift_hi, shift_lo, first, NULL, K, D, t.n_panels, NULL)
    if t.weighted:
        remove_weight(t, K, NULL)
        r = t.plain
        wy = t.wz
    for p in range(t.n_panels):
        mean_differences(
            t.x + p * D * WIDTH, r + p * K * WIDTH, shift_hi, shift_lo, t.y + p * D * WIDTH, K, D, NULL, K
        )
        if t.weighted:
            multiply_panel(t.y + p * D * WIDTH, t.weight + p * WIDTH, t.wz + p * D * WIDTH, D)
    if D > LARGE:
        memset(t.z, 0, D * sizeof(real))
        scatter_large(t.y, t.weight, WIDTH, t.z, t.z, t.wz, NULL, second, D, t.n_panels)
    else:
        outer_products(wy, t.y, second, D, t.n_panels)
    outer_products(t.r, r, second + triangle(D), K, t.n_panels)
    return OK


cdef inline int tied_accumulate_some(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D, const Active* a,
) noexcept nogil:
    """tied_accumulate for the pairs in a"""
    cdef Py_ssize_t p
    cdef const real* r = t.r
    cdef const real* wy = t.y
    if beyond_buffers(t, K, D):
        return EXTENT
    if by_component(K, D):
        scatter_components(t, shift_hi, shift_lo, counts, first, second, 0, K, D, a)
        return OK
    add_some_counts(t, counts, K, a)
    weighted_moments(t.x, t.r, shift_hi, shift_lo, first, NULL, K, D, 0, a)
    if t.weighted:
        remove_weight(t, K, a)
        r = t.plain
        wy = t.wz
    for p in range(t.n_panels):
        mean_differences(
            t.x + p * D * WIDTH, r + a.first[p] * WIDTH, shift_hi, shift_lo, t.y + p * D * WIDTH, K, D,
            a.components + p * K, a.n_of_panel[p],
        )
        if t.weighted:
            multiply_panel(t.y + p * D * WIDTH, t.weight + p * WIDTH, t.wz + p * D * WIDTH, D)
        products_of_responsibilities(
            t.r + a.first[p] * WIDTH, r + a.first[p] * WIDTH, a.components + p * K, a.n_of_panel[p],
            second + triangle(D),
        )
    outer_products(wy, t.y, second, D, t.n_panels)
    return OK


cdef inline void products_of_responsibilities(
    const real* wr, const real* r, const unsigned short* components, Py_ssize_t n, double* Q,
) noexcept nogil:
    """Q_kl += sum of w r_k r_l over a panel, for the pairs of its components"""
    cdef Py_ssize_t i, j, k
    cdef const vec* u
    cdef const vec* v
    for i in range(n):
        k = components[i]
        u = <const vec*> (wr + i * WIDTH)
        for j in range(i + 1):
            v = <const vec*> (r + j * WIDTH)
            Q[triangle(k) + components[j]] += vec_sum(u[0] * v[0] + u[1] * v[1])


cdef inline bint by_component(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Tell whether the scatter is computed component by component"""
    # Then T is the whole scatter, the left side of the identity in tied_accumulate. Q stays 0, and adds nothing in the
    # M-step.
    # For a sample, T and Q take about (D**2 + K**2) / 2 + 4 K D operations, and the scatters of all components
    # K D**2 / 2 + 3 K D or so. In measurements both were equally fast for K between 0.7 D**2 and D**2.
    return K >= D * D


cdef inline void remove_weight(Tile* t, Py_ssize_t K, const Active* a) noexcept nogil:
    """plain = r / weight, or 0 if the weight is 0, for all pairs if a is NULL; first the weight loses the part that is
    noise"""
    # The r of a sample without noise sum to the weight up to rounding, and then the weight stays as it is.
    cdef Py_ssize_t p, k, n, i, at
    cdef real w
    cdef real share[WIDTH]
    cdef real least = 1 - 16 * K * EPS * (1 if sizeof(real) == 8 else 1 << 29)
    for p in range(t.n_panels):
        n = K if a == NULL else <Py_ssize_t> a.n_of_panel[p]
        at = (p * K if a == NULL else <Py_ssize_t> a.first[p]) * WIDTH
        for i in range(WIDTH):
            share[i] = 0
        for k in range(n):
            for i in range(WIDTH):
                share[i] += t.r[at + k * WIDTH + i]
        for i in range(WIDTH):
            if share[i] < least * t.weight[p * WIDTH + i]:
                t.weight[p * WIDTH + i] = share[i]
        for k in range(n):
            for i in range(WIDTH):
                w = t.weight[p * WIDTH + i]
                t.plain[at + k * WIDTH + i] = t.r[at + k * WIDTH + i] / (w if w > 0 else <real> 1)


cdef inline void multiply_panel(const real* y, const real* weight, real* out, Py_ssize_t D) noexcept nogil:
    """out = weight y"""
    cdef Py_ssize_t d
    for d in range(D):
        (<vec*> out)[2 * d] = (<const vec*> weight)[0] * (<const vec*> y)[2 * d]
        (<vec*> out)[2 * d + 1] = (<const vec*> weight)[1] * (<const vec*> y)[2 * d + 1]


cdef inline void mean_differences(
    const real* x,          # IN  (D, WIDTH)
    const real* r,          # IN  (n, WIDTH)
    const real* hi,         # IN  (K, D)
    const real* lo,         # IN  (K, D)
    real* out,              # OUT (D, WIDTH)
    Py_ssize_t K,
    Py_ssize_t D,
    const unsigned short* components,   # IN (n,) the components that count, or NULL for all
    Py_ssize_t n,
) noexcept nogil:
    """zbar = sum over k of r_k (x - c_k)"""
    # Four features are done at a time, so that their sums stay in registers.
    cdef Py_ssize_t d = 0, i, k
    cdef vec s00, s01, s10, s11, s20, s21, s30, s31, r0, r1
    cdef vec* target
    while d + 4 <= D:
        s00 = s01 = s10 = s11 = s20 = s21 = s30 = s31 = vec_set(0)
        for i in range(n):
            k = i if components == NULL else <Py_ssize_t> components[i]
            r0 = (<const vec*> (r + i * WIDTH))[0]
            r1 = (<const vec*> (r + i * WIDTH))[1]
            s00 = s00 + r0 * difference(x + d * WIDTH, hi[k * D + d], lo[k * D + d])
            s01 = s01 + r1 * difference(x + d * WIDTH + LANES, hi[k * D + d], lo[k * D + d])
            s10 = s10 + r0 * difference(x + (d + 1) * WIDTH, hi[k * D + d + 1], lo[k * D + d + 1])
            s11 = s11 + r1 * difference(x + (d + 1) * WIDTH + LANES, hi[k * D + d + 1], lo[k * D + d + 1])
            s20 = s20 + r0 * difference(x + (d + 2) * WIDTH, hi[k * D + d + 2], lo[k * D + d + 2])
            s21 = s21 + r1 * difference(x + (d + 2) * WIDTH + LANES, hi[k * D + d + 2], lo[k * D + d + 2])
            s30 = s30 + r0 * difference(x + (d + 3) * WIDTH, hi[k * D + d + 3], lo[k * D + d + 3])
            s31 = s31 + r1 * difference(x + (d + 3) * WIDTH + LANES, hi[k * D + d + 3], lo[k * D + d + 3])
        target = <vec*> (out + d * WIDTH)
        target[0] = s00
        target[1] = s01
        target[2] = s10
        target[3] = s11
        target[4] = s20
        target[5] = s21
        target[6] = s30
        target[7] = s31
        d += 4
    while d < D:
        s00 = s01 = vec_set(0)
        for i in range(n):
            k = i if components == NULL else <Py_ssize_t> components[i]
            s00 = s00 + (<const vec*> (r + i * WIDTH))[0] * difference(x + d * WIDTH, hi[k * D + d], lo[k * D + d])
            s01 = s01 + (<const vec*> (r + i * WIDTH))[1] * difference(
                x + d * WIDTH + LANES, hi[k * D + d], lo[k * D + d]
            )
        (<vec*> (out + d * WIDTH))[0] = s00
        (<vec*> (out + d * WIDTH))[1] = s01
        d += 1


cdef inline void tied_changes(
    const double* U_before,     # IN  (D, D)
    const double* means_before,     # IN  (K, D)
    const double* U,            # IN  (D, D)
    const double* means,        # IN  (K, D)
    Change* changes,            # OUT (K,)
    double* scratch,            # TMP (5, D, D)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """How distances change between two mixtures"""
    # A distance is that of the whitened sample L (x - c) from L (mu_k - c), so its error grows with |L (mu_k - c)|. In
    # each feature |mu_k - c| is at most 9 times the largest distance from the mean of the means; see tied_pack.
    cdef Change shared = triangular_change(U_before, U, scratch, D)
    cdef double centre, sum_, total = 0
    cdef double* spread = scratch
    cdef Py_ssize_t k, d, i
    for d in range(D):
        centre = spread[d] = 0
        for k in range(K):
            centre += (means[k * D + d] - means[d]) / K
        for k in range(K):
            spread[d] = max(spread[d], abs(means[k * D + d] - means[d] - centre))
    for i in range(D):
        sum_ = 0
        for d in range(i + 1):
            sum_ += abs(U[d * D + i]) * 9 * spread[d]
        total += sum_ * sum_
    shared.absolute = 2 * shared.relative * sqrt(total)
    for k in range(K):
        changes[k] = shared
        changes[k].move = moved_by(U, means_before + k * D, means + k * D, D)


# ---- M-step ----

cdef inline Py_ssize_t tied_covariances_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return D * D


cdef inline Diagonal tied_diagonal(Py_ssize_t D) noexcept nogil:
    return Diagonal(0, D + 1)


cdef inline void tied_covariances(
    const Statistics* s,
    double* C,              # OUT (D, D)
) noexcept nogil:
    """C = (T + sum over k > l of Q_kl (c_k - c_l)(c_k - c_l)T - sum over k of N_k d_k d_kT) / N + diag(reg_covar)"""
    # T and Q are those of tied_accumulate, and d_k = s_k / N_k is the move of a mean.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, l, i, j
    cdef double q, a
    cdef const double* Q = s.second + triangle(D)
    for i in range(D):
        for j in range(i + 1):
            C[i * D + j] = s.second[triangle(i) + j]
    for k in range(K):
        for l in range(k):
            q = Q[triangle(k) + l]
            if q == 0:
                continue
            for i in range(D):
                a = q * (s.shift[k * D + i] - s.shift[l * D + i])
                for j in range(i + 1):
                    C[i * D + j] += a * (s.shift[k * D + j] - s.shift[l * D + j])
    for k in range(K):
        if not s.empty[k]:
            for i in range(D):
                a = s.first[k * D + i] / s.counts[k]
                for j in range(i + 1):
                    C[i * D + j] -= a * s.first[k * D + j]
    for i in range(D):
        for j in range(i + 1):
            C[i * D + j] /= s.total
            C[j * D + i] = C[i * D + j]
        C[i * D + i] += s.reg_covar[i]


cdef inline Py_ssize_t tied_precisions_cholesky(
    const double* covariances,      # IN  (D, D)
    double* precisions_cholesky,    # OUT (D, D)
    double* scratch,                # TMP (D, D)
    Py_ssize_t K,
    Py_ssize_t D,
    int n_threads,
) noexcept nogil:
    return factor_matrices(covariances, precisions_cholesky, scratch, 1, D, n_threads)


cdef inline Py_ssize_t tied_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return D * D
