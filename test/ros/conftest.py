"""Two processes over real DDS: the node runs as a process of its own, each test in its own ROS_DOMAIN_ID."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: run `make test`, or source ROS 2's setup.bash")
pytest.importorskip("mambaseg_ros.msg", reason="messages are not built: run `make test`, or colcon build and source")

import torch
from lifecycle_msgs.msg import Transition
from peer import Peer, Process, next_domain

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.models.presets import preset_preprocessing

INPUT = (32, 48)
SMALL_MODEL = {
    "model": "mambaseg_nano", "image_height": INPUT[0], "image_width": INPUT[1], "device": "cpu",
    "event_wait_ms": 2000.0, "buffer_ms": 5000.0,  # the events of a test come late where the machine is busy
    "max_age_ms": 0.0,  # the stamps of a test are made up
}  # fmt: skip


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
    for kept in (lasting.masks, lasting.statuses, lasting.heartbeats):
        kept.clear()
    lasting.seq = 0
    yield lasting
    lasting.republish("image")
    lasting.republish("events")


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
