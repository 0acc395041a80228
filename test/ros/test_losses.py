"""What is lost on the way is told by the middleware, and what is published in another type is not taken."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from drive import OK, SIZE, all_is_well, send_events, settle, times
from lifecycle_msgs.msg import Transition
from mambaseg_ros.msg import EventArray
from peer import HANG_S, Peer
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage

from mambaseg_ros.topics.advice import why_not_lost
from mambaseg_ros.topics.subscriptions import DEPTHS, InputSubscription

pytestmark = pytest.mark.ros
SENT = 4000


def test_messages_that_the_middleware_drops_are_counted_to_the_last(ready: Any) -> None:
    """The node stands still while more is sent than DDS can hold for it, as if the machine were overloaded."""
    number = np.arange(500)

    def flood() -> None:
        for _ in range(SENT):
            x, t_ns = number % SIZE[1], next(times) + number
            ready.send_events(x, x % SIZE[0], t_ns, x % 2, height=SIZE[0], width=SIZE[1])

    for status in overloaded(ready, "events", flood):
        assert status.packets_received + status.packets_lost == ready.seq
        assert status.packets_lost >= status.packets_lost_reported
        if status.packets_lost_reported > 0:
            break


def test_images_that_the_middleware_drops_are_counted_to_the_last(ready: Any) -> None:
    """As above; images have no number of their own, but the middleware numbers them."""
    picture = np.zeros((480, 640), np.uint8)
    sent = 0

    def flood() -> None:
        nonlocal sent
        for _ in range(SENT // 4):
            ready.send_image(next(times), picture)
        sent += SENT // 4 + 3  # of which `all_is_well` sends three

    for status in overloaded(ready, "image", flood):
        assert status.images_received + status.images_lost == sent
        assert status.images_lost >= status.images_lost_reported
        if status.images_lost_reported > 0:
            break


def overloaded(ready: Any, topic: str, flood: Callable[[], None]) -> Iterator[Any]:
    """Stop the node for a flood, up to ten times, and yield its status after each.

    DDS reports what never reached the node's queue, not what the queue replaced; which of the two befalls a message is
    up to the machine.
    """
    for _ in range(10):
        all_is_well(ready)
        ready.process.child.send_signal(signal.SIGSTOP)
        flood()
        ready.process.child.send_signal(signal.SIGCONT)
        settle(ready, topic)
        all_is_well(ready)  # a gap shows when the next message comes
        yield all_is_well(ready)
    pytest.fail("the middleware reported no loss in ten floods")


def test_what_a_full_queue_of_dds_replaced_is_counted(domain: int, peer: Peer) -> None:
    """DDS does not tell it: the callback comes too late, as in a process that is starved of time."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node, executor = rclpy.create_node("slow", context=context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    came: list[Any] = []
    lost: list[int] = []
    source = InputSubscription(
        node, "image", "auto", "reliable", take=lambda message, publisher: came.append(message), lost=lost.append,
        reported=lambda number: None, qos_met=lambda: None, warn=print,
    )  # fmt: skip

    def subscribed() -> bool:
        source.poll()
        return peer.images.get_subscription_count() > 0

    def send(number: int) -> None:
        """Send images and wait until the queue has had them all; then take those that are still in it."""
        peer.spin_until(subscribed, "a subscription")
        for _ in range(number):
            peer.send_image(next(times), np.zeros(SIZE, np.uint8))
        assert peer.images.wait_for_all_acked(Duration(seconds=HANG_S))
        for _ in range(2 * DEPTHS["image"]):
            executor.spin_once(timeout_sec=0.01)

    reliable = QoSProfile(depth=100)
    peer.republish("image", qos=reliable)
    send(1)
    send(100)
    assert (len(came), lost) == (1 + DEPTHS["image"], [100 - DEPTHS["image"]])
    peer.republish("image", qos=reliable)  # another publisher, which counts anew: nothing is missing
    send(3)
    assert (len(came), len(lost)) == (1 + DEPTHS["image"] + 3, 1)
    source.destroy()
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_only_the_type_that_a_parameter_names_is_taken(ready: Any) -> None:
    assert ready.change(Transition.TRANSITION_DEACTIVATE)
    assert ready.set_parameter("image_type", "sensor_msgs/msg/CompressedImage") == ""
    assert ready.set_parameter("events_type", "mambaseg_ros/msg/EventArray") == ""
    assert ready.change(Transition.TRANSITION_ACTIVATE)
    ready.process.wait_for_line(
        "they publish sensor_msgs/msg/Image, expected sensor_msgs/msg/CompressedImage: convert it, or remap 'image'"
    )
    ready.republish("image", CompressedImage, qos_profile_sensor_data)
    ready.wait_until_connected()
    assert ready.diagnosed("images").values["type"] == "sensor_msgs/msg/CompressedImage"
    assert ready.diagnosed("events").values["type"] == "mambaseg_ros/msg/EventArray"
    stamp_ns = next(times)
    send_events(ready, stamp_ns)
    message = CompressedImage(format="png")
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.data.frombytes(cv2.imencode(".png", np.full(SIZE, 100, np.uint8))[1].tobytes())
    ready.images.publish(message)
    ready.spin_until(lambda: bool(ready.masks and ready.statuses), "the mask and its status")
    assert (ready.statuses[-1].state, ready.statuses[-1].events_used) == (OK, 99)

    ready.republish("image")
    assert ready.change(Transition.TRANSITION_DEACTIVATE)
    for name in ("image_type", "events_type"):
        assert ready.set_parameter(name, "auto") == ""
    assert ready.change(Transition.TRANSITION_ACTIVATE)
    ready.wait_until_connected()
    all_is_well(ready)


