"""How near EM with full covariances is to what a core can do, for 1 to 512 features; one thread.

The rate counts what symmetry and triangularity leave, 2 N K D (D + 1) operations an iteration, and
is compared with the rate of a loop of multiply-adds on registers, measured here and now (it needs a
C compiler). Below a dozen features the N K exponentials and the differences weigh as much.
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

FEATURES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 17, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
FLAGS = {"base": (16, []), "v3": (32, ["-march=x86-64-v3"]), "v4": (64, ["-march=x86-64-v4"])}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", help="numbers with commas between")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--isa", choices=list(FLAGS), help="kernels of another instruction set")
    parser.add_argument("--plot", metavar="PNG", help="write a plot (needs matplotlib)")
    return parser.parse_args()


def measure_peak(level: str, dtype: str) -> float:
    """Billions of operations a second; the best of five."""
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
    """Nanoseconds of an exponential."""
    from gmm_core import _dispatch

    kernels = _dispatch.expectation(np.dtype(dtype))
    x = np.linspace(0.1, 50, 4096, dtype=dtype)
    result, none = np.empty_like(x), np.empty(0)
    times = []
    for _ in range(200):
        begin = time.thread_time_ns()
        kernels.exp_log(x, result, none, none)
        times.append((time.thread_time_ns() - begin) / 4096)
    return min(times)


def measure_pass(D: int, dtype: str, repeats: int) -> tuple[int, int, float]:
    """Samples, components, seconds of a pass (E-step and statistics)."""
    from gmm_core.model.parameters import prepare
    from gmm_core.data.arrays import ArrayPass

    K = 16 if D <= 128 else 4
    n = int(min(400_000, 3e9 / (2 * K * D * (D + 1))))
    rng = np.random.default_rng(D)
    X = rng.normal(size=(n, D)).astype(dtype)
    factors = np.eye(D) + np.triu(rng.normal(size=(K, D, D)), 1) / D
    means = rng.normal(size=(K, D)) / np.sqrt(D)
    mixture = parameters_from(np.full(K, 1 / K), means, factors, "full")
    data: Any = ArrayPass(X, None, K, "full", 1)
    times = []
    for _ in range(repeats + 1):
        begin = time.thread_time()
        data.expectation(mixture)
        times.append(time.thread_time() - begin)
    return n, K, median(times[1:])


def main() -> None:
    options = parse()
    if options.isa:
        os.environ["GMM_CORE_ISA"] = options.isa
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from versus import refuse_editable

    refuse_editable()
    import gmm_core

    info = gmm_core.build_info()
    level = str(info["isa"])
    features = tuple(map(int, options.features.split(","))) if options.features else FEATURES
    print(f"gmm_core {gmm_core.__version__}, {info['compiler']}, kernels {level}, one thread")
    fractions: dict[str, list[float]] = {}
    rates: dict[tuple[str, int], float] = {}
    for dtype in ("float64", "float32"):
        peak, exp = measure_peak(level, dtype), exponential(dtype)
        print(f"\n{dtype}: peak {peak:.1f} GFLOP/s, exp {exp:.2f} ns")
        print("   D       N   K        ms  GFLOP/s  of peak")
        for D in features:
            n, K, seconds = measure_pass(D, dtype, options.repeats)
            rate = rates[dtype, D] = 2e-9 * n * K * D * (D + 1) / seconds
            fractions.setdefault(dtype, []).append(rate / peak)
            print(f"{D:4} {n:7} {K:3} {1e3 * seconds:9.2f} {rate:8.1f} {rate / peak:8.0%}")
            sys.stdout.flush()
        print(f"peak afterwards {measure_peak(level, dtype):.1f} GFLOP/s")
    ratios = [rates["float32", D] / rates["float64", D] for D in features]
    print(
        "\nfloat32 over float64:",
        ", ".join(f"{D}: {ratio:.2f}" for D, ratio in zip(features, ratios, strict=True)),
    )
    if options.plot:
        plot(options.plot, features, fractions)


def plot(path: str, features: tuple[int, ...], fractions: dict[str, list[float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for dtype, values in fractions.items():
        axes.plot(features, 100 * np.array(values), "o-", label=dtype)
    axes.set(xscale="log", xlabel="features", ylabel="% of peak", ylim=(0, 100))
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
    axes.get_xaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
