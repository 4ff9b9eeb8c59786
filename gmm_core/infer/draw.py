"""Random samples of a mixture."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array, Labels
from gmm_core.model.noise import Box
from gmm_core.model.parameters import Prepared


def draw(
    prepared: Prepared,
    n_samples: object,
    random_state: np.random.RandomState,
    box: Box | None = None,
) -> tuple[Float64Array, Labels]:
    """Draw samples from a mixture, in random order.

    Parameters
    ----------
    prepared : Prepared
    n_samples : int
        See `check_n_samples`.
    random_state : RandomState
    box : Box, default=None
        The box of the noise component.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
    labels : ndarray of shape (n_samples,), int64
        The component that each sample was drawn from, or −1 for the noise.

    Raises
    ------
    ValueError
        If there is a noise component without a box.
    """
    n, (K, D), kind = check_n_samples(n_samples), prepared.means.shape, prepared.kind
    weights, numbers = prepared.weights, np.arange(K, dtype=np.int64)
    if prepared.noise is not None:
        if box is None:
            raise ValueError(
                "noise was given as a density, so that it has no box that samples could be drawn "
                "from; a fit with noise=True has one"
            )
        weights, numbers = np.append(weights, prepared.noise.weight), np.append(numbers, -1)
    labels = np.repeat(numbers, random_state.multinomial(n, weights / weights.sum()))
    labels = random_state.permutation(labels)
    X = random_state.standard_normal(size=(n, D))
    for k in range(K):
        rows = labels == k
        # y = Uᵀ (x − μ) is standard normal.
        X[rows] = kind.unwhiten(X[rows], kind.of_component(prepared.precisions_cholesky, k))
        X[rows] += prepared.means[k]
    if box is not None:
        noise = labels == -1
        X[noise] = box.draw(int(np.count_nonzero(noise)), random_state)
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
