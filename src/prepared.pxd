"""A prepared mixture: its parameters in one array of reals, as the E-step reads them. It is made once for a pass."""
from libc.math cimport INFINITY

from layout cimport Mixture, real
from covariance cimport EStep
from panel cimport split


cdef inline Py_ssize_t prepared_size(const EStep* c, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return the number of reals in a prepared mixture"""
    return 3 + K + 2 * K * D + c.factor_size(K, D)


cdef inline void prepare_mixture(
    const EStep* c,
    const double* log_constant,         # IN  (K + 1,) see log_constants in maximize.pxd
    const double* means,                # IN  (K, D)
    const double* precisions_cholesky,  # IN  in the shape of the type
    double log_noise,                   # log weight + log-density of the noise, or -inf
    real* mixture,                      # OUT (prepared_size,)
    Py_ssize_t K,
    Py_ssize_t D,
) noexcept nogil:
    """Write the constants, the means, and the factor that the covariance type makes"""
    cdef Py_ssize_t k
    split(&log_constant[K], mixture, 1)
    mixture[2] = <real> (log_noise - log_constant[K])
    for k in range(K):
        mixture[3 + k] = <real> log_constant[k]
    split(means, mixture + 3 + K, K * D)
    c.pack(precisions_cholesky, means, mixture + 3 + K + 2 * K * D, K, D)


cdef inline Mixture mixture_in(const real* mixture, Py_ssize_t size, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """Return pointers to the parts of a prepared mixture; they are NULL for a size of 0, which means no mixture"""
    cdef Mixture m
    m.n_components = K
    m.n_features = D
    if size == 0:
        m.log_constant = m.mean_hi = m.mean_lo = m.factor = NULL
        m.log_noise = -INFINITY
        m.common_constant = m.factor_size = 0
        return m
    m.log_noise = mixture[2]
    m.log_constant = mixture + 3
    m.common_constant = <double> mixture[0] + <double> mixture[1]
    m.mean_hi = m.log_constant + K
    m.mean_lo = m.mean_hi + K * D
    m.factor = m.mean_lo + K * D
    m.factor_size = size - 3 - K - 2 * K * D
    return m
