"""Gaussian mixtures in plain NumPy, written like the textbook.

The model is  p(x) = Σ_k π_k N(x | μ_k, Σ_k).  The functions here have compiled counterparts in
gmm_core. The tests compare the compiled results with those of this module, and benchmarks compare
the times. Equations: Bishop, Pattern Recognition and Machine Learning (2006), section 9.2.2.

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
have the dtype of X, although sums over samples are taken in float64. Samples may have a
``sample_weight`` w_n: weight 2 stands for the sample twice, and weight 0 for no sample.
"""

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.floating]]
Reg = float | Array  # one regularisation for all features, or one for each feature


class Full:
    """Σ_k is any positive definite matrix. The other types override the methods that differ."""

    def factor(self, covariances: Array) -> Array:
        """Return U_k for every component."""
        return np.stack([_inverse_factor(c, f"component {k}") for k, c in enumerate(covariances)])

    def per_component(self, factors: Array, n_components: int) -> list[Array]:
        """Return the list [U_1, ..., U_K]."""
        return list(factors)

    def matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        """Return the matrices Σ_k, of shape (K, D, D)."""
        return covariances

    def whiten(self, difference: Array, factor: Array) -> Array:
        """Return y = U_kᵀ (x - μ_k) for every row; ‖y‖² = (x - μ_k)ᵀ Σ_k⁻¹ (x - μ_k)."""
        return difference @ factor

    def log_det(self, factor: Array, n_features: int) -> float:
        """Return log |U_k| = -½ log |Σ_k|."""
        return float(np.log(np.diagonal(factor)).sum())

    def second_moment(self, r: Array, difference: Array) -> Array:
        """Return Σ_n r_nk (x_n - c_k)(x_n - c_k)ᵀ, or the part of it that this type needs."""
        return (r[:, np.newaxis] * difference).T @ difference

    def gather(self, moments: list[Array]) -> Array:
        """Return the second moments of all components as one array."""
        return np.stack(moments)

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        """Return Σ_k = moments_k / N_k, with ``reg`` added to the diagonal."""
        return moments / counts[:, np.newaxis, np.newaxis] + reg * np.eye(n_features)


class Tied(Full):
    """Σ_k = Σ is the average of the covariances of all components, with weights N_k / N."""

    def factor(self, covariances: Array) -> Array:
        return _inverse_factor(covariances, "the matrix shared by all components")

    def per_component(self, factors: Array, n_components: int) -> list[Array]:
        return [factors] * n_components

    def matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        return np.broadcast_to(covariances, (n_components, n_features, n_features))

    def gather(self, moments: list[Array]) -> Array:
        total: Array = np.sum(moments, axis=0)
        return total

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        return moments / float(counts.sum()) + reg * np.eye(n_features)


class Diag(Full):
    """Σ_k = diag(σ²_k1 ... σ²_kD), so features are uncorrelated within a component."""

    def factor(self, covariances: Array) -> Array:
        for k, variance in enumerate(covariances):
            if not np.all((variance > 0) & np.isfinite(variance)):
                raise _not_positive_definite(f"component {k}")
        return 1 / np.sqrt(covariances)

    def matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        diagonals: Array = covariances.reshape(n_components, -1, 1) * np.eye(n_features)
        return diagonals

    def whiten(self, difference: Array, factor: Array) -> Array:
        return difference * factor

    def log_det(self, factor: Array, n_features: int) -> float:
        return float(np.log(factor).sum())

    def second_moment(self, r: Array, difference: Array) -> Array:
        return r @ difference**2

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        return moments / counts[:, np.newaxis] + reg


class Spherical(Diag):
    """Σ_k = σ²_k I, where σ²_k is the mean of the D variances of ``diag``."""

    def log_det(self, factor: Array, n_features: int) -> float:
        return n_features * float(np.log(factor))

    def second_moment(self, r: Array, difference: Array) -> Array:
        squared_length: Array = (difference**2).sum(axis=1)
        return r @ squared_length

    def covariances(self, moments: Array, counts: Array, n_features: int, reg: Reg) -> Array:
        return moments / (n_features * counts) + np.mean(reg)


