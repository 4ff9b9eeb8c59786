"""Fit Gaussian mixtures to Dask collections, and apply them to such collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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

from gmm_core import __version__, mixture
from gmm_core._dask_pass import (
    DaskChunks,
    DaskPass,
    as_dask_array,
    check_total_weight,
    check_weight_shape,
    gather,
    has_unknown_chunks,
    known_chunks,
    naming_chunk,
    weights_array,
)
from gmm_core._threads import effective_n_threads
from gmm_core._warnings import warn
from gmm_core.frames import Names
from gmm_core.parameter_validation import check_enough_samples, check_parameters
from gmm_core.validation import (
    FloatArray,
    check_sample_weight,
    check_X,
    not_fitted_error,
)


class _Score(NamedTuple):
    """Mean log-likelihood, total weight and number of the rows of a chunk."""

    mean: float
    weight: float
    n_samples: int


class GaussianMixture(mixture.GaussianMixture):
    """A Gaussian mixture that also takes Dask arrays and data frames.

    The constructor and the attributes are those of `gmm_core.GaussianMixture`. Methods treat X that
    is not a Dask collection as that class does.

    `fit` and `fit_predict` of a collection run on the cluster of the current `distributed.Client`.
    The result agrees, up to rounding, with `gmm_core.GaussianMixture.fit` on the same rows. X and
    `sample_weight` may be Dask collections with any chunks; the weights may also be a NumPy array.
    The chunks are computed once and stay on the workers until the fit has ended; collections that
    are persisted already are used where they are. Each iteration sends the parameters to the
    workers, and sums of K·D² numbers to the client. Each chunk is a task of one thread, and
    `n_threads` is the number of threads for the client's own part of the work. To keep the workers
    busy, make several chunks for each of their threads, of some 10,000 rows or more. The bits of
    the result depend on the chunks, not on the number of workers or on their failures (if all
    processors have the same instruction sets). EM starts from the rows that `fit` would draw (see
    `init_size`); they are sent to the client. NaN and masked values are refused by `fit`, whatever
    `missing` is.

    If a worker dies, the scheduler computes the results again that were lost with it. The fit fails
    with the `KilledWorker` of distributed when the same task has killed four workers (the setting
    ``distributed.scheduler.allowed-failures`` changes that number). A cluster without workers makes
    the fit wait, with a warning, until one has started; an adaptive cluster starts workers when
    there are tasks.

    `predict`, `predict_proba` and `score_samples` of a collection return Dask arrays that have not
    been computed; they need no client. `score`, `bic` and `aic` return numbers, which are computed
    by the current scheduler of Dask. With weights, and an unknown number of rows in a chunk, these
    three keep the log-likelihood and the weight of each row until they return. The graph contains
    the model once.

    Raises
    ------
    RuntimeError
        From `fit`: if there is no client; if a worker has no gmm_core or another version; if the
        client is closed or restarted during the fit; if data or workers are lost repeatedly.
    ValueError, TypeError
        As from `gmm_core.GaussianMixture`, with the number of the chunk where that applies. The
        estimator is then as it was before.

    Warns
    -----
    UserWarning
        If X is chunked along the features and has to be rechunked, and if `fit` waits for a worker.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from gmm_core.dask import GaussianMixture
    >>> client = Client()  # doctest: +SKIP
    >>> X = da.random.default_rng(0).normal(size=(1_000_000, 8), chunks=(50_000, 8))
    >>> gm = GaussianMixture(4, random_state=0).fit(X)  # doctest: +SKIP
    >>> labels = gm.predict(X)  # doctest: +SKIP
    """

    def _fit_array(self, X: Any, sample_weight: Any) -> Any:
        if not dask.is_dask_collection(X):
            return super()._fit_array(X, sample_weight)
        check_parameters(self.get_params(), type(self).__name__)
        client = _current_client()
        array, dtype, names = _checked_collection(X)
        _check_workers(client)
        chunks = DaskChunks(client, array, sample_weight, dtype)
        if chunks.extent.n_samples < 2:
            raise ValueError(f"X has {chunks.extent.n_samples} rows, at least 2 are needed")
        check_enough_samples(chunks.extent.n_present, self.n_components)
        n_threads = effective_n_threads(self.n_threads)
        data = DaskPass(chunks, self.n_components, self.covariance_type, n_threads)
        self._fit_pass(data, chunks.extent, names)
        return array

    # --- what the public methods do with a collection ------------------------------------------

    def impute(self, X: Any, sample: bool = False) -> Any:
        """Fill missing values; see `gmm_core.GaussianMixture.impute`.

        The result for a collection is lazy, and `sample` must then be False.

        Parameters
        ----------
        X : array-like or dask collection of shape (n_samples, n_features)
        sample : bool, default=False

        Returns
        -------
        ndarray or dask array of shape (n_samples, n_features)
        """
        if not dask.is_dask_collection(X):
            return super().impute(X, sample)
        if sample:
            raise ValueError("sample=True needs an array, but X is a collection of dask")
        array = self._check_input(X)
        return self._lazy(array, "impute", np.empty((0, X.shape[1]), self._result_dtype(array)))

    def _check_input(self, X: Any, allow_nan: bool | None = None) -> Any:
        if not dask.is_dask_collection(X):
            return super()._check_input(X, allow_nan)
        if not self.__sklearn_is_fitted__():
            raise not_fitted_error(type(self).__name__)
        names = vars(self).get("feature_names_in_")
        return _checked_collection(X, self._parameters().means.shape[1], names)[0]

    def _labels(self, X: Any) -> Any:
        if not isinstance(X, da.Array):
            return super()._labels(X)
        return self._lazy(X, "predict", np.empty(0, np.int64))

    def _log_likelihood(self, X: Any) -> Any:
        if not isinstance(X, da.Array):
            return super()._log_likelihood(X)
        return self._lazy(X, "score_samples", np.empty(0, self._result_dtype(X)))

    def _responsibilities(self, X: Any, allow_nan: bool = False) -> Any:
        if not isinstance(X, da.Array):
            return super()._responsibilities(X, allow_nan)
        empty = np.empty((0, len(self.weights_)), self._result_dtype(X))
        return self._lazy(X, "predict_proba", empty), self._parameters()

    def _score(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        if not isinstance(X, da.Array):
            return super()._score(X, sample_weight)
        if sample_weight is not None:
            if dask.is_dask_collection(sample_weight):
                sample_weight = weights_array(sample_weight)
                unknown = has_unknown_chunks(X) or has_unknown_chunks(sample_weight)
            else:
                unknown = has_unknown_chunks(X) and np.ndim(sample_weight) > 0
            if unknown:
                return self._score_by_rows(X, sample_weight)
        n_chunks = X.numblocks[0]
        weights: Any = [sample_weight] * n_chunks  # None, or the weight of every row
        if np.ndim(sample_weight) > 0:
            weights = _delayed_chunks(_weights_like(X, sample_weight))
        model = dask.delayed(self._plain())
        score = dask.delayed(_score, pure=False)
        rows = _delayed_chunks(X)
        return _combined(
            dask.compute(
                *(score(model, i, x, w) for i, (x, w) in enumerate(zip(rows, weights, strict=True)))
            )
        )

    def _score_by_rows(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        """Return mean log-likelihood and total weight for chunks of unknown length.

        Chunks of X and of the weights can be aligned only once both are computed. What is kept
        until then is one log-likelihood for each row, so the rows themselves are computed once.
        """
        log_likelihood = self._log_likelihood(X)
        if dask.is_dask_collection(sample_weight):
            log_likelihood, sample_weight = dask.persist(log_likelihood, sample_weight)
        else:
            (log_likelihood,) = dask.persist(log_likelihood)
        log_likelihood = known_chunks(log_likelihood)
        parts = _delayed_chunks(log_likelihood)
        weights = _delayed_chunks(_weights_like(log_likelihood, sample_weight))
        mean = dask.delayed(_weighted_mean, pure=False)
        return _combined(
            dask.compute(
                *(mean(i, x, w) for i, (x, w) in enumerate(zip(parts, weights, strict=True)))
            )
        )

    def _lazy(self, X: Any, method: str, meta: Any) -> Any:
        """Return an array that calls the method for each chunk when it is computed."""
        columns = {"drop_axis": 1} if meta.ndim == 1 else {"chunks": (X.chunks[0], meta.shape[1:])}
        return X.map_blocks(
            _apply, model=dask.delayed(self._plain()), method=method, empty=meta,
            name=f"gmm_core-{method}-{dask.base.tokenize(object())}", meta=meta, **columns,
        )  # fmt: skip

    def _plain(self) -> mixture.GaussianMixture:
        """Return a model with the attributes that the workers' methods read, and one thread."""
        model = mixture.GaussianMixture(
            len(self.weights_), covariance_type=self.covariance_type, n_threads=1,
            missing=self.missing,
        )  # fmt: skip
        names = ("weights_", "means_", "precisions_cholesky_")
        vars(model).update({name: getattr(self, name) for name in names})
        return model

    def _result_dtype(self, X: Any) -> np.dtype[Any]:
        both_float32 = X.dtype == np.float32 == np.asarray(self.means_).dtype
        return np.dtype(np.float32 if both_float32 else np.float64)


