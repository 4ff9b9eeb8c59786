"""Plot a fitted mixture, as ``gmm-core fit --plot`` does. This needs matplotlib."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmm_core.mixture import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES

MAX_POINTS = 20_000  # more points would cover each other


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises
    ------
    ValueError
        If it is not. The message tells how to install it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "a plot needs matplotlib, which is not installed; "
            'in a clone of gmm_core: pip install ".[plot]"'
        ) from None


def plot_mixture(
    model: GaussianMixture,
    X: NDArray[np.bool_ | np.integer | np.floating],
    names: list[str],
    path: str,
) -> None:
    """Save a scatter plot of the first two features with an ellipse for each component.

    Parameters
    ----------
    model : GaussianMixture
        A fitted model with at least two features.
    X : ndarray of shape (n_samples, n_features)
        The samples. Of more than 20,000, a random selection of 20,000 is plotted.
    names : list of str
        Names of the features.
    path : str
        Name of the .png file to write.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    if X.shape[0] > MAX_POINTS:
        rng = np.random.default_rng(0)
        X = X[np.sort(rng.choice(X.shape[0], MAX_POINTS, replace=False))]
    labels = model.predict(X)
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    size = float(np.clip(8000 / X.shape[0], 1.5, 14))
    covariance_type = COVARIANCE_TYPES[model.covariance_type]
    n_features = model.means_.shape[1]
    noise = labels == -1
    axes.scatter(X[noise, 0], X[noise, 1], s=size, color="grey", alpha=0.5, linewidths=0)
    for k in range(len(model.weights_)):
        colour = f"C{k % 10}"
        members = labels == k
        axes.scatter(X[members, 0], X[members, 1], s=size, color=colour, alpha=0.5, linewidths=0)
        centre = (float(model.means_[k, 0]), float(model.means_[k, 1]))
        covariance = covariance_type.matrix(model.covariances_, k, n_features)
        variances, axes_of_ellipse = np.linalg.eigh(covariance[:2, :2].astype(np.float64))
        angle = float(np.degrees(np.arctan2(axes_of_ellipse[1, 1], axes_of_ellipse[0, 1])))
        for n_sd in (1, 2):
            length, width = 2 * n_sd * np.sqrt(variances[[1, 0]])
            # The white line below makes the ellipse visible on points of its own colour.
            for line, line_width in (("white", 3.0), (colour, 1.6)):
                axes.add_patch(
                    Ellipse(centre, length, width, angle=angle, fill=False,
                            edgecolor=line, linewidth=line_width)
                )  # fmt: skip
        axes.plot(*centre, marker="o", markersize=6, color=colour, markeredgecolor="white")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_title(
        f"{len(model.weights_)} components, {model.covariance_type}; ellipses at 1 and 2 sd",
        fontsize="medium",
    )
    figure.savefig(path, dpi=130)


def plot_selection(table: Sequence[Any], criterion: str, axes: Any = None) -> Any:
    """Draw a criterion against the number of components, with a line for each covariance type.

    An open marker is a fit with collapsed components. A fit that failed leaves a gap.

    Parameters
    ----------
    table : list of Row
        The table of a `Selection`.
    criterion : {'bic', 'aic', 'icl'}
    axes : matplotlib.axes.Axes, default=None
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.figure(layout="constrained").add_subplot()
    names = list(dict.fromkeys(row.covariance_type for row in table))
    for i, name in enumerate(names):
        rows = [row for row in table if row.covariance_type == name]
        rows.sort(key=lambda row: row.n_components)
        counts = [row.n_components for row in rows]
        values = [getattr(row, criterion) for row in rows]
        (line,) = axes.plot(counts, values, "-" if i < 10 else "--", label=name)
        colour = line.get_color()
        inside = [axes.get_facecolor() if row.collapsed else colour for row in rows]
        axes.scatter(counts, values, 20, inside, edgecolors=colour, zorder=3)
    axes.set_xlabel("components")
    axes.set_ylabel(criterion.upper())
    axes.legend(fontsize="small")
    return axes
