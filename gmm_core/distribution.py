"""A mixture as a probability distribution: what can be asked of it without data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import Float64Array, Names
from gmm_core.data.conversion import as_float_array
from gmm_core.data.features import features_of
from gmm_core.fit.loop import Fit
from gmm_core.fit.result import attributes_of, set_attributes
from gmm_core.infer import univariate
from gmm_core.infer.condition import condition
from gmm_core.infer.score import FittedMixture
from gmm_core.model.attributes import mixture_from
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

    # --- one feature --------------------------------------------------------------------------

    def cdf(self, x: npt.ArrayLike) -> Any:
        """Return the cumulative distribution function, for a model of one feature.

        Parameters
        ----------
        x : array-like
            Values, of any shape. Infinite values are allowed.

        Returns
        -------
        cdf : ndarray of the shape of `x`, or a number
            The probability of values up to `x`, with errors of a few ulp also where it is small. It
            is NaN where `x` is. It is float32 if `x` is an array of float32 and the model is
            float32, else float64.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If the model has more than one feature or a noise component, or if `x` is not numbers.

        See Also
        --------
        marginal : ``gm.marginal(feature).cdf(x)`` is for one of several features.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[-3.0], [3.0]], covariances=[1, 1])
        >>> gm.cdf([-3.0, 0.0]).round(6).tolist()
        [0.25, 0.5]
        """
        one = self._univariate("cdf")
        values = as_float_array(x, "x", allow_strings=False)
        result = univariate.cdf(values.astype(np.float64).ravel(), *one).reshape(values.shape)
        return result.astype(np.result_type(values.dtype, self._dtype()))[()]

    def quantile(self, q: npt.ArrayLike) -> Any:
        """Return quantiles, for a model of one feature: the inverse of `cdf`.

        Parameters
        ----------
        q : array-like
            Probabilities from 0 to 1, of any shape.

        Returns
        -------
        x : ndarray of the shape of `q`, or a number, float64
            The values with ``cdf(x) == q``, to a few ulp of `q` or of 1 − `q`, whichever is
            smaller. They are −inf and inf where `q` is 0 and 1.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If the model has more than one feature or a noise component, or if `q` is not numbers
            from 0 to 1.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[-3.0], [3.0]], covariances=[1, 1])
        >>> gm.quantile([0.25, 1.0]).round(6).tolist()
        [-3.0, inf]
        """
        one = self._univariate("quantile")
        p = _probabilities(q, "q")
        return univariate.quantile(p.ravel(), *one).reshape(p.shape)[()]

    def interval(self, confidence: npt.ArrayLike) -> tuple[Any, Any]:
        """Return intervals with equal tails around the median, for a model of one feature.

        Parameters
        ----------
        confidence : array-like
            Probabilities of the intervals, from 0 to 1, of any shape.

        Returns
        -------
        low, high : ndarray of the shape of `confidence`, or numbers, float64
            The ends. The probability below `low` and that above `high` are (1 − `confidence`) / 2.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If the model has more than one feature or a noise component, or if `confidence` is not
            numbers from 0 to 1.

        See Also
        --------
        highest_density_region : The smallest set of a given probability.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[5.0]], covariances=[4.0])
        >>> [round(float(end), 4) for end in gm.interval(0.95)]
        [1.0801, 8.9199]
        """
        one = self._univariate("interval")
        tail = (1 - _probabilities(confidence, "confidence")) / 2
        low, high = (
            univariate.tail_quantile(tail.ravel(), np.full(tail.size, upper), *one)
            for upper in (False, True)
        )
        high = np.maximum(low, high)  # both are the median, to rounding, where `confidence` is 0
        return low.reshape(tail.shape)[()], high.reshape(tail.shape)[()]

    # --- parts of these methods ---------------------------------------------------------------

    n_threads: int | None
    random_state: Any
    missing: Any

    def _dtype(self) -> np.dtype[Any]:
        """Return the dtype of the model, float32 or float64."""
        raise NotImplementedError

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

    def _univariate(self, method: str) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return weights, means and standard deviations; raise ValueError unless D is 1."""
        mixture = self._gaussians()
        K, D = mixture.means.shape
        if D != 1:
            raise ValueError(
                f"{method} is for models of one feature, but this one has {D}: use "
                f"marginal(feature).{method}"
            )
        deviations = np.sqrt(mixture.kind.variances(mixture.covariances, K, D)[:, 0])
        return mixture.weights / mixture.weights.sum(), mixture.means[:, 0], deviations

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
        dtype, n_threads = self._dtype(), effective_n_threads(self.n_threads)
        set_attributes(model, attributes_of(fit, dtype, names, n_threads))
        return model


def _probabilities(value: npt.ArrayLike, name: str) -> Float64Array:
    """Return numbers from 0 to 1 as an array of float64, or raise an error with the name."""
    array = as_float_array(value, name, allow_strings=False).astype(np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} should be from 0 to 1, got {value!r}")
    return array
