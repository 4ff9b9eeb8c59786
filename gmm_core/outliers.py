"""The outlier detector, which calls samples of low density outliers."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import InvalidParameterError, not_fitted_error
from gmm_core.core.random import check_random_state
from gmm_core.core.types import (
    AccelerationName,
    AnyArray,
    Float64Array,
    FloatArray,
    Indices,
    Labels,
    Names,
    StartName,
)
from gmm_core.data.classes import Classes, check_row_labels, classes_of, codes_among
from gmm_core.data.foreign import ForeignRows, check_rows, whole
from gmm_core.data.validation import check_sample_weight
from gmm_core.fit.options import InitCallable
from gmm_core.fit.result import set_attributes
from gmm_core.infer.score import log_likelihood
from gmm_core.infer.threshold import threshold_of_mixture, threshold_of_rows
from gmm_core.mixture import GaussianMixture
from gmm_core.parts import check_counts, check_params, check_types, fit_parts
from gmm_core.sklearn_api import Estimator

if TYPE_CHECKING:
    from sklearn.utils import Tags

_SHARED = (
    "tol", "reg_covar", "max_iter", "n_init", "init_params", "random_state", "n_threads",
    "acceleration",
)  # fmt: skip


class GaussianMixtureOutlierDetector(Estimator):
    """Outlier detection by the density of a Gaussian mixture, or of one for each group of rows.

    A sample is an outlier if its log-density is below a threshold. Groups, such as machines or
    sensors, have mixtures and thresholds of their own, as what is normal for one of them may not be
    for another, and as log-densities of different mixtures cannot be compared.

    Parameters
    ----------
    n_components : int, iterable of int, or dict, default=1
        Number of components K. If there are several, the one with the lowest BIC is chosen, in each
        group by itself. A dict has an int or several for each group, by its label.
    covariance_type : str or iterable of str, default='full'
        A covariance type of `GaussianMixture`, or several, of which the one with the lowest BIC is
        chosen together with K. 'all' is the fourteen models of mclust, or for one feature its two
        univariate models.
    contamination : float in (0, 0.5] or 'auto', default=0.1
        The share of outliers among the training samples, or in each group of them: the threshold is
        the lowest log-density of the others. With 'auto', the threshold follows from the mixture
        alone: it is the log-density that samples which are drawn from the mixture fall below with a
        probability of 0.025. It is found from 10,000 draws. For one component these are the samples
        whose squared Mahalanobis distance is beyond the quantile 0.975 of χ², up to the error of
        the draws.
    tol, reg_covar, max_iter, n_init, init_params, random_state, n_threads, acceleration
        See `GaussianMixture`. A generator as `random_state` draws one seed for all groups.

    Attributes
    ----------
    mixtures_ : list of GaussianMixture
        The mixture of each group, in the order of `groups_`, or the only one. Its `n_components`
        and `covariance_type` are those that were chosen.
    offset_ : float, or ndarray of shape (n_groups,)
        The threshold: `decision_function` is `score_samples` minus the offset. With groups, each
        has its own.
    groups_ : ndarray of shape (n_groups,)
        Labels of the groups, in ascending order. It exists only if `fit` was given groups.
    n_iter_ : int
        Largest number of iterations of EM over the groups.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,), object
        Names of the features. The attribute exists only if X had column names.

    See Also
    --------
    GaussianMixture : With ``noise=True``, a component of uniform density takes up outliers.

    References
    ----------
    P. J. Rousseeuw, B. C. van Zomeren, Unmasking multivariate outliers and leverage points, Journal
    of the American Statistical Association 85 (1990), for the quantile of χ².

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import GaussianMixtureOutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2)) + np.repeat([[-5, 0], [5, 0]], 200, axis=0)
    >>> model = GaussianMixtureOutlierDetector(2, contamination=0.01, random_state=0).fit(X)
    >>> model.predict([[5.0, 1.0], [0.0, 0.0]]).tolist()
    [1, -1]

    What is normal for one machine is an alarm for the other.

    >>> machine = np.repeat(["a", "b"], 200)
    >>> model = GaussianMixtureOutlierDetector(contamination=0.01).fit(X, groups=machine)
    >>> model.predict([[5.0, 1.0], [5.0, 1.0]], groups=["a", "b"]).tolist()
    [-1, 1]
    """

    mixtures_: list[GaussianMixture]
    offset_: float | Float64Array
    groups_: AnyArray
    n_iter_: int
    n_features_in_: int
    feature_names_in_: Names

    def __init__(
        self,
        n_components: int | Iterable[int] | Mapping[Any, int | Iterable[int]] = 1,
        *,
        covariance_type: str | Iterable[str] = "full",
        contamination: float | Literal["auto"] = 0.1,
        tol: float = 1e-3,
        reg_covar: float | npt.ArrayLike = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: StartName | InitCallable = "kmeans",
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
        acceleration: AccelerationName | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.contamination = contamination
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.n_threads = n_threads
        self.acceleration = acceleration

    def fit(
        self,
        X: Any,
        y: object = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: Any = None,
    ) -> Self:
        """Fit the mixtures, and find the thresholds.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The samples. A fit to float32 is in float32. Without groups, large data are read as
            `GaussianMixture.fit` reads them. With groups, the rows of one group at a time are
            copied.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample. `contamination` is a
            share of the total weight.
        groups : array-like of shape (n_samples,) or None, default=None
            The group of each sample: strings, bools, ints, or floats that are whole numbers. None
            means one mixture for all samples.

        Returns
        -------
        self : GaussianMixtureOutlierDetector
            The fitted model.

        Raises
        ------
        ValueError, TypeError
            If an argument or a parameter of the constructor is invalid, if `n_components` is a dict
            that lacks a group, if a group has fewer rows of positive weight than components, or if
            the fit of a group fails; the message names the group. The estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged for a group within `max_iter` iterations.
        UserWarning
            If a component has collapsed onto few samples, or a group has a single row.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureOutlierDetector
        >>> X = [[0.0], [0.1], [0.3], [0.4], [9.0]]
        >>> GaussianMixtureOutlierDetector(contamination=0.2).fit(X).predict(X).tolist()
        [1, 1, 1, 1, -1]
        """
        name = type(self).__name__
        params, types = check_params(self, _SHARED), check_types(self.covariance_type)
        share = self._share()
        rows, feature_names = self._checked(X, min_samples=2)
        weight = check_sample_weight(sample_weight, len(rows))
        parts = Classes(np.array(["all"]), np.zeros(len(rows), np.intp))
        if groups is not None:
            parts = classes_of(check_row_labels(groups, "groups", len(rows), name))
            rows = whole(rows)
        counts = self._counts(parts.values, groups is not None)
        several = len(parts.values) > 1
        mixtures = fit_parts(
            rows if several or isinstance(X, (list, tuple)) else X, parts, weight, counts, types,
            params, "" if groups is None else "group",
        )  # fmt: skip
        offsets = np.empty(len(mixtures))
        for g, part in enumerate(parts.rows()):
            model = mixtures[g]._model()
            if share is None:
                seed = check_random_state(params["random_state"])
                offsets[g] = threshold_of_mixture(model, seed)
                continue
            scores = log_likelihood(rows[part] if several else rows, model)  # type: ignore[index]
            of_part = weight[part] if several and weight is not None else weight
            offsets[g] = threshold_of_rows(scores, of_part, share)
        set_attributes(
            self,
            {
                "mixtures_": mixtures,
                "offset_": float(offsets[0]) if groups is None else offsets,
                "groups_": None if groups is None else parts.values,
                "n_iter_": max(mixture.n_iter_ for mixture in mixtures),
                "n_features_in_": rows.shape[1],
                "feature_names_in_": feature_names,
            },
        )
        return self

    def score_samples(self, X: Any, groups: Any = None) -> FloatArray:
        """Return the log-density of each sample under the mixture of its group.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The samples.
        groups : array-like of shape (n_samples,), default=None
            The group of each sample. It has to be given if `fit` was given groups, and only then.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Log-densities in nats, float32 if both X and the model are float32, else float64.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `fit` would not accept X, if X has other features than the training data, or if a
            group is unknown; the message names it.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureOutlierDetector
        >>> model = GaussianMixtureOutlierDetector(reg_covar=0).fit([[-1.0], [1.0]])
        >>> model.score_samples([[0.0], [2.0]]).round(3).tolist()
        [-0.919, -2.919]
        """
        return self._scores(X, groups)[0]

    def decision_function(self, X: Any, groups: Any = None) -> FloatArray:
        """Return the log-density of each sample minus the threshold; outliers are negative.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The samples.
        groups : array-like of shape (n_samples,), default=None
            The group of each sample. It has to be given if `fit` was given groups, and only then.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            Log-densities relative to the threshold of the sample's group, in nats.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `score_samples`.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureOutlierDetector
        >>> X = [[0.0], [0.1], [0.3], [0.4], [9.0]]
        >>> model = GaussianMixtureOutlierDetector(contamination=0.2).fit(X)
        >>> (model.decision_function(X) < 0).tolist()
        [False, False, False, False, True]
        """
        scores, codes = self._scores(X, groups)
        decision: AnyArray = scores
        decision -= np.asarray(self.offset_, scores.dtype)[() if codes is None else codes]
        return decision

    def predict(self, X: Any, groups: Any = None) -> Labels:
        """Return −1 for outliers and 1 for other samples.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The samples.
        groups : array-like of shape (n_samples,), default=None
            The group of each sample. It has to be given if `fit` was given groups, and only then.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            −1 or 1.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `score_samples`.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureOutlierDetector
        >>> model = GaussianMixtureOutlierDetector(contamination="auto", random_state=0)
        >>> model.fit([[-1.0], [0.0], [1.0]]).predict([[0.5], [7.0]]).tolist()
        [1, -1]
        """
        return np.where(self.decision_function(X, groups) < 0, np.int64(-1), np.int64(1))

    def fit_predict(
        self,
        X: Any,
        y: object = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: Any = None,
    ) -> Labels:
        """Fit the model, and return −1 for outliers and 1 for other training samples.

        Parameters
        ----------
        X, y, sample_weight, groups
            See `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            −1 or 1.

        Raises
        ------
        ValueError, TypeError
            For the same reasons as in `fit`.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureOutlierDetector
        >>> X = [[0.0], [0.1], [0.3], [0.4], [9.0]]
        >>> GaussianMixtureOutlierDetector(contamination=0.2).fit_predict(X).tolist()
        [1, 1, 1, 1, -1]
        """
        return self.fit(X, y, sample_weight, groups).predict(X, groups)

    # --- parts of these methods ---------------------------------------------------------------

    def _share(self) -> float | None:
        """Return the contamination, checked, or None for 'auto'."""
        share: Any = self.contamination
        if isinstance(share, str) and share == "auto":
            return None
        is_number = isinstance(share, numbers.Real) and not isinstance(share, (bool, np.bool_))
        if not is_number or not 0 < share <= 0.5:
            raise InvalidParameterError(
                f"The 'contamination' parameter of {type(self).__name__} must be a float in the "
                f"range (0.0, 0.5] or 'auto'. Got {share!r} instead."
            )
        return float(share)

    def _counts(self, labels: AnyArray, grouped: bool) -> list[list[int]]:
        """Return the numbers of components to try for each group, checked."""
        name, given = type(self).__name__, self.n_components
        if not isinstance(given, Mapping):
            return [check_counts(given, name)] * len(labels)
        if not grouped:
            raise ValueError("n_components is a dict, which needs groups, but groups is None")
        for label in labels.tolist():
            if label not in given:
                raise ValueError(f"n_components is a dict without the group {label!r}")
        return [check_counts(given[label], name) for label in labels.tolist()]

    def _checked(self, X: Any, **fitted: Any) -> tuple[FloatArray | ForeignRows, Names | None]:
        """Check samples, and return them with the names of their features."""
        return check_rows(X, estimator_name=type(self).__name__, n_threads=self.n_threads, **fitted)

    def _scores(self, X: Any, groups: Any) -> tuple[FloatArray, Indices | None]:
        """Return the log-densities of samples, and the indices of their groups if there are any."""
        attributes = vars(self)
        if "mixtures_" not in attributes:
            raise not_fitted_error(type(self).__name__)
        rows, _ = self._checked(
            X, n_features=self.n_features_in_, feature_names=attributes.get("feature_names_in_")
        )
        models = [
            mixture._model()._replace(n_threads=self.n_threads) for mixture in self.mixtures_
        ]
        if "groups_" not in attributes:
            if groups is not None:
                raise ValueError("groups was given, but the model was fitted without groups")
            scores = log_likelihood(rows, models[0])
            return scores.astype(np.result_type(scores, self.mixtures_[0].means_), copy=False), None
        if groups is None:
            raise ValueError("groups is None, but the model was fitted with groups")
        labels = check_row_labels(groups, "groups", len(rows), type(self).__name__)
        codes = codes_among(labels, self.groups_, "groups")
        rows = whole(rows)
        out: AnyArray = np.empty(len(rows), np.result_type(rows, self.mixtures_[0].means_))
        for model, part in zip(models, Classes(self.groups_, codes).rows(), strict=True):
            if len(part):
                out[part] = log_likelihood(rows[part], model)
        return out, codes

    # --- scikit-learn -------------------------------------------------------------------------

    _routed: ClassVar[tuple[str, ...]] = ("fit", "predict", "decision_function")

    @classmethod
    def _metadata_of(cls, method: str) -> tuple[str, ...]:
        """Return the metadata that a method takes."""
        if method == "fit":
            return "sample_weight", "groups"
        return ("groups",) if method in cls._routed else ()

    def set_predict_request(self, **requests: bool | str | None) -> Self:
        """Tell meta-estimators of scikit-learn which metadata to pass to `predict`.

        Parameters
        ----------
        **requests : bool, str or None
            `groups`. The values have the meaning that they have for `set_fit_request`.

        Returns
        -------
        self : GaussianMixtureOutlierDetector
            The estimator itself.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled in scikit-learn.
        TypeError
            If the method takes no argument of that name.

        Examples
        --------
        >>> import sklearn
        >>> from gmm_core import GaussianMixtureOutlierDetector
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     model = GaussianMixtureOutlierDetector().set_predict_request(groups=True)
        """
        return self._request("predict", requests)

    def set_decision_function_request(self, **requests: bool | str | None) -> Self:
        """Tell meta-estimators of scikit-learn which metadata to pass to `decision_function`.

        Parameters
        ----------
        **requests : bool, str or None
            `groups`. The values have the meaning that they have for `set_fit_request`.

        Returns
        -------
        self : GaussianMixtureOutlierDetector
            The estimator itself.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled in scikit-learn.
        TypeError
            If the method takes no argument of that name.

        Examples
        --------
        >>> import sklearn
        >>> from gmm_core import GaussianMixtureOutlierDetector
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     model = GaussianMixtureOutlierDetector().set_decision_function_request(groups=True)
        """
        return self._request("decision_function", requests)

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that this is an outlier detector."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "outlier_detector"
        return tags
