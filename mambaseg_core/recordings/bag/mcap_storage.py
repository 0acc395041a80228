"""Storage files in the MCAP format, with and without an index (library: mcap)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel as McapChannel
from mcap.records import Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.summary import Summary

from mambaseg_core.recordings.bag.storage import BoundedFile, Channel, StoredMessage
from mambaseg_core.recordings.bag.types import type_name

_MAGIC: Final = b"\x89MCAP0\r\n"
_PLACE_BYTES: Final = 1 << 20  # between the places at which a file without an index is entered
_FORMS: Final = ("ros2msg", "ros1msg", "ros2idl", "omgidl")


class _Place(NamedTuple):
    """A place between two records: the latest time ahead of it, and its position in the file."""

    after_ns: int
    at: int


class McapStorage:
    """A `Storage` over an `.mcap` file. A file without an index is read once to count its messages.

    Args:
        path: the file.

    Raises:
        Exception: of mcap, or of a decompressor; the file is cut off or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self._open(path)
        except BaseException:
            self._file.close()
            raise

    def _open(self, path: Path) -> None:
        self._size = path.stat().st_size
        _check_end(self._file, self._size)
        self._stream = BoundedFile(self._file)
        reader = SeekingReader(self._stream, record_size_limit=self._size)  # type: ignore[arg-type]
        summary = reader.get_summary()
        statistics = summary.statistics if summary else None
        self._indexed = summary is not None and _is_complete(summary, self._stream)
        self._sorted = True
        self._places = [_Place(-1, 0)]
        if summary and statistics and (self._indexed or not statistics.message_count):
            schemas, channels = summary.schemas, summary.channels
            counts, times = (
                statistics.channel_message_counts,
                (statistics.message_start_time, statistics.message_end_time),
            )
        else:
            schemas, channels, counts, times = self._scan()
        self._channels = {number: _channel(c, schemas, counts.get(number, 0)) for number, c in channels.items()}
        self.channels = list(self._channels.values())
        self.start_ns: int | None = times[0] if any(counts.values()) else None
        self.last_ns: int | None = times[1] if any(counts.values()) else None

    def _scan(self) -> tuple[dict[int, Schema], dict[int, McapChannel], dict[int, int], tuple[int, int]]:
        """Read a file without an index: its schemas, its channels, their counts, and the first and last time."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, McapChannel] = {}
        counts: Counter[int] = Counter()
        first_ns, last_ns, before_ns = 1 << 64, 0, 0
        for record in self._records(0):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, McapChannel):
                channels[record.id] = record
            elif isinstance(record, Message):
                counts[record.channel_id] += 1
                first_ns, last_ns = min(first_ns, record.log_time), max(last_ns, record.log_time)
                self._sorted &= record.log_time >= before_ns
                before_ns = record.log_time
            if self._stream.tell() >= self._places[-1].at + _PLACE_BYTES:
                self._places.append(_Place(last_ns, self._stream.tell()))
        return schemas, channels, counts, (first_ns, last_ns)

    def _records(self, at: int) -> Iterator[McapRecord]:
        """Yield the records from a place on, those of chunks one by one."""
        self._stream.seek(at)
        reader = StreamReader(
            self._stream,  # type: ignore[arg-type]
            skip_magic=at > 0,
            emit_chunks=True,
            record_size_limit=self._size,
        )
        for record in reader.records:
            yield from breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]

    def messages(self, wanted: Collection[Channel], start_ns: int | None) -> Iterator[StoredMessage]:
        """Yield the messages of channels at or after a time, in the order of their times; None: all of them.

        The messages of a file without an index are all held in memory if they are not in this order.
        """
        for message in self._indexed_messages(wanted, start_ns) if self._indexed else self._scanned(start_ns):
            stored = self._channels[message.channel_id]
            if stored in wanted:
                yield StoredMessage(stored, message.log_time, message.data)

    def _indexed_messages(self, wanted: Collection[Channel], start_ns: int | None) -> Iterator[Message]:
        self._stream.seek(0)
        reader = SeekingReader(self._stream, validate_crcs=True, record_size_limit=self._size)  # type: ignore[arg-type]
        topics = {channel.topic for channel in wanted}
        for _, _, message in reader.iter_messages(topics=topics, starting_at=start_ns):
            yield message

    def _scanned(self, start_ns: int | None) -> Iterator[Message]:
        start_ns = start_ns or 0
        if not self._sorted:
            found = [record for record in self._records(0) if isinstance(record, Message)]
            yield from (m for m in sorted(found, key=lambda m: m.log_time) if m.log_time >= start_ns)
            return
        number = bisect_left(self._places, start_ns, key=lambda place: place.after_ns)
        for record in self._records(self._places[max(0, number - 1)].at):
            if isinstance(record, Message) and record.log_time >= start_ns:
                yield record

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_complete(summary: Summary, stream: BoundedFile) -> bool:
    """Return True if a summary names every channel, schema and message of its file; writers may leave any of them out.

    Source: https://mcap.dev/spec, "Summary Section".
    """
    statistics = summary.statistics
    if statistics is None or not summary.chunk_indexes:
        return False
    return (
        len(summary.channels) == statistics.channel_count
        and all(channel.schema_id in {0, *summary.schemas} for channel in summary.channels.values())
        and sum(statistics.channel_message_counts.values()) == statistics.message_count
        and _all_in_chunks(summary, stream)
    )


def _all_in_chunks(summary: Summary, stream: BoundedFile) -> bool:
    """Return True if a file has no chunk without an index, and no message outside of chunks."""
    ends = {
        c.chunk_start_offset: c.chunk_start_offset + c.chunk_length + c.message_index_length
        for c in summary.chunk_indexes
    }
    at = len(_MAGIC)
    while True:
        stream.seek(at)
        head = stream.read(9)
        if len(head) < 9 or head[0] == Opcode.DATA_END:
            return True
        if at in ends and ends[at] > at:
            at = ends[at]
        elif head[0] in (Opcode.CHUNK, Opcode.MESSAGE):
            return False
        else:
            at += 9 + int.from_bytes(head[1:], "little")


def _check_end(file: BinaryIO, size: int) -> None:
    file.seek(max(0, size - len(_MAGIC)))
    if file.read() != _MAGIC:
        raise ValueError("the file is cut off: it lacks the magic bytes at its end")
    file.seek(0)


def _channel(channel: McapChannel, schemas: dict[int, Schema], count: int) -> Channel:
    schema = schemas.get(channel.schema_id)
    form = schema.encoding if schema and schema.encoding in _FORMS else ""
    return Channel(
        channel.topic,
        type_name(schema.name) if schema else "",
        channel.message_encoding,
        schema.data.decode(errors="replace") if schema and form else "",
        form,
        channel.metadata.get("offered_qos_profiles", ""),
        count,
    )
