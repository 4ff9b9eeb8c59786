"""Tests of the factors of covariances and precisions, by their definitions."""

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from gmm_core.core import dispatch
from gmm_core.model.covariance import COVARIANCE_TYPES, matrices
from gmm_core.model.parameters import mixture_of, prepare

Make = Callable[..., Any]  # the type of the fixtures that return functions
EPS = float(np.finfo(np.float64).eps)

all_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])


def near(got: np.ndarray, expected: np.ndarray, atol: Any) -> None:
    """Assert that arrays are equal within an array of absolute tolerances."""
    assert np.shape(got) == np.shape(expected)
    assert (abs(got - expected) <= atol).all(), abs(got - expected).max()


def check_factor(C: np.ndarray, U: np.ndarray) -> None:
    """Assert that Uᵀ C U = I, and that U is upper triangular with a positive diagonal.

    U is the exact factor of C + δC, where |δC| is a few eps |C|. So Uᵀ δC U is a few eps ‖C‖ ‖U‖², which
    is eps cond(C).
    """
    D = len(C)
    assert np.array_equal(U, np.triu(U)) and (np.diagonal(U) > 0).all()
    wide = U.astype(np.longdouble)
    residual = abs(wide.T @ C.astype(np.longdouble) @ wide - np.eye(D)).max()
    assert residual <= 4 * EPS * np.linalg.cond(C)


def symmetric(n: int, D: int, cond: float) -> np.ndarray:
    """Return symmetric matrices with eigenvalues from 1 down to 1 / cond."""
    Q = np.linalg.qr(np.random.default_rng(D).normal(size=(n, D, D)))[0]
    C = (Q * np.logspace(0, -np.log10(cond), D)) @ Q.transpose(0, 2, 1)
    return (C + C.transpose(0, 2, 1)) / 2


@pytest.mark.parametrize("cond", [10, 1e6, 1e12])
@pytest.mark.parametrize("D", [1, 2, 3, 4, 5, 8, 9, 17, 33, 64, 65])
def test_factors(D: int, cond: float, isa: str) -> None:
    C = symmetric(3, D, cond)
    U = COVARIANCE_TYPES["full"].factor_covariances(C, D)
    for k in range(3):
        check_factor(C[k], U[k])
    precisions, covariances = COVARIANCE_TYPES["full"].precisions_and_covariances(U)
    cond = np.linalg.cond(C).max()
    for made in (precisions, covariances):
        assert np.array_equal(made, made.transpose(0, 2, 1))
    near(precisions, U @ U.transpose(0, 2, 1), D * EPS * (abs(U) @ abs(U).transpose(0, 2, 1)))
    near(covariances, C, 8 * EPS * cond)  # as ‖C‖ = 1
    # factors of the precisions have U Uᵀ = P to rounding, for any condition
    V = COVARIANCE_TYPES["full"].factor_precisions(precisions, D)
    assert np.array_equal(V, np.triu(V)) and (np.diagonal(V, axis1=1, axis2=2) > 0).all()
    near(
        V @ V.transpose(0, 2, 1),
        precisions,
        2 * (D + 1) * EPS * (abs(V) @ abs(V).transpose(0, 2, 1)),
    )


@pytest.mark.parametrize("given", ["covariances", "precisions"])
@all_types
def test_not_positive_definite_matrices(covariance_type: str, given: str, isa: str) -> None:
    for bad in (0.0, -1.0, 1.0 - 1e-16):
        array = {
            "full": np.stack([np.eye(3)] * 4),
            "tied": np.eye(3),
            "diag": np.ones((4, 3)),
            "spherical": np.ones(4),
        }[covariance_type]
        if covariance_type in ("full", "tied"):
            last = array[2:] if covariance_type == "full" else array
            last[..., 0, 1] = last[..., 1, 0] = 1  # [[1, 1], [1, bad]]
            last[..., 1, 1] = bad
        else:
            array[2:] = min(bad, 0)
        noun = given[:-1]
        named = f"shared {noun}" if covariance_type == "tied" else f"{noun} of component 2"
        with pytest.raises(
            ValueError, match=f"^{given} must be positive definite, but the {named} is not$"
        ):
            getattr(COVARIANCE_TYPES[covariance_type], f"factor_{given}")(array, 3)


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_precisions_in_float32_are_those_of_their_factor(covariance_type: str) -> None:
    """They equal the square of the factor after rounding, also below the smallest normal number."""
    kind = COVARIANCE_TYPES[covariance_type]
    shape = kind.shape(50, 4)
    for scale in (1, 1e-20):
        factor = scale * np.random.default_rng(0).uniform(1, 2, size=shape)
        factor = factor.astype(np.float32).astype(float)
        precisions = kind.precisions_and_covariances(factor)[0].astype(np.float32)
        assert kind.has_precisions(factor, precisions)
        changed = np.nextafter(precisions, np.float32(9)) if scale == 1 else precisions * 2
        assert not kind.has_precisions(factor, changed)


