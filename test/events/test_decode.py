"""The decoders against bytes written by hand, a slow obvious reference, random bytes, and real recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mambaseg_core.events import Decoder, Events, decode

DATA = Path(__file__).parent / "data"
SIZE = {"height": 4, "width": 4}


class Slow:
    """Word by word, as the format's description reads; events are (x, y, t_ns, p), times not yet raised."""

    def __init__(self) -> None:
        self.column: int | None = None
        self.row: int | None = None
        self.on = False
        self.unplaced = self.unknown = 0

    def mono(self, data: bytes, base_ns: int) -> list[tuple[int, int, int, int]]:
        events = []
        for start in range(0, len(data) - 7, 8):
            word = int.from_bytes(data[start : start + 8], "little")
            events.append(
                (word >> 32 & 0xFFFF, word >> 48 & 0x7FFF, base_ns + (word & 0xFFFFFFFF), word >> 63)
            )
        return [(x, y, t, 2 * p - 1) for x, y, t, p in events]

    def libcaer_cmp(self, data: bytes, base_ns: int) -> list[tuple[int, int, int, int]]:
        events: list[tuple[int, int, int, int]] = []
        high = low = 0

        def emit(row: int | None, on: bool) -> None:
            if self.column is None or row is None:
                self.unplaced += 1
            else:
                events.append((self.column, row, base_ns + (high * 4096 + low) * 1000, 1 if on else -1))

        for start in range(0, len(data) - 1, 2):
            word = int.from_bytes(data[start : start + 2], "little")
            kind, payload = word >> 12, word & 0xFFF
            if kind == 0:
                high = payload
            elif kind == 1:
                low = payload
            elif kind == 2:
                self.column = payload & 0x7FF
            elif kind == 3:
                emit(payload & 0x7FF, payload >= 0x800)
            elif kind == 4:
                self.row, self.on = payload & 0x7FF, payload >= 0x800
            elif kind == 5:
                for bit in range(8):
                    if payload >> bit & 1:
                        emit(None if self.row is None else self.row + bit, self.on)
                if self.row is not None:
                    self.row += 8
            else:
                self.unknown += 1
        return events


def columns(events: Events) -> list[tuple[int, int, int, int]]:
    return list(
        zip(events.x.tolist(), events.y.tolist(), events.t_ns.tolist(), events.p.tolist(), strict=True)
    )


def words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


MONO = bytes.fromhex(
    "e8030000"  # dt = 1000 ns
    "0500"  # x = 5
    "0700"  # y = 7, polarity 0
    "e9030000"  # dt = 1001 ns
    "7f02"  # x = 639
    "df81"  # y = 479, polarity 1 in the top bit
)
LIBCAER_CMP = bytes.fromhex(
    "0a20"  # ADDR_X 10
    "0530"  # ADDR_Y 5, OFF: event (10, 5) at 0 us
    "0310"  # TIME_LOW 3
    "0538"  # ADDR_Y 5, ON: event (10, 5) at 3 us
    "0200"  # TIME_HIGH 2; the low part stays
    "0b20"  # ADDR_X 11
    "1048"  # VECT_BASE_Y 16, ON: no event
    "8150"  # VECT_8 bits 0 and 7: events (11, 16) and (11, 23) at 2 * 4096 + 3 us
    "0250"  # VECT_8 bit 1, eight rows on: event (11, 25)
    "0030"  # ADDR_Y 0, OFF: event (11, 0)
    "0150"  # VECT_8 bit 0, eight more on, its own polarity: event (11, 32) ON
)
LIBCAER_CMP_EVENTS = [
    (10, 5, 0, -1),
    (10, 5, 3_000, 1),
    (11, 16, 8_195_000, 1),
    (11, 23, 8_195_000, 1),
    (11, 25, 8_195_000, 1),
    (11, 0, 8_195_000, -1),
    (11, 32, 8_195_000, 1),
]


