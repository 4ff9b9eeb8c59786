"""The fourteen covariance models of mclust, by volume, shape and orientation.

Σ_k = λ_k D_k A_k D_kᵀ with the volume λ_k, the orientation D_k (an orthogonal matrix) and the shape
A_k (a diagonal matrix of determinant 1). The three letters of a name say for volume, shape and
orientation whether they are equal in all components (E), vary (V), or are those of the identity
(I). Four of the models have other names too: VII is 'spherical', VVI is 'diag', EEE is 'tied', and
VVV is 'full'. Each other model has the statistics, the E-step and the arrays of one of these types;
only its M-step is its own. The M-steps are in src/constrained.pxd and src/common_axes.pxd.

References
----------
G. Celeux, G. Govaert, Gaussian parsimonious clustering models, Pattern Recognition 28 (1995).
"""

from __future__ import annotations

import numpy as np

from gmm_core.core.types import CovarianceName, Float64Array
from gmm_core.model.covariance.base import CovarianceType
from gmm_core.model.covariance.diag import Diag
from gmm_core.model.covariance.full import Full
from gmm_core.model.covariance.spherical import Spherical
from gmm_core.model.covariance.tied import Tied


def _n_parameters(letters: str, K: int, D: int) -> int:
    """Return the number of free parameters of the covariances of a model, as mclust counts them."""
    volume, shape, orientation = letters[0], letters[1], letters[2]
    return (
        {"E": 1, "V": K}[volume]
        + {"I": 0, "E": D - 1, "V": K * (D - 1)}[shape]
        + {"I": 0, "E": D * (D - 1) // 2, "V": K * D * (D - 1) // 2}[orientation]
    )


def _violation(letters: str, matrices: Float64Array) -> str:
    """Return the constraint of a model that covariance matrices (K, D, D) violate, or ''.

    Numbers are equal if they differ by 1e-5 of themselves, or by what a matrix that was rounded to
    float32 loses: its determinant and its eigenvectors have relative errors of cond(Σ) eps.
    """
    D = matrices.shape[1]
    eigenvalues = np.linalg.eigvalsh(matrices)
    condition = float((eigenvalues[:, -1] / eigenvalues[:, 0]).max())
    tolerance = 1e-5 + 4 * D * condition * float(np.finfo(np.float32).eps)
    volumes = np.exp(np.log(eigenvalues).mean(axis=1))
    unit, shapes = matrices / volumes[:, None, None], eigenvalues / volumes[:, None]
    size = tolerance * shapes.max()
    if letters[0] == "E" and (abs(np.log(volumes / volumes[0])) > tolerance).any():
        return "equal volumes"
    if letters[1] == "E" and (abs(shapes - shapes[0]) > size).any():
        return "equal shapes"
    if letters[1:] in ("EI", "EE") and (abs(unit - unit[0]) > size).any():
        return "equal shapes along equal axes"
    products = np.einsum("aij,bjk->abik", unit, unit)
    if letters[2] == "E" and (
        abs(products - products.transpose(0, 1, 3, 2)) > size * shapes.max()
    ).any():
        return "equal orientations"
    return ""


def _model(
    letters: CovarianceName, base: type[CovarianceType], number: int | None = None
) -> CovarianceType:
    """Make the type of a model from the type that has its statistics and its E-step."""

    class Model(base):  # type: ignore[misc, valid-type]
        """A covariance model; see the module."""

        name = letters
        sklearn_name = base.name
        inferred_by_shape = False
        hides_collapse = letters.startswith("EV")
        m_step_code = base.code if number is None else number

        def n_parameters(self, n_components: int, n_features: int) -> int:
            return _n_parameters(letters, n_components, n_features)

        def violation(
            self, covariances: Float64Array, n_components: int, n_features: int
        ) -> str:
            matrices = [self.matrix(covariances, k, n_features) for k in range(n_components)]
            return _violation(letters, np.stack(matrices).astype(np.float64))

    model: CovarianceType = Model()
    return model


class _Univariate(Spherical):
    """A model of one feature."""

    inferred_by_shape = False
    sklearn_name = Spherical.name
    m_step_code = Spherical.code
    n_features = 1


class _E(_Univariate):
    """One variance for all components."""

    name = "E"  # type: ignore[assignment]
    m_step_code = 4

    def violation(self, covariances: Float64Array, n_components: int, n_features: int) -> str:
        return _violation("EII", covariances.reshape(-1, 1, 1))

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return 1


class _V(_Univariate):
    """A variance for each component."""

    name = "V"  # type: ignore[assignment]


# The numbers are those of ConstrainedType in src/covariance.pxd.
MODELS: tuple[CovarianceType, ...] = (
    _model("EII", Spherical, 4),
    _model("VII", Spherical),
    _model("EEI", Diag, 5),
    _model("VEI", Diag, 6),
    _model("EVI", Diag, 7),
    _model("VVI", Diag),
    _model("EEE", Tied),
    _model("VEE", Full, 11),
    _model("EVE", Full, 12),
    _model("VVE", Full, 13),
    _model("EEV", Full, 8),
    _model("VEV", Full, 9),
    _model("EVV", Full, 10),
    _model("VVV", Full),
    _E(),
    _V(),
)
