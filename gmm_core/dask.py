"""Mixtures of data that are spread over a Dask cluster: `GaussianMixture` for its collections."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import dask
    import distributed
    from dask import array as da
except ImportError as error:
    raise ImportError(
        f"gmm_core.dask needs dask and distributed: pip install 'gmm-core[dask]' ({error})"
    ) from error

from gmm_core import __version__, mixture
from gmm_core._dask_pass import (
    DaskChunks,
    DaskPass,
    as_dask_array,
    check_weight_shape,
    known_chunks,
)
from gmm_core._threads import effective_n_threads
from gmm_core._warnings import warn
from gmm_core.parameter_validation import check_enough_samples, check_parameters
from gmm_core.validation import (
    FloatArray,
    Names,
    check_sample_weight,
    check_X,
    not_fitted_error,
)


class GaussianMixture(mixture.GaussianMixture):
    """The mixture of `gmm_core.GaussianMixture`, for dask arrays and data frames too.

    Constructor and attributes are those of `gmm_core.GaussianMixture`, and so are the methods for
    all X that are not collections of dask.

    `fit` (and `fit_predict`) runs on the cluster of the current `distributed.Client`, and ends
    within rounding of `gmm_core.GaussianMixture.fit` on the same rows. X and `sample_weight` may be
    dask collections of any chunks; weights may also be a NumPy array. The chunks are computed once
    and stay on the workers until the fit has ended; collections that were persisted stay where they
    are. In each iteration the parameters go out, and sums of K·D² numbers come back. Every chunk is
    a task of one thread, so `n_threads` is about the client's own part of the work: workers need
    several chunks for each of their threads, of some 10,000 rows or more. The bits of the result
    depend on the chunks, not on the number of workers or on what happens to them (on processors
    with the same instruction sets). EM starts from the rows that `fit` would draw
    (see `init_size`), which are brought to the client.

    A worker may die: the scheduler makes again what it had. A task that four workers died of ends
    the fit with the `KilledWorker` of distributed, by the scheduler's setting
    ``distributed.scheduler.allowed-failures``.

    `predict`, `predict_proba` and `score_samples` of a collection are dask arrays, which nothing
    has been computed of; they need no client. `score`, `bic` and `aic` are numbers, computed by
    dask's current scheduler. The model is part of the graph, once.

    Raises
    ------
    RuntimeError
        From `fit`: if there is no client, if a worker has no gmm_core, or another version; if data
        or workers are lost again and again.
    ValueError, TypeError
        As from `gmm_core.GaussianMixture`, naming the chunk if it is one that is not as it should
        be. The estimator is then as it was before.

    Warns
    -----
    UserWarning
        If X is chunked along the features, and has to be rechunked.

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
        _check_workers(client)
        array, dtype, names = _checked_collection(X)
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
        """As `gmm_core.GaussianMixture.impute`; of a collection by the mean only, lazily.

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
        X = known_chunks(X)
        rows = X.to_delayed().ravel()
        weights: Any = [None] * len(rows)
        if sample_weight is not None:
            weights = _weights_like(X, sample_weight).to_delayed().ravel()
        model = dask.delayed(self._plain())
        score = dask.delayed(_score, pure=False)
        parts = dask.compute(*(score(model, x, w) for x, w in zip(rows, weights, strict=True)))
        total = sum(weight for _, weight in parts)
        if not total > 0:
            raise ValueError("X has no samples, or none of weight above 0")
        return sum(mean * (weight / total) for mean, weight in parts if weight), float(total)

    def _lazy(self, X: Any, method: str, meta: Any) -> Any:
        """The method for each chunk, when it is computed."""
        columns = {"drop_axis": 1} if meta.ndim == 1 else {"chunks": (X.chunks[0], meta.shape[1:])}
        return X.map_blocks(
            _apply, model=dask.delayed(self._plain()), method=method, empty=meta,
            name=f"gmm_core-{method}-{dask.base.tokenize(object())}", meta=meta, **columns,
        )  # fmt: skip

    def _plain(self) -> mixture.GaussianMixture:
        """What the workers need of the model: no more than the methods read, and one thread."""
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
    """An array of whole rows, the dtype it is to become, and the names of the features."""
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
    try:
        client = distributed.get_client()
        found = "asynchronous" if client.asynchronous else client.status
    except ValueError:
        found = "not there"
    if found != "running":
        raise RuntimeError(
            f"fit of a dask collection needs a client, but the current one is {found}: start one "
            "with distributed.Client(), for this machine, or distributed.Client(scheduler_address)"
        )
    return client


def _check_workers(client: distributed.Client) -> None:
    # eval: a function of ours could not be read by a worker without gmm_core
    code = "__import__('gmm_core').__version__"
    for worker, version in client.run(eval, code, on_error="return").items():
        if isinstance(version, Exception):
            raise RuntimeError(f"worker {worker} cannot import gmm_core: {version}") from version
        if version != __version__:
            raise RuntimeError(
                f"worker {worker} has gmm_core {version}, but the client has {__version__}"
            )


def _weights_like(X: Any, sample_weight: Any) -> Any:
    """Weights, as an array in chunks as X has."""
    n = sum(X.chunks[0])
    if dask.is_dask_collection(sample_weight):
        weights = known_chunks(as_dask_array(sample_weight))
        check_weight_shape(weights, n)
        return weights.rechunk((X.chunks[0],))
    return da.from_array(check_sample_weight(sample_weight, n), chunks=(X.chunks[0],))


# --- on the workers -------------------------------------------------------------------------------


def _apply(chunk: FloatArray, model: mixture.GaussianMixture, method: str, empty: Any) -> Any:
    return getattr(model, method)(chunk) if len(chunk) else empty


def _score(
    model: mixture.GaussianMixture, chunk: FloatArray, sample_weight: Any
) -> tuple[float, float]:
    """Mean log-likelihood and weight of a chunk."""
    weight = check_sample_weight(sample_weight, len(chunk), may_be_zero=True)
    if not len(chunk) or (weight is not None and not weight.any()):
        return 0.0, 0.0
    return model._score(model._check_input(chunk), weight)
