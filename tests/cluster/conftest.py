"""A Dask cluster of two worker processes, some of which are killed.

Every test has a minute, and is then ended by an alarm: whatever waits for a worker may wait for ever.
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
    """Starts another cluster of so many workers."""
    return _start_cluster


@pytest.fixture(scope="module", autouse=True)
def short_timeouts() -> Iterator[None]:
    """A dead worker is called for 30 seconds by default."""
    with dask.config.set({"distributed.comm.timeouts.connect": "10s"}):
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
    """Of a cluster that loses a worker, which does not always come back."""
    with _start_cluster(2) as owner, Client(owner) as made:
        made.wait_for_workers(2, timeout=30)
        yield made


@pytest.fixture(autouse=True)
def time_out() -> Iterator[None]:
    def stop(*_: object) -> None:
        pytest.fail("the test has had its minute")

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
    """With zeros, and many more in the first chunks than in the others."""
    rng = np.random.default_rng(1)
    return rng.uniform(0, 3, size=N) * (rng.uniform(size=N) < np.linspace(0.1, 1, N))
