"""The event path against its peers: voxel grid and buffer, as a Markdown table.

    python benchmarks/events/event_path.py [--repeats 15] [--threads 2] [--recording FILE.npz]

Peers are numba and tonic (`pip install numba tonic`); a missing one is named and left out. Tasks take turns. Each runs
once untimed before each timed run, and the table has medians. Each peer receives the events in its native form.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mambaseg_core import EventBuffer, Events, Window, voxel_grid
from mambaseg_core.ops import backends
from mambaseg_core.ops.area_resize import area_resize
from mambaseg_core.ops.voxel_grid import voxel_grid_resized

BINS, HEIGHT, WIDTH = 10, 480, 640
SPAN_NS = 50_000_000
Grid = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """Task to time: a function without arguments, and the threads that torch may use in it."""

    name: str
    run: Callable[[], object]
    threads: int = 1


def random_events(number: int) -> Events:
    """Return events uniform over sensor and time: the worst case for caches."""
    rng = np.random.default_rng(0)
    x, y, p = rng.integers(0, WIDTH, number), rng.integers(0, HEIGHT, number), rng.integers(0, 2, number)
    return Events.from_arrays(x, y, np.sort(rng.integers(0, SPAN_NS, number)), p, height=HEIGHT, width=WIDTH)


def medians(tasks: list[Task], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each task."""
    times: dict[str, list[float]] = {task.name: [] for task in tasks}
    for _ in range(repeats):
        for task in tasks:
            torch.set_num_threads(task.threads)
            task.run()
            begin = time.perf_counter()
            task.run()
            times[task.name].append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


# ---- the grid's peers; each overwrites a reused grid [T, H, W] ----


def numba_grid(events: Events, grid: Grid) -> Callable[[], object]:
    """Return the obvious loop, compiled."""
    import numba  # type: ignore[import-not-found, import-untyped, unused-ignore]

    @numba.njit  # type: ignore[untyped-decorator, unused-ignore]
    def add(x, y, t, p, grid):  # type: ignore[no-untyped-def]
        grid[:] = 0
        bins, first = grid.shape[0], t[0]
        scale = (bins - 1) / max(t[-1] - first, 1)
        for i in range(len(t)):
            tn = (t[i] - first) * scale
            k = int(tn)
            to_next = np.float32(tn - k) * p[i]
            grid[k, y[i], x[i]] += p[i] - to_next
            if k + 1 < bins:
                grid[k + 1, y[i], x[i]] += to_next

    return lambda: add(events.x, events.y, events.t_ns, events.p, grid)


def index_add_grid(events: Events, grid: Grid) -> Callable[[], object]:
    """Return two `torch.index_add_` of int64 columns."""
    x, y, t, p = (torch.from_numpy(c.astype(np.int64)) for c in (events.x, events.y, events.t_ns, events.p))
    cells = torch.from_numpy(grid).view(-1)

    def add() -> None:
        cells.zero_()
        tn = (t - t[0]).double().mul_((BINS - 1) / int(t[-1] - t[0]))
        place = tn.long()
        to_next = (tn - place).float() * p
        index = (place * HEIGHT + y) * WIDTH + x
        cells.index_add_(0, index, p - to_next)
        cells.index_add_(0, (index + HEIGHT * WIDTH).clamp_max_(len(cells) - 1), to_next)

    return add


def add_at_grid(events: Events, grid: Grid) -> Callable[[], object]:
    """Return the way of the released NumPy code: masks, and `np.add.at` of float64 into float32."""
    x, y, t = events.x.astype(np.int64), events.y.astype(np.int64), events.t_ns.astype(np.float64)
    cells = grid.reshape(-1)

    def add() -> None:
        cells[:] = 0
        tn = (BINS - 1) * (t - t[0]) / (t[-1] - t[0])
        place = tn.astype(np.int64)
        for step, weight in ((0, 1 - (tn - place)), (1, tn - place)):
            ok = (place + step < BINS) & (x < WIDTH) & (y < HEIGHT)
            index = x[ok] + y[ok] * WIDTH + (place[ok] + step) * WIDTH * HEIGHT
            np.add.at(cells, index, events.p[ok] * weight[ok])

    return add


