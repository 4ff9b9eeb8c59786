"""No kernel touches memory beyond its arrays: each of them ends, or begins, at a page without access.

An access beyond ends the process, so the kernels run in an interpreter of their own, which executes
this file. There every kernel is wrapped: the arrays of a call are copied between such pages, those
that the kernel declares const into pages that cannot be written, and the outputs are copied back.
Vectors may lie at any multiple of the size of an element (see vec.h), so an array of any length may
end at the end of a page. What lies between two buffers within one scratch array is not guarded.

Without pages, `run_cases` is also what memcheck watches (.ci/valgrind).
"""

import ctypes
import itertools
import mmap
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from gmm_core import _build_config, _dispatch, covariance, kernels, parameters, passes, statistics
from gmm_core import kmeans as km

LEVELS = [level for level in kernels.supported_levels() if level in _build_config.LEVELS]
OPENMP = _build_config.OPENMP
Make = Callable[..., Any]  # the fixtures
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="pages are protected by POSIX's mprotect"
)
# A whole pass of kernels for every covariance type and shape; the child names a case as it begins.
CHILD = f"import runpy; guarded = runpy.run_path({__file__!r})\n"


@both_dtypes
@pytest.mark.parametrize("level", LEVELS)
def test_kernels_stay_within_their_arrays(level: str, dtype: str, run_python: Make) -> None:
    code = CHILD + f"show(guarded['run_guarded_cases']({dtype!r}))"
    called = run_python(code, timeout=600, GMM_CORE_ISA=level)
    if isinstance(called, list) and isinstance(called[0], int):
        status, errors = called
        pytest.fail(f"ended with status {status}; the last case, and where: ...{errors[-3000:]}")
    assert called == sorted(kernel_names())


@both_dtypes
def test_a_short_array_is_noticed(dtype: str, run_python: Make) -> None:
    """Any array of any kernel, an element too short at either end, ends the process.

    But for those that the kernel does not look at: the log-likelihood, with which the statistics
    begin; of the tile, which k-means shares with the E-step, the totals it begins with and the
    peaks it ends with; and in float64 the low parts, zeros, with which candidates end.
    """
    survived = run_python(CHILD + f"show(guarded['run_short_cases']({dtype!r}))", timeout=600)
    expected = [
        "lloyd_step scratch start",
        "maximization_step statistics start",
        "nothing",
        "seeding_potentials scratch end",
        "seeding_potentials scratch start",
    ]
    if dtype == "float64":
        expected.append("seeding_potentials candidates end")
    assert survived == sorted(expected)


# ---- what runs in the child ----------------------------------------------------------------------


class Case(NamedTuple):
    covariance_type: str
    dtype: str
    n_rows: int
    K: int
    D: int
    weighted: bool
    n_threads: int


def cases(dtype: str) -> Iterator[Case]:
    """Rows: one, a part of a panel, and a ragged second tile, which a second thread takes."""
    shapes = [*itertools.product((1, 3), (1, 2, 3, 5, 17)), (3, 33)]  # from D = 32 K is shared out
    for covariance_type, (K, D) in itertools.product(covariance.COVARIANCE_TYPES, shapes):
        code = covariance.COVARIANCE_TYPES[covariance_type].code
        tile_rows = _dispatch.expectation(np.dtype(dtype)).sizes(code, K, D)[3]
        for n_rows, n_threads in ((1, 1), (13, 1), (tile_rows + 13, 1), (tile_rows + 13, 2)):
            for weighted in (False, True):
                yield Case(covariance_type, dtype, n_rows, K, D, weighted, n_threads)


def run_case(case: Case) -> None:
    """Call every kernel, through the Python that owns its memory."""
    covariance_type, dtype, n, K, D, weighted, n_threads = case
    rng = np.random.default_rng(0)
    X, shift = rng.normal(size=(n, D)).astype(dtype), rng.normal(size=(K, D))
    weight = rng.uniform(0.5, 2, size=n)
    weight[: n - 1 : 3] = 0
    data = passes.ArrayPass(X, weight if weighted else None, K, covariance_type, n_threads)
    assert data.n_threads == n_threads
    labels, responsibilities = np.arange(n) % K, rng.dirichlet(np.ones(K), size=n).astype(dtype)
    given = data.statistics(shift, labels=labels)
    p = statistics.maximization_step(given, 1.0, n_threads)[0]
    data.statistics(shift)
    data.statistics(shift, lambda rows: responsibilities[rows])
    data.expectation(p)
    data.expectation(p, shift=shift)
    data.mean_log_likelihood(p)

    factors = p.precisions_cholesky
    covariance.precisions_cholesky_of(p.covariances, covariance_type, D, given="covariances")
    precisions = covariance.precisions_and_covariances(factors, covariance_type)[0]
    covariance.precisions_cholesky_of(precisions, covariance_type, D, given="precisions")
    parameters.parameters_from(p.weights, p.means, factors, covariance_type)

    lloyd = km._Lloyd(data, K)
    lloyd.step(p.means, np.empty(0, dtype))
    lloyd.step(p.means, np.empty(n, dtype))
    km._Seeding(data, 1).add_center(np.intp(0))
    km._Seeding(data, 2).potentials(np.array([0, n - 1]), np.empty(0))

    # exactly what `evaluate` needs, which is less than the other passes do
    data._scratch = np.empty((n_threads, data._kernels.sizes(data._code, K, D)[2]), dtype)
    data._tickets = np.empty(n_threads, np.intp)
    data.evaluate(
        p,
        log_prob=np.empty((n, K), dtype),
        log_likelihood=np.empty(n, dtype),
        responsibilities=np.empty((n, K), dtype),
        labels=np.empty(n, np.int64),
    )
    x, y = rng.normal(size=n), rng.normal(size=n).astype(np.float32)
    data._kernels.exp_log(x, np.empty(n), np.empty(n), y, np.empty(n, np.float32))


