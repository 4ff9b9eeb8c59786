"""How the estimator fits: what it was given, checked; its starts; its attributes at the end."""

from __future__ import annotations

import functools
import hashlib
import numbers
import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gmm_core._methods import MixtureMethods
from gmm_core._threads import effective_n_threads
from gmm_core._warnings import warn
from gmm_core.batches import Batches, BatchPass
from gmm_core.checkpoints import Checkpoint
from gmm_core.collapse import collapsed_components
from gmm_core.conversion import ConvertingPass, ForeignRows, check_rows
from gmm_core.covariance import precisions_and_covariances
from gmm_core.em import Fit, Pass
from gmm_core.frames import Names
from gmm_core.initialization import GivenParameters, initial_parameters
from gmm_core.marginal import has_missing
from gmm_core.missing import MissingPass
from gmm_core.parameter_validation import (
    check_enough_samples,
    check_means_init,
    check_parameters,
    check_precisions_init,
    check_random_state,
    check_reg_covar,
    check_weights_init,
)
from gmm_core.parameters import Parameters
from gmm_core.passes import ArrayPass
from gmm_core.restarts import Schedule, best_of_starts
from gmm_core.statistics import RegCovar
from gmm_core.subsample import NOTHING, Extent, sample_size
from gmm_core.validation import (
    FloatArray,
    check_sample_weight,
    convergence_warning_class,
)


class FitPass(Pass, Protocol):
    """Passes over data that a mixture can be fitted to from the start."""

    n_samples: int
    n_features: int
    dtype: np.dtype[Any]

    def sample(
        self, extent: Extent, size: int, seed: int | None
    ) -> tuple[ArrayPass, float | npt.NDArray[np.float64]]:
        """The samples that starts are found from: `size` of them; without a seed, all.

        And what is to be added to their variances, for values that they lack.
        """

    def checksum(self) -> str:
        """Return the digest of all samples and weights, whatever parts they come in."""


