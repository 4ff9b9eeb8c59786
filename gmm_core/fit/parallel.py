"""Many fits: small ones run side by side in one thread each, large ones one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gmm_core.core.threads import effective_n_threads
from gmm_core.fit.watching import Callback, FitState

J = TypeVar("J")
R = TypeVar("R")

# Fits of fewer numbers than this, samples times features times components, are small.
SMALL = 2_000_000


def each(
    fit: Callable[[J, int | None, Callback], R],
    jobs: Sequence[J],
    n_threads: int | None,
    small: bool,
) -> Iterator[R]:
    """Yield the results of fits, in the order of their jobs.

    Parameters
    ----------
    fit : callable
        Takes a job, the number of threads of the fit, and its argument `watch`.
    jobs : sequence
    n_threads : int or None
        The number of threads of all fits together; see `GaussianMixture`.
    small : bool
        Whether the fits are small.
    """
    interrupted = threading.Event()

    def watch(state: FitState) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt

    threads = effective_n_threads(n_threads)
    if not (small and threads > 1 and len(jobs) > 1):
        for job in jobs:
            yield fit(job, n_threads, watch)
        return
    from concurrent.futures import ThreadPoolExecutor  # imported late, as it takes a while

    with ThreadPoolExecutor(threads) as pool:
        made = pool.map(lambda job: fit(job, 1, watch), jobs)
        try:
            yield from made
        except BaseException:  # Ctrl-C does not reach the threads of the pool
            interrupted.set()
            raise
