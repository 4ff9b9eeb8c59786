"""Tests of the commands that use a saved model: predict, score, sample and info."""

import csv
import io
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
