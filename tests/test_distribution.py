"""Tests of a mixture as a distribution, against SciPy and numerical integration."""

import sys

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.spatial import distance

from gmm_core import GaussianMixture, mix
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
    return np.atleast_1d(np.sum(terms, axis=0))


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


@pytest.mark.parametrize("D", [1, 2])
def test_noise_is_refused_where_it_has_no_meaning(D):
    gm = GaussianMixture.from_parameters([0.5], np.zeros((1, D)), covariances=[1.0], noise=0.1,
                                         covariance_type="spherical")   # fmt: skip
    for method in (
        lambda: gm.marginal(0), lambda: gm.condition({0: 1}), lambda: gm.cdf(0), lambda: gm.quantile(0.5),
        lambda: gm.interval(0.5), gm.to_scipy, gm.entropy, lambda: gm.highest_density_region(0.5),
        lambda: mix([gm]),
    ):  # fmt: skip
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


# --- highest-density regions --------------------------------------------------------------------


def on_the_line(weights, means, variances):
    return GaussianMixture.from_parameters(
        weights, np.reshape(means, (-1, 1)), covariances=variances, covariance_type="spherical"
    )


@pytest.mark.parametrize("probability", [1e-3, 0.5, 0.9, 0.99, 1 - 1e-9])
@pytest.mark.parametrize("seed", range(6))
def test_region_on_the_line_has_its_probability_and_one_density_at_its_ends(seed, probability):
    rng = np.random.default_rng(seed)
    K = 1 + seed
    gm = on_the_line(rng.dirichlet(np.ones(K)), 4 * rng.normal(size=K), 10 ** rng.uniform(-2, 1, K))
    log_density, intervals = gm.highest_density_region(probability)
    ends = intervals.ravel()
    assert (np.diff(ends) > 0).all()
    below = gm.cdf(ends)
    assert (below[1::2] - below[::2]).sum() == pytest.approx(probability, abs=1e-13, rel=1e-8)
    # An error of eps of an end changes the logarithm of the density by its slope times that.
    np.testing.assert_allclose(gm.score_samples(ends[:, None]), log_density, rtol=1e-7, atol=1e-7)
    # The region by brute force: the density on a fine grid.
    x = np.linspace(-30, 30, 20_001)
    inside = np.searchsorted(ends, x) % 2 == 1
    density_above = gm.score_samples(x[:, None]) - log_density
    assert (inside == (density_above > 0))[abs(density_above) > 1e-6].all()


def test_region_of_a_gaussian_is_its_interval():
    gm = on_the_line([1.0], [1e8], [4.0])
    region = gm.highest_density_region(0.9)
    np.testing.assert_allclose(region.intervals[0] - 1e8, np.array([-2, 2]) * stats.norm.ppf(0.95), atol=1e-7)
    expected = stats.norm.logpdf(stats.norm.ppf(0.95)) - np.log(2)
    assert region.log_density == pytest.approx(expected, abs=1e-7)      # 1e8 eps


def test_region_with_a_component_of_another_scale():
    gm = on_the_line([0.5, 0.5, 0.0], [0.0, 1.0, 50.0], [1e-12, 1.0, 1e-6])
    (spike, broad) = gm.highest_density_region(0.75).intervals
    assert spike[0] == pytest.approx(-spike[1], rel=1e-4) and 4e-6 < spike[1] < 7e-6
    assert gm.cdf(broad[1]) - gm.cdf(broad[0]) == pytest.approx(0.25, abs=1e-5)
    for scale in (1e-140, 1e140):   # variances near the ends of the range
        scaled = on_the_line([0.5, 0.5], [0.0, 1.0 * scale], [1e-12 * scale**2, scale**2])
        got = scaled.highest_density_region(0.75).intervals / scale
        np.testing.assert_allclose(got, [spike, broad], rtol=1e-9)
    symmetric = on_the_line([0.5, 0.5], [-3.0, 3.0], [1.0, 1.0]).highest_density_region(0.999)
    np.testing.assert_allclose(symmetric.intervals, -symmetric.intervals[::-1, ::-1], rtol=1e-12)


