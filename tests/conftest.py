"""Fixtures that the tests share: kernels, problems, and other interpreters."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings

from gmm_core import _build_config, _cpu, reference
from gmm_core.core import dispatch
from gmm_core.data import measurement, passes, rowwise
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit import maximization
from gmm_core.model import parameters
from gmm_core.model.covariance import COVARIANCE_TYPES, matrices, variances
from gmm_core.model.parameters import Mixture, Prepared, mixture_of, prepare

settings.register_profile("bounded", max_examples=500, deadline=None, derandomize=True, database=None)
settings.register_profile("long", max_examples=20_000, deadline=None)
settings.load_profile("bounded")

# A shell lets its background processes ignore Ctrl-C, and the children of the tests would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LEVELS = [level for level in _cpu.supported_levels() if level in _build_config.LEVELS]


@pytest.fixture(params=LEVELS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the kernels of each instruction set that the build and the processor have."""
    level: str = request.param
    by_type = {
        np.dtype(dtype): tuple(
            import_module(f"gmm_core.{source}_{level}_{suffix}")
            for source in ("_expectation", "_kmeans", "_regions")
        )
        for dtype, suffix in (("float32", "f32"), ("float64", "f64"))
    }
    monkeypatch.setattr(dispatch, "_BY_TYPE", by_type)
    for module in (dispatch, matrices, variances, parameters, maximization):
        monkeypatch.setattr(
            module, "maximization", import_module(f"gmm_core._maximization_{level}")
        )
    steps = {
        np.dtype(dtype): (dispatch._STEPWISE[np.dtype(dtype)][0], dispatch.step_functions(level, suffix))
        for dtype, suffix in (("float32", "f32"), ("float64", "f64"))
    }
    monkeypatch.setattr(dispatch, "_STEPWISE", steps)
    monkeypatch.setattr(dispatch, "hierarchy", import_module(f"gmm_core._hierarchy_{level}"))
    for module in (dispatch, measurement, rowwise):
        monkeypatch.setattr(module, "rowwise", import_module(f"gmm_core._rowwise_{level}"))
    for module in (dispatch, matrices, variances):
        monkeypatch.setattr(module, "sampling", import_module(f"gmm_core._sampling_{level}"))
    return level


class Problem(NamedTuple):
    """Samples of a mixture with overlapping components, the mixture, and sample weights."""

    X: np.ndarray
    parameters: Mixture
    weight: np.ndarray

    @property
    def X64(self) -> np.ndarray:
        return self.X.astype(np.float64)

    @property
    def log_constant(self) -> np.ndarray:
        """The weighted log-densities at the means."""
        return np.diagonal(reference.weighted_log_prob(self.parameters.means, *self.mixture))

    @property
    def mixture(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        """The arguments that the functions of gmm_core.reference take after X."""
        p = self.parameters
        return p.weights, p.means, p.prepared.precisions_cholesky, p.covariance_type


@pytest.fixture
def make_problem() -> Callable[..., Problem]:
    """Return a function that makes a well-conditioned problem (cond(Σ) < 50)."""

    def make(
        covariance_type: str, n: int, K: int, D: int, dtype: Any = np.float64, offset: float = 0.0
    ) -> Problem:
        rng = np.random.default_rng([n, K, D])
        # The means lie about two standard deviations apart in any dimension, so that no sample
        # belongs to a single component.
        means = offset + 1.5 / np.sqrt(D) * rng.normal(size=(K, D))
        roots = (rng.normal(size=(D, D)) + 0.2 * rng.normal(size=(K, D, D))) / np.sqrt(D)
        dense = 0.25 * np.eye(D) + roots @ roots.transpose(0, 2, 1)
        by_feature = np.exp(0.3 * rng.normal(size=(K, D)))
        covariances = {
            "full": dense,
            "tied": dense[0],
            "diag": by_feature,
            "spherical": by_feature[:, 0],
        }[covariance_type]
        if covariance_type == "tied":
            roots[:] = roots[0]
        scale = np.sqrt(by_feature) if covariance_type == "diag" else np.sqrt(by_feature[:, :1])
        labels = rng.integers(K, size=n)
        noise = rng.normal(size=(n, D))
        if covariance_type in ("full", "tied"):
            X = (
                means[labels]
                + np.einsum("nij,nj->ni", roots[labels], noise)
                + 0.5 * rng.normal(size=(n, D))
            )
        else:
            X = means[labels] + scale[labels] * noise
        weights = rng.dirichlet(np.full(K, 5.0))
        factors = COVARIANCE_TYPES[covariance_type].factor_covariances(covariances, D)
        made = mixture_of(prepare(weights, means, factors, covariance_type), covariances)
        return Problem(X.astype(dtype), made, rng.uniform(0.5, 2.0, size=n))

    return make


@pytest.fixture
def make_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ArrayPass]:
    """Return a function that makes an ArrayPass with short chunks, so that a small array has many.

    With one_slice=False, every call of a kernel gets only one chunk for each thread.
    """

    def make(
        X: np.ndarray,
        weight: np.ndarray | None,
        mixture: Mixture | Prepared,
        n_threads: int = 1,
        tiles_in_chunk: int = 1,
        one_slice: bool = True,
    ) -> ArrayPass:
        K, D = mixture.means.shape
        code = COVARIANCE_TYPES[mixture.covariance_type].code
        tile_rows = dispatch.expectation(X.dtype).sizes(code, K, D)[3]
        monkeypatch.setattr(passes, "_CHUNK_TIME", 0.0)
        monkeypatch.setattr(passes, "MIN_CHUNK_ROWS", tiles_in_chunk * tile_rows)
        monkeypatch.setattr(passes, "_SLICE_TIME", 1e12 if one_slice else 0.0)
        data = ArrayPass(X, weight, K, mixture.covariance_type, n_threads)
        assert data.chunk_rows == tiles_in_chunk * tile_rows
        return data

    return make


