"""ROS 2 bags (mcap or sqlite3) with an event topic, read without ROS (library: rosbags)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError

from mambaseg_core.events.array import BYTES_PER_EVENT, Events
from mambaseg_core.events.decode import Decoder
from mambaseg_core.events.decode.cdr import CdrEventArray, read_event_array
from mambaseg_core.recordings.bag_messages import (
    COLUMNS,
    EVENT_TYPES,
    NESTED,
    PACKETS,
    event_typestore,
    events_of_columns,
)
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.per_process import PerProcess
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.resume import resume_words

STORAGE_SUFFIXES: Final = (".mcap", ".db3")

_BLOCK_BYTES: Final = 1 << 20  # of a block, as messages or as events, whichever is more
_MCAP_MAGIC_BYTES: Final = 8
_MCAP_RECORD: Final = struct.Struct("<BQ")  # operation and length of the record's content
_EXPECTED: Final = "a ROS 2 bag (mcap or sqlite3)"
_REMEDY: Final = "repair it with `ros2 bag reindex` or `mcap recover`, or record it again"


def open_bag_events(path: str | Path, topic: str | None = None) -> EventReader:
    """Open the events of a bag.

    Times are those of the messages. `mambaseg_ros`, `dvs_msgs` and `prophesee_event_msgs` have ROS time. EventPackets
    have `time_base` plus the time in the packet; with `evt3`, it is the sensor's own clock, unwrapped.

    Args:
        path: the bag's folder, or one `.mcap` or `.db3` file.
        topic: the event topic; None if the bag has only one.

    Raises:
        EventFileError: the bag is missing or damaged, or does not have exactly one topic of events.
    """
    return EventReader(BlockSource(BagStream(Path(path), topic)))


class _Where(NamedTuple):
    """Messages of one block: they begin after `skip` messages from `start_ns` on the recorder's clock."""

    start_ns: int
    skip: int
    messages: int
    before: bytes  # words that restore the decoder's state


class BagStream:
    """A `PacketStream` over one topic of a bag.

    Args:
        path: the bag.
        topic: the topic, or None.
    """

    format = "rosbag"

    def __init__(self, path: Path, topic: str | None) -> None:
        self.path = path
        self._bag = PerProcess(partial(_Bag, path, topic))
        with one_sentence(path, _EXPECTED, _REMEDY):
            self.encoding, self.height, self.width = self._bag.get().sensor()
        self._counts: dict[str, int] = {}

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the messages in order, many small ones as one block."""
        decoder = _MessageDecoder(self)
        before, skip, last_stamp = b"", 0, None
        where = _Where(0, 0, 0, b"")
        parts: list[Events] = []
        size = 0  # bytes of the block
        for stamp, data in self._bag.get().messages(None):
            skip = skip + 1 if stamp == last_stamp else 0
            last_stamp = stamp
            if not parts:
                where = _Where(stamp, skip, 0, before)
            parts.append(decoder.decode(data))
            size += max(len(data), len(parts[-1]) * BYTES_PER_EVENT)
            if size >= _BLOCK_BYTES:
                yield where._replace(messages=len(parts)), _join(parts)
                before, parts, size = decoder.state, [], 0
        if parts:
            yield where._replace(messages=len(parts)), _join(parts)
        self._counts = decoder.counts()

    def read(self, where: _Where) -> Events:
        """Decode one block again; its times may be off by a multiple of the clock's wrap."""
        decoder = _MessageDecoder(self, where.before)
        messages = self._bag.get().messages(where.start_ns)
        wanted = islice(messages, where.skip, where.skip + where.messages)
        return _join([Events.empty(self.height, self.width), *(decoder.decode(data) for _, data in wanted)])

    def counters(self) -> dict[str, int]:
        """Return the decoder's counters from `scan`."""
        return dict(self._counts)

    def close(self) -> None:
        """Close the bag; it opens again when needed."""
        self._bag.close()

    def message(self, data: bytes) -> Any:
        """Deserialize a message."""
        return self._bag.get().message(data)


class _MessageDecoder:
    """Decodes the messages of one topic in order; `state` has the words to resume a new decoder from here."""

    def __init__(self, stream: BagStream, before: bytes = b"") -> None:
        self._stream = stream
        self._size = (stream.height, stream.width)
        self._outside = 0
        self.state = before
        self._decoder: Decoder | None = None

    def decode(self, data: bytes) -> Events:
        with one_sentence(self._stream.path, "event messages that can be read", _REMEDY):
            message = self._stream.message(data)
            if hasattr(message, "encoding"):
                return self._packet(message)
            if isinstance(message, CdrEventArray):
                events, outside = message.events, message.outside
            else:
                events, outside = events_of_columns(message)
            self._outside += outside
            Events.empty(*self._size).require_size(events.height, events.width)
            return events

    def counts(self) -> dict[str, int]:
        if self._decoder is None:
            return {"outside": self._outside}
        return {name: int(getattr(self._decoder.counters, name)) for name in vars(self._decoder.counters)}

    def _packet(self, message: Any) -> Events:
        packed = message.events.tobytes()
        sensor = (str(message.encoding), int(message.height), int(message.width))
        expected = (self._stream.encoding, *self._size)
        if message.is_bigendian or sensor != expected:
            raise ValueError(f"packet is {sensor}, big endian {message.is_bigendian}, after {expected}, little endian")
        time_base_ns = int(message.time_base)
        if self._decoder is None:
            self._decoder = Decoder(sensor[0], height=sensor[1], width=sensor[2])
            if self.state:
                self._decoder.decode(self.state, time_base_ns)
        self.state = resume_words(sensor[0], self.state + packed)
        return self._decoder.decode(packed, time_base_ns, int(message.seq))


