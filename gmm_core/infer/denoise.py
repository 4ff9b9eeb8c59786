"""The values that rows would have without their measurement noise, given the rows."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray
from gmm_core.data.measurement import NoisyForeignRows, NoisyRows
from gmm_core.infer.nearest import covariances_with_noise, nearest_components
from gmm_core.infer.score import FittedMixture, pass_over
from gmm_core.model.parameters import mixture_of


def denoise(
    rows: NoisyRows | NoisyForeignRows, model: FittedMixture, out: AnyArray | None = None
) -> FloatArray:
    """Return the posterior means of the rows without noise; see `denoise_with_covariance`.

    The result is in `out`, if it is given.
    """
    mean: AnyArray = np.empty(rows.shape, rows.dtype) if out is None else out
    if isinstance(rows, NoisyForeignRows):
        return rows.map(lambda part: denoise(part, model), mean)
    _fill(rows, model, mean)
    return mean


def denoise_with_covariance(
    rows: NoisyRows | NoisyForeignRows, model: FittedMixture, out: AnyArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the posterior means of the rows without noise, and their covariances.

    For component k with T = Σ_k + S_n, the posterior mean is b_k = μ_k + Σ_k T⁻¹ (x − μ_k) and the
    covariance B_k = Σ_k − Σ_k T⁻¹ Σ_k (Bovy, Hogg & Roweis 2011, equations 16 and 17). Those of the
    mixture are the mean Σ_k r_k b_k, and Σ_k r_k (B_k + (b_k − mean)(b_k − mean)ᵀ). A row whose
    density is 0 under every component belongs to the nearest one.

    Parameters
    ----------
    rows : NoisyRows or NoisyForeignRows
        NaN is a missing value.
    model : FittedMixture
    out : ndarray of shape (n_samples, n_features), default=None
        An array for the means.

    Returns
    -------
    mean : ndarray of shape (n_samples, n_features), the dtype of the rows
    covariance : ndarray of shape (n_samples, n_features, n_features), the dtype of the rows
    """
    n, D = rows.shape
    mean: AnyArray = np.empty((n, D), rows.dtype) if out is None else out
    covariance: AnyArray = np.empty((n, D, D), rows.dtype)
    if isinstance(rows, NoisyForeignRows):
        for at, part in rows.checked_parts():
            mean[at], covariance[at] = denoise_with_covariance(part, model)
    else:
        _fill(rows, model, mean, covariance)
    return mean, covariance


def _fill(
    rows: NoisyRows, model: FittedMixture, mean: AnyArray, covariance: AnyArray | None = None
) -> None:
    """Fill arrays with the posterior means, and the posterior covariances if wanted."""
    model = model._replace(marginalize=True)
    data = pass_over(rows, model)
    if data.posterior(model.prepared, mean, covariance):
        values = np.empty(len(rows), rows.dtype)
        data.evaluate(model.prepared, log_likelihood=values)
        for i in np.flatnonzero(~(values > -np.inf)):
            k = int(nearest_components(rows[i : i + 1], model.prepared)[0])
            made = _of_component(rows.X[i], rows.noise[i], model, k)
            mean[i] = made[0]
            if covariance is not None:
                covariance[i] = made[1]


def _of_component(
    x: FloatArray, noise: Float64Array, model: FittedMixture, k: int
) -> tuple[FloatArray, FloatArray]:
    """Return the posterior mean and covariance of one row that belongs to component k."""
    known = np.flatnonzero(~np.isnan(x))
    mixture = mixture_of(model.prepared)
    total = covariances_with_noise(mixture, noise, known)[k]
    of_known = mixture.kind.matrix(mixture.covariances, k, len(x))[known]
    slope = np.linalg.solve(total, of_known)
    gap = np.ldexp(x[known].astype(np.float64), -64) - np.ldexp(mixture.means[k, known], -64)
    with np.errstate(over="ignore"):
        mean = mixture.means[k] + np.ldexp(gap @ slope, 64)
    return mean, mixture.kind.matrix(mixture.covariances, k, len(x)) - of_known.T @ slope
