"""`EventReader`: read event files of every format by time, by count or as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from mambaseg_core.events.array import Events
from mambaseg_core.events.window import Window
from mambaseg_core.recordings.errors import EventFileError

_BLOCK: Final = 1 << 18  # events read at once while a file is streamed
_MOST_PIXELS: Final = 1 << 24  # of a sensor; the largest has 1 million


class RecordingSource(Protocol):
    """Interface of a format: its events by their number in the file, in time order.

    Objects can be pickled and used in a forked process; see `PerProcess`.
    """

    path: Path
    format: str
    encoding: str
    height: int
    width: int

    def __len__(self) -> int:
        """Return the number of events."""

    def index(self, t_ns: int) -> int:
        """Return the number of the first event at or after a time; the number of events if there is none."""

    def read(self, start: int, stop: int) -> Events:
        """Return events number start to stop (exclusive); 0 <= start <= stop <= number of events."""

    def counters(self) -> dict[str, int]:
        """Return the counts of faults in the data, by name, as far as the format counts them."""

    def close(self) -> None:
        """Close the file; it opens again when needed."""


@dataclass(frozen=True)
class Excerpt:
    """The events of a window, and how much of the window the recording does not cover.

    Attributes:
        events: the events found.
        missing_before_ns: nanoseconds of the window before the recording's first event.
        missing_after_ns: nanoseconds of the window after the recording's last event.
        missing_count: events of a window by count that the recording does not have before the window's end.
    """

    events: Events
    missing_before_ns: int = 0
    missing_after_ns: int = 0
    missing_count: int = 0

    @property
    def complete(self) -> bool:
        """Whether the recording covers the whole window."""
        return not (self.missing_before_ns or self.missing_after_ns or self.missing_count)


class EventReader:
    """Reads one event file lazily; `open_events` makes it. Use as a context manager or call `close`.

    Data are read only when requested. Readers can be pickled to the workers of a data loader and used after a fork:
    each process opens the file for itself. Threads must not share a reader. Every method raises `EventFileError` if
    the file is missing or damaged.

    Attributes:
        path: the file or folder.
        format: for example `dsec`, `ddd17`, `raw`, `dat`, `aedat4`, `text`, `mvsec` or `rosbag`.
        encoding: how the events are packed, for example `evt3` or `hdf5`; of a table also what was guessed.
        height: rows of the sensor.
        width: columns of the sensor.
    """

    def __init__(self, source: RecordingSource) -> None:
        self._source = source
        self.path = source.path
        self.format = source.format
        self.encoding = source.encoding
        self.height, self.width = source.height, source.width
        if self.height * self.width > _MOST_PIXELS:
            raise EventFileError(
                f"event file {self.path} claims a sensor of {self.width}x{self.height}, expected {_MOST_PIXELS} pixels "
                f"at most; it is damaged, copy or record it again"
            )

    def __len__(self) -> int:
        return len(self._source)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> EventReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        self._source.close()

    @cached_property
    def start_ns(self) -> int:
        """Time of the first event, nanoseconds; 0 without events."""
        return int(self._source.read(0, 1).t_ns[0]) if len(self) else 0

    @cached_property
    def end_ns(self) -> int:
        """1 ns after the last event, nanoseconds; 0 without events."""
        return int(self._source.read(len(self) - 1, len(self)).t_ns[0]) + 1 if len(self) else 0

    def counters(self) -> dict[str, int]:
        """Return the counts of faults in the data, by name (such as `outside`), as far as the format counts them."""
        return self._source.counters()

    def between(self, start_ns: int, end_ns: int) -> Excerpt:
        """Return the events with start_ns <= t < end_ns, nanoseconds on the recording's clock; may be empty."""
        start = self._source.index(start_ns)
        events = self._source.read(start, max(start, self._source.index(end_ns)))
        span = max(0, end_ns - start_ns)
        if not len(self):
            return Excerpt(events, missing_before_ns=span)
        return Excerpt(
            events,
            missing_before_ns=min(span, max(0, self.start_ns - start_ns)),
            missing_after_ns=min(span, max(0, end_ns - self.end_ns)),
        )

    def last(self, count: int, end_ns: int) -> Excerpt:
        """Return the last `count` events with t < end_ns; fewer at the beginning of the recording.

        Raises:
            ValueError: count is negative.
        """
        if count < 0:
            raise ValueError(f"count is {count}, expected 0 or more; give the number of events wanted")
        return self._last(count, end_ns, oldest=0)

    def window(self, window: Window, end_ns: int, bins: int = 10) -> Excerpt:
        """Return the events of a `Window` that ends at end_ns; bins is used if the window is per bin."""
        start_ns, limit = window.start_ns(end_ns, bins), window.limit(bins)
        if limit is None:
            return self.between(start_ns, end_ns)
        return self._last(limit, end_ns, oldest=self._source.index(start_ns))

    def chunks(self, *, duration_ns: int | None = None, count: int | None = None) -> Iterator[Events]:
        """Iterate over all events in order, in chunks by time or by count; memory holds little more than one chunk.

        Args:
            duration_ns: chunk k holds k * duration_ns <= t - start_ns < (k + 1) * duration_ns; chunks without
                events are left out.
            count: events of each chunk; the last has fewer.

        Raises:
            ValueError: not exactly one of the two, or one below 1.
        """
        if (duration_ns is None) == (count is None):
            raise ValueError(
                f"got duration_ns={duration_ns} and count={count}, expected exactly one; leave the other None"
            )
        size = duration_ns if count is None else count
        if size is None or size < 1:
            raise ValueError(f"the chunk size is {size}, expected 1 or more; give a positive whole number")
        return self._by_count(size) if count is not None else self._by_duration(size)

    def _last(self, count: int, end_ns: int, *, oldest: int) -> Excerpt:
        stop = self._source.index(end_ns)
        start = max(oldest, stop - count)
        return Excerpt(
            self._source.read(min(start, stop), stop),
            missing_after_ns=max(0, end_ns - self.end_ns) if len(self) else 0,
            missing_count=max(0, count - stop) if oldest == 0 else 0,
        )

    def _by_count(self, count: int) -> Iterator[Events]:
        for start in range(0, len(self), count):
            yield self._source.read(start, min(start + count, len(self)))

    def _by_duration(self, duration_ns: int) -> Iterator[Events]:
        kept = Events.empty(self.height, self.width)
        first_ns = self.start_ns
        for block in self._by_count(_BLOCK):
            pending = Events.concatenate([kept, block])
            number = (pending.t_ns - first_ns) // duration_ns  # [N], number of the event's chunk
            edges = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
            for start, stop in pairwise(edges):
                yield pending.part(start, stop)
            kept = pending.part(edges[-1], len(pending))
        if len(kept):
            yield kept
