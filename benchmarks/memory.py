"""Measure the peak memory of one library on one workload, in a process of its own.

The process imports the library, loads the data and the start from files, and runs a tiny fit, so
that what is loaded lazily is loaded. Then it reads its resident size, does the work once, and
reports how much larger its resident size has been meanwhile.

On Linux the peak is VmHWM of /proc/self/status, which is reset just before the work. The ru_maxrss
of `getrusage`, which is used elsewhere, starts at the size of the parent process and cannot be
reset.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from libraries import PEERS
from workloads import SCORING, Problem, Workload

ARRAYS = ("X", "weights", "means", "covariances")  # of a Problem
PROC = Path("/proc/self")
TIMEOUT = 300


def measure_peak_mb(name: str, problem: Problem, n_threads: int) -> float | None:
    """Return the peak beyond the data in 10⁶ bytes, or None if the process failed or was slow."""
    with tempfile.TemporaryDirectory() as directory:
        for array in ARRAYS:
            np.save(Path(directory) / f"{array}.npy", getattr(problem, array))
        (Path(directory) / "workload.json").write_text(json.dumps(asdict(problem.workload)))
        command = [sys.executable, __file__, name, directory, str(n_threads)]
        variables = ("OMP", "OPENBLAS", "MKL", "NUMBA")
        limits = {f"{variable}_NUM_THREADS": str(n_threads) for variable in variables}
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **limits},
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        return float(done.stdout)


def _resident_and_peak() -> tuple[int, int]:
    """Return the resident size and its peak so far, in bytes."""
    status = PROC / "status"
    if not status.exists():
        scale = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
        return peak, peak
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def _reset_peak() -> None:
    if (PROC / "clear_refs").exists():
        (PROC / "clear_refs").write_text("5")


def _run(name: str, directory: Path, n_threads: int) -> float:
    """Do the work in this process, and return the growth of its memory in 10⁶ bytes."""
    peer = PEERS[name](n_threads)
    workload = Workload(**json.loads((directory / "workload.json").read_text()))
    problem = Problem(workload, *(np.load(directory / f"{array}.npy") for array in ARRAYS))
    peer.warm_up()
    call = peer.scorer(problem) if workload.kind in SCORING else None
    _reset_peak()
    before, _ = _resident_and_peak()
    if call is not None:
        call()
    elif workload.kind == "fit":
        peer.default_fit(problem, seed=0, max_iter=2)
    else:
        peer.fit(problem, n_iter=2)
    return (_resident_and_peak()[1] - before) / 1e6


if __name__ == "__main__":
    print(_run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
