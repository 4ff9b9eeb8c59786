"""The base class of estimators: parameters, printing, pickling, and scikit-learn's protocols.

Importing this module does not import scikit-learn. Only the methods that exist for scikit-learn do
so when they are called.
"""

from __future__ import annotations

import functools
import html
import inspect
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from gmm_core._build_config import VERSION
from gmm_core.core.warn import warn
from gmm_core.sklearn_callbacks import set_callbacks, with_hooks

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from sklearn.utils.metadata_routing import MetadataRequest

_UNCHANGED = "$UNCHANGED$"  # the value of sklearn.utils.metadata_routing.UNCHANGED
_VERSION_KEY = "_gmm_core_version"  # where a pickle has the version of gmm_core that wrote it
_LINE_LENGTH = 80
R = TypeVar("R")


def _make_short_repr() -> reprlib.Repr:
    """Return an object whose method `repr` shortens long values."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 200
    short.maxlist = short.maxtuple = 30
    return short


_short_repr = _make_short_repr().repr


@functools.cache  # reading a signature takes longer than the rest of `get_params`
def _defaults_of(constructor: Callable[..., None]) -> dict[str, Any]:
    """Return the arguments of a constructor with their defaults, sorted by name."""
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return {p.name: p.default for p in sorted(parameters, key=lambda p: p.name)}


class Estimator:
    """A base class for estimators that follow scikit-learn's conventions.

    The constructor of a subclass only stores its arguments, under their own names. Its methods
    `fit` and `score` take `sample_weight`, and those of some subclasses more metadata. Attributes
    that `fit` sets have names that end in an underscore.

    Examples
    --------
    >>> from gmm_core import GaussianMixture
    >>> from gmm_core.sklearn_api import Estimator
    >>> issubclass(GaussianMixture, Estimator)
    True
    """

    _metadata: ClassVar[tuple[str, ...]] = ("sample_weight",)
    _routed: ClassVar[tuple[str, ...]] = ("fit", "score")  # the methods that take metadata

    # --- parameters -------------------------------------------------------------------------

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        """Return the arguments of the constructor with their defaults, sorted by name."""
        return _defaults_of(cls.__init__)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the constructor.

        Parameters
        ----------
        deep : bool, default=True
            Ignored, as no parameter is itself an estimator. scikit-learn passes this argument.

        Returns
        -------
        params : dict of str to object
            The values of the parameters, by name.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> GaussianMixture(n_components=3).get_params()["n_components"]
        3
        """
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the constructor, whose values `fit` checks.

        Parameters
        ----------
        **params : object
            The new values, by name.

        Returns
        -------
        self : Estimator
            The estimator itself.

        Raises
        ------
        ValueError
            If a name is not that of a parameter. Then no parameter is set.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> GaussianMixture().set_params(n_components=3, tol=1e-4)
        GaussianMixture(n_components=3, tol=0.0001)
        """
        valid = list(self._parameter_defaults())
        for name in params:
            if name not in valid:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. "
                    f"Valid parameters are: {valid}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the call of the constructor, without the arguments that have their defaults."""
        head = f"{type(self).__name__}("
        arguments = []
        for name, default in self._parameter_defaults().items():
            text = _short_repr(getattr(self, name))
            if text != _short_repr(default):
                arguments.append(f"{name}={' '.join(text.split())}")
        line, lines = head, []
        for i, argument in enumerate(arguments):
            argument += ")" if i == len(arguments) - 1 else ","
            if i > 0 and len(line) + 1 + len(argument) > _LINE_LENGTH:
                lines.append(line)
                line = " " * len(head) + argument
            else:
                line += argument if i == 0 else " " + argument
        return "\n".join([*lines, line if arguments else head + ")"])

    def _repr_html_(self) -> str:
        """Return the estimator for a notebook: its parameters, and what `fit` has found."""
        rows = []
        for name, default in self._parameter_defaults().items():
            text = html.escape(_short_repr(getattr(self, name)))
            changed = _short_repr(getattr(self, name)) != _short_repr(default)
            rows.append(f"<tr><td>{name}</td><td>{f'<b>{text}</b>' if changed else text}</td></tr>")
        state = "fitted" if self.__sklearn_is_fitted__() else "not fitted"
        return (
            f"<div><b>{type(self).__name__}</b> ({state})"
            f"<details><summary>Parameters</summary><table>{''.join(rows)}</table></details>"
            f"{self._html_of_fit()}</div>"
        )

    def _html_of_fit(self) -> str:
        """Return what `fit` has found, in HTML."""
        return ""

    # --- pickling ---------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the attributes and the version of gmm_core."""
        return {**vars(self), _VERSION_KEY: VERSION}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes from a pickle.

        Parameters
        ----------
        state : dict of str to object
            The result of `__getstate__`.

        Warns
        -----
        UserWarning
            If another version of gmm_core wrote the pickle.
        """
        attributes = dict(state)
        version = attributes.pop(_VERSION_KEY, "unknown")
        if version != VERSION:
            warn(
                f"This {type(self).__name__} was pickled by gmm_core {version} and is read by "
                f"gmm_core {VERSION}. Pickles are not portable between versions: use `save` and "
                "`load` instead."
            )
        # An older version may not have had all parameters.
        vars(self).update(self._parameter_defaults() | attributes)

    # --- scikit-learn -----------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` or a user has set an attribute whose name ends in an underscore."""
        return "means_" in vars(self) or any(name.endswith("_") for name in vars(self))

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that this is a density estimator, which needs no target."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type="density_estimator", target_tags=TargetTags(required=False))

    @classmethod
    def _metadata_of(cls, method: str) -> tuple[str, ...]:
        """Return the names of the metadata that a method takes."""
        return cls._metadata

    def get_metadata_routing(self) -> MetadataRequest:
        """Tell scikit-learn which methods take metadata, and what was requested for it.

        Returns
        -------
        requests : sklearn.utils.metadata_routing.MetadataRequest
            The requests of the methods that take metadata, such as `fit` and `score`.

        Raises
        ------
        ImportError
            If scikit-learn is not installed.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> GaussianMixture().get_metadata_routing().fit.requests
        {'sample_weight': None, 'noise_covariance': None}
        """
        from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

        if hasattr(self, "_metadata_request"):
            return get_routing_for_object(self._metadata_request)
        requests = MetadataRequest(owner=self)
        for method in self._routed:
            for name in self._metadata_of(method):
                getattr(requests, method).add_request(param=name, alias=None)
        return requests

    def set_fit_request(self, **requests: bool | str | None) -> Self:
        """Tell meta-estimators of scikit-learn which metadata to pass to `fit`.

        Parameters
        ----------
        **requests : bool, str or None
            `sample_weight`, for GaussianMixture also `noise_covariance`, and for
            GaussianMixtureOutlierDetector also `groups`.
            With True, a meta-estimator passes the argument of this name that it is given. With
            False, it does not pass it. With None, it raises an error if it is given one. With a
            str, it passes the argument of that name. Other requests stay as they are.

        Returns
        -------
        self : Estimator
            The estimator itself.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled in scikit-learn.
        TypeError
            If the methods take no argument of that name.

        Examples
        --------
        >>> import sklearn
        >>> from gmm_core import GaussianMixture
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     gm = GaussianMixture().set_fit_request(sample_weight=True)
        """
        return self._request("fit", requests)

    def set_score_request(self, **requests: bool | str | None) -> Self:
        """Tell meta-estimators of scikit-learn which metadata to pass to `score`.

        Parameters
        ----------
        **requests : bool, str or None
            `sample_weight`, and for GaussianMixture also `noise_covariance`.
            The values have the meaning that they have for `set_fit_request`.

        Returns
        -------
        self : Estimator
            The estimator itself.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled in scikit-learn.
        TypeError
            If the methods take no argument of that name.

        Examples
        --------
        >>> import sklearn
        >>> from gmm_core import GaussianMixture
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     gm = GaussianMixture().set_score_request(sample_weight=True)
        """
        return self._request("score", requests)

    def set_callbacks(self, *callbacks: object) -> Self:
        """Set callbacks of scikit-learn for the fits of this estimator.

        The protocol of callbacks is experimental in scikit-learn 1.9. The task of a fit has a
        subtask for each start and each short run, and these have one for each iteration. A hook
        ``on_fit_task_end`` that returns True stops the fit; see `callback`.

        Parameters
        ----------
        *callbacks : sklearn.callback.FitCallback
            Such as `sklearn.callback.ProgressBar`. They replace those that were set before.

        Returns
        -------
        self : Estimator
            The estimator itself.

        Raises
        ------
        ImportError
            If scikit-learn is not installed, or is older than version 1.9.
        TypeError
            If an argument does not follow the protocol.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> class Count:
        ...     n = 0
        ...     def setup(self, estimator, context): pass
        ...     def on_fit_task_begin(self, estimator, context): pass
        ...     def on_fit_task_end(self, estimator, context):
        ...         self.n += context.task_name == "iteration"
        ...     def teardown(self, estimator, context): pass
        >>> count = Count()
        >>> gm = GaussianMixture(2, random_state=0).set_callbacks(count)
        >>> gm.fit([[0.0], [1.0], [8.0], [9.0]]).n_iter_ == count.n
        True
        """
        set_callbacks(self, callbacks)
        return self

    def _watched(
        self, fit: Callable[[Any], R], X: Any = None, y: Any = None, sample_weight: Any = None
    ) -> R:
        """Call `fit` with what watches it for scikit-learn's callbacks; see `with_hooks`."""
        return with_hooks(self, fit, X, y, sample_weight)

    def _request(self, method: str, aliases: dict[str, bool | str | None]) -> Self:
        """Store the requests of a method."""
        import sklearn

        for name in aliases:
            if name not in self._metadata_of(method):
                raise TypeError(
                    f"Unexpected argument {name!r}: {type(self).__name__}.{method} takes the "
                    f"metadata {', '.join(self._metadata_of(method))}"
                )
        if not sklearn.get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                f"set_{method}_request needs metadata routing: enable it with "
                "sklearn.set_config(enable_metadata_routing=True)"
            )
        requests = self.get_metadata_routing()
        for name, alias in aliases.items():
            if alias != _UNCHANGED:
                getattr(requests, method).add_request(param=name, alias=alias)
        self._metadata_request = requests
        return self
