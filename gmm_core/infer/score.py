"""Labels, responsibilities and log-likelihoods of samples under a mixture."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Indices, Labels
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.foreign import ForeignRows
from gmm_core.data.missing import MissingPass
from gmm_core.data.passes import MIN_CHUNK_ROWS
from gmm_core.data.patterns import has_missing
from gmm_core.data.validation import check_sample_weight
from gmm_core.infer.nearest import nearest_components
from gmm_core.model.noise import Box
from gmm_core.model.parameters import Prepared, mixture_of

# `score` computes the log-likelihoods of this many samples at a time, to bound its memory.
_SCORED_ROWS = 1 << 20


class FittedMixture(NamedTuple):
    """A fitted mixture, and the options that its methods use.

    Attributes
    ----------
    prepared : Prepared
    marginalize : bool
        Whether NaN in a sample is a missing value, which is integrated out.
    n_threads : int or None
        The parameter `n_threads` of GaussianMixture.
    box : Box or None, default=None
        The box outside of which the density of the noise is 0; None if there is no noise, or if its
        density was given without a box.
    """

    prepared: Prepared
    marginalize: bool
    n_threads: int | None
    box: Box | None = None


def _evaluate(X: FloatArray, model: FittedMixture, **outputs: AnyArray) -> int:
    """Fill the output arrays; see `ArrayPass.evaluate`.

    The return value is the number of samples whose density is 0 under every component.
    """
    prepared = model.prepared
    K, D = prepared.means.shape
    if X.shape[1] != D:
        raise ValueError(f"X has {X.shape[1]} features, but means_ has {D}")
    n_threads = effective_n_threads(model.n_threads) if len(X) > MIN_CHUNK_ROWS else 1
    what = X, None, K, prepared.covariance_type, n_threads
    if model.marginalize and has_missing(X):
        if prepared.log_noise_density is not None:
            raise ValueError("X has missing values, which a mixture with noise does not take")
        return MissingPass(*what).evaluate(mixture_of(prepared, n_threads=n_threads), **outputs)
    return ArrayPass(*what).evaluate(prepared, **outputs)


def _rows_without_density(X: FloatArray, model: FittedMixture) -> Indices:
    """Return the rows of the samples whose density is 0 under every component."""
    log_likelihood = np.empty(len(X), X.dtype)
    _evaluate(X, model, log_likelihood=log_likelihood)
    return np.flatnonzero(~(log_likelihood > -np.inf))


def labels(X: FloatArray | ForeignRows, model: FittedMixture) -> Labels:
    """Return the component with the largest responsibility for each sample, or −1 for the noise.

    See `responsibilities` for samples whose density is 0 under every component.
    """
    if isinstance(X, ForeignRows):
        return X.map(lambda part: labels(part, model), np.empty(len(X), np.int64))
    out = np.empty(len(X), np.int64)
    if _evaluate(X, model, labels=out):
        rows = _rows_without_density(X, model)
        out[rows] = nearest_components(X[rows], model.prepared)
    return out


def responsibilities(X: FloatArray | ForeignRows, model: FittedMixture) -> FloatArray:
    """Return the responsibilities, of shape (n_samples, K).

    A sample whose density is 0 under every component belongs to the nearest component, as this is
    the limit of the responsibilities when a sample moves away.
    """
    K = len(model.prepared.weights)
    out: AnyArray = np.empty((len(X), K), X.dtype)
    if isinstance(X, ForeignRows):
        return X.map(lambda part: responsibilities(part, model), out)
    if _evaluate(X, model, responsibilities=out):
        rows = _rows_without_density(X, model)
        out[rows] = np.eye(K)[nearest_components(X[rows], model.prepared)]
    return out


def log_likelihood(X: FloatArray | ForeignRows, model: FittedMixture) -> FloatArray:
    """Return log p(x) of each sample, or −inf if its density is 0 under every component.

    Outside its box, the noise has the density 0.
    """
    out: AnyArray = np.empty(len(X), X.dtype)
    if isinstance(X, ForeignRows):
        return X.map(lambda part: log_likelihood(part, model), out)
    _evaluate(X, model, log_likelihood=out)
    if model.box is not None:
        outside = np.flatnonzero(~model.box.contains(X))
        if len(outside):
            gaussian = model.prepared._replace(log_noise_density=None)
            without = model._replace(prepared=gaussian, box=None)
            out[outside] = log_likelihood(X[outside], without)
    return out


def noise_probability(X: FloatArray | ForeignRows, model: FittedMixture) -> FloatArray:
    """Return the responsibility of the noise for each sample.

    As in `labels` and `responsibilities`, its density is the same outside of its box.
    """
    out: AnyArray = np.zeros(len(X), X.dtype)
    log_noise = model.prepared.log_noise
    if log_noise == -np.inf:
        return out
    if isinstance(X, ForeignRows):
        return X.map(lambda part: noise_probability(part, model), out)
    _evaluate(X, model, log_likelihood=out)
    return np.exp(log_noise - out, out=out)


class Score(NamedTuple):
    """The mean log-likelihood of samples, with their weight, for the information criteria.

    Attributes
    ----------
    mean : float
        Weighted mean of the log-likelihoods, in nats per sample.
    weight : float
        Total weight of the samples, or their number if they have no weights.
    """

    mean: float
    weight: float

    def bic(self, n_parameters: int) -> float:
        """Return the Bayesian information criterion, −2 log L + n_parameters · log n."""
        return -2 * self.mean * self.weight + n_parameters * math.log(self.weight)

    def aic(self, n_parameters: int) -> float:
        """Return the Akaike information criterion, −2 log L + 2 n_parameters."""
        return -2 * self.mean * self.weight + 2 * n_parameters


def score(X: FloatArray | ForeignRows, model: FittedMixture, sample_weight: Any = None) -> Score:
    """Return the mean log-likelihood of the samples.

    The mean is taken in float64; the log-likelihoods have the dtype of X.

    Parameters
    ----------
    X : ndarray or ForeignRows of shape (n_samples, n_features)
    model : FittedMixture
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    Score
    """
    weight = check_sample_weight(sample_weight, len(X))
    total = float(len(X)) if weight is None else float(weight.sum())
    mean = 0.0
    for start in range(0, len(X), _SCORED_ROWS):
        rows = slice(start, start + _SCORED_ROWS)
        values = log_likelihood(X[rows], model)
        part = np.ones(len(values)) if weight is None else weight[rows]
        if part.any():  # otherwise the mean would be 0 / 0
            mean += part.sum() / total * weighted_mean(values, part)
    return Score(float(mean), total)


def weighted_mean(log_likelihood: FloatArray, weight: Float64Array) -> float:
    """Return the weighted mean of log-likelihoods, some of which may be −inf, in float64."""
    values: Float64Array = log_likelihood.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        if (weight == 1).all():
            mean = float(values.mean())
        else:
            present = weight > 0  # 0 times -inf would be NaN
            values, weight = values[present], weight[present]
            mean = float((weight * values).sum() / weight.sum())
    if math.isinf(mean):  # the sum may overflow although the mean is finite
        mean = float((weight / weight.sum() * values).sum())
    return mean


Certainty = Literal["map", "entropy"]


def uncertainty(
    X: FloatArray | ForeignRows,
    model: FittedMixture,
    sample_weight: Any = None,
    certainty: Certainty = "map",
) -> float:
    """Return what ICL adds to BIC because samples do not belong to one component with certainty.

    Parameters
    ----------
    X : ndarray or ForeignRows of shape (n_samples, n_features)
    model : FittedMixture
    sample_weight : array-like of shape (n_samples,), default=None
    certainty : {'map', 'entropy'}, default='map'
        'map' takes −2 Σ_n w_n log max_k r_nk, 'entropy' takes −2 Σ_n w_n Σ_k r_nk log r_nk.

    Returns
    -------
    float
        Not negative.
    """
    weight = check_sample_weight(sample_weight, len(X))
    total = 0.0
    for start in range(0, len(X), _SCORED_ROWS):
        rows = slice(start, start + _SCORED_ROWS)
        r: AnyArray = responsibilities(X[rows], model)
        if model.prepared.log_noise_density is not None:
            r = np.column_stack([r, noise_probability(X[rows], model)])
        terms = log_certainties(r, certainty)
        total -= 2 * float(terms.sum() if weight is None else weight[rows] @ terms)
    return total


def log_certainties(responsibilities: FloatArray, certainty: Certainty) -> Float64Array:
    """Return log max_k r_nk of each sample for 'map', Σ_k r_nk log r_nk for 'entropy'."""
    r: Float64Array = responsibilities.astype(np.float64, copy=False)
    terms: Float64Array
    if certainty == "map":
        terms = np.log(r.max(axis=1))
    else:
        terms = np.where(r > 0, r * np.log(np.where(r > 0, r, 1)), 0).sum(axis=1)
    return terms


def check_certainty(certainty: object) -> None:
    """Raise ValueError if `certainty` is none of the choices."""
    if not (isinstance(certainty, str) and certainty in get_args(Certainty)):
        raise ValueError(f"certainty should be 'map' or 'entropy', but got {certainty!r}")
