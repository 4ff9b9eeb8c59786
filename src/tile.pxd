"""A tile of samples: its buffers, operations that several covariance types need, and the log-sum-exp."""
from libc.math cimport INFINITY
from layout cimport (
    CHECKS, EXTENT, LARGE, OK, Active, Tile, real, vec, vec_any_less, vec_if_less, vec_set, vec_sum, LANES, WIDTH,
)
from panel cimport difference, load_some_rows, sum_rows, sum_some_rows
from stretch cimport unit
from vmath cimport exp_nonpositive, log_positive


cdef inline Py_ssize_t tile_samples(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of samples in a tile, which depends on K, D and the element type alone"""
    # The buffers that are read most are to stay in the second-level cache. With many features this is impossible, and
    # a larger tile, up to 8 MB in all, reads the factors and the statistics less often.
    cdef Py_ssize_t n = 256
    if D > LARGE:
        while n > 64 and n * (4 * D + 3 * K) * 8 > 1 << 23:
            n //= 2
        return n * (8 // <Py_ssize_t> sizeof(real))
    while n > 64 and n * (3 * D + 2 * K) * 8 > 900000:
        n //= 2
    return n * (8 // <Py_ssize_t> sizeof(real))


cdef inline Py_ssize_t tile_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of reals of scratch that a tile needs"""
    return size_of_tile(tile_samples(K, D), K, D)


cdef inline Py_ssize_t size_of_tile(Py_ssize_t n, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of reals of scratch that a tile of n samples needs"""
    return n * (4 * D + 3 * K + 2 + <Py_ssize_t> (sizeof(double) // sizeof(real)))


cdef inline Tile tile_in(real* scratch, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return a tile whose buffers share scratch of tile_size reals"""
    return tile_of(scratch, tile_samples(K, D), K, D)


cdef inline Tile tile_of(real* scratch, Py_ssize_t n, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return a tile of n samples"""
    cdef Tile t
    t.feature_reals = n * D
    t.component_reals = n * K
    t.n_panels = t.n_samples = 0
    t.weighted = False          # all fields are set, because a returned structure is copied as a whole
    t.total = <double*> scratch
    t.x = scratch + n * <Py_ssize_t> (sizeof(double) // sizeof(real))
    t.z = t.x + n * D
    t.wz = t.z + n * D
    t.y = t.wz + n * D
    t.r = t.y + n * D
    t.plain = t.r + n * K
    t.distance = t.plain + n * K
    t.weight = t.distance + n * K
    t.peak = t.weight + n
    return t


cdef inline bint beyond_buffers(const Tile* t, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Tell whether the panels of the tile do not fit its buffers; only a build with the option `checks` looks"""
    return CHECKS and (
        t.n_panels * D * WIDTH > t.feature_reals
        or t.n_panels * K * WIDTH > t.component_reals
        or t.n_samples > t.n_panels * WIDTH
    )


cdef inline int load_tile(
    Tile* t,
    const real* X,              # IN (n, D)
    const double* weight,       # IN (n,), or NULL if all weights are 1
    Py_ssize_t n,               # number of rows, 1 to tile_samples
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Put rows into the panels of the tile; the tile stays empty if all weights are 0"""
    return load_some(t, X, NULL, weight, n, K, D)


cdef inline int load_some(
    Tile* t, const real* X, const unsigned short* index, const double* weight, Py_ssize_t n, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    """load_tile for the rows in the index, or for the first rows if it is NULL; the weights are those of these rows"""
    cdef Py_ssize_t p, i, present = 0
    cdef const double* panel_weight = NULL
    cdef const unsigned short* panel_index = NULL
    t.n_samples = n
    t.weighted = weight != NULL
    t.n_panels = (n + WIDTH - 1) // WIDTH
    if beyond_buffers(t, K, D):
        return EXTENT
    if weight != NULL:
        while present < n and not weight[present] > 0:
            present += 1
        if present == n:
            t.n_samples = t.n_panels = 0
    for p in range(t.n_panels):
        if weight != NULL:
            panel_weight = weight + p * WIDTH
        if index != NULL:
            panel_index = index + p * WIDTH
        load_some_rows(
            X if index != NULL else X + p * WIDTH * D, panel_index, panel_weight,
            X + (present if index == NULL else <Py_ssize_t> index[present]) * D,
            t.x + p * D * WIDTH, min(n - p * WIDTH, <Py_ssize_t> WIDTH), D,
        )
    for i in range(t.n_samples):
        t.weight[i] = 1
    if weight != NULL:
        for i in range(t.n_samples):
            t.weight[i] = <real> weight[i]
    for i in range(t.n_samples, t.n_panels * WIDTH):
        t.weight[i] = 0
    return OK


cdef inline void add_counts(const Tile* t, double* counts, Py_ssize_t K) noexcept nogil:
    """counts[k] += sum of r[k]"""
    cdef Py_ssize_t k
    for k in range(K):
        counts[k] += sum_rows(t.r + k * WIDTH, K * WIDTH, t.n_panels)


cdef inline void add_some_counts(const Tile* t, double* counts, Py_ssize_t K, const Active* a) noexcept nogil:
    """add_counts for the pairs in a"""
    cdef Py_ssize_t k
    for k in range(K):
        if a.n_of_component[k]:
            counts[k] += sum_some_rows(t.r, a.slots + k * a.n_panels, a.n_of_component[k])


cdef inline void squared_distances(
    const real* x,          # IN  (D, WIDTH)
    const real* hi,         # IN  (n, D)
    const real* lo,         # IN  (n, D)
    const real* scale,      # IN  (n,), or NULL for 1
    real* out,              # OUT (n, WIDTH)
    Py_ssize_t n,           # number of points, at most 4, known at compile time
    Py_ssize_t D,
) noexcept nogil:
    """out = |scale (x - (hi + lo))|**2 for n points; no intermediate result overflows unless the final one does"""
    # The points share each load of x, and their independent sums hide the latency of a multiply-add.
    cdef vec q[8]
    cdef vec z
    cdef Py_ssize_t d, c, v
    for c in range(2 * n):
        q[c] = vec_set(0)
    for d in range(D):
        for c in range(n):
            for v in range(2):
                z = difference(x + v * LANES, hi[c * D + d], lo[c * D + d])
                if scale != NULL:
                    z = z * scale[c]
                q[2 * c + v] = q[2 * c + v] + z * z
        x += WIDTH
    for c in range(2 * n):
        (<vec*> out)[c] = q[c]


cdef inline Py_ssize_t normalize(Tile* t, real log_noise, Py_ssize_t K) noexcept nogil:
    """Replace log-probabilities l_k by weighted responsibilities.

    r_k = weight exp(l_k - peak) / total, with peak = max over k of l_k and total = sum over k of exp(l_k - peak). The
    maximum and the sum are also over the noise, whose log-probability is the same for all samples. Its responsibility
    is what is left of the weight, so it needs no memory.
    The log-likelihood of the sample is peak + log total. A NaN among the l_k comes from an overflow within a
    distance, and counts as -inf. A sample whose l_k are all -inf gets responsibilities of 0, a peak of -inf and a
    total of 1. The function returns OK, or 1 + the index of the first such sample.
    """
    # If the peak is -inf, l_k - peak is NaN, and exp_nonpositive turns that into 0.
    cdef Py_ssize_t p, k, i
    cdef vec value0, value1, peak0, peak1, total0, total1, doubt = vec_set(0)
    cdef real total[WIDTH]
    cdef real* r
    cdef const real* peak
    if beyond_buffers(t, K, 0):
        return EXTENT
    for p in range(t.n_panels):
        r = t.r + p * K * WIDTH
        peak = t.peak + p * WIDTH
        peak0 = peak1 = vec_set(log_noise)
        for k in range(K):
            value0 = (<const vec*> r)[2 * k]
            value1 = (<const vec*> r)[2 * k + 1]
            peak0 = vec_if_less(peak0, value0, value0, peak0)
            peak1 = vec_if_less(peak1, value1, value1, peak1)
        (<vec*> peak)[0] = peak0
        (<vec*> peak)[1] = peak1
        doubt = doubt + (peak0 + peak1) * <real> 0
        total0 = total1 = vec_set(0)
        if log_noise > -INFINITY:
            total0 = exp_nonpositive(vec_set(log_noise) - peak0)
            total1 = exp_nonpositive(vec_set(log_noise) - peak1)
        for k in range(K):
            value0 = exp_nonpositive((<const vec*> r)[2 * k] - peak0)
            value1 = exp_nonpositive((<const vec*> r)[2 * k + 1] - peak1)
            (<vec*> r)[2 * k] = value0
            (<vec*> r)[2 * k + 1] = value1
            total0 = total0 + value0
            total1 = total1 + value1
        total0 = vec_if_less(vec_set(0), total0, total0, vec_set(1))
        total1 = vec_if_less(vec_set(0), total1, total1, vec_set(1))
        (<vec*> total)[0] = total0
        (<vec*> total)[1] = total1
        for i in range(WIDTH):
            t.total[p * WIDTH + i] = total[i]
        value0 = (<const vec*> (t.weight + p * WIDTH))[0] / total0
        value1 = (<const vec*> (t.weight + p * WIDTH))[1] / total1
        for k in range(K):
            (<vec*> r)[2 * k] = (<const vec*> r)[2 * k] * value0
            (<vec*> r)[2 * k + 1] = (<const vec*> r)[2 * k + 1] * value1
    if not vec_sum(doubt) == 0:
        for i in range(t.n_samples):
            if not t.peak[i] > -INFINITY:
                return 1 + i
    return OK


# With this many components, log-likelihoods are computed by `sum_panel`.
cdef enum:
    MANY = 32


cdef inline real negligible(Py_ssize_t K) noexcept nogil:
    """Return how many nats below the peak a log-probability is left out of a log-likelihood"""
    # K terms of exp(-log K - log(1 / eps)) are eps in all, and the sum has a term of 1. So what is left out changes
    # the log-likelihood by eps at most.
    return <real> (log_positive(<double> K) - log_positive(unit()))


cdef inline void sum_panel(
    Tile* t, Py_ssize_t p, const real* r, Py_ssize_t n, real log_noise, real cut,
) noexcept nogil:
    """Set peak and total of a panel, as `normalize` does, from n log-probabilities r.

    Terms below exp(-cut) are left out. Whether one is depends on the sample alone, and exponentials are computed only
    where a sample of the panel needs one.
    """
    cdef vec value0, value1, total0, total1, peak0, peak1, zero = vec_set(0), least = vec_set(-cut)
    cdef real total[WIDTH]
    cdef Py_ssize_t k
    peak0 = peak1 = vec_set(log_noise)
    for k in range(n):
        value0 = (<const vec*> r)[2 * k]
        value1 = (<const vec*> r)[2 * k + 1]
        peak0 = vec_if_less(peak0, value0, value0, peak0)
        peak1 = vec_if_less(peak1, value1, value1, peak1)
    (<vec*> (t.peak + p * WIDTH))[0] = peak0
    (<vec*> (t.peak + p * WIDTH))[1] = peak1
    total0 = total1 = zero
    if log_noise > -INFINITY:
        total0 = exp_nonpositive(vec_set(log_noise) - peak0)
        total1 = exp_nonpositive(vec_set(log_noise) - peak1)
    for k in range(n):
        value0 = (<const vec*> r)[2 * k] - peak0
        value1 = (<const vec*> r)[2 * k + 1] - peak1
        if vec_any_less(least, value0) or vec_any_less(least, value1):
            total0 = total0 + vec_if_less(least, value0, exp_nonpositive(value0), zero)
            total1 = total1 + vec_if_less(least, value1, exp_nonpositive(value1), zero)
    (<vec*> total)[0] = vec_if_less(zero, total0, total0, vec_set(1))
    (<vec*> total)[1] = vec_if_less(zero, total1, total1, vec_set(1))
    for k in range(WIDTH):
        t.total[p * WIDTH + k] = total[k]


cdef inline double sample_log_likelihood(Tile* t, Py_ssize_t n) noexcept nogil:
    """Return the log-likelihood of sample n, after `normalize`"""
    return <double> t.peak[n] + log_positive(t.total[n])
