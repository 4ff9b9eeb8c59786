"""Tests of short runs: the best of them run on, to the same bits as if they had never stopped."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn.base

from gmm_core import GaussianMixture
from gmm_core.core.errors import InvalidParameterError
from gmm_core.fit.short_runs import N_ITERATIONS

TYPES = ["full", "tied", "diag", "spherical", "VEV"]
PARAMETERS = ["weights_", "means_", "covariances_", "precisions_cholesky_"]


def data(n=400, seed=0):
    """Return samples of four overlapping groups in three dimensions."""
    rng = np.random.default_rng(seed)
    means = 2 * rng.normal(size=(4, 3))
    return means[rng.integers(4, size=n)] + rng.normal(size=(n, 3))


def assert_same(model, expected):
    """Assert that two fits are bit-identical."""
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
    for name in ("lower_bounds_", "lower_bound_", "n_iter_", "converged_"):
        assert getattr(model, name) == getattr(expected, name)


def labels_in_turn(*makers):
    """Return an `init_params` whose n-th call returns the labels that the n-th of `makers` makes."""
    turn = iter(makers)
    return lambda X, K, random_state: next(turn)(len(X), K, random_state)


def single(n, K, random_state):
    """Return labels that give component 1 a single sample, so that its covariance is 0."""
    return (np.arange(n) == 0).astype(int)


def drawn(n, K, random_state):
    return random_state.randint(K, size=n)


# --- the runs that are kept -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:(Best performing initialization did not|component . collapsed)")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("max_iter", [0, 1, N_ITERATIONS - 1, N_ITERATIONS, N_ITERATIONS + 1, 300])
def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(covariance_type, max_iter):
    X = data()
    params = {
        "covariance_type": covariance_type,
        "init_params": "k-means++",
        "tol": 1e-5,
        "max_iter": max_iter,
    }
    random_state = np.random.RandomState(0)
    each = [GaussianMixture(5, random_state=random_state, **params).fit(X) for _ in range(8)]
    model = GaussianMixture(5, random_state=0, n_short=8, n_init=8, **params).fit(X)
    # all are run to the end, the best short run first
    at_short = [m.lower_bounds_[:N_ITERATIONS][-1] if max_iter else m.lower_bound_ for m in each]
    order = sorted(range(8), key=lambda i: -at_short[i])
    assert [(r.log_likelihood, r.n_iter, r.converged) for r in model.restarts_] == [
        (each[i].lower_bound_, each[i].n_iter_, each[i].converged_) for i in order
    ]
    assert_same(model, max((each[i] for i in order), key=lambda m: m.lower_bound_))
    assert (np.diff(model.lower_bounds_) > -1e-13).all()
    # fewer rows are the first of these
    fewer = GaussianMixture(5, random_state=0, n_short=8, n_init=3, **params).fit(X)
    assert fewer.restarts_ == model.restarts_[:3]
    assert fewer.lower_bound_ == max(r.log_likelihood for r in model.restarts_[:3])


def test_a_short_run_that_converges_makes_no_further_iteration():
    X = data()
    params = {"tol": 0.3, "random_state": 0}
    alone = GaussianMixture(3, **params).fit(X)
    assert alone.converged_ and alone.n_iter_ < N_ITERATIONS
    assert_same(GaussianMixture(3, n_short=1, **params).fit(X), alone)


def test_of_equal_runs_the_first_is_kept():
    X = data()
    drawn_for = []

    def same(X, K, random_state):
        drawn_for.append(random_state.randint(1000))
        return np.arange(len(X)) % K

    model = GaussianMixture(3, init_params=same, n_short=4, n_init=2, random_state=0).fit(X)
    alone = GaussianMixture(3, init_params=same, random_state=0).fit(X)
    assert len(drawn_for) == 5
    assert len(model.restarts_) == 2 and model.restarts_[0] == model.restarts_[1]
    assert_same(model, alone)


def test_more_short_runs_than_starts_find_a_better_optimum():
    """On this seed, the first k-means start leaves two of 25 groups in one component."""
    rng = np.random.default_rng(0)
    X = 3 * rng.integers(5, size=(1_000, 2)) + 0.6 * rng.normal(size=(1_000, 2))
    params = {"covariance_type": "spherical", "tol": 1e-6, "max_iter": 1000, "random_state": 0}
    one = GaussianMixture(25, **params).fit(X)
    best = GaussianMixture(25, n_short=20, **params).fit(X)
    assert len(X) * (best.lower_bound_ - one.lower_bound_) > 20
    assert len(best.restarts_) == 1


# --- threads, batches, weights, missing values ----------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_depend_on_neither_threads_nor_batches(dtype):
    rng = np.random.default_rng(0)
    X = (3 * rng.normal(size=(8, 10)))[rng.integers(8, size=16_000)]
    X = (X + rng.normal(size=X.shape)).astype(dtype)
    params = {
        "n_short": 3, "n_swaps": 3, "init_size": 2_000, "max_iter": 12, "tol": 1e-4,
        "random_state": 3,
    }  # fmt: skip
    expected = GaussianMixture(10, n_threads=1, **params).fit(X)
    assert_same(GaussianMixture(10, n_threads=3, **params).fit(X), expected)
    batches = [X[:1], X[1:9_000], X[9_000:]]
    assert_same(GaussianMixture(10, n_threads=2, **params).fit_batches(batches), expected)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "spherical"])
def test_rows_of_weight_0_are_as_absent(covariance_type):
    X = data(300)
    rng = np.random.default_rng(1)
    rows = np.sort(rng.permutation(400)[:300])
    spread = 100 * rng.normal(size=(400, 3))
    weight = np.zeros(400)
    spread[rows], weight[rows] = X, rng.uniform(0.5, 2, 300)
    params = {
        "covariance_type": covariance_type, "n_short": 5, "n_init": 2, "n_swaps": 10,
        "random_state": 0,
    }  # fmt: skip
    expected = GaussianMixture(5, **params).fit(X, sample_weight=weight[rows])
    model = GaussianMixture(5, **params).fit(spread, sample_weight=weight)
    assert model.n_iter_ == expected.n_iter_
    # the sums over rows are rounded in another order, and EM contracts their differences
    np.testing.assert_allclose(model.means_, expected.means_, rtol=0, atol=1e-9)
    assert [r.n_iter for r in model.restarts_] == [r.n_iter for r in expected.restarts_]


def test_missing_values():
    X = data()
    X[np.random.default_rng(2).uniform(size=X.shape) < 0.2] = np.nan
    params = {"missing": "marginalize", "random_state": 0, "tol": 1e-5, "max_iter": 500}
    random_state = np.random.RandomState(0)
    each = [
        GaussianMixture(4, **{**params, "random_state": random_state}).fit(X) for _ in range(6)
    ]
    model = GaussianMixture(4, n_short=6, **params).fit(X)
    assert_same(model, max(each, key=lambda m: m.lower_bounds_[:N_ITERATIONS][-1]))
    swapped = GaussianMixture(4, n_short=6, n_swaps=10, **params).fit(X)
    assert swapped.lower_bound_ >= model.lower_bound_


# --- failures and errors --------------------------------------------------------------------


def test_short_runs_that_fail_are_skipped():
    starts = labels_in_turn(drawn, single, drawn, single)
    model = GaussianMixture(
        2, reg_covar=0, n_short=4, n_init=2, init_params=starts, random_state=0
    )
    with pytest.warns(UserWarning, match="failed: .*ill-defined") as caught:
        model.fit(data())
    assert [str(w.message)[:23] for w in caught] == [
        "short run 1 of 4 failed", "short run 3 of 4 failed"
    ]  # fmt: skip
    assert [w.filename for w in caught] == [__file__] * 2
    assert [r.failure for r in model.restarts_] == [None, None]


@pytest.mark.filterwarnings("ignore:(short run|start) . of . failed")
def test_if_too_few_short_runs_succeed_the_others_are_failed_starts():
    starts = labels_in_turn(single, single, drawn)
    model = GaussianMixture(
        2, reg_covar=0, n_short=3, n_init=3, init_params=starts, random_state=0
    ).fit(data())
    assert [r.failure is None for r in model.restarts_] == [True, False, False]
    assert "component 1 is not positive definite" in model.restarts_[1].failure
    all_fail = GaussianMixture(
        2, reg_covar=0, n_short=3, init_params=labels_in_turn(single, single, single)
    )
    with pytest.raises(ValueError, match="component 1 is not positive definite"):
        all_fail.fit(data())
    assert not any(name.endswith("_") for name in vars(all_fail))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_short": 2, "n_init": 3}, "n_short=2, expected 0 or at least n_init=3"),
        ({"n_short": 2, "checkpoint": "c"}, "checkpoint cannot be combined with n_short .*n_short=2"),
        ({"n_swaps": 1, "checkpoint": "c"}, "checkpoint cannot be combined .*n_swaps=1"),
    ],
)
def test_parameters_that_contradict_each_other(params, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, **params).fit(data())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["n_short", "n_swaps"])
@pytest.mark.parametrize("value", [-1, 1.5, None, "a", np.inf])
def test_values_that_are_no_numbers_of_runs(name, value):
    with pytest.raises(InvalidParameterError, match=f"'{name}' .* int in the range \\[0, inf\\)"):
        GaussianMixture(2, **{name: value}).fit(data())


# --- what ignores the parameters ------------------------------------------------------------


def test_a_warm_start_makes_no_short_runs():
    X = data()
    model = GaussianMixture(3, max_iter=3, tol=1e-6, n_short=5, n_init=2, random_state=0, warm_start=True)
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(X)
    assert len(model.restarts_) == 2
    continued = GaussianMixture(3, tol=1e-6, random_state=0, warm_start=True)
    vars(continued).update({k: v for k, v in vars(model).items() if k not in model.get_params()})
    model.set_params(max_iter=200).fit(X)
    assert_same(model, continued.set_params(max_iter=200).fit(X))
    assert len(model.restarts_) == 1


def test_a_stream_makes_no_short_runs_and_no_swaps():
    X = data()
    plain = GaussianMixture(3, random_state=0).partial_fit(X)
    model = GaussianMixture(3, random_state=0, n_short=4, n_swaps=5).partial_fit(X)
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(model, name), getattr(plain, name))


# --- parameters of an estimator -------------------------------------------------------------


def test_clones_files_and_pickles_have_the_parameters(tmp_path):
    X = data()
    model = GaussianMixture(3, n_short=6, n_init=2, n_swaps=4, random_state=0).fit(X)
    model.save(tmp_path / "m.npz")
    for other in (
        sklearn.base.clone(model), GaussianMixture.load(tmp_path / "m.npz"),
        pickle.loads(pickle.dumps(model)),
    ):  # fmt: skip
        assert (other.n_short, other.n_init, other.n_swaps) == (6, 2, 4)
        assert_same(other.fit(X), model)
    assert "n_short" not in model.to_sklearn().get_params()


def test_a_pickle_from_before_the_parameters_existed():
    X = data()
    model = GaussianMixture(3, random_state=0).fit(X)
    state = model.__getstate__()
    del state["n_short"], state["n_swaps"]
    old = GaussianMixture.__new__(GaussianMixture)
    old.__setstate__(state)
    assert (old.n_short, old.n_swaps) == (0, 0)
    assert_same(old.fit(X), model)


def test_verbose(capsys):
    GaussianMixture(3, n_short=3, n_swaps=2, random_state=0, verbose=1).fit(data())
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["Short run 0", "Short run 1", "Short run 2", "Initialization 0"]
    assert lines[-2].endswith(" of 2 swaps") and lines[-1] == "Initialization converged."
