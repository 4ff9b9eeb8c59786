"""The M-steps of covariances that share their volume, their shape or their orientation between components.

A covariance is volume times orientation diag(shape) orientationT, where the shape has the determinant 1 (Celeux &
Govaert 1995). A name of three letters says for volume, shape and orientation whether they are equal in all components
(E), vary (V), or are those of the identity (I). W_k = N_k C_k is the scatter of a component, where C_k is the
covariance that the type without constraints has; n is the sum of the counts. An empty component gives nothing to
what is shared; what is its own comes from the pooled covariance.
"""
from libc.math cimport exp, fabs, INFINITY, log, sqrt

from diag cimport diag_covariances
from eigen cimport eigenvectors
from full cimport full_covariances
from layout cimport EPS, Statistics
from linalg cimport cholesky, invert_lower
from spherical cimport spherical_covariances


cdef enum:
    MOST_STEPS = 10000      # of an alternating M-step


cdef inline Py_ssize_t constrained_diag_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K + D


cdef inline Py_ssize_t constrained_full_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return (K + 4) * D * D + K + D


# ---- spheres ----

cdef inline void eii_covariances(
    const Statistics* s,
    double* C,              # OUT (K,)
) noexcept nogil:
    """C_k = sum over l of N_l C_l / n"""
    cdef Py_ssize_t k
    cdef double total = 0
    spherical_covariances(s, C)
    for k in range(s.n_components):
        if not s.empty[k]:
            total += s.counts[k] * C[k]
    for k in range(s.n_components):
        C[k] = total / sum_of_counts(s)


cdef inline double sum_of_counts(const Statistics* s) noexcept nogil:
    """The sum of the counts of components that are not empty"""
    cdef Py_ssize_t k
    cdef double n = 0
    for k in range(s.n_components):
        if not s.empty[k]:
            n += s.counts[k]
    return n


# ---- ellipsoids along the axes ----

cdef inline void eei_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D)
) noexcept nogil:
    """C_kd = sum over l of N_l C_ld / n"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double total, n = sum_of_counts(s)
    diag_covariances(s, C)
    for d in range(D):
        total = 0
        for k in range(K):
            if not s.empty[k]:
                total += s.counts[k] * C[k * D + d]
        for k in range(K):
            C[k * D + d] = total / n


cdef inline void evi_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D)
) noexcept nogil:
    """C_k = volume B_k, with B_k = C_k / g(C_k) and the mean volume of the g(C_k); g is the geometric mean"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double volume = 0, own
    diag_covariances(s, C)
    for k in range(K):
        if not s.empty[k] and not spans_features(s, C, k):
            return
    for k in range(K):
        if not s.empty[k]:
            volume += s.counts[k] * geometric_mean(C + k * D, 1, D)
    volume /= sum_of_counts(s)
    for k in range(K):
        own = geometric_mean(C + k * D, 1, D)
        if own > 0:
            for d in range(D):
                C[k * D + d] *= volume / own


