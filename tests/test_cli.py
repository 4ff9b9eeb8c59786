"""The command line: what it prints, what it writes, how it fails."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gmm_core
from gmm_core import GaussianMixture
from gmm_core.__main__ import main

FAITHFUL = str(Path(__file__).parents[1] / "examples" / "old_faithful.csv")
PIXELS = str(Path(__file__).parents[1] / "examples" / "china_pixels.npz")


def faithful():
    return np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


def failure(capsys, *argv):
    """Run a command that must fail: exit code 2, nothing on stdout, one line on stderr."""
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.endswith("\n")
    assert err.startswith("gmm-core: error: ")
    return err


def output(capsys, *argv):
    """Run a command that must succeed in silence on stderr, and return its output."""
    assert main(list(argv)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def fields(text):
    """Turn lines such as 'BIC   2322.19' into a dictionary."""
    return {line.split()[0]: line.split()[-1] for line in text.splitlines() if line.strip()}


@pytest.fixture
def model_path(tmp_path, capsys):
    path = str(tmp_path / "model.npz")
    output(capsys, "fit", FAITHFUL, "-k", "2", "--out", path)
    return path


# fit ---------------------------------------------------------------------------------------------


def test_fit_prints_components_and_figures(capsys):
    out = output(capsys, "fit", FAITHFUL, "-k", "2", "--tol", "1e-8")
    mixture = GaussianMixture(2, tol=1e-8, random_state=0).fit(faithful())
    assert "272 samples, 2 features" in out
    assert "eruptions" in out and "waiting" in out
    for k in range(2):
        sd = np.sqrt(np.diag(mixture.covariances_[k]))
        assert f"{mixture.weights_[k]:.4f}" in out
        for d in range(2):
            assert f"{mixture.means_[k, d]:.6g} ({sd[d]:.4g})" in out
    figures = fields(out)
    # mclust 6.0.0 (R) ends at -1130.26396 with two unrestricted components.
    assert float(figures["log-likelihood"]) == pytest.approx(-1130.264, abs=0.01)
    assert float(figures["BIC"]) == pytest.approx(mixture.bic(faithful()), abs=0.01)
    assert int(figures["iterations"]) == mixture.n_iter_
    assert figures["converged"] == "yes"
    assert float(figures["seconds"]) >= 0


def test_range_of_k_takes_the_lowest_bic(capsys, tmp_path):
    path = str(tmp_path / "best.npz")
    out = output(capsys, "fit", FAITHFUL, "-k", "1:4", "--out", path)
    X = faithful()
    bics = [GaussianMixture(k, random_state=0).fit(X).bic(X) for k in range(1, 5)]
    for bic in bics:
        assert f"{bic:.2f}" in out
    best = 1 + int(np.argmin(bics))
    assert f"lowest BIC: {best} components" in out
    assert GaussianMixture.load(path).means_.shape == (best, 2)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_covariance_types_report_their_standard_deviations(capsys, covariance_type):
    out = output(capsys, "fit", FAITHFUL, "-k", "2", "--covariance-type", covariance_type)
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(faithful())
    covariances = mixture.covariances_
    variance = {
        "full": lambda k, d: covariances[k, d, d],
        "tied": lambda k, d: covariances[d, d],
        "diag": lambda k, d: covariances[k, d],
        "spherical": lambda k, d: covariances[k],
    }[covariance_type]
    for k in range(2):
        for d in range(2):
            assert f"({np.sqrt(variance(k, d)):.4g})" in out


def test_options_reach_the_estimator(capsys, tmp_path):
    path = str(tmp_path / "model.npz")
    code = main(
        ["fit", FAITHFUL, "-k", "3", "--init", "random", "--n-init", "2", "--max-iter", "4"]
        + ["--tol", "1e-9", "--reg-covar", "0.01", "--seed", "5", "--threads", "1", "--out", path]
    )
    assert code == 0
    err = capsys.readouterr().err
    with pytest.warns(UserWarning, match="converge"):
        expected = GaussianMixture(
            3, init_params="random", n_init=2, max_iter=4, tol=1e-9, reg_covar=0.01, random_state=5
        ).fit(faithful())
    np.testing.assert_array_equal(GaussianMixture.load(path).means_, expected.means_)
    # The ConvergenceWarning is one line, without the source line that Python adds.
    assert err.startswith("gmm-core: warning: 3 components: ") and err.count("\n") == 1


def test_large_tables_are_cut(capsys, tmp_path):
    path = tmp_path / "wide.npy"
    np.save(path, np.random.default_rng(0).standard_normal((400, 9)))
    arguments = ["--covariance-type", "spherical", "--tol", "1", "--max-iter", "2"]
    assert main(["fit", str(path), "-k", "25", *arguments]) == 0
    out = capsys.readouterr().out
    assert "5 more components" in out and "3 more features" in out
    assert max(map(len, out.splitlines())) < 200


def on_a_terminal(monkeypatch, columns):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize(("columns", "n_shown"), [(200, 6), (80, 3), (60, 2), (20, 1)])
def test_tables_fit_the_terminal(capsys, tmp_path, monkeypatch, columns, n_shown):
    X = np.random.default_rng(0).uniform(100, 101, (400, 9))
    path = tmp_path / "wide.npy"
    np.save(path, X)
    # A mean and a standard deviation take up to 16 characters, as "100.503 (0.2871)".
    on_a_terminal(monkeypatch, columns)
    out = output(capsys, "fit", str(path), "-k", "1")
    table = next(line for line in out.splitlines() if line.startswith("component"))
    assert table.split()[2:] == [f"x{d + 1}" for d in range(n_shown)]
    assert f"{9 - n_shown} more features" in out
    if columns > 20:
        assert max(map(len, out.splitlines()[2:])) <= columns


def test_long_names_are_shortened_on_a_terminal_alone(capsys, tmp_path, monkeypatch):
    names = [f"a_measurement_with_a_very_long_name_{letter}" for letter in "abc"]
    rows = np.random.default_rng(0).uniform(100, 101, (400, 3))
    path = tmp_path / "long.csv"
    np.savetxt(path, rows, delimiter=",", header=",".join(names), comments="")
    piped = output(capsys, "fit", str(path))
    assert all(name in piped for name in names)
    on_a_terminal(monkeypatch, 80)
    lines = output(capsys, "fit", str(path)).splitlines()
    table = [line for line in lines if "component" in line or "(" in line]
    assert max(map(len, table)) <= 80
    header = table[0].split()[2:]
    # Both ends are left, so that names which differ in the last character still do.
    assert len(set(header)) == 3 and all(len(name) <= 16 and "..." in name for name in header)
    assert "more features" not in table[-1]
    on_a_terminal(monkeypatch, 200)
    assert output(capsys, "fit", str(path)).splitlines()[:5] == piped.splitlines()[:5]


# A choice by BIC ---------------------------------------------------------------------------------


def table_of(out):
    """Return the figures of each model that was tried, by the text that names it."""
    lines = out.split("\n\n")[1].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines if not line.startswith("* ")}


def collapse(monkeypatch, components):
    """Let the models of so many components have collapsed ones."""
    monkeypatch.setattr(
        "gmm_core.__main__._collapsed", lambda model, X: components.get(len(model.weights_), [])
    )


def test_a_collapsed_model_is_marked_and_does_not_win(capsys, monkeypatch, tmp_path):
    plain = output(capsys, "fit", FAITHFUL, "-k", "1:4")
    bics = {k: float(cells[1]) for k, cells in table_of(plain).items()}
    first, second = sorted(bics, key=bics.get)[:2]
    assert "*" not in plain and f"lowest BIC: {first} components" in plain
    collapse(monkeypatch, {int(first): [0, 1]})
    path = str(tmp_path / "model.npz")
    out = output(capsys, "fit", FAITHFUL, "-k", "1:4", "--out", path)
    marked = {f"*{k}" if k == first else k for k in bics}
    assert set(table_of(out)) == marked
    assert f"\n* collapsed onto few samples: components 0, 1 of {first}\n" in out
    assert f"lowest BIC (of those without collapsed components): {second} components" in out
    assert len(GaussianMixture.load(path).weights_) == int(second)


def test_three_samples_are_not_three_components(capsys, tmp_path):
    """The likelihood of a component for each sample is the largest, and means nothing."""
    (tmp_path / "three.csv").write_text("a,b\n0,1\n2,5\n7,3\n")
    path = str(tmp_path / "three.csv")
    out = output(capsys, "fit", path, "-k", "1:3")
    assert "\n* collapsed onto few samples: components 0, 1 of 2; components 0, 1, 2 of 3\n" in out
    assert "lowest BIC (of those without collapsed components): 1 components" in out
    assert main(["fit", path, "-k", "3"]) == 0
    assert "warning: 3 components: components 0, 1, 2 collapsed" in capsys.readouterr().err


def test_the_marks_of_many_collapsed_models_fit_the_terminal(capsys, monkeypatch):
    collapse(monkeypatch, {k: list(range(k)) for k in range(2, 9)})
    on_a_terminal(monkeypatch, 80)
    out = output(capsys, "fit", FAITHFUL, "-k", "1:8")
    assert "0, 1, 2, 3, 4, 5, 6, 7 of 8" in " ".join(out.split())
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_collapsed_model_that_comes_first_does_not_win(capsys, monkeypatch):
    collapse(monkeypatch, {1: [0], 2: [1]})
    out = output(capsys, "fit", FAITHFUL, "-k", "1:3")
    assert "component 0 of 1; component 1 of 2\n" in out
    assert "components): 3 components" in out


def test_if_all_models_collapsed_the_lowest_bic_is_taken(capsys, monkeypatch):
    plain = output(capsys, "fit", FAITHFUL, "-k", "1:3")
    collapse(monkeypatch, {1: [0], 2: [1], 3: [0]})
    out = output(capsys, "fit", FAITHFUL, "-k", "1:3")
    best = plain.partition("lowest BIC: ")[2].split()[0]
    assert f"lowest BIC (all have collapsed components): {best} components" in out


# DATA --------------------------------------------------------------------------------------------


def test_all_file_types_give_the_same_fit(capsys, tmp_path):
    X = faithful()
    np.savetxt(tmp_path / "bare.csv", X, delimiter=",", fmt="%.17g")
    np.savetxt(tmp_path / "comment.csv", X, delimiter=",", fmt="%.17g", header="a, b")
    lines = Path(FAITHFUL).read_text(encoding="utf-8").splitlines()
    windows = "\r\n".join(['"eruptions","waiting"', *lines[1:], ""])
    (tmp_path / "windows.csv").write_bytes(windows.encode("utf-8-sig"))
    np.save(tmp_path / "array.npy", X)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(X))
    np.savez(tmp_path / "one.npz", anything=X)
    np.savez_compressed(tmp_path / "several.npz", X=X, y=np.zeros(3))
    expected = fields(output(capsys, "fit", FAITHFUL, "-k", "2"))
    for name in (
        "bare.csv", "comment.csv", "windows.csv", "array.npy", "fortran.npy", "one.npz",
        "several.npz",
    ):  # fmt: skip
        got = fields(output(capsys, "fit", str(tmp_path / name), "-k", "2"))
        for key in ("log-likelihood", "BIC", "iterations"):
            assert got[key] == expected[key], name


def test_one_dimensional_array_is_one_feature(capsys, tmp_path):
    np.save(tmp_path / "x.npy", faithful()[:, 1])
    assert "272 samples, 1 features" in output(capsys, "fit", str(tmp_path / "x.npy"), "-k", "2")


def test_npy_is_mapped(capsys, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", faithful())
    seen = []
    fit = GaussianMixture.fit
    monkeypatch.setattr(
        GaussianMixture, "fit", lambda self, X, *rest: seen.append(X) or fit(self, X, *rest)
    )
    output(capsys, "fit", str(tmp_path / "x.npy"))
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
        ("table.xlsx", b"1,2\n", "expected a .csv, .npy or .npz file"),
    ],
)
def test_bad_files(capsys, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    err = failure(capsys, "fit", str(tmp_path / name))
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
def test_bad_arrays(capsys, tmp_path, array, message):
    path = tmp_path / "bad.npy"
    np.save(path, array)
    err = failure(capsys, "fit", str(path))
    assert message in err and "bad.npy" in err


def test_files_under_a_wrong_name(capsys, tmp_path):
    np.savez(tmp_path / "x.npz", X=faithful())
    (tmp_path / "x.npz").rename(tmp_path / "archive.npy")
    np.save(tmp_path / "x.npy", faithful())
    (tmp_path / "x.npy").rename(tmp_path / "array.npz")
    assert "not a .npy file" in failure(capsys, "fit", str(tmp_path / "archive.npy"))
    assert "not a .npz file" in failure(capsys, "fit", str(tmp_path / "array.npz"))


def test_npz_of_several_arrays_needs_an_x(capsys, tmp_path):
    np.savez(tmp_path / "two.npz", a=faithful(), b=faithful())
    assert "found a, b" in failure(capsys, "fit", str(tmp_path / "two.npz"))


# Bad arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["fit"], "DATA"),
        (["fly"], "fly"),
        (["fit", "missing.csv"], "missing.csv: No such file"),
        (["fit", FAITHFUL, "-k", "0"], "at least 1 component"),
        (["fit", FAITHFUL, "-k", "0:3"], "at least 1 component"),
        (["fit", FAITHFUL, "-k", "5:2"], "'5:2' is empty"),
        (["fit", FAITHFUL, "-k", "two"], "'two'"),
        (["fit", FAITHFUL, "-k", "273"], "273"),
        (["fit", FAITHFUL, "--covariance-type", "round"], "round"),
        (["fit", FAITHFUL, "--tol", "-1"], "tol"),
        (["fit", FAITHFUL, "--max-iter", "-1"], "max_iter"),
        (["fit", FAITHFUL, "--threads", "0"], "n_threads"),
        (["fit", FAITHFUL, "--out", "model.pickle"], ".npz"),
        (["fit", FAITHFUL, "--out", "no_such_folder/model.npz"], "no_such_folder"),
        (["info", "missing.npz"], "missing.npz"),
        (["info", FAITHFUL], "old_faithful.csv"),
        (["info", PIXELS], "china_pixels.npz"),
        (["bench", "--n", "0"], "--n"),
        (["bench", "--n", "4", "--k", "5"], "--k"),
        (["bench", "--threads", "0"], "--threads"),
    ],
)
def test_bad_arguments(capsys, arguments, message):
    assert message in failure(capsys, *arguments)


COMMANDS = [[], ["fit"], ["predict"], ["score"], ["sample"], ["info"], ["bench"]]


def shown_by(capsys, *argv):
    """Run what argparse answers itself, and return its output."""
    with pytest.raises(SystemExit) as stop:
        main(list(argv))
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    out = shown_by(capsys, *command, "--help")
    assert "usage: gmm-core" in out
    assert max(map(len, out.splitlines())) <= 80


def options_of(text):
    """Return the help of each option by its name."""
    entries = [" ".join(entry.split()) for entry in re.split(r"\n  (?=-)|\n\n", text)]
    return {entry.split()[0]: entry for entry in entries if entry.startswith("-")}


def test_help_tells_the_defaults(capsys):
    options = options_of(shown_by(capsys, "fit", "--help"))
    params = GaussianMixture().get_params()
    for option, default in {
        "--header": "auto",
        "--delimiter": ",",
        "-k": 1,
        "--seed": 0,
        "--covariance-type": params["covariance_type"],
        "--init": params["init_params"],
        "--n-init": params["n_init"],
        "--max-iter": params["max_iter"],
        "--tol": params["tol"],
        "--reg-covar": params["reg_covar"],
    }.items():
        assert options[option].endswith(f"(default: {default})")
    assert "(default: " in options["--threads"]
    bench = options_of(shown_by(capsys, "bench", "--help"))
    del bench["-h,"]
    assert len(bench) == 6 and all("(default: " in text for text in bench.values())


def test_version(capsys):
    assert shown_by(capsys, "--version") == f"gmm-core {gmm_core.__version__}\n"


# A saved model -----------------------------------------------------------------------------------


def test_predict_prints_one_label_a_line(capsys, model_path):
    labels = [int(line) for line in output(capsys, "predict", model_path, FAITHFUL).splitlines()]
    expected = GaussianMixture(2, random_state=0).fit(faithful()).predict(faithful())
    assert labels == expected.tolist()


def test_predict_proba(capsys, model_path):
    out = output(capsys, "predict", "--proba", model_path, FAITHFUL)
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["component 0", "component 1"]
    expected = GaussianMixture(2, random_state=0).fit(faithful()).predict_proba(faithful())
    np.testing.assert_array_equal(np.array(rows, dtype=float), expected)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_predict_to_a_file(capsys, model_path, tmp_path, suffix):
    path = str(tmp_path / f"labels{suffix}")
    assert output(capsys, "predict", model_path, FAITHFUL, "--out", path) == ""
    labels = np.load(path) if suffix == ".npy" else np.loadtxt(path, dtype=int)
    expected = GaussianMixture(2, random_state=0).fit(faithful()).predict(faithful())
    np.testing.assert_array_equal(labels, expected)


def test_score_agrees_with_fit(capsys, model_path):
    figures = fields(output(capsys, "score", model_path, FAITHFUL))
    fitted = fields(output(capsys, "fit", FAITHFUL, "-k", "2"))
    assert figures["samples"] == "272"
    assert figures["log-likelihood"] == fitted["log-likelihood"]
    assert figures["BIC"] == fitted["BIC"]
    # AIC and BIC differ by n_parameters (log n - 2); a full mixture of two in two has 11.
    difference = float(figures["BIC"]) - float(figures["AIC"])
    assert difference == pytest.approx(11 * (np.log(272) - 2), abs=0.02)


def test_sample_is_data_again(capsys, model_path, tmp_path):
    out = output(capsys, "sample", model_path, "-n", "2000", "--seed", "3")
    assert out == output(capsys, "sample", model_path, "-n", "2000", "--seed", "3")
    assert out != output(capsys, "sample", model_path, "-n", "2000", "--seed", "4")
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["eruptions", "waiting"]
    X = np.array(rows, dtype=float)
    assert X.shape == (2000, 2)
    # Means of 2000 draws are within five standard errors of those of the data.
    error = 5 * faithful().std(axis=0) / np.sqrt(2000)
    assert np.all(np.abs(X.mean(axis=0) - faithful().mean(axis=0)) < error)
    drawn = tmp_path / "drawn.csv"
    drawn.write_text(out, encoding="utf-8")
    assert "samples         2000" in output(capsys, "score", model_path, str(drawn))


def test_info_prints_the_table_of_fit(capsys, model_path):
    out = output(capsys, "info", model_path)
    assert "2 components, 2 features, full" in out
    fitted = output(capsys, "fit", FAITHFUL, "-k", "2")
    table = [line for line in out.splitlines() if "(" in line]
    assert len(table) == 3
    assert all(line in fitted for line in table)


def test_columns_must_be_those_of_the_fit(capsys, model_path, tmp_path):
    swapped = tmp_path / "swapped.csv"
    np.savetxt(swapped, faithful()[:, ::-1], delimiter=",", header="waiting,eruptions", comments="")
    err = failure(capsys, "predict", model_path, str(swapped))
    assert "columns are waiting, eruptions" in err
    # Without names there is nothing to compare but the number.
    np.save(tmp_path / "wide.npy", np.ones((5, 3)))
    assert "3 features" in failure(capsys, "predict", model_path, str(tmp_path / "wide.npy"))


# Plot --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_plot_writes_an_image(capsys, tmp_path, covariance_type):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    path = tmp_path / "plot.png"
    out = output(
        capsys, "fit", FAITHFUL, "-k", "2", "--covariance-type", covariance_type,
        "--plot", str(path),
    )  # fmt: skip
    assert f"plot saved to {path}" in out
    from matplotlib.image import imread

    image = imread(path)[..., :3]
    assert min(image.shape[:2]) > 400
    # Both components' colours are there: the first two of matplotlib's cycle, blue and orange.
    for colour in ((31, 119, 180), (255, 127, 14)):
        assert np.any(np.all(np.abs(image * 255 - colour) < 2, axis=-1))


def test_plot_of_one_feature_is_refused(capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    np.save(tmp_path / "x.npy", faithful()[:, 0])
    path = str(tmp_path / "plot.png")
    assert "two features" in failure(capsys, "fit", str(tmp_path / "x.npy"), "--plot", path)


def test_plot_without_matplotlib_says_what_to_install(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    err = failure(capsys, "fit", FAITHFUL, "--plot", str(tmp_path / "plot.png"))
    # The package is on no index, so its extras are named from within a clone.
    assert 'pip install ".[plot]"' in err


# bench -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_bench_compares_and_times(capsys, covariance_type):
    out = output(
        capsys, "bench", "--n", "500", "--d", "3", "--k", "2", "--iterations", "3",
        "--covariance-type", covariance_type, "--threads", "1",
    )  # fmt: skip
    assert "equal to" in out and "processor" in out and np.__version__ in out
    rows = {line[:16].strip(): line[16:].split() for line in out.splitlines()}
    assert rows["gmm_core"][-1] == "1.00"
    assert all(float(cell) > 0 for cell in rows["NumPy baseline"])


def test_bench_refuses_to_time_different_results(capsys, monkeypatch):
    fit = gmm_core.reference.fit

    def wrong(*args, **kwargs):
        result = fit(*args, **kwargs)
        return result._replace(lower_bounds=np.asarray(result.lower_bounds) + 1e-3)

    monkeypatch.setattr(gmm_core.reference, "fit", wrong)
    assert main(["bench", "--n", "300", "--d", "2", "--k", "2", "--iterations", "2"]) == 2
    out, err = capsys.readouterr()
    assert "NumPy baseline differ by" in err and err.count("\n") == 1
    assert "ms/iteration" not in out


# As a process ------------------------------------------------------------------------------------


def command(*argv):
    # "-P" keeps the uncompiled folder of a clone from being imported instead of the package.
    return [sys.executable, "-P", "-m", "gmm_core", *argv]


def test_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        command("fit", FAITHFUL, "-k", "2"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "log-likelihood" in done.stdout
    done = subprocess.run(
        command("fit", "x.csv"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.mark.skipif(os.name != "posix", reason="pipes break with an error of their own elsewhere")
def test_reader_that_goes_away(tmp_path):
    np.save(tmp_path / "many.npy", np.random.default_rng(0).standard_normal((100_000, 2)))
    model = str(tmp_path / "model.npz")
    assert main(["fit", str(tmp_path / "many.npy"), "--out", model]) == 0
    with subprocess.Popen(
        command("predict", model, str(tmp_path / "many.npy")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_progress_on_a_terminal_and_ctrl_c(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((50_000, 4)))
    terminal, stderr = os.openpty()
    process = subprocess.Popen(
        command("fit", str(tmp_path / "x.npy"), "-k", "8", "--tol", "0", "--max-iter", "1000000"),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    try:
        shown = b""
        progress = rb"fitting 8 components, \d+ s: iteration \d+, log-likelihood -\d+\.\d{4} per"
        deadline = time.perf_counter() + 60
        while not re.search(progress, shown):
            assert time.perf_counter() < deadline, shown[-200:]
            shown += os.read(terminal, 1000)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert time.perf_counter() - start < 5  # Python's own exit included
    finally:
        process.kill()
        process.wait()
    tail = b""
    while b"\n" not in tail:
        tail += os.read(terminal, 1000)
    os.close(terminal)
    assert process.returncode == 130
    assert out == b""
    assert tail.endswith(b"gmm-core: interrupted\r\n")
    assert b"Traceback" not in shown + tail
