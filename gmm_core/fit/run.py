"""A fit from beginning to end: check the options, find starts, run EM, return the attributes."""

from __future__ import annotations

import functools
import time
from collections.abc import MutableMapping, Sequence
from typing import Any, Protocol

import numpy as np

from gmm_core.core.errors import (
    IllDefinedCovarianceError,
    convergence_warning_class,
    same_kind,
)
from gmm_core.core.random import check_random_state
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import (
    CovarianceName,
    FloatArray,
    Labels,
    MissingName,
    Names,
    RegCovar,
)
from gmm_core.core.warn import warn
from gmm_core.data.arrays import ArrayPass, ConvertingPass
from gmm_core.data.batches import Batches, BatchPass
from gmm_core.data.foreign import ForeignRows, check_rows
from gmm_core.data.measurement import NoisyRows, noisy_rows
from gmm_core.data.parameter_validation import (
    check_labels,
    check_matrices,
    check_means,
    check_reg_covar,
    check_weights,
)
from gmm_core.data.passes import KernelPass, Pass
from gmm_core.data.patterns import has_missing
from gmm_core.data.skipping import Order, mean_weight_of
from gmm_core.data.subset import NO_ROWS, Totals
from gmm_core.data.validation import check_enough_samples, check_sample_weight
from gmm_core.fit.acceleration import accelerated
from gmm_core.fit.checkpoints import Checkpoint, Form, digest_of_arrays, identity_of
from gmm_core.fit.clusters import Clusters
from gmm_core.fit.coordinates import coordinates_of_mixtures
from gmm_core.fit.fixed import Fixed, check_fixed
from gmm_core.fit.labelled import start_from_labels
from gmm_core.fit.loop import Fit
from gmm_core.fit.maximization import maximization_step, maximum_likelihood
from gmm_core.fit.noise import noise_of, with_noise, without_noise
from gmm_core.fit.options import BayesianOptions, Options
from gmm_core.fit.orders import arrays_of_order, order_to_keep
from gmm_core.fit.restarts import Begun, Schedule, best_of_starts
from gmm_core.fit.result import Result, attributes_of
from gmm_core.fit.short_runs import short_runs
from gmm_core.fit.starts import (
    GivenParameters,
    rows_of_start,
    start_from_data,
    start_from_given,
    with_given,
)
from gmm_core.fit.swaps import swap_components
from gmm_core.fit.watching import Callback, Watcher
from gmm_core.model.archive_entries import arrays_for_file, mixture_from_file
from gmm_core.model.attributes import mixture_from
from gmm_core.model.collapse import collapsed_components
from gmm_core.model.covariance import COVARIANCE_TYPES, check_features
from gmm_core.model.parameters import Mixture
from gmm_core.model.statistics import Statistics


def fit_array(
    options: Options,
    before: MutableMapping[str, Any],
    X: Any,
    sample_weight: Any = None,
    watch: Callback | None = None,
    clusters: Clusters | None = None,
    quiet: bool = False,
    noise_covariance: Any = None,
) -> tuple[Result, FloatArray | ForeignRows | NoisyRows]:
    """Fit a mixture to an array or a data frame.

    Parameters
    ----------
    options : Options
    before : dict
        The attributes of the estimator before the fit, for a warm start.
    X : array-like or data frame of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,), default=None
    watch : callable, default=None
        Called like `callback`, and after it; see `Watcher`.
    clusters : Clusters, default=None
        Clusters that this fit shares with others.
    quiet : bool, default=False
        Whether no warning is issued about the outcome of the fit.
    noise_covariance : array-like, default=None
        The measurement noise of the samples; see `data.measurement.noisy_rows`.

    Returns
    -------
    result : Result
    rows : ndarray, ForeignRows or NoisyRows of shape (n_samples, n_features)
        The checked samples.

    Raises
    ------
    ValueError, TypeError
        For bad input, and if all starts fail.
    """
    began = time.perf_counter()
    data, totals, names, rows = pass_over_array(
        options, X, sample_weight, noise_covariance=noise_covariance
    )
    return fit_pass(options, before, data, totals, names, watch, clusters, quiet, began), rows


