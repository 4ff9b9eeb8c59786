"""The classifier that has a mixture for each class."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import (
    InvalidParameterError,
    NumericalError,
    convergence_warning_class,
    not_fitted_error,
)
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import (
    AccelerationName,
    AnyArray,
    Float64Array,
    FloatArray,
    MissingName,
    Names,
    StartName,
)
from gmm_core.core.warn import warn
from gmm_core.data.classes import Classes, check_priors, check_row_labels, classes_of
from gmm_core.data.validation import check_sample_weight, check_X
from gmm_core.fit.discriminant import fit_classes
from gmm_core.fit.options import InitCallable
from gmm_core.fit.result import set_attributes
from gmm_core.infer.classify import joint_log_likelihood, log_probabilities, log_sum
from gmm_core.infer.score import FittedMixture, weighted_mean
from gmm_core.mixture import GaussianMixture
from gmm_core.parts import check_counts, check_params, check_sizes, check_types, fit_parts
from gmm_core.selection import FOURTEEN, UNIVARIATE
from gmm_core.sklearn_api import Estimator

if TYPE_CHECKING:
    from sklearn.utils import Tags

Method = Literal["MclustDA", "EDDA"]
_SHARED = (
    "tol", "reg_covar", "max_iter", "n_init", "init_params", "random_state", "n_threads", "missing",
    "acceleration",
)  # fmt: skip


class GaussianMixtureClassifier(Estimator):
    """Discriminant analysis by Gaussian mixtures: the density of each class is a mixture.

    By Bayes' theorem, a sample x belongs to class c with the probability
    π_c p(x | c) / Σ_j π_j p(x | j), where π_c are the priors, and p(x | c) is a mixture that was
    fitted to the samples of class c.

    Parameters
    ----------
    n_components : int or iterable of int, default=1
        Number of components of each class. If there are several, each class gets the one with the
        lowest BIC on its samples.
    covariance_type : str or iterable of str, default='full'
        A covariance type of `GaussianMixture`, or several, of which each class gets the one with
        the lowest BIC, together with its number of components. 'all' is the fourteen models of
        mclust, or for one feature its two univariate models.
    method : {'MclustDA', 'EDDA'}, default='MclustDA'
        The discriminant analysis, by the names that it has in mclust. With 'MclustDA', each class
        has a mixture of its own. With one component and the type 'full', this is quadratic
        discriminant analysis. With 'EDDA' (eigenvalue decomposition discriminant analysis), each
        class has one component, and the covariance type holds for all classes together: what a
        model says to be equal is equal in all classes. 'tied' (EEE), for example, is linear
        discriminant analysis. Of several types, the one with the lowest BIC of the whole classifier
        is chosen.
    priors : array-like of shape (n_classes,) or None, default=None
        Probabilities of the classes, in the order of `classes_`. None means their shares of the
        total weight of the training samples.
    tol, reg_covar, max_iter, n_init, init_params, random_state, n_threads, acceleration
        See `GaussianMixture`. With 'EDDA', `tol` and `max_iter` matter only if values are missing,
        and `n_init`, `init_params` and `acceleration` have no effect. A generator as
        `random_state` draws one seed for all classes.
    missing : {'error', 'marginalize'}, default='error'
        The meaning of NaN in X. With 'error', NaN is an error. With 'marginalize', it is a value
        that is missing at random, which is integrated out exactly in `fit` and in predictions.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of the classes, in ascending order.
    priors_ : ndarray of shape (n_classes,), float64
        Probabilities of the classes.
    mixtures_ : list of GaussianMixture
        The mixture of each class, in the order of `classes_`. Its `covariance_type` and
        `n_components` are those that were chosen. With 'EDDA', each has one component.
    log_likelihood_ : float
        Log-likelihood Σ_n w_n log Σ_c f_c p(x_n | c) of the training samples without their classes,
        where f_c are the weighted shares of the classes, in nats. mclust has the same definition.
    n_parameters_ : int
        Number of free parameters of the densities of all classes.
    bic_ : float
        −2 `log_likelihood_` + `n_parameters_` log Σ_n w_n; lower is better. mclust's BIC has the
        other sign.
    n_iter_ : int
        Largest number of iterations of EM over the classes.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,), object
        Names of the features. The attribute exists only if X had column names.

    See Also
    --------
    select : The choice of a mixture for unlabelled samples.

    References
    ----------
    H. Bensmail, G. Celeux, Regularized Gaussian discriminant analysis through eigenvalue
    decomposition, Journal of the American Statistical Association 91 (1996), for EDDA.
    C. Fraley, A. E. Raftery, Model-based clustering, discriminant analysis, and density estimation,
    Journal of the American Statistical Association 97 (2002), for MclustDA.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import GaussianMixtureClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) + np.repeat([[-6, 0], [6, 0], [0, 0]], 100, axis=0)
    >>> y = np.repeat(["outer", "outer", "inner"], 100)
    >>> model = GaussianMixtureClassifier([1, 2, 3], covariance_type="all", random_state=0)
    >>> model.fit(X, y).predict([[-5.0, 0.0], [0.5, 1.0]]).tolist()
    ['outer', 'inner']
    >>> [mixture.n_components for mixture in model.mixtures_]
    [1, 2]
    """

    classes_: AnyArray
    priors_: Float64Array
    mixtures_: list[GaussianMixture]
    log_likelihood_: float
    n_parameters_: int
    bic_: float
    n_iter_: int
    n_features_in_: int
    feature_names_in_: Names

    def __init__(
        self,
        n_components: int | Iterable[int] = 1,
        *,
        covariance_type: str | Iterable[str] = "full",
        method: Method = "MclustDA",
        priors: npt.ArrayLike | None = None,
        tol: float = 1e-3,
        reg_covar: float | npt.ArrayLike = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: StartName | InitCallable = "kmeans",
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
        missing: MissingName = "error",
        acceleration: AccelerationName | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.method = method
        self.priors = priors
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.n_threads = n_threads
        self.missing = missing
        self.acceleration = acceleration

    def fit(self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit the density of each class.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features. A fit to float32 is in float32.
        y : array-like of shape (n_samples,)
            The class of each sample: strings, bools, ints, or floats that are whole numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample.

        Returns
        -------
        self : GaussianMixtureClassifier
            The fitted model.

        Raises
        ------
        ValueError, TypeError
            If an argument or a parameter of the constructor is invalid, if a class has fewer rows
            of positive weight than components, or if the fit of a class fails; the message names
            the class. The estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged for a class within `max_iter` iterations.
        UserWarning
            If a component of a class has collapsed onto few samples, or a class has a single row.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [8.0], [9.0]], [0, 0, 1, 1])
        >>> model.predict([[2.0]]).tolist()
        [0]
        """
        name = type(self).__name__
        params = check_params(self, _SHARED)
        counts, types = check_counts(self.n_components, name), check_types(self.covariance_type)
        if not (isinstance(self.method, str) and self.method in get_args(Method)):
            raise InvalidParameterError(
                f"The 'method' parameter of {name} must be a str among {{'MclustDA', 'EDDA'}}. "
                f"Got {self.method!r} instead."
            )
        if self.method == "EDDA" and counts != [1]:
            raise ValueError(
                f"n_components={self.n_components!r}, but with method='EDDA' each class has one "
                "component"
            )
        rows, feature_names = self._checked(X, min_samples=2)
        classes = classes_of(check_row_labels(y, "y", len(rows), name))
        weight = check_sample_weight(sample_weight, len(rows))
        given = None if self.priors is None else check_priors(self.priors, len(classes.values))
        totals = np.bincount(classes.codes, weight, len(classes.values)).astype(np.float64)
        if self.method == "EDDA":
            check_sizes(classes, weight, [1] * len(totals), "class")
            if types == ["all"]:
                types = list(UNIVARIATE if rows.shape[1] == 1 else FOURTEEN)
            made = _best_edda(rows, classes, weight, types, params)
        else:
            tried = [counts] * len(totals)
            mixtures = fit_parts(rows, classes, weight, tried, types, params, "class")
            made = _criteria(rows, mixtures, totals, weight)
            made["n_parameters_"] = sum(mixture.n_parameters for mixture in mixtures)
            made["n_iter_"] = max(mixture.n_iter_ for mixture in mixtures)
        total = float(totals.sum())
        made["bic_"] = -2 * made["log_likelihood_"] + made["n_parameters_"] * math.log(total)
        set_attributes(
            self,
            {
                "classes_": classes.values,
                "priors_": totals / total if given is None else given,
                "n_features_in_": rows.shape[1],
                "feature_names_in_": feature_names,
                **made,
            },
        )
        return self

    def predict(self, X: Any) -> AnyArray:
        """Return the most probable class of each sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels among `classes_`. A sample that is so far away that its density is 0 in every
            class belongs to the class of the nearest component.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `fit` would not accept X, or X has other features than the training data.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [8.0], [9.0]], list("aabb"))
        >>> model.predict([[2.0], [7.0]]).tolist()
        ['a', 'b']
        """
        rows, models = self._inputs(X)
        log = log_probabilities(rows, models, self.priors_)
        found: AnyArray = self.classes_[log.argmax(axis=1)]
        return found

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probabilities of the classes for each sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of `classes_`, of the dtype float32 if both X and the model
            are float32, else float64.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [2.0], [3.0]], list("aabb"))
        >>> model.predict_proba([[1.5], [1.0]]).round(3).tolist()
        [[0.5, 0.5], [0.982, 0.018]]
        """
        rows, models = self._inputs(X)
        log = log_probabilities(rows, models, self.priors_)
        return np.exp(log, out=log).astype(self._dtype(rows), copy=False)

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return the logarithms of the probabilities of the classes for each sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Logarithms of `predict_proba`, which are finite also where that is 0 to rounding.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [2.0], [3.0]], list("aabb"))
        >>> model.predict_log_proba([[-99.0]]).round().tolist()
        [[0.0, -804.0]]
        """
        rows, models = self._inputs(X)
        log = log_probabilities(rows, models, self.priors_)
        return log.astype(self._dtype(rows), copy=False)

    def predict_joint_log_proba(self, X: Any) -> FloatArray:
        """Return log (π_c p(x | c)) for each sample and class.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.

        Returns
        -------
        joint : ndarray of shape (n_samples, n_classes)
            Joint log-densities in the order of `classes_`, in nats. The log of the sum of a row's
            exponentials is the log-density of the sample.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureClassifier
        >>> model = GaussianMixtureClassifier().fit([[0.0], [1.0], [2.0], [3.0]], list("aabb"))
        >>> model.predict_joint_log_proba([[1.5]]).round(3).tolist()
        [[-2.919, -2.919]]
        """
        rows, models = self._inputs(X)
        joint = joint_log_likelihood(rows, models, self.priors_)
        return joint.astype(self._dtype(rows), copy=False)

    def score(self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the accuracy of `predict`: the share of samples whose class is predicted.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.
        y : array-like of shape (n_samples,)
            The classes of the samples. Classes that `fit` has not seen count as errors.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample.

        Returns
        -------
        accuracy : float
            Between 0 and 1.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `y` or `sample_weight` is invalid.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureClassifier
        >>> X, y = [[0.0], [1.0], [8.0], [9.0]], list("aabb")
        >>> GaussianMixtureClassifier().fit(X, y).score(X, y)
        1.0
        """
        predicted = self.predict(X)
        truth = check_row_labels(y, "y", len(predicted), type(self).__name__)
        weight = check_sample_weight(sample_weight, len(predicted))
        if (truth.dtype.kind in "OSU") != (predicted.dtype.kind in "OSU"):
            raise ValueError(
                f"y has labels like {truth[0]!r}, but those of the fit are like {predicted[0]!r}"
            )
        return float(np.average(truth == predicted, weights=weight))

    # --- parts of these methods ---------------------------------------------------------------

    def _checked(self, X: Any, **fitted: Any) -> tuple[FloatArray, Names | None]:
        """Check the features, and return them with their names."""
        return check_X(
            X, allow_nan=self.missing == "marginalize", estimator_name=type(self).__name__,
            n_threads=self.n_threads, **fitted,
        )  # fmt: skip

    def _inputs(self, X: Any) -> tuple[FloatArray, list[FittedMixture]]:
        """Check the features of a method, and return them with the mixtures of the classes."""
        attributes = vars(self)
        if "mixtures_" not in attributes:
            raise not_fitted_error(type(self).__name__)
        rows, _ = self._checked(
            X, n_features=self.n_features_in_, feature_names=attributes.get("feature_names_in_")
        )
        return rows, _models(self.mixtures_, self.missing, self.n_threads)

    def _dtype(self, rows: FloatArray) -> np.dtype[Any]:
        """Return the dtype of results."""
        return np.result_type(rows.dtype, self.mixtures_[0].means_.dtype)

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that this is a classifier, and whether it accepts NaN."""
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags


def _models(
    mixtures: list[GaussianMixture], missing: str, n_threads: int | None
) -> list[FittedMixture]:
    """Return the checked mixtures of the classes with the options of the classifier."""
    return [
        mixture._model()._replace(marginalize=missing == "marginalize", n_threads=n_threads)
        for mixture in mixtures
    ]


def _criteria(
    X: FloatArray,
    mixtures: list[GaussianMixture],
    totals: Float64Array,
    sample_weight: Float64Array | None,
) -> dict[str, Any]:
    """Return the mixtures and the log-likelihood of the training samples as attributes."""
    models = _models(mixtures, mixtures[0].missing, mixtures[0].n_threads)
    log = log_sum(joint_log_likelihood(X, models, totals / totals.sum()))
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    total = weighted_mean(log, weight) * float(totals.sum())
    return {"mixtures_": mixtures, "log_likelihood_": total}


def _best_edda(
    X: FloatArray,
    classes: Classes,
    sample_weight: Float64Array | None,
    types: list[str],
    params: dict[str, Any],
) -> dict[str, Any]:
    """Return the attributes of the discriminant analysis with the lowest BIC among the types."""
    totals = np.bincount(classes.codes, sample_weight, len(classes.values)).astype(np.float64)
    for label, rows in zip(classes.values.tolist(), classes.rows(), strict=True):
        present = rows if sample_weight is None else rows[sample_weight[rows] > 0]
        lacking = np.flatnonzero(np.isnan(X[present]).all(axis=0))
        if len(lacking):
            raise ValueError(
                f"class {label!r}: X[:, {lacking[0]}] has no value in the rows of positive weight"
            )
    best: dict[str, Any] = {}
    lowest, failure = math.inf, ""
    kept = {key: value for key, value in params.items() if key in ("missing", "n_threads")}
    for name in types:
        covariance_type: Any = name
        options = GaussianMixture(covariance_type=covariance_type, **params)._options()
        try:
            fit = fit_classes(
                options, X, classes.rows(), sample_weight,
                effective_n_threads(options.n_threads),
            )  # fmt: skip
        except NumericalError as error:
            failure = str(error)
            continue
        weights, means, covariances, prepared = fit.parameters
        mixtures = [
            GaussianMixture.from_parameters(
                [1.0], means[c : c + 1].astype(X.dtype),
                covariances=prepared.kind.take(covariances, np.array([c])),
                covariance_type=covariance_type, **kept,
            )
            for c in range(len(weights))
        ]  # fmt: skip
        made = _criteria(X, mixtures, totals, sample_weight)
        n_parameters = prepared.n_parameters - (len(weights) - 1)  # the priors are not among them
        bic = -2 * made["log_likelihood_"] + n_parameters * math.log(totals.sum())
        if bic < lowest:
            n_iter, converged = len(fit.lower_bounds), fit.converged
            best, lowest = {**made, "n_parameters_": n_parameters, "n_iter_": n_iter}, bic
    if not best:
        raise ValueError(f"no covariance type could be fitted: {failure}")
    if not converged:
        warn(
            "The fit did not converge. Try to increase max_iter or tol.",
            convergence_warning_class(),
        )
    return best