COVARIANCE_TYPES = {"full": Full(), "tied": Tied(), "diag": Diag(), "spherical": Spherical()}


def _lookup(covariance_type: str) -> Full:
    """Return the covariance type of this name."""
    if covariance_type not in COVARIANCE_TYPES:
        expected = list(COVARIANCE_TYPES)
        raise ValueError(f"covariance_type is {covariance_type!r}, expected one of {expected}")
    return COVARIANCE_TYPES[covariance_type]


def _not_positive_definite(name: str) -> ValueError:
    """Return the error for a covariance that cannot be factored."""
    return ValueError(f"covariances: {name} is not positive definite, or not finite")


def _inverse_factor(covariance: Array, name: str) -> Array:
    """Return the upper triangular U with Σ⁻¹ = U Uᵀ: if Σ = L Lᵀ, then U = (Lᵀ)⁻¹."""
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise _not_positive_definite(name) from None
    if not np.all(np.isfinite(lower)):
        raise _not_positive_definite(name)
    return np.linalg.solve(lower.T, np.eye(len(lower), dtype=lower.dtype))


def precision_cholesky(covariances: Array, covariance_type: str) -> Array:
    """Return the factors U_k of the precisions, Σ_k⁻¹ = U_k U_kᵀ.

    Parameters
    ----------
    covariances : ndarray in the shape of the covariance type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Returns
    -------
    ndarray in the same shape

    Raises
    ------
    ValueError
        If a covariance is not positive definite; the message names the component.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> reference.precision_cholesky(np.array([4.0, 0.25]), "spherical").tolist()
    [0.5, 2.0]
    """
    return _lookup(covariance_type).factor(covariances)


# ---- Expectation ---------------------------------------------------------------------------------


def log_density(X: Array, means: Array, precisions_cholesky: Array, covariance_type: str) -> Array:
    """Return log N(x_n | μ_k, Σ_k) = log |U_k| - ½ (D log 2π + ‖U_kᵀ (x_n - μ_k)‖²).

    Parameters
    ----------
    X : ndarray of shape (N, D)
    means : ndarray of shape (K, D)
    precisions_cholesky : ndarray in the shape of the covariance type
        The factors U_k.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Returns
    -------
    ndarray of shape (N, K), the dtype of X
        -inf where the squared distance overflows.

    Raises
    ------
    ValueError
        If there is no covariance type of this name.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, means, factors = np.array([[0.0]]), np.array([[0.0], [2.0]]), np.array([1.0, 1.0])
    >>> reference.log_density(X, means, factors, "spherical").round(3).tolist()
    [[-0.919, -2.919]]
    """
    kind = _lookup(covariance_type)
    n_samples, n_features = X.shape
    log_prob = np.empty((n_samples, len(means)), dtype=X.dtype)
    for k, factor in enumerate(kind.per_component(precisions_cholesky, len(means))):
        y = kind.whiten(X - means[k], factor)
        with np.errstate(over="ignore"):  # if the square overflows, the log-density is -inf
            distance = (y**2).sum(axis=1)
        log_det = kind.log_det(factor, n_features)
        log_prob[:, k] = log_det - 0.5 * (n_features * np.log(2 * np.pi) + distance)
    return log_prob


def weighted_log_prob(
    X: Array, weights: Array, means: Array, precisions_cholesky: Array, covariance_type: str
) -> Array:
    """Return log π_k + log N(x_n | μ_k, Σ_k).

    Parameters
    ----------
    X : ndarray of shape (N, D)
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    precisions_cholesky : ndarray in the shape of the covariance type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Returns
    -------
    ndarray of shape (N, K), the dtype of X
        -inf for a component of weight 0.

    Raises
    ------
    ValueError
        If there is no covariance type of this name.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, weights, means = np.array([[0.0]]), np.array([1.0, 0.0]), np.array([[0.0], [2.0]])
    >>> factors = np.array([1.0, 1.0])
    >>> reference.weighted_log_prob(X, weights, means, factors, "spherical").round(3).tolist()
    [[-0.919, -inf]]
    """
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    log_prob = log_density(X, means, precisions_cholesky, covariance_type) + log_weights
    return log_prob.astype(X.dtype, copy=False)


