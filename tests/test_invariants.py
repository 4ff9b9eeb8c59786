"""Tests of properties that hold for all data: symmetries, probabilities, and a likelihood that rises.

NumPy draws the data from a seed that hypothesis chooses. So they are well conditioned by construction:
standard deviations are between 0.5 and 3, groups are within 5 of the origin, and cond(Σ) < 100. hypothesis
chooses sizes and types, and the values, too, in the tests of probabilities.

The tolerance of the symmetries compares two fits of ITERATIONS iterations from one start, which see the
same numbers in another order or scale. Their statistics differ by N · eps, their inverses by cond(Σ) times
as much, and each iteration of EM may multiply that by its derivative, which is below 4 here. N · eps · cond
· 4³ < 3e-10.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gmm_core import GaussianMixture, reference

EPS = float(np.finfo(np.float64).eps)
TOLERANCE = 3e-10
ITERATIONS = 3
TYPES = st.sampled_from(["full", "tied", "diag", "spherical"])
SEEDS = st.integers(0, 2**32 - 1)
bounded = settings(deadline=None, derandomize=True, max_examples=60, database=None)


class Case(NamedTuple):
    """Samples, and the weights, means and precisions that a fit starts from."""

    X: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    precisions: np.ndarray
    covariance_type: str
    rng: np.random.Generator

    def fit(self, X=None, sample_weight=None, means=None, precisions=None, **params):
        """Fit from the start of the case, or from another one that was changed like the data."""
        params = {"reg_covar": 0.0, "max_iter": ITERATIONS, "tol": 0.0, **params}
        model = GaussianMixture(
            len(self.means),
            covariance_type=self.covariance_type,
            weights_init=self.weights,
            means_init=self.means if means is None else means,
            precisions_init=self.precisions if precisions is None else precisions,
            **params,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Best performing initialization")
            return model.fit(self.X if X is None else X, sample_weight=sample_weight)


@st.composite
def cases(draw, max_components=4, max_features=5):
    K, D = draw(st.integers(1, max_components)), draw(st.integers(1, max_features))
    n = draw(st.integers(30 * K * D, 1500))
    covariance_type = draw(TYPES)
    rng = np.random.default_rng(draw(SEEDS))
    means = rng.uniform(-5, 5, size=(K, D))
    X = means[rng.integers(K, size=n)] + rng.normal(size=(n, D)) * rng.uniform(0.5, 3, size=D)
    v = 1 / X.var(axis=0)
    precisions = {
        "full": np.tile(np.diag(v), (K, 1, 1)),
        "tied": np.diag(v),
        "diag": np.tile(v, (K, 1)),
        "spherical": np.full(K, v.mean()),
    }[covariance_type]
    start = means + rng.normal(scale=0.5, size=(K, D))
    return Case(X, rng.dirichlet(np.full(K, 10.0)), start, precisions, covariance_type, rng)


def assert_near(got, expected):
    atol = TOLERANCE * abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def assert_same_mixture(model, expected):
    for name in ("weights_", "means_", "covariances_", "precisions_"):
        assert_near(getattr(model, name), getattr(expected, name))


# --- symmetries of the fit ------------------------------------------------------------------


@bounded
@given(cases())
def test_the_order_of_the_rows_does_not_matter(case):
    order = case.rng.permutation(len(case.X))
    weight = case.rng.uniform(0, 2, len(case.X))
    for w in (None, weight):
        model = case.fit(case.X[order], None if w is None else w[order])
        expected = case.fit(sample_weight=w)
        assert_same_mixture(model, expected)
        np.testing.assert_array_equal(  # the result for a row does not depend on the others
            model.predict_proba(case.X)[order], model.predict_proba(case.X[order])
        )


@bounded
@given(cases())
def test_the_order_of_the_components_does_not_matter(case):
    order = case.rng.permutation(len(case.means))
    expected = case.fit()
    by_component = case.covariance_type != "tied"
    permuted = case._replace(
        weights=case.weights[order],
        means=case.means[order],
        precisions=case.precisions[order] if by_component else case.precisions,
    ).fit()
    assert_near(permuted.means_, expected.means_[order])
    assert_near(permuted.weights_, expected.weights_[order])
    assert_near(permuted.predict_proba(case.X), expected.predict_proba(case.X)[:, order])
    covariances = expected.covariances_[order] if by_component else expected.covariances_
    assert_near(permuted.covariances_, covariances)


@bounded
@given(cases(), st.floats(-3, 3), st.booleans())
def test_features_permuted_scaled_and_shifted(case, log_scale, shifted):
    """If x' = (s x + t) P, the log-density changes by −Σ log s, and nothing else changes."""
    D = case.X.shape[1]
    P = case.rng.permutation(D)
    s = np.full(D, 10.0**log_scale)
    if case.covariance_type != "spherical":
        s *= 10 ** case.rng.uniform(-2, 2, size=D)
    # rounding s x + t is like moving x by eps · |t / s| = 100 eps, and σ is at least 0.5
    t = s * case.rng.uniform(-100, 100, size=D) * shifted

    def changed(x):
        return (x * s + t)[:, P]

    matrix = np.outer(s, s)
    precisions = {
        "full": lambda p: (p / matrix)[:, P][:, :, P],
        "tied": lambda p: (p / matrix)[P][:, P],
        "diag": lambda p: (p / s**2)[:, P],
        "spherical": lambda p: p / s[0] ** 2,
    }[case.covariance_type]
    expected = case.fit()
    model = case.fit(
        changed(case.X), means=changed(case.means), precisions=precisions(case.precisions)
    )
    jacobian = np.log(s).sum()
    got, wanted = model.score_samples(changed(case.X)), expected.score_samples(case.X)
    np.testing.assert_allclose(got + jacobian, wanted, rtol=0, atol=100 * TOLERANCE)
    assert_near(model.weights_, expected.weights_)
    np.testing.assert_allclose(
        (model.means_ - t[P]) / s[P], expected.means_[:, P], rtol=0, atol=10 * TOLERANCE
    )
    r, r_expected = model.predict_proba(changed(case.X)), expected.predict_proba(case.X)
    np.testing.assert_allclose(r, r_expected, rtol=0, atol=100 * TOLERANCE)
    top = np.sort(r_expected, axis=1)
    sure = np.ones(len(r), bool) if r.shape[1] == 1 else top[:, -1] - top[:, -2] > 200 * TOLERANCE
    np.testing.assert_array_equal(
        model.predict(changed(case.X))[sure], expected.predict(case.X)[sure]
    )


