"""Tests of discriminant analysis by mixtures, against mclust, scikit-learn, SciPy and brute force in NumPy."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import sklearn
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from gmm_core import GaussianMixture, GaussianMixtureClassifier, InvalidParameterError, select
from gmm_core.model.covariance import COVARIANCE_TYPES

CASES = json.loads((Path(__file__).parent / "values" / "mclust_da.json").read_text(encoding="utf-8"))
MODELS = ["EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]
RNG = np.random.default_rng(0)
y = np.repeat(["a", "b", "c"], [60, 90, 50])
X = RNG.normal(size=(200, 3)) @ np.diag([1.0, 2.0, 0.5]) + np.repeat([[0, 0, 0], [2, 1, 0], [0, 3, 1]], [60, 90, 50], axis=0)
WEIGHT = RNG.integers(0, 4, 200).astype(float)
HOLED = np.where(RNG.random(X.shape) < 0.25, np.nan, X)


def classifier(n_components=1, **params):
    return GaussianMixtureClassifier(n_components, **{"random_state": 0, **params})


def matrices(gm):
    """Return the covariance matrices of a model, of shape (K, D, D)."""
    K, D = gm.means_.shape
    kind = COVARIANCE_TYPES[gm.covariance_type]
    return np.stack([kind.matrix(gm.covariances_, k, D) for k in range(K)])


def joint_by_scipy(model, rows):
    """Return log (π_c p(x | c)) of the observed values of each row."""
    out = np.empty((len(rows), len(model.classes_)))
    for n, x in enumerate(rows):
        o = ~np.isnan(x)
        for c, gm in enumerate(model.mixtures_):
            terms = [
                np.log(weight) + (stats.multivariate_normal.logpdf(x[o], mean[o], C[np.ix_(o, o)]) if o.any() else 0)
                for weight, mean, C in zip(gm.weights_, gm.means_, matrices(gm), strict=True)
            ]
            out[n, c] = np.log(model.priors_[c]) + logsumexp(terms)
    return out


# --- mclust ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", ["EDDA", "MclustDA"])
def test_mclust(name, method):
    case = CASES[name]
    data = np.array(case["X"], float).reshape(len(case["labels"]), -1)
    expected = next(a for a in case["analyses"] if a["type"] == method)
    several = data.shape[1] > 1
    # mclust's M-step of VVE does not maximise the likelihood
    types = [name for name in MODELS if name != "VVE"] if several else ["E", "V"]
    counts = 1 if method == "EDDA" else range(1, case["max_components"] + 1)
    model = GaussianMixtureClassifier(
        counts, covariance_type=types, method=method, reg_covar=0, tol=1e-12, max_iter=10_000,
        init_params="hierarchical",
    ).fit(data, case["labels"])
    order = [model.classes_.tolist().index(label) for label in case["classes"]]
    chosen = [model.mixtures_[c] for c in order]
    assert [gm.n_components for gm in chosen] == expected["n_components"]
    for gm, theirs in zip(chosen, expected["models"], strict=True):
        # of one component, mclust gives the models that are equal for one component a common name
        if theirs.startswith("X"):
            theirs = {"X": "E", "XXX": "EEE"}[theirs]
        assert gm.covariance_type == theirs
    # mclust stops where its log-likelihood is flat, and its M-step of EVE stops short: 1e-5 of some 2000
    assert model.log_likelihood_ == pytest.approx(expected["log_likelihood"], abs=5e-5)
    assert model.n_parameters_ == round(expected["n_parameters"])
    assert model.bic_ == pytest.approx(expected["bic"], abs=1e-4)
    assert 1 - model.score(data, case["labels"]) == pytest.approx(expected["training_error"], abs=1e-12)
    rows = data[case["rows"]]
    np.testing.assert_allclose(model.predict_proba(rows)[:, order], expected["posteriors"], atol=1e-6)
    priors = np.empty(len(order))
    priors[order] = case["prop"]
    model.set_params(priors=priors).fit(data, case["labels"])
    np.testing.assert_array_equal(model.priors_, priors / priors.sum())
    np.testing.assert_allclose(model.predict_proba(rows)[:, order], expected["posteriors_with_prop"], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name != "diabetes_insulin"])
def test_bic_of_each_model_of_edda_is_mclusts(name):
    case = CASES[name]
    for covariance_type, bic in case["analyses"][0]["bic_of_models"].items():
        model = GaussianMixtureClassifier(covariance_type=covariance_type, method="EDDA", reg_covar=0)
        assert model.fit(case["X"], case["labels"]).bic_ == pytest.approx(bic, rel=1e-6), covariance_type


# --- scikit-learn ----------------------------------------------------------------------------


def test_full_types_are_quadratic_discriminant_analysis():
    theirs = QuadraticDiscriminantAnalysis(priors=[0.2, 0.3, 0.5], store_covariance=True).fit(X, y)
    ours = classifier(reg_covar=0, priors=[0.2, 0.3, 0.5]).fit(X, y)
    for gm, covariance in zip(ours.mixtures_, theirs.covariance_, strict=True):
        gm.covariances_ = covariance[None]  # those of scikit-learn may be divided by n - 1 in place of n
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    edda = classifier(reg_covar=0, method="EDDA", covariance_type="VVV").fit(X, y)
    again = classifier(reg_covar=0).fit(X, y)
    np.testing.assert_allclose(edda.predict_proba(X), again.predict_proba(X), atol=1e-12)


def test_tied_edda_is_linear_discriminant_analysis():
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(X, y)
    ours = classifier(reg_covar=0, method="EDDA", covariance_type="tied").fit(X, y)
    np.testing.assert_allclose(ours.priors_, np.array([60, 90, 50]) / 200)
    within = sum((X[y == c] - X[y == c].mean(axis=0)).T @ (X[y == c] - X[y == c].mean(axis=0)) for c in "abc") / 200
    for gm in ours.mixtures_:
        np.testing.assert_allclose(gm.covariances_, within, rtol=1e-12)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-10)


@pytest.mark.parametrize("method", ["MclustDA", "EDDA"])
@pytest.mark.parametrize("missing", [False, True])
def test_probabilities_by_scipy(method, missing):
    data = HOLED if missing else X
    model = classifier(1 if method == "EDDA" else 2, method=method, covariance_type="VEV", missing="marginalize")
    model.set_params(reg_covar=1e-3).fit(data, y)
    rows = np.concatenate([data[::9], np.full((1, 3), np.nan)])
    joint = joint_by_scipy(model, rows)
    np.testing.assert_allclose(model.predict_joint_log_proba(rows), joint, rtol=1e-10)
    log = joint - logsumexp(joint, axis=1)[:, None]
    np.testing.assert_allclose(model.predict_log_proba(rows), log, atol=1e-10)
    np.testing.assert_allclose(model.predict_proba(rows), np.exp(log), atol=1e-10)
    np.testing.assert_array_equal(model.predict(rows), model.classes_[log.argmax(axis=1)])
    np.testing.assert_allclose(model.predict_proba(rows)[-1], [0.3, 0.45, 0.25], atol=1e-12)
    shares = np.log(np.array([0.3, 0.45, 0.25])) - np.log(model.priors_)
    total = logsumexp(joint_by_scipy(model, data) + shares, axis=1).sum()
    assert model.log_likelihood_ == pytest.approx(total, rel=1e-10)
    assert model.bic_ == pytest.approx(-2 * total + model.n_parameters_ * np.log(200), rel=1e-10)


# --- EDDA with missing values ----------------------------------------------------------------


def test_edda_without_constraints_is_a_fit_of_each_class():
    model = classifier(method="EDDA", missing="marginalize", tol=1e-12, max_iter=2000).fit(HOLED, y)
    for c, gm in zip("abc", model.mixtures_, strict=True):
        alone = GaussianMixture(missing="marginalize", tol=1e-12, max_iter=2000).fit(HOLED[y == c])
        # near the end, EM changes the parameters by the root of the change of the log-likelihood
        np.testing.assert_allclose(gm.means_, alone.means_, atol=1e-5)
        np.testing.assert_allclose(gm.covariances_, alone.covariances_, atol=1e-5)


def test_tied_edda_with_missing_values_is_em_row_by_row():
    """The textbook's EM for one covariance of all classes, with a loop over rows."""
    model = classifier(
        method="EDDA", covariance_type="tied", missing="marginalize", tol=1e-13, max_iter=2000, reg_covar=0
    ).fit(HOLED, y, WEIGHT)
    codes = np.unique(y, return_inverse=True)[1]
    means = np.stack([gm.means_[0] for gm in model.mixtures_])
    C = model.mixtures_[0].covariances_
    filled, scatter = np.zeros_like(X), np.zeros((3, 3))
    for n, x in enumerate(HOLED):
        o, m = np.flatnonzero(~np.isnan(x)), np.flatnonzero(np.isnan(x))
        filled[n] = np.where(np.isnan(x), means[codes[n]], x)
        slope = np.linalg.solve(C[np.ix_(o, o)], C[np.ix_(o, m)]).T
        filled[n, m] += slope @ (x[o] - means[codes[n], o])
        scatter[np.ix_(m, m)] += WEIGHT[n] * (C[np.ix_(m, m)] - slope @ C[np.ix_(o, m)])
    again = np.stack([np.average(filled[codes == c], axis=0, weights=WEIGHT[codes == c]) for c in range(3)])
    centred = filled - again[codes]
    scatter += (WEIGHT[:, None] * centred).T @ centred
    # the parameters are a fixed point of an iteration
    np.testing.assert_allclose(again, means, atol=1e-5)
    np.testing.assert_allclose(scatter / WEIGHT.sum(), C, atol=1e-5)


