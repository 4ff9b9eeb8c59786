"""The state of a fit in a file, from which it goes on after a crash with the same bits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from gmm_core._persistence import plain
from gmm_core._warnings import warn
from gmm_core.em import Fit
from gmm_core.parameters import Parameters
from gmm_core.restarts import Restart, State

FORMAT = "gmm_core.checkpoint"
FORMAT_VERSION = 1


class Checkpoint:
    """A file that holds the state of one fit, while that lasts.

    Parameters
    ----------
    path : str or path
    interval : int
        Iterations from one writing to the next.
    identity : dict
        What makes it the fit that it is, of model and data, by name.
    random_state : RandomState
        Which the starts are drawn by.
    sample_seed : int or None
        Of the subsample that they are found from.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        interval: int,
        identity: dict[str, Any],
        random_state: np.random.RandomState,
        sample_seed: int | None,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        # or the first writing would fail, in mid-fit
        if not self.path.parent.is_dir():
            raise ValueError(f"checkpoint={os.fspath(path)!r}: there is no such folder")
        if self.path.is_dir() or not os.access(self.path.parent, os.W_OK):
            raise ValueError(f"checkpoint={os.fspath(path)!r} is a folder, or in a read-only one")
        self.interval = interval
        self.identity: dict[str, Any] = json.loads(json.dumps(identity, default=plain))
        self._n_unsaved = 0
        self.random_state = random_state
        self.sample_seed = sample_seed

    def save(self, state: State) -> None:
        """Replace the file in one step, at every `interval`-th call.

        At any moment it is the old one or the new one, whole.
        """
        self._n_unsaved += 1
        if self._n_unsaved < self.interval:
            return
        best = state.best
        name, keys, *position = self.random_state.get_state(legacy=True)
        header = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "identity": self.identity,
            "start": state.start,
            "lower_bounds": state.lower_bounds,
            "restarts": state.restarts,
            "random_state": [name, *position],
            "sample_seed": self.sample_seed,
            "best": None if best is None else [best.lower_bounds, best.lower_bound, best.converged],
        }
        arrays = {"random_keys": keys, "header": np.array(json.dumps(header, default=plain))}
        if state.parameters is not None:
            arrays |= _arrays("current", state.parameters)
        if best is not None:
            arrays |= _arrays("best", best.parameters)
        temporary = self.path.with_name(f"{self.path.name}.new")
        try:
            with open(temporary, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._n_unsaved = 0

    def load(self) -> State | None:
        """Go on from the file: its state, and the random numbers; None if there is no file.

        Raises
        ------
        ValueError
            If it is not a checkpoint, of a later version, or of another model or other data.
        """
        try:
            with open(self.path, "rb") as file:
                try:
                    header, arrays = _read(file)
                except Exception as error:  # a damaged archive raises whatever its bytes lead to
                    raise ValueError(
                        f"{self.path} is not a checkpoint of gmm_core: {error}"
                    ) from error
        except FileNotFoundError:
            return None
        for name, here in self.identity.items():
            there = header.get("identity", {}).get(name)
            if there != here:
                raise ValueError(
                    f"the checkpoint {self.path} is of another fit: its {name} is {there}, and "
                    f"here it is {here}. Delete the file, or give another name."
                )
        kind = header["identity"]["covariance_type"]
        name, *position = header["random_state"]
        best = header["best"]
        self.random_state.set_state((name, arrays["random_keys"], *position))
        self.sample_seed = header["sample_seed"]
        return State(
            header["start"],
            _parameters("current", arrays, kind) if "current_means" in arrays else None,
            header["lower_bounds"],
            [Restart(*restart) for restart in header["restarts"]],
            None if best is None else Fit(_parameters("best", arrays, kind), *best),
        )

    def remove(self) -> None:
        """Delete the file: the fit has ended."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            warn(f"the checkpoint could not be deleted: {error}")


def _arrays(prefix: str, parameters: Parameters) -> dict[str, Any]:
    return {f"{prefix}_{name}": array for name, array in parameters._asdict().items()
            if name != "covariance_type"}  # fmt: skip


def _parameters(prefix: str, arrays: dict[str, Any], covariance_type: str) -> Parameters:
    names = [name for name in Parameters._fields if name != "covariance_type"]
    return Parameters._make([*(arrays[f"{prefix}_{name}"] for name in names), covariance_type])


def _read(file: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(file, allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        arrays = {name: archive[name] for name in archive.files if name != "header"}
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']!r}")
    if header["version"] > FORMAT_VERSION:
        raise ValueError(
            f"its version is {header['version']}, this gmm_core reads up to {FORMAT_VERSION}"
        )
    return header, arrays
