"""The ROS node under load, over DDS, as a Markdown table. Node, sensors and measurement are three processes.

    source install/setup.bash
    python benchmarks/node/node.py all       [--soak 1800]              # all below, one after the other, in one table
    python benchmarks/node/node.py own       [--seconds 20]             # own time per frame, without the model
    python benchmarks/node/node.py intake    [--seconds 60] [--mev 10]  # evt3 in EventPackets while masks are published
    python benchmarks/node/node.py arrays    [--seconds 60] [--mev 5]  # dvs_msgs/EventArray (`make interfaces`)
    python benchmarks/node/node.py overload  [--seconds 300]            # images at 4 times the model's rate
    python benchmarks/node/node.py soak      [--seconds 1800]           # memory, and frames that no counter has
    python benchmarks/node/node.py start     [--repeats 5]              # from process start to ready
    python benchmarks/node/node.py share     [--seconds 20]             # CPU by max_rate_hz, only_if_heard, threads

The model is mambaseg_nano with random weights on the CPU (soak: with an input of 64x96). Sensors: 640x480, images
mono8, packets of 4 ms. The first tenth of each run is left out of times, the first fifth of the growth of memory.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from node_rig import PACKET_NS, Load, Rig


class Figure(NamedTuple):
    """A row of the table."""

    name: str
    measured: str
    target: str = ""
    met: bool | None = None

    def row(self, what: str) -> str:
        """Return the row in Markdown."""
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return f"| {what} | {self.name} | {self.measured} | {self.target} | {verdict} |"


class Run(NamedTuple):
    """Result of a load.

    Attributes:
        packets: Packets sent.
        images: Images sent.
        late: Packets sent more than 50 ms late.
        good: Statuses of masks after the first tenth of the run.
        last: The last status.
        memory: Seconds and MiB of the node, [N, 2], after the first fifth of the run.
        cpu: Seconds and CPU seconds of the node, [N, 2], after the first fifth of the run.
    """

    packets: int
    images: int
    late: int
    good: list[Any]
    last: Any
    memory: np.ndarray
    cpu: np.ndarray


def measured(load: Load, *arguments: str) -> Run:
    """Run a node under a load and return the result."""
    rig = Rig(*arguments)
    packets, images, late = rig.run(load)
    rig.close()
    good = [status for status in rig.statuses[len(rig.statuses) // 10 :] if status.inference_ms > 0]
    memory, cpu = (np.array(kept)[len(kept) // 5 :] for kept in (rig.memory, rig.cpu))
    return Run(packets, images, late, good, rig.statuses[-1], memory, cpu)


def spread(values: list[float]) -> str:
    """Return p50 / p95 / maximum."""
    if not values:
        return "none"
    p50, p95 = np.percentile(values, (50, 95))
    return f"{p50:.1f} / {p95:.1f} / {max(values):.1f}"


def losses(status: Any) -> str:
    """Return all counts of losses that are not 0."""
    kinds = ("images_", "packets_", "events_")
    fields = [name for name in status.get_fields_and_field_types() if name.startswith(kinds)]
    fields = [name for name in fields if not name.endswith(("received", "used", "health")) and getattr(status, name)]
    return ", ".join(f"{name} {getattr(status, name)}" for name in fields) or "none"


def uncounted(status: Any) -> int:
    """Return the number of images that were received but not accounted for, except the one in work."""
    counted = status.images_replaced + status.images_refused + status.images_failed + status.images_dropped
    return max(0, int(status.images_received - counted - status.masks_published + status.masks_from_events) - 1)


def described(run: Run, load: Load) -> list[Figure]:
    """Return the figures that every load has."""
    rate = run.packets * load.events / load.seconds / 1e6
    return [
        Figure("events sent [million/s]", f"{rate:.2f} ({run.late} of {run.packets} packets late)"),
        Figure("images sent, masks", f"{run.images}, {run.last.masks_published}"),
        Figure("losses reported", losses(run.last)),
        Figure("model [ms], p50 / p95 / most", spread([status.inference_ms for status in run.good])),
        Figure("from image to mask [ms], p50 / p95 / most", spread([status.total_ms for status in run.good])),
    ]


def own(seconds: float) -> list[Figure]:
    """Measure the node's own time per frame: 100,000 events in 50 ms, 2 images per second so that it keeps up."""
    load = Load(image_hz=2.0, events=8000, arrays=False, seconds=seconds)
    run = measured(load)
    times = [status.total_ms - status.inference_ms - status.wait_ms for status in run.good]
    p50, p95 = np.percentile(times, (50, 95))
    used = float(np.median([status.events_used for status in run.good]))
    return [
        Figure("events a mask, median", f"{used:.0f}"),
        Figure(
            "all besides model and waiting for events [ms], p50 / p95 / most",
            spread(times),
            "<= 5 / <= 10",
            bool(p50 <= 5 and p95 <= 10),
        ),
        Figure("window, voxel grid, resizing [ms]", spread([status.prepare_ms for status in run.good])),
        Figure("mapping back, publishing [ms]", spread([status.publish_ms for status in run.good])),
        Figure("waiting for events [ms]", spread([status.wait_ms for status in run.good])),
        *described(run, load),
    ]


