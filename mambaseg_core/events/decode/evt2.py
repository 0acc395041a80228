"""Prophesee's `evt2` (32-bit words) and `evt21` (64-bit words), word by word; times are the sensor's own.

A word of `evt2`, [31:28] its type:

    0x0 OFF, 0x1 ON   [27:22] time, low 6 bits of us; [21:11] column; [10:0] row: an event
    0x8 TIME_HIGH     [27:0] bits 33..6 of us
    0xA EXT_TRIGGER   [27:22] time; [12:8] channel; [0] 1 rising
    0xD IMU, 0xE OTHER, 0xF CONTINUED: ignored

A word of `evt21` has such a word in its upper half and a mask in its lower half: bit i set is an event at column + i.
It has no IMU. `evt21_legacy`, written by older cameras, has the halves swapped.

The clock has 34 bits (4.8 h); a step back of more than half of that is a wrap. Events before the first TIME_HIGH, or
between a gap and the next one, have no known time and are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from mambaseg_core.events.decode.state import UNKNOWN, DecoderState, clock_ns

Event = tuple[int, int, int, bool]
"""Column, row, time in nanoseconds, ON."""

_OFF, _ON, _TIME_HIGH, _TRIGGER, _IMU = 0x0, 0x1, 0x8, 0xA, 0xD
_PASSED_OVER: Final = (0xE, 0xF)
_HIGH_BITS: Final = 28


def evt2(data: bytes, time_base_ns: int, state: DecoderState) -> Iterator[Event]:
    """Decode 32-bit words; see the module."""
    for start, end in pairwise(range(0, len(data) + 1, 4)):
        word = int.from_bytes(data[start:end], "little")
        if word >> 28 != _IMU:
            yield from _word(word, 1, state)


def evt21(data: bytes, time_base_ns: int, state: DecoderState) -> Iterator[Event]:
    """Decode 64-bit words with the mask in the lower half; see the module."""
    for start, end in pairwise(range(0, len(data) + 1, 8)):
        word = int.from_bytes(data[start:end], "little")
        yield from _word(word >> 32, word & 0xFFFFFFFF, state)


def evt21_legacy(data: bytes, time_base_ns: int, state: DecoderState) -> Iterator[Event]:
    """Decode 64-bit words with the mask in the upper half; see the module."""
    for start, end in pairwise(range(0, len(data) + 1, 8)):
        word = int.from_bytes(data[start:end], "little")
        yield from _word(word & 0xFFFFFFFF, word >> 32, state)


def _word(word: int, mask: int, state: DecoderState) -> Iterator[Event]:
    kind = word >> 28
    if kind == _TIME_HIGH:
        state.set_high(word & 0x0FFFFFFF, bits=_HIGH_BITS, most_back=2 ** (_HIGH_BITS - 1))
    elif kind in (_OFF, _ON, _TRIGGER) and state.time_high == UNKNOWN:
        state.unplaced += 1 if kind == _TRIGGER else mask.bit_count()
    elif kind == _TRIGGER:
        state.add_trigger(_time_ns(word, state), word >> 8 & 0x1F, bool(word & 1))
    elif kind in (_OFF, _ON):
        for bit in range(mask.bit_length()):
            if mask >> bit & 1:
                yield (word >> 11 & 0x7FF) + bit, word & 0x7FF, _time_ns(word, state), kind == _ON
    elif kind not in _PASSED_OVER:
        state.unknown_words += 1


def _time_ns(word: int, state: DecoderState) -> int:
    high = (state.wraps << _HIGH_BITS) + state.time_high
    return clock_ns((high << 6) + (word >> 22 & 0x3F))
