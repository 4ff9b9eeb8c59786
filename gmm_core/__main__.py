"""The command line: ``gmm-core fit | predict | score | sample | info | bench``."""

import argparse
import inspect
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from gmm_core import GaussianMixture
    from gmm_core._data_files import Data
    from gmm_core.fit.restarts import State

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data")


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        The arguments after the program's name; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        The exit code: 0, 2 after bad input, 130 after Ctrl-C.
    """
    try:
        args = _parser().parse_args(argv)
        with _warnings_on_one_line():
            args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone. Python would fail once more at exit
        # when it flushes, so standard output is pointed at nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(f"error: {error.filename}: {error.strerror}" if error.filename
                         else f"error: {error}")  # fmt: skip
    except (ValueError, MemoryError) as error:
        return _complain(f"error: {error}")
    return 0


def _complain(message: str, code: int = 2) -> int:
    line = " ".join(part.strip() for part in message.splitlines())
    print(f"gmm-core: {line}", file=sys.stderr)
    return code


@contextmanager
def _warnings_on_one_line(prefix: str = "") -> Iterator[None]:
    """Print warnings meant for users as one line each, after the block."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", RuntimeWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, (UserWarning, RuntimeWarning)):
            _complain(f"warning: {prefix}{warning.message}")


class _Progress:
    """Show on a terminal how far a fit is, in one line; elsewhere show nothing."""

    def __init__(self, text: str, n_init: int) -> None:
        self._text = text
        self._n_init = n_init
        self._state: State | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> "_Progress":
        if self._shown:
            self._thread.start()
        return self

    def watch(self, state: "State") -> None:
        """Take note of an iteration that has been made."""
        self._state = state

    def __exit__(self, *exc_info: object) -> None:
        if self._shown:
            self._done.set()
            self._thread.join()
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _write(self) -> None:
        start = time.perf_counter()
        while not self._done.wait(0.2):
            line = f"{self._text}, {time.perf_counter() - start:.0f} s{self._iteration()}"
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            # A line that fills the terminal would be continued on the next one.
            print(f"\r{line[: width - 1]}\x1b[K", end="", file=sys.stderr, flush=True)

    def _iteration(self) -> str:
        state = self._state
        if state is None or not state.lower_bounds:
            return ""
        start = f"start {state.start + 1} of {self._n_init}, " if self._n_init > 1 else ""
        return (f": {start}iteration {len(state.lower_bounds)}, "
                f"log-likelihood {state.lower_bounds[-1]:.4f} per sample")  # fmt: skip


# Arguments ---------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (try {self.prog} --help)")


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
    """Return a check that a file to be written has one of these suffixes and a folder to be in."""

    def check(path: str) -> str:
        if not path.lower().endswith(suffixes):
            raise argparse.ArgumentTypeError(f"{path!r} does not end in {' or '.join(suffixes)}")
        if not Path(path).resolve().parent.is_dir():
            raise argparse.ArgumentTypeError(f"there is no folder for {path!r}")
        return path

    return check


