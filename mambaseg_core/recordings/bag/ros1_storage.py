"""Bags of ROS 1, `.bag` (library: rosbags)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader

from mambaseg_core.recordings.bag.storage import BoundedFile, Channel, StoredMessage
from mambaseg_core.recordings.bag.types import type_name


class Ros1Storage:
    """A `Storage` over a `.bag` file of version 2.0.

    Args:
        path: the file.

    Raises:
        Exception: of rosbags; the file is damaged or has no index.
    """

    def __init__(self, path: Path) -> None:
        self._reader = Reader(_BoundedPath(path))  # type: ignore[arg-type]
        self._reader.open()
        self._channels = {connection.id: _channel(connection) for connection in self._reader.connections}
        self.channels = list(self._channels.values())
        empty = not any(channel.message_count for channel in self.channels)
        self.start_ns = None if empty else self._reader.start_time
        self.last_ns = None if empty else self._reader.end_time - 1

    def messages(self, wanted: Collection[Channel], start_ns: int | None) -> Iterator[StoredMessage]:
        """Yield the messages of channels at or after a time, in the order of their times; None: all of them."""
        connections = [c for c in self._reader.connections if self._channels[c.id] in wanted]
        if connections:
            for connection, time_ns, data in self._reader.messages(connections, start=start_ns):
                yield StoredMessage(self._channels[connection.id], time_ns, bytes(data))

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


class _BoundedPath:
    """A path whose file is opened as a `BoundedFile`, with what rosbags asks of a path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.exists = path.exists

    def open(self, mode: str) -> BoundedFile:
        return BoundedFile(self._path.open(mode))  # type: ignore[arg-type]


def _channel(connection: Connection) -> Channel:
    definition = connection.msgdef.data
    return Channel(
        connection.topic, type_name(connection.msgtype), "ros1", definition, "ros1msg", "", connection.msgcount
    )
