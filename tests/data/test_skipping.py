"""Tests of E-steps that skip pairs of samples and components which do not count."""

import pickle

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, GaussianMixture
from gmm_core.core.errors import NoDensityError
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.skipping import Order
from gmm_core.fit.checkpoints import Checkpoint
from gmm_core.model.attributes import mixture_from
from gmm_core.model.parameters import mixture_of, prepare

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_")
TYPES = ("full", "tied", "diag", "spherical")
EPS = 2.0**-52
pytestmark = pytest.mark.filterwarnings("ignore:Best performing")


def clusters(n=20_000, D=5, K=12, distance=8.0, dtype=np.float64, seed=0):
    """Return samples around K random centres, in random order."""
    rng = np.random.RandomState(seed)
    centres = distance * rng.randn(K, D)
    return (centres[rng.randint(0, K, n)] + rng.randn(n, D)).astype(dtype)


def model(K=12, **params):
    start = {"random_state": 0, "init_params": "random_from_data", "n_threads": 1}
    return GaussianMixture(K, **{**start, "max_iter": 6, "tol": 0.0, **params})


def skipping_pass(X, weight=None, K=12, kind="full", n_threads=1):
    data = ArrayPass(X, weight, K, kind, n_threads)
    data.skip(1.0 if weight is None else 2.0 ** np.floor(np.log2(weight.mean())))
    return data


def fitted(X, K=12, kind="full", weight=None, **params):
    """Return a mixture with one component for each cluster, as EM finds it."""
    gm = model(K, covariance_type=kind, init_params="kmeans", **params).fit(X, sample_weight=weight)
    return mixture_from(vars(gm), kind, 1)


def assert_same(one, other):
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def assert_near(one, other, mixture, ulps):
    """Compare the statistics of two passes, entry by entry, in units of their own size."""
    counts = np.maximum(one.counts, 1e-300)
    assert np.max(np.abs(one.counts - other.counts) / counts) <= ulps * EPS
    variances = mixture.kind.variances(mixture.covariances, *mixture.means.shape)
    scale = counts[:, None] * np.sqrt(variances)
    assert np.max(np.abs(one.first - other.first) / scale) <= ulps * EPS
    size = np.abs(one.moments) + np.abs(one.moments).max() * EPS
    if mixture.kind.name in ("diag", "spherical"):
        assert np.max(np.abs(one.moments - other.moments) / size) <= ulps * EPS
    assert abs(one.log_likelihood - other.log_likelihood) <= ulps * EPS * abs(one.log_likelihood)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", TYPES)
def test_statistics_are_those_of_a_dense_pass(kind, dtype, weighted, isa):
    X = clusters(dtype=dtype)
    weight = np.random.RandomState(1).exponential(size=len(X)) if weighted else None
    if weighted:
        weight[::7] = 0
    mixture = fitted(X, kind=kind, weight=weight)
    dense, skipping = ArrayPass(X, weight, 12, kind, 1), skipping_pass(X, weight, kind=kind)
    expected = dense.expectation(mixture)
    # Sums of n terms of one sign, in vectors of lanes and tiles, have errors far below n EPS; those
    # of float32 are of products in float32.
    ulps = 200 if dtype == np.float64 else 200 * 2**29
    for _ in range(6):
        assert_near(expected, skipping.expectation(mixture), mixture, ulps)
    assert skipping.skipping.evaluated_share < 0.3
    shift = mixture.means + 0.5
    assert_near(
        dense.expectation(mixture, shift), skipping.expectation(mixture, shift), mixture, 4 * ulps
    )
    total, sum_of_weights = skipping.log_likelihood(mixture.prepared)
    np.testing.assert_allclose(total, expected.log_likelihood, rtol=ulps * EPS)
    np.testing.assert_allclose(sum_of_weights, expected.weight, rtol=ulps * EPS)


@pytest.mark.parametrize("kind", TYPES)
def test_fit_is_that_without_skipping(kind):
    X = clusters()
    skipped, dense = (
        model(covariance_type=kind, skip=skip, max_iter=40, tol=1e-6).fit(X)
        for skip in ("auto", False)
    )
    assert skipped.n_iter_ == dense.n_iter_
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(
            getattr(skipped, name), getattr(dense, name), rtol=1e-9, atol=1e-11, err_msg=name
        )


@pytest.mark.parametrize("kind", TYPES)
def test_bits_do_not_depend_on_threads_and_batches(kind):
    X = clusters(n=40_000)
    one = model(covariance_type=kind, max_iter=12).fit(X)
    assert_same(one, model(covariance_type=kind, max_iter=12, n_threads=2).fit(X))
    assert_same(one, model(covariance_type=kind, max_iter=12, n_threads=7).fit(X))
    batches = [X[:17], X[17:9000], X[9000:9001], X[9001:]]
    assert_same(one, model(covariance_type=kind, max_iter=12).fit_batches(batches))
    assert not np.array_equal(  # the sums are rounded differently: skipping has been at work
        one.means_, model(covariance_type=kind, max_iter=12, skip=False).fit(X).means_
    )


