"""Tests that no kernel touches memory beyond its arrays, which end or begin at inaccessible pages.

An access beyond an array ends the process, so the kernels run in another interpreter, which executes
this file. There every kernel is wrapped: the arrays of a call are copied between inaccessible pages,
arrays that the kernel declares const into read-only pages, and the outputs are copied back. Vectors may
lie at any multiple of the size of an element (see vec.h), so an array of any length may end at the end
of a page. Scratch begins with doubles, though, so its length is a multiple of their size. The space
between two buffers within one scratch array is not guarded.

As a script, the file runs the same cases on arrays from malloc, for memcheck (.ci/valgrind).
"""

import ctypes
import faulthandler
import functools
import itertools
import math
import mmap
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from gmm_core import _build_config, _cpu
from gmm_core.core import dispatch
from gmm_core.data import measurement, passes, rowwise, scoring
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import NO_NOISE
from gmm_core.data.skipping import Order, Skipping
from gmm_core.fit import kmeans as km
from gmm_core.fit import maximization, steps
from gmm_core.fit.hierarchical import hierarchical_tree
from gmm_core.model import parameters
from gmm_core.model.covariance import COVARIANCE_TYPES, base, matrices, variances
from gmm_core.model.parameters import prepare
from gmm_core.model.statistics import statistics_of

LEVELS = [level for level in _cpu.supported_levels() if level in _build_config.LEVELS]
Make = Callable[..., Any]  # the type of the fixtures that return functions
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="pages are protected by POSIX's mprotect"
)
GUARD = 256 * mmap.PAGESIZE  # on either side, as a tile that is too large may skip a single page
VIOLATIONS = (signal.SIGSEGV, signal.SIGBUS)  # the signals on Linux and on macOS
CHILD = f"import runpy; guarded = runpy.run_path({__file__!r})\n"


@both_dtypes
@pytest.mark.parametrize("level", LEVELS)
def test_kernels_stay_within_their_arrays(level: str, dtype: str, run_python: Make) -> None:
    code = CHILD + f"show(guarded['run_guarded_cases']({dtype!r}))"
    # "passive" keeps the threads of thousands of tiny parallel sections from spinning
    called = run_python(code, timeout=600, GMM_CORE_ISA=level, OMP_WAIT_POLICY="passive")
    if isinstance(called, tuple):
        status, errors = called
        pytest.fail(f"status {status} in {errors[errors.rfind('Case(') :]}")
    assert called == sorted(name for _, name in public_functions())


@both_dtypes
def test_a_short_array_is_noticed(dtype: str, run_python: Make) -> None:
    """A kernel crashes if an array is an element too short at either end (scratch at least a double).

    The exceptions are parts that a kernel does not read: the log-likelihood at the beginning of the statistics, the
    totals at the beginning of the tile, which the seeding shares with the E-step, the constant that all components share
    at the end of log_constant, the low parts of points at their end, which are 0 in float64, the numbers of rows at the
    end of the scratch of rowwise passes, which has room for a whole chunk, and the matrices at the end of their mixture.
    rowwise_finish loads the constants at the start of its mixture, but does not use them, so that clang leaves this out.
    """
    survived = run_python(CHILD + f"show(guarded['run_short_cases']({dtype!r}))", timeout=600)
    expected = [
        "bound_distances log_constant end",
        "carry log_constant end",
        "maximization_step statistics start",
        "nothing",
        "rowwise_accumulate scratch end",
        "rowwise_evaluate scratch end",
        "rowwise_finish mixture end",
        "rowwise_finish statistics start",
        "seeding_step scratch start",
    ]
    if dtype == "float64":
        expected.append("seeding_step points end")
    assert sorted({*survived} - {"rowwise_finish mixture start"}) == sorted(expected)


# ---- code that runs in the other interpreter -----------------------------------------------------


class Case(NamedTuple):
    covariance_type: str
    dtype: str
    n_rows: int
    K: int
    D: int
    weighted: bool
    n_threads: int


