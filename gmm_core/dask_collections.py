"""What the estimators for Dask collections have in common: fits on a cluster, and lazy results.

A model here is an estimator of `dask.py` or `dask_bayesian.py`. Its method `_plain` returns the
model for the workers, with the attributes that their tasks read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

try:
    import dask
    import distributed
    from dask import array as da
except ImportError as error:
    raise ImportError(
        'gmm_core.dask needs dask and distributed: run pip install ".[dask]" in a clone of '
        f"gmm_core ({error})"
    ) from error

from gmm_core.core.errors import not_fitted_error
from gmm_core.core.info import build_info
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import AnyArray, FloatArray, Names
from gmm_core.core.warn import warn
from gmm_core.data.dask_pass import (
    DaskChunks,
    DaskPass,
    as_dask_array,
    check_total_weight,
    check_weight_shape,
    gather,
    has_unknown_chunks,
    known_chunks,
    naming_chunk,
    noise_collection,
    weights_array,
)
from gmm_core.data.measurement import NoiseRows, as_noise_rows, noise_shape_error, noisy_rows
from gmm_core.data.validation import check_enough_samples, check_sample_weight, check_X
from gmm_core.infer import score
from gmm_core.infer.score import Certainty, Score

_Method = Literal[
    "predict", "predict_proba", "noise_proba", "score_samples", "impute", "denoise",
    "log_predictive", "mahalanobis",
]
# The noise of a collection: that of each row, in the chunks of X, or one for all rows, or none.
_Noise: TypeAlias = "da.Array | NoiseRows | None"


def is_collection(X: Any) -> bool:
    """Return whether X is a Dask collection."""
    return bool(dask.is_dask_collection(X))


# --- fits ---------------------------------------------------------------------------------------


def chunks_on_workers(
    X: Any, sample_weight: Any, allow_nan: bool, noise_covariance: Any = None
) -> tuple[DaskChunks, Names | None, da.Array]:
    """Compute the chunks of a collection on the cluster of the current client, and check them.

    Parameters
    ----------
    X, sample_weight : object
    allow_nan : bool
        Whether NaN is allowed, as a missing value.
    noise_covariance : object, default=None

    Returns
    -------
    chunks : DaskChunks
    names : ndarray of shape (n_features,), object, or None
        The names of the features.
    array : dask.array.Array of shape (n_samples, n_features)
        The collection, chunked by rows only.
    """
    client = _current_client()
    array, dtype, names = _checked_collection(X)
    _check_workers(client)
    chunks = DaskChunks(client, array, sample_weight, dtype, allow_nan, noise_covariance)
    if chunks.totals.n_samples < 2:
        raise ValueError(f"X has {chunks.totals.n_samples} rows, at least 2 are needed")
    return chunks, names, array


def pass_over_chunks(
    chunks: DaskChunks, n_components: int, n_threads: int | None
) -> DaskPass:
    """Return a pass over chunks, which have enough samples for the components."""
    check_enough_samples(chunks.totals.n_present, n_components)
    return DaskPass(chunks, effective_n_threads(n_threads))


def _checked_collection(
    X: Any,
    n_features: int | None = None,
    feature_names: Names | None = None,
    estimator_name: str = "GaussianMixture",
) -> tuple[Any, np.dtype[Any], Names | None]:
    """Check a Dask collection.

    Returns
    -------
    array : dask.array.Array of shape (n_samples, n_features)
        The collection, chunked by rows only.
    dtype : dtype
        float32 or float64: the dtype of the rows in a fit.
    names : ndarray of shape (n_features,), object, or None
        The names of the features.
    """
    if isinstance(X, da.Array):
        if X.ndim == 2 and np.isnan(X.shape[1]):
            raise ValueError("X has an unknown number of features: call X.compute_chunk_sizes()")
        example: Any = np.empty((0, *X.shape[1:]), X.dtype)
    # The class is asked, because `hasattr` is true for every name on a Delayed object.
    elif hasattr(type(X), "to_dask_array"):
        example = X._meta
    else:  # Delayed, Bag
        raise TypeError(f"X is a {type(X).__name__}, expected a Dask array or data frame")
    like, names = check_X(
        example, n_features=n_features, feature_names=feature_names, min_samples=0,
        estimator_name=estimator_name,
    )  # fmt: skip
    array = as_dask_array(X)
    if array.numblocks[1] > 1:
        warn(
            f"X is chunked along the features, in {array.numblocks[1]} parts. It is rechunked, so "
            "that each chunk has whole rows."
        )
        array = array.rechunk({1: -1})
    return array, like.dtype, names


def _current_client() -> distributed.Client:
    """Return the client that a fit uses, or raise RuntimeError if no usable client runs."""
    advice = (
        "start one with distributed.Client(), for this machine, or with "
        "distributed.Client(scheduler_address)"
    )
    try:
        client = distributed.get_client()
    except ValueError as error:
        raise RuntimeError(
            f"fit of a Dask collection needs a client of distributed, and none is running: {advice}"
        ) from error
    if client.asynchronous:
        raise RuntimeError(
            "fit of a Dask collection cannot use an asynchronous client: call it in a thread "
            f"without an event loop, and {advice}"
        )
    if client.status != "running":
        raise RuntimeError(
            "fit of a Dask collection needs a running client, but the status of the current one is "
            f"{client.status!r}: {advice}"
        )
    return client


def _check_workers(client: distributed.Client) -> None:
    """Raise RuntimeError if a worker cannot import this version of gmm_core."""
    # Built-in functions are sent, as a worker without gmm_core could not unpickle one of gmm_core.
    code = "__import__('gmm_core').__version__"
    versions = client.run(eval, code, on_error="return")
    if not versions:  # an adaptive cluster starts a worker when there is a task
        gather(client, [client.submit(int, pure=False)])
        versions = client.run(eval, code, on_error="return")
    expected = build_info()["version"]
    for worker, version in versions.items():
        if isinstance(version, Exception):
            raise RuntimeError(f"worker {worker} cannot import gmm_core: {version}") from version
        if version != expected:
            raise RuntimeError(
                f"worker {worker} has gmm_core {version}, but the client has {expected}"
            )


# --- lazy results and scores --------------------------------------------------------------------


def as_rows(model: Any, X: Any) -> da.Array:
    """Return a collection as a Dask array, checked against the fitted features of a model."""
    if "means_" not in vars(model):
        raise not_fitted_error(type(model).__name__)
    names = vars(model).get("feature_names_in_")
    n_features = model._model().prepared.means.shape[1]
    return _checked_collection(X, n_features, names, type(model).__name__)[0]


def refuse_out(out: object) -> None:
    """Raise ValueError if results for a collection should go somewhere else than a Dask array."""
    if out is not None:
        raise ValueError(
            "out is for arrays and batches, but X is a Dask collection: write the lazy result with "
            "dask.array.store or to_zarr"
        )


def with_noise(rows: da.Array, noise_covariance: Any) -> tuple[da.Array, _Noise]:
    """Return the rows of a collection, with the lengths of their chunks if needed, and their noise.

    The lengths of chunks are computed if they are unknown and the noise cannot be divided as X is
    without them. Where X and the noise have as many chunks of unknown lengths, as after one filter
    of both, chunks of the same number belong together, and the tasks compare their lengths.
    """
    if noise_covariance is None:
        return rows, None
    D = rows.shape[1]
    if not is_collection(noise_covariance):
        unknown = has_unknown_chunks(rows)
        if unknown and np.shape(noise_covariance) != (D, D):
            rows, unknown = known_chunks(rows), False
        given = as_noise_rows(noise_covariance, None if unknown else rows.shape[0], D)
        if given.is_shared:
            noisy_rows(np.zeros((1, D)), given)  # checks the covariance
            return rows, given
        return rows, da.from_array(given.values, chunks=(rows.chunks[0], -1))
    noise = noise_collection(noise_covariance, rows)
    both_unknown = has_unknown_chunks(rows) and has_unknown_chunks(noise)
    if both_unknown and rows.numblocks[0] == noise.numblocks[0]:
        return rows, noise
    rows, noise = known_chunks(rows), known_chunks(noise)
    if noise.shape[0] != rows.shape[0]:
        raise noise_shape_error(noise.shape, rows.shape[0], D)
    return rows, noise.rechunk({0: rows.chunks[0]})


def lazy(
    model: Any, X: da.Array, method: _Method, meta: AnyArray, noise: _Noise = None, **options: Any
) -> da.Array:
    """Return a lazy array of the results of a method for the chunks.

    `meta` is the result for a chunk without rows. The method gets the noise, if there is any, and
    the options.
    """
    columns = {"drop_axis": 1} if meta.ndim == 1 else {"chunks": (X.chunks[0], meta.shape[1:])}
    return _map_chunks(
        _apply, X, noise, model=dask.delayed(model._plain()), method=method, empty=meta,
        options=options, name=f"gmm_core-{method}-{dask.base.tokenize(object())}", meta=meta,
        **columns,
    )  # fmt: skip


def _map_chunks(function: Any, X: da.Array, noise: _Noise, **common: Any) -> da.Array:
    """Return the array of the results of a function for the chunks and their noise."""
    if isinstance(noise, da.Array):
        return X.map_blocks(function, noise, **common)
    return X.map_blocks(function, noise=dask.delayed(noise, traverse=False), **common)


def lazy_by_row(model: Any, X: da.Array, method: _Method, noise: _Noise = None) -> da.Array:
    """Return a lazy array of the results of a method, one for each row, in `result_dtype`."""
    return lazy(model, X, method, np.empty(0, result_dtype(model, X)), noise)


def result_dtype(model: Any, X: da.Array) -> np.dtype[Any]:
    """Return the dtype of the methods' results: float32 if X and the means have it."""
    both_float32 = X.dtype == np.float32 == np.asarray(model.means_).dtype
    return np.dtype(np.float32 if both_float32 else np.float64)


