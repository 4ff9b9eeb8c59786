"""Tests of partial_fit of a Bayesian mixture, stochastic variational inference on streams."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, InvalidParameterError, NoDensityError
from gmm_core.fit.bayesian import precision_prior
from gmm_core.fit.bayesian_stream import (
    Position,
    implied_moments,
    rows_of_first_samples,
    step_size,
)
from gmm_core.fit.stepwise import rows_of_a_start
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.posterior import Moments, Prior, update

EPS = np.finfo(float).eps
TYPES = ("full", "tied", "diag", "spherical")
POSTERIORS = ("scikit-learn", "conjugate")
PRIORS = ("dirichlet_process", "dirichlet_distribution")
all_types = pytest.mark.parametrize("covariance_type", TYPES)
all_posteriors = pytest.mark.parametrize("posterior", POSTERIORS)


def blobs(n, seed=0, n_features=3, n_components=5, round_ones=False):
    """Return samples of a mixture whose components have unequal weights."""
    rng = np.random.default_rng(seed)
    means = 3 * rng.normal(size=(n_components, n_features))
    factors = rng.normal(size=(n_components, n_features, n_features)) / 2
    factors = np.eye(n_features) + (0 if round_ones else 1) * factors
    labels = rng.choice(n_components, size=n, p=np.arange(1.0, 6) / 15)
    noise = rng.normal(size=(n, n_features))
    return means[labels] + np.einsum("nij,nj->ni", np.broadcast_to(factors, (5, 3, 3))[labels], noise)


def learn(model, X, size, sample_weight=None):
    for start in range(0, len(X), size):
        part = slice(start, start + size)
        model.partial_fit(X[part], sample_weight=None if sample_weight is None else sample_weight[part])
    return model


def fitted(model):
    """Return copies of all attributes."""
    return copy.deepcopy(vars(model))


def assert_same(model, other, **tolerance):
    for name in ("weights_", "means_", "covariances_", "mean_precision_", "degrees_of_freedom_", "elbo_"):
        a, b = np.asarray(getattr(model, name)), np.asarray(getattr(other, name))
        if tolerance:
            np.testing.assert_allclose(a, b, err_msg=name, **tolerance)
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)


# --- steps --------------------------------------------------------------------------------------


def test_a_full_batch_has_the_step_of_hoffman():
    for t in (0, 1, 7, 1000):
        for offset, decay in ((1, 0.6), (10, 0.7), (64, 1.0)):
            rho = step_size(t * 300, 300, 300, offset, decay)
            assert rho == pytest.approx((t + offset) ** -decay, rel=1e-12)
    assert step_size(0, 300, 300, 0.5, 0.7) == 1


def test_parts_of_a_batch_make_about_its_step():
    whole = step_size(30_000, 300, 300, 10, 0.7)
    kept = 1.0
    for i in range(10):
        kept *= 1 - step_size(30_000 + 30 * i, 30, 300, 10, 0.7)
    # In the batch, the exponent (t + τ)^(−κ) changes by less than κ / t of itself.
    assert 1 - kept == pytest.approx(whole, rel=0.7 / 100)


# --- the state at the beginning ------------------------------------------------------------------


@pytest.mark.parametrize("process", [False, True])
@all_posteriors
@all_types
def test_implied_moments_invert_the_update(covariance_type, posterior, process):
    rng, K, D = np.random.default_rng(0), 4, 3
    kind, reg_covar = COVARIANCE_TYPES[covariance_type], np.full(D, 1e-3)
    A = rng.normal(size=(K, D, D))
    covariances = kind.conjugate.regularised(np.zeros(kind.shape(K, D)), np.full(D, 2.0))
    covariances = covariances + kind.conjugate.between(np.full(K, 0.5), A[:, 0])
    moments = Moments(np.array([300.0, 1.5, 0, 40]), rng.normal(size=(K, D)), covariances)
    covariance = np.full(kind.conjugate.prior_shape(D), 0.3)
    if covariance.ndim == 2:
        covariance = covariance + np.eye(D)
    prior = Prior(process, 0.5, 2.0, rng.normal(size=D), precision_prior(5.0, covariance, covariance_type, D, False))
    args = prior, reg_covar, covariance_type, posterior == "conjugate"
    before = update(moments, *args)
    implied = implied_moments(before, prior, reg_covar)
    held = np.array([0, 1, 3])
    np.testing.assert_allclose(implied.counts, moments.counts, rtol=1e-14)
    np.testing.assert_allclose(implied.means[held], moments.means[held], rtol=1e-13)
    np.testing.assert_allclose(
        kind.take(implied.covariances, held), kind.take(moments.covariances, held), rtol=1e-11, atol=1e-11
    )
    after = update(implied, *args)
    np.testing.assert_allclose(after.covariances, before.covariances, rtol=1e-12)
    np.testing.assert_allclose(after.mixture.means, before.mixture.means, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("prior", PRIORS)
@all_posteriors
@all_types
def test_a_small_step_after_fit_changes_little(covariance_type, posterior, prior):
    X = blobs(5_000)
    params = {"covariance_type": covariance_type, "posterior": posterior, "random_state": 0}
    model = BayesianGaussianMixture(
        n_components=7, weight_concentration_prior_type=prior, learning_offset=1e20, max_iter=1000, **params
    ).fit(X)
    before = copy.deepcopy(model)
    model.partial_fit(X[:1])  # with a step of 1e-14 / 420
    assert model.n_iter_ == 1 and not model.converged_ and model.lower_bounds_ == []
    # One sample more is a change of 1 / 5,000 in N. Components without samples have the prior's mean.
    assert_same(model, before, rtol=1e-3, atol=1e-6)
    assert model.lower_bound_ == pytest.approx(before.lower_bound_, rel=1e-3)
    n = (model.mean_precision_ - model.mean_precision_prior_).sum()
    assert n == pytest.approx(5_001, rel=7e-8)  # a share of 1e-8 is the least of a component


# --- how well a stream is learnt -----------------------------------------------------------------


@all_posteriors
@all_types
def test_a_stream_is_learnt_nearly_as_well_as_by_full_passes(covariance_type, posterior):
    """On the samples that were held out, the loss is less than 0.02 nats per sample."""
    X = blobs(60_000, seed=1, round_ones=covariance_type != "full")
    stream, held_out = X[:50_000], X[50_000:]
    params = {"covariance_type": covariance_type, "posterior": posterior, "random_state": 0}
    params |= {"n_components": 5, "max_iter": 500, "tol": 1.0}
    batch = BayesianGaussianMixture(n_init=2, **params).fit(stream)
    model = learn(BayesianGaussianMixture(**params), stream, 10_000)
    loss = batch.log_predictive(held_out).mean() - model.log_predictive(held_out).mean()
    assert abs(loss) < 0.02
    assert model.n_iter_ == sum(-(-n // rows_of_a_start(5, 3)) for n in (8_000, *(4 * [10_000])))
    # N is the number of samples seen, so the posterior is as narrow as after full passes.
    n = (model.mean_precision_ - model.mean_precision_prior_).sum()
    assert n == pytest.approx(50_000, rel=1e-7)
    assert model.elbo_ / 50_000 == pytest.approx(batch.elbo_ / 50_000, abs=0.05)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_division_into_calls_hardly_matters(prior):
    X = blobs(20_000, seed=2)
    model = BayesianGaussianMixture(n_components=5, weight_concentration_prior_type=prior, random_state=0)
    one = copy.deepcopy(model).partial_fit(X)
    for size in (5_000, 333, 37):
        parts = learn(copy.deepcopy(model), X, size)
        difference = one.log_predictive(X) - parts.log_predictive(X)
        assert np.abs(difference).mean() < 0.005
    # Calls of whole batches after the first samples make the same steps.
    first, size = rows_of_first_samples(5, 3), rows_of_a_start(5, 3)
    parts = learn(copy.deepcopy(model).partial_fit(X[:first]), X[first:], size)
    assert parts.n_iter_ == one.n_iter_
    assert_same(parts, one, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_first_samples_are_collected_and_fitted():
    X = blobs(3_000)
    model = BayesianGaussianMixture(n_components=5, random_state=0)
    learn(model, X[:4], 1)
    assert "means_" not in vars(model)
    model.partial_fit(X[4:50])
    assert model.means_.shape == (5, 3)
    n = (model.mean_precision_ - model.mean_precision_prior_).sum()
    assert n == pytest.approx(50)
    enough = rows_of_first_samples(5, 3)
    model.partial_fit(X[50:enough])
    start = BayesianGaussianMixture(n_components=5, random_state=0, n_init=10)
    # The prior comes from all first samples.
    np.testing.assert_allclose(model.mean_prior_, X[:enough].mean(axis=0), rtol=1e-12)
    assert_same(model, start.fit(X[:enough]))
    prior = model.mean_prior_, model.covariance_prior_
    model.partial_fit(X[enough:])
    np.testing.assert_array_equal(model.mean_prior_, prior[0])
    np.testing.assert_array_equal(model.covariance_prior_, prior[1])


# --- weights, dtypes, threads --------------------------------------------------------------------


def test_the_size_of_weights_matters_as_in_fit():
    X = blobs(8_000, seed=1, round_ones=True)
    model = BayesianGaussianMixture(n_components=5, random_state=0)
    twice = learn(copy.deepcopy(model), X, 1_000, np.full(len(X), 2.0))
    once = learn(copy.deepcopy(model), X, 1_000)
    n = (twice.mean_precision_ - twice.mean_precision_prior_).sum()
    assert n == pytest.approx(16_000, rel=1e-7)
    # The posteriors differ by the influence of the prior, far less than by the statistical error,
    # which is about the root of 49 parameters / 8,000 samples.
    assert np.abs(once.log_predictive(X) - twice.log_predictive(X)).mean() < 0.25 * np.sqrt(49 / 8_000)
    # A sample of weight 0 is none.
    weight = np.ones(len(X))
    weight[::3] = 0
    some = learn(copy.deepcopy(model), X, 1_200, weight)
    kept = learn(copy.deepcopy(model), X[weight > 0], 800)
    assert_same(some, kept, rtol=1e-9, atol=1e-12)


def test_small_weights_are_collected_until_they_give_a_prior():
    X = blobs(3_000)
    model = BayesianGaussianMixture(n_components=5, random_state=0)
    for total in (0.5, 1.0):
        with pytest.raises(ValueError, match=f"covariance_prior has to be given .* The sum is {total:g}"):
            model.fit(X[:64], sample_weight=np.full(64, total / 64))
    learn(model, X[:100], 10, np.full(100, 0.01))
    assert "means_" not in vars(model)
    learn(model, X[100:], 500, np.full(2_900, 0.01))
    n = (model.mean_precision_ - model.mean_precision_prior_).sum()
    assert n == pytest.approx(30, rel=1e-6)


@all_types
def test_first_samples_may_be_degenerate(covariance_type):
    X = blobs(3_000)
    X[:60] = X[0]
    model = BayesianGaussianMixture(n_components=2, covariance_type=covariance_type, random_state=0)
    learn(model, X, 30)
    assert np.isfinite(model.log_predictive(X)).all()


def test_results_are_bit_identical_for_any_number_of_threads():
    X = blobs(8_000)
    one = learn(BayesianGaussianMixture(n_components=5, random_state=0, n_threads=1), X, 3_000)
    many = learn(BayesianGaussianMixture(n_components=5, random_state=0, n_threads=7), X, 3_000)
    assert_same(one, many)


@all_types
def test_float32_stays_float32(covariance_type):
    X = blobs(8_000)
    params = {"n_components": 5, "covariance_type": covariance_type, "random_state": 0}
    single = learn(BayesianGaussianMixture(**params), X.astype(np.float32), 3_000)
    double = learn(BayesianGaussianMixture(**params), X, 3_000)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert getattr(single, name).dtype == np.float32
    assert np.abs(single.log_predictive(X) - double.log_predictive(X)).mean() < 0.01


# --- the state between calls ---------------------------------------------------------------------


def test_a_stream_goes_on_after_pickling():
    X = blobs(6_000)
    model, other = (BayesianGaussianMixture(n_components=5, random_state=0) for _ in range(2))
    for start in range(0, len(X), 700):
        model.partial_fit(X[start : start + 700])
        other = pickle.loads(pickle.dumps(other)).partial_fit(X[start : start + 700])
        assert type(other._position) is Position
        assert all(isinstance(array, np.ndarray) for array in other._position)
    assert_same(model, other)
    assert not len(model._position.X)  # no samples are kept


def test_fit_ends_a_stream_and_partial_fit_continues_a_fit():
    X = blobs(6_000)
    model = learn(BayesianGaussianMixture(n_components=5, random_state=0, max_iter=500), X[:3_000], 1_000)
    model.fit(X)
    assert "_position" not in vars(model)
    n_iter = model.n_iter_
    model.partial_fit(X[:300])
    assert (model.n_iter_, n_iter > 1) == (1, True)
    model.partial_fit(X[:300])
    assert model.n_iter_ == 2


def test_a_stream_goes_on_from_assigned_parameters():
    X = blobs(6_000)
    model = learn(BayesianGaussianMixture(n_components=5, random_state=0, learning_offset=1e9), X, 3_000)
    model.means_ = model.means_ + 100
    model.partial_fit(X[:1])
    assert model.means_.min() > 50


def test_names_of_features_are_kept():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(blobs(3_000), columns=["a", "b", "c"])
    model = BayesianGaussianMixture(n_components=5, random_state=0)
    model.partial_fit(X[:3])
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(X[["c", "b", "a"]][:3])
    learn(model, X, 500)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]


# --- missing values ------------------------------------------------------------------------------


def with_holes(X):
    return np.where(np.random.default_rng(3).random(X.shape) < 0.3, np.nan, X)


@all_types
@all_posteriors
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_step_of_size_1_is_an_iteration_over_the_part(covariance_type, posterior, dtype):
    """The part then stands for all samples, and counts as many as these."""
    X = blobs(220, n_components=5).astype(dtype)
    part, total = with_holes(X[100:]), 220
    params = {
        "n_components": 2, "covariance_type": covariance_type, "posterior": posterior,
        "random_state": 0, "missing": "marginalize", "learning_offset": 0.0,
        "mean_prior": np.zeros(3),
        "covariance_prior": {"full": np.eye(3), "tied": np.eye(3), "diag": np.ones(3)}.get(
            covariance_type, 1.0
        ),
    }  # fmt: skip
    stream = BayesianGaussianMixture(**params).fit(X[:100])
    expected = copy.deepcopy(stream).set_params(warm_start=True, max_iter=1, tol=0)
    stream.partial_fit(part)
    with pytest.warns(UserWarning, match="did not converge"):
        expected.fit(part, sample_weight=np.full(len(part), total / len(part)))
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    assert stream.means_.dtype == dtype
    assert_same(stream, expected, rtol=tolerance, atol=tolerance)


def test_first_samples_with_missing_values(tmp_path):
    X = with_holes(blobs(300))
    X[:7, 2] = np.nan
    model = BayesianGaussianMixture(n_components=2, random_state=0, missing="marginalize")
    enough = rows_of_first_samples(2, 3)
    learn(model, X[:7], 1)
    assert not hasattr(model, "means_")
    model.partial_fit(X[7:200])
    model.save(tmp_path / "m.npz")
    loaded = BayesianGaussianMixture.load(tmp_path / "m.npz")
    more = with_holes(blobs(enough - 200 + 50, seed=1))
    for again in (model, loaded):
        again.partial_fit(more)
    assert_same(model, loaded)
    assert np.isfinite(model.lower_bound_) and model.n_iter_ == 1


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_before", [0, 3, 100, 2_500])
@pytest.mark.parametrize(
    ("X", "weight", "message"),
    [
        (np.array([[np.nan, 0, 0]]), None, "NaN"),
        (np.zeros((2, 3)), [1.0], "sample_weight"),
        (np.zeros((2, 3)), [1.0, -1.0], "sample_weight"),
    ],
)  # fmt: skip
def test_an_error_leaves_the_model_unchanged(X, weight, message, n_before):
    model = BayesianGaussianMixture(n_components=5, random_state=0)
    if n_before:
        model.partial_fit(blobs(n_before))
    before = pickle.dumps(vars(model))
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, sample_weight=weight)
    if n_before:
        with pytest.raises(ValueError, match="features"):
            model.partial_fit(np.zeros((2, 4)))
    assert pickle.dumps(vars(model)) == before


def test_an_error_of_a_later_step_leaves_the_model_unchanged():
    X = blobs(4_000)
    model = BayesianGaussianMixture(n_components=5, random_state=0).partial_fit(X)
    before = fitted(model)
    X[2_345] = 1e160  # the square of the distance overflows
    with pytest.raises(NoDensityError, match="2345"):
        model.partial_fit(X)
    assert vars(model).keys() == before.keys()
    np.testing.assert_array_equal(model.means_, before["means_"])
    np.testing.assert_array_equal(model._position.values, before["_position"].values)


def test_another_number_of_components_is_refused():
    model = BayesianGaussianMixture(n_components=2, random_state=0).fit(blobs(300))
    model.set_params(n_components=3)
    with pytest.raises(ValueError, match="mixture of 2 components, but n_components is 3"):
        model.partial_fit(blobs(300))


@pytest.mark.parametrize(
    ("name", "value"), [("learning_decay", 0.5), ("learning_decay", 2), ("learning_offset", -1)]
)
def test_the_step_sizes_are_checked(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        BayesianGaussianMixture(**{name: value}).partial_fit(blobs(10))
