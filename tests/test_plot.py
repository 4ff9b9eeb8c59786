"""Tests of the pictures of mixtures."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import norm
from sklearn.exceptions import NotFittedError

from gmm_core import BayesianGaussianMixture, GaussianMixture

matplotlib = pytest.importorskip("matplotlib", reason="the plot extra is not installed")
matplotlib.use("agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import rgb_to_hsv, to_rgb, to_rgba_array  # noqa: E402
from matplotlib.patches import Ellipse  # noqa: E402

from gmm_core import plot  # noqa: E402

FAITHFUL = Path(__file__).parents[1] / "examples" / "old_faithful.csv"


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def X():
    return np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


@pytest.fixture
def model(X):
    return GaussianMixture(2, random_state=0).fit(X)


def three_features(covariance_type="full", n_components=3):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3)) + 5 * rng.integers(0, 3, (300, 1))
    return X, GaussianMixture(
        n_components, covariance_type=covariance_type, random_state=0, max_iter=5, tol=1
    ).fit(X)


def matrices(model):
    """Return the covariances as an array of shape (K, D, D), by the shape that they have."""
    K, D = model.means_.shape
    given = np.asarray(model.covariances_)
    if given.ndim == 1:
        given = np.broadcast_to(given[:, None], (K, D))
    if given.shape == (D, D) and model.covariance_type == "tied":
        return np.broadcast_to(given, (K, D, D))
    return given if given.ndim == 3 else given[:, :, None] * np.eye(D)


def ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "VVE"])
def test_points_of_an_ellipse_have_its_mahalanobis_distance(covariance_type):
    X, model = three_features(covariance_type)
    sizes = (0.5, 2.0)
    ax = plot.plot_mixture(model, X, features=(2, 0), n_std=sizes)
    drawn = ellipses(ax)
    assert len(drawn) == 2 * 3
    for number, ellipse in enumerate(drawn):
        k, size = number // 2, sizes[number % 2]
        covariance = matrices(model)[k][np.ix_([2, 0], [2, 0])]
        angles = np.linspace(0, 2 * np.pi, 9)
        unit = np.column_stack([np.cos(angles), np.sin(angles)])
        points = ellipse.get_patch_transform().transform(unit) - model.means_[k, [2, 0]]
        squares = np.einsum("ni,ij,nj->n", points, np.linalg.inv(covariance), points)
        assert np.allclose(np.sqrt(squares), size, rtol=1e-9)


def test_samples_have_the_colours_of_their_components(model, X):
    ax = plot.plot_mixture(model, X)
    (points,) = ax.collections
    assert np.array_equal(points.get_offsets(), X)
    expected = to_rgba_array(["C0", "C1"])[model.predict(X)]
    assert np.array_equal(points.get_facecolors()[:, :3], expected[:, :3])
    assert [text.get_text() for text in ax.texts] == ["0", "1"]


def test_noise_is_grey(X):
    X = np.vstack([X, [[1.6, 96.0], [5.0, 44.0]]])
    model = GaussianMixture(2, noise=True, random_state=0, tol=1e-8, max_iter=1000).fit(X)
    labels = model.predict(X)
    assert labels[-2:].tolist() == [-1, -1]
    (points,) = plot.plot_mixture(model, X).collections
    assert np.array_equal(points.get_facecolors()[-1, :3], to_rgb("grey"))


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_density_is_that_of_the_mixture(covariance_type):
    X, model = three_features(covariance_type)
    ax = plot.plot_density(model, X, feature=-1, bins=20)
    *parts, total = ax.lines
    x, y = total.get_data()
    marginal = model.marginal([-1])
    assert np.allclose(y, np.exp(marginal.score_samples(x[:, None])), rtol=1e-9)
    assert abs(trapezoid(y, x) - 1) < 2e-3  # the tails beyond 3.5 standard deviations: 5e-4
    variances = np.broadcast_to(np.squeeze(marginal.covariances_), 3)
    for k, line in enumerate(parts):
        expected = norm.pdf(x, marginal.means_[k, 0], np.sqrt(variances[k]))
        assert np.allclose(line.get_ydata(), model.weights_[k] * expected, rtol=1e-9)
    heights = [bar.get_height() * bar.get_width() for bar in ax.patches]
    assert len(heights) == 20
    assert np.isclose(sum(heights), 1)


def test_a_narrow_component_is_not_lost():
    model = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [100.0]], covariances=[100, 1e-8])
    total = plot.plot_density(model).lines[-1].get_ydata()
    assert np.isclose(total.max(), 0.5 * norm.pdf(0, scale=1e-4), rtol=1e-6)


def test_missing_values_are_left_out(X):
    X[::7, 0] = np.nan
    model = GaussianMixture(2, missing="marginalize", random_state=0).fit(X)
    bars = plot.plot_density(model, X, bins=10).patches
    assert np.isclose(sum(bar.get_height() * bar.get_width() for bar in bars), 1)
    masked = plot.plot_density(model, np.ma.masked_invalid(X), bins=10).patches
    assert [bar.get_height() for bar in masked] == [bar.get_height() for bar in bars]


def test_pairs():
    X, model = three_features()
    panels = plot.plot_pairs(model, X, features=[2, 0, 1])
    assert panels.shape == (3, 3)
    order = [2, 0, 1]
    for (a, b), panel in np.ndenumerate(panels):
        assert panel.get_visible() == (a >= b)
        if a > b:
            (points,) = panel.collections
            assert np.array_equal(points.get_offsets(), X[:, [order[b], order[a]]])
            assert len(ellipses(panel)) == 3
    assert [panel.get_xlabel() for panel in panels[2]] == ["feature 2", "feature 0", "feature 1"]
    assert [panel.get_ylabel() for panel in panels[:, 0]] == ["", "feature 0", "feature 1"]
    again = plot.plot_pairs(model, X, features=[0, 1], axes=plt.figure().subplots(2, 2))
    assert again.shape == (2, 2)


def test_names_of_features():
    pandas = pytest.importorskip("pandas")
    X, _ = three_features()
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    ax = plot.plot_mixture(model, frame, features=("c", "a"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("c", "a")
    assert plot.plot_density(model, frame, "b").get_xlabel() == "b"
    with pytest.raises(ValueError, match="no feature of that name"):
        plot.plot_density(model, feature="d")


def test_responsibilities_are_sorted_by_component(model, X):
    ax = plot.plot_responsibilities(model, X)
    shown = np.asarray(ax.images[0].get_array())
    r = model.predict_proba(X)
    assert shown.shape == (2, len(X))
    assert np.array_equal(np.sort(shown[0]), np.sort(r[:, 0]))
    best = shown.argmax(axis=0)
    assert (np.diff(best) >= 0).all()
    assert (np.diff(shown[0, best == 0]) <= 0).all()


def test_at_most_20000_samples_are_drawn(model, X):
    many = np.tile(X, (80, 1))
    (points,) = plot.plot_mixture(model, many).collections
    assert len(points.get_offsets()) == 20_000


def test_a_hundred_components_have_a_hundred_colours():
    rng = np.random.default_rng(0)
    model = GaussianMixture.from_parameters(
        np.full(100, 0.01), rng.normal(size=(100, 2)), covariances=np.full((100, 2), 0.01),
        covariance_type="diag",
    )  # fmt: skip
    ax = plot.plot_mixture(model, n_std=[2])
    colours = np.array([ellipse.get_edgecolor()[:3] for ellipse in ellipses(ax)])
    assert len(np.unique(colours.round(6), axis=0)) == 100
    hues = np.sort(rgb_to_hsv(colours)[:, 0])
    assert np.diff(hues).max() < 0.025  # 100 golden-ratio steps leave no gap beyond 1 / F, F = 55
    assert ellipses(ax)[0].get_linewidth() < 1


def test_axes_are_taken_and_returned(model, X):
    for draw in (plot.plot_mixture, plot.plot_density, plot.plot_responsibilities):
        ax = plt.figure().add_subplot()
        assert draw(model, X, ax=ax) is ax


def test_bayesian_mixtures_are_drawn(X):
    model = BayesianGaussianMixture(n_components=3, random_state=0, max_iter=500).fit(X)
    assert len(ellipses(plot.plot_mixture(model, X, n_std=1))) == 3
    assert plot.plot_responsibilities(model, X).images


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, X: plot.plot_mixture(m, X, features=(0, 5)), ValueError, "features has the index 5"),
        (lambda m, X: plot.plot_mixture(m, X, features=(0,)), ValueError, "should have 2 features"),
        (lambda m, X: plot.plot_mixture(m, X, features=(1, 1)), ValueError, "twice"),
        (lambda m, X: plot.plot_mixture(m, X, n_std=(1, -2)), ValueError, "n_std should be positive"),
        (lambda m, X: plot.plot_mixture(m, X, ax="left"), TypeError, "ax should be matplotlib Axes"),
        (lambda m, X: plot.plot_density(m, X, ax=[]), TypeError, "ax should be matplotlib Axes"),
        (lambda m, X: plot.plot_mixture(m, X[:, :1]), ValueError, "X has 1 features"),
        (lambda m, X: plot.plot_mixture(m, X + np.nan), ValueError, "NaN"),
        (lambda m, X: plot.plot_mixture(X, X), TypeError, "model should be a GaussianMixture"),
        (lambda m, X: plot.plot_mixture(GaussianMixture(2), X), NotFittedError, "not fitted"),
        (lambda m, X: plot.plot_density(m, X, feature=[0, 1]), ValueError, "should have 1 feature"),
        (lambda m, X: plot.plot_pairs(m, X, [0]), ValueError, "2 to 10 features"),
        (lambda m, X: plot.plot_pairs(m, X, axes=np.empty((3, 3))), ValueError, "axes has shape"),
        (lambda m, X: plot.plot_responsibilities(m, None), ValueError, "X is None"),
        (lambda m, X: plot.plot_selection([], "cic"), ValueError, "criterion should be"),
    ],
)
def test_bad_input(model, X, call, error, message):
    with pytest.raises(error, match=message):
        call(model, X)


def test_axes_of_three_dimensions_are_refused(model, X):
    with pytest.raises(TypeError, match="two dimensions"):
        plot.plot_mixture(model, X, ax=plt.figure().add_subplot(projection="3d"))


def test_without_matplotlib(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "\.\[plot\]"'):
        plot.plot_mixture(model)
