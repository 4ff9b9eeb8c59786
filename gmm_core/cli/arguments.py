"""Define the arguments of the command line and parse them."""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, get_args

from gmm_core import GaussianMixture, __version__, reference
from gmm_core.core.types import AccelerationName, StartName
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.selection import FOURTEEN, UNIVARIATE, Criterion

_PICTURES = (".png", ".svg", ".pdf")

# Commands and the descriptions that --help prints.
_COMMANDS = {
    "fit": "Fit a mixture to a file of samples.",
    "predict": "Print the component of each sample, one per line.",
    "score": "Print the log-likelihood, BIC and AIC of samples.",
    "impute": "Fill the missing values of samples, and print the samples as CSV.",
    "sample": "Draw samples from a model, and print them as CSV.",
    "info": "Print the components of a model.",
    "bench": "Measure the speed of gmm_core, NumPy, and scikit-learn if it is installed.",
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of the command line.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments after the name of the program. None stands for ``sys.argv[1:]``.

    Returns
    -------
    argparse.Namespace
        The arguments. ``command`` is the name of the command. For ``fit``, parameters of
        GaussianMixture have their own names, and those that were not given are left out.

    Raises
    ------
    ValueError
        If the arguments are wrong.
    SystemExit
        If the help or the version was asked for and has been printed.
    """
    parser = _Parser(prog="gmm-core", description="Fit and use Gaussian mixture models.")
    parser.add_argument("--version", action="version", version=f"gmm-core {__version__}",
                        help="print the version and exit")  # fmt: skip
    subparsers = parser.add_subparsers(
        title="commands",
        dest="command",
        metavar="COMMAND",
        required=True,
        description="Each has its own help: gmm-core COMMAND --help.",
    )
    commands: dict[str, argparse.ArgumentParser] = {
        name: subparsers.add_parser(name, help=text, description=text)
        for name, text in _COMMANDS.items()
    }
    for name in ("predict", "score", "impute", "sample", "info"):
        commands[name].add_argument("model", metavar="MODEL.npz",
                                    help="a model saved by gmm-core fit --out")  # fmt: skip
    for name in ("fit", "predict", "score", "impute"):
        _add_data(commands[name])
    _add_fit(commands["fit"])
    _add_model_options(commands["fit"])
    commands["predict"].add_argument(
        "--proba",
        action="store_true",
        help="print the probabilities of all components instead, as CSV",
    )
    commands["score"].add_argument(
        "--samples",
        action="store_true",
        help="print the log-likelihood of each sample instead, one per line",
    )
    commands["impute"].add_argument(
        "--sample",
        action="store_true",
        help="draw missing values from their distribution given the rest of the sample, instead of "
        "filling in its mean",
    )
    for name in ("predict", "score", "impute", "sample"):
        commands[name].add_argument(
            "--out",
            type=_file_name(".csv", ".npy"),
            metavar="FILE",
            help="write to this .csv or .npy file instead of the terminal",
        )
    _add_number(commands["sample"], "-n", 100, "number of samples")
    for name in ("impute", "sample"):
        _add_number(commands[name], "--seed", 0, "seed of the random numbers")
    _add_bench(commands["bench"])
    return parser.parse_args(argv)


class _Parser(argparse.ArgumentParser):
    """A parser that raises an error instead of printing its usage and ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (try {self.prog} --help)")


def _add_number(parser: argparse.ArgumentParser, flag: str, default: int, text: str) -> None:
    parser.add_argument(flag, type=int, default=default, metavar="N",
                        help=f"{text} (default: {default})")  # fmt: skip


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Add the file of samples, and how it is read."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a .csv file, a .npy file, a .npz file with an array X or with one array only, or a "
        ".parquet file or a folder of such files (which needs pyarrow); each row is a sample, in "
        "which a missing value is nan or null, or in a .csv file NA or an empty field",
    )
    parser.add_argument(
        "--header",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether the first line of a .csv file names the columns (yes) or is a sample (no); "
        "with auto, the first line (after blank lines and # comments) is a header if none of its "
        "fields is a finite number, or if all are quoted and the next line has no quotes; a line "
        "that consists only of nan or inf is refused (default: %(default)s)",
    )
    parser.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="CHAR",
        default=",",
        help="the character between the columns of a .csv file, or 'tab', or 'space' for any "
        "number of spaces and tabs (default: %(default)s)",
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    """Add what `fit` takes beside the options of GaussianMixture."""
    parser.add_argument(
        "-k",
        type=_component_range,
        default=range(1, 2),
        metavar="K",
        help="number of components, or a range such as 1:10, from which the model with the lowest "
        "criterion is chosen, preferring models without collapsed components (default: 1)",
    )
    parser.add_argument(
        "--criterion",
        choices=get_args(Criterion),
        default="bic",
        help="information criterion that is printed, and that chooses if several models are "
        "fitted (default: %(default)s)",
    )
    parser.add_argument("--out", type=_file_name(".npz"), metavar="MODEL.npz",
                        help="save the model in this file")  # fmt: skip
    parser.add_argument(
        "--plot",
        type=_file_name(*_PICTURES),
        metavar="PLOT",
        help="save a plot of the model as PNG, SVG or PDF, by the ending of the name: the density "
        "of one feature, the ellipses of two, or the pairs of the first 6 (needs matplotlib)",
    )
    parser.add_argument(
        "--plot-selection",
        type=_file_name(*_PICTURES),
        metavar="PLOT",
        help="save a plot of the criterion of all fits, if -k is a range (needs matplotlib)",
    )
    parser.add_argument("--seed", dest="random_state", type=int, default=0, metavar="N",
                        help="seed of the random starts (default: 0)")  # fmt: skip


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add parameters of GaussianMixture. One that is not given keeps the default of the class."""
    group = parser.add_argument_group("options of GaussianMixture")
    parameters = inspect.signature(GaussianMixture).parameters
    others = [name for name in COVARIANCE_TYPES if name not in (*FOURTEEN, *UNIVARIATE)]
    group.add_argument(
        "--covariance-type",
        choices=[*COVARIANCE_TYPES, "all"],
        metavar="TYPE",
        default=argparse.SUPPRESS,
        help=f"shape of the covariances: {', '.join(others)}, one of the fourteen models of mclust "
        f"({', '.join(FOURTEEN)}), or for one feature {' or '.join(UNIVARIATE)}; with all, each "
        "of the fourteen (for one feature each of the two) is fitted, and --criterion chooses "
        f"(default: {parameters['covariance_type'].default})",
    )
    group.add_argument(
        "--init",
        dest="init_params",
        choices=get_args(StartName),
        default=argparse.SUPPRESS,
        metavar="METHOD",
        help=f"method that finds the start of EM: {', '.join(get_args(StartName))} "
        f"(default: {parameters['init_params'].default})",
    )
    for flag, name, number, text in (
        ("--n-init", "n_init", int, "number of starts, of which the best is kept"),
        ("--n-short", "n_short", int,
         "number of short runs of EM, of which the best --n-init run on; 0 for none"),
        ("--n-swaps", "n_swaps", int,
         "number of times that a component is moved after EM; a move that is no better is undone"),
        ("--max-iter", "max_iter", int, "largest number of EM iterations"),
        ("--tol", "tol", float,
         "EM stops when the log-likelihood per sample changes by less than this"),
        ("--reg-covar", "reg_covar", float, "number added to the diagonals of all covariances"),
    ):  # fmt: skip
        group.add_argument(flag, dest=name, type=number, metavar="N" if number is int else "X",
                           default=argparse.SUPPRESS,
                           help=f"{text} (default: {parameters[name].default})")  # fmt: skip
    group.add_argument(
        "--acceleration",
        choices=get_args(AccelerationName),
        default=argparse.SUPPRESS,
        metavar="METHOD",
        help=f"method that makes EM take fewer passes: {', '.join(get_args(AccelerationName))} "
        "(default: none)",
    )
    group.add_argument(
        "--noise",
        action="store_true",
        default=argparse.SUPPRESS,
        help="add a component of uniform density over the region of the data",
    )
    group.add_argument(
        "--threads",
        dest="n_threads",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="number of threads (default: one for each CPU that may be used)",
    )


def _add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the sizes of the benchmark."""
    _add_number(parser, "--n", 100_000, "number of samples")
    _add_number(parser, "--d", 8, "number of features")
    _add_number(parser, "--k", 8, "number of components")
    _add_number(parser, "--iterations", 10, "number of EM iterations of each fit")
    types = list(reference.COVARIANCE_TYPES)  # those that all libraries have
    parser.add_argument("--covariance-type", choices=types, default="full",
                        help="shape of the covariances (default: %(default)s)")  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N",
                        help="number of threads of each library (default: its own)")  # fmt: skip


