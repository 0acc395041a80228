"""More than the node can take, over real DDS: 10,000 malformed messages of each type, and a flood of good ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drive import SIZE, all_is_well, count, named, send_events, settle, times
from mambaseg_ros.msg import EventArray
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.ros

FLOOD = 10_000


def event_array() -> Any:
    message = EventArray(height=SIZE[0], width=SIZE[1])
    for column in (message.x, message.y, message.t_offset_ns):
        column.extend(range(20))
    message.p.extend([0, 1, 0, 1])  # columns of different lengths
    return message


def image() -> Any:
    message = Image(height=SIZE[0], width=SIZE[1], step=SIZE[1], encoding="mono8")
    message.data.frombytes(bytes(100))  # too few
    return message


def compressed_image() -> Any:
    message = CompressedImage(format="jpeg")
    message.data.frombytes(b"\xff\xd8\xff\xe0 not a JPEG after all" * 5)
    return message


def event_packet() -> Any:
    package = pytest.importorskip("event_camera_msgs.msg", reason="event_camera_msgs is not built: run `make test`")
    message = package.EventPacket(height=SIZE[0], width=SIZE[1], encoding="evt3", is_bigendian=True)
    message.events.frombytes(bytes(range(200)))
    return message


def nested(package: str) -> Any:
    messages = pytest.importorskip(f"{package}.msg", reason=f"{package} is not built: run `make test`")
    array = messages.EventArray(height=0, width=SIZE[1])  # a sensor without rows
    array.events = [messages.Event(x=index, y=index) for index in range(5)]
    return array


MALFORMED = {
    "EventArray": ("events", event_array, "columns of lengths"),
    "EventPacket": ("events", event_packet, "big endian"),
    "dvs_msgs": ("events", lambda: nested("dvs_msgs"), "dvs_msgs/EventArray"),
    "prophesee_event_msgs": ("events", lambda: nested("prophesee_event_msgs"), "prophesee_event_msgs/EventArray"),
    "Image": ("image", image, "bytes"),
    "CompressedImage": ("image", compressed_image, "jpeg"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_10000_malformed_messages(ready: Any, kind: str) -> None:
    """Every other one is broken on the wire as well: what the middleware lets through, the node must survive."""
    topic, make, sentence = MALFORMED[kind]
    message = make()
    ready.republish(topic, type(message), qos_profile_sensor_data if topic == "image" else 1000)
    ready.wait_until_connected()
    publisher = ready.images if topic == "image" else ready.events
    whole, rng = serialize_message(message), np.random.default_rng(0)
    for index in range(FLOOD):
        publisher.publish(whole if index % 2 else broken(whole, rng))
        if index % 100 == 0:
            ready.executor.spin_once(timeout_sec=0)
    ready.spin_until(lambda: int(count(ready, topic, "refused")) > 0, f"refusals of {kind}")
    ready.spin_until(lambda: count(ready, topic, "received [1/s]") == "0.0", "the end of the flood")
    refused = int(count(ready, topic, "refused"))
    publisher.publish(whole)  # so that the last fault is of this kind
    ready.spin_until(lambda: int(count(ready, topic, "refused")) > refused, "one more")
    named(ready, sentence)
    ready.republish(topic)
    ready.wait_until_connected()
    for _ in range(2):  # whatever sizes and times the garbage had: a camera that comes back is believed
        send_events(ready, next(times))
    ready.statuses.clear()
    status = all_is_well(ready)
    told = status.images_refused + status.images_failed + status.images_replaced + status.images_dropped
    assert status.images_received == told + status.masks_published


def broken(whole: bytes, rng: np.random.Generator) -> bytes:
    """A message cut short or with some bytes changed, behind a sound encapsulation."""
    octets = bytearray(whole)
    if rng.integers(2):
        return bytes(octets[: rng.integers(4, len(octets))])
    for at in rng.integers(4, len(octets), 3):
        octets[at] = rng.integers(256)
    return bytes(octets)


def test_a_flood_of_good_messages_is_taken_or_counted_to_the_last(ready: Any) -> None:
    """As fast as this process can send them; what the node or DDS cannot hold shows as gaps in seq."""
    all_is_well(ready)
    number = np.arange(2000)
    for _ in range(FLOOD):
        x, t_ns = number % SIZE[1], next(times) + number
        ready.send_events(x, x % SIZE[0], t_ns, x % 2, height=SIZE[0], width=SIZE[1])
    settle(ready, "events")
    all_is_well(ready)
    status = all_is_well(ready)
    assert status.packets_received + status.packets_lost == ready.seq
    assert status.packets_refused == 0
