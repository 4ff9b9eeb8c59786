"""Tests of the estimator in scikit-learn's pipelines, searches and routing, with data frames, and in scripts.

Expected values are computed by direct calls of fit and score. test_sklearn_api.py tests the protocols themselves.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from gmm_core import BayesianGaussianMixture, GaussianMixture

RNG = np.random.default_rng(0)
N = 240
X = RNG.normal(size=(N, 2)) * [1, 10] + 5 * RNG.integers(3, size=(N, 1))
WEIGHT = RNG.integers(0, 4, N).astype(float)
CV = KFold(3)
# The same sums in another order differ by N · eps, which EM and cond(Σ) < 100 amplify.
RTOL = 1e-10


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def mixture(n_components=2, **params):
    return GaussianMixture(n_components, random_state=0, reg_covar=1e-3, **params)


def scores_by_hand(model, fit_weight=None, score_weight=None):
    """Return the score of each fold."""
    scores = []
    for train, test in CV.split(X):
        w, v = (None if a is None else a[i] for a, i in ((fit_weight, train), (score_weight, test)))
        fitted = clone(model).fit(X[train], sample_weight=w)
        scores.append(fitted.score(X[test], sample_weight=v))
    return np.array(scores)


# --- clone, pipeline, search ----------------------------------------------------------------


def test_clone_is_unfitted_with_the_same_parameters():
    model = mixture(3, covariance_type="diag", n_threads=2, means_init=X[:3]).fit(X)
    twin = clone(model)
    assert twin.get_params().keys() == model.get_params().keys()
    assert all(np.all(twin.get_params()[name] == v) for name, v in model.get_params().items())
    with pytest.raises(NotFittedError):
        check_is_fitted(twin)
    assert twin.fit(X).lower_bound_ == model.lower_bound_


def test_pipeline():
    model = make_pipeline(StandardScaler(), mixture()).fit(X)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = mixture().fit(Z)
    for method in ("predict", "predict_proba", "score_samples", "score"):
        got = getattr(model, method)(X)
        np.testing.assert_allclose(got, getattr(expected, method)(Z), rtol=RTOL)
    np.testing.assert_array_equal(model.fit_predict(X), expected.predict(Z))


def test_weights_through_a_pipeline():
    model = Pipeline([("scale", StandardScaler(with_std=False)), ("gmm", mixture())])
    model.fit(X, gmm__sample_weight=WEIGHT)
    centred = X - X.mean(axis=0)
    expected = mixture().fit(np.repeat(centred, WEIGHT.astype(int), axis=0))
    np.testing.assert_allclose(model["gmm"].means_, expected.means_, rtol=RTOL)
    labels = model.fit_predict(X, gmm__sample_weight=WEIGHT)
    np.testing.assert_array_equal(labels, expected.predict(centred))


def test_cross_val_score():
    expected = scores_by_hand(mixture())
    np.testing.assert_array_equal(cross_val_score(mixture(), X, cv=CV), expected)
    weighted = cross_val_score(mixture(), X, cv=CV, params={"sample_weight": WEIGHT})
    np.testing.assert_array_equal(weighted, scores_by_hand(mixture(), WEIGHT))
    assert abs(weighted - expected).min() > 1e-4
    # the scores are those of scikit-learn's class, which has the same k-means starts up to rounding
    theirs = cross_val_score(SklearnMixture(1, reg_covar=1e-3), X, cv=CV)
    np.testing.assert_allclose(cross_val_score(mixture(1), X, cv=CV), theirs, rtol=RTOL)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search(n_jobs):
    grid = {"n_components": [1, 2, 3], "covariance_type": ["full", "spherical"]}
    search = GridSearchCV(mixture(), grid, cv=CV, n_jobs=n_jobs).fit(X)
    expected = [scores_by_hand(mixture(**params)).mean() for params in search.cv_results_["params"]]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=RTOL)
    assert search.best_params_ == search.cv_results_["params"][int(np.argmax(expected))]
    assert search.best_estimator_.converged_ and search.predict(X).shape == (N,)


def test_grid_search_by_bic():
    def negative_bic(model, samples, y=None):
        return -model.bic(samples)

    search = GridSearchCV(
        mixture(),
        {"n_components": range(1, 5)},
        scoring=negative_bic,
        cv=[(np.arange(N), np.arange(N))],
    ).fit(X)
    bics = [mixture(k).fit(X).bic(X) for k in range(1, 5)]
    assert search.best_params_["n_components"] == 1 + int(np.argmin(bics))


# --- metadata routing -----------------------------------------------------------------------


@pytest.mark.usefixtures("routing")
def test_routed_weights_in_cross_validation():
    plain = mixture()
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        cross_val_score(plain, X, cv=CV, params={"sample_weight": WEIGHT})
    for to_fit, to_score in ((True, True), (True, False), (False, True)):
        model = clone(plain).set_fit_request(sample_weight=to_fit)
        model.set_score_request(sample_weight=to_score)
        result = cross_validate(
            model, X, cv=CV, params={"sample_weight": WEIGHT}, return_estimator=True
        )
        expected = scores_by_hand(plain, WEIGHT if to_fit else None, WEIGHT if to_score else None)
        np.testing.assert_array_equal(result["test_score"], expected)
        assert all(e.get_params() == plain.get_params() for e in result["estimator"])


@pytest.mark.usefixtures("routing")
def test_routed_weights_under_another_name_in_a_search():
    model = mixture().set_fit_request(sample_weight="mass").set_score_request(sample_weight="mass")
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=CV).fit(X, mass=WEIGHT)
    for k, score in zip((1, 2), search.cv_results_["mean_test_score"], strict=True):
        expected = scores_by_hand(mixture(k), WEIGHT, WEIGHT).mean()
        assert score == pytest.approx(expected, rel=RTOL)
    best = mixture(**search.best_params_).fit(X, sample_weight=WEIGHT)
    np.testing.assert_array_equal(search.best_estimator_.means_, best.means_)
    assert search.score(X, mass=WEIGHT) == best.score(X, sample_weight=WEIGHT)


@pytest.mark.usefixtures("routing")
def test_routed_weights_in_a_pipeline():
    gmm = mixture().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    scaler = StandardScaler().set_fit_request(sample_weight=True)
    model = make_pipeline(scaler, gmm).fit(X, sample_weight=WEIGHT)
    repeated = np.repeat(X, WEIGHT.astype(int), axis=0)
    expected = make_pipeline(StandardScaler(), mixture()).fit(repeated)
    np.testing.assert_allclose(model[-1].means_, expected[-1].means_, rtol=RTOL, atol=RTOL)
    assert model.score(X, sample_weight=WEIGHT) == pytest.approx(expected.score(repeated), rel=RTOL)


NOISE = np.einsum("nij,nlj->nil", *[RNG.normal(size=(N, 2, 2))] * 2)


def noisy_scores_by_hand(model, to_fit, to_score, noise=NOISE):
    """Return the score of each fold, with noise in `fit` or in `score` or in both."""
    scores = []
    for train, test in CV.split(X):
        fitted = clone(model).fit(X[train], noise_covariance=noise[train] if to_fit else None)
        scores.append(fitted.score(X[test], noise_covariance=noise[test] if to_score else None))
    return np.array(scores)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("noise", [NOISE, np.einsum("nii->ni", NOISE)], ids=["covariances", "variances"])
def test_routed_noise_in_cross_validation(noise):
    plain = mixture()
    with pytest.raises(UnsetMetadataPassedError, match="noise_covariance"):
        cross_val_score(plain, X, cv=CV, params={"noise_covariance": noise})
    for to_fit, to_score in ((True, True), (True, False), (False, True)):
        model = clone(plain).set_fit_request(noise_covariance=to_fit)
        model.set_score_request(noise_covariance=to_score)
        result = cross_validate(model, X, cv=CV, params={"noise_covariance": noise})
        expected = noisy_scores_by_hand(plain, to_fit, to_score, noise)
        np.testing.assert_array_equal(result["test_score"], expected)


@pytest.mark.usefixtures("routing")
def test_routed_noise_and_weights_in_a_search():
    model = mixture().set_fit_request(noise_covariance="S", sample_weight=True)
    model.set_score_request(noise_covariance="S", sample_weight=False)
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=CV)
    search.fit(X, S=NOISE, sample_weight=np.ones(N))
    for k, score in zip((1, 2), search.cv_results_["mean_test_score"], strict=True):
        assert score == pytest.approx(noisy_scores_by_hand(mixture(k), True, True).mean(), rel=RTOL)
    best = mixture(**search.best_params_).fit(X, noise_covariance=NOISE, sample_weight=np.ones(N))
    np.testing.assert_array_equal(search.best_estimator_.means_, best.means_)
    assert search.score(X, S=NOISE) == best.score(X, noise_covariance=NOISE)


@pytest.mark.usefixtures("routing")
def test_routed_noise_in_a_pipeline():
    gmm = mixture().set_fit_request(noise_covariance=True).set_score_request(noise_covariance=True)
    model = make_pipeline(StandardScaler(with_std=False), gmm).fit(X, noise_covariance=NOISE)
    Z = X - X.mean(axis=0)
    expected = mixture().fit(Z, noise_covariance=NOISE)
    np.testing.assert_allclose(model[-1].means_, expected.means_, rtol=RTOL, atol=RTOL)
    score = model.score(X, noise_covariance=NOISE)
    assert score == pytest.approx(expected.score(Z, noise_covariance=NOISE), rel=RTOL)


@pytest.mark.usefixtures("routing")
def test_only_what_takes_noise_can_request_it():
    with pytest.raises(TypeError, match="noise_covariance.*takes the metadata sample_weight$"):
        BayesianGaussianMixture().set_fit_request(noise_covariance=True)
    assert BayesianGaussianMixture().get_metadata_routing().fit.requests == {"sample_weight": None}


# --- data frames ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [lambda: pd.DataFrame(X, columns=["a", "b"]), lambda: pl.DataFrame(X, ["a", "b"])],
    ids=["pandas", "polars"],
)
def test_frames(make):
    frame = make()
    model, expected = mixture().fit(frame), mixture().fit(X)
    theirs = SklearnMixture(2, random_state=0).fit(frame)
    np.testing.assert_array_equal(model.feature_names_in_, theirs.feature_names_in_)
    assert model.feature_names_in_.dtype == theirs.feature_names_in_.dtype
    for method in ("predict", "predict_proba", "score_samples", "score", "bic", "aic"):
        np.testing.assert_array_equal(getattr(model, method)(frame), getattr(expected, method)(X))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="same order"):
        model.predict(frame[["b", "a"]])
    assert not hasattr(model.fit(X), "feature_names_in_")  # a new fit removes the names of the last one


def test_set_output_of_other_steps():
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = make_pipeline(StandardScaler().set_output(transform="pandas"), mixture()).fit(frame)
    assert list(model[-1].feature_names_in_) == ["a", "b"]
    assert model.predict(frame).shape == (N,)


# --- a script with the import line changed --------------------------------------------------

SCRIPT = """
import numpy as np
from {module} import GaussianMixture
X = np.random.RandomState(0).normal(size=(200, 2)) + 6 * (np.arange(200) % 2)[:, None]
best = min((GaussianMixture(k, covariance_type=t, random_state=1, n_init=2).fit(X)
            for k in (1, 2, 3) for t in ("tied", "diag")), key=lambda g: g.bic(X))
