"""Faults over real DDS: after each the node lives, the fault is counted and named, and good input gives good masks."""

from __future__ import annotations

import re
import signal
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from drive import DEGRADED, ERROR, OK, OTHER_SIZE, SIZE, START_NS, all_is_well, exchange, named, send_events, times
from lifecycle_msgs.msg import Transition
from mambaseg_ros.msg import EventArray, SegmentationStatus
from peer import stamp_of
from rclpy.qos import QoSProfile, QoSReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from mambaseg_ros.messages.images import image_from_message

pytestmark = pytest.mark.ros


def test_publishers_that_die_and_come_back_with_another_size(ready: Any) -> None:
    all_is_well(ready)
    ready.republish("image")
    ready.republish("events")
    ready.wait_until_connected()
    ready.seq = 0
    stamp_ns = next(times)
    send_events(ready, stamp_ns, OTHER_SIZE)  # two are refused, the third is believed
    exchange(ready, stamp_ns, OTHER_SIZE)
    assert all_is_well(ready, OTHER_SIZE).packets_refused == 2
    named(ready, f"{OTHER_SIZE[1]}x{OTHER_SIZE[0]}")
    for _ in range(3):
        ready.send_events([0], [0], [next(times)], [1], height=SIZE[0], width=SIZE[1])
    all_is_well(ready)


def test_garbage(ready: Any) -> None:
    rng = np.random.default_rng(0)
    for encoding in ("rgb8", "evil", "bayer_rggb16"):
        status = exchange(ready, next(times), encoding=encoding)
        assert status.state == ERROR
    assert (status.images_refused, status.images_health) == (3, SegmentationStatus.HEALTH_BAD)
    for _ in range(20):
        message = EventArray(height=SIZE[0], width=SIZE[1], seq=int(rng.integers(2**63)))
        message.header.stamp.sec = int(rng.integers(2**31))
        for name, kind in (("x", "H"), ("y", "H"), ("t_offset_ns", "I"), ("p", "B")):
            column = array(kind)
            column.frombytes(rng.bytes(column.itemsize * int(rng.integers(10))))
            setattr(message, name, column)
        ready.events.publish(message)
    send_events(ready, START_NS)  # whatever time the garbage had, the clock goes back to this
    status = all_is_well(ready)
    assert status.packets_refused > 5
    named(ready, "columns of lengths")
    named(ready, "'evil'")


def test_the_future_the_past_and_clocks_that_drift_apart(ready: Any) -> None:
    all_is_well(ready)
    for offset_ns in (10**11, -(10**11)):
        send_events(ready, next(times) + offset_ns)
        exchange(ready, next(times))
        all_is_well(ready)
        exchange(ready, next(times) + offset_ns)
        all_is_well(ready)
    stamp_ns = next(times)
    send_events(ready, stamp_ns - 3 * 10**9)
    status = exchange(ready, stamp_ns)
    assert (status.state, status.policy, status.events_used) == (DEGRADED, "image_only", 0)
    named(ready, "before the image's stamp")
    all_is_well(ready)


def all_have_its_stamp(peer: Any) -> bool:
    """Return True if every output has come for the last mask."""
    return all(seen and stamp_of(seen[-1]) == stamp_of(peer.masks[-1]) for seen in peer.seen.values())


