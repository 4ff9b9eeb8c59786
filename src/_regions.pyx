"""The pass of EM that skips pairs of samples and components which do not count; see regions.pxd.

This file is compiled once for each element type and instruction set, like _expectation.pyx.
"""
from libc.string cimport memset

from layout cimport CHECKS, EXTENT, GROUP, OK, Change, real
from chunks cimport run_chunks
from covariance cimport FULL, EStep, e_step_of, skipping_step_of
from embedded cimport statistics_size
from panel cimport split
from prepared cimport mixture_in, prepared_size
from regions cimport Coding, Regions, accumulate_region, carry_bounds, region_buffers, region_scratch, step
from scores cimport Scores, bound_scores, n_bytes, score_region, score_scratch
from tile cimport negligible, size_of_tile


def region_sizes(Py_ssize_t region_rows, Py_ssize_t K, Py_ssize_t D):
    """Return (reals of scratch of one thread, samples that share a bound, the distance that a byte counts in first)"""
    return region_scratch(region_rows, K, D), GROUP, step()


def accumulate_regions(
    const real[:, ::1] X,               # IN    (n, D)
    const double[::1] sample_weight,    # IN    (n,), or empty if all weights are 1
    const real[::1] mixture,            # IN    from `prepare` of _expectation.pyx
    const double[:, ::1] shift,         # IN    (K, D) origin of the moments, or empty for the means of the mixture
    double[::1] statistics,             # INOUT added to; an array of two entries receives only the log-likelihood and
                                        #       the total weight
    double[:, ::1] partial,             # TMP   (n_threads, statistics)
    real[:, ::1] scratch,               # TMP   (n_threads, region_scratch)
    Py_ssize_t[::1] tickets,            # TMP   (n_threads + 2,)
    unsigned short[::1] index,          # INOUT (n,) order of the rows in each region
    unsigned char[:, ::1] bounds,       # INOUT (n_bounded, K) of the first groups; all pairs of others are evaluated
    float[::1] floors,                  # INOUT (n_bounded,)
    const float[:, ::1] decode,         # IN    (3, K) scale, offset and limit
    const real[::1] smallest,           # IN    (K,)
    const double[:, ::1] to_byte,       # IN    (2, K)
    const float[:, ::1] rescale,        # IN    (2, K), or empty
    Py_ssize_t[:, ::1] tallies,         # OUT   (n_regions, 2)
    bint sort,
    int covariance_type,
    Py_ssize_t region_rows,
    int n_threads,
):
    """Add the statistics of all rows; return OK, EXTENT, or a positive number if some row has density 0"""
    cdef Regions job
    cdef Py_ssize_t K = smallest.shape[0], D = X.shape[1], n = X.shape[0], size = statistics.shape[0]
    cdef Py_ssize_t tile_reals = size_of_tile(region_buffers(K, D), K, D), answer
    cdef Py_ssize_t n_regions = (n + region_rows - 1) // region_rows
    job.rows.covariance = e_step_of(covariance_type)
    job.step = skipping_step_of(covariance_type)
    if CHECKS and (
        (size != 2 and statistics_size(covariance_type, K, D) > size)
        or partial.shape[0] < n_threads or partial.shape[1] != size
        or scratch.shape[0] < n_threads or scratch.shape[1] < region_scratch(region_rows, K, D)
        or tickets.shape[0] < n_threads + 2 or index.shape[0] < n or tallies.shape[0] < n_regions
        or floors.shape[0] < bounds.shape[0] or bounds.shape[1] != K
        or decode.shape[1] != K or to_byte.shape[1] != K or (rescale.shape[0] and rescale.shape[1] != K)
    ):
        return EXTENT
    job.rows.n_samples = n
    job.rows.X = &X[0, 0]
    job.rows.weight = &sample_weight[0] if sample_weight.shape[0] else NULL
    job.rows.mixture = mixture_in(&mixture[0], mixture.shape[0], K, D)
    job.rows.size = size
    job.rows.at_means = shift.shape[0] == 0
    if job.rows.at_means:
        job.rows.shift_hi = job.rows.mixture.mean_hi
        job.rows.shift_lo = job.rows.mixture.mean_lo
    else:
        split(&shift[0, 0], &scratch[0, tile_reals], K * D)
        job.rows.shift_hi = &scratch[0, tile_reals]
        job.rows.shift_lo = job.rows.shift_hi + K * D
    job.region_rows = region_rows
    job.index = &index[0]
    job.bounds = &bounds[0, 0] if bounds.shape[0] else NULL
    job.n_bounded = bounds.shape[0]
    job.floors = &floors[0] if floors.shape[0] else NULL
    job.scale = &decode[0, 0]
    job.offset = &decode[1, 0]
    job.limit = &decode[2, 0]
    job.smallest = &smallest[0]
    job.to_byte = &to_byte[0, 0]
    job.rescale = &rescale[0, 0] if rescale.shape[0] else NULL
    job.sort = sort
    job.tallies = &tallies[0, 0]
    with nogil:
        answer = run_chunks(
            run_region, &job, n_regions, &statistics[0], &partial[0, 0], size,
            &scratch[0, 0], scratch.shape[1], &tickets[0], n_threads,
        )
    return answer


