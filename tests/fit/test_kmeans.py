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
            assert lloyd.step(elsewhere)[0] == n
            before = lloyd.labels.copy()
            found = np.full(n + 1, -1, dtype)
            n_changed, n_empty, means, squared_moves = lloyd.step(centers, found[:n])
            weights = lloyd.weights
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
            assert (means[~filled] == centers[~filled]).all() and n_empty == (~filled).sum()
            expected_moves = ((means - centers) ** 2).sum()
            assert abs(squared_moves - expected_moves) <= K * D * EPS * expected_moves
            error = abs(moves - np.einsum("nk,nkd->kd", now, terms))[filled]
            rounding = 2 * EPS * weights[:, None] * (abs(means) + abs(elsewhere))
            assert (error <= (relative * size + rounding)[filled]).all()


@both_dtypes
def test_a_cluster_that_loses_its_weight_is_summed_anew(dtype: Any, isa: str, make_data: Make) -> None:
    """Updating the sum would give 1e16 + 1 - 1e16, which is 0 in float64, so the sum is made anew."""
    X = np.array([[0.0], [1.0], [5.0]], dtype)
    lloyd = km._Lloyd(make_data(X, np.array([1e16, 1.0, 1.0]), 2), np.array([[1.0], [99.0]]))
    for centers, expected in (((1, 99), [0, 0, 0]), ((5, 0), [1, 1, 0]), ((99, 0), [1, 1, 1])):
        _, _, means, _ = lloyd.step(np.array(centers, np.float64)[:, None])
        weights = lloyd.weights
        assert lloyd.labels.tolist() == expected
        if expected == [1, 1, 0]:
            assert (weights[0], means[0]) == (1, 5)
    assert (weights[0], means[0]) == (0, 99)


def test_lloyd_takes_the_first_of_equally_near_centers(isa: str, make_data: Make) -> None:
    X = np.array([[0.0], [1], [2], [3], [4]])
    centers = np.array([[1.0], [3], [1]])
    lloyd = km._Lloyd(make_data(X, None, 3), centers)
    lloyd.step(centers)
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


# --- bounds: the labels are those of plain Lloyd ---------------------------------------------------


def data_sets(dtype: Any) -> dict[str, np.ndarray]:
    """Return samples that are separated, overlapping, far from 0, repeated, tied, or tiny."""
    rng = np.random.default_rng(5)
    spread = 4 * rng.normal(size=(6, 3))[rng.integers(6, size=500)] + rng.normal(size=(500, 3))
    return {
        name: X.astype(dtype)
        for name, X in {
            "separated": 8 * spread[:, :2],
            "overlapping": rng.normal(size=(600, 20)),
            "one feature": rng.normal(size=(500, 1)),
            "far": spread + 1e6,
            "very far": spread + 1e9,
            "repeated": np.repeat(rng.normal(size=(30, 2)), 20, axis=0),
            "lattice": rng.integers(-4, 5, size=(500, 2)),
            "tiny": 1e-21 * spread,  # whose squares are subnormal in float32
        }.items()
    }


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("K", [1, 2, 9, 16, 40])
@both_dtypes
def test_bounds_do_not_change_labels(
    dtype: Any, K: int, weighted: bool, isa: str, make_data: Make
) -> None:
    """The labels are those of a step that evaluates every row, and of plain Lloyd in NumPy.

    Where two centers are equally near up to rounding, plain Lloyd may choose the other one. With K = 40 there are
    more centers than different points in one of the data sets.
    """
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    for name, X in data_sets(dtype).items():
        rng = np.random.default_rng(K)
        weight = rng.integers(4, size=len(X)) * 1.0 if weighted else None
        present = np.ones(len(X), bool) if weight is None else weight > 0
        rows, D = X[present].astype(np.float64), X.shape[1]
        centers = X[rng.choice(len(X), K)].astype(np.float64)
        run = km._Lloyd(make_data(X, weight, K), centers)
        for _ in range(8):
            means = run.step(centers)[2]
            labels = run.labels[present]
            assert (run.labels[~present] == -1).all()
            dense = km._Lloyd(make_data(X, weight, K), centers)
            dense.step(centers)
            assert np.array_equal(run.labels, dense.labels), name
            distances = reference.squared_distances(rows, centers)
            plain = distances.argmin(axis=1)
            chosen = distances[np.arange(len(rows)), labels]
            # In float32 a center is known to eps², and squares below `tiny` lose digits.
            error = (D + 5) * eps * chosen + 4 * D * tiny
            error += 8 * D * np.sqrt(chosen) * eps**2 * abs(centers).max()
            differ = labels != plain
            assert (chosen - distances.min(axis=1) <= error)[differ].all(), name
            if name in ("separated", "overlapping", "one feature"):
                assert not differ.any()
            centers = means


