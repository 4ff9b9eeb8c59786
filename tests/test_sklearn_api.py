"""Tests of the base class of the estimators: parameters, printing, pickling, scikit-learn's protocols."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import UNCHANGED, get_routing_for_object
from sklearn.utils.validation import check_is_fitted

import gmm_core
from gmm_core import sklearn_api
from gmm_core.sklearn_api import Estimator

DATA = np.random.default_rng(0).normal(size=(30, 2))
WEIGHT = np.arange(1.0, 31.0)


class Gaussian(Estimator):
    """A minimal density estimator, which has one mean and the unit covariance."""

    def __init__(self, n_components=1, *, tol=1e-3, means_init=None, init_params="kmeans"):
        self.n_components = n_components
        self.tol = tol
        self.means_init = means_init
        self.init_params = init_params

    def fit(self, X, y=None, sample_weight=None):
        self.mean_ = np.average(X, axis=0, weights=sample_weight)
        return self

    def score(self, X, y=None, sample_weight=None):
        return float(np.average(-((X - self.mean_) ** 2).sum(axis=1), weights=sample_weight))


class Twin(SklearnMixture):
    """An estimator with the same signatures on scikit-learn's base, whose methods are compared with ours."""

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X)

    def score(self, X, y=None, sample_weight=None):
        return super().score(X)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# --- parameters and printing ----------------------------------------------------------------


def test_get_and_set_params():
    model = Gaussian(2, tol=0.5)
    expected = {"init_params": "kmeans", "means_init": None, "n_components": 2, "tol": 0.5}
    assert model.get_params() == model.get_params(deep=False) == expected
    assert list(model.get_params()) == sorted(expected)
    assert model.set_params(tol=0.25, n_components=3) is model
    assert (model.tol, model.n_components) == (0.25, 3)
    assert model.set_params() is model


def test_unknown_parameter_sets_nothing():
    model = Gaussian(2)
    with pytest.raises(
        ValueError, match=r"Invalid parameter 'foo' for estimator Gaussian\(n_components=2\). Valid"
    ):
        model.set_params(n_components=5, foo=1)
    assert model.n_components == 2


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_components": 2},
        {"n_components": np.int64(1)},
        {"tol": float("nan")},
        {"tol": 0.001},
        {"means_init": np.array([[0.5, 0.5]])},
        {"means_init": [[0, 1]]},
        {"init_params": "i" * 40, "means_init": "m" * 40, "n_components": 10**20, "tol": 1e-9},
        {"init_params": "i" * 54, "n_components": 2},
        {"init_params": "i" * 40, "n_components": 2, "tol": 0.5},
    ],
)
def test_prints_as_sklearn_does(params):
    theirs = type("Gaussian", (sklearn.base.BaseEstimator,), {"__init__": Gaussian.__init__})
    assert repr(Gaussian(**params)) == repr(theirs(**params))


def test_long_values_are_cut():
    text = repr(Gaussian(2, means_init=np.arange(2000.0).reshape(-1, 2)))
    assert text.startswith("Gaussian(means_init=array([[")
    assert text.endswith("n_components=2)")
    assert "..." in text and len(text) < 300
    assert len(repr(Gaussian(means_init=[0.5] * 10_000))) < 300


# --- fitted state, pickling -----------------------------------------------------------------


def test_is_fitted():
    model = Gaussian()
    assert not model.__sklearn_is_fitted__()
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(model)
    check_is_fitted(model.fit(DATA))
    by_hand = Gaussian()
    by_hand.mean_ = np.zeros(2)
    assert by_hand.__sklearn_is_fitted__()


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_have_the_same_state(copied):
    model = Gaussian(2).fit(DATA)
    twin = copied(model)
    assert vars(twin).keys() == vars(model).keys()
    np.testing.assert_array_equal(twin.mean_, model.mean_)
    assert twin.get_params() == model.get_params()


def test_pickle_records_the_version_and_another_one_warns(monkeypatch):
    assert Gaussian().__getstate__()["_gmm_core_version"] == gmm_core.__version__
    old = pickle.dumps(Gaussian(2).fit(DATA))
    monkeypatch.setattr(sklearn_api, "VERSION", "999")
    with pytest.warns(UserWarning, match="pickled by gmm_core .* read by gmm_core 999"):
        model = pickle.loads(old)
    assert model.n_components == 2


