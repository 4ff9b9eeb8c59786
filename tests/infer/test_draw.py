"""Tests of drawing samples."""

from __future__ import annotations

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.infer import draw as drawing
from gmm_core.infer.draw import check_n_samples

EPS = np.finfo(np.float64).eps


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


all_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])


@pytest.mark.parametrize("D", [1, 2, 3, 7, 21])
@all_types
def test_unwhitening_inverts_whitening(covariance_type, D, isa, make_problem):
    p = make_problem(covariance_type, 60, 2, D, np.float64).parameters
    kind, y = p.kind, np.random.default_rng(1).normal(size=(37, D))
    x = np.empty((37, D))
    for k in range(2):
        factor = kind.of_component(p.prepared.precisions_cholesky, k)
        kind.unwhiten(y, factor, p.means[k], x)
        # Uᵀ (x − μ) = y but for the rounding of U⁻ᵀ, of the product and of x.
        dense = factor if factor.ndim == 2 else factor * np.eye(D)
        condition = np.linalg.cond(dense)
        bound = 4 * D * EPS * condition * (abs(y).max() + abs(dense).max() * abs(p.means[k]).max())
        assert abs(kind.whiten(x - p.means[k], factor) - y).max() < bound


def test_samples_are_ordered_by_component():
    model = GaussianMixture.from_parameters(
        [0.2, 0.0, 0.8], [[0.0], [500.0], [1000.0]], covariances=[1.0] * 3, random_state=0,
        covariance_type="spherical",
    )  # fmt: skip
    X, labels = model.sample(1000)
    assert (np.diff(labels) >= 0).all() and set(labels) == {0, 2}
    np.testing.assert_array_equal(np.round(X[:, 0] / 500), labels)


@all_types
def test_blocks_do_not_change_the_samples(covariance_type, make_problem, monkeypatch):
    prepared = make_problem(covariance_type, 60, 3, 5, np.float64).parameters.prepared
    whole = drawing.draw(prepared, 1000, np.random.RandomState(3))
    monkeypatch.setattr(drawing, "_DRAWN", 1)  # blocks of 4 D = 20 rows
    blocks = drawing.draw(prepared, 1000, np.random.RandomState(3))
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_number_of_the_random_state_is_used(make_problem):
    prepared = make_problem("full", 60, 3, 5, np.float64).parameters.prepared
    few, many = np.random.RandomState(3), np.random.RandomState(3)
    drawing.draw(prepared, 1, few)
    drawing.draw(prepared, 1000, many)
    assert few.randint(1 << 30) == many.randint(1 << 30)
