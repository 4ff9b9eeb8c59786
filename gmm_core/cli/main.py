"""Run ``gmm-core`` and turn its errors into exit codes and messages of one line."""

import argparse
import os
import sys
from collections.abc import Callable

from gmm_core.cli.arguments import parse
from gmm_core.cli.messages import complain, warnings_on_one_line


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments after the name of the program. None stands for ``sys.argv[1:]``.

    Returns
    -------
    int
        Exit code: 0 after success, 2 after an error (bad input, an unreadable file, too little
        memory), 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        If the arguments ask for help or for the version, which are printed first.
    """
    try:
        args = parse(argv)
        with warnings_on_one_line():
            _command(args.command)(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except BrokenPipeError:
        # The program that reads our output (head, less) has ended. Python would fail again when it
        # flushes standard output at exit, so the output is redirected to nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return complain(f"error: {reason}")
    except (ValueError, MemoryError, ImportError) as error:
        return complain(f"error: {error}")
    return 0


def _command(name: str) -> Callable[[argparse.Namespace], None]:
    """Return the function that runs a command. Only the module of this command is imported."""
    if name == "fit":
        from gmm_core.cli.fit import fit

        return fit
    if name == "bench":
        return _bench
    from gmm_core.cli import use

    commands = {
        "predict": use.predict, "score": use.score, "impute": use.impute, "sample": use.sample,
        "info": use.info,
    }  # fmt: skip
    return commands[name]


def _bench(args: argparse.Namespace) -> None:
    """Run the benchmark, which is installed from the folder benchmarks/ of the project."""
    try:
        from gmm_core.cli.bench import run_bench
    except ModuleNotFoundError as error:
        if error.name != "gmm_core.cli.bench":
            raise
        raise ValueError(
            "this gmm_core was built from a copy of the project without benchmarks/bench.py, "
            "which gmm-core bench needs"
        ) from None
    run_bench(args.n, args.d, args.k, args.covariance_type, args.iterations, args.threads)
