"""Tests of fits to samples with measurement noise: what is known of the optimum, and all ways to a fit."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

from gmm_core import GaussianMixture, select
from gmm_core.data import rowwise
from gmm_core.data.passes import KernelPass

EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
MODELS = "EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV EVV VVV".split()
ARRAYS = ("weights_", "means_", "covariances_", "precisions_cholesky_")
all_types = pytest.mark.parametrize("covariance_type", TYPES)
pytestmark = pytest.mark.filterwarnings("ignore:Best performing")


def noisy_samples(n=400, D=3, seed=0, missing=False):
    """Return samples of two components, variances, covariances and weights."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    X = rng.normal(size=(n, D)) * np.where(labels, 1.5, 1)[:, None] + 4 * labels[:, None]
    roots = 0.5 * rng.normal(size=(n, D, D)) * np.exp(0.5 * rng.normal(size=(n, 1, 1)))
    S = np.einsum("nij,nlj->nil", roots, roots)
    S = (S + S.transpose(0, 2, 1)) / 2
    X += np.einsum("nij,nj->ni", roots, rng.normal(size=X.shape))
    if missing:
        X[rng.random(X.shape) < 0.2] = np.nan
    return X, np.einsum("nii->ni", S).copy(), S, rng.uniform(0.5, 2, size=n)


def model(covariance_type="full", n_components=2, **params):
    params = {"random_state": 0, "missing": "marginalize", **params}
    return GaussianMixture(n_components, covariance_type=covariance_type, **params)


def assert_same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.lower_bounds_ == other.lower_bounds_ and one.lower_bound_ == other.lower_bound_
    assert one.restarts_ == other.restarts_


def matrices(fitted):
    C, (K, D) = fitted.covariances_, fitted.means_.shape
    if fitted.covariance_type == "spherical":
        return C[:, None, None] * np.eye(D)
    return C[:, :, None] * np.eye(D) if fitted.covariance_type == "diag" else np.broadcast_to(C, (K, D, D))


# --- the optimum ----------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", [*TYPES, *MODELS])
@pytest.mark.parametrize("missing", [False, True])
def test_the_likelihood_never_falls(covariance_type, missing):
    X, variances, covariances, weight = noisy_samples(missing=missing)
    for S in (variances, covariances, covariances[0]):
        fitted = model(covariance_type, reg_covar=0, tol=1e-7, max_iter=300)
        fitted.fit(X, sample_weight=weight, noise_covariance=S)
        bounds = [*fitted.lower_bounds_, fitted.lower_bound_]
        assert len(bounds) > 3 and np.diff(bounds).min() > -1e3 * EPS
        score = fitted.score(X, sample_weight=weight, noise_covariance=S)
        assert score == pytest.approx(fitted.lower_bound_, rel=1e-12)


@all_types
@pytest.mark.parametrize("kind", ["variances", "covariances", "one covariance"])
def test_without_noise_a_fit_is_the_ordinary_one(covariance_type, kind):
    X, variances, covariances, weight = noisy_samples()
    zero = {"variances": variances, "covariances": covariances, "one covariance": covariances[0]}[kind] * 0
    for params in ({}, {"init_params": "random"}, {"n_init": 3, "init_params": "random_from_data"}):
        plain = model(covariance_type, **params).fit(X, sample_weight=weight)
        fitted = model(covariance_type, **params).fit(X, sample_weight=weight, noise_covariance=zero)
        assert fitted.n_iter_ == plain.n_iter_
        for name in ARRAYS:
            np.testing.assert_allclose(
                getattr(fitted, name), getattr(plain, name), rtol=1e-9, atol=1e-9
            )


