"""The picture of ``gmm-core fit --plot``; needs matplotlib."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmm_core import GaussianMixture

MAX_POINTS = 20_000  # more only blacken the picture


def require_matplotlib() -> None:
    """Raise a ValueError that says how to get matplotlib if it is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "a plot needs matplotlib, which is not installed; "
            'in a clone of gmm_core: pip install ".[plot]"'
        ) from None


def plot_mixture(model: GaussianMixture, X: NDArray[Any], names: list[str], path: str) -> None:
    """Write a scatter plot of the first two features with the ellipses of the components.

    Parameters
    ----------
    model : GaussianMixture
        A fitted model with at least two features.
    X : ndarray of shape (n_samples, n_features)
        The samples; a random choice of them is drawn if they are many.
    names : list of str
        Names of the features.
    path : str
        The .png file to write.
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
    for k in range(len(model.weights_)):
        colour = f"C{k % 10}"
        members = labels == k
        axes.scatter(X[members, 0], X[members, 1], s=size, color=colour, alpha=0.5, linewidths=0)
        centre = (float(model.means_[k, 0]), float(model.means_[k, 1]))
        variances, axes_of_ellipse = np.linalg.eigh(_covariance(model, k)[:2, :2])
        angle = float(np.degrees(np.arctan2(axes_of_ellipse[1, 1], axes_of_ellipse[0, 1])))
        for n_sd in (1, 2):
            length, width = 2 * n_sd * np.sqrt(variances[[1, 0]])
            # A white line underneath keeps the ellipse visible on points of its own colour.
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


def _covariance(model: GaussianMixture, k: int) -> NDArray[Any]:
    """Return the covariance matrix of component k whatever the covariance type."""
    covariances: NDArray[Any] = np.asarray(model.covariances_, dtype=float)
    if model.covariance_type == "tied":
        return covariances
    of_k: NDArray[Any] = covariances[k]
    if model.covariance_type == "full":
        return of_k
    if model.covariance_type == "diag":
        return np.diag(of_k)
    return of_k * np.eye(model.means_.shape[1])
