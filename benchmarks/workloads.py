"""Define the workloads: their names, their data and the start that all libraries share."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from bench import covariances_of
from numpy.typing import NDArray

from gmm_core import GaussianMixture

Array = NDArray[Any]
SCORING = ("score_samples", "predict", "predict_proba")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PATCH = 8


class Unavailable(Exception):
    """The data of a workload cannot be made here; the message says why."""


@dataclass(frozen=True)
class Workload:
    """One row of the grid.

    Attributes
    ----------
    name : str
        Name of the row.
    n_samples, n_features, n_components : int
        Sizes.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        Shape of the covariances.
    dtype : {'float64', 'float32'}, default='float64'
        Type of the data.
    kind : {'em', 'latency', 'score_samples', 'predict', 'predict_proba', 'fit', 'skip'}, \
            default='em'
        What is timed: an EM iteration, a fit of `iterations` iterations from an explicit start, one
        call of a scoring method, a whole fit with default options, or an EM iteration after the
        first five, with and without skipping.
    source : {'blobs', 'separated', 'patches', 'colour', 'digits'}, default='blobs'
        Where the data come from.
    iterations : int, default=5
        Number of EM iterations.
    reg_covar : float, default=0
        Regularisation of the covariances, for rows of the kind 'skip' only.
    """

    name: str
    n_samples: int
    n_features: int
    n_components: int
    covariance_type: str = "full"
    dtype: str = "float64"
    kind: str = "em"
    source: str = "blobs"
    iterations: int = 5
    reg_covar: float = 0.0


@dataclass(frozen=True)
class Problem:
    """The data of a workload, and the start of a fit, or the model for scoring."""

    workload: Workload
    X: Array
    weights: Array
    means: Array
    covariances: Array

    @cached_property
    def precisions(self) -> Array:
        """Inverses of the covariances, in the shape of their type."""
        model = GaussianMixture.from_parameters(
            self.weights,
            self.means,
            covariances=self.covariances,
            covariance_type=self.workload.covariance_type,
        )
        return np.asarray(model.precisions_)


def _em(
    n: int, d: int, k: int, kind: str = "full", dtype: str = "float64", iterations: int = 5
) -> Workload:
    """Return a row that measures an EM iteration, with a name made of its sizes."""
    single = "-float32" if dtype == "float32" else ""
    name = f"{n}x{d}-k{k}-{kind}{single}"
    return Workload(name, n, d, k, kind, dtype, iterations=iterations)


def _skip(source: str, n: int, d: int, k: int, iterations: int = 10) -> Workload:
    """Return a row that compares EM with and without skipping, on data that are not blobs."""
    name = f"skip-{source}-{n}x{d}-k{k}"
    kind = "skip"
    return Workload(
        name, n, d, k, kind=kind, source=source, iterations=iterations, reg_covar=1e-6
    )


GRID: list[Workload] = [
    _em(1_000_000, 2, 8),
    _em(200_000, 8, 16),
    _em(200_000, 8, 16, dtype="float32"),
    _em(100_000, 16, 32),
    _em(50_000, 64, 16),
    _em(50_000, 64, 16, dtype="float32"),
    _em(10_000, 256, 8),
    *(_em(5_000, d, 4, iterations=1) for d in (512, 1024, 2000)),
    _em(100_000, 8, 256, iterations=3),
    _em(100_000, 32, 64, "diag", iterations=10),
    _em(100_000, 16, 32, "tied", iterations=10),
    _em(100_000, 4, 256, "tied", iterations=3),
    _em(100_000, 16, 32, "spherical", iterations=10),
    Workload("latency-1000x2-k3-full", 1_000, 2, 3, kind="latency", iterations=100),
    *(Workload(f"{kind}-100000x16-k32-full", 100_000, 16, 32, kind=kind) for kind in SCORING),
    *(
        Workload(f"patches-50000x64-k{k}-full", 50_000, PATCH**2, k, source="patches", iterations=2)
        for k in (32, 100, 200)
    ),
    Workload("fit-200000x8-k16-full", 200_000, 8, 16, kind="fit"),
    Workload("fit-colour-k8-full", 300_000, 3, 8, kind="fit", source="colour"),
    _skip("separated", 100_000, 8, 256),
    _skip("separated", 100_000, 16, 32, 20),
    _skip("separated", 200_000, 8, 16, 20),
    _skip("separated", 100_000, 2, 50, 20),
    _skip("colour", 273_280, 3, 64),
    _skip("patches", 50_000, PATCH**2, 100),
    _skip("patches", 50_000, PATCH**2, 200),
    _skip("digits", 1_797, 20, 10, 50),
]


def small_grid() -> list[Workload]:
    """Return the same rows at tiny sizes, so that all of them together take seconds."""
    shrunk: dict[tuple[str, ...], Workload] = {}
    for workload in GRID:
        drawn = workload.source in ("blobs", "separated")
        skips = workload.kind == "skip"  # which needs a pass of a fifth of a millisecond
        w = replace(
            workload,
            n_samples=min(workload.n_samples, 10_000 if skips else 2_000),
            n_features=min(workload.n_features, 5) if drawn else workload.n_features,
            n_components=min(workload.n_components, 16 if skips else 4),
            iterations=min(workload.iterations, 5),
        )
        shape = f"{w.n_samples}x{w.n_features}-k{w.n_components}-{w.covariance_type}-{w.dtype}"
        key = (w.kind, w.source, shape)
        shrunk.setdefault(key, replace(w, name=f"{w.kind}-{w.source}-{shape}"))
    return list(shrunk.values())


def make_problem(workload: Workload) -> Problem:
    """Return data and start, which are the same for every library and in every run."""
    rng = np.random.default_rng(20)
    makers = {
        "blobs": _blobs,
        "separated": _separated,
        "patches": _patches,
        "colour": _colours,
        "digits": _digits,
    }
    X, means, full = makers[workload.source](workload, rng)
    k, d = means.shape
    covariances = covariances_of(workload.covariance_type, np.broadcast_to(full, (k, d, d)))
    start = (np.full(k, 1 / k), means, covariances)
    if workload.kind == "skip":
        start = _default_start(workload, X)
    X, *start_cast = (np.ascontiguousarray(a, dtype=workload.dtype) for a in (X, *start))
    return Problem(workload, X, *start_cast)


def _blobs(w: Workload, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw overlapping Gaussians, whose means are about 4 standard deviations apart."""
    d, k = w.n_features, w.n_components
    means = rng.normal(scale=4 / np.sqrt(2 * d), size=(k, d))
    labels = rng.integers(k, size=w.n_samples)
    X = rng.normal(size=(w.n_samples, d))
    for component in range(k):
        factor = rng.uniform(0.7, 1.3) * np.eye(d) + 0.3 * np.tril(rng.normal(size=(d, d))) / d**0.5
        members = labels == component
        X[members] = X[members] @ factor.T + means[component]
    return X, means + rng.normal(size=(k, d)) / np.sqrt(d), 1.2 * np.eye(d)


