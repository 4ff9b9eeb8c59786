"""Pictures of mixtures: ellipses, pairs of features, densities, responsibilities, criteria.

Each function draws on the Axes that it is given, or else in a new figure of pyplot, and returns the
Axes. All of them need matplotlib, which is imported when they are called.
"""

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
MAX_PAIRS = 10  # features of `plot_pairs`, which has a panel for each pair of them
_FEW = 10  # up to this number of components, each has a colour of matplotlib's cycle
_MARKERS = "osD^v<>PX*ph8d"


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises
    ------
    ImportError
        If it is not. The message tells how to install it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(
            "a plot needs matplotlib, which is not installed; "
            'in a clone of gmm_core: pip install ".[plot]"'
        ) from None


def plot_mixture(
    model: Any,
    X: Any = None,
    features: Any = (0, 1),
    *,
    n_std: Sequence[float] = (1.0, 2.0),
    annotate: bool = True,
    ax: Any = None,
) -> Any:
    """Draw the components as ellipses in the plane of two features.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model with at least two features.
    X : array-like of shape (n_samples, n_features), default=None
        Samples that are drawn as points, in the colour of the component that `predict` finds. Noise
        is grey. Of more than 20,000, a random selection of 20,000 is drawn.
    features : pair of int or str, default=(0, 1)
        Indices or names of the features of the two axes.
    n_std : sequence of float, default=(1, 2)
        Sizes of the ellipses, in standard deviations. Those of the marginal distribution of the
        two features at 1, 2 and 3 contain 39 %, 86 % and 99 % of a component.
    annotate : bool, default=True
        Whether the number of each component stands at its mean.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError
        If the model is not fitted.
    ValueError, TypeError
        If there are no such features, or if `X`, `n_std` or `ax` is not what it has to be.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from gmm_core import GaussianMixture
    >>> from gmm_core.plot import plot_mixture
    >>> X = [[0.0, 1], [1, 3], [2, 2], [10, 1], [11, 3], [12, 2]]
    >>> gm = GaussianMixture(2, random_state=0).fit(X)
    >>> plot_mixture(gm, X).get_xlabel()
    'feature 0'
    """
    require_matplotlib()
    drawn = _parameters(model)
    i, j = chosen = _features(model, features, 2)
    _check_sizes(n_std)
    rows = _rows(model, X)
    ax = _axes(ax)
    if rows is not None:
        _scatter(ax, rows, chosen, drawn)
    _draw_ellipses(ax, drawn, chosen, n_std, annotate)
    ax.set_xlabel(drawn.names[i])
    ax.set_ylabel(drawn.names[j])
    return ax


def plot_density(
    model: Any, X: Any = None, feature: Any = 0, *, bins: Any = "auto", ax: Any = None
) -> Any:
    """Draw the density of one feature, and the components that it is the sum of.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model. A noise component is not drawn, and the density is then that of the others.
    X : array-like of shape (n_samples, n_features), default=None
        Samples, of which a histogram is drawn behind the density. Missing values are left out.
    feature : int or str, default=0
        Index or name of the feature.
    bins : int, str or sequence, default='auto'
        The bins of the histogram; see `numpy.histogram_bin_edges`.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError
        If the model is not fitted.
    ValueError, TypeError
        If there is no such feature, or if `X`, `bins` or `ax` is not what it has to be.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from gmm_core import GaussianMixture
    >>> from gmm_core.plot import plot_density
    >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], covariances=[1.0, 1.0])
    >>> plot_density(gm).get_ylabel()
    'density'
    """
    require_matplotlib()
    drawn = _parameters(model)
    (d,) = _features(model, feature, 1)
    rows = _rows(model, X, label=False)
    ax = _axes(ax)
    _draw_density(ax, drawn, int(d), None if rows is None else rows.X, bins)
    ax.set_xlabel(drawn.names[d])
    ax.set_ylabel("density")
    return ax


