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
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: run `make test`, or source ROS 2's setup.bash")
pytest.importorskip("mambaseg_ros.msg", reason="messages are not built: run `make test`, or colcon build and source")

import torch  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from mambaseg_ros.msg import EventArray, SegmentationStatus  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from mambaseg_core.checkpoint import save_checkpoint  # noqa: E402
from mambaseg_core.models import create_model  # noqa: E402
from mambaseg_core.preprocessing import preset_preprocessing  # noqa: E402

_domains = itertools.count(1 + os.getpid() % 80)
HANG_S = 90.0  # guards against hangs only
INPUT = (32, 48)
SMALL_MODEL = {"model": "mambaseg_nano", "image_height": INPUT[0], "image_width": INPUT[1], "device": "cpu"}


def next_domain() -> int:
    return 1 + next(_domains) % 100


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS_DOMAIN_ID of this test's own, for it and its processes."""
    number = next_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    return number


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model on DDD17's preprocessing: windows of 50 ms, 6 classes, the bonnet cropped."""
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    torch.manual_seed(0)
    model = create_model("mambaseg_nano", num_classes=6, image_size=INPUT, in_channels=1)
    save_checkpoint(path, model, preset_preprocessing("mambaseg_ddd17", size=INPUT, channels=1))
    return path


class Process:
    """A child process whose output is kept."""

    def __init__(self, words: list[str], env: dict[str, str] | None = None) -> None:
        # one thread: on a busy machine torch's threads wait for each other longer than they work
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


@pytest.fixture(scope="session")
def node_command(small_checkpoint: Path) -> Callable[..., list[str]]:
    """The command line of a node with a small model and the given parameters; those that are None are left out."""

    def words(*python: str, **parameters: Any) -> list[str]:
        given = {**SMALL_MODEL, "weights": small_checkpoint, **parameters}
        pairs = [f"{name}:={value}" for name, value in given.items() if value is not None]
        arguments = [word for pair in pairs for word in ("-p", pair)]
        return [sys.executable, *(python or ("-m", "mambaseg_ros.node")), "--ros-args", *arguments]

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
        self.diagnostics: list[Any] = []
        self.seen: dict[str, list[Any]] = {}
        self.node.create_subscription(Image, "/mambaseg/mask", self.masks.append, 10)
        self.node.create_subscription(SegmentationStatus, "/mambaseg/status", self.statuses.append, 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.seq = 0
        self.process: Process | None = None  # of the node, where a test lives with one

    def listen(self, topic: str, kind: Any = Image, qos: Any = 10) -> Any:
        """Subscribe to an output of the node; `seen[topic]` holds what comes."""
        self.seen[topic] = []
        return self.node.create_subscription(kind, f"/mambaseg/{topic}", self.seen[topic].append, qos)

    def republish(self, topic: str, kind: Any, qos: Any = 1000) -> None:
        """The driver of "image" or "events" dies, and another one of the given type starts."""
        name = {"image": "images", "events": "events"}[topic]
        self.node.destroy_publisher(getattr(self, name))
        setattr(self, name, self.node.create_publisher(kind, topic, qos))

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        self.spin_until(client.service_is_ready, f"service {name}")
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
        """The next DiagnosticStatus of this name, its values as a dict."""
        self.diagnostics.clear()
        self.spin_until(lambda: any(self._entry(entry)), f"/diagnostics with {entry}")
        status = next(self._entry(entry))
        return SimpleNamespace(
            level=status.level[0], message=status.message, values={pair.key: pair.value for pair in status.values}
        )

    def _entry(self, entry: str) -> Iterator[Any]:
        return (s for array in self.diagnostics for s in array.status if s.name.endswith(f": {entry}"))

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


@pytest.fixture(scope="module")
def lasting(node_command: Callable[..., list[str]]) -> Iterator[Peer]:
    """A node for all tests of a file, and its peer: a start takes seconds."""
    number = next_domain()
    other = Peer(number)
    other.process = Process(node_command(), {**os.environ, "ROS_DOMAIN_ID": str(number)})
    yield other
    assert other.process.stop() == 0, other.process.output
    other.close()
    assert "Traceback" not in other.process.output, other.process.output


@pytest.fixture
def ready(lasting: Peer) -> Iterator[Peer]:
    """The lasting node, activated anew, so that it has no events and counts from 0."""
    lasting.wait_until_connected()
    assert lasting.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE)
    lasting.wait_until_connected()
    for kept in (lasting.masks, lasting.statuses):
        kept.clear()
    lasting.seq = 0
    yield lasting
    for topic, kind in (("image", Image), ("events", EventArray)):
        lasting.republish(topic, kind, qos_profile_sensor_data if topic == "image" else 1000)


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
