"""Parameters that the user gives: `from_parameters`, and attributes that are assigned."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from gmm_core import GaussianMixture, reference

TYPES = ["full", "tied", "diag", "spherical"]
COVARIANCES = ["covariances_", "precisions_", "precisions_cholesky_"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)
K, D, N = 3, 2, 300


def data():
    """Three groups, two of which overlap: means within 7 of 0, variances near 1."""
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0], [2, 1], [-5, 4]])
    return means[rng.integers(K, size=N)] + rng.normal(size=(N, D))


def fitted(covariance_type="full"):
    return GaussianMixture(K, covariance_type=covariance_type, random_state=0).fit(data())


def reference_parameters(model):
    return model.weights_, model.means_, model.precisions_cholesky_, model.covariance_type


# --- from_parameters ------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("given", ["covariances", "precisions"])
def test_from_parameters_is_the_fitted_model(covariance_type, given):
    model, X = fitted(covariance_type), data()
    made = GaussianMixture.from_parameters(
        model.weights_,
        model.means_,
        **{given: getattr(model, given + "_")},
        covariance_type=covariance_type,
        random_state=5,
    )
    assert made.get_params() == {
        **GaussianMixture(K).get_params(),
        "random_state": 5,
        "covariance_type": covariance_type,
    }
    # An inverse and a Cholesky factor of a 2 × 2 matrix err by a few eps · cond, cond < 10 here.
    for name in COVARIANCES:
        np.testing.assert_allclose(getattr(made, name), getattr(model, name), rtol=0, atol=1e-13)
    np.testing.assert_array_equal(getattr(made, given + "_"), getattr(model, given + "_"))
    np.testing.assert_allclose(made.score_samples(X), model.score_samples(X), rtol=1e-12)
    np.testing.assert_array_equal(made.predict(X), model.predict(X))
    assert made.n_features_in_ == D and made.sample(4)[0].shape == (4, D)
    assert made.lower_bounds_ == [] and made.n_iter_ == 0 and not made.converged_


@pytest.mark.parametrize(
    ("shape", "means_shape", "covariance_type"),
    [
        ((3, 2, 2), (3, 2), "full"),
        ((2, 2), (3, 2), "tied"),
        ((3, 2), (3, 2), "diag"),
        ((3,), (3, 2), "spherical"),
        ((1, 1, 1), (1, 1), "full"),
        ((1,), (1, 1), "spherical"),
    ],
)
def test_from_parameters_knows_the_type_by_the_shape(shape, means_shape, covariance_type):
    matrices = np.ones(shape) if covariance_type in ("diag", "spherical") else np.eye(shape[-1])
    made = GaussianMixture.from_parameters(
        np.full(means_shape[0], 1 / means_shape[0]),
        np.zeros(means_shape),
        covariances=np.broadcast_to(matrices, shape),
    )
    assert made.covariance_type == covariance_type
    assert made.means_.dtype == np.float64


def test_from_parameters_float32():
    means = np.zeros((1, 2), np.float32)
    made = GaussianMixture.from_parameters([1.0], means, covariances=np.eye(2))
    assert made.covariance_type == "tied"
    assert made.means_.dtype == made.precisions_cholesky_.dtype == np.float32
    assert made.score_samples(means).dtype == np.float32


def test_from_parameters_keeps_what_is_given():
    precisions = np.linspace(0.1, 1, 50)
    assert (np.sqrt(precisions) ** 2 != precisions).any()  # the factor does not give them back
    made = GaussianMixture.from_parameters(np.full(50, 0.02), np.eye(50), precisions=precisions)
    np.testing.assert_array_equal(made.precisions_, precisions)


@pytest.mark.parametrize(
    ("weights", "means", "matrices", "message"),
    [
        ([0.5, 0.5], np.zeros((2, 2)), {}, "either covariances or precisions"),
        ([1], [[0.0]], {"covariances": [1], "precisions": [1]}, "either covariances or precisions"),
        (
            [0.5, 0.5],
            np.eye(2),
            {"covariances": np.eye(2)},
            "fits tied and diag: give covariance_t",
        ),
        ([0.5, 0.5], np.eye(2), {"covariances": np.ones(3)}, "fits no type"),
        ([0.5, 0.5], [0.0, 1], {"covariances": [1.0, 1]}, r"means has shape \(2,\)"),
        ([0.5, 0.6], np.eye(2), {"covariances": [1.0, 1]}, "normalized"),
        ([1.0], np.eye(2), {"covariances": [1.0, 1]}, "'weights' should have the shape"),
        ([0.5, 0.5], np.eye(2), {"covariances": [1.0, 0]}, "'spherical covariance' .* positive"),
        ([0.5, 0.5], np.eye(2), {"precisions": [-1.0, 1]}, "'spherical precision' .* positive"),
        ([0.5, 0.5], np.eye(2), {"covariances": [1.0, np.nan]}, "finite"),
        ([0.5, 0.5], np.full((2, 2), np.inf), {"covariances": [1.0, 1]}, "'means' must be finite"),
        ([1.0], [[0.0, 0]], {"covariances": [[[1.0, 2], [2, 1]]]}, "positive-definite"),
        ([1.0], [[0.0, 0]], {"precisions": [1.0], "tol": -1}, "'tol' parameter"),
        ([1.0], [[0.0, 0]], {"precisions": [1.0], "covariance_type": "ful"}, "'covariance_type'"),
    ],
)
def test_from_parameters_refuses(weights, means, matrices, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture.from_parameters(weights, means, **matrices)


# --- assigned attributes --------------------------------------------------------------------


def doubled(model):
    """The same mixture with all covariances doubled, by the reference."""
    weights, means, factors, covariance_type = reference_parameters(model)
    return weights, means, factors / math.sqrt(2), covariance_type


@all_types
@pytest.mark.parametrize(
    ("name", "factor"),
    [("covariances_", 2), ("precisions_", 0.5), ("precisions_cholesky_", 0.5**0.5)],
)
def test_an_assigned_covariance_is_used_at_once(covariance_type, name, factor):
    model, X = fitted(covariance_type), data()
    expected = reference.log_likelihood(X, *doubled(model))
    for changed in (copy.deepcopy(model), copy.copy(model)):
        setattr(changed, name, getattr(changed, name) * factor)
        np.testing.assert_allclose(changed.score_samples(X), expected, rtol=1e-12)
        np.testing.assert_allclose(copy.deepcopy(changed).score_samples(X), expected, rtol=1e-12)
    if name != "precisions_cholesky_":  # the other two follow
        np.testing.assert_allclose(changed.covariances_, 2 * model.covariances_, rtol=1e-12)
        np.testing.assert_allclose(changed.precisions_, model.precisions_ / 2, rtol=1e-12)
    assert abs(model.score_samples(X) - expected).max() > 0.1  # the copies are copies


def test_assigned_means_and_weights_are_used_at_once():
    model, X = fitted("diag"), data()
    _, means, factors, _ = reference_parameters(model)
    model.means_ = means + 1
    model.weights_ = np.array([1.0, 0.0, 0.0])
    expected = reference.log_likelihood(X, model.weights_, means + 1, factors, "diag")
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)
    assert (model.predict(X) == 0).all() and (model.sample(20)[1] == 0).all()
    model.means_[0] -= 1  # in place too
    expected = reference.log_likelihood(X, model.weights_, means, factors, "diag")
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)


@all_types
def test_a_model_put_together_by_hand(covariance_type):
    model, X = fitted(covariance_type), data()
    made = GaussianMixture(K, covariance_type=covariance_type)
    made.weights_, made.means_ = model.weights_.tolist(), model.means_.tolist()
    made.covariances_ = model.covariances_.tolist()
    np.testing.assert_allclose(made.predict_proba(X), model.predict_proba(X), atol=1e-13)
    np.testing.assert_allclose(made.precisions_, model.precisions_, rtol=1e-12, atol=1e-13)
    assert made._n_parameters() == model._n_parameters()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("means_", np.zeros((4, D)), r"weights_ has shape \(3,\), expected \(4,\)"),
        ("means_", np.zeros((K, D + 1)), r"expected \(3, 3, 3\)"),
        ("means_", np.zeros(K), r"means_ has shape \(3,\)"),
        ("weights_", np.ones(2) / 2, r"weights_ has shape \(2,\), expected \(3,\)"),
        ("covariances_", np.ones((K, D)), r"shape of \(3, 2, 2\), but got \(3, 2\)"),
        ("precisions_", np.ones((K, D)), r"shape of \(3, 2, 2\), but got \(3, 2\)"),
        ("precisions_cholesky_", np.ones((K, D)), r"precisions_cholesky_ has shape \(3, 2\)"),
        ("covariances_", -np.ones((K, 1, 1)) * np.eye(D), "positive-definite"),
        (
            "covariance_type",
            "tied",
            r"precisions_cholesky_ has shape \(3, 2, 2\), expected \(2, 2\)",
        ),
    ],
)
def test_attributes_that_do_not_fit_together(name, value, message):
    model, X = fitted(), data()
    setattr(model, name, value)
    for method in (model.predict, model.predict_proba, model.score_samples, model.score, model.bic):
        with pytest.raises(ValueError, match=message):
            method(X)
    with pytest.raises(ValueError, match=message):
        model.sample()


def test_subnormal_weight():
    m = GaussianMixture.from_parameters([4e-315, 1.0], [[0.0], [0.0]], covariances=[1.0, 1.0])
    assert m.score_samples([[0.0]])[0] == pytest.approx(-0.5 * np.log(2 * np.pi))
    assert m.predict_proba([[0.0]]).sum() == 1


def test_factor_alone_changes_covariances():
    X = np.random.default_rng(0).normal(size=(100, 2))
    m = GaussianMixture(2, random_state=0).fit(X)
    before = m.covariances_
    m.precisions_cholesky_ = m.precisions_cholesky_ / 2
    np.testing.assert_allclose(m.covariances_, 4 * before)


def test_last_assignment_wins():
    X = np.random.default_rng(0).normal(size=(100, 2))
    m = GaussianMixture(2, random_state=0).fit(X)
    score, covariances = m.score(X), m.covariances_.copy()
    m.precisions_cholesky_ = m.precisions_cholesky_ / 2
    m.covariances_ = covariances
    assert m.score(X) == pytest.approx(score)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("assigned", ["covariances_", "precisions_"])
def test_reading_an_attribute_changes_nothing(assigned, covariance_type, dtype):
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(dtype)
    X[:, 1] += X[:, 0]
    names = ("covariances_", "precisions_", "precisions_cholesky_")
    seen = []
    for order in (names, names[::-1], ()):
        model = GaussianMixture(2, covariance_type=covariance_type, random_state=0, tol=10).fit(X)
        setattr(model, assigned, getattr(model, assigned) * np.array(1.7, dtype))
        for name in order:
            getattr(model, name)
        seen.append([model.score_samples(X), *(getattr(model, name) for name in names)])
    for other in seen[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(seen[0], other, strict=True))
