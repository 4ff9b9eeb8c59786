"""Full covariances: each component has a matrix of its own, and a triangular factor of it."""
from degenerate cimport pool_covariances
from layout cimport (
    EXTENT, CHECKS, LARGE, OK, Active, Change, Diagonal, Mixture, Statistics, Tile, real, vec, WIDTH,
)
from linalg cimport factor_matrices
from moments cimport scatter_components
from panel cimport subtract_panel
from stretch cimport moved_by, triangular_change
from tile cimport beyond_buffers
from whiten cimport pack_triangle, triangle, whiten, whiten_large


# ---- E-step ----

cdef inline Py_ssize_t full_factor_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K * triangle(D)


cdef inline Py_ssize_t full_moments_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K * triangle(D)


cdef inline void full_pack(
    const double* precisions_cholesky,  # IN  (K, D, D)
    const double* means,                # IN  (K, D)
    real* factor,                       # OUT (full_factor_size,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Write L_k = U_kT row by row, in the order that `whiten` reads"""
    cdef Py_ssize_t k
    for k in range(K):
        pack_triangle(precisions_cholesky + k * D * D, factor + k * triangle(D), D)


cdef inline int full_log_prob(Tile* t, const Mixture* m) noexcept nogil:
    """r[k] = log_constant[k] - |L_k (x - mu_k)|**2 / 2"""
    return _log_prob_of(t, m, NULL)


cdef inline int full_log_prob_some(Tile* t, const Mixture* m, const Active* a) noexcept nogil:
    """full_log_prob for the pairs in a"""
    return _log_prob_of(t, m, a)


cdef inline int _log_prob_of(Tile* t, const Mixture* m, const Active* a) noexcept nogil:
    cdef Py_ssize_t D = m.n_features
    if beyond_buffers(t, m.n_components, D) or (CHECKS and m.n_components * triangle(D) > m.factor_size):
        return EXTENT
    if D == 1:
        _log_prob(t, m, 1, a)
    elif D == 2:
        _log_prob(t, m, 2, a)
    elif D == 3:
        _log_prob(t, m, 3, a)
    elif D == 4:
        _log_prob(t, m, 4, a)
    elif D > LARGE and a == NULL:
        _log_prob_large(t, m, D)
    else:
        _log_prob(t, m, D, a)
    return OK


# Up to this many features, D is known at compile time. The compiler then unrolls all loops over features, and
# keeps x - mu of a panel in registers.
cdef enum:
    SMALL = 4


# Up to this many features, a factor is so small that the components of a panel are done one after the other. With more
# features the panels of a component are, which share its factor.
cdef enum:
    BY_PANEL = 8


cdef inline void _log_prob(Tile* t, const Mixture* m, Py_ssize_t D, const Active* a) noexcept nogil:
    """full_log_prob for D features, for all pairs if a is NULL"""
    cdef Py_ssize_t K = m.n_components, k, i, p
    cdef real small[SMALL * WIDTH]
    cdef real* z = t.z
    if D <= SMALL:
        z = &small[0]
    if a != NULL and D <= BY_PANEL:
        for p in range(t.n_panels):
            for i in range(a.n_of_panel[p]):
                _log_prob_of_pair(t, m, z, p, a.components[p * K + i], a.first[p] + i, D)
        return
    for k in range(K):
        for i in range(t.n_panels if a == NULL else <Py_ssize_t> a.n_of_component[k]):
            if a == NULL:
                _log_prob_of_pair(t, m, z, i, k, i * K + k, D)
            else:
                _log_prob_of_pair(
                    t, m, z, a.panels[k * a.n_panels + i], k, a.slots[k * a.n_panels + i], D
                )


cdef inline void _log_prob_of_pair(
    Tile* t, const Mixture* m, real* z, Py_ssize_t p, Py_ssize_t k, Py_ssize_t slot, Py_ssize_t D,
) noexcept nogil:
    """full_log_prob for panel p and component k"""
    cdef real distance[WIDTH]
    cdef vec* out = <vec*> (t.r + slot * WIDTH)
    subtract_panel(t.x + p * D * WIDTH, m.mean_hi + k * D, m.mean_lo + k * D, z, D)
    whiten(z, m.factor + k * triangle(D), NULL, distance, D)
    out[0] = m.log_constant[k] - (<vec*> distance)[0] * <real> 0.5
    out[1] = m.log_constant[k] - (<vec*> distance)[1] * <real> 0.5


cdef inline void _log_prob_large(Tile* t, const Mixture* m, Py_ssize_t D) noexcept nogil:
    """full_log_prob for D > LARGE, where all panels share a block of L_k"""
    cdef Py_ssize_t K = m.n_components, k, p
    cdef vec* out
    for k in range(K):
        for p in range(t.n_panels):
            subtract_panel(t.x + p * D * WIDTH, m.mean_hi + k * D, m.mean_lo + k * D, t.z + p * D * WIDTH, D)
        whiten_large(t.z, m.factor + k * triangle(D), t.y, t.r + k * WIDTH, K * WIDTH, D, t.n_panels, False)
        for p in range(t.n_panels):
            out = <vec*> (t.r + (p * K + k) * WIDTH)
            out[0] = m.log_constant[k] - out[0] * <real> 0.5
            out[1] = m.log_constant[k] - out[1] * <real> 0.5


cdef inline int full_accumulate(
    Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    bint at_means,
    double* counts,         # INOUT (K,)  added to, as first and second are
    double* first,          # INOUT (K, D)
    double* second,         # INOUT (K, D (D + 1) / 2)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """S_k += sum of w r (x - c_k)(x - c_k)T; second holds the lower triangles by rows"""
    if beyond_buffers(t, K, D):
        return EXTENT
    scatter_components(t, shift_hi, shift_lo, counts, first, second, triangle(D), K, D, NULL)
    return OK


cdef inline int full_accumulate_some(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D, const Active* a,
) noexcept nogil:
    """full_accumulate for the pairs in a"""
    if beyond_buffers(t, K, D):
        return EXTENT
    scatter_components(t, shift_hi, shift_lo, counts, first, second, triangle(D), K, D, a)
    return OK


cdef inline void full_changes(
    const double* U_before,     # IN  (K, D, D)
    const double* means_before,     # IN  (K, D)
    const double* U,            # IN  (K, D, D)
    const double* means,        # IN  (K, D)
    Change* changes,            # OUT (K,)
    double* scratch,            # TMP (5, D, D)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """How distances change between two mixtures"""
    cdef Py_ssize_t k
    for k in range(K):
        changes[k] = triangular_change(U_before + k * D * D, U + k * D * D, scratch, D)
        changes[k].move = moved_by(U + k * D * D, means_before + k * D, means + k * D, D)


# ---- M-step ----

cdef inline Py_ssize_t full_covariances_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K * D * D


cdef inline Diagonal full_diagonal(Py_ssize_t D) noexcept nogil:
    return Diagonal(D * D, D + 1)


cdef inline void full_covariances(
    const Statistics* s,
    double* covariances,    # OUT (K, D, D)
) noexcept nogil:
    """C_k = S_k / N_k - d_k d_kT + diag(reg_covar), where d_k = s_k / N_k is the move of the mean.

    Empty components get the pooled covariance of the others; see degenerate.pxd.
    """
    cdef Py_ssize_t D = s.n_features, k, i, j
    cdef const double* S
    cdef double* C
    for k in range(s.n_components):
        if s.empty[k]:
            continue
        S = s.second + k * triangle(D)
        C = covariances + k * D * D
        for i in range(D):
            for j in range(i + 1):
                C[i * D + j] = S[triangle(i) + j] / s.counts[k] - (
                    (s.first[k * D + i] / s.counts[k]) * (s.first[k * D + j] / s.counts[k])
                )
                C[j * D + i] = C[i * D + j]
            C[i * D + i] += s.reg_covar[i]
    pool_covariances(s, covariances, D * D)


cdef inline Py_ssize_t full_precisions_cholesky(
    const double* covariances,      # IN  (K, D, D)
    double* precisions_cholesky,    # OUT (K, D, D)
    double* scratch,                # TMP (K, D, D)
    Py_ssize_t K,
    Py_ssize_t D,
    int n_threads,
) noexcept nogil:
    return factor_matrices(covariances, precisions_cholesky, scratch, K, D, n_threads)


cdef inline Py_ssize_t full_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K * D * D
