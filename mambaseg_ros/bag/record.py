"""`mambaseg bag record`: write topics into a new mcap bag, for machines without `ros2 bag`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.rosbag2 import Writer

from mambaseg_ros.bag.types import define, new_bag, typestore
from mambaseg_ros.messages.types import STATUS_TYPE, message_class
from mambaseg_ros.signals import noted_signals

SILENT_S = 5.0  # until topics without a publisher are named


class _Recorder:
    def __init__(self, node: Any, writer: Writer, topics: list[str]) -> None:
        self.counts = dict.fromkeys(topics, 0)
        self.last: float | None = None
        self._node = node
        self._writer = writer
        self._store = typestore()
        self._waiting = set(topics)
        self._said = set[str]()
        node.create_timer(0.1, self._subscribe)
        node.create_timer(SILENT_S, self._complain)

    def _subscribe(self) -> None:
        for topic in sorted(self._waiting):
            offers = self._node.get_publishers_info_by_topic(topic)
            if not offers:
                continue
            self._waiting.remove(topic)
            kind = offers[0].topic_type
            define(self._store, kind)
            connection = self._writer.add_connection(topic, kind, typestore=self._store)
            profile = _weakest([offer.qos_profile for offer in offers])
            lives_on = kind == STATUS_TYPE and len(self.counts) > 1  # a status comes also while no image does
            write = partial(self._write, topic, connection, lives_on)
            self._node.create_subscription(message_class(kind), topic, write, profile, raw=True)
            self._node.get_logger().info(f"recording {topic} ({kind})")

    def _complain(self) -> None:
        """Say which topics nobody publishes; once each time that they change."""
        if self._waiting and self._waiting != self._said:
            self._said = set(self._waiting)
            names = ", ".join(sorted(self._waiting))
            self._node.get_logger().warning(
                f"nobody publishes {names}; expected a publisher: start it, or end by Ctrl-C"
            )

    def _write(self, topic: str, connection: Any, lives_on: bool, data: bytes) -> None:
        self._writer.write(connection, self._node.get_clock().now().nanoseconds, data)
        self.counts[topic] += 1
        self.last = self.last if lives_on else time.monotonic()


def record(bag: Path, topics: list[str], *, idle_s: float | None = None) -> dict[str, int]:
    """Write topics into a new mcap bag until a signal, or until nothing has come for `idle_s` after the first message.

    Args:
        bag: folder to write; it appears when the recording is complete.
        topics: absolute names; each is subscribed to as soon as it has a publisher.
        idle_s: seconds of silence that end the recording; None: only a signal does. A node's status, which comes also
            while no image does, breaks no silence of other topics.

    Returns:
        messages written by topic.

    Raises:
        ValueError: the bag exists already.
        WriteError: the disk is full, or the like; names the folder with what was recorded.
    """
    with noted_signals() as signals, new_bag(bag, salvage=True) as writer:  # none interrupts the bag's end
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node("mambaseg_recorder")
        recorder = _Recorder(node, writer, topics)
        try:
            while not signals and not _idle(recorder, idle_s):
                rclpy.spin_once(node, timeout_sec=0.1)
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    return recorder.counts


def _weakest(offers: list[QoSProfile]) -> QoSProfile:
    """Return the QoS that receives all of these publishers, with what they sent before if all keep that."""
    reliable = all(offer.reliability == QoSReliabilityPolicy.RELIABLE for offer in offers)
    latched = reliable and all(offer.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    return QoSProfile(
        depth=1000,
        reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE,
    )


def _idle(recorder: _Recorder, idle_s: float | None) -> bool:
    return idle_s is not None and recorder.last is not None and time.monotonic() - recorder.last > idle_s
