"""Bags through the command line: convert, play into a node, record, draw."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import handmade_bags as bags
import numpy as np
import pytest
from mambaseg_ros.msg import SegmentationStatus
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Int32

from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.play import play
from mambaseg_ros.bag.types import new_bag, typestore
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import STATUS_TYPE
from mambaseg_ros.signals import INTERRUPTED

pytestmark = pytest.mark.ros
MAMBASEG = (sys.executable, "-m", "mambaseg_ros")


def test_a_real_davis_recording_gets_a_mask_for_every_frame(
    shared: Path, tmp_path: Path, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    export, bag, masks = shared / "davis" / "davis346_street_export", tmp_path / "street", tmp_path / "masks"
    converted = start(*MAMBASEG, "bag", "convert", export, bag)
    assert converted.child.wait(timeout=300) == 0, converted.output
    recorder = start(*MAMBASEG, "bag", "record", masks, "/mambaseg/mask", "/mambaseg/status", "--idle", 8)
    node = start(*node_command())
    for topic in ("mask", "status"):
        recorder.wait_for_line(f"recording /mambaseg/{topic}")  # which may be late where the machine is busy
    player = start(*MAMBASEG, "bag", "play", bag, "--rate", "0.05", "--wait", "90")
    assert player.child.wait(timeout=500) == 0, player.output
    assert recorder.child.wait(timeout=300) == 0, recorder.output + node.output

    frames = [line.split() for line in (export / "frames.txt").read_text().splitlines() if line[0] != "#"]
    stamps = [int(row[1]) * 1000 for row in frames]
    found: dict[str, list[Any]] = {"/mambaseg/mask": [], "/mambaseg/status": []}
    with Bag(masks) as reader:
        for topic, _, data in reader.messages():
            found[topic.name].append(reader.deserialize(topic, data))
    got = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in found["/mambaseg/mask"]]
    assert got == stamps, node.output
    assert {(m.height, m.width, m.encoding) for m in found["/mambaseg/mask"]} == {(260, 346, "mono8")}
    answers = [status for status in found["/mambaseg/status"] if status.window_end_ns]  # others say that the node lives
    states = [(status.state, status.message) for status in answers]
    assert states[1:] == [(SegmentationStatus.STATE_OK, "")] * 3, states
    assert all(status.events_used > 100 for status in answers[1:])
    assert found["/mambaseg/status"][-1].packets_lost == 0

    drawn = start(*MAMBASEG, "bag", "pictures", bag, masks, tmp_path / "out")
    assert drawn.child.wait(timeout=300) == 0, drawn.output
    assert len(list((tmp_path / "out").glob("overlay_*.png"))) == 4
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


def test_an_interrupted_recording_leaves_no_bag_under_its_name(tmp_path: Path, start: Callable[..., Any]) -> None:
    recorder = start(*MAMBASEG, "bag", "record", tmp_path / "masks", "/nothing")
    deadline = time.monotonic() + 300
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    (unfinished,) = tmp_path.iterdir()
    assert unfinished.match(".masks.*.part")
    recorder.child.kill()
    recorder.child.wait(timeout=300)
    assert list(tmp_path.iterdir()) == [unfinished]


def test_playing_a_missing_bag_says_so(tmp_path: Path, start: Callable[..., Any]) -> None:
    player = start(*MAMBASEG, "bag", "play", tmp_path / "nothing")
    assert player.child.wait(timeout=300) == 1
    assert "nothing is missing" in player.output
    assert "Traceback" not in player.output


def test_a_bag_is_played_from_its_middle_twice_with_its_own_clock(
    tmp_path: Path, start: Callable[..., Any], peer: Any
) -> None:
    bag = tmp_path / "numbers"
    store = typestore()
    stamps = [10**9 + 10**8 * number for number in range(10)]
    with new_bag(bag) as writer:
        connection = writer.add_connection("/number", "std_msgs/msg/Int32", typestore=store)
        for number, stamp_ns in enumerate(stamps):
            message = store.types["std_msgs/msg/Int32"](data=number)
            writer.write(connection, stamp_ns, store.serialize_cdr(message, "std_msgs/msg/Int32"))
    numbers: list[int] = []
    clocks: list[int] = []
    peer.node.create_subscription(Int32, "/number", lambda message: numbers.append(message.data), 100)
    peer.node.create_subscription(Clock, "/clock", lambda message: clocks.append(stamp_to_ns(message.clock)), 1000)
    player = start(*MAMBASEG, "bag", "play", bag, "--start", 0.5, "--loops", 2, "--rate", 0.5, "--clock")
    peer.process = player
    peer.spin_until(lambda: len(numbers) >= 10, "both passes")
    assert player.child.wait(timeout=300) == 0, player.output
    assert numbers == [5, 6, 7, 8, 9] * 2
    assert min(clocks) == stamps[5]
    assert stamps[9] - 20_000_000 < max(clocks) <= stamps[9]
    assert sum(later < earlier for earlier, later in pairwise(clocks)) == 1  # the loop
    assert len(clocks) > 4 * len(numbers)  # time passes between the messages too

    late = start(*MAMBASEG, "bag", "play", bag, "--start", 7)
    assert late.child.wait(timeout=300) == 1
    assert "start is 7 s; expected 0 or more and at most 0.9 s" in late.output.replace("\n", " ")


def test_what_cannot_be_played_does_not_stop_the_rest(tmp_path: Path, domain: int, start: Callable[..., Any]) -> None:
    """A topic of a type that is not installed, and a message that a recorder stamped before it had a clock."""
    found = [bags.Message(5, "/foo", b"\0\1\0\0"), *bags.messages()]
    bags.sqlite(tmp_path / "b_0.db3", found, {**bags.TYPES, "/foo": "foo_msgs/msg/Foo"}).close()
    pytest.importorskip("event_camera_msgs.msg", reason="event_camera_msgs is not built: run `make test`")
    player = start(*MAMBASEG, "bag", "play", tmp_path, "--wait", 0)
    assert player.child.wait(timeout=300) == 0, player.output
    text = player.output.replace("\n", " ")
    assert "topic /foo (foo_msgs/msg/Foo) is left out" in text
    assert "no message for 53.9 years of the bag after 5 ns: skipped" in text
    assert f"/events: {bags.PACKETS} messages" in text
    assert f"/image: {bags.IMAGES} messages" in text

    chosen = start(*MAMBASEG, "bag", "play", tmp_path, "--wait", 0, "--topic", "/image", "--start", 1.7e9)
    assert chosen.child.wait(timeout=300) == 0, chosen.output
    assert chosen.lines[-1] == f"/image: {bags.IMAGES} messages", chosen.output
    assert "/events" not in chosen.output
    wrong = start(*MAMBASEG, "bag", "play", tmp_path, "--exclude", "/nothing")
    assert wrong.child.wait(timeout=300) == 1
    assert "topic /nothing is not in bag" in wrong.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", [0, 600], ids=["between messages", "for subscribers"])
def test_signals_end_every_wait(tmp_path: Path, start: Callable[..., Any], wait: int, number: signal.Signals) -> None:
    first, *rest = [m for m in bags.messages() if m.topic == "/image"]
    late = [message._replace(time_ns=message.time_ns + 3600 * 10**9) for message in rest]
    bags.sqlite(tmp_path / "b_0.db3", [first, *late]).close()
    player = start(*MAMBASEG, "bag", "play", tmp_path, "--wait", wait, "--longest-gap", 7200, "--topic", "/image")
    player.wait_for_line("waiting for a subscriber of /image (at most 600 s)" if wait else "nobody subscribes")
    assert player.stop(number) == INTERRUPTED, player.output
    assert "Traceback" not in player.output


def test_a_player_that_needs_a_subscriber_plays_to_nobody(tmp_path: Path, domain: int) -> None:
    bag = bags.humble(tmp_path / "bag")
    with pytest.raises(ValueError, match=r"^nobody subscribes to .*/image.* after 0 s; expected a node that takes one"):
        play(bag, wait_for_subscribers_s=0.0, need_subscriber=True, topics=["/image"])


def test_status_type_is_the_message(tmp_path: Path) -> None:
    """The bag's definition (msg/ beside the Python folders) is the one that was built."""
    fields = typestore().fielddefs[STATUS_TYPE][1]
    names = [name for name, _ in fields]
    assert names == list(SegmentationStatus.get_fields_and_field_types())
    assert np.unique(names).size == len(names)


