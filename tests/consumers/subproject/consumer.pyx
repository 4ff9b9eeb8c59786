from gmm_core.kernels cimport (
    DIAG, accumulate_f64, log_densities_f32, mixture_bytes_f32, mixture_bytes_f64, parameters_from_statistics,
    parameters_scratch_bytes, prepare_mixture_f32, prepare_mixture_f64, scratch_bytes_f32, scratch_bytes_f64,
    statistics_size,
)


def log_densities(
    const float[:, ::1] X, const double[::1] weights, const double[:, ::1] means, const double[:, ::1] scales,
    float[::1] out,
):
    """Log-densities of float32 samples under a mixture with diagonal covariances"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1]
    cdef char[::1] mixture = bytearray(mixture_bytes_f32(DIAG, K, D))
    cdef char[::1] scratch = bytearray(scratch_bytes_f32(DIAG, K, D))
    with nogil:
        prepare_mixture_f32(DIAG, K, D, &weights[0], &means[0, 0], &scales[0, 0], &mixture[0], &scratch[0])
        log_densities_f32(&mixture[0], &X[0, 0], X.shape[0], &out[0], &scratch[0])


def em_step(
    const double[:, ::1] X, const double[::1] reg_covar, double[::1] weights, double[:, ::1] means,
    double[:, ::1] variances, double[:, ::1] scales,
):
    """Replace the parameters by those after one iteration of EM, and return the log-likelihood before it"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1]
    cdef char[::1] mixture = bytearray(mixture_bytes_f64(DIAG, K, D))
    cdef char[::1] scratch = bytearray(scratch_bytes_f64(DIAG, K, D))
    cdef char[::1] m_scratch = bytearray(parameters_scratch_bytes(DIAG, K, D))
    cdef double[::1] statistics = memoryview(bytearray(8 * statistics_size(DIAG, K, D))).cast("d")
    cdef double[:, ::1] before = means.copy()
    with nogil:
        prepare_mixture_f64(DIAG, K, D, &weights[0], &means[0, 0], &scales[0, 0], &mixture[0], &scratch[0])
        accumulate_f64(&mixture[0], &X[0, 0], NULL, X.shape[0], &statistics[0], &scratch[0])
        parameters_from_statistics(
            DIAG, K, D, &statistics[0], &before[0, 0], &reg_covar[0], &weights[0], &means[0, 0],
            &variances[0, 0], &scales[0, 0], &m_scratch[0],
        )
    return statistics[0]
