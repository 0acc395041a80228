"""A bounded memory of the newest events, filled by one thread and cut into windows by another."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from mambaseg_core.events.array import BYTES_PER_EVENT, Events
from mambaseg_core.events.columns import check_size
from mambaseg_core.events.jumps import JUMP_NS, TimeJumps, Verdict
from mambaseg_core.events.window import Window

LATE_TOLERANCE_NS: Final = 10_000_000
"""Events up to this much older than the newest are sorted in; older ones are dropped: 10 ms."""

MOST_PARTS: Final = 16
"""A packet with more gaps than this, each longer than `JUMP_NS`, is not cut at them."""

CHUNK_OVERHEAD_BYTES: Final = 1024
"""Memory of one stored packet besides its events (objects and array headers), rounded up."""


@dataclass(frozen=True)
class BufferCounters:
    """Counters since the buffer was made, in events unless another unit is named.

    `events_in` is the number of events held plus the number dropped (`clear` is not counted). Events that are held
    back are counted once they are believed or refused.

    Attributes:
        events_in: pushed.
        dropped_age: dropped because they were older than the newest by more than `max_age_ns`.
        dropped_bytes: dropped because `max_bytes` was full.
        dropped_reset: dropped because the clock jumped back.
        late: dropped at `push`, older than the newest by more than `LATE_TOLERANCE_NS`.
        jumped: dropped because their time jumped, and events of the time before followed.
        sorted_in: late within the tolerance, and kept.
        resets: backward jumps of the clock (jumps, not events).
    """

    events_in: int = 0
    dropped_age: int = 0
    dropped_bytes: int = 0
    dropped_reset: int = 0
    late: int = 0
    jumped: int = 0
    sorted_in: int = 0
    resets: int = 0


@dataclass
class _Change:
    """Effect of a push: chunks removed from the new end, then chunks appended, and counters to increase."""

    removed: int = 0
    added: list[Events] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class EventBuffer:
    """Packets of events in time order, bounded by age and by bytes; safe for one or more threads.

    `push` copies and stores: the caller may reuse its arrays, and nothing larger is kept alive. It joins packets only
    if they overlap in time. Whole packets are dropped from the old end. `window` joins the events that it returns and
    copies nothing else. There are two locks. Pushing threads wait for each other. The lock that readers wait for is
    held only to move references; nothing is copied, joined or freed under it.

    Late packets: events older than the newest held by at most `LATE_TOLERANCE_NS` are sorted in; older ones are
    dropped and counted as `late`.

    Jumps: a packet whose last event is older than the newest held by more than `JUMP_NS` (or `max_age_ns`, if that is
    less) is held back. The third in a row is believed: the clock was set back, for example by a bag of any length that
    is played again. Then the buffer is emptied, those held back are kept, and `resets` increases by one. `agree`
    believes them earlier. A packet that is later by more than `JUMP_NS` is kept, but drops nothing by age until the
    third in a row; if the time before goes on, it is dropped again and counted as `jumped`. A packet with such a gap
    inside is taken in parts.

    Args:
        height: rows of the sensor.
        width: columns of the sensor.
        max_age_ns: a packet is held while its last event is at most this much older than the newest.
        max_bytes: memory for events, with `CHUNK_OVERHEAD_BYTES` for each packet.

    Raises:
        ValueError: a size or a bound is out of range.
    """

    def __init__(
        self, height: int, width: int, *, max_age_ns: int = 2_000_000_000, max_bytes: int = 256 * 2**20
    ) -> None:
        self.height, self.width = check_size(height, width)
        if max_age_ns < 1:
            raise ValueError(f"max_age_ns is {max_age_ns}, expected 1 or more; give the longest window at least")
        if max_bytes < 2 * CHUNK_OVERHEAD_BYTES:
            raise ValueError(
                f"max_bytes is {max_bytes}, expected {2 * CHUNK_OVERHEAD_BYTES} or more; an event takes "
                f"{BYTES_PER_EVENT} bytes"
            )
        self.max_age_ns, self.max_bytes = max_age_ns, max_bytes
        self._most = (max_bytes - CHUNK_OVERHEAD_BYTES) // BYTES_PER_EVENT  # events of the longest packet
        self._pushing = threading.Lock()  # for the whole of a change to the chunks; taken first
        self._lock = threading.Lock()  # to read or replace references
        self._chunks: deque[Events] = deque()  # in time order, none empty, never written to
        self._held = 0
        self._jumps = TimeJumps[Events](back_ns=min(JUMP_NS, max_age_ns))
        self._since_ns: int | None = None
        self._cleared = False
        self._counts = dict.fromkeys(BufferCounters.__dataclass_fields__, 0)

    def push(self, events: Events) -> None:
        """Add a packet; a packet without events changes nothing.

        Raises:
            ValueError: the sensor has another size than the buffer.
        """
        if (events.height, events.width) != (self.height, self.width):
            Events.empty(self.height, self.width).require_size(events.height, events.width)
        if not len(events):
            return
        with self._pushing:
            for index, part in enumerate(_parts_of_one_time(_copy(events))):
                self._follow(self._jumps.see(part, int(part.t_ns[0]), int(part.t_ns[-1]), more=index > 0))

    def agree(self, stamp_ns: int) -> bool:
        """Believe packets that are held back if `stamp_ns`, of an image, is of their time; return True if believed."""
        with self._pushing:
            verdict = self._jumps.agree(stamp_ns)
            self._follow(verdict)
        return verdict.anew

    def window(self, end_ns: int, window: Window, bins: int = 10) -> Events:
        """Return the window that ends at end_ns (exclusive): `window.cut` of all events held.

        A window that reaches further back than the buffer is shorter, without a warning. Choose `max_age_ns` and
        `max_bytes` for the longest window and the longest wait.
        """
        with self._lock:
            chunks = list(self._chunks)
        start_ns, limit = window.start_ns(end_ns, bins), window.limit(bins)
        parts: list[Events] = []
        total = 0
        for chunk in reversed(chunks):
            if chunk.t_ns[-1] < start_ns or (limit is not None and total >= limit):
                break
            whole = start_ns <= chunk.t_ns[0] and chunk.t_ns[-1] < end_ns
            part = chunk if whole else chunk.between(start_ns, end_ns)
            if len(part):
                parts.append(part)
                total += len(part)
        if not total:
            return Events.empty(self.height, self.width)
        if limit is not None and total > limit:  # only the oldest part can be too long
            parts[-1] = parts[-1].part(total - limit, len(parts[-1]))
        return Events.concatenate(parts[::-1])

    def clear(self) -> None:
        """Drop all events; the counters stay."""
        with self._pushing:
            self._jumps.clear()
            self._make(_Change(removed=len(self._chunks)))
            self._since_ns, self._cleared = None, True

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
        """Time of the newest event held, nanoseconds; None without one."""
        with self._lock:
            return int(self._chunks[-1].t_ns[-1]) if self._chunks else None

    @property
    def settled_ns(self) -> int | None:
        """Time of the newest event that no jump can undo: `newest_ns`, or that before a jump ahead of it."""
        return self._jumps.settled_ns

    @property
    def oldest_ns(self) -> int | None:
        """Time of the oldest event held, nanoseconds; None without one."""
        with self._lock:
            return int(self._chunks[0].t_ns[0]) if self._chunks else None

    @property
    def since_ns(self) -> int | None:
        """Time before which events that had come were dropped: by a jump back, `clear` or a full buffer; else None."""
        return self._since_ns

    @property
    def settled(self) -> bool:
        """Whether no jump waits to be believed."""
        return self._jumps.settled

    @property
    def jump_ns(self) -> int:
        """Distance of the last jump, believed or not, from the newest event then; negative: back."""
        return self._jumps.jump_ns

    @property
    def jumped(self) -> int:
        """Events dropped because their time jumped, as in `counters`."""
        return self._counts["jumped"]

    @property
    def counters(self) -> BufferCounters:
        """Snapshot of the counters."""
        with self._lock:
            return BufferCounters(**self._counts)

    # What follows is called with `_pushing` held, `_apply`, `_trim`, `_drop_oldest` and `_bytes` with `_lock` too.

    def _follow(self, verdict: Verdict[Events]) -> None:
        """Do what `TimeJumps` says: undo, empty, add."""
        if refused := sum(map(len, verdict.refused)):
            self._make(_Change(counts={"jumped": refused, "events_in": refused}))
        if verdict.undo_after_ns is not None:
            removed, stays, later = self._split_after(verdict.undo_after_ns)
            self._make(_Change(removed=removed, added=stays, counts={"jumped": sum(map(len, later))}))
        if verdict.anew:
            self._begin_anew(verdict.keep)
            return
        for chunk in verdict.keep:
            if self._cleared:
                self._since_ns, self._cleared = int(chunk.t_ns[0]), False
            change = self._fit(chunk)
            change.counts["events_in"] = len(chunk)
            self._make(change)

    def _begin_anew(self, packets: tuple[Events, ...]) -> None:
        """Replace everything by packets of another time, in one step for readers."""
        chunk = packets[0] if len(packets) == 1 else _merge(list(packets[:-1]), packets[-1])
        counts = {"resets": 1, "dropped_reset": self._held, "events_in": len(chunk)}
        self._since_ns = int(chunk.t_ns[0])
        self._make(self._bounded(chunk, _Change(removed=len(self._chunks), counts=counts)))

    def _make(self, change: _Change) -> None:
        with self._lock:
            gone = self._apply(change)
        del gone  # freed here, while no reader waits

    def _fit(self, chunk: Events) -> _Change:
        """Return the change that a packet makes: drop late events, or sort in slightly late ones."""
        if not self._chunks:
            return self._bounded(chunk, _Change())
        newest, first = int(self._chunks[-1].t_ns[-1]), int(chunk.t_ns[0])
        if first >= newest:
            return self._bounded(chunk, _Change())
        before = int(np.searchsorted(chunk.t_ns, newest - LATE_TOLERANCE_NS, side="left"))
        kept = chunk.part(before, len(chunk))
        counts = {"late": before, "sorted_in": int(np.searchsorted(kept.t_ns, newest, side="left"))}
        if not len(kept):
            return _Change(counts=counts)
        removed, stays, later = self._split_after(int(kept.t_ns[0]))
        return self._bounded(_merge(later, kept), _Change(removed=removed, added=stays, counts=counts))

    def _bounded(self, chunk: Events, change: _Change) -> _Change:
        """Add a packet to a change; if it is larger than the whole buffer, add only its newest part."""
        if len(chunk) > self._most:
            change.counts["dropped_bytes"] = len(chunk) - self._most
            chunk = _copy(chunk.part(len(chunk) - self._most, len(chunk)))
            self._since_ns = int(chunk.t_ns[0])
        change.added.append(chunk)
        return change

    def _split_after(self, time_ns: int) -> tuple[int, list[Events], list[Events]]:
        """Return how many chunks have events later than time_ns, their earlier parts and their later ones, in order."""
        later: list[Events] = []
        stays: list[Events] = []
        for chunk in reversed(self._chunks):
            if chunk.t_ns[-1] <= time_ns:
                break
            stay = int(np.searchsorted(chunk.t_ns, time_ns, side="right"))
            later.append(chunk.part(stay, len(chunk)))
            if stay:  # only the oldest of these chunks has such events
                stays.append(_copy(chunk.part(0, stay)))
        return len(later), stays, later[::-1]

    def _apply(self, change: _Change) -> list[Events]:
        """Remove chunks from the new end, append others and keep the bounds; return the chunks dropped."""
        gone = [self._chunks.pop() for _ in range(change.removed)]
        self._chunks.extend(change.added)
        self._held += sum(map(len, change.added)) - sum(map(len, gone))
        for name, number in change.counts.items():
            self._counts[name] += number
        if self._chunks:
            self._trim(gone)
        return gone

    def _trim(self, gone: list[Events]) -> None:
        settled_ns = self._jumps.settled_ns
        assert settled_ns is not None  # there are events
        oldest = settled_ns - self.max_age_ns
        while self._chunks[0].t_ns[-1] < oldest:
            self._drop_oldest("dropped_age", gone)
        while self._bytes() > self.max_bytes and len(self._chunks) > 1:
            self._drop_oldest("dropped_bytes", gone)
            self._since_ns = int(self._chunks[0].t_ns[0])

    def _drop_oldest(self, why: str, gone: list[Events]) -> None:
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        self._counts[why] += len(chunk)
        gone.append(chunk)

    def _bytes(self) -> int:
        return self._held * BYTES_PER_EVENT + len(self._chunks) * CHUNK_OVERHEAD_BYTES


def _parts_of_one_time(chunk: Events) -> list[Events]:
    """Cut a packet at gaps longer than `JUMP_NS`: a single event of a wrong time must not move all the others."""
    if chunk.t_ns[-1] - chunk.t_ns[0] <= JUMP_NS:
        return [chunk]
    cuts = np.flatnonzero(np.diff(chunk.t_ns) > JUMP_NS) + 1
    if len(cuts) > MOST_PARTS:
        return [chunk]
    edges = [0, *cuts.tolist(), len(chunk)]
    return [chunk.part(start, stop) for start, stop in pairwise(edges)]


def _copy(events: Events) -> Events:
    return Events(events.x.copy(), events.y.copy(), events.t_ns.copy(), events.p.copy(), events.height, events.width)


def _merge(held: list[Events], added: Events) -> Events:
    """Return all events in time order; among simultaneous ones, those held come first."""
    parts = [*held, added]
    t_ns = np.concatenate([part.t_ns for part in parts])
    order = np.argsort(t_ns, kind="stable")
    x, y, p = (np.concatenate(columns)[order] for columns in zip(*((e.x, e.y, e.p) for e in parts), strict=True))
    return Events(x, y, t_ns[order], p, added.height, added.width)
