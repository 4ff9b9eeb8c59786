"""Fit Gaussian mixtures to Dask collections, and apply them to such collections."""

from __future__ import annotations

import copy
from collections.abc import MutableMapping, Sequence
from typing import Any, Literal, NamedTuple, Self

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

from gmm_core import mixture
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
    weights_array,
)
from gmm_core.data.validation import check_enough_samples, check_sample_weight, check_X
from gmm_core.fit import run
from gmm_core.fit.clusters import Clusters
from gmm_core.fit.options import Options
from gmm_core.fit.result import Result, set_attributes
from gmm_core.infer import score
from gmm_core.infer.score import Certainty, Score

_Method = Literal["predict", "predict_proba", "noise_proba", "score_samples", "impute"]


class GaussianMixture(mixture.GaussianMixture):
    """A Gaussian mixture that also takes Dask arrays and data frames.

    Methods treat X that is not a Dask collection as `gmm_core.GaussianMixture` does.

    `fit` and `fit_predict` of a collection run on the cluster of the current `distributed.Client`.
    The result agrees, up to rounding, with `gmm_core.GaussianMixture.fit` on the same rows. X and
    `sample_weight` may be Dask collections with any chunks. The weights may also be a NumPy array.
    The chunks are computed once and stay on the workers until the fit has ended. Collections that
    are persisted already are used where they are. Each iteration sends the parameters to the
    workers and receives the sums, which are about K·D² numbers for 'full' covariances, K components
    and D features. Each chunk is a task of one thread, and `n_threads` is the number of threads for
    the work of the client. To keep the workers busy, make several chunks for each of their threads,
    with 10,000 rows or more. EM starts from the rows that `fit` would draw (see `init_size`), which
    are sent to the client. `fit` refuses NaN and masked values, whatever `missing` is.

    Results for the same chunks are bit-identical for any number of workers, even if some of these
    fail, as long as all processors have the same instruction sets.

    If a worker dies, the scheduler recomputes the results that were lost with it. The fit fails
    with the `KilledWorker` of distributed when the same task has killed four workers (the setting
    ``distributed.scheduler.allowed-failures`` changes that number). If the cluster has no workers,
    the fit issues a warning and waits until one has started. An adaptive cluster starts workers
    when there are tasks.

    `predict`, `predict_proba`, `score_samples` and `impute` of a collection need no client. They
    return lazy Dask arrays. `score`, `bic`, `aic` and `icl` return numbers, which the current
    scheduler of Dask computes. If `sample_weight` is given and the length of some chunk is unknown,
    these methods keep the log-likelihood and the weight of each row, and `icl` one number more, in
    memory until they return. The task graph contains one copy of the model, whatever the number of
    chunks.

    Parameters
    ----------
    n_components, covariance_type, tol, reg_covar, max_iter, n_init, init_params, weights_init, \
means_init, precisions_init, random_state, warm_start, verbose, verbose_interval, n_threads, \
missing, init_size, n_short, n_swaps, checkpoint, checkpoint_interval, learning_decay, \
forget_factor, noise, labels_init, fixed
        The parameters of `gmm_core.GaussianMixture`, with the same meaning and the same defaults.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_, n_samples_seen_, \
converged_, n_iter_, lower_bound_, lower_bounds_, restarts_, n_features_in_, feature_names_in_, \
noise_weight_, noise_log_density_, noise_box_
        The attributes of `gmm_core.GaussianMixture`, with the same meaning.

    Raises
    ------
    RuntimeError
        From `fit`, if there is no client, if a worker has no gmm_core or another version of it, if
        the client is closed or restarted during the fit, or if data or workers are lost repeatedly.
    distributed.KilledWorker
        From `fit`, if the same task has killed four workers.
    ValueError, TypeError
        For the same reasons as from `gmm_core.GaussianMixture`. If the reason lies in a chunk, the
        message has the number of the chunk. A failed fit leaves the estimator as it was.

    Warns
    -----
    UserWarning
        If X is chunked along the features and has to be rechunked, and if `fit` waits for a worker.

    See Also
    --------
    gmm_core.GaussianMixture : Describes the parameters and the attributes.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from gmm_core.dask import GaussianMixture
    >>> client = Client(processes=False, dashboard_address=None)
    >>> X = da.random.default_rng(0).normal(size=(4_000, 2), chunks=(1_000, 2))
    >>> gm = GaussianMixture(random_state=0).fit(X)
    >>> gm.predict(X)
    dask.array<gmm_core-predict, shape=(4000,), dtype=int64, chunksize=(1000,), \
chunktype=numpy.ndarray>
    >>> client.close()
    """

    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> Self:
        """Fit the mixture by EM, from `n_init` starts; see `gmm_core.GaussianMixture.fit`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.

        Returns
        -------
        self : GaussianMixture
            The fitted model.

        Raises
        ------
        RuntimeError
            If X is a Dask collection and there is no client, a worker has another version of
            gmm_core, the client is closed or restarted, or data or workers are lost repeatedly.
        ValueError, TypeError
            If X or the weights have values that are not allowed, if X has too few rows, or if all
            starts fail.
        distributed.KilledWorker
            If the same task has killed four workers.
        OSError
            If the file `checkpoint` cannot be read or written.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged within `max_iter` iterations.
        UserWarning
            If X is chunked along the features, if the fit waits for a worker, and for the reasons
            of `gmm_core.GaussianMixture.fit`.

        Examples
        --------
        The example of the class fits a Dask array. X may also be an array of NumPy:

        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> GaussianMixture().fit(np.array([[1.0], [3.0]])).means_.tolist()
        [[2.0]]
        """
        if not dask.is_dask_collection(X):
            return super().fit(X, y, sample_weight)
        self._fit_collection(X, sample_weight)[0].keep_in(self)
        return self

    def fit_predict(self, X: Any, y: object = None, sample_weight: Any = None) -> Any:
        """Fit the mixture, and return the most probable component of each sample.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.

        Returns
        -------
        labels : ndarray or Dask array of shape (n_samples,), int64
            A Dask array, which is lazy, if X is a Dask collection.

        Raises
        ------
        RuntimeError, ValueError, TypeError, distributed.KilledWorker, OSError
            For the reasons of `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> GaussianMixture().fit_predict(np.array([[1.0], [3.0]])).tolist()
        [0, 0]
        """
        if not dask.is_dask_collection(X):
            return super().fit_predict(X, y, sample_weight)
        result, array = self._fit_collection(X, sample_weight)
        fitted = copy.copy(self)
        set_attributes(fitted, result.attributes)
        labels = fitted._lazy(array, "predict", np.empty(0, np.int64))
        result.keep_in(self)
        return labels

    # --- using a fitted mixture --------------------------------------------------------------

    def predict(self, X: Any) -> Any:
        """Return the most probable component of each sample: argmax_k r_nk.

        See `gmm_core.GaussianMixture.predict` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        labels : ndarray or Dask array of shape (n_samples,), int64
            A Dask array, which is lazy, if X is a Dask collection.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model or is not numbers. An error about the values in a chunk is
            raised when the chunk is computed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> gm = GaussianMixture(2, means_init=[[0.0], [10.0]], random_state=0).fit(X)
        >>> collection = da.from_array(X, chunks=(2, 1))
        >>> gm.predict(collection).compute().tolist()
        [0, 0, 1, 1]
        """
        if not dask.is_dask_collection(X):
            return super().predict(X)
        return self._lazy(self._collection(X), "predict", np.empty(0, np.int64))

    def predict_proba(self, X: Any) -> Any:
        """Return the responsibilities r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j).

        See `gmm_core.GaussianMixture.predict_proba` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        responsibilities : ndarray or Dask array of shape (n_samples, n_components)
            float32 if X and the fitted means are float32, else float64. A Dask array, which is
            lazy, if X is a Dask collection.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model or is not numbers. An error about the values in a chunk is
            raised when the chunk is computed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> gm = GaussianMixture(2, means_init=[[0.0], [10.0]], random_state=0).fit(X)
        >>> collection = da.from_array(X, chunks=(2, 1))
        >>> gm.predict_proba(collection).compute().round(3).tolist()[0]
        [1.0, 0.0]
        """
        if not dask.is_dask_collection(X):
            return super().predict_proba(X)
        array = self._collection(X)
        empty = np.empty((0, len(self.weights_)), self._result_dtype(array))
        return self._lazy(array, "predict_proba", empty)

    def noise_proba(self, X: Any) -> Any:
        """Return the probability that a sample is noise; see `gmm_core.GaussianMixture`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        responsibilities : ndarray or Dask array of shape (n_samples,)
            A Dask array, which is lazy, if X is a Dask collection.

        Examples
        --------
        >>> from gmm_core.dask import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.9], [[0.0]], covariances=[1.0], noise=0.01)
        >>> gm.noise_proba([[0.0], [9.0]]).round(3).tolist()
        [0.003, 1.0]
        """
        if not dask.is_dask_collection(X):
            return super().noise_proba(X)
        array = self._collection(X)
        return self._lazy(array, "noise_proba", np.empty(0, self._result_dtype(array)))

    def score_samples(self, X: Any) -> Any:
        """Return the log-likelihood of each sample: log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k).

        See `gmm_core.GaussianMixture.score_samples` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        log_likelihood : ndarray or Dask array of shape (n_samples,)
            float32 if X and the fitted means are float32, else float64. A Dask array, which is
            lazy, if X is a Dask collection.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model or is not numbers. An error about the values in a chunk is
            raised when the chunk is computed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> gm = GaussianMixture(2, means_init=[[0.0], [10.0]], random_state=0).fit(X)
        >>> collection = da.from_array(X, chunks=(2, 1))
        >>> gm.score_samples(collection).compute().shape
        (4,)
        """
        if not dask.is_dask_collection(X):
            return super().score_samples(X)
        return self._log_likelihood(self._collection(X))

    def score(self, X: Any, y: object = None, sample_weight: Any = None) -> float:
        """Return the mean log-likelihood of the samples: Σ_n w_n log p(x_n) / Σ_n w_n.

        See `gmm_core.GaussianMixture.score` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.

        Returns
        -------
        log_likelihood : float
            The weighted mean, in nats per sample.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model, or X or the weights have values that are not allowed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> gm = GaussianMixture(2, means_init=[[0.0], [10.0]], random_state=0).fit(X)
        >>> collection = da.from_array(X, chunks=(2, 1))
        >>> abs(gm.score(collection) - gm.score(X)) < 1e-9
        True
        """
        return super().score(X, y, sample_weight)

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion of the samples.

        It is p log W − 2 Σ_n w_n log p(x_n) for p free parameters and the total weight W = Σ_n w_n.
        See `gmm_core.GaussianMixture.bic` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.

        Returns
        -------
        bic : float
            The smaller it is, the better.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model, or X or the weights have values that are not allowed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> gm = GaussianMixture(2, means_init=[[0.0], [10.0]], random_state=0).fit(X)
        >>> collection = da.from_array(X, chunks=(2, 1))
        >>> abs(gm.bic(collection) - gm.bic(X)) < 1e-9
        True
        """
        return super().bic(X, sample_weight)

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Akaike information criterion of the samples.

        It is 2 p − 2 Σ_n w_n log p(x_n) for p free parameters. See `gmm_core.GaussianMixture.aic`
        for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.

        Returns
        -------
        aic : float
            The smaller it is, the better.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model, or X or the weights have values that are not allowed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> gm = GaussianMixture(2, means_init=[[0.0], [10.0]], random_state=0).fit(X)
        >>> collection = da.from_array(X, chunks=(2, 1))
        >>> abs(gm.aic(collection) - gm.aic(X)) < 1e-9
        True
        """
        return super().aic(X, sample_weight)

    def icl(
        self, X: Any, sample_weight: Any = None, certainty: Certainty = "map"
    ) -> float:
        """Return the integrated completed likelihood, BIC − 2 Σ_n w_n log max_k r_nk.

        See `gmm_core.GaussianMixture.icl` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights w_n; they are 1 by default.
        certainty : {'map', 'entropy'}, default='map'
            'entropy' takes BIC − 2 Σ_n w_n Σ_k r_nk log r_nk.

        Returns
        -------
        icl : float
            The smaller it is, the better.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model, or X or the weights have values that are not allowed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> gm = GaussianMixture(2, means_init=[[0.0], [10.0]], random_state=0).fit(X)
        >>> collection = da.from_array(X, chunks=(2, 1))
        >>> abs(gm.icl(collection) - gm.icl(X)) < 1e-9
        True
        """
        return super().icl(X, sample_weight, certainty)

    def impute(self, X: Any, sample: bool = False) -> Any:
        """Fill missing values with their conditional means; see `gmm_core.GaussianMixture.impute`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        sample : bool, default=False
            Whether missing values are drawn at random instead. It must be False if X is a Dask
            collection.

        Returns
        -------
        X : ndarray or Dask array of shape (n_samples, n_features)
            float32 if X and the fitted means are float32, else float64. A Dask array, which is
            lazy, if X is a Dask collection.

        Raises
        ------
        ValueError, TypeError
            If X does not fit the model or is not numbers, or if `sample` is True for a Dask
            collection. An error about the values in a chunk is raised when the chunk is computed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> gm = GaussianMixture(missing="marginalize").fit(np.array([[1.0, 2], [3, 6], [5, 4]]))
        >>> gm.impute(da.from_array(np.array([[3.0, np.nan]]))).compute().round(3).tolist()
        [[3.0, 4.0]]
        """
        if not dask.is_dask_collection(X):
            return super().impute(X, sample)
        if sample:
            raise ValueError("sample=True is for arrays only, but X is a Dask collection")
        array = self._collection(X)
        return self._lazy(array, "impute", np.empty((0, X.shape[1]), self._result_dtype(array)))

    # --- parts of these methods ---------------------------------------------------------------

    def _fit_collection(self, X: Any, sample_weight: Any) -> tuple[Result, da.Array]:
        """Fit a collection on the cluster; return the result and the collection as an array."""
        options = self._options()
        chunks, names, array = chunks_on_workers(X, sample_weight)
        return fit_chunks(options, vars(self), chunks, names), array

    def _collection(self, X: Any) -> da.Array:
        """Return a collection as a Dask array, checked against the fitted features."""
        if "means_" not in vars(self):
            raise not_fitted_error(type(self).__name__)
        names = vars(self).get("feature_names_in_")
        return _checked_collection(X, self._model().prepared.means.shape[1], names)[0]

    def _scored(
        self, X: Any, sample_weight: Any, certainty: Certainty | None = None
    ) -> Score:
        """Return the score of samples or batches; see `infer.score.score`."""
        if not dask.is_dask_collection(X):
            return super()._scored(X, sample_weight, certainty)
        X = self._collection(X)
        if sample_weight is not None:
            if dask.is_dask_collection(sample_weight):
                sample_weight = weights_array(sample_weight)
                unknown = has_unknown_chunks(X) or has_unknown_chunks(sample_weight)
            else:
                unknown = has_unknown_chunks(X) and np.ndim(sample_weight) > 0
            if unknown:
                if certainty is None:
                    rows = self._log_likelihood(X)
                else:
                    rows = X.map_blocks(
                        _with_certainty, model=dask.delayed(self._plain()), certainty=certainty,
                        chunks=(X.chunks[0], (2,)), meta=np.empty((0, 2)),
                    )  # fmt: skip
                return self._score_by_rows(rows, sample_weight)
        n_chunks = X.numblocks[0]
        weights: Any = [sample_weight] * n_chunks  # None, or the weight of every row
        if np.ndim(sample_weight) > 0:
            weights = _delayed_chunks(_weights_like(X, sample_weight))
        model = dask.delayed(self._plain())
        score_chunk = dask.delayed(_score, pure=False)
        rows = _delayed_chunks(X)
        tasks = (
            score_chunk(model, i, x, w, certainty)
            for i, (x, w) in enumerate(zip(rows, weights, strict=True))
        )
        return _combined(dask.compute(*tasks))

    def _score_by_rows(self, values: da.Array, sample_weight: Any) -> Score:
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

    def _log_likelihood(self, X: da.Array) -> da.Array:
        """Return the lazy log-likelihoods of a Dask array."""
        return self._lazy(X, "score_samples", np.empty(0, self._result_dtype(X)))

    def _lazy(self, X: da.Array, method: _Method, meta: AnyArray) -> da.Array:
        """Return a lazy array of the results of a method for the chunks.

        `meta` is the result for a chunk without rows.
        """
        columns = {"drop_axis": 1} if meta.ndim == 1 else {"chunks": (X.chunks[0], meta.shape[1:])}
        return X.map_blocks(
            _apply, model=dask.delayed(self._plain()), method=method, empty=meta,
            name=f"gmm_core-{method}-{dask.base.tokenize(object())}", meta=meta, **columns,
        )  # fmt: skip

    def _plain(self) -> mixture.GaussianMixture:
        """Return the model for the workers, with the attributes that their tasks read."""
        model = mixture.GaussianMixture(
            len(self.weights_), covariance_type=self.covariance_type, n_threads=1,
            missing=self.missing,
        )  # fmt: skip
        names = (
            "weights_", "means_", "precisions_cholesky_", "noise_weight_", "noise_log_density_",
            "noise_box_",
        )  # fmt: skip
        vars(model).update({name: getattr(self, name) for name in names if hasattr(self, name)})
        return model

    def _result_dtype(self, X: da.Array) -> np.dtype[Any]:
        """Return the dtype of the methods' results: float32 if X and the means have it."""
        both_float32 = X.dtype == np.float32 == np.asarray(self.means_).dtype
        return np.dtype(np.float32 if both_float32 else np.float64)


