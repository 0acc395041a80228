"""`mambaseg bag record` over real DDS: latched topics, and topics that nobody publishes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import Int32

from mambaseg_core.recordings.bag import Bag

pytestmark = pytest.mark.ros
MAMBASEG = (sys.executable, "-m", "mambaseg_ros")


def test_what_was_latched_before_the_start_is_recorded(tmp_path: Path, start: Callable[..., Any], peer: Any) -> None:
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    publisher = peer.node.create_publisher(Int32, "/labels", latched)
    publisher.publish(Int32(data=7))
    recorder = start(*MAMBASEG, "bag", "record", tmp_path / "bag", "/labels", "/nothing", "--idle", 6)
    peer.spin_until(lambda: recorder.child.poll() is not None, "the recording ends")
    assert recorder.child.returncode == 0, recorder.output
    assert "nobody publishes /nothing" in recorder.output
    with Bag(tmp_path / "bag") as reader:
        (message,) = [reader.deserialize(topic, data) for topic, _, data in reader.messages()]
    assert message.data == 7
