"""Tests of the bootstrap and the likelihood-ratio test: analytic errors, NumPy, and mclust."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import gmm_core.dask
from gmm_core import (
    BayesianGaussianMixture,
    GaussianMixture,
    bootstrap,
    bootstrap_lrt,
    reference,
)

VALUES = Path(__file__).parent / "values" / "mclust"
rng = np.random.default_rng(0)
X = rng.normal(size=(150, 2)) @ [[1, 0.4], [0, 0.8]] + np.repeat([[0, 0], [5, 1]], [60, 90], axis=0)
# mclust's models, and the four types of scikit-learn
TYPES = ["full", "tied", "diag", "spherical", "EII", "VEE", "EVV"]


@pytest.fixture(scope="module")
def model():
    return GaussianMixture(2, tol=1e-8, max_iter=500, random_state=0).fit(X)


def generators(seed, n):
    """The generators of resamples, as the documentation of the seeds says."""
    first = np.random.RandomState(seed).randint(2**31)
    return [np.random.RandomState(np.random.MT19937(child))
            for child in np.random.SeedSequence(int(first)).spawn(n)]  # fmt: skip


def em(X, weights, means, covariances, n_iter):
    """EM in NumPy, with the textbook's formulas."""
    for _ in range(n_iter):
        factors = np.linalg.inv(np.linalg.cholesky(covariances)).transpose(0, 2, 1)
        resp = reference.responsibilities(X, weights, means, factors, "full")
        counts = resp.sum(axis=0)
        weights, means = counts / len(X), resp.T @ X / counts[:, None]
        covariances = np.stack(
            [((r[:, None] * (X - m)).T @ (X - m)) / r.sum() + 1e-6 * np.eye(X.shape[1])
             for r, m in zip(resp.T, means, strict=True)]
        )  # fmt: skip
    return weights, means, covariances


def test_the_replicates_are_those_of_numpy(model):
    result = bootstrap(model, X, 4, random_state=3)
    assert (result.kind, result.n_resamples, result.confidence_level) == ("nonparametric", 4, 0.95)
    for i, random_state in enumerate(generators(3, 4)):
        counts = random_state.multinomial(len(X), np.full(len(X), 1 / len(X)))
        expected = em(
            np.repeat(X, counts, axis=0), model.weights_, model.means_, model.covariances_, 200
        )
        for estimate, array in zip(result[:3], expected, strict=True):
            # EM stops when the log-likelihood changes by 1e-8, which is of second order in the step
            np.testing.assert_allclose(estimate.replicates[i], array, atol=2e-3)


@pytest.mark.parametrize("kind", ["nonparametric", "parametric", "weighted"])
def test_errors_of_one_component(kind):
    """The variance of the mean is S / n, or S / (n + 1) with exponential weights."""
    one, n, N = GaussianMixture(reg_covar=0).fit(X), len(X), 500
    result = bootstrap(one, X, N, kind=kind, random_state=1)
    covariance = one.covariances_[0] / (n + 1 if kind == "weighted" else n)
    # The relative standard deviation of a standard error is about 1 / √(2 N) = 3.2 %.
    np.testing.assert_allclose(
        result.means.standard_error[0], np.sqrt(np.diag(covariance)), rtol=4 / np.sqrt(2 * N)
    )
    replicates = result.means.replicates[:, 0]
    np.testing.assert_allclose(
        np.corrcoef(replicates.T)[0, 1],
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), atol=4 / np.sqrt(N),
    )  # fmt: skip
    assert (result.weights.standard_error == 0).all()
    if kind == "parametric":  # the variance of a variance is 2 σ⁴ (n − 1) / n²
        error = np.diag(one.covariances_[0]) * np.sqrt(2 * (n - 1)) / n
        found = np.diag(result.covariances.standard_error[0])
        np.testing.assert_allclose(found, error, rtol=4 / np.sqrt(2 * N))
    for k, (low, high) in enumerate(zip(result.means.low[0], result.means.high[0], strict=True)):
        assert (low, high) == tuple(np.quantile(replicates[:, k], [0.025, 0.975]))
        np.testing.assert_allclose(
            result.means.standard_error[0, k], replicates[:, k].std(ddof=1), rtol=1e-12
        )


