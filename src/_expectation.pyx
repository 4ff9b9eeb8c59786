"""The E-step over the rows of X: the pass of EM, which makes statistics, and scoring.

This file is compiled once for each element type (`real`, see vec.h) and instruction set. Its functions do not check
their arguments. Python checks arrays before it calls them.
"""
from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport prange
from libc.string cimport memset

from layout cimport CHECKS, EXTENT, OK, Mixture, real, vec, vec_if_less, vec_set, LANES
from covariance cimport EStep, e_step_of
from embedded cimport (
    accumulate_block, embed_mixture, evaluate_block, mixture_bytes, scratch_bytes, statistics_size,
)
from finite cimport all_finite_in
from panel cimport split
from prepared cimport mixture_in, prepare_mixture, prepared_size
from rows cimport accumulate_rows, evaluate_rows, Outputs, Pass
from tile cimport tile_samples, tile_size
from chunks cimport run_chunks
from vmath cimport exp_nonpositive, log_positive


def sizes(int covariance_type, Py_ssize_t K, Py_ssize_t D):
    """Return (doubles of statistics, reals of a prepared mixture, reals of scratch of one thread, samples in a tile)"""
    cdef EStep c = e_step_of(covariance_type)
    return (
        statistics_size(covariance_type, K, D),
        prepared_size(&c, K, D),
        tile_size(K, D),
        tile_samples(K, D),
    )