def exact_sizes() -> None:
    """One tile a chunk, one call a pass, and scratch that is not rounded up to cache lines."""
    passes._CHUNK_TIME, passes._MIN_CHUNK_ROWS, passes._SLICE_TIME = 0.0, 1, 1e12
    passes.aligned_empty = km.aligned_empty = np.empty


def run_cases(dtype: str) -> None:
    exact_sizes()
    for case in cases(dtype):
        print(case, file=sys.stderr, flush=True)
        if OPENMP or case.n_threads == 1:
            run_case(case)


def kernel_modules() -> tuple[Any, ...]:
    return (*_dispatch._BY_TYPE[np.dtype(np.float64)], _dispatch.maximization)


def kernel_names() -> list[str]:
    public = [(m, name) for m in kernel_modules() for name in dir(m) if not name.startswith("_")]
    return [name for m, name in public if callable(getattr(m, name)) and name != "sizes"]


class Pages:
    """Wraps kernels, so that their arrays lie between inaccessible pages."""

    def __init__(self) -> None:
        self.at_end = True  # of the pages, or at their start
        self.short = ""  # an array that reaches beyond its pages by one element: "kernel argument"
        self.called: set[str] = set()
        for dtype, modules in _dispatch._BY_TYPE.items():
            _dispatch._BY_TYPE[dtype] = tuple(self._wrap(module) for module in modules)
        for module in (_dispatch, covariance, parameters, statistics):
            module.maximization = self._wrap(module.maximization)

    def _wrap(self, module: Any) -> ModuleType:
        wrapped = ModuleType(module.__name__)
        for name in set(dir(module)) & {*kernel_names(), "sizes"}:
            setattr(wrapped, name, self._guarded(name, getattr(module, name)))
        return wrapped

    def _guarded(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        # Cython's docstring begins with the signature: "kernel(const real[:, ::1] X, int K)"
        signature = kernel.__doc__.splitlines()[0].removeprefix(f"{name}(")
        arguments = re.findall(r"\b(const )?[\w ]+?(?:\[[:, 1]*\])? (\w+)[,)]", signature)

        def call(*values: Any) -> Any:
            self.called.add(name)
            regions = [
                Region(value, bool(const), self.at_end, self.short == f"{name} {argument}")
                if isinstance(value, np.ndarray) and value.size
                else None
                for value, (const, argument) in zip(values, arguments, strict=True)
            ]
            answer = kernel(*(r.array if r else v for r, v in zip(regions, values, strict=True)))
            for region in regions:
                if region:
                    region.release()
            return answer

        call.__doc__ = kernel.__doc__
        return call


class Region:
    """A copy of an array between two inaccessible pages, flush with one of them."""

    def __init__(self, original: np.ndarray, const: bool, at_end: bool, short: bool) -> None:
        page, size = mmap.PAGESIZE, original.nbytes
        inner = -(-size // page) * page
        start = page + inner - size if at_end else page
        if short:
            start += original.itemsize if at_end else -original.itemsize
        memory = mmap.mmap(-1, inner + 2 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._address = np.frombuffer(memory, np.uint8).ctypes.data
        self._size, self._original, self._const = len(memory), original, const
        flat = np.frombuffer(memory, original.dtype, original.size, start)
        self.array = flat.reshape(original.shape)
        self.array[...] = original
        none = 0
        protect(self._address, page, none)
        protect(self._address + page + inner, page, none)
        if const:
            protect(self._address + page, inner, mmap.PROT_READ)

    def release(self) -> None:
        protect(self._address, self._size, mmap.PROT_READ | mmap.PROT_WRITE)
        if not self._const:
            self._original[...] = self.array


def protect(address: int, size: int, access: int) -> None:
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    if mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), access) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")


def run_guarded_cases(dtype: str) -> list[str]:
    """The kernels that were called."""
    import faulthandler

    faulthandler.enable()
    pages = Pages()
    for pages.at_end in (True, False):
        print("flush with the", "end" if pages.at_end else "start", file=sys.stderr)
        run_cases(dtype)
    return sorted(pages.called)


def run_short_cases(dtype: str) -> list[str]:
    """The arrays that may be too short without an effect; in a process of their own each."""
    exact_sizes()
    import resource
    import warnings

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # there are no other threads than those of the libraries, which the child does not use
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    arrays = [
        f"{name} {argument}"
        for module in kernel_modules()
        for name in dir(module)
        if name in kernel_names()
        for argument in re.findall(r"\] (\w+)", getattr(module, name).__doc__.splitlines()[0])
    ]
    pages = Pages()
    tile_rows = _dispatch.expectation(np.dtype(dtype)).sizes(0, 3, 5)[3]
    case = Case("full", dtype, tile_rows + 13, 3, 5, True, 1)
    survived = []
    for short, end in [("", ""), *itertools.product(arrays, ("start", "end"))]:
        child = os.fork()
        if child == 0:
            pages.short, pages.at_end = short, end == "end"
            status = 1
            try:
                run_case(case)
                status = 0
            finally:
                os._exit(status)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            survived.append(f"{short} {end}" if short else "nothing")
        elif not (
            os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGSEGV, signal.SIGBUS)
        ):
            raise RuntimeError(f"{short} {end}: ended with status {status}")
    return sorted(survived)
