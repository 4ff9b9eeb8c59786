"""Tests of checkpoints: a fit that was killed resumes, with the result of an uninterrupted fit."""

import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.fit.checkpoints import Checkpoint

ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_")
PARAMS = {"tol": 0, "max_iter": 40, "n_init": 2, "init_params": "random_from_data"}
pytestmark = pytest.mark.filterwarnings("ignore:Best performing")


def data():
    rng = np.random.RandomState(0)
    return rng.randn(40_000, 4) + 2 * rng.randint(0, 4, (40_000, 1))


def model(**params):
    return GaussianMixture(6, **{**PARAMS, "random_state": 1, **params})


def assert_same(one, other):
    for name in ATTRIBUTES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.lower_bounds_ == other.lower_bounds_ and one.lower_bound_ == other.lower_bound_
    assert one.restarts_ == other.restarts_


class Interrupt(Exception):
    pass


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Return a function that stops a fit after `n_steps` E-steps, and returns the checkpoint's path."""
    from gmm_core.data.passes import KernelPass

    def run(n_steps, fit):
        path, count = tmp_path / "state", iter(range(n_steps))
        accumulate = KernelPass.accumulate

        def limited(self, *args):
            if next(count, None) is None:
                raise Interrupt
            return accumulate(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(KernelPass, "accumulate", limited)
            with pytest.raises(Interrupt):
                fit(path)
        return path

    return run


CHILD = """
import sys, warnings
sys.path[:0] = [sys.argv[1]]
warnings.simplefilter("ignore")
from test_checkpoints import data, model
model(checkpoint=sys.argv[2], checkpoint_interval=3).fit(data()).save(sys.argv[3])
"""


def test_a_fit_that_is_killed_again_and_again(tmp_path):
    state, saved = tmp_path / "state", tmp_path / "model.npz"
    command = [sys.executable, "-P", "-c", CHILD, os.path.dirname(__file__), str(state), str(saved)]
    kills = 0
    deadline = time.monotonic() + 100
    while not saved.exists():
        assert time.monotonic() < deadline
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command)
        while process.poll() is None:
            if kills < 4 and state.exists() and state.stat().st_mtime_ns != before:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            time.sleep(0.002)
        assert process.returncode in (0, -signal.SIGKILL)
    assert kills >= 2
    assert_same(GaussianMixture.load(saved), model().fit(data()))
    assert sorted(os.listdir(tmp_path)) == ["model.npz"]  # the checkpoint has been deleted


@pytest.mark.parametrize("n_steps", [1, 4, 45])  # before the first checkpoint, in the first start, in the second
@pytest.mark.parametrize("by_batches", [False, True])
def test_a_resumed_fit_is_bit_identical(interrupted, n_steps, by_batches):
    X = data()

    def fit(path):
        gm = model(checkpoint=path, checkpoint_interval=2, init_size=5_000)
        return gm.fit_batches([X[:11_111], X[11_111:]]) if by_batches else gm.fit(X)

    path = interrupted(n_steps, fit)
    assert path.exists() == (n_steps > 2)
    resumed = fit(path)
    assert not path.exists()
    assert_same(resumed, model(init_size=5_000).fit(X))


def test_a_resumed_fit_does_only_the_remaining_iterations(interrupted, monkeypatch):
    X = data()
    path = interrupted(30, lambda path: model(checkpoint=path, n_init=1).fit(X))
    from gmm_core.data.passes import KernelPass

    calls, expectation = [], KernelPass.expectation
    monkeypatch.setattr(
        KernelPass, "expectation", lambda *args: calls.append(1) or expectation(*args)
    )
    resumed = model(checkpoint=path, n_init=1).fit(X)
    assert len(calls) == 10 and resumed.n_iter_ == 40


def test_a_longer_fit_may_resume(interrupted):
    """A fit may resume with another max_iter or tol."""
    X = data()
    path = interrupted(30, lambda path: model(checkpoint=path, n_init=1).fit(X))
    longer = model(checkpoint=path, n_init=1, max_iter=50).fit(X)
    assert_same(longer, model(n_init=1, max_iter=50).fit(X))


