"""What a decoder knows between packets: the same memory for the Python references and for the compiled decoders."""

from __future__ import annotations

import ctypes
from typing import Final

import numpy as np

MAX_TRIGGERS: Final = 65536
"""Triggers that wait to be taken; those that come after are lost, and counted."""

UNKNOWN: Final = -1
"""In place of a column, row or time that was not sent yet."""

_FAR: Final = 2**20  # past every sensor; keeps the place of endless vectors small
_CLOCK_US: Final = 2**52  # a sensor's clock begins anew after so long, 142 years


class DecoderState(ctypes.Structure):
    """Place and clock of a stream, and what went wrong in it; `DecoderState` in csrc/cpu/event_codec.h.

    Attributes:
        height: rows of the sensor.
        width: columns of the sensor.
        column: column that was sent last.
        row: row that was sent last.
        vector_at: column or row of the first bit of the next vector.
        vector_on: polarity of vectors.
        time_high: upper bits of the sensor's clock.
        time_low: lower bits of the sensor's clock.
        last_high: time_high as it was even before a gap, to see wraps.
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
        """After a gap: no place and no time is known; only the count of wraps stays."""
        self.column = self.row = self.vector_at = self.time_high = self.time_low = UNKNOWN
        self.vector_on = 0

    def set_high(self, high: int, *, bits: int, most_back: int) -> None:
        """Take the upper bits of the sensor's clock; a step back of more than `most_back` is taken for a wrap."""
        if self.last_high != UNKNOWN:
            back = self.last_high - high
            if back > most_back:
                self.wraps += 1
            elif -back >= 2**bits - most_back and self.wraps > 0:
                self.wraps -= 1  # jitter about the wrap
        self.time_high = self.last_high = high

    def move_vector(self, step: int) -> None:
        """Move on by the bits of a vector, where its place is known."""
        if self.vector_at != UNKNOWN:
            self.vector_at = min(self.vector_at + step, _FAR)

    def add_trigger(self, t_ns: int, channel: int, rising: bool) -> None:
        """Keep a trigger, or count it where there is no room."""
        if self.triggers >= self.triggers_room:
            self.triggers_lost += 1
            return
        self.trigger_t_ns[self.triggers] = t_ns
        self.trigger_channel[self.triggers] = channel
        self.trigger_edge[self.triggers] = 1 if rising else -1
        self.triggers += 1


def clock_ns(us: int) -> int:
    """Nanoseconds of a sensor's clock."""
    return us % _CLOCK_US * 1000
