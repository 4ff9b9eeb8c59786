"""Regression by a Gaussian mixture of features and targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import not_fitted_error
from gmm_core.core.random import check_random_state
from gmm_core.core.types import (
    AccelerationName,
    AnyArray,
    CovarianceName,
    Float64Array,
    FloatArray,
    MissingName,
    Names,
    StartName,
)
from gmm_core.data.conversion import as_float_array
from gmm_core.data.targets import check_targets
from gmm_core.data.validation import check_sample_weight, check_X
from gmm_core.fit import run
from gmm_core.fit.joint import joint_data
from gmm_core.fit.options import InitCallable, check_options
from gmm_core.fit.result import set_attributes
from gmm_core.infer import regression
from gmm_core.infer.conditional import conditional_blocks
from gmm_core.infer.draw import check_n_samples
from gmm_core.mixture import GaussianMixture
from gmm_core.sklearn_api import Estimator

if TYPE_CHECKING:
    from sklearn.utils import Tags


class GaussianMixtureRegressor(Estimator):
    """Regression by a Gaussian mixture of features and targets together.

    `fit` fits a mixture p(x, y) = Σ_k π_k N((x, y) | μ_k, Σ_k). A prediction is the conditional
    distribution of the targets, which is a mixture as well:
    p(y | x) = Σ_k r_k(x) N(y | μ_ky + Σ_kyx Σ_kxx⁻¹ (x − μ_kx), Σ_kyy − Σ_kyx Σ_kxx⁻¹ Σ_kxy), where
    r_k(x) are the responsibilities of the components for x. Its mean is a blend of K linear
    functions. It may have several modes and be skewed, and its variance depends on x.

    With one component and ``reg_covar=0``, the mean is that of linear regression by ordinary least
    squares.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, or one of mclust's names, \
default='full'
        The type of the covariances of features and targets together; see `GaussianMixture`. With
        'full', each component has a linear function of its own, and with 'tied' all have the same
        slopes. Types without covariances between features have slopes of 0, so that the mean is a
        blend of constants. 'spherical', EII, VII, EVE, VVE, EEV and VEV depend on the units of
        features and targets: standardise both.
    tol : float, default=1e-3
        EM stops when the mean log-likelihood changes by less than `tol` in an iteration, in nats
        per sample.
    reg_covar : float or array-like of shape (n_features + n_targets,), default=1e-6
        Regularisation, relative to the variances of the features and the targets in the training
        data. Unlike in `GaussianMixture`, it does not depend on their units. A feature or a target
        without variance has the unit 1.
    max_iter : int, default=100
        Largest number of iterations of EM.
    n_init : int, default=1
        Number of starts, of which the one with the largest log-likelihood is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'hierarchical'} or \
