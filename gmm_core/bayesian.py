"""The Bayesian mixture, with the names and the behaviour of scikit-learn's class."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import not_fitted_error
from gmm_core.core.random import check_random_state
from gmm_core.core.types import (
    AccelerationName,
    ConcentrationName,
    CovarianceName,
    Float64Array,
    FloatArray,
    Labels,
    MissingName,
    Names,
    Out,
    PosteriorName,
    SkipName,
    StartName,
)
from gmm_core.data.batches import checked_batches, refuse_weights_of_batches
from gmm_core.data.foreign import ForeignRows, check_rows, whole
from gmm_core.data.patterns import has_missing
from gmm_core.data.skipping import Order
from gmm_core.data.validation import is_batches
from gmm_core.fit import bayesian_stream, run
from gmm_core.fit.bayesian import fit_bayesian
from gmm_core.fit.options import BayesianOptions, InitCallable, options_of
from gmm_core.fit.restarts import Restart
from gmm_core.fit.result import Result, set_attributes
from gmm_core.fit.watching import Callback
from gmm_core.infer import outputs, score
from gmm_core.infer.draw import draw
from gmm_core.infer.outputs import Method
from gmm_core.infer.predictive import log_predictive
from gmm_core.infer.score import FittedMixture, Rows
from gmm_core.infer.summary import Parameters, components_html
from gmm_core.io import bayesian_npz
from gmm_core.io.sklearn import bayesian_to_sklearn
from gmm_core.mixture import GaussianMixture
from gmm_core.model.attributes import (
    ArrayAttribute,
    CovarianceAttribute,
    CovarianceTypeAttribute,
    dtype_of,
    mixture_from,
)
from gmm_core.model.parameters import prepare
from gmm_core.model.posterior import (
    HELD,
    Posterior,
    counts_of,
    expected_log_weights,
    has_wishart_determinants,
    posterior_from,
)
from gmm_core.sklearn_api import Estimator

if TYPE_CHECKING:
    from sklearn.mixture import BayesianGaussianMixture as SklearnBayesianGaussianMixture
    from sklearn.utils import Tags


class BayesianGaussianMixture(Estimator):
    """A Gaussian mixture with a prior for its parameters, fitted by variational inference.

    The posterior distribution of the parameters is approximated by a product of distributions of
    the labels, of the weights, and of the mean and the precision of each component (Bishop 2006,
    section 10.2; Blei & Jordan 2006). Components that the data do not need lose their samples, so
    that `n_components` is an upper bound.

    - The weights have a Dirichlet distribution, or are those of a Dirichlet process:
      π_k = v_k Π_j<k (1 − v_j) with v_k ~ Beta(1, γ).
    - Given its precision Λ_k, the mean of a component is N(m₀, (β₀ Λ_k)⁻¹).
    - The precision has a Wishart distribution with ν₀ degrees of freedom and the mean ν₀ C₀⁻¹.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        See `GaussianMixture`.
    tol : float, default=1e-3
        The fit stops when the lower bound changes by less than `tol` in an iteration, in nats for
        all samples.
    reg_covar : float or array-like of shape (n_features,), default=1e-6
        Regularisation that is added to the variances of the samples of each component, in squared
        units of the data. It is not part of the model, so that the lower bound may fall by a little
        in an iteration.
    max_iter : int, default=100
        Largest number of iterations.
    n_init : int, default=1
        Number of starts, of which the one with the largest lower bound is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'hierarchical'} or \
callable, default='kmeans'
        The method that finds a start; see `GaussianMixture`. 'k-means++' and 'random_from_data'
        take samples, each of which is the only one of its component.
    weight_concentration_prior_type : {'dirichlet_process', 'dirichlet_distribution'}, \
