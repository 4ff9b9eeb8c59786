"""Tests of `from_parameters`, and of attributes that users assign."""

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
    """Return three groups, two of which overlap, with means within 7 of 0 and variances near 1."""
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
    # inverse and Cholesky factor of a 2 × 2 matrix have errors of a few eps · cond, and cond < 10 here
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
def test_from_parameters_finds_the_type_by_the_shape(shape, means_shape, covariance_type):
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


def test_from_parameters_keeps_the_given_precisions():
    precisions = np.linspace(0.1, 1, 50)
    assert (np.sqrt(precisions) ** 2 != precisions).any()  # they do not follow exactly from the factor
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
    """Return arguments for the reference: the same mixture with all covariances doubled."""
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
    if name != "precisions_cholesky_":  # the other attributes are derived
        np.testing.assert_allclose(changed.covariances_, 2 * model.covariances_, rtol=1e-12)
        np.testing.assert_allclose(changed.precisions_, model.precisions_ / 2, rtol=1e-12)
    assert abs(model.score_samples(X) - expected).max() > 0.1  # the original did not change


def test_assigned_means_and_weights_are_used_at_once():
    model, X = fitted("diag"), data()
    _, means, factors, _ = reference_parameters(model)
    model.means_ = means + 1
    model.weights_ = np.array([1.0, 0.0, 0.0])
    expected = reference.log_likelihood(X, model.weights_, means + 1, factors, "diag")
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)
    assert (model.predict(X) == 0).all() and (model.sample(20)[1] == 0).all()
    model.means_[0] -= 1  # a change in place is used, too
    expected = reference.log_likelihood(X, model.weights_, means, factors, "diag")
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)


@all_types
def test_a_model_made_by_assignments(covariance_type):
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


@all_types
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["covariances_", "precisions_"])
def test_an_assignment_counts_to_the_last_bit(name, dtype, covariance_type, tmp_path):
    """If an entry changes by 0.1 %, by 50 eps or by one eps, the model is that of the changed array.

    The change by one eps is left out for matrices of precisions: the factor is kept while they differ by at most
    (D + 2) eps from its precisions.
    """
    X = data().astype(dtype)
    eps = np.finfo(dtype).eps
    changes = [lambda a: a * 1.0009, lambda a: a * (1 + 50 * eps)]
    if name == "covariances_" or covariance_type in ("diag", "spherical"):
        changes.append(lambda a: np.nextafter(a, 9))
    for change in changes:
        model = GaussianMixture(K, covariance_type=covariance_type, random_state=0).fit(X)
        changed = getattr(model, name).copy()
        first = (0,) * changed.ndim
        changed[first] = change(changed[first])
        fresh = GaussianMixture(K, covariance_type=covariance_type)
        fresh.weights_, fresh.means_ = model.weights_, model.means_
        setattr(fresh, name, changed)
        setattr(model, name, changed)
        np.testing.assert_array_equal(getattr(model, name), changed)
        for other in COVARIANCES:
            np.testing.assert_array_equal(getattr(model, other), getattr(fresh, other))
        np.testing.assert_array_equal(model.score_samples(X), fresh.score_samples(X))
        model.save(tmp_path / "model.npz")
        loaded = GaussianMixture.load(tmp_path / "model.npz")
        for other in COVARIANCES:
            np.testing.assert_array_equal(getattr(loaded, other), getattr(fresh, other))
            np.testing.assert_array_equal(getattr(model.to_sklearn(), other), getattr(fresh, other))


@all_types
def test_a_derivative_by_assignment(covariance_type):
    """A finite difference of the log-likelihood by a variance equals the reference's, and is not 0."""
    model, X = fitted(covariance_type), data()
    covariances, h = model.covariances_.copy(), 1e-6
    slopes = []
    for score in (
        lambda c: (setattr(model, "covariances_", c), model.score(X))[1],
        lambda c: reference.log_likelihood(
            X, model.weights_, model.means_,
            reference.precision_cholesky(c, covariance_type), covariance_type,
        ).mean(),
    ):
        values = []
        for step in (h, -h):
            moved = covariances.copy()
            moved[(0,) * moved.ndim] += step
            values.append(score(moved))
        slopes.append((values[0] - values[1]) / (2 * h))
    assert abs(slopes[1]) > 1e-4
    # each score has an error of about 1e-15, which is divided by 2e-6
    assert slopes[0] == pytest.approx(slopes[1], abs=1e-8)


@all_types
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copied_attributes_keep_the_factor(covariance_type, dtype):
    """Precisions that are assigned last keep the factor, because factoring them would lose digits."""
    X = data().astype(dtype)
    X[:, 1] = X[:, 0] + X[:, 1] / 1000
    model = GaussianMixture(K, covariance_type=covariance_type, random_state=0).fit(X)
    copied = GaussianMixture(K, covariance_type=covariance_type)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_", "precisions_"):
        setattr(copied, name, getattr(model, name).copy())
    np.testing.assert_array_equal(copied.precisions_cholesky_, model.precisions_cholesky_)
    np.testing.assert_array_equal(copied.score_samples(X), model.score_samples(X))


