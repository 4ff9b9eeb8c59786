"""Tests of the fourteen covariance models against mclust's values, and of what each of them is."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.core.errors import IllDefinedCovarianceError
from gmm_core.model.covariance import COVARIANCE_TYPES

MODELS = "EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV EVV VVV".split()
SAME = {"VII": "spherical", "VVI": "diag", "EEE": "tied", "VVV": "full"}
all_models = pytest.mark.parametrize("name", MODELS)
EPS = np.finfo(float).eps

with zipfile.ZipFile(Path(__file__).parents[1] / "values" / "mclust14.zip") as archive:
    FILES = {n: json.loads(archive.read(n)) for n in archive.namelist() if n.endswith(".json")}
    DATA = {
        n[5:]: np.loadtxt(io.BytesIO(archive.read(n)), delimiter=",", skiprows=1, ndmin=2)
        for n in archive.namelist()
        if n.endswith(".csv")
    }
CASES = [
    pytest.param(file, name, id=f"{file['dataset']}-{name}")
    for file in FILES.values()
    if "Vinv" not in file
    for name in file["cases"]
]


def groups() -> np.ndarray:
    """Three groups of different volumes, shapes and orientations."""
    rng = np.random.default_rng(0)
    return np.vstack(
        [
            rng.normal(size=(80, 3)) * [1, 2, 0.5],
            rng.normal(size=(60, 3)) @ [[1, 0.5, 0], [0, 1, 0], [0, 0, 0.3]] + 4,
            2 * rng.normal(size=(70, 3)) - [8, 0, 6],
        ]
    )


def fit(name: str, X: Any, **params: Any) -> GaussianMixture:
    params = {"tol": 0, "max_iter": 40, "reg_covar": 0, "random_state": 0, **params}
    return GaussianMixture(3, covariance_type=name, **params).fit(X)


def matrices(model: GaussianMixture) -> np.ndarray:
    kind, (K, D) = COVARIANCE_TYPES[model.covariance_type], model.means_.shape
    return np.stack([kind.matrix(model.covariances_, k, D) for k in range(K)])


@pytest.mark.parametrize(("file", "name"), CASES)
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_fit_from_labels_ends_where_mclust_does(file: dict[str, Any], name: str) -> None:
    """The values are mclust's, or where it stops short or is wrong, those that NumPy found."""
    X, case = DATA[Path(file["csv"]).name], file["cases"][name]
    labels, sd = np.asarray(file["labels"]), X.std(axis=0)

    def error(model: GaussianMixture, expected: dict[str, Any]) -> float:
        C = np.asarray(expected["covariances"])
        scale = np.sqrt(np.einsum("kii->ki", C))
        return max(
            abs(model.weights_ - expected["weights"]).max(),
            (abs(model.means_ - expected["means"]) / sd).max(),
            (abs(matrices(model) - C) / (scale[:, :, None] * scale[:, None, :])).max(),
        )

    def run(max_iter: int) -> GaussianMixture:
        return GaussianMixture(
            file["K"], covariance_type=name, init_params=lambda *_: labels, reg_covar=0, tol=0,
            max_iter=max_iter,
        ).fit(X)

    # EVE and VVE have several optima, which different searches for the axes may end in
    if name not in ("EVE", "VVE"):
        assert error(run(0), case["theta1"]) < 1e-9
        assert error(run(5), case["theta6"]) < 1e-8
    expected = case["converged"]
    model = run(3 * expected["n_iter"])
    log_likelihood = model.score(X) * len(X)
    assert log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    # the likelihood is flat at its maximum: parameters are known to the root of its precision
    assert error(model, expected) < 1e-7
    assert model.bic(X) == pytest.approx(expected["BIC"], rel=1e-10)


def test_free_parameters_are_counted_as_by_mclust() -> None:
    counts = [COVARIANCE_TYPES[name].n_parameters(3, 4) + 3 * 4 + 2 for name in MODELS]
    assert counts == [15, 17, 18, 20, 24, 26, 24, 26, 30, 32, 36, 38, 42, 44]


@pytest.mark.parametrize(("name", "same"), SAME.items())
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_four_models_are_the_types_without_such_names(name: str, same: str) -> None:
    one, other = fit(name, groups()), fit(same, groups())
    for attribute in ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_"):
        np.testing.assert_array_equal(getattr(one, attribute), getattr(other, attribute))
    assert one.bic(groups()) == other.bic(groups())