@bounded
@given(cases())
def test_weights_are_repetition(case):
    n = len(case.X)
    weight = case.rng.integers(0, 4, n)
    repeated = np.repeat(case.X, weight, axis=0)
    appended = np.vstack([case.X[weight >= times] for times in (1, 2, 3)])
    model = case.fit(sample_weight=weight)
    for samples in (repeated, appended):
        expected = case.fit(samples)
        assert_same_mixture(model, expected)
        rtol = 4 * n * EPS
        for method in ("score", "bic", "aic"):
            score = getattr(model, method)
            got, wanted = score(case.X, sample_weight=weight), score(samples)
            assert math.isclose(got, wanted, rel_tol=rtol, abs_tol=rtol)
        assert math.isclose(
            model.lower_bound_, expected.lower_bound_, rel_tol=TOLERANCE, abs_tol=TOLERANCE
        )


@bounded
@given(cases(), st.integers(-40, 40))
def test_weights_are_relative(case, exponent):
    weight = case.rng.uniform(0, 2, len(case.X))
    assert_same_mixture(
        case.fit(sample_weight=weight * 3.0**exponent), case.fit(sample_weight=weight)
    )
    assert_same_mixture(case.fit(sample_weight=np.full(len(case.X), 3.0**exponent)), case.fit())


# --- the likelihood rises -------------------------------------------------------------------


