"""`libcaer` and `libcaer_cmp` of the DAVIS driver, and the older `mono`, word by word; times count from time_base.

`libcaer`, 64-bit words: [0] valid, [1] polarity, [16:2] row, [31:17] column, [62:32] us. If the microseconds fall by
more than half of their 31 bits, they have wrapped (at most once in a packet).

`libcaer_cmp`, 16-bit words, [15:12] the type, the rest payload:

    0 TIME_HIGH and 1 TIME_LOW   bits [23:12] and [11:0] of the us; both 0 as a packet begins
    2 ADDR_X        [10:0] column of the events that follow
    3 ADDR_Y        [10:0] row, [11] polarity: an event
    4 VECT_BASE_Y   [10:0] row of the first bit of the next vector, [11] polarity of the vectors that follow
    5 VECT_8        [7:0] bit i set is an event at row + i; then the row increases by 8

`mono`, 64-bit words: [63] polarity, [62:48] row, [47:32] column, [31:0] ns.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mambaseg_core.events.decode.evt2 import Event
from mambaseg_core.events.decode.state import UNKNOWN, DecoderState

_TIME_HIGH, _TIME_LOW, _ADDR_X, _ADDR_Y, _VECT_BASE_Y, _VECT_8 = range(6)
_ROLL_US = 2**31


def mono(data: bytes, time_base_ns: int, state: DecoderState) -> Iterator[Event]:
    """Decode 64-bit words; see the module."""
    for start, end in pairwise(range(0, len(data) + 1, 8)):
        word = int.from_bytes(data[start:end], "little")
        yield word >> 32 & 0xFFFF, word >> 48 & 0x7FFF, time_base_ns + (word & 0xFFFFFFFF), bool(word >> 63)


def libcaer(data: bytes, time_base_ns: int, state: DecoderState) -> Iterator[Event]:
    """Decode 64-bit words; see the module. An invalid event counts as an unknown word."""
    last_us = rolled_us = 0
    for start, end in pairwise(range(0, len(data) + 1, 8)):
        word = int.from_bytes(data[start:end], "little")
        if not word & 1:
            state.unknown_words += 1
            continue
        us = word >> 32 & 0x7FFFFFFF
        if last_us - us > _ROLL_US // 2:
            rolled_us = _ROLL_US
        last_us = us
        yield word >> 17 & 0x7FFF, word >> 2 & 0x7FFF, time_base_ns + (rolled_us + us) * 1000, bool(word >> 1 & 1)


def libcaer_cmp(data: bytes, time_base_ns: int, state: DecoderState) -> Iterator[Event]:
    """Decode 16-bit words; see the module."""
    high = low = 0
    for start, end in pairwise(range(0, len(data) + 1, 2)):
        word = int.from_bytes(data[start:end], "little")
        kind, payload = word >> 12, word & 0xFFF
        t_ns = time_base_ns + (high << 12 | low) * 1000
        if kind == _TIME_HIGH:
            high = payload
        elif kind == _TIME_LOW:
            low = payload
        elif kind == _ADDR_X:
            state.column = payload & 0x7FF
        elif kind == _ADDR_Y:
            yield from _emit(payload & 0x7FF, 1, t_ns, payload > 0x7FF, state)
        elif kind == _VECT_BASE_Y:
            state.vector_at, state.vector_on = payload & 0x7FF, payload >> 11
        elif kind == _VECT_8:
            yield from _emit(state.vector_at, payload & 0xFF, t_ns, bool(state.vector_on), state)
            state.move_vector(8)
        else:
            state.unknown_words += 1


def _emit(row: int, mask: int, t_ns: int, on: bool, state: DecoderState) -> Iterator[Event]:
    if UNKNOWN in (state.column, row):
        state.unplaced += mask.bit_count()
        return
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            yield state.column, row + bit, t_ns, on