@all_models
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_the_covariances_are_of_the_model(name: str) -> None:
    """What is equal is equal, what varies varies, and the identity has no direction."""
    C = matrices(fit(name, groups()))
    values = np.linalg.eigvalsh(C)
    volumes = np.exp(np.log(values).mean(axis=1))
    shapes = values / volumes[:, None]
    assert (np.ptp(volumes) < 1e-12 * volumes.max()) == (name[0] == "E")
    if name[1] == "I":
        assert abs(shapes - 1).max() < 1e-12
    else:
        assert (np.ptp(shapes, axis=0).max() < 1e-10) == (name[1] == "E")
    commute = max(abs(A @ B - B @ A).max() for A in C for B in C)
    assert (commute < 1e-10) == (name[2] in "IE")
    if name[2] == "I":
        assert abs(C - np.einsum("kii->ki", C)[:, :, None] * np.eye(3)).max() == 0


@all_models
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore")
def test_the_likelihood_never_falls(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = groups()[rng.permutation(210)[:90]] @ rng.normal(size=(3, 3))
    bounds = np.array(fit(name, X, init_params="random_from_data", random_state=seed).lower_bounds_)
    # a bound is a mean of 90 logarithms of size 10, which err by some eps each
    assert (np.diff(bounds) > -20 * EPS * abs(bounds).max()).all()


@pytest.mark.parametrize("name", ["EVE", "VVE"])
def test_the_axes_found_are_the_best_of_many_starts(name: str) -> None:
    """For given labels, no other axes give a larger likelihood."""
    X, labels = groups(), np.repeat([0, 1, 2], [80, 60, 70])
    model = fit(name, X, init_params=lambda *_: labels, max_iter=0)
    W = np.stack([np.cov(X[labels == k].T, bias=True) for k in range(3)])
    counts = np.bincount(labels)

    def objective(Q: np.ndarray) -> float:
        t = np.einsum("di,kde,ei->ki", Q, W, Q)
        if name == "VVE":
            return float(counts @ np.log(t).sum(axis=1))
        return float(counts @ np.exp(np.log(t).mean(axis=1)))

    axes = np.linalg.eigh(np.einsum("k,kij->ij", [1, 0.7, 0.3], matrices(model)))[1]
    found = objective(axes)
    rng = np.random.default_rng(1)
    for _ in range(300):
        assert objective(np.linalg.qr(rng.normal(size=(3, 3)))[0]) >= found
        step = np.linalg.qr(np.eye(3) + 1e-4 * rng.normal(size=(3, 3)))[0]
        assert objective(axes @ step) >= found * (1 - 1e-12)


@all_models
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_all_that_a_type_can_do(name: str, tmp_path: Path) -> None:
    X = groups()
    model = fit(name, X)
    for n_threads in (2, 7):
        other = fit(name, X, n_threads=n_threads)
        np.testing.assert_array_equal(other.covariances_, model.covariances_)
    batched = GaussianMixture(3, covariance_type=name, tol=0, max_iter=40, reg_covar=0, random_state=0)
    np.testing.assert_array_equal(
        batched.fit_batches([X[:50], X[50:]]).covariances_, model.covariances_
    )
    twice = np.repeat(X, 2, axis=0)
    doubled = fit(name, X, init_params=lambda *_: np.repeat([0, 1, 2], [80, 60, 70]))
    weighted = GaussianMixture(
        3, covariance_type=name, tol=0, max_iter=40, reg_covar=0,
        init_params=lambda *_: np.repeat([0, 1, 2], [80, 60, 70]),
    ).fit(X, sample_weight=np.full(len(X), 2.0))
    np.testing.assert_allclose(weighted.covariances_, doubled.covariances_, rtol=1e-9, atol=1e-12)
    assert weighted.bic(twice[::2], sample_weight=np.full(len(X), 2.0)) == pytest.approx(doubled.bic(twice))
    single = fit(name, X.astype(np.float32))
    assert single.covariances_.dtype == np.float32
    assert single.score(X) == pytest.approx(model.score(X), abs=1e-3)
    model.save(tmp_path / "model.npz")
    loaded = GaussianMixture.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
    np.testing.assert_allclose(model.to_sklearn().score_samples(X), model.score_samples(X), rtol=1e-10)
    assert model.sample(4)[0].shape == (4, 3)
    holed = X.copy()
    holed[::7, 1] = np.nan
    missing = fit(name, holed, missing="marginalize", max_iter=20)
    assert (np.diff(missing.lower_bounds_) > -1e-12).all() and np.isfinite(missing.impute(holed)).all()
    stream = GaussianMixture(3, covariance_type=name, random_state=0)
    for _ in range(4):
        stream.partial_fit(X)
    assert stream.score(X) == pytest.approx(model.score(X), abs=0.05)


@all_models
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_a_warm_start_and_a_checkpoint_go_on_from_the_last_axes(name: str, tmp_path: Path) -> None:
    X = groups()
    whole = fit(name, X, max_iter=12)
    warm = fit(name, X, max_iter=5, warm_start=True)
    warm.set_params(max_iter=7).fit(X)
    np.testing.assert_array_equal(warm.covariances_, whole.covariances_)


@all_models
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_reg_covar_is_added_before_the_model_is_taken(name: str) -> None:
    """Σ r (x − μ)(x − μ)ᵀ + N_k · reg · I has the volume, shape and orientation of the result."""
    X, labels = groups(), np.repeat([0, 1, 2], [80, 60, 70])
    model = fit(name, X, init_params=lambda *_: labels, max_iter=0, reg_covar=0.5)
    total = np.einsum("k,kij->ij", model.weights_, matrices(model))
    within = sum(np.cov(X[labels == k].T, bias=True) * np.mean(labels == k) for k in range(3))
    expected = within + 0.5 * np.eye(3)
    if name[0] == "E" and name[1] == "E":  # the mean of the covariances is kept
        assert np.trace(total) == pytest.approx(np.trace(expected), rel=1e-12)
    if name in ("EEE", "EEI", "VVI", "VVV"):
        np.testing.assert_allclose(
            np.diag(total), np.diag(expected), rtol=1e-12
        )


def test_univariate_models() -> None:
    x = np.random.default_rng(0).normal(size=(60, 1)) * 2
    assert fit("E", x, max_iter=2, tol=9).covariances_.shape == (3,)
    assert np.ptp(fit("E", x, max_iter=2, tol=9).covariances_) == 0
    assert np.ptp(fit("V", x, max_iter=2, tol=9).covariances_) > 0
    for name in "EV":
        with pytest.raises(ValueError, match=f"covariance_type='{name}' is for data of one feature"):
            fit(name, groups())
    with pytest.raises(ValueError, match="'covariance_type'.*'EII'.*'VVV'"):
        fit("EVEE", groups())


def test_the_shape_of_an_array_still_tells_the_old_types() -> None:
    made = GaussianMixture.from_parameters([0.5, 0.5], np.eye(2), covariances=[1.0, 2.0])
    assert made.covariance_type == "spherical"


@all_models
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_volume_shape_and_orientation(name: str) -> None:
    model = fit(name, groups())
    C = matrices(model)
    np.testing.assert_allclose(model.volume_, np.linalg.det(C) ** (1 / 3), rtol=1e-12)
    assert (np.ptp(model.volume_) < 1e-12 * model.volume_.max()) == (name[0] == "E")
    if name[1] == "I":
        assert not hasattr(model, "shape_")
    else:
        np.testing.assert_allclose(model.shape_.prod(axis=1), 1, rtol=1e-12)
        assert (np.diff(model.shape_) <= 0).all()
    if name[2] == "I":
        assert not hasattr(model, "orientation_")
    else:
        Q = model.orientation_
        made = np.einsum("k,kij,kj,klj->kil", model.volume_, Q, model.shape_, Q)
        np.testing.assert_allclose(made, C, rtol=0, atol=1e-12 * abs(C).max())
    assert not hasattr(GaussianMixture(), "volume_")


@pytest.mark.parametrize("name", ["VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"])
def test_samples_on_a_line_need_reg_covar(name: str) -> None:
    X = np.repeat([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]], 3, axis=0)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(1, covariance_type=name, reg_covar=0).fit(X)
    assert np.isfinite(GaussianMixture(1, covariance_type=name).fit(X).score(X))


