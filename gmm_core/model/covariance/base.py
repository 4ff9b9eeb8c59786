"""The interface of a covariance type.

A type consists of one file in this folder, one `.pxd` in src/, an entry in COVARIANCE_TYPES
(`__init__.py`), and a number and two branches in src/covariance.pxd. Covariances, precisions and
the factors of precisions are arrays in the shape of their type. K is the number of components and D
the number of features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from gmm_core.core.dispatch import check_status, maximization
from gmm_core.core.types import CovarianceName, Float64Array, FloatArray, Indices
from gmm_core.model.covariance.conjugate import Conjugate


class CovarianceType(ABC):
    """The base class of all covariance types.

    Attributes
    ----------
    name : {'full', 'tied', 'diag', 'spherical'}
    code : int
        The number of the E-step in the kernels; see `CovarianceType` in src/covariance.pxd.
    conjugate : Conjugate
        The distribution of the precisions in a variational mixture.
    m_step_code : int
        The number of the M-step, which is that of the E-step unless the type adds constraints.
    sklearn_name : {'full', 'tied', 'diag', 'spherical'}
        The type of scikit-learn that has arrays of the same shape.
    inferred_by_shape : bool
        Whether the shape of an array tells the type if a user does not name it.
    n_features : int or None
        The only number of features that the type is for; None for any number.
    has_shape, has_orientation : bool
        Whether the covariances have a shape other than that of a sphere, and axes other than those
        of the features.
    hides_collapse : bool
        Whether covariances are divided by their determinants, so that a small one does not show.
    steps_in_kernel : bool
        Whether src/_stepwise.pyx makes the steps of a stream for the type.
    bounds_scores : bool
        Whether src/scores.pxd skips pairs for the type.
    where_positive : str
        The part of a message that tells which entries of an array have to be positive.
    """

    name: CovarianceName
    code: int
    conjugate: Conjugate
    inferred_by_shape = True
    n_features: int | None = None
    has_shape = True
    has_orientation = True
    hides_collapse = False
    steps_in_kernel = False
    bounds_scores = False
    where_positive: str

    @property
    def m_step_code(self) -> int:
        return self.code

    @property
    def sklearn_name(self) -> str:
        return self.name

    # --- sizes ------------------------------------------------------------------------------

    @abstractmethod
    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of covariances, precisions and factors."""

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariances."""

    def pair_time(self, n_features: int) -> float:
        """Return what distances and moments of 16 samples take for a component, in nanoseconds.

        It is a rough estimate, by which a pass decides whether to skip; see `data/skipping.py`.
        """
        return min(0.45 * n_features, 2.0) * n_features

    @abstractmethod
    def n_moments(self, n_components: int, n_features: int) -> int:
        """Return the length of the packed second moments."""

    # --- values -----------------------------------------------------------------------------

    @abstractmethod
    def positive_entries(self, array: FloatArray) -> FloatArray:
        """Return the entries that have to be positive in covariances, precisions and factors."""

    def check(self, array: Float64Array, n_components: int, n_features: int, noun: str) -> None:
        """Check covariances or precisions that a user has given.

        Parameters
        ----------
        array : ndarray
        n_components, n_features : int
        noun : {'covariance', 'precision'}
            The noun for them in a message.

        Raises
        ------
        ValueError
            If the shape is not that of the type, a value is not finite, a variance is not
            positive, or a matrix is not symmetric and positive definite.
        """
        check_shape_and_values(
            array, self.shape(n_components, n_features), f"{self.name} {noun}"
        )
        self.check_definite(array, noun)

    @abstractmethod
    def check_definite(self, array: Float64Array, noun: str) -> None:
        """Raise ValueError unless covariances or precisions are positive definite; see `check`.

        Matrices have to be symmetric to within 1e-8 of their largest entry plus 1e-5 of the entry
        itself.
        """

    def violation(self, covariances: Float64Array, n_components: int, n_features: int) -> str:
        """Return the constraint of the type that covariances violate, or an empty string."""
        return ""

    def name_part(self, noun: str, k: int) -> str:
        """Return the name of component k's covariance or precision in the message of an error."""
        return f"{noun} of component {k}"

    def not_definite(self, noun: str, k: int) -> ValueError:
        """Return the error for a covariance or precision that is not positive definite."""
        return ValueError(
            f"{noun}s must be positive definite, but the {self.name_part(noun, k)} is not"
        )

    def flaw_of_factor(self, factor: FloatArray, *, finite: bool = False) -> str:
        """Return the condition that a factor violates, or an empty string if it is valid.

        Parameters
        ----------
        factor : ndarray
        finite : bool, default=False
            Whether the factor is known to be finite, and triangular if its type has matrices.
        """
        if not finite and not np.isfinite(factor).all():
            return "must be finite"
        least = self.positive_entries(factor).min()
        if not least > 0:
            return f"must be positive{self.where_positive}, but the least is {least:.5g}"
        return ""

    def log_det_of_factor(self, factor: Float64Array, n_features: int) -> Float64Array:
        """Return log |U Uᵀ| of each component, or of the one that all share."""
        logs: Float64Array = 2 * np.log(self.positive_entries(factor))
        return logs.sum(axis=-1)  # type: ignore[no-any-return]

    # --- factors ----------------------------------------------------------------------------

    @abstractmethod
    def factor_covariances(
        self, covariances: Float64Array, n_features: int, n_threads: int = 1
    ) -> Float64Array:
        """Return the factors U of precisions, with U Uᵀ = Σ⁻¹.

        Parameters
        ----------
        covariances : ndarray
        n_features : int
        n_threads : int, default=1
            The result is bit-identical for any number of threads.

        Returns
        -------
        ndarray
            Upper triangular matrices, or reciprocal standard deviations.

        Raises
        ------
        ValueError
            If a covariance is not positive definite; the message names the component.
        """

    @abstractmethod
    def factor_precisions(
        self, precisions: Float64Array, n_features: int, n_threads: int = 1
    ) -> Float64Array:
        """Return the factors U of precisions, with U Uᵀ = precision; see `factor_covariances`."""

    @abstractmethod
    def precisions_and_covariances(
        self, factor: Float64Array, n_threads: int = 1
    ) -> tuple[Float64Array, Float64Array]:
        """Return precisions U Uᵀ and their inverses.

        Values that overflow or underflow are returned as they are; the caller checks them.
        """

    @abstractmethod
    def has_precisions(
        self, factor: npt.NDArray[np.floating], precisions: npt.NDArray[np.floating]
    ) -> bool:
        """Return whether precisions equal U Uᵀ within its rounding, so that U can be kept.

        Factoring the precisions again would lose digits: half of them for ill-conditioned
        precisions, and most of them for precisions below the smallest normal number.
        """

    # --- components -------------------------------------------------------------------------

    @abstractmethod
    def of_component(self, array: Float64Array, k: int) -> Float64Array:
        """Return the part of covariances, precisions or factors that belongs to component k."""

    @abstractmethod
    def repeat(self, array: Float64Array, n_components: int) -> Float64Array:
        """Return the array of several equal components, given that of one component."""

    def take(self, array: Float64Array, components: Indices) -> Float64Array:
        """Return a copy of covariances, precisions or factors with the parts of these components.

        Parameters
        ----------
        array : ndarray
        components : ndarray of shape (K,)
            The component from which each of the K components gets its part.
        """
        parts: Float64Array = array[components]
        return parts

    def merged(
        self, before: Float64Array, after: Float64Array, changed: npt.NDArray[np.bool_]
    ) -> Float64Array:
        """Return an array whose parts are those of `after` where `changed`, else of `before`.

        `changed` has the shape (K,), or (1,) if all components share a covariance.
        """
        merged = before.copy()
        merged[changed] = after[changed]
        return merged

    @abstractmethod
    def whiten(self, difference: Float64Array, factor: Float64Array) -> Float64Array:
        """Return y = Uᵀ (x − μ) for each row x − μ; U is the factor of one component."""

    @abstractmethod
    def unwhiten(
        self, y: Float64Array, factor: Float64Array, mean: Float64Array, out: Float64Array
    ) -> None:
        """Write x = μ + U⁻ᵀ y for each row y to `out`; U is the factor of one component."""

    @abstractmethod
    def variances(
        self, covariances: npt.NDArray[np.floating], n_components: int, n_features: int
    ) -> npt.NDArray[np.floating]:
        """Return the variance of each feature in each component, of shape (K, D)."""

    @abstractmethod
    def matrix(self, covariances: FloatArray, k: int, n_features: int) -> FloatArray:
        """Return the covariance of component k as a matrix of shape (D, D)."""

    @abstractmethod
    def smallest_eigenvalue(self, covariances: Float64Array) -> float:
        """Return the smallest variance of any component in any direction."""

    # --- coordinates ------------------------------------------------------------------------
    #
    # A factor U has coordinates relative to an origin U₀. For matrices they are the logarithms of
    # the diagonal of V = U₀⁻¹ U, and V_ij / V_jj for i < j, laid out as a triangular matrix; for
    # variances, the logarithms of U / U₀. They are unconstrained: any numbers are the coordinates
    # of a factor. They are scaled so that near U₀ their squared length is twice the
    # Kullback-Leibler divergence between the Gaussians with these precisions.

    @abstractmethod
    def inverse_of_factor(self, factor: Float64Array) -> Float64Array:
        """Return U⁻¹, in the shape of the factor."""

    @abstractmethod
    def whiten_each(self, differences: Float64Array, factor: Float64Array) -> Float64Array:
        """Return U_kᵀ x_k for the row x_k of each component, of shape (K, D).

        With the inverse of the factor, this returns the x_k = U_k⁻ᵀ y_k of whitened y_k.
        """

    @abstractmethod
    def coordinates(
        self, factor: Float64Array, inverse: Float64Array, n_features: int
    ) -> Float64Array:
        """Return the coordinates of a factor.

        Parameters
        ----------
        factor : ndarray
        inverse : ndarray
            The inverse of the origin; see `inverse_of_factor`.
        n_features : int

        Returns
        -------
        ndarray of shape (K or 1, n_coordinates)
            One row if all components share a covariance.
        """

    @abstractmethod
    def factor_at(
        self, coordinates: Float64Array, origin: Float64Array, n_features: int
    ) -> Float64Array:
        """Return the factor with these coordinates; values that overflow are returned as they are.

        Parameters
        ----------
        coordinates : ndarray of shape (K or 1, n_coordinates)
        origin : ndarray
            The factor U₀.
        n_features : int
        """

    # --- volume, shape and orientation ------------------------------------------------------

    def decompose(
        self, covariances: Float64Array, factor: Float64Array, n_components: int, n_features: int
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return volumes, shapes and orientations, with Σ_k = λ_k D_k diag(A_k) D_kᵀ.

        Parameters
        ----------
        covariances, factor : ndarray
            The factor has the determinants of ill-conditioned covariances to more digits.
        n_components, n_features : int

        Returns
        -------
        volumes : ndarray of shape (K,)
            |Σ_k|^(1/D).
        shapes : ndarray of shape (K, D)
            The variances along the principal axes divided by the volume, in descending order.
        orientations : ndarray of shape (K, D, D)
            A principal axis in each column.
        """
        K, D = n_components, n_features
        matrices = np.stack([self.matrix(covariances, k, D) for k in range(K)]).astype(np.float64)
        axes = np.empty((K, D, D))
        check_status(maximization.principal_axes(matrices, axes))
        variances = np.diagonal(matrices, axis1=1, axis2=2)
        roots = [self.positive_entries(self.of_component(factor, k)) for k in range(K)]
        volumes = np.exp([-2 * np.log(root).mean() for root in roots])
        return volumes, variances / volumes[:, None], axes

    # --- second moments of statistics -------------------------------------------------------

    @abstractmethod
    def moments_about_means(
        self, moments: Float64Array, counts: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        """Return the second moments about the means, given those about the origins.

        Σ r (x − μ)(x − μ)ᵀ = Σ r (x − c)(x − c)ᵀ − s sᵀ / N for μ = c + s / N.

        Parameters
        ----------
        moments : ndarray of shape (n_moments,)
        counts : ndarray of shape (K,)
            The counts N.
        first : ndarray of shape (K, D)
            The first moments s.
        shift : ndarray of shape (K, D)
            The origins c.

        Returns
        -------
        ndarray of shape (n_moments,)
        """

    @abstractmethod
    def moments_of(
        self, weights: Float64Array, covariances: Float64Array, reg_covar: Float64Array
    ) -> Float64Array:
        """Return second moments of total weight 1 from which the M-step gets these covariances.

        Parameters
        ----------
        weights : ndarray of shape (K,)
        covariances : ndarray
        reg_covar : ndarray of shape (D,)
            The regularisation that the M-step adds to the variances.

        Returns
        -------
        ndarray of shape (n_moments,)
        """

    @abstractmethod
    def scale_components(self, moments: Float64Array, factors: Float64Array) -> None:
        """Multiply the second moments of each component by its factor, in place.

        Moments that all components share do not change.
        """

    # --- missing values ---------------------------------------------------------------------
    #
    # A pattern is a set of observed features; samples with the same missing features share it. All
    # P patterns here have q observed features. `order` (P, D) has the features of each pattern, the
    # observed ones first; `ordered` is what `ordered_factors` returns for it.

    @abstractmethod
    def ordered_factors(self, covariances: Float64Array, order: Indices) -> Float64Array:
        """Factor the covariance matrices with their features in the order of each pattern.

        Parameters
        ----------
        covariances : ndarray
        order : ndarray of shape (P, D)

        Returns
        -------
        ndarray of shape (P, K or 1, D, D)
            Factors of the precisions. The array is empty if the type has no covariances between
            features.

        Raises
        ------
        IllDefinedCovarianceError
            If a covariance is not positive definite with its features in another order.
        """

    @abstractmethod
    def marginal_factor(
        self, factor: Float64Array, ordered: Float64Array, observed: Indices
    ) -> Float64Array:
        """Return the factor of the marginal mixture of one pattern.

        Parameters
        ----------
        factor : ndarray
            The factor of the mixture.
        ordered : ndarray of shape (K or 1, D, D)
            The part of `ordered_factors` that belongs to the pattern.
        observed : ndarray of shape (q,)
            The observed features.

        Returns
        -------
        ndarray in the shape of the type, for q features
        """

    @abstractmethod
    def of_features(self, covariances: Float64Array, features: Indices) -> Float64Array:
        """Return a copy of the covariances of some features, in the order of `features`."""

    @abstractmethod
    def regression(
        self, factor: Float64Array, ordered: Float64Array, order: Indices, q: int, n_components: int
    ) -> tuple[Float64Array, Float64Array]:
        """Return the regression of missing features on observed ones, for each component.

        Parameters
        ----------
        factor : ndarray
            The factor of the mixture.
        ordered : ndarray
        order : ndarray of shape (P, D)
        q : int
        n_components : int

        Returns
        -------
        slopes : ndarray of shape (P, K, D − q, q)
            Matrices B: the mean of the missing features given the others is μ_m + B (x_o − μ_o).
        roots : ndarray of shape (P, K, D − q, D − q)
            Matrices R: the covariance of the missing features given the others is R Rᵀ.
        """

    # --- rows with covariances of their own ---------------------------------------------------

    @abstractmethod
    def factor_of_each(
        self, factor: Float64Array, n_components: int, n_features: int
    ) -> Float64Array:
        """Return the factor of each component.

        Returns
        -------
        ndarray of shape (K, D, D), or (K, D) for types without covariances between features
        """

    @abstractmethod
    def moments_of_each(self, moments: Float64Array, n_features: int) -> Float64Array:
        """Pack the second moments of each component.

        Parameters
        ----------
        moments : ndarray of shape (K, D (D + 1) / 2) or (K, D)
            The lower triangles, by rows, or the diagonals for types without covariances between
            features.
        n_features : int
        """

    @abstractmethod
    def scale_features(
        self, covariances: Float64Array, factor: Float64Array, scale: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Return covariances and factors for features multiplied by `scale`.

        Parameters
        ----------
        covariances, factor : ndarray
        scale : ndarray of shape (K, D)
            Components that share a covariance have one scale. A type with one variance for all
            features takes the mean of the squares.
        """

    # --- collapsed components ---------------------------------------------------------------

    @abstractmethod
    def n_samples_needed(self, n_features: int) -> int:
        """Return the number of samples that a covariance needs to be positive definite."""

    def n_samples_behind(self, weights: Float64Array, n_samples: int) -> Float64Array:
        """Return the number of samples that each component's covariance is estimated from."""
        return weights * n_samples

    @abstractmethod
    def conditional_variances(
        self, factor: Float64Array, n_components: int, n_features: int
    ) -> Float64Array:
        """Return 1 / (Σ_k⁻¹)_dd, the variance of each feature given the others.

        The shape is (K, D), or (1, D) if all components share a covariance.
        """

    @abstractmethod
    def variances_of_all(
        self, weights: Float64Array, means: Float64Array, covariances: Float64Array
    ) -> Float64Array:
        """Return the variance of each feature in the whole mixture, of shape (D,).

        If the type has covariances between features, it is the variance given the other features.

        Raises
        ------
        ValueError
            If the covariance of the mixture is not positive definite.
        """

    @abstractmethod
    def is_regularised(
        self, covariances: Float64Array, k: int, reg_covar: Float64Array, share: float
    ) -> bool:
        """Return whether `reg_covar` is nearly all of component k's variance in some direction.

        Parameters
        ----------
        covariances : ndarray
        k : int
        reg_covar : ndarray of shape (D,)
        share : float
            A variance counts as nearly all `reg_covar` if it is at most this many times as large.
        """


def check_shape_and_values(array: Float64Array, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError if the shape is wrong or a value is not finite; the message has the name."""
    check_shape(array, shape, name)
    check_values(array, name)


def check_shape(array: Float64Array, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError if the shape is wrong."""
    if array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}"
        )


def check_values(array: Float64Array, name: str) -> None:
    """Raise ValueError if a value is not finite."""
    if not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(f"The parameter '{name}' must be finite, but contains {what}")


def moves(first: Float64Array, counts: Float64Array) -> Float64Array:
    """Return s / N for each component, the move of its mean, and 0 for one without samples.

    Parameters
    ----------
    first : ndarray of shape (K, D)
        First moments s about the origins.
    counts : ndarray of shape (K,)
        N.
    """
    n = counts[:, None]
    return np.divide(first, n, out=np.zeros(first.shape), where=n > 0)
