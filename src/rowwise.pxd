"""The E-step over rows that have covariances of their own, panel by panel. It makes statistics or scores."""
from libc.math cimport INFINITY
from libc.string cimport memset

from layout cimport OK, Tile, real, vec, vec_any_less, vec_set, vec_sum, LANES, WIDTH
from lanes cimport padded
from missing cimport add_missing, missing_log_prob, missing_part, missing_part_rows
from noisy cimport (
    accumulate_noisy, finish_noisy, noisy_log_prob, noisy_part, noisy_part_rows, noisy_weights,
)
from panel cimport sum_rows
from rowpanel cimport (
    MISSING, NOISE, SEPARATE, RowMixture, RowPanel, load_row_panel, panel_reals, row_panel_in, take,
)
from rows cimport store_labels
from separate cimport add_separate, separate_log_prob
from tile cimport normalize, sample_log_likelihood, tile_of, size_of_tile
from vmath cimport log_vector
from whiten cimport triangle

cdef extern from "vec.h" nogil:
    void vec_prefetch(const void* a)

# Rows are sorted by the number of values that they lack, chunk by chunk, so that the lanes of a panel do the same work.
# The statistics have the layout of those of covariances without constraints (see rows.pxd). MISSING has its moments in
# the units of the mixture and NOISE in units of R (see noisy.pxd) until `finish`, after all rows.

cdef struct RowwisePass:
    RowMixture mixture
    const real* X
    const double* weight        # or NULL
    const real* noise           # or NULL
    Py_ssize_t noise_stride     # from row to row; 0 if all rows share the noise
    bint variances              # whether the noise has no covariances
    Py_ssize_t n_samples
    Py_ssize_t chunk_rows
    Py_ssize_t size             # number of statistics; if it is 2, only log-likelihood and weight are computed


# Where scores are written to. Each pointer may be NULL.
cdef struct RowOutputs:
    real* log_likelihood
    real* responsibilities
    long long* labels
    real* mean                  # (n, D) of the row with all its values and without noise
    real* covariance            # (n, D, D) of the same, for NOISE and SEPARATE


cdef struct Buffers:
    RowPanel panel
    Tile tile
    real* parts                 # (K, part_rows, WIDTH)
    Py_ssize_t part_size
    real* W                     # (padded(D), WIDTH)
    real* y                     # (D + 4, WIDTH)
    real* g                     # (D + 4, WIDTH)
    real* sums                  # (K, sums_size)
    Py_ssize_t sums_size
    real* means                 # (K, D, WIDTH)
    real* matrix                # (3, D, D)
    Py_ssize_t* bins            # (D + 2,)
    unsigned short* index       # (chunk_rows,)


cdef inline Py_ssize_t moments_of(Py_ssize_t D, int observation) noexcept nogil:
    """Return the number of second moments of a component"""
    return D if observation == SEPARATE else triangle(D)


cdef inline Py_ssize_t rowwise_statistics(Py_ssize_t K, Py_ssize_t D, int observation) noexcept nogil:
    """Return the number of statistics"""
    return 2 + K + K * D + K * moments_of(D, observation)


cdef inline Py_ssize_t part_rows(Py_ssize_t D, int observation) noexcept nogil:
    """Return the rows of WIDTH reals that the E-step keeps of a component"""
    return missing_part_rows(D) if observation == MISSING else noisy_part_rows(D) if observation == NOISE else 0


cdef inline Py_ssize_t sums_of(Py_ssize_t D, int observation) noexcept nogil:
    """Return the reals that the sums of a component take"""
    return LANES * (1 + D + (D if observation == SEPARATE else padded(D)))


cdef inline Py_ssize_t rowwise_scratch(
    Py_ssize_t chunk_rows, Py_ssize_t K, Py_ssize_t D, int observation,
) noexcept nogil:
    """Return the reals of scratch that one thread needs"""
    return (
        panel_reals(D) + size_of_tile(WIDTH, K, 0) + WIDTH * (K * part_rows(D, observation) + padded(D) + 2 * (D + 4))
        + K * sums_of(D, observation) + WIDTH * K * D + 3 * D * D + D + 2 + chunk_rows // 4 + 8
    )


