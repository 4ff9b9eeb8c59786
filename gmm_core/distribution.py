"""A mixture as a probability distribution: what can be asked of it without data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import Names
from gmm_core.data.conversion import as_float_array
from gmm_core.data.features import features_of
from gmm_core.fit.loop import Fit
from gmm_core.fit.result import attributes_of, set_attributes
from gmm_core.infer.condition import condition
from gmm_core.infer.score import FittedMixture
from gmm_core.model.attributes import dtype_of, mixture_from
from gmm_core.model.marginal import marginal_of
from gmm_core.model.parameters import Mixture
from gmm_core.sklearn_api import Estimator


class Distribution(Estimator):
    """The base class of fitted mixtures, with the methods that need only their parameters.

    Methods that return a model return a new one. Like a model of `from_parameters`, it has no
    history of a fit. It keeps `random_state`, `n_threads` and `missing`; other parameters of its
    constructor have their defaults.
    """

    __slots__ = ()

    # --- marginal and conditional distributions -----------------------------------------------

    def marginal(self, features: Any) -> Self:
        """Return the distribution of some of the features.

        Parameters
        ----------
        features : int, str, or sequence of int and str
            Indices or names (see `feature_names_in_`) of the features, in the order that they have
            in the result. Negative indices count from the end.

        Returns
        -------
        model : GaussianMixture
            A new model. Its weights are those of this model; its means and covariances are the
            entries for these features. 'full', 'tied', 'diag' and 'spherical' stay what they are;
            other types become the one of these four whose covariances have the same shape.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If there is no such feature, if one is given twice, or if the model has a noise
            component.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> covariances = [[[2.0, 1.0], [1.0, 4.0]]]
        >>> gm = GaussianMixture.from_parameters([1.0], [[1.0, 5.0]], covariances=covariances)
        >>> marginal = gm.marginal([1])
        >>> marginal.means_.tolist(), marginal.covariances_.tolist()
        ([[5.0]], [[[4.0]]])
        """
        mixture, names = self._gaussians(), self._names()
        chosen = features_of(features, mixture.means.shape[1], names)
        return self._made_of(marginal_of(mixture, chosen), None if names is None else names[chosen])

    def condition(self, given: Mapping[Any, Any]) -> Self:
        """Return the distribution of the other features, given the values of some.

        Parameters
        ----------
        given : dict of int or str to float
            The values of features by their indices or names (see `feature_names_in_`).

        Returns
        -------
        model : GaussianMixture
            A new model of the features that are not given, in their order. Its weights are the
            responsibilities of the components for the given values. They are the limits of the
            responsibilities where the density of the values is too small for a floating-point
            number. Its covariance type is as in `marginal`.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If there is no such feature, if one is given twice, if none or all are given, if a value
            is not a finite number, or if the model has a noise component.

        See Also
        --------
        impute : Fill missing values by the means of these distributions, or by draws from them.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> covariances = [[[2.0, 1.0], [1.0, 4.0]]]
        >>> gm = GaussianMixture.from_parameters([1.0], [[1.0, 5.0]], covariances=covariances)
        >>> conditional = gm.condition({0: 3.0})
        >>> conditional.means_.round(6).tolist(), conditional.covariances_.round(6).tolist()
        ([[6.0]], [[[3.5]]])
        """
        mixture, names = self._gaussians(), self._names()
        if not isinstance(given, Mapping):
            raise TypeError(
                f"given should be a dict from features to values, got {type(given).__name__}"
            )
        known = features_of(list(given), mixture.means.shape[1], names, "given")
        values = as_float_array(list(given.values()), "given", allow_strings=False)
        result, left = condition(mixture, known, values, self.n_threads)
        return self._made_of(result, None if names is None else names[left])

    # --- parts of these methods ---------------------------------------------------------------

    n_threads: int | None
    random_state: Any
    missing: Any

    def _model(self) -> FittedMixture:
        """Check the fitted attributes, and return them with their options."""
        raise NotImplementedError

    def _mixture(self) -> Mixture:
        """Check the fitted attributes, and return them with their covariances."""
        self._model()  # raises if there is none
        return mixture_from(vars(self), vars(self)["covariance_type"], self.n_threads)

    def _gaussians(self) -> Mixture:
        """Return the mixture; raise ValueError if it has a noise component."""
        mixture = self._mixture()
        if mixture.prepared.noise is not None:
            raise ValueError(
                "the model has a noise component, whose density is uniform; this method is for "
                "mixtures of Gaussians alone"
            )
        return mixture

    def _names(self) -> Names | None:
        """Return the names of the features, if there are any."""
        names: Names | None = vars(self).get("feature_names_in_")
        return names

    def _made_of(self, mixture: Mixture, names: Names | None) -> Self:
        """Return a new model of this class from its parameters."""
        cls: Any = type(self)
        params = {
            "covariance_type": mixture.covariance_type, "random_state": self.random_state,
            "n_threads": self.n_threads, "missing": self.missing,
        }  # fmt: skip
        model: Self = cls(len(mixture.weights), **params)
        fit = Fit(mixture, [], math.nan, False)
        dtype, n_threads = dtype_of(vars(self)["means_"]), effective_n_threads(self.n_threads)
        set_attributes(model, attributes_of(fit, dtype, names, n_threads))
        return model
