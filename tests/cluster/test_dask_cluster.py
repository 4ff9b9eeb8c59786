"""Tests of fits on a Dask cluster: bits, threads, traffic, and the loss of workers and clients."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client

import gmm_core
from gmm_core.dask import GaussianMixture
from gmm_core.data import dask_pass
from gmm_core.data.dask_pass import DaskPass

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no alarm, and no SIGKILL"),
    pytest.mark.filterwarnings("ignore:Best performing"),
    # distributed leaves a socket open when it looks for its own address
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
all_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it

N, D, K = 12_000, 3, 3
EXACT = {"random_state": 0, "tol": 0.0, "max_iter": 8}


def arrays(model: Any) -> list[np.ndarray]:
    return [model.weights_, model.means_, model.covariances_, model.precisions_cholesky_]


def bits(model: Any) -> list[bytes]:
    return [a.tobytes() for a in arrays(model)] + [np.array(model.lower_bounds_).tobytes()]


# ---- bits, threads, traffic ----------------------------------------------------------------------


def test_same_bits_in_every_run_and_for_one_worker(
    X: np.ndarray, weight: np.ndarray, client: Client, start_cluster: Any
) -> None:
    """The statistics of twenty chunks are added in a tree of three levels."""
    rows = da.from_array(X, chunks=(600, D))
    runs = [GaussianMixture(K, **EXACT).fit(rows, sample_weight=weight) for _ in range(2)]
    with start_cluster(1) as other, Client(other):
        runs.append(GaussianMixture(K, **EXACT).fit(rows, sample_weight=weight))
    assert bits(runs[0]) == bits(runs[1]) == bits(runs[2])


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in Linux's /proc")
@pytest.mark.skipif(
    not gmm_core.build_info()["openmp"], reason="built without OpenMP: everything has one thread"
)
def test_workers_are_not_oversubscribed(X: np.ndarray, client: Client) -> None:
    """A fit starts no threads of OpenMP in the workers.

    The data have several chunks of the kernels, so that several threads could be used. OpenMP keeps its
    threads, so those that a fit had started would still be there after the fit.
    """
    rows = client.persist(da.from_array(np.tile(X, (8, 1)), chunks=(N * 4, D)))
    # this makes the workers start the threads of their executors
    client.gather(client.map(lambda i: time.sleep(0.2), range(4), pure=False))
    before = client.run(count_threads)
    GaussianMixture(32, n_threads=3, **EXACT).fit(rows)
    assert client.run(count_threads) == before

    def fit_with_threads(block: np.ndarray) -> int:
        """Fit with threads of OpenMP, to show that such threads are counted."""
        gmm_core.GaussianMixture(32, n_threads=3, **EXACT).fit(block)
        return count_threads()

    after = client.submit(fit_with_threads, X, pure=False).result()
    assert after >= 2 + min(before.values())


@pytest.mark.parametrize("weighted", [False, True])
def test_no_warning_of_large_graphs(weighted: bool, client: Client) -> None:
    """Neither parameters of 33 MB nor weights of 16 MB are part of a task graph."""
    if weighted:
        n, features, components = 2_000_000, 1, 1
    else:
        n, features, components = 2000, 256, 64
    rows = da.random.default_rng(0).normal(size=(n, features), chunks=(n // 4, features))
    model = GaussianMixture(
        components,
        init_params="random_from_data",
        max_iter=1,
        tol=0.0,
        reg_covar=0.1,
        random_state=0,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rows, sample_weight=np.linspace(0, 1, n) if weighted else None)
    messages = [str(w.message) for w in caught if "did not converge" not in str(w.message)]
    assert not messages
    assert weighted or model.precisions_cholesky_.nbytes > 33_000_000


# ---- how often data are computed -----------------------------------------------------------------


def counting(X: np.ndarray, path: Path) -> Any:
    """Return the rows in six chunks. A chunk adds a byte to a file whenever it is computed."""

    def load(block: np.ndarray) -> np.ndarray:
        with open(path, "a") as file:
            file.write("x")
        return block

    return da.from_array(X, chunks=(2000, D)).map_blocks(load, dtype=X.dtype, meta=X[:0])


def test_weights_derived_from_chunks_of_known_length(
    X: np.ndarray, client: Client, tmp_path: Path
) -> None:
    model = GaussianMixture(K, **EXACT).fit(X)
    for number, method in enumerate((model.score, model.bic, model.fit)):
        rows = counting(X, tmp_path / str(number))
        method(rows, sample_weight=abs(rows[:, 1]))
        assert len((tmp_path / str(number)).read_text()) == 6


def filtered(X: np.ndarray, path: Path, weighted: str | None) -> tuple[Any, Any]:
    """Return an unknown number of rows, which are computed from six chunks, and their weights."""
    loaded = counting(X, path)
    if weighted == "frame":
        columns = ["a", "b", "c"]
        frame = dd.from_dask_array(loaded, columns=columns)
        frame = frame[frame["a"] > 1]
        return frame[columns], frame["b"].abs()
    rows = loaded[loaded[:, 0] > 1]
    given = abs(X[X[:, 0] > 1, 1])
    weights = {
        None: None,
        "derived": abs(rows[:, 1]),
        "NumPy": given,
        "other chunks": da.from_array(given, chunks=1700),
    }
    return rows, weights[weighted]


ways_of_weights = pytest.mark.parametrize(
    "weighted", [None, "derived", "NumPy", "other chunks", "frame"]
)


@ways_of_weights
def test_score_computes_data_once(weighted: str | None, X: np.ndarray, tmp_path: Path) -> None:
    kept = X[X[:, 0] > 1]
    weight = None if weighted is None else abs(kept[:, 1])
    if weighted == "frame":
        kept = pd.DataFrame(kept, columns=["a", "b", "c"])
    model = GaussianMixture(K, **EXACT).fit(kept)
    for number, method in enumerate((model.score, model.bic, model.aic)):
        log = tmp_path / str(number)
        rows, weights = filtered(X, log, weighted)
        with dask.config.set(scheduler="synchronous"):
            got = method(rows, sample_weight=weights)
        assert got == pytest.approx(method(kept, sample_weight=weight), rel=1e-12)
        assert len(log.read_text()) == 6


@ways_of_weights
def test_fit_computes_data_once(
    weighted: str | None, X: np.ndarray, client: Client, tmp_path: Path
) -> None:
    rows, weights = filtered(X, tmp_path / "log", weighted)
    model = GaussianMixture(K, **EXACT).fit(rows, sample_weight=weights)
    assert len((tmp_path / "log").read_text()) == 6
    kept = X[X[:, 0] > 1]
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(
        kept, sample_weight=None if weighted is None else abs(kept[:, 1])
    )
    np.testing.assert_allclose(model.means_, expected.means_, rtol=1e-10)


# ---- workers that die, Ctrl-C --------------------------------------------------------------------


def at_iteration(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None], delay: float = 0.03
) -> list[int]:
    """Call `act` when `delay` seconds of iteration `number` have passed.

    The list that is returned has one entry: the number of iterations that have begun.
    """
    original, begun = DaskPass.expectation, [0]

    def expectation(self: DaskPass, *arguments: Any) -> Any:
        begun[0] += 1
        if begun[0] == number:
            threading.Timer(delay, act).start() if delay else act()
        return original(self, *arguments)

    monkeypatch.setattr(DaskPass, "expectation", expectation)
    return begun


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("delay", [0, 0.01, 0.03])  # before the tasks of the iteration, and during them
def test_survives_sigkill(
    delay: float, X: np.ndarray, weight: np.ndarray, doomed_client: Client, monkeypatch: Any
) -> None:
    params = EXACT | {"max_iter": 15}
    rows = da.from_array(np.tile(X, (4, 1)), chunks=(4000, D))
    w = np.tile(weight, 4)
    expected = GaussianMixture(16, **params).fit(rows, sample_weight=w)
    assert expected.n_iter_ == 15
    pid = next(iter(doomed_client.run(os.getpid).values()))
    begun = at_iteration(monkeypatch, 5, lambda: os.kill(pid, signal.SIGKILL), delay)
    model = GaussianMixture(16, **params).fit(rows, sample_weight=w)
    assert begun == [15]
    assert not is_alive(pid)
    assert bits(model) == bits(expected)


def separated() -> np.ndarray:
    """Return samples of twelve clusters, of which passes skip most pairs."""
    rng = np.random.RandomState(0)
    centres = 8 * rng.randn(12, 5)
    return centres[rng.randint(0, 12, 24_000)] + rng.randn(24_000, 5)


@pytest.mark.parametrize("number", [3, 5, 9])
def test_skipping_survives_sigkill(number: int, doomed_client: Client, monkeypatch: Any) -> None:
    """A worker without the history of a chunk computes the same bits."""
    rows = da.from_array(separated(), chunks=(6000, 5))
    params = EXACT | {"max_iter": 12, "init_params": "random_from_data"}
    expected = GaussianMixture(12, **params).fit(rows)
    dense = GaussianMixture(12, **params, skip=False).fit(rows)
    assert bits(expected) != bits(dense)
    for one, other in zip(arrays(expected), arrays(dense), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    pid = next(iter(doomed_client.run(os.getpid).values()))
    at_iteration(monkeypatch, number, lambda: os.kill(pid, signal.SIGKILL), 0.01)
    assert bits(GaussianMixture(12, **params).fit(rows)) == bits(expected)
    assert not is_alive(pid)


def test_skipping_keeps_bits_without_history(client: Client, monkeypatch: Any) -> None:
    rows = da.from_array(separated(), chunks=(6000, 5))
    params = EXACT | {"max_iter": 12, "init_params": "random_from_data"}
    expected = GaussianMixture(12, **params).fit(rows)
    original = DaskPass.expectation

    def forget(dask_worker: Any = None) -> None:
        from gmm_core.data.dask_pass import _histories

        _histories.clear()

    def expectation(self: DaskPass, *arguments: Any) -> Any:
        client.run(forget)
        return original(self, *arguments)

    monkeypatch.setattr(DaskPass, "expectation", expectation)
    assert bits(GaussianMixture(12, **params).fit(rows)) == bits(expected)


def test_data_that_cannot_be_computed_again(doomed_client: Client, monkeypatch: Any) -> None:
    """Scattered arrays are lost with their worker. The fit fails, and leaves the model unchanged."""
    monkeypatch.setattr(dask_pass, "_ATTEMPTS", 3)
    blocks = np.random.default_rng(0).normal(size=(8, 20_000, 2))
    parts = doomed_client.scatter(list(blocks), hash=False)
    rows = da.concatenate([da.from_delayed(p, (20_000, 2), np.float64) for p in parts])
    model = GaussianMixture(8, **EXACT).fit(rows)
    before = bits(model)
    pid = next(iter(doomed_client.run(os.getpid).values()))
    at_iteration(monkeypatch, 3, lambda: os.kill(pid, signal.SIGKILL))
    with pytest.raises(
        RuntimeError, match="3 attempts to run a pass .* failed, as workers were lost"
    ):
        model.fit(rows)
    assert bits(model) == before


def test_ctrl_c_ends_the_tasks(X: np.ndarray, client: Client, monkeypatch: Any) -> None:
    rows = client.persist(da.from_array(np.tile(X, (20, 1)), chunks=(6000, D)))
    model = GaussianMixture(64, **EXACT).fit(rows[:6000])
    before = bits(model)
    at_iteration(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        model.fit(rows)
    assert bits(model) == before
    end = time.monotonic() + 10
    while any(client.processing().values()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(client.processing().values())
    monkeypatch.undo()
    assert np.isfinite(model.set_params(n_components=2).fit(rows).lower_bound_)


def test_resumes_from_a_checkpoint(
    X: np.ndarray, weight: np.ndarray, client: Client, monkeypatch: Any, tmp_path: Path
) -> None:
    params = EXACT | {"checkpoint": tmp_path / "state", "checkpoint_interval": 1}
    rows = da.from_array(X, chunks=(2500, D))
    expected = GaussianMixture(K, **EXACT).fit(rows, sample_weight=weight)
    at_iteration(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT), delay=0)
    with pytest.raises(KeyboardInterrupt):
        GaussianMixture(K, **params | {"max_iter": 500}).fit(rows, sample_weight=weight)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="checksum of the data"):
        GaussianMixture(K, **params).fit(rows, sample_weight=weight[::-1])
    begun = at_iteration(monkeypatch, 500, lambda: None)
    model = GaussianMixture(K, **params).fit(rows, sample_weight=weight)
    assert begun[0] == EXACT["max_iter"] - 4
    assert bits(model) == bits(expected)


@pytest.mark.parametrize("delay", [0, 0.03])  # between two passes, and during one
@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("close", "the client was closed during the fit"),
        ("restart", "the client was restarted during the fit, so the data on the workers are gone"),
    ],
)
def test_client_closed_or_restarted(
    action: str, message: str, delay: float, X: np.ndarray, cluster: Any, monkeypatch: Any
) -> None:
    rows = da.from_array(np.tile(X, (10, 1)), chunks=(6000, D))
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=30)
        model = GaussianMixture(64, **EXACT).fit(rows[:6000])
        before, ended = bits(model), threading.Event()

        def act() -> None:
            getattr(client, action)()
            ended.set()

        at_iteration(monkeypatch, 3, act, delay)
        with pytest.raises(RuntimeError, match=message):
            model.fit(rows)
        assert bits(model) == before
        assert ended.wait(30)
    if action == "restart":
        monkeypatch.undo()
        with Client(cluster):  # the cluster still works
            assert np.isfinite(model.set_params(n_components=2).fit(rows).lower_bound_)


def test_no_workers(X: np.ndarray, start_cluster: Any, monkeypatch: Any) -> None:
    """The fit gives a warning, waits, and continues when there is a worker."""
    monkeypatch.setattr(dask_pass, "_PATIENCE", 1)
    rows = da.from_array(X, chunks=(5000, D))
    with start_cluster(0) as other, Client(other):
        threading.Timer(3, other.scale, [1]).start()
        with pytest.warns(UserWarning, match="the cluster has no workers: the fit waits") as warned:
            model = GaussianMixture(K, **EXACT).fit(rows)
    assert sum("no workers" in str(w.message) for w in warned) == 1
    assert warned[0].filename == __file__
    assert np.isfinite(model.lower_bound_)


def test_adaptive_cluster(X: np.ndarray, start_cluster: Any) -> None:
    """An adaptive cluster has no workers until there are tasks."""
    with start_cluster(0) as other, Client(other):
        other.adapt(minimum=0, maximum=1, interval="100ms")
        model = GaussianMixture(K, **EXACT).fit(da.from_array(X, chunks=(5000, D)))
    assert np.isfinite(model.lower_bound_)


def test_ctrl_c_without_workers(X: np.ndarray, start_cluster: Any) -> None:
    with start_cluster(0) as other, Client(other):
        threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            GaussianMixture(K).fit(da.from_array(X, chunks=(5000, D)))


def test_all_workers_leave(X: np.ndarray, start_cluster: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(dask_pass, "_PATIENCE", 1)
    rows = da.from_array(X, chunks=(600, D))
    with start_cluster(1) as other, Client(other) as client:
        expected = GaussianMixture(K, **EXACT).fit(rows)

        def leave() -> None:
            other.scale(0)
            while client.nthreads():
                time.sleep(0.05)
            threading.Timer(4, other.scale, [1]).start()

        at_iteration(monkeypatch, 3, leave)
        with pytest.warns(UserWarning, match="the cluster has no workers: the fit waits"):
            model = GaussianMixture(K, **EXACT).fit(rows)
    assert bits(model) == bits(expected)


def test_no_client(X: np.ndarray) -> None:
    rows = da.from_array(X, chunks=(5000, D))
    with pytest.raises(
        RuntimeError, match=r"none is running: start one with distributed\.Client\(\)"
    ):
        GaussianMixture(K).fit(rows)


def test_client_that_cannot_be_used(X: np.ndarray, cluster: Any, monkeypatch: Any) -> None:
    rows = da.from_array(X, chunks=(5000, D))
    with Client(cluster) as client:
        monkeypatch.setattr(client, "status", "connecting")
        with pytest.raises(RuntimeError, match="the status of the current one is 'connecting'"):
            GaussianMixture(K).fit(rows)
        monkeypatch.undo()

    async def fit() -> None:
        async with Client(cluster.scheduler_address, asynchronous=True):
            GaussianMixture(K).fit(rows)

    with pytest.raises(RuntimeError, match="cannot use an asynchronous client"):
        asyncio.run(fit())


def test_data_of_another_client(X: np.ndarray, client: Client, start_cluster: Any) -> None:
    rows = client.persist(da.from_array(X, chunks=(5000, D)))
    with start_cluster(1) as other, Client(other):
        with pytest.raises(ValueError, match="X has chunks on the cluster of tcp.*, but the current"):
            GaussianMixture(K).fit(rows)
        with pytest.raises(ValueError, match="sample_weight has chunks on the cluster of tcp"):
            GaussianMixture(K).fit(da.from_array(X, chunks=(5000, D)), sample_weight=rows[:, 0])
        with client.as_current():
            expected = GaussianMixture(K, **EXACT).fit(rows)
    with Client(client.scheduler.address) as second:  # two clients of one cluster share data
        assert bits(GaussianMixture(K, **EXACT).fit(rows)) == bits(expected)
        lost = second.persist(da.from_array(X, chunks=(4000, D)))
    with pytest.raises(ValueError, match="X has chunks that were cancelled, as the client"):
        GaussianMixture(K).fit(lost)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("None", "worker tcp://[0-9.:]+ cannot import gmm_core"),
        ("types.SimpleNamespace(__version__='0.0')", "worker tcp://[0-9.:]+ has gmm_core 0.0, but"),
    ],
)
def test_worker_of_another_environment(
    module: str, message: str, X: np.ndarray, tmp_path: Path, start_cluster: Any
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys, types\nsys.modules['gmm_core'] = {module}\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with start_cluster(0) as other, Client(other) as client:
        command = [
            sys.executable,
            "-P",
            "-m",
            "distributed.cli.dask_worker",
            other.scheduler_address,
        ]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        environment = os.environ | {"PYTHONPATH": path}
        with subprocess.Popen(
            command + options, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL
        ) as worker:
            try:
                client.wait_for_workers(1, timeout=30)
                with pytest.raises(RuntimeError, match=message):
                    GaussianMixture(K).fit(da.from_array(X, chunks=(5000, D)))
            finally:
                worker.terminate()
