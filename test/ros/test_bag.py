"""Bags through the command line: convert, play into a node, record, draw."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mambaseg_ros.msg import SegmentationStatus

from mambaseg_ros.bag.types import STATUS_TYPE, open_bag, typestore

pytestmark = pytest.mark.ros
MAMBASEG = (sys.executable, "-m", "mambaseg_ros")


def test_a_real_davis_recording_gets_a_mask_for_every_frame(
    shared: Path, tmp_path: Path, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    export, bag, masks = shared / "davis" / "davis346_street_export", tmp_path / "street", tmp_path / "masks"
    converted = start(*MAMBASEG, "bag", "convert", export, bag)
    assert converted.child.wait(timeout=60) == 0, converted.output
    node = start(*node_command())
    recorder = start(*MAMBASEG, "bag", "record", masks, "/mambaseg/mask", "/mambaseg/status", "--idle", 8)
    player = start(*MAMBASEG, "bag", "play", bag, "--rate", "0.05", "--wait", "90")
    assert player.child.wait(timeout=180) == 0, player.output
    assert recorder.child.wait(timeout=90) == 0, recorder.output + node.output

    frames = [line.split() for line in (export / "frames.txt").read_text().splitlines() if line[0] != "#"]
    stamps = [int(row[1]) * 1000 for row in frames]
    found: dict[str, list[Any]] = {"/mambaseg/mask": [], "/mambaseg/status": []}
    with open_bag(masks) as reader:
        for connection, _, data in reader.messages():
            found[connection.topic].append(reader.deserialize(data, connection.msgtype))
    got = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in found["/mambaseg/mask"]]
    assert got == stamps, node.output
    assert {(m.height, m.width, m.encoding) for m in found["/mambaseg/mask"]} == {(260, 346, "mono8")}
    states = [(status.state, status.message) for status in found["/mambaseg/status"]]
    assert states[1:] == [(SegmentationStatus.OK, "")] * 3, states
    assert all(status.events_used > 100 for status in found["/mambaseg/status"][1:])
    assert found["/mambaseg/status"][-1].packets_lost == 0

    drawn = start(*MAMBASEG, "bag", "pictures", bag, masks, tmp_path / "out")
    assert drawn.child.wait(timeout=60) == 0, drawn.output
    assert len(list((tmp_path / "out").glob("overlay_*.png"))) == 4
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


def test_an_interrupted_recording_leaves_no_bag_under_its_name(tmp_path: Path, start: Callable[..., Any]) -> None:
    recorder = start(*MAMBASEG, "bag", "record", tmp_path / "masks", "/nothing")
    unfinished = tmp_path / ".masks.part"
    deadline = time.monotonic() + 60
    while not unfinished.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert unfinished.exists()
    recorder.child.kill()
    recorder.child.wait(timeout=10)
    assert not (tmp_path / "masks").exists()
    again = start(*MAMBASEG, "bag", "record", tmp_path / "masks", "/nothing")
    assert again.child.wait(timeout=60) == 1
    assert ".masks.part is left from an interrupted run" in again.output.replace("\n", " ")
    shutil.rmtree(unfinished)


def test_playing_a_missing_bag_says_so(tmp_path: Path, start: Callable[..., Any]) -> None:
    player = start(*MAMBASEG, "bag", "play", tmp_path / "nothing")
    assert player.child.wait(timeout=60) == 1
    assert "does not exist" in player.output
    assert "Traceback" not in player.output


def test_status_type_is_the_message(tmp_path: Path) -> None:
    """The bag's definition (msg/ beside the Python folders) is the one that was built."""
    fields = typestore().fielddefs[STATUS_TYPE][1]
    names = [name for name, _ in fields]
    assert names == list(SegmentationStatus.get_fields_and_field_types())
    assert np.unique(names).size == len(names)


def test_a_drivers_type_is_recorded_with_its_definition(
    tmp_path: Path, start: Callable[..., Any], peer: Any
) -> None:
    messages = pytest.importorskip("event_camera_msgs.msg", reason="event_camera_msgs is not built: run `make test`")
    publisher = peer.node.create_publisher(messages.EventPacket, "/packets", 10)
    recorder = start(*MAMBASEG, "bag", "record", tmp_path / "packets", "/packets", "--idle", 3)
    peer.process = recorder
    peer.spin_until(lambda: publisher.get_subscription_count() > 0, "the recorder subscribes")
    time.sleep(0.5)
    packet = messages.EventPacket(height=4, width=5, seq=7, encoding="mono")
    publisher.publish(packet)
    assert recorder.child.wait(timeout=60) == 0, recorder.output
    with open_bag(tmp_path / "packets") as reader:
        found = [reader.deserialize(data, connection.msgtype) for connection, _, data in reader.messages()]
    assert [(message.seq, message.encoding) for message in found] == [(7, "mono")]
