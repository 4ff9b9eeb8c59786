"""Tests of partial_fit (stepwise EM on streams) against closed forms and against EM on all data."""

import pickle
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from gmm_core import GaussianMixture, NoDensityError, accumulate, reference
from gmm_core.fit.maximization import maximization_step
from gmm_core.fit.stepwise import mixed, rows_of_a_start, step_size
from gmm_core.model.statistics import statistics_of

EPS = np.finfo(float).eps
TYPES = ("full", "tied", "diag", "spherical")
EXAMPLES = Path(__file__).parents[2] / "examples"
all_types = pytest.mark.parametrize("covariance_type", TYPES)


def blobs(n, n_features=3, n_components=4, seed=0):
    rng = np.random.RandomState(seed)
    means = 2.5 * rng.randn(n_components, n_features)
    factors = rng.randn(n_components, n_features, n_features) / 2 + 0.7 * np.eye(n_features)
    labels = rng.randint(0, n_components, n)
    return means[labels] + np.einsum("nij,nj->ni", factors[labels], rng.randn(n, n_features))


def learn(model, X, size, **params):
    for start in range(0, len(X), size):
        part = slice(start, start + size)
        model.partial_fit(X[part], **{name: array[part] for name, array in params.items()})
    return model


def parameters_of(model):
    return model.weights_, model.means_, model.covariances_


# --- closed forms: one component has responsibilities of 1 ----------------------------------


@all_types
@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_one_component_with_steps_of_1_over_n_has_the_moments_of_all(covariance_type, size):
    X = blobs(400) + 50
    model = GaussianMixture(1, covariance_type=covariance_type, learning_decay=1, reg_covar=0)
    learn(model, X, size)
    moments = GaussianMixture(1, covariance_type=covariance_type, reg_covar=0).fit(X)
    # each of the n steps has a rounding error relative to the running sums
    np.testing.assert_allclose(model.means_, moments.means_, rtol=len(X) * EPS)
    scale = abs(moments.covariances_).max()
    np.testing.assert_allclose(
        model.covariances_, moments.covariances_, rtol=0, atol=4 * len(X) * EPS * scale
    )
    assert model.n_samples_seen_ == len(X)


@pytest.mark.parametrize("size", [1, 13, 500])
@pytest.mark.parametrize("forget_factor", [0.9, 0.99, 1.0])
def test_forgetting_is_exact(size, forget_factor):
    """A sample has weight forget_factor**m, m being the number of samples after it."""
    X = blobs(500) + np.linspace(0, 9, 500)[:, None]
    model = learn(GaussianMixture(1, forget_factor=forget_factor, reg_covar=0), X, size)
    n_start = rows_of_a_start(1, 3)
    age = np.arange(len(X))[::-1].astype(float)
    age[:n_start] = len(X) - n_start
    weight = forget_factor**age
    start = forget_factor ** np.arange(n_start)
    weight[:n_start] *= start.mean()  # the samples of the first fit have equal weights
    mean = weight @ X / weight.sum()
    covariance = (weight[:, None] * (X - mean)).T @ (X - mean) / weight.sum()
    np.testing.assert_allclose(model.means_[0], mean, rtol=len(X) * EPS * 10)
    np.testing.assert_allclose(
        model.covariances_[0], covariance, atol=len(X) * EPS * 10 * abs(X).max() ** 2, rtol=0
    )


