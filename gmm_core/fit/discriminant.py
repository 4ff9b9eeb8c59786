"""Discriminant analysis with one component for each class, whose covariances obey one model.

This is EDDA, eigenvalue decomposition discriminant analysis (Bensmail & Celeux 1996): the M-step of
a mixture whose components are the classes, so that the responsibilities are known.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Indices
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.parameter_validation import check_reg_covar
from gmm_core.data.patterns import has_missing
from gmm_core.fit.loop import Algorithm, Fit, iterate
from gmm_core.fit.maximization import maximization_step
from gmm_core.fit.options import Options
from gmm_core.model.covariance import COVARIANCE_TYPES, check_features
from gmm_core.model.parameters import Mixture, mixture_of, prepare
from gmm_core.model.statistics import Statistics, side_by_side

_FULL = COVARIANCE_TYPES["full"]


def fit_classes(
    options: Options,
    X: FloatArray,
    classes: Iterable[Indices],
    sample_weight: Float64Array | None,
    n_threads: int,
) -> Fit[Mixture]:
    """Fit a mixture with one component for each class.

    Without missing values, one M-step is the fit. With them, EM makes at least one iteration, and
    the samples stay in their classes.

    Parameters
    ----------
    options : Options
    X : ndarray of shape (n_samples, n_features)
        NaN is a missing value.
    classes : iterable of ndarray
        The rows of each class. Each class has values of positive weight of each feature.
    sample_weight : ndarray of shape (n_samples,) or None
    n_threads : int

    Returns
    -------
    Fit
        Its bound is the mean log-likelihood of a sample together with its class.

    Raises
    ------
    ValueError
        If a covariance is not positive definite, or if the covariance type is for another number of
        features.
    """
    kind, D = COVARIANCE_TYPES[options.covariance_type], X.shape[1]
    check_features(kind, D)
    reg_covar = np.full(D, check_reg_covar(options.reg_covar, D), np.float64)
    if sample_weight is not None:   # so that all of them are in the range of float32
        sample_weight = np.ldexp(sample_weight, -int(np.frexp(sample_weight.max())[1]))
    passes = []
    for rows in classes:
        part = X[rows]
        weight = None if sample_weight is None else sample_weight[rows]
        passes.append(ArrayPass(part, weight, 1, "full", n_threads, has_missing(part)))
    incomplete = any(data.is_rowwise for data in passes)

    def expectation(mixture: Mixture, shift: Float64Array | None = None) -> Statistics:
        parts = []
        for k, data in enumerate(passes):
            matrix: AnyArray = mixture.kind.matrix(mixture.covariances, k, D)[None]
            mean = np.ascontiguousarray(mixture.means[k : k + 1])
            one = prepare(np.ones(1), mean, _FULL.factor_covariances(matrix, D), "full")
            parts.append(data.accumulate(one, None if shift is None else shift[k : k + 1].copy()))
        return side_by_side(parts, kind.name)

    def bound(statistics: Statistics, mixture: Mixture) -> float:
        shares = statistics.counts / statistics.weight
        return statistics.mean_log_likelihood + float((shares * np.log(mixture.weights)).sum())

    def maximization(statistics: Statistics, mixture: Mixture) -> Mixture:
        before = mixture.covariances if mixture.kind is kind else None
        return maximization_step(
            statistics, reg_covar, n_threads, lambda shift: expectation(mixture, shift), before
        )[0]

    algorithm = Algorithm(
        expectation, maximization, lambda statistics, before, after: bound(statistics, before),
        lambda mixture: bound(expectation(mixture), mixture),
    )  # fmt: skip
    start = _start(X, sample_weight, len(passes))
    if not incomplete:
        return iterate(algorithm, start, tol=0.0, max_iter=1)._replace(converged=True)
    return iterate(algorithm, start, tol=options.tol, max_iter=max(options.max_iter, 1))


def _start(X: FloatArray, sample_weight: Float64Array | None, n_classes: int) -> Mixture:
    """Return equal components with the means and the variances of the values of each feature."""
    D = X.shape[1]
    mean, variance = np.empty(D), np.empty(D)
    for d in range(D):
        known = ~np.isnan(X[:, d])
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        total = weight[known].sum()
        values = X[known, d].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean[d] = (weight[known] / total * values).sum()
            variance[d] = (weight[known] / total * (values - mean[d]) ** 2).sum()
    if not np.isfinite(variance).all():
        raise ValueError("the variances of X are beyond the range of float64: scale the data")
    variance[variance == 0] = 1.0
    covariances = np.repeat(np.diag(variance)[None], n_classes, axis=0)
    factor = _FULL.factor_covariances(covariances, D)
    weights, means = np.full(n_classes, 1 / n_classes), np.repeat(mean[None], n_classes, axis=0)
    return mixture_of(prepare(weights, means, factor, "full"), covariances)
