"""The M-step, which makes parameters from statistics, and the factors of covariances and precisions.

Everything is computed in double, except that factor_precisions uses long double. This file is compiled once for each
instruction set. Its functions do not check their arguments.
"""
from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport prange
from libc.math cimport sqrtl

from covariance cimport MStep, m_step_of
from eigen cimport eigenvectors
from layout cimport CHECKS, EPS, EXTENT
from linalg cimport invert_lower
from maximize cimport log_constants, maximize, parameters_from_statistics, parameters_scratch_bytes
from panel cimport dot


def scratch_size(int covariance_type, Py_ssize_t K, Py_ssize_t D):
    """Return the number of doubles of scratch that maximization_step needs"""
    return m_step_of(covariance_type).scratch_size(K, D)


def maximization_step(
    const double[::1] statistics,       # IN  log-likelihood, weight, counts, first and second moments, see rows.pxd
    const double[:, ::1] shift,         # IN  (K, D) origin of the moments
    const double[::1] reg_covar,        # IN  (D,) added to the variances of the features
    double[::1] weights,                # OUT (K,)
    double[:, ::1] means,               # OUT (K, D)
    double[::1] covariances,            # OUT in the shape of the type, raveled
    double[::1] precisions_cholesky,    # OUT in the same shape, raveled
    double[::1] log_constant,           # OUT (K + 1,) see log_normalization
    const double[::1] before,           # IN  covariances before the M-step, raveled, or empty; see constrained.pxd
    double[::1] scratch,                # TMP (scratch_size of the type,), see covariance.pxd
    signed char[::1] empty,             # OUT (K,) 1 for a component whose count is 0 up to rounding
    int covariance_type,
    int n_threads,
):
    """Compute the parameters from the statistics; return (status, drift).

    The status is 0, or 1 + the first component whose covariance is not positive definite. The drift is the largest
    (mean - shift)**2 / variance over components and features. It is the factor by which the variances amplify the
    rounding errors of the moments.
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
            &covariances[0], &precisions_cholesky[0], &log_constant[0], &before[0] if before.shape[0] else NULL,
            &scratch[0] if scratch.shape[0] else NULL, &empty[0], &drift, n_threads,
        )
    return failed, drift


cdef inline bint beyond_matrices(
    const double[::1] covariances, const double[::1] precisions_cholesky, const double[::1] scratch,
    Py_ssize_t K, Py_ssize_t D, int covariance_type,
) noexcept nogil:
    """Tell whether an array is too short for covariances of this type"""
    cdef MStep step = m_step_of(covariance_type)
    cdef Py_ssize_t size = step.covariances_size(K, D)
    return (
        covariances.shape[0] < size or precisions_cholesky.shape[0] < size
        or scratch.shape[0] < step.scratch_size(K, D)
    )


def factor(
    const double[::1] covariances,      # IN  in the shape of the type, raveled
    double[::1] precisions_cholesky,    # OUT in the same shape, raveled
    double[::1] scratch,                # TMP (scratch_size of the type,)
    Py_ssize_t K,
    Py_ssize_t D,
    int covariance_type,
    int n_threads,
):
    """Compute the upper triangular U with U UT = covariance**-1 of each component.

    The function returns 0, or 1 + the first component whose covariance is not positive definite.
    """
    cdef Py_ssize_t failed
    if CHECKS and beyond_matrices(covariances, precisions_cholesky, scratch, K, D, covariance_type):
        return EXTENT
    with nogil:
        failed = m_step_of(covariance_type).precisions_cholesky(
            &covariances[0], &precisions_cholesky[0], &scratch[0] if scratch.shape[0] else NULL, K, D, n_threads,
        )
    return failed


def log_normalization(
    const double[::1] weights,              # IN  (K,)
    const double[::1] precisions_cholesky,  # IN  in the shape of the type, raveled
    double[::1] log_constant,               # OUT (K + 1,)
    Py_ssize_t D,
    int covariance_type,
):
    """Compute the part of each log-probability that does not depend on the sample; return 0.

    This constant is log weight_k + log |U_k| - D/2 log 2 pi. That of the component with the largest weight is the
    last entry of log_constant, and the entries before it are the constants minus that one.
    """
    cdef Py_ssize_t K = weights.shape[0]
    cdef MStep step = m_step_of(covariance_type)
    if CHECKS and (log_constant.shape[0] < K + 1 or precisions_cholesky.shape[0] < step.covariances_size(K, D)):
        return EXTENT
    log_constants(&weights[0], &precisions_cholesky[0], &log_constant[0], K, D, covariance_type)
    return 0


def factor_precisions(
    const double[:, :, ::1] precisions,     # IN  (n, D, D)
    double[:, :, ::1] precisions_cholesky,  # OUT (n, D, D)
    long double[:, :, ::1] scratch,         # TMP (n_threads, D, D)
    int n_threads,
):
    """Compute the upper triangular U with U UT = precision; return 0, or 1 + the first one not positive definite"""
    cdef Py_ssize_t D = precisions.shape[1], N = precisions.shape[0], n
    cdef int t
    if CHECKS and (
        precisions_cholesky.shape[0] < N or precisions_cholesky.shape[1] < D
        or scratch.shape[0] < n_threads or scratch.shape[1] < D
    ):
        return EXTENT
    if n_threads == 1:
        with nogil:
            factor_share(&precisions[0, 0, 0], &precisions_cholesky[0, 0, 0], &scratch[0, 0, 0], 0, 1, N, D)
    else:
        for t in prange(n_threads, nogil=True, num_threads=n_threads, schedule="static", chunksize=1):
            factor_share(&precisions[0, 0, 0], &precisions_cholesky[0, 0, 0], &scratch[t, 0, 0], t, n_threads, N, D)
    for n in range(N):
        if precisions_cholesky[n, 0, 0] < 0:
            return 1 + n
    return 0


cdef void factor_share(
    const double* precisions, double* precisions_cholesky, long double* U,
    int worker, int n_workers, Py_ssize_t N, Py_ssize_t D,
) noexcept nogil:
    """Factor every n_workers-th matrix; U_00 = -1 marks one that is not positive definite"""
    cdef Py_ssize_t n = worker
    while n < N:
        if not factor_precision(precisions + n * D * D, precisions_cholesky + n * D * D, U, D):
            precisions_cholesky[n * D * D] = -1
        n += n_workers


cdef bint factor_precision(const double* P, double* precision_cholesky, long double* U, Py_ssize_t D) noexcept nogil:
    """P = U UT; return False if P is not positive definite"""
    # From the last column to the first, U_ij = (P_ij - sum over k > j of U_ik U_jk) / U_jj. The sums are in extended
    # precision where the machine has it. They are computed once for a fit, and all that follows depends on them.
    cdef Py_ssize_t i, j, k
    cdef long double s
    for i in range(D * D):
        precision_cholesky[i] = 0
    for j in range(D - 1, -1, -1):
        for i in range(j, -1, -1):
            s = P[i * D + j]
            for k in range(j + 1, D):
                s -= U[i * D + k] * U[j * D + k]
            if i < j:
                U[i * D + j] = s / U[j * D + j]
            elif s > EPS * P[j * D + j]:
                U[j * D + j] = sqrtl(s)
            else:
                return False
            precision_cholesky[i * D + j] = <double> U[i * D + j]
    return True


def precisions_and_covariances(
    const double[:, :, ::1] precisions_cholesky,    # IN  (n, D, D)
    double[:, :, ::1] precisions,                   # OUT (n, D, D) precision = U UT
    double[:, :, ::1] covariances,                  # OUT (n, D, D) covariance = U**-T U**-1
    double[:, :, :, ::1] scratch,                   # TMP (n_threads, 2, D, D)
    int n_threads,
):
    """Compute precisions and covariances from the factors of the precisions; return 0"""
    cdef Py_ssize_t D = precisions_cholesky.shape[1], N = precisions_cholesky.shape[0]
    cdef int t
    if CHECKS and (
        precisions.shape[0] < N or precisions.shape[1] < D or covariances.shape[0] < N or covariances.shape[1] < D
        or scratch.shape[0] < n_threads or scratch.shape[1] < 2 or scratch.shape[2] < D
    ):
        return EXTENT
    if n_threads == 1:
        with nogil:
            square_share(
                &precisions_cholesky[0, 0, 0], &precisions[0, 0, 0], &covariances[0, 0, 0], &scratch[0, 0, 0, 0],
                0, 1, N, D,
            )
    else:
        for t in prange(n_threads, nogil=True, num_threads=n_threads, schedule="static", chunksize=1):
            square_share(
                &precisions_cholesky[0, 0, 0], &precisions[0, 0, 0], &covariances[0, 0, 0], &scratch[t, 0, 0, 0],
                t, n_threads, N, D,
            )
    return 0


cdef void square_share(
    const double* precisions_cholesky, double* precisions, double* covariances, double* scratch,
    int worker, int n_workers, Py_ssize_t N, Py_ssize_t D,
) noexcept nogil:
    """Compute the precision and the covariance of every n_workers-th matrix"""
    # U**-T is the inverse of the lower triangle UT, so its row i ends at the diagonal.
    cdef Py_ssize_t n = worker, i, j
    cdef const double* U
    cdef double* P
    cdef double* C
    cdef double* lower = scratch
    cdef double* inverse = scratch + D * D
    while n < N:
        U = precisions_cholesky + n * D * D
        P = precisions + n * D * D
        C = covariances + n * D * D
        for i in range(D):
            for j in range(i + 1):
                P[i * D + j] = dot(U + i * D + i, U + j * D + i, D - i)
                P[j * D + i] = P[i * D + j]
        for i in range(D):
            for j in range(D):
                lower[i * D + j] = U[j * D + i]
        invert_lower(lower, inverse, D)
        for i in range(D):
            for j in range(i + 1):
                C[i * D + j] = dot(inverse + i * D, inverse + j * D, j + 1)
                C[j * D + i] = C[i * D + j]
        n += n_workers


def principal_axes(
    double[:, :, ::1] matrices,         # INOUT (n, D, D) symmetric; its diagonals become the eigenvalues, largest first
    double[:, :, ::1] axes,             # OUT   (n, D, D) an eigenvector in each column
):
    """Decompose each matrix into eigenvalues and eigenvectors; return OK, or EXTENT if an array is too small"""
    cdef Py_ssize_t n
    if CHECKS and (axes.shape[0] < matrices.shape[0] or axes.shape[1] < matrices.shape[1]):
        return EXTENT
    with nogil:
        for n in range(matrices.shape[0]):
            eigenvectors(&matrices[n, 0, 0], &axes[n, 0, 0], matrices.shape[1])
    return 0


def _capsules():
    """Return the functions of maximize.pxd, for gmm_core.kernels and _stepwise.pyx"""
    return {
        "log_constants": PyCapsule_New(<void*> log_constants, NULL, NULL),
        "maximize": PyCapsule_New(<void*> maximize, NULL, NULL),
        "parameters_scratch_bytes": PyCapsule_New(<void*> parameters_scratch_bytes, NULL, NULL),
        "parameters_from_statistics": PyCapsule_New(<void*> parameters_from_statistics, NULL, NULL),
    }
