"""Compare EM with full covariances with what a core can do, for 1 to 2,000 features on one thread.

An iteration counts as 2 N K D (D + 1) operations, which is what symmetric and triangular matrices
need. Its rate is divided by that of a loop of multiply-adds on registers, which is measured in the
same run (this needs a C compiler). With fewer than a dozen features, the N K exponentials and the
differences take as much time as these operations. For more than 128 features, the factors of the
precisions are measured too: a Cholesky factor and its inverse count as 2/3 D³ operations.

The last table is of samples with covariances of noise, whose E-step has a factor, a triangular
system and two products of triangles for each sample and component: N K (D³ + 4 D²) operations.
"""

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from versus import refuse_editable

FEATURES = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 17, 24, 32, 48, 64, 96, 128),
    *(192, 256, 384, 512, 768, 1024, 1536, 2000),
)
LARGE = 128     # With more features than this, the kernels work in blocks.
NOISY = {2: (100_000, 5), 5: (100_000, 10), 10: (20_000, 5), 20: (10_000, 5)}   # D: (N, K)
FLAGS = {"base": (16, []), "v3": (32, ["-march=x86-64-v3"]), "v4": (64, ["-march=x86-64-v4"])}


def parser_of(description: str, features: tuple[int, ...], repeats: int) -> argparse.ArgumentParser:
    """Return a parser with the arguments that this benchmark and micro.py have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--features",
        type=lambda text: tuple(map(int, text.split(","))),
        default=features,
        metavar="D,E",
        help="numbers of features, separated by commas",
    )
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of each measurement")
    parser.add_argument("--isa", choices=list(FLAGS), help="use kernels of this instruction set")
    return parser


def load(isa: str | None) -> tuple[str, str]:
    """Import gmm_core for one thread and an instruction set.

    Returns
    -------
    level : str
        The instruction set in use.
    title : str
        A line that tells version, compiler and instruction set.
    """
    if isa:
        os.environ["GMM_CORE_ISA"] = isa
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    refuse_editable()
    import gmm_core

    info = gmm_core.build_info()
    level = str(info["isa"])
    return level, f"gmm_core {gmm_core.__version__}, {info['compiler']}, kernels {level}"


def measure_peak(level: str, dtype: str) -> float:
    """Return the best of five rates of multiply-adds, in 10⁹ operations per second."""
    n_bytes, flags = FLAGS[level]
    real = "float" if dtype == "float32" else "double"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        source = Path(__file__).with_name("peak.c")
        options = ["-O3", "-shared", "-fPIC", "-ffp-contract=fast", *flags]
        defines = [f"-DREAL={real}", f"-DBYTES={n_bytes}"]
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, *options, *defines, source, "-o", library], check=True)
        function = ctypes.CDLL(str(library)).peak
        function.restype = ctypes.c_double
        return max(function() for _ in range(5))


def exponential(dtype: str) -> float:
    """Return the time of an exponential, in nanoseconds."""
    from gmm_core.core import dispatch

    kernels = dispatch.expectation(np.dtype(dtype))
    x = np.linspace(0.1, 50, 4096, dtype=dtype)
    result, none = np.empty_like(x), np.empty(0)
    times = []
    for _ in range(200):
        begin = time.thread_time_ns()
        kernels.exp_log(x, result, none, none)
        times.append((time.thread_time_ns() - begin) / 4096)
    return min(times)


def shapes(D: int) -> list[tuple[int, int]]:
    """Return the numbers of samples and components to measure with D features."""
    if D <= LARGE:
        return [(int(min(400_000, 3e9 / (32 * D * (D + 1)))), 16)]
    return [(5_000, 4), (3 * D // 2, 2)]


def measure_pass(
    D: int, n: int, K: int, dtype: str, repeats: int, noisy: bool = False
) -> float:
    """Return the seconds of a pass over n samples with K components."""
    from gmm_core.data.arrays import ArrayPass
    from gmm_core.data.blocks import NO_NOISE
    from gmm_core.model.parameters import prepare

    rng = np.random.default_rng(D)
    X = rng.normal(size=(n, D)).astype(dtype)
    factors = np.eye(D) + np.triu(rng.normal(size=(K, D, D)), 1) / D
    means = rng.normal(size=(K, D)) / np.sqrt(D)
    prepared = prepare(np.full(K, 1 / K), means, factors, "full")
    noise = NO_NOISE
    if noisy:
        roots = rng.normal(size=(n, D, D)) / 2
        noise = (roots @ roots.transpose(0, 2, 1)).reshape(n, D * D)
    data: Any = ArrayPass(X, None, K, "full", 1, noise=noise)
    times = []
    for _ in range(repeats + 1):
        begin = time.thread_time()
        data.accumulate(prepared)
        times.append(time.thread_time() - begin)
    return median(times[1:])


def measure_factor(D: int, repeats: int) -> float:
    """Return the seconds that the factor of the inverse of a covariance takes."""
    from gmm_core.core.dispatch import maximization

    A = np.random.default_rng(D).normal(size=(D, D))
    covariance = (A @ A.T + D * np.eye(D)).ravel()
    factor, scratch = np.empty(D * D), np.empty(maximization.scratch_size(0, 1, D))
    times = []
    for _ in range(repeats + 1):
        begin = time.thread_time()
        failed = maximization.factor(covariance, factor, scratch, 1, D, 0, 1)
        times.append(time.thread_time() - begin)
        assert failed == 0
    return median(times[1:])


def main() -> None:
    """Print the rates for each number of features."""
    parser = parser_of(__doc__, FEATURES, repeats=5)
    parser.add_argument("--plot", metavar="PNG", help="write a plot (needs matplotlib)")
    options = parser.parse_args()
    features = options.features
    level, title = load(options.isa)
    print(f"{title}, one thread")
    fractions: dict[str, list[float]] = {}
    rates: dict[tuple[str, int], float] = {}
    for dtype in ("float64", "float32"):
        peak, exp = measure_peak(level, dtype), exponential(dtype)
        print(f"\n{dtype}: peak {peak:.1f} GFLOP/s, exp {exp:.2f} ns")
        print("   D       N   K        ms  GFLOP/s  of peak")
        for D in features:
            for n, K in shapes(D):
                seconds = measure_pass(D, n, K, dtype, options.repeats)
                rate = 2e-9 * n * K * D * (D + 1) / seconds
                print(f"{D:4} {n:7} {K:3} {1e3 * seconds:9.2f} {rate:8.1f} {rate / peak:8.0%}")
                sys.stdout.flush()
                if (n, K) == shapes(D)[0]:
                    rates[dtype, D] = rate
                    fractions.setdefault(dtype, []).append(rate / peak)
            if D > LARGE and dtype == "float64":
                seconds = measure_factor(D, options.repeats)
                rate = 2e-9 / 3 * D**3 / seconds
                print(f"{D:4} {'factor':>11} {1e3 * seconds:9.2f} {rate:8.1f} {rate / peak:8.0%}")
        print(f"peak afterwards {measure_peak(level, dtype):.1f} GFLOP/s")
    print_noisy(measure_peak(level, "float64"), options.repeats)
    ratios = [rates["float32", D] / rates["float64", D] for D in features]
    print(
        "\nfloat32 over float64:",
        ", ".join(f"{D}: {ratio:.2f}" for D, ratio in zip(features, ratios, strict=True)),
    )
    if options.plot:
        plot(options.plot, features, fractions)


def print_noisy(peak: float, repeats: int) -> None:
    """Print the rates of samples with covariances of noise."""
    print(f"\nnoise, float64: peak {peak:.1f} GFLOP/s")
    print("   D       N   K        ms  GFLOP/s  of peak")
    for D, (n, K) in NOISY.items():
        seconds = measure_pass(D, n, K, "float64", repeats, noisy=True)
        rate = 1e-9 * n * K * (D**3 + 4 * D**2) / seconds
        print(f"{D:4} {n:7} {K:3} {1e3 * seconds:9.2f} {rate:8.1f} {rate / peak:8.0%}")


def plot(path: str, features: tuple[int, ...], fractions: dict[str, list[float]]) -> None:
    """Save a plot of the share of the peak for each number of features."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for dtype, values in fractions.items():
        axes.plot(features, 100 * np.array(values), "o-", label=dtype)
    axes.set(xscale="log", xlabel="features", ylabel="% of peak", ylim=(0, 100))
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2000])
    axes.get_xaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
