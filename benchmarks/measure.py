"""Check that libraries agree, and time those that do."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import numpy as np
from bench import interleave
from memory import measure_peak_mb
from peers import Parameters, Peer
from workloads import SCORING, Array, Problem

from gmm_core import reference

# Largest difference, divided by max(1, |truth|), of a mean log-likelihood per sample, of the
# log-likelihood of any sample, or of any responsibility. It allows for rounding errors, which grow
# with the size of what is rounded.
TOLERANCES = {"float64": 1e-8, "float32": 1e-4}
LABEL_TOLERANCE = 1e-4  # largest share of labels that differ
TOO_SLOW = 30.0  # seconds for a fit of one iteration, which some libraries end with another E-step
LATENCY_CALLS = 10  # a fit takes about a millisecond, which is too short to be timed alone
SETTLE = 0.05  # seconds to wait, as threads of the library before spin for a while


class Times(NamedTuple):
    """Times of one run, in milliseconds: by the clock, and of all processors together."""

    wall: float
    cpu: float


@dataclass
class Cell:
    """The results of one library on one workload.

    Attributes
    ----------
    library : str
        Name of the library.
    status : {'ok', 'unsupported', 'differs', 'failed', 'too slow'}
        Whether the library was timed, or why not.
    detail : str
        A sentence about the status.
    log_likelihood : float or None
        Mean log-likelihood per sample after the iterations that are compared.
    difference : float or None
        Difference from the library that is taken as the truth.
    wall_ms, cpu_ms : list of float
        Times of all runs, by the clock and of all processors.
    memory_mb : float or None
        Peak memory beyond the data.
    n_iter, log_likelihoods : list
        Number of iterations and mean log-likelihood at the end of each whole fit.
    evaluated : float or None
        Share of the pairs of samples and components that the last iteration evaluated.
    """

    library: str
    status: str = "ok"
    detail: str = ""
    log_likelihood: float | None = None
    difference: float | None = None
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    memory_mb: float | None = None
    n_iter: list[int] = field(default_factory=list)
    log_likelihoods: list[float] = field(default_factory=list)
    evaluated: float | None = None

    @property
    def median_ms(self) -> float | None:
        """Median time by the clock, or None if there is none."""
        return median(self.wall_ms) if self.wall_ms else None


Task = Callable[[], Times]


def timed(call: Callable[[], object], calls: int = 1, settle: float = SETTLE) -> Times:
    """Measure the time of a call, as a mean over several calls."""
    time.sleep(settle)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Times(wall * 1e3 / calls, cpu * 1e3 / calls)


def difference(short: Times, long: Times, n: int) -> Times:
    """Return the time of an iteration, of which a long fit makes n more than a short one."""
    return Times(*((b - a) / n for a, b in zip(short, long, strict=True)))


def mean_log_likelihood(X: Array, parameters: Parameters, covariance_type: str) -> float:
    """Evaluate the parameters of any library by `gmm_core.reference`, in float64."""
    weights, means, covariances = (np.asarray(p, dtype=np.float64) for p in parameters)
    factors = reference.precision_cholesky(covariances, covariance_type)
    model = (weights / weights.sum(), means, factors, covariance_type)
    blocks = (X[n : n + 8192].astype(np.float64) for n in range(0, len(X), 8192))
    return float(sum(reference.log_likelihood(block, *model).sum() for block in blocks)) / len(X)


PLACES = ("dense", "reference", "sklearn", "daal4py", "jax", "quadratic", "pomegranate", "gmm_core")


class Comparison:
    """Compare all libraries on one workload with one number of threads.

    The first library that succeeds is the truth for the others. They are tried in the order of
    `PLACES`: the NumPy baseline before other libraries, and gmm_core last.

    Parameters
    ----------
    problem : Problem
        Data and start.
    repeats : int
        Number of rounds.
    cap : float
        Seconds. A library that would take longer than this is timed in fewer rounds.
    """

    def __init__(self, problem: Problem, repeats: int, cap: float) -> None:
        self.problem = problem
        self.kind = problem.workload.kind
        self.repeats = repeats
        self.cap = cap
        self.truth: Array | None = None
        self.tasks: dict[str, Task] = {}
        self.cells: dict[str, Cell] = {}

    def run(self, peers: dict[str, Peer], n_threads: int, memory: bool) -> list[Cell]:
        """Compare and time the libraries, and measure their memory if `memory` is true."""
        for name in sorted(peers, key=PLACES.index):
            self._check(peers[name])
        for name, runs in interleave(self.tasks, self.repeats, self.cap).items():
            self._record(self.cells[name], runs)
        if memory:
            for cell in self.cells.values():
                if cell.status == "ok":
                    cell.memory_mb = measure_peak_mb(cell.library, self.problem, n_threads)
        return [self.cells[name] for name in peers]

    def _record(self, cell: Cell, runs: list[Times]) -> None:
        """Add times to a cell."""
        cell.wall_ms += [run.wall for run in runs]
        cell.cpu_ms += [run.cpu for run in runs]

    def _check(self, peer: Peer) -> None:
        """Add a cell for the library, and a task that is timed unless the library is refused."""
        cell = self.cells[peer.name] = Cell(peer.name)
        refusal = peer.refusal(self.problem)
        if refusal is not None:
            cell.status, cell.detail = "unsupported", refusal
            return
        try:
            self._prepare(peer, cell)
        except Exception as error:  # noqa: BLE001  (whatever a library raises is a result)
            cell.status, cell.detail = "failed", f"{type(error).__name__}: {error}"

    def _prepare(self, peer: Peer, cell: Cell) -> None:
        """Compare what the library computes with the truth, and add the task that is timed."""
        if self.kind in SCORING:
            self._check_scores(peer, cell)
        elif self.kind == "fit":
            self._prepare_default_fit(peer, cell)
        else:
            self._check_iterations(peer, cell)

    def _compare(self, cell: Cell, value: Array) -> bool:
        """Return whether the library agrees with the truth; write the difference to its cell.

        If there are fewer values than the truth has, they are compared with its first ones.
        """
        if self.truth is None:
            self.truth = value
        truth = self.truth[: len(value)]
        if self.kind == "predict":
            cell.difference = float(np.mean(value != truth))
            tolerance = LABEL_TOLERANCE
        else:
            scale = np.maximum(1, np.abs(truth))
            cell.difference = float(np.max(np.abs(value - truth) / scale))
            tolerance = TOLERANCES[self.problem.workload.dtype]
        if not cell.difference <= tolerance:  # NaN differs too
            cell.status, cell.detail = "differs", f"by {cell.difference:.1e}"
        return cell.status == "ok"

    def _check_iterations(self, peer: Peer, cell: Cell) -> None:
        """Compare the ends of fits from the same start, and add the time of iterations or a fit."""
        problem, iterations = self.problem, self.problem.workload.iterations
        _ = problem.precisions  # computed here, so that it is in no library's time
        last = iterations + (self.kind == "em")
        ends: list[Parameters] = []
        first = timed(lambda: peer.fit(problem, 1), settle=0)
        if first.wall > TOO_SLOW * 1e3:
            cell.status, cell.detail = "too slow", f"one iteration took {first.wall:.0f} ms"
            return
        whole = timed(lambda: ends.append(peer.fit(problem, last)), settle=0)
        covariance_type = problem.workload.covariance_type
        cell.log_likelihood = mean_log_likelihood(problem.X, ends[0], covariance_type)
        if not self._compare(cell, np.array([cell.log_likelihood])):
            return

        def per_iteration(short: Times, long: Times) -> Times:
            return difference(short, long, iterations)

        if self.kind == "latency":
            self.tasks[peer.name] = lambda: timed(lambda: peer.fit(problem, last), LATENCY_CALLS)
        elif (first.wall + whole.wall) / 1e3 > self.cap:  # one more run tells nothing new
            self._record(cell, [per_iteration(first, whole)])
        else:
            self.tasks[peer.name] = lambda: per_iteration(
                timed(lambda: peer.fit(problem, 1)),
                timed(lambda: peer.fit(problem, last)),
            )

    def _check_scores(self, peer: Peer, cell: Cell) -> None:
        """Compare what a scoring method returns, and add its time."""
        call = peer.scorer(self.problem)
        if self._compare(cell, np.asarray(call())):
            self.tasks[peer.name] = lambda: timed(call)

    def _prepare_default_fit(self, peer: Peer, cell: Cell) -> None:
        """Add the time of a whole fit, with another seed in each round.

        The starts of the libraries differ, so their ends are shown and not compared.
        """
        problem = self.problem

        def task() -> Times:
            ends = []
            seed = len(cell.n_iter)
            times = timed(lambda: ends.append(peer.default_fit(problem, seed)))
            fitted = ends[0]
            cell.n_iter.append(fitted.n_iter)
            covariance_type = problem.workload.covariance_type
            end = mean_log_likelihood(problem.X, fitted.parameters, covariance_type)
            cell.log_likelihoods.append(end)
            return times

        self.tasks[peer.name] = task