class FitSize(Protocol):
    """The options that a pass over the data depends on."""

    @property
    def n_components(self) -> int: ...  # noqa: D102
    @property
    def covariance_type(self) -> CovarianceName: ...  # noqa: D102
    @property
    def missing(self) -> MissingName: ...  # noqa: D102
    @property
    def n_threads(self) -> int | None: ...  # noqa: D102


def pass_over_array(
    options: FitSize, X: Any, sample_weight: Any, estimator_name: str = "GaussianMixture",
    noise_covariance: Any = None,
) -> tuple[Pass, Totals, Names | None, FloatArray | ForeignRows | NoisyRows]:
    """Check an array and its weights, and return a pass over it; see `fit_array`.

    Returns
    -------
    data : Pass
    totals : Totals
        The totals with the weights as they were given. The pass has them multiplied by 2⁻ᵉ, where e
        is the exponent of the totals.
    names : ndarray of object, or None
        Names of the features.
    rows : ndarray, ForeignRows or NoisyRows of shape (n_samples, n_features)
        The checked samples.
    """
    allow_nan = options.missing == "marginalize"
    rows, names = check_rows(
        X, min_samples=2, allow_nan=allow_nan, estimator_name=estimator_name
    )
    weight = check_sample_weight(sample_weight, len(rows))
    totals = NO_ROWS.and_rows(len(rows), np.empty(0) if weight is None else weight)
    check_enough_samples(totals.n_present, options.n_components)  # before memory is taken
    if weight is not None and totals.exponent:
        weight = np.ldexp(weight, -totals.exponent)
    n_threads = effective_n_threads(options.n_threads)
    what = weight, options.n_components, options.covariance_type, n_threads
    incomplete = allow_nan and has_missing(rows)
    if noise_covariance is not None:
        noisy = noisy_rows(rows, noise_covariance)
        return ArrayPass(noisy.X, *what, incomplete, noisy.noise), totals, names, noisy
    if isinstance(rows, ForeignRows):
        return ConvertingPass(rows, *what, incomplete), totals, names, rows
    return ArrayPass(rows, *what, incomplete), totals, names, rows


def fit_batches(
    options: Options,
    before: MutableMapping[str, Any],
    batches: Any,
    watch: Callback | None = None,
    clusters: Clusters | None = None,
    quiet: bool = False,
) -> Result:
    """Fit a mixture to batches; see `fit_array` and `GaussianMixture.fit_batches`."""
    began = time.perf_counter()
    data, totals, names = pass_over_batches(options, batches, options.verbose)
    return fit_pass(options, before, data, totals, names, watch, clusters, quiet, began)


def pass_over_batches(
    options: FitSize, batches: Any, verbose: int
) -> tuple[BatchPass, Totals, Names | None]:
    """Check batches, and return a pass over them; see `pass_over_array`."""
    checked = batches
    if not isinstance(batches, Batches):
        checked = Batches(batches, verbose, options.missing == "marginalize")
    check_enough_samples(checked.totals.n_present, options.n_components)
    n_threads = effective_n_threads(options.n_threads)
    data = BatchPass(checked, options.n_components, options.covariance_type, n_threads)
    return data, checked.totals, checked.names


