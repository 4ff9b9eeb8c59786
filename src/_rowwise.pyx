"""The E-step for rows that have covariances of their own: values are missing, or were measured with known noise.

See rowwise.pxd. This file is compiled once for each instruction set, for float64. Its functions do not check their
arguments. Python checks arrays before it calls them.
"""
from cython.parallel cimport prange

from libc.math cimport M_PI, log, sqrt
from libc.stdlib cimport free, malloc

from chunks cimport run_chunks
from lanes cimport padded
from layout cimport CHECKS, EXTENT, OK, real
from missing cimport prepare_missing
from noisy cimport prepare_noisy
from rowpanel cimport MISSING, NOISE, SEPARATE, Observation, RowMixture
from rowwise cimport (
    RowOutputs, RowwisePass, accumulate_rowwise, evaluate_rowwise, finish, rowwise_scratch, rowwise_statistics,
)
from separate cimport prepare_separate
from whiten cimport triangle

cdef enum:
    ON_STACK = 1024     # doubles


def rowwise_sizes(int observation, Py_ssize_t chunk_rows, Py_ssize_t K, Py_ssize_t D):
    """Return (statistics, numbers of a prepared mixture, numbers of scratch of one thread)"""
    return (
        rowwise_statistics(K, D, observation), mixture_size(K, D, observation),
        rowwise_scratch(chunk_rows, K, D, observation),
    )


cdef Py_ssize_t mixture_size(Py_ssize_t K, Py_ssize_t D, int observation) noexcept nogil:
    cdef Py_ssize_t size = 2 * K + 3 * K * D
    if observation == MISSING:
        size += K * (D + 1) + K * triangle(D) + K * D * D + K * padded(D)
    elif observation == NOISE:
        size += K * (D + 1) + K * padded(D) + 2 * K * triangle(D)
    return size + 2


cdef RowMixture mixture_at(real* at, Py_ssize_t K, Py_ssize_t D, int observation) noexcept nogil:
    """Return a mixture whose arrays begin at `at`"""
    cdef RowMixture m
    m.K, m.D, m.observation = K, D, <Observation> observation
    m.common_constant = at[0]
    m.log_total = at[1]
    m.log_constant = at + 2
    m.log_weight = m.log_constant + K
    m.mean = m.log_weight + K
    m.unit = m.mean + K * D
    m.log_missing = m.unit + K * D
    m.least = m.factor = m.upper = m.matrix = NULL
    m.factor_size = m.matrix_size = 0
    if observation == SEPARATE:
        return m
    m.least = m.log_missing + K * D
    m.factor = m.least + K * (D + 1)
    m.factor_size = triangle(D) if observation == MISSING else padded(D)
    m.matrix = m.factor + K * m.factor_size
    m.matrix_size = padded(D) if observation == MISSING else 2 * triangle(D)
    m.upper = m.matrix + K * m.matrix_size
    return m


