"""Labels, responsibilities and log-likelihoods of samples under a mixture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Indices, Labels
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import NO_NOISE
from gmm_core.data.foreign import ForeignRows
from gmm_core.data.measurement import NoisyRows
from gmm_core.data.passes import MIN_CHUNK_ROWS
from gmm_core.data.patterns import has_missing
from gmm_core.data.scoring import Scoring, may_skip
from gmm_core.data.validation import check_sample_weight
from gmm_core.infer.nearest import nearest_components
from gmm_core.model.noise import Box
from gmm_core.model.parameters import Prepared

# `score` computes the log-likelihoods of this many samples, and this many responsibilities, at a
# time, to bound its memory.
_SCORED_ROWS = 1 << 20
_RESPONSIBILITIES = 1 << 18

Certainty = Literal["map", "entropy"]


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
    skip : bool, default=True
        Whether pairs of samples and components that do not count may be skipped.
    """

    prepared: Prepared
    marginalize: bool
    n_threads: int | None
    box: Box | None = None
    skip: bool = True


# Samples as the functions here take them, which check nothing.
Rows: TypeAlias = FloatArray | ForeignRows | NoisyRows


def pass_over(X: FloatArray | NoisyRows, model: FittedMixture) -> ArrayPass:
    """Return a pass over samples for this mixture."""
    prepared = model.prepared
    K, D = prepared.means.shape
    if X.shape[1] != D:
        raise ValueError(f"X has {X.shape[1]} features, but means_ has {D}")
    n_threads = effective_n_threads(model.n_threads) if len(X) > MIN_CHUNK_ROWS else 1
    what = None, K, prepared.covariance_type, n_threads
    rows, noise = (X.X, X.noise) if isinstance(X, NoisyRows) else (X, NO_NOISE)
    incomplete = model.marginalize and has_missing(rows)
    if (len(noise) or incomplete) and prepared.noise is not None:
        raise ValueError(
            "a mixture with a noise component takes neither missing values in X nor a "
            "noise_covariance"
        )
    return ArrayPass(rows, *what, incomplete, noise)


def _evaluate(X: FloatArray | NoisyRows, model: FittedMixture, **outputs: AnyArray) -> int:
    """Fill the output arrays; see `ArrayPass.evaluate`.

    The return value is the number of samples whose density is 0 under every component.
    """
    data, prepared = pass_over(X, model), model.prepared
    K, D = prepared.means.shape
    skips = model.skip and "responsibilities" not in outputs and not data.is_rowwise
    if skips and may_skip(len(X), K, D, prepared.kind):
        count = Scoring(data, prepared).evaluate(**outputs)
        if count is not None:
            return count
    return data.evaluate(prepared, **outputs)


def _rows_without_density(X: FloatArray | NoisyRows, model: FittedMixture) -> Indices:
    """Return the rows of the samples whose density is 0 under every component."""
    log_likelihood = np.empty(len(X), X.dtype)
    _evaluate(X, model, log_likelihood=log_likelihood)
    return np.flatnonzero(~(log_likelihood > -np.inf))


def labels(X: Rows, model: FittedMixture, out: Labels | None = None) -> Labels:
    """Return the component with the largest responsibility for each sample, or −1 for the noise.

    See `responsibilities` for samples whose density is 0 under every component. The result is in
    `out`, if it is given; so it is with the next functions.
    """
    if out is None:
        out = np.empty(len(X), np.int64)
    if isinstance(X, ForeignRows):
        return X.map(lambda part: labels(part, model), out)
    if _evaluate(X, model, labels=out):
        rows = _rows_without_density(X, model)
        out[rows] = nearest_components(X[rows], model.prepared)
    return out


def responsibilities(
    X: Rows, model: FittedMixture, out: AnyArray | None = None
) -> FloatArray:
    """Return the responsibilities, of shape (n_samples, K).

    A sample whose density is 0 under every component belongs to the nearest component, as this is
    the limit of the responsibilities when a sample moves away.
    """
    K = len(model.prepared.weights)
    if out is None:
        out = np.empty((len(X), K), X.dtype)
    if isinstance(X, ForeignRows):
        return X.map(lambda part: responsibilities(part, model), out)
    if _evaluate(X, model, responsibilities=out):
        rows = _rows_without_density(X, model)
        out[rows] = np.eye(K)[nearest_components(X[rows], model.prepared)]
    return out


