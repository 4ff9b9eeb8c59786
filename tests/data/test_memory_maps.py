"""Tests of fits to files that are larger than the memory that a process may have."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.skipping import HISTORY_BYTES

PARAMETERS = ("weights_", "means_", "covariances_")
pytestmark = pytest.mark.filterwarnings("ignore:Best performing")
MB = 1 << 20


def write(path, n, d, dtype="<f8", order="C"):
    array = np.lib.format.open_memmap(
        path, mode="w+", dtype=dtype, shape=(n, d), fortran_order=order == "F"
    )
    rng = np.random.RandomState(0)
    for start in range(0, n, 100_000):
        rows = array[start : start + 100_000]
        rows[:] = 10 * rng.standard_normal(rows.shape) + 50 * rng.randint(0, 3, (len(rows), 1))
    array.flush()
    return path


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8", "<i2", "<u1", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_map_is_fitted_like_an_array(tmp_path, dtype, order):
    X = np.load(write(tmp_path / "X.npy", 20_000, 3, dtype, order), mmap_mode="r")
    weight = np.random.RandomState(1).rand(len(X))
    for params in ({}, {"sample_weight": weight}):
        of_map = GaussianMixture(3, random_state=0, max_iter=3).fit(X, **params)
        of_array = GaussianMixture(3, random_state=0, max_iter=3).fit(np.array(X), **params)
        for name in PARAMETERS:
            np.testing.assert_array_equal(getattr(of_map, name), getattr(of_array, name))
        assert of_map.means_.dtype == (np.float32 if dtype == "<f4" else np.float64)


def test_rows_are_read_once_an_iteration_and_not_copied(tmp_path, monkeypatch):
    X = np.load(write(tmp_path / "X.npy", 50_000, 3), mmap_mode="r")
    passes, blocks = [], ArrayPass.blocks

    def counted(self):
        if self.n_samples == len(X):  # passes over the subset are not counted
            passes.append(0)
        for block in blocks(self):
            if self.n_samples == len(X):
                assert np.shares_memory(block.X, X)
                passes[-1] += len(block.X)
            yield block

    monkeypatch.setattr(ArrayPass, "blocks", counted)
    model = GaussianMixture(3, max_iter=7, tol=0, random_state=0, init_size=1_000).fit(X)
    # one pass draws the subset for the start, and one finds the log-likelihood at the end
    assert passes == [len(X)] * (1 + 7 + 1)
    given = {"weights_init": model.weights_, "means_init": model.means_}
    passes.clear()
    model.set_params(precisions_init=model.precisions_, **given).fit(X)
    assert passes == [len(X)] * (7 + 1)


@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_missing_values(tmp_path, dtype):
    X = np.load(write(tmp_path / "X.npy", 2_000, 3, dtype), mmap_mode="r+")
    X[1_000, 1] = np.nan
    model = GaussianMixture(3, random_state=0, missing="marginalize").fit(X)
    plain = GaussianMixture(3, random_state=0, missing="marginalize").fit(np.array(X, float))
    np.testing.assert_array_equal(model.means_, plain.means_)
    with pytest.raises(ValueError, match=r"(?s)X.*NaN.*X\[1000, 1\]"):
        model.set_params(missing="error").fit(X)


def test_errors_and_warnings_for_a_map(tmp_path):
    X = np.load(write(tmp_path / "X.npy", 600_000, 2, ">f8"), mmap_mode="r+")
    with pytest.warns(UserWarning, match="did not converge") as caught:
        GaussianMixture(3, max_iter=1, random_state=0).fit(X)
    assert caught[0].filename == __file__
    X[590_000, 1] = np.inf
    with pytest.raises(ValueError, match=r"X contains infinity.* X\[590000, 1\]"):
        GaussianMixture(3).fit(X)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        GaussianMixture(1).fit(X[:1])


LIMITED = """
import json, resource, sys, threading, time, warnings
import numpy as np

def status(key):
    return int(next(l for l in open("/proc/self/status") if l.startswith(key)).split()[1]) << 10

def watch():
    while not done.wait(0.001):
        peak[0] = max(peak[0], status("RssAnon"))

from gmm_core import GaussianMixture
from gmm_core.__main__ import main
np.linalg.eigvalsh(np.eye(50))      # NumPy's BLAS takes its own memory when it is first used
warnings.simplefilter("ignore")
before, peak, done = status("RssAnon"), [0], threading.Event()
# The limit is on memory that is not a map of a file. A copy of the data would exceed it.
resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + int(sys.argv[2]),) * 2)
thread = threading.Thread(target=watch)
thread.start()
try:
    if sys.argv[3] == "command line":
        assert main(["fit", sys.argv[1], "-k", "4", "--max-iter", "3", "--out", sys.argv[1] + ".npz"]) == 0
    else:
        X = np.load(sys.argv[1], mmap_mode="r")
        options = json.loads(sys.argv[4])
        model = GaussianMixture(4, max_iter=3, tol=0, random_state=0, n_threads=2, **options).fit(X)
        print(model.means_.dtype, model.score(X), model.icl(X), model.icl(X, certainty="entropy"))
    if sys.argv[3] == "copy":
        np.array(X)
finally:
    done.set()
    thread.join()
print("PEAK", peak[0] - before)
"""


def limited(path, limit, what, **options):
    command = [sys.executable, "-P", "-c", LIMITED, str(path), str(limit), what, json.dumps(options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


needs_proc = pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_DATA with maps left out, and /proc, are Linux's"
)


@needs_proc
@pytest.mark.parametrize(
    ("dtype", "d", "options"),
    [
        ("<f8", 8, {}),
        ("<f4", 8, {"covariance_type": "diag"}),
        ("<f8", 64, {}),
        ("<f8", 2, {"covariance_type": "tied"}),
        (">f4", 8, {}),
        ("<i2", 8, {"missing": "marginalize"}),
    ],
)
@pytest.mark.parametrize("skip", ["auto", False])
def test_a_file_larger_than_the_memory_allowed(tmp_path, dtype, d, options, skip):
    # The file has 192 MB. The limit is 128 MB, which include stacks, arenas and the buffers of BLAS, though not all of
    # these are touched.
    path = write(tmp_path / "X.npy", 192 * MB // (d * np.dtype(dtype).itemsize), d, dtype)
    made = limited(path, 128 * MB, "fit", skip=skip, **options)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("float32" if dtype == "<f4" else "float64")
    assert int(re.search(r"PEAK (\d+)", made.stdout)[1]) < 64 * MB + (HISTORY_BYTES if skip else 0)


@needs_proc
def test_a_copy_exceeds_the_limit(tmp_path):
    path = write(tmp_path / "X.npy", 192 * MB // 64, 8)
    made = limited(path, 128 * MB, "copy")
    assert made.returncode == 1 and "MemoryError" in made.stderr


@needs_proc
def test_the_command_line(tmp_path):
    path = write(tmp_path / "X.npy", 192 * MB // 32, 8, "<f4")
    made = limited(path, 128 * MB, "command line")
    assert made.returncode == 0, made.stderr
    assert int(re.search(r"PEAK (\d+)", made.stdout)[1]) < 64 * MB
    assert GaussianMixture.load(f"{path}.npz").means_.dtype == np.float32
