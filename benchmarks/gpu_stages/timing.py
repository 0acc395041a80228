"""Times of tasks on a device, its memory, and CUDA graphs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

Task = Callable[[], object]


def wait_for(device: str) -> None:
    """Wait until the device has done all that was asked of it."""
    if device != "cpu":
        torch.cuda.synchronize()


def seconds(task: Task, device: str) -> float:
    """Return the time of one call until its result is there."""
    wait_for(device)
    start = time.perf_counter()
    task()
    wait_for(device)
    return time.perf_counter() - start


def call_ms(task: Task, device: str, repeats: int) -> float:
    """Return the median time of one call until its result is there, as a caller waits for it."""
    seconds(task, device)
    return median_ms([seconds(task, device) for _ in range(repeats)])


def busy_ms(task: Task, device: str, repeats: int, inner: int) -> float:
    """Return the median of `repeats` means over `inner` calls back to back: the cost of a call on a busy card."""

    def several() -> None:
        for _ in range(inner):
            task()

    return call_ms(several, device, repeats) / inner


def median_ms(times_s: Sequence[float]) -> float:
    """Return the median in milliseconds."""
    return round(1e3 * statistics.median(times_s), 4)


def p95_ms(times_s: Sequence[float]) -> float:
    """Return the time within which 95 of 100 are done, in milliseconds."""
    return round(1e3 * sorted(times_s)[min(len(times_s) - 1, int(0.95 * len(times_s)))], 4)


def replayed(task: Task) -> tuple[Task, object]:
    """Return the task as a CUDA graph, whose launches cost the host nothing, and what a replay writes into."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            task()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = task()
    return graph.replay, result


def peak_mib(task: Task, device: str) -> float | None:
    """Return the peak of allocated GPU memory during a call, MiB, what was there before included; None on the CPU."""
    if device == "cpu":
        return None
    wait_for(device)
    torch.cuda.reset_peak_memory_stats()
    task()
    wait_for(device)
    return round(torch.cuda.max_memory_allocated() / 2**20, 1)


def used_mib(device: str) -> float | None:
    """Return the GPU memory that tensors hold now, MiB; None on the CPU."""
    return None if device == "cpu" else round(torch.cuda.memory_allocated() / 2**20, 1)
