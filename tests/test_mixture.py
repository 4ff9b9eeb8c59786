"""Tests of the estimator as its users see it: interface, scores, sampling.

Names, shapes and dtypes are compared with scikit-learn's, and values with those of `gmm_core.reference`.
"""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as SklearnMixture

import gmm_core
from gmm_core import GaussianMixture, reference
from gmm_core.data.arrays import ArrayPass

EPS = np.finfo(np.float64).eps
TYPES = ["full", "tied", "diag", "spherical"]
COVARIANCES = ["covariances_", "precisions_", "precisions_cholesky_"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
K, D, N = 3, 2, 300
METHODS = [
    *("fit", "fit_predict", "predict", "predict_proba", "score", "score_samples"),
    *("sample", "bic", "aic", "get_params", "set_params"),
]


def data(seed=0, dtype=np.float64):
    """Return three groups, two of which overlap, with means within 7 of 0 and correlations of 0.8."""
    rng = np.random.default_rng(seed)
    means = np.array([[0.0, 0], [2, 1], [-5, 4]])
    noise = rng.normal(size=(N, D)) @ [[1, 0.8], [0, 0.6]]
    return (means[rng.integers(K, size=N)] + noise).astype(dtype)


def fitted(covariance_type="full", dtype=np.float64, cls=GaussianMixture, **params):
    params = {"n_components": K, "covariance_type": covariance_type, "random_state": 0, **params}
    return cls(**params).fit(data(dtype=dtype))


def reference_parameters(model):
    return model.weights_, model.means_, model.precisions_cholesky_, model.covariance_type


# --- the interface --------------------------------------------------------------------------


def test_constructor_begins_with_that_of_sklearn():
    ours = list(inspect.signature(GaussianMixture.__init__).parameters.values())
    theirs = list(inspect.signature(SklearnMixture.__init__).parameters.values())
    n = len(theirs)
    assert [(p.name, p.kind, p.default) for p in ours[:n]] == [
        (p.name, p.kind, p.default) for p in theirs
    ]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in ours[n:])
    assert {p.name: p.default for p in ours[n:]}["n_threads"] is None


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_the_arguments_of_sklearn_and_then_others(name):
    ours, theirs = (
        [
            (p.name, p.kind, p.default)
            for p in inspect.signature(getattr(c, name)).parameters.values()
        ]
        for c in (GaussianMixture, SklearnMixture)
    )
    weighted = name in ("fit", "fit_predict", "score", "bic", "aic")
    extra = ["sample_weight"] * weighted + ["noise_covariance"] * (
        name not in ("sample", "get_params", "set_params")
    )
    extra += ["out"] * (name in ("predict", "predict_proba", "score_samples"))
    assert ours == theirs + [(e, inspect.Parameter.POSITIONAL_OR_KEYWORD, None) for e in extra]


def test_nothing_public_of_sklearn_is_missing():
    public = {name for name in dir(SklearnMixture) if not name.startswith("_")}
    assert public <= set(dir(GaussianMixture))


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attributes_and_results_have_the_shapes_and_dtypes_of_sklearn(covariance_type, dtype):
    X = data(dtype=dtype)
    ours = fitted(covariance_type, dtype)
    theirs = fitted(covariance_type, dtype, SklearnMixture)
    parameters = inspect.signature(GaussianMixture.__init__).parameters.keys() - {"self"}
    assert set(vars(ours)) == set(vars(theirs)) | parameters | {"restarts_", "n_samples_seen_"}
    for name in ("weights_", "means_", *COVARIANCES):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype), name
    for name in ("converged_", "n_iter_", "lower_bound_", "n_features_in_"):
        assert isinstance(getattr(ours, name), type(getattr(theirs, name)) | float), name
    assert isinstance(ours.lower_bounds_, list)
    for name in ("predict", "predict_proba", "score_samples"):
        for samples in (X, X.astype(np.float32), X.astype(np.float64)):
            mine, other = getattr(ours, name)(samples), getattr(theirs, name)(samples)
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype), name
    assert ours.fit_predict(X).dtype == theirs.fit_predict(X).dtype
    for name in ("score", "bic", "aic"):
        assert isinstance(getattr(ours, name)(X), float)
    assert ours._n_parameters() == theirs._n_parameters()


def test_before_fit():
    model = GaussianMixture()
    for name in ("predict", "predict_proba", "score", "score_samples", "bic", "aic"):
        with pytest.raises(ValueError, match="not fitted"):
            getattr(model, name)(data())
    with pytest.raises(ValueError, match="not fitted"):
        model.sample()
    for name in ("means_", *COVARIANCES):
        assert not hasattr(model, name)


# --- scores ---------------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_those_of_the_reference(covariance_type, dtype):
    # A log-density is a sum of about D² + D + 2 terms of size up to ‖y‖², which is below 15² here. Each has an
    # error of a few eps, so 100 · eps · (1 + |log p|) is several times the error.
    model, X = fitted(covariance_type, dtype), data(dtype=dtype)
    weights, means, factors, _ = reference_parameters(model)
    expected, r = reference.expectation_step(
        *(a.astype(np.float64) for a in (X, weights, means, factors)), covariance_type
    )
    bound = 100 * np.finfo(dtype).eps * (1 + abs(expected))
    assert (abs(model.score_samples(X) - expected) <= bound).all()
    # d r / d log p ≤ 1/4 for each log-density that r depends on
    assert (abs(model.predict_proba(X) - r).max(axis=1) <= bound).all()
    sure = np.sort(r)[:, -1] - np.sort(r)[:, -2] > 2 * bound
    assert sure.sum() > 0.9 * N
    np.testing.assert_array_equal(model.predict(X)[sure], r.argmax(axis=1)[sure])
    assert abs(model.score(X) - expected.mean()) <= bound.mean()


