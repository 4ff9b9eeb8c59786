"""The E-step over the rows of X: the fused pass of EM, and scoring. See tile.pxd and covariance.pxd.

The source is compiled once for each element type and instruction set (`real`, see vec.h).
Nothing is checked here: gmm_core.kernels calls with arrays that are what they claim to be.
"""
from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.string cimport memset

from layout cimport CHECKS, EXTENT, OK, Mixture, Tile, real, vec, vec_if_less, vec_set, LANES, WIDTH
from covariance cimport Covariance, covariance_of
from panel cimport split, store_panel, sum_doubles, sum_rows
from tile cimport load_tile, normalize, sample_log_likelihood, tile_in, tile_samples, tile_size
from chunks cimport run_chunks
from vmath cimport exp_nonpositive, log_positive

# Statistics are one array of doubles: log-likelihood, total weight, counts (K), first moments (K, D)
# about the shift, second moments (moments_size). They add up.


cdef struct Pass:
    Covariance covariance
    Mixture mixture
    const real* X
    const double* weight            # or NULL
    const real* responsibilities    # (n, K), or NULL
    const long long* labels         # (n,), or NULL
    bint e_step                     # the mixture makes the responsibilities
    const real* shift_hi
    const real* shift_lo
    bint at_means
    Py_ssize_t n_samples
    Py_ssize_t chunk_rows
    Py_ssize_t size                 # of the statistics


def sizes(int covariance_type, Py_ssize_t K, Py_ssize_t D):
    """(statistics in doubles, prepared mixture in reals, scratch of one thread in reals, samples in a tile)"""
    cdef Covariance c = covariance_of(covariance_type)
    return (
        2 + K + K * D + c.moments_size(K, D),
        2 + K + 2 * K * D + c.factor_size(K, D),
        tile_size(K, D),
        tile_samples(K, D),
    )


