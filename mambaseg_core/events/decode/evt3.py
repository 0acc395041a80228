"""Prophesee's `evt3`, word by word; times are the sensor's own.

16-bit words, [15:12] the type, the rest payload:

    0x0 ADDR_Y        [10:0] row of the events that follow ([11] which camera of a pair: ignored)
    0x2 ADDR_X        [10:0] column, [11] polarity: an event
    0x3 VECT_BASE_X   [10:0] column of the first bit of the next vector, [11] polarity of the vectors that follow
    0x4 VECT_12       [11:0] bit i set is an event at column + i; then the column increases by 12
    0x5 VECT_8        [7:0] the same; then the column increases by 8
    0x6 TIME_LOW      [11:0] bits 11..0 of us
    0x8 TIME_HIGH     [11:0] bits 23..12 of us; the low part stays until the next TIME_LOW
    0xA EXT_TRIGGER   [11:8] channel, [0] 1 rising
    0x7, 0xF CONTINUED, 0xD IMU, 0xE SECOND_INPUTS: ignored
    0x1, 0x9 (seen as padding: 0x9999), 0xB, 0xC: not defined

Each word is decoded by itself: groups of vectors may be cut short. The clock has 24 bits (16.8 s). A TIME_HIGH more
than 10 behind the last is a wrap; a smaller step back is jitter of the sensor. An event has no known time before a
TIME_HIGH and then a TIME_LOW, and no known place before an ADDR_Y (and VECT_BASE_X for a vector). Such events are
dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from mambaseg_core.events.decode.evt2 import Event
from mambaseg_core.events.decode.state import UNKNOWN, DecoderState, clock_ns

_ADDR_Y, _ADDR_X, _VECT_BASE_X, _VECT_12, _VECT_8 = 0x0, 0x2, 0x3, 0x4, 0x5
_TIME_LOW, _TIME_HIGH, _TRIGGER = 0x6, 0x8, 0xA
_PASSED_OVER: Final = (0x7, 0xD, 0xE, 0xF)
_MOST_JITTER: Final = 10  # in TIME_HIGH, 4.096 ms each; the ros-event-camera project has the same


def evt3(data: bytes, time_base_ns: int, state: DecoderState) -> Iterator[Event]:
    """Decode 16-bit words; see the module."""
    for start, end in pairwise(range(0, len(data) + 1, 2)):
        word = int.from_bytes(data[start:end], "little")
        kind, payload = word >> 12, word & 0xFFF
        if kind == _ADDR_Y:
            state.row = payload & 0x7FF
        elif kind == _ADDR_X:
            yield from _emit(payload & 0x7FF, 1, payload > 0x7FF, state)
        elif kind == _VECT_BASE_X:
            state.vector_at, state.vector_on = payload & 0x7FF, payload >> 11
        elif kind == _VECT_12:
            yield from _emit(state.vector_at, payload, bool(state.vector_on), state)
            state.move_vector(12)
        elif kind == _VECT_8:
            yield from _emit(state.vector_at, payload & 0xFF, bool(state.vector_on), state)
            state.move_vector(8)
        elif kind == _TRIGGER:
            _trigger(payload, state)
        elif kind in (_TIME_LOW, _TIME_HIGH):
            _set_time(kind, payload, state)
        elif kind not in _PASSED_OVER:
            state.unknown_words += 1


def _set_time(kind: int, payload: int, state: DecoderState) -> None:
    if kind == _TIME_HIGH:
        state.set_high(payload, bits=12, most_back=_MOST_JITTER)
    elif state.time_high != UNKNOWN:
        state.time_low = payload


def _emit(column: int, mask: int, on: bool, state: DecoderState) -> Iterator[Event]:
    if UNKNOWN in (column, state.row, state.time_low):
        state.unplaced += mask.bit_count()
        return
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            yield column + bit, state.row, _now_ns(state), on


def _trigger(payload: int, state: DecoderState) -> None:
    if state.time_low == UNKNOWN:
        state.unplaced += 1
    else:
        state.add_trigger(_now_ns(state), payload >> 8, bool(payload & 1))


def _now_ns(state: DecoderState) -> int:
    return clock_ns((state.wraps << 24) + (state.time_high << 12) + state.time_low)