cdef inline Buffers buffers_in(real* at, Py_ssize_t K, Py_ssize_t D, int observation) noexcept nogil:
    cdef Buffers b
    b.panel = row_panel_in(&at, D)
    b.tile = tile_of(at, WIDTH, K, 0)
    at += size_of_tile(WIDTH, K, 0)
    b.panel.weight = b.tile.weight
    b.part_size = part_rows(D, observation) * WIDTH
    b.parts = take(&at, K * part_rows(D, observation))
    b.W = take(&at, padded(D))
    b.y = take(&at, D + 4)
    b.g = take(&at, D + 4)
    b.sums_size = sums_of(D, observation)
    b.sums = at
    at += K * b.sums_size
    b.means = take(&at, K * D)
    b.matrix = at
    at += 3 * D * D
    b.bins = <Py_ssize_t*> at
    b.index = <unsigned short*> (b.bins + D + 2)
    return b


cdef inline Py_ssize_t sort_rows(
    const real* X, const double* weight, unsigned short* index, Py_ssize_t* bins, Py_ssize_t n, Py_ssize_t D,
) noexcept nogil:
    """Write the rows of positive weight, sorted by the number of values that they lack; return how many these are.

    bins[0] becomes the number of rows that lack none.
    """
    cdef Py_ssize_t i, d, lacking, at = 0
    if n_lacking(X, n * D) == 0:
        for i in range(n):
            index[at] = <unsigned short> i
            at += weight == NULL or weight[i] > 0
        bins[0] = at
        return at
    memset(bins, 0, (D + 2) * sizeof(Py_ssize_t))
    for i in range(n):
        if weight == NULL or weight[i] > 0:
            bins[1 + n_lacking(X + i * D, D)] += 1
    for d in range(1, D + 2):
        bins[d] += bins[d - 1]
    at = bins[D + 1]
    for i in range(n):
        if weight == NULL or weight[i] > 0:
            lacking = n_lacking(X + i * D, D)
            index[bins[lacking]] = <unsigned short> i
            bins[lacking] += 1
    return at


cdef inline Py_ssize_t rows_of_panel(Py_ssize_t at, Py_ssize_t n_rows, Py_ssize_t n_complete) noexcept nogil:
    """Return the number of rows of the panel that begins at row `at` of the index.

    Rows without missing values have panels of their own, as the functions for few features are for such panels. So the
    bits of a row's scores do not depend on other rows.
    """
    return min((n_complete if at < n_complete else n_rows) - at, <Py_ssize_t> WIDTH)


cdef inline Py_ssize_t n_lacking(const real* row, Py_ssize_t D) noexcept nogil:
    cdef Py_ssize_t d, n = 0
    for d in range(D):
        n += row[d] != row[d]
    return n


cdef inline void panel_log_prob(
    const RowwisePass* job, Buffers* b, const unsigned short* index, const real* X, const double* weight,
    const real* noise, Py_ssize_t n, Py_ssize_t n_left, bint posterior,
) noexcept nogil:
    """Load rows, and write their log-probabilities to the tile; n_left rows follow them in the index"""
    cdef const RowMixture* m = &job.mixture
    cdef Py_ssize_t K = m.K, D = m.D, k, i, d, lacking
    load_row_panel(
        &b.panel, X, weight, noise, job.noise_stride, job.variances, index, n, D, m.observation,
    )
    if noise != NULL:
        # The noise of the next panel arrives while the components work on this one. Of long rows the processor
        # itself asks for the rest.
        for i in range(min(n_left, <Py_ssize_t> WIDTH)):
            for d in range(0, min(job.noise_stride, <Py_ssize_t> 128), 8):
                vec_prefetch(noise + <Py_ssize_t> index[n + i] * job.noise_stride + d)
    b.tile.n_panels = 1
    b.tile.n_samples = n
    for k in range(K):
        if m.observation == MISSING:
            missing_log_prob(
                m, &b.panel, k, missing_part(b.parts + k * b.part_size, D), b.y, b.g, b.tile.r + k * WIDTH,
            )
        elif m.observation == NOISE:
            noisy_log_prob(
                m, &b.panel, k, noisy_part(b.parts + k * b.part_size, D), b.tile.r + k * WIDTH, posterior, D,
            )
        elif noise != NULL:
            separate_log_prob(m, &b.panel, True, k, b.tile.r + k * WIDTH)
        else:
            separate_log_prob(m, &b.panel, False, k, b.tile.r + k * WIDTH)
    if b.panel.empty:
        for i in range(WIDTH):
            lacking = 0
            for d in range(D):
                lacking += b.panel.known[d * WIDTH + i] == 0
            for k in range(K):
                if lacking == D:
                    b.tile.r[k * WIDTH + i] = m.log_weight[k]


