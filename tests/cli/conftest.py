"""Fixtures that the tests of the command line share."""

import sys
from pathlib import Path

import numpy as np
import pytest

from gmm_core.cli.main import main

FAITHFUL = str(Path(__file__).parents[2] / "examples" / "old_faithful.csv")


@pytest.fixture
def faithful():
    """Return the samples in FAITHFUL."""
    return np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


@pytest.fixture
def failure(capsys):
    """Return a function that runs a command which must fail, and returns its error.

    The exit code must be 2, stdout must be empty, and stderr must have one line.
    """

    def run(*argv):
        assert main(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1 and err.endswith("\n")
        assert err.startswith("gmm-core: error: ")
        return err

    return run


@pytest.fixture
def output(capsys):
    """Return a function that runs a command which must succeed, and returns what it prints.

    Nothing may be on stderr.
    """

    def run(*argv):
        assert main(list(argv)) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def fields():
    """Return a function that turns lines such as 'BIC   2322.19' into a dictionary."""

    def parse(text):
        return {line.split()[0]: line.split()[-1] for line in text.splitlines() if line.strip()}

    return parse


@pytest.fixture
def model_path(tmp_path, output):
    """Return the path of a file that holds a fitted model."""
    path = str(tmp_path / "model.npz")
    output("fit", FAITHFUL, "-k", "2", "--out", path)
    return path


@pytest.fixture
def on_a_terminal(monkeypatch):
    """Return a function that makes stdout look like a terminal with a number of columns."""

    def pretend(columns):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return pretend


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a .csv file and returns its path."""

    def write(text):
        path = tmp_path / "data.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write
