"""k-means for the start of EM: Lloyd's iteration, and the distances that k-means++ draws by.

It works on the tiles of the E-step. This file is compiled once for each element type and instruction set. Its functions
do not check their arguments.
"""
from libc.math cimport INFINITY, sqrt
from libc.string cimport memset

from layout cimport (
    CHECKS, DLANES, EXTENT, LANES, OK, Tile, dvec, dvec_set, dvec_sum, real, vec, vec_if_less, vec_product, WIDTH,
)
from nearest cimport Nearest, ROWS, nearest_two, pack_centers, packed_vectors, prefetch_row, vec_sqrt
from tile cimport load_tile, squared_distances, tile_in, tile_samples, tile_size
from chunks cimport run_chunks

cdef extern from "vec.h" nogil:
    const real REAL_EPS
    const real REAL_MIN


cdef struct Lloyd:
    const real* X
    const double* weight        # or NULL
    const double* origins
    const real* centers_hi
    const real* centers_lo
    const real* drops
    long long* labels
    real* gaps
    real* distances             # or NULL
    real floor
    Py_ssize_t n_samples
    Py_ssize_t chunk_rows
    Py_ssize_t K
    Py_ssize_t D


def packed_size(Py_ssize_t K, Py_ssize_t D):
    """Return the number of reals of scratch that lloyd_step needs for the centers"""
    return 2 * packed_vectors(K) * LANES * D


