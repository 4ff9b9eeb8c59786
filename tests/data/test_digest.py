"""Tests of the digest by which a checkpoint recognises its data."""

import pickle

import numpy as np
import pytest

from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import Block
from gmm_core.data.digest import DataDigest, Digest, digest_of

N, D = 30_000, 3  # X has 11 pieces in float64, the weights have 3 and a part of one


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, D)).astype(dtype), rng.uniform(0.5, 1, size=N)


def digest(X, weight, cuts=()):
    made = DataDigest()
    for rows in np.split(np.arange(len(X)), cuts):
        part = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
        made = pickle.loads(pickle.dumps(made.and_rows(X[part], weight[part])))
    return made.end()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_do_not_matter(dtype):
    X, weight = data(dtype)
    expected = digest(X, weight)
    rng = np.random.default_rng(1)
    for n in (1, 2, 7, 40):
        assert digest(X, weight, np.sort(rng.integers(0, N + 1, n))) == expected
    piece = 1 << 16  # bytes; cuts at the ends of pieces, and beside them, make no difference
    for row in (piece // (D * X.itemsize), piece // 8):
        for cut in (row - 1, row, row + 1):
            assert digest(X, weight, [cut]) == expected
    blocks = [Block(slice(0, 100), X[:100], weight[:100]), Block(slice(100, N), X[100:], weight[100:])]
    assert digest_of(blocks) == expected == ArrayPass(X, weight, 2, "full", 1).checksum()


def test_every_byte_and_every_place_matters():
    X, weight = data()
    seen = {digest(X, weight), digest(X, weight[:0]), digest(X, np.ones(N)), digest(X[::-1].copy(), weight)}
    assert len(seen) == 4
    for row in (0, 2729, 2731, N - 1):  # the first piece of X ends within row 2730
        for array in (X, weight):
            array.reshape(N, -1).view("u1")[row, -1] ^= 1
            seen.add(digest(X, weight))
            array.reshape(N, -1).view("u1")[row, -1] ^= 1
    assert len(seen) == 4 + 8
    swapped = X.copy()
    swapped[[5, 20_000]] = X[[20_000, 5]]
    assert digest(swapped, weight) not in seen


def test_samples_and_weights_are_kept_apart():
    x = data()[1]
    column, other = x[:, None], x[::-1].copy()
    assert digest(column, x) != digest(2 * column, 2 * x)
    assert digest(column, other) != digest(other[:, None], x)
    assert digest(column, x[:0]) != digest(column[:0], x)
    assert Digest().and_array(x).end() == Digest().and_array(column).end()
