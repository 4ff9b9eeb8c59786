"""The choice of a covariance type and a number of components, by an information criterion."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, SupportsIndex, get_args, overload

import numpy as np
import numpy.typing as npt

from gmm_core.core.random import check_random_state
from gmm_core.data.batches import Batches, refuse_weights_of_batches
from gmm_core.data.conversion import is_dask_collection
from gmm_core.data.foreign import check_rows
from gmm_core.data.measurement import noisy_rows
from gmm_core.data.parameter_validation import check_reg_covar
from gmm_core.data.subset import NO_ROWS, Totals
from gmm_core.data.validation import check_sample_weight, is_batches
from gmm_core.fit import run
from gmm_core.fit.clusters import SharedClusters
from gmm_core.fit.options import Options
from gmm_core.fit.parallel import SMALL, each
from gmm_core.fit.result import Result
from gmm_core.fit.watching import Callback
from gmm_core.infer import score
from gmm_core.mixture import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.covariance.constrained import MODELS
from gmm_core.model.parameters import n_parameters_of

Criterion = Literal["bic", "aic", "icl"]
FOURTEEN = tuple(kind.name for kind in MODELS if kind.n_features is None)
UNIVARIATE = tuple(kind.name for kind in MODELS if kind.n_features == 1)

# Parameters of GaussianMixture that cannot be the same for all fits.
_REFUSED = {
    "covariance_type": ", give covariance_types",
    "checkpoint": ": its fits would share the file",
    "warm_start": ": each of its fits starts anew",
}


class Row(NamedTuple):
    """One fit of a selection.

    Attributes
    ----------
    covariance_type : str
    n_components : int
    log_likelihood : float
        Weighted log-likelihood of all samples, in nats; NaN if the fit failed.
    n_parameters : int
        Number of free parameters.
    bic, aic, icl : float
        The criteria; the lowest is the best.
    n_iter : int
    converged : bool
    collapsed : bool
        Whether a component has collapsed onto few samples, so that the criteria mean nothing.
    collapsed_components : tuple of int
        The components that have collapsed.
    failure : str or None
        Why the fit failed, if it did.
    seconds : float
    """

    covariance_type: str
    n_components: int
    log_likelihood: float
    n_parameters: int
    bic: float
    aic: float
    icl: float
    n_iter: int
    converged: bool
    collapsed: bool
    collapsed_components: tuple[int, ...]
    failure: str | None
    seconds: float


class Table(list[Row]):
    """The rows of a selection, which print as a table. What a failed fit lacks is a dash."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a table of several rows for a slice."""
        found = super().__getitem__(index)
        return Table(found) if isinstance(index, slice) else found

    def __repr__(self) -> str:
        header = "type K log-likelihood parameters BIC AIC ICL iterations".split()
        lines = [[*header, ""]]
        for row in self:
            note = row.failure or ("collapsed" if row.collapsed else "")
            note = note or ("" if row.converged else "not converged")
            numbers = [f"{x:.2f}" for x in (row.log_likelihood, row.bic, row.aic, row.icl)]
            numbers.append(str(row.n_iter))
            if row.failure is not None:
                numbers = ["-"] * len(numbers)
            numbers.insert(1, str(row.n_parameters))
            lines.append([row.covariance_type, str(row.n_components), *numbers, note])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    __str__ = __repr__


