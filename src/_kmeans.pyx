"""k-means for the start of EM: Lloyd's iteration and the distances of k-means++ seeding, on the tiles of the E-step.

Built once for each element type and instruction set, as _expectation.pyx. Nothing is checked here.
"""
from libc.math cimport INFINITY
from libc.string cimport memset

from layout cimport CHECKS, DLANES, EXTENT, OK, Tile, dvec, real, vec, vec_if_less, vec_set, WIDTH
from panel cimport split
from tile cimport load_tile, squared_distance, tile_in, tile_samples, tile_size, two_squared_distances
from chunks cimport run_chunks


cdef struct Lloyd:
    const real* X
    const double* weight        # or NULL
    const double* centers
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
    long long[::1] labels,              # OUT   (n,) nearest center, the first of equals
    real[::1] distances,                # OUT   (n,) squared distance to it, or empty
    double[::1] sums,                   # INOUT added to: number of changed labels, weights (K,), weighted sums
                                        #       of x - center (K, D)
    double[:, ::1] partial,             # TMP   (n_threads, 2 + K + K D)
    real[:, ::1] scratch,               # TMP   (n_threads, tile_size + 2 K D)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """Assign each row to its nearest center and sum up what moves the centers"""
    cdef Lloyd job
    cdef Py_ssize_t K = centers.shape[0], D = centers.shape[1], tile_reals = tile_size(K, D), answer
    if CHECKS and (
        labels.shape[0] < X.shape[0] or (distances.shape[0] and distances.shape[0] < X.shape[0])
        or sums.shape[0] < 1 + K + K * D or partial.shape[0] < n_threads or partial.shape[1] != sums.shape[0]
        or scratch.shape[0] < n_threads or scratch.shape[1] < tile_reals + 2 * K * D or tickets.shape[0] < n_threads + 2
    ):
        return EXTENT
    split(&centers[0, 0], &scratch[0, tile_reals], K * D)
    job.X = &X[0, 0]
    job.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.centers = &centers[0, 0]
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
    cdef const Lloyd* job = <const Lloyd*> argument
    cdef Py_ssize_t K = job.K, D = job.D, rows = tile_samples(K, D), row = chunk * job.chunk_rows, stop, n, p, i, k
    cdef Tile tile = tile_in(scratch, K, D)
    cdef real distance[2 * WIDTH]
    cdef vec best[2]
    cdef vec label[2]           # as reals, so that one comparison serves both
    cdef const double* weight
    cdef Py_ssize_t changed = 0
    cdef double w
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
            while k + 2 <= K:
                two_squared_distances(
                    tile.x + p * D * WIDTH, job.centers_hi + k * D, job.centers_lo + k * D, 1, 1, distance, D
                )
                keep_nearest(distance, best, label, k)
                keep_nearest(distance + WIDTH, best, label, k + 1)
                k += 2
            if k < K:
                squared_distance(tile.x + p * D * WIDTH, job.centers_hi + k * D, job.centers_lo + k * D, 1, distance, D)
                keep_nearest(distance, best, label, k)
            for i in range(min(n - p * WIDTH, <Py_ssize_t> WIDTH)):
                k = <Py_ssize_t> (<const real*> label)[i]
                w = <double> tile.weight[p * WIDTH + i]
                changed += job.labels[row + p * WIDTH + i] != k
                sums[1 + k] += w
                job.labels[row + p * WIDTH + i] = k
                if job.distances != NULL:
                    job.distances[row + p * WIDTH + i] = (<const real*> best)[i]
                add_difference(
                    job.X + (row + p * WIDTH + i) * D, job.centers + k * D, w, sums + 1 + K + k * D, D
                )
        row += n
    sums[0] = <double> changed
    return OK


cdef inline void add_difference(
    const real* x, const double* center, double weight, double* out, Py_ssize_t D,
) noexcept nogil:
    """out += weight (x - center)"""
    cdef Py_ssize_t d = 0
    if sizeof(real) == 8:
        while d + DLANES <= D:
            (<dvec*> (out + d))[0] = (<dvec*> (out + d))[0] + weight * (
                (<const dvec*> (x + d))[0] - (<const dvec*> (center + d))[0]
            )
            d += DLANES
    while d < D:
        out[d] += weight * (<double> x[d] - center[d])
        d += 1


