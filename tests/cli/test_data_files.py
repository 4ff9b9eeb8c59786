"""Tests of the files that may hold samples, and of the errors for other files."""

import os
from pathlib import Path

import numpy as np
import pytest

from gmm_core.fit import run

FAITHFUL = str(Path(__file__).parents[2] / "examples" / "old_faithful.csv")
PIXELS = str(Path(__file__).parents[2] / "examples" / "china_pixels.npz")
NUMBERS = [[1.5, 2.25], [3.5, -4.0], [5.0, 6.125]]


def test_all_file_types_give_the_same_fit(output, fields, faithful, tmp_path):
    X = faithful
    np.savetxt(tmp_path / "bare.csv", X, delimiter=",", fmt="%.17g")
    np.savetxt(tmp_path / "comment.csv", X, delimiter=",", fmt="%.17g", header="a, b")
    lines = Path(FAITHFUL).read_text(encoding="utf-8").splitlines()
    windows = "\r\n".join(['"eruptions","waiting"', *lines[1:], ""])
    (tmp_path / "windows.csv").write_bytes(windows.encode("utf-8-sig"))
    np.save(tmp_path / "array.npy", X)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(X))
    np.savez(tmp_path / "one.npz", anything=X)
    np.savez_compressed(tmp_path / "several.npz", X=X, y=np.zeros(3))
    expected = fields(output("fit", FAITHFUL, "-k", "2"))
    for name in (
        "bare.csv", "comment.csv", "windows.csv", "array.npy", "fortran.npy", "one.npz",
        "several.npz",
    ):
        got = fields(output("fit", str(tmp_path / name), "-k", "2"))
        for key in ("log-likelihood", "BIC", "iterations"):
            assert got[key] == expected[key], name


def test_one_dimensional_array_is_one_feature(output, faithful, tmp_path):
    np.save(tmp_path / "x.npy", faithful[:, 1])
    assert "272 samples, 1 features" in output("fit", str(tmp_path / "x.npy"), "-k", "2")


def test_npy_is_mapped(output, faithful, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", faithful)
    seen = []
    fit_array = run.fit_array

    def seeing(options, before, X, **rest):
        seen.append(X)
        return fit_array(options, before, X, **rest)

    monkeypatch.setattr(run, "fit_array", seeing)
    output("fit", str(tmp_path / "x.npy"))
    assert isinstance(seen[0], np.memmap)


def test_shipped_pixels_are_an_image():
    with np.load(PIXELS) as archive:
        X, shape = archive["X"], archive["image_shape"]
    assert X.dtype == np.uint8
    assert X.shape == (np.prod(shape), 3) == (273280, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty"),
        ("header.csv", b"a,b\n", "no samples"),
        ("nan.csv", b"a,b\n1,2\n3,nan\n", "sample 2, column 2 (b) is nan"),
        ("inf.csv", b"1,2\n-inf,3\n", "sample 2, column 1 is -inf"),
        ("missing.csv", b"1,2\n3,\n", "line 2, column 2: '' is not a number"),
        ("text.csv", b"a,b\n1,2\n3,red\n", "line 3, column 2: 'red' is not a number"),
        ("mixed.csv", b"1,red\n2,blue\n", "line 1, column 2: 'red' is not a number"),
        ("ragged.csv", b"1,2\n3,4,5\n", "line 2 has 3 columns, expected 2"),
        ("short.csv", b"a,b,c\n1,2\n3,4\n", "names 3 columns"),
        ("index.csv", b",a\n0,1.5\n1,2.5\n", "column 1 has no name"),
        ("binary.csv", b"\xff\xfe\x00\x81", "UTF-8"),
        ("late_binary.csv", b"1,2\n\xff\xfe,3\n", "UTF-8"),
        ("empty.npy", b"", "not a .npy file"),
        ("text.npy", b"1,2\n3,4\n", "not a .npy file"),
        ("text.npz", b"1,2\n3,4\n", "not a .npz file"),
        ("table.xlsx", b"1,2\n", "expected a .csv, .npy, .npz or .parquet file"),
    ],
)
def test_bad_files(failure, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    err = failure("fit", str(tmp_path / name))
    assert message in err and name in err


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([["a", "b"]]), "<U1"),
        (np.ones((3, 2), dtype=complex), "complex128"),
        (np.ones((4, 5, 3)), "(4, 5, 3)"),
        (np.array([1.0, None]), "not a .npy file of plain numbers"),
        (np.where(np.arange(200_000).reshape(-1, 2) == 150_001, np.nan, 1.0), "sample 75001"),
    ],
)
def test_bad_arrays(failure, tmp_path, array, message):
    path = tmp_path / "bad.npy"
    np.save(path, array)
    err = failure("fit", str(path))
    assert message in err and "bad.npy" in err


def test_files_under_a_wrong_name(failure, faithful, tmp_path):
    np.savez(tmp_path / "x.npz", X=faithful)
    (tmp_path / "x.npz").rename(tmp_path / "archive.npy")
    np.save(tmp_path / "x.npy", faithful)
    (tmp_path / "x.npy").rename(tmp_path / "array.npz")
    assert "not a .npy file" in failure("fit", str(tmp_path / "archive.npy"))
    assert "not a .npz file" in failure("fit", str(tmp_path / "array.npz"))


def test_npz_of_several_arrays_needs_an_x(failure, faithful, tmp_path):
    np.savez(tmp_path / "two.npz", a=faithful, b=faithful)
    assert "found a, b" in failure("fit", str(tmp_path / "two.npz"))


@pytest.mark.parametrize("command", [["fit"], ["predict", "MODEL"], ["score", "MODEL"]])
def test_a_model_given_as_data(failure, model_path, command):
    argv = [model_path if word == "MODEL" else word for word in command]
    err = failure(*argv, model_path)
    assert f"{model_path}: is a model saved by gmm_core, expected a file of samples" in err


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".npz"])
@pytest.mark.parametrize("command", ["predict", "score", "info", "sample"])
def test_data_given_as_a_model(failure, tmp_path, suffix, command):
    path = str(tmp_path / f"data{suffix}")
    if suffix == ".csv":
        np.savetxt(path, NUMBERS, delimiter=",")
    elif suffix == ".npy":
        np.save(path, NUMBERS)
    else:
        np.savez(path, X=NUMBERS)
    data = [path] if command in ("predict", "score") else []
    err = failure(command, path, *data)
    assert f"{os.path.basename(path)} is not a model saved by gmm_core" in err