@pytest.mark.parametrize("D", [2, 5])
def test_region_of_several_features_holds_its_share_of_samples(D):
    gm = mixture(D=D, random_state=0)
    region = gm.highest_density_region(0.8)
    assert region.intervals is None
    X = mixture(D=D, random_state=1).sample(100_000)[0]
    share = (gm.score_samples(X) >= region.log_density).mean()
    assert abs(share - 0.8) < 4.5 * np.sqrt(2 * 0.8 * 0.2 / 100_000)    # both are samples
    assert gm.highest_density_region(0.8) == region
    assert gm.highest_density_region(0.8, random_state=1) != region
    one = GaussianMixture.from_parameters([1.0], np.zeros((1, D)), covariances=[1.0], random_state=0,
                                          covariance_type="spherical")  # fmt: skip
    exact = one.score_samples(np.eye(1, D) * np.sqrt(stats.chi2.ppf(0.8, D)))[0]
    assert one.highest_density_region(0.8).log_density == pytest.approx(exact, abs=0.05)


def test_errors_of_regions_name_the_argument():
    gm = mixture()
    for probability in (0, 1, -0.1, 1.5, np.nan, [0.5]):
        with pytest.raises(ValueError, match="probability should be"):
            gm.highest_density_region(probability)
    with pytest.raises(ValueError, match="the region cannot be resolved"):
        on_the_line([0.5, 0.5], [1e8, -1e8], [1e-20, 1e-20]).highest_density_region(0.7)
    with pytest.raises(ValueError, match="the region cannot be resolved"):
        on_the_line([1.0], [1e8], [1e-20]).highest_density_region(0.7)
    with pytest.raises(ValueError, match="its probability is too small"):
        on_the_line([1.0], [0.0], [1.0]).highest_density_region(1e-12)
    with pytest.raises(ValueError, match="'n_samples': 0"):
        gm.highest_density_region(0.5, n_samples=0)
    with pytest.raises(ValueError, match="random_state='a'"):
        gm.highest_density_region(0.5, random_state="a")


# --- distances and information ------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", MODELS)
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_mahalanobis_distances(covariance_type, offset):
    gm = mixture(covariance_type)
    gm.means_ = np.round(gm.means_ * 2**10) / 2**10 + offset     # so that the sum is exact
    X = np.round(np.random.default_rng(5).normal(size=(50, 4)) * 2**10) / 2**10
    expected = np.stack([
        distance.cdist(X, [m], "mahalanobis", VI=np.linalg.inv(C)).ravel()
        for m, C in zip(gm.means_ - offset, matrices(gm), strict=True)
    ], axis=1)  # fmt: skip
    np.testing.assert_allclose(gm.mahalanobis(X + offset), expected, rtol=1e-12)
    assert (gm.mahalanobis(gm.means_).diagonal() == 0).all()


def test_mahalanobis_of_other_rows():
    gm = mixture(missing="marginalize")
    X = np.random.default_rng(5).normal(size=(30, 4))
    whole = gm.mahalanobis(X)
    np.testing.assert_array_equal(gm.mahalanobis(X.astype(">f8")), whole)
    np.testing.assert_array_equal(gm.mahalanobis(np.asfortranarray(X)), whole)
    X[::2, 1:3] = np.nan
    X[0] = np.nan
    got = gm.mahalanobis(X)
    np.testing.assert_array_equal(got[1::2], whole[1::2])
    part = gm.marginal([0, 3]).mahalanobis(X[2::2][:, [0, 3]])
    np.testing.assert_allclose(got[2::2], part, rtol=1e-12)
    assert (got[0] == 0).all()
    single = mixture(dtype=np.float32)
    assert single.mahalanobis(X[1::2].astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.mahalanobis(X[1::2].astype(np.float32)), whole[1::2], rtol=1e-5)
    with pytest.raises(ValueError, match="NaN"):
        mixture().mahalanobis(X)
    noisy = GaussianMixture.from_parameters([0.5], [[0.0]], covariances=[4.0], noise=0.1)
    assert noisy.mahalanobis([[3.0], [1e200]]).tolist() == [[1.5], [np.inf]]


def test_mahalanobis_of_a_dask_collection():
    dask = pytest.importorskip("gmm_core.dask")
    from dask import array as da

    gm = mixture()
    lazy = dask.GaussianMixture.from_parameters(gm.weights_, gm.means_, covariances=gm.covariances_)
    X = np.random.default_rng(5).normal(size=(30, 4))
    got = lazy.mahalanobis(da.from_array(X, chunks=(7, 4)))
    np.testing.assert_allclose(got.compute(scheduler="sync"), gm.mahalanobis(X), rtol=1e-14)
    np.testing.assert_array_equal(lazy.mahalanobis(X), gm.mahalanobis(X))


