"""Measure each micro-kernel alone, on one thread and on a tile of samples that stays in the cache.

The micro-kernels are built when this runs, with the flags of the package and for the instruction
set that gmm_core uses here. This needs meson, ninja, Cython and a C compiler. Each rate is divided
by that of a loop of multiply-adds on registers. The operations of a kernel are its multiplications
and its multiply-adds, which count twice. Subtractions run beside them and do not count.
"""

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
from roofline import load, measure_peak, parser_of

FEATURES = (2, 8, 16, 64, 256)


class Kernel(NamedTuple):
    """One micro-kernel.

    Attributes
    ----------
    source : str
        File in src/ that holds it.
    operations : callable or None
        Returns the number of operations for D features; None if they are not counted.
    per_matrix : bool, default=False
        Whether times and operations are those of a matrix, not of a sample.
    """

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


def build(name: str) -> ModuleType:
    """Compile one of the modules for micro.pyx in gmm_core/meson.build, and import it."""
    root = Path(__file__).resolve().parent.parent
    # A virtual environment need not be activated.
    scripts = os.path.dirname(sys.executable)
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
    """Return the median time for a sample, or for a matrix, in nanoseconds."""
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
    """Print the time of each micro-kernel, and its share of the peak."""
    parser = parser_of(__doc__, FEATURES, repeats=7)
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="kernels with this name")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    options = parser.parse_args()
    features = options.features
    level, title = load(options.isa)
    module = build(f"_micro_{level}_{'f64' if options.dtype == 'float64' else 'f32'}")
    peak = measure_peak(level, options.dtype)
    print(f"{title}, {options.dtype}")
    print(f"peak {peak:.1f} GFLOP/s; nanoseconds per sample (cholesky, invert_lower: per matrix)")
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
