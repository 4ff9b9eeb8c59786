"""Tests of the factors of precisions, U = L⁻ᵀ with C = L Lᵀ, for matrices that are factored in blocks and others."""

import numpy as np
import pytest

from gmm_core.core import dispatch
from gmm_core.core.errors import IllDefinedCovarianceError
from gmm_core.fit.maximization import maximization_step
from gmm_core.model.statistics import statistics_of

EPS = float(np.finfo(np.float64).eps)
FULL = 0


def matrix_of(D: int, condition: float, seed: int = 0) -> np.ndarray:
    """Return a random symmetric matrix whose eigenvalues lie between 1 / condition and 1."""
    axes = np.linalg.qr(np.random.default_rng([D, seed]).normal(size=(D, D)))[0]
    matrix = (axes * np.geomspace(1, 1 / condition, D)) @ axes.T
    symmetric: np.ndarray = (matrix + matrix.T) / 2
    return symmetric


def factor(covariances: np.ndarray, n_threads: int = 1) -> tuple[int, np.ndarray]:
    """Return the status of the kernel and the factors."""
    K, D, _ = covariances.shape
    # NaN shows whether an entry is read before it is written.
    made, scratch = np.full_like(covariances, np.nan), np.full(K * D * D, np.nan)
    status = dispatch.maximization.factor(
        covariances.ravel(), made.reshape(-1), scratch, K, D, FULL, n_threads
    )
    return status, made


@pytest.mark.parametrize("D", [63, 64, 65, 127, 128, 129, 130, 191, 256, 300])
@pytest.mark.parametrize("condition", [10.0, 1e12])
def test_residual(D: int, condition: float, isa: str) -> None:
    """Uᵀ C U = 1 within a bound that holds for a stable algorithm, however ill-conditioned C is.

    A computed L has |L Lᵀ - C| ≤ (D + 1) eps |L| |Lᵀ|, and an inverse X of it by substitution has
    |X L - 1| ≤ D eps |X| |L| (Higham 2002, theorems 10.3 and 14.5). With M = |X| |L| it follows that
    |X C Xᵀ - 1| ≤ (D + 1) eps (M + Mᵀ + M Mᵀ). The product itself has an error of 2 D eps M Mᵀ. Blocks add
    a few roundings to each sum.
    """
    C = matrix_of(D, condition)
    status, (U,) = factor(C[None])
    assert status == 0
    assert np.array_equal(U, np.triu(U)) and (np.diagonal(U) > 0).all()
    M = abs(U.T) @ abs(np.linalg.cholesky(C))
    bound = 4 * (D + 8) * EPS * (M + M.T + M @ M.T)
    assert (abs(U.T @ C @ U - np.eye(D)) <= bound).all()


@pytest.mark.parametrize("D", [64, 128, 129, 260])
def test_matrix_that_is_not_positive_definite(D: int, isa: str) -> None:
    """The status names the first such matrix: an indefinite one, or one that is singular up to rounding."""
    good = np.stack([matrix_of(D, 10.0, seed) for seed in range(3)])
    factors = factor(good)[1]
    for k, place in ((0, 0), (1, D // 2), (2, D - 1)):
        pivot = np.linalg.cholesky(good[k])[place, place] ** 2
        for excess in (1e-15, 1e-3, np.nan):
            bad = good.copy()
            bad[k, place, place] -= pivot * (1 + excess)
            for n_threads in (1, 2):
                status, made = factor(bad, n_threads)
                assert status == 1 + k
                assert np.array_equal(made[:k], factors[:k])


def test_component_is_named(isa: str) -> None:
    D = 150
    covariances = np.stack([matrix_of(D, 10.0, seed) for seed in range(3)])
    covariances[1, 140:, 140:] -= np.eye(10)
    statistics = statistics_of(np.full(3, 1 / 3), np.zeros((3, D)), covariances, "full", np.zeros(D))
    with pytest.raises(IllDefinedCovarianceError, match="component 1 is not positive definite"):
        maximization_step(statistics, 0.0)
