"""The starts of a fit: each is tried, numerical failures are skipped, the best is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from gmm_core.core.errors import NumericalError
from gmm_core.core.warn import warn
from gmm_core.fit.loop import Algorithm, Fit, iterate
from gmm_core.model.archived import field, is_count, is_flag, is_log_likelihood, is_number
from gmm_core.model.parameters import Mixture

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

    Examples
    --------
    >>> from gmm_core import GaussianMixture
    >>> gm = GaussianMixture(2, n_init=3, random_state=0).fit([[0.0], [0.1], [5.0], [5.1]])
    >>> len(gm.restarts_), gm.restarts_[0].converged
    (3, True)
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
    """How far a fit has come.

    Attributes
    ----------
    start : int
        The start that is being run.
    parameters : Mixture or None
        The mixture after the last iteration of this start; None before the first iteration.
    lower_bounds : list of float
        The bounds of the iterations of this start.
    restarts : list of Restart
        What became of the starts before.
    best : Fit or None
        The best of the starts before.
    """

    start: int
    parameters: Mixture | None
    lower_bounds: list[float]
    restarts: list[Restart]
    best: Fit[Mixture] | None


class Schedule(NamedTuple):
    """How EM is run from each start: options of the fit, checked."""

    tol: float
    max_iter: int
    verbose: int
    verbose_interval: int


def best_of_starts(
    algorithm: Algorithm[Mixture],
    start: Callable[[], Mixture],
    n_init: int,
    schedule: Schedule,
    previous: float = -np.inf,
    state: State | None = None,
    save: Callable[[State], None] | None = None,
) -> tuple[Fit[Mixture], list[Restart]]:
    """Run EM from `n_init` starts, and keep the one with the largest log-likelihood.

    Parameters
    ----------
    algorithm : Algorithm
    start : callable
        Returns a mixture to start from, another one at each call.
    n_init : int
    schedule : Schedule
    previous : float, default=-inf
        Mean log-likelihood of the iteration before, for a warm start.
    state : State, optional
        From which the fit is resumed.
    save : callable, optional
        Called with the state after each iteration and after each start, but not at the end.

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
            fit = iterate(
                algorithm, parameters, tol=schedule.tol, max_iter=schedule.max_iter,
                previous=previous, lower_bounds=made, report=progress.iteration,
                save=partial(_save, save, restarts, best),
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
            partial(fit.parameters.kind.smallest_eigenvalue, covariances),
        )  # fmt: skip
        restarts.append(restart)
        if n_init * covariances.nbytes > _KEPT_BYTES and n_init > 1:
            _ = restart.smallest_eigenvalue  # now, so that the covariances can go
        if best is None or fit.lower_bound > best.lower_bound:
            best = fit
        if i < n_init - 1:
            _save(save, restarts, best, None, [])
    if best is None:
        assert failure is not None
        raise failure
    return best, restarts


def _save(
    save: Callable[[State], None] | None,
    restarts: list[Restart],
    best: Fit[Mixture] | None,
    parameters: Mixture | None,
    lower_bounds: list[float],
) -> None:
    if save is not None:
        save(State(len(restarts), parameters, lower_bounds, restarts, best))


class _Progress:
    """The lines that `verbose` prints."""

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

    def end(self, fit: Fit[Mixture]) -> None:
        if not self.verbose:
            return
        lapse = time.perf_counter() - self.began
        timing = f" time lapse {lapse:.5f}s\t lower bound {fit.lower_bound:.5f}."
        state = "converged." if fit.converged else "did not converge."
        print(f"Initialization {state}" + (timing if self.verbose > 1 else ""))


def restarts_from(header: Mapping[str, Any], name: str) -> list[Restart]:
    """Read the restarts from an entry of a file's header; see `field`."""
    return [Restart(*row) for row in field(header, name, _are_restarts, "a list of restarts")]


def _are_restarts(rows: Any) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, list)
        and len(row) == 5
        and (is_number(row[0]) if row[3] else is_log_likelihood(row[0]))
        and is_count(row[1])
        and is_flag(row[2])
        and (row[3] is None or isinstance(row[3], str))
        and is_number(row[4])
        for row in rows
    )
