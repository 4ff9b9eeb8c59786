"""The errors and warnings of the package."""

from __future__ import annotations

import sys
from typing import Any


class InvalidParameterError(ValueError, TypeError):
    """The error for an option whose type or value is not allowed.

    It is a ValueError and a TypeError, as scikit-learn's error of this name is. `fit` and the other
    methods raise it; the constructor checks nothing.

    Examples
    --------
    >>> from gmm_core import GaussianMixture, InvalidParameterError
    >>> try:
    ...     GaussianMixture(n_components=0).fit([[1.0], [2.0]])
    ... except InvalidParameterError as error:
    ...     print(error)
    The 'n_components' parameter of GaussianMixture must be an int in the range [1, inf). Got 0 \
instead.
    """


class NotFittedError(ValueError, AttributeError):
    """The error for a method that needs a fitted model and was called before `fit`.

    If `sklearn.exceptions` has been imported, scikit-learn's error of this name is raised instead.
    Both are a ValueError and an AttributeError.

    Examples
    --------
    >>> from gmm_core import GaussianMixture
    >>> try:
    ...     GaussianMixture().predict([[1.0]])
    ... except ValueError as error:
    ...     print(type(error).__name__)
    NotFittedError
    """


class ConvergenceWarning(UserWarning):
    """The warning that EM has stopped before it converged.

    If `sklearn.exceptions` has been imported, scikit-learn's warning of this name is issued
    instead. Both are a UserWarning.

    Examples
    --------
    >>> import warnings
    >>> from gmm_core import GaussianMixture
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     gm = GaussianMixture(max_iter=1).fit([[1.0], [2.0]])
    >>> caught[0].category.__name__
    'ConvergenceWarning'
    """


class NumericalError(ValueError):
    """The error that ends EM from one start. EM from another start may succeed.

    `fit` raises it if all starts fail.

    Examples
    --------
    >>> from gmm_core import GaussianMixture, NumericalError
    >>> try:
    ...     GaussianMixture(reg_covar=0).fit([[1.0], [1.0]])    # the variance is 0
    ... except NumericalError as error:
    ...     print(type(error).__name__)
    IllDefinedCovarianceError
    """


class IllDefinedCovarianceError(NumericalError):
    """The error for a covariance that is not positive definite.

    Examples
    --------
    >>> from gmm_core import GaussianMixture, IllDefinedCovarianceError
    >>> try:
    ...     GaussianMixture(reg_covar=0).fit([[1.0], [1.0]])
    ... except IllDefinedCovarianceError as error:
    ...     print(str(error)[-55:])
    The covariance of component 0 is not positive definite.
    """


class NoDensityError(NumericalError):
    """The error for a sample that has density 0 under every component.

    Parameters
    ----------
    row : int
        The number of the sample's row in X.
    incomplete : bool, default=False
        Whether only some features of the sample are observed, so that the density is theirs.

    Examples
    --------
    >>> from gmm_core import NoDensityError, accumulate
    >>> try:
    ...     accumulate([[0.0], [1e200]], [1.0], [[0.0]], [[1.0]], "diag")
    ... except NoDensityError as error:
    ...     print(error.row)
    1
    """

    def __init__(self, row: int, incomplete: bool = False) -> None:
        super().__init__(row, incomplete)  # with these arguments the error can be pickled
        self.row, self.incomplete = row, incomplete

    def __str__(self) -> str:
        sample = f"X[{self.row}] has"
        if self.incomplete:
            sample = f"the observed features of X[{self.row}] have"
        return (
            f"{sample} density 0 under every component: the density is too small for a "
            "floating-point number. Scale the data, or start from other means."
        )


def same_kind(error: Exception, message: str) -> ValueError | TypeError:
    """Return a new error with another message: a TypeError for a TypeError, else a ValueError."""
    return TypeError(message) if isinstance(error, TypeError) else ValueError(message)


def _class_of_sklearn(name: str) -> Any:
    """Return an exception class of scikit-learn if that is loaded, else None.

    A program that has not loaded it cannot catch the class.
    """
    return getattr(sys.modules.get("sklearn.exceptions"), name, None)


def not_fitted_error(estimator_name: str, detail: str = "") -> Exception:
    """Return the error for a method that was called before `fit`.

    Parameters
    ----------
    estimator_name : str
        The name of the class in the message.
    detail : str, default=""
        A sentence to add to the message.

    Returns
    -------
    Exception
        scikit-learn's NotFittedError if `sklearn.exceptions` is loaded, else that of this module.
    """
    error = _class_of_sklearn("NotFittedError") or NotFittedError
    made: Exception = error(
        f"This {estimator_name} instance is not fitted yet. Call 'fit' with appropriate "
        f"arguments before using this estimator.{detail and ' '}{detail}"
    )
    return made


def convergence_warning_class() -> type[UserWarning]:
    """Return scikit-learn's ConvergenceWarning if that is loaded, else that of this module."""
    category: type[UserWarning] = _class_of_sklearn("ConvergenceWarning") or ConvergenceWarning
    return category


def data_conversion_warning_class() -> type[UserWarning]:
    """Return scikit-learn's DataConversionWarning if that is loaded, else UserWarning."""
    category: type[UserWarning] = _class_of_sklearn("DataConversionWarning") or UserWarning
    return category
