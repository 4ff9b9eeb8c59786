"""Stepwise EM: statistics that follow a stream (Cappé & Moulines 2009, Liang & Klein 2009).

A running mean of the statistics of a sample, s ← (1 − γ) s + γ s(batch), takes the place of their
sum, and every batch is followed by an M-step.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.frames import Names
from gmm_core.parameters import Parameters
from gmm_core.statistics import RegCovar, Statistics
from gmm_core.validation import FloatArray

Float64Array = npt.NDArray[np.float64]

_FAINTEST = 1e-8    # share of the samples


class Collected(NamedTuple):
    """The first samples of a stream, until they are enough for a start.

    Attributes
    ----------
    X : list of ndarray of shape (n_samples, n_features)
    sample_weight : list of ndarray of shape (n_samples,)
    n_fitted : int
        Samples that the present parameters were found from; 0 before there are any.
    names : ndarray of object, or None
    """

    X: list[FloatArray]
    sample_weight: list[Float64Array]
    n_fitted: int
    names: Names | None

    @property
    def n_samples(self) -> int:
        """Number of samples collected so far."""
        return sum(map(len, self.X))


class Stream(NamedTuple):
    """Where a stream is.

    Attributes
    ----------
    parameters : Parameters
    statistics : Statistics
        Mean of the statistics of a sample, about the means of the parameters.
    memory : float
        Total weight of the past after forgetting, in units of the mean weight.
    """

    parameters: Parameters
    statistics: Statistics
    memory: float


def rows_of_a_start(n_components: int, n_features: int) -> int:
    """Samples to collect before the stream begins, and the most between two M-steps."""
    return 20 * n_components * n_features


def rows_of_first_fit(n_components: int) -> int:
    """Return the number of samples from which a first, provisional fit is made."""
    return max(2, n_components)


def step_size(seen: float, weight: float, knee: float, learning_decay: float) -> float:
    """How much a batch counts against the past.

    A sample has the step γ(n) = 1 / n until n = knee, then knee^(α − 1) / n^α. A batch is many such
    steps at once: 1 − γ = Π (1 − γ(n)) ≈ exp(−∫ γ(n) dn), whatever the batches are.
    """
    if seen <= 0:
        return 1.0
    end = seen + weight
    integral = 0.0
    if learning_decay == 1:
        knee = end
    if seen < knee:
        integral += math.log1p((min(end, knee) - seen) / seen)
    if end > knee:
        start, rate = max(seen, knee), 1 - learning_decay
        growth = math.expm1(rate * math.log1p((end - start) / start))
        integral += math.pow(start / knee, rate) * growth / rate
    return -math.expm1(-integral)


def about_means(statistics: Statistics, means: Float64Array) -> Statistics:
    """The same statistics with the means that they have as origins, so with first moments of 0.

    Σ r (x − μ)(x − μ)ᵀ = Σ r (x − c)(x − c)ᵀ − s sᵀ / N for μ = c + s / N.
    """
    K, D = statistics.shift.shape
    counts, first, second = np.split(statistics.values[2:], [K, K + K * D])
    s = first.reshape(K, D)
    move = np.divide(s, counts[:, None], out=np.zeros((K, D)), where=counts[:, None] > 0)
    i, j = np.tril_indices(D)
    if statistics.covariance_type == "tied":
        # T + Σ Q_kl (c_k − c_l)(c_k − c_l)ᵀ is the scatter about the origins (src/tied.pxd)
        T, Q = second[: len(i)], second[len(i) :]
        k, other = np.tril_indices(K)
        apart = statistics.shift[k] - statistics.shift[other]
        within = T + np.einsum("pi,pj->ij", Q[:, None] * apart, apart)[i, j]
        within -= np.einsum("kt,kt->t", s[:, i], move[:, j])
        moments = np.concatenate([within, np.zeros(len(Q))])
    elif statistics.covariance_type == "full":
        moments = second - (s[:, i] * move[:, j]).ravel()
    elif statistics.covariance_type == "diag":
        moments = second - (s * move).ravel()
    else:
        moments = second - np.einsum("kd,kd->k", s, move)
    values = np.concatenate([statistics.values[:2], counts, np.zeros(K * D), moments])
    return Statistics(values, means, statistics.covariance_type)


def statistics_of(parameters: Parameters, reg_covar: RegCovar) -> Statistics:
    """The statistics, for a weight of 1, that the M-step makes these parameters of."""
    weights, kind = parameters.weights, parameters.covariance_type
    K, D = parameters.means.shape
    i, j = np.tril_indices(D)
    regular = np.full(D, reg_covar, np.float64)
    covariances = parameters.covariances
    if kind == "tied":
        moments = np.concatenate(
            [(covariances - np.diag(regular))[i, j], np.zeros(K * (K + 1) // 2)]
        )
    elif kind == "full":
        moments = (weights[:, None] * (covariances - np.diag(regular))[:, i, j]).ravel()
    elif kind == "diag":
        moments = (weights[:, None] * (covariances - regular)).ravel()
    else:
        moments = weights * D * (covariances - regular.mean())
    values = np.concatenate([[0.0, 1.0], weights, np.zeros(K * D), moments])
    return Statistics(values, parameters.means, kind)


def mixed(past: Statistics, batch: Statistics, step: float) -> Statistics:
    """(1 − γ) past + γ batch, of a sample each; both about the means of the past.

    A component that gets no samples fades, but to no less than _FAINTEST: it may come back.
    """
    K, D = past.shift.shape
    kept = (1 - step) * past.values
    counts, second = kept[2 : 2 + K], kept[2 + K + K * D :]
    faint = (counts > 0) & (counts < _FAINTEST)
    if faint.any():
        growth = np.where(faint, _FAINTEST / np.where(faint, counts, 1), 1.0)
        counts *= growth
        if past.covariance_type != "tied":      # which has one scatter for all
            second.reshape(K, -1)[:] *= growth[:, None]
    values = kept + step / batch.weight * batch.values
    return Statistics(values, past.shift, past.covariance_type)
