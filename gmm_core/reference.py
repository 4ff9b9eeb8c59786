"""Gaussian mixtures in plain NumPy, written like the textbook.

The model is  p(x) = Σ_k π_k N(x | μ_k, Σ_k).  The functions here are those of the compiled core;
tests take them as the truth, and people measure the core's speed against them.

==========  ======================  ===========  ====================  ===================
type        Σ_k                     covariances  precisions_cholesky   U_kᵀ (x - μ_k)
==========  ======================  ===========  ====================  ===================
full        any                     (K, D, D)    (K, D, D), upper      product with U_kᵀ
tied        Σ, shared               (D, D)       (D, D), upper         product with Uᵀ
diag        diag(σ²_k1 ... σ²_kD)   (K, D)       (K, D), 1 / σ_kd      feature by feature
spherical   σ²_k I                  (K,)         (K,), 1 / σ_k         one scale
==========  ======================  ===========  ====================  ===================

U_k, the Cholesky factor of the precision, has Σ_k⁻¹ = U_k U_kᵀ. X is (N, D), weights π (K,), means
μ (K, D), responsibilities r (N, K); indices are n, k, d. Arrays are float32 or float64, and results
have the dtype of X; sums over samples are taken in float64 all the same. Samples may carry a
``sample_weight`` w_n: weight 2 is the sample twice, weight 0 its absence.
"""

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.floating]]
Reg = float | Array  # added to all variances, or to those of each feature


class Full:
    """Σ_k is any positive definite matrix. The other types override what is simpler for them."""

    def factor(self, covariances: Array) -> Array:
        """U_k for every component."""
        return np.stack([_inverse_factor(c, f"component {k}") for k, c in enumerate(covariances)])

    def per_component(self, factors: Array, n_components: int) -> list[Array]:
        """[U_1, ..., U_K]."""
        return list(factors)

    def whiten(self, difference: Array, factor: Array) -> Array:
        """y = U_kᵀ (x - μ_k) for every row, so that ‖y‖² = (x - μ_k)ᵀ Σ_k⁻¹ (x - μ_k)."""
        return difference @ factor

    def log_det(self, factor: Array, n_features: int) -> float:
        """log |U_k| = -½ log |Σ_k|."""
        return float(np.log(np.diagonal(factor)).sum())

    def second_moment(self, r: Array, difference: Array) -> Array:
        """Σ_n r_nk (x_n - c_k)(x_n - c_k)ᵀ, or the part of it that this type needs."""
        return (r[:, np.newaxis] * difference).T @ difference

    def gather(self, moments: list[Array]) -> Array:
        """The second moments of all components as one array."""
        return np.stack(moments)

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        """Σ_k = moments_k / N_k, with ``reg`` added to the diagonal."""
        return moments / counts[:, np.newaxis, np.newaxis] + reg * np.eye(n_features)


class Tied(Full):
    """Σ_k = Σ: the covariances of all components, averaged with weights N_k / N."""

    def factor(self, covariances: Array) -> Array:
        return _inverse_factor(covariances, "the matrix shared by all components")

    def per_component(self, factors: Array, n_components: int) -> list[Array]:
        return [factors] * n_components

    def gather(self, moments: list[Array]) -> Array:
        total: Array = np.sum(moments, axis=0)
        return total

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        return moments / float(counts.sum()) + reg * np.eye(n_features)


class Diag(Full):
    """Σ_k = diag(σ²_k1 ... σ²_kD): features are uncorrelated within a component."""

    def factor(self, covariances: Array) -> Array:
        for k, variance in enumerate(covariances):
            if not np.all((variance > 0) & np.isfinite(variance)):
                raise _not_positive_definite(f"component {k}")
        return 1 / np.sqrt(covariances)

    def whiten(self, difference: Array, factor: Array) -> Array:
        return difference * factor

    def log_det(self, factor: Array, n_features: int) -> float:
        return float(np.log(factor).sum())

    def second_moment(self, r: Array, difference: Array) -> Array:
        return r @ difference**2

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        return moments / counts[:, np.newaxis] + reg


class Spherical(Diag):
    """Σ_k = σ²_k I: one variance, the mean of the D variances of ``diag``."""

    def log_det(self, factor: Array, n_features: int) -> float:
        return n_features * float(np.log(factor))

    def second_moment(self, r: Array, difference: Array) -> Array:
        squared_length: Array = (difference**2).sum(axis=1)
        return r @ squared_length

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        return moments / (n_features * counts) + np.mean(reg)


COVARIANCE_TYPES = {"full": Full(), "tied": Tied(), "diag": Diag(), "spherical": Spherical()}


def _lookup(covariance_type: str) -> Full:
    if covariance_type not in COVARIANCE_TYPES:
        expected = list(COVARIANCE_TYPES)
        raise ValueError(f"covariance_type is {covariance_type!r}, expected one of {expected}")
    return COVARIANCE_TYPES[covariance_type]


