"""The Kullback-Leibler divergence between mixtures, by sampling."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gmm_core.infer.draw import draw
from gmm_core.infer.score import FittedMixture, log_likelihood


class KLDivergence(NamedTuple):
    """An estimate of a Kullback-Leibler divergence, in nats.

    Attributes
    ----------
    estimate : float
        The mean of log p(x) − log q(x) over samples of p. It may be negative if the divergence is
        smaller than the standard error.
    standard_error : float
        The standard deviation of these differences divided by the root of their number.
    """

    estimate: float
    standard_error: float


def kl_divergence(
    p: FittedMixture, q: FittedMixture, n_samples: object, random_state: np.random.RandomState
) -> KLDivergence:
    """Return an estimate of KL(p ‖ q) from samples of p."""
    X, _ = draw(p.prepared, n_samples, random_state, p.box)
    difference = log_likelihood(X, p).astype(np.float64) - log_likelihood(X, q)
    n = len(difference)
    if n < 2:
        raise ValueError(f"n_samples should be at least 2 for a standard error, got {n_samples}")
    mean = float(difference.mean())
    if not math.isfinite(mean):
        return KLDivergence(mean, math.nan)
    return KLDivergence(mean, float(difference.std(ddof=1)) / math.sqrt(n))