def cases(dtype: str) -> Iterator[Case]:
    """Return cases with one row, with part of a panel, and with a ragged second tile on one or two threads."""
    # with D = 64 the threads share the components in the M-step
    shapes = [*itertools.product((1, 3), (1, 2, 3, 5, 17)), (3, 64)]
    for covariance_type, kind in COVARIANCE_TYPES.items():
        for i, (K, D) in enumerate(shapes):
            tile_rows = dispatch.expectation(np.dtype(dtype)).sizes(kind.code, K, D)[3]
            for n_rows, n_threads in ((1, 1), (13, 1), (tile_rows + 13, 1), (tile_rows + 13, 2)):
                if covariance_type.isupper() and n_rows != 13:
                    continue  # the models of mclust have the E-steps of the other types
                # every other shape has weights; both for each shape would double the time
                yield Case(covariance_type, dtype, n_rows, K, D, i % 2 == 0, n_threads)


def run_case(case: Case) -> None:
    """Call every kernel through the Python code that owns its memory."""
    covariance_type, dtype, n, K, D, weighted, n_threads = case
    rng = np.random.default_rng(0)
    X, shift = rng.normal(size=(n, D)).astype(dtype), rng.normal(size=(K, D))
    weight = rng.uniform(0.5, 2, size=n)
    weight[1 : n - 1 : 3] = 0
    data = ArrayPass(X, weight if weighted else None, K, covariance_type, n_threads)
    assert data.n_threads == n_threads
    labels, responsibilities = np.arange(n) % K, rng.dirichlet(np.ones(K), size=n).astype(dtype)
    statistics = data.statistics(shift, labels=labels)
    p = maximization.maximization_step(statistics, 1.0, n_threads)[0]
    p = maximization.maximization_step(statistics, 1.0, n_threads, before=p.covariances)[0]
    data.statistics(shift)
    data.statistics(shift, lambda rows: responsibilities[rows])
    data.expectation(p)
    data.expectation(p, shift=shift)
    data.mean_log_likelihood(p)

    data.skipping = Skipping(data, 1.0, 1 << 20)
    data.order = Order(age=8)  # the rows are sorted after the first pass
    wider = maximization.maximization_step(statistics, 30.0)[0]  # which makes bounds reach less far
    for mixture in (p, p, p, wider):
        data.expectation(mixture)
    data.expectation(p, shift=shift)
    data.mean_log_likelihood(p)

    factors, kind = p.prepared.precisions_cholesky, p.kind
    kind.factor_covariances(p.covariances, D)
    kind.decompose(p.covariances, factors, K, D)
    kind.factor_precisions(kind.precisions_and_covariances(factors)[0], D)
    prepare(p.weights, p.means, factors, covariance_type)

    if kind.bounds_scores:
        bounded = scoring.Scoring(data, p.prepared)
        bounded.evaluate(log_likelihood=np.empty(n, dtype))
        bounded.evaluate(labels=np.empty(n, np.int64))

    # `evaluate` needs less memory than the other passes, and gets exactly that here
    data._scratch = np.empty((n_threads, data._kernels.sizes(data.code, K, D)[2]), dtype)
    data.tickets = np.empty(n_threads, np.intp)
    data.evaluate(
        p.prepared,
        log_prob=np.empty((n, K), dtype),
        log_likelihood=np.empty(n, dtype),
        responsibilities=np.empty((n, K), dtype),
        labels=np.empty(n, np.int64),
    )
    if covariance_type.islower():
        run_rows_with_covariances_of_their_own(X, weight if weighted else None, p, shift, n_threads)
    if kind.steps_in_kernel:
        steps._sizes.cache_clear()  # they depend on what exact_sizes() has changed
        ends = [*range(data.chunk_rows, n, data.chunk_rows), n]
        parts = steps.Parts(X, weight + 0.1 if weighted else None, ends, [0.5] * len(ends))
        of_model = statistics_of(*p[:3], covariance_type, np.zeros(D))
        steps.make_steps(parts, p, of_model, np.ones(D), 1)
    for name in ("full", "diag"):
        factor = np.ones((D, D) if name == "full" else D)
        y, x = rng.normal(size=(n, D)), np.empty((n, D))
        COVARIANCE_TYPES[name].unwhiten(y, factor, p.means[0], x)
    if covariance_type != "full":  # the following kernels do not depend on the covariance type
        return
    lloyd = km._Lloyd(data, p.means)
    lloyd.step(p.means)
    lloyd.step(p.means + 1)
    lloyd.step(p.means, np.empty(n, dtype))
    km.kmeans(data, min(K, n), np.random.RandomState(0), tol=0.0)
    km._Seeding(data).step(np.intp(0), np.array([0, n - 1]))
    hierarchical_tree(X[:20])
    x, y = rng.normal(size=n).astype(dtype), rng.normal(size=n)
    data._kernels.all_finite(x, n_threads)
    data._kernels.exp_log(x, np.empty_like(x), y, np.empty_like(y))


