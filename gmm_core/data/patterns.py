"""Samples with missing values, grouped by the features that they lack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gmm_core.core.types import AnyArray, Bits, Float64Array, FloatArray, Indices
from gmm_core.data.foreign import ForeignRows
from gmm_core.model.marginal import Marginals, marginals
from gmm_core.model.parameters import Mixture

# Several patterns are processed together, in arrays of about this many numbers: for a few small
# matrices, calling a function of NumPy takes longer than its work.
_GROUP_SIZE = 1 << 17
_KEY_ROWS = 1 << 16  # rows that are read at once to find out which features they lack


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
    sample_weight : ndarray of shape (n_rows,) or None
    """

    rows: Indices
    observed: Indices
    missing: Indices
    X: FloatArray
    sample_weight: Float64Array | None

    @property
    def weight(self) -> float:
        """The total weight of the rows."""
        return float(len(self.rows) if self.sample_weight is None else self.sample_weight.sum())


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


def patterns_of(
    X: FloatArray | ForeignRows, sample_weight: Float64Array | None = None
) -> list[Pattern]:
    """Group rows by the features that they lack.

    Parameters
    ----------
    X : ndarray or ForeignRows of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,), optional
        Rows of weight 0 belong to no pattern.

    Returns
    -------
    list of Pattern
        The patterns, sorted by the number of features that they lack.
    """
    if isinstance(X, ForeignRows):
        key = np.concatenate([_missing_bits(part) for _, part in X.parts(_KEY_ROWS)])
    else:
        key = _missing_bits(X)
    rows = np.lexsort(key.T)
    if sample_weight is not None:
        rows = rows[sample_weight[rows] > 0]
    key = key[rows]
    starts = np.flatnonzero((key[1:] != key[:-1]).any(axis=1)) + 1
    patterns = []
    for group, first in zip(np.split(rows, starts), [0, *starts], strict=True):
        is_missing = np.unpackbits(key[first], count=X.shape[1]).astype(bool)
        observed = np.flatnonzero(~is_missing)
        values: AnyArray
        if isinstance(X, ForeignRows):
            values = X.take(group, observed)
        else:
            values = np.ascontiguousarray(X[group[:, None], observed])
        weight = None if sample_weight is None else sample_weight[group]
        patterns.append(Pattern(group, observed, np.flatnonzero(is_missing), values, weight))
    return sorted(patterns, key=lambda pattern: len(pattern.missing))


def _missing_bits(X: FloatArray) -> Bits:
    """Return for each row and feature whether its value is missing, packed into bits."""
    return np.packbits(np.isnan(X), axis=1)


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