print(best)
print(best.covariance_type, best.n_components, best.converged_, best.n_features_in_)
print(np.round(best.bic(X), 6), np.round(best.score(X), 9), best.predict(X[:6]) == best.predict(X[0:1]))
print(best.means_.round(9).tolist(), best.predict_proba(X[:2]).round(9).tolist())
try: best.predict(X[:, :1])
except ValueError as error: print(error)
try: GaussianMixture().predict(X)
except Exception as error: print(type(error).__name__, error)
try: GaussianMixture(n_components=0).fit(X)
except ValueError as error: print(error)
"""


def test_a_script_prints_the_same_after_the_import_is_changed():
    printed = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT.format(module=module)],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        ).stdout
        for module in ("gmm_core", "sklearn.mixture")
    ]
    assert printed[0] == printed[1]
    assert printed[0].count("\n") == 8


def test_names_warning_points_at_the_caller():
    X = np.random.default_rng(0).normal(size=(100, 2))
    import pandas as pd

    m = GaussianMixture(2, random_state=0).fit(pd.DataFrame(X, columns=["a", "b"]))
    for method in (m.predict, m.predict_proba, m.score_samples, m.score, m.bic):
        with pytest.warns(UserWarning, match="valid feature names") as caught:
            method(X)
        assert caught[0].filename == __file__, method
