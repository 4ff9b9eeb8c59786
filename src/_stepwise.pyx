"""Stepwise EM: an M-step after every few rows, from a running mean of the statistics.

The steps are those of steps.py in gmm_core/fit, for covariance types whose second moments are sums for each component.
A step of a few hundred rows takes less time than a few calls of Python. This file is compiled once for each element
type, without contraction of a * b + c, so that its results are bit-identical to those of NumPy. The E-step and the
M-step are functions of other modules, which are given as capsules. The functions do not check their arguments.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memcpy, memset

from layout cimport CHECKS, EXTENT, OK, real

# The functions of these names in embedded.pxd and maximize.pxd
ctypedef void (*Embed)(
    int covariance_type, Py_ssize_t K, Py_ssize_t D, const double* log_constant, const double* means,
    const double* precisions_cholesky, void* mixture,
) noexcept nogil
ctypedef Py_ssize_t (*Accumulate)(
    const void* mixture, const real* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil
ctypedef Py_ssize_t (*Maximize)(
    int covariance_type, Py_ssize_t K, Py_ssize_t D, const double* statistics, const double* shift,
    const double* reg_covar, double* weights, double* means, double* covariances, double* precisions_cholesky,
    double* log_constant, const double* before, double* scratch, signed char* empty, double* drift, int n_threads,
) noexcept nogil

cdef double FAINTEST = 1e-8     # see `mixed` in gmm_core/fit/stepwise.py


def make_steps(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty if all weights are 1
    const Py_ssize_t[::1] ends,         # IN    (n_steps,) the row after the last one of each step, ascending
    const double[::1] sizes,            # IN    (n_steps,) the share that the rows of a step get in the running mean
    const double[::1] reg_covar,        # IN    (D,) added to the variances of the features
    double[::1] values,                 # INOUT running mean of the statistics, about the means
    double[::1] batch,                  # OUT   the statistics of the rows of the last step, of the same size
    double[::1] weights,                # OUT   (K,)
    double[:, ::1] means,               # INOUT (K, D)
    double[::1] covariances,            # INOUT in the shape of the type, raveled
    double[::1] precisions_cholesky,    # INOUT in the same shape, raveled
    double[::1] log_constant,           # INOUT (K + 1,)
    double[:, ::1] shift,               # TMP   (K, D)
    double[::1] before,                 # TMP   in the shape of the type, raveled
    signed char[::1] empty,             # TMP   (K,)
    double[::1] matrices,               # TMP   scratch of the M-step
    real[::1] mixture,                  # TMP   a header of 64 bytes and a prepared mixture
    real[::1] scratch,                  # TMP   scratch of the E-step
    int e_step,                         # the number of the type's E-step
    int m_step,                         # the number of the type's M-step
    embed,                              # capsules of functions of the chosen instruction set
    accumulate,
    maximize,
):
    """Make all steps.

    The function returns OK, EXTENT, 1 + the row of X that has density 0 under every component, or -2 - the component
    whose covariance is not positive definite in an M-step.
    """
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1], n_steps = ends.shape[0], size = values.shape[0]
    cdef Py_ssize_t step = 0, start = 0, status = OK, i
    cdef Embed prepare = <Embed> PyCapsule_GetPointer(embed, NULL)
    cdef Accumulate add_rows = <Accumulate> PyCapsule_GetPointer(accumulate, NULL)
    cdef Maximize update = <Maximize> PyCapsule_GetPointer(maximize, NULL)
    cdef const double* weight = NULL
    cdef double drift, gain
    if CHECKS and (
        sizes.shape[0] < n_steps or (sample_weight.shape[0] and sample_weight.shape[0] < X.shape[0])
        or reg_covar.shape[0] < D or batch.shape[0] < size or weights.shape[0] < K
        or precisions_cholesky.shape[0] < covariances.shape[0] or before.shape[0] < covariances.shape[0]
        or log_constant.shape[0] < K + 1 or shift.shape[0] < K or shift.shape[1] < D or empty.shape[0] < K
    ):
        return EXTENT
    with nogil:
        while step < n_steps:
            if sample_weight.shape[0]:
                weight = &sample_weight[start]
            prepare(e_step, K, D, &log_constant[0], &means[0, 0], &precisions_cholesky[0], &mixture[0])
            memset(&batch[0], 0, size * sizeof(double))
            status = add_rows(&mixture[0], &X[start, 0], weight, ends[step] - start, &batch[0], &scratch[0])
            if status != OK:
                status = status + start if status > 0 else status
                break
            for i in range(size):
                values[i] = (1 - sizes[step]) * values[i]
            raise_faint_components(&values[0], size, K, D)
            gain = sizes[step] / batch[1]
            for i in range(size):
                values[i] = values[i] + gain * batch[i]
            memcpy(&shift[0, 0], &means[0, 0], K * D * sizeof(double))
            memcpy(&before[0], &covariances[0], covariances.shape[0] * sizeof(double))
            status = update(
                m_step, K, D, &values[0], &shift[0, 0], &reg_covar[0], &weights[0], &means[0, 0], &covariances[0],
                &precisions_cholesky[0], &log_constant[0], &before[0], &matrices[0] if matrices.shape[0] else NULL,
                &empty[0], &drift, 1,
            )
            if status != OK:
                status = -1 - status
                break
            move_to_means(&values[0], size, K, D)
            start = ends[step]
            step += 1
    return status


cdef void raise_faint_components(double* values, Py_ssize_t size, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Give components with a count below FAINTEST this count, and scale their second moments"""
    cdef double* counts = values + 2
    cdef double* moments = counts + K + K * D
    cdef Py_ssize_t n = (size - 2 - K - K * D) // K, k, i
    cdef double growth
    for k in range(K):
        if 0 < counts[k] < FAINTEST:
            growth = FAINTEST / counts[k]
            counts[k] *= growth
            for i in range(n):
                moments[k * n + i] *= growth


cdef void move_to_means(double* values, Py_ssize_t size, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Move the origins to the means c + s / N: subtract s sT / N, or its diagonal, from S, and set s to 0"""
    cdef const double* counts = values + 2
    cdef double* first = values + 2 + K
    cdef double* moments = first + K * D
    cdef bint diagonal = size - 2 - K - K * D == K * D
    cdef Py_ssize_t k, i, j
    cdef double move
    for k in range(K):
        for i in range(D):
            for j in range(i if diagonal else 0, i + 1):
                move = first[j] / counts[k] if counts[k] > 0 else 0
                moments[0] -= first[i] * move
                moments += 1
        for i in range(D):
            first[i] = 0
        first += D
