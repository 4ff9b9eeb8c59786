"""Run a program with our mixtures in place of scikit-learn's: ``python -m gmm_core.patch``."""

import os
import runpy
import sys

from gmm_core.sklearn_patch import patch_sklearn

USAGE = "usage: python -m gmm_core.patch (SCRIPT | -m MODULE) [ARGUMENT ...]"


def main(arguments: list[str]) -> None:
    """Patch scikit-learn, and run a script or a module as the main program.

    Parameters
    ----------
    arguments : list of str
        The path of the script, or '-m' and the name of the module; then the arguments of the
        program.
    """
    if arguments in (["-h"], ["--help"]):
        print(USAGE)
        return
    is_module = arguments[:1] == ["-m"]
    program = arguments[1:] if is_module else arguments
    if not program or program[0].startswith("-"):
        sys.exit(USAGE)
    if not is_module and not os.path.exists(program[0]):
        sys.exit(f"gmm_core.patch: there is no script {program[0]!r}")
    try:
        patch_sklearn()
    except ImportError as error:
        sys.exit(f"gmm_core.patch: {error}")
    sys.argv = program
    if is_module:
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
        return
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.abspath(program[0]))
    runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
