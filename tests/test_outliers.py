"""Tests of the outlier detector, against quantiles, SciPy's χ² and models that are fitted group by group."""

import copy
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import stats
from sklearn.base import clone, is_outlier_detector
from sklearn.covariance import EllipticEnvelope
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metadata_routing import get_routing_for_object

from gmm_core import GaussianMixture, GaussianMixtureOutlierDetector, InvalidParameterError, select
from gmm_core.infer.threshold import threshold_of_rows

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(size=(200, 2)), RNG.normal(size=(100, 2)) * 0.3 + [6, 0]])
GROUPS = np.where(RNG.random(300) < 0.4, "pump", "fan")
SHIFTED = X + np.where(GROUPS == "pump", 20.0, 0.0)[:, None]
WEIGHT = RNG.integers(0, 4, 300).astype(float)


def detector(n_components=2, **params):
    return GaussianMixtureOutlierDetector(n_components, **{"random_state": 0, **params})


# --- thresholds ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.1, 1 / 30, 0.499, 0.5])
def test_the_share_of_outliers_is_the_contamination(share):
    model = detector(contamination=share).fit(X)
    expected = GaussianMixture(2, random_state=0).fit(X).score_samples(X)
    np.testing.assert_array_equal(model.score_samples(X), expected)
    np.testing.assert_array_equal(model.decision_function(X), expected - model.offset_)
    found = model.predict(X)
    n = int(share * 300 + 1e-6)
    assert set(np.flatnonzero(found == -1)) == set(np.argsort(expected)[:n])
    np.testing.assert_array_equal(detector(contamination=share).fit_predict(X), found)
    assert found.dtype == np.int64 and isinstance(model.offset_, float)


def test_threshold_of_rows_by_brute_force():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        scores, weight = rng.normal(size=20), rng.integers(0, 3, 20).astype(float)
        share = rng.uniform(0.01, 0.5)
        offset = threshold_of_rows(scores, weight, share)
        assert weight[scores < offset].sum() <= share * weight.sum()
        assert weight[scores <= offset].sum() > share * weight.sum()    # one row more would be too many
        repeated = np.repeat(scores, weight.astype(int))
        # of equal rows, all or none are outliers, so that the threshold is the same
        assert offset == threshold_of_rows(repeated, None, share)
    assert threshold_of_rows(np.ones(5), None, 0.5) == 1
    assert threshold_of_rows(np.array([-np.inf, -np.inf, 3, 4]), None, 0.25) == 3
    assert np.isfinite(threshold_of_rows(np.full(3, -np.inf), None, 0.1))


def test_auto_is_the_quantile_of_chi2_for_one_component():
    data = RNG.normal(size=(500, 3)) @ np.array([[1, 0.5, 0], [0, 2, 0], [0, 0, 0.1]])
    model = detector(1, contamination="auto", reg_covar=0).fit(data)
    gm = model.mixtures_[0]
    constant = gm.score_samples(gm.means_)[0]
    share = stats.chi2.sf(2 * (constant - model.offset_), 3)
    # of 10,000 draws the share has a standard error of 0.0016
    assert abs(share - 0.025) < 4 * 0.0016
    again = detector(1, contamination="auto", reg_covar=0, n_threads=3).fit(data)
    assert again.offset_ == model.offset_


def test_auto_is_a_share_of_the_mixtures_own_samples():
    model = detector(contamination="auto").fit(X)
    drawn, _ = GaussianMixture.from_parameters(
        model.mixtures_[0].weights_, model.mixtures_[0].means_, covariances=model.mixtures_[0].covariances_,
        random_state=1,
    ).sample(40_000)  # fmt: skip
    # the errors of both numbers of draws
    assert abs(np.mean(model.predict(drawn) == -1) - 0.025) < 4 * np.hypot(0.0016, 0.0008)


def test_one_component_ranks_as_the_empirical_covariance_does():
    data = RNG.normal(size=(200, 2)) @ np.array([[2, 1], [0, 1]])
    theirs = EllipticEnvelope(support_fraction=1.0, assume_centered=False, contamination=0.1, random_state=0).fit(data)
    ours = detector(1, contamination=0.1, reg_covar=0).fit(data)
    np.testing.assert_array_equal(ours.predict(data), theirs.predict(data))


def test_weights_are_numbers_of_rows():
    repeated = X[np.repeat(np.arange(300), WEIGHT.astype(int))]
    weighted = detector(1, contamination=0.05).fit(X, sample_weight=WEIGHT)
    counted = detector(1, contamination=0.05).fit(repeated)
    np.testing.assert_allclose(weighted.offset_, counted.offset_, rtol=1e-12)
    np.testing.assert_allclose(weighted.score_samples(X), counted.score_samples(X), rtol=1e-10, atol=1e-12)


