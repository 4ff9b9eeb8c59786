"""The parameters that EM starts from: by k-means, random, from the data, or from the user."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.covariance import precisions_cholesky_of
from gmm_core.kmeans import draw_rows, kmeans, seed_rows
from gmm_core.parameters import Parameters, parameters_from
from gmm_core.passes import ArrayPass, FloatArray
from gmm_core.statistics import RegCovar, Statistics, maximization_step

Float64Array = npt.NDArray[np.float64]

if TYPE_CHECKING:   # np.random is loaded when it is first used, and takes a third of the import
    InitCallable = Callable[[FloatArray, int, np.random.RandomState], object]

# k-means stops when the centers move by less than this share of the mean variance of the features,
# as in scikit-learn.
_KMEANS_TOL = 1e-4


class GivenParameters(NamedTuple):
    """What the user fixed of the start: arrays in float64, or None."""

    weights: Float64Array | None
    means: Float64Array | None
    precisions: Float64Array | None


def initial_parameters(
    sample: Callable[[], tuple[ArrayPass, RegCovar]],
    covariance_type: str,
    method: str | InitCallable,
    given: GivenParameters,
    random_state: np.random.RandomState,
    reg_covar: RegCovar,
) -> Parameters:
    """Parameters to start EM from.

    Parameters
    ----------
    sample : callable
        The samples to find it from, and what is to be added to their variances for what they
        lack; called if they are needed.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    method : {'kmeans', 'k-means++', 'random', 'random_from_data'} or callable
        A callable ``f(X, n_components, random_state)`` returns responsibilities of shape
        (n_samples, n_components) or labels of shape (n_samples,).
    given : GivenParameters
        Replaces what the method finds; if it has all, the method is not used.
    random_state : RandomState
    reg_covar : float or ndarray of shape (n_features,)

    Raises
    ------
    IllDefinedCovarianceError
        If a covariance of the start is not positive definite.
    ValueError, TypeError
        If a callable returns what is neither responsibilities nor labels.
    """
    if given.weights is not None and given.means is not None and given.precisions is not None:
        return _merge(given, None, covariance_type)
    data, lacking = sample()
    start = _find(data, method, random_state, reg_covar + lacking)
    if all(array is None for array in given):
        return start
    return _merge(given, start, covariance_type)


def _find(
    data: ArrayPass,
    method: str | InitCallable,
    random_state: np.random.RandomState,
    reg_covar: RegCovar,
) -> Parameters:
    sample_weight = data.sample_weight
    data = _present(data)
    if callable(method):
        return _from_callable(data, method, random_state, reg_covar, sample_weight)
    if method == "random":
        return _from_random(data, random_state, reg_covar)
    if method == "kmeans":
        return _from_kmeans(data, random_state, reg_covar)
    if method == "k-means++":
        return _from_points(data, seed_rows(data, data.n_components, random_state), reg_covar)
    assert method == "random_from_data"
    return _from_points(data, _distinct_rows(data, random_state), reg_covar)


def _present(data: ArrayPass) -> ArrayPass:
    """Leave out the rows of weight 0, so that nothing that is drawn can depend on them."""
    if not len(data.sample_weight) or data.sample_weight.all():
        return data
    rows = np.flatnonzero(data.sample_weight)
    if len(rows) < data.n_components:   # weights that are 0 when scaled to the largest
        return data
    return ArrayPass(
        data.X[rows], data.sample_weight[rows], data.n_components, data.covariance_type,
        data.n_threads,
    )


def _merge(given: GivenParameters, start: Parameters | None, covariance_type: str) -> Parameters:
    def choose(own: Float64Array | None, name: str) -> Float64Array:
        if own is not None:
            return own
        found: Float64Array = getattr(start, name)
        return found

    covariances = None
    means = choose(given.means, "means")
    if given.precisions is None:
        precisions_cholesky = choose(None, "precisions_cholesky")
        covariances = choose(None, "covariances")
    else:
        precisions_cholesky = precisions_cholesky_of(
            given.precisions, covariance_type, means.shape[1], given="precisions"
        )
    return parameters_from(
        choose(given.weights, "weights"), means, precisions_cholesky, covariance_type, covariances
    )


def pooled_moments(data: ArrayPass, covariance_type: str) -> Statistics:
    """Moments of all samples, as one component, about (nearly) their mean."""
    one = ArrayPass(data.X, _weight(data), 1, covariance_type, data.n_threads)
    shift = _first_sample(data)
    for _ in range(2):      # the first pass finds the mean, the second takes moments about it
        statistics = one.statistics(shift)
        K, D = shift.shape
        shift = shift + statistics.values[3 : 3 + D] / statistics.values[2]
    return statistics


def _first_sample(data: ArrayPass) -> Float64Array:
    """The first row that has weight, as an array of one row."""
    row = int(np.argmax(data.sample_weight > 0)) if len(data.sample_weight) else 0
    return data.X[row : row + 1].astype(np.float64)


def _weight(data: ArrayPass) -> Float64Array | None:
    return data.sample_weight if len(data.sample_weight) else None


def _about_own_means(
    make: Callable[[Float64Array], Statistics],
    shift: Float64Array,
    reg_covar: RegCovar,
    n_threads: int,
) -> Parameters:
    """M-step of given responsibilities, with moments about the means that they have."""
    statistics = make(shift)
    K, D = shift.shape
    counts = statistics.values[2 : 2 + K, None]
    moves = statistics.values[2 + K : 2 + K + K * D].reshape(K, D)
    means = shift + np.divide(moves, counts, out=np.zeros((K, D)), where=counts > 0)
    return maximization_step(make(means), reg_covar, n_threads)[0]


def _from_kmeans(
    data: ArrayPass, random_state: np.random.RandomState, reg_covar: RegCovar
) -> Parameters:
    K, D = data.n_components, data.X.shape[1]
    moments = pooled_moments(data, "diag").values
    mean = _first_sample(data)
    labels: npt.NDArray[np.int64] | None = None
    if K > 1:
        tol = _KMEANS_TOL * float(moments[3 + D :].sum() / moments[2] / D)
        labels, mean = kmeans(data, K, random_state, tol)
    moments_about = partial(data.statistics, labels=labels)
    return maximization_step(moments_about(mean), reg_covar, data.n_threads, moments_about)[0]


def _from_points(data: ArrayPass, rows: npt.NDArray[np.intp], reg_covar: RegCovar) -> Parameters:
    """Samples as means, with the covariance of all the data and equal weights."""
    K = data.n_components
    parameters, _ = maximization_step(
        pooled_moments(data, data.covariance_type), reg_covar, data.n_threads
    )

    def repeat(a: Float64Array) -> Float64Array:
        return a if data.covariance_type == "tied" else np.repeat(a, K, axis=0)

    return parameters_from(
        np.full(K, 1 / K), data.X[rows].astype(np.float64), repeat(parameters.precisions_cholesky),
        data.covariance_type, repeat(parameters.covariances),
    )


def _distinct_rows(data: ArrayPass, random_state: np.random.RandomState) -> npt.NDArray[np.intp]:
    """Draw rows by weight until they are K different points, or all the points there are."""
    K, n_samples = data.n_components, len(data.X)
    cumulative = np.cumsum(data.sample_weight) if len(data.sample_weight) else None
    rows: dict[bytes, np.intp] = {}
    n_points = K
    for i in range(100 * K):
        if len(rows) == n_points:
            break
        if i == 4 * K:  # many draws were points found before: see how many points there are
            n_points = min(K, len(np.unique(data.X, axis=0)))
            if len(rows) >= n_points:
                break
        row = draw_rows(cumulative, n_samples, random_state.uniform(size=1))[0]
        rows.setdefault((data.X[row] + 0.0).tobytes(), row)     # + 0.0: -0.0 is 0.0
    drawn = list(rows.values())
    return np.array(drawn + drawn[-1:] * (K - len(drawn)))


def _from_random(
    data: ArrayPass, random_state: np.random.RandomState, reg_covar: RegCovar
) -> Parameters:
    """Random responsibilities, normalised; drawn slice by slice, and once more for each pass."""
    K = data.n_components
    before = random_state.get_state()

    def draw(rows: slice) -> FloatArray:
        if rows.start == 0:
            random_state.set_state(before)
        uniforms = random_state.uniform(size=(len(data.X[rows]), K))
        out: npt.NDArray[Any] = uniforms.astype(data.X.dtype, copy=False)
        shares: FloatArray = out / out.sum(axis=1, keepdims=True)
        return shares

    shift = np.repeat(pooled_moments(data, "diag").shift, K, axis=0)
    return _about_own_means(lambda c: data.statistics(c, draw), shift, reg_covar, data.n_threads)


def _from_callable(
    data: ArrayPass,
    function: InitCallable,
    random_state: np.random.RandomState,
    reg_covar: RegCovar,
    sample_weight: Float64Array,
) -> Parameters:
    """M-step of what the callable returns for the rows that have weight, or for all rows."""
    K, n = data.n_components, len(data.X)
    view = data.X.view()
    view.flags.writeable = False
    answer = function(view, K, random_state)
    if np.ma.is_masked(answer):
        raise ValueError("what init_params returns has masked values")
    made = np.asarray(answer)
    if made.ndim and len(made) == len(sample_weight) > n:
        made = made[sample_weight > 0]
    shift = np.repeat(pooled_moments(data, "diag").shift, K, axis=0)
    if made.shape == (n,):
        if made.dtype.kind not in "iu":
            raise TypeError(
                f"labels that init_params returns must be integers, got dtype {made.dtype}"
            )
        if made.min() < 0 or made.max() >= K:
            raise ValueError(
                f"labels that init_params returns must be in [0, {K}), "
                f"got {made.min()} to {made.max()}"
            )
        labels = np.ascontiguousarray(made, dtype=np.int64)
        return _about_own_means(
            lambda c: data.statistics(c, labels=labels), shift, reg_covar, data.n_threads
        )
    if made.shape != (n, K):
        raise ValueError(
            f"init_params must return responsibilities of shape {(n, K)} or labels of shape "
            f"{(n,)}, those of X or of the subsample (init_size), got shape {made.shape}"
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
    responsibilities: npt.NDArray[Any] = np.ascontiguousarray(made, dtype=data.X.dtype)
    return _about_own_means(
        lambda c: data.statistics(c, responsibilities.__getitem__), shift, reg_covar, data.n_threads
    )
