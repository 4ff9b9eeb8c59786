"""Tests that fit_batches is bit-identical to `fit` on all batches together."""

import tracemalloc

import dask.array
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from gmm_core import GaussianMixture

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_cholesky_")
TYPES = ("full", "tied", "diag", "spherical")
pytestmark = pytest.mark.filterwarnings("ignore:Best performing")
N, D, K = 30_000, 3, 3  # about two chunks of rows


def data(dtype=np.float64, n=N):
    rng = np.random.RandomState(0)
    return (rng.randn(n, D) + 6 * rng.randint(0, K, (n, 1))).astype(dtype)


def cut(array, sizes):
    """Cut an array into parts of these sizes, which are repeated until the array ends."""
    parts, start = [], 0
    while start < len(array):
        size = sizes[len(parts) % len(sizes)]
        parts.append(array[start : start + size])
        start += size
    return parts


def model(**params):
    return GaussianMixture(**{"n_components": K, "random_state": 0, "max_iter": 4, **params})


def assert_same(one, other):
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.lower_bounds_ == other.lower_bounds_ and one.lower_bound_ == other.lower_bound_
    assert one.restarts_ == other.restarts_


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("sizes", [[1000], [7, 20_001, 0, 13], [N]])
@pytest.mark.parametrize("init_size", [None, 500])
def test_the_bits_are_those_of_one_array(covariance_type, sizes, init_size):
    X = data()
    params = {"covariance_type": covariance_type, "init_size": init_size}
    assert_same(model(**params).fit_batches(cut(X, sizes)), model(**params).fit(X))