def _not_positive_definite(name: str) -> ValueError:
    return ValueError(f"covariances: {name} is not positive definite, or not finite")


def _inverse_factor(covariance: Array, name: str) -> Array:
    """Upper triangular U with Σ⁻¹ = U Uᵀ: if Σ = L Lᵀ, then U = (Lᵀ)⁻¹."""
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise _not_positive_definite(name) from None
    if not np.all(np.isfinite(lower)):
        raise _not_positive_definite(name)
    return np.linalg.solve(lower.T, np.eye(len(lower), dtype=lower.dtype))


def precision_cholesky(covariances: Array, covariance_type: str) -> Array:
    """U_k with Σ_k⁻¹ = U_k U_kᵀ; a ValueError names the component that is not positive definite."""
    return _lookup(covariance_type).factor(covariances)


# ---- Expectation ---------------------------------------------------------------------------------


def log_density(X: Array, means: Array, precisions_cholesky: Array, covariance_type: str) -> Array:
    """log N(x_n | μ_k, Σ_k) = log |U_k| - ½ (D log 2π + ‖U_kᵀ (x_n - μ_k)‖²), as (N, K)."""
    kind = _lookup(covariance_type)
    n_samples, n_features = X.shape
    log_prob = np.empty((n_samples, len(means)), dtype=X.dtype)
    for k, factor in enumerate(kind.per_component(precisions_cholesky, len(means))):
        y = kind.whiten(X - means[k], factor)
        with np.errstate(over="ignore"):  # a length too large to be squared: log-density -inf
            distance = (y**2).sum(axis=1)
        log_det = kind.log_det(factor, n_features)
        log_prob[:, k] = log_det - 0.5 * (n_features * np.log(2 * np.pi) + distance)
    return log_prob


def weighted_log_prob(
    X: Array, weights: Array, means: Array, precisions_cholesky: Array, covariance_type: str
) -> Array:
    """log π_k + log N(x_n | μ_k, Σ_k), as (N, K); -inf for a component of weight 0."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    log_prob = log_density(X, means, precisions_cholesky, covariance_type) + log_weights
    return log_prob.astype(X.dtype, copy=False)


def expectation_step(
    X: Array, weights: Array, means: Array, precisions_cholesky: Array, covariance_type: str
) -> tuple[Array, Array]:
    """log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k) as (N,), and the responsibilities (N, K).

    Both are taken relative to the largest term, m_n = max_k log π_k N(x_n | μ_k, Σ_k): the terms
    divided by exp(m_n) cannot all underflow. Where all of them are -inf, log p(x_n) is -inf and
    the responsibilities, 0 / 0, are NaN.
    """
    log_prob = weighted_log_prob(X, weights, means, precisions_cholesky, covariance_type)
    largest = log_prob.max(axis=1, keepdims=True)
    largest[np.isneginf(largest)] = 0  # -inf - (-inf) is undefined; exp(-inf - 0) is 0
    relative = np.exp(log_prob - largest)
    total = relative.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (largest + np.log(total))[:, 0], relative / total


def log_likelihood(
    X: Array, weights: Array, means: Array, precisions_cholesky: Array, covariance_type: str
) -> Array:
    """log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k), as (N,)."""
    return expectation_step(X, weights, means, precisions_cholesky, covariance_type)[0]


def responsibilities(
    X: Array, weights: Array, means: Array, precisions_cholesky: Array, covariance_type: str
) -> Array:
    """r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j), as (N, K)."""
    return expectation_step(X, weights, means, precisions_cholesky, covariance_type)[1]


# ---- Maximization --------------------------------------------------------------------------------


def _weighted(responsibilities: Array, sample_weight: Array | None) -> Array:
    """w_n r_nk, in float64 so that sums over samples are taken in float64."""
    r = responsibilities.astype(np.float64, copy=False)
    return r if sample_weight is None else r * np.asarray(sample_weight)[:, np.newaxis]


def sufficient_statistics(
    X: Array,
    responsibilities: Array,
    covariance_type: str,
    shift: Array,
    sample_weight: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Sums over samples, about a point c_k = shift[k] for every component.

    Returns N_k = Σ_n w_n r_nk (K,), Σ_n w_n r_nk (x_n - c_k) (K, D), and the second moments
    Σ_n w_n r_nk (x_n - c_k)(x_n - c_k)ᵀ: full (K, D, D); tied (D, D), summed over k; diag (K, D),
    the diagonals; spherical (K,), the traces.
    """
    kind = _lookup(covariance_type)
    r = _weighted(responsibilities, sample_weight)
    first, second = [], []
    for k, c in enumerate(shift):
        difference = X - c
        first.append(r[:, k] @ difference)
        second.append(kind.second_moment(r[:, k], difference))
    counts, first_moments, second_moments = r.sum(axis=0), np.stack(first), kind.gather(second)
    return counts.astype(X.dtype), first_moments.astype(X.dtype), second_moments.astype(X.dtype)


