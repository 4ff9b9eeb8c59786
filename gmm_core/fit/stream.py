"""`partial_fit`: a mixture that learns from a stream of samples; see `stepwise.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.errors import NoDensityError, NumericalError
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Names
from gmm_core.data.parameter_validation import check_reg_covar
from gmm_core.data.patterns import has_missing
from gmm_core.data.validation import check_sample_weight, check_X
from gmm_core.fit.loop import Fit
from gmm_core.fit.options import Options
from gmm_core.fit.result import Attributes, attributes_of, present
from gmm_core.fit.run import fit_array, mixture_to_continue, warn_of_collapse
from gmm_core.fit.steps import Parts, make_steps
from gmm_core.fit.stepwise import (
    rows_of_a_start,
    rows_of_first_fit,
    rows_to_collect,
    step_size,
)
from gmm_core.model.attributes import dtype_of
from gmm_core.model.parameters import Mixture
from gmm_core.model.statistics import Statistics, statistics_of

# A stream rarely leaves the local optimum in which it begins, so the first mixture is the best of
# this many starts or more.
STARTS = 10


class Collected(NamedTuple):
    """The first samples of a stream, which are kept until there are enough for a start.

    Attributes
    ----------
    X : list of ndarray of shape (n_samples, n_features)
        The samples of each call.
    sample_weight : list of ndarray of shape (n_samples,)
        The weights of each call.
    n_fitted : int
        Number of samples that the present mixture was fitted to; 0 before the first fit.
    names : ndarray of object, or None
        Names of the features.
    """

    X: list[FloatArray]
    sample_weight: list[Float64Array]
    n_fitted: int
    names: Names | None

    @property
    def n_samples(self) -> int:
        """The number of samples collected so far."""
        return sum(map(len, self.X))


class Position(NamedTuple):
    """The state of a stream between two calls.

    Attributes
    ----------
    mixture : Mixture
        The mixture after the last M-step.
    statistics : Statistics
        The running mean of the statistics of a sample, about the means of the mixture.
    memory : float
        Total weight of the past samples, in units of the mean weight. A sample that j others
        followed counts with the factor forget_factor**j. It is only kept up to date if
        `forget_factor` is given.
    """

    mixture: Mixture
    statistics: Statistics
    memory: float


def learn(
    options: Options,
    before: MutableMapping[str, Any],
    X: Any,
    sample_weight: Any,
    check_input: Callable[[Any], FloatArray],
) -> Attributes:
    """Learn from further samples, after collecting those that a start needs.

    Parameters
    ----------
    options : Options
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
    collected: Collected | None = before.get("_collected")
    fitted, allow_nan = "means_" in before, options.missing == "marginalize"
    names: Names | None = None
    if collected is not None:
        D, dtype = collected.X[0].shape[1], collected.X[0].dtype
        array, _ = check_X(
            X, n_features=D, feature_names=collected.names, allow_nan=allow_nan
        )
    elif fitted:
        array, dtype = check_input(X), dtype_of(before["means_"])
    else:
        array, names = check_X(X, allow_nan=allow_nan)
        dtype = array.dtype
    weight = check_sample_weight(sample_weight, len(array), may_be_zero=True)
    array = cast_rows(array, dtype)
    if collected is None and fitted:
        return _follow(options, before, array, weight)
    if collected is None:
        collected = Collected([], [], 0, names)
    weight = np.ones(len(array)) if weight is None else weight
    room = rows_of_a_start(options.n_components, array.shape[1]) - collected.n_samples
    rows, rest = rows_to_collect(weight, room)
    collected = collected._replace(
        X=[*collected.X, array[rows]],
        sample_weight=[*collected.sample_weight, weight[rows]],
    )
    try:
        return _collect(options, collected, array[rest:], weight[rest:])
    except NoDensityError as error:
        raise NoDensityError(rest + error.row, error.incomplete) from error