cdef inline void vei_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D)
) noexcept nogil:
    """C_k = volume_k B, see volumes_and_shape"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double* volume = s.scratch
    cdef double* shape = s.scratch + K
    diag_covariances(s, C)
    volumes_and_shape(s, C, D, 1, volume, shape)
    for k in range(K):
        for d in range(D):
            C[k * D + d] = volume[k] * shape[d]


cdef inline double geometric_mean(const double* x, Py_ssize_t stride, Py_ssize_t D) noexcept nogil:
    """exp(mean of log x); 0 if an entry is not positive"""
    cdef Py_ssize_t d
    cdef double total = 0
    for d in range(D):
        if not x[d * stride] > 0:
            return 0
        total += log(x[d * stride])
    return exp(total / D)


# Where a covariance is divided by its determinant, one that is singular up to rounding would become a matrix of noise
# of the size of the others. These two functions find such a component, and set one of its variances to 0, so that its
# factor fails.

cdef inline double noise_of_variance(const Statistics* s, Py_ssize_t k, Py_ssize_t d) noexcept nogil:
    """A bound of the rounding error of the variance S / N - move**2 of a component"""
    # The difference errs by some eps of its terms. S has the squares of the rounding errors of the samples and the
    # mean besides.
    cdef double mean = s.means[k * s.n_features + d], move = s.first[k * s.n_features + d] / s.counts[k]
    return 20 * EPS * move * move + 2 * EPS * EPS * mean * mean


cdef inline bint spans_features(
    const Statistics* s,
    double* C,              # INOUT (K, D)
    Py_ssize_t k,
) noexcept nogil:
    """Tell whether the variances of component k are larger than their rounding errors"""
    cdef Py_ssize_t D = s.n_features, d
    cdef double move, variance      # which is not that of C if lift_collapsed has changed it
    for d in range(D):
        move = s.first[k * D + d] / s.counts[k]
        variance = s.second[k * D + d] / s.counts[k] - move * move + s.reg_covar[d]
        if not variance > noise_of_variance(s, k, d):
            C[k * D + d] = 0
            return False
    return True


cdef inline bint spans_space(
    const Statistics* s,
    double* C,              # INOUT (K, D, D)
    Py_ssize_t k,
    double* L,              # OUT   (D, D) the Cholesky factor of C_k
    double* B,              # TMP   (D, D)
    double* noise,          # TMP   (D,)
) noexcept nogil:
    """Tell whether the variances of component k are larger than their rounding errors in all directions"""
    # Row i of B = L**-1, times L_ii, has the coefficients of x_i minus its regression on the features before. So this
    # difference has the variance L_ii**2. The error of that is at most (L_ii sum_j |B_ij| noise_j)**2, where
    # noise_j**2 is the error of the variance of feature j.
    cdef Py_ssize_t D = s.n_features, i, j
    cdef double total
    for i in range(D):
        noise[i] = sqrt(noise_of_variance(s, k, i))
    for i in range(D * D):
        L[i] = C[k * D * D + i]
    i = D - 1
    if cholesky(L, D):
        invert_lower(L, B, D)
        for i in range(D):
            total = 0
            for j in range(i + 1):
                total += fabs(B[i * D + j]) * noise[j]
            if not total < 1:
                break
        else:
            return True
    C[k * D * D + i * (D + 1)] = 0
    return False


cdef inline void volumes_and_shape(
    const Statistics* s,
    const double* C,        # IN  (K, ...) variances along the axes
    Py_ssize_t component,   # stride from component to component
    Py_ssize_t axis,        # stride from axis to axis
    double* volume,         # OUT (K,)
    double* shape,          # OUT (D,) of geometric mean 1
) noexcept nogil:
    """Find volumes and one shape for given axes, by alternating steps"""
    # For a given shape the best volume is mean_d(C_kd / shape_d), and for given volumes the best shape is
    # sum_k N_k C_kd / volume_k, scaled. Each step lowers sum_k N_k D log volume_k, which is minus twice the
    # log-likelihood up to a constant. That is flat at its minimum, and stops falling when the volumes have half
    # of their digits only; so the steps end when the volumes stop changing.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d, _step
    cdef double g, own, change, last = INFINITY
    for k in range(K):
        volume[k] = 1
    for _step in range(MOST_STEPS):
        for d in range(D):
            shape[d] = 0
            for k in range(K):
                if not s.empty[k] and volume[k] > 0:
                    shape[d] += s.counts[k] * C[k * component + d * axis] / volume[k]
        g = geometric_mean(shape, 1, D)
        if not g > 0:
            return      # a variance of 0 in all components: the factors will fail
        for d in range(D):
            shape[d] /= g
        change = 0
        for k in range(K):
            own = 0
            for d in range(D):
                own += C[k * component + d * axis] / shape[d] / D
            change = max(change, fabs(own - volume[k]) / own if own > 0 else 0)
            volume[k] = own
        if settled(change, last):
            return
        last = change


cdef inline bint settled(double change, double last) noexcept nogil:
    """Whether the largest relative change of the volumes is rounding error: within EPS, or small and not falling"""
    return change <= 4 * EPS or (change < 1e-10 and change >= last)


# ---- ellipsoids ----

cdef inline void eev_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = L_k diag(sum over l of N_l Omega_l / n) L_kT, with the eigenvectors L_k and eigenvalues Omega_k of C_k"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double* L = s.scratch
    cdef double* variances = s.scratch + K * D * D
    cdef double total, n = sum_of_counts(s)
    full_covariances(s, C)
    for k in range(K):
        eigenvectors(C + k * D * D, L + k * D * D, D)
    for d in range(D):
        total = 0
        for k in range(K):
            if not s.empty[k]:
                total += s.counts[k] * C[k * D * D + d * (D + 1)]
        variances[d] = total / n
    for k in range(K):
        compose(L + k * D * D, variances, 1, 1, C + k * D * D, D)


cdef inline void vev_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = volume_k L_k diag(shape) L_kT, see volumes_and_shape"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k
    cdef double* L = s.scratch
    cdef double* volume = s.scratch + K * D * D
    cdef double* shape = volume + K
    full_covariances(s, C)
    for k in range(K):
        eigenvectors(C + k * D * D, L + k * D * D, D)
    volumes_and_shape(s, C, D * D, D + 1, volume, shape)
    for k in range(K):
        compose(L + k * D * D, shape, 1, volume[k], C + k * D * D, D)


cdef inline void compose(
    const double* L,            # IN  (D, D) axes in its columns
    const double* variances,    # IN  along the axes
    Py_ssize_t stride,          # of the variances
    double volume,
    double* C,                  # OUT (D, D)
    Py_ssize_t D,
) noexcept nogil:
    """C = volume L diag(variances) LT"""
    cdef Py_ssize_t i, j, d
    cdef double total
    for i in range(D):
        for j in range(i + 1):
            total = 0
            for d in range(D):
                total += L[i * D + d] * variances[d * stride] * L[j * D + d]
            C[i * D + j] = C[j * D + i] = volume * total


cdef inline void evv_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = volume C_k / g(C_k), with the mean volume of the g(C_k); g(A) = |A|**(1 / D)"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i
    cdef double* own = s.scratch
    cdef double* L = s.scratch + K
    cdef double volume = 0
    full_covariances(s, C)
    for k in range(K):
        own[k] = 0
        if s.empty[k]:
            for i in range(D * D):
                L[i] = C[k * D * D + i]
            if not cholesky(L, D):
                continue
        elif not spans_space(s, C, k, L, L + D * D, L + 2 * D * D):
            return
        own[k] = geometric_mean(L, D + 1, D)
        own[k] *= own[k]
        if not s.empty[k]:
            volume += s.counts[k] * own[k]
    volume /= sum_of_counts(s)
    for k in range(K):
        if own[k] > 0:      # else it is not positive definite, which its factor will say
            for i in range(D * D):
                C[k * D * D + i] *= volume / own[k]


cdef inline void vee_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = volume_k A for one matrix A with |A| = 1"""
    # As in volumes_and_shape: for a given A the best volume is tr(C_k A**-1) / D, and for given volumes the best
    # A is sum_k N_k C_k / volume_k, scaled. tr(C A**-1) is taken with A**-1 = BT B for the inverse B of A's factor.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i, j, _step
    cdef double* volume = s.scratch
    cdef double* A = s.scratch + K
    cdef double* L = A + D * D
    cdef double* B = L + D * D
    cdef double* inverse = B + D * D
    cdef double g, total, change, last = INFINITY
    full_covariances(s, C)
    for k in range(K):
        volume[k] = 1
    for _step in range(MOST_STEPS):
        for i in range(D * D):
            A[i] = 0
            for k in range(K):
                if not s.empty[k] and volume[k] > 0:
                    A[i] += s.counts[k] * C[k * D * D + i] / volume[k]
            L[i] = A[i]
        if not cholesky(L, D):
            return      # all components are singular in one direction: the factors will fail
        g = geometric_mean(L, D + 1, D)
        g *= g
        invert_lower(L, B, D)
        for i in range(D):
            for j in range(i + 1):
                total = 0
                for k in range(i, D):
                    total += B[k * D + i] * B[k * D + j]
                inverse[i * D + j] = inverse[j * D + i] = total * g
        change = 0
        for k in range(K):
            total = 0
            for i in range(D * D):
                total += C[k * D * D + i] * inverse[i] / D
            change = max(change, fabs(total - volume[k]) / total if total > 0 else 0)
            volume[k] = total
        if settled(change, last):
            break
        last = change
    for k in range(K):
        for i in range(D * D):
            C[k * D * D + i] = volume[k] * A[i] / g
