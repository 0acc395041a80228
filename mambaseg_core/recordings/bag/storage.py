"""What one storage file of a bag has in common, whatever its format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol


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
