"""Test rig of benchmarks/node/node.py: sensors in one process, a node in another one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mambaseg_ros.resources import use_large_image_profile

HEIGHT, WIDTH = 480, 640
PACKET_NS = 4_000_000
STEPS = 40  # time words per packet: one every 100 us
FIRST_NS = 1_000_000_000  # sensor time of the first event


@dataclass(frozen=True)
class Load:
    """Messages that the sensors send.

    Attributes:
        image_hz: Images per second.
        events: Events per packet of 4 ms.
        arrays: dvs_msgs/EventArray instead of EventPacket with evt3.
        seconds: Length of the load.
    """

    image_hz: float
    events: int
    arrays: bool
    seconds: float


def evt3_template(events: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the words of a packet and the places of its TIME_HIGH and TIME_LOW.

    Each row has ten events, so an event takes 2.2 bytes.
    """
    rng = np.random.default_rng(0)
    words: list[np.ndarray] = []
    for count in np.diff(np.linspace(0, events, STEPS + 1).astype(int)):
        x = np.sort(rng.integers(0, WIDTH, count)) | 0x2000 | (rng.integers(0, 2, count) << 11)
        rows = rng.integers(0, HEIGHT, -(-count // 10))
        words.append(np.concatenate([[0x8000, 0x6000], np.insert(x, np.arange(0, count, 10), rows)]))
    at = np.cumsum([0, *map(len, words)])[:-1]
    return np.concatenate(words).astype("<u2"), at, at + 1


def send(load: Load, sent: Any, go_on: Any) -> None:
    """Run the sensors, in their own process. `sent` counts packets, images and late packets."""
    use_large_image_profile()
    import rclpy
    from event_camera_msgs.msg import EventPacket
    from rclpy.qos import qos_profile_sensor_data
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("sensors")
    images = node.create_publisher(Image, "image", qos_profile_sensor_data)
    image = Image(height=HEIGHT, width=WIDTH, step=WIDTH, encoding="mono8")
    image.data.frombytes(np.random.default_rng(1).integers(0, 255, HEIGHT * WIDTH, np.uint8).tobytes())
    if load.arrays:
        from dvs_msgs.msg import EventArray

        events = node.create_publisher(EventArray, "events", 1000)
        columns = array_columns(load.events)
    else:
        events = node.create_publisher(EventPacket, "events", 1000)
        packet = EventPacket(height=HEIGHT, width=WIDTH, encoding="evt3")
        words, high, low = evt3_template(load.events)
    while images.get_subscription_count() == 0 or events.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(1.0)
    begin_ns, begin, number, next_image = time.time_ns(), time.monotonic(), 0, 0.0
    while number * PACKET_NS / 1e9 < load.seconds and go_on.value:
        delay = begin + (number + 1) * PACKET_NS / 1e9 - time.monotonic()
        time.sleep(max(0.0, delay))
        sent[2] += delay < -0.05
        start_ns = number * PACKET_NS
        seconds, nanoseconds = divmod(begin_ns + start_ns, 10**9)
        if load.arrays:
            events.publish(array_message(columns, begin_ns + start_ns))
        else:
            us = (FIRST_NS + start_ns) // 1000 + np.arange(STEPS) * (PACKET_NS // 1000 // STEPS)
            words[high], words[low] = 0x8000 | (us >> 12 & 0xFFF), 0x6000 | (us & 0xFFF)
            packet.header.stamp.sec, packet.header.stamp.nanosec, packet.seq = seconds, nanoseconds, number
            packet.events = type(packet.events)("B", words.tobytes())
            events.publish(serialize_message(packet))
        sent[0] = number = number + 1
        if start_ns / 1e9 >= next_image:
            next_image += 1.0 / load.image_hz
            image.header.stamp.sec, image.header.stamp.nanosec = seconds, nanoseconds
            images.publish(image)
            sent[1] += 1
    time.sleep(2.0)
    node.destroy_node()
    rclpy.shutdown()


def array_columns(events: int) -> np.ndarray:
    """Return the events of a packet in the CDR of dvs_msgs: 16 bytes each, 14 for the first."""
    fields = {"x": "<u2", "y": "<u2", "gap": "<u2", "sec": "<i4", "ns": "<u4", "p": "u1", "end": "u1"}
    kind = np.dtype(list(fields.items()))
    rng, columns = np.random.default_rng(0), np.zeros(events, kind)
    columns["x"], columns["y"] = rng.integers(0, WIDTH, events), rng.integers(0, HEIGHT, events)
    columns["p"] = rng.integers(0, 2, events)
    return columns


def array_message(columns: np.ndarray, start_ns: int) -> bytes:
    """Return a serialized dvs_msgs/EventArray whose events begin at start_ns: x, y, sec, nanosec, polarity each."""
    t_ns = start_ns + np.arange(len(columns)) * (PACKET_NS // max(1, len(columns)))
    columns["sec"], columns["ns"] = np.divmod(t_ns, 10**9)
    seconds, nanoseconds = divmod(start_ns, 10**9)
    head = (
        np.array([0x0100, 0], "<u2").tobytes()
        + np.array([seconds, nanoseconds, 4, 0x00737664, HEIGHT, WIDTH, len(columns)], "<u4").tobytes()
    )
    body = columns.tobytes()
    return head + body[:4] + body[6:]  # only the first event is aligned to 4: it has no gap after y


class Rig:
    """A node process, and a ROS node that records its statuses."""

    def __init__(self, *arguments: str) -> None:
        use_large_image_profile()
        os.environ["ROS_DOMAIN_ID"] = str(50 + os.getpid() % 50)
        import rclpy
        from mambaseg_ros.msg import SegmentationStatus
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image

        rclpy.init()
        self.begun = time.monotonic()
        words = [sys.executable, "-m", "mambaseg_ros.node", "--ros-args", "-p", "model:=mambaseg_nano"]
        words += ["-p", "weights:=random", "-p", "device:=cpu", *arguments]
        self.child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.node, self.spin = rclpy.create_node("benchmark"), rclpy.spin_once
        self.images = self.node.create_publisher(Image, "image", qos_profile_sensor_data)
        self.statuses: list[Any] = []
        self.memory: list[tuple[float, float]] = []
        self.cpu: list[tuple[float, float]] = []
        self.node.create_subscription(SegmentationStatus, "/mambaseg/status", self.statuses.append, 100)

    def ready_after(self) -> float:
        """Return the seconds from the start of the process until it has subscribed to images."""
        while self.images.get_subscription_count() == 0:
            self.spin(self.node, timeout_sec=0.01)
        return time.monotonic() - self.begun

    def run(self, load: Load) -> tuple[int, int, int]:
        """Send a load; return the packets and images sent, and the packets sent more than 50 ms late."""
        self.ready_after()
        self.node.destroy_publisher(self.images)
        context = multiprocessing.get_context("spawn")
        sent, go_on = context.Array("q", 3), context.Value("b", 1)
        sensors = context.Process(target=send, args=(load, sent, go_on))
        sensors.start()
        looked = 0.0
        while sensors.is_alive():
            self.spin(self.node, timeout_sec=0.1)
            if time.monotonic() - looked > 0.5:
                looked = time.monotonic()
                pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
                self.memory.append((looked, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
                ticks = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                self.cpu.append((looked, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")))
        sensors.join()
        return sent[0], sent[1], sent[2]

    def close(self) -> None:
        """Stop the node."""
        import rclpy

        self.child.send_signal(signal.SIGINT)
        self.child.wait()
        self.node.destroy_node()
        rclpy.shutdown()
