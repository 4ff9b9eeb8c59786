"""Checkpoints: files with the state of a fit, from which the fit is resumed after a crash.

The result is bit-identical to that of an uninterrupted fit. A file with which this is not possible
is refused.
"""

from __future__ import annotations

import json
import numbers
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array
from gmm_core.core.warn import warn
from gmm_core.data.passes import Pass
from gmm_core.fit.loop import Fit, has_converged
from gmm_core.fit.memory import memory_for_file, memory_from_file
from gmm_core.fit.options import BayesianOptions, Options
from gmm_core.fit.orders import arrays_of_order, order_from
from gmm_core.fit.restarts import P, Restart, Schedule, State, restarts_from
from gmm_core.model.archive import Archive, Members, plain, write
from gmm_core.model.archive_entries import (
    are_log_likelihoods,
    field,
    is_count,
    is_flag,
    is_log_likelihood,
    is_size,
)

FORMAT = "gmm_core.checkpoint"
FORMAT_VERSION = 2  # the checksum of version 1 was the same for some different data
ACCELERATED_VERSION = 3  # the version of accelerated fits, whose files also have a memory
_GENERATOR = "MT19937"


def identity_of(
    options: Options | BayesianOptions,
    data: Pass,
    warm: Iterable[AnyArray] | None,
    order: dict[str, AnyArray],
    **others: Any,
) -> dict[str, Any]:
    """Return the options and the properties of the data that identify a fit.

    Parameters
    ----------
    options : Options or BayesianOptions
    data : Pass
    warm : iterable of ndarray, or None
        The arrays of the parameters that a warm start begins with.
    order : dict of str to ndarray
        The arrays of the order that the fit begins with; see `arrays_of_order`.
    **others
        The options that fits of one class alone have.
    """
    seed = options.random_state
    init: Any = options.init_params
    if callable(init):
        init = f"{init.__module__}.{getattr(init, '__qualname__', type(init).__name__)}"
    return {
        "n_components": options.n_components,
        "covariance_type": options.covariance_type,
        "reg_covar": np.asarray(options.reg_covar, np.float64),
        "n_init": options.n_init,
        "init_params": init,
        "init_size": options.init_size,
        "acceleration": options.acceleration,
        # The tolerance decides when an accelerated fit makes plain steps.
        **({} if options.acceleration is None else {"tol": float(options.tol)}),
        **others,
        "random_state": seed if isinstance(seed, numbers.Integral) else None,
        "skip": options.skip,
        "warm start": None if warm is None else digest_of_arrays(*warm),
        "order": digest_of_arrays(*order.values()),
        "n_samples": data.n_samples,
        "n_features": data.n_features,
        "dtype": data.dtype.name,
        "checksum of the data": data.checksum(),
    }


def digest_of_arrays(*arrays: AnyArray) -> str:
    """Return a digest of arrays."""
    import hashlib  # here, as it loads OpenSSL

    content = b"".join(array.tobytes() for array in arrays)
    return hashlib.blake2b(content, digest_size=16).hexdigest()


class Form(NamedTuple, Generic[P]):
    """The form that parameters have in a file.

    Attributes
    ----------
    write : callable
        Takes a prefix and parameters, and returns arrays by names that begin with the prefix. One
        of these names is the prefix with '_means'.
    read : callable
        Takes a file and a prefix, and returns the parameters that were written. It raises
        ValueError if an array is missing or has values that it cannot have.
    means_shape : tuple of int
        (K, D).
    """

    write: Callable[[str, P], dict[str, Float64Array]]
    read: Callable[[Members, str], P]
    means_shape: tuple[int, int]


