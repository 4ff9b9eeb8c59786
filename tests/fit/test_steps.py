"""Tests of the steps of stepwise EM: the kernel makes those of the loop in Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.core.errors import IllDefinedCovarianceError, NoDensityError
from gmm_core.fit import steps
from gmm_core.fit.steps import Parts, make_steps
from gmm_core.fit.stepwise import rows_of_a_start
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import Mixture
from gmm_core.model.statistics import Statistics, statistics_of

IN_KERNEL = [name for name, kind in COVARIANCE_TYPES.items() if kind.steps_in_kernel]
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def start(mixture: Mixture) -> Statistics:
    reg_covar = np.zeros(mixture.means.shape[1])
    return statistics_of(*mixture[:3], mixture.covariance_type, reg_covar)


def flat(result: tuple[Mixture, Statistics, float]) -> list[Any]:
    mixture, statistics, log_likelihood = result
    prepared = mixture.prepared
    return [
        *mixture[:3], prepared.precisions_cholesky, prepared.log_constant, statistics.values,
        statistics.shift, log_likelihood,
    ]  # fmt: skip


def without_kernel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(type(COVARIANCE_TYPES[name]), "steps_in_kernel", False)


@both_dtypes
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["full", "diag"])
def test_bits_of_the_kernel(
    name: str, weighted: bool, dtype: Any, isa: str, make_problem: Any, monkeypatch: Any
) -> None:
    for K, D in ((1, 1), (3, 2), (2, 5), (3, 17)):
        problem = make_problem(name, 700, K, D, dtype)
        mixture, statistics = problem.parameters, start(problem.parameters)
        # A component whose count is below the least one is raised to it.
        statistics.values[2] = 1e-9
        ends, sizes = [1, 100, 356, 700], [0.01, 0.3, 1.0, 0.5]
        weight = problem.weight / 4 if weighted else None
        arguments = Parts(problem.X, weight, ends, sizes), mixture, statistics, np.full(D, 1e-3), 1
        kept = flat((mixture, statistics, 0.0))
        copies = [np.copy(array) for array in kept]
        made = flat(make_steps(*arguments))
        # The arguments do not change.
        assert all(map(np.array_equal, kept, copies))
        with monkeypatch.context() as patch:
            without_kernel(patch, name)
            expected = flat(make_steps(*arguments))
        for one, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", IN_KERNEL)
@pytest.mark.parametrize("options", [{}, {"forget_factor": 0.99}, {"learning_decay": 0.7}])
def test_bits_of_partial_fit(
    name: str, options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    K, D = 2, 3
    rng, at_once = np.random.default_rng(5), rows_of_a_start(K, D)
    X = rng.normal(size=(6 * at_once, D)) + 4 * rng.integers(2, size=(6 * at_once, 1))
    weight = rng.uniform(0, 2, size=len(X))
    weight[::7] = 0
    weight[2 * at_once + 5 : 4 * at_once] = 0  # a step without rows
    models = []
    for kernel, sample_weight in itertools.product((True, False), (None, weight)):
        with monkeypatch.context() as patch:
            if not kernel:
                without_kernel(patch, name)
            model = GaussianMixture(K, covariance_type=name, random_state=0, **options)
            for rows in (slice(0, at_once + 9), slice(at_once + 9, None)):
                w = None if sample_weight is None else sample_weight[rows]
                model.partial_fit(X[rows], sample_weight=w)
        models.append(model)
    for one, other in zip(models[:2], models[2:], strict=True):
        for attribute in (
            "weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bound_", "n_iter_",
            "n_samples_seen_",
        ):  # fmt: skip
            np.testing.assert_array_equal(getattr(one, attribute), getattr(other, attribute))
        assert one._position.memory == other._position.memory
        assert one._position.statistics == other._position.statistics


def test_calls_of_the_kernel_do_not_change_the_steps(
    make_problem: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem("full", 700, 2, 3)
    parts = Parts(problem.X, problem.weight / 4, [*range(100, 800, 100)], [0.1] * 7)
    arguments = parts, problem.parameters, start(problem.parameters), np.zeros(3), 1
    at_once = flat(make_steps(*arguments))
    sizes = steps._sizes
    monkeypatch.setattr(steps, "_sizes", lambda *size: sizes(*size)._replace(slice_rows=200))
    for one, other in zip(flat(make_steps(*arguments)), at_once, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("slice_rows", [1, 10**6])
@pytest.mark.parametrize("name", ["full", "tied", "diag"])
def test_errors_of_steps(
    name: str, slice_rows: int, make_problem: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem(name, 300, 2, 3)
    sizes = steps._sizes
    monkeypatch.setattr(
        steps, "_sizes", lambda *size: sizes(*size)._replace(slice_rows=slice_rows)
    )
    X = problem.X.copy()
    X[217] = 1e200
    arguments = problem.parameters, start(problem.parameters), np.zeros(3), 1
    with pytest.raises(NoDensityError) as no_density:
        make_steps(Parts(X, None, [100, 200, 300], [0.1] * 3), *arguments)
    assert no_density.value.row == 217
    # If only the last rows count, and these are equal, a covariance has no inverse.
    X[200:] = X[200]
    with pytest.raises(IllDefinedCovarianceError, match="is not positive definite"):
        make_steps(Parts(X, None, [100, 200, 300], [0.1, 0.1, 1.0]), *arguments)