def prepare(
    const double[::1] log_constant,         # IN  (K + 1,) see log_constants in maximize.pxd
    const double[:, ::1] means,             # IN  (K, D)
    const double[::1] precisions_cholesky,  # IN  in the shape of the type, raveled
    double log_noise,                       # log weight + log-density of the noise, or -inf
    real[::1] mixture,                      # OUT (prepared_size,)
    int covariance_type,
):
    """Write the parameters in the layout that the E-step reads (Mixture in layout.pxd)"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1]
    cdef EStep c = e_step_of(covariance_type)
    if CHECKS and prepared_size(&c, K, D) > mixture.shape[0]:
        return EXTENT
    prepare_mixture(
        &c, &log_constant[0], &means[0, 0], &precisions_cholesky[0], log_noise, &mixture[0], K, D,
    )
    return OK


def accumulate(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty if all weights are 1
    const real[:, ::1] responsibilities,  # IN  (n, K), or empty
    const long long[::1] labels,        # IN    (n,), or empty
    const real[::1] mixture,            # IN    from prepare, or empty
    const double[:, ::1] shift,         # IN    (K, D) origin of the moments, or empty for the means of the mixture
    double[::1] statistics,             # INOUT added to; an array of two entries receives only the log-likelihood and
                                        #       the total weight
    double[:, ::1] partial,             # TMP   (n_threads, statistics)
    real[:, ::1] scratch,               # TMP   (n_threads, tile_size + 2 K D)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    int covariance_type,
    Py_ssize_t K,
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """Add the statistics of all rows.

    The responsibilities are those given, or those under the mixture, or 1 for the component that a label names. If
    there is none of these, all rows belong to component 0. With a mixture and labels, a row whose label is not -1 has
    the responsibility 1 for that component, and its joint density with it in place of the mixture's. Only the mixture
    yields a log-likelihood. The function returns OK, EXTENT, or 1 + the first row that has density 0 under every
    component.
    """
    cdef Pass job
    cdef Py_ssize_t D = X.shape[1], size = statistics.shape[0], tile_reals = tile_size(K, D)
    cdef Py_ssize_t n_chunks, answer
    job.covariance = e_step_of(covariance_type)
    job.n_samples = X.shape[0]
    job.chunk_rows = chunk_rows
    if CHECKS and (
        (size != 2 and 2 + K + K * D + job.covariance.moments_size(K, D) > size)
        or partial.shape[0] < n_threads or partial.shape[1] != size
        or scratch.shape[0] < n_threads or scratch.shape[1] < tile_reals + 2 * K * D
        or tickets.shape[0] < n_threads + 2
    ):
        return EXTENT
    job.X = &X[0, 0]
    job.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.responsibilities = &responsibilities[0, 0] if responsibilities.shape[0] else NULL
    job.labels = &labels[0] if labels.shape[0] else NULL
    job.e_step = mixture.shape[0] > 0 and job.responsibilities == NULL
    job.mixture = mixture_in(&mixture[0] if mixture.shape[0] else NULL, mixture.shape[0], K, D)
    job.at_means = shift.shape[0] == 0
    if job.at_means:
        job.shift_hi = job.mixture.mean_hi
        job.shift_lo = job.mixture.mean_lo
    else:
        split(&shift[0, 0], &scratch[0, tile_reals], K * D)
        job.shift_hi = &scratch[0, tile_reals]
        job.shift_lo = job.shift_hi + K * D
    job.size = size
    n_chunks = (job.n_samples + chunk_rows - 1) // chunk_rows
    with nogil:
        answer = run_chunks(
            run_chunk, &job, n_chunks, &statistics[0], &partial[0, 0], size,
            &scratch[0, 0], scratch.shape[1], &tickets[0], n_threads,
        )
    return answer


# accumulate_rows and evaluate_rows are inline. The functions below call these wrappers, so that they do not each get a
# copy.
cdef Py_ssize_t accumulate_slice(
    const Pass* job, Py_ssize_t start, Py_ssize_t stop, double* statistics, real* scratch,
) noexcept nogil:
    return accumulate_rows(job, start, stop, statistics, scratch)


cdef Py_ssize_t evaluate_slice(
    const real* X, const EStep* c, const Mixture* m, const Outputs* out,
    Py_ssize_t start, Py_ssize_t stop, real* scratch,
) noexcept nogil:
    return evaluate_rows(X, c, m, out, start, stop, scratch)


cdef Py_ssize_t run_chunk(const void* argument, Py_ssize_t chunk, double* statistics, real* scratch) noexcept nogil:
    """Compute the statistics of one chunk; return OK, EXTENT, or 1 + the first row that has density 0"""
    cdef const Pass* job = <const Pass*> argument
    cdef Py_ssize_t start = chunk * job.chunk_rows
    memset(statistics, 0, job.size * sizeof(double))
    return accumulate_slice(job, start, min(start + job.chunk_rows, job.n_samples), statistics, scratch)


def evaluate(
    const real[:, ::1] X,               # IN  (n, D)
    const real[::1] mixture,            # IN  from prepare
    real[:, ::1] log_prob,              # OUT (n, K) log weight + log-density; this and the other outputs may be empty
    real[::1] log_likelihood,           # OUT (n,)
    real[:, ::1] responsibilities,      # OUT (n, K)
    long long[::1] labels,              # OUT (n,) first component of the largest log-probability
    real[:, ::1] scratch,               # TMP (n_threads, tile_size)
    Py_ssize_t[::1] status,             # TMP (n_threads,)
    int covariance_type,
    Py_ssize_t K,
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """Fill the outputs that are not empty; return the number of rows that have density 0 under every component.

    Call it with labels, or with log_likelihood or responsibilities, but not with both, or such a row counts twice. With
    log_prob alone the result is 0.
    """
    cdef Py_ssize_t n = X.shape[0], D = X.shape[1], n_chunks = (n + chunk_rows - 1) // chunk_rows, bad = 0
    cdef int t, n_workers = <int> min(<Py_ssize_t> n_threads, n_chunks)
    cdef EStep c = e_step_of(covariance_type)
    cdef Mixture m
    cdef Outputs out
    if CHECKS and (
        prepared_size(&c, K, D) > mixture.shape[0]
        or scratch.shape[0] < n_threads or scratch.shape[1] < tile_size(K, D) or status.shape[0] < n_threads
        or (log_prob.shape[0] and (log_prob.shape[0] < n or log_prob.shape[1] < K))
        or (log_likelihood.shape[0] and log_likelihood.shape[0] < n)
        or (responsibilities.shape[0] and (responsibilities.shape[0] < n or responsibilities.shape[1] < K))
        or (labels.shape[0] and labels.shape[0] < n)
    ):
        return EXTENT
    m = mixture_in(&mixture[0], mixture.shape[0], K, D)
    out.log_prob = &log_prob[0, 0] if log_prob.shape[0] else NULL
    out.log_likelihood = &log_likelihood[0] if log_likelihood.shape[0] else NULL
    out.responsibilities = &responsibilities[0, 0] if responsibilities.shape[0] else NULL
    out.labels = &labels[0] if labels.shape[0] else NULL
    status[:] = 0
    if n_workers == 1:
        with nogil:
            status[0] = evaluate_slice(&X[0, 0], &c, &m, &out, 0, n, &scratch[0, 0])
    else:
        for t in prange(n_workers, nogil=True, num_threads=n_workers, schedule="static", chunksize=1):
            status[t] = evaluate_slice(
                &X[0, 0], &c, &m, &out,
                chunk_rows * (n_chunks * t // n_workers), min(chunk_rows * (n_chunks * (t + 1) // n_workers), n),
                &scratch[t, 0],
            )
    for t in range(n_workers):
        if status[t] < 0:
            return status[t]
        bad += status[t]
    return bad


def all_finite(
    const real[::1] values,             # IN  (n,)
    int n_threads,
):
    """Tell whether no value is NaN or infinite"""
    cdef Py_ssize_t n = values.shape[0], n_bad = 0
    cdef int t
    if n == 0:
        return True
    if n_threads == 1:
        with nogil:
            n_bad = not all_finite_in(&values[0], n)
    else:
        for t in prange(n_threads, nogil=True, num_threads=n_threads, schedule="static", chunksize=1):
            n_bad += not all_finite_in(
                &values[0] + n * t // n_threads, n * (t + 1) // n_threads - n * t // n_threads,
            )
    return n_bad == 0


def exp_log(const real[::1] x, real[::1] exp_x, const double[::1] y, double[::1] log_y):
    """Compute exp(-|x|) and log|y| of arrays, for the tests of vmath.pxd"""
    cdef Py_ssize_t i, n = x.shape[0]
    cdef real last[LANES]
    cdef vec* block = <vec*> last
    for i in range(n // LANES):
        (<vec*> &exp_x[i * LANES])[0] = exp_of_minus_abs((<const vec*> &x[i * LANES])[0])
    block[0] = vec_set(0)
    for i in range(n % LANES):
        last[i] = x[n - n % LANES + i]
    block[0] = exp_of_minus_abs(block[0])
    for i in range(n % LANES):
        exp_x[n - n % LANES + i] = last[i]
    for i in range(y.shape[0]):
        log_y[i] = log_positive(abs(y[i]))


cdef inline vec exp_of_minus_abs(vec x) noexcept nogil:
    return exp_nonpositive(vec_if_less(x, vec_set(0), x, -x))


def _capsules():
    """Return the functions of embedded.pxd, for gmm_core.kernels"""
    return {
        "mixture_bytes": PyCapsule_New(<void*> mixture_bytes, NULL, NULL),
        "scratch_bytes": PyCapsule_New(<void*> scratch_bytes, NULL, NULL),
        "statistics_size": PyCapsule_New(<void*> statistics_size, NULL, NULL),
        "embed_mixture": PyCapsule_New(<void*> embed_mixture, NULL, NULL),
        "evaluate_block": PyCapsule_New(<void*> evaluate_block, NULL, NULL),
        "accumulate_block": PyCapsule_New(<void*> accumulate_block, NULL, NULL),
    }
