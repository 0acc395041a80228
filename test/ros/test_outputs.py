"""All inputs and outputs besides image, EventArray and mask, over real DDS."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drive import DEGRADED, ERROR, OK
from lifecycle_msgs.msg import Transition
from peer import stamp_of
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mambaseg_ros.messages.images import image_from_message

pytestmark = pytest.mark.ros

SIZE, INPUT = (52, 70), (32, 48)  # of the images, and of the model
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def send_events(peer: Any, end_ns: int) -> None:
    """50 events in the 50 ms before end_ns, and one just after it."""
    number = np.arange(51)
    peer.send_events(number, number, end_ns - 50 * MS + number * MS, number % 2, height=SIZE[0], width=SIZE[1])


def answered(peer: Any, send: Callable[[], Any]) -> Any:
    """The status that answers what is sent."""
    before = len(peer.statuses)
    send()
    peer.spin_until(lambda: len(peer.statuses) > before, "a status")
    return peer.statuses[-1]


def test_label_info_comes_to_late_subscribers(ready: Any) -> None:
    messages = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not built: run `make test`")
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    ready.listen("label_info", messages.LabelInfo, latched)
    ready.spin_until(lambda: ready.seen["label_info"], "label_info")
    names = {entry.class_id: entry.class_name for entry in ready.seen["label_info"][0].class_map}
    assert names == dict(enumerate(("flat", "background", "object", "vegetation", "human", "vehicle")))


def test_diagnostics_name_model_rates_and_buffer(ready: Any, small_checkpoint: Any) -> None:
    assert ready.set_parameter("images_stale_ms", 60_000.0) == ""  # or all is stale before the next /diagnostics
    for index in range(4):
        send_events(ready, START_NS + index * 50 * MS)
        answered(ready, lambda: ready.send_image(START_NS, np.full(SIZE, 9, np.uint8)))
    model = ready.diagnosed("model").values
    assert (model["model"], model["device"], model["weights"]) == ("mambaseg_nano", "cpu", str(small_checkpoint))
    assert len(model["weights sha256"]) == 64
    assert model["back end"] in ("cpu", "reference")
    assert float(model["memory [MiB]"]) > 50
    assert "own p50 / p95 [ms]" in model
    stages = ("image ahead", "image", "window", "second", "mapping", "publishing")
    assert {f"stage {name} p50 / p95 [ms]" for name in stages} <= set(model)
    events = ready.diagnosed("events")
    assert (events.level, events.message) == (0, "good")
    assert events.values["events_received"] == "204"
    assert (events.values["buffer [events]"], events.values["buffer fill [%]"]) == ("204", "0.0")
    assert ready.diagnosed("state").message == "active"
    assert ready.set_parameter("images_stale_ms", 500.0) == ""
    ready.spin_until(lambda: ready.diagnosed("events").message == "stale", "stale events")


def test_enable_rests_and_goes_on(ready: Any) -> None:
    services = pytest.importorskip("std_srvs.srv", reason="std_srvs is not installed")

    def enable(data: bool) -> Any:
        return ready.call(services.SetBool, "/mambaseg/enable", services.SetBool.Request(data=data))

    assert enable(False).success
    ready.spin_until(lambda: ready.images.get_subscription_count() == 0, "the node unsubscribes")
    assert "disabled" in ready.diagnosed("state").message
    assert enable(True).success
    ready.wait_until_connected()
    send_events(ready, START_NS)
    status = answered(ready, lambda: ready.send_image(START_NS, np.full(SIZE, 9, np.uint8)))
    assert (status.state, status.images_received) == (OK, 1), status.message
    assert ready.change(Transition.TRANSITION_DEACTIVATE)
    answer = enable(False)
    assert not answer.success
    assert "the node is inactive; expected it active" in answer.message
    assert ready.change(Transition.TRANSITION_ACTIVATE)
    ready.wait_until_connected()
    assert enable(False).success
    assert ready.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE)  # enables it again
    ready.wait_until_connected()
    assert ready.diagnosed("state").message == "active"
    assert enable(False).success
    ready.spin_until(lambda: ready.images.get_subscription_count() == 0, "the node unsubscribes")
    assert enable(True).success


def test_errors_and_warnings_stand_in_the_log_whichever_comes_first(ready: Any) -> None:
    """rclpy remembers the severity of a call by its place in the source, and raises where it changes."""

    def logged(sentence: str, severity: str) -> None:
        ready.spin_until(
            lambda: any(f"[{severity}]" in line and sentence in line for line in ready.process.lines), sentence
        )

    picture = np.full(SIZE, 9, np.uint8)
    assert ready.exchange(START_NS, picture, encoding="jpeg").state == ERROR
    logged("image has encoding 'jpeg'", "ERROR")
    assert ready.exchange(START_NS + 1, picture).state == DEGRADED
    logged("no events have come", "WARN")
    assert ready.exchange(START_NS + 2, picture, encoding="rgb8").state == ERROR
    logged("expected a size above 0", "ERROR")
    assert "severity" not in ready.process.output


def test_compressed_images(ready: Any) -> None:
    ready.republish("image", CompressedImage, qos_profile_sensor_data)
    ready.wait_until_connected()
    message = CompressedImage(format="jpeg")
    message.data.frombytes(cv2.imencode(".jpg", np.full((*SIZE, 3), 90, np.uint8))[1].tobytes())
    message.header.stamp.sec = START_NS // 10**9
    send_events(ready, START_NS)
    assert answered(ready, lambda: ready.images.publish(message)).state == OK
    ready.spin_until(lambda: ready.masks, "the mask")
    assert (ready.masks[0].height, ready.masks[0].width) == SIZE


@pytest.mark.parametrize("package", ["dvs_msgs", "prophesee_event_msgs"])
def test_nested_event_arrays_are_read_raw(ready: Any, package: str) -> None:
    messages = pytest.importorskip(f"{package}.msg", reason=f"{package} is not built: run `make test`")
    ready.republish("events", messages.EventArray)
    ready.wait_until_connected()
    array = messages.EventArray(height=SIZE[0], width=SIZE[1])
    for index in range(21):
        event = messages.Event(x=index, y=SIZE[0] if index == 3 else index, polarity=bool(index % 2))
        event.ts.sec, event.ts.nanosec = divmod(START_NS - (20 - index) * MS + 5, 10**9)
        array.events.append(event)
    ready.events.publish(serialize_message(array))
    status = answered(ready, lambda: ready.send_image(START_NS, np.full(SIZE, 9, np.uint8)))
    assert (status.state, status.events_used, status.events_refused) == (OK, 19, 1), status.message


def test_masks_of_events_alone_while_images_are_missing(ready: Any) -> None:
    for name, value in (("when_images_missing", "events_only"), ("images_stale_ms", 100.0), ("timer_ms", 20.0)):
        assert ready.set_parameter(name, value) == ""
    send_events(ready, START_NS)
    ready.spin_until(lambda: ready.masks and ready.statuses, "a mask of the events alone")
    mask, status = ready.masks[0], ready.statuses[0]
    assert (mask.height, mask.width) == SIZE
    assert mask.header.stamp.sec * 10**9 + mask.header.stamp.nanosec == START_NS
    assert (status.state, status.policy, status.masks_from_events) == (DEGRADED, "events_only", 1)
    assert ready.set_parameter("when_images_missing", "hold") == ""
    ready.spin_until(lambda: len(ready.masks) > 2, "the same mask again")
    assert ready.masks[-1].header == mask.header
    assert ready.set_parameter("when_images_missing", "drop") == ""
    send_events(ready, START_NS + 50 * MS)
    status = answered(ready, lambda: ready.send_image(START_NS + 50 * MS, np.full(SIZE, 9, np.uint8)))
    assert (status.state, status.policy) == (OK, ""), status.message


def camera_info(size: tuple[int, int], focal: float) -> CameraInfo:
    height, width = size
    info = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def test_calibration_from_two_camera_infos(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    image_size = (60, 80)
    peer.process = start(*node_command(calibration="camera_info"))
    peer.wait_until_connected()
    status = answered(peer, lambda: peer.send_image(START_NS, np.full(image_size, 9, np.uint8)))
    assert status.state == ERROR
    assert "no calibration yet; expected a CameraInfo on each of /camera_info and /event_camera_info" in status.message
    topics = {"camera_info": camera_info(image_size, 30.0), "event_camera_info": camera_info(SIZE, 70.0)}
    publishers = {topic: peer.node.create_publisher(CameraInfo, topic, 5) for topic in topics}
    peer.spin_until(lambda: all(p.get_subscription_count() for p in publishers.values()), "it listens to camera_info")
    stamp_ns = START_NS
    while not peer.masks:
        for topic, publisher in publishers.items():
            publisher.publish(topics[topic])
        stamp_ns += 50 * MS
        send_events(peer, stamp_ns)
        status = answered(peer, lambda s=stamp_ns: peer.send_image(s, np.full(image_size, 9, np.uint8)))
        peer.executor.spin_once(timeout_sec=0.1)
    assert (status.state, status.message) == (OK, "")
    mask = np.frombuffer(peer.masks[0].data, np.uint8).reshape(image_size)
    assert (mask[30, 26:54] < 6).all()  # the event camera sees 35 / 70 to each side, 15 pixels of the image
    assert (mask[:, :24] == 255).all()
    assert isinstance(peer.masks[0], Image)


LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
VOLATILE = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize("early", ["camera_info", "event_camera_info"])
def test_a_latched_camera_info_is_taken_whoever_starts_first(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]], early: str
) -> None:
    """One info is latched before the node starts, the other after, and neither is sent again."""
    image_size, late = (60, 80), "camera_info" if early == "event_camera_info" else "event_camera_info"
    infos = {"camera_info": camera_info(image_size, 30.0), "event_camera_info": camera_info(SIZE, 70.0)}
    first = peer.node.create_publisher(CameraInfo, early, LATCHED)
    first.publish(infos[early])
    peer.process = start(*node_command(calibration="camera_info"))
    peer.wait_until_connected()
    second = peer.node.create_publisher(CameraInfo, late, LATCHED)
    second.publish(infos[late])
    volatile = peer.node.create_publisher(CameraInfo, "camera_info", VOLATILE)  # its QoS fits one subscription only
    peer.spin_until(lambda: first.get_subscription_count() and volatile.get_subscription_count(), "it listens")
    for stamp_ns in range(START_NS, START_NS + 2500 * MS, 50 * MS):
        send_events(peer, stamp_ns)
        status = answered(peer, lambda s=stamp_ns: peer.send_image(s, np.full(image_size, 9, np.uint8)))
        peer.executor.spin_once(timeout_sec=0.1)
        if peer.masks:
            break
    assert (status.state, status.message) == (OK, "")
    assert "incompatible QoS" not in peer.process.output


def test_the_mask_s_camera_info_is_the_camera_s_or_that_of_the_model_s_output(ready: Any) -> None:
    sent = camera_info(SIZE, 70.0)
    camera = ready.node.create_publisher(CameraInfo, "camera_info", VOLATILE)
    stamps = itertools.count(START_NS, 50 * MS)
    infos = ready.listen("camera_info", CameraInfo)

    def answer_both() -> bool:
        """Send an image and the camera's info; return True once the mask's info has come for a mask of this size."""
        camera.publish(sent)
        stamp_ns = next(stamps)
        send_events(ready, stamp_ns)
        answered(ready, lambda: ready.send_image(stamp_ns, np.full(SIZE, 9, np.uint8)))
        seen = ready.seen["camera_info"]
        return bool(seen) and seen[-1].header == ready.masks[-1].header and seen[-1].height == ready.masks[-1].height

    ready.spin_until(answer_both, "the mask's info")
    found = ready.seen["camera_info"][-1]
    assert found.header != sent.header
    sent.header = found.header
    assert found == sent
    assert ready.set_parameter("mask_size", "model") == ""
    ready.spin_until(lambda: answer_both() and ready.masks[-1].height == INPUT[0], "a mask of the model's size")
    found = ready.seen["camera_info"][-1]
    assert (found.height, found.width) == INPUT
    assert found.k[0] == 70.0 * INPUT[1] / SIZE[1]
    ready.node.destroy_subscription(infos)
    ready.spin_until(lambda: camera.get_subscription_count() == 0, "nobody needs the camera's info")


def test_chosen_classes_have_topics_of_their_own(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    peer.process = start(*node_command(publish_classes="'flat, all='"))
    peer.process.wait_for_line("cannot configure: parameter 'publish_classes' names a class ''; expected classes of")
    every = "all=flat+background+object+vegetation+human+vehicle"
    assert peer.set_parameter("publish_classes", f"flat, {every}") == ""
    for topic in ("classes/flat", "classes/all"):
        peer.listen(topic)
    assert peer.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    peer.wait_until_connected()
    stamps, picture = itertools.count(START_NS, 50 * MS), np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)

    def all_have_come() -> bool:
        """Send an image; return True once there are a mask and its classes."""
        peer.exchange(next(stamps), picture)
        peer.spin_until(lambda: bool(peer.masks), "a mask")
        return all(seen and seen[-1].header == peer.masks[-1].header for seen in peer.seen.values())

    peer.spin_until(all_have_come, "a mask and its classes")
    ids = image_from_message(peer.masks[-1])
    for topic, chosen in (("classes/flat", ids == 0), ("classes/all", ids < 6)):
        assert peer.seen[topic][-1].encoding == "mono8"
        np.testing.assert_array_equal(image_from_message(peer.seen[topic][-1]), np.where(chosen, 255, 0))
    assert (ids == 255).any()


def test_a_mask_waits_for_late_subscribers_where_its_qos_is_overridden(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]], tmp_path: Path
) -> None:
    late = {"durability": "transient_local", "depth": 1}
    given = {"/mambaseg/mask": late, "/mambaseg/classes/flat": late, "/mambaseg/msk": late, "/other/mask": {"depth": 2}}
    section = {"publish_classes": "flat", "qos_overrides": {topic: {"publisher": qos} for topic, qos in given.items()}}
    (tmp_path / "qos.yaml").write_text(json.dumps({"mambaseg": {"ros__parameters": section}}))
    peer.process = start(*node_command(), "--params-file", tmp_path / "qos.yaml")
    peer.wait_until_connected()
    for stamp_ns in (START_NS, START_NS + 50 * MS):
        peer.exchange(stamp_ns, np.full(SIZE, 9, np.uint8))
        for topic in ("mask", "classes/flat"):
            subscription = peer.listen(topic, qos=LATCHED)
            peer.spin_until(lambda t=topic: bool(peer.seen[t]), f"the last {topic}")
            assert [stamp_of(message) for message in peer.seen[topic]] == [stamp_ns]
            peer.node.destroy_subscription(subscription)
        steps = ("DEACTIVATE", "CLEANUP", "CONFIGURE", "ACTIVATE")  # the parameters are declared already
        assert peer.change(*(getattr(Transition, f"TRANSITION_{step}") for step in steps))
        peer.wait_until_connected()
    ignored = [line for line in peer.process.lines if "is ignored" in line]
    assert len(ignored) == 3, ignored
    nearest = "nearest is 'qos_overrides./mambaseg/mask.publisher.durability'"
    assert any("qos_overrides./mambaseg/msk.publisher.durability" in line and nearest in line for line in ignored)
