"""`mambaseg bag play`: publish a bag over DDS with its own timing, for machines without `ros2 bag`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from mambaseg_ros.bag.types import open_bag
from mambaseg_ros.messages.types import IMAGE_TYPE, message_class
from mambaseg_ros.resources import use_large_image_profile

DEPTHS = {IMAGE_TYPE: 10}  # messages kept for a slow subscriber; event packets and all else: 1000
CLOCK_PERIOD_S = 0.01  # between messages on /clock, of this machine's time
CLOCK_QOS = QoSProfile(depth=10)


def play(
    bag: Path,
    *,
    rate: float = 1.0,
    start_s: float = 0.0,
    loops: int = 1,
    clock: bool = False,
    wait_for_subscribers_s: float = 10.0,
) -> dict[str, int]:
    """Publish every message of a bag.

    Args:
        bag: folder of a ROS 2 bag (mcap or sqlite3).
        rate: 1.0 is as recorded, 0.5 half as fast.
        start_s: seconds of the bag that are left out at its beginning, in every loop.
        loops: how often the bag is played.
        clock: also publish the bag's time as /clock, for nodes with `use_sim_time`, 100 times a second.
        wait_for_subscribers_s: wait at most so long until every topic has a subscriber, then start anyway.

    Returns:
        messages published by topic.

    Raises:
        ValueError: no such bag, a rate that is not above 0, or a start that lies outside the bag.
    """
    if not rate > 0:
        raise ValueError(f"rate is {rate}; expected a number above 0")
    with open_bag(bag) as reader:
        first_ns = reader.start_time + round(start_s * 1e9)
        if not reader.start_time <= first_ns < reader.end_time:
            length = f"{reader.duration / 1e9:g} s, the length of {bag}"
            raise ValueError(f"start is {start_s:g} s; expected 0 or more and less than {length}")
        use_large_image_profile()
        rclpy.init()
        node = rclpy.create_node("mambaseg_player")
        try:
            publishers = {c.topic: _publisher(node, c.topic, c.msgtype) for c in reader.connections}
            pace = _Pace(rate, node.create_publisher(Clock, "/clock", CLOCK_QOS) if clock else None)
            _wait_for_subscribers(publishers, wait_for_subscribers_s)
            counts = dict.fromkeys(publishers, 0)
            for _ in range(loops):
                pace.restart(first_ns)
                for connection, stamp_ns, data in reader.messages(start=first_ns):
                    pace.wait_until(stamp_ns)
                    publishers[connection.topic].publish(bytes(data))
                    counts[connection.topic] += 1
            time.sleep(0.5)  # best-effort readers acknowledge nothing: leave them time to take the last message
            return counts
        finally:
            node.destroy_node()
            rclpy.try_shutdown()


class _Pace:
    """Let the bag's time pass at `rate`, and publish it as /clock."""

    def __init__(self, rate: float, clock: Any) -> None:
        self._rate = rate
        self._period_ns = round(CLOCK_PERIOD_S * rate * 1e9)
        self._clock = clock

    def restart(self, bag_ns: int) -> None:
        """Set the bag's time to `bag_ns`."""
        self._bag_ns, self._start = bag_ns, time.monotonic()
        self._tell(bag_ns)

    def wait_until(self, bag_ns: int) -> None:
        """Return when the bag's time is `bag_ns`."""
        while self._clock is not None and (tick_ns := self._told_ns + self._period_ns) < bag_ns:
            self._sleep_until(tick_ns)
            self._tell(tick_ns)
        self._sleep_until(bag_ns)

    def _sleep_until(self, bag_ns: int) -> None:
        due = self._start + (bag_ns - self._bag_ns) / 1e9 / self._rate
        time.sleep(max(0.0, due - time.monotonic()))

    def _tell(self, bag_ns: int) -> None:
        self._told_ns = bag_ns
        if self._clock is not None:
            seconds, nanoseconds = divmod(bag_ns, 1_000_000_000)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))


def _publisher(node: Any, topic: str, kind: str) -> Any:
    return node.create_publisher(message_class(kind), topic, QoSProfile(depth=DEPTHS.get(kind, 1000)))


def _wait_for_subscribers(publishers: dict[str, Any], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if all(publisher.get_subscription_count() for publisher in publishers.values()):
            time.sleep(1.0)  # until both sides know each other, and a recorder those who answer
            return
        time.sleep(0.05)
    silent = [topic for topic, publisher in publishers.items() if not publisher.get_subscription_count()]
    print(f"nobody subscribes to {', '.join(silent)} after {timeout_s:g} s: playing anyway")
