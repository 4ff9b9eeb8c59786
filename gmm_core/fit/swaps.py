"""Random swaps: a component is moved to a place that the mixture fits badly.

Zhao, Hautamäki & Fränti (2012) call EM with such moves "random swap EM".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmm_core.core.errors import NumericalError
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit.kmeans import draw_rows
from gmm_core.fit.loop import Algorithm, Fit, iterate
from gmm_core.fit.restarts import Schedule
from gmm_core.model.parameters import Mixture, mixture_of, prepare

# These numbers were chosen by measurements on the problems of benchmarks/starts.py.
_N_ROWS = 500       # rows that tell which component the mixture can spare
_N_CANDIDATES = 4   # those of them of which the one with the lowest density is the new mean
# EM with a moved component is given up after at least so many iterations, if so many further ones
# with the last gain in log-likelihood would not reach that of the mixture before.
_N_TRIED = 3
_N_AHEAD = 20


class _GivenUp(Exception):
    """EM with a moved component is unlikely to reach the log-likelihood of the mixture before."""


def swap_components(
    fit: Fit[Mixture],
    *,
    algorithm: Algorithm[Mixture],
    schedule: Schedule,
    n_swaps: int,
    rows: Callable[[], ArrayPass],
    random_state: np.random.RandomState,
    collapsed: Callable[[Mixture], int],
) -> Fit[Mixture]:
    """Move a component and run EM, several times; keep each move that raises the log-likelihood.

    A move is not kept if it makes a component collapse, because that inflates the likelihood. One
    that fails numerically is not kept either.

    Parameters
    ----------
    fit : Fit
        The result of EM.
    algorithm : Algorithm
    schedule : Schedule
        EM makes at most `max_iter` iterations after each move.
    n_swaps : int
    rows : callable
        Returns a pass over the rows that starts are found from.
    random_state : RandomState
    collapsed : callable
        Returns the number of components of a mixture that have collapsed.

    Returns
    -------
    Fit
        The fit before, if no move was kept. Otherwise the fit after the last move that was kept,
        and `lower_bounds` are those since that move.
    """
    if not n_swaps or not fit.lower_bounds or len(fit.parameters.weights) == 1:
        return fit
    n_kept = 0

    def check(parameters: Mixture, made: list[float], memory: Any) -> None:
        if len(made) >= _N_TRIED and (
            made[-1] + _N_AHEAD * (made[-1] - made[-2]) < fit.lower_bound
        ):
            raise _GivenUp

    watcher = schedule.watcher
    for _ in range(n_swaps):
        if watcher.stopped:
            break
        try:
            moved = iterate(
                algorithm, _swap(fit.parameters, rows(), random_state), tol=schedule.tol,
                max_iter=schedule.max_iter, report=watcher.run("swap", schedule.max_iter),
                save=check,
            )  # fmt: skip
        except (_GivenUp, NumericalError):
            continue
        if moved.lower_bound > fit.lower_bound and (
            collapsed(moved.parameters) <= collapsed(fit.parameters)
        ):
            fit = moved
            n_kept += 1
    if schedule.verbose:
        bound = f"\t ll {fit.lower_bound:.5f}" if schedule.verbose > 1 else ""
        print(f"  Kept {n_kept} of {n_swaps} swaps{bound}")
    return fit


def _swap(mixture: Mixture, data: ArrayPass, random_state: np.random.RandomState) -> Mixture:
    """Move the component whose loss costs least to a row of low density.

    It shares the weight and takes the covariance of the component to which the row belongs.
    """
    K, kind = len(mixture.weights), mixture.kind
    cumulative = np.cumsum(data.sample_weight) if len(data.sample_weight) else None
    rows = draw_rows(cumulative, len(data.X), random_state.uniform(size=_N_ROWS))
    log_prob = np.empty((_N_ROWS, K), data.dtype)
    drawn = ArrayPass(data.X[rows], None, K, mixture.covariance_type, 1)
    drawn.evaluate(mixture.prepared, log_prob=log_prob)
    labels = log_prob.argmax(axis=1)
    second, first = np.partition(log_prob, -2, axis=1)[:, -2:].T.astype(np.float64)
    # What is more likely noise needs no component, and noise can take the place of a component.
    candidates = np.flatnonzero(first > mixture.prepared.log_noise)[:_N_CANDIDATES]
    place = int(candidates[first[candidates].argmin()]) if len(candidates) else 0
    second = np.maximum(second, mixture.prepared.log_noise)
    owner = labels[place]
    # Without its component, a row has about the density that the second component gives it.
    costs = np.subtract(first, second, out=np.zeros(_N_ROWS), where=first > second)
    loss = np.bincount(labels, costs, minlength=K)
    loss[owner] = np.inf
    cheapest = np.flatnonzero(loss == loss.min())
    removed = cheapest[random_state.randint(len(cheapest))]
    components = np.arange(K)
    components[removed] = owner
    weights, means = mixture.weights[components], mixture.means.copy()
    weights[[owner, removed]] /= 2
    means[removed] = data.X[rows[place]]
    factor = kind.take(mixture.prepared.precisions_cholesky, components)
    weights *= mixture.weights.sum() / weights.sum()  # the noise keeps the weight that it has
    prepared = prepare(weights, means, factor, kind.name, mixture.prepared.noise)
    return mixture_of(prepared, kind.take(mixture.covariances, components))
