"""Mixtures of parts of the rows: one for each class of a classifier, or each group of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gmm_core.core.errors import convergence_warning_class, same_kind
from gmm_core.core.random import check_random_state
from gmm_core.core.types import Float64Array
from gmm_core.core.warn import warn
from gmm_core.data.classes import Classes
from gmm_core.fit.options import check_options
from gmm_core.mixture import GaussianMixture
from gmm_core.selection import counts_to_try, select, types_to_try


def check_params(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Check parameters that an estimator shares with `GaussianMixture`, and return them by name.

    A generator as `random_state` becomes a seed, so that it is the same for all mixtures.
    """
    params: dict[str, Any] = {name: getattr(model, name) for name in names}
    check_options(params, type(model).__name__)
    if not isinstance(params["random_state"], (int, np.integer)):
        params["random_state"] = int(check_random_state(params["random_state"]).randint(2**31))
    return params


def check_counts(n_components: Any, estimator_name: str) -> list[int]:
    """Check numbers of components to try, and return them."""
    counts = counts_to_try(n_components)
    for K in counts:
        check_options({"n_components": K}, estimator_name)
    return counts


def check_types(covariance_type: Any) -> list[str]:
    """Check covariance types to try, and return them; see `types_to_try`."""
    return types_to_try(covariance_type, "covariance_type")


def _name(noun: str, label: Any) -> str:
    """Return the name of a part in messages."""
    return f"{noun} {label!r}" if noun else "X"


def check_sizes(
    parts: Classes, sample_weight: Float64Array | None, needed: Sequence[int], noun: str
) -> None:
    """Raise ValueError if a part has fewer rows of positive weight than components."""
    present = parts.codes if sample_weight is None else parts.codes[sample_weight > 0]
    sizes = np.bincount(present, minlength=len(parts.values))
    for label, size, least in zip(parts.values.tolist(), sizes.tolist(), needed, strict=True):
        if size < least:
            raise ValueError(
                f"{_name(noun, label)} has {size} row{'s' * (size != 1)} of positive weight, but "
                f"n_components is {least}"
            )


def fit_parts(
    X: Any,
    parts: Classes,
    sample_weight: Float64Array | None,
    counts: Sequence[list[int]],
    types: list[str],
    params: Mapping[str, Any],
    noun: str,
) -> list[GaussianMixture]:
    """Fit a mixture to the rows of each part, with the lowest BIC among types and numbers.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), or any X of `select` if there is one part
    parts : Classes
    sample_weight : ndarray of shape (n_samples,) or None
    counts : sequence of list of int
        The numbers of components to try for each part.
    types : list of str
        The covariance types to try.
    params : mapping of str to object
        Further parameters of `GaussianMixture`.
    noun : str
        What a part is called in messages; an empty string if it is all of X.

    Returns
    -------
    list of GaussianMixture

    Raises
    ------
    ValueError, TypeError
        If a fit fails; the message names the part.

    Warns
    -----
    ConvergenceWarning
        If EM has not converged for a part.
    UserWarning
        If a component of a part has collapsed onto few samples.
    """
    check_sizes(parts, sample_weight, [max(K) for K in counts], noun)
    several = len(parts.values) > 1
    mixtures = []
    for label, rows, to_try in zip(parts.values.tolist(), parts.rows(), counts, strict=True):
        weight = sample_weight[rows] if several and sample_weight is not None else sample_weight
        part = X[rows] if several else X
        present = rows if weight is None else rows[weight > 0]
        if several and len(present) == 1:  # which a fit takes as two equal rows
            part, weight = np.repeat(X[present], 2, axis=0), None
            warn(f"{_name(noun, label)} has one row, so that reg_covar is its only variance.")
        try:
            found = select(
                part, to_try, types if types != ["all"] else "all",
                sample_weight=weight, **params,
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            if not noun:
                raise
            raise same_kind(error, f"{_name(noun, label)}: {error}") from error
        best = found.best
        row = next(
            row for row in found.table
            if (row.covariance_type, row.n_components) == (best.covariance_type, best.n_components)
        )  # fmt: skip
        if not row.converged and best.max_iter:
            warn(
                f"The mixture of {_name(noun, label)} did not converge. Try to increase max_iter "
                "or tol, or other init_params.",
                convergence_warning_class(),
            )
        if row.collapsed:
            warn(
                f"A component of the mixture of {_name(noun, label)} has collapsed onto few "
                "samples. Try fewer components, a larger reg_covar, or a covariance type with "
                "fewer parameters."
            )
        mixtures.append(best)
    return mixtures
