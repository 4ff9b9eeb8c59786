"""The conversion of a mixture of one feature to a distribution of SciPy."""

from __future__ import annotations

from typing import Any

from gmm_core.core.types import Float64Array


def to_scipy(weights: Float64Array, means: Float64Array, deviations: Float64Array) -> Any:
    """Return a mixture of one feature as an object of `scipy.stats.Mixture`.

    Raises
    ------
    ImportError
        If SciPy is not installed, or is older than 1.15, which has brought this class.
    """
    try:
        from scipy.stats import Mixture, Normal
    except ImportError as error:
        raise ImportError(
            "to_scipy needs SciPy 1.15 or later, with scipy.stats.Mixture, which cannot be "
            f"imported ({error}): pip install 'scipy>=1.15'"
        ) from error
    components = [Normal(mu=m, sigma=s) for m, s in zip(means, deviations, strict=True)]
    return Mixture(components, weights=weights)
