"""k-means for the start of EM: Lloyd's iteration, and the distances that k-means++ draws by.

It works on the tiles of the E-step. This file is compiled once for each element type and instruction set. Its functions
do not check their arguments.
"""
from libc.math cimport INFINITY
from libc.string cimport memset

from layout cimport (
    CHECKS, DLANES, EXTENT, OK, Tile, dvec, dvec_set, dvec_sum, real, vec, vec_if_less, vec_product, vec_set, WIDTH,
)
from panel cimport split
from tile cimport load_tile, squared_distances, tile_in, tile_samples, tile_size
from chunks cimport run_chunks


cdef struct Lloyd:
    const real* X
    const double* weight        # or NULL
    const double* origins
    const real* centers_hi
    const real* centers_lo
    long long* labels
    real* distances             # or NULL
    Py_ssize_t n_samples
    Py_ssize_t chunk_rows
    Py_ssize_t K
    Py_ssize_t D


def lloyd_step(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty
    const double[:, ::1] centers,       # IN    (K, D)
    const double[:, ::1] origins,       # IN    (K, D) points near the clusters, the same for all steps of a run
    long long[::1] labels,              # INOUT (n,) in: labels of the last step, or -1; out: nearest center, the first
                                        #       one if several are equal
    real[::1] distances,                # OUT   (n,) squared distance to the nearest center, or empty
    double[::1] sums,                   # INOUT (1 + K + K D,) added to: the number of labels that change, then the
                                        #       changes of the clusters' weights and sums of weight (x - origin)
    double[:, ::1] partial,             # TMP   (n_threads, 1 + K + K D)
    real[:, ::1] scratch,               # TMP   (n_threads, tile_size + 2 K D)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """Assign each row of positive weight to its nearest center, and update the sums from which the centers follow.

    The labels of other rows are meaningless.

    A row whose label changes is subtracted from the sums of one cluster and added to those of another. After the first
    steps such rows are few. To sum over all rows would take a third of the time.
    """
    cdef Lloyd job
    cdef Py_ssize_t K = centers.shape[0], D = centers.shape[1], tile_reals = tile_size(K, D), answer
    if CHECKS and (
        origins.shape[0] < K or origins.shape[1] != D or labels.shape[0] < X.shape[0]
        or (distances.shape[0] and distances.shape[0] < X.shape[0])
        or sums.shape[0] < 1 + K + K * D or partial.shape[0] < n_threads or partial.shape[1] != sums.shape[0]
        or scratch.shape[0] < n_threads or scratch.shape[1] < tile_reals + 2 * K * D or tickets.shape[0] < n_threads + 2
    ):
        return EXTENT
    split(&centers[0, 0], &scratch[0, tile_reals], K * D)
    job.X = &X[0, 0]
    job.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.origins = &origins[0, 0]
    job.centers_hi = &scratch[0, tile_reals]
    job.centers_lo = job.centers_hi + K * D
    job.labels = &labels[0]
    job.distances = &distances[0] if distances.shape[0] else NULL
    job.n_samples = X.shape[0]
    job.chunk_rows = chunk_rows
    job.K = K
    job.D = D
    with nogil:
        answer = run_chunks(
            lloyd_chunk, &job, (job.n_samples + chunk_rows - 1) // chunk_rows, &sums[0], &partial[0, 0],
            sums.shape[0], &scratch[0, 0], scratch.shape[1], &tickets[0], n_threads,
        )
    return answer


cdef Py_ssize_t lloyd_chunk(const void* argument, Py_ssize_t chunk, double* sums, real* scratch) noexcept nogil:
    """Do a step of Lloyd's iteration for one chunk of rows"""
    cdef const Lloyd* job = <const Lloyd*> argument
    cdef Py_ssize_t K = job.K, D = job.D, rows = tile_samples(K, D), row = chunk * job.chunk_rows, stop, n, p, i, k
    cdef Py_ssize_t before
    cdef Tile tile = tile_in(scratch, K, D)
    cdef vec best[2]
    cdef vec label[2]           # stored as reals, so that one comparison selects both best and label
    cdef const double* weight
    cdef Py_ssize_t changed = 0
    cdef int failed
    stop = min(row + job.chunk_rows, job.n_samples)
    memset(sums, 0, (1 + K + K * D) * sizeof(double))
    while row < stop:
        n = min(rows, stop - row)
        weight = job.weight
        if weight != NULL:
            weight += row
        failed = load_tile(&tile, job.X + row * D, weight, n, K, D)
        if failed:
            return failed
        for p in range(tile.n_panels):
            best[0] = best[1] = vec_set(INFINITY)
            label[0] = label[1] = vec_set(0)
            k = 0
            while k + 4 <= K:
                nearest_of(tile.x + p * D * WIDTH, job, best, label, k, 4)
                k += 4
            while k < K:
                nearest_of(tile.x + p * D * WIDTH, job, best, label, k, 1)
                k += 1
            for i in range(p * WIDTH, min(n, (p + 1) * WIDTH)):
                k = <Py_ssize_t> (<const real*> label)[i - p * WIDTH]
                before = job.labels[row + i]
                if k != before:
                    changed += 1
                    job.labels[row + i] = k
                    add_sample(job, row + i, k, <double> tile.weight[i], sums + 1)
                    if before >= 0:
                        add_sample(job, row + i, before, -<double> tile.weight[i], sums + 1)
            if job.distances != NULL:
                for i in range(p * WIDTH, min(n, (p + 1) * WIDTH)):
                    job.distances[row + i] = (<const real*> best)[i - p * WIDTH]
        row += n
    sums[0] = <double> changed
    return OK


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


cdef inline void nearest_of(
    const real* x, const Lloyd* job, vec* best, vec* label, Py_ssize_t k, Py_ssize_t n,
) noexcept nogil:
    """Compare the samples of a panel with the centers k to k + n; n is known at compile time"""
    cdef real distance[4 * WIDTH]
    cdef Py_ssize_t c, v
    cdef vec d
    squared_distances(x, job.centers_hi + k * job.D, job.centers_lo + k * job.D, NULL, distance, n, job.D)
    for c in range(n):
        for v in range(2):
            d = (<const vec*> distance)[2 * c + v]
            label[v] = vec_if_less(d, best[v], vec_set(<real> (k + c)), label[v])
            best[v] = vec_if_less(d, best[v], d, best[v])


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
