"""Conjugate distributions of the precisions, for the variational mixture.

With full and tied covariances, a precision matrix Λ has a Wishart distribution with ν degrees of
freedom and the mean ν W. With diagonal covariances, the precision of each feature has the Gamma
distribution of shape ν / 2, and with spherical ones the common precision has the Gamma distribution
of shape ν D / 2. All are described by ν and the inverse of the mean, which is called the covariance
here; the parameter `covariance_prior` is this inverse times ν. (Bishop 2006, section 10.2.)

"Scatter" is Σ_n r_nk (x_n − c)(x_n − c)ᵀ of a component in the form of its type: a matrix, the
diagonal of this matrix, or the mean of the diagonal. For a tied covariance it is the sum over the
components.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from gmm_core.core.special import (
    digamma,
    log_gamma,
    multivariate_digamma,
    multivariate_log_gamma,
)
from gmm_core.core.types import Float64Array

_LOG_2 = float(np.log(2))


class PrecisionPrior(NamedTuple):
    """The prior distribution of the precisions.

    Attributes
    ----------
    degrees_of_freedom : float
    covariance : ndarray
        The inverse of the mean of the precision, times the degrees of freedom.
    log_det : float
        The logarithm of its determinant; −inf if it is singular, so that the prior is improper.
    """

    degrees_of_freedom: float
    covariance: Float64Array
    log_det: float


class Conjugate(ABC):
    """The distribution of the precisions of one covariance type."""

    shared = False  # whether all components have one precision

    @abstractmethod
    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        """Return the shape of the parameter `covariance_prior`."""

    @abstractmethod
    def prior_of(self, covariance: Float64Array) -> Float64Array:
        """Return the default of `covariance_prior`, given the covariance matrix of the data."""

    @abstractmethod
    def scatter(self, covariances: Float64Array, counts: Float64Array) -> Float64Array:
        """Return the scatter about the means, given the covariances and counts of the samples."""

    @abstractmethod
    def between(self, weights: Float64Array, differences: Float64Array) -> Float64Array:
        """Return the scatter of one point in each component, with these weights."""

    @abstractmethod
    def regularised(self, covariances: Float64Array, reg_covar: Float64Array) -> Float64Array:
        """Return covariances with `reg_covar` (D,) added to the variances."""

    @abstractmethod
    def divided(self, scatter: Float64Array, degrees_of_freedom: Float64Array) -> Float64Array:
        """Return the covariances, scatter / ν."""

    @abstractmethod
    def trace(self, precisions: Float64Array, scatter: Float64Array, n_features: int) -> float:
        """Return Σ_k tr(Λ_k S_k), where Λ_k are the precisions and S_k the scatter."""

    @abstractmethod
    def log_det_correction(
        self, degrees_of_freedom: Float64Array, n_features: int
    ) -> Float64Array:
        """Return E log |Λ| − log |E Λ|."""

    @abstractmethod
    def log_student(
        self,
        squares: Float64Array,
        log_det: float,
        degrees_of_freedom: float,
        mean_precision: float,
    ) -> Float64Array:
        """Return the posterior predictive log-density of a component: log ∫ N(x | μ, Λ⁻¹) dq(μ, Λ).

        It is that of Student's t distribution, or of a product of such for single features.

        Parameters
        ----------
        squares : ndarray of shape (n, D)
            Squares of the whitened coordinates Uᵀ (x − m), with U Uᵀ = E Λ.
        log_det : float
            log |E Λ|.
        degrees_of_freedom, mean_precision : float
        """

    @abstractmethod
    def divergence(
        self,
        prior: PrecisionPrior,
        precisions: Float64Array,
        log_det: Float64Array,
        degrees_of_freedom: Float64Array,
        n_features: int,
    ) -> float:
        """Return the Kullback-Leibler divergence of the posteriors of Λ from the prior, summed.

        Parameters
        ----------
        prior : PrecisionPrior
        precisions : ndarray
            The means of the posteriors.
        log_det : ndarray of shape (K,) or ()
            log |E Λ|.
        degrees_of_freedom : ndarray of shape (K,) or ()
        n_features : int
        """


class Wisharts(Conjugate):
    """A Wishart distribution for each component."""

    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        return n_features, n_features

    def prior_of(self, covariance: Float64Array) -> Float64Array:
        return covariance

    def scatter(self, covariances: Float64Array, counts: Float64Array) -> Float64Array:
        return counts[:, None, None] * covariances

    def between(self, weights: Float64Array, differences: Float64Array) -> Float64Array:
        weighted = weights[:, None] * differences
        return weighted[:, :, None] * differences[:, None, :]

    def regularised(self, covariances: Float64Array, reg_covar: Float64Array) -> Float64Array:
        return covariances + np.diag(reg_covar)

    def divided(self, scatter: Float64Array, degrees_of_freedom: Float64Array) -> Float64Array:
        return scatter / degrees_of_freedom[..., None, None]

    def trace(self, precisions: Float64Array, scatter: Float64Array, n_features: int) -> float:
        return float((precisions * scatter).sum())

    def log_det_correction(
        self, degrees_of_freedom: Float64Array, n_features: int
    ) -> Float64Array:
        half = degrees_of_freedom / 2
        correction: Float64Array = multivariate_digamma(half, n_features)
        correction = correction - n_features * np.log(half)
        return correction

    def divergence(
        self,
        prior: PrecisionPrior,
        precisions: Float64Array,
        log_det: Float64Array,
        degrees_of_freedom: Float64Array,
        n_features: int,
    ) -> float:
        D, nu, nu_0 = n_features, degrees_of_freedom, prior.degrees_of_freedom
        # −log B(W, ν) of Bishop (B.79), with log |W| = log |E Λ| − D log ν; for the prior, W is the
        # inverse of `covariance_prior`.
        normaliser = nu / 2 * (log_det - D * np.log(nu / 2)) + multivariate_log_gamma(nu / 2, D)
        prior_normaliser = nu_0 / 2 * (D * _LOG_2 - prior.log_det) + multivariate_log_gamma(
            np.float64(nu_0 / 2), D
        )
        expected_log_det = log_det + self.log_det_correction(nu, D)
        per_one = prior_normaliser - normaliser + (nu - nu_0) / 2 * expected_log_det - nu * D / 2
        return float(per_one.sum()) + self.trace(precisions, prior.covariance, D) / 2

    def log_student(
        self,
        squares: Float64Array,
        log_det: float,
        degrees_of_freedom: float,
        mean_precision: float,
    ) -> Float64Array:
        D, nu = squares.shape[1], degrees_of_freedom
        a = nu - D + 1
        # The scale matrix is the covariance times ν (β + 1) / (β a).
        factor = mean_precision / (mean_precision + 1) * a / nu
        return _log_student(factor * squares.sum(axis=1), a, D, log_det + D * np.log(factor))


class OneWishart(Wisharts):
    """A Wishart distribution of the precision that all components share."""

    shared = True

    def scatter(self, covariances: Float64Array, counts: Float64Array) -> Float64Array:
        scatter: Float64Array = counts.sum() * covariances
        return scatter

    def between(self, weights: Float64Array, differences: Float64Array) -> Float64Array:
        scatter: Float64Array = np.einsum("k,ki,kj->ij", weights, differences, differences)
        return scatter


class Gammas(Conjugate):
    """A Gamma distribution for each feature of each component."""

    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        return (n_features,)

    def prior_of(self, covariance: Float64Array) -> Float64Array:
        return np.diagonal(covariance).copy()

    def scatter(self, covariances: Float64Array, counts: Float64Array) -> Float64Array:
        return counts[:, None] * covariances

    def between(self, weights: Float64Array, differences: Float64Array) -> Float64Array:
        return weights[:, None] * differences**2

    def regularised(self, covariances: Float64Array, reg_covar: Float64Array) -> Float64Array:
        return covariances + reg_covar

    def divided(self, scatter: Float64Array, degrees_of_freedom: Float64Array) -> Float64Array:
        return scatter / degrees_of_freedom[:, None]

    def trace(self, precisions: Float64Array, scatter: Float64Array, n_features: int) -> float:
        return float((precisions * scatter).sum())

    def log_det_correction(
        self, degrees_of_freedom: Float64Array, n_features: int
    ) -> Float64Array:
        shape = degrees_of_freedom / 2
        correction: Float64Array = n_features * (digamma(shape) - np.log(shape))
        return correction

    def divergence(
        self,
        prior: PrecisionPrior,
        precisions: Float64Array,
        log_det: Float64Array,
        degrees_of_freedom: Float64Array,
        n_features: int,
    ) -> float:
        shapes = np.repeat(degrees_of_freedom[:, None] / 2, n_features, axis=1)
        return _gamma_divergence(
            prior.degrees_of_freedom / 2, prior.covariance / 2, shapes, precisions
        )

    def log_student(
        self,
        squares: Float64Array,
        log_det: float,
        degrees_of_freedom: float,
        mean_precision: float,
    ) -> Float64Array:
        factor = mean_precision / (mean_precision + 1)
        per_feature = _log_student(factor * squares, degrees_of_freedom, 1, np.log(factor))
        densities: Float64Array = per_feature.sum(axis=1) + log_det / 2
        return densities


class OneGamma(Conjugate):
    """A Gamma distribution of the precision that all features of a component share."""

    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        return ()

    def prior_of(self, covariance: Float64Array) -> Float64Array:
        return np.asarray(np.diagonal(covariance).mean())

    def scatter(self, covariances: Float64Array, counts: Float64Array) -> Float64Array:
        return counts * covariances

    def between(self, weights: Float64Array, differences: Float64Array) -> Float64Array:
        squares: Float64Array = weights * (differences**2).mean(axis=1)
        return squares

    def regularised(self, covariances: Float64Array, reg_covar: Float64Array) -> Float64Array:
        regularised: Float64Array = covariances + reg_covar.mean()
        return regularised

    def divided(self, scatter: Float64Array, degrees_of_freedom: Float64Array) -> Float64Array:
        return scatter / degrees_of_freedom

    def trace(self, precisions: Float64Array, scatter: Float64Array, n_features: int) -> float:
        return n_features * float((precisions * scatter).sum())

    def log_det_correction(
        self, degrees_of_freedom: Float64Array, n_features: int
    ) -> Float64Array:
        shape = degrees_of_freedom * n_features / 2
        correction: Float64Array = n_features * (digamma(shape) - np.log(shape))
        return correction

    def divergence(
        self,
        prior: PrecisionPrior,
        precisions: Float64Array,
        log_det: Float64Array,
        degrees_of_freedom: Float64Array,
        n_features: int,
    ) -> float:
        half = n_features / 2
        return _gamma_divergence(
            prior.degrees_of_freedom * half, prior.covariance * half, degrees_of_freedom * half,
            precisions,
        )  # fmt: skip

    def log_student(
        self,
        squares: Float64Array,
        log_det: float,
        degrees_of_freedom: float,
        mean_precision: float,
    ) -> Float64Array:
        D, factor = squares.shape[1], mean_precision / (mean_precision + 1)
        distances = factor * squares.sum(axis=1)
        return _log_student(distances, degrees_of_freedom * D, D, log_det + D * np.log(factor))


def _log_student(
    distances: Float64Array, degrees_of_freedom: float, n_features: int, log_det: float
) -> Float64Array:
    """Return the log-density of Student's t, given squared distances and log |Σ⁻¹| of its scale."""
    a, D = degrees_of_freedom, n_features
    constant = log_gamma(np.float64((a + D) / 2)) - log_gamma(np.float64(a / 2))
    constant += (log_det - D * np.log(a * np.pi)) / 2
    densities: Float64Array = constant - (a + D) / 2 * np.log1p(distances / a)
    return densities


def _gamma_divergence(
    prior_shape: float, prior_rate: Float64Array, shape: Float64Array, mean: Float64Array
) -> float:
    """Return the summed divergence of Gamma distributions from Gamma(prior_shape, prior_rate)."""
    log_rate = np.log(shape) - np.log(mean)
    expected_log = digamma(shape) - log_rate
    with np.errstate(divide="ignore"):  # the rate is 0 if the prior is improper
        log_prior_rate = np.log(prior_rate)
    per_one = (
        (shape * log_rate - log_gamma(shape) + (shape - 1) * expected_log - shape)
        - (prior_shape * log_prior_rate - log_gamma(np.float64(prior_shape)))
        - (prior_shape - 1) * expected_log + prior_rate * mean
    )  # fmt: skip
    return float(per_one.sum())
