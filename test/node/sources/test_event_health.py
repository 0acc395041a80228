"""Events that come and are not fit for use: `EventSource` with made-up messages and a clock of the test."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mambaseg_core.events import Events, Window
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_ros.policy import Health, Limits
from mambaseg_ros.sources.event_health import window_sentence
from mambaseg_ros.sources.events import EventSource
from mambaseg_ros.sources.recent import EventCounts, Recent

MS, S = 1_000_000, 1_000_000_000
START_NS = 1_700_000_000 * S
HEIGHT, WIDTH = 120, 160
SETUP = preset_preprocessing("mambaseg_ddd17", size=(HEIGHT, WIDTH), channels=1)  # windows of 50 ms
LIMITS = Limits(50 * MS, events_refused_share=0.5, min_window_share=0.5, min_window_events=10)
PACKET_MS = 4
BY_COUNT = Window(count=1000)


class Stream:
    """A source, and messages of 4 ms into it; `at_ms` is the time of the stream and of the node."""

    def __init__(self) -> None:
        self.at_ms = 0
        self.said: list[str] = []
        self.source = EventSource(
            SETUP, max_age_ns=2 * S, max_bytes=2**26, warn=self.said.append, clock=lambda: self.at_ms / 1e3
        )
        self.rng = np.random.default_rng(0)

    def columns(self, number: int = 200) -> tuple[np.ndarray, ...]:
        """Return x, y, sorted microseconds and p of a message."""
        rng = self.rng
        t_us = np.sort(rng.integers(0, 1000 * PACKET_MS, number))
        return rng.integers(0, WIDTH, number), rng.integers(0, HEIGHT, number), t_us, rng.integers(0, 2, number)

    def send(self, milliseconds: int, make: Callable[..., Any], **fields: Any) -> None:
        for _ in range(milliseconds // PACKET_MS):
            self.source.add(make(self, **fields))
            self.at_ms += PACKET_MS

    @property
    def now_ns(self) -> int:
        return START_NS + self.at_ms * MS

    def warning(self) -> str:
        return self.source.diagnose()[1]

    def judge(self, limits: Limits = LIMITS) -> Any:
        return self.source.judge(self.now_ns, self.source.beside(self.now_ns), limits)


@pytest.fixture
def stream() -> Stream:
    return Stream()


def message(stream: Stream, stamp_ns: int | None = None, **fields: Any) -> Any:
    stamp_ns = stream.now_ns if stamp_ns is None else stamp_ns
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // S, nanosec=stamp_ns % S), frame_id="event_camera")
    return SimpleNamespace(header=header, height=HEIGHT, width=WIDTH, seq=stream.at_ms // PACKET_MS, **fields)


def columns(stream: Stream, number: int = 200, scale: int = 1, stamp_ns: int | None = None) -> Any:
    x, y, t_us, p = stream.columns(number)
    fields = zip(("x", "y", "t_offset_ns", "p"), (x * scale, y * scale, t_us * 1000, p), "HHIB", strict=True)
    return message(stream, stamp_ns, **{name: array(kind, column.tolist()) for name, column, kind in fields})


def packed(stream: Stream, encoding: str = "evt3", named: str = "", number: int = 200) -> Any:
    x, y, t_us, p = (column.astype(np.uint64) for column in stream.columns(number))
    t_us += np.uint64(1000 * stream.at_ms)
    data = ENCODERS[encoding](x, y, t_us, p) if number else b""
    name = named or encoding
    time_base = stream.now_ns if name in ("mono", "libcaer", "libcaer_cmp") else 0
    stamp_ns = stream.now_ns + 100_000
    return message(
        stream, stamp_ns, encoding=name, is_bigendian=False, time_base=time_base, events=array("B", data)
    )  # fmt: skip


def evt3(x: np.ndarray, y: np.ndarray, t_us: np.ndarray, p: np.ndarray) -> bytes:
    high, low = 0x8000 | (t_us >> 12) & 0xFFF, 0x6000 | t_us & 0xFFF
    return np.stack([high, low, y, 0x2000 | x | p << 11], 1).astype("<u2").tobytes()


def evt2(x: np.ndarray, y: np.ndarray, t_us: np.ndarray, p: np.ndarray) -> bytes:
    return np.stack([0x8 << 28 | t_us >> 6, p << 28 | (t_us & 63) << 22 | x << 11 | y], 1).astype("<u4").tobytes()


def evt21(x: np.ndarray, y: np.ndarray, t_us: np.ndarray, p: np.ndarray) -> bytes:
    upper = np.frombuffer(evt2(x, y, t_us, p), "<u4").astype(np.uint64)
    return (upper << 32 | np.tile(np.array([0, 1], np.uint64), len(x))).astype("<u8").tobytes()


def mono(x: np.ndarray, y: np.ndarray, t_us: np.ndarray, p: np.ndarray) -> bytes:
    return ((t_us % 4000 * 1000) | x << 32 | y << 48 | p << 63).astype("<u8").tobytes()


ENCODERS = {"evt3": evt3, "evt2": evt2, "evt21": evt21, "mono": mono}


def test_good_events_are_good(stream: Stream) -> None:
    stream.send(200, columns)
    assert stream.judge() == (Health.GOOD, "", True)
    assert (stream.warning(), stream.said) == ("", [])


@pytest.mark.parametrize("encoding", ENCODERS)
def test_the_encodings_of_this_test_are_right(stream: Stream, encoding: str) -> None:
    stream.send(200, packed, encoding=encoding)
    assert stream.judge() == (Health.GOOD, "", True)
    assert stream.source.counts.events_received == 200 * 50
    assert stream.source.counts.events_refused == 0


@pytest.mark.parametrize(
    ("encoding", "named"),
    [pair for pair in product(ENCODERS, (*ENCODERS, "libcaer", "libcaer_cmp")) if pair[0] != pair[1]],
)
def test_data_under_another_encodings_name_are_never_good(stream: Stream, encoding: str, named: str) -> None:
    stream.send(400, packed, encoding=encoding, named=named)
    health, sentence, usable = stream.judge()
    assert health != Health.GOOD
    assert not usable
    assert f"'{named}'" in sentence
    assert "that encoding is what the packets hold" in sentence
    assert "clock" not in sentence


@pytest.mark.parametrize("make", [columns, packed])
def test_messages_without_events_are_said(stream: Stream, make: Callable[..., Any]) -> None:
    stream.send(200, make, number=0)
    health, sentence, usable = stream.judge()
    assert (health, usable) == (Health.SILENT, False)
    assert "the last 50 messages" in sentence
    assert "(0 bytes of events) hold 0 events; expected some: check the lens cap" in sentence
    stream.send(100, make)
    assert stream.judge()[:2] == (Health.GOOD, "")
    stream.send(200, make, number=0)
    health, sentence, usable = stream.judge()
    assert (health, usable) == (Health.STALE, False)
    assert "the last 50 messages" in sentence
    assert stream.warning() == ""  # events came within the second
    stream.send(1000, make, number=0)
    assert "the last 300 messages" in stream.warning()


def test_events_outside_the_sensor_are_said_and_forgotten(stream: Stream) -> None:
    stream.send(1200, columns)
    stream.send(100, columns, scale=8)  # one in 64 is inside
    assert stream.judge().health == Health.GOOD  # a tenth of a second
    assert stream.warning() == ""
    stream.send(100, columns, scale=8)
    assert "outside the sensor of 160x120 that the messages name; expected at most 10%" in stream.warning()
    stream.send(800, columns, scale=8)
    health, sentence, usable = stream.judge()
    assert (health, usable) == (Health.BAD, False)
    assert "% outside the sensor of 160x120" in sentence
    assert "expected at most events_refused_share = 0.5: check that height and width are the sensor's" in sentence
    assert stream.judge(LIMITS._replace(events_refused_share=1.0)).usable
    stream.send(1200, columns)
    assert stream.judge() == (Health.GOOD, "", True)
    assert stream.warning() == ""


def test_events_out_of_order_are_said_with_how_much(stream: Stream) -> None:
    stream.send(200, columns)
    for _ in range(250):
        stream.source.add(columns(stream))
        stream.source.add(columns(stream, number=600, stamp_ns=stream.now_ns - 40 * MS))
        stream.at_ms += PACKET_MS
    health, sentence, usable = stream.judge()
    assert (health, usable) == (Health.BAD, False)
    assert "73% out of order by 44 ms where 10 ms are sorted in" in sentence
    assert "check that one driver publishes, in the order of time" in sentence


def test_messages_that_cannot_be_read_are_said_though_some_can(stream: Stream) -> None:
    def broken(stream: Stream) -> Any:
        made = columns(stream)
        made.x.pop()
        return made

    stream.send(200, columns)
    for bad in range(1, 21):
        with pytest.raises(ValueError, match="columns of lengths"):
            stream.source.add(broken(stream))
        if bad % 4 == 0:
            stream.send(PACKET_MS, columns)
    health, sentence, usable = stream.judge()
    assert (health, usable) == (Health.BAD, False)
    assert "8 of the last 10 messages of events could not be read; expected at most 50%" in sentence
    stream.send(20, columns)
    assert stream.judge() == (Health.GOOD, "", True)
    assert "3 of the last 10" not in stream.warning()
    assert "of the last 10 messages of events could not be read; expected at most 10%" in stream.warning()


@pytest.mark.parametrize("wrong_ms", [-1_700_000_000_000, -1000, 1000, 3_600_000])
def test_one_wrong_stamp_is_said_and_moves_nothing(stream: Stream, wrong_ms: int) -> None:
    stream.send(1200, columns)
    stream.source.add(columns(stream, stamp_ns=stream.now_ns + wrong_ms * MS))
    stream.at_ms += PACKET_MS
    stream.send(8, columns)
    assert stream.judge() == (Health.GOOD, "", True)
    assert stream.source.buffered.jumped == 200
    assert len(stream.said) == 1
    assert f"events whose times are {abs(wrong_ms) / 1e3:.0f}"[:-1] in stream.said[0]
    assert "a jump is believed at the third message in a row" in stream.said[0]
    assert stream.source.buffered.resets == 0


def test_one_wrong_stamp_of_a_packet_keeps_its_events(stream: Stream) -> None:
    stream.send(1200, packed)
    wrong = packed(stream)
    wrong.header.stamp.sec += 3600
    stream.source.add(wrong)
    stream.at_ms += PACKET_MS
    stream.send(8, packed)
    assert stream.judge() == (Health.GOOD, "", True)
    assert stream.source.buffered.jumped == 0
    assert len(stream.said) == 1
    assert "a packet's header stamp is off by +3600000.0 ms" in stream.said[0]


def test_a_step_of_the_clock_is_said_once(stream: Stream) -> None:
    def stepped(stream: Stream) -> Any:
        packet = packed(stream)
        packet.header.stamp.nanosec += 60 * MS
        return packet

    stream.send(840, packed)  # the stamps end before a whole second
    stream.send(100, stepped)
    stream.at_ms += 60
    stream.send(3000, lambda stream: packed(stream))
    assert [sentence for sentence in stream.said if "began anew" in sentence] == stream.said[:1]


def test_late_stamps_are_a_warning(stream: Stream) -> None:
    def late(stream: Stream) -> Any:
        packet = packed(stream)
        packet.header.stamp.nanosec += stream.at_ms % 40 * MS
        return packet

    stream.send(800, late)
    assert "header stamps of events are 18." in stream.warning()
    assert "ms late on average; expected less than 10 ms" in stream.warning()


def hot(stream: Stream, scale: int = 1, share: float = 0.5) -> Any:
    made = columns(stream, scale=scale)
    for k in range(0, 200, round(1 / share)):
        made.x[k], made.y[k] = 77, 11
    return made


def test_hot_pixels_are_shown_and_said(stream: Stream) -> None:
    stream.send(1200, hot, share=0.1)
    values, sentence = stream.source.diagnose()
    assert (values["hot pixels"], values["hottest pixel"][:13]) == ("1", "x 77, y 11: 5")
    assert 9.9 <= float(values["hot pixels [% of events]"]) <= 10.1
    assert 48 <= float(values["ON events [%]"]) <= 52
    assert sentence == ""
    stream.send(1000, hot)
    sentence = stream.warning()
    assert "events are of 1 hot pixel, the hottest x 77, y 11: 25" in sentence
    assert "mask them in the driver, or set hot_pixel_filter" in sentence
    stream.send(2000, columns)
    values, sentence = stream.source.diagnose()
    assert (values["hot pixels"], "hottest pixel" in values, sentence) == ("0", False, "")
    assert "events of hot pixels dropped" not in values


def test_a_pattern_of_many_pixels_is_no_warning(stream: Stream) -> None:
    x, y, _, _ = stream.columns(1000)

    def pattern(stream: Stream) -> Any:
        made = columns(stream, number=1000)
        made.x, made.y = array("H", x.tolist()), array("H", y.tolist())
        return made

    stream.send(400, pattern)
    values, sentence = stream.source.diagnose()
    assert int(values["hot pixels"]) > 500
    assert float(values["hot pixels [% of events]"]) < 20
    assert sentence == ""


def test_the_filter_takes_hot_pixels_from_windows(stream: Stream) -> None:
    stream.source = EventSource(
        SETUP, max_age_ns=2 * S, max_bytes=2**26, hot_pixel_filter=True, clock=lambda: stream.at_ms / 1e3
    )
    stream.send(1000, hot)
    assert "50% of the newest" in stream.warning()
    stream.send(1000, hot)
    values, sentence = stream.source.diagnose()
    assert (values["hot pixels"], sentence) == ("0", "")
    assert 25_000 <= int(values["events of hot pixels dropped"]) <= 25_010
    window = stream.source.beside(stream.now_ns)
    assert window is not None
    assert 1240 <= window.events <= 1250  # the scene's own events there are dropped too
    assert stream.source.counts.events_received == 100_000


@pytest.mark.parametrize("p", [0, 1])
def test_events_of_one_polarity_are_said(stream: Stream, p: int) -> None:
    def one_sided(stream: Stream) -> Any:
        made = columns(stream)
        made.p = array("B", [p] * 200)
        return made

    stream.send(400, one_sided)
    assert f"{100 * p}% of the newest 20000 events are ON; expected 5% to 95%" in stream.warning()
    stream.send(1000, columns)
    assert stream.warning() == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, ""),
        ({"used": 9}, "the window of 50 ms holds 9 events; expected at least min_window_events = 10"),
        ({"used": 1}, "holds 1 event;"),
        ({"since_ns": 975 * MS}, ""),
        (
            {"since_ns": 980 * MS},
            "the window covers 20.0 of 50 ms; expected at least min_window_share = 0.5; events",
        ),
        ({"newest_ns": 970 * MS}, "covers 20.0 of 50 ms; expected at least min_window_share = 0.5; they end 30.0 ms"),
        ({"newest_ns": 5000 * MS}, ""),
        ({"since_ns": 1001 * MS}, "covers 0.0 of 50 ms"),
        ({"window": BY_COUNT, "used": 499, "since_ns": 980 * MS}, "covers 20.0 of 60 ms and 499 of 1000 events;"),
        ({"window": BY_COUNT, "used": 500, "since_ns": 980 * MS}, ""),
        ({"window": BY_COUNT, "used": 20, "since_ns": 980 * MS, "usual_ns": 0}, ""),  # the first window
        ({"window": BY_COUNT, "used": 20, "since_ns": 400 * MS, "usual_ns": 5000 * MS}, ""),  # few are young enough
        ({"window": BY_COUNT, "used": 9, "usual_ns": 0}, "the window of 1000 ms holds 9 events"),
    ],
)
def test_a_window_shorter_than_asked_is_said(change: dict[str, Any], sentence: str) -> None:
    values = {
        "window": Window(50 * MS), "bins": 10, "end_ns": 1000 * MS, "since_ns": 0, "newest_ns": 1000 * MS,
        "used": 10, "usual_ns": 60 * MS, "share": 0.5, "least": 10,
    }  # fmt: skip
    said = window_sentence(**{**values, **change})
    assert sentence in said
    assert bool(said) == bool(sentence)


def test_a_window_by_count_is_compared_with_the_one_before(stream: Stream) -> None:
    setup = replace(SETUP, window=Window(count=5000))  # of 100 ms
    stream.source = EventSource(setup, max_age_ns=2 * S, max_bytes=2**26, clock=lambda: stream.at_ms / 1e3)
    stream.send(40, columns)
    assert stream.judge() == (Health.GOOD, "", True)  # how long it will be is not known
    stream.send(400, columns)
    assert stream.judge() == (Health.GOOD, "", True)
    stream.at_ms = 100  # looped
    stream.send(40, columns)
    health, sentence, usable = stream.judge()
    assert (health, usable) == (Health.STALE, True)
    assert "of 100 ms and 2000 of 5000 events" in sentence
    stream.send(40, columns)
    assert stream.judge() == (Health.GOOD, "", True)


def test_windows_after_a_jump_back_are_short_and_used(stream: Stream) -> None:
    stream.send(20, columns)
    assert stream.judge() == (Health.GOOD, "", True)  # at a start nothing is missing that had come
    stream.send(200, columns)
    stream.at_ms = 60
    stream.send(20, columns)
    health, sentence, usable = stream.judge()
    assert (health, usable) == (Health.STALE, True)
    assert "the window covers 20.0 of 50 ms; expected at least min_window_share = 0.5" in sentence
    assert "after a jump of time" in sentence
    stream.send(8, columns)
    assert stream.judge() == (Health.GOOD, "", True)


def test_counts_are_those_of_the_last_second_and_start_anew_with_a_loop() -> None:
    now, count = 0.0, 0
    recent = Recent(lambda: EventCounts(messages=count), lambda: now)
    for step in range(300):
        now = step / 100
        recent.note()
        count += 1
    assert 90 <= recent.last_second().messages <= 111
    now = 3.9
    assert 0 < recent.last_second().messages < 20
    now = 5.0
    assert recent.last_second().messages == 0
    now = 0.0
    recent.note()
    count += 5
    assert recent.last_second().messages == 5


def test_a_window_by_count_reaches_back_less_where_events_are_many() -> None:
    setup = preset_preprocessing("mambaseg_nano", size=(HEIGHT, WIDTH), channels=3)  # 100,000 events, at most 1 s
    source = EventSource(setup, max_age_ns=2 * S, max_bytes=2**26)
    assert source.reach_ns == S
    t_ns = np.arange(400_000) * 100  # 10 M events a second for 40 ms
    x, p = np.zeros(len(t_ns), np.uint16), np.ones(len(t_ns), np.int8)
    events = Events(x, x, t_ns, p, HEIGHT, WIDTH)
    source._buffer_of(events).push(events)
    assert source.reach_ns == pytest.approx(10 * MS, rel=0.01)
