"""What the event tests share: where the recordings are, and their packets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mambaseg_core.events.decode import compiled

PACKET = """
std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint64 time_base
string encoding
bool is_bigendian
uint8[] events
"""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; the test is skipped where there is none."""
    root = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[2] / ".." / "shared"))
    if not (root / "data" / "ros2").is_dir():
        pytest.skip(f"no recordings in {root / 'data'}; set MAMBASEG_SHARED to the folder that has data/")
    return root / "data"


@pytest.fixture
def packets(shared_data: Path, tmp_path: Path) -> Callable[[str], list[Any]]:
    """Reads all event packets of a recording in shared/data/ros2."""

    def read(name: str) -> list[Any]:
        return list(_read(_readable(shared_data / "ros2" / name, tmp_path)))

    return read


def _readable(bag: Path, folder: Path) -> Path:
    """The bag by links, its metadata completed: test_events_2 leaves storage_identifier empty."""
    copy = folder / bag.name
    copy.mkdir()
    for file in bag.iterdir():
        if file.suffix != ".yaml":
            (copy / file.name).symlink_to(file)
    storage = "mcap" if list(bag.glob("*.mcap")) else "sqlite3"
    text = (bag / "metadata.yaml").read_text()
    (copy / "metadata.yaml").write_text(
        text.replace('storage_identifier: ""', f"storage_identifier: {storage}")
    )
    return copy


def _read(bag: Path) -> Iterator[Any]:
    # AnyReader would parse the IDL that the mcap carries, which rosbags 0.11 cannot; our own text is enough
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name in ("event_camera_msgs/msg/EventPacket", "event_array_msgs/msg/EventArray"):
        store.register(get_types_from_msg(PACKET, name))
    with Reader(bag) as reader:
        for connection, _, raw in reader.messages():
            yield store.deserialize_cdr(raw, connection.msgtype)


@pytest.fixture(params=["reference", "cpu"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each decoder, plain and compiled."""
    if request.param == "cpu" and compiled.missing():
        pytest.skip(f"compiled decoders: {compiled.missing()}")
    return str(request.param)
