"""Run EM of gmm_core and of others on rows that lack values or that have a covariance of noise.

Each function makes `n_iter` iterations from the start of a problem, without regularisation, and
returns the log-likelihood per row that the last one finds, before its M-step. `S` has the
covariances of the noise of all rows, or is None.
"""

import ctypes
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
from workloads import Array, Problem

BLOCK = 512  # noisy rows that NumPy processes at once


def ours(p: Problem, S: Array | None, n_iter: int) -> float:
    """Fit by gmm_core."""
    from gmm_core import GaussianMixture

    model = GaussianMixture(
        p.workload.n_components, covariance_type=p.workload.covariance_type, tol=0, reg_covar=0,
        max_iter=n_iter, weights_init=p.weights, means_init=p.means, precisions_init=p.precisions,
        missing="marginalize", n_threads=1,
    )  # fmt: skip
    noise = {} if S is None else {"noise_covariance": S}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no fit is meant to converge
        return float(model.fit(p.X, **noise).lower_bounds_[-1])


def softmax(joint: Array) -> tuple[Array, float]:
    """Return responsibilities, of shape (K, n), and the sum of log-likelihoods."""
    top = joint.max(axis=0)
    log_sum = top + np.log(np.exp(joint - top).sum(axis=0))
    return np.exp(joint - log_sum), float(log_sum.sum())


def gaussian(T: Array, d: Array, weights: Array) -> tuple[Array, Array, float, Array]:
    """Return responsibilities, the inverses of T, log-likelihood and T⁻¹ d of some rows."""
    inverse = np.linalg.inv(T)
    y = d @ inverse if T.ndim == 3 else np.einsum("knij,knj->kni", inverse, d)
    log_det = np.linalg.slogdet(T)[1].reshape(len(T), -1) + d.shape[2] * np.log(2 * np.pi)
    r, total = softmax(np.log(weights)[:, None] - 0.5 * (log_det + (d * y).sum(axis=2)))
    return r, inverse, total, y


def numpy_full(p: Problem, S: Array | None, n_iter: int) -> float:
    """Run EM with full covariances: by patterns of missing values, or by blocks of noisy rows."""
    X, weights, means, C = p.X, p.weights, p.means, p.covariances
    K, D = means.shape
    known = ~np.isnan(X)
    if S is None:
        order = np.lexsort(known.T)
        changes = np.flatnonzero((known[order[1:]] != known[order[:-1]]).any(axis=1)) + 1
    else:
        order, changes = np.arange(len(X)), np.arange(BLOCK, len(X), BLOCK)
    parts = [(rows, np.flatnonzero(known[rows[0]])) for rows in np.split(order, changes)]
    for _ in range(n_iter):
        counts, first, second, bound = np.zeros(K), np.zeros((K, D)), np.zeros((K, D, D)), 0.0
        for rows, o in parts:
            d = X[rows[:, None], o] - means[:, None, o]
            T = C[:, o[:, None], o] if S is None else C[:, None] + S[rows]
            r, inverse, total, y = gaussian(T, d, weights)
            counts += r.sum(axis=1)
            bound += total
            if S is None:
                inverse *= r.sum(axis=1)[:, None, None]
            else:
                inverse = np.einsum("kn,knij->kij", r, inverse)
            # The covariances of all rows given what they observe sum to N C − Aᵀ (Σ r T⁻¹) A.
            A = C[:, o]
            moved = y @ A  # the conditional means, relative to the old means
            weighted = r[:, :, None] * moved
            first += weighted.sum(axis=1)
            second += weighted.transpose(0, 2, 1) @ moved - A.transpose(0, 2, 1) @ inverse @ A
        first /= counts[:, None]
        C = C + second / counts[:, None, None] - first[:, :, None] * first[:, None]
        weights, means = counts / len(X), means + first
    return bound / len(X)