def lloyd_step(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty
    const double[:, ::1] centers,       # IN    (K, D)
    const double[:, ::1] before,        # IN    (K, D) the centers of the last step; if empty, all rows are evaluated
    const double[:, ::1] origins,       # IN    (K, D) points near the clusters, the same for all steps of a run
    long long[::1] labels,              # INOUT (n,) in: labels of the last step, or -1; out: nearest center, the first
                                        #       one if several are equal
    real[::1] gaps,                     # INOUT (n,) lower bounds on the gaps; -INFINITY before the first step, but
                                        #       INFINITY for rows of weight 0
    real[::1] distances,                # OUT   (n,) squared distance to the nearest center, or empty; it needs an
                                        #       empty `before`
    double[::1] sums,                   # INOUT (1 + K + K D,) added to: the number of labels that change, then the
                                        #       changes of the clusters' weights and sums of weight (x - origin)
    double[:, ::1] partial,             # TMP   (n_threads, 1 + K + K D)
    real[::1] packed,                   # TMP   (packed_size,)
    real[::1] drops,                    # TMP   (1 + K,)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """Assign each row of positive weight to its nearest center, and update the sums from which the centers follow.

    The labels of other rows are not changed.

    The gap of a sample is its distance to the second nearest center minus that to the nearest one (Hamerly 2010). When
    the centers move, it falls by no more than the move of the nearest center and the longest move of another one. As
    long as the bound stays positive the label cannot change, and the sample is skipped. Distances are computed with a
    relative error below eps (D + 6) / 4. The bound is lowered by eps (D + 8) times both distances, and the drops are
    enlarged as much. So the distances of a sample that is skipped would give the same label in spite of their errors.

    A row whose label changes is subtracted from the sums of one cluster and added to those of another. After the first
    steps such rows are few. To sum over all rows would take a third of the time.
    """
    cdef Lloyd job
    cdef Py_ssize_t K = centers.shape[0], D = centers.shape[1], size = packed_vectors(K) * D * LANES, answer
    if CHECKS and (
        origins.shape[0] < K or origins.shape[1] != D or labels.shape[0] < X.shape[0]
        or (before.shape[0] and (before.shape[0] < K or before.shape[1] != D))
        or drops.shape[0] < 1 + K or gaps.shape[0] < X.shape[0]
        or (distances.shape[0] and distances.shape[0] < X.shape[0])
        or sums.shape[0] < 1 + K + K * D or partial.shape[0] < n_threads or partial.shape[1] != sums.shape[0]
        or packed.shape[0] < 2 * size or tickets.shape[0] < n_threads + 2
    ):
        return EXTENT
    pack_centers(&centers[0, 0], &packed[0], &packed[size], K, D)
    bound_drops(&centers[0, 0], &before[0, 0] if before.shape[0] else NULL, &drops[0], K, D)
    job.X = &X[0, 0]
    job.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.origins = &origins[0, 0]
    job.centers_hi = &packed[0]
    job.centers_lo = &packed[size]
    job.drops = &drops[0]
    job.labels = &labels[0]
    job.gaps = &gaps[0]
    job.distances = &distances[0] if distances.shape[0] else NULL
    # Squares below the smallest normal number have no relative accuracy.
    job.floor = <real> sqrt(4 * D * <double> REAL_MIN)
    job.n_samples = X.shape[0]
    job.chunk_rows = chunk_rows
    job.K = K
    job.D = D
    with nogil:
        answer = run_chunks(
            lloyd_chunk, &job, (job.n_samples + chunk_rows - 1) // chunk_rows, &sums[0], &partial[0, 0],
            sums.shape[0], NULL, 0, &tickets[0], n_threads,
        )
    return answer


cdef void bound_drops(
    const double* centers,  # IN  (K, D)
    const double* before,   # IN  (K, D), or NULL
    real* drops,            # OUT (1 + K,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """drops[1 + k] >= how much the gap of a sample of cluster k falls, or INFINITY if before is NULL; drops[0] = 0"""
    # A center is read as hi + lo with a relative error of eps**2, which is added to its move.
    cdef double longest = 0, second = 0, move, size, a
    cdef Py_ssize_t k, d, farthest = 0
    cdef double eps = REAL_EPS, enlarge = 1 + (D + 12) * eps
    drops[0] = 0
    for k in range(K):
        move = size = 0
        for d in range(D if before != NULL else 0):
            a = centers[k * D + d] - before[k * D + d]
            move += a * a
            size += centers[k * D + d] * centers[k * D + d] + before[k * D + d] * before[k * D + d]
        move = sqrt(move) + 4 * eps * eps * sqrt(size)
        drops[1 + k] = <real> (move * enlarge)
        if move > longest:
            second, longest, farthest = longest, move, k
        elif move > second:
            second = move
    for k in range(K):
        drops[1 + k] = <real> ((<double> drops[1 + k] + (second if k == farthest else longest)) * enlarge)
        if before == NULL:
            drops[1 + k] = INFINITY


cdef enum:
    LISTED = 256    # rows whose bounds are updated at once


cdef Py_ssize_t lloyd_chunk(const void* argument, Py_ssize_t chunk, double* sums, real* scratch) noexcept nogil:
    """Do a step of Lloyd's iteration for one chunk of rows"""
    cdef const Lloyd* job = <const Lloyd*> argument
    cdef Py_ssize_t K = job.K, D = job.D, row = chunk * job.chunk_rows, stop, i, n, first, left
    cdef Py_ssize_t rows[LISTED + ROWS]    # the rows that have to be evaluated, in order
    cdef Py_ssize_t n_rows = 0, changed = 0
    cdef real gap, shrink = 1 - 2 * REAL_EPS, floor = job.floor
    stop = min(row + job.chunk_rows, job.n_samples)
    memset(sums, 0, (1 + K + K * D) * sizeof(double))
    while row < stop:
        n = min(<Py_ssize_t> LISTED, stop - row)
        for i in range(row, row + n):
            gap = job.gaps[i] * shrink - job.drops[1 + job.labels[i]]
            job.gaps[i] = gap
            rows[n_rows] = i        # without a branch, which would be hard to predict
            n_rows += 1 - <Py_ssize_t> (gap > floor)
        row += n
        first = 0
        while n_rows - first >= ROWS or (row == stop and first < n_rows):
            n = min(n_rows - first, <Py_ssize_t> ROWS)
            for i in range(first + n, min(first + n + ROWS, n_rows)):
                prefetch_row(job.X + rows[i] * D, D)
            changed += evaluate(job, rows + first, n, sums + 1)
            first += n
        left = n_rows - first
        for i in range(left):
            rows[i] = rows[first + i]
        n_rows = left
    sums[0] = <double> changed
    return OK


cdef inline Py_ssize_t evaluate(const Lloyd* job, const Py_ssize_t* rows, Py_ssize_t n, double* sums) noexcept nogil:
    """Assign up to ROWS rows to their nearest centers; return the number of labels that change"""
    cdef Py_ssize_t D = job.D, i, row, k, before, changed = 0
    cdef const real* x[ROWS]
    cdef Nearest found
    cdef real gap[ROWS]
    cdef vec far, near
    cdef real margin = (D + 8) * REAL_EPS
    cdef double weight
    for i in range(ROWS):
        x[i] = job.X + rows[i if i < n else n - 1] * D
    nearest_two(x, job.centers_hi, job.centers_lo, &found, job.K, D)
    for i in range(ROWS // LANES):
        far = vec_sqrt((<const vec*> found.second)[i])
        near = vec_sqrt((<const vec*> found.best)[i])
        (<vec*> gap)[i] = far * <real> (1 - margin) - near * <real> (1 + margin)
    for i in range(n):
        row = rows[i]
        # A square that overflowed does not tell how far the center is.
        job.gaps[row] = gap[i] if found.second[i] < INFINITY else -INFINITY
        if job.distances != NULL:
            job.distances[row] = found.best[i]
        k = <Py_ssize_t> found.label[i]
        before = job.labels[row]
        if k != before:
            changed += 1
            job.labels[row] = k
            # The weights are rounded to the type of the samples, as in the E-step.
            weight = 1 if job.weight == NULL else <double> <real> job.weight[row]
            add_sample(job, row, k, weight, sums)
            if before >= 0:
                add_sample(job, row, before, -weight, sums)
    return changed


cdef inline void add_sample(
    const Lloyd* job, Py_ssize_t n, Py_ssize_t k, double weight, double* sums,
) noexcept nogil:
    """Add row n to the weight and the sum of cluster k"""
    cdef Py_ssize_t D = job.D, d = 0
    cdef const real* x = job.X + n * D
    cdef const double* origin = job.origins + k * D
    cdef double* out = sums + job.K + k * D
    sums[k] += weight
    if sizeof(real) == 8:
        while d + DLANES <= D:
            (<dvec*> (out + d))[0] = (<dvec*> (out + d))[0] + weight * (
                (<const dvec*> (x + d))[0] - (<const dvec*> (origin + d))[0]
            )
            d += DLANES
    while d < D:
        out[d] += weight * (<double> x[d] - origin[d])
        d += 1


def move_centers(
    const double[::1] sums,             # IN    (K + K D,) weights and sums of weight (x - origin), see lloyd_step
    const double[:, ::1] origins,       # IN    (K, D)
    const double[:, ::1] centers,       # IN    (K, D)
    double[::1] most,                   # INOUT (K,) the largest weight that each cluster has had
    double[:, ::1] moved,               # OUT   (K, D) means of the clusters; the mean of an empty one is its center
):
    """Compute the means of the clusters; return (status, number of empty clusters, sum of the squared moves).

    The status is 1 if a cluster has lost nearly all of its weight, so that the rounding errors of its sum, which are
    eps times its largest weight, matter. Then all sums have to be computed anew.
    """
    cdef Py_ssize_t K = centers.shape[0], D = centers.shape[1], k, d, empty = 0
    cdef double weight, move, total = 0
    if CHECKS and (
        sums.shape[0] < K + K * D or origins.shape[0] < K or origins.shape[1] != D or most.shape[0] < K
        or moved.shape[0] < K or moved.shape[1] != D
    ):
        return EXTENT, 0, 0.0
    for k in range(K):
        weight = sums[k]
        if weight < 1e-3 * most[k]:
            return 1, 0, 0.0
        most[k] = max(most[k], weight)
        empty += not weight > 0
        for d in range(D):
            moved[k, d] = origins[k, d] + sums[K + k * D + d] / weight if weight > 0 else centers[k, d]
            move = moved[k, d] - centers[k, d]
            total += move * move
    return OK, empty, total


cdef struct Seeding:
    const real* X
    const double* weight        # or NULL
    const real* points
    real* nearest
    double* chunk_sums
    Py_ssize_t n_samples
    Py_ssize_t chunk_rows
    Py_ssize_t n_candidates
    Py_ssize_t D


def seeding_step(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty
    const real[:, ::1] points,          # IN    (2 (1 + n_candidates), D) a new center, and candidates for the next one;
                                        #       each point is given as hi + lo: first the points, then their low
                                        #       parts, which are 0
    real[::1] nearest,                  # INOUT (n,) squared distance to the nearest center
    double[:, ::1] chunk_sums,          # OUT   (n_chunks, n_candidates), with at least one candidate
    real[:, ::1] scratch,               # TMP   (n_threads, tile_size for K = 1)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """Update `nearest` for a new center, and compute how good each candidate for the next center is.

    For each chunk and candidate this is the sum over samples of weight min(nearest, squared distance to the candidate).
    """
    cdef Seeding job
    cdef Py_ssize_t L = chunk_sums.shape[1], D = X.shape[1], answer
    cdef Py_ssize_t n_chunks = (X.shape[0] + chunk_rows - 1) // chunk_rows
    if CHECKS and (
        points.shape[0] < 2 * (1 + L) or nearest.shape[0] < X.shape[0] or chunk_sums.shape[0] < n_chunks
        or scratch.shape[0] < n_threads or scratch.shape[1] < tile_size(1, D) or tickets.shape[0] < n_threads + 2
    ):
        return EXTENT
    job.X = &X[0, 0]
    job.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.points = &points[0, 0]
    job.nearest = &nearest[0]
    job.chunk_sums = &chunk_sums[0, 0]
    job.n_samples = X.shape[0]
    job.chunk_rows = chunk_rows
    job.n_candidates = L
    job.D = D
    with nogil:
        answer = run_chunks(
            seeding_chunk, &job, n_chunks, NULL, NULL, 0, &scratch[0, 0], scratch.shape[1], &tickets[0], n_threads,
        )
    return answer


cdef Py_ssize_t seeding_chunk(const void* argument, Py_ssize_t chunk, double* sums, real* scratch) noexcept nogil:
    """Do seeding_step for one chunk of rows"""
    cdef const Seeding* job = <const Seeding*> argument
    cdef Py_ssize_t L = job.n_candidates, D = job.D, rows = tile_samples(1, D), row = chunk * job.chunk_rows
    cdef Py_ssize_t stop, n, l
    cdef Tile tile = tile_in(scratch, 1, D)
    cdef const double* weight
    cdef int failed
    sums = job.chunk_sums + chunk * L
    stop = min(row + job.chunk_rows, job.n_samples)
    memset(sums, 0, L * sizeof(double))
    while row < stop:
        n = min(rows, stop - row)
        weight = job.weight
        if weight != NULL:
            weight += row
        failed = load_tile(&tile, job.X + row * D, weight, n, 1, D)
        if failed:
            return failed
        take_center(&tile, job.points, job.points + (1 + L) * D, job.nearest + row, D)
        l = 0
        while l + 4 <= L:
            add_potentials(&tile, job.points + (1 + l) * D, job.points + (2 + L + l) * D, sums + l, 4, D)
            l += 4
        while l < L:
            add_potentials(&tile, job.points + (1 + l) * D, job.points + (2 + L + l) * D, sums + l, 1, D)
            l += 1
        row += n
    return OK


cdef inline void take_center(
    Tile* t, const real* hi, const real* lo, real* nearest, Py_ssize_t D,
) noexcept nogil:
    """nearest = min(nearest, squared distance to the center); t.peak gets a copy, with 0 in lanes without a sample"""
    cdef real distance[WIDTH]
    cdef Py_ssize_t p, i, at
    for p in range(t.n_panels):
        squared_distances(t.x + p * D * WIDTH, hi, lo, NULL, distance, 1, D)
        for i in range(WIDTH):
            at = p * WIDTH + i
            t.peak[at] = 0
            if at < t.n_samples:
                t.peak[at] = nearest[at] = distance[i] if distance[i] < nearest[at] else nearest[at]


cdef inline void add_potentials(
    const Tile* t, const real* hi, const real* lo, double* sums, Py_ssize_t n, Py_ssize_t D,
) noexcept nogil:
    """sums[c] += sum of weight min(nearest, squared distance to point c) for n points; n is known at compile time"""
    cdef dvec total[4]
    cdef vec distance[8]
    cdef const vec* nearest
    cdef const vec* weight
    cdef Py_ssize_t p, c, v
    for c in range(n):
        total[c] = dvec_set(0)
    for p in range(t.n_panels):
        squared_distances(t.x + p * D * WIDTH, hi, lo, NULL, <real*> distance, n, D)
        nearest = <const vec*> (t.peak + p * WIDTH)
        weight = <const vec*> (t.weight + p * WIDTH)
        for c in range(n):
            for v in range(2):
                total[c] = total[c] + vec_product(
                    weight[v], vec_if_less(distance[2 * c + v], nearest[v], distance[2 * c + v], nearest[v])
                )
    for c in range(n):
        sums[c] += dvec_sum(total[c])
