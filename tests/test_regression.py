"""Tests of regression by a mixture, against least squares, integration, SciPy and scikit-learn."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn
from scipy import integrate, stats
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from gmm_core import GaussianMixture, GaussianMixtureRegressor, InvalidParameterError
from gmm_core.model.covariance import COVARIANCE_TYPES

TYPES = ["full", "tied", "diag", "spherical"]
MODELS = [name for name, kind in COVARIANCE_TYPES.items() if kind.n_features is None]
RNG = np.random.default_rng(0)
X = RNG.uniform(-3, 3, (300, 2))
SINGLE = np.abs(X[:, 0]) + 0.5 * X[:, 1] + 0.2 * RNG.normal(size=300)
DOUBLE = np.column_stack([SINGLE, np.sin(X[:, 0]) + 0.1 * RNG.normal(size=300)])
WEIGHT = RNG.uniform(0.1, 3, 300)
HOLED = np.where(RNG.random(X.shape) < 0.3, np.nan, X)
HOLED_Y = np.where(RNG.random(DOUBLE.shape) < 0.3, np.nan, DOUBLE)
ALL_PATTERNS = np.array([[1.0, 2.0], [np.nan, 2.0], [-1.0, np.nan], [np.nan, np.nan], [0.5, -0.5]])


def regressor(K=3, **params):
    return GaussianMixtureRegressor(K, **{"random_state": 0, **params})


def matrices(gm):
    """Return the covariance matrices of a model, of shape (K, D, D)."""
    K, D = gm.means_.shape
    kind = COVARIANCE_TYPES[gm.covariance_type]
    return np.stack([kind.matrix(gm.covariances_, k, D) for k in range(K)])


def brute_force(gm, x, q):
    """Return the weights, means and covariances of the last q features given one row, by SciPy and NumPy."""
    D = gm.means_.shape[1]
    o, t = np.flatnonzero(~np.isnan(x)), np.arange(D - q, D)
    log_prob, means, covariances = np.log(gm.weights_), [], []
    for k, (m, C) in enumerate(zip(gm.means_, matrices(gm), strict=True)):
        slope = np.zeros((q, 0))
        if len(o):
            log_prob[k] += stats.multivariate_normal.logpdf(x[o], m[o], C[np.ix_(o, o)])
            slope = np.linalg.solve(C[np.ix_(o, o)], C[np.ix_(o, t)]).T
        means.append(m[t] + slope @ (x[o] - m[o]))
        covariances.append(C[np.ix_(t, t)] - slope @ C[np.ix_(o, t)])
    return np.exp(log_prob - np.logaddexp.reduce(log_prob)), np.array(means), np.array(covariances)


# --- predictions -----------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("y", [SINGLE, DOUBLE])
def test_one_component_is_least_squares(y, weight):
    model = GaussianMixtureRegressor(reg_covar=0).fit(X, y, weight)
    design = np.column_stack([np.ones(len(X)), X])
    root = np.sqrt(np.ones(len(X)) if weight is None else weight)
    wide = y.reshape(len(X), -1)
    solution = np.linalg.lstsq(root[:, None] * design, root[:, None] * wide)[0]
    mean, std = model.predict(X, return_std=True)
    # The condition number of the covariances is about 10, so that errors are some 100 eps.
    np.testing.assert_allclose(mean, (design @ solution).reshape(y.shape), atol=1e-12)
    residual = wide - design @ solution
    variance = np.average(residual**2, axis=0, weights=weight)
    np.testing.assert_allclose(std.reshape(wide.shape), np.sqrt(variance) * np.ones((300, 1)), rtol=1e-12)
    _, cov = model.predict(X[:2], return_cov=True)
    expected = (root[:, None] * residual).T @ (root[:, None] * residual) / np.sum(root**2)
    np.testing.assert_allclose(cov, np.stack([expected] * 2), rtol=1e-12)


def test_regularisation_is_that_of_ridge_regression():
    r = 0.1
    model = GaussianMixtureRegressor(reg_covar=r).fit(X, SINGLE)
    x, y = X - X.mean(axis=0), SINGLE - SINGLE.mean()
    slopes = np.linalg.solve(x.T @ x + len(X) * r * np.diag(X.var(axis=0)), x.T @ y)
    np.testing.assert_allclose(model.predict(X), SINGLE.mean() + x @ slopes, atol=1e-12)


@pytest.mark.parametrize("covariance_type", MODELS)
@pytest.mark.parametrize("missing", [False, True])
def test_predictions_by_brute_force(covariance_type, missing):
    model = regressor(covariance_type=covariance_type, missing="marginalize", reg_covar=1e-3).fit(X, DOUBLE)
    rows = ALL_PATTERNS if missing else X[:5]
    mean, std = model.predict(rows, return_std=True)
    again, cov = model.predict(rows, return_cov=True)
    np.testing.assert_array_equal(mean, again)
    np.testing.assert_array_equal(mean, model.predict(rows))
    for n, x in enumerate(rows):
        r, means, covariances = brute_force(model.mixture_, x, 2)
        expected = r @ means
        second = np.einsum("k,kij->ij", r, covariances + np.einsum("ki,kj->kij", means, means))
        total = second - np.outer(expected, expected)
        # Second moments are some 10 times the variances; with condition numbers of 1e3, errors are 1e4 eps.
        np.testing.assert_allclose(mean[n], expected, atol=1e-11)
        np.testing.assert_allclose(cov[n], total, atol=1e-11)
        np.testing.assert_allclose(std[n], np.sqrt(np.diag(total)), atol=1e-11)


def test_predictions_by_integration_of_the_joint_density():
    model = regressor().fit(X, SINGLE)
    joint = model.mixture_
    y = np.linspace(-30, 30, 200_001)
    for x in X[:5]:
        density = np.exp(joint.score_samples(np.column_stack([np.tile(x, (len(y), 1)), y])))
        density /= density.sum()
        mean, std = model.predict(x[None], return_std=True)
        # The trapezoidal rule on a smooth density that vanishes at the ends is exact to rounding.
        assert mean[0] == pytest.approx(density @ y, abs=1e-11)
        assert std[0] ** 2 == pytest.approx(density @ (y - mean[0]) ** 2, abs=1e-11)
        values = model.predict_quantiles(x[None], [0.1, 0.5, 0.975])[0]
        for p, value in zip((0.1, 0.5, 0.975), values, strict=True):
            below = integrate.simpson(*_conditional_density(joint, x, value))
            assert below == pytest.approx(p, abs=1e-9)


def _conditional_density(joint, x, end):
    """Return the density of y given x up to an end, and where it is taken."""
    r, means, covariances = brute_force(joint, x, 1)
    y = np.linspace(end - 30, end, 20_001)
    terms = [w * stats.norm.pdf(y, m[0], np.sqrt(C[0, 0])) for w, m, C in zip(r, means, covariances, strict=True)]
    return np.sum(terms, axis=0), y


@pytest.mark.parametrize("covariance_type", TYPES)
def test_quantiles_of_each_target(covariance_type):
    model = regressor(covariance_type=covariance_type, missing="marginalize").fit(X, DOUBLE)
    p = np.array([1e-6, 0.3, 0.9])
    values = model.predict_quantiles(ALL_PATTERNS, p)
    assert values.shape == (5, 2, 3)
    np.testing.assert_array_equal(model.predict_quantiles(ALL_PATTERNS, 0.3), values[:, :, 1])
    assert model.predict_quantiles(ALL_PATTERNS).shape == (5, 2, 3)
    for n, x in enumerate(ALL_PATTERNS):
        r, means, covariances = brute_force(model.mixture_, x, 2)
        for t in range(2):
            cdf = r @ stats.norm.cdf(values[n, t], means[:, t, None], np.sqrt(covariances[:, t, t, None]))
            np.testing.assert_allclose(cdf, p, rtol=1e-9)
    ends = model.predict_quantiles(X[:3], [0, 1])
    assert (ends[..., 0] == -np.inf).all() and (ends[..., 1] == np.inf).all()


def test_shapes_follow_y():
    for y, shape in ((SINGLE, (300,)), (SINGLE[:, None], (300, 1)), (DOUBLE, (300, 2))):
        model = regressor(2).fit(X, y)
        mean, std = model.predict(X, return_std=True)
        cov = model.predict(X, return_cov=True)[1]
        assert mean.shape == std.shape == shape
        assert cov.shape == (300, *(shape[1:] or (1,)) * 2)
        assert model.predict_quantiles(X, [0.1, 0.2, 0.3]).shape == (*shape, 3)
        assert model.predict_quantiles(X, 0.1).shape == shape
        assert model.sample_y(X, 4).shape == (*shape, 4)
        assert model.n_targets_ == (shape[1:] or (1,))[0]


def test_float32():
    single = [a.astype(np.float32) for a in (X, SINGLE)]
    model = regressor().fit(*single)
    assert model.mixture_.means_.dtype == np.float32
    results = [*model.predict(single[0], return_std=True), model.predict_quantiles(single[0]), model.sample_y(single[0])]
    assert {a.dtype for a in results} == {np.dtype(np.float32)}
    assert model.predict(X).dtype == np.float64
    double = regressor().fit(X, SINGLE)
    np.testing.assert_allclose(model.predict(single[0]), double.predict(X), atol=1e-3)
    assert regressor().fit(single[0], SINGLE).mixture_.means_.dtype == np.float64


# --- draws -----------------------------------------------------------------------------------


def test_draws_have_the_conditional_distribution():
    model = regressor(missing="marginalize").fit(X, DOUBLE)
    n = 20_000
    drawn = model.sample_y(ALL_PATTERNS, n, random_state=1)
    for i, x in enumerate(ALL_PATTERNS):
        r, means, covariances = brute_force(model.mixture_, x, 2)
        for t in range(2):
            deviations = np.sqrt(covariances[:, t, t])
            test = stats.kstest(drawn[i, t], lambda v, m=means[:, t], s=deviations, r=r: stats.norm.cdf(v[:, None], m, s) @ r)
            assert test.pvalue > 1e-4
        cov = model.predict(x[None], return_cov=True)[1][0]
        # The standard error of a correlation is below 1 / sqrt(n) = 0.007, and tails make it somewhat larger.
        assert np.corrcoef(drawn[i])[0, 1] == pytest.approx(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]), abs=0.04)


def test_draws_follow_the_seed():
    model = regressor(random_state=3).fit(X, SINGLE)
    first = model.sample_y(X, 2, random_state=5)
    np.testing.assert_array_equal(first, model.sample_y(X, 2, random_state=np.random.RandomState(5)))
    np.testing.assert_array_equal(model.sample_y(X, 2), model.sample_y(X, 2, random_state=3))
    assert (first != model.sample_y(X, 2)).any()
    some = regressor(missing="marginalize").fit(X, SINGLE)
    rows = np.vstack([X[:3], ALL_PATTERNS[1:2], X[3:5]])
    whole = some.sample_y(rows, 2, random_state=0)      # incomplete rows do not move the draws of others
    filled = some.sample_y(np.vstack([X[:3], X[:1], X[3:5]]), 2, random_state=0)
    np.testing.assert_array_equal(whole[[0, 1, 2, 4, 5]], filled[[0, 1, 2, 4, 5]])


# --- fits ------------------------------------------------------------------------------------


def test_mixture_is_that_of_features_and_targets():
    model = regressor(tol=1e-6, max_iter=300).fit(X, DOUBLE, WEIGHT)
    joint = np.column_stack([X, DOUBLE])
    gm = model.mixture_
    assert type(gm) is GaussianMixture and gm.n_features_in_ == 4 and gm.n_iter_ == model.n_iter_
    assert gm.lower_bound_ == pytest.approx(gm.score(joint, sample_weight=WEIGHT), rel=1e-12)
    # An M-step from the responsibilities changes little, since EM has converged.
    again = GaussianMixture(
        3, weights_init=gm.weights_, means_init=gm.means_, precisions_init=gm.precisions_, tol=1e-6, reg_covar=gm.reg_covar
    ).fit(joint, sample_weight=WEIGHT)
    np.testing.assert_allclose(again.means_, gm.means_, atol=2e-3)
    np.testing.assert_allclose(gm.reg_covar, 1e-6 * np.cov(joint.T, aweights=WEIGHT, ddof=0).diagonal(), rtol=1e-12)


def test_rows_without_targets_tell_about_the_features_alone():
    """Of one component, the estimate for such data is known: least squares on the complete rows."""
    y = np.where(np.arange(300) % 3 == 0, np.nan, SINGLE)
    model = regressor(1, missing="marginalize", reg_covar=0, tol=1e-15, max_iter=1000).fit(X, y)
    known = ~np.isnan(y)
    complete = regressor(1, reg_covar=0).fit(X[known], y[known])
    np.testing.assert_allclose(model.predict(X), complete.predict(X), atol=1e-6)
    np.testing.assert_allclose(model.mixture_.means_[0, :2], X.mean(axis=0), atol=1e-12)


def test_missing_features_and_targets():
    with pytest.raises(ValueError, match="Input X contains NaN"):
        regressor().fit(HOLED, DOUBLE)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        regressor().fit(X, HOLED_Y)
    model = regressor(missing="marginalize").fit(HOLED, HOLED_Y)
    assert model.score(X, DOUBLE) > 0.8
    assert np.isfinite(model.predict(HOLED)).all()
    masked = np.ma.masked_invalid(HOLED), np.ma.masked_invalid(HOLED_Y)
    np.testing.assert_array_equal(regressor(missing="marginalize").fit(*masked).predict(X), model.predict(X))
    without = regressor(missing="marginalize").fit(X, DOUBLE)
    np.testing.assert_array_equal(without.predict(X), regressor().fit(X, DOUBLE).predict(X))


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "hierarchical", "random_from_data", "random"])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "EEI", "VEI", "EVI", "VEE", "EVV"])
def test_units_do_not_matter(init_params, covariance_type):
    """Powers of 2 scale without rounding, so that only the order of rounding errors of k-means may differ."""
    x_scale, x_offset, y_scale, y_offset = np.array([2.0**20, 2.0**-20]), [2.0**20, 0.0], 2.0**10, -(2.0**12)
    params = {"init_params": init_params, "covariance_type": covariance_type, "max_iter": 20, "tol": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")      # EM has not converged
        plain = regressor(**params).fit(X, SINGLE)
        scaled = regressor(**params).fit(X * x_scale + x_offset, SINGLE * y_scale + y_offset)
    mean, std = plain.predict(X, return_std=True)
    scaled_mean, scaled_std = scaled.predict(X * x_scale + x_offset, return_std=True)
    np.testing.assert_allclose((scaled_mean - y_offset) / y_scale, mean, atol=1e-8)
    np.testing.assert_allclose(scaled_std / y_scale, std, atol=1e-8)


def test_constant_features_and_targets():
    constant = np.column_stack([X, np.full(300, 7.0)])
    np.testing.assert_allclose(
        regressor(1, reg_covar=1e-9).fit(constant, SINGLE).predict(constant), regressor(1, reg_covar=1e-9).fit(X, SINGLE).predict(X)
    )
    model = regressor(1).fit(X, np.full(300, 5.0))
    np.testing.assert_allclose(model.predict(X), 5.0)


def test_weights_count_rows():
    counts = RNG.integers(0, 3, 300)
    weighted = regressor(tol=1e-9, max_iter=500).fit(X, SINGLE, counts)
    repeated = regressor(tol=1e-9, max_iter=500).fit(np.repeat(X, counts, axis=0), np.repeat(SINGLE, counts))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-6)


def test_threads_do_not_matter():
    wide = np.tile(X, (40, 1)) + RNG.normal(size=(12_000, 2))
    y = np.abs(wide[:, 0])
    results = []
    for n_threads in (1, 2, 7):
        model = regressor(n_threads=n_threads).fit(wide, y)
        results.append(b"".join(a.tobytes() for a in (*model.predict(wide, return_std=True), model.predict_quantiles(wide[:99]))))
    assert results[0] == results[1] == results[2]


def test_callable_start_gets_features_and_targets():
    seen = []

    def start(rows, n_components, random_state):
        seen.append(rows.copy())
        return (rows[:, 0] > 0).astype(int)

    model = regressor(2, init_params=start).fit(X, SINGLE)
    np.testing.assert_array_equal(seen[0], np.column_stack([X, SINGLE]))
    assert model.score(X, SINGLE) > 0.95


def test_names():
    pd = pytest.importorskip("pandas")
    frame, series = pd.DataFrame(X, columns=["a", "b"]), pd.Series(SINGLE, name="y")
    model = regressor().fit(frame, series)
    assert list(model.feature_names_in_) == ["a", "b"]
    assert list(model.mixture_.feature_names_in_) == ["a", "b", "y"]
    np.testing.assert_array_equal(model.predict(frame), regressor().fit(X, SINGLE).predict(X))
    with pytest.raises(ValueError, match="same order"):
        model.predict(frame[["b", "a"]])
    both = regressor().fit(frame, pd.DataFrame(DOUBLE, columns=["y", "z"]))
    assert list(both.mixture_.feature_names_in_) == ["a", "b", "y", "z"]
    for y in (SINGLE, pd.Series(SINGLE, name="a"), pd.Series(SINGLE)):
        assert not hasattr(regressor().fit(frame, y).mixture_, "feature_names_in_")
    assert not hasattr(model.fit(X, SINGLE), "feature_names_in_")


# --- scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("y", [SINGLE, DOUBLE, 1e8 + DOUBLE, np.full(300, 2.5)])
def test_score_is_that_of_sklearn(y, weight):
    model = regressor().fit(X, DOUBLE if y.ndim > 1 else SINGLE)
    expected = r2_score(y, model.predict(X), sample_weight=weight)
    assert model.score(X, y, weight) == pytest.approx(expected, rel=1e-9)


def test_score_of_one_sample_is_undefined():
    with pytest.warns(UserWarning, match="R² is not defined"):
        assert np.isnan(regressor().fit(X, SINGLE).score(X[:1], SINGLE[:1]))


def test_missing_targets_do_not_count_in_the_score():
    model = regressor(missing="marginalize").fit(X, DOUBLE)
    predicted, known = model.predict(X), ~np.isnan(HOLED_Y)
    expected = [r2_score(DOUBLE[k, t], predicted[k, t], sample_weight=WEIGHT[k]) for t, k in enumerate(known.T)]
    assert model.score(X, HOLED_Y, WEIGHT) == pytest.approx(np.mean(expected), rel=1e-12)
    with pytest.raises(ValueError, match="y has a target without a value"):
        model.score(X, np.full(DOUBLE.shape, np.nan))


# --- scikit-learn ----------------------------------------------------------------------------


def test_is_a_regressor():
    assert is_regressor(GaussianMixtureRegressor())
    tags = get_tags(GaussianMixtureRegressor(missing="marginalize"))
    assert tags.target_tags.required and tags.target_tags.multi_output and tags.input_tags.allow_nan
    assert not get_tags(GaussianMixtureRegressor()).input_tags.allow_nan


def test_in_compositions_of_sklearn():
    scaled = make_pipeline(StandardScaler(), regressor())
    np.testing.assert_allclose(scaled.fit(X, SINGLE).predict(X), regressor().fit(X, SINGLE).predict(X), atol=1e-8)
    assert scaled.predict(X, return_std=True)[1].shape == (300,)
    assert cross_val_score(scaled, X, SINGLE).mean() > 0.9
    assert cross_val_predict(regressor(), X, DOUBLE).shape == DOUBLE.shape
    grid = GridSearchCV(regressor(), {"n_components": [1, 3], "covariance_type": ["full", "tied"]}).fit(X, SINGLE)
    assert grid.best_params_["n_components"] == 3
    transformed = TransformedTargetRegressor(regressor(), transformer=StandardScaler()).fit(X, SINGLE)
    assert transformed.score(X, SINGLE) > 0.9
    twin = clone(regressor(2, tol=1e-5))
    assert twin.get_params() == regressor(2, tol=1e-5).get_params()
    with sklearn.config_context(enable_metadata_routing=True):
        routed = regressor().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        assert cross_val_score(routed, X, SINGLE, params={"sample_weight": WEIGHT}).mean() > 0.9


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_predict_the_same(copied):
    model = regressor().fit(X, SINGLE)
    np.testing.assert_array_equal(copied(model).predict(X), model.predict(X))


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "params", "message"),
    [
        (X, None, {}, "requires y to be passed, but the target y is None"),
        (X, SINGLE[:-1], {}, "y has 299 rows, but X has 300 rows"),
        (X, SINGLE[:, None, None], {}, r"y has shape \(300, 1, 1\), expected \(n_samples,\) or"),
        (X, np.empty((300, 0)), {}, r"y has shape \(300, 0\)"),
        (X, np.full(300, "a"), {}, "y has dtype <U1, expected numbers"),
        (X, SINGLE * 1j, {}, "Complex data not supported"),
        (X, np.full(300, np.inf), {}, "Input y contains infinity"),
        (X, np.full(300, np.nan), {"missing": "marginalize"}, "^y has no value that is not NaN"),
        (np.column_stack([X, np.full(300, np.nan)]), SINGLE, {"missing": "marginalize"}, r"X\[:, 2\] has no value"),
        (X, np.where(X > 0, 1e200, 0), {}, r"variance of y\[:, 0\] is beyond the range"),
        (X, SINGLE * 1e-200, {}, "variance of y is beyond the range"),
        (X[:1], SINGLE[:1], {}, "1 sample"),
        (X[:3], SINGLE[:3], {"n_components": 4}, "n_components = 4, n_samples = 3"),
        (X, SINGLE, {"n_components": 0}, "'n_components' parameter of GaussianMixtureRegressor"),
        (X, SINGLE, {"covariance_type": "round"}, "'covariance_type' parameter of GaussianMixtureRegressor"),
        (X, SINGLE, {"covariance_type": "V"}, "V"),
        (X, SINGLE, {"reg_covar": [1e-6, 1e-6]}, "'reg_covar' should have the shape of"),
        (X, SINGLE, {"reg_covar": -1.0}, "reg_covar"),
    ],
)
def test_bad_fit_changes_nothing(x, y, params, message):
    model = regressor().fit(X, SINGLE)
    before = vars(model).copy()
    model.set_params(**params)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(x, y)
    assert all(vars(model)[name] is before[name] for name in before if name.endswith("_"))


def test_bad_weights_and_parameters():
    for weight in (np.full(300, -1.0), np.zeros(300), np.ones(3)):
        with pytest.raises(ValueError):
            regressor().fit(X, SINGLE, weight)
    with pytest.raises(InvalidParameterError):
        regressor(missing="drop").fit(X, SINGLE)


def test_bad_calls():
    model = regressor().fit(X, SINGLE)
    with pytest.raises(ValueError, match="only one of return_std and return_cov"):
        model.predict(X, return_std=True, return_cov=True)
    with pytest.raises(TypeError, match="return_std must be True or False"):
        model.predict(X, return_std="yes")
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixtureRegressor is expecting 2"):
        model.predict(np.ones((2, 3)))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(HOLED)
    for quantiles in (1.5, -0.1, np.nan, [[0.5]]):
        with pytest.raises(ValueError, match="quantiles should be a number or an array"):
            model.predict_quantiles(X, quantiles)
    for n_samples, error in ((0, ValueError), (1.5, ValueError), ("2", TypeError)):
        with pytest.raises(error, match="n_samples"):
            model.sample_y(X, n_samples)
    with pytest.raises(ValueError, match="random_state"):
        model.sample_y(X, random_state="seed")
    with pytest.raises(ValueError, match="y has 2 targets, but GaussianMixtureRegressor was fitted with 1"):
        model.score(X, DOUBLE)
    for name, args in (("predict", ()), ("predict_quantiles", ()), ("sample_y", ()), ("score", (SINGLE,))):
        with pytest.raises(ValueError, match="GaussianMixtureRegressor instance is not fitted"):
            getattr(regressor(), name)(X, *args)
