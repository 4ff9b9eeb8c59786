"""The figures of the pages. Each is drawn twice, for light and for dark pages, as SVG."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, Rectangle

from gmm_core import GaussianMixture

EXAMPLES = Path(__file__).parents[1] / "examples"
MODELS = ("EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV EVV VVV").split()
LIGHT = {"ink": "#24292f", "faint": "#6e7781", "fill": "#eaeef2", "density": "Greys"}
DARK = {"ink": "#e6edf3", "faint": "#9198a1", "fill": "#2d333b", "density": "Greys_r"}
COLOURS = ["#d1603d", "#2a7fb8", "#4f9d5d", "#8e6bbf"]


def ellipse(mean, covariance, radius=2.0, **style):
    """Return the ellipse at `radius` standard deviations from a mean."""
    variances, axes = np.linalg.eigh(covariance)
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    width, height = 2 * radius * np.sqrt(variances[::-1])
    return Ellipse(mean, width, height, angle=angle, **{"fill": False, "linewidth": 1.8, **style})


def matrices(model):
    """Return the covariances of a fitted model with two features, a matrix for each component."""
    covariances = model.covariances_
    if covariances.ndim == 1:
        return [value * np.eye(2) for value in covariances]
    if covariances.shape == (2, 2) and model.covariance_type in ("tied", "EEE"):
        return [covariances] * len(model.weights_)
    if covariances.ndim == 2:
        return [np.diag(values) for values in covariances]
    return list(covariances)


def faithful(theme):
    """Draw the eruptions of Old Faithful, two components, and the density of the mixture."""
    X = np.loadtxt(EXAMPLES / "old_faithful.csv", delimiter=",", skiprows=1)
    model = GaussianMixture(2, random_state=0).fit(X)
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    x, y = np.meshgrid(np.linspace(1.2, 5.6, 120), np.linspace(38, 100, 120))
    density = np.exp(model.score_samples(np.column_stack([x.ravel(), y.ravel()]))).reshape(x.shape)
    levels = np.linspace(0, density.max(), 10)[1:]
    axes.contourf(x, y, density, levels, cmap=theme["density"], alpha=0.35)
    labels = model.predict(X)
    for k, covariance in enumerate(matrices(model)):
        axes.plot(*X[labels == k].T, ".", color=COLOURS[k], markersize=4)
        axes.add_patch(ellipse(model.means_[k], covariance, edgecolor=COLOURS[k]))
    axes.set(xlabel="eruption (minutes)", ylabel="waiting time (minutes)")
    return figure


def types(theme):
    """Draw the ellipses of the fourteen models, fitted to the same data."""
    rng = np.random.default_rng(3)
    shapes = [([0, 0], [[1.6, 1.1], [1.1, 1.2]]), ([6, 0], [[0.5, -0.3], [-0.3, 0.4]]),
              ([3, 4], [[2.6, -0.6], [-0.6, 0.4]])]  # fmt: skip
    X = np.vstack([rng.multivariate_normal(mean, cov, 60) for mean, cov in shapes])
    figure = Figure(figsize=(8.2, 5.2), layout="constrained")
    panels = figure.subplots(3, 5, sharex=True, sharey=True).ravel()
    names = {"VII": "spherical", "VVI": "diag", "EEE": "tied", "VVV": "full"}
    for axes, name in zip(panels, MODELS, strict=False):
        model = GaussianMixture(3, covariance_type=name, random_state=0).fit(X)
        axes.plot(*X.T, ".", color=theme["faint"], markersize=1.5, alpha=0.5)
        for k, covariance in enumerate(matrices(model)):
            axes.add_patch(ellipse(model.means_[k], covariance, edgecolor=COLOURS[k]))
        axes.set_title(f"{name} ({names[name]})" if name in names else name, fontsize=10)
        axes.set(xticks=[], yticks=[], aspect="equal")
    panels[-1].axis("off")
    return figure


def canvas(width, height, size):
    """Return a figure, and axes without frame for a drawing of this width and height."""
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.01 * width, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def box(axes, x, y, width, height, text, theme, **style):
    """Draw a box with a text in it."""
    style = {"facecolor": theme["fill"], "edgecolor": theme["faint"], "linewidth": 1, **style}
    axes.add_patch(Rectangle((x, y), width, height, **style))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9.5)


def arrow(axes, start, end, theme, **style):
    """Draw an arrow."""
    style = {"color": theme["ink"], "linewidth": 1.2, **style}
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, **style))


def fused_pass(theme):
    """Draw what the textbook and the fused pass read and write."""
    figure, axes = canvas(100, 56, (8.2, 4.6))
    axes.text(0, 53, "The textbook: each step writes a matrix for the next one", fontweight="bold")
    steps = ["X\nN × D", "log-densities\nN × K", "responsibilities\nN × K", "sums\nK × D²"]
    for i, text in enumerate(steps):
        box(axes, 26 * i, 36, 20, 13, text, theme)
        if i:
            arrow(axes, (26 * i - 6, 42.5), (26 * i, 42.5), theme)
    axes.text(0, 29, "One pass: a tile of samples stays in the cache until its sums are done",
              fontweight="bold")
    for i in range(5):
        box(axes, 0, 3 + 4.4 * i, 14, 4.4, "tile" if i != 2 else "this tile", theme,
            **({"facecolor": COLOURS[1] + "55"} if i == 2 else {}))
    axes.text(7, 0, "X, N × D", ha="center", fontsize=9.5)
    axes.add_patch(Rectangle((22, 3), 52, 22, fill=False, linestyle="--", edgecolor=theme["faint"]))
    axes.text(48, 0, "in the cache", ha="center", fontsize=9.5)
    inside = ["log-\ndensities", "log-sum-exp,\nresponsibilities", "weighted\nmoments"]
    for i, text in enumerate(inside):
        box(axes, 24 + 17 * i, 8, 14, 12, text, theme, facecolor=COLOURS[1] + "55")
        if i:
            arrow(axes, (24 + 17 * i - 3, 14), (24 + 17 * i, 14), theme)
    arrow(axes, (14, 14), (24, 14), theme)
    box(axes, 82, 8, 17, 12, "sums\nK × D²", theme)
    arrow(axes, (72, 14), (82, 14), theme)
    return figure


def statistics(theme):
    """Draw how the sums of chunks are added, and what the M-step makes of them."""
    figure, axes = canvas(100, 47, (8.2, 3.8))
    threads = [0, 1, 0, 1, 1, 0]
    for i, thread in enumerate(threads):
        y = 36 - 6.4 * i
        box(axes, 0, y, 20, 5, f"chunk {i + 1}, thread {thread + 1}", theme,
            facecolor=COLOURS[thread] + "55")
        box(axes, 26, y, 11, 5, f"sums {i + 1}", theme)
        arrow(axes, (20, y + 2.5), (26, y + 2.5), theme)
        arrow(axes, (37, y + 2.5), (47, 24 - 1.2 * i + 0.8), theme)
    box(axes, 47, 11, 22, 20, "added in the\norder of chunks:\ncounts $N_k$\nfirst moments\nsecond moments",
        theme)
    arrow(axes, (69, 21), (77, 21), theme)
    box(axes, 77, 11, 22, 20, "M-step:\nweights $\\pi_k$\nmeans $\\mu_k$\ncovariances $\\Sigma_k$", theme)
    axes.text(0, 46.5, "Which thread takes a chunk does not change the order of the sums.", va="top",
              fontsize=9.5)
    return figure


def skipping(theme):
    """Draw groups of samples, the pairs that are evaluated and those that are skipped."""
    rng = np.random.default_rng(5)
    figure, axes = canvas(16, 8, (8.2, 4.1))
    axes.set_aspect("equal")
    centres = np.array([[2.6, 2.2], [8.2, 6.2], [13.2, 2.4]])
    for k, centre in enumerate(centres):
        axes.plot(*(centre + rng.normal(scale=0.62, size=(140, 2))).T, ".", markersize=2,
                  color=theme["faint"], alpha=0.6)
        for radius in (1.0, 2.0):
            axes.add_patch(ellipse(centre, 0.4 * np.eye(2), radius, edgecolor=COLOURS[k]))
        axes.text(*(centre + [0, -1.75]), f"component {k + 1}", ha="center", fontsize=9.5)
    group = centres[0] + [0.75, 0.75]
    axes.plot(*(group + rng.normal(scale=0.12, size=(16, 2))).T, ".", color=theme["ink"],
              markersize=4)
    axes.add_patch(Circle(group, 0.36, fill=False, edgecolor=theme["ink"], linewidth=1.5))
    axes.text(group[0] - 0.4, group[1] + 1.0, "a group of samples", fontsize=9.5, ha="center")
    arrow(axes, group, centres[0], theme, linewidth=1.8)
    for k, place in ((1, (2.2, 5.6)), (2, (6.6, 2.1))):
        arrow(axes, group + [0.3, 0.1], centres[k], theme, linestyle="--")
        axes.text(*place, "bound: too far, skipped", fontsize=9.5, color=theme["ink"])
    return figure


def worked_example(theme):
    """Draw the two weighted components of the worked example, and their sum."""
    model = GaussianMixture.from_parameters([0.6, 0.4], [[2.0], [5.0]], covariances=[1.0, 2.0])
    x = np.linspace(-2, 10, 400)
    density = np.exp(model.score_samples(x[:, None]))
    parts = model.predict_proba(x[:, None]) * density[:, None]
    at = float(np.exp(model.score_samples([[3.5]])[0]))
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, density, color=theme["ink"], label="p(x)")
    axes.plot(x, parts[:, 0], color=COLOURS[0], label="0.6 N(x | 2, 1)")
    axes.plot(x, parts[:, 1], color=COLOURS[1], label="0.4 N(x | 5, 2)")
    axes.vlines(3.5, 0, at, color=theme["faint"], linestyle="--")
    axes.plot(3.5, at, "o", color=theme["ink"])
    axes.annotate(f"p(3.5) = {at:.4f}", (3.5, at), (4.4, at + 0.06),
                  arrowprops={"arrowstyle": "-", "color": theme["faint"]})
    axes.set(xlabel="x", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def draw_all(folder):
    """Write all figures into a folder, for each theme, unless they are newer than this file."""
    folder.mkdir(exist_ok=True)
    for draw in (faithful, types, fused_pass, statistics, skipping, worked_example):
        for name, theme in (("light", LIGHT), ("dark", DARK)):
            path = folder / f"{draw.__name__}-{name}.svg"
            if path.exists() and path.stat().st_mtime > Path(__file__).stat().st_mtime:
                continue
            ink = theme["ink"]
            style = {"text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink,
                     "axes.edgecolor": theme["faint"], "axes.facecolor": "none",
                     "svg.hashsalt": "gmm_core", "font.size": 10}  # fmt: skip
            with rc_context(style):
                draw(theme).savefig(path, transparent=True, metadata={"Date": None})
