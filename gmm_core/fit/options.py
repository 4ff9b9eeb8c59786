"""The options of a fit, which are the parameters of the constructor, and the rules for them."""

from __future__ import annotations

import functools
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import InvalidParameterError
from gmm_core.core.random import MAX_SEED
from gmm_core.core.types import (
    AccelerationName,
    ConcentrationName,
    CovarianceName,
    FloatArray,
    Labels,
    MissingName,
    PosteriorName,
    SkipName,
    StartName,
)
from gmm_core.data.conversion import is_sparse
from gmm_core.fit.watching import Callback
from gmm_core.model.covariance import COVARIANCE_TYPES

# A start that the user provides. It takes X, n_components and random_state, and returns
# responsibilities or labels.
# The type is quoted, as NumPy loads `np.random` when it is first used.
InitCallable = Callable[[FloatArray, int, "np.random.RandomState"], FloatArray | Labels]

_RANDOM_STATE = "numpy.random.mtrand.RandomState"
_Rule = tuple[str, Callable[[Any], bool]]


class Options(NamedTuple):
    """The parameters of the constructor of `GaussianMixture`, whose docstring explains them."""

    n_components: int
    covariance_type: CovarianceName
    tol: float
    reg_covar: float | npt.ArrayLike
    max_iter: int
    n_init: int
    init_params: StartName | InitCallable
    weights_init: npt.ArrayLike | Literal["equal"] | None
    means_init: npt.ArrayLike | None
    precisions_init: npt.ArrayLike | None
    random_state: int | np.random.RandomState | None
    warm_start: bool
    verbose: int
    verbose_interval: int
    n_threads: int | None
    missing: MissingName
    init_size: int | None
    n_short: int
    n_swaps: int
    checkpoint: str | os.PathLike[str] | None
    checkpoint_interval: int
    learning_decay: float
    forget_factor: float | None
    noise: bool | float
    labels_init: npt.ArrayLike | None
    fixed: Iterable[str] | Mapping[str, Any] | None
    skip: SkipName
    acceleration: AccelerationName | None
    callback: Callback | Sequence[Callback] | None
    time_limit: float | None


class BayesianOptions(NamedTuple):
    """The parameters of the constructor of `BayesianGaussianMixture`; its docstring has them."""

    n_components: int
    covariance_type: CovarianceName
    tol: float
    reg_covar: float | npt.ArrayLike
    max_iter: int
    n_init: int
    init_params: StartName | InitCallable
    weight_concentration_prior_type: ConcentrationName
    weight_concentration_prior: float | None
    mean_precision_prior: float | None
    mean_prior: npt.ArrayLike | None
    degrees_of_freedom_prior: float | None
    covariance_prior: float | npt.ArrayLike | None
    random_state: int | np.random.RandomState | None
    warm_start: bool
    verbose: int
    verbose_interval: int
    n_threads: int | None
    missing: MissingName
    init_size: int | None
    posterior: PosteriorName
    checkpoint: str | os.PathLike[str] | None
    checkpoint_interval: int
    moves: bool
    learning_decay: float
    learning_offset: float
    skip: SkipName
    acceleration: AccelerationName | None
    callback: Callback | Sequence[Callback] | None
    time_limit: float | None


AnyOptions = TypeVar("AnyOptions", Options, BayesianOptions)


def options_of(model: object, options: type[AnyOptions]) -> AnyOptions:
    """Read the options of an estimator from its attributes, and check them.

    Parameters
    ----------
    model : object
    options : type
        `Options` or `BayesianOptions`.

    Raises
    ------
    InvalidParameterError
        For the first option with a value outside its type or range.
    """
    values: list[Any] = [getattr(model, name) for name in options._fields]
    for name, value in zip(options._fields, values, strict=True):
        if not (type(value) in _PLAIN and _obeys(name, value)):
            _check(name, value, type(model).__name__)
    return options._make(values)


def check_options(params: Mapping[str, object], class_name: str) -> None:
    """Check some options by name.

    Parameters
    ----------
    params : mapping of str to object
        Values by name. A name that is not that of an option is ignored, as a subclass may have
        further parameters.
    class_name : str
        The name of the class in the message of an error.

    Raises
    ------
    InvalidParameterError
        For the first option with a value outside its type or range.
    """
    for name, value in params.items():
        _check(name, value, class_name)


def _check(name: str, value: object, class_name: str) -> None:
    """Raise InvalidParameterError if a value violates the rule of its option."""
    if not _obeys.__wrapped__(name, value):
        raise InvalidParameterError(
            f"The {name!r} parameter of {class_name} must be {_RULES[name][0]}. "
            f"Got {value!r} instead."
        )


# Values of these types are hashable, and equal values of one type obey the same rules.
_PLAIN = frozenset((int, float, str, bool, type(None)))


# Checking the same few values takes a considerable part of a small fit, so the results are cached.
@functools.lru_cache(maxsize=1024, typed=True)
def _obeys(name: str, value: Any) -> bool:
    """Return whether a value obeys the rule of its option, or there is no such option."""
    rule = _RULES.get(name)
    return rule is None or rule[1](value)


# --- rules --------------------------------------------------------------------------------------


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


