"""The M-step, statistics to parameters, and the factors of covariances and precisions; all in double.

Built once for each instruction set. Nothing is checked here.
"""
from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport prange
from libc.math cimport INFINITY, log, sqrt, sqrtl

from layout cimport CHECKS, EXTENT, FULL, TIED, DIAG, SPHERICAL
from linalg cimport cholesky, invert_lower, transpose
from panel cimport dot
from whiten cimport triangle

cdef double LOG_2PI = 1.8378770664093453
cdef double EPS = 2.220446049250313e-16


def maximization_step(
    const double[::1] statistics,       # IN  see rows.pxd: log-likelihood, weight, counts, first, second
    const double[:, ::1] shift,         # IN  (K, D) origin of the moments
    const double[::1] reg_covar,        # IN  (D,) added to the variances of the features
    double[::1] weights,                # OUT (K,)
    double[:, ::1] means,               # OUT (K, D)
    double[::1] covariances,            # OUT the shape of the type, raveled
    double[::1] precisions_cholesky,    # OUT same
    double[::1] log_constant,           # OUT (K + 1,) see log_normalization
    double[::1] scratch,                # TMP (n_matrices * D * D,) for full and tied
    signed char[::1] empty,             # OUT (K,) 1: a component without samples
    int covariance_type,
    int n_threads,
):
    """Parameters from statistics; (status, drift).

    status is 0, or 1 + the first component whose covariance is not positive definite. drift is the
    largest (mean - shift)**2 / variance over components and features: the factor by which the
    rounding errors of the moments are amplified.
    """
    cdef Py_ssize_t K = shift.shape[0], D = shift.shape[1], failed
    cdef double drift
    if CHECKS and (
        statistics.shape[0] < 2 + K + K * D or reg_covar.shape[0] < D or weights.shape[0] < K or means.shape[0] < K
        or means.shape[1] < D or empty.shape[0] < K
        or beyond_matrices(covariances, precisions_cholesky, scratch, K, D, covariance_type)
        or log_constant.shape[0] < K + 1
    ):
        return EXTENT, 0.0
    with nogil:
        failed = maximize(
            covariance_type, K, D, &statistics[0], &shift[0, 0], &reg_covar[0], &weights[0], &means[0, 0],
            &covariances[0], &precisions_cholesky[0], &log_constant[0], &scratch[0] if scratch.shape[0] else NULL,
            &empty[0], &drift, n_threads,
        )
    return failed, drift


cdef Py_ssize_t maximize(
    int covariance_type, Py_ssize_t K, Py_ssize_t D, const double* statistics, const double* shift,
    const double* reg_covar, double* weights, double* means, double* covariances, double* precisions_cholesky,
    double* log_constant, double* scratch, signed char* empty, double* drift, int n_threads,
) noexcept nogil:
    """As maximization_step; the status"""
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


cdef inline bint beyond_matrices(
    const double[::1] covariances, const double[::1] precisions_cholesky, const double[::1] scratch,
    Py_ssize_t K, Py_ssize_t D, int covariance_type,
) noexcept nogil:
    """Whether an array is too short for the covariances of its type"""
    cdef Py_ssize_t size = size_of(covariance_type, K, D)
    return covariances.shape[0] < size or precisions_cholesky.shape[0] < size or (
        (covariance_type == FULL or covariance_type == TIED) and scratch.shape[0] < size
    )


