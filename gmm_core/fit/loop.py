"""The EM loop: an E-step, an M-step and a bound, repeated until the bound stops changing.

The steps are arguments of the loop. `maximization.py` has those of maximum likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from gmm_core.model.statistics import Statistics

P = TypeVar("P")  # the type of the parameters that EM improves, such as Mixture


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
    """

    expectation: Callable[[P], Statistics]
    maximization: Callable[[Statistics, P], P]
    bound: Callable[[Statistics, P, P], float]
    final_bound: Callable[[P], float]


class Fit(NamedTuple, Generic[P]):
    """The result of EM.

    Attributes
    ----------
    parameters : Mixture, or another type that the algorithm improves
        The parameters after the last iteration.
    lower_bounds : list of float
        The bound that the E-step of each iteration found, at the parameters before that iteration.
    lower_bound : float
        The bound at `parameters`.
    converged : bool
        Whether the bound stopped changing within the allowed iterations.
    """

    parameters: P
    lower_bounds: list[float]
    lower_bound: float
    converged: bool


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
    report: Callable[[int, float], None] = lambda n_iter, change: None,
    save: Callable[[P, list[float]], None] = lambda parameters, lower_bounds: None,
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
    report : callable, default=no operation
        Called after each iteration with its number and the change of the bound.
    save : callable, default=no operation
        Called with the parameters and the lower bounds after each iteration, but not after one in
        which the bound has converged.

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
    converged = len(made) > 1 and has_converged(made[-1] - made[-2], tol)
    last = len(made) if converged else max_iter
    for n_iter in range(len(made) + 1, last + 1):
        parameters, bound = step(algorithm, parameters)
        made.append(bound)
        change, previous = bound - previous, bound
        report(n_iter, change)
        if has_converged(change, tol):
            converged = True
            break
        save(parameters, made)
    return Fit(parameters, made, algorithm.final_bound(parameters), converged)
