"""`.dat` files of CD events: layouts, headers, the clock's wrap."""

from __future__ import annotations

from pathlib import Path

import event_recordings as recordings
import numpy as np
import pytest
from event_recordings import columns

from mambaseg_core.events import Events
from mambaseg_core.recordings import EventFileError, open_events

HEAD = "% Data file containing CD events.\n"


def write(folder: Path, header: str, words: list[tuple[int, int]], kind: bytes = b"\x0c\x08") -> Path:
    path = folder / "drive_td.dat"
    path.write_bytes(header.encode() + kind + np.array(words, "<u4").tobytes())
    return path


def test_version_2_by_hand(tmp_path: Path) -> None:
    """14 bits of x, 14 of y, 4 of polarity."""
    header = f"{HEAD}% Date 2019-06-19 10:11:12\n% Height 720\n% Version 2\n% Width 1280\n"
    words = [(5, 1279 | 719 << 14 | 1 << 28), (9, 3 | 4 << 14)]
    path = write(tmp_path, header, words)
    assert columns(path) == [(1279, 719, 5, 1), (3, 4, 9, -1)]
    with open_events(path) as reader:
        assert (reader.format, reader.encoding, reader.height, reader.width) == ("dat", "version 2", 720, 1280)


@pytest.mark.parametrize("header", [f"{HEAD}% Version 1\n", HEAD, f"{HEAD}% Version 1\r\n% Date 2014\r\n"])
def test_version_1_by_hand_is_of_the_atis(tmp_path: Path, header: str) -> None:
    """9 bits of x, 8 of y, 1 of polarity; the sensor before Gen3 has 304x240 pixels."""
    path = write(tmp_path, header, [(5, 303 | 239 << 9 | 1 << 17), (9, 3 | 4 << 9)], b"\0\x08")
    assert columns(path) == [(303, 239, 5, 1), (3, 4, 9, -1)]
    with open_events(path) as reader:
        assert (reader.encoding, reader.height, reader.width) == ("version 1", 240, 304)


@pytest.mark.parametrize("header", ["% Version 1\n% Height 720\n% Width 1280\n", HEAD + "% height 720\n% WIDTH 1280\n"])
def test_places_of_version_2_under_another_version(tmp_path: Path, header: str) -> None:
    assert columns(write(tmp_path, header, [(5, 700 | 600 << 14 | 1 << 28)])) == [(700, 600, 5, 1)]


def test_a_whole_recording_of_version_1(tmp_path: Path) -> None:
    events = recordings.some_events(2000)
    below = events.y < 256
    kept = Events(events.x[below], events.y[below], events.t_ns[below], events.p[below], events.height, events.width)
    with open_events(recordings.dat(1)(tmp_path, kept)) as reader:
        got = reader.between(0, 2**62).events
    for name in ("x", "y", "t_ns", "p"):
        np.testing.assert_array_equal(getattr(got, name), getattr(kept, name))


def test_the_clock_wraps_after_71_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [2**32 - 9, 2**32 - 1, 2**32, 2**32 + 3, 6_000_000_000, 7_500_000_000, 2**33 - 2, 2**33 + 1]
    path = write(tmp_path, f"{HEAD}% Version 2\n% Height 9\n% Width 9\n", [(t % 2**32, 1) for t in times])
    for block in (1, 2, 3, 100):
        monkeypatch.setattr("mambaseg_core.recordings.prophesee.dat._BLOCK", block)
        assert [row[2] for row in columns(path)] == times
        assert [int(t) // 1000 for t in open_events(path).between(2**32 * 1000, 2**62).events.t_ns] == times[2:]


def test_a_clock_that_was_reset_goes_on(tmp_path: Path) -> None:
    times = [5_000_000, 5_000_100, 7, 107]
    path = write(tmp_path, f"{HEAD}% Version 2\n% Height 9\n% Width 9\n", [(t, 1) for t in times])
    assert [row[2] for row in columns(path)] == [5_000_000, 5_000_100, 5_000_100, 5_000_200]
    assert open_events(path).counters()["clock_resets"] == 1


def test_jitter_is_no_reset(tmp_path: Path) -> None:
    times = [5_000_000, 4_990_000, 5_000_100]
    path = write(tmp_path, f"{HEAD}% Version 2\n% Height 9\n% Width 9\n", [(t, 1) for t in times])
    assert [row[2] for row in columns(path)] == sorted(times)
    assert open_events(path).counters()["clock_resets"] == 0


def test_bytes_that_fill_no_event_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}% Version 2\n% Height 9\n% Width 9\n", [(5, 1), (6, 12)])
    path.write_bytes(path.read_bytes() + b"abc")
    reader = open_events(path)
    assert (len(reader), reader.counters()["truncated_bytes"], reader.counters()["outside"]) == (1, 3, 1)


@pytest.mark.parametrize(
    ("header", "kind", "words"),
    [
        (f"{HEAD}% Version 3\n% Height 9\n% Width 9\n", b"\x0c\x08", "version '3'"),
        (f"{HEAD}% Version 2\n% Height 9\n% Width 9\n", b"\x0e\x08", "type 0x0e and 8 bytes"),
        (f"{HEAD}% Version 2\n% Height 9\n% Width 9\n", b"\x0c\x10", "type 0x0c and 16 bytes"),
        (f"{HEAD}% Version 2\n% Height 9\n% Width 9\n", b"", r"type 0x05 and 0 bytes"),
        (f"{HEAD}% Version 2\n", b"\x0c\x08", r"no size .* reach column 700 and row 600 .* --height"),
        (f"{HEAD}% Version 2\n% Height 0\n% Width 9\n", b"\x0c\x08", "no size"),
        (f"{HEAD}% Version 2\n", b"\0\x08", "no size"),
    ],
)
def test_what_is_no_file_of_cd_events(tmp_path: Path, header: str, kind: bytes, words: str) -> None:
    path = write(tmp_path, header, [(5, 700 | 600 << 14)], kind)
    with pytest.raises(EventFileError, match=words):
        open_events(path)


def test_a_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(f"{HEAD}% Version 2\n".encode())
    with pytest.raises(EventFileError, match="ends after its header"):
        open_events(path)
