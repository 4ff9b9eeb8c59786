"""The registry of covariance types. The kernels of each type are in the file `src/<type>.pxd`."""

from __future__ import annotations

from gmm_core.core.types import CovarianceName
from gmm_core.model.covariance.base import CovarianceType as CovarianceType
from gmm_core.model.covariance.constrained import MODELS
from gmm_core.model.covariance.diag import Diag
from gmm_core.model.covariance.full import Full
from gmm_core.model.covariance.spherical import Spherical
from gmm_core.model.covariance.tied import Tied

COVARIANCE_TYPES: dict[str, CovarianceType] = {
    kind.name: kind for kind in (Full(), Tied(), Diag(), Spherical(), *MODELS)
}

# BY_FEATURE is the type whose second moments are kept for each feature. SQUARED_DISTANCES is the
# code of a type whose E-step needs as much scratch memory as the k-means kernels.
BY_FEATURE = Diag.name
SQUARED_DISTANCES = Spherical.code


def covariance_type_of(name: object) -> CovarianceType:
    """Look up a covariance type by its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    CovarianceType

    Raises
    ------
    ValueError
        If there is no type of that name.
    """
    if not isinstance(name, str) or name not in COVARIANCE_TYPES:
        raise ValueError(
            f"covariance_type should be one of {', '.join(COVARIANCE_TYPES)}, but got {name!r}"
        )
    return COVARIANCE_TYPES[name]


def type_by_shape(
    shape: tuple[int, ...], n_components: int, n_features: int, given: str
) -> CovarianceName:
    """Find the only covariance type whose arrays have a given shape.

    Parameters
    ----------
    shape : tuple of int
    n_components, n_features : int
    given : {'covariances', 'precisions'}
        The name of the array in the message of an error.

    Returns
    -------
    {'full', 'tied', 'diag', 'spherical'}

    Raises
    ------
    ValueError
        If no type, or more than one, has arrays of this shape.
    """
    K, D = n_components, n_features
    fitting = [
        kind.name for kind in COVARIANCE_TYPES.values()
        if kind.inferred_by_shape and kind.shape(K, D) == shape
    ]
    if len(fitting) != 1:
        what = f"fits {' and '.join(fitting)}: give covariance_type" if fitting else "fits no type"
        raise ValueError(f"{given} has shape {shape}, which for means of shape {(K, D)} {what}")
    return fitting[0]


def check_features(kind: CovarianceType, n_features: int) -> None:
    """Raise ValueError if a covariance type is not one for this number of features."""
    if kind.n_features not in (None, n_features):
        raise ValueError(
            f"covariance_type={kind.name!r} is for data of one feature, but got {n_features} "
            "features"
        )
