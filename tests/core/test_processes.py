"""Tests of forks, other processes, joblib and Ctrl-C. Each test runs in an interpreter of its own.

Nothing hangs for ever: run_python ends an interpreter, and an alarm ends the processes that it starts.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from gmm_core import _build_config
from gmm_core.core.threads import effective_n_threads

OPENMP = _build_config.OPENMP
needs_openmp = pytest.mark.skipif(
    not OPENMP, reason="built without OpenMP: everything has one thread"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
needs_posix = pytest.mark.skipif(
    os.name != "posix", reason="Windows has no SIGINT for another process, and no alarm"
)
Make = Callable[..., Any]  # the type of the fixtures that return functions


# fit() really uses its threads, because the data have seven chunks
SETUP = """
import hashlib, signal
rng = np.random.default_rng(0)
X = rng.normal(size=(9000, 16)) + 4 * rng.integers(2, size=(9000, 1))
def mixture(n_threads=3):
    return GaussianMixture(32, tol=10, random_state=0, n_threads=n_threads)
def fit(n_threads=3):
    return mixture(n_threads).fit(X)
def bits(model):
    arrays = model.means_, model.covariances_, model.predict_proba(X)
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
"""


# ---- threads of the operating system -------------------------------------------------------------


@needs_openmp
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in Linux's /proc")
@pytest.mark.parametrize(
    ("limit", "n_threads", "environment", "expected"),
    [
        pytest.param("", 3, {"OMP_NUM_THREADS": "1"}, 3, id="n_threads=3"),
        pytest.param("", 1, {}, 1, id="n_threads=1"),
        pytest.param("", None, {}, 3, id="n_threads=None"),
        pytest.param("", None, {"OMP_NUM_THREADS": "2"}, 2, id="OMP_NUM_THREADS"),
        pytest.param("threads._quota = lambda: 2", None, {}, 2, id="quota"),
        pytest.param("os.sched_getaffinity = lambda _: {1, 7}", None, {}, 2, id="affinity"),
        pytest.param("threadpool_limits(2)", None, {}, 2, id="threadpoolctl"),
    ],
)
def test_threads_that_a_fit_starts(
    limit: str,
    n_threads: int | None,
    environment: dict[str, str],
    expected: int,
    run_python: Make,
) -> None:
    """The number of threads is right on a machine that seems to have three processors."""
    code = f"""
from gmm_core.core import threads
from threadpoolctl import threadpool_limits
os.sched_getaffinity = lambda _: {{0, 1, 2}}
threadpool_limits(3, user_api="openmp")
{limit}
def count(): return len(os.listdir("/proc/self/task"))
before = count()
fit({n_threads})
show(1 + count() - before)
"""
    assert run_python(SETUP + code, **environment) == expected


@needs_openmp
@pytest.mark.parametrize("limit", ["1", "2"])
def test_fewer_threads_than_asked_for(limit: str, run_python: Make) -> None:
    """If the OpenMP runtime gives fewer threads, there is no deadlock and the bits are the same."""
    one, seven = run_python(SETUP + "show([bits(fit(1)), bits(fit(7))])", OMP_THREAD_LIMIT=limit)
    assert one == seven


# ---- processes -----------------------------------------------------------------------------------

# Newer versions of Python warn if a process with several threads forks.
PARENT = (
    SETUP
    + """
import multiprocessing, threading, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
model = fit()
"""
)


@needs_posix
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_after_a_parallel_fit(method: str, run_python: Make) -> None:
    """With GNU's OpenMP, a parallel section in a forked child would wait for ever."""
    code = f"""
with multiprocessing.get_context({method!r}).Pool(2, signal.alarm, (50,)) as pool:
    n_threads = pool.apply_async(effective_n_threads, (3,)).get(50)
    fitted = pool.map_async(mixture().fit, [X, X, X]).get(50)
    predicted = pool.map_async(model.predict_proba, [X, X]).get(50)
expected = model.predict_proba(X)
assert all(np.array_equal(p, expected) for p in predicted)
show([n_threads, bits(model), [bits(m) for m in fitted]])
"""
    n_threads, expected, fitted = run_python(PARENT + code)
    assert n_threads == (3 if OPENMP and method != "fork" else 1)
    assert fitted == [expected] * 3


