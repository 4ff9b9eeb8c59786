"""Tests of the kernels of the E-step if densities are 0, distances overflow, or weights are 0."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.model.parameters import mixture_of, prepare

Make = Callable[..., Any]  # the type of the fixtures that return functions
OUTPUTS = ["log_prob", "log_likelihood", "responsibilities", "labels"]

all_types = pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def huge(dtype: Any) -> float:
    """Return a number whose square overflows, as a few times the number does."""
    return float(np.finfo(dtype).max) / 2


@both_dtypes
@all_types
def test_component_of_weight_zero(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make, make_pass: Make, evaluate: Make
) -> None:
    """A component of weight 0 has responsibilities of exactly 0, and does not change the others."""
    problem = make_problem(covariance_type, 300, 3, 4, dtype)
    p = problem.parameters
    constants = np.where(np.arange(4) == 1, -np.inf, p.prepared.log_constant)
    absent = p._replace(prepared=p.prepared._replace(log_constant=constants))
    data = make_pass(problem.X, None, p)
    got, everything = evaluate(data, absent, OUTPUTS), evaluate(data, p, OUTPUTS)
    assert (got["log_prob"][:, 1] == -np.inf).all()
    others, eps = everything["log_prob"][:, ::2], np.finfo(dtype).eps
    assert (abs(got["log_prob"][:, ::2] - others) <= 8 * eps * (1 + abs(others))).all()
    assert (got["responsibilities"][:, 1] == 0).all() and not (got["labels"] == 1).any()
    fused = data.expectation(absent)
    made = data.statistics(p.means, lambda rows: got["responsibilities"][rows])
    np.testing.assert_allclose(fused.values[1:], made.values[1:], rtol=8 * eps)
    assert fused.values[3] == 0 and (fused.values[9:13] == 0).all()
    sum_of_scores = got["log_likelihood"].sum(dtype=np.float64)
    assert fused.log_likelihood == pytest.approx(sum_of_scores, rel=2 * float(eps))


@pytest.mark.parametrize("n_threads", [1, 2, 7])
@both_dtypes
@all_types
def test_rows_without_density(
    covariance_type: str,
    dtype: Any,
    n_threads: int,
    isa: str,
    make_problem: Make,
    make_pass: Make,
    evaluate: Make,
) -> None:
    """If all distances of a row overflow, or become inf - inf = NaN, the error names the first such row."""
    problem = make_problem(covariance_type, 6000, 3, 4, dtype)
    p = problem.parameters
    chunk_rows = make_pass(problem.X, None, p).chunk_rows
    n = 9 * chunk_rows + 5
    X = problem.X[:n].copy()
    bad = np.array([3 * chunk_rows + 17, 3 * chunk_rows + 18, 5 * chunk_rows, n - 1])
    far = np.array([[1e-9, 0, 0, 0], [1, -1, 1, 1], [1, 1, 1, 1], [-1, -1, 1, -1]])
    X[bad] = (huge(dtype) * far).astype(dtype)
    fine = np.delete(np.arange(n), bad)
    expected = evaluate(make_pass(problem.X[:n], None, p), p, OUTPUTS)
    for one_slice in (True, False):
        data = make_pass(X, None, p, n_threads, one_slice=one_slice)
        for run in (data.expectation, data.mean_log_likelihood):
            with pytest.raises(
                ValueError, match=rf"^X\[{bad[0]}\] has density 0 under every component"
            ):
                run(p)
        for name, value in zip(OUTPUTS, (-np.inf, -np.inf, 0, 0), strict=True):
            out = evaluate(data, p, [name], n_bad=0 if name == "log_prob" else len(bad))[name]
            assert (out[bad] == value).all()
            assert np.array_equal(out[fine], expected[name][fine])


@pytest.mark.parametrize("first", [0, 1])
@both_dtypes
def test_nan_on_the_way_to_a_distance(
    dtype: Any, first: int, isa: str, make_pass: Make, evaluate: Make
) -> None:
    """If Uᵀ (x - μ) is inf - inf for a component, the other component has a responsibility of 1."""
    wide = np.eye(2) * (1e-30 if dtype == np.float32 else 1e-300)
    U = np.array([[[4.0, 4], [0, 4]], wide])[[first, 1 - first]]
    mixture = prepare(np.full(2, 0.5), np.zeros((2, 2)), U, "full")
    X = np.array([[huge(dtype), -huge(dtype)], [0, 0]], dtype)
    got = evaluate(make_pass(X, None, mixture), mixture, OUTPUTS)
    log_prob, other = got["log_prob"][0], 1 - first
    assert log_prob[first] == -np.inf
    assert got["log_likelihood"][0] == log_prob[other] > -np.inf
    assert got["labels"].tolist() == [other, first]
    assert np.array_equal(got["responsibilities"], np.eye(2)[got["labels"]])


@both_dtypes
@all_types
def test_overflowing_distance_to_another_component(
    covariance_type: str, dtype: Any, isa: str, make_pass: Make
) -> None:
    """A sample with r = 0 for an infinitely distant component adds 0 to its statistics, and not NaN."""
    far = float(dtype(np.sqrt(np.finfo(dtype).max) * 100))
    X = np.array([[0, 1], [0, -1], [far, 1], [far, -1]], dtype)
    U, second = {
        "full": (np.stack([np.eye(2)] * 2), [0, 0, 2, 0, 0, 2]),
        "tied": (np.eye(2), [0, 0, 4, 2, 0, 2]),
        "diag": (np.ones((2, 2)), [0, 2, 0, 2]),
        "spherical": (np.ones(2), [2, 2]),
    }[covariance_type]
    means = np.array([[0, 0], [far, 0]])
    mixture = mixture_of(prepare(np.full(2, 0.5), means, U, covariance_type))
    values = make_pass(X, None, mixture).expectation(mixture).values
    assert values[1:].tolist() == [4, 2, 2, 0, 0, 0, 0, *second]


@both_dtypes
@all_types
def test_estimator_without_density(
    covariance_type: str, dtype: Any, isa: str, make_problem: Make
) -> None:
    p = make_problem(covariance_type, 10, 3, 4, dtype).parameters
    model = GaussianMixture.from_parameters(
        p.weights, p.means.astype(dtype), covariances=p.covariances, covariance_type=covariance_type
    )
    X = np.zeros((5, 4), dtype)
    X[3] = huge(dtype)
    proba = model.predict_proba(X)
    assert proba.dtype == dtype and (abs(proba.sum(axis=1) - 1) <= 4 * np.finfo(dtype).eps).all()
    assert (model.score_samples(X) == -np.inf).tolist() == [False, False, False, True, False]
    assert np.array_equal(model.predict(X), proba.argmax(axis=1))


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("init_params", ["kmeans", "random"])
@both_dtypes
@all_types
def test_the_values_of_a_row_of_weight_zero_do_not_matter(
    covariance_type: str, dtype: Any, init_params: str, make_problem: Make
) -> None:
    """A row of weight 0 is ignored even if it has no density under any component."""
    X = make_problem(covariance_type, 100, 2, 3, dtype).X
    weight = np.where(np.arange(100) % 9, 1.0, 0.0)
    model = GaussianMixture(
        2,
        covariance_type=covariance_type,
        init_params=init_params,
        random_state=0,
        tol=0,
        max_iter=5,
    )
    expected = model.fit(X, sample_weight=weight).means_
    X[weight == 0] = huge(dtype)
    got = model.fit(X, sample_weight=weight).means_
    # five iterations amplify the rounding errors of sums by less than 1e3
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e3 * np.finfo(dtype).eps)
