"""Tests of the commands that use a saved model: predict, score, impute, sample and info."""

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from gmm_core import GaussianMixture

FAITHFUL = str(Path(__file__).parents[2] / "examples" / "old_faithful.csv")


def test_predict_prints_one_label_a_line(output, faithful, model_path):
    labels = [int(line) for line in output("predict", model_path, FAITHFUL).splitlines()]
    expected = GaussianMixture(2, random_state=0).fit(faithful).predict(faithful)
    assert labels == expected.tolist()


def test_predict_proba(output, faithful, model_path):
    out = output("predict", "--proba", model_path, FAITHFUL)
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["component 0", "component 1"]
    expected = GaussianMixture(2, random_state=0).fit(faithful).predict_proba(faithful)
    np.testing.assert_array_equal(np.array(rows, dtype=float), expected)


def test_noise(output, faithful, tmp_path):
    path = str(tmp_path / "noise.npz")
    printed = output("fit", FAITHFUL, "-k", "2", "--noise", "--out", path)
    model = GaussianMixture(2, random_state=0, noise=True).fit(faithful)
    assert f"noise: weight {model.noise_weight_:.4f}" in printed
    header, *rows = csv.reader(io.StringIO(output("predict", "--proba", path, FAITHFUL)))
    assert header == ["component 0", "component 1", "noise"]
    np.testing.assert_array_equal(np.array(rows, float)[:, 2], model.noise_proba(faithful))


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_predict_to_a_file(output, faithful, model_path, tmp_path, suffix):
    path = str(tmp_path / f"labels{suffix}")
    assert output("predict", model_path, FAITHFUL, "--out", path) == ""
    labels = np.load(path) if suffix == ".npy" else np.loadtxt(path, dtype=int)
    expected = GaussianMixture(2, random_state=0).fit(faithful).predict(faithful)
    np.testing.assert_array_equal(labels, expected)


def test_score_agrees_with_fit(output, fields, model_path):
    figures = fields(output("score", model_path, FAITHFUL))
    fitted = fields(output("fit", FAITHFUL, "-k", "2"))
    assert figures["samples"] == "272"
    assert figures["log-likelihood"] == fitted["log-likelihood"]
    assert figures["BIC"] == fitted["BIC"]
    # AIC and BIC differ by n_parameters (log n - 2). A full mixture with two components and two
    # features has 11 parameters.
    difference = float(figures["BIC"]) - float(figures["AIC"])
    assert difference == pytest.approx(11 * (np.log(272) - 2), abs=0.02)


def test_the_output_of_sample_can_be_scored(output, faithful, model_path, tmp_path):
    out = output("sample", model_path, "-n", "2000", "--seed", "3")
    assert out == output("sample", model_path, "-n", "2000", "--seed", "3")
    assert out != output("sample", model_path, "-n", "2000", "--seed", "4")
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["eruptions", "waiting"]
    X = np.array(rows, dtype=float)
    assert X.shape == (2000, 2)
    # The means of 2000 draws are within five standard errors of the means of the data.
    error = 5 * faithful.std(axis=0) / np.sqrt(2000)
    assert np.all(np.abs(X.mean(axis=0) - faithful.mean(axis=0)) < error)
    drawn = tmp_path / "drawn.csv"
    drawn.write_text(out, encoding="utf-8")
    assert "samples         2000" in output("score", model_path, str(drawn))


def test_info_prints_the_table_of_fit(output, model_path):
    out = output("info", model_path)
    assert "2 components, 2 features, full" in out
    fitted = output("fit", FAITHFUL, "-k", "2")
    table = [line for line in out.splitlines() if "(" in line]
    assert len(table) == 3
    assert all(line in fitted for line in table)


def test_columns_must_be_those_of_the_fit(failure, faithful, model_path, tmp_path):
    swapped = tmp_path / "swapped.csv"
    np.savetxt(swapped, faithful[:, ::-1], delimiter=",", header="waiting,eruptions", comments="")
    err = failure("predict", model_path, str(swapped))
    assert "columns are waiting, eruptions" in err
    # Without names only the number of columns can be compared.
    np.save(tmp_path / "wide.npy", np.ones((5, 3)))
    assert "3 features" in failure("predict", model_path, str(tmp_path / "wide.npy"))


# --- data in parts ------------------------------------------------------------------------------


@pytest.fixture
def data_in_all_forms(faithful, tmp_path):
    """Return the paths of files with the same samples. Parquet files have small row groups."""
    pyarrow = pytest.importorskip("pyarrow", reason="tests Parquet files")
    from pyarrow import parquet

    table = pyarrow.table({"eruptions": faithful[:, 0], "waiting": faithful[:, 1]})
    parquet.write_table(table, tmp_path / "one.parquet", row_group_size=50)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, start in enumerate(range(0, 272, 90)):
        parquet.write_table(table.slice(start, 90), folder / f"{i}.parquet")
    np.save(tmp_path / "X.npy", faithful)
    return [FAITHFUL, str(tmp_path / "one.parquet"), str(folder), str(tmp_path / "X.npy")]


