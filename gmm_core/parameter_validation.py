"""Checks of what a mixture is constructed with: numbers, options and initial arrays."""

from __future__ import annotations

import functools
import math
import numbers
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core.validation import InvalidParameterError, as_float_array, is_sparse

Float64Array = npt.NDArray[np.float64]
_Rule = tuple[str, Callable[[Any], bool]]

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
MISSING = ("error", "marginalize")
INIT_METHODS = ("kmeans", "k-means++", "random", "random_from_data")
_MAX_SEED = 2**32 - 1
_RANDOM_STATE = "numpy.random.mtrand.RandomState"


def _is_bool(value: object) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_from(low: int, value: Any) -> bool:
    return bool(low <= value < math.inf)  # also false for NaN


def _int_from(low: int) -> _Rule:
    def accepts(value: Any) -> bool:
        return isinstance(value, numbers.Integral) and _is_from(low, value)

    return f"an int in the range [{low}, inf)", accepts


def _is_component_count(value: Any) -> bool:
    # True is an int to Python, but nobody means it as a number of components.
    return isinstance(value, numbers.Integral) and not _is_bool(value) and _is_from(1, value)


def _is_non_negative_float(value: Any) -> bool:
    return isinstance(value, numbers.Real) and _is_from(0, value)


def _is_share(value: Any) -> bool:
    number: Any = value     # an int may be too large for a float
    return isinstance(value, numbers.Real) and not _is_bool(value) and bool(0 < number <= 1)


def _is_array_like(value: object) -> bool:
    if is_sparse(value) or np.isscalar(value):
        return False
    return any(hasattr(value, name) for name in ("__len__", "shape", "__array__"))


def _is_thread_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not _is_bool(value) and bool(value != 0)


def _is_seed(value: Any) -> bool:
    if isinstance(value, numbers.Integral):
        return 0 <= int(value) <= _MAX_SEED
    return isinstance(value, np.random.RandomState)


def _one_of(options: tuple[str, ...]) -> _Rule:
    def accepts(value: Any) -> bool:
        return isinstance(value, str) and value in options

    return f"a str among {{{', '.join(map(repr, options))}}}", accepts


def _or(rule: _Rule, phrase: str, accepts: Callable[[Any], bool]) -> _Rule:
    return f"{rule[0]} or {phrase}", lambda value: rule[1](value) or accepts(value)


def _or_none(rule: _Rule) -> _Rule:
    return _or(rule, "None", lambda value: value is None)


_BOOL: _Rule = ("an instance of 'bool' or an instance of 'numpy.bool'", _is_bool)
_NON_NEGATIVE_FLOAT: _Rule = ("a float in the range [0.0, inf)", _is_non_negative_float)
_ARRAY_LIKE_OR_NONE = _or_none(("an array-like", _is_array_like))

_RULES: dict[str, _Rule] = {
    "n_components": (_int_from(1)[0], _is_component_count),
    "covariance_type": _one_of(COVARIANCE_TYPES),
    "tol": _NON_NEGATIVE_FLOAT,
    "reg_covar": _or(_NON_NEGATIVE_FLOAT, "an array-like of them, one a feature", _is_array_like),
    "max_iter": _int_from(0),
    "n_init": _int_from(1),
    "init_params": _or(_one_of(INIT_METHODS), "a callable", callable),
    "weights_init": _ARRAY_LIKE_OR_NONE,
    "means_init": _ARRAY_LIKE_OR_NONE,
    "precisions_init": _ARRAY_LIKE_OR_NONE,
    "random_state": _or_none(
        (f"an int in the range [0, {_MAX_SEED}], an instance of {_RANDOM_STATE!r}", _is_seed)
    ),
    "warm_start": _BOOL,
    "verbose": (f"{_int_from(0)[0]}, {_BOOL[0]}", lambda v: _int_from(0)[1](v) or _is_bool(v)),
    "verbose_interval": _int_from(1),
    "n_threads": _or_none(("a non-zero int", _is_thread_count)),
    "missing": _one_of(MISSING),
    "init_size": _or_none((_int_from(2)[0], lambda v: _is_component_count(v) and v > 1)),
    "checkpoint": _or_none(("a str or a path", lambda v: isinstance(v, (str, os.PathLike)))),
    "learning_decay": ("a float in the range (0.5, 1.0]", lambda v: _is_share(v) and v > 0.5),
    "forget_factor": _or_none(("a float in the range (0.0, 1.0]", _is_share)),
    "checkpoint_interval": (_int_from(1)[0], _is_component_count),
}


