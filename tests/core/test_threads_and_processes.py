"""How many threads a call uses, and the same bits on any number; test_processes.py has the rest."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from gmm_core import GaussianMixture, _build_config
from gmm_core.core import threads
from gmm_core.core.threads import effective_n_threads
from gmm_core.data import passes
from gmm_core.data.arrays import ArrayPass

TYPES = ["full", "tied", "diag", "spherical"]
OPENMP = _build_config.OPENMP
needs_openmp = pytest.mark.skipif(
    not OPENMP, reason="built without OpenMP: everything has one thread"
)
Make = Callable[..., Any]  # the type of the fixtures that return functions


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
        (40, "", 24),  # at most four threads for each CPU
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
    """None takes all allowed CPUs, at most OMP_NUM_THREADS; negative numbers count back from these."""
    monkeypatch.setattr(threads, "available", lambda: 6)
    monkeypatch.setattr(threads, "max_threads", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert effective_n_threads(n_threads) == expected


@needs_openmp
def test_limit_of_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with threadpoolctl.threadpool_limits(3, user_api="openmp"):
        assert effective_n_threads() == 3
        assert (effective_n_threads(4), effective_n_threads(-1)) == (4, 6)  # a number ignores the limit
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


@needs_openmp
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this platform has no CPU affinity"
)
@pytest.mark.parametrize(
    "binding",
    [{"OMP_PROC_BIND": "true"}, {"OMP_PROC_BIND": "spread"}, {"OMP_PLACES": "cores"}],
    ids=str,
)
def test_openmp_that_binds_its_threads_leaves_all_processors(
    binding: dict[str, str], run_python: Make
) -> None:
    """All processors are counted, though OpenMP binds the main thread to one before Python asks."""
    code = "show([effective_n_threads(), effective_n_threads(-1)])"
    assert run_python(code, **binding) == run_python(code)
    one = f"os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})"
    prelude = "import json, os\n" + one + "\nfrom gmm_core.core.threads import effective_n_threads\n"
    code = prelude + "print(json.dumps([effective_n_threads(), effective_n_threads(-1)]))"
    assert run_python(code, prelude="", **binding) == [1, 1]


@needs_openmp
def test_places_of_openmp_bound_the_threads(run_python: Make) -> None:
    places = f"{{{min(os.sched_getaffinity(0))}}}" if hasattr(os, "sched_getaffinity") else "{0}"
    code = "show([effective_n_threads(), effective_n_threads(-1)])"
    assert run_python(code, OMP_PLACES=places) == [1, 1]


V1 = "9:memory:/m\n5:cpu,cpuacct:{path}\n"
V2 = "0::{path}\n"
MOUNT_V1 = "31 23 0:28 {root} {top} rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
MOUNT_V2 = "41 31 0:38 {root} {top} rw,relatime - cgroup2 cgroup2 rw\n"
OTHER_MOUNTS = (
    "23 1 0:20 / / rw - overlay overlay rw\n30 23 0:9 / /memory rw - cgroup cgroup rw,memory\n"
)


@pytest.mark.parametrize(
    ("version", "root", "path", "files", "expected"),
    [
        (2, "/", "/", {"cpu.max": "150000 100000\n"}, 2),
        (2, "/", "/", {"cpu.max": "10000 100000\n"}, 1),
        (2, "/", "/", {"cpu.max": "max 100000\n"}, None),
        (2, "/", "/", {}, None),
        (2, "/", "/user.slice/job", {"user.slice/job/cpu.max": "300000 100000\n"}, 3),
        # the smallest quota counts, of all groups that contain the process
        (2, "/", "/a/b", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        (2, "/", "/a/b", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "300000 100000"}, 3),
        (2, "/", "/a", {"b/cpu.max": "100000 100000\n"}, None),
        # a container sees its own group as the root of the mount, with the path of the host
        (2, "/docker/1", "/docker/1", {"cpu.max": "200000 100000\n"}, 2),
        (2, "/docker/1", "/docker/1/x", {"x/cpu.max": "200000 100000\n"}, 2),
        (2, "/", "/../outside", {"cpu.max": "200000 100000\n"}, 2),
        (1, "/", "/", {"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, 4),
        (1, "/", "/", {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        (1, "/", "/j", {"j/cpu.cfs_quota_us": "50000", "j/cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_quota(
    version: int, root: str, path: str, files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    """The quota is read from the files of control groups, here in a folder with a space in its name."""
    top = tmp_path / "control groups"
    top.mkdir()
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    groups, mount = (V1, MOUNT_V1) if version == 1 else (V2, MOUNT_V2)
    (tmp_path / "cgroup").write_text(groups.format(path=path))
    mounted_at = str(top).replace(" ", "\\040")
    (tmp_path / "mountinfo").write_text(OTHER_MOUNTS + mount.format(root=root, top=mounted_at))
    assert threads._quota.__wrapped__(tmp_path) == expected


def test_quota_is_absent_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert threads._quota.__wrapped__(tmp_path) is None
    for name in ("cgroup", "mountinfo"):
        (tmp_path / name).write_text("what is this?\n")
    assert threads._quota.__wrapped__(tmp_path) is None


def test_zero_threads_are_refused() -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="n_threads"):
        GaussianMixture(n_threads=0).fit(X)
    with pytest.raises(ValueError, match="n_threads"):
        GaussianMixture(n_threads=1.5).fit(X)  # type: ignore[arg-type]


# ---- same bits -----------------------------------------------------------------------------------


@pytest.fixture
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chunks of one tile, and several calls of a kernel for a pass."""
    monkeypatch.setattr(passes, "_CHUNK_TIME", 0.0)
    monkeypatch.setattr(passes, "_SLICE_TIME", 1e6)


@pytest.mark.usefixtures("_many_chunks")
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data", "hierarchical"])
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
    """A slice takes half a second of two CPUs at most, because Python sees Ctrl-C only after it."""
    X = np.zeros((10_000_000, 1), np.float32)
    monkeypatch.setattr(passes, "available", lambda: 2)
    data = ArrayPass(X, None, 64, "full", 400)
    assert data.n_threads == 400
    assert data.slice_rows * passes._cost(64, 1) < 1e9
