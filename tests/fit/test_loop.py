"""Tests of the EM loop: iterates like scikit-learn's, the stop rule, warm starts."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture
from threadpoolctl import threadpool_limits

import gmm_core
from gmm_core import GaussianMixture, reference

EPS = np.finfo(np.float64).eps
TYPES = ["full", "tied", "diag", "spherical"]
PARAMETERS = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FAITHFUL = Path(__file__).parents[2] / "examples" / "old_faithful.csv"


def blobs(n, K, D, seed=0, spread=3.0):
    """Return groups with covariances AAᵀ + I/4, whose means are normal with the scale `spread`."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(K, D, D)) / np.sqrt(D)
    means = rng.normal(scale=spread, size=(K, D))
    labels = rng.integers(K, size=n)
    noise = np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(n, D)))
    return means[labels] + noise + 0.5 * rng.normal(size=(n, D))


def standardised(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


DATA = {
    "faithful": (np.loadtxt(FAITHFUL, delimiter=",", skiprows=1), 2),
    "iris": (load_iris().data, 3),
    "wine": (standardised(load_wine().data), 3),
    "line": (blobs(500, 2, 1, seed=2), 2),
    "blobs": (blobs(1500, 5, 3), 5),
}


def by_hand(X, K, covariance_type):
    """Return arguments for a start at K samples, with the variances of all data."""
    D = X.shape[1]
    v = 1 / X.var(axis=0)
    precisions = {
        "full": np.broadcast_to(np.diag(v), (K, D, D)),
        "tied": np.diag(v),
        "diag": np.broadcast_to(v, (K, D)),
        "spherical": np.full(K, v.mean()),
    }[covariance_type]
    rows = np.random.default_rng(1).choice(len(X), K, replace=False)
    return {
        "weights_init": np.full(K, 1 / K),
        "means_init": X[rows],
        "precisions_init": precisions,
    }


def parameters_of(model):
    return {name: np.copy(getattr(model, name)) for name in PARAMETERS}


def assert_same_parameters(ours, theirs, rtol):
    """Assert that parameters differ by at most `rtol` of their largest entry."""
    for name, expected in parameters_of(theirs).items():
        atol = rtol * abs(expected).max()
        np.testing.assert_allclose(getattr(ours, name), expected, rtol=0, atol=atol, err_msg=name)


# --- iterates -------------------------------------------------------------------------------


@unconverged
@all_types
@pytest.mark.parametrize("start", ["given", "random"])
@pytest.mark.parametrize("name", DATA)
def test_iterates_are_those_of_sklearn(name, start, covariance_type):
    # cond(Σ) is at most about 1e3 here. scikit-learn's moments Σ r x² − μ² have an error of eps (μ/σ)², up
    # to 4e-13 on faithful, which grows with every iteration until EM has converged.
    X, K = DATA[name]
    how = by_hand(X, K, covariance_type) if start == "given" else {"init_params": "random"}
    for max_iter, tol in ((1, 1e-3), (2, 0.0), (7, 0.0), (100, 1e-3), (100, 1e-5)):
        params = {
            **how,
            "n_components": K,
            "covariance_type": covariance_type,
            "max_iter": max_iter,
            "tol": tol,
            "random_state": 3,
        }
        ours = GaussianMixture(**params).fit(X)
        with threadpool_limits(1):  # threads of BLAS would take more time here
            theirs = SklearnMixture(**params).fit(X)
        assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_)
        np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=1e-8)
        assert_same_parameters(ours, theirs, rtol=1e-8)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        assert ours.lower_bound_ == pytest.approx(theirs.score(X), rel=1e-8)


