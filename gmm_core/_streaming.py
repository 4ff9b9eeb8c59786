"""How the estimator learns from a stream, call by call; the formulas are in stepwise.py."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core._fitting import FittingMethods
from gmm_core._threads import effective_n_threads
from gmm_core.em import Fit
from gmm_core.parameter_validation import check_parameters, check_reg_covar
from gmm_core.parameters import Parameters
from gmm_core.passes import ArrayPass
from gmm_core.statistics import NumericalError, Statistics, maximization_step
from gmm_core.stepwise import about_means, mixed, rows_of_a_start, statistics_of, step_size
from gmm_core.validation import FloatArray, Names, check_sample_weight, check_X

Float64Array = npt.NDArray[np.float64]


# The stream hardly leaves the optimum that it begins at.
_STARTS = 10


class Stream(NamedTuple):
    """Where a stream is.

    Attributes
    ----------
    parameters : Parameters
    statistics : Statistics
        Mean of the statistics of a sample, about the means of the parameters.
    memory : float
        Weight of the past, as a forgetting factor has left it.
    """

    parameters: Parameters
    statistics: Statistics
    memory: float


class Collected(NamedTuple):
    """The first samples of a stream, until they are enough for a start.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,)
    n_fitted : int
        Samples that the present parameters were found from; 0 before there are any.
    names : ndarray of object, or None
    """

    X: FloatArray
    sample_weight: Float64Array
    n_fitted: int
    names: Names | None


class StreamingMethods(FittingMethods):
    """Stepwise EM; the constructor is that of GaussianMixture."""

    learning_decay: float
    forget_factor: float | None

    def _learn(self, X: Any, sample_weight: Any) -> None:
        check_parameters(self.get_params(), type(self).__name__)
        collected: Collected | None = vars(self).get("_collected")
        names: Names | None
        if collected is not None:
            D, names = collected.X.shape[1], collected.names
            array, _ = check_X(X, n_features=D, feature_names=names)
        elif self.__sklearn_is_fitted__():
            array, names = self._check_input(X, False), vars(self).get("feature_names_in_")
        else:
            array, names = check_X(X)
        weight = check_sample_weight(sample_weight, len(array), may_be_zero=True)
        if weight is None:
            weight = np.ones(len(array))
        array, weight = array[weight > 0], weight[weight > 0]
        if collected is None and self.__sklearn_is_fitted__():
            self._follow(array, weight)
        elif collected is None:
            self._collect(Collected(array, weight, 0, names))
        else:
            self._collect(
                collected._replace(
                    X=np.concatenate([collected.X, array.astype(collected.X.dtype, copy=False)]),
                    sample_weight=np.concatenate([collected.sample_weight, weight]),
                )
            )

    def _collect(self, collected: Collected) -> None:
        """Fit what there is, when it has grown by half, and begin when it is enough."""
        n_samples, n_features = collected.X.shape
        enough = rows_of_a_start(self.n_components, n_features)
        if n_samples < max(2, self.n_components, min(enough, 1.5 * collected.n_fitted)):
            self._collected = collected
            return
        n_init = max(_STARTS, self.n_init) if n_samples >= enough else self.n_init
        params = {
            **self.get_params(), "checkpoint": None, "warm_start": False, "n_init": n_init
        }  # fmt: skip
        start = type(self)(**params)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what so few samples cannot be
                start.fit(collected.X[:enough], sample_weight=collected.sample_weight[:enough])
        except NumericalError:
            if n_samples >= enough:
                raise
        else:
            n_fitted = min(enough, n_samples)
            vars(start)["n_samples_seen_"] = float(collected.sample_weight[:n_fitted].sum())
            if collected.names is not None:
                vars(start)["feature_names_in_"] = collected.names
            if n_samples > enough:
                start._follow(collected.X[enough:], collected.sample_weight[enough:])
            collected = collected._replace(n_fitted=n_fitted)
        vars(self).update((k, v) for k, v in vars(start).items() if k not in params)
        if n_samples < enough:
            self._collected = collected
        else:
            vars(self).pop("_collected", None)

    def _stream(self) -> tuple[Stream, float]:
        """Where the stream is, and the weight of the samples seen.

        After `fit` or an assignment to an attribute: at the parameters that there are now.
        """
        stream: Stream | None = vars(self).get("_position")
        parameters = self._parameters_to_continue(np.shape(self.means_)[1], "partial_fit")
        seen = vars(self).get("n_samples_seen_", rows_of_a_start(*parameters.means.shape))
        if stream is not None and all(
            np.array_equal(now, then.astype(now.dtype))
            for now, then in (
                (self.weights_, stream.parameters.weights),
                (self.means_, stream.parameters.means),
                (self.precisions_cholesky_, stream.parameters.precisions_cholesky),
            )
        ):
            return stream, seen
        statistics = statistics_of(parameters, self._reg_covar(parameters))
        forget = self.forget_factor
        memory = seen if forget in (None, 1) else (1 - forget**seen) / (1 - forget)
        return Stream(parameters, statistics, memory), seen

    def _reg_covar(self, parameters: Parameters) -> float | Float64Array:
        return check_reg_covar(self.reg_covar, parameters.means.shape[1])

    def _follow(self, X: FloatArray, sample_weight: Float64Array) -> None:
        """A step for each part of the samples."""
        (parameters, statistics, memory), seen = self._stream()
        K, D = parameters.means.shape
        dtype = np.asarray(self.means_).dtype
        reg_covar, n_threads = self._reg_covar(parameters), effective_n_threads(self.n_threads)
        at_once = rows_of_a_start(K, D)
        n_steps, log_likelihood = 0, math.nan
        for first in range(0, len(X), at_once):
            part = X[first : first + at_once].astype(dtype, copy=False)
            weight = sample_weight[first : first + at_once]
            total = float(weight.sum())
            if self.forget_factor is None:
                step = step_size(seen, total, 10 * self._n_parameters(), self.learning_decay)
            else:
                # A sample that k others follow counts forget_factor**k.
                weight = weight * self.forget_factor ** np.arange(len(part))[::-1]
                memory = memory * self.forget_factor ** len(part) + float(weight.sum())
                step = float(weight.sum()) / memory
            scaled = np.ldexp(weight, -int(np.frexp(weight.max())[1]))  # for float32, as in `fit`
            data = ArrayPass(part, scaled, K, self.covariance_type, n_threads)
            batch = data.expectation(parameters)
            statistics = mixed(statistics, batch, step)
            parameters, _ = maximization_step(statistics, reg_covar, data.n_threads)
            statistics = about_means(statistics, parameters.means)
            seen += total
            n_steps += 1
            log_likelihood = batch.log_likelihood / batch.weight
        if not n_steps:
            return
        n_before = vars(self)["n_iter_"] if "_position" in vars(self) else 0
        fit = Fit(parameters, [], log_likelihood, False)
        self._keep(fit, dtype, D, vars(self).get("feature_names_in_"))
        self.n_iter_, self.n_samples_seen_ = n_before + n_steps, seen
        self._position = Stream(parameters, statistics, memory)
