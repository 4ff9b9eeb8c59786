"""Fit Gaussian mixtures to Dask collections, and apply them to such collections."""

from __future__ import annotations

import copy
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gmm_core import mixture
from gmm_core.core.types import Names, Out
from gmm_core.dask_bayesian import BayesianGaussianMixture
from gmm_core.dask_collections import (
    as_rows,
    chunks_on_workers,
    is_collection,
    lazy,
    lazy_by_row,
    pass_over_chunks,
    refuse_out,
    result_dtype,
    score_of_collection,
    with_noise,
)
from gmm_core.data.dask_pass import DaskChunks
from gmm_core.fit import run
from gmm_core.fit.clusters import Clusters
from gmm_core.fit.options import Options
from gmm_core.fit.result import Result, set_attributes
from gmm_core.fit.watching import Callback
from gmm_core.infer.score import Certainty, Score

if TYPE_CHECKING:
    from dask import array as da

__all__ = ["BayesianGaussianMixture", "GaussianMixture"]


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
    are sent to the client. NaN and masked values are missing values, which need
    `missing='marginalize'`. If a chunk has any, no chunk is passed over as `skip` describes.

    `noise_covariance` may be a Dask array of variances of shape (n_samples, n_features) or of
    covariances of shape (n_samples, n_features, n_features), with any chunks, or what
    `gmm_core.GaussianMixture` takes. If chunks of X and of the noise have unknown lengths, as after
    a filter of both, lazy results take chunks of the same number together. If only one of them has
    such chunks, or one has more chunks than the other, their lengths are computed first.

    Results for the same chunks are bit-identical for any number of workers, even if some of these
    fail, as long as all processors have the same instruction sets.

    If a worker dies, the scheduler recomputes the results that were lost with it. The fit fails
    with the `KilledWorker` of distributed when the same task has killed four workers (the setting
    ``distributed.scheduler.allowed-failures`` changes that number). If the cluster has no workers,
    the fit issues a warning and waits until one has started. An adaptive cluster starts workers
    when there are tasks.

    `predict`, `predict_proba`, `score_samples`, `impute` and `denoise` of a collection need no
    client. They return lazy Dask arrays. `score`, `bic`, `aic` and `icl` return numbers, which the
    current scheduler of Dask computes. If `sample_weight` is given and the length of some chunk is
    unknown, these methods keep the log-likelihood and the weight of each row, and `icl` one number
    more, in memory until they return. The task graph contains one copy of the model, whatever the
    number of chunks.

    Parameters
    ----------
    n_components, covariance_type, tol, reg_covar, max_iter, n_init, init_params, weights_init, \