def score_of_collection(
    model: Any,
    X: Any,
    sample_weight: Any,
    certainty: Certainty | None = None,
    noise_covariance: Any = None,
) -> Score:
    """Return the score of the samples of a collection; see `infer.score.score`."""
    X, noise = with_noise(as_rows(model, X), noise_covariance)
    if sample_weight is not None:
        if dask.is_dask_collection(sample_weight):
            sample_weight = weights_array(sample_weight)
            unknown = has_unknown_chunks(X) or has_unknown_chunks(sample_weight)
        else:
            unknown = has_unknown_chunks(X) and np.ndim(sample_weight) > 0
        if unknown:
            if certainty is None:
                rows = lazy_by_row(model, X, "score_samples", noise)
            else:
                rows = _map_chunks(
                    _with_certainty, X, noise, model=dask.delayed(model._plain()),
                    certainty=certainty, chunks=(X.chunks[0], (2,)), meta=np.empty((0, 2)),
                )  # fmt: skip
            return _score_by_rows(rows, sample_weight)
    n_chunks = X.numblocks[0]
    weights: Any = [sample_weight] * n_chunks  # None, or the weight of every row
    if np.ndim(sample_weight) > 0:
        weights = _delayed_chunks(_weights_like(X, sample_weight))
    of_rows: Any = [dask.delayed(noise, traverse=False)] * n_chunks
    if isinstance(noise, da.Array):
        of_rows = _delayed_chunks(noise)
    plain = dask.delayed(model._plain())
    score_chunk = dask.delayed(_score, pure=False)
    tasks = (
        score_chunk(plain, i, x, w, certainty, s)
        for i, (x, w, s) in enumerate(zip(_delayed_chunks(X), weights, of_rows, strict=True))
    )
    return _combined(dask.compute(*tasks))


