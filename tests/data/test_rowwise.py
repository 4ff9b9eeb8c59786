"""Tests of the E-step over rows with covariances of their own: recorded values, limits, and 60 digits."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import mpmath
import numpy as np
import pytest

from gmm_core import GaussianMixture, NoDensityError, reference
from gmm_core.data import rowwise
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.measurement import noisy_rows
from gmm_core.fit.maximization import maximization_step
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.parameters import mixture_of, prepare

EPS = float(np.finfo(np.float64).eps)
TYPES = ["full", "tied", "diag", "spherical"]
all_types = pytest.mark.parametrize("covariance_type", TYPES)

with zipfile.ZipFile(Path(__file__).parents[1] / "values" / "rows.zip") as archive:
    MISSING, NOISE = (json.loads(archive.read(f"{name}.json")) for name in ("missing", "noise"))


# --- the textbook ---------------------------------------------------------------------------


def textbook_step(X, noise, weight, weights, means, covariances, covariance_type):
    """Return weights, means and covariances after an iteration of EM, and the log-likelihood before it."""
    _, D = means.shape
    log_likelihood, r, b, B = reference.noisy_expectation_step(
        X.astype(np.float64), noise, weights, means, covariances, covariance_type
    )
    r = r * weight[:, None]
    N = r.sum(axis=0)
    new = np.einsum("nk,nkd->kd", r, b) / N[:, None]
    c = b - new
    scatter = np.einsum("nk,nki,nkj->kij", r, c, c) + np.einsum("nk,nkij->kij", r, B)
    S = {
        "full": lambda: scatter / N[:, None, None],
        "tied": lambda: scatter.sum(axis=0) / N.sum(),
        "diag": lambda: np.einsum("kii->ki", scatter) / N[:, None],
        "spherical": lambda: np.einsum("kii->k", scatter) / N / D,
    }[covariance_type]()
    return N / N.sum(), new, S, weight @ log_likelihood / weight.sum()


def kernel_step(X, noise, weight, p, n_threads=1, shift=None, **params):
    """Return the same from the kernels."""
    K, D = p.means.shape
    given = {} if noise is None else {"noise": noisy_rows(X, noise).noise}
    incomplete = bool(np.isnan(X).any())
    data = ArrayPass(X, weight, K, p.covariance_type, n_threads, incomplete, **given)
    statistics = data.expectation(p, shift)
    made, _ = maximization_step(statistics, 0.0)
    return made.weights, made.means, made.covariances, statistics.log_likelihood / statistics.weight


def covariances_of_noise(n, D, seed=0, rank=None):
    """Return positive semi-definite matrices, the eigenvalues of which have very different sizes."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(n, D, rank or D)) * np.exp(rng.normal(size=(n, 1, 1)))
    S = np.einsum("nij,nlj->nil", roots, roots)
    return (S + S.transpose(0, 2, 1)) / 2


def with_missing_values(X, share=0.3, empty_rows=(3,)):
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < share] = np.nan
    X[list(empty_rows)] = np.nan
    return X


def assert_near(made, expected, tolerance):
    for array, other in zip(made, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=tolerance, atol=tolerance)


# --- one iteration --------------------------------------------------------------------------


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["variances", "covariances", "rank 1", "one covariance"])
@pytest.mark.parametrize("D", [1, 2, 5, 9])
def test_an_iteration_with_noise_is_that_of_the_textbook(
    make_problem, covariance_type, dtype, kind, D, isa
):
    n, K = 90, 3
    problem = make_problem(covariance_type, n, K, D, dtype)
    p, weight = problem.parameters, problem.weight.copy()
    weight[::7] = 0
    S = covariances_of_noise(n, D, rank=1 if kind == "rank 1" else None)
    given = S
    if kind == "variances":
        given = np.einsum("nii->ni", S)
        S = given[:, :, None] * np.eye(D)
    elif kind == "one covariance":
        given, S = S[5], np.broadcast_to(S[5], S.shape)
    # a few hundred roundings of numbers below 1000, in the dtype of X
    tolerance = 1e4 * float(np.finfo(dtype).eps)
    for X in (problem.X, with_missing_values(problem.X)):
        expected = textbook_step(X, S, weight, p.weights, p.means, p.covariances, covariance_type)
        shift = p.means + 1 if kind == "covariances" else None
        assert_near(kernel_step(X, given, weight, p, 2, shift), expected, tolerance)