def test_a_drivers_type_is_recorded_with_its_definition(tmp_path: Path, start: Callable[..., Any], peer: Any) -> None:
    messages = pytest.importorskip("event_camera_msgs.msg", reason="event_camera_msgs is not built: run `make test`")
    publisher = peer.node.create_publisher(messages.EventPacket, "/packets", 10)
    recorder = start(*MAMBASEG, "bag", "record", tmp_path / "packets", "/packets", "--idle", 3)
    peer.process = recorder
    peer.spin_until(lambda: publisher.get_subscription_count() > 0, "the recorder subscribes")
    packet = messages.EventPacket(height=4, width=5, seq=7, encoding="mono")
    publisher.publish(packet)
    assert recorder.child.wait(timeout=300) == 0, recorder.output
    with Bag(tmp_path / "packets") as reader:
        found = [reader.deserialize(topic, data) for topic, _, data in reader.messages()]
    assert [(message.seq, message.encoding) for message in found] == [(7, "mono")]


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [("rate", v, "rate") for v in (0.0, -1.0, math.inf, math.nan)]
    + [("start_s", v, "start") for v in (-1.0, 9.0, math.inf, math.nan)]
    + [("longest_gap_s", v, "longest gap") for v in (0.0, -1.0, math.nan)]
    + [("wait_for_subscribers_s", v, "wait") for v in (-1.0, math.nan)],
)
def test_numbers_that_no_bag_can_be_played_with_are_refused(
    tmp_path: Path, argument: str, value: float, named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{named} is {value:g}.*; expected"):
        play(bags.humble(tmp_path / "bag"), **{"wait_for_subscribers_s": 0.0, argument: value})  # type: ignore[arg-type]
