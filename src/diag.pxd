"""Diagonal covariances: each component has a variance for each feature."""
from degenerate cimport lift_collapsed, pool_covariances
from layout cimport (
    EXTENT, CHECKS, OK, Active, Change, Diagonal, Mixture, Statistics, Tile,
    real, vec, vec_set, LANES, WIDTH,
)
from linalg cimport factor_variances
from moments cimport weighted_moments
from panel cimport difference
from stretch cimport diagonal_change
from tile cimport add_counts, add_some_counts, beyond_buffers


# ---- E-step ----

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
    """factor = precisions_cholesky, in the element type"""
    cdef Py_ssize_t i
    for i in range(K * D):
        factor[i] = <real> precisions_cholesky[i]


cdef inline int diag_log_prob(Tile* t, const Mixture* m) noexcept nogil:
    """r[k] = log_constant[k] - sum over d of ((x_d - mu_kd) / sigma_kd)**2 / 2"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features, k, p
    if beyond_buffers(t, K, D) or (CHECKS and K * D > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        k = 0
        while k + 2 <= K:
            _diag_two(t.x + p * D * WIDTH, m, k, t.r + (p * K + k) * WIDTH, D)
            k += 2
        if k < K:
            _diag_one(t.x + p * D * WIDTH, m, k, t.r + (p * K + k) * WIDTH, D)
    return OK


cdef inline int diag_log_prob_some(Tile* t, const Mixture* m, const Active* a) noexcept nogil:
    """diag_log_prob for the pairs in a"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features, k, i, p
    if beyond_buffers(t, K, D) or (CHECKS and K * D > m.factor_size):
        return EXTENT
    for p in range(t.n_panels):
        for i in range(a.n_of_panel[p]):
            k = a.components[p * K + i]
            _diag_one(t.x + p * D * WIDTH, m, k, t.r + (a.first[p] + i) * WIDTH, D)
    return OK


cdef inline void _diag_two(const real* x, const Mixture* m, Py_ssize_t k, real* out, Py_ssize_t D) noexcept nogil:
    """Components k and k + 1 at once: their four sums are independent, and share each load of x"""
    cdef const real* hi = m.mean_hi + k * D
    cdef const real* lo = m.mean_lo + k * D
    cdef const real* scale = m.factor + k * D
    cdef vec q00 = vec_set(0), q01 = vec_set(0), q10 = vec_set(0), q11 = vec_set(0), y
    cdef Py_ssize_t d
    for d in range(D):
        y = difference(x, hi[d], lo[d]) * scale[d]
        q00 = q00 + y * y
        y = difference(x + LANES, hi[d], lo[d]) * scale[d]
        q01 = q01 + y * y
        y = difference(x, hi[D + d], lo[D + d]) * scale[D + d]
        q10 = q10 + y * y
        y = difference(x + LANES, hi[D + d], lo[D + d]) * scale[D + d]
        q11 = q11 + y * y
        x += WIDTH
    (<vec*> out)[0] = m.log_constant[k] - q00 * <real> 0.5
    (<vec*> out)[1] = m.log_constant[k] - q01 * <real> 0.5
    (<vec*> out)[2] = m.log_constant[k + 1] - q10 * <real> 0.5
    (<vec*> out)[3] = m.log_constant[k + 1] - q11 * <real> 0.5


cdef inline void _diag_one(const real* x, const Mixture* m, Py_ssize_t k, real* out, Py_ssize_t D) noexcept nogil:
    """Component k"""
    cdef const real* hi = m.mean_hi + k * D
    cdef const real* lo = m.mean_lo + k * D
    cdef const real* scale = m.factor + k * D
    cdef vec q0 = vec_set(0), q1 = vec_set(0), y
    cdef Py_ssize_t d
    for d in range(D):
        y = difference(x, hi[d], lo[d]) * scale[d]
        q0 = q0 + y * y
        y = difference(x + LANES, hi[d], lo[d]) * scale[d]
        q1 = q1 + y * y
        x += WIDTH
    (<vec*> out)[0] = m.log_constant[k] - q0 * <real> 0.5
    (<vec*> out)[1] = m.log_constant[k] - q1 * <real> 0.5


cdef inline int diag_accumulate(
    Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    bint at_means,
    double* counts,         # INOUT (K,)  added to, as first and second are
    double* first,          # INOUT (K, D)
    double* second,         # INOUT (K, D)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """S_kd += sum of w r (x_d - c_kd)**2"""
    if beyond_buffers(t, K, D):
        return EXTENT
    add_counts(t, counts, K)
    weighted_moments(t.x, t.r, shift_hi, shift_lo, first, second, K, D, t.n_panels, NULL)
    return OK


cdef inline int diag_accumulate_some(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D, const Active* a,
) noexcept nogil:
    """diag_accumulate for the pairs in a"""
    if beyond_buffers(t, K, D):
        return EXTENT
    add_some_counts(t, counts, K, a)
    weighted_moments(t.x, t.r, shift_hi, shift_lo, first, second, K, D, 0, a)
    return OK


cdef inline void diag_changes(
    const double* before,       # IN  (K, D) reciprocal standard deviations
    const double* means_before,     # IN  (K, D)
    const double* factor,       # IN  (K, D)
    const double* means,        # IN  (K, D)
    Change* changes,            # OUT (K,)
    double* scratch,            # TMP not used
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """How distances change between two mixtures"""
    cdef Py_ssize_t k
    for k in range(K):
        changes[k] = diagonal_change(
            before + k * D, means_before + k * D, factor + k * D, means + k * D, 1, D
        )


# ---- M-step ----

cdef inline Py_ssize_t diag_covariances_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K * D


cdef inline Diagonal diag_diagonal(Py_ssize_t D) noexcept nogil:
    return Diagonal(D, 1)


cdef inline void diag_covariances(
    const Statistics* s,
    double* covariances,    # OUT (K, D)
) noexcept nogil:
    """C_kd = S_kd / N_k - d_kd**2 + reg_covar_d, where d_k = s_k / N_k is the move of the mean.

    The functions in degenerate.pxd set the variances of empty and of collapsed components.
    """
    cdef Py_ssize_t D = s.n_features, k, d
    cdef double move
    for k in range(s.n_components):
        if not s.empty[k]:
            for d in range(D):
                move = s.first[k * D + d] / s.counts[k]
                covariances[k * D + d] = s.second[k * D + d] / s.counts[k] - move * move + s.reg_covar[d]
    lift_collapsed(s, covariances, D)
    pool_covariances(s, covariances, D)


cdef inline Py_ssize_t diag_precisions_cholesky(
    const double* covariances,      # IN  (K, D)
    double* precisions_cholesky,    # OUT (K, D)
    double* scratch,                # TMP not used
    Py_ssize_t K,
    Py_ssize_t D,
    int n_threads,
) noexcept nogil:
    return factor_variances(covariances, precisions_cholesky, K, D)


cdef inline Py_ssize_t diag_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return 0
