"""Fixtures that start a Dask cluster of two worker processes, some of which are killed.

An alarm ends every test after a minute, because code that waits for a worker may wait for ever.
"""

import signal
from collections.abc import Callable, Iterator

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

N, D, K = 12_000, 3, 3


def _start_cluster(n_workers: int) -> LocalCluster:
    return LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")


@pytest.fixture
def start_cluster() -> Callable[[int], LocalCluster]:
    """Return a function that starts another cluster with a number of workers."""
    return _start_cluster


@pytest.fixture(scope="module", autouse=True)
def short_timeouts() -> Iterator[None]:
    """Shorten the time for which Dask tries to reach a dead worker; the default is 30 seconds."""
    with dask.config.set({"distributed.comm.timeouts.connect": "10s"}):
        yield


@pytest.fixture(scope="module", autouse=True)
def restored_scheduler() -> Iterator[None]:
    """Clients that are not closed in reverse order leave Dask with the scheduler of a closed one."""
    with dask.config.set(scheduler=None):
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with _start_cluster(2) as made:
        yield made


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as made:
        made.wait_for_workers(2, timeout=30)
        yield made


@pytest.fixture
def doomed_client() -> Iterator[Client]:
    """Return the client of a cluster that a test may damage: a killed worker may not come back."""
    with _start_cluster(2) as owner, Client(owner) as made:
        made.wait_for_workers(2, timeout=30)
        yield made


@pytest.fixture(autouse=True)
def time_out() -> Iterator[None]:
    def stop(*_: object) -> None:
        pytest.fail("the test took longer than a minute")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def X() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, D)) + 2.5 * rng.integers(K, size=(N, 1))


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    """Return weights, many of which are 0, most of these in the first chunks."""
    rng = np.random.default_rng(1)
    return rng.uniform(0, 3, size=N) * (rng.uniform(size=N) < np.linspace(0.1, 1, N))
