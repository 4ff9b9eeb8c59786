"""Fit Bayesian mixtures to Dask collections, and apply them to such collections."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gmm_core import bayesian
from gmm_core.core.types import Out
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
)
from gmm_core.fit.bayesian import fit_bayesian
from gmm_core.fit.result import Result, set_attributes
from gmm_core.fit.watching import Callback

if TYPE_CHECKING:
    from dask import array as da


class BayesianGaussianMixture(bayesian.BayesianGaussianMixture):
    """A Bayesian mixture that also takes Dask arrays and data frames.

    Methods treat X that is not a Dask collection as `gmm_core.BayesianGaussianMixture` does. For
    collections, `gmm_core.dask.GaussianMixture` describes how `fit` and `fit_predict` use the
    cluster, and what the lazy methods return. The result of `fit` agrees, up to rounding, with
    `gmm_core.BayesianGaussianMixture.fit` on the same rows.

    Parameters
    ----------
    n_components, covariance_type, tol, reg_covar, max_iter, n_init, init_params, \
weight_concentration_prior_type, weight_concentration_prior, mean_precision_prior, mean_prior, \
degrees_of_freedom_prior, covariance_prior, random_state, warm_start, verbose, verbose_interval, \
n_threads, missing, init_size, posterior, checkpoint, checkpoint_interval, moves, \
learning_decay, learning_offset, acceleration, skip, callback, time_limit
        The parameters of `gmm_core.BayesianGaussianMixture`, with the same meaning and the same
        defaults.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_, weight_concentration_, \
mean_precision_, degrees_of_freedom_, weight_concentration_prior_, mean_precision_prior_, \
mean_prior_, degrees_of_freedom_prior_, covariance_prior_, converged_, n_iter_, lower_bound_, \
lower_bounds_, elbo_, posterior_, n_components_, restarts_, n_features_in_, feature_names_in_
        The attributes of `gmm_core.BayesianGaussianMixture`, with the same meaning.

    See Also
    --------
    gmm_core.BayesianGaussianMixture : Describes the parameters and the attributes.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from gmm_core.dask import BayesianGaussianMixture
    >>> client = Client(processes=False, dashboard_address=None)
    >>> X = da.random.default_rng(0).normal(size=(4_000, 2), chunks=(1_000, 2))
    >>> bgm = BayesianGaussianMixture(random_state=0).fit(X)
    >>> bgm.log_predictive(X)
    dask.array<gmm_core-log_predictive, shape=(4000,), dtype=float64, chunksize=(1000,), \