def expectation_step(
    X: Array, weights: Array, means: Array, precisions_cholesky: Array, covariance_type: str
) -> tuple[Array, Array]:
    """Return log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k), and the responsibilities.

    Both are computed relative to the largest term, m_n = max_k log π_k N(x_n | μ_k, Σ_k), because
    the terms divided by exp(m_n) cannot all underflow.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    precisions_cholesky : ndarray in the shape of the covariance type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Returns
    -------
    log_likelihood : ndarray of shape (N,), the dtype of X
        -inf for a sample whose log-densities are all -inf.
    responsibilities : ndarray of shape (N, K), the dtype of X
        NaN, which is 0 / 0, for such a sample.

    Raises
    ------
    ValueError
        If there is no covariance type of this name.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, weights, means = np.array([[1.0]]), np.array([0.25, 0.75]), np.array([[0.0], [2.0]])
    >>> factors = np.array([1.0, 1.0])
    >>> log_likelihood, r = reference.expectation_step(X, weights, means, factors, "spherical")
    >>> log_likelihood.round(3).tolist(), r.round(3).tolist()
    ([-1.419], [[0.25, 0.75]])
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
    """Return log p(x_n) = log Σ_k π_k N(x_n | μ_k, Σ_k).

    Parameters and errors are those of `expectation_step`.

    Returns
    -------
    ndarray of shape (N,), the dtype of X
        -inf for a sample whose log-densities are all -inf.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, weights, means = np.array([[1.0]]), np.array([0.25, 0.75]), np.array([[0.0], [2.0]])
    >>> reference.log_likelihood(X, weights, means, np.ones(2), "spherical").round(3).tolist()
    [-1.419]
    """
    return expectation_step(X, weights, means, precisions_cholesky, covariance_type)[0]


def responsibilities(
    X: Array, weights: Array, means: Array, precisions_cholesky: Array, covariance_type: str
) -> Array:
    """Return r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j).

    Parameters and errors are those of `expectation_step`.

    Returns
    -------
    ndarray of shape (N, K), the dtype of X
        NaN for a sample whose log-densities are all -inf.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, weights, means = np.array([[1.0]]), np.array([0.25, 0.75]), np.array([[0.0], [2.0]])
    >>> reference.responsibilities(X, weights, means, np.ones(2), "spherical").round(3).tolist()
    [[0.25, 0.75]]
    """
    return expectation_step(X, weights, means, precisions_cholesky, covariance_type)[1]


def noisy_expectation_step(
    X: Array,
    noise_covariance: Array | None,
    weights: Array,
    means: Array,
    covariances: Array,
    covariance_type: str,
) -> tuple[Array, Array, Array, Array]:
    """Run the E-step for samples with missing values and with measurement noise, row by row.

    A sample is x_n = v_n + e_n, where v_n has the density of the mixture and e_n ~ N(0, S_n). With
    T = Σ_k + S_n in the features that are not missing, v_n has the mean
    b = μ_k + Σ_k T⁻¹ (x_n - μ_k) and the covariance B = Σ_k - Σ_k T⁻¹ Σ_k given x_n and component k
    (Bovy, Hogg and Roweis 2011, equations 16 and 17).

    Parameters
    ----------
    X : ndarray of shape (N, D), float64
        NaN is a missing value.
    noise_covariance : ndarray or None
        Covariances S_n of shape (N, D, D) or variances of shape (N, D). None means no noise. The
        noise of missing values is not read.
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : ndarray in the shape of the covariance type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Returns
    -------
    log_likelihood : ndarray of shape (N,)
    responsibilities : ndarray of shape (N, K)
    b : ndarray of shape (N, K, D)
    B : ndarray of shape (N, K, D, D)

    Raises
    ------
    ValueError
        If there is no covariance type of this name.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, S, mixture = np.array([[4.0]]), np.array([[1.0]]), (np.ones(1), np.zeros((1, 1)))
    >>> _, r, b, B = reference.noisy_expectation_step(X, S, *mixture, np.array([3.0]), "spherical")
    >>> r.tolist(), b.tolist(), B.tolist()
    ([[1.0]], [[[3.0]]], [[[[0.75]]]])
    """
    (N, D), K = X.shape, len(means)
    sigma = _lookup(covariance_type).matrices(covariances, K, D)
    log_prob, b = np.empty((N, K)), np.empty((N, K, D))
    B = np.empty((N, K, D, D))
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    for n, x in enumerate(X):
        o = np.flatnonzero(~np.isnan(x))
        S = np.zeros((D, D)) if noise_covariance is None else noise_covariance[n]
        S = S if S.ndim == 2 else np.diag(S)
        for k in range(K):
            L = np.linalg.cholesky(sigma[k][np.ix_(o, o)] + S[np.ix_(o, o)])
            y, W = np.linalg.solve(L, x[o] - means[k, o]), np.linalg.solve(L, sigma[k][o])
            log_det = 2 * np.log(np.diagonal(L)).sum()
            log_prob[n, k] = log_weights[k] - 0.5 * (len(o) * np.log(2 * np.pi) + log_det + y @ y)
            b[n, k], B[n, k] = means[k] + y @ W, sigma[k] - W.T @ W
    largest = log_prob.max(axis=1, keepdims=True)
    r = np.exp(log_prob - largest)
    total = r.sum(axis=1, keepdims=True)
    return (largest + np.log(total))[:, 0], r / total, b, B


# ---- Maximization --------------------------------------------------------------------------------


def _weighted(responsibilities: Array, sample_weight: Array | None) -> Array:
    """Return w_n r_nk in float64, so that sums over samples are taken in float64."""
    r = responsibilities.astype(np.float64, copy=False)
    return r if sample_weight is None else r * np.asarray(sample_weight)[:, np.newaxis]


def sufficient_statistics(
    X: Array,
    responsibilities: Array,
    covariance_type: str,
    shift: Array,
    sample_weight: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return the counts and the moments of the samples about a point c_k for every component.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    responsibilities : ndarray of shape (N, K)
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    shift : ndarray of shape (K, D)
        The points c_k.
    sample_weight : ndarray of shape (N,), default=None
        None means a weight of 1 for each sample.

    Returns
    -------
    counts : ndarray of shape (K,), the dtype of X
        N_k = Σ_n w_n r_nk.
    first : ndarray of shape (K, D), the dtype of X
        Σ_n w_n r_nk (x_n - c_k).
    second : ndarray, the dtype of X
        Σ_n w_n r_nk (x_n - c_k)(x_n - c_k)ᵀ. 'full' has these matrices, of shape (K, D, D);
        'tied' their sum over k, of shape (D, D); 'diag' their diagonals, of shape (K, D);
        'spherical' their traces, of shape (K,).

    Raises
    ------
    ValueError
        If there is no covariance type of this name.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, r, shift = np.array([[1.0], [3.0]]), np.ones((2, 1)), np.zeros((1, 1))
    >>> [a.tolist() for a in reference.sufficient_statistics(X, r, "diag", shift)]
    [[2.0], [[4.0]], [[10.0]]]
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
    """Return the mixture that maximises the expected log-likelihood of the samples.

    π_k = N_k / N,  μ_k = Σ_n r_nk x_n / N_k,  Σ_k = Σ_n r_nk (x_n - μ_k)(x_n - μ_k)ᵀ / N_k.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    responsibilities : ndarray of shape (N, K)
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float or ndarray of shape (D,), default=1e-6
        Regularisation that is added to the diagonal of every covariance.
    sample_weight : ndarray of shape (N,), default=None
        None means a weight of 1 for each sample.

    Returns
    -------
    weights : ndarray of shape (K,), the dtype of X
    means : ndarray of shape (K, D), the dtype of X
    covariances : ndarray in the shape of the covariance type, the dtype of X

    Raises
    ------
    ValueError
        If N_k = 0, as the component then has no mean, or if there is no covariance type of this
        name.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X, r = np.array([[1.0], [3.0]]), np.ones((2, 1))
    >>> [a.tolist() for a in reference.maximization_step(X, r, "diag", reg_covar=0.0)]
    [[1.0], [[2.0]], [[1.0]]]
    """
    dtype, X = X.dtype, X.astype(np.float64, copy=False)
    r = _weighted(responsibilities, sample_weight)
    counts = r.sum(axis=0)
    for k, count in enumerate(counts):
        if not count > 0:
            raise ValueError(f"responsibilities: component {k} has a sum of {count}, expected > 0")
    weights = counts / counts.sum()
    means = r.T @ X / counts[:, np.newaxis]
    for k in range(len(means)):  # correct the rounding of the sums, which is large far from 0
        means[k] += r[:, k] @ (X - means[k]) / counts[k]
    _, _, moments = sufficient_statistics(X, r, covariance_type, shift=means)
    covariances = _lookup(covariance_type).covariances(moments, counts, X.shape[1], reg_covar)
    return weights.astype(dtype), means.astype(dtype), covariances.astype(dtype)


# ---- EM ------------------------------------------------------------------------------------------


class FitResult(NamedTuple):
    """The result of `fit`.

    Attributes
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : ndarray in the shape of the covariance type
    lower_bounds : list of float
        The mean log-likelihoods that the E-steps found, each under the parameters before its
        iteration.
    converged : bool
        Whether the mean log-likelihood stopped changing within the allowed iterations.
    """

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
    """Repeat E-step and M-step until the mean log-likelihood changes by less than ``tol``.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : ndarray in the shape of the covariance type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    tol : float, default=1e-3
        The tolerance of the stop rule, in nats per sample.
    max_iter : int, default=100
        Largest number of iterations.
    reg_covar : float or ndarray of shape (D,), default=1e-6
        Regularisation that is added to the diagonal of every covariance.
    sample_weight : ndarray of shape (N,), default=None
        None means a weight of 1 for each sample.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If a covariance is not positive definite, a component has no samples, or a sample has
        log-density -inf under every component.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> start = np.array([0.5, 0.5]), np.array([[0.0], [9.0]]), np.array([1.0, 1.0])
    >>> result = reference.fit(X, *start, "spherical")
    >>> result.converged, result.means.round(3).tolist()
    (True, [[0.5], [8.5]])
    """
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
    rows = np.flatnonzero(w)  # a row of weight 0 counts as absent, even if it holds NaN
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
    """Return ‖x_n - c_k‖².

    Parameters
    ----------
    X : ndarray of shape (N, D)
    centers : ndarray of shape (K, D)

    Returns
    -------
    ndarray of shape (N, K), the dtype of X

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> reference.squared_distances(np.array([[3.0, 4.0]]), np.zeros((1, 2))).tolist()
    [[25.0]]
    """
    distances = [((X - c) ** 2).sum(axis=1) for c in centers]
    return np.stack(distances, axis=1).astype(X.dtype, copy=False)


def lloyd(
    X: Array,
    centers: Array,
    sample_weight: Array | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
) -> tuple[np.ndarray[Any, np.dtype[np.intp]], Array, float, int]:
    """Cluster samples by Lloyd's iteration of k-means.

    Each iteration assigns every sample to its nearest center, and moves every center to the mean of
    its samples. Of equally near centers, the one with the lower k is chosen. A center without
    samples does not move.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    centers : ndarray of shape (K, D)
        The centers to start from.
    sample_weight : ndarray of shape (N,), default=None
        None means a weight of 1 for each sample.
    max_iter : int, default=300
        Largest number of iterations.
    tol : float, default=1e-4
        The iteration stops when Σ_k ‖Δc_k‖² ≤ tol · (mean variance of the features), where Δc_k is
        the last move of center k.

    Returns
    -------
    labels : ndarray of shape (N,), intp
        The nearest of the final centers to each sample.
    centers : ndarray of shape (K, D), the dtype of X
        The final centers.
    inertia : float
        Σ_n w_n min_k ‖x_n - c_k‖² for the final centers.
    n_iter : int
        Number of iterations.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import reference
    >>> X = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> labels, centers, inertia, n_iter = reference.lloyd(X, X[[0, 3]])
    >>> labels.tolist(), centers.tolist(), inertia
    ([0, 0, 1, 1], [[0.5], [8.5]], 1.0)
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