cdef inline void keep_nearest(const real* distance, vec* best, vec* label, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t v
    cdef vec d
    for v in range(2):
        d = (<const vec*> distance)[v]
        label[v] = vec_if_less(d, best[v], vec_set(<real> k), label[v])
        best[v] = vec_if_less(d, best[v], d, best[v])


cdef struct Seeding:
    const real* X
    const double* weight        # or NULL
    const real* candidates
    real* nearest
    double* chunk_sums          # or NULL: then only potentials
    Py_ssize_t n_samples
    Py_ssize_t chunk_rows
    Py_ssize_t n_candidates
    Py_ssize_t D


def seeding_potentials(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty
    const real[:, ::1] candidates,      # IN    (n_candidates, D) rows of X, and as many rows of zeros below
    real[::1] nearest,                  # INOUT (n,) squared distance to the nearest center so far
    double[::1] chunk_sums,             # OUT   (n_chunks,) weighted sums of the new `nearest`, or empty
    double[::1] potentials,             # INOUT (n_candidates,) added to
    double[:, ::1] partial,             # TMP   (n_threads, n_candidates)
    real[:, ::1] scratch,               # TMP   (n_threads, tile_size of n_candidates)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    Py_ssize_t chunk_rows,
    int n_threads,
):
    """The weighted sum of min(nearest, distance to a candidate) for each; with chunk_sums, take the only candidate"""
    cdef Seeding job
    cdef Py_ssize_t L = potentials.shape[0], D = X.shape[1], answer
    cdef Py_ssize_t n_chunks = (X.shape[0] + chunk_rows - 1) // chunk_rows
    if CHECKS and (
        candidates.shape[0] < 2 * L or nearest.shape[0] < X.shape[0]
        or (chunk_sums.shape[0] and (chunk_sums.shape[0] < n_chunks or L != 1))
        or partial.shape[0] < n_threads or partial.shape[1] != L
        or scratch.shape[0] < n_threads or scratch.shape[1] < tile_size(L, D) or tickets.shape[0] < n_threads + 2
    ):
        return EXTENT
    job.X = &X[0, 0]
    job.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.candidates = &candidates[0, 0]
    job.nearest = &nearest[0]
    job.chunk_sums = &chunk_sums[0] if chunk_sums.shape[0] else NULL
    job.n_samples = X.shape[0]
    job.chunk_rows = chunk_rows
    job.n_candidates = L
    job.D = D
    with nogil:
        answer = run_chunks(
            seeding_chunk, &job, n_chunks, &potentials[0], &partial[0, 0], L,
            &scratch[0, 0], scratch.shape[1], &tickets[0], n_threads,
        )
    return answer


cdef Py_ssize_t seeding_chunk(const void* argument, Py_ssize_t chunk, double* sums, real* scratch) noexcept nogil:
    cdef const Seeding* job = <const Seeding*> argument
    cdef Py_ssize_t L = job.n_candidates, D = job.D, rows = tile_samples(L, D), row = chunk * job.chunk_rows
    cdef Py_ssize_t stop, n, p, i, l, m
    cdef Tile tile = tile_in(scratch, L, D)
    cdef real distance[WIDTH]
    cdef real nearest
    cdef const double* weight
    cdef int failed
    cdef double s
    stop = min(row + job.chunk_rows, job.n_samples)
    memset(sums, 0, L * sizeof(double))
    while row < stop:
        n = min(rows, stop - row)
        weight = job.weight
        if weight != NULL:
            weight += row
        failed = load_tile(&tile, job.X + row * D, weight, n, L, D)
        if failed:
            return failed
        for p in range(tile.n_panels):
            m = min(n - p * WIDTH, <Py_ssize_t> WIDTH)
            for l in range(L):
                squared_distance(
                    tile.x + p * D * WIDTH, job.candidates + l * D, job.candidates + (L + l) * D, 1, distance, D
                )
                s = 0
                for i in range(m):
                    nearest = job.nearest[row + p * WIDTH + i]
                    nearest = distance[i] if distance[i] < nearest else nearest
                    s += <double> tile.weight[p * WIDTH + i] * <double> nearest
                    if job.chunk_sums != NULL:
                        job.nearest[row + p * WIDTH + i] = nearest
                sums[l] += s
        row += n
    if job.chunk_sums != NULL:
        job.chunk_sums[chunk] = sums[0]
    return OK
