"""The parts of pictures: what is drawn of a model, its style, and the checks of arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gmm_core.bayesian import BayesianGaussianMixture
from gmm_core.core.types import Float64Array, Indices, Names
from gmm_core.data.features import features_of
from gmm_core.mixture import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES

MAX_POINTS = 20_000  # more points would cover each other
FEW = 10  # up to this number of components, each has a colour of matplotlib's cycle


class Drawn(NamedTuple):
    """The parameters of a model, and the style of its components.

    Attributes
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : list of ndarray of shape (D, D)
    names : list of str
        Names of the features.
    colours : list
        The colour of each component.
    width : float
        Width of lines.
    """

    weights: Float64Array
    means: Float64Array
    covariances: list[Float64Array]
    names: list[str]
    colours: list[Any]
    width: float


class Rows(NamedTuple):
    """The samples to draw: as they were given, as numbers, and their labels."""

    given: Any
    X: Float64Array
    labels: Indices


def parameters(model: Any) -> Drawn:
    """Return the parameters of a fitted model, and the style for their number."""
    if not isinstance(model, GaussianMixture | BayesianGaussianMixture):
        raise TypeError(
            "model should be a GaussianMixture or BayesianGaussianMixture, but got "
            f"{type(model).__name__}"
        )
    model._model()  # raises NotFittedError, and checks the parameters
    means = np.asarray(model.means_, np.float64)
    K, D = means.shape
    kind = COVARIANCE_TYPES[model.covariance_type]
    covariances = [kind.matrix(model.covariances_, k, D).astype(np.float64) for k in range(K)]
    names = getattr(model, "feature_names_in_", None)
    return Drawn(
        np.asarray(model.weights_, np.float64), means, covariances,
        [f"feature {d}" for d in range(D)] if names is None else [str(name) for name in names],
        _colours(K), 1.6 if K <= FEW else 0.9,
    )  # fmt: skip


def _colours(n_components: int) -> list[Any]:
    """Return a colour for each component, of which neighbours in the list differ clearly."""
    if n_components <= FEW:
        return [f"C{k}" for k in range(n_components)]
    from matplotlib.colors import hsv_to_rgb

    k = np.arange(n_components)
    # Multiples of the golden ratio are spread evenly over the hues, however many there are.
    hue, value = k * (np.sqrt(5) - 1) / 2 % 1, np.array([0.85, 0.6, 0.72])[k % 3]
    return list(hsv_to_rgb(np.stack([hue, np.full(n_components, 0.75), value], axis=1)))


def features_drawn(model: Any, features: Any, number: int | None) -> Indices:
    """Return the indices of features, and check their number."""
    names: Names | None = getattr(model, "feature_names_in_", None)
    chosen = features_of(features, np.shape(model.means_)[1], names)
    if number is not None and len(chosen) != number:
        noun = "feature" if number == 1 else "features"
        raise ValueError(
            f"features should have {number} {noun}, but has {len(chosen)}: {features!r}"
        )
    return chosen


def rows_drawn(model: Any, X: Any, label: bool = True) -> Rows | None:
    """Check samples, and return at most `MAX_POINTS` of them with their labels."""
    if X is None:
        return None
    if isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(np.float64), np.nan)
    is_frame = hasattr(X, "columns")
    X = X if is_frame else np.asarray(X)
    if len(X) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(len(X), MAX_POINTS, replace=False))
        X = (X.iloc if hasattr(X, "iloc") else X)[chosen]
    labels = model.predict(X) if label else model.score_samples(X)  # both check the samples
    return Rows(X, np.asarray(X, np.float64), labels)


def check_sizes(n_std: Any) -> None:
    """Raise ValueError unless the sizes of ellipses are positive numbers."""
    sizes = np.atleast_1d(np.asarray(n_std, np.float64))
    if sizes.ndim != 1 or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(f"n_std should be positive numbers, but got {n_std!r}")


def axes_of(ax: Any) -> Any:
    """Check the Axes, or make new ones."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.figure(layout="constrained").add_subplot()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes) or hasattr(ax, "get_zlim"):
        raise TypeError(f"ax should be matplotlib Axes of two dimensions, but got {ax!r}")
    return ax


