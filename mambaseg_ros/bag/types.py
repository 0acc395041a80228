"""Message types and files of bags, for machines with and without ROS (library: rosbags)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer
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


def define(store: Typestore, kind: str) -> None:
    """Give `store` the definition of a type that it lacks, from the installed package.

    Raises:
        ValueError: the package is not installed here, or has no such message.
    """
    if kind in store.types:
        return
    package = kind.split("/")[0]
    folders = [Path(prefix, "share", package, "msg") for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":")]
    types: dict[str, Any] = {}
    for file in (file for folder in folders for file in folder.glob("*.msg")):
        types.update(get_types_from_msg(file.read_text(), f"{package}/msg/{file.stem}"))
    if kind not in types:
        raise ValueError(
            f"type {kind} has no definition in {':'.join(map(str, folders))}; expected {package} to be installed: "
            "install it and source the workspace again"
        )
    store.register(types)


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """Read a ROS 2 bag (mcap or sqlite3); types that it does not define are taken from `typestore`.

    Raises:
        ValueError: there is no such bag, or it cannot be read.
    """
    if not path.is_dir():
        raise ValueError(f"bag {path} does not exist; expected the folder of a ROS 2 bag: check the path")
    try:
        reader = AnyReader([path], default_typestore=typestore())
        reader.open()
    except (AnyReaderError, ReaderError) as error:
        raise ValueError(
            f"bag {path} cannot be read ({error}); expected a ROS 2 bag with its metadata.yaml: record it again, or "
            "repair it with `ros2 bag reindex`"
        ) from error
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def new_bag(path: Path) -> Iterator[Writer]:
    """A new mcap bag that appears under its name only when it is complete.

    Raises:
        ValueError: something of that name exists already, or the name is that of a ROS 1 bag.
    """
    if path.suffix == ".bag":
        raise ValueError(f"bag {path} ends in .bag, the name of a ROS 1 file; expected a folder's name: leave it out")
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
