"""The element type and the vector types of a build (see vec.h), and the structures that the kernels share."""


cdef extern from "vec.h" nogil:
    ctypedef double real                # float or double
    ctypedef double vec                 # LANES reals
    ctypedef double dvec                # DLANES doubles
    enum:
        CHECKS
        LANES
        DLANES
        WIDTH
        GROUP
        GROUP_PANELS
        ROWS
    const real REAL_MAX
    const double EPS "DBL_EPSILON"
    vec vec_set(real a)
    dvec dvec_set(double a)
    vec vec_if_less(vec a, vec b, vec x, vec y)
    bint vec_any_less(vec a, vec b)
    vec vec_scale(vec a, vec n)
    double vec_sum(vec a)
    dvec vec_product(vec a, vec b)
    void vec_sums(vec a, vec b, vec c, vec d, double* out)
    void vec_transpose(const real* a, Py_ssize_t stride, real* out, Py_ssize_t out_stride)
    void vec_transpose_some(
        const real* a, const unsigned short* index, Py_ssize_t stride, real* out, Py_ssize_t out_stride)
    void vec_transpose_half_some(
        const real* a, const unsigned short* index, Py_ssize_t stride, real* out, Py_ssize_t out_stride)
    double dvec_sum(dvec a)
    void prefetch(const double* a, Py_ssize_t n)
    unsigned long long bits_of_double(double a)
    double double_of_bits(unsigned long long b)


# With more features than this, a triangle of D x D no longer fits in the second-level cache, and the kernels work in
# blocks.
cdef enum:
    LARGE = 128


# The status that a kernel returns. OK and negative values mean the same in all kernels. A positive value is explained
# by the kernel: it is 1 + a row, 1 + a component, or a count.
cdef enum Status:
    OK = 0
    EXTENT = -1     # a buffer is too small; only a build with the option `checks` looks
    SKIPPED = -2    # a pair that counts was about to be skipped; only a build with the option `checks` looks


# The parameters of a mixture as the E-step reads them. In a float32 build a mean is the sum hi + lo of two
# floats, so that (x - hi) - lo keeps the digits of a float64 mean. A float64 build does not read lo.
cdef struct Mixture:
    Py_ssize_t n_components
    Py_ssize_t n_features
    const real* log_constant    # (K,)  log weight + log |U_k| - D/2 log 2 pi - common_constant
    real log_noise              # log weight of the noise + its log-density - common_constant, or -inf if there is none
    double common_constant      # part of log p(x) that all components share, see log_constants in maximize.pxd
    const real* mean_hi         # (K, D)
    const real* mean_lo         # (K, D)
    const real* factor          # what the covariance type computes distances with (see its pack function)
    Py_ssize_t factor_size


# A tile holds samples in panels of WIDTH. Within a panel it is feature-major, so that every inner loop runs
# over neighbouring samples. The lanes after n_samples repeat a sample and have weight 0.
cdef struct Tile:
    Py_ssize_t n_samples
    Py_ssize_t n_panels
    Py_ssize_t feature_reals    # reals in each of the buffers x, z, wz and y
    Py_ssize_t component_reals  # reals in each of r, plain and distance
    bint weighted               # the r of a sample need not sum to 1, because samples have weights or there is noise
    real* x                     # (n_panels, D, WIDTH)  samples
    real* z                     # (n_panels, D, WIDTH)  samples minus a mean
    real* wz                    # (n_panels, D, WIDTH)  weighted differences (see the accumulate function of the type)
    real* y                     # (n_panels, D, WIDTH)  whitened samples, for `tied` then zbar
    real* r                     # (n_panels, K, WIDTH)  log-probabilities; after `normalize`, weighted responsibilities
    real* plain                 # (n_panels, K, WIDTH)  responsibilities without the weight; only `tied` uses it
    real* distance              # (n_panels, K, WIDTH)  squared distances; `spherical` and `tied` use it
    real* weight                # (n_panels, WIDTH)
    real* peak                  # (n_panels, WIDTH)     largest log-probability of the sample
    double* total               # (n_panels, WIDTH)     sum over components of exp(log-probability - peak)


# The pairs of a panel and a component that a pass does not skip. Each has a slot: a place in the buffers r, plain and
# distance of the tile, which then are (n_slots, WIDTH). The panels of component k are the first n_of_component[k]
# entries in row k of `panels`, with their slots in `slots`, and the components of panel p the first n_of_panel[p]
# entries in row p of `components`; both ascend. The slots of a panel follow one another.
cdef struct Active:
    Py_ssize_t n_panels
    unsigned short* panels          # (K, n_panels)
    unsigned int* slots             # (K, n_panels)
    unsigned short* n_of_component  # (K,)
    unsigned short* components      # (n_panels, K)
    unsigned short* n_of_panel      # (n_panels,)
    unsigned int* first             # (n_panels,) slot of the first component of a panel


# How the computed Mahalanobis distances from a component may change when its parameters do. With exact distances d
# before and d' after, d' >= stretch d - move; the computed distance after lies within relative d' + absolute of d'.
cdef struct Change:
    double stretch
    double move
    double relative
    double absolute


# The statistics of a pass and the new means, which the M-step of a covariance type reads.
cdef struct Statistics:
    Py_ssize_t n_components
    Py_ssize_t n_features
    double total                # sum of the counts
    const double* counts        # (K,)    N_k
    const double* first         # (K, D)  first moments about the shift
    const double* second        # second moments about the shift, packed as the accumulate function of the type does it
    const double* shift         # (K, D)
    const double* means         # (K, D)  new means, shift + first / counts
    const signed char* empty    # (K,)    1 for a component whose count is 0 up to rounding
    const double* reg_covar     # (D,)    added to the variances of the features
    const double* before        # covariances before the M-step, or NULL
    double* scratch             # scratch_size of the type


# The place of the diagonal in an array of covariances, or of their factors, which have the same shape: entry
# (d, d) of component k has index k * component + d * feature.
cdef struct Diagonal:
    Py_ssize_t component        # 0 if all components share one covariance
    Py_ssize_t feature          # 0 if all features share one variance