@all_types
def test_information_criteria(covariance_type):
    model, X = fitted(covariance_type), data()
    n_parameters = (
        {"full": 9, "tied": 3, "diag": 6, "spherical": 3}[covariance_type] + K * D + K - 1
    )
    assert model._n_parameters() == n_parameters
    log_likelihood = reference.log_likelihood(X, *reference_parameters(model)).sum()
    rtol = N * EPS  # the error of a sum of N terms of the same sign
    expected = -2 * log_likelihood
    assert model.bic(X) == pytest.approx(expected + math.log(N) * n_parameters, rel=rtol)
    assert model.aic(X) == pytest.approx(expected + 2 * n_parameters, rel=rtol)


@pytest.mark.parametrize("method", ["score", "bic", "aic"])
def test_scores_with_weights_are_those_of_repeated_rows(method):
    model, X = fitted(), data()
    score = getattr(model, method)
    weight = np.random.default_rng(1).integers(0, 4, N)
    repeated = np.repeat(X, weight, axis=0)
    rtol = 4 * N * EPS
    assert score(X, sample_weight=weight) == pytest.approx(score(repeated), rel=rtol)
    assert score(X, sample_weight=np.ones(N)) == pytest.approx(score(X), rel=rtol)
    assert score(X, sample_weight=2) == pytest.approx(score(np.vstack([X, X])), rel=rtol)
    assert abs(score(repeated) - score(X)) > 1e-3  # the weights do matter


def test_weight_zero_hides_a_row_without_density():
    model, X = fitted(), data()
    far = np.vstack([X, [[1e200, 0]]])
    assert model.score_samples(far)[-1] == -np.inf
    weight = np.r_[np.ones(N), 0]
    assert model.score(far, sample_weight=weight) == pytest.approx(model.score(X), rel=4 * N * EPS)


# --- sampling -------------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_of_samples(covariance_type, dtype):
    # If n_k samples of a Gaussian are whitened by its true parameters, their mean has variance 1/n_k, and their second
    # moments have variance 1/n_k (2/n_k on the diagonal). 6 standard deviations are exceeded once in 5e8.
    n = 30_000
    model = fitted(covariance_type, dtype)
    X, y = model.sample(n)
    assert X.shape == (n, D) and X.dtype == dtype and y.shape == (n,) and y.dtype == np.int64
    w = model.weights_
    assert (abs(np.bincount(y) / n - w) < 6 * np.sqrt(w * (1 - w) / n)).all()
    dense = (
        np.broadcast_to(model.precisions_cholesky_, (K, D, D))
        if covariance_type in TYPES[:2]
        else model.precisions_cholesky_.reshape(K, -1)[:, :, None] * np.eye(D)
    )
    for k in range(K):
        z = (X[y == k] - model.means_[k]) @ dense[k]
        assert abs(z.mean(axis=0)).max() < 6 / math.sqrt(len(z))
        assert abs(z.T @ z / len(z) - np.eye(D)).max() < 6 * math.sqrt(2 / len(z))
    assert (np.diff(y) >= 0).all()  # ordered by component


def test_random_state_of_samples():
    model = fitted()
    first, again = model.sample(50), model.sample(50)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    model.random_state = np.random.RandomState(0)
    np.testing.assert_array_equal(model.sample(50)[0], first[0])
    assert (model.sample(50)[0] != first[0]).any()  # a RandomState continues with other numbers
    assert model.sample()[0].shape == (1, D)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="'n_samples'"):
            model.sample(bad)


def test_names_in_the_package():
    assert set(gmm_core.__all__) >= {"GaussianMixture", "build_info", "reference", "__version__"}


def test_fit_predict_that_fails_in_its_prediction_changes_nothing(monkeypatch):
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = GaussianMixture(2, random_state=0, tol=10).fit(X)
    before = vars(model).copy()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(ArrayPass, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit_predict(X + 5)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


@pytest.mark.parametrize("weighted", [False, True])
def test_score_of_float32_is_the_mean_in_float64(weighted):
    rng = np.random.default_rng(0)
    X = np.repeat(data(dtype=np.float32), 300, axis=0) + np.float32(0.5) * rng.normal(
        size=(300 * N, D)
    ).astype(np.float32)
    weight = rng.uniform(size=len(X)) if weighted else None
    model = GaussianMixture(K, random_state=0, max_iter=20, tol=0.1).fit(X, sample_weight=weight)
    samples = model.score_samples(X)
    assert samples.dtype == np.float32
    n = float(len(X)) if weight is None else weight.sum()
    mean = np.average(samples.astype(np.float64), weights=weight)
    assert abs(model.score(X, sample_weight=weight) - mean) <= 1e-9 * abs(mean)
    for criterion, penalty in (("bic", math.log(n)), ("aic", 2)):
        expected = -2 * mean * n + penalty * model._n_parameters()
        assert getattr(model, criterion)(X, sample_weight=weight) == pytest.approx(
            expected, rel=1e-9
        )
    # lower_bound_ is that of the parameters before they are rounded to float32 as attributes. Each log-likelihood
    # has an error of a few eps of the numbers from which it is computed.
    assert abs(model.score(X, sample_weight=weight) - model.lower_bound_) < 2 * np.finfo("f4").eps
