"""Tests of the choice of a mixture for a Dask collection."""

import os
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client

from gmm_core import select
from gmm_core.dask import GaussianMixture
from gmm_core.fit import kmeans

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no alarm, and no SIGKILL"),
    # distributed leaves a socket open when it looks for its own address
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

OPTIONS: Any = {"n_components": [1, 3], "covariance_types": ["full", "EEV"], "tol": 1e-4}


@pytest.mark.parametrize("weighted", [False, True])
def test_the_rows_are_those_of_its_own_fits(
    weighted: bool, X: np.ndarray, weight: np.ndarray, client: Client
) -> None:
    rows = da.from_array(X, chunks=(2_500, -1)).persist()
    given = weight if weighted else None
    selection = select(rows, sample_weight=given, **OPTIONS)
    of_array = select(X, sample_weight=given, **OPTIONS)
    assert type(selection.best) is GaussianMixture
    for row, expected in zip(selection.table, of_array.table, strict=True):
        alone = GaussianMixture(
            row.n_components, covariance_type=row.covariance_type, tol=1e-4, random_state=0
        ).fit(rows, sample_weight=given)
        assert row.log_likelihood == alone.lower_bound_ * alone.n_samples_seen_
        assert (row.n_iter, row.converged) == (alone.n_iter_, alone.converged_)
        assert row.icl == pytest.approx(alone.icl(rows, given), rel=1e-13)
        assert row[:2] == expected[:2] and row.n_parameters == expected.n_parameters
        for name in ("log_likelihood", "bic", "aic", "icl"):
            assert getattr(row, name) == pytest.approx(getattr(expected, name), rel=1e-9)
    best, expected_best = selection.best, of_array.best
    assert best.covariance_type == expected_best.covariance_type
    assert best.n_components == expected_best.n_components


def test_the_chunks_and_the_clusters_are_made_once(
    X: np.ndarray, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, seed_rows = [], kmeans.seed_rows
    monkeypatch.setattr(
        kmeans, "seed_rows", lambda *args: (calls.append(args[1]), seed_rows(*args))[1]
    )
    persisted, persist = [], client.persist
    monkeypatch.setattr(
        client, "persist", lambda *args, **kw: (persisted.append(1), persist(*args, **kw))[1]
    )
    monkeypatch.setattr("gmm_core.dask_collections._current_client", lambda: client)
    select(da.from_array(X, chunks=(2_500, -1)), [2, 3], ["full", "diag"])
    assert calls == [2, 3] and len(persisted) == 1


def test_a_data_frame_and_chunks_along_features(X: np.ndarray, client: Client) -> None:
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abc")), npartitions=3)
    best = select(frame, [1, 2]).best
    assert best.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.warns(UserWarning, match="chunked along the features") as caught:
        select(da.from_array(X, chunks=(4_000, 2)), [1, 2])
    assert len(caught) == 1 and caught[0].filename == __file__


def test_bad_collections(X: np.ndarray, client: Client) -> None:
    rows = da.from_array(np.where(X > X.max() - 1e-9, np.nan, X), chunks=(2_500, -1))
    with pytest.raises(ValueError, match="^chunk .*NaN"):
        select(rows, **OPTIONS)
    with pytest.raises(ValueError, match="^sample_weight"):
        select(da.from_array(X), sample_weight=np.ones(5), **OPTIONS)


def test_a_collection_needs_a_client(X: np.ndarray) -> None:
    with pytest.raises(RuntimeError, match="needs a client of distributed"):
        select(da.from_array(X), **OPTIONS)
