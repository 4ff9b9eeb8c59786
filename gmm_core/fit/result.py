"""The attributes that a fit sets on the estimator."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.types import Names
from gmm_core.fit.checkpoints import Checkpoint
from gmm_core.fit.loop import Fit
from gmm_core.model.attributes import arrays_of
from gmm_core.model.parameters import Mixture

Attributes = dict[str, Any]


def attributes_of(
    fit: Fit[Mixture],
    dtype: np.dtype[Any],
    names: Names | None,
    n_threads: int,
    **others: Any,
) -> Attributes:
    """Return the fitted attributes by name; the value None means that an attribute is removed.

    Parameters
    ----------
    fit : Fit
    dtype : dtype
        The dtype of the arrays, float32 or float64.
    names : ndarray of object, or None
        Names of the features.
    n_threads : int
    **others
        Further attributes by name.

    Returns
    -------
    dict

    Raises
    ------
    NumericalError
        If a value is beyond the range of the dtype.
    """
    noise = fit.parameters.prepared.noise
    return {
        **arrays_of(fit.parameters, dtype, n_threads),
        "converged_": fit.converged,
        "n_iter_": len(fit.lower_bounds),
        "lower_bound_": fit.lower_bound,
        "lower_bounds_": fit.lower_bounds,
        "noise_log_density_": None if noise is None else noise.log_density,
        "noise_weight_": None if noise is None else noise.weight,
        "n_features_in_": fit.parameters.means.shape[1],
        "feature_names_in_": names,
        **others,
    }


class Result(NamedTuple):
    """The result of a fit, which the estimator has not got yet.

    Attributes
    ----------
    attributes : dict
        The fitted attributes; see `attributes_of`.
    checkpoint : Checkpoint or None
        The checkpoint of the fit, which is of no use once the estimator has the attributes.
    collapsed : tuple of int
        The components that have collapsed; see `collapsed_components`.
    """

    attributes: Attributes
    checkpoint: Checkpoint[Any] | None = None
    collapsed: tuple[int, ...] = ()

    def keep_in(self, model: object) -> None:
        """Give the attributes to an estimator, all at once, and delete the checkpoint."""
        set_attributes(model, self.attributes)
        if self.checkpoint is not None:
            self.checkpoint.remove()


def set_attributes(model: object, changes: Attributes) -> None:
    """Set and remove attributes of an estimator as `attributes_of` describes, all at once.

    One assignment replaces them all, so that Ctrl-C cannot come between two of them.
    """
    kept = {name: value for name, value in vars(model).items() if name not in changes}
    object.__setattr__(model, "__dict__", kept | present(changes))


def present(changes: Attributes) -> Attributes:
    """Return the attributes that are not removed."""
    return {name: value for name, value in changes.items() if value is not None}
