"""A panel of samples that have covariances of their own, because values are missing or were measured with noise."""
from libc.math cimport INFINITY, sqrt
from libc.string cimport memset

from layout cimport (
    real, vec, vec_if_less, vec_set, vec_transpose_half_some, vec_transpose_some, LANES, WIDTH,
)
from lanes cimport padded
from whiten cimport triangle


# What is known of the samples.
cdef enum Observation:
    MISSING = 0             # some values are missing (NaN)
    NOISE = 1               # values have noise with known covariances, and some may be missing
    SEPARATE = 2            # the features are independent: missing values, and noise with known variances


# A mixture as these kernels read it. Distances are computed in units of their own for each component and feature, so
# that no intermediate result overflows. Which arrays there are depends on the observation; see missing.pxd, noisy.pxd
# and separate.pxd.
cdef struct RowMixture:
    Py_ssize_t K
    Py_ssize_t D
    Observation observation
    double common_constant
    double log_total            # logarithm of the sum of the weights, which is 0 for a mixture
    const real* log_constant    # (K,)   of a row whose values are all known
    const real* log_weight      # (K,)   of a row without a value
    const real* mean            # (K, D)
    const real* unit            # (K, D) what a difference is multiplied by
    const real* log_missing     # (K, D) what a missing value adds to the log-density
    const real* least           # (K, D + 1) lower bounds of squared pivots
    const real* factor          # (K, factor_size)
    const real* upper           # (K, D, D) for MISSING
    const real* matrix          # (K, matrix_size)
    Py_ssize_t factor_size
    Py_ssize_t matrix_size


# The place of an entry of a padded triangle that is beyond the diagonal.
cdef enum:
    BEYOND = 1


cdef inline double length(const double* a, Py_ssize_t n) noexcept nogil:
    """Return |a|; no square overflows"""
    cdef double largest = 0, total = 0
    cdef Py_ssize_t i
    for i in range(n):
        largest = max(largest, abs(a[i]))
    for i in range(n):
        total += (a[i] / largest) * (a[i] / largest)
    return largest * sqrt(total)


# WIDTH samples side by side, feature-major. The lanes after n repeat a sample and have weight 0.
cdef struct RowPanel:
    Py_ssize_t n
    Py_ssize_t n_missing        # largest number of values that a sample lacks
    bint empty                  # whether a sample lacks all values
    real* x                     # (D, WIDTH) 0 where a value is missing
    real* known                 # (D, WIDTH) 1 where a value is known, else 0
    real* weight                # (WIDTH,)
    real* noise                 # (D, D, WIDTH), or (D, WIDTH) for SEPARATE; 0 where a value is missing
    Py_ssize_t* places          # (D, WIDTH) the features that a sample lacks, then D
    Py_ssize_t* pairs           # (triangle(D), WIDTH) for two of these, their place in a padded triangle, or BEYOND


cdef inline void load_row_panel(
    RowPanel* panel,
    const real* X,              # IN (n_rows, D)
    const double* weight,       # IN (n_rows,), or NULL for 1
    const real* noise,          # IN rows of `noise_stride` reals: variances or covariances; or NULL
    Py_ssize_t noise_stride,
    bint variances,             # whether the noise has no covariances
    const unsigned short* index,    # IN (n,) the rows
    Py_ssize_t n,
    Py_ssize_t D,
    Observation observation,
) noexcept nogil:
    """Load n rows, 1 to WIDTH of them"""
    cdef Py_ssize_t i, d, e, row, lacking
    cdef unsigned short rows[WIDTH]
    cdef vec* x = <vec*> panel.x
    cdef vec* known = <vec*> panel.known
    cdef real n_known[WIDTH]
    panel.n = n
    panel.n_missing = 0
    for i in range(WIDTH):
        rows[i] = index[i if i < n else 0]
        panel.weight[i] = 0 if i >= n else 1 if weight == NULL else <real> weight[index[i]]
        n_known[i] = 0
    load_columns(X, rows, D, panel.x, WIDTH, D)
    for d in range(D):
        for i in range(2):
            known[2 * d + i] = vec_if_less(x[2 * d + i], vec_set(INFINITY), vec_set(1), vec_set(0))
            x[2 * d + i] = vec_if_less(x[2 * d + i], vec_set(INFINITY), x[2 * d + i], vec_set(0))
            (<vec*> n_known)[i] = (<vec*> n_known)[i] + known[2 * d + i]
    for i in range(WIDTH):
        panel.n_missing = max(panel.n_missing, D - <Py_ssize_t> n_known[i])
    panel.empty = panel.n_missing == D
    if noise != NULL:
        load_noise(panel, noise, noise_stride, variances, rows, D, observation)
    if observation != MISSING:
        return
    for i in range(WIDTH):
        lacking = 0
        for d in range(D):
            panel.places[lacking * WIDTH + i] = d
            lacking += panel.known[d * WIDTH + i] == 0
        for d in range(lacking, panel.n_missing):
            panel.places[d * WIDTH + i] = D
    for d in range(panel.n_missing):
        for e in range(d + 1):
            for i in range(WIDTH):
                row = panel.places[d * WIDTH + i]
                panel.pairs[(triangle(d) + e) * WIDTH + i] = (
                    padded(row) + panel.places[e * WIDTH + i] if row < D else BEYOND
                )


