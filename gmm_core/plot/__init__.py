"""Pictures of mixtures: ellipses, pairs of features, densities, responsibilities, criteria.

Each function draws on the Axes that it is given, or else in a new figure of pyplot, and returns the
Axes. All of them need matplotlib, which is imported when they are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gmm_core.plot.parts import (
    FEW,
    axes_of,
    check_sizes,
    draw_density,
    draw_ellipses,
    features_drawn,
    grid_of,
    parameters,
    rows_drawn,
    scatter,
)

MAX_PAIRS = 10  # features of `plot_pairs`, which has a panel for each pair of them
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
    drawn = parameters(model)
    i, j = chosen = features_drawn(model, features, 2)
    check_sizes(n_std)
    rows = rows_drawn(model, X)
    ax = axes_of(ax)
    if rows is not None:
        scatter(ax, rows, chosen, drawn)
    draw_ellipses(ax, drawn, chosen, n_std, annotate)
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
    drawn = parameters(model)
    (d,) = features_drawn(model, feature, 1)
    rows = rows_drawn(model, X, label=False)
    ax = axes_of(ax)
    draw_density(ax, drawn, int(d), None if rows is None else rows.X, bins)
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
    >>> gm = GaussianMixture.from_parameters([1.0], [[0.0, 1, 2]], covariances=[[1.0, 2, 3]])
    >>> plot_pairs(gm).shape
    (3, 3)
    """
    require_matplotlib()
    drawn = parameters(model)
    chosen = features_drawn(model, range(len(drawn.names)) if features is None else features, None)
    q = len(chosen)
    if not 2 <= q <= MAX_PAIRS:
        raise ValueError(
            f"features should have 2 to {MAX_PAIRS} features, but has {q}; expected a few of them, "
            "such as features=[0, 1, 2]"
        )
    check_sizes(n_std)
    rows = rows_drawn(model, X)
    panels = grid_of(axes, q)
    for (a, b), panel in np.ndenumerate(panels):
        if a == b:
            draw_density(panel, drawn, int(chosen[a]), None if rows is None else rows.X, "auto")
            panel.set_yticks([])
        elif a > b:
            pair = chosen[[b, a]]
            if rows is not None:
                scatter(panel, rows, pair, drawn)
            draw_ellipses(panel, drawn, pair, n_std, annotate=False)
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
    rows = rows_drawn(model, X)
    if rows is None:
        raise ValueError("X is None, expected samples of shape (n_samples, n_features)")
    r = np.asarray(model.predict_proba(rows.given))
    order = np.lexsort([-r.max(axis=1), rows.labels])
    ax = axes_of(ax)
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
    ax = axes_of(ax)
    names = list(dict.fromkeys(row.covariance_type for row in table))
    for i, name in enumerate(names):
        rows = [row for row in table if row.covariance_type == name]
        rows.sort(key=lambda row: row.n_components)
        counts = [row.n_components for row in rows]
        values = [getattr(row, criterion) for row in rows]
        marker = _MARKERS[i % len(_MARKERS)]
        style = {"linestyle": "-" if i < FEW else "--", "marker": marker, "markersize": 4.5}
        (line,) = ax.plot(counts, values, label=name, **style)
        colour = line.get_color()
        inside = [ax.get_facecolor() if row.collapsed else colour for row in rows]
        ax.scatter(counts, values, 20, inside, marker=marker, edgecolors=colour, zorder=3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("components")
    ax.set_ylabel(criterion.upper())
    ax.legend(fontsize="small")
    return ax
