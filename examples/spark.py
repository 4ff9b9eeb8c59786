"""Fit a mixture to the rows of a Spark data frame. This is a recipe to be adapted.

It was run with PySpark 4.3.0 on OpenJDK 17, NumPy 2.4.6 and Python 3.11. The executors need
gmm_core, too; the environment variable PYSPARK_PYTHON names their interpreter.
"""

from collections.abc import Iterator

import numpy as np
from pyspark.sql import SparkSession

import gmm_core
from gmm_core import GaussianMixture, Statistics

K, COLUMNS, MAX_ITER, TOL = 3, ["x", "y"], 200, 1e-6


def arrays(rows: Iterator[tuple[float, ...]]) -> Iterator[np.ndarray]:
    """Return the rows of a partition as one array, which the kernels process at once."""
    X = np.array(list(rows), dtype=np.float64)
    if len(X):
        yield X


def fit(parts, subset: np.ndarray) -> GaussianMixture:
    """Fit a mixture to an RDD of arrays, from a start that is found from a subset of the rows."""
    start = GaussianMixture(K, max_iter=0, random_state=0).fit(subset)
    current, previous = (start.weights_, start.means_, start.precisions_cholesky_), -np.inf
    for _ in range(MAX_ITER):
        sent = parts.context.broadcast(current)

        def statistics(X: np.ndarray, sent=sent) -> Statistics:
            return gmm_core.accumulate(X, *sent.value, "full", n_threads=1)

        total = parts.map(statistics).treeReduce(lambda a, b: a + b)
        sent.destroy()
        new = gmm_core.maximization_step(total)
        current = new.weights, new.means, new.precisions_cholesky
        mean = total.log_likelihood / total.weight
        if abs(mean - previous) < TOL:
            break
        previous = mean
    return GaussianMixture.from_parameters(new.weights, new.means, covariances=new.covariances)


def main() -> None:
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0], [4, 0], [0, 6]])
    X = rng.normal(size=(100_000, 2)) + centers[rng.integers(K, size=100_000)]
    table = spark.createDataFrame(X.tolist(), COLUMNS).repartition(8)
    parts = table.select(COLUMNS).rdd.mapPartitions(arrays).cache()
    mixture = fit(parts, np.array(table.select(COLUMNS).sample(0.1, seed=0).collect()))
    print(mixture.weights_, mixture.means_, mixture.score(X), sep="\n")
    spark.stop()


if __name__ == "__main__":
    main()
