"""Event packets as cameras' ROS drivers send them, decoded to `Events`: one function an encoding.

The byte layouts are those of the ros-event-camera project (event_camera_msgs/EventPacket, field `encoding`);
all words are little endian. No bytes make a decoder raise: what cannot be understood is counted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mambaseg_core.events.array import Events
from mambaseg_core.events.columns import check_size

Bytes = bytes | bytearray | memoryview | NDArray[np.uint8]
"""What a packet's payload may come as."""

_MAX_TIME_BASE_NS: Final = 2**63 - 2**36  # leaves room for the largest time inside a packet, 2^24 us


@dataclass(frozen=True)
class DecoderCounters:
    """What a decoder has met since it was made.

    Attributes:
        packets: packets decoded.
        events: events given out.
        outside: events dropped because they lay outside the sensor.
        unplaced: events dropped because their column, or the row of their vector, was never sent.
        stepped_back: events whose time was earlier than one before them in the packet; raised to that one's.
        unknown_words: words of a type that the encoding does not define.
        truncated_bytes: bytes at the end of packets that do not fill a word.
        seq_gaps: packets that did not follow the one before (lost, repeated, or a publisher begun anew).
        lost_packets: packets missing in those gaps.
    """

    packets: int = 0
    events: int = 0
    outside: int = 0
    unplaced: int = 0
    stepped_back: int = 0
    unknown_words: int = 0
    truncated_bytes: int = 0
    seq_gaps: int = 0
    lost_packets: int = 0


class _State(NamedTuple):
    """What one packet leaves for the next; -1 where nothing was sent yet."""

    column: int = -1
    vector_row: int = -1
    vector_on: bool = False


class _Raw(NamedTuple):
    """A packet as its words say, unchecked; M events."""

    x: NDArray[Any]  # [M], any integer dtype
    y: NDArray[Any]  # [M]
    dt_ns: NDArray[np.int64]  # [M], relative to the packet's time base
    on: NDArray[np.bool_]  # [M]
    unplaced: int
    unknown_words: int
    word_bytes: int
    state: _State


class Decoder:
    """Decodes the packets of one stream in order and counts what goes wrong.

    Keeps what the encoding lets run on from packet to packet (`libcaer_cmp`: column and row of a vector) and
    forgets it where `seq` shows a gap. Not to be shared by threads.

    Args:
        encoding: one of `ENCODINGS`.
        height: rows of the sensor.
        width: columns of the sensor.

    Raises:
        ValueError: an unknown encoding, or a size out of range.
    """

    def __init__(self, encoding: str, *, height: int, width: int) -> None:
        if encoding not in _DECODERS:
            raise ValueError(
                f"encoding is {encoding!r}, expected one of {', '.join(ENCODINGS)}; choose one of them in "
                f"the driver"
            )
        self.encoding = encoding
        self.height, self.width = check_size(height, width)
        self._decode = _DECODERS[encoding]
        self._state = _State()
        self._seq: int | None = None
        self._counters = DecoderCounters()

    @property
    def counters(self) -> DecoderCounters:
        """A snapshot."""
        return self._counters

    def decode(self, data: Bytes, time_base_ns: int = 0, seq: int | None = None) -> Events:
        """Decode the next packet.

        Events come in the order of their words. Where a time steps back inside the packet it is raised to the
        largest before it, since the known cause is an encoder that leaves out time words, so that the
        earlier time is stale and the running maximum is the nearest to the truth.

        Args:
            data: the packet's payload.
            time_base_ns: the packet's `time_base` in nanoseconds, which the times inside are added to.
            seq: the packet's number in its stream, to see losses; None where there is none.

        Raises:
            TypeError: data is not bytes.
            ValueError: time_base_ns out of range.
        """
        octets = _octets(data)
        if not 0 <= operator.index(time_base_ns) < _MAX_TIME_BASE_NS:
            raise ValueError(
                f"time_base_ns is {time_base_ns}, expected 0 to {_MAX_TIME_BASE_NS}; the packet's header is "
                f"damaged"
            )
        if seq is not None:
            self._follow(operator.index(seq))
        raw = self._decode(octets, self._state)
        self._state = raw.state
        dt_ns, stepped_back = raw.dt_ns, 0
        if (dt_ns[1:] < dt_ns[:-1]).any():
            dt_ns = np.maximum.accumulate(raw.dt_ns)
            stepped_back = int(np.count_nonzero(dt_ns != raw.dt_ns))
        t_ns = dt_ns + operator.index(time_base_ns)
        inside = (raw.x < self.width) & (raw.y < self.height)
        p = raw.on.astype(np.int8) * np.int8(2) - np.int8(1)
        x, y = raw.x.astype(np.uint16), raw.y.astype(np.uint16)
        outside = len(inside) - int(np.count_nonzero(inside))
        if outside:
            x, y, t_ns, p = x[inside], y[inside], t_ns[inside], p[inside]
        self._count(
            packets=1,
            events=len(x),
            outside=outside,
            unplaced=raw.unplaced,
            stepped_back=stepped_back,
            unknown_words=raw.unknown_words,
            truncated_bytes=len(octets) % raw.word_bytes,
        )
        return Events(x, y, t_ns, p, self.height, self.width)

    def _follow(self, seq: int) -> None:
        expected = seq if self._seq is None else self._seq + 1
        if seq != expected:
            self._state = _State()
            self._count(seq_gaps=1, lost_packets=max(0, seq - expected))
        self._seq = seq

    def _count(self, **added: int) -> None:
        now = self._counters
        self._counters = replace(now, **{name: getattr(now, name) + number for name, number in added.items()})


