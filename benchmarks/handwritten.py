"""EM in a page of NumPy or JAX, as people write it when a library is too slow for them.

Both versions expand squares, |x − μ|² = |x|² − 2 x·μ + |μ|², and moments, Σ r x xᵀ − N μ μᵀ. This
turns nearly all of the work into matrix products, and loses digits where data lie far from 0.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from peers import ALL_TYPES, Parameters, Peer
from workloads import SCORING, Array, Problem

LOG_2PI = float(np.log(2 * np.pi))


class QuadraticFeatures(Peer):
    """EM by two matrix products per iteration, as a log-density is linear in x_i x_j, x_i and 1.

    If these features take less than 256 MB, they are computed once for all fits to the same data,
    before the clock starts. Otherwise they are computed again for each block of 512 rows.
    """

    name = "quadratic"
    package = "numpy"
    covariance_types = ("full",)
    kinds = ("em", "latency")
    block = 512
    most = 2**28

    def __init__(self, n_threads: int = 1) -> None:
        super().__init__(n_threads)
        self.kept: tuple[Array, Array] | None = None

    def version(self) -> str:
        return f"NumPy {np.__version__}"

    def refusal(self, problem: Problem) -> str | None:
        if problem.workload.n_features > 64:
            return "needs the square of the number of features, which is too many"
        return super().refusal(problem)

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        X, weights, means = problem.X, problem.weights, problem.means
        precisions = problem.precisions
        D, dtype = X.shape[1], X.dtype
        i, j = np.tril_indices(D)
        n_features = len(i) + D + 1

        def features(x: Array) -> Array:
            f = np.empty((len(x), n_features), dtype)
            np.multiply(x[:, i], x[:, j], out=f[:, : len(i)])
            f[:, len(i) : -1] = x
            f[:, -1] = 1
            return f

        whole = len(X) * n_features * dtype.itemsize < self.most
        block = (
            len(X) if whole and len(X) * len(weights) * dtype.itemsize < self.most else self.block
        )
        if whole and (self.kept is None or self.kept[0] is not X):
            self.kept = X, features(X)
        made = self.kept[1] if whole and self.kept is not None else None
        factor = np.where(i == j, -0.5, -1.0)
        covariances = problem.covariances
        for _ in range(n_iter):
            linear = np.einsum("kij,kj->ki", precisions, means)
            constant = np.log(weights) + 0.5 * np.linalg.slogdet(precisions)[1]
            constant -= 0.5 * (D * LOG_2PI + np.einsum("ki,ki->k", linear, means))
            table = (
                np.column_stack([precisions[:, i, j] * factor, linear, constant]).astype(dtype).T
            )
            sums = np.zeros((len(weights), n_features))
            for start in range(0, len(X), block):
                rows = slice(start, start + block)
                f = features(X[rows]) if made is None else made[rows]
                r = f @ table
                r -= r.max(axis=1, keepdims=True)
                np.exp(r, out=r)
                r /= r.sum(axis=1, keepdims=True)
                sums += r.T @ f
            counts = sums[:, -1]
            weights, means = counts / len(X), sums[:, len(i) : -1] / counts[:, None]
            covariances = np.empty((len(weights), D, D))
            covariances[:, i, j] = covariances[:, j, i] = sums[:, : len(i)] / counts[:, None]
            covariances -= means[:, :, None] * means[:, None, :]
            precisions = np.linalg.inv(covariances)
        return Parameters(weights, means, covariances)


class Jax(Peer):
    """EM by a jitted step on the whole array.

    It uses one thread, as the number of XLA's threads cannot be changed later.
    """

    name = "jax"
    package = "jax"
    covariance_types = ALL_TYPES
    kinds = ("em", "latency", *SCORING)

    def __init__(self, n_threads: int = 1) -> None:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ.setdefault("XLA_FLAGS", flags)
        self.jax = importlib.import_module("jax")
        self.np = importlib.import_module("jax.numpy")
        self.jax.config.update("jax_enable_x64", True)
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})  # XLA's threads inherit this
        self.np.ones(3).sum().block_until_ready()
        os.sched_setaffinity(0, allowed)
        self.step = self.jax.jit(self._step, static_argnames="kind")
        self.e_step = self.jax.jit(self._e_step, static_argnames="kind")
        super().__init__(n_threads)

    def set_threads(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def refusal(self, problem: Problem) -> str | None:
        return "one thread only" if self.n_threads != 1 else super().refusal(problem)

    def _e_step(self, X: Any, weights: Any, means: Any, covariances: Any, kind: str) -> Any:
        """Return log p(x) and responsibilities."""
        np, D = self.np, X.shape[1]
        if kind in ("full", "tied"):
            L = np.linalg.cholesky(covariances)
            U = np.swapaxes(np.linalg.inv(L), -1, -2)
            log_det = -np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(-1)
        if kind == "full":
            y = np.einsum("nd,kde->nke", X, U) - np.einsum("kd,kde->ke", means, U)
            square = (y * y).sum(2)
        elif kind == "tied":
            y, m = X @ U, means @ U
            square = (y * y).sum(1)[:, None] - 2 * y @ m.T + (m * m).sum(1)
        else:
            p = 1 / (covariances if kind == "diag" else covariances[:, None] + 0 * means)
            log_det = 0.5 * np.log(p).sum(1)
            square = (X * X) @ p.T - 2 * X @ (means * p).T + (means * means * p).sum(1)
        log_prob = np.log(weights) + log_det - 0.5 * (D * LOG_2PI + square)
        peak = log_prob.max(1, keepdims=True)
        r = np.exp(log_prob - peak)
        total = r.sum(1, keepdims=True)
        return (peak + np.log(total))[:, 0], r / total

    def _step(self, X: Any, weights: Any, means: Any, covariances: Any, kind: str) -> Any:
        """Return weights, means and covariances after an iteration."""
        np = self.np
        r = self._e_step(X, weights, means, covariances, kind)[1]
        counts = r.sum(0)
        means = (r.T @ X) / counts[:, None]
        if kind == "full":
            moments = np.einsum("nk,ni,nj->kij", r, X, X) / counts[:, None, None]
            covariances = moments - means[:, :, None] * means[:, None, :]
        elif kind == "tied":
            covariances = (X.T @ X - (means.T * counts) @ means) / len(X)
        else:
            covariances = (r.T @ (X * X)) / counts[:, None] - means**2
            covariances = covariances if kind == "diag" else covariances.mean(1)
        return counts / len(X), means, covariances

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        p = problem
        X = self.np.asarray(p.X)
        state = tuple(map(self.np.asarray, (p.weights, p.means, p.covariances)))
        for _ in range(n_iter):
            state = self.step(X, *state, kind=p.workload.covariance_type)
        return Parameters(*(np.asarray(array) for array in state))

    def scorer(self, problem: Problem) -> Callable[[], Array]:
        p = problem
        X = self.np.asarray(p.X)
        model = tuple(map(self.np.asarray, (p.weights, p.means, p.covariances)))

        def call() -> Array:
            log_prob, r = self.e_step(X, *model, kind=p.workload.covariance_type)
            results = {"score_samples": log_prob, "predict": r.argmax(1), "predict_proba": r}
            return np.asarray(results[p.workload.kind])

        return call
