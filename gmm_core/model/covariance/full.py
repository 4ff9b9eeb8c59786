"""Full covariances: Σ_k is any positive definite matrix. The kernels are in src/full.pxd."""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.model.covariance.base import moves
from gmm_core.model.covariance.conjugate import Wisharts
from gmm_core.model.covariance.matrices import MatrixType


class Full(MatrixType):
    """A matrix for each component, of shape (K, D, D).

    The second moments Σ r_k (x − c_k)(x − c_k)ᵀ are packed as lower triangles, by rows.
    """

    name = "full"
    conjugate = Wisharts()
    code = 0
    steps_in_kernel = True
    bounds_scores = True

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_components, n_features, n_features

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components * n_features * (n_features + 1) // 2

    def n_moments(self, n_components: int, n_features: int) -> int:
        return n_components * (n_features * (n_features + 1) // 2)

    def pair_time(self, n_features: int) -> float:
        return 0.45 * n_features**2

    def of_component(self, array: Float64Array, k: int) -> Float64Array:
        part: Float64Array = array[k]
        return part

    def repeat(self, array: Float64Array, n_components: int) -> Float64Array:
        return np.repeat(array, n_components, axis=0)

    def matrix(self, covariances: FloatArray, k: int, n_features: int) -> FloatArray:
        matrix: FloatArray = covariances[k]
        return matrix

    def moments_about_means(
        self, moments: Float64Array, counts: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        i, j = np.tril_indices(first.shape[1])
        move = moves(first, counts)
        return moments - (first[:, i] * move[:, j]).ravel()

    def moments_of(
        self, weights: Float64Array, covariances: Float64Array, reg_covar: Float64Array
    ) -> Float64Array:
        i, j = np.tril_indices(len(reg_covar))
        unregularised = (covariances - np.diag(reg_covar))[:, i, j]
        moments: Float64Array = (weights[:, None] * unregularised).ravel()
        return moments

    def scale_components(self, moments: Float64Array, factors: Float64Array) -> None:
        moments.reshape(len(factors), -1)[:] *= factors[:, None]

    def marginal_factor(
        self, factor: Float64Array, ordered: Float64Array, observed: Indices
    ) -> Float64Array:
        q = len(observed)
        return ordered[:, :q, :q]

    def moments_of_each(self, moments: Float64Array, n_features: int) -> Float64Array:
        return moments.ravel()

    def scale_features(
        self, covariances: Float64Array, factor: Float64Array, scale: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        return covariances * scale[:, :, None] * scale[:, None], factor / scale[:, :, None]