def tonic_grid(events: Events, _grid: Grid) -> Callable[[], object]:
    """Return tonic's grid: it scales bins differently, allocates its grid in float64 and writes to the events."""
    from tonic.functional import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        to_voxel_grid_numpy,
    )

    own = np.zeros(len(events), [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int16)])
    own["x"], own["y"], own["t"], own["p"] = events.x, events.y, events.t_ns // 1000, events.p > 0
    return lambda: to_voxel_grid_numpy(own, (WIDTH, HEIGHT, 2), BINS)


PEERS = {"numba": numba_grid, "torch index_add_": index_add_grid, "np.add.at": add_at_grid, "tonic": tonic_grid}
TARGETS = {  # (1 thread, more threads) of the random million
    "numba": (1.0, 1.8),
    "torch index_add_": (1.3, 2.5),
    "np.add.at": (20.0, None),
    "tonic": (4.0, None),
}


def peer_tasks(events: Events, wanted: torch.Tensor) -> list[Task]:
    """Return the installed peers, each checked to make our grid (tonic's differs)."""
    tasks = []
    for name, make in PEERS.items():
        grid = np.empty((BINS, HEIGHT, WIDTH), np.float32)
        try:
            run = make(events, grid)
        except ImportError as error:
            print(f"left out: {name}, {error}\n")
            continue
        run()
        if name != "tonic":
            np.testing.assert_allclose(grid, wanted.numpy(), rtol=1e-4, atol=1e-4)
        tasks.append(Task(name, run))
    return tasks


def grid_table(events: Events, title: str, *, threads: int, repeats: int, targets: bool) -> None:
    """Print ours with one and more threads against the peers."""
    out = torch.empty(BINS, HEIGHT, WIDTH)
    ours = [Task(f"ours {number}", lambda: voxel_grid(events, BINS, out=out), number) for number in (1, threads)]
    tasks = [*ours, *peer_tasks(events, voxel_grid(events, BINS))]
    ms = medians(tasks, repeats)
    rates = ", ".join(f"{t.name} threads: {ms[t.name]:.2f} ms, {len(events) / ms[t.name] / 1e3:.0f} M/s" for t in ours)
    print(f"### Voxel grid, {title}, {BINS}x{HEIGHT}x{WIDTH}\n\n{rates}\n")
    print(f"| against | ms | 1 thread | target | {threads} threads | target |\n|---|---|---|---|---|---|")
    for task in tasks[2:]:
        ratios = [ms[task.name] / ms[t.name] for t in ours]
        goals = TARGETS[task.name] if targets else (None, None)
        cells = (f"{r:.2f} | {verdict(r, goal)}" for r, goal in zip(ratios, goals, strict=True))
        print(f"| {task.name} | {ms[task.name]:.2f} | " + " | ".join(cells) + " |")
    print()


def verdict(ratio: float, target: float | None) -> str:
    """Return the table's cell for a ratio and its target."""
    return "" if target is None else f">= {target:g}, {'met' if ratio >= target else 'MISSED'}"


def window_table(repeats: int) -> None:
    """Print the times of a window of 100,000 events, for which one thread is used even where there are more."""
    events, out = random_events(100_000), torch.empty(BINS, HEIGHT, WIDTH)
    kept: list[torch.Tensor] = []
    reused = Task("into a reused buffer", lambda: voxel_grid(events, BINS, out=out))
    fresh = Task("into a new grid that is kept", lambda: kept.append(voxel_grid(events, BINS)))
    print("### A DSEC window of 100,000 random events\n\n| | ms | target |\n|---|---|---|")
    for name, ms in medians([reused, fresh], repeats).items():
        goal = "" if name == fresh.name else f"<= 1.2, {'met' if ms <= 1.2 else 'MISSED'}"
        print(f"| {name} | {ms:.2f} | {goal} |")
    print()


