"""Memory of a node's process by its states, without DDS, as a Markdown table.

    python benchmarks/node/memory.py [--model mambaseg_nano] [--threads 1]

Resident memory (RSS) and the part of it that is not of files (anonymous), MiB. "given back" is what `malloc_trim` frees
of it in that state. The peak of a frame is the largest RSS while 20 frames with 100,000 events each are segmented.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
from pathlib import Path
from typing import Any

MIB = 1 << 10  # of kB


def resident() -> tuple[float, float]:
    """Return RSS and its anonymous part, MiB."""
    text = Path("/proc/self/status").read_text()
    found = (re.search(rf"{name}:\s+(\d+) kB", text) for name in ("VmRSS", "RssAnon"))
    rss, anonymous = (int(match[1]) / MIB for match in found if match)
    return rss, anonymous


def peak() -> float:
    """Return the largest RSS since `forget_peak`, MiB."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) / MIB


def forget_peak() -> None:
    """Begin the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


class Table:
    """Prints a row for each state."""

    def __init__(self) -> None:
        print("| state | RSS | anonymous | given back | peak since the row above |\n|---|---|---|---|---|")
        forget_peak()

    def row(self, state: str, *, trim: bool = False) -> None:
        """Print a state; `trim` gives freed memory back, so that the next row begins without it."""
        from mambaseg_core.memory import give_back_memory

        (rss, anonymous), highest, given = resident(), peak(), ""
        if trim:
            give_back_memory()
            given = f"{rss - resident()[0]:.0f}"
        print(f"| {state} | {rss:.0f} | {anonymous:.0f} | {given} | {highest:.0f} |", flush=True)
        forget_peak()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mambaseg_nano")
    parser.add_argument("--threads", type=int, default=1)
    words = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import numpy as np
    import rclpy  # noqa: F401
    import torch

    import mambaseg_core as mc
    from mambaseg_ros.model import free_memory, make_segmenter
    from mambaseg_ros.parameters import Parameters
    from mambaseg_ros.pipeline.pipeline import Pipeline
    from mambaseg_ros.topics import publishers, subscriptions  # noqa: F401

    table = Table()
    table.row("imported")
    weights = "" if words.model == "mambaseg_nano" else "random"
    parameters = Parameters(model=words.model, weights=weights, threads=words.threads, max_age_ms=0.0)
    segmenter = make_segmenter(parameters, warn=print)
    table.row("configured (loaded and warm)")

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (480, 640, 3), np.uint8)
    x, y, t_ns, p = (rng.integers(0, below, 100_000) for below in (640, 480, 50_000_000, 2))
    events = mc.Events.from_arrays(x, y, np.sort(t_ns), p, height=480, width=640)
    for _ in range(20):
        segmenter.to_camera(segmenter.segment(image, events).ids, (480, 640))
    table.row("20 frames", trim=True)
    for _ in range(20):
        segmenter.to_camera(segmenter.segment(image, events).ids, (480, 640))
    table.row("20 frames after that")

    class Sink:
        """Takes nothing."""

        def now_ns(self) -> int:
            """Return 0."""
            return 0

        def heartbeat(self, report: object) -> None:
            """Do nothing."""

        warn = heartbeat

        def header(self, stamp_ns: int, frame_id: str) -> None:
            """Return None."""

    pipeline = Pipeline(segmenter, parameters, Sink())  # type: ignore[arg-type]
    intake = pipeline.source
    for number in range(100):  # 2 s of 5 million events a second, as much as the buffer keeps
        base = 10**18 + number * 50_000_000
        intake._keep(_message(events, base))  # type: ignore[union-attr]
    table.row(f"active, {intake.fill[0] / 1e6:.1f} million events held")
    pipeline.stop()
    del pipeline, intake
    gc.collect()
    table.row("inactive", trim=True)
    del segmenter
    free_memory()
    table.row("unconfigured (cleaned up)")
    print(f"\n{words.model}, {words.threads} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")


def _message(events: Any, base_ns: int) -> Any:
    from mambaseg_core.events import Events
    from mambaseg_ros.sources.runs import DecodedMessage

    moved = Events(events.x, events.y, events.t_ns + base_ns, events.p, events.height, events.width)
    return DecodedMessage(moved, 0, "events")


if __name__ == "__main__":
    main()
