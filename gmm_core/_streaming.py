"""How the estimator learns from a stream, call by call; the formulas are in stepwise.py."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from gmm_core._fitting import FittingMethods, warn_of_collapse
from gmm_core._threads import effective_n_threads
from gmm_core.conversion import whole
from gmm_core.em import Fit
from gmm_core.frames import Names
from gmm_core.parameter_validation import check_parameters, check_reg_covar
from gmm_core.passes import ArrayPass
from gmm_core.statistics import (
    NoDensityError,
    NumericalError,
    RegCovar,
    maximization_step,
)
from gmm_core.stepwise import (
    Collected,
    Stream,
    about_means,
    mixed,
    rows_of_a_start,
    rows_of_first_fit,
    statistics_of,
    step_size,
)
from gmm_core.validation import FloatArray, check_sample_weight, check_X

Float64Array = npt.NDArray[np.float64]

# The stream hardly leaves the optimum that it begins at: so it begins at the best of several.
_STARTS = 10


class StreamingMethods(FittingMethods):
    """Stepwise EM; the constructor is that of GaussianMixture."""

    learning_decay: float
    forget_factor: float | None

    def _learn(self, X: Any, sample_weight: Any) -> None:
        check_parameters(self.get_params(), type(self).__name__)
        collected: Collected | None = vars(self).get("_collected")
        fitted = self.__sklearn_is_fitted__()
        names: Names | None = None
        if collected is not None:
            D, dtype = collected.X[0].shape[1], collected.X[0].dtype
            array, _ = check_X(X, n_features=D, feature_names=collected.names)
        elif fitted:
            array, dtype = whole(self._check_input(X, False)), np.asarray(self.means_).dtype
        else:
            array, names = check_X(X)
            dtype = array.dtype
        weight = check_sample_weight(sample_weight, len(array), may_be_zero=True)
        array = _cast(array, dtype)
        if collected is None and fitted:
            self._follow(array, weight)
            return
        if collected is None:
            collected = Collected([], [], 0, names)
        weight = np.ones(len(array)) if weight is None else weight
        room = rows_of_a_start(self.n_components, array.shape[1]) - collected.n_samples
        rows = np.flatnonzero(weight)[: max(room, 0)]
        rest = int(rows[-1]) + 1 if len(rows) else 0
        collected = collected._replace(
            X=[*collected.X, array[rows]],
            sample_weight=[*collected.sample_weight, weight[rows]],
        )
        try:
            self._collect(collected, array[rest:], weight[rest:])
        except NoDensityError as error:
            raise NoDensityError(rest + error.row) from error

    def _collect(self, collected: Collected, rest: FloatArray, rest_weight: Float64Array) -> None:
        """Fit what there is, when it has grown by half, and begin when it is enough."""
        n_samples, n_features = collected.n_samples, collected.X[0].shape[1]
        enough = rows_of_a_start(self.n_components, n_features)
        fewest = rows_of_first_fit(self.n_components)
        if n_samples < max(fewest, min(enough, 1.5 * collected.n_fitted)):
            self._collected = collected
            return
        X: npt.NDArray[Any] = np.concatenate(collected.X)
        weight = np.concatenate(collected.sample_weight)
        start = copy.copy(self)
        for name in filter(_is_learned, vars(self)):
            del vars(start)[name]
        start.checkpoint, start.warm_start = None, False
        start.n_init = max(_STARTS, self.n_init) if n_samples >= enough else self.n_init
        learned: dict[str, Any] = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what so few samples cannot be
                start.fit(X, sample_weight=weight)
            if n_samples >= enough:
                parameters = start._parameters()._replace(covariances=start.covariances_)
                warn_of_collapse(
                    parameters, n_samples, check_reg_covar(self.reg_covar, n_features)
                )
        except NumericalError:
            if n_samples >= enough:
                raise
        else:
            collected = collected._replace(n_fitted=n_samples)
            if collected.names is not None:
                start.feature_names_in_ = collected.names
            start._follow(rest, rest_weight)
            learned = {k: v for k, v in vars(start).items() if _is_learned(k)}
        if n_samples < enough:
            vars(self).update(learned, _collected=collected)
        else:
            vars(self).update(learned)
            vars(self).pop("_collected", None)

    def _weight_unit(self, sample_weight: Float64Array | None) -> float:
        """Return the weight that counts as one sample.

        It is the mean weight of the samples that the mixture was first fitted to, or of the first
        batch after `from_parameters`: so only the proportions of the weights matter, as in `fit`.
        """
        attributes = vars(self)
        unit: float = attributes.get("_mean_weight", 1.0)
        if "n_samples_seen_" in attributes or sample_weight is None or not sample_weight.any():
            return unit
        return float(sample_weight.sum() / np.count_nonzero(sample_weight))

    def _stream(self, reg_covar: RegCovar, unit: float) -> tuple[Stream, float]:
        """Where the stream is, and the weight of the samples seen.

        After `fit` or an assignment to an attribute: at the parameters that there are now.
        """
        stream: Stream | None = vars(self).get("_position")
        parameters = self._parameters_to_continue(
            np.shape(self.means_)[1], "partial_fit", "for another mixture, make another model"
        )
        seen = vars(self).get("n_samples_seen_", unit * rows_of_a_start(*parameters.means.shape))
        if (
            stream is not None
            and stream.parameters.covariance_type == self.covariance_type
            and all(
                np.array_equal(now, then.astype(np.asarray(now).dtype))
                for now, then in (
                    (self.weights_, stream.parameters.weights),
                    (self.means_, stream.parameters.means),
                    (self.precisions_cholesky_, stream.parameters.precisions_cholesky),
                )
            )
        ):
            return stream, seen
        forget, n = self.forget_factor, seen / unit
        memory = n if forget in (None, 1) else (1 - forget**n) / (1 - forget)
        return Stream(parameters, statistics_of(parameters, reg_covar), memory), seen

    def _follow(self, X: FloatArray, sample_weight: Float64Array | None) -> None:
        """A step for each part of the samples."""
        K, D = np.shape(self.means_)
        reg_covar = check_reg_covar(self.reg_covar, D)
        unit = self._weight_unit(sample_weight)
        (parameters, statistics, memory), seen = self._stream(reg_covar, unit)
        n_threads = effective_n_threads(self.n_threads)
        at_once = rows_of_a_start(K, D)
        n_steps, log_likelihood = 0, math.nan
        for first in range(0, len(X), at_once):
            part = X[first : first + at_once]
            weight = np.ones(len(part))
            if sample_weight is not None:
                weight = sample_weight[first : first + at_once]
            rows = np.flatnonzero(weight)
            if not len(rows):
                continue
            if len(rows) < len(part):
                part, weight = part[rows], weight[rows]
            total = float(weight.sum())
            if not math.isfinite((seen + total) / min(unit, 1)):
                raise ValueError(
                    "the sum of all sample_weight is too large for a float64, or compared with the "
                    "weights of the first samples"
                )
            if self.forget_factor is None:
                knee = 10 * self._n_parameters()
                step = step_size(seen / unit, total / unit, knee, self.learning_decay)
            else:
                # A sample that k others follow counts forget_factor**k.
                weight = weight / unit * self.forget_factor ** np.arange(len(part))[::-1]
                memory = memory * self.forget_factor ** len(part) + float(weight.sum())
                step = float(weight.sum()) / memory
            scaled = np.ldexp(weight, -int(np.frexp(weight.max())[1]))  # for float32, as in `fit`
            data = ArrayPass(part, scaled, K, self.covariance_type, n_threads)
            try:
                batch = data.expectation(parameters)
            except NoDensityError as error:
                raise NoDensityError(first + int(rows[error.row])) from error
            statistics = mixed(statistics, batch, step)
            parameters, _ = maximization_step(statistics, reg_covar, data.n_threads)
            statistics = about_means(statistics, parameters.means)
            seen += total
            n_steps += 1
            log_likelihood = batch.log_likelihood / batch.weight
        if not n_steps:
            return
        n_before = vars(self).get("n_iter_", 0) if "_position" in vars(self) else 0
        self._keep(
            Fit(parameters, [], log_likelihood, False), np.asarray(self.means_).dtype, D,
            vars(self).get("feature_names_in_"), n_iter_=n_before + n_steps, n_samples_seen_=seen,
            _position=Stream(parameters, statistics, memory),
            _mean_weight=None if unit == 1 else unit,
        )  # fmt: skip


def _is_learned(attribute: str) -> bool:
    """Whether it is no parameter of the constructor."""
    return attribute.endswith("_") or attribute.startswith("_")


def _cast(X: FloatArray, dtype: np.dtype[Any]) -> FloatArray:
    with np.errstate(over="ignore"):
        cast: FloatArray = X.astype(dtype, copy=False)
    if cast is not X and not np.isfinite(cast).all():
        raise ValueError(f"X has values beyond the range of {dtype}, which the model is of")
    return cast
