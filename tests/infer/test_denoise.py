"""Tests of `denoise`: posterior means and covariances, against the textbook and in the limits."""

from __future__ import annotations

import numpy as np
import pytest

from gmm_core import GaussianMixture, reference

EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
all_kinds = pytest.mark.parametrize("kind", ["variances", "covariances", "one covariance", "rank 1"])


def made(make_problem, covariance_type, kind, n=80, D=4, missing=False, dtype=np.float64):
    """Return a model, samples, their noise, and the noise as a covariance for each sample."""
    problem = make_problem(covariance_type, n, 3, D, dtype)
    p, X = problem.parameters, problem.X.copy()
    rng = np.random.default_rng(0)
    if missing:
        X[rng.random(X.shape) < 0.3] = np.nan
        X[5] = np.nan
    model = GaussianMixture.from_parameters(
        p.weights, p.means.astype(dtype), covariances=p.covariances.astype(dtype),
        covariance_type=covariance_type,
    )
    roots = rng.normal(size=(n, D, 1 if kind == "rank 1" else D)) * np.exp(rng.normal(size=(n, 1, 1)))
    S = np.einsum("nij,nlj->nil", roots, roots)
    if kind == "variances":
        variances = np.einsum("nii->ni", S).copy()
        return model, X, variances, variances[:, :, None] * np.eye(D)
    if kind == "one covariance":
        return model, X, S[0], np.broadcast_to(S[0], S.shape)
    return model, X, S, S


def textbook(model, X, S):
    """Return the mean and the covariance of each sample without noise."""
    _, r, b, B = reference.noisy_expectation_step(
        X.astype(float), S, *(np.asarray(a, float) for a in (model.weights_, model.means_, model.covariances_)),
        model.covariance_type,
    )
    mean = np.einsum("nk,nkd->nd", r, b)
    gap = b - mean[:, None]
    return mean, np.einsum("nk,nkij->nij", r, B) + np.einsum("nk,nki,nkj->nij", r, gap, gap)


@all_types
@all_kinds
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("D", [1, 2, 5, 9])
def test_means_and_covariances_are_those_of_the_textbook(make_problem, covariance_type, kind, missing, D, isa):
    model, X, noise, S = made(make_problem, covariance_type, kind, D=D, missing=missing)
    expected = textbook(model, X, S)
    mean, covariance = model.denoise(X, noise, return_cov=True)
    np.testing.assert_allclose(mean, expected[0], rtol=1e3 * EPS, atol=1e3 * EPS)
    np.testing.assert_allclose(covariance, expected[1], rtol=1e3 * EPS, atol=1e3 * EPS)
    np.testing.assert_array_equal(covariance, covariance.transpose(0, 2, 1))
    # noise of rank 1 leaves no variance in other directions, to rounding
    assert np.linalg.eigvalsh(covariance).min() > -1e3 * EPS
    np.testing.assert_array_equal(model.denoise(X, noise), mean)
    assert not np.isnan(mean).any()


