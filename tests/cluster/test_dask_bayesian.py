"""Tests that fits and lazy results of Bayesian mixtures on Dask collections equal those of arrays."""

import os
import sys
from typing import Any

import cloudpickle
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client

import gmm_core
from gmm_core.dask import BayesianGaussianMixture

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no alarm"),
    pytest.mark.filterwarnings("ignore:Best performing"),
    # distributed leaves a socket open when it looks for its own address
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it

D, K = 3, 4
EXACT: dict[str, Any] = {"n_components": K, "random_state": 0, "tol": 0.0, "max_iter": 8}
ARRAYS = ["weights_", "means_", "covariances_", "mean_precision_", "covariance_prior_"]
METHODS = ["predict", "predict_proba", "score_samples", "log_predictive"]


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])
@pytest.mark.parametrize("weights", [None, "dask"])
def test_same_as_fit(
    covariance_type: Any, posterior: Any, weights: str | None, X: np.ndarray, weight: np.ndarray,
    client: Client,
) -> None:  # fmt: skip
    params = {**EXACT, "covariance_type": covariance_type, "posterior": posterior}
    expected = gmm_core.BayesianGaussianMixture(**params)
    # the weights are not about 1, as their size matters here
    expected.fit(X, sample_weight=None if weights is None else 3e3 * weight)
    given = None if weights is None else da.from_array(3e3 * weight, chunks=1700)
    model = BayesianGaussianMixture(**params)
    assert model.fit(da.from_array(X, chunks=(2500, D)), sample_weight=given) is model
    for name in ARRAYS:
        a, b = getattr(model, name), getattr(expected, name)
        assert a.dtype == b.dtype
        # Sums of 12,000 rows are added in another order, in each of 8 iterations.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * abs(b).max(), err_msg=name)
    np.testing.assert_allclose(
        np.array(model.weight_concentration_), np.array(expected.weight_concentration_), rtol=1e-10
    )
    assert model.lower_bounds_ == pytest.approx(expected.lower_bounds_, rel=1e-12)
    assert model.elbo_ == pytest.approx(expected.elbo_, rel=1e-12)


@pytest.mark.parametrize("method", ["squarem", "lbfgs"])
def test_acceleration(method: Any, X: np.ndarray, client: Client) -> None:
    params: Any = {**EXACT, "tol": 1e-4, "max_iter": 2000, "reg_covar": 0}
    plain = gmm_core.BayesianGaussianMixture(**params).fit(X)
    params["acceleration"] = method
    model = BayesianGaussianMixture(**params).fit(da.from_array(X, chunks=(5000, D)))
    assert model.converged_ and model.n_iter_ < plain.n_iter_
    assert model.lower_bound_ >= plain.lower_bound_ - 1e-2


@pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])
def test_lazy_results_are_those_of_arrays(posterior: Any, X: np.ndarray, weight: np.ndarray) -> None:
    X = X[:4000]
    model = BayesianGaussianMixture(**EXACT, covariance_type="diag", posterior=posterior).fit(X)
    x = da.from_array(X, chunks=(1500, D))
    for method in METHODS:
        lazy, expected = getattr(model, method)(x), getattr(model, method)(X)
        assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
        assert lazy.numblocks[0] == 3
        np.testing.assert_array_equal(lazy.compute(scheduler="sync"), expected)
        filtered = x[x[:, 0] > 0]  # lengths of chunks are unknown
        got = getattr(model, method)(filtered).compute(scheduler="sync")
        np.testing.assert_array_equal(got, expected[X[:, 0] > 0])
    w = weight[:4000]
    assert model.score(x) == pytest.approx(model.score(X), rel=1e-13)
    expected_score = model.score(X, sample_weight=w)
    assert model.score(x, sample_weight=w) == pytest.approx(expected_score, rel=1e-13)
    assert model.score(x, sample_weight=da.from_array(w, 900)) == pytest.approx(
        expected_score, rel=1e-13
    )


def test_a_data_frame_fit_predict_and_checkpoint(
    X: np.ndarray, client: Client, tmp_path: Any
) -> None:
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abc")), npartitions=3)
    model = BayesianGaussianMixture(**EXACT, checkpoint=tmp_path / "state")
    labels = model.fit_predict(frame)
    assert isinstance(labels, da.Array) and os.listdir(tmp_path) == []
    np.testing.assert_array_equal(labels.compute(), model.predict(pd.DataFrame(X, columns=list("abc"))))
    with pytest.warns(UserWarning, match="but BayesianGaussianMixture was fitted with feature names"):
        model.predict(da.from_array(X))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c"]])
    again = model.set_params(warm_start=True).fit(frame)
    longer = gmm_core.BayesianGaussianMixture(**{**EXACT, "max_iter": 16}).fit(X)
    assert again.lower_bounds_ == pytest.approx(longer.lower_bounds_[8:], rel=1e-12)


def test_bad_collections_and_models(X: np.ndarray, client: Client) -> None:
    x = da.from_array(X, chunks=(5000, D))
    with pytest.raises(ValueError, match="not fitted"):
        BayesianGaussianMixture().predict(x)
    with pytest.raises(ValueError, match=r"chunk 1 of X: Input X contains NaN"):
        BayesianGaussianMixture().fit(da.where(da.arange(12_000)[:, None] == 7000, np.nan, x))
    with pytest.raises(ValueError, match="mean_precision_prior"):
        BayesianGaussianMixture(mean_precision_prior=-1).fit(x)
    model = BayesianGaussianMixture(random_state=0).fit(x)
    with pytest.raises(ValueError, match="X has 2 features"):
        model.log_predictive(x[:, :2])
    assert type(model.to_gaussian_mixture()) is gmm_core.GaussianMixture