def test_maps_have_the_bits_of_arrays(tmp_path):
    X = clusters()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_same(model().fit(X), model().fit(mapped))


@pytest.mark.parametrize("n_first", [1, 2, 3, 4, 9])
def test_two_warm_fits_are_one_long_fit(n_first):
    X = clusters()
    whole = model(max_iter=12, warm_start=True).fit(X)
    parts = model(max_iter=n_first, warm_start=True).fit(X)
    parts = pickle.loads(pickle.dumps(parts))
    parts.set_params(max_iter=12 - n_first).fit(X)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("n_first", [1, 2, 3, 5, 10])
def test_a_resumed_fit_has_the_bits_of_an_uninterrupted_one(n_first, tmp_path):
    class Stop(Exception):
        pass

    X = clusters()
    path = tmp_path / "checkpoint"
    whole = model(max_iter=12, n_init=1).fit(X)
    save, calls = Checkpoint.save, []

    def save_and_stop(self, state):
        save(self, state)
        calls.append(state)
        if len(calls) == n_first:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        with pytest.raises(Stop):
            model(max_iter=12, checkpoint=path, checkpoint_interval=1).fit(X)
    assert path.exists()
    assert_same(whole, model(max_iter=12, checkpoint=path).fit(X))


def test_several_starts_begin_with_the_natural_order():
    X = clusters()
    several = model(n_init=3).fit(X)
    rng = np.random.RandomState(0)
    alone = [model(random_state=rng).fit(X) for _ in range(3)]
    assert_same(several, max(alone, key=lambda gm: gm.lower_bound_))


def test_a_dense_pass_where_nothing_can_be_skipped():
    X = clusters(distance=0.3)
    skipped, dense = model().fit(X), model(skip=False).fit(X)
    assert_same(skipped, dense)


@pytest.mark.parametrize(("K", "D", "skips"), [(8, 2, False), (24, 2, False), (32, 8, True)])
def test_passes_skip_only_where_that_takes_less_time(K, D, skips):
    """With two features, exponentials take most of the time, which a pass that skips needs too."""
    X = clusters(n=40_000, D=D, K=K, distance=4.0)
    mixture, data = fitted(X, K), skipping_pass(X, K=K)
    for _ in range(3):
        data.expectation(mixture)
    assert (data.order.age >= 0) == skips


@pytest.mark.parametrize("n", [1000, 2049, 20_001])
@pytest.mark.parametrize("K", [4, 13, 33])
def test_ragged_sizes(n, K, monkeypatch, isa):
    monkeypatch.setattr("gmm_core.data.skipping._MIN_PASS_TIME", 0.0)
    X = clusters(n=n, K=K, D=3)
    mixture = fitted(X, K)
    dense, skipping = ArrayPass(X, None, K, "full", 1), skipping_pass(X, K=K)
    expected = dense.expectation(mixture)
    for _ in range(5):
        assert_near(expected, skipping.expectation(mixture), mixture, 100)


def test_history_beyond_its_memory_is_evaluated_with_the_same_bits():
    X = clusters(n=60_000)
    mixture = fitted(X)
    whole, half = skipping_pass(X), skipping_pass(X)
    half.skipping._n_bounded = half.unit_rows // half.skipping._group
    none = skipping_pass(X)
    none.skipping._n_bounded = 0
    for _ in range(6):
        expected = whole.expectation(mixture)
        for other in (half, none):
            np.testing.assert_array_equal(expected.values, other.expectation(mixture).values)
    assert whole.skipping.evaluated_share < half.skipping.evaluated_share < 1
    assert none.skipping.evaluated_share == 1


def test_bounds_follow_moving_parameters(isa):
    """However the parameters move, the statistics are those of a pass that evaluates all pairs."""
    X = clusters()
    mixture = fitted(X)
    rng = np.random.RandomState(3)
    bounded, unbounded = skipping_pass(X), skipping_pass(X)
    unbounded.skipping._n_bounded = 0
    for i in range(30):
        moved = mixture.means + 10.0 ** rng.uniform(-6, 0.5) * rng.randn(*mixture.means.shape)
        scale = np.exp(10.0 ** rng.uniform(-6, -0.5) * rng.randn(12))
        factor = mixture.prepared.precisions_cholesky * scale[:, None, None]
        there = mixture_of(prepare(mixture.weights, moved, factor, "full"))
        np.testing.assert_array_equal(
            bounded.expectation(there).values, unbounded.expectation(there).values, err_msg=str(i)
        )
    assert bounded.skipping.evaluated_share < 1