# Types of arguments: each function turns the text into a value, or raises ArgumentTypeError -------


def _component_range(text: str) -> range:
    """Turn '3' into range(3, 4) and '1:10' into range(1, 11)."""
    first, colon, last = text.partition(":")
    try:
        low = int(first)
        high = int(last) if colon else low
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected 3 or 1:10, got {text!r}") from None
    if low < 1:
        raise argparse.ArgumentTypeError(f"a mixture needs at least 1 component, got {text!r}")
    if high < low:
        raise argparse.ArgumentTypeError(f"the range {text!r} is empty")
    return range(low, high + 1)


def _delimiter(text: str) -> str:
    """Return the character between columns; a space stands for any run of spaces and tabs."""
    delimiter = {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)
    if len(delimiter) != 1 or delimiter.isalnum() or delimiter in "\"'.+-_#\r\n":
        raise argparse.ArgumentTypeError(
            f"expected one character such as ';', or the word tab or space, got {text!r}"
        )
    return delimiter


def _file_name(*suffixes: str) -> Callable[[str], str]:
    """Return a check that a file name has one of the suffixes and that its folder exists."""

    def check(path: str) -> str:
        if not path.lower().endswith(suffixes):
            raise argparse.ArgumentTypeError(f"{path!r} does not end in {' or '.join(suffixes)}")
        if not Path(path).resolve().parent.is_dir():
            raise argparse.ArgumentTypeError(f"the folder of {path!r} does not exist")
        return path

    return check
