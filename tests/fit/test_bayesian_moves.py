"""Tests of merges and deletions: they never lower the bound, and remove duplicate components."""

from __future__ import annotations

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, InvalidParameterError
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit import moves
from gmm_core.fit.variational import moments_of
from gmm_core.model.covariance import COVARIANCE_TYPES

TYPES = ("full", "tied", "diag", "spherical")
POSTERIORS = ("scikit-learn", "conjugate")
PRIORS = ("dirichlet_process", "dirichlet_distribution")
N_GROUPS = 6

all_types = pytest.mark.parametrize("covariance_type", TYPES)


def groups(seed, n=3_000, n_features=3):
    """Return samples of six round groups that lie apart."""
    rng = np.random.default_rng(seed)
    means = 5 * rng.normal(size=(N_GROUPS, n_features))
    return means[rng.integers(N_GROUPS, size=n)] + rng.normal(size=(n, n_features))


def mixture(covariance_type="full", **params):
    return BayesianGaussianMixture(
        n_components=15, covariance_type=covariance_type, random_state=0, max_iter=400, tol=0.1,
        weight_concentration_prior=1.0, **params,
    )  # fmt: skip


# --- the moves find what the data consist of --------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS)
@all_types
def test_moves_remove_the_duplicates_of_a_start_by_k_means(covariance_type, posterior, prior):
    """For these seeds, a fit without moves keeps several components in one group."""
    params = {"posterior": posterior, "weight_concentration_prior_type": prior}
    n_before = []
    for seed in (7, 41):
        X = groups(seed)
        without = mixture(covariance_type, **params).fit(X)
        model = mixture(covariance_type, moves=True, **params).fit(X)
        n_before.append(without.n_components_)
        assert model.n_components_ == N_GROUPS
        assert model.lower_bound_ >= without.lower_bound_
        if without.n_components_ > N_GROUPS:
            # A component too many costs at least half the logarithm of n for each parameter.
            assert model.lower_bound_ > without.lower_bound_ + 1
            assert model.elbo_ > without.elbo_ + 1
    assert max(n_before) > N_GROUPS


@pytest.mark.parametrize("other", ["_N_MERGES", "_N_DELETIONS"])
def test_merges_alone_and_deletions_alone_remove_duplicates(other, monkeypatch):
    monkeypatch.setattr(moves, other, 0)
    X = groups(41)
    params = {"weight_concentration_prior_type": "dirichlet_distribution", "posterior": "conjugate"}
    without = mixture("tied", **params).fit(X)
    model = mixture("tied", moves=True, **params).fit(X)
    assert model.n_components_ == N_GROUPS < without.n_components_
    assert model.elbo_ > without.elbo_ + 1


def test_the_sticks_of_a_dirichlet_process_are_sorted():
    X = groups(3)
    without, model = mixture().fit(X), mixture(moves=True).fit(X)
    assert model.lower_bound_ > without.lower_bound_
    counts = model.mean_precision_ - model.mean_precision_prior_
    held = counts >= 0.5
    # Counts change a little in the iterations after the last move.
    assert (np.diff(counts[held]) < 1).all()
    assert held[: model.n_components_].all()


# --- the bound never falls, and is that of the fitted posterior ---------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("posterior", POSTERIORS)
@all_types
def test_moves_never_lower_the_bound(covariance_type, posterior, weighted, dtype):
    X = groups(4, n=600).astype(dtype)
    weight = np.random.default_rng(1).uniform(0.2, 3, len(X)) if weighted else None
    for prior in PRIORS:
        params = {"posterior": posterior, "weight_concentration_prior_type": prior, "n_init": 2}
        without = mixture(covariance_type, **params).fit(X, sample_weight=weight)
        model = mixture(covariance_type, moves=True, **params).fit(X, sample_weight=weight)
        assert model.lower_bound_ >= without.lower_bound_
        assert model.n_iter_ == len(model.lower_bounds_)
        assert model.lower_bounds_[-1] == model.lower_bound_
        for before, after in zip(without.restarts_, model.restarts_, strict=True):
            assert after.log_likelihood >= before.log_likelihood
        if posterior == "conjugate":
            # A sum of n log-densities has an error of some eps of its size, in the dtype of X.
            rounding = 20 * np.finfo(dtype).eps * abs(model.lower_bound_)
            assert (np.diff(model.lower_bounds_) > -rounding).all()
            assert model.elbo_ == pytest.approx(model.lower_bound_, rel=1e-12)


