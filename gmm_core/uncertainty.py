"""The bootstrap of a fitted mixture, and the likelihood-ratio test for the number of components."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import CovarianceName, Float64Array, FloatArray
from gmm_core.data.conversion import is_dask_collection
from gmm_core.data.foreign import check_rows, whole
from gmm_core.data.validation import check_sample_weight, is_batches
from gmm_core.fit import run
from gmm_core.fit.options import Options, check_options
from gmm_core.fit.parallel import SMALL, each
from gmm_core.infer.score import FittedMixture
from gmm_core.mixture import GaussianMixture
from gmm_core.resamples import (
    Fitted,
    Kind,
    difference,
    fit_resample,
    resample,
    seeds,
    succeeded,
)

_SHOWN = 40  # lines of the repr of a bootstrap
# Parameters of GaussianMixture that cannot be the same for all fits of a test.
_REFUSED = (
    "n_components", "weights_init", "means_init", "precisions_init", "labels_init", "fixed",
    "warm_start", "checkpoint", "callback", "time_limit", "random_state", "n_threads",
)  # fmt: skip


class Estimate(NamedTuple):
    """A fitted attribute with its uncertainty; all arrays have its shape.

    Attributes
    ----------
    value : ndarray
        The fitted attribute.
    standard_error : ndarray
        Standard deviation of the replicates.
    low, high : ndarray
        Ends of the percentile intervals.
    replicates : ndarray of shape (n_resamples, ...)
        The attribute in the fit to each resample.
    """

    value: FloatArray
    standard_error: FloatArray
    low: FloatArray
    high: FloatArray
    replicates: FloatArray


class Bootstrap(NamedTuple):
    """The result of `bootstrap`, which prints as a table.

    Attributes
    ----------
    weights, means, covariances : Estimate
        The parameters, in the shapes of `weights_`, `means_` and `covariances_`.
    kind : {'nonparametric', 'parametric', 'weighted'}
    confidence_level : float
    n_resamples : int
        Number of resamples whose fit did not fail.

    Examples
    --------
    >>> from gmm_core import GaussianMixture, bootstrap
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [8.0]]
    >>> bootstrap(GaussianMixture().fit(X), X, 50, random_state=0).means.value.tolist()
    [[4.0]]
    """

    weights: Estimate
    means: Estimate
    covariances: Estimate
    kind: Kind
    confidence_level: float
    n_resamples: int

    def __repr__(self) -> str:
        lines = [["", "value", "std. error", "low", "high"]]
        names = [(name, index) for name in self._fields[:3]
                 for index in np.ndindex(getattr(self, name).value.shape)]  # fmt: skip
        for name, index in names[:_SHOWN]:
            numbers = [array[index] for array in getattr(self, name)[:4]]
            lines.append([f"{name}{list(index)}", *(f"{number:.4g}" for number in numbers)])
        more = f"\n... and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return (
            f"Bootstrap ({self.kind}) of {self.n_resamples} resamples, with intervals of "
            f"{100 * self.confidence_level:g} %\n{_table(lines)}{more}"
        )


class LikelihoodRatioTest(NamedTuple):
    """A test of K components against K + 1.

    Attributes
    ----------
    n_components : int
        Number K of components under the null hypothesis.
    statistic : float
        Twice the difference of the log-likelihoods, −2 log λ.
    p_value : float
        (1 + number of replicates that are at least the statistic) / (1 + number of replicates).
    replicates : ndarray of shape (n_resamples,)
        The statistic of each resample of the mixture of K components.
    """

    n_components: int
    statistic: float
    p_value: float
    replicates: Float64Array


class LikelihoodRatioTests(NamedTuple):
    """The result of `bootstrap_lrt`, which prints as a table.

    Attributes
    ----------
    n_components : int
        The number of components that the tests choose.
    tests : tuple of LikelihoodRatioTest
        The tests of K = 1, 2, ... components. The last one is that which did not reject its null
        hypothesis, if there is one.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import bootstrap_lrt
    >>> X = np.random.default_rng(0).normal(size=(60, 1))
    >>> bootstrap_lrt(X, 2, n_resamples=19, random_state=0).tests[0].n_components
    1
    """

    n_components: int
    tests: tuple[LikelihoodRatioTest, ...]

    def __repr__(self) -> str:
        lines = [["components", "statistic", "p-value"]]
        for K, statistic, p_value, _ in self.tests:
            lines.append([f"{K} vs {K + 1}", f"{statistic:.3f}", f"{p_value:.4g}"])
        n_resamples = max(len(test.replicates) for test in self.tests)
        return (
            f"Likelihood-ratio tests with {n_resamples} resamples: "
            f"{self.n_components} component{'s' * (self.n_components != 1)}\n{_table(lines)}"
        )


def bootstrap(
    model: GaussianMixture,
    X: Any,
    n_resamples: int = 999,
    *,
    kind: Kind = "nonparametric",
    confidence_level: float = 0.95,
    sample_weight: npt.ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_threads: int | None = None,
) -> Bootstrap:
    """Estimate standard errors and intervals of the parameters of a fitted mixture.

    The mixture is fitted to each resample, from the parameters of the model. So component k of a
    fit is that which component k of the model has become, and no labels are switched unless
    components overlap strongly.

    Parameters
    ----------
    model : GaussianMixture
        A fitted model. Its parameters of the constructor are those of the fits, so a `tol` that is
        too large makes standard errors too small.
    X : array-like or data frame of shape (n_samples, n_features)
        The samples that the model was fitted to.
    n_resamples : int, default=999
        Number of resamples, at least 2.
    kind : {'nonparametric', 'parametric', 'weighted'}, default='nonparametric'
        How resamples are made. 'nonparametric' draws rows of X with replacement. 'parametric' draws
        samples from the model, with the missing values of X. 'weighted' gives each row of X a
        random weight, which is exponentially distributed (Newton & Raftery 1994), so that no
        component loses all of its rows.
    confidence_level : float, default=0.95
        The probability that an interval should have, between 0 and 1.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights, which count rows: a row of weight 2 is treated as two equal rows, and
        a resample has as many rows as the sum of the weights, rounded.
    random_state : int, RandomState or None, default=None
        Seed of the resamples. None means NumPy's global generator.
    n_threads : int or None, default=None
        See `GaussianMixture`. Results are bit-identical for any number of threads.

    Returns
    -------
    Bootstrap

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ValueError, TypeError
        For bad input, and if fewer than two fits succeed.

    Warns
    -----
    UserWarning
        If fits fail numerically; the result is that of the others.
    ConvergenceWarning
        If fits do not converge within the model's `max_iter` iterations.

    References
    ----------
    B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993). M. A. Newton, A. E.
    Raftery, Approximate Bayesian inference with the weighted likelihood bootstrap, JRSS B 56
    (1994). A. O'Hagan, T. B. Murphy, L. Scrucca, I. C. Gormley, Investigation of parameter
    uncertainty in clustering using a Gaussian mixture model via jackknife, bootstrap and weighted
    likelihood bootstrap, Computational Statistics 34 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import GaussianMixture, bootstrap
    >>> X = np.random.default_rng(0).normal(size=(400, 1))
    >>> result = bootstrap(GaussianMixture().fit(X), X, 200, random_state=0)
    >>> float(result.means.standard_error[0, 0].round(2))    # 1 / √400
    0.05
    """
    if not isinstance(model, GaussianMixture):
        raise TypeError(f"model is a {type(model).__name__}, expected a GaussianMixture")
    if not (isinstance(kind, str) and kind in get_args(Kind)):
        raise ValueError(f"kind={kind!r}, expected one of {', '.join(map(repr, get_args(Kind)))}")
    n_resamples = _checked_count(n_resamples, "n_resamples", 2)
    level = _checked_share(confidence_level, "confidence_level")
    check_options({"n_threads": n_threads}, "bootstrap")
    options, fitted = model._options(), model._model()
    _refuse_batches(X)
    rows = whole(model._rows(X))
    weight = check_sample_weight(sample_weight, len(rows))
    labels = options.labels_init
    if labels is not None and (np.asarray(labels) < 0).any():
        raise ValueError("bootstrap takes no model with known and unknown labels in labels_init")
    noise = fitted.prepared.noise
    again = options._replace(
        warm_start=True, checkpoint=None, verbose=0, labels_init=None, callback=None,
        time_limit=None, noise=False if noise is None else float(np.exp(noise.log_density)),
    )  # fmt: skip
    # The bound of the model is not one of a resample, with which a warm start would compare.
    before = {k: v for k, v in vars(model).items() if k not in ("lower_bounds_", "_order")}
    before["converged_"] = True

    def fit(job: np.random.SeedSequence, n_threads: int | None, watch: Any) -> Fitted | str:
        drawn = resample(kind, rows, weight, job, fitted)
        return fit_resample(again._replace(n_threads=n_threads), before, drawn, watch)

    jobs = seeds(random_state).spawn(n_resamples)
    small = rows.size * options.n_components < SMALL
    made = succeeded(each(fit, jobs, n_threads, small), n_resamples)
    weights, means, covariances = (
        _estimate(model, name, made, level) for name in ("weights_", "means_", "covariances_")
    )
    return Bootstrap(weights, means, covariances, kind, level, len(made))


def bootstrap_lrt(
    X: Any,
    max_components: int = 9,
    covariance_type: CovarianceName = "full",
    *,
    n_resamples: int = 999,
    significance_level: float = 0.05,
    sample_weight: npt.ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_threads: int | None = None,
    **params: Any,
) -> LikelihoodRatioTests:
    """Choose the number of components by likelihood-ratio tests.

    K components are tested against K + 1, for K = 1, 2, ... until a null hypothesis is not
    rejected. The statistic does not have the usual χ² distribution, since a component of the
    alternative has no meaning under the null hypothesis. Its distribution is found by a parametric
    bootstrap: both mixtures are fitted to samples drawn from the mixture of K components, in the
    same way as to X.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        The samples.
    max_components : int, default=9
        The largest number of components that can be chosen, at least 2.
    covariance_type : str, default='full'
        See `GaussianMixture`.
    n_resamples : int, default=999
        Number of resamples for each test, at least 2. No p-value is below 1 / (1 + n_resamples).
    significance_level : float, default=0.05
        A null hypothesis with a larger p-value is not rejected.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights, which count rows; see `bootstrap`.
    random_state : int, RandomState or None, default=None
        Seed of the resamples and of the starts. None means NumPy's global generator.
    n_threads : int or None, default=None
        See `GaussianMixture`. Results are bit-identical for any number of threads.
    **params
        Further parameters of `GaussianMixture`, such as `init_params`, `n_init` and `reg_covar`.
        The defaults of `tol` and `max_iter` are 1e-5 and 1000. Those that cannot be the same for
        all fits, such as `means_init`, `fixed`, `warm_start` and `callback`, are refused.

    Returns
    -------
    LikelihoodRatioTests

    Raises
    ------
    ValueError, TypeError
        For bad input, and if a fit to X or all but one of those to resamples fail.

    Warns
    -----
    UserWarning
        If fits to resamples fail numerically; the test is made with the others.
    ConvergenceWarning
        If fits do not converge within `max_iter` iterations.

    References
    ----------
    G. J. McLachlan, On bootstrapping the likelihood ratio test statistic for the number of
    components in a normal mixture, Applied Statistics 36 (1987).

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import bootstrap_lrt
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1)) + np.repeat([[0], [6]], 100, axis=0)
    >>> result = bootstrap_lrt(X, 3, n_resamples=99, random_state=0)
    >>> result.n_components, result.tests[0].p_value
    (2, 0.01)
    """
    n_resamples = _checked_count(n_resamples, "n_resamples", 2)
    max_components = _checked_count(max_components, "max_components", 2)
    level = _checked_share(significance_level, "significance_level")
    for name in _REFUSED:
        if name in params:
            raise TypeError(f"bootstrap_lrt has no parameter {name!r} of its fits")
    root = seeds(random_state)
    params = {
        "tol": 1e-5, "max_iter": 1000, **params, "covariance_type": covariance_type,
        "n_threads": n_threads, "random_state": int(root.generate_state(1)[0]),
    }  # fmt: skip
    _refuse_batches(X)
    options = GaussianMixture(max_components, **params)._options()
    checked, _ = check_rows(X, min_samples=2, allow_nan=options.missing == "marginalize")
    rows = whole(checked)
    weight = check_sample_weight(sample_weight, len(rows))
    if max_components > len(rows):
        raise ValueError(f"max_components={max_components}, but X has {len(rows)} samples only")
    total = float(len(rows)) if weight is None else float(weight.sum())

    def fitted(K: int) -> tuple[GaussianMixture, float]:
        model = GaussianMixture(K, **params)
        run.fit_array(model._options(), {}, rows, weight)[0].keep_in(model)
        return model, model.lower_bound_

    null, bound = fitted(1)
    tests: list[LikelihoodRatioTest] = []
    for K, seed in enumerate(root.spawn(max_components - 1), 1):
        alternative, larger = fitted(K + 1)
        mixture, both = null._model(), (null._options(), alternative._options())

        def fit(
            job: np.random.SeedSequence, n_threads: int | None, watch: Any,
            mixture: FittedMixture = mixture, both: tuple[Options, Options] = both,
        ) -> Fitted | str:
            drawn = resample("parametric", rows, weight, job, mixture)
            return difference(
                *(fit_resample(o._replace(n_threads=n_threads), {}, drawn, watch) for o in both)
            )

        small = rows.size * (K + 1) < SMALL
        made = succeeded(each(fit, seed.spawn(n_resamples), n_threads, small), n_resamples)
        replicates = 2 * total * np.array([fit.lower_bound_ for fit in made])
        statistic = 2 * total * (larger - bound)
        p_value = (1 + np.count_nonzero(replicates >= statistic)) / (1 + len(replicates))
        tests.append(LikelihoodRatioTest(K, statistic, float(p_value), replicates))
        if p_value > level:
            return LikelihoodRatioTests(K, tuple(tests))
        null, bound = alternative, larger
    return LikelihoodRatioTests(max_components, tuple(tests))


def _estimate(
    model: GaussianMixture, name: str, made: Sequence[Fitted], level: float
) -> Estimate:
    """Return the estimate of an attribute of the model."""
    replicates = np.array([getattr(fit, name) for fit in made])
    exact = replicates.astype(np.float64, copy=False)
    low, high = np.quantile(exact, [(1 - level) / 2, (1 + level) / 2], axis=0)
    arrays = (getattr(model, name), exact.std(axis=0, ddof=1), low, high)
    value, error, low, high = (np.array(array, replicates.dtype) for array in arrays)
    return Estimate(value, error, low, high, replicates)


# --- checks and printing --------------------------------------------------------------------------


def _checked_count(value: object, name: str, low: int) -> int:
    """Return a number of resamples or components, checked."""
    if not isinstance(value, numbers.Integral) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} should be an int, but got {value!r}")
    if value < low:
        raise ValueError(f"{name}={value}, expected at least {low}")
    return int(value)


def _checked_share(value: object, name: str) -> float:
    """Return a probability, checked."""
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} should be a float, but got {value!r}")
    if not 0 < float(value) < 1:
        raise ValueError(f"{name}={value}, expected a number between 0 and 1")
    return float(value)


def _refuse_batches(X: Any) -> None:
    """Raise TypeError for data that cannot be resampled by row."""
    if is_dask_collection(X) or is_batches(X):
        raise TypeError(
            "X should be an array or a data frame: resamples of batches and of Dask collections "
            "cannot be drawn"
        )


def _table(lines: list[list[str]]) -> str:
    """Return a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