def test_with_one_component_the_covariances_sum_to_that_of_the_samples():
    X, _, _, weight = noisy_samples()
    S = np.array([[0.5, 0.2, 0], [0.2, 0.8, -0.1], [0, -0.1, 0.3]])
    mean = weight @ X / weight.sum()
    C = np.einsum("n,ni,nj->ij", weight, X - mean, X - mean) / weight.sum()
    expected = {
        "full": C - S, "tied": C - S, "diag": np.diag(C) - np.diag(S),
        "spherical": (np.diag(C) - 0.4).mean(keepdims=True),
    }
    for covariance_type in TYPES:
        noise = {"diag": np.diag(np.diag(S)), "spherical": 0.4 * np.eye(3)}.get(covariance_type, S)
        fitted = model(covariance_type, 1, reg_covar=0, tol=0, max_iter=400)
        fitted.fit(X, sample_weight=weight, noise_covariance=noise)
        # An iteration reduces the distance to the optimum at least by half, as Σ is larger than S.
        made = fitted.covariances_[0] if covariance_type in ("full", "diag") else fitted.covariances_
        np.testing.assert_allclose(made, expected[covariance_type], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(fitted.means_, [mean], rtol=1e-12)


@all_types
def test_with_one_covariance_for_all_rows_it_is_what_the_ordinary_covariances_lack(covariance_type):
    X, _, _, _ = noisy_samples()
    S = 0.3 * np.eye(3)
    if covariance_type in ("full", "tied"):
        S += 0.1 * (np.ones((3, 3)) - np.eye(3))
    params = {"reg_covar": 0, "tol": 1e-13, "max_iter": 5000}
    plain = model(covariance_type, **params).fit(X)
    fitted = model(covariance_type, **params).fit(X, noise_covariance=S)
    assert plain.converged_ and fitted.converged_
    # The likelihood is flat to 1e-13 about the optimum, so the parameters are off by a few times its square root.
    order = [np.argsort(m.means_[:, 0]) for m in (plain, fitted)]
    np.testing.assert_allclose(
        (matrices(fitted) + S)[order[1]], matrices(plain)[order[0]], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(fitted.means_[order[1]], plain.means_[order[0]], rtol=1e-5, atol=1e-5)
    assert fitted.lower_bound_ == pytest.approx(plain.lower_bound_, rel=1e-10)


@all_types
def test_the_mixture_is_that_of_the_samples_without_noise(covariance_type):
    rng = np.random.default_rng(0)
    n = 20_000
    labels = rng.integers(2, size=n)
    V = rng.normal(size=(n, 2)) + 5 * labels[:, None]
    size = np.exp(rng.normal(size=(n, 2)))
    X = V + np.sqrt(size) * rng.normal(size=(n, 2))
    fitted = model(covariance_type, tol=1e-6, max_iter=1000).fit(X, noise_covariance=size)
    order = np.argsort(fitted.means_[:, 0])
    # 10,000 samples of a component determine means and variances to a few hundredths
    np.testing.assert_allclose(fitted.means_[order], [[0, 0], [5, 5]], atol=0.1)
    np.testing.assert_allclose(matrices(fitted), np.array([np.eye(2)] * 2), atol=0.15)


@all_types
def test_a_weight_is_a_number_of_equal_rows(covariance_type):
    X, _, S, _ = noisy_samples(missing=True)
    times = np.random.default_rng(1).integers(0, 4, size=len(X))
    params = {"init_params": "random_from_data", "means_init": [[0, 0, 0], [4, 4, 4]], "tol": 1e-5}
    params |= {"weights_init": [0.5, 0.5], "precisions_init": {
        "full": [np.eye(3)] * 2, "tied": np.eye(3), "diag": np.ones((2, 3)), "spherical": [1, 1]
    }[covariance_type]}
    weighted = model(covariance_type, **params).fit(X, sample_weight=times, noise_covariance=S)
    repeated = model(covariance_type, **params).fit(
        np.repeat(X, times, axis=0), noise_covariance=np.repeat(S, times, axis=0)
    )
    assert weighted.n_iter_ == repeated.n_iter_
    for name in ARRAYS:
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("acceleration", ["squarem", "lbfgs"])
@all_types
def test_accelerated_fits_reach_the_same_optimum(covariance_type, acceleration):
    X, _, S, weight = noisy_samples(missing=True)
    params = {"reg_covar": 0, "tol": 1e-11, "max_iter": 3000}
    plain = model(covariance_type, **params).fit(X, sample_weight=weight, noise_covariance=S)
    fitted = model(covariance_type, acceleration=acceleration, **params)
    fitted.fit(X, sample_weight=weight, noise_covariance=S)
    assert fitted.converged_ and fitted.n_iter_ < plain.n_iter_
    assert fitted.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-8)
    np.testing.assert_allclose(fitted.means_, plain.means_, rtol=1e-3, atol=1e-3)


@all_types
@pytest.mark.parametrize("missing", [False, True])
def test_single_precision(covariance_type, missing):
    X, variances, S, weight = noisy_samples(missing=missing)
    x = X.astype(np.float32)
    for noise in (variances, S, S.astype(np.float32)):
        fitted = model(covariance_type, max_iter=5, tol=0).fit(x, sample_weight=weight, noise_covariance=noise)
        double = model(covariance_type, max_iter=5, tol=0).fit(
            x.astype(float), sample_weight=weight, noise_covariance=noise
        )
        for name in ARRAYS:
            assert getattr(fitted, name).dtype == np.float32
            np.testing.assert_allclose(getattr(fitted, name), getattr(double, name), rtol=1e-4, atol=1e-4)
        for method in ("score_samples", "predict_proba", "denoise"):
            made = getattr(fitted, method)(x, noise_covariance=noise)
            assert made.dtype == np.float32
            np.testing.assert_allclose(
                made, getattr(double, method)(X, noise_covariance=noise), rtol=1e-3, atol=1e-3
            )


# --- the start ------------------------------------------------------------------------------


@all_types
def test_the_start_subtracts_the_mean_noise(covariance_type):
    X, variances, S, weight = noisy_samples()
    weight[::5] = 0
    params = {"max_iter": 0, "reg_covar": 0}
    plain = model(covariance_type, **params).fit(X, sample_weight=weight)
    before = matrices(plain)
    for size in (1, 1000):
        mean = size * weight @ variances / weight.sum()
        for noise in (size * variances, size * S):
            made = matrices(model(covariance_type, **params).fit(X, sample_weight=weight, noise_covariance=noise))
            old, new = (np.einsum("kii->ki", C) for C in (before, made))
            expected = np.maximum(old - mean, 0.1 * old)
            if covariance_type == "tied":
                assert (new == new[0]).all()
            if covariance_type == "spherical":
                expected = old * (expected / old).mean(axis=1, keepdims=True)
            np.testing.assert_allclose(new, expected, rtol=1e-12)
            correlations = [
                C / np.sqrt(np.einsum("ki,kj->kij", v, v)) for C, v in ((before, old), (made, new))
            ]
            np.testing.assert_allclose(*correlations, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "init_params", ["kmeans", "k-means++", "random", "random_from_data", "hierarchical"]
)
@all_types
def test_every_start(covariance_type, init_params):
    X, _, S, weight = noisy_samples(missing=True)
    for noise in (S, 100 * S):
        for init_size in (None, 100):
            fitted = model(covariance_type, init_params=init_params, init_size=init_size, reg_covar=0, tol=1e-4)
            fitted.fit(X, sample_weight=weight, noise_covariance=noise)
            assert np.diff([*fitted.lower_bounds_, fitted.lower_bound_]).min() > -1e3 * EPS


def test_a_callable_start_is_given_the_samples():
    X, _, S, _ = noisy_samples()
    seen = []

    def start(X, n_components, random_state):
        seen.append(X)
        return (X[:, 0] > 2).astype(int)

    model(init_params=start).fit(X, noise_covariance=S)
    np.testing.assert_array_equal(seen[0], X)


# --- the ways to a fit ----------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("missing", [False, True])
def test_threads_change_no_bit(covariance_type, missing, monkeypatch):
    monkeypatch.setattr(rowwise, "_CHUNK_TIME", 0.0)    # chunks of 512 rows
    X, _, S, weight = noisy_samples(4000, missing=missing)
    fitted = [
        model(covariance_type, n_threads=n, max_iter=8, tol=0).fit(X, sample_weight=weight, noise_covariance=S)
        for n in (1, 2, 7)
    ]
    assert_same(fitted[0], fitted[1])
    assert_same(fitted[0], fitted[2])
    for method in ("score_samples", "predict_proba", "predict", "denoise"):
        one, two, seven = (getattr(m, method)(X, noise_covariance=S) for m in fitted)
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, seven)


