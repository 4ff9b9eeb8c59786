"""Tests of probabilities and quantiles of mixtures of one feature, against SciPy and mpmath."""

import mpmath
import numpy as np
import pytest
from scipy import optimize, stats

from gmm_core.infer import univariate
from gmm_core.infer.univariate import cdf, quantile

EPS = float(np.finfo(np.float64).eps)


def mixtures(n, K, scales=(-1, 1), seed=0):
    """Return weights, means and standard deviations, each of shape (n, K)."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(K), n)
    return weights, 5 * rng.normal(size=(n, K)), 10 ** rng.uniform(*scales, (n, K))


def exact_tail(x, w, m, s, upper):
    """Return the probability below or above x, by mpmath in 40 digits."""
    with mpmath.workdps(40):
        sign = -1 if upper else 1
        return mpmath.fsum(
            mpmath.mpf(a) * mpmath.ncdf(sign * (mpmath.mpf(x) - b) / c)
            for a, b, c in zip(w.tolist(), m.tolist(), s.tolist(), strict=True)
        )


@pytest.mark.parametrize("K", [1, 2, 7])
def test_cdf(K):
    w, m, s = mixtures(300, K)
    x = np.random.default_rng(1).uniform(-30, 30, 300)
    expected = (w * stats.norm.cdf(x[:, None], m, s)).sum(axis=1)
    # SciPy's cdf has relative errors of z² eps in the tail
    np.testing.assert_allclose(cdf(x, w, m, s), expected, rtol=2e-12, atol=1e-290)
    np.testing.assert_array_equal(cdf(x, w[0], m[0], s[0]), cdf(x, *(a[:1].repeat(300, 0) for a in (w, m, s))))
    edges = np.array([-np.inf, np.inf, np.nan])
    np.testing.assert_allclose(cdf(edges, w[0], m[0], s[0]), [0, 1, np.nan], rtol=4 * EPS)


def test_quantile_is_the_root_that_brentq_finds():
    w, m, s = mixtures(100, 3)
    q = np.random.default_rng(2).uniform(0.001, 0.999, 100)
    found = quantile(q, w, m, s)
    for i in range(100):
        root = optimize.brentq(
            lambda x, i=i: (w[i] * stats.norm.cdf(x, m[i], s[i])).sum() - q[i], -200, 200, xtol=1e-14,
            rtol=4 * EPS,
        )  # fmt: skip
        slope = (w[i] * stats.norm.pdf(root, m[i], s[i])).sum()
        # what 8 eps of the probability and of x are worth
        assert abs(found[i] - root) <= 8 * EPS * (1 / slope + abs(root)), i


@pytest.mark.parametrize("scales", [(-1, 1), (-6, 6)])
@pytest.mark.parametrize("K", [1, 4])
def test_tail_probabilities_of_quantiles_are_exact_to_rounding(K, scales):
    w, m, s = mixtures(60, K, scales)
    rng = np.random.default_rng(3)
    q = np.concatenate([10 ** rng.uniform(-300, -1, 30), 1 - 10 ** rng.uniform(-15, -1, 30)])
    for i, x in enumerate(quantile(q, w, m, s)):
        upper = q[i] > 0.5
        p = 1 - q[i] if upper else q[i]
        below, above = (
            exact_tail(y, w[i], m[i], s[i], upper)
            for y in (x - 4 * EPS * abs(x), x + 4 * EPS * abs(x))
        )
        # The exact probabilities a few ulp of x to both sides enclose p, but for a few ulp of p, and
        # for the rounding of (x − μ) / σ, which is |z|² eps of the probability.
        z = abs((x - m[i]) / s[i]).clip(1, 40).max()
        margin = (16 + 4 * z * z) * EPS
        assert min(below, above) <= p * (1 + margin) and max(below, above) >= p * (1 - margin), i


def test_quantiles_at_the_edges():
    w, m, s = np.array([0.5, 0.5, 0.0]), np.array([-100.0, 100.0, 1e6]), np.ones(3)
    got = quantile(np.array([0.0, 1.0, 5e-324, 0.5, 0.25]), w, m, s)
    assert got[0] == -np.inf and got[1] == np.inf
    assert -140 < got[2] < -138     # a component of weight 0 has no tail
    assert -100 < got[3] < 100 and cdf(got[3:4], w, m, s) == 0.5
    assert got[4] == pytest.approx(-100, abs=1e-12)
    assert quantile(np.empty(0), w, m, s).shape == (0,)
    # scales far apart, with roots on the narrow component, and equal components
    narrow = quantile(np.array([0.4, 0.6]), np.array([0.5, 0.5]), np.zeros(2), np.array([1e-100, 1.0]))
    assert narrow[0] == -narrow[1] and 1e-101 < narrow[1] < 1e-99
    apart = np.array([0.5, 0.5]), np.array([-1e307, 1e307]), np.array([1e-200, 1e200])
    np.testing.assert_allclose(quantile(np.array([0.25, 0.75]), *apart), apart[1], rtol=4 * EPS)
    assert cdf(np.array([-1.7e308, 0.0, 1.7e308]), *apart).tolist() == [0, 0.5, 1]
    equal = quantile(np.array([0.9]), np.full(4, 0.25), np.full(4, 3.0), np.full(4, 2.0))
    assert equal[0] == pytest.approx(stats.norm.ppf(0.9, 3, 2), rel=4 * EPS)


def test_blocks_do_not_matter(monkeypatch):
    w, m, s = mixtures(50, 3)
    q = np.linspace(0, 1, 50)
    x = np.linspace(-9, 9, 50)
    whole = quantile(q, w, m, s), cdf(x, w, m, s), quantile(q, w[0], m[0], s[0])
    monkeypatch.setattr(univariate, "_BLOCK", 12)
    parts = quantile(q, w, m, s), cdf(x, w, m, s), quantile(q, w[0], m[0], s[0])
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mirrored_mixtures_have_mirrored_quantiles():
    w, m, s = mixtures(40, 3)
    q = np.arange(1, 80, 2) / 128      # 1 − q is exact
    np.testing.assert_array_equal(quantile(q, w, m, s), -quantile(1 - q, w, -m, s))
