"""Tests of what users do with Bayesian mixtures: kinds of data, weights, warm starts and copies."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from gmm_core import BayesianGaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore:Best performing")
TYPES = ["full", "tied", "diag", "spherical"]
WEIGHTS = ["dirichlet_process", "dirichlet_distribution"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
both_posteriors = pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])


def data(n=3_000, D=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, D)) + 3 * rng.integers(3, size=(n, 1))


def with_holes(X, share=0.2):
    return np.where(np.random.default_rng(1).random(X.shape) < share, np.nan, X)


def make(**params):
    params = {"n_components": 5, "random_state": 0, "max_iter": 12, "tol": 0, **params}
    return BayesianGaussianMixture(**params)


def by_place(X, n_components, random_state):
    """Return labels that depend on the row alone, so that copies of a row get the same one."""
    return np.clip(np.floor(X.mean(axis=1)), 0, n_components - 1).astype(int)


def fitted_names(model):
    return set(vars(model)) - set(model.get_params())


def assert_same(one, other):
    """Assert that the fitted attributes of two models are bit-identical."""
    assert fitted_names(one) == fitted_names(other)
    for name in fitted_names(one) - {"_position"}:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def assert_close(one, other, tolerance=1e-10):
    """Assert that fitted attributes agree; 12 iterations on sums of 3,000 rows round differently."""
    unlike = {"restarts_", "feature_names_in_", "precisions_cholesky_", "posterior_"}
    for name in fitted_names(other) - unlike:
        a, b = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * abs(b).max(), err_msg=name)


# --- batches, threads, layouts ------------------------------------------------------------------


@all_types
@both_posteriors
@pytest.mark.parametrize("init_params", ["kmeans", "random_from_data"])
@pytest.mark.parametrize("init_size", [None, 500])
def test_batches_threads_and_layouts_do_not_change_a_bit(
    tmp_path, covariance_type, posterior, init_params, init_size
):
    X = data()
    weight = np.random.default_rng(2).integers(0, 4, size=len(X)) * 0.3
    params = {
        "covariance_type": covariance_type, "posterior": posterior, "init_params": init_params,
        "init_size": init_size,
    }  # fmt: skip
    expected = make(**params, n_threads=1).fit(X, sample_weight=weight)
    cuts = [7, 1500, 1501, 2999]
    batches = list(zip(np.split(X, cuts), np.split(weight, cuts), strict=True))
    assert_same(make(**params).fit_batches(batches), expected)
    assert_same(make(**params).fit_batches(lambda: iter(batches)), expected)
    assert_same(make(**params, n_threads=3).fit(X, sample_weight=weight), expected)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = make(**params).fit(mapped, sample_weight=weight)
    assert_same(model, expected)
    assert not isinstance(model.means_, np.memmap)
    assert_same(make(**params).fit(np.asfortranarray(X), sample_weight=weight), expected)
    assert_same(make(**params, missing="marginalize").fit(X, sample_weight=weight), expected)


@all_types
@both_posteriors
def test_float32(covariance_type, posterior):
    X = data().astype(np.float32)
    params = {"covariance_type": covariance_type, "posterior": posterior}
    model = make(**params).fit(X)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert getattr(model, name).dtype == np.float32
    # The others are few, and in float32 they could round onto the bounds of their ranges.
    for name in ("mean_precision_", "degrees_of_freedom_", "mean_prior_", "covariance_prior_"):
        assert getattr(model, name).dtype == np.float64
    assert np.array(model.weight_concentration_).dtype == np.float64
    assert model.predict_proba(X).dtype == np.float32
    # Log-densities down to about -20 are rounded to float32, and 12 iterations follow.
    assert_close(model, make(**params).fit(X.astype(np.float64)), 1e3 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    "params",
    [
        {"weight_concentration_prior": 1e-46},
        {"mean_precision_prior": 1e-50, "weight_concentration_prior": 1e-3},
        {"degrees_of_freedom_prior": 2 + 1e-9, "weight_concentration_prior": 1e-3},
    ],
)
def test_priors_beyond_the_range_of_float32(params, tmp_path):
    X = data().astype(np.float32)
    model = make(n_components=8, **params).fit(X, sample_weight=np.full(3_000, 1e37))
    assert (model.predict(X) >= 0).all() and model.n_components_ > 0
    model.save(tmp_path / "model.npz")
    assert BayesianGaussianMixture.load(tmp_path / "model.npz").elbo_ == model.elbo_


# --- weights ------------------------------------------------------------------------------------


@all_types
@both_posteriors
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("missing", [False, True])
def test_a_weight_is_a_number_of_rows(covariance_type, posterior, weights, missing):
    X = with_holes(data()) if missing else data()
    params = {
        "covariance_type": covariance_type, "posterior": posterior, "missing": "marginalize",
        "weight_concentration_prior_type": weights, "init_params": by_place,
    }  # fmt: skip
    weight = np.random.default_rng(2).integers(0, 4, size=len(X))
    weighted = make(**params).fit(X, sample_weight=weight)
    assert_close(weighted, make(**params).fit(np.repeat(X, weight, axis=0)))
    present = weight > 0
    assert_close(weighted, make(**params).fit(X[present], sample_weight=weight[present]))


@all_types
@both_posteriors
@pytest.mark.parametrize("n_copies", [2, 3, 10])
def test_copies_with_a_share_of_the_weight(covariance_type, posterior, n_copies):
    X = data()
    params = {"covariance_type": covariance_type, "posterior": posterior, "init_params": by_place}
    model = make(**params).fit(np.repeat(X, n_copies, axis=0), sample_weight=np.full(n_copies * 3_000, 1 / n_copies))
    assert_close(model, make(**params).fit(X))


@all_types
@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1e6, 1e300])
def test_weights_of_any_scale(covariance_type, scale):
    """With tiny weights the posterior is the prior; with huge ones, N_k are the weights."""
    X, D = data(), 3
    shape = {"full": np.eye(D), "tied": np.eye(D), "diag": np.ones(D), "spherical": 1.0}
    prior = {"covariance_prior": 2 * shape[covariance_type], "mean_prior": np.zeros(D)}
    model = make(covariance_type=covariance_type, posterior="conjugate", **prior)
    model.fit(X, sample_weight=np.full(len(X), scale))
    counts = model.mean_precision_ - 1
    assert counts.sum() == pytest.approx(scale * len(X), rel=1e-12, abs=5e-16 * 5)
    assert np.isfinite(model.elbo_) and np.isfinite(model.log_predictive(X)).all()
    if scale == 1e-300:
        np.testing.assert_allclose(model.means_, 0, atol=1e-15)
        expected = np.broadcast_to(np.asarray(prior["covariance_prior"]) / D, model.covariances_.shape)
        np.testing.assert_allclose(model.covariances_, expected, atol=1e-15)
        # The bound is that of no data, log 1. Its terms are of order 10.
        assert model.elbo_ == pytest.approx(0, abs=1e-13)


def test_a_total_weight_that_leaves_the_covariance_prior_undefined():
    with pytest.raises(ValueError, match=r"covariance_prior has to be given .* The sum is 0\.3"):
        make().fit(data(), sample_weight=np.full(3_000, 1e-4))
    model = make(covariance_prior=np.eye(3)).fit(data(), sample_weight=np.full(3_000, 1e-4))
    assert np.isfinite(model.elbo_)


# --- missing values -----------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_the_bound_never_falls_with_missing_values(covariance_type, weights, share):
    X = np.vstack([with_holes(data(1_000), share), np.full((3, 3), np.nan)])
    model = make(
        covariance_type=covariance_type, posterior="conjugate", missing="marginalize",
        weight_concentration_prior_type=weights, max_iter=60,
    ).fit(X)  # fmt: skip
    # The bound is a sum of 1,000 terms, which are rounded.
    assert np.diff(model.lower_bounds_).min() >= -1e-12 * abs(model.elbo_)
    assert model.lower_bound_ == model.elbo_
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    assert_same(model, model.set_params(n_threads=3).fit(X))


@both_posteriors
def test_the_score_without_values_is_the_integral_over_all_values(posterior):
    """It is below 0, as the exponential of `score_samples` is not a density."""
    model = make(posterior=posterior, missing="marginalize", n_components=3).fit(data(20, 1))
    grid = np.linspace(-60, 80, 70_001)
    mass = np.exp(model.score_samples(grid[:, None])).sum() * (grid[1] - grid[0])
    assert mass < 0.95
    # The integrand is smooth and vanishes at both ends, so that the sum is exact up to rounding. A
    # density has the error of its logarithm, which is up to 1e4 in size: 1e4 eps = 2e-12.
    assert model.score_samples([[np.nan]])[0] == pytest.approx(np.log(mass), abs=5e-12)


def test_missing_values_are_refused_where_they_cannot_be_used():
    X = with_holes(data())
    with pytest.raises(ValueError, match='contains NaN.\nWith missing="marginalize"'):
        make().fit(X)
    model = make(missing="marginalize").fit(X)
    with pytest.raises(ValueError, match="contains NaN, but log_predictive"):
        model.log_predictive(X)
    with pytest.raises(ValueError, match="batch 0: Input X contains NaN"):
        make().fit_batches([X])


@all_types
def test_missing_values_in_batches(covariance_type):
    X = with_holes(data())
    params = {"covariance_type": covariance_type, "missing": "marginalize", "init_size": 500}
    expected = make(**params, n_threads=1).fit(X)
    for n_threads, cuts in ((1, [7, 1500]), (2, [2999]), (7, [])):
        batches = np.split(X, cuts)
        assert_same(make(**params, n_threads=n_threads).fit_batches(batches), expected)
    # one batch leaves nothing to memorise
    assert_close(make(**params).fit_batches([X], memoized=True), expected)
    bounds = make(**params, posterior="conjugate", reg_covar=0).fit_batches(
        np.split(X, [900, 2000]), memoized=True
    ).lower_bounds_  # fmt: skip
    assert np.diff(bounds).min() >= -1e-12 * abs(bounds[0])


def test_batches_have_no_noise():
    X = data(300)
    with pytest.raises(ValueError, match="batches have a noise_covariance, which Bayesian"):
        make().fit_batches([(X, None, np.ones(X.shape))])


# --- feature names, copies, parameters ----------------------------------------------------------


def test_feature_names():
    X = data()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = make().fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(model.means_, make().fit(X).means_)
    for method in ("predict", "predict_proba", "score_samples", "score", "log_predictive"):
        with pytest.raises(ValueError, match="feature names should match"):
            getattr(model, method)(frame[["b", "a", "c"]])
        with pytest.warns(UserWarning, match="but BayesianGaussianMixture was fitted with feature names"):
            getattr(model, method)(X)
    with pytest.raises(ValueError, match=r"minimum of 2 is required by BayesianGaussianMixture"):
        make().fit(X[:1])


@all_types
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(lambda m, p=p: pickle.loads(pickle.dumps(m, p)) for p in (2, 5))],
    ids=["copy", "deepcopy", "pickle 2", "pickle 5"],
)
def test_copies_are_the_same_model(covariance_type, copied):
    model, X = make(covariance_type=covariance_type, n_init=2).fit(data()), data()
    twin = copied(model)
    assert vars(twin).keys() == vars(model).keys()
    assert_same(twin, model)
    np.testing.assert_array_equal(twin.log_predictive(X), model.log_predictive(X))
    twin.means_ = twin.means_ + 1
    assert (model.predict_proba(X) != twin.predict_proba(X)).any()


def test_clone_and_set_params():
    params = {"mean_prior": np.zeros(3), "covariance_prior": np.eye(3), "posterior": "conjugate"}
    model = make(**params).fit(data())
    twin = clone(model)
    assert not fitted_names(twin)
    for name, value in model.get_params().items():
        np.testing.assert_array_equal(getattr(twin, name), value)
    assert_same(twin.fit(data()), model)
    twin.set_params(posterior="scikit-learn", max_iter=3, covariance_prior=None).fit(data())
    assert twin.n_iter_ == 3
    with pytest.raises(ValueError, match="Invalid parameter 'n_short'"):
        model.set_params(n_short=1)
    before = vars(model).copy()
    with pytest.raises(ValueError, match="'checkpoint_interval' parameter"):
        model.set_params(checkpoint_interval=0).fit(data())
    assert all(vars(model)[name] is before[name] for name in fitted_names(model))


def test_init_size_is_at_least_the_number_of_components():
    with pytest.raises(ValueError, match="init_size=3, expected at least n_components=5"):
        make(init_size=3).fit(data())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight_concentration_", np.ones(4), r"has shape \(4,\), expected \(5,\) or \(2, 5\)"),
        ("weight_concentration_", np.full((2, 5), np.nan), "must be finite and greater than 0"),
        ("mean_precision_", np.ones((5, 1)), r"has shape \(5, 1\), expected \(5,\)"),
        ("mean_precision_", -np.ones(5), "must be finite and greater than 0"),
        ("degrees_of_freedom_", np.float64(9), r"has shape \(\), expected \(5,\)"),
        ("degrees_of_freedom_", np.full(5, 2.0), "must be finite and greater than 2"),
    ],
)
def test_attributes_that_a_user_assigned(name, value, message):
    model = make().fit(data())
    setattr(model, name, value)
    for method in ("predict", "score_samples", "log_predictive"):
        with pytest.raises(ValueError, match=f"{name} {message}"):
            getattr(model, method)(data())


# --- warm starts --------------------------------------------------------------------------------


@all_types
@both_posteriors
@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_warm_start_continues_the_fit(covariance_type, posterior, weights):
    X = data()
    params = {
        "covariance_type": covariance_type, "posterior": posterior,
        "weight_concentration_prior_type": weights,
    }  # fmt: skip
    model = make(**params, warm_start=True).fit(X)
    first = model.lower_bounds_
    model = pickle.loads(pickle.dumps(model)).fit(X)
    longer = make(**params, max_iter=24).fit(X)
    assert first + model.lower_bounds_ == longer.lower_bounds_
    for name in fitted_names(model) - {"lower_bounds_", "n_iter_", "restarts_"}:
        np.testing.assert_array_equal(getattr(model, name), getattr(longer, name), err_msg=name)


def test_a_converged_fit_stays_converged_in_a_warm_start():
    model = make(warm_start=True, tol=1e-3, max_iter=1000).fit(data())
    assert model.converged_ and model.fit(data()).n_iter_ == 1


def test_warm_starts_of_another_shape_are_refused():
    model = make(warm_start=True).fit(data())
    before = vars(model).copy()
    with pytest.raises(ValueError, match="continues a mixture of 5 components and 3 features"):
        model.fit(data(D=2))
    with pytest.raises(ValueError, match="but n_components is 4"):
        model.set_params(n_components=4).fit(data())
    with pytest.raises(ValueError, match="covariance_type='diag'"):
        model.set_params(n_components=5, covariance_type="diag").fit(data())
    assert all(vars(model)[name] is before[name] for name in fitted_names(model))


def test_a_fit_without_iterations():
    model = make(max_iter=0).fit(data())
    assert model.n_iter_ == 0 and not model.converged_ and model.lower_bounds_ == []
    assert model.lower_bound_ == model.elbo_ == -np.inf  # as in scikit-learn
    assert model.predict(data()).shape == (3_000,)
    warm = make(warm_start=True).fit(data()).set_params(max_iter=0)
    means = warm.means_
    np.testing.assert_array_equal(warm.fit(data()).means_, means)


# --- corners ------------------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_constant_features_and_empty_components(covariance_type, dtype):
    """scikit-learn fits these, too: `reg_covar` keeps the variances of empty components above 0."""
    import sklearn.mixture

    constant = np.full((200, 1), 7, dtype)
    beside = np.c_[data(200, 1), constant].astype(dtype)
    for X in (constant, beside):
        params = {"n_components": 6, "covariance_type": covariance_type, "random_state": 0,
                  "weight_concentration_prior": 1e-6}  # fmt: skip
        model = BayesianGaussianMixture(**params).fit(X)
        sklearn.mixture.BayesianGaussianMixture(**params).fit(X)
        assert np.isfinite(model.score_samples(X)).all()


def test_assigned_attributes_count():
    X = data()
    model = make(n_components=2).fit(X)
    before = model.score_samples(X[:3])
    model.covariances_ = 100 * model.covariances_
    assert not np.allclose(model.score_samples(X[:3]), before)
    wide = model.sample(5_000)[0].var()
    np.testing.assert_allclose(model.to_gaussian_mixture().sample(5_000)[0].var(), wide, rtol=0.2)
    model.weights_ = [1.0, 0.0]
    assert not model.sample(500)[1].any()
    model.means_ = model.means_.tolist()
    assert model.predict(X).shape == (3_000,)


def test_another_posterior_than_that_of_the_fit():
    X = data()
    model = make(covariance_type="tied").fit(X)
    before = model.predict_proba(X)
    model.set_params(posterior="conjugate")
    np.testing.assert_array_equal(model.predict_proba(X), before)
    with pytest.raises(ValueError, match="partial_fit continues a posterior of the updates 'scikit-learn'"):
        model.partial_fit(X)
    assert model.fit(X).posterior_ == "conjugate"


def test_no_component_that_holds_samples():
    model = make(n_components=2, covariance_prior=np.eye(3)).fit(
        data(), sample_weight=np.full(3_000, 1e-4)
    )
    assert model.n_components_ == 0
    with pytest.raises(ValueError, match="no component holds samples"):
        model.to_gaussian_mixture()


def test_a_prior_of_the_means_that_hides_the_counts():
    X = data()
    model = make(n_components=3, mean_precision_prior=1e9, mean_prior=[3, 3, 3]).fit(X)
    counts = model._counts()
    model.partial_fit(X[:1], sample_weight=[1e-9])
    np.testing.assert_allclose(model._counts(), counts, rtol=1e-6)


@pytest.mark.parametrize("first", [4, 3_000])
def test_a_stream_goes_on_after_load(tmp_path, first):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4_000, 2)) + 5 * rng.integers(2, size=(4_000, 1))
    kept = BayesianGaussianMixture(n_components=3, random_state=0)
    kept.partial_fit(X[:first])
    kept.save(tmp_path / "model.npz")
    loaded = BayesianGaussianMixture.load(tmp_path / "model.npz")
    for start in range(first, 4_000, 50):
        kept.partial_fit(X[start : start + 50])
        loaded.partial_fit(X[start : start + 50])
    assert_same(loaded, kept)


def test_messages_name_what_is_wrong():
    X = with_holes(data())
    model = make(missing="marginalize").fit(X)
    with pytest.raises(ValueError, match="log_predictive does not take missing values"):
        model.log_predictive(X)
    model = make(n_components=2).fit(data())
    del vars(model)["mean_prior_"]
    with pytest.raises(AttributeError, match="the model has no mean_prior_"):
        model.partial_fit(data())
