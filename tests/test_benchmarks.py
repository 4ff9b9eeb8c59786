"""Tests of comparisons in benchmarks/: EM with and without skipping, and rows that lack values."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = [path.stem for path in BENCHMARKS.glob("*.py")]


@pytest.fixture
def benchmarks(monkeypatch):
    """Make the modules of benchmarks/ importable, for one test."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def problem_of(source):
    from workloads import make_problem, small_grid

    return next(
        make_problem(w) for w in small_grid() if (w.kind, w.source) == ("skip", source)
    )


def compare(problem, repeats=1):
    from libraries import load
    from skipping import LaterIterations

    peers, _ = load(["gmm_core", "dense"])
    cells = LaterIterations(problem, repeats, cap=20.0).run(peers, n_threads=1, memory=False)
    return {cell.library: cell for cell in cells}


@pytest.mark.parametrize("source", ["separated", "colour"])
def test_iterations_agree_and_are_timed(benchmarks, source):
    from report import Row, as_text

    problem = problem_of(source)
    cells = compare(problem, repeats=2)
    dense, skipping = cells["dense"], cells["gmm_core"]
    assert dense.status == skipping.status == "ok"
    assert len(dense.cpu_ms) == len(skipping.cpu_ms) == 2
    assert dense.evaluated == 1
    assert 0 < skipping.evaluated < 0.8 if source == "separated" else skipping.evaluated <= 1
    text = as_text([Row(problem.workload, 1, [skipping, dense])], "", markdown=True)
    assert f"| {problem.workload.name} | 1 " in text
    assert f"{100 * skipping.evaluated:.1f} %" in text


def test_iterations_that_differ_are_not_timed(benchmarks, monkeypatch):
    import skipping

    run = skipping.Iterations.run

    def wrong(self, n_iter):
        run(self, n_iter)
        if self._data.skipping is not None:
            self.lower_bounds[-1] += 1e-3

    monkeypatch.setattr(skipping.Iterations, "run", wrong)
    cells = compare(problem_of("separated"))
    assert cells["dense"].status == "ok" and cells["dense"].cpu_ms
    assert cells["gmm_core"].status == "differs" and not cells["gmm_core"].cpu_ms


@pytest.mark.parametrize("source", ["digits", "patches"])
def test_data_of_scikit_learn_are_left_out_without_it(benchmarks, monkeypatch, source):
    from workloads import Unavailable

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(Unavailable, match="scikit-learn"):
        problem_of(source)


def runs_of_rows(covariance_type, before=None):
    import rows

    w, share = next(
        item for item in rows.MISSING.items() if item[0].covariance_type == covariance_type
    )
    small = replace(w, n_samples=300, n_features=4)
    return rows, rows.missing_runs(small, share, before)


@pytest.mark.parametrize(
    "covariance_type, before", [("full", sys.executable), ("diag", None), ("spherical", None)]
)
def test_fits_to_missing_values_agree_and_are_timed(benchmarks, covariance_type, before):
    pytest.importorskip("threadpoolctl")
    rows, runs = runs_of_rows(covariance_type, before)
    ms = rows.compare("small", runs, rounds=1)
    assert ms.keys() == {"gmm_core", "NumPy"} | ({"before"} if before else set())


def test_fits_to_missing_values_that_differ_are_not_timed(benchmarks):
    pytest.importorskip("threadpoolctl")
    rows, runs = runs_of_rows("full")
    runs["before"] = lambda n_iter: (1.0, runs["NumPy"](n_iter)[1] * (1 + 1e-8))
    with pytest.raises(SystemExit, match="of before"):
        rows.compare("small", runs, rounds=1)
