"""Tests of memoised variational inference, which updates the posterior after every batch."""

from __future__ import annotations

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, NoDensityError

EPS = np.finfo(float).eps
TYPES = ("full", "tied", "diag", "spherical")
POSTERIORS = ("scikit-learn", "conjugate")
PRIORS = ("dirichlet_process", "dirichlet_distribution")
all_types = pytest.mark.parametrize("covariance_type", TYPES)
all_posteriors = pytest.mark.parametrize("posterior", POSTERIORS)


def overlapping(n=4_000, seed=0, n_features=3, n_components=5):
    """Return samples for which variational inference takes tens of iterations or more."""
    rng = np.random.default_rng(seed)
    means = 1.5 * rng.normal(size=(n_components, n_features))
    factors = rng.normal(size=(n_components, n_features, n_features)) / 2 + 0.7 * np.eye(n_features)
    labels = rng.choice(n_components, size=n, p=np.arange(1.0, n_components + 1) / 15)
    return means[labels] + np.einsum("nij,nj->ni", factors[labels], rng.normal(size=(n, n_features)))


def mixture(covariance_type="full", **params):
    params = {"n_components": 6, "random_state": 0, "max_iter": 3_000} | params
    return BayesianGaussianMixture(covariance_type=covariance_type, **params)


def assert_same(model, other):
    assert model.lower_bounds_ == other.lower_bounds_
    assert model.elbo_ == other.elbo_
    np.testing.assert_array_equal(model.means_, other.means_)
    np.testing.assert_array_equal(model.covariances_, other.covariances_)


@pytest.mark.parametrize("prior", PRIORS)
@all_posteriors
@all_types
def test_fewer_passes_reach_the_same_bound(covariance_type, posterior, prior):
    X = overlapping()
    batches = np.array_split(X, 10)
    params = {"posterior": posterior, "weight_concentration_prior_type": prior}
    full = mixture(covariance_type, **params).fit_batches(batches)
    model = mixture(covariance_type, **params).fit_batches(batches, memoized=True)
    assert full.n_iter_ > 20
    assert model.converged_
    assert model.n_iter_ < 0.75 * full.n_iter_
    assert model.elbo_ > full.elbo_ - 1e-6 * len(X)
    if posterior == "conjugate":
        rounding = 20 * EPS * abs(model.elbo_)
        assert (np.diff(model.lower_bounds_) > -rounding).all()
        assert model.elbo_ == pytest.approx(model.lower_bound_, rel=1e-12)


@all_posteriors
@all_types
def test_the_end_is_a_fixed_point_of_full_passes(covariance_type, posterior):
    X = overlapping(2_000)
    model = mixture(covariance_type, posterior=posterior, tol=1e-9)
    model.fit_batches(np.array_split(X, 7), memoized=True)
    bound, means = model.lower_bound_, model.means_
    model.set_params(warm_start=True, max_iter=2, tol=1e-4).fit(X)
    assert model.n_iter_ == 1
    assert model.lower_bound_ == pytest.approx(bound, abs=1e-6)
    np.testing.assert_allclose(model.means_, means, atol=1e-3)


@all_types
def test_one_batch_makes_full_passes(covariance_type):
    """The origins of the statistics are others, so the results agree within rounding."""
    X = overlapping(1_000)
    full = mixture(covariance_type, max_iter=200).fit(X)
    model = mixture(covariance_type, max_iter=200).fit_batches([X], memoized=True)
    assert model.n_iter_ == full.n_iter_
    np.testing.assert_allclose(model.lower_bounds_, full.lower_bounds_, rtol=1e-11)
    np.testing.assert_allclose(model.means_, full.means_, rtol=1e-8, atol=1e-8)


