"""Tests of the checks of `noise_covariance`: what is refused, and that nothing is changed by an error."""

from __future__ import annotations

import warnings

import dask.array
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from gmm_core import GaussianMixture, select
from gmm_core.data.measurement import NoisyRows, noisy_rows

RNG = np.random.default_rng(0)
N, D = 30, 3
X = RNG.normal(size=(N, D))
VARIANCES = RNG.uniform(0.1, 1, size=(N, D))
ROOTS = RNG.normal(size=(N, D, D))
COVARIANCES = np.einsum("nij,nlj->nil", ROOTS, ROOTS)


def changed(array, *where_and_value):
    made = array.copy()
    *where, value = where_and_value
    made[tuple(where)] = value
    return made


# --- what is taken --------------------------------------------------------------------------


def test_shapes_and_containers():
    diagonal = VARIANCES[:, :, None] * np.eye(D)
    for noise, expected in (
        (VARIANCES, VARIANCES),
        (VARIANCES.tolist(), VARIANCES),
        (pd.DataFrame(VARIANCES), VARIANCES),
        (pl.DataFrame(VARIANCES), VARIANCES),
        (np.asfortranarray(VARIANCES), VARIANCES),
        (VARIANCES.astype(">f8"), VARIANCES),
        (np.ma.array(VARIANCES), VARIANCES),
        (diagonal, diagonal.reshape(N, -1)),
        (list(diagonal), diagonal.reshape(N, -1)),
        (COVARIANCES[::-1][::-1], COVARIANCES.reshape(N, -1)),
        (COVARIANCES[0], np.broadcast_to(COVARIANCES[0].ravel(), (N, D * D))),
        (np.eye(D, dtype=int), np.broadcast_to(np.eye(D).ravel(), (N, D * D))),
        (np.zeros((N, D), bool), np.zeros((N, D))),
        (VARIANCES[0] * np.ones((N, 1)), np.broadcast_to(VARIANCES[0], (N, D))),
        (np.broadcast_to(VARIANCES[0], (N, D)), np.broadcast_to(VARIANCES[0], (N, D))),
    ):
        made = noisy_rows(X, noise)
        assert made.noise.dtype == np.float64 and made.X is X
        np.testing.assert_array_equal(made.noise, expected)


def test_single_precision_is_precise_enough():
    S = COVARIANCES.astype(np.float32)
    S[:, 0, 1] *= np.float32(1 + 1e-6)
    assert noisy_rows(X, S).noise.dtype == np.float64
    with pytest.raises(ValueError, match=r"noise_covariance\[0\] is not symmetric"):
        noisy_rows(X, S.astype(np.float64))
    # the product of a single column has rank 1, and eigenvalues that rounding makes negative
    root = RNG.normal(size=(N, D, 1))
    outer = root * root.transpose(0, 2, 1)
    assert np.linalg.eigvalsh(outer.astype(np.float32)).min() < 0
    for dtype in (np.float32, np.float64):
        noisy_rows(X, outer.astype(dtype))


def test_any_scale_and_zero():
    for scale in (0, 1e-300, 1e-150, 1e150, 1e300):
        noisy_rows(X, scale * COVARIANCES)
        noisy_rows(X, scale * VARIANCES)
    units = 10.0 ** np.array([-100, 0, 100])    # each feature has a unit of its own
    noisy_rows(X, COVARIANCES * units[:, None] * units)
    S = changed(COVARIANCES, 2, np.eye(3) + 3 * (np.ones((3, 3)) - np.eye(3)))
    with pytest.raises(ValueError, match=r"noise_covariance\[2\] is not positive semi-definite"):
        noisy_rows(X, S * units[:, None] * units)


def test_many_rows_are_checked_in_parts(monkeypatch):
    monkeypatch.setattr("gmm_core.data.measurement._CHECKED", 7 * D * D)
    noisy_rows(X, COVARIANCES)
    with pytest.raises(ValueError, match=r"noise_covariance\[23\] is not symmetric"):
        noisy_rows(X, changed(COVARIANCES, 23, 0, 1, 7))
    with pytest.raises(ValueError, match=r"noise_covariance\[29\] has a negative variance, -1$"):
        noisy_rows(X, changed(VARIANCES, 29, 0, -1))
    gaps = changed(X, 22, 0, np.nan)
    noisy_rows(gaps, changed(COVARIANCES, 22, 0, 1, np.inf))
    with pytest.raises(ValueError, match=r"noise_covariance\[21\] contains inf"):
        noisy_rows(gaps, changed(COVARIANCES, 21, 0, 1, np.inf))