@all_types
def test_a_weight_is_a_number_of_copies(covariance_type):
    X = blobs(1_000)
    weight = np.random.RandomState(1).randint(0, 3, len(X)).astype(float)
    params = {"covariance_type": covariance_type, "random_state": 0}
    fitted = [GaussianMixture(3, **params).fit(X[:300]) for _ in range(2)]
    learn(fitted[0], X[300:], 100, sample_weight=weight[300:])
    for start in range(300, 1_000, 100):
        part = slice(start, start + 100)
        fitted[1].partial_fit(np.repeat(X[part], weight[part].astype(int), axis=0))
    assert fitted[0].n_samples_seen_ == fitted[1].n_samples_seen_ == 300 + weight[300:].sum()
    for one, other in zip(*map(parameters_of, fitted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


# --- the formulas ---------------------------------------------------------------------------


@pytest.mark.parametrize("learning_decay", [0.51, 0.6, 0.9, 1.0])
def test_the_step_of_a_batch_is_that_of_its_samples(learning_decay):
    """The share of the past that remains after a batch is the product of those of its halves."""

    def remaining(seen, weight):
        return 1 - step_size(seen, weight, 500.0, learning_decay)

    for seen in (1.0, 60.0, 499.0, 700.0, 1e6):
        for weight in (1.0, 10.0, 3_000.0):
            halves = remaining(seen, weight / 2) * remaining(seen + weight / 2, weight / 2)
            assert remaining(seen, weight) == pytest.approx(halves, rel=1e-9)
    # The step of one sample is 1 / n up to the knee, and then c n^-α with the same value at the knee.
    # step_size integrates over [n, n + 1], which differs from the value at n by a share of 1 / n.
    assert step_size(99, 1, 500, learning_decay) == pytest.approx(1 / 100, rel=1 / 90)
    assert step_size(0.0, 5, 500, learning_decay) == 1
    if learning_decay == 1:  # this holds even where n + 1 is nearly rounded to n
        assert step_size(1e15, 1, 500, 1) == pytest.approx(1e-15, rel=1e-9)
    expected = (5_000 / 500) ** (1 - learning_decay) / 5_000
    assert step_size(5_000, 1, 500, learning_decay) == pytest.approx(expected, rel=1 / 2_000)


@all_types
def test_statistics_about_the_means(covariance_type):
    """Moving the origins to the means does not change the M-step, and `statistics_of` inverts it."""
    X, K = blobs(2_000), 4
    model = GaussianMixture(K, covariance_type=covariance_type, max_iter=2, tol=1, random_state=0).fit(X)
    parameters = (model.weights_, model.means_, model.precisions_cholesky_, covariance_type)
    statistics = accumulate(X, *parameters)
    made, _ = maximization_step(statistics, 0.0)
    moved = statistics.about_means(made.means)
    again, drift = maximization_step(moved, 0.0)
    assert drift < EPS
    r = reference.expectation_step(X, *parameters)[1]
    weights, means, covariances = reference.maximization_step(
        X, r, covariance_type=covariance_type, reg_covar=0
    )
    for one, other, true in zip(made[:3], again[:3], (weights, means, covariances), strict=True):
        scale = abs(one).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=50 * EPS * scale)
        np.testing.assert_allclose(other, true, rtol=0, atol=1e-12 * scale)
    back = statistics_of(*again[:3], covariance_type, np.zeros(3))
    np.testing.assert_allclose(
        back.values[1:], moved.values[1:] / len(X), rtol=0, atol=50 * EPS * abs(moved.values).max()
    )
    regular, _ = maximization_step(moved, 0.25)
    np.testing.assert_allclose(
        statistics_of(*regular[:3], covariance_type, np.full(3, 0.25)).values,
        back.values,
        rtol=0,
        atol=50 * EPS * abs(X).max() ** 2,
    )


def test_a_mean_of_statistics():
    X = blobs(600)
    parameters = (np.array([0.5, 0.5]), X[:2], np.array([np.eye(3)] * 2))
    one, other, both = (accumulate(part, *parameters) for part in (X[:200], X[200:], X))
    mean = mixed(mixed(one, one, 1.0), other, 400 / 600)
    np.testing.assert_allclose(mean.values, both.values / 600, rtol=1e-13, atol=1e-15)
    assert mean.weight == pytest.approx(1, rel=EPS)


def test_a_component_without_samples_keeps_its_place():
    X = blobs(500)
    means = np.vstack([X[:1], [[1e3, 1e3, 1e3]]])
    statistics = accumulate(X, [0.5, 0.5], means, np.array([np.eye(3)] * 2))
    made, _ = maximization_step(statistics, 1e-6)
    moved = statistics.about_means(made.means)
    assert np.isfinite(moved.values).all()
    np.testing.assert_array_equal(moved.shift[1], means[1])


# --- against EM on all the data -------------------------------------------------------------


def loss(model, best, held_out):
    """Return how much lower the log-likelihood of held-out data is than with the best model.

    The loss is in nats per sample. The docstrings of the tests give the losses that were measured with
    AVX-512; the bounds leave room for other instruction sets, which round differently.
    """
    return best.score(held_out) - model.score(held_out)


def best_of(X, n_components, **params):
    return GaussianMixture(n_components, n_init=3, random_state=0, tol=1e-4, max_iter=500, **params).fit(X)


@all_types
@pytest.mark.parametrize("size", [10, 1_000, 24_000])
def test_it_ends_near_em_whatever_the_batches(covariance_type, size):
    """The measured losses are between -0.0004 and 0.0008 nats per sample."""
    X = blobs(30_000)
    X, held_out = X[:24_000], X[24_000:]
    best = best_of(X, 4, covariance_type=covariance_type)
    model = learn(GaussianMixture(4, covariance_type=covariance_type, random_state=1), X, size)
    assert loss(model, best, held_out) < 0.005


@pytest.mark.parametrize("order", range(3))
def test_it_ends_near_em_on_colours_in_any_shuffled_order(order):
    """The measured losses are -0.014, 0.021 and 0.011 nats per sample."""
    with np.load(EXAMPLES / "china_pixels.npz") as archive:
        X = next(iter(archive.values())).reshape(-1, 3) / 255.0
    X = X[np.random.RandomState(5).permutation(len(X))[:60_000]]
    X, held_out = X[:48_000], X[48_000:]
    best = best_of(X, 8)
    model = GaussianMixture(8, random_state=order)
    learn(model, X[np.random.RandomState(order).permutation(len(X))], 500)
    assert loss(model, best, held_out) < 0.035


def test_it_ends_near_em_on_few_samples():
    """The measured loss is 0.0024 nats per sample."""
    X = np.loadtxt(EXAMPLES / "old_faithful.csv", delimiter=",", skiprows=1)
    X = X[np.random.RandomState(0).permutation(len(X))]
    model = learn(GaussianMixture(2, random_state=0), X[:200], 5)
    assert loss(model, best_of(X[:200], 2), X[200:]) < 0.02


def test_one_row_at_a_time():
    """The measured loss is -0.0005 nats per sample."""
    X = blobs(1_500)
    model = learn(GaussianMixture(4, random_state=0), X, 1)
    assert model.n_samples_seen_ == 1_500
    assert loss(model, best_of(X, 4), blobs(4_000)[2_000:]) < 0.02


def test_drifting_data_are_followed_with_a_forgetting_factor():
    """The measured losses are 0.12 nats per sample with forgetting, and 0.72 without."""
    X = blobs(20_000)
    # the data stop moving after two thirds
    moved = X + np.minimum(np.linspace(0, 9, len(X)), 6)[:, None]
    held_out = blobs(4_000)[2_000:] + 6
    forgetting = learn(GaussianMixture(4, random_state=0, forget_factor=0.999), moved, 50)
    keeping = learn(GaussianMixture(4, random_state=0), moved, 50)
    best = best_of(X + 6, 4)
    assert loss(forgetting, best, held_out) < 0.2 < 0.5 < loss(keeping, best, held_out)


@all_types
def test_a_component_that_was_away_comes_back(covariance_type):
    """The weight of an absent component decreases with the forgetting factor, but does not become 0.

    The measured losses after it has come back are at most 0.0083 nats per sample.
    """
    rng = np.random.RandomState(0)
    both = np.vstack([rng.randn(200, 2), rng.randn(200, 2) + 50])[rng.permutation(400)]
    model = GaussianMixture(
        2, covariance_type=covariance_type, forget_factor=0.99, random_state=0
    ).partial_fit(both)
    for _ in range(100):
        model.partial_fit(rng.randn(80, 2))
    assert 0 < model.weights_.min() < 1e-7
    for _ in range(20):
        model.partial_fit(both)
    assert loss(model, best_of(both, 2, covariance_type=covariance_type), both) < 0.02


# --- the stream's state ---------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Best performing")
def test_the_first_samples_are_collected():
    X = blobs(1_000)
    model = GaussianMixture(4, random_state=0)
    model.partial_fit(X[:3])
    with pytest.raises(ValueError, match="is not fitted yet"):
        model.predict(X)
    model.partial_fit(X[3:4])
    assert model.predict(X).shape == (1_000,) and model.n_samples_seen_ == 4
    enough = rows_of_a_start(4, 3)
    learn(model, X[4 : enough - 1], 10)
    assert model.n_samples_seen_ < enough - 1  # not every batch makes a new fit
    model.partial_fit(X[enough - 1 : enough])
    expected = GaussianMixture(4, random_state=0, n_init=10).fit(X[:enough])
    for one, other in zip(parameters_of(model), parameters_of(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n", [40, 200])  # 640 samples are collected in all
def test_collecting_continues_after_loading(n, tmp_path):
    X = blobs(2_000, n_features=4, n_components=8)
    one = GaussianMixture(8, random_state=0).partial_fit(X[:n])
    one.save(tmp_path / "model.npz")
    other = GaussianMixture.load(tmp_path / "model.npz")
    for start in range(n, len(X), 50):
        for model in (one, other):
            model.partial_fit(X[start : start + 50])
    np.testing.assert_array_equal(one.means_, other.means_)


def test_float32_models_continue_from_their_factors():
    """A stream starts from the factors, because covariances may lose too much in float32.

    With a condition of 1e8, rounding makes them indefinite, or the covariances of another mixture.
    """
    rng = np.random.RandomState(0)
    z = rng.randn(4_000, 1)
    X = np.hstack([z, z + 1e-3 * rng.randn(4_000, 1)]).astype(np.float32)
    model = GaussianMixture(reg_covar=0).fit(X)
    before = model.score(X)
    assert abs(model.partial_fit(X[:50]).score(X) - before) < 0.1


class OfTwo(GaussianMixture):
    """A subclass whose constructor has fewer arguments."""

    def __init__(self, n_components=2):
        super().__init__(n_components, random_state=0)


def test_subclasses():
    assert learn(OfTwo(), blobs(500), 50).weights_.shape == (2,)


@pytest.mark.parametrize("how", ["pickle", "save", "fit"])
def test_it_continues_after(how, tmp_path):
    """The stream continues bit-identically after pickling, and to rounding after saving.

    A fit to the same 3,000 samples makes one EM step more; the measured loss is -2e-5 nats per sample.
    """
    X = blobs(6_000)
    model = learn(GaussianMixture(4, random_state=0), X[:3_000], 300)
    straight = learn(pickle.loads(pickle.dumps(model)), X[3_000:], 300)
    if how == "pickle":
        other = pickle.loads(pickle.dumps(model))
    elif how == "save":
        model.save(tmp_path / "model.npz")
        other = GaussianMixture.load(tmp_path / "model.npz")
    else:
        start = {"weights_init": model.weights_, "means_init": model.means_}
        other = GaussianMixture(4, precisions_init=model.precisions_, **start, tol=1e9).fit(X[:3_000])
    assert other.n_samples_seen_ == 3_000
    learn(other, X[3_000:], 300)
    if how == "fit":
        assert loss(other, straight, X) < 1e-3
        return
    for one, same in zip(parameters_of(other), parameters_of(straight), strict=True):
        np.testing.assert_allclose(one, same, rtol=1e-9, atol=1e-12)
    if how == "pickle":
        np.testing.assert_array_equal(other.means_, straight.means_)


def test_it_continues_from_assigned_attributes():
    X = blobs(4_000)
    model = learn(GaussianMixture(4, random_state=0), X[:2_000], 500)
    model.means_ = model.means_ + 100
    before = model.means_
    model.partial_fit(X[:10] + 100)
    assert (abs(model.means_ - before) < 5).all()
    ready = GaussianMixture.from_parameters([1.0], [[0.0, 0, 0]], covariances=[np.eye(3)])
    ready.partial_fit(X[:50])
    assert ready.n_samples_seen_ == rows_of_a_start(1, 3) + 50


def test_a_fit_begins_anew():
    X = blobs(2_000)
    for n in (2, 1_000):
        model = GaussianMixture(4, random_state=0).partial_fit(X[:n]).fit(X)
        plain = GaussianMixture(4, random_state=0).fit(X)
        np.testing.assert_array_equal(model.means_, plain.means_)
        assert vars(model).keys() == vars(plain).keys()


def test_threads_do_not_matter():
    X = blobs(300_000)
    one, two = (
        learn(GaussianMixture(4, random_state=0, n_threads=n).fit(X[:1_000]), X, 100_000)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.covariances_, two.covariances_)


@all_types
def test_float32(covariance_type):
    """Sums are in float64, and float32 rounds only densities and attributes.

    The measured losses are at most 1.2e-8 nats per sample.
    """
    X = blobs(20_000)
    params = {"covariance_type": covariance_type, "random_state": 0}
    single = learn(GaussianMixture(4, **params), X.astype(np.float32), 200)
    double = learn(GaussianMixture(4, **params), X.astype(np.float32).astype(float), 200)
    assert single.means_.dtype == np.float32
    assert abs(loss(single, double, X)) < 1e-5
    single.partial_fit(X[:10])
    assert single.means_.dtype == np.float32


def test_feature_names():
    import pandas as pd

    frame = pd.DataFrame(blobs(500), columns=["a", "b", "c"])
    model = learn(GaussianMixture(2, random_state=0), frame, 50)
    assert list(model.feature_names_in_) == ["a", "b", "c"] and model.n_features_in_ == 3
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame[["b", "a", "c"]])


# --- missing values -------------------------------------------------------------------------


def with_holes(X, share=0.3, seed=0):
    """Return X without some of the values; one row lacks all."""
    incomplete = np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)
    incomplete[3] = np.nan
    return incomplete


def dense(model):
    """Return the covariances of a model as matrices."""
    C, (K, D) = model.covariances_, model.means_.shape
    return {
        "full": lambda: C,
        "tied": lambda: np.broadcast_to(C, (K, D, D)),
        "diag": lambda: C[:, :, None] * np.eye(D),
        "spherical": lambda: C[:, None, None] * np.eye(D),
    }[model.covariance_type]()


def textbook_step(X, sample_weight, model, size):
    """Return the parameters after a step of the given size, computed row by row."""
    weights, means, covariances = model.weights_, model.means_, dense(model)
    K, D = means.shape
    N, first, second = np.zeros(K), np.zeros((K, D)), np.zeros((K, D, D))
    for x, w in zip(X.astype(float), sample_weight / sample_weight.sum(), strict=True):
        o, m = ~np.isnan(x), np.isnan(x)
        log_prob, mean, rest = np.log(weights), np.zeros((K, D)), np.zeros((K, D, D))
        for k, S in enumerate(covariances):
            inverse, d = np.linalg.inv(S[np.ix_(o, o)]), x[o] - means[k, o]
            log_prob[k] -= 0.5 * (np.linalg.slogdet(S[np.ix_(o, o)])[1] + d @ inverse @ d)
            mean[k, o], mean[k, m] = x[o], means[k, m] + S[np.ix_(m, o)] @ inverse @ d
            rest[k][np.ix_(m, m)] = S[np.ix_(m, m)] - S[np.ix_(m, o)] @ inverse @ S[np.ix_(o, m)]
        r = w * np.exp(log_prob - np.logaddexp.reduce(log_prob))
        N += r
        first += r[:, None] * mean
        second += r[:, None, None] * (np.einsum("ki,kj->kij", mean, mean) + rest)
    old = covariances + np.einsum("ki,kj->kij", means, means)
    N = (1 - size) * weights + size * N
    first = (1 - size) * weights[:, None] * means + size * first
    second = (1 - size) * weights[:, None, None] * old + size * second
    new = first / N[:, None]
    scatter = second - N[:, None, None] * np.einsum("ki,kj->kij", new, new)
    made = {
        "full": lambda: scatter / N[:, None, None],
        "tied": lambda: scatter.sum(axis=0),
        "diag": lambda: np.einsum("kii->ki", scatter) / N[:, None],
        "spherical": lambda: np.einsum("kii->k", scatter) / N / D,
    }[model.covariance_type]()
    return N, new, made


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_over_rows_with_missing_values(covariance_type, dtype, weighted):
    """A part with missing values is followed by one without, and by another with them."""
    K, D, at_once = 2, 3, 120
    X = blobs(300, D, K).astype(dtype)
    for rows in (slice(0, 120), slice(240, 300)):
        X[rows] = with_holes(X[rows])
    weight = np.random.default_rng(1).random(300) if weighted else np.ones(300)
    weight[weight < 0.2] = 0
    start = GaussianMixture(K, covariance_type=covariance_type, random_state=0, reg_covar=0).fit(
        blobs(500, D, K, seed=2).astype(dtype)
    )
    model = GaussianMixture.from_parameters(
        start.weights_, start.means_, covariances=start.covariances_,
        covariance_type=covariance_type, missing="marginalize", reg_covar=0,
    )  # fmt: skip
    expected, seen = pickle.loads(pickle.dumps(model)), float(at_once)
    model.partial_fit(X, sample_weight=weight if weighted else None)
    unit = weight.sum() / np.count_nonzero(weight)
    for first in range(0, 300, at_once):
        w = weight[first : first + at_once]
        size = step_size(seen, w.sum() / unit, 10 * expected.n_parameters, 0.6)
        made = textbook_step(X[first : first + at_once], w, expected, size)
        expected.weights_, expected.means_, expected.covariances_ = made
        seen += w.sum() / unit
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    for one, other in zip(parameters_of(model), parameters_of(expected), strict=True):
        assert one.dtype == dtype or one is model.weights_
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    assert model.n_iter_ == 3 and model.n_samples_seen_ == pytest.approx(unit * at_once + weight.sum())


@all_types
def test_parts_without_missing_values_keep_their_bits(covariance_type):
    X = blobs(480, 3, 2)
    X[120:240] = with_holes(X[120:240])
    models = [
        GaussianMixture(2, covariance_type=covariance_type, random_state=0, missing=missing).fit(
            blobs(500, 3, 2, seed=1)
        )
        for missing in ("error", "marginalize", "marginalize")
    ]
    plain, by_part, at_once = models
    plain.partial_fit(X[:120])
    by_part.partial_fit(X[:120])
    for one, other in zip(parameters_of(plain), parameters_of(by_part), strict=True):
        np.testing.assert_array_equal(one, other)
    for start in (120, 240, 360):
        by_part.partial_fit(X[start : start + 120])
    at_once.partial_fit(X)
    for one, other in zip(parameters_of(at_once), parameters_of(by_part), strict=True):
        np.testing.assert_array_equal(one, other)
    assert at_once.lower_bound_ == by_part.lower_bound_


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_first_samples_with_missing_values(dtype, tmp_path):
    """No fit is tried before every feature has a value. The stream begins as `fit` does."""
    X = with_holes(blobs(200, 3, 2)).astype(dtype)
    X[:7, 2] = np.nan
    model = GaussianMixture(2, random_state=0, missing="marginalize")
    for x in X[:7]:
        model.partial_fit(x[None])
    assert not hasattr(model, "means_")
    learn(model, X[7:60], 9)
    model.save(tmp_path / "m.npz")
    loaded = GaussianMixture.load(tmp_path / "m.npz")
    for again in (model, loaded, pickle.loads(pickle.dumps(model))):
        again.partial_fit(X[60:120])
        expected = GaussianMixture(2, random_state=0, missing="marginalize", n_init=10).fit(X[:120])
        for one, other in zip(parameters_of(again), parameters_of(expected), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        assert again.partial_fit(X[120:]).n_samples_seen_ == 200


def test_errors_for_missing_values_leave_the_model_as_it_was():
    for n_learned in (2, 20, 1_000):
        model = GaussianMixture(4, random_state=0).partial_fit(blobs(n_learned))
        before = vars(model).copy()
        with pytest.raises(ValueError, match="NaN"):
            model.partial_fit(np.full((4, 3), np.nan))
        assert all(vars(model)[name] is value for name, value in before.items())
    model.set_params(missing="marginalize")
    with pytest.raises(NoDensityError, match=r"the observed features of X\[1\] have density 0"):
        model.partial_fit(np.array([[0, 0, np.nan], [1e200, np.nan, 0]]))
    unseen = GaussianMixture(4, random_state=0, missing="marginalize")
    X = blobs(1_000)
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"X\[:, 1\] has no value"):
        unseen.partial_fit(X)
    assert not hasattr(unseen, "_collected")


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_learned", [2, 20, 1_000])
@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        (np.zeros((4, 2)), {}, "X has 2 features"),
        (np.zeros((0, 3)), {}, "0 sample"),
        (np.full((4, 3), np.inf), {}, "infinity"),
        (np.zeros(3), {}, "Expected 2D array"),
        (np.zeros((4, 3)), {"sample_weight": -np.ones(4)}, "Negative"),
        (np.zeros((4, 3)), {"sample_weight": np.ones(3)}, "sample_weight.shape"),
    ],
)
@pytest.mark.parametrize("missing", ["error", "marginalize"])
def test_bad_input_leaves_the_model_as_it_was(n_learned, X, params, message, missing):
    model = GaussianMixture(4, random_state=0, missing=missing).partial_fit(blobs(n_learned))
    before = vars(model).copy()
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, **params)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


