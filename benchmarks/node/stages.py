"""Stages of the node's own time without DDS: a pipeline of this process, fed with evt3 packets, as a Markdown table.

    python benchmarks/node/stages.py [--frames 60] [--mev 2] [--late 0]

Packets wait to be polled, as in the middleware. Each image comes together with the packet that ends at its stamp, or
`--late` milliseconds after it. The model is `mambaseg_nano` with its shipped weights on one thread; masks become
messages and are serialized, as DDS does. Own time is all besides waiting for events and the model. CPU is that of the
worker's thread without the model.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from array import array
from collections import deque
from typing import Any

import numpy as np
import torch
from event_camera_msgs.msg import EventPacket
from node_rig import FIRST_NS, HEIGHT, PACKET_NS, STEPS, WIDTH, evt3_template
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

import mambaseg_core as mc
from mambaseg_core.events.messages import RawMessage
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.pipeline import Pipeline
from mambaseg_ros.topics.serialized import serialized_image

PACKETS = 60  # between images


class Sink:
    """Makes messages of masks, and keeps the reports with the CPU time of the worker's thread."""

    def __init__(self) -> None:
        self.reports: list[tuple[Any, float]] = []
        self.reported = threading.Event()

    def mask(self, mask: Any) -> None:
        """Make the message."""
        serialized_image(mask.ids, header=Header(), encoding="mono8")

    def report(self, report: Any) -> None:
        """Keep a report, and the time of the processor."""
        report.fields()
        self.reports.append((report, time.thread_time()))
        self.reported.set()

    def heartbeat(self, report: Any) -> None:
        """Do nothing."""

    def warn(self, sentence: str) -> None:
        """Print a sentence."""
        print(sentence)

    def heard(self) -> bool:
        """Return True."""
        return True

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return an empty header."""
        return Header()

    def now_ns(self) -> int:
        """Return the machine's time."""
        return time.time_ns()

    def simulated(self) -> bool:
        """Return False."""
        return False


def packets(events: int, begin_ns: int) -> Any:
    """Yield serialized EventPackets that follow each other, without end, each with its stamp."""
    words, high, low = evt3_template(events)
    packet = EventPacket(height=HEIGHT, width=WIDTH, encoding="evt3")
    number = 0
    while True:
        us = (FIRST_NS + number * PACKET_NS) // 1000 + np.arange(STEPS) * (PACKET_NS // 1000 // STEPS)
        words[high], words[low] = 0x8000 | (us >> 12 & 0xFFF), 0x6000 | (us & 0xFFF)
        stamp = packet.header.stamp
        stamp.sec, stamp.nanosec = divmod(begin_ns + number * PACKET_NS, 10**9)
        packet.events, packet.seq = array("B", words.tobytes()), number
        yield begin_ns + number * PACKET_NS, bytes(serialize_message(packet))
        number += 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--mev", type=float, default=2.0, help="million events per second")
    parser.add_argument("--late", type=float, default=0.0, help="from the events to their image, milliseconds")
    words = parser.parse_args()
    torch.set_num_threads(1)
    segmenter = mc.Segmenter(mc.create_model("mambaseg_nano", weights="synthetic"), "cpu")
    segmenter.warm_up()
    of_model: list[float] = []
    infer = segmenter._infer

    def timed(*inputs: Any) -> Any:
        begin = time.thread_time()
        answer = infer(*inputs)
        of_model.append(time.thread_time() - begin)
        return answer

    segmenter._infer = timed  # type: ignore[assignment, method-assign]
    sink, rng = Sink(), np.random.default_rng(1)
    pipeline = Pipeline(segmenter, Parameters(max_age_ms=0.0, weights="synthetic"), sink)
    waiting: deque[tuple[RawMessage, int]] = deque()
    pipeline.inbox.fetch = lambda: [waiting.popleft() for _ in range(len(waiting))]
    pipeline.start()
    reports, cpu = [], []
    clock = time.pthread_getcpuclockid(pipeline.worker._thread.ident)  # type: ignore[union-attr, arg-type]
    stream = packets(int(words.mev * 1e6 * PACKET_NS / 1e9), time.time_ns())
    for _ in range(words.frames):
        for number in range(PACKETS):
            time.sleep(PACKET_NS / 1e9)
            stamp_ns, data = next(stream)
            if number == PACKETS - 1:
                message = Image(height=HEIGHT, width=WIDTH, step=WIDTH, encoding="mono8")
                message.data.frombytes(rng.integers(0, 255, HEIGHT * WIDTH, np.uint8).tobytes())
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
                sink.reported.clear()
                before = time.clock_gettime(clock)
            waiting.append((RawMessage("event_camera_msgs/msg/EventPacket", data), len(data)))
        if words.late:
            time.sleep(words.late / 1e3)
        pipeline.put_image(message)
        if not sink.reported.wait(60):
            raise SystemExit("no mask came within 60 s")
        report, after = sink.reports[-1]
        reports.append(report)
        cpu.append(1e3 * (after - before - of_model[-1]))
    pipeline.stop()
    show(reports, cpu)


def show(reports: list[Any], cpu: list[float]) -> None:
    """Print a row for each stage."""
    rows = {
        "own": [report.total_ms - report.inference_ms - report.wait_ms for report in reports],
        "CPU of the worker without the model": cpu,
        "model": [report.inference_ms for report in reports],
        "wait": [report.wait_ms for report in reports],
        **{name: [report.fields()[name] for report in reports] for name in ("prepare_ms", "publish_ms")},
    }
    for name in vars(getattr(reports[0], "stages", None) or argparse.Namespace()):
        rows[f"stage {name}"] = [getattr(report.stages, name) for report in reports]
    print("| | p50 / p95 / least [ms] |\n|---|---|")
    for name, values in rows.items():
        p50, p95 = np.percentile(values[5:], (50, 95))
        print(f"| {name} | {p50:.2f} / {p95:.2f} / {min(values[5:]):.2f} |")
    print(f"\n{len(reports)} frames, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
