"""The additive statistics of a pass over the data.

In Python only this file knows their layout; the kernels use the same one (src/rows.pxd).

They are, in this order: the log-likelihood, the total weight, the counts N_k = Σ w r_k (K), the
first moments Σ w r_k (x − c_k) about origins c_k (K, D), and the second moments about the same
origins, packed in the form of the covariance type. All sums are over the samples, with weights w
and responsibilities r_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gmm_core.core.types import Float64Array
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType, covariance_type_of
from gmm_core.model.covariance.base import moves

_FLOAT64 = np.dtype(np.float64)


class Sums(NamedTuple):
    """Views of the parts of the statistics, or of a stack of statistics.

    Attributes
    ----------
    head : ndarray of shape (..., 2 + K)
        The log-likelihood, the total weight and the counts together.
    log_likelihood : ndarray of shape (..., 1)
        The log-likelihood alone.
    weight : ndarray of shape (..., 1)
        The total weight alone.
    counts : ndarray of shape (..., K)
        The counts alone.
    first : ndarray of shape (..., K, D)
        The first moments.
    moments : ndarray of shape (..., n_moments)
        The second moments.
    """

    head: Float64Array
    log_likelihood: Float64Array
    weight: Float64Array
    counts: Float64Array
    first: Float64Array
    moments: Float64Array


def views(values: Float64Array, n_components: int, n_features: int) -> Sums:
    """Return views of the parts of `values`, which has the statistics along its last axis."""
    K, D = n_components, n_features
    first = values[..., 2 + K : 2 + K + K * D]
    return Sums(
        values[..., : 2 + K],
        values[..., :1],
        values[..., 1:2],
        values[..., 2 : 2 + K],
        first.reshape(*values.shape[:-1], K, D),
        values[..., 2 + K + K * D :],
    )


def n_sums(kind: CovarianceType, n_components: int, n_features: int) -> int:
    """Return the length of the statistics of a mixture of this type and size."""
    K, D = n_components, n_features
    return 2 + K + K * D + kind.n_moments(K, D)


@dataclass(slots=True, eq=False)
class Statistics:
    """The sums over samples that an M-step needs; the statistics of two parts of the data add up.

    Each sample is counted with its weight w and its responsibility r_k. Each argument is also an
    attribute. `sufficient_statistics` and `accumulate` compute statistics.

    Parameters
    ----------
    values : ndarray of shape (n_sums,), float64
        The log-likelihood, the total weight, the counts N_k = Σ w r_k (K), the first moments
        Σ w r_k (x − c_k) (K, D), and the second moments about c_k in the packed form of the
        covariance type. `counts`, `first` and `moments` are views of its parts.
    shift : ndarray of shape (K, D), float64
        The origins c_k of the moments.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        The type that decides the form of the second moments. 'full' has the lower triangle of
        Σ w r_k (x − c_k)(x − c_k)ᵀ for each component, by rows; 'diag' has its diagonal and
        'spherical' its trace. 'tied' has two lower triangles T (D, D) and Q (K, K); the sum of
        these matrices over the components is T + Σ_k>l Q_kl (c_k − c_l)(c_k − c_l)ᵀ.

    Raises
    ------
    ValueError, TypeError
        If an array has another shape or dtype, or there is no type of that name.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import sufficient_statistics
    >>> X = np.array([[1.0], [3.0]])
    >>> statistics = sufficient_statistics(X, np.ones((2, 1)), "diag", shift=np.zeros((1, 1)))
    >>> statistics.counts.tolist(), statistics.first.tolist(), statistics.moments.tolist()
    ([2.0], [[4.0]], [10.0])
    >>> (statistics + statistics).counts.tolist()
    [4.0]
    """

    values: Float64Array
    shift: Float64Array
    covariance_type: str

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check the shapes and dtypes that the kernels rely on.

        An array that is not aligned or not in C order is replaced by a copy.

        Raises
        ------
        ValueError, TypeError
            If an array has another shape or dtype, or there is no type of that name.
        """
        kind = covariance_type_of(self.covariance_type)
        for name, array, ndim in (("values", self.values, 1), ("shift", self.shift, 2)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} should be an ndarray, but got {type(array).__name__}")
            if array.dtype != _FLOAT64 or array.ndim != ndim or not array.size:
                raise ValueError(
                    f"{name} has dtype {array.dtype} and shape {array.shape}, expected float64 and "
                    + ("(n_components, n_features)" if ndim == 2 else "(n_sums,)")
                )
            flags = array.flags
            # An array received over a network is an example of one that is not aligned.
            if not (flags.c_contiguous and flags.aligned):
                setattr(self, name, np.require(array, requirements=["C", "A"]))
        expected = n_sums(kind, *self.shift.shape)
        if len(self.values) != expected:
            raise ValueError(
                f"values has {len(self.values)} sums, expected {expected} for "
                f"{self.covariance_type!r} and a shift of shape {self.shift.shape}"
            )

    @classmethod
    def unchecked(
        cls, values: Float64Array, shift: Float64Array, covariance_type: str
    ) -> Statistics:
        """Make statistics from arrays that a kernel has filled, without checking them.

        Parameters
        ----------
        values, shift, covariance_type
            The arguments of the constructor.

        Returns
        -------
        Statistics
        """
        statistics = cls.__new__(cls)
        statistics.values, statistics.shift = values, shift
        statistics.covariance_type = covariance_type
        return statistics

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Statistics):
            return NotImplemented
        return (
            self.covariance_type == other.covariance_type
            and np.array_equal(self.shift, other.shift)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]     # mutable

    @property
    def log_likelihood(self) -> float:
        """The log-likelihood Σ w log p(x), in nats."""
        return float(self.values[0])

    @property
    def weight(self) -> float:
        """The sum of the sample weights."""
        return float(self.values[1])

    @property
    def mean_log_likelihood(self) -> float:
        """The weighted mean of the samples' log-likelihoods, in nats per sample."""
        return float(self.values[0] / self.values[1])

    @property
    def counts(self) -> Float64Array:
        """The counts N_k = Σ w r_k, of shape (K,)."""
        return views(self.values, *self.shift.shape).counts

    @property
    def first(self) -> Float64Array:
        """The first moments Σ w r_k (x − c_k), of shape (K, D)."""
        return views(self.values, *self.shift.shape).first

    @property
    def moments(self) -> Float64Array:
        """The second moments about the origins, in the packed form of the covariance type."""
        return views(self.values, *self.shift.shape).moments

    @property
    def means(self) -> Float64Array:
        """The means c_k + Σ w r_k (x − c_k) / N_k, of shape (K, D); c_k where N_k is 0."""
        with np.errstate(invalid="ignore"):     # an infinite mean is refused later
            return self.shift + moves(self.first, self.counts)

    @property
    def nbytes(self) -> int:
        """The size of `values` and `shift` in bytes."""
        return self.values.nbytes + self.shift.nbytes

    def about_means(self, means: Float64Array) -> Statistics:
        """Return the same statistics with their own means as origins.

        Parameters
        ----------
        means : ndarray of shape (K, D)
            The means of the statistics, which the caller has computed already. The first moments
            about them are 0.

        Returns
        -------
        Statistics
            The log-likelihood, the total weight and the counts are unchanged.
        """
        values = np.zeros(len(self.values))
        old, new = (views(array, *self.shift.shape) for array in (self.values, values))
        new.head[:] = old.head
        new.moments[:] = COVARIANCE_TYPES[self.covariance_type].moments_about_means(
            old.moments, old.counts, old.first, self.shift
        )
        return Statistics(values, means, self.covariance_type)

    def __radd__(self, other: object) -> Statistics:
        """Return the statistics themselves if `other` is 0, with which sum() begins."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __add__(self, other: object) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        same_type = self.covariance_type == other.covariance_type
        if not (same_type and np.array_equal(self.shift, other.shift)):
            raise ValueError("only statistics of one covariance type about one shift can be added")
        return Statistics(self.values + other.values, self.shift, self.covariance_type)


def statistics_of(
    weights: Float64Array,
    means: Float64Array,
    covariances: Float64Array,
    covariance_type: str,
    reg_covar: Float64Array,
) -> Statistics:
    """Return statistics of total weight 1 from which the M-step recovers these parameters.

    Parameters
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : ndarray in the shape of the type
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : ndarray of shape (D,)
        The regularisation that the M-step adds to the variances.

    Returns
    -------
    Statistics
        The origins are the means.
    """
    kind = COVARIANCE_TYPES[covariance_type]
    values = np.zeros(n_sums(kind, *means.shape))
    sums = views(values, *means.shape)
    sums.weight[:] = 1.0
    sums.counts[:] = weights
    sums.moments[:] = kind.moments_of(weights, covariances, reg_covar)
    return Statistics(values, means, covariance_type)


def side_by_side(parts: Sequence[Statistics], covariance_type: str) -> Statistics:
    """Return the statistics of a mixture whose components have samples of their own.

    Parameters
    ----------
    parts : sequence of Statistics
        The statistics of each component and its samples, as a mixture of one full component.
    covariance_type : str
        The covariance type of the result.
    """
    kind = COVARIANCE_TYPES[covariance_type]
    shift = np.concatenate([part.shift for part in parts])
    values = np.empty(n_sums(kind, *shift.shape))
    sums = views(values, *shift.shape)
    sums.log_likelihood[:] = sum(part.log_likelihood for part in parts)
    sums.weight[:] = sum(part.weight for part in parts)
    sums.counts[:] = [part.counts[0] for part in parts]
    sums.first[:] = [part.first[0] for part in parts]
    second = np.stack([part.moments for part in parts])
    sums.moments[:] = kind.moments_of_each(second, shift.shape[1])
    return Statistics(values, shift, covariance_type)
