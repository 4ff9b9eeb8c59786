"""Log-likelihoods and labels from the pairs of samples and components that count."""
from libc.math cimport INFINITY, fabs, sqrt
from libc.string cimport memset

from layout cimport CHECKS, EPS, OK, SKIPPED, Change, Tile, real, vec, vec_if_less, vec_set, GROUP, GROUP_PANELS, WIDTH
from full cimport BY_PANEL
from regions cimport (
    Lists, Regions, add_pair, append, clear, counting_sort, find_peaks, group_panels, lists_in, merge_late,
    region_buffers, region_scratch, region_tile, take, words,
)
from stretch cimport moved_by, triangular_change, unit
from tile cimport load_some, negligible, sample_log_likelihood, size_of_tile, sum_panel, tile_of

cdef extern from "vec.h" nogil:
    ctypedef float fvec         # FLANES floats
    ctypedef int ivec           # FLANES integers
    enum:
        FLANES
        VEC_BYTES
    fvec fvec_set(float a)
    ivec ivec_set(int a)
    ivec least_numbered(ivec best, fvec a, ivec number)
    void fvec_to_bytes(fvec a, unsigned char* out)
    void any_at_most(
        const unsigned char* const* rows, const unsigned char* limits, Py_ssize_t n, Py_ssize_t at, unsigned char* out)

# A pair of a sample and a component need not be evaluated if its log-probability l is below the peak of the sample (for
# labels), or so far below that `sum_panel` leaves it out. With D = |W (x - mu_k)| for one W, l <= c_k - (s_k D)^2 / 2,
# where s_k is the stretch from W to U_k^T (see stretch.pxd). The distances take few operations, in float32. A byte has
# the steps of this bound below the largest c_k. The rows of a region are sorted by their nearest means. For each group,
# these components are evaluated first, which bounds the peaks from below, and then those whose bound is not low enough.


cdef struct Scores:
    Regions regions             # of which rows, step and region_rows are read
    const float* centers        # (n_bytes / FLANES, D, FLANES) W (mu_k - origin); lanes without a center are infinite
    const float* slope          # (n_bytes,) a component has the byte slope D^2 + offset, from 0 to 255
    const float* offset         # (n_bytes,)
    const real* origin          # (D,)
    const real* scale           # (D,) the diagonal of W
    double top                  # the largest c_k
    double step                 # nats that a byte counts in
    double cut                  # nats below the peak from which on a pair does not count; 0 for labels
    real* log_likelihood        # (n,), or NULL
    long long* labels           # (n,), or NULL
    Py_ssize_t* tallies         # (n_regions,) pairs of groups and components that were evaluated


cdef enum:
    BLOCK = 16      # components whose bytes are compared at once, a multiple of FLANES
    AT_ONCE = 16    # rows whose distances are computed at once


cdef inline Py_ssize_t n_bytes(Py_ssize_t K) noexcept nogil:
    """Return the number of bytes of a row"""
    return (K + BLOCK - 1) // BLOCK * BLOCK


