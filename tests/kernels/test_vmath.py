"""Tests that exp and log of the kernels are off by at most 2 ulp, over the whole range, in every build.

An ulp is the spacing of floating-point numbers at the true value; for subnormal doubles it is 2**-1074.
True values come from long double if it has 64 bits or more (then its functions have errors below 2**-10
ulp), and at selected points from mpmath on every machine.
"""

from importlib import import_module
from typing import Any

import mpmath
import numpy as np
import pytest

from gmm_core import _build_config, _cpu

LEVELS = [level for level in _cpu.supported_levels() if level in _build_config.LEVELS]
LOG_2 = float(np.log(2))
wide_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63,
    reason="long double is no wider than double on this platform",
)


@pytest.fixture(params=[f"{level}_{dtype}" for level in LEVELS for dtype in ("f32", "f64")])
def module(request: pytest.FixtureRequest) -> Any:
    """Return the module of each build, in which the functions may be vectorised differently."""
    return import_module(f"gmm_core._expectation_{request.param}")


def run_exp(module: Any, x: np.ndarray) -> np.ndarray:
    """Return exp(-|x|), computed in the element type of the build."""
    result = np.full_like(x, np.nan)
    module.exp_log(x, result, np.empty(0), np.empty(0))
    return result


def run_log(module: Any, x: np.ndarray) -> np.ndarray:
    """Return log|x|, which every build computes in float64."""
    none = np.empty(0, element_type(module))
    result = np.full(len(x), np.nan)
    module.exp_log(none, none, x, result)
    return result


def element_type(module: Any) -> Any:
    return {"f32": np.float32, "f64": np.float64}[module.__name__[-3:]]


def ulps(got: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest error in units in the last place of the type of `got`."""
    spacing = np.spacing(abs(truth.astype(got.dtype)))
    return float((abs(got.astype(truth.dtype) - truth) / spacing.astype(truth.dtype)).max())


def around(points: np.ndarray) -> np.ndarray:
    """Return the points and the floating-point numbers on either side of them."""
    return np.concatenate([np.nextafter(points, -np.inf), points, np.nextafter(points, np.inf)])


def exponents(dtype: Any) -> np.ndarray:
    """Return |x| for exp(-|x|): from the whole range, small ones, and where n changes in x - n log 2."""
    rng = np.random.default_rng(0)
    lowest = 745.2 if dtype == np.float64 else 104.0
    boundaries = (np.arange(int(lowest / LOG_2)) + 0.5) * LOG_2
    normal_ends = -np.log(float(np.finfo(dtype).tiny))  # larger |x| give subnormal results
    return np.concatenate(
        [
            rng.uniform(0, lowest, 1_000_000),
            rng.uniform(normal_ends - 1, lowest, 100_000),
            2.0 ** rng.uniform(-80, 3, 100_000),
            around(boundaries.astype(dtype)),
            around((boundaries + LOG_2 / 2).astype(dtype)),
            around(np.array([1, 0.5, LOG_2, normal_ends], dtype)),
        ]
    ).astype(dtype)


def logarithms() -> np.ndarray:
    """Return positive normal numbers: from the whole range, near 1, and where the reduction changes."""
    rng = np.random.default_rng(1)
    powers = 2.0 ** np.arange(-1022, 1024)
    return np.concatenate(
        [
            2.0 ** rng.uniform(-1022, 1024, 1_000_000),
            rng.uniform(0.5, 2, 500_000),
            1 + rng.choice([-1, 1], 200_000) * 2.0 ** rng.uniform(-52, -1, 200_000),
            around(powers[1:]),
            around(powers[:-1] * np.sqrt(2)),
            [powers[0], np.finfo(np.float64).max],
        ]
    )


@wide_long_double
def test_exp(module: Any) -> None:
    x = exponents(element_type(module))
    assert ulps(run_exp(module, x), np.exp(-x.astype(np.longdouble))) <= 2


@wide_long_double
def test_log(module: Any) -> None:
    x = logarithms()
    x = x[x != 1]
    assert ulps(run_log(module, x), np.log(x.astype(np.longdouble))) <= 2


def test_exp_against_mpmath(module: Any) -> None:
    x = exponents(element_type(module))
    extremes = [708.3, 708.5, 744.4, 745.1] if x.dtype == np.float64 else [87.3, 87.4, 103.2, 103.9]
    x = np.append(x[:: len(x) // 500], np.array(extremes, x.dtype))
    with mpmath.workprec(200):
        for value, got in zip(x, run_exp(module, x), strict=True):
            truth = mpmath.exp(-mpmath.mpf(float(value)))
            spacing = float(np.spacing(x.dtype.type(float(truth))))
            assert abs(mpmath.mpf(float(got)) - truth) <= 2 * mpmath.mpf(spacing)


def test_log_against_mpmath(module: Any) -> None:
    x = logarithms()
    x = x[:: len(x) // 500].copy()
    with mpmath.workprec(200):
        for value, got in zip(x, run_log(module, x), strict=True):
            truth = mpmath.log(mpmath.mpf(value))
            assert abs(mpmath.mpf(got) - truth) <= 2 * mpmath.mpf(np.spacing(abs(float(truth))))


def test_exact_and_extreme_values(module: Any) -> None:
    x = np.array([0.0, -0.0, 2.0**-1074, 746, 1e4, 1e308, np.inf, np.nan])
    dtype = element_type(module)
    with np.errstate(over="ignore"):
        assert run_exp(module, x.astype(dtype)).tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert run_log(module, np.array([1.0])) == 0
    # the smallest positive results are 2**-1074, about exp(-744.4), and 2**-149, about exp(-103.3)
    power, x = (-1074, 745.1) if dtype == np.float64 else (-149, 103.3)
    assert run_exp(module, np.array([x], dtype)) == 2.0**power


def test_powers_of_two_have_the_logarithm_of_their_exponent(module: Any) -> None:
    n = np.arange(-1022, 1024)
    with mpmath.workprec(200):
        nearest = np.array([float(int(i) * mpmath.log(2)) for i in n])
    log_x = run_log(module, 2.0**n)
    assert (abs(log_x - nearest) <= np.spacing(abs(nearest))).all()
