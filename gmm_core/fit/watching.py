"""What watches a fit: callbacks, the time limit and the log.

A `Watcher` is told of each iteration, in whatever loop it is made, and says whether the fit stops.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

import numpy as np

from gmm_core.core.types import FloatArray
from gmm_core.fit.loop import Fit, P

if TYPE_CHECKING:
    import logging

Phase = Literal["start", "short run", "swap", "move"]
Reason = Literal["callback", "time_limit"]


class FitState:
    """The state of a fit after an iteration, with which `callback` is called.

    Attributes
    ----------
    phase : {'start', 'short run', 'swap', 'move'}
        What the iteration belongs to: a start of EM, a short run (see `n_short`), EM after a swap
        (see `n_swaps`), or the iterations after a move of `BayesianGaussianMixture`.
    start : int
        Number of the start, from 0; for a short run the number of the run.
    n_init : int
        Number of starts.
    n_iter : int
        Number of the iteration in this start, short run, swap or move, from 1.
    max_iter : int
        Largest number that `n_iter` can reach.
    lower_bound : float
        The bound that the E-step of the iteration found, as in `lower_bounds_`: for a
        `GaussianMixture` the mean log-likelihood before the M-step, in nats per sample.
    change : float
        Its change since the iteration before; infinite in the first one.
    converged : bool
        Whether EM has converged in this iteration.
    seconds : float
        Time since the beginning of the fit.

    Examples
    --------
    >>> from gmm_core import GaussianMixture
    >>> def show(state):
    ...     print(state.n_iter, round(state.lower_bound, 3), state.weights.round(3))
    >>> X = [[0.0], [1.0], [8.0], [9.0]]
    >>> gm = GaussianMixture(2, random_state=0, callback=show).fit(X)
    1 -1.419 [0.5 0.5]
    2 -1.419 [0.5 0.5]
    """

    __slots__ = (
        "_attributes", "_made", "change", "converged", "lower_bound", "max_iter", "n_init",
        "n_iter", "phase", "seconds", "start",
    )  # fmt: skip

    def __init__(
        self, phase: Phase, start: int, n_init: int, n_iter: int, max_iter: int,
        lower_bound: float, change: float, converged: bool, seconds: float,
        attributes: Callable[[], dict[str, Any]],
    ) -> None:  # fmt: skip
        self.phase = phase
        self.start = start
        self.n_init = n_init
        self.n_iter = n_iter
        self.max_iter = max_iter
        self.lower_bound = lower_bound
        self.change = change
        self.converged = converged
        self.seconds = seconds
        self._attributes = attributes
        self._made: dict[str, Any] | None = None

    @property
    def weights(self) -> FloatArray:
        """The weights after the iteration, of shape (n_components,)."""
        return self._array("weights_")

    @property
    def means(self) -> FloatArray:
        """The means after the iteration, of shape (n_components, n_features)."""
        return self._array("means_")

    @property
    def covariances(self) -> FloatArray:
        """The covariances after the iteration, in the shape of `covariances_`."""
        return self._array("covariances_")

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that the estimator would get if the fit ended here, by name."""
        if self._made is None:
            self._made = self._attributes()
        return self._made

    def _array(self, name: str) -> FloatArray:
        """Return a copy of an attribute, so that a callback cannot change the fit."""
        array: FloatArray = np.array(self.attributes()[name])
        return array

    def __repr__(self) -> str:
        return (
            f"FitState(phase={self.phase!r}, start={self.start}, n_iter={self.n_iter}, "
            f"lower_bound={self.lower_bound!r}, seconds={self.seconds:.3f})"
        )


# A result of True stops the fit.
Callback = Callable[[FitState], Any]


class Watcher(Generic[P]):
    """Call the callbacks after each iteration, observe the time limit, and write the log.

    Leaving its context calls the method `close` of the callbacks that have one.

    Parameters
    ----------
    callback : callable, sequence of callables, or None
    time_limit : float or None
        In seconds.
    watch : callable or None
        One more callback. If it has a method `begin`, this is called before each start and each
        short run, with the phase, the number of the start and the largest number of iterations.
    attributes : callable
        Takes a `Fit`, and returns the fitted attributes.
    n_init : int
    began : float
        The value of `time.perf_counter` at the beginning of the fit.
    """

    def __init__(
        self,
        callback: Callback | Sequence[Callback] | None,
        time_limit: float | None,
        watch: Callback | None,
        attributes: Callable[[Fit[P]], dict[str, Any]],
        n_init: int,
        began: float,
    ) -> None:
        self.stopped: Reason | None = None
        given = [callback] if callable(callback) else callback or []
        self._callbacks = [*given, *([] if watch is None else [watch])]
        self._begin = getattr(watch, "begin", None)
        self._time_limit = time_limit
        self._attributes = attributes
        self._n_init = n_init
        self._began = began
        self._start = 0
        self._log = _logger()
        debug = self._log is not None and self._log.isEnabledFor(10)  # logging.DEBUG
        self._idle = not (self._callbacks or debug) and time_limit is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for callback in self._callbacks:
            close = getattr(callback, "close", None)
            if close is not None:
                close()

    def run(
        self, phase: Phase, max_iter: int, start: int | None = None
    ) -> Callable[[P, list[float], float, bool], bool]:
        """Return what `iterate` calls after each iteration of a start, short run, swap or move.

        A swap or a move has no number `start`, as it belongs to the start before it.
        """
        if start is None:
            start = self._start
        elif self._begin is not None:
            self._begin(phase, start, max_iter)
        self._start = start

        def after(parameters: P, made: list[float], change: float, converged: bool) -> bool:
            if self._idle:
                return False
            n_iter, seconds = len(made), time.perf_counter() - self._began
            if self._log is not None:
                self._log.debug(
                    "%s %d, iteration %d: lower bound %.6f, change %.2e",
                    phase, start, n_iter, made[-1], change,
                )  # fmt: skip

            def attributes() -> dict[str, Any]:
                return self._attributes(Fit(parameters, made[:n_iter], made[n_iter - 1], converged))

            state = FitState(
                phase, start, self._n_init, n_iter, max_iter, made[-1], change, converged,
                seconds, attributes,
            )  # fmt: skip
            for callback in self._callbacks:
                asked = callback(state)
                if isinstance(asked, (bool, np.bool_)) and asked:
                    self.stopped = self.stopped or "callback"
            passed = time.perf_counter() - self._began  # with the time of the callbacks
            if self._time_limit is not None and passed > self._time_limit:
                self.stopped = self.stopped or "time_limit"
            return self.stopped is not None

        return after

    def end(self, start: int, outcome: str) -> None:
        """Log the outcome of a start."""
        if self._log is not None:
            seconds = time.perf_counter() - self._began
            self._log.info("start %d of %d %s, %.3f s", start, self._n_init, outcome, seconds)


def _logger() -> logging.Logger | None:
    """Return the logger, or None if nobody wants its messages."""
    module = sys.modules.get("logging")
    if module is None:  # importing it takes time, and who has not imported it has set no handler
        return None
    logger: logging.Logger = module.getLogger("gmm_core")
    if not logger.handlers:
        logger.addHandler(module.NullHandler())
    return logger if logger.isEnabledFor(module.INFO) else None
