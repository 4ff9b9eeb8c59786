"""Tests of the noise component: fits against mclust's, its density, its box, and its limits."""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

from gmm_core import GaussianMixture, reference
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit.noise import region
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import prepare

EPS = np.finfo(float).eps
TYPES = ("full", "tied", "diag", "spherical")
pytestmark = pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
all_types = pytest.mark.parametrize("covariance_type", TYPES)

with zipfile.ZipFile(Path(__file__).parents[1] / "values" / "mclust14.zip") as archive:
    FILES = [
        json.loads(archive.read(name)) for name in archive.namelist() if name.startswith("noise")
    ]
    DATA = {
        file["dataset"]: np.loadtxt(
            io.BytesIO(archive.read(file["csv"])), delimiter=",", skiprows=1, ndmin=2
        )
        for file in FILES
    }
CASES = [
    pytest.param(file, name, id=f"{file['dataset']}-{name}")
    for file in FILES
    for name in file["cases"]
]


def clusters_and_noise(n: int = 600, seed: int = 0) -> np.ndarray:
    """Return two clusters, a quarter of uniform points, in a random order."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(n * 3 // 8, 2)) + center for center in ([0, 0], [9, 3])]
    uniform = rng.uniform([-20, -15], [25, 20], size=(n - 2 * len(parts[0]), 2))
    return rng.permutation(np.vstack([*parts, uniform]))


def fit(X: Any, sample_weight: Any = None, **params: Any) -> GaussianMixture:
    params = {"n_components": 2, "noise": True, "random_state": 0, **params}
    return GaussianMixture(**params).fit(X, sample_weight=sample_weight)


def assert_same(one: GaussianMixture, other: GaussianMixture) -> None:
    for name in ("weights_", "means_", "covariances_", "lower_bound_", "noise_log_density_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(("file", "name"), CASES)
def test_fit_from_labels_ends_where_mclust_does(file: dict[str, Any], name: str) -> None:
    X, case, labels = DATA[file["dataset"]], file["cases"][name]["converged"], file["labels"]
    K, n = file["K"], len(X)
    start = np.where(np.equal(labels, K), -1, labels)  # mclust's last label is the noise
    model = fit(
        X, n_components=K, covariance_type=name, init_params=lambda *_: start, reg_covar=0, tol=0,
        max_iter=3 * case["n_iter"],
    )  # fmt: skip
    assert np.exp(model.noise_log_density_) == pytest.approx(file["Vinv"], rel=1e-13)
    assert n * model.score(X) == pytest.approx(case["loglik"], rel=1e-10)
    weights = np.append(model.weights_, model.noise_weight_)
    np.testing.assert_allclose(weights, case["weights"], atol=1e-8)
    np.testing.assert_allclose((model.means_ - case["means"]) / X.std(axis=0), 0, atol=1e-8)
    assert model.bic(X) == pytest.approx(case["BIC"], rel=1e-10)
    assert model.icl(X) == pytest.approx(case["ICL"], rel=1e-8)
    assert model.n_parameters == file["cases"][name]["df"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file["dataset"])
def test_default_start_finds_the_same_maximum(file: dict[str, Any]) -> None:
    X = DATA[file["dataset"]]
    model = fit(X, n_components=file["K"], tol=1e-9, max_iter=1000)
    best = file["cases"]["VVV"]["converged"]["loglik"]
    assert len(X) * model.score(X) == pytest.approx(best, rel=1e-7)


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_steps_against_numpy(isa, make_problem, covariance_type: str, dtype: Any) -> None:
    """Compare the statistics with NumPy's: the noise takes its part of each sample."""
    problem = make_problem(covariance_type, 500, 3, 4, dtype=dtype)
    weights, means, factor, kind = problem.mixture
    log_density = -5.0
    prepared = prepare(0.8 * weights, means, factor, kind, Noise(log_density, 0.2))
    log_noise = log_density + np.log(0.2)
    log_prob = reference.weighted_log_prob(problem.X64, 0.8 * weights, means, factor, kind)
    log_p = logsumexp(np.column_stack([log_prob, np.full(500, log_noise)]), axis=1)
    r = np.exp(log_prob - log_p[:, None])
    assert 0.05 < 1 - r.sum() / 500 < 0.95

    made = ArrayPass(problem.X, problem.weight, 3, kind, 2).accumulate(prepared)
    # In float32 the responsibilities have errors of 50 eps, as log-probabilities have sizes of up to 50.
    tolerance = 1e-12 if dtype == np.float64 else 50 * float(np.finfo(np.float32).eps)
    counts = problem.weight @ r
    assert made.log_likelihood == pytest.approx(problem.weight @ log_p, rel=tolerance)
    np.testing.assert_allclose(made.counts, counts, rtol=tolerance)
    moved = np.einsum("n,nk,nd->kd", problem.weight, r, problem.X64) / counts[:, None]
    np.testing.assert_allclose(made.means, moved, rtol=0, atol=10 * tolerance)
    if kind == "tied":
        from gmm_core.fit.maximization import maximization_step

        difference = problem.X64[:, None] - moved
        pooled = np.einsum("n,nk,nki,nkj->ij", problem.weight, r, difference, difference)
        mixture, _ = maximization_step(made, 0.0, log_noise_density=log_density)
        np.testing.assert_allclose(mixture.covariances, pooled / counts.sum(), atol=20 * tolerance)
        assert 1 - mixture.weights.sum() == pytest.approx(
            1 - counts.sum() / problem.weight.sum(), abs=tolerance
        )


