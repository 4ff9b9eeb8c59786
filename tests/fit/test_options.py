"""Tests of the rules for parameters of the constructor, compared with scikit-learn where it has them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import sklearn.mixture

from gmm_core.core.errors import InvalidParameterError
from gmm_core.fit.options import check_options

DATA = np.random.default_rng(0).normal(size=(12, 2))

TRIED = [
    *(0, 1, 2, -1, 1.0, 1.5, -1e-6, float("nan"), float("inf"), 2**32 - 1, 2**32, 10**400),
    *(True, False, np.True_, None, "a", "full", "kmeans", "FULL", b"full", np.str_("full")),
    *(np.int64(2), np.float64(2), np.array(2), [2], (1, 2), np.ones(2), {"a": 1}, object()),
    *(np.random.RandomState(0), np.random.default_rng(0), np.random),
    scipy.sparse.csr_matrix(DATA),
]


def sklearn_message(name, value):
    """Return the message with which scikit-learn refuses a parameter, or None if it accepts it."""
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
            assert expected is None  # scikit-learn's fit then fails with "an integer is required"
            expected = "must be an int in the range"
        if name == "reg_covar" and not np.isscalar(value) and hasattr(value, "__len__"):
            continue  # scikit-learn takes no array; see test_parameters.py
        if expected is None:
            check_options({name: value}, "GaussianMixture")
            continue
        with pytest.raises(InvalidParameterError) as error:
            check_options({name: value}, "GaussianMixture")
        # the strings of a set are printed in any order, so messages with a set are not compared
        if name not in ("covariance_type", "init_params", "n_components"):
            ours = str(error.value).replace(" or an array-like with one such float for each feature", "").replace(" or 'equal'", "")
            assert ours == expected


def test_parameters_that_sklearn_does_not_have():
    check_options({"init_params": lambda X, n_components, random_state: X}, "GaussianMixture")
    with pytest.raises(
        InvalidParameterError,
        match="^The 'init_params' parameter of Mine must be a str among {'kmeans', .*} or a "
        "callable. Got 'foo' instead.$",
    ):
        check_options({"init_params": "foo"}, "Mine")
    for n_threads in (None, 1, -1, np.int64(3)):
        check_options({"n_threads": n_threads}, "GaussianMixture")
    for n_threads in (0, True, False, 1.0, "1", np.True_):
        with pytest.raises(
            InvalidParameterError, match="'n_threads'.* must be a non-zero int or None. Got"
        ):
            check_options({"n_threads": n_threads}, "GaussianMixture")
    check_options({"a_parameter_of_a_subclass": object()}, "GaussianMixture")
    with pytest.raises(InvalidParameterError, match="'forget_factor' parameter"):
        check_options({"forget_factor": 10**400}, "GaussianMixture")


def test_invalid_parameter_error_is_a_value_and_a_type_error():
    assert issubclass(InvalidParameterError, ValueError)
    assert issubclass(InvalidParameterError, TypeError)
