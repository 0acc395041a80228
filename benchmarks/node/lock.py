"""Cost of Python's lock (GIL) for a frame: traced and untraced, alone and beside a thread that runs Python.

    python benchmarks/node/lock.py [--frames 20]

Prints a Markdown table: milliseconds of `mambaseg_nano` by median, and how long its thread waited for a core. The rest
of the difference between alone and beside is the wait for the lock.
"""

from __future__ import annotations

import argparse
import copy
import threading
from pathlib import Path

import numpy as np
import torch

import mambaseg_core as mc


def queued_ms() -> float:
    """Return how long this thread has been ready to run without a core, milliseconds (Linux)."""
    return int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]) / 1e6


def measured(segmenter: mc.Segmenter, image: np.ndarray, events: mc.Events, frames: int) -> tuple[float, float]:
    """Return the inference and, of it, the wait for a core; medians in milliseconds."""
    rows = []
    for _ in range(frames):
        before = queued_ms()
        inference = segmenter.segment(image, events).inference_ms
        rows.append((inference, queued_ms() - before))
    inference_ms, waiting_ms = np.median(rows, axis=0)
    return float(inference_ms), float(waiting_ms)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20)
    frames = parser.parse_args().frames
    torch.set_num_threads(1)
    traced = mc.Segmenter(mc.create_model("mambaseg_nano", weights="synthetic"), "cpu")
    traced.warm_up()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (240, 320, 3), np.uint8)
    x, y, t_ns, p = (rng.integers(0, below, 100_000) for below in (320, 240, 50_000_000, 2))
    events = mc.Events.from_arrays(x, y, np.sort(t_ns), p, height=240, width=320)
    print("| frame | thread beside it | inference [ms] | of it waiting for a core [ms] |\n|---|---|---|---|")
    for name, segmenter in (("untraced", copy.deepcopy(traced)), ("traced", traced)):  # a copy has no trace
        for beside in ("none", "runs Python"):
            stop = threading.Event()

            def run(stop: threading.Event = stop) -> None:
                while not stop.is_set():
                    sum(range(100))

            thread = threading.Thread(target=run)
            if beside != "none":
                thread.start()
            inference, waiting = measured(segmenter, image, events, frames)
            stop.set()
            if beside != "none":
                thread.join()
            print(f"| {name} | {beside} | {inference:.1f} | {waiting:.1f} |")


if __name__ == "__main__":
    main()