def _collect(
    options: Options, collected: Collected, rest: FloatArray, rest_weight: Float64Array
) -> Attributes:
    """Fit a mixture to the collected samples.

    This happens when their number has grown by half since the last fit, or is enough for a start.
    When it is enough, the stream begins with the fitted mixture, and it learns from the remaining
    samples.
    """
    n_samples, n_features = collected.n_samples, collected.X[0].shape[1]
    enough = rows_of_a_start(options.n_components, n_features)
    fewest = rows_of_first_fit(options.n_components)
    if n_samples < max(fewest, min(enough, 1.5 * collected.n_fitted)):
        return {"_collected": collected}
    is_enough = n_samples >= enough
    X: AnyArray = np.concatenate(collected.X)
    if not is_enough and np.isnan(X).all(axis=0).any():  # a feature has no value yet
        return {"_collected": collected}
    weight = np.concatenate(collected.sample_weight)
    once = options._replace(
        checkpoint=None,
        callback=None,
        time_limit=None,
        warm_start=False,
        n_short=0,
        n_swaps=0,
        n_init=max(STARTS, options.n_init) if is_enough else options.n_init,
    )
    try:
        # Warnings, for example of empty components, are expected for so few samples.
        result = fit_array(once, {}, X, weight, quiet=True)[0]
        if is_enough:
            warn_of_collapse(result.collapsed)
    except NumericalError:
        if is_enough:
            raise
        return {"_collected": collected}
    collected = collected._replace(n_fitted=n_samples)
    learned = result.attributes
    learned["feature_names_in_"] = collected.names
    learned |= _follow(options, present(learned), rest, rest_weight)
    return learned if is_enough else {**learned, "_collected": collected}


def _weight_unit(before: MutableMapping[str, Any], sample_weight: Float64Array | None) -> float:
    """Return the weight that counts as one sample.

    It is the mean weight of the samples in the first fit, or of the first batch after
    `from_parameters`, so that only the proportions of the weights matter, as in `fit`.
    """
    unit: float = before.get("_mean_weight", 1.0)
    if "n_samples_seen_" in before or sample_weight is None or not sample_weight.any():
        return unit
    return float(sample_weight.sum() / np.count_nonzero(sample_weight))


def _position(
    options: Options, before: MutableMapping[str, Any], reg_covar: Float64Array, unit: float
) -> tuple[Position, float]:
    """Return the state of the stream, and the total weight of the samples seen.

    After `fit` or an assignment to an attribute, the stream begins with the present mixture. The
    unit is the weight that counts as one sample.
    """
    K, D = np.shape(before["means_"])
    seen = before.get("n_samples_seen_", unit * rows_of_a_start(K, D))
    position: Position | None = before.get("_position")
    if (
        position is not None
        and len(position.mixture.weights) == options.n_components
        and _is_at(position.mixture, before, options.covariance_type)
    ):
        return position, seen
    mixture = mixture_to_continue(
        options, before, D, "partial_fit", "create a new model for another mixture"
    )
    forget, n = options.forget_factor, seen / unit
    memory = n if forget in (None, 1) else (1 - forget**n) / (1 - forget)
    statistics = statistics_of(*mixture[:3], mixture.covariance_type, reg_covar)
    return Position(mixture, statistics, memory), seen


def _is_at(mixture: Mixture, before: MutableMapping[str, Any], covariance_type: str) -> bool:
    """Return whether the fitted attributes are still those of this mixture."""
    return mixture.covariance_type == covariance_type and all(
        name in before and _are_equal(np.asarray(before[name]), then)
        for name, then in (
            ("weights_", mixture.weights),
            ("means_", mixture.means),
            ("precisions_cholesky_", mixture.prepared.precisions_cholesky),
        )
    )


def _are_equal(array: AnyArray, then: Float64Array) -> bool:
    """Return whether a fitted attribute has the values of an array of the mixture."""
    then = then.astype(array.dtype, copy=False)
    # Comparing bytes takes less time, if the arrays are small.
    same = array.shape == then.shape and array.size < 4096 and array.tobytes() == then.tobytes()
    return same or np.array_equal(array, then)