@pytest.fixture
def evaluate() -> Callable[..., dict[str, np.ndarray]]:
    """Return a function that makes the named outputs of `ArrayPass.evaluate`.

    Each array has one row more than needed, and the function checks that this row is not written.
    """

    def make(
        data: ArrayPass, mixture: Mixture | Prepared, names: list[str], n_bad: int = 0
    ) -> dict[str, np.ndarray]:
        n, K = len(data.X), len(mixture.weights)
        shape = {"log_prob": (n + 1, K), "responsibilities": (n + 1, K)}
        made = {
            name: np.full(
                shape.get(name, n + 1), 77, np.int64 if name == "labels" else data.X.dtype
            )
            for name in names
        }
        prepared = mixture.prepared if isinstance(mixture, Mixture) else mixture
        assert data.evaluate(prepared, **{name: a[:n] for name, a in made.items()}) == n_bad
        assert all((a[n:] == 77).all() for a in made.values())
        return {name: a[:n] for name, a in made.items()}

    return make


# Without -P, an interpreter in the root of a clone would import the uncompiled folder.
PYTHON = [sys.executable, "-P", "-W", "error", "-c"]
PRELUDE = """
import json, os, sys, time
import numpy as np
import gmm_core
from gmm_core import GaussianMixture
from gmm_core.core.threads import effective_n_threads
def show(value): print(json.dumps(value), flush=True)
"""


@pytest.fixture
def start_python() -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts another interpreter, which runs PRELUDE and the code."""

    def start(code: str, prelude: str = PRELUDE, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GMM_CORE"))}
        return subprocess.Popen(
            [*PYTHON, prelude + code],
            env=inherited | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run_python(start_python: Callable[..., subprocess.Popen[str]]) -> Callable[..., Any]:
    """Return a function that runs code in another interpreter.

    It returns what the code passed to `show`, or the exit status and the text of stderr.
    """

    def run(code: str, timeout: float = 60, prelude: str = PRELUDE, **environment: str) -> Any:
        with start_python(code, prelude, **environment) as child:
            try:
                out, errors = child.communicate(timeout=timeout)
            except BaseException:
                child.kill()
                raise
        return json.loads(out) if child.returncode == 0 else (child.returncode, errors)

    return run
