"""Passes over samples with missing values, which are NaN and are integrated out exactly.

Values are assumed to be missing at random. The rows that lack the same features form a pattern. For
the marginal mixture of their other features, these rows are complete samples, so an ordinary pass
computes their responsibilities and sums. The expected contributions of the missing features are
added afterwards; see `CovarianceType.add_incomplete`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gmm_core.core.errors import NoDensityError
from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Labels
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import Block
from gmm_core.data.digest import digest_of
from gmm_core.data.foreign import ForeignRows, whole
from gmm_core.data.patterns import Pattern, groups, patterns_of
from gmm_core.data.skipping import Order
from gmm_core.data.subset import StartRows, Totals, rows_for_start
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import Mixture, Prepared
from gmm_core.model.statistics import Statistics, n_sums, views

_BLOCK_ROWS = 1 << 16  # rows that are read at once


class MissingPass:
    """Passes over an array with NaN.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64, or ForeignRows
        An array is C-contiguous. The values that are not NaN are copied.
    sample_weight : ndarray of shape (n_samples,), float64, or None
        Rows of weight 0 are skipped. `evaluate` does not fill the results of such rows.
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
        self.order = Order()

    def skip(self, mean_weight: float) -> None:
        """Do nothing: all pairs are evaluated."""

    def blocks(self) -> Iterator[Block]:
        """Yield all rows in order, with their NaN."""
        for start in range(0, self.n_samples, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            yield Block(rows, whole(self.X[rows]), self.sample_weight[rows])

    def rows_for_start(self, totals: Totals, size: int, seed: int | None) -> StartRows:
        """Return the rows that starts are found from; see `Pass.rows_for_start`.

        Their missing values are replaced by the means of the features.
        """
        rows = rows_for_start(self.blocks(), totals, size, seed)
        filled, lacking = fill_with_means(rows.X, rows.sample_weight)
        return StartRows(filled, rows.sample_weight, lacking)

    def checksum(self) -> str:
        """Return the digest of all samples and weights; see `Pass.checksum`."""
        return digest_of(self.blocks())

    def scatter(self, origin: Float64Array) -> Statistics:
        """Refuse: a noise component, which needs this, does not take missing values."""
        raise NotImplementedError

    def ranges(self, origin: Float64Array, axes: Float64Array) -> Float64Array:
        """Refuse; see `scatter`."""
        raise NotImplementedError

    def _over(self, pattern: Pattern) -> ArrayPass:
        """Return a pass over the rows of a pattern, in the features that they have.

        It is made anew for each call: the scratch arrays of thousands of passes would fill the
        memory.
        """
        return ArrayPass(
            pattern.X, pattern.sample_weight, self.n_components, self.covariance_type,
            self.n_threads,
        )  # fmt: skip

    def expectation(self, mixture: Mixture, shift: Float64Array | None = None) -> Statistics:
        """Run the E-step; see `Pass.expectation`.

        The statistics are the expected ones of the complete samples, given the observed values. The
        log-likelihood is that of the observed values.

        Raises
        ------
        NoDensityError
            If the density of a row is 0 under every component. The message names the row.
        IllDefinedCovarianceError
            If a covariance is so ill-conditioned that its Cholesky factorisation fails after the
            features are reordered.
        """
        origin = mixture.means if shift is None else shift
        kind, (K, D) = mixture.kind, mixture.means.shape
        values = np.zeros(n_sums(kind, K, D))
        sums = views(values, K, D)
        for patterns, (mixtures, order, ordered) in groups(self.patterns, mixture):
            parts = np.stack(
                [
                    self._values(pattern, marginal, shift)
                    for pattern, marginal in zip(patterns, mixtures, strict=True)
                ]
            )
            q = len(patterns[0].observed)
            if q == D:
                values += parts[0]
                continue
            part = views(parts, K, q)
            sums.head[:] += part.head.sum(axis=0)
            kind.add_incomplete(
                sums.first, sums.moments, (part.counts, part.first, part.moments), mixture.means,
                mixture.prepared.precisions_cholesky, ordered, origin, order,
            )  # fmt: skip
        return Statistics(values, origin, self.covariance_type)

    def _values(
        self, pattern: Pattern, marginal: Prepared, shift: Float64Array | None
    ) -> Float64Array:
        """Return the values of the statistics of a pattern's rows, in the features they have."""
        if len(pattern.observed) == 0:
            K = self.n_components
            values = np.zeros(n_sums(COVARIANCE_TYPES[self.covariance_type], K, 0))
            sums = views(values, K, 0)
            sums.weight[:] = pattern.weight
            sums.counts[:] = pattern.weight * _prior(marginal)
            sums.log_likelihood[:] = pattern.weight * marginal.log_total_weight
            return values
        origin = None if shift is None else np.ascontiguousarray(shift[:, pattern.observed])
        try:
            return self._over(pattern).accumulate(marginal, origin).values
        except NoDensityError as error:
            log_likelihood = np.empty(len(pattern.rows), self.X.dtype)
            self._over(pattern).evaluate(marginal, log_likelihood=log_likelihood)
            row = pattern.rows[np.argmin(log_likelihood)]
            raise NoDensityError(int(row), incomplete=True) from error

    def mean_log_likelihood(self, mixture: Mixture) -> float:
        """Return the weighted mean of the log-likelihoods of the observed values."""
        sums = np.zeros(2)
        for patterns, (mixtures, _, _) in groups(self.patterns, mixture):
            for pattern, marginal in zip(patterns, mixtures, strict=True):
                if len(pattern.observed):
                    sums += self._over(pattern).log_likelihood(marginal)
                else:
                    sums += pattern.weight * marginal.log_total_weight, pattern.weight
        return float(sums[0] / sums[1])

    def evaluate(
        self,
        mixture: Mixture,
        *,
        log_likelihood: FloatArray | None = None,
        responsibilities: FloatArray | None = None,
        labels: Labels | None = None,
    ) -> int:
        """Fill the arrays that are given; see `ArrayPass.evaluate`.

        A row without any value has the weights as responsibilities. Its log-likelihood is the
        logarithm of their sum, which is 0 for a mixture.
        """
        outputs = {
            "log_likelihood": log_likelihood,
            "responsibilities": responsibilities,
            "labels": labels,
        }
        wanted = {name: array for name, array in outputs.items() if array is not None}
        prior = _prior(mixture.prepared)
        without_values: dict[str, Any] = {
            "log_likelihood": mixture.prepared.log_total_weight, "responsibilities": prior,
            "labels": prior.argmax(),
        }  # fmt: skip
        count = 0
        for patterns, (mixtures, _, _) in groups(self.patterns, mixture):
            for pattern, marginal in zip(patterns, mixtures, strict=True):
                if len(pattern.observed) == 0:
                    for name, array in wanted.items():
                        array[pattern.rows] = without_values[name]
                    continue
                made: dict[str, AnyArray] = {
                    name: np.empty((len(pattern.rows), *array.shape[1:]), array.dtype)
                    for name, array in wanted.items()
                }
                count += self._over(pattern).evaluate(marginal, **made)
                for name, array in wanted.items():
                    array[pattern.rows] = made[name]
        return count


def _prior(prepared: Prepared) -> Float64Array:
    """Return the responsibilities of a sample without any value, which are the weights."""
    shares: Float64Array = prepared.weights / prepared.weights.sum()
    return shares


def fill_with_means(
    X: FloatArray, sample_weight: Float64Array | None
) -> tuple[FloatArray, Float64Array]:
    """Replace missing values by the means of their features.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    filled : ndarray of shape (n_samples, n_features)
    lacking : ndarray of shape (n_features,)
        The variance that each feature loses when its missing values are replaced by their mean. It
        is added to the variances of the start. Otherwise a cluster in which a feature is always
        missing would start with a variance of 0.

    Raises
    ------
    ValueError
        If a feature has no value at all.
    """
    known = ~np.isnan(X)
    weight = known if sample_weight is None else known * sample_weight[:, None]
    total = weight.sum(axis=0, dtype=np.float64)
    if not total.all():
        column = int(np.argmin(total))
        raise ValueError(
            f"X[:, {column}] has no value that is not NaN in the rows of positive weight. (If X is "
            "large, these are the rows of the subset for the start, see init_size.) Leave this "
            "feature out."
        )
    # Means and variances are taken about a value of each feature, as data may have a large offset.
    shift = X[(weight > 0).argmax(axis=0), np.arange(X.shape[1])].astype(np.float64)
    difference = np.where(known, X - shift, 0.0)
    moved = np.einsum("nd,nd->d", weight, difference, dtype=np.float64) / total
    difference = np.where(known, difference - moved, 0.0)
    filled = np.where(known, X, (shift + moved).astype(X.dtype))
    share = 1 - total / (len(X) if sample_weight is None else sample_weight.sum())
    return filled, share * np.einsum("nd,nd,nd->d", weight, difference, difference) / total