default='dirichlet_process'
        The prior of the weights. Each component has a stick v_k of its own, the last one too, as in
        scikit-learn.
    weight_concentration_prior : float or None, default=None
        The concentration: γ of the Dirichlet process, or the parameter of the symmetric Dirichlet
        distribution. The smaller it is, the fewer components have samples. None means
        1 / n_components.
    mean_precision_prior : float or None, default=None
        β₀, the number of samples that the prior of the means counts as. None means 1.
    mean_prior : array-like of shape (n_features,) or None, default=None
        m₀. None means the mean of the data.
    degrees_of_freedom_prior : float or None, default=None
        ν₀, which is larger than n_features − 1. None means n_features.
    covariance_prior : float, array-like or None, default=None
        C₀, of shape (n_features, n_features) for 'full' and 'tied', (n_features,) for 'diag', and a
        number for 'spherical'. None means the covariance of the data, its diagonal, or the mean of
        its diagonal.
    random_state : int, RandomState or None, default=None
        Seed of the starts and of `sample`. None means NumPy's global generator.
    warm_start : bool, default=False
        If True and the model is fitted, `fit` continues with the present posterior.
    verbose : int or bool, default=0
        See `GaussianMixture`.
    verbose_interval : int, default=10
        See `GaussianMixture`.
    n_threads : int or None, default=None
        Number of threads; see `GaussianMixture`. Results are bit-identical for any number of them.
    missing : {'error', 'marginalize'}, default='error'
        The meaning of NaN in X. With 'marginalize', NaN is a value that is missing at random. Its
        distribution, given the component and the observed values of the sample, is then a further
        factor of the approximation. The prior that is taken from the data counts a missing value as
        the mean of its feature.
    init_size : int or None, default=None
        Largest number of rows from which a start is found; see `GaussianMixture`.
    posterior : {'scikit-learn', 'conjugate'}, default='scikit-learn'
        With 'conjugate', the fit is exact coordinate ascent for the model above, in which 'tied' is
        one shared precision, 'diag' a Gamma distribution of shape ν / 2 for the precision of each
        feature, and 'spherical' one of shape ν n_features / 2. If `reg_covar` is 0, the lower bound
        never falls. With 'scikit-learn', the updates are those of scikit-learn's class. For 'full'
        they are the same. For 'tied' it adds n / K to ν₀, and for 'diag' and 'spherical' it takes
        log-determinants from the Wishart distribution of a full matrix, so that there is no model
        of which its bound is one.
    checkpoint : str, path or None, default=None
        A file that holds the state of the fit until the fit has ended; see `GaussianMixture`. A fit
        that was killed resumes from it, and the result is bit-identical to that of an uninterrupted
        fit.
    checkpoint_interval : int, default=10
        Number of iterations between two checkpoints.
    moves : bool, default=False
        Whether components are merged and deleted (Hughes & Sudderth 2013) when the fit from a start
        has ended. For a Dirichlet process, sorting the components by their counts is tried first;
        then merges of the 8 closest pairs of components, and deletions of the 4 smallest. At most
        `max_iter` iterations follow each move. They are given up early if they are unlikely to
        reach the bound of the fit without the move. A move is kept if it raises the bound by more
        than `tol`, and then all moves are tried again. The fit ends when no move is kept, or after
        `n_components` kept moves. Moves do not go together with `checkpoint`.
    learning_decay : float in (0.5, 1], default=0.7
        The exponent κ of the step sizes of `partial_fit`, (t + τ)^(−κ).
    learning_offset : float, default=10.0
        The offset τ ≥ 0 of these step sizes. The larger it is, the slower the first samples are
        forgotten.
    skip : {'auto', False}, default='auto'
        Whether E-steps skip pairs of a sample and a component whose responsibility is too small to
        count; see `gmm_core.GaussianMixture`.
    acceleration : {'squarem', 'lbfgs'} or None, default=None
        With either of these methods, fits take fewer passes over the data; see `GaussianMixture`.
        What is said there of the log-likelihood holds for the lower bound here. Memoized fits are
        not accelerated, and an error is raised.
    callback : callable, list of callables, or None, default=None
        Called as ``callback(state)`` after each iteration, with a `FitState`: the numbers of the
        iteration and of the start, the lower bound, the time, and the parameters on demand.
        If it returns True, the fit stops after this iteration: other starts and moves are left out,
        the best parameters so far are kept, and there is no warning. If it raises an error, `fit`
        raises it, and the estimator is unchanged. Several callbacks are called in turn. When the
        fit has ended in any way, the method `close` of a callback that has one is called.
        `ProgressBar` is such a callback. A file written by `save` has no callback, and
        `partial_fit` calls none.
    time_limit : float or None, default=None
        Number of seconds after which the fit stops: it ends with the iteration in which this time
        is passed, as if a callback had stopped it, but with a warning if EM has not converged. At
        least one iteration is made. `restarts_` has the starts that were made, and `stopped` of the
        last one tells why it ended early. With a `checkpoint`, a fit that is stopped early leaves
        its file, and the next `fit` goes on from there. `partial_fit` has no time limit.

    Attributes
    ----------
    weights_, means_ : ndarray
        Expected weights (n_components,), scaled to sum to 1, and expected means
        (n_components, n_features).
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Inverses of the expected precisions, the expected precisions, and their factors, in the
        shapes that `GaussianMixture` has them. These and the two above are float32 after a fit to
        float32, else float64; all other arrays are float64.
    weight_concentration_ : ndarray of shape (n_components,), or tuple of two
        Parameters of the Dirichlet distribution, or of the Beta distributions of the sticks.
    mean_precision_ : ndarray of shape (n_components,)
        β_k = β₀ + N_k.
    degrees_of_freedom_ : ndarray of shape (n_components,), or a number for 'tied'
        ν_k = ν₀ + N_k.
    weight_concentration_prior_, mean_precision_prior_, mean_prior_, degrees_of_freedom_prior_, \