# By R 4.2.2 and MclustBootstrap of mclust 6.0.0, with 999 resamples of faithful: standard errors of
# the weights, the means and the variances, for the component of the longer eruptions and the other.
ERRORS = {
    "nonparametric": [
        [0.0285927, 0.0285927], [[0.0320919, 0.4549958], [0.0289525, 0.5925699]],
        [[0.0192808, 4.361017], [0.0140977, 4.192635]],
    ],
    "weighted": [
        [0.0297757, 0.0297757], [[0.0312856, 0.4834186], [0.0294495, 0.6008978]],
        [[0.0192318, 3.997093], [0.0137332, 4.331800]],
    ],
    "parametric": [
        [0.0295751, 0.0295751], [[0.0325418, 0.4701650], [0.0276331, 0.5992952]],
        [[0.0184734, 3.950386], [0.0100338, 4.68615]],
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS)
def test_the_errors_of_mclust(kind):
    data = np.loadtxt(VALUES / "faithful.csv", delimiter=",", skiprows=1)
    model = GaussianMixture(2, tol=1e-6, max_iter=500, reg_covar=0, random_state=0).fit(data)
    N, order = 400, np.argsort(-model.weights_)
    result = bootstrap(model, data, N, kind=kind, random_state=0)
    variances = np.diagonal(result.covariances.standard_error, axis1=1, axis2=2)
    found = (result.weights.standard_error, result.means.standard_error, variances)
    for array, expected in zip(found, ERRORS[kind], strict=True):
        tolerance = 4 * np.sqrt(1 / (2 * N) + 1 / (2 * 999))
        np.testing.assert_allclose(array[order], expected, rtol=tolerance)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_and_dtypes(covariance_type, dtype):
    model = GaussianMixture(2, covariance_type=covariance_type, tol=1e-6, max_iter=500,
                            random_state=0).fit(X.astype(dtype))  # fmt: skip
    result = bootstrap(model, X.astype(dtype), 5, kind="parametric", random_state=0)
    for name, estimate in zip(result._fields[:3], result[:3], strict=True):
        fitted = getattr(model, f"{name}_")
        assert estimate.replicates.shape == (5, *fitted.shape)
        for array in estimate[:4]:
            assert array.shape == fitted.shape
            assert array.dtype == dtype
        np.testing.assert_array_equal(estimate.value, fitted)
        assert (estimate.low <= estimate.high).all()
    # the components keep their order
    assert (np.abs(result.means.replicates - model.means_) < 1).all()


@pytest.mark.parametrize("kind", ["nonparametric", "parametric", "weighted"])
def test_the_same_for_any_number_of_threads(model, kind):
    first, *others = (bootstrap(model, X, 7, kind=kind, random_state=5, n_threads=n)
                      for n in (1, 2, 3))  # fmt: skip
    for other in others:
        for a, b in zip(first[:3], other[:3], strict=True):
            np.testing.assert_array_equal(a.replicates, b.replicates)
    assert not (first.means.replicates[0] == first.means.replicates[1]).any()
    again = bootstrap(model, X, 4, kind=kind, random_state=5)
    np.testing.assert_array_equal(again.means.replicates, first.means.replicates[:4])
    np.random.seed(0)  # noqa: NPY002
    a = bootstrap(model, X, 2, random_state=None)
    np.random.seed(0)  # noqa: NPY002
    b = bootstrap(model, X, 2, random_state=np.random.mtrand._rand)
    np.testing.assert_array_equal(a.means.replicates, b.means.replicates)


def test_large_fits_take_all_threads(model, monkeypatch):
    """They run one after the other, with the same result."""
    small = bootstrap(model, X, 3, random_state=5, n_threads=2)
    monkeypatch.setattr(sys.modules["gmm_core.uncertainty"], "SMALL", 0)
    large = bootstrap(model, X, 3, random_state=5, n_threads=2)
    np.testing.assert_array_equal(small.means.replicates, large.means.replicates)


def test_the_estimator_is_unchanged_and_not_watched(model):
    model = GaussianMixture(2, tol=1e-8, max_iter=500, random_state=0).fit(X)
    model.set_params(callback=lambda state: True, time_limit=1e-9, verbose=1, n_init=3)
    before = dict(vars(model))
    bootstrap(model, X, 2, random_state=0)
    assert vars(model) == before


def test_weights_count_rows(model):
    weight = rng.integers(0, 3, len(X))
    repeated = np.repeat(X, weight, axis=0)
    weighted = GaussianMixture(reg_covar=0).fit(X, sample_weight=weight)
    N = 400
    for kind in ("nonparametric", "parametric", "weighted"):
        result = bootstrap(weighted, X, N, kind=kind, sample_weight=weight, random_state=0)
        expected = np.sqrt(np.diag(weighted.covariances_[0]) / len(repeated))
        np.testing.assert_allclose(
            result.means.standard_error[0], expected, rtol=4 / np.sqrt(2 * N)
        )


def test_missing_values():
    holes = X.copy()
    holes[rng.random(X.shape) < 0.3] = np.nan
    model = GaussianMixture(1, missing="marginalize", reg_covar=0, tol=1e-7, max_iter=500)
    model.fit(holes)
    N = 150
    full = np.sqrt(np.diag(model.covariances_[0]) / len(X))
    for kind in ("nonparametric", "parametric"):
        error = bootstrap(model, holes, N, kind=kind, random_state=0).means.standard_error[0]
        # Between that of complete data and that of the values that are there alone.
        present = np.sqrt(np.diag(model.covariances_[0]) / (~np.isnan(holes)).sum(axis=0))
        tolerance = 1 + 4 / np.sqrt(2 * N)
        assert (full / tolerance < error).all()
        assert (error < present * tolerance).all()
        assert (error > full).any()


def test_the_noise_component():
    noisy = np.concatenate([X, rng.uniform(-10, 15, size=(30, 2))])
    model = GaussianMixture(2, noise=True, random_state=0, tol=1e-6, max_iter=500).fit(noisy)
    for kind in ("nonparametric", "parametric", "weighted"):
        result = bootstrap(model, noisy, 20, kind=kind, random_state=0)
        rest = 1 - result.weights.replicates.sum(axis=1)
        assert abs(rest.mean() - model.noise_weight_) < 4 * rest.std() / np.sqrt(20) + 0.02
    model = GaussianMixture(2, noise=0.001, random_state=0).fit(noisy)
    with pytest.raises(ValueError, match="no box that samples could be drawn from"):
        bootstrap(model, noisy, 5, kind="parametric")


def test_data_frames_and_the_dask_estimator(model):
    frame = pd.DataFrame(X, columns=["a", "b"])
    of_frame = GaussianMixture(2, tol=1e-8, max_iter=500, random_state=0).fit(frame)
    result = bootstrap(of_frame, frame, 2, random_state=0)
    np.testing.assert_array_equal(
        result.means.replicates, bootstrap(model, X, 2, random_state=0).means.replicates
    )
    other = gmm_core.dask.GaussianMixture(2, tol=1e-8, max_iter=500, random_state=0).fit(X)
    np.testing.assert_array_equal(
        result.means.replicates, bootstrap(other, X, 2, random_state=0).means.replicates
    )


def test_resamples_that_fail():
    """A fit to resamples of three rows fails where fewer rows than components are left."""
    few = np.array([[0.0], [1.0], [9.0]])
    model = GaussianMixture(2, reg_covar=0.5, random_state=0).fit(few)
    with pytest.warns(UserWarning, match="of 40 fits to resamples failed, the last one with: "):
        result = bootstrap(model, few, 40, random_state=0)
    assert 2 <= result.n_resamples < 40
    assert len(result.means.replicates) == result.n_resamples


def test_fits_that_do_not_converge(model):
    short = GaussianMixture(2, tol=0, max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning):
        short.fit(X)
    with pytest.warns(ConvergenceWarning, match="3 of 3 fits to resamples did not converge"):
        bootstrap(short, X, 3, random_state=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_resamples": 1}, ValueError, "n_resamples=1, expected at least 2"),
        ({"n_resamples": 9.0}, TypeError, "n_resamples should be an int"),
        ({"kind": "bs"}, ValueError, "kind='bs', expected one of 'nonparametric'"),
        ({"kind": None}, ValueError, "kind=None"),
        ({"confidence_level": 95}, ValueError, "confidence_level=95, expected a number between"),
        ({"confidence_level": "95"}, TypeError, "confidence_level should be a float"),
        ({"random_state": "x"}, ValueError, "random_state='x'"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"sample_weight": [1.0]}, ValueError, "sample_weight"),
        ({"X": X[:, :1]}, ValueError, "1 features, but GaussianMixture is expecting 2"),
        ({"X": np.full((5, 2), np.nan)}, ValueError, "NaN"),
        ({"X": [X, X]}, TypeError, "X should be an array or a data frame"),
        ({"model": GaussianMixture()}, NotFittedError, "not fitted"),
        ({"model": BayesianGaussianMixture()}, TypeError, "expected a GaussianMixture"),
    ],
)
def test_bad_arguments(model, arguments, error, message):
    arguments = {"model": model, "X": X, "n_resamples": 3, **arguments}
    with pytest.raises(error, match=message):
        bootstrap(**arguments)


