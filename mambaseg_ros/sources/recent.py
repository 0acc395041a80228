"""What came of the events of the last second: the base of every judgement that is not about one window."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

SPAN_S = 1.0  # judged; a fault that is mended is forgotten after this
STEP_S = 0.1  # how often counts are noted


class EventCounts(NamedTuple):
    """Counts of events since the start, or within a span.

    Attributes:
        messages: messages that were read.
        payload: bytes in them.
        events: events read, those refused by their time included.
        outside: events outside the sensor that their message names.
        unplaced: events whose row, column or time was never sent.
        late: events too far out of order.
        jumped: events of messages whose time jumped, and was not believed.
        stepped_back: events of packets with an earlier time than one before them in the packet.
        unknown_words: words that the encoding does not define.
        late_messages: messages with events that are too far out of order.
        behind_ns: how far these begin before the newest event, nanoseconds, summed.
        stamped: messages whose times a clock has mapped.
        delay_ns: how late their stamps were, nanoseconds, summed.
    """

    messages: int = 0
    payload: int = 0
    events: int = 0
    outside: int = 0
    unplaced: int = 0
    late: int = 0
    jumped: int = 0
    stepped_back: int = 0
    unknown_words: int = 0
    late_messages: int = 0
    behind_ns: int = 0
    stamped: int = 0
    delay_ns: int = 0

    @property
    def refused(self) -> int:
        """Events that reach no window."""
        return self.outside + self.unplaced + self.late + self.jumped

    @property
    def all(self) -> int:
        """Events read and events refused while reading."""
        return self.events + self.outside + self.unplaced

    @property
    def refused_share(self) -> float:
        """Share of the events that is refused, 0 to 1; 0 without events."""
        return self.refused / self.all if self.all else 0.0


class Recent:
    """Differences of counts over the last second. Any thread may call it.

    Args:
        counts: returns the counts since the start.
        clock: returns seconds; of a recording, those of its events.
    """

    def __init__(self, counts: Callable[[], EventCounts], clock: Callable[[], float] = time.monotonic) -> None:
        self._counts, self._clock = counts, clock
        self._lock = threading.Lock()
        self._notes = deque([(-math.inf, EventCounts())])

    def note(self) -> None:
        """Note the counts, if the last note is old enough; call it before each change."""
        with self._lock:
            self._take()

    def last_second(self) -> EventCounts:
        """Return what was counted within about the last second."""
        with self._lock:
            self._take()
            return EventCounts(*(now - before for now, before in zip(self._counts(), self._notes[0][1], strict=True)))

    def _take(self) -> None:
        now = self._clock()
        if now < self._notes[-1][0]:  # a looped recording
            self._notes.clear()
        if not self._notes or now - self._notes[-1][0] >= STEP_S:
            self._notes.append((now, self._counts()))
        while len(self._notes) > 1 and self._notes[1][0] <= now - SPAN_S:
            self._notes.popleft()
