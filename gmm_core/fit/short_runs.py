"""Short runs: EM makes a few iterations from each of many starts, and the best of them run on.

This is the "em-EM" of Biernacki, Celeux & Govaert (2003).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gmm_core.core.errors import NumericalError
from gmm_core.core.warn import warn
from gmm_core.fit.loop import Algorithm, iterate
from gmm_core.fit.restarts import Begun, Schedule
from gmm_core.model.parameters import Mixture

# Number of iterations of a short run. In benchmarks/starts.py, runs of 10 or 20 iterations came no
# closer to the best optimum than as many runs of 5.
N_ITERATIONS = 5


def short_runs(
    algorithm: Algorithm[Mixture],
    start: Callable[[], Begun[Mixture]],
    n_short: int,
    n_init: int,
    schedule: Schedule,
    quiet: bool = False,
) -> Callable[[], Begun[Mixture]]:
    """Make short runs, and keep the `n_init` with the largest log-likelihood.

    The runs are compared at their last E-step, so that the comparison takes no pass of its own.
    They are too short to be accelerated.

    Parameters
    ----------
    algorithm : Algorithm
    start : callable
        See `best_of_starts`.
    n_short : int
        The number of short runs, at least `n_init`.
    n_init : int
    schedule : Schedule
    quiet : bool, default=False
        Whether no warning is issued.

    Returns
    -------
    callable
        A function for `best_of_starts`, which returns the runs that were kept, the best first. If
        fewer than `n_init` runs succeeded, the calls after them raise the errors of those that
        failed. If the fit was stopped before there were enough runs, the last calls make starts.

    Warns
    -----
    UserWarning
        For each short run that fails.
    """
    kept: list[tuple[float, Begun[Mixture]]] = []
    failures: list[NumericalError] = []
    plain = algorithm._replace(final_bound=lambda parameters: np.nan, steps=None)
    max_iter = min(N_ITERATIONS, schedule.max_iter)
    for i in range(n_short):
        if schedule.watcher.stopped:
            break
        try:
            parameters, _ = start()
            fit = iterate(
                plain, parameters, tol=schedule.tol, max_iter=max_iter,
                report=schedule.watcher.run("short run", max_iter, i),
            )
            bounds = fit.lower_bounds
            bound = bounds[-1] if bounds else algorithm.final_bound(fit.parameters)
        except NumericalError as error:
            failures.append(error)
            if not quiet:
                warn(f"short run {i} of {n_short} failed: {error}")
            continue
        if schedule.verbose:
            print(f"Short run {i}" + (f"\t ll {bound:.5f}" if schedule.verbose > 1 else ""))
        kept.append((bound, Begun(fit.parameters, bounds)))
        kept.sort(key=lambda run: -run[0])  # the sort is stable: of equal runs, the first is kept
        del kept[n_init:]
    rest: Iterator[Begun[Mixture] | NumericalError] = iter([*(run for _, run in kept), *failures])

    def next_run() -> Begun[Mixture]:
        run = next(rest, None)
        if run is None:
            return start()
        if isinstance(run, NumericalError):
            raise run
        return run

    return next_run
