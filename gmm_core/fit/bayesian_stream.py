"""`partial_fit` of a Bayesian mixture: stochastic variational inference (Hoffman et al. 2013).

The posterior is conjugate, so its natural parameters are those of the prior plus the statistics of
all samples. Stochastic variational inference moves them by the step ρ towards those that a batch
would lead to if it stood for all N samples. This is the same as an update of the running mean of
the statistics of a sample, s ← (1 − ρ) s + ρ s(batch), with the posterior of N s. Here N is the
weight of the samples seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.errors import NoDensityError, NumericalError
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import Float64Array, FloatArray, Names
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.parameter_validation import check_reg_covar
from gmm_core.data.patterns import has_missing
from gmm_core.data.validation import check_sample_weight, check_X
from gmm_core.fit.bayesian import attributes_of, fit_bayesian, precision_prior
from gmm_core.fit.loop import Fit
from gmm_core.fit.options import BayesianOptions
from gmm_core.fit.result import Attributes, present
from gmm_core.fit.run import pass_over_array
from gmm_core.fit.stepwise import mixed, rows_of_a_start, rows_of_first_fit, rows_to_collect
from gmm_core.fit.stream import STARTS, cast_rows, scaled_weight
from gmm_core.fit.variational import (
    Inferred,
    bound_of,
    evidence_lower_bound,
    moments_of,
    scaled,
)
from gmm_core.model.attributes import dtype_of, mixture_from
from gmm_core.model.posterior import (
    Moments,
    Posterior,
    Prior,
    counts_of,
    expected_log_joint,
    posterior_from,
    update,
)
from gmm_core.model.statistics import Statistics, statistics_of


def rows_of_first_samples(n_components: int, n_features: int) -> int:
    """Return the number of samples that are collected before the stream begins.

    These are more than stepwise EM collects if there are few features: a component that has few
    of the first samples loses them, and takes long to grow again.
    """
    return rows_of_a_start(n_components, max(n_features, 20))


class Position(NamedTuple):
    """The state of a stream between two calls.

    First samples are collected, until there are enough for a start. After that, X is empty.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        The samples collected so far.
    sample_weight : ndarray of shape (n,), float64
        Their weights.
    n_fitted : ndarray of shape (), int64
        Number of samples that the present posterior was fitted to; 0 before the first fit.
    names : ndarray of shape (n_features,), object, or (0,)
        Names of the features while samples are collected, if they have names.
    values : ndarray of shape (n_sums,), float64
        The running mean of the statistics of a sample, as `Statistics` has them; empty while
        samples are collected.
    shift : ndarray of shape (n_components, n_features), float64
        The origins of these statistics, which are their means.
    entropy : ndarray of shape (), float64
        The running mean of the entropy of the responsibilities of a sample, in nats.
    seen : ndarray of shape (), float64
        N, the total weight of the samples seen.
    """

    X: FloatArray
    sample_weight: Float64Array
    n_fitted: Any
    names: Names
    values: Float64Array
    shift: Float64Array
    entropy: Float64Array
    seen: Float64Array

    @property
    def is_collecting(self) -> bool:
        """Whether samples are still being collected."""
        return not len(self.values)


class _State(NamedTuple):
    """The state of a stream between two steps: running means, and the posterior of N of them."""

    statistics: Statistics
    entropy: float
    seen: float
    posterior: Posterior


def learn(
    options: BayesianOptions,
    before: MutableMapping[str, Any],
    X: Any,
    sample_weight: Any,
    check_input: Callable[[Any], FloatArray],
) -> Attributes:
    """Learn from further samples, after collecting those that a start needs.

    Parameters
    ----------
    options : BayesianOptions
    before : dict
        The attributes of the estimator before the call.
    X : array-like of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,) or None
    check_input : callable
        Checks X against the features of a fitted estimator, and returns it as an array.

    Returns
    -------
    attributes : dict
        The attributes that change; the value None means that an attribute is removed.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    """
    position: Position | None = before.get("_position")
    collecting = position is not None and position.is_collecting
    allow_nan = options.missing == "marginalize"
    if position is not None and position.is_collecting:
        D, dtype = position.X.shape[1], position.X.dtype
        names = position.names if len(position.names) else None
        array, _ = check_X(X, n_features=D, feature_names=names, allow_nan=allow_nan)
    elif "means_" in before:
        array, dtype = check_input(X), dtype_of(before["means_"])
    else:
        array, names = check_X(X, allow_nan=allow_nan)
        dtype = array.dtype
        position = _nothing(array.shape[1], dtype, names)
        collecting = True
    weight = check_sample_weight(sample_weight, len(array), may_be_zero=True)
    array = cast_rows(array, dtype)
    if position is None or not collecting:
        return _follow(options, before, array, weight)
    weight = np.ones(len(array)) if weight is None else weight
    room = rows_of_first_samples(options.n_components, array.shape[1]) - len(position.X)
    rows, rest = rows_to_collect(weight, room)
    position = position._replace(
        X=np.concatenate([position.X, array[rows]]),
        sample_weight=np.concatenate([position.sample_weight, weight[rows]]),
    )
    try:
        return _collect(options, position, array[rest:], weight[rest:])
    except NoDensityError as error:
        raise NoDensityError(rest + error.row, error.incomplete) from error


def _nothing(n_features: int, dtype: np.dtype[Any], names: Names | None = None) -> Position:
    """Return the state before the first sample."""
    return Position(
        np.empty((0, n_features), dtype), np.empty(0), np.array(0),
        np.empty(0, object) if names is None else names, np.empty(0), np.empty((0, n_features)),
        np.array(0.0), np.array(0.0),
    )  # fmt: skip


def _collect(
    options: BayesianOptions, position: Position, rest: FloatArray, rest_weight: Float64Array
) -> Attributes:
    """Fit a posterior to the collected samples; see `stream.py`, which does the same for EM."""
    n_samples, n_features = position.X.shape
    enough = rows_of_first_samples(options.n_components, n_features)
    fewest = rows_of_first_fit(options.n_components)
    if n_samples < max(fewest, min(enough, 1.5 * float(position.n_fitted))):
        return {"_position": position}
    is_enough = n_samples >= enough
    if not is_enough and not position.sample_weight.sum() > 1:  # too little for the prior
        return {"_position": position}
    if not is_enough and np.isnan(position.X).all(axis=0).any():  # a feature has no value yet
        return {"_position": position}
    n_init = max(STARTS, options.n_init) if is_enough else options.n_init
    once = options._replace(
        n_init=n_init, moves=False, checkpoint=None, warm_start=False, callback=None,
        time_limit=None,
    )  # fmt: skip
    weight = None if (position.sample_weight == 1).all() else position.sample_weight
    try:
        data, totals, _, _ = pass_over_array(once, position.X, weight)
        names = position.names if len(position.names) else None
        learned = fit_bayesian(once, None, -math.inf, data, totals, names, quiet=True).attributes
    except NumericalError:
        if is_enough:
            raise
        return {"_position": position}
    if not is_enough:
        return {**learned, "_position": position._replace(n_fitted=np.array(n_samples))}
    return learned | _follow(options, present(learned), rest, rest_weight)


def _follow(
    options: BayesianOptions,
    before: MutableMapping[str, Any],
    X: FloatArray,
    sample_weight: Float64Array | None,
) -> Attributes:
    """Make a step for each part of the samples, and return the attributes that change."""
    K, D = np.shape(before["means_"])
    if options.n_components != K:
        raise ValueError(
            f"partial_fit continues a mixture of {K} components, but n_components is "
            f"{options.n_components}; create a new model for another mixture"
        )
    if options.posterior != before["posterior_"]:
        raise ValueError(
            f"partial_fit continues a posterior of the updates {before['posterior_']!r}, but "
            f"posterior is {options.posterior!r}; create a new model for other updates"
        )
    conjugate = options.posterior == "conjugate"
    n_threads = effective_n_threads(options.n_threads)
    reg_covar = np.full(D, check_reg_covar(options.reg_covar, D), np.float64)
    prior = _prior_from(before, options.covariance_type, conjugate)

    def posterior_of(statistics: Statistics, seen: float) -> tuple[Posterior, Moments]:
        moments = moments_of(scaled(statistics, seen), n_threads)
        return update(moments, prior, reg_covar, options.covariance_type, conjugate), moments

    statistics, entropy, seen, posterior = _state(options, before, prior, reg_covar, posterior_of)
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    present_rows = np.flatnonzero(weights)
    if not len(present_rows):
        return {}
    at_once = rows_of_a_start(K, D)
    starts = range(0, len(present_rows), at_once)
    for start in starts:
        rows = present_rows[start : start + at_once]
        part, weight = X[rows], weights[rows]
        total = float(weight.sum())
        if not math.isfinite(seen + total):
            raise ValueError("the sum of all sample_weight is too large for a float64")
        incomplete = options.missing == "marginalize" and has_missing(part)
        data = ArrayPass(
            part, scaled_weight(weight), K, options.covariance_type, n_threads, incomplete
        )
        try:
            batch = data.expectation(posterior.mixture, statistics.shift)
        except NoDensityError as error:
            raise NoDensityError(int(rows[error.row]), error.incomplete) from error
        rho = step_size(
            seen / total * len(rows), len(rows), at_once, options.learning_offset,
            options.learning_decay,
        )  # fmt: skip
        gained = batch.log_likelihood - expected_log_joint(moments_of(batch, n_threads), posterior)
        entropy = (1 - rho) * entropy + rho * gained / batch.weight
        statistics = mixed(statistics, batch, rho)
        statistics = statistics.about_means(moments_of(statistics, n_threads).means)
        seen += total
        posterior, moments = posterior_of(statistics, seen)
    bound = bound_of(moments, seen * entropy, posterior, prior)
    after = Inferred(posterior, moments, seen * entropy, bound)
    n_before = before.get("n_iter_", 0) if "_position" in before else 0
    return {
        **attributes_of(
            Fit(after, [], bound, False), prior, dtype_of(before["means_"]),
            before.get("feature_names_in_"), n_threads,
        ),
        "n_iter_": n_before + len(starts),
        "_position": _nothing(D, X.dtype)._replace(
            values=statistics.values, shift=statistics.shift, entropy=np.array(entropy),
            seen=np.array(seen),
        ),
    }  # fmt: skip


def step_size(
    seen: float, n_samples: float, batch_size: int, learning_offset: float, learning_decay: float
) -> float:
    """Return the step ρ of some samples: the share that they get in the running mean.

    A full batch has ρ_t = (t + τ)^(−κ), where t is the number of batches before it (Hoffman et al.
    2013, equation 26). The share m of a batch has 1 − (1 − ρ_t)^m, so that the division into parts
    hardly matters.

    Parameters
    ----------
    seen : float
        Number of samples before.
    n_samples : float
    batch_size : int
    learning_offset : float
        τ.
    learning_decay : float
        κ.
    """
    base = seen / batch_size + learning_offset
    rho = base**-learning_decay if base > 1 else 1.0
    return -math.expm1(n_samples / batch_size * math.log1p(-rho)) if rho < 1 else 1.0


_PRIOR = (
    "weight_concentration_", "weight_concentration_prior_", "mean_precision_prior_", "mean_prior_",
    "degrees_of_freedom_prior_", "covariance_prior_",
)  # fmt: skip

# --- the state at the beginning of a call -----------------------------------------------------


def _prior_from(
    before: MutableMapping[str, Any], covariance_type: str, conjugate: bool
) -> Prior:
    """Return the prior that the fitted attributes describe."""
    for name in _PRIOR:
        if name not in before:
            raise AttributeError(f"the model has no {name}")
    return Prior(
        np.ndim(before["weight_concentration_"]) == 2,
        float(before["weight_concentration_prior_"]),
        float(before["mean_precision_prior_"]),
        np.asarray(before["mean_prior_"], np.float64),
        precision_prior(
            float(before["degrees_of_freedom_prior_"]),
            np.asarray(before["covariance_prior_"], np.float64),
            covariance_type,
            len(before["mean_prior_"]),
            conjugate,
        ),
    )


def _state(
    options: BayesianOptions,
    before: MutableMapping[str, Any],
    prior: Prior,
    reg_covar: Float64Array,
    posterior_of: Callable[[Statistics, float], tuple[Posterior, Moments]],
) -> _State:
    """Return the state of the stream.

    After `fit` or an assignment to an attribute, the stream begins with the present posterior.
    """
    position: Position | None = before.get("_position")
    mixture = mixture_from(before, options.covariance_type, options.n_threads)
    posterior = posterior_from(before, mixture, options.posterior == "conjugate")
    if position is not None and position.shift.shape == posterior.mixture.means.shape:
        statistics = Statistics(position.values, position.shift, options.covariance_type)
        after = posterior_of(statistics, float(position.seen))[0]
        if _is_at(after, before):
            return _State(statistics, float(position.entropy), float(position.seen), after)
    moments = implied_moments(posterior, prior, reg_covar)
    seen = float(moments.counts.sum())
    if not seen > 0:
        raise NumericalError(
            "the prior counts so much more than the samples that their number is lost in rounding: "
            "give a smaller mean_precision_prior or weight_concentration_prior"
        )
    statistics = statistics_of(
        moments.counts / seen, moments.means, moments.covariances, options.covariance_type,
        np.zeros(len(reg_covar)),
    )  # fmt: skip
    entropy = before.get("elbo_", math.nan) - evidence_lower_bound(moments, 0.0, posterior, prior)
    return _State(
        statistics, entropy / seen if math.isfinite(entropy) else 0.0, seen, posterior
    )


def _is_at(posterior: Posterior, before: MutableMapping[str, Any]) -> bool:
    """Return whether the fitted attributes are still those of this posterior."""
    mixture = posterior.mixture
    return all(
        np.array_equal(before[name], then.astype(np.asarray(before[name]).dtype))
        for name, then in (
            ("weights_", mixture.weights),
            ("means_", mixture.means),
            ("precisions_cholesky_", mixture.prepared.precisions_cholesky),
            ("mean_precision_", posterior.mean_precision),
            ("degrees_of_freedom_", posterior.degrees_of_freedom),
        )
    )


def implied_moments(posterior: Posterior, prior: Prior, reg_covar: Float64Array) -> Moments:
    """Return the moments of the samples that lead from the prior to the posterior.

    This inverts `update`. A component whose count is lost in rounding gets no samples.
    """
    kind, mixture = posterior.kind, posterior.mixture
    precision, beta, beta_0 = kind.conjugate, posterior.mean_precision, prior.mean_precision
    counts = counts_of(posterior, prior.weight_concentration, beta_0)
    n = np.where(counts > 0, counts, 1.0)[:, np.newaxis]
    means = np.where(
        counts[:, np.newaxis] > 0,
        (beta[:, np.newaxis] * mixture.means - beta_0 * prior.mean) / n, mixture.means,
    )  # fmt: skip
    # ν E[Λ]⁻¹ is the prior, the scatter about the means and that of the means about the prior's.
    scatter = precision.scatter(mixture.covariances, posterior.degrees_of_freedom)
    scatter = scatter - prior.precision.covariance
    if precision.shared:
        scatter = scatter * (1 if posterior.conjugate else len(counts))
    scatter = scatter - precision.between(beta_0 * counts / beta, means - prior.mean)
    if precision.shared:
        covariances = precision.divided(scatter, counts.sum())
        return Moments(counts, means, precision.regularised(covariances, -reg_covar))
    covariances = precision.regularised(precision.divided(scatter, n[:, 0]), -reg_covar)
    covariances[counts == 0] = 0
    return Moments(counts, means, covariances)