@pytest.mark.parametrize("name", ["VEE", "VEV", "VEI", "EVE", "VVE"])
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_alternating_steps_end_where_rounding_begins(name: str) -> None:
    # In 60 dimensions the rounding errors of the volumes are larger than a few units in the last place.
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(200, 60)) @ rng.normal(size=(60, 60)) + c for c in (0, 3, -3)])
    model = GaussianMixture(3, covariance_type=name, random_state=0, reg_covar=0, tol=0, max_iter=6)
    bounds = np.array(model.fit(X).lower_bounds_)
    assert (np.diff(bounds) >= -1e-12 * abs(bounds[:-1])).all()


def test_a_model_that_is_not_fitted_has_no_volume() -> None:
    for model in (GaussianMixture(), GaussianMixture(covariance_type="EIX")):  # type: ignore[arg-type]
        for name in ("volume_", "shape_", "orientation_"):
            assert not hasattr(model, name)
    with pytest.raises(ValueError, match="not fitted"):
        _ = GaussianMixture().volume_


@pytest.mark.parametrize("name", ["EVI", "EVV", "EVE", "VVE"])
@pytest.mark.parametrize("value", [0.0, 3.7, 1e6])
@pytest.mark.parametrize("max_iter", [0, 3])
def test_rounding_errors_are_not_scaled_up_to_a_variance(name: str, value: float, max_iter: int) -> None:
    """A component without extent along a feature fails, although its covariance is divided by its determinant."""
    X = np.random.default_rng(0).normal(size=(200, 3)) * [1, 2, 3] + [0, 5, 100]
    X[:30] += [20, 0, 0]
    X[:30, 1] = value
    labels = (np.arange(200) < 30).astype(int)
    model = GaussianMixture(
        2, covariance_type=name, reg_covar=0, init_params=lambda *_: labels, max_iter=max_iter
    )
    with pytest.raises(IllDefinedCovarianceError, match="covariance of component 1 is not positive"):
        model.fit(X)