@pytest.mark.parametrize("name", [*TYPES, "EII", "VEI", "EEV", "EVE"])
def test_log_likelihood_never_falls(name: str) -> None:
    X = clusters_and_noise()
    model = fit(X, covariance_type=name, reg_covar=0, tol=0, max_iter=150)
    bounds = np.array([*model.lower_bounds_, model.lower_bound_])
    assert (np.diff(bounds) > -40 * EPS * abs(bounds[1:])).all()


def test_density_integrates_to_one_and_is_zero_outside() -> None:
    X = clusters_and_noise()
    model = fit(X)
    assert 0.2 < model.noise_weight_ < 0.3
    x, y = np.arange(-60, 70, 0.1), np.arange(-60, 70, 0.1)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    density = np.exp(model.score_samples(grid))
    # The edges of the box cut cells of the grid: 4 edges of 45 at most, half a cell each.
    assert density.sum() * 0.01 == pytest.approx(1, abs=4 * 45 * 0.05 * 0.3 / 1500)
    far = np.array([[400.0, 0.0]])
    gaussian = GaussianMixture.from_parameters(
        model.weights_ / model.weights_.sum(), model.means_, covariances=model.covariances_
    )
    log_share = np.log(model.weights_.sum())
    near = np.array([[60.0, 0.0]])
    assert model.score_samples(near) == pytest.approx(gaussian.score_samples(near) + log_share)
    assert model.predict(far).tolist() == [-1] and model.noise_proba(far) == pytest.approx(1)


def test_probabilities_sum_to_one_and_labels_follow_them() -> None:
    X = clusters_and_noise()
    model = fit(X)
    r, noise = model.predict_proba(X), model.noise_proba(X)
    np.testing.assert_allclose(r.sum(axis=1) + noise, 1, atol=20 * EPS)
    labels = np.column_stack([noise, r]).argmax(axis=1) - 1
    np.testing.assert_array_equal(model.predict(X), labels)
    assert set(labels) == {-1, 0, 1}
    np.testing.assert_array_equal(fit(X).predict(X), GaussianMixture(
        2, noise=True, random_state=0).fit_predict(X))  # fmt: skip
    entropy = -2 * np.sum(np.where(r > 0, r * np.log(np.where(r > 0, r, 1)), 0))
    entropy -= 2 * np.sum(noise * np.log(noise))
    assert model.icl(X, certainty="entropy") == pytest.approx(model.bic(X) + entropy, rel=1e-12)


def test_box_is_the_smaller_of_the_two_of_mclust() -> None:
    rng = np.random.default_rng(0)
    long = rng.uniform(-1, 1, size=(300, 2)) * [10, 0.1]
    turned = long @ np.array([[0.6, 0.8], [-0.8, 0.6]])
    upright = region(ArrayPass(long, None, 1, "full", 1))
    oblique = region(ArrayPass(turned, None, 1, "full", 1))
    # mclust: log of the product of the ranges of princomp(turned)$scores
    values, axes = np.linalg.eigh(np.cov(turned.T))
    expected = np.log(np.ptp((turned - turned.mean(axis=0)) @ axes, axis=0)).sum()
    assert oblique.log_volume == pytest.approx(expected, rel=1e-12)
    assert upright.log_volume == pytest.approx(np.log(np.ptp(long, axis=0)).sum(), rel=1e-15)
    np.testing.assert_array_equal(upright.axes, np.eye(2))
    assert oblique.contains(turned).all() and upright.contains(long).all()
    assert not oblique.contains(1.01 * turned).all()


def test_threads_batches_and_maps_have_the_same_bits(tmp_path: Path) -> None:
    X = clusters_and_noise(20_000)
    expected = fit(X, n_threads=1)
    assert_same(fit(X, n_threads=2), expected)
    batches = np.split(X, [17, 5000, 12_345])
    assert_same(GaussianMixture(2, noise=True, random_state=0).fit_batches(batches), expected)
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    assert_same(fit(np.load(tmp_path / "x.npy", mmap_mode="r")), expected)