@all_types
@pytest.mark.parametrize(("D", "K"), [(70, 2), (3, 70)])
def test_many_features_and_many_components(make_problem, covariance_type, D, K, isa):
    n = 20
    problem = make_problem(covariance_type, n, K, D)
    p, X, S = problem.parameters, with_missing_values(problem.X), covariances_of_noise(n, D) / D
    for noise in (S, np.einsum("nii->ni", S)):
        expected = textbook_step(X, noise, np.ones(n), p.weights, p.means, p.covariances, covariance_type)
        assert_near(kernel_step(X, noise, None, p), expected, 1e4 * EPS)


@all_types
def test_scores_with_noise_are_those_of_the_textbook(make_problem, covariance_type, isa):
    problem = make_problem(covariance_type, 80, 3, 4)
    p, X, S = problem.parameters, with_missing_values(problem.X), covariances_of_noise(80, 4)
    model = GaussianMixture.from_parameters(
        p.weights, p.means, covariances=p.covariances, covariance_type=covariance_type,
        missing="marginalize",
    )
    for noise in (S, np.einsum("nii->ni", S)):
        log_likelihood, r, _, _ = reference.noisy_expectation_step(
            X, noise, p.weights, p.means, p.covariances, covariance_type
        )
        np.testing.assert_allclose(model.score_samples(X, noise), log_likelihood, atol=1e3 * EPS)
        np.testing.assert_allclose(model.predict_proba(X, noise), r, atol=1e3 * EPS)
        np.testing.assert_array_equal(model.predict(X, noise), r.argmax(axis=1))
        w = problem.weight
        mean = w @ log_likelihood / w.sum()
        assert model.score(X, sample_weight=w, noise_covariance=noise) == pytest.approx(mean)
        n, total = model._n_parameters(), log_likelihood.sum()
        assert model.bic(X, noise_covariance=noise) == pytest.approx(n * np.log(80) - 2 * total)
        assert model.aic(X, noise_covariance=noise) == pytest.approx(2 * n - 2 * total)
        uncertain = -2 * np.log(r.max(axis=1)).sum()
        assert model.icl(X, noise_covariance=noise) == pytest.approx(
            n * np.log(80) - 2 * total + uncertain
        )


@all_types
@pytest.mark.parametrize("kind", ["missing", "variances", "covariances"])
def test_the_bits_of_a_score_do_not_depend_on_other_rows(make_problem, covariance_type, kind, isa):
    problem = make_problem(covariance_type, 80, 3, 5)
    p, X, S = problem.parameters, with_missing_values(problem.X), covariances_of_noise(80, 5)
    model = GaussianMixture.from_parameters(
        p.weights, p.means, covariances=p.covariances, covariance_type=covariance_type,
        missing="marginalize",
    )
    noise = {"missing": None, "variances": np.einsum("nii->ni", S), "covariances": S}[kind]

    def part(rows):
        return X[rows], None if noise is None else noise[rows]

    # Compilers contract a*b + c in one half of the panel only, in the kernel for separate features without noise.
    tolerance = 4 * EPS if kind == "missing" and covariance_type in ("diag", "spherical") else 0
    for method in (model.score_samples, model.predict_proba):
        expected = method(*part(slice(None)))
        order = np.random.default_rng(0).permutation(80)
        np.testing.assert_allclose(method(*part(order)), expected[order], rtol=tolerance, atol=tolerance)
        for n in (0, 3, 79):
            np.testing.assert_allclose(
                method(*part([n])), expected[[n]], rtol=tolerance, atol=tolerance
            )


@all_types
@pytest.mark.parametrize("kind", ["missing", "variances", "covariances"])
def test_a_row_without_density_is_named(make_problem, covariance_type, kind):
    problem = make_problem(covariance_type, 80, 3, 5)
    S = covariances_of_noise(80, 5)
    noise = {"missing": None, "variances": np.einsum("nii->ni", S), "covariances": S}[kind]
    X = problem.X.copy()
    X[:7, 1], X[40, 0] = np.nan, 1e200
    with pytest.raises(NoDensityError, match=r"^X\[40\] has density 0") as caught:
        kernel_step(X, noise, problem.weight, problem.parameters)
    assert caught.value.row == 40
    X[40, 1] = np.nan
    with pytest.raises(NoDensityError, match=r"^the observed features of X\[40\] have density 0"):
        kernel_step(X, noise, problem.weight, problem.parameters)
    weight = problem.weight.copy()
    weight[40] = 0      # such a row is treated as absent
    kernel_step(X, noise, weight, problem.parameters)