def _checked_collection(
    X: Any, n_features: int | None = None, feature_names: Names | None = None
) -> tuple[Any, np.dtype[Any], Names | None]:
    """Return an array chunked by rows, the dtype to convert it to, and the feature names."""
    if isinstance(X, da.Array):
        if X.ndim == 2 and np.isnan(X.shape[1]):
            raise ValueError("X has an unknown number of features: call X.compute_chunk_sizes()")
        example: Any = np.empty((0, *X.shape[1:]), X.dtype)
    elif hasattr(type(X), "to_dask_array"):  # Delayed has any attribute
        example = X._meta
    else:  # Delayed, Bag
        raise TypeError(f"X is a {type(X).__name__}, expected a dask array or dask data frame")
    like, names = check_X(
        example, n_features=n_features, feature_names=feature_names, min_samples=0
    )
    array = as_dask_array(X)
    if array.numblocks[1] > 1:
        warn(
            f"X is chunked along the features, in {array.numblocks[1]} parts: it is rechunked, so "
            "that each chunk has whole rows"
        )
        array = array.rechunk({1: -1})
    return array, like.dtype, names


def _current_client() -> distributed.Client:
    advice = (
        "start one with distributed.Client(), for this machine, or with "
        "distributed.Client(scheduler_address)"
    )
    try:
        client = distributed.get_client()
    except ValueError as error:
        raise RuntimeError(
            f"fit of a dask collection needs a client of distributed, and none is running: {advice}"
        ) from error
    if client.asynchronous:
        raise RuntimeError(
            "fit of a dask collection cannot use an asynchronous client: call it in a thread "
            f"without an event loop, and {advice}"
        )
    if client.status != "running":
        raise RuntimeError(
            "fit of a dask collection needs a running client, but the status of the current one is "
            f"{client.status!r}: {advice}"
        )
    return client


