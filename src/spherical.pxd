"""Spherical covariances: each component has one variance."""
from degenerate cimport lift_collapsed, pool_covariances
from layout cimport EXTENT, CHECKS, OK, Active, Change, Diagonal, Mixture, Statistics, Tile, real, REAL_MAX, WIDTH
from linalg cimport factor_variances
from moments cimport sum_of_products, sum_of_some_products, weighted_moments
from stretch cimport diagonal_change
from tile cimport add_counts, add_some_counts, beyond_buffers, squared_distances


# ---- E-step ----

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
    """factor = precisions_cholesky, in the element type"""
    cdef Py_ssize_t k
    for k in range(K):
        factor[k] = <real> precisions_cholesky[k]


cdef inline int spherical_log_prob(Tile* t, const Mixture* m) noexcept nogil:
    """r[k] = log_constant[k] - (|x - mu_k| / sigma_k)**2 / 2, distance[k] = |x - mu_k|**2 for the second moments"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features, k, p
    if beyond_buffers(t, K, D) or (CHECKS and K > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        k = 0
        while k + 4 <= K:
            some_log_prob(t, m, p, k, p * K + k, 4)
            k += 4
        while k < K:
            some_log_prob(t, m, p, k, p * K + k, 1)
            k += 1
    return OK


cdef inline int spherical_log_prob_some(Tile* t, const Mixture* m, const Active* a) noexcept nogil:
    """spherical_log_prob for the pairs in a"""
    cdef Py_ssize_t K = m.n_components, p, i
    if beyond_buffers(t, K, m.n_features) or (CHECKS and K > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        for i in range(a.n_of_panel[p]):
            some_log_prob(t, m, p, a.components[p * K + i], a.first[p] + i, 1)
    return OK


cdef inline void some_log_prob(
    Tile* t, const Mixture* m, Py_ssize_t p, Py_ssize_t k, Py_ssize_t slot, Py_ssize_t n,
) noexcept nogil:
    """The components k to k + n of panel p; n is known at compile time"""
    cdef Py_ssize_t D = m.n_features, c, at = slot * WIDTH
    squared_distances(
        t.x + p * D * WIDTH, m.mean_hi + k * D, m.mean_lo + k * D, m.factor + k, t.distance + at, n, D
    )
    for c in range(n):
        finish(t.distance + at + c * WIDTH, m, k + c, t.r + at + c * WIDTH)


cdef inline void finish(real* distance, const Mixture* m, Py_ssize_t k, real* out) noexcept nogil:
    """Turn squared distances in units of sigma_k into log-probabilities, and into squared distances in units of x"""
    cdef Py_ssize_t i
    cdef real value, sigma = 1 / m.factor[k]
    for i in range(WIDTH):
        value = distance[i]
        out[i] = m.log_constant[k] - value * <real> 0.5
        value = value * sigma * sigma
        # At an infinite distance the responsibility is 0, and 0 times infinity would be NaN.
        distance[i] = value if value < REAL_MAX else REAL_MAX


cdef inline int spherical_accumulate(
    Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    bint at_means,          # the shift is the means, so that t.distance holds |x - c_k|**2 already
    double* counts,         # INOUT (K,)  added to, as first and second are
    double* first,          # INOUT (K, D)
    double* second,         # INOUT (K,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """S_k += sum of w r |x - c_k|**2"""
    cdef Py_ssize_t k, p
    if beyond_buffers(t, K, D):
        return EXTENT
    add_counts(t, counts, K)
    weighted_moments(t.x, t.r, shift_hi, shift_lo, first, NULL, K, D, t.n_panels, NULL)
    for k in range(K):
        if not at_means:
            for p in range(t.n_panels):
                squared_distances(
                    t.x + p * D * WIDTH, shift_hi + k * D, shift_lo + k * D, NULL,
                    t.distance + (p * K + k) * WIDTH, 1, D,
                )
        second[k] += sum_of_products(t.r + k * WIDTH, t.distance + k * WIDTH, K * WIDTH, t.n_panels)
    return OK


cdef inline int spherical_accumulate_some(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D, const Active* a,
) noexcept nogil:
    """spherical_accumulate for the pairs in a"""
    cdef Py_ssize_t k, i, p
    if beyond_buffers(t, K, D):
        return EXTENT
    add_some_counts(t, counts, K, a)
    weighted_moments(t.x, t.r, shift_hi, shift_lo, first, NULL, K, D, 0, a)
    for k in range(K):
        if a.n_of_component[k] == 0:
            continue
        if not at_means:
            for i in range(a.n_of_component[k]):
                p = a.panels[k * a.n_panels + i]
                squared_distances(
                    t.x + p * D * WIDTH, shift_hi + k * D, shift_lo + k * D, NULL,
                    t.distance + a.slots[k * a.n_panels + i] * WIDTH, 1, D,
                )
        second[k] += sum_of_some_products(
            t.r, t.distance, a.slots + k * a.n_panels, a.n_of_component[k]
        )
    return OK


cdef inline void spherical_changes(
    const double* before,       # IN  (K,) reciprocal standard deviations
    const double* means_before,     # IN  (K, D)
    const double* factor,       # IN  (K,)
    const double* means,        # IN  (K, D)
    Change* changes,            # OUT (K,)
    double* scratch,            # TMP not used
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """How distances change between two mixtures"""
    cdef Py_ssize_t k
    for k in range(K):
        changes[k] = diagonal_change(before + k, means_before + k * D, factor + k, means + k * D, 0, D)


# ---- M-step ----

cdef inline Py_ssize_t spherical_covariances_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K


cdef inline Diagonal spherical_diagonal(Py_ssize_t D) noexcept nogil:
    return Diagonal(1, 0)


cdef inline void spherical_covariances(
    const Statistics* s,
    double* covariances,    # OUT (K,)
) noexcept nogil:
    """C_k = (S_k / N_k - |d_k|**2) / D + the mean of reg_covar, where d_k = s_k / N_k is the move of the mean.

    The functions in degenerate.pxd set the variances of empty and of collapsed components.
    """
    cdef Py_ssize_t D = s.n_features, k, d
    cdef double move, scatter, mean_reg_covar = 0
    for d in range(D):
        mean_reg_covar += s.reg_covar[d] / D
    for k in range(s.n_components):
        if not s.empty[k]:
            scatter = s.second[k] / s.counts[k]
            for d in range(D):
                move = s.first[k * D + d] / s.counts[k]
                scatter -= move * move
            covariances[k] = scatter / D + mean_reg_covar
    lift_collapsed(s, covariances, 1)
    pool_covariances(s, covariances, 1)


cdef inline Py_ssize_t spherical_precisions_cholesky(
    const double* covariances,      # IN  (K,)
    double* precisions_cholesky,    # OUT (K,)
    double* scratch,                # TMP not used
    Py_ssize_t K,
    Py_ssize_t D,
    int n_threads,
) noexcept nogil:
    return factor_variances(covariances, precisions_cholesky, K, 1)


cdef inline Py_ssize_t spherical_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return 0
