"""The node's subscriptions: types found from the graph, losses counted, and silence explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo

try:  # Jazzy and later
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from mambaseg_core.cameras import camera_info
from mambaseg_core.events.decode.packet_cdr import read_seq
from mambaseg_core.events.messages import EVENT_TYPES, NESTED_TYPES, RawArray, RawMessage
from mambaseg_ros.faults import sentence_of
from mambaseg_ros.messages.numbers import MOST_LOST, Numbers
from mambaseg_ros.messages.types import IMAGE_TYPES, NUMBERED_TYPES, STATUS_TYPE, message_class, package_of
from mambaseg_ros.model import CAMERA_INFO, LOOK_ONE_WAY
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.pipeline import Pipeline
from mambaseg_ros.topics.advice import (
    Publisher,
    Topic,
    candidates,
    choose_kind,
    why_mixed,
    why_no_time,
    why_not_lost,
    why_own,
    why_silent,
)
from mambaseg_ros.topics.deliveries import MOST_PUBLISHERS, Deliveries
from mambaseg_ros.topics.polling import PolledGroup, serve_events, take_all
from mambaseg_ros.topics.publishers import Publishers

INFO_TOPICS = ("camera_info", "event_camera_info")
# Deep enough that messages wait for the callback: a full queue of DDS replaces them without reporting it.
DEPTHS = {"image": 20, "events": 1000, "second": 20}
KINDS = {"image": IMAGE_TYPES, "events": EVENT_TYPES, "second": IMAGE_TYPES}
# A latched camera_info is sent to late subscribers of this QoS only, and a volatile one to those of another only.
LATCHED = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
INFO_QOS = (qos_profile_sensor_data, LATCHED)
SILENT_S = 5.0


class InputSubscription:
    """Subscribe to one topic once somebody publishes a type that the node reads, and anew where that type changes.

    Args:
        node: owner of the subscription.
        argument: "image", "events" or "second", as in remappings and parameters.
        kind: the type to subscribe with, or "auto" for that of the publishers.
        reliability: asked of the publishers, "best_effort" or "reliable".
        take: called with each message, and whose it is (empty where rclpy does not say it); None: they are events,
            serialized, and wait for `fetch`.
        lost: called with the number of messages that are missing, by their seq, or where the type has none by the
            number that the middleware gives them.
        reported: called with the number of messages that the middleware says it lost.
        qos_met: called where a publisher's QoS does not fit.
        warn: called with a sentence on what is wrong.
    """

    def __init__(
        self,
        node: Any,
        argument: str,
        kind: str,
        reliability: str,
        *,
        take: Callable[[Any, bytes], None] | None,
        lost: Callable[[int], None],
        reported: Callable[[int], None],
        qos_met: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self._node, self._take, self._qos_met, self._warn = node, take, qos_met, warn
        self._lost, self._reported = lost, reported
        self._numbers: dict[bytes, Numbers] = {}  # by publisher
        self._deliveries = Deliveries()
        self._alone = True
        self.silence = ""  # why nothing comes
        self.wrong = ""  # what is wrong with who publishes, such as several that deliver side by side
        kinds = KINDS[argument] if kind == "auto" else (kind,)
        self.topic = Topic(node.resolve_topic_name(argument), argument, kinds, reliability == "reliable")
        self.kind = ""
        self._subscription: tuple[Any, str] | None = None  # with its type
        self._heard_at = time.monotonic()
        if kind != "auto":
            self._subscribe(kind)

    def poll(self) -> None:
        """Subscribe once the type is known; serve the events of a polled subscription."""
        if self._take is None and self._subscription is not None:
            serve_events(self._subscription[0])
        publishers = self.publishers()
        self._alone = len(publishers) <= 1
        now = time.monotonic()
        mixed = self._deliveries.mixed(now)
        if not self._silent:
            self.silence = ""
        self.wrong = why_mixed(self.topic, publishers, self._deliveries.recent(now)) if mixed else ""
        if any(publisher.node == self._node.get_fully_qualified_name() for publisher in publishers):
            self.wrong = why_own(self.topic)
        kind = choose_kind(self.topic, publishers, self.kind)
        if kind != self.kind:
            try:
                self._subscribe(kind)
            except Exception as error:  # a workspace that is half there raises what it likes
                self._warn(sentence_of(error))

    def publishers(self) -> list[Publisher]:
        """List who publishes the topic now."""
        return publishers_of(self._node, self.topic.name)

    @property
    def _silent(self) -> bool:
        return time.monotonic() - self._heard_at > SILENT_S - 0.5

    def describe(self) -> dict[str, str]:
        """Return the topic, its type and who publishes it, as /diagnostics shows them."""
        names = ", ".join(sorted(publisher.node for publisher in self.publishers()))
        return {"topic": self.topic.name, "type": self.kind or "not known yet", "publishers": names or "none"}

    def complain(self, taken: Collection[str]) -> None:
        """Say why nothing comes, once nothing came for some seconds; `taken` are the topics of all inputs."""
        if self._silent:
            publishers = self.publishers()
            found = [] if choose_kind(self.topic, publishers) else candidates(self.topic, self._published(), taken)
            self.silence = why_silent(self.topic, publishers, found)
        for sentence in filter(None, (self.silence, self.wrong)):
            self._warn(sentence)

    def _published(self) -> dict[str, list[Publisher]]:
        """List who publishes what the node could read, and what nodes like it say, by topic."""
        kinds = {*self.topic.kinds, STATUS_TYPE}
        topics = self._node.get_topic_names_and_types()
        return {name: publishers_of(self._node, name) for name, types in topics if kinds.intersection(types)}

    def destroy(self) -> None:
        """Unsubscribe."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._node.destroy_subscription(subscription[0])

    def fetch(self) -> list[tuple[RawMessage | RawArray, int]]:
        """Return the messages of events that wait in the middleware, with their bytes. Any one thread may call this."""
        subscription = self._subscription
        if subscription is None:
            return []
        of, kind = subscription
        fetched: list[tuple[RawMessage | RawArray, int]] = []
        for data, info in take_all(of):
            self._note(read_seq(data) if kind in NUMBERED_TYPES else info.get("publication_sequence_number"), info)
            nested = kind in NESTED_TYPES
            fetched.append((RawArray(package_of(kind), data) if nested else RawMessage(kind, data), len(data)))
        return fetched

    def _subscribe(self, kind: str) -> None:
        message = message_class(kind)
        self.destroy()
        reliability = QoSReliabilityPolicy.RELIABLE if self.topic.reliable else QoSReliabilityPolicy.BEST_EFFORT
        subscription = self._node.create_subscription(
            message,
            self.topic.argument,
            self._receive,
            QoSProfile(depth=DEPTHS[self.topic.argument], reliability=reliability),
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=self._count_reported, incompatible_qos=self._incompatible
            ),
            callback_group=PolledGroup() if self._take is None else None,
            raw=self._take is None,
        )
        self._subscription, self.kind = (subscription, kind), kind
        self._node.get_logger().info(f"{self.topic.argument}: {self.topic.name} as {kind}")

    def _receive(self, message: Any, info: Any) -> None:
        assert self._take is not None  # else no executor takes messages
        self._take(message, self._note(info.get("publication_sequence_number"), info))

    def _note(self, number: int | None, info: Any) -> bytes:
        """Note that a message came; return whose it is, empty where rclpy does not say it."""
        self._heard_at = time.monotonic()
        publisher = bytes((info.get("publisher_gid") or {"data": b""})["data"])  # since Kilted
        if publisher:
            self._deliveries.heard(publisher, self._heard_at)
        elif number is not None and not self._alone:
            self._deliveries.numbered(number, self._heard_at)
        self._count_missing(number, publisher)
        return publisher

    def _count_missing(self, number: int | None, publisher: bytes) -> None:
        """Count gaps in the numbers: DDS does not report what its queue replaced before it was taken."""
        mixed = not publisher and not self._alone  # two publishers' numbers cannot be told apart
        if mixed or len(self._numbers) > MOST_PUBLISHERS:
            self._numbers.clear()
        if mixed or number is None:
            return
        numbers = self._numbers.setdefault(publisher, Numbers())
        jumps = numbers.jumps
        if missing := numbers.missing(int(number)):
            self._lost(missing)
        if numbers.jumps > jumps:
            self._warn(why_not_lost(self.topic.name, f"the number of a message jumped to {number}"))

    def _count_reported(self, info: Any) -> None:
        """Count what the middleware says it lost; its own counter may run over."""
        if 0 <= info.total_count_change < MOST_LOST:
            self._reported(info.total_count_change)
        else:
            self._warn(why_not_lost(self.topic.name, f"the middleware reports {info.total_count_change} lost at once"))

    def _incompatible(self, info: Any) -> None:
        self._qos_met()
        self._warn(why_silent(self.topic, self.publishers()))