class FittingMethods(MixtureMethods):
    """The fits of arrays and batches; the constructor is that of GaussianMixture."""

    n_components: int
    tol: float
    reg_covar: float | npt.ArrayLike
    max_iter: int
    n_init: int
    init_params: Any
    init_size: int | None
    weights_init: npt.ArrayLike | None
    means_init: npt.ArrayLike | None
    precisions_init: npt.ArrayLike | None
    warm_start: bool
    verbose: int
    verbose_interval: int
    checkpoint: str | os.PathLike[str] | None
    checkpoint_interval: int

    def _fit_array(self, X: Any, sample_weight: Any) -> FloatArray | ForeignRows:
        check_parameters(self.get_params(), type(self).__name__)
        allow_nan = self.missing == "marginalize"
        array, names = check_rows(X, min_samples=2, allow_nan=allow_nan)
        weight = check_sample_weight(sample_weight, len(array))
        extent = NOTHING.and_rows(len(array), np.empty(0) if weight is None else weight)
        check_enough_samples(extent.n_present, self.n_components)   # before memory is taken
        if weight is not None and extent.exponent:
            weight = np.ldexp(weight, -extent.exponent)
        n_threads = effective_n_threads(self.n_threads)
        what = weight, self.n_components, self.covariance_type, n_threads
        data: FitPass
        if allow_nan and has_missing(array):
            data = MissingPass(array, *what)
        elif isinstance(array, ForeignRows):
            data = ConvertingPass(array, *what)
        else:
            data = ArrayPass(array, *what)
        self._fit_pass(data, extent, names)
        return array

    def _fit_in_batches(self, batches: Any) -> None:
        check_parameters(self.get_params(), type(self).__name__)
        checked = Batches(batches, self.verbose)
        check_enough_samples(checked.extent.n_present, self.n_components)
        data = BatchPass(
            checked, self.n_components, self.covariance_type, effective_n_threads(self.n_threads)
        )
        self._fit_pass(data, checked.extent, checked.names)

    def _fit_pass(self, data: FitPass, extent: Extent, names: Names | None) -> None:
        """Fit, however the passes are made, and set the attributes."""
        given = self._given(data.n_features)
        reg_covar = check_reg_covar(self.reg_covar, data.n_features)
        random_state = check_random_state(self.random_state)
        schedule = Schedule(self.tol, self.max_iter, reg_covar, self.verbose, self.verbose_interval)
        if self.init_size is not None and self.init_size < self.n_components:
            raise ValueError(
                f"init_size={self.init_size}, expected at least n_components={self.n_components}"
            )
        warm: Parameters | None = None
        n_init, previous = self.n_init, -np.inf
        if self.warm_start and hasattr(self, "converged_"):
            warm = self._parameters_to_continue(
                data.n_features, "warm_start", "set warm_start=False"
            )
            n_init, previous = 1, self.lower_bounds_[-1] if len(self.lower_bounds_) else -np.inf
        if self.checkpoint is not None and self.random_state is None:
            # going on sets the generator, which should not be everybody's
            random_state = np.random.RandomState(random_state.randint(2**31))
        size = sample_size(self.init_size, self.n_components, data.n_features)
        sample_seed = random_state.randint(2**31) if extent.n_present > size else None
        checkpoint = self._checkpoint(data, given, warm, schedule, random_state, sample_seed)
        state = None if checkpoint is None else checkpoint.load(previous)
        if checkpoint is not None:
            sample_seed = checkpoint.sample_seed
        sample = functools.cache(lambda: data.sample(extent, size, sample_seed))

        def start() -> Parameters:
            if warm is not None:
                return warm
            return initial_parameters(
                sample, self.covariance_type, self.init_params, given, random_state, reg_covar
            )

        # The command line, which has no checkpoints, follows a fit by means of `_watch`.
        watch = vars(self).get("_watch") if checkpoint is None else checkpoint.save
        best, restarts = best_of_starts(data, start, n_init, schedule, previous, state, watch)
        if not best.converged and self.max_iter > 0:
            warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                convergence_warning_class(),
            )
        _warn_of_empty_components(best)
        if best.lower_bounds:  # without iterations the parameters may be the user's
            warn_of_collapse(best.parameters, extent.n_present, reg_covar)
        self._keep(
            best, data.dtype, data.n_features, names,
            restarts_=restarts, n_samples_seen_=extent.total, _collected=None, _position=None,
            _mean_weight=extent.total / extent.n_present if extent.weighted else None,
        )  # fmt: skip
        if checkpoint is not None:
            checkpoint.remove()

    def _checkpoint(
        self,
        data: FitPass,
        given: GivenParameters,
        warm: Parameters | None,
        schedule: Schedule,
        random_state: np.random.RandomState,
        sample_seed: int | None,
    ) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        seed, init = self.random_state, self.init_params
        if callable(init):
            init = f"{init.__module__}.{getattr(init, '__qualname__', type(init).__name__)}"
        identity = {
            "n_components": self.n_components,
            "covariance_type": self.covariance_type,
            "reg_covar": np.asarray(self.reg_covar, np.float64),
            "n_init": self.n_init,
            "init_params": init,
            "init_size": self.init_size,
            **{f"{name}_init": array for name, array in given._asdict().items()},
            "random_state": seed if isinstance(seed, numbers.Integral) else None,
            "warm start": None if warm is None else _digest(warm),
            "n_samples": data.n_samples,
            "n_features": data.n_features,
            "dtype": data.dtype.name,
            "checksum of the data": data.checksum(),
        }
        return Checkpoint(
            self.checkpoint, self.checkpoint_interval, identity, schedule, random_state, sample_seed
        )

    def _given(self, n_features: int) -> GivenParameters:
        """Check the *_init arrays, whose names the errors give; the user's own are not changed."""
        K, D = self.n_components, n_features

        def checked(name: str, check: Callable[[Any], Any]) -> Any:
            given = getattr(self, name)
            try:
                return None if given is None else check(given)
            except (ValueError, TypeError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"{name}: {error}") from error

        return GivenParameters(
            checked("weights_init", lambda weights: check_weights_init(weights, K)),
            checked("means_init", lambda means: check_means_init(means, K, D)),
            checked(
                "precisions_init",
                lambda precisions: check_precisions_init(precisions, self.covariance_type, K, D),
            ),
        )

    def _parameters_to_continue(self, n_features: int, why: str, remedy: str) -> Parameters:
        """The fitted parameters, for a warm start or a stream."""
        parameters = self._parameters()
        K, D = parameters.means.shape
        if (K, D) != (self.n_components, n_features):
            raise ValueError(
                f"{why} goes on from {K} components and {D} features, but n_components is "
                f"{self.n_components} and X has {n_features} features; {remedy}"
            )
        covariances = np.asarray(self.covariances_)
        if covariances.dtype == np.float32:     # the factors have lost less by rounding
            _, covariances = precisions_and_covariances(
                parameters.precisions_cholesky, self.covariance_type,
                effective_n_threads(self.n_threads),
            )
        return parameters._replace(covariances=covariances.astype(np.float64, copy=False))


def _digest(parameters: Parameters) -> str:
    arrays = b"".join(array.tobytes() for array in parameters[:4])
    return hashlib.blake2b(arrays, digest_size=16).hexdigest()


def _warn_of_empty_components(fit: Fit) -> None:
    empty = np.flatnonzero(fit.parameters.weights == 0)
    if len(empty) and len(fit.lower_bounds):  # without iterations the weights may be the user's
        warn(
            f"component {', '.join(map(str, empty))} has no samples: its weight is 0, its mean "
            "stays where the last sample left it, its covariance is that of the others, pooled. "
            "Use fewer components or another start."
        )


def warn_of_collapse(parameters: Parameters, n_samples: int, reg_covar: RegCovar) -> None:
    """Warn if components have collapsed; see `collapsed_components`."""
    collapsed = collapsed_components(parameters, n_samples, reg_covar)
    if len(collapsed):
        several = len(collapsed) > 1
        warn(
            f"component{'s' if several else ''} {', '.join(map(str, collapsed))} collapsed onto "
            f"few samples: {'their' if several else 'its'} variance in some direction is less than "
            "1/1000 of the data's, which inflates the likelihood. Use fewer components, raise "
            "reg_covar, scale the data, or try other starts."
        )