def intake(seconds: float, *, arrays: bool, mev: float) -> list[Figure]:
    """Measure the intake of events while masks are published; a loss shown by sequence numbers counts as reported."""
    load = Load(image_hz=20.0, events=int(mev * 1e6 * PACKET_NS / 1e9), arrays=arrays, seconds=seconds)
    run = measured(load)
    sent, last = run.packets * load.events, run.last
    lost = 1 - last.events_received / max(1, sent)
    silent = run.packets - last.packets_received - last.packets_lost
    rate = last.events_received / seconds / 1e6
    return [
        Figure("events decoded [million/s]", f"{rate:.2f}", f">= {mev:g}", bool(rate >= 0.995 * mev)),
        Figure("events lost [%]", f"{100 * lost:.3f}", "<= 0.1", bool(lost <= 0.001)),
        Figure("packets lost that nobody reported", str(silent), "0", silent == 0),
        *described(run, load),
    ]


def overload(seconds: float) -> list[Figure]:
    """Measure the age of masks at four times the model's rate, in times of the model alone."""
    alone = measured(Load(image_hz=2.0, events=8000, arrays=False, seconds=10.0))
    model_ms = float(np.median([status.inference_ms for status in alone.good]))
    load = Load(image_hz=4e3 / model_ms, events=8000, arrays=False, seconds=seconds)
    run = measured(load)
    quarters = [q for q in np.array_split([status.age_ms for status in run.good], 4) if len(q)]
    busy_ms = float(np.median([status.inference_ms for status in run.good]))
    worst = max(float(np.percentile(q, 95)) for q in quarters)
    ages = ", ".join(f"{np.median(q):.0f}, {np.percentile(q, 95):.0f}" for q in quarters)
    return [
        Figure("model alone, under the load [ms], medians", f"{model_ms:.1f}, {busy_ms:.1f}"),
        Figure(
            "age of masks by quarters of the run, p50, p95 [ms]",
            ages,
            "< 2 model times under the load",
            worst < 2 * busy_ms,
        ),
        *described(run, load),
    ]


def soak(seconds: float) -> list[Figure]:
    """Send 20 images per second to a small model: growth of memory, and images that no counter has."""
    load = Load(image_hz=20.0, events=800, arrays=False, seconds=seconds)
    run = measured(load, "-p", "image_height:=64", "-p", "image_width:=96")
    slope = float(np.polyfit(run.memory[:, 0], run.memory[:, 1], 1)[0] * 600)
    lost = run.images - run.last.images_received - run.last.images_lost
    return [
        Figure(
            "memory at the end [MiB], growth [MiB in 10 min]",
            f"{run.memory[-1, 1]:.1f}, {slope:+.2f}",
            "< 1",
            slope < 1,
        ),
        Figure(
            "images not accounted for: came, never came",
            f"{uncounted(run.last)}, {lost}",
            "0, 0",
            uncounted(run.last) == lost == 0,
        ),
        *described(run, load),
    ]


def share(seconds: float) -> list[Figure]:
    """Measure the CPU time of a node with an input of 120x160 at 10 images per second, which nobody listens to."""
    small = ("-p", "image_height:=120", "-p", "image_width:=160")
    figures = []
    for given in ("threads:=1", "threads:=2", "max_rate_hz:=5.0", "max_rate_hz:=2.0", "only_if_heard:=true"):
        threads = () if given.startswith("threads") else ("-p", "threads:=1")
        run = measured(Load(image_hz=10.0, events=80, arrays=False, seconds=seconds), *small, *threads, "-p", given)
        used = float(np.polyfit(run.cpu[:, 0], run.cpu[:, 1], 1)[0])
        rate = run.last.masks_published / seconds
        figures.append(Figure(f"{given}: CPU [% of a core], masks/s", f"{100 * used:.0f}, {rate:.1f}"))
    return figures


def start(repeats: int) -> list[Figure]:
    """Measure the time from the start of the process until it has subscribed."""
    times = []
    for _ in range(repeats):
        rig = Rig()
        times.append(rig.ready_after())
        rig.close()
    middle = float(np.median(times))
    return [Figure("from process start to ready [s], p50 / p95 / most", spread(times), "<= 5", middle <= 5)]


def head() -> str:
    """Return machine, date and commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return (
        f"{datetime.date.today()}, commit {commit.stdout.strip() or 'unknown'}, {os.cpu_count()} cores of {model}, "
        f"Python {platform.python_version()}, load average before {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("all", "own", "intake", "arrays", "overload", "soak", "start", "share"))
    parser.add_argument("--seconds", type=float, help="length of each load except the soak")
    parser.add_argument("--soak", type=float, default=0.0, help="all: length of the soak, seconds; 0: none")
    parser.add_argument("--mev", type=float, help="million events per second")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    seconds, mev = options.seconds, options.mev
    runs = {
        "own": lambda: own(seconds or 20.0),
        "intake": lambda: intake(seconds or 60.0, arrays=False, mev=mev or 10.0),
        "arrays": lambda: intake(seconds or 60.0, arrays=True, mev=mev or 5.0),
        "overload": lambda: overload(seconds or 300.0),
        "start": lambda: start(options.repeats),
        "share": lambda: share(seconds or 20.0),
        "soak": lambda: soak(options.soak or seconds or 1800.0),
    }
    chosen = [options.what] if options.what != "all" else [name for name in runs if name != "soak" or options.soak]
    print(f"{head()}\n\n| load | figure | measured | target | |\n|---|---|---|---|---|", flush=True)
    for name in chosen:
        for figure in runs[name]():
            print(figure.row(name), flush=True)
    print(f"\nload average after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