def test_partial_labels_are_refused():
    labels = np.full(len(X), -1)
    labels[[0, -1]] = 0, 1
    model = GaussianMixture(2, labels_init=labels, random_state=0).fit(X)
    with pytest.raises(ValueError, match="known and unknown labels"):
        bootstrap(model, X, 3)


def test_the_bootstrap_prints_as_a_table(model):
    lines = repr(bootstrap(model, X, 5, random_state=0)).splitlines()
    assert lines[0] == "Bootstrap (nonparametric) of 5 resamples, with intervals of 95 %"
    assert lines[1].split() == ["value", "std.", "error", "low", "high"]
    assert lines[2].split()[:2] == ["weights[0]", f"{model.weights_[0]:.4g}"]
    assert lines[-1].startswith("covariances[1, 1, 1]")
    assert len({len(line) for line in lines[1:]}) == 1
    wide = np.random.default_rng(0).normal(size=(60, 7))
    text = repr(bootstrap(GaussianMixture().fit(wide), wide, 2, random_state=0))
    assert text.endswith("\n... and 17 more")


# --- the likelihood-ratio test --------------------------------------------------------------------

# By R 4.2.2 and mclust 6.0.0: 2 diff(Mclust(diabetes, G, "VVV")$loglik), with the default tolerance
# (as mclustBootstrapLRT finds them) and with 1e-13.
DIABETES = [361.167394629, 123.496854428, 16.761605783]
CONVERGED = [361.2367523019, 123.4349317219, 16.8821336656]