def test_an_array_that_was_changed_in_place_and_assigned_again():
    model, X = fitted(), data()
    covariances = model.covariances_
    covariances *= 2
    model.covariances_ = covariances
    expected = reference.log_likelihood(X, *doubled(fitted()))
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("covariance_type", "name", "value", "message"),
    [
        ("full", "weights_", [0.9, 0.9, 0.9], "weights_ must .* sum to 1, but .* the sum is 2.7"),
        ("full", "weights_", [-0.5, 0.5, 1], "the least is -0.5"),
        ("full", "weights_", [np.nan, 0.5, 0.5], "weights_ must not be negative"),
        ("full", "means_", np.full((K, D), np.inf), "means_ must be finite"),
        ("full", "precisions_cholesky_", np.full((K, D, D), np.nan), "must be finite"),
        ("full", "precisions_cholesky_", np.ones((K, D, D)), "must be upper triangular"),
        ("full", "precisions_cholesky_", -np.stack([np.eye(D)] * K), "positive on the diagonal"),
        ("tied", "precisions_cholesky_", np.triu(np.ones((D, D)), 1), "the least is 0"),
        ("tied", "precisions_cholesky_", np.ones((D, D)), "must be upper triangular"),
        ("diag", "precisions_cholesky_", np.zeros((K, D)), "must be positive, but the least is 0"),
        ("spherical", "precisions_cholesky_", [1, 1, np.inf], "must be finite"),
        ("spherical", "precisions_cholesky_", [1, 1, -1], "the least is -1"),
    ],
)
def test_values_that_are_no_mixture(covariance_type, name, value, message, tmp_path):
    model, X = fitted(covariance_type), data()
    setattr(model, name, value)
    for call in (
        lambda: model.predict(X), lambda: model.score(X), lambda: model.sample(), model.to_sklearn,
        lambda: model.save(tmp_path / "model.npz"), lambda: model.partial_fit(X),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert not (tmp_path / "model.npz").exists()


@pytest.mark.parametrize("change", [("tied", "diag"), ("diag", "tied"), ("spherical", "diag")])
def test_another_covariance_type_after_the_fit(change):
    before, after = change
    X = data()
    model = GaussianMixture(D, covariance_type=before, random_state=0).fit(X)
    model.set_params(covariance_type=after)
    with pytest.raises(ValueError, match=f"precisions_cholesky_ .* covariance_type='{after}'"):
        model.score_samples(X)


def test_an_attribute_that_cannot_be_derived_is_not_there():
    model = fitted()
    model.covariances_ = np.ones((K, D))
    assert not hasattr(model, "precisions_") and not hasattr(model, "precisions_cholesky_")
    with pytest.raises(ValueError, match=r"shape of \(3, 2, 2\), but got \(3, 2\)"):
        _ = model.precisions_


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


@all_types
def test_attributes_are_checked_again_after_a_change(covariance_type):
    """A change in place is noticed in each array. The cache of checks is not part of the model's state."""
    X = data()
    for name in ("weights_", "means_", "precisions_cholesky_"):
        model = fitted(covariance_type)
        before = model.score_samples(X)
        assert "_kept" not in vars(model) and "_kept" not in model.__getstate__()
        array = getattr(model, name)
        first = (0,) * array.ndim
        value = array[first]
        array[first] = np.nan
        with pytest.raises(ValueError, match=name):
            model.score_samples(X)
        array[first] = value * 1.5
        if name == "weights_":
            array /= array.sum()
        changed = model.score_samples(X)
        expected = reference.log_likelihood(X, *reference_parameters(model))
        np.testing.assert_allclose(changed, expected, rtol=1e-12)
        assert abs(changed - before).max() > 1e-3


def test_masked_and_complex_values_cannot_be_assigned():
    for name in ("weights_", "means_", *COVARIANCES):
        model = fitted()
        value = getattr(model, name)
        with pytest.raises(ValueError, match=f"{name} has masked values"):
            setattr(model, name, np.ma.masked_less(value, 0.5))
        with pytest.raises(ValueError, match=f"{name} has complex values"):
            setattr(model, name, value + 0j)
        assert getattr(model, name) is value
        setattr(model, name, np.ma.masked_array(value))  # this is allowed, as no value is masked


def test_covariances_of_another_type_with_the_same_shape():
    model, X = GaussianMixture(D, covariance_type="tied", random_state=0).fit(data()), data()
    model.covariances_ = [[2.0, 1], [1, 2]]
    model.set_params(covariance_type="diag")
    with pytest.raises(ValueError, match="precisions_cholesky_ .* covariance_type='diag'"):
        model.score_samples(X)


def test_a_change_in_place_leaves_restarts_as_they_are():
    for reading_before in (True, False):
        model = fitted()
        expected = np.linalg.eigvalsh(model.covariances_).min()
        if reading_before:
            assert model.restarts_[0].smallest_eigenvalue == pytest.approx(expected)
        model.covariances_ *= 4
        assert model.restarts_[0].smallest_eigenvalue == pytest.approx(expected)


@all_types
@pytest.mark.parametrize("dtype", [int, np.float16, np.float32, float, object])
@pytest.mark.parametrize("name", ["covariances_", "precisions_"])
def test_numbers_of_any_type_may_be_assigned(name, dtype, covariance_type):
    """Derived attributes are in float64, or in float32 if the assigned array is."""
    values = {"full": [[[5, 1], [1, 7]]] * K, "tied": [[5, 1], [1, 7]],
              "diag": [[5, 7]] * K, "spherical": [5] * K}[covariance_type]
    models = fitted(covariance_type), fitted(covariance_type)
    setattr(models[0], name, np.array(values, dtype))
    setattr(models[1], name, np.array(values, float))
    rtol = 1e-5 if dtype == np.float32 else 0
    for derived in COVARIANCES:
        np.testing.assert_allclose(
            np.asarray(getattr(models[0], derived), float), getattr(models[1], derived), rtol=rtol
        )
    np.testing.assert_allclose(*(model.score_samples(data()) for model in models), rtol=rtol)


def test_the_factors_of_a_large_mixture_are_checked_when_they_are_assigned():
    n = 70
    model = GaussianMixture.from_parameters([1.0], np.zeros((1, n)), covariances=np.eye(n)[None])
    X, U = np.zeros((1, n)), np.eye(n)[None]
    model.score_samples(X)
    for value, message in ((np.nan, "finite"), (1.0, "upper triangular")):
        bad = U.copy()
        bad[0, 5, 3] = value
        model.precisions_cholesky_ = bad
        for _ in range(2):
            with pytest.raises(ValueError, match=f"precisions_cholesky_ must be {message}"):
                model.score_samples(X)
    model.precisions_cholesky_ = 2 * U
    before = model.score_samples(X)
    model.precisions_cholesky_[0, 0, 0] = 4  # a change in place
    assert model.score_samples(X) == pytest.approx(before + np.log(2))


def test_arrays_that_do_not_fit_the_new_type():
    for before, after in (("spherical", "full"), ("diag", "full"), ("full", "diag")):
        model = fitted(before)
        precisions = model.precisions_
        model.set_params(covariance_type=after)
        model.precisions_ = precisions
        with pytest.raises(ValueError, match="should have the shape"):
            model.score(data())
    model = fitted()
    model.covariances_ = object()
    assert not hasattr(model, "precisions_")


@pytest.mark.parametrize("value", ["foo", np.array([1.0, 4]), None, 3])
def test_methods_refuse_an_unknown_covariance_type(value):
    model = fitted()
    precisions = model.precisions_.copy()
    model.covariance_type = value
    model.precisions_ = precisions * 2
    assert not hasattr(model, "covariances_")
    with pytest.raises((ValueError, TypeError)):
        model.score(data())
    model.covariance_type = "full"
    model.precisions_ = precisions
    np.testing.assert_allclose(model.score(data()), fitted().score(data()), rtol=1e-12)


@pytest.mark.parametrize("name", ["weights_", "means_"])
def test_a_model_without_an_array_is_not_fitted(name):
    """Fits that go on from it say so, as the methods do."""
    for call in (
        lambda model: model.set_params(warm_start=True).fit(data()),
        lambda model: model.set_params(warm_start=True).fit_batches([data()]),
        lambda model: model.predict(data()),
        lambda model: model.partial_fit(data()) if name == "weights_" else model.score(data()),
    ):
        model = fitted()
        delattr(model, name)
        with pytest.raises(ValueError, match="is not fitted yet"):
            call(model)
    model = GaussianMixture(K, warm_start=True, random_state=0).fit(data())
    del model.lower_bounds_
    assert model.fit(data()).converged_


def test_an_assignment_that_fails_changes_nothing():
    class OnAnotherDevice:
        shape, dtype = (K, D, D), np.dtype(float)

        def __array__(self, *args, **kwargs):
            raise TypeError("copy it to the host first")

    model = fitted()
    before = dict(vars(model))
    with pytest.raises(TypeError, match="copy it to the host"):
        model.precisions_ = OnAnotherDevice()
    assert vars(model) == before
    del model.covariance_type
    assert not hasattr(model, "covariance_type")


def test_arrays_of_ints_put_together_by_hand_can_learn():
    model = GaussianMixture(2, covariance_type="spherical")
    model.weights_, model.means_, model.covariances_ = [0.5, 0.5], [[0], [5]], [1, 1]
    assert model.partial_fit(np.arange(12.0)[:, None] / 2).means_.dtype == np.float64


def test_methods_do_not_assign_attributes_of_subclasses():
    class Frozen(GaussianMixture):
        def __setattr__(self, name, value):
            if "means_" in vars(self):
                raise AttributeError(f"cannot assign {name}")
            super().__setattr__(name, value)

    model = Frozen(K, random_state=0).fit(data())
    np.testing.assert_array_equal(model.predict(data()), fitted().predict(data()))
