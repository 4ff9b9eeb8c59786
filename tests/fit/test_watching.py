"""Tests of callbacks, the time limit and the log: what they see, and how they stop a fit."""

import logging
import pickle
import time
import warnings

import numpy as np
import pytest
import sklearn.base
from sklearn.exceptions import ConvergenceWarning

import gmm_core.dask
from gmm_core import (
    BayesianGaussianMixture,
    GaussianMixture,
    InvalidParameterError,
    NumericalError,
    select,
)
from gmm_core.data import passes

X = np.random.default_rng(0).normal(size=(400, 2)) + np.repeat([[0, 0], [2, 1]], 200, axis=0)
SLOW = {"tol": 0, "max_iter": 12, "random_state": 0}  # never converges


class Record(list):
    """A callback that keeps the states, and stops the fit at one of them."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.closed = 0

    def __call__(self, state):
        self.append(state)
        return len(self) == self.stop_at

    def close(self):
        self.closed += 1


def quiet(model, X=X, **fit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, **fit)


def same(model, other):
    return all(
        np.array_equal(getattr(model, name), getattr(other, name))
        for name in ("weights_", "means_", "covariances_", "lower_bounds_", "lower_bound_")
    )


@pytest.mark.parametrize("options", [{}, {"acceleration": "squarem", "tol": 1e-9, "max_iter": 50}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_states_are_those_of_the_fit(options, dtype):
    record = Record()
    model = quiet(GaussianMixture(2, callback=record, **SLOW | options), X.astype(dtype))
    assert record.closed == 1
    assert [s.lower_bound for s in record] == model.lower_bounds_
    assert [s.n_iter for s in record] == list(range(1, model.n_iter_ + 1))
    assert {(s.phase, s.start, s.n_init, s.max_iter) for s in record} == {
        ("start", 0, 1, model.max_iter)
    }
    assert [s.converged for s in record] == [False] * (len(record) - 1) + [model.converged_]
    np.testing.assert_allclose([s.change for s in record][1:], np.diff(model.lower_bounds_))
    assert record[0].change == np.inf
    seconds = [s.seconds for s in record]
    assert 0 < seconds[0]
    assert seconds == sorted(seconds)
    last = record[-1]
    for name in ("weights", "means", "covariances"):
        array = getattr(last, name)
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, getattr(model, f"{name}_"))
    assert "phase='start', start=0" in repr(last)
    plain = quiet(GaussianMixture(2, **SLOW | options), X.astype(dtype))
    assert same(model, plain)


def test_the_parameters_are_those_after_the_iteration():
    record = Record()
    quiet(GaussianMixture(2, callback=record, **SLOW))
    for n in (1, 5):
        shorter = quiet(GaussianMixture(2, **SLOW | {"max_iter": n}))
        np.testing.assert_array_equal(record[n - 1].means, shorter.means_)
        np.testing.assert_array_equal(record[n - 1].covariances, shorter.covariances_)


def test_a_callback_cannot_change_the_fit():
    def spoil(state):
        state.means[:] = np.nan
        state.weights[:] = np.nan
        state.covariances[:] = np.nan

    assert same(quiet(GaussianMixture(2, callback=spoil, **SLOW)),
                quiet(GaussianMixture(2, **SLOW)))  # fmt: skip


def test_parameters_are_made_on_demand(monkeypatch):
    made = []
    original = gmm_core.fit.run.attributes_of
    monkeypatch.setattr(
        gmm_core.fit.run, "attributes_of", lambda *a, **k: made.append(1) or original(*a, **k)
    )
    quiet(GaussianMixture(2, callback=lambda state: None, **SLOW))
    assert len(made) == 1


@pytest.mark.parametrize(
    "options", [{}, {"acceleration": "lbfgs"}, {"covariance_type": "VEV"}, {"noise": True}]
)
def test_true_stops_the_fit_without_a_warning(options):
    model = GaussianMixture(2, callback=Record(stop_at=4), **SLOW | options).fit(X)
    assert (model.converged_, model.n_iter_) == (False, 4)
    assert model.restarts_[0].stopped == "callback"
    shorter = quiet(GaussianMixture(2, **SLOW | options | {"max_iter": 4}))
    assert same(model, shorter)
    assert shorter.restarts_[0].stopped is None


@pytest.mark.parametrize("answer", [None, 1, "yes", 0.5, [True], False])
def test_only_true_stops_the_fit(answer):
    model = quiet(GaussianMixture(2, callback=lambda state: answer, **SLOW))
    assert model.n_iter_ == 12


def test_the_best_of_the_starts_so_far_is_kept():
    options = {**SLOW, "n_init": 5, "init_params": "random_from_data", "max_iter": 8}
    every = quiet(GaussianMixture(3, **options))
    record = Record(stop_at=19)
    model = GaussianMixture(3, callback=record, **options)
    quiet(model)
    assert [(s.start, s.n_iter) for s in record][-3:] == [(2, 1), (2, 2), (2, 3)]
    assert [r.stopped for r in model.restarts_] == [None, None, "callback"]
    assert [r.log_likelihood for r in model.restarts_][:2] == [
        r.log_likelihood for r in every.restarts_
    ][:2]
    assert model.lower_bound_ == max(r.log_likelihood for r in model.restarts_)


def test_short_runs_and_swaps_are_seen_and_stopped():
    options = {**SLOW, "n_init": 2, "n_short": 4, "n_swaps": 2, "max_iter": 7}
    record = Record()
    plain = quiet(GaussianMixture(3, callback=record, **options))
    phases = [(s.phase, s.start) for s in record]
    for i in range(4):
        assert phases.count(("short run", i)) == 5
    assert [s.n_iter for s in record if (s.phase, s.start) == ("start", 0)] == [6, 7]
    swaps = [s for s in record if s.phase == "swap"]
    assert {s.start for s in swaps} == {0, 1}
    assert all(s.n_iter <= s.max_iter == 7 for s in swaps)
    # the fit is stopped in a short run, in EM, and in a swap
    model = GaussianMixture(3, callback=Record(stop_at=7), **options).fit(X)
    assert (model.n_iter_, [r.stopped for r in model.restarts_]) == (5, ["callback"])
    model = GaussianMixture(3, callback=Record(stop_at=21), **options).fit(X)
    assert (model.n_iter_, [r.stopped for r in model.restarts_]) == (6, ["callback"])
    model = quiet(GaussianMixture(3, callback=Record(stop_at=24), **options))
    assert len(model.restarts_) == 1
    assert model.lower_bound_ <= plain.restarts_[0].log_likelihood
    assert quiet(GaussianMixture(3, time_limit=1e-9, **options)).n_iter_ == 1


def test_a_stop_in_a_start_that_fails_goes_on_with_another(monkeypatch):
    """There is no valid model yet, so that one more start is made, without iterations."""
    original, calls = passes.KernelPass.log_likelihood, []

    def failing(self, *args):
        calls.append(1)
        if len(calls) == 1:
            raise NumericalError("told to fail")
        return original(self, *args)

    monkeypatch.setattr(passes.KernelPass, "log_likelihood", failing)
    with pytest.warns(UserWarning, match="start 0 of 3 failed: told to fail"):
        model = GaussianMixture(2, n_init=3, callback=Record(stop_at=1), **SLOW).fit(X)
    assert [r.failure for r in model.restarts_] == ["told to fail", None]
    assert model.n_iter_ == 0


def test_an_error_leaves_the_estimator_unchanged():
    record = Record()

    def fail(state):
        if state.n_iter == 3:
            raise RuntimeError("told to fail")

    model = GaussianMixture(2, **SLOW, n_init=2)
    quiet(model)
    before = dict(vars(model))
    model.callback = [fail, record]
    with pytest.raises(RuntimeError, match="told to fail"):
        model.fit(X + 1)
    assert {**vars(model), "callback": None} == before
    assert (len(record), record.closed) == (2, 1)


@pytest.mark.parametrize("value", [3, "print", [print, 3], {"a": print}])
def test_a_callback_that_cannot_be_called(value):
    with pytest.raises(InvalidParameterError, match="'callback' parameter of GaussianMixture"):
        GaussianMixture(callback=value).fit(X)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "1", True])
def test_a_time_limit_that_is_none(value):
    with pytest.raises(InvalidParameterError, match="'time_limit' parameter of Bayesian"):
        BayesianGaussianMixture(time_limit=value).fit(X)


@pytest.mark.parametrize("fit", ["fit", "fit_batches", "fit_predict"])
@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_the_fit_ends_after_the_iteration_that_passes_the_time_limit(cls, fit):
    def wait(state):
        time.sleep(0.02)

    model = cls(n_components=2, time_limit=0.1, callback=wait, n_init=3, tol=0, max_iter=500,
                random_state=0)  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="did not converge within time_limit=0.1 seconds"):
        getattr(model, fit)([X] if fit == "fit_batches" else X)
    assert 1 <= model.n_iter_ <= 5  # iterations take at least 0.02 s
    assert [(r.stopped, r.converged) for r in model.restarts_] == [("time_limit", False)]
    shorter = quiet(cls(n_components=2, tol=0, max_iter=model.n_iter_, random_state=0))
    assert same(model, shorter)


def test_a_long_time_limit_changes_nothing():
    assert same(quiet(GaussianMixture(2, time_limit=1e6, **SLOW)),
                quiet(GaussianMixture(2, **SLOW)))  # fmt: skip


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_a_stopped_fit_goes_on_from_its_checkpoint(cls, tmp_path):
    """The file is written at the stop, whatever the interval is."""
    options = {**SLOW, "n_components": 2, "n_init": 3, "init_params": "random_from_data"}
    whole = quiet(cls(**options))
    path = tmp_path / "fit.npz"
    n_fits, seen = 0, []
    while n_fits == 0 or path.exists():
        record = Record(stop_at=5)
        model = quiet(cls(checkpoint=path, checkpoint_interval=1000, callback=record, **options))
        n_fits += 1
        seen += [(s.start, s.n_iter) for s in record]
    assert n_fits == 8  # 36 iterations, of which each fit makes 5
    assert seen == [(i, n) for i in range(3) for n in range(1, 13)]
    assert same(model, whole)
    assert model.restarts_ == whole.restarts_


def test_a_checkpoint_does_not_depend_on_callback_and_time_limit(tmp_path):
    path = tmp_path / "fit.npz"
    quiet(GaussianMixture(2, checkpoint=path, callback=Record(stop_at=3), **SLOW))
    model = quiet(GaussianMixture(2, checkpoint=path, time_limit=1e6, **SLOW))
    assert same(model, quiet(GaussianMixture(2, **SLOW)))


def test_a_bayesian_fit_and_its_moves():
    record = Record()
    options = {"n_components": 4, "random_state": 0, "max_iter": 30, "tol": 1e-9, "moves": True}
    model = quiet(BayesianGaussianMixture(callback=record, **options))
    assert {s.phase for s in record} == {"start", "move"}
    assert record[-1].means.shape == (4, 2)
    first = sum(s.phase == "start" for s in record)
    np.testing.assert_array_equal(
        record[first - 1].weights,
        quiet(BayesianGaussianMixture(**{**options, "moves": False})).weights_,
    )
    stopped = quiet(
        BayesianGaussianMixture(callback=Record(stop_at=first + 2), **options)
    )
    assert stopped.lower_bound_ <= model.lower_bound_
    stopped = BayesianGaussianMixture(callback=Record(stop_at=2), **options).fit(X)
    assert (stopped.n_iter_, stopped.restarts_[0].stopped) == (2, "callback")


def test_get_params_clone_pickle_and_save(tmp_path):
    model = GaussianMixture(2, callback=Record(stop_at=2), time_limit=9.0, **SLOW).fit(X)
    assert model.get_params()["callback"] is model.callback
    copy = sklearn.base.clone(model)
    assert (copy.time_limit, copy.callback.stop_at) == (9.0, 2)
    model.save(tmp_path / "model.npz")
    loaded = GaussianMixture.load(tmp_path / "model.npz")
    assert (loaded.callback, loaded.time_limit) == (None, 9.0)
    assert loaded.restarts_ == model.restarts_
    assert loaded.restarts_[0].stopped == "callback"
    again = pickle.loads(pickle.dumps(loaded))
    assert again.restarts_[0] == loaded.restarts_[0]
    assert "stopped='callback'" in repr(again.restarts_[0])


def test_partial_fit_calls_no_callback():
    model = GaussianMixture(2, callback=Record(), time_limit=1e-9, random_state=0).partial_fit(X)
    assert not model.callback
    assert len(model.restarts_) == 10


def test_select_calls_the_callback_of_each_fit():
    record = Record()
    selection = select(X, [1, 2], "full", callback=record, n_threads=2)
    assert len(record) == sum(row.n_iter for row in selection.table)


def test_the_dask_estimator_has_the_parameters():
    record = Record(stop_at=2)
    model = gmm_core.dask.GaussianMixture(2, callback=record, **SLOW).fit(X)
    assert model.n_iter_ == 2


# --- the log ------------------------------------------------------------------------------------


def test_the_log(caplog):
    with caplog.at_level(logging.INFO, "gmm_core"):
        model = quiet(GaussianMixture(2, n_init=2, **SLOW))
    assert [r.levelname for r in caplog.records] == ["INFO"] * 2
    assert caplog.messages[0].startswith(
        f"start 0 of 2 did not converge in 12 iterations, "
        f"lower bound {model.restarts_[0].log_likelihood:.6f}, "
    )
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "gmm_core"):
        quiet(GaussianMixture(2, n_short=1, **SLOW))
    assert [r.levelname for r in caplog.records] == ["DEBUG"] * 12 + ["INFO"]
    assert caplog.messages[0].startswith("short run 0, iteration 1: lower bound -")
    assert caplog.messages[5].startswith("start 0, iteration 6: lower bound -")


def test_nothing_is_printed_by_default(start_python, capfd):
    code = """
import logging, sys
import numpy as np
from gmm_core import GaussianMixture
GaussianMixture(2, random_state=0).fit(np.arange(20.0)[:, None])
assert all(isinstance(h, logging.NullHandler) for h in logging.getLogger("gmm_core").handlers)
"""
    with start_python(code, prelude="") as child:
        out, err = child.communicate(timeout=60)
    assert (out, err or "") == ("", "")


def test_without_listeners_no_state_is_made(monkeypatch):
    monkeypatch.setattr(gmm_core.fit.watching, "FitState", None)
    quiet(GaussianMixture(2, **SLOW))
