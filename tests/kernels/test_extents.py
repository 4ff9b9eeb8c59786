"""Tests that a build with `checks` finds accesses beyond a buffer, with each buffer too short by one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gmm_core import _build_config
from gmm_core.core import dispatch
from gmm_core.data import rowwise
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import NO_NOISE
from gmm_core.data.skipping import Order, Skipping
from gmm_core.fit import kmeans as km
from gmm_core.fit import steps
from gmm_core.fit.hierarchical import hierarchical_tree
from gmm_core.model.statistics import statistics_of

Make = Callable[..., Any]  # the type of the fixtures that return functions
all_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
pytestmark = pytest.mark.skipif(
    not _build_config.CHECKS, reason="the kernels are built without checks (meson option `checks`)"
)
BEYOND = pytest.raises(AssertionError, match="beyond a buffer")


def shorter(array: np.ndarray, by: int = 1) -> np.ndarray:
    """Return a contiguous copy without the last entries of every row."""
    return np.ascontiguousarray(array[..., : array.shape[-1] - by])


def with_exact_buffers(data: ArrayPass) -> tuple[int, int]:
    """Give the pass buffers that are not rounded up to cache lines, which would hide an off-by-one.

    Returns
    -------
    tile, shift : int
        The numbers of reals in the tile and in the shift.
    """
    K, D = data.n_components, data.X.shape[1]
    _, mixture, tile, _ = data._kernels.sizes(data.code, K, D)
    data.mixture_buffer = np.empty(mixture, data.X.dtype)
    data._scratch = np.empty((data.n_threads, tile + 2 * K * D), data.X.dtype)
    return tile, 2 * K * D


@both_dtypes
@all_types
def test_fused_pass(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 50, 3, 5, dtype)
    p = problem.parameters

    def fresh() -> ArrayPass:
        data: ArrayPass = make_pass(problem.X, problem.weight, p)
        with_exact_buffers(data)
        data.expectation(p, shift=p.means + 1)
        return data

    for name in ("_scratch", "mixture_buffer", "tickets", "_partial"):
        data = fresh()
        setattr(data, name, shorter(getattr(data, name)))
        with BEYOND:
            data.expectation(p, shift=p.means + 1)
    data = fresh()
    data.n_statistics -= 1
    data._partial = shorter(data._partial)
    with BEYOND:
        data.expectation(p)


@both_dtypes
@all_types
def test_pass_that_skips_pairs(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 50, 3, 5, dtype)
    p = problem.parameters

    def fresh() -> ArrayPass:
        data: ArrayPass = make_pass(problem.X, problem.weight, p)
        data.skipping = Skipping(data, 1.0, 1 << 20)
        data.order = Order(age=8)  # the rows are sorted after the first pass
        for _ in range(2):
            data.expectation(p)
        return data

    fresh().expectation(p)
    for name in ("_scratch", "_index", "_bounds", "_floors"):
        data = fresh()
        array = getattr(data.skipping, name)
        setattr(data.skipping, name, array[:-1] if name == "_floors" else shorter(array))
        if name == "_scratch":
            data.skipping._scratch = array[:, : data.skipping._n_scratch - 1].copy()
        with BEYOND:
            data.expectation(p)


@both_dtypes
@all_types
def test_evaluate(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make
) -> None:
    problem = make_problem(covariance_type, 50, 3, 5, dtype)
    p = problem.parameters
    data: ArrayPass = make_pass(problem.X, None, p)
    tile, shift = with_exact_buffers(data)
    outputs = {
        "log_prob": np.empty((50, 3), dtype),
        "log_likelihood": np.empty(50, dtype),
        "responsibilities": np.empty((50, 3), dtype),
        "labels": np.empty(50, np.int64),
    }
    data._scratch = shorter(data._scratch, shift)
    data.evaluate(p.prepared, **outputs)
    for name, out in outputs.items():
        with BEYOND:
            data.evaluate(p.prepared, **{name: out[:49]})
        if out.ndim == 2:
            with BEYOND:
                data.evaluate(p.prepared, **{name: shorter(out)})
    data._scratch = shorter(data._scratch)
    assert data._scratch.shape[1] == tile - 1
    with BEYOND:
        data.evaluate(p.prepared, labels=outputs["labels"])


@both_dtypes
def test_lloyd_step(dtype: Any, isa: str, make_problem: Make, make_pass: Make) -> None:
    problem = make_problem("spherical", 50, 3, 5, dtype)
    centers, distances = problem.parameters.means, np.empty(50, dtype)
    data: ArrayPass = make_pass(problem.X, None, problem.parameters)

    def fresh() -> km._Lloyd:
        lloyd = km._Lloyd(data, centers)
        lloyd.packed = lloyd.packed[: lloyd.kernels.packed_size(3, 5)].copy()
        lloyd.step(centers, distances)
        return lloyd

    for name in ("packed", "drops", "partial", "tickets", "labels", "gaps", "before", "most"):
        lloyd = fresh()
        setattr(lloyd, name, shorter(getattr(lloyd, name)))
        with BEYOND:
            lloyd.step(centers)
    with BEYOND:
        fresh().step(centers, distances[:49])


@both_dtypes
def test_seeding_step(dtype: Any, isa: str, make_problem: Make, make_pass: Make) -> None:
    problem = make_problem("spherical", 50, 3, 5, dtype)
    data: ArrayPass = make_pass(problem.X, None, problem.parameters)
    tile = dispatch.expectation(np.dtype(dtype)).sizes(3, 1, 5)[2]
    center, candidates = np.intp(2), np.array([3, 4])

    def fresh() -> km._Seeding:
        seeding = km._Seeding(data)
        seeding.scratch = np.empty((1, tile), dtype)
        seeding.step(center, candidates)
        return seeding

    for name in ("scratch", "tickets", "nearest"):
        seeding = fresh()
        setattr(seeding, name, shorter(getattr(seeding, name)))
        with BEYOND:
            seeding.step(center, candidates)
    with BEYOND:
        fresh()._step(slice(0, 50), center, candidates, np.empty((0, 2)))


@all_types
@pytest.mark.parametrize("width", ["missing", "variances", "covariances"])
def test_rows_with_covariances_of_their_own(
    covariance_type: str, width: str, isa: str, make_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, K, D = 50, 3, 5
    monkeypatch.setattr(rowwise, "aligned_empty", np.empty)     # which does not round sizes up
    problem, kernels = make_problem(covariance_type, n, K, D), dispatch.rowwise
    p, X = problem.parameters, problem.X.copy()
    X[::3, 2] = np.nan
    noise = {"missing": NO_NOISE, "variances": np.ones((n, D)), "covariances": np.tile(np.eye(D).ravel(), (n, 1))}
    data = ArrayPass(X, problem.weight, K, covariance_type, 1, True, noise[width])

    def run() -> None:
        data.expectation(p)
        data.evaluate(p.prepared, labels=np.empty(n, np.int64))
        data.evaluate(p.prepared, log_likelihood=np.empty(n), responsibilities=np.empty((n, K)))
        covariance = None if width == "missing" else np.empty((n, D, D))
        data.posterior(p.prepared, np.empty((n, D)), covariance)

    def expect_failure(name: str, argument: int, shorten: Callable[[np.ndarray], np.ndarray]) -> None:
        def call(*values: Any) -> int:
            given = list(values)
            if given[argument].size:
                given[argument] = shorten(given[argument])
            return getattr(kernels, name)(*given)

        names = [other for other in dir(kernels) if other[:7] == "rowwise"]
        made = SimpleNamespace(**{other: getattr(kernels, other) for other in names} | {name: call})
        with monkeypatch.context() as patch, BEYOND:
            patch.setattr(rowwise, "rowwise", made)
            run()

    run()
    for name, arguments in (
        ("rowwise_prepare", (3, 4)), ("rowwise_accumulate", (3, 4, 5, 6, 7)), ("rowwise_finish", (0, 1, 2)),
        ("rowwise_evaluate", (2, 3, 4, 5, 6, 8)),
    ):
        for argument in arguments:
            expect_failure(name, argument, shorter)
    expect_failure("rowwise_evaluate", 9, lambda status: status[:0])
    for argument in (4, 6):
        expect_failure("rowwise_evaluate", argument, lambda output: output[:-1])
    if width != "missing":
        expect_failure("rowwise_accumulate", 2, lambda noise: noise[:-1])
        expect_failure("rowwise_evaluate", 1, lambda noise: noise[:-1])
        expect_failure("rowwise_evaluate", 7, shorter)
        expect_failure("rowwise_evaluate", 7, lambda output: output[:-1])


def test_first_indefinite(isa: str) -> None:
    noise = np.zeros((3, 25))
    assert dispatch.rowwise.first_indefinite(noise, 5, 1e-8) == 0
    with BEYOND:
        dispatch.check_status(dispatch.rowwise.first_indefinite(shorter(noise), 5, 1e-8))


@all_types
def test_unwhiten(covariance_type: str, isa: str, make_problem: Make) -> None:
    p = make_problem(covariance_type, 50, 3, 5, np.float64).parameters
    kind, y = p.kind, np.ones((50, 5))
    factor = kind.of_component(p.prepared.precisions_cholesky, 0)
    kind.unwhiten(y, factor, p.means[0], np.empty((50, 5)))
    for out in (np.empty((49, 5)), np.empty((50, 4))):
        with BEYOND:
            kind.unwhiten(y, factor, p.means[0], out)


@both_dtypes
def test_make_steps(
    dtype: Any, isa: str, make_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem("full", 50, 3, 5, dtype)
    parts = steps.Parts(problem.X, problem.weight, [50], [0.5])
    p, regular = problem.parameters, np.zeros(5)
    statistics = statistics_of(*p[:3], "full", regular)
    steps.make_steps(parts, p, statistics, regular, 1)
    kernels, functions = dispatch.stepwise(dtype)
    for short in (1, 3, 4, 6, 7, 10, 11, 12, 13, 14):

        def call(*values: Any, short: int = short) -> int:
            given = list(values)
            given[short] = shorter(given[short])
            return kernels.make_steps(*given)

        made = SimpleNamespace(make_steps=call), functions
        with monkeypatch.context() as patch, BEYOND:
            patch.setattr(steps, "stepwise", lambda dtype, made=made: made)
            steps.make_steps(parts, p, statistics, regular, 1)


def test_agglomerate(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, kernel = np.random.default_rng(0).normal(size=(30, 3)), dispatch.hierarchy.agglomerate
    hierarchical_tree(X)
    for i in range(1, 8):  # the arrays beside the means

        def call(*values: Any, short: int = i) -> int:
            given = list(values)
            given[short] = shorter(given[short])
            return kernel(*given)

        with monkeypatch.context() as patch, BEYOND:
            patch.setattr(dispatch, "hierarchy", SimpleNamespace(agglomerate=call))
            hierarchical_tree(X)
