"""The other side of the node's tests: child processes whose output is kept, and a ROS node that talks to the node."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from mambaseg_ros.msg import EventArray, SegmentationStatus
from rcl_interfaces.srv import ListParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

HANG_S = 300.0  # guards against hangs only
ASK_AGAIN_S = 2.0
DRIVERS: dict[str, tuple[str, Any, Any]] = {
    "image": ("images", Image, qos_profile_sensor_data), "events": ("events", EventArray, 1000),
    "second": ("second_images", Image, qos_profile_sensor_data),
}  # fmt: skip
_taken: list[socket.socket] = []


def next_domain() -> int:
    """A ROS_DOMAIN_ID that no other test of this machine has taken, also not one of another checkout."""
    for number in range(1, 101):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0mambaseg_domain_{number}")  # a name without a file: it goes with the process
        except OSError:
            lock.close()
            continue
        _taken.append(lock)
        return number
    raise RuntimeError("all ROS domains from 1 to 100 are taken by tests; expected a free one: end other sessions")


def stamp_of(message: Any) -> int:
    """The stamp of a message's header, nanoseconds."""
    return int(message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec)


class Process:
    """A child process whose output is kept."""

    def __init__(self, words: list[str], env: dict[str, str] | None = None) -> None:
        # one thread also where the environment is not that of the tests
        env = {"OMP_NUM_THREADS": "1", **(env or os.environ)}
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
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
            status = self.child.wait(timeout=HANG_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise
        self._reader.join(timeout=5)
        return status


class Peer:
    """The other side: publishes images and events, or a second camera's images; keeps masks and status."""

    def __init__(self, domain: int, *, second: str = "events") -> None:
        self.domain = domain
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("peer", context=self.context)
        self._drivers: dict[str, Any] = {}
        self._started = itertools.count()
        self._second = second
        self.republish("image")
        self.republish(second)
        self.masks: list[Any] = []
        self.statuses: list[Any] = []  # answers to images, and turns of the timer that published a mask
        self.heartbeats: list[Any] = []  # without either
        self.diagnostics: list[Any] = []
        self.seen: dict[str, list[Any]] = {}
        self.node.create_subscription(Image, "/mambaseg/mask", self.masks.append, 10)
        self.node.create_subscription(SegmentationStatus, "/mambaseg/status", self._keep_status, 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.seq = 0
        self.images_sent = 0
        self.process: Process | None = None  # of the node, where a test lives with one

    def listen(self, topic: str, kind: Any = Image, qos: Any = 10) -> Any:
        """Subscribe to an output of the node; `seen[topic]` holds what comes."""
        self.seen[topic] = []
        return self.node.create_subscription(kind, f"/mambaseg/{topic}", self.seen[topic].append, qos)

    def _keep_status(self, status: Any) -> None:
        beat = status.state == SegmentationStatus.STATE_ERROR and status.window_end_ns == 0
        (self.heartbeats if beat else self.statuses).append(status)

    def republish(self, topic: str, kind: Any = None, qos: Any = None) -> None:
        """The driver of "image" or "events" dies, and another one of the given type starts: a node of its own."""
        self.silence(topic)
        name, own_kind, own_qos = DRIVERS[topic]
        driver = rclpy.create_node(f"driver_{next(self._started)}", context=self.context, enable_rosout=False)
        self._drivers[topic] = driver
        setattr(self, name, driver.create_publisher(kind or own_kind, topic, qos or own_qos))

    def silence(self, topic: str) -> None:
        """The driver of "image" or "events" dies."""
        if topic in self._drivers:
            self._drivers.pop(topic).destroy_node()

    def client(self, kind: Any, name: str) -> Any:
        """Return a client of one of the node's services whose answers come.

        `service_is_ready` says only that this side knows the service. An answer that leaves before the service knows
        its reader here is lost. Readers become known in the order in which they were made: once a question of a
        second client is answered, and it may be asked again, the first one's reader is known.
        """
        client = self.node.create_client(kind, name)
        self.spin_until(client.service_is_ready, f"service {name}")  # a request before that is lost
        probed = f"{name.rpartition('/')[0]}/list_parameters"
        probe = self.node.create_client(ListParameters, probed)
        self.spin_until(probe.service_is_ready, f"service {probed}")
        asked: list[Any] = []
        next_s = 0.0

        def answered() -> bool:
            nonlocal next_s
            if time.monotonic() >= next_s:
                asked.append(probe.call_async(ListParameters.Request()))
                next_s = time.monotonic() + ASK_AGAIN_S
            return any(future.done() for future in asked)

        self.spin_until(answered, f"an answer of {probed}")
        self.node.destroy_client(probe)
        return client

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.client(kind, name)
        future = client.call_async(request)
        self.spin_until(future.done, f"an answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def change(self, *transitions: int) -> bool:
        """Lead the node through transitions; whether the last one succeeded."""
        answer = None
        for transition in transitions:
            request = ChangeState.Request(transition=Transition(id=transition))
            answer = self.call(ChangeState, "/mambaseg/change_state", request)
        return answer is not None and bool(answer.success)

    def set_parameter(self, name: str, value: object) -> str:
        """Set one parameter of the node; the reason if it is refused, else an empty string."""
        parameter = rclpy.parameter.Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        result = self.call(SetParameters, "/mambaseg/set_parameters", request).results[0]
        return "" if result.successful else str(result.reason)

    def diagnosed(self, entry: str) -> Any:
        """The next DiagnosticStatus of this name, made after this call, its values as a dict."""
        since_ns = time.time_ns()
        self.diagnostics.clear()
        self.spin_until(lambda: any(self._entry(entry, since_ns)), f"/diagnostics with {entry}")
        status = next(self._entry(entry, since_ns))
        return SimpleNamespace(
            level=status.level[0], message=status.message, values={pair.key: pair.value for pair in status.values}
        )

    def _entry(self, entry: str, since_ns: int) -> Iterator[Any]:
        # those of before may still wait in DDS; a stamp of 0 is simulated time without a clock
        arrays = (array for array in self.diagnostics if stamp_of(array) == 0 or stamp_of(array) >= since_ns)
        return (s for array in arrays for s in array.status if s.name.endswith(f": {entry}"))

    def spin_until(self, ready: Callable[[], bool], what: str, timeout: float = HANG_S) -> None:
        deadline = time.monotonic() + timeout
        while not ready():
            said = "" if self.process is None else self.process.output
            assert time.monotonic() < deadline, f"{what}: not within {timeout} s; {self.statuses[-2:]}\n{said}"
            assert self.process is None or self.process.child.poll() is None, f"{what}: the node ended\n{said}"
            self.executor.spin_once(timeout_sec=0.05)

    def wait_until_connected(self, entry: str = "events") -> None:
        """Until the node has subscribed to both topics, and this process knows; `entry` is the second's name."""
        publishers = [getattr(self, DRIVERS[topic][0]) for topic in ("image", self._second)]
        self.spin_until(
            lambda: (
                all(publisher.get_subscription_count() > 0 for publisher in publishers)
                and self.node.count_publishers("/mambaseg/status") > 0
            ),
            "the node subscribes",
        )
        for name, topic in (("images", "image"), (entry, self._second)):  # and has seen those who publish now
            driver = f"/{self._drivers[topic].get_name()}"
            self.spin_until(lambda e=name, d=driver: self.diagnosed(e).values["publishers"] == d, f"{driver} is known")

    def send_image(
        self, stamp_ns: int, picture: np.ndarray, encoding: str = "mono8", pad: int = 0, topic: str = "image"
    ) -> None:
        message = Image()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        message.header.frame_id = "camera"
        message.height, message.width = picture.shape[:2]
        rows = np.ascontiguousarray(picture).view(np.uint8).reshape(picture.shape[0], -1)
        rows = np.pad(rows, ((0, 0), (0, pad)))
        message.step = rows.shape[1]
        message.encoding = encoding
        message.data.frombytes(np.ascontiguousarray(rows).tobytes())
        self.publish(topic, message)

    def publish(self, topic: str, message: Any) -> None:
        """Send a message of the present driver of "image", "events" or "second"."""
        self.images_sent += topic == "image"
        getattr(self, DRIVERS[topic][0]).publish(message)

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

    def exchange(self, stamp_ns: int, picture: np.ndarray, **image: Any) -> Any:
        """Send one image and return the status that answers it."""
        before = len(self.statuses)
        self.send_image(stamp_ns, picture, **image)
        answers: list[Any] = []

        def answered() -> bool:
            answers[:] = [status for status in self.statuses[before:] if stamp_of(status) == stamp_ns]
            return bool(answers)

        self.spin_until(answered, "a status")
        return answers[0]

    def close(self) -> None:
        for topic in list(self._drivers):
            self.silence(topic)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
