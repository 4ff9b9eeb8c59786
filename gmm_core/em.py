"""The EM loop: pass, M-step, convergence. Who runs the pass is not its business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gmm_core.parameters import Parameters
from gmm_core.statistics import RegCovar, Statistics, maximization_step

Float64Array = npt.NDArray[np.float64]


class Pass(Protocol):
    """What turns parameters into statistics, by going over the data once."""

    n_threads: int
    covariance_type: str

    def expectation(self, parameters: Parameters, shift: Float64Array | None = None) -> Statistics:
        """E-step: statistics about the shift, or about the means."""

    def mean_log_likelihood(self, parameters: Parameters) -> float:
        """Weighted mean log-likelihood of the samples."""


class Fit(NamedTuple):
    """What EM ended with.

    Attributes
    ----------
    parameters : Parameters
    lower_bounds : list of float
        Mean log-likelihood found by the E-step of each iteration, so at the parameters before it.
    lower_bound : float
        Mean log-likelihood at `parameters`.
    converged : bool
    """

    parameters: Parameters
    lower_bounds: list[float]
    lower_bound: float
    converged: bool


def expectation_maximization(
    data: Pass,
    parameters: Parameters,
    *,
    tol: float,
    max_iter: int,
    reg_covar: RegCovar,
    previous: float = -np.inf,
    lower_bounds: Sequence[float] = (),
    report: Callable[[int, float], None] = lambda n_iter, change: None,
    save: Callable[[Parameters, list[float]], None] = lambda parameters, lower_bounds: None,
) -> Fit:
    """Iterate E-steps and M-steps until the mean log-likelihood changes by less than `tol`.

    Parameters
    ----------
    data : Pass
    parameters : Parameters
        To start from.
    tol : float
    max_iter : int
    reg_covar : float or ndarray of shape (n_features,)
        Added to the diagonal of every covariance.
    previous : float
        Mean log-likelihood of the iteration before, which the first is compared with.
    lower_bounds : sequence of float
        Of iterations already made, after which the loop goes on.
    report : callable
        Told the number of each iteration and the change of the mean log-likelihood.
    save : callable
        Told parameters and lower bounds after each iteration that is not the last.

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance stops being positive definite.
    """
    made = list(lower_bounds)
    previous = made[-1] if made else previous
    converged = False
    for n_iter in range(len(made) + 1, max_iter + 1):
        statistics = data.expectation(parameters)
        parameters, _ = maximization_step(
            statistics, reg_covar, data.n_threads, partial(data.expectation, parameters)
        )
        made.append(statistics.log_likelihood / statistics.weight)
        change = made[-1] - previous
        previous = made[-1]
        report(n_iter, change)
        if abs(change) < tol:
            converged = True
            break
        save(parameters, made)
    return Fit(parameters, made, data.mean_log_likelihood(parameters), converged)
