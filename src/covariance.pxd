"""The covariance types: the number of each, and the functions of its E-step and of its M-step.

A further type is one more file beside full.pxd, a number here, and a row in each of the two tables.
"""
from layout cimport Diagonal, Mixture, Statistics, Tile, real
from full cimport (
    full_factor_size, full_moments_size, full_pack, full_log_prob, full_accumulate,
    full_covariances_size, full_diagonal, full_scratch_size,
    full_covariances, full_precisions_cholesky,
)
from tied cimport (
    tied_factor_size, tied_moments_size, tied_pack, tied_log_prob, tied_accumulate,
    tied_covariances_size, tied_diagonal, tied_scratch_size,
    tied_covariances, tied_precisions_cholesky,
)
from diag cimport (
    diag_factor_size, diag_moments_size, diag_pack, diag_log_prob, diag_accumulate,
    diag_covariances_size, diag_diagonal, diag_scratch_size,
    diag_covariances, diag_precisions_cholesky,
)
from spherical cimport (
    spherical_factor_size, spherical_moments_size, spherical_pack, spherical_log_prob, spherical_accumulate,
    spherical_covariances_size, spherical_diagonal, spherical_scratch_size,
    spherical_covariances, spherical_precisions_cholesky,
)


cdef enum CovarianceType:
    FULL = 0
    TIED = 1
    DIAG = 2
    SPHERICAL = 3


ctypedef Py_ssize_t (*SizeOf)(Py_ssize_t K, Py_ssize_t D) noexcept nogil
ctypedef void (*Pack)(const double* U, const double* means, real* factor, Py_ssize_t K, Py_ssize_t D) noexcept nogil
ctypedef int (*LogProb)(Tile* t, const Mixture* m) noexcept nogil
ctypedef int (*Accumulate)(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil
ctypedef Diagonal (*DiagonalOf)(Py_ssize_t D) noexcept nogil
ctypedef void (*Covariances)(const Statistics* s, double* covariances) noexcept nogil
ctypedef Py_ssize_t (*PrecisionsCholesky)(
    const double* covariances, double* precisions_cholesky, double* scratch, Py_ssize_t K, Py_ssize_t D, int n_threads,
) noexcept nogil


# The E-step of a type, for one element type.
cdef struct EStep:
    SizeOf factor_size      # reals that a prepared mixture stores beside constants and means
    SizeOf moments_size     # doubles of second moments
    Pack pack               # precisions_cholesky -> factor
    LogProb log_prob        # tile.r = weighted log-probabilities
    Accumulate accumulate   # tile.r (responsibilities) -> sums


cdef inline EStep e_step_of(int covariance_type) noexcept nogil:
    cdef EStep c
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


# The M-step of a type, in double for every element type.
cdef struct MStep:
    SizeOf covariances_size     # doubles of the covariances, and of their factors
    SizeOf scratch_size         # doubles of scratch that precisions_cholesky needs
    Covariances covariances     # statistics -> covariances
    DiagonalOf diagonal         # where the variances stand among them
    PrecisionsCholesky precisions_cholesky  # covariances -> factors; 0, or 1 + the first component that has none


cdef inline MStep m_step_of(int covariance_type) noexcept nogil:
    cdef MStep c
    if covariance_type == FULL:
        c.covariances_size, c.scratch_size = full_covariances_size, full_scratch_size
        c.covariances, c.diagonal = full_covariances, full_diagonal
        c.precisions_cholesky = full_precisions_cholesky
    elif covariance_type == TIED:
        c.covariances_size, c.scratch_size = tied_covariances_size, tied_scratch_size
        c.covariances, c.diagonal = tied_covariances, tied_diagonal
        c.precisions_cholesky = tied_precisions_cholesky
    elif covariance_type == DIAG:
        c.covariances_size, c.scratch_size = diag_covariances_size, diag_scratch_size
        c.covariances, c.diagonal = diag_covariances, diag_diagonal
        c.precisions_cholesky = diag_precisions_cholesky
    else:
        c.covariances_size, c.scratch_size = spherical_covariances_size, spherical_scratch_size
        c.covariances, c.diagonal = spherical_covariances, spherical_diagonal
        c.precisions_cholesky = spherical_precisions_cholesky
    return c