def run_rows_with_covariances_of_their_own(
    X: Any, weight: Any, p: Any, shift: Any, n_threads: int
) -> None:
    (n, D), K, rng = X.shape, len(p.weights), np.random.default_rng(0)
    incomplete = np.where(rng.random((n, D)) < 0.3, np.nan, X).astype(X.dtype)
    incomplete[-1] = np.nan
    variances = np.ones((n, D))
    for rows, S in (
        (incomplete, None), (X, variances), (incomplete, variances[:, :, None] * np.eye(D)),
        (incomplete, np.eye(D)),
    ):
        if S is not None and D > 1 and S.shape == (n, D) == (D, D):
            continue    # the shape says not what it is
        noise = NO_NOISE if S is None else measurement.noisy_rows(rows, S).noise
        data = ArrayPass(rows, weight, K, p.covariance_type, n_threads, rows is incomplete, noise)
        data.expectation(p)
        data.expectation(p, shift=shift)
        data.mean_log_likelihood(p)
        data.evaluate(p.prepared, labels=np.empty(n, np.int64))
        data.evaluate(
            p.prepared, log_likelihood=np.empty(n, X.dtype), responsibilities=np.empty((n, K), X.dtype)
        )
        covariance = None if S is None else np.empty((n, D, D), X.dtype)
        data.posterior(p.prepared, np.empty((n, D), X.dtype), covariance)


def exact_sizes() -> None:
    """Make each chunk one tile and each pass one call, and do not round scratch up to cache lines."""
    passes._CHUNK_TIME, passes.MIN_CHUNK_ROWS, passes._SLICE_TIME = 0.0, 1, 1e12
    scoring._REGION_ROWS, scoring._LOOKED_AT, scoring._LEAST_GAIN = 1, (1, 1 << 20), -math.inf
    rowwise._CHUNK_TIME, rowwise._MIN_ROWS = 0.0, 1
    passes.aligned_empty = km.aligned_empty = steps.aligned_empty = rowwise.aligned_empty = np.empty


def run_cases(dtype: str) -> None:
    exact_sizes()
    for case in cases(dtype):
        print(case, file=sys.stderr, flush=True)
        run_case(case)


def public_functions() -> list[tuple[Any, str]]:
    """Return (module, name) for every function of the kernels."""
    modules = (
        *dispatch._BY_TYPE[np.dtype(np.float64)], dispatch.maximization, dispatch.hierarchy,
        dispatch.rowwise, dispatch.sampling, dispatch._STEPWISE[np.dtype(np.float64)][0],
    )
    names = [(module, name) for module in modules for name in dir(module) if name[0] != "_"]
    return [(module, name) for module, name in names if callable(getattr(module, name))]


def arguments(kernel: Callable[..., Any]) -> list[tuple[str, str, str]]:
    """Return ('const ' or '', '[:, ::1]' or '', name) for each argument.

    They are read from the signature in Cython's docstring.
    """
    signature = kernel.__doc__.splitlines()[0].partition("(")[2]
    return re.findall(r"\b(const )?[\w ]+?(\[[:, 1]*\])? (\w+)[,)]", signature)


