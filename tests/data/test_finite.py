"""Tests of the check that values are finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.core import dispatch
from gmm_core.data import finite
from gmm_core.data.finite import check_finite, check_not_infinite
from gmm_core.data.validation import check_X

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@both_dtypes
@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_every_position_is_checked(dtype: Any, n_threads: int, isa: str) -> None:
    all_finite = dispatch.expectation(dtype).all_finite
    limits = np.finfo(dtype)
    assert all_finite(np.empty(0, dtype), n_threads)
    for size in (1, 2, 7, 64, 131):
        # The sum of these values overflows, and one of them is subnormal.
        values = np.full(size, limits.max, dtype)
        values[-1] = limits.smallest_subnormal
        assert all_finite(values, n_threads)
        for i in range(size):
            for bad in (np.nan, np.inf, -np.inf):
                changed = values.copy()
                changed[i] = bad
                assert not all_finite(changed, n_threads)


@pytest.mark.parametrize("row", [0, 70_000, 99_999])
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_threads_do_not_change_the_message(row: int, value: float, what: str) -> None:
    X = np.zeros((100_000, 2))
    X[row:, 1] = value
    messages = []
    for n_threads in (1, 2, None):
        with pytest.raises(ValueError, match=rf"contains {what}[\s\S]*X\[{row}, 1\]") as error:
            check_X(X, n_threads=n_threads)
        messages.append(str(error.value))
    assert len(set(messages)) == 1


@pytest.mark.parametrize("n_threads", [1, 2])
def test_nan_alone_is_not_infinite(n_threads: int) -> None:
    X = np.zeros((50_000, 2))
    X[123, 1] = np.nan
    check_not_infinite(X, "X", n_threads=n_threads)
    X[40_000, 0] = -np.inf
    with pytest.raises(ValueError, match=r"contains infinity[\s\S]*X\[40003, 0\]"):
        check_not_infinite(X, "X", first_row=3, n_threads=n_threads)


def test_methods_check_large_arrays_with_the_threads_of_the_estimator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = GaussianMixture(random_state=0).fit(np.arange(8.0).reshape(4, 2))
    seen = []
    monkeypatch.setattr(finite, "effective_n_threads", lambda n: seen.append(n) or 1)
    for n_threads in (1, 2, None):
        model.n_threads = n_threads
        model.predict(np.zeros((finite._PARALLEL, 2)))
    model.predict(np.zeros((10, 2)))  # too small for threads
    check_finite(np.zeros(10), "X", n_threads=2)
    assert seen == [1, 2, None]
