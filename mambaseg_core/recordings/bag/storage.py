"""What one storage file of a bag has in common, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import BinaryIO, NamedTuple, Protocol


class Channel(NamedTuple):
    """The messages of one topic and type in one file.

    Attributes:
        topic: its name.
        type: `pkg/msg/Name`; "" if the file does not name it.
        serialization: "cdr", "ros1", or another encoding, such as "json".
        definition: the type's definition; "" if the file lacks it.
        form: how the definition is written: "ros2msg", "ros1msg", "ros2idl", "omgidl" or "".
        qos: the QoS profiles that the publishers offered, as YAML; "" if unknown.
        message_count: number of its messages.
    """

    topic: str
    type: str
    serialization: str
    definition: str
    form: str
    qos: str
    message_count: int


class StoredMessage(NamedTuple):
    """One message as it lies in the file, at the time when it was recorded."""

    channel: Channel
    time_ns: int
    data: bytes


class BoundedFile:
    """A file of which no more bytes are read than it has; libraries reserve memory for the length that a record claims.

    Args:
        file: the file, opened for reading.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.seek, self.tell, self.readline, self.close = file.seek, file.tell, file.readline, file.close

    def read(self, count: int = -1) -> bytes:
        """Read so many bytes; all that are left if there are fewer, or count is negative."""
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if count < 0 else min(count, left))


class Storage(Protocol):
    """One open file.

    Attributes:
        channels: its channels.
        start_ns: time of the earliest message; None without messages.
        last_ns: time of the latest message; None without messages.
    """

    channels: list[Channel]
    start_ns: int | None
    last_ns: int | None

    def messages(self, wanted: Collection[Channel], start_ns: int | None) -> Iterator[StoredMessage]:
        """Yield the messages of channels at or after a time, in the order of their times; None: all of them."""

    def close(self) -> None:
        """Close the file."""