chunktype=numpy.ndarray>
    >>> client.close()
    """

    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> Self:
        """Fit the posterior, from `n_init` starts; see `gmm_core.BayesianGaussianMixture.fit`.

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
        self : BayesianGaussianMixture
            The fitted model.

        Raises
        ------
        RuntimeError, ValueError, TypeError, distributed.KilledWorker, OSError
            For the reasons of `gmm_core.dask.GaussianMixture.fit`.

        Examples
        --------
        The example of the class fits a Dask array. X may also be an array of NumPy:

        >>> import numpy as np
        >>> from gmm_core.dask import BayesianGaussianMixture
        >>> BayesianGaussianMixture().fit(np.array([[1.0], [3.0]])).means_.tolist()
        [[2.0]]
        """
        if not is_collection(X):
            return super().fit(X, y, sample_weight)

        def fit(watch: Callback | None) -> None:
            self._fit_collection(X, sample_weight, watch)[0].keep_in(self)

        self._watched(fit, X, y, sample_weight)
        return self

    def fit_predict(self, X: Any, y: object = None, sample_weight: Any = None) -> Any:
        """Fit the posterior, and return the component of each sample.

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
        >>> from gmm_core.dask import BayesianGaussianMixture
        >>> BayesianGaussianMixture().fit_predict(np.array([[1.0], [3.0]])).tolist()
        [0, 0]
        """
        if not is_collection(X):
            return super().fit_predict(X, y, sample_weight)

        def fit(watch: Callback | None) -> Any:
            result, array = self._fit_collection(X, sample_weight, watch)
            fitted = copy.copy(self)
            set_attributes(fitted, result.attributes)
            labels = lazy(fitted, array, "predict", np.empty(0, np.int64))
            result.keep_in(self)
            return labels

        return self._watched(fit, X, y, sample_weight)

    # --- using a fitted model ----------------------------------------------------------------

    def predict(self, X: Any, out: Out = None) -> Any:
        """Return the component with the largest responsibility for each sample.

        See `gmm_core.BayesianGaussianMixture.predict` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        out : ndarray, str, path or None, default=None
            See `gmm_core.GaussianMixture.predict`. It must be None if X is a Dask collection, whose
            results `dask.array.store` writes.

        Returns
        -------
        labels : ndarray or Dask array of shape (n_samples,), int64
            A Dask array, which is lazy, if X is a Dask collection.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `gmm_core.dask.GaussianMixture.predict`.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import BayesianGaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> bgm = BayesianGaussianMixture(random_state=0).fit(X)
        >>> bgm.predict(da.from_array(X, chunks=(2, 1))).compute().tolist()
        [0, 0, 0, 0]
        """
        if not is_collection(X):
            return super().predict(X, out)
        refuse_out(out)
        return lazy(self, as_rows(self, X), "predict", np.empty(0, np.int64))

    def predict_proba(self, X: Any, out: Out = None) -> Any:
        """Return the responsibilities of the components for each sample.

        See `gmm_core.BayesianGaussianMixture.predict_proba` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        out : ndarray, str, path or None, default=None
            See `predict`.

        Returns
        -------
        responsibilities : ndarray or Dask array of shape (n_samples, n_components)
            A Dask array, which is lazy, if X is a Dask collection.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import BayesianGaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> bgm = BayesianGaussianMixture(random_state=0).fit(X)
        >>> bgm.predict_proba(da.from_array(X, chunks=(2, 1))).compute().tolist()
        [[1.0], [1.0], [1.0], [1.0]]
        """
        if not is_collection(X):
            return super().predict_proba(X, out)
        refuse_out(out)
        array = as_rows(self, X)
        empty = np.empty((0, len(self.weights_)), result_dtype(self, array))
        return lazy(self, array, "predict_proba", empty)

    def score_samples(self, X: Any, out: Out = None) -> Any:
        """Return the logarithm that scikit-learn's class returns for each sample.

        See `gmm_core.BayesianGaussianMixture.score_samples` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            The samples.
        out : ndarray, str, path or None, default=None
            See `predict`.

        Returns
        -------
        scores : ndarray or Dask array of shape (n_samples,)
            A Dask array, which is lazy, if X is a Dask collection.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import BayesianGaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> bgm = BayesianGaussianMixture(random_state=0).fit(X)
        >>> bgm.score_samples(da.from_array(X, chunks=(2, 1))).compute().shape
        (4,)
        """
        if not is_collection(X):
            return super().score_samples(X, out)
        refuse_out(out)
        return lazy_by_row(self, as_rows(self, X), "score_samples")

    def score(self, X: Any, y: object = None, sample_weight: Any = None) -> float:
        """Return the weighted mean of `score_samples`.

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
        score : float
            The mean in nats per sample, which the current scheduler of Dask computes.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`, and if the weights have values that are not allowed.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import BayesianGaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> bgm = BayesianGaussianMixture(random_state=0).fit(X)
        >>> abs(bgm.score(da.from_array(X, chunks=(2, 1))) - bgm.score(X)) < 1e-9
        True
        """
        if not is_collection(X):
            return super().score(X, y, sample_weight)
        return score_of_collection(self, X, sample_weight).mean

    def log_predictive(self, X: Any) -> Any:
        """Return the logarithm of the posterior predictive density of each sample.

        See `gmm_core.BayesianGaussianMixture.log_predictive` for details.

        Parameters
        ----------
        X : array-like, data frame or Dask collection of shape (n_samples, n_features)
            Samples without missing values.

        Returns
        -------
        log_density : ndarray or Dask array of shape (n_samples,), float64
            A Dask array, which is lazy, if X is a Dask collection.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.

        Examples
        --------
        >>> import dask.array as da
        >>> import numpy as np
        >>> from gmm_core.dask import BayesianGaussianMixture
        >>> X = np.array([[0.0], [2.0], [9.0], [11.0]])
        >>> bgm = BayesianGaussianMixture(random_state=0).fit(X)
        >>> bgm.log_predictive(da.from_array(X, chunks=(2, 1))).compute().shape
        (4,)
        """
        if not is_collection(X):
            return super().log_predictive(X)
        return lazy(self, as_rows(self, X), "log_predictive", np.empty(0))

    # --- parts of these methods ---------------------------------------------------------------

    def _fit_collection(
        self, X: Any, sample_weight: Any, watch: Callback | None
    ) -> tuple[Result, da.Array]:
        """Fit a collection on the cluster; return the result and the collection as an array."""
        began, options = time.perf_counter(), self._options()
        chunks, names, array = chunks_on_workers(
            X, sample_weight, options.missing == "marginalize"
        )
        data = pass_over_chunks(chunks, options.n_components, options.n_threads)
        result = fit_bayesian(
            options, *self._warm(), data, chunks.totals, names, order=self._order_before(),
            watch=watch, began=began,
        )  # fmt: skip
        return result, array

    def _plain(self) -> bayesian.BayesianGaussianMixture:
        """Return the model for the workers, with the attributes that their tasks read."""
        model = bayesian.BayesianGaussianMixture(
            n_components=len(self.weights_), covariance_type=self.covariance_type, n_threads=1,
            missing=self.missing, posterior=self.posterior,
        )  # fmt: skip
        names = (
            "weights_", "means_", "covariances_", "precisions_cholesky_", "weight_concentration_",
            "mean_precision_", "degrees_of_freedom_", "posterior_",
        )  # fmt: skip
        vars(model).update({name: getattr(self, name) for name in names})
        return model
