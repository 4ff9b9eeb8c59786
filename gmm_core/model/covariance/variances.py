"""The base of 'diag' and 'spherical', whose covariances are variances of single features."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from gmm_core.core.dispatch import check_status, maximization, sampling
from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.model.covariance.base import CovarianceType


class VarianceType(CovarianceType):
    """A type without covariances between features.

    The factors of the precisions are reciprocal standard deviations.
    """

    where_positive = ""

    # --- values -----------------------------------------------------------------------------

    def positive_entries(self, array: FloatArray) -> FloatArray:
        return array

    def check_definite(self, array: Float64Array, noun: str) -> None:
        if (array <= 0.0).any():
            raise ValueError(
                f"'{self.name} {noun}' should be positive, but got min value {array.min():.5g}"
            )

    # --- factors ----------------------------------------------------------------------------

    def factor_covariances(
        self, covariances: Float64Array, n_features: int, n_threads: int = 1
    ) -> Float64Array:
        factor = np.empty(covariances.shape)
        failed = maximization.factor(
            covariances.ravel(), factor.reshape(-1), np.empty(0), len(covariances), n_features,
            self.code, 1,
        )  # fmt: skip
        check_status(failed)
        if failed:
            raise self.not_definite("covariance", failed - 1)
        return factor

    def factor_precisions(
        self, precisions: Float64Array, n_features: int, n_threads: int = 1
    ) -> Float64Array:
        bad = (precisions <= 0).reshape(len(precisions), -1).any(axis=1)
        if bad.any():
            raise self.not_definite("precision", int(bad.argmax()))
        factor: Float64Array = np.sqrt(precisions)
        return factor

    def precisions_and_covariances(
        self, factor: Float64Array, n_threads: int = 1
    ) -> tuple[Float64Array, Float64Array]:
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            precisions = factor**2
            return precisions, 1 / precisions

    def has_precisions(
        self, factor: npt.NDArray[np.floating], precisions: npt.NDArray[np.floating]
    ) -> bool:
        # A stored precision is exactly this square, rounded to the dtype of the attribute. So the
        # only tolerance is one for subnormal numbers.
        with np.errstate(all="ignore"):
            square = (factor * factor).astype(precisions.dtype)
            margin = 4 * np.finfo(precisions.dtype).smallest_subnormal
            return bool((abs(square - precisions) <= margin).all())

    # --- components -------------------------------------------------------------------------

    def of_component(self, array: Float64Array, k: int) -> Float64Array:
        part: Float64Array = array[k]
        return part

    def repeat(self, array: Float64Array, n_components: int) -> Float64Array:
        return np.repeat(array, n_components, axis=0)

    def whiten(self, difference: Float64Array, factor: Float64Array) -> Float64Array:
        return difference * factor

    def unwhiten(
        self, y: Float64Array, factor: Float64Array, mean: Float64Array, out: Float64Array
    ) -> None:
        check_status(sampling.unwhiten_features(y, np.full(len(mean), factor), mean, out))

    def variances(
        self, covariances: npt.NDArray[np.floating], n_components: int, n_features: int
    ) -> npt.NDArray[np.floating]:
        by_component = covariances.reshape(n_components, -1)
        return np.broadcast_to(by_component, (n_components, n_features))

    def matrix(self, covariances: FloatArray, k: int, n_features: int) -> FloatArray:
        matrix: FloatArray = covariances[k] * np.eye(n_features)
        return matrix

    def smallest_eigenvalue(self, covariances: Float64Array) -> float:
        return float(covariances.min())

    # --- coordinates ------------------------------------------------------------------------

    def inverse_of_factor(self, factor: Float64Array) -> Float64Array:
        return 1 / factor

    def whiten_each(self, differences: Float64Array, factor: Float64Array) -> Float64Array:
        whitened: Float64Array = differences * factor.reshape(len(differences), -1)
        return whitened

    def coordinates(
        self, factor: Float64Array, inverse: Float64Array, n_features: int
    ) -> Float64Array:
        logs: Float64Array = np.log(factor * inverse).reshape(len(factor), -1)
        return math.sqrt(2 * n_features / logs.shape[1]) * logs

    def factor_at(
        self, coordinates: Float64Array, origin: Float64Array, n_features: int
    ) -> Float64Array:
        scale = math.sqrt(2 * n_features / coordinates.shape[1])
        factor: Float64Array = origin * np.exp(coordinates / scale).reshape(origin.shape)
        return factor

    # --- missing values ---------------------------------------------------------------------

    def ordered_factors(self, covariances: Float64Array, order: Indices) -> Float64Array:
        return np.empty((len(order), 0, 0, 0))

    def regression(
        self, factor: Float64Array, ordered: Float64Array, order: Indices, q: int, n_components: int
    ) -> tuple[Float64Array, Float64Array]:
        (P, D), K = order.shape, n_components
        deviations = self.variances(1 / factor, K, D)
        missing = np.stack([deviations[:, features] for features in order[:, q:]])
        slopes = np.broadcast_to(np.zeros((1, 1, 1, 1)), (P, K, D - q, q))
        return slopes, missing[..., None] * np.eye(D - q)

    # --- rows with covariances of their own ---------------------------------------------------

    def factor_of_each(
        self, factor: Float64Array, n_components: int, n_features: int
    ) -> Float64Array:
        return np.broadcast_to(factor.reshape(n_components, -1), (n_components, n_features))

    def moments_of_each(self, moments: Float64Array, n_features: int) -> Float64Array:
        if moments.shape[1] != n_features:
            moments = moments[:, np.arange(1, n_features + 1).cumsum() - 1]
        return self.moments_of_features(moments)

    @abstractmethod
    def moments_of_features(self, squares: Float64Array) -> Float64Array:
        """Pack the second moments of each component and feature, of shape (K, D)."""

    # --- collapsed components ---------------------------------------------------------------

    def n_samples_needed(self, n_features: int) -> int:
        return 2

    def conditional_variances(
        self, factor: Float64Array, n_components: int, n_features: int
    ) -> Float64Array:
        by_component = 1 / factor.reshape(n_components, -1) ** 2
        return np.broadcast_to(by_component, (n_components, n_features))

    def variances_of_all(
        self, weights: Float64Array, means: Float64Array, covariances: Float64Array
    ) -> Float64Array:
        difference = means - weights @ means
        variances: Float64Array = weights @ (difference**2 + covariances.reshape(len(means), -1))
        return variances
