"""Behavior common to the readers of all formats."""

from __future__ import annotations

import pickle
from multiprocessing import get_context
from pathlib import Path

import event_recordings as recordings
import numpy as np
import pytest

from mambaseg_core.events import Events, Window
from mambaseg_core.recordings import EventReader, open_events

MS = 1_000_000


@pytest.fixture(scope="module")
def events() -> Events:
    return recordings.some_events()


@pytest.fixture(params=recordings.FORMATS)
def reader(
    request: pytest.FixtureRequest, tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> EventReader:
    monkeypatch.setattr("mambaseg_core.recordings.prophesee.raw._BLOCK_BYTES", 1200)
    monkeypatch.setattr("mambaseg_core.recordings.bag.events._BLOCK_BYTES", 4000)
    monkeypatch.setattr("mambaseg_core.recordings.hdf5.caer_packets.ROWS", 8)
    monkeypatch.setattr("mambaseg_core.recordings.hdf5.events._BLOCK", 400)
    monkeypatch.setattr("mambaseg_core.recordings.tables.text_table._BLOCK_BYTES", 5000)
    for module in ("prophesee.dat._BLOCK", "aedat.aedat2.BLOCK", "tables.array_table._BLOCK"):
        monkeypatch.setattr(f"mambaseg_core.recordings.{module}", 300)
    path = recordings.FORMATS[request.param](tmp_path, events)
    return open_events(path, size=recordings.SIZE)


def same(got: Events, expected: Events) -> None:
    for name in ("t_ns", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    assert (got.height, got.width) == (expected.height, expected.width)


def test_attributes(reader: EventReader, events: Events) -> None:
    assert (reader.height, reader.width) == recordings.SIZE
    assert len(reader) == len(events)
    assert reader.start_ns == events.t_ns[0]
    assert reader.end_ns == events.t_ns[-1] + 1
    assert reader.counters().get("raised", 0) == 0


def test_windows_by_time_are_half_open_and_say_what_is_missing(reader: EventReader, events: Events) -> None:
    first, last = reader.start_ns, reader.end_ns - 1
    times = [
        first - 5 * MS,
        first,
        first + 1,
        int(events.t_ns[1000]),
        int(events.t_ns[1000]) + 1,
        last,
        last + 1,
        last + MS,
    ]
    for start in times:
        for end in times:
            got = reader.between(start, end)
            same(got.events, events.between(start, end))
            if start <= end:
                assert got.missing_before_ns == max(0, min(end, first) - start)
                assert got.missing_after_ns == max(0, end - max(start, last + 1))
            assert got.complete == (start >= end or (start >= first and end <= last + 1))


def test_windows_by_count(reader: EventReader, events: Events) -> None:
    end_ns = int(events.t_ns[2000])
    stop = int(np.searchsorted(events.t_ns, end_ns))
    for count in (0, 1, 700, stop, stop + 5):
        got = reader.last(count, end_ns)
        same(got.events, events.part(max(0, stop - count), stop))
        assert got.missing_count == max(0, count - stop)
        assert got.missing_after_ns == 0
    assert reader.last(3, reader.end_ns + 9).missing_after_ns == 9
    assert len(reader.last(3, reader.start_ns - 7).events) == 0


@pytest.mark.parametrize(
    "window", [Window(duration_ns=20 * MS), Window(count=500), Window(count=900, max_age_ns=9 * MS)]
)
def test_a_window_is_the_one_that_the_node_cuts(reader: EventReader, events: Events, window: Window) -> None:
    for end_ns in (reader.start_ns + 3 * MS, int(events.t_ns[1500]), reader.end_ns + 2 * MS):
        same(reader.window(window, end_ns).events, window.cut(events, end_ns))


@pytest.mark.parametrize("duration_ns", [700_001, 10 * MS, 10_000 * MS])
def test_chunks_by_time(reader: EventReader, events: Events, duration_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.reader._BLOCK", 100)
    chunks = list(reader.chunks(duration_ns=duration_ns))
    same(Events.concatenate(chunks), events)
    numbers = [set(((chunk.t_ns - events.t_ns[0]) // duration_ns).tolist()) for chunk in chunks]
    assert all(len(number) == 1 for number in numbers)
    assert len(set.union(*numbers)) == len(chunks)


@pytest.mark.parametrize("count", [1, 999, 10**6])
def test_chunks_by_count(reader: EventReader, events: Events, count: int) -> None:
    chunks = list(reader.chunks(count=count))
    same(Events.concatenate(chunks), events)
    assert {len(chunk) for chunk in chunks[:-1]} <= {count}


@pytest.mark.parametrize("options", [{}, {"count": 1, "duration_ns": 1}, {"count": 0}, {"duration_ns": -1}])
def test_chunks_of_nothing_are_refused(reader: EventReader, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected (exactly one|1 or more)"):
        reader.chunks(**options)


def _count(reader: EventReader, start_ns: int, end_ns: int) -> int:
    return len(reader.between(start_ns, end_ns).events)


def test_readers_work_after_a_fork(reader: EventReader, events: Events) -> None:
    middle = int(events.t_ns[1500])
    expected = _count(reader, 0, middle)  # open here already
    with get_context("fork").Pool(2) as pool:
        assert pool.starmap(_count, [(reader, 0, middle)] * 4) == [expected] * 4
        pool.close()  # ended, not killed: on a busy machine a killed pool may wait for its own lock for ever
        pool.join()


@pytest.mark.parametrize("name", ["dsec", "evt3", "aedat4", "bag_evt3"])
def test_readers_work_in_spawned_workers(tmp_path: Path, events: Events, name: str) -> None:
    reader = open_events(recordings.FORMATS[name](tmp_path, events), size=recordings.SIZE)
    middle = int(events.t_ns[1500])
    with get_context("spawn").Pool(1) as pool:
        got = pool.apply(EventReader.between, (reader, 0, middle))
        pool.close()
        pool.join()
    same(got.events, events.between(0, middle))


def test_a_closed_reader_opens_again_and_a_pickled_one_has_no_handle(reader: EventReader, events: Events) -> None:
    copy = pickle.loads(pickle.dumps(reader))
    with reader:
        same(reader.between(0, 2**62).events, events)
    reader.close()
    same(reader.between(0, 2**62).events, events)
    same(copy.between(0, 2**62).events, events)


@pytest.mark.parametrize("name", recordings.FORMATS)
def test_no_events(tmp_path: Path, name: str) -> None:
    path = recordings.FORMATS[name](tmp_path, recordings.some_events().part(0, 0))
    if name.startswith("bag") or name == "text":
        with pytest.raises(ValueError, match=r"no message of events|\(0 bytes\)"):
            open_events(path)
        return
    reader = open_events(path, size=recordings.SIZE)
    assert (len(reader), reader.start_ns, reader.end_ns) == (0, 0, 0)
    assert bool(reader)
    assert reader.between(5, 9).missing_before_ns == 4
    assert reader.last(4, 9).missing_count == 4
    assert list(reader.chunks(count=5)) == list(reader.chunks(duration_ns=5)) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"\(0 bytes\)"),
        (b"GIF89a", "GIF89a"),
        (b"% holiday\n", "no encoding"),
        (b"\x89HDF\r\n\x1a\n", "cannot be read"),
    ],
)
def test_a_file_of_no_known_format(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        len(open_events(path))
    assert str(path) in str(caught.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.raw is missing"):
        open_events(tmp_path / "nowhere.raw")
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"found: \['holiday.jpg'\]"):
        open_events(tmp_path)


def test_a_sensor_of_absurd_size_is_refused(tmp_path: Path) -> None:
    path = recordings.raw("% format EVT2;height=60000;width=60000\n", recordings.evt2)(
        tmp_path, recordings.some_events(5)
    )
    with pytest.raises(ValueError, match="60000x60000"):
        open_events(path)