def _follow(
    options: Options,
    before: MutableMapping[str, Any],
    X: FloatArray,
    sample_weight: Float64Array | None,
) -> Attributes:
    """Make a step for each part of the samples, and return the attributes that change."""
    K, D = np.shape(before["means_"])
    reg_covar = check_reg_covar(options.reg_covar, D)
    unit = _weight_unit(before, sample_weight)
    regular = np.full(D, reg_covar, np.float64)
    (mixture, statistics, memory), seen = _position(options, before, regular, unit)
    n_threads = effective_n_threads(options.n_threads)
    rows = None
    at_once = rows_of_a_start(K, D)
    ends = [*range(at_once, len(X), at_once), len(X)]
    if sample_weight is not None and not sample_weight.all():
        rows = np.flatnonzero(sample_weight)
        X, sample_weight = X[rows], sample_weight[rows]
        ends = sorted({*np.searchsorted(rows, ends).tolist()} - {0})
    if not len(X):
        return {}
    sizes, scaled, seen, memory = _step_sizes(
        options, ends, sample_weight, unit, seen, memory, 10 * mixture.prepared.n_parameters
    )
    incomplete = options.missing == "marginalize" and has_missing(X)
    try:
        mixture, statistics, log_likelihood = make_steps(
            Parts(X, scaled, ends, sizes, incomplete), mixture, statistics, regular, n_threads
        )
    except NoDensityError as error:
        if rows is None:
            raise
        raise NoDensityError(int(rows[error.row]), error.incomplete) from error
    n_before = before.get("n_iter_", 0) if "_position" in before else 0
    return attributes_of(
        Fit(mixture, [], log_likelihood, False), dtype_of(before["means_"]),
        before.get("feature_names_in_"), n_threads, n_iter_=n_before + len(ends),
        n_samples_seen_=seen, _position=Position(mixture, statistics, memory),
        _mean_weight=None if unit == 1 else unit,
    )  # fmt: skip


def _step_sizes(
    options: Options,
    ends: list[int],
    sample_weight: Float64Array | None,
    unit: float,
    seen: float,
    memory: float,
    knee: float,
) -> tuple[list[float], Float64Array | None, float, float]:
    """Return the step γ of each part, and the weights that the samples have within their part.

    Parameters
    ----------
    options : Options
    ends : list of int
        The row after the last one of each part.
    sample_weight : ndarray or None
        Positive weights.
    unit : float
        The weight that counts as one sample.
    seen : float
        Total weight of the samples before these.
    memory : float
        See `Position`.
    knee : float
        See `step_size`.

    Returns
    -------
    sizes : list of float
    scaled : ndarray or None
        None if all samples have the same weight.
    seen, memory : float
        The values after these samples.
    """
    forget, sizes = options.forget_factor, []
    scaled = None if sample_weight is None and forget is None else np.empty(ends[-1])
    start = 0
    for stop in ends:
        weight = None if sample_weight is None else sample_weight[start:stop]
        total = float(stop - start) if weight is None else float(weight.sum())
        if not math.isfinite((seen + total) / min(unit, 1)):
            raise ValueError(
                "the sum of all sample_weight is too large for a float64, or too large compared "
                "with the weights of the first samples"
            )
        if forget is None:
            sizes.append(step_size(seen / unit, total / unit, knee, options.learning_decay))
        else:
            # A sample that is followed by k others has the factor forget_factor**k.
            n = stop - start
            decayed: Float64Array = np.ones(n) if weight is None else weight
            weight = decayed / unit * forget ** np.arange(n)[::-1]
            kept = float(weight.sum())
            memory = memory * forget**n + kept
            sizes.append(kept / memory)
        if scaled is not None and weight is not None:
            scaled[start:stop] = scaled_weight(weight)
        seen += total
        start = stop
    return sizes, scaled, seen, memory


def scaled_weight(weight: Float64Array) -> Float64Array:
    """Scale weights by a power of 2 to at most 1, as some kernels read them in float32."""
    return np.ldexp(weight, -int(np.frexp(weight.max())[1]))


def cast_rows(X: FloatArray, dtype: np.dtype[Any]) -> FloatArray:
    """Convert samples to the dtype of the model; raise ValueError if a value overflows."""
    with np.errstate(over="ignore"):
        cast: FloatArray = X.astype(dtype, copy=False)
    if cast is not X and np.isinf(cast).any():
        raise ValueError(f"X has values beyond the range of {dtype}, the dtype of the model")
    return cast