def _join(parts: list[Events]) -> Events:
    """Join the events of consecutive messages; times that step back between them are raised."""
    floor_ns = np.iinfo(np.int64).min
    raised = []
    for part in (part for part in parts if len(part)):
        raised.append(Events(part.x, part.y, np.maximum(part.t_ns, floor_ns), part.p, part.height, part.width))
        floor_ns = int(raised[-1].t_ns[-1])
    return Events.concatenate(raised or parts[:1])


class _Bag:
    """An open bag and its one event topic."""

    def __init__(self, path: Path, topic: str | None) -> None:
        self._path = path
        self._store = event_typestore()
        with ExitStack() as stack:
            with one_sentence(path, _EXPECTED, _REMEDY):
                self._readers = _readers(path, stack)
            self._connections = [_events_of(reader, topic) for reader in self._readers]
            self._check(topic)
            self._stack = stack.pop_all()

    def _check(self, topic: str | None) -> None:
        topics = {(connection.topic, connection.msgtype) for found in self._connections for connection in found}
        if len(topics) == 1:
            self.type = topics.pop()[1]
            return
        known = {f"{connection.topic} ({connection.msgtype})" for r in self._readers for connection in r.connections}
        raise EventFileError(
            f"bag {self._path} has {len(topics)} topics of events{f' named {topic}' if topic else ''} (its topics: "
            f"{', '.join(sorted(known)[:8])}), expected one of {', '.join(EVENT_TYPES)}; "
            f"give the topic, or record one of these"
        )

    def messages(self, start_ns: int | None) -> Iterator[tuple[int, bytes]]:
        """Yield the recorder's time and the bytes of each message from a time on."""
        with one_sentence(self._path, _EXPECTED, _REMEDY):
            for reader, connections in zip(self._readers, self._connections, strict=True):
                if connections:
                    for _, stamp, data in reader.messages(connections, start=start_ns):
                        yield stamp, bytes(data)

    def message(self, data: bytes) -> Any:
        if self.type in NESTED:
            return read_event_array(self.type.split("/")[0], data)
        return self._store.deserialize_cdr(data, self.type)

    def sensor(self) -> tuple[str, int, int]:
        """Return the encoding, height and width of the first message."""
        _, data = next(self.messages(None), (0, b""))
        if not data:
            raise EventFileError(f"bag {self._path} has no message of events, expected at least one; {_REMEDY}")
        message = self.message(data)
        if self.type in NESTED:
            return self.type.split("/")[0], message.height, message.width
        encoding = str(message.encoding) if self.type in PACKETS else COLUMNS.split("/")[0]
        events = Events.empty(int(message.height), int(message.width))  # checks the size
        return encoding, events.height, events.width

    def close(self) -> None:
        self._stack.close()


def _refuse_broken_lengths(path: Path) -> None:
    """Raise ReaderError if an mcap file's records overrun its end; rosbags would allocate memory for any length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = _MCAP_MAGIC_BYTES
        while at < size - _MCAP_MAGIC_BYTES:
            file.seek(at)
            head = file.read(_MCAP_RECORD.size)
            length = _MCAP_RECORD.unpack(head)[1] if len(head) == _MCAP_RECORD.size else size
            at += _MCAP_RECORD.size + length
            if at > size:
                raise ReaderError(f"{path.name} has a record of {length} bytes that ends behind the file's end")


def _readers(path: Path, stack: ExitStack) -> list[Reader]:
    """Open a bag by its metadata.yaml; if that is missing or unusable, open its storage files in their order."""
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        if file.suffix == ".mcap":
            _refuse_broken_lengths(file)
    if path.is_file():
        return [stack.enter_context(Reader(path))]
    try:
        return [stack.enter_context(Reader(path))]
    except (ReaderError, FileNotFoundError):
        files = sorted((file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES), key=_natural)
        if not files:
            raise
        return [stack.enter_context(Reader(file)) for file in files]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts `bag_10.mcap` after `bag_9.mcap`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _events_of(reader: Reader, topic: str | None) -> list[Connection]:
    return [
        connection
        for connection in reader.connections
        if connection.msgtype in EVENT_TYPES and topic in (None, connection.topic)
    ]
