"""Tests that data which are converted part by part give the results and errors of a plain array."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gmm_core import GaussianMixture
from gmm_core.data import foreign, passes
from gmm_core.data.foreign import ForeignRows, check_rows
from gmm_core.data.validation import check_X

pytestmark = pytest.mark.filterwarnings("ignore:Best performing")
N, D, K = 30_000, 3, 2  # a few chunks of rows
NAMES = ["a", "b", "c"]
MB = 1 << 20


def data(dtype: Any = np.float64, missing: bool = False) -> np.ndarray:
    rng = np.random.RandomState(0)
    X = np.round(10 * (rng.randn(N, D) + 6 * rng.randint(0, K, (N, 1))))
    if missing:
        X[rng.rand(N, D) < 0.1] = np.nan
    return X.astype(dtype)


def unaligned(X: np.ndarray) -> np.ndarray:
    buffer = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    buffer[...] = X
    return buffer


FOREIGN: dict[str, Callable[[np.ndarray], Any]] = {
    "columns first": np.asfortranarray,
    "float32, columns first": lambda X: np.asfortranarray(X.astype(np.float32)),
    "other byte order": lambda X: X.astype(">f8"),
    "float16": lambda X: X.astype(np.float16),
    "long double": lambda X: X.astype(np.longdouble),
    "unaligned": unaligned,
    "strides": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda X: X[::-1].copy()[::-1],
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "pandas, columns first": lambda X: pd.DataFrame(np.asfortranarray(X), columns=NAMES),
    "pandas, float32": lambda X: pd.DataFrame(X.astype(np.float32), columns=NAMES),
    "pandas, two types": lambda X: pd.DataFrame(X, columns=NAMES).astype({"b": np.float32}),
    "pandas, nullable": lambda X: pd.DataFrame(X, columns=NAMES).astype("Float64"),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "polars, float32": lambda X: pl.DataFrame(X.astype(np.float32), schema=NAMES),
    "pyarrow": lambda X: pa.table(dict(zip(NAMES, X.T, strict=True))),
    "pyarrow, float32": lambda X: pa.table(dict(zip(NAMES, X.T.astype(np.float32), strict=True))),
    "pyarrow, a batch": lambda X: pa.record_batch(dict(zip(NAMES, X.T, strict=True))),
    "masked": lambda X: np.ma.array(np.nan_to_num(X, nan=500), mask=np.isnan(X)),
    "masked, integers": lambda X: np.ma.array(
        np.nan_to_num(X, nan=500).astype(np.int16), mask=np.isnan(X)
    ),
}
INTEGERS: dict[str, Callable[[np.ndarray], Any]] = {
    "int16": lambda X: X.astype(np.int16),
    "big-endian int32, columns first": lambda X: np.asfortranarray(X.astype(">i4")),
    "pandas, integers": lambda X: pd.DataFrame(X.astype(int), columns=NAMES),
    "polars, integers": lambda X: pl.DataFrame(X.astype(int), schema=NAMES),
    "pyarrow, integers": lambda X: pa.table(dict(zip(NAMES, X.T.astype(int), strict=True))),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limits, so that the data of these tests are large enough to be converted in parts."""
    monkeypatch.setattr(foreign, "_MAX_COPY_BYTES", 200_000)
    monkeypatch.setattr(foreign, "_PART_BYTES", 100_000)
    monkeypatch.setattr(passes, "_BUFFER_BYTES", 0)


def assert_same(given: Any, X: np.ndarray, sample_weight: Any = None, **params: Any) -> None:
    def make() -> GaussianMixture:
        return GaussianMixture(K, random_state=0, max_iter=4, tol=0, init_size=2_000, **params)

    model, expected = (make().fit(Y, sample_weight=sample_weight) for Y in (given, X))
    for name in ("weights_", "means_", "covariances_", "lower_bounds_", "lower_bound_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
    assert model.means_.dtype == expected.means_.dtype
    if hasattr(given, "columns"):
        assert model.feature_names_in_.tolist() == NAMES
    for name in ("predict", "predict_proba", "score_samples"):
        one, other = getattr(model, name)(given), getattr(expected, name)(X)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    for name in ("score", "bic", "aic"):
        one, other = (
            getattr(m, name)(Y, sample_weight=sample_weight)
            for m, Y in ((model, given), (expected, X))
        )
        assert one == other
    labels = make().fit_predict(given, sample_weight=sample_weight)
    np.testing.assert_array_equal(labels, expected.predict(X))
    np.testing.assert_array_equal(model.impute(given), expected.impute(X))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [*FOREIGN, *INTEGERS])
