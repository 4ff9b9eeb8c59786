"""Tests of the checks of arrays that users give, compared with scikit-learn where it has such a check."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from gmm_core.core.errors import InvalidParameterError
from gmm_core.data.parameter_validation import (
    check_matrices,
    check_means,
    check_reg_covar,
    check_weights,
)
from gmm_core.data.validation import check_enough_samples
from gmm_core.fit.options import check_options
from gmm_core.model.covariance import COVARIANCE_TYPES

DATA = np.random.default_rng(0).normal(size=(12, 2))


def test_reg_covar_of_each_feature():
    for given in ([1.0, 0], (1, 0), np.array([1.0, 0.0], np.float32)):
        check_options({"reg_covar": given}, "GaussianMixture")
        checked = check_reg_covar(given, 2)
        assert checked.tolist() == [1, 0] and not np.shares_memory(checked, given)
    assert check_reg_covar(np.float32(2), 5) == 2.0
    with pytest.raises(InvalidParameterError, match="'reg_covar' parameter .* Got <.*sparse"):
        check_options({"reg_covar": scipy.sparse.csr_matrix(DATA)}, "GaussianMixture")
    for value, message in (
        ([1.0], r"'reg_covar' should have the shape of \(2,\), but got \(1,\)"),
        (np.array(2.0), r"'reg_covar' should have the shape of \(2,\), but got \(\)"),
        ([1.0, np.nan], "'reg_covar' must be finite, but contains NaN"),
        ([1.0, -2.0], "'reg_covar' should be non-negative, but got min value -2"),
        (["a", "b"], "could not convert string to float: 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            check_reg_covar(value, 2)


def test_enough_samples():
    check_enough_samples(3, 3)
    with pytest.raises(
        ValueError,
        match="Expected n_samples >= n_components but got n_components = 4, n_samples = 3",
    ):
        check_enough_samples(3, 4)


# --- initial parameters ---------------------------------------------------------------------


def test_initial_parameters_are_fresh_float64_arrays():
    weights = np.array([0.25, 0.75], dtype=np.float32)
    means = np.asfortranarray(DATA[:2])
    precisions = np.array([np.eye(2), 2 * np.eye(2)])
    for given_, checked in (
        (weights, check_weights(weights, 2)),
        (means, check_means(means, 2, 2)),
        (precisions, check_matrices(precisions, COVARIANCE_TYPES["full"], 2, 2, "precision")),
        ([[1, 2], [3, 4]], check_matrices([[1, 2], [3, 4]], COVARIANCE_TYPES["diag"], 2, 2, "precision")),
    ):
        assert checked.dtype == np.float64 and checked.flags.c_contiguous
        assert checked.flags.writeable and not np.shares_memory(checked, given_)
        np.testing.assert_array_equal(checked, given_)


@pytest.mark.parametrize(
    "weights, message",
    [
        ([0.2, 0.3, 0.5], r"'weights' should have the shape of \(2,\), but got \(3,\)"),
        ([[0.5, 0.5]], r"'weights' should have the shape of \(2,\), but got \(1, 2\)"),
        (
            [-0.5, 1.5],
            r"should be in the range \[0, 1\], but got max value -0.50000, min value 1.50000",
        ),
        ([0.5, 0.6], r"should be normalized, but got sum\(weights\) = 1.10000"),
        ([0.5, 0.5 + 1e-7], "should be normalized"),
        ([0.5, np.nan], "'weights' must be finite, but contains NaN"),
        ([0.0, np.inf], "'weights' must be finite, but contains infinity"),
        (["a", "b"], "could not convert string to float: 'a'"),
    ],
)
def test_weights_init_errors(weights, message):
    with pytest.raises(ValueError, match=message):
        check_weights(weights, 2)


def test_weights_init_tolerance_is_that_of_their_type():
    check_weights([0.5, 0.5 + 1e-9], 2)
    check_weights([1, 0], 2)
    check_weights(np.array([0.5, 0.5 + 3e-7], dtype=np.float32), 2)
    with pytest.raises(ValueError, match="normalized"):
        check_weights(np.array([0.5, 0.5 + 3e-6], dtype=np.float32), 2)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2,), (1, 2, 2)])
def test_means_init_shape(shape):
    with pytest.raises(ValueError, match=r"'means' should have the shape of \(2, 2\), but got"):
        check_means(np.zeros(shape), 2, 2)


SHAPES = {"full": (3, 2, 2), "tied": (2, 2), "diag": (3, 2), "spherical": (3,)}


@pytest.mark.parametrize("covariance_type", SHAPES)
@pytest.mark.parametrize("kind", ["precision", "covariance"])
def test_precisions_init_shape_and_values(covariance_type, kind):
    good = np.ones(SHAPES[covariance_type])
    if covariance_type in ("full", "tied"):
        good[..., 0, 1] = good[..., 1, 0] = 0.5
    check_matrices(good, COVARIANCE_TYPES[covariance_type], 3, 2, kind)
    for bad, message in (
        (good[None], "should have the shape of"),
        (-good, "should be (symmetric, positive-definite|positive)"),
        (0 * good, "should be (symmetric, positive-definite|positive)"),
        (np.nan * good, "must be finite, but contains NaN"),
    ):
        with pytest.raises(ValueError, match=f"'{covariance_type} {kind}' {message}"):
            check_matrices(bad, COVARIANCE_TYPES[covariance_type], 3, 2, kind)


@pytest.mark.parametrize("matrix", [[[1, 2], [2, 1]], [[1, 1], [1, 1]], [[1, 0.1], [0, 1]]])
def test_matrices_that_are_not_positive_definite_or_symmetric(matrix):
    for covariance_type, value in (("tied", matrix), ("full", [np.eye(2), matrix])):
        with pytest.raises(ValueError, match="should be symmetric, positive-definite"):
            check_matrices(value, COVARIANCE_TYPES[covariance_type], 2, 2, "precision")


def test_asymmetry_of_rounding_passes():
    check_matrices([[1.0, 1e-9], [0.0, 1.0]], COVARIANCE_TYPES["tied"], 2, 2, "precision")
    check_matrices([[1e20, 1e11], [0.0, 1e20]], COVARIANCE_TYPES["tied"], 2, 2, "precision")


def test_asymmetry_is_judged_in_the_units_of_the_matrix():
    with pytest.raises(ValueError, match="the shared precision is not symmetric"):
        check_matrices([[1e-12, 5e-13], [0.0, 1e-12]], COVARIANCE_TYPES["tied"], 2, 2, "precision")
