"""A bounded memory of the newest events, filled by one thread and cut into windows by another."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mambaseg_core.events.array import BYTES_PER_EVENT, Events
from mambaseg_core.events.columns import check_size
from mambaseg_core.events.window import Window

LATE_TOLERANCE_NS: Final = 10_000_000
"""Events up to this much older than the newest are sorted in; older ones are dropped: 10 ms."""

JUMP_NS: Final = 100_000_000
"""A packet that ends this much before the newest event is not late, its clock was set back: 100 ms."""

CHUNK_OVERHEAD_BYTES: Final = 1024
"""What one stored packet costs besides its events (objects and array headers), rounded up."""


@dataclass(frozen=True)
class BufferCounters:
    """What has happened since the buffer was made, in events unless another unit is named.

    `events_in` is the sum of the events held and of those dropped (`clear` is not counted).

    Attributes:
        events_in: given to `push`.
        dropped_age: left because they were older than the newest by more than `max_age_ns`.
        dropped_bytes: left because `max_bytes` was full.
        dropped_reset: left because the clock jumped back.
        late: dropped at `push`, older than the newest by more than `LATE_TOLERANCE_NS`.
        sorted_in: came late within the tolerance and were kept.
        resets: backward jumps of the clock (times, not events).
    """

    events_in: int = 0
    dropped_age: int = 0
    dropped_bytes: int = 0
    dropped_reset: int = 0
    late: int = 0
    sorted_in: int = 0
    resets: int = 0


class EventBuffer:
    """Packets of events in time order, bounded by age and by bytes; safe for one or more threads.

    `push` copies (so the caller may reuse its arrays, and nothing larger is kept alive) and stores; it joins
    nothing unless packets overlap in time. Whole packets leave from the old end. `window` joins what it
    gives. The lock is held only to move references.

    Late packets: those events of a packet that are older than the newest held by at most `LATE_TOLERANCE_NS`
    are sorted in; older ones are dropped and counted as `late`. A packet whose last event is older than the
    newest held by more than `JUMP_NS` (or `max_age_ns`, if that is less) means that the clock was set back (a
    bag played again, however short it is): the buffer is emptied, the packet kept, and `resets` counts one.

    Args:
        height: rows of the sensor.
        width: columns of the sensor.
        max_age_ns: how much older than the newest a packet's last event may be and still be held.
        max_bytes: memory for events, with `CHUNK_OVERHEAD_BYTES` for each packet.

    Raises:
        ValueError: a size or a bound that cannot work.
    """

    def __init__(
        self, height: int, width: int, *, max_age_ns: int = 2_000_000_000, max_bytes: int = 256 * 2**20
    ) -> None:
        self.height, self.width = check_size(height, width)
        if max_age_ns < 1:
            raise ValueError(
                f"max_age_ns is {max_age_ns}, expected 1 or more; give the longest window at least"
            )
        if max_bytes < 2 * CHUNK_OVERHEAD_BYTES:
            raise ValueError(
                f"max_bytes is {max_bytes}, expected {2 * CHUNK_OVERHEAD_BYTES} or more; an event takes "
                f"{BYTES_PER_EVENT} bytes"
            )
        self.max_age_ns, self.max_bytes = max_age_ns, max_bytes
        self._lock = threading.Lock()
        self._chunks: deque[Events] = deque()  # in time order, none empty, never written to
        self._held = 0
        self._counters = BufferCounters()

    def push(self, events: Events) -> None:
        """Add a packet; one without events changes nothing.

        Raises:
            ValueError: the sensor has another size than the buffer.
        """
        Events.empty(self.height, self.width).require_size(events.height, events.width)
        if not len(events):
            return
        chunk = _copy(events)
        with self._lock:
            self._count(events_in=len(events))
            if self._chunks:
                chunk = self._fit(chunk)
            if len(chunk):
                self._append(chunk)
            self._trim()

    def window(self, end_ns: int, window: Window, bins: int = 10) -> Events:
        """The window that ends at end_ns (exclusive): what `window.cut` gives of all events held.

        A window that reaches further back than the buffer does is the shorter for it, without a sign: choose
        `max_age_ns` and `max_bytes` for the longest window and the longest wait.
        """
        with self._lock:
            chunks = list(self._chunks)
        start_ns, limit = window.start_ns(end_ns, bins), window.limit(bins)
        parts: list[Events] = []
        total = 0
        for chunk in reversed(chunks):
            if chunk.t_ns[-1] < start_ns or (limit is not None and total >= limit):
                break
            part = chunk.between(start_ns, end_ns)
            if len(part):
                parts.append(part)
                total += len(part)
        if not total:
            return Events.empty(self.height, self.width)
        if limit is not None and total > limit:  # only the oldest part can be too long
            parts[-1] = parts[-1].part(total - limit, len(parts[-1]))
        return Events.concatenate(parts[::-1])

    def clear(self) -> None:
        """Forget all events; the counters stay."""
        with self._lock:
            self._chunks.clear()
            self._held = 0

    def __len__(self) -> int:
        with self._lock:
            return self._held

    @property
    def nbytes(self) -> int:
        """Memory held, as `max_bytes` counts it."""
        with self._lock:
            return self._bytes()

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest event held, None where there is none."""
        with self._lock:
            return int(self._chunks[-1].t_ns[-1]) if self._chunks else None

    @property
    def counters(self) -> BufferCounters:
        """A snapshot."""
        with self._lock:
            return self._counters

    # What follows is called with the lock held.

    def _fit(self, chunk: Events) -> Events:
        """Make a packet follow those held: reset, drop what is late, sort in what is nearly in time."""
        newest = int(self._chunks[-1].t_ns[-1])
        first, last = int(chunk.t_ns[0]), int(chunk.t_ns[-1])
        if last < newest - min(JUMP_NS, self.max_age_ns):
            self._count(resets=1, dropped_reset=self._held)
            self._chunks.clear()
            self._held = 0
            return chunk
        if first >= newest:
            return chunk
        before = int(np.searchsorted(chunk.t_ns, newest - LATE_TOLERANCE_NS, side="left"))
        kept = chunk.part(before, len(chunk))
        self._count(late=before, sorted_in=int(np.searchsorted(kept.t_ns, newest, side="left")))
        return _merge(self._take_after(int(kept.t_ns[0])), kept) if len(kept) else kept

    def _take_after(self, time_ns: int) -> list[Events]:
        """Take out the events later than time_ns, in time order."""
        taken: list[Events] = []
        while self._chunks and self._chunks[-1].t_ns[-1] > time_ns:
            chunk = self._chunks.pop()
            self._held -= len(chunk)
            stay = int(np.searchsorted(chunk.t_ns, time_ns, side="right"))
            taken.append(chunk.part(stay, len(chunk)))
            if stay:
                self._append(_copy(chunk.part(0, stay)))
        return taken[::-1]

    def _append(self, chunk: Events) -> None:
        self._chunks.append(chunk)
        self._held += len(chunk)

    def _trim(self) -> None:
        if not self._chunks:
            return
        oldest = int(self._chunks[-1].t_ns[-1]) - self.max_age_ns
        while self._chunks[0].t_ns[-1] < oldest:
            self._count(dropped_age=self._drop_oldest())
        while self._bytes() > self.max_bytes and len(self._chunks) > 1:
            self._count(dropped_bytes=self._drop_oldest())
        most = (self.max_bytes - CHUNK_OVERHEAD_BYTES) // BYTES_PER_EVENT
        if self._held > most and len(self._chunks) == 1:
            # one packet larger than the whole buffer: keep its newest part
            newest = self._chunks.pop()
            self._count(dropped_bytes=self._held - most)
            self._held = 0
            self._append(_copy(newest.part(len(newest) - most, len(newest))))

    def _drop_oldest(self) -> int:
        number = len(self._chunks.popleft())
        self._held -= number
        return number

    def _bytes(self) -> int:
        return self._held * BYTES_PER_EVENT + len(self._chunks) * CHUNK_OVERHEAD_BYTES

    def _count(self, **added: int) -> None:
        now = self._counters
        self._counters = replace(now, **{name: getattr(now, name) + number for name, number in added.items()})


def _copy(events: Events) -> Events:
    return Events(
        events.x.copy(), events.y.copy(), events.t_ns.copy(), events.p.copy(), events.height, events.width
    )


def _merge(held: list[Events], added: Events) -> Events:
    """All events in time order; of simultaneous ones those held come first."""
    parts = [*held, added]
    t_ns = np.concatenate([part.t_ns for part in parts])
    order = np.argsort(t_ns, kind="stable")
    x, y, p = (
        np.concatenate(columns)[order] for columns in zip(*((e.x, e.y, e.p) for e in parts), strict=True)
    )
    return Events(x, y, t_ns[order], p, added.height, added.width)
