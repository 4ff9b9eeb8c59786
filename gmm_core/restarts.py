"""The starts of a fit: each is tried, numerical failures are skipped, the best is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from gmm_core._warnings import warn
from gmm_core.covariance import smallest_eigenvalue
from gmm_core.em import Fit, Pass, expectation_maximization
from gmm_core.parameters import Parameters
from gmm_core.statistics import NumericalError, RegCovar

# The best of several starts is called degenerate if the smallest variance of its components is less
# than this share of the median over the starts.
_DEGENERATE = 1e-3


class Restart(NamedTuple):
    """What became of one start.

    Attributes
    ----------
    log_likelihood : float
        Mean log-likelihood of the samples at the parameters where it ended; NaN if it failed.
    n_iter : int
    converged : bool
    failure : str or None
        Why it failed, if it did.
    smallest_eigenvalue : float
        Of all its covariances: the smallest variance in any direction. The likelihood grows without
        bound as a component shrinks onto few samples, so the best start may be the most degenerate.
    """

    log_likelihood: float
    n_iter: int
    converged: bool
    failure: str | None
    smallest_eigenvalue: float


class State(NamedTuple):
    """Where a fit is.

    Attributes
    ----------
    start : int
        The start that is being run.
    parameters : Parameters or None
        After its last iteration; None before the first.
    lower_bounds : list of float
        Of its iterations.
    restarts : list of Restart
        What became of the starts before.
    best : Fit or None
        The best of them.
    """

    start: int
    parameters: Parameters | None
    lower_bounds: list[float]
    restarts: list[Restart]
    best: Fit | None


class Schedule(NamedTuple):
    """How EM is run from each start: the parameters of the estimator of the same names."""

    tol: float
    max_iter: int
    reg_covar: RegCovar
    verbose: int
    verbose_interval: int


def best_of_starts(
    data: Pass,
    start: Callable[[], Parameters],
    n_init: int,
    schedule: Schedule,
    previous: float = -np.inf,
    state: State | None = None,
    save: Callable[[State], None] | None = None,
) -> tuple[Fit, list[Restart]]:
    """Run EM from `n_init` starts, and keep the one with the largest log-likelihood.

    Parameters
    ----------
    data : Pass
    start : callable
        Makes the parameters to start from, anew at each call.
    n_init : int
    schedule : Schedule
    previous : float
        Mean log-likelihood of the iteration before (for a warm start).
    state : State or None
        To go on from.
    save : callable, optional
        Told the state after each iteration, and after each start; not at the end.

    Returns
    -------
    best : Fit
    restarts : list of Restart

    Raises
    ------
    NumericalError
        If all starts fail: that of the last.

    Warns
    -----
    UserWarning
        For each start that fails, if there are several, and if the best looks degenerate.
    """
    best = None if state is None else state.best
    failure: NumericalError | None = None
    restarts = [] if state is None else list(state.restarts)
    for i in range(len(restarts), n_init):
        progress = _Progress(schedule, i)
        made: list[float] = []
        try:
            if state is not None and state.start == i and state.parameters is not None:
                parameters, made = state.parameters, state.lower_bounds
            else:
                parameters = start()
            fit = expectation_maximization(
                data, parameters, tol=schedule.tol, max_iter=schedule.max_iter,
                reg_covar=schedule.reg_covar, previous=previous, lower_bounds=made,
                report=progress.iteration, save=partial(_tell, save, restarts, best),
            )  # fmt: skip
        except NumericalError as error:
            failure = error
            restarts.append(Restart(np.nan, 0, False, str(error), np.nan))
            if n_init > 1:
                warn(f"start {i} of {n_init} failed: {error}")
            continue
        progress.end(fit)
        variance = smallest_eigenvalue(fit.parameters.covariances, data.covariance_type)
        n_iter = len(fit.lower_bounds)
        restarts.append(Restart(fit.lower_bound, n_iter, fit.converged, None, variance))
        if best is None or fit.lower_bound > best.lower_bound:
            best = fit
        if i < n_init - 1:
            _tell(save, restarts, best, None, [])
    if best is None:
        assert failure is not None
        raise failure
    _warn_of_degeneracy(restarts)
    return best, restarts


def _tell(
    save: Callable[[State], None] | None,
    restarts: list[Restart],
    best: Fit | None,
    parameters: Parameters | None,
    lower_bounds: list[float],
) -> None:
    if save is not None:
        save(State(len(restarts), parameters, lower_bounds, restarts, best))


def _warn_of_degeneracy(restarts: list[Restart]) -> None:
    kept = [restart for restart in restarts if restart.failure is None]
    best = max(kept, key=lambda restart: restart.log_likelihood)
    if best.smallest_eigenvalue < _DEGENERATE * np.median([r.smallest_eigenvalue for r in kept]):
        warn(
            "The start with the largest log-likelihood has a component that nearly collapsed "
            f"(smallest variance {best.smallest_eigenvalue:.3g}; see restarts_): raise reg_covar, "
            "or use fewer components."
        )


class _Progress:
    """What `verbose` prints."""

    def __init__(self, schedule: Schedule, start: int) -> None:
        self.verbose = schedule.verbose
        self.interval = schedule.verbose_interval
        self.began = self.last = time.perf_counter()
        if self.verbose:
            print(f"Initialization {start}")

    def iteration(self, n_iter: int, change: float) -> None:
        if not self.verbose or n_iter % self.interval:
            return
        now = time.perf_counter()
        timing = f"\t time lapse {now - self.last:.5f}s\t ll change {change:.5f}"
        print(f"  Iteration {n_iter}" + (timing if self.verbose > 1 else ""))
        self.last = now

    def end(self, fit: Fit) -> None:
        if not self.verbose:
            return
        lapse = time.perf_counter() - self.began
        timing = f" time lapse {lapse:.5f}s\t lower bound {fit.lower_bound:.5f}."
        state = "converged." if fit.converged else "did not converge."
        print(f"Initialization {state}" + (timing if self.verbose > 1 else ""))
