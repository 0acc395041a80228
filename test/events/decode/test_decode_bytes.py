"""Every decoder, the Python reference and the compiled one, against bytes written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mambaseg_core.events import Decoder, Events

Rows = list[tuple[int, int, int, int]]


def rows(events: Events) -> Rows:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t_ns.tolist(), events.p.tolist(), strict=True))


def words(bits: int, *values: int) -> bytes:
    return np.array(values, f"<u{bits // 8}").tobytes()


MONO = bytes.fromhex(
    "e8030000"  # dt = 1000 ns
    "0500"  # x = 5
    "0700"  # y = 7, polarity 0
    "e9030000"  # dt = 1001 ns
    "7f02"  # x = 639
    "df81"  # y = 479, polarity 1 in the top bit
)

LIBCAER = bytes.fromhex(
    "1d000a00"  # 0x000a001d: valid, polarity 0, y 7, x 5
    "ffffff7f"  # 2^31 - 1 us
    "7e07fe04"  # not valid: dropped
    "00000000"  #
    "7f07fe04"  # 0x04fe077f: valid, polarity 1, y 479, x 639
    "03000000"  # 3 us: rolled over
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

EVT3 = bytes.fromhex(
    "0180"  # TIME_HIGH 1
    "0560"  # TIME_LOW 5: 4101 us
    "0708"  # ADDR_Y 7, bit 11: the other camera of a pair
    "0a28"  # ADDR_X 10, ON: event (10, 7)
    "1430"  # VECT_BASE_X 20, OFF: no event
    "0148"  # VECT_12 bits 0 and 11: events (20, 7) and (31, 7) OFF
    "0660"  # TIME_LOW 6, between the vectors
    "0240"  # VECT_12 bit 1, twelve on: event (33, 7) at 4102 us
    "82ff"  # CONTINUED_12: nothing
    "8157"  # VECT_8 bits 0 and 7 (bits 8 to 10 are not its): events (44, 7) and (51, 7)
    "0150"  # VECT_8 bit 0, eight on: event (52, 7)
    "01a7"  # EXT_TRIGGER channel 7, rising, at 4102 us
)

EVT2 = bytes.fromhex(
    "02000080"  # TIME_HIGH 2: 128 us
    "07504000"  # 0x00405007: OFF, low time 1, x 10, y 7
    "dff9d31f"  # 0x1fd3f9df: ON, low time 63, x 639, y 479
    "010580ac"  # 0xac800501: EXT_TRIGGER low time 50, channel 5, rising
)


def evt21(upper: int, lower: int) -> int:
    return upper << 32 | lower


EVT21 = (
    evt21(0x80000002, 0x12345678),  # TIME_HIGH 2: 128 us; its lower half is not used
    evt21(0x00405007, 0x80000001),  # OFF, low time 1, x 10, y 7; bits 0 and 31: columns 10 and 41
    evt21(0x10C05007, 0x00000002),  # ON, low time 3, x 10, y 7; bit 1: column 11
    evt21(0x10C05007, 0x00000000),  # no bit, no event
    evt21(0xA0800501, 0x00000000),  # EXT_TRIGGER low time 2, channel 5, rising
    evt21(0xE0000000, 0xFFFFFFFF),  # SECOND_INPUTS: nothing
)
EVT21_EVENTS = [(10, 7, 129_000, -1), (41, 7, 129_000, -1), (11, 7, 131_000, 1)]


def swapped(word: int) -> int:
    return (word & 0xFFFFFFFF) << 32 | word >> 32


BASE_NS = 50_000
HAND: dict[str, tuple[bytes, Rows]] = {
    "mono": (MONO, [(5, 7, 51_000, -1), (639, 479, 51_001, 1)]),
    "libcaer": (LIBCAER, [(5, 7, (2**31 - 1) * 1000 + BASE_NS, -1), (639, 479, (2**31 + 3) * 1000 + BASE_NS, 1)]),
    "libcaer_cmp": (
        LIBCAER_CMP,
        [
            (10, 5, BASE_NS, -1),
            (10, 5, 3_000 + BASE_NS, 1),
            (11, 16, 8_195_000 + BASE_NS, 1),
            (11, 23, 8_195_000 + BASE_NS, 1),
            (11, 25, 8_195_000 + BASE_NS, 1),
            (11, 0, 8_195_000 + BASE_NS, -1),
            (11, 32, 8_195_000 + BASE_NS, 1),
        ],
    ),
    "evt3": (
        EVT3,
        [
            (10, 7, 4_101_000, 1),
            (20, 7, 4_101_000, -1),
            (31, 7, 4_101_000, -1),
            (33, 7, 4_102_000, -1),
            (44, 7, 4_102_000, -1),
            (51, 7, 4_102_000, -1),
            (52, 7, 4_102_000, -1),
        ],
    ),
    "evt2": (EVT2, [(10, 7, 129_000, -1), (639, 479, 191_000, 1)]),
    "evt21": (words(64, *EVT21), EVT21_EVENTS),
    "evt21_legacy": (words(64, *map(swapped, EVT21)), EVT21_EVENTS),
}


@pytest.mark.parametrize("encoding", HAND)
def test_bytes_written_by_hand(encoding: str, backend: str) -> None:
    data, expected = HAND[encoding]
    decoder = Decoder(encoding, height=480, width=640, backend=backend)
    assert rows(decoder.decode(data, BASE_NS)) == expected
    counters = decoder.counters
    assert (counters.packets, counters.events, counters.truncated_bytes) == (1, len(expected), 0)
    assert counters.unknown_words == (1 if encoding == "libcaer" else 0)
    assert counters.outside == counters.unplaced == counters.stepped_back == 0


@pytest.mark.parametrize(
    ("encoding", "t_ns", "channel"),
    [("evt3", 4_102_000, 7), ("evt2", 178_000, 5), ("evt21", 130_000, 5), ("evt21_legacy", 130_000, 5)],
)
def test_triggers_are_kept_apart(encoding: str, t_ns: int, channel: int, backend: str) -> None:
    decoder = Decoder(encoding, height=480, width=640, backend=backend)
    decoder.decode(HAND[encoding][0])
    triggers = decoder.triggers()
    assert [column.tolist() for column in triggers] == [[t_ns], [channel], [1]]
    assert len(decoder.triggers().t_ns) == 0


def _fed(encoding: str, data: bytes, backend: str) -> Decoder:
    decoder = Decoder(encoding, height=720, width=1280, backend=backend)
    decoder.decode(data)
    return decoder


AT_8_US = (0x8000, 0x6008, 0x0003)  # the clock at 8 us, row 3


@pytest.mark.parametrize(
    ("encoding", "bits", "values", "unknown"),
    [
        # 0x9999 is padding of some cameras; CONTINUED, IMU and SECOND_INPUTS are known and ignored
        ("evt3", 16, (0x9999, 0x1000, 0xB000, 0xC000, 0x7000, 0xD000, 0xE000, 0xF000), 4),
        ("evt2", 32, [kind << 28 for kind in (2, 3, 4, 5, 6, 7, 9, 0xB, 0xC, 0xD, 0xE, 0xF)], 9),
        ("evt21", 64, [kind << 60 for kind in (2, 3, 4, 5, 6, 7, 9, 0xB, 0xC, 0xD, 0xE, 0xF)], 10),
        ("evt21_legacy", 64, [kind << 28 for kind in (2, 0xD, 0xE, 0xF)], 2),
        ("libcaer_cmp", 16, [kind << 12 for kind in range(6, 16)], 10),
        ("libcaer", 64, [0, 2, 1 << 63], 3),
    ],
)
def test_unknown_words_are_counted(encoding: str, bits: int, values: list[int], unknown: int, backend: str) -> None:
    counters = _fed(encoding, words(bits, *values), backend).counters
    assert (counters.unknown_words, counters.events, counters.unplaced) == (unknown, 0, 0)


def test_padding_does_not_disturb(backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    events = decoder.decode(words(16, 0x9999, *AT_8_US, 0x9999, 0x2001, 0x9999, 0x2802))
    assert rows(events) == [(1, 3, 8_000, -1), (2, 3, 8_000, 1)]
    assert decoder.counters.unknown_words == 3


def test_evt3_says_nothing_before_clock_and_row(backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    # an event, a vector of three, a low time before any high, a trigger
    assert len(decoder.decode(words(16, 0x0003, 0x2001, 0x3000, 0x4007, 0x6008, 0x2001, 0xA001))) == 0
    assert decoder.counters.unplaced == 6
    assert len(decoder.decode(words(16, 0x8000, 0x2001))) == 0  # the low time from before does not count
    assert rows(decoder.decode(words(16, 0x6002, 0x2001))) == [(1, 3, 2_000, -1)]
    assert decoder.counters.unplaced == 7
    assert len(decoder.triggers().t_ns) == 0


def test_evt3_vector_without_base(backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    assert len(decoder.decode(words(16, *AT_8_US, 0x4FFF, 0x50FF, 0x5700))) == 0
    assert decoder.counters.unplaced == 20


@pytest.mark.parametrize(
    ("highs", "us"),
    [
        ((4095, 0, 1), [4095 << 12, 1 << 24, (1 << 24) + 4096]),  # a wrap
        ((100, 90), [90 << 12, 100 << 12]),  # ten back: jitter; the events come sorted
        ((100, 89), [100 << 12, (1 << 24) + (89 << 12)]),  # eleven back: a wrap
        ((4095, 0, 4095, 0), [4095 << 12, 4095 << 12, 1 << 24, 1 << 24]),  # jitter about a wrap
        ((0, 4095), [0, 4095 << 12]),  # no time before 0
    ],
)
def test_evt3_wraps(highs: tuple[int, ...], us: list[int], backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    decoder.decode(words(16, 0x8000 | highs[0], 0x6000, 0x0003))
    values = [value for high in highs for value in (0x8000 | high, 0x2001)]
    assert decoder.decode(words(16, *values)).t_ns.tolist() == [1000 * t for t in us]


def test_evt3_low_time_that_steps_back_is_sorted(backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    events = decoder.decode(words(16, *AT_8_US, 0x2001, 0x6005, 0x2002, 0x2003, 0x6008, 0x2004, 0x6009, 0x2005))
    assert events.t_ns.tolist() == [5_000, 5_000, 8_000, 8_000, 9_000]
    assert events.x.tolist() == [2, 3, 1, 4, 5]
    assert decoder.counters.stepped_back == 2


def test_libcaer_cmp_stale_times_are_raised(backend: str) -> None:
    decoder = Decoder("libcaer_cmp", height=260, width=346, backend=backend)
    # at 5 us, at 4 us (stale), at 6 us
    events = decoder.decode(words(16, 0x2001, 0x1005, 0x3001, 0x1004, 0x3002, 0x1006, 0x3003))
    assert events.t_ns.tolist() == [5000, 5000, 6000]
    assert events.y.tolist() == [1, 2, 3]
    assert decoder.counters.stepped_back == 1


def test_libcaer_jitter_is_no_roll_over(backend: str) -> None:
    decoder = Decoder("libcaer", height=260, width=346, backend=backend)
    events = decoder.decode(words(64, 1 | 5 << 32, 1 | 4 << 32))
    assert events.t_ns.tolist() == [4000, 5000]


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("evt2", lambda w: w), ("evt21", lambda w: w << 32 | 1), ("evt21_legacy", lambda w: w | 1 << 32)],
)
def test_evt2_wraps_after_34_bits(encoding: str, word: Callable[[int], int], backend: str) -> None:
    decoder = Decoder(encoding, height=720, width=1280, backend=backend)
    bits = 32 if encoding == "evt2" else 64
    packet = words(bits, word(0), word(0x8FFFFFFF), word(0), word(0x80000000), word(0), word(0x8FFFFFFF), word(0))
    last = (2**34 - 64) * 1000
    assert decoder.decode(packet).t_ns.tolist() == [last, last, 2**34 * 1000]
    assert decoder.counters.unplaced == 1  # the first word, before any TIME_HIGH


def test_evt3_outside_and_endless_vectors(backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    # the last column, one past it, a row past the last, then a vector that runs on for ever
    values = (*AT_8_US, 0x2000 | 1279, 0x2000 | 1280, 0x0000 | 720, 0x2001, 0x0003, 0x3000 | 1270, *[0x4FFF] * 99_999)
    events = decoder.decode(words(16, *values))
    assert rows(events)[:2] == [(1279, 3, 8_000, -1), (1270, 3, 8_000, -1)]
    assert len(events) == 11
    assert decoder.counters.outside == 2 + 99_999 * 12 - 10
    assert decoder.decode(words(16, 0x4001)).x.tolist() == []


def test_triggers_that_nobody_takes_are_lost(backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    decoder.decode(words(16, *AT_8_US, *[0xA300] * 65_537, 0xA401))
    assert decoder.counters.triggers_lost == 2
    triggers = decoder.triggers()
    assert (len(triggers.t_ns), set(triggers.channel.tolist()), set(triggers.edge.tolist())) == (65_536, {3}, {-1})
    decoder.decode(words(16, 0xA401))
    assert [column.tolist() for column in decoder.triggers()] == [[8_000], [4], [1]]
