"""Compare drawing, scoring and learning from batches with scikit-learn and with `fit`.

    python benchmarks/calls.py

One thread is timed in CPU time, as a machine may have other work. With two threads, the CPU time of
the calling thread is given: it is the time of the call, if the other thread is not slower and has a
core of its own. The calls take turns, and the figures are medians.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a waiting thread takes no CPU time
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import sklearn.mixture
from sklearn.datasets import load_sample_image, make_blobs
from small_calls import data

from gmm_core import BayesianGaussianMixture, GaussianMixture, build_info

ROUNDS = 9
K_DRAWN = 10
DRAWN = [(1_000_000, 2), (1_000_000, 10), (100_000, 64)]
SCORED = [(200_000, 8, 16), (200_000, 4, 16), (100_000, 16, 32)]
LEARNT = [(200_000, 4, 8), (200_000, 8, 16)]
IN_BATCHES = [(100_000, 4, 8), (200_000, 8, 16), (100_000, 16, 8)]

Call = Callable[[], Any]


def milliseconds(calls: dict[str, Call], clock: Callable[[], float]) -> dict[str, float]:
    """Return the median time of each call, in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = clock()
            call()
            times[name].append(1e3 * (clock() - begin))
    return {name: median(values) for name, values in times.items()}


def drawing() -> None:
    """Compare `sample` with that of scikit-learn."""
    print("\nsample, one thread: ms, and ratio to scikit-learn")
    for n, D in DRAWN:
        X = data(2_000, D, K_DRAWN)
        for covariance_type in ("full", "tied", "diag", "spherical"):
            ours = GaussianMixture(K_DRAWN, covariance_type=covariance_type, random_state=0).fit(X)
            compare(covariance_type, n, ours, ours.to_sklearn().set_params(random_state=0))
        bayesian = BayesianGaussianMixture(n_components=K_DRAWN, random_state=0).fit(X)
        theirs = sklearn.mixture.BayesianGaussianMixture(n_components=K_DRAWN, random_state=0)
        theirs.fit(X)
        compare("Bayesian", n, bayesian, theirs)


def compare(name: str, n: int, ours: Any, theirs: Any) -> None:
    """Print the times of drawing n samples from two models."""
    calls = {"ours": lambda: ours.sample(n), "theirs": lambda: theirs.sample(n)}
    t = milliseconds(calls, time.process_time)
    shape = f"{n:,} x {ours.means_.shape[1]}"
    print(f"  {shape:14} {name:10} {t['ours']:8.2f} {t['theirs']:8.2f} "
          f"{t['theirs'] / t['ours']:6.2f}")  # fmt: skip


def scoring() -> None:
    """Compare scoring with scikit-learn, and two threads with one."""
    print("\nscoring: ms of one and two threads, their ratio, and ratio of scikit-learn to one")
    for n, D, K in SCORED:
        X = data(n, D, K)
        one = GaussianMixture(K, n_threads=1, random_state=0, max_iter=5).fit(X[:20_000])
        two = one.from_parameters(
            one.weights_, one.means_, covariances=one.covariances_, n_threads=2
        )
        theirs = one.to_sklearn()
        for method in ("score_samples", "predict", "predict_proba"):
            models = {"one": one, "two": two}
            calls = {name: partial(getattr(model, method), X) for name, model in models.items()}
            t = milliseconds(calls, time.thread_time)
            t |= milliseconds({"theirs": partial(getattr(theirs, method), X)}, time.thread_time)
            print(f"  {n:,} x {D} K = {K} {method:13} {t['one']:8.2f} {t['two']:8.2f} "
                  f"{t['one'] / t['two']:6.2f} {t['theirs'] / t['one']:6.1f}")  # fmt: skip


def skipping() -> None:
    """Compare scoring that may skip pairs of samples and components with scoring that does not."""
    colours = load_sample_image("china.jpg").reshape(-1, 3)
    cases = {
        "separated": (make_blobs(100_000, 8, centers=256, random_state=0)[0], 256),
        "separated ": (make_blobs(100_000, 16, centers=32, random_state=0)[0], 32),
        "colours": (colours.astype(float), 64),
        "overlapping": (data(100_000, 8, 64), 64),
    }
    print("\nscoring, one thread: ms with skip='auto' and False, and their ratio")
    for name, (X, K) in cases.items():
        some = X[:: len(X) // 50_000]
        auto = GaussianMixture(K, n_threads=1, random_state=0, max_iter=10).fit(some)
        dense = auto.from_parameters(
            auto.weights_, auto.means_, covariances=auto.covariances_, n_threads=1, skip=False
        )
        for method in ("score_samples", "predict"):
            models = {"auto": auto, "dense": dense}
            calls = {key: partial(getattr(model, method), X) for key, model in models.items()}
            t = milliseconds(calls, time.thread_time)
            print(f"  {name:11} {len(X):,} x {X.shape[1]} K = {K} {method:13} "
                  f"{t['auto']:8.2f} {t['dense']:8.2f} {t['dense'] / t['auto']:6.2f}")  # fmt: skip


def learning() -> None:
    """Compare a row in `partial_fit` and in `fit_batches` with a row in a pass of `fit`."""

    def iterations(X: np.ndarray, K: int, run: Callable[[Any], Any]) -> Call:
        some = GaussianMixture(K, random_state=0, max_iter=1).fit(X[:20_000])
        start = {
            "weights_init": some.weights_, "means_init": some.means_,
            "precisions_init": some.precisions_,
        }  # fmt: skip
        return lambda: run(GaussianMixture(K, tol=0, max_iter=10, n_threads=1, **start))

    print("\npartial_fit, batches of 10,000, one thread: ns a row, and ratio to a pass of fit")
    for n, D, K in LEARNT:
        X = data(n, D, K)
        stream = GaussianMixture(K, n_threads=1, random_state=0).partial_fit(X[:10_000])

        def learn(X: np.ndarray = X, stream: GaussianMixture = stream) -> None:
            for at in range(0, len(X), 10_000):
                stream.partial_fit(X[at : at + 10_000])

        t = milliseconds(
            {"stream": learn, "fit": iterations(X, K, lambda m, X=X: m.fit(X))}, time.process_time
        )
        pass_ = t["fit"] / 11  # ten iterations, and an E-step for the last bound
        print(f"  {n:,} x {D} K = {K} {1e6 * t['stream'] / n:8.1f} {1e6 * pass_ / n:8.1f} "
              f"{t['stream'] / pass_:6.2f}")  # fmt: skip

    print("\nfit_batches, batches of 1,000, one thread: ms of ten iterations, and ratio to fit")
    for n, D, K in IN_BATCHES:
        X = data(n, D, K)
        batches = [X[at : at + 1_000] for at in range(0, n, 1_000)]
        t = milliseconds(
            {
                "batches": iterations(X, K, lambda m, b=batches: m.fit_batches(b)),
                "fit": iterations(X, K, lambda m, X=X: m.fit(X)),
            },
            time.process_time,
        )
        print(f"  {n:,} x {D} K = {K} {t['batches']:8.2f} {t['fit']:8.2f} "
              f"{t['batches'] / t['fit']:6.2f}")  # fmt: skip


def main() -> None:
    """Print all tables."""
    warnings.simplefilter("ignore")
    print(build_info())
    drawing()
    scoring()
    skipping()
    learning()


if __name__ == "__main__":
    main()
