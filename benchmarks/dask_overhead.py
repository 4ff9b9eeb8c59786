"""Measure the bytes and the scheduler's time of an iteration on a Dask cluster.

Run ``python benchmarks/dask_overhead.py`` with the extra `dask` installed. It starts a scheduler
and two worker processes of one thread each on this machine. From what it measures, it computes the
time of an iteration on 100 workers with 10⁹ rows.
"""

import argparse
import math
import pickle
import statistics
import time
import warnings
from typing import NamedTuple

import dask.array as da
import distributed
import numpy as np
from distributed import Client, LocalCluster

import gmm_core
from gmm_core.dask import GaussianMixture
from gmm_core.data import dask_pass
from gmm_core.data.dask_pass import DaskChunks

FAN_IN = dask_pass._FAN_IN


class Case(NamedTuple):
    """The sizes of one measurement."""

    rows: int
    features: int
    components: int
    chunks: int


CASES = [
    Case(1_000_000, 2, 8, 20),
    Case(400_000, 16, 32, 20),
    Case(40_000, 64, 16, 20),
    Case(16_000, 256, 64, 8),
]
FLOOR = [Case(100 * n, 2, 2, n) for n in (8, 64, 512)]


class Measured(NamedTuple):
    """What was measured of one iteration.

    Attributes
    ----------
    iteration : float
        Seconds.
    tasks : float
        Seconds of all tasks on the workers.
    out, back : int
        Bytes that are sent to the workers and that come back.
    """

    iteration: float
    tasks: float
    out: int
    back: int


def chunk(means: np.ndarray, rows: int, number: int) -> np.ndarray:
    """Draw the rows of one chunk."""
    rng = np.random.default_rng(number)
    return rng.normal(size=(rows, means.shape[1])) + means[rng.integers(len(means), size=rows)]


def measure(client: Client, case: Case, iterations: int, rounds: int) -> Measured:
    """Measure an iteration as the difference of a longer and a shorter fit."""
    K, D = case.components, case.features
    means = np.random.default_rng(0).normal(size=(K, D))
    size = case.rows // case.chunks
    keys = [client.submit(chunk, means, size, i, pure=False) for i in range(case.chunks)]
    rows = client.persist(da.concatenate([da.from_delayed(k, (size, D), float) for k in keys]))
    distributed.wait(rows)
    given = {
        "weights_init": np.full(K, 1 / K),
        "means_init": means,
        "precisions_init": np.broadcast_to(np.eye(D), (K, D, D)),
    }
    sent: list[int] = []
    original = DaskChunks.sum

    def spy(self: DaskChunks, function: object, arguments: object) -> np.ndarray:
        """Call the original method, and note the sizes of what is sent."""
        result = original(self, function, arguments)
        if function is dask_pass._expectation:
            sent[:] = len(pickle.dumps(arguments, protocol=5)), result.nbytes
        return result

    def fit(max_iter: int) -> tuple[float, float]:
        """Return the seconds of a fit, and those of the E-steps of one iteration on the workers."""
        model = GaussianMixture(K, tol=0.0, max_iter=max_iter, reg_covar=0.1, **given)
        with distributed.get_task_stream(client) as stream:
            began = time.perf_counter()
            model.fit(rows)
            took = time.perf_counter() - began
        spans = [
            span
            for task in stream.data if "_expectation" in str(task["key"])
            for span in task["startstops"] if span["action"] == "compute"
        ]  # fmt: skip
        return took, sum(span["stop"] - span["start"] for span in spans) / max_iter

    DaskChunks.sum = spy
    times, tasks = [], []
    fit(1)  # leaves what happens only once out of the measurement
    try:
        for _ in range(rounds):  # interleaved, as the machine may have other work
            short, _ = fit(1)
            long, in_tasks = fit(1 + iterations)
            times.append((long - short) / iterations)
            tasks.append(in_tasks)
    finally:
        DaskChunks.sum = original
    return Measured(statistics.median(times), statistics.median(tasks), *sent)


def n_tasks(chunks: int) -> int:
    """Return the number of tasks of an iteration: one for each chunk, and those of the tree."""
    count = chunks
    while chunks > 1:
        chunks = math.ceil(chunks / FAN_IN)
        count += chunks
    return count


def main() -> None:
    """Print what was measured, and what it means for 100 workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="run a smoke test with fewer rows")
    parser.add_argument(
        "--bandwidth", type=float, default=1e9, help="bytes per second in the network"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore", gmm_core.ConvergenceWarning)
    warnings.filterwarnings("ignore", "components? .* (has|have) no samples")
    local = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with local, Client(local) as client:
        print("iterations with 100 rows per chunk: the time of scheduler and client\n")
        print("| chunks | tasks | ms per iteration | ms per task |\n|---|---|---|---|")
        floor = []
        for case in FLOOR:
            tasks, t = n_tasks(case.chunks), measure(client, case, 5, options.rounds).iteration
            floor.append((tasks, t))
            print(f"| {case.chunks} | {tasks} | {1e3 * t:.1f} | {1e3 * t / tasks:.2f} |")
        slope, fixed = np.polyfit(*np.transpose(floor), 1)
        print(f"\nstraight line: {1e3 * fixed:.1f} ms + {1e3 * slope:.2f} ms per task\n")
        header = "kB out | kB back | ms per iteration | ms of tasks / 2 | the rest"
        print(f"| rows | features | components | chunks | {header} |\n{'|---' * 9}|")
        found = []
        for case in CASES:
            if options.quick:
                case = case._replace(rows=max(case.rows // 20, 1600))
            got = measure(client, case, options.iterations, options.rounds)
            found.append((case, got))
            print(
                f"| {case.rows:,} | {case.features} | {case.components} | {case.chunks} "
                f"| {got.out / 1e3:,.1f} | {got.back / 1e3:,.1f} | {1e3 * got.iteration:.0f} "
                f"| {500 * got.tasks:.0f} | {1e3 * (got.iteration - got.tasks / 2):.0f} |"
            )
    levels, rounds = math.ceil(math.log(1000, FAN_IN)), math.ceil(math.log2(100))
    bandwidth = options.bandwidth
    print(f"""
computed, not measured: 100 workers of one thread each, 10⁹ rows in 1,000 chunks, and
{bandwidth / 1e9:g} GB/s in each direction.
tasks: the number of rows times the time of a row on a worker, divided by 100.
scheduler: the straight line; no part of it overlaps with tasks.
network: the parameters go to the scheduler, and from there to the workers in log₂ 100 = {rounds}
rounds. The statistics go up a tree of {levels} levels, where {FAN_IN - 1} of {FAN_IN} parts are
moved at each, and through the scheduler to the client.
""")
    print("| features | components | tasks s | scheduler s | network s | iteration s |")
    print("|---" * 6 + "|")
    for case, got in found:
        tasks = got.tasks / case.rows * 1e9 / 100
        overhead = fixed + slope * n_tasks(1000)
        network = (got.out * (1 + rounds) + got.back * (levels * (FAN_IN - 1) + 2)) / bandwidth
        print(
            f"| {case.features} | {case.components} | {tasks:.2f} | {overhead:.2f} | {network:.3f} "
            f"| {tasks + overhead + network:.2f} |"
        )


if __name__ == "__main__":
    main()
