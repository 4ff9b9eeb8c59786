"""Samples that lack features, grouped by pattern, and the mixture as seen by each pattern.

A pattern is the set o of the features that its rows have; m is the rest. The marginal mixture of o
has the weights, and of means and covariances the parts μ_o and Σ_oo.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.conversion import ForeignRows
from gmm_core.covariance import COVARIANCE_TYPES, nearest_component, precisions_cholesky_of
from gmm_core.parameters import Parameters, parameters_from
from gmm_core.passes import FloatArray
from gmm_core.statistics import IllDefinedCovarianceError

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

# Patterns are worked on together, in arrays of about so many numbers: for a few small matrices a
# call of NumPy takes longer than its work.
_BLOCK_SIZE = 1 << 17
_KEY_ROWS = 1 << 16


class Pattern(NamedTuple):
    """The rows that lack the same features.

    Attributes
    ----------
    rows : ndarray of intp
        Their indices.
    observed, missing : ndarray of intp, of shapes (q,) and (D − q,)
        Features, ascending.
    X : ndarray of shape (n_rows, q)
        The observed features.
    sample_weight : ndarray of shape (n_rows,) or None
    """

    rows: IntArray
    observed: IntArray
    missing: IntArray
    X: FloatArray
    sample_weight: Float64Array | None

    @property
    def weight(self) -> float:
        """Total weight of the rows."""
        return float(len(self.rows) if self.sample_weight is None else self.sample_weight.sum())


class PatternBlock(NamedTuple):
    """Patterns with the same number of observed features, and the mixture as each sees it.

    Attributes
    ----------
    patterns : list of Pattern
    mixtures : list of Parameters
        Marginal mixtures of the observed features (without any, the mixture itself).
    order : ndarray of shape (P, D)
        For each pattern the features, the observed ones first.
    factors : ndarray of shape (P, K or 1, D, D)
        Precision factors of the full or tied covariances in this order; else empty.
    """

    patterns: list[Pattern]
    mixtures: list[Parameters]
    order: IntArray
    factors: Float64Array


def has_missing(X: FloatArray | ForeignRows) -> bool:
    """Whether a value is NaN; makes no temporary."""
    if isinstance(X, ForeignRows):
        return X.has_nan
    return bool(X.size and np.isnan(X.min()))


def patterns_of(
    X: FloatArray | ForeignRows, sample_weight: Float64Array | None = None
) -> list[Pattern]:
    """Group rows by the features that they lack, fewest first; rows of weight 0 are absent."""
    if isinstance(X, ForeignRows):
        key = np.concatenate([_holes(part) for _, part in X.parts(_KEY_ROWS)])
    else:
        key = _holes(X)
    rows = np.lexsort(key.T)
    if sample_weight is not None:
        rows = rows[sample_weight[rows] > 0]
    key = key[rows]
    starts = np.flatnonzero((key[1:] != key[:-1]).any(axis=1)) + 1
    patterns = []
    for group, first in zip(np.split(rows, starts), [0, *starts], strict=True):
        holes = np.unpackbits(key[first], count=X.shape[1]).astype(bool)
        observed = np.flatnonzero(~holes)
        values: npt.NDArray[Any]
        if isinstance(X, ForeignRows):
            values = X.take(group, observed)
        else:
            values = np.ascontiguousarray(X[group[:, None], observed])
        weight = None if sample_weight is None else sample_weight[group]
        patterns.append(Pattern(group, observed, np.flatnonzero(holes), values, weight))
    return sorted(patterns, key=lambda pattern: len(pattern.missing))


def _holes(X: FloatArray) -> npt.NDArray[np.uint8]:
    """Pack the missing features of each row into bits."""
    return np.packbits(np.isnan(X), axis=1)


def blocks(patterns: list[Pattern], parameters: Parameters) -> Iterator[PatternBlock]:
    """The patterns in blocks of bounded size, with their marginal mixtures.

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance is not positive definite with its features in another order.
    """
    K, D = parameters.means.shape
    most = max(1, _BLOCK_SIZE // (K * D * max(K, D)))
    start = 0
    while start < len(patterns):
        n_missing = len(patterns[start].missing)
        stop = start + 1
        while (
            stop < min(start + most, len(patterns)) and len(patterns[stop].missing) == n_missing
        ):
            stop += 1
        yield _block(patterns[start:stop], parameters)
        start = stop


def _block(patterns: list[Pattern], parameters: Parameters) -> PatternBlock:
    order = np.stack([np.concatenate(pattern[1:3]) for pattern in patterns])
    q, D = len(patterns[0].observed), order.shape[1]
    factors = np.empty((len(patterns), 0, 0, 0))
    if COVARIANCE_TYPES[parameters.covariance_type].is_matrix and q < D:
        factors = _ordered_factors(parameters, order)
    mixtures = [parameters] * len(patterns)
    if 0 < q < D:
        mixtures = [
            _marginal(parameters, pattern.observed, factor[:, :q, :q])
            for pattern, factor in zip(patterns, factors, strict=True)
        ]
    return PatternBlock(patterns, mixtures, order, factors)


def _marginal(parameters: Parameters, observed: IntArray, factors: Float64Array) -> Parameters:
    """The mixture of some features; `factors` are those of full and tied covariances."""
    kind = parameters.covariance_type
    if kind == "diag":
        factors = parameters.precisions_cholesky[:, observed]
    elif kind == "spherical":
        factors = parameters.precisions_cholesky
    elif kind == "tied":
        factors = factors[0]
    factors = np.ascontiguousarray(factors)
    means = np.ascontiguousarray(parameters.means[:, observed])
    # no pass reads the covariances: the factors stand in for them
    return parameters_from(parameters.weights, means, factors, kind, factors)


def _ordered_factors(parameters: Parameters, order: IntArray) -> Float64Array:
    D = order.shape[1]
    covariances = parameters.covariances.reshape(-1, D, D)
    each = np.arange(len(covariances))[:, None, None]
    stack = covariances[each, order[:, None, :, None], order[:, None, None, :]]
    try:
        factors = precisions_cholesky_of(stack.reshape(-1, D, D), "full", D, given="covariances")
    except ValueError as error:
        raise IllDefinedCovarianceError(
            "a covariance is too near to singular for samples that lack features: with these last, "
            "it is not positive definite. Raise reg_covar, or scale the data."
        ) from error
    return factors.reshape(stack.shape)


def regression(factors: Float64Array, q: int) -> tuple[Float64Array, Float64Array]:
    """Regression of the missing features on the q observed ones, which come first.

    Parameters
    ----------
    factors : ndarray of shape (..., D, D)
        Precision factors U.
    q : int

    Returns
    -------
    slope : ndarray of shape (..., D − q, q)
        B = Σ_mo Σ_oo⁻¹: the mean of x_m given x_o is μ_m + B (x_o − μ_o).
    root : ndarray of shape (..., D − q, D − q)
        R, lower triangular: its covariance, Σ_mm − B Σ_om, is R Rᵀ.
    """
    # As y = Uᵀ (x − μ) is standard normal, U_omᵀ (x_o − μ_o) + U_mmᵀ (x_m − μ_m) = y_m. So
    #     U_mmᵀ B = −U_omᵀ  and  U_mmᵀ R = I,
    # by forward substitution: no difference of covariances is taken, and nothing cancels.
    U_om, U_mm = factors[..., :q, q:], factors[..., q:, q:]
    m = factors.shape[-1] - q
    solution = np.zeros((*factors.shape[:-2], m, q + m))
    solution[..., :q] = -np.swapaxes(U_om, -1, -2)
    solution[..., q:] = np.eye(m)
    for i in range(m):
        if i:
            solution[..., i, :] -= np.einsum(
                "...j,...jc->...c", U_mm[..., :i, i], solution[..., :i, :]
            )
        solution[..., i, :] /= U_mm[..., i, i, None]
    return solution[..., :q], solution[..., q:]


def nearest_by_pattern(X: FloatArray, parameters: Parameters) -> IntArray:
    """As `nearest_component`, by the features that each sample has."""
    nearest = np.empty(len(X), np.intp)
    for block in blocks(patterns_of(X), parameters):
        for pattern, mixture in zip(block.patterns, block.mixtures, strict=True):
            nearest[pattern.rows] = nearest_component(pattern.X, mixture)
    return nearest
