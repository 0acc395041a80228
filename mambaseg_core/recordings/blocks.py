"""Random access to files that are streams of packets: one pass notes where each block of events begins."""

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
    """A format whose events can be decoded in order, and a block again later, knowing where it lies."""

    path: Path
    format: str
    encoding: str
    height: int
    width: int

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode all blocks in order, each with what `read` needs to find it again."""

    def read(self, where: Any) -> Events:
        """Decode one block again. All its times may be off by one constant, where the clock wraps."""

    def counters(self) -> dict[str, int]:
        """What the decoder counted in `scan`."""

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

    The first question decodes the whole file once, in bounded memory, and keeps a coarse index; later ones
    decode only the blocks they touch. Where time steps back from one event to the next it is raised to the
    latest one before (`raised` among the counters), so that the recording is in time order.

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
        return {**self.__dict__, "_cache": {}}  # the index travels: workers need no pass of their own

    def __len__(self) -> int:
        return self._indexed().count

    def index(self, t_ns: int) -> int:
        """Number of the first event at or after a time."""
        blocks = self._indexed().blocks
        k = bisect_left(blocks, t_ns, key=lambda block: block.last_ns)
        if k == len(blocks):
            return len(self)
        return blocks[k].number + int(np.searchsorted(self._block(k).t_ns, t_ns))

    def read(self, start: int, stop: int) -> Events:
        """Events number start to stop (exclusive)."""
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
        """What the decoder counted, and `raised`: events whose time stepped back."""
        return dict(self._indexed().counters)

    def close(self) -> None:
        """Close the file and forget decoded blocks; the index stays."""
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
                f"event file {self.path} gave {len(events)} events where it had {block.count} before, expected a "
                f"file that stays as it is; open it again when nobody writes to it"
            )
        # the last event is the safest to compare: the first of a block may have been raised
        t_ns = events.t_ns + (block.last_ns - int(events.t_ns[-1]))
        return Events(events.x, events.y, np.maximum(t_ns, block.floor_ns), events.p, self.height, self.width)