@pytest.mark.parametrize("name", ["EVI", "EVV", "EVE", "VVE"])
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_small_variances_that_are_not_rounding_errors_are_kept(name: str) -> None:
    """Standard deviations of 1e-5 at a distance of 1e6 have eleven digits more than rounding errors."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) * [1e-5, 1] + np.repeat([[0, 0], [1e6, 0]], 100, axis=0)
    model = GaussianMixture(2, covariance_type=name, reg_covar=0, random_state=0, max_iter=3, tol=0)
    C = np.array([np.diag(c) if np.ndim(c) == 1 else c for c in model.fit(X).covariances_])
    np.testing.assert_allclose(C[:, 0, 0], 1e-10, rtol=0.5)
    assert np.isfinite(model.lower_bounds_).all()


@pytest.mark.parametrize("name", ["VVV", "EVV", "VVE", "EEE"])
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_the_volume_of_ill_conditioned_float32_covariances(name: str) -> None:
    """The factor has digits of the determinant that float32 covariances have lost."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) * [1, 1e-3, 1e-5] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    model = fit(name, X, max_iter=3)
    single = GaussianMixture.from_parameters(
        model.weights_, model.means_, precisions=model.precisions_, covariance_type=name
    )
    for array in ("weights_", "means_", "precisions_cholesky_"):
        setattr(single, array, getattr(model, array).astype(np.float32))
    # Each of the D diagonal entries of the factor is rounded by eps / 2, and the volume is the power
    # -2 / D of their product.
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(single.volume_, model.volume_, rtol=eps)
    np.testing.assert_allclose(single.shape_.prod(axis=1), 1, rtol=1e-4)
    assert single.covariances_.dtype == np.float32


@all_models
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_fitted_covariances_are_those_of_their_model(name: str, dtype: Any) -> None:
    X = groups() * [1, 1e-3, 1e2]
    model = fit(name, X.astype(dtype), reg_covar=0, max_iter=9)
    for given in ("covariances", "precisions"):
        again = GaussianMixture.from_parameters(
            model.weights_, model.means_, covariance_type=name, **{given: getattr(model, f"{given}_")}
        )
        assert again.n_parameters == model.n_parameters


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EII", "equal volumes"), ("EEI", "equal volumes"), ("VEI", "equal shapes"),
        ("EVI", "equal volumes"), ("VEE", "equal shapes"), ("EVE", "equal volumes"),
        ("VVE", "equal orientations"), ("EEV", "equal volumes"), ("VEV", "equal shapes"),
        ("EVV", "equal volumes"),
    ],
)  # fmt: skip
def test_covariances_of_another_model_are_refused(name: str, message: str) -> None:
    loose = {2: "VVI", 3: "VVV", 1: "VII"}[len(COVARIANCE_TYPES[name].shape(3, 3))]
    with pytest.warns(UserWarning, match="did not converge"):
        other = fit(loose, groups(), max_iter=3)
    arguments = other.weights_, other.means_
    with pytest.raises(ValueError, match=f"the covariances do not have {message}"):
        GaussianMixture.from_parameters(
            *arguments, covariances=other.covariances_, covariance_type=name
        )
    with pytest.raises(ValueError, match=f"the precisions do not have {message}"):
        GaussianMixture.from_parameters(
            *arguments, precisions=other.precisions_, covariance_type=name
        )


def test_axes_and_variances_of_another_model_are_refused() -> None:
    turned = np.array([[[2.0, 0], [0, 0.5]], [[0.5, 0], [0, 2.0]]])
    means = np.zeros((2, 2))
    make = GaussianMixture.from_parameters
    for name in ("VVE", "EVE", "EEV"):     # the axes of both are those of the features
        make([0.5, 0.5], means, covariances=turned, covariance_type=name)
    with pytest.raises(ValueError, match="equal shapes along equal axes"):
        make([0.5, 0.5], means, covariances=turned, covariance_type="VEE")
    with pytest.raises(ValueError, match="equal volumes, as covariance_type='E' has them"):
        make([0.5, 0.5], [[0.0], [1.0]], covariances=[1.0, 2.0], covariance_type="E")