def log_likelihood(X: Rows, model: FittedMixture, out: AnyArray | None = None) -> FloatArray:
    """Return log p(x) of each sample, or −inf if its density is 0 under every component.

    Outside its box, the noise has the density 0.
    """
    if out is None:
        out = np.empty(len(X), X.dtype)
    if isinstance(X, ForeignRows):
        return X.map(lambda part: log_likelihood(part, model), out)
    _evaluate(X, model, log_likelihood=out)
    _remove_noise_outside(X, model, out)
    return out


def _remove_noise_outside(
    X: FloatArray | NoisyRows, model: FittedMixture, out: FloatArray
) -> None:
    """Replace the log-likelihoods of samples outside the box of the noise by those without it."""
    if model.box is None or isinstance(X, NoisyRows):
        return
    outside = np.flatnonzero(~model.box.contains(X))
    if len(outside):
        without = model.prepared._replace(noise=None)
        out[outside] = log_likelihood(X[outside], model._replace(prepared=without, box=None))


def noise_probability(
    X: FloatArray | ForeignRows, model: FittedMixture, out: AnyArray | None = None
) -> FloatArray:
    """Return the responsibility of the noise for each sample.

    As in `labels` and `responsibilities`, its density is the same outside of its box.
    """
    if out is None:
        out = np.empty(len(X), X.dtype)
    log_noise = model.prepared.log_noise
    if log_noise == -np.inf:
        out[:] = 0
        return out
    if isinstance(X, ForeignRows):
        return X.map(lambda part: noise_probability(part, model), out)
    _evaluate(X, model, log_likelihood=out)
    return np.minimum(np.exp(log_noise - out, out=out), 1, out=out)


class Score(NamedTuple):
    """The mean log-likelihood of samples, with their weight, for the information criteria.

    Attributes
    ----------
    mean : float
        Weighted mean of the log-likelihoods, in nats per sample.
    weight : float
        Total weight of the samples, or their number if they have no weights.
    uncertainty : float, default=0.0
        What ICL adds to BIC, as samples do not belong to one component with certainty:
        −2 Σ_n w_n log max_k r_nk, or −2 Σ_n w_n Σ_k r_nk log r_nk. It is not negative.
    """

    mean: float
    weight: float
    uncertainty: float = 0.0

    def bic(self, n_parameters: int) -> float:
        """Return the Bayesian information criterion, −2 log L + n_parameters · log n."""
        return -2 * self.mean * self.weight + n_parameters * math.log(self.weight)

    def aic(self, n_parameters: int) -> float:
        """Return the Akaike information criterion, −2 log L + 2 n_parameters."""
        return -2 * self.mean * self.weight + 2 * n_parameters

    def icl(self, n_parameters: int) -> float:
        """Return the integrated completed likelihood, BIC + uncertainty."""
        return self.bic(n_parameters) + self.uncertainty


def score(
    X: Rows,
    model: FittedMixture,
    sample_weight: Any = None,
    certainty: Certainty | None = None,
) -> Score:
    """Return the mean log-likelihood of the samples.

    The mean is taken in float64; the log-likelihoods have the dtype of X.

    Parameters
    ----------
    X : ndarray, ForeignRows or NoisyRows of shape (n_samples, n_features)
    model : FittedMixture
    sample_weight : array-like of shape (n_samples,), default=None
    certainty : {'map', 'entropy'} or None, default=None
        The kind of the uncertainty that is computed as well; None means that it is left at 0.

    Returns
    -------
    Score
    """
    weight = check_sample_weight(sample_weight, len(X))
    total = float(len(X)) if weight is None else float(weight.sum())
    slices = (slice(at, at + _SCORED_ROWS) for at in range(0, len(X), _SCORED_ROWS))
    parts = (
        _Part(*_values(X[rows], model, certainty), None if weight is None else weight[rows])
        for rows in slices
    )
    return _score_of_parts(parts, total)


