"""Random samples of a mixture."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array, Labels
from gmm_core.model.parameters import Prepared


def draw(
    prepared: Prepared, n_samples: object, random_state: np.random.RandomState
) -> tuple[Float64Array, Labels]:
    """Draw samples from a mixture, in random order.

    Parameters
    ----------
    prepared : Prepared
    n_samples : int
        See `check_n_samples`.
    random_state : RandomState

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
    labels : ndarray of shape (n_samples,), int64
        The component that each sample was drawn from.
    """
    n, (K, D), kind = check_n_samples(n_samples), prepared.means.shape, prepared.kind
    weights = prepared.weights / prepared.weights.sum()
    labels = np.repeat(np.arange(K, dtype=np.int64), random_state.multinomial(n, weights))
    labels = random_state.permutation(labels)
    X = random_state.standard_normal(size=(n, D))
    for k in range(K):
        rows = labels == k
        # y = Uᵀ (x − μ) is standard normal.
        X[rows] = kind.unwhiten(X[rows], kind.of_component(prepared.precisions_cholesky, k))
        X[rows] += prepared.means[k]
    return X, labels


def check_n_samples(n_samples: object) -> int:
    """Check the number of samples to draw, and return it as an int.

    Parameters
    ----------
    n_samples : int
        A float is accepted if it is a whole number, such as 1e5.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `n_samples` is not a number.
    ValueError
        If it is less than 1, not finite, or not a whole number.
    OverflowError
        If it is more than the number of rows that an array can have.
    """
    if not isinstance(n_samples, numbers.Real):
        raise TypeError(f"n_samples must be an int, got {type(n_samples).__name__} {n_samples!r}")
    number: Any = n_samples
    if not 1 <= number < math.inf:
        raise ValueError(
            f"Invalid value for 'n_samples': {n_samples} . "
            "The sampling requires at least one sample."
        )
    count = int(number)
    if count != number:
        raise ValueError(f"Invalid value for 'n_samples': {n_samples}, expected a whole number")
    if count > np.iinfo(np.intp).max:
        raise OverflowError(f"n_samples={n_samples} is more than an array can hold")
    return count
