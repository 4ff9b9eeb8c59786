"""The rule for the number of threads of a call: `effective_n_threads` is the only place for it."""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING

from gmm_core._build_config import OPENMP
from gmm_core._cpu import bound_processors, max_threads

if TYPE_CHECKING:
    from pathlib import Path

_MOST_PER_CPU = 4  # more threads gain no speed, and each of them takes memory for its own sums
_in_forked_child = False


def _mark_forked_child() -> None:
    # The OpenMP runtime does not survive a fork (GNU's hangs), so a forked child uses one thread.
    global _in_forked_child
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked_child)


def _quota_in(group: Path) -> float:
    """Return how many CPUs the quota of a control group allows; infinity if it has no quota."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


@functools.cache
def _quota(proc: str | Path = "/proc/self") -> int | None:
    """Return how many CPUs the control groups of this process allow, or None if they do not say.

    A control group is also bound by the quotas of the groups that contain it. So this is the
    smallest quota (rounded up) on the way from the group of the process to the root of the mounted
    hierarchy, which may be of version 1 or 2 of control groups.
    """
    from pathlib import Path  # here, as it takes long to import

    smallest, folder_of_process = math.inf, Path(proc)
    try:
        paths = {}
        for line in (folder_of_process / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                paths["cgroup" if controllers else "cgroup2"] = Path(path)
        for line in (folder_of_process / "mountinfo").read_text().splitlines():
            mount, filesystem = line.split(" - ", 1)
            kind, _, options = filesystem.split(" ", 2)
            if kind not in paths or (kind == "cgroup" and "cpu" not in options.split(",")):
                continue
            root, mounted_at = mount.split(" ")[3:5]  # root is the group that is mounted there
            top = Path(mounted_at.replace("\\040", " "))
            own = paths[kind]
            group = top / own.relative_to(root) if own.is_relative_to(root) else top
            for folder in (group, *group.parents):
                smallest = min(smallest, _quota_in(folder))
                if folder == top:
                    break
    except (OSError, ValueError):
        return None
    return None if smallest == math.inf else max(1, math.ceil(smallest))


def available() -> int:
    """Return the number of CPUs that the affinity and the CPU quota leave to this process.

    If OpenMP binds each thread to a processor, the affinity of the calling thread is that processor
    alone. Then OpenMP is asked for the number of processors.
    """
    count = bound_processors()
    if not count and hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    count = count or os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else min(count, quota)


def effective_n_threads(n_threads: int | None = None) -> int:
    """Return the number of threads that the option `n_threads` means.

    None means one thread for each CPU that the affinity and the container's CPU quota allow, but no
    more than OMP_NUM_THREADS, if that is set, and no more than the OpenMP runtime allows in the
    calling thread (threadpoolctl sets that limit). A negative number counts back from the CPUs
    allowed: -1 means all of them, -2 all but one. A positive number is taken as it is, up to four
    threads for each CPU allowed. The result is always 1 in a build without OpenMP, and in a forked
    child.

    Parameters
    ----------
    n_threads : int or None, default=None
        Any int but 0.

    Returns
    -------
    int
        At least 1.
    """
    if not OPENMP or _in_forked_child or n_threads == 1:
        return 1
    if n_threads is None:
        limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        allowed = min(available(), max_threads())
        return min(allowed, int(limit)) if limit.isdigit() and int(limit) > 0 else allowed
    if n_threads < 0:
        return max(1, available() + 1 + n_threads)
    return max(1, min(n_threads, _MOST_PER_CPU * available()))