cdef inline void settle_empty(Buffers* b, const RowMixture* m) noexcept nogil:
    """After `normalize`, give the samples without a value their log-likelihood, without rounding"""
    cdef Py_ssize_t i, d, lacking
    for i in range(WIDTH):
        lacking = 0
        for d in range(m.D):
            lacking += b.panel.known[d * WIDTH + i] == 0
        if lacking == m.D:
            b.tile.peak[i] = m.log_total - m.common_constant
            b.tile.total[i] = 1


cdef inline Py_ssize_t accumulate_rowwise(
    const RowwisePass* job, Py_ssize_t start, Py_ssize_t stop, double* statistics, real* scratch,
) noexcept nogil:
    """Set the statistics to those of a chunk; return OK, EXTENT, or 1 + a row that has density 0"""
    cdef const RowMixture* m = &job.mixture
    cdef Py_ssize_t K = m.K, D = m.D, k, i, n, at = 0, bad, size = moments_of(D, m.observation), n_rows, d
    cdef Buffers b = buffers_in(scratch, K, D, m.observation)
    cdef const double* weight = <const double*> NULL if job.weight == NULL else job.weight + start
    cdef const real* X = job.X + start * D
    cdef const real* noise = <const real*> NULL if job.noise == NULL else job.noise + start * job.noise_stride
    cdef real* sums
    cdef double* first = statistics + 2 + K
    cdef double* second = first + K * D
    cdef real* r
    memset(statistics, 0, job.size * sizeof(double))
    memset(b.sums, 0, K * b.sums_size * sizeof(real))
    n_rows = sort_rows(X, weight, b.index, b.bins, stop - start, D)
    b.tile.weighted = True
    while at < n_rows:
        n = rows_of_panel(at, n_rows, b.bins[0])
        panel_log_prob(job, &b, b.index + at, X, weight, noise, n, n_rows - at - n, False)
        bad = normalize(&b.tile, -INFINITY, K)
        if bad != OK:
            return bad if bad < 0 else start + b.index[at + bad - 1] + 1
        if b.panel.empty:
            settle_empty(&b, m)
        statistics[0] += panel_log_likelihood(&b.tile, m.common_constant)
        statistics[1] += sum_rows(b.tile.weight, WIDTH, 1)
        at += n
        if job.size == 2:
            continue
        for k in range(K):
            sums = b.sums + k * b.sums_size
            r = b.tile.r + k * WIDTH
            if not any_positive(r):
                continue
            if m.observation == MISSING:
                add_missing(
                    m, &b.panel, missing_part(b.parts + k * b.part_size, D), r, sums, sums + LANES,
                    sums + (1 + D) * LANES, b.W,
                )
            elif m.observation == NOISE:
                accumulate_noisy(
                    m, &b.panel, k, noisy_part(b.parts + k * b.part_size, D), r, sums, sums + LANES,
                    sums + (1 + D) * LANES, b.W, b.y, D,
                )
            elif noise != NULL:
                add_separate(m, &b.panel, True, k, r, sums, sums + LANES, sums + (1 + D) * LANES)
            else:
                add_separate(m, &b.panel, False, k, r, sums, sums + LANES, sums + (1 + D) * LANES)
    if job.size == 2:
        return OK
    for k in range(K):
        sums = b.sums + k * b.sums_size
        statistics[2 + k] = sum_doubles_of_lanes(sums)
        for d in range(D):
            first[k * D + d] = sum_doubles_of_lanes(sums + (1 + d) * LANES)
        sums += (1 + D) * LANES
        if m.observation == SEPARATE:
            for d in range(D):
                second[k * size + d] = sum_doubles_of_lanes(sums + d * LANES)
            continue
        for d in range(D):
            for i in range(d + 1):
                second[k * size + triangle(d) + i] = sum_doubles_of_lanes(sums + (padded(d) + i) * LANES)
    return OK