cdef void full_covariances(
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


cdef void tied_covariance(
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


cdef void diag_covariances(
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


cdef void spherical_covariances(
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


cdef void lift_collapsed(
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


cdef void pool_covariances(
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


def factor(
    const double[::1] covariances,      # IN  the shape of the type, raveled
    double[::1] precisions_cholesky,    # OUT same
    double[::1] scratch,                # TMP (n_matrices * D * D,) for full and tied
    Py_ssize_t K,
    Py_ssize_t D,
    int covariance_type,
    int n_threads,
):
    """U with U UT = covariance**-1, upper triangular; 0, or 1 + the first component that is not positive definite"""
    if CHECKS and beyond_matrices(covariances, precisions_cholesky, scratch, K, D, covariance_type):
        return EXTENT
    return factor_all(
        &covariances[0], &precisions_cholesky[0], &scratch[0] if scratch.shape[0] else NULL, K, D, covariance_type,
        n_threads,
    )


cdef Py_ssize_t factor_all(
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


cdef bint factor_one(const double* C, double* U, double* scratch, Py_ssize_t D) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(D * D):
        scratch[i] = C[i]
    if not cholesky(scratch, D):
        return False
    invert_lower(scratch, U, D)
    transpose(U, D)
    return True


def log_normalization(
    const double[::1] weights,              # IN  (K,)
    const double[::1] precisions_cholesky,  # IN  the shape of the type, raveled
    double[::1] log_constant,               # OUT (K + 1,)
    Py_ssize_t D,
    int covariance_type,
):
    """log weight + log |U_k| - D/2 log 2 pi, less that of the component of the largest weight, which stands last"""
    cdef Py_ssize_t K = weights.shape[0]
    if CHECKS and (
        log_constant.shape[0] < K + 1 or precisions_cholesky.shape[0] < size_of(covariance_type, K, D)
    ):
        return EXTENT
    log_constants(&weights[0], &precisions_cholesky[0], &log_constant[0], K, D, covariance_type)
    return 0


cdef void log_constants(
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
    log_constant[K] += log(weights[base]) - 0.5 * D * LOG_2PI
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


def factor_precisions(
    const double[:, :, ::1] precisions,     # IN  (n, D, D)
    double[:, :, ::1] precisions_cholesky,  # OUT (n, D, D)
    long double[:, ::1] U,                  # TMP (D, D)
):
    """U with U UT = precision, upper triangular; 0, or 1 + the first that is not positive definite"""
    # From the last column on, U_ij = (P_ij - sum over k > j of U_ik U_jk) / U_jj. Made once a fit, so in
    # extended precision where there is one: what is lost here is lost by all that follows.
    cdef Py_ssize_t D = precisions.shape[1], n, i, j, k
    cdef long double s
    if CHECKS and (
        precisions_cholesky.shape[0] < precisions.shape[0] or precisions_cholesky.shape[1] < D or U.shape[0] < D
    ):
        return EXTENT
    for n in range(precisions.shape[0]):
        precisions_cholesky[n] = 0
        for j in range(D - 1, -1, -1):
            for i in range(j, -1, -1):
                s = precisions[n, i, j]
                for k in range(j + 1, D):
                    s -= U[i, k] * U[j, k]
                if i < j:
                    U[i, j] = s / U[j, j]
                elif s > EPS * precisions[n, j, j]:
                    U[j, j] = sqrtl(s)
                else:
                    return 1 + n
                precisions_cholesky[n, i, j] = <double> U[i, j]
    return 0


def precisions_and_covariances(
    const double[:, :, ::1] precisions_cholesky,    # IN  (n, D, D)
    double[:, :, ::1] precisions,                   # OUT (n, D, D) U UT
    double[:, :, ::1] covariances,                  # OUT (n, D, D) its inverse, or empty
    double[:, :, ::1] scratch,                      # TMP (2, D, D)
):
    cdef Py_ssize_t D = precisions_cholesky.shape[1], N = precisions_cholesky.shape[0], n, i, j
    if CHECKS and (
        precisions.shape[0] < N or precisions.shape[1] < D or (covariances.shape[0] and covariances.shape[0] < N)
        or scratch.shape[0] < 2 or scratch.shape[1] < D
    ):
        return EXTENT
    for n in range(N):
        for i in range(D):
            for j in range(i + 1):
                precisions[n, i, j] = dot(&precisions_cholesky[n, i, i], &precisions_cholesky[n, j, i], D - i)
                precisions[n, j, i] = precisions[n, i, j]
        if covariances.shape[0]:
            # covariance = U**-T U**-1, and U**-T is the inverse of the lower triangle UT; its row i ends at
            # the diagonal
            for i in range(D):
                for j in range(D):
                    scratch[0, i, j] = precisions_cholesky[n, j, i]
            invert_lower(&scratch[0, 0, 0], &scratch[1, 0, 0], D)
            for i in range(D):
                for j in range(i + 1):
                    covariances[n, i, j] = dot(&scratch[1, i, 0], &scratch[1, j, 0], j + 1)
                    covariances[n, j, i] = covariances[n, i, j]
    return 0


def _capsules():
    """The functions of the M-step on pointers, for gmm_core.kernels"""
    return {
        "size_of": PyCapsule_New(<void*> size_of, NULL, NULL),
        "maximize": PyCapsule_New(<void*> maximize, NULL, NULL),
        "log_constants": PyCapsule_New(<void*> log_constants, NULL, NULL),
    }