def fit_pass(
    options: Options,
    before: MutableMapping[str, Any],
    data: Pass,
    totals: Totals,
    names: Names | None,
    watch: Callback | None = None,
    clusters: Clusters | None = None,
    quiet: bool = False,
    began: float | None = None,
) -> Result:
    """Fit a mixture to the data of a pass; see `fit_array`.

    Parameters
    ----------
    options : Options
    before : dict
        The attributes of the estimator before the fit.
    data : Pass
    totals : Totals
        The totals of the data, with the weights as the user gave them.
    names : ndarray of object, or None
        Names of the features.
    watch : callable, default=None
    clusters : Clusters, default=None
    quiet : bool, default=False
    began : float, default=None
        The value of `time.perf_counter` at the beginning of the fit; None means now.

    Returns
    -------
    Result
    """
    K, D = options.n_components, data.n_features
    check_features(COVARIANCE_TYPES[options.covariance_type], D)
    given = _given(options, D)
    reg_covar = check_reg_covar(options.reg_covar, D)
    random_state = check_random_state(options.random_state)
    _check_short_runs(options)
    warm, previous = _warm_start(options, before, D)
    fixed = _fixed(options, given, warm is not None)
    labels = _labels(options, data, given)
    if options.checkpoint is not None and options.random_state is None:
        # A resumed fit sets the state of its generator, which must not be NumPy's global one.
        random_state = np.random.RandomState(random_state.randint(2**31))
    size = rows_of_start(options.init_size, options.init_params, K, D)
    subset_seed = random_state.randint(2**31) if totals.n_present > size else None
    if options.noise and data.is_rowwise:
        raise ValueError(
            f"a fit with noise={options.noise!r} takes neither missing values in X nor a "
            "noise_covariance"
        )
    log_density, box = noise_of(options.noise, data)
    if options.skip and (labels is None or (labels >= 0).all()):
        data.skip(mean_weight_of(totals))
    order = before.get("_order", Order()) if warm is not None else Order()
    data.order = order
    n_init = options.n_init if warm is None else 1
    n_threads = effective_n_threads(options.n_threads)
    made_attributes = functools.partial(
        attributes_of, dtype=data.dtype, names=names, n_threads=n_threads
    )
    watcher: Watcher[Mixture] = Watcher(
        options.callback, options.time_limit, watch, made_attributes, n_init,
        time.perf_counter() if began is None else began,
    )  # fmt: skip
    schedule = Schedule(
        options.tol, options.max_iter, options.verbose, options.verbose_interval, watcher
    )
    checkpoint, state, save = None, None, None
    clusters = clusters or Clusters()
    if options.checkpoint is not None:
        of_warm = None if warm is None else (*warm[:3], warm.prepared.precisions_cholesky)
        identity = identity_of(
            options, data, of_warm, arrays_of_order(order),
            noise=repr(options.noise) if options.noise else None,
            **{f"{name}_init": array for name, array in given._asdict().items()},
            labels_init=None if labels is None else digest_of_arrays(labels), fixed=fixed,
            posterior=None,
        )  # fmt: skip
        read = functools.partial(mixture_from_file, K=K, D=D, kind=options.covariance_type)
        checkpoint = Checkpoint(
            options.checkpoint, options.checkpoint_interval, identity, schedule, random_state,
            subset_seed, Form(arrays_for_file, read, (K, D)), data,
        )  # fmt: skip
        state = checkpoint.load(previous)
        subset_seed, save = checkpoint.subset_seed, checkpoint.save

    @functools.cache
    def rows_for_start() -> tuple[ArrayPass, RegCovar]:
        X, weight, lacking, _ = data.rows_for_start(totals, size, subset_seed)
        if isinstance(data, ArrayPass) and X is data.X:  # which has its scratch memory already
            return data, lacking
        return ArrayPass(X, weight, K, options.covariance_type, data.n_threads), lacking

    def start() -> Begun[Mixture]:
        data.order = order
        made = start_from_given(given, options.covariance_type) if warm is None else warm
        if made is None:
            rows, lacking = rows_for_start()
            if labels is not None:
                assert isinstance(data, KernelPass)
                found = start_from_labels(data, labels, rows, random_state, reg_covar)
                made = with_given(found, given)
        if made is None:
            rows, lacking = rows_for_start()
            made = start_from_data(
                rows, lacking, options.init_params, given, random_state, reg_covar, clusters,
                log_density,
            )  # fmt: skip
        made = without_noise(made) if log_density is None else with_noise(made, log_density)
        return Begun(made, [])

    algorithm = maximum_likelihood(data, reg_covar, log_density, fixed)
    if options.acceleration is not None:
        kind = COVARIANCE_TYPES[options.covariance_type]
        coordinates = coordinates_of_mixtures(kind, reg_covar, data.n_threads)
        algorithm = accelerated(algorithm, coordinates, options.acceleration)
    improve = functools.partial(
        swap_components, algorithm=algorithm, schedule=schedule, n_swaps=options.n_swaps,
        rows=lambda: rows_for_start()[0], random_state=random_state,
        collapsed=lambda mixture: len(collapsed_components(mixture, totals.n_present, reg_covar)),
    )  # fmt: skip
    with watcher:
        begin = start
        if options.n_short and warm is None:
            begin = short_runs(algorithm, start, options.n_short, n_init, schedule, quiet)
        best, restarts = best_of_starts(
            algorithm, begin, n_init, schedule, previous, state, save, improve, quiet
        )
    if restarts[-1].stopped or len(restarts) < n_init:
        checkpoint = None  # it stays, so that the next fit can go on from it
    order = data.order
    collapsed: tuple[int, ...] = ()
    if best.lower_bounds:
        unconstrained = functools.partial(_unconstrained, data, best.parameters, reg_covar)
        found = collapsed_components(
            best.parameters, totals.n_present, reg_covar, unconstrained
        )
        given_by_user = np.zeros(K, bool) if fixed is None else fixed.covariances
        collapsed = tuple(int(k) for k in found if not given_by_user[k])
    if not quiet:
        warn_of_no_convergence(best, options)
        _warn_of_components(best, collapsed)
    attributes = attributes_of(
        best, data.dtype, names, n_threads,
        restarts_=restarts, n_samples_seen_=totals.total, _collected=None, _position=None,
        _mean_weight=totals.total / totals.n_present if totals.weighted else None,
        noise_box_=box, _order=order_to_keep(order, options, n_init),
    )  # fmt: skip
    return Result(attributes, checkpoint, collapsed)


