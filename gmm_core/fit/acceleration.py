"""Acceleration of EM by extrapolation: limited-memory BFGS, or SQUAREM.

EM moves parameters θ to EM(θ) = θ + f. Let I be the information of the complete data, that is of
samples with known components. Up to terms of second order, f = I⁻¹ ∇L for the log-likelihood L. In
coordinates in which I is the identity, f is therefore the gradient of L as well as the step of EM,
and the Hessian is −(1 − R), where the symmetric R, with eigenvalues from 0 up, is the share of the
information that is missing (Dempster, Laird & Rubin 1977). EM is slow where eigenvalues of R are
close to 1. L-BFGS learns these directions from the last passes, and multiplies f by an estimate of
(1 − R)⁻¹ (Jamshidian & Jennrich 1997).

SQUAREM (Varadhan & Roland 2008) learns from two steps of EM alone, θ → θ₁ → θ₂. With r = θ₁ − θ and
v = (θ₂ − θ₁) − r it extrapolates to θ − 2α r + α² v, where α = −|r| / |v|, or −1 if that is
larger; α = −1 yields θ₂. The pass there makes a step of EM, and from this the next two begin.

The coordinates are log weights, means, and the log-Cholesky coordinates of the factors of the
precisions, all relative to an origin and scaled by the square root of I at the origin: changes of
log π_k by √π_k, moves of the mean by √π_k U_kᵀ, and the coordinates of `CovarianceType` by √π_k.
Any numbers are the coordinates of a mixture.

A pass at θ yields L(θ) and EM(θ). So a pass at extrapolated parameters, a trial, costs no more than
a step of EM. If its log-likelihood is lower than that of the pass before, the trial is rejected,
and the fit goes back to the step of EM from that pass. So the log-likelihood of what a fit keeps
never falls.

With `reg_covar`, EM does not maximise L: given the counts N_k, an M-step that adds it to the
covariances maximises the expected log-likelihood minus Σ_k N_k tr(diag(reg_covar) Σ_k⁻¹) / 2. So
trials are judged by L minus this penalty, with the same counts for the trial and the pass before.
The log-likelihood may then fall a little, as it may in steps of EM.

All this holds for variational inference too, with the lower bound in place of the log-likelihood.

References
----------
M. Jamshidian, R. I. Jennrich, Acceleration of the EM algorithm by using quasi-Newton methods,
Journal of the Royal Statistical Society B 59 (1997).
J. Nocedal, Updating quasi-Newton matrices with limited storage, Mathematics of Computation 35
(1980).
R. Varadhan, C. Roland, Simple and globally convergent methods for accelerating the convergence of
any EM algorithm, Scandinavian Journal of Statistics 35 (2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import NumericalError
from gmm_core.core.types import AccelerationName, Float64Array
from gmm_core.fit.loop import Algorithm, P, Taken, has_converged, step
from gmm_core.fit.memory import Memory, Pair, Point, Step, Trial, dot
from gmm_core.model.covariance import CovarianceType

Mask = npt.NDArray[np.bool_]

# These numbers were chosen by measurements on the problems of benchmarks/acceleration.py.
_SLOW = 2e-4    # EM is accelerated after a pass that gains less than so many nats per sample: long
                # steps where EM itself is fast often lead to another optimum than EM's
_WORTH = 2.0    # a trial is made if its step is at least so many times as long as that of EM
_N_PAIRS = 10   # pairs of passes from which L-BFGS estimates the Hessian
_N_FEWEST = 3   # the number of pairs that are kept even if they take more than _PAIRS_BYTES, and
                # of those that are kept when a trial is rejected
_PAIRS_BYTES = 1 << 26
_N_PASSES = 20  # passes after which the origin is renewed and all pairs are forgotten
_SHRINK = 4.0   # the steps after a rejected trial are shorter than its step by this factor
_GROW = 2.0     # the steps after a trial that is kept may be longer than its step by this factor
_ALPHA = 24.0   # the largest −α of SQUAREM


class Coordinates(NamedTuple, Generic[P]):
    """The way from the parameters of an algorithm to a `Point`, and back.

    Attributes
    ----------
    kind : CovarianceType
    point : callable
        Takes parameters.
    parameters : callable
        Takes a point, a mask of shape (K or 1,) that says which rows of its factor have moved, and
        the parameters from which it has moved. Returns parameters. What has not moved keeps its
        bits, since it may be fixed.
    penalty : callable
        Takes the parameters of a pass, and those that a step of EM makes of them. Returns the
        penalty of each component for `reg_covar`, of shape (K,), for a count of 1.
    """

    kind: CovarianceType
    point: Callable[[P], Point]
    parameters: Callable[[Point, Mask, P], P]
    penalty: Callable[[P, P], Float64Array]


class Rule(NamedTuple):
    """A rule of extrapolation.

    Attributes
    ----------
    step : callable
        Takes pairs, of which there is at least one, and the move of the last pass. Returns the step
        of a trial from the position of the last pass.
    n_pairs : int
        The number of pairs that it needs.
    learns : bool
        Whether it learns the Hessian from pass to pass. If so, it needs pairs with sᵀy > 0, and the
        length of its steps is limited by a radius. If not, all is forgotten after a trial.
    """

    step: Callable[[tuple[Pair, ...], Float64Array], Float64Array]
    n_pairs: int
    learns: bool


def accelerated(
    algorithm: Algorithm[P], coordinates: Coordinates[P], name: AccelerationName
) -> Algorithm[P]:
    """Return an algorithm whose fits are accelerated by the rule of this name; see the module."""
    return algorithm._replace(steps=partial(AcceleratedSteps, _RULES[name], coordinates))


class AcceleratedSteps(Generic[P]):
    """The choice of the parameters that each pass of an accelerated fit evaluates; see `Steps`.

    A fit has converged when plain EM would stop, that is when a step of EM, and not a trial, has
    changed the bound by less than the tolerance. A step of EM gains about the square of its length.
    So the fit goes on if this square is not small, since the bound may change little by chance.

    Parameters
    ----------
    rule : Rule
    coordinates : Coordinates
    memory : Memory or None
        The memory of an interrupted fit.
    """

    def __init__(
        self, rule: Rule, coordinates: Coordinates[P], memory: Memory[P] | None
    ) -> None:
        self.rule = rule
        self.coordinates = coordinates
        self.memory: Memory[P] = Memory() if memory is None else memory
        self._last_frame: _Frame | None = None

    def take(
        self, algorithm: Algorithm[P], parameters: P, previous: float, tol: float
    ) -> Taken[P]:
        """Make a pass, and choose the parameters of the next one."""
        memory, trial = self.memory, self.memory.trial
        try:
            improved, bound = step(algorithm, parameters)
        except NumericalError:
            if trial is None:
                raise
            improved, bound = trial.fallback, math.nan
        penalty = self.coordinates.penalty(parameters, improved)
        if trial is not None:
            weights = self.coordinates.point(trial.fallback).weights[: len(penalty)]
            if not bound - previous >= dot(weights, penalty - trial.penalty):
                self.memory = memory._replace(
                    radius=trial.length / _SHRINK, pause=memory.next_pause - 1,
                    next_pause=2 * memory.next_pause, pairs=memory.pairs[-_N_FEWEST:], trial=None,
                )  # fmt: skip
                return Taken(trial.fallback, previous, False, rejected=True)
            # Until a trial has been rejected, the radius is infinite.
            radius = max(memory.radius, _GROW * trial.length)
            memory = memory._replace(radius=radius, next_pause=1, trial=None)
            if not self.rule.learns:
                self.memory = memory._replace(origin=None, last=None, pairs=())
                return Taken(improved, bound, False)
        here, there = self.coordinates.point(parameters), self.coordinates.point(improved)
        quiet = has_converged(bound - previous, tol)
        memory, frame = self._prepared(memory, here, there, bound - previous)
        last = None if frame is None else frame.between(here, there)
        tried = None
        if frame is None or last is None:
            memory = memory._replace(origin=None, last=None, pairs=())
        else:
            quiet = quiet and dot(last.move, last.move) < 2 * tol
            pairs = _with_pair(memory.pairs, memory.last, last, self.rule)
            pause = memory.pause
            memory = memory._replace(
                n_passes=memory.n_passes + 1, pause=max(pause - 1, 0), last=last, pairs=pairs
            )
            if pairs and not (quiet or pause):
                tried = self._extrapolated(memory.radius, pairs, last, frame, there, improved)
        if tried is None:
            self.memory = memory
            return Taken(improved, bound, quiet and trial is None)
        extrapolated, length = tried
        self.memory = memory._replace(trial=Trial(improved, length, penalty))
        return Taken(extrapolated, bound, False)

    def end(self, parameters: P) -> P:
        """Return the parameters, or what a trial that no pass has evaluated would fall back to."""
        trial = self.memory.trial
        return parameters if trial is None else trial.fallback

    def _prepared(
        self, memory: Memory[P], here: Point, there: Point, gain: float
    ) -> tuple[Memory[P], _Frame | None]:
        """Return the memory and the frame for a step of EM from `here` to `there`.

        The origin is renewed if it has to be. There is no frame if the pass has gained much, or if
        a component has got or lost its whole weight.
        """
        present = here.weights > 0
        if gain >= _SLOW * there.weights.sum() or ((there.weights > 0) != present).any():
            return memory, None
        origin = memory.origin
        if (
            origin is None
            or memory.n_passes == _N_PASSES
            or ((origin.weights > 0) != present).any()
        ):
            origin = here
            memory = memory._replace(n_passes=0, origin=origin, last=None, pairs=())
        if self._last_frame is None or self._last_frame.origin is not origin:
            with np.errstate(all="ignore"):
                self._last_frame = _Frame(self.coordinates.kind, origin)
        return memory, self._last_frame

    def _extrapolated(
        self,
        radius: float,
        pairs: tuple[Pair, ...],
        last: Step,
        frame: _Frame,
        there: Point,
        improved: P,
    ) -> tuple[P, float] | None:
        """Return the parameters of a trial and the length of its step, or None if there is none."""
        with np.errstate(all="ignore"):  # the result is checked
            direction = self.rule.step(pairs, last.move)
            if not dot(direction, last.move) > 0:  # it is not a direction of ascent
                return None
        length, of_em = math.sqrt(dot(direction, direction)), math.sqrt(dot(last.move, last.move))
        if not _WORTH * of_em <= length < math.inf:
            return None
        longest = max(radius, of_em) if self.rule.learns else math.inf
        if length > longest:
            direction, length = direction * (longest / length), longest
        with np.errstate(all="ignore"):
            point, moved = frame.moved(last.position, direction, there)
        if not (np.isfinite(point.weights).all() and np.isfinite(point.means).all()):
            return None
        if self.coordinates.kind.flaw_of_factor(point.factor):
            return None
        try:
            return self.coordinates.parameters(point, moved, improved), length
        except NumericalError:
            return None


def _with_pair(
    pairs: tuple[Pair, ...], before: Step | None, after: Step, rule: Rule
) -> tuple[Pair, ...]:
    """Return the pairs with that of two passes, and without the oldest if there are too many.

    L-BFGS needs sᵀy > 0. Where it is not, EM gets faster, as on its way away from a saddle, and all
    pairs are forgotten.
    """
    if before is None:
        return ()
    s, y = after.position - before.position, before.move - after.move
    product = dot(s, y)
    if not ((product > 1e-8 * dot(s, s) or not rule.learns) and dot(y, y) > 0):
        return ()
    n_kept = min(rule.n_pairs, max(_N_FEWEST, _PAIRS_BYTES // (2 * s.nbytes)))
    return (*pairs, Pair(s, y, product))[-n_kept:]


def _lbfgs(pairs: tuple[Pair, ...], move: Float64Array) -> Float64Array:
    """Return the step of L-BFGS."""
    direction, factors = move.copy(), []
    for s, y, product in reversed(pairs):
        factors.append(dot(s, direction) / product)
        direction -= factors[-1] * y
    _, y, product = pairs[-1]
    direction *= max(1.0, product / dot(y, y))  # a step of EM is never too long
    for (s, y, product), factor in zip(pairs, reversed(factors), strict=True):
        direction += (factor - dot(y, direction) / product) * s
    return direction


def _squarem(pairs: tuple[Pair, ...], move: Float64Array) -> Float64Array:
    """Return the step of SQUAREM from θ₁; the last pair has s = r and y = −v."""
    r, y, _ = pairs[-1]
    alpha = -min(max(1.0, math.sqrt(dot(r, r) / dot(y, y))), _ALPHA)
    return -(1 + 2 * alpha) * r - alpha**2 * y


_RULES: dict[AccelerationName, Rule] = {
    "squarem": Rule(_squarem, 1, learns=False),
    "lbfgs": Rule(_lbfgs, _N_PAIRS, learns=True),
}


class _Frame:
    """The coordinates relative to an origin; see the module."""

    def __init__(self, kind: CovarianceType, origin: Point) -> None:
        self.kind = kind
        self.origin = origin
        self.inverse = kind.inverse_of_factor(origin.factor)
        K, D = origin.means.shape
        rows = kind.coordinates(origin.factor, self.inverse, D)
        # A factor that all components share has the weight of all of them.
        weights = origin.weights[:K]
        of_factor = weights if len(rows) == K else weights.sum(keepdims=True)
        self.scale = np.sqrt(
            np.concatenate(
                [origin.weights, np.repeat(weights, D), np.repeat(of_factor, rows.shape[1])]
            )
        )
        self.unscale = np.divide(
            1, self.scale, out=np.zeros(len(self.scale)), where=self.scale > 0
        )
        self.shape_of_factor = rows.shape

    def between(self, here: Point, there: Point) -> Step | None:
        """Return the step from one point to another, or None if its coordinates overflow."""
        with np.errstate(all="ignore"):
            position = self.coordinates(here)
            move = self.coordinates(there) - position
        return Step(position, move) if math.isfinite(dot(move, move)) else None

    def coordinates(self, point: Point) -> Float64Array:
        """Return the coordinates of a point, all in one vector."""
        kind, origin = self.kind, self.origin
        ratios = np.divide(
            point.weights, origin.weights, out=np.ones(len(point.weights)),
            where=origin.weights > 0,
        )  # fmt: skip
        means = kind.whiten_each(point.means - origin.means, origin.factor)
        factor = kind.coordinates(point.factor, self.inverse, means.shape[1])
        position = np.concatenate([np.log(ratios), means.ravel(), factor.ravel()])
        position *= self.scale
        return position

    def moved(
        self, position: Float64Array, direction: Float64Array, before: Point
    ) -> tuple[Point, Mask]:
        """Return the point a step away from a position, and which rows of its factor have moved.

        The weights of the point sum to the same as before. What does not move is that of `before`.
        """
        kind, origin = self.kind, self.origin
        W, (K, D) = len(origin.weights), origin.means.shape
        of_factor = W + K * D
        x, moves = (position + direction) * self.unscale, direction != 0

        moving = moves[:W]
        weights = np.where(moving, origin.weights * np.exp(x[:W]), 0)
        weights *= before.weights[moving].sum() / weights.sum()
        weights = np.where(moving, weights, before.weights)

        means = origin.means + kind.whiten_each(x[W:of_factor].reshape(K, D), self.inverse)
        moving = moves[W:of_factor].reshape(K, D).any(axis=1)
        means = np.where(moving[:, np.newaxis], means, before.means)

        factor = kind.factor_at(x[of_factor:].reshape(self.shape_of_factor), origin.factor, D)
        moving = moves[of_factor:].reshape(self.shape_of_factor).any(axis=1)
        return Point(weights, means, kind.merged(before.factor, factor, moving)), moving