def test_rows_without_weight_are_absent():
    X = blobs(1_000)
    model = learn(GaussianMixture(2, random_state=0, forget_factor=0.99), X, 100)
    before = model.means_
    model.partial_fit(X[:5], sample_weight=np.zeros(5))
    assert model.means_ is before and model.n_samples_seen_ == 1_000


def test_samples_without_density_leave_the_model_as_it_was():
    X = blobs(1_000)
    model = learn(GaussianMixture(2, random_state=0), X, 100)
    before = vars(model).copy()
    far = np.vstack([X, [[1e200] * 3]])
    with pytest.raises(ValueError, match=r"X\[1000\] has density 0"):
        GaussianMixture(2, random_state=0).partial_fit(far)
    weight = np.ones(1_000)
    weight[::3] = 0
    for row in (3, 500, 998):  # the rows are in different parts of 120 samples
        Y = X.copy()
        Y[row + 1] = 1e200
        with pytest.raises(ValueError, match=rf"X\[{row + 1}\] has density 0"):
            model.partial_fit(Y)
        Y[row + 1], Y[row + (row % 3 == 0)] = X[0], 1e200
        with pytest.raises(ValueError, match=rf"X\[{row + (row % 3 == 0)}\] has density 0"):
            model.partial_fit(Y, sample_weight=weight)
    assert all(vars(model)[name] is value for name, value in before.items())


