"""Tests of the Bayesian mixture: reference values, scikit-learn's class beside ours, its components.

`model/test_posterior.py` tests the bounds and the predictive density, `fit/test_bayesian.py` the hard cases.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.mixture import BayesianGaussianMixture as SklearnBayesian
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gmm_core import BayesianGaussianMixture, GaussianMixture

VALUES = Path(__file__).parent / "values"
with zipfile.ZipFile(VALUES / "bayes.zip") as archive:
    REFERENCE = [json.loads(archive.read(name)) for name in ("small_K3.json", "faithful_K4.json")]
FAITHFUL = np.loadtxt(VALUES / "mclust" / "faithful.csv", delimiter=",", skiprows=1)

TYPES = ["full", "tied", "diag", "spherical"]
PRIOR_TYPES = ["dirichlet_process", "dirichlet_distribution"]
PARAMETERS = [
    "weight_concentration_", "mean_precision_", "means_", "degrees_of_freedom_", "covariances_",
    "weights_", "precisions_", "precisions_cholesky_",
]
# Relative to the largest entry; what rounding becomes in 50 or 200 iterations is much smaller.
TOLERANCE = 1e-8
ignore_no_convergence = pytest.mark.filterwarnings("ignore:Best performing initialization did not")
all_types = pytest.mark.parametrize("covariance_type", TYPES)
both_priors = pytest.mark.parametrize("prior_type", PRIOR_TYPES)
both_posteriors = pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])


class FromResponsibilities(SklearnBayesian):
    """scikit-learn's class with a start of given responsibilities.

    If these are of single samples, scikit-learn's tied covariance has squares of all samples about
    0, and ours none.
    """

    def _initialize_parameters(self, X, random_state, xp=None):
        r = self.responsibilities
        if self.covariance_type == "tied" and r.sum() == self.n_components < len(X):
            self._estimate_weights(r.sum(axis=0))
            self._estimate_means(r.sum(axis=0), r.T @ X)
            self._estimate_precisions(r.sum(axis=0), r.T @ X, self.reg_covar * np.eye(X.shape[1]))
        else:
            self._initialize(X, r)


def theirs(responsibilities, **params):
    model = FromResponsibilities(**params)
    model.responsibilities = responsibilities
    return model


def one_hot(labels, n_components):
    return np.eye(n_components)[labels]


def assert_same(got, truth, rtol=TOLERANCE):
    got, truth = np.asarray(got, float), np.asarray(truth, float)
    np.testing.assert_allclose(got, truth, rtol=0, atol=rtol * abs(truth).max())


# --- reference values -------------------------------------------------------------------------

CASES = [
    pytest.param(data, case, id="-".join(
        [data["dataset"], case["weight_concentration_prior_type"], case["covariance_type"]]
    ))
    for data in REFERENCE for case in data["cases"]
]  # fmt: skip


def fit_case(data, case, n_iter, posterior):
    responsibilities = one_hot(data["labels"], data["K"])
    return BayesianGaussianMixture(
        n_components=data["K"], covariance_type=case["covariance_type"], reg_covar=0, tol=0,
        weight_concentration_prior_type=case["weight_concentration_prior_type"], max_iter=n_iter,
        init_params=lambda X, K, random_state: responsibilities, posterior=posterior,
        **data["priors"],
    ).fit(data["X"])  # fmt: skip


@ignore_no_convergence
@pytest.mark.parametrize(("data", "case"), CASES)
@both_posteriors
@pytest.mark.parametrize("n_iter", [0, 1, 5, 50])
def test_parameters_and_bounds_of_reference(data, case, posterior, n_iter):
    model = fit_case(data, case, n_iter, posterior)
    truth = case["sklearn" if posterior == "scikit-learn" else "exact"][str(n_iter)]
    for name in PARAMETERS[:6]:
        assert_same(getattr(model, name), truth[name[:-1]])
    if n_iter == 0:
        return
    if posterior == "scikit-learn":
        assert model.lower_bound_ == pytest.approx(truth["lower_bound_"], rel=TOLERANCE)
        np.testing.assert_allclose(model.lower_bounds_, truth["lower_bounds_"], rtol=TOLERANCE)
        if case["covariance_type"] == "full":  # the posteriors are the same
            constant = case["constant_that_lower_bound_leaves_out"]
            assert model.elbo_ == pytest.approx(model.lower_bound_ + constant, rel=TOLERANCE)
    else:
        assert model.lower_bound_ == model.elbo_
        assert model.elbo_ == pytest.approx(truth["elbo"], rel=TOLERANCE)
        bounds = case["exact"]["elbos_0_to_50"][1 : n_iter + 1]
        np.testing.assert_allclose(model.lower_bounds_, bounds, rtol=TOLERANCE)


# --- beside scikit-learn ----------------------------------------------------------------------


def simulated():
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(3, 4, 4))
    labels = rng.integers(3, size=400)
    noise = np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(400, 4)))
    return 3 * rng.normal(size=(3, 4))[labels] + noise


DATA = {
    "iris": (load_iris().data, 5),
    "wine": (load_wine().data, 4),
    "faithful": (FAITHFUL, 6),
    "simulated": (simulated(), 5),
}


def assert_follows(model, other):
    """Assert that two fits have the same iterates, bounds and parameters."""
    assert model.n_iter_ == other.n_iter_
    assert model.converged_ == other.converged_
    # for 'tied', scikit-learn's bounds are arrays of one number
    bounds = np.ravel(other.lower_bounds_)
    np.testing.assert_allclose(model.lower_bounds_, bounds, rtol=TOLERANCE)
    assert model.lower_bound_ == pytest.approx(np.squeeze(other.lower_bound_), rel=TOLERANCE)
    for name in PARAMETERS:
        assert_same(getattr(model, name), getattr(other, name))
    for name in ("weight_concentration", "mean_precision", "mean", "degrees_of_freedom", "covariance"):
        prior = f"{name}_prior_"
        assert_same(getattr(model, prior), getattr(other, prior), rtol=1e-13)
        assert np.shape(getattr(model, prior)) == np.shape(getattr(other, prior))


@ignore_no_convergence
@pytest.mark.parametrize("name", DATA)
@all_types
@both_priors
@pytest.mark.parametrize("start", ["labels", "responsibilities", "random_from_data", "k-means++"])
def test_follows_sklearn_iterate_by_iterate(name, covariance_type, prior_type, start):
    X, K = DATA[name]
    params = {
        "n_components": K, "covariance_type": covariance_type, "max_iter": 60, "random_state": 0,
        "weight_concentration_prior_type": prior_type,
    }
    given = start
    if start == "labels":
        labels = GaussianMixture(K, max_iter=0, random_state=0).fit(X).predict(X)
        responsibilities = one_hot(labels, K)
    elif start == "responsibilities":
        responsibilities = np.random.default_rng(0).dirichlet(np.ones(K), size=len(X))
    else:  # the samples that our start has drawn; the mean of each component is on a line to one
        begun = BayesianGaussianMixture(**params | {"max_iter": 0}, init_params=start).fit(X)
        drawn = 2 * begun.means_ - begun.mean_prior_
        rows = np.argmin(((X - drawn[:, None]) ** 2).sum(axis=2), axis=1)
        responsibilities = one_hot(rows, len(X)).T
    if start in ("labels", "responsibilities"):
        given = lambda X, K, random_state: labels if start == "labels" else responsibilities  # noqa: E731
    model = BayesianGaussianMixture(**params, init_params=given).fit(X)
    other = theirs(responsibilities, **params).fit(X)
    assert_follows(model, other)
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    # log-densities have errors of eps · cond(Σ), and those of the parameters
    np.testing.assert_allclose(model.score_samples(X), other.score_samples(X), rtol=1e-7)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=1e-7)
    assert model.score(X) == pytest.approx(other.score(X), rel=1e-7)


@all_types
@both_priors
def test_follows_sklearn_with_priors_of_the_user(covariance_type, prior_type):
    X, K = DATA["simulated"]
    covariance = {"full": np.cov(X.T), "tied": np.cov(X.T), "diag": X.var(axis=0), "spherical": 2.5}
    params = {
        "n_components": K, "covariance_type": covariance_type, "reg_covar": 0.01,
        "weight_concentration_prior_type": prior_type, "weight_concentration_prior": 3.0,
        "mean_precision_prior": 0.2, "mean_prior": [1.0, -2.0, 0.0, 5.0], "max_iter": 500,
        "degrees_of_freedom_prior": 7.5, "covariance_prior": covariance[covariance_type],
    }
    responsibilities = np.random.default_rng(1).dirichlet(np.ones(K), size=len(X))
    model = BayesianGaussianMixture(**params, init_params=lambda *_: responsibilities).fit(X)
    assert model.converged_
    assert_follows(model, theirs(responsibilities, **params).fit(X))


@all_types
def test_one_component_needs_no_start(covariance_type):
    X = DATA["iris"][0]
    params = {"covariance_type": covariance_type, "random_state": 0}
    assert_follows(BayesianGaussianMixture(**params).fit(X), SklearnBayesian(**params).fit(X))


def test_constructor_has_sklearns_parameters_and_defaults():
    ours, others = BayesianGaussianMixture().get_params(), SklearnBayesian().get_params()
    assert {name: ours[name] for name in others} == others
    assert not hasattr(BayesianGaussianMixture, "bic")
    assert not hasattr(BayesianGaussianMixture, "aic")


@ignore_no_convergence
def test_warm_start_continues_as_sklearn_does():
    X, K = DATA["faithful"]
    responsibilities = np.random.default_rng(0).dirichlet(np.ones(K), size=len(X))
    params = {"n_components": K, "max_iter": 3, "warm_start": True}
    model = BayesianGaussianMixture(**params, init_params=lambda *_: responsibilities)
    other = theirs(responsibilities, **params)
    for _ in range(3):
        assert_follows(model.fit(X), other.fit(X))


def test_concentration_of_the_column_case_follows_sklearn():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=300), rng.normal(10, 3, size=200), rng.exponential(size=500)])
    X = X[:, None]
    labels = GaussianMixture(10, max_iter=0, random_state=0).fit(X).predict(X)
    params = {"n_components": 10, "weight_concentration_prior": 1e-3, "max_iter": 300}
    model = BayesianGaussianMixture(**params, init_params=lambda *_: labels).fit(X)
    assert model.converged_
    assert_follows(model, theirs(one_hot(labels, 10), **params).fit(X))


@all_types
def test_more_components_than_distinct_samples(covariance_type):
    X = np.repeat([[0.0, 1.0], [5.0, 2.0], [1.0, 7.0]], 10, axis=0)
    labels = np.arange(30) % 6
    params = {"n_components": 6, "covariance_type": covariance_type, "max_iter": 1000}
    model = BayesianGaussianMixture(**params, init_params=lambda *_: labels).fit(X)
    assert_follows(model, theirs(one_hot(labels, 6), **params).fit(X))


# --- which components hold samples ------------------------------------------------------------


def three_groups(n=300, D=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, D)) + 12 * np.eye(3, D)[np.arange(n) % 3]


@both_posteriors
@all_types
@both_priors
def test_components_that_are_not_needed_become_empty(covariance_type, prior_type, posterior):
    model = BayesianGaussianMixture(
        n_components=8, covariance_type=covariance_type, posterior=posterior, max_iter=2000,
        weight_concentration_prior_type=prior_type, weight_concentration_prior=1e-3,
        random_state=0, tol=1e-6,
    ).fit(three_groups())  # fmt: skip
    counts = model.mean_precision_ - model.mean_precision_prior_
    assert counts.sum() == pytest.approx(300, rel=1e-12)
    assert model.n_components_ == (counts >= 0.5).sum() == 3
    plain = model.to_gaussian_mixture()
    held = counts >= 0.5
    assert type(plain) is GaussianMixture
    assert plain.n_components == 3 and plain.covariance_type == covariance_type
    np.testing.assert_array_equal(plain.means_, model.means_[held])
    np.testing.assert_allclose(plain.weights_, model.weights_[held] / model.weights_[held].sum())
    expected = model.covariances_ if covariance_type == "tied" else model.covariances_[held]
    np.testing.assert_array_equal(plain.covariances_, expected)
    X = three_groups()
    np.testing.assert_array_equal(plain.predict(X), (np.cumsum(held) - 1)[model.predict(X)])
    samples, labels = plain.sample(10)
    assert samples.shape == (10, 2) and labels.max() < 3


@both_priors
@pytest.mark.parametrize("huge", ["mean_precision_prior", "weight_concentration_prior"])
def test_counts_do_not_drown_in_a_huge_prior(prior_type, huge):
    """A count of 100 is lost in a parameter of 1e20."""
    X = three_groups()
    labels = np.arange(300) % 3
    model = BayesianGaussianMixture(
        n_components=3, weight_concentration_prior_type=prior_type, **{huge: 1e20},
        init_params=lambda *_: labels, max_iter=500,
    ).fit(X)  # fmt: skip
    expected = (model.predict_proba(X).sum(axis=0) >= 0.5).sum()
    assert model.n_components_ == expected >= 1
    assert model.to_gaussian_mixture().n_components == expected


def test_unfitted_model_has_no_count():
    model = BayesianGaussianMixture()
    for use in (lambda: model.n_components_, model.to_gaussian_mixture, lambda: model.predict([[0.0]])):
        with pytest.raises(ValueError, match="not fitted"):
            use()


# --- grids of options -------------------------------------------------------------------------


@all_types
@both_posteriors
def test_weights_are_repetitions(covariance_type, posterior):
    X = DATA["simulated"][0]
    weight = np.random.default_rng(0).integers(0, 4, size=len(X))
    labels = np.arange(len(X)) % 3
    params = {"n_components": 3, "covariance_type": covariance_type, "posterior": posterior}
    weighted = BayesianGaussianMixture(**params, init_params=lambda *_: labels).fit(
        X, sample_weight=weight
    )
    repeated = BayesianGaussianMixture(
        **params, init_params=lambda *_: np.repeat(labels, weight)
    ).fit(np.repeat(X, weight, axis=0))
    assert_follows(weighted, repeated)
    assert weighted.elbo_ == pytest.approx(repeated.elbo_, rel=1e-9)


@all_types
@both_posteriors
def test_threads_and_batches_have_the_same_bits(covariance_type, posterior):
    X = np.random.default_rng(0).normal(size=(20_000, 3)) + 4 * (np.arange(20_000) % 3)[:, None]
    params = {
        "n_components": 5, "covariance_type": covariance_type, "posterior": posterior,
        "random_state": 0, "max_iter": 200, "tol": 0.1,
    }
    one = BayesianGaussianMixture(**params, n_threads=1).fit(X)
    two = BayesianGaussianMixture(**params, n_threads=2).fit(X)
    batches = BayesianGaussianMixture(**params).fit_batches(np.array_split(X, 7))
    for other in (two, batches):
        assert (one.n_iter_, one.lower_bound_, one.elbo_) == (
            other.n_iter_, other.lower_bound_, other.elbo_
        )
        for name in PARAMETERS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32(covariance_type):
    X = three_groups().astype(np.float32)
    model = BayesianGaussianMixture(n_components=3, covariance_type=covariance_type, random_state=0)
    labels = np.arange(300) % 3
    model.set_params(init_params=lambda *_: labels).fit(X)
    wide = BayesianGaussianMixture(**model.get_params()).fit(X.astype(np.float64))
    for name in PARAMETERS:
        of_mixture = name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
        assert np.asarray(getattr(model, name)).dtype == (np.float32 if of_mixture else np.float64)
        assert_same(getattr(model, name), getattr(wide, name), rtol=1e-4)
    assert model.score_samples(X).dtype == np.float32
    assert model.log_predictive(X).dtype == np.float64


# --- scikit-learn's tools ---------------------------------------------------------------------


def test_frames_pipelines_and_searches():
    X = DATA["simulated"][0]
    frame = pd.DataFrame(X, columns=list("abcd"))
    weight = np.random.default_rng(0).integers(1, 4, size=len(X)).astype(float)
    model = BayesianGaussianMixture(n_components=3, random_state=0, max_iter=1000)
    fitted = model.fit(frame)
    assert list(fitted.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="same order"):
        fitted.log_predictive(frame[["b", "a", "c", "d"]])
    pipeline = Pipeline([("scale", StandardScaler(with_std=False)), ("model", clone(model))])
    pipeline.fit(X, model__sample_weight=weight)
    expected = clone(model).fit(X - X.mean(axis=0), sample_weight=weight)
    np.testing.assert_array_equal(pipeline["model"].means_, expected.means_)
    search = GridSearchCV(model, {"n_components": [1, 3]}, cv=3).fit(X)
    assert search.best_params_ == {"n_components": 3}
