"""Message types and files of bags, for machines with and without ROS (library: rosbags)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mambaseg_ros.resources import share_folder

IMAGE_TYPE = "sensor_msgs/msg/Image"
EVENTS_TYPE = "mambaseg_ros/msg/EventArray"
STATUS_TYPE = "mambaseg_ros/msg/SegmentationStatus"
OWN_TYPES = (EVENTS_TYPE, STATUS_TYPE)


def typestore() -> Typestore:
    """The message types of ROS 2 and our own."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name in OWN_TYPES:
        text = (share_folder() / "msg" / f"{name.split('/')[-1]}.msg").read_text()
        store.register(get_types_from_msg(text, name))
    return store


@contextmanager
def new_bag(path: Path) -> Iterator[Writer]:
    """A new mcap bag that appears under its name only when it is complete.

    Raises:
        ValueError: something of that name exists already.
    """
    if path.exists():
        raise ValueError(f"bag {path} exists already; expected a new name: remove it or choose another")
    unfinished = path.parent / f".{path.name}.part"
    if unfinished.exists():
        raise ValueError(f"{unfinished} is left from an interrupted run: remove it and try again")
    unfinished.mkdir(parents=True)
    with Writer(unfinished / path.name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        yield writer
    (unfinished / path.name).rename(path)
    unfinished.rmdir()
