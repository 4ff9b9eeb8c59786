"""Tests of the conditional mixtures of many rows, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from gmm_core import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES

TYPES = ["full", "tied", "diag", "spherical"]
MODELS = [name for name, kind in COVARIANCE_TYPES.items() if kind.n_features is None]
RNG = np.random.default_rng(0)
X4 = RNG.normal(size=(40, 4)) * [1, 2, 0.5, 1] + RNG.integers(0, 3, (40, 1)) * [3, 0, -2, 4]


def fitted(covariance_type="full", K=3, X=X4, **params):
    """Return a mixture whose covariances obey the constraints of its type: a fit of a few iterations."""
    model = GaussianMixture(
        K, covariance_type=covariance_type, reg_covar=0.1, tol=1e9, random_state=0, **params
    )
    return model.fit(X)


def matrices(gm):
    """Return the covariance matrices of a model, of shape (K, D, D)."""
    K, D = gm.means_.shape
    kind = COVARIANCE_TYPES[gm.covariance_type]
    return np.stack([kind.matrix(gm.covariances_, k, D) for k in range(K)]).astype(np.float64)


def brute_force(gm, X, given, others):
    """Return responsibilities, means and covariances by SciPy's densities and NumPy's solver."""
    covariances, means = matrices(gm), gm.means_.astype(np.float64)
    log_prob = np.stack([
        np.log(w) + stats.multivariate_normal.logpdf(X, m[given], C[np.ix_(given, given)]).reshape(-1)
        for w, m, C in zip(gm.weights_, means, covariances, strict=True)
    ])  # fmt: skip
    r = np.exp(log_prob - np.logaddexp.reduce(log_prob, axis=0)).T
    conditional_means, conditional_covariances = [], []
    for m, C in zip(means, covariances, strict=True):
        slope = np.linalg.solve(C[np.ix_(given, given)], C[np.ix_(given, others)]).T
        conditional_means.append(m[others] + (X - m[given]) @ slope.T)
        conditional_covariances.append(C[np.ix_(others, others)] - slope @ C[np.ix_(given, others)])
    return r, np.stack(conditional_means, axis=1), np.stack(conditional_covariances)


@pytest.mark.parametrize("covariance_type", MODELS)
def test_conditional_by_brute_force(covariance_type):
    gm = fitted(covariance_type)
    for given, others in (([2, 0], [1, 3]), ([3], [0, 1, 2]), ([0, 1, 2], [3])):
        X = X4[:, given]
        made = gm.conditional(X, given)
        K, q = 3, len(others)
        assert [a.shape for a in made] == [(40, K), (40, K, q), (K, q, q)]
        expected = brute_force(gm, X, given, others)
        for got, want in zip(made, expected, strict=True):
            # Condition numbers are below 100, since reg_covar is 0.1 and variances are below 10.
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)
        assert made._fields == ("responsibilities", "means", "covariances")


@pytest.mark.parametrize("covariance_type", TYPES)
def test_conditional_is_condition_row_by_row(covariance_type):
    gm = fitted(covariance_type)
    made = gm.conditional(X4[:, [1, 3]], [1, -1])
    for n in range(0, 40, 7):
        row = gm.condition({1: X4[n, 1], 3: X4[n, 3]})
        np.testing.assert_allclose(made.responsibilities[n], row.weights_, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(made.means[n], row.means_, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(made.covariances, matrices(row), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_offset_of_given_features_changes_nothing(covariance_type):
    """The values are multiples of 2⁻²⁰, so that differences are exact with and without the offset."""
    gm = fitted(covariance_type)
    means = np.round(gm.means_ * 2**20) / 2**20
    X = np.round(X4[:, :2] * 2**20) / 2**20
    offset = np.array([2.0**30, -(2.0**28), 0, 0])
    near, far = (
        GaussianMixture.from_parameters(
            gm.weights_, means + shift, covariances=gm.covariances_, covariance_type=covariance_type
        ).conditional(X + shift[:2], [0, 1])
        for shift in (np.zeros(4), offset)
    )
    for a, b in zip(near, far, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_far_rows_belong_to_the_nearest_component(covariance_type):
    gm = fitted(covariance_type)
    direction = np.array([[1.0, 0.3], [-1, 0.2], [0.1, -1]])
    # At this distance the differences of squared distances are exact enough, and far above 700.
    at_limit = brute_force(gm, 1e5 * direction, [0, 1], [2, 3])[0]
    assert set(at_limit.ravel()) == {0.0, 1.0}
    made = gm.conditional(1e200 * direction, [0, 1])
    np.testing.assert_array_equal(made.responsibilities, at_limit)
    assert np.isfinite(made.means).all()


def test_far_rows_of_equal_covariances_belong_to_the_largest_component():
    gm = fitted("tied")     # at this distance, differences of means are lost
    made = gm.conditional([[1e200, 0.0], [-1e200, 1e200]], [0, 1])
    np.testing.assert_array_equal(made.responsibilities, np.eye(3)[[np.argmax(gm.weights_)] * 2])


def test_mean_beyond_the_range_is_an_error():
    gm = GaussianMixture.from_parameters([1.0], [[0.0, 0]], covariances=[[[1.0, 3], [3, 10]]])
    with pytest.raises(ValueError, match=r"mean of X\[1\] is beyond the range of float64: scale"):
        gm.conditional([[1.0], [1e308]], 0)


def test_float32():
    single = fitted(X=X4.astype(np.float32))
    X = X4[:, :2].astype(np.float32)
    made = single.conditional(X, [0, 1])
    assert {a.dtype for a in made} == {np.dtype(np.float32)}
    assert single.conditional(X.astype(np.float64), [0, 1]).means.dtype == np.float64
    for got, want in zip(made, brute_force(single, X.astype(np.float64), [0, 1], [2, 3]), strict=True):
        # The factors are rounded to float32, which relative errors of the condition number times eps follow from.
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_names_of_features():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X4, columns=list("abcd"))
    gm = fitted(X=frame)
    by_index = gm.conditional(frame[["d", "a"]], [3, 0])
    by_name = gm.conditional(frame[["d", "a"]], ["d", "a"])
    for a, b in zip(by_index, by_name, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="same order"):
        gm.conditional(frame[["a", "d"]], ["d", "a"])
    with pytest.raises(ValueError, match="given has the name 'e'"):
        gm.conditional(frame[["a"]], ["e"])


@pytest.mark.parametrize(
    ("X", "given", "message"),
    [
        (X4, [0, 1, 2, 3], "given has all 4 features"),
        (X4, [0, 1], r"X has 4 features, but GaussianMixture with given=\[0, 1\] is expecting 2"),
        (X4[:, :2], [0, 0], "given has a feature twice"),
        (X4[:, :0], [], "given is empty"),
        (X4[:, :1], [4], "given has the index 4"),
        (X4[:, :1], [0.0], "given should consist of indices and names"),
        (X4[:0, :1], 0, "0 sample"),
        ([[np.inf]], 0, "Input X contains infinity"),
        ([[np.nan]], 0, "Input X contains NaN.\n`impute`"),
    ],
)
def test_bad_arguments(X, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fitted().conditional(X, given)


def test_unfitted_and_noise():
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().conditional([[1.0]], 0)
    noisy = GaussianMixture.from_parameters([0.9], [[0.0, 0]], covariances=[1.0], noise=0.01)
    with pytest.raises(ValueError, match="noise component"):
        noisy.conditional([[1.0]], 0)


def test_threads_do_not_matter():
    X = np.random.default_rng(1).normal(size=(20_000, 2))
    results = [fitted(n_threads=n).conditional(X, [0, 2]) for n in (1, 2, 7)]
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            assert a.tobytes() == b.tobytes()
