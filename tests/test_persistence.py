"""Models that leave the process: save and load, pickle, copy, joblib, scikit-learn's class."""

from __future__ import annotations

import copy
import json
import pickle
import zipfile

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture as SklearnMixture

from gmm_core import GaussianMixture

TYPES = ["full", "tied", "diag", "spherical"]
FITTED = [
    *("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "converged_"),
    *("n_iter_", "lower_bound_", "lower_bounds_", "n_features_in_"),
]
all_types = pytest.mark.parametrize("covariance_type", TYPES)


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    return np.vstack([rng.normal(size=(60, 2)), rng.normal(4, 2, size=(60, 2))]).astype(dtype)


def fitted(covariance_type="full", dtype=np.float64, **params):
    params = {"n_components": 2, "random_state": 3, "covariance_type": covariance_type, **params}
    return GaussianMixture(**params).fit(data(dtype))


def assert_same_model(model, original):
    """Same bits in, same bits out."""
    X = data(original.means_.dtype)
    for name in FITTED:
        expected, value = getattr(original, name), getattr(model, name)
        np.testing.assert_array_equal(value, expected)
        assert np.asarray(value).dtype == np.asarray(expected).dtype, name
    np.testing.assert_array_equal(model.predict_proba(X), original.predict_proba(X))
    np.testing.assert_array_equal(model.sample(5)[0], original.sample(5)[0])
    assert model.get_params() == original.get_params()


# --- save and load --------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_load_gives_what_was_saved(tmp_path, covariance_type, dtype):
    model = fitted(covariance_type, dtype, tol=1e-5, n_init=2, n_threads=1, init_params="random")
    path = tmp_path / "a model"
    model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a model"]  # no suffix is added
    loaded = GaussianMixture.load(str(path))
    assert_same_model(loaded, model)
    refitted, expected = loaded.fit(data(dtype)), model.fit(data(dtype))
    np.testing.assert_array_equal(refitted.means_, expected.means_)


def test_feature_names_and_initial_arrays_are_kept(tmp_path):
    frame = pd.DataFrame(data(), columns=["größe", "b c"])
    start = {"weights_init": [0.25, 0.75], "means_init": [[0, 1], [4, 4]]}
    model = GaussianMixture(2, random_state=0, **start).fit(frame)
    model.save(tmp_path / "m.npz")
    loaded = GaussianMixture.load(tmp_path / "m.npz")
    assert loaded.feature_names_in_.dtype == object
    assert loaded.feature_names_in_.tolist() == ["größe", "b c"]
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame[["b c", "größe"]])
    for name, value in start.items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    assert loaded.precisions_init is None
    assert loaded.fit(frame).lower_bound_ == model.lower_bound_


def test_parameters_of_numpy_types_and_what_is_not_kept(tmp_path):
    model = fitted().set_params(
        tol=np.float32(0.25),
        max_iter=np.int64(7),
        warm_start=np.True_,
        random_state=np.random.RandomState(0),
        init_params=lambda X, K, random_state: None,
    )
    model.save(tmp_path / "m")
    loaded = GaussianMixture.load(tmp_path / "m")
    assert (loaded.tol, loaded.max_iter, loaded.warm_start) == (0.25, 7, True)
    assert (loaded.random_state, loaded.init_params) == (None, "kmeans")


def test_reg_covar_of_each_feature_is_kept(tmp_path):
    model = fitted(reg_covar=np.array([0.5, 0.25]))
    model.save(tmp_path / "m")
    loaded = GaussianMixture.load(tmp_path / "m")
    assert loaded.reg_covar == [0.5, 0.25]
    np.testing.assert_array_equal(loaded.fit(data()).covariances_, model.covariances_)