def test_the_bits_are_those_of_the_plain_array(name: str, weighted: bool) -> None:
    given = {**FOREIGN, **INTEGERS}[name](data())
    X = np.array(check_X(given)[0])
    weight = np.random.RandomState(1).rand(N) if weighted else None
    is_ready = name == "masked"  # a masked array without a masked value is not converted
    assert isinstance(check_rows(given)[0], ForeignRows) != is_ready
    assert_same(given, X, weight)
    if not weighted and not is_ready:
        assert isinstance(check_rows(given, allow_nan=True)[0], ForeignRows)
        assert_same(given, X, missing="marginalize")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
def test_missing_values(name: str, weighted: bool) -> None:
    given = FOREIGN[name](data(missing=True))
    X = np.array(check_X(given, allow_nan=True)[0])
    weight = np.random.RandomState(1).rand(N) if weighted else None
    rows, _ = check_rows(given, allow_nan=True)
    assert isinstance(rows, ForeignRows) and rows.has_nan
    assert_same(given, X, weight, missing="marginalize")
    with pytest.raises(ValueError, match="Input X contains NaN|X has masked values"):
        GaussianMixture(K).fit(given)


def test_a_model_of_float64_converts_float32_by_parts() -> None:
    X = data(np.float32)
    model = GaussianMixture(K, random_state=0).fit(X.astype(np.float64))
    assert isinstance(model._rows(X), ForeignRows)
    for name in ("predict", "predict_proba", "score_samples", "score"):
        one, other = (getattr(model, name)(Y) for Y in (X, X.astype(np.float64)))
        np.testing.assert_array_equal(one, other)
    stream, other = (
        GaussianMixture.from_parameters(
            model.weights_, model.means_, covariances=model.covariances_
        ).partial_fit(Y) for Y in (X, X.astype(np.float64))
    )
    np.testing.assert_array_equal(stream.means_, other.means_)


@pytest.mark.parametrize("make", [np.asfortranarray, lambda X: pd.DataFrame(X, columns=NAMES)])
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_errors_name_the_first_bad_value(make: Any, value: float, what: str) -> None:
    X = data()
    X[29_000, 1:] = value
    X[29_500] = value
    model = GaussianMixture(K, random_state=0).fit(make(data()))
    before = dict(vars(model))
    methods = (model.predict, model.predict_proba, model.score_samples, model.score, model.bic)
    for call in (model.fit, model.fit_predict, *methods):
        with pytest.raises(ValueError, match=rf"X contains {what}[\s\S]* X\[29000, 1\]"):
            call(make(X))
    assert all(vars(model)[name] is value for name, value in before.items())


def test_errors_of_form_and_names() -> None:
    model = GaussianMixture(K, random_state=0).fit(pd.DataFrame(data(), columns=NAMES))
    with pytest.raises(ValueError, match="X has 2 features, but .* expecting 3"):
        GaussianMixture(K, random_state=0).fit(data()).predict(np.asfortranarray(data()[:, :2]))
    with pytest.raises(ValueError, match="Feature names unseen at fit time"):
        model.predict(pd.DataFrame(data(), columns=["a", "b", "other"]))
    with pytest.warns(UserWarning, match="X does not have valid feature names") as caught:
        model.predict(np.asfortranarray(data()))
    assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        GaussianMixture(1).fit(np.ones((1, 3), int))
    with pytest.raises(ValueError, match=r"its column 'b' has dtype"):
        model.fit(pd.DataFrame(data(), columns=NAMES).astype({"b": object}).assign(b="x"))
    with pytest.raises(ValueError, match=r"X\[29000\] has density 0"):
        X = data()
        X[29_000] = 1e200
        GaussianMixture(K, means_init=data()[:K], precisions_init=[np.eye(D)] * K,
                        weights_init=[0.5, 0.5]).fit(np.asfortranarray(X))