def test_without_moves_nothing_changes():
    X = groups(5, n=400)
    model = BayesianGaussianMixture(n_components=2, random_state=0, max_iter=300)
    moved = BayesianGaussianMixture(n_components=2, random_state=0, max_iter=300, moves=True)
    # Two components for six groups: no move is kept, but for a new order.
    params = {"weight_concentration_prior_type": "dirichlet_distribution"}
    model, moved = (m.set_params(**params).fit(X) for m in (model, moved))
    assert model.lower_bounds_ == moved.lower_bounds_
    np.testing.assert_array_equal(model.means_, moved.means_)


def test_fits_without_iterations_and_with_one_component_make_no_moves():
    X = groups(0, n=100)
    model = mixture(moves=True).set_params(max_iter=0).fit(X)
    assert model.n_iter_ == 0
    model = BayesianGaussianMixture(moves=True, random_state=0).fit(X)
    without = BayesianGaussianMixture(random_state=0).fit(X)
    assert model.lower_bounds_ == without.lower_bounds_


def test_a_warm_start_makes_moves_as_well():
    X = groups(1)
    model = mixture("tied", posterior="conjugate", warm_start=True).fit(X)
    before = model.elbo_, model.n_components_
    model.set_params(moves=True).fit(X)
    assert model.elbo_ > before[0] + 1
    assert model.n_components_ == N_GROUPS < before[1]


# --- the result does not depend on how the samples are read -------------------------------------


def test_results_are_bit_identical_for_threads_batches_and_maps(tmp_path):
    X = groups(2, n=6_000)
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", X.dtype, "r", shape=X.shape)
    model = mixture("tied", moves=True)
    expected = model.fit(X)
    assert expected.n_components_ == N_GROUPS
    others = [mixture("tied", moves=True, n_threads=n).fit(X) for n in (2, 7)]
    others += [mixture("tied", moves=True).fit(mapped)]
    others += [mixture("tied", moves=True).fit_batches([X[:1_000], X[1_000:]])]
    for other in others:
        assert other.lower_bounds_ == expected.lower_bounds_
        np.testing.assert_array_equal(other.means_, expected.means_)
        np.testing.assert_array_equal(other.covariances_, expected.covariances_)


def test_moves_with_missing_values():
    X = groups(1)
    X[::7, 0] = np.nan
    params = {"missing": "marginalize", "posterior": "conjugate"}
    without = mixture("diag", **params).fit(X)
    model = mixture("diag", moves=True, **params).fit(X)
    assert model.n_components_ == N_GROUPS < without.n_components_
    assert model.elbo_ > without.elbo_ + 1


# --- merges -------------------------------------------------------------------------------------


@all_types
def test_a_merge_has_the_moments_of_the_samples_together(covariance_type):
    X, kind = groups(0, n=300), COVARIANCE_TYPES[covariance_type]
    labels = np.arange(len(X)) % 4
    data = ArrayPass(X, np.random.default_rng(0).uniform(0, 1, len(X)), 4, covariance_type, 1)

    def moments(labels):
        shift = data.statistics(np.zeros((4, 3)), labels=labels).means
        return moments_of(data.statistics(shift, labels=labels), 1)

    after = moves.merged(moments(labels), kind, 3, 1)
    expected = moments(np.where(labels == 1, 3, labels))
    np.testing.assert_allclose(after.counts, expected.counts, rtol=1e-13, atol=0)
    held = np.array([0, 2, 3])
    np.testing.assert_allclose(after.means[held], expected.means[held], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        kind.take(after.covariances, held), kind.take(expected.covariances, held), rtol=1e-12,
        atol=1e-13 * expected.covariances.max(),
    )  # fmt: skip


@pytest.mark.parametrize("value", [1, "yes", None])
def test_the_parameter_is_checked(value):
    model = BayesianGaussianMixture(moves=value)
    with pytest.raises(InvalidParameterError, match="The 'moves' parameter .* must be"):
        model.fit([[0.0], [1.0]])


def test_the_number_of_kept_moves_is_printed(capsys):
    mixture("tied", moves=True, verbose=2).fit(groups(1))
    assert "moves\t lower bound" in capsys.readouterr().out