def plot_pairs(
    model: Any,
    X: Any = None,
    features: Any = None,
    *,
    n_std: Sequence[float] = (2.0,),
    axes: Any = None,
) -> Any:
    """Draw each pair of features: ellipses below the diagonal, densities on it.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    X : array-like of shape (n_samples, n_features), default=None
        Samples; see `plot_mixture` and `plot_density`.
    features : sequence of int or str, default=None
        Indices or names of two features or more, at most 10. None stands for all.
    n_std : sequence of float, default=(2,)
        Sizes of the ellipses, in standard deviations.
    axes : ndarray of Axes of shape (q, q), default=None
        Where to draw q features; by default in a new figure.

    Returns
    -------
    ndarray of Axes of shape (q, q)
        Those above the diagonal are not visible.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError
        If the model is not fitted.
    ValueError, TypeError
        If there are no such features, fewer than 2 or more than 10, or if `X`, `n_std` or `axes` is
        not what it has to be.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from gmm_core import GaussianMixture
    >>> from gmm_core.plot import plot_pairs
    >>> gm = GaussianMixture.from_parameters([1.0], [[0.0, 1.0, 2.0]], covariances=[[1.0, 2.0, 3.0]])
    >>> plot_pairs(gm).shape
    (3, 3)
    """
    require_matplotlib()
    drawn = _parameters(model)
    chosen = _features(model, range(len(drawn.names)) if features is None else features, None)
    q = len(chosen)
    if not 2 <= q <= MAX_PAIRS:
        raise ValueError(
            f"features should have 2 to {MAX_PAIRS} features, but has {q}; expected a few of them, "
            "such as features=[0, 1, 2]"
        )
    _check_sizes(n_std)
    rows = _rows(model, X)
    panels = _grid(axes, q)
    for (a, b), panel in np.ndenumerate(panels):
        if a == b:
            _draw_density(panel, drawn, int(chosen[a]), None if rows is None else rows.X, "auto")
            panel.set_yticks([])
        elif a > b:
            pair = chosen[[b, a]]
            if rows is not None:
                _scatter(panel, rows, pair, drawn)
            _draw_ellipses(panel, drawn, pair, n_std, annotate=False)
        else:
            panel.set_visible(False)
        if a == q - 1:
            panel.set_xlabel(drawn.names[chosen[b]])
        elif a >= b:
            panel.tick_params(labelbottom=False)
        if b == 0 < a:
            panel.set_ylabel(drawn.names[chosen[a]])
        elif a > b:
            panel.tick_params(labelleft=False)
    return panels


def plot_responsibilities(model: Any, X: Any, *, ax: Any = None) -> Any:
    """Draw the responsibilities of the components for samples as an image.

    The samples are in the order of their component, and within it by falling responsibility, so
    that samples between two components are at the end of each block.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    X : array-like of shape (n_samples, n_features)
        Samples. Of more than 20,000, a random selection of 20,000 is drawn.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError
        If the model is not fitted.
    ValueError, TypeError
        If `X` or `ax` is not what it has to be.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from gmm_core import GaussianMixture
    >>> from gmm_core.plot import plot_responsibilities
    >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], covariances=[1.0, 1.0])
    >>> plot_responsibilities(gm, [[0.0], [4.0], [2.0]]).images[0].get_array().round(2).tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    """
    require_matplotlib()
    rows = _rows(model, X)
    if rows is None:
        raise ValueError("X is None, expected samples of shape (n_samples, n_features)")
    r = np.asarray(model.predict_proba(rows.given))
    order = np.lexsort([-r.max(axis=1), rows.labels])
    ax = _axes(ax)
    image = ax.imshow(
        r[order].T, aspect="auto", interpolation_stage="data", cmap="Blues", vmin=0, vmax=1
    )
    ax.figure.colorbar(image, ax=ax, label="responsibility")
    ax.set_xlabel("samples, in the order of their component")
    ax.set_ylabel("component")
    ax.yaxis.get_major_locator().set_params(integer=True)
    return ax