@all_types
def test_restarts_keep_the_best(covariance_type):
    X, _, S, _ = noisy_samples()
    fitted = model(covariance_type, 3, n_init=4, init_params="random_from_data", tol=1e-3)
    fitted.fit(X, noise_covariance=S)
    assert len(fitted.restarts_) == 4
    assert fitted.lower_bound_ == max(restart.log_likelihood for restart in fitted.restarts_)
    short = model(covariance_type, 3, n_init=2, n_short=6, n_swaps=1, init_params="random_from_data")
    assert np.isfinite(short.fit(X, noise_covariance=S).lower_bound_)


@all_types
@pytest.mark.parametrize("missing", [False, True])
def test_two_warm_fits_are_one_long_fit(covariance_type, missing):
    X, variances, S, weight = noisy_samples(missing=missing)
    for noise in (variances, S, S[3]):
        long = model(covariance_type, max_iter=9, tol=0).fit(X, sample_weight=weight, noise_covariance=noise)
        short = model(covariance_type, max_iter=4, tol=0, warm_start=True)
        short.fit(X, sample_weight=weight, noise_covariance=noise)
        short.set_params(max_iter=5).fit(X, sample_weight=weight, noise_covariance=noise)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(short, name), getattr(long, name))
        assert short.lower_bounds_ == long.lower_bounds_[4:]


