"""A mixture as a probability distribution: what can be asked of it without data."""

from __future__ import annotations

from gmm_core.sklearn_api import Estimator


class Distribution(Estimator):
    """The base class of fitted mixtures, with the methods that need only their parameters."""

    __slots__ = ()