def test_a_single_row_and_a_single_feature():
    assert noisy_rows(X[:1], VARIANCES[:1]).noise.shape == (1, D)
    assert noisy_rows(X[:1], COVARIANCES[0]).noise.shape == (1, D * D)
    for shape in ((N, 1), (N, 1, 1), (1, 1)):
        assert noisy_rows(X[:, :1], np.ones(shape)).noise.shape == (N, 1)
    assert noisy_rows(X[:1, :1], np.ones((1, 1))).noise.shape == (1, 1)
    for S in (np.ones((0, D)), np.ones((0, D, D)), np.eye(D)):
        assert len(noisy_rows(X[:0], S).noise) == 0


def test_rows_are_selected_with_their_noise():
    rows = noisy_rows(X, COVARIANCES)[5:8]
    assert isinstance(rows, NoisyRows) and len(rows) == 3 and rows.shape == (3, D)
    np.testing.assert_array_equal(rows.noise, COVARIANCES[5:8].reshape(3, -1))


# --- what is refused ------------------------------------------------------------------------


BAD = {
    "not symmetric": (changed(COVARIANCES, 4, 0, 1, 9), r"noise_covariance\[4\] is not symmetric"),
    "not semi-definite": (
        changed(COVARIANCES, 4, np.diag([1.0, -1e-3, 1])), r"noise_covariance\[4\] has a negative variance, -0.001"
    ),
    "an indefinite one": (
        changed(COVARIANCES, 4, np.eye(3) + 1.1 * (np.ones((3, 3)) - np.eye(3))),
        r"noise_covariance\[4\] is not positive semi-definite",
    ),
    "covariances without variances": (
        changed(COVARIANCES, 4, np.ones((3, 3)) - np.diag([0, 0, 1])),
        r"noise_covariance\[4\] is not (symmetric|positive semi-definite)",
    ),
    "one indefinite covariance": (
        np.eye(3) - 0.6 * (np.ones((3, 3)) - np.eye(3)), r"noise_covariance is not positive semi-definite"
    ),
    "one asymmetric covariance": (np.tri(3), "noise_covariance is not symmetric"),
    "one covariance with NaN": (np.diag([1, np.nan, 1]), "noise_covariance contains nan, expected finite"),
    "NaN": (
        changed(VARIANCES, 7, 2, np.nan),
        r"noise_covariance\[7\] contains nan, expected finite numbers where X is not missing",
    ),
    "inf": (changed(COVARIANCES, 7, 2, 2, np.inf), r"noise_covariance\[7\] contains inf, expected finite"),
    "-inf": (changed(COVARIANCES, 7, 2, 1, -np.inf), r"noise_covariance\[7\] contains -inf"),
    "negative": (changed(VARIANCES, 9, 1, -0.5), r"noise_covariance\[9\] has a negative variance, -0.5"),
    "a number": (
        1.0, r"noise_covariance has shape \(\), expected variances of shape \(30, 3\) or covariances of shape "
        r"\(30, 3, 3\) or \(3, 3\) for X of shape \(30, 3\)",
    ),
    "one variance for each feature": (np.ones(3), r"noise_covariance has shape \(3,\), expected variances"),
    "one variance for each row": (np.ones(30), r"noise_covariance has shape \(30,\), expected"),
    "too few rows": (VARIANCES[1:], r"noise_covariance has shape \(29, 3\), expected"),
    "too many rows": (np.ones((31, 3, 3)), r"noise_covariance has shape \(31, 3, 3\), expected"),
    "too few features": (VARIANCES[:, 1:], r"noise_covariance has shape \(30, 2\), expected"),
    "a row": (VARIANCES[:1], r"noise_covariance has shape \(1, 3\), expected"),
    "transposed": (VARIANCES.T, r"noise_covariance has shape \(3, 30\), expected"),
    "not square": (COVARIANCES[:, :, 1:], r"noise_covariance has shape \(30, 3, 2\), expected"),
    "four dimensions": (COVARIANCES[None], r"noise_covariance has shape \(1, 30, 3, 3\), expected"),
    "empty": (np.empty((0, 3)), r"noise_covariance has shape \(0, 3\), expected"),
    "complex": (VARIANCES * 1j, r"(?s)Complex data not supported.*noise_covariance has dtype complex128"),
    "text": (np.full((30, 3), "much"), "noise_covariance should be an array of numbers"),
    "masked": (
        np.ma.array(VARIANCES, mask=VARIANCES > 0.9), r"noise_covariance has masked values, the first is",
    ),
    "ragged": ([[1.0, 2], [3]], "noise_covariance should be an array of numbers"),
}
BAD_TYPES = {
    "objects": (np.full((30, 3), object()), "noise_covariance should be an array of numbers"),
    "a dict": ({"variances": VARIANCES}, "noise_covariance should be an array of numbers"),
    "sparse": (scipy.sparse.csr_array(VARIANCES), "Sparse data was passed for noise_covariance"),
    "a matrix": (np.matrix(VARIANCES), "np.matrix is not supported"),
    "dates": (np.full((30, 3), "2020-01-01", "M8[D]"), r"noise_covariance has dtype datetime64\[D\]"),
    "Dask": (dask.array.from_array(VARIANCES), "noise_covariance is a Dask collection"),
}


