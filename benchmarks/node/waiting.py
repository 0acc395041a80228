"""Cost of threads that wait for each other, idle and beside processes that want the same cores.

    python benchmarks/node/waiting.py [--rounds 8] [--frames 5] [--size 240x320] [--threads 2] [--busy 0 1 2]

Prints a Markdown table: wall time (least / p50 / p95) and CPU time (p50) of a frame of `mambaseg_nano` in ms, by the
number of threads and the way they wait, beside processes that keep a core busy each. All ways take turns, `--frames` at
a time, each in a process of its own.

"streams" runs the events' stem and stages beside the image's, one thread each, in torch's interpreter
(`torch.jit.fork`), to compare. The other ways run each operator on all threads, as the node does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import Process
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

PAUSE_S = 0.02  # between frames, as with a camera
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}


class Way(NamedTuple):
    """Variables of libgomp, whether all threads work at each operator, and whether both streams run side by side."""

    variables: dict[str, str]
    many: bool = True
    streams: bool = False


WAYS = {
    "1 thread": Way(PASSIVE, many=False),
    "passive (the node)": Way(PASSIVE),
    "200 spins": Way({"GOMP_SPINCOUNT": "200"}),
    "1000 spins": Way({"GOMP_SPINCOUNT": "1000"}),
    "spinning (OpenMP's default)": Way({}),
    "streams": Way(PASSIVE, many=False, streams=True),
}


def fuse_side_by_side(self: Any, image: Any, second: Any) -> Any:
    """Stand in for `FusedMambaSeg._fuse`, without reliability: the events' part of each stage is forked."""
    import torch

    def run(stage: Any, before: Any, *x: Any) -> Any:
        y = stage(before(x[0] + x[1] if len(x) > 1 else x[0]))
        return y, stage.out_norm(y)

    features, inputs = [], ((image,), (second,))
    before = self.image_encoder.stem, self.event_encoder.stem
    for of_image, of_events, fuse, mix, _ in self._stages():
        beside = torch.jit.fork(run, of_events, before[1], *inputs[1])
        image, image_out = run(of_image, before[0], *inputs[0])
        second, second_out = torch.jit.wait(beside)
        fused = fuse(image_out, second_out)
        features.append(mix(*fused))
        before, inputs = (of_image.downsample, of_events.downsample), ((image, fused[0]), (second, fused[1]))
    return features, []


def child(size: tuple[int, int], *, threads: int, streams: bool) -> None:
    """Print wall and CPU time of as many frames as each line of the input says, ms."""
    import torch

    import mambaseg_core as mc
    from mambaseg_core.fused.networks import FusedMambaSeg

    torch.set_num_threads(threads)
    segmenter = mc.Segmenter(mc.create_model("mambaseg_nano", image_size=size, weights="synthetic"), "cpu")
    frame = segmenter._noise(np.random.default_rng(0))
    expected = segmenter.segment(*frame)
    if streams:
        torch.set_num_interop_threads(2)
        FusedMambaSeg._fuse = fuse_side_by_side  # type: ignore[method-assign]
    segmenter.warm_up()
    if not np.array_equal(segmenter.segment(*frame).confidence, expected.confidence):
        sys.exit("the masks differ")
    prepared = segmenter.prepare(*frame)
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            wall, cpu = time.perf_counter(), time.process_time()
            segmenter._infer(*prepared)
            print(1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu))
            time.sleep(PAUSE_S)
        print("done", flush=True)


def spin() -> None:
    while True:
        pass


def start(words: argparse.Namespace, way: Way) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name[:4] not in ("OMP_", "MKL_", "GOMP")}
    threads = words.threads if way.many else 1
    command = [sys.executable, __file__, "--child", "--size", words.size, "--threads", str(threads)]
    command += ["--streams"] if way.streams else []
    env = clean | way.variables
    made = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines_until(made, "ready")
    return made


def lines_until(made: subprocess.Popen[str], last: str) -> list[list[float]]:
    """Return the numbers of the lines before the line `last`."""
    assert made.stdout is not None
    found = []
    for line in made.stdout:
        if line.strip() == last:
            return found
        found.append([float(word) for word in line.split()])
    sys.exit(f"a child ended with status {made.wait()}; expected {last!r}")


def cells(children: Sequence[subprocess.Popen[str]], words: argparse.Namespace) -> list[str]:
    """Let all children take turns; return a cell for each."""
    times: list[list[list[float]]] = [[] for _ in children]
    for _ in range(words.rounds):
        for made, found in zip(children, times, strict=True):
            assert made.stdin is not None
            print(words.frames, file=made.stdin, flush=True)
            found += lines_until(made, "done")[1:]  # the first frame after a pause finds cold caches
    return [_cell(np.array(found)) for found in times]


def _cell(times: npt.NDArray[np.float64]) -> str:
    wall, cpu = times.T
    return f"{wall.min():.0f} / {np.median(wall):.0f} / {np.percentile(wall, 95):.0f}, {np.median(cpu):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--frames", type=int, default=5, help="frames of a turn, at least 2")
    parser.add_argument("--size", default="240x320", help="height x width")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 1, 2], help="numbers of busy processes")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--streams", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        height, width = (int(number) for number in words.size.split("x"))
        return child((height, width), threads=words.threads, streams=words.streams)
    print(f"load {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores, {words.size}, {words.threads} threads")
    print(
        f"p50 / p95 of wall time, CPU time in ms\n\n| busy processes | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}"
    )
    children = [start(words, way) for way in WAYS.values()]
    for busy in words.busy:
        others = [Process(target=spin, daemon=True) for _ in range(busy)]
        for other in others:
            other.start()
        print(f"| {busy} | {' | '.join(cells(children, words))} |", flush=True)
        for other in others:
            other.kill()
    for made in children:
        made.communicate()
    return None


if __name__ == "__main__":
    main()
