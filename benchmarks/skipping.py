"""Compare EM that skips pairs of samples and components with EM that evaluates all pairs."""

import numpy as np
from measure import TOO_SLOW, Cell, Comparison, Task, Times, difference, timed
from peers import GmmCore, Peer, ScikitLearn
from workloads import Problem

from gmm_core import reference
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit.loop import step
from gmm_core.fit.maximization import maximum_likelihood
from gmm_core.model.parameters import mixture_of, prepare

BEFORE = 5  # iterations before those that are timed
OF_OTHERS = 2  # iterations of other libraries, which all take as long


class Iterations:
    """EM of gmm_core from the start of a problem, a few iterations at a time.

    Parameters
    ----------
    problem : Problem
    skip : bool
        Whether pairs may be skipped.
    n_threads : int
    """

    def __init__(self, problem: Problem, skip: bool, n_threads: int) -> None:
        w, covariances = problem.workload, problem.covariances
        factors = reference.precision_cholesky(covariances, w.covariance_type)
        prepared = prepare(problem.weights, problem.means, factors, w.covariance_type)
        self._mixture = mixture_of(prepared, covariances)
        self._data = ArrayPass(problem.X, None, w.n_components, w.covariance_type, n_threads)
        if skip:
            self._data.skip(1.0)
        self._algorithm = maximum_likelihood(self._data, w.reg_covar)
        self.lower_bounds: list[float] = []

    def run(self, n_iter: int) -> None:
        """Make some iterations."""
        for _ in range(n_iter):
            self._mixture, bound = step(self._algorithm, self._mixture)
            self.lower_bounds.append(bound)

    @property
    def evaluated(self) -> float:
        """The share of all pairs that the last iteration evaluated."""
        skipping = self._data.skipping
        if skipping is None or skipping.order.age < 0:  # a dense pass
            return 1.0
        return skipping.evaluated_share


class LaterIterations(Comparison):
    """Compare the log-likelihoods of all iterations, and time those after the first few."""

    def _prepare(self, peer: Peer, cell: Cell) -> None:
        if isinstance(peer, GmmCore):
            self._check_ours(peer, cell)
        elif isinstance(peer, ScikitLearn):
            self._check_other(peer, cell)

    def _check_ours(self, peer: GmmCore, cell: Cell) -> None:
        """Check gmm_core, whose iterations are timed without the rest of a fit."""

        def begin() -> Iterations:
            em = Iterations(self.problem, peer.skip == "auto", peer.n_threads)
            em.run(BEFORE)
            return em

        def measure(em: Iterations) -> Times:
            n = self.problem.workload.iterations
            return Times(*(time / n for time in timed(lambda: em.run(n))))

        em = begin()
        times = measure(em)
        cell.evaluated = em.evaluated
        if self._compare(cell, np.array(em.lower_bounds)):
            self._add(cell, lambda: measure(begin()), times, len(em.lower_bounds) * times.wall)

    def _check_other(self, peer: ScikitLearn, cell: Cell) -> None:
        """Check another library, whose iterations all take as long as the first ones."""
        found = []

        def short() -> Times:
            return timed(lambda: peer.lower_bounds(self.problem, 1))

        def long() -> Times:
            return timed(lambda: found.append(peer.lower_bounds(self.problem, 1 + OF_OTHERS)))

        first = short()
        if first.wall > TOO_SLOW * 1e3:
            cell.status, cell.detail = "too slow", f"one iteration took {first.wall:.0f} ms"
            return
        whole = long()
        if self._compare(cell, found[0]):
            times = difference(first, whole, OF_OTHERS)
            task = lambda: difference(short(), long(), OF_OTHERS)  # noqa: E731
            self._add(cell, task, times, first.wall + whole.wall)

    def _add(self, cell: Cell, task: Task, first: Times, spent: float) -> None:
        """Add a task, or the times of its first run if that took more milliseconds than the cap."""
        if spent / 1e3 > self.cap:
            self._record(cell, [first])
        else:
            self.tasks[cell.library] = task
