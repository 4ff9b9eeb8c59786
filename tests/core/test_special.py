"""Tests that digamma and log_gamma are off by at most 2 ulp, and of the multivariate functions.

An ulp is the spacing of float64 numbers at the true value, which mpmath computes with 40 digits.
"""

import math

import mpmath
import numpy as np
import pytest

from gmm_core.core.special import (
    digamma,
    log_gamma,
    multivariate_digamma,
    multivariate_log_gamma,
)

FUNCTIONS = [(digamma, mpmath.digamma), (log_gamma, mpmath.loggamma)]
ZERO = 1.4616321449683623  # the float64 number next to the zero of the digamma function
EPS = np.finfo(np.float64).eps
LAST_FINITE = 2.5599833278516383e+305  # the largest number with a finite log Gamma
SMALLEST, LARGEST = 2.0**-1074, np.finfo(np.float64).max
both = pytest.mark.parametrize(("function", "true_function"), FUNCTIONS, ids=["digamma", "log_gamma"])


def ulps(got: float, truth: mpmath.mpf) -> float:
    """Return the error in units in the last place of the true value."""
    nearest = float(truth)
    if math.isinf(nearest) or nearest == 0:
        return 0.0 if got == nearest else math.inf
    return float(abs(mpmath.mpf(got) - truth) / mpmath.mpf(math.ulp(nearest)))


def around(point: float, n: int = 40) -> np.ndarray:
    """Return the point, its n neighbours on either side, and others at 1e-15 to 1e-2 from it."""
    below, above = [point], [point]
    for _ in range(n):
        below.append(np.nextafter(below[-1], -np.inf))
        above.append(np.nextafter(above[-1], np.inf))
    distances = 10.0 ** np.random.default_rng(0).uniform(-15, -2, 100)
    return np.concatenate([below, above[1:], point - distances, point + distances])


RNG = np.random.default_rng(0)
REGIONS = {
    "the whole range": np.concatenate([2.0 ** RNG.uniform(-1074, 1024, 400), [SMALLEST, LARGEST]]),
    "a grid": np.arange(1, 641) / 64,
    "(0, 10)": RNG.uniform(0, 10, 500),
    "(10, 1000)": 10.0 ** RNG.uniform(1, 3, 200),
    "halves of integers": np.concatenate([np.arange(1, 64), np.arange(64, 2001, 11)]) / 2,
    "the zero of digamma": around(ZERO),
    "the zeros of digamma less and plus 1": np.concatenate([around(ZERO - 1, 10), around(ZERO + 1, 10)]),
    "1": around(1.0),
    "2": around(2.0),
    "other boundaries of formulas": np.concatenate(
        [around(2.0**-57, 10)[:21], around(3.0, 10), around(10.0, 10), around(LAST_FINITE, 10)[:21]]
    ),
}


@both
@pytest.mark.parametrize("region", REGIONS)
def test_errors(function, true_function, region):
    x = REGIONS[region]
    with mpmath.workdps(40):
        errors = [
            ulps(got, true_function(mpmath.mpf(value)))
            for value, got in zip(x.tolist(), function(x).tolist(), strict=True)
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] <= 2, f"{errors[worst]:.2f} ulp at {x[worst]!r}"


def test_special_values():
    x = [0.0, -0.0, -SMALLEST, -1.0, -1.5, -np.inf, np.nan]
    np.testing.assert_array_equal(digamma(x), [-np.inf] * 2 + [np.nan] * 5)
    np.testing.assert_array_equal(log_gamma(x), [np.inf] * 2 + [np.nan] * 5)
    assert digamma(np.inf) == log_gamma(np.inf) == log_gamma(LARGEST) == np.inf
    assert log_gamma(LAST_FINITE) < log_gamma(np.nextafter(LAST_FINITE, np.inf)) == np.inf
    assert digamma(SMALLEST) == -np.inf
    np.testing.assert_array_equal(log_gamma([1, 2]), [0, 0])


def test_recurrences():
    x = RNG.integers(1, 64 * 40, 1000) / 64  # x + 1 is exact
    terms = abs(digamma(x)) + 1 / x
    assert (abs(digamma(x + 1) - (digamma(x) + 1 / x)) <= 4 * EPS * terms).all()
    terms = abs(log_gamma(x)) + abs(np.log(x))
    assert (abs(log_gamma(x + 1) - (log_gamma(x) + np.log(x))) <= 4 * EPS * terms).all()


def test_monotonicity():
    # the steps of these grids are larger than the errors
    x = np.concatenate([2.0 ** np.arange(-1020, -4), np.arange(1, 3000) / 16, 2.0 ** np.arange(8, 1000)])
    assert (np.diff(digamma(x)) > 0).all()
    assert (np.diff(log_gamma(x[x <= 1.4375])) < 0).all()
    assert (np.diff(log_gamma(x[x >= 1.5])) > 0).all()


@pytest.mark.parametrize("D", [1, 2, 3, 10, 200])
def test_multivariate(D):
    x = (D - 1) / 2 + np.array([0.001, 0.5, 1, 3.25, 40])
    psi, log_gammas = multivariate_digamma(x, D), multivariate_log_gamma(x, D)
    with mpmath.workdps(40):
        for n, value in enumerate(x.tolist()):
            arguments = [mpmath.mpf(value) - mpmath.mpf(i) / 2 for i in range(D)]
            terms = [mpmath.digamma(argument) for argument in arguments]
            # each term has an error of 2 ulp, and the sum of D terms has D - 1 rounding errors
            assert abs(psi[n] - sum(terms)) <= (D + 1) * EPS * sum(abs(term) for term in terms)
            terms = [mpmath.loggamma(argument) for argument in arguments]
            terms.append(D * (D - 1) * mpmath.log(mpmath.pi) / 4)
            bound = (D + 1) * EPS * sum(abs(term) for term in terms)
            assert abs(log_gammas[n] - sum(terms)) <= bound


def test_each_number_has_the_same_result_in_any_array():
    x = RNG.uniform(5, 40, 60)
    for function in (
        digamma,
        log_gamma,
        lambda x: multivariate_digamma(x, 9),
        lambda x: multivariate_log_gamma(x, 9),
    ):
        expected = function(x)
        assert expected.dtype == np.float64
        np.testing.assert_array_equal(function(list(x)), expected)
        np.testing.assert_array_equal(function(x[::-2]), expected[::-2])
        grid = np.asfortranarray(x.reshape(3, 4, 5))
        grid.flags.writeable = False
        np.testing.assert_array_equal(function(grid), expected.reshape(3, 4, 5))
        assert function(np.empty((0, 3))).shape == (0, 3)
        for number in (x[0], float(x[0]), np.array(x[0])):
            result = function(number)
            assert type(result) is np.float64 and result == expected[0]
        np.testing.assert_array_equal(function(np.float32([7.5, 8])), function([7.5, 8]))
        np.testing.assert_array_equal(function([7, 8]), function([7.0, 8.0]))