cdef inline void load_noise(
    RowPanel* panel, const real* noise, Py_ssize_t stride, bint variances, const unsigned short* rows, Py_ssize_t D,
    Observation observation,
) noexcept nogil:
    """Load variances or covariances of the noise, with 0 where a value is missing"""
    cdef Py_ssize_t d, e, i
    cdef vec* known = <vec*> panel.known
    cdef vec* target = <vec*> panel.noise
    if observation == SEPARATE:
        load_columns(noise, rows, stride, panel.noise, WIDTH, D)
        if panel.n_missing > 0:
            for d in range(2 * D):
                target[d] = vec_if_less(vec_set(0), known[d], target[d], vec_set(0))
        return
    if variances:
        memset(panel.noise, 0, D * D * WIDTH * sizeof(real))
        load_columns(noise, rows, stride, panel.noise, (D + 1) * WIDTH, D)
    else:
        load_columns(noise, rows, stride, panel.noise, WIDTH, D * D)
    if panel.n_missing > 0:
        for d in range(D):
            for e in range(d + 1):
                for i in range(2):
                    target[0] = vec_if_less(vec_set(0), known[2 * d + i] * known[2 * e + i], target[0], vec_set(0))
                    target += 1
            target += 2 * (D - d - 1)


cdef inline void load_columns(
    const real* A, const unsigned short* rows, Py_ssize_t stride, real* out, Py_ssize_t out_stride, Py_ssize_t n,
) noexcept nogil:
    """out[d, i] = A[rows[i], d] for n columns d and WIDTH rows"""
    # The last block begins where it ends with the last column, so that it may write some columns again.
    cdef Py_ssize_t d = 0, i, v, block = LANES if n >= LANES else LANES // 2 if n >= LANES // 2 else 1
    cdef real* target
    while d < n:
        d = min(d, n - block)
        target = out + d * out_stride
        if block == 1 and LANES > 1:
            for i in range(WIDTH):
                target[i] = A[<Py_ssize_t> rows[i] * stride + d]
        else:
            for v in range(2):
                if block == LANES:
                    vec_transpose_some(A + d, rows + v * LANES, stride, target + v * LANES, out_stride)
                else:
                    vec_transpose_half_some(A + d, rows + v * LANES, stride, target + v * LANES, out_stride)
        d += block


cdef inline Py_ssize_t panel_reals(Py_ssize_t D) noexcept nogil:
    """Return the number of reals that the buffers of a panel take"""
    return WIDTH * (3 * D + D * D + triangle(D))


cdef inline RowPanel row_panel_in(real** at, Py_ssize_t D) noexcept nogil:
    """Return a panel whose buffers begin at `at`, and move `at` behind them"""
    cdef RowPanel panel
    panel.n = panel.n_missing = 0
    panel.empty = False
    panel.x = take(at, D)
    panel.known = take(at, D)
    panel.weight = NULL     # set by the caller
    panel.noise = take(at, D * D)
    # An index has as many bytes as a double, and these kernels are built for doubles only.
    panel.places = <Py_ssize_t*> take(at, D)
    panel.pairs = <Py_ssize_t*> take(at, triangle(D))
    return panel


cdef inline real* take(real** at, Py_ssize_t n) noexcept nogil:
    """Return memory for n rows of a panel, and move on"""
    cdef real* taken = at[0]
    at[0] += n * WIDTH
    return taken
