"""The starts of EM.

They come from k-means clusters, hierarchical clusters, points of the data, random numbers, a
callable, or given parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from gmm_core.core.types import AnyArray, Float64Array, FloatArray, Indices, Labels, RegCovar
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.subset import subset_size
from gmm_core.fit.clusters import Clusters
from gmm_core.fit.hierarchical import N_ROWS
from gmm_core.fit.kmeans import draw_rows
from gmm_core.fit.maximization import maximization_step
from gmm_core.fit.options import InitCallable
from gmm_core.model.covariance import BY_FEATURE, COVARIANCE_TYPES
from gmm_core.model.parameters import Mixture, mixture_of, prepare
from gmm_core.model.statistics import Statistics

# k-means stops when no label changes, when the squared moves of the centers sum to at most this
# share of the mean variance of the features, as in scikit-learn, or after a number of iterations.
KMEANS_TOL = 1e-4
_LEAST_SHARE = 0.1  # of a variance that remains when the variance of the noise is subtracted
_NO_ROWS = np.empty(0, np.intp)


class GivenParameters(NamedTuple):
    """The parameters of the start that the user gave, as arrays in float64; None for the others."""

    weights: Float64Array | None
    means: Float64Array | None
    precisions: Float64Array | None


def rows_of_start(
    init_size: int | None, method: str | InitCallable, n_components: int, n_features: int
) -> int:
    """Return the largest number of rows that a method finds a start from; see `subset_size`.

    Raises
    ------
    ValueError
        If `init_size` is less than the number of components.
    """
    if init_size is not None and init_size < n_components:
        raise ValueError(f"init_size={init_size}, expected at least n_components={n_components}")
    if init_size is None and method == "hierarchical":
        return max(N_ROWS, n_components)
    return subset_size(init_size, n_components, n_features)


def start_from_given(given: GivenParameters, covariance_type: str) -> Mixture | None:
    """Return the start if the user gave all of it, or None if a part has to be found."""
    if given.weights is None or given.means is None or given.precisions is None:
        return None
    factor = _factor(given.precisions, given.means, covariance_type)
    return mixture_of(prepare(given.weights, given.means, factor, covariance_type))


def start_from_data(
    data: ArrayPass,
    lacking: float | Float64Array,
    method: str | InitCallable,
    given: GivenParameters,
    random_state: np.random.RandomState,
    reg_covar: RegCovar,
    clusters: Clusters,
    log_noise_density: float | None = None,
) -> Mixture:
    """Find a mixture to start EM from.

    Parameters
    ----------
    data : ArrayPass
        A pass over the rows that the start is found from.
    lacking : float or ndarray of shape (n_features,)
        The amount that has to be added to the variances of these rows; see `StartRows`. Where it is
        negative, it is subtracted from the variances of each component, of which at least a tenth
        remains. Correlations do not change.
    method : {'kmeans', 'k-means++', 'random', 'random_from_data', 'hierarchical'} or callable
        A callable ``f(X, n_components, random_state)`` returns responsibilities of shape
        (n_samples, n_components) or labels of shape (n_samples,).
    given : GivenParameters
        Parameters that replace those that the method finds.
    random_state : RandomState
    reg_covar : float or ndarray of shape (n_features,)
    clusters : Clusters
        Starts and fits that are given the same object share clusters.
    log_noise_density : float or None, default=None
        The logarithm of the density of the noise component, if there is one. A callable may then
        also return a column of responsibilities of the noise after the others, or the label -1.

    Returns
    -------
    Mixture

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance of the start is not positive definite.
    ValueError, TypeError
        If a callable returns something that is neither responsibilities nor labels.
    """
    found = find(data, method, random_state, clusters, log_noise_density is not None)
    regular = reg_covar + np.maximum(lacking, 0)
    if found.statistics is None:
        made = _from_points(found.data, found.rows, regular)
    elif found.near:  # so that a second pass is seldom needed
        made, _ = maximization_step(
            found.statistics(found.origins), regular, data.n_threads, found.statistics
        )
    else:
        made = about_own_means(
            found.statistics, found.origins, regular, data.n_threads, log_noise_density
        )
    if np.less(lacking, 0).any():
        made = _with_less_variance(made, np.maximum(-np.asarray(lacking), 0))
    return with_given(made, given)


def _with_less_variance(mixture: Mixture, excess: Float64Array) -> Mixture:
    """Subtract the variances of noise (D,) from those of each component; see `start_from_data`."""
    kind, (K, D) = mixture.kind, mixture.means.shape
    variances = kind.variances(mixture.covariances, K, D).astype(np.float64)
    scale = np.sqrt(np.maximum(variances - excess, _LEAST_SHARE * variances) / variances)
    covariances, factor = kind.scale_features(
        mixture.covariances, mixture.prepared.precisions_cholesky, scale
    )
    return mixture_of(prepare(mixture.weights, mixture.means, factor, kind.name), covariances)


class Found(NamedTuple):
    """What a method finds: responsibilities of rows, or rows that become means.

    Attributes
    ----------
    data : ArrayPass
        A pass over the rows, without those of weight 0.
    rows : ndarray of shape (K,), intp
        The rows that become means; empty if there are responsibilities.
    statistics : callable or None
        Takes origins of shape (K, D), and returns the statistics of the responsibilities about
        them; None if there are none.
    origins : ndarray of shape (K, D)
        The origins for a first call.
    near : bool
        Whether these are near the means that the responsibilities give.
    """

    data: ArrayPass
    rows: Indices
    statistics: Callable[[Float64Array], Statistics] | None = None
    origins: Float64Array = np.empty((0, 0))
    near: bool = False


def with_given(found: Mixture, given: GivenParameters) -> Mixture:
    """Return a start with the parameters that the user gave in place of those that were found."""
    if all(array is None for array in given):
        return found
    weights = found.weights if given.weights is None else given.weights
    means = found.means if given.means is None else given.means
    if given.precisions is None:
        factor = found.prepared.precisions_cholesky
        return mixture_of(
            prepare(weights, means, factor, found.covariance_type), found.covariances
        )
    factor = _factor(given.precisions, means, found.covariance_type)
    return mixture_of(prepare(weights, means, factor, found.covariance_type))


def _factor(precisions: Float64Array, means: Float64Array, covariance_type: str) -> Float64Array:
    return COVARIANCE_TYPES[covariance_type].factor_precisions(precisions, means.shape[1])


def find(
    data: ArrayPass,
    method: str | InitCallable,
    random_state: np.random.RandomState,
    clusters: Clusters,
    noise: bool = False,
) -> Found:
    """Find responsibilities of the rows, or rows as means; see `start_from_data`."""
    sample_weight = data.sample_weight
    data = _present(data)
    if callable(method):
        return _by_callable(data, method, random_state, sample_weight, noise)
    if method == "random":
        return _at_random(data, random_state)
    if method == "kmeans":
        return _by_kmeans(data, random_state, clusters)
    if method == "hierarchical":
        tree = clusters.tree(data.X, _weight(data))
        return _by_labels(data, tree.labels(data.n_components))
    if method == "k-means++":
        return Found(data, clusters.seeds(data, data.n_components, random_state))
    assert method == "random_from_data"
    return Found(data, _distinct_rows(data, random_state))


def _present(data: ArrayPass) -> ArrayPass:
    """Return a pass without the rows of weight 0, so that no draw can depend on them."""
    if not len(data.sample_weight) or data.sample_weight.all():
        return data
    rows = np.flatnonzero(data.sample_weight)
    # Scaling to the largest weight can turn small weights into 0. If fewer rows than components
    # remain, keep all rows.
    if len(rows) < data.n_components:
        return data
    return ArrayPass(
        data.X[rows], data.sample_weight[rows], data.n_components, data.covariance_type,
        data.n_threads,
    )


def pooled_moments(data: ArrayPass, covariance_type: str) -> Statistics:
    """Return the statistics of all samples as one component.

    The origin is their mean, up to rounding.
    """
    one = ArrayPass(data.X, _weight(data), 1, covariance_type, data.n_threads)
    about_mean = one.statistics(one.statistics(_first_sample(data)).means)
    return about_mean


def _first_sample(data: ArrayPass) -> Float64Array:
    """Return the first sample that has weight, as an array of one row."""
    row = int(np.argmax(data.sample_weight > 0)) if len(data.sample_weight) else 0
    return data.X[row : row + 1].astype(np.float64)


def _weight(data: ArrayPass) -> Float64Array | None:
    return data.sample_weight if len(data.sample_weight) else None


def about_own_means(
    about: Callable[[Float64Array], Statistics],
    shift: Float64Array,
    reg_covar: RegCovar,
    n_threads: int,
    log_noise_density: float | None = None,
) -> Mixture:
    """Run the M-step with given responsibilities.

    The moments are taken about the means that these give.
    `about` returns the statistics of the responsibilities about the origins that it is called with,
    and `shift` has the origins for the first call.
    """
    statistics = about(about(shift).means)
    return maximization_step(
        statistics, reg_covar, n_threads, log_noise_density=log_noise_density
    )[0]


def _moments_of_features(data: ArrayPass) -> Statistics:
    """Return the moments of all samples, feature by feature, whatever the covariance type is."""
    return pooled_moments(data, BY_FEATURE)


def _by_kmeans(
    data: ArrayPass, random_state: np.random.RandomState, clusters: Clusters
) -> Found:
    """Return the clusters of k-means as responsibilities."""
    K, D = data.n_components, data.X.shape[1]
    centers = _first_sample(data)
    labels: Labels | None = None  # all samples belong to the first component
    if K > 1:
        moments = _moments_of_features(data)
        with np.errstate(over="ignore"):    # k-means refuses such data
            variance = float(moments.moments.sum() / moments.counts[0] / D)
        labels, centers = clusters.kmeans(data, K, random_state, KMEANS_TOL * variance)
    return Found(data, _NO_ROWS, partial(data.statistics, labels=labels), centers, near=True)


def _from_points(data: ArrayPass, rows: Indices, reg_covar: RegCovar) -> Mixture:
    """Return a mixture of equal weights with samples as means, and the covariance of all data."""
    K, kind = data.n_components, COVARIANCE_TYPES[data.covariance_type]
    pooled = pooled_moments(data, data.covariance_type)
    one, _ = maximization_step(pooled, reg_covar, data.n_threads)
    factor = kind.repeat(one.prepared.precisions_cholesky, K)
    prepared = prepare(np.full(K, 1 / K), data.X[rows].astype(np.float64), factor, kind.name)
    return mixture_of(prepared, kind.repeat(one.covariances, K))


def _distinct_rows(data: ArrayPass, random_state: np.random.RandomState) -> Indices:
    """Draw rows by weight until K different points have been drawn.

    If there are fewer points, all of them are drawn. If fewer than K different points have been
    drawn by then, or after 100 K draws, the last row is repeated.
    """
    K, n_samples = data.n_components, len(data.X)
    cumulative = np.cumsum(data.sample_weight) if len(data.sample_weight) else None
    rows: dict[bytes, np.intp] = {}
    n_points = K
    for i in range(100 * K):
        if len(rows) == n_points:
            break
        if i == 4 * K:  # many draws repeated a point, so count the different points
            n_points = min(K, len(np.unique(data.X, axis=0)))
            if len(rows) >= n_points:
                break
        row = draw_rows(cumulative, n_samples, random_state.uniform(size=1))[0]
        rows.setdefault((data.X[row] + 0.0).tobytes(), row)     # + 0.0 turns -0.0 into 0.0
    drawn = list(rows.values())
    return np.array(drawn + drawn[-1:] * (K - len(drawn)))


def _at_random(data: ArrayPass, random_state: np.random.RandomState) -> Found:
    """Return random responsibilities.

    They are drawn slice by slice, and the same ones are drawn again in each pass.
    """
    K = data.n_components
    before = random_state.get_state()

    def draw(rows: slice) -> FloatArray:
        if rows.start == 0:
            random_state.set_state(before)
        uniforms = random_state.uniform(size=(len(data.X[rows]), K))
        out: AnyArray = uniforms.astype(data.X.dtype, copy=False)
        shares: FloatArray = out / out.sum(axis=1, keepdims=True)
        return shares

    return _by_responsibilities(data, lambda c: data.statistics(c, draw))


def _by_responsibilities(
    data: ArrayPass, statistics: Callable[[Float64Array], Statistics]
) -> Found:
    origins = np.repeat(_moments_of_features(data).shift, data.n_components, axis=0)
    return Found(data, _NO_ROWS, statistics, origins)


def _by_labels(data: ArrayPass, labels: Labels) -> Found:
    """Return given labels as responsibilities; samples of label -1 are noise."""
    return _by_responsibilities(data, lambda c: data.statistics(c, labels=labels))


def _by_callable(
    data: ArrayPass,
    function: InitCallable,
    random_state: np.random.RandomState,
    sample_weight: Float64Array,
    noise: bool,
) -> Found:
    """Return the responsibilities or labels that the callable returns.

    It is called with the rows that have weight, and may answer for these or for all rows.
    """
    K, n = data.n_components, len(data.X)
    lowest = -1 if noise else 0
    view = data.X.view()
    view.flags.writeable = False
    answer = function(view, K, random_state)
    if np.ma.is_masked(answer):
        raise ValueError("what init_params returns has masked values")
    made: AnyArray = np.asarray(answer)
    if made.ndim and len(made) == len(sample_weight) > n:
        made = made[sample_weight > 0]
    if made.shape == (n,):
        if made.dtype.kind not in "iu":
            raise TypeError(
                f"labels that init_params returns must be integers, got dtype {made.dtype}"
            )
        if made.min() < lowest or made.max() >= K:
            raise ValueError(
                f"labels that init_params returns must be in [{lowest}, {K}), "
                f"got {made.min()} to {made.max()}"
            )
        return _by_labels(data, np.ascontiguousarray(made, dtype=np.int64))
    if made.shape != (n, K) and not (noise and made.shape == (n, K + 1)):
        raise ValueError(
            f"init_params must return, for the rows it was given, responsibilities of shape "
            f"{(n, K)} or labels of shape {(n,)}; got shape {made.shape}. Large data are reduced "
            "to init_size rows."
        )
    if made.dtype.kind not in "fiub":
        raise TypeError(
            f"responsibilities that init_params returns must be numbers, got dtype {made.dtype}"
        )
    tolerance = 1e-4 if made.dtype.itemsize < 8 else 1e-8
    sums = made.sum(axis=1, dtype=np.float64)
    if not (made >= 0).all() or not (abs(sums - 1) <= tolerance).all():
        raise ValueError(
            "responsibilities that init_params returns must be non-negative and sum to 1 "
            "in every row"
        )
    responsibilities: AnyArray = np.ascontiguousarray(made[:, :K], dtype=data.X.dtype)
    return _by_responsibilities(
        data, lambda c: data.statistics(c, responsibilities.__getitem__)
    )
