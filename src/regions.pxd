"""The E-step over regions of rows, which skips pairs of samples and components that do not count."""
from libc.math cimport INFINITY, exp, fabs, log, sqrt
from libc.string cimport memcpy, memset

from layout cimport (
    CHECKS, EXTENT, OK, SKIPPED, Active, Change, Tile, real, vec, vec_any_less, vec_if_less, vec_set, vec_sum,
    GROUP, GROUP_PANELS, LANES, WIDTH,
)
from covariance cimport SkippingStep
from full cimport BY_PANEL
from panel cimport sum_rows
from rows cimport Pass, tile_log_likelihood
from stretch cimport unit
from tile cimport load_some, size_of_tile, tile_of, tile_samples
from vmath cimport exp_nonpositive, log_positive

# What is dropped. A sample adds w r, w r z and w r z zT to the statistics of a component, where |L z| = d. A pair is
# dropped if w e max(1, d^2) <= smallest_k, with e = exp(log-probability - peak) >= r. The caller makes smallest_k at
# most eps N_k / n_samples, so that n_samples pairs change N_k, and s_k and S_k in whitened coordinates, by eps N_k.
#
# What is skipped. That a pair is dropped depends on the sample and the mixture alone. A bound only saves evaluating a
# pair that would be dropped: d >= b gives log(e max(1, d^2)) <= c_k - b^2 / 2 + log(b^2) - peak, and the concave
# logarithm lies below its tangent at 80, so that log(b^2) <= b^2 / 80 + log(80) - 1. If
#     c_k + log(80) - 1 - log smallest_k - (1/2 - 1/80) b^2 <= peak - log w
# for the least peak and the largest weight of a group of samples, the component is skipped for all of the group.
#
# Bounds. A group and a component share a byte, b = scale_k byte - offset_k. When the parameters move, d' >= stretch d -
# move, so only scale and offset of a component change (see stretch.pxd), and rounding does not add up. A pair that is
# evaluated renews its byte.
#
# Order. Groups are tight if their samples have the same components and like peaks. So an index holds the order of the
# rows of a region: sorted by the best component, the number of components that count and the peak under some mixture.
# It is the only history that the order of the sums depends on, hence the bits of a result.

cdef struct Regions:
    Pass rows
    SkippingStep step
    Py_ssize_t region_rows          # a multiple of the samples in a tile
    unsigned short* index           # (n,) for each place in the order of a region, the row within the region
    unsigned char* bounds           # (n_bounded, K), or NULL if all pairs are evaluated
    Py_ssize_t n_bounded            # groups beyond have no bounds: all of their pairs are evaluated
    float* floors                   # (n_bounded,) least peak - log weight in the last pass; NaN if there was none
    const float* scale              # (K,) of bytes
    const float* offset             # (K,)
    const float* limit              # (K,) c_k + log(80) - 1 - log smallest_k; -inf if the weight is 0
    const real* smallest            # (K,)
    const double* to_byte           # (2, K) a distance d has the byte to_byte[0] d + to_byte[1]
    const float* rescale            # (2, K) bytes become rescale[0] byte + rescale[1] first; or NULL
    bint sort                       # sort the rows of the regions after this pass
    Py_ssize_t* tallies             # (n_regions, 2) pairs of groups and components that were evaluated, and that count


# Scratch of a thread beside the tile.
cdef struct Lists:
    float* tile_floors              # (groups of a tile,)
    unsigned char* wanted           # (groups of a tile, words(K)) whether a pair was evaluated
    Active evaluated
    Active late
    Active counting                 # pairs with a responsibility that is not dropped
    real* nearest                   # (K,) for the components evaluated in a group, the largest log-probability
    unsigned short* best            # (region_rows,)
    unsigned short* number          # (region_rows,)
    unsigned short* fall            # (region_rows,)
    unsigned short* place           # (region_rows,) the group that a row was in
    unsigned short* order           # (max(region_rows, K),)
    unsigned char* bounds           # (region_rows / GROUP, K)
    float* floors                   # (region_rows / GROUP,)
    Py_ssize_t* bins                # (max(K, 255) + 2,)


# What bounds are read and written with; see Regions.
cdef struct Coding:
    double* scale           # (K,) of bytes, as exact numbers
    double* offset          # (K,)
    float* decode           # (3, K) scale and offset for computed distances, rounded such that bounds are low; limit
    double* to_byte         # (2, K)
    float* rescale          # (2, K)


cdef inline double step() noexcept nogil:
    """Return the distance that a byte counts in at first"""
    return 0.125


