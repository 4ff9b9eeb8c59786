"""Each micro-kernel alone, on a tile of samples that stays in the cache; one thread.

Built on the spot with the flags of the package (needs meson, ninja, Cython and a C compiler), for
the instruction set that gmm_core uses here. The share is of the rate of a loop of multiply-adds on
registers; a kernel's operations are its multiply-adds (two each) and multiplications. Subtractions
have a port of their own and do not count.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

FEATURES = (2, 8, 16, 64, 256)


class Kernel(NamedTuple):
    """The file in src/ that holds it; operations for a sample (or a matrix) by D, or None."""

    source: str
    operations: Callable[[int], int] | None
    per_matrix: bool = False


KERNELS = {
    "load_panel": Kernel("panel.pxd", None),
    "store_panel": Kernel("panel.pxd", None),
    "squared_distances": Kernel("tile.pxd", lambda D: 4 * 2 * D),
    "whiten": Kernel("whiten.pxd", lambda D: D * (D + 1) + 2 * D),
    "scatter": Kernel("moments.pxd", lambda D: D * (D + 1) + 2 * D),
    "weighted_moments": Kernel("moments.pxd", lambda D: 4 * D),
    "outer_products": Kernel("moments.pxd", lambda D: D * (D + 1)),
    "normalize": Kernel("tile.pxd", None),
    "exp_nonpositive": Kernel("vmath.pxd", None),
    "log_positive": Kernel("vmath.pxd", None),
    "cholesky": Kernel("linalg.pxd", lambda D: D * (D + 1) * (2 * D + 1) // 6, per_matrix=True),
    "invert_lower": Kernel("linalg.pxd", lambda D: D * (D + 1) * (2 * D + 1) // 6, per_matrix=True),
}
WITHOUT_FEATURES = ("normalize", "exp_nonpositive", "log_positive")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="kernels by name")
    parser.add_argument("--features", help="numbers with commas between")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--isa", choices=("base", "v3", "v4"), help="another instruction set")
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def build(name: str) -> ModuleType:
    """Compile one of the modules that gmm_core/meson.build names, and import it."""
    root = Path(__file__).resolve().parent.parent
    scripts = os.path.dirname(sys.executable)  # of a virtual environment, activated or not
    environment = os.environ | {"PATH": scripts + os.pathsep + os.environ["PATH"]}
    library = Path("gmm_core", name + str(sysconfig.get_config_var("EXT_SUFFIX")))
    with tempfile.TemporaryDirectory() as folder:
        for command in (["meson", "setup", folder, root], ["ninja", "-C", folder, library]):
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
        path = folder / library
        spec = importlib.util.spec_from_file_location(f"gmm_core.{name}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def measure(module: Any, kernel: str, D: int, dtype: str, repeats: int) -> float:
    """Nanoseconds for a sample, or for a matrix; the median."""
    samples, scratch_size, _ = module.sizes(D)
    rng = np.random.default_rng(D)
    X = rng.normal(size=samples * D).astype(dtype)
    weight = rng.uniform(0.01, 1, samples).astype(dtype)
    points = rng.normal(size=4 * D + D * (D + 1) // 2).astype(dtype)
    matrix = np.eye(D) + np.full((D, D), 0.01)
    arrays = (X, X.copy(), weight, points, np.empty_like(X), matrix, np.zeros(4 * D * D))
    scratch = np.zeros(scratch_size, dtype)
    rounds, seconds = 1, 0.0
    while seconds < 2e-3:
        rounds *= 2
        seconds = module.run(kernel, *arrays, scratch, rounds)
    times = [module.run(kernel, *arrays, scratch, rounds) for _ in range(repeats)]
    return 1e9 * median(times) / rounds / (1 if KERNELS[kernel].per_matrix else samples)


def main() -> None:
    options = parse()
    if options.isa:
        os.environ["GMM_CORE_ISA"] = options.isa
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from roofline import measure_peak
    from versus import refuse_editable

    refuse_editable()
    import gmm_core

    info = gmm_core.build_info()
    level = str(info["isa"])
    module = build(f"_micro_{level}_{'f64' if options.dtype == 'float64' else 'f32'}")
    peak = measure_peak(level, options.dtype)
    features = tuple(map(int, options.features.split(","))) if options.features else FEATURES
    print(f"gmm_core {gmm_core.__version__}, {info['compiler']}, kernels {level}, {options.dtype}")
    print(f"peak {peak:.1f} GFLOP/s; nanoseconds a sample (cholesky, invert_lower: a matrix)")
    print(f"{'':30}" + "".join(f"{f'D = {D}':>18}" for D in features))
    for name, kernel in KERNELS.items():
        if options.only not in name:
            continue
        cells = []
        for D in features[:1] if name in WITHOUT_FEATURES else features:
            dtype = "float64" if kernel.per_matrix else options.dtype
            time = measure(module, name, D, options.dtype, options.repeats)
            share = "-"
            if kernel.operations is not None and dtype == options.dtype:
                share = f"{kernel.operations(D) / time / peak:.0%}"
            cells.append(f"{time:12.2f} {share:>5}")
        print(f"{kernel.source:12}{name:18}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
