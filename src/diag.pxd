"""Diagonal covariances: one scale for each component and feature."""
from layout cimport EXTENT, CHECKS, OK, Mixture, Tile, real, vec, vec_set, WIDTH
from panel cimport _outer_1x1, sum_rows
from tile cimport beyond_extent, weighted_differences


cdef inline Py_ssize_t diag_factor_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K * D


cdef inline Py_ssize_t diag_moments_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K * D


cdef inline void diag_pack(
    const double* precisions_cholesky,  # IN  (K, D) reciprocal standard deviations
    const double* means,                # IN  (K, D)
    real* factor,                       # OUT (diag_factor_size,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(K * D):
        factor[i] = <real> precisions_cholesky[i]


cdef inline int diag_log_prob(Tile* t, const Mixture* m) noexcept nogil:
    """r[k] = log_constant[k] - sum over d of ((x_d - mu_kd) / sigma_kd)**2 / 2"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features, k, p, d
    cdef vec q0, q1, y0, y1
    cdef real hi, lo, scale
    cdef const vec* x
    cdef vec* out
    if beyond_extent(t, K, D) or (CHECKS and K * D > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        for k in range(K):
            q0 = q1 = vec_set(0)
            x = <const vec*> (t.x + p * D * WIDTH)
            for d in range(D):
                hi = m.mean_hi[k * D + d]
                scale = m.factor[k * D + d]
                y0 = x[0] - hi
                y1 = x[1] - hi
                if sizeof(real) == 4:
                    lo = m.mean_lo[k * D + d]
                    y0 = y0 - lo
                    y1 = y1 - lo
                y0 = y0 * scale
                y1 = y1 * scale
                q0 = q0 + y0 * y0
                q1 = q1 + y1 * y1
                x += 2
            out = <vec*> (t.r + (p * K + k) * WIDTH)
            out[0] = m.log_constant[k] - q0 * <real> 0.5
            out[1] = m.log_constant[k] - q1 * <real> 0.5
    return OK


cdef inline int diag_accumulate(
    Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    bint at_means,
    double* counts,         # OUT (K,)                      added to, as all below
    double* first,          # OUT (K, D)
    double* second,         # OUT (K, D)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """S_kd += sum of w r (x_d - c_kd)**2"""
    cdef Py_ssize_t k, d
    cdef double count
    if beyond_extent(t, K, D):
        return EXTENT
    for k in range(K):
        if weighted_differences(t, shift_hi + k * D, shift_lo + k * D, &count, k, K, D) != OK:
            return EXTENT
        if count == 0:
            continue
        counts[k] += count
        for d in range(D):
            first[k * D + d] += sum_rows(t.wz + d * WIDTH, D * WIDTH, t.n_panels)
            second[k * D + d] += _outer_1x1(t.wz + d * WIDTH, t.z + d * WIDTH, D * WIDTH, t.n_panels)
    return OK