def _is_positive_float(value: Any) -> bool:
    number: Any = value
    return isinstance(value, numbers.Real) and not _is_bool(value) and bool(0 < number < math.inf)


def _is_share(value: Any) -> bool:
    number: Any = value     # an int may be too large for a float
    return isinstance(value, numbers.Real) and not _is_bool(value) and bool(0 < number <= 1)


def _is_array_like(value: object) -> bool:
    if is_sparse(value) or np.isscalar(value):
        return False
    return any(hasattr(value, name) for name in ("__len__", "shape", "__array__"))


def _is_thread_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not _is_bool(value) and bool(value != 0)


def _are_callables(value: Any) -> bool:
    return callable(value) or (isinstance(value, (list, tuple)) and all(map(callable, value)))


def _is_seed(value: Any) -> bool:
    if isinstance(value, numbers.Integral):
        return 0 <= int(value) <= MAX_SEED
    return isinstance(value, np.random.RandomState)


def _one_of(options: tuple[str, ...]) -> _Rule:
    def accepts(value: Any) -> bool:
        return isinstance(value, str) and value in options

    return f"a str among {{{', '.join(map(repr, options))}}}", accepts


def _or(rule: _Rule, phrase: str, accepts: Callable[[Any], bool]) -> _Rule:
    return f"{rule[0]} or {phrase}", lambda value: rule[1](value) or accepts(value)


def _or_none(rule: _Rule) -> _Rule:
    return _or(rule, "None", lambda value: value is None)


_POSITIVE_FLOAT: _Rule = ("a float in the range (0.0, inf)", _is_positive_float)
_COLLECTIONS = (set, frozenset, list, tuple, Mapping)
_BOOL: _Rule = ("an instance of 'bool' or an instance of 'numpy.bool'", _is_bool)
_NON_NEGATIVE_FLOAT: _Rule = ("a float in the range [0.0, inf)", _is_non_negative_float)
_ARRAY_LIKE_OR_NONE = _or_none(("an array-like", _is_array_like))

_RULES: dict[str, _Rule] = {
    "n_components": (_int_from(1)[0], _is_component_count),
    "covariance_type": _one_of(tuple(COVARIANCE_TYPES)),
    "tol": _NON_NEGATIVE_FLOAT,
    "reg_covar": _or(
        _NON_NEGATIVE_FLOAT, "an array-like with one such float for each feature", _is_array_like
    ),
    "max_iter": _int_from(0),
    "n_init": _int_from(1),
    "init_params": _or(_one_of(get_args(StartName)), "a callable", callable),
    "weights_init": _or(
        _ARRAY_LIKE_OR_NONE, "'equal'", lambda v: isinstance(v, str) and v == "equal"
    ),
    "means_init": _ARRAY_LIKE_OR_NONE,
    "precisions_init": _ARRAY_LIKE_OR_NONE,
    "random_state": _or_none(
        (f"an int in the range [0, {MAX_SEED}], an instance of {_RANDOM_STATE!r}", _is_seed)
    ),
    "warm_start": _BOOL,
    "verbose": (f"{_int_from(0)[0]}, {_BOOL[0]}", lambda v: _int_from(0)[1](v) or _is_bool(v)),
    "verbose_interval": _int_from(1),
    "n_threads": _or_none(("a non-zero int", _is_thread_count)),
    "missing": _one_of(get_args(MissingName)),
    "init_size": _or_none((_int_from(2)[0], lambda v: _is_component_count(v) and v > 1)),
    "n_short": _int_from(0),
    "n_swaps": _int_from(0),
    "checkpoint": _or_none(("a str or a path", lambda v: isinstance(v, (str, os.PathLike)))),
    "learning_decay": ("a float in the range (0.5, 1.0]", lambda v: _is_share(v) and v > 0.5),
    "learning_offset": _NON_NEGATIVE_FLOAT,
    "forget_factor": _or_none(("a float in the range (0.0, 1.0]", _is_share)),
    "checkpoint_interval": (_int_from(1)[0], _is_component_count),
    "weight_concentration_prior_type": _one_of(get_args(ConcentrationName)),
    "weight_concentration_prior": _or_none(_POSITIVE_FLOAT),
    "mean_precision_prior": _or_none(_POSITIVE_FLOAT),
    "mean_prior": _ARRAY_LIKE_OR_NONE,
    "degrees_of_freedom_prior": _or_none(_POSITIVE_FLOAT),
    "covariance_prior": _or(
        _ARRAY_LIKE_OR_NONE, _POSITIVE_FLOAT[0], _is_positive_float
    ),
    "posterior": _one_of(get_args(PosteriorName)),
    "moves": _BOOL,
    "labels_init": _ARRAY_LIKE_OR_NONE,
    "fixed": _or_none(
        ("a set of names, or a dict of masks by name", lambda v: isinstance(v, _COLLECTIONS))
    ),
    "skip": ("'auto' or False", lambda v: v is False or (isinstance(v, str) and v == "auto")),
    "noise": _or(_BOOL, *_POSITIVE_FLOAT),
    "acceleration": _or_none(_one_of(get_args(AccelerationName))),
    "callback": _or_none(("a callable, a list of callables", _are_callables)),
    "time_limit": _or_none(_POSITIVE_FLOAT),
}
