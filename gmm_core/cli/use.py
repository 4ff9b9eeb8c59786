"""Run the commands that use a saved model: predict, score, sample and info."""

import argparse

import numpy as np

from gmm_core import GaussianMixture
from gmm_core.cli.data_files import Data, read_data
from gmm_core.cli.report import feature_names, print_components, write_array
from gmm_core.core.types import AnyArray


def predict(args: argparse.Namespace) -> None:
    """Write the component of each sample, or the probabilities of all components.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core predict``.
    """
    model, data = _load_both(args)
    if args.proba:
        header = [f"component {k}" for k in range(len(model.weights_))]
        probabilities: AnyArray = model.predict_proba(data.X)
        if hasattr(model, "noise_log_density_"):
            header.append("noise")
            probabilities = np.column_stack([probabilities, model.noise_proba(data.X)])
        write_array(probabilities, header, args.out)
    else:
        write_array(model.predict(data.X), None, args.out)


def score(args: argparse.Namespace) -> None:
    """Print the log-likelihood of samples, and BIC and AIC.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of ``gmm-core score``.
    """
    model, data = _load_both(args)
    n_samples = data.X.shape[0]
    mean = model.score(data.X)
    print(f"samples         {n_samples}")
    print(f"log-likelihood  {mean * n_samples:.2f}")
    print(f"per sample      {mean:.6f}")
    print(f"BIC             {model.bic(data.X):.2f}")
    print(f"AIC             {model.aic(data.X):.2f}")


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
    write_array(X, feature_names(model), args.out)


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


def _load_both(args: argparse.Namespace) -> tuple[GaussianMixture, Data]:
    """Load a model and samples, and check that the samples have the columns of the model."""
    model = GaussianMixture.load(args.model)
    data = read_data(args.data, args.delimiter, args.header)
    expected = list(getattr(model, "feature_names_in_", []))
    if data.names is not None and expected and data.names != expected:
        raise ValueError(f"{args.data}: columns are {', '.join(data.names)}; "
                         f"the model was fitted on {', '.join(expected)}")  # fmt: skip
    if expected:
        # The names have been compared. The model would warn about samples in an array without them.
        del model.feature_names_in_
    return model, data
