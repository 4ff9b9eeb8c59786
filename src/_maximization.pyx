"""The M-step, statistics to parameters, and the factors of covariances and precisions; all in double.

Built once for each instruction set. Nothing is checked here.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport sqrtl

from layout cimport CHECKS, EXTENT, FULL, TIED
from linalg cimport invert_lower
from maximize cimport EPS, factor_all, log_constants, maximize, size_of
from panel cimport dot


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


cdef inline bint beyond_matrices(
    const double[::1] covariances, const double[::1] precisions_cholesky, const double[::1] scratch,
    Py_ssize_t K, Py_ssize_t D, int covariance_type,
) noexcept nogil:
    """Whether an array is too short for the covariances of its type"""
    cdef Py_ssize_t size = size_of(covariance_type, K, D)
    return covariances.shape[0] < size or precisions_cholesky.shape[0] < size or (
        (covariance_type == FULL or covariance_type == TIED) and scratch.shape[0] < size
    )


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