def prepare(
    const double[::1] log_constant,         # IN  (K + 1,) see log_normalization in _maximization.pyx
    const double[:, ::1] means,             # IN  (K, D)
    const double[::1] precisions_cholesky,  # IN  any of the four shapes, raveled
    real[::1] mixture,                      # OUT
    int covariance_type,
):
    """Lay parameters out as the E-step reads them (Mixture in layout.pxd)"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1], i
    cdef Covariance c = covariance_of(covariance_type)
    if CHECKS and 2 + K + 2 * K * D + c.factor_size(K, D) > mixture.shape[0]:
        return EXTENT
    split(&log_constant[K], &mixture[0], 1)
    for i in range(K):
        mixture[2 + i] = <real> log_constant[i]
    split(&means[0, 0], &mixture[2 + K], K * D)
    c.pack(&precisions_cholesky[0], &means[0, 0], &mixture[2 + K + 2 * K * D], K, D)
    return OK


cdef inline Mixture mixture_in(const real* mixture, Py_ssize_t size, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    cdef Mixture m
    m.n_components = K
    m.n_features = D
    if size == 0:
        m.log_constant = m.mean_hi = m.mean_lo = m.factor = NULL
        m.common_constant = m.factor_size = 0
        return m
    m.log_constant = mixture + 2
    m.common_constant = <double> mixture[0] + <double> mixture[1]
    m.mean_hi = m.log_constant + K
    m.mean_lo = m.mean_hi + K * D
    m.factor = m.mean_lo + K * D
    m.factor_size = size - 2 - K - 2 * K * D
    return m


def accumulate(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty
    const real[:, ::1] responsibilities,  # IN  (n, K), or empty
    const long long[::1] labels,        # IN    (n,), or empty; if both are empty, `mixture` gives responsibilities
    const real[::1] mixture,            # IN    from prepare; if empty as well, all rows belong to component 0
    const double[:, ::1] shift,         # IN    (K, D) origin of the moments, or empty: the means of the mixture
    double[::1] statistics,             # INOUT added to; with two entries only log-likelihood and weight are made
    double[:, ::1] partial,             # TMP   (n_threads, statistics)
    real[:, ::1] scratch,               # TMP   (n_threads, tile_size + 2 K D)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    int covariance_type,
    Py_ssize_t K,
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """One pass: statistics of the responsibilities, and the log-likelihood if the mixture gives them"""
    cdef Pass job
    cdef Py_ssize_t D = X.shape[1], size = statistics.shape[0], tile_reals = tile_size(K, D)
    cdef Py_ssize_t n_chunks, answer
    job.covariance = covariance_of(covariance_type)
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
    job.e_step = mixture.shape[0] > 0 and job.responsibilities == NULL and job.labels == NULL
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


cdef Py_ssize_t run_chunk(const void* argument, Py_ssize_t chunk, double* statistics, real* scratch) noexcept nogil:
    """Statistics of one chunk; 1 + the row of the first sample without density, OK, or a failure"""
    cdef const Pass* job = <const Pass*> argument
    cdef Py_ssize_t K = job.mixture.n_components, D = job.mixture.n_features
    cdef Py_ssize_t tile_rows = tile_samples(K, D), row = chunk * job.chunk_rows, stop, n, bad
    cdef Tile tile = tile_in(scratch, K, D)
    cdef const double* weight
    cdef int failed
    stop = min(row + job.chunk_rows, job.n_samples)
    memset(statistics, 0, job.size * sizeof(double))
    while row < stop:
        n = min(tile_rows, stop - row)
        weight = job.weight
        if weight != NULL:
            weight += row
        failed = load_tile(&tile, job.X + row * D, weight, n, K, D)
        if failed:
            return failed
        if job.responsibilities != NULL:
            load_responsibilities(&tile, job.responsibilities + row * K, K)
        elif not job.e_step:
            load_labels(&tile, job.labels, row, K)
        else:
            failed = job.covariance.log_prob(&tile, &job.mixture)
            if failed:
                return failed
            bad = normalize(&tile, K)
            if bad != OK:
                return bad if bad < 0 else row + bad
            statistics[0] += tile_log_likelihood(&tile, job.mixture.common_constant)
        statistics[1] += sum_rows(tile.weight, WIDTH, tile.n_panels)
        row += n
        if job.size == 2:
            continue
        failed = job.covariance.accumulate(
            &tile, job.shift_hi, job.shift_lo, job.at_means,
            statistics + 2, statistics + 2 + K, statistics + 2 + K + K * D, K, D,
        )
        if failed:
            return failed
    return OK


cdef inline double tile_log_likelihood(Tile* t, double common_constant) noexcept nogil:
    """sum of weight (common_constant + peak + log total), in double; overwrites the totals"""
    cdef Py_ssize_t i, n = t.n_panels * WIDTH
    for i in range(n):
        t.total[i] = <double> t.weight[i] * (
            common_constant + (<double> t.peak[i] + log_positive(t.total[i]))
        )
    return sum_doubles(t.total, n)


cdef inline void load_responsibilities(Tile* t, const real* rows, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t n, k
    for n in range(t.n_panels * WIDTH):
        for k in range(K):
            t.r[((n // WIDTH) * K + k) * WIDTH + n % WIDTH] = (
                t.weight[n] * rows[n * K + k] if n < t.n_samples else <real> 0
            )


cdef inline void load_labels(Tile* t, const long long* labels, Py_ssize_t row, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t n, k
    memset(t.r, 0, t.n_panels * K * WIDTH * sizeof(real))
    for n in range(t.n_samples):
        k = 0 if labels == NULL else <Py_ssize_t> labels[row + n]
        if k >= 0:      # a row without weight may have no label
            t.r[((n // WIDTH) * K + k) * WIDTH + n % WIDTH] = t.weight[n]


def evaluate(
    const real[:, ::1] X,               # IN  (n, D)
    const real[::1] mixture,            # IN  from prepare
    real[:, ::1] log_prob,              # OUT (n, K) log weight + log-density, or empty, as all outputs
    real[::1] log_likelihood,           # OUT (n,)
    real[:, ::1] responsibilities,      # OUT (n, K)
    long long[::1] labels,              # OUT (n,) component of the largest log-probability, the first of equals
    real[:, ::1] scratch,               # TMP (n_threads, tile_size)
    Py_ssize_t[::1] status,             # TMP (n_threads,)
    int covariance_type,
    Py_ssize_t K,
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """Fill the outputs that are not empty; answers how many rows have no density under any component"""
    cdef Py_ssize_t n = X.shape[0], D = X.shape[1], n_chunks = (n + chunk_rows - 1) // chunk_rows, bad = 0
    cdef int t, n_workers = <int> min(<Py_ssize_t> n_threads, n_chunks)
    cdef Covariance c = covariance_of(covariance_type)
    cdef Mixture m
    cdef Outputs out
    if CHECKS and (
        2 + K + 2 * K * D + c.factor_size(K, D) > mixture.shape[0]
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
            status[0] = evaluate_rows(&X[0, 0], &c, &m, &out, 0, n, &scratch[0, 0])
    else:
        for t in prange(n_workers, nogil=True, num_threads=n_workers, schedule="static", chunksize=1):
            status[t] = evaluate_rows(
                &X[0, 0], &c, &m, &out,
                chunk_rows * (n_chunks * t // n_workers), min(chunk_rows * (n_chunks * (t + 1) // n_workers), n),
                &scratch[t, 0],
            )
    for t in range(n_workers):
        if status[t] < 0:
            return status[t]
        bad += status[t]
    return bad


cdef struct Outputs:
    real* log_prob
    real* log_likelihood
    real* responsibilities
    long long* labels


cdef Py_ssize_t evaluate_rows(
    const real* X, const Covariance* c, const Mixture* m, const Outputs* out,
    Py_ssize_t start, Py_ssize_t stop, real* scratch,
) noexcept nogil:
    """Outputs for rows start to stop; the number of rows without density, or a failure"""
    cdef Py_ssize_t K = m.n_components, D = m.n_features
    cdef Py_ssize_t tile_rows = tile_samples(K, D), row = start, n, p, i, found, bad = 0
    cdef Tile tile = tile_in(scratch, K, D)
    cdef int failed
    while row < stop:
        n = min(tile_rows, stop - row)
        failed = load_tile(&tile, X + row * D, NULL, n, K, D)
        if failed:
            return failed
        failed = c.log_prob(&tile, m)
        if failed:
            return failed
        if out.log_prob != NULL:
            store_log_prob(&tile, out.log_prob + row * K, m.common_constant, K)
        if out.labels != NULL:
            bad += store_labels(&tile, out.labels + row, K)
        if out.log_likelihood != NULL or out.responsibilities != NULL:
            found = normalize(&tile, K)
            if found < 0:
                return found
            if found != OK:
                for i in range(n):
                    bad += not tile.peak[i] > -INFINITY
            if out.log_likelihood != NULL:
                for i in range(n):
                    out.log_likelihood[row + i] = <real> (m.common_constant + sample_log_likelihood(&tile, i))
            if out.responsibilities != NULL:
                for p in range(tile.n_panels):
                    store_panel(
                        tile.r + p * K * WIDTH, out.responsibilities + (row + p * WIDTH) * K,
                        min(n - p * WIDTH, <Py_ssize_t> WIDTH), K,
                    )
        row += n
    return bad


cdef inline void store_log_prob(const Tile* t, real* rows, double common_constant, Py_ssize_t K) noexcept nogil:
    """common_constant + t.r to rows of K, -inf for a NaN, an overflow within a distance"""
    cdef Py_ssize_t n, k
    cdef double value
    for n in range(t.n_samples):
        for k in range(K):
            value = common_constant + <double> t.r[(n // WIDTH * K + k) * WIDTH + n % WIDTH]
            rows[n * K + k] = <real> (value if value == value else -INFINITY)


cdef inline Py_ssize_t store_labels(Tile* t, long long* labels, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t p, i, k, v, n, bad = 0
    cdef vec peak[2]
    cdef vec label[2]           # as reals, so that one comparison serves both
    cdef vec value
    for p in range(t.n_panels):
        peak[0] = peak[1] = vec_set(-INFINITY)
        label[0] = label[1] = vec_set(0)
        for k in range(K):
            for v in range(2):
                value = (<const vec*> (t.r + (p * K + k) * WIDTH))[v]
                label[v] = vec_if_less(peak[v], value, vec_set(<real> k), label[v])
                peak[v] = vec_if_less(peak[v], value, value, peak[v])
        n = min(t.n_samples - p * WIDTH, <Py_ssize_t> WIDTH)
        for i in range(n):
            labels[p * WIDTH + i] = <long long> (<const real*> label)[i]
            bad += not (<const real*> peak)[i] > -INFINITY
    return bad


def exp_log(const real[::1] x, real[::1] exp_x, const double[::1] y, double[::1] log_y):
    """The functions on arrays, for their tests: exp(-|x|), log|y|"""
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
