"""Tests of missing values: E-step, fits and scores of data with NaN, against the textbook, row by row."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import get_tags

from gmm_core import GaussianMixture, InvalidParameterError
from gmm_core.data import rowwise
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.patterns import has_missing, patterns_of
from gmm_core.fit.maximization import maximization_step

EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
both_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])


# --- the textbook ---------------------------------------------------------------------------


def dense(covariances, covariance_type, K, D):
    """Return covariances of any type as matrices, one for each component."""
    if covariance_type == "diag":
        return np.array([np.diag(variance) for variance in covariances])
    if covariance_type == "spherical":
        return np.array([variance * np.eye(D) for variance in covariances])
    return np.broadcast_to(covariances, (K, D, D))


def completed(x, weights, means, covariances):
    """Return log-likelihood and responsibilities of a sample, and its mean and covariance in each component.

    The observed features have the mean x and the covariance 0; the missing ones have those given the observed.
    """
    K, D = means.shape
    m = np.isnan(x)
    o = ~m
    log_prob, mean, covariance = np.log(weights), np.empty((K, D)), np.zeros((K, D, D))
    for k in range(K):
        S = covariances[k]
        inverse = np.linalg.inv(S[np.ix_(o, o)])
        difference = x[o] - means[k, o]
        log_prob[k] -= 0.5 * (
            np.linalg.slogdet(2 * np.pi * S[np.ix_(o, o)])[1] + difference @ inverse @ difference
        )
        mean[k, o] = x[o]
        mean[k, m] = means[k, m] + S[np.ix_(m, o)] @ inverse @ difference
        covariance[k][np.ix_(m, m)] = (
            S[np.ix_(m, m)] - S[np.ix_(m, o)] @ inverse @ S[np.ix_(o, m)]
        )
    log_likelihood = np.logaddexp.reduce(log_prob)
    return log_likelihood, np.exp(log_prob - log_likelihood), mean, covariance


def textbook_step(X, sample_weight, weights, means, covariances, covariance_type, reg_covar=0.0):
    """Return the mean log-likelihood before an iteration of EM, and weights, means and covariances after it."""
    K, D = means.shape
    matrices = dense(covariances, covariance_type, K, D)
    rows = [completed(x, weights, means, matrices) for x in X.astype(np.float64)]
    r = sample_weight[:, None] * np.array([row[1] for row in rows])
    x_hat = np.array([row[2] for row in rows])
    N = r.sum(axis=0)
    new = np.einsum("nk,nkd->kd", r, x_hat) / N[:, None]
    z = x_hat - new
    scatter = np.einsum("nk,nki,nkj->kij", r, z, z)
    scatter += np.einsum("nk,nkij->kij", r, np.array([row[3] for row in rows]))
    S = {
        "full": lambda: scatter / N[:, None, None] + reg_covar * np.eye(D),
        "tied": lambda: scatter.sum(axis=0) / N.sum() + reg_covar * np.eye(D),
        "diag": lambda: np.einsum("kii->ki", scatter) / N[:, None] + reg_covar,
        "spherical": lambda: np.einsum("kii->k", scatter) / N / D + reg_covar,
    }[covariance_type]()
    log_likelihood = sample_weight @ [row[0] for row in rows] / sample_weight.sum()
    return log_likelihood, N / N.sum(), new, S


def with_missing_values(X, share=0.3, seed=0, empty_rows=(3,)):
    missing = np.random.default_rng(seed).random(X.shape) < share
    X = X.copy()
    X[missing] = np.nan
    X[list(empty_rows)] = np.nan
    return X


def marginalizing(n_components, covariance_type="full", **params):
    params = {"random_state": 0, "missing": "marginalize", **params}
    return GaussianMixture(n_components, covariance_type=covariance_type, **params)


def from_mixture(p, **params):
    return GaussianMixture.from_parameters(
        p.weights, p.means, covariances=p.covariances, covariance_type=p.covariance_type,
        missing="marginalize", **params,
    )


# --- the E-step -----------------------------------------------------------------------------


@all_types
@both_dtypes
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_iteration_is_that_of_the_textbook(
    make_problem, covariance_type, dtype, shifted, weighted, isa
):
    problem = make_problem(covariance_type, 200, 3, 5, dtype)
    p, X = problem.parameters, with_missing_values(problem.X)
    weight = problem.weight if weighted else np.ones(len(X))
    shift = p.means + np.random.default_rng(1).normal(size=p.means.shape) if shifted else None
    data = ArrayPass(X, weight if weighted else None, 3, covariance_type, 2, incomplete=True)
    statistics = data.expectation(p, shift)
    made, _ = maximization_step(statistics, 0.0)
    log_likelihood, *expected = textbook_step(
        X, weight, p.weights, p.means, p.covariances, covariance_type
    )
    # a few hundred roundings of numbers below 100, in the dtype of X
    tolerance = 1e3 * float(np.finfo(dtype).eps)
    assert statistics.weight == pytest.approx(weight.sum(), rel=tolerance)
    mean = statistics.log_likelihood / statistics.weight
    assert mean == pytest.approx(log_likelihood, rel=tolerance)
    assert data.mean_log_likelihood(p) == pytest.approx(log_likelihood, rel=tolerance)
    for array, other in zip((made.weights, made.means, made.covariances), expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=tolerance, atol=tolerance)


@all_types
def test_the_mixture_of_complete_data_is_that_of_the_ordinary_pass(make_problem, covariance_type):
    problem = make_problem(covariance_type, 300, 3, 4)
    arguments = (problem.X, problem.weight, 3, covariance_type, 1)
    made = [
        maximization_step(ArrayPass(*arguments, incomplete).expectation(problem.parameters), 0.0)[0]
        for incomplete in (False, True)
    ]
    for name in ("weights", "means", "covariances"):
        arrays = [getattr(mixture, name) for mixture in made]
        np.testing.assert_allclose(*arrays, rtol=1e3 * EPS, atol=1e3 * EPS)


@all_types
def test_scores_are_those_of_the_textbook(make_problem, covariance_type):
    problem = make_problem(covariance_type, 100, 3, 5)
    p, X = problem.parameters, with_missing_values(problem.X)
    model = from_mixture(p)
    rows = [completed(x, p.weights, p.means, dense(p.covariances, covariance_type, 3, 5)) for x in X]
    log_likelihood, r = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    tolerance = 1e3 * EPS
    np.testing.assert_allclose(model.score_samples(X), log_likelihood, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(model.predict_proba(X), r, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(model.predict(X), r.argmax(axis=1))
    w = problem.weight
    assert model.score(X) == pytest.approx(log_likelihood.mean(), rel=tolerance)
    assert model.score(X, sample_weight=w) == pytest.approx(w @ log_likelihood / w.sum())
    n_parameters = model._n_parameters()
    assert model.bic(X) == pytest.approx(
        -2 * log_likelihood.sum() + n_parameters * math.log(len(X)), rel=tolerance
    )
    assert model.aic(X) == pytest.approx(-2 * log_likelihood.sum() + 2 * n_parameters)


@all_types
@both_dtypes
def test_a_row_without_values_has_the_prior(make_problem, covariance_type, dtype):
    model = from_mixture(make_problem(covariance_type, 50, 3, 4, dtype).parameters)
    X = np.full((2, 4), np.nan, dtype)
    np.testing.assert_allclose(model.predict_proba(X), [model.weights_] * 2, rtol=4 * EPS)
    np.testing.assert_array_equal(model.score_samples(X), [0, 0])
    np.testing.assert_array_equal(model.predict(X), [model.weights_.argmax()] * 2)


@all_types
def test_rows_without_density_belong_to_the_nearest_component(make_problem, covariance_type):
    p = make_problem(covariance_type, 50, 3, 3).parameters
    model = from_mixture(p)
    X = np.array([[1e200, np.nan, 0], [0, 0, np.nan]])
    assert model.score_samples(X)[0] == -np.inf
    S = dense(p.covariances, covariance_type, 3, 3)[:, [0, 2]][:, :, [0, 2]]
    # Far along the first feature the squared distance is x² times the entry of the inverse. Several
    # components are nearest if their entries are equal.
    distance = np.linalg.inv(S)[:, 0, 0]
    near = np.flatnonzero(np.isclose(distance, distance.min()))
    assert model.predict(X)[0] in near
    assert model.predict_proba(X)[0].tolist() == np.eye(3)[model.predict(X)[0]].tolist()
    with pytest.raises(ValueError, match=r"^the observed features of X\[7\] have density 0"):
        data = np.zeros((9, 3))
        data[4:, 1] = np.nan
        data[7, 0] = 1e200
        ArrayPass(data, None, 3, covariance_type, 1, True).expectation(p)


def test_patterns():
    X = np.array([[1.0, np.nan], [2, 3], [np.nan, np.nan], [4, np.nan], [np.nan, 7]])
    assert has_missing(X) and not has_missing(X[[1]])
    found = patterns_of(X)
    assert [len(pattern.missing) for pattern in found] == [0, 1, 1, 2]
    by_features = {tuple(pattern.observed): pattern for pattern in found}
    assert {key: pattern.rows.tolist() for key, pattern in by_features.items()} == {
        (0, 1): [1], (0,): [0, 3], (1,): [4], (): [2]
    }
    assert by_features[(0,)].X.tolist() == [[1], [4]]


# --- fits -----------------------------------------------------------------------------------


@all_types
@both_dtypes
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_is_that_of_the_textbook(make_problem, covariance_type, dtype, weighted):
    problem = make_problem(covariance_type, 150, 2, 3, dtype)
    X, p, n_iter = with_missing_values(problem.X), problem.parameters, 8
    precisions = {
        "full": np.linalg.inv, "tied": np.linalg.inv, "diag": np.reciprocal, "spherical": np.reciprocal
    }[covariance_type](p.covariances)
    weight = problem.weight if weighted else None
    model = marginalizing(
        2, covariance_type, tol=0, max_iter=n_iter, reg_covar=1e-3, weights_init=p.weights,
        means_init=p.means, precisions_init=precisions,
    )
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(X, sample_weight=weight)
    state, bounds = (p.weights, p.means, p.covariances), []
    for _ in range(n_iter):
        bound, *state = textbook_step(
            X, np.ones(len(X)) if weight is None else weight, *state, covariance_type, 1e-3
        )
        bounds.append(bound)
    tolerance = 1e4 * float(np.finfo(dtype).eps)  # each iteration may double the differences
    np.testing.assert_allclose(model.lower_bounds_, bounds, rtol=tolerance)
    for name, expected in zip(("weights_", "means_", "covariances_"), state, strict=True):
        assert getattr(model, name).dtype == dtype
        np.testing.assert_allclose(
            getattr(model, name), expected, rtol=tolerance, atol=tolerance
        )
    assert model.lower_bound_ == pytest.approx(model.score(X, sample_weight=weight), rel=tolerance)


def test_a_pattern_with_a_tiny_weight():
    X = np.random.RandomState(0).randn(500, 2).astype(np.float32)
    X[0, 0] = np.nan
    weight = np.ones(500)
    weight[0] = 1e-60  # this is 0 in float32
    model = GaussianMixture(2, missing="marginalize", random_state=0).fit(X, sample_weight=weight)
    plain = GaussianMixture(2, random_state=0).fit(X[1:])
    assert model.lower_bound_ == pytest.approx(plain.lower_bound_, rel=1e-5)


@all_types
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data", "hierarchical"])
def test_the_likelihood_never_falls(make_problem, covariance_type, init_params):
    X = with_missing_values(make_problem(covariance_type, 400, 3, 4).X)
    model = marginalizing(3, covariance_type, init_params=init_params, reg_covar=0, tol=1e-6)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Best performing init")
        model.fit(X)
    assert np.diff([*model.lower_bounds_, model.lower_bound_]).min() > -1e3 * EPS


@all_types
@both_dtypes
def test_without_nan_the_bits_are_those_of_the_ordinary_fit(make_problem, covariance_type, dtype):
    problem = make_problem(covariance_type, 500, 3, 4, dtype)
    models = [
        GaussianMixture(
            3, covariance_type=covariance_type, random_state=0, missing=missing, tol=1e-2
        ).fit(problem.X, sample_weight=problem.weight)
        for missing in ("error", "marginalize")
    ]
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_"):
        np.testing.assert_array_equal(*[getattr(model, name) for model in models])
    np.testing.assert_array_equal(*[model.predict_proba(problem.X) for model in models])


@all_types
def test_threads_change_no_bit(make_problem, covariance_type, monkeypatch):
    monkeypatch.setattr(rowwise, "_CHUNK_TIME", 0.0)
    problem = make_problem(covariance_type, 4000, 3, 4)
    X = problem.X.copy()
    X[:1500, 1] = np.nan
    X[3000:3200, 2:] = np.nan
    one, two, seven = (
        ArrayPass(X, problem.weight, 3, covariance_type, n, True).expectation(problem.parameters)
        for n in (1, 2, 7)
    )
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.values, seven.values)
    models = [
        marginalizing(3, covariance_type, n_threads=n, max_iter=20, tol=1e-2).fit(X) for n in (1, 2)
    ]
    np.testing.assert_array_equal(*[model.means_ for model in models])
    np.testing.assert_array_equal(*[model.covariances_ for model in models])


@all_types
def test_the_order_of_rows_and_features_changes_only_rounding(make_problem, covariance_type):
    problem = make_problem(covariance_type, 300, 3, 4)
    X, p = with_missing_values(problem.X), problem.parameters
    rows = np.random.default_rng(0).permutation(len(X))
    made = [
        ArrayPass(
            np.ascontiguousarray(X[order]), problem.weight[order], 3, covariance_type, 1, True
        )
        .expectation(p)
        .values
        for order in (slice(None), rows)
    ]
    np.testing.assert_allclose(*made, rtol=1e-12, atol=len(X) * 100 * EPS)
    features = [2, 0, 3, 1]
    models = [
        marginalizing(3, covariance_type, init_params="random", max_iter=2, tol=1e9).fit(data)
        for data in (X, X[:, features])
    ]
    np.testing.assert_allclose(models[0].means_[:, features], models[1].means_, rtol=1e-9, atol=1e-9)


@all_types
def test_rows_of_weight_zero_are_absent(make_problem, covariance_type):
    problem = make_problem(covariance_type, 300, 2, 3)
    X, weight = with_missing_values(problem.X), problem.weight.copy()
    weight[::3] = 0
    X[0], X[6, 1] = np.nan, 1e30
    present = weight > 0
    models = [
        marginalizing(2, covariance_type, tol=1e-2).fit(data, sample_weight=w)
        for data, w in ((X, weight), (X[present], weight[present]))
    ]
    np.testing.assert_allclose(*[model.means_ for model in models], rtol=1e-9, atol=1e-9)


@all_types
def test_rows_without_values_leave_the_optimum_where_it_is(make_problem, covariance_type):
    X = with_missing_values(make_problem(covariance_type, 500, 2, 3).X, share=0.1, empty_rows=())
    params = {"reg_covar": 0, "tol": 1e-13, "max_iter": 5000}
    model = marginalizing(2, covariance_type, **params).fit(X)
    assert model.converged_
    before = model.means_, model.covariances_, model.weights_
    model.set_params(warm_start=True).fit(np.concatenate([X, np.full((200, 3), np.nan)]))
    # The likelihood is quadratic about the optimum. Where it is lower by 1e-13, the parameters are
    # off by 3e-7 times the condition.
    for array, other in zip((model.means_, model.covariances_, model.weights_), before, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-4, atol=1e-4)


@all_types
def test_one_component_and_one_feature(covariance_type):
    x = np.random.default_rng(0).normal(size=50)
    X = np.concatenate([x, np.full(10, np.nan)])[:, None]
    model = marginalizing(1, covariance_type, reg_covar=0, tol=0, max_iter=40)
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(X)
    # every iteration reduces the distance to the optimum to 10 / 60 of it
    assert model.means_[0, 0] == pytest.approx(x.mean(), rel=1e3 * EPS)
    assert model.covariances_.ravel()[0] == pytest.approx(x.var(), rel=1e3 * EPS)
    assert model.score(X) == pytest.approx(model.score(x[:, None]) * 50 / 60)


@all_types
def test_a_cluster_in_which_a_feature_is_always_missing(covariance_type):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(200, 3)), 20 + rng.normal(size=(200, 3))])
    X[200:, 1] = np.nan
    model = marginalizing(2, covariance_type, reg_covar=0).fit(X)
    assert np.isfinite(model.means_).all() and np.isfinite(model.covariances_).all()
    labels = model.predict(X)
    assert len(set(labels[:200])) == len(set(labels[200:])) == 1 and labels[0] != labels[-1]
    k = labels[-1]
    np.testing.assert_allclose(model.means_[k, [0, 2]], X[200:, [0, 2]].mean(axis=0), rtol=1e-6)


@all_types
def test_more_features_than_bits_in_a_word(make_problem, covariance_type):
    problem = make_problem(covariance_type, 40, 2, 70)
    p, X = problem.parameters, with_missing_values(problem.X, share=0.4)
    made, _ = maximization_step(ArrayPass(X, None, 2, covariance_type, 1, True).expectation(p), 0.1)
    _, *expected = textbook_step(
        X, np.ones(40), p.weights, p.means, p.covariances, covariance_type, 0.1
    )
    for array, other in zip((made.weights, made.means, made.covariances), expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-10, atol=1e-10)


def test_a_large_offset_costs_no_digits_of_the_covariances(make_problem):
    problem = make_problem("full", 400, 2, 3)
    X = with_missing_values(np.round(problem.X * 1024) / 1024)  # these are exact with the offset, too
    near, far = (marginalizing(2, tol=1e-3).fit(data) for data in (X, X + 2.0**20))
    # the rounding of the means is eps · 2²⁰ / σ = 2e-10 standard deviations
    np.testing.assert_allclose(near.covariances_, far.covariances_, rtol=1e-6, atol=1e-7)


# --- the interface --------------------------------------------------------------------------


def test_what_is_refused():
    X = np.array([[1.0, np.nan], [2, 3], [4, 5], [6, np.inf]])
    with pytest.raises(ValueError, match=r"contains NaN(.|\n)*The first is X\[0, 1\]"):
        GaussianMixture().fit(X[:3])
    for missing in ("error", "marginalize"):
        model = GaussianMixture(missing=missing)
        with pytest.raises(ValueError, match="infinity" if missing == "marginalize" else "NaN"):
            model.fit(X)
        assert not hasattr(model, "means_")
    with pytest.raises(ValueError, match=r"infinity .*\n?.*X\[3, 1\]"):
        marginalizing(1).fit(X)
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"X\[:, 1\] has no value that is not NaN"):
        marginalizing(1).fit(X)
    X[0, 1] = 1
    with pytest.raises(ValueError, match=r"X\[:, 1\] has no value that is not NaN"):
        marginalizing(1).fit(X, sample_weight=[0, 1, 1, 1])
    for value in ("ignore", None, True):
        with pytest.raises(InvalidParameterError, match="'missing' .* must be a str among"):
            GaussianMixture(missing=value).fit(X[:, :1])


def test_methods_refuse_nan_again_when_told_to(make_problem):
    model = from_mixture(make_problem("full", 50, 2, 3).parameters)
    X = np.full((2, 3), np.nan)
    model.predict(X)
    model.set_params(missing="error")
    for method in (model.predict, model.predict_proba, model.score_samples, model.score):
        with pytest.raises(ValueError, match="contains NaN"):
            method(X)


@all_types
def test_fit_predict_pandas_and_callables(make_problem, covariance_type):
    problem = make_problem(covariance_type, 200, 2, 3)
    X = with_missing_values(problem.X)
    seen = []

    def start(X, n_components, random_state):
        seen.append(X.copy())
        return (X[:, 0] > 0).astype(int)

    model = marginalizing(2, covariance_type, init_params=start, tol=1e-2)
    labels = model.fit_predict(X)
    np.testing.assert_array_equal(labels, model.predict(X))
    known = ~np.isnan(X)
    assert not np.isnan(seen[0]).any() and (seen[0][known] == X[known]).all()
    np.testing.assert_allclose(
        seen[0][~known], np.broadcast_to(np.nanmean(X, axis=0), X.shape)[~known], rtol=1e-12
    )
    frame = pd.DataFrame(X, columns=list("abc")).astype("Float64")  # NaN becomes pandas.NA
    other = marginalizing(2, covariance_type, init_params=start, tol=1e-2).fit(frame)
    np.testing.assert_array_equal(other.means_, model.means_)
    np.testing.assert_array_equal(other.predict(frame), labels)


def test_tags_and_files(tmp_path):
    assert get_tags(GaussianMixture()).input_tags.allow_nan is False
    model = marginalizing(1)
    assert get_tags(model).input_tags.allow_nan is True
    X = np.array([[1.0, np.nan], [2, 3], [4, 5], [6, 6]])
    model.fit(X).save(tmp_path / "model.npz")
    loaded = GaussianMixture.load(tmp_path / "model.npz")
    assert loaded.missing == "marginalize"
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
    with np.load(tmp_path / "model.npz") as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    del header["params"]["missing"]  # older files do not have this parameter
    np.savez(tmp_path / "old.npz", header=np.array(json.dumps(header)), **arrays)
    assert GaussianMixture.load(tmp_path / "old.npz").missing == "error"
