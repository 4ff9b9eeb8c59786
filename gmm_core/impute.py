"""What stands in for missing values: conditional means or draws, and means for a start."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gmm_core.covariance import COVARIANCE_TYPES
from gmm_core.marginal import PatternBlock, blocks, patterns_of, regression
from gmm_core.parameters import Parameters
from gmm_core.passes import FloatArray

Float64Array = npt.NDArray[np.float64]


def fill(
    X: FloatArray,
    parameters: Parameters,
    responsibilities: FloatArray,
    random_state: np.random.RandomState | None = None,
) -> FloatArray:
    """A copy of X with its NaN filled.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    parameters : Parameters
    responsibilities : ndarray of shape (n_samples, K)
        Of the components, given what is known of each sample.
    random_state : RandomState or None
        None: by the conditional mean Σ_k r_k E[x_m | x_o, k]. Else by a draw of the component, by
        its responsibility, and then of x_m given x_o and this component.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
    """
    filled = X.copy()
    patterns = [pattern for pattern in patterns_of(X) if len(pattern.missing)]
    K = len(parameters.weights)
    shares = responsibilities.astype(np.float64)
    noise = np.zeros((len(X), 0))
    if random_state is not None:
        # drawn for the incomplete rows in their order, so that the patterns do not matter
        rows = np.flatnonzero(np.isnan(X).any(axis=1))
        below = shares[rows].cumsum(axis=1) <= random_state.uniform(size=len(rows))[:, None]
        labels = np.minimum(below.sum(axis=1), K - 1)
        shares[rows] = np.eye(K)[labels]
        noise = np.zeros(X.shape)
        noise[rows] = random_state.standard_normal(size=(len(rows), X.shape[1]))
    for block in blocks(patterns, parameters):
        slopes, roots = _conditionals(block, parameters)
        for pattern, slope, root in zip(block.patterns, slopes, roots, strict=True):
            known, unknown = pattern.observed, pattern.missing
            r = shares[pattern.rows]
            made = np.zeros((len(r), len(unknown)))
            for k in range(K):
                rows = np.flatnonzero(r[:, k])
                difference = pattern.X[rows] - parameters.means[k, known]
                part = parameters.means[k, unknown] + np.einsum("mo,no->nm", slope[k], difference)
                if random_state is not None:
                    part += np.einsum("mi,ni->nm", root[k], noise[pattern.rows[rows]][:, unknown])
                made[rows] += r[rows, k, None] * part
            filled[pattern.rows[:, None], unknown] = made
    return filled


def _conditionals(block: PatternBlock, parameters: Parameters) -> tuple[Float64Array, Float64Array]:
    """Slopes (P, K, m, q) and roots (P, K, m, m) of the missing features; see `regression`."""
    K, D = parameters.means.shape
    P, q = len(block.patterns), len(block.patterns[0].observed)
    if COVARIANCE_TYPES[parameters.covariance_type].is_matrix:
        slope, root = regression(block.factors, q)
    else:
        slope = np.zeros((1, 1, D - q, q))
        scale = np.broadcast_to(1 / parameters.precisions_cholesky.reshape(K, -1), (K, D))
        deviations = np.stack([scale[:, pattern.missing] for pattern in block.patterns])
        root = deviations[..., None] * np.eye(D - q)
    return np.broadcast_to(slope, (P, K, D - q, q)), np.broadcast_to(root, (P, K, D - q, D - q))


def fill_for_start(
    X: FloatArray, sample_weight: Float64Array | None
) -> tuple[FloatArray, Float64Array]:
    """Data without NaN for a method that finds where EM starts.

    Missing values become the mean of their feature, which has too small a variance then.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    filled : ndarray of shape (n_samples, n_features)
    variances : ndarray of shape (n_features,)
        What the features lack of variance. A cluster that never has a feature would start with a
        variance of 0.

    Raises
    ------
    ValueError
        If a feature has no value at all.
    """
    known = ~np.isnan(X)
    weight = known if sample_weight is None else known * sample_weight[:, None]
    total = weight.sum(axis=0, dtype=np.float64)
    if not total.all():
        column = int(np.argmin(total))
        raise ValueError(
            f"X[:, {column}] has no value that is not NaN, in a row of positive weight (of the "
            "subsample for the start, if X is large; see init_size): leave the feature out"
        )
    # about a value of each feature, as data may have a large offset
    shift = X[(weight > 0).argmax(axis=0), np.arange(X.shape[1])].astype(np.float64)
    difference = np.where(known, X - shift, 0.0)
    moved = np.einsum("nd,nd->d", weight, difference, dtype=np.float64) / total
    difference = np.where(known, difference - moved, 0.0)
    filled = np.where(known, X, (shift + moved).astype(X.dtype))
    share = 1 - total / (len(X) if sample_weight is None else sample_weight.sum())
    return filled, share * np.einsum("nd,nd,nd->d", weight, difference, difference) / total