def test_attributes_that_users_change():
    X = blobs(1_000)
    model = learn(GaussianMixture(2, random_state=0), X, 100)
    model.means_ = model.means_.tolist()
    model.partial_fit(X[:10])
    model.n_samples_seen_ = 0
    model.partial_fit(X[:100])
    assert model.n_samples_seen_ == 100
    single = learn(GaussianMixture(2, random_state=0), X.astype(np.float32), 100)
    with pytest.raises(ValueError, match="beyond the range of float32"):
        single.partial_fit(np.full((1, 3), 1e39))
    with pytest.raises(ValueError, match="too large for a float64"):
        for _ in range(3):
            model.partial_fit(X[:1], sample_weight=[1e308])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learning_decay": 0.5}, r"'learning_decay' .* must be a float in the range \(0.5, 1.0\]"),
        ({"learning_decay": 1.5}, "'learning_decay'"),
        ({"forget_factor": 0}, r"'forget_factor' .* must be a float in the range \(0.0, 1.0\]"),
        ({"forget_factor": "x"}, "'forget_factor'"),
        ({"n_components": 3}, "partial_fit continues a mixture of 2 components .* n_components is 3"),
        ({"covariance_type": "diag"}, "precisions_cholesky_ has shape"),
    ],
)
def test_bad_parameters(params, message):
    model = GaussianMixture(2, random_state=0).partial_fit(blobs(500)).set_params(**params)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(blobs(10))


