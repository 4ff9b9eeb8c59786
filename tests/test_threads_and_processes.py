"""How many threads a call uses, and the same bits on any number; test_processes.py has the rest."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from gmm_core import GaussianMixture, _build_config, _threads, passes
from gmm_core._threads import effective_n_threads

TYPES = ["full", "tied", "diag", "spherical"]
OPENMP = _build_config.OPENMP
needs_openmp = pytest.mark.skipif(
    not OPENMP, reason="built without OpenMP: everything has one thread"
)
Make = Callable[..., Any]  # the fixtures


def attributes(model: GaussianMixture) -> dict[str, Any]:
    return {name: value for name, value in vars(model).items() if name.endswith("_")}


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


# ---- how many threads ----------------------------------------------------------------------------


@needs_openmp
@pytest.mark.parametrize(
    ("n_threads", "environment", "expected"),
    [
        (None, "", 6),
        (None, "3", 3),
        (None, "3,2", 3),
        (None, "100", 6),
        (None, "many", 6),
        (None, "0", 6),
        (1, "", 1),
        (5, "3", 5),
        (24, "", 24),
        (40, "", 24),       # four for each CPU at most
        (2**40, "3", 24),
        (-1, "", 6),
        (-1, "3", 6),
        (-2, "", 5),
        (-6, "", 1),
        (-100, "", 1),
    ],
)
def test_rule(
    n_threads: int | None, environment: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None: OMP_NUM_THREADS and the CPUs allowed are bounds; negatives count back from these."""
    monkeypatch.setattr(_threads, "available", lambda: 6)
    monkeypatch.setattr(_threads, "max_threads", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert effective_n_threads(n_threads) == expected


@needs_openmp
def test_limit_of_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "available", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with threadpoolctl.threadpool_limits(3, user_api="openmp"):
        assert effective_n_threads() == 3
        assert (effective_n_threads(4), effective_n_threads(-1)) == (4, 6)  # explicit
        with threadpoolctl.threadpool_limits(1):
            assert effective_n_threads() == 1
        assert effective_n_threads() == 3


@needs_openmp
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this platform has no CPU affinity"
)
def test_affinity_and_environment(run_python: Make) -> None:
    n, bound = run_python(
        """
before = effective_n_threads(), effective_n_threads(-1)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
show([before, [effective_n_threads(), effective_n_threads(-1), gmm_core.build_info()["n_threads"]]])
""",
        OMP_NUM_THREADS="1",
    )
    assert n[0] == 1 and n[1] == effective_n_threads(-1)
    assert bound == [1, 1, 1]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_quota(
    files: dict[str, str], expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(_threads, "Path", lambda path: tmp_path)
    assert _threads._quota.__wrapped__() == expected


def test_zero_threads_are_refused() -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="n_threads"):
        GaussianMixture(n_threads=0).fit(X)
    with pytest.raises(ValueError, match="n_threads"):
        GaussianMixture(n_threads=1.5).fit(X)  # type: ignore[arg-type]


# ---- same bits -----------------------------------------------------------------------------------


@pytest.fixture
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one tile, and several calls of a kernel for a pass."""
    monkeypatch.setattr(passes, "_CHUNK_TIME", 0.0)
    monkeypatch.setattr(passes, "_SLICE_TIME", 1e6)


@pytest.mark.usefixtures("_many_chunks")
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_fit_has_the_same_bits_on_any_number_of_threads(
    covariance_type: str, dtype: Any, init_params: str
) -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(9000, 6)) + 2 * rng.integers(3, size=(9000, 1))).astype(dtype)
    weight = rng.uniform(0.5, 2, size=9000)
    fitted = []
    for n_threads in (1, 2, 3):
        model = GaussianMixture(
            4,
            covariance_type=covariance_type,
            init_params=init_params,
            max_iter=6,
            tol=0,
            random_state=0,
            n_threads=n_threads,
        )
        labels = model.fit_predict(X, sample_weight=weight)
        scores = {"scores_": model.score_samples(X), "proba_": model.predict_proba(X)}
        fitted.append(attributes(model) | scores | {"labels_": labels})
    assert_same(fitted[0], fitted[1])
    assert_same(fitted[0], fitted[2])


@pytest.mark.usefixtures("_many_chunks")
def test_python_threads_share_a_model() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(9000, 5)) + 3 * rng.integers(3, size=(9000, 1))

    def fit(i: int) -> dict[str, Any]:
        return attributes(GaussianMixture(3, random_state=0, n_threads=1 + i % 3).fit(X))

    def use(i: int) -> np.ndarray:
        return (model.predict_proba, model.score_samples, model.predict)[i % 3](X)

    model = GaussianMixture(3, random_state=0, n_threads=2).fit(X)
    expected = [use(i) for i in range(3)]
    with ThreadPoolExecutor(8) as pool:
        for i, got in enumerate(pool.map(use, range(30))):
            assert np.array_equal(got, expected[i % 3])
        for fitted in pool.map(fit, range(12)):
            assert_same(fitted, attributes(model))


def test_slices_do_not_grow_with_threads_that_have_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a slice Python sees Ctrl-C: half a second of two CPUs at most."""
    X = np.zeros((10_000_000, 1), np.float32)
    monkeypatch.setattr(passes, "available", lambda: 2)
    data = passes.ArrayPass(X, None, 64, "full", 400)
    assert data.n_threads == 400
    assert data.slice_rows * passes._cost(64, 1) < 1e9