@unconverged
@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lower_bounds_are_scores(covariance_type, dtype):
    """lower_bounds_[i] is the score after i iterations, and lower_bound_ that of the last parameters."""
    X = DATA["blobs"][0].astype(dtype)
    eps = np.finfo(dtype).eps
    params = {"n_components": 5, "covariance_type": covariance_type, "random_state": 0, "tol": 0}
    models = [GaussianMixture(**params, max_iter=m).fit(X) for m in range(6)]
    assert [len(model.lower_bounds_) for model in models] == list(range(6))
    assert [model.n_iter_ for model in models] == list(range(6))
    # Rounding the attributes to float32 moves a whitened x, which is below 20 here, by eps · cond, so that
    # ‖y‖² changes by less than 1e4 eps.
    rtol = 1e4 * eps
    np.testing.assert_allclose([m.score(X) for m in models], [m.lower_bound_ for m in models], rtol)
    np.testing.assert_allclose(models[5].lower_bounds_, [m.lower_bound_ for m in models[:5]], rtol)
    for earlier, later in zip(models[1:], models[2:], strict=False):
        assert later.lower_bounds_[:-1] == earlier.lower_bounds_


@all_types
def test_a_weighted_iteration_is_that_of_the_reference(covariance_type):
    X, K = DATA["blobs"]
    weight = np.random.default_rng(0).uniform(0, 2, len(X))
    start = by_hand(X, K, covariance_type)
    factors = np.sqrt(start["precisions_init"])  # the matrices are diagonal
    r = reference.responsibilities(
        X, start["weights_init"], start["means_init"], factors, covariance_type
    )
    with pytest.warns(ConvergenceWarning):
        model = GaussianMixture(K, covariance_type=covariance_type, max_iter=1, **start).fit(
            X, sample_weight=weight
        )
    r *= weight[:, np.newaxis]
    counts = r.sum(axis=0)
    # the relative error of a sum of N terms, most of which have the same sign, is at most N · eps
    np.testing.assert_allclose(model.weights_, counts / weight.sum(), rtol=len(X) * EPS)
    np.testing.assert_allclose(
        model.means_, r.T @ X / counts[:, np.newaxis], rtol=1e-12, atol=1e-12
    )
    if covariance_type == "full":
        for k in range(K):
            expected = np.cov(X.T, aweights=r[:, k], bias=True) + 1e-6 * np.eye(3)
            np.testing.assert_allclose(model.covariances_[k], expected, rtol=1e-11, atol=1e-11)


@all_types
def test_float32_is_near_float64(covariance_type):
    # A sum in float64 of float32 terms has an error of about eps32 · (x/σ)², and (x/σ)² < 1e3 here.
    X, K = DATA["blobs"]
    params = {
        "n_components": K,
        "covariance_type": covariance_type,
        **by_hand(X, K, covariance_type),
    }
    near = GaussianMixture(**params).fit(X.astype(np.float32))
    exact = GaussianMixture(**params).fit(X)
    assert near.n_iter_ == exact.n_iter_
    for name in PARAMETERS:
        assert getattr(near, name).dtype == np.float32
    assert_same_parameters(near, exact, rtol=1e3 * np.finfo(np.float32).eps)
    np.testing.assert_array_equal(near.predict(X.astype(np.float32)), near.predict(X))


# --- stopping -------------------------------------------------------------------------------


def test_stops_at_the_first_change_below_tol():
    X, K = DATA["iris"]
    model = GaussianMixture(K, random_state=0, tol=1e-4).fit(X)
    changes = np.diff(model.lower_bounds_)
    assert model.converged_ and changes[-1] < 1e-4 and (changes[:-1] >= 1e-4).all()


def test_unconverged_fit_warns_at_the_line_of_the_caller():
    X, K = DATA["iris"]
    for fit in ("fit", "fit_predict"):
        with pytest.warns(ConvergenceWarning, match="did not converge") as caught:
            getattr(GaussianMixture(K, random_state=0, max_iter=2), fit)(X)
        assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize("loads_sklearn", [False, True])