cdef inline double panel_log_likelihood(const Tile* t, double common_constant) noexcept nogil:
    """Return the sum of weight (common_constant + peak + log total)"""
    cdef vec total = vec_set(0)
    cdef Py_ssize_t v
    for v in range(2):
        total = total + (<const vec*> t.weight)[v] * (
            common_constant + ((<const vec*> t.peak)[v] + log_vector((<const vec*> t.total)[v]))
        )
    return vec_sum(total)


cdef inline bint any_positive(const real* r) noexcept nogil:
    """Tell whether one of WIDTH numbers is positive"""
    return vec_any_less(vec_set(0), (<const vec*> r)[0]) or vec_any_less(vec_set(0), (<const vec*> r)[1])


cdef inline double sum_doubles_of_lanes(const real* a) noexcept nogil:
    """Return the sum of LANES numbers"""
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(LANES):
        total += a[i]
    return total


cdef inline void finish(double* statistics, const RowMixture* m, double* scratch) noexcept nogil:
    """Bring the moments of a whole pass to the units of the data; scratch has D D entries"""
    cdef Py_ssize_t K = m.K, D = m.D, size = moments_of(D, m.observation), k, i, j
    cdef double* first
    cdef double* second
    cdef const real* unit
    for k in range(K):
        first = statistics + 2 + K + k * D
        second = statistics + 2 + K + K * D + k * size
        unit = m.unit + k * D
        if m.observation == NOISE:
            finish_noisy(m.factor + k * m.factor_size, unit, statistics[2 + k], first, second, scratch, D)
            continue
        for i in range(D):
            first[i] /= unit[i]
            if m.observation == SEPARATE:
                second[i] = second[i] / unit[i] / unit[i]
                continue
            for j in range(i + 1):
                second[triangle(i) + j] = second[triangle(i) + j] / unit[i] / unit[j]


cdef inline Py_ssize_t evaluate_rowwise(
    const RowwisePass* job, const RowOutputs* out, Py_ssize_t start, Py_ssize_t stop, real* scratch,
) noexcept nogil:
    """Write the outputs for a chunk; return the number of rows that have density 0, or EXTENT.

    Call it with labels, or with other outputs, but not with both, or such a row counts twice.
    """
    cdef const RowMixture* m = &job.mixture
    cdef Py_ssize_t K = m.K, D = m.D, k, i, n, at = 0, bad = 0, found, row, n_rows
    cdef Buffers b = buffers_in(scratch, K, D, m.observation)
    cdef const real* X = job.X + start * D
    cdef const real* noise = <const real*> NULL if job.noise == NULL else job.noise + start * job.noise_stride
    cdef long long labels[WIDTH]
    n_rows = sort_rows(X, NULL, b.index, b.bins, stop - start, D)
    b.tile.weighted = False
    while at < n_rows:
        n = rows_of_panel(at, n_rows, b.bins[0])
        panel_log_prob(job, &b, b.index + at, X, NULL, noise, n, n_rows - at - n, out.mean != NULL)
        if out.labels != NULL:
            bad += store_labels(&b.tile, -INFINITY, labels, K)
            for i in range(n):
                out.labels[start + b.index[at + i]] = labels[i]
        if out.log_likelihood != NULL or out.responsibilities != NULL or out.mean != NULL:
            found = normalize(&b.tile, -INFINITY, K)
            if found < 0:
                return found
            if b.panel.empty:
                settle_empty(&b, m)
            for i in range(n):
                row = start + b.index[at + i]
                bad += found != OK and not b.tile.peak[i] > -INFINITY
                if out.log_likelihood != NULL:
                    out.log_likelihood[row] = <real> (m.common_constant + sample_log_likelihood(&b.tile, i))
                if out.responsibilities != NULL:
                    for k in range(K):
                        out.responsibilities[row * K + k] = b.tile.r[k * WIDTH + i]
            if out.mean != NULL:
                store_posterior(m, &b, noise != NULL, out, start, b.index + at, n)
        at += n
    return bad