def test_models_without_a_fit(tmp_path):
    made = GaussianMixture.from_parameters([1.0], [[0.0, 1.0]], covariances=[[[2.0, 0], [0, 1]]])
    by_hand = GaussianMixture(1)
    by_hand.weights_, by_hand.means_, by_hand.covariances_ = (
        made.weights_,
        made.means_,
        made.covariances_,
    )
    for model in (made, by_hand):
        model.save(tmp_path / "m")
        loaded = GaussianMixture.load(tmp_path / "m")
        np.testing.assert_array_equal(loaded.score_samples(data()), made.score_samples(data()))
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_parameter_that_cannot_be_saved_leaves_no_file(tmp_path):
    model = fitted().set_params(verbose=object())
    with pytest.raises(TypeError, match="parameter of type object"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_nothing_in_the_file_is_pickled(tmp_path):
    frame = pd.DataFrame(data(), columns=["a", "b"])
    GaussianMixture(2, random_state=0, means_init=data()[[0, 100]]).fit(frame).save(tmp_path / "m")
    with np.load(tmp_path / "m", allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "fU" for name in archive.files)
        assert json.loads(str(archive["header"]))["version"] == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda good: b"",
        lambda good: b"weights,means\n1,2\n",
        lambda good: good[: len(good) // 2],
        lambda good: good[:400] + b"?" + good[401:],  # within the header: a wrong check sum
        lambda good: pickle.dumps(GaussianMixture()),
        lambda good: pickle.dumps({"header": 1}),
    ],
    ids=["empty", "text", "cut", "damaged", "pickle", "pickled dict"],
)
def test_other_files_are_refused_by_name(tmp_path, make):
    path = tmp_path / "some file.npz"
    fitted().save(path)
    path.write_bytes(make(path.read_bytes()))
    with pytest.raises(ValueError, match="some file.npz is not a model saved by gmm_core"):
        GaussianMixture.load(path)