def entropy_of(gm):
    """Return the entropy by numerical integration on a grid; the trapezoidal rule has errors below 1e-8."""
    D = gm.means_.shape[1]
    axis = np.linspace(-15, 15, 301)
    grid = np.stack(np.meshgrid(*[axis] * D, indexing="ij"), axis=-1).reshape(-1, D)
    p = density(gm, grid)
    p = p[p > 0]
    return -(p * np.log(p)).sum() * (axis[1] - axis[0]) ** D


@pytest.mark.parametrize("covariance_type", [*TYPES, "VVE"])
@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("K", [1, 2, 5])
def test_entropy_lies_between_its_bounds(K, D, covariance_type):
    gm = mixture(covariance_type, K, D)
    lower, upper = gm.entropy()
    entropy = entropy_of(gm)
    if K == 1:
        assert lower == upper == pytest.approx(entropy, abs=1e-8)
        assert lower == pytest.approx(stats.multivariate_normal.entropy(gm.means_[0], matrices(gm)[0]))
    else:
        assert lower <= entropy <= upper
        assert upper - lower < 0.7      # they differ by log K at most


def test_bounds_of_the_entropy_are_tight_in_the_limits():
    far = on_the_line([0.2, 0.8, 0.0], [-100.0, 100.0, 0.0], [1.0, 4.0, 1.0])
    exact = 0.2 * stats.norm.entropy(0, 1) + 0.8 * stats.norm.entropy(0, 2) + stats.entropy([0.2, 0.8])
    assert far.entropy() == pytest.approx((exact, exact), abs=1e-12)
    equal = on_the_line([0.2, 0.8], [1.0, 1.0], [4.0, 4.0]).entropy()
    assert equal == pytest.approx([stats.norm.entropy(0, 2)] * 2, abs=1e-12)
    assert equal.lower <= equal.upper


@pytest.mark.parametrize("D", [1, 2])
def test_divergence_agrees_with_numerical_integration(D):
    p, q = mixture(K=2, D=D, seed=1, random_state=0), mixture(K=3, D=D, seed=2)

    def integrand(*x):
        return float(density(p, [x])[0] * (p.score_samples([x])[0] - q.score_samples([x])[0]))

    if D == 1:
        exact = integrate.quad(integrand, -20, 20, limit=200)[0]
    else:
        axis = np.linspace(-14, 14, 401)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        values = density(p, grid) * (p.score_samples(grid) - q.score_samples(grid))
        exact = values.sum() * (axis[1] - axis[0]) ** 2
    got = p.kl_divergence(q)
    assert 0 < got.standard_error < 0.1
    assert abs(got.estimate - exact) < 4.5 * got.standard_error
    assert p.kl_divergence(q) == got and p.kl_divergence(q, random_state=5) != got
    fewer = p.kl_divergence(q, 1000)
    assert fewer.standard_error == pytest.approx(10 * got.standard_error, rel=0.3)
    assert p.kl_divergence(p) == (0, 0)


def test_divergence_of_mixtures_with_noise():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(400, 2)), rng.uniform(-9, 9, (100, 2))])
    noisy = GaussianMixture(noise=True, random_state=0).fit(X)
    plain = GaussianMixture(random_state=0).fit(X)
    assert noisy.kl_divergence(noisy) == (0, 0)
    assert noisy.kl_divergence(plain).estimate > 0
    # there is no density of the plain mixture outside of the box
    assert plain.kl_divergence(noisy).estimate > 0
    with pytest.raises(ValueError, match="noise was given as a density"):
        GaussianMixture.from_parameters([0.5], [[0.0]], covariances=[1.0], noise=0.1).kl_divergence(
            on_the_line([1.0], [0.0], [1.0])
        )


def test_errors_of_divergences_name_the_argument():
    gm = mixture()
    for other, error, message in [
        (mixture(D=3), ValueError, "other has 3 features, but this model has 4"),
        (None, TypeError, "other should be a fitted GaussianMixture, got NoneType"),
        (GaussianMixture(), ValueError, "not fitted"),
    ]:
        with pytest.raises(error, match=message):
            gm.kl_divergence(other)
    named = mixture()
    named.feature_names_in_ = np.array(list("abcd"), dtype=object)
    other = mixture()
    other.feature_names_in_ = np.array(list("abdc"), dtype=object)
    with pytest.raises(ValueError, match=r"other has the features .*, but this model has \['a'"):
        named.kl_divergence(other)
    assert named.kl_divergence(gm, 10) == (0, 0)
    with pytest.raises(ValueError, match="n_samples should be at least 2"):
        gm.kl_divergence(gm, 1)


