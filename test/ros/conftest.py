"""Two processes over real DDS: the node runs as a process of its own, each test in its own ROS_DOMAIN_ID."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: run `make test`, or source ROS 2's setup.bash")
pytest.importorskip("mambaseg_ros.msg", reason="messages are not built: run `make test`, or colcon build and source")

from mambaseg_ros.msg import EventArray, SegmentationStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

_domains = itertools.count(1 + os.getpid() % 80)
HANG_S = 90.0  # guards against hangs only
SMALL_MODEL = {"model": "mambaseg_ddd17", "image_height": 32, "image_width": 48, "device": "cpu"}


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS_DOMAIN_ID of this test's own, for it and its processes."""
    number = 1 + next(_domains) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    return number


class Process:
    """A child process whose output is kept."""

    def __init__(self, words: list[str], env: dict[str, str] | None = None) -> None:
        self.child = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env or dict(os.environ)
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, text: str) -> None:
        deadline = time.monotonic() + HANG_S
        while text not in self.output:
            assert self.child.poll() is None, f"process ended with {self.child.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"{text!r} was not said:\n{self.output}"
            time.sleep(0.02)

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        if self.child.poll() is None:
            self.child.send_signal(sign)
        try:
            status = self.child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise
        self._reader.join(timeout=5)
        return status


@pytest.fixture
def start(domain: int) -> Iterator[Callable[..., Process]]:
    """Start processes that end with the test."""
    processes: list[Process] = []

    def run(*words: object, env: dict[str, str] | None = None) -> Process:
        processes.append(Process([str(word) for word in words], env))
        return processes[-1]

    yield run
    for process in processes:
        if process.child.poll() is None:
            process.stop()


@pytest.fixture
def node_command() -> Callable[..., list[str]]:
    """The command line of a node with a small model and the given parameters."""

    def words(**parameters: Any) -> list[str]:
        pairs = [word for name, value in {**SMALL_MODEL, **parameters}.items() for word in ("-p", f"{name}:={value}")]
        return [sys.executable, "-m", "mambaseg_ros.node", "--ros-args", *pairs]

    return words


class Peer:
    """The other side: publishes images and events, keeps masks and status."""

    event_type = EventArray

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("peer", context=self.context)
        self.images = self.node.create_publisher(Image, "image", qos_profile_sensor_data)
        self.events = self.node.create_publisher(EventArray, "events", 1000)
        self.masks: list[Any] = []
        self.statuses: list[Any] = []
        self.overlays: list[Any] = []
        self.node.create_subscription(Image, "/mambaseg/mask", self.masks.append, 10)
        self.node.create_subscription(SegmentationStatus, "/mambaseg/status", self.statuses.append, 10)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.seq = 0
        self.process: Process | None = None  # of the node, where a test lives with one

    def listen_to_overlay(self) -> None:
        self.node.create_subscription(Image, "/mambaseg/overlay", self.overlays.append, 10)

    def spin_until(self, ready: Callable[[], bool], what: str, timeout: float = HANG_S) -> None:
        deadline = time.monotonic() + timeout
        while not ready():
            said = "" if self.process is None else self.process.output
            assert time.monotonic() < deadline, f"{what}: not within {timeout} s; {self.statuses[-2:]}\n{said}"
            assert self.process is None or self.process.child.poll() is None, f"{what}: the node ended\n{said}"
            self.executor.spin_once(timeout_sec=0.05)

    def wait_until_connected(self) -> None:
        """Until the node has subscribed to both topics, and this process knows."""
        self.spin_until(
            lambda: self.images.get_subscription_count() > 0
            and self.events.get_subscription_count() > 0
            and self.node.count_publishers("/mambaseg/status") > 0,
            "the node subscribes",
        )
        time.sleep(0.5)  # discovery is not the same on both sides at once

    def send_image(self, stamp_ns: int, picture: np.ndarray, encoding: str = "mono8", pad: int = 0) -> None:
        message = Image()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        message.header.frame_id = "camera"
        message.height, message.width = picture.shape[:2]
        rows = picture.reshape(picture.shape[0], -1)
        rows = np.pad(rows, ((0, 0), (0, pad)))
        message.step = rows.shape[1]
        message.encoding = encoding
        message.data.frombytes(np.ascontiguousarray(rows).tobytes())
        self.images.publish(message)

    def send_events(self, x: Any, y: Any, t_ns: Any, p: Any, *, height: int, width: int) -> None:
        t_ns = np.asarray(t_ns, np.int64)
        message = EventArray(height=height, width=width, seq=self.seq)
        self.seq += 1
        first = int(t_ns[0]) if len(t_ns) else 0
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(first, 1_000_000_000)
        message.x = array("H", np.asarray(x, np.uint16).tobytes())
        message.y = array("H", np.asarray(y, np.uint16).tobytes())
        message.t_offset_ns = array("I", (t_ns - first).astype(np.uint32).tobytes())
        message.p = array("B", np.asarray(p, np.uint8).tobytes())
        self.events.publish(message)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def peer(domain: int) -> Iterator[Peer]:
    """The test's own ROS node."""
    other = Peer(domain)
    yield other
    other.close()


@pytest.fixture
def shared() -> Path:
    """The folder of real recordings; skips where it is absent."""
    folder = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder} (set MAMBASEG_SHARED)")
    return folder
