"""The EM loop: an E-step, an M-step and a bound, repeated until the bound stops changing.

The steps are arguments of the loop. `maximization.py` has those of maximum likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from gmm_core.model.statistics import Statistics

P = TypeVar("P")  # the type of the parameters that EM improves, such as Mixture


class Taken(NamedTuple, Generic[P]):
    """The outcome of a pass.

    Attributes
    ----------
    parameters : Mixture, or another type that the algorithm improves
        The parameters that the next pass evaluates.
    bound : float
        The lower bound that the fit has reached.
    converged : bool
        Whether the fit has converged, and `parameters` are its result.
    rejected : bool, default=False
        Whether the pass evaluated parameters that are not kept.
    """

    parameters: P
    bound: float
    converged: bool
    rejected: bool = False


class Steps(Protocol[P]):
    """The choice of the parameters that each pass of a fit evaluates.

    Attributes
    ----------
    memory : object
        What the choice depends on beside the parameters; None if there is nothing.
    """

    @property
    def memory(self) -> Any: ...  # noqa: D102

    def take(
        self, algorithm: Algorithm[P], parameters: P, previous: float, tol: float
    ) -> Taken[P]:
        """Make a pass at the parameters, given the bound before and the tolerance."""

    def end(self, parameters: P) -> P:
        """Return the result of a fit that ends before the pass at these parameters."""


class Algorithm(NamedTuple, Generic[P]):
    """The functions that an iteration of EM consists of.

    Attributes
    ----------
    expectation : callable
        The E-step. It takes parameters and returns statistics.
    maximization : callable
        The M-step. It takes statistics and the parameters that they were computed with, and returns
        improved parameters.
    bound : callable
        Takes the same two arguments and the improved parameters, and returns the lower bound that
        the iteration has found. For maximum likelihood it is the mean log-likelihood at the
        parameters before, in nats per sample.
    final_bound : callable
        Takes the last parameters, and returns the lower bound at them.
    steps : callable or None, default=None
        Takes the memory of an interrupted fit, or None at the beginning of one, and returns the
        `Steps` of the fit. None means those of plain EM.
    """

    expectation: Callable[[P], Statistics]
    maximization: Callable[[Statistics, P], P]
    bound: Callable[[Statistics, P, P], float]
    final_bound: Callable[[P], float]
    steps: Callable[[Any], Steps[P]] | None = None


class Fit(NamedTuple, Generic[P]):
    """The result of EM.

    Attributes
    ----------
    parameters : Mixture, or another type that the algorithm improves
        The parameters after the last iteration.
    lower_bounds : list of float
        The bound that the E-step of each iteration found, at the parameters before that iteration.
        For a pass whose parameters were rejected it is the bound before that pass.
    lower_bound : float
        The bound at `parameters`.
    converged : bool
        Whether the bound stopped changing within the allowed iterations.
    stopped : {'callback', 'time_limit'} or None, default=None
        What stopped EM before it converged and before the allowed iterations were made.
    """

    parameters: P
    lower_bounds: list[float]
    lower_bound: float
    converged: bool
    stopped: str | None = None


def step(algorithm: Algorithm[P], parameters: P) -> tuple[P, float]:
    """Make one iteration.

    Parameters
    ----------
    algorithm : Algorithm
    parameters : Mixture, or another type that the algorithm improves

    Returns
    -------
    parameters
        The parameters after the iteration.
    bound : float
        The lower bound that the iteration has found; see `Algorithm`.

    Raises
    ------
    NumericalError
        If a sample has density 0 under every component, or a covariance is not positive definite.
    """
    statistics = algorithm.expectation(parameters)
    improved = algorithm.maximization(statistics, parameters)
    return improved, algorithm.bound(statistics, parameters, improved)


class PlainSteps(Generic[P]):
    """The steps of plain EM: each pass evaluates the parameters that the last M-step returned."""

    memory = None

    def take(
        self, algorithm: Algorithm[P], parameters: P, previous: float, tol: float
    ) -> Taken[P]:
        """Make an iteration; see `Steps`."""
        improved, bound = step(algorithm, parameters)
        return Taken(improved, bound, has_converged(bound - previous, tol))

    def end(self, parameters: P) -> P:
        """Return the parameters, which the last M-step returned."""
        return parameters


def has_converged(change: float, tol: float) -> bool:
    """Return whether EM stops, given the last change of the lower bound: the stop rule."""
    return abs(change) < tol


def iterate(
    algorithm: Algorithm[P],
    parameters: P,
    *,
    tol: float,
    max_iter: int,
    previous: float = -np.inf,
    lower_bounds: Sequence[float] = (),
    memory: Any = None,
    report: Callable[[P, list[float], float, bool], bool] = lambda *iteration: False,
    save: Callable[[P, list[float], Any], None] = lambda parameters, lower_bounds, memory: None,
) -> Fit[P]:
    """Iterate until the lower bound changes by less than `tol`.

    Parameters
    ----------
    algorithm : Algorithm
    parameters : Mixture, or another type that the algorithm improves
        The parameters to start from.
    tol : float
        The tolerance of the stop rule, in nats per sample.
    max_iter : int
        Largest number of iterations, including those that have been made already.
    previous : float, default=-inf
        The bound that the first iteration is compared with.
    lower_bounds : sequence of float, default=()
        The bounds of iterations that have been made already. The loop continues after them, unless
        the last of them has converged.
    memory : object, default=None
        The memory of the steps after these iterations; see `Steps`.
    report : callable, default=no operation
        Called after each iteration with the parameters that it leads to, the lower bounds, the
        last change of the bound, and whether it has converged. With True as the result, the loop
        ends.
    save : callable, default=no operation
        Called with the parameters, the lower bounds and the memory of the steps after each
        iteration, but not after one in which the bound has converged, or whose parameters were
        rejected.

    Returns
    -------
    Fit

    Raises
    ------
    NumericalError
        See `step`.
    """
    made = list(lower_bounds)
    previous = made[-1] if made else previous
    converged = memory is None and len(made) > 1 and has_converged(made[-1] - made[-2], tol)
    last = len(made) if converged else max_iter
    steps: Steps[P] = PlainSteps() if algorithm.steps is None else algorithm.steps(memory)
    for _ in range(len(made), last):
        parameters, bound, converged, rejected = steps.take(algorithm, parameters, previous, tol)
        made.append(bound)
        change, previous = bound - previous, bound
        stop = report(steps.end(parameters), made, change, converged)
        if converged:
            break
        if not rejected:
            save(parameters, made, steps.memory)
        if stop:
            break
    parameters = steps.end(parameters)
    return Fit(parameters, made, algorithm.final_bound(parameters), converged)