def resize_table(repeats: int) -> None:
    """Print the times of a window of 100,000 events for a model of 240x320: cropped to 440 rows, then resized."""
    events, out, size = random_events(100_000), torch.empty(BINS, HEIGHT, WIDTH), (240, 320)
    edges, rows = events.t_ns[[0, -1]], 440

    def cropped() -> torch.Tensor:
        return voxel_grid(events, BINS, edges_ns=edges, out=out)[:, :rows]

    def torchs() -> torch.Tensor:
        return F.interpolate(cropped()[None], size, mode="area")[0]

    def in_one_go() -> torch.Tensor:
        return voxel_grid_resized(events, BINS, "bilinear", edges, rows=rows, size=size)

    torch.testing.assert_close(in_one_go(), torchs(), rtol=0, atol=1e-6)
    tasks = [Task("the grid alone", cropped), Task("grid, then torch's area pooling", torchs)]
    tasks += [Task("grid, then area_resize", lambda: area_resize(cropped(), size)), Task("in one go", in_one_go)]
    print(f"### The same, cropped and resized to {size[0]}x{size[1]}, 1 thread\n\n| | ms | ratio |\n|---|---|---|")
    ms = medians(tasks, repeats)
    for name, value in ms.items():
        print(f"| {name} | {value:.2f} | {ms[tasks[1].name] / value:.1f} |")
    print()


def buffer_load(packets: list[Events], buffer: EventBuffer, start_ns: int) -> tuple[float, float]:
    """Return the CPU seconds to push one second of packets, and to cut 20 windows of 50 ms from it."""
    push = cut = 0.0
    for number, packet in enumerate(packets):
        moved = Events(packet.x, packet.y, packet.t_ns + start_ns, packet.p, HEIGHT, WIDTH)
        begin = time.thread_time()
        buffer.push(moved)
        pushed = time.thread_time()
        push += pushed - begin
        if number % (len(packets) // 20) == len(packets) // 20 - 1:
            window = buffer.window(int(moved.t_ns[-1]) + 1, Window(SPAN_NS))
            cut += time.thread_time() - pushed
            del window
    return push, cut


def buffer_table(repeats: int) -> None:
    """Print the CPU time of the buffer for 20 million events per second in packets of 10,000."""
    step = 10**9 // 2000
    rng = np.random.default_rng(0)
    packets = []
    for number in range(2000):
        t = np.sort(rng.integers(0, step, 10_000)) + number * step
        x, y, p = rng.integers(0, WIDTH, 10_000), rng.integers(0, HEIGHT, 10_000), rng.integers(0, 2, 10_000)
        packets.append(Events.from_arrays(x, y, t, p, height=HEIGHT, width=WIDTH))
    buffer = EventBuffer(HEIGHT, WIDTH)
    loads = [buffer_load(packets, buffer, second * 10**9) for second in range(repeats + 1)]
    push, cut = (statistics.median(part[k] for part in loads[1:]) * 100 for k in (0, 1))
    total = statistics.median(sum(load) for load in loads[1:]) * 100
    print("### Buffer: 20 M events/s in packets of 10,000, a window of 50 ms (1 M events) at 20 Hz\n")
    print("CPU time of one core, median second; the first one, which fills fresh memory, is listed apart\n")
    print("| push | window | both | first second | target |\n|---|---|---|---|---|")
    goal = "met" if total < 20 else "MISSED"
    print(f"| {push:.1f} % | {cut:.1f} % | {total:.1f} % | {sum(loads[0]) * 100:.1f} % | < 20 %, {goal} |\n")


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def read_recording(path: Path) -> Events:
    """Read events from a .npz with x, y, t_ns, p."""
    with np.load(path) as file:
        return Events.from_structured(
            {"x": file["x"], "y": file["y"], "t": file["t_ns"], "p": file["p"]},
            height=HEIGHT,
            width=WIDTH,
            t_unit_ns=1,
        )


def main() -> None:
    """Run all benchmarks and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recording", type=Path, help="a .npz with x, y, t_ns, p of a 640x480 sensor")
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    ).stdout.strip()
    print(
        f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}, back end {backends()[0]}, commit {commit}"
    )
    print(f"{date.today()}, load before {os.getloadavg()[0]:.1f}, {options.repeats} repeats\n")
    same = {"threads": options.threads, "repeats": options.repeats}
    grid_table(random_events(1_000_000), "1 M random events", targets=True, **same)
    if options.recording:
        events = read_recording(options.recording)
        grid_table(events, f"{len(events):,} events of {options.recording.stem}", targets=False, **same)
    window_table(options.repeats)
    resize_table(options.repeats)
    buffer_table(options.repeats)
    print(f"load after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
