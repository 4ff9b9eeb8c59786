"""Draw samples and the components of a mixture, for the other scripts of this folder."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse


def draw_mixture(axes: Axes, X: np.ndarray, model: Any) -> None:
    """Draw an ellipse of two standard deviations for each component, the darker the heavier."""
    axes.plot(*X.T, ".", color="0.6", markersize=2)
    for weight, mean, covariance in zip(
        model.weights_, model.means_, model.covariances_, strict=True
    ):
        variances, directions = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(directions[1, 1], directions[0, 1]))
        height, width = 4 * np.sqrt(variances)
        axes.add_patch(
            Ellipse(mean, width, height, angle=angle, color="C0", alpha=min(1, 0.03 + 1.5 * weight))
        )
    axes.set(xticks=[], yticks=[])
