"""Features that users name by their index or by their name."""

from __future__ import annotations

import numbers
from collections.abc import Iterable

import numpy as np

from gmm_core.core.types import Indices, Names


def features_of(
    features: object, n_features: int, names: Names | None = None, argument: str = "features"
) -> Indices:
    """Find the indices of features.

    Parameters
    ----------
    features : int, str, or iterable of int and str
        Indices, of which negative ones count from the end, and names.
    n_features : int
        Number of features of the model.
    names : ndarray of str, or None, default=None
        Names of the features of the model; see `feature_names_in_`.
    argument : str, default="features"
        The name of the argument in messages.

    Returns
    -------
    ndarray of intp
        Indices from 0 to n_features − 1, in the order of `features`.

    Raises
    ------
    TypeError
        If a feature is neither an int nor a str.
    ValueError
        If there is no such feature, if a feature is given twice, or if none is given.
    """
    given = [features] if isinstance(features, str) else features
    given = list(given) if isinstance(given, Iterable) else [given]
    indices = [_index_of(feature, n_features, names, argument) for feature in given]
    if not indices:
        raise ValueError(f"{argument} is empty, expected at least one feature")
    if len(set(indices)) < len(indices):
        raise ValueError(f"{argument} has a feature twice: {given!r}")
    return np.array(indices, np.intp)


def _index_of(feature: object, n_features: int, names: Names | None, argument: str) -> int:
    """Find the index of one feature; see `features_of`."""
    if isinstance(feature, str):
        if names is None:
            raise ValueError(
                f"{argument} has the name {feature!r}, but the model has no feature_names_in_: "
                f"give an index from 0 to {n_features - 1}"
            )
        found = np.flatnonzero(names == feature)
        if len(found) != 1:
            what = "no feature" if not len(found) else "more than one feature"
            raise ValueError(
                f"{argument} has the name {feature!r}, but the model has {what} of that name; "
                f"its features are {', '.join(map(repr, names))}"
            )
        return int(found[0])
    if not isinstance(feature, numbers.Integral) or isinstance(feature, bool):
        raise TypeError(
            f"{argument} should consist of indices and names of features, but has {feature!r} of "
            f"type {type(feature).__name__}"
        )
    index = int(feature)
    if not -n_features <= index < n_features:
        raise ValueError(
            f"{argument} has the index {index}, but the model has {n_features} features: expected "
            f"from {-n_features} to {n_features - 1}"
        )
    return index % n_features
