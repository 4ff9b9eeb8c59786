"""The posterior distribution of the parameters of a mixture, as variational inference has it.

The weights have a Dirichlet distribution, or are those of a Dirichlet process with a stick for each
component. Given its precision, the mean of a component is Gaussian, and the precision has the
distribution of `model/covariance/conjugate.py`. (Bishop 2006, section 10.2; Blei & Jordan 2006.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.errors import IllDefinedCovarianceError
from gmm_core.core.special import digamma, log_gamma, multivariate_log_gamma
from gmm_core.core.types import Float64Array
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.model.covariance.conjugate import PrecisionPrior, Wisharts
from gmm_core.model.parameters import Mixture, prepare_log_weights

# A component holds samples if their responsibilities sum to at least this.
HELD = 0.5

_WISHARTS = Wisharts()


class Prior(NamedTuple):
    """The prior distribution of the parameters.

    Attributes
    ----------
    process : bool
        Whether the weights are those of a Dirichlet process, and not of a Dirichlet distribution.
    weight_concentration : float
    mean_precision : float
    mean : ndarray of shape (D,)
    precision : PrecisionPrior
    """

    process: bool
    weight_concentration: float
    mean_precision: float
    mean: Float64Array
    precision: PrecisionPrior


class Posterior(NamedTuple):
    """The posterior distribution of the parameters.

    Attributes
    ----------
    weight_concentration : ndarray of shape (K,), or (2, K) for a Dirichlet process
        The parameters of the Dirichlet distribution, or of the Beta distributions of the sticks.
    mean_precision : ndarray of shape (K,)
    degrees_of_freedom : ndarray of shape (K,), or () if all components share one precision
    mixture : Mixture
        The expected weights and means, and the inverses of the expected precisions, prepared for
        the E-step.
    log_det_correction : ndarray of shape (K,) or ()
        E log |Λ_k| − log |E Λ_k|.
    conjugate : bool
        Whether the distributions are the conjugate ones, and not those of scikit-learn.
    """

    weight_concentration: Float64Array
    mean_precision: Float64Array
    degrees_of_freedom: Float64Array
    mixture: Mixture
    log_det_correction: Float64Array
    conjugate: bool

    @property
    def covariances(self) -> Float64Array:
        """The inverses of the expected precisions."""
        return self.mixture.covariances

    @property
    def kind(self) -> CovarianceType:
        """The covariance type."""
        return self.mixture.kind


class Moments(NamedTuple):
    """What the M-step needs to know of the samples.

    Attributes
    ----------
    counts : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : ndarray in the shape of the type
        The covariances of the samples of each component about their mean.
    """

    counts: Float64Array
    means: Float64Array
    covariances: Float64Array


def update(
    moments: Moments, prior: Prior, reg_covar: Float64Array, covariance_type: str, conjugate: bool
) -> Posterior:
    """Return the posterior that given responsibilities lead to: the M-step.

    With m_0, β_0, ν_0, C_0 of the prior and N_k, x̄_k, S_k of the samples (Bishop 2006, equations
    10.58 and 10.60 to 10.63):

        β_k = β_0 + N_k,  m_k = (β_0 m_0 + N_k x̄_k) / β_k,  ν_k = ν_0 + N_k,
        ν_k E[Λ_k]⁻¹ = C_0 + N_k S_k + β_0 N_k / β_k (x̄_k − m_0)(x̄_k − m_0)ᵀ.

    For a shared precision, ν = ν_0 + N and the other terms are summed over the components;
    scikit-learn divides these sums and N by K. For the sake of the drop-in, `reg_covar` is added to
    S_k.

    Parameters
    ----------
    moments : Moments
    prior : Prior
    reg_covar : ndarray of shape (D,)
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    conjugate : bool

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance is not positive definite.
    """
    kind = COVARIANCE_TYPES[covariance_type]
    precision, (counts, centers, covariances) = kind.conjugate, moments
    K, D = centers.shape
    mean_precision = prior.mean_precision + counts
    means = (
        prior.mean_precision * prior.mean + counts[:, np.newaxis] * centers
    ) / mean_precision[:, np.newaxis]
    share = prior.mean_precision * counts / mean_precision
    # As in scikit-learn, `reg_covar` keeps the variances of a component without samples above 0,
    # even if the prior is singular.
    least = 10 * np.finfo(np.float64).eps * precision.regularised(0 * covariances, reg_covar)
    scatter = precision.scatter(precision.regularised(covariances, reg_covar), counts) + least
    scatter = scatter + precision.between(share, centers - prior.mean)
    n = _counts_of_precisions(counts, kind, conjugate)
    if precision.shared and not conjugate:
        scatter = scatter / K
    degrees = prior.precision.degrees_of_freedom + n
    covariances = precision.divided(prior.precision.covariance + scatter, degrees)
    try:
        factor = kind.factor_covariances(covariances, D)
    except ValueError as error:
        raise IllDefinedCovarianceError(
            f"{error}. Increase reg_covar, give a covariance_prior, or scale the data."
        ) from None
    return assemble(
        _concentration(counts, prior), mean_precision, degrees, means, covariances, factor,
        covariance_type, conjugate,
    )  # fmt: skip


def with_counts(
    counts: Float64Array,
    means: Float64Array,
    covariances: Float64Array,
    factor: Float64Array,
    prior: Prior,
    covariance_type: str,
    conjugate: bool,
) -> Posterior:
    """Return the posterior with these counts, expected means and inverse expected precisions."""
    n = _counts_of_precisions(counts, COVARIANCE_TYPES[covariance_type], conjugate)
    return assemble(
        _concentration(counts, prior), prior.mean_precision + counts,
        prior.precision.degrees_of_freedom + n, means, covariances, factor, covariance_type,
        conjugate,
    )  # fmt: skip


def _counts_of_precisions(
    counts: Float64Array, kind: CovarianceType, conjugate: bool
) -> Float64Array:
    """Return the counts that are added to the degrees of freedom, (K,) or () if they are shared."""
    if not kind.conjugate.shared:
        return counts
    total = np.asarray(counts.sum())
    return total if conjugate else total / len(counts)


def assemble(
    weight_concentration: Float64Array,
    mean_precision: Float64Array,
    degrees_of_freedom: Float64Array,
    means: Float64Array,
    covariances: Float64Array,
    factor: Float64Array,
    covariance_type: str,
    conjugate: bool,
) -> Posterior:
    """Return the posterior with these parameters, prepared for the E-step.

    The log-density of the E-step is E log π_k + E log N(x | μ_k, Λ_k⁻¹), that is the logarithm of
    N(x | m_k, E[Λ_k]⁻¹) plus E log π_k + (E log |Λ_k| − log |E Λ_k|) / 2 − D / (2 β_k) (Bishop
    2006, equation 10.46). So it is an ordinary E-step with other weights.
    """
    D = means.shape[1]
    of_type = COVARIANCE_TYPES[covariance_type].conjugate if conjugate else _WISHARTS
    correction = of_type.log_det_correction(degrees_of_freedom, D)
    log_weights = expected_log_weights(weight_concentration) + (correction - D / mean_precision) / 2
    prepared = prepare_log_weights(log_weights, means, factor, covariance_type)
    mixture = Mixture(expected_weights(weight_concentration), means, covariances, prepared)
    return Posterior(
        weight_concentration, mean_precision, degrees_of_freedom, mixture, correction, conjugate
    )


def posterior_from(
    attributes: Mapping[str, Any], mixture: Mixture, conjugate: bool
) -> Posterior:
    """Return the posterior that fitted attributes describe.

    Parameters
    ----------
    attributes : dict
        The attributes, with `weight_concentration_`, `mean_precision_` and `degrees_of_freedom_`.
    mixture : Mixture
        The mixture that the other attributes describe.
    conjugate : bool

    Raises
    ------
    AttributeError
        If one of these attributes is missing.
    ValueError
        If one of them has a shape or values that it cannot have.
    """
    K, D = mixture.means.shape
    shared = mixture.kind.conjugate.shared

    def values(name: str, shapes: tuple[tuple[int, ...], ...], low: float) -> Float64Array:
        if name not in attributes:
            raise AttributeError(f"the model has no {name}")
        array = np.asarray(attributes[name], np.float64)
        if array.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
        if not ((array > low) & (array < np.inf)).all():
            raise ValueError(f"{name} must be finite and greater than {low:g}")
        return array

    return assemble(
        values("weight_concentration_", ((K,), (2, K)), 0),
        values("mean_precision_", ((K,),), 0),
        values("degrees_of_freedom_", ((),) if shared else ((K,),), D - 1),
        mixture.means, mixture.covariances, mixture.prepared.precisions_cholesky,
        mixture.covariance_type, conjugate,
    )  # fmt: skip


def counts_of(
    posterior: Posterior, weight_concentration_prior: float, mean_precision_prior: float
) -> Float64Array:
    """Return the counts N_k, which are 0 where rounding beside the prior leaves no digits of them.

    They are read from the parameter beside whose prior they keep the most digits.
    """
    concentration = posterior.weight_concentration
    if len(concentration.shape) == 2:
        values, prior = concentration[0], 1.0
    elif weight_concentration_prior < mean_precision_prior:
        values, prior = concentration, weight_concentration_prior
    else:
        values, prior = posterior.mean_precision, mean_precision_prior
    counts: Float64Array = values - prior
    counts[counts < 1e-6 * values] = 0
    return counts


def read_as_conjugate(posterior: Posterior) -> Posterior:
    """Return the conjugate posterior with the same parameters."""
    if posterior.conjugate:
        return posterior
    mixture = posterior.mixture
    return assemble(
        posterior.weight_concentration, posterior.mean_precision, posterior.degrees_of_freedom,
        mixture.means, mixture.covariances, mixture.prepared.precisions_cholesky,
        mixture.covariance_type, conjugate=True,
    )  # fmt: skip


def has_wishart_determinants(posterior: Posterior) -> bool:
    """Return whether E log |Λ_k| is that of Wishart distributions, as scikit-learn takes it."""
    D = posterior.mixture.means.shape[1]
    expected = _WISHARTS.log_det_correction(posterior.degrees_of_freedom, D)
    return np.allclose(posterior.log_det_correction, expected, rtol=1e-13, atol=0)


# --- weights ------------------------------------------------------------------------------------


def _concentration(counts: Float64Array, prior: Prior) -> Float64Array:
    """Return the parameters of the distribution of the weights."""
    if not prior.process:
        return prior.weight_concentration + counts
    after = np.append(np.cumsum(counts[:0:-1])[::-1], 0.0)  # the counts of the later sticks
    return np.stack([1.0 + counts, prior.weight_concentration + after])


def expected_log_weights(weight_concentration: Float64Array) -> Float64Array:
    """Return E log π_k."""
    expected: Float64Array
    if weight_concentration.ndim == 1:
        expected = digamma(weight_concentration) - digamma(weight_concentration.sum())
        return expected
    log_stick, log_rest = _log_sticks(weight_concentration)
    expected = log_stick + np.append(0.0, np.cumsum(log_rest)[:-1])
    return expected


def _log_sticks(weight_concentration: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return E log v_k and E log (1 − v_k) of the sticks."""
    a, b = weight_concentration
    total = digamma(a + b)
    return digamma(a) - total, digamma(b) - total