COMMANDS = (["predict"], ["predict", "--proba"], ["score"], ["score", "--samples"], ["impute"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_all_forms_of_data_give_the_same(output, model_path, data_in_all_forms, monkeypatch, command):
    monkeypatch.setattr("gmm_core.cli.data_files._ROWS", 100)  # several parts
    first, *others = (output(*command, model_path, data) for data in data_in_all_forms)
    assert first.count("\n") >= (5 if command == ["score"] else 272)
    assert all(other == first for other in others)


def test_score_of_each_sample(output, faithful, model_path, tmp_path):
    expected = GaussianMixture(2, random_state=0).fit(faithful).score_samples(faithful)
    printed = np.array(output("score", model_path, FAITHFUL, "--samples").split(), float)
    np.testing.assert_array_equal(printed, expected)
    path = str(tmp_path / "scores.npy")
    assert output("score", model_path, FAITHFUL, "--out", path) == ""
    np.testing.assert_array_equal(np.load(path), expected)


@pytest.mark.parametrize("gap", ["", "NA", " ", "nan"])
def test_impute(output, faithful, model_path, tmp_path, write, gap):
    lines = [f"{a},{b}" for a, b in faithful]
    lines[0], lines[5] = f"{gap},{faithful[0, 1]}", f"{faithful[5, 0]},{gap}"
    data = write("\n".join(["eruptions,waiting", *lines]) + "\r\n")
    X = faithful.copy()
    X[0, 0] = X[5, 1] = np.nan
    model = GaussianMixture(2, random_state=0).fit(faithful)
    header, *rows = csv.reader(io.StringIO(output("impute", model_path, data)))
    assert header == ["eruptions", "waiting"]
    np.testing.assert_array_equal(np.array(rows, float), model.impute(X))
    path = str(tmp_path / "drawn.npy")
    assert output("impute", model_path, data, "--sample", "--seed", "3", "--out", path) == ""
    expected = model.set_params(random_state=3).impute(X, sample=True)
    np.testing.assert_array_equal(np.load(path), expected)


def test_a_model_of_data_with_missing_values_takes_them(output, failure, faithful, model_path, tmp_path):
    X = faithful.copy()
    X[3, 0] = np.nan
    np.save(tmp_path / "X.npy", X)
    err = failure("predict", model_path, str(tmp_path / "X.npy"))
    assert "sample 4, column 1 is nan, not finite" in err
    model = GaussianMixture(2, random_state=0, missing="marginalize").fit(X)
    model.save(tmp_path / "missing.npz")
    labels = output("predict", str(tmp_path / "missing.npz"), str(tmp_path / "X.npy")).split()
    assert list(map(int, labels)) == model.predict(X).tolist()


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_nothing_half_written_is_left(failure, faithful, model_path, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("gmm_core.cli.data_files._ROWS", 100)
    X = faithful.copy()
    X[200, 1] = np.inf
    np.save(tmp_path / "X.npy", X)
    out = tmp_path / f"labels{suffix}"
    out.write_text("older")
    err = failure("predict", model_path, str(tmp_path / "X.npy"), "--out", str(out))
    assert "sample 201, column 2 is inf" in err
    assert out.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["X.npy", out.name, "model.npz"])


def test_bad_parquet_files(failure, model_path, tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow", reason="tests Parquet files")
    from pyarrow import parquet

    path = str(tmp_path / "X.parquet")
    parquet.write_table(pyarrow.table({"waiting": [1.0], "eruptions": [2.0]}), path)
    assert "columns are waiting, eruptions" in failure("predict", model_path, path)
    parquet.write_table(pyarrow.table({"eruptions": [1.0, None], "waiting": [2.0, 3.0]}), path)
    assert "sample 2, column 1 (eruptions) is nan" in failure("score", model_path, path)
    assert "sample 2, column 1 (eruptions) is nan" in failure("fit", path)
    assert "are for .csv files" in failure("predict", model_path, path, "--delimiter", ";")
    (tmp_path / "X.parquet").write_text("1,2\n")
    assert "not a Parquet file" in failure("predict", model_path, path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "need pyarrow" in failure("predict", model_path, path)


def test_a_parquet_file_is_fitted_like_a_table(output, data_in_all_forms):
    tables = [output("fit", data, "-k", "2").splitlines()[2:-1] for data in data_in_all_forms[:3]]
    assert tables[0] == tables[1] == tables[2]
