"""Tests of a mixture as a distribution, against SciPy and numerical integration."""

import numpy as np
import pytest
from scipy import stats

from gmm_core import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES

EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
MODELS = [name for name, kind in COVARIANCE_TYPES.items() if kind.n_features is None]


def mixture(covariance_type="full", K=3, D=4, seed=0, dtype=np.float64, **params):
    """Return a well-conditioned mixture; models of mclust get covariances that obey all constraints."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(K, D, D)) / np.sqrt(D)
    dense = 0.5 * np.eye(D) + roots @ roots.transpose(0, 2, 1)
    by_feature = rng.uniform(0.5, 2.0, (K, D))
    kind = COVARIANCE_TYPES[covariance_type]
    if covariance_type not in TYPES:
        dense, by_feature = dense[:1].repeat(K, 0), by_feature[:1].repeat(K, 0)
    covariances = {
        "full": dense, "tied": dense[0], "diag": by_feature, "spherical": by_feature[:, 0],
    }[kind.sklearn_name]  # fmt: skip
    weights = rng.dirichlet(np.full(K, 3.0))
    return GaussianMixture.from_parameters(
        weights, (2 * rng.normal(size=(K, D))).astype(dtype), covariances=covariances,
        covariance_type=covariance_type, **params,
    )  # fmt: skip


def matrices(gm):
    """Return the covariance matrices of a model, of shape (K, D, D)."""
    K, D = gm.means_.shape
    kind = COVARIANCE_TYPES[gm.covariance_type]
    return np.stack([kind.matrix(gm.covariances_, k, D) for k in range(K)]).astype(np.float64)


def density(gm, X):
    """Return the density by SciPy."""
    X = np.atleast_2d(X)
    terms = [
        w * stats.multivariate_normal.pdf(X, m, C)
        for w, m, C in zip(gm.weights_, gm.means_, matrices(gm), strict=True)
    ]
    return np.sum(terms, axis=0)


# --- marginal and conditional distributions -----------------------------------------------------


@pytest.mark.parametrize("covariance_type", MODELS)
def test_marginal_has_the_entries_of_its_features(covariance_type):
    gm = mixture(covariance_type)
    part = gm.marginal([3, -4])
    assert type(part) is GaussianMixture
    assert part.covariance_type == COVARIANCE_TYPES[covariance_type].sklearn_name
    np.testing.assert_array_equal(part.weights_, gm.weights_)
    np.testing.assert_array_equal(part.means_, gm.means_[:, [3, 0]])
    np.testing.assert_array_equal(matrices(part), matrices(gm)[:, [3, 0]][:, :, [3, 0]])
    X = np.random.default_rng(1).normal(size=(20, 2))
    np.testing.assert_allclose(np.exp(part.score_samples(X)), density(part, X), rtol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_marginal_is_the_integral_of_the_density(covariance_type):
    gm = mixture(covariance_type, K=2, D=2)
    y = np.linspace(-14, 14, 400)       # the trapezoidal rule is exact to rounding for smooth peaks
    for x in (-1.0, 0.5, 3.0):
        grid = np.stack([np.full(len(y), x), y], axis=1)
        integral = density(gm, grid).sum() * (y[1] - y[0])
        got = np.exp(gm.marginal(0).score_samples([[x]]))[0]
        assert got == pytest.approx(integral, rel=1e-10)


@pytest.mark.parametrize("covariance_type", MODELS)
def test_conditional_is_the_ratio_of_densities(covariance_type):
    gm = mixture(covariance_type)
    conditional = gm.condition({2: 0.7, -4: -1.1})
    kind = COVARIANCE_TYPES[covariance_type]
    assert conditional.covariance_type == kind.sklearn_name
    assert conditional.covariances_.shape == COVARIANCE_TYPES[kind.sklearn_name].shape(3, 2)
    y = np.random.default_rng(2).normal(size=(30, 2))
    x = np.stack([np.full(30, -1.1), y[:, 0], np.full(30, 0.7), y[:, 1]], axis=1)
    ratio = density(gm, x) / density(gm.marginal([0, 2]), [[-1.1, 0.7]])
    np.testing.assert_allclose(np.exp(conditional.score_samples(y)), ratio, rtol=1e-11)


def test_names_follow_the_features():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["a", "b", "c"])
    gm = GaussianMixture(2, random_state=0, reg_covar=0.1).fit(X)
    assert gm.marginal(["c", 0]).feature_names_in_.tolist() == ["c", "a"]
    assert gm.condition({"b": 0.0}).feature_names_in_.tolist() == ["a", "c"]
    by_index = gm.condition({1: 0.0})
    np.testing.assert_array_equal(by_index.means_, gm.condition({"b": 0.0}).means_)
    with pytest.raises(ValueError, match="given has a feature twice"):
        gm.condition({"b": 0.0, 1: 0.0})
    with pytest.raises(ValueError, match="features has the name 'd'"):
        gm.marginal(["d"])
    assert not hasattr(mixture().marginal(0), "feature_names_in_")


def test_condition_far_away_gives_the_limit_of_the_weights():
    gm = GaussianMixture.from_parameters(
        [0.9, 0.1, 0.0], [[0.0, 1.0], [5.0, 2.0], [0.0, 3.0]], covariances=[1.0, 4.0, 100.0],
        covariance_type="spherical",
    )  # fmt: skip
    # The wider component wins on both sides, and one of weight 0 never.
    for x in (1e3, -1e6, 1e100, 1e300):
        assert gm.condition({0: x}).weights_.tolist() == [0.0, 1.0, 0.0]
    equal = GaussianMixture.from_parameters(
        [0.5, 0.5], [[0.0, 1.0], [5.0, 2.0]], covariances=[1.0, 1.0], covariance_type="spherical"
    )
    assert equal.condition({0: 1e4}).weights_.tolist() == [0.0, 1.0]
    assert equal.condition({0: -1e4}).weights_.tolist() == [1.0, 0.0]


def test_condition_keeps_digits_of_ill_conditioned_covariances():
    # With correlation ρ = 1 − δ, the conditional variance 1 − ρ² ≈ 2 δ would lose half its digits to
    # a difference of covariances, and its error is bounded by the rounding of ρ itself.
    delta = 2.0**-40
    C = np.array([[[1.0, 1 - delta], [1 - delta, 1.0]]])
    gm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], covariances=C)
    got = gm.condition({0: 1.0})
    exact = delta * (2 - delta)
    assert got.covariances_[0, 0, 0] == pytest.approx(exact, rel=4 * EPS / exact)
    assert got.means_[0, 0] == pytest.approx(1 - delta, rel=4 * EPS)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_models_stay_float32(covariance_type):
    gm = mixture(covariance_type, dtype=np.float32, random_state=3, n_threads=1)
    assert gm.means_.dtype == np.float32
    for made in (gm.marginal([1, 0]), gm.condition({0: 1.0})):
        assert {made.weights_.dtype, made.means_.dtype, made.covariances_.dtype} == {np.dtype(np.float32)}
        assert made.random_state == 3 and made.n_threads == 1
        assert made.n_iter_ == 0 and not made.converged_ and np.isnan(made.lower_bound_)
    wide = mixture(covariance_type).condition({0: 1.0})
    np.testing.assert_allclose(gm.condition({0: 1.0}).means_, wide.means_, atol=1e-5)


def test_errors_of_condition_name_the_argument():
    gm = mixture()
    for given, error, message in [
        ([0], TypeError, "given should be a dict from features to values, got list"),
        ({}, ValueError, "given is empty"),
        ({0: 1, 1: 1, 2: 1, 3: 1}, ValueError, "given has all 4 features"),
        ({0: np.nan}, ValueError, r"the values of given should be finite numbers, got \[nan\]"),
        ({0: np.inf}, ValueError, "the values of given should be finite"),
        ({0: [1.0, 2.0]}, ValueError, "the values of given should be finite"),
        ({0: "a"}, ValueError, "given has dtype"),
        ({0: None}, ValueError, "the values of given should be finite"),
        ({7: 1.0}, ValueError, "given has the index 7"),
    ]:
        with pytest.raises(error, match=message):
            gm.condition(given)
    for method in (lambda m: m.marginal(0), lambda m: m.condition({0: 1})):
        with pytest.raises(ValueError, match="not fitted"):
            method(GaussianMixture())


def test_noise_is_refused():
    gm = GaussianMixture.from_parameters([0.5], [[0.0, 0.0]], covariances=[1.0], noise=0.1)
    for method in (lambda: gm.marginal(0), lambda: gm.condition({0: 1})):
        with pytest.raises(ValueError, match="the model has a noise component"):
            method()


def test_dask_estimators_stay_dask_estimators():
    dask = pytest.importorskip("gmm_core.dask")
    gm = dask.GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], covariances=[1.0])
    assert type(gm.marginal(0)) is dask.GaussianMixture


# --- one feature --------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", [*TYPES, "E", "V"])
def test_cdf_quantile_and_interval(covariance_type):
    gm = mixture(covariance_type, D=1) if covariance_type in TYPES else GaussianMixture.from_parameters(
        [0.3, 0.7], [[0.0], [4.0]], covariances=[2.0, 2.0], covariance_type=covariance_type
    )  # fmt: skip
    deviations = np.sqrt(matrices(gm)[:, 0, 0])
    x = np.linspace(-9, 9, 12).reshape(3, 4)
    expected = (gm.weights_ * stats.norm.cdf(x[..., None], gm.means_[:, 0], deviations)).sum(axis=-1)
    np.testing.assert_allclose(gm.cdf(x), expected, rtol=1e-13)
    # An error of eps of a probability near 1 is worth eps / density.
    allowed = 8 * EPS * (expected / density(gm, x.reshape(-1, 1)).reshape(3, 4) + abs(x))
    assert (abs(gm.quantile(gm.cdf(x)) - x) <= allowed)[expected < 1 - EPS].all()
    assert isinstance(gm.cdf(0.0), np.float64) and gm.cdf([0.0]).shape == (1,)
    low, high = gm.interval([[0.5, 0.9, 1.0]])
    assert low.shape == high.shape == (1, 3)
    np.testing.assert_allclose(gm.cdf(low), [[0.25, 0.05, 0]], rtol=1e-13)
    np.testing.assert_allclose(gm.cdf(high), [[0.75, 0.95, 1]], rtol=1e-13)
    low, high = gm.interval(0)
    assert low <= high and [low, high] == pytest.approx([gm.quantile(0.5)] * 2, rel=8 * EPS)
    assert isinstance(low, np.float64)


def test_cdf_of_a_marginal_is_the_share_of_samples():
    gm = mixture(random_state=0)
    X = gm.sample(100_000)[0]
    for j in range(4):
        for q in (0.1, 0.5, 0.99):
            share = (X[:, j] <= gm.marginal(j).quantile(q)).mean()
            assert abs(share - q) < 4.5 * np.sqrt(q * (1 - q) / len(X))     # 7e-6 by chance


def test_cdf_of_float32():
    gm = mixture(D=1, dtype=np.float32)
    x = np.linspace(-3, 3, 5, dtype=np.float32)
    assert gm.cdf(x).dtype == np.float32 and gm.cdf(x.astype(float)).dtype == np.float64
    np.testing.assert_allclose(gm.cdf(x), gm.cdf(x.astype(float)), rtol=1e-7)
    assert mixture(D=1).cdf(x).dtype == np.float64
    assert gm.quantile(np.float32(0.5)).dtype == np.float64


def test_errors_of_one_feature_name_the_argument():
    gm, wide = mixture(D=1), mixture()
    for method in ("cdf", "quantile", "interval"):
        with pytest.raises(ValueError, match=rf"{method} is for models of one feature, but this one has 4: use marginal\(feature\).{method}"):
            getattr(wide, method)(0.5)
        with pytest.raises(ValueError, match="has dtype <U1"):
            getattr(gm, method)("a")
        with pytest.raises(ValueError, match="not fitted"):
            getattr(GaussianMixture(), method)(0.5)
    for q in (-0.1, 1.1, np.nan, [0.5, 2]):
        with pytest.raises(ValueError, match="q should be from 0 to 1, got"):
            gm.quantile(q)
        with pytest.raises(ValueError, match="confidence should be from 0 to 1, got"):
            gm.interval(q)
