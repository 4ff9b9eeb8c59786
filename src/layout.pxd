"""The element and vector types of one build (see vec.h), and the layouts that the kernels share."""


cdef extern from "vec.h" nogil:
    ctypedef double real                # float or double
    ctypedef double vec                 # LANES reals
    ctypedef double dvec                # DLANES doubles
    enum:
        CHECKS
        LANES
        DLANES
        WIDTH
    const real REAL_MAX
    const double EPS "DBL_EPSILON"
    vec vec_set(real a)
    dvec dvec_set(double a)
    vec vec_if_less(vec a, vec b, vec x, vec y)
    vec vec_scale(vec a, vec n)
    double vec_sum(vec a)
    dvec vec_product(vec a, vec b)
    void vec_sums(vec a, vec b, vec c, vec d, double* out)
    void vec_transpose(const real* a, Py_ssize_t stride, real* out, Py_ssize_t out_stride)
    void vec_transpose_half(const real* a, Py_ssize_t stride, real* out, Py_ssize_t out_stride)
    double dvec_sum(dvec a)
    unsigned long long bits_of_double(double a)
    double double_of_bits(unsigned long long b)


# What a kernel answers. A positive status is 1 + the index of the first row whose density
# is zero under every component.
cdef enum Status:
    OK = 0
    EXTENT = -1     # an access beyond a buffer, found by the `checks` build


# Parameters as the kernels read them. For float32 a mean is a pair hi + lo of floats, so that
# (x - hi) - lo keeps the digits of a float64 mean; for float64 lo is not read.
cdef struct Mixture:
    Py_ssize_t n_components
    Py_ssize_t n_features
    const real* log_constant    # (K,)  log weight + log |U_k| - D/2 log 2 pi - common_constant
    double common_constant      # see log_constants in maximize.pxd
    const real* mean_hi         # (K, D)
    const real* mean_lo         # (K, D)
    const real* factor          # what the covariance type needs to take a distance
    Py_ssize_t factor_size


# A tile: samples in panels of WIDTH, feature-major within a panel, so that every inner loop
# runs over neighbouring samples. Lanes beyond n_samples repeat a sample at weight 0.
cdef struct Tile:
    Py_ssize_t n_samples
    Py_ssize_t n_panels
    Py_ssize_t feature_reals    # size of each of the buffers x, z, wz, y
    Py_ssize_t component_reals  # size of each of r, plain, distance
    bint weighted               # whether there are sample weights
    real* x                     # (n_panels, D, WIDTH)  samples
    real* z                     # (n_panels, D, WIDTH)  differences from a mean
    real* wz                    # (n_panels, D, WIDTH)  differences times weighted responsibility
    real* y                     # (n_panels, D, WIDTH)  samples, whitened (tied)
    real* r                     # (n_panels, K, WIDTH)  log-probabilities, then weighted responsibilities
    real* plain                 # (n_panels, K, WIDTH)  responsibilities without the weight (tied)
    real* distance              # (n_panels, K, WIDTH)  squared distances (spherical)
    real* weight                # (n_panels, WIDTH)
    real* peak                  # (n_panels, WIDTH)     largest log-probability
    double* total               # (n_panels, WIDTH)     sum of exp(log-probability - peak)


# What the M-step of a covariance type reads: the statistics of a pass, and the new means.
cdef struct Statistics:
    Py_ssize_t n_components
    Py_ssize_t n_features
    double total                # sum of the counts
    const double* counts        # (K,)    N_k
    const double* first         # (K, D)  first moments about the shift
    const double* second        # second moments about the shift, as the type's accumulate leaves them
    const double* shift         # (K, D)
    const double* means         # (K, D)  new means, shift + first / counts
    const signed char* empty    # (K,)    1 for a component whose count is 0 up to rounding
    const double* reg_covar     # (D,)    added to the variances of the features


# Where variances stand among covariances, and the diagonals of factors among factors: entry (d, d) of
# component k has index k * component + d * feature.
cdef struct Diagonal:
    Py_ssize_t component        # 0 if all components share one covariance
    Py_ssize_t feature