class Interrupt(Exception):
    pass


@pytest.mark.parametrize("kind", ["variances", "covariances", "one covariance"])
def test_a_fit_resumes_from_its_checkpoint_with_the_same_noise_only(kind, tmp_path, monkeypatch):
    X, variances, covariances, weight = noisy_samples()
    S = {"variances": variances, "covariances": covariances, "one covariance": covariances[0]}[kind]
    params = {"tol": 0, "max_iter": 12, "n_init": 2, "init_params": "random_from_data"}
    path = tmp_path / "state"
    expected = model(**params).fit(X, sample_weight=weight, noise_covariance=S)
    accumulate, count = KernelPass.accumulate, itertools.count()

    def limited(self, *args):
        if next(count) == 17:
            raise Interrupt
        return accumulate(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Interrupt):
        patch.setattr(KernelPass, "accumulate", limited)
        model(checkpoint=path, checkpoint_interval=3, **params).fit(
            X, sample_weight=weight, noise_covariance=S
        )
    assert path.exists()
    other = S.copy()
    other[(-1,) * S.ndim] *= 1 + 1e-15
    content = path.read_bytes()
    different = [other, None, covariances if kind == "variances" else variances]
    for noise in different:
        with pytest.raises(ValueError, match="checksum of the data"):
            model(checkpoint=path, **params).fit(X, sample_weight=weight, noise_covariance=noise)
        assert path.read_bytes() == content
    resumed = model(checkpoint=path, **params).fit(X, sample_weight=weight, noise_covariance=S)
    assert_same(resumed, expected)


def cut(arrays, sizes):
    """Cut arrays into batches of these sizes, which are repeated."""
    start, n = 0, len(arrays[0])
    for size in itertools.cycle(sizes):
        if start >= n:
            return
        yield tuple(None if a is None else a[start : start + size] for a in arrays)
        start += size


@all_types
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kind", ["variances", "covariances"])
def test_batches_have_the_bits_of_one_array(covariance_type, missing, kind, monkeypatch):
    monkeypatch.setattr(rowwise, "_CHUNK_TIME", 0.0)
    X, variances, covariances, weight = noisy_samples(2000, missing=missing)
    S = variances if kind == "variances" else covariances
    for w, sizes in itertools.product((None, weight), ([300], [7, 1500, 0, 13], [2000])):
        params = {"max_iter": 4, "n_threads": 1 + len(sizes) % 2, "init_size": 500 if len(sizes) > 1 else None}
        batches = list(cut((X, w, S), sizes))
        expected = model(covariance_type, **params).fit(X, sample_weight=w, noise_covariance=S)
        assert_same(model(covariance_type, **params).fit_batches(batches), expected)
        for method in ("score", "bic", "aic", "icl"):
            whole = getattr(expected, method)(X, sample_weight=w, noise_covariance=S)
            assert getattr(expected, method)(iter(batches)) == whole


def test_batches_of_one_covariance_have_the_bits_of_one_array():
    X, _, covariances, weight = noisy_samples(2000)
    expected = model(max_iter=4).fit(X, sample_weight=weight, noise_covariance=covariances[0])
    batches = [(x, w, covariances[0]) for x, w in cut((X, weight), [300])]
    assert_same(model(max_iter=4).fit_batches(batches), expected)


def test_batches_with_different_noise_are_refused():
    X, variances, covariances, _ = noisy_samples(40)
    rest = X[20:]
    message = "all batches should have a noise_covariance of the same kind"
    for other in (rest, (rest, None), (rest, None, None), (rest, None, covariances[20:])):
        fitted = model()
        with pytest.raises(ValueError, match=message):
            fitted.fit_batches([(X[:20], None, variances[:20]), other])
        assert not hasattr(fitted, "means_")
    passes = itertools.count()

    def batches():      # another noise in the second pass
        return [(X, None, variances if next(passes) == 0 else covariances)]

    with pytest.raises(ValueError, match=message):
        model().fit_batches(batches)