def test_checkpoints_are_those_of_the_plain_array(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = data()
    options = {"checkpoint": tmp_path / "state", "checkpoint_interval": 2, "max_iter": 4, "tol": 0}
    expected = GaussianMixture(K, random_state=0, max_iter=4, tol=0).fit(X)
    for given, other in ((X, np.asfortranarray(X)), (np.asfortranarray(X), X)):
        with monkeypatch.context() as patch:  # the first fit fails after the last iteration
            patch.setattr(passes.KernelPass, "mean_log_likelihood", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                GaussianMixture(K, random_state=0, **options).fit(given)
        assert options["checkpoint"].exists()
        resumed = GaussianMixture(K, random_state=0, **options).fit(other)
        np.testing.assert_array_equal(resumed.means_, expected.means_)


LIMITED = """
import json, resource, sys, threading, warnings
import numpy as np

def status(key):
    return int(next(l for l in open("/proc/self/status") if l.startswith(key)).split()[1]) << 10

def watch():
    while not done.wait(0.001):
        peak[0] = max(peak[0], status("RssAnon"))

from gmm_core import GaussianMixture

kind, limit, missing = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "missing"
n = 192 * 2**20 // 64
X = np.empty((8, n)).T
rng = np.random.RandomState(0)
for start in range(0, n, 100_000):
    part = X[start : start + 100_000]
    part[:] = np.round(100 * (rng.standard_normal(part.shape) + 5 * rng.randint(0, 3, (len(part), 1))))
if missing:
    X[::10, 3] = np.nan
if kind == "big-endian":
    X = X.astype(">f8", order="C")
elif kind == "int32":
    X = X.astype(np.int32, order="C")
elif kind == "strides":
    X = np.repeat(X, 2, axis=1)[:, ::2]
elif kind == "pandas":
    import pandas
    X = pandas.DataFrame(X, columns=list("abcdefgh"), copy=False)
    X["c"] = X["c"].astype(np.float32)
    X.iloc[:10].to_numpy(float)
elif kind == "pyarrow":
    import pyarrow
    X = pyarrow.table(dict(zip("abcdefgh", X.T)))
np.linalg.eigvalsh(np.eye(50))      # NumPy's BLAS takes its own memory when it is first used
warnings.simplefilter("ignore")
before, peak, done = status("RssAnon"), [0], threading.Event()
resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + limit,) * 2)
thread = threading.Thread(target=watch)
thread.start()
try:
    if kind == "copy":
        np.ascontiguousarray(X)
    model = GaussianMixture(4, max_iter=2, tol=0, random_state=0, n_threads=2, missing="marginalize")
    model.fit(X)
    model.score(X)
    model.predict(X[:n // 4] if hasattr(X, "dtype") else X)
finally:
    done.set()
    thread.join()
print("PEAK", peak[0] - before)
"""


def limited(kind: str, limit: int, missing: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", LIMITED, kind, str(limit), missing]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


needs_proc = pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_DATA and /proc are Linux's"
)


@needs_proc
@pytest.mark.parametrize(
    "kind", ["columns first", "big-endian", "int32", "strides", "pandas", "pyarrow"]
)
def test_large_data_are_not_copied(kind: str) -> None:
    # The data have 192 MB. The limit allows 128 MB more, which include the stacks and arenas of threads.
    made = limited(kind, 128 * MB)
    assert made.returncode == 0, made.stderr
    assert int(re.search(r"PEAK (\d+)", made.stdout)[1]) < 64 * MB  # type: ignore[index]


@needs_proc
def test_large_data_with_missing_values_are_not_copied() -> None:
    made = limited("columns first", 128 * MB, "missing")
    assert made.returncode == 0, made.stderr
    assert int(re.search(r"PEAK (\d+)", made.stdout)[1]) < 96 * MB  # type: ignore[index]


@needs_proc
def test_a_copy_exceeds_the_limit() -> None:
    made = limited("copy", 128 * MB)
    assert made.returncode == 1 and "MemoryError" in made.stderr


def test_data_are_treated_alike_below_and_above_the_limit_of_a_copy(monkeypatch):
    """Integers with nulls, which NumPy converts to float32, become float64; one sample is refused."""
    values = np.random.default_rng(0).integers(-99, 99, size=(3000, 2)).astype(np.int16)
    frame = pl.DataFrame({"a": [*values[:-4, 0].tolist(), *[None] * 4], "b": values[:, 1]})
    frame = frame.with_columns(pl.col("a").cast(pl.Int16))
    models = []
    for limit in (1 << 25, 100):
        monkeypatch.setattr(foreign, "_MAX_COPY_BYTES", limit)
        models.append(GaussianMixture(2, random_state=0, missing="marginalize").fit(frame))
        with pytest.raises(ValueError, match="minimum of 2 is required"):
            GaussianMixture(covariance_type="diag").fit(np.zeros((1, 50), np.int32))
    assert models[0].means_.dtype == models[1].means_.dtype == np.float64
    np.testing.assert_array_equal(models[0].means_, models[1].means_)
