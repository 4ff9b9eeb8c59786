"""The kernels for other Cython modules: `from gmm_core.kernels cimport responsibilities_f64`. They take pointers.

Every function is `noexcept nogil`, allocates nothing, and writes only to memory that the caller passes. So it may be
called from any thread, and from several threads at once if each has scratch of its own. The arguments are not checked:
the caller is responsible for the sizes, and for pointers that are aligned for their type. Memory from malloc is; memory
that begins on a cache line is faster. The instruction set is chosen once, when gmm_core is imported.

X has n rows of D features, one row after the other. `means` is (K, D). `covariances` and `precisions_cholesky` have the
shapes of scikit-learn's attributes: (K, D, D), (D, D), (K, D) or (K,). Parameters and statistics are doubles, also if
the data are floats.

Later versions may add functions, and then API_VERSION grows, but never change an existing function. A module that was
compiled against an older version keeps working. A module that needs a function which the installed version does not
have fails to import, with a message.
"""

cdef enum:
    API_VERSION = 1

cdef enum CovarianceType:
    FULL = 0
    TIED = 1
    DIAG = 2
    SPHERICAL = 3

# Return the API_VERSION of the installed library, which may be newer than the one that a module was compiled against.
cdef int api_version() noexcept nogil

# ---- a mixture, prepared in memory that the caller owns ----

# Return the bytes of memory for a prepared mixture, and for the scratch of one thread.
cdef Py_ssize_t mixture_bytes_f64(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t mixture_bytes_f32(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t scratch_bytes_f64(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t scratch_bytes_f32(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil

# Prepare a mixture. The prepared mixture is never written to afterwards, and may be copied byte by byte within the
# process.
cdef void prepare_mixture_f64(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* weights, const double* means, const double* precisions_cholesky,
    void* mixture, void* scratch,
) noexcept nogil
cdef void prepare_mixture_f32(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* weights, const double* means, const double* precisions_cholesky,
    void* mixture, void* scratch,
) noexcept nogil

# ---- scores ----

# Return log p(x) of one sample, which is -inf if its density is 0 under every component.
cdef double log_density_f64(const void* mixture, const double* x, void* scratch) noexcept nogil
cdef float log_density_f32(const void* mixture, const float* x, void* scratch) noexcept nogil

# Write log p(x) of n samples to `out` (n,). Return the number of samples for which it is -inf.
cdef Py_ssize_t log_densities_f64(
    const void* mixture, const double* X, Py_ssize_t n, double* out, void* scratch,
) noexcept nogil
cdef Py_ssize_t log_densities_f32(
    const void* mixture, const float* X, Py_ssize_t n, float* out, void* scratch,
) noexcept nogil

# Write the responsibilities of n samples to `out` (n, K), and log p(x) to `log_densities` (n,), which may be NULL.
# Return the number of samples whose density is 0 under every component; their responsibilities are 0.
cdef Py_ssize_t responsibilities_f64(
    const void* mixture, const double* X, Py_ssize_t n, double* out, double* log_densities, void* scratch,
) noexcept nogil
cdef Py_ssize_t responsibilities_f32(
    const void* mixture, const float* X, Py_ssize_t n, float* out, float* log_densities, void* scratch,
) noexcept nogil

# ---- an EM iteration ----

# Return the number of doubles in the statistics: the weighted log-likelihood, the total weight, counts (K,), weighted
# sums of x - mean (K, D), and second moments about the means, whose layout depends on the type. The caller sets them
# to 0 before the first call of accumulate.
cdef Py_ssize_t statistics_size(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil

# Add n samples to the statistics, with responsibilities and moments under the mixture. `sample_weight` is (n,), or
# NULL if all weights are 1. Return 0, or 1 + the index of the first sample whose density is 0 under every component;
# the statistics are then incomplete and cannot be used.
cdef Py_ssize_t accumulate_f64(
    const void* mixture, const double* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil
cdef Py_ssize_t accumulate_f32(
    const void* mixture, const float* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil

# statistics += other. Both must be of the same mixture, and of different parts of the data.
cdef void merge_statistics(const double* other, double* statistics, Py_ssize_t size) noexcept nogil

# Do the M-step: compute the parameters from the statistics. `previous_means` are the means of the mixture that the
# statistics were made with. `reg_covar` (D,) is added to the variances (its mean for SPHERICAL). Return 0, or 1 + the
# first component whose covariance is not positive definite. The first function returns the bytes of scratch that the
# second needs.
cdef Py_ssize_t parameters_scratch_bytes(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t parameters_from_statistics(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* statistics, const double* previous_means, const double* reg_covar,
    double* weights, double* means, double* covariances, double* precisions_cholesky, void* scratch,
) noexcept nogil