def test_rows_of_weight_zero_are_absent_and_of_weight_two_are_two_rows() -> None:
    X = clusters_and_noise()
    far = np.vstack([X, [[1e3, 1e3]]])
    assert_same(fit(far, sample_weight=np.r_[np.ones(len(X)), 0]), fit(X, np.ones(len(X))))
    start = {"weights_init": [0.4, 0.4], "means_init": [[0, 0], [9, 3]], "tol": 1e-10,
             "precisions_init": np.tile(np.eye(2), (2, 1, 1)), "max_iter": 500}  # fmt: skip
    weight = np.where(np.arange(len(X)) < 200, 2.0, 1.0)
    one, other = fit(X, weight, **start), fit(np.vstack([X, X[:200]]), **start)
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-7)
    assert one.noise_weight_ == pytest.approx(other.noise_weight_, rel=1e-7)


def test_float32_is_close_to_float64() -> None:
    X = clusters_and_noise(2000).astype(np.float32)
    single, double = fit(X, tol=1e-6), fit(X.astype(np.float64), tol=1e-6)
    assert single.weights_.dtype == np.float32
    np.testing.assert_allclose(single.means_, double.means_, atol=1e-3)
    assert single.noise_weight_ == pytest.approx(double.noise_weight_, abs=1e-4)
    assert single.noise_proba(X).dtype == np.float32


def test_given_density() -> None:
    X = clusters_and_noise()
    box = fit(X)
    given = fit(X, noise=float(np.exp(box.noise_log_density_)))
    np.testing.assert_allclose(given.means_, box.means_, rtol=1e-10)
    assert not hasattr(given, "noise_box_")
    with pytest.raises(ValueError, match="noise was given as a density"):
        given.sample(3)
    far = given.score_samples([[400.0, 0.0]])
    assert far == pytest.approx(given.noise_log_density_ + np.log(given.noise_weight_))


def test_samples_of_the_noise_are_uniform_in_the_box() -> None:
    model = fit(clusters_and_noise())
    X, labels = model.sample(20_000)
    noise = X[labels == -1]
    assert (labels[-len(noise) :] == -1).all()
    share = model.noise_weight_
    assert abs(len(noise) / 20_000 - share) < 5 * np.sqrt(share * (1 - share) / 20_000)
    assert model.noise_box_.contains(noise).all()
    box = model.noise_box_
    u = ((noise - box.origin) @ box.axes - box.low) / (box.high - box.low)
    assert (abs(u.mean(axis=0) - 0.5) < 5 / np.sqrt(12 * len(u))).all()
    np.testing.assert_allclose(X[labels == 0].mean(axis=0), model.means_[0], atol=0.1)