@pytest.mark.parametrize("name", [*BAD, *BAD_TYPES])
def test_bad_noise_is_refused_and_changes_nothing(name):
    given, message = BAD[name] if name in BAD else BAD_TYPES[name]
    error = ValueError if name in BAD else TypeError
    model = GaussianMixture(2, random_state=0, tol=1e-2, warm_start=True).fit(X, noise_covariance=VARIANCES)
    before = dict(vars(model))
    calls = [
        model.fit, model.fit_predict, model.score, model.score_samples, model.predict, model.predict_proba,
        model.bic, model.aic, model.icl, model.denoise,
        lambda X, noise_covariance: model.fit_batches([(X, None, noise_covariance)]),
        lambda X, noise_covariance: model.score([(X, None, noise_covariance)]),
        lambda X, noise_covariance: select(X, 2, noise_covariance=noise_covariance),
    ]
    for call in calls:
        with pytest.raises(error, match=message):
            call(X, noise_covariance=given)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[key] is before[key] for key in before)
    fresh = GaussianMixture(2)
    with pytest.raises(error, match=message):
        fresh.fit(X, noise_covariance=given)
    assert vars(fresh).keys() == vars(GaussianMixture(2)).keys()


@pytest.mark.parametrize("value", [1e10, -1e160, 1.7e308])
def test_correlations_that_overflow(value):
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(6, 4, 4))
    S = 1e-150 * np.einsum("nij,nlj->nil", roots, roots)
    for i, j in np.argwhere(np.tri(4, k=-1)):
        bad = S.copy()
        bad[2, i, j] = bad[2, j, i] = value
        with pytest.raises(ValueError, match=r"noise_covariance\[2\] is not positive semi-definite"):
            noisy_rows(np.ones((6, 4)), bad)
    with pytest.raises(ValueError, match=r"noise_covariance\[2\] is not symmetric"):
        noisy_rows(np.ones((6, 4)), changed(changed(S, 2, 3, 0, 1.7e308), 2, 0, 3, -1.7e308))


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_samples_that_overflow(covariance_type):
    """A sample of 1.7e308 and another that is negative: the fit is refused, and nothing is warned of."""
    for scale in (1e160, 1.7e308):
        one = changed(X, 3, 0, scale)
        for x in (one, changed(one, 4, 0, -scale), changed(one, 5, 1, np.nan)):
            model = GaussianMixture(2, covariance_type=covariance_type, missing="marginalize")
            for S in (VARIANCES, COVARIANCES, 1e300 * VARIANCES):
                with pytest.raises(ValueError, match="overflow|density 0|ill-defined"):
                    model.fit(x, noise_covariance=S)
                assert not hasattr(model, "means_")


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_far_samples_with_singular_noise(covariance_type):
    """Rounding makes Σ + S singular, so that no Cholesky factor exists."""
    C = {"full": [np.eye(3)] * 2, "tied": np.eye(3), "diag": np.ones((2, 3)), "spherical": [1.0, 1]}
    model = GaussianMixture.from_parameters(
        [0.5, 0.5], [[0.0, 0, 0], [1, 1, 1]], covariances=C[covariance_type],
        covariance_type=covariance_type,
    )
    root = RNG.normal(size=(3, 1))
    for size in (1e20, 1e100):
        for value in (1e200, -1.7e308):
            x, S = np.array([[value, 0.0, 1.0], [value] * 3]), size * root @ root.T
            assert np.isneginf(model.score_samples(x, S)).all()
            np.testing.assert_array_equal(np.sort(model.predict_proba(x, S)), [[0, 1]] * 2)
            mean, covariance = model.denoise(x, S, return_cov=True)
            assert not np.isnan(mean).any() and np.isfinite(covariance).all()