@pytest.mark.parametrize("covariance_type", MODELS)
def test_missing_values_are_no_exception_for_any_model(covariance_type):
    params = {"method": "EDDA", "covariance_type": covariance_type, "missing": "marginalize"}
    complete = classifier(**params).fit(X, y)
    np.testing.assert_array_equal(complete.predict_proba(X), classifier(**params).fit(X, y).predict_proba(X))
    holed = classifier(**params, max_iter=500).fit(HOLED, y)
    assert holed.score(X, y) > complete.score(X, y) - 0.1
    labelled = GaussianMixture(3, covariance_type=covariance_type, max_iter=0, labels_init=np.unique(y, return_inverse=True)[1])
    labelled.fit(X)
    for c, gm in enumerate(complete.mixtures_):
        np.testing.assert_allclose(gm.means_[0], labelled.means_[c], atol=1e-12)
        np.testing.assert_allclose(matrices(gm)[0], matrices(labelled)[c], rtol=1e-7, atol=1e-9)


def test_edda_that_does_not_converge_warns():
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        classifier(method="EDDA", missing="marginalize", max_iter=2, tol=0).fit(HOLED, y)
    hollow = np.where((y == "b")[:, None] & (np.arange(3) == 1), np.nan, X)
    for method in ("EDDA", "MclustDA"):
        with pytest.raises(ValueError, match=r"class 'b': .*X\[:, 1\] has no value"):
            classifier(method=method, missing="marginalize").fit(hollow, y)


