"""Tied covariances: Σ_k = Σ, one matrix for all components. The kernels are in src/tied.pxd."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.model.covariance.base import moves
from gmm_core.model.covariance.conjugate import OneWishart
from gmm_core.model.covariance.matrices import MatrixType


class Tied(MatrixType):
    """One matrix for all components, of shape (D, D).

    The second moments are the lower triangles, by rows, of the matrices T and Q that src/tied.pxd
    derives. The scatter about the origins c_k is T + Σ_k>l Q_kl (c_k − c_l)(c_k − c_l)ᵀ.
    """

    name = "tied"
    conjugate = OneWishart()
    code = 1

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return n_features, n_features

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_features * (n_features + 1) // 2

    def n_moments(self, n_components: int, n_features: int) -> int:
        return n_features * (n_features + 1) // 2 + n_components * (n_components + 1) // 2

    def name_part(self, noun: str, k: int) -> str:
        return f"shared {noun}"

    def of_component(self, array: Float64Array, k: int) -> Float64Array:
        return array

    def repeat(self, array: Float64Array, n_components: int) -> Float64Array:
        return array

    def take(self, array: Float64Array, components: Indices) -> Float64Array:
        return array.copy()

    def merged(
        self, before: Float64Array, after: Float64Array, changed: npt.NDArray[np.bool_]
    ) -> Float64Array:
        return (after if changed.any() else before).copy()

    def matrix(self, covariances: FloatArray, k: int, n_features: int) -> FloatArray:
        return covariances

    def moments_about_means(
        self, moments: Float64Array, counts: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        K, D = first.shape
        i, j = np.tril_indices(D)
        T, Q = moments[: len(i)], moments[len(i) :]
        k, other = np.tril_indices(K)
        apart = shift[k] - shift[other]
        within = T + np.einsum("pi,pj->ij", Q[:, None] * apart, apart)[i, j]
        within -= np.einsum("kt,kt->t", first[:, i], moves(first, counts)[:, j])
        return np.concatenate([within, np.zeros(len(Q))])

    def moments_of(
        self, weights: Float64Array, covariances: Float64Array, reg_covar: Float64Array
    ) -> Float64Array:
        K, D = len(weights), len(reg_covar)
        i, j = np.tril_indices(D)
        return np.concatenate(
            [(covariances - np.diag(reg_covar))[i, j], np.zeros(K * (K + 1) // 2)]
        )

    def scale_components(self, moments: Float64Array, factors: Float64Array) -> None:
        pass  # all components share one scatter

    def marginal_factor(
        self, factor: Float64Array, ordered: Float64Array, observed: Indices
    ) -> Float64Array:
        q = len(observed)
        return ordered[0, :q, :q]

    def moments_of_each(self, moments: Float64Array, n_features: int) -> Float64Array:
        K = len(moments)
        return np.concatenate([moments.sum(axis=0), np.zeros(K * (K + 1) // 2)])

    def scale_features(
        self, covariances: Float64Array, factor: Float64Array, scale: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        return covariances * scale[0][:, None] * scale[0], factor / scale[0][:, None]

    def n_samples_behind(self, weights: Float64Array, n_samples: int) -> Float64Array:
        # All samples estimate the covariance, less K − 1 degrees of freedom for the means of the
        # other components.
        return np.where(weights > 0, float(n_samples - (len(weights) - 1)), 0.0)