# --- recorded values ------------------------------------------------------------------------


def array_of(values):
    return np.array(values, dtype=object).astype(float)     # None becomes NaN


def fit(start, X, covariance_type, n_iter, weight=None, noise=None, reg_covar=0.0):
    C = np.array(start["covariances"])
    matrix = C.ndim == 3 or covariance_type == "tied"
    model = GaussianMixture(
        len(start["weights"]), covariance_type=covariance_type, tol=0, max_iter=n_iter,
        reg_covar=reg_covar, missing="marginalize", weights_init=start["weights"],
        means_init=start["means"], precisions_init=np.linalg.inv(C) if matrix else 1 / C,
    )
    with pytest.warns(UserWarning, match="did not converge"):
        return model.fit(X, sample_weight=weight, noise_covariance=noise)


def error(model, values):
    """Return the largest error, relative to the largest number in an array, or to 1 if that is larger."""
    errors = []
    for name, value in values.items():
        error = abs(getattr(model, f"{name}_") - np.array(value)).max()
        errors.append(error / max(1, abs(np.array(value)).max()))
    return max(errors)


@pytest.mark.parametrize("name", MISSING["results"])
def test_recorded_fits_to_missing_values(name, isa):
    covariance_type, weighted = name.split("_")
    X, values = array_of(MISSING["X"]), MISSING["results"][name]
    weight = np.array(MISSING["sample_weight"]) if weighted == "weighted" else None
    what = MISSING["start"][covariance_type], X, covariance_type
    assert error(fit(*what, 1, weight), values["after_1"]) < 1e-12
    model = fit(*what, 5, weight)
    assert error(model, values["after_5"]) < 1e-12
    expected = values["mean_log_likelihood_at_5"]
    assert model.score(X, sample_weight=weight) == pytest.approx(expected, rel=1e-12)
    model = fit(*what, 5, weight, reg_covar=1e-3)
    assert error(model, values["after_5_reg_1e_minus_3"]) < 1e-12
    model = fit(*what, values["converged_steps"], weight)
    assert error(model, values["converged"]) < 1e-9
    expected = values["mean_log_likelihood_converged"]
    assert model.score(X, sample_weight=weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NOISE)
def test_recorded_fits_to_noisy_samples(name, isa):
    values = NOISE[name]
    start, X, S = values["start"], array_of(values["X"]), np.array(values["S"])
    weight = None if values["sample_weight"] is None else np.array(values["sample_weight"])
    for n_iter in (1, 5):
        model = fit(start, X, "full", n_iter, weight, S)
        assert error(model, values[f"after_{n_iter}"]) < 1e-12
        for other in ("tied", "diag", "spherical"):
            if f"after_{n_iter}_{other}" in values:
                C = np.array(start["covariances"])
                C = {
                    "tied": lambda C=C: np.einsum("k,kij->ij", start["weights"], C),
                    "diag": lambda C=C: np.einsum("kii->ki", C),
                    "spherical": lambda C=C: np.einsum("kii->k", C) / X.shape[1],
                }[other]()
                made = fit({**start, "covariances": C}, X, other, n_iter, weight, S)
                assert error(made, values[f"after_{n_iter}_{other}"]) < 1e-12
    score = model.score(X, sample_weight=weight, noise_covariance=S)
    assert score == pytest.approx(values["mean_log_likelihood_at_5"], rel=1e-12)
    if "after_5_reg_1e_minus_6" in values:
        model = fit(start, X, "full", 5, weight, S, reg_covar=1e-6)
        assert error(model, values["after_5_reg_1e_minus_6"]) < 1e-12
    n_iter, reg_covar = values["converged_steps"], values["converged_reg_covar"]
    model = fit(start, X, "full", n_iter, weight, S, reg_covar)
    assert error(model, values["converged"]) < 1e-9
    score = model.score(X, sample_weight=weight, noise_covariance=S)
    assert score == pytest.approx(values["mean_log_likelihood_converged"], rel=1e-12)


# --- limits ---------------------------------------------------------------------------------


@all_types
def test_without_noise_an_iteration_is_the_ordinary_one(make_problem, covariance_type, isa):
    problem = make_problem(covariance_type, 200, 3, 4)
    for X in (problem.X, with_missing_values(problem.X)):
        expected = kernel_step(X, None, problem.weight, problem.parameters)
        for shape in ((200, 4), (200, 4, 4), (4, 4)):
            made = kernel_step(X, np.zeros(shape), problem.weight, problem.parameters)
            assert_near(made, expected, 1e3 * EPS)