# --- choices, weights, labels ----------------------------------------------------------------


def test_choice_in_each_class_is_that_of_select():
    types = ["full", "diag", "spherical"]
    model = classifier([1, 2, 3], covariance_type=types).fit(X, y)
    for c, gm in zip("abc", model.mixtures_, strict=True):
        best = select(X[y == c], [1, 2, 3], types).best
        assert (gm.covariance_type, gm.n_components) == (best.covariance_type, best.n_components)
        np.testing.assert_array_equal(gm.covariances_, best.covariances_)
    assert model.n_parameters_ == sum(gm.n_parameters for gm in model.mixtures_)


@pytest.mark.parametrize("method", ["MclustDA", "EDDA"])
def test_weights_are_numbers_of_rows(method):
    repeated = np.repeat(np.arange(200), WEIGHT.astype(int))
    params = {"method": method, "covariance_type": ["EEE", "VVV", "VVI"]}
    weighted = classifier(**params).fit(X, y, WEIGHT)
    counted = classifier(**params).fit(X[repeated], y[repeated])
    np.testing.assert_allclose(weighted.priors_, counted.priors_, rtol=1e-12)
    np.testing.assert_allclose(weighted.predict_proba(X), counted.predict_proba(X), atol=1e-9)
    assert weighted.bic_ == pytest.approx(counted.bic_, rel=1e-9)
    assert weighted.score(X, y, WEIGHT) == pytest.approx(accuracy_score(y, weighted.predict(X), sample_weight=WEIGHT))
    # weights below the range of float32
    params["covariance_type"] = "VVV"
    tiny, alike = (classifier(**params).fit(X.astype(np.float32), y, w) for w in (2.0**-900 * WEIGHT, WEIGHT))
    np.testing.assert_array_equal(tiny.predict_proba(X), alike.predict_proba(X))


