"""What a fitted mixture is used for: labels, responsibilities, log-likelihoods, samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gmm_core._forms import MixtureForms
from gmm_core._threads import effective_n_threads
from gmm_core.conversion import ForeignRows, check_rows, whole
from gmm_core.covariance import precisions_and_covariances
from gmm_core.impute import fill
from gmm_core.marginal import has_missing, nearest_by_pattern
from gmm_core.missing import MissingPass
from gmm_core.parameter_validation import check_n_samples, check_random_state
from gmm_core.parameters import Parameters
from gmm_core.passes import MIN_CHUNK_ROWS, ArrayPass
from gmm_core.validation import FloatArray, check_sample_weight

if TYPE_CHECKING:
    from sklearn.utils import Tags

_SCORED_ROWS = 1 << 20


class MixtureMethods(MixtureForms):
    """The methods that need a fitted mixture; the constructor is that of GaussianMixture."""

    missing: str
    n_threads: int | None
    random_state: int | np.random.RandomState | None

    def __sklearn_tags__(self) -> Tags:
        """Describe the estimator to scikit-learn, with whether it takes NaN."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags

    def _check_input(self, X: Any, allow_nan: bool | None = None) -> FloatArray | ForeignRows:
        if not self.__sklearn_is_fitted__():
            raise self._not_fitted_error()
        attributes = vars(self)
        n_features = attributes.get("n_features_in_")
        # The values of ForeignRows are checked when they are converted, which all methods do once.
        is_float32 = np.asarray(self.means_).dtype == np.float32
        rows, _ = check_rows(
            X,
            dtype=None if is_float32 else np.dtype(np.float64),
            n_features=np.shape(self.means_)[1] if n_features is None else n_features,
            feature_names=attributes.get("feature_names_in_"),
            allow_nan=self.missing == "marginalize" if allow_nan is None else allow_nan,
            once=True,
        )
        return rows

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
            parameters.precisions_cholesky, self.covariance_type, n_threads
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

    def _labels(self, X: FloatArray | ForeignRows) -> npt.NDArray[np.int64]:
        if isinstance(X, ForeignRows):
            return X.map(self._labels, np.empty(len(X), np.int64))
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
        rows = self._check_input(X)
        if isinstance(rows, ForeignRows):
            out = np.empty((len(rows), len(self.weights_)), rows.dtype)
            return rows.map(lambda part: self._responsibilities(part)[0], out)
        return self._responsibilities(rows)[0]

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
        array = whole(self._check_input(X, allow_nan=True))
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

    def _log_likelihood(self, X: FloatArray | ForeignRows) -> FloatArray:
        if isinstance(X, ForeignRows):
            return X.map(self._log_likelihood, np.empty(len(X), X.dtype))
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

    def _score(self, X: FloatArray | ForeignRows, sample_weight: Any) -> tuple[float, float]:
        """Mean log-likelihood and total weight."""
        weight = check_sample_weight(sample_weight, len(X))
        total = float(len(X)) if weight is None else float(weight.sum())
        mean = 0.0
        for start in range(0, len(X), _SCORED_ROWS):
            rows = slice(start, start + _SCORED_ROWS)
            log_likelihood = self._log_likelihood(X[rows]).astype(np.float64, copy=False)
            part = np.ones(len(log_likelihood)) if weight is None else weight[rows]
            if part.any():  # or else the mean would be 0 / 0
                mean += part.sum() / total * _weighted_mean(log_likelihood, part)
        return float(mean), total

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


def _weighted_mean(
    log_likelihood: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> float:
    with np.errstate(over="ignore"):
        if (weight == 1).all():
            mean = float(log_likelihood.mean())
        else:
            present = weight > 0  # 0 times -inf would be NaN
            log_likelihood, weight = log_likelihood[present], weight[present]
            mean = float((weight * log_likelihood).sum() / weight.sum())
    if math.isinf(mean):  # the sum may be, with a mean that is not
        mean = float((weight / weight.sum() * log_likelihood).sum())
    return mean


def _rows_without_density(
    data: ArrayPass | MissingPass, parameters: Parameters
) -> npt.NDArray[np.intp]:
    log_likelihood = np.empty(len(data.X), data.X.dtype)
    data.evaluate(parameters, log_likelihood=log_likelihood)
    return np.flatnonzero(~(log_likelihood > -np.inf))