cdef inline bint carry_bounds(
    const Change* changes, const double* log_constant, const double* weights, const real* smallest, Coding c,
    Py_ssize_t K,
) noexcept nogil:
    """Carry the bounds over to other parameters; return whether bytes have to be rescaled"""
    cdef Py_ssize_t k
    cdef double scale, offset, relative, absolute, constant
    cdef bint rescaled = False
    for k in range(K):
        scale = c.scale[k] * changes[k].stretch
        offset = c.offset[k] * changes[k].stretch + changes[k].move
        relative, absolute = changes[k].relative, changes[k].absolute
        c.rescale[k] = 1
        c.rescale[K + k] = 0
        if not (scale > 1e-30 and offset < 1e30 and absolute < 1e30 and relative < 0.1):
            # Distances cannot be bounded, or not be computed to a digit. All pairs of the component are evaluated.
            scale, offset, relative, absolute = step(), 0, 0, 1e30
            c.rescale[k] = 0
            rescaled = True
        elif 255 * scale - offset < 24:       # a byte no longer reaches as far as bounds have to
            c.rescale[k] = <float> (scale / step() * (1 - 1e-6))
            c.rescale[K + k] = <float> max(-offset / step() - 0.01, -1e30)
            scale, offset = step(), 0
            rescaled = True
        c.scale[k] = scale
        c.offset[k] = offset
        c.decode[k] = <float> (scale * (1 - relative) * (1 - 1e-6))
        c.decode[K + k] = <float> ((offset * (1 - relative) + absolute) * (1 + 1e-6) + 1e-5)
        c.to_byte[k] = 1 / ((1 + relative) * scale)
        c.to_byte[K + k] = (offset - absolute / (1 + relative)) / scale - 1e-3
        if not weights[k] > 0:
            c.decode[2 * K + k] = -INFINITY
        elif not smallest[k] > 0:
            c.decode[2 * K + k] = INFINITY
        else:
            constant = <real> log_constant[k]
            # The rounding of log-probabilities and of exp is allowed for.
            c.decode[2 * K + k] = <float> (constant + 1e-6 * fabs(constant) + (3.3830266 + 1e-3) - log(smallest[k]))
    return rescaled


cdef inline Py_ssize_t words(Py_ssize_t K) noexcept nogil:
    """Return K rounded up to whole words of 8 bytes"""
    return (K + 7) // 8 * 8


cdef inline unsigned char* take(size_t* at, Py_ssize_t size) noexcept nogil:
    """Return memory of a size in bytes at an address, and move on"""
    cdef unsigned char* taken = <unsigned char*> at[0]
    at[0] += (size + 7) // 8 * 8
    return taken


cdef inline Active active_in(size_t* at, Py_ssize_t n_panels, Py_ssize_t K) noexcept nogil:
    cdef Active a
    a.n_panels = n_panels
    a.panels = <unsigned short*> take(at, 2 * K * n_panels)
    a.slots = <unsigned int*> take(at, 4 * K * n_panels)
    a.first = <unsigned int*> take(at, 4 * n_panels)
    a.n_of_component = <unsigned short*> take(at, 2 * K)
    a.components = <unsigned short*> take(at, 2 * K * n_panels)
    a.n_of_panel = <unsigned short*> take(at, 2 * n_panels)
    return a


