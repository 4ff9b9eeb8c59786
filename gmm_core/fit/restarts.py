"""A fit from several starts: numerical failures are skipped, and the best result is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from gmm_core.core.errors import NumericalError
from gmm_core.core.types import Float64Array
from gmm_core.core.warn import warn
from gmm_core.fit.loop import Algorithm, Fit, iterate
from gmm_core.fit.watching import Watcher
from gmm_core.model.archive_entries import field, is_count, is_flag, is_log_likelihood, is_number
from gmm_core.model.covariance import CovarianceType

# Smallest eigenvalues are computed on demand, which keeps the covariances of all starts, if these
# take at most this many bytes; otherwise they are computed at once.
_KEPT_BYTES = 1 << 26



class Parameters(Protocol):
    """The parameters that a fit finds, such as a mixture or a posterior distribution."""

    @property
    def covariances(self) -> Float64Array: ...  # noqa: D102
    @property
    def kind(self) -> CovarianceType: ...  # noqa: D102


P = TypeVar("P", bound=Parameters)

# Takes the result of EM from a start.
Improve = Callable[[Fit[P]], Fit[P]]


class Restart:
    """The result of one start of a fit; see `GaussianMixture.restarts_`.

    The arguments are attributes of the same names. A restart can also be used like a tuple of them.

    Parameters
    ----------
    log_likelihood : float
        Mean log-likelihood of the samples at the last parameters, in nats per sample; NaN if the
        start failed.
    n_iter : int
        Number of iterations; 0 if the start failed.
    converged : bool
        Whether EM converged from this start.
    failure : str or None
        The reason why the start failed; None if it did not.
    smallest_eigenvalue : float, or callable that returns it
        The smallest variance of any component in any direction; NaN if the start failed. The
        likelihood grows without bound as a component shrinks onto few samples, so the start with
        the largest likelihood may be the most degenerate one. Computing the eigenvalue takes as
        long as an M-step, so a callable is called only when the attribute is first read.
    stopped : {'callback', 'time_limit'} or None, default=None
        What stopped the fit in this start before EM had converged or made `max_iter` iterations.
        It is not a part of the tuple.

    Examples
    --------
    >>> from gmm_core import GaussianMixture
    >>> gm = GaussianMixture(2, n_init=3, random_state=0).fit([[0.0], [1.0], [8.0], [9.0]])
    >>> len(gm.restarts_), gm.restarts_[0].converged, gm.restarts_[0].failure
    (3, True, None)
    """

    __slots__ = (
        "_smallest_eigenvalue", "converged", "failure", "log_likelihood", "n_iter", "stopped",
    )  # fmt: skip

    _smallest_eigenvalue: float | Callable[[], float]
    converged: bool
    failure: str | None
    log_likelihood: float
    n_iter: int
    stopped: str | None

    # This is not __init__, as pickles of version 0.1 hold a named tuple, which __new__ creates.
    def __new__(  # noqa: D102
        cls,
        log_likelihood: float,
        n_iter: int,
        converged: bool,
        failure: str | None,
        smallest_eigenvalue: float | Callable[[], float],
        stopped: str | None = None,
    ) -> Self:
        self = super().__new__(cls)
        self.log_likelihood = log_likelihood
        self.n_iter = n_iter
        self.converged = converged
        self.failure = failure
        self._smallest_eigenvalue = smallest_eigenvalue
        self.stopped = stopped
        return self

    @property
    def smallest_eigenvalue(self) -> float:
        """The smallest variance of any component in any direction."""
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
        """Return one or a slice of the arguments of the constructor, like a tuple."""
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Restart):
            return NotImplemented
        return self.row() == other.row()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Restart, tuple(self.row())

    def row(self) -> list[Any]:
        """Return the arguments of the constructor, without `stopped` if it is None."""
        return [*self] if self.stopped is None else [*self, self.stopped]

    def __repr__(self) -> str:
        stopped = "" if self.stopped is None else f", stopped={self.stopped!r}"
        return (
            f"Restart(log_likelihood={self.log_likelihood!r}, n_iter={self.n_iter!r}, "
            f"converged={self.converged!r}, failure={self.failure!r}, "
            f"smallest_eigenvalue={self.smallest_eigenvalue!r}{stopped})"
        )


class State(NamedTuple, Generic[P]):
    """The progress of a fit, from which it can be resumed.

    Attributes
    ----------
    start : int
        The number of the present start, from 0.
    parameters : Mixture, another type that the algorithm improves, or None
        The parameters after the last iteration of this start; None before the first iteration.
    lower_bounds : list of float
        The bounds of the iterations of this start.
    restarts : list of Restart
        The results of the starts before.
    best : Fit or None
        The best result of the starts before; None if there is none.
    memory : Memory or None, default=None
        What an accelerated fit remembers of this start; see `acceleration.py`.
    """

    start: int
    parameters: P | None
    lower_bounds: list[float]
    restarts: list[Restart]
    best: Fit[P] | None
    memory: Any = None


class Begun(NamedTuple, Generic[P]):
    """A start of EM, from which some iterations may have been made already.

    Attributes
    ----------
    parameters : Mixture, or another type that the algorithm improves
        The parameters after these iterations.
    lower_bounds : list of float
        The bounds of these iterations.
    """

    parameters: P
    lower_bounds: list[float]


class Schedule(NamedTuple):
    """The options, already checked, that say how EM is run from each start, and what watches it."""

    tol: float
    max_iter: int
    verbose: int
    verbose_interval: int
    watcher: Watcher[Any]


def best_of_starts(
    algorithm: Algorithm[P],
    start: Callable[[], Begun[P]],
    n_init: int,
    schedule: Schedule,
    previous: float = -np.inf,
    state: State[P] | None = None,
    save: Callable[[State[P]], None] | None = None,
    improve: Improve[P] = lambda fit: fit,
    quiet: bool = False,
) -> tuple[Fit[P], list[Restart]]:
    """Run EM from `n_init` starts, and keep the one with the largest log-likelihood.

    Parameters
    ----------
    algorithm : Algorithm
    start : callable
        Returns a mixture to start from, and the iterations that were made before. Each call may
        return another mixture.
    n_init : int
    schedule : Schedule
    previous : float, default=-inf
        Mean log-likelihood that the first iteration is compared with, for a warm start.
    state : State, default=None
        The state from which the fit is resumed.
    save : callable, default=None
        Called with the state after each iteration in which EM has not converged, and after each
        successful start but the last.
    improve : callable, default=no operation
        Takes the result of EM from a start, and returns a result that is at least as good.
    quiet : bool, default=False
        Whether no warning is issued.

    Returns
    -------
    best : Fit
    restarts : list of Restart
        The result of each start that was made. They are fewer than `n_init` if the fit was stopped.

    Raises
    ------
    NumericalError
        If all starts fail. It is the error of the last start.

    Warns
    -----
    UserWarning
        For each start that fails, if there are several.
    """
    best = None if state is None else state.best
    failure: NumericalError | None = None
    restarts = [] if state is None else list(state.restarts)
    watcher = schedule.watcher
    for i in range(len(restarts), n_init):
        if watcher.stopped and best is not None:
            break
        progress = _Progress(schedule, i)
        try:
            memory = None
            if state is not None and state.start == i and state.parameters is not None:
                parameters, made, memory = state.parameters, state.lower_bounds, state.memory
            else:
                parameters, made = start()
            fit = iterate(
                algorithm, parameters, tol=schedule.tol,
                max_iter=len(made) if watcher.stopped else schedule.max_iter,
                previous=previous, lower_bounds=made, memory=memory, report=progress.iteration,
                save=partial(save_state, save, restarts, best),
            )  # fmt: skip
            fit = improve(fit)
        except NumericalError as error:
            failure = error
            restarts.append(Restart(np.nan, 0, False, str(error), np.nan))
            watcher.end(i, f"failed: {error}")
            if n_init > 1 and not quiet:
                warn(f"start {i} of {n_init} failed: {error}")
            continue
        progress.end(fit)
        if not fit.converged and len(fit.lower_bounds) < schedule.max_iter:
            fit = fit._replace(stopped=watcher.stopped)
        outcome = "converged" if fit.converged else "did not converge"
        watcher.end(
            i, f"{outcome} in {len(fit.lower_bounds)} iterations, lower bound {fit.lower_bound:.6f}"
        )
        covariances = fit.parameters.covariances
        restart = Restart(
            fit.lower_bound, len(fit.lower_bounds), fit.converged, None,
            partial(fit.parameters.kind.smallest_eigenvalue, covariances), fit.stopped,
        )  # fmt: skip
        restarts.append(restart)
        if n_init * covariances.nbytes > _KEPT_BYTES and n_init > 1:
            _ = restart.smallest_eigenvalue  # computed now, so that the covariances can be freed
        if best is None or fit.lower_bound > best.lower_bound:
            best = fit
        if i < n_init - 1 and fit.stopped is None:
            save_state(save, restarts, best, None, [])
    if best is None:
        assert failure is not None
        raise failure
    return best, restarts


def save_state(
    save: Callable[[State[P]], None] | None,
    restarts: list[Restart],
    best: Fit[P] | None,
    parameters: P | None,
    lower_bounds: list[float],
    memory: Any = None,
) -> None:
    """Call `save`, if there is one, with the state of the fit."""
    if save is not None:
        save(State(len(restarts), parameters, lower_bounds, restarts, best, memory))


class _Progress:
    """Print the lines that `verbose` asks for."""

    def __init__(self, schedule: Schedule, start: int) -> None:
        self.verbose = schedule.verbose
        self.interval = schedule.verbose_interval
        self.watch = schedule.watcher.run("start", schedule.max_iter, start)
        self.began = self.last = time.perf_counter()
        if self.verbose:
            print(f"Initialization {start}")

    def iteration(
        self, parameters: Any, lower_bounds: list[float], change: float, converged: bool
    ) -> bool:
        """Print a line after every `verbose_interval`-th iteration; return whether EM stops."""
        n_iter = len(lower_bounds)
        if self.verbose and n_iter % self.interval == 0:
            now = time.perf_counter()
            timing = f"\t time lapse {now - self.last:.5f}s\t ll change {change:.5f}"
            print(f"  Iteration {n_iter}" + (timing if self.verbose > 1 else ""))
            self.last = now
        return self.watch(parameters, lower_bounds, change, converged)

    def end(self, fit: Fit[P]) -> None:
        """Print a line at the end of the start."""
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
    """Return whether a value is a list of the arguments of restarts."""
    return isinstance(rows, list) and all(
        isinstance(row, list)
        and (len(row) == 5 or (len(row) == 6 and row[5] in ("callback", "time_limit")))
        and (is_number(row[0]) if row[3] else is_log_likelihood(row[0]))
        and is_count(row[1])
        and is_flag(row[2])
        and (row[3] is None or isinstance(row[3], str))
        and is_number(row[4])
        for row in rows
    )
