"""Run the commands that use a saved model: predict, score, impute, sample and info.

Samples are read in parts, and their results are written before the next part is read.
"""

import argparse
from collections.abc import Iterator

import numpy as np

from gmm_core import GaussianMixture
from gmm_core.cli.data_files import Batches, read_batches
from gmm_core.cli.report import feature_names, print_components, write_arrays
from gmm_core.core.types import AnyArray


def predict(args: argparse.Namespace) -> None:
    """Write the component of each sample, or the probabilities of all components.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core predict``.
    """
    model, data = _load_both(args)
    if not args.proba:
        write_arrays(model.predict(data.parts), None, args.out)
        return
    header = [f"component {k}" for k in range(len(model.weights_))]
    has_noise = hasattr(model, "noise_log_density_")

    def probabilities() -> Iterator[AnyArray]:
        for part in data.parts:
            r: AnyArray = model.predict_proba(part)
            yield np.column_stack([r, model.noise_proba(part)]) if has_noise else r

    write_arrays(probabilities(), header + ["noise"] * has_noise, args.out)


def score(args: argparse.Namespace) -> None:
    """Print the log-likelihood of samples, and BIC and AIC, or write that of each sample.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core score``.
    """
    model, data = _load_both(args)
    if args.samples or args.out:
        write_arrays(model.score_samples(data.parts), None, args.out)
        return
    scored = model._scored(data.parts, None)
    print(f"samples         {scored.weight:.0f}")
    print(f"log-likelihood  {scored.mean * scored.weight:.2f}")
    print(f"per sample      {scored.mean:.6f}")
    print(f"BIC             {scored.bic(model.n_parameters):.2f}")
    print(f"AIC             {scored.aic(model.n_parameters):.2f}")


def impute(args: argparse.Namespace) -> None:
    """Write the samples with their missing values filled.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core impute``.
    """
    model, data = _load_both(args, allow_nan=True)
    model.set_params(random_state=args.seed)
    names = data.names or feature_names(model)
    write_arrays(model.impute(data.parts, sample=args.sample), names, args.out)


def sample(args: argparse.Namespace) -> None:
    """Draw samples from a model and write them.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core sample``.
    """
    model = GaussianMixture.load(args.model)
    model.set_params(random_state=args.seed)
    X, _ = model.sample(args.n)
    write_arrays([X], feature_names(model), args.out)


def info(args: argparse.Namespace) -> None:
    """Print the size of a model and its components.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core info``.
    """
    model = GaussianMixture.load(args.model)
    n_components, n_features = model.means_.shape
    print(f"{args.model}: {n_components} components, {n_features} features, "
          f"{model.covariance_type} covariances\n")  # fmt: skip
    print_components(model, feature_names(model))


def _load_both(
    args: argparse.Namespace, allow_nan: bool = False
) -> tuple[GaussianMixture, Batches]:
    """Load a model, open the samples, and check that they have the columns of the model."""
    model = GaussianMixture.load(args.model)
    allow_nan = allow_nan or model.missing == "marginalize"
    data = read_batches(args.data, args.delimiter, args.header, allow_nan)
    expected = list(getattr(model, "feature_names_in_", []))
    if data.names is not None and expected and data.names != expected:
        raise ValueError(f"{args.data}: columns are {', '.join(data.names)}; "
                         f"the model was fitted on {', '.join(expected)}")  # fmt: skip
    if expected:
        # The names have been compared. The model would warn about samples in an array without them.
        del model.feature_names_in_
    return model, data._replace(names=expected or data.names)
