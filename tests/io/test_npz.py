"""Tests of save and load, of pickle, copy and joblib, and of the conversion to scikit-learn's class."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
import tarfile
import threading
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture as SklearnMixture

from gmm_core import GaussianMixture
from gmm_core.model import archive

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
    """Assert that two models have bit-identical attributes and give bit-identical results."""
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


def test_parameters_of_numpy_types_and_parameters_that_are_not_kept(tmp_path):
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
    with np.load(tmp_path / "m", allow_pickle=False) as saved:
        assert all(saved[name].dtype.kind in "fU" for name in saved.files)
        assert json.loads(str(saved["header"]))["version"] == 2


def test_an_array_of_objects_is_not_pickled(tmp_path):
    """NumPy 2.0's savez has no argument `allow_pickle`: it took that for the name of an array, and pickled objects."""
    with pytest.raises(ValueError, match="Object arrays"):
        archive.write(tmp_path / "m", "model", {}, {"objects": np.array([{}])}, "new")
    assert not list(tmp_path.iterdir())
    archive.write(tmp_path / "m", "model", {"a": 1}, {"numbers": np.arange(3.0)}, "new")
    with np.load(tmp_path / "m") as written:
        assert sorted(written.files) == ["header", "numbers"]


def test_a_subclass_is_loaded_as_itself(tmp_path):
    class Special(GaussianMixture):
        pass

    Special(2, random_state=0).fit(data()).save(tmp_path / "m")
    assert type(Special.load(tmp_path / "m")) is Special


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    model, content = fitted(), []
    reader = threading.Thread(target=lambda: content.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    model.save(tmp_path / "pipe")
    reader.join(10)
    (tmp_path / "m").write_bytes(content[0])
    assert_same_model(GaussianMixture.load(tmp_path / "m"), model)


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
    warm = loaded.set_params(warm_start=True, tol=0.1).fit(data())  # the loaded arrays may be read-only
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
    # The log-densities are sums of a few terms, down to -20. scikit-learn's formula for diag loses digits by
    # cancellation, with a factor of (μ/σ)² < 100.
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


def test_to_sklearn_without_scikit_learn(monkeypatch):
    model = fitted()
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ImportError, match="to_sklearn needs scikit-learn.*: pip install scikit-learn"):
        model.to_sklearn()


def test_restarts_survive_saving(tmp_path):
    m = GaussianMixture(2, random_state=0, n_init=2).fit(
        np.random.default_rng(0).normal(size=(100, 2))
    )
    m.save(tmp_path / "m")
    assert GaussianMixture.load(tmp_path / "m").restarts_ == m.restarts_


# --- a stream -----------------------------------------------------------------------------------

STREAMS = {
    "collecting, not fitted again": (50, 70),
    "collecting, fitted again": (50, 79),
    "collecting, then a stream": (60, 120),
    "at the beginning of the stream": (80, 90),
    "in the stream": (200, 399),
}


def chunks(X, first, last, size=13):
    return [X[start : min(start + size, last)] for start in range(first, last, size)]


@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("params", [{}, {"forget_factor": 0.97}, {"learning_decay": 1.0}])
@pytest.mark.parametrize("stage", STREAMS)
@pytest.mark.parametrize("weight", [None, 3e5])
def test_a_saved_stream_continues_bit_identically(tmp_path, covariance_type, dtype, params, stage, weight):
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(400, 2)) + 3 * rng.integers(0, 2, size=(400, 1))).astype(dtype)
    saved, last = STREAMS[stage]
    model = GaussianMixture(2, random_state=0, covariance_type=covariance_type, **params)
    for part in chunks(X, 0, saved):
        model.partial_fit(part, sample_weight=weight)
    model.save(tmp_path / "m")
    loaded = GaussianMixture.load(tmp_path / "m")
    for part in chunks(X, saved, last):
        model.partial_fit(part, sample_weight=weight)
        loaded.partial_fit(part, sample_weight=weight)
        loaded.save(tmp_path / "m")
        loaded = GaussianMixture.load(tmp_path / "m")
    assert_same_model(loaded, model)
    assert vars(loaded).keys() == vars(model).keys()
    assert loaded.n_samples_seen_ == model.n_samples_seen_


def test_a_stream_continues_from_a_saved_fit_with_weights(tmp_path):
    model = GaussianMixture(2, random_state=0).fit(data(), sample_weight=np.full(len(data()), 3e5))
    model.save(tmp_path / "m")
    loaded = GaussianMixture.load(tmp_path / "m").partial_fit(data() + 1, sample_weight=3e5)
    model.partial_fit(data() + 1, sample_weight=3e5)
    assert_same_model(loaded, model)
    plain = GaussianMixture(2, random_state=0).fit(data()).partial_fit(data() + 1)
    np.testing.assert_allclose(model.means_, plain.means_, rtol=1e-10, atol=1e-12)


def test_an_assignment_makes_a_saved_position_invalid(tmp_path):
    model = GaussianMixture(2, random_state=0).partial_fit(np.vstack([data(), data() + 0.5]))
    model.means_ = model.means_ + 0.25
    model.save(tmp_path / "m")
    loaded = GaussianMixture.load(tmp_path / "m").partial_fit(data())
    assert_same_model(loaded, model.partial_fit(data()))


# --- files of the first format ------------------------------------------------------------------

OLD = ["full", "tied", "diag", "spherical", "float32", "names", "collecting", "stream", "parameters"]


@pytest.fixture(scope="module")
def old_files():
    with tarfile.open(Path(__file__).parents[1] / "values" / "version_1.tar.xz") as files:
        return {name: files.extractfile(name).read() for name in files.getnames()}


@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize("pickled", [False, True])
def test_files_of_the_first_format(tmp_path, old_files, name, pickled):
    """Models that were saved and pickled in format version 1 can still be loaded."""
    expected = json.loads(old_files["expected.json"])
    of_model, X = expected["models"][name], np.array(expected["X"])
    (tmp_path / "m").write_bytes(old_files[f"{name}.npz"])
    if pickled:
        with pytest.warns(UserWarning, match="pickled by gmm_core 0.1.0 and is read by"):
            model = pickle.loads(old_files[f"{name}.pickle"])
    else:
        model = GaussianMixture.load(tmp_path / "m")
    # kernels of other instruction sets round differently
    tolerance = 1e-4 if name == "float32" else 1e-12
    assert model.means_.dtype == (np.float32 if name == "float32" else np.float64)
    np.testing.assert_array_equal(model.means_, np.array(of_model["means"]))
    probe = np.array(expected["probe"])
    if name == "names":
        assert model.feature_names_in_.tolist() == ["größe", "b c"]
        assert model.means_init == [[0, 0], [4, 4]] if pickled else (model.means_init == [[0, 0], [4, 4]]).all()
        probe = pd.DataFrame(probe, columns=model.feature_names_in_)
    np.testing.assert_allclose(model.score_samples(probe), of_model["scores"], rtol=tolerance)
    assert len(model.restarts_ if hasattr(model, "restarts_") else []) == {
        "float32": 2, "parameters": 0, "stream": 10
    }.get(name, 1)
    if name == "collecting" or (name == "stream" and pickled):  # files of version 1 have no position
        model.partial_fit(X[50:] if name == "collecting" else X[100:])
        np.testing.assert_allclose(model.means_, of_model["then"], rtol=1e-9)
    model.save(tmp_path / "again")
    assert_same_attributes(GaussianMixture.load(tmp_path / "again"), model)


def assert_same_attributes(model, other):
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name))