# --- weights of any scale; memory; what a stream waits for ----------------------------------


@all_types
@pytest.mark.parametrize("scale", [1e-6, 0.3, 1e6])
@pytest.mark.parametrize("forget_factor", [None, 0.999])
@pytest.mark.parametrize("fitted", [False, True])
def test_only_the_proportions_of_the_weights_matter(covariance_type, scale, forget_factor, fitted):
    """A common factor of all weights changes the model by rounding alone, as in `fit`.

    Rounding may decide which of two equally good starts is the best, so the components may have another order.
    """
    X = blobs(6_000)
    proportions = np.random.default_rng(0).choice([0.0, 1.0, 2.0], len(X))
    for weight in (np.ones(len(X)), proportions):
        models = []
        for w in (weight, weight * scale):
            model = GaussianMixture(
                4, covariance_type=covariance_type, random_state=0, forget_factor=forget_factor
            )
            if fitted:
                model.fit(X[:1_000], sample_weight=w[:1_000])
            models.append(learn(model, X, 500, sample_weight=w))
        held_out = blobs(500, seed=0)
        np.testing.assert_allclose(*(m.score_samples(held_out) for m in models), rtol=1e-10)
        np.testing.assert_allclose(*(np.sort(m.weights_) for m in models), rtol=1e-10)
        assert models[1].n_samples_seen_ == pytest.approx(models[0].n_samples_seen_ * scale)


