"""Time other libraries that use scikit-learn's mixtures, with scikit-learn's classes and with ours.

It needs these libraries beside gmm_core:

    pip install scikit-image scikit-lego rdt pyod sdmetrics skl2onnx
    python benchmarks/clients.py

Nothing in the libraries is changed. Runs of `python` and of `python -m gmm_core.patch` take turns,
so that both meet the same load. The table has the medians of CPU times with one thread, which other
processes disturb little, without those of imports. It also has the medians of a number by which the
mixtures can be compared: a mean log-likelihood, in nats per sample, or for RDT a lower bound.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np

from gmm_core import build_info


def clusters(n_samples, n_features, n_clusters):
    """Return samples of overlapping clusters, and the numbers of these."""
    rng = np.random.default_rng(0)
    labels = rng.integers(n_clusters, size=n_samples)
    X = rng.normal(size=(n_samples, n_features))
    for k in range(n_clusters):
        mean = 4 / np.sqrt(n_features) * rng.normal(size=n_features)
        mixing = rng.normal(size=(n_features, n_features)) / np.sqrt(n_features)
        X[labels == k] = mean + X[labels == k] @ mixing
    return X, labels


def scikit_image(X, labels, seed):
    """Learn a mixture of image descriptors, and compute a Fisher vector."""
    from skimage.feature import fisher_vector, learn_gmm

    model = learn_gmm(X, n_modes=16, gm_args={"covariance_type": "diag", "random_state": seed})
    fisher_vector(X, model)
    return model.score(X)


def scikit_lego(X, labels, seed):
    """Fit a mixture to each of four classes, and a detector of outliers to all samples."""
    from sklego.mixture import GMMClassifier, GMMOutlierDetector

    classifier = GMMClassifier(n_components=5, random_state=seed).fit(X, labels % 4)
    classifier.predict(X)
    detector = GMMOutlierDetector(n_components=10, random_state=seed).fit(X)
    detector.predict(X)
    return detector.gmm_.score(X)


def rdt(X, labels, seed):
    """Normalise a column of numbers by a Bayesian mixture."""
    import pandas as pd
    from rdt.transformers import ClusterBasedNormalizer

    transformer = ClusterBasedNormalizer()
    transformer.fit_transform(pd.DataFrame({"x": X[:, 0]}), "x")
    return transformer._bgm_transformer.lower_bound_ / len(X)


def pyod(X, labels, seed):
    """Fit a detector of outliers, and score the samples."""
    from pyod.models.gmm import GMM

    return GMM(n_components=8, random_state=seed).fit(X).detector_.score(X)


def sdmetrics(X, labels, seed):
    """Choose one of 30 mixtures of real data, and compare synthetic data with it."""
    import pandas as pd
    from sdmetrics.single_table import GMLogLikelihood

    np.random.seed(seed)  # noqa: NPY002 (sdmetrics draws from the global generator)
    frame = pd.DataFrame(X[: len(X) // 10]).add_prefix("x")
    return GMLogLikelihood.compute(frame[::2], frame[1::2])


def skl2onnx(X, labels, seed):
    """Fit a mixture, and convert it to ONNX."""
    from skl2onnx import to_onnx
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(10, random_state=seed).fit(X)
    to_onnx(model, X[:1])
    return model.score(X)


# What is run, and the numbers of features and of clusters in the data.
CLIENTS = {
    "scikit-image": (scikit_image, 32, 20), "scikit-lego": (scikit_lego, 8, 20),
    "rdt": (rdt, 1, 5), "pyod": (pyod, 10, 10), "sdmetrics": (sdmetrics, 6, 10),
    "skl2onnx": (skl2onnx, 10, 10),
}  # fmt: skip


def run_one(name, n, seed):
    """Print the seconds of a run, and its result. A small run before it does the imports."""
    warnings.simplefilter("ignore")  # some fits do not converge within the iterations allowed
    run, *shape = CLIENTS[name]
    run(*clusters(500, *shape), 0)
    X, labels = clusters(n, *shape)
    start = time.process_time()
    result = run(X, labels, seed)
    print(time.process_time() - start, result)


def measure(name, n, repeats):
    """Return the median times and results: with scikit-learn's classes, and with ours."""
    found = [], []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for seed in range(repeats):
        for runner, pairs in zip(([], ["-m", "gmm_core.patch"]), found, strict=True):
            command = [sys.executable, *runner, __file__, name, f"--rows={n}", f"--seed={seed}"]
            made = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
            pairs.append([float(word) for word in made.stdout.split()[-2:]])
    return [tuple(map(statistics.median, zip(*pairs, strict=True))) for pairs in found]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("clients", nargs="*", help=f"some of {', '.join(CLIENTS)}; default: all")
    parser.add_argument("--rows", type=int, default=50_000, help="number of samples")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        run_one(arguments.clients[0], arguments.rows, arguments.seed)
        sys.exit()
    print(f"{build_info()}, scikit-learn {version('scikit-learn')}")
    print("| library | scikit-learn [s] | gmm_core [s] | ratio | results |\n|---|---|---|---|---|")
    for name in arguments.clients or CLIENTS:
        theirs, ours = measure(name, arguments.rows, arguments.repeats)
        row = [f"{name} {version(name)}", f"{theirs[0]:.2f}", f"{ours[0]:.2f}",
               f"{theirs[0] / ours[0]:.1f}", f"{theirs[1]:.4f}, {ours[1]:.4f}"]  # fmt: skip
        print(f"| {' | '.join(row)} |", flush=True)