cdef inline Py_ssize_t score_scratch(Py_ssize_t region_rows, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of reals of scratch of a thread: a tile, the lists, and the bytes of a region"""
    return region_scratch(region_rows, K, D) + region_rows * n_bytes(K) // <Py_ssize_t> sizeof(real)


cdef inline void bound_scores(
    const double* U,            # IN  (K, D, D) upper triangular
    const double* means,        # IN  (K, D)
    const double* log_constant,  # IN (K,)
    const real* origin,         # IN  (D,)
    const real* scale,          # IN  (D,)
    float* centers,             # OUT (n_bytes / FLANES, D, FLANES)
    float* bounds,              # OUT (2, n_bytes) slope and offset of the components
    double* coding,             # OUT (2,) top and step
    double* scratch,            # TMP (6, D, D)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Compute what bytes are made with"""
    # Let y = W (x - origin) and m_k likewise. A computed y - m_k has an error of 4 u (|y| + |m_k|) at most, which is
    # 4 u (D + 2 |m_k|), and one of 4 EPS |W mu_k| from the difference mu_k - origin. So d >= s D - b, with b for these
    # errors and for that of the mean in the kernel. For any t, (s D - b)^2 >= (1 - t) s^2 D^2 - (1/t - 1) b^2. The sum
    # D^2 has a relative error of (D + 2) u, and the log-probability one of a few eps of its terms. The byte is rounded
    # down to an integer, with an error of 0.01 at most.
    cdef double u = 2.0 ** -24, bottom = INFINITY, top = -INFINITY, step, slope, offset, b, t, at, of_center, of_mean
    cdef double* W = scratch
    cdef Py_ssize_t k, d
    cdef Change change
    memset(W, 0, D * D * sizeof(double))
    for d in range(D):
        W[d * D + d] = scale[d]
    for k in range(K):
        if log_constant[k] > -INFINITY:
            top = max(top, log_constant[k])
            bottom = min(bottom, log_constant[k])
    step = max(0.5, (top - bottom + D + 2 * negligible(K)) / 240)
    coding[0], coding[1] = top, step
    for k in range(n_bytes(K)):
        # Lanes without a component, and components without weight, are nobody's nearest.
        bounds[k], bounds[n_bytes(K) + k] = 1, 255
        of_center = of_mean = 0
        for d in range(D):
            at = INFINITY
            if k < K and log_constant[k] > -INFINITY:
                at = (means[k * D + d] - <double> origin[d]) * scale[d]
                of_center += at * at
                of_mean += (means[k * D + d] * scale[d]) * (means[k * D + d] * scale[d])
            centers[(k // FLANES * D + d) * FLANES + k % FLANES] = <float> at
        if k >= K or not log_constant[k] > -INFINITY:
            continue
        change = triangular_change(W, U + k * D * D, scratch + D * D, D)
        b = moved_by(U + k * D * D, means + k * D, means + k * D, D)
        b += change.stretch * (8 * u * sqrt(of_center) + 4 * EPS * sqrt(of_mean))
        t = min(0.5, max(1e-3, 0.1 * b))
        slope = change.stretch * (1 - change.relative) * (1 - (D + 16) * u)
        slope = (1 - t) * slope * slope / (2 * step)
        offset = (top - log_constant[k] - 8 * unit() * fabs(log_constant[k]) - (1 / t - 1) * b * b / 2) / step - 0.02
        if not (change.relative < 0.1 and slope > 1e-20 and slope < 1e20 and offset > -1e6):
            slope = offset = 0              # the pairs of the component are always evaluated
        bounds[k], bounds[n_bytes(K) + k] = <float> slope, <float> offset


cdef inline Py_ssize_t score_region(const Scores* job, Py_ssize_t region, double* n_bad, real* scratch) noexcept nogil:
    """Score the rows of a region; add the number of rows that have density 0 to n_bad"""
    cdef const Regions* regions = &job.regions
    cdef Py_ssize_t K = regions.rows.mixture.n_components, D = regions.rows.mixture.n_features
    cdef Py_ssize_t first = region * regions.region_rows, n = min(regions.region_rows, regions.rows.n_samples - first)
    cdef Py_ssize_t at = 0, g, n_slots, n_early, n_groups, i
    cdef Py_ssize_t* tally = job.tallies + region
    cdef Tile tile = tile_of(scratch, region_buffers(K, D), K, D)
    cdef size_t memory = <size_t> (scratch + size_of_tile(region_buffers(K, D), K, D) + 2 * K * D)
    cdef Lists lists = lists_in(&memory, regions.region_rows, K, D)
    cdef unsigned char* bytes_ = take(&memory, regions.region_rows * n_bytes(K))
    cdef const unsigned short* index = lists.number
    cdef unsigned char* wanted
    cdef bint by_panel = D <= BY_PANEL
    cdef int failed
    tally[0] = 0
    bound_rows(job, regions.rows.X + first * D, <float*> tile.x, bytes_, lists.best, n, K, D)
    for i in range(n):
        lists.fall[i] = <unsigned short> i
    counting_sort(lists.fall, lists.number, lists.best, lists.bins, n, K)
    while at < n:
        failed = load_some(
            &tile, regions.rows.X + first * D, index + at, NULL, min(region_tile(K, D), n - at), K, D,
        )
        if failed:
            return failed
        n_groups = (tile.n_panels + GROUP_PANELS - 1) // GROUP_PANELS
        n_slots = 0
        clear(&lists.evaluated, K)
        clear(&lists.late, K)
        for g in range(n_groups):
            wanted = lists.wanted + g * words(K)
            memset(wanted, 0, words(K))
            for i in range(at + g * GROUP, min(at + (g + 1) * GROUP, n)):
                wanted[lists.best[index[i]]] = 1
            n_slots = append(&lists.evaluated, wanted, g, group_panels(&tile, g), n_slots, K, by_panel)
        n_early = n_slots
        failed = regions.step.log_prob(&tile, &regions.rows.mixture, &lists.evaluated)
        if failed:
            return failed
        for g in range(n_groups):
            find_peaks(&tile, regions, &lists, g, K)
            n_slots = add_unbounded(&tile, job, &lists, bytes_, index + at, g, n_slots, K)
        if n_slots > n_early:
            failed = regions.step.log_prob(&tile, &regions.rows.mixture, &lists.late)
            if failed:
                return failed
            for g in range(n_groups):
                if lists.late.n_of_panel[g * GROUP_PANELS]:
                    n_slots = merge_late(&tile, &lists, g, n_slots, K)
        for g in range(n_groups):
            tally[0] += lists.evaluated.n_of_panel[g * GROUP_PANELS]
        store_scores(&tile, job, &lists, first, index + at, n_bad, K)
        if CHECKS:
            failed = check_scores(&tile, job, &lists, n_slots, K)
            if failed:
                return failed
        at += tile.n_samples
    return OK


cdef inline void bound_rows(
    const Scores* job,
    const real* X,          # IN  (n, D)
    float* rows,            # TMP (AT_ONCE, D)
    unsigned char* bytes_,  # OUT (n rounded up to AT_ONCE, n_bytes)
    unsigned short* nearest,    # OUT (n,) the component of the nearest mean, to three digits
    Py_ssize_t n,
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Write the bytes of rows"""
    # As in nearest.pxd, the lanes of a vector hold different components.
    cdef Py_ssize_t row = 0, i, j, d, k, n_vectors = n_bytes(K) // FLANES, stride = n_bytes(K)
    cdef ivec best[AT_ONCE]
    cdef ivec lanes
    cdef int least, number
    cdef const real* x
    for j in range(FLANES):
        (<int*> &lanes)[j] = <int> j
    while row < n:
        for i in range(AT_ONCE):
            x = X + min(row + i, n - 1) * D
            for d in range(D):
                rows[i * D + d] = <float> ((x[d] - job.origin[d]) * job.scale[d])
            best[i] = ivec_set(0x7fffffff)
        k = 0
        while k < n_vectors:
            i = 0
            while i < AT_ONCE:
                if VEC_BYTES < 64:
                    bound_some(job, rows + i * D, best + i, bytes_ + (row + i) * stride, lanes, k, 4, 2, stride, D)
                elif k + 2 <= n_vectors:
                    bound_some(job, rows + i * D, best + i, bytes_ + (row + i) * stride, lanes, k, 8, 2, stride, D)
                else:
                    bound_some(job, rows + i * D, best + i, bytes_ + (row + i) * stride, lanes, k, 8, 1, stride, D)
                i += 8 if VEC_BYTES == 64 else 4
            k += 2
        for i in range(min(<Py_ssize_t> AT_ONCE, n - row)):
            least = 0x7fffffff
            for j in range(FLANES):
                least = min(least, (<const int*> (best + i))[j])
            number = least & 4095
            nearest[row + i] = <unsigned short> (number if number < K else 0)
        row += AT_ONCE


cdef inline void bound_some(
    const Scores* job, const float* rows, ivec* best, unsigned char* bytes_, ivec lanes,
    Py_ssize_t k, Py_ssize_t m, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t D,
) noexcept nogil:
    """Write the bytes of m rows for the n vectors of components from the k-th on; m and n are known at compile time"""
    cdef fvec q[16]
    cdef fvec z, center
    cdef Py_ssize_t d, i, v
    cdef const float* centers = job.centers + k * D * FLANES
    for i in range(m * n):
        q[i] = fvec_set(0)
    for d in range(D):
        for v in range(n):
            center = (<const fvec*> (centers + (v * D + d) * FLANES))[0]
            for i in range(m):
                z = center - rows[i * D + d]
                q[i * n + v] = q[i * n + v] + z * z
    for v in range(n):
        for i in range(m):
            z = q[i * n + v]
            best[i] = least_numbered(best[i], z, lanes + <int> ((k + v) * FLANES))
            z = z * (<const fvec*> job.slope)[k + v] + (<const fvec*> job.offset)[k + v]
            fvec_to_bytes(z, bytes_ + i * stride + (k + v) * FLANES)


cdef inline Py_ssize_t add_unbounded(
    Tile* t, const Scores* job, Lists* lists, const unsigned char* bytes_, const unsigned short* index, Py_ssize_t g,
    Py_ssize_t slot, Py_ssize_t K,
) noexcept nogil:
    """List the pairs of a group that count by their bounds, but were not evaluated; return the next slot"""
    cdef unsigned char* wanted = lists.wanted + g * words(K)
    cdef unsigned char found[BLOCK]
    cdef unsigned char limits[GROUP]
    cdef const unsigned char* of_row[GROUP]
    cdef Py_ssize_t n = min(<Py_ssize_t> GROUP, t.n_samples - g * GROUP), i, j, k = 0, p, word, n_late
    cdef double steps
    cdef unsigned short* late = lists.order         # at least K entries
    for i in range(n):
        # A bound above this many steps, which are rounded up, is low enough.
        steps = (job.cut - (<double> t.peak[g * GROUP + i] - job.top)) / job.step + 1.01
        limits[i] = 255 if not steps < 255 else <unsigned char> <int> max(steps, 0.0)
        of_row[i] = bytes_ + index[g * GROUP + i] * n_bytes(K)
    n_late = 0
    while k < K:
        any_at_most(of_row, limits, n, k, found)
        for word in range(BLOCK // 8):
            if (<unsigned long long*> found)[word] == 0:
                continue
            for j in range(k + 8 * word, min(k + 8 * word + 8, K)):
                late[n_late] = <unsigned short> j
                n_late += found[j - k] & (1 - wanted[j])
        k += BLOCK
    for i in range(n_late):
        wanted[late[i]] = 1
    for p in range(g * GROUP_PANELS, g * GROUP_PANELS + group_panels(t, g)):
        for i in range(n_late):
            add_pair(&lists.late, p, late[i], slot, K)
            slot += 1
    return slot


cdef inline void store_scores(
    Tile* t, const Scores* job, const Lists* lists, Py_ssize_t first, const unsigned short* index, double* n_bad,
    Py_ssize_t K,
) noexcept nogil:
    """Write the outputs of a tile, as evaluate_rows does"""
    cdef Py_ssize_t p, i, v, bad = 0
    cdef real log_noise = job.regions.rows.mixture.log_noise
    cdef vec peak[2]
    cdef vec label[2]
    cdef vec value
    cdef const real* r
    cdef const unsigned short* components
    for p in range(t.n_panels):
        r = t.r + lists.evaluated.first[p] * WIDTH
        components = lists.evaluated.components + p * K
        if job.log_likelihood != NULL:
            sum_panel(t, p, r, lists.evaluated.n_of_panel[p], log_noise, <real> job.cut)
        else:
            peak[0] = peak[1] = vec_set(log_noise)
            label[0] = label[1] = vec_set(-1 if log_noise > -INFINITY else 0)
            for i in range(lists.evaluated.n_of_panel[p]):
                for v in range(2):
                    value = (<const vec*> r)[2 * i + v]
                    label[v] = vec_if_less(peak[v], value, vec_set(<real> components[i]), label[v])
                    peak[v] = vec_if_less(peak[v], value, value, peak[v])
            (<vec*> (t.peak + p * WIDTH))[0] = peak[0]
            (<vec*> (t.peak + p * WIDTH))[1] = peak[1]
            for i in range(min(<Py_ssize_t> WIDTH, t.n_samples - p * WIDTH)):
                job.labels[first + index[p * WIDTH + i]] = <long long> (<const real*> label)[i]
    for i in range(t.n_samples):
        bad += not t.peak[i] > -INFINITY
        if job.log_likelihood != NULL:
            job.log_likelihood[first + index[i]] = <real> (
                job.regions.rows.mixture.common_constant + sample_log_likelihood(t, i)
            )
    n_bad[0] += bad


cdef inline int check_scores(
    Tile* t, const Scores* job, Lists* lists, Py_ssize_t slot, Py_ssize_t K,
) noexcept nogil:
    """Evaluate the pairs that were skipped, in slots from `slot` on; return SKIPPED if one of them counts"""
    cdef Py_ssize_t i, k, n, p
    cdef int failed
    for p in range(t.n_panels):
        clear(&lists.late, K)
        for k in range(K):
            if not lists.wanted[p // GROUP_PANELS * words(K) + k]:
                add_pair(&lists.late, p, k, slot + lists.late.n_of_panel[p], K)
        failed = job.regions.step.log_prob(t, &job.regions.rows.mixture, &lists.late)
        if failed:
            return failed
        for i in range(lists.late.n_of_panel[p]):
            for n in range(min(<Py_ssize_t> WIDTH, t.n_samples - p * WIDTH)):
                if t.r[(slot + i) * WIDTH + n] - t.peak[p * WIDTH + n] >= -<real> job.cut:
                    return SKIPPED
    return OK