def grid_of(axes: Any, q: int) -> npt.NDArray[np.object_]:
    """Check a grid of Axes, or make a new one."""
    if axes is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(2.2 * q + 0.6, 2.2 * q + 0.4), layout="constrained")
        axes = figure.subplots(q, q, sharex="col", squeeze=False)
    panels = np.asarray(axes, object)
    if panels.shape != (q, q):
        raise ValueError(f"axes has shape {panels.shape}, expected {(q, q)} for {q} features")
    for panel in panels.flat:
        axes_of(panel)
    return panels


def scatter(ax: Any, rows: Rows, pair: Indices, drawn: Drawn) -> None:
    """Draw the samples as points in the colours of their components."""
    from matplotlib.colors import to_rgba_array

    X = rows.X[:, pair]
    colours = to_rgba_array([*drawn.colours, "grey"])[rows.labels]  # -1, the noise, is the last
    size = float(np.clip(8000 / len(X), 1.5, 14))
    ax.scatter(X[:, 0], X[:, 1], s=size, c=colours, alpha=0.5, linewidths=0)


def draw_ellipses(
    ax: Any, drawn: Drawn, pair: Indices, n_std: Sequence[float], annotate: bool
) -> None:
    """Draw the components as ellipses; see `plot_mixture`."""
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import withStroke

    many = len(drawn.weights) > FEW
    # The outline makes an ellipse visible on points of its own colour.
    outline = [withStroke(linewidth=2 * drawn.width, foreground=ax.get_facecolor())]
    for k, covariance in enumerate(drawn.covariances):
        variances, directions = np.linalg.eigh(covariance[np.ix_(pair, pair)])
        angle = float(np.degrees(np.arctan2(directions[1, 1], directions[0, 1])))
        lengths = 2 * np.sqrt(np.maximum(variances[[1, 0]], 0))
        centre = drawn.means[k, pair]
        for size in np.atleast_1d(n_std):
            ellipse = Ellipse(
                tuple(centre), *(size * lengths), angle=angle, fill=False,
                edgecolor=drawn.colours[k], linewidth=drawn.width, path_effects=outline,
            )  # fmt: skip
            ax.add_patch(ellipse)
        if annotate:
            text = ax.annotate(
                str(k), centre, ha="center", va="center", color=drawn.colours[k],
                fontsize="xx-small" if many else "medium", fontweight="bold",
            )  # fmt: skip
            text.set_path_effects(outline)
    ax.autoscale_view()


def draw_density(ax: Any, drawn: Drawn, d: int, X: Float64Array | None, bins: Any) -> None:
    """Draw the density of a feature; see `plot_density`."""
    means = drawn.means[:, d]
    deviations = np.sqrt([covariance[d, d] for covariance in drawn.covariances])
    low, high = (means - 3.5 * deviations).min(), (means + 3.5 * deviations).max()
    if X is not None:
        values = X[:, d][np.isfinite(X[:, d])]
        ax.hist(values, bins=bins, density=True, color="grey", alpha=0.35, linewidth=0)
        low, high = min(low, values.min(initial=low)), max(high, values.max(initial=high))
    # Each component has points of its own, so that narrow ones are drawn as they are.
    around = means[:, None] + deviations[:, None] * np.linspace(-4, 4, 65)
    x = np.sort(np.concatenate([np.linspace(low, high, 256), around.ravel()]))
    x = x[(low <= x) & (x <= high)]
    z = (x - means[:, None]) / deviations[:, None]
    scale = drawn.weights / (np.sqrt(2 * np.pi) * deviations)
    parts = np.exp(-(z**2) / 2) * scale[:, None]
    if len(parts) > 1:
        for part, colour in zip(parts, drawn.colours, strict=True):
            ax.plot(x, part, color=colour, linewidth=drawn.width)
    ax.plot(x, parts.sum(axis=0), color=_ink(ax), linewidth=1.8)
    ax.set_ylim(bottom=0)


def _ink(ax: Any) -> Any:
    """Return the colour of the text of Axes, which is legible on their background."""
    return ax.xaxis.label.get_color()
