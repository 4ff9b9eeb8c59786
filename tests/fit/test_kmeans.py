"""Tests of k-means: the kernels against the NumPy baseline, and the draws of the seeding.

A squared distance is a sum of D squares of differences, so its relative error is at most (D + 3) eps.
Sums of w (x - center) over samples are in float64 even if the data are float32; the weights have the
dtype of the data.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gmm_core import reference
from gmm_core.data.arrays import ArrayPass
from gmm_core.fit import kmeans as km
from gmm_core.model.parameters import Prepared

Make = Callable[..., Any]  # the type of the fixtures that return functions
EPS = float(np.finfo(np.float64).eps)
SHAPES = [(1, 1), (2, 2), (5, 3), (3, 4), (17, 7), (2, 8), (3, 9), (5, 33), (17, 65)]  # (K, D)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture
def make_data(make_pass: Make) -> Make:
    """Return a function that makes an ArrayPass with short chunks, as k-means uses it."""

    def make(
        X: np.ndarray, weight: np.ndarray | None, K: int, n_threads: int = 1, one_slice: bool = True
    ) -> ArrayPass:
        none = np.empty(0)
        mixture = Prepared(none, np.empty((K, X.shape[1])), none, none, "spherical")
        data: ArrayPass = make_pass(X, weight, mixture, n_threads, one_slice=one_slice)
        return data

    return make


def clusters(
    n: int, K: int, D: int, dtype: Any, offset: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([n, K, D])
    centers = offset + 3 * rng.normal(size=(K, D))
    X = (centers[rng.integers(K, size=n)] + rng.normal(size=(n, D))).astype(dtype)
    return X, centers + rng.normal(size=(K, D)), rng.uniform(0.5, 2, size=n)


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_dtypes
def test_lloyd_step(
    dtype: Any, shape: tuple[int, int], offset: float, isa: str, make_data: Make
) -> None:
    K, D = shape
    X, centers, weight = clusters(1200, K, D, dtype, offset)
    eps = float(np.finfo(dtype).eps) + EPS
    distances = reference.squared_distances(X.astype(np.float64), centers)
    bound = (D + 3) * eps * ((abs(X[:, None] - centers) + eps * abs(centers)) ** 2).sum(axis=2)
    # The first step sums over all rows; the second one updates the sums by the labels that change.
    elsewhere = centers[::-1] + np.linspace(0, 1, D)
    chunk_rows = make_data(X, None, K).chunk_rows
    for n in (
        1,
        7,
        8,
        9,
        15,
        16,
        17,
        chunk_rows - 1,
        chunk_rows,
        chunk_rows + 1,
        2 * chunk_rows + 33,
    ):
        for w in (None, weight[:n]):
            lloyd = km._Lloyd(make_data(X[:n], w, K), elsewhere)
            assert lloyd.step(elsewhere, np.empty(0, dtype))[0] == n
            before = lloyd.labels.copy()
            found = np.full(n + 1, -1, dtype)
            n_changed, weights, means = lloyd.step(centers, found[:n])
            labels, rows = lloyd.labels, np.arange(n)
            chosen, least = distances[rows, labels], distances[:n].min(axis=1)
            assert (chosen <= least + 2 * bound[rows, labels]).all()
            assert (abs(found[:n] - chosen) <= bound[rows, labels]).all() and found[n] == -1
            assert n_changed == (labels != before).sum()
            # A term that was added and subtracted leaves an error of its size, so the bound counts the terms
            # of both steps.
            now, then = (
                np.eye(K)[index] * (1 if w is None else w[:, None]) for index in (labels, before)
            )
            count = now.sum(axis=0)
            terms = X[:n, None].astype(np.float64) - elsewhere
            size = np.einsum("nk,nkd->kd", now + then, abs(terms))
            relative = eps + 8 * np.sqrt(n) * EPS
            assert (abs(weights - count) <= relative * (now + then).sum(axis=0)).all()
            moves = weights[:, None] * (means - elsewhere)
            filled = count > 0
            assert (means[~filled] == centers[~filled]).all()
            error = abs(moves - np.einsum("nk,nkd->kd", now, terms))[filled]
            rounding = 2 * EPS * weights[:, None] * (abs(means) + abs(elsewhere))
            assert (error <= (relative * size + rounding)[filled]).all()


@both_dtypes
def test_a_cluster_that_loses_its_weight_is_summed_anew(dtype: Any, isa: str, make_data: Make) -> None:
    """Updating the sum would give 1e16 + 1 - 1e16, which is 0 in float64, so the sum is made anew."""
    X, none = np.array([[0.0], [1.0], [5.0]], dtype), np.empty(0, dtype)
    lloyd = km._Lloyd(make_data(X, np.array([1e16, 1.0, 1.0]), 2), np.array([[1.0], [99.0]]))
    for centers, expected in (((1, 99), [0, 0, 0]), ((5, 0), [1, 1, 0]), ((99, 0), [1, 1, 1])):
        _, weights, means = lloyd.step(np.array(centers, np.float64)[:, None], none)
        assert lloyd.labels.tolist() == expected
        if expected == [1, 1, 0]:
            assert (weights[0], means[0]) == (1, 5)
    assert (weights[0], means[0]) == (0, 99)


def test_lloyd_takes_the_first_of_equally_near_centers(isa: str, make_data: Make) -> None:
    X = np.array([[0.0], [1], [2], [3], [4]])
    centers = np.array([[1.0], [3], [1]])
    lloyd = km._Lloyd(make_data(X, None, 3), centers)
    lloyd.step(centers, np.empty(0))
    assert lloyd.labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_dtypes
def test_seeding_step(dtype: Any, shape: tuple[int, int], isa: str, make_data: Make) -> None:
    n_trials, D = shape
    X, _, weight = clusters(1200, 3, D, dtype)
    X64, eps = X.astype(np.float64), float(np.finfo(dtype).eps) + EPS
    chunk_rows = make_data(X, None, 1).chunk_rows
    for n in (n_trials, chunk_rows - 1, chunk_rows + 1, 2 * chunk_rows + 33):
        for w in (None, weight[:n]):
            seeding = km._Seeding(make_data(X[:n], w, 1))
            v = np.ones(n) if w is None else w.astype(dtype)
            relative = (D + 3 + 24) * eps + 4 * np.sqrt(n) * EPS
            candidates = np.arange(n_trials) * n // n_trials
            nearest = np.full(n, np.inf)
            for center in (n // 2, n // 3):
                chunk_sums = seeding.step(np.intp(center), candidates)
                to_center = reference.squared_distances(X64[:n], X64[[center]])[:, 0]
                nearest = np.minimum(nearest, to_center)
                assert (abs(seeding.nearest - nearest) <= (D + 3) * eps * nearest).all()
                to_candidates = reference.squared_distances(X64[:n], X64[candidates])
                least = v[:, None] * np.minimum(nearest[:, None], to_candidates)
                expected = np.add.reduceat(least, range(0, n, chunk_rows))
                np.testing.assert_allclose(chunk_sums, expected, rtol=relative)


@both_dtypes
def test_bits_do_not_depend_on_threads_and_slices(
    dtype: Any, isa: str, make_data: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(km, "_MAX_ITER", 2)
    for K, D in ((3, 2), (9, 33)):  # with few sums and with many sums
        X, _, weight = clusters(6000, K, D, dtype)
        n = 10 * make_data(X, None, K).chunk_rows + 7
        results = []
        for n_threads, one_slice in ((1, True), (1, False), (2, True), (7, True), (7, False)):
            data = make_data(X[:n], weight[:n], K, n_threads, one_slice)
            assert data.n_threads == n_threads
            results.append(km.kmeans(data, K, np.random.RandomState(0), 0.0))
        for other in results[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@both_dtypes
def test_kmeans_follows_the_baseline(dtype: Any, make_data: Make) -> None:
    """k-means reaches the fixed point of the baseline from the same seeds.

    The tolerance is the rounding of a mean of at most n samples.
    """
    for K, D in ((2, 1), (3, 2), (5, 8)):
        X, _, weight = clusters(1500, K, D, dtype)
        for w in (None, weight):
            data = make_data(X, w, K)
            labels, centers = km.kmeans(data, K, np.random.RandomState(3), 0.0)
            seeds = X[km.seed_rows(data, K, np.random.RandomState(3))].astype(np.float64)
            expected = reference.lloyd(X.astype(np.float64), seeds, w, tol=0)
            assert np.array_equal(labels, expected[0])
            eps = float(np.finfo(dtype).eps) + 1500 * EPS
            np.testing.assert_allclose(centers, expected[1], rtol=0, atol=4 * eps * abs(X).max())


def test_draws_are_those_of_the_whole_cumulative_sum(make_data: Make) -> None:
    """Drawing a chunk and then a row gives the same row as drawing from the sum over all rows.

    The data are integers, whose sums are exact.
    """
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, size=(3000, 2)).astype(np.float64)
    weight = rng.integers(3, size=3000).astype(np.float64)
    seeding = km._Seeding(make_data(X, weight, 1))
    first, second = np.intp(0), np.array([100, 2000])
    chunk_sums = seeding.step(first, second)[:, 1]  # `nearest` does not include row 2000 yet
    assert len(chunk_sums) > 10
    mass = weight * np.minimum(*(((X - X[row]) ** 2).sum(axis=1) for row in (0, 2000)))
    cumulative = np.cumsum(mass)
    uniforms = (rng.integers(int(cumulative[-1]), size=2000) + 0.5) / cumulative[-1]
    drawn = seeding.draw(second[1], chunk_sums, uniforms)
    assert np.array_equal(
        drawn, np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    )
    assert (mass[drawn] > 0).all()


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1, 0)])
def test_extreme_draws_have_weight(uniform: float, make_data: Make) -> None:
    weight = np.array([0, 0, 1, 0, 0.1, 0, 0])
    u = np.array([uniform])
    expected = 2 if uniform == 0 else 4
    assert km.draw_rows(np.cumsum(weight), 7, u) == [expected]
    assert km.draw_rows(None, 7, u) == [0 if uniform == 0 else 6]
    seeding = km._Seeding(make_data(np.arange(7.0)[:, None], weight, 1))
    first = np.intp(0)
    chunk_sums = seeding.step(first, np.array([first]))[:, 0]
    assert seeding.draw(first, chunk_sums, u) == [expected]


def test_weights_are_repetitions(make_data: Make) -> None:
    """Integer weights give the seeds and labels of repeated rows. The sums of integers are exact."""
    rng = np.random.default_rng(1)
    X = rng.integers(-50, 50, size=(900, 2)).astype(np.float64)
    times = rng.integers(4, size=900)
    rows = np.repeat(np.arange(900), times)
    for seed in range(20):
        weighted, repeated = make_data(X, times * 1.0, 4), make_data(X[rows], None, 4)
        seeds = km.seed_rows(weighted, 4, np.random.RandomState(seed))
        again = km.seed_rows(repeated, 4, np.random.RandomState(seed))
        assert np.array_equal(X[seeds], X[rows][again])
        labels, centers = km.kmeans(weighted, 4, np.random.RandomState(seed), 0.0)
        other, other_centers = km.kmeans(repeated, 4, np.random.RandomState(seed), 0.0)
        assert np.array_equal(labels[rows], other)
        np.testing.assert_allclose(centers, other_centers, rtol=0, atol=900 * EPS * 50)


def test_seeds_are_spread(make_data: Make) -> None:
    """If clusters are far apart, greedy k-means++ finds a seed in each, for any random numbers."""
    X = np.concatenate(
        [c + np.random.default_rng(2).normal(size=(100, 2)) for c in (0, 1e3, 2e3, 3e3, 4e3)]
    )
    for seed in range(20):
        seeds = km.seed_rows(make_data(X, None, 5), 5, np.random.RandomState(seed))
        assert sorted(seeds // 100) == [0, 1, 2, 3, 4]


def test_an_empty_cluster_moves_to_the_farthest_sample(
    make_data: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.array([[200.0], [50], [0], [1], [10], [11], [300]])
    weight = np.array([0.0, 1, 1, 1, 1, 1, 0])  # the farthest samples have weight 0
    monkeypatch.setattr(km, "seed_rows", lambda *args: np.array([2, 2, 4]))
    labels, centers = km.kmeans(make_data(X, weight, 3), 3, np.random.RandomState(0), 0.0)
    assert labels[1:6].tolist() == [1, 0, 0, 2, 2]
    assert centers.tolist() == [[0.5], [50], [10.5]]


def test_fewer_points_than_clusters(make_data: Make) -> None:
    X = np.repeat(np.array([[1.0, 2], [3, 4]]), 30, axis=0)
    labels, centers = km.kmeans(make_data(X, None, 5), 5, np.random.RandomState(0), 0.0)
    assert np.array_equal(centers[labels], X)


def test_a_run_of_weight_zero_is_never_drawn(make_data: Make) -> None:
    """Rows in a tile without weight are not drawn, though `nearest` stays infinite and 0 · inf is NaN."""
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(3000, 2)) + 1000, rng.normal(size=(3000, 2))])
    weight = np.repeat([0.0, 1.0], 3000)
    seeding = km._Seeding(make_data(X, weight, 1))
    first = np.intp(4000)
    chunk_sums = seeding.step(first, np.array([first]))[:, 0]
    drawn = seeding.draw(first, chunk_sums, rng.uniform(size=500))
    assert (weight[drawn] > 0).all()
