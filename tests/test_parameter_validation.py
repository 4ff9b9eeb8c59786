"""The checks of constructor parameters; scikit-learn's answers are the oracle where it has one."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
import sklearn.mixture

from gmm_core.parameter_validation import (
    check_enough_samples,
    check_means_init,
    check_n_samples,
    check_parameters,
    check_precisions_init,
    check_random_state,
    check_reg_covar,
    check_weights_init,
)
from gmm_core.validation import InvalidParameterError

DATA = np.random.default_rng(0).normal(size=(12, 2))

# --- constructor parameters -----------------------------------------------------------------

TRIED = [
    *(0, 1, 2, -1, 1.0, 1.5, -1e-6, float("nan"), float("inf"), 2**32 - 1, 2**32, 10**400),
    *(True, False, np.True_, None, "a", "full", "kmeans", "FULL", b"full", np.str_("full")),
    *(np.int64(2), np.float64(2), np.array(2), [2], (1, 2), np.ones(2), {"a": 1}, object()),
    *(np.random.RandomState(0), np.random.default_rng(0), np.random),
    scipy.sparse.csr_matrix(DATA),
]


def sklearn_message(name, value):
    """What scikit-learn says to a parameter, None if it accepts it."""
    model = sklearn.mixture.GaussianMixture(**{name: value})
    try:
        model._validate_params()
    except ValueError as error:
        assert type(error).__name__ == "InvalidParameterError"
        return str(error)
    return None


@pytest.mark.parametrize("name", sorted(sklearn.mixture.GaussianMixture().get_params()))
def test_parameters_are_accepted_and_refused_as_by_sklearn(name):
    for value in TRIED:
        expected = sklearn_message(name, value)
        if name == "n_components" and value is True:
            assert expected is None  # its fit then fails: "an integer is required"
            expected = "must be an int in the range"
        if name == "reg_covar" and not np.isscalar(value) and hasattr(value, "__len__"):
            continue  # an array is ours: see below
        if expected is None:
            check_parameters({name: value})
            continue
        with pytest.raises(InvalidParameterError) as error:
            check_parameters({name: value})
        if name not in ("covariance_type", "init_params", "n_components"):
            ours = str(error.value).replace(" or an array-like of them, one a feature", "")
            assert ours == expected  # sets of strings print in any order


def test_parameters_of_our_own():
    check_parameters({"init_params": lambda X, n_components, random_state: X})
    with pytest.raises(
        InvalidParameterError,
        match="^The 'init_params' parameter of Mine must be a str among {'kmeans', .*} or a "
        "callable. Got 'foo' instead.$",
    ):
        check_parameters({"init_params": "foo"}, "Mine")
    for n_threads in (None, 1, -1, np.int64(3)):
        check_parameters({"n_threads": n_threads})
    for n_threads in (0, True, False, 1.0, "1", np.True_):
        with pytest.raises(
            InvalidParameterError, match="'n_threads'.* must be a non-zero int or None. Got"
        ):
            check_parameters({"n_threads": n_threads})
    check_parameters({"a_parameter_of_a_subclass": object()})
    with pytest.raises(InvalidParameterError, match="'forget_factor' parameter"):
        check_parameters({"forget_factor": 10**400})


def test_reg_covar_of_each_feature():
    for given in ([1.0, 0], (1, 0), np.array([1.0, 0.0], np.float32)):
        check_parameters({"reg_covar": given})
        checked = check_reg_covar(given, 2)
        assert checked.tolist() == [1, 0] and not np.shares_memory(checked, given)
    assert check_reg_covar(np.float32(2), 5) == 2.0
    with pytest.raises(InvalidParameterError, match="'reg_covar' parameter .* Got <.*sparse"):
        check_parameters({"reg_covar": scipy.sparse.csr_matrix(DATA)})
    for value, message in (
        ([1.0], r"'reg_covar' should have the shape of \(2,\), but got \(1,\)"),
        (np.array(2.0), r"'reg_covar' should have the shape of \(2,\), but got \(\)"),
        ([1.0, np.nan], "'reg_covar' must be finite, but contains NaN"),
        ([1.0, -2.0], "'reg_covar' should be non-negative, but got min value -2"),
        (["a", "b"], "could not convert string to float: 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            check_reg_covar(value, 2)


def test_invalid_parameter_error_is_a_value_and_a_type_error():
    assert issubclass(InvalidParameterError, ValueError)
    assert issubclass(InvalidParameterError, TypeError)


def test_random_state():
    state = np.random.RandomState(3)
    assert check_random_state(state) is state
    assert check_random_state(np.int64(3)).uniform() == state.uniform()
    assert check_random_state(None) is check_random_state(np.random)
    for seed in ("a", -1, 2**32, 1.5, np.random.default_rng(0), [1]):
        with pytest.raises(ValueError, match="cannot be used to seed"):
            check_random_state(seed)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 - 1])
def test_a_seed_gives_the_numbers_of_randomstate(seed):
    made, expected = check_random_state(seed), np.random.RandomState(seed)
    for draw in (
        lambda r: r.uniform(size=700), lambda r: r.standard_normal(size=3), lambda r: r.randint(2**31),
        lambda r: r.permutation(9), lambda r: r.multinomial(5, [0.5, 0.5]),
    ):  # fmt: skip
        np.testing.assert_array_equal(draw(made), draw(expected))
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(other.uniform(size=9), copy.deepcopy(made).uniform(size=9))


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
        (weights, check_weights_init(weights, 2)),
        (means, check_means_init(means, 2, 2)),
        (precisions, check_precisions_init(precisions, "full", 2, 2)),
        ([[1, 2], [3, 4]], check_precisions_init([[1, 2], [3, 4]], "diag", 2, 2)),
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
        check_weights_init(weights, 2)


def test_weights_init_tolerance_is_that_of_their_type():
    check_weights_init([0.5, 0.5 + 1e-9], 2)
    check_weights_init([1, 0], 2)
    check_weights_init(np.array([0.5, 0.5 + 3e-7], dtype=np.float32), 2)
    with pytest.raises(ValueError, match="normalized"):
        check_weights_init(np.array([0.5, 0.5 + 3e-6], dtype=np.float32), 2)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2,), (1, 2, 2)])
def test_means_init_shape(shape):
    with pytest.raises(ValueError, match=r"'means' should have the shape of \(2, 2\), but got"):
        check_means_init(np.zeros(shape), 2, 2)


SHAPES = {"full": (3, 2, 2), "tied": (2, 2), "diag": (3, 2), "spherical": (3,)}


@pytest.mark.parametrize("covariance_type", SHAPES)
@pytest.mark.parametrize("kind", ["precision", "covariance"])
def test_precisions_init_shape_and_values(covariance_type, kind):
    good = np.ones(SHAPES[covariance_type])
    if covariance_type in ("full", "tied"):
        good[..., 0, 1] = good[..., 1, 0] = 0.5
    check_precisions_init(good, covariance_type, 3, 2, kind=kind)
    for bad, message in (
        (good[None], "should have the shape of"),
        (-good, "should be (symmetric, positive-definite|positive)"),
        (0 * good, "should be (symmetric, positive-definite|positive)"),
        (np.nan * good, "must be finite, but contains NaN"),
    ):
        with pytest.raises(ValueError, match=f"'{covariance_type} {kind}' {message}"):
            check_precisions_init(bad, covariance_type, 3, 2, kind=kind)


@pytest.mark.parametrize("matrix", [[[1, 2], [2, 1]], [[1, 1], [1, 1]], [[1, 0.1], [0, 1]]])
def test_matrices_that_are_not_positive_definite_or_symmetric(matrix):
    for covariance_type, value in (("tied", matrix), ("full", [np.eye(2), matrix])):
        with pytest.raises(ValueError, match="should be symmetric, positive-definite"):
            check_precisions_init(value, covariance_type, 2, 2)


def test_asymmetry_of_rounding_passes():
    check_precisions_init([[1.0, 1e-9], [0.0, 1.0]], "tied", 2, 2)
    check_precisions_init([[1e20, 1e11], [0.0, 1e20]], "tied", 2, 2)


def test_asymmetry_is_judged_in_the_units_of_the_matrix():
    with pytest.raises(ValueError, match="it is not symmetric"):
        check_precisions_init([[1e-12, 5e-13], [0.0, 1e-12]], "tied", 2, 2)
