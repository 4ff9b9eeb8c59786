"""Tests in one process with libraries that bring their own OpenMP or BLAS, and of the floating-point mode."""

import importlib.util
import subprocess
from collections.abc import Callable

import pytest

Start = Callable[..., subprocess.Popen[str]]
US = "import gmm_core\n"
# PyTorch is tried if it is installed, but it is no test dependency. It is not imported here, because that takes
# seconds, and would load its OpenMP runtime into all following tests.
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)

# Warnings that other packages give during their import are ignored.
PRELUDE = """
import signal, threading, warnings
signal.alarm(100)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
{imports}
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from gmm_core import GaussianMixture
rng = np.random.default_rng(0)
X = rng.normal(size=(9000, 16)) + 4 * rng.integers(2, size=(9000, 1))
def fit(n_threads=2):    # the data have seven chunks
    model = GaussianMixture(32, tol=10, random_state=0, n_threads=n_threads).fit(X)
    return model.means_.tobytes() + model.predict_proba(X).tobytes()
"""
CALLS = {
    "numpy": "lambda: (X.T @ X).trace()",
    "sklearn.cluster": (
        "lambda: sklearn.cluster.KMeans(8, n_init=1, algorithm='lloyd', random_state=0)"
        ".fit(X).inertia_"
    ),
    "torch": "lambda: float(torch.softmax(torch.from_numpy(X) @ torch.ones(16, 16).double(), 1)"
    ".square().sum())",
}


@pytest.fixture
def check(start_python: Start) -> Callable[[str, str], None]:
    """Return a function that runs assertions in another interpreter, after some imports."""

    def run(imports: str, code: str) -> None:
        indented = "".join(f"    {line}\n" for line in imports.splitlines())
        with start_python(code, prelude=PRELUDE.format(imports=indented)) as child:
            try:
                _, errors = child.communicate(timeout=120)
            finally:
                child.kill()
        assert child.returncode == 0, errors

    return run


@pytest.mark.parametrize("first", [True, False], ids=["imported first", "imported last"])
@pytest.mark.parametrize(
    "others",
    [
        pytest.param(["numpy", "sklearn.cluster"], id="numpy, sklearn"),
        pytest.param(["numpy", "sklearn.cluster", "torch"], id="torch too", marks=needs_torch),
    ],
)
def test_in_turn_and_at_once(
    others: list[str], first: bool, check: Callable[[str, str], None]
) -> None:
    imports = "".join(f"import {name}\n" for name in others)
    code = f"""
calls = [{", ".join(CALLS[name] for name in others)}]
expected = fit(1)
results = [call() for call in calls]
for i in range(3):
    assert fit() == expected
    # other libraries may add in any order
    np.testing.assert_allclose([call() for call in calls], results, rtol=1e-9)
with ThreadPoolExecutor(2) as pool:
    ours = pool.submit(lambda: [fit() for _ in range(5)])
    theirs = pool.submit(lambda: [[call() for call in calls] for _ in range(5)])
    assert ours.result(100) == [expected] * 5
    np.testing.assert_allclose(theirs.result(100), [results] * 5, rtol=1e-9)
"""
    check(US + imports if first else imports + US, code)


# `mode` tells which properties of floating-point arithmetic hold; a library may have changed its mode in a thread.
MODE = """
import numpy
def mode():
    tiny, one, unit = numpy.float64(5e-324), numpy.float64(1), numpy.float64(2.0**-52)
    small = numpy.float32(1e-45)
    return {
        "reads subnormals": tiny * one != 0 and small * numpy.float32(1) != 0,
        "writes subnormals": numpy.float64(2.2e-308) / 4 != 0 and numpy.float32(1e-38) / 4 != 0,
        "rounds up": one + 0.75 * unit == one + unit,
        "rounds down": one + 0.25 * unit == one,
        "traps nothing": numpy.isinf(numpy.float64(1e308) * 10),
    }
with numpy.errstate(all="ignore"):
    before = mode()
"""


def test_floating_point_mode_is_left_alone(check: Callable[[str, str], None]) -> None:
    """Neither the import nor a parallel fit changes the mode, in this thread or in another one that fits."""
    code = """
def after(n_threads):
    if n_threads: fit(n_threads)
    with np.errstate(all="ignore"): return mode()
assert all(before.values()), before
for n_threads in (0, 1, 2):
    assert after(n_threads) == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(after, n_threads).result(100) == before
"""
    check(MODE + US, code)


def test_subnormals_in_the_threads_of_openmp(check: Callable[[str, str], None]) -> None:
    """Subnormal responsibilities, about 1e-310 or 1e-40 in float32, do not become 0 in any thread."""
    code = """
for dtype, distance in ((np.float64, 37.78), (np.float32, 13.57)):
    X = np.linspace(-1e-3, 1e-3, 300_000, dtype=dtype)[:, None]
    models = [GaussianMixture(2, covariance_type="spherical", n_threads=n) for n in (1, 2)]
    for model in models:
        model.weights_ = np.array([0.5, 0.5], dtype)
        model.means_ = np.array([[0], [distance]], dtype)
        model.precisions_cholesky_ = np.ones(2, dtype)
    one, two = (model.predict_proba(X)[:, 1] for model in models)
    assert one.dtype == dtype and 0 < one.min() and one.max() < np.finfo(dtype).tiny
    assert (one == two).all()
"""
    check(US, code)
