"""Samples with missing values, grouped by the features that they lack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gmm_core.core.types import AnyArray, FloatArray, Indices
from gmm_core.data.foreign import ForeignRows
from gmm_core.model.marginal import Marginals, marginals
from gmm_core.model.parameters import Mixture

# Several patterns are processed together, in arrays of about this many numbers: for a few small
# matrices, calling a function of NumPy takes longer than its work.
_GROUP_SIZE = 1 << 17


class Pattern(NamedTuple):
    """The rows that lack the same features.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,), intp
        The indices of the rows.
    observed, missing : ndarray of shapes (q,) and (D − q,), intp
        The indices of the features that the rows have and lack, in ascending order.
    X : ndarray of shape (n_rows, q)
        The values of the observed features.
    """

    rows: Indices
    observed: Indices
    missing: Indices
    X: FloatArray


class PatternGroup(NamedTuple):
    """Patterns with the same number of observed features.

    Attributes
    ----------
    patterns : list of Pattern
    marginals : Marginals
        For each pattern, the marginal mixture of its observed features.
    """

    patterns: list[Pattern]
    marginals: Marginals


def has_missing(X: FloatArray | ForeignRows) -> bool:
    """Return whether a value of X is NaN, without making a temporary array."""
    if isinstance(X, ForeignRows):
        return X.has_nan
    return bool(X.size and np.isnan(X.min()))


def patterns_of(X: FloatArray) -> list[Pattern]:
    """Group rows by the features that they lack.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)

    Returns
    -------
    list of Pattern
        The patterns, sorted by the number of features that they lack.
    """
    key = np.packbits(np.isnan(X), axis=1)
    rows = np.lexsort(key.T)
    key = key[rows]
    starts = np.flatnonzero((key[1:] != key[:-1]).any(axis=1)) + 1
    patterns = []
    for group, first in zip(np.split(rows, starts), [0, *starts], strict=True):
        is_missing = np.unpackbits(key[first], count=X.shape[1]).astype(bool)
        observed = np.flatnonzero(~is_missing)
        values: AnyArray = np.ascontiguousarray(X[group[:, None], observed])
        patterns.append(Pattern(group, observed, np.flatnonzero(is_missing), values))
    return sorted(patterns, key=lambda pattern: len(pattern.missing))


def groups(patterns: list[Pattern], mixture: Mixture) -> Iterator[PatternGroup]:
    """Yield the patterns in groups of bounded size, with their marginal mixtures.

    Parameters
    ----------
    patterns : list of Pattern
        Sorted by the number of missing features.
    mixture : Mixture

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance is so ill-conditioned that its Cholesky factorisation fails after the
        features are reordered.
    """
    K, D = mixture.means.shape
    most = max(1, _GROUP_SIZE // (K * D * max(K, D)))
    start = 0
    while start < len(patterns):
        n_missing = len(patterns[start].missing)
        stop = start + 1
        while (
            stop < min(start + most, len(patterns)) and len(patterns[stop].missing) == n_missing
        ):
            stop += 1
        group = patterns[start:stop]
        order = np.stack([np.concatenate([p.observed, p.missing]) for p in group])
        yield PatternGroup(group, marginals(mixture, order, D - n_missing))
        start = stop
