"""Checks of the parameters of a mixture that users give."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import Float64Array, Labels, RegCovar
from gmm_core.data.conversion import as_float_array
from gmm_core.model.covariance import CovarianceType, check_features, covariance_type_of
from gmm_core.model.covariance.base import check_shape_and_values
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import Mixture, mixture_of, prepare


def _as_parameter(value: object, name: str, shape: tuple[int, ...]) -> Float64Array:
    """Return a float64 copy, after checking that it is finite and has the given shape."""
    array = np.array(as_float_array(value, name), dtype=np.float64, order="C", copy=True)
    check_shape_and_values(array, shape, name)
    return array


def check_weights(weights: object, n_components: int, noise: bool = False) -> Float64Array:
    """Check the weights of the components.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
    n_components : int
    noise : bool, default=False
        Whether there is a noise component, which has the weight that these lack to 1.

    Returns
    -------
    ndarray of shape (n_components,), float64
        A copy.

    Raises
    ------
    ValueError
        If the shape is wrong, if a weight is outside [0, 1], or if the sum differs from 1 by more
        than 1e-8, or by more than 1e-6 for an array of float32. With noise, the sum may be any
        number from there down to 0, but not 0.
    """
    array = _as_parameter(weights, "weights", (n_components,))
    if (array < 0.0).any() or (array > 1.0).any():
        # scikit-learn's tests demand this text, which has the smallest value after "max" and the
        # largest after "min".
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got "
            f"max value {array.min():.5f}, min value {array.max():.5f}"
        )
    tolerance = _tolerance(weights)
    if array.sum() > 1.0 + tolerance or (
        array.sum() < 1.0 - tolerance and not (noise and array.sum() > 0)
    ):
        raise ValueError(
            "The parameter 'weights' should be normalized, but got "
            f"sum(weights) = {array.sum():.5f}"
        )
    return array


def check_means(
    means: object, n_components: int, n_features: int, name: str = "means"
) -> Float64Array:
    """Check the means of the components.

    Parameters
    ----------
    means : array-like of shape (n_components, n_features)
    n_components, n_features : int
    name : str, default="means"
        The name of the argument in messages.

    Returns
    -------
    ndarray of shape (n_components, n_features), float64
        A copy.

    Raises
    ------
    ValueError
        If the shape is wrong or a value is not finite.
    """
    return _as_parameter(means, name, (n_components, n_features))


def check_precisions_cholesky(
    precisions_cholesky: object, kind: CovarianceType, n_components: int, n_features: int
) -> Float64Array:
    """Check the factors of precisions.

    Parameters
    ----------
    precisions_cholesky : array-like
    kind : CovarianceType
    n_components, n_features : int

    Returns
    -------
    ndarray in the shape of the type, float64
        A copy.

    Raises
    ------
    ValueError
        If the shape is wrong, a value is not finite, a diagonal is not positive, or a matrix is
        not upper triangular.
    """
    name = "precisions_cholesky"
    array = _as_parameter(precisions_cholesky, name, kind.shape(n_components, n_features))
    flaw = kind.flaw_of_factor(array)
    if flaw:
        raise ValueError(f"The parameter '{name}' {flaw}")
    return array


def check_labels(labels: object, n_samples: int, n_components: int) -> Labels:
    """Check the labels that a user gave for the start.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
    n_samples, n_components : int

    Returns
    -------
    ndarray of shape (n_samples,), int64
        A copy.

    Raises
    ------
    TypeError
        If the labels are not integers.
    ValueError
        If the shape is wrong, or a label is neither -1 nor the number of a component.
    """
    if np.ma.is_masked(labels):
        raise ValueError("labels_init has masked values: give -1 where a label is unknown")
    array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels_init should be integers, but got dtype {array.dtype}")
    if array.shape != (n_samples,):
        raise ValueError(f"labels_init has shape {array.shape}, expected ({n_samples},)")
    if array.min() < -1 or array.max() >= n_components:
        raise ValueError(
            f"labels_init should be from 0 to {n_components - 1}, or -1 where a label is unknown, "
            f"but got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def check_reg_covar(reg_covar: Any, n_features: int) -> RegCovar:
    """Check the regularisation that is added to the variances of the features.

    Parameters
    ----------
    reg_covar : float, or array-like of shape (n_features,)
    n_features : int

    Returns
    -------
    float, or ndarray of shape (n_features,), float64
        A copy.

    Raises
    ------
    ValueError
        If an array has a wrong shape, or a value that is negative or not finite.
    """
    number = reg_covar
    if isinstance(reg_covar, numbers.Real) and 0 <= number < math.inf:
        return float(number)
    array = _as_parameter(reg_covar, "reg_covar", (n_features,))
    if (array < 0.0).any():
        raise ValueError(
            f"The parameter 'reg_covar' should be non-negative, but got min value {array.min():.5g}"
        )
    return array


def check_matrices(
    matrices: object, kind: CovarianceType, n_components: int, n_features: int, noun: str
) -> Float64Array:
    """Check covariances or precisions.

    Parameters
    ----------
    matrices : array-like
    kind : CovarianceType
    n_components, n_features : int
    noun : {'precision', 'covariance'}
        The word for the matrices in messages.

    Returns
    -------
    ndarray in the shape of the type, float64
        A copy.

    Raises
    ------
    ValueError
        If the shape is wrong, a value is not finite, or a matrix is not symmetric and
        positive-definite.
    """
    array = np.array(as_float_array(matrices, f"{kind.name} {noun}"), np.float64, order="C")
    kind.check(array, n_components, n_features, noun)
    return array


def mixture_of_arguments(
    weights: object,
    means: Any,
    covariances: object,
    precisions: object,
    covariance_type: str | None,
    n_threads: int | None,
    log_noise_density: float | None = None,
) -> tuple[Mixture, Float64Array | None]:
    """Check the arguments of `GaussianMixture.from_parameters`, and return the mixture.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
    means : array-like of shape (n_components, n_features)
    covariances, precisions : array-like in the shape of the type, or None
        If `covariances` is None, `precisions` is not.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int or None
    log_noise_density : float or None, default=None
        The logarithm of the density of the noise component, if there is one.

    Returns
    -------
    mixture : Mixture
    precisions : ndarray or None
        The precisions, if the covariances were not given.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or wrong values.
    """
    K, D = np.shape(means)
    threads = effective_n_threads(n_threads)
    kind = covariance_type_of(covariance_type)
    check_features(kind, D)
    has_noise = log_noise_density is not None
    noun = "precision" if covariances is None else "covariance"
    matrices = precisions if covariances is None else covariances
    array = check_matrices(matrices, kind, K, D, noun)
    checked = check_weights(weights, K, has_noise)
    noise = None
    if log_noise_density is not None:
        noise = Noise(log_noise_density, remaining_weight(checked, _tolerance(weights)))
    means = check_means(means, K, D)
    if covariances is not None:
        factor = kind.factor_covariances(array, D, threads)
        mixture = mixture_of(prepare(checked, means, factor, kind.name, noise), array)
    else:
        factor = kind.factor_precisions(array, D, threads)
        mixture = mixture_of(prepare(checked, means, factor, kind.name, noise))
    violated = kind.violation(mixture.covariances, K, D)
    if violated:
        raise ValueError(
            f"the {noun}s do not have {violated}, as covariance_type={kind.name!r} has them"
        )
    return mixture, array if covariances is None else None


def _tolerance(weights: object) -> float:
    """Return how far the sum of given weights may be from 1 because of rounding."""
    return 1e-6 if getattr(weights, "dtype", None) == np.float32 else 1e-8


def remaining_weight(weights: Float64Array, tolerance: float = 1e-6) -> float:
    """Return what given weights lack to 1, or 0 if that is within a tolerance."""
    rest = 1.0 - float(weights.sum())
    return rest if rest > tolerance else 0.0