def _score_by_rows(values: da.Array, sample_weight: Any) -> Score:
    """Return the score of the samples if lengths of chunks are unknown.

    The chunks of X and of the weights can be aligned only when their lengths are known. The
    log-likelihood of each row, or what `_with_certainty` returns, is kept until then, so that
    the rows are computed only once.
    """
    if dask.is_dask_collection(sample_weight):
        values, sample_weight = dask.persist(values, sample_weight)
    else:
        (values,) = dask.persist(values)
    values = known_chunks(values)
    parts = _delayed_chunks(values)
    weights = _delayed_chunks(_weights_like(values, sample_weight))
    score_values = dask.delayed(_score_of_values, pure=False)
    pairs = enumerate(zip(parts, weights, strict=True))
    return _combined(dask.compute(*(score_values(i, x, w) for i, (x, w) in pairs)))


class _ChunkScore(NamedTuple):
    """The score of a chunk and its number of rows.

    Attributes
    ----------
    score : Score
        Its weight is 0 if all rows of the chunk have the weight 0.
    n_samples : int
    """

    score: Score
    n_samples: int


def _combined(parts: Sequence[_ChunkScore]) -> Score:
    """Combine the scores of all chunks into that of X."""
    if not sum(part.n_samples for part in parts):
        raise ValueError("X has 0 rows, at least 1 is needed")
    scores = [part.score for part in parts]
    total = sum(part.weight for part in scores)
    check_total_weight(total)
    mean = sum(s.mean * (s.weight / total) for s in scores if s.weight)
    return Score(mean, float(total), sum(s.uncertainty for s in scores))


