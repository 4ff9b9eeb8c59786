"""Tests that fits and lazy results of Dask collections equal those of arrays."""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import cloudpickle
import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client

import gmm_core
from gmm_core.dask import GaussianMixture
from gmm_core.data import subset
from gmm_core.data.dask_pass import DaskChunks, DaskPass
from gmm_core.fit import run

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no alarm, and no SIGKILL"),
    pytest.mark.filterwarnings("ignore:Best performing"),
    # distributed leaves a socket open when it looks for its own address
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
all_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it

N, D, K = 12_000, 3, 3
EXACT = {"random_state": 0, "tol": 0.0, "max_iter": 8}


def arrays(model: Any) -> list[np.ndarray]:
    return [model.weights_, model.means_, model.covariances_, model.precisions_cholesky_]


def bits(model: Any) -> list[bytes]:
    return [a.tobytes() for a in arrays(model)] + [np.array(model.lower_bounds_).tobytes()]


def assert_close(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    assert got.n_iter_ == expected.n_iter_
    for a, b in zip(arrays(got), arrays(expected), strict=True):
        assert a.dtype == b.dtype
        assert abs(a - b).max() <= tolerance * abs(b).max()


# ---- the same as fit -----------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("weights", [None, "NumPy", "dask"])
def test_same_as_fit(
    covariance_type: str, weights: str | None, X: np.ndarray, weight: np.ndarray, client: Client
) -> None:
    expected = gmm_core.GaussianMixture(K, covariance_type=covariance_type, **EXACT)
    expected.fit(X, sample_weight=None if weights is None else weight)
    given = {None: None, "NumPy": weight, "dask": da.from_array(weight, chunks=1700)}[weights]
    model = GaussianMixture(K, covariance_type=covariance_type, **EXACT)
    assert model.fit(da.from_array(X, chunks=(2500, D)), sample_weight=given) is model
    assert_close(model, expected)
    assert model.lower_bound_ == pytest.approx(expected.lower_bound_, rel=1e-12)
    assert model.n_features_in_ == D and not hasattr(model, "feature_names_in_")


def test_noise(X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    weight = np.where(np.arange(N) < 5, 0, weight)  # the ranges are those of the other rows
    X = np.where(np.arange(N)[:, None] < 5, 1e3, X)
    expected = gmm_core.GaussianMixture(K, noise=True, **EXACT).fit(X, sample_weight=weight)
    x = da.from_array(X, chunks=(2500, D))
    model = GaussianMixture(K, noise=True, **EXACT).fit(x, sample_weight=weight)
    assert_close(model, expected)
    assert model.noise_log_density_ == pytest.approx(expected.noise_log_density_, rel=1e-12)
    for method in ("predict", "noise_proba", "score_samples"):
        lazy = getattr(model, method)(x)
        assert isinstance(lazy, da.Array)
        np.testing.assert_allclose(lazy.compute(), getattr(expected, method)(X), rtol=1e-9)
    assert model.bic(x) == pytest.approx(expected.bic(X), rel=1e-12)
    assert model.icl(x) == pytest.approx(expected.icl(X), rel=1e-9)


@all_types
def test_float32_stays_float32(covariance_type: str, X: np.ndarray, client: Client) -> None:
    """The results differ by a few roundings in float32, because sums have another order."""
    small = X.astype(np.float32)
    model = GaussianMixture(K, covariance_type=covariance_type, **EXACT)
    model.fit(da.from_array(small, chunks=(2500, D)))
    expected = gmm_core.GaussianMixture(K, covariance_type=covariance_type, **EXACT).fit(small)
    assert_close(model, expected, 100 * np.finfo(np.float32).eps)


def test_other_numbers_become_float64(client: Client) -> None:
    integers = np.random.default_rng(0).integers(0, 50, size=(900, 2)).astype(np.int16)
    model = GaussianMixture(2, **EXACT).fit(da.from_array(integers, chunks=(200, 2)))
    assert_close(model, gmm_core.GaussianMixture(2, **EXACT).fit(integers))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [2, 7, 500])
def test_the_subset_for_the_start_is_that_of_fit(
    weighted: bool,
    size: int,
    X: np.ndarray,
    weight: np.ndarray,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows from which the start is found are bit-identical to those of an array.

    Weights of 1e-300 are so small beside the others that they round to 0.
    """
    w = weight * np.where(np.arange(N) % 5 == 0, 1e-300, 1) * 1e10 if weighted else None
    drawn: list[np.ndarray] = []
    for owner in (run.ArrayPass, DaskPass):
        original = owner.rows_for_start

        def record(self: Any, *arguments: Any, original: Any = original) -> Any:
            drawn.append(original(self, *arguments).X)
            return original(self, *arguments)

        monkeypatch.setattr(owner, "rows_for_start", record)
    params = {"init_size": size, "random_state": 3, "max_iter": 0}
    chunks = ((1, 0, 5000, 4999, 2000), D)
    gmm_core.GaussianMixture(1, **params).fit(X, sample_weight=w)
    GaussianMixture(1, **params).fit(da.from_array(X, chunks=chunks), sample_weight=w)
    assert drawn[0].shape == (size, D)
    assert drawn[0].tobytes() == drawn[1].tobytes()


def test_cursor_goes_on_where_another_stopped(weight: np.ndarray) -> None:
    positions = subset.draw_positions(1000, np.random.RandomState(0))
    for w in (weight, np.empty(0)):
        totals = subset.NO_ROWS.and_rows(N, w)
        scaled = np.ldexp(w, -totals.exponent)
        whole = subset.Cursor(positions, totals).advance(N, scaled)
        parts, before = [], subset.NO_ROWS
        for start, stop in ((0, 1), (1, 70), (70, 70), (70, 9000), (9000, N)):
            cursor = subset.Cursor(positions, totals, before)
            parts.append(start + cursor.advance(stop - start, scaled[start:stop]))
            before = before.and_rows(stop - start, w[start:stop]) if stop > start else before
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n_init", [1, 2])
@pytest.mark.parametrize("init_params", ["random", "k-means++", "random_from_data"])
def test_other_starts(init_params: str, n_init: int, X: np.ndarray, client: Client) -> None:
    params = {"init_params": init_params, "n_init": n_init, "init_size": 2000, **EXACT}
    expected = gmm_core.GaussianMixture(K, **params).fit(X)
    model = GaussianMixture(K, **params).fit(da.from_array(X, chunks=(5000, D)))
    # these starts are far from the optimum, so that the iterations amplify rounding errors
    assert_close(model, expected, 1e-10)
    assert len(model.restarts_) == n_init


def test_short_runs_and_swaps(X: np.ndarray, client: Client) -> None:
    params = {"n_short": 4, "n_init": 2, "n_swaps": 3, "init_size": 2000, **EXACT}
    expected = gmm_core.GaussianMixture(K, **params).fit(X)
    model = GaussianMixture(K, **params).fit(da.from_array(X, chunks=(5000, D)))
    assert_close(model, expected, 1e-10)
    assert len(model.restarts_) == 2


@pytest.mark.parametrize("method", ["squarem", "lbfgs"])
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_acceleration(method: Any, covariance_type: Any, X: np.ndarray, client: Client) -> None:
    params: Any = {"covariance_type": covariance_type, "init_size": 2000, "tol": 1e-8,
                   "max_iter": 2000, "random_state": 0, "reg_covar": 0}  # fmt: skip
    plain = gmm_core.GaussianMixture(K + 1, **params).fit(X)
    params["acceleration"] = method
    expected = gmm_core.GaussianMixture(K + 1, **params).fit(X)
    model = GaussianMixture(K + 1, **params).fit(da.from_array(X, chunks=(5000, D)))
    assert model.converged_ and model.n_iter_ < plain.n_iter_
    # rounding decides when a trial is kept, so that only the optimum is the same
    assert model.lower_bound_ == pytest.approx(expected.lower_bound_, abs=1e-6)


# ---- chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param((N, D), id="one"),
        pytest.param(((1, 2, 6997, 0, 4000, 1000), D), id="uneven"),
        pytest.param(((0, 0, 6000, 0, 6000, 0), D), id="empty"),
    ],
)
def test_chunks(chunks: Any, X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(X, sample_weight=weight)
    rows = da.from_array(X, chunks=chunks)
    assert_close(GaussianMixture(K, **EXACT).fit(rows, sample_weight=weight), expected)
    np.testing.assert_array_equal(
        expected.predict(X), GaussianMixture.predict(as_dask(expected), rows).compute()
    )
    model = as_dask(expected)
    assert model.score(rows) == pytest.approx(expected.score(X), rel=1e-12)
    assert model.score(rows, sample_weight=weight) == pytest.approx(
        expected.score(X, sample_weight=weight), rel=1e-12
    )


def as_dask(model: gmm_core.GaussianMixture) -> GaussianMixture:
    return GaussianMixture.from_parameters(
        model.weights_, model.means_, covariances=model.covariances_,
        covariance_type=model.covariance_type,
    )


def test_more_chunks_than_rows(client: Client) -> None:
    X = np.random.default_rng(0).normal(size=(12, 2))
    chunks = (tuple(int(i % 2 == 0) for i in range(24)), 2)
    model = GaussianMixture(2, **EXACT).fit(da.from_array(X, chunks=chunks))
    assert_close(model, gmm_core.GaussianMixture(2, **EXACT).fit(X))


def test_chunks_of_unknown_length(X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    """After a filter the lengths of the chunks are unknown, also in the user's array after a fit."""
    keep = X[:, 0] > 1
    all_rows, all_weights = da.from_array(X, chunks=(2500, D)), da.from_array(weight, chunks=1700)
    rows, weights = all_rows[all_rows[:, 0] > 1], all_weights[da.from_array(keep, chunks=1700)]
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(X[keep], sample_weight=weight[keep])
    model = GaussianMixture(K, **EXACT).fit(rows, sample_weight=weights)
    assert_close(model, expected)
    assert np.isnan(rows.shape[0]) and np.isnan(weights.shape[0])
    assert model.score(rows, sample_weight=weights) == pytest.approx(
        expected.score(X[keep], sample_weight=weight[keep]), rel=1e-12
    )
    np.testing.assert_array_equal(model.predict(rows).compute(), model.predict(X[keep]))


def test_chunks_along_features(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(X, chunks=(5000, 2))
    with pytest.warns(UserWarning, match="chunked along the features, in 2 parts"):
        model = GaussianMixture(K, **EXACT).fit(rows)
    assert_close(model, gmm_core.GaussianMixture(K, **EXACT).fit(X))
    with pytest.warns(UserWarning, match="chunked along the features"):
        labels = model.predict(rows)
    np.testing.assert_array_equal(labels.compute(), model.predict(X))


def test_views_of_other_order(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(np.asfortranarray(X), chunks=(5000, D))[::2, ::-1]
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(X[::2, ::-1])
    assert_close(GaussianMixture(K, **EXACT).fit(rows), expected)


def test_persisted_data_stay_where_they_are(X: np.ndarray, client: Client) -> None:
    rows = client.persist(da.from_array(X, chunks=(5000, D)))
    before = set(client.futures)
    model = GaussianMixture(K, **EXACT).fit(rows)
    end = time.monotonic() + 10  # a thread of the client drops the futures of the fit
    while set(client.futures) != before and time.monotonic() < end:
        time.sleep(0.02)
    assert set(client.futures) == before  # no copy is kept, and no data of the user are dropped
    assert model.predict(rows).compute().shape == (N,)


# ---- data frames ---------------------------------------------------------------------------------


def test_data_frames(X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(w=weight)
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(
        frame[["a", "b", "c"]], sample_weight=weight
    )
    table = dd.from_pandas(frame, npartitions=5)
    rows = table[["a", "b", "c"]]
    model = GaussianMixture(K, **EXACT).fit(rows, sample_weight=table["w"])
    assert_close(model, expected)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(
        model.predict(rows).compute(), expected.predict(frame[["a", "b", "c"]])
    )
    assert model.score(rows, sample_weight=table["w"]) == pytest.approx(
        expected.score(frame[["a", "b", "c"]], sample_weight=weight), rel=1e-12
    )
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[["a", "c", "b"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(rows.to_dask_array(lengths=True))


def test_data_frame_of_float32_and_of_mixed_columns(X: np.ndarray, client: Client) -> None:
    frame = pd.DataFrame(X.astype(np.float32), columns=list("abc"))
    model = GaussianMixture(K, **EXACT).fit(dd.from_pandas(frame, npartitions=3))
    assert model.means_.dtype == np.float32
    frame["a"] = (10 * frame["a"]).astype(int)
    model.fit(dd.from_pandas(frame, npartitions=3))
    assert_close(model, gmm_core.GaussianMixture(K, **EXACT).fit(frame))


# ---- lazy results --------------------------------------------------------------------------------


def test_results_are_lazy_and_need_no_client(X: np.ndarray) -> None:
    loaded: list[int] = []

    def load(block: np.ndarray) -> np.ndarray:
        loaded.append(len(block))
        return block

    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    rows = da.from_array(X, chunks=(5000, D)).map_blocks(load, dtype=X.dtype, meta=X[:0])
    lazy = [model.predict(rows), model.predict_proba(rows), model.score_samples(rows)]
    assert not loaded
    assert [type(a) for a in lazy] == [da.Array] * 3
    assert [a.shape for a in lazy] == [(N,), (N, K), (N,)]
    assert [a.chunks[0] for a in lazy] == [rows.chunks[0]] * 3
    expected = [model.predict(X), model.predict_proba(X), model.score_samples(X)]
    for a, b in zip(dask.compute(*lazy, scheduler="synchronous"), expected, strict=True):
        assert isinstance(b, np.ndarray) and a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert [a.dtype for a in lazy] == [b.dtype for b in expected]
    with dask.config.set(scheduler="synchronous"):
        assert model.score(rows) == pytest.approx(model.score(X), rel=1e-12)
        assert model.bic(rows) == pytest.approx(model.bic(X), rel=1e-12)
        assert model.aic(rows) == pytest.approx(model.aic(X), rel=1e-12)


@pytest.mark.parametrize("certainty", ["map", "entropy"])
def test_icl(certainty: Any, X: np.ndarray) -> None:
    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    rows, weight = da.from_array(X, chunks=(5000, D)), np.random.default_rng(0).uniform(size=N)
    kept = rows[rows[:, 0] > -np.inf]  # chunks of unknown lengths
    with dask.config.set(scheduler="synchronous"):
        for collection in (rows, kept):
            expected = model.icl(X, certainty=certainty)
            found = model.icl(collection, certainty=certainty)
            assert found == pytest.approx(expected, rel=1e-12)
            expected = model.icl(X, weight, certainty)
            for given in (weight, da.from_array(weight, chunks=3000)):
                found = model.icl(collection, given, certainty)
                assert found == pytest.approx(expected, rel=1e-12)
        with pytest.raises(ValueError, match="certainty should be 'map' or 'entropy', but got 3"):
            model.icl(rows, certainty=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_icl_computes_the_collection_once(weighted: bool, known: bool, X: np.ndarray) -> None:
    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    computed = []

    def read(block: np.ndarray) -> np.ndarray:
        computed.append(len(block))
        return block

    rows = da.from_array(X, chunks=(5000, D)).map_blocks(read, meta=X[:0])
    if not known:
        rows = rows[rows[:, 0] > -np.inf]
    weight = np.linspace(0, 1, N) if weighted else None
    with dask.config.set(scheduler="synchronous"):
        model.icl(rows, weight)
    assert sorted(computed) == [2000, 5000, 5000]


@pytest.mark.parametrize("model_type", [np.float32, np.float64])
@pytest.mark.parametrize("data_type", [np.float32, np.float64, np.int32])
def test_dtypes_of_results(model_type: Any, data_type: Any, X: np.ndarray) -> None:
    fitted = gmm_core.GaussianMixture(K, **EXACT).fit(X.astype(model_type))
    model = as_dask(fitted)
    data = X.astype(data_type)
    rows = da.from_array(data, chunks=(5000, D))
    for method in ("predict", "predict_proba", "score_samples"):
        lazy = getattr(model, method)(rows)
        expected = getattr(model, method)(data)
        computed = lazy.compute(scheduler="synchronous")
        assert lazy.dtype == computed.dtype == expected.dtype
        np.testing.assert_array_equal(computed, expected)


def test_fit_predict(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(X, chunks=(5000, D))
    labels = GaussianMixture(K, **EXACT).fit_predict(rows)
    assert isinstance(labels, da.Array)
    np.testing.assert_array_equal(
        labels.compute(), gmm_core.GaussianMixture(K, **EXACT).fit_predict(X)
    )


def test_sample_far_from_all_components(X: np.ndarray) -> None:
    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    far = np.concatenate([X[:10], np.full((1, D), 1e200)])
    rows = da.from_array(far, chunks=(4, D))
    with dask.config.set(scheduler="synchronous"):
        assert model.score(rows) == -np.inf
        w = np.ones(11)
        w[-1] = 0
        assert model.score(rows, sample_weight=w) == pytest.approx(model.score(X[:10]), rel=1e-12)


def test_numpy_needs_no_cluster(X: np.ndarray) -> None:
    assert bits(GaussianMixture(K, **EXACT).fit(X)) == bits(
        gmm_core.GaussianMixture(K, **EXACT).fit(X)
    )


# ---- errors --------------------------------------------------------------------------------------


def bad_inputs() -> Iterator[Any]:
    good = np.random.default_rng(0).normal(size=(100, 2))
    spoilt = good.copy()
    spoilt[77, 1] = np.nan
    negative = np.ones(100)
    negative[60] = -1
    rows = da.from_array(good, chunks=(30, 2))
    yield pytest.param(
        da.from_array(spoilt, chunks=(30, 2)),
        None,
        "chunk 2 of X: (.|\\n)*NaN(.|\\n)*X\\[17, 1\\]",
        id="NaN",
    )
    text = da.from_array(np.array([["1", "x"]] * 9, dtype=object), chunks=(3, 2))
    yield pytest.param(text, None, "chunk . of X: .*could not convert", id="text")
    yield pytest.param(rows[:, 0], None, "Expected 2D array", id="1D")
    yield pytest.param(rows[:1], None, "1 rows, at least 2", id="one row")
    yield pytest.param(rows[:0], None, "0 rows, at least 2", id="no row")
    yield pytest.param(rows[:2], None, "n_samples", id="fewer rows than components")
    yield pytest.param(
        rows, np.ones(99), r"sample_weight.shape == \(99,\), expected \(100,\)", id="99 weights"
    )
    yield pytest.param(
        rows,
        da.ones(99, chunks=30),
        r"sample_weight.shape == \(99,\), expected \(100,\)",
        id="99 weights of dask",
    )
    yield pytest.param(rows, negative, "Negative values", id="negative weight")
    yield pytest.param(
        rows,
        da.from_array(negative, chunks=9),
        "chunk 2 of X: Negative values",
        id="negative weight of dask",
    )
    zero = "Sample weights must contain at least one non-zero number"
    yield pytest.param(rows, da.zeros(100, chunks=30), zero, id="no weight")
    yield pytest.param(rows, np.zeros(100), zero, id="no weight in NumPy")
    yield pytest.param(
        rows, da.full(100, 1e307, chunks=30), "sum of sample_weight is too large", id="huge weights"
    )
    yield pytest.param(rows, rows, "sample_weight has 2 dimensions", id="2D weights")
    masked = da.ma.masked_array(rows, mask=da.from_array(np.isnan(spoilt), chunks=(30, 2)))
    message = r"chunk 2 of X: X has masked values, the first is X\[17, 1\]"
    yield pytest.param(masked, None, message, id="masked")
    yield pytest.param(masked.astype(np.int64), None, message, id="masked integers")
    yield pytest.param(
        rows,
        da.ma.masked_array(da.ones(100, chunks=25), mask=da.from_array(negative < 0, chunks=25)),
        "chunk 2 of X: sample_weight has masked values",
        id="masked weight",
    )
    wrong = rows.map_blocks(lambda block: block[:, :1], dtype=np.float64, meta=good[:0])
    yield pytest.param(
        wrong,
        None,
        "chunk . of X: X has 1 features, .* 2 features",
        id="another width than declared",
    )


@pytest.mark.parametrize(("rows", "weights", "message"), list(bad_inputs()))
def test_bad_input(rows: Any, weights: Any, message: str, client: Client) -> None:
    model = GaussianMixture(3, **EXACT).fit(np.random.default_rng(0).normal(size=(50, 4)))
    before = bits(model)
    with pytest.raises(ValueError, match=message):
        model.fit(rows, sample_weight=weights)
    assert bits(model) == before and model.n_features_in_ == 4


def test_bad_collections_and_models(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(X, chunks=(5000, D))
    with pytest.raises(TypeError, match="expected a Dask array or data frame"):
        GaussianMixture(K).fit(dask.delayed(X))
    with pytest.raises(ValueError, match="n_components"):
        GaussianMixture(0).fit(rows)
    with pytest.raises(Exception, match="not fitted yet"):
        GaussianMixture(K).predict(rows)
    model = GaussianMixture(K, **EXACT).fit(rows)
    for method in (model.predict, model.predict_proba, model.score_samples, model.score):
        with pytest.raises(ValueError, match="X has 2 features, .* expecting 3 features"):
            method(rows[:, :2])
    with pytest.raises(ValueError, match="sample_weight.shape"):
        model.score(rows, sample_weight=np.ones(3))
    for method in (model.fit, model.score):
        with pytest.raises(TypeError, match="sample_weight is a Delayed.*, expected"):
            method(rows, sample_weight=dask.delayed(np.ones(N)))


def test_missing_values_are_refused_by_fit(X: np.ndarray, client: Client) -> None:
    spoilt = X.copy()
    spoilt[5001, 2] = np.nan
    with pytest.raises(ValueError, match=r"chunk 1 of X: .*NaN(.|\n)*marginalize.* X\[1, 2\]"):
        GaussianMixture(K).fit(da.from_array(spoilt, chunks=(5000, D)))


def test_bad_rows_in_lazy_results(X: np.ndarray) -> None:
    """Errors of scores and of lazy results name the chunk.

    With missing="marginalize", masked values are treated like NaN.
    """
    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    hidden = np.zeros(X.shape, bool)
    hidden[5001, 2] = True
    incomplete = np.where(hidden, np.nan, X)
    masked = da.ma.masked_array(
        da.from_array(X, chunks=(5000, D)), mask=da.from_array(hidden, chunks=(5000, D))
    )
    unmasked = da.ma.masked_array(da.from_array(X, chunks=(5000, D)), mask=False)
    methods = ("predict", "predict_proba", "score_samples", "score")
    with dask.config.set(scheduler="synchronous"):
        for name in methods:
            method = getattr(model, name)
            with pytest.raises(ValueError, match="chunk 1 of X: X has masked values"):
                np.asarray(method(masked))
            with pytest.raises(ValueError, match="chunk 1 of X: Input X contains NaN"):
                np.asarray(method(da.from_array(incomplete, chunks=(5000, D))))
            np.testing.assert_allclose(method(unmasked), method(X), rtol=1e-12)
        weights = da.ma.masked_array(da.ones(N, chunks=5000), mask=masked_weights(hidden))
        for rows in (unmasked, unmasked[unmasked[:, 0] > -np.inf]):
            with pytest.raises(ValueError, match="chunk 1 of X: sample_weight has masked values"):
                model.score(rows, sample_weight=weights)
        model.set_params(missing="marginalize")
        for name in methods:
            method = getattr(model, name)
            np.testing.assert_allclose(method(masked), method(incomplete), rtol=1e-12)
        np.testing.assert_array_equal(model.impute(masked), model.impute(incomplete))


def masked_weights(hidden: np.ndarray) -> Any:
    return da.from_array(hidden.any(axis=1), chunks=5000)


def test_score_of_no_rows(X: np.ndarray) -> None:
    model = as_dask(gmm_core.GaussianMixture(K, **EXACT).fit(X))
    rows = da.from_array(X, chunks=(5000, D))
    none = rows[rows[:, 0] > 1e9]
    with dask.config.set(scheduler="synchronous"):
        for weights in (None, none[:, 0]):
            with pytest.raises(ValueError, match="X has 0 rows"):
                model.score(none, sample_weight=weights)
        with pytest.raises(ValueError, match="at least one non-zero number"):
            model.score(rows, sample_weight=da.zeros(N, chunks=5000))


@all_types
@pytest.mark.parametrize("absent", ["scattered", "whole chunks", "first chunk", "middle"])
def test_weight_0_is_absence(
    covariance_type: str, absent: str, X: np.ndarray, weight: np.ndarray, client: Client
) -> None:
    """Rows of weight 0 do not change the fit from a given start, wherever they stand."""
    row = np.arange(N)
    gone = {
        "scattered": row % 3 == 0,
        "whole chunks": row // 1000 % 2 == 0,
        "first chunk": row < 1000,
        "middle": (row > 300) & (row < 9500),
    }[absent]
    spoilt = np.where(gone[:, None], X + 1000, X)
    w = np.where(gone, 0, weight + 0.1)
    variance = {"full": np.array([np.eye(D)] * K), "tied": np.eye(D)}
    variance |= {"diag": np.ones((K, D)), "spherical": np.ones(K)}
    params = EXACT | {
        "covariance_type": covariance_type,
        "weights_init": np.full(K, 1 / K),
        "means_init": X[:K],
        "precisions_init": variance[covariance_type],
    }
    model = GaussianMixture(K, **params)
    model.fit(da.from_array(spoilt, chunks=(1000, D)), sample_weight=w)
    expected = GaussianMixture(K, **params)
    expected.fit(da.from_array(X[~gone], chunks=(1000, D)), sample_weight=w[~gone])
    assert_close(model, expected)
    assert_close(model, gmm_core.GaussianMixture(K, **params).fit(X[~gone], sample_weight=w[~gone]))


def test_failing_numerics_name_the_row(X: np.ndarray, client: Client) -> None:
    """The error names a row without density by its number in X, not by that in its chunk."""
    far = X.copy()
    far[9000] = 1e200
    means = X[:K].copy()
    model = GaussianMixture(
        K,
        weights_init=np.full(K, 1 / K),
        means_init=means,
        precisions_init=np.array([np.eye(D)] * K),
    )
    with pytest.raises(ValueError, match=r"X\[9000\] has density 0"):
        model.fit(da.from_array(far, chunks=(2500, D)))
    assert not hasattr(model, "means_")


def test_rows_and_checksum_of_chunks(X: np.ndarray, weight: np.ndarray, client: Client) -> None:
    """`rows` collects all rows of X in order, and the checksum equals that of one array."""
    rows = da.from_array(X, chunks=(2500, D))
    for w in (None, weight):
        chunks = DaskChunks(client, rows, w, X.dtype)
        made, made_weight, *_ = chunks.rows(len(X), None)
        assert made.tobytes() == X.tobytes()
        scaled = None if w is None else np.ldexp(w, -chunks.totals.exponent)
        assert (made_weight is None) == (w is None)
        if w is not None:
            np.testing.assert_array_equal(made_weight, scaled)
        assert chunks.checksum() == run.ArrayPass(X, scaled, 1, "full", 1).checksum()


def test_import_of_the_package_imports_no_dask(run_python: Any) -> None:
    code = "show([name for name in sys.modules if name.split('.')[0] in ('dask', 'distributed')])"
    assert run_python(code) == []


def test_import_without_dask(run_python: Any) -> None:
    """The message says how to install Dask in a clone, because the package is on no index."""
    status, errors = run_python("sys.modules['dask'] = None; import gmm_core.dask")
    assert status == 1 and 'run pip install ".[dask]" in a clone' in errors


def test_fit_predict_that_fails_leaves_the_model_as_it_was(
    X: np.ndarray, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gmm_core.dask.lazy", interrupted)
    model = GaussianMixture(2, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit_predict(da.from_array(X, chunks=(5000, D)))
    assert not hasattr(model, "means_")