covariance_prior_ : float or ndarray
        The prior.
    converged_ : bool
        Whether the bound converged within `max_iter` iterations.
    n_iter_ : int
        Number of iterations of the start that was kept. If a move was kept, it is the number of
        iterations since the last such move. In a stream of `partial_fit`, it is the number of
        steps so far.
    lower_bound_ : float
        The lower bound after the last iteration, in nats. With ``posterior='conjugate'`` it is
        `elbo_`; otherwise it is scikit-learn's, which leaves out constants.
    lower_bounds_ : list of float
        The bounds after each of these iterations. An iteration in which `acceleration` rejected a
        posterior has that of the iteration before. In a stream of `partial_fit`, the list is empty.
    elbo_ : float
        The lower bound of log p(X) with all its constants, in nats, which can be compared between
        numbers of components, covariance types and priors. For one component with a Dirichlet
        distribution of the weights, it equals log p(X) if `reg_covar` is 0 and no values are
        missing. Priors that count as much as 10¹⁰ samples or more cost it digits. With
        scikit-learn's updates, it is the bound of the conjugate posterior that has the same
        parameters. For a Dirichlet process, it has a stick for each component, the last one too. If
        the prior is the covariance of the data and that is singular, it is −inf. In a stream of
        `partial_fit`, this and `lower_bound_` are estimates for all samples seen, from the running
        means of the statistics and of the entropy of the responsibilities.
    posterior_ : {'scikit-learn', 'conjugate'}
        The updates that the fit made, which methods go by.
    n_components_ : int
        Number of components that hold samples: those with a count N_k of at least ½.
    restarts_ : list of Restart
        Results of the starts; their `log_likelihood` is the lower bound.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,), object
        Names of the features. The attribute exists only if X had column names.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 10.2. D. M. Blei,
    M. I. Jordan, Variational inference for Dirichlet process mixtures, Bayesian Analysis 1 (2006).
    M. C. Hughes, E. B. Sudderth, Memoized online variational inference for Dirichlet process
    mixture models, NIPS (2013), for moves. M. D. Hoffman, D. M. Blei, C. Wang, J. Paisley,
    Stochastic variational inference, JMLR 14 (2013), for `partial_fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import BayesianGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) + np.repeat([[0, 0], [8, 0], [0, 8]], 100, axis=0)
    >>> bgm = BayesianGaussianMixture(
    ...     n_components=8, weight_concentration_prior=1e-3, max_iter=500, random_state=0
    ... ).fit(X)
    >>> bgm.n_components_
    3
    """

    covariance_type = CovarianceTypeAttribute()
    weights_ = ArrayAttribute()
    means_ = ArrayAttribute()
    covariances_ = CovarianceAttribute()
    precisions_ = CovarianceAttribute()
    precisions_cholesky_ = CovarianceAttribute()
    weight_concentration_prior_: float
    weight_concentration_: Any
    mean_precision_prior_: float
    mean_prior_: FloatArray
    mean_precision_: FloatArray
    degrees_of_freedom_prior_: float
    degrees_of_freedom_: FloatArray
    covariance_prior_: FloatArray
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    elbo_: float
    posterior_: PosteriorName
    restarts_: list[Restart]
    n_features_in_: int
    feature_names_in_: Names

    def __init__(
        self,
        *,
        n_components: int = 1,
        covariance_type: CovarianceName = "full",
        tol: float = 1e-3,
        reg_covar: float | npt.ArrayLike = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: StartName | InitCallable = "kmeans",
        weight_concentration_prior_type: ConcentrationName = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: npt.ArrayLike | None = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: float | npt.ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        missing: MissingName = "error",
        init_size: int | None = None,
        posterior: PosteriorName = "scikit-learn",
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: int = 10,
        moves: bool = False,
        learning_decay: float = 0.7,
        learning_offset: float = 10.0,
        skip: SkipName = "auto",
        acceleration: AccelerationName | None = None,
        callback: Callback | Sequence[Callback] | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.missing = missing
        self.init_size = init_size
        self.posterior = posterior
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.moves = moves
        self.learning_decay = learning_decay
        self.learning_offset = learning_offset
        self.skip = skip
        self.acceleration = acceleration
        self.callback = callback
        self.time_limit = time_limit

    # --- fitting ----------------------------------------------------------------------------

    def fit(self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit the posterior by variational inference, from `n_init` starts.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            See `GaussianMixture.fit`.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample. A row of weight 2 is
            treated as two equal rows, so the size of the weights matters.

        Returns
        -------
        self : BayesianGaussianMixture
            The fitted model.

        Raises
        ------
        ValueError, TypeError
            If an argument or a parameter of the constructor is invalid, or all starts fail. The
            estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning
            If the bound has not converged within `max_iter` iterations.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(n_components=2, random_state=0)
        >>> bgm.fit([[0.0], [1.0], [8.0], [9.0]]).converged_
        True
        """
        self._watched(
            lambda watch: self._fit(X, sample_weight, watch)[0].keep_in(self), X, y, sample_weight
        )
        return self

    def fit_batches(self, batches: Any, *, memoized: bool = False) -> Self:
        """Fit the posterior to data that come in batches.

        Parameters
        ----------
        batches : iterable, callable or dataset of pyarrow
            See `GaussianMixture.fit_batches`. The batches have no noise_covariance.
        memoized : bool, default=False
            Whether the posterior is updated after every batch, and not only after all (memoised
            variational inference). The statistics of each batch are kept, and its new ones replace
            its old ones. This takes fewer passes, and memory for two sets of statistics (a few
            n_components · n_features² numbers) per batch. An iteration is still a pass over all
            batches. The first pass makes no updates on the way, so with one batch nothing changes.

        Returns
        -------
        self : BayesianGaussianMixture
            The fitted model. Batch sizes do not affect the result, which is bit-identical to that
            of `fit` on all batches together. With `memoized`, they do affect it.

        Raises
        ------
        ValueError, TypeError
            As from `GaussianMixture.fit_batches`, and if `memoized` is not a bool.

        References
        ----------
        M. C. Hughes, E. B. Sudderth, Memoized online variational inference for Dirichlet process
        mixture models, NIPS (2013). R. M. Neal, G. E. Hinton, A view of the EM algorithm that
        justifies incremental, sparse, and other variants (1998).

        Examples
        --------
        >>> import numpy as np
        >>> from gmm_core import BayesianGaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> bgm = BayesianGaussianMixture(random_state=0).fit_batches([X[:100], X[100:]])
        >>> bool((bgm.means_ == BayesianGaussianMixture(random_state=0).fit(X).means_).all())
        True
        """
        if not isinstance(memoized, (bool, np.bool_)):
            raise TypeError(f"memoized is {memoized!r}, expected a bool")
        began, options = time.perf_counter(), self._options()
        data, totals, names = run.pass_over_batches(options, batches, options.verbose)
        if data.noise_width:
            raise ValueError(
                "batches have a noise_covariance, which BayesianGaussianMixture does not take"
            )

        def fit(watch: Callback | None) -> None:
            fit_bayesian(
                options, *self._warm(), data, totals, names, memoized=bool(memoized),
                order=self._order_before(), watch=watch, began=began,
            ).keep_in(self)  # fmt: skip

        self._watched(fit)
        return self

    def fit_predict(
        self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Labels:
        """Fit the posterior, and return the component of each sample.

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
            The labels that `predict` returns for X after the fit.

        Raises
        ------
        ValueError, TypeError
            For the same reasons as in `fit`.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(n_components=2, random_state=0)
        >>> labels = bgm.fit_predict([[0.0], [1.0], [8.0], [9.0]] * 5)
        >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
        True
        """

        def fit(watch: Callback | None) -> Labels:
            result, rows = self._fit(X, sample_weight, watch)
            fitted = type(self)(**self.get_params())
            set_attributes(fitted, result.attributes)
            labels = score.labels(rows, fitted._model())
            result.keep_in(self)
            return labels

        return self._watched(fit, X, y, sample_weight)

    def partial_fit(
        self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Learn from further samples by stochastic variational inference, without keeping them.

        A call processes its samples in batches of at most B = 20 · n_components · n_features rows.
        Each batch makes a step of the size ρ_t = (t + τ)^(−κ), with τ = `learning_offset` and
        κ = `learning_decay`: the natural parameters of the posterior move by the share ρ_t towards
        those that the batch would lead to if it stood for all N samples (Hoffman et al. 2013). In
        other words, the posterior is that of N times the running mean of the statistics of a
        sample, s ← (1 − ρ_t) s + ρ_t s(batch). N is the total weight of the samples seen so far,
        so that the posterior narrows as samples come in. The samples before a batch are t times B;
        a batch of m B rows, with m < 1, makes a step of the size 1 − (1 − ρ_t)^m. So the division
        into calls hardly matters.

        The first samples are collected. The posterior is fitted to them as soon as there are as
        many samples as components (but at least two), and again whenever their number has grown by
        half. The last of these fits is made with 20 · n_components · max(n_features, 20) samples,
        from at least ten starts. Whatever the prior takes from the data is taken from these
        samples. No moves are made (see `moves`), because these samples may be too few for a
        component of the stream. After `fit`, the stream begins with the present posterior. The
        prior then stays as it is.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Any number of samples. One call with many samples is faster than many calls with few.
            Parts with missing values take longer than others.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample. As in `fit`, a row of
            weight 2 is treated as two rows in N. In t, past samples count in units of the mean
            weight of the batch.

        Returns
        -------
        self : BayesianGaussianMixture
            The model. It is not fitted yet if too few samples have been collected.

        Raises
        ------
        ValueError, TypeError
            If an argument or a parameter of the constructor is invalid, if a fit to the first
            samples fails, or if a later step fails numerically. The estimator is then unchanged.

        Examples
        --------
        >>> import numpy as np
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(n_components=2, random_state=0)
        >>> rng = np.random.default_rng(0)
        >>> for _ in range(20):
        ...     bgm = bgm.partial_fit(rng.normal(size=(100, 1)) + rng.choice([-5, 5], (100, 1)))
        >>> sorted(bgm.means_.round().ravel().tolist())
        [-5.0, 5.0]
        """
        changes = bayesian_stream.learn(
            self._options(), vars(self), X, sample_weight,
            lambda X: whole(self._rows(X)),
        )  # fmt: skip
        set_attributes(self, changes)
        return self

    def _fit(
        self, X: Any, sample_weight: Any, watch: Callback | None
    ) -> tuple[Result, Rows]:
        """Return the result of the fit and the checked samples."""
        began, options = time.perf_counter(), self._options()
        data, totals, names, rows = run.pass_over_array(
            options, X, sample_weight, type(self).__name__
        )
        result = fit_bayesian(
            options, *self._warm(), data, totals, names, order=self._order_before(), watch=watch,
            began=began,
        )  # fmt: skip
        return result, rows

    def _order_before(self) -> Order | None:
        """Return the order of the samples that a warm start continues with."""
        return vars(self).get("_order") if self.warm_start else None

    def _warm(self) -> tuple[Posterior | None, float]:
        """Return the posterior that a warm start begins with, and its bound."""
        if self.warm_start and "converged_" in vars(self):
            return self._posterior(), self.lower_bound_
        return None, -math.inf

    # --- using a fitted mixture --------------------------------------------------------------

    def predict(self, X: Any, out: Out = None) -> Labels:
        """Return the component with the largest responsibility for each sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `GaussianMixture.predict` for batches.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the result; see `GaussianMixture.predict`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Numbers of components, from 0.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `fit` would not accept X, or X has other features than the training data.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> bgm.predict([[1.0]]).tolist()
        [0]
        """
        labels: Labels = self._results(outputs.PREDICT, X, out)
        return labels

    def predict_proba(self, X: Any, out: Out = None) -> FloatArray:
        """Return the responsibilities r_nk ∝ exp(E log π_k + E log N(x_n | μ_k, Λ_k⁻¹)).

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `GaussianMixture.predict` for batches.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the result; see `GaussianMixture.predict`.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> bgm.predict_proba([[1.0]]).tolist()
        [[1.0]]
        """
        r: FloatArray = self._results(outputs.PREDICT_PROBA, X, out)
        return r

    def score_samples(self, X: Any, out: Out = None) -> FloatArray:
        """Return log Σ_k exp(E log π_k + E log N(x | μ_k, Λ_k⁻¹)) of each sample, in nats.

        This is what scikit-learn's class returns. It is not the logarithm of a density, as its
        exponential integrates to less than 1; see `log_predictive`.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `GaussianMixture.predict` for batches.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the result; see `GaussianMixture.predict`.

        Returns
        -------
        scores : ndarray of shape (n_samples,)

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> bool((bgm.score_samples([[1.0]]) < bgm.log_predictive([[1.0]])).all())
        True
        """
        scores: FloatArray = self._results(outputs.SCORE_SAMPLES, X, out)
        return scores

    def score(
        self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return the weighted mean of `score_samples`.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `GaussianMixture.score` for batches.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample. Weights of batches are
            given with each batch.

        Returns
        -------
        score : float
            The mean in nats per sample.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `sample_weight` is invalid.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> bgm.score([[1.0]]) > bgm.score([[99.0]])
        True
        """
        model = self._model()
        if is_batches(X):
            refuse_weights_of_batches(sample_weight)
            check_noise = outputs.NOISE_PROBA.check_noise
            batches = checked_batches(X, lambda batch: whole(self._rows(batch, 0)), check_noise)
            return score.score_of_batches(batches, model).mean
        return score.score(self._rows(X), model, sample_weight).mean

    def log_predictive(self, X: Any) -> Float64Array:
        """Return the logarithm of the posterior predictive density of each sample.

        It is the mean of the mixture's density over the posterior distribution of its parameters, a
        mixture of Student's t distributions, and integrates to 1. For 'diag', a component is a
        product of such distributions of the features. The weights are `weights_`. A posterior of
        scikit-learn's updates is read as the conjugate one with the same parameters.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Samples without missing values.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), float64
            In nats.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        References
        ----------
        C. M. Bishop, Pattern Recognition and Machine Learning (2006), equation 10.81.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> bgm.log_predictive([[1.0]]).shape
        (1,)
        """
        rows = self._rows(X)
        if self.missing == "marginalize" and has_missing(rows):
            raise ValueError("X contains NaN, but log_predictive does not take missing values")
        return log_predictive(rows, self._posterior())

    def sample(self, n_samples: int = 1) -> tuple[FloatArray, Labels]:
        """Draw samples from the mixture of `weights_`, `means_` and `covariances_`.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The samples, ordered by component.
        y : ndarray of shape (n_samples,), int64
            The component that each sample was drawn from.

        Raises
        ------
        NotFittedError, ValueError, TypeError, OverflowError
            As from `GaussianMixture.sample`.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> X, y = bgm.sample(5)
        >>> X.shape, y.shape
        ((5, 1), (5,))
        """
        mixture = self._posterior().mixture
        plain = prepare(mixture.weights, mixture.means, mixture.prepared.precisions_cholesky,
                        mixture.covariance_type)  # fmt: skip
        X, labels = draw(plain, n_samples, check_random_state(self.random_state))
        return X.astype(dtype_of(self.means_), copy=False), labels

    # --- other forms ------------------------------------------------------------------------

    @property
    def n_components_(self) -> int:
        """Number of components that hold samples: those with a count N_k of at least ½."""
        return int(np.count_nonzero(self._counts() >= HELD))

    def to_gaussian_mixture(self) -> GaussianMixture:
        """Return the mixture of the expected parameters, without the empty components.

        Returns
        -------
        model : GaussianMixture
            A fitted model of `n_components_` components, with the weights scaled to sum to 1.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If no component holds samples.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(n_components=2, random_state=0)
        >>> gm = bgm.fit([[0.0], [1.0], [8.0], [9.0]] * 5).to_gaussian_mixture()
        >>> sorted(gm.means_.round(1).ravel().tolist())
        [0.9, 8.1]
        """
        held = self._counts() >= HELD
        if not held.any():
            raise ValueError(f"no component holds samples: all counts N_k are below {HELD}")
        mixture = self._posterior().mixture
        weights = mixture.weights[held]
        return GaussianMixture.from_parameters(
            weights / weights.sum(), np.asarray(self.means_)[held],
            covariances=mixture.kind.take(mixture.covariances, np.flatnonzero(held)),
            covariance_type=self.covariance_type, n_threads=self.n_threads, missing=self.missing,
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a NumPy .npz file, which `load` reads.

        A `random_state` that is not an int, and an `init_params` that is a callable, are not saved.
        A stream of `partial_fit` continues after `load` with bit-identical results if
        `random_state` is an int and `init_params` is not a callable.

        Parameters
        ----------
        path : str or path
            The name of the file; no suffix is added.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError, OSError
            As from `GaussianMixture.save`.

        Examples
        --------
        >>> import os, tempfile
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bgm.save(f"{folder}/model.npz")
        ...     os.listdir(folder)
        ['model.npz']
        """
        self._model()
        bayesian_npz.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote, without executing anything in the file.

        Parameters
        ----------
        path : str or path
            The name of the file.

        Returns
        -------
        model : BayesianGaussianMixture
            The model with the parameters and the fitted attributes that were saved.

        Raises
        ------
        OSError
            If the file cannot be opened.
        TypeError
            If `path` is not a path.
        ValueError
            If the file was not written by `save`, was written by `GaussianMixture.save`, is
            damaged, or has a later format version.

        Examples
        --------
        >>> import tempfile
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bgm.save(f"{folder}/model.npz")
        ...     loaded = BayesianGaussianMixture.load(f"{folder}/model.npz")
        >>> loaded.elbo_ == bgm.elbo_
        True
        """
        return bayesian_npz.load(cls, path)

    def to_sklearn(self) -> SklearnBayesianGaussianMixture:
        """Convert the model to scikit-learn's own class.

        Returns
        -------
        model : sklearn.mixture.BayesianGaussianMixture
            A fitted model with copies of the arrays, whose methods return the same. Parameters that
            scikit-learn's class does not have, and an `init_params` that is a callable or
            'hierarchical', are left out.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If the posterior is the conjugate one and not that of scikit-learn's class, so that its
            predictions would differ. This concerns 'diag' and 'spherical' covariances of several
            features.
        ImportError
            If scikit-learn is not installed.

        Examples
        --------
        >>> from gmm_core import BayesianGaussianMixture
        >>> bgm = BayesianGaussianMixture(random_state=0).fit([[0.0], [1.0], [8.0]])
        >>> bgm.to_sklearn().predict([[3.0]]).tolist()
        [0]
        """
        if not has_wishart_determinants(self._posterior()):
            raise ValueError(
                f"posterior={self.posterior!r} with covariance_type={self.covariance_type!r} is "
                "not a posterior that scikit-learn's class has: its predictions would differ. Fit "
                "with posterior='scikit-learn'"
            )
        return bayesian_to_sklearn(self)

    def _counts(self) -> Float64Array:
        """Return the counts N_k."""
        return counts_of(
            self._posterior(), self.weight_concentration_prior_, self.mean_precision_prior_
        )

    # --- checks that the methods make -------------------------------------------------------

    def _options(self) -> BayesianOptions:
        """Check the parameters of the constructor, and return them."""
        return options_of(self, BayesianOptions)

    def _posterior(self) -> Posterior:
        """Return the fitted attributes as they are now."""
        if "means_" not in vars(self) or "weights_" not in vars(self):
            raise not_fitted_error(type(self).__name__)
        mixture = mixture_from(vars(self), self.covariance_type, self.n_threads)
        conjugate = vars(self).get("posterior_", self.posterior) == "conjugate"
        posterior = posterior_from(vars(self), mixture, conjugate)
        # Weights that a user has assigned count in what takes expected weights.
        expected = posterior.mixture._replace(weights=mixture.weights)
        return posterior._replace(mixture=expected)

    def _estimate_log_weights(self) -> Float64Array:
        """Return E log π_k; converters of models call this method of scikit-learn's class."""
        return expected_log_weights(self._posterior().weight_concentration)

    def _model(self) -> FittedMixture:
        """Return the E-step of the fitted posterior with the options of this estimator."""
        prepared = self._posterior().mixture.prepared
        return FittedMixture(
            prepared, self.missing == "marginalize", self.n_threads, skip=self.skip == "auto"
        )

    def _results(self, method: Method, X: Any, out: Out) -> Any:
        """Return the results of a method for samples or batches; see `outputs.results`."""
        return outputs.results(
            method._replace(noise="refused"), X, self._model(), self._rows, out=out
        )

    def _rows(self, X: Any, min_samples: int = 1) -> FloatArray | ForeignRows:
        """Check the samples of a method against the fitted features, and return them."""
        attributes = vars(self)
        if "means_" not in attributes:
            raise not_fitted_error(type(self).__name__)
        dtype = dtype_of(self.means_)
        rows, _ = check_rows(
            X,
            dtype=None if dtype == np.float32 else dtype,
            n_features=np.shape(self.means_)[1],
            feature_names=attributes.get("feature_names_in_"),
            min_samples=min_samples,
            allow_nan=self.missing == "marginalize",
            once=True,
            n_threads=self.n_threads,
            estimator_name=type(self).__name__,
        )
        return rows

    def _html_of_fit(self) -> str:
        """Return the components of a fitted model as a table in HTML."""
        return components_html(self._shown()) if "means_" in vars(self) else ""

    def _shown(self) -> Parameters:
        """Check the fitted attributes, and return what the table of components shows."""
        self._model()
        return Parameters(
            self.weights_, self.means_, self.covariances_, self.covariance_type,
            vars(self).get("feature_names_in_"),
        )  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        """Describe the estimator to scikit-learn, including whether it accepts NaN."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags
