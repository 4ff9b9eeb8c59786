"""What makes a class an estimator: parameters, printing, pickling, scikit-learn's protocols.

Nothing here imports scikit-learn before scikit-learn itself, or somebody who has it, asks.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from gmm_core._build_config import VERSION
from gmm_core.core.warn import warn

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from sklearn.utils.metadata_routing import MetadataRequest

_UNCHANGED = "$UNCHANGED$"  # the value of sklearn.utils.metadata_routing.UNCHANGED
_VERSION_KEY = "_gmm_core_version"
_LINE_LENGTH = 80


def _make_short_repr() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 200
    short.maxlist = short.maxtuple = 30
    return short


_short_repr = _make_short_repr().repr


@functools.cache  # a signature takes longer than all else that `get_params` does
def _defaults_of(constructor: Callable[..., None]) -> dict[str, Any]:
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return {p.name: p.default for p in sorted(parameters, key=lambda p: p.name)}


class Estimator:
    """An object whose constructor only stores its arguments, under their own names.

    A subclass has `fit` and `score` methods that take `sample_weight`, and keeps what it
    learns in attributes whose names end in an underscore.
    """

    # --- parameters -------------------------------------------------------------------------

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        """Return the arguments of the constructor with their defaults, sorted by name."""
        return _defaults_of(cls.__init__)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of the constructor.

        Parameters
        ----------
        deep : bool
            Ignored (no parameter is itself an estimator); present as scikit-learn passes it.

        Returns
        -------
        params : dict of str to object
        """
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the constructor.

        Parameters
        ----------
        **params : object
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no parameter of that name; then none is set.
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
        """Print the constructor call, without the arguments that have their defaults."""
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

    # --- pickling ---------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes and the version of gmm_core, to be pickled."""
        return {**vars(self), _VERSION_KEY: VERSION}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes.

        Warns
        -----
        UserWarning
            If another version of gmm_core made the pickle.
        """
        attributes = dict(state)
        version = attributes.pop(_VERSION_KEY, "unknown")
        if version != VERSION:
            warn(
                f"This {type(self).__name__} was pickled by gmm_core {version} and is read by "
                f"gmm_core {VERSION}; between versions, use save and load"
            )
        vars(self).update(attributes)

    # --- scikit-learn -----------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is an attribute that `fit` (or a user in its place) has set."""
        return "means_" in vars(self) or any(name.endswith("_") for name in vars(self))

    def __sklearn_tags__(self) -> Tags:
        """Describe the estimator to scikit-learn: a density estimator that needs no target."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type="density_estimator", target_tags=TargetTags(required=False))

    def get_metadata_routing(self) -> MetadataRequest:
        """Tell scikit-learn which methods take `sample_weight`, and whether it was asked for.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRequest
        """
        from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

        if hasattr(self, "_metadata_request"):
            return get_routing_for_object(self._metadata_request)
        requests = MetadataRequest(owner=self)
        for method in ("fit", "score"):
            getattr(requests, method).add_request(param="sample_weight", alias=None)
        return requests

    def set_fit_request(self, *, sample_weight: bool | str | None = _UNCHANGED) -> Self:
        """Tell meta-estimators of scikit-learn whether to pass `sample_weight` to `fit`.

        Parameters
        ----------
        sample_weight : bool, str or None
            True: pass it if given; False: do not; None: an error if given; a str: pass what
            is given under this name.

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled in scikit-learn.
        """
        return self._request_sample_weight("fit", sample_weight)

    def set_score_request(self, *, sample_weight: bool | str | None = _UNCHANGED) -> Self:
        """Tell meta-estimators of scikit-learn whether to pass `sample_weight` to `score`.

        Parameters
        ----------
        sample_weight : bool, str or None
            As in `set_fit_request`.

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled in scikit-learn.
        """
        return self._request_sample_weight("score", sample_weight)

    def _request_sample_weight(self, method: str, alias: bool | str | None) -> Self:
        import sklearn

        if not sklearn.get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                f"set_{method}_request needs metadata routing: enable it with "
                "sklearn.set_config(enable_metadata_routing=True)"
            )
        requests = self.get_metadata_routing()
        if alias != _UNCHANGED:
            getattr(requests, method).add_request(param="sample_weight", alias=alias)
        self._metadata_request = requests
        return self
