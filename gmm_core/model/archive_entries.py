"""The content of a file of a model or a checkpoint: entries of its header, and mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.model.archive import Members
from gmm_core.model.attributes import WEIGHTS_TOLERANCE
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import Mixture, mixture_of, prepare

# --- entries of the header ----------------------------------------------------------------------


def field(
    header: Mapping[str, Any], name: str, accepts: Callable[[Any], bool], expected: str
) -> Any:
    """Check an entry of the header, and return it.

    Parameters
    ----------
    header : mapping
    name : str
    accepts : callable
        Returns whether a value is valid.
    expected : str
        Describes valid values in the message of an error.

    Raises
    ------
    ValueError
        If there is no entry of this name, or its value is not valid.
    """
    if name not in header:
        raise ValueError(f"its header has no {name!r}")
    value = header[name]
    if not accepts(value):
        text = repr(value)
        text = text if len(text) <= 80 else text[:77] + "..."
        raise ValueError(f"its {name} is {text}, expected {expected}")
    return value


def is_count(value: Any) -> bool:
    """Return whether a value is an int from 0 up."""
    return type(value) is int and value >= 0


def is_flag(value: Any) -> bool:
    """Return whether a value is True or False."""
    return type(value) is bool


def is_number(value: Any) -> bool:
    """Return whether a value is a number that a float64 can hold; NaN and infinity are allowed."""
    return type(value) is float or (type(value) is int and abs(value) < 2**1023)


def is_log_likelihood(value: Any) -> bool:
    """Return whether a value is a number that a mean log-likelihood can be."""
    return is_number(value) and value < math.inf


def are_log_likelihoods(value: Any) -> bool:
    """Return whether a value is a list of mean log-likelihoods."""
    return isinstance(value, list) and all(map(is_log_likelihood, value))


def is_size(value: Any) -> bool:
    """Return whether a value is a finite number from 0 up."""
    return is_number(value) and 0 <= value < math.inf


def is_weight(value: Any) -> bool:
    """Return whether a value is a finite number above 0."""
    return is_size(value) and value > 0


def is_covariance_type(value: Any) -> bool:
    """Return whether a value is the name of a covariance type."""
    return isinstance(value, str) and value in COVARIANCE_TYPES


# --- mixtures -----------------------------------------------------------------------------------


def check_values(
    array: FloatArray, name: str, kind: CovarianceType, noise_weight: float = 0.0
) -> None:
    """Check the values of an array of a mixture.

    Parameters
    ----------
    array : ndarray
    name : str
        The name of the array in a file. The end of it tells what the array is, as in 'means_',
        'best_means' and 'position_weights'.
    kind : CovarianceType
    noise_weight : float, default=0.0
        The weight of the noise component, which the weights lack to 1.

    Raises
    ------
    ValueError
        If a value is not finite; if weights are negative or do not sum to 1; if variances,
        precisions or the diagonal of their factors are not positive; if the factor of a matrix is
        not upper triangular.
    """
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    what = name.rstrip("_")
    if what.endswith("weights"):
        total = float(array.sum(dtype=np.float64))
        expected = 1 - noise_weight
        if (array < 0).any() or not abs(total - expected) <= WEIGHTS_TOLERANCE:
            raise ValueError(
                f"{name} should be non-negative and sum to {expected:.9g}, but the least is "
                f"{array.min()} and the sum {total}"
            )
    elif what.endswith("cholesky"):
        flaw = kind.flaw_of_factor(array)
        if flaw:
            raise ValueError(f"{name} {flaw}")
    elif not what.endswith("means"):
        least = kind.positive_entries(array).min()
        if not least > 0:
            raise ValueError(
                f"{name} must be positive{kind.where_positive}, but the least is {least:.5g}"
            )


def check_above(array: FloatArray, name: str, low: float) -> None:
    """Raise ValueError if a value of an array is not finite, or not above a limit."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    if not (array > low).all():
        raise ValueError(f"{name} should be above {low:g}, but the least is {array.min():.5g}")


def arrays_for_file(prefix: str, mixture: Mixture) -> dict[str, Float64Array]:
    """Return the arrays of a mixture, by their names in a file, which begin with the prefix."""
    noise = mixture.prepared.noise
    return {
        f"{prefix}_weights": mixture.weights,
        f"{prefix}_means": mixture.means,
        f"{prefix}_covariances": mixture.covariances,
        f"{prefix}_precisions_cholesky": mixture.prepared.precisions_cholesky,
        f"{prefix}_log_constant": mixture.prepared.log_constant,
        **({} if noise is None else {f"{prefix}_noise": np.array(noise)}),
    }


def mixture_from_file(members: Members, prefix: str, K: int, D: int, kind: str) -> Mixture:
    """Read a mixture that was written as `arrays_for_file` returns it.

    Parameters
    ----------
    members : Members
    prefix : str
        The beginning of the names of the arrays.
    K, D : int
        Numbers of components and features.
    kind : {'full', 'tied', 'diag', 'spherical'}

    Raises
    ------
    ValueError
        If an array is missing, or has a shape, a dtype or values that it cannot have.
    """
    covariance_type = COVARIANCE_TYPES[kind]
    shape = covariance_type.shape(K, D)
    noise = None
    if f"{prefix}_noise" in members:
        noise = Noise(*members.array(f"{prefix}_noise", (2,)).tolist())
        if not (math.isfinite(noise.log_density) and 0 <= noise.weight < 1):
            raise ValueError(f"{prefix}_noise has values that noise cannot have: {noise}")
    arrays = []
    for name, expected in (
        ("weights", (K,)), ("means", (K, D)), ("covariances", shape), ("precisions_cholesky", shape)
    ):  # fmt: skip
        array = members.array(f"{prefix}_{name}", expected)
        of_noise = 0.0 if noise is None else noise.weight
        check_values(array, f"{prefix}_{name}", covariance_type, of_noise)
        arrays.append(np.ascontiguousarray(array))
    weights, means, covariances, factor = arrays
    prepared = prepare(weights, means, factor, kind, noise)
    name = f"{prefix}_log_constant"
    log_constant = np.ascontiguousarray(members.array(name, (K + 1,)))
    # They are equal except for rounding. Both are -inf for a weight of 0.
    if not np.allclose(log_constant, prepared.log_constant, rtol=1e-9, atol=1e-9):
        raise ValueError(f"{name} does not belong to the weights and factors beside it")
    return mixture_of(prepared._replace(log_constant=log_constant), covariances)
