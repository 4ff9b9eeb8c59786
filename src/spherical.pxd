"""Spherical covariances: one scale for each component."""
from layout cimport EXTENT, CHECKS, OK, Mixture, Tile, real, REAL_MAX, WIDTH
from moments cimport sum_of_products, weighted_moments
from tile cimport add_counts, beyond_extent, squared_distance, two_squared_distances


cdef inline Py_ssize_t spherical_factor_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K


cdef inline Py_ssize_t spherical_moments_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K


cdef inline void spherical_pack(
    const double* precisions_cholesky,  # IN  (K,) reciprocal standard deviations
    const double* means,                # IN  (K, D)
    real* factor,                       # OUT (spherical_factor_size,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(K):
        factor[k] = <real> precisions_cholesky[k]


cdef inline int spherical_log_prob(Tile* t, const Mixture* m) noexcept nogil:
    """r[k] = log_constant[k] - (|x - mu_k| / sigma_k)**2 / 2; the squared distance is kept for the M-step"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features, k, p
    cdef real* distance
    if beyond_extent(t, K, D) or (CHECKS and K > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        k = 0
        while k + 2 <= K:
            distance = t.distance + (p * K + k) * WIDTH
            two_squared_distances(
                t.x + p * D * WIDTH, m.mean_hi + k * D, m.mean_lo + k * D, m.factor[k], m.factor[k + 1], distance, D
            )
            finish(distance, m, k, t.r + (p * K + k) * WIDTH)
            finish(distance + WIDTH, m, k + 1, t.r + (p * K + k + 1) * WIDTH)
            k += 2
        if k < K:
            distance = t.distance + (p * K + k) * WIDTH
            squared_distance(t.x + p * D * WIDTH, m.mean_hi + k * D, m.mean_lo + k * D, m.factor[k], distance, D)
            finish(distance, m, k, t.r + (p * K + k) * WIDTH)
    return OK


cdef inline void finish(real* distance, const Mixture* m, Py_ssize_t k, real* out) noexcept nogil:
    """The log-probability, and the distance in the units of the data"""
    cdef Py_ssize_t i
    cdef real value, sigma = 1 / m.factor[k]
    for i in range(WIDTH):
        value = distance[i]
        out[i] = m.log_constant[k] - value * <real> 0.5
        value = value * sigma * sigma
        # infinitely far away the responsibility is 0, and 0 times infinity would be no number
        distance[i] = value if value < REAL_MAX else REAL_MAX


cdef inline int spherical_accumulate(
    Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    bint at_means,          # the shift is the means of spherical_log_prob
    double* counts,         # OUT (K,)                      added to, as all below
    double* first,          # OUT (K, D)
    double* second,         # OUT (K,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """S_k += sum of w r |x - c_k|**2"""
    cdef Py_ssize_t k, p
    if beyond_extent(t, K, D):
        return EXTENT
    add_counts(t, counts, K)
    weighted_moments(t.x, t.r, shift_hi, shift_lo, first, NULL, K, D, t.n_panels)
    for k in range(K):
        if not at_means:
            for p in range(t.n_panels):
                squared_distance(
                    t.x + p * D * WIDTH, shift_hi + k * D, shift_lo + k * D, 1, t.distance + (p * K + k) * WIDTH, D
                )
        second[k] += sum_of_products(t.r + k * WIDTH, t.distance + k * WIDTH, K * WIDTH, t.n_panels)
    return OK