class Selection(NamedTuple):
    """The result of `select`.

    Attributes
    ----------
    best : GaussianMixture
        The fitted model with the lowest criterion, among those without collapsed components if
        there are any. For a Dask collection it is a `gmm_core.dask.GaussianMixture`.
    table : list of Row
        One row for each fit. It prints as a table.
    criterion : {'bic', 'aic', 'icl'}

    Examples
    --------
    >>> from gmm_core import select
    >>> best, table, criterion = select([[0.0], [0.1], [0.3], [8.0], [8.1]], range(1, 3), "tied")
    >>> [(row.covariance_type, row.n_components, row.converged) for row in table]
    [('tied', 1, True), ('tied', 2, True)]
    """

    best: GaussianMixture
    table: Table
    criterion: Criterion

    def to_frame(self) -> Any:
        """Return the table as a data frame of pandas.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError("to_frame needs pandas, which cannot be imported") from error
        return pandas.DataFrame(list(self.table), columns=list(Row._fields))

    def plot(self, ax: Any = None) -> Any:
        """Draw the criterion against the number of components, with a line for each type.

        An open marker is a fit with collapsed components. A fit that failed leaves a gap.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from gmm_core.plot import plot_selection

        return plot_selection(self.table, self.criterion, ax)


def select(
    X: Any,
    n_components: int | Iterable[int] = range(1, 10),
    covariance_types: str | Iterable[str] = ("full", "tied", "diag", "spherical"),
    criterion: Criterion = "bic",
    *,
    sample_weight: npt.ArrayLike | None = None,
    noise_covariance: npt.ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = 0,
    n_threads: int | None = None,
    verbose: int = 0,
    **params: Any,
) -> Selection:
    """Fit mixtures of several covariance types and numbers of components, and choose the best.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features), batches, or Dask collection
        See `GaussianMixture.fit`, `GaussianMixture.fit_batches` and `gmm_core.dask.GaussianMixture`
        for these. Batches are read once more for the criteria of each fit. Chunks of a collection
        stay on the workers until all fits have ended, and are computed again for the criteria of
        each fit, unless the collection is persisted.
    n_components : int or iterable of int, default=range(1, 10)
        Numbers of components to try.
    covariance_types : str or iterable of str, \
default=('full', 'tied', 'diag', 'spherical')
        Covariance types to try. 'all' is the fourteen models of mclust, or for one feature its two
        univariate models.
    criterion : {'bic', 'aic', 'icl'}, default='bic'
        The criterion of the choice; the lowest is the best.
    sample_weight : array-like of shape (n_samples,), default=None
        See `GaussianMixture.fit`. Weights of batches are given with each batch.
    noise_covariance : array-like or Dask array, default=None
        The covariances of the measurement noise of the samples; see `GaussianMixture.fit`. The
        noise of batches is given with each batch.
    random_state : int, RandomState instance or None, default=0
        Seed of each fit, so that fits with as many components begin at the same clusters. An
        instance draws one seed for all fits, and so does NumPy's global generator for None.
    n_threads : int or None, default=None
        See `GaussianMixture`. Results are bit-identical for any number of threads.
    verbose : int, default=0
        1 shows on standard error how many fits have been made, and the time to go.
    **params
        Further parameters of `GaussianMixture`; not `covariance_type`, `checkpoint` and
        `warm_start`. Small fits run side by side, so that a callable `init_params` is called by
        several threads at once.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError, TypeError
        For bad input. A fit that fails is a row of the table, unless all of them fail.
    RuntimeError
        For a Dask collection, if there is no client; see `gmm_core.dask.GaussianMixture.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import select
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) + np.repeat([[0, 0], [8, 0], [0, 8]], 100, axis=0)
    >>> selection = select(X, range(1, 5), "all")
    >>> selection.best.covariance_type, selection.best.n_components
    ('EII', 3)
    """
    if not (isinstance(criterion, str) and criterion in get_args(Criterion)):
        raise ValueError(f"criterion should be one of 'bic', 'aic', 'icl', but got {criterion!r}")
    counts = counts_to_try(n_components)
    for name, instead in _REFUSED.items():
        if name in params:
            raise TypeError(f"select has no parameter {name!r}{instead}")
    if not isinstance(random_state, (int, np.integer)):
        random_state = int(check_random_state(random_state).randint(2**31))
    params = {**params, "random_state": random_state}
    for K in counts:  # bad parameters are an error, and not a row
        options = GaussianMixture(K, **params)._options()
    types = types_to_try(covariance_types)
    data = _checked(X, sample_weight, noise_covariance, options)
    check_reg_covar(options.reg_covar, data.n_features)
    if types == ["all"]:
        types = list(UNIVARIATE if data.n_features == 1 else FOURTEEN)
    n_samples = data.totals.n_samples
    if max(counts) > n_samples:
        raise ValueError(
            f"n_components goes up to {max(counts)}, but X has {n_samples} samples only"
        )
    clusters = SharedClusters()
    jobs = [(name, K) for K in counts for name in types]
    small = data.is_array and n_samples * data.n_features * max(counts) < SMALL

    def fit(
        job: tuple[str, int], n_threads: int | None, watch: Callback
    ) -> tuple[Row, GaussianMixture | None]:
        name: Any = job[0]
        model = data.estimator(job[1], covariance_type=name, n_threads=n_threads, **params)
        return _fit(model, data, clusters, watch)

    # the first type of each number of components makes the clusters for the others
    results = list(_watched(each(fit, jobs, n_threads, small), len(jobs), verbose))
    fitted = [(row, found) for row, found in results if found is not None]
    if not fitted:
        raise ValueError(f"all fits failed, the last because: {results[-1][0].failure}")
    fitted = [(row, found) for row, found in fitted if not row.collapsed] or fitted
    values = [float(getattr(row, criterion)) for row, _ in fitted]
    # Models may be the same but for rounding, as the ellipsoids are for K = 1: the first is chosen.
    bound = min(values) + 1e-10 * abs(min(values))
    best = next(found for value, (_, found) in zip(values, fitted, strict=True) if value <= bound)
    best.n_threads = n_threads
    return Selection(best, Table(row for row, _ in results), criterion)


