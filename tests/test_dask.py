"""Fits on a Dask cluster of two worker processes, some of which are killed.

Every test has a minute, and is then ended by an alarm: whatever waits for a worker may wait for ever.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import gmm_core
from gmm_core import _dask_pass, subsample
from gmm_core import _fitting as fitting
from gmm_core._dask_pass import DaskChunks, DaskPass
from gmm_core.dask import GaussianMixture

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no alarm, and no SIGKILL"),
    pytest.mark.filterwarnings("ignore:Best performing"),
    # distributed leaves one open where it looks for its own address
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
all_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it

N, D, K = 12_000, 3, 3
EXACT = {"random_state": 0, "tol": 0.0, "max_iter": 8}


def start_cluster(n_workers: int) -> LocalCluster:
    return LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")


@pytest.fixture(scope="module", autouse=True)
def short_timeouts() -> Iterator[None]:
    """A dead worker is called for 30 seconds by default."""
    with dask.config.set({"distributed.comm.timeouts.connect": "10s"}):
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with start_cluster(2) as made:
        yield made


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as made:
        made.wait_for_workers(2, timeout=30)
        yield made


@pytest.fixture
def doomed_client() -> Iterator[Client]:
    """Of a cluster that loses a worker, which does not always come back."""
    with start_cluster(2) as owner, Client(owner) as made:
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


def arrays(model: Any) -> list[np.ndarray]:
    return [model.weights_, model.means_, model.covariances_, model.precisions_cholesky_]


def bits(model: Any) -> list[bytes]:
    return [a.tobytes() for a in arrays(model)] + [np.array(model.lower_bounds_).tobytes()]


def assert_close(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    assert got.n_iter_ == expected.n_iter_
    for a, b in zip(arrays(got), arrays(expected), strict=True):
        assert a.dtype == b.dtype
        assert abs(a - b).max() <= tolerance * abs(b).max()


# ---- the same as fit -----------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("weights", [None, "NumPy", "dask"])
def test_same_as_fit(
    covariance_type: str, weights: str | None, X: np.ndarray, weight: np.ndarray, client: Client
) -> None:
    expected = gmm_core.GaussianMixture(K, covariance_type=covariance_type, **EXACT)
    expected.fit(X, sample_weight=None if weights is None else weight)
    given = {None: None, "NumPy": weight, "dask": da.from_array(weight, chunks=1700)}[weights]
    model = GaussianMixture(K, covariance_type=covariance_type, **EXACT)
    assert model.fit(da.from_array(X, chunks=(2500, D)), sample_weight=given) is model
    assert_close(model, expected)
    assert model.lower_bound_ == pytest.approx(expected.lower_bound_, rel=1e-12)
    assert model.n_features_in_ == D and not hasattr(model, "feature_names_in_")


@all_types
def test_float32_stays_float32(covariance_type: str, X: np.ndarray, client: Client) -> None:
    """The chunks' sums differ in their order: by a few roundings of the float32 in a tile."""
    small = X.astype(np.float32)
    model = GaussianMixture(K, covariance_type=covariance_type, **EXACT)
    model.fit(da.from_array(small, chunks=(2500, D)))
    expected = gmm_core.GaussianMixture(K, covariance_type=covariance_type, **EXACT).fit(small)
    assert_close(model, expected, 100 * np.finfo(np.float32).eps)


def test_other_numbers_become_float64(client: Client) -> None:
    whole = np.random.default_rng(0).integers(0, 50, size=(900, 2)).astype(np.int16)
    model = GaussianMixture(2, **EXACT).fit(da.from_array(whole, chunks=(200, 2)))
    assert_close(model, gmm_core.GaussianMixture(2, **EXACT).fit(whole))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [2, 7, 500])
