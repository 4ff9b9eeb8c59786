"""Resamples of data, and the fits of mixtures to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np

from gmm_core.core.errors import convergence_warning_class
from gmm_core.core.random import check_random_state
from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.core.warn import warn
from gmm_core.fit import run
from gmm_core.fit.options import Options
from gmm_core.infer.draw import draw
from gmm_core.infer.score import FittedMixture

Kind = Literal["nonparametric", "parametric", "weighted"]
# The rows of a resample, and their weights.
Resample = tuple[FloatArray, Float64Array | None]


class Fitted(NamedTuple):
    """What is kept of the fit to a resample, under the names of the estimator's attributes."""

    weights_: FloatArray
    means_: FloatArray
    covariances_: FloatArray
    lower_bound_: float
    converged_: bool


def seeds(random_state: Any) -> np.random.SeedSequence:
    """Return the sequence from which the seeds of the resamples are spawned."""
    return np.random.SeedSequence(int(check_random_state(random_state).randint(2**31)))


def resample(
    kind: Kind,
    X: FloatArray,
    weight: Float64Array | None,
    seed: np.random.SeedSequence,
    fitted: FittedMixture,
) -> Resample:
    """Return a resample of rows with these weights; see `bootstrap`."""
    random_state = np.random.RandomState(np.random.MT19937(seed))
    n_samples = len(X)
    if kind == "weighted":
        return X, random_state.standard_gamma(np.ones(n_samples) if weight is None else weight)
    shares = np.full(n_samples, 1 / n_samples) if weight is None else weight / weight.sum()
    total = n_samples if weight is None else round(float(weight.sum()))
    if kind == "nonparametric":
        counts = random_state.multinomial(total, shares)
        present = np.flatnonzero(counts)
        return X[present], counts[present].astype(np.float64)
    drawn, _ = draw(fitted.prepared, total, random_state, fitted.box)
    drawn = drawn.astype(X.dtype, copy=False)
    lacking = np.isnan(X)
    if lacking.any():
        of = np.arange(total) if weight is None else random_state.choice(n_samples, total, p=shares)
        drawn = drawn[random_state.permutation(total)]  # they are ordered by component
        drawn[lacking[of]] = np.nan
    return drawn, None


def fit_resample(
    options: Options, before: dict[str, Any], rows: Resample, watch: Any
) -> Fitted | str:
    """Fit a mixture to a resample; return what is kept of the fit, or why it failed."""
    try:
        made = run.fit_array(options, before, *rows, watch, quiet=True)[0].attributes
    except ValueError as error:  # a NumericalError, or a resample of too few different rows
        return str(error)
    return Fitted(*(made[name] for name in Fitted._fields))


def difference(null: Fitted | str, alternative: Fitted | str) -> Fitted | str:
    """Return the fit of the alternative with the gain in log-likelihood as its bound."""
    if isinstance(null, str):
        return null
    if isinstance(alternative, str):
        return alternative
    return alternative._replace(
        lower_bound_=alternative.lower_bound_ - null.lower_bound_,
        converged_=alternative.converged_ and null.converged_,
    )


def succeeded(results: Iterable[Fitted | str], n_resamples: int) -> list[Fitted]:
    """Return the fits that succeeded, and warn about the others."""
    made: list[Fitted] = []
    failure = ""
    for result in results:
        if isinstance(result, str):
            failure = result
        else:
            made.append(result)
    n_failed = n_resamples - len(made)
    if len(made) < 2:
        raise ValueError(f"{n_failed} of {n_resamples} fits to resamples failed: {failure}")
    if n_failed:
        warn(f"{n_failed} of {n_resamples} fits to resamples failed, the last one with: {failure}")
    n_unconverged = sum(not fit.converged_ for fit in made)
    if n_unconverged:
        warn(
            f"{n_unconverged} of {n_resamples} fits to resamples did not converge: increase "
            "max_iter or tol",
            convergence_warning_class(),
        )
    return made