def counts_to_try(n_components: Any) -> list[int]:
    """Return the numbers of components to try, checked."""
    several = isinstance(n_components, Iterable) and not isinstance(n_components, str)
    counts = list(n_components) if several else [n_components]
    if not counts:
        raise ValueError("n_components is empty, expected at least one number of components")
    for K in counts:
        if not isinstance(K, (int, np.integer)):
            raise TypeError(f"n_components should be integers, but got {n_components!r}")
    return [int(K) for K in counts]


def types_to_try(
    covariance_types: str | Iterable[str], argument: str = "covariance_types"
) -> list[str]:
    """Return the names of the types to try, checked, or 'all' alone; errors name the argument."""
    names: list[str]
    if isinstance(covariance_types, str):
        names = [covariance_types]
        if covariance_types == "all":
            return names
    elif isinstance(covariance_types, Iterable):
        names = list(covariance_types)
    else:
        raise TypeError(f"{argument} should be names, or 'all', but got {covariance_types!r}")
    if not names:
        raise ValueError(f"{argument} is empty, expected at least one name, or 'all'")
    for name in names:
        if not isinstance(name, str) or name not in COVARIANCE_TYPES:
            raise ValueError(
                f"{argument} should be names among {', '.join(COVARIANCE_TYPES)}, or 'all', "
                f"but got {name!r}"
            )
    return names


class _Data(NamedTuple):
    """The samples, which have been checked, and the function that fits mixtures to them.

    Attributes
    ----------
    X, sample_weight, noise_covariance : object
        The samples, their weights and their noise for the scores.
    n_features : int
    totals : Totals
    is_array : bool
    estimator : type of GaussianMixture
    fit : callable
        Takes options, clusters and what is called after each iteration, and returns a `Result`.
    """

    X: Any
    sample_weight: Any
    noise_covariance: Any
    n_features: int
    totals: Totals
    is_array: bool
    estimator: type[GaussianMixture]
    fit: Callable[[Options, SharedClusters, Callback], Result]