def test_a_component_that_loses_its_samples_loses_no_digits():
    X = clusters(K=4, n=8000)
    mixture = fitted(X, 4)
    data = skipping_pass(X, K=4)
    for _ in range(4):
        data.expectation(mixture)
    far = mixture.means.copy()
    far[0] += 12.0  # its weight stays, but few samples are near
    there = mixture_of(prepare(mixture.weights, far, mixture.prepared.precisions_cholesky, "full"))
    dense = ArrayPass(X, None, 4, "full", 1).expectation(there)
    found = data.expectation(there)
    assert 0 < dense.counts[0] < 1e-3 * len(X)
    np.testing.assert_allclose(found.counts, dense.counts, rtol=200 * EPS)
    np.testing.assert_allclose(found.moments, dense.moments, rtol=1e-11)


@pytest.mark.parametrize("sorts", [True, False])
def test_the_history_is_forgotten_if_a_sample_has_density_0(sorts):
    """Such a pass has changed the history of some regions only, and an accelerated fit goes on after it."""
    X = clusters(n=40_000)
    mixture = fitted(X)
    X[-1] = 1e5  # in the last region
    data, other = skipping_pass(X), skipping_pass(X)
    for _ in range(3 if sorts else 4):  # the fourth pass sorts
        data.expectation(mixture)
        other.expectation(mixture)
    order = data.order
    assert order.sorts == sorts
    factors = 1e151 * mixture.prepared.precisions_cholesky  # only the last square of a distance overflows
    narrow = mixture_of(prepare(mixture.weights, mixture.means, factors, "full"))
    with pytest.raises(NoDensityError):
        data.expectation(narrow)
    assert data.order is order
    for _ in range(4):
        np.testing.assert_array_equal(
            data.expectation(mixture).values, other.expectation(mixture).values
        )


def test_memory_of_the_history():
    X = clusters(n=50_000, D=2, distance=50.0)
    data = skipping_pass(X)
    mixture = fitted(X)
    for _ in range(5):
        data.expectation(mixture)
    assert 0 < data.skipping.nbytes <= X.nbytes // 2


def test_skip_is_checked():
    for value in (True, "always", 1, None):
        with pytest.raises(ValueError, match="The 'skip' parameter"):
            model(skip=value).fit(clusters(n=100))


def test_order_is_kept_for_warm_starts_only():
    X = clusters()
    assert not hasattr(model().fit(X), "_order")
    order = model(warm_start=True, init_params="kmeans").fit(X)._order
    assert isinstance(order, Order)
    assert order.reference is not None
    assert order.n_passes == 6


@pytest.mark.parametrize("options", [
    {"noise": True}, {"covariance_type": "EEV"}, {"covariance_type": "VVI"},
    {"fixed": {"covariances"}, "precisions_init": np.repeat(np.eye(5)[None], 12, 0)},
    {"acceleration": "squarem"}, {"acceleration": "lbfgs"},
], ids=str)  # fmt: skip
def test_other_fits_are_those_without_skipping(options):
    X = clusters()
    skipped, dense = (
        model(skip=skip, max_iter=15, warm_start=True, **options).fit(X) for skip in ("auto", False)
    )
    assert skipped._order.age > 0
    np.testing.assert_allclose(skipped.lower_bounds_, dense.lower_bounds_, rtol=1e-11)
    np.testing.assert_allclose(skipped.means_, dense.means_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", TYPES)
def test_bayesian_fits_are_those_without_skipping(kind):
    X = clusters()
    params = {"covariance_type": kind, "random_state": 0, "max_iter": 8, "tol": 0.0}
    skipped, dense, threads = (
        BayesianGaussianMixture(n_components=12, n_threads=n, skip=skip, warm_start=True, **params).fit(X)
        for n, skip in ((1, "auto"), (1, False), (2, "auto"))
    )
    assert skipped._order.age > 0
    assert_same(skipped, threads)
    np.testing.assert_allclose(skipped.lower_bounds_, dense.lower_bounds_, rtol=1e-11)
    np.testing.assert_allclose(skipped.means_, dense.means_, rtol=1e-9, atol=1e-11)


def test_an_accelerated_fit_that_skips_is_resumed_with_the_same_bits(tmp_path):
    X = clusters(distance=3.0)
    params = {"acceleration": "squarem", "max_iter": 30, "tol": 1e-9}
    whole = model(**params).fit(X)
    save, calls = Checkpoint.save, []

    def save_and_stop(self, state):
        save(self, state)
        calls.append(state)
        if len(calls) == 20:
            raise KeyboardInterrupt

    path = tmp_path / "checkpoint"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            model(checkpoint=path, checkpoint_interval=1, **params).fit(X)
    assert_same(whole, model(checkpoint=path, **params).fit(X))