cdef inline void store_posterior(
    const RowMixture* m, Buffers* b, bint noisy, const RowOutputs* out, Py_ssize_t start, const unsigned short* index,
    Py_ssize_t n,
) noexcept nogil:
    """Write the mean, and the covariance if it is wanted, of the rows of a panel with all values and without noise.

    The mean is sum r_k b_k, and the covariance sum r_k (B_k + (b_k - mean) (b_k - mean)T).
    """
    cdef Py_ssize_t K = m.K, D = m.D, k, i, d, e, row
    cdef const real* R = NULL
    cdef const real* x = b.panel.x
    cdef const real* known = b.panel.known
    cdef const real* unit
    cdef real* means
    cdef real* mean
    cdef real* covariance
    cdef real f, z, total
    cdef double* second = b.matrix
    for i in range(n):
        mean = out.mean + (start + index[i]) * D
        for d in range(D):
            mean[d] = x[d * WIDTH + i] if known[d * WIDTH + i] > 0 and not noisy else 0
        if out.covariance != NULL:
            memset(out.covariance + (start + index[i]) * D * D, 0, D * D * sizeof(real))
    for k in range(K):
        if not any_positive(b.tile.r + k * WIDTH):
            continue
        unit = m.unit + k * D
        means = b.means + k * D * WIDTH
        if m.observation == NOISE:
            R = m.factor + k * m.factor_size
            noisy_weights(m, &b.panel, k, noisy_part(b.parts + k * b.part_size, D), b.W, b.y, D)
        for d in range(D):
            for i in range(n):
                if m.observation == MISSING:
                    z = missing_part(b.parts + k * b.part_size, D).z[d * WIDTH + i]
                elif m.observation == NOISE:
                    z = 0
                    for e in range(d + 1):
                        z += R[padded(d) + e] * b.y[e * WIDTH + i]
                else:
                    z = (x[d * WIDTH + i] - m.mean[k * D + d]) * unit[d] * known[d * WIDTH + i]
                    if noisy:
                        z /= 1 + min(b.panel.noise[d * WIDTH + i] * unit[d] * unit[d], <real> 4e307)
                means[d * WIDTH + i] = m.mean[k * D + d] + z / unit[d]
                if not known[d * WIDTH + i] > 0 or noisy:
                    out.mean[(start + index[i]) * D + d] += b.tile.r[k * WIDTH + i] * means[d * WIDTH + i]
        if out.covariance == NULL:
            continue
        for i in range(n):
            covariance = out.covariance + (start + index[i]) * D * D
            if m.observation == NOISE:
                for d in range(D):
                    for e in range(d + 1):
                        total = 0
                        for row in range(d, D):
                            total -= b.W[(padded(row) + d) * WIDTH + i] * b.W[(padded(row) + e) * WIDTH + i]
                        second[triangle(d) + e] = total
                    second[D * D + d] = 0
                finish_noisy(R, unit, 1, second + D * D, second, second + 2 * D * D, D)
            for d in range(D):
                if m.observation == NOISE:
                    for e in range(d + 1):
                        covariance[d * D + e] += b.tile.r[k * WIDTH + i] * second[triangle(d) + e]
                else:
                    f = min(b.panel.noise[d * WIDTH + i] * unit[d] * unit[d], <real> 4e307) if noisy else 0
                    f = f / (1 + f) if known[d * WIDTH + i] > 0 else 1
                    covariance[d * D + d] += b.tile.r[k * WIDTH + i] * f / unit[d] / unit[d]
    if out.covariance == NULL:
        return
    for i in range(n):
        mean = out.mean + (start + index[i]) * D
        covariance = out.covariance + (start + index[i]) * D * D
        for k in range(K):
            if not b.tile.r[k * WIDTH + i] > 0:
                continue
            for d in range(D):
                for e in range(d + 1):
                    covariance[d * D + e] += b.tile.r[k * WIDTH + i] * (
                        (b.means[(k * D + d) * WIDTH + i] - mean[d]) * (b.means[(k * D + e) * WIDTH + i] - mean[e])
                    )
        for d in range(D):
            for e in range(d):
                covariance[e * D + d] = covariance[d * D + e]