def _checked(X: Any, sample_weight: Any, noise_covariance: Any, options: Options) -> _Data:
    """Check the samples, their weights and their noise."""
    if is_dask_collection(X):
        from gmm_core import dask
        from gmm_core.dask_collections import chunks_on_workers

        chunks, names, array = chunks_on_workers(
            X, sample_weight, options.missing == "marginalize", noise_covariance
        )
        rows = array if names is None else X  # the array is rechunked only once, with one warning
        return _Data(
            rows, sample_weight, noise_covariance, chunks.n_features, chunks.totals, False,
            dask.GaussianMixture,
            lambda options, clusters, watch: dask.fit_chunks(
                options, {}, chunks, names, clusters, quiet=True
            ),
        )  # fmt: skip
    if is_batches(X):
        refuse_weights_of_batches(sample_weight, noise_covariance)
        batches = Batches(X, allow_nan=options.missing == "marginalize")
        return _Data(
            X, None, None, batches.n_features, batches.totals, False, GaussianMixture,
            lambda options, clusters, watch: run.fit_batches(
                options, {}, batches, watch, clusters, quiet=True
            ),
        )  # fmt: skip
    checked, _ = check_rows(X, min_samples=2, allow_nan=options.missing == "marginalize")
    weight = check_sample_weight(sample_weight, len(checked))
    rows = checked if isinstance(X, (list, tuple)) else X  # lists are converted only once
    if noise_covariance is not None:
        noisy_rows(checked, noise_covariance)
    return _Data(
        rows, weight, noise_covariance, checked.shape[1],
        NO_ROWS.and_rows(len(checked), np.empty(0) if weight is None else weight),
        True, GaussianMixture,
        lambda options, clusters, watch: run.fit_array(
            options, {}, rows, weight, watch, clusters, True, noise_covariance
        )[0],
    )  # fmt: skip


def _fit(
    model: GaussianMixture, data: _Data, clusters: SharedClusters, watch: Callback
) -> tuple[Row, GaussianMixture | None]:
    """Fit a model, and return its row of the table, and the model unless it failed."""
    began = time.perf_counter()
    name, K = model.covariance_type, model.n_components
    try:
        result = data.fit(model._options(), clusters, watch)
        result.keep_in(model)
    except ValueError as error:
        n_parameters = n_parameters_of(COVARIANCE_TYPES[name], K, data.n_features)
        n_parameters += 2 * bool(model.noise)
        nothing = (np.nan, np.nan, np.nan, 0, False, False, ())
        seconds = time.perf_counter() - began
        return Row(name, K, np.nan, n_parameters, *nothing, str(error), seconds), None
    n_parameters = model.n_parameters
    uncertainty = model._scored(
        data.X, data.sample_weight, "map", data.noise_covariance
    ).uncertainty
    scored = score.Score(model.lower_bound_, model.n_samples_seen_, uncertainty)
    row = Row(
        name, K, scored.mean * scored.weight, n_parameters, scored.bic(n_parameters),
        scored.aic(n_parameters), scored.icl(n_parameters), model.n_iter_, model.converged_,
        bool(result.collapsed), result.collapsed, None, time.perf_counter() - began,
    )  # fmt: skip
    return row, model


def _watched(results: Iterable[Any], n_fits: int, verbose: int) -> Iterator[Any]:
    """Return the results, and show on standard error how many there are and the time to go."""
    if not verbose:
        yield from results
        return
    began = time.perf_counter()
    try:  # from the first text on, as Ctrl-C may come right after it
        print(f"0 of {n_fits} fits", end="", file=sys.stderr, flush=True)
        for i, result in enumerate(results, 1):
            to_go = (time.perf_counter() - began) / i * (n_fits - i)
            text = f"{i} of {n_fits} fits, {to_go:.0f} s to go"
            print(f"\r{text:<40}", end="", file=sys.stderr, flush=True)  # covers a longer text
            yield result
    finally:  # an error message begins on a new line
        print(file=sys.stderr)
