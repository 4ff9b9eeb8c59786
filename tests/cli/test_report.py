"""Tests of the tables that the command line prints."""

import numpy as np
import pytest

from gmm_core.cli.main import main


def test_large_tables_are_cut(capsys, tmp_path):
    path = tmp_path / "wide.npy"
    np.save(path, np.random.default_rng(0).standard_normal((400, 9)))
    arguments = ["--covariance-type", "spherical", "--tol", "1", "--max-iter", "2"]
    assert main(["fit", str(path), "-k", "25", *arguments]) == 0
    out = capsys.readouterr().out
    assert "5 more components" in out and "3 more features" in out
    assert max(map(len, out.splitlines())) < 200


@pytest.mark.parametrize(("columns", "n_shown"), [(200, 6), (80, 3), (60, 2), (20, 1)])
def test_tables_fit_the_terminal(output, tmp_path, on_a_terminal, columns, n_shown):
    X = np.random.default_rng(0).uniform(100, 101, (400, 9))
    path = tmp_path / "wide.npy"
    np.save(path, X)
    # A mean and a standard deviation take up to 16 characters, such as "100.503 (0.2871)".
    on_a_terminal(columns)
    out = output("fit", str(path), "-k", "1")
    table = next(line for line in out.splitlines() if line.startswith("component"))
    assert table.split()[2:] == [f"x{d + 1}" for d in range(n_shown)]
    assert f"{9 - n_shown} more features" in out
    if columns > 20:
        assert max(map(len, out.splitlines()[2:])) <= columns


def test_long_names_are_shortened_on_a_terminal_alone(output, tmp_path, on_a_terminal):
    names = [f"a_measurement_with_a_very_long_name_{letter}" for letter in "abc"]
    rows = np.random.default_rng(0).uniform(100, 101, (400, 3))
    path = tmp_path / "long.csv"
    np.savetxt(path, rows, delimiter=",", header=",".join(names), comments="")
    piped = output("fit", str(path))
    assert all(name in piped for name in names)
    on_a_terminal(80)
    lines = output("fit", str(path)).splitlines()
    table = [line for line in lines if "component" in line or "(" in line]
    assert max(map(len, table)) <= 80
    header = table[0].split()[2:]
    # The middle is cut, so that names which differ only in the last character stay different.
    assert len(set(header)) == 3 and all(len(name) <= 16 and "..." in name for name in header)
    assert "more features" not in table[-1]
    on_a_terminal(200)
    assert output("fit", str(path)).splitlines()[:5] == piped.splitlines()[:5]
