"""Diagonal covariances: Σ_k = diag(σ²_k1 ... σ²_kD). The kernels are in src/diag.pxd."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, Indices
from gmm_core.model.covariance.base import moves
from gmm_core.model.covariance.conjugate import Gammas
from gmm_core.model.covariance.variances import VarianceType


class Diag(VarianceType):
    """A variance for each component and feature, of shape (K, D).

    The second moments Σ r_k (x_d − c_kd)² have the same shape, flattened.
    """

    name = "diag"
    conjugate = Gammas()
    code = 2
    steps_in_kernel = True
    has_orientation = False

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def n_moments(self, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def moments_about_means(
        self, moments: Float64Array, counts: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        return moments - (first * moves(first, counts)).ravel()

    def moments_of(
        self, weights: Float64Array, covariances: Float64Array, reg_covar: Float64Array
    ) -> Float64Array:
        moments: Float64Array = (weights[:, None] * (covariances - reg_covar)).ravel()
        return moments

    def scale_components(self, moments: Float64Array, factors: Float64Array) -> None:
        moments.reshape(len(factors), -1)[:] *= factors[:, None]

    def marginal_factor(
        self, factor: Float64Array, ordered: Float64Array, observed: Indices
    ) -> Float64Array:
        part: Float64Array = factor[:, observed]
        return part

    def of_features(self, covariances: Float64Array, features: Indices) -> Float64Array:
        return np.ascontiguousarray(covariances[:, features])

    def moments_of_features(self, squares: Float64Array) -> Float64Array:
        return squares.ravel()

    def scale_features(
        self, covariances: Float64Array, factor: Float64Array, scale: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        return covariances * scale * scale, factor / scale

    def is_regularised(
        self, covariances: Float64Array, k: int, reg_covar: Float64Array, share: float
    ) -> bool:
        return bool((covariances[k] <= share * reg_covar).any())