@pytest.mark.parametrize(
    "labels",
    [
        np.array([True, False, True]), np.array([3, -1, 7]), np.array([1.0, 2.0, 5.0]), np.array(["x", "yy", "z"]),
        np.array(["x", "yy", "z"], object), np.array([2**40, 1, 0], object),
    ],
)  # fmt: skip
def test_labels_of_any_type(labels):
    named = labels[np.unique(y, return_inverse=True)[1]]
    model = classifier().fit(X, named)
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == model.classes_.dtype
    assert model.score(X, named) == np.mean(model.predict(X) == named) > 0.7
    assert classifier().fit(X, named.tolist()).classes_.tolist() == np.unique(labels).tolist()


def test_a_class_without_probability_is_never_predicted():
    model = classifier(priors=[0, 0.5, 0.5]).fit(X, y)
    assert (model.predict_proba(X)[:, 0] == 0).all() and "a" not in model.predict(X)
    assert "a" not in model.predict(1e200 * X)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_one_class_and_a_class_of_one_row():
    assert (classifier().fit(X, np.zeros(200, int)).predict_proba(X) == 1).all()
    labels = np.where(np.arange(200) == 7, "single", y)
    with pytest.warns(UserWarning, match="class 'single' has one row"):
        single = classifier(reg_covar=0.01).fit(X, labels).mixtures_[-1]
    with pytest.warns(UserWarning, match="class 'c' has one row"):
        classifier().fit(X, y, (y != "c") | (np.arange(200) == 199))
    np.testing.assert_allclose(single.means_[0], X[7])
    np.testing.assert_allclose(single.covariances_[0], 0.01 * np.eye(3), atol=1e-12)
    assert len(classifier(method="EDDA", covariance_type="tied").fit(X, labels).classes_) == 4


@pytest.mark.parametrize("scale", [1e200, 1e30])
def test_far_away_samples_belong_to_the_nearest_class(scale):
    model = classifier(2).fit(X.astype(np.float32 if scale < 1e100 else np.float64), y)
    rows = np.array([[scale, 0, 0], [0, -scale, 0]], model.mixtures_[0].means_.dtype)
    assert (model.predict_joint_log_proba(rows) == -np.inf).all()
    assert np.isin(model.predict_proba(rows), [0, 1]).all() and (model.predict_proba(rows).sum(axis=1) == 1).all()
    distance = [
        [min(r @ np.linalg.solve(C.astype(float), r) for C in matrices(gm)) for gm in model.mixtures_]
        for r in rows.astype(float) / scale
    ]
    np.testing.assert_array_equal(model.predict(rows), model.classes_[np.argmin(distance, axis=1)])


def test_float32_and_threads():
    single = classifier(2).fit(X.astype(np.float32), y)
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert single.predict_log_proba(X).dtype == np.float64
    np.testing.assert_allclose(single.predict_proba(X), classifier(2).fit(X, y).predict_proba(X), atol=1e-3)
    many = classifier([1, 2], n_threads=3).fit(X, y)
    np.testing.assert_array_equal(many.predict_proba(X), classifier([1, 2], n_threads=1).fit(X, y).predict_proba(X))


# --- scikit-learn's compositions -------------------------------------------------------------


def test_is_a_classifier():
    assert is_classifier(GaussianMixtureClassifier())
    tags = get_tags(GaussianMixtureClassifier(missing="marginalize"))
    assert tags.target_tags.required and tags.input_tags.allow_nan and tags.classifier_tags.multi_class
    assert not get_tags(GaussianMixtureClassifier()).input_tags.allow_nan


