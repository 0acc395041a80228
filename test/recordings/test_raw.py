"""`.raw` files: the variants of their headers, and real recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import event_recordings as recordings
import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.recordings import open_events
from mambaseg_core.recordings.prophesee.raw_header import read_raw_header
from mambaseg_core.recordings.resume import resume_words

GEN3 = "% Date 2020-09-25 07:48:31\n% plugin_name hal_plugin_gen3_fx3\n% system_ID 21\n% evt 2.0\n"


@pytest.mark.parametrize(
    ("header", "encoding", "size"),
    [
        (GEN3, "evt2", (480, 640)),
        ("% evt 3.0\n% geometry 1280x720\n% end\n", "evt3", (720, 1280)),
        ("% evt 2.1\n% geometry 320x320\n% end\n", "evt21", (320, 320)),
        ("% format EVT3;height=720;width=1280\n% end\n", "evt3", (720, 1280)),
        ("% format EVT2;width=640;height=480\n", "evt2", (480, 640)),
        ("% format EVT21;endianness=legacy;height=320;width=320\n% end\n", "evt21_legacy", (320, 320)),
        ("% format EVT3\n% geometry 1280x720\n", "evt3", (720, 1280)),
        ("% evt 2.0\n% height 480\n% width 640\n", "evt2", (480, 640)),
        ("% evt 3.0\n% sensor_name IMX636\n", "evt3", (720, 1280)),
        ("% evt 3.0\n% sensor_generation 4.2\n% plugin_name hal_plugin_imx636\n", "evt3", (720, 1280)),
        ("% evt 2.0\n% generation 3.1\n", "evt2", (480, 640)),
        ("% evt 2.0\r\n% geometry 640x480\r\n% end\r\n", "evt2", (480, 640)),
        ("% evt 3.0\n", "evt3", None),
        ("% evt 3.0\n% geometry 0x0\n", "evt3", None),
        ("% evt 3.0\n% geometry 99999999999x2\n", "evt3", None),
    ],
)
@pytest.mark.parametrize("first_byte", [b"\x00", b"%\x12", b"\x80"])
def test_header(tmp_path: Path, header: str, encoding: str, size: Any, first_byte: bytes) -> None:
    path = tmp_path / "r.raw"
    path.write_bytes(header.encode() + first_byte + b"\x01" * 20)
    got = read_raw_header(path)
    assert (got.encodings[0], next(iter(got.sizes), None), got.data_at) == (encoding, size, len(header))


def test_events_may_begin_with_a_percent_sign_and_a_blank_behind_an_end_line(tmp_path: Path) -> None:
    path = tmp_path / "r.raw"
    path.write_bytes(b"% evt 3.0\n% end\n% x\n")
    assert read_raw_header(path).data_at == 16


def test_without_a_size_the_caller_is_asked_for_it(tmp_path: Path) -> None:
    events = recordings.some_events(50)
    path = recordings.raw("% evt 3.0\n", recordings.evt3)(tmp_path, events)
    with pytest.raises(ValueError, match=r"recording\.raw has no size .*size=\(height, width\)"):
        open_events(path)
    assert len(open_events(path, size=recordings.SIZE)) == 50


@pytest.mark.parametrize(
    ("line", "words"),
    [("% evt 4.0", "encoding '4.0'"), ("% format HISTO3D;a=1", "'histo3d'"), ("% evt", "no encoding")],
)
def test_an_unknown_encoding_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "r.raw"
    path.write_bytes(f"{line}\n".encode())
    with pytest.raises(ValueError, match=words):
        open_events(path)


def test_events_before_the_first_time_are_counted(tmp_path: Path) -> None:
    events = recordings.some_events(30)
    path = recordings.raw("% evt 2.0\n", lambda e: recordings.evt2(e)[4:])(tmp_path, events)
    reader = open_events(path, size=recordings.SIZE)
    lost = reader.counters()["unplaced"]
    assert 0 < lost < 30
    assert len(reader) == 30 - lost


@pytest.mark.parametrize(
    ("encoding", "before", "expected"),
    [
        # time high 5, low 7, row 9, a vector at 3 ON, advanced by 12 and 8
        ("evt3", (0x8004, 0x8005, 0x6007, 0x0009, 0x3803, 0x4001, 0x5001), (0x8FFF, 0x8005, 0x6007, 0x0009, 0x3817)),
        ("evt3", (0x2001, 0x9999), ()),
        ("libcaer_cmp", (0x200B, 0x4810, 0x5081), (0x200B, 0x4818)),
        ("mono", (1, 2, 3, 4), ()),
    ],
)
def test_words_that_bring_a_decoder_on(encoding: str, before: tuple[int, ...], expected: tuple[int, ...]) -> None:
    got = resume_words(encoding, np.array(before, "<u2").tobytes())
    assert tuple(np.frombuffer(got, "<u2").tolist()) == expected


def test_recording_evt2(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "prophesee" / "gen3_vga_evt2.raw"
    with open_events(path) as reader:
        assert (reader.format, reader.encoding, reader.height, reader.width) == ("raw", "evt2", 480, 640)
        assert (len(reader), reader.start_ns, reader.end_ns - 1) == (521_252, 913_716_224_000, 913_812_095_000)
        whole = reader.between(0, 2**62).events
        middle = reader.between(913_750_000_000, 913_760_000_000).events
    monkeypatch.setattr(
        "mambaseg_core.recordings.prophesee.raw._BLOCK_BYTES", 4096
    )  # hundreds of blocks, read from the end
    small = open_events(path)
    parts = [small.between(t, t + 7_000_000).events for t in range(913_816_000_000, 913_716_000_000, -7_000_000)]
    for name in ("x", "y", "t_ns", "p"):
        whole_column = getattr(whole, name)
        np.testing.assert_array_equal(
            getattr(whole.between(913_750_000_000, 913_760_000_000), name), getattr(middle, name)
        )
        kept = whole.between(int(parts[-1].t_ns[0]), 2**62)
        np.testing.assert_array_equal(getattr(Events.concatenate(parts[::-1]), name), getattr(kept, name))
        assert len(whole_column) == 521_252


def test_recording_evt3_under_a_header(
    shared_data: Path, packets: Callable[[str], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.prophesee.raw._BLOCK_BYTES", 8192)
    payload = b"".join(bytes(message.events) for message in packets("evt3_trigger"))
    path = tmp_path / "evt3_trigger.raw"
    path.write_bytes(b"% format EVT3;height=720;width=1280\n% end\n" + payload)
    reader = open_events(path)
    events = reader.between(0, 2**62).events
    assert (len(events), int((events.p > 0).sum())) == (82_469, 41_439)
    sums = [int(column.astype(np.int64).sum()) for column in (events.t_ns // 1000, events.x, events.y)]
    assert sums == [1_222_326_831_810, 42_078_718, 31_656_267]
    late = reader.between(int(events.t_ns[60_000]), int(events.t_ns[70_000])).events  # a block by itself
    np.testing.assert_array_equal(late.x, events.between(int(late.t_ns[0]), int(events.t_ns[70_000])).x)