callable, default='kmeans'
        The method that finds a start; see `GaussianMixture`. 'kmeans' and 'k-means++' measure
        distances between standardised features and targets. A callable gets features and targets
        side by side, as they are.
    random_state : int, RandomState or None, default=None
        Seed of the starts, and of `sample_y`. None means NumPy's global generator.
    n_threads : int or None, default=None
        Number of threads; see `GaussianMixture`. Results are bit-identical for any number of
        threads.
    missing : {'error', 'marginalize'}, default='error'
        The meaning of NaN in X and y. With 'error', NaN is an error. With 'marginalize', it is a
        value that is missing at random, which is integrated out exactly, in `fit` and in
        predictions. Rows without a target still tell `fit` about the features.
    acceleration : {'squarem', 'lbfgs'} or None, default=None
        The acceleration of EM; see `GaussianMixture`.

    Attributes
    ----------
    mixture_ : GaussianMixture
        The fitted mixture of features and targets, in their units. The targets are its last
        features. It has names of features if X and y both have names, and no name occurs twice.
    n_iter_ : int
        Number of iterations of EM.
    n_targets_ : int
        Number of targets.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,), object
        Names of the features. The attribute exists only if X had column names.

    See Also
    --------
    GaussianMixture.conditional : The conditional mixtures themselves, for any of the features.

    References
    ----------
    Z. Ghahramani, M. I. Jordan, Supervised learning from incomplete data via an EM approach,
    Advances in Neural Information Processing Systems 6 (1994).

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import GaussianMixtureRegressor
    >>> X = np.linspace(-2, 2, 401)[:, None]
    >>> y = np.where(X[:, 0] < 0, X[:, 0], 3 * X[:, 0])
    >>> model = GaussianMixtureRegressor(n_components=2, random_state=0).fit(X, y)
    >>> model.predict([[-1.0], [1.5]]).round(1).tolist()
    [-1.0, 4.5]
    """

    mixture_: GaussianMixture
    n_iter_: int
    n_targets_: int
    n_features_in_: int
    feature_names_in_: Names
    _is_vector: bool  # whether y had one dimension

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceName = "full",
        tol: float = 1e-3,
        reg_covar: float | npt.ArrayLike = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: StartName | InitCallable = "kmeans",
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
        missing: MissingName = "error",
        acceleration: AccelerationName | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.n_threads = n_threads
        self.missing = missing
        self.acceleration = acceleration

    def fit(
        self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Fit the mixture of features and targets by EM.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features. If both X and y are float32, the computation is in float32.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample.

        Returns
        -------
        self : GaussianMixtureRegressor
            The fitted model.

        Raises
        ------
        ValueError, TypeError
            If an argument or a parameter of the constructor is invalid, if a feature or a target
            has no value, or if all starts fail. The estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged within `max_iter` iterations.
        UserWarning
            If a component has no samples, or has collapsed onto few samples; and for each start
            that fails, if there are several.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureRegressor
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0]
        >>> model = GaussianMixtureRegressor(reg_covar=0).fit(X, y)
        >>> model.predict([[4.0]]).round(6).tolist()
        [10.5]
        """
        names = list(GaussianMixtureRegressor._parameter_defaults())
        params = {name: getattr(self, name) for name in names}
        check_options(params, type(self).__name__)
        rows, feature_names = self._checked(X, min_samples=2)
        targets = check_targets(y, len(rows), self.missing == "marginalize", type(self).__name__)
        joint = joint_data(rows, targets.values, sample_weight, self.reg_covar)
        mixture = GaussianMixture(**{**params, "reg_covar": joint.reg_covar})
        result, _ = run.fit_array(
            mixture._options(), {}, joint.X, joint.sample_weight, clusters=joint.clusters
        )
        result.keep_in(mixture)
        if feature_names is not None and targets.names is not None:
            both = np.concatenate([feature_names, targets.names])
            if len(set(both)) == len(both):
                mixture.feature_names_in_ = both
        set_attributes(
            self,
            {
                "mixture_": mixture,
                "n_iter_": mixture.n_iter_,
                "n_targets_": targets.values.shape[1],
                "n_features_in_": rows.shape[1],
                "feature_names_in_": feature_names,
                "_is_vector": targets.is_vector,
            },
        )
        return self

    @overload
    def predict(
        self, X: Any, return_std: Literal[False] = False, return_cov: Literal[False] = False
    ) -> FloatArray: ...

    @overload
    def predict(
        self, X: Any, return_std: bool = False, return_cov: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]: ...

    def predict(
        self, X: Any, return_std: bool = False, return_cov: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Return the means of the targets given X, and their standard deviations or covariances.

        Given x, component k predicts the mean m_k and the covariance C_k. The mean of the mixture
        is Σ_k r_k m_k, and by the law of total variance its covariance is
        Σ_k r_k (C_k + (m_k − mean)(m_k − mean)ᵀ).

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.
        return_std : bool, default=False
            Whether the standard deviations are returned too.
        return_cov : bool, default=False
            Whether the covariances between the targets are returned too. Rows are independent of
            one another.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_targets)
            The means, in the shape of the y of `fit`. The dtype of all results is float32 if both
            X and the model are float32, else float64.
        std : ndarray of shape (n_samples,) or (n_samples, n_targets)
            The standard deviations, if `return_std`.
        cov : ndarray of shape (n_samples, n_targets, n_targets)
            The covariances, if `return_cov`.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `fit` would not accept X, if X has other features than the training data, or if both
            standard deviations and covariances are asked for.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureRegressor
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0]
        >>> model = GaussianMixtureRegressor(reg_covar=0).fit(X, y)
        >>> mean, std = model.predict([[4.0]], return_std=True)
        >>> mean.round(6).tolist(), std.round(6).tolist()
        ([10.5], [0.707107])
        """
        for name, value in (("return_std", return_std), ("return_cov", return_cov)):
            if not isinstance(value, (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        if return_std and return_cov:
            raise ValueError("give only one of return_std and return_cov")
        kind: Any = "variance" if return_std else "covariance" if return_cov else None
        blocks, n, dtype = self._conditionals(X)
        made, spread = regression.moments(blocks, n, self.n_targets_, kind)
        mean = self._shaped(made, dtype)
        if return_std:
            return mean, self._shaped(np.sqrt(spread), dtype)
        return (mean, spread.astype(dtype, copy=False)) if return_cov else mean

    def predict_quantiles(self, X: Any, quantiles: npt.ArrayLike = (0.05, 0.5, 0.95)) -> FloatArray:
        """Return quantiles of the distribution of each target given X.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.
        quantiles : float or array-like of shape (n_quantiles,), default=(0.05, 0.5, 0.95)
            Probabilities between 0 and 1. The quantiles for 0 and 1 are infinite.

        Returns
        -------
        values : ndarray of shape (n_samples, n_quantiles) or (n_samples, n_targets, n_quantiles)
            The quantiles, with a dimension for the targets if the y of `fit` had one. The last
            dimension is missing if `quantiles` is a number.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `quantiles` are not probabilities.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureRegressor
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0]
        >>> model = GaussianMixtureRegressor(reg_covar=0).fit(X, y)
        >>> model.predict_quantiles([[4.0]], [0.05, 0.95]).round(3).tolist()
        [[9.337, 11.663]]
        """
        given: AnyArray = as_float_array(quantiles, "quantiles", allow_strings=False)
        p = given.astype(np.float64)
        if p.ndim > 1 or not ((p >= 0) & (p <= 1)).all():
            raise ValueError(
                f"quantiles should be a number or an array (n_quantiles,) of probabilities from 0 "
                f"to 1, got {quantiles!r}"
            )
        blocks, n, dtype = self._conditionals(X)
        values = self._shaped(
            regression.quantiles(blocks, n, self.n_targets_, np.atleast_1d(p)), dtype
        )
        return values if p.ndim else values[..., 0]

    def sample_y(
        self,
        X: Any,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> FloatArray:
        """Draw targets from their distribution given X.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples_X, n_features)
            The features.
        n_samples : int, default=1
            Number of draws for each row of X.
        random_state : int, RandomState or None, default=None
            Seed of the draws. None means the parameter `random_state` of the constructor.

        Returns
        -------
        y : ndarray of shape (n_samples_X, n_samples) or (n_samples_X, n_targets, n_samples)
            The draws, with a dimension for the targets if the y of `fit` had one.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `n_samples` is not a positive whole number.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureRegressor
        >>> model = GaussianMixtureRegressor().fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0])
        >>> model.sample_y([[4.0], [5.0]], n_samples=3, random_state=0).shape
        (2, 3)
        """
        count = check_n_samples(n_samples)
        seed = self.random_state if random_state is None else random_state
        blocks, n, dtype = self._conditionals(X)
        drawn = regression.draws(blocks, n, self.n_targets_, count, check_random_state(seed))
        return self._shaped(drawn, dtype)

    def score(
        self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return the coefficient of determination R² of the means that `predict` returns.

        It is 1 − Σ w (y − predicted)² / Σ w (y − mean of y)², averaged over the targets.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets. Targets that are missing do not count.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights w; None means a weight of 1 for each sample.

        Returns
        -------
        score : float
            At most 1. A constant target has the score 1 if it is predicted exactly, else 0. The
            score of a single sample is NaN.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `y` or `sample_weight` is invalid.

        Warns
        -----
        UserWarning
            If there is only one sample.

        Examples
        --------
        >>> from gmm_core import GaussianMixtureRegressor
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0]
        >>> round(GaussianMixtureRegressor(reg_covar=0).fit(X, y).score(X, y), 3)
        0.893
        """
        blocks, n, _ = self._conditionals(X)
        targets = check_targets(y, n, self.missing == "marginalize", type(self).__name__)
        if targets.values.shape[1] != self.n_targets_:
            raise ValueError(
                f"y has {targets.values.shape[1]} targets, but {type(self).__name__} was fitted "
                f"with {self.n_targets_}"
            )
        weight = check_sample_weight(sample_weight, n)
        mean, _ = regression.moments(blocks, n, self.n_targets_)
        return regression.r_squared(targets.values.astype(np.float64), mean, weight)

    # --- parts of these methods ---------------------------------------------------------------

    def _checked(self, X: Any, **fitted: Any) -> tuple[FloatArray, Names | None]:
        """Check the features, and return them with their names."""
        return check_X(
            X, allow_nan=self.missing == "marginalize", estimator_name=type(self).__name__,
            n_threads=self.n_threads, **fitted,
        )  # fmt: skip

    def _conditionals(self, X: Any) -> tuple[regression.Blocks, int, np.dtype[Any]]:
        """Return the conditional mixtures, the number of rows, and the dtype of results."""
        attributes = vars(self)
        if "mixture_" not in attributes:
            raise not_fitted_error(type(self).__name__)
        rows, _ = self._checked(
            X, n_features=self.n_features_in_, feature_names=attributes.get("feature_names_in_")
        )
        blocks = conditional_blocks(rows, self.mixture_._gaussians(), self.n_threads)
        return blocks, len(rows), np.result_type(rows.dtype, self.mixture_._dtype())

    def _shaped(self, values: Float64Array, dtype: np.dtype[Any]) -> FloatArray:
        """Return results of shape (n_samples, n_targets, ...) in the dtype and the shape of y."""
        shaped: FloatArray = (values[:, 0] if self._is_vector else values).astype(dtype, copy=False)
        return shaped

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that this is a regressor, and whether it accepts NaN."""
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        tags.target_tags.required, tags.target_tags.multi_output = True, True
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags
