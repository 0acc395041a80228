"""Random access to files that are streams of packets: one pass indexes where each block of events begins."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.errors import EventFileError

_BLOCKS_KEPT: Final = 4  # decoded blocks that stay in memory


class PacketStream(Protocol):
    """A format whose events can be decoded in order, and each block again later from its position."""

    path: Path
    format: str
    encoding: str
    height: int
    width: int

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode all blocks in order; yield each with the position that `read` takes."""

    def read(self, where: Any) -> Events:
        """Decode one block again. If the clock wraps, all its times may be off by one constant."""

    def counters(self) -> dict[str, int]:
        """Return the decoder's counters from `scan`."""

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True)
class _Block:
    where: Any
    number: int  # of its first event
    count: int
    floor_ns: int  # the latest time ahead of it
    last_ns: int


@dataclass(frozen=True)
class _Index:
    blocks: list[_Block]
    count: int
    counters: dict[str, int]


class BlockSource:
    """A `RecordingSource` over a stream of packets.

    The first call decodes the whole file once, in bounded memory, and keeps a coarse index. Later calls decode only the
    blocks that they need. If time steps back from one event to the next, it is raised to the latest time before, so
    that the recording is in time order; the counter `raised` counts these events.

    Args:
        stream: the format.
    """

    def __init__(self, stream: PacketStream) -> None:
        self._stream = stream
        self.path, self.format, self.encoding = stream.path, stream.format, stream.encoding
        self.height, self.width = stream.height, stream.width
        self._index: _Index | None = None
        self._cache: dict[int, Events] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}  # the index is pickled: workers need no pass of their own

    def __len__(self) -> int:
        return self._indexed().count

    def index(self, t_ns: int) -> int:
        """Return the number of the first event at or after a time."""
        blocks = self._indexed().blocks
        k = bisect_left(blocks, t_ns, key=lambda block: block.last_ns)
        if k == len(blocks):
            return len(self)
        return blocks[k].number + int(np.searchsorted(self._block(k).t_ns, t_ns))

    def read(self, start: int, stop: int) -> Events:
        """Return events number start to stop (exclusive)."""
        blocks = self._indexed().blocks
        parts = [Events.empty(self.height, self.width)]
        k = max(0, bisect_right(blocks, start, key=lambda block: block.number) - 1)
        while start < stop:
            events, number = self._block(k), blocks[k].number
            parts.append(events.part(start - number, min(stop - number, len(events))))
            start = number + len(events)
            k += 1
        return Events.concatenate(parts)

    def counters(self) -> dict[str, int]:
        """Return the decoder's counters and `raised`, the number of events whose time stepped back."""
        return dict(self._indexed().counters)

    def close(self) -> None:
        """Close the file and drop decoded blocks; the index stays."""
        self._cache.clear()
        self._stream.close()

    def _indexed(self) -> _Index:
        if self._index is None:
            blocks: list[_Block] = []
            number, floor_ns, raised = 0, np.iinfo(np.int64).min, 0
            for where, events in self._stream.scan():
                if len(events):
                    raised += int(np.searchsorted(events.t_ns, floor_ns))
                    last_ns = max(floor_ns, int(events.t_ns[-1]))
                    blocks.append(_Block(where, number, len(events), floor_ns, last_ns))
                    number, floor_ns = number + len(events), last_ns
            self._index = _Index(blocks, number, {**self._stream.counters(), "raised": raised})
        return self._index

    def _block(self, k: int) -> Events:
        if k not in self._cache:
            while len(self._cache) >= _BLOCKS_KEPT:
                del self._cache[next(iter(self._cache))]
            self._cache[k] = self._decode(self._indexed().blocks[k])
        return self._cache[k]

    def _decode(self, block: _Block) -> Events:
        events = self._stream.read(block.where)
        if len(events) != block.count:
            raise EventFileError(
                f"event file {self.path} has {len(events)} events in a block that had {block.count} before, expected "
                f"a file that does not change; open it again when no process writes to it"
            )
        # compare the last event: the first of a block may have been raised
        t_ns = events.t_ns + (block.last_ns - int(events.t_ns[-1]))
        return Events(events.x, events.y, np.maximum(t_ns, block.floor_ns), events.p, self.height, self.width)
