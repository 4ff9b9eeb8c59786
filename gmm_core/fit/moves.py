"""Merges and deletions of components in variational inference (Hughes & Sudderth 2013)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from gmm_core.core.errors import NumericalError
from gmm_core.core.types import Float64Array, Indices
from gmm_core.fit.loop import Algorithm, Fit, iterate
from gmm_core.fit.restarts import Schedule
from gmm_core.fit.variational import Inferred
from gmm_core.model.covariance import CovarianceType
from gmm_core.model.posterior import HELD, Moments, Posterior, log_determinant

_N_MERGES = 8     # number of pairs whose merges are tried, the closest ones
_N_DELETIONS = 4  # number of components whose deletions are tried, the smallest ones
_N_NEAR = 4       # number of neighbours of each component with which pairs are considered
# A move is given up after at least so many iterations, if so many further ones with the last gain
# would not reach the bound before.
_N_TRIED = 3
_N_AHEAD = 20


class _GivenUp(Exception):
    """The iterations after a move are unlikely to reach the bound before."""


def merge_and_delete(
    fit: Fit[Inferred],
    *,
    algorithm: Algorithm[Inferred],
    posterior_of: Callable[[Moments], Posterior],
    process: bool,
    schedule: Schedule,
) -> Fit[Inferred]:
    """Try to merge and to delete components; keep each move that raises the lower bound.

    These moves are tried one after the other, merges and deletions in turn, until one is kept:

    - for a Dirichlet process, a new order of the components, by decreasing counts;
    - merges of the `_N_MERGES` pairs of components with the least Bhattacharyya distance;
    - deletions of the `_N_DELETIONS` smallest components that hold samples.

    Then they are tried again with the new components. The search ends when no move is kept, or K
    moves have been. A move is kept if it raises the bound by more than `tol`. One that fails
    numerically is not kept.

    Parameters
    ----------
    fit : Fit
        The result of variational inference.
    algorithm : Algorithm
    posterior_of : callable
        Returns the posterior that moments lead to.
    process : bool
        Whether the weights are those of a Dirichlet process, for which the order of the components
        matters. Then they are sorted by their counts after each merge or deletion.
    schedule : Schedule
        At most `max_iter` iterations are made after each move.

    Returns
    -------
    Fit
        The fit before, if no move was kept. Otherwise the fit after the last move that was kept,
        and `lower_bounds` are those since that move.
    """
    if not fit.lower_bounds:
        return fit
    n_kept = n_tried = 0

    def check(parameters: Inferred, made: list[float], memory: Any) -> None:
        if len(made) >= _N_TRIED and (
            made[-1] + _N_AHEAD * (made[-1] - made[-2]) < fit.lower_bound
        ):
            raise _GivenUp

    moves = _moves(fit.parameters, process)
    while n_kept < len(fit.parameters.moments.counts):
        moments = None if schedule.watcher.stopped else next(moves, None)
        if moments is None:
            break
        n_tried += 1
        try:
            moved = iterate(
                algorithm, Inferred(posterior_of(moments), moments, np.nan, np.nan),
                tol=schedule.tol, max_iter=schedule.max_iter,
                report=schedule.watcher.run("move", schedule.max_iter), save=check,
            )  # fmt: skip
        except (_GivenUp, NumericalError):
            continue
        if moved.lower_bound > fit.lower_bound + schedule.tol:
            fit = moved
            n_kept += 1
            moves = _moves(fit.parameters, process)
    if schedule.verbose:
        bound = f"\t lower bound {fit.lower_bound:.5f}" if schedule.verbose > 1 else ""
        print(f"  Kept {n_kept} of {n_tried} moves{bound}")
    return fit


def _moves(before: Inferred, process: bool) -> Iterator[Moments]:
    """Yield the moments after each of the moves that are tried."""
    posterior, moments = before.posterior, before.moments
    kind, counts = posterior.kind, moments.counts
    if process and (np.diff(counts) > 0).any():
        yield _sorted(moments, kind)
    by_count = np.argsort(counts, kind="stable")
    held = by_count[counts[by_count] >= HELD]
    if len(held) < 2:
        return
    merges = (merged(moments, kind, *pair) for pair in _close_pairs(posterior, held))
    deletions = (_without(moments, k) for k in held[:_N_DELETIONS])
    for in_turn in zip_longest(merges, deletions):
        for moved in in_turn:
            if moved is not None:
                yield _sorted(moved, kind) if process else moved


def merged(moments: Moments, kind: CovarianceType, k: int, other: int) -> Moments:
    """Return the moments after a merge of two components, of which the second becomes empty."""
    counts, means, covariances = moments
    precision = kind.conjugate
    both = counts[k] + counts[other]
    weights, differences = np.zeros(len(counts)), np.zeros(means.shape)
    weights[k] = counts[k] * counts[other] / both
    differences[k] = means[other] - means[k]
    scatter = precision.scatter(covariances, counts) + precision.between(weights, differences)
    if not precision.shared:
        scatter[k] += scatter[other]
        scatter[other] = 0
    means, counts = means.copy(), counts.copy()
    means[k] += counts[other] / both * differences[k]
    counts[k], counts[other] = both, 0
    n = np.asarray(counts.sum()) if precision.shared else np.where(counts > 0, counts, 1)
    return Moments(counts, means, precision.divided(scatter, n))


def _without(moments: Moments, k: int) -> Moments:
    """Return the moments without the samples of a component, which the next E-step divides up."""
    counts = moments.counts.copy()
    counts[k] = 0
    return moments._replace(counts=counts)


def _sorted(moments: Moments, kind: CovarianceType) -> Moments:
    """Return the moments with the components in the order of decreasing counts."""
    order = np.argsort(-moments.counts, kind="stable")
    return Moments(
        moments.counts[order], moments.means[order], kind.take(moments.covariances, order)
    )


def _close_pairs(posterior: Posterior, held: Indices) -> Indices:
    """Return the pairs of these components with the least distance, the closest pair first.

    It is the Bhattacharyya distance between the components, with their expected means and
    precisions. It is computed for pairs that are close to each other by their variances.

    Returns
    -------
    ndarray of shape (n_pairs, 2)
    """
    mixture, kind, D = posterior.mixture, posterior.kind, posterior.mixture.means.shape[1]
    held = np.sort(held)
    means = mixture.means[held]
    variances = kind.variances(mixture.covariances, *mixture.means.shape)[held]
    near = []
    for i in range(len(held)):
        distances = ((means - means[i]) ** 2 / (variances + variances[i])).sum(axis=1)
        distances[i] = np.inf
        for j in np.argsort(distances, kind="stable")[: min(_N_NEAR, len(held) - 1)]:
            near.append((min(i, j), max(i, j)))
    k, other = held[np.unique(near, axis=0)].T
    halves: Float64Array = (
        kind.take(mixture.covariances, k) + kind.take(mixture.covariances, other)
    ) / 2
    factors = kind.factor_covariances(halves, D)
    differences = mixture.means[k] - mixture.means[other]
    squares = np.array(
        [
            (kind.whiten(difference[np.newaxis], kind.of_component(factors, p)) ** 2).sum()
            for p, difference in enumerate(differences)
        ]
    )
    log_det = np.broadcast_to(log_determinant(posterior), len(mixture.means))
    of_shape = (log_det[k] + log_det[other]) / 2 - kind.log_det_of_factor(factors, D)
    closest = np.argsort(squares / 4 + of_shape, kind="stable")[:_N_MERGES]
    return np.stack([k, other], axis=1)[closest]
