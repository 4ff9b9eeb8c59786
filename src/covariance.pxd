"""The table of covariance types: the number of each type, and the functions of its E-step and its M-step.

To add a type, write a file like diag.pxd, and add here a number and a row to each of the three functions.
"""
from layout cimport Active, Change, Diagonal, Mixture, Statistics, Tile, real
from full cimport (
    full_factor_size, full_moments_size, full_pack, full_log_prob, full_accumulate,
    full_log_prob_some, full_accumulate_some, full_changes,
    full_covariances_size, full_diagonal, full_scratch_size,
    full_covariances, full_precisions_cholesky,
)
from tied cimport (
    tied_factor_size, tied_moments_size, tied_pack, tied_log_prob, tied_accumulate,
    tied_log_prob_some, tied_accumulate_some, tied_changes,
    tied_covariances_size, tied_diagonal, tied_scratch_size,
    tied_covariances, tied_precisions_cholesky,
)
from diag cimport (
    diag_factor_size, diag_moments_size, diag_pack, diag_log_prob, diag_accumulate,
    diag_log_prob_some, diag_accumulate_some, diag_changes,
    diag_covariances_size, diag_diagonal, diag_scratch_size,
    diag_covariances, diag_precisions_cholesky,
)
from constrained cimport (
    constrained_diag_scratch_size, constrained_full_scratch_size, eei_covariances, eev_covariances, eii_covariances,
    evi_covariances, evv_covariances, vee_covariances, vei_covariances, vev_covariances,
)
from common_axes cimport common_axes_scratch_size, eve_covariances, vve_covariances
from spherical cimport (
    spherical_factor_size, spherical_moments_size, spherical_pack, spherical_log_prob, spherical_accumulate,
    spherical_log_prob_some, spherical_accumulate_some, spherical_changes,
    spherical_covariances_size, spherical_diagonal, spherical_scratch_size,
    spherical_covariances, spherical_precisions_cholesky,
)


cdef enum CovarianceType:
    FULL = 0
    TIED = 1
    DIAG = 2
    SPHERICAL = 3


# Numbers of M-steps only: the E-steps of these types are those of types without constraints.
cdef enum ConstrainedType:
    EII = 4
    EEI = 5
    VEI = 6
    EVI = 7
    EEV = 8
    VEV = 9
    EVV = 10
    VEE = 11
    EVE = 12
    VVE = 13