def _unconstrained(data: Pass, mixture: Mixture, reg_covar: RegCovar) -> Mixture:
    """Return the mixture with the covariances that its components have without constraints."""
    made = data.expectation(mixture)
    statistics = Statistics(made.values, made.shift, mixture.kind.sklearn_name)
    try:
        return maximization_step(statistics, reg_covar, data.n_threads)[0]
    except IllDefinedCovarianceError:
        return mixture


# --- checks of the options and of the fitted attributes ---------------------------------------


def _labels(options: Options, data: Pass, given: GivenParameters) -> Labels | None:
    """Check the labels that the user gave, and let the pass know those that are certain."""
    if options.labels_init is None:
        return None
    labels = check_labels(options.labels_init, data.n_samples, options.n_components)
    if not isinstance(data, KernelPass) or data.is_rowwise:
        raise ValueError(
            "labels_init takes neither missing values, noise_covariance nor Dask collections"
        )
    if (labels < 0).all():
        raise ValueError("labels_init has no sample whose component is known, only -1")
    if (labels < 0).any():
        if options.noise:
            raise ValueError(
                f"labels_init has unknown labels (-1), which a fit with noise={options.noise!r} "
                "does not take"
            )
        data.known_labels = labels
    if given.weights is not None:
        for k in np.flatnonzero(given.weights == 0):
            if (labels == k).any():
                raise ValueError(
                    f"labels_init has samples of component {k}, the weight of which is 0 in "
                    "weights_init"
                )
    return labels


def _fixed(options: Options, given: GivenParameters, warm: bool) -> Fixed | None:
    """Check which parameters are fixed, and that there are values for them."""
    fixed = check_fixed(options.fixed, options.n_components, options.covariance_type)
    if fixed is None:
        return None
    for mask, value, name, init in zip(
        fixed, given, fixed._fields, ("weights_init", "means_init", "precisions_init"), strict=True
    ):
        if mask.any() and value is None and not warm:
            raise ValueError(f"fixed names {name!r}, so that {init} has to be given")
    if fixed.weights.any() and options.noise:
        raise ValueError(f"fixed weights do not go together with noise={options.noise!r}")
    if options.n_swaps:
        raise ValueError(
            f"fixed parameters do not go together with n_swaps={options.n_swaps}, expected 0"
        )
    return fixed


def _given(options: Options, n_features: int) -> GivenParameters:
    """Check the parameters `weights_init`, `means_init` and `precisions_init`, and copy them."""
    K, D = options.n_components, n_features
    kind = COVARIANCE_TYPES[options.covariance_type]
    try:
        name, given = "weights_init", options.weights_init
        if isinstance(given, str):  # 'equal'
            given = np.full(K, 1 / K)
        weights = None if given is None else check_weights(given, K, bool(options.noise))
        name, given = "means_init", options.means_init
        means = None if given is None else check_means(given, K, D)
        name, given = "precisions_init", options.precisions_init
        precisions = None if given is None else check_matrices(given, kind, K, D, "precision")
    except (ValueError, TypeError) as error:
        raise same_kind(error, f"{name}: {error}") from error
    return GivenParameters(weights, means, precisions)