means_init, precisions_init, random_state, warm_start, verbose, verbose_interval, n_threads, \
missing, init_size, n_short, n_swaps, checkpoint, checkpoint_interval, learning_decay, \
forget_factor, noise, labels_init, fixed, acceleration, skip, callback, time_limit
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

    def fit(
        self,
        X: Any,
        y: object = None,
        sample_weight: Any = None,
        noise_covariance: Any = None,
    ) -> Self:
        """Fit the mixture by EM, from `n_init` starts; see `gmm_core.GaussianMixture.fit`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.
        noise_covariance : array-like or Dask array, default=None
            The covariances of the measurement noise; see `gmm_core.GaussianMixture.fit` and the
            description of this class.

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
        if not is_collection(X):
            return super().fit(X, y, sample_weight, noise_covariance)

        def fit(watch: Callback | None) -> None:
            self._fit_collection(X, sample_weight, noise_covariance, watch)[0].keep_in(self)

        self._watched(fit, X, y, sample_weight)
        return self

    def fit_predict(
        self,
        X: Any,
        y: object = None,
        sample_weight: Any = None,
        noise_covariance: Any = None,
    ) -> Any:
        """Fit the mixture, and return the most probable component of each sample.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        y : object, default=None
            Ignored.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.
        noise_covariance : array-like or Dask array, default=None
            See `fit`.

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
        if not is_collection(X):
            return super().fit_predict(X, y, sample_weight, noise_covariance)

        def fit(watch: Callback | None) -> Any:
            result, array = self._fit_collection(X, sample_weight, noise_covariance, watch)
            fitted = copy.copy(self)
            set_attributes(fitted, result.attributes)
            rows, noise = with_noise(array, noise_covariance)
            labels = lazy(fitted, rows, "predict", np.empty(0, np.int64), noise)
            result.keep_in(self)
            return labels

        return self._watched(fit, X, y, sample_weight)

    # --- using a fitted mixture --------------------------------------------------------------

    def predict(self, X: Any, noise_covariance: Any = None, out: Out = None) -> Any:
        """Return the most probable component of each sample: argmax_k r_nk.

        See `gmm_core.GaussianMixture.predict` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        noise_covariance : array-like or Dask array, default=None
            See `fit`.
        out : ndarray, str, path or None, default=None
            See `gmm_core.GaussianMixture.predict`. It must be None if X is a Dask collection, whose
            results `dask.array.store` writes.

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
        if not is_collection(X):
            return super().predict(X, noise_covariance, out)
        refuse_out(out)
        rows, noise = with_noise(as_rows(self, X), noise_covariance)
        return lazy(self, rows, "predict", np.empty(0, np.int64), noise)

    def predict_proba(self, X: Any, noise_covariance: Any = None, out: Out = None) -> Any:
        """Return the responsibilities r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j).

        See `gmm_core.GaussianMixture.predict_proba` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        noise_covariance : array-like or Dask array, default=None
            See `fit`.
        out : ndarray, str, path or None, default=None
            See `predict`.

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
        if not is_collection(X):
            return super().predict_proba(X, noise_covariance, out)
        refuse_out(out)
        rows, noise = with_noise(as_rows(self, X), noise_covariance)
        empty = np.empty((0, len(self.weights_)), result_dtype(self, rows))
        return lazy(self, rows, "predict_proba", empty, noise)

    def mahalanobis(self, X: Any) -> Any:
        """Return the Mahalanobis distances; see `gmm_core.GaussianMixture.mahalanobis`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        distances : ndarray or Dask array of shape (n_samples, n_components)
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
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> gm.mahalanobis(da.from_array(np.array([[4.0], [8.0]]))).compute().tolist()
        [[2.0], [4.0]]
        """
        if not is_collection(X):
            return super().mahalanobis(X)
        rows = as_rows(self, X)
        empty = np.empty((0, len(self.weights_)), result_dtype(self, rows))
        return lazy(self, rows, "mahalanobis", empty)

    def noise_proba(self, X: Any, out: Out = None) -> Any:
        """Return the probability that a sample is noise; see `gmm_core.GaussianMixture`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        out : ndarray, str, path or None, default=None
            See `predict`.

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
        if not is_collection(X):
            return super().noise_proba(X, out)
        refuse_out(out)
        return lazy_by_row(self, as_rows(self, X), "noise_proba")

    def score_samples(self, X: Any, noise_covariance: Any = None, out: Out = None) -> Any:
        """Return the log-likelihood of each sample: log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k).

        See `gmm_core.GaussianMixture.score_samples` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        noise_covariance : array-like or Dask array, default=None
            See `fit`.
        out : ndarray, str, path or None, default=None
            See `predict`.

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
        if not is_collection(X):
            return super().score_samples(X, noise_covariance, out)
        refuse_out(out)
        rows, noise = with_noise(as_rows(self, X), noise_covariance)
        return lazy_by_row(self, rows, "score_samples", noise)

    def score(
        self,
        X: Any,
        y: object = None,
        sample_weight: Any = None,
        noise_covariance: Any = None,
    ) -> float:
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
        noise_covariance : array-like or Dask array, default=None
            See `fit`.

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
        return super().score(X, y, sample_weight, noise_covariance)

    def bic(self, X: Any, sample_weight: Any = None, noise_covariance: Any = None) -> float:
        """Return the Bayesian information criterion of the samples.

        It is p log W − 2 Σ_n w_n log p(x_n) for p free parameters and the total weight W = Σ_n w_n.
        See `gmm_core.GaussianMixture.bic` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.
        noise_covariance : array-like or Dask array, default=None
            See `fit`.

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
        return super().bic(X, sample_weight, noise_covariance)

    def aic(self, X: Any, sample_weight: Any = None, noise_covariance: Any = None) -> float:
        """Return the Akaike information criterion of the samples.

        It is 2 p − 2 Σ_n w_n log p(x_n) for p free parameters. See `gmm_core.GaussianMixture.aic`
        for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        sample_weight : array-like or Dask collection of shape (n_samples,), default=None
            Non-negative weights. None means a weight of 1 for every sample.
        noise_covariance : array-like or Dask array, default=None
            See `fit`.

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
        return super().aic(X, sample_weight, noise_covariance)

    def icl(
        self,
        X: Any,
        sample_weight: Any = None,
        certainty: Certainty = "map",
        noise_covariance: Any = None,
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
        noise_covariance : array-like or Dask array, default=None
            See `fit`.

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
        return super().icl(X, sample_weight, certainty, noise_covariance)

    def impute(self, X: Any, sample: bool = False, out: Out = None) -> Any:
        """Fill missing values with their conditional means; see `gmm_core.GaussianMixture.impute`.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        sample : bool, default=False
            Whether missing values are drawn at random instead. It must be False if X is a Dask
            collection.
        out : ndarray, str, path or None, default=None
            See `predict`.

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
        if not is_collection(X):
            return super().impute(X, sample, out)
        refuse_out(out)
        if sample:
            raise ValueError("sample=True is for arrays only, but X is a Dask collection")
        array = as_rows(self, X)
        return lazy(self, array, "impute", np.empty((0, X.shape[1]), result_dtype(self, array)))

    def denoise(
        self,
        X: Any,
        noise_covariance: Any = None,
        return_cov: bool = False,
        out: Out = None,
    ) -> Any:
        """Return the posterior means of the samples without their measurement noise.

        See `gmm_core.GaussianMixture.denoise` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        noise_covariance : array-like or Dask array, default=None
            See `fit`. It may be left out only for batches.
        return_cov : bool, default=False
            Whether the posterior covariances are returned too.
        out : ndarray, str, path or None, default=None
            See `predict`.

        Returns
        -------
        mean : ndarray or Dask array of shape (n_samples, n_features)
            float32 if X and the fitted means are float32, else float64. A Dask array, which is
            lazy, if X is a Dask collection.
        cov : ndarray or Dask array of shape (n_samples, n_features, n_features)
            The posterior covariances, if `return_cov`. Compute them together with the means, as
            both are parts of one lazy array.

        Raises
        ------
        ValueError, TypeError
            If X or the noise does not fit the model, or is not numbers. An error about the values
            in a chunk is raised when the chunk is computed.
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[3.0])
        >>> X, variances = da.from_array(np.array([[4.0], [8.0]])), np.array([[1.0], [3.0]])
        >>> gm.denoise(X, variances).compute().round(6).tolist()
        [[3.0], [4.0]]
        """
        if not is_collection(X):
            denoise: Any = super().denoise  # the overloads tell a True from a False
            return denoise(X, noise_covariance, return_cov, out)
        refuse_out(out)
        if not isinstance(return_cov, (bool, np.bool_)):
            raise TypeError(f"return_cov must be True or False, got {return_cov!r}")
        if noise_covariance is None:
            raise ValueError("denoise needs the noise_covariance of the samples")
        rows, noise = with_noise(as_rows(self, X), noise_covariance)
        D, dtype = rows.shape[1], result_dtype(self, rows)
        if not return_cov:
            return lazy(self, rows, "denoise", np.empty((0, D), dtype), noise)
        both = lazy(self, rows, "denoise", np.empty((0, D + D * D), dtype), noise, return_cov=True)
        cov = both[:, D:].map_blocks(
            np.reshape, (-1, D, D), new_axis=2, chunks=(rows.chunks[0], (D,), (D,)),
            meta=np.empty((0, D, D), dtype),
        )  # fmt: skip
        return both[:, :D], cov

    # --- parts of these methods ---------------------------------------------------------------

    def _fit_collection(
        self, X: Any, sample_weight: Any, noise_covariance: Any, watch: Callback | None
    ) -> tuple[Result, da.Array]:
        """Fit a collection on the cluster; return the result and the collection as an array."""
        began, options = time.perf_counter(), self._options()
        chunks, names, array = chunks_on_workers(
            X, sample_weight, options.missing == "marginalize", noise_covariance
        )
        result = fit_chunks(options, vars(self), chunks, names, watch=watch, began=began)
        return result, array

    def _scored(
        self,
        X: Any,
        sample_weight: Any,
        certainty: Certainty | None = None,
        noise_covariance: Any = None,
    ) -> Score:
        """Return the score of samples or batches; see `infer.score.score`."""
        if not is_collection(X):
            return super()._scored(X, sample_weight, certainty, noise_covariance)
        return score_of_collection(self, X, sample_weight, certainty, noise_covariance)

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


def fit_chunks(
    options: Options,
    before: MutableMapping[str, Any],
    chunks: DaskChunks,
    names: Names | None,
    clusters: Clusters | None = None,
    quiet: bool = False,
    watch: Callback | None = None,
    began: float | None = None,
) -> Result:
    """Fit a mixture to the chunks of a collection; see `run.fit_array`."""
    data = pass_over_chunks(chunks, options.n_components, options.n_threads)
    return run.fit_pass(
        options, before, data, chunks.totals, names, watch, clusters, quiet, began
    )
