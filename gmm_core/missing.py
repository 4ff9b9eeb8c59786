"""Passes over samples that lack features: NaN is missing at random, and integrated out exactly.

The rows of a pattern are complete samples to the marginal mixture of the features that they have,
so an ordinary pass makes their responsibilities and sums. What those say of the other features is
added in expectation: x_m given x_o and component k is normal, see `marginal.regression`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core._digest import digest_of
from gmm_core.conversion import ForeignRows, whole
from gmm_core.covariance import COVARIANCE_TYPES
from gmm_core.impute import fill_for_start
from gmm_core.marginal import Pattern, PatternBlock, blocks, patterns_of, regression
from gmm_core.parameters import Parameters
from gmm_core.passes import ArrayPass, Block, FloatArray
from gmm_core.statistics import NoDensityError, Statistics
from gmm_core.subsample import Extent, rows_for_start

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_BLOCK_ROWS = 1 << 16


class MissingPass:
    """Passes over an array with NaN, in the way of `ArrayPass`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64, or ForeignRows
        C-contiguous; what is not NaN in it is copied.
    sample_weight : ndarray of shape (n_samples,), float64, or None
        A row of weight 0 is absent, from what `evaluate` fills as well.
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
    """

    def __init__(
        self,
        X: FloatArray | ForeignRows,
        sample_weight: Float64Array | None,
        n_components: int,
        covariance_type: str,
        n_threads: int,
    ) -> None:
        self.X = X
        self.sample_weight = np.empty(0) if sample_weight is None else sample_weight
        self.n_samples, self.n_features = X.shape
        self.dtype = X.dtype
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.n_threads = n_threads
        self.patterns = patterns_of(X, sample_weight)

    def blocks(self) -> Iterator[Block]:
        """All rows in order, with their NaN."""
        for start in range(0, self.n_samples, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            yield Block(rows, whole(self.X[rows]), self.sample_weight[rows])

    def sample(
        self, extent: Extent, size: int, seed: int | None
    ) -> tuple[ArrayPass, Float64Array]:
        """The samples that starts are found from, filled, and the variance that they lack."""
        X, weight = rows_for_start(self.blocks(), extent, size, seed)
        filled, lacking = fill_for_start(X, weight)
        kind = self.covariance_type
        return ArrayPass(filled, weight, self.n_components, kind, self.n_threads), lacking

    def checksum(self) -> str:
        """Return the digest of all samples and weights; see `KernelPass.checksum`."""
        return digest_of(self.blocks())

    def _over(self, pattern: Pattern) -> ArrayPass:
        # made anew each time: kept for thousands of patterns, their scratch would fill the memory
        return ArrayPass(
            pattern.X, pattern.sample_weight, self.n_components, self.covariance_type,
            self.n_threads,
        )

    def expectation(self, parameters: Parameters, shift: Float64Array | None = None) -> Statistics:
        """E-step: expected statistics of the complete samples, and log-likelihood of the observed.

        Parameters
        ----------
        parameters : Parameters
        shift : ndarray of shape (K, D) or None
            Origin of the moments; None: the means.

        Raises
        ------
        ValueError
            If a row has no density under any component; the message names it.
        IllDefinedCovarianceError
            If a covariance is not positive definite with its features in another order.
        """
        origin = parameters.means if shift is None else shift
        is_matrix = COVARIANCE_TYPES[self.covariance_type].is_matrix
        sums = _Sums(parameters, origin)
        for block in blocks(self.patterns, parameters):
            parts = np.stack(
                [
                    self._values(pattern, mixture, shift)
                    for pattern, mixture in zip(block.patterns, block.mixtures, strict=True)
                ]
            )
            if len(block.patterns[0].missing) == 0:
                sums.values += parts[0]
            elif is_matrix:
                sums.add_matrices(block, parts)
            else:
                sums.add_variances(block, parts)
        return Statistics(sums.values, origin, self.covariance_type)

    def _values(
        self, pattern: Pattern, mixture: Parameters, shift: Float64Array | None
    ) -> Float64Array:
        """Statistics of the rows of a pattern in the features that they have."""
        K = self.n_components
        if len(pattern.observed) == 0:
            prior = mixture.weights / mixture.weights.sum()
            moments = np.zeros(_n_second_moments(self.covariance_type, K, 0))
            return np.concatenate([[0, pattern.weight], pattern.weight * prior, moments])
        origin = None if shift is None else np.ascontiguousarray(shift[:, pattern.observed])
        try:
            return self._over(pattern).expectation(mixture, origin).values
        except NoDensityError as error:
            log_likelihood = np.empty(len(pattern.rows), self.X.dtype)
            self._over(pattern).evaluate(mixture, log_likelihood=log_likelihood)
            row = pattern.rows[np.argmin(log_likelihood)]
            raise NoDensityError(int(row), ", in the features that it has,") from error

    def mean_log_likelihood(self, parameters: Parameters) -> float:
        """Weighted mean of the log-likelihoods of what was observed of the samples."""
        sums = np.zeros(2)
        for block in blocks(self.patterns, parameters):
            for pattern, mixture in zip(block.patterns, block.mixtures, strict=True):
                if len(pattern.observed):
                    sums += self._over(pattern).log_likelihood(mixture)
                else:
                    sums[1] += pattern.weight
        return float(sums[0] / sums[1])

    def evaluate(
        self,
        parameters: Parameters,
        *,
        log_likelihood: npt.NDArray[Any] | None = None,
        responsibilities: npt.NDArray[Any] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
    ) -> int:
        """Fill the arrays that are given; the number of rows without density in any component."""
        outputs = {
            "log_likelihood": log_likelihood,
            "responsibilities": responsibilities,
            "labels": labels,
        }
        wanted = {name: array for name, array in outputs.items() if array is not None}
        prior = parameters.weights / parameters.weights.sum()
        of_nothing = {
            "log_likelihood": 0.0, "responsibilities": prior, "labels": prior.argmax()
        }
        count = 0
        for block in blocks(self.patterns, parameters):
            for pattern, mixture in zip(block.patterns, block.mixtures, strict=True):
                if len(pattern.observed) == 0:
                    for name, array in wanted.items():
                        array[pattern.rows] = of_nothing[name]
                    continue
                made: dict[str, npt.NDArray[Any]] = {
                    name: np.empty((len(pattern.rows), *array.shape[1:]), array.dtype)
                    for name, array in wanted.items()
                }
                count += self._over(pattern).evaluate(mixture, **made)
                for name, array in wanted.items():
                    array[pattern.rows] = made[name]
        return count


def _n_second_moments(covariance_type: str, K: int, D: int) -> int:
    """Numbers that the second moments are packed in."""
    triangle = D * (D + 1) // 2
    return {
        "full": K * triangle, "tied": triangle + K * (K + 1) // 2, "diag": K * D, "spherical": K
    }[covariance_type]  # fmt: skip


class _Sums:
    """Statistics of complete samples, to which those of patterns are added in expectation.

    With x̂_k the mean of x given x_o and component k, and c_k the origin, x̂_k − c_k is
        z_o = x_o − c_ko  and  B_k z_o + b_k,  b_k = B_k (c_ko − μ_ko) + μ_km − c_km,
    the slopes B_k are 0 for 'diag' and 'spherical'; the covariance given x_o adds to the mm part
    of the second moments.
    """

    def __init__(self, parameters: Parameters, origin: Float64Array) -> None:
        K, D = origin.shape
        self.parameters, self.origin = parameters, origin
        n_second = _n_second_moments(parameters.covariance_type, K, D)
        self.values = np.zeros(2 + K + K * D + n_second)
        self.first = self.values[2 + K : 2 + K + K * D].reshape(K, D)
        self.second = self.values[2 + K + K * D :]

    def add_variances(self, block: PatternBlock, parts: Float64Array) -> None:
        """Patterns of a mixture without covariances between features."""
        K, D = self.origin.shape
        p, q = self.parameters, len(block.patterns[0].observed)
        self.values[: 2 + K] += parts[:, : 2 + K].sum(axis=0)
        lacking = np.zeros((K, D))          # Σ w r_k over the rows that lack a feature
        for pattern, part in zip(block.patterns, parts, strict=True):
            lacking[:, pattern.missing] += part[2 : 2 + K, None]
            self.first[:, pattern.observed] += part[2 + K : 2 + K + K * q].reshape(K, q)
            if p.covariance_type == "diag":
                by_feature = self.second.reshape(K, D)
                by_feature[:, pattern.observed] += part[2 + K + K * q :].reshape(K, q)
            else:
                self.second += part[2 + K + K * q :]
        move = p.means - self.origin
        variance = 1 / p.precisions_cholesky.reshape(K, -1) ** 2
        self.first += lacking * move
        squares = lacking * (move * move + variance)
        self.second += squares.ravel() if p.covariance_type == "diag" else squares.sum(axis=1)

    def add_matrices(self, block: PatternBlock, parts: Float64Array) -> None:
        """Patterns of a mixture with full covariances, or one for all (then G = 1, else G = K)."""
        K, D = self.origin.shape
        P, G = block.factors.shape[:2]
        q = len(block.patterns[0].observed)
        slope, root = regression(block.factors, q)
        slopes = np.broadcast_to(slope, (P, K, *slope.shape[2:]))
        means = _permuted(self.parameters.means, block.order)
        origin = _permuted(self.origin, block.order)
        back = (origin - means)[..., :q]
        b = np.einsum("pkmo,pko->pkm", slopes, back) + (means - origin)[..., q:]

        counts = parts[:, 2 : 2 + K]
        s_o = parts[:, 2 + K : 2 + K + K * q].reshape(P, K, q)
        s_m = np.einsum("pkmo,pko->pkm", slopes, s_o) + counts[..., None] * b
        packed = parts[:, 2 + K + K * q :]
        if self.parameters.covariance_type == "full":
            outer, N = "pkm,pko->pkmo", counts
            S_oo = packed.reshape(P, K, -1)[..., _packed_index(q)]
        else:
            outer, N = "pkm,pko->pmo", counts.sum(axis=1, keepdims=True)
            S_oo = _pooled_scatter(packed, origin[..., :q])

        S_mo = np.einsum("pgmo,pgoi->pgmi", slope, S_oo)
        S_mo += np.einsum(outer, b, s_o).reshape(S_mo.shape)
        S_mm = np.einsum("pgmo,pgio->pgmi", S_mo, slope)
        S_mm += np.einsum(outer, s_m, b).reshape(S_mm.shape)
        S_mm += N[..., None, None] * np.einsum("pgmi,pgji->pgmj", root, root)

        # back to the order of the features, where the lower triangle is stored by rows
        moments = np.empty((P, G, D, D))
        moments[..., :q, :q], moments[..., q:, :q], moments[..., q:, q:] = S_oo, S_mo, S_mm
        place = np.argsort(block.order, axis=1)
        rows, columns = np.tril_indices(D)
        i, j = place[:, rows], place[:, columns]
        index = np.maximum(i, j) * D + np.minimum(i, j)
        lower = np.take_along_axis(moments.reshape(P, G, D * D), index[:, None], axis=2)
        first = np.take_along_axis(np.concatenate([s_o, s_m], axis=2), place[:, None], axis=2)
        self.values[: 2 + K] += parts[:, : 2 + K].sum(axis=0)
        self.first += first.sum(axis=0)
        self.second[: lower[0].size] += lower.sum(axis=0).ravel()


def _permuted(array: Float64Array, order: IntArray) -> Float64Array:
    """(K, D) with the features in the order of each pattern, as (P, K, D)."""
    return array[np.arange(len(array))[:, None], order[:, None]]


def _packed_index(n: int) -> IntArray:
    """Where the entries of a symmetric matrix stand in its lower triangle, stored by rows."""
    i = np.arange(n)
    high, low = np.maximum(i[:, None], i), np.minimum(i[:, None], i)
    index: IntArray = high * (high + 1) // 2 + low
    return index


def _pooled_scatter(packed: Float64Array, origin: Float64Array) -> Float64Array:
    """Scatter (P, 1, q, q) about the components' origins (P, K, q), by T and Q of src/tied.pxd."""
    # T + Σ_k>l Q_kl (c_k − c_l)(c_k − c_l)ᵀ
    K, q = origin.shape[1:]
    k, j = np.tril_indices(K, -1)
    between = packed[:, q * (q + 1) // 2 :][:, k * (k + 1) // 2 + j, None]
    gaps = origin[:, k] - origin[:, j]
    scatter: Float64Array = packed[:, _packed_index(q)]
    scatter += np.einsum("pri,prj->pij", between * gaps, gaps)
    return scatter[:, None]
