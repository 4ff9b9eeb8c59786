"""Fit mixtures to a file of samples, and choose the number of components.

The model with the lowest BIC is chosen, preferring models without collapsed components.
"""

import argparse
import inspect
import time
import warnings
from typing import Any, NamedTuple

import numpy as np

from gmm_core import GaussianMixture, plot
from gmm_core.cli.data_files import RealArray, read_data
from gmm_core.cli.messages import warnings_on_one_line
from gmm_core.cli.progress import Progress
from gmm_core.cli.report import feature_names, print_components, print_table, print_text
from gmm_core.data.parameter_validation import check_reg_covar
from gmm_core.fit import run
from gmm_core.model.attributes import mixture_from
from gmm_core.model.collapse import collapsed_components


class Trial(NamedTuple):
    """A fitted model and the figures that are printed about it.

    Attributes
    ----------
    model : GaussianMixture
        The fitted model.
    bic : float
        BIC of the samples; the lowest is the best.
    collapsed : list of int
        Components that have collapsed onto few samples.
    figures : dict of str to str
        Figures to print, by their names.
    """

    model: GaussianMixture
    bic: float
    collapsed: list[int]
    figures: dict[str, str]

    @property
    def rank(self) -> tuple[bool, float]:
        """Return the key that orders models, the best first.

        The likelihood grows without bound as a component collapses, so the BIC of a model with
        collapsed components means nothing. Such a model comes after all others.
        """
        return bool(self.collapsed), self.bic


def fit(args: argparse.Namespace) -> None:
    """Fit a mixture for each number of components, print the best one, plot it and save it.

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
    if args.plot:
        plot.require_matplotlib()
    data = read_data(args.data, args.delimiter, args.header)
    n_samples, n_features = data.X.shape
    if args.plot and n_features < 2:
        raise ValueError(f"--plot draws two features, {args.data} has one")
    parameters = inspect.signature(GaussianMixture).parameters
    options = {name: value for name, value in vars(args).items() if name in parameters}

    best: Trial | None = None
    rows = []
    marks = []
    for k in args.k:
        trial = _try(k, data.X, options, alone=len(args.k) == 1)
        rows.append([f"*{k}" if trial.collapsed else str(k), *trial.figures.values()])
        if trial.collapsed:
            noun = "component" if len(trial.collapsed) == 1 else "components"
            marks.append(f"{noun} {', '.join(map(str, trial.collapsed))} of {k}")
        if best is None or trial.rank < best.rank:
            best = trial
    assert best is not None  # the parser accepts no empty range
    model = best.model
    names = data.names or feature_names(model)

    print(f"{args.data}: {n_samples} samples, {n_features} features\n")
    if len(rows) > 1:
        print_table(["components", *best.figures], rows)
        _print_choice(len(model.weights_), marks, all_collapsed=len(marks) == len(rows))
    print_components(model, names)
    if len(rows) == 1:
        print()
        for name, text in best.figures.items():
            print(f"{name:<15} {text}")
    if args.plot:
        plot.plot_mixture(model, data.X, names, args.plot)
        print(f"\nplot saved to {args.plot}")
    if args.out:
        if data.names is not None:
            model.feature_names_in_ = np.array(data.names, dtype=object)
        model.save(args.out)
        print(f"\nmodel saved to {args.out}")


def _try(k: int, X: RealArray, options: dict[str, Any], alone: bool) -> Trial:
    """Fit a mixture of k components.

    If several numbers of components are tried, the warning about collapsed components is
    suppressed, because the table marks these models.
    """
    model = GaussianMixture(k, **options)
    with (
        warnings_on_one_line(f"{k} components: "),
        Progress(f"fitting {k} components", model.n_init) as progress,
    ):
        if not alone:
            warnings.filterwarnings("ignore", r"components? [\d, ]+ collapsed")
        start = time.perf_counter()
        _fit_watched(model, X, progress)
        seconds = time.perf_counter() - start
        bic = model.bic(X)
        log_likelihood = model.score(X) * X.shape[0]
    figures = {
        "log-likelihood": f"{log_likelihood:.2f}",
        "BIC": f"{bic:.2f}",
        "iterations": str(model.n_iter_),
        "converged": "yes" if model.converged_ else "no",
        "seconds": f"{seconds:.3f}",
    }
    return Trial(model, bic, _collapsed(model, X), figures)


def _print_choice(n_components: int, marks: list[str], all_collapsed: bool) -> None:
    """Print which models have collapsed components, and the number of components chosen."""
    if marks:
        print_text(f"* collapsed onto few samples: {'; '.join(marks)}")
    which = ""
    if all_collapsed:
        which = " (all have collapsed components)"
    elif marks:
        which = " (of those without collapsed components)"
    print(f"\nlowest BIC{which}: {n_components} components\n")


def _fit_watched(model: GaussianMixture, X: RealArray, progress: Progress) -> None:
    """Fit a model and report each iteration to `progress`."""
    result, _ = run.fit_array(model._options(), vars(model), X, watch=progress.watch)
    result.keep_in(model)


def _collapsed(model: GaussianMixture, X: RealArray) -> list[int]:
    """Return the components of a model fitted to X that have collapsed onto few samples."""
    mixture = mixture_from(vars(model), model.covariance_type, model.n_threads)
    reg_covar = check_reg_covar(model.reg_covar, X.shape[1])
    return [int(k) for k in collapsed_components(mixture, X.shape[0], reg_covar)]
