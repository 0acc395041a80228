"""The events of one topic of a bag."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from mambaseg_core.events.array import BYTES_PER_EVENT, Events
from mambaseg_core.events.decode import Decoder
from mambaseg_core.events.messages import EVENT_TYPES, RawArray, events_from_message
from mambaseg_core.recordings.bag.bag import Bag, BagTopic
from mambaseg_core.recordings.bag.files import REMEDY
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.per_process import PerProcess
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.resume import resume_words

_BLOCK_BYTES: Final = 1 << 20  # of a block, as messages or as events, whichever is more


def open_bag_events(path: str | Path, topic: str | None = None) -> EventReader:
    """Open the events of a bag.

    Times are those of the messages. EventArrays have ROS time. EventPackets have `time_base` plus the time in the
    packet; with `evt3`, it is the sensor's own clock, unwrapped.

    Args:
        path: as of `Bag`.
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
        self._bag = PerProcess(partial(Bag, path))
        self.topic = _topic_of_events(self._bag.get(), topic)
        self.encoding, self.height, self.width = self._sensor()
        self._counts: dict[str, int] = {}

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the messages in order, many small ones as one block."""
        decoder = _MessageDecoder(self)
        before, skip, last_stamp = b"", 0, None
        where = _Where(0, 0, 0, b"")
        parts: list[Events] = []
        size = 0  # bytes of the block
        for _, stamp, data in self._bag.get().messages([self.topic]):
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
        messages = self._bag.get().messages([self.topic], where.start_ns)
        wanted = islice(messages, where.skip, where.skip + where.messages)
        return _join([Events.empty(self.height, self.width), *(decoder.decode(message.data) for message in wanted)])

    def counters(self) -> dict[str, int]:
        """Return the decoder's counters from `scan`."""
        return dict(self._counts)

    def close(self) -> None:
        """Close the bag; it opens again when needed."""
        self._bag.close()

    def message(self, data: bytes) -> Any:
        """Return a message that `events_from_message` or a `Decoder` takes, or a `RawArray`."""
        return self._bag.get().event_message(self.topic, data)

    def _sensor(self) -> tuple[str, int, int]:
        """Return the encoding, height and width of the first message that names a size."""
        sensor = None
        for message in self._bag.get().messages([self.topic]):
            encoding, height, width = sensor = self._sensor_of(message.data)
            if encoding and height and width:
                return sensor
        if sensor is None:
            raise EventFileError(
                f"bag {self.path} has no message of events on {self.topic.name}, expected at least one; give another "
                "topic, or record again while the event camera runs"
            )
        raise EventFileError(
            f"messages on {self.topic.name} of bag {self.path} have the encoding {sensor[0]!r} and the size "
            f"{sensor[2]}x{sensor[1]}, expected an encoding and the sensor's size; record again with a driver that "
            "sets them"
        )

    def _sensor_of(self, data: bytes) -> tuple[str, int, int]:
        with one_sentence(self.path, f"messages of {self.topic.type} on {self.topic.name}", REMEDY):
            message = self.message(data)
            package = self.topic.type.split("/")[0]
            if isinstance(message, RawArray):
                message = message.read()
            encoding = str(message.encoding) if hasattr(message, "encoding") else package
            height, width = int(message.height), int(message.width)
            if height and width:
                Events.empty(height, width)  # checks the size
            return encoding, height, width


class _MessageDecoder:
    """Decodes the messages of one topic in order; `state` has the words to resume a new decoder from here."""

    def __init__(self, stream: BagStream, before: bytes = b"") -> None:
        self._stream = stream
        self._size = (stream.height, stream.width)
        self._outside = 0
        self.state = before
        self._decoder: Decoder | None = None

    def decode(self, data: bytes) -> Events:
        with one_sentence(self._stream.path, "event messages that can be read", REMEDY):
            message = self._stream.message(data)
            if hasattr(message, "encoding"):
                return self._packet(message)
            if isinstance(message, RawArray):
                read = message.read()
                events, outside = read.events, read.outside
            else:
                events, outside = events_from_message(message)
            self._outside += outside
            Events.empty(*self._size).require_size(events.height, events.width)
            return events

    def counts(self) -> dict[str, int]:
        if self._decoder is None:
            return {"outside": self._outside}
        return {name: int(getattr(self._decoder.counters, name)) for name in vars(self._decoder.counters)}

    def _packet(self, message: Any) -> Events:
        packed = message.events.tobytes()
        expected = (self._stream.encoding, *self._size)
        sensor = (str(message.encoding), int(message.height), int(message.width)) if packed else expected
        if packed and (message.is_bigendian or sensor != expected):
            order = "big endian" if message.is_bigendian else "little endian"
            raise EventFileError(
                f"topic {self._stream.topic.name} of bag {self._stream.path} has an {order} packet of encoding "
                f"{sensor[0]!r} and size {sensor[2]}x{sensor[1]} among little endian ones of {expected[0]!r} and "
                f"{expected[2]}x{expected[1]}, expected packets of one camera; `mambaseg bag convert` writes a bag "
                "without those that cannot be read"
            )
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


def _topic_of_events(bag: Bag, name: str | None) -> BagTopic:
    """Return a bag's topic of events."""
    found = [topic for topic in bag.topics if topic.type in EVENT_TYPES and name in (None, topic.name)]
    with_messages = [topic for topic in found if bag.topics[topic]]
    if len(with_messages) == 1:
        return with_messages[0]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{topic.name} ({topic.type})" for topic in list(bag.topics)[:8])
    raise EventFileError(
        f"bag {bag.path} has {len(found)} topics of events{f' named {name}' if name else ''} (its topics: {known}), "
        f"expected one of {', '.join(EVENT_TYPES)}; give the topic (--topic), or record one of these"
    )
