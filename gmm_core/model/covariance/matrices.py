"""The base of 'full' and 'tied', whose covariances are matrices and whose factors are triangles."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gmm_core.core.dispatch import check_status, maximization, sampling
from gmm_core.core.errors import IllDefinedCovarianceError
from gmm_core.core.types import Float64Array, FloatArray, Indices
from gmm_core.model.covariance.base import CovarianceType

# One call of a kernel factors matrices whose work, D**3 for each, adds up to this much for each
# thread. It takes about 0.1 s, and Ctrl-C is answered between calls. A matrix of more work is
# factored in a call of its own.
_CALL_WORK = 3e8
# A smaller matrix is factored in less time than it takes to start a thread.
_PARALLEL_FEATURES = 32
# The code of 'full', with which the kernels factor any stack of matrices.
_STACK_OF_MATRICES = 0
_ROOT_2 = math.sqrt(2)


class MatrixType(CovarianceType):
    """A type whose covariances are matrices, either one for each component or one for all."""

    where_positive = " on the diagonal"

    # --- values -----------------------------------------------------------------------------

    def positive_entries(self, array: FloatArray) -> FloatArray:
        return np.einsum("...ii->...i", array)  # type: ignore[no-any-return]

    def check_definite(self, array: Float64Array, noun: str) -> None:
        D = array.shape[-1]
        matrices = array.reshape(-1, D, D)
        transposed = matrices.transpose(0, 2, 1)
        # The tolerance has no absolute part, so that the units of the data do not matter.
        margin = 1e-8 * abs(matrices).max(axis=(1, 2), keepdims=True) + 1e-5 * abs(transposed)
        symmetric = (abs(matrices - transposed) <= margin).all(axis=(1, 2))
        for k in np.flatnonzero(~symmetric)[:1]:
            raise self._bad_matrix(noun, int(k), "symmetric")
        try:
            np.linalg.cholesky(matrices)
        except np.linalg.LinAlgError:
            bad = (k for k, matrix in enumerate(matrices) if not _is_definite(matrix))
            raise self._bad_matrix(noun, next(bad), "positive-definite") from None

    def _bad_matrix(self, noun: str, k: int, what: str) -> ValueError:
        """Return the error for matrix k, which is not `what`."""
        return ValueError(
            f"'{self.name} {noun}' should be symmetric, positive-definite, but the "
            f"{self.name_part(noun, k)} is not {what}"
        )

    def flaw_of_factor(self, factor: FloatArray, *, finite: bool = False) -> str:
        flaw = super().flaw_of_factor(factor, finite=finite)
        if not flaw and not finite and np.tril(factor, -1).any():
            return "must be upper triangular"
        return flaw

    # --- factors ----------------------------------------------------------------------------

    def factor_covariances(
        self, covariances: Float64Array, n_features: int, n_threads: int = 1
    ) -> Float64Array:
        D = n_features
        matrices = np.ascontiguousarray(covariances).reshape(-1, D, D)
        factors = np.empty(matrices.shape)
        n_threads, groups = _groups(len(matrices), D, n_threads)
        for group in groups:
            part = matrices[group]
            failed = maximization.factor(
                part.ravel(), factors[group].reshape(-1), np.empty(part.size), len(part), D,
                _STACK_OF_MATRICES, n_threads,
            )  # fmt: skip
            self._check_factored(failed, group.start, "covariance")
        return factors.reshape(covariances.shape)

    def factor_precisions(
        self, precisions: Float64Array, n_features: int, n_threads: int = 1
    ) -> Float64Array:
        D = n_features
        matrices = np.ascontiguousarray(precisions).reshape(-1, D, D)
        factors = np.empty(matrices.shape)
        n_threads, groups = _groups(len(matrices), D, n_threads)
        scratch = np.empty((n_threads, D, D), np.longdouble)
        for group in groups:
            failed = maximization.factor_precisions(
                matrices[group], factors[group], scratch, n_threads
            )
            self._check_factored(failed, group.start, "precision")
        return factors.reshape(precisions.shape)

    def _check_factored(self, failed: int, start: int, noun: str) -> None:
        """Raise ValueError if a kernel found a matrix that is not positive definite.

        `failed` is what the kernel returned for the matrices from number `start`: 0, or 1 plus the
        index of the matrix.
        """
        check_status(failed)
        if failed:
            raise self.not_definite(noun, start + failed - 1)

    def precisions_and_covariances(
        self, factor: Float64Array, n_threads: int = 1
    ) -> tuple[Float64Array, Float64Array]:
        D = factor.shape[-1]
        factors = np.ascontiguousarray(factor).reshape(-1, D, D)
        precisions, covariances = np.empty(factors.shape), np.empty(factors.shape)
        n_threads, groups = _groups(len(factors), D, n_threads)
        scratch = np.empty((n_threads, 2, D, D))
        for group in groups:
            status = maximization.precisions_and_covariances(
                factors[group], precisions[group], covariances[group], scratch, n_threads
            )
            check_status(status)
        return precisions.reshape(factor.shape), covariances.reshape(factor.shape)

    def has_precisions(
        self, factor: npt.NDArray[np.floating], precisions: npt.NDArray[np.floating]
    ) -> bool:
        # The entries of U Uᵀ for a rounded U have errors of at most (D + 2) eps |U| |U|ᵀ.
        if factor.ndim < 2 or factor.shape[-1] != factor.shape[-2]:
            return False
        limits = np.finfo(precisions.dtype)
        transposed = np.swapaxes(factor, -1, -2)
        with np.errstate(all="ignore"):
            size = abs(factor) @ abs(transposed)
            margin = (factor.shape[-1] + 2) * limits.eps * size + 4 * limits.smallest_subnormal
            return bool((abs(factor @ transposed - precisions) <= margin).all())

    # --- components -------------------------------------------------------------------------

    def whiten(self, difference: Float64Array, factor: Float64Array) -> Float64Array:
        y: Float64Array = difference @ factor
        return y

    def unwhiten(
        self, y: Float64Array, factor: Float64Array, mean: Float64Array, out: Float64Array
    ) -> None:
        scratch = np.empty(sampling.unwhiten_scratch(len(mean)))
        check_status(sampling.unwhiten_matrix(y, factor, mean, out, scratch))

    def variances(
        self, covariances: npt.NDArray[np.floating], n_components: int, n_features: int
    ) -> npt.NDArray[np.floating]:
        diagonals = np.diagonal(covariances, axis1=-2, axis2=-1)
        return np.broadcast_to(diagonals, (n_components, n_features))

    def smallest_eigenvalue(self, covariances: Float64Array) -> float:
        return float(np.linalg.eigvalsh(covariances).min())

    # --- coordinates ------------------------------------------------------------------------

    def inverse_of_factor(self, factor: Float64Array) -> Float64Array:
        _, root = regression(factor, 0)
        inverse: Float64Array = np.ascontiguousarray(np.swapaxes(root, -1, -2))
        return inverse

    def whiten_each(self, differences: Float64Array, factor: Float64Array) -> Float64Array:
        D = differences.shape[1]
        whitened: Float64Array = np.einsum("ki,kij->kj", differences, factor.reshape(-1, D, D))
        return whitened

    def coordinates(
        self, factor: Float64Array, inverse: Float64Array, n_features: int
    ) -> Float64Array:
        D = n_features
        V = np.einsum("gij,gjk->gik", inverse.reshape(-1, D, D), factor.reshape(-1, D, D))
        diagonal = np.einsum("gii->gi", V)
        matrices: Float64Array = V / diagonal[:, np.newaxis]
        np.einsum("gii->gi", matrices)[...] = _ROOT_2 * np.log(diagonal)
        return matrices.reshape(-1, D * D)

    def factor_at(
        self, coordinates: Float64Array, origin: Float64Array, n_features: int
    ) -> Float64Array:
        D = n_features
        V = coordinates.reshape(-1, D, D).copy()
        of_diagonal = np.einsum("gii->gi", V)
        diagonal = np.exp(of_diagonal / _ROOT_2)
        of_diagonal[...] = 1
        V *= diagonal[:, np.newaxis]
        factors: Float64Array = np.einsum("gij,gjk->gik", origin.reshape(-1, D, D), V)
        return factors.reshape(origin.shape)

    # --- missing values ---------------------------------------------------------------------

    def ordered_factors(self, covariances: Float64Array, order: Indices) -> Float64Array:
        D = order.shape[1]
        matrices = covariances.reshape(-1, D, D)
        each = np.arange(len(matrices))[:, None, None]
        stack = matrices[each, order[:, None, :, None], order[:, None, None, :]]
        try:
            factors = self.factor_covariances(stack.reshape(-1, D, D), D)
        except ValueError as error:
            raise IllDefinedCovarianceError(
                "a covariance is too near to singular for samples with missing values: with the "
                "missing features last, it is not positive definite. Raise reg_covar, or scale the "
                "data."
            ) from error
        return factors.reshape(stack.shape)

    def of_features(self, covariances: Float64Array, features: Indices) -> Float64Array:
        part: Float64Array = covariances[..., features[:, None], features]
        return np.ascontiguousarray(part)

    def regression(
        self, factor: Float64Array, ordered: Float64Array, order: Indices, q: int, n_components: int
    ) -> tuple[Float64Array, Float64Array]:
        P, D = order.shape
        slopes, roots = regression(ordered, q)
        return (
            np.broadcast_to(slopes, (P, n_components, D - q, q)),
            np.broadcast_to(roots, (P, n_components, D - q, D - q)),
        )

    # --- rows with covariances of their own ---------------------------------------------------

    def factor_of_each(
        self, factor: Float64Array, n_components: int, n_features: int
    ) -> Float64Array:
        return np.broadcast_to(factor, (n_components, n_features, n_features))

    # --- collapsed components ---------------------------------------------------------------

    def n_samples_needed(self, n_features: int) -> int:
        return n_features + 1

    def conditional_variances(
        self, factor: Float64Array, n_components: int, n_features: int
    ) -> Float64Array:
        return _conditional_variances(factor.reshape(-1, n_features, n_features))

    def variances_of_all(
        self, weights: Float64Array, means: Float64Array, covariances: Float64Array
    ) -> Float64Array:
        K, D = means.shape
        difference = means - weights @ means
        within = np.broadcast_to(covariances, (K, D, D))
        total: Float64Array = np.einsum("k,kij->ij", weights, within)
        total += np.einsum("k,ki,kj->ij", weights, difference, difference)
        return _conditional_variances(self.factor_covariances(total[None], D)).ravel()

    def is_regularised(
        self, covariances: Float64Array, k: int, reg_covar: Float64Array, share: float
    ) -> bool:
        scale = np.sqrt(reg_covar)
        matrix = self.of_component(covariances, k)
        return bool(np.linalg.eigvalsh(matrix / scale / scale[:, None])[0] <= share)


def _groups(n_matrices: int, n_features: int, n_threads: int) -> tuple[int, Iterator[slice]]:
    """Return the number of threads for each call, and the slice of matrices of each call."""
    n_threads = min(n_threads, n_matrices) if n_features >= _PARALLEL_FEATURES else 1
    step = n_threads * max(1, int(_CALL_WORK / n_features**3))
    return n_threads, (slice(start, start + step) for start in range(0, n_matrices, step))


def _is_definite(matrix: Float64Array) -> bool:
    """Return whether a symmetric matrix is positive definite."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def regression(factors: Float64Array, q: int) -> tuple[Float64Array, Float64Array]:
    """Return the regression of the last features on the first q features.

    Parameters
    ----------
    factors : ndarray of shape (..., D, D)
        Factors U of the precisions.
    q : int

    Returns
    -------
    slope : ndarray of shape (..., D − q, q)
        B = Σ_mo Σ_oo⁻¹: the mean of x_m given x_o is μ_m + B (x_o − μ_o).
    root : ndarray of shape (..., D − q, D − q)
        R, lower triangular: the covariance of x_m given x_o, Σ_mm − B Σ_om, is R Rᵀ.
    """
    # As y = Uᵀ (x − μ) is standard normal, U_omᵀ (x_o − μ_o) + U_mmᵀ (x_m − μ_m) = y_m. So
    #     U_mmᵀ B = −U_omᵀ  and  U_mmᵀ R = I,
    # by forward substitution. No difference of covariances is taken, so no digits cancel.
    U_om, U_mm = factors[..., :q, q:], factors[..., q:, q:]
    m = factors.shape[-1] - q
    solution = np.zeros((*factors.shape[:-2], m, q + m))
    solution[..., :q] = -np.swapaxes(U_om, -1, -2)
    solution[..., q:] = np.eye(m)
    for i in range(m):
        if i:
            solution[..., i, :] -= np.einsum(
                "...j,...jc->...c", U_mm[..., :i, i], solution[..., :i, :]
            )
        solution[..., i, :] /= U_mm[..., i, i, None]
    return solution[..., :q], solution[..., q:]


def _conditional_variances(factors: Float64Array) -> Float64Array:
    """Return 1 / (U Uᵀ)_dd for a stack of factors U."""
    variances: Float64Array = 1 / np.einsum("kij,kij->ki", factors, factors)
    return variances
