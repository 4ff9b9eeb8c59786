"""The estimator that people import: scikit-learn's names and behaviour around the EM loop."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gmm_core._streaming import StreamingMethods


class GaussianMixture(StreamingMethods):
    """Gaussian mixture p(x) = Σ_k π_k N(x | μ_k, Σ_k), fitted by expectation-maximisation.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        'full': a matrix for each component; 'tied': one matrix for all; 'diag': a variance for
        each component and feature; 'spherical': a variance for each component.
    tol : float, default=1e-3
        EM stops when the mean log-likelihood of a sample changes by less than this.
    reg_covar : float or array-like of shape (n_features,), default=1e-6
        Added to the diagonal of every covariance, in squared units of the data; an array has a
        number for each feature (a spherical variance gets their mean). ``1e-6 * X.var(axis=0)``
        makes it relative to the scale of each feature.
    max_iter : int, default=100
        Most iterations of EM. With 0 the model is what EM would start from.
    n_init : int, default=1
        Number of starts; the one with the largest log-likelihood is kept. A start that fails
        numerically is skipped with a warning.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'} or callable
        How to start: from the clusters of k-means (default); from samples, chosen by k-means++
        or at random, as means, with the covariance of all data; from random responsibilities.
        A callable ``f(X, n_components, random_state)`` returns responsibilities of shape
        (n_samples, n_components) or integer labels of shape (n_samples,). X has the rows that have
        weight; an answer for all rows is accepted too.
    weights_init : array-like of shape (n_components,), optional
    means_init : array-like of shape (n_components, n_features), optional
    precisions_init : array-like, optional
        Inverse covariances, in the shape of `covariances_`. What is given replaces what
        `init_params` finds.
    random_state : int, RandomState or None
        Seed of the starts and of `sample`.
    warm_start : bool, default=False
        Whether `fit` goes on from the parameters of the last one.
    verbose : int, default=0
        1 prints the starts and every `verbose_interval`-th iteration, 2 also times and changes.
    verbose_interval : int, default=10
    n_threads : int or None
        None: what the CPU affinity and the container's quota allow, and no more than
        OMP_NUM_THREADS or a limit of threadpoolctl. Negative numbers count back: -1 is all, -2
        all but one. No more than four threads for each of these CPUs are started. The results are
        bit-identical for any number of threads.
    missing : {'error', 'marginalize'}, default='error'
        What NaN in X is: an error; or a value that is missing at random, which is integrated out,
        exactly, in `fit` and in all that uses the model. A callable `init_params` gets X with the
        means of the features in place of NaN. Without NaN nothing differs. Masked values of masked
        arrays count as NaN. `fit_batches`, `partial_fit` and fits of Dask collections do not take
        NaN yet.
    init_size : int, optional
        Most samples that `init_params` uses; of more it gets a subsample of so many, drawn by
        weight, one from each of `init_size` equal parts of the data. By default 3,000,000 /
        (n_features + 4), but at least 10 · n_components · n_features.
    checkpoint : str or path, optional
        A file for the state of a fit. It is replaced, in one step, after every
        `checkpoint_interval`-th iteration, and deleted when the fit has ended. If it exists when a
        fit of the same model to the same data begins, the fit is resumed from it, and the result
        is bit-identical to that of an uninterrupted fit. `tol` and `max_iter` may be others than
        before if the fit passes through the saved state all the same; `max_iter` can be raised
        during the first start, for instance. Any other file is refused. Data are recognised by a
        digest, which takes a pass over them; callable starts by their names. One file serves one
        fit at a time.
    checkpoint_interval : int, default=10
    learning_decay : float in (0.5, 1], default=0.6
        α of the step sizes of `partial_fit`.
    forget_factor : float in (0, 1], optional
        For drifting data: in `partial_fit` each sample counts this much less for each sample after
        it, so that some 1 / (1 - forget_factor) samples are remembered; replaces the step sizes.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    means_ : ndarray of shape (n_components, n_features)
    covariances_ : ndarray
        Of shape (n_components, n_features, n_features) for 'full', (n_features, n_features) for
        'tied', (n_components, n_features) for 'diag', (n_components,) for 'spherical'.
    precisions_ : ndarray
        Inverse covariances, same shape.
    precisions_cholesky_ : ndarray
        Upper triangular U with U Uᵀ = precision (full, tied), or reciprocal standard deviations.
        Methods use it together with `weights_` and `means_`. The last assignment to one of the
        three attributes wins; the others are derived from it.
    n_samples_seen_ : float
        Weight of the samples that `fit`, or `partial_fit` since then, has seen.
    converged_ : bool
        Whether EM came to its end before `max_iter`.
    n_iter_ : int
        Iterations of the start that was kept.
    lower_bound_ : float
        Mean log-likelihood of the training samples under the fitted parameters.
    lower_bounds_ : list of float, of length n_iter_
        The same, found by the E-step of each iteration, so under the parameters before it.
    restarts_ : list of Restart
        What became of each start: its log-likelihood, iterations, failure, and the smallest
        eigenvalue of its covariances.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if X had column names.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import GaussianMixture
    >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> sorted(gm.means_.round(6).tolist())
    [[1.0, 2.0], [10.0, 2.0]]
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float | npt.ArrayLike = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Any = "kmeans",
        weights_init: npt.ArrayLike | None = None,
        means_init: npt.ArrayLike | None = None,
        precisions_init: npt.ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        missing: str = "error",
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

    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> Self:
        """Fit the mixture by EM, from `n_init` starts.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            float32 is computed and returned in float32, with sums in float64; float64 and all
            other numbers in float64. C-ordered arrays of these two types are never copied; other
            arrays and data frames are copied if the copy takes no more than 32 MB, and larger ones
            are converted by parts in every pass.
        y : object
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative. Weight 0 is as if the row were absent, weight 2 as if it stood twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad input, and if all starts fail. Then the estimator is as it was before.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged within `max_iter` iterations.
        UserWarning
            If a component has no samples, or has collapsed onto few samples; for each start that
            fails, if there are several.
        """
        self._fit_array(X, sample_weight)
        return self

    def fit_batches(self, batches: Any) -> Self:
        """Fit the mixture to data that come in batches, with the bits of `fit` on all of them.

        Every pass over the data goes through the batches once: one at first, which checks and
        counts, one or two for the start, one for each iteration, and one at the end.

        Parameters
        ----------
        batches : iterable, callable or dataset of pyarrow
            An iterable that can be gone through again, such as a list; or a callable that returns
            one, or an iterator, for each pass; or what has `to_batches` or `iter_batches`, as
            datasets, tables and Parquet files of pyarrow have. A batch is an array-like of shape
            (n_samples, n_features), of any number of samples, or a tuple (array, sample_weight).
            If all are float32, the computation is; the dtypes must be the same in every pass.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the batch: those of `fit`; if batches have different features; if
            they can be gone through only once, or have another number of samples, other weights or
            other dtypes in another pass. The estimator is then as it was before.
        """
        self._fit_in_batches(batches)
        return self

    def fit_predict(
        self, X: Any, y: object = None, sample_weight: Any = None
    ) -> npt.NDArray[np.int64]:
        """Fit the mixture, and return `predict(X)`; see `fit`.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        y : object
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
        """
        before = vars(self).copy()
        try:
            return self._labels(self._fit_array(X, sample_weight))
        except BaseException:  # Ctrl-C in the prediction too leaves the model as it was
            vars(self).clear()
            vars(self).update(before)
            raise

    def partial_fit(self, X: Any, y: object = None, sample_weight: Any = None) -> Self:
        """Learn from further samples, by stepwise EM; none of them are kept.

        The statistics of the mixture are a running mean, s ← (1 − γ) s + γ s(X), of which each call
        makes parameters. A sample has the step γ(n) = 1 / n up to n₀ = 10 times the number of free
        parameters, and n₀^(α − 1) / n^α after that, n being the samples seen, α `learning_decay`; a
        batch has the steps of its samples, so their division into batches hardly matters.

        The first samples are collected. The mixture is fitted to them once there are as many as
        components, again whenever they have grown by half, and for the last time, from ten starts
        at least, at 20 · n_components · n_features. After `fit`, `from_parameters` or `load` it
        goes on from there.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Any number of samples; a single one is slow.
        y : object
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weights count relative to the mean weight in the first fit (after `from_parameters`, in
            the first batch), so that only their proportions matter, as in `fit`.

        Returns
        -------
        self
            `lower_bound_` is the mean log-likelihood of the last samples before they were learned
            from.

        Raises
        ------
        ValueError, TypeError
            For bad input. Then the estimator is as it was before.

        References
        ----------
        O. Cappé, E. Moulines, On-line expectation-maximization algorithm for latent data models,
        J. R. Statist. Soc. B 71 (2009). P. Liang, D. Klein, Online EM for unsupervised models,
        NAACL (2009).
        """
        self._learn(X, sample_weight)
        return self
