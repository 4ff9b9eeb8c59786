"""Tests of the random number generators that are made from seeds."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from gmm_core.core.random import check_random_state


def test_random_state():
    state = np.random.RandomState(3)
    assert check_random_state(state) is state
    assert check_random_state(np.int64(3)).uniform() == state.uniform()
    assert check_random_state(None) is check_random_state(np.random)
    for seed in ("a", -1, 2**32, 1.5, np.random.default_rng(0), [1]):
        with pytest.raises(ValueError, match="cannot be used to seed"):
            check_random_state(seed)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 - 1])
def test_a_seed_gives_the_numbers_of_numpy_randomstate(seed):
    made, expected = check_random_state(seed), np.random.RandomState(seed)
    for draw in (
        lambda r: r.uniform(size=700), lambda r: r.standard_normal(size=3), lambda r: r.randint(2**31),
        lambda r: r.permutation(9), lambda r: r.multinomial(5, [0.5, 0.5]),
    ):
        np.testing.assert_array_equal(draw(made), draw(expected))
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(other.uniform(size=9), copy.deepcopy(made).uniform(size=9))