def test_a_generator_of_the_user_resumes_too(interrupted):
    X = data()

    def fit(path, random_state):
        return model(checkpoint=path, checkpoint_interval=2, random_state=random_state).fit(X)

    path = interrupted(5, lambda path: fit(path, np.random.RandomState(3)))
    resumed = fit(path, np.random.RandomState(99))
    assert_same(resumed, fit(None, np.random.RandomState(3)))


def test_writing_replaces_the_file_in_one_step(interrupted, monkeypatch):
    """If writing fails halfway, the older file stays."""
    X = data()
    path = interrupted(4, lambda path: model(checkpoint=path, checkpoint_interval=3).fit(X))
    before = path.read_bytes()

    def write_array(file, array, allow_pickle):
        file.write(b"half a file")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(np.lib.format, "write_array", write_array)
        model(checkpoint=path, checkpoint_interval=3).fit(X)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["state"]
    assert_same(model(checkpoint=path, checkpoint_interval=3).fit(X), model().fit(X))


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"n_components": 5}, "n_components is 6, and here it is 5"),
        ({"covariance_type": "diag"}, "covariance_type is full, and here it is diag"),
        ({"reg_covar": 1e-3}, "reg_covar is 1e-06, and here it is 0.001"),
        ({"init_params": "random"}, "init_params is random_from_data, and here it is random"),
        ({"n_init": 3}, "n_init is 2, and here it is 3"),
        ({"means_init": np.zeros((6, 4))}, "means_init is None"),
    ],
)
def test_another_model_is_refused(interrupted, params, what):
    X = data()
    path = interrupted(4, lambda path: model(checkpoint=path, checkpoint_interval=3).fit(X))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"is of another fit: its {what}"):
        model(checkpoint=path).set_params(**params).fit(X)
    assert path.read_bytes() == before


def test_another_seed_start_or_callable_is_refused(interrupted):
    X = data()[:5_000]

    def first(X, n_components, random_state):
        return np.arange(len(X)) % n_components

    def second(X, n_components, random_state):
        return np.arange(len(X))[::-1] % n_components

    path = interrupted(4, lambda path: model(checkpoint=path, checkpoint_interval=3).fit(X))
    with pytest.raises(ValueError, match="its random_state is 1, and here it is 2"):
        model(checkpoint=path, random_state=2).fit(X)
    warm = model(n_init=1, warm_start=True, max_iter=2).fit(X)
    with pytest.raises(ValueError, match="its n_init is 2|its warm start is None"):
        warm.set_params(checkpoint=path).fit(X)
    path.unlink()

    def fit(path, function):
        return model(checkpoint=path, checkpoint_interval=3, init_params=function).fit(X)

    interrupted(4, lambda path: fit(path, first))
    with pytest.raises(ValueError, match="its init_params is .*first, and here it is .*second"):
        fit(path, second)


def test_a_warm_start_resumes_and_is_told_apart_from_a_cold_one(interrupted):
    X = data()

    def fit(path, **params):
        gm = model(n_init=1, warm_start=True, max_iter=4).fit(X)
        return gm.set_params(checkpoint=path, checkpoint_interval=2, max_iter=20, **params).fit(X)

    path = interrupted(9, fit)
    with pytest.raises(ValueError, match="its warm start is "):
        fit(path, warm_start=False, n_init=1)
    assert_same(fit(path), fit(None))


def test_the_global_generator_is_left_alone(interrupted):
    X = data()

    def fit(path):
        return model(checkpoint=path, checkpoint_interval=2, random_state=None).fit(X)

    path = interrupted(5, fit)
    np.random.seed(7)  # noqa: NPY002
    fit(path)
    after = np.random.rand()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    fit(path)  # a new fit, because the file has been deleted
    assert np.random.rand() == after  # noqa: NPY002


