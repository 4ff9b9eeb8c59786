"""Tests of gmm_core.kernels, the functions for Cython and C, which are called by their pointers."""

import ctypes
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gmm_core import _build_config, _cpu, kernels, reference

LEVELS = [level for level in _cpu.supported_levels() if level in _build_config.LEVELS]
Make = Callable[..., Any]  # the type of the fixtures that return functions
SIGNATURES = Path(__file__).parents[1] / "values" / "kernels_api.json"
TYPES = ("full", "tied", "diag", "spherical")  # in the order of their codes
CANARY = 0xA5

pythonapi = ctypes.pythonapi
pythonapi.PyCapsule_GetName.restype = ctypes.c_char_p
pythonapi.PyCapsule_GetName.argtypes = [ctypes.py_object]
pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def signatures() -> dict[str, str]:
    return {
        name: pythonapi.PyCapsule_GetName(capsule).decode()
        for name, capsule in kernels.__pyx_capi__.items()
    }


def test_functions_are_added_never_changed() -> None:
    """The signatures in kernels_api.json stay as they are, as other modules were compiled with them.

    Lines may be added to the file, but none may change.
    """
    stored = json.loads(SIGNATURES.read_text())
    assert {name: signatures().get(name) for name in stored} == stored
    missing = sorted(set(signatures()) - set(stored))
    assert not missing, f"add to {SIGNATURES.name}: {missing}"


def c_type(text: str) -> Any:
    text = text.replace("const", "").strip()
    if text.endswith("*"):
        return ctypes.c_void_p
    return {
        "int": ctypes.c_int,
        "Py_ssize_t": ctypes.c_ssize_t,
        "double": ctypes.c_double,
        "float": ctypes.c_float,
        "void": None,
    }[text]


class Api:
    """The functions of gmm_core.kernels, which take arrays in place of pointers.

    The types of the arguments are read from the names of the capsules.
    """

    def __init__(self, dtype: str) -> None:
        self.suffix = {"float64": "_f64", "float32": "_f32"}[dtype]
        for name, signature in signatures().items():
            result, arguments = signature.split(" (", 1)
            arguments = arguments.rstrip(")")
            types = [] if arguments == "void" else [c_type(a) for a in arguments.split(",")]
            address = pythonapi.PyCapsule_GetPointer(kernels.__pyx_capi__[name], signature.encode())
            setattr(self, name, ctypes.CFUNCTYPE(c_type(result), *types)(address))

    def __call__(self, name: str, *arguments: Any) -> Any:
        function = getattr(self, name, None) or getattr(self, name + self.suffix)
        return function(*(a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments))


def memory(n_bytes: int) -> np.ndarray:
    """Return bytes between two canaries, which are neither cleared nor aligned to a cache line."""
    return np.full(n_bytes + 16, CANARY, np.uint8)[8 : 8 + n_bytes]


def assert_within(*arrays: np.ndarray) -> None:
    for array in arrays:
        whole = array.base
        assert whole is not None
        assert (whole[:8] == CANARY).all() and (whole[8 + array.size :] == CANARY).all()


