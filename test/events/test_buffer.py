from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambaseg_core.events import EventBuffer, Events, Window
from mambaseg_core.events import buffer as module
from mambaseg_core.events.buffer import CHUNK_OVERHEAD_BYTES, LATE_TOLERANCE_NS

MS = 1_000_000


def at(*times: int, height: int = 4, width: int = 100) -> Events:
    """Return events at these times; x numbers them within the packet."""
    n = len(times)
    return Events.from_arrays(
        np.arange(n) % 100, np.zeros(n, int), list(times), np.ones(n, int), height=height, width=width
    )


def make(max_age_ns: int = 1000 * MS, max_bytes: int = 2**20) -> EventBuffer:
    return EventBuffer(4, 100, max_age_ns=max_age_ns, max_bytes=max_bytes)


def held(buffer: EventBuffer) -> list[int]:
    times: list[int] = buffer.window(2**62, Window(2**62)).t_ns.tolist()
    return times


def balanced(buffer: EventBuffer) -> bool:
    c = buffer.counters
    return c.events_in == len(buffer) + c.dropped_age + c.dropped_bytes + c.dropped_reset + c.late + c.jumped


def test_none() -> None:
    buffer = make()
    buffer.push(Events.empty(4, 100))
    assert (len(buffer), buffer.nbytes, buffer.newest_ns) == (0, 0, None)
    assert len(buffer.window(10, Window(5))) == len(buffer.window(10, Window(count=5))) == 0
    assert buffer.counters.events_in == 0


def test_window_over_packets() -> None:
    buffer = make()
    for packet in (at(1, 2), at(2, 3), at(), at(5, 8)):
        buffer.push(packet)
    assert buffer.newest_ns == 8
    assert buffer.window(8, Window(6)).t_ns.tolist() == [2, 2, 3, 5]
    assert buffer.window(9, Window(count=3)).t_ns.tolist() == [3, 5, 8]
    assert buffer.window(4, Window(count=3)).t_ns.tolist() == [2, 2, 3]
    assert buffer.window(9, Window(count=1, per_bin=True), bins=2).t_ns.tolist() == [5, 8]
    assert buffer.window(9, Window(count=9, max_age_ns=4)).t_ns.tolist() == [5, 8]
    assert buffer.counters.events_in == len(buffer) == 6


def test_push_copies() -> None:
    buffer, x = make(), np.array([1, 2], np.uint16)
    buffer.push(Events.from_arrays(x, [0, 0], [1, 2], [1, 1], height=4, width=100))
    x[:] = 9
    assert buffer.window(9, Window(9)).x.tolist() == [1, 2]


def test_age() -> None:
    buffer = make(max_age_ns=10)
    for start in (0, 5, 11, 16):
        buffer.push(at(start, start + 1))
    assert held(buffer) == [11, 12, 16, 17]  # 6 is 11 older than 17
    assert buffer.counters.dropped_age == 4
    assert balanced(buffer)


def test_bytes() -> None:
    buffer = make(max_bytes=3 * CHUNK_OVERHEAD_BYTES + 3 * 100 * 13)
    for start in range(5):
        buffer.push(at(*range(100 * start, 100 * start + 100)))
        assert buffer.nbytes <= buffer.max_bytes
    assert held(buffer) == list(range(200, 500))
    assert buffer.counters.dropped_bytes == 200
    assert balanced(buffer)


