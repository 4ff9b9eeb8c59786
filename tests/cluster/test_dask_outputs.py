"""Tests of `out` and of batches in the methods of the estimators for Dask collections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed", reason="tests the estimators for Dask collections")

import dask
from dask import array as da

from gmm_core import GaussianMixture as Plain
from gmm_core.dask import BayesianGaussianMixture, GaussianMixture

X = np.random.default_rng(0).normal(size=(600, 2)) + np.repeat([[0.0], [5.0]], 300, axis=0)
COLLECTION = da.from_array(X, chunks=(250, -1))
METHODS = ["predict", "predict_proba", "noise_proba", "score_samples", "impute"]


@pytest.fixture(params=[GaussianMixture, BayesianGaussianMixture])
def model(request: Any) -> Any:
    return request.param(n_components=2, random_state=0, max_iter=500).fit(X)


def test_batches_and_collections(model: Any, tmp_path: Path) -> None:
    plain = Plain(2, random_state=0, max_iter=500).fit(X)
    for name in METHODS:
        if not hasattr(model, name):
            continue
        method = getattr(model, name)
        expected = method(X)
        if isinstance(model, GaussianMixture):
            np.testing.assert_array_equal(expected, getattr(plain, name)(X))
        np.testing.assert_array_equal(np.concatenate(list(method([X[:99], X[99:]]))), expected)
        np.testing.assert_array_equal(method([X[:99], X[99:]], out=tmp_path / "a.npy"), expected)
        out = np.empty_like(expected)
        with dask.config.set(scheduler="synchronous"):
            da.store([method(COLLECTION)], [out])
        np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)
        with pytest.raises(ValueError, match=r"X is a Dask collection: .* dask\.array\.store"):
            method(COLLECTION, out=out)
        with pytest.raises(TypeError, match="batch 0: X is a Dask collection"):
            list(method([COLLECTION]))


def test_denoise(tmp_path: Path) -> None:
    model = GaussianMixture(2, random_state=0).fit(X)
    noise = np.full(X.shape, 0.3)
    expected = model.denoise(X, noise)
    np.testing.assert_array_equal(model.denoise([(X, None, noise)], out=tmp_path / "a.npy"), expected)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(model.denoise(COLLECTION, noise), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="denoise needs the noise_covariance"):
        model.denoise(COLLECTION)
    with pytest.raises(ValueError, match="X is a Dask collection"):
        model.denoise(COLLECTION, noise, out=tmp_path / "a.npy")