def test_a_type_whose_package_is_missing_is_said_and_undone(
    peer: Peer, tmp_path: Path, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    package = tmp_path / "dvs_msgs" / "__init__.py"
    package.parent.mkdir()
    package.write_text("raise ImportError('half a workspace')")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    fixed = {"image_type": "sensor_msgs/msg/Image", "events_type": "dvs_msgs/msg/EventArray"}
    peer.process = start(*node_command(**fixed), env={**os.environ, "PYTHONPATH": path})
    peer.process.wait_for_line("cannot activate: type dvs_msgs/msg/EventArray cannot be imported (half a workspace)")
    state = peer.diagnosed("state")
    assert (state.level, state.values["state"]) == (2, "inactive")
    assert peer.images.get_subscription_count() == 0
    assert peer.set_parameter("events_type", "auto") == ""
    assert peer.change(Transition.TRANSITION_ACTIVATE)
    peer.wait_until_connected()
    all_is_well(peer)
    assert peer.process.stop() == 0
    assert "Traceback" not in peer.process.output, peer.process.output


def test_without_publishers_ids_the_numbers_of_two_are_not_mixed(domain: int) -> None:
    """rclpy of Jazzy gives a message's number, but not whose it is."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("counting", context=context)
    lost: list[int] = []
    source = InputSubscription(
        node, "image", "auto", "best_effort", take=lambda message, publisher: None, lost=lost.append,
        reported=lambda number: None, qos_met=lambda: None, warn=print,
    )  # fmt: skip

    def receive(number: int, publishers: int) -> None:
        source._alone = publishers <= 1
        source._receive(None, {"publication_sequence_number": number})

    for number, publishers in ((100, 1), (102, 1), (103, 2), (5000, 2), (5001, 1), (5003, 1)):
        receive(number, publishers)
    assert lost == [1, 1]
    source.destroy()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_polled_subscription_is_out_of_the_executor_s_hands_and_says_what_does_not_fit(domain: int) -> None:
    """In a wait set the events of a subscription kept Fast DDS awake while messages waited."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node, executor = rclpy.create_node("polling", context=context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    told: list[str] = []
    source = InputSubscription(
        node, "events", "auto", "reliable", take=None, lost=lambda number: None, reported=lambda number: None,
        qos_met=lambda: told.append("qos"), warn=told.append,
    )  # fmt: skip
    publisher = node.create_publisher(EventArray, "events", QoSProfile(depth=9))

    def until(ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + HANG_S
        while not ready():
            assert time.monotonic() < deadline
            source.poll()
            executor.spin_once(timeout_sec=0.01)

    until(lambda: publisher.get_subscription_count() > 0)
    subscription = source._subscription[0]
    assert not any(map(executor.can_execute, (subscription, *subscription.event_handlers)))
    publisher.publish(EventArray(height=SIZE[0], width=SIZE[1], seq=7))
    fetched: list[Any] = []
    until(lambda: bool(fetched.extend(source.fetch()) or fetched))
    assert [(message.read().seq, size) for message, size in fetched] == [(7, len(fetched[0][0].data))]
    node.destroy_publisher(publisher)
    publisher = node.create_publisher(EventArray, "events", qos_profile_sensor_data)
    until(lambda: bool(told))
    assert told[0] == "qos"
    assert "asks for 'reliable'" in told[1]
    source.destroy()
    assert source.fetch() == []
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize("topic", ["image", "events"])
def test_a_loss_that_cannot_be_is_said_and_not_counted(domain: int, topic: str) -> None:
    """Fast DDS once reported 2**31 messages lost at once; garbage in seq makes the same of events."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("counting", context=context)
    lost: list[int] = []
    reported: list[int] = []
    warned: list[str] = []
    source = InputSubscription(
        node, topic, "auto", "best_effort", take=lambda message, publisher: None, lost=lost.append,
        reported=reported.append, qos_met=lambda: None, warn=warned.append,
    )  # fmt: skip
    for change in (3, 2**31, -(2**31), 2**64 - 1, 0):
        source._count_reported(SimpleNamespace(total_count_change=change))
    for number in (1, 3, 2**31, 2**31 + 2):
        source._note(number, {"publisher_gid": {"data": [1] * 16}})
    assert (reported, lost) == ([3, 0], [1, 1])
    assert [f"/{topic}: the middleware reports {change} lost" in said for change, said in
            zip((2**31, -(2**31), 2**64 - 1), warned, strict=False)] == [True] * 3  # fmt: skip
    assert warned[3:] == [why_not_lost(f"/{topic}", f"the number of a message jumped to {2**31}")]
    source.destroy()
    node.destroy_node()
    rclpy.shutdown(context=context)