@pytest.mark.parametrize("forget_factor", [None, 0.99])
def test_after_from_parameters_the_first_batch_sets_the_unit_of_the_weights(forget_factor):
    X = blobs(3_000)
    first = GaussianMixture(4, random_state=0).fit(X[:500])
    scores = []
    for weight in (1.0, 1e-6, 1e6):
        model = GaussianMixture.from_parameters(
            first.weights_, first.means_, covariances=first.covariances_, forget_factor=forget_factor
        )
        learn(model, X, 300, sample_weight=np.full(len(X), weight))
        scores.append(model.score(X))
    np.testing.assert_allclose(scores, scores[0], rtol=1e-10)


def test_a_collapse_in_the_first_samples_is_reported():
    """A component on the samples at one point, one in thirty, is reported."""
    X = np.random.default_rng(0).normal(size=(600, 1))
    X[::60], X[1::60] = 7.0, 7.0
    with pytest.warns(UserWarning, match=r"component \d collapsed") as caught:
        learn(GaussianMixture(2, random_state=0), X, 30)
    assert {w.filename for w in caught} == {__file__}


def test_the_filters_of_warnings_stay_as_they_are():
    """They belong to the process, so that a change could silence the warnings of other threads."""
    before, during = list(warnings.filters), []

    def start(X, n_components, random_state):
        during.append(list(warnings.filters))
        return np.arange(len(X)) % n_components

    X = np.repeat([[0.0, 0.0], [5.0, 5.0]], 30, axis=0)  # both components collapse
    model = GaussianMixture(2, init_params=start, reg_covar=1e-9)
    learn(model, X, 5)
    assert during and all(filters == before for filters in during)


