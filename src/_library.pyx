"""The functions of gmm_core.h that have an element type, for the static library of a subproject (see library.c).

This file is compiled for each element type and instruction set. The functions are plain C, so the module is never
initialised or imported.
"""
from embedded cimport accumulate_block, embed_mixture, evaluate_block, mixture_bytes, scratch_bytes
from layout cimport real
from maximize cimport log_constants

cdef extern from "library.h":
    pass


cdef public Py_ssize_t mixture_bytes_of "library_mixture_bytes"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    return mixture_bytes(covariance_type, K, D)


cdef public Py_ssize_t scratch_bytes_of "library_scratch_bytes"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    return scratch_bytes(covariance_type, K, D)


cdef public void prepare_mixture "library_prepare_mixture"(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* weights, const double* means, const double* precisions_cholesky,
    void* mixture, void* scratch,
) noexcept nogil:
    log_constants(weights, precisions_cholesky, <double*> scratch, K, D, covariance_type)
    embed_mixture(covariance_type, K, D, <double*> scratch, means, precisions_cholesky, mixture)


# evaluate_block is inline. This function holds the only copy of it in this file.
cdef Py_ssize_t evaluate(
    const void* mixture, const real* X, Py_ssize_t n, real* log_densities, real* responsibilities, void* scratch,
) noexcept nogil:
    return evaluate_block(mixture, X, n, log_densities, responsibilities, scratch)


cdef public real log_density "library_log_density"(const void* mixture, const real* x, void* scratch) noexcept nogil:
    cdef real value
    evaluate(mixture, x, 1, &value, NULL, scratch)
    return value


cdef public Py_ssize_t log_densities "library_log_densities"(
    const void* mixture, const real* X, Py_ssize_t n, real* out, void* scratch,
) noexcept nogil:
    return evaluate(mixture, X, n, out, NULL, scratch)


cdef public Py_ssize_t responsibilities "library_responsibilities"(
    const void* mixture, const real* X, Py_ssize_t n, real* out, real* log_densities, void* scratch,
) noexcept nogil:
    return evaluate(mixture, X, n, log_densities, out, scratch)


cdef public Py_ssize_t accumulate "library_accumulate"(
    const void* mixture, const real* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil:
    return accumulate_block(mixture, X, sample_weight, n, statistics, scratch)
