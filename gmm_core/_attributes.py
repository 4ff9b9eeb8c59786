"""The fitted attributes of a mixture, and how an assignment to one is honoured by all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core._estimator import BaseEstimator
from gmm_core._threads import effective_n_threads
from gmm_core.covariance import (
    COVARIANCE_TYPES,
    precisions_and_covariances,
    precisions_cholesky_of,
)
from gmm_core.em import Fit
from gmm_core.parameter_validation import check_precisions_init
from gmm_core.parameters import Parameters, parameters_from
from gmm_core.statistics import NumericalError
from gmm_core.stepwise import rows_of_first_fit
from gmm_core.validation import not_fitted_error

Float64Array = npt.NDArray[np.float64]

_COVARIANCE_ATTRIBUTES = ("covariances_", "precisions_", "precisions_cholesky_")

_ARRAYS = ("weights_", "means_", *_COVARIANCE_ATTRIBUTES)
_WATCHED = frozenset((*_ARRAYS, "covariance_type"))

_SMALL = 4096   # entries of the factors
# Weights may have been rounded to float32, or written down with seven digits.
_WEIGHTS_TOLERANCE = 1e-6


class UnderivableError(ValueError, AttributeError):
    """An attribute cannot be derived from the one that was assigned; so `hasattr` says False."""


class MixtureAttributes(BaseEstimator):
    """Weights, means, and three that say the same: covariances, precisions, their factors.

    The methods use `precisions_cholesky_`. What the user assigns replaces the other two attributes,
    which are then derived from it when they are asked for. A factor is kept, though, if assigned
    precision matrices are those of it within the rounding of U Uᵀ.
    """

    __slots__ = ("_kept",)  # for `_parameters`: not in vars(self), so neither copied nor pickled

    n_components: int
    covariance_type: str
    n_threads: int | None

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
        with np.errstate(over="ignore", under="ignore"):
            factor = p.precisions_cholesky.astype(dtype)
            # those of the rounded factor, so that they are exactly what `_derive` makes of it
            precisions, _ = precisions_and_covariances(
                factor.astype(np.float64, copy=False),
                self.covariance_type,
                effective_n_threads(self.n_threads),
            )
            arrays = {
                "weights_": p.weights.astype(dtype),
                "means_": p.means.astype(dtype),
                "covariances_": p.covariances.astype(dtype),
                "precisions_": precisions.astype(dtype),
                "precisions_cholesky_": factor,
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
        # derived when they are asked for.
        attributes = vars(self)
        if name not in _WATCHED:
            attributes[name] = value
            return
        if name in _ARRAYS:
            if np.ma.is_masked(value):
                raise ValueError(f"{name} has masked values: fill them")
            if np.iscomplexobj(value):  # type: ignore[arg-type]
                raise ValueError(f"{name} has complex values, expected real numbers")
        if name == "covariance_type" and "means_" in attributes:
            # what was assigned is of the present type: its factor tells it from another type
            getattr(self, "precisions_cholesky_", None)
        if name in _COVARIANCE_ATTRIBUTES:
            keep = name == "precisions_" and self._has_precisions(value)
            for other in _COVARIANCE_ATTRIBUTES:
                if not (keep and other == "precisions_cholesky_"):
                    attributes.pop(other, None)
        attributes[name] = value

    def _has_precisions(self, value: Any) -> bool:
        """Whether precisions are those of the present factor, so that it need not be made again.

        To factor them would lose digits: half of them if they are ill-conditioned, and most if they
        are below the smallest normal number. Entries of U Uᵀ err by (D + 2) eps of |U| |U|ᵀ at most
        if U is rounded; U² must agree to the last bit.
        """
        factor = vars(self).get("precisions_cholesky_")
        if factor is None or np.shape(value) != np.shape(factor):
            return False
        array, U = np.asarray(value), np.asarray(factor, np.float64)
        known = isinstance(self.covariance_type, str) and self.covariance_type in COVARIANCE_TYPES
        if not known or array.dtype.kind != "f" or not array.size:
            return False
        is_matrix = COVARIANCE_TYPES[self.covariance_type].is_matrix
        if is_matrix and not (U.ndim > 1 and U.shape[-1] == U.shape[-2]):
            return False
        limits = np.finfo(array.dtype)
        with np.errstate(all="ignore"):
            if is_matrix:
                Ut = np.swapaxes(U, -1, -2)
                product, margin = U @ Ut, (U.shape[-1] + 2) * limits.eps * (abs(U) @ abs(Ut))
            else:
                product, margin = U * U, np.zeros(())
            margin = margin + 4 * limits.smallest_subnormal
            return bool((abs(product - array) <= margin).all())

    def __getattr__(self, name: str) -> Any:
        """Derive those of the three covariance attributes that are not there from one that is."""
        if name in _COVARIANCE_ATTRIBUTES:
            attributes = vars(self)
            try:
                if name != "precisions_cholesky_" and "means_" in attributes:
                    # the methods' factor comes from what was assigned, whatever is read before
                    getattr(self, "precisions_cholesky_", None)
                derived = self._derive(name, attributes)
            except (ValueError, TypeError, KeyError) as error:
                raise UnderivableError(str(error)) from error
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
        n_threads = effective_n_threads(self.n_threads)
        if source == "precisions_cholesky_":
            self._check_factor(factor, K, D)
        else:
            kind = "covariance" if source == "covariances_" else "precision"
            factor = check_precisions_init(factor, self.covariance_type, K, D, kind=kind)
            factor = precisions_cholesky_of(
                factor, self.covariance_type, D, given=source[:-1], n_threads=n_threads
            )
        dtype = np.float32 if given.dtype == np.float32 else np.float64
        if name == "precisions_cholesky_":
            return factor.astype(dtype)
        precisions, covariances = precisions_and_covariances(
            factor, self.covariance_type, n_threads
        )
        return (precisions if name == "precisions_" else covariances).astype(dtype)

    def _parameters(self) -> Parameters:
        """Return the fitted attributes as they are now, in float64, checked.

        To check them takes longer than to score a sample. So those of a small mixture are kept, and
        returned again while the attributes hold the same numbers; the factors of a large one are
        checked entry by entry only if they are another array than the last time.
        """
        if "means_" not in vars(self) or "weights_" not in vars(self):
            raise self._not_fitted_error()
        means = np.ascontiguousarray(self.means_, dtype=np.float64)
        weights = np.ascontiguousarray(self.weights_, dtype=np.float64)
        factor = np.ascontiguousarray(self.precisions_cholesky_, dtype=np.float64)
        content, kept = getattr(self, "_kept", (None, None))
        if factor.size > _SMALL:
            known = content == self.covariance_type and kept is self.precisions_cholesky_
            parameters = self._checked_parameters(weights, means, factor, not known)
            if not known:
                object.__setattr__(self, "_kept", (self.covariance_type, self.precisions_cholesky_))
            return parameters
        arrays = (weights, means, factor)
        here = (self.covariance_type, *((a.shape, a.tobytes()) for a in arrays))
        if content != here:
            kept = self._checked_parameters(weights.copy(), means.copy(), factor.copy())
            object.__setattr__(self, "_kept", (here, kept))
        assert isinstance(kept, Parameters)
        return kept

    def _checked_parameters(
        self,
        weights: Float64Array,
        means: Float64Array,
        factor: Float64Array,
        each_entry: bool = True,
    ) -> Parameters:
        if means.ndim != 2:
            raise ValueError(f"means_ has shape {means.shape}, expected (n_components, n_features)")
        K, D = means.shape
        if weights.shape != (K,):
            raise ValueError(
                f"weights_ has shape {weights.shape}, expected {(K,)} for means_ of shape {(K, D)}"
            )
        if not np.isfinite(means).all():
            raise ValueError("means_ must be finite")
        if not (abs(weights.sum() - 1) <= _WEIGHTS_TOLERANCE and weights.min() >= 0):
            raise ValueError(
                f"weights_ must not be negative and must sum to 1, but the least is "
                f"{weights.min():.5g} and the sum is {weights.sum():.9g}"
            )
        self._check_factor(factor, K, D, each_entry)
        return parameters_from(weights, means, factor, self.covariance_type, factor)

    def _not_fitted_error(self) -> Exception:
        collected = vars(self).get("_collected")
        detail = ""
        if collected is not None:
            n, needed = collected.n_samples, rows_of_first_fit(self.n_components)
            detail = f"partial_fit has collected {n} sample{'s' * (n != 1)}; "
            missing = f"its first fit needs {needed}."
            detail += missing if n < needed else "no fit of them has succeeded yet."
        return not_fitted_error(type(self).__name__, detail)

    def _check_factor(
        self, factor: Float64Array, K: int, D: int, each_entry: bool = True
    ) -> None:
        kind = COVARIANCE_TYPES[self.covariance_type]
        of_type = f"for means_ of shape {(K, D)} and covariance_type={self.covariance_type!r}"
        if factor.shape != kind.shape(K, D):
            raise ValueError(
                f"precisions_cholesky_ has shape {factor.shape}, expected {kind.shape(K, D)} "
                f"{of_type}"
            )
        diagonal = np.einsum("...ii->...i", factor) if kind.is_matrix else factor
        flaw = ""
        if each_entry and not np.isfinite(factor).all():
            flaw = "must be finite"
        elif not diagonal.min() > 0:
            flaw = "must be positive" + (" on the diagonal" if kind.is_matrix else "")
            flaw += f", but the least is {diagonal.min():.5g}"
        elif each_entry and kind.is_matrix and np.tril(factor, -1).any():
            flaw = "must be upper triangular"
        if flaw:
            raise ValueError(f"precisions_cholesky_ {flaw}, {of_type}")

    def _n_parameters(self) -> int:
        """Number of free parameters."""
        K, D = np.shape(self.means_)
        return int(COVARIANCE_TYPES[self.covariance_type].n_parameters(K, D) + K * D + K - 1)