class Checkpoint(Generic[P]):
    """A file that holds the state of one fit until the fit has ended.

    Parameters
    ----------
    path : str or path
    interval : int
        Number of iterations between two writings.
    identity : dict
        The result of `identity_of`. Only a fit with the same identity can use the state.
    schedule : Schedule
        Its `tol` and `max_iter` may differ from those that the file was written with, as long as
        the fit still passes through the state in the file.
    random_state : RandomState
        The generator that the starts are drawn with.
    subset_seed : int or None
        The seed of the subset of rows that the starts are found from; None without a subset.
    form : Form
        The form that the parameters have in the file.
    data : Pass
        The pass whose `order` is a part of the state.

    Raises
    ------
    ValueError
        If the path cannot be that of a checkpoint, or the state of the generator cannot be saved.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        interval: int,
        identity: dict[str, Any],
        schedule: Schedule,
        random_state: np.random.RandomState,
        subset_seed: int | None,
        form: Form[P],
        data: Pass,
    ) -> None:
        from pathlib import Path  # here, as it takes long to import

        self.path = Path(os.path.realpath(path))
        # Check the path now, because a failed write would end the fit midway.
        if not self.path.parent.is_dir():
            raise ValueError(f"checkpoint={os.fspath(path)!r}: its folder does not exist")
        if self.path.is_dir() or not os.access(self.path.parent, os.W_OK):
            raise ValueError(
                f"checkpoint={os.fspath(path)!r} is a folder, or its folder cannot be written to"
            )
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"checkpoint={os.fspath(path)!r} is a pipe or a device, not a file")
        generator = random_state.get_state(legacy=False)["bit_generator"]
        if generator != _GENERATOR:
            raise ValueError(
                f"random_state has the bit generator {generator}, but a checkpoint can keep only "
                f"the state of {_GENERATOR}: give an int, or numpy.random.RandomState(seed)"
            )
        self.interval = interval
        self.identity: dict[str, Any] = json.loads(json.dumps(identity, default=plain))
        self._schedule = schedule
        self._n_unsaved = 0
        self.random_state = random_state
        self.subset_seed = subset_seed
        self._form = form
        self._data = data

    def save(self, state: State[P]) -> None:
        """Replace the file in one step, at every `interval`-th call and when the fit is stopped.

        At any moment the file is either the complete old one or the complete new one.

        Raises
        ------
        OSError
            If the file cannot be written; the message names it.
        """
        self._n_unsaved += 1
        if self._n_unsaved < self.interval and not self._schedule.watcher.stopped:
            return
        best = state.best
        name, keys, *position = self.random_state.get_state(legacy=True)
        header = {
            "format": FORMAT,
            "version": _version_of(self.identity),
            "identity": self.identity,
            "tol": float(min(self._schedule.tol, sys.float_info.max)),  # an int may be too large
            "max_iter": int(self._schedule.max_iter),
            "start": state.start,
            "lower_bounds": state.lower_bounds,
            "restarts": [list(restart) for restart in state.restarts],
            "random_state": [name, *position],
            "sample_seed": self.subset_seed,
            "best": None if best is None else [best.lower_bounds, best.lower_bound, best.converged],
        }
        arrays: dict[str, AnyArray] = {"random_keys": np.asarray(keys)}
        arrays |= arrays_of_order(self._data.order)
        if state.parameters is not None:
            arrays |= self._form.write("current", state.parameters)
        if best is not None:
            arrays |= self._form.write("best", best.parameters)
        if state.memory is not None:
            header["acceleration"], of_memory = memory_for_file(state.memory, self._form.write)
            arrays |= of_memory
        write(self.path, "checkpoint", header, arrays, f"{self.path.name}.new")
        self._n_unsaved = 0

    def load(self, previous: float) -> State[P] | None:
        """Return the state of the fit in the file, and restore the generator from the file.

        Parameters
        ----------
        previous : float
            Mean log-likelihood that the first iteration is compared with; see `best_of_starts`.

        Returns
        -------
        State or None
            None if there is no file.

        Raises
        ------
        ValueError
            If the file is not a checkpoint, if it is of another format version, another model or
            other data, or if a fit with the present `tol` and `max_iter` would not pass through
            its state. The generator is then unchanged.
        """
        if not self.path.exists():
            return None
        with open(self.path, "rb") as file:
            try:
                archive = Archive(file)
                there = _stored_identity(archive.header)
            except Exception as error:  # reading a damaged archive may raise any exception
                raise self._not_a_checkpoint(error) from error
            for name, here in self.identity.items():
                if there.get(name) != here:
                    raise ValueError(
                        f"the checkpoint {self.path} is of another fit: its {name} is "
                        f"{there.get(name)}, and here it is {here}. Delete the file, or choose "
                        "another path."
                    )
            try:
                state, schedule, generator, subset_seed = self._read(archive)
                order = order_from(
                    archive, self.identity["covariance_type"], self.identity["n_components"],
                    self._data.n_features,
                )  # fmt: skip
            except Exception as error:
                raise self._not_a_checkpoint(error) from error
        problem = _overtaken(state, schedule, self._schedule, previous)
        if problem:
            raise ValueError(f"the checkpoint {self.path} {problem}, or delete the file")
        self.random_state.set_state(generator)
        self.subset_seed = subset_seed
        self._data.order = order
        return state

    def _not_a_checkpoint(self, error: Exception) -> ValueError:
        return ValueError(
            f"{self.path} is not a checkpoint of gmm_core: {error}. Delete the file, or choose "
            "another path."
        )

    def _read(
        self, archive: Archive
    ) -> tuple[State[P], Schedule, tuple[Any, ...], int | None]:
        """Read the state of the fit, its schedule, the state of the generator and the seed."""
        header = archive.header
        schedule = self._schedule._replace(
            tol=field(header, "tol", is_size, "a number from 0 up"),
            max_iter=field(header, "max_iter", is_count, "an int from 0 up"),
        )
        n_init = self.identity["n_init"]
        start = field(
            header, "start", lambda v: is_count(v) and v < n_init, f"an int from 0 to {n_init - 1}"
        )
        restarts = restarts_from(header, "restarts")
        if len(restarts) != start:
            raise ValueError(f"it has {len(restarts)} restarts before start {start}")
        lower_bounds = field(header, "lower_bounds", are_log_likelihoods, "a list of numbers")
        if bool(lower_bounds) != ("current_means" in archive):
            raise ValueError("it has lower bounds or parameters of the present start, but not both")
        current = None
        if lower_bounds:
            current = self._form.read(archive, "current")
        memory = None
        if current is not None and self.identity["acceleration"] is not None:
            memory = memory_from_file(
                archive, self._form.read, current.kind, self._form.means_shape
            )
        best = None
        bounds = [restart.log_likelihood for restart in restarts if restart.failure is None]
        row = field(
            header, "best", lambda v: _is_best(v) if bounds else v is None,
            "the best of its restarts" if bounds else "null",
        )  # fmt: skip
        if row is not None:
            if row[1] != max(bounds):
                raise ValueError(
                    f"its best fit has the log-likelihood {row[1]}, but the largest among its "
                    f"restarts is {max(bounds)}"
                )
            best = Fit(self._form.read(archive, "best"), *row)
        subset_seed = field(
            header,
            "sample_seed",
            lambda v: v is None if self.subset_seed is None else is_count(v) and v < 2**31,
            "null" if self.subset_seed is None else "a seed",
        )
        name, *position = field(header, "random_state", _is_generator, f"that of {_GENERATOR}")
        keys = archive.array("random_keys", (624,), ("uint32",))
        if not keys[1:].any():  # the generator would return only zeros
            raise ValueError("random_keys are all 0")
        state = State(start, current, lower_bounds, restarts, best, memory)
        return state, schedule, (name, keys, *position), subset_seed

    def remove(self) -> None:
        """Delete the file, as the fit has ended; warn if that fails."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            warn(f"the checkpoint could not be deleted: {error}")


