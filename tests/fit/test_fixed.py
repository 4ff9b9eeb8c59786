"""Tests of parameters that EM leaves as they are."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture, reference
from gmm_core.model.covariance import COVARIANCE_TYPES

EPS = np.finfo(float).eps
K, D = 3, 2
NAMES = ("weights", "means", "covariances")
SETS = [set(names) for n in (1, 2, 3) for names in combinations(NAMES, n)]
TYPES = ("full", "tied", "diag", "spherical", "EEV", "VEI", "EVE")
pytestmark = pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")


def data() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, D)) * [1, 2] + np.array([[0, 0], [6, 2], [2, 9]])[
        rng.integers(K, size=400)
    ]


def values(covariance_type: str) -> dict[str, Any]:
    """Return values of all parameters, which are far from those of a fit."""
    kind = COVARIANCE_TYPES[covariance_type]
    precision = {1: np.full(K, 0.5), 2: np.full((K, D), 0.5), 3: np.tile(0.5 * np.eye(D), (K, 1, 1))}
    shape = kind.shape(K, D)
    return {
        "weights_init": np.array([0.2, 0.3, 0.5]),
        "means_init": np.array([[1.0, -1], [5, 5], [0, 7]]),
        "precisions_init": 0.5 * np.eye(D) if shape == (D, D) else precision[len(shape)],
    }


def fit(covariance_type: str, **params: Any) -> GaussianMixture:
    params = {"reg_covar": 0, "tol": 0, "max_iter": 30, "random_state": 0, **params}
    return GaussianMixture(K, covariance_type=covariance_type, **params).fit(data())


@pytest.mark.parametrize("fixed", SETS, ids=lambda names: "+".join(sorted(names)))
@pytest.mark.parametrize("covariance_type", TYPES)
def test_fixed_parameters_keep_their_bits_and_the_rest_improves(
    covariance_type: str, fixed: set[str]
) -> None:
    given = values(covariance_type)
    model = fit(covariance_type, fixed=fixed, **given)
    start = fit(covariance_type, max_iter=0, **given)
    for name in NAMES:
        same = np.array_equal(getattr(model, f"{name}_"), getattr(start, f"{name}_"))
        assert same == (name in fixed)
    bounds = np.array([*model.lower_bounds_, model.lower_bound_])
    assert (np.diff(bounds) > -20 * EPS * abs(bounds[1:])).all()
    assert bounds[-1] > bounds[0] or fixed == set(NAMES)

    free = fit(covariance_type, max_iter=0)
    of_covariances = COVARIANCE_TYPES[covariance_type].n_parameters(K, D)
    lost = {"weights": K - 1, "means": K * D, "covariances": of_covariances}
    assert model.n_parameters == free.n_parameters - sum(lost[name] for name in fixed)
    n = len(data())
    expected = -2 * n * model.score(data()) + model.n_parameters * np.log(n)
    assert model.bic(data()) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_step_with_masks_against_numpy(covariance_type: str) -> None:
    """The M-step: weights 0 fixed, mean 1 fixed, covariance 2 fixed."""
    X, given = data(), values(covariance_type)
    start = fit(covariance_type, max_iter=0, **given)
    one = fit(
        covariance_type, max_iter=1, **given,
        fixed={"weights": [True, False, False], "means": [False, True, False],
               "covariances": [False, False, True]},
    )  # fmt: skip
    _, r = reference.expectation_step(
        X, start.weights_, start.means_, start.precisions_cholesky_, covariance_type
    )
    counts = r.sum(axis=0)
    weights = np.r_[0.2, 0.8 * counts[1:] / counts[1:].sum()]
    means = r.T @ X / counts[:, None]
    means[1] = given["means_init"][1]
    np.testing.assert_allclose(one.weights_, weights, rtol=1e-13)
    np.testing.assert_allclose(one.means_, means, rtol=1e-12)
    difference = X[:, None] - means
    scatter = np.einsum("nk,nki,nkj->kij", r, difference, difference) / counts[:, None, None]
    variances = np.einsum("kii->ki", scatter)
    by_type = {"full": scatter, "diag": variances, "spherical": variances.mean(axis=1)}
    np.testing.assert_allclose(one.covariances_[:2], by_type[covariance_type][:2], rtol=1e-12)
    np.testing.assert_array_equal(one.covariances_[2], start.covariances_[2])
    kind = COVARIANCE_TYPES[covariance_type]
    expected = K - 2 + (K - 1) * D + 2 * kind.n_parameters(1, D)
    assert one.n_parameters == expected


def test_equal_weights() -> None:
    model = fit("full", weights_init="equal", fixed={"weights"})
    np.testing.assert_array_equal(model.weights_, np.full(K, 1 / K))
    assert model.n_parameters == fit("full").n_parameters - (K - 1)


def test_fixed_means_far_from_the_data_do_not_lose_digits() -> None:
    """The moments are taken about the fixed means, so nothing cancels."""
    X = data() + 1e8
    given = {"means_init": np.array([[1e8, 1e8], [1e8 + 6, 1e8 + 2], [1e8 + 2, 1e8 + 9]])}
    far = GaussianMixture(K, fixed={"means"}, random_state=0, **given).fit(X)
    near = GaussianMixture(
        K, fixed={"means"}, random_state=0, means_init=given["means_init"] - 1e8
    ).fit(X - 1e8)
    np.testing.assert_allclose(far.covariances_, near.covariances_, rtol=1e-6)


def test_fixed_covariance_saves_a_component_of_one_point() -> None:
    """Its own moments are singular, which does not matter."""
    X = np.vstack([data(), [[1000.0, 1000.0]]])
    means = np.array([[0.0, 0], [4, 4], [1000, 1000]])
    precisions = np.tile(np.eye(D), (K, 1, 1))
    model = GaussianMixture(
        K, reg_covar=0, weights_init="equal", means_init=means, precisions_init=precisions,
        fixed={"covariances": [False, False, True]},
    ).fit(X)  # fmt: skip
    np.testing.assert_array_equal(model.covariances_[2], np.eye(D))
    assert model.weights_[2] == pytest.approx(1 / 401)


def test_threads_batches_weights_and_files(tmp_path: Path) -> None:
    given = {**values("full"), "fixed": {"means": [True, False, True]}}
    expected = fit("full", n_threads=1, **given)
    other = GaussianMixture(K, reg_covar=0, tol=0, max_iter=30, random_state=0, **given)
    other.fit_batches(np.split(data(), [7, 200]))
    np.testing.assert_array_equal(other.covariances_, expected.covariances_)
    other.save(tmp_path / "model.npz")
    loaded = GaussianMixture.load(tmp_path / "model.npz")
    assert loaded.n_parameters == expected.n_parameters
    equal = fit("full", weights_init="equal", fixed={"weights"})
    equal.save(tmp_path / "equal.npz")
    assert GaussianMixture.load(tmp_path / "equal.npz").n_parameters == equal.n_parameters
    assert equal.to_sklearn().predict(data()).tolist() == equal.predict(data()).tolist()


def test_warm_start_keeps_what_was_fitted() -> None:
    model = fit("full", max_iter=5, warm_start=True)
    means = model.means_.copy()
    model.set_params(fixed=["means"]).fit(data())
    np.testing.assert_array_equal(model.means_, means)


def test_noise_with_fixed_means() -> None:
    given = values("full")
    model = fit("full", noise=True, fixed={"means"}, means_init=given["means_init"])
    np.testing.assert_array_equal(model.means_, given["means_init"])
    assert model.n_parameters == fit("full").n_parameters - K * D + 2
    bounds = np.array(model.lower_bounds_)
    assert (np.diff(bounds) > -20 * EPS * abs(bounds[1:])).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fixed": {"weights"}}, "weights_init has to be given"),
        ({"fixed": {"means": [True, False, False]}}, "means_init has to be given"),
        ({"fixed": {"covariances"}}, "precisions_init has to be given"),
        ({"fixed": {"mean"}}, "fixed should name 'weights', 'means' and 'covariances', but got 'mean'"),
        ({"fixed": {"means": [True, False]}}, "a mask of 3 bools"),
        ({"fixed": {"means": [1, 0, 1]}}, "a mask of 3 bools"),
        ({"fixed": "means"}, "The 'fixed' parameter of GaussianMixture must be a set of names"),
        ({"fixed": 3}, "The 'fixed' parameter"),
        ({"fixed": [["weights"]]}, "fixed should be names, or masks by name"),
        ({"weights_init": "even"}, "The 'weights_init' parameter"),
        ({"fixed": {"weights"}, "weights_init": "equal", "noise": True}, "fixed weights do not go"),
        ({"fixed": {"weights"}, "weights_init": "equal", "n_swaps": 1}, "n_swaps=1, expected 0"),
    ],
)
def test_bad_input(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit("full", **params)


def test_covariances_that_depend_on_each_other_cannot_be_fixed_in_part() -> None:
    for name in ("tied", "EII", "VEI", "EEV"):
        with pytest.raises(ValueError, match="all components or none"):
            fit(name, fixed={"covariances": [True, False, False]}, **values(name))


@pytest.mark.filterwarnings("ignore:Component 2 has no samples")
def test_fixed_weights_that_sum_to_more_than_one_by_rounding() -> None:
    weights = [0.5, 0.5 + 4e-9, 5e-9]
    model = fit("full", weights_init=weights, fixed={"weights": [True, True, False]})
    assert model.weights_[2] == 0


def test_a_fixed_covariance_is_not_reported_as_collapsed() -> None:
    X = np.vstack([data(), [[50.0, 50.0]]])
    precisions = np.array([np.eye(2), np.eye(2), 1e9 * np.eye(2)])
    given = {"weights_init": "equal", "means_init": [[0, 0], [4, 4], [50, 50]]}
    GaussianMixture(
        K, precisions_init=precisions, fixed={"covariances": [False, False, True]}, **given
    ).fit(X)  # warnings are errors in these tests
    with pytest.warns(UserWarning, match="collapsed"):
        GaussianMixture(K, precisions_init=precisions, **given).fit(X)


def test_partial_fit_refuses() -> None:
    with pytest.raises(ValueError, match="partial_fit does not take fixed"):
        GaussianMixture(K, fixed={"weights"}, weights_init="equal").partial_fit(data())