def _parser() -> argparse.ArgumentParser:
    from gmm_core import GaussianMixture, __version__

    parser = _Parser(prog="gmm-core", description="Fit and use Gaussian mixture models.")
    parser.add_argument("--version", action="version", version=f"gmm-core {__version__}",
                        help="print the version and exit")  # fmt: skip
    commands = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        required=True,
        description="Each has its own help: gmm-core COMMAND --help.",
    )

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> _Parser:
        sub: _Parser = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    fit = command("fit", _fit, "Fit a mixture to a file of samples.")
    predict = command("predict", _predict, "Print the component of each sample, one a line.")
    score = command("score", _score, "Print log-likelihood, BIC and AIC of samples.")
    sample = command("sample", _sample, "Draw samples from a model, as CSV.")
    info = command("info", _info, "Print the components of a model.")
    bench = command("bench", _bench, "Time gmm_core against NumPy, and scikit-learn if installed.")
    for sub in (predict, score, sample, info):
        sub.add_argument("model", metavar="MODEL.npz", help="a model saved by gmm-core fit --out")
    for sub in (fit, predict, score):
        sub.add_argument("data", metavar="DATA",
                         help="a .csv file, a .npy file, or a .npz file with an array X or with "
                              "one array only; a row is a sample")  # fmt: skip
        sub.add_argument("--header", choices=("auto", "yes", "no"), default="auto",
                         help="the first line of a .csv file names the columns (yes), or is a "
                              "sample (no), or names them if none of its fields is a number "
                              "(auto) (default: %(default)s)")  # fmt: skip
        sub.add_argument("--delimiter", type=_delimiter, metavar="CHAR", default=",",
                         help="the character between the columns of a .csv file, or 'tab', or "
                              "'space' for any number of spaces and tabs (default: "
                              "%(default)s)")  # fmt: skip

    fit.add_argument("-k", type=_component_range, default=range(1, 2), metavar="K",
                     help="number of components, or a range such as 1:10, of which the number "
                          "with the lowest BIC is taken (default: 1)")  # fmt: skip
    fit.add_argument("--out", type=_file_name(".npz"), metavar="MODEL.npz",
                     help="save the model in this file")  # fmt: skip
    fit.add_argument(
        "--plot",
        type=_file_name(".png"),
        metavar="PLOT.png",
        help="save a plot of the first two features (needs matplotlib)",
    )
    fit.add_argument("--seed", dest="random_state", type=int, default=0, metavar="N",
                     help="seed of the random starts (default: 0)")  # fmt: skip
    group = fit.add_argument_group("options of GaussianMixture")
    defaults = inspect.signature(GaussianMixture).parameters

    def option(flag: str, name: str, text: str, **details: Any) -> None:
        # Left out, an option is not passed on: the defaults are those of GaussianMixture.
        default = defaults[name].default
        group.add_argument(flag, dest=name, default=argparse.SUPPRESS, **details,
                           help=f"{text} (default: {default})")  # fmt: skip

    option("--covariance-type", "covariance_type", "shape of the covariances",
           choices=COVARIANCE_TYPES)  # fmt: skip
    option("--init", "init_params", "how EM's start is found", choices=INIT_PARAMS)
    option("--n-init", "n_init", "number of starts, of which the best is kept",
           type=int, metavar="N")  # fmt: skip
    option("--max-iter", "max_iter", "largest number of EM iterations", type=int, metavar="N")
    option("--tol", "tol", "EM stops when the log-likelihood per sample changes by less than this",
           type=float, metavar="X")  # fmt: skip
    option("--reg-covar", "reg_covar", "number added to the diagonals of all covariances",
           type=float, metavar="X")  # fmt: skip
    group.add_argument(
        "--threads",
        dest="n_threads",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="number of threads (default: one for each CPU that may be used)",
    )

    predict.add_argument(
        "--proba",
        action="store_true",
        help="print the probabilities of all components instead, as CSV",
    )
    for sub in (predict, sample):
        sub.add_argument(
            "--out",
            type=_file_name(".csv", ".npy"),
            metavar="FILE",
            help="write to this .csv or .npy file instead of the terminal",
        )
    sample.add_argument("-n", type=int, default=100, metavar="N",
                        help="number of samples (default: 100)")  # fmt: skip
    sample.add_argument("--seed", type=int, default=0, metavar="N",
                        help="seed of the random numbers (default: 0)")  # fmt: skip

    for name, number, text in (
        ("--n", 100_000, "samples"),
        ("--d", 8, "features"),
        ("--k", 8, "components"),
        ("--iterations", 10, "EM iterations of each fit"),
    ):
        bench.add_argument(name, type=int, default=number, metavar="N",
                           help=f"number of {text} (default: {number})")  # fmt: skip
    bench.add_argument("--covariance-type", choices=COVARIANCE_TYPES, default="full",
                       help="shape of the covariances (default: full)")  # fmt: skip
    bench.add_argument("--threads", type=int, metavar="N",
                       help="number of threads of each library (default: its own)")  # fmt: skip
    return parser


# Commands ----------------------------------------------------------------------------------------


