"""The functions of gmm_core.h that have no element type, for the library: see _library.pyx. Built for each level."""
from embedded cimport statistics_size
from maximize cimport maximize, size_of

cdef extern from "library.h" nogil:
    pass

cdef extern from "gmm_core.h" nogil:
    enum:
        GMM_CORE_API_VERSION


cdef public int api_version "library_api_version"() noexcept nogil:
    return GMM_CORE_API_VERSION


cdef public Py_ssize_t statistics_size_of "library_statistics_size"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    return statistics_size(covariance_type, K, D)


cdef public void merge_statistics "library_merge_statistics"(
    const double* other, double* statistics, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        statistics[i] += other[i]


cdef public Py_ssize_t parameters_scratch_bytes "library_parameters_scratch_bytes"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    return (size_of(covariance_type, K, D) + K + 1) * sizeof(double) + K


cdef public Py_ssize_t parameters_from_statistics "library_parameters_from_statistics"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* statistics, const double* previous_means, const double* reg_covar,
    double* weights, double* means, double* covariances, double* precisions_cholesky, void* scratch,
) noexcept nogil:
    cdef double* log_constant = <double*> scratch
    cdef double* matrices = log_constant + K + 1
    cdef signed char* empty = <signed char*> (matrices + size_of(covariance_type, K, D))
    cdef double drift
    return maximize(
        covariance_type, K, D, statistics, previous_means, reg_covar, weights, means, covariances,
        precisions_cholesky, log_constant, matrices, empty, &drift, 1,
    )
