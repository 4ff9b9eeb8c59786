"""The functions for Cython and C, which kernels.pxd and include/gmm_core.h declare. There are none for Python.

Each function calls, by a pointer, the build of the kernels that this processor runs.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer

from gmm_core.core import dispatch as _dispatch

ctypedef Py_ssize_t (*Size)(int, Py_ssize_t, Py_ssize_t) noexcept nogil
ctypedef void (*LogConstants)(const double*, const double*, double*, Py_ssize_t, Py_ssize_t, int) noexcept nogil
ctypedef void (*Embed)(
    int, Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, void*,
) noexcept nogil
ctypedef Py_ssize_t (*EvaluateF64)(const void*, const double*, Py_ssize_t, double*, double*, void*) noexcept nogil
ctypedef Py_ssize_t (*EvaluateF32)(const void*, const float*, Py_ssize_t, float*, float*, void*) noexcept nogil
ctypedef Py_ssize_t (*AccumulateF64)(
    const void*, const double*, const double*, Py_ssize_t, double*, void*,
) noexcept nogil
ctypedef Py_ssize_t (*AccumulateF32)(
    const void*, const float*, const double*, Py_ssize_t, double*, void*,
) noexcept nogil
ctypedef Py_ssize_t (*ParametersFromStatistics)(
    int, Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, double*, double*, double*, double*, void*,
) noexcept nogil

# These are set when the module is imported, and do not change afterwards.
cdef dict capsules_f64 = _dispatch.expectation("float64")._capsules()
cdef dict capsules_f32 = _dispatch.expectation("float32")._capsules()
cdef dict capsules_m = _dispatch.maximization._capsules()
cdef Size mixture_bytes_64 = <Size> PyCapsule_GetPointer(capsules_f64["mixture_bytes"], NULL)
cdef Size mixture_bytes_32 = <Size> PyCapsule_GetPointer(capsules_f32["mixture_bytes"], NULL)
cdef Size scratch_bytes_64 = <Size> PyCapsule_GetPointer(capsules_f64["scratch_bytes"], NULL)
cdef Size scratch_bytes_32 = <Size> PyCapsule_GetPointer(capsules_f32["scratch_bytes"], NULL)
cdef Size statistics_size_of = <Size> PyCapsule_GetPointer(capsules_f64["statistics_size"], NULL)
cdef Embed embed_64 = <Embed> PyCapsule_GetPointer(capsules_f64["embed_mixture"], NULL)
cdef Embed embed_32 = <Embed> PyCapsule_GetPointer(capsules_f32["embed_mixture"], NULL)
cdef EvaluateF64 evaluate_64 = <EvaluateF64> PyCapsule_GetPointer(capsules_f64["evaluate_block"], NULL)
cdef EvaluateF32 evaluate_32 = <EvaluateF32> PyCapsule_GetPointer(capsules_f32["evaluate_block"], NULL)
cdef AccumulateF64 accumulate_64 = <AccumulateF64> PyCapsule_GetPointer(capsules_f64["accumulate_block"], NULL)
cdef AccumulateF32 accumulate_32 = <AccumulateF32> PyCapsule_GetPointer(capsules_f32["accumulate_block"], NULL)
cdef LogConstants log_constants = <LogConstants> PyCapsule_GetPointer(capsules_m["log_constants"], NULL)
cdef Size parameters_scratch_bytes_of = <Size> PyCapsule_GetPointer(capsules_m["parameters_scratch_bytes"], NULL)
cdef ParametersFromStatistics maximize = <ParametersFromStatistics> PyCapsule_GetPointer(
    capsules_m["parameters_from_statistics"], NULL,
)


cdef int api_version() noexcept nogil:
    return API_VERSION


cdef Py_ssize_t mixture_bytes_f64(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return mixture_bytes_64(covariance_type, K, D)


cdef Py_ssize_t mixture_bytes_f32(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return mixture_bytes_32(covariance_type, K, D)


cdef Py_ssize_t scratch_bytes_f64(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return scratch_bytes_64(covariance_type, K, D)


cdef Py_ssize_t scratch_bytes_f32(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return scratch_bytes_32(covariance_type, K, D)


cdef void prepare_mixture_f64(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* weights, const double* means, const double* precisions_cholesky,
    void* mixture, void* scratch,
) noexcept nogil:
    log_constants(weights, precisions_cholesky, <double*> scratch, K, D, covariance_type)
    embed_64(covariance_type, K, D, <double*> scratch, means, precisions_cholesky, mixture)


cdef void prepare_mixture_f32(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* weights, const double* means, const double* precisions_cholesky,
    void* mixture, void* scratch,
) noexcept nogil:
    log_constants(weights, precisions_cholesky, <double*> scratch, K, D, covariance_type)
    embed_32(covariance_type, K, D, <double*> scratch, means, precisions_cholesky, mixture)


cdef double log_density_f64(const void* mixture, const double* x, void* scratch) noexcept nogil:
    cdef double value
    evaluate_64(mixture, x, 1, &value, NULL, scratch)
    return value


cdef float log_density_f32(const void* mixture, const float* x, void* scratch) noexcept nogil:
    cdef float value
    evaluate_32(mixture, x, 1, &value, NULL, scratch)
    return value


cdef Py_ssize_t log_densities_f64(
    const void* mixture, const double* X, Py_ssize_t n, double* out, void* scratch,
) noexcept nogil:
    return evaluate_64(mixture, X, n, out, NULL, scratch)


cdef Py_ssize_t log_densities_f32(
    const void* mixture, const float* X, Py_ssize_t n, float* out, void* scratch,
) noexcept nogil:
    return evaluate_32(mixture, X, n, out, NULL, scratch)


cdef Py_ssize_t responsibilities_f64(
    const void* mixture, const double* X, Py_ssize_t n, double* out, double* log_densities, void* scratch,
) noexcept nogil:
    return evaluate_64(mixture, X, n, log_densities, out, scratch)


cdef Py_ssize_t responsibilities_f32(
    const void* mixture, const float* X, Py_ssize_t n, float* out, float* log_densities, void* scratch,
) noexcept nogil:
    return evaluate_32(mixture, X, n, log_densities, out, scratch)


cdef Py_ssize_t statistics_size(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return statistics_size_of(covariance_type, K, D)


cdef Py_ssize_t accumulate_f64(
    const void* mixture, const double* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil:
    return accumulate_64(mixture, X, sample_weight, n, statistics, scratch)


cdef Py_ssize_t accumulate_f32(
    const void* mixture, const float* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil:
    return accumulate_32(mixture, X, sample_weight, n, statistics, scratch)


cdef void merge_statistics(const double* other, double* statistics, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        statistics[i] += other[i]


cdef Py_ssize_t parameters_scratch_bytes(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return parameters_scratch_bytes_of(covariance_type, K, D)


cdef Py_ssize_t parameters_from_statistics(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* statistics, const double* previous_means, const double* reg_covar,
    double* weights, double* means, double* covariances, double* precisions_cholesky, void* scratch,
) noexcept nogil:
    return maximize(
        covariance_type, K, D, statistics, previous_means, reg_covar, weights, means, covariances,
        precisions_cholesky, scratch,
    )