def _delayed_chunks(array: da.Array) -> Any:
    """Return the chunks of an array as delayed values.

    The graph is not optimised: that would give different names to tasks which two arrays have in
    common, so that these tasks would run twice.
    """
    return array.to_delayed(optimize_graph=False).ravel()


def _weights_like(X: da.Array, sample_weight: Any) -> da.Array:
    """Return the weights as a Dask array with the chunks of X, whose lengths are known."""
    n = sum(X.chunks[0])
    if dask.is_dask_collection(sample_weight):
        weights = known_chunks(sample_weight)
        check_weight_shape(weights, n)
        return weights.rechunk((X.chunks[0],))
    return da.from_array(check_sample_weight(sample_weight, n), chunks=(X.chunks[0],))


# --- tasks of the workers ---------------------------------------------------------------------


def _apply(
    chunk: Any,
    noise: Any,
    model: Any,
    method: _Method,
    empty: AnyArray,
    options: dict[str, Any],
    block_id: tuple[int, ...] = (0,),
) -> AnyArray:
    """Return the result of a method of the model for a chunk, and `empty` for one without rows.

    Dask passes the indices of the chunk as `block_id`. A tuple of results becomes one array, with
    the results for a row side by side.
    """
    if not len(chunk):
        return empty
    arguments = [chunk] if noise is None else [chunk, _noise_rows(noise)]
    with naming_chunk(block_id[0]):
        result = getattr(model, method)(*arguments, **options)
    if isinstance(result, tuple):
        return np.hstack([part.reshape(len(chunk), -1) for part in result])
    made: AnyArray = result
    return made


def _noise_rows(noise: Any) -> NoiseRows:
    """Return the noise of a chunk, which is that of each row if it is an array."""
    return noise if isinstance(noise, NoiseRows) else NoiseRows(noise, False)


def _checked_rows(model: Any, chunk: Any, noise: Any) -> Any:
    """Return the rows of a chunk and their noise as the functions of `infer.score` take them."""
    return model._rows(chunk) if noise is None else model._noisy(chunk, _noise_rows(noise))


def _with_certainty(
    chunk: Any,
    noise: Any,
    model: Any,
    certainty: Certainty,
    block_id: tuple[int, ...] = (0,),
) -> AnyArray:
    """Return, for each row of a chunk, its log-likelihood and its term of `log_certainties`."""
    if not len(chunk):
        return np.empty((0, 2))
    with naming_chunk(block_id[0]):
        rows = _checked_rows(model, chunk, noise)
        values = score.with_certainty(rows, model._model(), certainty)
    return np.stack(values, axis=1)


def _score(
    model: Any,
    i: int,
    chunk: Any,
    sample_weight: Any,
    certainty: Certainty | None,
    noise: Any,
) -> _ChunkScore:
    """Return the score of chunk i."""
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, len(chunk), may_be_zero=True)
        if not len(chunk) or (weight is not None and not weight.any()):
            return _ChunkScore(Score(0.0, 0.0), len(chunk))
        rows = _checked_rows(model, chunk, noise)
        scored = score.score(rows, model._model(), weight, certainty)
        return _ChunkScore(scored, len(chunk))


def _score_of_values(i: int, values: FloatArray, sample_weight: Any) -> _ChunkScore:
    """Return the score of chunk i from the values of its rows; see `_score_by_rows`."""
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, len(values), may_be_zero=True)
    assert weight is not None
    if not weight.any():
        return _ChunkScore(Score(0.0, 0.0), len(values))
    uncertainty = 0.0
    if values.ndim == 2:
        uncertainty = -2 * float(weight @ values[:, 1])
        values = values[:, 0]
    mean = score.weighted_mean(values, weight)
    return _ChunkScore(Score(mean, float(weight.sum()), uncertainty), len(values))
