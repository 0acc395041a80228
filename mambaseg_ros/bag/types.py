"""Message types and files of bags, for machines with and without ROS (library: rosbags)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

from mambaseg_core.files import atomic_path, plain_path
from mambaseg_core.recordings.bag.types import new_typestore
from mambaseg_ros.messages.types import IMAGE_TYPE, STATUS_TYPE, package_of
from mambaseg_ros.resources import share_folder

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def typestore() -> Typestore:
    """Return the message types that are read from bags, and our own status."""
    store = new_typestore()
    text = (share_folder() / "msg" / f"{STATUS_TYPE.split('/')[-1]}.msg").read_text()
    store.register(get_types_from_msg(text, STATUS_TYPE))
    return store


def define(store: Typestore, kind: str) -> None:
    """Give `store` the definition of a type that it lacks, from the installed package.

    Raises:
        ValueError: the package is not installed here, or has no such message.
    """
    if kind in store.types:
        return
    package = package_of(kind)
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
def new_bag(path: Path, storage: str = "mcap", *, salvage: bool = False) -> Iterator[Writer]:
    """Write a new bag, which appears under its name only when it is complete.

    Args:
        path: its folder.
        storage: "mcap" or "sqlite3".
        salvage: as of `atomic_path`.

    Raises:
        ValueError: an unknown storage, something of that name exists already, or the name is that of a ROS 1 bag.
        WriteError: the bag cannot be written.
    """
    if storage not in STORAGES:
        raise ValueError(f"storage is {storage!r}; expected one of {', '.join(map(repr, STORAGES))}")
    if path.suffix == ".bag":
        raise ValueError(f"bag {path} ends in .bag, the name of a ROS 1 file; expected a folder's name: leave it out")
    if path.exists():
        raise ValueError(f"bag {path} exists already; expected a new name: remove it or choose another")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, salvage=salvage) as part, plain_path(part) as plain:
        try:
            with Writer(plain, version=9, storage_plugin=STORAGES[storage]) as writer:
                yield writer
        except sqlite3.Error as error:  # of what the system refused
            raise OSError(str(error)) from error


def make_header(store: Typestore, stamp_ns: int, frame_id: str) -> Any:
    """Return a std_msgs/Header for a bag."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = store.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


class ImageWriter:
    """Writes pictures as sensor_msgs/Image to one topic of an open bag."""

    def __init__(self, writer: Writer, store: Typestore, topic: str) -> None:
        self._writer = writer
        self._store = store
        self._connection = writer.add_connection(topic, IMAGE_TYPE, typestore=store)

    def write(self, bag_ns: int, header: Any, picture: npt.NDArray[np.uint8]) -> None:
        """Write one picture, [H, W] (mono8) or [H, W, 3] (rgb8), at `bag_ns` of the bag's time."""
        grey = picture.ndim == 2
        message = self._store.types[IMAGE_TYPE](
            header=header,
            height=picture.shape[0],
            width=picture.shape[1],
            encoding="mono8" if grey else "rgb8",
            is_bigendian=0,
            step=picture.shape[1] * (1 if grey else 3),
            data=np.ascontiguousarray(picture).reshape(-1),
        )
        self._writer.write(self._connection, bag_ns, self._store.serialize_cdr(message, IMAGE_TYPE))