def publishers_of(node: Any, topic: str) -> list[Publisher]:
    """List who publishes a topic now."""
    return [
        Publisher(
            f"{info.node_namespace.rstrip('/')}/{info.node_name}",
            info.topic_type,
            info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE,
            bytes(info.endpoint_gid),
        )
        for info in node.get_publishers_info_by_topic(topic)
    ]


class Subscriptions:
    """Hold the subscriptions while the node is active, and explain silence.

    Args:
        node: owner of the subscriptions.
        parameters: of the node.
        pipeline: takes the messages and counts the losses.
        outputs: warn of what is wrong, and take the camera's CameraInfo while they need it.
    """

    def __init__(self, node: Any, parameters: Parameters, pipeline: Pipeline, outputs: Publishers) -> None:
        self._node, self._pipeline, self._outputs, self._warn = node, pipeline, outputs, outputs.warn
        self.image = self._subscribe(
            "image", parameters.image_type, parameters.image_reliability, self._take_image, counts="images"
        )
        events = pipeline.worker.segmenter.preprocessing.second == "events"
        kind, reliability = parameters.second_type, parameters.second_reliability
        if events:
            kind, reliability = parameters.events_type, parameters.events_reliability
        topic, take = ("events", None) if events else ("second", self._take_second_image)
        try:
            self.second = self._subscribe(topic, kind, reliability, take, counts="packets")
            pipeline.inbox.fetch = self.second.fetch if events else None
        except Exception:  # a type that is fixed and not installed
            self.image.destroy()
            raise
        pipeline.name_topics(self.image.topic.name, self.second.topic.name)
        self._infos: dict[str, Any] = {}
        self._info_subscriptions: list[Any] = []
        self._info_wanted_at = 0.0
        if parameters.calibration == CAMERA_INFO and pipeline.worker.segmenter.calibration is None:
            self._wait_for_calibration()

    def poll(self) -> None:
        """Look at the graph; several times a second."""
        for subscription in (self.image, self.second):
            subscription.poll()
            self._pipeline.doubt(subscription.topic.argument, subscription.wrong)
        self._pipeline.worker.silence = self.image.silence
        self._take_info_while_wanted()

    def complain(self) -> None:
        """Say what the node waits for; every 5 s."""
        for subscription in (self.image, self.second):
            subscription.complain((self.image.topic.name, self.second.topic.name))
        if waiting_for := self._pipeline.worker.waiting_for:
            self._warn(waiting_for)
        if self._outputs.camera_info_missing and time.monotonic() - self._info_wanted_at > SILENT_S:
            self._warn(
                f"~/camera_info is not published: nothing comes on {self._node.resolve_topic_name('camera_info')}; "
                "expected the CameraInfo of the camera: start its publisher or remap camera_info"
            )
        if self._node.get_parameter("use_sim_time").value and self._node.get_clock().now().nanoseconds == 0:
            self._warn(why_no_time(self._node.count_publishers("/clock")))

    def destroy(self) -> None:
        """Unsubscribe from all."""
        self._drop_infos()
        self.image.destroy()
        self.second.destroy()

    def count_qos(self) -> None:
        """Count a QoS that does not fit."""
        self._count("qos_incompatible", 1)

    def _subscribe(
        self, argument: str, kind: str, reliability: str, take: Callable[[Any, bytes], None] | None, *, counts: str
    ) -> InputSubscription:
        return InputSubscription(
            self._node,
            argument,
            kind,
            reliability,
            take=take,
            lost=partial(self._count, f"{counts}_lost"),
            reported=partial(self._count, f"{counts}_lost_reported"),
            qos_met=self.count_qos,
            warn=self._warn,
        )

    def _count(self, what: str, number: int) -> None:
        reported = self._pipeline.reported
        setattr(reported, what, getattr(reported, what) + number)

    def _take_info_while_wanted(self) -> None:
        """Subscribe to camera_info while somebody listens to that of the masks; a calibration has its own reasons."""
        wanted = self._outputs.wants_camera_info()
        if wanted and not self._info_subscriptions:
            self._info_wanted_at = time.monotonic()
            self._info_subscriptions = [self._subscribe_info("camera_info", qos) for qos in INFO_QOS]
        elif not (wanted or self._pipeline.worker.waiting_for) and self._info_subscriptions:
            self._drop_infos()

    def _drop_infos(self) -> None:
        for subscription in self._info_subscriptions:
            self._node.destroy_subscription(subscription)
        self._info_subscriptions.clear()
        self._outputs.camera_info, self._outputs.camera_info_missing = None, False

    def _wait_for_calibration(self) -> None:
        for topic in INFO_TOPICS:
            for qos in INFO_QOS:
                self._info_subscriptions.append(self._subscribe_info(topic, qos))
        names = " and ".join(self._node.resolve_topic_name(topic) for topic in INFO_TOPICS)
        self._pipeline.worker.waiting_for = (
            f"no calibration yet; expected a CameraInfo on each of {names}: start their publishers or remap them"
        )

    def _subscribe_info(self, topic: str, qos: QoSProfile) -> Any:
        """Subscribe to one camera_info; a publisher whose QoS fits only one of the two subscriptions is no fault."""
        silent = SubscriptionEventCallbacks(incompatible_qos=lambda info: None)
        return self._node.create_subscription(
            CameraInfo, topic, partial(self._take_info, topic), qos, event_callbacks=silent
        )

    def _take_info(self, topic: str, info: Any) -> None:
        """Set the calibration once both have come; keep the camera's for the masks."""
        self._infos[topic] = info
        if topic == "camera_info":
            self._outputs.camera_info = info
        worker = self._pipeline.worker
        if not worker.waiting_for or len(self._infos) < len(INFO_TOPICS):
            return
        image, event = (self._infos[topic] for topic in INFO_TOPICS)
        try:
            worker.segmenter.calibration = camera_info.calibration(event, image)
        except ValueError as error:
            self._warn(f"camera_info: {error}")
            return
        worker.waiting_for = ""
        if camera_info.look_one_way(worker.segmenter.calibration):
            self._node.get_logger().warning(LOOK_ONE_WAY)

    def _take_image(self, message: Any, publisher: bytes) -> None:
        self._pipeline.put_image(message, publisher)

    def _take_second_image(self, message: Any, publisher: bytes) -> None:
        self._pipeline.inbox.put_packet(message, 64 + len(message.data))
