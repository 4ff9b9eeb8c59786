"""The fitted arrays of a mixture as attributes of an estimator.

`covariances_`, `precisions_` and `precisions_cholesky_` are three forms of the same covariances. An
assignment to one of them removes the other two, which are derived from it when they are next read.
Methods use the factor, `precisions_cholesky_`. It stays in place when the assigned precisions equal
U Uᵀ of this factor within its rounding.

The functions here take `attributes`, the dict of an estimator's attributes.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple, Self, overload

import numpy as np

from gmm_core.core.dispatch import expectation
from gmm_core.core.errors import NumericalError, not_fitted_error
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import CovarianceName, Float64Array, FloatArray
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import Mixture, Prepared, mixture_of, prepare

FACTOR = "precisions_cholesky_"
COVARIANCE_ATTRIBUTES = ("covariances_", "precisions_", FACTOR)
ARRAYS = ("weights_", "means_", *COVARIANCE_ATTRIBUTES)
NOISE = ("noise_log_density_", "noise_weight_")

# Weights may have been rounded to float32, or written down with seven digits.
WEIGHTS_TOLERANCE = 1e-6
# A factor of at most this many entries is small; see `Kept`.
_SMALL = 4096


class UnderivableError(ValueError, AttributeError):
    """An attribute cannot be derived from the one that was assigned, so `hasattr` is False."""


class ArrayAttribute:
    """A descriptor of a fitted array that a user may assign to, such as `means_`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: object, owner: type) -> FloatArray: ...
    def __get__(self, model: object | None, owner: type) -> Self | FloatArray:
        if model is None:
            return self
        array: FloatArray | None = vars(model).get(self.name)
        if array is None:
            array = self._derived(model)
        if array is None:
            raise AttributeError(f"{type(model).__name__!r} object has no attribute {self.name!r}")
        return array

    def __set__(self, model: object, value: Any) -> None:
        if np.ma.is_masked(value):
            raise ValueError(f"{self.name} has masked values: fill them")
        if np.iscomplexobj(value):
            raise ValueError(f"{self.name} has complex values, expected real numbers")
        vars(model)[self.name] = value

    def __delete__(self, model: object) -> None:
        if self.name not in vars(model):
            raise AttributeError(f"{type(model).__name__!r} object has no attribute {self.name!r}")
        del vars(model)[self.name]

    def _derived(self, model: Any) -> FloatArray | None:
        return None


class CovarianceAttribute(ArrayAttribute):
    """A descriptor of one of the three forms of the covariances."""

    def __set__(self, model: Any, value: Any) -> None:
        attributes, kind = vars(model), model.covariance_type
        keep = self.name == "precisions_" and _has_precisions(value, attributes.get(FACTOR), kind)
        super().__set__(model, value)
        for other in COVARIANCE_ATTRIBUTES:
            if other != self.name and not (keep and other == FACTOR):
                attributes.pop(other, None)

    def _derived(self, model: Any) -> FloatArray | None:
        return derive(self.name, vars(model), model.covariance_type, model.n_threads)


class CovarianceTypeAttribute:
    """A descriptor of the constructor parameter `covariance_type`.

    When it is changed, the factor is first computed under the old type. A factor of the wrong shape
    is then refused, whereas covariances alone, for example of shape (D, D) with K = D, could be
    misread as those of another type.
    """

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: object, owner: type) -> CovarianceName: ...
    def __get__(self, model: object | None, owner: type) -> Self | CovarianceName:
        if model is None:
            return self
        try:
            name: CovarianceName = vars(model)["covariance_type"]
        except KeyError:
            message = f"{type(model).__name__!r} object has no attribute 'covariance_type'"
            raise AttributeError(message) from None
        return name

    def __set__(self, model: Any, value: CovarianceName) -> None:
        if "means_" in vars(model):
            getattr(model, FACTOR, None)
        vars(model)["covariance_type"] = value

    def __delete__(self, model: object) -> None:
        del vars(model)["covariance_type"]


def _has_precisions(value: Any, factor: Any, covariance_type: object) -> bool:
    """Return whether a value equals U Uᵀ of a factor; see `CovarianceType.has_precisions`."""
    known = isinstance(covariance_type, str) and covariance_type in COVARIANCE_TYPES
    precisions = np.asarray(value)
    if not known or factor is None or precisions.shape != np.shape(factor):
        return False
    if precisions.dtype.kind != "f" or not precisions.size:
        return False
    kind = COVARIANCE_TYPES[str(covariance_type)]
    return kind.has_precisions(np.asarray(factor, np.float64), precisions)


