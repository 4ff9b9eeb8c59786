"""Fit a mixture to a file of samples, or several, of which an information criterion chooses one."""

import argparse
import copy
import inspect
import sys
import time
import warnings
from typing import Any

import numpy as np

from gmm_core import GaussianMixture, Selection, plot, select
from gmm_core.cli.data_files import RealArray, read_data
from gmm_core.cli.messages import warnings_on_one_line
from gmm_core.cli.progress import Progress
from gmm_core.cli.report import (
    MAX_FEATURES_SHOWN,
    feature_names,
    print_components,
    print_table,
    print_text,
)
from gmm_core.fit import run
from gmm_core.selection import Criterion


def fit(args: argparse.Namespace) -> None:
    """Fit a mixture, or several and choose one; print it, plot it and save it.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core fit``.

    Raises
    ------
    ValueError
        If the samples or an option are wrong, or the plot cannot be drawn.
    OSError
        If a file cannot be read or written.
    """
    if args.plot or args.plot_selection:
        plot.require_matplotlib()
    data = read_data(args.data, args.delimiter, args.header)
    n_samples, n_features = data.X.shape
    parameters = inspect.signature(GaussianMixture).parameters
    options = {name: value for name, value in vars(args).items() if name in parameters}
    title = f"{args.data}: {n_samples} samples, {n_features} features\n"

    if len(args.k) > 1 or options.get("covariance_type") == "all":
        types = options.pop("covariance_type", parameters["covariance_type"].default)
        verbose = int(sys.stderr.isatty())
        selection = select(data.X, args.k, types, args.criterion, verbose=verbose, **options)
        model, names = selection.best, data.names or feature_names(selection.best)
        print(title)
        _print_selection(selection)
        print_components(model, names)
        if args.plot_selection:
            _save(selection.plot().figure, args.plot_selection)
    else:
        if args.plot_selection:
            raise ValueError("--plot-selection draws several fits: give a range such as -k 1:10")
        model, figures = _fit_one(args.k[0], data.X, options, args.criterion)
        names = data.names or feature_names(model)
        print(title)
        print_components(model, names)
        print()
        for name, text in figures.items():
            print(f"{name:<15} {text}")
    if args.plot:
        _save(_picture(model, data.X, names), args.plot)
    if args.out:
        if data.names is not None:
            model.feature_names_in_ = np.array(data.names, dtype=object)
        model.save(args.out)
        print(f"\nmodel saved to {args.out}")


def _fit_one(
    k: int, X: RealArray, options: dict[str, Any], criterion: Criterion
) -> tuple[GaussianMixture, dict[str, str]]:
    """Fit a mixture of k components, and return it with the figures to print, by their names."""
    model = GaussianMixture(k, **options)
    with (
        warnings_on_one_line(f"{k} components: "),
        Progress(f"fitting {k} components", model.n_init) as progress,
    ):
        start = time.perf_counter()
        result, _ = run.fit_array(model._options(), vars(model), X, watch=progress.watch)
        result.keep_in(model)
        seconds = time.perf_counter() - start
        log_likelihood = model.score(X) * X.shape[0]
        value = getattr(model, criterion)(X)
    return model, {
        "log-likelihood": f"{log_likelihood:.2f}",
        criterion.upper(): f"{value:.2f}",
        "iterations": str(model.n_iter_),
        "converged": "yes" if model.converged_ else "no",
        "seconds": f"{seconds:.3f}",
    }


def _picture(model: GaussianMixture, X: RealArray, names: list[str]) -> Any:
    """Draw a model: the density of one feature, the ellipses of two, or pairs of up to six."""
    from matplotlib import use

    use("agg")
    named = copy.copy(model)
    named.feature_names_in_ = np.array(names, dtype=object)
    n_features = min(len(names), MAX_FEATURES_SHOWN)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        if n_features == 1:
            return plot.plot_density(named, X).figure
        if n_features == 2:
            return plot.plot_mixture(named, X).figure
        return plot.plot_pairs(named, X, range(n_features))[0, 0].figure


def _save(figure: Any, path: str) -> None:
    """Save a figure in the format that the name of the file tells."""
    figure.savefig(path, dpi=130)
    print(f"\nplot saved to {path}")


def _print_selection(selection: Selection) -> None:
    """Print the figures of all fits, which of them collapsed or failed, and which was chosen."""
    best, table, criterion = selection
    header = ["components", "log-likelihood", criterion.upper(), "iterations", "converged",
              "seconds"]  # fmt: skip
    several_types = len({row.covariance_type for row in table}) > 1
    cells: list[list[str]] = []
    collapsed: list[str] = []
    failed: dict[str, list[str]] = {}  # names of the models by the reason
    for row in table:
        kind = [row.covariance_type] if several_types else []
        name = " ".join([*kind, str(row.n_components)])
        converged = "yes" if row.converged else "no"
        figures = [f"{row.log_likelihood:.2f}", f"{getattr(row, criterion):.2f}", str(row.n_iter)]
        if row.failure is not None:
            figures = ["-"] * len(figures)
            failed.setdefault(row.failure, []).append(name)
            converged = "failed"
        if row.collapsed:
            noun = "component" if len(row.collapsed_components) == 1 else "components"
            collapsed.append(f"{noun} {', '.join(map(str, row.collapsed_components))} of {name}")
        cells.append([
            *kind, f"*{row.n_components}" if row.collapsed else str(row.n_components),
            *figures, converged, f"{row.seconds:.3f}",
        ])  # fmt: skip
    print_table(["type", *header] if several_types else header, cells)
    if collapsed:
        print_text(f"* collapsed onto few samples: {'; '.join(collapsed)}")
    for reason, names in failed.items():
        print_text(f"failed: {', '.join(names)}{'' if several_types else ' components'}: {reason}")
    among = ""
    if all(row.collapsed or row.failure for row in table):
        among = " (all have collapsed components)"
        if failed:
            among = " (all fits that did not fail have collapsed components)"
    elif collapsed:
        among = " (of those without collapsed components)"
    chosen = f"{best.n_components} components"
    if several_types:
        chosen = f"{best.covariance_type}, {chosen}"
    print(f"\nlowest {criterion.upper()}{among}: {chosen}\n")
