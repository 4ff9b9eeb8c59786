"""One covariance for all components: a sample is whitened once, and enters one D x D update."""
from layout cimport EXTENT, CHECKS, OK, Mixture, Tile, real, vec, vec_set, WIDTH
from panel cimport outer_products, subtract_panel, sum_rows
from tile cimport beyond_extent, weighted_differences
from whiten cimport pack_triangle, triangle, whiten


cdef inline Py_ssize_t tied_factor_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    # L, the whitened means L (mu_k - c), and the centre c as hi and lo
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
    # The centre c keeps an offset of the data out of the whitened coordinates: the mean of the component
    # means, in the features where it is large beside their spread (then x - c is exact for most x), else
    # 0 (then it is exact as well). The whitened means, being few, are summed in extended precision.
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
    cdef Py_ssize_t K = m.n_components, D = m.n_features, k, p, d
    cdef const real* whitened = m.factor + triangle(D)
    cdef const real* centre_hi = whitened + K * D
    cdef const vec* y
    cdef vec q0, q1, y0, y1
    cdef vec* out
    cdef real distance[WIDTH]
    if beyond_extent(t, K, D) or (CHECKS and triangle(D) + (K + 2) * D > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        subtract_panel(t.x + p * D * WIDTH, centre_hi, centre_hi + D, t.z, D)
        whiten(t.z, m.factor, t.y, distance, D)
        for k in range(K):
            q0 = q1 = vec_set(0)
            y = <const vec*> t.y
            for d in range(D):
                y0 = y[0] - whitened[k * D + d]
                y1 = y[1] - whitened[k * D + d]
                q0 = q0 + y0 * y0
                q1 = q1 + y1 * y1
                y += 2
            out = <vec*> (t.r + (p * K + k) * WIDTH)
            out[0] = m.log_constant[k] - q0 * <real> 0.5
            out[1] = m.log_constant[k] - q1 * <real> 0.5
    return OK


cdef inline int tied_accumulate(
    Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    bint at_means,
    double* counts,         # OUT (K,)                      added to, as all below
    double* first,          # OUT (K, D)
    double* second,         # OUT (D (D + 1) / 2 + K (K + 1) / 2,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """The parts T and Q of the pooled scatter, see below, lower triangles by rows"""
    # With z_k = x - c_k and zbar = sum_k r_k z_k (the r_k of a sample sum to 1),
    #     sum_k r_k z_k z_kT = zbar zbarT + sum_k r_k (z_k - zbar)(z_k - zbar)T
    #                        = zbar zbarT + 1/2 sum_kl r_k r_l (c_k - c_l)(c_k - c_l)T,
    # as z_k - z_l = c_l - c_k. So T = sum_n w zbar zbarT needs one D x D update a sample, and
    # Q_kl = sum_n w r_k r_l stands for all the rest. Every term is non-negative: nothing cancels.
    cdef Py_ssize_t k, d, p
    cdef double count
    cdef vec* zbar
    cdef vec* wz
    cdef const vec* r
    cdef const vec* z
    cdef const vec* w
    if beyond_extent(t, K, D):
        return EXTENT
    for p in range(t.n_panels * D):
        (<vec*> t.y)[2 * p] = vec_set(0)
        (<vec*> t.y)[2 * p + 1] = vec_set(0)
    for k in range(K):
        if weighted_differences(t, shift_hi + k * D, shift_lo + k * D, &count, k, K, D) != OK:
            return EXTENT
        if count == 0:
            continue
        counts[k] += count
        for d in range(D):
            first[k * D + d] += sum_rows(t.wz + d * WIDTH, D * WIDTH, t.n_panels)
        for p in range(t.n_panels):
            r = <const vec*> (t.r + (p * K + k) * WIDTH)
            zbar = <vec*> (t.y + p * D * WIDTH)
            z = <const vec*> (t.z + p * D * WIDTH)
            for d in range(D):
                zbar[2 * d] = zbar[2 * d] + r[0] * z[2 * d]
                zbar[2 * d + 1] = zbar[2 * d + 1] + r[1] * z[2 * d + 1]
    for p in range(t.n_panels):
        w = <const vec*> (t.weight + p * WIDTH)
        zbar = <vec*> (t.y + p * D * WIDTH)
        wz = <vec*> (t.wz + p * D * WIDTH)
        for d in range(D):
            wz[2 * d] = w[0] * zbar[2 * d]
            wz[2 * d + 1] = w[1] * zbar[2 * d + 1]
    outer_products(t.wz, t.y, second, D, t.n_panels)
    outer_products(t.wr, t.r, second + triangle(D), K, t.n_panels)
    return OK
