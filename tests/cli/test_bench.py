"""Tests of the benchmark of the command line."""

import sys

import numpy as np
import pytest

import gmm_core
from gmm_core.cli.main import main


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_bench_compares_and_times(output, covariance_type):
    out = output(
        "bench", "--n", "500", "--d", "3", "--k", "2", "--iterations", "3",
        "--covariance-type", covariance_type, "--threads", "1",
    )
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


def test_bench_that_is_not_installed(failure, monkeypatch):
    monkeypatch.setitem(sys.modules, "gmm_core.cli.bench", None)
    assert "without benchmarks/bench.py" in failure("bench")