@pytest.mark.parametrize("kind", ["variances", "covariances", "one covariance"])
def test_select(kind):
    X, variances, covariances, weight = noisy_samples(missing=True)
    S = {"variances": variances, "covariances": covariances, "one covariance": covariances[0]}[kind]
    params = {"random_state": 0, "missing": "marginalize"}
    selected = select(
        X, range(1, 4), ["full", "diag"], "bic", sample_weight=weight, noise_covariance=S, **params
    )
    best = selected.best
    expected = model(best.covariance_type, best.n_components).fit(X, sample_weight=weight, noise_covariance=S)
    np.testing.assert_array_equal(best.means_, expected.means_)
    row = min(selected.table, key=lambda row: row.bic)
    assert row[:2] == (best.covariance_type, best.n_components)
    for name in ("bic", "aic", "icl"):
        value = getattr(expected, name)(X, sample_weight=weight, noise_covariance=S)
        assert getattr(row, name) == pytest.approx(value, rel=1e-12)
    if kind == "covariances":
        batches = list(cut((X, weight, S), [150]))
        other = select(batches, range(1, 4), ["full", "diag"], "bic", **params)
        assert [row.bic for row in other.table] == pytest.approx([row.bic for row in selected.table], rel=1e-12)


@all_types
def test_fit_predict_and_data_frames(covariance_type):
    X, variances, _, _ = noisy_samples(missing=True)
    fitted = model(covariance_type)
    labels = fitted.fit_predict(X, noise_covariance=variances)
    np.testing.assert_array_equal(labels, fitted.predict(X, noise_covariance=variances))
    frame = pd.DataFrame(X, columns=list("abc")).astype("Float64")
    noise = pd.DataFrame(variances, columns=list("abc"))
    other = model(covariance_type).fit(frame, noise_covariance=noise)
    assert other.feature_names_in_.tolist() == list("abc")
    assert_same(other, fitted)
    np.testing.assert_array_equal(other.predict(frame, noise), labels)
    np.testing.assert_array_equal(other.denoise(frame, noise), fitted.denoise(X, variances))


def test_memory_maps(tmp_path):
    X, variances, S, _ = noisy_samples(2000)
    expected = model(max_iter=4).fit(X, noise_covariance=S)
    maps = []
    for name, array in (("X", X), ("S", S)):
        np.save(tmp_path / f"{name}.npy", array)
        maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    assert_same(model(max_iter=4).fit(maps[0], noise_covariance=maps[1]), expected)


def test_the_model_without_noise_is_an_ordinary_model(tmp_path):
    X, _, S, _ = noisy_samples()
    fitted = model().fit(X, noise_covariance=S)
    plain = GaussianMixture.from_parameters(
        fitted.weights_, fitted.means_, covariances=fitted.covariances_
    )
    np.testing.assert_array_equal(fitted.predict(X), plain.predict(X))
    np.testing.assert_allclose(fitted.score_samples(X), plain.score_samples(X), rtol=1e-12)
    fitted.save(tmp_path / "model.npz")
    loaded = GaussianMixture.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.score_samples(X, S), fitted.score_samples(X, S))
    samples, _ = fitted.sample(10)
    assert samples.shape == (10, 3)


def test_fixed_parameters():
    X, _, S, _ = noisy_samples()
    given = {"means_init": [[0.0, 0, 0], [4, 4, 4]], "fixed": ["means"]}
    fitted = model(**given).fit(X, noise_covariance=S)
    np.testing.assert_array_equal(fitted.means_, given["means_init"])


def test_noise_that_explains_everything_shrinks_the_covariances_without_a_failure():
    X, variances, _, _ = noisy_samples()
    for covariance_type in TYPES:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*collapsed")
            fitted = model(covariance_type, max_iter=200).fit(X, noise_covariance=100 + 0 * variances)
        assert np.isfinite(fitted.covariances_).all() and np.isfinite(fitted.lower_bound_)
        assert fitted.score(X, noise_covariance=100 + 0 * variances) == pytest.approx(fitted.lower_bound_)