def derive(
    name: str,
    attributes: MutableMapping[str, Any],
    covariance_type: str,
    n_threads: int | None,
) -> FloatArray | None:
    """Derive one form of the covariances from another one, and add it to the attributes.

    Parameters
    ----------
    name : {'covariances_', 'precisions_', 'precisions_cholesky_'}
    attributes : dict
        The dict that the derived array is added to.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int or None
        The parameter `n_threads` of GaussianMixture.

    Returns
    -------
    ndarray or None
        None if `attributes` has no means, or none of the three forms.

    Raises
    ------
    UnderivableError
        If the attribute that was assigned has a shape, a dtype or values that it cannot have.
    """
    if "means_" not in attributes or not any(a in attributes for a in COVARIANCE_ATTRIBUTES):
        return None
    try:
        threads = effective_n_threads(n_threads)
        if FACTOR not in attributes:
            attributes[FACTOR] = _factor(attributes, covariance_type, threads)
        derived: FloatArray | None = attributes.get(name)
        if derived is None:
            derived = _from_factor(name, attributes, covariance_type, threads)
            attributes[name] = derived
    except (ValueError, TypeError, KeyError) as error:
        raise UnderivableError(str(error)) from error
    return derived


def _factor(attributes: Mapping[str, Any], covariance_type: str, n_threads: int) -> FloatArray:
    """Factor the covariances or precisions that were assigned."""
    K, D = np.shape(attributes["means_"])
    kind = COVARIANCE_TYPES[covariance_type]
    source = "covariances_" if "covariances_" in attributes else "precisions_"
    given = np.asarray(attributes[source])
    array = np.array(given, np.float64, order="C")
    kind.check(array, K, D, source[:-2])
    if source == "covariances_":
        factor = kind.factor_covariances(array, D, n_threads)
    else:
        factor = kind.factor_precisions(array, D, n_threads)
    factors: FloatArray = factor.astype(dtype_of(given))
    return factors


def _from_factor(
    name: str, attributes: Mapping[str, Any], covariance_type: str, n_threads: int
) -> FloatArray:
    """Compute covariances or precisions from the factor."""
    given = np.asarray(attributes[FACTOR])
    factor = np.asarray(given, np.float64)
    _check_factor(factor, np.shape(attributes["means_"]), covariance_type)
    kind = COVARIANCE_TYPES[covariance_type]
    precisions, covariances = kind.precisions_and_covariances(factor, n_threads)
    array = precisions if name == "precisions_" else covariances
    derived: FloatArray = array.astype(dtype_of(given))
    return derived


def dtype_of(array: Any) -> np.dtype[Any]:
    """Return float32 if an array, or what can become one, has this dtype, and float64 otherwise."""
    return np.dtype(np.float32 if np.asarray(array).dtype == np.float32 else np.float64)


# --- from attributes to parameters, and back ----------------------------------------------------


class Kept(NamedTuple):
    """The result of the last check of the attributes, which the next call may use again.

    Checking the attributes takes longer than scoring a sample. If the factor is small, the prepared
    mixture is used again while all arrays hold the same numbers. If the factor is large and the
    same array as in the last call, only the entries that have to be positive are checked, not that
    it is finite and triangular.

    Attributes
    ----------
    content : tuple
        The covariance type, followed by the shapes and bytes of the arrays if the factor is small.
    factor : object
        The array of a large factor, by which it is recognised; None for a small one.
    prepared : Prepared or None
        The mixture of a small factor, with copies of the arrays; None for a large one.
    """

    content: tuple[Any, ...]
    factor: object
    prepared: Prepared | None


def checked(
    attributes: MutableMapping[str, Any],
    covariance_type: str,
    n_threads: int | None,
    kept: Kept | None,
) -> tuple[Prepared, Kept]:
    """Return the fitted arrays as `prepared_of` does, and a new `Kept` for the next call."""
    weights, means, factor = given = _arrays(attributes, covariance_type, n_threads)
    noise = _noise(attributes)
    if factor.size > _SMALL:
        here = Kept((covariance_type,), attributes[FACTOR], None)
        known = kept is not None and kept.factor is here.factor and kept.content == here.content
        return _checked(*given, covariance_type, noise, finite=known), here
    content = (covariance_type, noise, *((array.shape, array.tobytes()) for array in given))
    if kept is not None and kept.prepared is not None and kept.content == content:
        return kept.prepared, kept
    prepared = _checked(weights.copy(), means.copy(), factor.copy(), covariance_type, noise)
    return prepared, Kept(content, None, prepared)


def prepared_of(
    attributes: MutableMapping[str, Any], covariance_type: str, n_threads: int | None
) -> Prepared:
    """Check the fitted arrays as they are now, and return them in float64.

    Parameters
    ----------
    attributes : dict
        The attributes, with `weights_`, `means_` and at least one form of the covariances.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int or None

    Raises
    ------
    ValueError
        If an array has a shape or values that it cannot have.
    AttributeError
        If the attributes have no form of the covariances.
    """
    return _checked(
        *_arrays(attributes, covariance_type, n_threads), covariance_type,
        _noise(attributes),
    )  # fmt: skip


def mixture_from(
    attributes: MutableMapping[str, Any], covariance_type: str, n_threads: int | None
) -> Mixture:
    """Return the fitted arrays as a mixture, with covariances of full precision."""
    prepared = prepared_of(attributes, covariance_type, n_threads)
    covariances = derive("covariances_", attributes, covariance_type, n_threads)
    given = np.asarray(covariances)
    if given.dtype == np.float32:  # factors lose fewer digits by rounding than covariances do
        return mixture_of(prepared, n_threads=effective_n_threads(n_threads))
    return mixture_of(prepared, given.astype(np.float64, copy=False))