def check_parameters(params: Mapping[str, object], class_name: str = "GaussianMixture") -> None:
    """Check the constructor parameters of a mixture.

    Parameters
    ----------
    params : mapping of str to object
        The parameters by name. Names that a mixture does not have (those of a subclass)
        are not looked at.
    class_name : str
        The class that the message speaks of.

    Raises
    ------
    InvalidParameterError
        For the first parameter with a value outside its type or range.
    """
    for name, value in params.items():
        rule = _RULES.get(name)
        if rule is not None and not rule[1](value):
            raise InvalidParameterError(
                f"The {name!r} parameter of {class_name} must be {rule[0]}. Got {value!r} instead."
            )


@functools.cache
def _constant_entropy() -> np.random.bit_generator.ISeedSequence:
    class ConstantEntropy(np.random.bit_generator.ISeedSequence):
        def generate_state(
            self, n_words: int, dtype: npt.DTypeLike = np.uint32
        ) -> npt.NDArray[Any]:
            return np.ones(n_words, dtype)

        def __reduce__(self) -> tuple[Any, ...]:
            return _constant_entropy, ()

    return ConstantEntropy()


def _seeded(seed: int) -> np.random.RandomState:
    """Make ``RandomState(seed)`` in a third of its time, which is long beside a small fit.

    NumPy fills the state with entropy of the operating system before it seeds it.
    """
    entropy: Any = _constant_entropy()
    random_state = np.random.RandomState(np.random.MT19937(entropy))
    random_state.seed(seed)
    return random_state


def check_random_state(seed: object) -> np.random.RandomState:
    """Turn a seed into a random number generator.

    Parameters
    ----------
    seed : None, int or numpy.random.RandomState
        None (or the module ``numpy.random``) is NumPy's global generator, an int seeds a new
        one, and a RandomState is returned as it is.

    Returns
    -------
    numpy.random.RandomState

    Raises
    ------
    ValueError
        If `seed` is anything else, or an int outside [0, 2**32 - 1].
    """
    if isinstance(seed, np.random.RandomState):
        return seed
    if seed is None or seed is np.random:
        global_state: np.random.RandomState = np.random.mtrand._rand
        return global_state
    if isinstance(seed, numbers.Integral) and _is_seed(seed):
        return _seeded(int(seed))
    raise ValueError(f"random_state={seed!r} cannot be used to seed numpy.random.RandomState")


def _check_shape(array: Float64Array, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}"
        )


def _as_parameter(value: object, name: str, shape: tuple[int, ...]) -> Float64Array:
    """Convert a value to a fresh, finite array of float64 and of the given shape."""
    array = np.array(as_float_array(value, name), dtype=np.float64, order="C", copy=True)
    _check_shape(array, shape, name)
    if not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(f"The parameter '{name}' must be finite, but contains {what}")
    return array


def check_weights_init(weights: object, n_components: int) -> Float64Array:
    """Check the weights of the components.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
        Never modified.
    n_components : int

    Returns
    -------
    ndarray of shape (n_components,), float64
        A fresh array.

    Raises
    ------
    ValueError
        If the shape is another, a weight is outside [0, 1], or they do not sum to 1
        (within 1e-8; within 1e-6 where `weights` holds float32).
    """
    array = _as_parameter(weights, "weights", (n_components,))
    if (array < 0.0).any() or (array > 1.0).any():
        # scikit-learn's tests pin this text with the smallest value after "max" and the
        # largest after "min".
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got "
            f"max value {array.min():.5f}, min value {array.max():.5f}"
        )
    is_float32 = getattr(weights, "dtype", None) == np.float32
    if abs(1.0 - array.sum()) > (1e-6 if is_float32 else 1e-8):
        raise ValueError(
            "The parameter 'weights' should be normalized, but got "
            f"sum(weights) = {array.sum():.5f}"
        )
    return array


def check_means_init(
    means: object, n_components: int, n_features: int, name: str = "means"
) -> Float64Array:
    """Check the means of the components.

    Parameters
    ----------
    means : array-like of shape (n_components, n_features)
        Never modified.
    n_components, n_features : int
    name : str
        What the messages call them.

    Returns
    -------
    ndarray of shape (n_components, n_features), float64
        A fresh array.

    Raises
    ------
    ValueError
        If the shape is another or a value is not finite.
    """
    return _as_parameter(means, name, (n_components, n_features))