@bounded
@given(cases(), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_log_likelihood_never_falls(case, dtype, weighted):
    # Each log-density has an error of about (D² + 10) · eps · ‖y‖², where ‖y‖² < 100 on average for the
    # farthest component that counts. Means over the samples have smaller errors. The errors of the M-step
    # have an effect of the second order only, because it ends at a maximum.
    X = case.X.astype(dtype)
    D = X.shape[1]
    weight = case.rng.exponential(size=len(X)) if weighted else None
    model = case.fit(X, weight, max_iter=25)
    bounds = np.array([*model.lower_bounds_, model.lower_bound_])
    tolerance = (D**2 + 10) * 100 * float(np.finfo(dtype).eps)
    assert (np.diff(bounds) >= -tolerance).all(), np.diff(bounds).min()
    assert bounds[-1] > bounds[0] - tolerance and np.isfinite(bounds).all()
    assert abs(model.weights_.sum() - 1) <= 4 * np.finfo(dtype).eps


# --- probabilities --------------------------------------------------------------------------


def values(dtype):
    """Draw ordinary and extreme values, whose squares are finite even with standard deviations of 1e-2."""
    largest, width = (1e150, 64) if dtype is np.float64 else (2.0**50, 32)
    return (
        st.floats(-1000, 1000, width=width)
        | st.floats(-largest, largest, width=width)
        | st.sampled_from([0.0, -0.0, 1.0, float(np.finfo(dtype).smallest_subnormal)])
    )


@st.composite
def mixtures_and_samples(draw):
    """Draw a mixture with variances from 1e-4 to 1e4, and weights that may be 0, and any samples."""
    K, D = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    n = draw(st.integers(1, 40))
    covariance_type, dtype = draw(TYPES), draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(SEEDS))
    scale = 10 ** rng.uniform(-2, 2, size=(K, D))
    roots = np.linalg.qr(rng.normal(size=(K, D, D)))[0] * scale[:, np.newaxis]
    full = roots @ roots.transpose(0, 2, 1)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": scale**2,
        "spherical": scale[:, 0] ** 2,
    }[covariance_type]
    weights = rng.dirichlet(np.full(K, draw(st.sampled_from([0.01, 1.0, 100.0]))))
    model = GaussianMixture.from_parameters(
        weights / weights.sum(),
        rng.normal(scale=10, size=(K, D)).astype(dtype),
        covariances=covariances,
        covariance_type=covariance_type,
    )
    return model, draw(arrays(dtype, (n, D), elements=values(dtype)))


@settings(bounded, max_examples=300)
@given(mixtures_and_samples())
def test_responsibilities_sum_to_one_and_predict_takes_the_largest(drawn):
    model, X = drawn
    r, labels = model.predict_proba(X), model.predict(X)
    K, eps = r.shape[1], np.finfo(X.dtype).eps
    assert r.dtype == X.dtype and ((r >= 0) & (r <= 1)).all()
    # there are K quotients with relative errors of 4 eps, divided by a sum of K terms
    assert (abs(r.sum(axis=1, dtype=np.float64) - 1) <= (K + 4) * eps).all()
    largest = r[np.arange(len(X)), labels]
    assert (largest >= r.max(axis=1) * (1 - 8 * eps)).all()
    clear = (r > largest[:, np.newaxis] * (1 - 8 * eps)).sum(axis=1) == 1
    np.testing.assert_array_equal(labels[clear], r.argmax(axis=1)[clear])
    assert (model.weights_[labels] > 0).all()


@settings(bounded, max_examples=300)
@given(mixtures_and_samples())
def test_score_samples_is_the_reference(drawn):
    model, X = drawn
    D = X.shape[1]
    mixture = model.weights_, model.means_, model.precisions_cholesky_
    expected = reference.log_likelihood(
        *(a.astype(np.float64) for a in (X, *mixture)), model.covariance_type
    )
    got = model.score_samples(X)
    # y = Uᵀ(x − μ) has D products with relative errors of 4 eps, which may cancel. The errors are relative
    # to Σ |U| |x − μ| ≤ √D cond(U) |y|, where cond(U) ≤ 1e4 for full and tied, and 1 for the others. |y|²
    # has twice that error, and is at most 2 |log p| plus a constant (log |U| and log π, below 800 in size).
    cond = 1e4 if model.covariance_type in ("full", "tied") and D > 1 else 1
    finite = np.isfinite(expected)
    eps = float(np.finfo(X.dtype).eps)
    bound = 16 * D**1.5 * cond * eps * (800 + 2 * abs(expected[finite]))
    assert (abs(got[finite] - expected[finite]) <= bound).all()
    # beyond about 1e154 standard deviations the square overflows, at nearly the same place in both
    assert (got[~finite].astype(np.float64) < -1e306).all()
