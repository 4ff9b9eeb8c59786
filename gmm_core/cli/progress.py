"""Show the progress of a fit on a terminal."""

import os
import sys
import threading
import time

from gmm_core.fit.watching import FitState


class Progress:
    """Show the progress of a fit in one line on standard error, if that is a terminal.

    Parameters
    ----------
    text : str
        Beginning of the line.
    n_init : int
        Number of starts of the fit.

    Examples
    --------
    >>> with Progress("fitting 3 components", n_init=1) as progress:
    ...     pass    # progress.watch is called after each iteration
    """

    def __init__(self, text: str, n_init: int) -> None:
        self._text = text
        self._n_init = n_init
        self._state: FitState | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        if self._shown:
            self._thread.start()
        return self

    def watch(self, state: FitState) -> None:
        """Store the state of the fit after an iteration.

        Parameters
        ----------
        state : FitState
        """
        self._state = state

    def __exit__(self, *exc_info: object) -> None:
        if self._shown:
            self._done.set()
            self._thread.join()
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _write(self) -> None:
        """Rewrite the line five times a second until the fit has ended."""
        start = time.perf_counter()
        while not self._done.wait(0.2):
            line = f"{self._text}, {time.perf_counter() - start:.0f} s{self._iteration()}"
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            # A line as wide as the terminal would continue on the next line.
            print(f"\r{line[: width - 1]}\x1b[K", end="", file=sys.stderr, flush=True)

    def _iteration(self) -> str:
        """Describe the last iteration; return an empty text before the first one."""
        state = self._state
        if state is None:
            return ""
        start = f"start {state.start + 1} of {self._n_init}, " if self._n_init > 1 else ""
        return (f": {start}iteration {state.n_iter}, "
                f"log-likelihood {state.lower_bound:.4f} per sample")  # fmt: skip