@both_dtypes
def test_the_first_of_tied_centers_is_taken(dtype: Any, isa: str, make_data: Make) -> None:
    """Distances between integers are exact. Ties are common, and some centers coincide."""
    X = data_sets(dtype)["lattice"]
    for K in (3, 16, 17, 40):
        centers = np.random.default_rng(K).integers(-4, 5, size=(K, 2)).astype(np.float64)
        run = km._Lloyd(make_data(X, None, K), centers)
        for moved in (centers, centers + [1, 0], centers + [1, 1]):
            run.step(moved)
            expected = reference.squared_distances(X.astype(np.float64), moved).argmin(axis=1)
            assert np.array_equal(run.labels, expected)


@both_dtypes
def test_most_rows_are_skipped(dtype: Any, make_data: Make) -> None:
    """A row whose gap is larger than the moves of two centers is not read."""
    X, centers, _ = clusters(3000, 4, 2, dtype)
    run = km._Lloyd(make_data(X, None, 4), centers)
    run.step(centers)
    gaps = run.gaps.copy()
    skipped = gaps > 0.5
    assert 0.3 < skipped.mean() < 1
    run.data.X[skipped] = np.nan  # so that a row that is evaluated would lose its label
    before = run.labels.copy()
    run.step(centers + 0.1)  # the gap falls by 0.1 · √2 · 2
    assert np.array_equal(run.labels[skipped], before[skipped])
    assert (abs(run.gaps - (gaps - 0.2 * np.sqrt(2)))[skipped] <= 1e-5).all()


@both_dtypes
def test_bits_of_long_runs_do_not_depend_on_threads(
    dtype: Any, make_data: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both phases are bit-identical for 1, 2 and 7 threads, with weights of 0 and without."""
    monkeypatch.setattr(km, "_LEAST_ROWS", 1000)
    monkeypatch.setattr(km, "_ROWS_PER_CLUSTER", 10)
    X, _, weight = clusters(9000, 7, 5, dtype)
    weight[::5] = 0
    for w in (None, weight):
        results = [
            km.kmeans(make_data(X, w, 7, n_threads), 7, np.random.RandomState(1), 0.0)
            for n_threads in (1, 2, 7)
        ]
        for other in results[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


# --- large data: most iterations go over a subset --------------------------------------------------


def test_large_data_are_clustered_by_a_subset(make_data: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds and first iterations come from a subset, and the iterations over all rows end with their clusters."""
    rows_of_steps: list[int] = []
    step = km._Lloyd.step

    def counted(self: Any, *args: Any) -> Any:
        rows_of_steps.append(len(self.data.X))
        return step(self, *args)

    monkeypatch.setattr(km._Lloyd, "step", counted)
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=20_000)
    X = 20.0 * np.eye(4)[truth] + rng.normal(size=(20_000, 4))
    labels, centers = km.kmeans(make_data(X, None, 4), 4, np.random.RandomState(0), 0.0)
    first = rows_of_steps.count(km._LEAST_ROWS)
    assert 1 <= first <= km._FIRST_ITER
    assert set(rows_of_steps[:first]) == {km._LEAST_ROWS} and set(rows_of_steps[first:]) == {20_000}
    pairs = set(zip(labels.tolist(), truth.tolist(), strict=True))
    assert len(pairs) == 4
    means = [X[labels == k].mean(axis=0) for k in range(4)]
    np.testing.assert_allclose(centers, means, rtol=0, atol=20_000 * EPS * 30)


def test_weights_of_large_data_are_repetitions(make_data: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The subset is drawn by weight: the same labels as with repeated rows."""
    monkeypatch.setattr(km, "_LEAST_ROWS", 100)
    monkeypatch.setattr(km, "_ROWS_PER_CLUSTER", 10)
    rng = np.random.default_rng(1)
    X = rng.integers(-50, 50, size=(900, 2)).astype(np.float64)
    times = rng.integers(1, 4, size=900)
    rows = np.repeat(np.arange(900), times)
    for seed in range(10):
        labels, _ = km.kmeans(make_data(X, times * 1.0, 4), 4, np.random.RandomState(seed), 0.0)
        other, _ = km.kmeans(make_data(X[rows], None, 4), 4, np.random.RandomState(seed), 0.0)
        assert np.array_equal(labels[rows], other)
