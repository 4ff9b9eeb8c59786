"""Tests of the number of samples to draw."""

from __future__ import annotations

import numpy as np
import pytest

from gmm_core.infer.draw import check_n_samples


def test_n_samples_to_draw():
    drawn = [check_n_samples(n) for n in (1, 3, np.int64(3), 3.0, True)]
    assert drawn == [1, 3, 3, 3, 1]
    assert all(type(n) is int for n in drawn)
    for n in (0, -1, 0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"Invalid value for 'n_samples': {n} . "):
            check_n_samples(n)
    for n in (2.5, 3.9):
        with pytest.raises(ValueError, match=f"'n_samples': {n}, expected a whole number"):
            check_n_samples(n)
    for n in ("a", None, [3], 1j):
        with pytest.raises(TypeError, match="n_samples must be an int, got"):
            check_n_samples(n)
    with pytest.raises(OverflowError, match="more than an array can hold"):
        check_n_samples(2**63)
