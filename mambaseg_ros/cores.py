"""Cores that this process may use, and how many threads torch takes for a frame; the one place that decides both.

The entry points import it before torch, whose OpenMP (libgomp) reads its environment when it is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SYSTEM = Path("/")


def node_environment() -> dict[str, str]:
    """Return the variables that the node sets before torch and NumPy are imported, without those of the user.

    Threads of OpenMP wait for each other by spinning. Where other processes want the same cores, as on every robot, a
    frame took four times as long and more (docs/benchmarks.md). NumPy's threads for linear algebra have no work here.
    """
    chosen = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
    return {name: value for name, value in chosen.items() if name not in os.environ}


def prepare_command() -> None:
    """Have the `mambaseg` command start no more threads than a container's quota lets run; OpenMP heeds affinity."""
    cores = allowed_cores()
    if cores < len(os.sched_getaffinity(0)):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def allowed_cores(system: Path = SYSTEM) -> int:
    """Return how many cores this process may keep busy: its affinity, or the quota of its control groups if lower.

    Args:
        system: The folder with `proc` and `sys`.

    Returns:
        At least 1; a quota is rounded down, as threads beyond it are stopped for the rest of each period.
    """
    return max(1, int(min((len(os.sched_getaffinity(0)), *_quotas(system)))))


def choose_threads(asked: int, spare: int = 1) -> int:
    """Return the number of threads for a frame.

    A frame waits for the slowest of its threads, so one that shares its core with decoding and DDS holds up all. Of two
    cores both are taken all the same: that is sooner, and no later where others want them (docs/benchmarks.md).

    Args:
        asked: Parameter `threads`; 0: OMP_NUM_THREADS, or all allowed cores but `spare`.
        spare: Cores that are left to decoding and DDS where there are more than two.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # one number for each nested level
    if asked or (given.isdecimal() and int(given)):
        return asked or int(given)
    cores = allowed_cores()
    return max(min(2, cores), cores - spare)


def use_threads(asked: int, spare: int = 1) -> int:
    """Set the number of threads of torch for the calling thread and those that start later, and of OpenCV for all.

    Args:
        asked: As for `choose_threads`.
        spare: As for `choose_threads`.

    Returns:
        The number.
    """
    import cv2
    import torch

    threads = choose_threads(asked, spare)
    torch.get_num_threads()  # a thread's first call of torch gives it the number that was set last anywhere
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    return threads


def too_many(threads: int) -> str:
    """Return a sentence if more threads are asked for than cores are allowed, else an empty text."""
    cores = allowed_cores()
    if threads <= cores:
        return ""
    return (
        f"the model runs on {threads} threads, but this process may use {cores} of the machine's cores (affinity and "
        f"control group): set parameter 'threads' or OMP_NUM_THREADS to {cores} or fewer"
    )


def _quotas(system: Path) -> Iterator[float]:
    """Yield the cores that each control group of this process, and each group above it, may keep busy."""
    mounts = system / "sys/fs/cgroup"
    with suppress(OSError, ValueError):  # no such file, or none of this form
        for line in (system / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)  # no controllers: version 2
            if controllers and "cpu" not in controllers.split(","):
                continue
            for mount in {mounts / controllers, mounts / "cpu"} if controllers else {mounts}:
                group = mount / path.strip("/")
                for folder in (group, *group.parents):  # in a container the path may be that of the host
                    if not folder.is_relative_to(mount):
                        break
                    yield from _quota(folder)


def _quota(group: Path) -> Iterator[float]:
    """Yield the quota of one control group in cores, if it has one."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if (cores := float(quota) / float(period)) > 0:  # "max" is no number; version 1 has -1 for none
            yield cores
