"""The replacement of scikit-learn's mixtures by ours, for programs that cannot be changed."""

from __future__ import annotations

import sys
from types import ModuleType

from gmm_core.bayesian import BayesianGaussianMixture
from gmm_core.core.warn import warn
from gmm_core.io.sklearn import REPLACED
from gmm_core.mixture import GaussianMixture


def patch_sklearn() -> None:
    """Put the classes of gmm_core in the place of those of `sklearn.mixture`.

    These are `GaussianMixture` and `BayesianGaussianMixture`. Code that imports them afterwards
    gets ours. A module that has imported them before goes on using scikit-learn's, so that this
    function should be called before other libraries are imported. A second call changes nothing.

    `to_sklearn` still returns objects of scikit-learn's classes, and these are not instances of
    ours. Their pickles can be written and read as before. Pickles of our objects need gmm_core, but
    no patch. Processes that are started later, as by joblib, are not patched; forked ones are.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    Warns
    -----
    UserWarning
        If modules have imported scikit-learn's classes before; the message names them.

    See Also
    --------
    unpatch_sklearn : Undo this.

    Examples
    --------
    >>> import gmm_core, sklearn.mixture
    >>> gmm_core.patch_sklearn()
    >>> sklearn.mixture.GaussianMixture is gmm_core.GaussianMixture
    True
    >>> gmm_core.unpatch_sklearn()
    >>> sklearn.mixture.GaussianMixture is gmm_core.GaussianMixture
    False
    """
    try:
        import sklearn.mixture
    except ImportError as error:
        raise ImportError(
            "patch_sklearn needs scikit-learn, which cannot be imported: pip install scikit-learn"
        ) from error
    if REPLACED:
        return
    for ours in (GaussianMixture, BayesianGaussianMixture):
        REPLACED[ours.__name__] = getattr(sklearn.mixture, ours.__name__)
        setattr(sklearn.mixture, ours.__name__, ours)
    # Pickles look for a class in the private module that defines it, where it stays.
    early = sorted(
        name for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and not name.startswith("sklearn.")
        and any(vars(module).get(key) is theirs for key, theirs in REPLACED.items())
    )  # fmt: skip
    if early:
        warn(
            "These modules have imported scikit-learn's mixtures before and go on using them: "
            f"{', '.join(early)}. Call patch_sklearn before they are imported."
        )


def unpatch_sklearn() -> None:
    """Put scikit-learn's classes back into `sklearn.mixture`.

    Modules that have imported ours in the meantime go on using them, and objects stay what they
    are. If there is no patch, nothing happens.

    Examples
    --------
    >>> import gmm_core, sklearn.mixture
    >>> gmm_core.patch_sklearn()
    >>> gmm_core.unpatch_sklearn()
    >>> sklearn.mixture.GaussianMixture.__module__.split(".")[0]
    'sklearn'
    """
    for name, theirs in REPLACED.items():
        setattr(sys.modules["sklearn.mixture"], name, theirs)
    REPLACED.clear()