def test_subscribers_come_and_go_and_parameters_are_set_to_nonsense(ready: Any) -> None:
    for _ in range(2):
        heard = [ready.listen(topic) for topic in ("color_mask", "overlay", "confidence")]
        heard.append(ready.listen("mask/compressed", CompressedImage))
        ready.spin_until(lambda: bool(all_is_well(ready)) and all_have_its_stamp(ready), "all outputs")
        for subscription in heard:
            ready.node.destroy_subscription(subscription)
    compressed = ready.seen["mask/compressed"][-1]
    np.testing.assert_array_equal(image_from_message(compressed), image_from_message(ready.masks[-1]))
    confidence = np.frombuffer(ready.seen["confidence"][-1].data, np.uint8).reshape(SIZE)
    ids = np.frombuffer(ready.masks[-1].data, np.uint8).reshape(SIZE)
    np.testing.assert_array_equal(confidence == 255, ids == 255)
    assert (confidence[ids < 6] >= 254 // 6).all()
    counts = np.bincount(ids[ids < 6], minlength=6)
    np.testing.assert_allclose(ready.statuses[-1].class_shares, counts / counts.sum(), rtol=1e-6)
    colors = np.frombuffer(ready.seen["color_mask"][-1].data, np.uint8).reshape(*SIZE, 3)
    assert (colors[ids == 255] == 0).all()
    assert colors[ids < 6].any()
    for name, value, reason in (
        ("event_wait_ms", -1.0, "0"),
        ("event_wait_ms", float("nan"), "nan"),
        ("event_wait_ms", 5000.0, "buffer_ms"),
        ("event_wait_ms", "soon", "Wrong parameter type"),
        ("when_events_missing", "panic", "one of image_only, hold, drop"),
        ("model", "mambaseg_dsec", "deactivate and cleanup"),
        ("autostart", False, ""),
        ("no_such_parameter", 1, ""),
    ):
        answer = ready.set_parameter(name, value)
        assert answer, name
        assert reason in answer
    assert ready.set_parameter("overlay_alpha", 0.25) == ""
    all_is_well(ready)


def test_qos_that_does_not_fit_is_named_on_both_sides(ready: Any) -> None:
    from rclpy.qos import QoSDurabilityPolicy

    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    subscription = ready.listen("mask", qos=latched)
    ready.process.wait_for_line("a subscriber of ~/mask asks for a QoS that it cannot have")
    ready.node.destroy_subscription(subscription)
    assert ready.change(Transition.TRANSITION_DEACTIVATE)
    assert ready.set_parameter("image_reliability", "reliable") == ""
    ready.republish("image", Image, QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT))
    assert ready.change(Transition.TRANSITION_ACTIVATE)
    ready.process.wait_for_line("'image_reliability' asks for 'reliable': set it to 'best_effort'")
    assert int(ready.diagnosed("events").values["qos_incompatible"]) >= 1
    assert ready.change(Transition.TRANSITION_DEACTIVATE)
    assert ready.set_parameter("image_reliability", "best_effort") == ""
    assert ready.change(Transition.TRANSITION_ACTIVATE)
    ready.wait_until_connected()
    all_is_well(ready)


def test_a_topic_of_a_wrong_type_is_named(ready: Any) -> None:
    ready.republish("events", Image)
    assert ready.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE)
    ready.process.wait_for_line("they publish sensor_msgs/msg/Image, expected mambaseg_ros/msg/EventArray or")
    ready.republish("events", EventArray)
    ready.wait_until_connected()
    all_is_well(ready)


def test_a_second_publisher_is_said_until_it_ends(ready: Any) -> None:
    """As a driver beside its own recording: events count twice, and each image comes twice."""
    other = rclpy.create_node("recording", context=ready.context, enable_rosout=False)
    images = other.create_publisher(Image, "image", qos_profile_sensor_data)
    events = other.create_publisher(EventArray, "events", 1000)
    ready.spin_until(lambda: images.get_subscription_count() and events.get_subscription_count(), "both are met")

    def both_send() -> Any:
        stamp_ns = next(times)
        ready.events.publish(event_array(stamp_ns, ready.seq))
        events.publish(event_array(stamp_ns, ready.seq))
        ready.seq += 1
        return exchange(ready, stamp_ns)

    ready.spin_until(lambda: "several publishers send on /events" in both_send().message, "the sentence")
    status = ready.statuses[-1]
    assert status.state == DEGRADED
    assert re.search("at the same time: /driver_[0-9]+ and /recording; expected one", status.message)
    named(ready, "several publishers send on /events")
    assert ready.diagnosed("events").level == 1
    other.destroy_node()
    ready.spin_until(lambda: all_sent_well(ready), "recovery")


