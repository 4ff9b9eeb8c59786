"""A panel of samples that have covariances of their own, because values are missing or were measured with noise."""
from libc.string cimport memset

from layout cimport real, vec, vec_set, LANES, WIDTH
from panel cimport load_some_rows
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


# WIDTH samples side by side, feature-major. The lanes after n repeat a sample and have weight 0.
cdef struct RowPanel:
    Py_ssize_t n
    Py_ssize_t n_missing        # largest number of values that a sample lacks
    bint empty                  # whether a sample lacks all values
    real* x                     # (D, WIDTH) 0 where a value is missing
    real* known                 # (D, WIDTH) 1 where a value is known, else 0
    real* weight                # (WIDTH,)
    real* noise                 # (triangle(D), WIDTH), or (D, WIDTH) for SEPARATE; 0 where a value is missing
    Py_ssize_t* places          # (D, WIDTH) the features that a sample lacks, then D
    Py_ssize_t* pairs           # (triangle(D), WIDTH) for two of these, their place in a matrix of D + 1 columns


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
    cdef real value
    cdef real* at
    cdef const real* source
    load_some_rows(X, index, NULL, X + <Py_ssize_t> index[0] * D, panel.x, n, D)
    panel.n = n
    panel.n_missing = 0
    panel.empty = False
    for i in range(WIDTH):
        panel.weight[i] = 0 if i >= n else 1 if weight == NULL else <real> weight[index[i]]
    for d in range(D):
        at = panel.x + d * WIDTH
        for i in range(WIDTH):
            panel.known[d * WIDTH + i] = <real> (at[i] == at[i])
            at[i] = at[i] if at[i] == at[i] else 0
    for i in range(WIDTH):
        lacking = 0
        for d in range(D):
            panel.places[lacking * WIDTH + i] = d
            lacking += panel.known[d * WIDTH + i] == 0
        for d in range(lacking, D):
            panel.places[d * WIDTH + i] = D
        panel.n_missing = max(panel.n_missing, lacking)
        panel.empty |= lacking == D
    if observation == MISSING:
        # The place of two different features that do not exist is that of a 0 in the last row.
        for d in range(panel.n_missing):
            for e in range(d + 1):
                for i in range(WIDTH):
                    row = panel.places[d * WIDTH + i]
                    panel.pairs[(triangle(d) + e) * WIDTH + i] = row * (D + 1) + (
                        panel.places[e * WIDTH + i] if row < D or d == e else 0
                    )
    if noise == NULL:
        return
    if observation == NOISE and variances:
        memset(panel.noise, 0, triangle(D) * WIDTH * sizeof(real))
    for i in range(WIDTH):
        source = noise + <Py_ssize_t> index[i if i < n else 0] * noise_stride
        for d in range(D):
            if variances:
                at = panel.noise + (d if observation == SEPARATE else triangle(d) + d) * WIDTH + i
                value = source[d]
                at[0] = value if panel.known[d * WIDTH + i] > 0 else 0
            else:
                for e in range(d + 1):
                    value = source[d * D + e]
                    panel.noise[(triangle(d) + e) * WIDTH + i] = (
                        value if panel.known[d * WIDTH + i] * panel.known[e * WIDTH + i] > 0 else 0
                    )


cdef inline Py_ssize_t panel_reals(Py_ssize_t D) noexcept nogil:
    """Return the number of reals that the buffers of a panel take"""
    return WIDTH * (3 * D + 1 + 2 * triangle(D))


cdef inline RowPanel row_panel_in(real** at, Py_ssize_t D) noexcept nogil:
    """Return a panel whose buffers begin at `at`, and move `at` behind them"""
    cdef RowPanel panel
    panel.n = panel.n_missing = 0
    panel.empty = False
    panel.x = take(at, D)
    panel.known = take(at, D)
    panel.weight = take(at, 1)
    panel.noise = take(at, triangle(D))
    # An index has as many bytes as a double, and these kernels are built for doubles only.
    panel.places = <Py_ssize_t*> take(at, D)
    panel.pairs = <Py_ssize_t*> take(at, triangle(D))
    return panel


cdef inline real* take(real** at, Py_ssize_t n) noexcept nogil:
    """Return memory for n rows of a panel, and move on"""
    cdef real* taken = at[0]
    at[0] += n * WIDTH
    return taken