def test_the_statistics_of_mclust():
    data = np.loadtxt(VALUES / "diabetes.csv", delimiter=",", skiprows=1)[:, :3]
    options = {"init_params": "hierarchical", "reg_covar": 0, "random_state": 0,
               "n_resamples": 39}  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "1 of 39 fits to resamples failed")
        result = bootstrap_lrt(data, 5, tol=1e-11, max_iter=5000, **options)
    statistics = [test.statistic for test in result.tests]
    np.testing.assert_allclose(statistics, CONVERGED, rtol=1e-6)
    # mclust stops when the log-likelihood L changes by less than 1e-5 (1 + |L|), at |L| < 2600. An
    # EM that gains less than 0.026 in an iteration may still gain some times as much.
    np.testing.assert_allclose(statistics, DIABETES, atol=10 * 0.026)
    assert result.n_components == 3
    assert [test.n_components for test in result.tests] == [1, 2, 3]
    assert [test.p_value for test in result.tests[:2]] == [1 / 40, 1 / 40]
    # By mclust with 199 resamples: p = 0.51.
    assert 0.2 < result.tests[2].p_value < 0.9
    text = repr(result)
    assert text.startswith("Likelihood-ratio tests with 39 resamples: 3 components\n")
    assert text.splitlines()[2].split() == ["1", "vs", "2", "361.237", "0.025"]