def test_weights_too_large_beside_those_of_the_first_samples():
    model = GaussianMixture(2, random_state=0)
    model.fit(blobs(100), sample_weight=np.full(100, 1e-310))
    before = dict(vars(model))
    with pytest.raises(ValueError, match="compared with the weights of the first samples"):
        model.partial_fit(blobs(100))
    assert vars(model) == before


def test_equal_weights_are_like_no_weights():
    X = blobs(6_000)
    models = [
        learn(GaussianMixture(4, random_state=0), X, 500, **weights)
        for weights in ({}, {"sample_weight": np.ones(len(X))}, {"sample_weight": np.full(len(X), 8.0)})
    ]
    for model in models[1:]:
        for one, other in zip(parameters_of(model), parameters_of(models[0]), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_tied_stream_of_many_components_takes_little_memory():
    """The K²/2 pairs of components take D numbers each. With D²/2 they would take 87 MB here."""
    K, D = 64, 100
    rng = np.random.RandomState(0)
    statistics = accumulate(
        rng.randn(2_000, D), np.full(K, 1 / K), rng.randn(K, D), np.eye(D), "tied"
    )
    tracemalloc.start()
    moved = statistics.about_means(statistics.shift + 0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    before, _ = maximization_step(statistics, 1e-6)
    after, _ = maximization_step(statistics.about_means(before.means), 1e-6)
    np.testing.assert_allclose(after.covariances, before.covariances, rtol=0, atol=1e-12)
    assert moved.values.shape == statistics.values.shape


def test_the_error_before_the_first_fit_says_what_is_missing():
    X = blobs(100)
    model = GaussianMixture(4, random_state=0).partial_fit(X[:1])
    for call in (model.predict, model.score, lambda X: model.sample(), lambda X: model.save("nowhere")):
        with pytest.raises(ValueError, match="partial_fit has collected 1 sample; its first fit needs 4"):
            call(X)
    model.partial_fit(X[1:4])
    assert model.predict(X).shape == (100,)
    same = GaussianMixture(2, reg_covar=0).partial_fit(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="collected 5 samples; no fit of them has succeeded yet"):
        same.predict(np.zeros((1, 2)))
