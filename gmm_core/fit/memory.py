"""What an accelerated fit remembers from one pass to the next, also in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array
from gmm_core.fit.loop import P
from gmm_core.model.archive import Members
from gmm_core.model.archive_entries import field, is_count, is_number
from gmm_core.model.covariance import CovarianceType


class Point(NamedTuple):
    """The parameters that are accelerated.

    Attributes
    ----------
    weights : ndarray of shape (K,), or (K + 1,) with that of the noise
        Weights, or counts of samples, in the unit of which the bound is a sum: a mean
        log-likelihood belongs to weights that sum to 1.
    means : ndarray of shape (K, D)
    factor : ndarray in the shape of the covariance type
    """

    weights: Float64Array
    means: Float64Array
    factor: Float64Array


class Step(NamedTuple):
    """A step of EM: the coordinates that it starts from, and the move."""

    position: Float64Array
    move: Float64Array


class Pair(NamedTuple):
    """What a rule of extrapolation learns from two steps of EM.

    Attributes
    ----------
    s : ndarray of shape (n_coordinates,)
        The difference of the coordinates that they start from.
    y : ndarray of shape (n_coordinates,)
        The first move minus the second one.
    product : float
        sᵀy.
    """

    s: Float64Array
    y: Float64Array
    product: float


def dot(a: Float64Array, b: Float64Array) -> float:
    """Return the scalar product, without BLAS."""
    return float(np.einsum("i,i->", a, b))


class Trial(NamedTuple, Generic[P]):
    """The trial that the next pass evaluates.

    Attributes
    ----------
    fallback : Mixture, or another type that the algorithm improves
        The step of EM that the fit goes back to if the trial is rejected.
    length : float
        The length of the step of the trial.
    penalty : ndarray of shape (K,)
        The penalties of the pass before; see `Coordinates`.
    """

    fallback: P
    length: float
    penalty: Float64Array


class Memory(NamedTuple, Generic[P]):
    """What an accelerated fit remembers from one pass to the next.

    Attributes
    ----------
    radius : float
        The largest length of a step.
    pause : int
        The number of passes until the next trial.
    next_pause : int
        The pause after the next rejected trial.
    n_passes : int
        The number of passes since the origin was renewed.
    origin : Point or None
        The origin of the coordinates.
    last : Step or None
        The step of EM in the last pass whose parameters were kept; None after a new origin.
    pairs : tuple of Pair
        The pairs since the origin was renewed, the oldest first.
    trial : Trial or None
    """

    radius: float = math.inf
    pause: int = 0
    next_pause: int = 1
    n_passes: int = 0
    origin: Point | None = None
    last: Step | None = None
    pairs: tuple[Pair, ...] = ()
    trial: Trial[P] | None = None


# --- files --------------------------------------------------------------------------------------


def memory_for_file(
    memory: Memory[P], write: Callable[[str, P], dict[str, Float64Array]]
) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Return an entry of the header of a checkpoint and the arrays that hold a memory.

    Parameters
    ----------
    memory : Memory
    write : callable
        Takes a prefix and parameters, and returns arrays by name.
    """
    trial, origin, last = memory.trial, memory.origin, memory.last
    entry = {
        "radius": memory.radius,
        "pause": memory.pause,
        "next_pause": memory.next_pause,
        "n_passes": memory.n_passes,
        "trial": None if trial is None else trial.length,
        "n_pairs": None if last is None else len(memory.pairs),
    }
    arrays: dict[str, AnyArray] = {}
    if trial is not None:
        arrays |= {**write("fallback", trial.fallback), "penalty": trial.penalty}
    if origin is not None and last is not None:
        arrays |= {f"origin_{name}": array for name, array in origin._asdict().items()}
        rows = [*last, *(vector for pair in memory.pairs for vector in (pair.s, pair.y))]
        arrays["steps"] = np.stack(rows)
    return entry, arrays


def memory_from_file(
    members: Members,
    read: Callable[[Members, str], P],
    kind: CovarianceType,
    means_shape: tuple[int, int],
) -> Memory[P]:
    """Read the memory that `memory_for_file` wrote.

    Parameters
    ----------
    members : Members
        The file. The entry of its header is named 'acceleration'.
    read : callable
        Takes the file and a prefix, and returns parameters.
    kind : CovarianceType
    means_shape : tuple of int
        (K, D).

    Raises
    ------
    ValueError
        If the memory is not complete, or has values that it cannot have.
    """
    entry = field(members.header, "acceleration", lambda v: isinstance(v, dict), "an object")
    length = field(entry, "trial", lambda v: v is None or _is_length(v), "a length or null")
    memory: Memory[P] = Memory(
        float(field(entry, "radius", _is_length, "a number from 0 up")),
        field(entry, "pause", is_count, "an int from 0 up"),
        field(entry, "next_pause", lambda v: is_count(v) and v > 0, "an int from 1 up"),
        field(entry, "n_passes", is_count, "an int from 0 up"),
    )
    if length is not None:
        penalty = members.array("penalty", means_shape[:1])
        if not np.isfinite(penalty).all():
            raise ValueError("penalty has values that are not finite")
        trial = Trial(read(members, "fallback"), float(length), penalty)
        memory = memory._replace(trial=trial)
    n_pairs = field(entry, "n_pairs", lambda v: v is None or is_count(v), "an int or null")
    if n_pairs is None:
        return memory
    K, D = means_shape
    origin = Point(
        members.array("origin_weights", (None,)), members.array("origin_means", (K, D)),
        members.array("origin_factor", kind.shape(K, D)),
    )  # fmt: skip
    if len(origin.weights) not in (K, K + 1) or not (origin.weights >= 0).all():
        raise ValueError("origin_weights are not weights of the components")
    flaw = kind.flaw_of_factor(origin.factor)
    if flaw:
        raise ValueError(f"origin_factor {flaw}")
    of_factor = kind.coordinates(origin.factor, kind.inverse_of_factor(origin.factor), D)
    n_coordinates = len(origin.weights) + K * D + of_factor.size
    steps = members.array("steps", (2 + 2 * n_pairs, n_coordinates))
    if not all(np.isfinite(array).all() for array in (origin.weights, origin.means, steps)):
        raise ValueError("its memory has values that are not finite")
    position, move, *rows = steps
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return memory._replace(
        origin=origin, last=Step(position, move),
        pairs=tuple(Pair(s, y, dot(s, y)) for s, y in pairs),
    )  # fmt: skip


def _is_length(value: Any) -> bool:
    """Return whether a value is a number from 0 up, which may be infinite."""
    return is_number(value) and value >= 0