# --- groups ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [2, [1, 2, 3], {"fan": 2, "pump": [1, 3]}])
@pytest.mark.parametrize("contamination", [0.05, "auto"])
def test_groups_are_as_models_of_their_own(n_components, contamination):
    params = {"contamination": contamination, "covariance_type": ["full", "diag"]}
    model = detector(n_components, **params).fit(SHIFTED, sample_weight=WEIGHT, groups=GROUPS)
    assert model.groups_.tolist() == ["fan", "pump"] and model.offset_.shape == (2,)
    scores, decision = model.score_samples(SHIFTED, GROUPS), model.decision_function(SHIFTED, groups=GROUPS)
    for g, group in enumerate(["fan", "pump"]):
        rows = GROUPS == group
        counts = n_components[group] if isinstance(n_components, dict) else n_components
        alone = detector(counts, **params).fit(SHIFTED[rows], sample_weight=WEIGHT[rows])
        assert model.mixtures_[g].n_components == alone.mixtures_[0].n_components
        assert model.offset_[g] == alone.offset_
        np.testing.assert_array_equal(scores[rows], alone.score_samples(SHIFTED[rows]))
        np.testing.assert_array_equal(decision[rows], alone.decision_function(SHIFTED[rows]))
        best = select(SHIFTED[rows], counts, ["full", "diag"], sample_weight=WEIGHT[rows]).best
        assert (best.n_components, best.covariance_type) == (
            model.mixtures_[g].n_components, model.mixtures_[g].covariance_type
        )
    np.testing.assert_array_equal(model.predict(SHIFTED, GROUPS), np.where(decision < 0, -1, 1))
    again = detector(n_components, **params).fit_predict(SHIFTED, sample_weight=WEIGHT, groups=GROUPS)
    np.testing.assert_array_equal(again, model.predict(SHIFTED, GROUPS))
    # what is normal for one group is an outlier of the other
    assert (model.predict(SHIFTED[:50], np.where(GROUPS[:50] == "fan", "pump", "fan")) == -1).all()


def test_groups_may_be_missing_in_a_prediction_and_numbers():
    numbers = np.where(GROUPS == "fan", 7, -3)
    model = detector().fit(SHIFTED, groups=pd.Series(numbers))
    assert model.groups_.tolist() == [-3, 7]
    only = SHIFTED[GROUPS == "fan"]
    np.testing.assert_array_equal(
        model.score_samples(only, [7.0] * len(only)), model.score_samples(SHIFTED, numbers)[GROUPS == "fan"]
    )


def test_many_groups_in_any_order():
    groups = RNG.permutation(np.repeat(np.arange(60), 5))
    model = detector(1, contamination=0.2).fit(X, groups=groups)
    found = model.predict(X, groups)
    assert all(np.sum(found[groups == g] == -1) == 1 for g in range(60))


def test_fit_without_groups_forgets_them():
    model = detector().fit(SHIFTED, groups=GROUPS).fit(X)
    assert not hasattr(model, "groups_") and model.predict(X).shape == (300,)


# --- large data ------------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [False, True])
def test_half_a_million_rows_in_bounded_memory(grouped):
    rng = np.random.default_rng(0)
    n = 500_000
    data = rng.normal(size=(n, 4)) + 8.0 * rng.integers(0, 2, (n, 1))
    groups = rng.integers(0, 2, n) if grouped else None
    tracemalloc.start()
    model = detector(contamination=0.01, max_iter=20).fit(data, groups=groups)
    found = model.predict(data, groups)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the number of outliers of each group is rounded down
    assert n // 100 - 2 < np.sum(found == -1) <= n // 100
    # responsibilities of all rows would take 8 MB for each component, squared distances as much; the
    # subset of the start takes at most 24 MB, and scores, their order and labels 4 MB each
    assert peak < 60e6 if not grouped else peak < 90e6


def test_large_data_that_are_converted_in_parts():
    data = np.asfortranarray(RNG.normal(size=(600_000, 8)).astype(np.float64))
    model = detector(1, contamination=0.01).fit(data)
    assert np.sum(model.predict(data) == -1) == 6000
    few = detector(1, contamination=0.01).fit(np.ascontiguousarray(data[:1000]))
    assert few.offset_ == pytest.approx(model.offset_, abs=1)


def test_float32_and_names():
    single = detector(contamination=0.1).fit(X.astype(np.float32))
    assert single.score_samples(X.astype(np.float32)).dtype == np.float32
    assert single.score_samples(X).dtype == np.float64
    assert np.sum(single.predict(X.astype(np.float32)) == -1) == 30
    frame = pd.DataFrame(X, columns=["a", "b"])
    named = detector().fit(frame)
    assert named.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        named.predict(frame[["b", "a"]])
    far = detector().fit(X)
    assert far.predict([[1e200, 0]]) == [-1] and far.decision_function([[1e200, 0]]) == [-np.inf]


# --- scikit-learn's compositions -------------------------------------------------------------


def test_is_an_outlier_detector():
    assert is_outlier_detector(GaussianMixtureOutlierDetector())


def outliers_found(model, data, y=None):
    return float(np.sum(model.predict(data) == -1))


