"""The M-step of maximum likelihood: it computes the parameters of a mixture from statistics.

The kernel is in src/maximize.pxd.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from gmm_core.core.dispatch import check_status, maximization
from gmm_core.core.errors import IllDefinedCovarianceError, NumericalError
from gmm_core.core.types import Float64Array, RegCovar
from gmm_core.data.passes import Pass
from gmm_core.fit.fixed import Fixed
from gmm_core.fit.loop import Algorithm
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import Mixture, Prepared
from gmm_core.model.statistics import Statistics

# The factor (mean - shift)**2 / variance amplifies the rounding errors of the second moments (Chan,
# Golub & LeVeque 1983). If it is larger than this, the moments are computed again, about the new
# means.
MAX_DRIFT = 100.0
_NONE = np.empty(0)
_EPS = float(np.finfo(np.float64).eps)

NOT_POSITIVE_DEFINITE = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    "number of components, increase reg_covar, or scale the input data."
)


def maximum_likelihood(
    data: Pass,
    reg_covar: RegCovar,
    log_noise_density: float | None = None,
    fixed: Fixed | None = None,
) -> Algorithm[Mixture]:
    """Return the steps of EM for maximum likelihood.

    Parameters
    ----------
    data : Pass
    reg_covar : float or ndarray of shape (n_features,)
        The regularisation that is added to the diagonal of every covariance.
    log_noise_density : float or None, default=None
        The logarithm of the density of the noise component, if there is one.
    fixed : Fixed or None, default=None
        The parameters that do not change.

    Returns
    -------
    Algorithm
        Its bound is the mean log-likelihood.
    """
    regular = np.full(data.n_features, reg_covar, np.float64)

    def maximization(statistics: Statistics, mixture: Mixture) -> Mixture:
        if fixed is None:
            return step(statistics, partial(data.expectation, mixture), mixture)
        held = fixed.hold(statistics, mixture, regular)
        improved = step(
            held, lambda c: fixed.hold(data.expectation(mixture, c), mixture, regular), mixture
        )
        return fixed.restore(improved, statistics, mixture)

    def step(
        statistics: Statistics, about: Callable[[Float64Array], Statistics], before: Mixture
    ) -> Mixture:
        return maximization_step(
            statistics, regular, data.n_threads, about, before.covariances, log_noise_density
        )[0]

    return Algorithm(data.expectation, maximization, _mean, data.mean_log_likelihood)


def _mean(statistics: Statistics, mixture: Mixture, improved: Mixture) -> float:
    """Return the bound of maximum likelihood, the mean log-likelihood."""
    return statistics.mean_log_likelihood


def maximization_step(
    statistics: Statistics,
    reg_covar: RegCovar,
    n_threads: int = 1,
    about: Callable[[Float64Array], Statistics] | None = None,
    before: Float64Array | None = None,
    log_noise_density: float | None = None,
) -> tuple[Mixture, float]:
    """Return the mixture that maximises the expected log-likelihood of the statistics.

    π_k = N_k / N, μ_k = c_k + s_k / N_k, Σ_k = S_k / N_k − (s_k / N_k)(s_k / N_k)ᵀ for counts N_k
    and moments s_k, S_k about c_k (Bishop 2006, equations 9.24 to 9.26).

    Parameters
    ----------
    statistics : Statistics
    reg_covar : float or ndarray of shape (D,)
        The regularisation that is added to the diagonal of the covariances. For a spherical
        variance it is the mean of the array.
    n_threads : int, default=1
    about : callable, default=None
        Computes the statistics again, with moments about other origins. It is called if the means
        lie so far from the origins of `statistics` that the covariances have lost digits.
    before : ndarray, default=None
        The covariances before the M-step. Types whose components share their axes, which have to be
        searched for, begin at the axes of these covariances, or else from several starts.
    log_noise_density : float or None, default=None
        The logarithm of the density of the noise component, if there is one. Then the N of
        π_k = N_k / N is the total weight of the samples, and not the sum of the counts.

    Returns
    -------
    mixture : Mixture
    drift : float
        Largest (μ − shift)² / variance over components and features, the factor that amplifies
        the rounding errors of the second moments.

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance is not positive definite; the message names the component.
    """
    if not isinstance(reg_covar, np.ndarray):
        reg_covar = np.full(statistics.shift.shape[1], reg_covar, np.float64)
    weights, means, covariances, factor, log_constant, failed, drift = _kernel(
        statistics, reg_covar, n_threads, before
    )
    kind = COVARIANCE_TYPES[statistics.covariance_type]
    if drift > MAX_DRIFT and about is not None:
        return maximization_step(
            about(means), reg_covar, n_threads, None, before, log_noise_density
        )
    noise = None
    if log_noise_density is not None and not (
        statistics.counts.sum() > 10 * _EPS * statistics.weight
    ):
        raise NumericalError(
            "all samples are noise: give a smaller density as noise, or another start"
        )
    if failed:
        raise ill_defined(kind, failed - 1)
    if log_noise_density is not None:
        # The kernel has made the weights sum to 1. The noise has what the counts lack to the total.
        share = float(statistics.counts.sum()) / statistics.weight
        weights *= share
        log_constant[-1] += math.log(share)
        noise = Noise(log_noise_density, max(1 - share, 0.0))
    prepared = Prepared(weights, means, factor, log_constant, kind.name, noise)
    return Mixture(weights, means, covariances, prepared), drift


def ill_defined(kind: CovarianceType, k: int) -> IllDefinedCovarianceError:
    """Return the error for a covariance that is not positive definite: that of component k."""
    return IllDefinedCovarianceError(
        f"{NOT_POSITIVE_DEFINITE} The {kind.name_part('covariance', k)} is not positive definite."
    )


class _Made(NamedTuple):
    """What the kernel of the M-step has made; see src/_maximization.pyx."""

    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    factor: Float64Array
    log_constant: Float64Array
    failed: int
    drift: float


def _kernel(
    statistics: Statistics,
    reg_covar: Float64Array,
    n_threads: int,
    before: Float64Array | None,
) -> _Made:
    """Call the kernel of the M-step."""
    K, D = statistics.shift.shape
    kind = COVARIANCE_TYPES[statistics.covariance_type]
    shape = kind.shape(K, D)
    weights, log_constant, means = np.empty(K), np.empty(K + 1), np.empty((K, D))
    covariances, factor = np.empty(shape), np.empty(shape)
    scratch = np.empty(maximization.scratch_size(kind.m_step_code, K, D))
    before = _NONE if before is None else before
    failed, drift = maximization.maximization_step(
        statistics.values, statistics.shift, reg_covar, weights, means, covariances.reshape(-1),
        factor.reshape(-1), log_constant, before.reshape(-1), scratch, np.empty(K, np.int8),
        kind.m_step_code, n_threads,
    )  # fmt: skip
    check_status(failed)
    return _Made(weights, means, covariances, factor, log_constant, failed, drift)


def moments_of_components(
    statistics: Statistics, n_threads: int = 1
) -> tuple[Float64Array, Float64Array]:
    """Return the means and the covariances of the samples of each component.

    Covariances may be singular. A component without samples has its origin as mean, and the pooled
    covariance.

    Parameters
    ----------
    statistics : Statistics
    n_threads : int, default=1
    """
    made = _kernel(statistics, np.zeros(statistics.shift.shape[1]), n_threads, None)
    return made.means, made.covariances
