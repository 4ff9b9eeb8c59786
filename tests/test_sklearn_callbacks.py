"""Tests of scikit-learn's callbacks: its own ones, and one that records the hooks."""

import io
import pickle
import sys

import numpy as np
import pytest
import sklearn.base
from rich import get_console
from sklearn.callback import FitCallback, ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gmm_core import BayesianGaussianMixture, GaussianMixture

X = np.random.default_rng(0).normal(size=(200, 2)) + np.repeat([[0, 0], [3, 1]], 100, axis=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Hooks:
    """Records the hooks; stops the fit at one of the iterations."""

    def __init__(self, stop_at=None):
        self.calls, self.fitted, self.given = [], [], []
        self.stop_at = stop_at

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, X, metadata, fitted_estimator):
        self.calls.append(f"end {context.task_name} {context.task_id}")
        self.given.append((X, metadata))
        if context.task_name == "iteration":
            self.fitted.append(fitted_estimator)
            return len(self.fitted) == self.stop_at
        self.last = fitted_estimator
        return None


def balanced(calls):
    """Whether each task begins and ends, within the task that it belongs to."""
    open_tasks = []
    for call in calls:
        verb, _, task = call.partition(" ")
        if verb == "begin":
            open_tasks.append(task)
        elif verb == "end" and open_tasks.pop() != task:
            return False
    return not open_tasks


def test_the_recording_callback_follows_the_protocol():
    assert isinstance(Hooks(), FitCallback)


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_the_tasks_of_a_fit(cls):
    hooks = Hooks()
    model = cls(n_components=2, n_init=2, tol=0, max_iter=3, random_state=0)
    assert model.set_callbacks(hooks) is model
    weight = np.ones(len(X))
    model.fit(X, sample_weight=weight)
    iterations = [f"{verb} iteration {i}" for i in range(3) for verb in ("begin", "end")]
    assert hooks.calls == [
        "setup", "begin fit 0", "begin start 0", *iterations, "end start 0",
        "begin start 1", *iterations, "end start 1", "end fit 0", "teardown",
    ]  # fmt: skip
    assert all(given is X and metadata == {"sample_weight": weight}
               for given, metadata in hooks.given)  # fmt: skip
    plain = cls(n_components=2, n_init=2, tol=0, max_iter=3, random_state=0)
    plain.fit(X, sample_weight=weight)
    np.testing.assert_array_equal(model.means_, plain.means_)
    np.testing.assert_array_equal(hooks.last.predict(X), plain.predict(X))
    assert not {"_callback_fit_ctx", "_skl_callbacks_to_teardown"} & set(vars(model))


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "VEV"])
def test_the_estimator_of_an_iteration_is_fitted(covariance_type):
    hooks = Hooks()
    options = {"covariance_type": covariance_type, "tol": 0, "random_state": 0}
    GaussianMixture(2, max_iter=3, **options).set_callbacks(hooks).fit(X)
    shorter = GaussianMixture(2, max_iter=2, **options).fit(X)
    fitted = hooks.fitted[1]
    np.testing.assert_allclose(fitted.covariances_, shorter.covariances_, rtol=1e-12)
    np.testing.assert_allclose(fitted.score_samples(X), shorter.score_samples(X), rtol=1e-12)
    assert fitted.n_iter_ == 2


@pytest.mark.parametrize(
    "options",
    [{"n_short": 3, "n_init": 2}, {"n_swaps": 2}, {"max_iter": 0}, {"tol": 1e-3, "n_init": 3}],
)
def test_tasks_are_nested(options):
    hooks = Hooks()
    model = GaussianMixture(2, **{"tol": 0, "max_iter": 4, "random_state": 0} | options)
    model.set_callbacks(hooks).fit(X)
    assert balanced(hooks.calls)
    names = {call.split(" ", 1)[1].rsplit(" ", 1)[0] for call in hooks.calls if " " in call}
    assert ("short run" in names) == ("n_short" in options)


def test_a_hook_that_returns_true_stops_the_fit():
    hooks = Hooks(stop_at=2)
    model = GaussianMixture(2, n_init=3, tol=0, random_state=0).set_callbacks(hooks).fit(X)
    assert (model.n_iter_, model.restarts_[0].stopped) == (2, "callback")
    assert balanced(hooks.calls)


def test_an_error_ends_in_teardown_and_leaves_the_estimator_unchanged():
    hooks = Hooks()
    model = GaussianMixture(2, random_state=0).set_callbacks(hooks)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((9, 2), np.nan))
    assert hooks.calls == ["setup", "begin fit 0", "teardown"]
    assert vars(model) == before


def test_fit_predict_and_batches():
    for fit in (lambda m: m.fit_predict(X), lambda m: m.fit_batches([X])):
        for model in (GaussianMixture(2), BayesianGaussianMixture(n_components=2)):
            hooks = Hooks()
            fit(model.set_params(random_state=0, tol=0, max_iter=2).set_callbacks(hooks))
            assert hooks.calls.count("end iteration 1") == 1


def test_the_progress_bar_of_sklearn(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(get_console(), "file", out)
    model = GaussianMixture(2, n_init=2, max_iter=5, random_state=0)
    model.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
    text = out.getvalue()
    assert "GaussianMixture - fit" in text
    assert "GaussianMixture - start #1" in text
    assert "100%" in text


def test_the_scoring_monitor_of_sklearn():
    """It records scores only if there is a y, which a mixture ignores."""
    monitor = ScoringMonitor(scoring={"score": lambda model, X, y: model.score(X)})
    model = GaussianMixture(2, tol=0, max_iter=4, random_state=0).set_callbacks(monitor)
    model.fit(X, np.zeros(len(X)))
    scores = [r["score"] for r in monitor.get_logs().data if r["task_name"] == "iteration"]
    expected = [*model.lower_bounds_[1:], model.lower_bound_]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_meta_estimators_pass_their_callbacks_on():
    hooks = Hooks()
    hooks.max_propagation_depth = None
    search = GridSearchCV(
        make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0, max_iter=3, tol=0)),
        {"gaussianmixture__n_components": [1, 2]}, cv=2,
    ).set_callbacks(hooks)  # fmt: skip
    search.fit(X)
    assert balanced(hooks.calls)
    assert sum(call.startswith("end iteration") for call in hooks.calls) == 3 * (2 * 2 + 1)


def test_callbacks_are_copied_replaced_and_checked():
    hooks = Hooks()
    model = GaussianMixture().set_callbacks(hooks)
    assert sklearn.base.clone(model)._skl_callbacks == [hooks]
    assert len(pickle.loads(pickle.dumps(model))._skl_callbacks) == 1
    assert "_skl_callbacks" not in vars(model.set_callbacks())
    for bad in (print, Hooks):
        with pytest.raises(TypeError, match="FitCallback"):
            model.set_callbacks(bad)


def test_without_sklearn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    with pytest.raises(ImportError, match=r"set_callbacks needs scikit-learn 1\.9 or later"):
        GaussianMixture().set_callbacks()


def test_the_warning_stays():
    model = GaussianMixture(2, tol=0, max_iter=2).set_callbacks(Hooks())
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