# --- other components ---------------------------------------------------------------------------


def moments(gm):
    """Return the mean and the covariance of the whole mixture."""
    w = gm.weights_ / gm.weights_.sum()
    mean = w @ gm.means_
    apart = gm.means_ - mean
    return mean, np.einsum("k,kij->ij", w, matrices(gm)) + (w * apart.T) @ apart


@pytest.mark.parametrize("covariance_type", MODELS)
def test_merging_and_splitting_preserve_moments(covariance_type):
    gm = mixture(covariance_type, K=4)
    mean, covariance = moments(gm)
    merged = gm.merge([-1, 1])
    assert merged.covariance_type == "full" and merged.n_components == 3
    assert merged.weights_[1] == gm.weights_[1] + gm.weights_[3]
    np.testing.assert_array_equal(merged.means_[[0, 2]], gm.means_[[0, 2]])
    np.testing.assert_array_equal(merged.covariances_[[0, 2]], matrices(gm)[[0, 2]])
    for k in (0, -1):
        halves = gm.split(k)
        diagonal = not COVARIANCE_TYPES[covariance_type].has_orientation
        assert halves.covariance_type == ("diag" if diagonal else "full") and halves.n_components == 5
        k %= 4
        assert halves.weights_[k] == halves.weights_[k + 1] == gm.weights_[k] / 2
        np.testing.assert_array_equal(matrices(halves)[k], matrices(halves)[k + 1])
        again = halves.merge([k, k + 1])
        np.testing.assert_allclose(again.means_[k], gm.means_[k], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(again.covariances_[k], matrices(gm)[k], rtol=1e-12, atol=1e-14)
        axis = halves.means_[k + 1] - halves.means_[k]
        assert axis[np.argmax(abs(axis))] > 0
        values, vectors = np.linalg.eigh(matrices(gm)[k])
        assert axis @ axis == pytest.approx(8 / np.pi * values[-1], rel=1e-12)
        assert axis @ matrices(gm)[k] @ axis == pytest.approx(values[-1] * (axis @ axis), rel=1e-12)
    for made in (merged, gm.split(2), gm.merge([0, 1, 2, 3])):
        np.testing.assert_allclose(moments(made)[0], mean, rtol=1e-13)
        np.testing.assert_allclose(moments(made)[1], covariance, rtol=1e-12, atol=1e-13)


def test_halves_have_the_moments_of_a_gaussian_that_is_cut():
    halves = on_the_line([1.0], [2.0], [9.0]).split(0)
    half = stats.halfnorm(2, 3)
    assert halves.means_[1, 0] == pytest.approx(half.mean(), rel=1e-14)
    assert halves.covariances_[1, 0] == pytest.approx(half.var(), rel=1e-14)


def test_sort_puts_the_largest_first():
    gm = GaussianMixture.from_parameters(
        [0.2, 0.3, 0.2, 0.3], np.arange(4.0)[:, None], covariances=[1.0, 2.0, 3.0, 4.0],
        covariance_type="V", random_state=2,
    )  # fmt: skip
    before = gm.means_.copy()
    made = gm.sort()
    assert made.weights_.tolist() == [0.3, 0.3, 0.2, 0.2]
    assert made.means_.ravel().tolist() == [1, 3, 0, 2]
    assert made.covariances_.tolist() == [2, 4, 1, 3]
    assert made.covariance_type == "V" and made.random_state == 2
    np.testing.assert_array_equal(gm.means_, before)


@pytest.mark.parametrize("covariance_type", MODELS)
def test_sorted_mixtures_have_the_same_density(covariance_type):
    gm = mixture(covariance_type)
    made = gm.sort()
    assert (np.diff(made.weights_) <= 0).all() and made.covariance_type == covariance_type
    X = np.random.default_rng(0).normal(size=(20, 4))
    np.testing.assert_allclose(made.score_samples(X), gm.score_samples(X), rtol=1e-13)


def test_noise_stays_when_components_change():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(400, 2)) + 7, rng.uniform(-9, 18, (100, 2))])
    gm = GaussianMixture(2, noise=True, random_state=0).fit(X)
    for made in (gm.sort(), gm.split(0).merge([0, 1])):
        np.testing.assert_allclose(made.score_samples(X), gm.score_samples(X), rtol=1e-9)
        np.testing.assert_array_equal(made.predict(X) == -1, gm.predict(X) == -1)
        assert made.noise is True and made.noise_weight_ == gm.noise_weight_
    assert gm.merge([0, 1]).noise_weight_ == gm.noise_weight_


