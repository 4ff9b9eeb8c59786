"""The kernels for other Cython modules, by pointers: `from gmm_core.kernels cimport responsibilities_f64`.

Every function is `noexcept nogil`, allocates nothing and writes only to memory that is given to it, so that it
may be called from any thread, and from several at once with scratch of their own. Nothing is checked: sizes,
and that pointers are aligned for their type (memory from malloc is; on a cache line it is faster), are the
caller's business. Which instruction set runs is chosen once, when gmm_core is imported.

X is (n, D), row after row. `means` is (K, D); `covariances` and `precisions_cholesky` have the shapes of
scikit-learn's attributes: (K, D, D), (D, D), (K, D) or (K,). Parameters and statistics are doubles for
float data too.

Functions are added, never changed: then API_VERSION grows. A module compiled against an older version works;
one whose function is missing fails to be imported, with a message.
"""

cdef enum:
    API_VERSION = 1

cdef enum CovarianceType:
    FULL = 0
    TIED = 1
    DIAG = 2
    SPHERICAL = 3

# Of the imported library; API_VERSION is that of compilation.
cdef int api_version() noexcept nogil

# ---- a mixture, prepared in memory of the caller ----

# Bytes that a prepared mixture takes, and the scratch of one thread.
cdef Py_ssize_t mixture_bytes_f64(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t mixture_bytes_f32(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t scratch_bytes_f64(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t scratch_bytes_f32(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil

# A prepared mixture is read only from then on, and may be copied as bytes within a process.
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

# log p(x) of one sample; -inf where every component's density is 0.
cdef double log_density_f64(const void* mixture, const double* x, void* scratch) noexcept nogil
cdef float log_density_f32(const void* mixture, const float* x, void* scratch) noexcept nogil

# log p(x) of n samples to `out` (n,); the number of samples for which it is -inf.
cdef Py_ssize_t log_densities_f64(
    const void* mixture, const double* X, Py_ssize_t n, double* out, void* scratch,
) noexcept nogil
cdef Py_ssize_t log_densities_f32(
    const void* mixture, const float* X, Py_ssize_t n, float* out, void* scratch,
) noexcept nogil

# Responsibilities of n samples to `out` (n, K), and log p(x) to `log_densities` (n,) or NULL; the number of
# samples whose density is 0, for which the responsibilities are 0.
cdef Py_ssize_t responsibilities_f64(
    const void* mixture, const double* X, Py_ssize_t n, double* out, double* log_densities, void* scratch,
) noexcept nogil
cdef Py_ssize_t responsibilities_f32(
    const void* mixture, const float* X, Py_ssize_t n, float* out, float* log_densities, void* scratch,
) noexcept nogil

# ---- an EM iteration ----

# Statistics are this many doubles: the weighted log-likelihood, the total weight, counts (K), weighted sums of
# x - mean (K, D), and second moments about the means, whose layout is the type's own. They begin as zeros.
cdef Py_ssize_t statistics_size(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil

# Add n samples, with `sample_weight` (n,) or NULL, responsibilities and moments by the mixture. 0, or 1 + the
# index of the first sample whose density is 0: then the statistics are of no use any more.
cdef Py_ssize_t accumulate_f64(
    const void* mixture, const double* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil
cdef Py_ssize_t accumulate_f32(
    const void* mixture, const float* X, const double* sample_weight, Py_ssize_t n, double* statistics, void* scratch,
) noexcept nogil

# statistics += other, of the same mixture and another part of the data.
cdef void merge_statistics(const double* other, double* statistics, Py_ssize_t size) noexcept nogil

# The M-step. `previous_means` are those of the mixture that the statistics were made with, `reg_covar` (D,) is
# added to the variances. 0, or 1 + the first component whose covariance is not positive definite.
cdef Py_ssize_t parameters_scratch_bytes(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil
cdef Py_ssize_t parameters_from_statistics(
    int covariance_type, Py_ssize_t K, Py_ssize_t D,
    const double* statistics, const double* previous_means, const double* reg_covar,
    double* weights, double* means, double* covariances, double* precisions_cholesky, void* scratch,
) noexcept nogil
