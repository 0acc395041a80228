"""`mambaseg bag record` over real DDS: latched topics, and topics that nobody publishes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mambaseg_ros.msg import SegmentationStatus as Status
from rclpy.duration import Duration
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Int32

from mambaseg_core.recordings.bag import Bag

pytestmark = pytest.mark.ros
MAMBASEG = (sys.executable, "-m", "mambaseg_ros")


def test_a_status_that_comes_for_ever_does_not_keep_a_recording_of_masks_open(
    tmp_path: Path, start: Callable[..., Any], peer: Any
) -> None:
    masks, statuses = (peer.node.create_publisher(kind, f"/x/{kind.__name__}", 10) for kind in (Image, Status))
    recorder = start(*MAMBASEG, "bag", "record", tmp_path / "bag", "/x/Image", "/x/SegmentationStatus", "--idle", 3)

    def beat() -> bool:
        statuses.publish(Status())
        return recorder.child.poll() is not None

    for topic in ("Image", "SegmentationStatus"):
        peer.spin_until(lambda t=topic: f"recording /x/{t}" in recorder.output, topic)
    for _ in range(80):  # four seconds: no mask has come yet
        assert not beat()
        peer.executor.spin_once(timeout_sec=0.05)
    peer.spin_until(lambda: masks.publish(Image()) or masks.wait_for_all_acked(Duration(seconds=1)), "a mask")
    peer.spin_until(beat, "the recording ends")
    assert recorder.child.returncode == 0, recorder.output
    with Bag(tmp_path / "bag") as reader:
        assert {topic.name for topic, *_ in reader.messages()} == {"/x/Image", "/x/SegmentationStatus"}


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
