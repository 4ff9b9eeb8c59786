"""The table of covariance types: what each one brings. A further type is one more file and one more row."""
from layout cimport CovarianceType, FULL, TIED, DIAG, SPHERICAL, Mixture, Tile, real
from full cimport full_accumulate, full_factor_size, full_log_prob, full_moments_size, full_pack
from tied cimport tied_accumulate, tied_factor_size, tied_log_prob, tied_moments_size, tied_pack
from diag cimport diag_accumulate, diag_factor_size, diag_log_prob, diag_moments_size, diag_pack
from spherical cimport (
    spherical_accumulate, spherical_factor_size, spherical_log_prob, spherical_moments_size, spherical_pack,
)

ctypedef Py_ssize_t (*SizeOf)(Py_ssize_t K, Py_ssize_t D) noexcept nogil
ctypedef void (*Pack)(const double* U, const double* means, real* factor, Py_ssize_t K, Py_ssize_t D) noexcept nogil
ctypedef int (*LogProb)(Tile* t, const Mixture* m) noexcept nogil
ctypedef int (*Accumulate)(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil


cdef struct Covariance:
    SizeOf factor_size      # reals that a prepared mixture stores beside constants and means
    SizeOf moments_size     # doubles of second moments
    Pack pack               # precisions_cholesky -> factor
    LogProb log_prob        # E: tile.r = weighted log-probabilities
    Accumulate accumulate   # M: tile.r (responsibilities) -> sums


cdef inline Covariance covariance_of(int covariance_type) noexcept nogil:
    cdef Covariance c
    if covariance_type == FULL:
        c.factor_size, c.moments_size, c.pack = full_factor_size, full_moments_size, full_pack
        c.log_prob, c.accumulate = full_log_prob, full_accumulate
    elif covariance_type == TIED:
        c.factor_size, c.moments_size, c.pack = tied_factor_size, tied_moments_size, tied_pack
        c.log_prob, c.accumulate = tied_log_prob, tied_accumulate
    elif covariance_type == DIAG:
        c.factor_size, c.moments_size, c.pack = diag_factor_size, diag_moments_size, diag_pack
        c.log_prob, c.accumulate = diag_log_prob, diag_accumulate
    else:
        c.factor_size, c.moments_size, c.pack = spherical_factor_size, spherical_moments_size, spherical_pack
        c.log_prob, c.accumulate = spherical_log_prob, spherical_accumulate
    return c