def test_subsample_is_that_of_fit(
    weighted: bool,
    size: int,
    X: np.ndarray,
    weight: np.ndarray,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows that a start is found from, bit for bit; 1e-300 is lost beside other weights."""
    w = weight * np.where(np.arange(N) % 5 == 0, 1e-300, 1) * 1e10 if weighted else None
    drawn: list[np.ndarray] = []
    for owner in (fitting.ArrayPass, DaskPass):
        original = owner.sample

        def sample(self: Any, *arguments: Any, original: Any = original) -> Any:
            drawn.append(original(self, *arguments)[0].X)
            return original(self, *arguments)

        monkeypatch.setattr(owner, "sample", sample)
    params = {"init_size": size, "random_state": 3, "max_iter": 0}
    chunks = ((1, 0, 5000, 4999, 2000), D)
    gmm_core.GaussianMixture(1, **params).fit(X, sample_weight=w)
    GaussianMixture(1, **params).fit(da.from_array(X, chunks=chunks), sample_weight=w)
    assert drawn[0].shape == (size, D)
    assert drawn[0].tobytes() == drawn[1].tobytes()


def test_cursor_goes_on_where_another_stopped(weight: np.ndarray) -> None:
    positions = subsample.draw_positions(1000, np.random.RandomState(0))
    for w in (weight, np.empty(0)):
        extent = subsample.NOTHING.and_rows(N, w)
        scaled = np.ldexp(w, -extent.exponent)
        whole = subsample.Cursor(positions, extent).advance(N, scaled)
        parts, before = [], subsample.NOTHING
        for start, stop in ((0, 1), (1, 70), (70, 70), (70, 9000), (9000, N)):
            cursor = subsample.Cursor(positions, extent, before)
            parts.append(start + cursor.advance(stop - start, scaled[start:stop]))
            before = before.and_rows(stop - start, w[start:stop]) if stop > start else before
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n_init", [1, 2])
@pytest.mark.parametrize("init_params", ["random", "k-means++", "random_from_data"])
def test_other_starts(init_params: str, n_init: int, X: np.ndarray, client: Client) -> None:
    params = {"init_params": init_params, "n_init": n_init, "init_size": 2000, **EXACT}
    expected = gmm_core.GaussianMixture(K, **params).fit(X)
    model = GaussianMixture(K, **params).fit(da.from_array(X, chunks=(5000, D)))
    # a start far from the end: iterations amplify roundings
    assert_close(model, expected, 1e-10)
    assert len(model.restarts_) == n_init


# ---- chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param((N, D), id="one"),
        pytest.param(((1, 2, 6997, 0, 4000, 1000), D), id="uneven"),
        pytest.param(((0, 0, 6000, 0, 6000, 0), D), id="empty"),
    ],
)
def test_chunks(chunks: Any, X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(X, sample_weight=weight)
    rows = da.from_array(X, chunks=chunks)
    assert_close(GaussianMixture(K, **EXACT).fit(rows, sample_weight=weight), expected)
    np.testing.assert_array_equal(
        expected.predict(X), GaussianMixture.predict(as_dask(expected), rows).compute()
    )
    model = as_dask(expected)
    assert model.score(rows) == pytest.approx(expected.score(X), rel=1e-12)
    assert model.score(rows, sample_weight=weight) == pytest.approx(
        expected.score(X, sample_weight=weight), rel=1e-12
    )


def as_dask(model: gmm_core.GaussianMixture) -> GaussianMixture:
    return GaussianMixture.from_parameters(
        model.weights_, model.means_, covariances=model.covariances_,
        covariance_type=model.covariance_type,
    )  # fmt: skip


def test_more_chunks_than_rows(client: Client) -> None:
    X = np.random.default_rng(0).normal(size=(12, 2))
    chunks = (tuple(int(i % 2 == 0) for i in range(24)), 2)
    model = GaussianMixture(2, **EXACT).fit(da.from_array(X, chunks=chunks))
    assert_close(model, gmm_core.GaussianMixture(2, **EXACT).fit(X))


def test_chunks_of_unknown_length(X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    """A filter leaves chunks of lengths that nobody knows; the user's array stays as it is."""
    keep = X[:, 0] > 1
    all_rows, all_weights = da.from_array(X, chunks=(2500, D)), da.from_array(weight, chunks=1700)
    rows, weights = all_rows[all_rows[:, 0] > 1], all_weights[da.from_array(keep, chunks=1700)]
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(X[keep], sample_weight=weight[keep])
    model = GaussianMixture(K, **EXACT).fit(rows, sample_weight=weights)
    assert_close(model, expected)
    assert np.isnan(rows.shape[0]) and np.isnan(weights.shape[0])
    assert model.score(rows, sample_weight=weights) == pytest.approx(
        expected.score(X[keep], sample_weight=weight[keep]), rel=1e-12
    )
    np.testing.assert_array_equal(model.predict(rows).compute(), model.predict(X[keep]))


def test_chunks_along_features(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(X, chunks=(5000, 2))
    with pytest.warns(UserWarning, match="chunked along the features, in 2 parts"):
        model = GaussianMixture(K, **EXACT).fit(rows)
    assert_close(model, gmm_core.GaussianMixture(K, **EXACT).fit(X))
    with pytest.warns(UserWarning, match="chunked along the features"):
        labels = model.predict(rows)
    np.testing.assert_array_equal(labels.compute(), model.predict(X))


def test_views_of_other_order(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(np.asfortranarray(X), chunks=(5000, D))[::2, ::-1]
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(X[::2, ::-1])
    assert_close(GaussianMixture(K, **EXACT).fit(rows), expected)


def test_persisted_data_stay_where_they_are(X: np.ndarray, client: Client) -> None:
    rows = client.persist(da.from_array(X, chunks=(5000, D)))
    before = set(client.futures)
    model = GaussianMixture(K, **EXACT).fit(rows)
    end = time.monotonic() + 10  # the client's own thread drops them
    while set(client.futures) != before and time.monotonic() < end:
        time.sleep(0.02)
    assert set(client.futures) == before  # neither copies are kept nor the user's are dropped
    assert model.predict(rows).compute().shape == (N,)


# ---- data frames ---------------------------------------------------------------------------------


def test_data_frames(X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(w=weight)
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(
        frame[["a", "b", "c"]], sample_weight=weight
    )
    table = dd.from_pandas(frame, npartitions=5)
    rows = table[["a", "b", "c"]]
    model = GaussianMixture(K, **EXACT).fit(rows, sample_weight=table["w"])
    assert_close(model, expected)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(
        model.predict(rows).compute(), expected.predict(frame[["a", "b", "c"]])
    )
    assert model.score(rows, sample_weight=table["w"]) == pytest.approx(
        expected.score(frame[["a", "b", "c"]], sample_weight=weight), rel=1e-12
    )
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[["a", "c", "b"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(rows.to_dask_array(lengths=True))


def test_data_frame_of_float32_and_of_mixed_columns(X: np.ndarray, client: Client) -> None:
    frame = pd.DataFrame(X.astype(np.float32), columns=list("abc"))
    model = GaussianMixture(K, **EXACT).fit(dd.from_pandas(frame, npartitions=3))
    assert model.means_.dtype == np.float32
    frame["a"] = (10 * frame["a"]).astype(int)
    model.fit(dd.from_pandas(frame, npartitions=3))
    assert_close(model, gmm_core.GaussianMixture(K, **EXACT).fit(frame))


# ---- lazy results --------------------------------------------------------------------------------


def test_results_are_lazy_and_need_no_client(X: np.ndarray) -> None:
    asked: list[int] = []

    def load(block: np.ndarray) -> np.ndarray:
        asked.append(len(block))
        return block

    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    rows = da.from_array(X, chunks=(5000, D)).map_blocks(load, dtype=X.dtype, meta=X[:0])
    lazy = [model.predict(rows), model.predict_proba(rows), model.score_samples(rows)]
    assert not asked
    assert [type(a) for a in lazy] == [da.Array] * 3
    assert [a.shape for a in lazy] == [(N,), (N, K), (N,)]
    assert [a.chunks[0] for a in lazy] == [rows.chunks[0]] * 3
    expected = [model.predict(X), model.predict_proba(X), model.score_samples(X)]
    for a, b in zip(dask.compute(*lazy, scheduler="synchronous"), expected, strict=True):
        assert isinstance(b, np.ndarray) and a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert [a.dtype for a in lazy] == [b.dtype for b in expected]
    with dask.config.set(scheduler="synchronous"):
        assert model.score(rows) == pytest.approx(model.score(X), rel=1e-12)
        assert model.bic(rows) == pytest.approx(model.bic(X), rel=1e-12)
        assert model.aic(rows) == pytest.approx(model.aic(X), rel=1e-12)


@pytest.mark.parametrize("model_type", [np.float32, np.float64])
@pytest.mark.parametrize("data_type", [np.float32, np.float64, np.int32])
def test_dtypes_of_results(model_type: Any, data_type: Any, X: np.ndarray) -> None:
    fitted = gmm_core.GaussianMixture(K, **EXACT).fit(X.astype(model_type))
    model = as_dask(fitted)
    data = X.astype(data_type)
    rows = da.from_array(data, chunks=(5000, D))
    for method in ("predict", "predict_proba", "score_samples"):
        lazy = getattr(model, method)(rows)
        expected = getattr(model, method)(data)
        computed = lazy.compute(scheduler="synchronous")
        assert lazy.dtype == computed.dtype == expected.dtype
        np.testing.assert_array_equal(computed, expected)


def test_fit_predict(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(X, chunks=(5000, D))
    labels = GaussianMixture(K, **EXACT).fit_predict(rows)
    assert isinstance(labels, da.Array)
    np.testing.assert_array_equal(
        labels.compute(), gmm_core.GaussianMixture(K, **EXACT).fit_predict(X)
    )


def test_sample_far_from_all_components(X: np.ndarray) -> None:
    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    far = np.concatenate([X[:10], np.full((1, D), 1e200)])
    rows = da.from_array(far, chunks=(4, D))
    with dask.config.set(scheduler="synchronous"):
        assert model.score(rows) == -np.inf
        w = np.ones(11)
        w[-1] = 0
        assert model.score(rows, sample_weight=w) == pytest.approx(model.score(X[:10]), rel=1e-12)


def test_numpy_needs_no_cluster(X: np.ndarray) -> None:
    assert bits(GaussianMixture(K, **EXACT).fit(X)) == bits(
        gmm_core.GaussianMixture(K, **EXACT).fit(X)
    )


# ---- bits, threads, traffic ----------------------------------------------------------------------


def test_same_bits_in_every_run_and_for_one_worker(
    X: np.ndarray, weight: np.ndarray, client: Client
) -> None:
    """Twenty chunks: a tree of three levels."""
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
    """Data of several chunks of the kernels. OpenMP keeps its threads: those that a fit had started would still be there."""
    rows = client.persist(da.from_array(np.tile(X, (8, 1)), chunks=(N * 4, D)))
    client.gather(client.map(lambda i: time.sleep(0.2), range(4), pure=False))  # executors begin
    before = client.run(count_threads)
    GaussianMixture(32, n_threads=3, **EXACT).fit(rows)
    assert client.run(count_threads) == before

    def fit_with_threads(block: np.ndarray) -> int:
        """Such threads would be seen."""
        gmm_core.GaussianMixture(32, n_threads=3, **EXACT).fit(block)
        return count_threads()

    after = client.submit(fit_with_threads, X, pure=False).result()
    assert after >= 2 + min(before.values())


@pytest.mark.parametrize("weighted", [False, True])
def test_no_warning_of_large_graphs(weighted: bool, client: Client) -> None:
    """Parameters of 33 MB, weights of 16 MB: neither is part of a graph."""
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
    told = [str(w.message) for w in caught if "did not converge" not in str(w.message)]
    assert not told
    assert weighted or model.precisions_cholesky_.nbytes > 33_000_000


# ---- workers that die, Ctrl-C --------------------------------------------------------------------


def at_iteration(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None], delay: float = 0.03
) -> list[int]:
    """Act after the beginning of an iteration, in seconds; the list counts the iterations."""
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


@pytest.mark.parametrize("delay", [0, 0.01, 0.03])      # before the iteration's tasks, and during them
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


def test_data_that_nobody_can_make_again(doomed_client: Client, monkeypatch: Any) -> None:
    """Scattered arrays die with their worker; the model stays as it was."""
    monkeypatch.setattr(_dask_pass, "_ATTEMPTS", 3)
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


def test_goes_on_from_a_checkpoint(
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


# ---- errors --------------------------------------------------------------------------------------


def test_no_client(X: np.ndarray) -> None:
    rows = da.from_array(X, chunks=(5000, D))
    with pytest.raises(RuntimeError, match=r"start one with distributed\.Client\(\)"):
        GaussianMixture(K).fit(rows)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("None", "worker tcp://[0-9.:]+ cannot import gmm_core"),
        ("types.SimpleNamespace(__version__='0.0')", "worker tcp://[0-9.:]+ has gmm_core 0.0, but"),
    ],
)
def test_worker_of_another_environment(
    module: str, message: str, X: np.ndarray, tmp_path: Path
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


def bad_inputs() -> Iterator[Any]:
    good = np.random.default_rng(0).normal(size=(100, 2))
    spoilt = good.copy()
    spoilt[77, 1] = np.nan
    negative = np.ones(100)
    negative[60] = -1
    rows = da.from_array(good, chunks=(30, 2))
    yield pytest.param(
        da.from_array(spoilt, chunks=(30, 2)),
        None,
        "chunk 2 of X: (.|\\n)*NaN(.|\\n)*X\\[17, 1\\]",
        id="NaN",
    )
    text = da.from_array(np.array([["1", "x"]] * 9, dtype=object), chunks=(3, 2))
    yield pytest.param(text, None, "chunk . of X: .*could not convert", id="text")
    yield pytest.param(rows[:, 0], None, "Expected 2D array", id="1D")
    yield pytest.param(rows[:1], None, "1 rows, at least 2", id="one row")
    yield pytest.param(rows[:0], None, "0 rows, at least 2", id="no row")
    yield pytest.param(rows[:2], None, "n_samples", id="fewer rows than components")
    yield pytest.param(
        rows, np.ones(99), r"sample_weight.shape == \(99,\), expected \(100,\)", id="99 weights"
    )
    yield pytest.param(
        rows,
        da.ones(99, chunks=30),
        r"sample_weight.shape == \(99,\), expected \(100,\)",
        id="99 weights of dask",
    )
    yield pytest.param(rows, negative, "Negative values", id="negative weight")
    yield pytest.param(
        rows,
        da.from_array(negative, chunks=9),
        "chunk 2 of X: Negative values",
        id="negative weight of dask",
    )
    yield pytest.param(rows, da.zeros(100, chunks=30), "n_samples", id="no weight")
    wrong = rows.map_blocks(lambda block: block[:, :1], dtype=np.float64, meta=good[:0])
    yield pytest.param(
        wrong,
        None,
        "chunk . of X: X has 1 features, .* 2 features",
        id="another width than declared",
    )


@pytest.mark.parametrize(("rows", "weights", "message"), list(bad_inputs()))
def test_bad_input(rows: Any, weights: Any, message: str, client: Client) -> None:
    model = GaussianMixture(3, **EXACT).fit(np.random.default_rng(0).normal(size=(50, 4)))
    before = bits(model)
    with pytest.raises(ValueError, match=message):
        model.fit(rows, sample_weight=weights)
    assert bits(model) == before and model.n_features_in_ == 4


def test_bad_collections_and_models(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(X, chunks=(5000, D))
    with pytest.raises(TypeError, match="expected a dask array or dask data frame"):
        GaussianMixture(K).fit(dask.delayed(X))
    with pytest.raises(ValueError, match="n_components"):
        GaussianMixture(0).fit(rows)
    with pytest.raises(Exception, match="not fitted yet"):
        GaussianMixture(K).predict(rows)
    model = GaussianMixture(K, **EXACT).fit(rows)
    for method in (model.predict, model.predict_proba, model.score_samples, model.score):
        with pytest.raises(ValueError, match="X has 2 features, .* expecting 3 features"):
            method(rows[:, :2])
    with pytest.raises(ValueError, match="sample_weight.shape"):
        model.score(rows, sample_weight=np.ones(3))


def test_failing_numerics_name_the_row(X: np.ndarray, client: Client) -> None:
    """A row without density is named by its number in X, not in its chunk."""
    far = X.copy()
    far[9000] = 1e200
    means = X[:K].copy()
    model = GaussianMixture(
        K,
        weights_init=np.full(K, 1 / K),
        means_init=means,
        precisions_init=np.array([np.eye(D)] * K),
    )
    with pytest.raises(ValueError, match=r"X\[9000\] has probability 0"):
        model.fit(da.from_array(far, chunks=(2500, D)))
    assert not hasattr(model, "means_")


def test_rows_and_checksum_of_chunks(X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    """All rows brought here are those of X, and their checksum is that of one array."""
    rows = da.from_array(X, chunks=(2500, D))
    for w in (None, weight):
        chunks = DaskChunks(client, rows, w, X.dtype)
        made, made_weight = chunks.rows(10, None)
        assert made.tobytes() == X.tobytes()
        scaled = None if w is None else np.ldexp(w, -chunks.extent.exponent)
        assert (made_weight is None) == (w is None)
        if w is not None:
            np.testing.assert_array_equal(made_weight, scaled)
        assert chunks.checksum() == fitting.ArrayPass(X, scaled, 1, "full", 1).checksum()


def test_import_of_the_package_imports_no_dask(run_python: Any) -> None:
    code = "show([name for name in sys.modules if name.split('.')[0] in ('dask', 'distributed')])"
    assert run_python(code) == []