def numpy_variances(p: Problem, S: None, n_iter: int) -> float:
    """Run EM with missing values and diagonal or spherical covariances, by matrix products."""
    spherical = p.covariances.ndim == 1
    known, weights, means = (~np.isnan(p.X)).astype(float), p.weights, p.means
    x = np.where(known, p.X, 0)
    variances = p.covariances[:, None] + 0 * means if spherical else p.covariances
    for _ in range(n_iter):
        scaled, constant = means / variances, means**2 / variances + np.log(2 * np.pi * variances)
        square = x**2 @ (1 / variances).T - 2 * x @ scaled.T + known @ constant.T
        r, bound = softmax((np.log(weights) - 0.5 * square).T)
        counts, seen = r.sum(axis=1)[:, None], r @ known
        first = r @ x - means * seen
        second = r @ x**2 - 2 * means * (r @ x) + means**2 * seen + (counts - seen) * variances
        variances = second / counts - (first / counts) ** 2
        variances = variances.mean(axis=1, keepdims=True) + 0 * means if spherical else variances
        weights, means = counts[:, 0] / len(x), means + first / counts
    return bound / len(x)


def bovy(library: ctypes.CDLL, p: Problem, S: Array, n_iter: int) -> float:
    """Fit by Bovy's library.

    Its tolerance has to be positive, as with 0 it makes no iteration.
    """
    unused = np.zeros(1)
    arrays = (p.X, S, unused, unused, p.weights, p.means, p.covariances)
    copies = [np.array(a, order="C") for a in arrays]  # as the parameters are overwritten
    X, noise, projection, log_weights, *model = (a.ctypes.data_as(ctypes.c_void_p) for a in copies)
    (n, d), k, real, flag = p.X.shape, len(p.weights), ctypes.c_double, ctypes.c_char
    fixed, bound = bytes(k), real()
    library.proj_gauss_mixtures_IDL(
        X, noise, projection, log_weights, n, d, *model, d, k,
        fixed, fixed, fixed,    # of each component: whether the weight, mean, covariance stays
        ctypes.byref(bound),
        real(1e-300),           # tolerance
        n_iter,
        flag(0),                # computes more than the log-likelihood
        real(0),                # no regularisation
        b"", 0,                 # no log
        0, b"", 0,              # does not split and merge, and keeps no log of that
        flag(1),                # has no projections
        flag(0),                # the noise has full covariances
        flag(1),                # rows have no weights
    )  # fmt: skip
    return bound.value


def pygmmis(library: Any, p: Problem, S: Array, n_iter: int) -> float:
    """Run the steps of pygmmis in this process instead of in a pool.

    Its new covariances are moments about the old means. Here they are moved to the new means, as
    EM has them.
    """
    library.parmap = SimpleNamespace(
        starmap=lambda f, items, *args, **_: [f(*item, *args) for item in items]
    )
    k, (n, d) = len(p.weights), p.X.shape
    model = library.GMM(k, d)
    model.amp, model.mean, model.covar = p.weights.copy(), p.means.copy(), p.covariances.copy()
    log_p, U, T_inv, log_S = [None] * k, [None] * k, [None] * k, np.zeros(n)
    changeable = dict.fromkeys(("amp", "mean", "covar"), slice(None))
    for _ in range(n_iter):
        old = model.mean.copy()
        bound = library._EMstep(
            model, log_p, U, T_inv, log_S, n, p.X, covar=S, changeable=changeable
        )[0]
        moved = model.mean - old
        model.covar -= moved[:, :, None] * moved[:, None]
    return float(bound) / n


def astroml(library: Any, p: Problem, S: Array, n_iter: int) -> float:
    """Run the steps of astroML, with the log-likelihood of the last one only."""
    model = library.XDGMM(len(p.weights))
    model.alpha, model.mu, model.V = p.weights, p.means, p.covariances
    for _ in range(n_iter - 1):
        model._EMstep(p.X, S)
    bound = float(model.logL(p.X, S)) / len(p.X)
    model._EMstep(p.X, S)
    return bound