def _arrays(
    attributes: MutableMapping[str, Any], covariance_type: str, n_threads: int | None
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return weights, means and the factor in float64 and C order."""
    if "weights_" not in attributes or "means_" not in attributes:
        raise not_fitted_error("GaussianMixture", "It has no weights_, or no means_.")
    factor = attributes.get(FACTOR)
    if factor is None:
        factor = derive(FACTOR, attributes, covariance_type, n_threads)
    if factor is None:
        raise AttributeError("the model has weights_ and means_, but no covariances_")
    return (
        np.ascontiguousarray(attributes["weights_"], dtype=np.float64),
        np.ascontiguousarray(attributes["means_"], dtype=np.float64),
        np.ascontiguousarray(factor, dtype=np.float64),
    )


def _checked(
    weights: Float64Array,
    means: Float64Array,
    factor: Float64Array,
    covariance_type: str,
    noise: Noise | None,
    *,
    finite: bool = False,
) -> Prepared:
    if len(means.shape) != 2:
        raise ValueError(f"means_ has shape {means.shape}, expected (n_components, n_features)")
    if weights.shape != means.shape[:1]:
        raise ValueError(
            f"weights_ has shape {weights.shape}, expected {means.shape[:1]} for means_ of shape "
            f"{means.shape}"
        )
    if not np.isfinite(means).all():
        raise ValueError("means_ must be finite")
    total = float(weights.sum())
    of_noise = 0.0 if noise is None else noise.weight
    if not (abs(total + of_noise - 1) <= WEIGHTS_TOLERANCE and weights.min() >= 0 and total > 0):
        raise ValueError(
            f"weights_ must not be negative and must sum to {1 - of_noise:.9g}, but the least is "
            f"{weights.min():.5g} and the sum is {total:.9g}"
        )
    _check_factor(factor, means.shape, covariance_type, finite=finite)
    return prepare(weights, means, factor, covariance_type, noise)


def _noise(attributes: Mapping[str, Any]) -> Noise | None:
    """Return the noise component, or None if there is none."""
    values: list[Any] = [attributes.get(name) for name in NOISE]
    if values[0] is None:
        return None
    for name, value in zip(NOISE, values, strict=True):
        if not (isinstance(value, numbers.Real) and math.isfinite(value)):
            raise ValueError(f"{name} should be a finite number, but got {value!r}")
    noise = Noise(*map(float, values))
    if not 0 <= noise.weight < 1:
        raise ValueError(f"noise_weight_ should be in [0, 1), but got {noise.weight}")
    return noise


def _check_factor(
    factor: Float64Array, shape: tuple[int, ...], covariance_type: str, *, finite: bool = False
) -> None:
    """Raise ValueError if a factor is invalid, or does not fit means of this shape.

    With `finite`, the factor is known to be finite and triangular. Then only the entries that have
    to be positive are checked.
    """
    kind = COVARIANCE_TYPES[covariance_type]
    K, D = shape
    if factor.shape != kind.shape(K, D):
        raise ValueError(
            f"{FACTOR} has shape {factor.shape}, expected {kind.shape(K, D)} for means_ of shape "
            f"{(K, D)} and covariance_type={covariance_type!r}"
        )
    flaw = kind.flaw_of_factor(factor, finite=finite)
    if flaw:
        raise ValueError(f"{FACTOR} {flaw} (with covariance_type={covariance_type!r})")


def arrays_of(mixture: Mixture, dtype: np.dtype[Any], n_threads: int) -> dict[str, FloatArray]:
    """Return the arrays of a mixture as fitted attributes.

    Parameters
    ----------
    mixture : Mixture
    dtype : dtype
        float32 or float64.
    n_threads : int

    Raises
    ------
    NumericalError
        If a value is beyond the range of the dtype.
    """
    kind = mixture.kind
    with np.errstate(over="ignore", under="ignore"):
        factor = mixture.prepared.precisions_cholesky.astype(dtype)
        # Precisions of the rounded factor are bit-identical to what `derive` computes from it.
        precisions, _ = kind.precisions_and_covariances(
            factor.astype(np.float64, copy=False), n_threads
        )
        arrays = {
            "weights_": mixture.weights.astype(dtype),
            "means_": mixture.means.astype(dtype),
            "covariances_": mixture.covariances.astype(dtype),
            "precisions_": precisions.astype(dtype),
            FACTOR: factor,
        }
    for name, array in arrays.items():
        lost = name in COVARIANCE_ATTRIBUTES and not kind.positive_entries(array).all()
        if lost or not expectation(dtype).all_finite(array.reshape(-1), 1):
            advice = "scale the data" + (" or use float64" if dtype == np.float32 else "")
            raise NumericalError(f"{name} would be beyond the range of {dtype}: {advice}")
    return arrays