def expected_weights(weight_concentration: Float64Array) -> Float64Array:
    """Return the expected weights, which are scaled to sum to 1.

    Each component has a stick of its own, the last one too, as in scikit-learn; so the expected
    weights of a Dirichlet process would sum to less than 1.
    """
    weights = weight_concentration
    if weight_concentration.ndim == 2:
        a, b = weight_concentration
        weights = a / (a + b) * np.append(1.0, np.cumprod(b / (a + b))[:-1])
    expected: Float64Array = weights / weights.sum()
    return expected


def _weight_divergence(weight_concentration: Float64Array, prior: Prior) -> float:
    """Return the Kullback-Leibler divergence of the posterior of the weights from their prior."""
    gamma = np.float64(prior.weight_concentration)
    if not prior.process:
        alpha, K = weight_concentration, len(weight_concentration)
        divergence = log_gamma(alpha.sum()) - log_gamma(alpha).sum()
        divergence += K * log_gamma(gamma) - log_gamma(K * gamma)
        return float(divergence + ((alpha - gamma) * expected_log_weights(alpha)).sum())
    (a, b), (log_stick, log_rest) = weight_concentration, _log_sticks(weight_concentration)
    log_beta = log_gamma(a) + log_gamma(b) - log_gamma(a + b)
    per_stick = (a - 1) * log_stick + (b - gamma) * log_rest - log_beta - np.log(gamma)
    return float(per_stick.sum())


