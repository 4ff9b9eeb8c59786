"""Tests of the subset of rows from which the starts of a fit to large data are found."""

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.data.blocks import Block
from gmm_core.data.subset import (
    NO_ROWS,
    Cursor,
    draw_positions,
    draw_subset,
    rows_for_start,
    subset_size,
)

NONE = np.empty(0)


def rows(n, weight=None, cuts=()):
    X = np.arange(n, dtype=float)[:, None]
    edges = [0, *cuts, n]
    return [
        Block(slice(a, b), X[a:b], NONE if weight is None else weight[a:b])
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]


def drawn(n, size, weight=None, cuts=(), seed=0):
    totals = NO_ROWS.and_rows(n, NONE if weight is None else weight)
    scaled = None if weight is None else np.ldexp(weight, -totals.exponent)
    blocks = rows(n, scaled, cuts)
    X, noise = draw_subset(blocks, totals, size, np.random.RandomState(seed))
    assert noise.size == 0
    return X[:, 0].astype(int)


@pytest.mark.parametrize("cuts", [(), (7, 900, 2500)])
def test_rows_keep_their_noise(cuts):
    n, weight = 3000, np.random.default_rng(0).uniform(0, 1, 3000)
    weight[::3] = 0
    blocks = [
        Block(block.rows, block.X, block.sample_weight, np.repeat(-block.X[:, :1], 4, axis=1))
        for block in rows(n, weight, cuts)
    ]
    totals = NO_ROWS.and_rows(n, weight)
    for size, seed in ((50, 0), (2500, None), (5000, None)):
        found = rows_for_start(blocks, totals, size, seed)
        np.testing.assert_array_equal(found.noise, np.repeat(-found.X[:, :1], 4, axis=1))
        assert len(found.X) == (50 if seed == 0 else 2000 if size < n else n)


def test_one_row_of_each_part():
    n, size = 100_003, 1_000
    found = drawn(n, size)
    assert len(found) == size
    # the rows are divided into `size` parts; part i goes from i n / size to (i + 1) n / size
    np.testing.assert_array_equal((found + 1) * size // n >= np.arange(size), True)
    np.testing.assert_array_equal(found * size // n <= np.arange(size), True)


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_do_not_matter(weighted):
    n = 200_000
    weight = np.random.RandomState(1).exponential(size=n) if weighted else None
    expected = drawn(n, 500, weight)
    for cuts in ([1], [65_536, 65_537], range(999, n, 7_777), [0, 0, 5]):
        np.testing.assert_array_equal(drawn(n, 500, weight, cuts), expected)


def test_a_weight_is_a_number_of_copies():
    weight = np.random.RandomState(2).randint(0, 4, 50_000).astype(float)
    repeated = np.repeat(np.arange(50_000), weight.astype(int))
    found = drawn(50_000, 700, weight)
    np.testing.assert_array_equal(found, repeated[drawn(len(repeated), 700)])
    assert (weight[found] > 0).all()
    np.testing.assert_array_equal(drawn(50_000, 700, np.full(50_000, 2.0)), drawn(50_000, 700))


def test_draws_are_in_proportion_to_weight():
    weight = np.ones(1_000)
    weight[300:400] = 9
    counts = np.zeros(1_000)
    for seed in range(200):
        np.add.at(counts, drawn(1_000, 100, weight, seed=seed), 1)
    # Half of the 20,000 draws are expected among these rows. The draws are stratified, so their number
    # varies less than a binomial one.
    assert abs(counts[300:400].sum() - 10_000) < 4 * np.sqrt(20_000 / 4)


@pytest.mark.parametrize("weight", [[0, 0, 1, 0], [1e-300, 1, 0, 0], [1e300, 1e300, 0, 1e-300]])
def test_rows_without_weight_are_never_drawn(weight):
    weight = np.array(weight)
    found = drawn(4, 1_000, weight)
    assert len(found) == 1_000 and (weight[found] > 0).all()


def test_the_last_position_is_within_the_rows():
    positions = np.full(1, 1 - 2.0**-53)
    for n in (1, 3, 10**6):
        assert Cursor(positions, NO_ROWS.and_rows(n, NONE)).advance(n, NONE) == [n - 1]
    assert (draw_positions(10**6, np.random.RandomState(0)) < 1).all()
    assert (np.diff(draw_positions(10**6, np.random.RandomState(0))) > 0).all()


@pytest.mark.filterwarnings("ignore:component . collapsed")  # with a start from ten rows
def test_all_rows_of_small_data_are_used():
    X = np.random.RandomState(0).randn(2_000, 2)
    seen = []

    def labels(X, n_components, random_state):
        seen.append(X.copy())
        return random_state.randint(n_components, size=len(X))

    for init_size, expected in ((None, 2_000), (2_000, 2_000), (1_999, 1_999), (10, 10)):
        GaussianMixture(
            2, init_params=labels, init_size=init_size, random_state=0, tol=1e3
        ).fit(X)
        assert len(seen[-1]) == expected
        if expected == 2_000:
            np.testing.assert_array_equal(seen[-1], X)


def test_the_seed_determines_the_rows():
    X = np.random.RandomState(0).randn(5_000, 2)
    params = {"init_size": 300, "init_params": "random_from_data", "tol": 1e3}
    one, same, other = (
        GaussianMixture(3, random_state=seed, **params).fit(X).means_ for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()


def test_the_default_size():
    assert subset_size(None, 8, 3) == 3_000_000 // 7
    assert subset_size(None, 100, 512) == 10 * 100 * 512  # ten rows for each component and feature
    assert subset_size(77, 8, 3) == 77


@pytest.mark.parametrize("value", [1, 0, -5, 2.0, True, "all"])
def test_bad_sizes(value):
    with pytest.raises(ValueError, match="'init_size' parameter .* must be"):
        GaussianMixture(2, init_size=value).fit(np.eye(5))


@pytest.mark.parametrize("init_params", ["kmeans", "random"])
def test_a_subset_has_a_sample_for_each_component(init_params):
    with pytest.raises(ValueError, match="init_size=2, expected at least n_components=5"):
        GaussianMixture(5, init_size=2, init_params=init_params).fit(np.eye(9))


def test_the_error_for_a_callable_mentions_the_subset():
    X = np.random.RandomState(0).randn(100, 2)
    model = GaussianMixture(2, init_params=lambda *_: np.zeros(100, int), init_size=50)
    with pytest.raises(ValueError, match=r"got shape \(100,\). Large data are reduced to init_size rows"):
        model.fit(X)
