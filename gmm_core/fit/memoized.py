"""Memoised variational inference: an update after every batch (Hughes & Sudderth 2013).

The statistics of each batch are kept. When a batch has been read again, its new statistics replace
the old ones in the sum over all batches, and the posterior is updated. With the conjugate
posterior, this is coordinate ascent in the responsibilities of one batch and in the posterior, so
that the bound never falls (Neal & Hinton 1998).
"""

from __future__ import annotations

from typing import NamedTuple

from gmm_core.core.errors import NoDensityError
from gmm_core.core.types import Float64Array
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.batches import BatchPass
from gmm_core.fit.loop import Algorithm
from gmm_core.fit.variational import Inferred, bound_of, has_drifted, moments_of, scaled
from gmm_core.model.posterior import Moments, Posterior, Prior, expected_log_joint, update
from gmm_core.model.statistics import Statistics


class _Kept(NamedTuple):
    """What is kept of a batch."""

    n_samples: int
    statistics: Statistics
    entropy: float  # of the responsibilities


class _Memoized:
    """The steps of memoised variational inference, with what is kept of the batches."""

    def __init__(
        self, data: BatchPass, prior: Prior, reg_covar: Float64Array, conjugate: bool, unit: float
    ) -> None:
        self.data = data
        self.prior = prior
        self.reg_covar = reg_covar
        self.conjugate = conjugate
        self.unit = unit
        self.kept: list[_Kept] = []
        # The result that `kept` belongs to.
        self.result: Inferred | None = None

    def expectation(self, before: Inferred) -> Statistics:
        """Read all batches, and return the sum of their statistics."""
        known = self.result is before
        self.result = None  # an error leaves some batches without statistics
        return self.pass_with_updates(before) if known else self.full_pass(before)

    def maximization(self, statistics: Statistics, before: Inferred) -> Inferred:
        """Return the posterior that the sum leads to."""
        posterior, moments = self.posterior_of(statistics)
        if has_drifted(moments, statistics.shift, posterior):
            posterior, moments = self.posterior_of(self.full_pass(before, moments.means))
        entropy = sum(batch.entropy for batch in self.kept)
        bound = bound_of(moments, entropy, posterior, self.prior)
        self.result = Inferred(posterior, moments, entropy, bound)
        return self.result

    def posterior_of(self, statistics: Statistics) -> tuple[Posterior, Moments]:
        """Return the posterior that statistics of all samples lead to, and their moments."""
        moments = moments_of(statistics, self.data.n_threads)
        kind = self.data.covariance_type
        return update(moments, self.prior, self.reg_covar, kind, self.conjugate), moments

    def full_pass(self, before: Inferred, origins: Float64Array | None = None) -> Statistics:
        """Read all batches with one posterior, and begin to keep their statistics."""
        shift = before.posterior.mixture.means if origins is None else origins
        self.kept = [
            self.read(start, batch, before.posterior, shift) for start, batch in self.data.passes()
        ]
        return _sums_from_each(self.kept)[0]

    def pass_with_updates(self, before: Inferred) -> Statistics:
        """Read all batches, and update the posterior after each but the last."""
        old, posterior, shift = self.kept, before.posterior, self.kept[0].statistics.shift
        unread = _sums_from_each(old)
        self.kept, done = [], None
        for i, (start, batch) in enumerate(self.data.passes()):
            if i == len(old) or batch.n_samples != old[i].n_samples:
                raise ValueError(
                    f"batches must be the same in every pass: batch {i}, not counting empty ones, "
                    f"has {batch.n_samples} rows in this pass, but not in the first"
                )
            if done is not None:
                posterior, _ = self.posterior_of(done + unread[i])
            self.kept.append(self.read(start, batch, posterior, shift))
            new = self.kept[-1].statistics
            done = new if done is None else done + new
        assert done is not None  # there are samples
        return done

    def read(
        self, start: int, batch: ArrayPass, posterior: Posterior, shift: Float64Array
    ) -> _Kept:
        """Run the E-step for a batch that has `start` rows before it."""
        try:
            statistics = scaled(batch.expectation(posterior.mixture, shift), self.unit)
        except NoDensityError as error:
            raise NoDensityError(start + error.row, error.incomplete) from error
        if not statistics.weight:  # there are no moments
            return _Kept(batch.n_samples, statistics, 0.0)
        joint = expected_log_joint(moments_of(statistics, self.data.n_threads), posterior)
        return _Kept(batch.n_samples, statistics, statistics.log_likelihood - joint)


def _sums_from_each(kept: list[_Kept]) -> list[Statistics]:
    """Return the sums of the statistics over each batch and all that follow it.

    With these, no statistics are ever subtracted, so that counts cannot become negative.
    """
    sums = [kept[-1].statistics]
    for batch in kept[-2::-1]:
        sums.append(batch.statistics + sums[-1])
    return sums[::-1]


def memoized_inference(
    data: BatchPass, prior: Prior, reg_covar: Float64Array, conjugate: bool, unit: float
) -> Algorithm[Inferred]:
    """Return the steps of memoised inference; see `variational_inference` for the parameters.

    An iteration is a pass over the batches. In the first one after a start, all batches are read
    with the posterior of the start. If the means move so far from the origins of the statistics
    that these lose digits, all batches are read again, with the posterior before the pass and about
    the new means.
    """
    steps = _Memoized(data, prior, reg_covar, conjugate, unit)
    return Algorithm(
        steps.expectation, steps.maximization, lambda statistics, before, after: after.bound,
        lambda last: last.bound,
    )  # fmt: skip
