"""The node's publishers: masks and what is drawn from them, status, label_info. Called by the worker's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
from rclpy.qos import QoSDurabilityPolicy, QoSPolicyKind, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Header

try:  # Jazzy and later
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

from mambaseg_core.labels import LabelSet
from mambaseg_ros.faults import FaultLog
from mambaseg_ros.messages.camera_infos import fill_camera_info
from mambaseg_ros.messages.compressed import fill_compressed_message
from mambaseg_ros.messages.images import Image
from mambaseg_ros.messages.types import message_class
from mambaseg_ros.msg import SegmentationStatus
from mambaseg_ros.pipeline.results import PublishedMask, Report, State
from mambaseg_ros.topics.class_topics import Table
from mambaseg_ros.topics.serialized import serialized_image

LATCHED = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
# Topics whose QoS parameters may override, with their types and depths; those of `publish_classes` too.
OUTPUTS: dict[str, tuple[Any, int]] = {
    **dict.fromkeys(("~/mask", "~/color_mask", "~/overlay", "~/confidence"), (ImageMessage, 5)),
    "~/mask/compressed": (CompressedImage, 5),
    "~/camera_info": (CameraInfo, 5),
    "~/status": (SegmentationStatus, 10),
}
OVERRIDDEN = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)


class Publishers:
    """Publish what the worker makes.

    Args:
        node: the lifecycle node, which owns the publishers.
        labels: names and colours of the classes.
        faults: counts faults, and throttles the log.
        classes: topics of chosen classes, by name the table from ids to pixels (`class_tables`).
        counts: the counts of SegmentationStatus by name.
        qos_met: called where a subscriber's QoS does not fit.
    """

    def __init__(
        self,
        node: Any,
        labels: LabelSet,
        *,
        classes: dict[str, Table],
        faults: FaultLog,
        counts: Callable[[], dict[str, int]],
        qos_met: Callable[[], None],
    ) -> None:
        self._node, self._labels, self._faults, self._counts, self._qos_met = node, labels, faults, counts, qos_met
        self.alpha = 0.5
        self.camera_info: Any = None  # the last one of the frame camera
        self.camera_info_missing = False
        self.on_report: Callable[[Report], None] = lambda report: None
        self._tables = {f"~/classes/{name}": table for name, table in classes.items()}
        topics = OUTPUTS | dict.fromkeys(self._tables, (ImageMessage, 5))
        overridden = QoSOverridingOptions(OVERRIDDEN)
        self._publishers = {name: self._create(kind, name, depth, overridden) for name, (kind, depth) in topics.items()}
        try:
            self._publishers["~/label_info"] = self._create(
                message_class("vision_msgs/msg/LabelInfo"), "~/label_info", LATCHED
            )
        except ValueError:
            node.get_logger().info("vision_msgs is not installed: ~/label_info is not published")

    def _create(self, kind: Any, topic: str, qos: Any, overridden: QoSOverridingOptions | None = None) -> Any:
        def incompatible(info: Any) -> None:
            self._qos_met()
            self.warn(
                f"a subscriber of {topic} asks for a QoS that it cannot have (policy {info.last_policy_kind}); "
                "expected that of the publisher, reliable and volatile by default: change it in the subscriber, or in "
                f"the parameters qos_overrides.{self._node.resolve_topic_name(topic)}.publisher"
            )

        events = PublisherEventCallbacks(incompatible_qos=incompatible)
        return self._node.create_lifecycle_publisher(
            kind, topic, qos, event_callbacks=events, qos_overriding_options=overridden
        )

    def destroy(self) -> None:
        """Give the publishers back."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def labels(self) -> None:
        """Publish the names of the class ids; late subscribers get them too."""
        publisher = self._publishers.get("~/label_info")
        if publisher is None:
            return
        info = message_class("vision_msgs/msg/LabelInfo")()
        info.header.stamp = self._node.get_clock().now().to_msg()
        vision_class = message_class("vision_msgs/msg/VisionClass")
        info.class_map = [vision_class(class_id=i, class_name=name) for i, name in enumerate(self._labels.classes)]
        publisher.publish(info)

    # -- what the worker calls ---------------------------------------------------------------------------------

    def mask(self, mask: PublishedMask) -> None:
        """Publish class ids, and what is drawn from them while someone listens."""
        header, ids = mask.header, mask.ids
        self._publish("~/mask", header, ids, "mono8")
        for topic, table in self._tables.items():
            if self._heard(topic):
                self._publish(topic, header, cv2.LUT(ids, table), "mono8")  # type: ignore[arg-type]
        if self._heard("~/mask/compressed"):
            compressed = fill_compressed_message(CompressedImage(), ids, header=header)
            self._publishers["~/mask/compressed"].publish(compressed)
        if self.wants_camera_info():
            self._publish_camera_info(mask)
        if self._heard("~/color_mask"):
            self._publish("~/color_mask", header, self._labels.color_mask(ids), "rgb8")
        if self._heard("~/overlay"):
            over = mask.over_image()
            under = over * 0 if mask.image is None else mask.image
            self._publish("~/overlay", header, self._labels.overlay(under, over, alpha=self.alpha), "rgb8")
        if self._heard("~/confidence"):
            self._publish("~/confidence", header, mask.confidence(), "mono8")

    def wants_camera_info(self) -> bool:
        """Return True if somebody listens to ~/camera_info."""
        return "~/camera_info" in self._publishers and self._heard("~/camera_info")

    def _publish_camera_info(self, mask: PublishedMask) -> None:
        info = self.camera_info
        self.camera_info_missing = info is None and mask.view.camera is None
        if self.camera_info_missing:
            return
        size = mask.ids.shape[0], mask.ids.shape[1]
        try:
            filled = fill_camera_info(CameraInfo(), mask.view, size, header=mask.header, camera_info=info)
        except ValueError as error:
            self.warn(f"~/camera_info is not published: {error}")
            return
        self._publishers["~/camera_info"].publish(filled)

    def report(self, report: Report) -> None:
        """Publish a status, and log it unless it is OK."""
        if not self._node.context.ok():
            return
        self._publish_status(report)
        self.on_report(report)
        for sentence in filter(self._faults.note, report.sentences):
            # a call for each severity: rclpy remembers it by the call's place in the source
            if report.state == State.ERROR:
                self._node.get_logger().error(sentence)
            else:
                self._node.get_logger().warning(sentence)

    def heartbeat(self, report: Report) -> None:
        """Publish a status that answers no image; the silence itself is logged by `Subscriptions`."""
        if self._node.context.ok():
            self._publish_status(report)

    def _publish_status(self, report: Report) -> None:
        if self._heard("~/status"):
            self._publishers["~/status"].publish(SegmentationStatus(**report.fields(), **self._counts()))

    def warn(self, sentence: str) -> None:
        """Count a fault; log it, one of a kind at most every 5 s."""
        if self._faults.note(sentence) and self._node.context.ok():
            self._node.get_logger().warning(sentence)

    def heard(self) -> bool:
        """Return True if somebody listens to a mask, or to what is made of it."""
        return any(self._heard(topic) for topic in self._publishers if topic not in ("~/status", "~/label_info"))

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a std_msgs/Header."""
        header = Header(frame_id=frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        return header

    def now_ns(self) -> int:
        """Return the time of the node's clock, simulated where `use_sim_time` is true."""
        return int(self._node.get_clock().now().nanoseconds)

    def simulated(self) -> bool:
        """Return True if `use_sim_time` is true."""
        return bool(self._node.get_clock().ros_time_is_active)

    def _heard(self, topic: str) -> bool:
        """Return True if somebody listens, or if the last message is kept for late subscribers."""
        publisher = self._publishers[topic]
        latched = publisher.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        return latched or bool(publisher.get_subscription_count() > 0)

    def _publish(self, topic: str, header: Any, picture: Image, encoding: str) -> None:
        self._publishers[topic].publish(serialized_image(picture, header=header, encoding=encoding))
