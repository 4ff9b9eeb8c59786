"""A fit of a Bayesian mixture from beginning to end; `run.py` does the same for a mixture."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from gmm_core.core.errors import NumericalError
from gmm_core.core.random import check_random_state
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import Float64Array, Names
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.batches import BatchPass
from gmm_core.data.conversion import as_float_array
from gmm_core.data.parameter_validation import check_reg_covar
from gmm_core.data.passes import Pass
from gmm_core.data.skipping import Order, mean_weight_of
from gmm_core.data.subset import Totals
from gmm_core.fit.acceleration import accelerated
from gmm_core.fit.bayesian_checkpoints import bayesian_identity, form_of_inferred
from gmm_core.fit.checkpoints import Checkpoint
from gmm_core.fit.clusters import Clusters
from gmm_core.fit.coordinates import coordinates_of_posteriors
from gmm_core.fit.loop import Fit
from gmm_core.fit.memoized import memoized_inference
from gmm_core.fit.moves import merge_and_delete
from gmm_core.fit.options import BayesianOptions
from gmm_core.fit.orders import order_to_keep
from gmm_core.fit.restarts import Begun, Schedule, best_of_starts
from gmm_core.fit.result import Attributes, Result
from gmm_core.fit.run import warn_of_no_convergence
from gmm_core.fit.starts import find, rows_of_start
from gmm_core.fit.variational import (
    Inferred,
    evidence_lower_bound,
    moments_of,
    scaled,
    variational_inference,
)
from gmm_core.fit.watching import Callback, Watcher
from gmm_core.model.attributes import arrays_of
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.covariance.base import check_shape, check_shape_and_values, check_values
from gmm_core.model.covariance.conjugate import PrecisionPrior
from gmm_core.model.posterior import Moments, Posterior, Prior, update
from gmm_core.model.statistics import Statistics


def fit_bayesian(
    options: BayesianOptions,
    warm: Posterior | None,
    previous: float,
    data: Pass,
    totals: Totals,
    names: Names | None,
    quiet: bool = False,
    memoized: bool = False,
    order: Order | None = None,
    watch: Callback | None = None,
    began: float | None = None,
) -> Result:
    """Fit a Bayesian mixture to the data of a pass.

    Parameters
    ----------
    options : BayesianOptions
    warm : Posterior or None
        The posterior that a warm start begins with.
    previous : float
        The bound that the first iteration is compared with.
    data : Pass
    totals : Totals
        The totals of the data, with the weights as the user gave them.
    names : ndarray of object, or None
        Names of the features.
    quiet : bool, default=False
        Whether no warning is issued.
    memoized : bool, default=False
        Whether the posterior is updated after every batch. The pass is then one over batches.
    order : Order, default=None
        The order that a warm start continues with.
    watch, began : default=None
        See `run.fit_array` and `run.fit_pass`.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid, or all starts fail.
    """
    K, D, conjugate = options.n_components, data.n_features, options.posterior == "conjugate"
    order = order or Order()
    if warm is not None and warm.mixture.means.shape != (K, D):
        raise ValueError(
            f"warm_start continues a mixture of {len(warm.mixture.means)} components and "
            f"{warm.mixture.means.shape[1]} features, but n_components is {K} and X has {D} "
            "features; set warm_start=False"
        )
    reg_covar = np.full(D, check_reg_covar(options.reg_covar, D), np.float64)
    random_state = check_random_state(options.random_state)
    if options.checkpoint is not None and options.random_state is None:
        # A resumed fit sets the state of its generator, which must not be NumPy's global one.
        random_state = np.random.RandomState(random_state.randint(2**31))
    # The pass has weights of at most 1, but here their size matters.
    unit = 2.0**totals.exponent if totals.weighted else 1.0
    size = rows_of_start(options.init_size, options.init_params, K, D)
    subset_seed = random_state.randint(2**31) if totals.n_present > size else None
    if memoized and options.acceleration is not None:
        raise ValueError(
            f"acceleration={options.acceleration!r} cannot be combined with memoized=True, "
            "expected None"
        )
    if options.skip:
        data.skip(mean_weight_of(totals))
    data.order = order
    n_init = options.n_init if warm is None else 1

    def made_attributes(fit: Fit[Inferred]) -> Attributes:
        return attributes_of(
            fit, prior, data.dtype, names, effective_n_threads(options.n_threads)
        )

    watcher = Watcher(
        options.callback, options.time_limit, watch, made_attributes, n_init,
        time.perf_counter() if began is None else began,
    )  # fmt: skip
    schedule = Schedule(
        options.tol, options.max_iter, options.verbose, options.verbose_interval, watcher
    )
    checkpoint, state, save = None, None, None
    if options.checkpoint is not None:
        for name, used in (("moves", options.moves), ("memoized", memoized)):
            if used:
                raise ValueError(
                    f"checkpoint cannot be combined with {name}=True, expected {name}=False"
                )
        checkpoint = Checkpoint(
            options.checkpoint, options.checkpoint_interval,
            bayesian_identity(options, data, totals, warm, order), schedule, random_state,
            subset_seed, form_of_inferred(options, D), data,
        )  # fmt: skip
        state = checkpoint.load(previous)
        subset_seed, save = checkpoint.subset_seed, checkpoint.save

    @functools.cache
    def rows_for_start() -> tuple[ArrayPass, float | Float64Array]:
        X, weight, lacking, _ = data.rows_for_start(totals, size, subset_seed)
        return ArrayPass(X, weight, K, options.covariance_type, data.n_threads), lacking

    prior = _prior(options, data, totals, unit, rows_for_start)
    clusters = Clusters()

    def start() -> Begun[Inferred]:
        data.order = order
        if warm is not None:
            nothing = Moments(np.zeros(K), warm.mixture.means, warm.covariances)
            return Begun(Inferred(warm, nothing, -np.inf, -np.inf), [])
        rows, lacking = rows_for_start()
        found = find(rows, options.init_params, random_state, clusters)
        if found.statistics is None:  # each mean is a sample, and the only one of its component
            means = found.data.X[found.rows].astype(np.float64)
            kind = COVARIANCE_TYPES[options.covariance_type]
            moments = Moments(np.ones(K), means, np.zeros(kind.shape(K, D)))
        else:
            about_means = found.statistics(found.statistics(found.origins).means)
            share = totals.total / about_means.weight  # the rows stand for all samples
            moments = moments_of(scaled(about_means, share), data.n_threads)
        posterior = update(
            moments, prior, reg_covar + lacking, options.covariance_type, conjugate
        )
        return Begun(Inferred(posterior, moments, -np.inf, -np.inf), [])

    def posterior_of(moments: Moments) -> Posterior:
        return update(moments, prior, reg_covar, options.covariance_type, conjugate)

    if memoized:
        assert isinstance(data, BatchPass)
        algorithm = memoized_inference(data, prior, reg_covar, conjugate, unit)
    else:
        algorithm = variational_inference(data, prior, reg_covar, conjugate, unit)
    if options.acceleration is not None:
        kind = COVARIANCE_TYPES[options.covariance_type]
        coordinates = coordinates_of_posteriors(kind, prior, reg_covar, conjugate, data.n_threads)
        algorithm = accelerated(algorithm, coordinates, options.acceleration)

    def improve(fit: Fit[Inferred]) -> Fit[Inferred]:
        if not options.moves:
            return fit
        return merge_and_delete(
            fit, algorithm=algorithm, posterior_of=posterior_of, process=prior.process,
            schedule=schedule,
        )  # fmt: skip

    with watcher:
        best, restarts = best_of_starts(
            algorithm, start, n_init, schedule, previous, state, save, improve, quiet
        )
    if restarts[-1].stopped or len(restarts) < n_init:
        checkpoint = None  # it stays, so that the next fit can go on from it
    if not quiet:
        warn_of_no_convergence(best, options)
    attributes = made_attributes(best)
    kept = order_to_keep(data.order, options, len(restarts))
    attributes |= {"restarts_": restarts, "_position": None, "_order": kept}
    return Result(attributes, checkpoint)


def attributes_of(
    fit: Fit[Inferred],
    prior: Prior,
    dtype: np.dtype[Any],
    names: Names | None,
    n_threads: int,
) -> Attributes:
    """Return the fitted attributes by name; see `attributes_of` of `result.py`."""
    posterior, moments, entropy, _ = fit.parameters
    concentration: Any = posterior.weight_concentration
    if prior.process:
        concentration = tuple(concentration)
    return {
        **arrays_of(posterior.mixture, dtype, n_threads),
        "weight_concentration_prior_": prior.weight_concentration,
        "weight_concentration_": concentration,
        "mean_precision_prior_": prior.mean_precision,
        "mean_prior_": prior.mean,
        "mean_precision_": posterior.mean_precision,
        "degrees_of_freedom_prior_": prior.precision.degrees_of_freedom,
        "degrees_of_freedom_": posterior.degrees_of_freedom[()],
        "covariance_prior_": prior.precision.covariance[()],
        "posterior_": "conjugate" if posterior.conjugate else "scikit-learn",
        "converged_": fit.converged,
        "n_iter_": len(fit.lower_bounds),
        "lower_bound_": fit.lower_bound,
        "lower_bounds_": fit.lower_bounds,
        "elbo_": evidence_lower_bound(moments, entropy, posterior, prior),
        "n_features_in_": posterior.mixture.means.shape[1],
        "feature_names_in_": names,
    }


# --- the prior ----------------------------------------------------------------------------------


def _prior(
    options: BayesianOptions, data: Pass, totals: Totals, unit: float, rows_for_start: Any
) -> Prior:
    """Check the parameters of the prior, and take the others from the data."""
    K, D = options.n_components, data.n_features
    kind = COVARIANCE_TYPES[options.covariance_type]
    precision = kind.conjugate
    concentration, mean_precision = options.weight_concentration_prior, options.mean_precision_prior
    mean = None
    if options.mean_prior is not None:
        mean = as_float_array(options.mean_prior, "mean_prior").astype(np.float64)
        check_shape(mean, (D,), "means")
        check_values(mean, "mean_prior")
    degrees = D if options.degrees_of_freedom_prior is None else options.degrees_of_freedom_prior
    if not degrees > D - 1:
        raise ValueError(
            f"The parameter 'degrees_of_freedom_prior' should be greater than {D - 1}, but got "
            f"{degrees:.3f}."
        )
    covariance: Float64Array | None = None
    if options.covariance_prior is not None:
        covariance = np.asarray(
            as_float_array(options.covariance_prior, "covariance_prior"), np.float64
        )
        noun = f"{options.covariance_type} covariance_prior"
        check_shape_and_values(covariance, precision.prior_shape(D), noun)
        kind.check_definite(covariance, noun.removeprefix(f"{kind.name} "))
    if mean is None or covariance is None:
        of_data = _moments_of_all(data, unit, rows_for_start)
        mean = of_data.means[0] if mean is None else mean
        if covariance is None:
            n = totals.total
            if not n - 1 > 1e-6:
                raise ValueError(
                    "covariance_prior has to be given if the sum of sample_weight is at most 1, as "
                    f"it would be the unbiased covariance of the data. The sum is {n:.5g}."
                )
            covariance = precision.prior_of(n / (n - 1) * of_data.covariances[0])
    return Prior(
        options.weight_concentration_prior_type == "dirichlet_process",
        1.0 / K if concentration is None else float(concentration),
        1.0 if mean_precision is None else float(mean_precision),
        mean,
        precision_prior(
            float(degrees), covariance, kind.name, D, options.posterior == "conjugate"
        ),
    )  # fmt: skip


def precision_prior(
    degrees_of_freedom: float,
    covariance: Float64Array,
    covariance_type: str,
    n_features: int,
    conjugate: bool,
) -> PrecisionPrior:
    """Return the prior of the precisions with these parameters.

    Raises
    ------
    NumericalError
        If the covariance is singular, so that the prior is improper, and `conjugate`.
    """
    kind = COVARIANCE_TYPES[covariance_type]
    try:
        factor = kind.factor_covariances(covariance.reshape(kind.shape(1, n_features)), n_features)
        log_det = -float(kind.log_det_of_factor(factor, n_features).sum())
    except ValueError:
        if conjugate:
            raise NumericalError(
                "The covariance of the data is singular, for example because a feature is "
                "constant or there are fewer samples than features. With posterior='conjugate', "
                "covariance_prior has to be given then, as it would be this covariance."
            ) from None
        log_det = -np.inf
    return PrecisionPrior(degrees_of_freedom, covariance, log_det)


def _moments_of_all(data: Pass, unit: float, rows_for_start: Any) -> Moments:
    """Return count, mean and covariance of all samples, whatever the covariance type is."""
    lacking: float | Float64Array = 0.0
    if data.is_rowwise:  # missing values count as the means of their features
        data, lacking = rows_for_start()
    origin = np.zeros((1, data.n_features))
    first: Statistics = data.scatter(origin)
    moments = moments_of(scaled(data.scatter(first.means), unit), data.n_threads)
    extra = np.diag(np.full(data.n_features, lacking))
    return moments._replace(covariances=moments.covariances + extra)
