"""The E-step over rows of X on one thread, tile by tile. It makes statistics or scores."""
from libc.math cimport INFINITY
from libc.string cimport memset

from layout cimport EXTENT, Mixture, OK, Tile, real, vec, vec_if_less, vec_set, WIDTH
from covariance cimport EStep
from panel cimport store_panel, sum_doubles, sum_rows
from tile cimport MANY, load_tile, negligible, normalize, sample_log_likelihood, sum_panel, tile_in, tile_samples
from vmath cimport log_positive

# Statistics are one array of doubles: log-likelihood, total weight, counts (K,), first moments about the shift
# (K, D), and second moments about the shift (moments_size,). The statistics of two parts of the data add up to
# those of both.


cdef struct Pass:
    EStep covariance
    Mixture mixture
    const real* X
    const double* weight            # or NULL
    const real* responsibilities    # (n, K), or NULL
    const long long* labels         # (n,), or NULL
    bint e_step                     # the responsibilities are those under the mixture; a label >= 0 is certain
    const real* shift_hi
    const real* shift_lo
    bint at_means                   # the shift is the means of the mixture
    Py_ssize_t n_samples
    Py_ssize_t chunk_rows
    Py_ssize_t size                 # number of statistics; if it is 2, only log-likelihood and weight are computed


cdef inline Py_ssize_t accumulate_rows(
    const Pass* job, Py_ssize_t start, Py_ssize_t stop, double* statistics, real* scratch,
) noexcept nogil:
    """Add the statistics of rows start to stop; return OK, EXTENT, or 1 + the first row that has density 0"""
    cdef Py_ssize_t K = job.mixture.n_components, D = job.mixture.n_features
    cdef Py_ssize_t tile_rows = tile_samples(K, D), row = start, n, bad
    cdef Tile tile = tile_in(scratch, K, D)
    cdef const double* weight
    cdef int failed
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
            if job.labels != NULL:
                exclude_others(&tile, job.labels + row, K)
            bad = normalize(&tile, job.mixture.log_noise, K)
            if bad != OK:
                return bad if bad < 0 else row + bad
            statistics[0] += tile_log_likelihood(&tile, job.mixture.common_constant)
        statistics[1] += sum_rows(tile.weight, WIDTH, tile.n_panels)
        # Responsibilities that are given may leave a part of each sample to the noise.
        if job.responsibilities != NULL or job.mixture.log_noise > -INFINITY:
            tile.weighted = True
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
    """Return the sum of weight (common_constant + peak + log total), in double; this overwrites the totals"""
    cdef Py_ssize_t i, n = t.n_panels * WIDTH
    for i in range(n):
        t.total[i] = <double> t.weight[i] * (
            common_constant + (<double> t.peak[i] + log_positive(t.total[i]))
        )
    return sum_doubles(t.total, n)


cdef inline void load_responsibilities(Tile* t, const real* rows, Py_ssize_t K) noexcept nogil:
    """Set t.r to weight times the given responsibilities"""
    cdef Py_ssize_t n, k
    for n in range(t.n_panels * WIDTH):
        for k in range(K):
            t.r[((n // WIDTH) * K + k) * WIDTH + n % WIDTH] = (
                t.weight[n] * rows[n * K + k] if n < t.n_samples else <real> 0
            )


cdef inline void load_labels(Tile* t, const long long* labels, Py_ssize_t row, Py_ssize_t K) noexcept nogil:
    """Set t.r to the weight for the component of the sample's label, and to 0 for the others.

    If labels is NULL, every sample belongs to component 0.
    """
    cdef Py_ssize_t n, k
    memset(t.r, 0, t.n_panels * K * WIDTH * sizeof(real))
    for n in range(t.n_samples):
        k = 0 if labels == NULL else <Py_ssize_t> labels[row + n]
        if k >= 0:      # a row of weight 0 may have the label -1
            t.r[((n // WIDTH) * K + k) * WIDTH + n % WIDTH] = t.weight[n]


cdef inline void exclude_others(Tile* t, const long long* labels, Py_ssize_t K) noexcept nogil:
    """Set the log-probabilities of the components that the label of a sample excludes to -inf; -1 excludes none"""
    cdef Py_ssize_t n, k
    for n in range(t.n_samples):
        if labels[n] >= 0:
            for k in range(K):
                if k != labels[n]:
                    t.r[((n // WIDTH) * K + k) * WIDTH + n % WIDTH] = -INFINITY


# Where evaluate_rows writes to. Each pointer may be NULL.
cdef struct Outputs:
    real* log_prob
    real* log_likelihood
    real* responsibilities
    long long* labels


cdef inline Py_ssize_t evaluate_rows(
    const real* X, const EStep* c, const Mixture* m, const Outputs* out,
    Py_ssize_t start, Py_ssize_t stop, real* scratch,
) noexcept nogil:
    """Write the outputs for rows start to stop; return the number of rows that have density 0, or EXTENT.

    Call it with labels, or with log_likelihood or responsibilities, but not with both, or such a row counts twice. With
    log_prob alone the result is 0.
    """
    cdef Py_ssize_t K = m.n_components, D = m.n_features
    cdef Py_ssize_t tile_rows = tile_samples(K, D), row = start, n, p, i, bad = 0
    cdef real cut = negligible(K)
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
            bad += store_labels(&tile, m.log_noise, out.labels + row, K)
        if out.log_likelihood != NULL or out.responsibilities != NULL:
            if K >= MANY and out.responsibilities == NULL:
                for p in range(tile.n_panels):
                    sum_panel(&tile, p, tile.r + p * K * WIDTH, K, m.log_noise, cut)
            elif normalize(&tile, m.log_noise, K) < 0:
                return EXTENT
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
    """rows = common_constant + t.r, with -inf for a NaN, which comes from an overflow within a distance"""
    cdef Py_ssize_t n, k
    cdef double value
    for n in range(t.n_samples):
        for k in range(K):
            value = common_constant + <double> t.r[(n // WIDTH * K + k) * WIDTH + n % WIDTH]
            rows[n * K + k] = <real> (value if value == value else -INFINITY)


cdef inline Py_ssize_t store_labels(Tile* t, real log_noise, long long* labels, Py_ssize_t K) noexcept nogil:
    """Write the component of the largest log-probability, or -1 for the noise; return the number of samples that have
    density 0"""
    cdef Py_ssize_t p, i, k, v, n, bad = 0
    cdef vec peak[2]
    cdef vec label[2]           # stored as reals, so that one comparison selects both peak and label
    cdef vec value
    for p in range(t.n_panels):
        peak[0] = peak[1] = vec_set(log_noise)
        label[0] = label[1] = vec_set(-1 if log_noise > -INFINITY else 0)
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
