"""Tests of the features that users name."""

import numpy as np
import pytest

from gmm_core.data.features import features_of

NAMES = np.array(["height", "weight", "age"], dtype=object)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ([2, 0], [2, 0]),
        ([-1, 1], [2, 1]),
        (["age", 0], [2, 0]),
        ("weight", [1]),
        (np.str_("weight"), [1]),
        (-3, [0]),
        (np.array([1, 2], np.uint8), [1, 2]),
        ((name for name in NAMES), [0, 1, 2]),
    ],
)
def test_indices_and_names(features, expected):
    found = features_of(features, 3, NAMES)
    assert found.tolist() == expected and found.dtype == np.intp


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ([3], ValueError, "given has the index 3, but the model has 3 features: expected from -3 to 2"),
        (-4, ValueError, "given has the index -4"),
        ("size", ValueError, "given has the name 'size', but the model has no feature of that name; its "
         "features are 'height', 'weight', 'age'"),
        ([0, "height"], ValueError, "given has a feature twice"),
        ([-1, 2], ValueError, "given has a feature twice"),
        ([], ValueError, "given is empty"),
        ([1.0], TypeError, "has 1.0 of type float"),
        ([True, False, True], TypeError, "has True of type bool"),
        (None, TypeError, "has None of type NoneType"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(features, error, message):
    with pytest.raises(error, match=message):
        features_of(features, 3, NAMES, "given")


def test_names_of_a_model_without_names_or_with_equal_names():
    with pytest.raises(ValueError, match="'age', but the model has no feature_names_in_"):
        features_of("age", 3)
    with pytest.raises(ValueError, match="more than one feature of that name"):
        features_of("a", 2, np.array(["a", "a"], dtype=object))
