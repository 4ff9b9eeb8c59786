"""A progress bar for fits."""

from __future__ import annotations

from typing import Any

from gmm_core.fit.watching import FitState


class ProgressBar:
    """A progress bar of tqdm, for the parameter `callback` of an estimator.

    There is a bar for each start, short run, swap and move. It counts the iterations, of which
    there are at most `max_iter`, and shows the lower bound, which is the mean log-likelihood for
    `GaussianMixture`. For the many fits of `select`, use its parameter `verbose` instead.

    Parameters
    ----------
    **options : object
        Further arguments of ``tqdm``, such as `file`, `leave` or `disable`.

    Raises
    ------
    ImportError
        If tqdm is not installed.

    Examples
    --------
    >>> from gmm_core import GaussianMixture, ProgressBar
    >>> bar = ProgressBar(disable=True)    # without this argument it is drawn on standard error
    >>> gm = GaussianMixture(2, random_state=0, callback=bar).fit([[0.0], [1.0], [8.0], [9.0]])
    """

    def __init__(self, **options: Any) -> None:
        try:
            from tqdm.auto import tqdm  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError(
                "ProgressBar needs tqdm, which cannot be imported: pip install tqdm"
            ) from error
        self._tqdm = tqdm
        self._options = options
        self._bar: Any = None
        self._last: tuple[str, int, int] | None = None

    def __call__(self, state: FitState) -> None:
        """Show an iteration.

        Parameters
        ----------
        state : FitState
        """
        if self._last is None or self._last[:2] != (state.phase, state.start) or (
            state.n_iter <= self._last[2]
        ):
            self.close()
            several = state.n_init > 1 or state.phase == "short run"
            text = f"{state.phase} {state.start + 1}" if several else state.phase
            self._bar = self._tqdm(**{"desc": text, "total": state.max_iter, **self._options})
        self._last, bar = (state.phase, state.start, state.n_iter), self._bar
        if bar is not None:  # another thread, which shares this object, may have closed it
            bar.set_postfix_str(f"lower bound {state.lower_bound:.5g}", refresh=False)
            bar.update(state.n_iter - bar.n)

    def close(self) -> None:
        """End the bar; a fit does so when it has ended."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._last = None

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"ProgressBar({options})"