cdef Py_ssize_t run_region(const void* argument, Py_ssize_t region, double* statistics, real* scratch) noexcept nogil:
    """Compute the statistics of one region; see accumulate_region"""
    cdef Regions job = (<const Regions*> argument)[0]
    memset(statistics, 0, job.rows.size * sizeof(double))
    if min((region + 1) * job.region_rows, job.rows.n_samples) > job.n_bounded * GROUP:
        job.bounds = NULL
    return accumulate_region(&job, region, statistics, scratch)


def score_sizes(Py_ssize_t region_rows, Py_ssize_t K, Py_ssize_t D):
    """Return (reals of scratch of one thread, bytes of a row, samples in a group) for the functions below"""
    return score_scratch(region_rows, K, D), n_bytes(K), GROUP


def bound_distances(
    const double[::1] precisions_cholesky,  # IN  (K D D,) of full covariances
    const double[:, ::1] means,         # IN  (K, D)
    const double[::1] log_constant,     # IN  (K + 1,)
    const real[:, ::1] coordinates,     # IN  (2, D) origin and scale
    float[::1] centers,                 # OUT (n_bytes D,)
    float[:, ::1] bounds,               # OUT (2, n_bytes)
    double[::1] coding,                 # OUT (2,)
    double[::1] scratch,                # TMP (6 D D,)
):
    """Compute what `score_regions` bounds the log-probabilities of a mixture with"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1]
    if CHECKS and (
        precisions_cholesky.shape[0] < K * D * D or log_constant.shape[0] < K
        or coordinates.shape[0] < 2 or coordinates.shape[1] != D or centers.shape[0] < n_bytes(K) * D
        or bounds.shape[0] < 2 or bounds.shape[1] != n_bytes(K)
        or coding.shape[0] < 2 or scratch.shape[0] < 6 * D * D
    ):
        return EXTENT
    with nogil:
        bound_scores(
            &precisions_cholesky[0], &means[0, 0], &log_constant[0], &coordinates[0, 0], &coordinates[1, 0],
            &centers[0], &bounds[0, 0], &coding[0], &scratch[0], K, D,
        )
    return OK


def score_regions(
    const real[:, ::1] X,               # IN  (n, D)
    const real[::1] mixture,            # IN  from `prepare` of _expectation.pyx, with full covariances
    const real[:, ::1] coordinates,     # IN  (2, D)
    const float[::1] centers,           # IN  from bound_distances, as bounds and coding are
    const float[:, ::1] bounds,         # IN
    const double[::1] coding,           # IN
    real[::1] log_likelihood,           # OUT (n,), or empty
    long long[::1] labels,              # OUT (n,) if the log-likelihoods are empty
    double[::1] n_bad,                  # OUT (1,) the number of rows that have density 0 under every component
    double[:, ::1] partial,             # TMP (n_threads, 1)
    real[:, ::1] scratch,               # TMP (n_threads, score_scratch)
    Py_ssize_t[::1] tickets,            # TMP (n_threads + 2,)
    Py_ssize_t[::1] tallies,            # OUT (n_regions,) pairs of groups and components that were evaluated
    Py_ssize_t K,
    Py_ssize_t region_rows,
    int n_threads,
):
    """Compute log-likelihoods or labels, as `evaluate` of _expectation.pyx does, without pairs that do not count"""
    cdef Scores job
    cdef Py_ssize_t n = X.shape[0], D = X.shape[1], n_regions = (n + region_rows - 1) // region_rows, answer
    cdef EStep covariance = e_step_of(FULL)
    if CHECKS and (
        prepared_size(&covariance, K, D) > mixture.shape[0]
        or coordinates.shape[0] < 2 or coordinates.shape[1] != D or centers.shape[0] < n_bytes(K) * D
        or bounds.shape[0] < 2 or bounds.shape[1] != n_bytes(K) or coding.shape[0] < 2
        or (log_likelihood.shape[0] and log_likelihood.shape[0] < n)
        or (not log_likelihood.shape[0] and labels.shape[0] < n)
        or n_bad.shape[0] < 1 or partial.shape[0] < n_threads or partial.shape[1] != 1
        or scratch.shape[0] < n_threads or scratch.shape[1] < score_scratch(region_rows, K, D)
        or tickets.shape[0] < n_threads + 2 or tallies.shape[0] < n_regions
    ):
        return EXTENT
    job.regions.rows.covariance = covariance
    job.regions.step = skipping_step_of(FULL)
    job.regions.rows.X = &X[0, 0]
    job.regions.rows.n_samples = n
    job.regions.rows.mixture = mixture_in(&mixture[0], mixture.shape[0], K, D)
    job.regions.region_rows = region_rows
    job.centers = &centers[0]
    job.slope = &bounds[0, 0]
    job.offset = &bounds[1, 0]
    job.origin = &coordinates[0, 0]
    job.scale = &coordinates[1, 0]
    job.top = coding[0]
    job.step = coding[1]
    job.log_likelihood = &log_likelihood[0] if log_likelihood.shape[0] else NULL
    job.labels = &labels[0] if labels.shape[0] else NULL
    job.cut = negligible(K) if log_likelihood.shape[0] else 0
    job.tallies = &tallies[0]
    n_bad[0] = 0
    with nogil:
        answer = run_chunks(
            run_scores, &job, n_regions, &n_bad[0], &partial[0, 0], 1,
            &scratch[0, 0], scratch.shape[1], &tickets[0], n_threads,
        )
    return answer


cdef Py_ssize_t run_scores(const void* argument, Py_ssize_t region, double* n_bad, real* scratch) noexcept nogil:
    """Score one region; see score_region"""
    n_bad[0] = 0
    return score_region(<const Scores*> argument, region, n_bad, scratch)


def carry(
    const double[::1] factor_before,    # IN    in the shape of the type, raveled
    const double[:, ::1] means_before,  # IN    (K, D)
    const double[::1] factor,           # IN
    const double[:, ::1] means,         # IN    (K, D)
    const double[::1] log_constant,     # IN    (K + 1,)
    const double[::1] weights,          # IN    (K,)
    const real[::1] smallest,           # IN    (K,)
    double[:, ::1] coding,              # INOUT (2, K) scale and offset of the bytes
    float[:, ::1] decode,               # OUT   (3, K)
    double[:, ::1] to_byte,             # OUT   (2, K)
    float[:, ::1] rescale,              # OUT   (2, K)
    double[::1] scratch,                # TMP   (4 K + 5 D D,)
    int covariance_type,
):
    """Carry bounds over from one mixture to another; return whether bytes have to be rescaled, or EXTENT"""
    cdef Py_ssize_t K = means.shape[0], D = means.shape[1]
    cdef Change* changes = <Change*> &scratch[0]
    cdef Coding c
    cdef bint rescaled
    if CHECKS and (
        scratch.shape[0] < 4 * K + 5 * D * D or coding.shape[1] != K or decode.shape[1] != K or to_byte.shape[1] != K
        or rescale.shape[1] != K or smallest.shape[0] < K or weights.shape[0] < K or log_constant.shape[0] < K
    ):
        return EXTENT
    c.scale, c.offset = &coding[0, 0], &coding[1, 0]
    c.decode, c.to_byte, c.rescale = &decode[0, 0], &to_byte[0, 0], &rescale[0, 0]
    with nogil:
        skipping_step_of(covariance_type).changes(
            &factor_before[0], &means_before[0, 0], &factor[0], &means[0, 0], changes, &scratch[4 * K], K, D,
        )
        rescaled = carry_bounds(changes, &log_constant[0], &weights[0], &smallest[0], c, K)
    return rescaled
