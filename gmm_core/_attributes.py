"""The fitted attributes of a mixture, and how an assignment to one is honoured by all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core._estimator import BaseEstimator
from gmm_core.covariance import (
    COVARIANCE_TYPES,
    precisions_and_covariances,
    precisions_cholesky_of,
)
from gmm_core.em import Fit
from gmm_core.parameter_validation import check_precisions_init
from gmm_core.parameters import Parameters, parameters_from
from gmm_core.statistics import NumericalError
from gmm_core.validation import not_fitted_error

_COVARIANCE_ATTRIBUTES = ("covariances_", "precisions_", "precisions_cholesky_")

# Covariances of a condition of 1e12 and their factors, both in float64, agree to 1e-4.
_AGREE = 1e-3
_TINY = np.finfo(np.float64).tiny  # precisions below it have lost digits, their factor has not


class MixtureAttributes(BaseEstimator):
    """Weights, means, and three that say the same: covariances, precisions, their factors.

    The methods use `precisions_cholesky_`. What the user assigns replaces the other two attributes,
    which are then derived from it when they are asked for.
    """

    covariance_type: str

    def _keep(
        self,
        fit: Fit,
        dtype: np.dtype[Any],
        n_features: int,
        names: npt.NDArray[np.object_] | None,
        **others: Any,
    ) -> None:
        """Set the fitted attributes, all at once; None takes an attribute of the others away.

        Raises
        ------
        NumericalError
            If one is beyond the range of the dtype; then none is set.
        """
        p = fit.parameters
        precisions, _ = precisions_and_covariances(p.precisions_cholesky, self.covariance_type)
        with np.errstate(over="ignore", under="ignore"):
            arrays = {
                "weights_": p.weights.astype(dtype),
                "means_": p.means.astype(dtype),
                "covariances_": p.covariances.astype(dtype),
                "precisions_": precisions.astype(dtype),
                "precisions_cholesky_": p.precisions_cholesky.astype(dtype),
            }
        is_matrix = COVARIANCE_TYPES[self.covariance_type].is_matrix
        for name, array in arrays.items():
            positive = name in _COVARIANCE_ATTRIBUTES
            entries = np.einsum("...ii->...i", array) if positive and is_matrix else array
            if not np.isfinite(array).all() or (positive and not entries.all()):
                advice = "scale the data" + (" or use float64" if dtype == np.float32 else "")
                raise NumericalError(f"{name} would be beyond the range of {dtype}: {advice}")
        attributes = {
            **arrays,
            "converged_": fit.converged,
            "n_iter_": len(fit.lower_bounds),
            "lower_bound_": fit.lower_bound,
            "lower_bounds_": fit.lower_bounds,
            "n_features_in_": n_features,
            "feature_names_in_": names,
            **others,
        }
        vars(self).update({k: v for k, v in attributes.items() if v is not None})
        for name, value in attributes.items():
            if value is None:
                vars(self).pop(name, None)

    def __setattr__(self, name: str, value: object) -> None:
        # The last assignment wins: the other two attributes that say the same are dropped, and
        # derived when they are asked for. A factor that agrees is kept, as it has more digits.
        attributes = vars(self)
        if name in _COVARIANCE_ATTRIBUTES:
            factor = attributes.get("precisions_cholesky_")
            for other in _COVARIANCE_ATTRIBUTES:
                attributes.pop(other, None)
            if factor is not None and self._agree(name, value, factor):
                attributes["precisions_cholesky_"] = factor
        attributes[name] = value

    def _agree(self, name: str, value: Any, factor: npt.NDArray[Any]) -> bool:
        """Whether precisions or covariances are those of a factor, but for rounding."""
        if name == "precisions_cholesky_" or np.shape(value) != np.shape(factor):
            return False
        array, U = np.asarray(value, np.float64), np.asarray(factor, np.float64)
        with np.errstate(all="ignore"):
            if not COVARIANCE_TYPES[self.covariance_type].is_matrix:
                if name == "covariances_":
                    return bool((abs(array * U**2 - 1) < _AGREE).all())
                return bool((abs(U**2 - array) <= _AGREE * array + _TINY).all())
            Ut = np.swapaxes(U, -1, -2)
            if name == "covariances_":
                return bool((abs(Ut @ array @ U - np.eye(len(Ut[-1]))) < _AGREE).all())
            scale = np.sqrt(np.einsum("...ii->...i", array))
            unit = scale[..., :, None] * scale[..., None, :]
            return bool((abs(U @ Ut - array) <= _AGREE * unit + _TINY).all())

    def __getattr__(self, name: str) -> Any:
        """Derive those of the three covariance attributes that are not there from one that is."""
        if name in _COVARIANCE_ATTRIBUTES:
            attributes = vars(self)
            if name != "precisions_cholesky_" and "means_" in attributes:
                # the methods' factor comes from what was assigned, whatever is read before
                getattr(self, "precisions_cholesky_", None)
            derived = self._derive(name, attributes)
            if derived is not None:
                attributes[name] = derived
                return derived
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _derive(self, name: str, attributes: Mapping[str, Any]) -> npt.NDArray[Any] | None:
        if "means_" not in attributes:
            return None
        K, D = np.shape(attributes["means_"])
        for source in ("precisions_cholesky_", "covariances_", "precisions_"):
            if source in attributes:
                given = np.asarray(attributes[source])
                break
        else:
            return None
        factor = np.asarray(given, np.float64)
        if source != "precisions_cholesky_":
            kind = "covariance" if source == "covariances_" else "precision"
            factor = check_precisions_init(factor, self.covariance_type, K, D, kind=kind)
            factor = precisions_cholesky_of(factor, self.covariance_type, D, given=source[:-1])
        if name == "precisions_cholesky_":
            return factor.astype(given.dtype)
        precisions, covariances = precisions_and_covariances(factor, self.covariance_type)
        return (precisions if name == "precisions_" else covariances).astype(given.dtype)

    def _parameters(self) -> Parameters:
        """The fitted attributes as they are now, in float64, with their shapes checked."""
        if "means_" not in vars(self) or "weights_" not in vars(self):
            raise not_fitted_error(type(self).__name__)
        means = np.ascontiguousarray(self.means_, dtype=np.float64)
        if means.ndim != 2:
            raise ValueError(f"means_ has shape {means.shape}, expected (n_components, n_features)")
        K, D = means.shape
        shape = COVARIANCE_TYPES[self.covariance_type].shape(K, D)
        arrays = {}
        for name, expected in (("weights_", (K,)), ("precisions_cholesky_", shape)):
            arrays[name] = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if arrays[name].shape != expected:
                raise ValueError(
                    f"{name} has shape {arrays[name].shape}, expected {expected} for means_ of "
                    f"shape {(K, D)} and covariance_type={self.covariance_type!r}"
                )
        factor = arrays["precisions_cholesky_"]
        if not (np.isfinite(means).all() and (arrays["weights_"] >= 0).all()):
            raise ValueError("means_ must be finite and weights_ non-negative")
        return parameters_from(arrays["weights_"], means, factor, self.covariance_type, factor)

    def _n_parameters(self) -> int:
        """Number of free parameters."""
        K, D = np.shape(self.means_)
        return int(COVARIANCE_TYPES[self.covariance_type].n_parameters(K, D) + K * D + K - 1)