def _check_workers(client: distributed.Client) -> None:
    # eval and int: a worker without gmm_core could not read a function of ours
    code = "__import__('gmm_core').__version__"
    versions = client.run(eval, code, on_error="return")
    if not versions:  # a task makes an adaptive cluster start a worker
        gather(client, [client.submit(int, pure=False)])
        versions = client.run(eval, code, on_error="return")
    for worker, version in versions.items():
        if isinstance(version, Exception):
            raise RuntimeError(f"worker {worker} cannot import gmm_core: {version}") from version
        if version != __version__:
            raise RuntimeError(
                f"worker {worker} has gmm_core {version}, but the client has {__version__}"
            )


def _combined(parts: Sequence[_Score]) -> tuple[float, float]:
    """Combine the scores of all chunks into the mean log-likelihood and total weight of X."""
    if not sum(part.n_samples for part in parts):
        raise ValueError("X has 0 rows, at least 1 is needed")
    total = sum(part.weight for part in parts)
    check_total_weight(total)
    return sum(part.mean * (part.weight / total) for part in parts if part.weight), float(total)


def _delayed_chunks(array: Any) -> Any:
    # Optimized, tasks that two arrays have in common would get different names, and run twice.
    return array.to_delayed(optimize_graph=False).ravel()


def _weights_like(X: Any, sample_weight: Any) -> Any:
    """Return the weights as a dask array with the chunks of X, whose lengths are known."""
    n = sum(X.chunks[0])
    if dask.is_dask_collection(sample_weight):
        weights = known_chunks(sample_weight)
        check_weight_shape(weights, n)
        return weights.rechunk((X.chunks[0],))
    return da.from_array(check_sample_weight(sample_weight, n), chunks=(X.chunks[0],))


# --- on the workers -------------------------------------------------------------------------------


def _apply(
    chunk: Any,
    model: mixture.GaussianMixture,
    method: str,
    empty: Any,
    block_id: tuple[int, ...] = (0,),
) -> Any:
    if not len(chunk):
        return empty
    with naming_chunk(block_id[0]):
        return getattr(model, method)(chunk)


def _score(model: mixture.GaussianMixture, i: int, chunk: Any, sample_weight: Any) -> _Score:
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, len(chunk), may_be_zero=True)
        if not len(chunk) or (weight is not None and not weight.any()):
            return _Score(0.0, 0.0, len(chunk))
        return _Score(*model._score(model._check_input(chunk), weight), len(chunk))


def _weighted_mean(i: int, log_likelihood: FloatArray, sample_weight: Any) -> _Score:
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, len(log_likelihood), may_be_zero=True)
    assert weight is not None
    present = weight > 0  # 0 times -inf would be NaN
    total = float(weight.sum())
    shares = weight[present] / total
    mean = float((shares * log_likelihood[present].astype(np.float64)).sum())
    return _Score(mean, total, len(log_likelihood))
