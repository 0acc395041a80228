"""`Bag`: the topics and messages of a bag, by what its storage files hold."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.typesys.store import Typestore

from mambaseg_core.events.messages import NESTED_TYPES, RawArray
from mambaseg_core.recordings.bag.files import (
    EXPECTED,
    REMEDY,
    ZSTD_MAGIC,
    open_storage,
    read_metadata,
    storage_files,
    unpack_message,
)
from mambaseg_core.recordings.bag.storage import Channel, Storage, StoredMessage
from mambaseg_core.recordings.bag.types import known_typestore, type_name, typestore_of
from mambaseg_core.recordings.errors import EventFileError, one_sentence


class BagTopic(NamedTuple):
    """A topic of a bag with messages of one type and serialization; a name with two of them has two topics.

    Attributes:
        name: its name.
        type: `pkg/msg/Name`; "" if the bag does not name it.
        serialization: "cdr", "ros1", or another encoding, such as "json", which cannot be read.
    """

    name: str
    type: str
    serialization: str


class BagMessage(NamedTuple):
    """One message of a bag; `time_ns` is when it was recorded."""

    topic: BagTopic
    time_ns: int
    data: bytes


class Bag:
    """An open bag; a context manager.

    Files are believed more than metadata.yaml, of which only the list of files and the types of topics are used that
    the files do not name.

    Args:
        path: the bag's folder, or one storage file (`.mcap`, `.db3`, ROS 1's `.bag`, each also packed with zstd).

    Attributes:
        path: the bag.
        topics: number of messages of each topic, by name.
        start_ns: time of the earliest message; None without messages.
        last_ns: time of the latest message; None without messages.

    Raises:
        EventFileError: there is no such bag, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise EventFileError(f"bag {path} is missing, expected {EXPECTED}; check the path")
        self.path = path
        self._stores: dict[BagTopic, Typestore] = {}
        with ExitStack() as stack:
            with one_sentence(path, EXPECTED, REMEDY):
                metadata = read_metadata(path if path.is_dir() else path.parent)
                storages = [open_storage(file, stack) for file in storage_files(path, metadata)]
            self._types = {} if metadata is None else metadata.types
            self._storages = sorted(storages, key=lambda storage: storage.start_ns or 0)
            self._stack = stack.pop_all()
        counts: dict[BagTopic, int] = {}
        for channel in self._channels():
            topic = self._topic(channel)
            counts[topic] = counts.get(topic, 0) + channel.message_count
        self.topics = dict(sorted(counts.items()))
        times = [time for storage in storages for time in (storage.start_ns, storage.last_ns) if time is not None]
        self.start_ns: int | None = min(times, default=None)
        self.last_ns: int | None = max(times, default=None)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def qos(self, topic: BagTopic) -> str:
        """Return the QoS profiles that the publishers of a topic offered, as YAML; "" if the bag does not hold them."""
        return next((channel.qos for channel in self._channels() if self._topic(channel) == topic and channel.qos), "")

    def messages(self, topics: Collection[BagTopic] | None = None, start_ns: int | None = None) -> Iterator[BagMessage]:
        """Yield the messages of topics in the order in which they were recorded.

        Args:
            topics: which; None: all.
            start_ns: only messages recorded at or after this time.

        Raises:
            EventFileError: the bag is damaged there.
        """
        with one_sentence(self.path, EXPECTED, REMEDY):
            for stored in _in_order(
                [self._stored(storage, topics, start_ns) for storage in self._storages], self._apart()
            ):
                yield BagMessage(self._topic(stored.channel), stored.time_ns, self._unpacked(stored))

    def deserialize(self, topic: BagTopic, data: bytes) -> Any:
        """Return a message as an object with the fields of its type.

        Raises:
            EventFileError: the type is unknown, the bag defines a nested event message otherwise than its package,
                or the bytes are not such a message.
        """
        store = self._store(topic)
        with one_sentence(self.path, f"messages of {topic.type} on {topic.name}", REMEDY):
            if topic.serialization == "ros1":
                return store.deserialize_ros1(data, topic.type)
            return store.deserialize_cdr(data, topic.type)

    def event_message(self, topic: BagTopic, data: bytes) -> Any:
        """Return an event message as an object; one with a nested message per event, as a `RawArray`.

        Raises:
            EventFileError: as of `deserialize`.
        """
        if topic.type not in NESTED_TYPES:
            return self.deserialize(topic, data)
        self._store(topic)  # checks the definition
        return RawArray(topic.type.split("/")[0], data, topic.serialization == "ros1")

    def as_cdr(self, topic: BagTopic, data: bytes) -> bytes:
        """Return a message as ROS 2 serializes it.

        Raises:
            EventFileError: as of `deserialize`.
        """
        if topic.serialization == "cdr":
            return data
        message = self.deserialize(topic, data)
        ros2 = typestore_of(topic.type, "", "", ros1=False)
        with one_sentence(
            self.path, f"messages of {topic.type} on {topic.name}", "convert the bag with rosbags-convert"
        ):
            return bytes(ros2.serialize_cdr(message, topic.type))

    def why_unreadable(self, topic: BagTopic) -> str:
        """Return why messages of a topic cannot be deserialized; "" if they can."""
        if topic.serialization not in ("cdr", "ros1"):
            return f"its messages are encoded as {topic.serialization!r}, expected 'cdr' or 'ros1'"
        try:
            self._store(topic)
        except EventFileError as error:
            return str(error)
        return ""

    def _store(self, topic: BagTopic) -> Typestore:
        """Return a type store with a topic's type; it is made once."""
        if topic not in self._stores:
            store = self._new_store(topic)
            if topic.type in NESTED_TYPES:
                self._check_nested(topic, store)
            self._stores[topic] = store
        return self._stores[topic]

    def _new_store(self, topic: BagTopic) -> Typestore:
        channels = [channel for channel in self._channels() if self._topic(channel) == topic]
        text, form = next(((c.definition, c.form) for c in channels if c.definition.strip()), ("", ""))
        try:
            return typestore_of(topic.type, text, form, ros1=topic.serialization == "ros1")
        except ValueError as error:
            raise EventFileError(
                f"topic {topic.name} of bag {self.path} cannot be read: {error}; leave the topic out, or record it "
                "with its definition (mcap does)"
            ) from error

    def _check_nested(self, topic: BagTopic, store: Typestore) -> None:
        """Raise EventFileError if a bag defines an event otherwise than `RawArray` reads it."""
        for name in (topic.type, topic.type.replace("EventArray", "Event")):
            fields, known = (types.fielddefs[name][1] for types in (store, known_typestore()))
            if fields != known:
                raise EventFileError(
                    f"topic {topic.name} of bag {self.path} defines {name} with the fields "
                    f"{[field for field, _ in fields]}, expected those of the published package, "
                    f"{[field for field, _ in known]}, with its types; record it with that"
                )

    def _channels(self) -> Iterator[Channel]:
        for storage in self._storages:
            yield from storage.channels

    def _topic(self, channel: Channel) -> BagTopic:
        kind = channel.type or type_name(self._types.get(channel.topic, ""))
        return BagTopic(channel.topic, kind, channel.serialization)

    def _stored(
        self, storage: Storage, topics: Collection[BagTopic] | None, start_ns: int | None
    ) -> Iterator[StoredMessage]:
        wanted = [channel for channel in storage.channels if topics is None or self._topic(channel) in topics]
        if wanted and (start_ns is None or (storage.last_ns or 0) >= start_ns):
            yield from storage.messages(wanted, start_ns)

    def _apart(self) -> bool:
        """Return True if each file ends before the next begins."""
        times = [(s.start_ns, s.last_ns) for s in self._storages if s.start_ns is not None]
        return all(last <= start for (_, last), (start, _) in pairwise(times))  # type: ignore[operator]

    def _unpacked(self, stored: StoredMessage) -> bytes:
        """Return a message's bytes; rosbag2 packs each of them where its compression mode is `message`."""
        if stored.channel.serialization != "cdr" or stored.data[:1] in (b"", b"\0"):
            return stored.data
        if stored.data.startswith(ZSTD_MAGIC):
            return unpack_message(stored.data)
        raise EventFileError(
            f"a message on {stored.channel.topic} of bag {self.path} begins with {stored.data[:4]!r}, expected CDR, "
            "plain or packed with zstd; record it without compression"
        )


def _in_order(streams: list[Iterator[StoredMessage]], apart: bool) -> Iterator[StoredMessage]:
    if not apart:
        yield from heapq.merge(*streams, key=lambda stored: stored.time_ns)
        return
    for stream in streams:
        yield from stream
