"""The values that rows would have without their measurement noise, given the rows."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray
from gmm_core.data.measurement import NoisyRows
from gmm_core.infer.nearest import covariances_with_noise, nearest_components
from gmm_core.infer.score import FittedMixture, pass_over
from gmm_core.model.parameters import mixture_of


def denoise(
    rows: NoisyRows, model: FittedMixture, with_covariance: bool = False
) -> tuple[FloatArray, FloatArray | None]:
    """Return the posterior means of the rows without noise, and their covariances if wanted.

    For component k with T = Σ_k + S_n, the posterior mean is b_k = μ_k + Σ_k T⁻¹ (x − μ_k) and the
    covariance B_k = Σ_k − Σ_k T⁻¹ Σ_k (Bovy, Hogg & Roweis 2011, equations 16 and 17). Those of the
    mixture are the mean Σ_k r_k b_k, and Σ_k r_k (B_k + (b_k − mean)(b_k − mean)ᵀ). A row whose
    density is 0 under every component belongs to the nearest one.

    Parameters
    ----------
    rows : NoisyRows
        NaN is a missing value.
    model : FittedMixture
    with_covariance : bool, default=False

    Returns
    -------
    mean : ndarray of shape (n_samples, n_features), the dtype of the rows
    covariance : ndarray of shape (n_samples, n_features, n_features), or None
    """
    n, D = rows.shape
    model = model._replace(marginalize=True)
    mean: AnyArray = np.empty((n, D), rows.dtype)
    covariance: AnyArray | None = np.empty((n, D, D), rows.dtype) if with_covariance else None
    data = pass_over(rows, model)
    if data.posterior(model.prepared, mean, covariance):
        values = np.empty(n, rows.dtype)
        data.evaluate(model.prepared, log_likelihood=values)
        for i in np.flatnonzero(~(values > -np.inf)):
            k = int(nearest_components(rows[i : i + 1], model.prepared)[0])
            made = _of_component(rows.X[i], rows.noise[i], model, k)
            mean[i] = made[0]
            if covariance is not None:
                covariance[i] = made[1]
    return mean, covariance


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
