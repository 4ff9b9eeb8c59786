"""Tests of the normal distribution function and its inverse, against mpmath in 40 digits."""

import mpmath
import numpy as np
import pytest

from gmm_core.core.normal import gaussian, normal_cdf, normal_quantile, scaled_tail

EPS = float(np.finfo(np.float64).eps)


@pytest.fixture(autouse=True)
def forty_digits():
    with mpmath.workdps(40):
        yield


def errors(got, exact):
    """Return relative errors, in units of EPS."""
    return np.array([float(abs(mpmath.mpf(float(g)) / e - 1)) for g, e in zip(got, exact, strict=True)]) / EPS


def test_cdf_has_errors_of_few_ulp_in_both_tails():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(-37.5, 37.5, 500), rng.normal(size=500), [0.0, -0.0, 1e-300]])
    exact = [mpmath.ncdf(mpmath.mpf(float(x))) for x in z]
    assert errors(normal_cdf(z), exact).max() < 4
    assert errors(gaussian(z), [mpmath.exp(-mpmath.mpf(float(x)) ** 2 / 2) for x in z]).max() < 3
    size = np.append(abs(z), [1e3, 1e8])
    scaled = [mpmath.exp(s * s / 2) * mpmath.ncdf(-s) for s in map(mpmath.mpf, size[:-2].tolist())]
    assert errors(scaled_tail(size[:-2]), scaled).max() < 3
    far = 1 / size[-2:] / np.sqrt(2 * np.pi)    # the asymptotic series 1/z − 1/z³ + …
    np.testing.assert_allclose(scaled_tail(size[-2:]), far, rtol=2e-6)


def test_cdf_at_the_edges():
    z = np.array([-np.inf, -1e300, -39.0, 0.0, 39.0, np.inf, np.nan])
    np.testing.assert_array_equal(normal_cdf(z), [0, 0, 0, 0.5, 1, 1, np.nan])
    assert 0 < normal_cdf(np.array(-38.4)) < np.finfo(float).tiny
    assert normal_cdf(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    steps = np.linspace(-38, 9, 100_001)
    assert (np.diff(normal_cdf(steps)) >= 0).all()


def test_quantile_inverts_the_cdf():
    rng = np.random.default_rng(1)
    p = np.concatenate([10 ** rng.uniform(-307, -1, 300), rng.uniform(0, 0.5, 300), [0.5]])
    z = normal_quantile(p)
    # An error δz of the result changes Φ by φ δz, that is relatively by (|z| + 1) δz at most.
    exact = [mpmath.ncdf(mpmath.mpf(float(x))) for x in z]
    assert (errors(p, exact) <= 4 + 2 * (abs(z) + 1) * np.maximum(abs(z), 0.5)).all()
    assert normal_quantile(np.array([5e-324]))[0] == pytest.approx(-38.467405617144344, rel=1e-14)
