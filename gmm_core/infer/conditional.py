"""Conditional mixtures of many rows: the distribution of some features given those of each row.

Given x_o, component k has the weight r_k, its responsibility for x_o, and the other features are
normal with the mean μ_km + B_k (x_o − μ_ko) and the covariance R_k R_kᵀ, where B_k and R_k are the
regression of `CovarianceType.regression`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gmm_core.core.errors import NumericalError
from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.data.patterns import Pattern, groups, has_missing, patterns_of
from gmm_core.infer.score import FittedMixture, responsibilities
from gmm_core.model.marginal import marginals
from gmm_core.model.parameters import Mixture, Prepared

_NUMBERS = 1 << 20  # about the number of conditional means that are computed at once


class Conditional(NamedTuple):
    """The conditional mixtures of n rows: of q features, given the others.

    Attributes
    ----------
    responsibilities : ndarray of shape (n, K)
        The weights of each mixture.
    means : ndarray of shape (n, K, q)
    covariances : ndarray of shape (K, q, q)
        The covariances, which are those of all rows.
    """

    responsibilities: FloatArray
    means: FloatArray
    covariances: FloatArray


class ConditionalBlock(NamedTuple):
    """The conditional mixtures of a block of rows that lack the same features.

    Attributes
    ----------
    rows : ndarray of shape (n,), intp
        The numbers of the rows.
    responsibilities, means, covariances : ndarray
        See `Conditional`.
    roots : ndarray of shape (K, q, q)
        Lower triangular R_k; the covariances are R_k R_kᵀ.
    """

    rows: Indices
    responsibilities: Float64Array
    means: Float64Array
    covariances: Float64Array
    roots: Float64Array


class _Regression(NamedTuple):
    """The regression of q features on those that are given, for each component; see the module."""

    of_given: Prepared
    means_given: Float64Array
    means: Float64Array
    slopes: Float64Array
    roots: Float64Array


def conditional(
    X: FloatArray, mixture: Mixture, given: Indices, n_threads: int | None
) -> Conditional:
    """Return the distributions of the features that are not given, in ascending order.

    Parameters
    ----------
    X : ndarray of shape (n_samples, len(given))
        The values of the features that are given.
    mixture : Mixture
        A mixture without a noise component.
    given : ndarray of intp
    n_threads : int or None

    Raises
    ------
    ValueError
        If all features are given, or (NumericalError) a mean is beyond the range of float64.
    """
    (K, D), q = mixture.means.shape, len(given)
    if q == D:
        raise ValueError(f"given has all {D} features, so that no feature is left")
    others = np.setdiff1d(np.arange(D), given)
    made = marginals(mixture, np.concatenate([given, others])[None], q)
    slopes, roots = mixture.kind.regression(
        mixture.prepared.precisions_cholesky, made.ordered, made.order, q, K
    )
    regression = _Regression(
        made.mixtures[0], mixture.means[:, given], mixture.means[:, others], slopes[0], roots[0]
    )
    return Conditional(*_given(X, np.arange(len(X)), regression, n_threads))


def conditional_blocks(
    X: FloatArray, mixture: Mixture, n_threads: int | None
) -> Iterator[ConditionalBlock]:
    """Yield the distributions of the last features of the mixture, given the first ones.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_given)
        The values of the first features. NaN is a missing value, which is integrated out.
    mixture : Mixture
        A mixture without a noise component.
    n_threads : int or None

    Raises
    ------
    NumericalError
        If a conditional mean is beyond the range of float64.
    """
    (K, D), n_given = mixture.means.shape, X.shape[1]
    q = D - n_given
    targets = np.arange(n_given, D)
    if has_missing(X):
        patterns = patterns_of(X)
    else:
        patterns = [Pattern(np.arange(len(X)), np.arange(n_given), targets[:0], X)]
    # The factors are ordered with the targets before the features that are missing, so that the
    # first rows of the regression are those of the targets.
    patterns = [p._replace(missing=np.concatenate([targets, p.missing])) for p in patterns]
    n_rows = max(1, _NUMBERS // (K * D))
    for group, (mixtures, order, ordered) in groups(patterns, mixture):
        slopes, roots = mixture.kind.regression(
            mixture.prepared.precisions_cholesky, ordered, order, len(group[0].observed), K
        )
        for pattern, of_given, slope, root in zip(group, mixtures, slopes, roots, strict=True):
            regression = _Regression(
                of_given, mixture.means[:, pattern.observed], mixture.means[:, targets],
                slope[:, :q], root[:, :q, :q],
            )  # fmt: skip
            for start in range(0, len(pattern.rows), n_rows):
                rows = pattern.rows[start : start + n_rows]
                part = pattern.X[start : start + n_rows]
                made = _given(part, rows, regression, n_threads)
                yield ConditionalBlock(rows, *made, regression.roots)


def _given(
    X: FloatArray, rows: Indices, regression: _Regression, n_threads: int | None
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return what a `Conditional` has; the numbers of the rows are for the message of an error."""
    x = X.astype(np.float64, copy=False)
    K, q = regression.means.shape
    r: Float64Array
    if x.shape[1]:
        model = FittedMixture(regression.of_given, False, n_threads)
        r = responsibilities(x, model).astype(np.float64, copy=False)
    else:
        r = np.tile(regression.of_given.weights, (len(x), 1))
    means = np.empty((len(x), K, q))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(K):
            difference = x - regression.means_given[k]
            means[:, k] = regression.means[k]
            means[:, k] += np.einsum("mo,no->nm", regression.slopes[k], difference)
    bad = ~np.isfinite(means).all(axis=(1, 2))
    if bad.any():
        raise NumericalError(
            f"a conditional mean of X[{rows[int(bad.argmax())]}] is beyond the range of float64: "
            "scale the data"
        )
    covariances = np.einsum("kir,kjr->kij", regression.roots, regression.roots)
    return r, means, covariances