def test_bytes_written_by_hand() -> None:
    mono = [(5, 7, 51_000, -1), (639, 479, 51_001, 1)]
    assert columns(decode("mono", MONO, height=480, width=640, time_base_ns=50_000)) == mono
    assert Slow().mono(MONO, 50_000) == mono
    assert columns(decode("libcaer_cmp", LIBCAER_CMP, height=260, width=346)) == LIBCAER_CMP_EVENTS
    assert Slow().libcaer_cmp(LIBCAER_CMP, 0) == LIBCAER_CMP_EVENTS


@pytest.mark.parametrize("encoding", ["mono", "libcaer_cmp"])
def test_no_bytes_and_half_a_word(encoding: str) -> None:
    decoder = Decoder(encoding, height=480, width=640)
    assert len(decoder.decode(b"")) == 0
    assert len(decoder.decode(b"\x01", seq=0)) == 0
    assert decoder.counters.truncated_bytes == 1
    assert decoder.counters.packets == 2


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda d: np.frombuffer(d, np.uint8)])
def test_every_kind_of_bytes(wrap: Callable[[bytes], Any]) -> None:
    events = decode("libcaer_cmp", wrap(LIBCAER_CMP), height=260, width=346)
    assert columns(events) == LIBCAER_CMP_EVENTS
    strided = np.repeat(np.frombuffer(LIBCAER_CMP, np.uint8), 2)[::2]
    assert columns(decode("libcaer_cmp", strided, height=260, width=346)) == LIBCAER_CMP_EVENTS


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: Decoder("evt9", height=4, width=4), ValueError, "'evt9', expected one of mono, libcaer_cmp"),
        (lambda: Decoder("mono", height=0, width=4), ValueError, "height is 0"),
        (lambda: decode("mono", cast(Any, "text"), **SIZE), TypeError, "data is str"),
        (lambda: decode("mono", cast(Any, np.zeros(3)), **SIZE), TypeError, "float64 array"),
        (lambda: decode("mono", b"", time_base_ns=2**63, **SIZE), ValueError, str(2**63)),
        (lambda: decode("mono", b"", time_base_ns=-1, **SIZE), ValueError, "time_base_ns is -1"),
    ],
)
def test_what_is_refused(call: Callable[[], object], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        call()


def test_outside_is_dropped_and_counted() -> None:
    decoder = Decoder("libcaer_cmp", height=24, width=11)
    assert columns(decoder.decode(LIBCAER_CMP)) == LIBCAER_CMP_EVENTS[:2]
    assert decoder.counters.outside == 5
    assert decoder.counters.events == 2


def test_stale_times_are_raised() -> None:
    decoder = Decoder("libcaer_cmp", height=260, width=346)
    # at 5 us, at 4 us (stale), at 6 us
    events = decoder.decode(words(0x2001, 0x1005, 0x3001, 0x1004, 0x3002, 0x1006, 0x3003))
    assert events.t_ns.tolist() == [5000, 5000, 6000]
    assert decoder.counters.stepped_back == 1


def test_unknown_words_and_unplaced_events_are_counted() -> None:
    decoder = Decoder("libcaer_cmp", height=260, width=346)
    # a row before any column; reserved 6 and undefined 7, 15; a column; a vector of three before any base
    events = decoder.decode(words(0x3001, 0x6000, 0x7000, 0xF000, 0x2001, 0x5007))
    assert len(events) == 0
    assert decoder.counters.unplaced == 4
    assert decoder.counters.unknown_words == 3


def test_column_runs_on_and_a_gap_ends_it() -> None:
    decoder = Decoder("libcaer_cmp", height=260, width=346)
    decoder.decode(words(0x2009, 0x0001, 0x4805, 0x5001), seq=7)
    # column, base and polarity run on; the clock does not
    assert columns(decoder.decode(words(0x3002, 0x5001), seq=8)) == [(9, 2, 0, -1), (9, 13, 0, 1)]
    assert decoder.counters.seq_gaps == 0
    assert len(decoder.decode(words(0x3002, 0x5001), seq=11)) == 0
    assert (decoder.counters.seq_gaps, decoder.counters.lost_packets) == (1, 2)
    decoder.decode(b"", seq=11)  # repeated
    decoder.decode(b"", seq=0)  # the publisher begins anew
    assert (decoder.counters.seq_gaps, decoder.counters.lost_packets) == (3, 2)


@pytest.mark.parametrize("encoding", ["mono", "libcaer_cmp"])
@settings(deadline=None, max_examples=300)
@given(packets=st.lists(st.binary(max_size=200), max_size=3), base_ns=st.integers(0, 2**62))
@example(packets=[words(0x2001, 0x4000) + words(0x50FF) * 300, words(0x50FF)], base_ns=0)
@example(packets=[b"\xff" * 16, b"\xff" * 3], base_ns=2**62)
def test_fast_is_slow(encoding: str, packets: list[bytes], base_ns: int) -> None:
    height, width = 1500, 1800
    fast, slow = Decoder(encoding, height=height, width=width), Slow()
    slow_decode = {"mono": slow.mono, "libcaer_cmp": slow.libcaer_cmp}[encoding]
    outside = stepped_back = events = 0
    for data in packets:
        newest, expected = 0, []
        for x, y, t_ns, p in slow_decode(data, base_ns):
            stepped_back += t_ns < newest
            newest = max(newest, t_ns)
            expected.append((x, y, newest, p))
        inside = [event for event in expected if event[0] < width and event[1] < height]
        outside += len(expected) - len(inside)
        events += len(inside)
        assert columns(fast.decode(data, base_ns)) == inside
    assert asdict(fast.counters) == {
        "packets": len(packets),
        "events": events,
        "outside": outside,
        "unplaced": slow.unplaced,
        "stepped_back": stepped_back,
        "unknown_words": slow.unknown,
        "truncated_bytes": sum(len(data) % {"mono": 8, "libcaer_cmp": 2}[encoding] for data in packets),
        "seq_gaps": 0,
        "lost_packets": 0,
    }


def test_one_real_packet_carried_here() -> None:
    data, base_ns = (DATA / "davis346_libcaer_cmp.bin").read_bytes(), 1744227145722711000
    events = decode("libcaer_cmp", data, height=260, width=346, time_base_ns=base_ns)
    assert columns(events) == Slow().libcaer_cmp(data, base_ns)
    assert (len(events), int((events.p > 0).sum())) == (5022, 1757)
    assert (events.t_ns[0], events.t_ns[-1]) == (1744227145722711000, 1744227145732708000)


def test_recording_libcaer_cmp(packets: Callable[[str], list[Any]]) -> None:
    messages = packets("test_events_2")
    decoder = Decoder("libcaer_cmp", height=260, width=346)
    parts = [decoder.decode(m.events, m.time_base, m.seq) for m in messages]
    alone = [
        decode(m.encoding, m.events, height=m.height, width=m.width, time_base_ns=m.time_base)
        for m in messages
    ]
    assert [columns(part) for part in parts[:3]] == [columns(part) for part in alone[:3]]
    events = Events.concatenate(parts)
    assert len(events) == sum(map(len, alone)) == 571_266
    assert (int((events.p < 0).sum()), int((events.p > 0).sum())) == (360_223, 211_043)
    assert (events.t_ns[0], events.t_ns[-1]) == (1744227144732712000, 1744227145732708000)
    counters = asdict(decoder.counters)
    assert (counters.pop("packets"), counters.pop("events")) == (100, 571_266)
    assert set(counters.values()) == {0}


def test_recording_mono(packets: Callable[[str], list[Any]]) -> None:
    messages = packets("mono_cd")
    decoder = Decoder("mono", height=480, width=640)
    events = Events.concatenate([decoder.decode(m.events, m.time_base, m.seq) for m in messages])
    assert len(events) == 100
    sums = [int(column.sum()) for column in (events.t_ns, events.x.astype(int), events.y.astype(int))]
    assert sums == [4_950_000, 34_450, 26_450]
    assert int((events.p > 0).sum()) == 50
