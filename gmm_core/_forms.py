"""A mixture in other forms: from its parameters, as a file, as scikit-learn's class."""

from __future__ import annotations

import math
import os
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gmm_core import _persistence
from gmm_core._attributes import MixtureAttributes
from gmm_core._threads import effective_n_threads
from gmm_core.covariance import COVARIANCE_TYPES, precisions_cholesky_of
from gmm_core.em import Fit
from gmm_core.parameter_validation import (
    check_means_init,
    check_parameters,
    check_precisions_init,
    check_weights_init,
)
from gmm_core.parameters import parameters_from


class MixtureForms(MixtureAttributes):
    """Conversions of a mixture; the constructor is that of GaussianMixture."""

    @classmethod
    def from_parameters(
        cls,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        *,
        covariances: npt.ArrayLike | None = None,
        precisions: npt.ArrayLike | None = None,
        covariance_type: str | None = None,
        **params: Any,
    ) -> Self:
        """Make a ready model from its parameters.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
        means : array-like of shape (n_components, n_features)
        covariances, precisions : array-like
            One of the two, in the shape of the covariance type.
        covariance_type : {'full', 'tied', 'diag', 'spherical'}, optional
            Needed only if the shape fits more than one type.
        **params
            Further arguments of the constructor.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        ValueError
            If a shape or value does not fit, or not exactly one of covariances and precisions
            is given.
        """
        if (covariances is None) == (precisions is None):
            raise ValueError("give either covariances or precisions, and not both")
        shape = np.shape(means)
        if len(shape) != 2:
            raise ValueError(f"means has shape {shape}, expected (n_components, n_features)")
        K, D = shape
        given = "precisions" if covariances is None else "covariances"
        matrices = precisions if covariances is None else covariances
        if covariance_type is None:
            covariance_type = _type_by_shape(np.shape(matrices), K, D, given)  # type: ignore[arg-type]
        model = cls(K, covariance_type=covariance_type, **params)  # type: ignore[call-arg]
        check_parameters(model.get_params(), cls.__name__)
        array = check_precisions_init(matrices, covariance_type, K, D, kind=given[:-1])
        n_threads = effective_n_threads(model.n_threads)
        parameters = parameters_from(
            check_weights_init(weights, K),
            check_means_init(means, K, D),
            precisions_cholesky_of(
                array, covariance_type, D, given=given, n_threads=n_threads
            ),
            covariance_type,
            array if given == "covariances" else None,
        )
        means_dtype = getattr(means, "dtype", None)
        dtype = np.dtype(np.float32 if means_dtype == np.float32 else np.float64)
        model._keep(Fit(parameters, [], math.nan, False), dtype, D, None)
        if given == "precisions":
            vars(model)["precisions_"] = array.astype(dtype)
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a NumPy .npz file.

        Parameters
        ----------
        path : str or path
            Used as it is; no suffix is added. A `random_state` that is not an int, and an
            `init_params` that is a callable, are not kept. A model in a
            `partial_fit` stream continues after `load` exactly as the original would.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If a parameter or an attribute is not what `load` would accept.
        OSError
            If the file cannot be written. An older file of that name is unchanged, unless it had to
            be written in place (a pipe, a device, a file in a read-only folder).
        """
        if not self.__sklearn_is_fitted__():
            raise self._not_fitted_error()
        self._parameters()
        _persistence.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        GaussianMixture

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is not such a model, or of a later format version.
        """
        params, attributes = _persistence.load(path)
        try:
            model = cls(**params)
            check_parameters(model.get_params(), cls.__name__)
            vars(model).update(attributes)
            model._parameters()
        except (TypeError, ValueError, OverflowError) as error:
            raise _persistence.not_a_model(path, error) from error
        return model

    def to_sklearn(self) -> Any:
        """Make the same model as scikit-learn's own class.

        Returns
        -------
        sklearn.mixture.GaussianMixture

        Raises
        ------
        ImportError
            If scikit-learn is not installed.
        """
        self._parameters()
        try:
            from sklearn.mixture import GaussianMixture as Other
        except ImportError as error:
            raise ImportError(
                "to_sklearn needs scikit-learn, which cannot be imported: pip install scikit-learn"
            ) from error
        params = {name: getattr(self, name) for name in Other().get_params()}
        if callable(params["init_params"]):
            del params["init_params"]
        other = Other(**params)
        for name in _persistence.ATTRIBUTES:
            value = getattr(self, name, None)
            if value is not None:
                setattr(other, name, np.copy(value) if isinstance(value, np.ndarray) else value)
        return other


def _type_by_shape(shape: tuple[int, ...], K: int, D: int, given: str) -> str:
    fitting = [name for name, kind in COVARIANCE_TYPES.items() if kind.shape(K, D) == shape]
    if len(fitting) != 1:
        what = f"fits {' and '.join(fitting)}: give covariance_type" if fitting else "fits no type"
        raise ValueError(f"{given} of shape {shape}, for means of shape {(K, D)}, {what}")
    return fitting[0]