# --- bounds -------------------------------------------------------------------------------------


def expected_log_joint(moments: Moments, posterior: Posterior) -> float:
    """Return Σ_nk r_nk (E log π_k + E log N(x_n | μ_k, Λ_k⁻¹)), in nats."""
    mixture, counts = posterior.mixture, moments.counts
    constants = mixture.prepared.log_constant
    precision, D = mixture.kind.conjugate, moments.means.shape[1]
    scatter = precision.scatter(moments.covariances, counts)
    scatter = scatter + precision.between(counts, moments.means - mixture.means)
    inverse, _ = mixture.kind.precisions_and_covariances(mixture.prepared.precisions_cholesky)
    constant = float((counts * (constants[:-1] + constants[-1])).sum())
    return constant - precision.trace(inverse, scatter, D) / 2


def divergence(posterior: Posterior, prior: Prior) -> float:
    """Return the divergence of the posterior from the prior, in nats (Bishop 2006, 10.71 to 10.77).

    The evidence lower bound is the expected log-joint plus the entropy of the responsibilities,
    minus this divergence.
    """
    mixture, beta, beta_0 = posterior.mixture, posterior.mean_precision, prior.mean_precision
    precision, (K, D) = mixture.kind.conjugate, mixture.means.shape
    inverse, _ = mixture.kind.precisions_and_covariances(mixture.prepared.precisions_cholesky)
    of_means = 0.5 * D * float((np.log(beta / beta_0) + beta_0 / beta - 1).sum())
    distances = precision.between(np.full(K, beta_0), mixture.means - prior.mean)
    of_means += precision.trace(inverse, distances, D) / 2
    of_precisions = precision.divergence(
        prior.precision, inverse, log_determinant(posterior), posterior.degrees_of_freedom, D
    )
    of_weights = _weight_divergence(posterior.weight_concentration, prior)
    return float(of_means + of_precisions + of_weights)


