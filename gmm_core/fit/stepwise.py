"""Stepwise EM: statistics that follow a stream (Cappé & Moulines 2009, Liang & Klein 2009).

A running mean of the statistics of a sample, s ← (1 − γ) s + γ s(batch), takes the place of their
sum, and every batch is followed by an M-step.
"""

from __future__ import annotations

import math

import numpy as np

from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.statistics import Statistics

_FAINTEST = 1e-8  # share of the samples


def rows_of_a_start(n_components: int, n_features: int) -> int:
    """Return how many samples are collected before the stream begins.

    It is also the largest number of samples between two M-steps.
    """
    return 20 * n_components * n_features


def rows_of_first_fit(n_components: int) -> int:
    """Return the number of samples from which a first, provisional fit is made."""
    return max(2, n_components)


def step_size(seen: float, weight: float, knee: float, learning_decay: float) -> float:
    """Return how much a batch counts against the past.

    A sample has the step γ(n) = 1 / n until n = knee, then knee^(α − 1) / n^α. A batch is many such
    steps at once, whatever the batches are: 1 − γ = Π (1 − γ(n)) ≈ exp(−∫ γ(n) dn).

    Parameters
    ----------
    seen : float
        Number of samples before the batch.
    weight : float
        Number of samples of the batch.
    knee : float
    learning_decay : float
        α.
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
    """Return (1 − γ) past + γ batch, both per sample and about the means of the past.

    A component that gets no samples fades, but to a share of _FAINTEST at least, so that it may
    come back.
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