def _warm_start(
    options: Options, before: MutableMapping[str, Any], n_features: int
) -> tuple[Mixture | None, float]:
    """Return the mixture that a warm start begins with, and the last lower bound of its fit."""
    if not options.warm_start or "converged_" not in before:
        return None, -np.inf
    mixture = mixture_to_continue(
        options, before, n_features, "warm_start", "set warm_start=False"
    )
    bounds = before.get("lower_bounds_", ())
    return mixture, bounds[-1] if len(bounds) else -np.inf


def mixture_to_continue(
    options: Options, before: MutableMapping[str, Any], n_features: int, why: str, remedy: str
) -> Mixture:
    """Return the fitted mixture, with which a warm start or a stream continues.

    Parameters
    ----------
    options : Options
    before : dict
        The attributes of the estimator.
    n_features : int
        The number of features of the new data.
    why, remedy : str
        The beginning and the end of the message of an error.

    Raises
    ------
    ValueError
        If the mixture has another number of components or features.
    """
    mixture = mixture_from(before, options.covariance_type, options.n_threads)
    K, D = mixture.means.shape
    if (K, D) != (options.n_components, n_features):
        raise ValueError(
            f"{why} continues a mixture of {K} components and {D} features, but n_components is "
            f"{options.n_components} and X has {n_features} features; {remedy}"
        )
    return mixture


def _check_short_runs(options: Options) -> None:
    """Check `n_short` and `n_swaps` against the other options."""
    if 0 < options.n_short < options.n_init:
        raise ValueError(
            f"n_short={options.n_short}, expected 0 or at least n_init={options.n_init}"
        )
    if options.checkpoint is not None and (options.n_short or options.n_swaps):
        raise ValueError(
            "checkpoint cannot be combined with n_short and n_swaps; got "
            f"n_short={options.n_short} and n_swaps={options.n_swaps}, expected 0"
        )


# --- warnings -----------------------------------------------------------------------------------


def warn_of_no_convergence(best: Fit[Any], options: Options | BayesianOptions) -> None:
    """Warn if EM has not converged, unless a callback has stopped it."""
    if best.converged or options.max_iter == 0 or best.stopped == "callback":
        return
    message = (
        "Best performing initialization did not converge. Try different init parameters, "
        "or increase max_iter, tol, or check for degenerate data."
    )
    if best.stopped == "time_limit":
        message = f"The fit did not converge within time_limit={options.time_limit} seconds."
    warn(message, convergence_warning_class())


def _warn_of_components(best: Fit[Mixture], collapsed: Sequence[int]) -> None:
    """Warn about components that are empty or have collapsed."""
    # With max_iter=0 the mixture may be the one that the user gave, so its weights of 0 are no
    # reason to warn.
    if not best.lower_bounds:
        return
    empty = np.flatnonzero(best.parameters.weights == 0)
    if len(empty):
        names = ", ".join(map(str, empty))
        if len(empty) == 1:
            what = (
                f"Component {names} has no samples. Its weight is 0, its mean is that of the last "
                "iteration in which it had samples, and its covariance is"
            )
        else:
            what = (
                f"Components {names} have no samples. Their weight is 0, their means are those of "
                "the last iteration in which they had samples, and their covariances are"
            )
        warn(
            f"{what} the pooled covariance of the other components. Use fewer components or "
            "another start."
        )
    warn_of_collapse(collapsed)


def warn_of_collapse(collapsed: Sequence[int]) -> None:
    """Warn if components have collapsed; see `collapsed_components`."""
    if len(collapsed):
        several = len(collapsed) > 1
        warn(
            f"component{'s' if several else ''} {', '.join(map(str, collapsed))} collapsed onto "
            f"few samples: {'their' if several else 'its'} variance in some direction is less than "
            "1/1000 of the data's, which inflates the likelihood. Use fewer components, raise "
            "reg_covar, scale the data, or try other starts."
        )