class Pages:
    """A wrapper of all kernels that puts their arrays between inaccessible pages."""

    def __init__(self) -> None:
        self.at_end = True  # whether arrays lie at the end of the pages, or at their start
        self.short = ""  # "kernel argument" of an array that reaches into the inaccessible pages
        self.called: set[str] = set()
        names = {name for _, name in public_functions()}

        def wrap(module: Any) -> Any:
            functions = {name: getattr(module, name, None) for name in names}
            return SimpleNamespace(
                **{name: self._guarded(name, f) for name, f in functions.items() if f}
            )

        for dtype, modules in dispatch._BY_TYPE.items():
            dispatch._BY_TYPE[dtype] = tuple(wrap(module) for module in modules)
        for module in (dispatch, base, matrices, variances, parameters, maximization):
            module.maximization = wrap(module.maximization)
        dispatch.hierarchy = wrap(dispatch.hierarchy)
        for module in (dispatch, measurement, rowwise):
            module.rowwise = wrap(module.rowwise)
        for module in (dispatch, matrices, variances):
            module.sampling = wrap(module.sampling)
        for dtype, (kernels, functions) in dispatch._STEPWISE.items():
            dispatch._STEPWISE[dtype] = wrap(kernels), functions

    def _guarded(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        roles = arguments(kernel)

        def call(*values: Any) -> Any:
            self.called.add(name)
            given, regions = list(values), []
            for i, (const, is_array, argument) in enumerate(roles):
                if is_array and values[i].size:
                    missing = 0
                    if self.short == f"{name} {argument}":
                        missing = max(8, values[i].itemsize) if argument == "scratch" else values[i].itemsize
                    regions.append(Region(values[i], bool(const), self.at_end, missing))
                    given[i] = regions[-1].array
            answer = kernel(*given)
            for region in regions:
                region.release()
            return answer

        return call


class Region:
    """A copy of an array between inaccessible pages, which begins or ends exactly at one of them.

    The copy reaches into the inaccessible pages by the number of bytes that are `missing`.
    """

    def __init__(self, original: np.ndarray, const: bool, at_end: bool, missing: int) -> None:
        size, inner = original.nbytes, -(-original.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        start = GUARD + inner - size + missing if at_end else GUARD - missing
        memory = mmap.mmap(-1, inner + 2 * GUARD, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._address = np.frombuffer(memory, np.uint8).ctypes.data
        self._size, self._original, self._const = len(memory), original, const
        flat = np.frombuffer(memory, original.dtype, original.size, start)
        self.array = flat.reshape(original.shape)
        self.array[...] = original
        protect(self._address, GUARD, 0)
        protect(self._address + GUARD + inner, GUARD, 0)
        if const:
            protect(self._address + GUARD, inner, mmap.PROT_READ)

    def release(self) -> None:
        if not self._const:
            protect(self._address, self._size, mmap.PROT_READ | mmap.PROT_WRITE)
            self._original[...] = self.array


@functools.cache
def mprotect() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None, use_errno=True).mprotect
    function.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return function


def protect(address: int, size: int, access: int) -> None:
    if mprotect()(address, size, access) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")


def run_guarded_cases(dtype: str) -> list[str]:
    """Run all cases with guarded arrays, and return the names of the functions that were called."""
    faulthandler.enable()
    pages = Pages()
    for pages.at_end in (True, False):
        print("arrays at the", "end" if pages.at_end else "start", "of the pages", file=sys.stderr)
        run_cases(dtype)
    return sorted(pages.called)


def run_short_cases(dtype: str) -> list[str]:
    """Return the arrays that may be too short without an effect; each is tried in a forked process."""
    import resource  # Windows has none

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # other threads, if there are any, belong to libraries that the forked processes do not use
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    arrays = [
        f"{name} {argument}"
        for module, name in public_functions()
        for _, is_array, argument in arguments(getattr(module, name))
        if is_array
    ]
    exact_sizes()
    pages = Pages()
    tile_rows = dispatch.expectation(np.dtype(dtype)).sizes(0, 3, 5)[3]
    # the second case is of a type that reads the covariances before
    case = Case("full", dtype, tile_rows + 13, 3, 5, True, 1)
    covered = case, case._replace(covariance_type="EVE")
    survived = []
    for short, end in [("", ""), *itertools.product(arrays, ("start", "end"))]:
        child = os.fork()
        if child == 0:
            pages.short, pages.at_end = short, end == "end"
            status = 1
            try:
                for case in covered:
                    run_case(case)
                status = 0
            finally:
                os._exit(status)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            survived.append(f"{short} {end}" if short else "nothing")
        elif not os.WIFSIGNALED(status) or os.WTERMSIG(status) not in VIOLATIONS:
            raise RuntimeError(f"{short} {end}: ended with status {status}")
    return sorted(survived)


if __name__ == "__main__":
    for element in ("float32", "float64"):
        run_cases(element)
