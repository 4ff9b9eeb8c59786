"""Tests of the choice of a covariance type and a number of components."""

from __future__ import annotations

import re
import warnings
from typing import Any

import matplotlib
import numpy as np
import pytest

import gmm_core
from gmm_core import GaussianMixture, select
from gmm_core.fit import kmeans, run
from gmm_core.selection import Table

matplotlib.use("agg")


def three_groups(n: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3 * n, 2)) + np.repeat([[0, 0], [8, 0], [0, 8]], n, axis=0)


def without_times(table: Any) -> list[Any]:
    return [row[:-1] for row in table]


def test_every_row_is_the_fit_of_its_own_model() -> None:
    X = three_groups()
    selection = select(X, range(1, 4), "all", random_state=3)
    assert len(selection.table) == 3 * 14
    for row in selection.table:
        alone = GaussianMixture(
            row.n_components, covariance_type=row.covariance_type, random_state=3
        ).fit(X)
        assert row.log_likelihood == alone.lower_bound_ * len(X)
        assert row.n_parameters == alone.n_parameters
        for name in ("bic", "aic", "icl"):
            assert getattr(row, name) == pytest.approx(getattr(alone, name)(X), rel=1e-13)
        assert (row.n_iter, row.converged) == (alone.n_iter_, alone.converged_)
    best = selection.best
    assert best.bic(X) == pytest.approx(min(row.bic for row in selection.table), rel=1e-13)
    assert (best.n_components, best.covariance_type) == (3, "EII")


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_the_criterion_decides(criterion: Any) -> None:
    X = three_groups()
    selection = select(X, [2, 3, 4], ["full", "diag"], criterion)
    lowest = min(selection.table, key=lambda row: getattr(row, criterion))
    assert selection.best.n_components == lowest.n_components
    assert selection.best.covariance_type == lowest.covariance_type
    assert selection.criterion == criterion


def test_threads_do_not_matter() -> None:
    X, weight = three_groups(), np.random.default_rng(1).uniform(0.5, 2, 300)
    one, two = (
        select(X, range(1, 4), "all", sample_weight=weight, n_threads=n) for n in (1, 2)
    )
    assert without_times(one.table) == without_times(two.table)
    np.testing.assert_array_equal(one.best.covariances_, two.best.covariances_)