def test_a_node_that_hears_its_own_mask_says_it(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    peer.process = start(*node_command(), "-r", "image:=/mambaseg/mask")
    peer.process.wait_for_line(
        "/mambaseg/mask is an output of this node; expected the topic of a sensor: remap 'image'"
    )
    assert peer.diagnosed("images").level == 1


def event_array(end_ns: int, seq: int) -> Any:
    message = EventArray(height=SIZE[0], width=SIZE[1], seq=seq, x=[1], y=[1], t_offset_ns=[0], p=[1])
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(end_ns - 1, 10**9)
    return message


def all_sent_well(peer: Any) -> bool:
    stamp_ns = next(times)
    send_events(peer, stamp_ns)
    return bool(exchange(peer, stamp_ns).state == OK)


def test_a_node_of_the_same_name_is_said_until_it_ends(ready: Any) -> None:
    all_is_well(ready)
    twin = rclpy.create_node("mambaseg", context=ready.context, enable_rosout=False)
    ready.process.wait_for_line("2 nodes have the name /mambaseg; expected one")
    assert ready.diagnosed("state").level == 2
    stamp_ns = next(times)
    send_events(ready, stamp_ns)
    assert "2 nodes have the name /mambaseg" in exchange(ready, stamp_ns).message
    twin.destroy_node()
    ready.spin_until(lambda: ready.diagnosed("state").message == "active", "recovery")
    all_is_well(ready)
    player = rclpy.create_node("player", context=ready.context, enable_rosout=False)
    player.create_publisher(Image, "/mambaseg/mask", 1)
    ready.process.wait_for_line("/player publishes /mambaseg/mask beside this node; expected this node alone")
    player.destroy_node()
    ready.spin_until(lambda: ready.diagnosed("state").message == "active", "recovery")


BREAKABLE = """
import sys, threading, torch
from mambaseg_core.inference import Segmenter
from mambaseg_ros import node
from mambaseg_ros.topics.publishers import Publishers

infer, destroy = Segmenter._infer, Publishers.destroy

def breakable(self, image, events):
    brightness = round(255 * float(image.max()))
    if brightness == 1:
        raise RuntimeError("the model broke")
    if brightness == 2:
        raise torch.OutOfMemoryError("no memory left")
    if brightness == 4:
        print("an inference without end", flush=True)
        threading.Event().wait()
    weight = next(self.model.parameters())
    kept = weight.detach().clone()
    if brightness == 3:
        weight.data.fill_(float("nan"))
    try:
        return infer(self, image, events)
    finally:
        weight.data.copy_(kept)

def once(self):
    Publishers.destroy = destroy
    raise RuntimeError("cleanup broke")

Segmenter._infer, Publishers.destroy = breakable, once
sys.exit(node.main())
"""


@pytest.fixture
def breakable(peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]) -> Iterator[Any]:
    """A node whose model breaks on images of certain brightness, and whose first cleanup breaks."""
    peer.process = start(*node_command("-c", BREAKABLE))
    peer.wait_until_connected()
    yield peer
    assert "Traceback" not in peer.process.output, peer.process.output


def test_a_model_that_breaks_a_cleanup_that_breaks_and_weights_that_are_broken(
    breakable: Any, small_checkpoint: Path, tmp_path: Path
) -> None:
    peer = breakable
    all_is_well(peer)
    for brightness, sentence in (
        (1, "RuntimeError: the model broke"),
        (2, "OutOfMemoryError: no memory left"),
        (3, "the model's logits are not all finite"),
    ):
        stamp_ns = next(times)
        send_events(peer, stamp_ns)
        status = exchange(peer, stamp_ns, picture=np.full(SIZE, brightness, np.uint8))
        assert (status.state, status.images_failed) == (ERROR, brightness)
        assert sentence in status.message
        named(peer, sentence)
        all_is_well(peer)

    down = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
    up = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    assert not peer.change(*down)  # cleanup raises once: error processing leads to unconfigured
    assert peer.change(*up)
    peer.wait_until_connected()
    all_is_well(peer)

    weights = tmp_path / "replaced.safetensors"
    weights.write_bytes(small_checkpoint.read_bytes()[:5000])
    assert peer.change(*down)
    assert peer.set_parameter("weights", str(weights)) == ""
    assert not peer.change(Transition.TRANSITION_CONFIGURE)
    state = peer.diagnosed("state")
    assert state.level == 2
    assert "cannot configure" in state.message
    assert str(weights) in state.message
    weights.write_bytes(small_checkpoint.read_bytes())
    assert peer.change(*up)
    peer.wait_until_connected()
    all_is_well(peer)
    assert peer.diagnosed("state").message == "active"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_inference_ends_the_node(breakable: Any, sign: signal.Signals) -> None:
    all_is_well(breakable)
    breakable.send_image(next(times), np.full(SIZE, 4, np.uint8))
    breakable.process.wait_for_line("an inference without end")
    assert breakable.process.stop(sign) == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_two_cameras_in_two_namespaces(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]], processes: int
) -> None:
    seen: dict[str, list[Any]] = {"left": [], "right": []}
    images = {}
    if processes == 1:
        python, module, name, *others = node_command()
        start(python, module, name, "--cameras", *seen, *others)
    for name, masks in seen.items():
        if processes == 2:
            start(*node_command(), "-r", f"__ns:=/{name}")
        images[name] = peer.node.create_publisher(Image, f"/{name}/image", qos_profile_sensor_data)
        peer.node.create_subscription(Image, f"/{name}/mambaseg/mask", masks.append, 10)
    peer.spin_until(lambda: all(p.get_subscription_count() for p in images.values()), "both nodes")
    for index, (name, publisher) in enumerate(images.items()):
        height, width = SIZE[0] + index, SIZE[1]
        message = Image(height=height, width=width, step=width, encoding="mono8")
        message.data.frombytes(bytes(height * width))
        message.header.frame_id = name
        peer.spin_until(lambda p=publisher, m=message, n=name: p.publish(m) or bool(seen[n]), f"a mask of {name}")
    for index, (name, masks) in enumerate(seen.items()):
        assert {(mask.header.frame_id, mask.height) for mask in masks} == {(name, SIZE[0] + index)}