def test_as_many_samples_as_features():
    x, S = X[:3], VARIANCES[:3]
    message = r"has shape \(3, 3\), which may be the variances of 3 samples or one covariance for all of them"
    with pytest.raises(ValueError, match=message) as caught:
        noisy_rows(x, S)
    advice = str(caught.value)
    assert "Give covariances of shape (3, 3, 3)" in advice
    for code in ("S[:, :, None] * np.eye(D)", "np.broadcast_to(S, (len(X), D, D))"):
        assert code in advice
        S = np.diag(S[0]) if "broadcast" in code else S
        assert noisy_rows(x, eval(code, {"S": S, "np": np, "X": x, "D": 3})).noise.shape == (3, 9)
    # each batch has its own number of rows
    model = GaussianMixture(1)
    with pytest.raises(ValueError, match="batch 1: noise_covariance has shape"):
        model.fit_batches([(X[:5], None, np.eye(3)), (X[5:8], None, np.eye(3))])
    S = np.broadcast_to(np.eye(3), (3, 3, 3))
    model.fit_batches([(X[:5], None, np.eye(3)), (X[5:8], None, S)])


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="noise=True takes neither missing values in X nor a noise_cov"):
        GaussianMixture(2, noise=True).fit(X, noise_covariance=VARIANCES)
    labels = np.arange(N) % 2
    with pytest.raises(ValueError, match="labels_init takes neither missing values, noise_covariance nor"):
        GaussianMixture(2, labels_init=labels).fit(X, noise_covariance=VARIANCES)
    with pytest.raises(ValueError, match="expected batches that are tuples .array, sample_weight, noise_cov"):
        GaussianMixture(2).fit(X).score([X], noise_covariance=VARIANCES)
    with pytest.raises(ValueError, match="expected batches that are tuples .array, sample_weight, noise_cov"):
        select([X], 2, noise_covariance=VARIANCES)
    with pytest.raises(TypeError, match="noise_covariance"):
        GaussianMixture(2).partial_fit(X, noise_covariance=VARIANCES)
    with pytest.raises(ValueError, match="X .*contains NaN"):
        GaussianMixture(2).fit(changed(X, 1, 1, np.nan), noise_covariance=VARIANCES)
    with pytest.raises(ValueError, match="X has 2 features"):
        GaussianMixture(2).fit(X).predict(X[:, 1:], noise_covariance=VARIANCES[:, 1:])


