"""Print errors and warnings of the command line on standard error, one line each."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def complain(message: str, code: int = 2) -> int:
    """Print a message as one line on standard error.

    Parameters
    ----------
    message : str
        Text whose line breaks are replaced by spaces.
    code : int, default=2
        Exit code to return.

    Returns
    -------
    int
        The exit code.
    """
    line = " ".join(part.strip() for part in message.splitlines())
    print(f"gmm-core: {line}", file=sys.stderr)
    return code


@contextmanager
def warnings_on_one_line(prefix: str = "") -> Iterator[None]:
    """Collect UserWarnings and RuntimeWarnings, and print them if the block ends without an error.

    Parameters
    ----------
    prefix : str, default=''
        Text that is printed before each warning.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", RuntimeWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, (UserWarning, RuntimeWarning)):
            complain(f"warning: {prefix}{warning.message}")
