from libc.stdlib cimport free, malloc

from covariance cimport TIED
from embedded cimport (
    accumulate_block, embed_mixture, evaluate_block, mixture_bytes, scratch_bytes, statistics_size,
)
from maximize cimport log_constants, maximize


cdef double[::1] zeros(Py_ssize_t n):
    return memoryview(bytearray(n * sizeof(double))).cast("d")


def em(const double[:, ::1] X, double[::1] weights, double[:, ::1] means, double[:, ::1] factor, int n_iter):
    """EM with a tied covariance from weights, means and a factor of the precision, all updated; log-likelihoods"""
    cdef Py_ssize_t N = X.shape[0], K = means.shape[0], D = means.shape[1], size = statistics_size(TIED, K, D), i
    cdef void* mixture = malloc(mixture_bytes(TIED, K, D))
    cdef void* scratch = malloc(scratch_bytes(TIED, K, D))
    cdef double[::1] constants = zeros(K + 1), statistics = zeros(size), moved = zeros(K * D)
    cdef double[::1] covariance = zeros(D * D), matrix = zeros(D * D), reg_covar = zeros(D), log_density = zeros(N)
    cdef signed char[::1] empty = memoryview(bytearray(K)).cast("b")
    cdef double drift
    log_likelihoods = []
    log_constants(&weights[0], &factor[0, 0], &constants[0], K, D, TIED)
    for _ in range(n_iter):
        statistics[:] = 0
        with nogil:
            embed_mixture(TIED, K, D, &constants[0], &means[0, 0], &factor[0, 0], mixture)
            accumulate_block(mixture, &X[0, 0], NULL, N, &statistics[0], scratch)
            maximize(
                TIED, K, D, &statistics[0], &means[0, 0], &reg_covar[0], &weights[0], &moved[0], &covariance[0],
                &factor[0, 0], &constants[0], NULL, &matrix[0], &empty[0], &drift, 1,
            )
        for i in range(K * D):
            means[i // D, i % D] = moved[i]
        log_likelihoods.append(statistics[0])
    embed_mixture(TIED, K, D, &constants[0], &means[0, 0], &factor[0, 0], mixture)
    evaluate_block(mixture, &X[0, 0], N, &log_density[0], NULL, scratch)
    free(mixture)
    free(scratch)
    return log_likelihoods, sum(log_density)