def _stored_identity(header: dict[str, Any]) -> dict[str, Any]:
    """Check the format of the file, and return the identity of the fit that wrote it."""
    field(header, "format", lambda v: v == FORMAT, f"{FORMAT!r}")
    version = field(header, "version", is_count, "an int")
    if version not in (FORMAT_VERSION, ACCELERATED_VERSION):
        raise ValueError(
            f"its version is {version}, this gmm_core reads {FORMAT_VERSION} and "
            f"{ACCELERATED_VERSION} only"
        )
    identity: dict[str, Any] = field(
        header, "identity", lambda v: isinstance(v, dict), "an object"
    )
    if version != _version_of(identity):
        raise ValueError(f"its version {version} is not that of such a fit")
    return identity


def _version_of(identity: dict[str, Any]) -> int:
    """Return the format version of a checkpoint of this fit."""
    return FORMAT_VERSION if identity.get("acceleration") is None else ACCELERATED_VERSION


def _is_best(value: Any) -> bool:
    """Return whether a value can be the lower bounds, the last bound and the flag of a fit."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and are_log_likelihoods(value[0])
        and is_log_likelihood(value[1])
        and is_flag(value[2])
    )


def _is_generator(value: Any) -> bool:
    """Return whether a value can be the state of a generator without its keys."""
    return (
        isinstance(value, list)
        and len(value) == 4
        and value[0] == _GENERATOR
        and is_count(value[1])
        and value[1] <= 624
        and is_count(value[2])
        and value[2] <= 1
        and isinstance(value[3], float)
        and abs(value[3]) < np.inf
    )


def _overtaken(state: State[P], then: Schedule, now: Schedule, previous: float) -> str | None:
    """Return why a fit with the schedule `now` would not reach a state, or None if it would.

    `then` is the schedule of the fit that reached the state, and `previous` the bound that its
    first iteration was compared with. The reason follows "the checkpoint <path>" in a message.
    """
    n_iter = len(state.lower_bounds)
    if n_iter > now.max_iter:
        return (
            f"has {n_iter} iterations of start {state.start}, but max_iter is {now.max_iter}: "
            f"set max_iter={n_iter} or more"
        )
    # An accelerated fit has kept its tolerance, and its bounds do not say which steps were plain.
    bounds = state.lower_bounds if state.memory is None else []
    for i, bound in enumerate(bounds, 1):
        if has_converged(bound - previous, now.tol):
            return (
                f"has {n_iter} iterations of start {state.start}, which with tol={now.tol} would "
                f"have converged in iteration {i}: set tol={then.tol}"
            )
        previous = bound
    for i, restart in enumerate(state.restarts):
        if not _ends_alike(restart, then, now):
            return (
                f"has start {i}, which ended with tol={then.tol} and max_iter={then.max_iter}, and "
                f"could end differently with tol={now.tol} and max_iter={now.max_iter}: set them "
                "to the former values"
            )
    return None


def _ends_alike(restart: Restart, then: Schedule, now: Schedule) -> bool:
    """Return whether a start is known to end in the same way under both schedules."""
    if restart.failure is not None:
        return now.tol <= then.tol and now.max_iter >= then.max_iter
    if restart.converged:
        return now.tol == then.tol and restart.n_iter <= now.max_iter
    return now.tol <= then.tol and now.max_iter == then.max_iter