def log_determinant(posterior: Posterior) -> Float64Array:
    """Return log |E Λ_k|, of shape (K,), or () if all components share one precision."""
    mixture = posterior.mixture
    factor, D = mixture.prepared.precisions_cholesky, mixture.means.shape[1]
    return mixture.kind.log_det_of_factor(factor, D)


def sklearn_bound(entropy: float, posterior: Posterior) -> float:
    """Return scikit-learn's `lower_bound_`, which leaves out constants.

    Parameters
    ----------
    entropy : float
        −Σ_nk r_nk log r_nk.
    posterior : Posterior
        The posterior that these responsibilities lead to.
    """
    K, D = posterior.mixture.means.shape
    nu, log_det = posterior.degrees_of_freedom, log_determinant(posterior)
    # log_det / 2 is that of the factor; scikit-learn takes it without the degrees of freedom.
    log_gammas = multivariate_log_gamma(nu / 2, D) - D * (D - 1) / 4 * np.log(np.pi)
    log_wishart = -(nu * (log_det - D * np.log(nu)) / 2 + nu * D / 2 * np.log(2) + log_gammas)
    shared = posterior.kind.conjugate.shared
    of_precisions = float(log_wishart.sum()) * (K if shared else 1)
    concentration = posterior.weight_concentration
    if concentration.ndim == 1:
        of_weights = float(log_gamma(concentration.sum()) - log_gamma(concentration).sum())
    else:
        a, b = concentration
        of_weights = -float((log_gamma(a) + log_gamma(b) - log_gamma(a + b)).sum())
    of_means = 0.5 * D * float(np.log(posterior.mean_precision).sum())
    return float(entropy - of_precisions - of_weights - of_means)
