"""Masks between images over real DDS: on the grid, of the right image, as `bag segment --rate` makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import ERROR, OK, SIZE
from peer import stamp_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo

from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.segment import segment
from mambaseg_ros.bag.types import ImageWriter, make_header, new_bag, typestore
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import COLUMNS_TYPE
from mambaseg_ros.parameters import read_parameters

pytestmark = pytest.mark.ros
START_NS = 1_700_000_000_000_000_000  # a whole second, so a mask time
MS = 1_000_000
GRID = [START_NS + round(k * 10**9 / 30) for k in range(30)]
# what is sent: images by their stamps, and until when events are, milliseconds
SENT = [
    ("image", -10), ("events", 0), ("events", 34), ("events", 67), ("image", 90), ("events", 101), ("events", 134),
    ("events", 167), ("events", 201), ("image", 190), ("events", 234),  # one that comes late
    ("image", 290), ("image", 310), ("events", 267), ("events", 301), ("events", 334),  # and two that come early
    ("events", 367), ("events", 401), ("events", 434), ("events", 467), ("events", 501),  # images end
    ("image", 510), ("events", 534),
]  # fmt: skip
AGES_MS = [
    10, 43.333333, 76.666667, 10, 43.333333, 76.666667, 110, 43.333333, 76.666667, 10, 23.333333, 56.666667, 90,
    123.333333,
]  # fmt: skip
PARAMETERS = {
    "model": "mambaseg_nano", "image_height": 32, "image_width": 48, "device": "cpu", "buffer_ms": 5000.0,
    "mask_rate_hz": 30.0,
}  # fmt: skip


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, SIZE, np.uint8)


def packet(end_ms: int) -> tuple[np.ndarray, ...]:
    """Columns x, y, t_offset_ns, p of 300 events of 40 ms; the last one is at the end."""
    rng = np.random.default_rng(1000 + end_ms)
    x, y = (rng.integers(0, below, 300, dtype=np.uint16) for below in SIZE[::-1])
    first_ms = max([-40, *(ms for what, ms in SENT if what == "events" and ms < end_ms)])
    t = np.sort(rng.integers(0, (end_ms - first_ms) * MS, 300))
    t[-1] = (end_ms - first_ms) * MS
    return x, y, START_NS + first_ms * MS + t, rng.integers(0, 2, 300).astype(np.uint8)


def write_bag(path: Path) -> Path:
    """The same messages in a bag, in the order in which they are sent."""
    store, number = typestore(), 0
    kind = store.types[COLUMNS_TYPE]
    with new_bag(path) as bag:
        images, events = ImageWriter(bag, store, "/image"), bag.add_connection("/events", COLUMNS_TYPE, typestore=store)
        for index, (what, ms) in enumerate(SENT):
            bag_ns = START_NS + index
            if what == "image":
                images.write(bag_ns, make_header(store, START_NS + ms * MS, "camera"), picture(number))
                number += 1
            else:
                x, y, t_ns, p = packet(ms)
                header = make_header(store, int(t_ns[0]), "events")
                message = kind(header, *SIZE, index, x, y, (t_ns - t_ns[0]).astype(np.uint32), p)
                bag.write(events, bag_ns, store.serialize_cdr(message, COLUMNS_TYPE))
    return path


def offline(bag: Path, out: Path, weights: Path) -> dict[int, np.ndarray]:
    words = [f"{name}={value}" for name, value in {**PARAMETERS, "weights": weights}.items()]
    segment(bag, out, parameters=read_parameters(words), warn=print)
    with Bag(out) as reader:
        messages = [reader.deserialize(topic, data) for topic, _, data in reader.messages()]
    return {stamp_to_ns(message.header.stamp): image_from_message(message) for message in messages}


@pytest.fixture
def rated(peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]) -> Any:
    """A peer with a node of 30 masks a second, whose clock stands still, so that it never waits in vain for events."""
    clock = peer.node.create_publisher(Clock, "/clock", 10)
    peer.process = start(*node_command(use_sim_time="true", **PARAMETERS))
    peer.wait_until_connected()
    peer.spin_until(lambda: clock.get_subscription_count() > 0, "the node hears /clock")
    tick = Clock()
    tick.clock.sec = START_NS // 10**9
    clock.publish(tick)
    return peer


def counted(peer: Any, name: str) -> int:
    # its stamps are of the node's clock, which stands still
    found = [entry for array in peer.diagnostics[-1:] for entry in array.status if entry.name.endswith(": images")]
    return max((int(pair.value) for entry in found for pair in entry.values if pair.key == name), default=-1)


def answer(peer: Any, time_ns: int) -> Any:
    """The status of a mask time."""
    peer.spin_until(lambda: any(stamp_of(status) == time_ns for status in peer.statuses), f"a status of {time_ns}")
    return next(status for status in peer.statuses if stamp_of(status) == time_ns)


def test_masks_between_images_are_on_the_grid_and_those_of_the_bag_bit_for_bit(
    rated: Any, tmp_path: Path, small_checkpoint: Path
) -> None:
    infos = rated.node.create_publisher(CameraInfo, "camera_info", 10)
    rated.listen("camera_info", CameraInfo)
    rated.spin_until(lambda: infos.get_subscription_count() > 0, "the node wants camera_info")
    infos.publish(CameraInfo(height=SIZE[0], width=SIZE[1]))
    times, number, answers = iter(GRID), 0, []
    for what, ms in SENT:
        if what == "image":
            rated.send_image(START_NS + ms * MS, picture(number))
            number += 1
            rated.spin_until(lambda: counted(rated, "images_received") == number, "the image is received")  # noqa: B023
        else:
            x, y, t_ns, p = packet(ms)
            rated.send_events(x, y, t_ns, p, height=SIZE[0], width=SIZE[1])
            answers.append(answer(rated, next(times)))
    last = answers[-1]
    made, missing = answers[: len(AGES_MS)], answers[len(AGES_MS) : -1]
    assert [status.state for status in made] == [OK] * len(AGES_MS), [status.message for status in made]
    assert [status.image_age_ns for status in made] == [round(age_ms * MS) for age_ms in AGES_MS]
    assert [status.window_end_ns for status in answers] == GRID[: len(answers)]

    # images end: masks end with their age, and come back
    assert [(status.state, status.policy, status.image_age_ns) for status in missing] == [(ERROR, "drop", -1)] * 2
    assert missing[0].message.startswith(
        "the newest image is 156.7 ms old at the mask's time; expected one of at most "
    )
    assert (last.state, last.image_age_ns) == (OK, 23_333_333)
    assert (last.mask_times, last.masks_published, last.mask_times_dropped) == (17, 15, 2)
    assert (last.images_received, last.images_used, last.images_replaced) == (number, 6, 0)

    rated.spin_until(lambda: len(rated.masks) == 15 and len(rated.seen["camera_info"]) >= 1, "all masks")
    live = {stamp_of(mask): np.frombuffer(mask.data, np.uint8).reshape(SIZE) for mask in rated.masks}
    assert list(live) == [time_ns for time_ns, status in zip(GRID, answers, strict=False) if status.state == OK]
    assert {mask.header.frame_id for mask in rated.masks} == {"camera"}
    assert {stamp_of(info) for info in rated.seen["camera_info"]} <= set(live)
    expected = offline(write_bag(tmp_path / "bag"), tmp_path / "masks", small_checkpoint)
    assert list(expected) == list(live)
    for time_ns, mask in expected.items():
        np.testing.assert_array_equal(live[time_ns], mask)
    assert len({mask.tobytes() for mask in live.values()}) == len(live)  # events move each of them
    refusal = rated.set_parameter("mask_rate_hz", 10.0)
    assert refusal.startswith("parameter 'mask_rate_hz' cannot change while the node is active; expected it")