def _fit(args: argparse.Namespace) -> None:
    import numpy as np

    from gmm_core import GaussianMixture
    from gmm_core._data_files import read_data
    from gmm_core._report import feature_names, print_components, print_table, print_text
    from gmm_core.fit.result import set_attributes
    from gmm_core.fit.run import fit_array

    if args.plot:
        from gmm_core import _plot

        _plot.require_matplotlib()
    data = read_data(args.data, args.delimiter, args.header)
    if args.plot and data.X.shape[1] < 2:
        raise ValueError(f"--plot draws two features, {args.data} has one")
    options = {
        name: getattr(args, name)
        for name in ("covariance_type", "init_params", "n_init", "max_iter", "tol", "reg_covar",
                     "random_state", "n_threads")
        if hasattr(args, name)
    }  # fmt: skip

    best: GaussianMixture | None = None
    best_row: dict[str, str] = {}
    lowest = (True, float("inf"))
    tried = []
    marks = []  # one for each model that has collapsed components
    for k in args.k:
        model = GaussianMixture(k, **options)
        with (
            _warnings_on_one_line(f"{k} components: "),
            _Progress(f"fitting {k} components", model.n_init) as progress,
        ):
            if len(args.k) > 1:  # the table marks collapsed models
                warnings.filterwarnings("ignore", r"components? [\d, ]+ collapsed")
            start = time.perf_counter()
            attributes, _ = fit_array(
                model._options(), vars(model), data.X, watch=progress.watch
            )
            set_attributes(vars(model), attributes)
            seconds = time.perf_counter() - start
            bic = float(model.bic(data.X))
            log_likelihood = float(model.score(data.X)) * data.X.shape[0]
        collapsed = _collapsed(model, data.X)
        row = {
            "log-likelihood": f"{log_likelihood:.2f}",
            "BIC": f"{bic:.2f}",
            "iterations": str(model.n_iter_),
            "converged": "yes" if model.converged_ else "no",
            "seconds": f"{seconds:.3f}",
        }
        tried.append([f"*{k}" if collapsed else str(k), *row.values()])
        if collapsed:
            noun = "component" if len(collapsed) == 1 else "components"
            marks.append(f"{noun} {', '.join(map(str, collapsed))} of {k}")
        # The likelihood grows without bound as a component collapses, so that a low BIC means
        # nothing then.
        if best is None or (bool(collapsed), bic) < lowest:
            best, best_row, lowest = model, row, (bool(collapsed), bic)
    assert best is not None  # -k is never an empty range
    names = data.names or feature_names(best)

    print(f"{args.data}: {data.X.shape[0]} samples, {data.X.shape[1]} features\n")
    if len(tried) > 1:
        print_table(["components", *best_row], tried)
        if marks:
            print_text(f"* collapsed onto few samples: {'; '.join(marks)}")
        which = ""
        if len(marks) == len(tried):
            which = " (all have collapsed components)"
        elif marks:
            which = " (of those without collapsed components)"
        print(f"\nlowest BIC{which}: {len(best.weights_)} components\n")
    print_components(best, names)
    if len(tried) == 1:
        print()
        for name, text in best_row.items():
            print(f"{name:<15} {text}")
    if args.plot:
        _plot.plot_mixture(best, data.X, names, args.plot)
        print(f"\nplot saved to {args.plot}")
    if args.out:
        if data.names is not None:
            best.feature_names_in_ = np.array(data.names, dtype=object)
        best.save(args.out)
        print(f"\nmodel saved to {args.out}")


def _predict(args: argparse.Namespace) -> None:
    from gmm_core._report import write_array

    model, data = _load_for(args)
    if args.proba:
        header = [f"component {k}" for k in range(len(model.weights_))]
        write_array(model.predict_proba(data.X), header, args.out)
    else:
        write_array(model.predict(data.X), None, args.out)


def _score(args: argparse.Namespace) -> None:
    model, data = _load_for(args)
    mean = float(model.score(data.X))
    print(f"samples         {data.X.shape[0]}")
    print(f"log-likelihood  {mean * data.X.shape[0]:.2f}")
    print(f"per sample      {mean:.6f}")
    print(f"BIC             {float(model.bic(data.X)):.2f}")
    print(f"AIC             {float(model.aic(data.X)):.2f}")


def _sample(args: argparse.Namespace) -> None:
    from gmm_core._report import feature_names, write_array

    model = _load(args.model)
    model.set_params(random_state=args.seed)
    X, _ = model.sample(args.n)
    write_array(X, feature_names(model), args.out)


def _info(args: argparse.Namespace) -> None:
    from gmm_core._report import feature_names, print_components

    model = _load(args.model)
    n_components, n_features = model.means_.shape
    print(f"{args.model}: {n_components} components, {n_features} features, "
          f"{model.covariance_type} covariances\n")  # fmt: skip
    print_components(model, feature_names(model))


def _bench(args: argparse.Namespace) -> None:
    from gmm_core._bench import run_bench

    run_bench(args.n, args.d, args.k, args.covariance_type, args.iterations, args.threads)


# Models ------------------------------------------------------------------------------------------


def _collapsed(model: "GaussianMixture", X: Any) -> list[int]:
    """Return the components of a model, fitted to X, that have collapsed onto few samples."""
    from gmm_core.data.parameters import check_reg_covar
    from gmm_core.model.attributes import mixture_from
    from gmm_core.model.collapse import collapsed_components

    mixture = mixture_from(vars(model), model.covariance_type, model.n_threads)
    reg_covar = check_reg_covar(model.reg_covar, X.shape[1])
    return [int(k) for k in collapsed_components(mixture, X.shape[0], reg_covar)]


def _load(path: str) -> "GaussianMixture":
    from gmm_core import GaussianMixture

    return GaussianMixture.load(path)


def _load_for(args: argparse.Namespace) -> "tuple[GaussianMixture, Data]":
    """Load a model and the samples that it shall be used on, with the same columns."""
    from gmm_core._data_files import read_data

    model = _load(args.model)
    data = read_data(args.data, args.delimiter, args.header)
    expected = list(getattr(model, "feature_names_in_", []))
    if data.names is not None and expected and data.names != expected:
        raise ValueError(f"{args.data}: columns are {', '.join(data.names)}; "
                         f"the model was fitted on {', '.join(expected)}")  # fmt: skip
    if expected:
        # The names were compared here; samples in a bare array would make the model warn.
        del model.feature_names_in_
    return model, data


if __name__ == "__main__":
    sys.exit(main())
