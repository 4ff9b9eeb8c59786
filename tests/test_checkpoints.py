"""Checkpoints: a fit that was killed goes on, and ends with the bits of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gmm_core import GaussianMixture

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
    """A function that runs a fit up to its n-th E-step, and returns the checkpoint's path."""
    from gmm_core.passes import KernelPass

    def run(n_steps, fit):
        path, count = tmp_path / "state", iter(range(n_steps))
        expectation = KernelPass.expectation

        def limited(self, *args):
            if next(count, None) is None:
                raise Interrupt
            return expectation(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(KernelPass, "expectation", limited)
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
    assert sorted(os.listdir(tmp_path)) == ["model.npz"]    # the checkpoint is gone


@pytest.mark.parametrize("n_steps", [1, 4, 45])     # before any writing, in the first start, in the second
@pytest.mark.parametrize("by_batches", [False, True])
def test_it_goes_on_with_the_same_bits(interrupted, n_steps, by_batches):
    X = data()

    def fit(path):
        gm = model(checkpoint=path, checkpoint_interval=2, init_size=5_000)
        return gm.fit_batches([X[:11_111], X[11_111:]]) if by_batches else gm.fit(X)

    path = interrupted(n_steps, fit)
    assert path.exists() == (n_steps > 2)
    resumed = fit(path)
    assert not path.exists()
    assert_same(resumed, model(init_size=5_000).fit(X))


def test_only_the_rest_is_done(interrupted, monkeypatch):
    X = data()
    path = interrupted(30, lambda path: model(checkpoint=path, n_init=1).fit(X))
    from gmm_core.passes import KernelPass

    calls, expectation = [], KernelPass.expectation
    monkeypatch.setattr(
        KernelPass, "expectation", lambda *args: calls.append(1) or expectation(*args)
    )
    resumed = model(checkpoint=path, n_init=1).fit(X)
    assert len(calls) == 10 and resumed.n_iter_ == 40


def test_a_longer_fit_may_go_on(interrupted):
    """max_iter and tol are not part of what makes a fit the same."""
    X = data()
    path = interrupted(30, lambda path: model(checkpoint=path, n_init=1).fit(X))
    longer = model(checkpoint=path, n_init=1, max_iter=50).fit(X)
    assert_same(longer, model(n_init=1, max_iter=50).fit(X))


def test_a_generator_that_the_user_gave_goes_on_too(interrupted):
    X = data()

    def fit(path, random_state):
        return model(checkpoint=path, checkpoint_interval=2, random_state=random_state).fit(X)

    path = interrupted(5, lambda path: fit(path, np.random.RandomState(3)))
    resumed = fit(path, np.random.RandomState(99))
    assert_same(resumed, fit(None, np.random.RandomState(3)))


def test_writing_replaces_the_file_in_one_step(interrupted, monkeypatch):
    """A failure in the middle of a writing leaves the file of before."""
    X = data()
    path = interrupted(4, lambda path: model(checkpoint=path, checkpoint_interval=3).fit(X))
    before = path.read_bytes()

    def savez(file, **arrays):
        file.write(b"half a file")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(np, "savez", savez)
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


def test_a_warm_start_goes_on_and_is_not_taken_for_a_cold_one(interrupted):
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
    np.random.seed(7)                   # noqa: NPY002
    fit(path)
    after = np.random.rand()            # noqa: NPY002
    np.random.seed(7)                   # noqa: NPY002
    fit(path)       # anew: there is no file
    assert np.random.rand() == after    # noqa: NPY002


def test_short_starts_are_saved_together(interrupted):
    """Each start of three iterations, a writing after every fifth."""
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


def test_what_is_no_checkpoint_is_refused(tmp_path):
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
    with pytest.raises(ValueError, match="checkpoint=.*nowhere.*: there is no such folder"):
        model(checkpoint=tmp_path / "nowhere" / "state").fit(data()[:100])