def plot_selection(table: Sequence[Any], criterion: str, ax: Any = None) -> Any:
    """Draw a criterion against the number of components, with a line for each covariance type.

    An open marker is a fit with collapsed components. A fit that failed leaves a gap.

    Parameters
    ----------
    table : list of Row
        The table of a `Selection`.
    criterion : {'bic', 'aic', 'icl'}
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError, TypeError
        If `criterion` or `ax` is not what it has to be.
    """
    require_matplotlib()
    if criterion not in ("bic", "aic", "icl"):
        raise ValueError(f"criterion should be 'bic', 'aic' or 'icl', but got {criterion!r}")
    ax = _axes(ax)
    names = list(dict.fromkeys(row.covariance_type for row in table))
    for i, name in enumerate(names):
        rows = [row for row in table if row.covariance_type == name]
        rows.sort(key=lambda row: row.n_components)
        counts = [row.n_components for row in rows]
        values = [getattr(row, criterion) for row in rows]
        marker = _MARKERS[i % len(_MARKERS)]
        style = {"linestyle": "-" if i < _FEW else "--", "marker": marker, "markersize": 4.5}
        (line,) = ax.plot(counts, values, label=name, **style)
        colour = line.get_color()
        inside = [ax.get_facecolor() if row.collapsed else colour for row in rows]
        ax.scatter(counts, values, 20, inside, marker=marker, edgecolors=colour, zorder=3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("components")
    ax.set_ylabel(criterion.upper())
    ax.legend(fontsize="small")
    return ax


# --- what is drawn ------------------------------------------------------------------------------


class _Drawn(NamedTuple):
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


class _Rows(NamedTuple):
    """The samples to draw: as they were given, as numbers, and their labels."""

    given: Any
    X: Float64Array
    labels: Indices


def _parameters(model: Any) -> _Drawn:
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
    return _Drawn(
        np.asarray(model.weights_, np.float64), means, covariances,
        [f"feature {d}" for d in range(D)] if names is None else [str(name) for name in names],
        _colours(K), 1.6 if K <= _FEW else 0.9,
    )  # fmt: skip


def _colours(n_components: int) -> list[Any]:
    """Return a colour for each component, of which neighbours in the list differ clearly."""
    if n_components <= _FEW:
        return [f"C{k}" for k in range(n_components)]
    from matplotlib.colors import hsv_to_rgb

    k = np.arange(n_components)
    # Multiples of the golden ratio are spread evenly over the hues, however many there are.
    hue, value = k * (np.sqrt(5) - 1) / 2 % 1, np.array([0.85, 0.6, 0.72])[k % 3]
    return list(hsv_to_rgb(np.stack([hue, np.full(n_components, 0.75), value], axis=1)))


def _features(model: Any, features: Any, number: int | None) -> Indices:
    """Return the indices of features, and check their number."""
    names: Names | None = getattr(model, "feature_names_in_", None)
    chosen = features_of(features, np.shape(model.means_)[1], names)
    if number is not None and len(chosen) != number:
        noun = "feature" if number == 1 else "features"
        raise ValueError(
            f"features should have {number} {noun}, but has {len(chosen)}: {features!r}"
        )
    return chosen


def _rows(model: Any, X: Any, label: bool = True) -> _Rows | None:
    """Check samples, and return at most `MAX_POINTS` of them with their labels."""
    if X is None:
        return None
    if np.ma.isMaskedArray(X):
        X = X.astype(np.float64).filled(np.nan)
    is_frame = hasattr(X, "columns")
    X = X if is_frame else np.asarray(X)
    if len(X) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(len(X), MAX_POINTS, replace=False))
        X = (X.iloc if hasattr(X, "iloc") else X)[chosen]
    labels = model.predict(X) if label else model.score_samples(X)  # both check the samples
    return _Rows(X, np.asarray(X, np.float64), labels)


def _check_sizes(n_std: Any) -> None:
    """Raise ValueError unless the sizes of ellipses are positive numbers."""
    sizes = np.atleast_1d(np.asarray(n_std, np.float64))
    if sizes.ndim != 1 or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(f"n_std should be positive numbers, but got {n_std!r}")


def _axes(ax: Any) -> Any:
    """Check the Axes, or make new ones."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.figure(layout="constrained").add_subplot()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes) or hasattr(ax, "get_zlim"):
        raise TypeError(f"ax should be matplotlib Axes of two dimensions, but got {ax!r}")
    return ax


def _grid(axes: Any, q: int) -> npt.NDArray[np.object_]:
    """Check a grid of Axes, or make a new one."""
    if axes is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(2.2 * q + 0.6, 2.2 * q + 0.4), layout="constrained")
        axes = figure.subplots(q, q, sharex="col", squeeze=False)
    panels = np.asarray(axes, object)
    if panels.shape != (q, q):
        raise ValueError(f"axes has shape {panels.shape}, expected {(q, q)} for {q} features")
    for panel in panels.flat:
        _axes(panel)
    return panels


def _scatter(ax: Any, rows: _Rows, pair: Indices, drawn: _Drawn) -> None:
    """Draw the samples as points in the colours of their components."""
    from matplotlib.colors import to_rgba_array

    X = rows.X[:, pair]
    colours = to_rgba_array([*drawn.colours, "grey"])[rows.labels]  # -1, the noise, is the last
    size = float(np.clip(8000 / len(X), 1.5, 14))
    ax.scatter(X[:, 0], X[:, 1], s=size, c=colours, alpha=0.5, linewidths=0)


def _draw_ellipses(
    ax: Any, drawn: _Drawn, pair: Indices, n_std: Sequence[float], annotate: bool
) -> None:
    """Draw the components as ellipses; see `plot_mixture`."""
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import withStroke

    many = len(drawn.weights) > _FEW
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


def _draw_density(ax: Any, drawn: _Drawn, d: int, X: Float64Array | None, bins: Any) -> None:
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
