"""Fit Gaussian mixtures to Dask collections, and apply them to such collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

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
from gmm_core.core.errors import not_fitted_error
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import FloatArray, Names
from gmm_core.core.warn import warn
from gmm_core.data.cluster import (
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
from gmm_core.data.validation import check_enough_samples, check_sample_weight, check_X
from gmm_core.fit import run
from gmm_core.fit.result import set_attributes
from gmm_core.infer import score
from gmm_core.infer.score import Score


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

    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> Self:
        """Fit the mixture by EM; see `gmm_core.GaussianMixture.fit`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None

        Returns
        -------
        self : GaussianMixture
        """
        if not dask.is_dask_collection(X):
            return super().fit(X, y, sample_weight)
        options = self._options()
        client = _current_client()
        array, dtype, names = _checked_collection(X)
        _check_workers(client)
        chunks = DaskChunks(client, array, sample_weight, dtype)
        if chunks.totals.n_samples < 2:
            raise ValueError(f"X has {chunks.totals.n_samples} rows, at least 2 are needed")
        check_enough_samples(chunks.totals.n_present, options.n_components)
        data = DaskPass(chunks, effective_n_threads(options.n_threads))
        attributes = run.fit_pass(options, vars(self), data, chunks.totals, names)
        set_attributes(vars(self), attributes)
        return self

    def fit_predict(self, X: Any, y: object = None, sample_weight: Any = None) -> Any:
        """Fit the mixture, and return the component of each sample.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None

        Returns
        -------
        labels : ndarray or Dask array of shape (n_samples,), int64
        """
        if not dask.is_dask_collection(X):
            return super().fit_predict(X, y, sample_weight)
        return self.fit(X, y, sample_weight).predict(X)

    # --- using a fitted mixture --------------------------------------------------------------

    def predict(self, X: Any) -> Any:
        """Return the component of each sample; see `gmm_core.GaussianMixture.predict`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray or Dask array of shape (n_samples,), int64
        """
        if not dask.is_dask_collection(X):
            return super().predict(X)
        return self._lazy(self._collection(X), "predict", np.empty(0, np.int64))

    def predict_proba(self, X: Any) -> Any:
        """Return the responsibilities; see `gmm_core.GaussianMixture.predict_proba`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)

        Returns
        -------
        responsibilities : ndarray or Dask array of shape (n_samples, n_components)
        """
        if not dask.is_dask_collection(X):
            return super().predict_proba(X)
        array = self._collection(X)
        empty = np.empty((0, len(self.weights_)), self._result_dtype(array))
        return self._lazy(array, "predict_proba", empty)

    def score_samples(self, X: Any) -> Any:
        """Return the log-likelihood of each sample; see `gmm_core.GaussianMixture.score_samples`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)

        Returns
        -------
        log_likelihood : ndarray or Dask array of shape (n_samples,)
        """
        if not dask.is_dask_collection(X):
            return super().score_samples(X)
        return self._log_likelihood(self._collection(X))

    def score(self, X: Any, y: object = None, sample_weight: Any = None) -> float:
        """Return the mean log-likelihood of the samples; see `gmm_core.GaussianMixture.score`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None

        Returns
        -------
        log_likelihood : float
        """
        if not dask.is_dask_collection(X):
            return super().score(X, y, sample_weight)
        return self._score(self._collection(X), sample_weight).mean

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion; see `gmm_core.GaussianMixture.bic`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None

        Returns
        -------
        bic : float
        """
        if not dask.is_dask_collection(X):
            return super().bic(X, sample_weight)
        return self._score(self._collection(X), sample_weight).bic(self._n_parameters())

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Akaike information criterion; see `gmm_core.GaussianMixture.aic`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None

        Returns
        -------
        aic : float
        """
        if not dask.is_dask_collection(X):
            return super().aic(X, sample_weight)
        return self._score(self._collection(X), sample_weight).aic(self._n_parameters())

    def impute(self, X: Any, sample: bool = False) -> Any:
        """Fill missing values; see `gmm_core.GaussianMixture.impute`.

        The result for a collection is lazy, and `sample` must then be False.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
        sample : bool, default=False

        Returns
        -------
        X : ndarray or Dask array of shape (n_samples, n_features)
        """
        if not dask.is_dask_collection(X):
            return super().impute(X, sample)
        if sample:
            raise ValueError("sample=True needs an array, but X is a collection of dask")
        array = self._collection(X)
        return self._lazy(array, "impute", np.empty((0, X.shape[1]), self._result_dtype(array)))

    # --- what these methods do with a collection ---------------------------------------------

    def _collection(self, X: Any) -> Any:
        """Return a collection as a Dask array, checked against the fitted features."""
        if "means_" not in vars(self):
            raise not_fitted_error(type(self).__name__)
        names = vars(self).get("feature_names_in_")
        return _checked_collection(X, self._model().prepared.means.shape[1], names)[0]

    def _score(self, X: Any, sample_weight: Any) -> Score:
        """Return the mean log-likelihood and the total weight of a Dask array."""
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
        score_chunk = dask.delayed(_score, pure=False)
        rows = _delayed_chunks(X)
        pairs = enumerate(zip(rows, weights, strict=True))
        return _combined(dask.compute(*(score_chunk(model, i, x, w) for i, (x, w) in pairs)))

    def _score_by_rows(self, X: Any, sample_weight: Any) -> Score:
        """Return the mean log-likelihood and the total weight for chunks of unknown length.

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
        pairs = enumerate(zip(parts, weights, strict=True))
        return _combined(dask.compute(*(mean(i, x, w) for i, (x, w) in pairs)))

    def _log_likelihood(self, X: Any) -> Any:
        """Return the lazy log-likelihoods of a Dask array."""
        return self._lazy(X, "score_samples", np.empty(0, self._result_dtype(X)))

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


class _ChunkScore(NamedTuple):
    """The score of a chunk, and its number of rows, which may have no weight."""

    score: Score
    n_samples: int


def _combined(parts: Sequence[_ChunkScore]) -> Score:
    """Combine the scores of all chunks into that of X."""
    if not sum(part.n_samples for part in parts):
        raise ValueError("X has 0 rows, at least 1 is needed")
    scores = [part.score for part in parts]
    total = sum(part.weight for part in scores)
    check_total_weight(total)
    return Score(sum(s.mean * (s.weight / total) for s in scores if s.weight), float(total))


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


def _score(
    model: mixture.GaussianMixture, i: int, chunk: Any, sample_weight: Any
) -> _ChunkScore:
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, len(chunk), may_be_zero=True)
        if not len(chunk) or (weight is not None and not weight.any()):
            return _ChunkScore(Score(0.0, 0.0), len(chunk))
        scored = score.score(model._rows(chunk), model._model(), weight)
        return _ChunkScore(scored, len(chunk))


def _weighted_mean(i: int, log_likelihood: FloatArray, sample_weight: Any) -> _ChunkScore:
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, len(log_likelihood), may_be_zero=True)
    assert weight is not None
    if not weight.any():
        return _ChunkScore(Score(0.0, 0.0), len(log_likelihood))
    mean = score.weighted_mean(log_likelihood, weight)
    return _ChunkScore(Score(mean, float(weight.sum())), len(log_likelihood))
