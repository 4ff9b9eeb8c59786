"""Imputation: missing values are filled from their distribution given the rest of the sample."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Indices
from gmm_core.data.foreign import ForeignRows
from gmm_core.data.patterns import groups, patterns_of
from gmm_core.infer.score import FittedMixture, pass_over, responsibilities
from gmm_core.model.parameters import mixture_of


def impute(
    X: FloatArray | ForeignRows,
    model: FittedMixture,
    random_state: np.random.RandomState | None = None,
    out: AnyArray | None = None,
) -> FloatArray:
    """Return a copy of X with its NaN filled.

    Parameters
    ----------
    X : ndarray or ForeignRows of shape (n_samples, n_features)
    model : FittedMixture
    random_state : RandomState, default=None
        None fills NaN with the conditional mean Σ_k r_k E[x_m | x_o, k]. With a generator, a
        component is drawn by its responsibility r_k, and then x_m given x_o and this component.
    out : ndarray of shape (n_samples, n_features), default=None
        An array for the copy.

    Returns
    -------
    ndarray of shape (n_samples, n_features), the dtype of X
    """
    model = model._replace(marginalize=True)
    filled: AnyArray = np.empty(X.shape, X.dtype) if out is None else out
    if not isinstance(X, ForeignRows):
        _fill(X, model, filled, random_state)
        return filled
    uniform: Float64Array | None = None
    if random_state is not None:  # the numbers are those that an array of all rows would get
        n_incomplete = sum(len(_incomplete(part)) for _, part in X.checked_parts())
        uniform = random_state.uniform(size=n_incomplete)
    for at, part in X.checked_parts():
        _fill(part, model, filled[at], random_state, uniform)
        if uniform is not None:
            uniform = uniform[len(_incomplete(part)) :]
    return filled


def _incomplete(X: FloatArray) -> Indices:
    """Return the rows that lack a value."""
    return np.flatnonzero(np.isnan(X).any(axis=1))


def _fill(
    X: FloatArray,
    model: FittedMixture,
    filled: AnyArray,
    random_state: np.random.RandomState | None,
    uniform: Float64Array | None = None,
) -> None:
    """Fill an array with the rows of X, and their missing values; see `impute`.

    Numbers are drawn for the incomplete rows in their order, whatever their patterns are.
    `uniform` begins with the uniform numbers of these rows, if they are drawn already.
    """
    filled[...] = X
    rows = _incomplete(X)
    if not len(rows):
        return
    if random_state is None:
        data = pass_over(X, model)
        if data.posterior(model.prepared, filled):
            values: AnyArray = np.empty(len(X), X.dtype)
            data.evaluate(model.prepared, log_likelihood=values)
            rows = rows[~(values[rows] > -np.inf)]
            filled[rows] = _by_pattern(X[rows], model)
        return
    n = len(rows)
    first = random_state.uniform(size=n) if uniform is None else uniform[:n]
    normal = random_state.standard_normal(size=(n, X.shape[1]))
    filled[rows] = _by_pattern(X[rows], model, first, normal)


def _by_pattern(
    X: FloatArray,
    model: FittedMixture,
    uniform: Float64Array | None = None,
    normal: Float64Array | None = None,
) -> FloatArray:
    """Return rows that lack values with these filled, pattern by pattern.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    model : FittedMixture
    uniform, normal : ndarray of shape (n_samples,) and (n_samples, n_features), default=None
        Random numbers for the component of each row and for its values. Without them, the
        conditional means are filled in.
    """
    filled = X.copy()
    shares: Float64Array = responsibilities(X, model).astype(np.float64)
    mixture = mixture_of(model.prepared)
    means, kind, K = mixture.means, mixture.kind, len(mixture.weights)
    if uniform is not None:
        below = shares.cumsum(axis=1) <= uniform[:, None]
        shares = np.eye(K)[np.minimum(below.sum(axis=1), K - 1)]
    for group, (_, order, ordered) in groups(patterns_of(X), mixture):
        q = len(group[0].observed)
        factor = mixture.prepared.precisions_cholesky
        slopes, roots = kind.regression(factor, ordered, order, q, K)
        for pattern, slope, root in zip(group, slopes, roots, strict=True):
            known, unknown = pattern.observed, pattern.missing
            r = shares[pattern.rows]
            made = np.zeros((len(r), len(unknown)))
            for k in range(K):
                rows = np.flatnonzero(r[:, k])
                difference = pattern.X[rows] - means[k, known]
                part = means[k, unknown] + np.einsum("mo,no->nm", slope[k], difference)
                if normal is not None:
                    part += np.einsum("mi,ni->nm", root[k], normal[pattern.rows[rows]][:, unknown])
                made[rows] += r[rows, k, None] * part
            filled[pattern.rows[:, None], unknown] = made
    return filled