def _default_start(w: Workload, X: Array) -> tuple[Array, Array, Array]:
    """Return the start that a fit with default options finds, by k-means."""
    model = GaussianMixture(
        w.n_components,
        covariance_type=w.covariance_type,
        reg_covar=w.reg_covar,
        max_iter=0,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    return model.weights_, model.means_, model.covariances_


def _separated(w: Workload, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw what `sklearn.datasets.make_blobs` draws: standard Gaussians in a cube of side 20."""
    means = rng.uniform(-10, 10, size=(w.n_components, w.n_features))
    X = rng.normal(size=(w.n_samples, w.n_features)) + means[np.arange(w.n_samples) % len(means)]
    rng.shuffle(X)
    return X, means, np.eye(w.n_features)


def _digits(w: Workload, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Load the 8 x 8 digits, and project them on their principal components."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise Unavailable(f"the digits come with scikit-learn: {error}") from None
    images = load_digits().data
    centred = images - images.mean(axis=0)
    X = centred @ np.linalg.svd(centred, full_matrices=False)[2][: w.n_features].T
    start = rng.choice(len(X), w.n_components, replace=False)
    return X, X[start], np.cov(X, rowvar=False)


def _patches(w: Workload, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Cut 8 x 8 patches from two grey photographs, and subtract the mean of each.

    The patches have rank 63. One grey level of noise keeps every covariance regular, also where a
    patch shows nothing but sky. The means of the start are some patches divided by 20. With means
    that are further apart, components at outlying patches soon have fewer than 64 samples, and
    without regularisation no covariance.
    """
    try:
        from sklearn.datasets import load_sample_image

        images = [load_sample_image(f"{name}.jpg") for name in ("china", "flower")]
    except ImportError as error:
        raise Unavailable(f"the photographs come with scikit-learn and Pillow: {error}") from None
    rows = []
    for image in images:
        grey = image @ np.array([0.299, 0.587, 0.114]) / 255
        windows = np.lib.stride_tricks.sliding_window_view(grey, (PATCH, PATCH))
        all_patches = windows.reshape(-1, PATCH**2)
        rows.append(all_patches[rng.choice(len(all_patches), w.n_samples // 2, replace=False)])
    X = np.concatenate(rows)
    X = X - X.mean(axis=1, keepdims=True) + rng.normal(scale=1 / 255, size=X.shape)
    rng.shuffle(X)
    start = rng.choice(len(X), w.n_components, replace=False)
    return X, X[start] / 20, np.cov(X, rowvar=False)


def _colours(w: Workload, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Load the pixels of the colour image in examples/, one per row."""
    for path in sorted(EXAMPLES.glob("*.np[yz]")):
        loaded = np.load(path)
        for pixels in loaded.values() if isinstance(loaded, np.lib.npyio.NpzFile) else [loaded]:
            if pixels.ndim > 1 and pixels.shape[-1] == 3:
                X = pixels.reshape(-1, 3)
                X = X / 255 if X.dtype == np.uint8 else X
                X = X[:: max(1, len(X) // w.n_samples)]
                start = rng.choice(len(X), w.n_components, replace=False)
                return X, X[start], np.cov(X, rowvar=False)
    raise Unavailable("no .npy or .npz with three columns in examples/")
