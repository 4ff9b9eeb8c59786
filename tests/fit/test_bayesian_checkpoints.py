"""Tests of checkpoints of Bayesian mixtures: a fit that was stopped resumes bit-identically."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, GaussianMixture
from gmm_core.fit import loop

pytestmark = pytest.mark.filterwarnings("ignore:Best performing")
PARAMS = {"n_components": 5, "tol": 0, "max_iter": 20, "n_init": 2, "init_params": "random"}
TYPES = ["full", "tied", "diag", "spherical"]


def data():
    rng = np.random.RandomState(0)
    return rng.randn(6_000, 3) + 2 * rng.randint(0, 4, (6_000, 1))


def model(**params):
    return BayesianGaussianMixture(**{**PARAMS, "random_state": 1, **params})


def assert_same(one, other):
    for name in set(vars(other)) - set(other.get_params()):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


class Interrupt(Exception):
    pass


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Return a function that stops a fit after `n_steps` iterations, and returns the checkpoint's path."""

    def run(n_steps, fit):
        path, count = tmp_path / "state", iter(range(n_steps))
        step = loop.step

        def limited(*args):
            if next(count, None) is None:
                raise Interrupt
            return step(*args)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "step", limited)
            with pytest.raises(Interrupt):
                fit(path)
        return path

    return run


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])
@pytest.mark.parametrize("n_steps", [1, 7, 27])  # before the first checkpoint, in the first start, in the second
def test_a_resumed_fit_is_bit_identical(interrupted, covariance_type, posterior, n_steps):
    X = data()
    params = {"covariance_type": covariance_type, "posterior": posterior, "init_size": 1_000}

    def fit(path):
        return model(checkpoint=path, checkpoint_interval=2, **params).fit(X)

    path = interrupted(n_steps, fit)
    assert path.exists() == (n_steps > 2)
    resumed = fit(path)
    assert not path.exists()
    assert_same(resumed, model(**params).fit(X))


def test_batches_a_dirichlet_distribution_and_a_generator_of_the_user(interrupted):
    X = data()
    params = {"weight_concentration_prior_type": "dirichlet_distribution", "init_size": 1_000}

    def fit(path, seed):
        seed = np.random.RandomState(seed)
        bgm = model(checkpoint=path, checkpoint_interval=2, **{**params, "random_state": seed})
        return bgm.fit_batches([X[:777], X[777:]])

    path = interrupted(27, lambda path: fit(path, 5))
    resumed = fit(path, 6)  # the file has the state of the generator
    assert_same(resumed, model(**{**params, "random_state": np.random.RandomState(5)}).fit(X))


def test_missing_values_with_a_prior_from_a_subset(interrupted):
    X = data()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    params = {"missing": "marginalize", "init_size": 1_000, "n_init": 1}

    def fit(path, seed):
        seed = np.random.RandomState(seed)
        return model(checkpoint=path, checkpoint_interval=1, **{**params, "random_state": seed}).fit(X)

    path = interrupted(7, lambda path: fit(path, 5))
    resumed = fit(path, 6)
    assert_same(resumed, model(**{**params, "random_state": np.random.RandomState(5)}).fit(X))


CHILD = """
import sys, warnings
sys.path[:0] = [sys.argv[1]]
warnings.simplefilter("ignore")
from test_bayesian_checkpoints import data, model
model(checkpoint=sys.argv[2], checkpoint_interval=1, max_iter=60).fit(data()).save(sys.argv[3])
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
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
            if kills < 3 and state.exists() and state.stat().st_mtime_ns != before:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            time.sleep(0.002)
        assert process.returncode in (0, -signal.SIGKILL)
    assert kills >= 2
    assert_same(BayesianGaussianMixture.load(saved), model(max_iter=60).fit(data()))
    assert sorted(os.listdir(tmp_path)) == ["model.npz"]  # the checkpoint has been deleted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"posterior": "conjugate"}, "its posterior is scikit-learn, and here it is conjugate"),
        ({"mean_prior": [0, 0, 0]}, "its mean_prior is None"),
        ({"covariance_prior": np.eye(3)}, "its covariance_prior is None"),
        ({"weight_concentration_prior": 2}, r"its weight_concentration_prior is None, and here it is 2\.0"),
        ({"mean_precision_prior": 2}, "its mean_precision_prior"),
        ({"degrees_of_freedom_prior": 9}, "its degrees_of_freedom_prior"),
        ({"weight_concentration_prior_type": "dirichlet_distribution"}, "its weight_concentration_prior_type"),
        ({"covariance_type": "diag"}, "its covariance_type"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(interrupted, change, message):
    X = data()
    path = interrupted(5, lambda path: model(checkpoint=path, checkpoint_interval=1).fit(X))
    with pytest.raises(ValueError, match=f"is of another fit: {message}"):
        model(checkpoint=path, **change).fit(X)
    assert path.exists()


def test_other_weights_and_the_other_class_are_refused(interrupted):
    X, weight = data(), np.full(6_000, 0.75)
    path = interrupted(
        5, lambda path: model(checkpoint=path, checkpoint_interval=1).fit(X, sample_weight=weight)
    )
    # The pass scales both to the same weights, but their size matters.
    with pytest.raises(ValueError, match=r"its total weight is 4500\.0, and here it is 9000\.0"):
        model(checkpoint=path).fit(X, sample_weight=2 * weight)
    params = {name: PARAMS[name] for name in ("n_components", "n_init", "init_params")}
    with pytest.raises(ValueError, match="its posterior is scikit-learn, and here it is None"):
        GaussianMixture(**params, random_state=1, checkpoint=path).fit(X, sample_weight=weight)
    assert_same(
        model(checkpoint=path).fit(X, sample_weight=weight), model().fit(X, sample_weight=weight)
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("current_weight_concentration", np.negative),
        ("current_mean_precision", lambda a: a * np.nan),
        ("current_degrees_of_freedom", lambda a: a * 0),
        ("current_degrees_of_freedom", lambda a: a[0]),
        ("current_covariances", np.negative),
        ("current_precisions_cholesky", np.ones_like),
        ("current_counts", lambda a: a - 1e6),
        ("current_sample_means", lambda a: a[:2]),
        ("current_sample_covariances", lambda a: a * np.inf),
        ("current_bounds", lambda a: a[:1]),
        ("current_means", None),
    ],
)
def test_damaged_checkpoints_are_refused(interrupted, name, change):
    X = data()
    path = interrupted(5, lambda path: model(checkpoint=path, checkpoint_interval=1).fit(X))
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    assert json.loads(str(arrays["header"]))["format"] == "gmm_core.checkpoint"
    array = arrays.pop(name)
    if change is not None:
        arrays[name] = change(array)
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(ValueError, match="is not a checkpoint of gmm_core"):
        model(checkpoint=path).fit(X)
