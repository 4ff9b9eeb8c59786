"""Tests against values that were computed elsewhere: fits by mclust, and hard cases with 60 digits."""

from __future__ import annotations

import json
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture

DATA = Path(__file__).parent / "values"
MCLUST = json.loads((DATA / "mclust" / "cases.json").read_text())
with zipfile.ZipFile(DATA / "high_precision.zip") as archive:
    HARD = {name[:-5]: json.loads(archive.read(name)) for name in sorted(archive.namelist())}


def shaped(parameters: dict[str, Any], case: dict[str, Any], D: int) -> tuple[np.ndarray, ...]:
    K, kind = case["n_components"], case["covariance_type"]
    shape = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[kind]
    covariances = np.reshape(parameters["covariances"], shape)
    return np.reshape(parameters["weights"], K), np.reshape(parameters["means"], (K, D)), covariances


@pytest.mark.parametrize("case", MCLUST, ids=lambda case: case["name"])
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_fit_from_the_start_of_mclust_ends_where_mclust_does(case: dict[str, Any]) -> None:
    X = np.loadtxt(DATA / "mclust" / case["data"], delimiter=",", skiprows=1, ndmin=2)
    sd = X.std(axis=0)
    is_matrix = case["covariance_type"] in ("full", "tied")
    weights, means, covariances = shaped(case["start"], case, X.shape[1])
    precisions = np.linalg.inv(covariances) if is_matrix else 1 / covariances
    if is_matrix:
        precisions = (precisions + np.swapaxes(precisions, -1, -2)) / 2

    def error(model: GaussianMixture, parameters: dict[str, Any]) -> float:
        """Return the largest error of weights, of means in sd, and of covariances relative to variances."""
        w, mu, C = shaped(parameters, case, X.shape[1])
        scale = abs(C)
        if is_matrix:
            root = np.sqrt(np.einsum("...ii->...i", C))
            scale = root[..., :, None] * root[..., None, :]
        return max(
            abs(model.weights_ - w).max(),
            (abs(model.means_ - mu) / sd).max(),
            (abs(model.covariances_ - C) / scale).max(),
        )

    def fit(max_iter: int) -> GaussianMixture:
        return GaussianMixture(
            case["n_components"], covariance_type=case["covariance_type"], reg_covar=0, tol=0,
            max_iter=max_iter, weights_init=weights / weights.sum(), means_init=means,
            precisions_init=precisions,
        ).fit(X)

    # 5 or 6 EM steps amplify rounding errors by much less than 1e-10 / eps
    if case["n_components"] > 1:
        assert error(fit(5), case["after_6_m_steps"]) < 1e-10
    model = fit(max(2, case["iterations"]))
    assert error(model, case["converged"]) < 1e-8
    assert model.score(X) * len(X) == pytest.approx(case["loglik"], rel=1e-10)
    assert model.bic(X) == pytest.approx(case["bic"], rel=1e-10)


