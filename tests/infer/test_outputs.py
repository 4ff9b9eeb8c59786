"""Tests that results for batches, maps and files are those of one array."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, GaussianMixture
from gmm_core.data import foreign

N, D, K = 2_000, 3, 3
CUTS = [0, 1, 60, 60, 61, 391, 1_500, 1_504, N]  # with an empty batch, and batches of one row
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)) + 4.0 * RNG.integers(K, size=(N, 1))
HOLED = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
HOLED[[0, 60], 1] = np.nan  # batches of one row
VARIANCES = RNG.uniform(0.1, 2, X.shape)
COVARIANCES = VARIANCES[:, :, None] * np.eye(D) + 0.05
TYPES = ["full", "tied", "diag", "spherical", "VEV"]
METHODS = ["predict", "predict_proba", "score_samples", "noise_proba", "impute"]
WITH_NOISE = ["predict", "predict_proba", "score_samples", "denoise"]

Batches = list[Any]


def model(covariance_type: str = "full", dtype: Any = np.float64, **params: Any) -> GaussianMixture:
    made = GaussianMixture(
        K, covariance_type=covariance_type, random_state=0, max_iter=3, tol=1, **params
    )
    return made.fit(X.astype(dtype))


def cut(*arrays: np.ndarray) -> Batches:
    rows = [slice(*pair) for pair in zip(CUTS, CUTS[1:], strict=False)]
    if len(arrays) == 1:
        return [arrays[0][part] for part in rows]
    return [(arrays[0][part], None, arrays[1][part]) for part in rows]


def assert_same(actual: Any, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == expected.dtype


def check(method: Callable[..., Any], batches: Batches, expected: np.ndarray, path: Path) -> None:
    """Compare what a method makes of batches: an iterator, an array, a file."""
    made = method(iter(batches))
    assert isinstance(made, Iterator)
    parts = list(made)
    assert [len(part) for part in parts] == list(np.diff(CUTS))
    assert_same(np.concatenate(parts), expected)
    out = np.empty_like(expected)
    assert method(lambda: batches, out=out) is out
    assert_same(out, expected)
    result = method(batches, out=path)
    assert isinstance(result, np.memmap)
    assert_same(result, expected)
    assert_same(np.load(path), expected)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:Best performing")
class TestBatchesHaveTheBitsOfOneArray:
    def test_samples(self, covariance_type: str, dtype: Any, tmp_path: Path) -> None:
        made = model(covariance_type, dtype)
        data = X.astype(dtype)
        for name in METHODS:
            method = getattr(made, name)
            check(method, cut(data), method(data), tmp_path / "out.npy")

    def test_missing_values(self, covariance_type: str, dtype: Any, tmp_path: Path) -> None:
        made = model(covariance_type, dtype, missing="marginalize")
        data = HOLED.astype(dtype)
        for name in ("predict", "predict_proba", "score_samples", "impute"):
            method = getattr(made, name)
            batches = [batch for batch in cut(data) if np.isnan(batch).any() or not len(batch)]
            used = np.concatenate(batches)
            parts = list(method(batches))
            assert_same(np.concatenate(parts), method(used))
        check(made.impute, cut(data), made.impute(data), tmp_path / "out.npy")

    def test_noise(self, covariance_type: str, dtype: Any, tmp_path: Path) -> None:
        made = model(covariance_type, dtype, missing="marginalize")
        for data in (X.astype(dtype), HOLED.astype(dtype)):
            for noise in (VARIANCES, COVARIANCES):
                for name in WITH_NOISE:
                    method = getattr(made, name)
                    check(method, cut(data, noise), method(data, noise), tmp_path / "out.npy")
            mean, cov = made.denoise(data, COVARIANCES, return_cov=True)
            means, covs = zip(*made.denoise(cut(data, COVARIANCES), return_cov=True), strict=True)
            assert_same(np.concatenate(means), mean)
            assert_same(np.concatenate(covs), cov)


def test_a_batch_without_missing_values_agrees_up_to_rounding() -> None:
    """Its rows are evaluated as if no other rows lacked values."""
    data = np.concatenate([X[:500], HOLED[:500]])
    made = model(missing="marginalize")
    scores = np.concatenate(list(made.score_samples([data[:500], data[500:]])))
    # both sum D squares and K densities in another order: a few roundings of terms of this size
    terms = 100 * np.finfo(float).eps * (1 + abs(made.score_samples(data)))
    assert (abs(scores - made.score_samples(data)) <= terms).all()


@pytest.mark.parametrize("name", ["predict", "predict_proba", "score_samples"])
@pytest.mark.filterwarnings("ignore:Best performing")
def test_bayesian_mixtures(name: str, tmp_path: Path) -> None:
    made = BayesianGaussianMixture(n_components=K, random_state=0, max_iter=3).fit(X)
    method = getattr(made, name)
    check(method, cut(X), method(X), tmp_path / "out.npy")
    assert made.score(cut(X)) == made.score(X)
    for use in (made.score, lambda batches: list(method(batches))):
        with pytest.raises(ValueError, match="batch 0: .* does not take a noise_covariance"):
            use(cut(X, VARIANCES))


def test_the_noise_component(tmp_path: Path) -> None:
    made = GaussianMixture(K, random_state=0, noise=True).fit(np.vstack([X, 30 * RNG.random((50, D))]))
    for name in METHODS[:4]:
        method = getattr(made, name)
        check(method, cut(X), method(X), tmp_path / "out.npy")
    assert (made.noise_proba(X) > 0).all()


def test_weights_have_no_effect() -> None:
    made = model()
    weighted = [(batch, np.ones(len(batch))) for batch in cut(X)]
    np.testing.assert_array_equal(np.concatenate(list(made.predict(weighted))), made.predict(X))


def test_datasets_of_parquet_files(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="tests data sets of pyarrow")
    from pyarrow import dataset, parquet

    table = pyarrow.table(dict(zip("abc", X.T, strict=True)))
    for i in range(4):
        parquet.write_table(table.slice(500 * i, 500), tmp_path / f"{i}.parquet", row_group_size=99)
    named = GaussianMixture(K, random_state=0).fit(table)
    data = dataset.dataset(tmp_path, format="parquet")
    for name in ("predict", "predict_proba", "score_samples", "impute"):
        method = getattr(named, name)
        np.testing.assert_array_equal(np.concatenate(list(method(data))), method(table))
        np.testing.assert_array_equal(method(data, out=tmp_path / "out.npy"), method(table))
    with pytest.raises(ValueError, match=r"batch 0: The feature names should match"):
        named.predict(dataset.dataset(tmp_path / "0.parquet").scanner(columns=["b", "a", "c"]),
                      out=tmp_path / "out.npy")  # fmt: skip


# --- arrays and maps --------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_arrays_with_out(name: str, tmp_path: Path) -> None:
    method = getattr(model(), name)
    expected = method(X)
    for data in (X, X.tolist(), np.asfortranarray(X)):
        out = np.zeros_like(expected)
        assert method(data, out=out) is out
        assert_same(out, expected)
        assert_same(method(data, out=str(tmp_path / "out.npy")), expected)
    mapped = np.lib.format.open_memmap(
        tmp_path / "map.npy", "w+", expected.dtype, expected.shape
    )
    assert method(X, out=mapped) is mapped
    mapped.flush()
    assert_same(np.load(tmp_path / "map.npy"), expected)


@pytest.mark.parametrize("dtype", [">f8", "<f4", "<i2"])
def test_maps_are_converted_in_parts(dtype: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Methods return the bits of an array in memory, and convert no more than a part of the map."""
    np.save(tmp_path / "X.npy", (X if dtype != "<i2" else 8 * X).astype(dtype))
    np.save(tmp_path / "holes.npy", HOLED.astype(dtype.replace("<i2", ">f8")))
    np.save(tmp_path / "S.npy", VARIANCES.astype(">f8"))
    mapped, holes, noise = (
        np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("X", "holes", "S")
    )
    made = model(missing="marginalize")
    uses = [
        *((getattr(made, name), mapped, ()) for name in METHODS),
        *((getattr(made, name), mapped, (noise,)) for name in WITH_NOISE),
        (made.impute, holes, ()), (made.impute, holes, (True,)),
        (made.denoise, holes, (noise,)), (made.score, mapped, (None, None, noise)),
    ]  # fmt: skip
    expected = [use(np.array(data), *args) for use, data, args in uses]
    both = made.denoise(holes, noise, return_cov=True)
    monkeypatch.setattr(foreign, "_MAX_COPY_BYTES", 100)
    monkeypatch.setattr(foreign, "_PART_BYTES", 8 * D * 300)
    largest = 0

    def copied(part: Any, out: Any) -> None:
        nonlocal largest
        largest = max(largest, len(out))
        out[...] = part

    monkeypatch.setattr(foreign, "_copy", copied)
    for (use, data, args), wanted in zip(uses, expected, strict=True):
        np.testing.assert_array_equal(use(data, *args), wanted)
        if use != made.score:
            np.testing.assert_array_equal(use(data, *args, out=tmp_path / "out.npy"), wanted)
    for part, wanted in zip(made.denoise(holes, noise, return_cov=True), both, strict=True):
        np.testing.assert_array_equal(part, wanted)
    assert largest == 300
    bad = np.array(noise)
    bad[1_000, 1] = -1
    with pytest.raises(ValueError, match=r"noise_covariance\[1000\] has a negative variance"):
        made.denoise(mapped, bad)


