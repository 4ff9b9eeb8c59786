"""The errors and warnings of the package."""

from __future__ import annotations

import sys
from typing import Any


class InvalidParameterError(ValueError, TypeError):
    """A constructor parameter has a type or a value that it cannot have."""


class NotFittedError(ValueError, AttributeError):
    """A method that needs a fitted model was called before `fit`."""


class ConvergenceWarning(UserWarning):
    """EM stopped before it converged."""


class NumericalError(ValueError):
    """EM cannot go on from this start; another may do better."""


class IllDefinedCovarianceError(NumericalError):
    """The covariance of a component is not positive definite."""


class NoDensityError(NumericalError):
    """A sample has probability 0 under every component.

    Parameters
    ----------
    row : int
        The row of the sample in X.
    condition : str, default=""
        A part of the message that follows the name of the row.
    """

    def __init__(self, row: int, condition: str = "") -> None:
        super().__init__(row, condition)  # so that it can be pickled
        self.row, self.condition = row, condition

    def __str__(self) -> str:
        return (
            f"X[{self.row}]{self.condition} has probability 0 under every component: it is too far "
            "from all of them for floating-point numbers. Scale the data, or start from other "
            "means."
        )


def same_kind(error: Exception, message: str) -> ValueError | TypeError:
    """Make a TypeError if the error is one, and otherwise a ValueError, with another message."""
    return TypeError(message) if isinstance(error, TypeError) else ValueError(message)


def _class_of_sklearn(name: str) -> Any:
    """Return the exception class of scikit-learn if it is loaded: only then can it be caught."""
    return getattr(sys.modules.get("sklearn.exceptions"), name, None)


def not_fitted_error(estimator_name: str, detail: str = "") -> Exception:
    """Make the error for a method that was called before `fit`.

    Parameters
    ----------
    estimator_name : str
    detail : str, default=""
        A further sentence.

    Returns
    -------
    Exception
        scikit-learn's NotFittedError if `sklearn.exceptions` is loaded, else ours.
    """
    error = _class_of_sklearn("NotFittedError") or NotFittedError
    made: Exception = error(
        f"This {estimator_name} instance is not fitted yet. Call 'fit' with appropriate "
        f"arguments before using this estimator.{detail and ' '}{detail}"
    )
    return made


def convergence_warning_class() -> type[UserWarning]:
    """Return scikit-learn's ConvergenceWarning if `sklearn.exceptions` is loaded, else ours."""
    category: type[UserWarning] = _class_of_sklearn("ConvergenceWarning") or ConvergenceWarning
    return category