def test_in_compositions_of_sklearn():
    scaled = make_pipeline(StandardScaler(), classifier())
    np.testing.assert_allclose(scaled.fit(X, y).predict_proba(X), classifier().fit(X, y).predict_proba(X), atol=1e-4)
    grid = GridSearchCV(classifier(), {"covariance_type": ["full", "spherical"]}, scoring="neg_log_loss").fit(X, y)
    assert grid.best_params_["covariance_type"] == "full"
    calibrated = CalibratedClassifierCV(classifier()).fit(X, y, sample_weight=WEIGHT + 1)
    assert calibrated.score(X, y) > 0.7
    twin = clone(classifier([1, 2], priors=[0.2, 0.8]))
    assert twin.get_params() == classifier([1, 2], priors=[0.2, 0.8]).get_params()
    with sklearn.config_context(enable_metadata_routing=True):
        routed = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        assert cross_val_score(routed, X, y, params={"sample_weight": WEIGHT + 1}).mean() > 0.7


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_predict_the_same(copied):
    model = classifier(2).fit(X, y)
    np.testing.assert_array_equal(copied(model).predict_proba(X), model.predict_proba(X))


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "labels", "params", "message"),
    [
        (X, None, {}, "requires y to be passed, but the target y is None"),
        (X, y[:-1], {}, "y has 199 rows, but X has 200 rows"),
        (X, np.column_stack([y, y]), {}, r"y should be a 1d array, got an array of shape \(200, 2\)"),
        (X, X[:, 0], {}, "Unknown label type: continuous"),
        (X, np.full(200, np.nan), {}, "Input y contains NaN"),
        (X, [1, "a"] * 100, {}, "labels of type int, str"),
        (X, [None, "a"] * 100, {}, "labels of type NoneType, str"),
        (X, [[1], [1, 2]] * 100, {}, "y should be a 1d array of labels"),
        (X, np.ones(200, complex), {}, "Unknown label type: y has dtype complex128"),
        (HOLED, y, {}, "Input X contains NaN"),
        (X[:1], y[:1], {}, "1 sample"),
        (X, np.where(np.arange(200) < 3, "few", y), {"n_components": 4}, "class 'few' has 3 rows .* n_components is 4"),
        (X, np.where(np.arange(200) < 3, "few", y), {"n_components": range(1, 5)}, "class 'few' has 3 rows"),
        (np.where(y[:, None] == "b", 1.0, X), y, {"reg_covar": 0}, "class 'b': all fits failed"),
        (np.zeros((200, 3)), y, {"reg_covar": 0, "method": "EDDA"}, "no covariance type could be fitted"),
        (X, y, {"n_components": 0}, "'n_components' parameter of GaussianMixtureClassifier"),
        (X, y, {"n_components": "2"}, "n_components should be integers"),
        (X, y, {"n_components": []}, "n_components is empty"),
        (X, y, {"n_components": 2, "method": "EDDA"}, "with method='EDDA' each class has one component"),
        (X, y, {"method": "mda"}, "'method' parameter of GaussianMixtureClassifier"),
        (X, y, {"covariance_type": "round"}, "covariance_type should be names among"),
        (X, y, {"covariance_type": []}, "covariance_type is empty"),
        (X, y, {"covariance_type": "V", "method": "EDDA"}, "'V'"),
        (X, y, {"priors": [0.5, 0.5]}, r"priors has shape \(2,\), expected \(3,\)"),
        (X, y, {"priors": [0.5, 0.6, -0.1]}, "priors should be non-negative and sum to 1"),
        (X, y, {"priors": [0.5, 0.6, 0.1]}, "priors should be non-negative and sum to 1"),
        (X, y, {"tol": -1}, "'tol' parameter of GaussianMixtureClassifier"),
        (X, y, {"missing": "drop"}, "'missing' parameter of GaussianMixtureClassifier"),
    ],
)
def test_bad_fit_changes_nothing(x, labels, params, message):
    model = classifier().fit(X, y)
    before = vars(model).copy()
    model.set_params(**params)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(x, labels)
    assert all(vars(model)[name] is before[name] for name in before if name.endswith("_"))


def test_bad_calls():
    model = classifier().fit(X, y)
    for weight in (np.full(200, -1.0), np.zeros(200), np.ones(3)):
        with pytest.raises(ValueError):
            model.fit(X, y, weight)
    with pytest.raises(ValueError, match="class 'a' has 0 rows of positive weight"):
        model.fit(X, y, (y != "a").astype(float))
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        classifier().fit(X, y[:, None])
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixtureClassifier is expecting 3"):
        model.predict(X[:, :2])
    with pytest.raises(InvalidParameterError):
        classifier(priors=None, n_threads=0).fit(X, y)
    with pytest.raises(ValueError, match="y has 3 rows"):
        model.score(X, y[:3])
    with pytest.raises(ValueError, match="y has labels like"):
        model.score(X, np.zeros(200, int))
    for name in ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba"):
        with pytest.raises(ValueError, match="GaussianMixtureClassifier instance is not fitted"):
            getattr(classifier(), name)(X)