def test_clone_drops_what_was_learnt():
    means = np.zeros((1, 2))
    model = Gaussian(2, means_init=means).fit(DATA)
    twin = clone(model)
    assert not twin.__sklearn_is_fitted__()
    assert twin.n_components == 2
    np.testing.assert_array_equal(twin.means_init, means)


# --- tags and routing -----------------------------------------------------------------------


def test_tags_are_those_of_sklearns_mixture():
    assert get_tags(Gaussian()) == get_tags(SklearnMixture(init_params="kmeans"))


def test_unchanged_is_sklearns():
    assert sklearn_api._UNCHANGED == UNCHANGED


def test_request_methods_are_those_that_sklearn_generates():
    requests = [name for name in dir(Twin) if name.endswith("_request") and name[0] != "_"]
    assert [n for n in dir(Gaussian) if n.endswith("_request") and n[0] != "_"] == requests


def test_requests_need_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        Gaussian().set_fit_request(sample_weight=True)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("alias", [True, False, None, "w", "sample_weight"])
def test_requests_are_recorded_as_by_sklearn(alias):
    ours, theirs = (
        model.set_fit_request(sample_weight=alias).set_score_request(sample_weight=True)
        for model in (Gaussian(), Twin())
    )
    expected = str(get_routing_for_object(theirs))
    assert str(get_routing_for_object(ours)) == expected
    for copied in (clone(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert str(get_routing_for_object(copied.set_fit_request())) == expected
    assert str(get_routing_for_object(Gaussian())) == str(get_routing_for_object(Twin()))


@pytest.mark.usefixtures("routing")
def test_bad_requests():
    with pytest.raises(TypeError, match="foo"):
        Gaussian().set_fit_request(foo=True)
    with pytest.raises(ValueError, match="should be either a valid identifier"):
        Gaussian().set_score_request(sample_weight="not a name")
    with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="sample_weight"):
        cross_val_score(Gaussian(), DATA, params={"sample_weight": WEIGHT})


def pipeline(gaussian, scaler=None):
    return Pipeline([("scale", scaler or StandardScaler(with_std=False)), ("g", gaussian)])


def test_weights_reach_a_pipeline_without_routing():
    model = pipeline(Gaussian()).fit(DATA, g__sample_weight=WEIGHT)
    centred = DATA - DATA.mean(axis=0)
    np.testing.assert_allclose(model["g"].mean_, np.average(centred, axis=0, weights=WEIGHT))


@pytest.mark.usefixtures("routing")
def test_weights_reach_a_pipeline_with_routing():
    gaussian = Gaussian().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    scaler = StandardScaler(with_std=False).set_fit_request(sample_weight=False)
    model = pipeline(gaussian, scaler).fit(DATA, sample_weight=WEIGHT)
    centred = DATA - DATA.mean(axis=0)
    mean = np.average(centred, axis=0, weights=WEIGHT)
    np.testing.assert_allclose(model["g"].mean_, mean)
    assert model.score(DATA, sample_weight=WEIGHT) == pytest.approx(
        -np.average(((centred - mean) ** 2).sum(axis=1), weights=WEIGHT)
    )


def expected_scores(fit_weight, score_weight):
    """Compute the scores of three folds by direct calls."""
    scores = []
    for test in np.split(np.arange(30), 3):
        train = np.setdiff1d(np.arange(30), test)
        model = Gaussian().fit(DATA[train], sample_weight=fit_weight[train])
        scores.append(model.score(DATA[test], sample_weight=score_weight[test]))
    return scores


def test_cross_validation_and_search_without_routing():
    scores = cross_val_score(Gaussian(), DATA, cv=3, params={"sample_weight": WEIGHT})
    np.testing.assert_allclose(scores, expected_scores(WEIGHT, np.ones(30)))
    search = GridSearchCV(Gaussian(), {"n_components": [1, 2]}, cv=3).fit(DATA)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"],
        np.mean(expected_scores(np.ones(30), np.ones(30))),
    )


@pytest.mark.usefixtures("routing")
def test_cross_validation_and_search_with_routing():
    model = Gaussian().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    expected = expected_scores(WEIGHT, WEIGHT)
    scores = cross_val_score(model, DATA, cv=3, params={"sample_weight": WEIGHT})
    np.testing.assert_allclose(scores, expected)
    search = GridSearchCV(model, {"tol": [0.1, 0.2]}, cv=3).fit(DATA, sample_weight=WEIGHT)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], np.mean(expected))
