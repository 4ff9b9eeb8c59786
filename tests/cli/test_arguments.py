"""Tests of wrong arguments, and of the help."""

import re
from pathlib import Path

import pytest

import gmm_core
from gmm_core import GaussianMixture
from gmm_core.cli.main import main

FAITHFUL = str(Path(__file__).parents[2] / "examples" / "old_faithful.csv")
PIXELS = str(Path(__file__).parents[2] / "examples" / "china_pixels.npz")


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
        (["fit", FAITHFUL, "--covariance-type", "E"], "'E' is for data of one feature"),
        (["fit", FAITHFUL, "--criterion", "dic"], "dic"),
        (["fit", FAITHFUL, "-k", "272:273"], "n_components goes up to 273"),
        (["fit", FAITHFUL, "-k", "1:2", "--tol", "-1"], "tol"),
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
        (["bench", "--covariance-type", "EEV"], "EEV"),
    ],
)
def test_bad_arguments(failure, arguments, message):
    assert message in failure(*arguments)


COMMANDS = [[], ["fit"], ["predict"], ["score"], ["sample"], ["info"], ["bench"]]


def shown_by(capsys, *argv):
    """Return what argparse prints for arguments that it answers itself, such as --help."""
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
        "--criterion": "bic",
        "--seed": 0,
        "--covariance-type": params["covariance_type"],
        "--init": params["init_params"],
        "--n-init": params["n_init"],
        "--n-short": params["n_short"],
        "--n-swaps": params["n_swaps"],
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