def rewrite(path, change):
    """Change what is in a saved model; `change` gets the arrays and the header as a dict."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    change(header, arrays)
    if "header" in arrays:
        arrays["header"] = np.array(json.dumps(header))
    with open(path, "wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, a: h.update(version=3), "m.npz .*version is 3, this gmm_core reads up to 2"),
        (lambda h, a: h.update(format="other"), "m.npz .*format is 'other'"),
        (lambda h, a: h.pop("version"), "m.npz .*'version'"),
        (lambda h, a: h.pop("params"), "m.npz .*'params'"),
        (lambda h, a: a.pop("header"), "m.npz .*header"),
        (lambda h, a: a.pop("means_"), "m.npz .*'means_'"),
        (lambda h, a: a.update(means_=np.ones((3, 2))), r"expected \(3,\)"),
        (lambda h, a: h["params"].update(tol=-1), "'tol' parameter"),
    ],
)
def test_saved_models_that_were_changed(tmp_path, change, message):
    fitted().save(tmp_path / "m.npz")
    rewrite(tmp_path / "m.npz", change)
    with pytest.raises(ValueError, match=message):
        GaussianMixture.load(tmp_path / "m.npz")


def test_objects_in_the_file_are_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the file was unpickled",)

    fitted().save(tmp_path / "m.npz")
    for name in ("header", "means_"):
        with np.load(tmp_path / "m.npz") as archive:
            arrays = dict(archive)
        np.savez(tmp_path / "bomb.npz", **{**arrays, name: np.array([Bomb()], dtype=object)})
        with zipfile.ZipFile(tmp_path / "bomb.npz") as archive:
            assert b"was unpickled" in archive.read(f"{name}.npy")
        with pytest.raises(ValueError, match="bomb.npz is not a model"):
            GaussianMixture.load(tmp_path / "bomb.npz")


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(OSError, match=path.name):
            GaussianMixture.load(path)
    with pytest.raises(OSError, match="no such folder"):
        fitted().save(tmp_path / "no such folder" / "m.npz")


def test_a_subclass_is_loaded_as_itself(tmp_path):
    class Special(GaussianMixture):
        pass

    Special(2, random_state=0).fit(data()).save(tmp_path / "m")
    assert type(Special.load(tmp_path / "m")) is Special


# --- pickle, copy, joblib -------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(lambda m, p=p: pickle.loads(pickle.dumps(m, p)) for p in (2, 5))],
    ids=["copy", "deepcopy", "pickle 2", "pickle 5"],
)
def test_copies_are_the_same_model(covariance_type, dtype, copied):
    model = fitted(covariance_type, dtype)
    twin = copied(model)
    assert_same_model(twin, model)
    assert set(vars(twin)) == set(vars(model))
    twin.means_ = twin.means_ + 1
    assert (model.predict_proba(data(dtype)) != twin.predict_proba(data(dtype))).any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_an_unfitted_model_is_copied(copied):
    twin = copied(GaussianMixture(2, means_init=[[0, 0], [1, 1]]))
    assert twin.means_init == [[0, 0], [1, 1]] and not hasattr(twin, "means_")
    assert twin.fit(data()).n_features_in_ == 2


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib(tmp_path, mmap_mode):
    model = fitted(max_iter=3, tol=0.5)
    joblib.dump(model, tmp_path / "m.joblib")
    loaded = joblib.load(tmp_path / "m.joblib", mmap_mode=mmap_mode)
    assert isinstance(loaded.means_, np.memmap) == (mmap_mode == "r")
    assert_same_model(loaded, model)
    assert type(loaded.score_samples(data())) is np.ndarray
    expected = copy.deepcopy(model).set_params(warm_start=True, tol=0.1).fit(data())
    warm = loaded.set_params(warm_start=True, tol=0.1).fit(data())  # from read-only parameters
    np.testing.assert_array_equal(warm.means_, expected.means_)
    assert warm.means_.flags.writeable


# --- scikit-learn ---------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_sklearn_is_the_same_model(covariance_type, dtype):
    model, X = fitted(covariance_type, dtype, n_threads=2), data(dtype)
    other = model.to_sklearn()
    assert type(other) is SklearnMixture
    assert other.get_params().items() <= model.get_params().items()
    for name in FITTED:
        np.testing.assert_array_equal(getattr(other, name), getattr(model, name))
    # log-densities down to -20, of a few terms; scikit-learn's diag form cancels by (μ/σ)² < 100
    tolerance = 1e4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(other.score_samples(X), model.score_samples(X), atol=tolerance)
    np.testing.assert_allclose(other.predict_proba(X), model.predict_proba(X), atol=tolerance)
    assert other.bic(X) == pytest.approx(model.bic(X), rel=tolerance)
    other.means_[0] = 100
    assert (model.means_ != 100).all()
    assert other.set_params(warm_start=True).fit(X).means_.shape == (2, 2)


def test_to_sklearn_with_names_callable_and_assigned_covariances():
    frame = pd.DataFrame(data(), columns=["a", "b"])
    model = GaussianMixture(2, init_params=lambda X, K, random_state: (X[:, 0] > 2).astype(int))
    model.fit(frame)
    model.covariances_ = 2 * model.covariances_
    other = model.to_sklearn()
    assert other.init_params == "kmeans" and list(other.feature_names_in_) == ["a", "b"]
    np.testing.assert_allclose(other.score_samples(frame), model.score_samples(frame), rtol=1e-12)
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().to_sklearn()


def test_any_damaged_byte(tmp_path):
    GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 2))).save(
        tmp_path / "m.npz"
    )
    good = (tmp_path / "m.npz").read_bytes()
    other = {}
    for i in range(len(good)):
        for flip in (0xFF, 0x01):
            (tmp_path / "m.npz").write_bytes(good[:i] + bytes([good[i] ^ flip]) + good[i + 1 :])
            try:
                GaussianMixture.load(tmp_path / "m.npz")
            except ValueError as e:
                assert "m.npz" in str(e)
            except Exception as e:
                other.setdefault(f"{type(e).__name__}: {e}"[:60], []).append(i)
    assert not other, {k: v[:3] for k, v in other.items()}


def test_restarts_survive_saving(tmp_path):
    m = GaussianMixture(2, random_state=0, n_init=2).fit(
        np.random.default_rng(0).normal(size=(100, 2))
    )
    m.save(tmp_path / "m")
    assert GaussianMixture.load(tmp_path / "m").restarts_ == m.restarts_


@pytest.mark.parametrize(
    "change",
    [
        lambda h, a: a.update(means_=np.ones((3, 2))),
        lambda h, a: h["params"].update(tol=-1),
        lambda h, a: h["params"].update(foo=1),
        lambda h, a: a.update(means_=np.full((2, 2), np.nan)),
        lambda h, a: a.update(means_=np.full((2, 2), "a")),
        lambda h, a: h["attributes"].update(predict=3),
    ],
)
def test_changed_contents(tmp_path, change):
    import json

    p = tmp_path / "m.npz"
    GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 2))).save(p)
    with np.load(p) as z:
        a = dict(z)
    h = json.loads(str(a["header"]))
    change(h, a)
    a["header"] = np.array(json.dumps(h))
    np.savez(p, **a)
    with pytest.raises(ValueError, match="m.npz"):
        GaussianMixture.load(p)