def maximization_step(
    X: Array,
    responsibilities: Array,
    covariance_type: str,
    reg_covar: Reg = 1e-6,
    sample_weight: Array | None = None,
) -> tuple[Array, Array, Array]:
    """π_k = N_k / N,  μ_k = Σ_n r_nk x_n / N_k,  Σ_k = Σ_n r_nk (x_n - μ_k)(x_n - μ_k)ᵀ / N_k.

    Returns (weights, means, covariances). A component with N_k = 0 has no mean: ValueError.
    """
    dtype, X = X.dtype, X.astype(np.float64, copy=False)
    r = _weighted(responsibilities, sample_weight)
    counts = r.sum(axis=0)
    for k, count in enumerate(counts):
        if not count > 0:
            raise ValueError(f"responsibilities: component {k} has a sum of {count}, expected > 0")
    weights = counts / counts.sum()
    means = r.T @ X / counts[:, np.newaxis]
    for k in range(len(means)):  # what rounding left of the sums: it matters far from the origin
        means[k] += r[:, k] @ (X - means[k]) / counts[k]
    _, _, moments = sufficient_statistics(X, r, covariance_type, shift=means)
    covariances = _lookup(covariance_type).covariances(moments, counts, X.shape[1], reg_covar)
    return weights.astype(dtype), means.astype(dtype), covariances.astype(dtype)


# ---- EM ------------------------------------------------------------------------------------------


class FitResult(NamedTuple):
    """Where EM ended; ``lower_bounds[i]`` is the mean log-likelihood seen by E-step i."""

    weights: Array
    means: Array
    covariances: Array
    lower_bounds: list[float]
    converged: bool


def fit(
    X: Array,
    weights: Array,
    means: Array,
    covariances: Array,
    covariance_type: str,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    reg_covar: Reg = 1e-6,
    sample_weight: Array | None = None,
) -> FitResult:
    """E-step, M-step, again, until the mean log-likelihood changes by less than ``tol``."""
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
    rows = np.flatnonzero(w)  # a row of weight 0 is absent, whatever it holds
    X, w = X[rows], w[rows]
    lower_bounds: list[float] = []
    converged = False
    while not converged and len(lower_bounds) < max_iter:
        factors = precision_cholesky(covariances, covariance_type)
        log_prob, r = expectation_step(X, weights, means, factors, covariance_type)
        if np.any(np.isneginf(log_prob)):
            row = rows[np.argmin(log_prob)]
            raise ValueError(f"X: row {row} has log-density -inf under every component")
        weights, means, covariances = maximization_step(X, r, covariance_type, reg_covar, w)
        lower_bounds.append(float(np.average(log_prob, weights=w)))
        converged = len(lower_bounds) > 1 and abs(lower_bounds[-1] - lower_bounds[-2]) < tol
    return FitResult(weights, means, covariances, lower_bounds, converged)


# ---- k-means -------------------------------------------------------------------------------------


def squared_distances(X: Array, centers: Array) -> Array:
    """‖x_n - c_k‖², as (N, K)."""
    distances = [((X - c) ** 2).sum(axis=1) for c in centers]
    return np.stack(distances, axis=1).astype(X.dtype, copy=False)


def lloyd(
    X: Array,
    centers: Array,
    sample_weight: Array | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
) -> tuple[np.ndarray[Any, np.dtype[np.intp]], Array, float, int]:
    """k-means: each sample to its nearest center, each center to the mean of its samples, again.

    Stops when the centers move by Σ_k ‖Δc_k‖² ≤ tol · (mean variance of the features). Ties go to
    the lower k; a center without samples stays where it is. Returns (labels, centers, inertia,
    n_iter), where labels and inertia = Σ_n w_n min_k ‖x_n - c_k‖² belong to the final centers.
    """
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
    variance = np.average((X - np.average(X, axis=0, weights=w)) ** 2, axis=0, weights=w).mean()
    centers = centers.astype(X.dtype)
    n_iter, moved = 0, np.inf
    while n_iter < max_iter and moved > tol * variance:
        labels = squared_distances(X, centers).argmin(axis=1)
        previous, centers = centers, centers.copy()
        for k in range(len(centers)):
            members = labels == k
            if np.any(w[members] > 0):
                centers[k] = np.average(X[members], axis=0, weights=w[members])
        moved = np.sum((centers - previous) ** 2)
        n_iter += 1
    distances = squared_distances(X, centers)
    return distances.argmin(axis=1), centers, float(w @ distances.min(axis=1)), n_iter