@all_types
@all_kinds
def test_single_precision(make_problem, covariance_type, kind):
    model, X, noise, S = made(make_problem, covariance_type, kind, missing=True, dtype=np.float32)
    expected = textbook(model, X, S)
    mean, covariance = model.denoise(X, noise, return_cov=True)
    assert mean.dtype == covariance.dtype == np.float32
    # the factors of the covariances are rounded to float32
    np.testing.assert_allclose(mean, expected[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(covariance, expected[1], rtol=1e-4, atol=1e-4)


@all_types
def test_without_noise_samples_are_what_they_are(make_problem, covariance_type):
    model, X, _, _ = made(make_problem, covariance_type, "variances")
    gaps = made(make_problem, covariance_type, "variances", missing=True)[1]
    model.set_params(missing="marginalize")
    for shape in ((80, 4), (80, 4, 4), (4, 4)):
        mean, covariance = model.denoise(X, np.zeros(shape), return_cov=True)
        np.testing.assert_allclose(mean, X, rtol=1e2 * EPS, atol=1e2 * EPS)
        np.testing.assert_allclose(covariance, 0, atol=1e3 * EPS)
        # missing values are what `impute` fills in
        np.testing.assert_allclose(
            model.denoise(gaps, np.zeros(shape)), model.impute(gaps), rtol=1e3 * EPS, atol=1e3 * EPS
        )


@all_types
@pytest.mark.parametrize("size", [1e10, 1e100, 1e300])
def test_much_noise_leaves_the_mixture(make_problem, covariance_type, size):
    model, X, _, _ = made(make_problem, covariance_type, "variances")
    expected = model.weights_ @ model.means_
    _, D = model.means_.shape
    C = np.stack(
        [model.covariances_[k] if model.covariances_.ndim == 3 else model.covariances_ for k in range(3)]
        if covariance_type in ("full", "tied")
        else [np.eye(D) * model.covariances_[k] for k in range(3)]
    )
    gap = model.means_ - expected
    total = np.einsum("k,kij->ij", model.weights_, C) + np.einsum("k,ki,kj->ij", model.weights_, gap, gap)
    for noise in (np.full(X.shape, size), size * np.eye(D)):
        mean, covariance = model.denoise(X, noise, return_cov=True)
        # the responsibilities and the posteriors differ by squared differences (below 100) over the noise
        np.testing.assert_allclose(mean, [expected] * len(X), atol=1e3 / size + 1e3 * EPS)
        np.testing.assert_allclose(covariance, [total] * len(X), atol=1e4 / size + 1e3 * EPS)


@all_types
@all_kinds
def test_samples_without_density_belong_to_the_nearest_component(make_problem, covariance_type, kind):
    model, X, noise, S = made(make_problem, covariance_type, kind)
    model.set_params(missing="marginalize")
    X[3, 0], X[7] = 1e200, [np.nan, -1e180, 1e200, np.nan]
    assert np.isneginf(model.score_samples(X, noise)[[3, 7]]).all()
    labels = model.predict(X, noise)
    mean, covariance = model.denoise(X, noise, return_cov=True)
    assert np.isfinite(mean).all() and np.isfinite(covariance).all()
    for n in (3, 7):
        k, one = labels[n], slice(labels[n], labels[n] + 1)
        assert model.predict_proba(X, noise)[n].tolist() == np.eye(3)[k].tolist()
        C = model.covariances_ if covariance_type == "tied" else model.covariances_[one]
        with np.errstate(over="ignore", invalid="ignore"):
            _, _, b, B = reference.noisy_expectation_step(
                X[n : n + 1], S[n : n + 1], np.ones(1), model.means_[one], C, covariance_type
            )
        np.testing.assert_allclose(mean[n], b[0, 0], rtol=1e-12)
        np.testing.assert_allclose(covariance[n], B[0, 0], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(model.denoise(X, noise)[n], mean[n])


@all_types
def test_many_samples_in_chunks(make_problem, covariance_type, monkeypatch):
    model, X, noise, _ = made(make_problem, covariance_type, "covariances", n=3000, missing=True)
    expected = model.denoise(X, noise, return_cov=True)
    monkeypatch.setattr("gmm_core.data.rowwise._CHUNK_TIME", 0.0)
    monkeypatch.setattr("gmm_core.data.passes._SLICE_TIME", 0.0)
    for n_threads in (1, 2, 7):
        model.set_params(n_threads=n_threads)
        for array, other in zip(model.denoise(X, noise, return_cov=True), expected, strict=True):
            np.testing.assert_array_equal(array, other)
    one = [model.denoise(X[i : i + 1], noise[i : i + 1]) for i in (0, 5, 17)]
    np.testing.assert_array_equal(np.concatenate(one), expected[0][[0, 5, 17]])


def test_what_is_refused(make_problem):
    model, X, noise, _ = made(make_problem, "full", "variances")
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().denoise(X, noise)
    with pytest.raises(TypeError, match="return_cov must be True or False, got 1"):
        model.denoise(X, noise, return_cov=1)
    with pytest.raises(ValueError, match="denoise needs the noise_covariance of the samples"):
        model.denoise(X)
    with pytest.raises(ValueError, match=r"noise_covariance has shape \(\), expected variances"):
        model.denoise(X, 1.0)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.denoise(X[:, 1:], noise[:, 1:])
    with pytest.raises(ValueError, match="infinity"):
        model.denoise(np.where(X > 1, np.inf, X), noise)
    X[0, 0] = np.nan    # a missing value is filled, whatever the model's `missing` is
    assert model.missing == "error" and np.isfinite(model.denoise(X, noise)).all()


def test_a_model_with_a_noise_component_is_refused():
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = GaussianMixture(1, noise=True).fit(X)
    with pytest.raises(ValueError, match="a mixture with a noise component takes neither missing values"):
        model.denoise(X, np.ones(X.shape))
