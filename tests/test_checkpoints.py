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
    assert path.read_bytes() == before
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
    with pytest.raises(ValueError, match="checkpoint=.*nowhere.*: there is no such folder"):
        model(checkpoint=tmp_path / "nowhere" / "state").fit(data()[:100])
