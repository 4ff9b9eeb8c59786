from gmm_core.kernels cimport DIAG, log_density_f64, mixture_bytes_f64, prepare_mixture_f64, scratch_bytes_f64


def total_log_density(
    const double[:, ::1] X, const double[::1] weights, const double[:, ::1] means, const double[:, ::1] scales,
):
    """Sum over the rows of X of their log-densities under a mixture with diagonal covariances"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1], n
    cdef char[::1] mixture = bytearray(mixture_bytes_f64(DIAG, K, D))
    cdef char[::1] scratch = bytearray(scratch_bytes_f64(DIAG, K, D))
    cdef double total = 0
    with nogil:
        prepare_mixture_f64(DIAG, K, D, &weights[0], &means[0, 0], &scales[0, 0], &mixture[0], &scratch[0])
        for n in range(X.shape[0]):
            total += log_density_f64(&mixture[0], &X[n, 0], &scratch[0])
    return total
