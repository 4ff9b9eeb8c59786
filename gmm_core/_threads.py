"""How many threads a call uses: one rule, in one function."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

from gmm_core._build_config import OPENMP
from gmm_core._cpu import max_threads

_MOST_PER_CPU = 4   # more threads only take memory: each has sums of its own
_in_forked_child = False


def _mark_forked_child() -> None:
    # The parent's OpenMP runtime does not survive a fork (GNU's hangs): no parallel section here.
    global _in_forked_child
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked_child)


@functools.cache
def _quota() -> int | None:
    """CPUs that the container's quota allows (cgroup 2, then 1), rounded up, or None."""
    root = Path("/sys/fs/cgroup")
    try:
        try:
            quota, period = (root / "cpu.max").read_text().split()
        except FileNotFoundError:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        if quota in ("max", "-1"):
            return None
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return None


def available() -> int:
    """CPUs that affinity and quota leave to this process."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else min(count, quota)


def effective_n_threads(n_threads: int | None = None) -> int:
    """Turn the `n_threads` of the user into a number of threads.

    None means what the CPU affinity and the container's CPU quota allow, and no more than
    OMP_NUM_THREADS, if that is set, or the OpenMP runtime's limit in the calling thread, which
    threadpoolctl lowers. A negative number counts back from the CPUs allowed: -1 is all of them,
    -2 all but one. A positive number is taken as it is, but for a limit of four for each CPU
    allowed. Always 1 without OpenMP, and in a forked child.

    Parameters
    ----------
    n_threads : int or None
        Not 0.

    Returns
    -------
    int
        At least 1.
    """
    if not OPENMP or _in_forked_child:
        return 1
    if n_threads is None:
        limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        allowed = min(available(), max_threads())
        return min(allowed, int(limit)) if limit.isdigit() and int(limit) > 0 else allowed
    if n_threads < 0:
        return max(1, available() + 1 + n_threads)
    return min(n_threads, _MOST_PER_CPU * available())
