"""State of a decoder between packets; the Python references and the compiled decoders share its memory layout."""

from __future__ import annotations

import ctypes
from typing import Final

import numpy as np

MAX_TRIGGERS: Final = 65536
"""Maximum number of waiting triggers; later ones are lost and counted."""

UNKNOWN: Final = -1
"""Value of a column, row or time that was not sent yet."""

_FAR: Final = 2**20  # beyond every sensor; bounds the position of endless vectors
_CLOCK_US: Final = 2**52  # a sensor's clock restarts after this time, 142 years


class DecoderState(ctypes.Structure):
    """Position, clock and fault counters of a stream; `DecoderState` in csrc/cpu/event_codec.h.

    Attributes:
        height: rows of the sensor.
        width: columns of the sensor.
        column: column that was sent last.
        row: row that was sent last.
        vector_at: column or row of the first bit of the next vector.
        vector_on: polarity of vectors.
        time_high: upper bits of the sensor's clock.
        time_low: lower bits of the sensor's clock.
        last_high: last time_high, also from before a gap, to detect wraps.
        wraps: how often the clock wrapped.
    """

    height: int
    width: int
    column: int
    row: int
    vector_at: int
    vector_on: int
    time_high: int
    time_low: int
    last_high: int
    wraps: int
    outside: int
    unplaced: int
    stepped_back: int
    unknown_words: int
    triggers: int
    triggers_room: int
    triggers_lost: int

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("height", "width", "column", "row", "vector_at", "vector_on")),
        *((name, ctypes.c_int64) for name in ("time_high", "time_low", "last_high", "wraps")),
        *((name, ctypes.c_int64) for name in ("outside", "unplaced", "stepped_back", "unknown_words")),
        *((name, ctypes.c_int64) for name in ("triggers", "triggers_room", "triggers_lost")),
        *((name, ctypes.c_void_p) for name in ("trigger_t_ns_at", "trigger_channel_at", "trigger_edge_at")),
    ]

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height=height, width=width, last_high=UNKNOWN, triggers_room=MAX_TRIGGERS)
        self.trigger_t_ns = np.empty(MAX_TRIGGERS, np.int64)
        self.trigger_channel = np.empty(MAX_TRIGGERS, np.uint8)
        self.trigger_edge = np.empty(MAX_TRIGGERS, np.int8)
        self.trigger_t_ns_at = self.trigger_t_ns.ctypes.data
        self.trigger_channel_at = self.trigger_channel.ctypes.data
        self.trigger_edge_at = self.trigger_edge.ctypes.data
        self.forget()

    def forget(self) -> None:
        """Reset position and time after a gap; only the count of wraps stays."""
        self.column = self.row = self.vector_at = self.time_high = self.time_low = UNKNOWN
        self.vector_on = 0

    def set_high(self, high: int, *, bits: int, most_back: int) -> None:
        """Set the upper bits of the sensor's clock; a step back of more than `most_back` is a wrap."""
        if self.last_high != UNKNOWN:
            back = self.last_high - high
            if back > most_back:
                self.wraps += 1
            elif -back >= 2**bits - most_back and self.wraps > 0:
                self.wraps -= 1  # jitter around the wrap
        self.time_high = self.last_high = high

    def move_vector(self, step: int) -> None:
        """Advance the vector's position, if known, by a number of bits."""
        if self.vector_at != UNKNOWN:
            self.vector_at = min(self.vector_at + step, _FAR)

    def add_trigger(self, t_ns: int, channel: int, rising: bool) -> None:
        """Store a trigger, or count it as lost if there is no room."""
        if self.triggers >= self.triggers_room:
            self.triggers_lost += 1
            return
        self.trigger_t_ns[self.triggers] = t_ns
        self.trigger_channel[self.triggers] = channel
        self.trigger_edge[self.triggers] = 1 if rising else -1
        self.triggers += 1


def clock_ns(us: int) -> int:
    """Convert the microseconds of a sensor's clock to nanoseconds."""
    return us % _CLOCK_US * 1000
