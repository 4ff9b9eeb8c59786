"""The hooks of scikit-learn's callbacks (`sklearn.callback`, from version 1.9), during a fit.

A fit is a task. Its starts and its short runs are subtasks of it, and their iterations are subtasks
of these. The iterations after a swap or a move belong to the start before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext

R = TypeVar("R")


def set_callbacks(estimator: Any, callbacks: tuple[object, ...]) -> None:
    """Store the callbacks of an estimator; see `Estimator.set_callbacks`."""
    try:
        from sklearn.callback import CallbackSupportMixin
    except ImportError as error:
        raise ImportError(
            "set_callbacks needs scikit-learn 1.9 or later: pip install 'scikit-learn>=1.9'. The "
            "parameter `callback` of the constructor needs no other package."
        ) from error
    CallbackSupportMixin.set_callbacks(estimator, *callbacks)


def with_hooks(
    estimator: Any,
    fit: Callable[[Any], R],
    X: Any,
    y: Any,
    sample_weight: Any,
) -> R:
    """Call `fit` with what watches it for the callbacks of an estimator.

    Parameters
    ----------
    estimator : Estimator
    fit : callable
        Takes a callback for `Watcher`, or None if the estimator has no callbacks of scikit-learn.
    X, y, sample_weight : object
        What the hooks are given; a callable is called when a hook asks for the value.
    """
    attributes = vars(estimator)
    # scikit-learn stores callbacks by the first name, and the context of a meta-estimator, which
    # may have callbacks as well, by the second.
    if "_skl_callbacks" not in attributes and "_parent_callback_ctx" not in attributes:
        return fit(None)
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    options = estimator._options()
    n_runs = options.n_init + getattr(options, "n_short", 0)
    if options.warm_start and "converged_" in attributes:
        n_runs = 1
    more = bool(getattr(options, "n_swaps", 0) or getattr(options, "moves", False))
    given = {"estimator": estimator, "X": X, "y": y}
    given["metadata"] = None if sample_weight is None else {"sample_weight": sample_weight}

    def watched(estimator: Any) -> R:
        context = CallbackSupportMixin._init_callback_context(estimator, max_subtasks=n_runs)
        context.call_on_fit_task_begin(**given)
        tasks = _Tasks(context, given, more)
        result = fit(tasks)
        tasks.close()
        context.call_on_fit_task_end(**given, reconstruction_attributes={})
        return result

    result: R = with_callbacks(watched)(estimator)
    return result


class _Tasks:
    """A callback for `Watcher` that calls the hooks.

    Parameters
    ----------
    context : CallbackContext
        The task of the fit.
    given : dict
        The arguments of all hooks.
    more : bool
        Whether swaps or moves may follow EM, so that a start has an unknown number of iterations.
    """

    def __init__(self, context: CallbackContext, given: dict[str, Any], more: bool) -> None:
        self._context = context
        self._given = given
        self._more = more
        self._run: CallbackContext | None = None
        self._iteration: CallbackContext | None = None
        self._attributes: Callable[[], dict[str, Any]] | None = None

    def begin(self, phase: str, start: int, max_iter: int) -> None:
        """Begin the task of a start or a short run."""
        self.close()
        unknown = self._more and phase == "start"
        self._run = self._context.subcontext(
            task_name=phase, max_subtasks=None if unknown else max_iter
        )
        self._run.call_on_fit_task_begin(**self._given)
        if max_iter > 0:
            self._begin_iteration()

    def __call__(self, state: Any) -> bool:
        """End the task of an iteration, and begin the next one if it is known to follow."""
        if self._iteration is None:
            self._begin_iteration()

        def attributes() -> dict[str, Any]:
            return {name: v for name, v in state.attributes().items() if v is not None}

        self._attributes = attributes
        assert self._iteration is not None
        stop = bool(
            self._iteration.call_on_fit_task_end(
                **self._given, reconstruction_attributes=attributes
            )
        )
        self._iteration = None
        if not (stop or state.converged or state.n_iter == state.max_iter):
            self._begin_iteration()
        return stop

    def close(self) -> None:
        """End the tasks of the last iteration, if it was not made, and of its start."""
        if self._iteration is not None:
            self._iteration.call_on_fit_task_end(estimator=self._given["estimator"])
        if self._run is not None:
            self._run.call_on_fit_task_end(
                **self._given, reconstruction_attributes=self._attributes
            )
        self._iteration = self._run = self._attributes = None

    def _begin_iteration(self) -> None:
        assert self._run is not None
        self._iteration = self._run.subcontext(task_name="iteration")
        self._iteration.call_on_fit_task_begin(
            **self._given, reconstruction_attributes=self._attributes
        )