cdef inline Py_ssize_t region_tile(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of samples in a tile, of whose responsibilities few are used"""
    return 2 * tile_samples(K, D)


cdef inline Py_ssize_t region_buffers(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of samples that the buffers of a tile are for; see add_late"""
    return 2 * region_tile(K, D)


cdef inline Lists lists_in(
    size_t* at, Py_ssize_t region_rows, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    """Return lists whose memory begins at `at`, which is moved to its end"""
    cdef Py_ssize_t n = region_tile(K, D)
    cdef Lists l
    l.bins = <Py_ssize_t*> take(at, (max(K, <Py_ssize_t> 255) + 2) * sizeof(Py_ssize_t))
    l.tile_floors = <float*> take(at, n // GROUP * sizeof(float))
    l.wanted = take(at, n // GROUP * words(K))
    l.evaluated = active_in(at, n // WIDTH, K)
    l.late = active_in(at, n // WIDTH, K)
    l.counting = active_in(at, n // WIDTH, K)
    l.nearest = <real*> take(at, K * sizeof(real))
    l.best = <unsigned short*> take(at, 2 * region_rows)
    l.number = <unsigned short*> take(at, 2 * region_rows)
    l.fall = <unsigned short*> take(at, 2 * region_rows)
    l.place = <unsigned short*> take(at, 2 * region_rows)
    l.order = <unsigned short*> take(at, 2 * max(region_rows, K))
    l.bounds = take(at, region_rows // GROUP * K)
    l.floors = <float*> take(at, region_rows // GROUP * sizeof(float))
    return l


cdef inline Py_ssize_t region_scratch(Py_ssize_t region_rows, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of reals of scratch of a thread: a tile, a shift, and the lists"""
    # The numbers of reals before the lists are even, so that these are aligned to 8 bytes.
    cdef size_t at = 0
    lists_in(&at, region_rows, K, D)
    return size_of_tile(region_buffers(K, D), K, D) + 2 * K * D + <Py_ssize_t> (at // sizeof(real))


cdef inline Py_ssize_t accumulate_region(
    const Regions* job, Py_ssize_t region, double* statistics, real* scratch,
) noexcept nogil:
    """Add the statistics of a region; return OK, EXTENT, or a positive number if a row has density 0"""
    cdef const Pass* rows = &job.rows
    cdef Py_ssize_t K = rows.mixture.n_components, D = rows.mixture.n_features
    cdef Py_ssize_t first = region * job.region_rows, n = min(job.region_rows, rows.n_samples - first)
    cdef Py_ssize_t tile_rows = region_tile(K, D), at = 0, group, count
    cdef Tile tile = tile_of(scratch, region_buffers(K, D), K, D)
    cdef size_t memory = <size_t> (scratch + size_of_tile(region_buffers(K, D), K, D) + 2 * K * D)
    cdef Lists lists = lists_in(&memory, job.region_rows, K, D)
    cdef Py_ssize_t* tally = job.tallies + 2 * region
    cdef int failed
    tally[0] = tally[1] = 0
    (<double*> lists.bins)[0] = touch(rows.X + first * D, n * D)    # kept, so that the loads are not optimised away
    while at < n:
        count = min(tile_rows, n - at)
        group = (first + at) // GROUP
        failed = gather(&tile, job, first, at, count, K, D)
        if failed:
            return failed
        if tile.n_panels == 0:      # all weights are 0
            if job.sort:
                leave_out(&lists, job, first, at, count, K)
            at += count
            continue
        failed = evaluate_group(&tile, job, &lists, group, tally, K)
        if failed:
            return failed
        if normalize_groups(&tile, job, &lists, first, at, group, tally, K):
            return 1 + first
        statistics[0] += tile_log_likelihood(&tile, rows.mixture.common_constant)
        statistics[1] += sum_rows(tile.weight, WIDTH, tile.n_panels)
        if rows.mixture.log_noise > -INFINITY:
            tile.weighted = True
        at += count
        if rows.size == 2:
            continue
        failed = job.step.accumulate(
            &tile, rows.shift_hi, rows.shift_lo, rows.at_means,
            statistics + 2, statistics + 2 + K, statistics + 2 + K + K * D, K, D, &lists.counting,
        )
        if failed:
            return failed
    if job.sort:
        sort_region(job, &lists, first, n, K)
    return OK


cdef inline double touch(const real* X, Py_ssize_t n) noexcept nogil:
    """Load the rows of a region in their own order, which is faster than to load them in the order of the index"""
    cdef Py_ssize_t i = 0
    cdef double s = 0
    while i < n:
        s += X[i]
        i += 64 // <Py_ssize_t> sizeof(real)
    return s


cdef inline int gather(
    Tile* t, const Regions* job, Py_ssize_t first, Py_ssize_t at, Py_ssize_t n, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    """Put n rows of a region into the tile, those at `at` in its order"""
    cdef Py_ssize_t i
    cdef const unsigned short* index = job.index + first + at
    cdef double* weight = NULL
    if job.rows.weight != NULL:
        weight = t.total
        for i in range(n):
            weight[i] = job.rows.weight[first + index[i]]
    return load_some(t, job.rows.X + first * D, index, weight, n, K, D)


cdef inline Py_ssize_t group_panels(const Tile* t, Py_ssize_t g) noexcept nogil:
    """Return the number of panels of group g of the tile"""
    return min(<Py_ssize_t> GROUP_PANELS, t.n_panels - g * GROUP_PANELS)


cdef inline int evaluate_group(
    Tile* t, const Regions* job, Lists* lists, Py_ssize_t group, Py_ssize_t* tally, Py_ssize_t K,
) noexcept nogil:
    """Compute the log-probabilities of all pairs that may count, and the peaks of the samples"""
    # The peaks of the last pass tell which pairs will be wanted. A second look, with the peaks that these pairs give,
    # finds the others.
    cdef Py_ssize_t n_groups = (t.n_panels + GROUP_PANELS - 1) // GROUP_PANELS, g, n_slots = 0, n_early
    cdef bint by_panel = job.rows.mixture.n_features <= BY_PANEL
    cdef unsigned char* wanted
    cdef int failed
    clear(&lists.evaluated, K)
    for g in range(n_groups):
        wanted = lists.wanted + g * words(K)
        memset(wanted, 0, words(K))
        if job.bounds == NULL:
            memset(wanted, 1, K)
        else:
            if job.rescale != NULL:
                rescale_bytes(job.bounds + (group + g) * K, job.rescale, K)
            want(job, job.bounds + (group + g) * K, job.floors[group + g] - 1, wanted, K)
        n_slots = append(&lists.evaluated, wanted, g, group_panels(t, g), n_slots, K, by_panel)
    n_early = n_slots
    failed = job.step.log_prob(t, &job.rows.mixture, &lists.evaluated)
    if failed:
        return failed
    for g in range(n_groups):
        find_peaks(t, job, lists, g, K)
        lists.tile_floors[g] = group_floor(t, g)
    if job.bounds != NULL:
        clear(&lists.late, K)
        for g in range(n_groups):
            if not lists.tile_floors[g] >= job.floors[group + g] - 1:
                n_slots = add_late(t, job, lists, group, g, n_slots, K)
        if n_slots > n_early:
            failed = job.step.log_prob(t, &job.rows.mixture, &lists.late)
            if failed:
                return failed
            for g in range(n_groups):
                if lists.late.n_of_panel[g * GROUP_PANELS]:
                    n_slots = merge_late(t, lists, g, n_slots, K)
                    find_peaks(t, job, lists, g, K)
                    lists.tile_floors[g] = group_floor(t, g)
        if CHECKS:
            failed = check_skipped(t, job, lists, n_slots, n_groups, K)
            if failed:
                return failed
        for g in range(n_groups):
            job.floors[group + g] = lists.tile_floors[g]
    for g in range(n_groups):
        tally[0] += lists.evaluated.n_of_panel[g * GROUP_PANELS]
    return OK


cdef inline int check_skipped(
    Tile* t, const Regions* job, Lists* lists, Py_ssize_t slot, Py_ssize_t n_groups, Py_ssize_t K,
) noexcept nogil:
    """Evaluate the pairs that are skipped, in slots from `slot` on; return SKIPPED if one of them counts"""
    cdef Py_ssize_t g, i, k, p, n
    cdef double log_prob, size
    cdef int failed
    for g in range(n_groups):
        for p in range(g * GROUP_PANELS, g * GROUP_PANELS + group_panels(t, g)):
            clear(&lists.late, K)
            for k in range(K):
                if not lists.wanted[g * words(K) + k]:
                    add_pair(&lists.late, p, k, slot + lists.late.n_of_panel[p], K)
            failed = job.step.log_prob(t, &job.rows.mixture, &lists.late)
            if failed:
                return failed
            for i in range(lists.late.n_of_panel[p]):
                k = lists.late.components[p * K + i]
                for n in range(WIDTH):
                    log_prob = t.r[(slot + i) * WIDTH + n]
                    size = exp(log_prob - t.peak[p * WIDTH + n]) * max(
                        1.0, 2 * (job.rows.mixture.log_constant[k] - log_prob)
                    )
                    if t.weight[p * WIDTH + n] * size > job.smallest[k]:
                        return SKIPPED
    return OK


cdef inline void clear(Active* a, Py_ssize_t K) noexcept nogil:
    memset(a.n_of_component, 0, K * sizeof(short))
    memset(a.n_of_panel, 0, a.n_panels * sizeof(short))


cdef inline void rescale_bytes(unsigned char* bounds, const float* rescale, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t k
    cdef float b
    for k in range(K):
        b = rescale[k] * bounds[k] + rescale[K + k]
        b = b if b > 0 else 0
        b = b if b < 255 else 255
        bounds[k] = <unsigned char> <int> b


cdef inline void want(
    const Regions* job, const unsigned char* bounds, float floor_, unsigned char* wanted, Py_ssize_t K,
) noexcept nogil:
    """Tell which components are not skipped for a group; all of them if the floor is NaN"""
    cdef const float* scale = job.scale
    cdef const float* offset = job.offset
    cdef const float* limit = job.limit
    cdef Py_ssize_t k = 0, i
    cdef float b
    # A loop of constant length is vectorised for few components too.
    while k + 16 <= K:
        for i in range(16):
            b = scale[k + i] * <float> bounds[k + i] - offset[k + i]
            b = b if b > 0 else 0
            b = limit[k + i] - <float> 0.48749 * b * b
            wanted[k + i] = 0 if b <= floor_ else 1
        k += 16
    while k < K:
        b = scale[k] * <float> bounds[k] - offset[k]
        b = b if b > 0 else 0
        wanted[k] = 0 if limit[k] - <float> 0.48749 * b * b <= floor_ else 1
        k += 1


cdef inline Py_ssize_t add_late(
    Tile* t, const Regions* job, Lists* lists, Py_ssize_t group, Py_ssize_t g, Py_ssize_t slot, Py_ssize_t K,
) noexcept nogil:
    """List the pairs of a group that are not skipped, but were, with slots from `slot` on; return the next slot"""
    cdef unsigned char* wanted = lists.wanted + g * words(K)
    cdef unsigned char* wanted_now = <unsigned char*> lists.bins    # which has room for them
    cdef Py_ssize_t k, p
    want(job, job.bounds + (group + g) * K, lists.tile_floors[g], wanted_now, K)
    for k in range(K):
        if wanted[k]:
            wanted_now[k] = 0
        elif wanted_now[k]:
            wanted[k] = 1
    for p in range(g * GROUP_PANELS, g * GROUP_PANELS + group_panels(t, g)):
        for k in range(K):
            if wanted_now[k]:
                add_pair(&lists.late, p, k, slot, K)
                slot += 1
    return slot


cdef inline Py_ssize_t merge_late(Tile* t, Lists* lists, Py_ssize_t g, Py_ssize_t slot, Py_ssize_t K) noexcept nogil:
    """Move the pairs of a group to slots from `slot` on, with the late ones at their places; return the next slot"""
    # The buffers have twice as many slots as there are pairs, and each panel moves once at most.
    cdef Active* a = &lists.evaluated
    cdef Py_ssize_t p, i, j, k, n, source
    cdef unsigned short* components = lists.order       # at least K entries, free until the region is sorted
    for p in range(g * GROUP_PANELS, g * GROUP_PANELS + group_panels(t, g)):
        i = j = n = 0
        while i < a.n_of_panel[p] or j < lists.late.n_of_panel[p]:
            if j == lists.late.n_of_panel[p] or (
                i < a.n_of_panel[p] and a.components[p * K + i] < lists.late.components[p * K + j]
            ):
                k = a.components[p * K + i]
                source = a.first[p] + i
                i += 1
            else:
                k = lists.late.components[p * K + j]
                source = lists.late.first[p] + j
                j += 1
            components[n] = <unsigned short> k
            memcpy(t.r + (slot + n) * WIDTH, t.r + source * WIDTH, WIDTH * sizeof(real))
            memcpy(t.distance + (slot + n) * WIDTH, t.distance + source * WIDTH, WIDTH * sizeof(real))
            n += 1
        memcpy(a.components + p * K, components, n * sizeof(short))
        a.n_of_panel[p] = <unsigned short> n
        a.first[p] = <unsigned int> slot
        slot += n
    return slot


cdef inline void add_pair(Active* a, Py_ssize_t p, Py_ssize_t k, Py_ssize_t slot, Py_ssize_t K) noexcept nogil:
    a.panels[k * a.n_panels + a.n_of_component[k]] = <unsigned short> p
    a.slots[k * a.n_panels + a.n_of_component[k]] = <unsigned int> slot
    a.n_of_component[k] += 1
    list_component(a, p, k, slot, K)


cdef inline void list_component(Active* a, Py_ssize_t p, Py_ssize_t k, Py_ssize_t slot, Py_ssize_t K) noexcept nogil:
    if a.n_of_panel[p] == 0:
        a.first[p] = <unsigned int> slot
    a.components[p * K + a.n_of_panel[p]] = <unsigned short> k
    a.n_of_panel[p] += 1


cdef inline Py_ssize_t append(
    Active* a, const unsigned char* wanted, Py_ssize_t g, Py_ssize_t n_panels, Py_ssize_t slot, Py_ssize_t K,
    bint by_panel,
) noexcept nogil:
    """Add the pairs of a group that are wanted, in slots from `slot` on; return the next slot"""
    cdef Py_ssize_t p, i, k, word, n = 0
    cdef unsigned short* components
    for p in range(g * GROUP_PANELS, g * GROUP_PANELS + n_panels):
        components = a.components + p * K
        if p == g * GROUP_PANELS:
            for word in range(words(K) // 8):
                if (<const unsigned long long*> wanted)[word] == 0:
                    continue
                for k in range(8 * word, min(8 * word + 8, K)):
                    components[n] = <unsigned short> k
                    n += wanted[k]
        else:
            memcpy(components, a.components + g * GROUP_PANELS * K, n * sizeof(short))
        a.n_of_panel[p] = <unsigned short> n
        a.first[p] = <unsigned int> slot
        if not by_panel:
            for i in range(n):
                k = components[i]
                a.panels[k * a.n_panels + a.n_of_component[k]] = <unsigned short> p
                a.slots[k * a.n_panels + a.n_of_component[k]] = <unsigned int> (slot + i)
                a.n_of_component[k] += 1
        slot += n
    return slot


cdef inline void find_peaks(Tile* t, const Regions* job, const Lists* lists, Py_ssize_t g, Py_ssize_t K) noexcept nogil:
    """Set the largest log-probability of each sample of a group, the noise included"""
    cdef Py_ssize_t p, i
    cdef vec peak0, peak1, value
    cdef const vec* r
    for p in range(g * GROUP_PANELS, g * GROUP_PANELS + group_panels(t, g)):
        peak0 = peak1 = vec_set(job.rows.mixture.log_noise)
        for i in range(lists.evaluated.n_of_panel[p]):
            r = <const vec*> (t.r + (lists.evaluated.first[p] + i) * WIDTH)
            value = r[0]
            peak0 = vec_if_less(peak0, value, value, peak0)
            value = r[1]
            peak1 = vec_if_less(peak1, value, value, peak1)
        (<vec*> (t.peak + p * WIDTH))[0] = peak0
        (<vec*> (t.peak + p * WIDTH))[1] = peak1


cdef inline float group_floor(const Tile* t, Py_ssize_t g) noexcept nogil:
    """Return the least peak minus the logarithm of the largest weight, rounded down"""
    cdef Py_ssize_t i
    cdef vec peak, w, lowest = vec_set(INFINITY), highest = vec_set(0)
    cdef real least, weight
    cdef double floor_
    for i in range(g * GROUP // LANES, g * GROUP // LANES + 2 * group_panels(t, g)):
        w = (<const vec*> t.weight)[i]
        peak = vec_if_less(vec_set(0), w, (<const vec*> t.peak)[i], lowest)
        lowest = vec_if_less(peak, lowest, peak, lowest)
        highest = vec_if_less(highest, w, w, highest)
    least = (<const real*> &lowest)[0]
    weight = (<const real*> &highest)[0]
    for i in range(1, LANES):
        least = min(least, (<const real*> &lowest)[i])
        weight = max(weight, (<const real*> &highest)[i])
    if not weight > 0:
        return INFINITY
    floor_ = least if weight == 1 else least - log_positive(max(<double> weight, 1e-300))
    return <float> (floor_ - 1e-6 * fabs(floor_) - 1e-3)


cdef inline bint normalize_groups(
    Tile* t, const Regions* job, Lists* lists, Py_ssize_t first, Py_ssize_t at, Py_ssize_t group, Py_ssize_t* tally,
    Py_ssize_t K,
) noexcept nogil:
    """Replace log-probabilities by weighted responsibilities, drop pairs, renew bounds, and list the pairs that count.

    See `normalize` in tile.pxd. Return whether a sample has density 0.
    """
    cdef Py_ssize_t n_groups = (t.n_panels + GROUP_PANELS - 1) // GROUP_PANELS, g, i, k, p, n
    cdef bint bad = False
    clear(&lists.counting, K)
    for g in range(n_groups):
        n = lists.evaluated.n_of_panel[g * GROUP_PANELS]
        for i in range(n):
            lists.nearest[i] = -INFINITY
        for p in range(g * GROUP_PANELS, g * GROUP_PANELS + group_panels(t, g)):
            normalize_panel(t, job, lists, p, K)
            if job.sort:
                rank(t, job, lists, first, at, p, K)
            bad = bad or density_is_zero(t, p)
        for i in range(n):
            if lists.nearest[i] == INFINITY:    # a bound is of no use until the pair does not count any more
                tally[1] += 1
            elif job.bounds != NULL:
                k = lists.evaluated.components[g * GROUP_PANELS * K + i]
                job.bounds[(group + g) * K + k] = byte_of(job, k, lists.nearest[i], K)
    return bad


cdef inline bint density_is_zero(const Tile* t, Py_ssize_t p) noexcept nogil:
    """Tell whether a sample of the panel has density 0"""
    cdef const vec* peak = <const vec*> (t.peak + p * WIDTH)
    return not vec_sum((peak[0] + peak[1]) * <real> 0) == 0


cdef inline real largest(vec a, vec b) noexcept nogil:
    """Return the largest element of two vectors, or NaN if one is NaN"""
    # Where an element is NaN, a comparison is false, and the NaN is taken; it stays.
    cdef vec most = vec_if_less(a, b, b, a)
    cdef Py_ssize_t i
    cdef real found
    most = most + (a + b) * <real> 0
    found = (<const real*> &most)[0]
    for i in range(1, LANES):
        if not (<const real*> &most)[i] <= found:
            found = (<const real*> &most)[i]
    return found


cdef inline unsigned char byte_of(const Regions* job, Py_ssize_t k, real log_prob, Py_ssize_t K) noexcept nogil:
    """Return the byte of the distance that belongs to a log-probability, rounded down"""
    cdef double constant = job.rows.mixture.log_constant[k]
    cdef double q = 2 * (constant - log_prob) * (1 - 8 * unit()) - 8 * unit() * fabs(constant), byte
    if not q > 0:
        return 0
    byte = job.to_byte[k] * sqrt(q) + job.to_byte[K + k]
    if not byte > 0:
        return 0
    return 255 if byte >= 255 else <unsigned char> <int> byte


cdef inline void normalize_panel(Tile* t, const Regions* job, Lists* lists, Py_ssize_t p, Py_ssize_t K) noexcept nogil:
    """Replace the log-probabilities of a panel by weighted responsibilities, and those that are dropped by 0.

    The components that count get the first slots of the panel.

    lists.nearest becomes infinity for a component that counts in the panel, and else at least its largest
    log-probability.
    """
    cdef vec peak0 = (<const vec*> (t.peak + p * WIDTH))[0], peak1 = (<const vec*> (t.peak + p * WIDTH))[1]
    cdef vec weight0 = (<const vec*> (t.weight + p * WIDTH))[0], weight1 = (<const vec*> (t.weight + p * WIDTH))[1]
    cdef vec total0, total1, log_prob0, log_prob1, value0, value1, size0, size1, square, smallest, one = vec_set(1)
    cdef Py_ssize_t i, k, n = lists.evaluated.n_of_panel[p], slot = lists.evaluated.first[p], n_counting = 0
    cdef real constant, most
    cdef real log_noise = job.rows.mixture.log_noise
    cdef real total[WIDTH]
    cdef vec* r
    total0 = total1 = vec_set(0)
    if log_noise > -INFINITY:
        total0 = exp_nonpositive(vec_set(log_noise) - peak0)
        total1 = exp_nonpositive(vec_set(log_noise) - peak1)
    for i in range(n):
        k = lists.evaluated.components[p * K + i]
        r = <vec*> (t.r + (slot + i) * WIDTH)
        constant = job.rows.mixture.log_constant[k]
        smallest = vec_set(job.smallest[k])
        log_prob0 = r[0]
        log_prob1 = r[1]
        value0 = exp_nonpositive(log_prob0 - peak0)
        value1 = exp_nonpositive(log_prob1 - peak1)
        square = (constant - log_prob0) * <real> 2
        size0 = value0 * vec_if_less(square, one, one, square) * weight0
        square = (constant - log_prob1) * <real> 2
        size1 = value1 * vec_if_less(square, one, one, square) * weight1
        if vec_any_less(smallest, size0) or vec_any_less(smallest, size1):
            value0 = vec_if_less(smallest, size0, value0, vec_set(0))
            value1 = vec_if_less(smallest, size1, value1, vec_set(0))
            total0 = total0 + value0
            total1 = total1 + value1
            if n_counting < i:
                memcpy(t.distance + (slot + n_counting) * WIDTH, t.distance + (slot + i) * WIDTH, WIDTH * sizeof(real))
            r = <vec*> (t.r + (slot + n_counting) * WIDTH)
            r[0] = value0
            r[1] = value1
            lists.nearest[i] = INFINITY
            add_pair(&lists.counting, p, k, slot + n_counting, K)
            n_counting += 1
        elif job.bounds != NULL:
            most = largest(log_prob0, log_prob1)
            if not most <= lists.nearest[i]:
                lists.nearest[i] = most
    # Where the weight is 0, perhaps no component was evaluated.
    (<vec*> (t.peak + p * WIDTH))[0] = vec_if_less(vec_set(0), weight0, peak0, vec_set(0))
    (<vec*> (t.peak + p * WIDTH))[1] = vec_if_less(vec_set(0), weight1, peak1, vec_set(0))
    total0 = vec_if_less(vec_set(0), total0, total0, one)
    total1 = vec_if_less(vec_set(0), total1, total1, one)
    (<vec*> total)[0] = total0
    (<vec*> total)[1] = total1
    for i in range(WIDTH):
        t.total[p * WIDTH + i] = total[i]
    total0 = weight0 / total0
    total1 = weight1 / total1
    for i in range(n_counting):
        r = <vec*> (t.r + (slot + i) * WIDTH)
        r[0] = r[0] * total0
        r[1] = r[1] * total1


cdef inline void rank(
    const Tile* t, const Regions* job, Lists* lists, Py_ssize_t first, Py_ssize_t at, Py_ssize_t p, Py_ssize_t K,
) noexcept nogil:
    """Keep what the samples of a panel are sorted by, after `normalize_panel`"""
    # The keys are the component with the largest responsibility, or K if the weight is 0; how many components count;
    # and twice the distance in nats of the peak from its largest value, cut off at 255. They depend only on pairs that
    # count and on the peak, hence not on what else was evaluated. The component is stored as a real, so that one
    # comparison selects it and its responsibility.
    cdef vec best[2]
    cdef vec number[2]
    cdef vec high[2]
    cdef vec value, label, one = vec_set(1)
    cdef Py_ssize_t i, v, k, row
    cdef real fall
    for v in range(2):
        best[v] = number[v] = high[v] = vec_set(0)
    for i in range(lists.counting.n_of_panel[p]):
        k = lists.counting.components[p * K + i]
        label = vec_set(<real> k)
        for v in range(2):
            value = (<const vec*> (t.r + (lists.counting.first[p] + i) * WIDTH))[v]
            number[v] = number[v] + vec_if_less(vec_set(0), value, one, vec_set(0))
            best[v] = vec_if_less(high[v], value, label, best[v])
            high[v] = vec_if_less(high[v], value, value, high[v])
    for i in range(min(<Py_ssize_t> WIDTH, t.n_samples - p * WIDTH)):
        row = job.index[first + at + p * WIDTH + i]
        lists.place[row] = <unsigned short> ((at + p * WIDTH + i) // GROUP)
        lists.best[row] = <unsigned short> K
        lists.number[row] = lists.fall[row] = 0
        if t.weight[p * WIDTH + i] > 0:
            k = <Py_ssize_t> (<const real*> best)[i]
            fall = 2 * (job.rows.mixture.log_constant[k] - t.peak[p * WIDTH + i])
            lists.best[row] = <unsigned short> k
            lists.number[row] = <unsigned short> (<const real*> number)[i]
            lists.fall[row] = <unsigned short> <int> (255 if fall > 255 else fall if fall > 0 else 0)


cdef inline void leave_out(
    Lists* lists, const Regions* job, Py_ssize_t first, Py_ssize_t at, Py_ssize_t n, Py_ssize_t K,
) noexcept nogil:
    """Put rows of weight 0 after all others"""
    cdef Py_ssize_t i, row
    for i in range(at, at + n):
        row = job.index[first + i]
        lists.place[row] = <unsigned short> (i // GROUP)
        lists.best[row] = <unsigned short> K
        lists.number[row] = lists.fall[row] = 0


cdef inline void sort_region(
    const Regions* job, Lists* lists, Py_ssize_t first, Py_ssize_t n, Py_ssize_t K,
) noexcept nogil:
    """Sort the rows of a region by the keys of `rank`, and give their bounds to the new groups"""
    # Stable counting sorts, by the last key first. A new group takes the least of the bounds of the groups that its
    # rows were in.
    cdef Py_ssize_t i, g, k, n_groups = (n + GROUP - 1) // GROUP
    cdef unsigned short* index = job.index + first
    cdef unsigned char* new
    cdef const unsigned char* old
    for i in range(n):
        index[i] = <unsigned short> i
    counting_sort(index, lists.order, lists.fall, lists.bins, n, 255)
    counting_sort(lists.order, index, lists.number, lists.bins, n, K)
    counting_sort(index, lists.order, lists.best, lists.bins, n, K)
    memcpy(index, lists.order, n * sizeof(short))
    if job.bounds == NULL:
        return
    memcpy(lists.bounds, job.bounds + first // GROUP * K, n_groups * K)
    memcpy(lists.floors, job.floors + first // GROUP, n_groups * sizeof(float))
    for g in range(n_groups):
        new = job.bounds + (first // GROUP + g) * K
        memset(new, 255, K)
        job.floors[first // GROUP + g] = INFINITY
        for i in range(g * GROUP, min((g + 1) * GROUP, n)):
            old = lists.bounds + lists.place[index[i]] * K
            for k in range(K):
                new[k] = old[k] if old[k] < new[k] else new[k]
            job.floors[first // GROUP + g] = min(
                job.floors[first // GROUP + g], lists.floors[lists.place[index[i]]]
            )


cdef inline void counting_sort(
    const unsigned short* source, unsigned short* target, const unsigned short* key, Py_ssize_t* bins,
    Py_ssize_t n, Py_ssize_t K,
) noexcept nogil:
    """target = source sorted by the key of each row, a number from 0 to K"""
    cdef Py_ssize_t i, k
    for k in range(K + 2):
        bins[k] = 0
    for i in range(n):
        bins[key[i] + 1] += 1
    for k in range(K):
        bins[k + 1] += bins[k]
    for i in range(n):
        k = key[source[i]]
        target[bins[k]] = source[i]
        bins[k] += 1
