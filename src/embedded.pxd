"""The E-step for callers that own the memory. The functions take pointers, and are built for one element type.

gmm_core.kernels offers them to C and Cython. A project that copies these sources calls them itself.
"""
from libc.math cimport INFINITY

from layout cimport Mixture, real
from covariance cimport EStep, e_step_of
from prepared cimport mixture_in, prepare_mixture, prepared_size
from rows cimport accumulate_rows, evaluate_rows, Outputs, Pass
from tile cimport tile_size


# The caller's memory for a mixture begins with this header. It has 64 bytes, so that the prepared mixture after it is
# aligned to a cache line if the memory is.
cdef struct Header:
    Py_ssize_t covariance_type
    Py_ssize_t n_components
    Py_ssize_t n_features
    Py_ssize_t size             # number of reals in the prepared mixture, which follows the header
    Py_ssize_t reserved[4]


cdef inline Py_ssize_t mixture_bytes(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the bytes of memory for a mixture"""
    cdef EStep c = e_step_of(covariance_type)
    return sizeof(Header) + prepared_size(&c, K, D) * sizeof(real)


cdef inline Py_ssize_t scratch_bytes(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the bytes of scratch for one thread"""
    return tile_size(K, D) * sizeof(real)


cdef inline Py_ssize_t statistics_size(int covariance_type, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of statistics; rows.pxd says what they are"""
    return 2 + K + K * D + e_step_of(covariance_type).moments_size(K, D)


cdef inline void embed_mixture(
    int covariance_type, Py_ssize_t K, Py_ssize_t D, const double* log_constant, const double* means,
    const double* precisions_cholesky, void* mixture,
) noexcept nogil:
    """Prepare a mixture in the caller's memory; log_constant is as log_constants in maximize.pxd makes it"""
    cdef EStep c = e_step_of(covariance_type)
    cdef Header* header = <Header*> mixture
    header.covariance_type = covariance_type
    header.n_components = K
    header.n_features = D
    header.size = prepared_size(&c, K, D)
    prepare_mixture(&c, log_constant, means, precisions_cholesky, -INFINITY, <real*> (header + 1), K, D)


cdef inline Mixture embedded_mixture(const void* mixture) noexcept nogil:
    """Return the mixture in the caller's memory"""
    cdef const Header* header = <const Header*> mixture
    return mixture_in(<const real*> (header + 1), header.size, header.n_components, header.n_features)


cdef inline Py_ssize_t evaluate_block(
    const void* mixture,
    const real* X,              # IN  (n, D)
    Py_ssize_t n,
    real* log_densities,        # OUT (n,), or NULL
    real* responsibilities,     # OUT (n, K), or NULL
    void* scratch,              # TMP scratch_bytes
) noexcept nogil:
    """Write log-densities and responsibilities of n rows; return how many have density 0 under every component"""
    cdef Mixture m = embedded_mixture(mixture)
    cdef EStep c = e_step_of(<int> (<const Header*> mixture).covariance_type)
    cdef Outputs out
    out.log_prob = NULL
    out.labels = NULL
    out.log_likelihood = log_densities
    out.responsibilities = responsibilities
    return evaluate_rows(X, &c, &m, &out, 0, n, <real*> scratch)


cdef inline Py_ssize_t accumulate_block(
    const void* mixture,
    const real* X,                  # IN    (n, D)
    const double* sample_weight,    # IN    (n,), or NULL
    Py_ssize_t n,
    double* statistics,             # INOUT added to; moments are about the means of the mixture
    void* scratch,                  # TMP   scratch_bytes
) noexcept nogil:
    """Add the statistics of n rows; return OK, or 1 + the first row that has density 0 under every component"""
    cdef Pass job
    job.mixture = embedded_mixture(mixture)
    job.covariance = e_step_of(<int> (<const Header*> mixture).covariance_type)
    job.X = X
    job.weight = sample_weight
    job.responsibilities = NULL
    job.labels = NULL
    job.e_step = job.at_means = True
    job.shift_hi = job.mixture.mean_hi
    job.shift_lo = job.mixture.mean_lo
    job.n_samples = job.chunk_rows = n
    job.size = 0
    return accumulate_rows(&job, 0, n, statistics, <real*> scratch)
