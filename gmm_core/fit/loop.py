"""The EM loop: an E-step, an M-step and a bound, repeated until the bound stops changing.

What the steps are is not the loop's business: they are arguments. See `maximization.py` for those
of maximum likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from gmm_core.model.statistics import Statistics

P = TypeVar("P")  # the parameters that EM improves, such as a Mixture


class Algorithm(NamedTuple, Generic[P]):
    """What one iteration consists of.

    Attributes
    ----------
    expectation : callable
        The E-step: parameters to statistics.
    maximization : callable
        The M-step: statistics, and the parameters that they were computed with, to parameters.
    bound : callable
        Takes the same two, and returns the lower bound at these parameters, in nats per sample. For
        maximum likelihood it is the mean log-likelihood.
    final_bound : callable
        Takes the last parameters, and returns the lower bound at them.
    """

    expectation: Callable[[P], Statistics]
    maximization: Callable[[Statistics, P], P]
    bound: Callable[[Statistics, P], float]
    final_bound: Callable[[P], float]


class Fit(NamedTuple, Generic[P]):
    """What EM ended with.

    Attributes
    ----------
    parameters : Mixture, or what the algorithm improves
    lower_bounds : list of float
        The bound found by the E-step of each iteration, so at the parameters before it.
    lower_bound : float
        The bound at `parameters`.
    converged : bool
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
    parameters : Mixture, or what the algorithm improves

    Returns
    -------
    parameters
        After the iteration.
    bound : float
        The lower bound at the parameters before the iteration.

    Raises
    ------
    NumericalError
        If a sample has no density, or a covariance stops being positive definite.
    """
    statistics = algorithm.expectation(parameters)
    improved = algorithm.maximization(statistics, parameters)
    return improved, algorithm.bound(statistics, parameters)


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
    parameters : Mixture, or what the algorithm improves
        Where to start.
    tol : float
        In nats per sample.
    max_iter : int
    previous : float, default=-inf
        The bound of the iteration before, which the first is compared with.
    lower_bounds : sequence of float, default=()
        Bounds of iterations that have been made already, after which the loop goes on.
    report : callable, optional
        Called with the number of each iteration and the change of the bound.
    save : callable, optional
        Called with parameters and lower bounds after each iteration that is not the last.

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
    converged = False
    for n_iter in range(len(made) + 1, max_iter + 1):
        parameters, bound = step(algorithm, parameters)
        made.append(bound)
        change, previous = bound - previous, bound
        report(n_iter, change)
        # the stop rule
        if abs(change) < tol:
            converged = True
            break
        save(parameters, made)
    return Fit(parameters, made, algorithm.final_bound(parameters), converged)