@all_types
def test_nan_is_not_positive_definite(covariance_type: str, isa: str) -> None:
    shape = COVARIANCE_TYPES[covariance_type].shape(2, 3)
    named = "shared covariance" if covariance_type == "tied" else "covariance of component 0"
    with pytest.raises(ValueError, match=named):
        COVARIANCE_TYPES[covariance_type].factor_covariances(np.full(shape, np.nan), 3)


def test_bits_do_not_depend_on_threads(isa: str) -> None:
    K, D = 9, 40  # threads share the components from D = 32 on
    C = symmetric(K, D, 1e3)
    factors, failures = [], []
    for n_threads in (1, 2, 7):
        U, scratch = np.empty(C.shape), np.empty(C.size)
        assert (
            dispatch.maximization.factor(C.ravel(), U.reshape(-1), scratch, K, D, 0, n_threads)
            == 0
        )
        factors.append(U)
        bad = C.copy()
        bad[[4, 7], 30, 30] = -1
        args = (bad.ravel(), U.reshape(-1), scratch, K, D, 0, n_threads)
        failures.append(dispatch.maximization.factor(*args))
    assert failures == [5, 5, 5]
    assert np.array_equal(factors[0], factors[1]) and np.array_equal(factors[0], factors[2])


def test_bits_do_not_depend_on_threads_nor_on_calls(
    isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three factorisations give the same bits for any number of threads and of calls of the kernel."""
    K, D = 9, 40
    C = symmetric(K, D, 1e3)

    def factored(n_threads: int) -> tuple[np.ndarray, ...]:
        U = COVARIANCE_TYPES["full"].factor_covariances(C, D, n_threads)
        P, back = COVARIANCE_TYPES["full"].precisions_and_covariances(U, n_threads)
        V = COVARIANCE_TYPES["full"].factor_precisions(P, D, n_threads)
        return U, P, back, V

    def check() -> None:
        for n_threads in (1, 2, 7, 20):
            for got, expected in zip(factored(n_threads), one_call, strict=True):
                assert np.array_equal(got, expected)
            for given in ("covariances", "precisions"):
                with pytest.raises(ValueError, match="component 4 "):
                    getattr(COVARIANCE_TYPES["full"], f"factor_{given}")(bad, D, n_threads)

    bad = C.copy()
    bad[[4, 7], 30, 30] = -1
    one_call = factored(1)
    check()
    monkeypatch.setattr(matrices, "_CALL_WORK", 0)
    check()


def large_calls() -> dict[str, Callable[[], Any]]:
    """Return calls that take about 20 ms or more each."""
    C = symmetric(2, 400, 10)
    U = COVARIANCE_TYPES["full"].factor_covariances(C, 400)
    return {
        "covariances": lambda: COVARIANCE_TYPES["full"].factor_covariances(C, 400),
        "precisions": lambda: COVARIANCE_TYPES["full"].factor_precisions(C, 400),
        "inverse": lambda: COVARIANCE_TYPES["full"].precisions_and_covariances(U),
    }


@pytest.mark.parametrize("name", ["covariances", "precisions", "inverse"])
def test_other_python_threads_run_meanwhile(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels release the GIL, so that another thread runs in the middle of a call."""
    monkeypatch.setattr(matrices, "_CALL_WORK", 1e99)
    call = large_calls()[name]
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1e-3):
            ticks.append(perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        for _ in range(20):  # a loaded machine may not run the other thread at once
            start = perf_counter()
            call()
            duration = perf_counter() - start
            if any(start + duration / 4 < t < start + 3 * duration / 4 for t in list(ticks)):
                break
        else:
            pytest.fail("no other thread ran in the middle of 20 calls")
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("name", ["covariances", "precisions", "inverse"])
def test_work_of_a_call_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large factorisation takes several calls of a kernel, because Ctrl-C is answered between calls."""
    call = large_calls()[name]
    n_calls = 0

    class Counting:
        def __getattr__(self, kernel: str) -> Any:
            nonlocal n_calls
            n_calls += 1
            return getattr(dispatch.maximization, kernel)

    monkeypatch.setattr(matrices, "maximization", Counting())
    monkeypatch.setattr(matrices, "_CALL_WORK", 1e6)  # each of the two matrices takes 400**3
    call()
    assert n_calls == 2


@pytest.mark.parametrize("D", [1, 2, 5, 65])
@all_types
def test_parameters_from_factors(
    covariance_type: str, D: int, isa: str, make_problem: Make
) -> None:
    """Covariances and constants follow from the factors, with a component of weight 0."""
    p = make_problem(covariance_type, 10, 3, D).parameters
    weights = np.array([0.25, 0, 0.75])
    got = prepare(weights, p.means, p.prepared.precisions_cholesky, covariance_type)
    near(mixture_of(got).covariances, p.covariances, 8 * EPS * 50 * p.covariances.max())  # cond < 50
    assert (got.log_constant[:-1] + got.log_constant[-1])[1] == -np.inf
    old = p.prepared
    expected = (old.log_constant[:-1] + old.log_constant[-1] - np.log(p.weights))[::2] + np.log(
        weights[::2]
    )
    near(
        (got.log_constant[:-1] + got.log_constant[-1])[::2],
        expected,
        8 * D * EPS * (abs(expected) + D),
    )
