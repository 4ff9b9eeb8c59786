"""Tests of save, load and to_sklearn of Bayesian mixtures."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import BayesianGaussianMixture as SklearnBayesianMixture

from gmm_core import BayesianGaussianMixture, GaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore:Best performing")
TYPES = ["full", "tied", "diag", "spherical"]
WEIGHTS = ["dirichlet_process", "dirichlet_distribution"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    return np.vstack([rng.normal(size=(60, 2)), rng.normal(4, 2, size=(60, 2))]).astype(dtype)


def fitted(covariance_type="full", dtype=np.float64, **params):
    params = {"n_components": 3, "random_state": 3, "covariance_type": covariance_type, **params}
    return BayesianGaussianMixture(**params).fit(data(dtype))


def assert_same_model(model, original):
    """Assert that two models have bit-identical attributes of the same types."""
    assert vars(model).keys() == vars(original).keys()
    for name, expected in vars(original).items():
        value = getattr(model, name)
        if name not in original.get_params():
            assert type(value) is type(expected), name
        if isinstance(expected, (np.ndarray, np.generic, tuple)):
            assert np.asarray(value).dtype == np.asarray(expected).dtype, name
            np.testing.assert_array_equal(value, expected, err_msg=name)
        else:
            assert value == expected, name
    X = data(original.means_.dtype)
    for method in ("predict_proba", "score_samples", "log_predictive"):
        np.testing.assert_array_equal(getattr(model, method)(X), getattr(original, method)(X))
    np.testing.assert_array_equal(model.sample(5)[0], original.sample(5)[0])


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])
def test_load_gives_what_was_saved(tmp_path, covariance_type, dtype, weights, posterior):
    model = fitted(
        covariance_type, dtype, n_init=2, weight_concentration_prior_type=weights,
        posterior=posterior, max_iter=5,
    )  # fmt: skip
    model.save(tmp_path / "m")
    loaded = BayesianGaussianMixture.load(str(tmp_path / "m"))
    assert_same_model(loaded, model)
    assert loaded.n_components_ == model.n_components_
    # a warm start continues from the loaded model with the same bits
    longer = model.set_params(warm_start=True).fit(data(dtype))
    assert_same_model(loaded.set_params(warm_start=True).fit(data(dtype)), longer)


@all_types
def test_priors_and_feature_names_are_kept(tmp_path, covariance_type):
    covariance = {"full": np.eye(2), "tied": np.eye(2).tolist(), "diag": [1, 2], "spherical": 3}
    frame = pd.DataFrame(data(), columns=["größe", "b c"])
    model = BayesianGaussianMixture(
        n_components=2, random_state=0, covariance_type=covariance_type, mean_prior=[0, 1],
        covariance_prior=covariance[covariance_type], degrees_of_freedom_prior=4,
    ).fit(frame)  # fmt: skip
    model.save(tmp_path / "m")
    loaded = BayesianGaussianMixture.load(tmp_path / "m")
    assert loaded.feature_names_in_.tolist() == ["größe", "b c"]
    np.testing.assert_array_equal(loaded.mean_prior, [0, 1])
    np.testing.assert_array_equal(loaded.covariance_prior, covariance[covariance_type])
    assert loaded.fit(frame).lower_bounds_ == model.lower_bounds_


def test_what_is_not_saved(tmp_path):
    model = fitted().set_params(
        random_state=np.random.RandomState(0), init_params=lambda X, K, random_state: None
    )
    model.save(tmp_path / "m")
    loaded = BayesianGaussianMixture.load(tmp_path / "m")
    assert (loaded.random_state, loaded.init_params) == (None, "kmeans")
    with pytest.raises(ValueError, match="not fitted"):
        BayesianGaussianMixture().save(tmp_path / "none")
    with pytest.raises(ValueError, match="cannot be saved: The 'tol' parameter of Bayesian"):
        fitted().set_params(tol=-1).save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_model_without_iterations_is_saved(tmp_path):
    model = fitted(max_iter=0)
    assert model.lower_bound_ == model.elbo_ == model.restarts_[0].log_likelihood == -np.inf
    model.save(tmp_path / "m")
    assert_same_model(BayesianGaussianMixture.load(tmp_path / "m"), model)


def test_a_file_of_the_other_class_is_refused(tmp_path):
    fitted().save(tmp_path / "bayesian")
    GaussianMixture(2, random_state=0).fit(data()).save(tmp_path / "plain")
    with pytest.raises(ValueError, match=r"bayesian was written by BayesianGaussianMixture\.save"):
        GaussianMixture.load(tmp_path / "bayesian")
    with pytest.raises(ValueError, match=r"plain was written by GaussianMixture\.save"):
        BayesianGaussianMixture.load(tmp_path / "plain")


# --- damaged files ------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path):
    """Return a function that changes a saved model, and expects that it is refused."""
    path = tmp_path / "m.npz"

    def check(change, message="", covariance_type="full"):
        fitted(covariance_type).save(path)
        with np.load(path, allow_pickle=False) as archive:  # nothing in it is pickled
            arrays = dict(archive)
        header = json.loads(str(arrays["header"]))
        change(header, arrays)
        np.savez(path, **{**arrays, "header": np.array(json.dumps(header))})
        with pytest.raises(ValueError, match=f"m.npz is not a model saved by gmm_core: .*{message}"):
            BayesianGaussianMixture.load(path)

    return check


BAD_ARRAYS = {
    "weight_concentration_": [
        lambda a: a[0, :2], lambda a: a[:, :2], lambda a: a * np.nan, np.negative, lambda a: a * 0,
        lambda a: a.astype(int), lambda a: a.astype(str),
    ],
    "mean_precision_": [lambda a: a[:2], lambda a: a * np.inf, np.negative, lambda a: a[0]],
    "degrees_of_freedom_": [lambda a: a[0], lambda a: a * 0 + 1, lambda a: a * np.nan],
    "mean_prior_": [lambda a: a[:1], lambda a: a * np.nan, lambda a: a.astype(complex)],
    "covariance_prior_": [lambda a: a[0], lambda a: a * np.inf],
    "precisions_cholesky_": [np.negative, lambda a: a[:2]],
    "mean_prior": [lambda a: np.zeros(2, int), lambda a: np.full(2, "a")],
}  # fmt: skip
BAD_ATTRIBUTES = {
    "elbo_": [None, "a", float("inf")],
    "weight_concentration_prior_": [None, 0, -1, "a", float("nan")],
    "mean_precision_prior_": [None, 0, -1, float("inf")],
    "degrees_of_freedom_prior_": [None, 0, [1]],
    "n_iter_": [None, -1],
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_arrays_of_another_shape_dtype_or_value(refused, name):
    for change in BAD_ARRAYS[name]:
        refused(lambda h, a, change=change: a.update({name: change(a.get(name))}), name)
    if name != "mean_prior":
        refused(lambda h, a: a.pop(name), f"it has no array '{name}'")


@pytest.mark.parametrize("name", BAD_ATTRIBUTES)
def test_attributes_of_another_type_or_value(refused, name):
    for value in BAD_ATTRIBUTES[name]:
        refused(lambda h, a, value=value: h["attributes"].update({name: value}), name)
    refused(lambda h, a: h["attributes"].pop(name), f"it has no {name}")


def test_other_contents(refused):
    refused(lambda h, a: h.update(version=2), "version is 2, this gmm_core reads up to 1")
    refused(lambda h, a: h.update(format="other"), "format is 'other'")
    refused(lambda h, a: h["params"].update(posterior="other"), "'posterior' parameter")
    refused(lambda h, a: h["params"].update(covariance_prior=-1), "'covariance_prior' parameter")
    refused(lambda h, a: h["params"].update(foo=1), "foo")
    refused(lambda h, a: h["attributes"].update(n_samples_seen_=1), "unknown attributes")
    refused(lambda h, a: a.update(covariance_prior_=np.ones(2)), "covariance_prior_", "spherical")
    refused(lambda h, a: a.update(degrees_of_freedom_=np.ones(3)), "degrees_of_freedom_", "tied")


# --- scikit-learn -------------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_sklearn_is_the_same_model(covariance_type, weights, dtype):
    model = fitted(covariance_type, dtype, weight_concentration_prior_type=weights, n_threads=2)
    other, X = model.to_sklearn(), data(dtype)
    assert type(other) is SklearnBayesianMixture
    assert other.get_params().items() <= model.get_params().items()
    for name in set(vars(model)) - set(model.get_params()):
        if name != "restarts_":
            np.testing.assert_array_equal(getattr(other, name), getattr(model, name), err_msg=name)
    warm = model.to_sklearn().set_params(warm_start=True)
    assert warm.fit(X).means_.shape == (3, 2)
    # scikit-learn's formula for diag loses digits by cancellation, with a factor of (μ/σ)² < 100
    tolerance = 1e-12 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(other.score_samples(X), model.score_samples(X), rtol=0, atol=tolerance)
    np.testing.assert_allclose(other.predict_proba(X), model.predict_proba(X), rtol=0, atol=tolerance)
    other.means_[:] = 100
    for array in (other.weight_concentration_ if weights == WEIGHTS[0] else [other.weight_concentration_]):
        array[:] = 100
    assert (model.means_ != 100).all() and (np.array(model.weight_concentration_) != 100).all()


def test_to_sklearn_refuses_a_posterior_that_scikit_learn_does_not_have(monkeypatch):
    X = data()
    for covariance_type in ("full", "tied"):
        model = fitted(covariance_type, posterior="conjugate")
        got = model.to_sklearn().score_samples(X)
        np.testing.assert_allclose(got, model.score_samples(X), rtol=0, atol=1e-12)
    for covariance_type in ("diag", "spherical"):
        with pytest.raises(ValueError, match="posterior='conjugate' with covariance_type="):
            fitted(covariance_type, posterior="conjugate").to_sklearn()
    with pytest.raises(ValueError, match="not fitted"):
        BayesianGaussianMixture().to_sklearn()
    model = fitted(init_params="hierarchical")
    assert model.to_sklearn().init_params == "kmeans"
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ImportError, match="to_sklearn needs scikit-learn.*: pip install"):
        model.to_sklearn()