def decode(encoding: str, data: Bytes, *, height: int, width: int, time_base_ns: int = 0) -> Events:
    """Decode one packet by itself, with no memory of others; see `Decoder.decode`.

    Raises:
        TypeError: data is not bytes.
        ValueError: an unknown encoding, a size or a time base out of range.
    """
    return Decoder(encoding, height=height, width=width).decode(data, time_base_ns)


def _octets(data: Bytes) -> NDArray[np.uint8]:
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 1:
        return np.ascontiguousarray(data)
    if isinstance(data, bytes | bytearray | memoryview):
        return np.frombuffer(bytes(data) if isinstance(data, memoryview) else data, dtype=np.uint8)
    what = f"{data.dtype} array" if isinstance(data, np.ndarray) else type(data).__name__
    raise TypeError(f"data is {what}, expected bytes or a uint8 array [N]; give the packet's payload")


def _words(octets: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """The whole little-endian words of a packet."""
    size = np.dtype(dtype).itemsize
    return octets[: len(octets) // size * size].view(dtype)


def _mono(octets: NDArray[np.uint8], state: _State) -> _Raw:
    """`mono`: a 64-bit word an event: [63] polarity, [62:48] y, [47:32] x, [31:0] ns after time_base."""
    words = _words(octets, "<u8")
    shorts = words.view("<u2").reshape(-1, 4)  # [M, 4]: dt low, dt high, x, y and polarity
    return _Raw(
        x=shorts[:, 2],
        y=shorts[:, 3] & 0x7FFF,
        dt_ns=words.view("<u4")[0::2].astype(np.int64),
        on=shorts[:, 3] > 0x7FFF,
        unplaced=0,
        unknown_words=0,
        word_bytes=8,
        state=state,
    )


_ROW_LIMIT: Final = 2**20  # past every sensor; keeps the row of endless vectors small

# Types of libcaer_cmp words, bits [15:12]; 6 is reserved, 7 to 15 are not defined.
_TIME_HIGH, _TIME_LOW, _ADDR_X, _ADDR_Y, _BASE_Y, _VECT_8 = range(6)


def _libcaer_cmp(octets: NDArray[np.uint8], state: _State) -> _Raw:
    """`libcaer_cmp`: 16-bit words, [15:12] type, the rest payload.

    0 TIME_HIGH and 1 TIME_LOW: bits [23:12] and [11:0] of the microseconds after time_base, both 0 as a
    packet begins. 2 ADDR_X: [10:0] column of what follows. 3 ADDR_Y: [10:0] row, [11] polarity, an event. 4
    VECT_BASE_Y: [10:0] row, [11] polarity of the vectors that follow. 5 VECT_8: [7:0], bit i set is an event
    at row + i; then the row moves on by 8.
    """
    words = _words(octets, "<u2")
    kind = (words >> 12).astype(np.uint8)
    payload = (words & 0x0FFF).astype(np.int32)
    emits = np.flatnonzero((kind == _ADDR_Y) | (kind == _VECT_8))  # [E]

    column = _last(payload & 0x7FF, np.flatnonzero(kind == _ADDR_X), state.column)
    high = _last(payload, np.flatnonzero(kind == _TIME_HIGH), 0)[emits]
    low = _last(payload, np.flatnonzero(kind == _TIME_LOW), 0)[emits]
    row, on, vector_row, vector_on = _rows(kind, payload, state)

    is_vector = kind[emits] == _VECT_8
    mask = payload[emits[is_vector]].astype(np.uint8)  # [V], the low 8 bits
    bits = np.unpackbits(mask, bitorder="little").reshape(-1, 8)  # [V, 8]
    number = np.ones(len(emits), dtype=np.int64)  # [E], events of each word
    number[is_vector] = bits.sum(axis=1)
    x, y = column[emits], row[emits]
    unknown = (x < 0) | (y < 0)
    unplaced = int(number[unknown].sum())
    number[unknown] = 0
    bits[unknown[is_vector]] = 0
    word = np.repeat(np.arange(len(emits)), number)  # [M], which word each event comes from
    y = y[word]
    y[is_vector[word]] += np.nonzero(bits)[1].astype(np.int32)
    return _Raw(
        x=x[word],
        y=y,
        dt_ns=(high << 12 | low)[word].astype(np.int64) * 1000,
        on=on[emits][word],
        unplaced=unplaced,
        unknown_words=int(np.count_nonzero(kind > _VECT_8)),
        word_bytes=2,
        state=_State(int(column[-1]) if len(column) else state.column, vector_row, vector_on),
    )


def _last(payload: NDArray[np.int32], at: NDArray[np.int64], before: int) -> NDArray[np.int32]:
    """For each word the payload of the last word in `at` up to it, `before` ahead of the first."""
    bounds = np.concatenate([[0], at, [len(payload)]])
    return np.repeat(np.concatenate([[np.int32(before)], payload[at]]), bounds[1:] - bounds[:-1])


def _rows(
    kind: NDArray[np.uint8], payload: NDArray[np.int32], state: _State
) -> tuple[NDArray[np.int32], NDArray[np.bool_], int, bool]:
    """Row and polarity of each word that emits, and those that the next vector will have."""
    at_base, at_vector = np.flatnonzero(kind == _BASE_Y), np.flatnonzero(kind == _VECT_8)
    row, on = payload & 0x7FF, payload > 0x7FF
    base_row = np.concatenate([[np.int32(state.vector_row)], row[at_base]])
    base_on = np.concatenate([[state.vector_on], on[at_base]])
    base = np.searchsorted(at_base, at_vector)  # [V], which base each vector has
    nth = np.arange(len(base)) - np.searchsorted(base, base)  # [V], how many vectors it had before
    row[at_vector] = np.where(base_row[base] < 0, -1, base_row[base] + 8 * nth)
    on[at_vector] = base_on[base]
    last_row = int(base_row[-1])
    if last_row >= 0:
        vectors = int(np.count_nonzero(base == len(at_base)))
        last_row = min(last_row + 8 * vectors, _ROW_LIMIT)
    return row, on, last_row, bool(base_on[-1])


_DECODERS: Final[dict[str, Callable[[NDArray[np.uint8], _State], _Raw]]] = {
    "mono": _mono,
    "libcaer_cmp": _libcaer_cmp,
}

ENCODINGS: Final = tuple(_DECODERS)
"""The names that `decode` and `Decoder` know."""