def test_mix_is_the_weighted_sum_of_densities():
    kinds = {"spherical": "spherical", "VII": "spherical", "diag": "diag", "EVI": "diag", "tied": "full",
             "VEV": "full"}     # fmt: skip
    X = np.random.default_rng(0).normal(size=(20, 4))
    for first in kinds:
        for second in kinds:
            a, b = mixture(first, K=2, seed=1), mixture(second, K=3, seed=2)
            made = mix([a, b], [0.3, 0.7])
            expected = 0.3 * np.exp(a.score_samples(X)) + 0.7 * np.exp(b.score_samples(X))
            np.testing.assert_allclose(np.exp(made.score_samples(X)), expected, rtol=1e-12)
            names = {kinds[first], kinds[second]}
            assert made.covariance_type == next(t for t in ("full", "diag", "spherical") if t in names)
    np.testing.assert_allclose(mix([a, b, a]).weights_[:2], a.weights_ / 3, rtol=4 * EPS)
    assert mix([a]).means_.tolist() == a.means_.tolist()


def test_mix_of_names_and_dtypes():
    a, b = mixture(dtype=np.float32, random_state=4), mixture()
    assert mix([a, a]).means_.dtype == np.float32 and mix([a, b]).means_.dtype == np.float64
    assert mix([a, b]).random_state == 4
    a.feature_names_in_ = np.array(list("abcd"), dtype=object)
    assert mix([a, a]).feature_names_in_.tolist() == list("abcd")
    assert not hasattr(mix([a, b]), "feature_names_in_")
    assert a.sort().feature_names_in_.tolist() == list("abcd")
    b.feature_names_in_ = np.array(list("abdc"), dtype=object)
    with pytest.raises(ValueError, match=r"models\[1\] has the features \['a', 'b', 'd', 'c'\]"):
        mix([a, b])


def test_errors_of_components_name_the_argument():
    gm = mixture()
    for components, error, message in [
        ([0], ValueError, "components should be two or more"),
        ([], TypeError, "components should be integers"),
        ([0, 3], ValueError, "components should be from -3 to 2"),
        ([0, -3], ValueError, "components has a component twice"),
        ([0, 1.0], TypeError, "components should be integers"),
        ([True, False], TypeError, "components should be integers"),
        (1, TypeError, "components should be integers"),
    ]:
        with pytest.raises(error, match=message):
            gm.merge(components)
    for component, error in ((3, ValueError), (-4, ValueError), (0.0, TypeError), ([1], TypeError), (None, TypeError)):
        with pytest.raises(error, match="component should be"):
            gm.split(component)
    for models, weights, error, message in [
        ([], None, ValueError, "models is empty"),
        ([gm, None], None, TypeError, r"models\[1\] should be a fitted GaussianMixture, got NoneType"),
        ([gm, mixture(D=3)], None, ValueError, r"models\[1\] has 3 features, but models\[0\] has 4"),
        ([gm, gm], [0.5, 0.6], ValueError, "'weights' should be normalized"),
        ([gm, gm], [1.0], ValueError, "'weights' should have the shape"),
        ([gm, gm], [-0.5, 1.5], ValueError, "'weights' should be in the range"),
        (gm, None, TypeError, "models should be a sequence of models, got GaussianMixture"),
        ([gm, GaussianMixture()], None, ValueError, "not fitted"),
    ]:
        with pytest.raises(error, match=message):
            mix(models, weights)


# --- SciPy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", TYPES)
def test_to_scipy(covariance_type):
    gm = mixture(covariance_type, D=1)
    other = gm.to_scipy()
    x = np.linspace(-5, 5, 30)
    np.testing.assert_allclose(other.logpdf(x), gm.score_samples(x[:, None]), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(other.cdf(x), gm.cdf(x), rtol=1e-12)
    low, high = gm.interval(0.9)
    np.testing.assert_allclose([other.icdf(0.05), other.icdf(0.95)], [low, high], rtol=1e-6)
    lower, upper = gm.entropy()
    assert lower <= other.entropy() <= upper
    assert gm.marginal(0).to_scipy().mean() == pytest.approx(moments(gm)[0][0])
    with pytest.raises(ValueError, match="to_scipy is for models of one feature"):
        mixture().to_scipy()


def test_to_scipy_needs_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ImportError, match="to_scipy needs SciPy 1.15 or later"):
        mixture(D=1).to_scipy()