ctypedef Py_ssize_t (*SizeOf)(Py_ssize_t K, Py_ssize_t D) noexcept nogil
ctypedef void (*Pack)(const double* U, const double* means, real* factor, Py_ssize_t K, Py_ssize_t D) noexcept nogil
ctypedef int (*LogProb)(Tile* t, const Mixture* m) noexcept nogil
ctypedef int (*Accumulate)(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil
ctypedef int (*LogProbSome)(Tile* t, const Mixture* m, const Active* a) noexcept nogil
ctypedef int (*AccumulateSome)(
    Tile* t, const real* shift_hi, const real* shift_lo, bint at_means,
    double* counts, double* first, double* second, Py_ssize_t K, Py_ssize_t D, const Active* a,
) noexcept nogil
ctypedef void (*Changes)(
    const double* U_before, const double* means_before, const double* U, const double* means, Change* changes,
    double* scratch, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil
ctypedef Diagonal (*DiagonalOf)(Py_ssize_t D) noexcept nogil
ctypedef void (*Covariances)(const Statistics* s, double* covariances) noexcept nogil
ctypedef Py_ssize_t (*PrecisionsCholesky)(
    const double* covariances, double* precisions_cholesky, double* scratch, Py_ssize_t K, Py_ssize_t D, int n_threads,
) noexcept nogil


# The E-step of a type, for the element type of this build. The fields are assigned one by one, because a call
# of the structure's constructor would make Cython generate Python wrappers of all these functions.
cdef struct EStep:
    SizeOf factor_size      # number of reals in the factor of a prepared mixture
    SizeOf moments_size     # number of doubles that hold the second moments
    Pack pack               # make the factor of a prepared mixture from precisions_cholesky
    LogProb log_prob        # write the weighted log-probabilities to tile.r
    Accumulate accumulate   # add the moments under the responsibilities in tile.r


cdef inline EStep e_step_of(int covariance_type) noexcept nogil:
    """Return the functions of the E-step"""
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


# The E-step of a type in a pass that skips pairs of a sample and a component (see regions.pxd).
cdef struct SkippingStep:
    LogProbSome log_prob        # as in EStep, for some pairs
    AccumulateSome accumulate   # as in EStep, for some pairs
    Changes changes             # compute how distances change between two mixtures


cdef inline SkippingStep skipping_step_of(int covariance_type) noexcept nogil:
    """Return the functions of the E-step that skips pairs"""
    cdef SkippingStep c
    if covariance_type == FULL:
        c.log_prob, c.accumulate, c.changes = full_log_prob_some, full_accumulate_some, full_changes
    elif covariance_type == TIED:
        c.log_prob, c.accumulate, c.changes = tied_log_prob_some, tied_accumulate_some, tied_changes
    elif covariance_type == DIAG:
        c.log_prob, c.accumulate, c.changes = diag_log_prob_some, diag_accumulate_some, diag_changes
    else:
        c.log_prob, c.accumulate, c.changes = (
            spherical_log_prob_some, spherical_accumulate_some, spherical_changes
        )
    return c


# The M-step of a type. It is computed in double for both element types.
cdef struct MStep:
    SizeOf covariances_size     # number of doubles in the covariances, and in their factors
    SizeOf scratch_size         # number of doubles of scratch that precisions_cholesky needs
    Covariances covariances     # compute the covariances from the statistics
    DiagonalOf diagonal         # the place of the variances among the covariances
    # Factor the precisions; return 0, or 1 + the first component whose covariance is not positive definite.
    PrecisionsCholesky precisions_cholesky


cdef inline MStep m_step_of(int covariance_type) noexcept nogil:
    """Return the functions of the M-step"""
    cdef MStep c
    if covariance_type == FULL or covariance_type >= EEV:
        c.covariances_size, c.scratch_size = full_covariances_size, full_scratch_size
        c.covariances, c.diagonal = full_covariances, full_diagonal
        c.precisions_cholesky = full_precisions_cholesky
    elif covariance_type == TIED:
        c.covariances_size, c.scratch_size = tied_covariances_size, tied_scratch_size
        c.covariances, c.diagonal = tied_covariances, tied_diagonal
        c.precisions_cholesky = tied_precisions_cholesky
    elif covariance_type == DIAG or EEI <= covariance_type <= EVI:
        c.covariances_size, c.scratch_size = diag_covariances_size, diag_scratch_size
        c.covariances, c.diagonal = diag_covariances, diag_diagonal
        c.precisions_cholesky = diag_precisions_cholesky
    else:
        c.covariances_size, c.scratch_size = spherical_covariances_size, spherical_scratch_size
        c.covariances, c.diagonal = spherical_covariances, spherical_diagonal
        c.precisions_cholesky = spherical_precisions_cholesky
    if covariance_type >= EVE:
        c.scratch_size = common_axes_scratch_size
    elif covariance_type >= EEV:
        c.scratch_size = constrained_full_scratch_size
    elif covariance_type >= EEI:
        c.scratch_size = constrained_diag_scratch_size
    if covariance_type == EII:
        c.covariances = eii_covariances
    elif covariance_type == EEI:
        c.covariances = eei_covariances
    elif covariance_type == VEI:
        c.covariances = vei_covariances
    elif covariance_type == EVI:
        c.covariances = evi_covariances
    elif covariance_type == EEV:
        c.covariances = eev_covariances
    elif covariance_type == VEV:
        c.covariances = vev_covariances
    elif covariance_type == EVV:
        c.covariances = evv_covariances
    elif covariance_type == VEE:
        c.covariances = vee_covariances
    elif covariance_type == EVE:
        c.covariances = eve_covariances
    elif covariance_type == VVE:
        c.covariances = vve_covariances
    return c
