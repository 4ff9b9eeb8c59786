"""Tests of the files of models: which contents are refused, and how files are written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from gmm_core import GaussianMixture


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    return np.vstack([rng.normal(size=(60, 2)), rng.normal(4, 2, size=(60, 2))]).astype(dtype)


def fitted(covariance_type="full", dtype=np.float64, **params):
    params = {"n_components": 2, "random_state": 3, "covariance_type": covariance_type, **params}
    return GaussianMixture(**params).fit(data(dtype))


# --- damaged and strange files ------------------------------------------------------------------


def rewrite(path, change):
    """Change the contents of a saved model; `change` gets the header and the arrays as dicts."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    change(header, arrays)
    if "header" in arrays:
        arrays["header"] = np.array(json.dumps(header))
    with open(path, "wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    "make",
    [
        lambda good: b"",
        lambda good: b"weights,means\n1,2\n",
        lambda good: good[: len(good) // 2],
        lambda good: good[:400] + b"?" + good[401:],  # a byte in the header makes the checksum wrong
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


@pytest.fixture
def saved(tmp_path):
    """Save the model of a stream; return a function that changes the file, and expects a refusal."""
    path = tmp_path / "m.npz"
    GaussianMixture(2, random_state=0).partial_fit(np.vstack([data(), data() + 0.5])).save(path)
    content = path.read_bytes()

    def refused(change, message=""):
        path.write_bytes(content)
        rewrite(path, change)
        with pytest.raises(ValueError, match=f"m.npz is not a model saved by gmm_core: .*{message}"):
            GaussianMixture.load(path)

    return refused


BAD_ARRAYS = {
    "weights_": [lambda a: a * 0, lambda a: a * 100, lambda a: np.array([1.5, -0.5]), lambda a: a.astype(int)],
    "means_": [lambda a: a * np.nan, lambda a: a.astype(complex), lambda a: a.astype(str), np.ravel,
               lambda a: a[:0], lambda a: a[:, :0], lambda a: a.astype(np.float16), lambda a: a[None]],
    "precisions_cholesky_": [lambda a: a * np.nan, np.negative, lambda a: a * 0, np.ones_like,
                             lambda a: a[:1], lambda a: a.astype(int)],
    "covariances_": [lambda a: a[0], lambda a: a * np.inf, np.negative, lambda a: a.astype(complex)],
    "precisions_": [lambda a: a[0], lambda a: a * np.nan, np.negative, lambda a: a.astype(bool)],
    "position_weights": [lambda a: a * 2, lambda a: a[:1], lambda a: a.astype(np.float32)],
    "position_means": [lambda a: a[:1], lambda a: a * np.nan, lambda a: a[:0], lambda a: a[:, :0]],
    "position_covariances": [lambda a: a[0], np.negative],
    "position_precisions_cholesky": [lambda a: a[0], np.negative, np.ones_like],
    "position_log_constant": [lambda a: a[:2], lambda a: a + 1, lambda a: a * np.nan],
    "position_statistics": [lambda a: a[:-1], lambda a: a * np.nan, np.negative, lambda a: a * 0],
    "means_init": [lambda a: np.zeros((2, 2), int), lambda a: np.full((2, 2), "a")],
}
BAD_FIELDS = {
    "params": [None, [], {}, {"covariance_type": 5}, {"covariance_type": "round", "reg_covar": 0}],
    "attributes": [None, [], {"other_": 1}, {"predict": 3}],
    "restarts_": [None, {}, [[]], [5], [[1.0, 1, True, None]], [["a", 1, True, None, 1.0]],
                  [[1.0, 1.5, True, None, 1.0]], [[1.0, 1, None, None, 1.0]], [[1.0, 1, True, 3, 1.0]],
                  [[1.0, 1, True, None, "a"]], [[float("nan"), 1, True, None, 1.0]]],
    "feature_names_in_": [5, "ab", ["a"], ["a", "b", "c"], [1, 2], ["a", None], {"a": 1, "b": 2}],
    "position": [None, [], {}, {"covariance_type": "full"}, {"memory": 1.0},
                 {"covariance_type": "full", "memory": -1.0}, {"covariance_type": "full", "memory": "a"},
                 {"covariance_type": "full", "memory": float("nan")}, {"covariance_type": "diag", "memory": 1.0},
                 {"covariance_type": [], "memory": 1.0}],
    "version": [None, "1", 1.0, True, 99],
    "format": [None, 5, [], "gmm_core.checkpoint"],
    "collected": [0],  # the samples that belong to this field are missing
}
BAD_ATTRIBUTES = {
    "converged_": [None, 1, "true"],
    "n_iter_": [None, -1, 1.5, True, "a"],
    "lower_bound_": [None, "a", [], float("inf"), 10**400],
    "lower_bounds_": [None, 5, "abc", [None], ["a"], [float("nan")], {}],
    "n_features_in_": [None, 3, 0, "a", True],
    "n_samples_seen_": [None, -1, float("nan"), float("inf"), "a"],
}
BAD_PARAMS = {
    "n_components": [None, 0, 1.5, True],
    "reg_covar": [None, -1, "a", {}, ["a"], [[1.0]], [None]],
    "tol": [None, -1, "a"],
    "max_iter": [None, -1, "a"],
    "n_threads": [0, 1.5, True],
    "forget_factor": [0, 2, "a", 10**400],
    "checkpoint": [5, []],
    "means_init": ["a", 5],
    "init_params": [None, "other", []],
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_arrays_of_another_shape_dtype_or_value(saved, name):
    for change in BAD_ARRAYS[name]:
        saved(lambda h, a, change=change: a.update({name: change(a.get(name))}))
    if name != "means_init":
        saved(lambda h, a: a.pop(name), f"it has no array '{name}'")


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_header_fields_of_another_type_or_value(saved, name):
    for value in BAD_FIELDS[name]:
        saved(lambda h, a, value=value: h.update({name: value}))
    if name not in ("position", "collected"):
        saved(lambda h, a: h.pop(name), f"its header has no '{name}'")


@pytest.mark.parametrize("name", BAD_ATTRIBUTES)
def test_attributes_of_another_type_or_value(saved, name):
    for value in BAD_ATTRIBUTES[name]:
        saved(lambda h, a, value=value: h["attributes"].update({name: value}), name)


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_parameters_of_another_type_or_value(saved, name):
    for value in BAD_PARAMS[name]:
        saved(lambda h, a, value=value: h["params"].update({name: value}))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("collected_X", lambda a: a.astype(int)),
        ("collected_X", lambda a: a[:, :1]),
        ("collected_X", lambda a: a[:0]),
        ("collected_X", lambda a: a * np.inf),
        ("collected_weight", lambda a: a[:-1]),
        ("collected_weight", lambda a: a * 0),
        ("collected_weight", lambda a: a * np.inf),
        ("collected_weight", lambda a: a.astype(np.float32)),
        ("collected", -1),
        ("collected", 31),
        ("collected", "a"),
        ("collected", None),
    ],
)
def test_collected_samples_of_another_shape_dtype_or_value(tmp_path, name, change):
    path = tmp_path / "m.npz"
    GaussianMixture(2, random_state=0).partial_fit(data()[:30]).save(path)
    rewrite(path, lambda h, a: a.update({name: change(a[name])}) if callable(change) else h.update({name: change}))
    with pytest.raises(ValueError, match=f"m.npz is not a model saved by gmm_core: .*{name}"):
        GaussianMixture.load(path)


def test_a_model_that_load_would_refuse_is_not_saved(tmp_path):
    for changes in ({"n_iter_": "a"}, {"restarts_": 5}, {"feature_names_in_": ["a"]}):
        model = fitted()
        vars(model).update(changes)
        with pytest.raises(ValueError, match=f"the model cannot be saved: .*{next(iter(changes))}"):
            model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="the model cannot be saved: The 'tol' parameter"):
        fitted().set_params(tol=-1).save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_arrays_that_the_user_assigned(tmp_path):
    """Arrays may be lists, integers, of another byte order or layout, or of float64 beside float32."""
    model = fitted(dtype=np.float32)
    model.weights_ = [0.25, 0.75]
    model.means_ = np.array([[0, 1], [4, 3]])
    model.covariances_ = np.asfortranarray(model.covariances_.astype(">f8"))
    model.save(tmp_path / "m")
    loaded = GaussianMixture.load(tmp_path / "m")
    assert all(getattr(loaded, name).dtype == np.float64 for name in ("weights_", "means_", "covariances_"))
    np.testing.assert_array_equal(loaded.covariances_, model.covariances_)
    np.testing.assert_array_equal(loaded.predict_proba(data()), model.predict_proba(data()))
    model = fitted(dtype=np.float32)
    model.weights_ = np.array([0.25, 0.75])
    model.save(tmp_path / "m")
    loaded = GaussianMixture.load(tmp_path / "m")
    assert (loaded.weights_.dtype, loaded.means_.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(loaded.predict_proba(data()), model.predict_proba(data()))


def peak_of_loading(path):
    """Try to load a model; return the most bytes that are allocated at once, and whether it succeeds."""
    tracemalloc.start()
    try:
        GaussianMixture.load(path)
    except ValueError as error:
        assert "m.npz is not a model" in str(error)
        return tracemalloc.get_traced_memory()[1], False
    else:
        return tracemalloc.get_traced_memory()[1], True
    finally:
        tracemalloc.stop()


def add_member(path, name, array, compression=zipfile.ZIP_DEFLATED):
    """Write an array into an archive, where it replaces the array of the same name."""
    with np.load(path) as archive:
        arrays = {**archive, name: array}
    with zipfile.ZipFile(path, "w") as archive:
        for other, content in arrays.items():
            info = zipfile.ZipInfo(f"{other}.npy")
            info.compress_type = compression if other == name else zipfile.ZIP_STORED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(content))


@pytest.mark.parametrize(
    ("name", "array", "loads"),
    [
        ("unknown", np.zeros(30_000_000), True),
        ("means_", np.zeros((15_000_000, 2)), False),
        ("means_", np.zeros((2, 15_000_000)), False),
        ("weights_init", np.zeros(30_000_000), False),
        ("header", np.array(" " * 30_000_000 + "{}"), False),
        ("header", np.array("[" * 30_000_000), False),
    ],
    ids=["unknown", "components", "features", "init", "spaces", "brackets"],
)
def test_an_archive_that_would_decompress_to_much_more(tmp_path, name, array, loads):
    """Loading takes less than 1 MB, though the file decompresses to 240 MB, or 120 MB for texts."""
    path = tmp_path / "m.npz"
    fitted().save(path)
    add_member(path, name, array)
    assert path.stat().st_size < 1e6
    peak, loaded = peak_of_loading(path)
    assert loaded == loads and peak < 1e6


def test_a_member_that_says_it_is_larger_than_the_file(tmp_path):
    path = tmp_path / "m.npz"
    fitted().save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    text = np.lib.format.magic(1, 0)
    for shape in ("(100000000000, 2)", "(-1, -2)", "(2, 2, 2, 2)", "(True, 2)", "2"):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    if name == "means_":
                        member.write(text + len(header).to_bytes(2, "little") + header.encode() + array.tobytes())
                    else:
                        np.lib.format.write_array(member, array)
        peak, loaded = peak_of_loading(path)
        assert not loaded and peak < 1e6


def test_data_files_are_refused_in_plain_words(tmp_path):
    X = data()
    np.save(tmp_path / "data.npy", X)
    np.savez(tmp_path / "data.npz", X=X)
    np.savetxt(tmp_path / "data.csv", X)
    np.save(tmp_path / "objects.npy", np.array([None, {}]))
    for name, reason in (
        ("data.npy", "it is not an .npz archive"),
        ("data.csv", "it is not an .npz archive"),
        ("objects.npy", "it is not an .npz archive"),
        ("data.npz", "it is an archive without a header, such as an .npz file of data"),
    ):
        with pytest.raises(ValueError, match=f"{name} is not a model saved by gmm_core: {reason}") as caught:
            GaussianMixture.load(tmp_path / name)
        assert "pickle" not in str(caught.value)


# --- writing ------------------------------------------------------------------------------------


def test_a_failing_save_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    fitted().save(path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="model could not be written: No space") as caught:
        patch.setattr(os, "fsync", full)
        fitted(tol=1).save(path)
    assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_full_disk(tmp_path, run_python):
    """Writing a model or a checkpoint fails if a limit keeps files below 2 KB."""
    code = f"""
import resource
folder = {str(tmp_path)!r}
X = np.random.default_rng(0).normal(size=(1000, 2))
model = GaussianMixture(2, random_state=0).fit(X)
model.save(f"{{folder}}/m")
before = open(f"{{folder}}/m", "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
errors = []
for call in (lambda: model.save(f"{{folder}}/m"), lambda: model.save(f"{{folder}}/n"),
             lambda: model.set_params(checkpoint=f"{{folder}}/state", checkpoint_interval=1).fit(X)):
    try:
        call()
    except OSError as error:
        errors.append(str(error))
show([errors, before == open(f"{{folder}}/m", "rb").read(), os.listdir(folder)])
"""
    errors, same, files = run_python(code)
    assert same and files == ["m"]
    for error, what in zip(errors, ("model .*/m", "model .*/n", "checkpoint .*/state"), strict=True):
        assert re.search(what.replace(" ", " could not be written: File too large: '"), error), error


def test_links_modes_and_read_only_files(tmp_path):
    path = tmp_path / "a" / "m"
    path.parent.mkdir()
    (tmp_path / "link").symlink_to(path)
    fitted().save(tmp_path / "link")
    assert path.is_file() and (tmp_path / "link").is_symlink()
    path.chmod(0o640)
    fitted(tol=1).save(tmp_path / "link")
    assert path.stat().st_mode & 0o777 == 0o640 and GaussianMixture.load(path).tol == 1
    new = tmp_path / ("n" * 255)  # the longest name that a file may have
    fitted().save(new)
    (tmp_path / "other").touch()
    assert new.stat().st_mode == (tmp_path / "other").stat().st_mode