@all_types
@pytest.mark.parametrize("kind", ["variances", "covariances"])
def test_as_the_noise_of_a_value_grows_it_becomes_missing(make_problem, covariance_type, kind, isa):
    problem = make_problem(covariance_type, 200, 3, 4)
    p, X, weight = problem.parameters, problem.X, problem.weight
    lacking = np.random.default_rng(1).random(X.shape) < 0.3
    S = covariances_of_noise(200, 4) if kind == "covariances" else np.full((200, 4), 0.3)
    pair = lacking[:, :, None] | lacking[:, None] if kind == "covariances" else lacking
    log_likelihood = kernel_step(np.where(lacking, np.nan, X), S, weight, p)
    for size in (1e4, 1e8, 1e12, 1e16, 1e30, 1e100):
        noise = np.where(pair, 0, S)
        noise[lacking if kind == "variances" else lacking[:, :, None] & np.eye(4, dtype=bool)] = size
        made = kernel_step(X, noise, weight, p)
        # the squared differences from the means, and the variances, are below 100
        assert_near(made[:3], log_likelihood[:3], 100 / size + 1e3 * EPS)


@all_types
def test_a_weight_is_a_number_of_equal_rows(make_problem, covariance_type):
    problem = make_problem(covariance_type, 60, 3, 4)
    X, S = with_missing_values(problem.X), covariances_of_noise(60, 4)
    times = np.random.default_rng(0).integers(0, 4, size=60)
    made = kernel_step(X, S, times.astype(float), problem.parameters)
    repeated = kernel_step(
        np.repeat(X, times, axis=0), np.repeat(S, times, axis=0), None, problem.parameters
    )
    assert_near(made, repeated, 1e3 * EPS)


@all_types
def test_the_order_of_rows_and_features_changes_only_rounding(make_problem, covariance_type):
    problem = make_problem(covariance_type, 100, 3, 4)
    X, S, p = with_missing_values(problem.X), covariances_of_noise(100, 4), problem.parameters
    expected = kernel_step(X, S, problem.weight, p)
    rows = np.random.default_rng(0).permutation(100)
    made = kernel_step(X[rows], S[rows], problem.weight[rows], p)
    assert_near(made, expected, 1e3 * EPS)
    order, matrix = [2, 0, 3, 1], covariance_type in ("full", "tied")
    C = p.covariances
    if covariance_type != "spherical":
        C = C[..., order]
    if matrix:
        C = C[..., order, :]
    factor = COVARIANCE_TYPES[covariance_type].factor_covariances(np.ascontiguousarray(C), 4)
    means = np.ascontiguousarray(p.means[:, order])
    permuted = mixture_of(prepare(p.weights, means, factor, covariance_type), C)
    weights, means, C, log_likelihood = kernel_step(
        np.ascontiguousarray(X[:, order]), S[:, order][:, :, order], problem.weight, permuted
    )
    back = np.argsort(order)
    if covariance_type != "spherical":
        C = C[..., back]
    if matrix:
        C = C[..., back, :]
    assert_near((weights, means[:, back], C, log_likelihood), expected, 1e3 * EPS)


@all_types
def test_variances_are_diagonal_covariances(make_problem, covariance_type, isa):
    problem = make_problem(covariance_type, 100, 3, 4)
    X, p = with_missing_values(problem.X), problem.parameters
    variances = np.exp(np.random.default_rng(0).normal(size=(100, 4)))
    made = kernel_step(X, variances, problem.weight, p)
    other = kernel_step(X, variances[:, :, None] * np.eye(4), problem.weight, p)
    assert_near(made, other, 1e3 * EPS)


@all_types
def test_one_covariance_for_all_rows_has_the_bits_of_its_copies(make_problem, covariance_type):
    problem = make_problem(covariance_type, 100, 3, 4)
    X, p = with_missing_values(problem.X), problem.parameters
    S = covariances_of_noise(1, 4)[0]
    repeated = np.broadcast_to(S, (100, 4, 4))
    assert noisy_rows(X, repeated).noise.strides[0] == noisy_rows(X, S).noise.strides[0] == 0
    expected = kernel_step(X, repeated.copy(), problem.weight, p)
    for noise in (S, repeated):
        for array, other in zip(
            kernel_step(X, noise, problem.weight, p), expected, strict=True
        ):
            np.testing.assert_array_equal(array, other)


