"""What is measured: named workloads, their data and the start that all libraries share."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SCORING = ("score_samples", "predict", "predict_proba")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PATCH = 8


class Unavailable(Exception):
    """The data of a workload cannot be made here; the message says why."""


@dataclass(frozen=True)
class Workload:
    """One row of the grid.

    kind is what is timed: "em" (one EM iteration), "latency" (a fit of `iterations` iterations from
    an explicit start), one of SCORING (one call), "fit" (a whole fit with default options).
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


@dataclass(frozen=True)
class Problem:
    """The data of a workload, and a start (or, for scoring, the model)."""

    workload: Workload
    X: Array
    weights: Array
    means: Array
    covariances: Array

    @cached_property
    def precisions(self) -> Array:
        if self.workload.covariance_type in ("full", "tied"):
            return np.linalg.inv(self.covariances)
        return 1 / self.covariances


def _em(
    n: int,
    d: int,
    k: int,
    kind: str = "full",
    dtype: str = "float64",
    iterations: int = 5,
) -> Workload:
    single = "-float32" if dtype == "float32" else ""
    name = f"{n}x{d}-k{k}-{kind}{single}"
    return Workload(name, n, d, k, kind, dtype, iterations=iterations)


GRID: list[Workload] = [
    _em(1_000_000, 2, 8),
    _em(200_000, 8, 16),
    _em(200_000, 8, 16, dtype="float32"),
    _em(100_000, 16, 32),
    _em(50_000, 64, 16),
    _em(50_000, 64, 16, dtype="float32"),
    _em(10_000, 256, 8),
    _em(100_000, 8, 256, iterations=3),
    _em(100_000, 32, 64, "diag", iterations=10),
    _em(100_000, 16, 32, "tied", iterations=10),
    _em(100_000, 16, 32, "spherical", iterations=10),
    Workload("latency-1000x2-k3-full", 1_000, 2, 3, kind="latency", iterations=100),
    *(Workload(f"{kind}-100000x16-k32-full", 100_000, 16, 32, kind=kind) for kind in SCORING),
    *(
        Workload(
            f"patches-50000x64-k{k}-full",
            50_000,
            PATCH**2,
            k,
            source="patches",
            iterations=2,
        )
        for k in (32, 100, 200)
    ),
    Workload("fit-200000x8-k16-full", 200_000, 8, 16, kind="fit"),
    Workload("fit-colour-k8-full", 300_000, 3, 8, kind="fit", source="colour"),
]


def small_grid() -> list[Workload]:
    """The same rows, shrunk until all of them together take seconds."""
    shrunk: dict[tuple[str, ...], Workload] = {}
    for workload in GRID:
        w = replace(
            workload,
            n_samples=min(workload.n_samples, 2_000),
            n_features=min(workload.n_features, 5) if workload.source == "blobs" else PATCH**2,
            n_components=min(workload.n_components, 4),
            iterations=min(workload.iterations, 5),
        )
        w = replace(w, n_features=3) if w.source == "colour" else w
        shape = f"{w.n_samples}x{w.n_features}-k{w.n_components}-{w.covariance_type}-{w.dtype}"
        key = (w.kind, w.source, shape)
        shrunk.setdefault(key, replace(w, name=f"{w.kind}-{w.source}-{shape}"))
    return list(shrunk.values())


def make_problem(workload: Workload) -> Problem:
    """Data and start; the same for every library and every run."""
    rng = np.random.default_rng(20)
    makers = {"blobs": _blobs, "patches": _patches, "colour": _colours}
    X, means, full = makers[workload.source](workload, rng)
    k, d = means.shape
    full = np.broadcast_to(full, (k, d, d))
    variances = np.diagonal(full, axis1=1, axis2=2)
    covariances: dict[str, Array] = {
        "full": full,
        "tied": full.mean(axis=0),
        "diag": variances,
        "spherical": variances.mean(axis=1),
    }
    start = (np.full(k, 1 / k), means, covariances[workload.covariance_type])
    X, *start_cast = (np.ascontiguousarray(a, dtype=workload.dtype) for a in (X, *start))
    return Problem(workload, X, *start_cast)


def _blobs(w: Workload, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Overlapping Gaussians: means about 4 standard deviations apart in any dimension."""
    d, k = w.n_features, w.n_components
    means = rng.normal(scale=4 / np.sqrt(2 * d), size=(k, d))
    labels = rng.integers(k, size=w.n_samples)
    X = rng.normal(size=(w.n_samples, d))
    for component in range(k):
        factor = rng.uniform(0.7, 1.3) * np.eye(d) + 0.3 * np.tril(rng.normal(size=(d, d))) / d**0.5
        members = labels == component
        X[members] = X[members] @ factor.T + means[component]
    return X, means + rng.normal(size=(k, d)) / np.sqrt(d), 1.2 * np.eye(d)


def _patches(w: Workload, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """8 x 8 patches of two photographs in grey, their mean removed.

    That leaves rank 63, so one grey level of noise (which also undoes the rounding to whole grey
    levels, flat sky included) keeps every covariance regular. The start is a twentieth of some
    patches as means: further apart, components at outlying patches soon have fewer than 64 samples,
    and without regularisation no covariance.
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
    """The pixels of the colour image under examples/, one row each."""
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
