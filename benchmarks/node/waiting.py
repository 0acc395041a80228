"""Cost of OpenMP threads that spin while they wait, on a machine where other processes use the same cores.

    python benchmarks/node/waiting.py [--frames 40] [--size 240x320]

Prints a Markdown table: milliseconds per frame of `mambaseg_nano` by OMP_WAIT_POLICY and number of threads, beside 0, 1
and 2 processes that each keep a core busy. The node sets PASSIVE for itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from multiprocessing import Process

import numpy as np

PAUSE_S = 0.02  # between frames, as with a camera
WAYS = {"spinning (default)": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}, "one thread": {"OMP_NUM_THREADS": "1"}}


def child(size: tuple[int, int], frames: int) -> None:
    """Print median and 95th percentile of a frame, milliseconds."""
    import torch

    import mambaseg_core as mc

    segmenter = mc.Segmenter(mc.create_model("mambaseg_nano", image_size=size), "cpu")
    segmenter.warm_up()
    inputs, times = (torch.rand(1, 3, *size), torch.rand(1, 10, *size)), []
    with torch.inference_mode():
        for _ in range(frames):
            start = time.perf_counter()
            segmenter.model(*inputs)
            times.append(1e3 * (time.perf_counter() - start))
            time.sleep(PAUSE_S)
    print(*np.percentile(times, (50, 95)))


def spin() -> None:
    while True:
        pass


def measured(words: argparse.Namespace, variables: dict[str, str]) -> str:
    """Return p50 / p95 of a frame, measured in a new process."""
    environment = {name: value for name, value in os.environ.items() if name[:4] not in ("OMP_", "MKL_")} | variables
    command = [sys.executable, __file__, "--child", "--frames", str(words.frames), "--size", words.size]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return " / ".join(f"{float(number):.0f}" for number in done.stdout.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", default="240x320", help="height x width")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        height, width = (int(number) for number in words.size.split("x"))
        return child((height, width), words.frames)
    print(f"load {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores, {words.size}, p50 / p95 in ms\n")
    print(f"| busy processes | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for busy in range(3):
        others = [Process(target=spin, daemon=True) for _ in range(busy)]
        for other in others:
            other.start()
        print(f"| {busy} | {' | '.join(measured(words, variables) for variables in WAYS.values())} |", flush=True)
        for other in others:
            other.kill()
    return None


if __name__ == "__main__":
    main()
