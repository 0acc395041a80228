from __future__ import annotations

from array import array
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mambaseg_ros.sources.events import EventIntake

MALFORMED = 10_000
START_NS = 10**18


@pytest.fixture
def intake() -> EventIntake:
    return EventIntake(max_age_ns=10**9, max_bytes=10**6)


def packet(events: bytes, encoding: str, *, stamp_ns: int = START_NS, seq: int = 0, **fields: Any) -> Any:
    second, nanosecond = divmod(stamp_ns, 10**9)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=nanosecond), frame_id="event_camera")
    values = {"header": header, "height": 4, "width": 6, "seq": seq, "time_base": 0, "encoding": encoding}
    return SimpleNamespace(**{**values, "is_bigendian": False, "events": array("B", events), **fields})


def test_the_third_message_in_a_row_of_another_sensor_is_believed(intake: EventIntake, event_message: Any) -> None:
    def add(height: int, t_ns: int) -> None:
        intake.add(event_message([1], [1], [0], [1], stamp_ns=START_NS + t_ns, height=height))

    add(4, 0)
    for height in (5, 5, 4, 5, 6, 5):  # never three in a row
        if height == 4:
            add(4, 1)
            continue
        with pytest.raises(ValueError, match=f"6x{height}"):
            add(height, 1)
    with pytest.raises(ValueError, match="6x5"):
        add(5, 2)
    assert intake.last_refused
    add(5, 3)
    assert intake.buffer is not None
    assert (intake.buffer.height, len(intake.buffer), intake.counts.sensor_changes) == (5, 1, 1)
    assert (intake.counts.packets_refused, intake.last_refused) == (6, False)
    assert intake.buffered.events_in == 3  # those of the sensor before are still counted


@pytest.mark.parametrize(("mode", "shift_ns"), [("auto", 500), ("header", 500), ("filtered", 500), ("sensor", 0)])
def test_sensor_time_becomes_the_time_of_the_header(mode: str, shift_ns: int) -> None:
    intake = EventIntake(max_age_ns=10**9, max_bytes=10**6, clock_mode=mode)
    word = np.array([7], "<u8").tobytes()  # encoding mono: 7 ns after time_base, at (0, 0)
    intake.add(packet(word, "mono", stamp_ns=START_NS + shift_ns, time_base=START_NS - 7))
    assert intake.newest_ns == START_NS + shift_ns
    assert intake.frame_id == "event_camera"


def test_a_big_endian_packet_is_refused(intake: EventIntake) -> None:
    with pytest.raises(ValueError, match="'evt3' is big endian"):
        intake.add(packet(b"", "evt3", is_bigendian=True))


def test_malformed_event_messages_are_read_or_refused_and_never_end_it(intake: EventIntake, event_message: Any) -> None:
    rng = np.random.default_rng(0)
    encodings = ("evt3", "evt2", "evt21", "libcaer", "libcaer_cmp", "mono", "evt9", "")
    seen = {"read": 0, "refused": 0}
    for index in range(MALFORMED):
        data = rng.bytes(int(rng.integers(40)))
        if index % 2:
            fields = {"height": int(rng.integers(8)), "time_base": int(rng.integers(2**64, dtype=np.uint64))}
            message = packet(data, encodings[index % 8], seq=index, stamp_ns=int(rng.integers(2**62)), **fields)
        else:
            columns = [rng.integers(0, 256, rng.integers(1, 3)).tolist() for _ in range(4)]
            message = event_message(*columns, stamp_ns=int(rng.integers(2**62)), seq=int(rng.integers(2**62)))
        try:
            intake.add(message)
            seen["read"] += 1
        except ValueError:
            seen["refused"] += 1
    assert min(seen.values()) > MALFORMED / 20, seen
    assert intake.counts.packets_refused == seen["refused"]
    for seq in range(3):  # the third good message at the latest is believed
        with suppress(ValueError):
            intake.add(event_message([1], [1], [5], [1], stamp_ns=START_NS, height=100, width=100, seq=seq))
    assert intake.newest_ns == START_NS + 5


def test_times_that_no_ros_stamp_has_are_refused(intake: EventIntake, event_message: Any) -> None:
    """A stamp made of them would end the thread, or be another time."""
    with pytest.raises(ValueError, match=r"times from 4700000000000000000 to .* expected those of a ROS stamp"):
        intake.add(event_message([1], [1], [0], [1], stamp_ns=4_700_000_000 * 10**9))
    assert (intake.counts.packets_refused, intake.newest_ns) == (1, None)
