"""The starts of a fit: each is tried, numerical failures are skipped, the best is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from gmm_core._warnings import warn
from gmm_core.covariance import smallest_eigenvalue
from gmm_core.em import Fit, Pass, expectation_maximization
from gmm_core.parameters import Parameters
from gmm_core.statistics import NumericalError, RegCovar

# Bytes of the covariances that are kept for the smallest eigenvalues of several starts.
_KEPT_BYTES = 1 << 26


class Restart:
    """What became of one start.

    Parameters
    ----------
    log_likelihood : float
        Mean log-likelihood of the samples at the parameters where it ended; NaN if it failed.
    n_iter : int
    converged : bool
    failure : str or None
        Why it failed, if it did.
    smallest_eigenvalue : float, or callable that returns it
        Of all its covariances: the smallest variance in any direction. The likelihood grows without
        bound as a component shrinks onto few samples, so the best start may be the most degenerate.
        As it takes as long as an M-step, a callable is called when the attribute is first read.
    """

    __slots__ = ("_smallest_eigenvalue", "converged", "failure", "log_likelihood", "n_iter")

    _smallest_eigenvalue: float | Callable[[], float]
    converged: bool
    failure: str | None
    log_likelihood: float
    n_iter: int

    # not __init__: pickles of version 0.1 hold a named tuple, which is made by __new__
    def __new__(  # noqa: D102
        cls,
        log_likelihood: float,
        n_iter: int,
        converged: bool,
        failure: str | None,
        smallest_eigenvalue: float | Callable[[], float],
    ) -> Self:
        self = super().__new__(cls)
        self.log_likelihood = log_likelihood
        self.n_iter = n_iter
        self.converged = converged
        self.failure = failure
        self._smallest_eigenvalue = smallest_eigenvalue
        return self

    @property
    def smallest_eigenvalue(self) -> float:
        """The smallest variance in any direction, of all components."""
        if callable(self._smallest_eigenvalue):
            self._smallest_eigenvalue = self._smallest_eigenvalue()
        return self._smallest_eigenvalue

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the arguments of the constructor."""
        yield from (self.log_likelihood, self.n_iter, self.converged, self.failure)
        yield self.smallest_eigenvalue

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: Any) -> Any:
        """Return some of the arguments of the constructor, as of a tuple."""
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Restart) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Restart, tuple(self)

    def __repr__(self) -> str:
        return (
            f"Restart(log_likelihood={self.log_likelihood!r}, n_iter={self.n_iter!r}, "
            f"converged={self.converged!r}, failure={self.failure!r}, "
            f"smallest_eigenvalue={self.smallest_eigenvalue!r})"
        )


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
        For each start that fails, if there are several.
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
        covariances = fit.parameters.covariances
        restart = Restart(
            fit.lower_bound, len(fit.lower_bounds), fit.converged, None,
            partial(smallest_eigenvalue, covariances, data.covariance_type),
        )  # fmt: skip
        restarts.append(restart)
        if n_init * covariances.nbytes > _KEPT_BYTES and n_init > 1:
            _ = restart.smallest_eigenvalue  # now, so that the covariances can go
        if best is None or fit.lower_bound > best.lower_bound:
            best = fit
        if i < n_init - 1:
            _tell(save, restarts, best, None, [])
    if best is None:
        assert failure is not None
        raise failure
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
