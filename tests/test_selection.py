"""Tests of the choice of a covariance type and a number of components."""

from __future__ import annotations

import re
from typing import Any

import matplotlib
import numpy as np
import pytest

import gmm_core
from gmm_core import GaussianMixture, select
from gmm_core.fit import kmeans

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
    ],
)
def test_bad_input(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(three_groups(), **params)


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
        ({"X": lambda: iter([three_groups()])}, "X is of type function, expected an array"),
    ],
)
def test_bad_types(params: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        select(**({"X": three_groups()} | params))


def test_arguments_of_numpy() -> None:
    assert select(three_groups(), np.int64(2), "EII").best.n_components == 2
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