@all_types
@pytest.mark.parametrize("kind", ["variances", "covariances"])
def test_the_noise_of_missing_values_is_not_read(make_problem, covariance_type, kind):
    problem = make_problem(covariance_type, 100, 3, 4)
    X, p, S = with_missing_values(problem.X), problem.parameters, covariances_of_noise(100, 4)
    S = S if kind == "covariances" else np.einsum("nii->ni", S).copy()
    unknown = np.isnan(X)
    if kind == "covariances":
        unknown = unknown[:, :, None] | unknown[:, None]
    expected = kernel_step(X, S, problem.weight, p)
    model = GaussianMixture.from_parameters(
        p.weights, p.means, covariances=p.covariances, covariance_type=covariance_type,
        missing="marginalize",
    )
    for value in (np.nan, np.inf, -np.inf, -1.0, 1e300):
        noise = np.where(unknown, value, S)
        made = kernel_step(X, noise, problem.weight, p)
        for array, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(array, other)
        for method in (model.score_samples, model.predict_proba, model.predict, model.denoise):
            np.testing.assert_array_equal(method(X, noise), method(X, S))
        far = X.copy()
        far[~np.isnan(X)] *= 1e200  # the density is 0, and the nearest component is asked for
        assert np.isfinite(model.predict_proba(far, noise)).all()
        assert np.isfinite(model.denoise(far, noise)).all()
        fitted = [
            GaussianMixture(
                2, covariance_type=covariance_type, missing="marginalize", tol=1e-2, random_state=0
            ).fit(X, noise_covariance=S)
            for S in (S, noise)
        ]
        np.testing.assert_array_equal(*[model.means_ for model in fitted])


@all_types
def test_threads_change_no_bit(make_problem, covariance_type, monkeypatch):
    monkeypatch.setattr(rowwise, "_CHUNK_TIME", 0.0)
    problem = make_problem(covariance_type, 4000, 3, 4)
    X, S = with_missing_values(problem.X, share=0.05), covariances_of_noise(4000, 4)
    for noise in (S, np.einsum("nii->ni", S), S[0]):
        one, two, seven = (
            kernel_step(X, noise, problem.weight, problem.parameters, n) for n in (1, 2, 7)
        )
        for arrays in zip(one, two, seven, strict=True):
            np.testing.assert_array_equal(arrays[0], arrays[1])
            np.testing.assert_array_equal(arrays[0], arrays[2])


