"""Random samples of a mixture."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array, Labels
from gmm_core.model.noise import Box
from gmm_core.model.parameters import Prepared

# Number of normal numbers that are drawn at once. They stay in the cache until they are used.
_DRAWN = 1 << 14


def draw(
    prepared: Prepared,
    n_samples: object,
    random_state: np.random.RandomState,
    box: Box | None = None,
) -> tuple[Float64Array, Labels]:
    """Draw samples from a mixture, ordered by component.

    The samples are bit-identical for any number of threads.

    Parameters
    ----------
    prepared : Prepared
    n_samples : int
        See `check_n_samples`.
    random_state : RandomState
        One number is drawn from it, which seeds the generator of all others. That is NumPy's
        `Generator`, as its normal numbers take less time than those of a RandomState.
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
    seed = random_state.randint(np.iinfo(np.int64).max, dtype=np.int64)
    generator = np.random.Generator(np.random.SFC64(seed))
    counts = generator.multinomial(n, weights / weights.sum())
    X = np.empty((n, D))
    # A matrix is inverted for each block, so a block of D features has 4 D rows or more.
    normal = np.empty((min(n, max(_DRAWN // D, 4 * D)), D))
    ends = np.cumsum(counts)
    for k in range(K):
        factor = kind.of_component(prepared.precisions_cholesky, k)
        for start in range(ends[k] - counts[k], ends[k], len(normal)):
            part = X[start : min(start + len(normal), ends[k])]
            y = generator.standard_normal(out=normal[: len(part)])
            kind.unwhiten(y, factor, prepared.means[k], part)
    if box is not None:
        X[ends[K - 1] :] = box.draw(n - int(ends[K - 1]), generator)
    return X, np.repeat(numbers, counts)


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