def test_exception_classes_are_sklearns_if_it_is_loaded(loads_sklearn):
    code = f"""
import sys, warnings
import gmm_core
if {loads_sklearn}: import sklearn.exceptions as owner
else: owner = gmm_core
warnings.simplefilter("error")
model = gmm_core.GaussianMixture(2, max_iter=1, tol=0, random_state=0)
try: model.predict([[0.0]])
except owner.NotFittedError as error: assert isinstance(error, (ValueError, AttributeError))
try: model.fit([[0.0], [1.0], [5.0], [6.0]])
except owner.ConvergenceWarning as error: print(type(error).__module__)
assert ("sklearn" in sys.modules) == {loads_sklearn}
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert run.stdout.split() == ["sklearn.exceptions" if loads_sklearn else "gmm_core.core.errors"]
    assert issubclass(gmm_core.ConvergenceWarning, UserWarning)


def test_no_iteration_gives_the_start():
    X, K = DATA["iris"]
    start = by_hand(X, K, "full")
    model = GaussianMixture(K, max_iter=0, **start).fit(X)  # there is no warning
    np.testing.assert_array_equal(model.means_, start["means_init"])
    np.testing.assert_array_equal(model.weights_, start["weights_init"])
    np.testing.assert_allclose(model.precisions_, start["precisions_init"], rtol=8 * EPS)
    assert (model.n_iter_, model.lower_bounds_, model.converged_) == (0, [], False)
    assert model.lower_bound_ == pytest.approx(model.score(X), rel=8 * EPS * len(X))


@unconverged
@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose_prints_what_sklearn_prints(capsys, verbose):
    X, K = DATA["iris"]
    params = {**by_hand(X, K, "full"), "verbose": verbose, "verbose_interval": 2, "max_iter": 5}
    printed = []
    for cls in (GaussianMixture, SklearnMixture):
        cls(K, **params).fit(X)
        lines = capsys.readouterr().out.splitlines()
        printed.append([" ".join(w for w in line.split() if not w[0].isdigit()) for line in lines])
    ours, theirs = printed
    assert len(ours) == len(theirs)
    assert (
        ours[0] == theirs[0].rstrip() and ours[-1].split(" time")[0] == theirs[-1].split(" time")[0]
    )


# --- warm start -----------------------------------------------------------------------------


@unconverged
@all_types
def test_short_warm_fits_are_like_one_long_fit(covariance_type):
    X, K = DATA["blobs"]
    params = {"n_components": K, "covariance_type": covariance_type, "random_state": 0, "tol": 1e-3}
    long = GaussianMixture(**params, max_iter=3).fit(X)
    parts = GaussianMixture(**params, max_iter=1, warm_start=True)
    bounds = [bound for _ in range(3) for bound in parts.fit(X).lower_bounds_]
    assert bounds == long.lower_bounds_ and parts.n_iter_ == 1
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(parts, name), getattr(long, name))
    parts.set_params(max_iter=100).fit(X)
    # the next fit compares its first bound with the last one of this fit
    assert parts.converged_ and parts.fit(X).n_iter_ == 1


@unconverged
@all_types
def test_a_warm_fit_without_iterations_changes_nothing(covariance_type):
    X, K = DATA["blobs"]
    model = GaussianMixture(K, covariance_type=covariance_type, random_state=0, warm_start=True).fit(X)
    before = parameters_of(model)
    model.set_params(max_iter=0).fit(X)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(model, name), value)


@unconverged
def test_warm_start_continues_from_assigned_parameters():
    X, K = DATA["blobs"]
    other = GaussianMixture(K, random_state=1, init_params="random", max_iter=4).fit(X)
    expected = GaussianMixture(K, random_state=1, init_params="random", max_iter=5).fit(X)
    made = GaussianMixture.from_parameters(
        other.weights_, other.means_, covariances=other.covariances_, warm_start=True, max_iter=1
    ).fit(X)
    # the covariances were factored again, with an error of eps · cond that grows with every iteration
    assert_same_parameters(made, expected, rtol=1e-11)


def test_warm_start_refuses_another_size_and_stays_as_it_was():
    X, K = DATA["blobs"]
    model = GaussianMixture(K, random_state=0, warm_start=True).fit(X)
    before = parameters_of(model)
    for change, samples in (({"n_components": K - 1}, X), ({}, X[:, :2])):
        with pytest.raises(
            ValueError, match="warm_start continues a mixture of 5 components and 3 features"
        ):
            copy.copy(model).set_params(**change).fit(samples)
    assert all((getattr(model, name) == before[name]).all() for name in PARAMETERS)
    assert model.set_params(n_components=4, warm_start=False).fit(X).means_.shape == (4, 3)
