"""`segmentation_node`: a lifecycle node around `Worker`; image and events in, masks and their status out.

Topics, parameters and clocks are described in docs/ros.md. Callbacks only append to the inbox; one worker thread
does the rest. The executor is single-threaded.
"""

from __future__ import annotations

import sys
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image as ImageMessage

try:  # Jazzy and later
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from mambaseg_core.events.buffer import BufferCounters
from mambaseg_ros.diagnostics import Throttle
from mambaseg_ros.intake import EventIntake
from mambaseg_ros.messages import Image, fill_image_message, message_class
from mambaseg_ros.model import MIB, check_reach, make_segmenter
from mambaseg_ros.msg import SegmentationStatus
from mambaseg_ros.pairing import Inbox
from mambaseg_ros.parameters import EVENTS_TYPES, PARAMETERS, TABLE, Parameter
from mambaseg_ros.resources import use_large_image_profile
from mambaseg_ros.worker import DEGRADED, ERROR, Report, Worker, sentence_of

RCLError = rclpy_implementation.RCLError  # what rclpy.init raises for a broken parameter file
# Deep enough that images wait for the callback and not in a DDS queue that replaces them without telling anybody.
IMAGE_QOS = QoSProfile(depth=20, reliability=QoSReliabilityPolicy.BEST_EFFORT)
EVENTS_QOS = QoSProfile(depth=1000, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class SegmentationNode(LifecycleNode):
    """The lifecycle shell: parameters, topics, and a `Worker` while it is active."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("mambaseg", **kwargs)
        for parameter in PARAMETERS:
            self.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))
        self.add_on_set_parameters_callback(self._check_parameters)
        self._worker: Worker | None = None
        self._images_lost = 0
        self._watches: list[Any] = []
        self._images: Any = None
        self._events: Any = None
        self._throttle = Throttle(period_s=5.0)

    # -- lifecycle ---------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model, make the publishers."""
        try:
            values = self._values()
            self._segmenter = make_segmenter(values, warn=self.get_logger().warning)
            check_reach(values, self._segmenter.preprocessing)
        except Exception as error:  # rclpy would swallow it: a model may raise anything while it is loaded
            self.get_logger().error(f"cannot configure: {sentence_of(error)}")
            return TransitionCallbackReturn.FAILURE
        self._alpha = float(values["overlay_alpha"])
        self._mask = self.create_lifecycle_publisher(ImageMessage, "~/mask", 5)
        self._overlay = self.create_lifecycle_publisher(ImageMessage, "~/overlay", 5)
        self._status = self.create_lifecycle_publisher(SegmentationStatus, "~/status", 10)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        result = super().on_activate(state)
        try:
            self._start(self._values())
        except Exception as error:  # rclpy would swallow it
            self.get_logger().error(f"cannot activate: {sentence_of(error)}")
            self.stop()
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        return result

    def _start(self, values: dict[str, Any]) -> None:
        check_reach(values, self._segmenter.preprocessing)
        self._images_lost = 0
        max_bytes = int(values["buffer_mib"]) * MIB
        intake = EventIntake(max_age_ns=int(float(values["buffer_ms"]) * 1e6), max_bytes=max_bytes)
        self._inbox = Inbox(max_packet_bytes=max_bytes)
        self._worker = Worker(
            self._segmenter, self._inbox, intake, outputs=self, event_wait_s=float(values["event_wait_ms"]) / 1e3
        )
        self._worker.start()
        self._subscribe(str(values["events_type"]))

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the worker."""
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model and the publishers back."""
        del self._segmenter
        for publisher in (self._mask, self._overlay, self._status):
            self.destroy_publisher(publisher)
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the worker, whatever the state."""
        self.stop()
        return super().on_shutdown(state)

    def stop(self) -> None:
        """Unsubscribe and end the worker; does nothing where it is not active."""
        if self._worker is None:
            return
        for timer in self._watches:
            self.destroy_timer(timer)
        for subscription in (self._images, self._events):
            if subscription is not None:
                self.destroy_subscription(subscription)
        self._watches, self._images, self._events = [], None, None
        self._worker.stop()
        self._worker = None

    def _check_parameters(self, parameters: list[Any]) -> SetParametersResult:
        try:
            for parameter in parameters:
                if parameter.name in TABLE:
                    TABLE[parameter.name].check(parameter.value)
                    self._refuse_while_active(parameter.name)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _refuse_while_active(self, name: str) -> None:
        if self._worker is not None:
            raise ValueError(
                f"parameter {name!r} cannot change while the node is active; expected it inactive: deactivate it, set "
                "the parameter, and activate it again (what concerns the model is read in configure)"
            )

    # -- inputs ------------------------------------------------------------------------------------------------

    def _values(self) -> dict[str, Any]:
        values = {}
        for parameter in PARAMETERS:
            value = self.get_parameter(parameter.name).value
            parameter.check(value)
            values[parameter.name] = value
        return values

    def _subscribe(self, events_type: str) -> None:
        lost = SubscriptionEventCallbacks(message_lost=self._count_lost_images)
        self._images = self.create_subscription(
            ImageMessage, "image", self._inbox.put_image, IMAGE_QOS, event_callbacks=lost
        )
        self._events_type = events_type
        # of the machine's clock: under simulated time nothing else would tell that /clock is missing
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period_s, callback in ((0.2, self._subscribe_events), (5.0, self._say_what_is_missing)):
            self._watches.append(self.create_timer(period_s, callback, clock=steady))
        self._subscribe_events()

    def _count_lost_images(self, info: Any) -> None:
        self._images_lost += info.total_count_change

    def _subscribe_events(self) -> None:
        """Subscribe to the events once their type is known: from the parameter, or from the first publisher."""
        if self._events is not None:
            return
        name = self._events_type
        if name == "auto":
            publishers = self.get_publishers_info_by_topic(self.resolve_topic_name("events"))
            if not publishers:
                return
            name = publishers[0].topic_type
        try:
            kind = _events_class(name)
        except ValueError as error:
            self.warn(str(error))
            return
        self._events = self.create_subscription(kind, "events", self._take_events, EVENTS_QOS)
        self.get_logger().info(f"events: {self._events.topic_name} as {name}")

    def _take_events(self, message: Any) -> None:
        columns = message.events if hasattr(message, "events") else message.t_offset_ns
        self._inbox.put_packet(message, 64 + 3 * len(columns) * columns.itemsize)

    def _say_what_is_missing(self) -> None:
        """Warn, while a topic is silent, with its name and its publishers."""
        for topic, count in (("image", self._inbox.images_received), ("events", self._inbox.packets_received)):
            if count == 0:
                name = self.resolve_topic_name(topic)
                publishers = self.count_publishers(name)
                self.get_logger().warning(
                    f"nothing has come on {name} ({publishers} publishers); expected messages: "
                    + ("check its QoS and whether it publishes" if publishers else "start its publisher or remap it")
                )

    # -- outputs, called by the worker -------------------------------------------------------------------------

    def mask(self, header: Any, image: Image, ids: Image) -> None:
        """Publish class ids [H, W], and the overlay while someone listens."""
        self._mask.publish(fill_image_message(ImageMessage(), ids, header=header, encoding="mono8"))
        if self._overlay.get_subscription_count() > 0:
            rgb = image if image.ndim == 3 else image[..., None].repeat(3, axis=2)
            picture = self._segmenter.preprocessing.label_set.overlay(rgb, ids, alpha=self._alpha)
            self._overlay.publish(fill_image_message(ImageMessage(), picture, header=header, encoding="rgb8"))

    def report(self, report: Report) -> None:
        """Publish what became of an image."""
        if self._worker is None or not self.context.ok():
            return
        worker, counts = self._worker, self._worker.intake.counts
        buffer = worker.intake.buffer
        held = BufferCounters() if buffer is None else buffer.counters
        status = SegmentationStatus(
            **report.__dict__,
            images_received=self._inbox.images_received,
            images_lost=self._images_lost,
            images_replaced=self._inbox.images_replaced,
            images_refused=worker.images_refused,
            images_failed=worker.images_failed,
            masks_published=worker.masks_published,
            events_received=counts.events_received,
            events_refused=counts.events_refused + held.late,
            events_overwritten=held.dropped_bytes,
            packets_received=self._inbox.packets_received,
            packets_refused=counts.packets_refused,
            packets_overwritten=self._inbox.packets_overwritten,
            packets_lost=counts.packets_lost,
            resets=worker.resets + held.resets,
        )
        self._status.publish(status)
        if report.state == ERROR and self._throttle.lets_through(report.message):
            self.get_logger().error(report.message)
        elif report.state == DEGRADED:
            self.warn(report.message)

    def warn(self, sentence: str) -> None:
        """Say what is wrong; a sentence of the same kind at most every 5 s."""
        if self._throttle.lets_through(sentence):
            self.get_logger().warning(sentence)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    """The table's row as ROS shows it."""
    descriptor = ParameterDescriptor(description=parameter.meaning)
    if parameter.bounds is not None and isinstance(parameter.default, float):
        low, high = parameter.bounds
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif parameter.bounds is not None:
        low, high = int(parameter.bounds[0]), int(parameter.bounds[1])
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif parameter.choices is not None:
        descriptor.additional_constraints = "one of " + ", ".join(parameter.choices)
    return descriptor


def _events_class(name: str) -> Any:
    """The class of an events type.

    Raises:
        ValueError: a type that the node does not read, or whose package is not installed here.
    """
    known = EVENTS_TYPES[1:]
    if name not in known:
        raise ValueError(
            f"the events topic has type {name!r}; expected one of {', '.join(known)}: convert it or remap events"
        )
    return message_class(name)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    use_large_image_profile()
    try:
        rclpy.init(args=args)
        node = SegmentationNode()
    except (ParameterException, RCLError) as error:
        print(f"segmentation_node: {error}; see its table of parameters in docs/ros.md", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    try:
        if node.get_parameter("autostart").value and node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            node.trigger_activate()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.stop()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