def check_all_functions(dtype: str) -> None:
    """Compare all functions with the NumPy baseline, with ragged panels and tiles."""
    api = Api(dtype)
    rng = np.random.default_rng(0)
    eps = float(np.finfo(dtype).eps)
    assert api("api_version") == 1
    for (code, kind), (K, D) in itertools.product(enumerate(TYPES), ((1, 1), (3, 2), (5, 17))):
        n = 701
        X = (3 * rng.normal(size=(n, D))).astype(dtype)
        weight = rng.uniform(0, 2, n)
        weights, means = rng.dirichlet(np.ones(K)), rng.normal(size=(K, D))
        root = rng.normal(size=(K, D, D)) / np.sqrt(D) + 2 * np.eye(D)
        covariances = {
            "full": root @ root.transpose(0, 2, 1),
            "tied": root[0] @ root[0].T,
            "diag": rng.uniform(0.5, 2, (K, D)),
            "spherical": rng.uniform(0.5, 2, K),
        }[kind]
        factors = reference.precision_cholesky(covariances, kind)
        model = (weights, means, factors, kind)
        shape = (code, K, D)
        mixture, scratch = (memory(api(f"{w}_bytes", *shape)) for w in ("mixture", "scratch"))
        api("prepare_mixture", *shape, weights, means, factors, mixture, scratch)
        assert_within(mixture, scratch)
        frozen = mixture.copy()

        X64 = X.astype(np.float64)
        expected, truth = reference.expectation_step(X64, *model)
        bound = 200 * D * eps * (1 + abs(expected))
        log_densities = np.full(n + 1, np.nan, dtype)
        assert api("log_densities", mixture, X, n, log_densities, scratch) == 0
        assert (abs(log_densities[:n] - expected) <= bound).all() and np.isnan(log_densities[n])
        one = [api("log_density", mixture, X[i : i + 1], scratch) for i in range(20)]
        assert (abs(np.array(one) - expected[:20]) <= bound[:20]).all()
        r, again = np.full((n + 1, K), np.nan, dtype), np.empty(n, dtype)
        assert api("responsibilities", mixture, X, n, r, again, scratch) == 0
        assert (abs(r[:n] - truth) <= bound[:, None]).all() and np.isnan(r[n]).all()
        assert np.array_equal(again, log_densities[:n])
        assert api("responsibilities", mixture, X, n, r, None, scratch) == 0

        size = api("statistics_size", *shape)
        whole, first, second = (np.zeros(size + 1) for _ in range(3))
        assert api("accumulate", mixture, X, weight, n, whole, scratch) == 0
        assert api("accumulate", mixture, X, weight, 300, first, scratch) == 0
        assert api("accumulate", mixture, X[300:], weight[300:], n - 300, second, scratch) == 0
        api("merge_statistics", second, first, size)
        error = 100 * eps * abs(whole).max()  # the sums have another order
        np.testing.assert_allclose(first, whole, rtol=0, atol=error)
        assert whole[size] == 0
        assert whole[0] == pytest.approx(weight @ expected, rel=100 * D * eps)
        unweighted, ones = np.zeros(size), np.zeros(size)
        api("accumulate", mixture, X, None, n, unweighted, scratch)
        api("accumulate", mixture, X, np.ones(n), n, ones, scratch)
        assert np.array_equal(unweighted, ones)

        new = [np.empty_like(a) for a in (weights, means, covariances, factors)]
        temporary = memory(api("parameters_scratch_bytes", *shape))
        reg_covar = np.full(D, 1e-3)
        assert (
            api("parameters_from_statistics", *shape, whole, means, reg_covar, *new, temporary) == 0
        )
        assert_within(mixture, scratch, temporary)
        assert np.array_equal(mixture, frozen)
        step = reference.maximization_step(X64, truth, kind, 1e-3, weight)
        for got, value in zip(
            new, (*step, reference.precision_cholesky(step[2], kind)), strict=True
        ):
            np.testing.assert_allclose(
                got, value, rtol=1e5 * eps, atol=1e5 * eps * abs(value).max()
            )

        far = np.full((3, D), 1e30 if dtype == "float32" else 1e200, dtype)
        far[0] = X[0]
        assert api("log_densities", mixture, far, 3, log_densities, scratch) == 2
        assert log_densities[0] == pytest.approx(expected[0], rel=bound[0])
        assert np.array_equal(log_densities[1:3], [-np.inf, -np.inf])
        assert api("log_density", mixture, far[1:], scratch) == -np.inf
        assert api("responsibilities", mixture, far, 3, r, None, scratch) == 2
        assert (r[1:3] == 0).all()
        assert api("accumulate", mixture, far, None, 3, np.zeros(size), scratch) == 2
        if kind == "full":
            whole[2 + K + K * D :] = 0  # second moments of 0, though the means move
            reg_covar[:] = 0
            assert (
                api("parameters_from_statistics", *shape, whole, means, reg_covar, *new, temporary)
                > 0
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", LEVELS)
def test_every_function(level: str, dtype: str, run_python: Make) -> None:
    """All functions work in each build, which is chosen at import, and so in a process of its own."""
    code = (
        f"import runpy; runpy.run_path({__file__!r})['check_all_functions']({dtype!r}); show('ran')"
    )
    assert run_python(code, GMM_CORE_ISA=level) == "ran"