def test_rows_and_features_without_values():
    model = GaussianMixture(2, missing="marginalize", random_state=0)
    for S in (VARIANCES, COVARIANCES, COVARIANCES[0]):
        with pytest.raises(ValueError, match=r"X\[:, 0\] has no value that is not NaN"):
            model.fit(np.full(X.shape, np.nan), noise_covariance=S)
        with pytest.raises(ValueError, match=r"X\[:, 1\] has no value that is not NaN"):
            model.fit(changed(X, slice(None), 1, np.nan), noise_covariance=S)
        assert not hasattr(model, "means_")
    fitted = GaussianMixture(2, missing="marginalize", random_state=0).fit(X, noise_covariance=VARIANCES)
    empty = np.full((4, 3), np.nan)
    for S in (VARIANCES[:4], COVARIANCES[:4], COVARIANCES[0], np.full((4, 3), np.nan)):
        np.testing.assert_array_equal(fitted.score_samples(empty, S), np.zeros(4))
        np.testing.assert_allclose(fitted.predict_proba(empty, S), [fitted.weights_] * 4, rtol=1e-15)
        prior = fitted.weights_ @ fitted.means_
        np.testing.assert_allclose(fitted.denoise(empty, S), [prior] * 4, rtol=1e-14)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
@pytest.mark.filterwarnings("ignore:Best performing")
def test_noise_in_the_wrong_unit_gives_a_model_or_a_clear_error(covariance_type, scale):
    for S in (scale * VARIANCES, scale * COVARIANCES):
        for params in ({}, {"reg_covar": 0}, {"init_params": "random"}):
            model = GaussianMixture(
                2, covariance_type=covariance_type, random_state=0, max_iter=20, **params
            )
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*collapsed")
                model.fit(X, noise_covariance=S)
            for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
                assert np.isfinite(getattr(model, name)).all()
            assert np.isfinite(model.score(X, noise_covariance=S))
            if scale < 1:
                plain = GaussianMixture(
                    2, covariance_type=covariance_type, random_state=0, max_iter=20, **params
                ).fit(X)
                np.testing.assert_allclose(model.means_, plain.means_, rtol=1e-8, atol=1e-8)


SPECIAL = (0.0, 5e-324, 1e-300, 1e-160, 1e8, 1e154, 1e160, 1e300, 1.7e308, -1.0, -1.7e308, np.nan, np.inf)
SCALES = 10.0 ** np.array([0, 0, 0, -8, 8, -100, 100, -150, 150])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300)
def test_any_call_gives_a_valid_result_or_a_clear_error(seed):
    rng = np.random.default_rng(seed)
    n, D, K = rng.integers([3, 1, 1], [40, 5, 4])
    x = rng.normal(size=(n, D)) * rng.choice(SCALES)
    x[rng.random(x.shape) < rng.choice([0, 0.3])] = np.nan
    roots = rng.normal(size=(n, D, D))
    S = np.einsum("nij,nlj->nil", roots, roots) * rng.choice(SCALES)
    S = [np.einsum("nii->ni", S).copy(), S, S[0].copy()][rng.integers(3)]
    for array in (x, S):
        for _ in range(rng.choice([0, 0, 1, 3])):
            array[tuple(rng.integers(array.shape))] = rng.choice(SPECIAL)
    weight = rng.choice([0, 1, 2.5, 1e-300, 1e300], size=n) if rng.random() < 0.3 else None
    model = GaussianMixture(
        K, covariance_type=rng.choice(["full", "tied", "diag", "spherical"]).item(), max_iter=4,
        reg_covar=rng.choice([0, 1e-6]), missing="marginalize", random_state=0,
        init_params=rng.choice(["kmeans", "random", "random_from_data"]).item(),
    )
    with warnings.catch_warnings():
        for message in ("Best performing", ".*collapsed", ".*no samples", ".*distinct"):
            warnings.filterwarnings("ignore", message)
        try:
            model.fit(x, sample_weight=weight, noise_covariance=S)
        except ValueError as error:
            names = ("X", "noise_covariance", "samples", "Sample weights", "covariance", "precisions_", "means_")
            assert any(name in str(error) for name in names)
            assert not hasattr(model, "means_")
            return
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bound_"):
        assert np.isfinite(getattr(model, name)).all()
    r, score = model.predict_proba(x, S), model.score_samples(x, S)
    assert (abs(r.sum(axis=1) - 1) < 1e-12).all() and not np.isnan(score).any()
    mean = model.denoise(x, S)
    assert not np.isnan(mean).any()
    largest = np.take_along_axis(r, model.predict(x, S)[:, None], axis=1)[:, 0]
    assert (largest > r.max(axis=1) - 1e-12).all()
