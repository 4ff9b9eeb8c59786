"""Tests that fits and results of Dask collections with missing values or noise equal those of arrays."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client

import gmm_core
from gmm_core import select
from gmm_core.dask import BayesianGaussianMixture, GaussianMixture
from gmm_core.data.dask_pass import DaskPass

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no alarm, and no SIGKILL"),
    pytest.mark.filterwarnings("ignore:Best performing"),
    # distributed leaves a socket open when it looks for its own address
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it

N, D, K = 12_000, 3, 3
EXACT: dict[str, Any] = {"random_state": 0, "tol": 0.0, "max_iter": 8, "missing": "marginalize"}
NOISE = ["variances", "covariances", "one covariance"]


@pytest.fixture(scope="module")
def holes(X: np.ndarray) -> np.ndarray:
    """Return the samples without a fifth of their values; the first chunks of 2,500 lack none."""
    rng = np.random.default_rng(2)
    hidden = (rng.random(X.shape) < 0.2) & (np.arange(N)[:, None] >= 5000)
    return np.where(hidden, np.nan, X)


def noise_of(kind: str, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(3)
    if kind == "variances":
        return rng.uniform(0, 0.5, size=(n, D))
    A = rng.normal(size=(n, D, D)) / 3
    S = np.einsum("nij,nkj->nik", A, A)
    return S[0] if kind == "one covariance" else S


def arrays(model: Any) -> list[np.ndarray]:
    return [model.weights_, model.means_, model.covariances_, model.precisions_cholesky_]


def bits(model: Any) -> list[bytes]:
    return [a.tobytes() for a in arrays(model)] + [np.array(model.lower_bounds_).tobytes()]


def assert_close(got: Any, expected: Any, tolerance: float = 1e-11) -> None:
    """Assert that models agree; sums of 12,000 rows are added in another order in 8 iterations."""
    assert got.n_iter_ == expected.n_iter_
    for a, b in zip(arrays(got), arrays(expected), strict=True):
        assert a.dtype == b.dtype
        assert abs(a - b).max() <= tolerance * abs(b).max()


# ---- fits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_missing_values(
    covariance_type: Any, holes: np.ndarray, weight: np.ndarray, client: Client
) -> None:
    params = EXACT | {"covariance_type": covariance_type, "init_size": 2000}
    expected = gmm_core.GaussianMixture(K, **params).fit(holes, sample_weight=weight)
    rows = da.from_array(holes, chunks=(2500, D))
    model = GaussianMixture(K, **params).fit(rows, sample_weight=da.from_array(weight, chunks=1700))
    assert_close(model, expected)
    hidden = da.from_array(np.isnan(holes), chunks=(2500, D))
    masked = da.ma.masked_array(da.from_array(np.nan_to_num(holes), chunks=(2500, D)), mask=hidden)
    assert bits(GaussianMixture(K, **params).fit(masked, sample_weight=weight)) == bits(model)
    small = holes.astype(np.float32)
    of_float32 = GaussianMixture(K, **params).fit(da.from_array(small, chunks=(2500, D)))
    expected = gmm_core.GaussianMixture(K, **params).fit(small)
    assert_close(of_float32, expected, 100 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("kind", NOISE)
def test_noise(kind: str, holes: np.ndarray, weight: np.ndarray, client: Client) -> None:
    covariance_type: Any = {"variances": "diag", "covariances": "full"}.get(kind, "tied")
    params = EXACT | {"covariance_type": covariance_type, "init_size": 2000}
    S, rows = noise_of(kind), da.from_array(holes, chunks=((1, 0, 5000, 4999, 2000), D))
    expected = gmm_core.GaussianMixture(K, **params)
    expected.fit(holes, sample_weight=weight, noise_covariance=S)
    given = [S] if kind == "one covariance" else [S, da.from_array(S, chunks=(1700,) + (2,) * (S.ndim - 1))]
    made = []
    for noise in given:
        model = GaussianMixture(K, **params)
        labels = model.fit_predict(rows, sample_weight=weight, noise_covariance=noise)
        assert_close(model, expected)
        made.append(bits(model))
        # the rounding of the parameters moves few samples, if any, to another component
        assert (labels.compute() != expected.predict(holes, S)).mean() < 1e-3
    assert made[0] == made[-1]


def test_data_frames(holes: np.ndarray, client: Client) -> None:
    """A missing value of a nullable column is pandas.NA."""
    frame = pd.DataFrame(holes, columns=list("abc")).astype({"b": "Float64"})
    variances = pd.DataFrame(noise_of("variances"))
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(frame, noise_covariance=variances)
    table, noise = dd.from_pandas(frame, npartitions=5), dd.from_pandas(variances, npartitions=3)
    model = GaussianMixture(K, **EXACT).fit(table, noise_covariance=noise)
    assert_close(model, expected)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    got = model.score_samples(table, noise)
    np.testing.assert_allclose(got, model.score_samples(frame, variances), rtol=1e-12)


def test_chunks_of_unknown_length(holes: np.ndarray, client: Client) -> None:
    """After a filter, rows and noise have chunks of unknown lengths, some of them without rows."""
    keep = (np.nan_to_num(holes[:, 0]) > 1) | (np.arange(N) >= 10_000)
    keep[2500:5000] = False
    S = noise_of("covariances")
    rows = da.from_array(holes, chunks=(2500, D))[da.from_array(keep, chunks=2500)]
    noise = da.from_array(S, chunks=(2500, D, D))[da.from_array(keep, chunks=2500)]
    expected = gmm_core.GaussianMixture(K, **EXACT).fit(holes[keep], noise_covariance=S[keep])
    for given in (noise, S[keep]):
        model = GaussianMixture(K, **EXACT).fit(rows, noise_covariance=given)
        assert_close(model, expected)
        for name in ("score_samples", "predict_proba", "denoise"):
            lazy = getattr(model, name)(rows, given)
            np.testing.assert_allclose(lazy, getattr(model, name)(holes[keep], S[keep]), rtol=1e-9)
        w = abs(np.nan_to_num(holes[keep, 1]))
        for weights in (None, w):
            assert model.icl(rows, weights, noise_covariance=given) == pytest.approx(
                expected.icl(holes[keep], weights, noise_covariance=S[keep]), rel=1e-9
            )
    shared = noise_of("one covariance")
    assert model.score(rows, noise_covariance=shared) == pytest.approx(
        model.score(holes[keep], noise_covariance=shared), rel=1e-12
    )
    short = noise[noise[:, 0, 0] > 0.1]
    with pytest.raises(ValueError, match="chunk . of X: noise_covariance has .* rows, but X has"):
        model.predict(rows, short).compute()


def test_a_start_of_all_rows_and_the_choice_of_a_mixture(holes: np.ndarray, client: Client) -> None:
    X, S = holes[4000:6000], noise_of("covariances", 2000)
    rows, noise = da.from_array(X, chunks=(600, D)), da.from_array(S, chunks=(500, D, D))
    options: Any = {"n_components": [1, 3], "covariance_types": ["full", "EEV"], "missing": "marginalize"}
    table = select(rows, noise_covariance=noise, **options).table
    expected = select(X, noise_covariance=S, **options).table
    for row, of_array in zip(table, expected, strict=True):
        for name in ("log_likelihood", "bic", "icl"):
            assert getattr(row, name) == pytest.approx(getattr(of_array, name), rel=1e-9)


@pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])
def test_bayesian_mixtures(posterior: Any, holes: np.ndarray, client: Client) -> None:
    params = EXACT | {"n_components": K + 1, "posterior": posterior}
    expected = gmm_core.BayesianGaussianMixture(**params).fit(holes)
    model = BayesianGaussianMixture(**params).fit(da.from_array(holes, chunks=(2500, D)))
    assert_close(model, expected)
    assert model.elbo_ == pytest.approx(expected.elbo_, rel=1e-12)


# ---- bits, workers that die, checkpoints ---------------------------------------------------------


def act_at(monkeypatch: pytest.MonkeyPatch, number: int, act: Any, delay: float) -> None:
    """Call `act` when `delay` seconds of iteration `number` have passed."""
    original, begun = DaskPass.expectation, [0]

    def expectation(self: DaskPass, *arguments: Any) -> Any:
        begun[0] += 1
        if begun[0] == number:
            threading.Timer(delay, act).start() if delay else act()
        return original(self, *arguments)

    monkeypatch.setattr(DaskPass, "expectation", expectation)


def test_bits_for_one_worker_and_after_sigkill(
    holes: np.ndarray, doomed_client: Client, start_cluster: Any, monkeypatch: Any
) -> None:
    rows = da.from_array(holes, chunks=(600, D))
    given = {"noise_covariance": da.from_array(noise_of("covariances"), chunks=(1700, D, D))}
    expected = GaussianMixture(K, **EXACT).fit(rows, **given)
    with start_cluster(1) as other, Client(other):
        assert bits(GaussianMixture(K, **EXACT).fit(rows, **given)) == bits(expected)
    pid = next(iter(doomed_client.run(os.getpid).values()))
    act_at(monkeypatch, 4, lambda: os.kill(pid, signal.SIGKILL), 0.01)
    with doomed_client.as_current():
        assert bits(GaussianMixture(K, **EXACT).fit(rows, **given)) == bits(expected)


def test_resumes_from_a_checkpoint(
    holes: np.ndarray, client: Client, monkeypatch: Any, tmp_path: Path
) -> None:
    params = EXACT | {"checkpoint": tmp_path / "state", "checkpoint_interval": 1}
    rows, S = da.from_array(holes, chunks=(2500, D)), noise_of("variances")
    given = {"noise_covariance": da.from_array(S, chunks=(2500, D))}
    expected = GaussianMixture(K, **EXACT).fit(rows, **given)
    act_at(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT), 0)
    with pytest.raises(KeyboardInterrupt):
        GaussianMixture(K, **params).fit(rows, **given)
    monkeypatch.undo()
    for other in (2 * S, None):
        with pytest.raises(ValueError, match="checksum of the data"):
            GaussianMixture(K, **params).fit(rows, noise_covariance=other)
    assert bits(GaussianMixture(K, **params).fit(rows, **given)) == bits(expected)


# ---- lazy results --------------------------------------------------------------------------------


def as_dask(X: np.ndarray) -> GaussianMixture:
    model = gmm_core.GaussianMixture(K, random_state=0).fit(X)
    return GaussianMixture.from_parameters(
        model.weights_, model.means_, covariances=model.covariances_, missing="marginalize"
    )


@pytest.mark.parametrize("kind", NOISE)
def test_lazy_results(kind: str, X: np.ndarray, holes: np.ndarray, weight: np.ndarray) -> None:
    model, S = as_dask(X), noise_of(kind)
    rows = da.from_array(holes, chunks=((1, 0, 5000, 4999, 2000), D))
    given = [S] if kind == "one covariance" else [S, da.from_array(S, chunks=(1700,) + (2,) * (S.ndim - 1))]
    for noise in given:
        with dask.config.set(scheduler="synchronous"):
            for name in ("predict", "predict_proba", "score_samples", "denoise"):
                lazy, expected = getattr(model, name)(rows, noise), getattr(model, name)(holes, S)
                assert isinstance(lazy, da.Array)
                assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
                np.testing.assert_allclose(lazy, expected, rtol=1e-12, atol=1e-12)
            mean, cov = dask.compute(*model.denoise(rows, noise, return_cov=True))
            expected_mean, expected_cov = model.denoise(holes, S, return_cov=True)
            np.testing.assert_allclose(mean, expected_mean, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(cov, expected_cov, rtol=1e-12, atol=1e-12)
            for name in ("score", "bic", "aic", "icl"):
                for w in (None, weight):
                    arguments: Any = {"sample_weight": w, "noise_covariance": noise}
                    expected = getattr(model, name)(holes, sample_weight=w, noise_covariance=S)
                    assert getattr(model, name)(rows, **arguments) == pytest.approx(expected, rel=1e-11)


# ---- bad input -----------------------------------------------------------------------------------


def spoilt(place: Any, value: float) -> np.ndarray:
    S = noise_of("covariances")
    S[place] = value
    return S


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (noise_of("variances")[:-1], r"noise_covariance has shape \(11999, 3\), expected variances"),
        (noise_of("variances")[:, :2], r"noise_covariance has shape \(12000, 2\)"),
        (noise_of("covariances")[:, :, :2], r"noise_covariance has shape \(12000, 3, 2\)"),
        (np.ones(N), "noise_covariance has shape"),
        (spoilt((7001, 1, 1), -1), r"chunk 1 of X: noise_covariance\[2001\] has a negative variance"),
        (spoilt((7001, 0, 1), 9), r"chunk 1 of X: noise_covariance\[2001\] is not symmetric"),
        (
            spoilt((7001, [0, 1], [1, 0]), 9),
            r"chunk 1 of X: noise_covariance\[2001\] is not positive semi-definite",
        ),
        (spoilt((7001, 2, 2), np.nan), r"chunk 1 of X: noise_covariance\[2001\] contains nan"),
    ],
)
def test_bad_noise(noise: np.ndarray, message: str, X: np.ndarray, client: Client) -> None:
    rows, model = da.from_array(X, chunks=(5000, D)), as_dask(X)
    before = vars(model).copy()
    for given in (noise, da.from_array(noise, chunks=1700)):
        with pytest.raises(ValueError, match=message):
            model.fit(rows, noise_covariance=given)
        with pytest.raises(ValueError, match=message):
            model.predict(rows, given).compute()
    assert all(vars(model)[name] is value for name, value in before.items())


def test_other_bad_input(X: np.ndarray, holes: np.ndarray, client: Client) -> None:
    rows, incomplete = da.from_array(X, chunks=(5000, D)), da.from_array(holes, chunks=(5000, D))
    model = as_dask(X)
    with pytest.raises(TypeError, match="noise_covariance is a Delayed.*, expected an array"):
        model.fit(rows, noise_covariance=dask.delayed(np.ones((N, D))))
    with pytest.raises(TypeError, match="return_cov must be True or False"):
        model.denoise(rows, np.eye(D), return_cov=1)
    with pytest.raises(ValueError, match=r"variances of 3 samples or one\s+covariance for all"):
        model.predict(rows[:3], np.eye(D))
    variances = np.arange(1.0, 10).reshape(3, 3)  # a collection is never one covariance for all
    np.testing.assert_allclose(
        model.score_samples(rows[:3], da.from_array(variances)),
        model.score_samples(X[:3], variances[:, :, None] * np.eye(D)), rtol=1e-12,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"noise_covariance .*is not positive semi-definite"):
        model.predict(rows, 2 - np.eye(D))
    for noise_covariance, data in ((np.eye(D), rows), (None, incomplete)):
        with pytest.raises(ValueError, match="noise=True takes neither missing values"):
            GaussianMixture(K, noise=True, missing="marginalize").fit(
                data, noise_covariance=noise_covariance
            )
    with pytest.raises(ValueError, match='chunk [12] of X: (?s:.*)NaN(?s:.*)missing="marginalize"'):
        GaussianMixture(K).fit(incomplete, noise_covariance=np.eye(D))
    lacking = da.where(da.arange(D) == 1, np.nan, rows)
    with pytest.raises(ValueError, match=r"X\[:, 1\] has no value"):
        model.fit(lacking)
    with pytest.raises(TypeError, match="noise_covariance is a Dask collection"):
        model.fit(X, noise_covariance=da.ones((N, D)))
