"""Timing side by side: tasks take turns, medians are compared, every row has a target."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from mambaseg_core import ops

Task = Callable[[], object]
SHORT_MS = 100.0
HEADER = "| what | ours ms | against | ms | ratio | target | |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: The task that was timed.
        ours_ms: Our median, milliseconds.
        other: The task it is compared with.
        other_ms: The median of that task, milliseconds.
        target: The ratio to reach.
    """

    name: str
    ours_ms: float
    other: str
    other_ms: float
    target: float

    def __str__(self) -> str:
        ratio = self.other_ms / self.ours_ms
        verdict = "met" if ratio >= self.target else "MISSED"
        return (
            f"| {self.name} | {self.ours_ms:.2f} | {self.other} | {self.other_ms:.1f} "
            f"| {ratio:.1f} | {self.target:g} | {verdict} |"
        )


def medians(tasks: Sequence[Task], repeats: int) -> list[float]:
    """Return the median milliseconds of each task; the tasks take turns, so that a busy moment hits them all.

    A short task runs once untimed before each timed run. After a long task it would find the caches full of that
    task's data and its own memory returned to the system. A long task has that effect on itself.
    """
    times: list[list[float]] = [[] for _ in tasks]
    short = [_milliseconds(task) < SHORT_MS for task in tasks]
    for _ in range(repeats):
        for task, again, seen in zip(tasks, short, times, strict=True):
            if again:
                task()
            seen.append(_milliseconds(task))
    return [statistics.median(seen) for seen in times]


def _milliseconds(task: Task) -> float:
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def environment() -> str:
    """Return the machine, its load and the software in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    lanes = torch.ops.mambaseg.vector_lanes() if "cpu" in ops.backends() else 0
    return (
        f"{date.today()}, {cpu}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{lanes} float32 lanes, back ends {', '.join(ops.backends())}; load {load}"
    )
