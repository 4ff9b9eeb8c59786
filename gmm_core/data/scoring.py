"""Log-likelihoods and labels without pairs that do not count; see src/scores.pxd.

The results do not depend on which pairs are evaluated, to the last bit. So nothing is remembered,
and each call decides whether to skip by what that seems to save.
"""

from __future__ import annotations

import numpy as np

from gmm_core.core.dispatch import check_status, regions
from gmm_core.core.types import AnyArray, FloatArray, Labels
from gmm_core.data.arrays import ArrayPass
from gmm_core.model.covariance import CovarianceType
from gmm_core.model.parameters import Prepared

MANY = 32  # components from which on pairs are skipped, as in src/tile.pxd
_MOST = 1 << 12  # components that src/scores.pxd can number
_MOST_FEATURES = 128  # with more, the calls that evaluate all pairs have kernels of their own
_LEAST_GAIN = 0.1  # all pairs are evaluated if skipping would save a smaller share of the time
_MOST_COST = 0.02  # of the bounds, as a share of the time of a call that evaluates all pairs
_LOOKED_AT = 128, 4096  # one row in so many, but not more, is scored to see what can be skipped
_REGION_ROWS = 2048  # at least
_BOUND_BYTES = 1 << 22  # memory of a thread for the bounds of a region


def score_times(n_components: int, n_features: int, share: float) -> tuple[float, float]:
    """Return how many nanoseconds 16 rows take if pairs are skipped, and if not, roughly.

    The numbers were measured on one thread, in float64 with AVX-512.

    Parameters
    ----------
    n_components, n_features : int
    share : float
        The share of pairs that are evaluated.
    """
    K, D = n_components, n_features
    pair = 2 + 1.3 * D + 0.15 * D**2
    return 280 + 10 * D + K * (3.2 + 0.12 * D) + share * K * (20 + pair), K * pair


def may_skip(n_samples: int, n_components: int, n_features: int, kind: CovarianceType) -> bool:
    """Return whether skipping can pay for data and a mixture of this size.

    For other than full covariances, a distance takes as long as the density.
    """
    K, D = n_components, n_features
    if not (kind.bounds_scores and MANY <= K <= _MOST and D <= _MOST_FEATURES):
        return False
    skipping, dense = score_times(K, D, 1 / K)
    setting_up = 5e4 + K * (300 + 0.35 * D**3)
    return _pays(skipping, dense) and setting_up <= _MOST_COST * dense * n_samples / 16


def _pays(skipping: float, dense: float) -> bool:
    return skipping <= (1 - _LEAST_GAIN) * dense


class Scoring:
    """Scores of the rows of an array, for which pairs that do not count are not evaluated.

    Parameters
    ----------
    data : ArrayPass
    prepared : Prepared
    """

    def __init__(self, data: ArrayPass, prepared: Prepared) -> None:
        self._data = data
        self._kernels = regions(data.dtype)
        K, D = prepared.means.shape
        rows = min(max(_REGION_ROWS, 16 * K), _BOUND_BYTES // K)
        self._rows = -(-rows // data.tile_rows) * data.tile_rows
        n_scratch, n_bytes, self._group = self._kernels.score_sizes(self._rows, K, D)
        data.unit_rows = self._rows
        data.prepare(prepared)
        self._scratch = data.scratch(n_scratch)
        # The bounds are good if distances count alike in the coordinates (x - origin) scale.
        precisions = np.einsum("kij,kij->ki", *2 * (prepared.precisions_cholesky,))
        scale = np.sqrt(np.einsum("k,ki->i", prepared.weights, precisions))
        origin = np.einsum("k,ki->i", prepared.weights, prepared.means)
        self._coordinates: AnyArray = np.clip([origin, scale], -1e30, 1e30).astype(data.dtype)
        self._centers = np.empty(n_bytes * D, np.float32)
        self._bounds = np.empty((2, n_bytes), np.float32)
        self._coding = np.empty(2)
        status = self._kernels.bound_distances(
            prepared.precisions_cholesky.reshape(-1), prepared.means, prepared.log_constant,
            self._coordinates, self._centers, self._bounds, self._coding, np.empty(6 * D * D),
        )  # fmt: skip
        check_status(status)

    def evaluate(
        self, log_likelihood: FloatArray | None = None, labels: Labels | None = None
    ) -> int | None:
        """Fill one of the arrays, and return the number of rows that have density 0.

        The return value is None, and the array is not filled, if it seems to take less time to
        evaluate all pairs.
        """
        data = self._data
        stride = max(_LOOKED_AT[0], data.n_samples // _LOOKED_AT[1])
        looked_at: AnyArray = np.ascontiguousarray(data.X[::stride])
        n = len(looked_at)
        # Groups of these rows are looser than those of all rows, so more of their pairs count.
        _, share = self._run(
            looked_at, None if log_likelihood is None else np.empty(n, data.dtype),
            None if labels is None else np.empty(n, np.int64),
        )  # fmt: skip
        if not _pays(*score_times(data.n_components, data.n_features, share)):
            return None
        n_bad = 0
        for rows in data.slices():
            n_bad += self._run(
                data.X[rows], None if log_likelihood is None else log_likelihood[rows],
                None if labels is None else labels[rows],
            )[0]  # fmt: skip
        return n_bad

    def _run(
        self, X: FloatArray, log_likelihood: FloatArray | None, labels: Labels | None
    ) -> tuple[int, float]:
        """Score some rows; return how many have density 0, and the share of pairs evaluated."""
        data = self._data
        n_bad, tallies = np.empty(1), np.empty(-(-len(X) // self._rows), np.intp)
        status = self._kernels.score_regions(
            X, data.mixture_buffer, self._coordinates, self._centers, self._bounds, self._coding,
            np.empty(0, data.dtype) if log_likelihood is None else log_likelihood,
            np.empty(0, np.int64) if labels is None else labels,
            n_bad, np.empty((data.n_threads, 1)), self._scratch, data.tickets, tallies,
            data.n_components, self._rows, data.n_threads,
        )  # fmt: skip
        check_status(status)
        n_groups = -(-len(X) // self._group)
        return int(n_bad[0]), float(tallies.sum()) / (n_groups * data.n_components)
