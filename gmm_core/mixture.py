"""The estimator that people import: scikit-learn's names and behaviour around the EM loop."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import not_fitted_error
from gmm_core.core.random import check_random_state
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import CovarianceName, FloatArray, Labels, MissingName, Names, StartName
from gmm_core.data.foreign import ForeignRows, check_rows, whole
from gmm_core.data.parameters import mixture_of_arguments
from gmm_core.fit import run, stream
from gmm_core.fit.loop import Fit
from gmm_core.fit.options import InitCallable, Options, options_of
from gmm_core.fit.restarts import Restart
from gmm_core.fit.result import attributes_of, set_attributes
from gmm_core.fit.stepwise import rows_of_first_fit
from gmm_core.infer import score
from gmm_core.infer.draw import draw
from gmm_core.infer.impute import impute
from gmm_core.infer.score import Model
from gmm_core.io import npz
from gmm_core.io.sklearn import to_sklearn
from gmm_core.model.attributes import (
    ArrayAttribute,
    CovarianceAttribute,
    CovarianceTypeAttribute,
    Kept,
    checked,
    prepared_of,
)
from gmm_core.model.covariance import type_by_shape
from gmm_core.model.parameters import Prepared
from gmm_core.sklearn_api import Estimator

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture as SklearnGaussianMixture
    from sklearn.utils import Tags


class GaussianMixture(Estimator):
    """Gaussian mixture p(x) = Σ_k π_k N(x | μ_k, Σ_k), fitted by expectation-maximisation.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        'full' has a covariance matrix for each component, 'tied' one matrix for all components,
        'diag' a variance for each component and feature, 'spherical' a variance for each component.
    tol : float, default=1e-3
        EM stops when the mean log-likelihood changes by less than this in an iteration, in nats per
        sample.
    reg_covar : float or array-like of shape (n_features,), default=1e-6
        Added to the diagonal of every covariance, in squared units of the data. An array has a
        number for each feature, and a spherical variance gets their mean. With
        ``1e-6 * X.var(axis=0)`` it is relative to the scale of each feature.
    max_iter : int, default=100
        Largest number of iterations of EM. With 0, the model is what EM would start from.
    n_init : int, default=1
        Number of starts, of which the one with the largest log-likelihood is kept. A start that
        fails numerically is skipped with a warning.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'} or callable, \
default='kmeans'
        How the start is found. 'kmeans' takes the clusters of k-means. 'k-means++' and
        'random_from_data' take samples as means, chosen by k-means++ or at random, with the
        covariance of all data. 'random' draws random responsibilities. A callable
        ``f(X, n_components, random_state)`` returns responsibilities of shape
        (n_samples, n_components) or integer labels of shape (n_samples,). Its X has the rows that
        have weight; the callable may also return an answer for all rows.
    weights_init : array-like of shape (n_components,), default=None
        Weights to start from; they replace those that `init_params` finds.
    means_init : array-like of shape (n_components, n_features), default=None
        Means to start from.
    precisions_init : array-like, default=None
        Inverse covariances to start from, in the shape of `covariances_`.
    random_state : int, RandomState or None, default=None
        Seed of the starts and of `sample`. None is NumPy's global generator.
    warm_start : bool, default=False
        Whether `fit` begins with the parameters that the last fit ended with.
    verbose : int, default=0
        1 prints the starts and every `verbose_interval`-th iteration; 2 also prints times and
        changes of the log-likelihood.
    verbose_interval : int, default=10
        Number of iterations between two lines of output.
    n_threads : int or None, default=None
        Number of threads. None means as many as the CPU affinity and the container's quota allow,
        and no more than OMP_NUM_THREADS or a limit of threadpoolctl. Negative numbers count back:
        -1 is all CPUs, -2 all but one. At most four threads are started for each of these CPUs.
        Results are bit-identical for any number of threads.
    missing : {'error', 'marginalize'}, default='error'
        What NaN in X means: an error, or a value that is missing at random. Such a value is
        integrated out exactly, in `fit` and in all methods that use the model. A callable
        `init_params` gets X with the means of the features in place of NaN. Data without NaN are
        not affected. Masked values of masked arrays count as NaN. `fit_batches`, `partial_fit` and
        fits of Dask collections do not take NaN yet.
    init_size : int or None, default=None
        Largest number of rows that `init_params` uses. Larger data are reduced to a subset of this
        many rows, drawn by weight, one from each of `init_size` equal parts of the data. None means
        3,000,000 / (n_features + 4), but at least 10 · n_components · n_features.
    checkpoint : str, path or None, default=None
        File for the state of a fit. It is replaced, in one step, after every
        `checkpoint_interval`-th iteration, and deleted when the fit has ended. If it exists when a
        fit of the same model to the same data begins, the fit is resumed from it, and the result
        is bit-identical to that of an uninterrupted fit. `tol` and `max_iter` may be different
        from before as long as the fit still passes through the saved state; `max_iter` can be
        raised during the first start, for instance. Any other file is refused. Data are recognised
        by a digest, which takes a pass over them; callable starts by their names. One file serves
        one fit at a time.
    checkpoint_interval : int, default=10
        Number of iterations between two checkpoints.
    learning_decay : float in (0.5, 1], default=0.6
        α of the step sizes of `partial_fit`.
    forget_factor : float in (0, 1] or None, default=None
        For drifting data: in `partial_fit`, the weight of a sample is multiplied by this factor for
        each sample after it, so that about 1 / (1 - forget_factor) samples are remembered. It
        replaces the step sizes.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Weights π_k.
    means_ : ndarray of shape (n_components, n_features)
        Means μ_k.
    covariances_ : ndarray
        Covariances Σ_k, of shape (n_components, n_features, n_features) for 'full',
        (n_features, n_features) for 'tied', (n_components, n_features) for 'diag', and
        (n_components,) for 'spherical'.
    precisions_ : ndarray
        Inverse covariances, in the same shape.
    precisions_cholesky_ : ndarray
        Upper triangular U with U Uᵀ = precision (full, tied), or reciprocal standard deviations.
        Methods use it together with `weights_` and `means_`. The last assignment to one of
        `covariances_`, `precisions_` and `precisions_cholesky_` wins; the other two are derived
        from it.
    n_samples_seen_ : float
        Total weight of the samples that `fit`, or `partial_fit` since then, has seen.
    converged_ : bool
        Whether EM converged within `max_iter` iterations.
    n_iter_ : int
        Number of iterations of the start that was kept.
    lower_bound_ : float
        Mean log-likelihood of the training samples under the fitted parameters.
    lower_bounds_ : list of float, of length n_iter_
        Mean log-likelihood found by the E-step of each iteration, so under the parameters before
        that iteration.
    restarts_ : list of Restart
        What became of each start: its log-likelihood, iterations and failure, and the smallest
        eigenvalue of its covariances.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, only if X had column names.

    See Also
    --------
    gmm_core.dask.GaussianMixture : The same for Dask collections.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 9.2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import GaussianMixture
    >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> sorted(gm.means_.round(6).tolist())
    [[1.0, 2.0], [10.0, 2.0]]
    """

    # What methods have checked last. It is not in vars(self), so it is neither copied nor pickled.
    __slots__ = ("_kept",)
    _kept: Kept | None

    covariance_type = CovarianceTypeAttribute()
    weights_ = ArrayAttribute()
    means_ = ArrayAttribute()
    covariances_ = CovarianceAttribute()
    precisions_ = CovarianceAttribute()
    precisions_cholesky_ = CovarianceAttribute()
    n_samples_seen_: float
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    restarts_: list[Restart]
    n_features_in_: int
    feature_names_in_: Names

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceName = "full",
        tol: float = 1e-3,
        reg_covar: float | npt.ArrayLike = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: StartName | InitCallable = "kmeans",
        weights_init: npt.ArrayLike | None = None,
        means_init: npt.ArrayLike | None = None,
        precisions_init: npt.ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        missing: MissingName = "error",
        init_size: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: int = 10,
        learning_decay: float = 0.6,
        forget_factor: float | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.missing = missing
        self.init_size = init_size
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.learning_decay = learning_decay
        self.forget_factor = forget_factor

    # --- fitting ----------------------------------------------------------------------------

    def fit(self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit the mixture by EM, from `n_init` starts.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            float32 is computed and returned in float32, with sums in float64; float64 and all
            other numbers are computed in float64. C-ordered arrays of these two types are never
            copied. Other arrays and data frames are copied if the copy takes no more than 32 MB,
            and larger ones are converted by parts in every pass.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A row of weight 0 is treated as absent, a row of weight 2 as two
            equal rows.

        Returns
        -------
        self : GaussianMixture
            The fitted model.

        Raises
        ------
        ValueError, TypeError
            For bad input, and if all starts fail. The estimator is then as it was before.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged within `max_iter` iterations.
        UserWarning
            If a component has no samples, or has collapsed onto few samples; for each start that
            fails, if there are several.
        """
        attributes, _ = run.fit_array(self._options(), vars(self), X, sample_weight)
        set_attributes(vars(self), attributes)
        return self

    def fit_batches(self, batches: Any) -> Self:
        """Fit the mixture to data that come in batches; batch sizes do not affect the result.

        Every pass over the data goes through the batches once: one pass checks and counts them,
        one or two find the start, each iteration takes one, and one more is made at the end.

        Parameters
        ----------
        batches : iterable, callable or dataset of pyarrow
            An iterable that can be gone through again, such as a list; or a callable that returns
            an iterable or an iterator for each pass; or an object with a method `to_batches` or
            `iter_batches`, as datasets, tables and Parquet files of pyarrow have. A batch is an
            array-like of shape (n_samples, n_features), of any number of samples, or a tuple
            (array, sample_weight). If all batches are float32, the computation is in float32. The
            dtypes must be the same in every pass.

        Returns
        -------
        self : GaussianMixture
            The fitted model, bit-identical to that of `fit` on all batches together.

        Raises
        ------
        ValueError, TypeError
            As from `fit`, with the number of the batch. Also if batches have different features, if
            they can be gone through only once, or if they have another number of samples, other
            weights or other dtypes in another pass. The estimator is then as it was before.

        Examples
        --------
        >>> import numpy as np
        >>> from gmm_core import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> gm = GaussianMixture(2, random_state=0).fit_batches([X[:100], X[100:]])
        >>> bool((gm.means_ == GaussianMixture(2, random_state=0).fit(X).means_).all())
        True
        """
        set_attributes(vars(self), run.fit_batches(self._options(), vars(self), batches))
        return self

    def fit_predict(
        self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Labels:
        """Fit the mixture, and return the component of each sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            See `fit`.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            See `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            What `predict` returns for X.

        Raises
        ------
        ValueError, TypeError
            As from `fit`. The estimator is then as it was before.
        """
        attributes, rows = run.fit_array(self._options(), vars(self), X, sample_weight)
        fitted = {name: value for name, value in attributes.items() if value is not None}
        prepared = prepared_of(fitted, self.covariance_type, self.n_threads)
        labels = score.labels(rows, self._using(prepared))
        set_attributes(vars(self), attributes)
        return labels

    def partial_fit(
        self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Learn from further samples, by stepwise EM, without keeping them.

        The statistics of the mixture are a running mean, s ← (1 − γ) s + γ s(X), from which each
        call makes the M-step. A sample has the step γ(n) = 1 / n up to n₀ = 10 times the number of
        free parameters, and n₀^(α − 1) / n^α after that, where n is the number of samples seen and
        α is `learning_decay`. A batch has the steps of its samples, so the division into batches
        hardly matters.

        The first samples are collected. The mixture is fitted to them once there are as many as
        components, again whenever they have grown by half, and for the last time, from ten starts
        at least, at 20 · n_components · n_features. After `fit`, `from_parameters` or `load`, the
        stream begins at the present mixture.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Any number of samples; a call with a single sample is slow.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights count relative to the mean weight in the first fit (after `from_parameters`, in
            the first batch), so that only their proportions matter, as in `fit`.

        Returns
        -------
        self : GaussianMixture
            `lower_bound_` is the mean log-likelihood of the last samples under the mixture as it
            was before it learned from them.

        Raises
        ------
        ValueError, TypeError
            For bad input. The estimator is then as it was before.

        References
        ----------
        O. Cappé, E. Moulines, On-line expectation-maximization algorithm for latent data models,
        J. R. Statist. Soc. B 71 (2009). P. Liang, D. Klein, Online EM for unsupervised models,
        NAACL (2009).

        Examples
        --------
        >>> import numpy as np
        >>> from gmm_core import GaussianMixture
        >>> rng, gm = np.random.default_rng(0), GaussianMixture(2, random_state=0)
        >>> for _ in range(20):
        ...     gm = gm.partial_fit(rng.normal(size=(100, 1)) + rng.choice([-5, 5], (100, 1)))
        >>> sorted(gm.means_.round().ravel().tolist())
        [-5.0, 5.0]
        """
        changes = stream.learn(
            self._options(), vars(self), X, sample_weight,
            lambda X: whole(self._rows(X, allow_nan=False)),
        )  # fmt: skip
        set_attributes(vars(self), changes)
        return self

    # --- using a fitted mixture --------------------------------------------------------------

    def predict(self, X: Any) -> Labels:
        """Return the component with the largest responsibility for each sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If X is not what `fit` would take, or has other features.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [9.0]], covariances=[1.0, 1.0])
        >>> gm.predict([[1.0], [8.0]]).tolist()
        [0, 1]
        """
        return score.labels(self._rows(X), self._model())

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the responsibilities r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j).

        A sample that is too far from all components for its density to be more than 0 belongs to
        the nearest component, which is the limit of the responsibilities.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)
            The probability of each component given the sample.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.
        """
        return score.responsibilities(self._rows(X), self._model())

    def score_samples(self, X: Any) -> FloatArray:
        """Return the log-likelihood of each sample, log p(x) = log Σ_k π_k N(x | μ_k, Σ_k).

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            In nats.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.
        """
        return score.log_likelihood(self._rows(X), self._model())

    def score(
        self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return the mean log-likelihood of the samples, weighted if weights are given.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        log_likelihood : float
            In nats per sample.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.
        """
        return score.score(self._rows(X), self._model(), sample_weight).mean

    def bic(self, X: Any, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the Bayesian information criterion, −2 log L + n_parameters · log n.

        The model with the lowest criterion is the best.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), default=None
            With weights, n is their sum.

        Returns
        -------
        bic : float

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.

        References
        ----------
        G. Schwarz, Estimating the dimension of a model, Ann. Statist. 6 (1978).
        """
        scored = score.score(self._rows(X), self._model(), sample_weight)
        return scored.bic(self._n_parameters())

    def aic(self, X: Any, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the Akaike information criterion, −2 log L + 2 n_parameters.

        The model with the lowest criterion is the best.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        aic : float

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.
        """
        scored = score.score(self._rows(X), self._model(), sample_weight)
        return scored.aic(self._n_parameters())

    def impute(self, X: Any, sample: bool = False) -> FloatArray:
        """Fill missing values by what the model says of them, given the rest of the sample.

        NaN is a missing value here, whatever the parameter `missing` says.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        sample : bool, default=False
            False fills by the conditional mean, True by a draw from the conditional distribution,
            with `random_state`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            A copy, in which only NaN has changed.

        Raises
        ------
        TypeError
            If `sample` is not a bool.
        NotFittedError, ValueError, TypeError
            As from `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters(
        ...     [1.0], [[0.0, 0.0]], covariances=[[[1.0, 0.5], [0.5, 1.0]]]
        ... )
        >>> gm.impute([[2.0, float("nan")]]).round(6).tolist()
        [[2.0, 1.0]]
        """
        if not isinstance(sample, (bool, np.bool_)):
            raise TypeError(f"sample must be True or False, got {sample!r}")
        random_state = check_random_state(self.random_state) if sample else None
        return impute(whole(self._rows(X, allow_nan=True)), self._model(), random_state)

    def sample(self, n_samples: int = 1) -> tuple[FloatArray, Labels]:
        """Draw samples from the mixture, in random order.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Of the dtype of `means_`.
        y : ndarray of shape (n_samples,), int64
            The component that each sample was drawn from.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `n_samples` is not a positive whole number.
        """
        prepared = self._model().prepared
        X, labels = draw(prepared, n_samples, check_random_state(self.random_state))
        return X.astype(self._dtype(), copy=False), labels

    # --- other forms ------------------------------------------------------------------------

    @classmethod
    def from_parameters(
        cls,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        *,
        covariances: npt.ArrayLike | None = None,
        precisions: npt.ArrayLike | None = None,
        covariance_type: CovarianceName | None = None,
        **params: Any,
    ) -> Self:
        """Make a ready model from its parameters.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
        means : array-like of shape (n_components, n_features)
        covariances, precisions : array-like, default=None
            One of the two, in the shape of the covariance type.
        covariance_type : {'full', 'tied', 'diag', 'spherical'} or None, default=None
            Needed only if the shape fits more than one type.
        **params
            Further arguments of the constructor.

        Returns
        -------
        model : GaussianMixture

        Raises
        ------
        ValueError
            If a shape or value does not fit, or not exactly one of covariances and precisions
            is given.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> gm.covariance_type, float(gm.precisions_[0])
        ('spherical', 0.25)
        """
        if (covariances is None) == (precisions is None):
            raise ValueError("give either covariances or precisions, and not both")
        shape = np.shape(means)
        if len(shape) != 2:
            raise ValueError(f"means has shape {shape}, expected (n_components, n_features)")
        name: Any = covariance_type
        if name is None:
            given = "precisions" if covariances is None else "covariances"
            matrices: Any = precisions if covariances is None else covariances
            name = type_by_shape(np.shape(matrices), *shape, given)
        model = cls(shape[0], covariance_type=name, **params)
        options = model._options()
        mixture, exact = mixture_of_arguments(
            weights, means, covariances, precisions, name, options.n_threads
        )
        single = getattr(means, "dtype", None) == np.float32
        attributes = attributes_of(
            Fit(mixture, [], math.nan, False), np.dtype(np.float32 if single else np.float64),
            None, effective_n_threads(options.n_threads),
        )  # fmt: skip
        if exact is not None:
            attributes["precisions_"] = exact.astype(attributes["precisions_"].dtype)
        set_attributes(vars(model), attributes)
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a NumPy .npz file.

        Parameters
        ----------
        path : str or path
            Used as it is, without adding a suffix. A `random_state` that is not an int, and an
            `init_params` that is a callable, are not kept. A model in a `partial_fit` stream
            continues after `load` exactly as the original would.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If a parameter or an attribute is not what `load` would accept.
        OSError
            If the file cannot be written. An older file of that name is unchanged, unless it had to
            be written in place (a pipe, a device, a file in a read-only folder).
        """
        self._model()
        npz.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote, without executing anything in the file.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        model : GaussianMixture

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is not such a model, or of a later format version.
        """
        params, attributes = npz.load(path)
        try:
            model = cls(**params)
            model._options()
            vars(model).update(attributes)
            model._model()
        except (TypeError, ValueError, OverflowError) as error:
            raise npz.not_a_model(path, error) from error
        return model

    def to_sklearn(self) -> SklearnGaussianMixture:
        """Make the same model as an object of scikit-learn's own class.

        Returns
        -------
        model : sklearn.mixture.GaussianMixture

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ImportError
            If scikit-learn is not installed.
        """
        self._model()
        return to_sklearn(self)

    # --- what methods begin with ------------------------------------------------------------

    def _options(self) -> Options:
        """Return the parameters of the constructor, checked."""
        return options_of(self)

    def _model(self) -> Model:
        """Return the fitted attributes as they are now, checked, and how they are used."""
        attributes = vars(self)
        if "means_" not in attributes or "weights_" not in attributes:
            raise self._not_fitted_error()
        prepared, self._kept = checked(
            attributes, self.covariance_type, self.n_threads, getattr(self, "_kept", None)
        )
        return self._using(prepared)

    def _n_parameters(self) -> int:
        """Return the number of free parameters; scikit-learn's class has this method too."""
        return score.n_parameters(self._model().prepared)

    def _using(self, prepared: Prepared) -> Model:
        return Model(prepared, self.missing == "marginalize", self.n_threads)

    def _rows(self, X: Any, allow_nan: bool | None = None) -> FloatArray | ForeignRows:
        """Return the samples that a method is given, checked against the fitted features.

        The values of ForeignRows are checked when they are converted, which all methods do once.
        """
        attributes = vars(self)
        if "means_" not in attributes:
            raise self._not_fitted_error()
        n_features = attributes.get("n_features_in_")
        dtype = self._dtype()
        rows, _ = check_rows(
            X,
            dtype=None if dtype == np.float32 else dtype,
            n_features=np.shape(self.means_)[1] if n_features is None else n_features,
            feature_names=attributes.get("feature_names_in_"),
            allow_nan=self.missing == "marginalize" if allow_nan is None else allow_nan,
            once=True,
        )
        return rows

    def _dtype(self) -> np.dtype[Any]:
        """Return the dtype of the model: float32 if the means are, else float64."""
        single = np.asarray(self.means_).dtype == np.float32
        return np.dtype(np.float32 if single else np.float64)

    def _not_fitted_error(self) -> Exception:
        collected: stream.Collected | None = vars(self).get("_collected")
        detail = ""
        if collected is not None:
            n, needed = collected.n_samples, rows_of_first_fit(self.n_components)
            detail = f"partial_fit has collected {n} sample{'s' * (n != 1)}; "
            missing = f"its first fit needs {needed}."
            detail += missing if n < needed else "no fit of them has succeeded yet."
        return not_fitted_error(type(self).__name__, detail)

    def __sklearn_tags__(self) -> Tags:
        """Describe the estimator to scikit-learn, with whether it takes NaN."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags
