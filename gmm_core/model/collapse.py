"""Detection of components that have collapsed onto few samples: spurious maxima of the likelihood.

The likelihood of a mixture has no bound: it grows as a component shrinks onto a few samples, or
onto a line through them, and only `reg_covar` stops it (McLachlan & Peel 2000, section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gmm_core.core.types import Float64Array, Indices, RegCovar
from gmm_core.model.parameters import Mixture

# In a component of few samples, a variance below this share of the variance of all data is
# suspicious.
_SMALL = 1e-3
# A component has not collapsed if it has more than this many times the samples that a covariance
# needs: it is a small cluster, or a value that many samples share.
_FEW = 10
# A variance of at most this many times `reg_covar` comes from `reg_covar` alone.
_ALL = 1.1


def collapsed_components(
    mixture: Mixture,
    n_samples: int,
    reg_covar: RegCovar,
    unconstrained: Callable[[], Mixture] | None = None,
) -> Indices:
    """Find the components that have collapsed; each is judged by itself.

    Let v_kd be the variance of feature d in component k given the other features, 1 / (Σ_k⁻¹)_dd,
    and c_d the same for all data. A covariance needs m samples: m is D + 1 for matrices, and 2 for
    variances. Component k has collapsed if v_kd < 10⁻³ c_d for a feature d, and either N_k < m + 1,
    or N_k < 10 m and in some direction `reg_covar` is nearly all of its variance.

    Parameters
    ----------
    mixture : Mixture
    n_samples : int
        Number of samples that have weight.
    reg_covar : float or ndarray of shape (n_features,)
    unconstrained : callable, default=None
        Returns the mixture with the covariances that its components have without constraints. It
        is called where a volume that all components share hides which of them have collapsed.

    Returns
    -------
    ndarray of intp
        Indices of the components.
    """
    weights, means, covariances, prepared = mixture
    kind, (K, D) = mixture.kind, means.shape
    counts = kind.n_samples_behind(weights, n_samples)
    needed = kind.n_samples_needed(D)
    few = (counts < _FEW * needed) & (weights > 0)
    if not few.any():
        return np.empty(0, np.intp)
    if kind.hides_collapse and unconstrained is not None:
        _, means, covariances, prepared = mixture = unconstrained()
        kind = mixture.kind
    with np.errstate(all="ignore"):  # for data of scale 1e160, a precision may underflow
        variances = kind.conditional_variances(prepared.precisions_cholesky, K, D)
        try:
            # After an M-step, the covariance of the mixture is that of the data plus reg_covar.
            if prepared.noise is not None:
                weights = weights / weights.sum()
            of_all = kind.variances_of_all(weights, means, covariances)
        except ValueError:  # the covariance of all data is singular, so nothing can be compared
            return np.empty(0, np.intp)
        suspicious = few & (variances < _SMALL * of_all).any(axis=1)
        unsupported = counts < needed + 1
        for k in np.flatnonzero(suspicious & ~unsupported):
            regular = _regularisation(reg_covar, of_all)
            unsupported[k] = kind.is_regularised(covariances, int(k), regular, _ALL)
    return np.flatnonzero(suspicious & unsupported)


def _regularisation(reg_covar: RegCovar, of_all: Float64Array) -> Float64Array:
    """Return `reg_covar` for each feature, or where it is 0, the rounding error of a variance."""
    regular = np.full(len(of_all), reg_covar, np.float64)
    return np.where(regular > 0, regular, 64 * np.finfo(np.float64).eps * of_all)
