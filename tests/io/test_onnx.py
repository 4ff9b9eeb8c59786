"""Tests that onnxruntime computes from an exported model what SciPy does."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from gmm_core import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES

# Rounding errors of scores of order 10, after differences of order 1 between numbers of order 1e4.
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}


def run(proto, X):
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(["label", "probabilities", "score_samples"], {"X": X})


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_runtime_computes_what_scipy_does(covariance_type, dtype, make_exported):
    case = make_exported(covariance_type)
    label, probabilities, scores = run(case.model.to_onnx(dtype=dtype), case.X.astype(dtype))
    assert (label.dtype, probabilities.dtype, scores.dtype) == (np.int64, dtype, dtype)
    np.testing.assert_allclose(scores, case.log_likelihood, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(probabilities, case.responsibilities, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(label, probabilities.argmax(axis=1))
    sure = case.responsibilities.max(axis=1) > 0.6
    np.testing.assert_array_equal(label[sure], case.responsibilities.argmax(axis=1)[sure])


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_float32_holds_at_any_distance_from_zero(offset, make_exported):
    """Only what the samples themselves lose, which is the same for SciPy, depends on the distance."""
    case = make_exported("full", offset)
    scores = run(case.model.to_onnx(dtype=np.float32), case.X.astype(np.float32))[2]
    np.testing.assert_allclose(scores, case.log_likelihood, rtol=0, atol=1e-5)


def test_the_dtype_is_that_of_the_model(make_exported):
    case = make_exported("diag")
    X = case.X.astype(np.float32)
    model = GaussianMixture(2, random_state=0).fit(X)
    assert run(model.to_onnx(), X)[2].dtype == np.float32
    assert run(case.model.to_onnx(), case.X)[2].dtype == np.float64


@pytest.mark.parametrize("covariance_type", ["full", "tied", "spherical"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_samples_far_away_belong_to_the_nearest_component(covariance_type, dtype, make_exported):
    """Their densities underflow under all components, while those of their neighbours do not."""
    case = make_exported(covariance_type, 0.0)
    factor = 1e30 if dtype == "float32" else 1e200
    X = np.concatenate([case.X[:5], factor * case.X[5:50]]).astype(dtype)
    model = GaussianMixture.from_parameters(
        case.model.weights_.astype(dtype), case.model.means_.astype(dtype),
        covariances=case.model.covariances_.astype(dtype), covariance_type=covariance_type,
    )  # fmt: skip
    label, probabilities, scores = run(model.to_onnx(), X)
    assert np.isneginf(scores[5:]).all() and np.isfinite(scores[:5]).all()
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_array_equal(probabilities[5:], np.eye(3)[label[5:]])
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=TOLERANCE[dtype])


def test_component_of_weight_0_gets_nothing():
    model = GaussianMixture.from_parameters([0.0, 1.0], [[0.0], [5.0]], covariances=[1.0, 4.0])
    label, probabilities, scores = run(model.to_onnx(), np.array([[0.0], [-1e200]]))
    assert label.tolist() == [1, 1] and probabilities.tolist() == [[0, 1], [0, 1]]
    np.testing.assert_allclose(scores[0], -25 / 8 - np.log(np.sqrt(2 * np.pi) * 2), rtol=1e-14)


def test_samples_that_are_not_finite(make_exported):
    case = make_exported("full", 0.0)
    X = case.X.copy()
    X[1, 0] = np.nan
    _, probabilities, scores = run(case.model.to_onnx(), X)
    assert np.isnan(scores).nonzero()[0].tolist() == [1] and np.isnan(probabilities[1]).all()


@pytest.mark.parametrize("n", [0, 1])
def test_few_samples(n, make_exported):
    case = make_exported("tied")
    label, probabilities, scores = run(case.model.to_onnx(), case.X[:n])
    assert label.shape == scores.shape == (n,) and probabilities.shape == (n, 3)


def test_bad_arguments(make_exported):
    model = make_exported("full").model
    for dtype in ("float16", int, "double precision"):
        with pytest.raises(ValueError, match="dtype should be float32, float64 or None, but got"):
            model.to_onnx(dtype=dtype)
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().to_onnx()
    noisy = GaussianMixture(noise=True, random_state=0).fit(np.arange(9.0)[:, None])
    with pytest.raises(ValueError, match="to_onnx does not take a noise component"):
        noisy.to_onnx()
    for mean, variance in ((1e39, 1.0), (0.0, 1e-90), (0.0, 1e95)):
        wide = GaussianMixture.from_parameters([1.0], [[mean]], covariances=[variance])
        with pytest.raises(ValueError, match="overflows or underflows in float32"):
            wide.to_onnx(dtype="float32")
        assert np.isfinite(run(wide.to_onnx(), np.array([[mean]]))[2]).all()


def test_without_onnx(monkeypatch, make_exported):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="to_onnx needs the package onnx.*: pip install onnx"):
        make_exported("full").model.to_onnx()
