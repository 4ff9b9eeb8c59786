"""The digamma and log-gamma functions, and those of the multivariate gamma function."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gmm_core import _special
from gmm_core.core.dispatch import check_status
from gmm_core.core.types import Float64Array

_Kernel = Callable[[Float64Array, int, Float64Array], int]


def digamma(x: npt.ArrayLike) -> Float64Array:
    """Return the digamma function psi, the derivative of log Gamma.

    Parameters
    ----------
    x : array-like of positive numbers
        The arguments. psi(0) is taken as -inf, the limit from above. The result is NaN where an
        argument is negative or NaN.

    Returns
    -------
    psi : ndarray of float64, or float64
        An array of the shape of `x`, or a number if `x` is a number. The errors are below 2 ulp.

    Examples
    --------
    >>> from gmm_core.core.special import digamma
    >>> digamma([1, 2]).round(6).tolist()
    [-0.577216, 0.422784]
    """
    return _sum_over_dimensions(_special.digamma, x, 1)


def log_gamma(x: npt.ArrayLike) -> Float64Array:
    """Return the logarithm of the gamma function.

    Parameters
    ----------
    x : array-like of positive numbers
        The arguments. The result is inf where an argument is 0, and NaN where it is negative or
        NaN.

    Returns
    -------
    log_gamma : ndarray of float64, or float64
        An array of the shape of `x`, or a number if `x` is a number. The errors are below 2 ulp.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core.core.special import log_gamma
    >>> np.exp(log_gamma([1, 5])).round(6).tolist()
    [1.0, 24.0]
    """
    return _sum_over_dimensions(_special.log_gamma, x, 1)


def multivariate_digamma(x: npt.ArrayLike, D: int) -> Float64Array:
    """Return the derivative of the logarithm of the multivariate gamma function.

    Parameters
    ----------
    x : array-like of numbers greater than (D - 1) / 2
        The arguments.
    D : int
        The number of dimensions, at least 1.

    Returns
    -------
    psi : ndarray of float64, or float64
        The sum of psi(x - i / 2) over 0 <= i < D, in the shape of `x`.

    Examples
    --------
    >>> from gmm_core.core.special import digamma, multivariate_digamma
    >>> bool(multivariate_digamma(3.5, 2) == digamma(3.5) + digamma(3))
    True
    """
    return _sum_over_dimensions(_special.digamma, x, D)


def multivariate_log_gamma(x: npt.ArrayLike, D: int) -> Float64Array:
    """Return the logarithm of the multivariate gamma function.

    Parameters
    ----------
    x : array-like of numbers greater than (D - 1) / 2
        The arguments.
    D : int
        The number of dimensions, at least 1.

    Returns
    -------
    log_gamma : ndarray of float64, or float64
        D (D - 1) / 4 log(pi) plus the sum of log Gamma(x - i / 2) over 0 <= i < D, in the shape of
        `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core.core.special import multivariate_log_gamma
    >>> bool(np.isclose(np.exp(multivariate_log_gamma(1.5, 2)), np.pi / 2))
    True
    """
    return D * (D - 1) / 4 * math.log(math.pi) + _sum_over_dimensions(_special.log_gamma, x, D)


def _sum_over_dimensions(kernel: _Kernel, x: npt.ArrayLike, D: int) -> Float64Array:
    """Return the sum over D terms that the kernel computes for each number of x."""
    arguments = np.asarray(x, dtype=np.float64)
    result = np.empty(arguments.shape)
    check_status(kernel(arguments.ravel(), D, result.reshape(-1)))
    # like a ufunc of NumPy, give a number for a number
    return result if result.ndim else result[()]