def test_the_replicates_are_fits_to_samples_of_the_null_hypothesis():
    """The samples are drawn, and both mixtures fitted, with the public methods."""
    data = X[:60]
    result = bootstrap_lrt(data, 2, n_resamples=3, random_state=4, tol=1e-7)
    (test,) = result.tests
    root = np.random.SeedSequence(int(np.random.RandomState(4).randint(2**31)))
    options = {"tol": 1e-7, "max_iter": 1000, "random_state": int(root.generate_state(1)[0])}
    null = GaussianMixture(1, **options).fit(data)
    wide = GaussianMixture(2, **options).fit(data)
    np.testing.assert_allclose(
        test.statistic, 2 * 60 * (wide.lower_bound_ - null.lower_bound_), rtol=1e-12
    )
    for seed, found in zip(root.spawn(1)[0].spawn(3), test.replicates, strict=True):
        null.random_state = np.random.RandomState(np.random.MT19937(seed))
        sample = null.sample(60)[0]
        gain = GaussianMixture(2, **options).fit(sample).lower_bound_
        gain -= GaussianMixture(1, **options).fit(sample).lower_bound_
        np.testing.assert_allclose(found, 120 * gain, rtol=1e-9, atol=1e-9)
    assert test.p_value == (1 + (test.replicates >= test.statistic).sum()) / 4


def test_the_test_has_its_level():
    """P-values of samples of the null hypothesis are uniform: of 30, about 15 are below 1/2."""
    p_values = []
    for seed in range(30):
        sample = np.random.default_rng(seed).normal(size=(40, 1))
        result = bootstrap_lrt(sample, 2, "tied", n_resamples=19, random_state=seed, tol=1e-4)
        p_values.append(result.tests[0].p_value)
    # of a binomial distribution with 30 trials, 99.9 % lies in 6 to 24
    assert 6 <= np.count_nonzero(np.array(p_values) <= 0.5) <= 24


@pytest.mark.parametrize("n_threads", [2, 3])
def test_tests_are_the_same_for_any_number_of_threads(n_threads):
    options = {"n_resamples": 9, "random_state": 2, "significance_level": 0.2}
    first = bootstrap_lrt(X, 4, n_threads=1, **options)
    other = bootstrap_lrt(X, 4, n_threads=n_threads, **options)
    assert other.n_components == first.n_components
    for a, b in zip(first.tests, other.tests, strict=True):
        assert a[:3] == b[:3]
        np.testing.assert_array_equal(a.replicates, b.replicates)


def test_no_more_than_max_components():
    far = X + np.repeat([[0, 0], [50, 0], [0, 50]], 50, axis=0)
    result = bootstrap_lrt(far, 2, n_resamples=9, significance_level=0.2, random_state=0)
    assert result.n_components == 2
    assert len(result.tests) == 1
    assert "2 components" in repr(result)


def test_weights_of_the_test_count_rows():
    weight = np.random.default_rng(1).integers(1, 3, 60)
    options = {"n_resamples": 2, "random_state": 0, "init_params": "hierarchical", "tol": 1e-9}
    weighted = bootstrap_lrt(X[30:90], 2, sample_weight=weight, **options)
    repeated = bootstrap_lrt(np.repeat(X[30:90], weight, axis=0), 2, **options)
    np.testing.assert_allclose(
        weighted.tests[0].statistic, repeated.tests[0].statistic, rtol=1e-6
    )
    np.testing.assert_allclose(
        weighted.tests[0].replicates, repeated.tests[0].replicates, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_components": 1}, ValueError, "max_components=1, expected at least 2"),
        ({"max_components": 151}, ValueError, "max_components=151, but X has 150 samples"),
        ({"max_components": "3"}, TypeError, "max_components should be an int"),
        ({"n_resamples": True}, TypeError, "n_resamples should be an int"),
        ({"significance_level": 0}, ValueError, "significance_level=0, expected a number"),
        ({"covariance_type": "round"}, ValueError, "covariance_type"),
        ({"tol": -1}, ValueError, "tol"),
        ({"colour": 1}, TypeError, "colour"),
        ({"means_init": [[0, 0]]}, TypeError, "no parameter 'means_init' of its fits"),
        ({"callback": print}, TypeError, "no parameter 'callback'"),
        ({"X": lambda: iter([X])}, TypeError, "X should be an array or a data frame"),
        ({"X": [[0.0, np.inf]] * 3}, ValueError, "infinity"),
    ],
)
def test_bad_arguments_of_the_test(arguments, error, message):
    with pytest.raises(error, match=message):
        bootstrap_lrt(**{"X": X, "n_resamples": 2, **arguments})