class Hard:
    """A hard case: its inputs, and bounds on the errors that its condition makes unavoidable.

    The bounds follow from the rounding of one matrix-vector product. y = L (x - mu) has an error of at
    most (D + 1) eps |L| |x - mu|, so log p = c - |y|**2 / 2 has one of

        e = eps ((D + 1) sum_j |y_j| (|L| |x - mu|)_j + (D + 1) |y|**2 / 2 + 4 |c| + 2).

    For tied covariances y is a difference of whitened points, so |x| + |mu| replaces |x - mu|.
    A responsibility then has an error of at most r_k (e_k + sum_j r_j e_j) + 2 eps.
    """

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.kind = case["covariance_type"]
        self.dtype = np.dtype(case["dtype"])
        self.eps = float(np.finfo(self.dtype).eps)
        self.inputs = {
            name: np.vectorize(float, otypes=[float])(np.array(value, dtype=object)).astype(self.dtype)
            for name, value in case["inputs"].items()
        }
        self.X = np.ascontiguousarray(self.inputs["X"])

    def bounds(self) -> dict[str, Any]:
        x, mu, w, U = (
            self.inputs[name].astype(float) for name in ("X", "means", "weights", "precisions_cholesky")
        )
        n, D = x.shape
        K = len(w)
        with np.errstate(all="ignore"):
            z = x[:, None, :] - mu
            size = abs(x)[:, None, :] + abs(mu) if self.kind == "tied" else abs(z)
            if self.kind in ("full", "tied"):
                U = np.broadcast_to(U, (K, D, D))
                y, amplified = np.einsum("nkd,kdj->nkj", z, U), np.einsum("nkd,kdj->nkj", size, abs(U))
                log_det = np.log(np.einsum("kii->ki", U)).sum(axis=1)
            else:
                scale = U if self.kind == "diag" else np.repeat(U[:, None], D, axis=1)
                y, amplified = z * scale, size * scale
                log_det = np.log(scale).sum(axis=1)
            constant = np.log(w) + log_det - D / 2 * np.log(2 * np.pi)
            square = (y * y).sum(axis=2)
            log_p = constant - square / 2
            e = (D + 1) * (abs(y) * amplified).sum(axis=2) + (D + 1) * square / 2
            e = self.eps * (e + 4 * np.where(np.isfinite(constant), abs(constant), 0) + 2)
            r = np.exp(log_p - log_p.max(axis=1, keepdims=True))
            r /= r.sum(axis=1, keepdims=True)
            r_error = np.minimum(r * (e + (r * e).sum(axis=1, keepdims=True)), 1) + 2 * self.eps
            r_error = np.where(np.isfinite(r_error), r_error, 1)
            spread = np.sqrt((r[:, :, None] * z * z).sum(axis=0) / r.sum(axis=0)[:, None])
            reach = abs(z) / np.where(spread > 0, spread, np.inf)
            moved = (r_error[:, :, None] * reach * reach).sum(axis=0).max(axis=1) / r.sum(axis=0)
        return {
            "logp": np.where(r > 1e-20, e, 0).max() / self.eps,
            "resp": r_error.max() / self.eps,
            "lb": np.where(r > 1e-20, e, 0).max() / self.eps,
            "w": r_error.mean(axis=0).max() / self.eps,
            "mu": np.nanmax(moved) / self.eps,
            "cov": 4 * np.nanmax(moved) / self.eps,
        }

    def error(self, got: Any, truth: Any, scale: Any = None) -> float:
        """Return the largest error in eps, relative to max(1, |truth|) unless a scale is given."""
        values, truths = np.ravel(got), flat(truth)
        scales = [max(Decimal(1), abs(t)) for t in truths] if scale is None else flat(scale)
        assert len(values) == len(truths)
        assert np.isfinite(values).all()
        return max(
            float(abs(Decimal(float(v)) - t) / s) for v, t, s in zip(values, truths, scales, strict=True)
        ) / self.eps

    def model(self) -> GaussianMixture:
        model = GaussianMixture(self.case["K"], covariance_type=self.kind)
        for name in ("weights", "means", "covariances", "precisions_cholesky", "precisions"):
            setattr(model, name + "_", self.inputs[name])
        return model

    def em_errors(self) -> dict[str, float]:
        case, truth = self.case, self.case["EM"]
        model = GaussianMixture(
            case["K"], covariance_type=self.kind, weights_init=self.inputs["weights"],
            means_init=self.inputs["means"], precisions_init=self.inputs["precisions"],
            max_iter=1, tol=0, reg_covar=case["reg_covar"],
        ).fit(self.X)
        sd, scale = scales(truth["covariances"], self.kind, case["K"], case["d"])
        largest = [max(abs(Decimal(m)), s) for m, s in zip(flat(truth["means"]), sd, strict=True)]
        errors = {
            "lb": self.error(model.lower_bounds_[0], truth["lower_bound"]),
            "w": self.error(model.weights_, truth["weights"], np.ones(case["K"]).tolist()),
            "mu": self.error(model.means_, truth["means"], largest),
        }
        if all(scale):
            errors["cov"] = self.error(model.covariances_, truth["covariances"], scale)
        return errors


def flat(value: Any) -> list[Decimal]:
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [Decimal(value)]


def scales(covariances: Any, kind: str, K: int, D: int) -> tuple[list[Decimal], list[Decimal]]:
    """Return the standard deviations (K, D), and the unit of each entry of the covariances, flattened."""
    if kind == "spherical":
        return [Decimal(c).sqrt() for c in covariances for _ in range(D)], flat(covariances)
    if kind == "diag":
        return [c.sqrt() for c in flat(covariances)], flat(covariances)
    matrices = covariances if kind == "full" else [covariances]
    roots = [[Decimal(C[i][i]).sqrt() for i in range(D)] for C in matrices]
    unit = [a * b for root in roots for a in root for b in root]
    return [s for root in roots for s in root] * (K if kind == "tied" else 1), unit


def check(name: str, hard: Hard, errors: dict[str, float]) -> None:
    """Assert that errors are within what the condition allows, or at most 1.5 times scikit-learn's.

    The factor of 1.5 allows for differences of rounding.
    """
    theirs, bounds = hard.case["scikit_learn"], hard.bounds()
    for column, error in errors.items():
        other = theirs.get(column)
        allowed = max(4.0, bounds[column], 1.5 * other if isinstance(other, float) else 0.0)
        assert error <= allowed, f"{name}: {column} is wrong by {error:.3g} eps, allowed {allowed:.3g}"


@pytest.mark.parametrize("name", HARD)
def test_densities_of_hard_cases(name: str) -> None:
    hard = Hard(HARD[name])
    model, truth = hard.model(), hard.case["E"]
    unit = np.ones(len(hard.X) * hard.case["K"]).tolist()
    check(
        name,
        hard,
        {
            "logp": hard.error(model.score_samples(hard.X), truth["log_prob"]),
            "resp": hard.error(model.predict_proba(hard.X), truth["resp"], unit),
        },
    )


@pytest.mark.parametrize("name", [name for name in HARD if "EM" in HARD[name]])
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.filterwarnings("ignore:component")
def test_one_em_step_of_hard_cases(name: str) -> None:
    hard = Hard(HARD[name])
    errors = hard.em_errors()
    if min(flat(hard.case["EM"]["weights"])) < Decimal("1e-16"):
        # The count of such a component is below the rounding of the counts, so it is empty: its covariance is
        # pooled, and its mean does not change (see fit/test_degenerate.py).
        for column in ("cov", "mu"):
            errors.pop(column, None)
    check(name, hard, errors)