def test_short_starts_are_saved_together(interrupted):
    """Each start has three iterations, and a checkpoint is written after every fifth iteration."""
    X = data()[:5_000]

    def fit(path):
        return model(checkpoint=path, checkpoint_interval=5, n_init=6, max_iter=3).fit(X)

    path = interrupted(14, fit)
    assert path.exists()
    assert_same(fit(path), fit(None))


def test_integers_of_numpy(interrupted):
    X = data()[:5_000]
    params = {"n_init": np.int64(2), "init_size": np.int32(1_000), "random_state": np.int64(1)}

    def fit(path):
        gm = model(checkpoint=path, checkpoint_interval=np.int64(2), **params)
        return gm.set_params(n_components=np.int64(6)).fit(X)

    path = interrupted(4, fit)
    assert_same(fit(path), fit(None))


def test_links_and_relative_paths(interrupted, tmp_path, monkeypatch):
    X = data()[:5_000]
    (tmp_path / "a").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a" / "state")
    monkeypatch.chdir(tmp_path)
    interrupted(4, lambda _: model(checkpoint="link", checkpoint_interval=2).fit(X))
    assert (tmp_path / "a" / "state").is_file() and link.is_symlink()
    assert_same(model(checkpoint=link).fit(X), model().fit(X))


def test_other_data_are_refused(interrupted):
    X = data()
    path = interrupted(4, lambda path: model(checkpoint=path, checkpoint_interval=3).fit(X))
    changed = X.copy()
    changed[17, 2] += 1e-9
    for other, name in (
        (X[:-1], "n_samples"),
        (X[:, :3], "n_features"),
        (X.astype(np.float32), "dtype"),
        (changed, "checksum of the data"),
    ):
        with pytest.raises(ValueError, match=f"is of another fit: its {name}"):
            model(checkpoint=path).fit(other)
    with pytest.raises(ValueError, match="checksum of the data"):
        model(checkpoint=path).fit(X, sample_weight=np.full(len(X), 2.0))
    assert_same(model(checkpoint=path).fit(X), model().fit(X))