@all_types
def test_noise_in_any_unit(make_problem, covariance_type, isa):
    problem = make_problem(covariance_type, 100, 3, 4)
    X, p, S = with_missing_values(problem.X), problem.parameters, covariances_of_noise(100, 4)
    model = GaussianMixture.from_parameters(
        p.weights, p.means, covariances=p.covariances, covariance_type=covariance_type,
        missing="marginalize",
    )
    none = kernel_step(X, None, problem.weight, p)
    rows = (~np.isnan(X)).any(axis=1)
    for scale in (1e-300, 1e-150, 1e-75, 1e75, 1e150, 1e300):
        for noise in (scale * S, scale * np.einsum("nii->ni", S)):
            weights, means, C, log_likelihood = made = kernel_step(X, noise, problem.weight, p)
            if scale < 1:
                assert_near(made, none, 1e3 * EPS)
                continue
            # Nothing is known of the rows, so the mixture stays what it is, up to types with constraints.
            assert np.isfinite(log_likelihood)
            # The density of a row depends on the component by its weight alone.
            np.testing.assert_allclose(weights, p.weights, rtol=1e-10)
            np.testing.assert_allclose(means, p.means, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(C, p.covariances, rtol=1e-10, atol=1e-10)
            mean, covariance = model.denoise(X, noise, return_cov=True)
            prior = p.weights @ p.means
            np.testing.assert_allclose(mean[rows], np.broadcast_to(prior, mean[rows].shape), rtol=1e-10)
            assert np.isfinite(covariance).all()


# --- 60 digits ------------------------------------------------------------------------------


def ill_conditioned_mixture(K, D, condition, seed=0):
    rng = np.random.default_rng(seed)
    covariances = []
    for _ in range(K):
        Q, _ = np.linalg.qr(rng.normal(size=(D, D)))
        C = (Q * np.geomspace(1, 1 / condition, D)) @ Q.T
        covariances.append((C + C.T) / 2)
    C = np.array(covariances)
    factors = COVARIANCE_TYPES["full"].factor_covariances(C, D)
    means = rng.normal(size=(K, D))
    return mixture_of(prepare(np.full(K, 1 / K), means, factors, "full"))


def exact_step(X, noise, p):
    """Return counts, means and covariances after an iteration of EM, with 60 digits."""
    (K, D), matrix = p.means.shape, mpmath.matrix
    U = [matrix(factor.tolist()) for factor in p.prepared.precisions_cholesky]
    sigma = [(u * u.T) ** -1 for u in U]
    N = [mpmath.mpf(0)] * K
    first, second = [matrix(D, 1) for _ in range(K)], [matrix(D, D) for _ in range(K)]
    for i, x in enumerate(X):
        o = [d for d in range(D) if not np.isnan(x[d])]
        log_prob, parts = [], []
        for k in range(K):
            mu = matrix(p.means[k].tolist())
            T = matrix(len(o), len(o))
            for a, d in enumerate(o):
                for c, e in enumerate(o):
                    T[a, c] = sigma[k][d, e] + (0 if noise is None else mpmath.mpf(float(noise[i, d, e])))
            inverse = T**-1
            gap = matrix([mpmath.mpf(float(x[d])) - mu[d] for d in o])
            of_known = matrix([[sigma[k][d, e] for d in range(D)] for e in o])
            gain = of_known.T * inverse
            log_prob.append(
                mpmath.log(mpmath.mpf(float(p.weights[k])))
                - (mpmath.log(mpmath.det(T)) + (gap.T * inverse * gap)[0]) / 2
            )
            parts.append((mu + gain * gap, sigma[k] - gain * of_known))
        top = max(log_prob)
        r = [mpmath.exp(value - top) for value in log_prob]
        total = mpmath.fsum(r)
        for k, (b, B) in enumerate(parts):
            share = r[k] / total
            N[k] += share
            first[k] += share * b
            second[k] += share * (b * b.T + B)
    means = [first[k] / N[k] for k in range(K)]
    return N, means, [second[k] / N[k] - means[k] * means[k].T for k in range(K)]


def errors_in_the_worst_direction(made, expected):
    """Return errors of the counts, and of means and covariances in whitened coordinates."""
    counts, means, covariances = expected
    of_counts = of_means = of_covariances = 0.0
    for k, (count, mean, covariance) in enumerate(zip(counts, means, covariances, strict=True)):
        inverse = mpmath.cholesky(covariance) ** -1
        of_counts = max(of_counts, float(abs(mpmath.mpf(float(made[0][k])) / count - 1)))
        gap = inverse * (mpmath.matrix(made[1][k].tolist()) - mean)
        of_means = max(of_means, float(mpmath.norm(gap)))
        change = inverse * (mpmath.matrix(made[2][k].tolist()) - covariance) * inverse.T
        values = mpmath.eigsy(change, eigvals_only=True)
        of_covariances = max(of_covariances, float(max(abs(v) for v in values)))
    return of_counts, of_means, of_covariances


@pytest.mark.parametrize("kind", ["missing", "noise", "both"])
def test_digits_at_a_condition_of_1e10(kind, isa):
    n, K, D, condition = 40, 2, 4, 1e10
    p = ill_conditioned_mixture(K, D, condition)
    rng = np.random.default_rng(1)
    C = np.array([np.linalg.inv(u @ u.T) for u in p.prepared.precisions_cholesky])
    X = np.array([rng.multivariate_normal(p.means[i % K], C[i % K], method="cholesky") for i in range(n)])
    S = None
    if kind != "noise":
        X = with_missing_values(X, empty_rows=())
    if kind != "missing":
        S = covariances_of_noise(n, D) * np.geomspace(1e-8, 1, n)[:, None, None]
        X += np.einsum("nij,nj->ni", np.linalg.cholesky(S), rng.normal(size=X.shape))
    weights, means, covariances, _ = kernel_step(X, S, None, p)
    with mpmath.workdps(60):
        found = errors_in_the_worst_direction(
            (weights * n, means, covariances), exact_step(X, S, p)
        )
    # The entries of a covariance are rounded, which moves its smallest eigenvalue by eps times the condition. Those of a
    # mean are, too, which moves it by eps times the square root of the condition, in units of the smallest deviation.
    assert found[0] < condition**0.5 * EPS
    assert found[1] < 100 * condition**0.5 * EPS
    assert found[2] < condition * EPS