def check_precisions_cholesky(
    precisions_cholesky: object, shape: tuple[int, ...], is_matrix: bool
) -> Float64Array:
    """Check the factors of precisions.

    Parameters
    ----------
    precisions_cholesky : array-like
        Never modified.
    shape : tuple of int
        That of the covariance type.
    is_matrix : bool
        Whether they are upper triangular matrices, else reciprocal standard deviations.

    Returns
    -------
    ndarray of the same shape, float64
        A fresh array.

    Raises
    ------
    ValueError
        If the shape is another, a value is not finite, a diagonal is not positive, or a matrix is
        not upper triangular.
    """
    name = "precisions_cholesky"
    array = _as_parameter(precisions_cholesky, name, shape)
    diagonal = np.einsum("...ii->...i", array) if is_matrix else array
    if not (diagonal > 0).all():
        where = "on the diagonal" if is_matrix else "everywhere"
        raise ValueError(
            f"The parameter '{name}' must be positive {where}, but the least is {diagonal.min()}"
        )
    if is_matrix and np.tril(array, -1).any():
        raise ValueError(f"The parameter '{name}' must be upper triangular")
    return array


def check_reg_covar(reg_covar: Any, n_features: int) -> float | Float64Array:
    """Check what is added to the variances of the features.

    Parameters
    ----------
    reg_covar : float, or array-like of shape (n_features,)
    n_features : int

    Returns
    -------
    float, or a fresh ndarray of shape (n_features,), float64

    Raises
    ------
    ValueError
        If an array has another shape, or a value that is not finite or negative.
    """
    if _is_non_negative_float(reg_covar):
        return float(reg_covar)
    array = _as_parameter(reg_covar, "reg_covar", (n_features,))
    if (array < 0.0).any():
        raise ValueError(
            f"The parameter 'reg_covar' should be non-negative, but got min value {array.min():.5g}"
        )
    return array


def check_precisions_init(
    precisions: object,
    covariance_type: str,
    n_components: int,
    n_features: int,
    *,
    kind: str = "precision",
) -> Float64Array:
    """Check precision (or covariance) matrices in the layout of a covariance type.

    Parameters
    ----------
    precisions : array-like
        Of shape (n_components, n_features, n_features) for 'full', (n_features, n_features)
        for 'tied', (n_components, n_features) for 'diag', (n_components,) for 'spherical'.
        Never modified.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_components, n_features : int
    kind : {'precision', 'covariance'}
        What the messages call the matrices.

    Returns
    -------
    ndarray of the shape above, float64
        A fresh array.

    Raises
    ------
    ValueError
        If the shape is another, a value is not finite, or a matrix is not symmetric and
        positive-definite.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "full": (n_components, n_features, n_features),
        "tied": (n_features, n_features),
        "diag": (n_components, n_features),
        "spherical": (n_components,),
    }
    name = f"{covariance_type} {kind}"
    array = _as_parameter(precisions, name, shapes[covariance_type])
    if covariance_type in ("diag", "spherical"):
        if (array <= 0.0).any():
            raise ValueError(f"'{name}' should be positive, but got min value {array.min():.5g}")
    else:
        for k, matrix in enumerate(array.reshape(-1, n_features, n_features)):
            problem = _flaw(matrix)
            if problem:
                which = f"that of component {k}" if covariance_type == "full" else "it"
                raise ValueError(
                    f"'{name}' should be symmetric, positive-definite, but {which} is not {problem}"
                )
    return array


def _flaw(matrix: Float64Array) -> str | None:
    """What a matrix lacks of 'symmetric' and 'positive-definite'."""
    # to 1e-8 of the largest entry, which the units of the data do not change
    if not np.allclose(matrix, matrix.T, atol=1e-8 * abs(matrix).max()):
        return "symmetric"
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return "positive-definite"
    return None


def check_n_samples(n_samples: object) -> int:
    """Check how many samples are to be drawn.

    Parameters
    ----------
    n_samples : int
        A float is accepted if it is a whole number, such as 1e5.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `n_samples` is not a number.
    ValueError
        If it is less than 1, not finite, or not a whole number.
    OverflowError
        If it is more than an array can hold.
    """
    if not isinstance(n_samples, numbers.Real):
        raise TypeError(f"n_samples must be an int, got {type(n_samples).__name__} {n_samples!r}")
    if not _is_from(1, n_samples):
        raise ValueError(
            f"Invalid value for 'n_samples': {n_samples} . "
            "The sampling requires at least one sample."
        )
    count: int = int(n_samples)  # type: ignore[call-overload]
    if count != n_samples:
        raise ValueError(f"Invalid value for 'n_samples': {n_samples}, expected a whole number")
    if count > np.iinfo(np.intp).max:
        raise OverflowError(f"n_samples={n_samples} is more than an array can hold")
    return count


def check_enough_samples(n_samples: int, n_components: int) -> None:
    """Check that there are at least as many samples as components.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    if n_samples < n_components:
        raise ValueError(
            "Expected n_samples >= n_components but got "
            f"n_components = {n_components}, n_samples = {n_samples}"
        )