def test_the_first_pass_is_a_full_one():
    X = overlapping(1_000)
    with pytest.warns(UserWarning, match="did not converge"):
        full = mixture(max_iter=1).fit(X)
    with pytest.warns(UserWarning, match="did not converge"):
        model = mixture(max_iter=1).fit_batches(np.array_split(X, 5), memoized=True)
    assert model.lower_bound_ == pytest.approx(full.lower_bound_, rel=1e-13)


def test_results_are_bit_identical_for_any_number_of_threads():
    batches = np.array_split(overlapping(6_000), 4)
    one = mixture(max_iter=2_000, n_threads=1).fit_batches(batches, memoized=True)
    assert_same(mixture(max_iter=2_000, n_threads=7).fit_batches(batches, memoized=True), one)
    several = [np.empty((0, 3)), *batches, np.empty((0, 3))]
    assert_same(mixture(max_iter=2_000).fit_batches(lambda: iter(several), memoized=True), one)


def test_several_starts_moves_and_weights():
    X = overlapping(3_000)
    weight = np.random.default_rng(0).uniform(0, 4, len(X))
    batches = list(zip(np.array_split(X, 6), np.array_split(weight, 6), strict=True))
    params = {"n_init": 2, "posterior": "conjugate", "tol": 1e-2}
    full = mixture(**params).fit_batches(batches)
    model = mixture(**params).fit_batches(batches, memoized=True)
    for start, other in zip(model.restarts_, full.restarts_, strict=True):
        assert start.n_iter < other.n_iter
        assert start.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-3 * len(X))
    assert model.mean_precision_.sum() == pytest.approx(weight.sum() + 6, rel=1e-12)
    moved = mixture(moves=True, **params).fit_batches(batches, memoized=True)
    assert moved.elbo_ >= model.elbo_


def test_far_starts_do_not_cost_digits():
    """The means begin far from where they end, in units of the standard deviations."""
    X = overlapping(1_000) + 1e6
    params = {"init_params": "random", "tol": 1e-6}
    full = mixture(**params).fit(X)
    model = mixture(**params).fit_batches(np.array_split(X, 5), memoized=True)
    near = mixture(**params).fit_batches(np.array_split(X - 1e6, 5), memoized=True)
    # The bounds of this many samples at this offset have an error of about eps 1e6 for each.
    assert model.elbo_ == pytest.approx(near.elbo_, abs=1e-2)
    assert model.elbo_ > full.elbo_ - 1e-6 * len(X)


def test_batches_have_to_be_the_same_in_every_pass():
    X, n_passes = overlapping(400), []

    def batches():
        n_passes.append(None)
        return np.array_split(X, 4 if len(n_passes) < 8 else 5)

    model = mixture(max_iter=50)
    with pytest.raises(ValueError, match="batch 0, not counting empty ones, has 80 rows in this pass"):
        model.fit_batches(batches, memoized=True)
    assert "means_" not in vars(model)


def test_the_row_of_an_error_is_counted_over_all_batches():
    X = overlapping(400)
    X[250] = 1e160  # the square of the distance overflows
    params = {"mean_prior": np.zeros(3), "covariance_prior": np.eye(3)}
    with pytest.raises(NoDensityError, match="250"):
        mixture(init_params="random_from_data", **params).fit_batches(
            np.array_split(X, 4), memoized=True
        )


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_the_argument_is_checked(value):
    with pytest.raises(TypeError, match="memoized is .*, expected a bool"):
        mixture().fit_batches([overlapping(100)], memoized=value)


@all_types
def test_a_batch_of_weight_0_changes_nothing(covariance_type):
    X, batches = overlapping(1_000), []
    for part in np.array_split(X, 4):
        batches += [(part, np.ones(len(part))), (part + 1, np.zeros(len(part)))]
    model = mixture(covariance_type).fit_batches(batches, memoized=True)
    expected = mixture(covariance_type).fit_batches(batches[::2], memoized=True)
    np.testing.assert_allclose(model.means_, expected.means_, rtol=1e-9, atol=1e-9)
    assert model.n_iter_ == expected.n_iter_