# --- imputation -------------------------------------------------------------------------------


def test_draws_go_on_from_batch_to_batch() -> None:
    made = model().set_params(random_state=5)
    batches = cut(HOLED)
    drawn, again = (list(made.impute(batches, sample=True)) for _ in range(2))
    np.testing.assert_array_equal(np.concatenate(drawn), np.concatenate(again))
    one_by_one = made.set_params(random_state=np.random.RandomState(5))
    for batch, result in zip(batches, drawn, strict=True):
        if len(batch):
            np.testing.assert_array_equal(one_by_one.impute(batch, sample=True), result)


def test_a_far_row_does_not_change_the_others() -> None:
    """Rows whose density is 0 are imputed by another algorithm, but they alone."""
    made, data = model(), HOLED.copy()
    expected = made.impute(data)
    data[7] = [np.nan, 1e200, 0]
    filled = made.impute(data)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(np.delete(filled, 7, 0), np.delete(expected, 7, 0))


# --- memory and errors ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["predict_proba", "impute"])
@pytest.mark.parametrize("to", ["iterator", "file"])
def test_memory_is_that_of_a_batch(name: str, to: str, tmp_path: Path) -> None:
    part = np.tile(HOLED, (25, 1))
    method = getattr(model(missing="marginalize"), name)
    tracemalloc.start()  # it counts the arrays of NumPy, too
    try:
        if to == "file":
            assert len(method((part.copy() for _ in range(20)), out=tmp_path / "out.npy")) == 20 * len(part)
        else:
            assert sum(map(len, method(part.copy() for _ in range(20)))) == 20 * len(part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # two batches and two results, as one is in use while the next is made, and patterns of missing values
    assert peak < 8 * part.nbytes < 20 * part.nbytes / 2


@pytest.mark.parametrize("name", [*METHODS, "denoise"])
def test_errors_at_the_call(name: str, tmp_path: Path) -> None:
    """No batch is read before the model and `out` have been checked."""

    def never() -> Iterator[np.ndarray]:
        raise AssertionError("a batch was read")
        yield X

    with pytest.raises(ValueError, match="not fitted"):
        getattr(GaussianMixture(), name)(never())
    method = getattr(model(), name)
    with pytest.raises(TypeError, match="out is of type list, expected an ndarray or the name"):
        method(never(), out=[1])
    with pytest.raises(ValueError, match=r"out is 'out.txt', expected .* that ends in \.npy"):
        method(never(), out="out.txt")
    with pytest.raises(ValueError, match=r"out has shape \(5, 2, 2\) and dtype float64, expected"):
        method(never(), out=np.empty((5, 2, 2)))
    with pytest.raises(ValueError, match=r"out has shape .* and dtype int8, expected"):
        method(never(), out=np.empty((5, 3), np.int8))
    with pytest.raises(OSError, match="the results could not be written"):
        method(never(), out=tmp_path / "none" / "out.npy")
    with pytest.raises(TypeError, match=r"batches .* has type int"):
        method(lambda: 3)


def bad_value() -> Iterator[np.ndarray]:
    yield X[:100]
    yield np.where(X > 6, np.inf, X)


@pytest.mark.parametrize("name", METHODS)
def test_bad_batches(name: str, tmp_path: Path) -> None:
    method = getattr(model(), name)
    path = tmp_path / "out.npy"
    np.save(path, [1.0])
    made = method(bad_value())
    assert len(next(made)) == 100
    for use in (lambda: next(made), lambda: method(bad_value(), out=path)):
        with pytest.raises(ValueError, match=r"(?s)batch 1: .*infinity"):
            use()
    with pytest.raises(ValueError, match="batch 1: X has 2 features"):
        method([X[:5], X[:5, :2]], out=path)
    with pytest.raises(ValueError, match="batches have 0 rows in all"):
        method([X[:0]], out=path)
    with pytest.raises(KeyboardInterrupt):
        method(interrupted(), out=path)
    assert np.load(path).tolist() == [1.0]
    assert [file.name for file in tmp_path.iterdir()] == ["out.npy"]


def interrupted() -> Iterator[np.ndarray]:
    yield X
    raise KeyboardInterrupt


def test_arrays_of_a_wrong_form(tmp_path: Path) -> None:
    made = model()
    for n, message in ((N - 1, "batch 7: out has 1999 rows, but the batches have more"),
                       (N + 1, "out has 2001 rows, but the batches have 2000")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            made.predict(cut(X), out=np.empty(n, np.int64))
    with pytest.raises(ValueError, match=r"out has shape \(1999,\) .* expected \(2000,\) and int64"):
        made.predict(X, out=np.empty(N - 1, np.int64))
    with pytest.raises(ValueError, match="C-contiguous, aligned and writeable"):
        made.predict_proba(X, out=np.empty((K, N)).T)
    with pytest.raises(ValueError, match="out overlaps X"):
        made.impute(X, out=X)
    with pytest.raises(ValueError, match="out is for the means alone"):
        made.denoise(X, VARIANCES, return_cov=True, out=np.empty((N, D)))
    single = model(dtype=np.float32)
    mixed = [X[:5].astype(np.float32), X[5:]]
    with pytest.raises(ValueError, match=r"batch 1: the results have dtype float64 .* float32"):
        single.score_samples(mixed, out=tmp_path / "out.npy")
    with pytest.raises(ValueError, match="batch 1: out has .* dtype float32, expected .* float64"):
        single.score_samples(mixed, out=np.empty(N, np.float32))


def test_noise_of_batches() -> None:
    made = model()
    with pytest.raises(ValueError, match="noise_covariance is given for X in batches"):
        made.predict(cut(X), VARIANCES)
    with pytest.raises(ValueError, match="batch 0: denoise needs the noise_covariance"):
        list(made.denoise(cut(X)))
    for name in ("impute", "noise_proba"):
        with pytest.raises(ValueError, match=f"batch 0: {name} does not take a noise_covariance"):
            list(getattr(made, name)(cut(X, VARIANCES)))
