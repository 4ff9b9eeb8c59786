"""The M-step: parameters from statistics, all in double. The functions take pointers."""
from libc.math cimport log, M_PI

from covariance cimport MStep, m_step_of
from layout cimport EPS, Diagonal, Statistics


cdef inline Py_ssize_t maximize(
    int covariance_type, Py_ssize_t K, Py_ssize_t D, const double* statistics, const double* shift,
    const double* reg_covar, double* weights, double* means, double* covariances, double* precisions_cholesky,
    double* log_constant, const double* before, double* scratch, signed char* empty, double* drift, int n_threads,
) noexcept nogil:
    """Compute all parameters; the arguments and the status are those of maximization_step in _maximization.pyx"""
    # Let c be the shift of a component, N its count, s its first and S its second moments about c. The mean moves
    # by d = s / N to mu = c + d, and sum r (x - mu)(x - mu)T / N = S / N - d dT. A component is empty if its count
    # is 0 up to the rounding of the counts. It keeps its mean and gets weight 0 and the pooled covariance.
    cdef MStep step = m_step_of(covariance_type)
    cdef Diagonal at = step.diagonal(D)
    cdef Statistics s
    cdef Py_ssize_t k, d, failed
    cdef double move, ratio, variance
    s.n_components, s.n_features, s.total = K, D, 0
    s.counts, s.first, s.second = statistics + 2, statistics + 2 + K, statistics + 2 + K + K * D
    s.shift, s.means, s.empty, s.reg_covar = shift, means, empty, reg_covar
    s.before, s.scratch = before, scratch
    for k in range(K):
        s.total += s.counts[k]
    for k in range(K):
        empty[k] = s.counts[k] <= 10 * EPS * s.total
        weights[k] = 0 if empty[k] else s.counts[k] / s.total
        for d in range(D):
            means[k * D + d] = shift[k * D + d] + (0 if empty[k] else s.first[k * D + d] / s.counts[k])
    step.covariances(&s, covariances)
    drift[0] = 0
    for k in range(K):
        if not empty[k]:
            for d in range(D):
                variance = covariances[k * at.component + d * at.feature]
                move = s.first[k * D + d] / s.counts[k]
                ratio = move * move / variance if variance > 0 else (1e300 if move != 0 else 0)
                drift[0] = ratio if ratio > drift[0] else drift[0]
    failed = step.precisions_cholesky(covariances, precisions_cholesky, scratch, K, D, n_threads)
    if failed == 0:
        log_constants(weights, precisions_cholesky, log_constant, K, D, covariance_type)
    return failed


cdef inline Py_ssize_t parameters_scratch_bytes(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the bytes of scratch that parameters_from_statistics needs"""
    return (m_step_of(covariance_type).scratch_size(K, D) + K + 1) * sizeof(double) + K


cdef inline Py_ssize_t parameters_from_statistics(
    int covariance_type, Py_ssize_t K, Py_ssize_t D, const double* statistics, const double* previous_means,
    const double* reg_covar, double* weights, double* means, double* covariances, double* precisions_cholesky,
    void* scratch,
) noexcept nogil:
    """Do the M-step for a caller who needs the parameters only, as gmm_core/kernels.pxd has it"""
    cdef double* log_constant = <double*> scratch
    cdef double* matrices = log_constant + K + 1
    cdef signed char* empty = <signed char*> (matrices + m_step_of(covariance_type).scratch_size(K, D))
    cdef double drift
    return maximize(
        covariance_type, K, D, statistics, previous_means, reg_covar, weights, means, covariances,
        precisions_cholesky, log_constant, NULL, matrices, empty, &drift, 1,
    )


cdef inline void log_constants(
    const double* weights, const double* precisions_cholesky, double* log_constant, Py_ssize_t K, Py_ssize_t D,
    int covariance_type,
) noexcept nogil:
    """Write the constant log weight_k + log |U_k| - D/2 log 2 pi of each component k.

    Each is written minus that of the component j with the largest weight, and the latter as the last entry.
    """
    # The scale of the data and the number of features add the same number to every constant, and this number is in
    # the thousands for data of size 1e150, or for D = 500. Responsibilities do not depend on it, and keep more
    # digits without it. log(|U_k| / |U_j|) is computed as a sum of logarithms of ratios, which are near 1.
    cdef Diagonal at = m_step_of(covariance_type).diagonal(D)
    cdef Py_ssize_t k, d, base = 0
    cdef double log_det
    for k in range(K):
        if weights[k] > weights[base]:
            base = k
    log_constant[K] = 0
    for d in range(D):
        log_constant[K] += log(precisions_cholesky[base * at.component + d * at.feature])
    log_constant[K] += log(weights[base]) - 0.5 * D * log(2 * M_PI)
    for k in range(K):
        log_det = 0
        if at.component != 0:
            for d in range(D):
                log_det += log_ratio(
                    precisions_cholesky[k * at.component + d * at.feature],
                    precisions_cholesky[base * at.component + d * at.feature],
                )
        log_constant[k] = log_det + (log(weights[k] / weights[base]) if weights[base] > 0 else log(weights[k]))


cdef inline double log_ratio(double a, double b) noexcept nogil:
    """log(a / b), also if the quotient overflows"""
    cdef double ratio = a / b
    return log(ratio) if 1e-300 < ratio < 1e300 else log(a) - log(b)