def score_of_batches(
    batches: Iterable[tuple[FloatArray | NoisyRows, Float64Array | None]],
    model: FittedMixture,
    certainty: Certainty | None = None,
) -> Score:
    """Return the mean log-likelihood of the samples in checked batches; see `score`.

    Batch sizes do not affect the result. Either all batches have weights, or none.

    Raises
    ------
    ValueError
        If there are no samples, or all their weights are 0.
    """
    scored = _score_of_parts(_joined(batches, model, certainty))
    if not 0 < scored.weight < math.inf:
        raise ValueError(
            f"the total weight of all batches is {scored.weight}, expected a positive number"
        )
    return scored


class _Part(NamedTuple):
    """The values of up to `_SCORED_ROWS` samples; see `with_certainty`."""

    log_likelihood: FloatArray
    terms: Float64Array | None
    sample_weight: Float64Array | None


def _values(
    X: Rows, model: FittedMixture, certainty: Certainty | None
) -> tuple[FloatArray, Float64Array | None]:
    """Return the log-likelihoods, and the terms of the uncertainty if that is asked for."""
    if certainty is None:
        return log_likelihood(X, model), None
    return with_certainty(X, model, certainty)


def _joined(
    batches: Iterable[tuple[FloatArray | NoisyRows, Float64Array | None]],
    model: FittedMixture,
    certainty: Certainty | None,
) -> Iterator[_Part]:
    """Yield the values of the batches in the parts that an array of all rows has."""
    values, terms, weights = np.empty((3, _SCORED_ROWS))
    filled, weighted = 0, False

    def part() -> _Part:
        return _Part(
            values[:filled], None if certainty is None else terms[:filled],
            weights[:filled] if weighted else None,
        )  # fmt: skip

    for X, weight in batches:
        weighted, at = weight is not None, 0
        while at < len(X):
            rows = slice(at, at + _SCORED_ROWS - filled)
            at, n = rows.stop, len(X[rows])
            to = slice(filled, filled + n)
            values[to], found = _values(X[rows], model, certainty)
            if found is not None:
                terms[to] = found
            if weight is not None:
                weights[to] = weight[rows]
            filled += n
            if filled == _SCORED_ROWS:
                yield part()
                filled = 0
    if filled:
        yield part()


def _score_of_parts(parts: Iterable[_Part], total: float | None = None) -> Score:
    """Combine the values of all samples. The total weight is computed if it is not given."""
    means: list[tuple[float, float]] = []  # of each part, with its weight
    uncertainty = 0.0
    for values, terms, given in parts:
        weight = np.ones(len(values)) if given is None else given
        if weight.any():  # otherwise the mean would be 0 / 0
            means.append((weighted_mean(values, weight), float(weight.sum())))
        if terms is not None:
            uncertainty -= 2 * float(terms.sum() if given is None else given @ terms)
    if total is None:
        total = float(sum(weight for _, weight in means))
    mean = 0.0
    for mean_of_part, weight_of_part in means:
        mean += weight_of_part / total * mean_of_part
    return Score(mean, total, uncertainty)


def with_certainty(
    X: Rows, model: FittedMixture, certainty: Certainty
) -> tuple[Float64Array, Float64Array]:
    """Return the log-likelihoods of the samples, and their terms of `log_certainties`."""
    out: AnyArray = np.empty((2, len(X)))
    if isinstance(X, ForeignRows):
        X.map(lambda part: np.transpose(with_certainty(part, model, certainty)), out.T)
        return out[0], out[1]
    K = len(model.prepared.weights)
    at_once = max(_RESPONSIBILITIES // K, MIN_CHUNK_ROWS)
    for start in range(0, len(X), at_once):
        part = X[start : start + at_once]
        values: AnyArray = np.empty(len(part), X.dtype)
        r: AnyArray = np.empty((len(part), K), X.dtype)
        if _evaluate(part, model, log_likelihood=values, responsibilities=r):
            rows = np.flatnonzero(~(values > -np.inf))
            r[rows] = np.eye(K)[nearest_components(part[rows], model.prepared)]
        if model.prepared.noise is not None:
            r = np.column_stack([r, np.minimum(np.exp(model.prepared.log_noise - values), 1)])
            _remove_noise_outside(part, model, values)
        out[:, start : start + at_once] = values, log_certainties(r, certainty)
    return out[0], out[1]


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
