"""Parameters that EM leaves as they are at the start.

The M-step maximises over the others. With a fixed mean, a covariance is the scatter about it: the
kernel is given first moments of 0 about the fixed mean, so that it finds this mean again. The
moments of a component with a fixed covariance are replaced by those that this covariance has, so
that the kernel does not fail on moments that do not matter. Free weights share what the fixed ones
leave, in proportion to their counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.core.types import Float64Array
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.model.parameters import Mixture, mixture_of, prepare
from gmm_core.model.statistics import Statistics, views

Mask = npt.NDArray[np.bool_]


class Fixed(NamedTuple):
    """The components whose weights, means and covariances are fixed, as masks of shape (K,)."""

    weights: Mask
    means: Mask
    covariances: Mask

    def n_parameters(self, kind: CovarianceType, n_features: int) -> int:
        """Return the number of free parameters that are lost because these are fixed."""
        K, n_free = len(self.weights), int(np.count_nonzero(~self.weights))
        of_weights = K - 1 - max(n_free - 1, 0)
        of_means = n_features * int(np.count_nonzero(self.means))
        of_covariances = kind.n_parameters(K, n_features) if self.covariances.all() else (
            int(np.count_nonzero(self.covariances)) * kind.n_parameters(1, n_features)
        )  # fmt: skip
        return of_weights + of_means + of_covariances

    def hold(
        self, statistics: Statistics, mixture: Mixture, reg_covar: Float64Array
    ) -> Statistics:
        """Return statistics from which an M-step finds the fixed means and covariances again.

        Parameters
        ----------
        statistics : Statistics
            Statistics whose origins are the means of the mixture where these are fixed.
        mixture : Mixture
            The mixture before the M-step.
        reg_covar : ndarray of shape (D,)
        """
        K, D = statistics.shift.shape
        values = statistics.values.copy()
        sums = views(values, K, D)
        sums.first[self.means | self.covariances] = 0
        if self.covariances.any():
            total = sums.counts.sum()
            moments = total * mixture.kind.moments_of(
                sums.counts / total, mixture.covariances, reg_covar
            )
            if self.covariances.all():
                sums.moments[:] = moments
            else:
                sums.moments.reshape(K, -1)[self.covariances] = moments.reshape(K, -1)[
                    self.covariances
                ]
        return Statistics(values, statistics.shift, statistics.covariance_type)

    def restore(self, improved: Mixture, statistics: Statistics, before: Mixture) -> Mixture:
        """Return the mixture of an M-step with the parameters that are fixed, to the last bit.

        Parameters
        ----------
        improved : Mixture
            The mixture after the M-step with the statistics of `hold`.
        statistics : Statistics
            The statistics before `hold`.
        before : Mixture
            The mixture before the M-step.
        """
        weights, means = improved.weights.copy(), improved.means.copy()
        if self.weights.any():
            free = ~self.weights
            rest, shares = max(1 - before.weights[self.weights].sum(), 0.0), weights[free]
            if shares.sum() > 0:
                weights[free] = rest * shares / shares.sum()
            else:
                weights[free] = before.weights[free]
            weights[self.weights] = before.weights[self.weights]
        moving = self.covariances & ~self.means
        means[moving] = statistics.means[moving]
        covariances, factor = improved.covariances, improved.prepared.precisions_cholesky
        if self.covariances.all():
            covariances, factor = before.covariances, before.prepared.precisions_cholesky
        elif self.covariances.any():
            covariances, factor = covariances.copy(), factor.copy()
            covariances[self.covariances] = before.covariances[self.covariances]
            factor[self.covariances] = before.prepared.precisions_cholesky[self.covariances]
        prepared = prepare(
            weights, means, factor, before.covariance_type, improved.prepared.noise
        )
        return mixture_of(prepared, covariances)


def check_fixed(
    fixed: Iterable[str] | Mapping[str, Any] | None, n_components: int, covariance_type: str
) -> Fixed | None:
    """Check the parameter `fixed` of `GaussianMixture`, and return it as masks.

    Returns
    -------
    Fixed or None
        None if nothing is fixed.

    Raises
    ------
    ValueError
        If a name is none of the three, if a mask has another shape or is not of bools, or if
        covariances that depend on each other are fixed in part.
    """
    if fixed is None:
        return None
    K, kind = n_components, COVARIANCE_TYPES[covariance_type]
    if not isinstance(fixed, (set, frozenset, list, tuple, Mapping)) or not all(
        isinstance(name, str) for name in fixed
    ):
        raise ValueError(f"fixed should be names, or masks by name, but got {fixed!r}")
    given = fixed if isinstance(fixed, Mapping) else dict.fromkeys(fixed, True)
    masks = {name: np.zeros(K, np.bool_) for name in Fixed._fields}
    for name, which in given.items():
        if name not in masks:
            raise ValueError(
                f"fixed should name 'weights', 'means' and 'covariances', but got {name!r}"
            )
        mask = np.asarray(which)
        if mask.dtype != np.bool_ or mask.shape not in ((), (K,)):
            raise ValueError(
                f"fixed[{name!r}] should be a mask of {K} bools, one for each component, but got "
                f"{which!r}"
            )
        masks[name][:] = mask
    found = Fixed(**masks)
    some = found.covariances.any() and not found.covariances.all()
    if some and kind.n_parameters(K, 2) != K * kind.n_parameters(1, 2):
        raise ValueError(
            f"fixed['covariances'] should be all components or none for covariance_type="
            f"{covariance_type!r}, whose covariances depend on each other"
        )
    return found if any(mask.any() for mask in masks.values()) else None
