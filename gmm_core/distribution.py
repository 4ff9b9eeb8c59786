"""A mixture as a probability distribution: what can be asked of it without data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from gmm_core.core.random import check_random_state
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import Float64Array, FloatArray, Indices, Names
from gmm_core.data.conversion import as_float_array
from gmm_core.data.features import features_of
from gmm_core.data.finite import check_finite
from gmm_core.data.foreign import ForeignRows
from gmm_core.data.parameter_validation import check_weights
from gmm_core.data.validation import check_X
from gmm_core.fit.loop import Fit
from gmm_core.fit.result import attributes_of, set_attributes
from gmm_core.infer import univariate
from gmm_core.infer.condition import condition
from gmm_core.infer.conditional import Conditional, conditional
from gmm_core.infer.distances import mahalanobis
from gmm_core.infer.divergence import KLDivergence, kl_divergence
from gmm_core.infer.draw import draw
from gmm_core.infer.regions import HighestDensityRegion, univariate_region
from gmm_core.infer.score import FittedMixture, log_likelihood
from gmm_core.io.scipy import to_scipy
from gmm_core.model.attributes import mixture_from
from gmm_core.model.components import join, merge, split, take
from gmm_core.model.entropy import EntropyBounds, entropy_bounds
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

    def conditional(self, X: Any, given: Any) -> Conditional:
        """Return the distributions of the other features, given those of each row of X.

        Given the features x_o of a row, component k has the weight r_k, its responsibility for x_o,
        and the other features x_m have the mean μ_km + Σ_kmo Σ_koo⁻¹ (x_o − μ_ko) and the
        covariance Σ_kmm − Σ_kmo Σ_koo⁻¹ Σ_kom, which does not depend on the row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_given)
            The values of the features `given`, in this order.
        given : int, str, or sequence of int and str
            Indices or names (see `feature_names_in_`) of the features that X has. Negative indices
            count from the end.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)
            The weights of the conditional mixtures. As in `predict_proba`, a row that is so far
            from all components that its squared distances overflow belongs to the nearest one.
        means : ndarray of shape (n_samples, n_components, n_others)
            The means of the features that are not given, in ascending order of their indices.
        covariances : ndarray of shape (n_components, n_others, n_others)
            Their covariances, for all rows. The three arrays are a named tuple. They are float32 if
            both X and `means_` are, else float64.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If there is no such feature, if one is given twice, if all are given, if X has another
            number of columns or other names than `given`, or values that are not finite, if a mean
            is beyond the range of float64, or if the model has a noise component.

        See Also
        --------
        condition : The conditional mixture of one row, as a model.
        GaussianMixtureRegressor : Regression by such distributions.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> covariances = [[[2.0, 1.0], [1.0, 4.0]]]
        >>> gm = GaussianMixture.from_parameters([1.0], [[1.0, 5.0]], covariances=covariances)
        >>> r, means, covariances = gm.conditional([[3.0], [1.0]], given=0)
        >>> means.round(6).tolist(), covariances.round(6).tolist()
        ([[[6.0]], [[5.0]]], [[[3.5]]])
        """
        mixture, names = self._gaussians(), self._names()
        known = features_of(given, mixture.means.shape[1], names, "given")
        rows, _ = check_X(
            X, n_features=len(known), feature_names=None if names is None else names[known],
            allow_nan=True, estimator_name=f"{type(self).__name__} with given={known.tolist()}",
        )  # fmt: skip
        check_finite(rows, "X", "`impute` takes missing values.")
        made = conditional(rows, mixture, known, self.n_threads)
        dtype = np.result_type(rows.dtype, self._dtype())
        return Conditional._make(array.astype(dtype, copy=False) for array in made)

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
            The probability of values up to `x`, with a small relative error, also of 1e-300.
            It is NaN where `x` is. It is float32 if `x` is an array of float32 and the model is
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
            The values with ``cdf(x) == q``, to rounding. They are −inf and inf where `q` is 0 and
            1.

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

    def highest_density_region(
        self,
        probability: float,
        n_samples: int = 100_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> HighestDensityRegion:
        """Return the smallest set that holds a given probability: all x of at least some density.

        For one feature it is exact. Its intervals lie around the modes, and together they are
        shorter than any other set of the same probability. For more features, the least density
        is that of a quantile of the densities of samples of the model (Hyndman 1996), which has an
        error of the order of 1 / √n_samples.

        Parameters
        ----------
        probability : float
            The probability of the region, between 0 and 1.
        n_samples : int, default=100000
            Number of samples, if there is more than one feature.
        random_state : int, RandomState or None, default=None
            Seed of the samples. None means the `random_state` of the model.

        Returns
        -------
        region : HighestDensityRegion
            A named tuple of `log_density`, the logarithm of the least density in the region, and
            `intervals`, of shape (n_intervals, 2), which is None for more than one feature. The
            rows of X that lie in the region are ``gm.score_samples(X) >= region.log_density``.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `probability` is not a number between 0 and 1, if `n_samples` is not a positive whole
            number, if the model has a noise component, or if floating-point numbers do not resolve
            the region of one feature.

        References
        ----------
        R. J. Hyndman, Computing and graphing highest density regions, The American Statistician 50
        (1996).

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[-3.0], [3.0]], covariances=[1, 1])
        >>> gm.highest_density_region(0.5).intervals.round(2).tolist()
        [[-3.67, -2.33], [2.33, 3.67]]
        """
        p = _probabilities(probability, "probability")
        if p.ndim or not 0 < p < 1:
            raise ValueError(f"probability should be between 0 and 1, got {probability!r}")
        if self._gaussians().means.shape[1] == 1:
            return univariate_region(float(p), *self._univariate("highest_density_region"))
        model, state = self._model(), self._random_state(random_state)
        density = log_likelihood(draw(model.prepared, n_samples, state)[0], model)
        return HighestDensityRegion(float(np.quantile(density, 1 - float(p))), None)

    def to_scipy(self) -> Any:
        """Convert a model of one feature to a distribution of SciPy.

        Returns
        -------
        distribution : scipy.stats.Mixture
            A mixture of objects of `scipy.stats.Normal`, with methods such as `pdf`, `cdf`, `icdf`,
            `entropy`, `moment` and `sample`.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If the model has more than one feature or a noise component.
        ImportError
            If SciPy is not installed, or is older than 1.15.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[-3.0], [3.0]], covariances=[1, 1])
        >>> float(gm.to_scipy().variance())
        10.0
        """
        return to_scipy(*self._univariate("to_scipy"))

    # --- distances and information ------------------------------------------------------------

    def mahalanobis(self, X: Any) -> FloatArray:
        """Return the Mahalanobis distance of each sample from each component.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The samples. With ``missing="marginalize"``, the distance of an incomplete sample is
            that in the features that it has.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_components)
            √((x − μ_k)ᵀ Σ_k⁻¹ (x − μ_k)), not squared, as in SciPy. If Σ_k is the covariance of the
            samples of a component, the squares are distributed as χ² with `n_features` degrees of
            freedom. float32 if X and the fitted means are float32, else float64.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If X does not fit the model or is not numbers.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [9.0]], covariances=[1.0, 4.0])
        >>> gm.mahalanobis([[3.0]]).tolist()
        [[3.0, 3.0]]
        """
        return mahalanobis(self._rows(X), self._model())

    def entropy(self) -> EntropyBounds:
        """Return bounds of the differential entropy −∫ p log p, which has no closed form.

        Returns
        -------
        bounds : EntropyBounds
            A named tuple of `lower` and `upper`, in nats. They are equal if there is one component,
            and nearly so if the components lie far apart.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If the model has a noise component.

        Notes
        -----
        The lower bound is the larger of that of Huber et al. and that of Kolchinsky & Tracey with
        Bhattacharyya distances. The upper bound is the smaller of that of Kolchinsky & Tracey with
        Kullback-Leibler divergences and the entropy of a Gaussian with the covariance of the
        mixture. The time grows with the square of the number of components. ``-gm.score(X)`` is an
        estimate of the entropy itself, if X are many samples of ``gm.sample``.

        References
        ----------
        M. F. Huber, T. Bailey, H. Durrant-Whyte, U. D. Hanebeck, On entropy approximation for
        Gaussian mixture random vectors, IEEE International Conference on Multisensor Fusion and
        Integration (2008).
        A. Kolchinsky, B. D. Tracey, Estimating mixture entropy with pairwise distances, Entropy 19
        (2017).

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[-3.0], [3.0]], covariances=[1, 1])
        >>> bounds = gm.entropy()
        >>> round(bounds.lower, 3), round(bounds.upper, 3)
        (2.101, 2.112)
        """
        return entropy_bounds(self._gaussians())

    def kl_divergence(
        self,
        other: Distribution,
        n_samples: int = 100_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> KLDivergence:
        """Estimate the Kullback-Leibler divergence of another mixture from this one, by sampling.

        It is ∫ p log (p / q) with the density p of this model and q of the other.

        Parameters
        ----------
        other : GaussianMixture
            A fitted model with the same number of features.
        n_samples : int, default=100000
            Number of samples of this model that are drawn; at least 2.
        random_state : int, RandomState or None, default=None
            Seed of the samples. None means the `random_state` of this model.

        Returns
        -------
        divergence : KLDivergence
            A named tuple of `estimate` and `standard_error`, in nats.

        Raises
        ------
        NotFittedError
            If one of the models is not fitted.
        ValueError, TypeError
            If `other` is no mixture or has another number of features, if `n_samples` is not a
            whole number, or if this model has noise without a box.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> p = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[1.0], random_state=0)
        >>> q = GaussianMixture.from_parameters([1.0], [[1.0]], covariances=[1.0])
        >>> divergence = p.kl_divergence(q)    # exactly 0.5
        >>> abs(divergence.estimate - 0.5) < 4 * divergence.standard_error
        True
        """
        p, q = self._model(), _model_of(other, "other")
        _check_same_features(other, "other", self, "this model")
        return kl_divergence(p, q, n_samples, self._random_state(random_state))

    # --- other components ---------------------------------------------------------------------

    def merge(self, components: Sequence[int]) -> Self:
        """Replace components by a single one with the same weight, mean and covariance.

        Parameters
        ----------
        components : sequence of int
            The indices of two or more components. Negative ones count from the end.

        Returns
        -------
        model : GaussianMixture
            A new model with full covariances, as merged components may lie apart in any direction.
            The new component takes the place of the first of them. The mean and the covariance of
            the whole mixture are unchanged.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `components` are not two or more different indices of components.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters(
        ...     [0.25, 0.25, 0.5], [[-3.0], [3.0], [50.0]], covariances=[1, 1, 1]
        ... )
        >>> merged = gm.merge([0, 1])
        >>> merged.means_.ravel().tolist(), merged.covariances_.ravel().tolist()
        ([0.0, 50.0], [10.0, 1.0])
        """
        mixture = self._mixture()
        chosen = _components_of(components, len(mixture.weights))
        if len(chosen) < 2:
            raise ValueError(f"components should be two or more, got {components!r}")
        return self._made_of(merge(mixture, chosen), self._names())

    def split(self, component: int) -> Self:
        """Replace a component by two equal ones, side by side along its longest axis.

        The two have the weight, the mean and the covariance of the halves of the Gaussian when it
        is cut through its mean. So the mean and the covariance of the mixture are unchanged.

        Parameters
        ----------
        component : int
            The index of the component. Negative ones count from the end.

        Returns
        -------
        model : GaussianMixture
            A new model of one component more. The halves take the place of the component. The
            second one has the larger mean in the feature that varies most along the axis. The
            covariances are 'diag' if those of this model are diagonal or spherical, else 'full'.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `component` is not the index of a component.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0, 5.0]], covariances=[[4.0, 1.0]])
        >>> halves = gm.split(0)
        >>> halves.means_.round(3).tolist()
        [[-1.596, 5.0], [1.596, 5.0]]
        """
        mixture = self._mixture()
        (k,) = _components_of([component], len(mixture.weights), "component")
        return self._made_of(split(mixture, int(k)), self._names())

    def sort(self) -> Self:
        """Return the mixture with its components sorted by weight, the largest first.

        Components of equal weight keep their order.

        Returns
        -------
        model : GaussianMixture
            A new model of the same covariance type. This model is unchanged.

        Raises
        ------
        NotFittedError
            If the model is not fitted.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[1.0], [2.0]], covariances=[1, 1])
        >>> gm.sort().means_.ravel().tolist()
        [2.0, 1.0]
        """
        mixture = self._mixture()
        order = np.argsort(-mixture.weights, kind="stable")
        return self._made_of(take(mixture, order), self._names())

    # --- parts of these methods ---------------------------------------------------------------

    n_threads: int | None
    random_state: Any
    missing: Any
    noise: Any

    def _dtype(self) -> np.dtype[Any]:
        """Return the dtype of the model, float32 or float64."""
        raise NotImplementedError

    def _rows(self, X: Any) -> FloatArray | ForeignRows:
        """Check samples against the fitted features, and return them."""
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

    def _random_state(self, random_state: object) -> np.random.RandomState:
        """Return the generator of a method: the one that is given, or that of the model."""
        return check_random_state(self.random_state if random_state is None else random_state)

    def _names(self) -> Names | None:
        """Return the names of the features, if there are any."""
        names: Names | None = vars(self).get("feature_names_in_")
        return names

    def _made_of(
        self, mixture: Mixture, names: Names | None, dtype: np.dtype[Any] | None = None
    ) -> Self:
        """Return a new model of this class from its parameters."""
        cls: Any = type(self)
        has_noise = mixture.prepared.noise is not None
        box = vars(self).get("noise_box_") if has_noise else None
        params = {
            "covariance_type": mixture.covariance_type, "random_state": self.random_state,
            "n_threads": self.n_threads, "missing": self.missing,
            "noise": self.noise if has_noise else False,
        }  # fmt: skip
        model: Self = cls(len(mixture.weights), **params)
        fit = Fit(mixture, [], math.nan, False)
        dtype, n_threads = dtype or self._dtype(), effective_n_threads(self.n_threads)
        set_attributes(model, attributes_of(fit, dtype, names, n_threads, noise_box_=box))
        return model


_Model = TypeVar("_Model", bound=Distribution)


def mix(models: Sequence[_Model], weights: npt.ArrayLike | None = None) -> _Model:
    """Return the mixture of several mixtures: a sample is one of model i with probability w_i.

    There is no operator ``+`` for this, as the sum of two distributions is mostly understood as
    that of two random variables, and as it could not tell the weights.

    Parameters
    ----------
    models : sequence of GaussianMixture
        Fitted models with the same features.
    weights : array-like of shape (n_models,), default=None
        The probabilities w_i of the models, which sum to 1. None means that they are equal. For
        models that were fitted to different samples, the shares of the samples are a choice that
        describes all of them.

    Returns
    -------
    model : GaussianMixture
        A new model with the components of all models, in their order. The covariance type is
        'spherical' or 'diag' if it holds the covariances of all models, and else 'full'. The class,
        `random_state`, `n_threads` and `missing` are those of the first model. The model is float32
        if all models are, and has names of features if all models have them.

    Raises
    ------
    NotFittedError
        If a model is not fitted.
    ValueError, TypeError
        If there is no model, if an entry is not a mixture or has a noise component, if the features
        differ, or if the weights are negative or do not sum to 1.

    Examples
    --------
    >>> from gmm_core import GaussianMixture, mix
    >>> a = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[1.0])
    >>> b = GaussianMixture.from_parameters([0.5, 0.5], [[5.0], [9.0]], covariances=[1.0, 2.0])
    >>> mix([a, b], weights=[0.8, 0.2]).weights_.round(6).tolist()
    [0.8, 0.1, 0.1]
    """
    if isinstance(models, Distribution):
        raise TypeError(f"models should be a sequence of models, got {type(models).__name__}")
    models = list(models)
    if not models:
        raise ValueError("models is empty, expected at least one model")
    for i, model in enumerate(models):
        _model_of(model, f"models[{i}]")
        for j in range(i):
            _check_same_features(model, f"models[{i}]", models[j], f"models[{j}]")
    n = len(models)
    shares = np.full(n, 1 / n) if weights is None else check_weights(weights, n)
    mixture = join([model._gaussians() for model in models], shares / shares.sum())
    names = [model._names() for model in models]
    common = None if any(own is None for own in names) else names[0]
    dtype = np.result_type(*(model._dtype() for model in models))
    return models[0]._made_of(mixture, common, dtype)


def _probabilities(value: npt.ArrayLike, name: str) -> Float64Array:
    """Return numbers from 0 to 1 as an array of float64, or raise an error with the name."""
    array = as_float_array(value, name, allow_strings=False).astype(np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} should be from 0 to 1, got {value!r}")
    return array


def _components_of(components: object, n_components: int, argument: str = "components") -> Indices:
    """Return indices of different components, or raise an error that names the argument."""
    array = np.asarray(components)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"{argument} should be integers, got {components!r}")
    if (array < -n_components).any() or (array >= n_components).any():
        raise ValueError(
            f"{argument} should be from {-n_components} to {n_components - 1}, got {array.tolist()}"
        )
    indices: Indices = array.astype(np.intp) % n_components
    if len(np.unique(indices)) < len(indices):
        raise ValueError(f"{argument} has a component twice: {array.tolist()}")
    return indices


def _model_of(value: object, argument: str) -> FittedMixture:
    """Return the mixture of an argument that should be a fitted model."""
    if not isinstance(value, Distribution):
        raise TypeError(
            f"{argument} should be a fitted GaussianMixture, got {type(value).__name__}"
        )
    return value._model()


def _check_same_features(
    model: Distribution, name: str, other: Distribution, name_of_other: str
) -> None:
    """Raise ValueError if fitted models differ in the number or the names of their features."""
    D, expected = (np.shape(vars(m)["means_"])[1] for m in (model, other))
    if D != expected:
        raise ValueError(f"{name} has {D} features, but {name_of_other} has {expected}")
    names, others = model._names(), other._names()
    if names is not None and others is not None and list(names) != list(others):
        raise ValueError(
            f"{name} has the features {list(names)}, but {name_of_other} has {list(others)}"
        )