def test_save_pickle_copy_and_checkpoint_keep_the_noise(tmp_path: Path) -> None:
    X = clusters_and_noise()
    model = fit(X, checkpoint=tmp_path / "state", checkpoint_interval=1)
    assert_same(model, fit(X))
    model.save(tmp_path / "model.npz")
    for other in (
        GaussianMixture.load(tmp_path / "model.npz"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert_same(other, model)
        np.testing.assert_array_equal(other.score_samples(3 * X), model.score_samples(3 * X))
        np.testing.assert_array_equal(other.sample(9)[0], model.sample(9)[0])


def test_a_new_fit_without_noise_forgets_it() -> None:
    X = clusters_and_noise()
    model = fit(X)
    model.set_params(noise=False).fit(X)
    assert not hasattr(model, "noise_box_") and not hasattr(model, "noise_weight_")
    assert not model.noise_proba(X).any() and model.weights_.sum() == pytest.approx(1)
    assert fit(X).n_parameters == model.n_parameters + 2


def test_warm_start_continues_with_noise() -> None:
    X = clusters_and_noise()
    model = fit(X, max_iter=3, warm_start=True, tol=1e-8)
    model.set_params(max_iter=200).fit(X)
    assert model.lower_bounds_[0] == pytest.approx(fit(X, max_iter=3, tol=1e-8).lower_bound_)


def test_warm_start_that_turns_noise_off() -> None:
    X = clusters_and_noise()
    model = fit(X, warm_start=True, tol=1e-8, max_iter=500)
    model.set_params(noise=False).fit(X)
    plain = GaussianMixture(2, tol=1e-8, max_iter=500, random_state=0).fit(X)
    assert model.weights_.sum() == pytest.approx(1)
    assert model.lower_bound_ == pytest.approx(plain.lower_bound_, abs=0.05)


def test_small_weights_of_the_noise_keep_their_digits_in_float32() -> None:
    X = np.random.default_rng(3).normal(size=(20_000, 2))
    X[0] = 60
    weights = [fit(X.astype(dtype), n_components=1, noise=1e-9).noise_weight_ for dtype in "df"]
    assert weights[0] == pytest.approx(1 / 20_000, rel=1e-3)
    assert weights[1] == pytest.approx(weights[0], rel=1e-2)
    # No noise is left in data without outliers.
    clean = fit(X[1:].astype(np.float32), n_components=3, noise=1e-30)
    assert clean.noise_weight_ < 1e-7 and (clean.predict(X[1:]) >= 0).all()


def test_probabilities_of_extreme_densities_are_at_most_one() -> None:
    X = clusters_and_noise().astype(np.float32)
    model = fit(X, noise=1e-30)
    far = np.array([[1e3, 0]], np.float32)
    assert model.noise_proba(far).max() <= 1 and model.icl(X) >= model.bic(X)


def test_all_samples_noise() -> None:
    X = clusters_and_noise()
    for params in ({"noise": 1e300}, {"init_params": lambda X, *_: np.full(len(X), -1)}):
        with pytest.raises(ValueError, match="all samples are noise"):
            fit(X, **params)


def test_checkpoint_resumes_with_the_noise_and_knows_it(tmp_path: Path) -> None:
    from gmm_core.fit.checkpoints import Checkpoint

    X, state = clusters_and_noise(), tmp_path / "state"
    params = {"checkpoint": state, "checkpoint_interval": 1, "tol": 1e-9, "max_iter": 200}
    save, calls = Checkpoint.save, iter(range(5))

    def stop(self: Any, *args: Any) -> None:
        save(self, *args)
        if next(calls) == 4:
            raise InterruptedError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Checkpoint, "save", stop)
        fit(X, **params)
    with pytest.raises(ValueError, match="of another fit: its noise is True, and here it is 1.0"):
        fit(X, **{**params, "noise": 1.0})
    resumed, plain = fit(X, **params), fit(X, tol=1e-9, max_iter=200)
    assert_same(resumed, plain)
    assert resumed.lower_bounds_ == plain.lower_bounds_


def test_swaps_move_no_component_into_the_noise() -> None:
    """Three groups, two of which begin as one component, while two components share the third."""
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0], [8, 0], [40, 0]])
    X = np.vstack([
        rng.normal(size=(450, 2)) + np.repeat(centers, 150, axis=0),
        rng.uniform([-60, -60], [100, 60], size=(150, 2)),
    ])  # fmt: skip
    start = {"means_init": [[4, 0], [39, 0], [41, 0]], "n_components": 3, "max_iter": 300}
    moved = [fit(X, n_swaps=3, **{**start, "random_state": seed}) for seed in range(5)]
    assert fit(X, **start).lower_bound_ < min(model.lower_bound_ for model in moved) - 0.01
    for model in moved:
        np.testing.assert_allclose(np.sort(model.means_[:, 0]), [0, 8, 40], atol=0.5)


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        (np.c_[np.arange(9.0), np.ones(9)], {}, "no extent along feature 1"),
        (np.c_[np.arange(9.0), np.arange(9.0)], {}, "fewer dimensions than it has features"),
        (np.random.default_rng(0).dirichlet([1, 2, 3], 99), {}, "fewer dimensions"),
        (np.random.default_rng(0).normal(size=(5, 8)), {}, "fewer dimensions"),
        (clusters_and_noise() * 1e200, {}, "squared distances of X overflow"),
        (clusters_and_noise(), {"weights_init": [0, 0]}, "weights_init"),
        (np.eye(9), {"noise": 0}, "The 'noise' parameter of GaussianMixture must be"),
        (np.eye(9), {"noise": -1.0}, "The 'noise' parameter"),
        (np.eye(9), {"noise": np.inf}, "The 'noise' parameter"),
        (np.eye(9), {"noise": "yes"}, "The 'noise' parameter"),
        (np.where(np.eye(9, 2), np.nan, 1.0), {"missing": "marginalize"}, "missing values"),
        (clusters_and_noise(20), {"weights_init": [0.6, 0.6]}, "weights_init"),
    ],
)
def test_bad_input(X: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(X, **params)


def test_what_does_not_go_together_with_noise() -> None:
    X = clusters_and_noise()
    model = fit(X)
    with pytest.raises(ValueError, match="partial_fit does not take noise"):
        model.partial_fit(X)
    with pytest.raises(ValueError, match="impute does not take a mixture with noise"):
        model.impute(X)
    with pytest.raises(ValueError, match="has no noise component"):
        model.to_sklearn()
    with pytest.raises(ValueError, match="give a density as noise"):
        GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[1.0], noise=True)
    model.set_params(missing="marginalize")
    with pytest.raises(ValueError, match="missing values"):
        model.predict(np.where(X > 9, np.nan, X))