def test_clusters_are_found_once_for_each_number_of_components(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    seed_rows = kmeans.seed_rows
    monkeypatch.setattr(
        kmeans, "seed_rows", lambda *args: (calls.append(args[1]), seed_rows(*args))[1]
    )
    select(three_groups(), [2, 3], "all", n_threads=1, n_init=2)
    assert sorted(calls) == [2, 2, 3, 3]


def test_collapsed_and_failed_fits_are_rows() -> None:
    X = np.vstack([three_groups(20), [[50.0, 50.0]] * 3])
    selection = select(X, [1, 4], ["full", "spherical"])
    collapsed = [row for row in selection.table if row.collapsed]
    assert collapsed and not any(row.n_components == 1 for row in collapsed)
    assert min(collapsed, key=lambda row: row.bic).bic < selection.best.bic(X)
    assert "collapsed" in str(selection.table)
    for row in selection.table:
        assert row.collapsed == bool(row.collapsed_components)
        assert set(row.collapsed_components) <= set(range(row.n_components))
    failed = select(X, [1, 4], ["full", "EEI"], reg_covar=0, init_params="random_from_data")
    with pytest.raises(ValueError, match="all fits failed, the last because: .*positive definite"):
        select(np.ones((20, 2)), [1, 2], "all", reg_covar=0)
    assert len(failed.table) == 4


def test_bad_data_are_refused_before_the_first_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fit_array", "fit_batches"):
        monkeypatch.setattr(run, name, lambda *_, **__: pytest.fail("a fit has begun"))
    X = three_groups()
    X[7, 1] = np.inf
    for bad in ({"X": X}, {"X": [X]}, {"sample_weight": np.full(300, -1)}, {"reg_covar": [1, 2, 3]}):
        with pytest.raises(ValueError, match="^(batch 0: )?Input X contains infinity|^Negative|^The parameter 'reg_covar'"):
            select(**({"X": three_groups()} | bad))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("init_params", ["kmeans", "hierarchical"])
def test_batches_have_the_rows_of_an_array(weighted: bool, init_params: str) -> None:
    X, weight = three_groups(), np.random.default_rng(1).integers(0, 4, 300) / 2
    sizes = [0, 3, 120, 121]
    batches: list[Any] = np.split(X, sizes)
    if weighted:
        batches = list(zip(batches, np.split(weight, sizes), strict=True))
    options: Any = {"n_components": [3, 1, 2], "covariance_types": "all", "init_params": init_params}
    expected = select(X, sample_weight=weight if weighted else None, **options)
    for given in (batches, lambda: iter(batches)):
        found = select(given, **options)
        assert without_times(found.table) == without_times(expected.table)
        assert type(found.best) is GaussianMixture
        np.testing.assert_array_equal(found.best.covariances_, expected.best.covariances_)
        assert found.best.icl(batches) == expected.best.icl(X, weight if weighted else None)


def test_batches_share_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    seed_rows = kmeans.seed_rows
    monkeypatch.setattr(
        kmeans, "seed_rows", lambda *args: (calls.append(args[1]), seed_rows(*args))[1]
    )
    select(np.split(three_groups(), 3), [2, 3], "all")
    assert calls == [2, 3]


def test_feature_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(three_groups(), columns=["a", "b"])
    for given in (frame, [frame[:100], frame[100:]]):
        assert select(given, [1, 2]).best.feature_names_in_.tolist() == ["a", "b"]


def test_one_weight_for_all_samples() -> None:
    X = np.vstack([three_groups(20), [[50.0, 50.0]] * 3])
    found = [select(X, [1, 4], sample_weight=w).table for w in (2.0, np.full(len(X), 2.0))]
    assert without_times(found[0]) == without_times(found[1])


def test_the_filters_of_warnings_stay_as_they_are() -> None:
    """They belong to the process, so that a change could silence the warnings of other threads."""
    before, during = list(warnings.filters), []

    def start(X: np.ndarray, n_components: int, random_state: Any) -> np.ndarray:
        during.append(list(warnings.filters))
        return np.arange(len(X)) % n_components

    table = select(three_groups(), [1, 2], init_params=start, max_iter=1).table
    assert not all(row.converged for row in table)
    assert len(during) == 8 and all(filters == before for filters in during)


def test_it_prints_and_draws() -> None:
    selection = select(three_groups(), [1, 2], ["full", "EEV"])
    header, *lines = str(selection.table).splitlines()
    assert re.split(" +", header.strip())[:3] == ["type", "K", "log-likelihood"]
    assert [line.split()[:2] for line in lines] == [
        ["full", "1"], ["EEV", "1"], ["full", "2"], ["EEV", "2"],
    ]  # fmt: skip
    frame = selection.to_frame()
    assert list(frame.columns[:2]) == ["covariance_type", "n_components"] and len(frame) == 4
    axes = selection.plot()
    assert [line.get_label() for line in axes.lines] == ["full", "EEV"]
    assert axes.get_ylabel() == "BIC"
    assert selection.plot(axes) is axes


def with_failures() -> Any:
    """Return a selection of fits that failed, fits that collapsed, and others."""
    X = np.vstack([three_groups(20), [[50.0, 50.0]] * 3])

    def start(X: np.ndarray, n_components: int, random_state: Any) -> np.ndarray:
        if n_components == 3:
            raise ValueError("no start")
        return np.array([0, 1, 2, 3][:n_components])[np.arange(len(X)) // 20 % n_components]

    return select(X, [4, 1, 3, 2], ["full", "EEV"], init_params=start)


def test_failed_fits_have_their_parameters_and_dashes() -> None:
    table = with_failures().table
    failed = [row for row in table if row.failure]
    assert [(row.covariance_type, row.n_components) for row in failed] == [("full", 3), ("EEV", 3)]
    kinds = [GaussianMixture(3, covariance_type=row.covariance_type) for row in failed]
    assert [row.n_parameters for row in failed] == [k.fit(three_groups()).n_parameters for k in kinds]
    lines = str(Table(failed)).splitlines()
    assert lines[1].split() == ["full", "3", "-", "17", "-", "-", "-", "-", "no", "start"]


def test_a_slice_is_a_table() -> None:
    table = select(three_groups(), [1, 2], "full").table
    assert type(table[1:]) is Table and table[1:] == [table[1]]
    assert len(str(table[:1]).splitlines()) == 2
    assert table[-1].n_components == 2


def test_the_plot_marks_collapsed_fits_and_leaves_out_failed_ones() -> None:
    selection = with_failures()
    axes = selection.plot()
    for name, line, points in zip(["full", "EEV"], axes.lines, axes.collections, strict=True):
        rows = {row.n_components: row for row in selection.table if row.covariance_type == name}
        assert line.get_xdata().tolist() == [1, 2, 3, 4]
        np.testing.assert_array_equal(line.get_ydata(), [rows[k].bic for k in (1, 2, 3, 4)])
        assert np.isnan(line.get_ydata()[2])
        is_open = (points.get_facecolors() == matplotlib.colors.to_rgba("white")).all(axis=1)
        assert is_open.tolist() == [rows[k].collapsed for k in (1, 2, 3, 4)]
    assert any(row.collapsed for row in selection.table)


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    select(three_groups(), [1, 2], "full", verbose=1)
    err = capsys.readouterr().err
    assert err.startswith("0 of 2 fits\r1 of 2 fits, ")
    assert err.rstrip(" \n").endswith("2 of 2 fits, 0 s to go") and err.endswith("\n")
    select(three_groups(), [1, 2], "full")
    assert capsys.readouterr().err == ""


def test_one_feature() -> None:
    selection = select(three_groups()[:, :1], [1, 2, 3], "all")
    assert {row.covariance_type for row in selection.table} == {"E", "V"}
    assert selection.best.n_components == 2


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": []}, "n_components is empty"),
        ({"n_components": range(0)}, "n_components is empty"),
        ({"n_components": [0, 1]}, "'n_components' parameter"),
        ({"n_components": [1, 500]}, "n_components goes up to 500, but X has 300 samples"),
        ({"covariance_types": []}, "covariance_types is empty"),
        ({"covariance_types": ["full", "VVX"]}, "names among full, .*VVV.*, or 'all', but got 'VVX'"),
        ({"covariance_types": [["full"]]}, r"names among .*, but got \['full'\]"),
        ({"criterion": ["bic"]}, r"criterion should be one of .*, but got \['bic'\]"),
        ({"criterion": "dic"}, "criterion should be one of 'bic', 'aic', 'icl', but got 'dic'"),
        ({"tol": -1}, "'tol' parameter"),
        ({"X": np.full((9, 2), np.nan)}, "^Input X contains NaN"),
        ({"X": np.ones(9)}, "^Expected 2D array, got 1D"),
        ({"X": [[1, 2], [3]]}, "X should be an array of numbers"),
        ({"X": np.ones((1, 2)), "n_components": 1}, "minimum of 2 is required"),
        ({"sample_weight": np.ones(5)}, r"^sample_weight.shape == \(5,\), expected \(300,\)"),
        ({"sample_weight": -np.ones(300)}, "^Negative values in data passed to `sample_weight`"),
        ({"sample_weight": np.zeros(300)}, "^Sample weights must contain at least one non-zero"),
        ({"reg_covar": [1.0, 2.0, 3.0]}, "^The parameter 'reg_covar' should have the shape"),
        ({"X": [three_groups()[:5], np.ones((3, 1))]}, "^batch 1: X has 1 features"),
        ({"X": iter([three_groups()])}, "^batches can be iterated over only once"),
        ({"X": [three_groups()], "sample_weight": np.ones(300)}, "^sample_weight is given for X in"),
    ],
)
def test_bad_input(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(**({"X": three_groups()} | params))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": "3"}, "n_components should be integers, but got '3'"),
        ({"n_components": None}, "n_components should be integers, but got None"),
        ({"n_components": [1, "a"]}, r"n_components should be integers, but got \[1, 'a'\]"),
        ({"covariance_types": None}, "covariance_types should be names, or 'all', but got None"),
        ({"covariance_type": "full"}, "no parameter 'covariance_type', give covariance_types"),
        ({"checkpoint": "state.npz"}, "no parameter 'checkpoint'"),
        ({"warm_start": True}, "no parameter 'warm_start'"),
    ],
)
def test_bad_types(params: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        select(**({"X": three_groups()} | params))


def test_arguments_of_numpy() -> None:
    assert select(three_groups(), np.int64(2), "EII").best.n_components == 2
    found = select(three_groups(), iter([1, 2]), iter(["EII", "full"]))
    assert len(found.table) == 4
    found = select(three_groups(), np.arange(1, 3), np.array(["EII", "full"]))
    assert type(found.table[0].n_components) is int


def test_the_first_of_equal_models_is_chosen() -> None:
    assert select(three_groups(), 1, ["VEE", "full", "EEE"]).best.covariance_type == "VEE"
    assert select(three_groups(), 1, ["EEE", "VEE", "full"]).best.covariance_type == "EEE"


def test_a_random_state_is_drawn_from_once() -> None:
    found = [
        select(three_groups(), [2, 4], ["EII", "full"], random_state=np.random.RandomState(3),
               n_threads=n_threads).table
        for n_threads in (1, 2, 2)
    ]  # fmt: skip
    bics = [[row.bic for row in table] for table in found]
    assert bics[0] == bics[1] == bics[2]


def test_icl() -> None:
    X, weight = three_groups(), np.random.default_rng(0).uniform(0.5, 2, 300)
    gm = GaussianMixture(4, random_state=0).fit(X, sample_weight=weight)
    r = gm.predict_proba(X)
    bic = gm.bic(X, weight)
    assert gm.icl(X, weight) == pytest.approx(bic - 2 * weight @ np.log(r.max(axis=1)), rel=1e-13)
    entropy = -(weight @ (r * np.log(np.maximum(r, 1e-300))).sum(axis=1))
    assert gm.icl(X, weight, certainty="entropy") == pytest.approx(bic + 2 * entropy, rel=1e-13)
    with pytest.raises(ValueError, match="certainty should be 'map' or 'entropy', but got 'x'"):
        gm.icl(X, certainty="x")  # type: ignore[arg-type]
    assert gmm_core.select is select
