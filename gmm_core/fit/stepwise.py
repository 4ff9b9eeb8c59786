"""Stepwise EM for streams of samples (Cappé & Moulines 2009, Liang & Klein 2009).

The sum of the statistics over all samples is replaced by a running mean,
s ← (1 − γ) s + γ s(batch), and an M-step follows every batch.
"""

from __future__ import annotations

import math

import numpy as np

from gmm_core.core.types import Float64Array, Indices
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.statistics import Statistics

# The count of a component never falls below this share of the samples, unless it is 0.
_FAINTEST = 1e-8


def rows_of_a_start(n_components: int, n_features: int) -> int:
    """Return the number of samples that are collected before the stream begins.

    It is also the largest number of samples between two M-steps.
    """
    return 20 * n_components * n_features


def rows_of_first_fit(n_components: int) -> int:
    """Return the number of samples from which a first, provisional fit is made."""
    return max(2, n_components)


def rows_to_collect(weight: Float64Array, room: int) -> tuple[Indices, int]:
    """Return the first `room` rows with a positive weight, and the row at which the rest begins."""
    rows = np.flatnonzero(weight)[: max(room, 0)]
    return rows, int(rows[-1]) + 1 if len(rows) else 0


def step_size(seen: float, weight: float, knee: float, learning_decay: float) -> float:
    """Return the step γ of a batch: the share that it gets in the running mean.

    Sample n has the step γ(n) = 1 / n until n = knee, and knee^(α − 1) / n^α after that. A batch
    makes the steps of its samples at once, 1 − γ = Π (1 − γ(n)) ≈ exp(−∫ γ(n) dn), so that the
    division into batches hardly matters.

    Parameters
    ----------
    seen : float
        Number of samples before the batch.
    weight : float
        Number of samples in the batch.
    knee : float
        The number of samples at which the steps change from 1 / n to the slower decay.
    learning_decay : float
        The exponent α.

    Returns
    -------
    float
        A number in [0, 1]; 1 if there is no past.
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


def mixed(past: Statistics, batch: Statistics, step: float) -> Statistics:
    """Return the running mean (1 − γ) past + γ batch / weight of the batch.

    The count of a component that gets no samples decreases, but not below the share _FAINTEST of
    the samples, so that the component can grow again.

    Parameters
    ----------
    past : Statistics
        Statistics of total weight 1, about their own means.
    batch : Statistics
        Statistics about the same origins, of any total weight.
    step : float
        The step γ.

    Returns
    -------
    Statistics
        About the same origins, with total weight 1.
    """
    kept = Statistics((1 - step) * past.values, past.shift, past.covariance_type)
    counts = kept.counts
    faint = (counts > 0) & (counts < _FAINTEST)
    if faint.any():
        growth = np.where(faint, _FAINTEST / np.where(faint, counts, 1), 1.0)
        counts *= growth
        COVARIANCE_TYPES[past.covariance_type].scale_components(kept.moments, growth)
    values = kept.values + step / batch.weight * batch.values
    return Statistics(values, past.shift, past.covariance_type)
