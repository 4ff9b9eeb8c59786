"""The constants with which other programs evaluate a mixture, for ONNX graphs and C headers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gmm_core.core.types import AnyArray
from gmm_core.model.parameters import Prepared

# The factor by which differences are multiplied where the densities of all components underflow.
# Their squares do not overflow then, and do not underflow either.
FAR_SCALES = {"float32": 2.0**-100, "float64": 2.0**-800}


class Constants(NamedTuple):
    """The parameters of a mixture, rounded to float32 or float64.

    Attributes
    ----------
    means : ndarray of shape (K, D)
    remainders : ndarray of shape (K, D), or None
        What the rounding took from the means; None if that is 0 everywhere. (x − mean) − remainder
        has the accuracy of the dtype also where the data are far from zero.
    factors : ndarray of shape (K or 1, D, D) or (K or 1, D)
        Upper triangular U with U Uᵀ = Σ⁻¹, or reciprocal standard deviations. There is only one if
        it is that of all components.
    log_constants : ndarray of shape (K,)
        The weighted log-densities at the means, minus `log_offset`.
    log_offset : float
    """

    means: AnyArray
    remainders: AnyArray | None
    factors: AnyArray
    log_constants: AnyArray
    log_offset: float

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self.means.dtype.name

    @property
    def far_scale(self) -> float:
        """The factor of `FAR_SCALES` for this dtype."""
        return FAR_SCALES[self.dtype]


def constants_of(prepared: Prepared, dtype: Any, method: str) -> Constants:
    """Return the constants of a mixture in a dtype.

    Parameters
    ----------
    prepared : Prepared
    dtype : dtype
    method : str
        The name of the caller for messages.

    Raises
    ------
    ValueError
        If the dtype is neither float32 nor float64, the mixture has a noise component, or a
        parameter overflows or underflows in this dtype.
    """
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in FAR_SCALES:
        raise ValueError(f"dtype should be float32, float64 or None, but got {dtype!r}")
    if prepared.noise is not None:
        raise ValueError(f"{method} does not take a noise component, which this model has")
    K, D = prepared.means.shape
    factors = prepared.kind.factor_of_each(prepared.precisions_cholesky, K, D)
    if (factors == factors[:1]).all():
        factors = factors[:1]
    with np.errstate(over="ignore", invalid="ignore"):
        means, rounded = prepared.means.astype(name), factors.astype(name)
        remainders = (prepared.means - means).astype(name)
    if not np.isfinite(means).all() or prepared.kind.flaw_of_factor(rounded):
        raise ValueError(
            f"a mean or a standard deviation of the model overflows or underflows in {name}; "
            "give dtype='float64'"
        )
    log_constants = prepared.log_constant[:K].astype(name)
    return Constants(
        means, remainders if remainders.any() else None, rounded, log_constants,
        float(prepared.log_constant[K]),
    )  # fmt: skip
