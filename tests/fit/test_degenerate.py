"""Tests of data and starts that make a covariance singular, and of very large and very small numbers."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture

TYPES = ("full", "tied", "diag", "spherical")
all_types = pytest.mark.parametrize("covariance_type", TYPES)
REMEDY = "ill-defined empirical covariance.*Try to decrease the number of components, increase reg_covar"


def rng() -> np.random.RandomState:
    return np.random.RandomState(0)


def assert_valid(model: GaussianMixture, X: np.ndarray) -> None:
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert np.isfinite(getattr(model, name)).all(), name
    assert model.weights_.sum() == pytest.approx(1)
    proba = model.predict_proba(X)
    assert np.isfinite(proba).all() and proba.sum(axis=1) == pytest.approx(1)
    assert np.isfinite(model.lower_bound_)


DEGENERATE: dict[str, tuple[np.ndarray, int]] = {
    "duplicates": (np.repeat(rng().randn(3, 2), 20, axis=0), 3),
    "two points, five components": (np.repeat([[0.0, 0], [1, 1]], 10, axis=0), 5),
    "all identical": (np.full((20, 3), 0.1), 2),
    "constant feature": (rng().randn(60, 3) * [1, 0, 1] + [0, 7, 0], 2),
    "collinear features": (rng().randn(60, 1) @ [[1.0, 2, -1]], 2),
    "n_samples = n_components": (rng().randn(5, 2), 5),
}


@all_types
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_with_the_default_regularisation(name: str, covariance_type: str) -> None:
    X, K = DEGENERATE[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "components? .* ((has|have) no samples|collapsed)")
        model = GaussianMixture(K, covariance_type=covariance_type, random_state=0).fit(X)
    assert_valid(model, X)


@all_types
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_without_regularisation(name: str, covariance_type: str) -> None:
    """A fit gives a valid model, or an error that names component and remedy and changes nothing."""
    X, K = DEGENERATE[name]
    named = "shared covariance" if covariance_type == "tied" else r"covariance of component \d+"
    model = GaussianMixture(K, covariance_type=covariance_type, reg_covar=0, random_state=0)
    before = dict(vars(model))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "components? .* ((has|have) no samples|collapsed)")
        try:
            model.fit(X)
        except ValueError as error:
            assert re.search(REMEDY, str(error)) and re.search(f"{named} is not positive", str(error))
            assert vars(model) == before
        else:
            assert_valid(model, X)


def test_all_identical_is_refused_without_regularisation() -> None:
    for covariance_type in TYPES:
        with pytest.raises(ValueError, match=REMEDY):
            GaussianMixture(covariance_type=covariance_type, reg_covar=0).fit(np.ones((20, 2)))


@all_types
def test_reg_covar_of_each_feature_adds_to_its_variance(covariance_type: str) -> None:
    X, reg = rng().randn(100, 3), [0.0, 0.5, 4.0]
    params: dict[str, Any] = {"covariance_type": covariance_type, "random_state": 0}
    plain = GaussianMixture(**params, reg_covar=0).fit(X).covariances_
    got = GaussianMixture(**params, reg_covar=reg).fit(X).covariances_
    added = {"full": [np.diag(reg)], "tied": np.diag(reg), "diag": [reg], "spherical": [1.5]}
    np.testing.assert_allclose(got, plain + added[covariance_type], rtol=1e-14, atol=1e-14)


def test_reg_covar_relative_to_the_data_makes_the_fit_independent_of_units() -> None:
    """An absolute reg_covar depends on the units: the default, 1e-6, exceeds variances of 1e-12."""
    X = np.vstack([rng().randn(100, 2), rng().randn(100, 2) + 6])
    units = np.array([2.0**-20, 2.0**20])
    for n_components, data in ((2, X), (3, np.repeat(X[:4], 50, axis=0))):
        plain, scaled = (
            GaussianMixture(n_components, reg_covar=1e-6 * Z.var(axis=0), random_state=0,
                            init_params=lambda X, K, random_state: np.arange(len(X)) % K).fit(Z)
            for Z in (data, data * units)
        )
        np.testing.assert_array_equal(scaled.means_, plain.means_ * units)
        np.testing.assert_allclose(
            scaled.covariances_, plain.covariances_ * np.outer(units, units), rtol=1e-13
        )
    swamped = GaussianMixture(2, random_state=0).fit(X * 2.0**-20).covariances_
    np.testing.assert_allclose(swamped, [1e-6 * np.eye(2)] * 2, rtol=1e-4, atol=1e-10)


@all_types
def test_a_component_that_empties(covariance_type: str) -> None:
    """An empty component keeps its mean and has weight 0 and the pooled covariance; a warning names it."""
    X = rng().randn(200, 2)
    far = [[1e5, 1e5], [0.0, 0.0]]
    model = GaussianMixture(
        2, covariance_type=covariance_type, means_init=far, random_state=0, reg_covar=0
    )
    with pytest.warns(UserWarning, match="^Component 0 has no samples"):
        model.fit(X)
    assert model.weights_.tolist() == [0, 1]
    assert model.means_[0].tolist() == far[0]
    if covariance_type != "tied":
        np.testing.assert_array_equal(model.covariances_[0], model.covariances_[1])
    one = GaussianMixture(covariance_type=covariance_type, reg_covar=0).fit(X)
    assert model.score(X) == pytest.approx(one.score(X), rel=1e-12)
    assert (model.predict(X) == 1).all()


@all_types
@pytest.mark.parametrize("scale", [1e160, 1e200])
def test_squares_that_overflow_are_refused(covariance_type: str, scale: float) -> None:
    X = rng().randn(50, 2) * scale
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="[Ss]cale the (input )?data"):
        model.fit(X)
    assert vars(model) == before


@all_types
@pytest.mark.parametrize("scale", [1e-150, 1e-100, 1e100, 1e150])
def test_extreme_but_representable_scales(covariance_type: str, scale: float) -> None:
    X = rng().randn(200, 2) + np.repeat([[0.0], [6.0]], 100, axis=0)
    params: dict[str, Any] = {"covariance_type": covariance_type, "random_state": 0, "reg_covar": 0}
    plain, scaled = GaussianMixture(2, **params).fit(X), GaussianMixture(2, **params).fit(X * scale)
    # log p changes by the logarithm of the Jacobian. The data are rounded once, as the scale is no power of 2.
    assert scaled.lower_bound_ == pytest.approx(plain.lower_bound_ - 2 * np.log(scale), rel=1e-12)
    assert np.array_equal(scaled.predict(X * scale), plain.predict(X))


@all_types
@pytest.mark.parametrize(
    ("dtype", "scale", "advice"), [(np.float32, 1e-21, "scale the data or use float64"), (np.float64, 1e-160, "scale the data$")]
)
def test_parameters_beyond_the_range_of_their_type_are_refused(
    covariance_type: str, dtype: Any, scale: float, advice: str
) -> None:
    """The inverse of a covariance may overflow even if the covariance does not underflow."""
    X = (rng().randn(50, 2) * scale).astype(dtype)
    model = GaussianMixture(covariance_type=covariance_type, reg_covar=0)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=f"would be beyond the range of .*{advice}|increase reg_covar, or scale"):
        model.fit(X)
    assert vars(model) == before


@all_types
def test_points_infinitely_far_from_all_components(covariance_type: str) -> None:
    X = rng().randn(200, 2) + np.repeat([[0.0, 0], [6, 6]], 100, axis=0)
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    high, low = np.argmax(model.means_[:, 0]), np.argmin(model.means_[:, 0])
    for size in (1e160, 1e200, 1e308):
        far = np.array([[size, size], [-size, -size], [0.0, 0.0]])
        proba = model.predict_proba(far)
        assert proba.sum(axis=1).tolist() == [1, 1, 1]
        if covariance_type == "tied" and size < 1e300:
            # the covariances are equal, so the distances are equal in float64, and the weights decide
            assert set(model.predict(far)[:2]) <= {high, low}
        assert np.array_equal(model.predict(far), proba.argmax(axis=1))
        assert (model.score_samples(far) == -np.inf).tolist() == [True, True, False]
        assert model.score(far) == -np.inf


@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 1.3e19), (np.float64, 1e154)])
def test_a_mean_whose_sum_overflows(dtype: Any, far: float) -> None:
    model = GaussianMixture.from_parameters([1.0], np.zeros((1, 1), dtype), covariances=[1.0], covariance_type="spherical")
    X = np.full((50, 1), far, dtype)
    one = -0.5 * float(X[0, 0]) ** 2
    assert model.score(X) == pytest.approx(one, rel=1e-6)
    assert model.score(X, sample_weight=np.full(50, 2.0)) == pytest.approx(one, rel=1e-6)


@all_types
def test_a_point_infinitely_far_away_ends_a_fit_with_its_row(covariance_type: str) -> None:
    X = rng().randn(100, 2)
    X[17] = 1e170
    eye = {"full": [np.eye(2)] * 2, "tied": np.eye(2), "diag": np.ones((2, 2)), "spherical": [1.0, 1.0]}
    model = GaussianMixture(
        2, covariance_type=covariance_type, weights_init=[0.5, 0.5], means_init=X[:2],
        precisions_init=eye[covariance_type],
    )
    with pytest.raises(ValueError, match=r"^X\[17\] has density 0 under every component"):
        model.fit(X)
    assert not hasattr(model, "weights_")


def test_restarts_succeed_where_single_starts_fail() -> None:
    """About one start in ten gives a component a single sample, and fails without regularisation."""
    X = np.vstack([rng().randn(40, 2), [[30.0, 30.0]]])

    def labels(X: np.ndarray, K: int, random_state: np.random.RandomState) -> np.ndarray:
        if random_state.uniform() < 0.1:
            return (np.arange(len(X)) == len(X) - 1).astype(int)
        return random_state.randint(K, size=len(X))

    params: dict[str, Any] = {"init_params": labels, "reg_covar": 0.0, "max_iter": 3, "tol": 1e9}
    n_failed = 0
    for seed in range(40):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = GaussianMixture(2, n_init=10, random_state=seed, **params).fit(X)
        failed = [restart for restart in model.restarts_ if restart.failure is not None]
        n_failed += len(failed)
        assert sum("of 10 failed" in str(w.message) for w in caught) == len(failed)
        kept = [restart for restart in model.restarts_ if restart.failure is None]
        best = max(kept, key=lambda restart: restart.log_likelihood)
        assert (model.lower_bound_, model.n_iter_, model.converged_) == best[:3]
        assert model.score(X) == pytest.approx(model.lower_bound_, rel=1e-14)
        eigenvalue = np.linalg.eigvalsh(model.covariances_).min()
        assert best.smallest_eigenvalue == pytest.approx(eigenvalue, rel=1e-12)
    assert 20 <= n_failed <= 60  # 40 of 400 are expected, with a standard deviation of 6


def test_a_warning_if_the_most_likely_start_is_degenerate() -> None:
    X = rng().randn(60, 2)
    X[:3] = X[0] + 1e-6 * rng().randn(3, 2)
    starts = iter([(np.arange(60) < 3), (np.arange(60) % 2 == 0), (np.arange(60) % 3 == 0)])
    model = GaussianMixture(
        2, n_init=3, init_params=lambda X, K, random_state: next(starts).astype(int), reg_covar=1e-14
    )
    with pytest.warns(UserWarning, match="^component 1 collapsed"):
        model.fit(X)
    assert np.argmax([restart.log_likelihood for restart in model.restarts_]) == 0