def chunks_on_workers(
    X: Any, sample_weight: Any
) -> tuple[DaskChunks, Names | None, da.Array]:
    """Compute the chunks of a collection on the cluster of the current client, and check them.

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
    chunks = DaskChunks(client, array, sample_weight, dtype)
    if chunks.totals.n_samples < 2:
        raise ValueError(f"X has {chunks.totals.n_samples} rows, at least 2 are needed")
    return chunks, names, array


def fit_chunks(
    options: Options,
    before: MutableMapping[str, Any],
    chunks: DaskChunks,
    names: Names | None,
    clusters: Clusters | None = None,
    quiet: bool = False,
) -> Result:
    """Fit a mixture to the chunks of a collection; see `run.fit_array`."""
    check_enough_samples(chunks.totals.n_present, options.n_components)
    data = DaskPass(chunks, effective_n_threads(options.n_threads))
    return run.fit_pass(
        options, before, data, chunks.totals, names, clusters=clusters, quiet=quiet
    )


def _checked_collection(
    X: Any, n_features: int | None = None, feature_names: Names | None = None
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
        example, n_features=n_features, feature_names=feature_names, min_samples=0
    )
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
    model: mixture.GaussianMixture,
    method: _Method,
    empty: AnyArray,
    block_id: tuple[int, ...] = (0,),
) -> AnyArray:
    """Return the result of a method of the model for a chunk, and `empty` for one without rows.

    Dask passes the indices of the chunk as `block_id`.
    """
    if not len(chunk):
        return empty
    with naming_chunk(block_id[0]):
        result: AnyArray = getattr(model, method)(chunk)
        return result


def _with_certainty(
    chunk: Any,
    model: mixture.GaussianMixture,
    certainty: Certainty,
    block_id: tuple[int, ...] = (0,),
) -> AnyArray:
    """Return, for each row of a chunk, its log-likelihood and its term of `log_certainties`."""
    if not len(chunk):
        return np.empty((0, 2))
    with naming_chunk(block_id[0]):
        values = score.with_certainty(model._rows(chunk), model._model(), certainty)
    return np.stack(values, axis=1)


def _score(
    model: mixture.GaussianMixture,
    i: int,
    chunk: Any,
    sample_weight: Any,
    certainty: Certainty | None,
) -> _ChunkScore:
    """Return the score of chunk i."""
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, len(chunk), may_be_zero=True)
        if not len(chunk) or (weight is not None and not weight.any()):
            return _ChunkScore(Score(0.0, 0.0), len(chunk))
        scored = score.score(model._rows(chunk), model._model(), weight, certainty)
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