@needs_fork
@pytest.mark.parametrize("busy", [False, True])
def test_workers_forked_from_a_parent_that_goes_on(busy: bool, run_python: Make) -> None:
    """Workers can be forked after a fit, as web servers do it, and during a fit in another thread."""
    code = """
stop = threading.Event()
def keep_fitting():
    while not stop.is_set(): fit()
thread = threading.Thread(target=keep_fitting, daemon=True)
if busy: thread.start()
workers = []
for _ in range(3):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        n_threads = effective_n_threads(), effective_n_threads(3)
        os.write(write, json.dumps([*n_threads, bits(model), bits(fit())]).encode())
        os._exit(0)
    os.close(write)
    workers.append((child, read))
meanwhile = [bits(model), bits(fit())]
answers = [json.loads(os.fdopen(read).read() or "null") for _, read in workers]
statuses = [os.waitpid(child, 0)[1] for child, _ in workers]
stop.set()
if busy: thread.join()
show([effective_n_threads(3), bits(model), meanwhile, statuses, answers])
"""
    n_threads, expected, meanwhile, statuses, answers = run_python(f"{PARENT}busy = {busy}{code}")
    assert n_threads == (3 if OPENMP else 1)
    assert meanwhile == [expected] * 2
    assert statuses == [0] * 3
    assert answers == [[1, 1, expected, expected]] * 3


@needs_posix
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(backend: str, run_python: Make) -> None:
    """Results are bit-identical, and worker processes do not start more threads than there are CPUs.

    joblib sets no limit for workers that are threads, so users have to set n_threads=1 for them.
    """
    code = f"""
import joblib
def run(calls):
    return joblib.Parallel(2, backend={backend!r}, timeout=50)(calls)
fitted = run(joblib.delayed(mixture(n).fit)(X) for n in (None, 1, 3))
predicted = run([joblib.delayed(model.predict_proba)(X)] * 3)
n_threads = run([joblib.delayed(effective_n_threads)()] * 4)
expected = model.predict_proba(X)
assert all(np.array_equal(p, expected) for p in predicted)
show([n_threads, bits(model), [bits(m) for m in fitted]])
"""
    n_threads, expected, fitted = run_python(PARENT + code)
    assert fitted == [expected] * 3
    if backend != "threading":
        assert all(2 * n <= max(2, effective_n_threads(-1)) for n in n_threads)


# ---- Ctrl-C --------------------------------------------------------------------------------------

# One pass over X takes seconds, in the E-step as in Lloyd's iteration.
INTERRUPTED = """
import signal, warnings
signal.alarm(100)
from gmm_core.data import passes
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit import kmeans
K, D = 256, 32
X = np.zeros((300_000, D))
X[:, 0] = np.arange(300_000) % 977
model = GaussianMixture(K, random_state=0, tol=0, max_iter=2, reg_covar=1.0, n_threads={n_threads})
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model.fit(np.random.default_rng(0).normal(size=(2 * K, D)))
# how many times slower a pass is on this machine than the estimate by which calls are sliced
data = ArrayPass(X[:5000], None, K, "full", 1)
start = time.perf_counter()
data.evaluate(model._model().prepared, labels=np.empty(5000, np.int64))
slowness = (time.perf_counter() - start) / (5000 * passes._cost(K, D) * 1e-9)
{setup}
before = {{name: np.copy(value) for name, value in vars(model).items()}}
show("ready")
try:
    {action}
    interrupted = None
except KeyboardInterrupt:
    interrupted = time.monotonic()
after = vars(model)
same = after.keys() == before.keys() and all(np.array_equal(after[k], before[k]) for k in before)
show([interrupted, same, slowness])
"""
FROM_PARAMETERS = (
    "model.set_params(max_iter=10**6, weights_init=model.weights_, means_init=model.means_, "
    "precisions_init=model.precisions_)"
)
SKIP_SEEDING = (
    "kmeans.seed_rows = lambda data, n_clusters, random_state: np.arange(n_clusters) % 977"
)


@needs_posix
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    ("setup", "action"),
    [
        pytest.param(FROM_PARAMETERS, "model.fit_predict(X)", id="em"),
        pytest.param("", "while True: model.predict(X)", id="predict"),
        pytest.param("", "model.fit(X)", id="seeding"),
        pytest.param(
            SKIP_SEEDING + "; model.set_params(n_components=2000)", "model.fit(X)", id="lloyd"
        ),
    ],
)
def test_interrupt(setup: str, action: str, n_threads: int, start_python: Make) -> None:
    """Ctrl-C is answered within 0.5 s, or on a very slow machine within the time of two slices.

    A slice is meant to take 0.1 s.
    """
    code = INTERRUPTED.format(setup=setup, action=action, n_threads=n_threads)
    with start_python(code) as child:
        try:
            assert child.stdout.readline() == '"ready"\n', child.stderr.read()
            time.sleep(0.5)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=60)
        finally:
            child.kill()
    answered, same, slowness = json.loads(out)
    assert answered is not None, "it had ended before the signal"
    assert answered - sent <= max(0.5, 0.2 * slowness)
    assert same
