"""Storage files in the MCAP format, with and without an index (library: mcap)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from mcap.reader import NonSeekingReader, SeekingReader
from mcap.records import Channel as McapChannel
from mcap.records import Message, Schema
from mcap.stream_reader import StreamReader

from mambaseg_core.recordings.bag.storage import Channel, StoredMessage
from mambaseg_core.recordings.bag.types import type_name

MAGIC = b"\x89MCAP0\r\n"
_FORMS = ("ros2msg", "ros1msg", "ros2idl", "omgidl")


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
        size = path.stat().st_size
        _check_end(self._file, size)
        self._stream = _Bounded(self._file, size)
        reader = SeekingReader(self._stream, validate_crcs=True, record_size_limit=size)  # type: ignore[arg-type]
        summary = reader.get_summary()
        statistics = summary.statistics if summary else None
        self._indexed = bool(summary and summary.chunk_indexes and statistics)
        self._sorted = True
        if summary and statistics and (self._indexed or not statistics.message_count):
            schemas, channels = summary.schemas, summary.channels
            counts, times = (
                statistics.channel_message_counts,
                (statistics.message_start_time, statistics.message_end_time),
            )
        else:
            schemas, channels, counts, times = self._scan(size)
        self._channels = {number: _channel(c, schemas, counts.get(number, 0)) for number, c in channels.items()}
        self.channels = list(self._channels.values())
        self.start_ns: int | None = times[0] if any(counts.values()) else None
        self.last_ns: int | None = times[1] if any(counts.values()) else None

    def _scan(self, size: int) -> tuple[dict[int, Schema], dict[int, McapChannel], dict[int, int], tuple[int, int]]:
        """Read a file without an index: its schemas, its channels, their counts, and the first and last time."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, McapChannel] = {}
        counts: Counter[int] = Counter()
        first_ns, last_ns, before_ns = 1 << 64, 0, 0
        self._stream.seek(0)
        for record in StreamReader(self._stream, record_size_limit=size).records:  # type: ignore[arg-type]
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, McapChannel):
                channels[record.id] = record
            elif isinstance(record, Message):
                counts[record.channel_id] += 1
                first_ns, last_ns = min(first_ns, record.log_time), max(last_ns, record.log_time)
                self._sorted &= record.log_time >= before_ns
                before_ns = record.log_time
        return schemas, channels, counts, (first_ns, last_ns)

    def messages(self, wanted: Collection[Channel], start_ns: int | None) -> Iterator[StoredMessage]:
        """Yield the messages of channels at or after a time, in the order of their times; None: all of them.

        The messages of a file without an index are all held in memory if they are not in this order.
        """
        self._stream.seek(0)
        kind = SeekingReader if self._indexed else NonSeekingReader
        reader = kind(self._stream, validate_crcs=True)  # type: ignore[arg-type]
        found = reader.iter_messages(
            topics={channel.topic for channel in wanted},
            starting_at=start_ns,
            log_time_order=self._indexed or not self._sorted,
        )
        for _, channel, message in found:
            stored = self._channels[channel.id]
            if stored in wanted:
                yield StoredMessage(stored, message.log_time, message.data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Bounded:
    """A file of which no more bytes are read than it has, whatever length a damaged record claims.

    Args:
        file: the file.
        size: its length, bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if count < 0 else min(count, left))


def _check_end(file: BinaryIO, size: int) -> None:
    file.seek(max(0, size - len(MAGIC)))
    if file.read() != MAGIC:
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