def test_one_packet_larger_than_the_buffer_keeps_its_newest() -> None:
    buffer = make(max_bytes=CHUNK_OVERHEAD_BYTES * 2)
    buffer.push(at(*range(500)))
    assert buffer.nbytes <= buffer.max_bytes
    assert held(buffer) == list(range(500 - CHUNK_OVERHEAD_BYTES // 13, 500))
    assert balanced(buffer)


def test_a_little_late_is_sorted_in() -> None:
    buffer = make()
    buffer.push(at(0, 10 * MS, 20 * MS, 21 * MS))
    buffer.push(at(15 * MS, 20 * MS, 25 * MS))
    assert held(buffer) == [0, 10 * MS, 15 * MS, 20 * MS, 20 * MS, 21 * MS, 25 * MS]
    assert buffer.counters.sorted_in == 2
    assert buffer.counters.late == 0
    assert buffer.window(21 * MS, Window(1 * MS)).x.tolist() == [2, 1]  # simultaneous: held before added


def test_very_late_is_dropped() -> None:
    buffer = make()
    buffer.push(at(100 * MS))
    buffer.push(at(50 * MS, 100 * MS - LATE_TOLERANCE_NS - 1))
    buffer.push(at(50 * MS, 100 * MS - LATE_TOLERANCE_NS, 101 * MS))
    assert held(buffer) == [90 * MS, 100 * MS, 101 * MS]
    assert buffer.counters.late == 3
    assert balanced(buffer)


def test_clock_set_back_empties() -> None:
    buffer = make(max_age_ns=1000)
    buffer.push(at(10_000, 10_001))
    buffer.push(at(9_001))  # exactly max_age_ns older than the newest: still sorted in, not a reset
    assert buffer.counters.resets == 0
    assert held(buffer) == [9_001, 10_000, 10_001]
    for packet in (at(8_999, 9_000), at(9_000), at(8_998)):
        assert buffer.counters.resets == 0  # believed at the third in a row
        assert held(buffer) == [9_001, 10_000, 10_001]
        buffer.push(packet)
    assert buffer.counters.resets == 1
    assert buffer.counters.dropped_reset == 3
    assert held(buffer) == [8_998, 8_999, 9_000, 9_000]
    assert buffer.newest_ns == 9_000
    assert buffer.since_ns == 8_998
    assert balanced(buffer)


def test_a_loop_shorter_than_the_buffer_is_a_set_back_clock() -> None:
    buffer = make(max_age_ns=2000 * MS)
    for start in range(0, 300, 100):
        buffer.push(at(start * MS, (start + 100) * MS))
    buffer.push(at(150 * MS, 200 * MS))  # exactly JUMP_NS before the newest: late, not a reset
    assert (buffer.counters.resets, buffer.counters.late) == (0, 2)
    for packet in (at(1, 2), at(3), at(4)):
        buffer.push(packet)
    assert buffer.counters.resets == 1
    assert held(buffer) == [1, 2, 3, 4]


def stream(buffer: EventBuffer, start_ms: int, stop_ms: int) -> None:
    """Push packets of 4 ms with an event each millisecond."""
    for start in range(start_ms, stop_ms, 4):
        buffer.push(at(*(MS * t for t in range(start, start + 4))))


@pytest.mark.parametrize("wrong_ms", [-2000, -1000, -101, 101, 150, 1500, 3_600_000])
@pytest.mark.parametrize("whole", [True, False])
def test_one_packet_of_another_time_moves_nothing(wrong_ms: int, whole: bool) -> None:
    """Neither a packet whose stamp is wrong, nor a packet with a single wrong time."""
    buffer = make()
    stream(buffer, 2000, 2100)
    wrong = [MS * (2100 + wrong_ms)] * 3
    buffer.push(at(*wrong) if whole else at(*sorted((*wrong, 2100 * MS))))
    stream(buffer, 2104, 2200)
    assert held(buffer) == [t * MS for t in range(2000, 2200) if not 2100 + (not whole) <= t < 2104]
    assert (buffer.counters.resets, buffer.counters.jumped + buffer.counters.late) == (0, 3)
    assert (buffer.newest_ns, buffer.since_ns) == (2199 * MS, None)  # nothing is missing
    assert buffer.counters.dropped_age == 0
    assert balanced(buffer)


def test_a_jump_ahead_that_lasts_is_believed_and_said() -> None:
    buffer = make()
    stream(buffer, 0, 100)
    stream(buffer, 5000, 5008)
    assert buffer.counters.dropped_age == 0
    assert (buffer.since_ns, buffer.jump_ns) == (None, 4901 * MS)
    stream(buffer, 5008, 5012)
    assert held(buffer) == [t * MS for t in range(5000, 5012)]
    stream(buffer, 100, 108)
    assert buffer.counters.resets == 0
    stream(buffer, 108, 112)
    assert (held(buffer), buffer.counters.resets) == ([t * MS for t in range(100, 112)], 1)
    assert buffer.since_ns == 100 * MS  # what a window before it lacks
    assert balanced(buffer)


def test_pauses_and_sparse_packets_are_no_jumps() -> None:
    buffer = make(max_age_ns=10_000 * MS)
    times = [200 * MS * k for k in range(20)]
    for t_ns in times:
        buffer.push(at(t_ns))
        assert buffer.newest_ns == t_ns
    assert held(buffer) == times
    buffer.push(at(0))  # looped
    assert held(buffer) == times
    assert buffer.agree(150 * MS) is False  # an image of neither time
    assert buffer.agree(50 * MS) is True
    assert (held(buffer), buffer.counters.resets) == ([0], 1)
    assert buffer.agree(50 * MS) is False
    assert balanced(buffer)


def test_a_packet_of_wild_times_is_taken_whole() -> None:
    buffer = make()
    buffer.push(at(*(150 * MS * k for k in range(30))))
    assert (len(buffer), buffer.newest_ns) == (30, 29 * 150 * MS)


def test_since_follows_what_a_full_buffer_drops() -> None:
    buffer = make(max_bytes=3 * CHUNK_OVERHEAD_BYTES + 3 * 100 * 13)
    for start in range(5):
        buffer.push(at(*range(100 * start, 100 * start + 100)))
    assert buffer.since_ns == 200
    buffer.clear()
    assert buffer.since_ns is None
    buffer.push(at(*range(5000, 9000)))
    assert buffer.since_ns == held(buffer)[0] > 5000


def test_overlaps_in_a_row_do_not_grow_one_packet() -> None:
    buffer = make()
    for start in range(0, 1000, 10):
        buffer.push(at(*range(start, start + 12)))  # each begins 2 ns before the last one ended
    assert len(buffer) == 1200
    assert held(buffer) == sorted(held(buffer))
    assert max(len(chunk) for chunk in buffer._chunks) <= 14


def test_other_sensor_is_refused() -> None:
    with pytest.raises(ValueError, match="got events of a sensor 640x480, expected 100x4"):
        make().push(at(1, height=480, width=640))


def test_bad_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="max_age_ns is 0"):
        make(max_age_ns=0)
    with pytest.raises(ValueError, match="max_bytes is 100"):
        make(max_bytes=100)


def test_clear_keeps_the_counters() -> None:
    buffer = make()
    buffer.push(at(1, 2))
    buffer.clear()
    assert (len(buffer), buffer.newest_ns, buffer.counters.events_in) == (0, None, 2)
    buffer.push(at(0))
    assert buffer.counters.resets == 0


WINDOWS = [Window(7), Window(2, per_bin=True), Window(count=5), Window(count=2, per_bin=True, max_age_ns=30)]


@given(
    st.lists(st.lists(st.integers(0, 60), max_size=6), max_size=8),
    st.integers(0, 70),
    st.sampled_from(WINDOWS),
)
def test_the_same_as_one_sort_of_everything(packets: list[list[int]], end: int, window: Window) -> None:
    buffer, everything = make(), at(*sorted(t for packet in packets for t in packet))
    for packet in packets:
        buffer.push(at(*sorted(packet)))
    assert held(buffer) == everything.t_ns.tolist()
    assert buffer.window(end, window, 3).t_ns.tolist() == window.cut(everything, end, 3).t_ns.tolist()


def test_no_reader_waits_while_events_are_copied_or_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, calls = make(max_bytes=3 * CHUNK_OVERHEAD_BYTES), []
    copy, merge, concatenate = module._copy, module._merge, Events.concatenate

    def watched(name: str, function: Callable[..., Events]) -> Callable[..., Events]:
        def call(*arguments: Any) -> Events:
            calls.append(name)
            assert not buffer._lock.locked(), name
            return function(*arguments)

        return call

    monkeypatch.setattr(module, "_copy", watched("copy", copy))
    monkeypatch.setattr(module, "_merge", watched("merge", merge))
    monkeypatch.setattr(Events, "concatenate", staticmethod(watched("concatenate", concatenate)))
    buffer.push(at(1, 5))
    buffer.push(at(3, 6))  # splits a packet and is sorted in
    buffer.push(at(*range(7, 600)))  # larger than the buffer
    assert calls == ["copy", "copy", "copy", "merge", "copy", "copy"]
    assert len(buffer.window(999, Window(999)))
    assert calls[-1] == "concatenate"
    assert balanced(buffer)


def test_a_window_copies_no_packet_that_lies_inside_it_alone() -> None:
    buffer = make()
    buffer.push(at(1, 2, 3))
    assert np.shares_memory(buffer.window(9, Window(9)).x, buffer._chunks[0].x)
    assert np.shares_memory(buffer.window(3, Window(9)).x, buffer._chunks[0].x)


def test_threads() -> None:
    buffer, failures, done = make(max_bytes=64 * 1024), [], threading.Event()

    def read() -> None:
        while not done.is_set():
            window = buffer.window(2**62, Window(2**62))
            if (np.diff(window.t_ns) < 0).any():
                failures.append(window)

    reader = threading.Thread(target=read)
    reader.start()

    def write() -> None:
        for step in range(300):
            buffer.push(at(*range(1000 * step, 1000 * step + 50)))

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert not failures
    assert buffer.counters.events_in == 2 * 300 * 50
    assert balanced(buffer)
