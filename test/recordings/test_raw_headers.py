"""Headers of `.raw` files as old systems and tools write them: silent, contradictory or wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import event_recordings as recordings
import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.recordings import EventFileError, open_events
from mambaseg_core.recordings.prophesee.raw_header import read_raw_header

WORDS: dict[str, Callable[[Events], bytes]] = {
    "evt2": recordings.evt2,
    "evt21": recordings.evt21,
    "evt21_legacy": recordings.evt21_legacy,
    "evt3": recordings.evt3,
}
PROPHESEE = "% camera_integrator_name Prophesee\n% plugin_integrator_name Prophesee\n"
SMALL = "% geometry 346x260\n"


@pytest.fixture(scope="module")
def events() -> Events:
    return recordings.some_events(2000)


def write(folder: Path, header: str, words: bytes) -> Path:
    path = folder / "camera.raw"
    path.write_bytes(header.encode() + words)
    return path


def same(path: Path, expected: Events, **options: object) -> str:
    """Check the events of a file; return its encoding."""
    with open_events(path, **options) as reader:  # type: ignore[arg-type]
        got = reader.between(-(2**62), 2**62).events
        for name in ("x", "y", "t_ns", "p"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
        return reader.encoding


def test_three_words_of_an_old_system(tmp_path: Path) -> None:
    """Half words by hand: TIME_HIGH 0; OFF at (32, 10), mask bit 3, 5 us; ON at (64, 11), mask bits 0 and 1, 6 us."""
    halves = [0x8000_0000, 0, 5 << 22 | 32 << 11 | 10, 1 << 3, 1 << 28 | 6 << 22 | 64 << 11 | 11, 3]
    header = f"{PROPHESEE}% system_ID 48\n% evt 2.1\n% geometry 1280x720\n% end\n"
    path = write(tmp_path, header, np.array(halves, "<u4").tobytes())
    x, y, t_ns, p = [35, 64, 65], [10, 11, 11], [5000, 6000, 6000], [-1, 1, 1]
    assert same(path, Events.from_arrays(x, y, t_ns, p, height=720, width=1280)) == "evt21_legacy"


@pytest.mark.parametrize("order", ["evt21", "evt21_legacy"])
@pytest.mark.parametrize(
    "header",
    [
        "% evt 2.1\n",
        "% format EVT21\n",
        f"{PROPHESEE}% system_ID 48\n% evt 2.1\n",
        f"{PROPHESEE}% system_ID 55\n% evt 2.1\n",
        "% integrator_name Other\n% system_ID 48\n% evt 2.1\n",
        "% evt 2.1\n% endianness little\n",
        "% evt 2.1\n% endianness legacy\n",
        "% format EVT21;endianness=little\n",
        "% format EVT21;Endianness=LEGACY\n",
    ],
)
def test_the_words_tell_the_order_of_the_halves(tmp_path: Path, events: Events, order: str, header: str) -> None:
    assert same(write(tmp_path, header + SMALL, WORDS[order](events)), events) == order


def test_the_header_tells_the_order_of_the_halves_of_no_words(tmp_path: Path) -> None:
    for header, order in [
        (f"{PROPHESEE}% system_ID 48\n% evt 2.1\n", "evt21_legacy"),
        (f"{PROPHESEE}% system_ID 55\n% evt 2.1\n", "evt21"),
        ("% integrator_name Other\n% system_ID 48\n% evt 2.1\n", "evt21"),
        ("% evt 2.1\n", "evt21"),
    ]:
        assert open_events(write(tmp_path, header + SMALL, b"")).encoding == order


@pytest.mark.parametrize("true", WORDS)
@pytest.mark.parametrize(
    "lines", ["% evt 2.0\n% format EVT3\n", "% format EVT2\n% evt 3.0\n", "% evt 2.1\n% evt 3.0\n"]
)
def test_of_two_encodings_the_words_confirm_one(tmp_path: Path, events: Events, lines: str, true: str) -> None:
    path = write(tmp_path, lines + SMALL, WORDS[true](events))
    named = {"2.0": "evt2", "EVT2": "evt2", "2.1": "evt21", "EVT3": "evt3", "3.0": "evt3"}
    if true.removesuffix("_legacy") in {named[line.split()[-1]] for line in lines.splitlines()}:
        assert same(path, events) == true
    else:
        with pytest.raises(EventFileError, match=rf"(names the encodings|look like {true}).*encoding={true!r}"):
            open_events(path)


@pytest.mark.parametrize("true", WORDS)
@pytest.mark.parametrize("line", ["% evt 2.0\n", "% evt 2.1\n", "% format EVT3\n"])
def test_words_of_another_encoding_than_the_header_s(tmp_path: Path, events: Events, line: str, true: str) -> None:
    path = write(tmp_path, line + SMALL, WORDS[true](events))
    if WORDS[true] is WORDS.get({"2.0": "evt2", "2.1": "evt21", "EVT3": "evt3"}[line.split()[-1]]) or (
        true == "evt21_legacy" and "2.1" in line
    ):
        assert same(path, events) == true
        return
    with pytest.raises(EventFileError, match=rf"look like {true}: give|look like {true}; give") as caught:
        open_events(path)
    assert f"--encoding {true}" in str(caught.value)
    assert same(path, events, encoding=true) == true


@pytest.mark.parametrize("true", WORDS)
@pytest.mark.parametrize("header", ["", "% end\n", "% Date 2014-02-28 13:37:42\n", "% format HISTO3D\n"])
def test_no_encoding_in_the_header(tmp_path: Path, events: Events, header: str, true: str) -> None:
    path = write(tmp_path, header, WORDS[true](events))
    with pytest.raises(EventFileError, match=rf"look like {true}: give the encoding"):
        open_events(path, size=recordings.SIZE)
    assert same(path, events, encoding=true.upper(), size=recordings.SIZE) == true


@pytest.mark.parametrize("name", ["evt4", "mono", "", "2.2"])
def test_an_encoding_that_no_raw_file_has(tmp_path: Path, events: Events, name: str) -> None:
    path = write(tmp_path, "% evt 2.0\n" + SMALL, recordings.evt2(events))
    if not name:
        assert open_events(path, encoding=name).encoding == "evt2"
        return
    with pytest.raises(
        EventFileError, match=rf"encoding is '{name}' .* expected one of evt2, evt21, evt21_legacy, evt3"
    ):
        open_events(path, encoding=name)


@pytest.mark.parametrize(
    ("header", "encoding", "size"),
    [
        ("% Date 2014\n% system_ID 21\n", "evt2", (480, 640)),
        ("% SYSTEM_ID 49\n% Integrator_Name PROPHESEE\n", "evt3", (720, 1280)),
        ("% system_ID 40\n", "evt3", (480, 640)),
        ("% system_ID 0x31\n", "evt3", (720, 1280)),
        ("% evt\t3.0\n% geometry\t1280, 720 \n", "evt3", (720, 1280)),
        ("% format EVT3; height = 720; width = 1280;\n", "evt3", (720, 1280)),
        ("% system_ID 39\n% evt 3.0\n", "evt3", (720, 1280)),
        ("% system_ID 30\r\n% evt 3.0\r\n% end\r\n", "evt3", (720, 1280)),
        ("% Format 2.0\n% Height 480\n% Width 640\n", "evt2", (480, 640)),
        ("% FORMAT evt3;HEIGHT=720;WIDTH=1280\n% END\n", "evt3", (720, 1280)),
        ("% format EVT3.0\n% Geometry 1280X720\n", "evt3", (720, 1280)),
        ("% evt 2\n% geometry 640x480\n", "evt2", (480, 640)),
        ("% evt 3.0\n% sensor_generation 320.0\n", "evt3", (320, 320)),
        ("% evt 3.0\n% sensor_name IMX647\n", "evt3", (512, 640)),
        ("% evt 2.0\n% plugin_name hal_plugin_gen41_evk2\n", "evt2", (720, 1280)),
        ("% evt 2.0\n% camera_integrator_name Société\n% geometry 640x480\n", "evt2", (480, 640)),
    ],
)
def test_what_follows_from_the_camera(tmp_path: Path, header: str, encoding: str, size: tuple[int, int]) -> None:
    path = write(tmp_path, header, b"")
    reader = open_events(path)
    assert (reader.encoding, reader.height, reader.width) == (encoding, *size)
    assert read_raw_header(path).data_at == len(header.encode())


def test_a_system_of_another_maker_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(EventFileError, match="no encoding"):
        open_events(write(tmp_path, "% camera_integrator_name Other\n% system_ID 49\n", b""))


def test_a_line_with_control_characters_belongs_to_the_events(tmp_path: Path) -> None:
    path = write(tmp_path, "% evt 3.0\n", b"% \x01\x80\n\x00% x\n")
    assert read_raw_header(path).data_at == len("% evt 3.0\n")


@pytest.mark.parametrize(
    "lines", ["% geometry 100x100\n% format EVT2;height=260;width=346\n", "% height 90\n% width 346\n" + SMALL]
)
def test_of_two_sizes_the_events_confirm_one(tmp_path: Path, events: Events, lines: str) -> None:
    assert same(write(tmp_path, "% evt 2.0\n" + lines, recordings.evt2(events)), events) == "evt2"


@pytest.mark.parametrize("words", [b"", recordings.evt2(recordings.some_events(2000))])
def test_of_two_sizes_that_fit_neither_is_taken(tmp_path: Path, words: bytes) -> None:
    path = write(tmp_path, "% evt 2.0\n% geometry 1280x720\n% height 480\n% width 640\n", words)
    with pytest.raises(EventFileError, match="names the sizes 1280x720 and 640x480"):
        open_events(path)
    assert open_events(path, size=(480, 640)).height == 480


def test_events_outside_the_size_of_the_header(tmp_path: Path, events: Events) -> None:
    path = write(tmp_path, "% evt 2.0\n% geometry 200x100\n", recordings.evt2(events))
    with pytest.raises(EventFileError, match=r"sensor of 200x100, .* reach column 345 and row 259"):
        open_events(path)
    assert same(path, events, size=recordings.SIZE) == "evt2"


def test_many_words_without_an_event_are_no_empty_recording(tmp_path: Path, events: Events) -> None:
    """EVT2 words without any TIME_HIGH, and noise."""
    words = np.frombuffer(recordings.evt2(events), "<u4")
    path = write(tmp_path, "% evt 2.0\n" + SMALL, words[words >> 28 != 8].tobytes())
    with pytest.raises(EventFileError, match=r"2000 words and no event as evt2 .*unplaced 2000"):
        len(open_events(path))
    far = Events(events.x // 2 + 50, events.y, events.t_ns, events.p, events.height, events.width)
    path = write(tmp_path, "% evt 2.0\n", recordings.evt2(far))
    with pytest.raises(EventFileError, match=r"sensor of 40x40, .* events reach column \d+ and row 259"):
        len(open_events(path, size=(40, 40)))
    path = write(tmp_path, "% evt 3.0\n" + SMALL, b"\x99\x99" * 1000)
    with pytest.raises(EventFileError, match=r"no event as evt3 .*unknown_words 1000.* look like none of evt2"):
        len(open_events(path))
    path = write(tmp_path, "% evt 3.0\n" + SMALL, recordings.evt2(events))
    with pytest.raises(EventFileError, match="look like evt2"):
        len(open_events(path))


def test_words_of_time_alone_are_an_empty_recording(tmp_path: Path) -> None:
    words = np.array([0x8 << 28 | high for high in range(1000)], "<u4")
    assert len(open_events(write(tmp_path, "% evt 2.0\n" + SMALL, words.tobytes()))) == 0


def test_an_encoding_for_a_file_of_another_format(tmp_path: Path, events: Events) -> None:
    path = recordings.FORMATS["npz"](tmp_path, events)
    with pytest.raises(EventFileError, match=r"encoding is 'evt3' for .*events\.npz, which is a NumPy file"):
        open_events(path, size=recordings.SIZE, encoding="evt3")
    path = write(tmp_path, "% evt 2.0\n" + SMALL, b"")
    with pytest.raises(EventFileError, match=r"time_unit is 's' for .*camera\.raw, which is a \.raw file"):
        open_events(path, time_unit="s")


def test_words_without_a_header_under_any_name(tmp_path: Path, events: Events) -> None:
    path = tmp_path / "dump.bin"
    path.write_bytes(recordings.evt3(events))
    with pytest.raises(EventFileError, match="no format known here"):
        open_events(path, size=recordings.SIZE)
    with pytest.raises(EventFileError, match="has no size of the sensor"):
        open_events(path, encoding="evt3")
    assert same(path, events, encoding="evt3", size=recordings.SIZE) == "evt3"
