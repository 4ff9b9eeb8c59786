"""Imputation: missing values are filled from their distribution given the rest of the sample."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.data.patterns import groups, patterns_of
from gmm_core.infer.score import FittedMixture, pass_over, responsibilities
from gmm_core.model.parameters import mixture_of


def impute(
    X: FloatArray, model: FittedMixture, random_state: np.random.RandomState | None = None
) -> FloatArray:
    """Return a copy of X with its NaN filled.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    model : FittedMixture
    random_state : RandomState, default=None
        None fills NaN with the conditional mean Σ_k r_k E[x_m | x_o, k]. With a generator, a
        component is drawn by its responsibility r_k, and then x_m given x_o and this component.

    Returns
    -------
    ndarray of shape (n_samples, n_features), the dtype of X
    """
    model = model._replace(marginalize=True)
    filled = X.copy()
    rows = np.flatnonzero(np.isnan(X).any(axis=1))
    if not len(rows):
        return filled
    if random_state is None and not pass_over(X, model).posterior(model.prepared, filled):
        return filled
    shares: Float64Array = responsibilities(X, model).astype(np.float64)
    patterns = [pattern for pattern in patterns_of(X) if len(pattern.missing)]
    mixture = mixture_of(model.prepared)
    means, kind, K = mixture.means, mixture.kind, len(mixture.weights)
    noise = np.zeros((len(X), 0))
    if random_state is not None:
        # Numbers are drawn for the incomplete rows in their order, whatever their patterns are.
        below = shares[rows].cumsum(axis=1) <= random_state.uniform(size=len(rows))[:, None]
        labels = np.minimum(below.sum(axis=1), K - 1)
        shares[rows] = np.eye(K)[labels]
        noise = np.zeros(X.shape)
        noise[rows] = random_state.standard_normal(size=(len(rows), X.shape[1]))
    for group, (_, order, ordered) in groups(patterns, mixture):
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
                if random_state is not None:
                    part += np.einsum("mi,ni->nm", root[k], noise[pattern.rows[rows]][:, unknown])
                made[rows] += r[rows, k, None] * part
            filled[pattern.rows[:, None], unknown] = made
    return filled