def test_in_compositions_of_sklearn():
    scaled = make_pipeline(StandardScaler(), detector(contamination=0.1))
    assert np.sum(scaled.fit_predict(X) == -1) == 30
    grid = GridSearchCV(detector(), {"contamination": [0.02, 0.2]}, scoring=outliers_found).fit(X)
    assert grid.best_params_["contamination"] == 0.2
    twin = clone(detector([1, 2], contamination=0.02))
    assert twin.get_params() == detector([1, 2], contamination=0.02).get_params()
    with sklearn.config_context(enable_metadata_routing=True):
        routed = detector().set_fit_request(groups=True, sample_weight=True).set_predict_request(groups=True)
        routed.set_decision_function_request(groups=False)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, routed)
        pipeline.fit(SHIFTED, groups=GROUPS, sample_weight=WEIGHT)
        direct = detector().fit(scaler.fit_transform(SHIFTED), groups=GROUPS, sample_weight=WEIGHT)
        np.testing.assert_array_equal(
            pipeline.predict(SHIFTED, groups=GROUPS), direct.predict(scaler.transform(SHIFTED), GROUPS)
        )
        requests = get_routing_for_object(routed)
        assert requests.predict.requests == {"groups": True}
        assert requests.decision_function.requests == {"groups": False}
        assert requests.score.requests == {}
        with pytest.raises(TypeError, match="predict takes the metadata groups"):
            detector().set_predict_request(sample_weight=True)
        with pytest.raises(TypeError, match="Unexpected argument 'groups'"):
            detector().set_score_request(groups=True)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_predict_the_same(copied):
    model = detector().fit(SHIFTED, groups=GROUPS)
    np.testing.assert_array_equal(copied(model).predict(SHIFTED, GROUPS), model.predict(SHIFTED, GROUPS))


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "groups", "message"),
    [
        ({"contamination": 0}, None, "'contamination' parameter of GaussianMixtureOutlierDetector"),
        ({"contamination": 0.51}, None, "'contamination' parameter"),
        ({"contamination": "most"}, None, "'contamination' parameter"),
        ({"contamination": True}, None, "'contamination' parameter"),
        ({"n_components": 0}, None, "'n_components' parameter of GaussianMixtureOutlierDetector"),
        ({"n_components": 301}, None, "X has 300 rows of positive weight, but n_components is 301"),
        ({"n_components": {"fan": 1}}, None, "n_components is a dict, which needs groups"),
        ({"n_components": {"fan": 1}}, GROUPS, "n_components is a dict without the group 'pump'"),
        ({"n_components": {"fan": 1, "pump": 0}}, GROUPS, "'n_components' parameter"),
        ({"n_components": 4}, np.where(np.arange(300) < 3, "few", "many"), "group 'few' has 3 rows .* n_components is 4"),
        ({"covariance_type": "round"}, None, "covariance_type should be names among"),
        ({"tol": -1.0}, None, "'tol' parameter of GaussianMixtureOutlierDetector"),
        ({}, GROUPS[:-1], "groups has 299 rows, but X has 300 rows"),
        ({}, X[:, 0], "groups has numbers that are not whole"),
        ({}, [None] * 300, "groups has labels of type NoneType"),
    ],
)
def test_bad_fit_changes_nothing(params, groups, message):
    model = detector().fit(X)
    before = vars(model).copy()
    model.set_params(**params)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, groups=groups)
    assert all(vars(model)[name] is before[name] for name in before if name.endswith("_"))


def test_failed_fit_of_a_group_names_it():
    data = np.where(GROUPS[:, None] == "pump", 1.0, X)
    with pytest.raises(ValueError, match="group 'pump': all fits failed"):
        detector(1, reg_covar=0).fit(data, groups=GROUPS)
    with pytest.raises(ValueError, match="^all fits failed"):
        detector(1, reg_covar=0).fit(np.ones((10, 2)))


def test_bad_calls():
    grouped, plain = detector().fit(SHIFTED, groups=GROUPS), detector().fit(X)
    names = np.where(np.arange(300) == 17, "motor", GROUPS)
    for name in ("score_samples", "decision_function", "predict"):
        with pytest.raises(ValueError, match=r"groups\[17\] is 'motor', which is not among the 2 groups of the fit"):
            getattr(grouped, name)(SHIFTED, names)
        with pytest.raises(ValueError, match="groups is None, but the model was fitted with groups"):
            getattr(grouped, name)(SHIFTED)
        with pytest.raises(ValueError, match="groups was given, but the model was fitted without groups"):
            getattr(plain, name)(X, GROUPS)
        with pytest.raises(ValueError, match="GaussianMixtureOutlierDetector instance is not fitted"):
            getattr(detector(), name)(X)
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixtureOutlierDetector is expecting 2"):
        plain.predict(np.ones((2, 3)))
    with pytest.raises(ValueError, match="contains NaN"):
        detector().fit(np.where(X > 5, np.nan, X))
    with pytest.raises(InvalidParameterError):
        detector(n_threads=0).fit(X)
    with pytest.raises(ValueError):
        plain.fit(X, sample_weight=np.zeros(300))