def rowwise_prepare(
    const double[::1] log_constant,         # IN  (K + 1,) see log_constants in maximize.pxd
    const double[:, ::1] means,             # IN  (K, D)
    const double[::1] factors,              # IN  precisions_cholesky (K, D, D), or (K, D) for SEPARATE
    real[::1] mixture,                      # OUT (mixture_size,)
    double[::1] scratch,                    # TMP (2 D D,)
    double log_total,                       # logarithm of the sum of the weights
    int observation,
):
    """Write the parameters in the layout that the E-step reads (RowMixture in rowpanel.pxd)"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1], k, d
    cdef real* at = &mixture[0]
    cdef RowMixture m
    cdef double log_det
    cdef const double* U
    if CHECKS and (mixture.shape[0] < mixture_size(K, D, observation) or scratch.shape[0] < 2 * D * D):
        return EXTENT
    m = mixture_at(at, K, D, observation)
    with nogil:
        at[0], at[1] = log_constant[K], log_total
        for k in range(K):
            (<real*> m.log_constant)[k] = log_constant[k]
            for d in range(D):
                (<real*> m.mean)[k * D + d] = means[k, d]
            log_det = 0
            if observation == SEPARATE:
                U = &factors[k * D]
                prepare_separate(U, <real*> m.unit + k * D, <real*> m.log_missing + k * D, D)
                for d in range(D):
                    log_det += log(U[d])
            else:
                U = &factors[k * D * D]
                for d in range(D):
                    log_det += log(U[d * D + d])
            (<real*> m.log_weight)[k] = log_constant[k] - log_det + 0.5 * D * log(2 * M_PI)
            if observation == MISSING:
                prepare_missing(
                    U, <real*> m.unit + k * D, <real*> m.log_missing + k * D, <real*> m.least + k * (D + 1),
                    <real*> m.factor + k * m.factor_size, <real*> m.upper + k * D * D,
                    <real*> m.matrix + k * m.matrix_size, &scratch[0], D,
                )
            elif observation == NOISE:
                prepare_noisy(
                    U, <real*> m.unit + k * D, <real*> m.log_missing + k * D, <real*> m.least + k * (D + 1),
                    <real*> m.factor + k * m.factor_size, <real*> m.matrix + k * m.matrix_size, &log_det, &scratch[0],
                    D,
                )
                (<real*> m.log_constant)[k] = log_constant[k] - log_det
    return OK


def rowwise_accumulate(
    const real[:, ::1] X,               # IN    (n, D), NaN where a value is missing
    const double[::1] sample_weight,    # IN    (n,), or empty if all weights are 1
    const real[:, :] noise,             # IN    (n, D or D D) variances or covariances, or empty; rows may share memory
    real[::1] mixture,                  # IN    from rowwise_prepare
    double[::1] statistics,             # INOUT added to; an array of two entries receives only the log-likelihood and
                                        #       the total weight
    double[:, ::1] partial,             # TMP   (n_threads, statistics)
    real[:, ::1] scratch,               # TMP   (n_threads, rowwise_scratch)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    int observation,
    Py_ssize_t K,
    Py_ssize_t chunk_rows,              # at most 65536
    int n_threads,
):
    """Add the statistics of all rows, which rowwise_finish completes.

    The function returns OK, EXTENT, or 1 + a row that has density 0 under every component.
    """
    cdef RowwisePass job
    cdef Py_ssize_t n = X.shape[0], D = X.shape[1], size = statistics.shape[0], n_chunks, answer
    if CHECKS and (
        (size != 2 and rowwise_statistics(K, D, observation) > size)
        or mixture.shape[0] < mixture_size(K, D, observation)
        or partial.shape[0] < n_threads or partial.shape[1] != size
        or scratch.shape[0] < n_threads or scratch.shape[1] < rowwise_scratch(chunk_rows, K, D, observation)
        or tickets.shape[0] < n_threads + 2 or chunk_rows > 65536 or (noise.shape[0] and noise.shape[0] < n)
    ):
        return EXTENT
    job = pass_over(X, noise, mixture, observation, K, chunk_rows)
    job.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.size = size
    n_chunks = (n + chunk_rows - 1) // chunk_rows
    with nogil:
        answer = run_chunks(
            run_chunk, &job, n_chunks, &statistics[0], &partial[0, 0], size,
            &scratch[0, 0], scratch.shape[1], &tickets[0], n_threads,
        )
    return answer


cdef RowwisePass pass_over(
    const real[:, ::1] X, const real[:, :] noise, real[::1] mixture, int observation, Py_ssize_t K,
    Py_ssize_t chunk_rows,
) noexcept:
    """Return a pass without weights that makes no statistics"""
    cdef RowwisePass job
    cdef Py_ssize_t D = X.shape[1]
    job.mixture = mixture_at(&mixture[0], K, D, observation)
    job.X = &X[0, 0]
    job.weight = NULL
    job.noise = &noise[0, 0] if noise.shape[0] else NULL
    job.noise_stride = noise.strides[0] // <Py_ssize_t> sizeof(real) if noise.shape[0] else 0
    job.variances = noise.shape[1] == D
    job.n_samples = X.shape[0]
    job.chunk_rows = chunk_rows
    job.size = 0
    return job


cdef Py_ssize_t run_chunk(const void* argument, Py_ssize_t chunk, double* statistics, real* scratch) noexcept nogil:
    """Compute the statistics of one chunk"""
    cdef const RowwisePass* job = <const RowwisePass*> argument
    cdef Py_ssize_t start = chunk * job.chunk_rows
    return accumulate_rowwise(job, start, min(start + job.chunk_rows, job.n_samples), statistics, scratch)


def rowwise_finish(
    double[::1] statistics,             # INOUT
    real[::1] mixture,                  # IN
    double[::1] scratch,                # TMP (D D,)
    int observation,
    Py_ssize_t K,
    Py_ssize_t D,
):
    """Bring the moments of a whole pass, about the means, to the units of the data"""
    cdef RowMixture m
    if CHECKS and (
        statistics.shape[0] < rowwise_statistics(K, D, observation) or scratch.shape[0] < D * D
        or mixture.shape[0] < mixture_size(K, D, observation)
    ):
        return EXTENT
    m = mixture_at(&mixture[0], K, D, observation)
    with nogil:
        finish(&statistics[0], &m, &scratch[0])
    return OK


def rowwise_evaluate(
    const real[:, ::1] X,               # IN  (n, D), NaN where a value is missing
    const real[:, :] noise,             # IN  (n, D or D D) variances or covariances, or empty; rows may share memory
    real[::1] mixture,                  # IN  from rowwise_prepare
    real[::1] log_likelihood,           # OUT (n,); this and the other outputs may be empty
    real[:, ::1] responsibilities,      # OUT (n, K)
    long long[::1] labels,              # OUT (n,)
    real[:, ::1] mean,                  # OUT (n, D) of the row with all its values and without noise
    real[:, ::1] covariance,            # OUT (n, D D), with `mean` and not for MISSING
    real[:, ::1] scratch,               # TMP (n_threads, rowwise_scratch)
    Py_ssize_t[::1] status,             # TMP (n_threads,)
    int observation,
    Py_ssize_t K,
    Py_ssize_t chunk_rows,              # at most 65536
    int n_threads,
):
    """Fill the outputs that are not empty; return the number of rows that have density 0 under every component.

    Call it with labels, or with other outputs, but not with both, or such a row counts twice.
    """
    cdef RowwisePass job
    cdef RowOutputs out
    cdef Py_ssize_t n = X.shape[0], D = X.shape[1], n_chunks = (n + chunk_rows - 1) // chunk_rows, bad = 0
    cdef int t, n_workers = <int> min(<Py_ssize_t> n_threads, n_chunks)
    if CHECKS and (
        mixture.shape[0] < mixture_size(K, D, observation) or status.shape[0] < n_threads or chunk_rows > 65536
        or scratch.shape[0] < n_threads or scratch.shape[1] < rowwise_scratch(chunk_rows, K, D, observation)
        or (noise.shape[0] and noise.shape[0] < n)
        or (log_likelihood.shape[0] and log_likelihood.shape[0] < n)
        or (responsibilities.shape[0] and (responsibilities.shape[0] < n or responsibilities.shape[1] < K))
        or (labels.shape[0] and labels.shape[0] < n)
        or (mean.shape[0] and (mean.shape[0] < n or mean.shape[1] < D))
        or (covariance.shape[0] and (covariance.shape[0] < n or covariance.shape[1] < D * D or mean.shape[0] < n))
    ):
        return EXTENT
    job = pass_over(X, noise, mixture, observation, K, chunk_rows)
    out.log_likelihood = &log_likelihood[0] if log_likelihood.shape[0] else NULL
    out.responsibilities = &responsibilities[0, 0] if responsibilities.shape[0] else NULL
    out.labels = &labels[0] if labels.shape[0] else NULL
    out.mean = &mean[0, 0] if mean.shape[0] else NULL
    out.covariance = &covariance[0, 0] if covariance.shape[0] else NULL
    status[:] = 0
    if n_workers == 1:
        with nogil:
            status[0] = evaluate_chunks(&job, &out, 0, n_chunks, &scratch[0, 0])
    else:
        for t in prange(n_workers, nogil=True, num_threads=n_workers, schedule="static", chunksize=1):
            status[t] = evaluate_chunks(
                &job, &out, n_chunks * t // n_workers, n_chunks * (t + 1) // n_workers, &scratch[t, 0],
            )
    for t in range(n_workers):
        if status[t] < 0:
            return status[t]
        bad += status[t]
    return bad


cdef Py_ssize_t evaluate_chunks(
    const RowwisePass* job, const RowOutputs* out, Py_ssize_t chunk, Py_ssize_t stop, real* scratch,
) noexcept nogil:
    """Write the outputs for several chunks"""
    cdef Py_ssize_t bad = 0, found, start
    while chunk < stop:
        start = chunk * job.chunk_rows
        found = evaluate_rowwise(job, out, start, min(start + job.chunk_rows, job.n_samples), scratch)
        if found < 0:
            return found
        bad += found
        chunk += 1
    return bad


def first_indefinite(
    const double[:, ::1] noise,         # IN  (n, D D) symmetric matrices
    Py_ssize_t D,
    double tolerance,                   # of a squared pivot, relative to the variance of its feature
):
    """Return 0, or 1 + the first matrix that is not positive semi-definite"""
    cdef Py_ssize_t n = noise.shape[0], i
    cdef double L[ON_STACK]
    cdef double* memory = L
    if CHECKS and noise.shape[1] < D * D:
        return EXTENT
    if D * D > ON_STACK:
        memory = <double*> malloc(D * D * sizeof(double))
        if memory == NULL:
            raise MemoryError
    with nogil:
        for i in range(n):
            if not is_semidefinite(&noise[i, 0], memory, D, tolerance):
                break
        else:
            i = -1
    if D * D > ON_STACK:
        free(memory)
    return i + 1


cdef bint is_semidefinite(const double* A, double* L, Py_ssize_t D, double tolerance) noexcept nogil:
    """Tell whether a Cholesky factor exists, up to the tolerance"""
    # The matrix is scaled to a diagonal of 1. Where a pivot is 0, all of its column has to be.
    cdef Py_ssize_t i, j, p
    cdef double s, pivot, a
    for j in range(D):
        a = A[j * D + j]
        pivot = 1 if a > 0 else 0
        for p in range(j):
            pivot -= L[j * D + p] * L[j * D + p]
        if not pivot >= -tolerance:
            return False
        for i in range(j + 1, D):
            s = A[i * D + j]
            if s != 0:
                if not (a > 0 and A[i * D + i] > 0):
                    return False
                s = s / sqrt(a) / sqrt(A[i * D + i])
            for p in range(j):
                s -= L[i * D + p] * L[j * D + p]
            if pivot > tolerance:
                L[i * D + j] = s / sqrt(pivot)
            else:
                L[i * D + j] = 0
                if s * s > 2 * tolerance:
                    return False
    return True
