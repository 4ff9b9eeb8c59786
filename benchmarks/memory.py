"""Peak memory of one library on one workload, in a process of its own.

The process imports the library, loads the data and the start from a file, runs a fit of almost
nothing (so that what is loaded lazily is loaded), notes its resident size, does the work once, and
reports how much higher its resident size has been meanwhile.

On Linux the figure is VmHWM of /proc/self/status, reset just before the work: the ru_maxrss of
`getrusage` starts at the size of the parent process, and cannot be reset.
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

PROC = Path("/proc/self")
TIMEOUT = 300


def measure_peak_mb(name: str, problem: Problem, n_threads: int) -> float | None:
    """Peak beyond the data in 10⁶ bytes; None where the process failed or took too long."""
    with tempfile.TemporaryDirectory() as directory:
        for field in ("X", "weights", "means", "covariances"):
            np.save(Path(directory) / f"{field}.npy", getattr(problem, field))
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
    """Bytes now, and the most so far."""
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
    peer = PEERS[name](n_threads)
    workload = Workload(**json.loads((directory / "workload.json").read_text()))
    fields = ("X", "weights", "means", "covariances")
    problem = Problem(workload, *(np.load(directory / f"{field}.npy") for field in fields))
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
