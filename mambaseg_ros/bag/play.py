"""`mambaseg bag play`: publish a bag over DDS with its own timing, for machines without `ros2 bag`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import rclpy
from rclpy.qos import QoSProfile
from rosbags.highlevel import AnyReader

from mambaseg_ros.bag.types import open_bag
from mambaseg_ros.messages import message_class
from mambaseg_ros.resources import use_large_image_profile

DEPTHS = {"sensor_msgs/msg/Image": 10}  # messages kept for a slow subscriber; event packets and all else: 1000


def play(bag: Path, *, rate: float = 1.0, wait_for_subscribers_s: float = 10.0, loops: int = 1) -> dict[str, int]:
    """Publish every message of a bag.

    Args:
        bag: folder of a ROS 2 bag (mcap or sqlite3).
        rate: 1.0 is as recorded, 0.5 half as fast.
        wait_for_subscribers_s: wait at most so long until every topic has a subscriber, then start anyway.
        loops: how often the bag is played.

    Returns:
        messages published by topic.

    Raises:
        ValueError: no such bag, or a rate that is not above 0.
    """
    if not rate > 0:
        raise ValueError(f"rate is {rate}; expected a number above 0")
    with open_bag(bag) as reader:
        use_large_image_profile()
        rclpy.init()
        node = rclpy.create_node("mambaseg_player")
        try:
            publishers = {c.topic: _publisher(node, c.topic, c.msgtype) for c in reader.connections}
            _wait_for_subscribers(publishers, wait_for_subscribers_s)
            counts = dict.fromkeys(publishers, 0)
            for _ in range(loops):
                _play_once(reader, publishers, counts, rate)
            time.sleep(0.5)  # best-effort readers acknowledge nothing: leave them time to take the last message
            return counts
        finally:
            node.destroy_node()
            rclpy.try_shutdown()


def _play_once(reader: AnyReader, publishers: dict[str, Any], counts: dict[str, int], rate: float) -> None:
    first_ns = reader.start_time
    start = time.monotonic()
    for connection, stamp_ns, data in reader.messages():
        due = start + (stamp_ns - first_ns) / 1e9 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        publishers[connection.topic].publish(bytes(data))
        counts[connection.topic] += 1


def _publisher(node: Any, topic: str, kind: str) -> Any:
    return node.create_publisher(message_class(kind), topic, QoSProfile(depth=DEPTHS.get(kind, 1000)))


def _wait_for_subscribers(publishers: dict[str, Any], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if all(publisher.get_subscription_count() for publisher in publishers.values()):
            time.sleep(0.3)  # both sides know each other only after the acknowledgement
            return
        time.sleep(0.05)
    silent = [topic for topic, publisher in publishers.items() if not publisher.get_subscription_count()]
    print(f"nobody subscribes to {', '.join(silent)} after {timeout_s:g} s: playing anyway")