def test_other_files_are_refused(tmp_path):
    X, path = data()[:100], tmp_path / "state"
    model(n_init=1).fit(X).save(tmp_path / "model.npz")
    later = {"format": "gmm_core.checkpoint", "version": 99}
    np.savez(tmp_path / "later.npz", header=np.array(json.dumps(later)))
    for content, reason in (
        (b"", "is not a checkpoint of gmm_core"),
        (b"some text", "is not a checkpoint of gmm_core"),
        ((tmp_path / "model.npz").read_bytes(), "its format is 'gmm_core.GaussianMixture'"),
        ((tmp_path / "later.npz").read_bytes(), "its version is 99"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            model(checkpoint=path).fit(X)
        assert path.read_bytes() == content


def test_bad_parameters(tmp_path):
    for params in ({"checkpoint": 7}, {"checkpoint": b"x"}, {"checkpoint_interval": 0}):
        with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
            model(**params).fit(data()[:100])
    with pytest.raises(ValueError, match="is a folder"):
        model(checkpoint=tmp_path).fit(data()[:100])
    with pytest.raises(ValueError, match="checkpoint=.*nowhere.*: its folder does not exist"):
        model(checkpoint=tmp_path / "nowhere" / "state").fit(data()[:100])


@pytest.mark.parametrize(
    ("by_batches", "missing"), [(False, "error"), (True, "error"), (False, "marginalize")]
)
def test_samples_and_weights_are_told_apart(interrupted, by_batches, missing):
    """Other data are refused even if samples and weights have the same bytes, or are exchanged."""
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0.5, 1, size=(2, 4_000))
    if missing == "marginalize":
        one[7] = other[7] = np.nan

    def fit(path, X, weight):
        gm = model(checkpoint=path, checkpoint_interval=2, missing=missing)
        if by_batches:
            return gm.fit_batches([(X[:1_000, None], weight[:1_000]), (X[1_000:, None], weight[1_000:])])
        return gm.fit(X[:, None], sample_weight=weight)

    first, second = np.nan_to_num(one, nan=0.75), np.nan_to_num(other, nan=0.75)
    path = interrupted(5, lambda path: fit(path, one, first))
    for X, weight in ((other, second), (one, second), (other, first), (first * 2, first)):
        with pytest.raises(ValueError, match="is of another fit: its checksum of the data"):
            fit(path, X, weight)
    assert_same(fit(path, one, first), fit(None, one, first))
    path = interrupted(5, lambda path: fit(path, one, second))
    with pytest.raises(ValueError, match="is of another fit: its checksum of the data"):
        fit(path, second, first)


# --- another tol or max_iter --------------------------------------------------------------------


def test_a_shorter_fit_is_refused(interrupted):
    X = data()[:5_000]

    def fit(path, **params):
        return model(checkpoint=path, checkpoint_interval=1, n_init=1, **params).fit(X)

    path = interrupted(20, fit)
    before = path.read_bytes()
    for max_iter in (0, 1, 19):
        with pytest.raises(ValueError, match=f"state has 20 iterations of start 0, but max_iter is {max_iter}"):
            fit(path, max_iter=max_iter)
    with pytest.raises(ValueError, match="would have converged in iteration [1-9].*: set tol=0.0, or delete"):
        fit(path, tol=1e-2)
    assert path.read_bytes() == before
    assert_same(fit(path, max_iter=20), fit(None, max_iter=20))


def test_any_tol_and_max_iter_give_the_same_bits_or_an_error(interrupted):
    """A fit of several starts, stopped anywhere, either resumes bit-identically or is refused."""
    X = np.random.default_rng(0).normal(size=(300, 2))
    params = {"n_components": 3, "n_init": 4, "random_state": 5, "init_params": "random_from_data"}
    schedules = [(tol, max_iter) for tol in (0, 1e-4, 1e-3, 1e-2) for max_iter in (0, 3, 18, 40)]

    def fit(path, tol, max_iter):
        gm = GaussianMixture(**params, tol=tol, max_iter=max_iter, checkpoint=path, checkpoint_interval=1)
        return gm.fit(X)

    expected = {schedule: fit(None, *schedule) for schedule in schedules}
    steps = sum(restart.n_iter for restart in expected[1e-4, 18].restarts_)
    n_resumed = n_refused = 0
    for n_steps in (2, 9, steps // 3, steps // 2, steps - 3):
        path = interrupted(n_steps, lambda path: fit(path, 1e-4, 18))
        state = path.read_bytes()
        for schedule in schedules:
            path.write_bytes(state)
            try:
                resumed = fit(path, *schedule)
            except ValueError as error:
                assert "or delete the file" in str(error)
                n_refused += 1
            else:
                assert_same(resumed, expected[schedule])
                n_resumed += 1
        path.unlink(missing_ok=True)
    assert n_resumed >= 10 and n_refused >= 10


def test_a_start_that_ended_is_not_taken_for_one_of_another_schedule(interrupted):
    """A start that ended by convergence or by max_iter is used only if it would end there again."""
    X = data()[:5_000]

    def fit(path, **params):
        return model(checkpoint=path, checkpoint_interval=1, **params).fit(X)

    converging = {"tol": 1e-3, "max_iter": 200}
    n_iter = fit(None, **converging).restarts_[0].n_iter
    path = interrupted(n_iter + 3, lambda path: fit(path, **converging))
    with pytest.raises(ValueError, match="has start 0, which ended with tol=0.001 and max_iter=200"):
        fit(path, tol=1e-4, max_iter=200)
    longer = {"tol": 1e-3, "max_iter": 300}
    assert_same(fit(path, **longer), fit(None, **longer))
    path = interrupted(43, fit)  # each start has 40 iterations, so this is in the second one
    with pytest.raises(ValueError, match="has start 0, which ended with tol=0.0 and max_iter=40"):
        fit(path, max_iter=50)
    assert_same(fit(path), fit(None))


def test_a_warm_start_that_another_previous_bound_would_end(interrupted):
    X = data()[:5_000]

    def warm(path, **attributes):
        gm = model(n_init=1, warm_start=True, max_iter=4).fit(X)
        vars(gm).update(attributes)
        return gm.set_params(checkpoint=path, checkpoint_interval=1, max_iter=20, tol=1e-9).fit(X)

    path = interrupted(9, warm)
    first = warm(None).lower_bounds_[0]
    with pytest.raises(ValueError, match="would have converged in iteration 1"):
        warm(path, lower_bounds_=[first])
    assert warm(None, lower_bounds_=[first]).n_iter_ == 1
    assert_same(warm(path), warm(None))


# --- damaged and strange files ------------------------------------------------------------------


def rewrite(path, change):
    """Change the contents of a checkpoint; `change` gets the header and the arrays as dicts."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    change(header, arrays)
    with open(path, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


BAD_ARRAYS = {
    "means of more components": ("current_means", lambda a: np.zeros((4_000, 2))),
    "one by one": ("best_means", lambda a: np.zeros((1, 1))),
    "means of other features": ("current_means", lambda a: a[:, :1]),
    "float32": ("current_covariances", lambda a: a.astype(np.float32)),
    "complex": ("current_means", lambda a: a.astype(complex)),
    "text": ("current_weights", lambda a: a.astype(str)),
    "NaN": ("current_means", lambda a: a * np.nan),
    "weights of 10": ("current_weights", lambda a: a * 10),
    "negative weights": ("best_weights", lambda a: np.array([1.5, -0.5, 0])),
    "a factor of 0": ("current_precisions_cholesky", lambda a: a * 0),
    "a full factor": ("best_precisions_cholesky", np.ones_like),
    "negative variances": ("best_covariances", np.negative),
    "other constants": ("current_log_constant", lambda a: a + 1),
    "short constants": ("best_log_constant", lambda a: a[:-1]),
    "short keys": ("random_keys", lambda a: a[:-1]),
    "keys of 64 bits": ("random_keys", lambda a: a.astype(np.uint64)),
    "keys of 0": ("random_keys", np.zeros_like),
}
BAD_FIELDS = {
    "tol": [None, "a", -1, float("nan")],
    "max_iter": [None, -1, 1.5, True],
    "start": [None, -1, 0, 2, 3, 1.0, True, "1"],
    "lower_bounds": [None, [], "abc", [None], [float("nan")], [float("inf")], {"a": 1}, [[1.0]]],
    "restarts": [None, [], [[]], [[1.0, 2, True, None]], [["a", 2, True, None, 1.0]], [1],
                 [[1.0, -2, True, None, 1.0]], [[1.0, 2, 1, None, 1.0]], [[1.0, 2, True, 5, 1.0]],
                 [[float("nan"), 2, True, None, 1.0]], [[1.0, 2, True, None, 1.0]] * 2],
    "random_state": [None, [], ["MT19937", 5, 0], ["PCG64", 5, 0, 0.0], ["MT19937", 625, 0, 0.0],
                     ["MT19937", -1, 0, 0.0], ["MT19937", 5, 2, 0.0], ["MT19937", 5, 0, float("nan")],
                     ["MT19937", 5.0, 0, 0.0], ["MT19937", 5, 0, "a"], 7],
    "sample_seed": [None, -1, 1.5, 2**31, "a", True],
    "best": [None, [], [[], -1.0], [[], -1.0, True], [["a"], -1.0, True], [[], float("nan"), True],
             [[], "a", True], [[], -1.0, 1], 5],
    "identity": [None, [], "a"],
    "version": [None, "2", 1.5, True, 1, 3],
    "format": [None, 5, []],
}


@pytest.fixture(scope="module")
def X3():
    return np.random.default_rng(0).normal(size=(1_000, 2))


@pytest.fixture
def state3(interrupted, X3):
    """Return the path of a checkpoint in the second start (K = 3, D = 2), and a function that resumes it."""

    def fit(path):
        random_state = np.random.RandomState(4)
        gm = GaussianMixture(3, **PARAMS, init_size=500, random_state=random_state)
        return gm.set_params(checkpoint=path, checkpoint_interval=1).fit(X3)

    return interrupted(45, fit), fit


def assert_refused(path, fit, message=""):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"state is not a checkpoint of gmm_core: .*{message}"):
        fit(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_do_not_belong_to_the_fit(state3, case):
    name, change = BAD_ARRAYS[case]
    path, fit = state3
    rewrite(path, lambda header, arrays: arrays.update({name: change(arrays[name])}))
    assert_refused(path, fit, name)


def test_every_part_is_needed(state3):
    path, fit = state3
    state = path.read_bytes()
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    for name in arrays:
        path.write_bytes(state)
        with zipfile.ZipFile(path, "w") as archive:
            for other in set(arrays) - {name}:
                with archive.open(f"{other}.npy", "w") as member:
                    np.lib.format.write_array(member, arrays[other])
        assert_refused(path, fit)
    for name in header:
        path.write_bytes(state)
        rewrite(path, lambda header, arrays, name=name: header.pop(name))
        assert_refused(path, fit, f"its header has no '{name}'")
    path.write_bytes(state)
    assert_same(fit(path), fit(None))


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_header_fields_of_another_type_or_value(state3, name):
    path, fit = state3
    state = path.read_bytes()
    for value in BAD_FIELDS[name]:
        path.write_bytes(state)
        rewrite(path, lambda header, arrays, value=value: header.update({name: value}))
        assert_refused(path, fit)
    path.write_bytes(state)
    assert_same(fit(path), fit(None))


def test_a_refusal_leaves_the_generator_alone(state3, X3):
    path, _ = state3
    rewrite(path, lambda header, arrays: arrays.pop("random_keys"))
    generator = np.random.RandomState(4)
    gm = GaussianMixture(3, **PARAMS, init_size=500, random_state=generator, checkpoint=path)
    for params in ({}, {"max_iter": 0}):
        with pytest.raises(ValueError, match="state"):
            gm.set_params(**params).fit(X3)
    fresh = np.random.RandomState(4)
    fresh.randint(2**31), fresh.randint(2**31)  # each fit draws the seed of its subset
    assert generator.uniform() == fresh.uniform()


def test_a_checkpoint_of_the_first_format_is_refused():
    """The first format is refused, because it identifies neither the data nor how starts ended."""
    with tarfile.open(Path(__file__).parents[1] / "values" / "version_1.tar.xz") as files:
        content = {name: files.extractfile(name).read() for name in ("checkpoint", "expected.json")}
    X = np.array(json.loads(content["expected.json"])["X"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        path.write_bytes(content["checkpoint"])
        fit = GaussianMixture(2, random_state=3, tol=0, checkpoint=path).fit
        with pytest.raises(ValueError, match="its version is 1, this gmm_core reads 2 and 3 only. Delete the file"):
            fit(X)
        path.unlink()
        fit(X)


def test_a_generator_whose_state_cannot_be_saved(tmp_path):
    gm = model(checkpoint=tmp_path / "state", random_state=np.random.RandomState(np.random.PCG64(0)))
    with pytest.raises(ValueError, match="random_state has the bit generator PCG64"):
        gm.fit(data()[:100])
    gm.set_params(checkpoint=None).fit(data()[:100])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_is_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe or a device"):
        model(checkpoint=tmp_path / "pipe").fit(data()[:100])


# --- a full disk --------------------------------------------------------------------------------


def test_a_full_disk_names_the_checkpoint(interrupted, monkeypatch):
    X = data()[:5_000]
    path = interrupted(4, lambda path: model(checkpoint=path, checkpoint_interval=3).fit(X))
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="checkpoint could not be .*No space") as caught:
        patch.setattr(os, "fsync", full)
        model(checkpoint=path, checkpoint_interval=3).fit(X)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["state"]


def test_the_file_is_deleted_only_when_the_model_is_fitted(tmp_path, monkeypatch):
    """Ctrl-C while the file is deleted comes too late to lose the fit."""

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "remove", interrupted)
    gm = model(checkpoint=tmp_path / "state", n_init=1)
    with pytest.raises(KeyboardInterrupt):
        gm.fit(data())
    assert gm.means_.shape[1] == data().shape[1]
