"""The functions of gmm_core.h that have no element type, for the static library of a subproject (see library.c).

This file is compiled for each instruction set.
"""
from embedded cimport statistics_size
from maximize cimport parameters_from_statistics, parameters_scratch_bytes

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


cdef public Py_ssize_t parameters_scratch_bytes_of "library_parameters_scratch_bytes"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    return parameters_scratch_bytes(covariance_type, K, D)


cdef public Py_ssize_t maximize "library_parameters_from_statistics"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* statistics, const double* previous_means, const double* reg_covar,
    double* weights, double* means, double* covariances, double* precisions_cholesky, void* scratch,
) noexcept nogil:
    return parameters_from_statistics(
        covariance_type, K, D, statistics, previous_means, reg_covar, weights, means, covariances,
        precisions_cholesky, scratch,
    )