@pytest.mark.parametrize("n_components", [2, 200])  # chunks of many rows, and of few
def test_batches_are_cut_and_joined_at_the_chunks(n_components):
    X = data(n=5_000)
    params = {"n_components": n_components, "max_iter": 1, "init_params": "random_from_data"}
    for n_threads in (1, 2):
        expected = model(**params, n_threads=n_threads).fit(X)
        for sizes in ([1], [511, 1], [4_999, 1]):
            if sizes == [1] and n_components > 2:
                continue
            assert_same(model(**params, n_threads=n_threads).fit_batches(cut(X, sizes)), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data", "hierarchical"])
def test_weights_types_and_starts(dtype, init_params):
    X, weight = data(dtype), np.random.RandomState(1).rand(N) * 1e12
    weight[::7] = 0
    params = {"init_params": init_params, "n_init": 2, "init_size": 2_000}
    sizes = [5_000, 3]
    pairs = list(zip(cut(X, sizes), cut(weight, sizes), strict=True))
    batched = model(**params).fit_batches(pairs)
    assert_same(batched, model(**params).fit(X, sample_weight=weight))
    assert batched.means_.dtype == dtype
    assert batched.n_samples_seen_ == pytest.approx(weight.sum(), rel=N * np.finfo(float).eps)


def incomplete(X):
    return np.where(np.random.RandomState(2).rand(*X.shape) < 0.2, np.nan, X).astype(X.dtype)


def noise_of(X, kind):
    """Return the noise of each row, in arrays that are cut as X is."""
    rng = np.random.RandomState(3)
    if kind == "variances":
        return rng.rand(*X.shape)
    if kind == "covariances":
        A = 0.5 * rng.randn(len(X), D, D)
        return np.einsum("nij,nkj->nik", A, A)
    return np.broadcast_to(0.3 + np.eye(D), (len(X), D, D))


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("noise", [None, "variances", "covariances", "one covariance"])
def test_rows_with_missing_values_and_noise(tmp_path, covariance_type, noise):
    """The rows are several chunks, which batches do not respect."""
    dtype = np.float32 if noise == "variances" else np.float64
    X, weight = incomplete(data(dtype)), np.random.RandomState(1).rand(N)
    weight[::7] = 0
    params = {
        "covariance_type": covariance_type, "missing": "marginalize", "init_size": 2_000,
        "n_components": 12, "max_iter": 2,
    }  # fmt: skip
    S = None if noise is None else noise_of(X, noise)
    expected = model(**params, n_threads=1).fit(X, sample_weight=weight, noise_covariance=S)
    assert expected.means_.dtype == dtype
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for n_threads, sizes in ((1, [7, 20_001, 0, 13]), (2, [11_000]), (7, [N])):
        of_map = model(**params, n_threads=n_threads)
        assert_same(of_map.fit(mapped, sample_weight=weight, noise_covariance=S), expected)
        columns = [cut(X, sizes), cut(weight, sizes)] + ([] if S is None else [cut(S, sizes)])
        batches = list(zip(*columns, strict=True))
        batched = model(**params, n_threads=n_threads).fit_batches(batches)
        assert_same(batched, expected)
    bic = expected.bic(X, sample_weight=weight, noise_covariance=S)
    assert batched.bic(iter(batches)) == bic


def test_bad_missing_values_and_noise():
    X, S = incomplete(data(n=200)), np.ones((200, D))
    indefinite = np.broadcast_to(np.eye(D), (50, D, D)).copy()
    indefinite[7] = np.diag([1.0, -1.0, 1.0])
    fitted = model(missing="marginalize")
    for batches, message in (
        ([(X[:150], None, S[:150]), (X[150:], None, S[:49])], "batch 1: noise_covariance has shape"),
        ([(X[:150], None, S[:150]), X[150:]], "all batches should have a noise_covariance"),
        (
            [(X[:150], None, indefinite[np.zeros(150, int)]), (X[150:], None, indefinite)],
            r"batch 1: noise_covariance\[7\] ",
        ),
        ([np.full((9, D), np.nan)], r"X\[:, 0\] has no value"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.fit_batches(batches)
    changing = iter([np.nan_to_num(X), np.nan_to_num(X), X])
    with pytest.raises(ValueError, match="missing values in this pass, but none had any in the first"):
        fitted.fit_batches(lambda: [next(changing)])
    with pytest.raises(ValueError, match="noise=True takes neither missing values"):
        model(missing="marginalize", noise=True).fit_batches([X])


def test_float32_and_float64_together_are_float64():
    X = data()
    X[:100] = X[:100].astype(np.float32)
    batches = [X[:100].astype(np.float32), X[100:]]
    assert_same(model().fit_batches(batches), model().fit(X))


def test_warm_starts_and_given_parameters():
    X = data()
    given = {"weights_init": np.full(K, 1 / K), "means_init": X[:K], "precisions_init": [np.eye(D)] * K}
    assert_same(model(**given).fit_batches([X]), model(**given).fit(X))
    warm = model(warm_start=True).fit(X)
    other = model(warm_start=True).fit_batches([X])
    assert_same(other.fit_batches(cut(X, [1_234])), warm.fit(X))


def test_a_callable_opens_the_batches_for_each_pass():
    X = data()
    passes = []

    def read():
        passes.append(0)
        for part in cut(X, [10_000]):
            passes[-1] += len(part)
            yield part

    fitted = model(max_iter=3, tol=0).fit_batches(read)
    # one pass checks the data, one finds the start, three are iterations, and one finds the
    # log-likelihood at the end
    assert passes == [N] * 6
    assert_same(fitted, model(max_iter=3, tol=0).fit(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_datasets_of_pyarrow(tmp_path, dtype):
    X = data(dtype)
    table = pa.table({name: X[:, d] for d, name in enumerate("abc")})
    pa.parquet.write_table(table.slice(0, 20_000), tmp_path / "0.parquet", row_group_size=3_000)
    pa.parquet.write_table(table.slice(20_000), tmp_path / "1.parquet")
    expected = model().fit(X)
    with pa.parquet.ParquetFile(tmp_path / "0.parquet") as file:
        assert_same(model().fit_batches(file), model().fit(X[:20_000]))
    for source in (pa.dataset.dataset(tmp_path), table):
        fitted = model().fit_batches(source)
        assert_same(fitted, expected)
        assert list(fitted.feature_names_in_) == list("abc")
        assert fitted.means_.dtype == dtype


def test_progress_is_printed_in_rows(capsys, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("gmm_core.data.batches.time.monotonic", lambda: next(clock))
    model(verbose=2, max_iter=1).fit_batches(cut(data(), [10_000]))
    assert "  20000 rows seen" in capsys.readouterr().out


def test_memory_is_that_of_a_batch():
    """The memory does not grow with the number of batches, which may be made one by one."""
    part = data(n=100_000)
    tracemalloc.start()  # it counts the arrays of NumPy, too
    try:
        model(max_iter=2, tol=0, init_size=5_000).fit_batches(
            lambda: (part.copy() for _ in range(40))
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # the buffer takes 8 MB at most (for up to eight threads); one batch is in use while the next is made
    assert peak < 8 * 2**20 + 3 * part.nbytes < 40 * part.nbytes / 4


def test_empty_batches_do_not_count():
    X = data(np.float32)
    weight = np.full(N, 1e-60)  # unless it is scaled, it is 0 in float32
    expected = model().fit(X, sample_weight=weight)
    for batches in ([(X, weight), X[:0]], [(X[:0], weight[:0]), (X, weight)], [X[:0], (X, weight)]):
        assert_same(model().fit_batches(batches), expected)


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        (lambda X: [], ValueError, "batches have 0 rows in all"),
        (lambda X: [X[:1]], ValueError, "batches have 1 rows in all"),
        (lambda X: [X[:0], X[:0]], ValueError, "batches have 0 rows in all"),
        (lambda X: iter([X]), ValueError, "only once"),
        (lambda X: (x for x in [X]), ValueError, "only once"),
        (lambda X: X, ValueError, "is one array of shape"),
        (lambda X: pl.DataFrame(X), ValueError, "is one array of shape"),
        (dask.array.from_array, TypeError, r"batches is a Dask collection.*gmm_core\.dask"),
        (lambda X: [X, dask.array.from_array(X)], TypeError, "batch 1: X is a Dask collection"),
        (lambda X: [np.ma.masked_less(X, 0)], ValueError, r"batch 0: X has masked values.*X\["),
        (lambda X: [(X, np.ma.ones(N) / 0)], ValueError, "batch 0: sample_weight has masked"),
        (lambda X: "data.parquet", TypeError, "has type str"),
        (lambda X: {"X": X}, TypeError, "has type dict"),
        (lambda X: 7, TypeError, "has type int"),
        (lambda X: lambda: 7, TypeError, "has type int"),
        (lambda X: [X, X[:, :2]], ValueError, "batch 1: X has 2 features"),
        (lambda X: [X, X[0]], ValueError, "batch 1: Expected 2D array"),
        (lambda X: [X, [["a", "b", "c"]]], ValueError, "batch 1: "),
        (lambda X: [X, np.full((2, D), np.nan)], ValueError, r"(?s)batch 1: .*NaN.*X\[0, 0\]"),
        (lambda X: [X, X + np.inf], ValueError, "batch 1: .*infinity"),
        (lambda X: [(X, np.ones(3))], ValueError, "batch 0: sample_weight.shape"),
        (lambda X: [(X, -np.ones(N))], ValueError, "batch 0: Negative"),
        (lambda X: [(X, np.zeros(N))], ValueError, "sum of sample_weight is 0.0"),
        (lambda X: [(X, np.ones(N)), X], ValueError, "some batches have a sample_weight"),
        (lambda X: [X, (X, np.ones(N))], ValueError, "some batches have a sample_weight"),
        (lambda X: [X[:2]], ValueError, "n_components = 3, n_samples = 2"),
    ],
)
def test_bad_batches(batches, error, message):
    X = data()
    fitted = model().fit(X)
    before = {name: getattr(fitted, name) for name in PARAMETERS}
    with pytest.raises(error, match=message) as caught:
        fitted.fit_batches(batches(X))
    assert caught.value.args[0].count("\n") < 3
    assert all(getattr(fitted, name) is value for name, value in before.items())


def test_more_components_than_memory():
    for call in (lambda gm: gm.fit(data()), lambda gm: gm.fit_batches([data()])):
        with pytest.raises(ValueError, match="n_components = 1000000000, n_samples = 30000"):
            call(GaussianMixture(10**9))


def test_batches_that_change_between_passes():
    X = data()
    sizes = iter([N, N, N // 2])
    fitted = model().fit(X)
    means = fitted.means_
    with pytest.raises(ValueError, match=f"first pass had {N} rows .*, this pass has {N // 2} rows"):
        fitted.fit_batches(lambda: [X[: next(sizes)]])
    assert fitted.means_ is means
    more = iter([1, 3, 3])
    with pytest.raises(ValueError, match=f"first pass had {N} rows .*, this pass has at least {2 * N} rows"):
        fitted.fit_batches(lambda: [X] * next(more))
    weights = iter([1.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=f"weight {1.0 * N}, this pass has {N} rows of total weight {2.0 * N}$"):
        fitted.fit_batches(lambda: [(X, next(weights) * np.ones(N))])
    once = iter([[(X, np.ones(N))], [X]])
    with pytest.raises(ValueError, match="must be the same in every pass"):
        fitted.fit_batches(lambda: next(once))
    empty = iter([[X], []])
    with pytest.raises(ValueError, match=f"first pass had {N} rows .*, this pass has 0 rows"):
        fitted.fit_batches(lambda: next(empty))


def test_an_empty_batch_does_not_make_float64_of_float32():
    single = data(np.float32)
    batches = [single[:999], np.empty((0, single.shape[1])), single[999:]]
    assert_same(model().fit_batches(batches), model().fit(single))


def test_batches_of_another_dtype_in_another_pass():
    X, single = data(), data(np.float32)
    fitted = model().fit(X)
    before = dict(vars(fitted))
    for first, later, message in (
        ([single], [X], "a batch has dtype float64 in this pass, but all batches had dtype float32"),
        ([single[:9], single[9:]], [single[:9], X[9:]], "a batch has dtype float64 in this pass"),
        ([X], [single], f"{N} rows .* have dtype float32 in this pass, but 0 rows had it in the first"),
        ([X], [X.astype(int)], f"{N} rows .* have dtype int64 in this pass, but 0 rows had it in the first"),
        ([X[:9], single[9:]], [single], f"{N} rows .* but {N - 9} rows had it in the first"),
        ([single[:9], X[9:]], [X[:-9], single[-9:], single[:1]], "must be the same in every pass"),
    ):
        passes = iter([first, later])
        with pytest.raises(ValueError, match=message):
            fitted.fit_batches(lambda passes=passes: next(passes))
        assert all(vars(fitted)[name] is value for name, value in before.items())
    # each pass may divide the same rows, of both dtypes, in another way
    cuts = iter([[9], [5000], [1, 20_000], [N]])

    def mixed():
        halves = single[:15_000], X[15_000:]
        return [part for half in halves for part in cut(half, next(cuts, [7_000]))]

    cast = np.concatenate([single[:15_000], X[15_000:]])
    assert_same(model().fit_batches(mixed), model().fit(cast))


def test_an_error_of_the_reader_is_passed_on():
    def read():
        yield data()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        model().fit_batches(read)


def test_a_warning_points_to_the_caller():
    with pytest.warns(UserWarning, match="did not converge") as caught:
        GaussianMixture(K, max_iter=1, random_state=0).fit_batches([data()])
    assert caught[0].filename == __file__
