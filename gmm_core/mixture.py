"""The estimator that people import: scikit-learn's names and behaviour around the EM loop."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from gmm_core._forms import MixtureForms
from gmm_core._threads import effective_n_threads
from gmm_core.covariance import precisions_and_covariances
from gmm_core.em import Fit
from gmm_core.impute import fill, fill_for_start
from gmm_core.initialization import GivenParameters, initial_parameters
from gmm_core.marginal import has_missing, nearest_by_pattern
from gmm_core.missing import MissingPass
from gmm_core.parameter_validation import (
    check_enough_samples,
    check_means_init,
    check_n_samples,
    check_parameters,
    check_precisions_init,
    check_random_state,
    check_reg_covar,
    check_weights_init,
)
from gmm_core.parameters import Parameters
from gmm_core.passes import MIN_CHUNK_ROWS, ArrayPass
from gmm_core.restarts import Schedule, best_of_starts
from gmm_core.validation import (
    FloatArray,
    check_sample_weight,
    check_X,
    convergence_warning_class,
    not_fitted_error,
)

if TYPE_CHECKING:
    from sklearn.utils import Tags


class GaussianMixture(MixtureForms):
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
        (n_samples, n_components) or integer labels of shape (n_samples,).
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
        all but one. The results have the same bits for every number of threads.
    missing : {'error', 'marginalize'}, default='error'
        What NaN in X is: an error; or a value that is missing at random, which is integrated out,
        exactly, in `fit` and in all that uses the model. A callable `init_params` gets X with the
        means of the features in place of NaN. Without NaN nothing differs.

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

    # --- fitting ----------------------------------------------------------------------------

    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> Self:
        """Fit the mixture by EM, from `n_init` starts.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            float32 is computed and returned in float32, with sums in float64; float64 and all
            other numbers in float64.
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
        """
        self._fit(X, sample_weight)
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
            return self._labels(self._fit(X, sample_weight))
        except BaseException:  # Ctrl-C in the prediction too leaves the model as it was
            vars(self).clear()
            vars(self).update(before)
            raise

    def _fit(self, X: Any, sample_weight: Any) -> FloatArray:
        check_parameters(self.get_params(), type(self).__name__)
        allow_nan = self.missing == "marginalize"
        array, names = check_X(X, min_samples=2, allow_nan=allow_nan)
        n_samples, n_features = array.shape
        weight = check_sample_weight(sample_weight, n_samples)
        check_enough_samples(
            n_samples if weight is None else int(np.count_nonzero(weight)), self.n_components
        )
        if weight is not None:
            # by a power of 2, which changes no digit: float32 has a narrow range of exponents
            weight = np.ldexp(weight, -int(np.frexp(weight.max())[1]))
        given = self._given(n_features)
        reg_covar = check_reg_covar(self.reg_covar, n_features)
        random_state = check_random_state(self.random_state)
        n_threads = effective_n_threads(self.n_threads)
        size = (self.n_components, self.covariance_type, n_threads)
        data: ArrayPass | MissingPass
        start_reg_covar = reg_covar
        if allow_nan and has_missing(array):
            filled, variances = fill_for_start(array, weight)
            data = MissingPass(array, weight, *size)
            sample, start_reg_covar = ArrayPass(filled, weight, *size), reg_covar + variances
        else:
            data = sample = ArrayPass(array, weight, *size)
        schedule = Schedule(
            self.tol, self.max_iter, reg_covar, self.verbose, self.verbose_interval
        )
        if self.warm_start and hasattr(self, "converged_"):
            parameters = self._parameters_to_continue(data)
            previous = self.lower_bounds_[-1] if len(self.lower_bounds_) else -np.inf
            best, restarts = best_of_starts(data, lambda: parameters, 1, schedule, previous)
        else:
            best, restarts = best_of_starts(
                data,
                lambda: initial_parameters(
                    sample, self.init_params, given, random_state, start_reg_covar
                ),
                self.n_init,
                schedule,
            )
        if not best.converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                convergence_warning_class(),
                stacklevel=3,
            )
        _warn_of_empty_components(best)
        self._keep(best, array.dtype, n_features, names)
        self.restarts_ = restarts
        return array

    def __sklearn_tags__(self) -> Tags:
        """Describe the estimator to scikit-learn, with whether it takes NaN."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags

    def _given(self, n_features: int) -> GivenParameters:
        """The checked *_init arrays; the user's own stay what they are."""
        K = self.n_components
        weights, means, precisions = self.weights_init, self.means_init, self.precisions_init
        return GivenParameters(
            None if weights is None else check_weights_init(weights, K),
            None if means is None else check_means_init(means, K, n_features),
            None
            if precisions is None
            else check_precisions_init(precisions, self.covariance_type, K, n_features),
        )

    def _parameters_to_continue(self, data: ArrayPass | MissingPass) -> Parameters:
        """The fitted parameters, for a warm start."""
        parameters = self._parameters()
        K, D = parameters.means.shape
        if (K, D) != (self.n_components, data.X.shape[1]):
            raise ValueError(
                f"warm_start goes on from {K} components and {D} features, but n_components is "
                f"{self.n_components} and X has {data.X.shape[1]} features; set warm_start=False"
            )
        return parameters._replace(covariances=np.asarray(self.covariances_, np.float64))

    # --- using the model --------------------------------------------------------------------

    def _check_input(self, X: Any, allow_nan: bool = False) -> FloatArray:
        if not self.__sklearn_is_fitted__():
            raise not_fitted_error(type(self).__name__)
        attributes = vars(self)
        n_features = attributes.get("n_features_in_")
        array, _ = check_X(
            X,
            n_features=np.shape(self.means_)[1] if n_features is None else n_features,
            feature_names=attributes.get("feature_names_in_"),
            allow_nan=allow_nan or self.missing == "marginalize",
        )
        if np.asarray(self.means_).dtype != np.float32:
            array = array.astype(np.float64, copy=False)
        return array

    def _pass_over(
        self, X: FloatArray, allow_nan: bool = False
    ) -> tuple[ArrayPass | MissingPass, Parameters]:
        parameters = self._parameters()
        K, D = parameters.means.shape
        if X.shape[1] != D:
            raise ValueError(f"X has {X.shape[1]} features, but means_ has {D}")
        n_threads = effective_n_threads(self.n_threads) if len(X) > MIN_CHUNK_ROWS else 1
        if not ((allow_nan or self.missing == "marginalize") and has_missing(X)):
            return ArrayPass(X, None, K, self.covariance_type, n_threads), parameters
        # the fitted attribute may be rounded to float32: the methods go by the factors
        _, covariances = precisions_and_covariances(
            parameters.precisions_cholesky, self.covariance_type
        )
        return (
            MissingPass(X, None, K, self.covariance_type, n_threads),
            parameters._replace(covariances=covariances),
        )

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Component with the largest responsibility for each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
        """
        return self._labels(self._check_input(X))

    def _labels(self, X: FloatArray) -> npt.NDArray[np.int64]:
        data, parameters = self._pass_over(X)
        labels = np.empty(len(X), np.int64)
        if data.evaluate(parameters, labels=labels):
            rows = _rows_without_density(data, parameters)
            labels[rows] = nearest_by_pattern(X[rows], parameters)
        return labels

    def predict_proba(self, X: Any) -> FloatArray:
        """Responsibilities: the probability of each component given the sample.

        A sample that is too far from all components for its density to be more than 0 belongs to
        the nearest, which is the limit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)
        """
        return self._responsibilities(self._check_input(X))[0]

    def _responsibilities(
        self, X: FloatArray, allow_nan: bool = False
    ) -> tuple[FloatArray, Parameters]:
        """Responsibilities, and the parameters that they were taken under."""
        data, parameters = self._pass_over(X, allow_nan)
        out = np.empty((len(X), data.n_components), X.dtype)
        if data.evaluate(parameters, responsibilities=out):
            rows = _rows_without_density(data, parameters)
            out[rows] = np.eye(data.n_components)[nearest_by_pattern(X[rows], parameters)]
        return out, parameters

    def impute(self, X: Any, sample: bool = False) -> FloatArray:
        """Fill missing values by what the model says of them, given the rest of the sample.

        NaN is a missing value here, whatever `missing` says.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample : bool, default=False
            False: by the conditional mean. True: by a draw from the conditional distribution,
            with `random_state`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            A copy; what was not NaN is as it was.

        Raises
        ------
        TypeError
            If `sample` is not a bool.
        """
        if not isinstance(sample, (bool, np.bool_)):
            raise TypeError(f"sample must be True or False, got {sample!r}")
        array = self._check_input(X, allow_nan=True)
        responsibilities, parameters = self._responsibilities(array, allow_nan=True)
        random_state = check_random_state(self.random_state) if sample else None
        return fill(array, parameters, responsibilities, random_state)

    def score_samples(self, X: Any) -> FloatArray:
        """Log-likelihood of each sample, log p(x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
        """
        return self._log_likelihood(self._check_input(X))

    def _log_likelihood(self, X: FloatArray) -> FloatArray:
        data, parameters = self._pass_over(X)
        out = np.empty(len(X), X.dtype)
        data.evaluate(parameters, log_likelihood=out)
        return out

    def score(self, X: Any, y: object = None, sample_weight: Any = None) -> float:
        """Mean log-likelihood of the samples, weighted if weights are given.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : object
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        log_likelihood : float
        """
        return self._score(self._check_input(X), sample_weight)[0]

    def _score(self, X: FloatArray, sample_weight: Any) -> tuple[float, float]:
        """Mean log-likelihood and total weight."""
        log_likelihood = self._log_likelihood(X)
        weight = check_sample_weight(sample_weight, len(X))
        share: Any = 1 / len(X)
        with np.errstate(over="ignore"):
            if weight is None:
                mean, total = float(log_likelihood.mean()), float(len(X))
            else:
                present = weight > 0  # 0 times -inf would be NaN
                total = float(weight.sum())
                log_likelihood, share = log_likelihood[present], weight[present] / total
                mean = float((weight[present] * log_likelihood).sum()) / total
        if math.isinf(mean):  # the sum may be, with a mean that is not
            mean = float((share * log_likelihood.astype(np.float64)).sum())
        return mean, total

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Bayesian information criterion, −2 log L + n_parameters · log n (the lower the better).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional
            With weights, n is their sum.

        Returns
        -------
        bic : float
        """
        mean, n = self._score(self._check_input(X), sample_weight)
        return -2 * mean * n + self._n_parameters() * math.log(n)

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Akaike information criterion, −2 log L + 2 n_parameters (the lower the better).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        aic : float
        """
        mean, n = self._score(self._check_input(X), sample_weight)
        return -2 * mean * n + 2 * self._n_parameters()

    def sample(self, n_samples: int = 1) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Draw samples from the mixture, in random order.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Of the dtype of `means_`.
        y : ndarray of shape (n_samples,), int64
            The component that each was drawn from.
        """
        parameters = self._parameters()
        n = check_n_samples(n_samples)
        K, D = parameters.means.shape
        random_state = check_random_state(self.random_state)
        weights = parameters.weights / parameters.weights.sum()
        labels = np.repeat(np.arange(K, dtype=np.int64), random_state.multinomial(n, weights))
        labels = random_state.permutation(labels)
        X = random_state.standard_normal(size=(n, D))
        factors = parameters.precisions_cholesky
        for k in range(K):
            rows = labels == k
            if self.covariance_type in ("full", "tied"):
                factor = factors if self.covariance_type == "tied" else factors[k]
                # y = Uᵀ (x − μ) is standard normal
                X[rows] = np.linalg.solve(factor.T, X[rows].T).T
            else:
                X[rows] /= factors[k]
            X[rows] += parameters.means[k]
        dtype = np.asarray(self.means_).dtype
        return X.astype(dtype if dtype == np.float32 else np.float64, copy=False), labels


def _warn_of_empty_components(fit: Fit) -> None:
    empty = np.flatnonzero(fit.parameters.weights == 0)
    if len(empty) and len(fit.lower_bounds):  # without iterations the weights may be the user's
        warnings.warn(
            f"component {', '.join(map(str, empty))} has no samples: its weight is 0, its mean "
            "stays where the last sample left it, its covariance is that of the others, pooled. "
            "Use fewer components or another start.",
            stacklevel=4,
        )


def _rows_without_density(
    data: ArrayPass | MissingPass, parameters: Parameters
) -> npt.NDArray[np.intp]:
    log_likelihood = np.empty(len(data.X), data.X.dtype)
    data.evaluate(parameters, log_likelihood=log_likelihood)
    return np.flatnonzero(~(log_likelihood > -np.inf))
