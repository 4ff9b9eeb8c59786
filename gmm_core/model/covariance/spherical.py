"""Spherical covariances: Σ_k = σ²_k I. The kernels are in src/spherical.pxd."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, Indices
from gmm_core.model.covariance.base import moves
from gmm_core.model.covariance.conjugate import OneGamma
from gmm_core.model.covariance.variances import VarianceType


class Spherical(VarianceType):
    """A variance for each component, of shape (K,).

    The second moments are the sums Σ r_k ‖x − c_k‖², one for each component.
    """

    name = "spherical"
    conjugate = OneGamma()
    code = 3
    has_shape = has_orientation = False

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components

    def n_moments(self, n_components: int, n_features: int) -> int:
        return n_components

    def moments_about_means(
        self, moments: Float64Array, counts: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        between: Float64Array = np.einsum("kd,kd->k", first, moves(first, counts))
        return moments - between

    def log_det_of_factor(self, factor: Float64Array, n_features: int) -> Float64Array:
        logs: Float64Array = 2 * n_features * np.log(factor)
        return logs

    def moments_of(
        self, weights: Float64Array, covariances: Float64Array, reg_covar: Float64Array
    ) -> Float64Array:
        moments: Float64Array = weights * len(reg_covar) * (covariances - reg_covar.mean())
        return moments

    def scale_components(self, moments: Float64Array, factors: Float64Array) -> None:
        moments *= factors

    def marginal_factor(
        self, factor: Float64Array, ordered: Float64Array, observed: Indices
    ) -> Float64Array:
        return factor

    def of_features(self, covariances: Float64Array, features: Indices) -> Float64Array:
        return covariances.copy()

    def moments_of_features(self, squares: Float64Array) -> Float64Array:
        sums: Float64Array = squares.sum(axis=1)
        return sums

    def scale_features(
        self, covariances: Float64Array, factor: Float64Array, scale: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        of_all = np.sqrt((scale * scale).mean(axis=1))
        return covariances * of_all * of_all, factor / of_all

    def is_regularised(
        self, covariances: Float64Array, k: int, reg_covar: Float64Array, share: float
    ) -> bool:
        return bool(covariances[k] <= share * reg_covar.mean())
