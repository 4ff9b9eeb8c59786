"""The M-step, statistics to parameters, by pointers; and the factors of covariances. All in double."""
from cython.parallel cimport prange
from libc.math cimport INFINITY, log, M_PI, sqrt

from layout cimport FULL, TIED, DIAG, SPHERICAL
from linalg cimport cholesky, invert_lower, transpose
from whiten cimport triangle

cdef extern from "float.h" nogil:
    const double EPS "DBL_EPSILON"


cdef inline Py_ssize_t maximize(
    int covariance_type, Py_ssize_t K, Py_ssize_t D, const double* statistics, const double* shift,
    const double* reg_covar, double* weights, double* means, double* covariances, double* precisions_cholesky,
    double* log_constant, double* scratch, signed char* empty, double* drift, int n_threads,
) noexcept nogil:
    """As maximization_step of _maximization.pyx, which says what the arguments are; the status"""
    # With d = s / N the move of the mean, sum r (x - mu)(x - mu)T / N = S / N - d dT. An empty component
    # (N below the rounding of the counts) keeps its mean, has weight 0 and takes the pooled covariance.
    cdef Py_ssize_t k, d, n_empty = 0, failed
    cdef const double* counts = statistics + 2
    cdef const double* first = counts + K
    cdef const double* second = first + K * D
    cdef double total = 0, move, ratio, variance
    for k in range(K):
        total += counts[k]
    for k in range(K):
        empty[k] = counts[k] <= 10 * EPS * total
        n_empty += empty[k]
        weights[k] = 0 if empty[k] else counts[k] / total
        for d in range(D):
            means[k * D + d] = shift[k * D + d] + (0 if empty[k] else first[k * D + d] / counts[k])
    if covariance_type == FULL:
        full_covariances(counts, first, second, covariances, empty, reg_covar, K, D)
    elif covariance_type == TIED:
        tied_covariance(counts, first, second, shift, covariances, empty, reg_covar, total, K, D)
    elif covariance_type == DIAG:
        diag_covariances(counts, first, second, covariances, empty, reg_covar, K, D)
        lift_collapsed(counts, means, covariances, empty, total, K, D, D)
    else:
        spherical_covariances(counts, first, second, covariances, empty, reg_covar, K, D)
        lift_collapsed(counts, means, covariances, empty, total, K, D, 1)
    drift[0] = 0
    for k in range(K):
        if not empty[k]:
            for d in range(D):
                if covariance_type == FULL:
                    variance = covariances[(k * D + d) * D + d]
                elif covariance_type == TIED:
                    variance = covariances[d * D + d]
                elif covariance_type == DIAG:
                    variance = covariances[k * D + d]
                else:
                    variance = covariances[k]
                move = first[k * D + d] / counts[k]
                ratio = move * move / variance if variance > 0 else (1e300 if move != 0 else 0)
                drift[0] = ratio if ratio > drift[0] else drift[0]
    if n_empty and covariance_type != TIED:
        pool_covariances(covariances, counts, empty, size_of(covariance_type, K, D) // K, K)
    failed = factor_all(covariances, precisions_cholesky, scratch, K, D, covariance_type, n_threads)
    if failed == 0:
        log_constants(weights, precisions_cholesky, log_constant, K, D, covariance_type)
    return failed


cdef inline Py_ssize_t size_of(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """doubles of the covariances of a type"""
    if covariance_type == FULL:
        return K * D * D
    if covariance_type == TIED:
        return D * D
    return K * D if covariance_type == DIAG else K


cdef inline void full_covariances(
    const double* counts, const double* first, const double* second, double* covariances, const signed char* empty,
    const double* reg_covar, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    cdef Py_ssize_t k, i, j
    cdef const double* S
    cdef double* C
    for k in range(K):
        if empty[k]:
            continue
        S = second + k * triangle(D)
        C = covariances + k * D * D
        for i in range(D):
            for j in range(i + 1):
                C[i * D + j] = S[triangle(i) + j] / counts[k] - (
                    (first[k * D + i] / counts[k]) * (first[k * D + j] / counts[k])
                )
                C[j * D + i] = C[i * D + j]
            C[i * D + i] += reg_covar[i]


cdef inline void tied_covariance(
    const double* counts, const double* first, const double* second, const double* shift, double* C,
    const signed char* empty, const double* reg_covar, double total, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    """(T + sum over k > l of Q_kl (c_k - c_l)(c_k - c_l)T - sum over k of N_k d_k d_kT) / N; T and Q: see tied.pxd"""
    cdef Py_ssize_t k, l, i, j
    cdef double q, a
    cdef const double* Q = second + triangle(D)
    for i in range(D):
        for j in range(i + 1):
            C[i * D + j] = second[triangle(i) + j]
    for k in range(K):
        for l in range(k):
            q = Q[triangle(k) + l]
            if q == 0:
                continue
            for i in range(D):
                a = q * (shift[k * D + i] - shift[l * D + i])
                for j in range(i + 1):
                    C[i * D + j] += a * (shift[k * D + j] - shift[l * D + j])
    for k in range(K):
        if not empty[k]:
            for i in range(D):
                a = first[k * D + i] / counts[k]
                for j in range(i + 1):
                    C[i * D + j] -= a * first[k * D + j]
    for i in range(D):
        for j in range(i + 1):
            C[i * D + j] /= total
            C[j * D + i] = C[i * D + j]
        C[i * D + i] += reg_covar[i]


cdef inline void diag_covariances(
    const double* counts, const double* first, const double* second, double* covariances, const signed char* empty,
    const double* reg_covar, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    cdef Py_ssize_t k, d
    cdef double move
    for k in range(K):
        if not empty[k]:
            for d in range(D):
                move = first[k * D + d] / counts[k]
                covariances[k * D + d] = second[k * D + d] / counts[k] - move * move + reg_covar[d]


cdef inline void spherical_covariances(
    const double* counts, const double* first, const double* second, double* covariances, const signed char* empty,
    const double* reg_covar, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    cdef Py_ssize_t k, d
    cdef double move, s, mean_reg_covar = 0
    for d in range(D):
        mean_reg_covar += reg_covar[d] / D
    for k in range(K):
        if not empty[k]:
            s = second[k] / counts[k]
            for d in range(D):
                move = first[k * D + d] / counts[k]
                s -= move * move
            covariances[k] = s / D + mean_reg_covar


cdef inline void lift_collapsed(
    const double* counts, const double* means, double* covariances, const signed char* empty,
    double total, Py_ssize_t K, Py_ssize_t D, Py_ssize_t n_scales,
) noexcept nogil:
    """Variances of 0 to rounding, of a component on a single point, become the smallest that counts can tell"""
    # Responsibilities are known to eps, so a component may hold 10 eps samples that are not its own: that
    # many of the data's scatter about its mean. If this is 0 as well, the variance stays what it is. Only
    # variances that the data cannot resolve are touched, those below (eps |mu|)**2; at mu = 0 a 0 is exact.
    cdef Py_ssize_t k, l, d, i, n_features = D // n_scales
    cdef double noise, scatter, gap
    for k in range(K):
        if empty[k]:
            continue
        for i in range(n_scales):
            noise = scatter = 0
            for d in range(i * n_features, (i + 1) * n_features):
                noise += EPS * EPS * means[k * D + d] * means[k * D + d] / n_features
            if noise == 0 or covariances[k * n_scales + i] > noise:
                continue
            for l in range(K):
                if not empty[l]:
                    for d in range(i * n_features, (i + 1) * n_features):
                        gap = means[l * D + d] - means[k * D + d]
                        scatter += counts[l] / total * gap * gap / n_features
                    if l != k:
                        scatter += counts[l] / total * covariances[l * n_scales + i]
            if 10 * EPS / counts[k] * scatter > noise:
                covariances[k * n_scales + i] = 10 * EPS / counts[k] * scatter


cdef inline void pool_covariances(
    double* covariances, const double* counts, const signed char* empty, Py_ssize_t size, Py_ssize_t K,
) noexcept nogil:
    """The covariance of an empty component becomes the mean of the others', weighted by their counts"""
    cdef Py_ssize_t k, l, i
    cdef double s, n
    for k in range(K):
        if empty[k]:
            for i in range(size):
                s = n = 0
                for l in range(K):
                    if not empty[l]:
                        s += counts[l] * covariances[l * size + i]
                        n += counts[l]
                covariances[k * size + i] = s / n


cdef inline Py_ssize_t factor_all(
    const double* covariances, double* precisions_cholesky, double* scratch, Py_ssize_t K, Py_ssize_t D,
    int covariance_type, int n_threads,
) noexcept nogil:
    cdef Py_ssize_t n_matrices, i
    cdef int k, n_workers
    if covariance_type == DIAG or covariance_type == SPHERICAL:
        for i in range(size_of(covariance_type, K, D)):
            if not 0 < covariances[i] < INFINITY:
                return 1 + (i // D if covariance_type == DIAG else i)
            precisions_cholesky[i] = 1 / sqrt(covariances[i])
        return 0
    n_matrices = K if covariance_type == FULL else 1
    n_workers = n_threads if n_matrices > 1 and D >= 32 else 1
    if n_workers == 1:
        for i in range(n_matrices):
            if not factor_one(covariances + i * D * D, precisions_cholesky + i * D * D, scratch + i * D * D, D):
                return 1 + i
        return 0
    for k in prange(<int> n_matrices, num_threads=n_workers, schedule="static"):
        if not factor_one(covariances + k * D * D, precisions_cholesky + k * D * D, scratch + k * D * D, D):
            scratch[k * D * D] = -1
    for i in range(n_matrices):
        if scratch[i * D * D] < 0:
            return 1 + i
    return 0


cdef inline bint factor_one(const double* C, double* U, double* scratch, Py_ssize_t D) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(D * D):
        scratch[i] = C[i]
    if not cholesky(scratch, D):
        return False
    invert_lower(scratch, U, D)
    transpose(U, D)
    return True


cdef inline void log_constants(
    const double* weights, const double* precisions_cholesky, double* log_constant, Py_ssize_t K, Py_ssize_t D,
    int covariance_type,
) noexcept nogil:
    # Scale of the data and number of features are in every constant alike: at 1e150, or D = 500, they are
    # thousands. Without them responsibilities keep those digits; as |U_k| / |U_j| is a product of ratios
    # near 1, the logarithms of the ratios are taken.
    cdef Py_ssize_t k, d, base = 0
    cdef double log_det
    for k in range(K):
        if weights[k] > weights[base]:
            base = k
    log_constant[K] = 0
    for d in range(D):
        log_constant[K] += log(scale(precisions_cholesky, base, d, D, covariance_type))
    log_constant[K] += log(weights[base]) - 0.5 * D * log(2 * M_PI)
    for k in range(K):
        log_det = 0
        if covariance_type != TIED:
            for d in range(D):
                log_det += log_ratio(
                    scale(precisions_cholesky, k, d, D, covariance_type),
                    scale(precisions_cholesky, base, d, D, covariance_type),
                )
        log_constant[k] = log_det + (log(weights[k] / weights[base]) if weights[base] > 0 else log(weights[k]))


cdef inline double log_ratio(double a, double b) noexcept nogil:
    """log(a / b), also where the quotient overflows"""
    cdef double ratio = a / b
    return log(ratio) if 1e-300 < ratio < 1e300 else log(a) - log(b)


cdef inline double scale(
    const double* precisions_cholesky, Py_ssize_t k, Py_ssize_t d, Py_ssize_t D, int covariance_type,
) noexcept nogil:
    """entry (d, d) of U_k"""
    if covariance_type == FULL:
        return precisions_cholesky[(k * D + d) * D + d]
    if covariance_type == TIED:
        return precisions_cholesky[d * D + d]
    if covariance_type == DIAG:
        return precisions_cholesky[k * D + d]
    return precisions_cholesky[k]
