"""exp and log of the kernels: at most 2 ulp off, over the whole range, in every build.

An ulp is the spacing of floating-point numbers at the true value: 2**-1074 for subnormal doubles.
The truth for float64 comes from long double where that has 64 bits or more (its functions then err
by less than 2**-10 ulp), and at selected points from mpmath everywhere; for float32 from float64.
"""

from importlib import import_module
from typing import Any

import mpmath
import numpy as np
import pytest

from gmm_core import _build_config, kernels

LEVELS = [level for level in kernels.supported_levels() if level in _build_config.LEVELS]
LOG_2 = float(np.log(2))
wide_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63,
    reason="long double is no wider than double on this platform",
)


@pytest.fixture(params=[f"{level}_{dtype}" for level in LEVELS for dtype in ("f32", "f64")])
def module(request: pytest.FixtureRequest) -> Any:
    """The functions are compiled, and may be vectorised, anew in each build."""
    return import_module(f"gmm_core._expectation_{request.param}")


def run(
    module: Any, x: np.ndarray, y: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """exp(-|x|) and log|x| in float64, exp(-|y|) in float32."""
    y = np.empty(0, np.float32) if y is None else y
    exp_x, log_x, exp_y = (
        np.full(len(x), np.nan),
        np.full(len(x), np.nan),
        np.full(len(y), np.nan, np.float32),
    )
    module.exp_log(x, exp_x, log_x, y, exp_y)
    return exp_x, log_x, exp_y


def ulps(got: np.ndarray, truth: np.ndarray) -> float:
    """Largest distance in units in the last place of `got`'s type."""
    spacing = np.spacing(abs(truth.astype(got.dtype)))
    return float((abs(got.astype(truth.dtype) - truth) / spacing.astype(truth.dtype)).max())


def around(points: np.ndarray) -> np.ndarray:
    """The points and their neighbours on either side."""
    return np.concatenate([np.nextafter(points, -np.inf), points, np.nextafter(points, np.inf)])


def exponents(dtype: Any) -> np.ndarray:
    """|x| for exp(-|x|): all over, small ones, and where n of the reduction x - n log 2 changes."""
    rng = np.random.default_rng(0)
    lowest = 745.2 if dtype == np.float64 else 104.0
    boundaries = (np.arange(int(lowest / LOG_2)) + 0.5) * LOG_2
    normal_ends = -np.log(float(np.finfo(dtype).tiny))  # results beyond are subnormal
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
    """Positive normal numbers: all over, near 1 where log is small, where the reduction changes."""
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
def test_exp_float64(module: Any) -> None:
    x = exponents(np.float64)
    assert ulps(run(module, x)[0], np.exp(-x.astype(np.longdouble))) <= 2


@wide_long_double
def test_log_float64(module: Any) -> None:
    x = logarithms()
    x = x[x != 1]
    assert ulps(run(module, x)[1], np.log(x.astype(np.longdouble))) <= 2


def test_exp_float32(module: Any) -> None:
    y = exponents(np.float32)
    assert ulps(run(module, np.empty(0), y)[2], np.exp(-y.astype(np.float64))) <= 2


def test_float64_against_mpmath(module: Any) -> None:
    x, z = exponents(np.float64), logarithms()
    x, z = np.append(x[:: len(x) // 500], [708.3, 708.5, 744.4, 745.1]), z[:: len(z) // 500].copy()
    exp_x, log_z = run(module, x)[0], run(module, z)[1]
    with mpmath.workprec(200):
        for value, got in zip(x, exp_x, strict=True):
            truth = mpmath.exp(-mpmath.mpf(value))
            assert abs(mpmath.mpf(got) - truth) <= 2 * mpmath.mpf(np.spacing(float(truth)))
        for value, got in zip(z, log_z, strict=True):
            truth = mpmath.log(mpmath.mpf(value))
            assert abs(mpmath.mpf(got) - truth) <= 2 * mpmath.mpf(np.spacing(abs(float(truth))))


def test_exact_and_extreme_values(module: Any) -> None:
    x = np.array([0.0, -0.0, 2.0**-1074, 746, 1e4, 1e308, np.inf, np.nan])
    with np.errstate(over="ignore"):
        y = x.astype(np.float32)
    exp_x, _, exp_y = run(module, x, y)
    assert exp_x.tolist() == exp_y.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert run(module, np.array([1.0]))[1] == 0
    # the smallest results: 2**-1074 is about exp(-744.4), 2**-149 about exp(-103.3)
    smallest = run(module, np.array([745.1]), np.array([103.3], np.float32))
    assert smallest[0] == 2.0**-1074 and smallest[2] == 2.0**-149


def test_powers_of_two_have_the_logarithm_of_their_exponent(module: Any) -> None:
    n = np.arange(-1022, 1024)
    with mpmath.workprec(200):
        nearest = np.array([float(int(i) * mpmath.log(2)) for i in n])
    log_x = run(module, 2.0**n)[1]
    assert (abs(log_x - nearest) <= np.spacing(abs(nearest))).all()
