"""The additive statistics of a pass over the data, and the M-step: statistics to parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gmm_core._dispatch import check_status, expectation, maximization
from gmm_core.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.parameters import Parameters

Float64Array = npt.NDArray[np.float64]
RegCovar = float | Float64Array     # for all features, or one for each

_FLOAT64 = np.dtype(np.float64)

# Moments lose the digits of (mean - shift)**2 / variance: above this they are taken again, about
# the new means (Chan, Golub & LeVeque 1983).
MAX_DRIFT = 100.0

NOT_POSITIVE_DEFINITE = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    "number of components, increase reg_covar, or scale the input data."
)


class NumericalError(ValueError):
    """EM cannot go on from this start; another may do better."""


class IllDefinedCovarianceError(NumericalError):
    """The covariance of a component is not positive definite."""


class NoDensityError(NumericalError):
    """A sample has probability 0 under every component."""

    def __init__(self, row: int, condition: str = "") -> None:
        super().__init__(row, condition)    # so that it can be pickled
        self.row, self.condition = row, condition

    def __str__(self) -> str:
        return (
            f"X[{self.row}]{self.condition} has probability 0 under every component: it is too far "
            "from all of them for floating-point numbers. Scale the data, or start from other "
            "means."
        )


def check_covariance_type(covariance_type: object) -> CovarianceType:
    """Look up a covariance type.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if not isinstance(covariance_type, str) or covariance_type not in COVARIANCE_TYPES:
        raise ValueError(
            f"covariance_type should be one of {', '.join(COVARIANCE_TYPES)}, "
            f"but got {covariance_type!r}"
        )
    return COVARIANCE_TYPES[covariance_type]


@dataclass(slots=True, eq=False)
class Statistics:
    """Sums over the samples of a pass; those of two parts of the data add up.

    Attributes
    ----------
    values : ndarray of float64
        Log-likelihood, total weight, counts N_k = Σ w r (K), first moments Σ w r (x − c_k) (K, D),
        and second moments about c_k in the packed form of the covariance type.
    shift : ndarray of shape (K, D), float64
        The origins c_k.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Raises
    ------
    ValueError, TypeError
        If an array has another shape or dtype, or there is no such type.
    """

    values: Float64Array
    shift: Float64Array
    covariance_type: str

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check the arrays for what the kernels rely on. Unaligned arrays are replaced by copies.

        Raises
        ------
        ValueError, TypeError
            Naming the array.
        """
        code = check_covariance_type(self.covariance_type).code
        for name, array, ndim in (("values", self.values, 1), ("shift", self.shift, 2)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} should be an ndarray, but got {type(array).__name__}")
            if array.dtype != _FLOAT64 or array.ndim != ndim or not array.size:
                raise ValueError(
                    f"{name} has dtype {array.dtype} and shape {array.shape}, expected float64 and "
                    + ("(n_components, n_features)" if ndim == 2 else "(n_sums,)")
                )
            flags = array.flags
            if not (flags.c_contiguous and flags.aligned):  # such as from a network
                setattr(self, name, np.require(array, requirements=["C", "A"]))
        n_sums = expectation(_FLOAT64).sizes(code, *self.shift.shape)[0]
        if len(self.values) != n_sums:
            raise ValueError(
                f"values has {len(self.values)} sums, expected {n_sums} for "
                f"{self.covariance_type!r} and a shift of shape {self.shift.shape}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Statistics):
            return NotImplemented
        return (
            self.covariance_type == other.covariance_type
            and np.array_equal(self.shift, other.shift)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]     # mutable

    @property
    def log_likelihood(self) -> float:
        """Weighted log-likelihood, summed over the samples."""
        return float(self.values[0])

    @property
    def weight(self) -> float:
        """Sum of the sample weights."""
        return float(self.values[1])

    @property
    def counts(self) -> Float64Array:
        """N_k = Σ w r_k, of shape (K,)."""
        return self.values[2 : 2 + len(self.shift)]

    @property
    def nbytes(self) -> int:
        """Size in bytes of the sums and of their origins."""
        return self.values.nbytes + self.shift.nbytes

    def __radd__(self, other: object) -> Statistics:
        """sum() begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __add__(self, other: object) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        same_type = self.covariance_type == other.covariance_type
        if not (same_type and np.array_equal(self.shift, other.shift)):
            raise ValueError("only statistics of one covariance type about one shift can be added")
        return Statistics(self.values + other.values, self.shift, self.covariance_type)


def maximization_step(
    statistics: Statistics,
    reg_covar: RegCovar,
    n_threads: int = 1,
    about: Callable[[Float64Array], Statistics] | None = None,
) -> tuple[Parameters, float]:
    """M-step: the parameters that maximise the expected log-likelihood of the statistics.

    Parameters
    ----------
    statistics : Statistics
    reg_covar : float or ndarray of shape (D,)
        Added to the diagonal of the covariances (its mean, to a spherical variance).
    n_threads : int
    about : callable, optional
        Makes the statistics again, with moments about other origins. It is asked to if the means
        lie so far from the origins of `statistics` that the covariances have lost digits.

    Returns
    -------
    parameters : Parameters
    drift : float
        Largest (μ − shift)² / variance over components and features, the factor that amplifies
        the rounding errors of the second moments.

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance is not positive definite; the message names the component.
    """
    K, D = statistics.shift.shape
    kind = COVARIANCE_TYPES[statistics.covariance_type]
    shape = kind.shape(K, D)
    weights, log_constant, means = np.empty(K), np.empty(K + 1), np.empty((K, D))
    covariances, precisions_cholesky = np.empty(shape), np.empty(shape)
    scratch = np.empty(covariances.size if kind.is_matrix else 0)
    empty = np.empty(K, np.int8)
    failed, drift = maximization.maximization_step(
        statistics.values, statistics.shift, np.full(D, reg_covar, np.float64), weights, means,
        covariances.reshape(-1), precisions_cholesky.reshape(-1), log_constant, scratch, empty,
        kind.code, n_threads,
    )
    check_status(failed)
    if drift > MAX_DRIFT and about is not None:
        return maximization_step(about(means), reg_covar, n_threads)
    if failed:
        raise IllDefinedCovarianceError(
            f"{NOT_POSITIVE_DEFINITE} The covariance of component {failed - 1} is not positive "
            "definite."
        )
    parameters = Parameters(
        weights, means, covariances, precisions_cholesky, log_constant, statistics.covariance_type
    )
    return parameters, drift
